"""Relay: what libtorrent and WebSocket trackers say to each other goes through here.

libtorrent 2.1.1 by itself waits for ever for a tracker whose machine vanished, takes whatever one sends without end,
and calls every address that a browser's description names as a candidate (ICE, RFC 8839), names looked up; no setting
and no `ip_filter` keeps it from that. So it is told of a WebSocket on this machine instead of the tracker. Here
connections that are dead are ended, a flood is slowed down, and in `lan` and `loopback` what the network does not
allow is taken out of every description.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from ..magnet import InfoHash
from ..network import Network, usable_candidates

if TYPE_CHECKING:
    from websockets.asyncio.connection import Connection
    from websockets.asyncio.server import ServerConnection

_SILENT = logging.Logger("relay", logging.CRITICAL + 1)
_OPTIONS: Mapping[str, Any] = {"compression": None, "close_timeout": 1, "logger": _SILENT}
_TRACKER: Mapping[str, Any] = {
    **_OPTIONS,
    "open_timeout": 10,  # seconds; slow ones take five
    "ping_interval": 8,  # seconds between two signs of life
    "ping_timeout": 8,  # and until one that gives none is taken for dead
    "happy_eyeballs_delay": 0.25,  # seconds (RFC 8305): there are machines whose IPv6 leads nowhere
    "proxy": None,
    "user_agent_header": "memosync",
}
_PAUSE = 0.001  # seconds after each message


class Relay:
    """The ways to trackers, and who stands on them."""

    def __init__(
        self,
        network: Network,
        *,
        take: Callable[[InfoHash], bool] = lambda _infohash: True,
        expect: Callable[[InfoHash], None] = lambda _infohash: None,
    ) -> None:
        """Begin to answer in a thread of its own: `take` a browser's offer or not, `expect` one that took up ours."""
        self._network = network
        self._take, self._expect = take, expect
        self._ways: dict[str, str] = {}  # to each tracker
        self._base = ""

    def way_to(self, tracker: str) -> str:
        """Give the URL that libtorrent is to be told, always the same for a tracker; the first one opens the relay."""
        self._base = self._base or self._open()
        return self._ways.setdefault(tracker, f"{self._base}{len(self._ways)}")

    def tracker(self, way: str) -> str:
        """Give the tracker that a URL of libtorrent's means."""
        return next((tracker for tracker, known in self._ways.items() if known == way), way)

    def _open(self) -> str:
        """Listen, so that libtorrent can call at once, and do what takes time in the background."""
        import asyncio

        listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=lambda: asyncio.run(self._serve(listening)), daemon=True).start()
        secret = secrets.token_hex(16)  # other programs have no business here
        return f"ws://127.0.0.1:{listening.getsockname()[1]}/{secret}/"

    async def _serve(self, listening: socket.socket) -> None:
        import asyncio

        from websockets.asyncio.server import serve

        # when descriptors run out, it tries again a second later
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _what: None)
        async with serve(self._converse, sock=listening, ping_interval=None, **_OPTIONS) as server:
            await server.serve_forever()

    async def _converse(self, program: ServerConnection) -> None:
        """Call the tracker that is meant, and pass on what both say until one of them ends it."""
        import asyncio

        from websockets.asyncio.client import connect

        class Straight(connect):
            def process_redirect(self, exc: Exception) -> Exception | str:
                return exc  # whatever it answers, nobody else is called

        assert program.request
        way = urljoin(self._base, program.request.path)
        if (url := self.tracker(way)) == way:
            return
        with _whatever_happens():
            async with Straight(url, **_TRACKER) as tracker:
                both = _pass_on(tracker, program, self._hear), _pass_on(program, tracker, self._say)
                await asyncio.wait(list(map(asyncio.create_task, both)), return_when=asyncio.FIRST_COMPLETED)

    def _hear(self, message: Any) -> bool:
        """Do with a tracker's message what is to be done with it; tell whether libtorrent is to hear it."""
        if self._network.ranges:
            self._confine(message)
        infohash = InfoHash(message["info_hash"].encode("latin-1").hex()) if "info_hash" in message else None
        if infohash and "answer" in message:
            self._expect(infohash)
        return not (infohash and "offer" in message) or self._take(infohash)

    def _say(self, message: Any) -> bool:
        # for WebRTC the loopback interface has no addresses, so there a browser needs the machine's others
        if self._network is Network.LAN:
            self._confine(message)
        return True

    def _confine(self, message: Any) -> None:
        """Take out of every description in a message the candidates that are outside."""
        for description in _descriptions(message):
            description["sdp"] = usable_candidates(str(description["sdp"]), self._network)


async def _pass_on(source: Connection, sink: Connection, attend: Callable[[Any], bool]) -> None:
    """Pass messages on, each once `attend` has had it and said that it shall be; the first that is none ends it."""
    import asyncio

    with _whatever_happens():
        async for text in source:
            message = json.loads(text)
            if attend(message):
                await sink.send(json.dumps(message))
            await asyncio.sleep(_PAUSE)


@contextlib.contextmanager
def _whatever_happens() -> Iterator[None]:
    """Have it end this conversation and nothing else."""
    from websockets.exceptions import WebSocketException

    wrong = (ValueError, TypeError, AttributeError, RecursionError)  # in a message
    with contextlib.suppress(OSError, WebSocketException, *wrong):
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
