"""Whether what is to come in is here already: the same sound, packet for packet, whatever the words with it.

Nothing is stored for it: how long a memo is, which the index says, finds the few that it may be, also in an old
library, and of these the files are read, so that what is damaged or was altered is never taken for a copy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from .. import files
from ..audio import webm
from ..errors import AudioError
from ..memo import Memo
from .store import Library

_MOST_ALIKE = 100  # memos with one sound, that are looked for
_NEAR = 0.5  # seconds: earlier versions reckoned otherwise where a file's clock is off, or its end is cut


def is_as_long(memo: Memo, duration: float) -> bool:
    """Tell whether a memo is about so many seconds long, as all memos of one sound are."""
    return abs(memo.duration - duration) < _NEAR


def same_sound(
    library: Library, path: Path, duration: float, on_progress: Callable[[float], None] = lambda _fraction: None
) -> Memo | None:
    """Find the memo with the sound of a WebM file of so many seconds; it is intact and not in the trash.

    `on_progress` is told how far a memo was compared, 0 to 1.
    """
    for memo in library.index().memos:
        if not memo.trashed and is_as_long(memo, duration):
            own = library.path(memo)
            with contextlib.suppress(AudioError, OSError):
                is_whole = files.status_of(own, links=True).st_size == memo.size
                if is_whole and webm.have_same_sound(own, path, on_progress):
                    return memo
    return None


def sound_or_nothing(path: Path) -> bytes:
    """Give what is heard of a file, nothing where that cannot be said."""
    with contextlib.suppress(AudioError, OSError):
        return webm.sound_of(path)
    return b""


def uid_of(sound: bytes, number: int = 0) -> str:
    """Give the uid of the memo of this sound; where there are several, each has its number."""
    import hashlib

    return hashlib.sha256(b"memosync uid v1" + sound + (str(number).encode() if number else b"")).hexdigest()


def is_of_sound(uid: str | None, sound: bytes) -> bool:
    """Tell whether a memo's uid is made of this sound."""
    return any(uid_of(sound, number) == uid for number in range(_MOST_ALIKE))


def has_sound_of(path: Path, uid: str | None) -> bool:
    """Tell whether a file has the sound that a memo's uid is made of; False where it cannot be read."""
    sound = sound_or_nothing(path)
    return bool(sound) and is_of_sound(uid, sound)
