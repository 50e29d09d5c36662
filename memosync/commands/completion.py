"""Completion: what a TAB offers: words that begin like what was typed, and nothing when they cannot be found out.

A shell may run what stands in an answer or beside it, so where the answer is `plain` it has of a stranger's words only
harmless characters. Our own scripts evaluate nothing.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from .. import index
from ..console import one_line
from ..errors import MemosyncError
from ..library.store import Library

_UNSAFE = re.compile(r"[^\w ,.!?-]+")


def memo_ids(root: Path, beginning: str, *, trashed: bool, plain: bool) -> list[tuple[str, str]]:
    """Offer the ids of memos, last added first, each with its title, and `last`, which begins like no id."""
    with contextlib.suppress(MemosyncError, UnicodeDecodeError):
        offered = index.offers(Library(root).index_bytes().decode("utf-8"))
        found = [(memo_id, title) for memo_id, title, is_trashed in offered if trashed == is_trashed]
        last = [("last", "thrown away last" if trashed else found[0][1])] if found else []
        return [(word, _shown(title, plain)) for word, title in last + found if word.startswith(beginning)]
    return []


def tags(root: Path, beginning: str, *, plain: bool) -> list[str]:
    """Offer tags, the most used first; also behind the sign that `edit` takes."""
    sign = beginning[:1] if beginning[:1] in ("+", "-") else ""
    with contextlib.suppress(MemosyncError, UnicodeDecodeError):
        known = index.tags_in(Library(root).index_bytes().decode("utf-8"))
        return [sign + tag for tag in known if _shown(tag, plain) == tag and "\\" not in tag]
    return []


def device_names(part: str) -> list[str]:
    """Offer the microphones with this part in their name."""
    from ..audio.microphone import devices

    try:
        names = [device.name for device in devices()]
    except MemosyncError:
        return []
    return [name for name in names if re.fullmatch(r"[\w .,:()+-]+", name) and part.casefold() in name.casefold()]


def _shown(text: str, plain: bool) -> str:
    return _UNSAFE.sub(" ", text) if plain else one_line(text)
