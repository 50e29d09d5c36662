"""Torrents as data: made from a memo's file, read with suspicion, compared with a file. Opens no network.

A memo's torrent is one file, BitTorrent v1 (BEP 3). Its name and its piece length are rules of ours that never
change, because they are the infohash.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from .. import files
from ..console import one_line
from ..errors import TorrentError
from ..magnet import InfoHash

if TYPE_CHECKING:
    import hashlib

Bencoded: TypeAlias = Any  # BEP 3; of a stranger's file nothing is known, and libtorrent's type for it is private

SMALLEST_PIECE, LARGEST_PIECE, MOST_PIECES = 2**14, 2**22, 1024
LARGEST_TORRENT = 20_000_000  # bytes of a .torrent file we are willing to read


@dataclass(frozen=True, slots=True, kw_only=True)
class Metainfo:
    """A torrent of exactly one ordinary file, and maybe of padding behind it (BEP 47): zeros that are on no disk."""

    infohash: InfoHash
    name: str  # as its author wrote it: for people, never for paths
    size: int  # bytes, of the file
    padding: int = 0  # bytes
    piece_length: int  # bytes
    pieces: bytes  # SHA-1 of each piece, 20 bytes each
    trackers: tuple[str, ...] = ()
    is_private: bool = False  # only its trackers name peers, and no peer gives its metadata away (BEP 27)
    data: bytes = b""  # a .torrent file with nothing in it but `info`


def piece_length(size: int) -> int:
    """Give the smallest power of two from 16 KiB to 4 MiB that makes at most 1,024 pieces."""
    length = SMALLEST_PIECE
    while length < LARGEST_PIECE and size > length * MOST_PIECES:
        length *= 2
    return length


def believed(path: Path, infohash: InfoHash) -> Metainfo | None:
    """Read a torrent that stands where the one of this infohash is kept; None when it is lost, broken or another."""
    with contextlib.suppress(OSError, TorrentError):
        torrent = read(files.read(path))
        return torrent if torrent.infohash == infohash else None
    return None


def make(path: Path, name: str, on_progress: Callable[[float], None] = lambda _fraction: None) -> Metainfo:
    """Hash a file into the torrent that is this memo's for ever; `on_progress` is told how far that is, 0 to 1."""
    size = path.stat().st_size
    length = piece_length(size)
    return describe(name, size, _hash(path, length, on_progress=on_progress))


class Pieces:
    """The hashes (SHA-1) of the pieces of a file of `size` bytes, made while it is written."""

    def __init__(self, size: int) -> None:
        self._left = self._length = piece_length(size)  # bytes of this piece, and of each
        self._done, self._piece = bytearray(), _sha1()

    def update(self, data: bytes | memoryview) -> None:
        """Take what comes next."""
        rest = memoryview(data)
        while len(rest) >= self._left:
            self._piece.update(rest[: self._left])
            rest = rest[self._left :]
            self._done += self._piece.digest()
            self._left, self._piece = self._length, _sha1()
        self._piece.update(rest)
        self._left -= len(rest)

    def hashes(self) -> bytes:
        """Give them, 20 bytes each, when all of it was taken."""
        return bytes(self._done) + (self._piece.digest() if self._left < self._length else b"")


def describe(name: str, size: int, pieces: bytes) -> Metainfo:
    """Give the torrent of a file of so many bytes whose pieces have these hashes."""
    length, title = piece_length(size), name.encode()
    # bencoded (BEP 3) by hand: libtorrent takes longer to load than all the rest of a `share`
    info = b"d6:lengthi%de4:name%d:%b12:piece lengthi%de6:pieces%d:%be" % (
        size,
        len(title),
        title,
        length,
        len(pieces),
        pieces,
    )
    return Metainfo(
        infohash=InfoHash(_sha1(info).hexdigest()),
        name=name,
        size=size,
        piece_length=length,
        pieces=pieces,
        data=wrap(info),
    )


