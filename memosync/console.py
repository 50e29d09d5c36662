"""What a command says to people, as one value; and what of a stranger's words is safe to say."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from .errors import MemosyncError

INVISIBLE = re.compile(  # controls, line separators, bidi marks, lone surrogates
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def one_line(text: str) -> str:
    """Turn control, separator and bidi characters into spaces: safe for a terminal and for a row."""
    return INVISIBLE.sub(" ", text)


def part(on_progress: Callable[[float], None], begin: float, end: float) -> Callable[[float], None]:
    """Have a part of some work, 0 to 1 of itself, told as what of the whole it is: from `begin` to `end`."""
    return lambda fraction: on_progress(begin + fraction * (end - begin))


def _silent(*_: object) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """How a command talks with people; by default it does not."""

    answer: Callable[[str], None] = _silent  # one line of the answer
    tell: Callable[[str], None] = _silent  # something on the way
    warn: Callable[[str], None] = _silent  # something that a person should know even when they want to hear little
    alarm: Callable[[str], None] = _silent  # something that they should look up for
    fail: Callable[[MemosyncError, str], None] = _silent  # an error that does not end the command, and what it is about
    progress: Callable[[str, float], None] = _silent  # of what, and which fraction is done: 1 ends it
    ask: Callable[[str], bool | None] = _silent  # a question of yes or no; None when nobody is there to ask
    log: Callable[[str], None] = _silent  # a line of the seeder's log
