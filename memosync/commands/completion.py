"""Completion: what a TAB offers: words that begin like what was typed, and nothing when they cannot be found out.

A shell may run what stands in an answer or beside it, so of a stranger's words only harmless characters are shown.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import MemosyncError
from ..library.store import Library


def memo_ids(root: Path, beginning: str, *, trashed: bool) -> list[tuple[str, str]]:
    """Offer the ids of memos, newest first, each with its title."""
    try:
        memos = reversed(Library(root).index().memos)
    except MemosyncError:
        return []
    fitting = [memo for memo in memos if memo.id.startswith(beginning) and trashed == bool(memo.trashed)]
    return [(memo.id, re.sub(r"[^\w ,.!?-]+", " ", memo.title)) for memo in fitting]


def device_names(part: str) -> list[str]:
    """Offer the microphones with this part in their name."""
    from ..audio.microphone import devices

    try:
        names = [device.name for device in devices()]
    except MemosyncError:
        return []
    return [name for name in names if re.fullmatch(r"[\w .,:()+-]+", name) and part.casefold() in name.casefold()]
