"""Every way a command can fail; the class is the exit code.

MemosyncError
├── UsageError      2  bad options, a source that is not there, a refusal
├── NotFoundError   3  no such memo, or more than one
├── SwarmError      4  no peer in time, or not finished
├── TorrentError    5  a bad link, a hostile or foreign torrent
├── LibraryError    6  the library or the disk
├── AudioError      7  no microphone, nothing captured, not audio
├── SeederError     8  already running, not running, did not start
└── Interrupted   128+ a signal ended what cannot be ended well
"""

from __future__ import annotations

import contextlib
from queue import Empty, SimpleQueue


class MemosyncError(Exception):
    """Say in one line what happened; `hint` is what to type next."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(MemosyncError):
    exit_code = 2


class NotFoundError(MemosyncError):
    exit_code = 3


class SwarmError(MemosyncError):
    exit_code = 4


class TorrentError(MemosyncError):
    exit_code = 5


class LibraryError(MemosyncError):
    exit_code = 6


class AudioError(MemosyncError):
    exit_code = 7


class SeederError(MemosyncError):
    exit_code = 8


class Interrupted(MemosyncError):
    def __init__(self, signal_number: int) -> None:
        super().__init__("interrupted")
        self.exit_code = 128 + signal_number


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


class Several(MemosyncError):
    """What went wrong with several arguments, each told already; the highest exit code wins."""

    def __init__(self, errors: list[MemosyncError]) -> None:
        super().__init__(f"{len(errors)} failed")
        self.exit_code = max(error.exit_code for error in errors)
