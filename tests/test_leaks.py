"""Leaks: what everybody else sees of a memo that was shared privately, packet by packet and file by file."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support import taker
from support.browser import Chromium
from support.leaks import WORDS, Watch, found, holds, windows, written
from support.netns import Capture, Host, Network
from support.packets import Packet, streams, utp_streams
from support.program import Program
from support.seeder import state
from support.sound import noise
from support.stranger import know_a_node, start_stranger
from support.waiting import wait_until

from memosync import magnet
from memosync.magnet import Magnet

NODE = 7001  # a port
CALLS_BY_UTP = """
from memosync.torrent import session
def open_session(network, port, settings, *others, opens=session.open_session, **more):
    if settings.get("enable_incoming_utp", True):
        settings = {**settings, "enable_outgoing_tcp": False, "enable_outgoing_utp": True}
    return opens(network, port, settings, *others, **more)
session.open_session = open_session
"""


def take(host: Host, program: Program, address: str, infohash: str) -> bytes:
    """Take all of a torrent as a stranger does, and give every byte that was sent to him."""
    command = [sys.executable, taker.__file__, address, state(program)["port"], infohash]
    process = host.start(*command, stdout=subprocess.PIPE)
    heard, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return bytes(heard)


def with_fragments(link: Magnet, address: str) -> Magnet:
    """Give a link in which the key stands behind everything that is called, too, as somebody may paste it."""
    end = f"#x.key={magnet.format_key(link.key)}"
    called = [(name, f"http://{address}:{NODE}/{name}{end}") for name in ("ws", "as", "xs", "x.unknown")]
    return replace(
        link,
        trackers=(*(url + end for url in link.trackers), *link.trackers),
        peers=(*(peer + end for peer in link.peers), *link.peers),
        name=link.name + end,
        other=(*link.other, *called),
    )


def datagram(first: int, number: int, payload: bytes, *, extensions: bytes = b"", connection: int = 7) -> Packet:
    """Make a packet of uTP from one machine to another."""
    header = struct.pack(">BBHIIIHH", first, extensions[:1] != b"", connection, 0, 0, 0, number % 2**16, 0)
    data = struct.pack(">HHHH", 6881, 6882, 0, 0) + header + extensions + payload
    ip = struct.pack(">BBHIBBH4s4s", 0x45, 0, 20 + len(data), 0, 64, socket.IPPROTO_UDP, 0, b"\n\0\0\1", b"\n\0\0\2")
    padding = b"\0" * 6  # of the link, behind it
    return Packet("eth0", "ip", socket.IPPROTO_UDP, "10.0.0.1", "10.0.0.2", 6882, False, (ip + data + padding).hex())


def test_what_was_sent_by_utp_is_put_together_in_its_order() -> None:
    secret = bytes(range(100, 200))
    selective = b"\0\4\xff\0\xff\0"  # BEP 29's one extension
    parts = [
        datagram(0x41, 65532, b""),
        datagram(0x01, 65535, secret[20:30], extensions=selective),
        datagram(0x01, 65534, secret[10:20]),
        datagram(0x01, 65533, secret[:10]),
        datagram(0x01, 65534, secret[10:20]),
        datagram(0x01, 65536, b"another connection", connection=8),
        datagram(0x21, 65536, b"no data"),
        datagram(0x01, 65538, secret[40:60]),
        datagram(0x01, 65537, secret[30:40], extensions=b"\1\2??" + selective),
        datagram(0x11, 65539, secret[60:]),
        datagram(0xFF, 65540, b"not uTP"),
    ]

    assert utp_streams(parts) == [secret, b"another connection"]
    assert found(windows(secret), utp_streams(parts)) == windows(secret)
    assert found(windows(secret), (bytes.fromhex(packet.data) for packet in parts)) < windows(secret)


@pytest.mark.parametrize("form", [[], ["--public"]], ids=["private", "public"])
@pytest.mark.parametrize("way", ["by TCP", "by uTP"])
def test_nobody_without_the_link_sees_anything_of_a_memo(
    tmp_path: Path, form: list[str], way: str, chromium: Callable[[Host], Chromium]
) -> None:
    """Peers, trackers of three kinds, a node of the DHT, a tab; who shares with anybody shows that it would be seen.

    Of the link that is fetched, every parameter ends in the key.
    """
    with Network(2, route=True) as network:
        home, away = network.hosts
        start_stranger(away, NODE, [])
        browsers = away.websocket_tracker()
        trackers = [*away.tracker(), browsers.url]
        giver = home.program(tmp_path / "giver/Memos", "public")
        peers = [away.program(tmp_path / f"peer {number}/Memos", "public") for number in range(1 if form else 3)]
        for program in (giver, *peers):
            program.environment["MEMOSYNC_STUN"] = ""
            if way == "by uTP":
                program.meddle(CALLS_BY_UTP)
            know_a_node(program.library, away, NODE)
        said = [giver("record", noise(tmp_path / "noise.flac"), *(f"--{name}={text}" for name, text in WORDS.items()))]
        captures = [Capture(host, whole=True) for host in network.hosts]

        said.append(giver("share", "last", *form, *(f"--tracker={url}" for url in trackers)))

        link = magnet.parse(said[-1].out.strip())
        odd = with_fragments(link, away.address)
        with Watch(home, away) as watch:
            said.append(peers[0]("fetch", "-", "--seed", stdin=str(odd)))
            said += [peer("fetch", "-", stdin=str(replace(link, peers=()))) for peer in peers[1:]]  # they ask trackers
            if not form:
                said.append(giver("share", "--page", tmp_path / "open.html", f"--tracker={browsers.url}"))
                tab = chromium(away).open(f"file://{tmp_path}/open.html#{odd}")
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
    by_tcp, by_utp = streams(packets), utp_streams(packets)
    sent = {*by_tcp, *by_utp, *(bytes.fromhex(packet.data) for packet in packets)}
    assert all(next(peer.library.glob("*.webm")).read_bytes() == memo for peer in peers)
    secret = set.union(*map(windows, [memo, *(text.encode() for text in WORDS.values())]))
    served = memo if form else (giver.library / ".memosync/sealed" / link.infohash).read_bytes()
    blocks = set.union(*(windows(served[at : at + taker.BLOCK]) for at in range(0, len(served), taker.BLOCK)))
    assert all(blocks <= found(blocks, data) for data in (by_utp if "uTP" in way else by_tcp, taken[:1], taken[1:]))
    if form:
        return
    assert found(secret, {*sent, *taken}) == set()
    key = written(link.key)
    assert not any(holds(data, key) for data in {*sent, *taken})
    assert not any(holds(event.text.encode(), key) for event in browsers.events)
    assert len(watch.seen) > 10
    assert not any(holds(text, key) for text in watch.seen)
    assert not any(holds(result.err.encode(), key) for result in said)
    for program in (giver, *peers):
        everything = [path for path in program.library.parent.rglob("*") if path.is_file()]
        assert {path.parent.name for path in everything if holds(path.read_bytes(), key)} == {"keys"}
