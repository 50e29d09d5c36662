"""The torrents of files that never change again: those that are kept, and those that can be made again."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

from ..errors import MemosyncError
from ..library.store import Library
from ..memo import MemoId, Words, torrent_name
from ..torrent import metainfo


def kept_or_made(library: Library, path: Path, words: Words, memo_id: MemoId) -> metainfo.Metainfo:
    """Give the torrent of a file that never changes again: the one kept for it, else the one of our own making."""
    return kept_torrent(library, path) or metainfo.make(path, torrent_name(words, memo_id))


def kept_torrent(library: Library, path: Path) -> metainfo.Metainfo | None:
    """Find the kept torrent that describes a file byte for byte."""
    with contextlib.suppress(OSError):
        alike = _kept_torrents(library.private / "torrents").get(path.stat().st_size, [])
        return metainfo.fitting(alike, path)
    return None


@functools.cache
def _kept_torrents(directory: Path) -> dict[int, list[metainfo.Metainfo]]:
    torrents: dict[int, list[metainfo.Metainfo]] = {}
    for path in directory.glob("*.torrent"):
        with contextlib.suppress(MemosyncError, OSError):
            torrent = metainfo.read(path.read_bytes())
            torrents.setdefault(torrent.size, []).append(torrent)
    return torrents
