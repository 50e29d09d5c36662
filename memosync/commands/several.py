"""Several arguments at once: one that fails is told and does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from ..errors import Interrupted, MemosyncError, Several, Stop
from ..magnet import shorten

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
