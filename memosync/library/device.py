"""The name of a device among those of its group: eight hexadecimal digits in `.memosync/device`.

Beside it stand the disk, the inode of the file, and the machine: a copy of a library is another device than the one it
was copied from.
"""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path

from .. import files
from ..manifest import is_device

_MACHINE = Path("/etc/machine-id")


def device(inner: Path) -> str:
    """Give this library's device; the caller holds its lock, and one is drawn where there is none. OSError."""
    path = inner / "device"
    if name := named(inner):
        return name
    name = os.urandom(4).hex()
    files.make_new(path)
    files.append(path, " ".join([name, *_place(path)]).encode() + b"\n")
    return name


def named(inner: Path) -> str | None:
    """Give this library's device, None where none was drawn; whoever is just drawing one may have written half."""
    path = inner / "device"
    with contextlib.suppress(OSError):
        status = files.status_of(path)
        return _name(path, _place(path), status.st_mtime_ns, status.st_size)
    return None


@functools.lru_cache(maxsize=16)  # each word that is stamped asks for it
def _name(path: Path, here: tuple[str, ...], _time: int, _size: int) -> str | None:
    """Read the name, which counts only `here`; OSError."""
    with contextlib.suppress(ValueError):
        name, *place = files.read(path).decode("ascii").split()
        if is_device(name) and tuple(place) == here:
            return name
    return None


def _place(path: Path) -> tuple[str, ...]:
    status = files.status_of(path)
    return str(status.st_dev), str(status.st_ino), *filter(None, [_machine()])


@functools.cache
def _machine() -> str:
    with contextlib.suppress(OSError, ValueError):
        return files.read(_MACHINE).decode("ascii").strip()
    return ""
