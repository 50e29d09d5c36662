"""Rewording: other words in a memo's file, while nobody was given a link to its bytes."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from .. import files, index
from ..audio import webm
from ..errors import AudioError
from ..manifest import BIRTH, Cell, tick
from ..memo import Memo
from .sealed import form_for_devices
from .stamps import content_of, format_content
from .store import Library


def reword(library: Library, memo: Memo) -> Memo:
    """Have a locked memo and its file say these words: the index first, then the file, by `Library.settle`.

    Its new content is complete on the disk before that, so that whatever dies in between, the next command goes on
    from there. AudioError, and nothing changed, when the file is damaged.
    """
    library.prepare()
    path, new = library.path(memo), library.rewritten(memo.id)
    half = new.with_suffix(".half")
    try:
        if not path.is_file():
            raise AudioError(f"{path.name} is gone")
        # what cannot be read may be mended some day
        if webm.finish(path, half, memo.words).duration < max(webm.probe(path).duration, memo.duration) - 0.1:
            raise AudioError(f"{path.name} is damaged, and stays as it is")
        with files.as_library_error(f"write {new}"):
            files.move(half, new)
            size = new.stat().st_size
    finally:
        with contextlib.suppress(OSError):  # the next command does it
            half.unlink()
    words = {name: getattr(memo, name) for name in index.EDITABLE}
    if memo.content:
        words["content"] = _of_all_devices(library, memo, new)
    is_named = False
    try:
        after = library.update({memo.id: lambda memo: replace(memo, size=size, **words)})[memo.id]
        is_named = True
    finally:
        library.settle(memo.id, new, is_named=is_named)
    return after


def _of_all_devices(library: Library, memo: Memo, path: Path) -> str:
    """Say that this is the file that a memo is to have on all devices of the group from now on; LibraryError."""
    with files.as_library_error(f"read {path}"):
        digest, form = form_for_devices(library, path)
        value = {"sha256": digest.hex(), "size": path.stat().st_size, "infohash": form.infohash}
        now, me = library.stamp()
    before = content_of(memo)
    return format_content(Cell(value, tick(before.clock if before else BIRTH, now, me)))
