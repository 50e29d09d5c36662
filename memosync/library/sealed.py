"""Sealed forms: what of a memo is served to those who have a private link, and cannot be read by anybody else.

A form is a cache of what the memo's file and its key make, the same every time, byte for byte.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from .. import files, sealing
from ..errors import LibraryError
from ..magnet import InfoHash
from ..memo import Memo
from ..sealing import Seal
from ..torrent import metainfo
from ..torrent.metainfo import Metainfo
from . import keys
from .keys import Key
from .store import Library


def seal(library: Library, memo: Memo, renewals: int = 0) -> Metainfo:
    """Make the sealed form of a memo's private link, and keep it, its torrent and its key; LibraryError.

    After so many `renewals` it is another one. The caller holds the memo's lock, and its file says its words.
    """
    path = library.path(memo)
    secret = keys.secret(library)
    with files.as_library_error(f"seal {memo.file}"):
        digest = digest_of(path)
        seal = sealing.derive(secret, sealing.link(renewals), digest)
        torrent = _make(library, path, seal, digest)
    keys.keep(library, torrent.infohash, Key(seal=seal, digest=digest))
    library.keep_torrent(torrent.infohash, torrent.data)
    return torrent


def seal_again(library: Library, memo: Memo, infohash: InfoHash) -> None:
    """Make a lost sealed form again with the key that was kept for it; LibraryError when that makes another one."""
    key = keys.find(library, infohash)
    if not key:
        raise LibraryError(f"the key of memo {memo.id} is lost", f"memosync share --new {memo.id} makes another link")
    if key.ended:
        raise LibraryError(f"this link of memo {memo.id} was ended")
    with files.as_library_error(f"seal {memo.file}"):
        torrent = _make(library, library.path(memo), key.seal, key.digest)
    if torrent.infohash != infohash:
        library.form(torrent.infohash).unlink(missing_ok=True)
        raise LibraryError(f"the key of memo {memo.id} is another one's", "put back .memosync/keys from a backup")


def digest_of(path: Path) -> bytes:
    """Give the SHA-256 of a file, raw; OSError."""
    digest = hashlib.sha256()
    with files.open_regular(path) as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return digest.digest()


def _make(library: Library, path: Path, seal: Seal, digest: bytes) -> Metainfo:
    """Seal a file, and keep that only when the file is the one the seal was made for."""
    files.make_directory(library.forms)
    with files.open_regular(path) as source, files.staged(library.forms / "form") as (staged, target):
        sealed = sealing.seal(source, target, seal)
        target.flush()
        if sealed != digest:
            raise LibraryError(f"{path.name} is not what its link was given for", "bring back the file as it was")
        torrent = metainfo.make(staged, seal.salt.hex()[:16])
        files.move(staged, library.form(torrent.infohash))
    return torrent
