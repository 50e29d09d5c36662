"""A WebSocket tracker for tests, as browsers use it to meet over WebRTC: what `bittorrent-tracker` from npm does.

    python tests/support/wstracker.py [--host ADDRESS] [--port N] [--mode MODE] [--interval SECONDS] [--delay SECONDS]

prints its address, then a line of JSON for each thing it hears, and ends with its standard input. Modes:

    answer      hand offers to others of the swarm, and their answers back
    slow        the same, but each message only after `--delay` seconds
    silent      take connections and never answer
    garbage     answer nonsense
    refused     a port where nobody listens
    giant       answer with frames of many megabytes
    offers      answer with offers without end
    sdp         answer with offers, and answers to all offers, whose descriptions are none
    infohashes  answer with offers for infohashes that nobody announced
    outside     answer, and offer, with descriptions that name machines outside of every local network
    closes      close each connection at the first message
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import random
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

MODES = ("answer", "slow", "silent", "garbage", "refused", "giant", "offers", "sdp", "infohashes", "outside", "closes")
GARBAGE = (
    "not json",
    '{"action":"announce"',
    "[[[",
    '"text"',
    "{}",
    b"\xff\x00\xfe",
    '{"action":"announce","interval":[]}',
)
GIANT = (100_000, 1_000_000, 16_000_000)  # bytes of a frame
MOST = 82  # offers of one announce that are handed on
_DESCRIPTION = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
_ALMOST = (  # good but for what is in the last line
    f"{_DESCRIPTION}c=IN IP4 0.0.0.0\r\na=ice-ufrag:aaaa\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaa\r\n"
    "a=setup:actpass\r\na=mid:0\r\na=fingerprint:sha-256 00\r\n"
    "a=sctp-port:99999999999\r\na=candidate:1 1 UDP 1 nowhere.invalid 99999 typ host\r\n"
)
OUTSIDE = {  # that a browser names as its own addresses, and with which port
    "203.0.113.7": 40000,  # for examples (RFC 5737), as is the next one
    "2001:db8::7": 41000,
    "outside.example": 42000,
    "outside.local": 43000,
    "127.0.0.1": 44000,
    "::1": 45000,
    "::ffff:127.0.0.1": 46000,
    "0.0.0.0": 47000,
    "192.168.99.9": 48000,
}
SDP = ("", "v=0\r\n", "\0" * 1000, "v=0\r\na=candidate:" + "9" * 100_000, _DESCRIPTION, _ALMOST)


@dataclasses.dataclass(frozen=True)
class Event:
    """What happened on one connection: `open`, `close`, `announce`, `answer` or `garbage`."""

    connection: int
    kind: str
    infohash: str = ""  # hexadecimal
    peer: str = ""  # the peer's id, hexadecimal
    event: str = ""
    left: int | None = None  # bytes
    offers: int = 0
    host: str = ""
    at: float = 0  # seconds, monotonic
    text: str = ""  # what was sent


class Heard:
    """All that a tracker heard so far, and what can be said of it."""

    url: str
    port: int

    def __init__(self) -> None:
        self.events: list[Event] = []

    @property
    def open(self) -> int:
        """Count the WebSockets that are open now."""
        kinds = [event.kind for event in list(self.events)]
        return kinds.count("open") - kinds.count("close")

    def announces(self, infohash: str = "") -> list[Event]:
        """Give all announces, or those of one infohash."""
        announces = [event for event in list(self.events) if event.kind == "announce"]
        return [event for event in announces if infohash in ("", event.infohash)]

    def infohashes(self) -> set[str]:
        """Give whatever was announced."""
        return {event.infohash for event in self.announces()}

    def close(self) -> None:
        """Be gone."""
        raise NotImplementedError


class WebSocketTracker(Heard):
    """Serve from construction to `close`."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        mode: str = "answer",
        interval: int = 120,
        delay: float = 5,
        on_event: Callable[[Event], None] = lambda event: None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__()
        self.mode = mode
        self.interval = interval  # seconds, what browsers are told
        self.delay = delay  # seconds before each message, when slow
        self.on_event = on_event
        self.swarms: dict[str, dict[str, ServerConnection]] = {}  # infohash: peer: the connection it came by
        self.done: dict[str, set[str]] = {}  # infohash: peers that have all of it
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((host, port))
        self.port = self.socket.getsockname()[1]
        self.url = f"ws{'s' if tls else ''}://{host}:{self.port}"
        self.server: Server | None = None
        if mode == "refused":
            return
        self.socket.listen(1000)
        if mode != "silent":
            self.server = serve(
                self._converse, sock=self.socket, ssl=tls, ping_interval=None, open_timeout=60, close_timeout=1
            )
            threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Be gone."""
        if self.server:
            self.server.shutdown()
        self.socket.close()

    def __enter__(self) -> WebSocketTracker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _note(self, event: Event) -> None:
        with self.lock:
            self.events.append(event)
        self.on_event(event)

    def _converse(self, connection: ServerConnection) -> None:
        number = next(self.numbers)
        host = str(connection.remote_address[0])
        first = ""
        self._note(Event(number, "open", host=host, at=time.monotonic()))
        try:
            for text in connection:
                message = _parse(text)
                event = dataclasses.replace(_event(number, host, message), text=str(text))
                first = first or event.peer
                self._note(event)
                if self.mode in ("answer", "slow"):
                    time.sleep(self.delay if self.mode == "slow" else 0)
                    self._answer(connection, event, message)
                elif self.mode == "closes":
                    break
                else:
                    for frame in _hostile(self.mode, message):
                        connection.send(frame)
        except ConnectionClosed:
            pass
        finally:
            self._forget(connection, first)
            self._note(Event(number, "close", host=host, at=time.monotonic()))

    def _forget(self, connection: ServerConnection, peer: str) -> None:
        """Take out only whom the connection named first: other peers stay, as they do in the real one."""
        with self.lock:
            for infohash, swarm in self.swarms.items():
                if swarm.get(peer) is connection:
                    del swarm[peer]
                    self.done[infohash].discard(peer)

    def _answer(self, connection: ServerConnection, event: Event, message: dict[str, Any]) -> None:
        if event.kind == "garbage":
            connection.send(json.dumps({"failure reason": "invalid"}))
            return
        with self.lock:
            swarm = self.swarms.setdefault(event.infohash, {})
            done = self.done.setdefault(event.infohash, set())
            if event.event == "stopped":
                swarm.pop(event.peer, None)
                done.discard(event.peer)
            else:
                swarm.setdefault(event.peer, connection)
                if event.left == 0:
                    done.add(event.peer)
            counts = {"complete": len(done), "incomplete": len(swarm) - len(done)}
            others = [peer for peer in swarm if peer != event.peer]
            receivers = dict(swarm)
        head = {"action": "announce", "info_hash": message["info_hash"]}
        from_ = {**head, "peer_id": message["peer_id"]}
        if event.kind == "answer":
            to = receivers.get(_hexadecimal(message.get("to_peer_id")))
            _send(to, {**from_, "answer": message["answer"], "offer_id": message.get("offer_id")})
            return
        _send(connection, {**head, **counts, "interval": self.interval})
        offers = message.get("offers") or []
        wanted = random.sample(others, min(len(others), len(offers), MOST))
        for peer, offer in zip(wanted, offers, strict=False):
            _send(receivers[peer], {**from_, "offer": offer["offer"], "offer_id": offer["offer_id"]})


class Remote(Heard):
    """A tracker that is a process of its own, perhaps in another network namespace."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__()
        assert process.stdout is not None
        self.process = process
        self.url = process.stdout.readline().strip()
        self.port = int(self.url.rpartition(":")[2])
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.events.append(Event(**json.loads(line)))

    def close(self) -> None:
        """End it at once, without a goodbye."""
        self.process.kill()
        self.process.wait()


