"""What `share` gives beside a magnet, or instead of it: a page for somebody who has only a browser, and share links."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import files, magnet, metainfo, page
from ..clusters import clusters_of
from ..errors import AudioError, Stop, UsageError
from ..levels import heights
from ..library import Library
from ..memo import Memo, torrent_name
from ..network import Network, browser_trackers
from ..session.stun import server_for
from .linking import trackers_of
from .measuring import levels_of
from .opening import Tell
from .placing import free_place, written

Answer = Callable[[str], None]

LARGEST_TORRENT = 200_000  # bytes in a page; ours have 21,000 at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is wanted of a link."""

    page: str | None = None  # the file of a page, too
    force: bool = False  # replace that
    base: str | None = None  # share links to this address instead of magnets
    one: bool = False  # and one for all memos


def presenter(
    wish: Wish,
    library: Library,
    memos: Sequence[Memo],
    trackers: Sequence[str],
    network: Network,
    *,
    answer: Answer,
    on_progress: Callable[[float, bytes], None],
    stop: Stop,
    tell: Tell,
) -> Answer:
    """Give what takes the magnet of each memo, in their order, and answers as is wished for.

    UsageError when that cannot be, before anything is done.
    """
    if wish.one and wish.base is None:
        raise UsageError("--one needs a page to link to", "--link BASE --one")
    give = answer if wish.base is None else _share_links(wish.base, len(memos) if wish.one else 1, answer)
    if wish.page is None:
        return give
    memo, path = _choose_page(wish.page, memos, trackers, network, force=wish.force)

    def write(link: str) -> None:
        try:
            text = _page_of(library, library.find(memo.id), link, network, on_progress=on_progress, stop=stop)
            with written(path, force=wish.force, otherwise="another --page") as file:
                file.write(text.encode())
            tell(f"{path} plays it in a browser, from a disk or a web server, while somebody serves it")
        finally:
            give(link)  # it is shared, with a page or without

    return write


def _share_links(base: str, together: int, answer: Answer) -> Answer:
    magnet.check_base(base)
    if together > magnet.MOST_SEEDS:
        raise UsageError(f"one link takes at most {magnet.MOST_SEEDS} memos", "leave --one out, or share fewer")
    magnets: list[str] = []

    def collect(link: str) -> None:
        magnets.append(link)
        if len(magnets) == together:
            answer(magnet.join(base, magnets))
            magnets.clear()

    return collect


def _choose_page(
    place: str, memos: Sequence[Memo], trackers: Sequence[str], network: Network, *, force: bool
) -> tuple[Memo, Path]:
    if place == "-":
        raise UsageError("standard output is for the link", "--page FILE.html")
    if len(memos) != 1:
        raise UsageError(f"a page is for one memo, these are {len(memos)}", "run it once for each")
    if not browser_trackers(trackers_of(tuple(trackers) or memos[0].trackers, network)):
        example = {
            Network.PUBLIC: "wss://HOST",
            Network.LAN: "ws://ADDRESS:PORT, of one on your network",
            Network.LOOPBACK: "ws://127.0.0.1:PORT",
        }
        raise UsageError("no browser would find the memo: none of its trackers is one", f"--tracker {example[network]}")
    path = Path(place)
    free_place(path, force=force)
    return memos[0], path


def _page_of(
    library: Library,
    memo: Memo,
    link: str,
    network: Network,
    *,
    on_progress: Callable[[float, bytes], None],
    stop: Stop,
) -> str:
    target = magnet.parse(link)
    wave = b""
    with contextlib.suppress(AudioError):  # what cannot be measured may be heard all the same
        wave = levels_of(library, memo, on_progress=on_progress, stop=stop).wave
    with files.as_library_error(f"read {memo.file}"):
        clusters = clusters_of(library.path(memo))
        torrent = metainfo.read(library.torrent(target.infohash).read_bytes()).data
    return page.write(
        page.Page(
            id=memo.id,
            title=memo.title,
            description=memo.description,
            tags=memo.tags,
            recorded=memo.recorded,
            duration=memo.duration,
            size=memo.size,
            name=torrent_name(memo.words, memo.id),
            infohash=target.infohash,
            torrent=torrent if len(torrent) <= LARGEST_TORRENT else b"",
            link=link,
            trackers=browser_trackers(target.trackers),
            stun=server_for(network),
            codec=clusters.codec,
            heights=heights(wave, page.COLUMNS),
            clusters=clusters.starts,
        )
    )
