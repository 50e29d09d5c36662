"""What other indexes say: earlier ones of ours, and copies that a file synchroniser left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from .. import files, index
from ..errors import LibraryError
from ..index import Index
from ..library.store import Library
from ..memo import MemoId
from .entries import Entry


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
