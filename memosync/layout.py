"""How the entries of an index stand in it: where one ends, and those that are laid out as we write them read at once.

That takes a twentieth of the time of TOML's grammar and of the rules for each key. Whatever stands otherwise, as a
person may write it, is left to these.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from .console import one_line
from .memo import ALPHABET, Memo

_BEFORE_ENTRY = re.compile(r"\n(?=\[\[memo\]\][ \t]*(?:#[^\n]*)?\r?(?:\n|\Z))")
_OTHER_TABLE = re.compile(r"\n[ \t]*\[(?!\[memo\]\]|\[?memo\.)")
_PLAIN = r'[^"\\\x00-\x1f\x7f]*'
_TEXT = rf'{_PLAIN}(?:\\["\\bfnrt]{_PLAIN})*'  # what TOML and JSON understand alike
_TEXTS = rf'\[\n((?:    "(?!"){_TEXT}",\n)+)\]'
_MOMENT = r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{6})?[+-](?:[01]\d|2[0-3]):[0-5]\d)"
_FLAG = "(true|false)"
_HASH = '"([0-9a-f]{40})"'
_REQUIRED = ("id", "file", "title", "recorded", "duration", "size")
_VALUES = {  # in the order in which we write them; what else the rules of `index` allow is left to these
    "id": f'"([{ALPHABET}]{{8}})"',
    "file": r'"((?!\.)[^"\\/\x00-\x1f\x7f]+\.webm)"',
    "title": f'"({_TEXT})"',
    "description": f'"({_TEXT})"',
    "tags": _TEXTS,
    "recorded": _MOMENT,
    "duration": r"((?:0|[1-9]\d{0,9})\.\d{1,20})",
    "size": r"(0|[1-9]\d{0,17})",
    "infohash": _HASH,
    "shared": _FLAG,
    "sealed": _HASH,
    "private": _FLAG,
    "renewals": r"(0|[1-9]\d{0,17})",
    "fetched": _FLAG,
    "trackers": _TEXTS,
    "typed": _FLAG,
    "trashed": _MOMENT,
    "uid": '"([0-9a-f]{64})"',
    "born": f'"({_TEXT})"',
    "stamps": _TEXTS,
    "content": f'"({_TEXT})"',
    "more": f'"({_TEXT})"',
}


def parts(text: str) -> list[str]:
    """Cut the text of an index before each entry; nothing where a line may be something else than it looks like.

    What stands before the first of them is the first part.
    """
    if '"""' in text or "'''" in text or _OTHER_TABLE.search(text):
        return []
    return _BEFORE_ENTRY.split(text)


def read(entry: str) -> Memo | None:
    """Give the memo of an entry that stands as we write it, None for any other."""
    if not (match := _entry().fullmatch(entry)):
        return None
    known: dict[str, Any] = {name: text for name, text in zip(_VALUES, match.groups(), strict=True) if text is not None}
    if not known["file"].isascii() and one_line(known["file"]) != known["file"]:
        return None
    try:
        for name, understand in _UNDERSTAND:
            if name in known:
                known[name] = understand(known[name])
    except ValueError:  # there is no such moment
        return None
    if "\\" in entry:
        known = {name: _unescaped(value) for name, value in known.items()}
    return Memo(**known)


@functools.cache
def _entry() -> re.Pattern[str]:
    lines = (rf"\n{name} = {value}" for name, value in _VALUES.items())
    wanted = (line if name in _REQUIRED else f"(?:{line})?" for name, line in zip(_VALUES, lines, strict=True))
    return re.compile(rf"\[\[memo\]\]{''.join(wanted)}\n*")


def _texts(lines: str) -> tuple[str, ...]:
    """Read the lines of an array, `    "work",`; what is escaped in them stays so."""
    return tuple(lines[5:-3].split('",\n    "'))


def _unescaped(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_unescaped, value))
    return json.loads(f'"{value}"') if isinstance(value, str) and "\\" in value else value


_UNDERSTAND: tuple[tuple[str, Callable[[str], Any]], ...] = (
    *((name, _texts) for name in ("tags", "trackers", "stamps")),
    *((name, datetime.fromisoformat) for name in ("recorded", "trashed")),
    *((name, "true".__eq__) for name in ("shared", "private", "fetched", "typed")),
    ("duration", float),
    *((name, int) for name in ("size", "renewals")),
)
