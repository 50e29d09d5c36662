"""A new index in the place of a lost or broken one, of everything that is still known."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from .. import files, index, webm
from ..errors import AudioError, LibraryError, MemosyncError, Stop
from ..index import Index
from ..library import BROKEN, Library
from ..memo import Memo, MemoId, id_in_file_name
from .opening import entries_beside, kept_torrent, memo_of

Progress = Callable[[int, int], None]  # how many are done, of how many


def rebuild(library: Library, *, now: datetime, stop: Stop, on_progress: Progress) -> list[tuple[Memo, str]]:
    """Make the index anew and say where each entry is from; the broken one is kept beside it.

    From what is whole of the broken one, the newest readable snapshot, then the files and the kept torrents.
    LibraryError when it is from a newer version.
    """
    broken = library.index_bytes()
    if index.is_newer(broken.decode("utf-8", "replace")):
        library.index()  # says so
    whole, (old, snapshot) = index.salvage(broken), newest_snapshot(library)
    known_as = {memo.id: (memo, snapshot.name, files.time_of(snapshot)) for memo in old.memos if snapshot}
    known_as |= {memo.id: (memo, "the broken index", library.index_time()) for memo in whole.memos}
    by_file = {memo.file: memo for memo, *_ in sorted(known_as.values(), key=lambda entry: _is_named(entry[0]))}
    known = Index(tuple(memo for memo, *_ in known_as.values() if by_file[memo.file] is memo))
    entries: dict[MemoId, tuple[Memo, str]] = {}
    for memo in known.memos:
        stop.check()
        on_progress(len(entries), len(known.memos))
        if settled := settle(library, memo, since=known_as[memo.id][2], now=now):
            entries[memo.id] = settled, known_as[memo.id][1]
    places = [(None, library.orphans(known)), (now, library.orphans(known, trashed=True))]
    orphans = [(memo_id, path, trashed) for trashed, found in places for memo_id, path in found]
    beside = entries_beside(library) if orphans else {}
    for number, (memo_id, path, trashed) in enumerate(orphans):
        stop.check()
        on_progress(number, len(orphans))
        with contextlib.suppress(MemosyncError, OSError), library.lock(memo_id, wait=False) as held:
            if held and memo_id not in entries:
                source = "a copy of the index" if path.name in beside else "its file"
                entries[memo_id] = memo_of(library, memo_id, path, beside, trashed), source
    new = Index(tuple(memo for memo, _ in entries.values()), whole.head or old.head, {**old.extra, **whole.extra})
    library.rebuild(new, broken, f"{BROKEN}{now:%Y-%m-%d-%H%M%S}.toml")
    return list(entries.values())


def newest_snapshot(library: Library) -> tuple[Index, Path | None]:
    """Read the newest snapshot that can be read; LibraryError when it is from a newer version."""
    for path in library.snapshots():
        try:
            text = path.read_text("utf-8")
            return index.loads(text), path
        except (OSError, UnicodeDecodeError):
            pass
        except LibraryError:
            if index.is_newer(text):
                raise
    return Index(), None


def settle(library: Library, memo: Memo, *, since: int, now: datetime) -> Memo | None:
    """Bring an entry of before up to what was done `since` (nanoseconds), as far as files and torrents tell.

    Where the file is says whether it is in the trash; a file that was rewritten later has the later words; a kept
    torrent that fits says that it was shared, and is frozen. None for what was purged since.
    """
    home = library.root / memo.file
    trash = library.path(replace(memo, trashed=now))
    memo = replace(memo, trashed=None if home.exists() else memo.trashed or (now if trash.exists() else None))
    path = library.path(memo)
    if memo.infohash or not path.exists():
        return memo if path.exists() or not memo.trashed else None
    if path.stat().st_size != memo.size or files.time_of(path) > since:
        with contextlib.suppress(AudioError):
            memo = from_file(memo, path, webm.probe(path), words=True)
    torrent = kept_torrent(library, path)
    return replace(memo, infohash=torrent.infohash if torrent else None)


def from_file(memo: Memo, path: Path, info: webm.AudioInfo, *, words: bool) -> Memo:
    """Correct an entry by what its file is, and by what it says of itself."""
    memo = replace(memo, duration=round(info.duration, 3), size=path.stat().st_size)
    if not words:
        return memo
    title, recorded = info.words.title or memo.title, info.words.recorded or memo.recorded
    return replace(memo, title=title, description=info.words.description, tags=info.words.tags, recorded=recorded)


def _is_named(memo: Memo) -> bool:
    return id_in_file_name(memo.file) == memo.id
