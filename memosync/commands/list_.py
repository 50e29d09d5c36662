"""list: what is in the library, newest first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..library import Library
from ..memo import Memo, matches
from .linking import Linker


@dataclass(frozen=True, slots=True)
class Row:
    """A memo as `list` shows it."""

    memo: Memo
    path: Path
    link: str | None
    damaged: bool  # its file is gone, or has another size than the index says

    @property
    def flags(self) -> str:
        """Those of `sftd` that hold: served, fetched, trashed, damaged."""
        held = ("s", self.memo.shared), ("f", self.memo.fetched), ("t", self.memo.trashed), ("d", self.damaged)
        return "".join(letter for letter, holds in held if holds) or "-"


def list_memos(
    library: Library,
    words: Iterable[str] = (),
    *,
    tag: str | None = None,
    since: datetime | None = None,
    shared: bool = False,
    most: int | None = None,
    link: Linker,
) -> list[Row]:
    """Find the memos in which every word stands, newest first, at most `most`."""
    words = list(words)
    memos = [
        memo
        for memo in reversed(library.index().memos)  # of two of one second the one added last comes first
        if not memo.trashed
        and (tag is None or tag.casefold() in map(str.casefold, memo.tags))
        and (since is None or memo.recorded >= since)
        and (memo.shared or not shared)
        and matches(memo, words)
    ]
    memos.sort(key=lambda memo: memo.recorded, reverse=True)
    memos = memos[:most]
    return [row_of(library, memo, link) for memo in memos]


def row_of(library: Library, memo: Memo, link: Linker) -> Row:
    path = library.path(memo)
    return Row(memo, path, link(memo), not library.is_sound(memo, path))