def read(data: bytes) -> Metainfo:
    """Read a .torrent file; TorrentError unless it is of v1 and of exactly one ordinary file."""
    import libtorrent as lt

    if len(data) > LARGEST_TORRENT:
        raise TorrentError("this torrent file is too large to be a memo's")
    limits = {"max_buffer_size": LARGEST_TORRENT, "max_decode_depth": 50, "max_decode_tokens": 1_000_000}
    try:
        params = lt.load_torrent_buffer(data, limits)  # type: ignore[call-overload]  # its stub has no limits
        info = params.ti
        storage = info.layout()
        trackers = tuple(dict.fromkeys(params.trackers))
        if not info.info_hashes().has_v1():
            raise TorrentError("this torrent is of BitTorrent v2 alone, which this version cannot fetch")
        pads = [bool(storage.file_flags(at) & lt.file_storage.flag_pad_file) for at in range(info.num_files())]
        if pads.count(False) > 1:
            raise TorrentError(f"this torrent has {pads.count(False)} files; a memo is one")
        if pads[0] or storage.file_flags(0) & lt.file_storage.flag_symlink:
            raise TorrentError("this torrent's file is not an ordinary one")
        section = info.info_section()
        raw: Bencoded = lt.bdecode(section)
        if len(lt.bencode(raw)) != len(section):  # a key that is there twice is another one for everybody who reads it
            raise TorrentError("this torrent contradicts itself")
        name = raw.get(b"name.utf-8") or raw.get(b"name") or b""
        if raw.get(b"files"):  # one file in a folder: the file's own name says more
            name = (raw[b"files"][0].get(b"path") or [name])[-1]
        size, length, pieces = storage.file_size(0), info.piece_length(), raw[b"pieces"]
        padding = info.total_size() - size
    except TorrentError:
        raise
    except (RuntimeError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise TorrentError(f"this is not a torrent: {one_line(str(error))[:100]}") from error
    if (
        not isinstance(pieces, bytes)
        or not 0 < size < 2**50
        or not 0 <= padding < length
        or len(pieces) != 20 * -(-(size + padding) // length)
    ):
        raise TorrentError("this torrent's sizes contradict each other")
    return Metainfo(
        infohash=InfoHash(str(info.info_hashes().v1)),
        name=name.decode("utf-8", "replace") if isinstance(name, bytes) else "",
        size=size,
        padding=padding,
        piece_length=length,
        pieces=pieces,
        trackers=trackers,
        is_private=info.priv(),
        data=wrap(bytes(section)),
    )


def fits(metainfo: Metainfo, path: Path, on_progress: Callable[[float], None] = lambda _fraction: None) -> bool:
    """Tell whether a file is, byte for byte, what the torrent describes; OSError when that cannot be read."""
    return fitting([metainfo], path, on_progress) is not None


def fitting(
    torrents: Iterable[Metainfo], path: Path, on_progress: Callable[[float], None] = lambda _fraction: None
) -> Metainfo | None:
    """Find the torrent that a file is; it is read once for each length of pieces and of padding. OSError.

    `on_progress` is told how far that is, 0 to 1, each time.
    """
    hashes: dict[tuple[int, int], bytes] = {}
    size = path.stat().st_size
    for torrent in torrents:
        if torrent.size == size:
            form = torrent.piece_length, torrent.padding
            if form not in hashes:
                hashes[form] = _hash(path, *form, on_progress)
            if hashes[form] == torrent.pieces:
                return torrent
    return None


def wrap(info: bytes) -> bytes:
    """Make a .torrent file of an info dictionary and nothing else: no trackers, no web seeds, no nodes.

    Its bytes are taken as they are: decoded and encoded again, a sloppy author's would have another infohash.
    """
    return b"d4:info" + info + b"e"


def _sha1(data: bytes = b"") -> hashlib._Hash:
    import hashlib

    return hashlib.sha1(data)


def _hash(
    path: Path, length: int, padding: int = 0, on_progress: Callable[[float], None] = lambda _fraction: None
) -> bytes:
    """SHA-1 every piece of a file, and of less than a piece of zeros behind it; the last one may be short."""
    import hashlib

    hashes = bytearray()
    with files.open_regular(path) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL) if hasattr(os, "posix_fadvise") else None
        size = max(os.fstat(file.fileno()).st_size, 1)
        buffer = memoryview(bytearray(length))
        while count := file.readinto(buffer):
            while count < length and (more := file.readinto(buffer[count:])):
                count += more
            zeros = min(padding, length - count)  # none but behind the end
            buffer[count : count + zeros] = bytes(zeros)
            padding -= zeros
            hashes += hashlib.sha1(buffer[: count + zeros]).digest()
            on_progress(min(1.0, len(hashes) // 20 * length / size))
    if padding:
        hashes += hashlib.sha1(bytes(padding)).digest()
    return bytes(hashes)
