"""Relay: between libtorrent and the WebSocket trackers of a network that ends somewhere.

libtorrent 2.1.1 calls every address that a browser's description names as a candidate (ICE, RFC 8839) and looks up
every name; no setting and no `ip_filter` keeps it from that. So in `lan` and `loopback` it is told of a relay on this
machine instead of the tracker, which takes out of every description what the network does not allow.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..network import Network, usable_candidates

if TYPE_CHECKING:
    from websockets.sync.connection import Connection
    from websockets.sync.server import ServerConnection

_CONNECT_WITHIN = 10  # seconds
_PAUSE = 0.001  # seconds after each message of a tracker, which may send without end
_SILENT = logging.Logger("relay", logging.CRITICAL + 1)
_OPTIONS: Mapping[str, Any] = {"compression": None, "close_timeout": 1, "logger": _SILENT}


class Relay:
    """The ways to trackers: straight to them on the internet, and through here elsewhere."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._ways: dict[str, str] = {}  # to each tracker
        self._secret = secrets.token_hex(16)  # in each way: other programs have no business here
        self._port = 0

    def way_to(self, tracker: str) -> str:
        """Give the URL that libtorrent is to be told, always the same for a tracker; the first one opens the relay."""
        if not self._network.ranges:
            return tracker
        if tracker not in self._ways:
            self._port = self._port or self._open()
            self._ways[tracker] = self._way(f"/{self._secret}/{len(self._ways)}")
        return self._ways[tracker]

    def tracker(self, way: str) -> str:
        """Give the tracker that a URL of libtorrent's means."""
        return next((tracker for tracker, known in self._ways.items() if known == way), way)

    def _way(self, path: str) -> str:
        return f"ws://127.0.0.1:{self._port}{path}"

    def _open(self) -> int:
        from websockets.sync.server import serve

        server = serve(self._converse, "127.0.0.1", 0, ping_interval=None, **_OPTIONS)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return int(server.socket.getsockname()[1])

    def _converse(self, program: ServerConnection) -> None:
        """Call the tracker that is meant, and pass on what both say until one of them ends it."""
        from websockets.sync.client import connect

        assert program.request
        way = self._way(program.request.path)
        if (url := self.tracker(way)) == way:
            return
        parts = urlsplit(url)
        address = parts.hostname or "", parts.port or (443 if parts.scheme == "wss" else 80)
        with _whatever_is_said():
            # a socket of our own, so that it goes nowhere else, whatever it is answered
            connected = socket.create_connection(address, _CONNECT_WITHIN)
            options = {**_OPTIONS, "sock": connected, "proxy": None, "user_agent_header": "memosync"}
            with connect(url, open_timeout=_CONNECT_WITHIN, **options) as tracker:
                threading.Thread(target=self._pass_on, args=[program, tracker], daemon=True).start()
                for message in tracker:
                    program.send(self._within(message))
                    time.sleep(_PAUSE)

    def _pass_on(self, program: Connection, tracker: Connection) -> None:
        with _whatever_is_said(), tracker:
            for message in program:
                # for WebRTC the loopback interface has no addresses, so there a browser needs the machine's others
                tracker.send(message if self._network is Network.LOOPBACK else self._within(message))

    def _within(self, text: str | bytes) -> str:
        """Give a message without the candidates that are outside; ValueError or RecursionError when it is none."""
        message = json.loads(text)
        for description in _descriptions(message):
            description["sdp"] = usable_candidates(str(description.get("sdp")), self._network)
        return json.dumps(message)


@contextlib.contextmanager
def _whatever_is_said() -> Iterator[None]:
    """Have it end this conversation and nothing else."""
    from websockets.exceptions import WebSocketException

    with contextlib.suppress(OSError, WebSocketException, ValueError, RecursionError):
        yield


def _descriptions(message: Any) -> Iterator[dict[str, Any]]:
    """Find every description of a browser in what trackers and their clients say to each other."""
    if isinstance(message, dict):
        if "sdp" in message:
            yield message
        for part in message.values():
            yield from _descriptions(part)
    elif isinstance(message, list):
        for part in message:
            yield from _descriptions(part)
