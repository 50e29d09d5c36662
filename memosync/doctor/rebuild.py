"""A new index in the place of a lost or broken one, of everything that is still known."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import datetime

from .. import index
from ..console import Console
from ..errors import MemosyncError
from ..index import Index
from ..library.adopt import brought_up_to_date, entry_of
from ..library.entries import Entry
from ..library.snapshots import entries_in
from ..library.store import Library
from ..memo import MemoId, id_in_file_name
from ..stop import Stop


def rebuild(library: Library, *, now: datetime, stop: Stop, console: Console) -> list[Entry]:
    """Make the index anew and say where each entry is from; the broken one is kept beside it.

    From what can be read of the broken one, the newest readable snapshot, then the files and the kept torrents.
    LibraryError when it is from a newer version.
    """
    broken = library.index_bytes()
    if index.is_newer(broken.decode("utf-8", "replace")):
        library.index()  # says so
    old, snapshot = library.snapshots.newest()
    is_newest = snapshot == next(iter(library.snapshots.kept()), None)
    whole = index.salvage(broken, old if is_newest else Index())
    group = whole.group or old.group
    known = entries_in(old, snapshot, group) if snapshot else {}
    if not is_newest:  # what was shared, and no longer, one of later knew
        known = {memo_id: _shared_no_more(entry) for memo_id, entry in known.items()}
    known |= entries_in(whole, library.index_file, whole.group)
    by_file = {entry.memo.file: entry for entry in sorted(known.values(), key=_is_named)}
    known = {memo_id: entry for memo_id, entry in known.items() if by_file[entry.memo.file] is entry}
    named = Index(tuple(entry.memo for entry in known.values()))
    places = [(None, library.orphans(named)), (now, library.orphans(named, trashed=True))]
    orphans = [(memo_id, path, trashed) for trashed, found in places for memo_id, path in found]
    beside = library.snapshots.entries((memo_id for memo_id, *_ in orphans), group)
    entries: dict[MemoId, Entry] = {}
    many = len(known) + len(orphans)
    for number, entry in enumerate(known.values()):
        stop.check()
        console.progress(f"of {many} memos known again", number / many)
        if found := brought_up_to_date(library, entry, now):
            entries[found.memo.id] = found
    for number, (memo_id, path, trashed) in enumerate(orphans, len(known)):
        stop.check()
        console.progress(f"of {many} memos known again", number / many)
        with contextlib.suppress(MemosyncError, OSError), library.lock(memo_id, wait=False) as held:
            if held and memo_id not in entries:
                entries[memo_id] = entry_of(library, memo_id, path, beside, trashed)
    memos = tuple(entry.memo for entry in entries.values())
    version = max(whole.version, old.version)
    new = Index(memos, whole.head or old.head, {**old.extra, **whole.extra}, version, group)
    library.rebuild(new, broken, now)
    return list(entries.values())


def _shared_no_more(entry: Entry) -> Entry:
    memo = replace(entry.memo, shared=False, private=False)
    text = f"{entry.source}, and is not shared any more: a later index is lost"
    return replace(entry, memo=memo, source=text if entry.memo.is_served else entry.source)


def _is_named(entry: Entry) -> bool:
    """Tell whether a file has its memo's id in its name."""
    return id_in_file_name(entry.memo.file) == entry.memo.id
