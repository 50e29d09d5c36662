"""A process that dies: from one write on, nothing more reaches the disk, and its locks are gone."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memosync import files

_WRITES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.utime", "os.truncate"}


class Crash(BaseException):
    """What dies catches nothing any more."""


class _Death:
    def __init__(self) -> None:
        self.left: int | None = None  # writes until then
        self.locks: set[files.Lock] = set()

    def look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.left is None:
            return
        if changes(event, arguments):
            self.left -= 1
            if self.left < 0:
                raise Crash


_death = _Death()
_acquire, _release = files.acquire, files.Lock.release  # as they are


def _keeping_acquire(path: Path, *how: Any, **more: Any) -> files.Lock | None:
    lock = _acquire(path, *how, **more)
    if lock:
        _death.locks.add(lock)
    return lock


def _keeping_release(lock: files.Lock, remove: bool = True) -> None:
    _release(lock, remove)
    _death.locks.discard(lock)


def changes(event: str, arguments: tuple[Any, ...]) -> bool:
    """Tell whether what Python is about to do changes something on the disk."""
    return event in _WRITES or (event == "open" and _writes(arguments))


def _writes(arguments: tuple[Any, ...]) -> bool:
    _path, mode, flags = arguments
    if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
        return True
    return isinstance(mode, str) and any(letter in mode for letter in "wax+")


@functools.cache  # an audit hook stays
def install() -> None:
    """Have this process be one that can die."""
    sys.unraisablehook = lambda one: None if isinstance(one.exc_value, Crash) else sys.__unraisablehook__(one)
    sys.addaudithook(_death.look)
    files.acquire = _keeping_acquire
    setattr(files.Lock, "release", _keeping_release)  # noqa: B010


@contextlib.contextmanager
def dying(after: int | None) -> Iterator[list[bool]]:
    """Die at the write after so many, and give whether it came to that; never with None."""
    died: list[bool] = []
    _death.left = after
    try:
        yield died
    except Crash:
        died.append(True)
    finally:
        _death.left = None
    if died:
        for lock in _death.locks:
            os.close(lock.descriptor)
        _death.locks.clear()
