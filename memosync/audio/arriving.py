"""A memo that is heard while it arrives: what is there is read, what is not is waited for."""

from __future__ import annotations

import errno
import io
import os
import threading
from pathlib import Path
from tempfile import TemporaryFile

from ..stop import Stop

AHEAD = 8_192  # bytes that are enough to be decoded without waiting


class Arriving(io.RawIOBase):
    """A file that grows at its end; one thread adds to it, and another reads."""

    def __init__(self, place: Path, stop: Stop) -> None:
        """Keep what comes in a file without a name there; OSError."""
        self._file = TemporaryFile(dir=place, buffering=0)  # noqa: SIM115
        self._stop, self._grown = stop, threading.Condition()
        self._at = self._there = 0
        self._whole = self._given_up = False

    def add(self, data: bytes) -> None:
        """Take what comes next; OSError without room for it."""
        if os.pwrite(self._file.fileno(), data, self._there) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with self._grown:
            self._there += len(data)
            self._grown.notify_all()

    def complete(self, path: Path) -> None:
        """Go on with the whole file, which may be moved from here; OSError."""
        whole = path.open("rb", buffering=0)
        with self._grown:
            self._file, self._there, self._whole = whole, os.fstat(whole.fileno()).st_size, True
            self._grown.notify_all()

    def give_up(self) -> None:
        """Nothing comes any more: who waits, or reads on, gets OSError."""
        with self._grown:
            self._given_up = True
            self._grown.notify_all()

    @property
    def is_ready(self) -> bool:
        """Tell whether there is enough to go on with."""
        return self._whole or self._given_up or self._there >= self._at + AHEAD

    def seek(self, offset: int, whence: int = 0, /) -> int:
        assert whence == os.SEEK_SET
        self._at = offset
        return offset

    def read(self, size: int = -1, /) -> bytes:
        """Give up to `size` bytes as soon as there are some, none at the end; OSError when they do not come."""
        with self._grown:
            while not (self._whole or self._there > self._at):
                if self._given_up or self._stop.is_set():
                    raise OSError("it did not arrive")
                self._grown.wait(0.1)
            data = os.pread(self._file.fileno(), size if self._whole else min(size, self._there - self._at), self._at)
        self._at += len(data)
        return data