def _parse(text: str | bytes) -> dict[str, Any]:
    """Read a message; an empty one when it is none."""
    try:
        message = json.loads(text)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _event(connection: int, host: str, message: dict[str, Any]) -> Event:
    infohash, peer = (_hexadecimal(message.get(name)) for name in ("info_hash", "peer_id"))
    kind = "answer" if message.get("answer") else "announce"
    if message.get("action") != "announce" or not infohash or not peer:
        kind = "garbage"
    left, offers = message.get("left"), message.get("offers") or []
    event = str(message.get("event") or "")
    seen = left if isinstance(left, int) else None
    return Event(connection, kind, infohash, peer, event, seen, len(offers), host, time.monotonic())


def _hexadecimal(name: object) -> str:
    """Give an infohash or the id of a peer, twenty bytes that are sent as so many characters."""
    return name.encode("latin-1").hex() if isinstance(name, str) and len(name) == 20 and max(name) < "\u0100" else ""


def _send(connection: ServerConnection | None, message: dict[str, Any]) -> None:
    """Send where somebody still listens."""
    try:
        if connection:
            connection.send(json.dumps(message))
    except ConnectionClosed:
        pass


def _hostile(mode: str, message: dict[str, Any]) -> Iterator[str | bytes]:
    """Give what an enemy answers."""
    if mode == "garbage":
        yield from GARBAGE
        return
    if mode == "giant":
        for size in GIANT:
            yield json.dumps({"action": "announce", "interval": 120, "info_hash": "x" * size})
            yield "[" * size
        return
    if mode == "outside":
        for offer in message.get("offers") or []:
            sdp = _elsewhere(offer["offer"]["sdp"])
            yield _answer(message, offer, sdp.replace("setup:actpass", "setup:active"))
            yield _offer(message, sdp)
        return
    if mode == "infohashes":
        strangers = (_twenty() for _ in range(1000))
        yield from (_offer({**message, "info_hash": stranger}, _ALMOST) for stranger in strangers)
        return
    if mode == "offers":  # good ones: the peer's own, as if from others
        own = [offer["offer"]["sdp"] for offer in message.get("offers") or []]
        yield from (_offer(message, sdp) for sdp in itertools.cycle(own or [_ALMOST]))
    for sdp in SDP:
        yield _offer(message, sdp)
        for offer in message.get("offers") or []:
            yield _answer(message, offer, sdp)


