"""The levels of a memo: found out once, and kept in a cache that may be deleted at any time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from .. import files
from ..audio import loudness
from ..audio.loudness import STEPS, Gauge, Levels
from ..errors import AudioError, MemosyncError
from ..memo import Memo
from ..stop import Stop
from .store import Library


def levels_of(
    library: Library, memo: Memo, *, on_progress: Callable[[float, bytes], None] = lambda _part, _wave: None, stop: Stop
) -> Levels:
    """Give the levels from the cache, else measure and keep them; AudioError when the memo cannot be heard."""
    with contextlib.suppress(OSError, ValueError):
        return loudness.loads(library.cache(memo.id).read_bytes())
    with files.as_library_error(f"read {memo.file}"):
        levels = loudness.measure(library.path(memo), on_progress=on_progress, stop=stop)
    _keep(library, memo, levels)
    return levels


def watch_wave(library: Library, memo: Memo, *, stop: Stop) -> Callable[[], bytes]:
    """Find the levels on a thread of its own; what is returned gives the wave as far as it is known by then."""
    known = b""

    def look(_part: float, wave: bytes) -> None:
        nonlocal known
        known = wave

    def find() -> None:
        with contextlib.suppress(MemosyncError):
            look(1, levels_of(library, memo, on_progress=look, stop=stop).wave)

    threading.Thread(target=find, daemon=True).start()
    return lambda: known


def keep_heard(library: Library, memo: Memo, gauge: Gauge) -> None:
    """Keep what was heard on the way to the encoder, when it was all of it: packets that were copied were not heard."""
    with contextlib.suppress(AudioError):
        levels = gauge.levels()
        if levels.wave and abs(len(levels.wave) / STEPS - memo.duration) < 0.5:
            _keep(library, memo, levels)


def _keep(library: Library, memo: Memo, levels: Levels) -> None:
    """Keep levels where that is possible; half of them are found out to be so, and can be measured again."""
    path = library.cache(memo.id)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(levels.dumps())
