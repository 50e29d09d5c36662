"""The first words of two peers."""

from __future__ import annotations

import socket


def offers(port: int, infohash: str) -> bool:
    """Ask as a peer does, by a handshake (BEP 3), whether a torrent is served there."""
    hello = b"\x13BitTorrent protocol" + bytes(8) + bytes.fromhex(infohash) + b"-TEST00-stranger----"
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as peer:
            peer.sendall(hello)
            answer = b""
            while len(answer) < 68 and (more := peer.recv(68 - len(answer))):
                answer += more
    except OSError:
        return False
    return answer[28:48] == hello[28:48]
