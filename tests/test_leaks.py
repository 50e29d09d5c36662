"""Leaks: what everybody else sees of a memo that was shared privately, packet by packet and file by file."""

from __future__ import annotations

import base64
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote_from_bytes, urlsplit

import pytest
from support import taker
from support.browser import Chromium
from support.netns import Capture, Host, Network
from support.packets import streams
from support.program import Program
from support.seeder import state
from support.sound import noise
from support.stranger import know_a_node, start_stranger
from support.waiting import wait_until

from memosync import magnet

WORDS = {
    "title": "The merger nobody may know of",
    "description": "what was said about the price of it",
    "tag": "acquisition of the mill",
}
WINDOW, DIFFERENT = 16, 8  # bytes in a row, so many of them different: what nobody sends by chance
NODE = 7001  # a port


def windows(data: bytes) -> set[bytes]:
    found = {data[at : at + WINDOW] for at in range(len(data) - WINDOW + 1)}
    return {window for window in found if len(set(window)) >= DIFFERENT}


def written(key: bytes) -> list[bytes]:
    """Write a key in every way in which somebody might."""
    small = magnet.format_key(key)
    texts = [key.hex(), key.hex().upper(), small, small.upper(), base64.b64encode(key).decode().rstrip("=")]
    texts += [quote_from_bytes(key), base64.urlsafe_b64encode(key).decode().rstrip("=")]
    return [key, *(text.encode() for text in texts)]


def found(secret: set[bytes], seen: Iterable[bytes]) -> set[bytes]:
    """Give the windows of what is secret that were seen."""
    return {window for data in seen for at in range(len(data)) if (window := data[at : at + WINDOW]) in secret}


def holds(data: bytes, secrets: Iterable[bytes]) -> bool:
    return any(secret in data for secret in secrets)


class Watch:
    """See the command line, and the variables, of everything that lives on some hosts, for as long as a block takes."""

    def __init__(self, *hosts: Host) -> None:
        self.hosts, self.seen = hosts, set[bytes]()
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self.ends.wait(0.1):
            for pid in (pid for host in self.hosts for pid in host.processes()):
                for name in ("cmdline", "environ"):
                    try:
                        self.seen.add(Path(f"/proc/{pid}/{name}").read_bytes())
                    except OSError:  # it has gone
                        pass

    def __enter__(self) -> Watch:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ends.set()
        self.thread.join()


def take(host: Host, program: Program, address: str, infohash: str) -> bytes:
    """Take all of a torrent as a stranger does, and give every byte that was sent to him."""
    command = [sys.executable, taker.__file__, address, state(program)["port"], infohash]
    process = host.start(*command, stdout=subprocess.PIPE)
    heard, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return bytes(heard)


@pytest.mark.parametrize("form", [[], ["--public"]], ids=["private", "public"])
def test_nobody_without_the_link_sees_anything_of_a_memo(
    tmp_path: Path, form: list[str], chromium: Callable[[Host], Chromium]
) -> None:
    """Peers, trackers of three kinds, a node of the DHT, a tab; who shares with anybody shows that it would be seen."""
    with Network(2, route=True) as network:
        home, away = network.hosts
        start_stranger(away, NODE, [])
        browsers = away.websocket_tracker()
        trackers = [*away.tracker(), browsers.url]
        giver = home.program(tmp_path / "giver/Memos", "public")
        peers = [away.program(tmp_path / f"peer {number}/Memos", "public") for number in range(1 if form else 3)]
        for program in (giver, *peers):
            program.environment["MEMOSYNC_STUN"] = ""
            know_a_node(program.library, away, NODE)
        said = [giver("record", noise(tmp_path / "noise.flac"), *(f"--{name}={text}" for name, text in WORDS.items()))]
        captures = [Capture(host, whole=True) for host in network.hosts]

        said.append(giver("share", "last", *form, *(f"--tracker={url}" for url in trackers)))

        link = magnet.parse(said[-1].out.strip())
        with Watch(home, away) as watch:
            said.append(peers[0]("fetch", "-", "--seed", stdin=str(link)))
            said += [peer("fetch", "-", stdin=str(replace(link, peers=()))) for peer in peers[1:]]  # they ask trackers
            if not form:
                said.append(giver("share", "--page", tmp_path / "open.html", f"--tracker={browsers.url}"))
                tab = chromium(away).open(f"file://{tmp_path}/open.html#{link}")
                tab.wait_until(f"title.textContent === {WORDS['title']!r} && save.href", "all of it to be there")
                assert [text for text in tab.errors if holds(text.encode(), written(link.key))] == []
        taken = [take(away, giver, home.address, link.infohash), take(home, peers[0], away.address, link.infohash)]
        wait_until(lambda: browsers.announces(link.infohash), "a tracker for browsers to hear of it")
        port = urlsplit(trackers[0]).port
        asked = {(socket.IPPROTO_TCP, port), (socket.IPPROTO_UDP, port), (socket.IPPROTO_UDP, NODE)}
        for capture in captures:
            wait_until(lambda: asked <= {(p.protocol, p.port) for p in list(capture.packets)}, "all to be asked")  # noqa: B023
        packets = [packet for capture in captures for packet in capture.so_far()]

    memo = next(giver.library.glob("*.webm")).read_bytes()
    sent = {*streams(packets), *(bytes.fromhex(packet.data) for packet in packets)}
    assert all(next(peer.library.glob("*.webm")).read_bytes() == memo for peer in peers)
    secret = set.union(*map(windows, [memo, *(text.encode() for text in WORDS.values())]))
    if form:
        blocks = [windows(memo[at : at + taker.BLOCK]) for at in range(0, len(memo), taker.BLOCK)]
        assert all(set.union(*blocks) <= found(secret, data) for data in (sent, taken[:1], taken[1:]))
        return
    assert found(secret, {*sent, *taken}) == set()
    assert all((giver.library / ".memosync/sealed" / link.infohash).read_bytes()[:16384] in data for data in taken)
    key = written(link.key)
    assert not any(holds(data, key) for data in {*sent, *taken})
    assert not any(holds(event.text.encode(), key) for event in browsers.events)
    assert len(watch.seen) > 10
    assert not any(holds(text, key) for text in watch.seen)
    assert not any(holds(result.err.encode(), key) for result in said)
    for program in (giver, *peers):
        everything = [path for path in program.library.parent.rglob("*") if path.is_file()]
        assert {path.parent.name for path in everything if holds(path.read_bytes(), key)} == {"keys"}
