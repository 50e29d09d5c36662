"""A process that dies: from one write on, nothing more reaches the disk, and its locks are gone.

When the power goes as well, the disk loses what it was not told to keep: the newest names that were given or taken away
in a directory that nobody has synced since, and what is in a file that got its name before it was synced itself.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memosync import files

_WRITES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.utime", "os.truncate"}


class Crash(BaseException):
    """What dies catches nothing any more."""


class _Death:
    def __init__(self) -> None:
        self.left: int | None = None  # writes until then
        self.at = ""  # at which it died
        self.locks: set[files.Lock] = set()

    def look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.left is not None and changes(event, arguments):
            self.left -= 1
            if self.left < 0:
                self.at = self.at or event  # what is done on the way out is refused, too
                raise Crash
        _disk.look(event, arguments)


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
        self.place: Path | None = None  # for what would be there again
        self.names: list[_Name] = []
        self.synced: set[int] = set()  # inodes of files
        self.looking = False

    def look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.place is None or self.looking or event not in ("os.rename", "os.remove"):
            return
        self.looking = True
        try:
            with contextlib.suppress(OSError):  # what is about to fail
                self._note(event, arguments)
        finally:
            self.looking = False

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        assert self.place
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
        status = os.fstat(descriptor)
        if not stat.S_ISDIR(status.st_mode):
            self.synced.add(status.st_ino)
            return
        for name in self.names:
            if not name.content or name.content in self.synced:
                name.unsynced.discard(status.st_ino)

    def has(self, places: Iterable[Path]) -> None:
        self.names.clear()
        self.synced = {inode for place in places for inode in _inodes(os.fspath(place))}

    def lose(self, most: int) -> int:
        """Lose what was done last, `most` names at the most, and tell how many."""
        self.looking = True
        lost = [name for name in self.names if name.unsynced][::-1][:most]
        for name in lost:
            here = name.path.stat().st_ino if name.path.exists() else 0
            if here != name.content:  # something else has happened to it since, and is there for good
                continue
            if name.source and name.content in self.synced and not os.path.lexists(name.source):
                os.rename(name.path, name.source)
            elif here:
                name.path.unlink()
            if name.before:
                os.link(name.before, name.path, follow_symlinks=False)
        self.looking = False
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


def watch_disk(place: Path) -> None:
    """Have power cuts take what nobody has synced; no disk is waited for. `place` is a directory that this makes."""
    place.mkdir()
    _disk.place = place
    setattr(os, "fsync", _disk.sync)  # noqa: B010


def all_is_written(*places: Path) -> None:
    """Say that enough time has passed for the disk to have all that is there."""
    _disk.has(places)


def lose_power(most: int) -> int:
    """Take what the disk has not got, the newest `most` of the names, and tell how many these were."""
    return _disk.lose(most)


@contextlib.contextmanager
def dying(after: int | None) -> Iterator[list[str]]:
    """Die at the write after so many, and give which it was, where it came to that; never with None."""
    died: list[str] = []
    _death.left, _death.at = after, ""
    try:
        yield died
    except Crash:
        died.append(_death.at)
    finally:
        _death.left = None
    if died:
        for lock in _death.locks:
            os.close(lock.descriptor)
        _death.locks.clear()
