"""Sealed forms: what of a memo is served to those who have a private link, and cannot be read by anybody else.

A form is a cache of what the memo's file and its key make, the same every time, byte for byte.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .. import files, sealing
from ..console import part
from ..errors import LibraryError, MemosyncError, TorrentError, reason_of
from ..magnet import InfoHash
from ..memo import Memo
from ..quantities import format_size
from ..sealing import Original, Seal
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


_AT_ONCE = 1 << 18  # bytes that are read
_SPARE = 20  # new links whose keys may be lost
_READING = 0.3  # of the time that a form takes: its file is read before


def _silent(_fraction: float) -> None:
    return None


def form_of(
    library: Library, memo: Memo, *, thorough: bool = False, on_progress: Callable[[float], None] = _silent
) -> Form:
    """See that the form of a memo's private link is kept, with its torrent and its key; LibraryError.

    The first link is made, a lost form or key made again where that makes the same. The caller holds the memo's lock,
    and its file says its words. `on_progress` is told how far a form is that is made, 0 to 1.
    """
    if not memo.sealed:
        return _new(library, memo, memo.renewals, on_progress)
    key = keys.find(library, memo.sealed)
    if key and key.ended:
        return _new(library, memo, memo.renewals + 1, on_progress)
    if not key:  # the secret may make it again
        original = _read(library, memo)
        seal = sealing.derive(keys.secret(library), sealing.link(memo.renewals), original.digest)
        if not _make(library, memo, seal, original, memo.sealed):
            raise _lost(memo)
        keys.keep(library, memo.sealed, Key(seal=seal, digest=original.digest))
    elif not is_kept(library, memo.sealed, thorough=thorough):
        seal_again(library, memo, memo.sealed)
    return Form(memo.sealed, memo.renewals)


def another_form(library: Library, memo: Memo, on_progress: Callable[[float], None] = _silent) -> Form:
    """Make the form of a new private link; LibraryError. The ones before are ended once the index has it."""
    return _new(library, memo, memo.renewals + 1 if memo.sealed else memo.renewals, on_progress)


def end_others(library: Library, memo: Memo, before: InfoHash | None) -> None:
    """End every private link to a memo's file but the one it has, for good, and take away what was served by them.

    Also the one `before`, where its key is lost, and any that a program left alive which died on its way here.
    LibraryError, once all was tried, when one cannot be ended.
    """
    mine = keys.find(library, memo.sealed) if memo.sealed else None
    if not mine:
        return
    others = {infohash: key for infohash, key in keys.kept(library) if key.digest == mine.digest}
    if before and before not in others:
        others[before] = Key(seal=Seal(bytes(sealing.KEY), bytes(sealing.SALT)), digest=mine.digest)
    fault: LibraryError | None = None
    for infohash, key in others.items():
        if infohash == memo.sealed:
            continue
        try:
            keys.keep(library, infohash, replace(key, ended=True))
            with files.as_library_error("end the link"):
                for path in (library.form(infohash), library.torrent(infohash)):
                    path.unlink(missing_ok=True)
        except LibraryError as error:
            fault = error
    if fault:
        raise fault


def left_alive(library: Library) -> list[Memo]:
    """Give the memos of which an earlier private link was not ended: an index that is put back would serve it."""
    alive = {infohash: key.digest for infohash, key in keys.kept(library) if not key.ended}
    memos = [memo for memo in library.index().memos if memo.sealed in alive]
    others = {alive[infohash] for infohash in alive.keys() - {memo.sealed for memo in memos}}
    return [memo for memo in memos if memo.sealed and alive[memo.sealed] in others]


def known_form(library: Library, path: Path) -> Form | None:
    """Find by a file's bytes the private link that was given to it last, an ended one where there is no other; OSError.

    Of two that are alive the later one counts: something kept the other from being ended.
    """
    every = list(keys.kept(library))
    digest = digest_of(path) if every else b""
    of_it = [(infohash, key.ended) for infohash, key in every if key.digest == digest]
    of_it.sort(key=lambda form: (form[1], -files.time_of(library.keys / form[0])))
    return Form(of_it[0][0], sum(ended for _, ended in of_it)) if of_it else None


def came(library: Library, infohash: InfoHash) -> bool:
    """Tell whether a private link came from somebody else: none of the library's secrets makes its key.

    Where a secret is lost nobody can tell: then it counts as one that came, and is given to anybody only when asked.
    """
    key = keys.find(library, infohash)
    if not key:
        return False
    renewals = range(_SPARE + sum(1 for _ in keys.kept(library, key.digest)))
    secrets = list(keys.secrets(library))
    ours = (sealing.derive(secret, sealing.link(number), key.digest) for number in renewals for secret in secrets)
    return all(seal != key.seal for seal in ours)


def is_kept(library: Library, infohash: InfoHash, *, thorough: bool = False) -> bool:
    """Tell whether a form is there as its torrent describes it; every byte is looked at where that is in doubt."""
    return not fault_of(library, infohash, thorough=thorough)


def fault_of(
    library: Library, infohash: InfoHash, *, thorough: bool = False, on_progress: Callable[[float], None] = _silent
) -> str:
    """Say what it is that a form is not there as its torrent describes it; nothing when it is.

    `on_progress` is told how far that is, 0 to 1.
    """
    path, kept = library.form(infohash), library.torrent(infohash)
    try:
        if torrent := metainfo.believed(kept, infohash):
            thorough |= files.time_of(path) > files.time_of(kept)
            if files.status_of(path).st_size == torrent.size and (
                not thorough or metainfo.fits(torrent, path, on_progress)
            ):
                return ""
        else:
            files.read(kept)
            files.status_of(path)
    except FileNotFoundError:
        return "is lost"
    except OSError as error:
        if not isinstance(error, files.OddFile):
            return f"cannot be read: {reason_of(error)}"
    return "was altered"


def complete(library: Library, log: Callable[[str], None]) -> None:
    """Make every form again that is to be served and was lost; `log` is told, and what somebody is at is left.

    LibraryError when the index cannot be read.
    """
    for memo in library.index().memos:
        if memo.sealed and memo.sealed in served_as(library, memo) and not is_kept(library, memo.sealed):
            try:
                with library.lock(memo.id, wait=False) as held:
                    if held:
                        seal_again(library, memo, memo.sealed)
                        log(f"the sealed form of memo {memo.id} was made again")
            except (MemosyncError, OSError):  # whose words may name the file, and so the title
                log(f"memo {memo.id} cannot be served privately; memosync check says why")


def seal(library: Library, memo: Memo, renewals: int = 0) -> Metainfo:
    """Make the sealed form of a memo's private link, and keep it, its torrent and its key; LibraryError.

    After so many `renewals` it is another one. The caller holds the memo's lock, and its file says its words.
    """
    return _seal(library, memo, renewals, _read(library, memo))


def seal_again(library: Library, memo: Memo, infohash: InfoHash) -> None:
    """Make a lost sealed form again with the key that was kept for it; LibraryError when that makes another one."""
    key = keys.find(library, infohash)
    if not key:
        raise _lost(memo)
    if key.ended:
        raise LibraryError(f"this link of {memo.label} was ended")
    if not _make(library, memo, key.seal, Original(key.digest), infohash):
        raise LibraryError(f"the key of {memo.label} is another one's", "put back .memosync/keys from a backup")


def form_for_devices(library: Library, path: Path, form: Path | None = None) -> tuple[bytes, Metainfo]:
    """Give the SHA-256 of a file, raw, and the torrent of its form for the devices of the group.

    Only where a `form` is named is it kept. OSError, and LibraryError when the library's secret is broken.
    """
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(files.open_regular(path))
        original = Original.read(source)
        source.seek(0)
        seal = sealing.derive(keys.secret(library), sealing.SYNC, original.digest)
        size = sealing.sealed_size(files.status_of(path, links=True).st_size)
        pieces = metainfo.Pieces(size)
        takes: list[Callable[[memoryview], object]] = [pieces.update]
        if form:
            staged, target = stack.enter_context(files.staged(form))
            takes.append(target.write)
        try:
            sealing.seal(source, seal, *takes, original=original)
        except TorrentError:
            raise LibraryError(f"{path.name} is being changed", "wait until that is done") from None
        if form:
            target.flush()
            files.move(staged, form, sync=False)
    return original.digest, metainfo.describe(seal.salt[:8].hex(), size, pieces.hashes())


def open_from_devices(library: Library, form: Path, digest: str, path: Path) -> None:
    """Open a form for the devices of the group into a new file; TorrentError unless it has this SHA-256, OSError."""
    seal = sealing.derive(keys.secret(library), sealing.SYNC, bytes.fromhex(digest))
    with files.open_regular(form) as source, files.staged(path) as (staged, target):
        found = sealing.unseal(source, target.write, seal.key)
        target.flush()
        if found.hex() != digest:
            raise TorrentError("what another device gave is not what it said")
        files.move(staged, path)


def digest_of(path: Path, on_progress: Callable[[float], None] = _silent) -> bytes:
    """Give the SHA-256 of a file, raw; OSError. `on_progress` is told how far that is, 0 to 1."""
    digest, done = hashlib.sha256(), 0
    with files.open_regular(path) as file:
        size = max(os.fstat(file.fileno()).st_size, 1)
        buffer = memoryview(bytearray(_AT_ONCE))
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            done += count
            on_progress(min(1.0, done / size))
    return digest.digest()


def _new(library: Library, memo: Memo, renewals: int, on_progress: Callable[[float], None]) -> Form:
    """Make a form that is not the memo's, and was never ended."""
    original = _read(library, memo, part(on_progress, 0, _READING))
    then = part(on_progress, _READING, 1)
    renewals = max(renewals, sum(key.ended for _, key in keys.kept(library, original.digest)))
    while (infohash := _seal(library, memo, renewals, original, then).infohash) == memo.sealed or keys.is_ended(
        library, infohash
    ):
        renewals += 1
    return Form(infohash, renewals)


