"""From what is on the disk to entries of the index."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from .. import files
from ..audio import webm
from ..errors import AudioError
from ..library.store import Library
from ..memo import Memo, MemoId, clean_title, file_name
from .torrents import kept_or_made, kept_torrent


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
