"""list: what is in the library, newest first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..library.store import Library
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
        memo = self.memo
        served = memo.shared and not memo.trashed
        held = ("s", served), ("f", memo.fetched), ("t", memo.trashed), ("d", self.damaged)
        return "".join(letter for letter, holds in held if holds) or "-"


def list_memos(
    library: Library,
    words: Iterable[str] = (),
    *,
    tag: str | None = None,
    since: datetime | None = None,
    shared: bool = False,
    trashed: bool = False,
    most: int | None = None,
    link: Linker,
) -> list[Row]:
    """Find the memos in which every word stands, newest first, or last trashed first; at most `most`."""
    words = list(words)
    memos = [
        memo
        for memo in reversed(library.index().memos)  # of two of one second the one added last comes first
        if trashed == bool(memo.trashed)
        and (tag is None or tag.casefold() in map(str.casefold, memo.tags))
        and (since is None or memo.recorded >= since)
        and (memo.shared or not shared)
        and matches(memo, words)
    ]
    memos.sort(key=lambda memo: memo.trashed or memo.recorded, reverse=True)
    rows = []
    for memo in memos[:most]:
        row = row_of(library, memo, link)
        while row.damaged and (now := library.index().get(memo.id)) != row.memo:  # it was changed meanwhile
            if now is None or trashed != bool(now.trashed):
                break
            row = row_of(library, now, link)
        else:
            rows.append(row)
    return rows


def row_of(library: Library, memo: Memo, link: Linker) -> Row:
    path = library.path(memo)
    return Row(memo, path, link(memo), not library.is_sound(memo, path))
