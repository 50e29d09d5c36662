"""The SHA-256 of files that are asked for again and again, each looked at only when it has changed."""

from __future__ import annotations

from pathlib import Path

from .. import files
from .sealed import digest_of


class Digests:
    """Those of a library's files, as far as they were asked for."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int, int], str]] = {}

    def of(self, path: Path) -> str:
        """Give the SHA-256 of a file, hexadecimal; OSError."""
        state = files.state_of(path)
        known = self._known.get(path)
        if not known or known[0] != state:
            known = self._known[path] = state, digest_of(path).hex()
        return known[1]
