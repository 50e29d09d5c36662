"""The end that a signal asks for: one value, handed to whatever may take long."""

from __future__ import annotations

import math
import os
import select

from .errors import Interrupted


class Stop:
    """Set when a signal asks the program to end; it remembers which.

    A threading.Event will not do: where a signal meets the one that waits while that holds its lock, `set` waits for
    ever. Nor will a SimpleQueue: one that a signal meets as its time is over may wait for ever, too (CPython 3.11).
    What is written into a pipe is there, whoever waits and at whatever moment.
    """

    signal_number = 2

    def __init__(self) -> None:
        self.times = 0  # that the end was asked for
        self._out, self._in = os.pipe()

    def __del__(self) -> None:
        os.close(self._out)
        os.close(self._in)

    def is_set(self) -> bool:
        return self.times > 0

    def set(self) -> None:
        self.times += 1
        if self.times == 1:
            os.write(self._in, b"\0")  # which nobody reads: it is there for all who wait

    def wait(self, timeout: float | None = None, *others: int) -> bool:
        """Wait so many seconds at most, for ever without, and tell whether it is set.

        Something to read from one of the `others`, descriptors, ends it, too.
        """
        if not self.is_set():
            waiting = select.poll()
            for descriptor in (self._out, *others):
                waiting.register(descriptor, select.POLLIN)
            waiting.poll(None if timeout is None else math.ceil(max(0.0, timeout) * 1000))
        return self.is_set()

    def check(self) -> None:
        """Raise Interrupted once it is set: for work that has no good end half-way."""
        if self.is_set():
            raise Interrupted(self.signal_number)
