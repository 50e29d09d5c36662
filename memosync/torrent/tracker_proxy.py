"""A local proxy for HTTP and WebSocket trackers: libtorrent connects to it, and it connects to the tracker.

libtorrent 2.1.1 by itself waits for ever for a WebSocket tracker whose machine vanished, reads without end whatever one
sends, and connects to every address that a browser's session description names as a candidate (ICE, RFC 8839), names
looked up; no setting and no `ip_filter` keeps it from that. So it is told of a WebSocket on this machine instead of the
tracker. Here dead connections are closed, a flood is slowed down, and the candidates that may not be called are taken
out of every description. HTTP trackers are asked here because of where they redirect to, see `trackers`.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from ..magnet import InfoHash
from ..network import Network, is_udp, is_websocket, parse_tracker, usable_candidates
from .session import reach_of

if TYPE_CHECKING:
    from websockets.asyncio.connection import Connection
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

Json: TypeAlias = Any  # a stranger's message may be anything; what goes wrong with it ends the connection
Options: TypeAlias = Mapping[str, Any]  # of `connect` and `serve`, which websockets gives no name

_OPEN_TIMEOUT = 10  # seconds; slow ones take five
_TO_TRACKER: Options = {
    "open_timeout": _OPEN_TIMEOUT,
    "ping_interval": 8,  # seconds between two pings (RFC 6455)
    "ping_timeout": 8,  # seconds without a pong after which the connection is dead
    "proxy": None,
    "user_agent_header": "memosync",
}
_PAUSE = 0.001  # seconds after each message
_LONGEST_ANNOUNCE = 30  # seconds
_LOOK_UPS = 64  # names at a time


class TrackerProxy:
    """A server on the loopback interface, in a thread of its own, with one URL for each tracker."""

    def __init__(
        self,
        network: Network,
        *,
        accept_offer: Callable[[InfoHash], bool] = lambda _infohash: True,
        on_answer: Callable[[InfoHash], None] = lambda _infohash: None,
    ) -> None:
        """Ask `accept_offer` whether libtorrent gets a browser's offer, and tell `on_answer` of an answer to ours.

        Both are called in the proxy's thread.
        """
        self._network = network
        self._accept_offer, self._on_answer = accept_offer, on_answer
        self._urls: dict[str, str] = {}  # of each tracker here
        self._trackers: dict[str, str] = {}  # of each path here
        self._typed: set[str] = set()  # trackers that a person here named
        self._place = ""  # HOST:PORT

    def url_for(self, tracker: str, *, typed: bool = False) -> str:
        """Give the local URL of a tracker, always the same; the first call starts the server. One by UDP has none."""
        if is_udp(tracker):
            return tracker
        if typed:
            self._typed.add(tracker)
        if tracker not in self._urls:
            self._place = self._place or self._start()
            # libtorrent asks no other path of HTTP trackers here; and other programs have no business here
            path = f"/announce/{secrets.token_hex(16)}"
            self._trackers[path] = tracker
            self._urls[tracker] = f"{'ws' if is_websocket(tracker) else 'http'}://{self._place}{path}"
        return self._urls[tracker]

    def tracker_of(self, url: str) -> str:
        """Give the tracker that a local URL is for; any other URL is itself a tracker's."""
        return next((tracker for tracker, local in self._urls.items() if local == url), url)

    def _start(self) -> str:
        """Listen, so that libtorrent can connect at once, and import what takes time in the background."""
        import asyncio

        listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=lambda: asyncio.run(self._serve(listening)), daemon=True).start()
        return f"127.0.0.1:{listening.getsockname()[1]}"

    async def _serve(self, listening: socket.socket) -> None:
        import asyncio
        from concurrent.futures import ThreadPoolExecutor

        from websockets.asyncio.server import serve

        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, _what: None)  # when descriptors run out, it tries again a second later
        loop.set_default_executor(ThreadPoolExecutor(_LOOK_UPS))
        options: Options = {**_options(), "ping_interval": None, "open_timeout": _LONGEST_ANNOUNCE}
        async with serve(self._connect, sock=listening, process_request=self._announce, **options) as server:
            await server.serve_forever()

    async def _announce(self, _libtorrent: ServerConnection, request: Request) -> Response | None:
        """Ask an HTTP tracker and give its answer; None when it is a WebSocket that is asked for."""
        from websockets.datastructures import Headers
        from websockets.http11 import Response

        from .trackers import announce

        path, _, query = request.path.partition("?")
        tracker = self._trackers.get(path)
        if not tracker:
            return Response(404, "Not Found", Headers({"Content-Length": "0"}))
        if is_websocket(tracker):
            return None
        answer = await announce(tracker, query, self._network, typed=tracker in self._typed)
        return Response(200, "OK", Headers({"Content-Length": str(len(answer))}), answer)

    async def _connect(self, libtorrent: ServerConnection) -> None:
        """Connect to the tracker that is meant, and forward the messages of both until one of them disconnects."""
        import asyncio

        from websockets.asyncio.client import connect

        from .trackers import dial

        class WithoutRedirects(connect):
            def process_redirect(self, exc: Exception) -> Exception | str:
                return exc  # wherever it leads, no other host is connected to

        assert libtorrent.request
        url = self._trackers[libtorrent.request.path]
        parsed = parse_tracker(url)
        assert parsed
        with _ending_the_connection():
            async with asyncio.timeout(_OPEN_TIMEOUT):
                connected = await dial(parsed, self._network, typed=url in self._typed)
            async with WithoutRedirects(url, sock=connected, **_options(), **_TO_TRACKER) as tracker:
                ways = (
                    _forward(tracker, libtorrent, self._inspect_from_tracker),
                    _forward(libtorrent, tracker, self._inspect_from_libtorrent),
                )
                await asyncio.wait(list(map(asyncio.create_task, ways)), return_when=asyncio.FIRST_COMPLETED)

    def _inspect_from_tracker(self, message: Json) -> bool:
        """Take out of a tracker's message what may not pass; tell whether libtorrent gets it at all."""
        self._filter_candidates(message)
        infohash = InfoHash(message["info_hash"].encode("latin-1").hex()) if "info_hash" in message else None
        if infohash and "answer" in message:
            self._on_answer(infohash)
        return not (infohash and "offer" in message) or self._accept_offer(infohash)

    def _inspect_from_libtorrent(self, message: Json) -> bool:
        # for WebRTC the loopback interface has no addresses, so there a browser needs the machine's others
        if self._network is Network.LAN:
            self._filter_candidates(message)
        return True

    def _filter_candidates(self, message: Json) -> None:
        """Take out of every session description in a message the candidates that may not be called."""
        reach = None
        for description in _descriptions(message):
            reach = reach or reach_of(self._network)
            description["sdp"] = usable_candidates(str(description["sdp"]), reach)


