"""Heads: what a device says to the others of its group, as sealed bytes.

A head is an envelope that who keeps it for others may open (it names what else is to be kept: the base, and the forms
of memos), and in it what only devices can: a state. It says only what is not in its base, another head, if it has one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .. import manifest
from ..errors import TorrentError
from ..magnet import InfoHash, parse_infohash
from ..manifest import State
from ..sealing import keep_key, open_bytes, opened_size, read_key, seal_bytes
from ..torrent import metainfo
from ..torrent.metainfo import Metainfo

LARGEST = 40_000_000  # bytes of a head: fifty thousand memos
_VERSION = 1
_ENVELOPE = struct.Struct(">B20sI")  # version, the base's infohash or zeros, how many infohashes follow
_HASH = 20  # bytes of an infohash


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A head, sealed."""

    torrent: Metainfo
    data: bytes

    @property
    def infohash(self) -> InfoHash:
        return self.torrent.infohash


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What is in a head."""

    state: State  # what is not in the base
    base: InfoHash | None
    size: int  # bytes of the head


def seal(secret: bytes, state: State, base: InfoHash | None = None) -> Head:
    """Seal what of a device's state is not in its base; the same state is the same bytes, and has one infohash."""
    held = {cells["file"].value["infohash"] for cells in state.memos.values() if "file" in cells}
    inner = seal_bytes(read_key(secret), "head", manifest.dumps(state))
    envelope = _ENVELOPE.pack(_VERSION, bytes.fromhex(base) if base else bytes(_HASH), len(held))
    envelope += b"".join(bytes.fromhex(infohash) for infohash in sorted(held))
    return describe(seal_bytes(keep_key(secret), "hold", envelope + inner))


def describe(data: bytes) -> Head:
    """Give a sealed head with its torrent."""
    pieces = metainfo.Pieces(len(data))
    pieces.update(data)
    return Head(torrent=metainfo.describe(data[:8].hex(), len(data), pieces.hashes()), data=data)


def open_head(secret: bytes, data: bytes) -> Opened:
    """Open a head; TorrentError when it is none of this group's, or of a newer version."""
    opened_size(len(data))
    envelope = open_bytes(keep_key(secret), "hold", data)
    try:
        version, base, number = _ENVELOPE.unpack_from(envelope)
    except struct.error as error:
        raise TorrentError("what a device says cannot be read") from error
    if version != _VERSION:
        raise TorrentError("a device of a newer version says how its memos are", "update memosync")
    inner = envelope[_ENVELOPE.size + _HASH * number :]
    opened_size(len(inner))
    state = manifest.loads(open_bytes(read_key(secret), "head", inner))
    return Opened(state=state, base=parse_infohash(base.hex()) if any(base) else None, size=len(data))
