"""The disk: files replaced whole, locks that die with their holder, and nothing opened that is no file.

The one owner of fcntl, os.replace and fsync. Nothing here knows what is in a file. Somebody else may write where we
do, and plant what he likes: only regular files are opened, and what is written is a new file, or one that has no
other name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import filecmp
import io
import itertools
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import IO, Generic, TypeVar

from .errors import LibraryError, reason_of

T = TypeVar("T")
Watch = Callable[[Path, float], None]  # of who waits for a lock: which, and for how many seconds; it may raise
MOST = 100_000_000  # bytes that are read at once: ten times the index of a hundred thousand memos
_CAREFULLY = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY  # what was a file a moment ago may be a FIFO now
_never_made: set[Path] = set()
_LOOK_EVERY = 0.05  # seconds between two looks of who waits for a lock
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFREG: "a file",
}


class OddFile(OSError):
    """Something else stands under a name of ours than what we put there."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(errno.EINVAL, f"{path.name} is {what}", str(path))


class NoLocks(OSError):
    """There are no locks where a file is, as on NFS without its lock daemon."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(error.errno, "this file system has no locks", str(path))


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


def _unwatched(_path: Path, _seconds: float) -> None:
    return None


def acquire(
    path: Path, wait: bool = True, mode: int = 0o600, *, watch: Watch = _unwatched, access: int = os.O_RDWR
) -> Lock | None:
    """Take the lock named by a file that is made for it; None when somebody has it and we do not wait.

    A file that has another name, too, is left to that one. OddFile when it is none, NoLocks where there are none. What
    `watch` raises ends the wait.
    """
    make_directory(path.parent)
    while True:
        with contextlib.suppress(FileNotFoundError):
            status_of(path)
        descriptor = os.open(path, access | os.O_CREAT | os.O_NOFOLLOW | _CAREFULLY, mode)
        try:
            try:
                _flock(path, descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    raise
                _wait_for(path, descriptor, watch)
            with contextlib.suppress(FileNotFoundError):
                status = status_of(path)
                if os.path.samestat(os.fstat(descriptor), status):
                    if status.st_nlink == 1:
                        return Lock(path, descriptor)
                    path.unlink()  # a backup made it, or somebody who wants to hold us up; we have the lock
        except BlockingIOError:
            os.close(descriptor)
            if is_locked(path):
                return None
            continue  # somebody only asked whether it is held
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its last holder removed it while we waited


def _flock(path: Path, descriptor: int, how: int) -> None:
    """BlockingIOError when somebody else has it, NoLocks."""
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        raise
    except OSError as error:
        raise NoLocks(path, error) from error


def _wait_for(path: Path, descriptor: int, watch: Watch) -> None:
    """Wait in the queue for a lock, by another thread: one that waits itself hears no signal (PEP 475).

    Who gives up leaves it there, with a descriptor of its own: it lets go of the lock once it has it.
    """
    own, faults = os.dup(descriptor), list[OSError]()

    def queue() -> None:
        try:
            _flock(path, own, fcntl.LOCK_EX)
        except OSError as error:
            faults.append(error)
        finally:
            os.close(own)

    thread, began = threading.Thread(target=queue, daemon=True), time.monotonic()
    thread.start()
    while thread.is_alive():
        watch(path, time.monotonic() - began)
        thread.join(_LOOK_EVERY)
    if faults:
        raise faults[0]


@contextlib.contextmanager
def locked(path: Path, remove: bool = True, *, watch: Watch = _unwatched) -> Iterator[None]:
    """Hold the lock around a block, waiting for it."""
    lock = acquire(path, watch=watch)
    assert lock
    try:
        yield
    finally:
        lock.release(remove)


def is_locked(path: Path) -> bool:
    """Tell whether a living process holds the lock; nothing is made for asking."""
    try:
        status_of(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | _CAREFULLY)
    except OSError:
        return False
    try:
        _flock(path, descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except NoLocks:
        return False
    finally:
        os.close(descriptor)
    return False


def status_of(path: Path, links: bool = False) -> os.stat_result:
    """Look at a regular file, which is not opened; OddFile when it is none, or a symbolic link, unless with `links`."""
    status = os.stat(path, follow_symlinks=links)
    if not stat.S_ISREG(status.st_mode):
        raise OddFile(path, _KINDS[stat.S_IFMT(status.st_mode)])
    return status


def is_regular(path: Path) -> bool:
    """Tell whether a file is there, and is no symbolic link."""
    with contextlib.suppress(OSError):
        return bool(status_of(path))
    return False


def refuse_links(directory: Path) -> None:
    """Insist that a directory of ours, if it is there, is one and no symbolic link: that leads to what is not ours."""
    with contextlib.suppress(FileNotFoundError):
        kind = stat.S_IFMT(os.lstat(directory).st_mode)
        if kind != stat.S_IFDIR:
            raise OddFile(directory, _KINDS[kind])


def refuse_links_in(directory: Path, names: Container[str]) -> None:
    """Insist in the same way on those of these names that are in a directory of ours."""
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as found:
        for entry in found:
            if entry.name in names and not entry.is_dir(follow_symlinks=False):
                refuse_links(directory / entry.name)


def open_regular(path: Path, links: bool = True) -> io.BufferedReader:
    """Open a file for reading; OddFile for what would hang, never end or do something by being opened."""
    status_of(path, links)
    descriptor = os.open(path, os.O_RDONLY | _CAREFULLY | (0 if links else os.O_NOFOLLOW))
    file = os.fdopen(descriptor, "rb")
    status, odd = os.fstat(descriptor), ""
    if not stat.S_ISREG(status.st_mode):
        odd = "not what it was"
    elif status.st_size > MOST and status.st_size - os.lseek(descriptor, 0, os.SEEK_HOLE) > MOST:
        odd = "almost nothing but a hole"  # FFmpeg would look for sound in it for hours
    if not odd:
        file.seek(0)
        return file
    file.close()
    raise OddFile(path, odd)


def read(path: Path, links: bool = False) -> bytes:
    """Read a file whole; OddFile when it is none, or larger than anything of ours."""
    with open_regular(path, links) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(size + 1) if size <= MOST else None
        if data and len(data) > size:  # it has grown
            data += file.read(MOST + 1 - len(data))
    if data is None or len(data) > MOST:
        raise OddFile(path, "too large")
    return data


class Overtaken(Exception):
    """Somebody else has written a file since it was read."""


class Remembered(Generic[T]):
    """What a file said when it was read last, for as long as it is the same one."""

    def __init__(self) -> None:
        self._said: tuple[tuple[int, int, int], T] | None = None

    def read(self, path: Path, understand: Callable[[bytes], T]) -> T:
        """Give what `understand` makes of a file; what it raises, OSError, and OddFile as `read`."""
        state = _state(status_of(path))
        if self._said is None or self._said[0] != state:
            self._said = state, understand(read(path))
        return self._said[1]


def never_make(*directories: Path) -> None:
    """Make these no more, in this process: where one is gone, another disk will be, or the library is on its way."""
    _never_made.update(directories)


def refuse_to_make(path: Path) -> None:
    """FileNotFoundError for a directory that is never made."""
    if path in _never_made:
        raise FileNotFoundError(errno.ENOENT, "the library is not there", str(path))


def make_directory(path: Path) -> None:
    """Make a directory and those above it, each closed to others where the one above it is, else as the umask says."""
    if not os.path.isdir(path):
        refuse_to_make(path)
        make_directory(path.parent)
        try:
            path.mkdir(0o700 if _is_closed(path.parent) else 0o777)
        except FileExistsError:  # somebody was faster
            if not path.is_dir():
                raise


def make_new(path: Path) -> None:
    """Make an empty file for others to open by its name; what had that name is gone, and not written to."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CAREFULLY
    try:
        descriptor = os.open(path, flags, _new_mode(path))
    except FileExistsError:
        path.unlink()
        descriptor = os.open(path, flags, _new_mode(path))
    os.close(descriptor)