def _options() -> Options:
    """Give what holds for both sides; most fetches have neither."""
    import logging

    return {
        "compression": None,
        "close_timeout": 1,
        "logger": logging.Logger("tracker_proxy", logging.CRITICAL + 1),  # which is silent
    }


async def _forward(source: Connection, sink: Connection, inspect: Callable[[Json], bool]) -> None:
    """Forward each message that `inspect` lets pass, until the connection ends or something is no message."""
    import asyncio

    with _ending_the_connection():
        async for text in source:
            message = json.loads(text)
            if inspect(message):
                await sink.send(json.dumps(message))
            await asyncio.sleep(_PAUSE)


@contextlib.contextmanager
def _ending_the_connection() -> Iterator[None]:
    """Let nothing that is wrong with a peer or its message do more than end its connection."""
    from websockets.exceptions import WebSocketException

    wrong_message = (ValueError, TypeError, AttributeError, RecursionError)
    with contextlib.suppress(OSError, WebSocketException, *wrong_message):
        yield


def _descriptions(message: Json) -> Iterator[dict[str, Json]]:
    """Find every session description (SDP, RFC 8866) in a message of a tracker or of its client."""
    if isinstance(message, dict):
        if "sdp" in message:
            yield message
        for part in message.values():
            yield from _descriptions(part)
    elif isinstance(message, list):
        for part in message:
            yield from _descriptions(part)
