"""A BitTorrent tracker for tests: HTTP (BEP 3, BEP 23) and UDP (BEP 15) on one port, IPv4, all in memory.

    python tests/tracker.py [--host ADDRESS] [--port N] [--mode answer|silent|garbage|refused] [--interval SECONDS]
                            [--peer ADDRESS:PORT]... [--redirect URL]

prints its two addresses, one a line, then a line for each announce, and ends with its standard input. `silent` takes
connections and datagrams and never answers, `garbage` answers nonsense, `refused` is a port where nobody listens.
"""

from __future__ import annotations

import argparse
import dataclasses
import http.server
import random
import socket
import socketserver
import struct
import sys
import threading
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any

MODES = ("answer", "silent", "garbage", "refused")
GARBAGE = b"\xff\x00 i am 5:not a tracker\r\n d8:interval"
PROTOCOL = 0x41727101980  # opens a UDP conversation
CONNECTION = 0x6D656D6F73796E63  # one for all: who may talk to us is not what is tested
CONNECT, ANNOUNCE, SCRAPE, ERROR = range(4)
EVENTS = ("", "completed", "started", "stopped", "paused")  # BEP 15; the last one BEP 21, in UDP as libtorrent has it


@dataclasses.dataclass(frozen=True)
class Announce:
    """What a peer told of itself."""

    scheme: str
    infohash: bytes
    host: str
    port: int
    left: int  # bytes
    event: str

    def __str__(self) -> str:
        return f"{self.scheme} {self.infohash.hex()} {self.host}:{self.port} left={self.left} {self.event or 'alive'}"


class Tracker:
    """Serve from construction to `close`; `announces` keeps all that was heard."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        mode: str = "answer",
        interval: int = 1800,
        on_announce: Callable[[Announce], None] = lambda announce: None,
        strangers: Sequence[tuple[str, int]] = (),  # who are in every swarm
        redirect: str = "",  # where it sends all who ask by HTTP
    ) -> None:
        self.redirect = redirect
        self.mode = mode
        self.interval = interval
        self.on_announce = on_announce
        self.strangers = list(strangers)
        self.announces: list[Announce] = []
        self.swarms: dict[bytes, dict[tuple[str, int], int]] = {}  # infohash: peer: bytes left
        self.lock = threading.Lock()
        self.tcp, self.udp = _one_port(host, port)
        self.port: int = self.udp.server_address[1]
        self.http_url = f"http://{host}:{self.port}/announce"
        self.udp_url = f"udp://{host}:{self.port}/announce"
        self.tcp.tracker = self.udp.tracker = self
        if mode == "refused":
            self.udp.socket.connect((host, 1))  # the port stays ours, but what others send is turned away
            return
        self.tcp.server_activate()
        if mode != "silent":
            for server in (self.tcp, self.udp):
                threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Be gone."""
        for server in (self.tcp, self.udp):
            if self.mode in ("answer", "garbage"):
                server.shutdown()
            server.server_close()

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def announce(self, announce: Announce, wanted: int) -> list[tuple[str, int]]:
        """Note the peer and give it others."""
        peer = (announce.host, announce.port)
        with self.lock:
            self.announces.append(announce)
            swarm = self.swarms.setdefault(announce.infohash, {})
            others = [other for other in swarm if other != peer]
            if announce.event == "stopped":
                swarm.pop(peer, None)
            else:
                swarm[peer] = announce.left
        self.on_announce(announce)
        return self.strangers + random.sample(others, min(len(others), wanted))

    def counts(self, infohash: bytes) -> tuple[int, int]:
        """Count who has all of it and who does not yet."""
        lefts = list(self.swarms.get(infohash, {}).values())
        return lefts.count(0), len(lefts) - lefts.count(0)


