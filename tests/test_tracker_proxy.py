"""What WebSocket trackers send reaches libtorrent through a local proxy, which keeps to the network that is allowed."""

from __future__ import annotations

import http
import json
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.netns import Capture, Host, Network
from support.sound import noise
from support.waiting import wait_until
from support.wstracker import OUTSIDE, Remote
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Data

from memosync import network as reach
from memosync.magnet import InfoHash
from memosync.torrent.tracker_proxy import TrackerProxy

DNS = 53
ENOUGH = 3  # seconds in which libtorrent would call


@pytest.fixture
def network() -> Iterator[Network]:
    with Network(2, route=True, multicast=False) as network:
        yield network


def tracker(network: Network, name: str) -> tuple[Host, Remote]:
    """Start a tracker that names machines outside; give it, and the machine for who believes it."""
    here, there = network.hosts
    at = here if name == "loopback" else there
    return here, at.websocket_tracker("outside", address="127.0.0.1" if name == "loopback" else "")


def outside(capture: Capture, name: str) -> set[str]:
    """Give whom packets were sent to outside of what the network allows, but for the kernel's own."""
    own = {"10.77.0.1", "fd77::1"}  # a machine may talk to itself
    found = set()
    for packet in capture.so_far():
        if packet.kind in ("ip", "ipv6") and not packet.kernels and packet.destination not in own:
            to = ip_address(packet.destination)
            if packet.port == DNS or not (reach.Network(name).allows(to) or to.is_multicast):
                found.add(packet.destination)
    return found


@pytest.mark.parametrize("name", ["lan", "loopback"])
def test_a_seeder_calls_nobody_outside_whom_a_tracker_names(network: Network, tmp_path: Path, name: str) -> None:
    here, hostile = tracker(network, name)
    program = here.program(tmp_path / "Memos", name)
    program("record", noise(tmp_path / "noise.flac"))
    capture = Capture(here)

    program("share", "last", "--tracker", hostile.url)

    wait_until(hostile.announces, "the tracker to be asked, which answers at once", 20)
    time.sleep(ENOUGH)
    assert set() == outside(capture, name)


@pytest.mark.parametrize("name", ["lan", "loopback"])
def test_a_fetch_calls_nobody_outside_whom_a_tracker_names(network: Network, tmp_path: Path, name: str) -> None:
    here, hostile = tracker(network, name)
    program = here.program(tmp_path / "Memos", name)
    link = f"magnet:?xt=urn:btih:{'ab' * 20}&tr={hostile.url}"
    capture = Capture(here)

    fetching = program.start("fetch", link)

    wait_until(lambda: "answer" in [event.kind for event in hostile.events], "the tracker's offer to be taken up", 20)
    time.sleep(ENOUGH)
    assert set() == outside(capture, name)
    assert fetching.poll() is None


def test_on_public_nobody_calls_this_machine_or_a_far_private_one_whom_a_browser_names(
    network: Network, tmp_path: Path
) -> None:
    here, hostile = tracker(network, "public")
    programs = [here.program(tmp_path / name / "Memos", "public") for name in ("seeds", "fetches")]
    for program in programs:
        program.environment["MEMOSYNC_STUN"] = ""
    programs[0]("record", noise(tmp_path / "noise.flac"))
    capture = Capture(here)

    def called() -> set[str]:
        return {packet.destination for packet in capture.so_far() if packet.port in OUTSIDE.values()}

    for begin in (
        lambda: programs[0]("share", "last", "--tracker", hostile.url),
        lambda: programs[1].start("fetch", f"magnet:?xt=urn:btih:{'ab' * 20}&tr={hostile.url}"),
    ):
        capture.packets.clear()
        begin()
        wait_until(lambda: "203.0.113.7" in called(), "who may be called to be called", 20)
        time.sleep(ENOUGH)
        assert called() <= {"203.0.113.7", "2001:db8::7"}


class Conversation:
    """A tracker of ours on the loopback interface, a proxy before it, and what comes out at both ends."""

    def __init__(
        self,
        name: str = "lan",
        answer: Callable[[ServerConnection, str], None] = ServerConnection.send,
        **hooks: Callable[[InfoHash], Any],
    ) -> None:
        self.heard: list[str] = []
        self.answer = answer
        self.server = serve(self._hear, "127.0.0.1", 0, max_size=None)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.tracker = f"ws://127.0.0.1:{self.server.socket.getsockname()[1]}"
        self.proxy = TrackerProxy(reach.Network(name), **hooks)
        self.url = self.proxy.url_for(self.tracker)

    def _hear(self, connection: ServerConnection) -> None:
        for text in connection:
            self.heard.append(str(text))
            self.answer(connection, str(text))


@pytest.fixture
def conversation() -> Iterator[Callable[..., Conversation]]:
    begun: list[Conversation] = []

    def begin(*arguments: Any, **hooks: Any) -> Conversation:
        begun.append(Conversation(*arguments, **hooks))
        return begun[-1]

    yield begin
    for conversation in begun:
        conversation.server.shutdown()


