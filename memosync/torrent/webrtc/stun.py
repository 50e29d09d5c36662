"""STUN (RFC 8489): whether the server answers that tells WebRTC our public address.

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
_REQUEST, _RESPONSE, _COOKIE = 0x0001, 0x0101, 0x2112A442  # RFC 8489, 5: the message types of Binding; the magic cookie
_ANSWER_WITHIN = 1.0  # seconds, and then it is asked once more
_ASK_EVERY = 60.0  # seconds


def server_for(network: Network) -> str:
    """Give the server as HOST:PORT, from MEMOSYNC_STUN where that is set; empty for none, as in all but `public`."""
    return os.environ.get("MEMOSYNC_STUN", DEFAULT) if network is Network.PUBLIC else ""


def answers(server: str) -> bool:
    """Send a Binding request to HOST:PORT, twice at most, and tell whether its response came within a second."""
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


class StunProbe:
    """Ask the network's STUN server in a thread of its own, so that nobody ever waits for it."""

    def __init__(self, network: Network, *, repeat: bool) -> None:
        """Ask once, or with `repeat` every minute until `stop`."""
        self._server = server_for(network)
        self._repeat = repeat
        self._stopped = threading.Event()
        self._finished = threading.Event()
        self.usable = ""  # HOST:PORT as long as the server answers, else empty
        if self._server:
            threading.Thread(target=self._ask, daemon=True).start()
        else:
            self._finished.set()

    def finished(self) -> bool:
        """Tell whether `usable` is the outcome of at least one question."""
        return self._finished.is_set()

    def stop(self) -> None:
        self._stopped.set()

    def _ask(self) -> None:
        while not self._stopped.is_set():
            self.usable = self._server if answers(self._server) else ""
            self._finished.set()
            if not self._repeat:
                return
            self._stopped.wait(_ASK_EVERY)
