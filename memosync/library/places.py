"""Where the files of memos are, and where the index says that they belong."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from .. import files
from ..errors import LibraryError
from ..memo import Memo, MemoId, id_in_file_name
from .store import Library


def is_awaited(library: Library, memo: Memo, path: Path | None = None) -> bool:
    """Tell whether a memo is known from other devices alone: its file is not here, at its `path`, or not yet."""
    return bool(memo.content) and not os.path.lexists(path or library.path(memo))


def place(library: Library) -> None:
    """Move files to where the index says that they are: some to the trash, some back."""
    at_home, thrown = set(files.names(library.root, links=True)), set[str]()
    with contextlib.suppress(LibraryError):
        thrown.update(files.names(library.trash))
    for memo in library.index().memos:
        here, there = (at_home, thrown) if memo.trashed else (thrown, at_home)
        if memo.born and memo.file in here and memo.file not in there and _misplaced(library, memo):
            with library.lock(memo.id), files.as_library_error(f"move the file of memo {memo.id}"):
                now = library.index().get(memo.id)
                if now and (move := _misplaced(library, now)):
                    files.make_directory(move[1].parent)
                    files.move(*move)


def is_here(library: Library, name: str) -> bool:
    return files.is_regular(library.root / name) or files.is_regular(library.trash / name)


def files_by_id(library: Library) -> dict[MemoId, str]:
    """Give the names of memos' files that are here, by the id in them."""
    names = [*files.names(library.trash), *files.names(library.root, links=True)]
    return {memo_id: name for name in names if (memo_id := id_in_file_name(name))}


def _misplaced(library: Library, memo: Memo) -> tuple[Path, Path] | None:
    """Give from where to where a memo's file has to be moved, if it has."""
    home, thrown = library.root / memo.file, library.trash / memo.file
    here, there = (home, thrown) if memo.trashed else (thrown, home)
    return (here, there) if not os.path.lexists(there) and files.is_regular(here) else None
