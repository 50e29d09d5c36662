"""How loud memos are: measured once, and kept in a cache that may be deleted at any time."""

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
    library: Library,
    memo: Memo,
    *,
    on_progress: Callable[[float, bytes], None] = lambda _fraction, _wave: None,
    stop: Stop,
) -> Levels:
    """Give the levels from the cache, else measure and keep them; AudioError when the memo cannot be decoded."""
    with contextlib.suppress(OSError, ValueError):
        return loudness.loads(files.read(library.cache(memo.id)))
    with files.as_library_error(f"read {memo.file}"):
        levels = loudness.measure(library.path(memo), on_progress=on_progress, stop=stop)
    _keep(library, memo, levels)
    return levels


def watch_wave(library: Library, memo: Memo, *, stop: Stop) -> Callable[[], bytes]:
    """Measure on a thread of its own; what is returned gives the waveform as far as it is known by then."""
    known = b""

    def look(_fraction: float, wave: bytes) -> None:
        nonlocal known
        known = wave

    def find() -> None:
        with contextlib.suppress(MemosyncError):
            look(1, levels_of(library, memo, on_progress=look, stop=stop).wave)

    threading.Thread(target=find, daemon=True).start()
    return lambda: known


def keep_measured(library: Library, memo: Memo, gauge: Gauge) -> None:
    """Keep what was measured of a recording as it went, when that was all of it."""
    with contextlib.suppress(AudioError):
        levels = gauge.levels()
        if levels.wave and abs(len(levels.wave) / STEPS - memo.duration) < 0.5:
            _keep(library, memo, levels)


def _keep(library: Library, memo: Memo, levels: Levels) -> None:
    """Keep levels where that is possible; a file that was cut is known by its check sum, and measured again."""
    path = library.cache(memo.id)
    with contextlib.suppress(OSError):
        files.write(path, levels.dumps(), sync=False)