def _made_up(message: dict[str, Any]) -> dict[str, Any]:
    return {"action": "announce", "info_hash": message.get("info_hash"), "peer_id": _twenty()}


def _elsewhere(sdp: str) -> str:
    """Have a description name other machines as its own addresses."""
    lines = [line for line in sdp.splitlines() if "candidate" not in line]
    lines += [
        f"a=candidate:{n} 1 UDP 2122260223 {host} {port} typ host" for n, (host, port) in enumerate(OUTSIDE.items())
    ]
    return "".join(f"{line}\r\n" for line in lines)


def _answer(message: dict[str, Any], offer: dict[str, Any], sdp: str) -> str:
    return json.dumps(_made_up(message) | {"answer": {"type": "answer", "sdp": sdp}, "offer_id": offer["offer_id"]})


def _offer(message: dict[str, Any], sdp: str) -> str:
    return json.dumps(_made_up(message) | {"offer": {"type": "offer", "sdp": sdp}, "offer_id": _twenty()})


def _twenty() -> str:
    return random.randbytes(20).decode("latin-1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--mode", choices=MODES, default="answer")
    parser.add_argument("--interval", type=int, default=120, help="seconds between announces")
    parser.add_argument("--delay", type=float, default=5, help="seconds before each message, when slow")
    options = parser.parse_args()
    writing = threading.Lock()

    def say(event: Event) -> None:
        with writing:
            print(json.dumps(dataclasses.asdict(event)), flush=True)

    with WebSocketTracker(options.host, options.port, options.mode, options.interval, options.delay, say) as tracker:
        print(tracker.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
