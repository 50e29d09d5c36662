"""The SHA-256 and the soundness of files that are asked for again and again, looked at only when one has changed."""

from __future__ import annotations

from pathlib import Path

from .. import files
from ..memo import Memo
from .identity import sounds_as_it_should
from .sealed import digest_of
from .store import Library


class Digests:
    """Those of a library's files, as far as they were asked for."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int, int], str]] = {}
        self._whole: dict[Path, tuple[tuple[int, int, int], str | None, bool]] = {}

    def of(self, path: Path) -> str:
        """Give the SHA-256 of a file, hexadecimal; OSError."""
        state = files.state_of(path)
        known = self._known.get(path)
        if not known or known[0] != state:
            known = self._known[path] = state, digest_of(path).hex()
        return known[1]

    def is_whole(self, library: Library, memo: Memo) -> bool:
        """Tell whether a memo's file sounds as it should, whatever its words are: else it was altered. OSError."""
        path = library.path(memo)
        state = files.state_of(path)
        known = self._whole.get(path)
        if not known or known[:2] != (state, memo.uid):
            known = self._whole[path] = state, memo.uid, sounds_as_it_should(library, memo)
        return known[2]
