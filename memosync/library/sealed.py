"""Sealed forms: what of a memo is served to those who have a private link, and cannot be read by anybody else.

A form is a cache of what the memo's file and its key make, the same every time, byte for byte.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .. import files, sealing
from ..errors import LibraryError
from ..magnet import InfoHash
from ..memo import Memo
from ..quantities import format_size
from ..sealing import Seal
from ..torrent import metainfo
from ..torrent.metainfo import Metainfo
from . import keys
from .keys import Key
from .served import served_as
from .store import Library


@dataclass(frozen=True, slots=True)
class Form:
    """A sealed form that is kept."""

    infohash: InfoHash
    renewals: int  # after how many new links it came


def form_of(library: Library, memo: Memo) -> Form:
    """See that the form of a memo's private link is kept, with its torrent and its key; LibraryError.

    The first link is made, a lost form or key made again where that makes the same. The caller holds the memo's lock,
    and its file says its words.
    """
    if not memo.sealed:
        return _new(library, memo, memo.renewals)
    key = keys.find(library, memo.sealed)
    if key and key.ended:
        return _new(library, memo, memo.renewals + 1)
    if not key:  # the secret may make it again
        made = seal(library, memo, memo.renewals)
        if made.infohash != memo.sealed:
            for path in library.kept_of(made.infohash):
                path.unlink(missing_ok=True)
            raise _lost(memo)
    elif not is_kept(library, memo.sealed):
        seal_again(library, memo, memo.sealed)
    return Form(memo.sealed, memo.renewals)


def renew(library: Library, memo: Memo) -> Form:
    """End a memo's private link for good, and make another one; LibraryError. Locks as `form_of` has them."""
    form = _new(library, memo, memo.renewals + 1 if memo.sealed else memo.renewals)
    if memo.sealed and (key := keys.find(library, memo.sealed)):
        keys.keep(library, memo.sealed, replace(key, ended=True))
    return form


def known_form(library: Library, path: Path) -> Form | None:
    """Find by a file's bytes the private link that was given to it, and not ended; OSError."""
    every = list(keys.kept(library))
    digest = digest_of(path) if every else b""
    of_it = [(infohash, key) for infohash, key in every if key.digest == digest]
    renewals = sum(key.ended for _, key in of_it)
    return next((Form(infohash, renewals) for infohash, key in of_it if not key.ended), None)


def is_kept(library: Library, infohash: InfoHash, *, thorough: bool = False) -> bool:
    """Tell whether a form is there as its torrent describes it; every byte is looked at where that is in doubt."""
    torrent, path = metainfo.believed(library.torrent(infohash), infohash), library.form(infohash)
    with contextlib.suppress(OSError):
        if torrent and files.status_of(path).st_size == torrent.size:
            thorough |= files.time_of(path) > files.time_of(library.torrent(infohash))
            return not thorough or metainfo.fits(torrent, path)
    return False


def complete(library: Library, log: Callable[[str], None]) -> None:
    """Make every form again that is to be served and was lost; `log` is told where that cannot be."""
    for memo in library.index().memos:
        for infohash in served_as(memo):
            if infohash == memo.sealed and not keys.is_ended(library, infohash) and not is_kept(library, infohash):
                with library.lock(memo.id):
                    try:
                        form_of(library, memo)
                        log(f"the sealed form of memo {memo.id} was made again")
                    except LibraryError as error:
                        log(f"memo {memo.id} cannot be served privately: {error}")


def _new(library: Library, memo: Memo, renewals: int) -> Form:
    """Make a form that was never ended."""
    with files.as_library_error(f"seal {memo.file}"):
        digest = digest_of(library.path(memo))
    renewals = max(renewals, sum(key.ended and key.digest == digest for _, key in keys.kept(library)))
    while keys.is_ended(library, infohash := seal(library, memo, renewals).infohash):
        renewals += 1
    return Form(infohash, renewals)


def _lost(memo: Memo) -> LibraryError:
    return LibraryError(f"the key of memo {memo.id} is lost", f"memosync share --new {memo.id} makes another link")


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
        raise _lost(memo)
    if key.ended:
        raise LibraryError(f"this link of memo {memo.id} was ended")
    with files.as_library_error(f"seal {memo.file}"):
        torrent = _make(library, library.path(memo), key.seal, key.digest)
    if torrent.infohash != infohash:
        library.form(torrent.infohash).unlink(missing_ok=True)
        raise LibraryError(f"the key of memo {memo.id} is another one's", "put back .memosync/keys from a backup")
    library.keep_torrent(infohash, torrent.data)


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
    needed = sealing.sealed_size(files.status_of(path, links=True).st_size)
    if needed > files.free_space(library.forms):
        raise LibraryError(f"the disk has no room for its sealed form of {format_size(needed)}", "make room for it")
    with files.open_regular(path) as source, files.staged(library.forms / "form") as (staged, target):
        sealed = sealing.seal(source, target, seal)
        target.flush()
        if sealed != digest:
            raise LibraryError(f"{path.name} is not what its link was given for", "bring back the file as it was")
        torrent = metainfo.make(staged, seal.salt.hex()[:16])
        files.move(staged, library.form(torrent.infohash))
    return torrent