def write(
    path: Path,
    data: bytes,
    sync: bool = True,
    newer_than: int = 0,
    like: Path | None = None,
    was: tuple[int, int, int] | None = None,
) -> tuple[int, int, int]:
    """Replace a file whole: a new one beside it, fsync, rename, fsync of the directory; give the new one's identity.

    One writer at a time. Readers see all of it or none; without `sync` a power cut may take it. It has the mode of the
    one before, or of the one it is `like`; its time stamp is after `newer_than` (nanoseconds), whatever the clock says.
    Overtaken, and nothing done, where the one before is not any more what it `was`.
    """
    with staged(path) as (new, file):
        file.write(data)
        file.flush()
        _keep_mode(like or path, new)
        if sync:
            os.fsync(file.fileno())
        for step in (1_000, 1_000_000_000, 2_000_000_000):  # ns: what ext2 and FAT keep of it are one and two seconds
            if os.fstat(file.fileno()).st_mtime_ns <= newer_than:
                os.utime(file.fileno(), ns=(newer_than + step, newer_than + step))
        state = _state(os.fstat(file.fileno()))  # somebody may write in place as soon as it has its name
        if was and state_of_any(path) != was:
            raise Overtaken
        os.replace(new, path)
    if sync:
        sync_directory(path.parent)
    return state


