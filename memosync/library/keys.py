"""Keys: a library's secret, and what the memo of each private link is sealed with.

They lie in `.memosync/keys`, which is closed to others. Without them a private link that was given cannot be served
again, and with the secret everybody can open them all.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from .. import files
from ..errors import LibraryError
from ..magnet import InfoHash, parse_infohash
from ..sealing import DIGEST, KEY, SALT, Seal
from .store import Library

PUT_BACK = "put the one back that was there, from a backup; or memosync sync --leave, and join again"
_SECRET = 32  # bytes
_ENDED = b"\1"
_BEFORE = "before-"  # how the name of an earlier secret begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What the memo of one private link is sealed with, and whether the link was ended."""

    seal: Seal
    digest: bytes  # SHA-256 of the memo's file, raw
    ended: bool = False  # such a form is never served, sealed or mended again

    def dumps(self) -> bytes:
        return self.seal.key + self.seal.salt + self.digest + _ENDED * self.ended


def has_keys(library: Library) -> bool:
    """Tell whether there ever was a private link here: older versions do not read such a library's index."""
    return os.path.lexists(library.keys)


def secret(library: Library) -> bytes:
    """Give the library's secret, 32 bytes, which is made when it is first needed; LibraryError when it is broken.

    In a library that is in a group none is made: it would be another one's.
    """
    with files.as_library_error("keep the library's secret"):
        if not has_secret(library):  # one that is there can be had from a disk that cannot be written
            if library.index().group:
                raise gone()
            with _writing(library):
                if not has_secret(library):
                    files.write(_secret(library), os.urandom(_SECRET))
        return files.read(_secret(library))


def gone() -> LibraryError:
    return LibraryError("the secret of the group that the index names, .memosync/keys/library, is gone", PUT_BACK)


def has_secret(library: Library) -> bool:
    """Tell whether a library has a secret; LibraryError when what stands there is none."""
    path = _secret(library)
    if not os.path.lexists(path):
        return False
    with files.as_library_error("read the library's secret"):
        if len(files.read(path)) != _SECRET:
            raise LibraryError(f"{path} is no secret of a library", "put the one back that was there, from a backup")
    return True


def secrets(library: Library) -> Iterator[bytes]:
    """Give the library's secret, and those that it had before it joined a group, as far as they can be read."""
    for name in files.names(library.keys):
        if name == "library" or name.startswith(_BEFORE):
            with contextlib.suppress(OSError):
                if len(secret := files.read(library.keys / name)) == _SECRET:
                    yield secret


def replace_secret(library: Library, secret: bytes, when: datetime) -> None:
    """Have another secret from now on; the one before is kept beside it, and nothing is sealed anew with it."""
    with files.as_library_error("keep the library's secret"), _writing(library):
        path, before = _secret(library), b""
        if has_secret(library) and (before := files.read(path)) != secret:
            files.write(library.keys / f"{_BEFORE}{when:%Y-%m-%d-%H%M%S}", before)
        if before != secret:
            files.write(path, secret)


def forget_secret(library: Library) -> None:
    """Remove a library's secret; what was sealed with it keeps its keys."""
    is_gone = contextlib.suppress(FileNotFoundError)  # and then so may be its directory
    with files.as_library_error("forget the library's secret"), library.index_lock(), is_gone:
        _secret(library).unlink()
        files.sync_directory(library.keys)


def keep(library: Library, infohash: InfoHash, key: Key) -> None:
    """Keep the key of a link for as long as there is a library; an ended one stays ended."""
    with files.as_library_error("keep the key"), _writing(library):
        kept = find(library, infohash)
        if kept is None or (kept != key and not kept.ended):
            files.write(library.keys / infohash, key.dumps())


def find(library: Library, infohash: InfoHash) -> Key | None:
    """Give the key of a private link; None where it is lost or broken."""
    data = _read(library, infohash)
    if len(data) < KEY + SALT + DIGEST:
        return None
    seal, rest = Seal(data[:KEY], data[KEY : KEY + SALT]), data[KEY + SALT :]
    # whatever stands behind it: a link is rather ended than alive again
    return Key(seal=seal, digest=rest[:DIGEST], ended=len(rest) > DIGEST)


def is_unread(library: Library, infohash: InfoHash) -> bool:
    """Tell whether there is a key of a private link that cannot be read, now: then it is neither lost nor ended."""
    try:
        files.read(library.keys / infohash)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def is_ended(library: Library, infohash: InfoHash) -> bool:
    """Tell whether a private link was ended: then nothing is served by it, whatever an index says."""
    key = find(library, infohash)
    return key is not None and key.ended


def is_alive(library: Library, infohash: InfoHash) -> bool:
    """Tell whether the key of a private link is here, and the link was not ended."""
    key = find(library, infohash)
    return key is not None and not key.ended


def kept(library: Library, digest: bytes = b"") -> Iterator[tuple[InfoHash, Key]]:
    """Give the key of every private link that there was, ended ones too, or of those to the file of a SHA-256 alone."""
    known = _remembered(library.keys)
    for name, inode in sorted(files.inodes(library.keys).items()):
        infohash = parse_infohash(name)
        if infohash == name:
            state, data = known.get(infohash, ((), b""))
            data = data if state[:1] == (inode,) else _read(library, infohash)
            if data[KEY + SALT :].startswith(digest) and (key := find(library, infohash)):
                yield infohash, key


@functools.cache
def _remembered(_directory: Path) -> dict[InfoHash, tuple[tuple[int, ...], bytes]]:
    """Have what keys said: a library may have ten thousand, and every one is asked for whenever the index changed."""
    return {}


def _read(library: Library, infohash: InfoHash) -> bytes:
    """Read a key unless it is the same file as the last time; empty where it cannot be read."""
    path, known = library.keys / infohash, _remembered(library.keys)
    try:
        status = files.status_of(path)
        state = status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        if infohash not in known or known[infohash][0] != state:
            known[infohash] = state, files.read(path)
    except OSError:
        return b""
    return known[infohash][1]


def _secret(library: Library) -> Path:
    return library.keys / "library"


@contextlib.contextmanager
def _writing(library: Library) -> Iterator[None]:
    """Be the only one who writes keys, in a directory that is closed to others; a new one goes with what is refused."""
    library.prepare()
    with library.index_lock():
        with contextlib.suppress(FileExistsError):
            library.keys.mkdir(0o700)
            files.sync_directory(library.inner)
        files.refuse_links(library.keys)
        if files.mode_of(library.keys) & 0o077:  # a backup that was put back
            library.keys.chmod(0o700)
        try:
            yield
        except OSError:
            with contextlib.suppress(OSError):  # there are keys in it
                library.keys.rmdir()
            raise
