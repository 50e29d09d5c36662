"""A page for somebody who has only a browser, beside the link."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from .. import files, magnet, page
from ..clusters import clusters_of
from ..errors import AudioError, Stop, UsageError
from ..levels import heights
from ..library import Library
from ..memo import Memo, torrent_name
from ..network import Network, browser_trackers
from ..session import named_stun_server
from .export import free_place, written
from .linking import trackers_of
from .measuring import levels_of
from .opening import Tell


def choose_page(
    place: str, memos: Sequence[Memo], trackers: Sequence[str], network: Network, *, force: bool
) -> tuple[Memo, Path]:
    """Say which memo's page is written where; UsageError when that cannot be, before anything is done."""
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


def write_page(
    library: Library,
    memo: Memo,
    link: str,
    path: Path,
    network: Network,
    *,
    force: bool,
    on_progress: Callable[[float, bytes], None],
    stop: Stop,
    tell: Tell,
) -> None:
    """Write the page of a memo whose link is known; LibraryError when it cannot be written."""
    memo = library.find(memo.id)
    target = magnet.parse(link)
    wave = b""
    with contextlib.suppress(AudioError):  # what cannot be measured may be heard all the same
        wave = levels_of(library, memo, on_progress=on_progress, stop=stop).wave
    with files.as_library_error(f"read {memo.file}"):
        clusters = clusters_of(library.path(memo))
    text = page.write(
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
            link=link,
            trackers=browser_trackers(target.trackers),
            stun=named_stun_server(network),
            codec=clusters.codec,
            heights=heights(wave, page.COLUMNS),
            clusters=clusters.starts,
        )
    )
    with written(path, force=force, otherwise="another --page") as file:
        file.write(text.encode())
    tell(f"{path} is a page that plays it in any browser, from a disk or a web server, while somebody serves it")


def hand_out(base: str | None, together: int, answer: Callable[[str], None]) -> Callable[[str], None]:
    """Give what takes each magnet and answers it, or a share link for it, or at last one for all `together`."""
    if base is None:
        return answer
    magnet.check_base(base)
    if together > magnet.MOST_SEEDS:
        raise UsageError(f"one link takes at most {magnet.MOST_SEEDS} memos", "leave --one out, or share fewer")
    return functools.partial(_collect, base, together, [], answer)


def _collect(base: str, together: int, magnets: list[str], answer: Callable[[str], None], link: str) -> None:
    magnets.append(link)
    if len(magnets) >= together:
        answer(magnet.join(base, magnets))
        magnets.clear()
