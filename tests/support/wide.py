"""Another language for the page: every letter of its words is a wide one, so a narrow one is a word left behind."""

from __future__ import annotations

import re
from typing import Any

_LETTER = re.compile(r"\{\w+\}|[A-Za-z]")


def widened(words: Any) -> Any:
    """Translate what is in a table, a list or a text; what is in braces stays."""
    if isinstance(words, dict):
        return {key: widened(value) for key, value in words.items()}
    if isinstance(words, list):
        return [widened(value) for value in words]
    return _LETTER.sub(lambda match: match[0] if match[0][0] == "{" else chr(ord(match[0]) + 0xFEE0), words)
