"""Addresses of every special block, named by every source of peers, and redirects to everywhere: who is called."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import ClassVar

import pytest
from support.netns import Capture, Host
from support.netns import Network as Machines
from support.stranger import know_a_node, start_stranger
from support.waiting import wait_until

from memosync.network import Network
from memosync.torrent.trackers import announce

CLOSED = [  # of the registries of special-purpose addresses (RFC 6890), and IPv4 in IPv6 clothes
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
    *("224.0.0.0/4", "255.255.255.255/32", "::/128", "::1/128", "::ffff:127.0.0.0/104", "::ffff:10.0.0.0/104"),
    *("::127.0.0.0/104", "::192.168.0.0/112", "fc00::/7", "fe80::/10", "ff00::/8", "2002:7f00::/24", "2002:a00::/24"),
    *("2001::/32",),
]
OPEN = ["198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"]  # for examples (RFC 5737, RFC 3849)
NEAR = ["10.77.0.0/24", "fd77::/64"]  # the network that the machine is in
AT_ONCE = 15  # addresses named by one, besides those that may be called
PORT = 11211
SOME = 4  # seconds in which the others would have been called
SOURCES: dict[str, Callable[[Host, list[str], int], str]] = {  # what each adds to a link
    "link": lambda _host, places, _number: "".join(f"&x.pe={place}" for place in places),
    "http": lambda host, places, _number: "&tr=" + host.tracker(peers=places)[0],
    "udp": lambda host, places, _number: "&tr=" + host.tracker(peers=[each for each in places if "[" not in each])[1],
    "pex": lambda host, places, number: f"&x.pe={host.address}:{_name(host, places, number)}",
    "dht": lambda host, places, number: f"\n{_name(host, places, number)}",
}


def _name(host: Host, places: list[str], number: int) -> int:
    start_stranger(host, 7001 + number, places)
    return 7001 + number


def some(blocks: list[str], count: int) -> list[str]:
    """Draw addresses of each block, the first and the last among them, and none of the network nearby."""
    found: dict[str, None] = {}  # an ordered set
    for block in map(ip_network, blocks):
        last = block.num_addresses - 1
        for number in (0, last, *(random.randrange(last + 1) for _ in range(count))):
            if not any(block[number] in ip_network(near) for near in NEAR):
                found[str(block[number])] = None
    return list(found)


def place(address: str) -> str:
    return f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}"


@pytest.mark.parametrize("source", SOURCES)
def test_whoever_names_them_nobody_is_called_who_may_not_be(
    tmp_path: Path, long: bool, source: str, figure: Callable[[str], None]
) -> None:
    closed, opened = some(CLOSED, 6 if long else 0), set[str]()
    with Machines(2, route=True) as network:
        here, there = network.hosts
        capture = Capture(here)

        def called() -> set[str]:
            return {packet.destination for packet in capture.so_far() if packet.port == PORT}

        for number, begin in enumerate(range(0, len(closed), AT_ONCE)):
            batch = closed[begin : begin + AT_ONCE]
            controls = [some([block], 1)[-1] for block in OPEN[: 2 if source == "udp" else 3]]
            opened |= set(controls)
            rest, _, node = SOURCES[source](there, [*map(place, batch), *map(place, controls)], number).partition("\n")
            program = here.program(tmp_path / f"{number}/Memos", "public")
            if node:
                know_a_node(program.library, there, int(node))
            program.start("fetch", f"magnet:?xt=urn:btih:{number + 1:040x}{rest}")
        wait_until(lambda: opened <= called(), lambda: f"{opened - called()} to be called")
        time.sleep(SOME)

        assert called() == opened
    figure(f"{source} named {len(closed)} that may not be called, 0 were; {len(opened)} that may, all were")


GOALS = [
    f"{scheme}://{host}:{{port}}{path}"
    for scheme in ("http", "https", "HTTP", "ftp", "udp", "ws", "gopher", "file")
    for host in (
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "2130706433",
        "127.1",
        "a@127.0.0.1",
    )
    for path in (
        "/apply.cgi?reboot",
        "/announce?x",
        "/announce%23/../apply.cgi",
        "/announce/../apply.cgi",
        "//apply.cgi",
    )
]


class _Site(BaseHTTPRequestHandler):
    """A device that does what it is told, and a tracker that sends whoever asks it there."""

    asked: ClassVar[list[str]] = []
    goal, status = "", 0

    def do_GET(self) -> None:
        if self.path.startswith("/tracker"):
            self.send_response(self.status)
            self.send_header("Location", self.goal)
            self.end_headers()
        else:
            self.asked.append(self.path)
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


def test_no_redirect_makes_a_device_do_anything(long: bool, figure: Callable[[str], None]) -> None:
    statuses = (301, 302, 303, 307, 308) if long else (302,)
    cases = list(itertools.product(GOALS if long else random.sample(GOALS, 40), statuses, Network))
    with ThreadingHTTPServer(("127.0.0.1", 0), _Site) as server, ThreadPoolExecutor(1) as thread:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        port = server.server_address[1]
        for goal, status, network in cases:
            _Site.goal, _Site.status = goal.format(port=port), status
            asking = announce(f"http://127.0.0.1:{port}/tracker", "info_hash=x", network, typed=True)
            assert b"it redirects to w" in thread.submit(asyncio.run, asking).result(), goal
        server.shutdown()

    assert _Site.asked == []
    figure(f"{len(cases)} redirects to a device, 0 requests reached it")
