"""Several arguments at once: one that fails is told and does not stop the others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from ..console import one_line
from ..errors import Interrupted, MemosyncError, Several
from ..library.store import Library
from ..magnet import shorten
from ..memo import Memo, MemoId
from ..stop import Stop

Item = TypeVar("Item")
Fail = Callable[[MemosyncError, str], None]  # the error, and which argument it is about


def each(
    items: Iterable[Item], do: Callable[[Item], None], *, name: Callable[[Item], str], stop: Stop, fail: Fail
) -> None:
    """Do it for every item; Several with the highest exit code when some failed, Interrupted at once."""
    errors: list[MemosyncError] = []
    for item in items:
        try:
            stop.check()
            do(item)
        except (Interrupted, Several) as error:
            if isinstance(error, Interrupted):
                raise
            errors.append(error)
        except MemosyncError as error:
            fail(error, shorten(name(item)))
            errors.append(error)
    if errors:
        raise Several(errors)


def choose(
    library: Library, words: Sequence[str], trashed: bool | None = False, *, everything: bool = False
) -> list[Memo]:
    """Find every memo that is meant, each once, before anything is done to one of them."""
    memos = [memo for memo in library.index().memos if not memo.trashed] if everything else []
    memos += [library.find(word, trashed) for word in words]
    return list({memo.id: memo for memo in memos}.values())


def locked(library: Library, memos: Iterable[Memo]) -> Iterator[list[MemoId]]:
    """Give the ids, a hundred at a time, while the memos are locked: in one order, which everybody keeps."""
    ids = sorted(memo.id for memo in memos)
    for batch in (ids[start : start + 100] for start in range(0, len(ids), 100)):
        with contextlib.ExitStack() as locks:
            for memo_id in batch:
                locks.enter_context(library.lock(memo_id))
            yield batch


def titles(memos: Sequence[Memo]) -> str:
    """Name memos to a person."""
    named = ", ".join(f"“{one_line(memo.title)[:60]}”" for memo in memos[:3])
    return f"{named} and {len(memos) - 3} more" if len(memos) > 3 else named
