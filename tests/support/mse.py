"""Message Stream Encryption as who calls: a connection to a peer that takes no other (RC4 alone).

Only who knows a torrent's infohash can speak to its peers so; strangers know the one of the place where devices meet.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator

PRIME = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A63A36210000000000090563",
    16,
)
SIZE = 96  # bytes of a public key
PADDING = 512  # bytes at most
RC4 = b"\0\0\0\2"
ZEROS = bytes(8)  # the verification constant


def _stream(key: bytes) -> Iterator[int]:
    """Give the bytes of RC4, but for the first 1024."""
    state, at = list(range(256)), 0
    for number in range(256):
        at = (at + state[number] + key[number % len(key)]) % 256
        state[number], state[at] = state[at], state[number]
    first = at = 0
    for number in range(10**9):
        first = (first + 1) % 256
        at = (at + state[first]) % 256
        state[first], state[at] = state[at], state[first]
        if number >= 1024:
            yield state[(state[first] + state[at]) % 256]


def _hash(*parts: bytes) -> bytes:
    return hashlib.sha1(b"".join(parts)).digest()


def _crypt(data: bytes, stream: Iterator[int]) -> bytes:
    return bytes(one ^ next(stream) for one in data)


class Encrypted:
    """A connection to a peer of a torrent, encrypted; OSError where it hangs up."""

    def __init__(self, connection: socket.socket, infohash: bytes) -> None:
        self.connection, secret = connection, int.from_bytes(os.urandom(20), "big")
        connection.sendall(pow(2, secret, PRIME).to_bytes(SIZE, "big"))
        theirs = int.from_bytes(self._read(SIZE), "big")
        shared = pow(theirs, secret, PRIME).to_bytes(SIZE, "big")
        self.out, self.into = (_stream(_hash(name, shared, infohash)) for name in (b"keyA", b"keyB"))
        which = bytes(one ^ other for one, other in zip(_hash(b"req2", infohash), _hash(b"req3", shared), strict=True))
        connection.sendall(_hash(b"req1", shared) + which + _crypt(ZEROS + RC4 + bytes(4), self.out))
        begins, read = _crypt(ZEROS, self.into), b""
        while not read.endswith(begins):
            if len(read) > PADDING + len(begins):
                raise OSError("this is no encrypted peer")
            read += self._read(1)
        chosen, padding = _crypt(self._read(4), self.into), int.from_bytes(_crypt(self._read(2), self.into), "big")
        assert chosen == RC4
        _crypt(self._read(padding), self.into)

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            if not (more := self.connection.recv(count - len(data))):
                raise OSError("it hung up")
            data += more
        return data

    def recv(self, most: int) -> bytes:
        return _crypt(self.connection.recv(most), self.into)

    def sendall(self, data: bytes) -> None:
        self.connection.sendall(_crypt(data, self.out))

    def __enter__(self) -> Encrypted:
        return self

    def __exit__(self, *error: object) -> None:
        self.connection.close()
