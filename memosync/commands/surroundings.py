"""What `check` finds around the memos: copies, half-made files, the trash, earlier indexes."""

from __future__ import annotations

import filecmp
from collections.abc import Iterator
from datetime import datetime

from ..errors import LibraryError
from ..files import time_of
from ..library import Library
from ..memo import id_in_file_name
from ..quantities import format_size
from .examine import Finding
from .rebuild import newest_snapshot


def files_around(library: Library) -> Iterator[Finding]:
    """State what is no memo: none of it is a defect."""
    for path in library.index_copies():
        text = f"{path.name} is another copy, perhaps of a file synchroniser; memosync check --repair merges it"
        yield Finding("note", "index", text)
    for path in library.broken_indexes():
        yield Finding("note", "index", f"{path.name} was kept when the index was rebuilt; nothing needs it")
    for path, memo in library.strangers():
        if memo:
            same = library.path(memo).exists() and filecmp.cmp(path, library.path(memo), shallow=False)
            yield Finding("note", memo.id, f"{path.name} is {'a copy' if same else 'another version'} of it")
        elif (memo_id := id_in_file_name(path.name)) is None:
            yield Finding("note", "files", f"{path.name} is no memo; memosync record takes it in")
        elif not library.is_busy(memo_id):
            yield Finding("note", memo_id, f"{path.name} is not in the index, and cannot be")
    for memo_id, path in library.recordings():
        what = "is being made" if library.is_busy(memo_id) else "was interrupted; the next command finishes it"
        yield Finding("note", memo_id, f"this recording {what}: {path.name}")
    for memo_id, path in library.leftovers():
        what = "is being made" if library.is_busy(memo_id) else "was left half-made"
        yield Finding("note", memo_id, f"{path.name} {what}")
    for infohash, size in library.downloads():
        what = "is being fetched" if library.is_busy(infohash) else f"waits for memosync fetch {infohash}"
        yield Finding("note", "download", f"{format_size(size)} of it are here, it {what}")
    for memo_id, path in library.orphans(trashed=True):
        yield Finding("note", memo_id, f"{path.name} is in the trash, and not in the index; --repair names it there")
    if trashed := [memo.trashed for memo in library.index().memos if memo.trashed]:
        yield Finding("ok", "trash", f"{len(trashed)} memos, the oldest since {min(trashed):%Y-%m-%d}")


def snapshots(library: Library) -> Iterator[Finding]:
    """Say from what a lost index would be rebuilt."""
    try:
        index, path = newest_snapshot(library)
    except LibraryError as error:
        yield Finding("note", "snapshots", str(error))
        return
    if path:
        when = datetime.fromtimestamp(time_of(path) / 1e9)
        yield Finding(
            "ok", "snapshots", f"the newest, {path.name}, is of {when:%Y-%m-%d %H:%M} and has {len(index.memos)} memos"
        )
    elif library.snapshots():
        yield Finding("note", "snapshots", "none can be read")