def _seal(
    library: Library, memo: Memo, renewals: int, original: Original, on_progress: Callable[[float], None] = _silent
) -> Metainfo:
    seal = sealing.derive(keys.secret(library), sealing.link(renewals), original.digest)
    torrent = _make(library, memo, seal, original, on_progress=on_progress)
    assert torrent
    keys.keep(library, torrent.infohash, Key(seal=seal, digest=original.digest))
    return torrent


def _read(library: Library, memo: Memo, on_progress: Callable[[float], None] = _silent) -> Original:
    with files.as_library_error(f"read the file of {memo.label}"), files.open_regular(library.path(memo)) as source:
        size = max(os.fstat(source.fileno()).st_size, 1)
        return Original.read(source, lambda done: on_progress(min(1.0, done / size)))


def _lost(memo: Memo) -> LibraryError:
    hint = f"memosync share --new {memo.id} makes another link"
    return LibraryError(f"the key of {memo.label} is lost", hint)


def _make(
    library: Library,
    memo: Memo,
    seal: Seal,
    original: Original,
    expected: InfoHash | None = None,
    on_progress: Callable[[float], None] = _silent,
) -> Metainfo | None:
    """Seal a memo's file, and keep that and its torrent only when the file is the one the seal was made for.

    None, and nothing kept, when it is not the form that is `expected`. Errors name no title: they stand in a log.
    """
    path = library.path(memo)
    with files.as_library_error(f"seal {memo.label}"):
        files.make_directory(library.forms)
        needed = sealing.sealed_size(files.status_of(path, links=True).st_size)
        if needed > files.free_space(library.forms):
            raise LibraryError(
                f"the disk has no room for the sealed form of {memo.label}, {format_size(needed)}", "make room for it"
            )
        with files.open_regular(path) as source, files.staged(library.forms / "form") as (staged, target):
            pieces, writeback = metainfo.Pieces(needed), files.Writeback(staged)

            def write(data: memoryview) -> None:
                writeback.write(target, data)
                on_progress(target.tell() / needed)

            try:
                sealing.seal(source, seal, write, pieces.update, original=original)
            except TorrentError:
                text = f"the file of {memo.label} is not what its link was given for"
                raise LibraryError(text, "bring back the file as it was") from None
            target.flush()
            writeback.end()
            torrent = metainfo.describe(seal.salt.hex()[:16], needed, pieces.hashes())
            if expected not in (None, torrent.infohash):
                return None
            files.move(staged, library.form(torrent.infohash))
    library.keep_torrent(torrent.infohash, torrent.data)
    return torrent
