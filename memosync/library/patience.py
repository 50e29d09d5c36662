"""Patience: how long a command waits for the locks of others: until its end is asked for, and not in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .. import process
from ..console import one_line
from ..errors import Interrupted
from ..files import Watch
from ..stop import Stop

_SILENT = 1.0  # seconds


class Patience:
    """What a command does while it waits for a lock; by default that is nothing, for as long as it takes."""

    def __init__(self, stop: Stop | None = None, tell: Callable[[str], None] = lambda _text: None) -> None:
        self._stop, self._tell = stop, tell
        self._heard = 0

    def save_first(self) -> None:
        """Note that whoever asked for the end so far wants just this: that what there is is saved.

        From now on only one who asks again ends a wait.
        """
        if self._stop:
            self._heard = self._stop.times

    def watch(self, what: str) -> Watch:
        """Give what is done while somebody else is at this; Interrupted once the end is asked for."""
        told = False

        def look(lock: Path, seconds: float) -> None:
            nonlocal told
            if self._stop and self._stop.times > self._heard:
                raise Interrupted(self._stop.signal_number)
            if seconds >= _SILENT and not told:
                told = True
                pid = process.lock_holder(lock)
                who = f"process {pid} ({one_line(process.program(pid))})" if pid else "another process"
                self._tell(f"waiting for {who}, which is at {what}")

        return look
