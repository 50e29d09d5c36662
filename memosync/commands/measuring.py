"""The levels of a memo: found out once, and kept in a cache that may be deleted at any time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from .. import files, loudness
from ..errors import Stop
from ..library import Library
from ..loudness import STEPS, Levels
from ..memo import Memo


def levels_of(
    library: Library, memo: Memo, *, on_progress: Callable[[float, bytes], None] = lambda _part, _wave: None, stop: Stop
) -> Levels:
    """Give the levels from the cache, else measure and keep them; AudioError when the memo cannot be heard."""
    with contextlib.suppress(OSError, ValueError):
        levels = loudness.loads(library.cache(memo.id).read_bytes())
        if abs(len(levels.wave) / STEPS - memo.duration) < 1:  # another memo may have had this id
            return levels
    with files.as_library_error(f"read {memo.file}"):
        levels = loudness.measure(library.path(memo), on_progress=on_progress, stop=stop)
    keep_levels(library, memo, levels)
    return levels


def keep_levels(library: Library, memo: Memo, levels: Levels) -> None:
    """Keep levels where that is possible: they can be measured again."""
    path = library.cache(memo.id)
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        files.write(path, levels.dumps(), sync=False)