class _Tcp(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 100
    tracker: Tracker

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of peers that left before their answer."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Udp(socketserver.UDPServer):
    tracker: Tracker


class _Http(http.server.BaseHTTPRequestHandler):
    server: _Tcp

    def do_GET(self) -> None:
        tracker = self.server.tracker
        url = urllib.parse.urlsplit(self.path)
        # Infohashes are bytes, so everything is read as Latin-1.
        query = urllib.parse.parse_qs(url.query, encoding="latin-1")
        infohash = query.get("info_hash", [""])[0].encode("latin-1")
        if tracker.redirect:
            self.send_response(302)
            self.send_header("Location", tracker.redirect)
            self.end_headers()
        elif tracker.mode == "garbage":
            self._answer(GARBAGE)
        elif len(infohash) != 20:
            self._answer(_bencode({"failure reason": "no info_hash"}))
        elif url.path == "/scrape":
            complete, incomplete = tracker.counts(infohash)
            counts = {"complete": complete, "downloaded": complete, "incomplete": incomplete}
            self._answer(_bencode({"files": {infohash: counts}}))
        else:
            first = {name: values[0] for name, values in query.items()}
            announce = Announce(
                "http", infohash, self.client_address[0], int(first["port"]), int(first["left"]), first.get("event", "")
            )
            peers = tracker.announce(announce, int(first.get("numwant", 50)))
            complete, incomplete = tracker.counts(infohash)
            listed = [{"ip": host, "port": port} for host, port in peers]
            answer: dict[str | bytes, object] = {"complete": complete, "incomplete": incomplete}
            answer["interval"] = tracker.interval
            answer["peers"] = listed if first.get("compact") == "0" else _compact(peers)
            answer["peers6"] = _compact(peers, socket.AF_INET6)
            self._answer(_bencode(answer))

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Datagram(socketserver.BaseRequestHandler):
    server: _Udp

    def handle(self) -> None:
        data, answering = self.request
        answer = GARBAGE if self.server.tracker.mode == "garbage" else self._answer(data)
        answering.sendto(answer, self.client_address)

    def _answer(self, data: bytes) -> bytes:
        tracker = self.server.tracker
        connection, action, transaction = struct.unpack_from(">QII", data.ljust(16, b"\0"))
        if action == CONNECT and connection == PROTOCOL:
            return struct.pack(">IIQ", CONNECT, transaction, CONNECTION)
        if connection != CONNECTION:
            return struct.pack(">II", ERROR, transaction) + b"not connected"
        if action == ANNOUNCE and len(data) >= 98:
            infohash, left, event, wanted, port = struct.unpack_from(">16x20s20x8xQ8xI4x4xiH", data)
            host = self.client_address[0]
            peers = tracker.announce(
                Announce("udp", infohash, host, port, left, EVENTS[event]), 50 if wanted < 0 else wanted
            )
            complete, incomplete = tracker.counts(infohash)
            head = struct.pack(">IIIII", ANNOUNCE, transaction, tracker.interval, incomplete, complete)
            return head + _compact(peers)
        if action == SCRAPE:
            infohashes = [data[start : start + 20] for start in range(16, len(data) - 19, 20)]
            both = [tracker.counts(infohash) for infohash in infohashes]
            counts = [struct.pack(">III", complete, complete, incomplete) for complete, incomplete in both]
            return struct.pack(">II", SCRAPE, transaction) + b"".join(counts)
        return struct.pack(">II", ERROR, transaction) + b"no such action"


def _one_port(host: str, port: int) -> tuple[_Tcp, _Udp]:
    """Bind TCP and UDP to the same port, any that is free for both when `port` is 0."""
    for _ in range(20):
        tcp = _Tcp((host, port), _Http, bind_and_activate=False)
        tcp.server_bind()
        try:
            return tcp, _Udp((host, tcp.server_address[1]), _Datagram)
        except OSError:
            tcp.server_close()
            if port:
                raise
    raise OSError("no port is free for both TCP and UDP")


def _compact(peers: list[tuple[str, int]], family: socket.AddressFamily = socket.AF_INET) -> bytes:
    of_family = [peer for peer in peers if (":" in peer[0]) == (family == socket.AF_INET6)]
    return b"".join(socket.inet_pton(family, host) + struct.pack(">H", port) for host, port in of_family)


def _bencode(value: object) -> bytes:
    if isinstance(value, dict):
        # The keys are written in their order, and must be in order as bytes.
        return b"d" + b"".join(_bencode(key) + _bencode(item) for key, item in value.items()) + b"e"
    if isinstance(value, list):
        return b"l" + b"".join(map(_bencode, value)) + b"e"
    if isinstance(value, int):
        return b"i%de" % value
    data = value if isinstance(value, bytes) else str(value).encode()
    return b"%d:%s" % (len(data), data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--mode", choices=MODES, default="answer")
    parser.add_argument("--interval", type=int, default=1800, help="seconds between announces")
    parser.add_argument("--peer", action="append", default=[], metavar="ADDRESS:PORT", help="somebody in every swarm")
    parser.add_argument("--redirect", default="", metavar="URL", help="where all who ask by HTTP are sent")
    options = parser.parse_args()
    strangers = [(host.strip("[]"), int(port)) for host, _, port in (peer.rpartition(":") for peer in options.peer)]

    def say(announce: Announce) -> None:
        print(announce, flush=True)

    with Tracker(
        options.host, options.port, options.mode, options.interval, say, strangers, options.redirect
    ) as tracker:
        print(tracker.http_url, tracker.udp_url, sep="\n", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
