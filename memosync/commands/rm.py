"""rm and restore: to the trash, where memos stay for a month, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from ..errors import LibraryError, UsageError
from ..library import trash
from ..library.store import Library
from ..memo import Memo
from .opening import Tell
from .several import locked, titles


def rm(
    library: Library, memos: Sequence[Memo], *, purge: bool, now: datetime, tell: Tell, answer: Callable[[str], None]
) -> None:
    """Have memos be gone, with `purge` for ever; they are served no longer."""
    for batch in locked(library, memos):
        trashed = trash.put(library, batch, now)
        if purge:
            trash.purge(library, trashed.values())
    for memo in memos:
        answer(memo.id)
    if memos:
        tell(("purged: " if purge else "in the trash, from where memosync restore brings it back: ") + titles(memos))


def restore(library: Library, memos: Sequence[Memo], *, tell: Tell, answer: Callable[[str], None]) -> None:
    """Bring memos back as they were; those that were shared are served again."""
    for batch in locked(library, memos):
        trash.take_back(library, batch)
    for memo in memos:
        answer(memo.id)
    if memos:
        tell(f"back from the trash: {titles(memos)}")


def refuse_unasked(memos: Sequence[Memo], ask: Callable[[str], bool | None]) -> None:
    """Ask once whether all of them are to be destroyed; UsageError without a yes, or without anybody to ask."""
    if memos and not (said := ask(f"destroy {titles(memos)} for ever?")):
        nobody = "nothing is purged where nobody can be asked", "--force purges without a question"
        raise UsageError(*nobody) if said is None else UsageError("nothing is purged")


def empty(library: Library, *, now: datetime, tell: Tell) -> None:
    """Purge what has been in the trash for a month, and say so; a disk that refuses is a warning."""
    try:
        memos = trash.overdue(library, now)
        for batch in locked(library, memos):
            trash.purge(library, [memo for memo in memos if memo.id in batch])
        if memos:
            tell(f"purged after a month in the trash: {titles(memos)}")
    except LibraryError as error:
        tell(f"warning: the trash is left as it is: {error}")
