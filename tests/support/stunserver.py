"""A STUN server for tests (RFC 8489, binding requests): tells who asks what address that has, or says nothing.

    python tests/support/stunserver.py [--host ADDRESS] [--mode answer|silent|garbage]

prints its address, HOST:PORT, then a line for each request, and ends with its standard input.
"""

from __future__ import annotations

import argparse
import socket
import struct
import sys
import threading
from collections.abc import Callable

COOKIE = 0x2112A442
RESPONSE, XOR_MAPPED_ADDRESS, IPV4 = 0x0101, 0x0020, 1


class StunServer:
    """Serve from construction to `close`; `asked` counts the requests."""

    def __init__(
        self, host: str = "127.0.0.1", mode: str = "answer", on_request: Callable[[str], None] = lambda who: None
    ) -> None:
        self.mode = mode
        self.asked = 0
        self.on_request = on_request
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.address = f"{host}:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Be gone."""
        self.socket.close()

    def __enter__(self) -> StunServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _serve(self) -> None:
        while True:
            try:
                request, (host, port) = self.socket.recvfrom(2000)
            except OSError:
                return
            self.asked += 1
            self.on_request(host)
            if self.mode == "garbage":
                self.socket.sendto(b"\x01\x01 what?", (host, port))
            elif self.mode == "answer":
                self.socket.sendto(_response(request, host, port), (host, port))


def _response(request: bytes, host: str, port: int) -> bytes:
    address = int.from_bytes(socket.inet_aton(host), "big") ^ COOKIE
    mapped = struct.pack(">HHBBHI", XOR_MAPPED_ADDRESS, 8, 0, IPV4, port ^ (COOKIE >> 16), address)
    return struct.pack(">HH", RESPONSE, len(mapped)) + request[4:20] + mapped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--mode", choices=("answer", "silent", "garbage"), default="answer")
    options = parser.parse_args()
    with StunServer(options.host, options.mode, lambda who: print(who, flush=True)) as server:
        print(server.address, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