@contextlib.contextmanager
def staged(path: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """Give a new file beside a path, to be written and moved, by its name; one that is not is gone in the end."""
    make_directory(path.parent)
    lock = acquire(path.with_name(f".{path.name}-{os.urandom(4).hex()}.tmp"), mode=_new_mode(path))
    assert lock  # by which `sweep` knows that somebody is at it
    try:
        with open(lock.descriptor, "wb", closefd=False) as file:
            yield lock.path, file
    finally:
        lock.release()


def sweep(directory: Path) -> None:
    """Remove what writers that died left beside their files."""
    with contextlib.suppress(OSError):
        for name in os.listdir(directory):
            if name.endswith(".tmp") and re.fullmatch(r"\..+-[0-9a-f]{8}\.tmp", name):
                with contextlib.suppress(OSError):
                    if lock := acquire(directory / name, wait=False):
                        lock.release()


def append(path: Path, data: bytes) -> None:
    """Write at the end of a file, or of a new one where it has another name, too, or is none."""
    with contextlib.suppress(FileNotFoundError):
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            path.unlink()
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | _CAREFULLY
    with open(os.open(path, flags, _new_mode(path)), "ab") as file:
        file.write(data)


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


def remove(path: Path) -> None:
    """Take away whatever stands under a name, and all that is in it; OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def move(source: Path, target: Path, sync: bool = True) -> None:
    """Rename a finished file to its place, its content on the disk before its name; a file there gives it its mode."""
    _keep_mode(target, source)
    if sync and is_regular(source):  # an odd file is put away, too
        sync_file(source)
    os.replace(source, target)
    if sync:
        sync_directory(target.parent)
        if source.parent != target.parent:
            sync_directory(source.parent)


def _keep_mode(path: Path, successor: Path) -> None:
    with contextlib.suppress(OSError):  # there is none, or a file system without modes
        mode, new = status_of(path).st_mode & 0o777, status_of(successor)
        if mode != new.st_mode & 0o777 and new.st_nlink == 1:  # another name of it may be outside
            successor.chmod(mode)


def _is_closed(directory: Path) -> bool:
    return not os.stat(directory).st_mode & 0o077


def _new_mode(path: Path) -> int:
    """Give the mode that a new file is made with, before the umask."""
    return 0o600 if _is_closed(path.parent) else 0o666


def free_name(path: Path) -> Path:
    """Find a name beside a path that nothing has, by a number before its ending."""
    others = (path.with_stem(f"{path.stem}.{number}") for number in itertools.count(1))
    return next(other for other in itertools.chain([path], others) if not os.path.lexists(other))


def sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | _CAREFULLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Writeback:
    """Has what there is of a growing file put on the disk in the background, so that little is left at the end."""

    EVERY = 16_000_000  # bytes
    PART = 2**18  # bytes; for larger ones Linux takes larger folios, which cost a virtual machine twice the time (6.18)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done = 0
        self._thread: threading.Thread | None = None
        self._fault: OSError | None = None

    def write(self, file: IO[bytes], data: memoryview) -> None:
        """Write at the end of it, which is open."""
        for at in range(0, len(data), self.PART):
            file.write(data[at : at + self.PART])
        self.reach(file.tell())

    def reach(self, size: int) -> None:
        """Note that so many bytes are written."""
        if size > self._done + self.EVERY and not (self._thread and self._thread.is_alive()):
            self._done = size
            self._thread = threading.Thread(target=self._sync, daemon=True)
            self._thread.start()

    def reach_end(self) -> None:
        """Note that all of it is written."""
        before = self._thread

        def sync_rest() -> None:
            if before:
                before.join()
            self._sync()

        self._thread = threading.Thread(target=sync_rest, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Wait for what is under way; OSError that was met: who syncs the file after that is not told."""
        if self._thread:
            self._thread.join()
        if self._fault:
            raise self._fault

    def _sync(self) -> None:
        try:
            sync_file(self._path)
        except OSError as error:
            self._fault = error


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
        write(copy, read(path), sync=False, like=path)  # where there are no links


def names(directory: Path, links: bool = False) -> list[str]:
    """List what is in a directory, nothing where there is none; LibraryError when it cannot be read.

    Nor when it is a symbolic link, unless with `links`.
    """
    with as_library_error(f"read {directory}"):
        try:
            if not links:
                refuse_links(directory)
            return os.listdir(directory)
        except FileNotFoundError:
            return []


def inodes(directory: Path) -> dict[str, int]:
    """Give the inode of all that is in a directory, as `names` gives their names."""
    with as_library_error(f"read {directory}"):
        try:
            refuse_links(directory)
            with os.scandir(directory) as found:
                return {entry.name: entry.inode() for entry in found}
        except FileNotFoundError:
            return {}


def time_of(path: Path) -> int:
    """Give a file's time stamp in nanoseconds, 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def mode_of(path: Path) -> int:
    """Give a file's permissions, 0 where there is none."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        return 0


def state_of(path: Path) -> tuple[int, int, int]:
    """Identify the content of a file: by its inode, time stamp (nanoseconds) and size (bytes).

    OSError when it is not there, OddFile when it is none.
    """
    return _state(status_of(path, links=True))


def state_of_any(path: Path) -> tuple[int, int, int]:
    """Identify in the same way what is in a file or a directory; zeros where there is none."""
    with contextlib.suppress(OSError):
        return _state(path.stat())
    return 0, 0, 0


def _state(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size


def is_at(path: Path, descriptor: int) -> bool:
    """Tell whether what is open stands under this name."""
    with contextlib.suppress(OSError):
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    return False


def has_name(descriptor: int) -> bool:
    """Tell whether an open file was not removed, as far as its disk can be asked."""
    with contextlib.suppress(OSError):
        return os.fstat(descriptor).st_nlink > 0
    return True


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
    with contextlib.suppress(OSError):
        refuse_links(directory)  # it may lead to everything
        for path in directory.rglob("*"):
            with contextlib.suppress(OSError):
                total += os.lstat(path).st_blocks * 512
    return total


def are_same(one: Path, other: Path) -> bool:
    """Tell whether two files can be read and have the same bytes."""
    with contextlib.suppress(OSError):
        for path in (one, other):
            open_regular(path).close()
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


def is_out_of_room(error: BaseException | None) -> bool:
    """Tell whether it is that the disk is full, or a quota is."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


class as_library_error:  # a context manager, as of contextlib, in a quarter of the time
    """Turn what the operating system refused into a LibraryError that says what we were doing."""

    def __init__(self, doing: str, otherwise: str = "another --library") -> None:
        self._doing, self._otherwise = doing, otherwise

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            raise LibraryError(f"cannot {self._doing}: {reason_of(error)}", self._hint(error)) from error

    def _hint(self, error: OSError) -> str:
        if isinstance(error, OddFile):
            return f"look at {error.filename}, and take it away"
        if is_out_of_room(error):
            return "make room and run it again"
        if error.errno == errno.EROFS:
            return f"have the disk mounted for writing, or give {self._otherwise}"
        if isinstance(error, FileNotFoundError):
            return "memosync check says what else is gone"
        if isinstance(error, NoLocks):
            return f"mount it with locks (NFS: with rpc.statd, or local_lock=flock), or give {self._otherwise}"
        return f"look at the rights of the directory, or give {self._otherwise}"
