"""Where the files of memos are, and where the index says that they belong."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from .. import files
from ..errors import LibraryError
from ..memo import Memo, MemoId, id_in_file_name
from .sealed import digest_of
from .sounds import has_sound_of
from .stamps import content_of
from .store import Library


def is_awaited(library: Library, memo: Memo, path: Path | None = None) -> bool:
    """Tell whether a memo is known from other devices alone: its file is not here, at its `path`, or not yet."""
    return bool(memo.content) and not os.path.lexists(path or library.path(memo))


def place(library: Library) -> None:
    """Move files to where the index says that they are: some to the trash, some back, some to another name.

    An index that was put back may name a file as it was called before it came from another device once more: what has
    the memo's id in its name, and the bytes that all devices are to have, or their sound, is it.
    """
    at_home, thrown = set(files.names(library.root, links=True)), set[str]()
    with contextlib.suppress(LibraryError):
        thrown.update(files.names(library.trash))
    memos = library.index().memos
    strange = {name for name in at_home | thrown if id_in_file_name(name)} - {memo.file for memo in memos}
    for memo in memos:
        here, there = (at_home, thrown) if memo.trashed else (thrown, at_home)
        find = _misplaced if memo.file in here else _renamed if strange and memo.content else None
        if find and memo.born and memo.file not in there and find(library, memo):
            with library.lock(memo.id), files.as_library_error(f"move the file of memo {memo.id}"):
                now = library.index().get(memo.id)
                if now and (move := find(library, now)):
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


def _renamed(library: Library, memo: Memo) -> tuple[Path, Path] | None:
    """Give from where to where a memo's file has to be moved that has another name than the index says."""
    known, content = {memo.file for memo in library.index().memos}, content_of(memo)
    there = (library.trash if memo.trashed else library.root) / memo.file
    if not content or os.path.lexists(library.path(memo)):
        return None
    for place in (library.root, library.trash):
        for name in {name for name in files.names(place) if id_in_file_name(name) == memo.id} - known:
            path = place / name
            with contextlib.suppress(OSError):
                if files.is_regular(path) and (
                    digest_of(path).hex() == content.value["sha256"] or has_sound_of(path, memo.uid)
                ):
                    return path, there
    return None
