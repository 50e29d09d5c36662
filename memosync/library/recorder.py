"""The recorder in the background: the lock that says whether there is one, and what it says of itself, recorder.toml.

Of what is written there a process is believed only while the lock is held, and a memo only when the index has it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .. import files, index, process
from ..audio.levels import Meter
from ..console import Console
from ..errors import MemosyncError, UsageError
from ..memo import Words, parse_id
from .store import Library

_SAY_EVERY = 0.5  # seconds
_LONGEST = 1e9  # seconds
_WARNINGS = 20  # the last ones are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderState:
    """What a recorder says of itself while it records, and for whoever asks when it has ended."""

    pid: int = 0
    born: str = ""  # when, see `process.birth`
    memo: str = ""  # the id of what it records
    title: str = ""
    elapsed: float = 0.0  # seconds captured
    peak: float = -math.inf  # dBFS of the loudest sample lately
    minutes_left: float = math.inf  # of disk, when under an hour
    warnings: tuple[str, ...] = ()
    share: bool = False  # its memo is to be shared
    ended: bool = False  # well or with a fault, but not by being killed
    saved: bool = False
    fault: str = ""  # why it ended, where that is an error, its hint, and its exit code
    hint: str = ""
    code: int = 0


class Teller:
    """What a recorder in the background has instead of a person at the controls: it says how it goes."""

    def __init__(
        self, library: Library, state: RecorderState, console: Console, *, on_sound: Callable[[], None]
    ) -> None:
        """Begin with a state; `console` is its log, `on_sound` is called once when there is sound."""
        self._library, self._state, self._log = library, state, console
        self._on_sound: Callable[[], None] | None = on_sound
        self._said = 0.0
        self._peak = -math.inf
        self.console = dataclasses.replace(console, answer=console.log, warn=self._warn, fail=self._fail)

    def begin(self, words: Words) -> None:
        me = os.getpid()
        self._say(pid=me, born=process.birth(me), memo=words.id or "", title=words.title)

    def look(self, meter: Meter) -> None:
        """Say it twice a second."""
        self._peak = max(self._peak, meter.peak)
        # what was just encoded is measured a moment later: until then it is no silence
        is_measured = self._peak > -math.inf or meter.elapsed >= self._state.elapsed + _SAY_EVERY
        begins = self._on_sound if meter.elapsed and is_measured else None
        if begins or (is_measured and time.monotonic() - self._said >= _SAY_EVERY):
            left = math.inf if meter.minutes_left is None else float(meter.minutes_left)
            self._say(elapsed=float(meter.elapsed), peak=float(self._peak), minutes_left=left)
            self._peak = -math.inf
        if begins:
            begins()
            self._on_sound = None

    def saved(self) -> None:
        self._say(saved=True)

    def end(self, fault: MemosyncError | None) -> None:
        """Say that it has ended; where nothing was saved and nobody was told of sound, who waits for that is told."""
        if self._on_sound and fault and not self._state.saved:
            forget(self._library)
        elif fault:
            self._say(ended=True, fault=str(fault), hint=fault.hint or "", code=fault.exit_code)
        else:
            self._say(ended=True)

    def _say(self, **changes: Any) -> None:
        self._state, self._said = dataclasses.replace(self._state, **changes), time.monotonic()
        write(self._library, self._state)

    def _warn(self, text: str) -> None:
        self._log.warn(text)
        self._say(warnings=(*self._state.warnings, text)[-_WARNINGS:])

    def _fail(self, error: MemosyncError, about: str) -> None:
        self._warn(f"{about}: {error}" if about else str(error))


def is_running(library: Library) -> bool:
    return not os.path.islink(library.inner) and files.is_locked(_lock(library))


@contextlib.contextmanager
def sole(library: Library) -> Iterator[None]:
    """Be the one recorder in the background of this library; UsageError when there is one."""
    lock = take(library)
    if not lock:
        raise UsageError(
            "a recording is running in the background already",
            "memosync record --stop ends and saves it, --status says how it goes",
        )
    try:
        yield
    finally:
        lock.release(remove=False)


def take(library: Library) -> files.Lock | None:
    """Take the lock of the recorder, to be it or to make sure that there is none; None while there is one."""
    with files.as_library_error("record in the background"):
        return files.acquire(_lock(library), wait=False)


def current(library: Library) -> RecorderState | None:
    """Read what the running recorder says of itself; None when none runs, or it has not said anything yet."""
    state = last(library)
    return state if state and is_running(library) and _is_recorder(library, state) else None


def last(library: Library) -> RecorderState | None:
    """Read what was said last, by a recorder that runs or by one that has ended; None when nothing is to be told.

    Others may have written there: what is not what it should be is passed over.
    """
    with contextlib.suppress(OSError, ValueError):
        files.refuse_links(library.inner)
        table = index.parse_toml(files.read(_state(library)).decode("utf-8"))
        table["warnings"] = tuple(text for text in table.get("warnings", ()) if isinstance(text, str))
        fields = dataclasses.fields(RecorderState)
        known = {
            field.name: table[field.name] for field in fields if type(table.get(field.name)) is type(field.default)
        }
        state = RecorderState(**known)
        if parse_id(state.memo) and 0 <= state.elapsed < _LONGEST:
            return state
    return None


def write(library: Library, state: RecorderState) -> None:
    """Say how the recorder is, where that can be written: no recording fails for it."""
    table = dataclasses.asdict(state)
    with contextlib.suppress(OSError):
        os.stat(library.inner)  # a library that has vanished is not made anew for this
        files.write(_state(library), index.format_toml(table).encode(), sync=False)


def silence(library: Library) -> float:
    """Give the seconds since the recorder said something, by the clock of files."""
    return time.time() - files.time_of(_state(library)) / 1e9


def forget(library: Library) -> None:
    """Take away what a recorder said that has ended, once that is told; the caller holds the lock."""
    with contextlib.suppress(OSError):
        _state(library).unlink()


def ask_to_end(library: Library) -> bool:
    """Ask the recorder that runs to end well; False when none runs, or it has not said yet which process it is."""
    if state := current(library):
        with contextlib.suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGTERM)
            return True
    return False


def log_of(library: Library) -> Path:
    return library.inner / "recorder.log"


@contextlib.contextmanager
def new_log(library: Library) -> Iterator[IO[bytes]]:
    """Give a file for all that a recorder says on its way, instead of that of the one before; LibraryError."""
    path = log_of(library)
    with files.as_library_error(f"write {path}"):
        path.unlink(missing_ok=True)
        files.make_new(path)
        file = open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC), "ab")  # noqa: SIM115
    with file:
        yield file


def _is_recorder(library: Library, state: RecorderState) -> bool:
    """Tell whether the process that is named is there, is ours, was born then, and has the lock open."""
    pid, born = state.pid, state.born
    return bool(born) and process.is_ours(pid) and born == process.birth(pid) and process.has_open(pid, _lock(library))


def _lock(library: Library) -> Path:
    return library.inner / "recorder.lock"


def _state(library: Library) -> Path:
    return library.inner / "recorder.toml"
