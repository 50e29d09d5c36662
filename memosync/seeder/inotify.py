"""What changes in directories, as the kernel tells it (inotify(7)): nobody has to look meanwhile."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

from ..stop import Stop

_CHANGED = 0x008 | 0x040 | 0x080 | 0x200  # IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_DELETE
SELDOM, _OFTEN = 0.5, 0.1  # seconds between looks: where the kernel tells, but not what others do on a server; else


class Changes:
    """Waits for what is made, replaced or removed in directories."""

    def __init__(self, *places: Path) -> None:
        """Watch those that are there; where the kernel has nothing to say, `wait` is a short pause."""
        self._descriptor = -1
        with contextlib.suppress(AttributeError, OSError):  # another system
            libc = ctypes.CDLL(None)
            self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            for place in places:
                libc.inotify_add_watch(self._descriptor, os.fsencode(place), _CHANGED)

    def wait(self, stop: Stop, most: float) -> None:
        """Wait until something has changed or may have, `most` seconds, no longer than until `stop`."""
        if self._descriptor < 0:
            stop.wait(min(_OFTEN, most))
        else:
            stop.wait(most, self._descriptor)
            with contextlib.suppress(BlockingIOError):
                os.read(self._descriptor, 65_536)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
