"""The end that a signal asks for: one value, handed to whatever may take long."""

from __future__ import annotations

import contextlib
from queue import Empty, SimpleQueue

from .errors import Interrupted


class Stop:
    """Set when a signal asks the program to end; it remembers which.

    A threading.Event will not do: where a signal meets the one that waits while that holds its lock, `set` waits for
    ever. A SimpleQueue may be put into at any moment.
    """

    signal_number = 2

    def __init__(self) -> None:
        self._set = False
        self._wake: SimpleQueue[None] = SimpleQueue()

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        self._wake.put(None)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait so many seconds at most, for ever without, and tell whether it is set."""
        if not self._set:
            with contextlib.suppress(Empty):
                self._wake.get(timeout=None if timeout is None else max(0.0, timeout))
                self._wake.put(None)  # for whoever else waits
        return self._set

    def check(self) -> None:
        """Raise Interrupted once it is set: for work that has no good end half-way."""
        if self.is_set():
            raise Interrupted(self.signal_number)
