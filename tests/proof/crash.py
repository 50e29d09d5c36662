"""A process that dies: from one write on, nothing more reaches the disk, and its locks are gone.

Or its disk refuses, one write or all from one on, and the process is told, and goes on.

When the power goes as well, the disk loses what it was not told to keep: the newest names that were given or taken away
in a directory that nobody has synced since, and what is in a file that got its name before it was synced itself.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memosync import files

_WRITES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.utime", "os.truncate"}

_READS = {"open", "os.listdir", "os.scandir"}


class Crash(BaseException):
    """What dies catches nothing any more."""


class _Death:
    def __init__(self) -> None:
        self.left: int | None = None  # writes until then
        self.at = ""  # at which it died
        self.locks: set[files.Lock] = set()
        self.meanwhile: Callable[[str, tuple[Any, ...]], bool] | None = None
        self.refusal: _Refusal | None = None

    def look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.meanwhile and changes(event, arguments):
            meanwhile, left, refusal = self.meanwhile, self.left, self.refusal
            self.meanwhile = self.left = self.refusal = None
            try:
                is_done = meanwhile(event, arguments)
            finally:
                self.left, self.refusal = left, refusal
            self.meanwhile = None if is_done else meanwhile
        if self.refusal and (changes(event, arguments) or self.refusal.is_read(event, arguments)):
            self.refusal.look(event)
        if self.left is not None and changes(event, arguments):
            self.left -= 1
            if self.left < 0:
                self.at = self.at or event  # what is done on the way out is refused, too
                raise Crash
        if _disk.watching and (event == "os.rename" or event == "os.remove"):
            _disk.look(event, arguments)


@dataclass
class _Refusal:
    """A disk that is full, or fails."""

    left: int  # writes until then
    error: int
    for_good: bool
    of: Path | None = None  # a directory of which nothing can be read, either
    refused: list[str] = field(default_factory=list)

    def is_read(self, event: str, arguments: tuple[Any, ...]) -> bool:
        """Tell whether this reads something that cannot be read."""
        if self.of is None or event not in _READS or not isinstance(arguments[0], str | bytes | os.PathLike):
            return False
        return os.fsdecode(arguments[0]).startswith(os.fspath(self.of))

    def look(self, event: str) -> None:
        self.left -= 1
        if self.left == -1 or (self.left < 0 and self.for_good):
            self.refused.append(event)
            raise OSError(self.error, os.strerror(self.error))


@dataclass
class _Name:
    """A name that was given to a file, or taken away, and that a disk may not have yet."""

    path: Path
    source: Path | None  # the name that the file had before, None for one that was taken away
    before: Path | None  # what had the name before, kept elsewhere
    unsynced: set[int]  # inodes: of the directories
    content: int  # inode of the file that has the name now, 0 for none


class _Disk:
    """What the disk has not got for good."""

    def __init__(self) -> None:
        self.place = Path()  # for what would be there again
        self.names: list[_Name] = []
        self.synced: set[int] = set()  # inodes of files
        self.watching = False

    def look(self, event: str, arguments: tuple[Any, ...]) -> None:
        self.watching = False
        try:
            with contextlib.suppress(OSError):  # what is about to fail
                self._note(event, arguments)
        finally:
            self.watching = True

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        *names, _, _ = arguments if event == "os.rename" else (*arguments, None)
        path, source = Path(os.fsdecode(names[-1])), Path(os.fsdecode(names[0]))
        if not path.is_absolute() or path.parent.name == "locks":
            return
        content = os.stat(source).st_ino if event == "os.rename" else 0
        before = None
        if os.path.lexists(path) or not content:
            before = self.place / str(len(self.names))
            before.unlink(missing_ok=True)
            os.link(path, before, follow_symlinks=False)
        directories = {os.stat(directory).st_ino for directory in (path.parent, source.parent)}
        self.names.append(_Name(path, source if content else None, before, directories, content))

    def sync(self, descriptor: int) -> None:
        if _death.refusal:
            _death.refusal.look("fsync")
        if not self.watching:
            return
        status = os.fstat(descriptor)
        if not stat.S_ISDIR(status.st_mode):
            self.synced.add(status.st_ino)
            return
        for name in self.names:
            if not name.content or name.content in self.synced:
                name.unsynced.discard(status.st_ino)

    def watch(self, root: Path | None) -> None:
        self.names.clear()
        self.watching = root is not None
        self.synced = set(_inodes(os.fspath(root))) if root else set()

    def lose(self, most: int) -> int:
        """Lose what was done last, `most` names at the most, and tell how many."""
        self.watching = False
        lost = [name for name in self.names if name.unsynced][::-1][:most]
        for name in lost:
            here = name.path.stat().st_ino if name.path.exists() else 0
            if here != name.content or not name.path.parent.exists():  # something else has happened since, for good
                continue
            if name.source and name.content in self.synced and not os.path.lexists(name.source):
                os.rename(name.path, name.source)
            elif here:
                name.path.unlink()
            if name.before:
                os.link(name.before, name.path, follow_symlinks=False)
        return len(lost)


def _inodes(directory: str) -> Iterator[int]:
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield from _inodes(entry.path)
            else:
                yield entry.inode()


_death, _disk = _Death(), _Disk()
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


def use_disk(place: Path) -> None:
    """Have no disk be waited for. `place` is a directory that this makes, for what a power cut would bring back."""
    place.mkdir()
    _disk.place = place
    setattr(os, "fsync", _disk.sync)  # noqa: B010


def watch(root: Path | None) -> None:
    """Note from now on what in a directory would not survive a power cut: the disk has all that is there by now.

    That takes a third of the time of what is looked at, so with None nothing is noted, and no power cut may come.
    """
    _disk.watch(root)


def is_watched() -> bool:
    """Tell whether a power cut may come."""
    return _disk.watching


def lose_power(most: int) -> int:
    """Take what the disk has not got, the newest `most` of the names, and tell how many these were."""
    return _disk.lose(most)


@contextlib.contextmanager
def interrupted(by: Callable[[str, tuple[Any, ...]], bool] | None) -> Iterator[None]:
    """Have another process act before a write of this one: `by` is told of each, until it has done something."""
    _death.meanwhile = by
    try:
        yield
    finally:
        _death.meanwhile = None


@contextlib.contextmanager
def refusing(
    after: int | None, error: int = errno.ENOSPC, for_good: bool = False, of: Path | None = None
) -> Iterator[list[str]]:
    """Refuse the write after so many, or that and all that come, and give what was refused; nothing with None.

    So are reads of what is in a directory, where it is given.
    """
    install()
    refusal = _death.refusal = None if after is None else _Refusal(after, error, for_good, of)
    try:
        yield refusal.refused if refusal else []
    finally:
        _death.refusal = None


def allow() -> None:
    """Refuse nothing any more: there is room again."""
    _death.refusal = None


def is_held(lock: Path) -> bool:
    """Tell whether this process has a lock."""
    return any(each.path == lock for each in _death.locks)


@contextlib.contextmanager
def dying(after: int | None) -> Iterator[list[str]]:
    """Die at the write after so many, and give which it was, where it came to that; never with None."""
    died: list[str] = []
    _death.left, _death.at = after, ""
    try:
        with contextlib.suppress(Crash):
            yield died
    finally:
        _death.left = None
    if _death.at:  # also where what was done on the way out hid it
        died.append(_death.at)
        for lock in _death.locks:
            os.close(lock.descriptor)
        _death.locks.clear()
