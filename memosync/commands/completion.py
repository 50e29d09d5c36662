"""Completion: what a TAB offers: words that begin like what was typed, and nothing when they cannot be found out.

A shell may run what stands in an answer or beside it, so of a stranger's words only harmless characters are shown.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from .. import index
from ..errors import MemosyncError
from ..library.store import Library

_UNSAFE = re.compile(r"[^\w ,.!?-]+")


def memo_ids(root: Path, beginning: str, *, trashed: bool) -> list[tuple[str, str]]:
    """Offer the ids of memos, newest first, each with its title."""
    with contextlib.suppress(MemosyncError, UnicodeDecodeError):
        offered = index.offers(Library(root).index_bytes().decode("utf-8"))
        fitting = [(memo_id, title) for memo_id, title, is_trashed in offered if trashed == is_trashed]
        return [(memo_id, _UNSAFE.sub(" ", title)) for memo_id, title in fitting if memo_id.startswith(beginning)]
    return []


def device_names(part: str) -> list[str]:
    """Offer the microphones with this part in their name."""
    from ..audio.microphone import devices

    try:
        names = [device.name for device in devices()]
    except MemosyncError:
        return []
    return [name for name in names if re.fullmatch(r"[\w .,:()+-]+", name) and part.casefold() in name.casefold()]
