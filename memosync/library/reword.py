"""Rewording: other words in a memo's file, while nobody was given a link to its bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from .. import files
from ..audio import webm
from ..errors import AudioError, LibraryError
from ..manifest import BIRTH, Cell, tick
from ..memo import Memo, MemoId, Words
from .entries import as_it_came
from .sealed import form_for_devices
from .stamps import content_of, format_content, stamped
from .store import Library


def reword(library: Library, memo: Memo, on_progress: Callable[[float], None] = lambda _fraction: None) -> Memo:
    """Have the file of a locked memo say its words; AudioError, and nothing changed, when it is damaged."""
    with contextlib.closing(Rewording(library)) as rewording:
        return rewording.write({memo.id: rewording.stage(memo, on_progress)})[memo.id]


class Rewording:
    """Other words for locked memos and their files, all at once: the index first, then the files, by `Library.settle`.

    The new contents are complete on the disk before that, so that whatever dies in between, the next command goes on
    from there. To be closed: what the index does not name by then is removed.
    """

    MOST = 64_000_000  # bytes that may be on the disk twice

    def __init__(self, library: Library) -> None:
        self._library = library
        self._staged: dict[MemoId, Path] = {}
        self._said: dict[MemoId, Words] = {}  # by what is staged
        self._size = 0

    @property
    def is_full(self) -> bool:
        """Tell whether so much is staged that it should be written before there is more."""
        return self._size >= self.MOST

    def stage(
        self, memo: Memo, on_progress: Callable[[float], None] = lambda _fraction: None
    ) -> Callable[[Memo], Memo]:
        """Complete a new content that says a memo's words, and give the change to its entry.

        That says what the file is then, and no word: a person may type one meanwhile, or another device say one.
        `on_progress` is told how far it is, 0 to 1. AudioError when the file is damaged, LibraryError.
        """
        library = self._library
        library.prepare()
        path, new = library.path(memo), library.rewritten(memo.id)
        half = new.with_suffix(".half")
        try:
            if not path.is_file():
                raise AudioError(f"{path.name} is gone")
            # what cannot be read may be mended some day
            made = webm.finish(path, half, memo.words, on_progress=on_progress)
            if made.duration < max(webm.probe(path).duration, memo.duration) - 0.1:
                raise AudioError(f"{path.name} is damaged, and stays as it is")
            with files.as_library_error(f"write {new}"):
                files.sync_file(half)
                self._staged[memo.id], self._said[memo.id] = new, memo.words
                files.move(half, new, sync=False)
                size = new.stat().st_size
        finally:
            with contextlib.suppress(OSError):  # the next command does it
                half.unlink()
        self._size += size
        content = _of_all_devices(library, memo, new) if memo.content else ""
        came = None if memo.born else as_it_came(memo, path)

        def change(memo: Memo) -> Memo:
            if came and not memo.born and came.words != memo.words:  # a person typed these, and soon no file tells
                memo = stamped(memo, *library.stamp_of_typed(), came)
            return replace(memo, size=size, content=content or memo.content)

        return change

    def write(self, changes: Mapping[MemoId, Callable[[Memo], Memo]], *, is_again: bool = False) -> dict[MemoId, Memo]:
        """Change these entries, in one write, and put the contents that are staged in their places; LibraryError.

        What a person typed meanwhile is in the files as well, where that can be.
        """
        is_named, said = False, self._said
        try:
            if self._staged:
                with files.as_library_error(f"write in {self._library.root}"):
                    files.sync_directory(next(iter(self._staged.values())).parent)
            changed = self._library.update(changes)
            is_named = True
        finally:
            self._settle(is_named=is_named)
        late = [memo for memo_id, memo in changed.items() if said.get(memo_id, memo.words) != memo.words]
        with contextlib.suppress(AudioError, LibraryError):  # the index says it
            if late and not is_again:
                return changed | self.write({memo.id: self.stage(memo) for memo in late}, is_again=True)
        return changed

    def close(self) -> None:
        """Move what the index names by now to its place, and remove the rest; LibraryError."""
        self._settle()

    def _settle(self, *, is_named: bool = False) -> None:
        if not self._staged:
            return
        staged, self._staged, self._said, self._size = self._staged, {}, {}, 0
        for memo_id, new in staged.items():
            self._library.settle(memo_id, new, is_named=is_named, sync=False)
        with files.as_library_error(f"write in {self._library.root}"):
            for place in (self._library.root, next(iter(staged.values())).parent):
                files.sync_directory(place)


def _of_all_devices(library: Library, memo: Memo, path: Path) -> str:
    """Say that this is the file that a memo is to have on all devices of the group from now on; LibraryError."""
    with files.as_library_error(f"read {path}"):
        digest, form = form_for_devices(library, path)
        value = {"sha256": digest.hex(), "size": path.stat().st_size, "infohash": form.infohash}
        now, me = library.stamp()
    before = content_of(memo)
    return format_content(Cell(value, tick(before.clock if before else BIRTH, now, me)))
