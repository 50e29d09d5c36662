"""A disk that refuses: a write that fails, or all from one on, in the process that tests it."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from typing import Any

from .crash import changes

_STATE: dict[str, Any] = {"left": None}


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if _STATE["left"] is not None and changes(event, arguments):
        _STATE["left"] -= 1
        if _STATE["left"] == -1 or (_STATE["left"] < 0 and _STATE["for_good"]):
            _STATE["refused"].append(event)
            raise OSError(_STATE["error"], os.strerror(_STATE["error"]))


@functools.cache  # an audit hook stays
def _install() -> None:
    sys.addaudithook(_look)


@contextlib.contextmanager
def refusing(after: int, error: int, for_good: bool) -> Iterator[list[str]]:
    """Refuse the write after so many, or that and all that come, and give what was refused."""
    _install()
    refused: list[str] = []
    _STATE.update(left=after, error=error, for_good=for_good, refused=refused)
    try:
        yield refused
    finally:
        _STATE["left"] = None
