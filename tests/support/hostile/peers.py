"""Peers on raw sockets: an honest one (BEP 3, 9, 10), and liars that differ from it in a line or two."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar

from .torrents import PIECE, bencode, infohash

PROTOCOL = b"\x13BitTorrent protocol"
CHOKE, UNCHOKE, INTERESTED, HAVE, BITFIELD, REQUEST, PIECE_, EXTENDED = 0, 1, 2, 4, 5, 6, 7, 20
UT_METADATA, UT_PEX = 1, 2  # what we want these extensions to be called in messages to us
LONGEST = 20.0  # seconds that any of this goes on at most


class Wire:
    """One connection, in messages."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.settimeout(LONGEST)
        self.theirs: dict[str, int] = {}  # what the other side calls its extensions

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise ConnectionError
            data += more
        return data

    def write(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send(self, kind: int, payload: bytes = b"") -> None:
        self.write(message(kind, payload))

    def messages(self) -> Iterator[tuple[int, bytes]]:
        while True:
            if size := struct.unpack(">I", self.read(4))[0]:
                body = self.read(size)
                yield body[0], body[1:]


def message(kind: int, payload: bytes = b"") -> bytes:
    return struct.pack(">IB", 1 + len(payload), kind) + payload


def handshake(hash_: bytes, name: bytes = b"-HO0001-") -> bytes:
    return PROTOCOL + b"\0\0\0\0\0\x10\0\0" + hash_ + name + os.urandom(12)


class Peer:
    """An honest seed of one torrent of one piece or more; liars override what they lie about."""

    def __init__(self, info: dict[str, Any] | bytes, payload: bytes = b"") -> None:
        self.metadata = info if isinstance(info, bytes) else bencode(info)
        self.payload = payload
        self.infohash = infohash(self.metadata)
        self.told = 0  # how often it came to what it is here for
        self._ended = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def magnet(self) -> str:
        return f"magnet:?xt=urn:btih:{self.infohash}&x.pe=127.0.0.1:{self.port}"

    def close(self) -> None:
        self._ended.set()
        self._listening.close()

    def until_the_end(self) -> Iterator[int]:
        """Count for as long as this peer lives, and not longer than anything here may."""
        deadline = time.monotonic() + LONGEST
        for number in itertools.count():
            if self._ended.is_set() or time.monotonic() > deadline:
                return
            yield number

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            wire = Wire(connection)
            if (begin := wire.read(20)) != PROTOCOL:  # an encrypted one: the next attempt is plain
                return
            self.converse(wire, begin + wire.read(48))

    def converse(self, wire: Wire, theirs: bytes) -> None:
        wire.write(handshake(self.handshake_hash(theirs)))
        wire.send(EXTENDED, b"\0" + bencode(self.extensions()))
        self.begin(wire)
        for kind, body in wire.messages():
            if kind == EXTENDED:
                self.extended(wire, body)
            elif kind == REQUEST:
                index, begin, length = struct.unpack(">III", body)
                wire.send(PIECE_, struct.pack(">II", index, begin) + self.block(index, begin, length))

    def handshake_hash(self, theirs: bytes) -> bytes:
        return theirs[28:48]

    def extensions(self) -> dict[str, Any]:
        names = {"ut_metadata": UT_METADATA, "ut_pex": UT_PEX}
        return {"m": names, "metadata_size": len(self.metadata), "reqq": 250}

    def begin(self, wire: Wire) -> None:
        pieces = -(-len(self.payload) // PIECE)
        wire.send(BITFIELD, int("1" * pieces + "0" * (-pieces % 8) or "0", 2).to_bytes(-(-pieces // 8), "big"))
        wire.send(UNCHOKE)

    def extended(self, wire: Wire, body: bytes) -> None:
        if body[0] == 0:
            wire.theirs = {name: _number_behind(body, b"%d:%s" % (len(name), name.encode())) for name in _NAMES}
        elif body[0] == UT_METADATA and b"8:msg_typei0e" in body:
            self.give_metadata(wire, _number_behind(body, b"5:piece"))

    def give_metadata(self, wire: Wire, piece: int) -> None:
        head = bencode({"msg_type": 1, "piece": piece, "total_size": len(self.metadata)})
        wire.send(EXTENDED, bytes([wire.theirs["ut_metadata"]]) + head + self.metadata_piece(piece))

    def metadata_piece(self, piece: int) -> bytes:
        return self.metadata[piece * PIECE : (piece + 1) * PIECE]

    def block(self, index: int, begin: int, length: int) -> bytes:
        start = index * PIECE + begin
        return self.payload[start : start + length]


_NAMES = ("ut_metadata", "ut_pex")


def _number_behind(text: bytes, name: bytes) -> int:
    digits = text.partition(name + b"i")[2].partition(b"e")[0]
    return int(digits) if digits.isdigit() else 0


class WrongPieces(Peer):
    def block(self, index: int, begin: int, length: int) -> bytes:
        self.told += 1
        return bytes(length)


class BlocksNobodyAskedFor(Peer):
    def begin(self, wire: Wire) -> None:
        super().begin(wire)
        for number in self.until_the_end():
            wire.send(PIECE_, struct.pack(">II", number * 7919 % 2**32, number % 2**32) + bytes(PIECE))
            self.told += 1


class Choke(Peer):
    def begin(self, wire: Wire) -> None:
        super().begin(wire)
        wire.send(CHOKE)
        self.told += 1


class WrongMetadata(Peer):
    def metadata_piece(self, piece: int) -> bytes:
        self.told += 1
        return bytes(len(super().metadata_piece(piece)))


class SizeOfMetadata(Peer):
    """Metadata of two gigabytes, then of a negative length, then of one that overflows; and always more of it."""

    sizes: ClassVar = itertools.cycle([2**31 - 1, -1, 2**64 + 100])

    def extensions(self) -> dict[str, Any]:
        self.told += 1
        return super().extensions() | {"metadata_size": next(self.sizes)}

    def begin(self, wire: Wire) -> None:
        for number in self.until_the_end():
            head = bencode({"msg_type": 1, "piece": number, "total_size": 2**31 - 1})
            wire.send(EXTENDED, bytes([2]) + head + bytes(PIECE))


class EndlessMetadata(Peer):
    """Three megabytes are announced, no more than libtorrent takes; what is asked for is given, for ever another."""

    def extensions(self) -> dict[str, Any]:
        return super().extensions() | {"metadata_size": 3_000_000}

    def metadata_piece(self, piece: int) -> bytes:
        self.told += 1
        return os.urandom(PIECE)


class AnotherSize(Peer):
    """Metadata that is a byte longer than the true one."""

    def extensions(self) -> dict[str, Any]:
        return super().extensions() | {"metadata_size": len(self.metadata) + 1}

    def give_metadata(self, wire: Wire, piece: int) -> None:
        self.told += 1
        head = bencode({"msg_type": 1, "piece": piece, "total_size": len(self.metadata) + 1})
        wire.send(EXTENDED, bytes([wire.theirs["ut_metadata"]]) + head + self.metadata_piece(piece) + b"x")


class NoMetadata(Peer):
    """Metadata as large as libtorrent takes is announced, and none is given."""

    def extensions(self) -> dict[str, Any]:
        return super().extensions() | {"metadata_size": 4_000_000}

    def give_metadata(self, wire: Wire, piece: int) -> None:
        self.told += 1


class SlowMetadata(Peer):
    """An honest one, far away."""

    def give_metadata(self, wire: Wire, piece: int) -> None:
        self._ended.wait(0.2)
        super().give_metadata(wire, piece)


class Silence(Peer):
    def converse(self, wire: Wire, theirs: bytes) -> None:
        self.told += 1
        wire.socket.recv(1 << 16)
        self._ended.wait(LONGEST)


class SilenceAfterTheHandshake(Silence):
    def converse(self, wire: Wire, theirs: bytes) -> None:
        wire.write(handshake(theirs[28:48]))
        super().converse(wire, theirs)


class Garbage(Peer):
    def converse(self, wire: Wire, theirs: bytes) -> None:
        self.told += 1
        wire.write(os.urandom(1_000_000))


class WebServer(Peer):
    def converse(self, wire: Wire, theirs: bytes) -> None:
        self.told += 1
        wire.write(b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")


class AnotherSwarm(Peer):
    def handshake_hash(self, theirs: bytes) -> bytes:
        self.told += 1
        return bytes(20)


class HangUp(Peer):
    def converse(self, wire: Wire, theirs: bytes) -> None:
        self.told += 1


class MessageOf4GB(Peer):
    def begin(self, wire: Wire) -> None:
        self.told += 1
        wire.write(b"\xff\xff\xff\xff\x07")
        for _ in self.until_the_end():
            wire.write(bytes(1 << 16))


class NestedExtensions(Peer):
    def begin(self, wire: Wire) -> None:
        for kind in (b"l", b"d1:a"):
            wire.send(EXTENDED, b"\0" + kind * (900_000 // len(kind)))
            self.told += 1


class Flood(Peer):
    """Messages that are all allowed, as fast as the wire takes them, and never the metadata."""

    def begin(self, wire: Wire) -> None:
        super().begin(wire)
        request = struct.pack(">III", 0, 0, PIECE)
        several = [message(CHOKE), message(UNCHOKE), message(INTERESTED), message(HAVE, bytes(4)), bytes(4)]
        several += [message(REQUEST, request), message(EXTENDED, b"\0de")]
        for _ in self.until_the_end():
            wire.write(b"".join(several) * 20)
            self.told += 1


class AThousandAddresses(Peer):
    """Addresses of peers (BEP 11), of machines and ports that are none of ours, again and again."""

    def begin(self, wire: Wire) -> None:
        super().begin(wire)
        for number in self.until_the_end():
            added = b"".join(socket.inet_aton(f"10.{number % 256}.{host}.1") + b"\0\x19" for host in range(50))
            wire.send(EXTENDED, bytes([1]) + bencode({"added": added, "added.f": bytes(50), "dropped": b""}))
            self.told += 1


LIARS: list[type[Peer]] = [
    *(WrongPieces, BlocksNobodyAskedFor, Choke, WrongMetadata, SizeOfMetadata, EndlessMetadata, Silence),
    *(AnotherSize, NoMetadata),
    *(SilenceAfterTheHandshake, Garbage, WebServer, AnotherSwarm, HangUp, MessageOf4GB, NestedExtensions, Flood),
    AThousandAddresses,
]
