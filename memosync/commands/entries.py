"""From what is on the disk to entries of the index: files, their torrents, and what other indexes say of them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from .. import files, index, metainfo, webm
from ..errors import AudioError, LibraryError, MemosyncError
from ..index import Index
from ..library import Library
from ..memo import Memo, MemoId, Words, clean_title, file_name, torrent_name


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a memo, and from where."""

    memo: Memo
    source: str = "its file"
    since: int = 0  # nanoseconds: when the source was written


def new_memo(memo_id: MemoId, info: webm.AudioInfo, path: Path, when: float, title: str = "") -> Memo:
    """Make the entry for a file from what it says of itself; `when` (Unix seconds) and `title` stand in."""
    words = info.words
    recorded = words.recorded or datetime.fromtimestamp(int(when)).astimezone()
    title = words.title or clean_title(title) or f"{recorded:%Y-%m-%d %H:%M}"
    return Memo(
        id=memo_id,
        file=file_name(title, recorded, memo_id),
        title=title,
        description=words.description,
        tags=words.tags,
        recorded=recorded,
        duration=round(info.duration, 3),
        size=path.stat().st_size,
    )


def kept_or_made(library: Library, path: Path, words: Words, memo_id: MemoId) -> metainfo.Metainfo:
    """Give the torrent of a file that never changes again: the one kept for it, else the one of our own making."""
    return kept_torrent(library, path) or metainfo.make(path, torrent_name(words, memo_id))


def kept_torrent(library: Library, path: Path) -> metainfo.Metainfo | None:
    """Find the kept torrent that describes a file byte for byte."""
    with contextlib.suppress(OSError):
        alike = _kept_torrents(library.private / "torrents").get(path.stat().st_size, [])
        return metainfo.fitting(alike, path)
    return None


def entry_of(
    library: Library, memo_id: MemoId, path: Path, known: Mapping[MemoId, Entry], now: datetime | None = None
) -> Entry:
    """Make the entry of a file that the index does not name, in the trash when there is a `now`.

    What another index says of it counts more than its own tags; with these alone it is frozen, for it may have been
    shared. AudioError when it is no memo.
    """
    entry = known.get(memo_id)
    if entry and (settled := settle(library, replace(entry, memo=replace(entry.memo, file=path.name)), now)):
        return settled
    info = webm.probe(path)
    torrent = kept_or_made(library, path, info.words, memo_id)
    memo = new_memo(memo_id, info, path, when=path.stat().st_mtime, title=torrent.name.removesuffix(".webm"))
    library.keep_torrent(torrent.infohash, torrent.data)
    return Entry(replace(memo, file=path.name, infohash=torrent.infohash, trashed=now))


def entries_in(found: Index, path: Path) -> dict[MemoId, Entry]:
    """Take the entries of an index that stands in `path`."""
    since = files.time_of(path)
    return {memo.id: Entry(memo, path.name, since) for memo in found.memos}


def elsewhere(library: Library, ids: Iterable[MemoId]) -> dict[MemoId, Entry]:
    """Find what other indexes say of these memos: copies that a file synchroniser left, then earlier ones of ours."""
    known: dict[MemoId, Entry] = {}
    places: dict[tuple[int, int], Path] = {}
    for path in reversed([*library.index_copies(), *library.snapshots()]):
        with contextlib.suppress(FileNotFoundError):  # it was given its next number meanwhile
            places[files.identity(path)] = path
    for path in reversed(places.values()):
        if set(ids) - known.keys():
            with contextlib.suppress(LibraryError, OSError, ValueError):
                known = entries_in(index.loads(path.read_text("utf-8")), path) | known
    return known


def newest_snapshot(library: Library) -> tuple[Index, Path]:
    """Read the newest snapshot that can be read, nothing where there is none; LibraryError when it is newer than us."""
    for path in library.snapshots():
        try:
            text = path.read_text("utf-8")
            return index.loads(text), path
        except (OSError, UnicodeDecodeError):
            pass
        except LibraryError:
            if index.is_newer(text):
                raise
    return Index(), library.private / "no snapshot"


def settle(library: Library, entry: Entry, now: datetime | None) -> Entry | None:
    """Bring an entry of before up to what was done since, as far as files and torrents tell.

    Where the file is says whether it is in the trash; a file that was rewritten later has the later words; a kept
    torrent that fits says that it was shared, and is frozen. None for what was purged since.
    """
    memo = entry.memo
    home, thrown = library.root / memo.file, library.private / "trash" / memo.file
    memo = replace(memo, trashed=None if home.exists() else memo.trashed or (now if thrown.exists() else None))
    path = library.path(memo)
    if not path.exists():
        return None if memo.trashed else entry
    if not memo.infohash:
        if path.stat().st_size != memo.size or files.time_of(path) > entry.since:
            with contextlib.suppress(AudioError, OSError):
                memo = from_file(memo, path, webm.probe(path), words=True)
        torrent = kept_torrent(library, path)
        memo = replace(memo, infohash=torrent.infohash if torrent else None)
    return replace(entry, memo=memo)


def from_file(memo: Memo, path: Path, info: webm.AudioInfo, *, words: bool) -> Memo:
    """Correct an entry by what its file is, and by what it says of itself."""
    memo = replace(memo, duration=round(info.duration, 3), size=path.stat().st_size)
    if not words:
        return memo
    title, recorded = info.words.title or memo.title, info.words.recorded or memo.recorded
    return replace(memo, title=title, description=info.words.description, tags=info.words.tags, recorded=recorded)


@functools.cache
def _kept_torrents(directory: Path) -> dict[int, list[metainfo.Metainfo]]:
    torrents: dict[int, list[metainfo.Metainfo]] = {}
    for path in directory.glob("*.torrent"):
        with contextlib.suppress(MemosyncError, OSError):
            torrent = metainfo.read(path.read_bytes())
            torrents.setdefault(torrent.size, []).append(torrent)
    return torrents
