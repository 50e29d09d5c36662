"""A peer that takes all of a torrent in plain, as any client may, and says every byte that it was sent.

python taker.py ADDRESS PORT INFOHASH
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from typing import Any

import libtorrent as lt

EXTENSIONS = b"\0\0\0\0\0\x10\0\0"  # BEP 10
UNCHOKE, INTERESTED, REQUEST, PIECE, EXTENDED = 1, 2, 6, 7, 20  # messages
OUR_METADATA = 1  # BEP 9
BLOCK = 16384  # bytes


class Taker:
    """One connection."""

    def __init__(self, address: str, port: int, infohash: str) -> None:
        self.heard = b""
        self.peer = socket.create_connection((address, port), 30)
        name = b"-TEST00-" + os.urandom(6).hex().encode()
        self.peer.sendall(b"\x13BitTorrent protocol" + EXTENSIONS + bytes.fromhex(infohash) + name)
        self._read(68)
        self._extended(0, {b"m": {b"ut_metadata": OUR_METADATA}})

    def take(self) -> None:
        """Ask for the metadata, then for every block of the one file."""
        missing = size = piece = 0
        while True:
            kind, payload = self._message()
            if (kind, payload[:1]) == (EXTENDED, b"\0"):
                theirs: Any = lt.bdecode(payload[1:])
                self._extended(theirs[b"m"][b"ut_metadata"], {b"msg_type": 0, b"piece": 0})
            elif kind == EXTENDED and b"6:pieces" in payload:
                info: Any = lt.bdecode(payload[payload.index(b"ee") + 2 :])
                size, piece = info[b"length"], info[b"piece length"]
                self._send(INTERESTED, b"")
            elif kind == UNCHOKE:
                for begin in range(0, size, BLOCK):
                    where = (begin // piece, begin % piece, min(BLOCK, size - begin))
                    self._send(REQUEST, struct.pack(">III", *where))
                    missing += 1
            elif kind == PIECE:
                missing -= 1
                if not missing:
                    return

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            if not (more := self.peer.recv(count - len(data))):
                raise OSError("the other side has gone")
            data += more
        self.heard += data
        return data

    def _message(self) -> tuple[int, bytes]:
        data = self._read(struct.unpack(">I", self._read(4))[0])
        return (data[0] if data else -1), data[1:]

    def _extended(self, kind: int, content: Any) -> None:
        self._send(EXTENDED, bytes([kind]) + lt.bencode(content))

    def _send(self, kind: int, payload: bytes) -> None:
        self.peer.sendall(struct.pack(">IB", 1 + len(payload), kind) + payload)


if __name__ == "__main__":
    taker = Taker(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    taker.take()
    sys.stdout.buffer.write(taker.heard)
