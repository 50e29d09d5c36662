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


class MemosyncError(Exception):
    """Say in one line what happened; `hint` is what to type next."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def reason_of(error: Exception) -> str:
    """Word why something was refused, by the operating system or by us, to stand within a line."""
    reason: str = getattr(error, "strerror", None) or str(error)
    return reason[:1].lower() + reason[1:]


class UsageError(MemosyncError):
    exit_code = 2


class NotFoundError(MemosyncError):
    exit_code = 3


class SwarmError(MemosyncError):
    exit_code = 4


class TorrentError(MemosyncError):
    exit_code = 5


class WrongKeyError(TorrentError):
    """The link is not the one of this memo; what arrived is good, and somebody may have the right one."""


class LibraryError(MemosyncError):
    exit_code = 6


class AudioError(MemosyncError):
    exit_code = 7


class SeederError(MemosyncError):
    exit_code = 8


class Interrupted(MemosyncError):
    def __init__(self, signal_number: int, hint: str | None = None) -> None:
        super().__init__("interrupted", hint)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number


def of_code(code: int) -> type[MemosyncError]:
    """Give the class whose exit code this is, for an error that another process had; AudioError for any other code."""
    kinds = (UsageError, NotFoundError, SwarmError, TorrentError, LibraryError, AudioError, SeederError)
    return next((kind for kind in kinds if kind.exit_code == code), AudioError)


class Several(MemosyncError):
    """What went wrong with several arguments, each told already or to be told; the highest exit code wins."""

    def __init__(self, errors: list[MemosyncError], *, told: bool = True) -> None:
        super().__init__(f"{len(errors)} failed")
        self.untold = () if told else tuple(errors)
        self.exit_code = max(error.exit_code for error in errors)