def offering(*hosts: str) -> dict[str, Any]:
    """Make an announce whose offer names machines."""
    lines = ["v=0", *(f"a=candidate:1 1 UDP 1 {host} 40000 typ host" for host in hosts), ""]
    return {
        "action": "announce",
        "offers": [{"offer": {"type": "offer", "sdp": "\r\n".join(lines)}, "offer_id": "\xff"}],
    }


@pytest.mark.parametrize(
    ("name", "told", "named"),
    [
        ("public", ["10.1.2.3", "8.8.8.8"], ["8.8.8.8"]),
        ("lan", ["10.1.2.3"], ["10.1.2.3"]),
        ("loopback", ["10.1.2.3", "8.8.8.8"], []),
    ],
)
def test_what_is_said_goes_both_ways_without_what_is_outside(
    conversation: Callable[..., Conversation], name: str, told: list[str], named: list[str]
) -> None:
    talk = conversation(name)
    with connect(talk.url) as program:
        program.send(json.dumps(offering("10.1.2.3", "8.8.8.8")))

        answered = json.loads(program.recv(20))

    assert offering(*told) == json.loads(talk.heard[0]), "on loopback a browser needs this machine's own addresses"
    assert offering(*named) == answered


def test_an_offer_is_passed_on_when_it_is_accepted_and_an_answer_is_told_of(
    conversation: Callable[..., Conversation],
) -> None:
    one, other = InfoHash("01" * 20), InfoHash("fe" * 20)
    expected: list[InfoHash] = []
    talk = conversation("public", accept_offer=lambda infohash: infohash == one, on_answer=expected.append)
    messages = [
        {"info_hash": bytes.fromhex(infohash).decode("latin-1"), kind: {"type": kind, "sdp": ""}}
        for kind, infohash in [("offer", one), ("offer", other), ("answer", other)]
    ]
    with connect(talk.url) as program:
        for message in messages:
            program.send(json.dumps(message))

        heard = [json.loads(program.recv(20)) for _ in range(2)]

    assert [messages[0], messages[2]] == heard
    assert [other] == expected


def test_each_tracker_has_one_url_and_each_url_one_tracker(conversation: Callable[..., Conversation]) -> None:
    talk = conversation()
    other = talk.proxy.url_for("ws://10.1.2.3:1")

    assert talk.url == talk.proxy.url_for(talk.tracker) != other
    assert [talk.tracker, "ws://10.1.2.3:1", "ws://x"] == list(map(talk.proxy.tracker_of, [talk.url, other, "ws://x"]))


@pytest.mark.parametrize("frame", ["x", b"\xff", "[" * 100_000, "x" * 2_000_000, '{"a":' * 5000])
def test_what_is_no_message_ends_both_connections(conversation: Callable[..., Conversation], frame: Data) -> None:
    talk = conversation("lan", lambda connection, _text: connection.send(frame))
    with connect(talk.url) as program:
        program.send("{}")

        with pytest.raises(ConnectionClosed):
            program.recv(20)
    with connect(talk.url) as program:
        program.send("x")
        with pytest.raises(ConnectionClosed):
            program.recv(20)

    assert ["{}"] == talk.heard


def test_who_does_not_know_the_url_gets_nowhere(conversation: Callable[..., Conversation]) -> None:
    talk = conversation()
    for path in ("/", "/0", urlsplit(talk.url).path[:-1], urlsplit(talk.url).path + "0"):
        with pytest.raises(InvalidStatus, match="404"):
            connect(f"ws://{urlsplit(talk.url).netloc}{path}")

    assert talk.server.all_connections == set()


def test_a_tracker_that_leads_elsewhere_is_not_followed(conversation: Callable[..., Conversation]) -> None:
    elsewhere = conversation()

    def redirect(connection: ServerConnection, _request: Request) -> Response:
        response = connection.respond(http.HTTPStatus.FOUND, "")
        response.headers["Location"] = elsewhere.tracker
        return response

    with serve(lambda _connection: None, "127.0.0.1", 0, process_request=redirect) as tracker:
        threading.Thread(target=tracker.serve_forever, daemon=True).start()
        url = elsewhere.proxy.url_for(f"ws://127.0.0.1:{tracker.socket.getsockname()[1]}")
        with connect(url) as program, pytest.raises(ConnectionClosed):
            program.recv(20)

    assert elsewhere.server.all_connections == set()


def test_whoever_ends_it_the_other_one_is_left(conversation: Callable[..., Conversation]) -> None:
    talk = conversation("lan", lambda connection, text: connection.close() if text == "{}" else None)
    with connect(talk.url) as program:
        program.send("{}")
        with pytest.raises(ConnectionClosed):
            program.recv(20)
    with connect(talk.url) as program:
        program.send("[]")
        wait_until(lambda: talk.server.all_connections, "the tracker to be called", 20)

    wait_until(lambda: not talk.server.all_connections, "the tracker to be left", 20)
