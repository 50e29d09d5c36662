"""The disk: files replaced whole, locks that die with their holder.

The one owner of fcntl, os.replace and fsync. Nothing here knows what is in a file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import filecmp
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .errors import LibraryError


class Lock:
    """An flock on a file; released by `release` or by the death of every process that has its descriptor."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    def release(self, remove: bool = True) -> None:
        if remove:
            with contextlib.suppress(OSError):  # a file that stays means nothing
                self.path.unlink()
        os.close(self.descriptor)


def acquire(path: Path, wait: bool = True) -> Lock | None:
    """Take the lock named by a file that is made for it; None when somebody has it and we do not wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return Lock(path, descriptor)
        except BlockingIOError:
            os.close(descriptor)
            if is_locked(path):
                return None
            continue  # somebody only asked whether it is held
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its last holder removed it while we waited


@contextlib.contextmanager
def locked(path: Path, remove: bool = True) -> Iterator[None]:
    """Hold the lock around a block, waiting for it."""
    lock = acquire(path)
    assert lock
    try:
        yield
    finally:
        lock.release(remove)


def is_locked(path: Path) -> bool:
    """Tell whether a living process holds the lock; nothing is made for asking."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def write(path: Path, data: bytes, sync: bool = True, newer_than: int = 0) -> None:
    """Replace a file whole: temporary file beside it, fsync, rename, fsync of the directory.

    One writer at a time. Readers see all of it or none; without `sync` a power cut may take it. It has the mode of the
    one before; its time stamp is after `newer_than` (nanoseconds), whatever the clock says.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            _keep_mode(path, temporary)
            if sync:
                os.fsync(file.fileno())
            if os.fstat(file.fileno()).st_mtime_ns <= newer_than:
                os.utime(file.fileno(), ns=(newer_than + 1000, newer_than + 1000))
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if sync:
        sync_directory(path.parent)


@contextlib.contextmanager
def made_whole(path: Path, replace: bool) -> Iterator[IO[bytes]]:
    """Give a file that gets its name when the block ends well, and is gone when it does not.

    FileExistsError, unless it is to replace what has that name by then.
    """
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".memosync-{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
        sync_file(temporary)
        try:
            os.replace(temporary, path) if replace else os.link(temporary, path)
        except OSError as error:
            if isinstance(error, FileExistsError) or replace or path.exists():
                raise
            os.replace(temporary, path)  # no hard links here, as on a USB stick
        sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def move(source: Path, target: Path, sync: bool = True) -> None:
    """Rename a finished file to its place, its content on the disk before its name; a file there gives it its mode."""
    _keep_mode(target, source)
    if sync:
        sync_file(source)
    os.replace(source, target)
    if sync:
        sync_directory(target.parent)
        if source.parent != target.parent:
            sync_directory(source.parent)


def _keep_mode(path: Path, successor: Path) -> None:
    with contextlib.suppress(OSError):  # there is none, or a file system without modes
        successor.chmod(path.stat().st_mode)


def free_name(path: Path) -> Path:
    """Find a name beside a path that nothing has, by a number before its ending."""
    others = (path.with_stem(f"{path.stem}.{number}") for number in itertools.count(1))
    return next(other for other in itertools.chain([path], others) if not other.exists())


def sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    try:
        sync_file(path)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EACCES):  # some file systems cannot sync a directory
            raise


def keep_copy(path: Path, copy: Path) -> None:
    """Keep what a file holds now under another name: a hard link, a copy where there are none."""
    try:
        copy.unlink(missing_ok=True)
        os.link(path, copy)
    except OSError:
        shutil.copyfile(path, copy)  # where there are no links, there may be no rights to copy either


def names(directory: Path) -> list[str]:
    """List what is in a directory, nothing where there is none; LibraryError when it cannot be read."""
    with as_library_error(f"read {directory}"):
        try:
            return os.listdir(directory)
        except FileNotFoundError:
            return []


def time_of(path: Path) -> int:
    """Give a file's time stamp in nanoseconds, 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def state_of(path: Path) -> tuple[int, int, int]:
    """Identify the content of a file: by its inode, time stamp (nanoseconds) and size (bytes).

    OSError when it is not there.
    """
    status = os.stat(path)
    return status.st_ino, status.st_mtime_ns, status.st_size


def identity(path: Path) -> tuple[int, int]:
    """Tell names of one file from others: hard links have the same."""
    status = path.stat()
    return status.st_dev, status.st_ino


def free_space(path: Path) -> int:
    """Give the bytes that an ordinary user may still write where a path is, or will be."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def used_space(directory: Path) -> int:
    """Give the bytes that what is in a directory takes on the disk."""
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_blocks * 512
    return total


def are_same(one: Path, other: Path) -> bool:
    """Tell whether two files can be read and have the same bytes."""
    with contextlib.suppress(OSError):
        return filecmp.cmp(one, other, shallow=False)
    return False


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Give a directory for as long as a block takes; LibraryError where there is no place for it."""
    import tempfile  # which takes 5 ms to load

    with contextlib.ExitStack() as made:
        with as_library_error("make a temporary directory", "another TMPDIR"):
            directory = made.enter_context(tempfile.TemporaryDirectory(prefix="memosync-"))
        yield Path(directory)


@contextlib.contextmanager
def as_library_error(doing: str, otherwise: str = "another --library") -> Iterator[None]:
    """Turn what the operating system refused into a LibraryError that says what we were doing."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise LibraryError(
            f"cannot {doing}: {reason[:1].lower()}{reason[1:]}",
            "make room and run it again" if full else f"look at the rights of the directory, or give {otherwise}",
        ) from error
