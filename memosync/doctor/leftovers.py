"""What `check` finds beside the memos: copies, half-made files, the trash, earlier indexes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from .. import files
from ..errors import LibraryError
from ..files import are_same, time_of, used_space
from ..library import keys
from ..library.downloads import unfinished
from ..library.store import Library
from ..memo import Memo, MemoId, id_in_file_name
from ..quantities import format_count, format_moment, format_size, from_stamp
from .finding import Finding


def leftovers(library: Library) -> Iterator[Finding]:
    """State what is no memo: none of it is a defect."""
    for path in library.snapshots.copies():
        text = f"{path.name} is another copy, perhaps of a file synchroniser; memosync check --repair merges it"
        yield Finding("note", "index", text)
    for path in library.snapshots.broken():
        yield Finding("note", "index", f"{path.name} was kept when the index was rebuilt; nothing needs it")
    for path, memo in library.strangers():
        memo_id = id_in_file_name(path.name)
        if memo and library.path(memo).exists():  # else it was said already
            same = are_same(path, library.path(memo))
            yield Finding("note", memo.id, f"{path.name} is {'a copy' if same else 'another version'} of it")
        elif memo_id is None and not memo:
            yield Finding("note", "files", f"{path.name} is no memo; memosync record takes it in")
        elif memo_id and not library.is_busy(memo_id) and not library.index().get(memo_id):
            yield Finding("note", memo_id, f"{path.name} is not in the index, and cannot be")
    for memo_id, path in library.recordings():
        yield from _half_made(library, memo_id, path, "was interrupted; the next command finishes it")
    for memo_id, path in library.leftovers():
        yield from _half_made(library, memo_id, path, "was left half-made")
    yield from _downloads(library)
    for memo_id, path in library.orphans(trashed=True):
        yield Finding("note", memo_id, f"{path.name} is in the trash, and not in the index; --repair names it there")
    if forms := used_space(library.forms):
        yield Finding("ok", "sealed", f"{format_size(forms)} for private links, made again where they are lost")
    if forms := used_space(library.underway):
        yield Finding("ok", "sync", f"{format_size(forms)} on its way to other devices, or from them")
    yield from _keys(library)
    if trashed := [memo.trashed for memo in library.index().memos if memo.trashed]:
        yield Finding("ok", "trash", f"{format_count(len(trashed))}, the oldest since {min(trashed).date()}")


def _downloads(library: Library) -> Iterator[Finding]:
    """Say what did not arrive whole, and what can be done: perhaps nobody has it any more."""
    for download in unfinished(library):
        title = "a private memo" if download.is_sealed else f"“{download.title}”"
        if library.is_busy(download.infohash):
            yield Finding("note", download.name, f"{title} is being fetched")
        elif library.incoming(download.infohash).exists():
            of = f" of {format_size(download.size)}" if download.size else ""
            arrived = f"{format_size(download.arrived)}{of} arrived, nothing new since {format_moment(download.since)}"
            ways = f"memosync fetch with its link goes on, memosync rm --purge {download.name} drops it"
            yield Finding("note", download.name, f"{title}: {arrived}; {ways}")


def _keys(library: Library) -> Iterator[Finding]:
    """Say who can read the keys of private links but their owner, and where the secret is lost."""
    if not keys.has_keys(library):
        return
    with contextlib.suppress(OSError):
        places = [library.keys, *(library.keys / name for name in files.names(library.keys))]
        if any(files.mode_of(place) & 0o077 for place in places):
            yield Finding("note", "keys", f"others may read {library.keys}; chmod -R go= {library.keys} closes it")
    try:
        if not keys.has_secret(library) and any(map(_is_ours, library.index().memos)):  # else none was ever made
            text = "the library's secret is lost; links that were given go on, new ones come from another one"
            yield Finding("note", "keys", text)
    except LibraryError as error:
        yield Finding("note", "keys", f"{error}; {error.hint}")


def _is_ours(memo: Memo) -> bool:
    """Tell whether a memo has a private link that was made with the library's secret, and did not come."""
    return bool(memo.sealed and (memo.renewals or not memo.fetched))


def snapshots(library: Library) -> Iterator[Finding]:
    """Say from what a lost index would be rebuilt."""
    try:
        found, (index, path) = library.snapshots.kept(), library.snapshots.newest()
    except LibraryError as error:
        yield Finding("note", "snapshots", str(error))
        return
    if path:
        when = format_moment(from_stamp(time_of(path) / 1e9))
        yield Finding("ok", "snapshots", f"{path.name} is of {when}, {format_count(len(index.memos))}")
    elif found:
        yield Finding("note", "snapshots", "none can be read")


def _half_made(library: Library, name: MemoId, path: Path, idle: str) -> Iterator[Finding]:
    """Say that somebody is at it, or that it was left, unless it is done by now."""
    if library.is_busy(name):
        yield Finding("note", name, f"{path.name} is being made")
    elif path.exists():
        yield Finding("note", name, f"{path.name} {idle}")
