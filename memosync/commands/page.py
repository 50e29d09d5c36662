"""The page that `share` writes: a memo for somebody who has only a browser."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from .. import files, magnet
from ..audio.levels import heights
from ..audio.webm import clusters as clusters_of
from ..errors import AudioError, UsageError
from ..library.store import Library
from ..memo import Memo, torrent_name
from ..network import Network, browser_trackers
from ..page import page
from ..stop import Stop
from ..torrent import metainfo
from ..torrent.webrtc.stun import server_for
from .linking import trackers_of
from .measuring import levels_of
from .placing import free_place

LARGEST_TORRENT = 200_000  # bytes in a page; ours have 21,000 at most


def choose_page(
    place: str, memos: Sequence[Memo], trackers: Sequence[str], network: Network, *, force: bool
) -> tuple[Memo, Path]:
    """Give the memo that a page is for, and the file; UsageError when no browser could play it, or it may not be."""
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


def page_of(
    library: Library,
    memo: Memo,
    link: str,
    network: Network,
    *,
    on_progress: Callable[[float, bytes], None],
    stop: Stop,
) -> str:
    """Make the page of a memo that was just shared, with what is known of its sound; LibraryError without its file."""
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
