"""The first words of two peers."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator


def offers(port: int, infohash: str) -> bool:
    """Ask as a peer does, by a handshake (BEP 3), whether a torrent is served there."""
    try:
        with visiting(port, infohash) as answer:
            return answer[28:48] == bytes.fromhex(infohash)
    except OSError:
        return False


@contextlib.contextmanager
def visiting(port: int, infohash: str) -> Iterator[bytes]:
    """Be a peer that says its handshake and nothing more; give what it is answered."""
    with socket.create_connection(("127.0.0.1", port), 30) as peer:
        yield greet(peer, infohash)


def greet(peer: socket.socket, infohash: str) -> bytes:
    """Say a handshake, and give what it is answered."""
    peer.sendall(b"\x13BitTorrent protocol" + bytes(8) + bytes.fromhex(infohash) + b"-TEST00-stranger----")
    answer = b""
    while len(answer) < 68 and (more := peer.recv(68 - len(answer))):
        answer += more
    return answer


def is_connected(peer: socket.socket) -> bool:
    """Send a keep-alive, and tell whether the other side has not closed the connection."""
    try:
        peer.sendall(bytes(4))
        peer.setblocking(False)
        while peer.recv(2**16):
            pass
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False
