"""What a command says to people, as one value; and what of a stranger's words is safe to say."""

from __future__ import annotations

import re

INVISIBLE = re.compile(  # controls, line separators, bidi marks, lone surrogates
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def one_line(text: str) -> str:
    """Turn control, separator and bidi characters into spaces: safe for a terminal and for a row."""
    return INVISIBLE.sub(" ", text)
