"""STUN: whether the server answers that tells WebRTC our public address (RFC 8489).

libtorrent 2.1.1 waits for it up to 23 s before it announces at a WebSocket tracker. So it is told of a server only once
that has answered us.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading

from ...network import Network

DEFAULT = "stun.l.google.com:19302"  # libtorrent's own, and WebTorrent's
_REQUEST, _RESPONSE, _COOKIE = 0x0001, 0x0101, 0x2112A442
_ANSWER_WITHIN = 1.0  # seconds, and then it is asked once more
_ASK_EVERY = 60.0  # seconds


def server_for(network: Network) -> str:
    """Name the server as HOST:PORT; empty for none: there is one with `public` alone."""
    return os.environ.get("MEMOSYNC_STUN", DEFAULT) if network is Network.PUBLIC else ""


def answers(server: str) -> bool:
    """Ask a server who we are: a binding request and its response."""
    host, _, port = server.rpartition(":")
    with contextlib.suppress(OSError, ValueError, UnicodeError):
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as asking:
            asking.settimeout(_ANSWER_WITHIN)
            asking.connect(address)
            for _ in range(2):
                transaction = os.urandom(12)
                asking.send(struct.pack(">HHI", _REQUEST, 0, _COOKIE) + transaction)
                with contextlib.suppress(TimeoutError):
                    answer = asking.recv(2000)
                    return answer[:2] == struct.pack(">H", _RESPONSE) and answer[4:20] == (
                        struct.pack(">I", _COOKIE) + transaction
                    )
    return False


class Watch:
    """Know whether the server answers, without ever waiting for it."""

    def __init__(self, network: Network, *, again: bool) -> None:
        """Begin to ask; `again` every minute."""
        self._server = server_for(network)
        self._again = again
        self._ended = threading.Event()
        self._known = threading.Event()
        self.usable = ""  # the server, as long as it answers
        if self._server:
            threading.Thread(target=self._ask, daemon=True).start()
        else:
            self._known.set()

    def known(self) -> bool:
        """Tell whether it has been found out."""
        return self._known.is_set()

    def end(self) -> None:
        self._ended.set()

    def _ask(self) -> None:
        while not self._ended.is_set():
            self.usable = self._server if answers(self._server) else ""
            self._known.set()
            if not self._again:
                return
            self._ended.wait(_ASK_EVERY)
