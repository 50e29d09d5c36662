"""Peers that lie, flood or say nothing: to who fetches, and to who seeds."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from support.hostile import payloads, peers, torrents
from support.hostile.peers import LIARS, AnotherSize, NoMetadata, Peer, SlowMetadata, handshake, message
from support.hostile.target import MEMORY, SECONDS, Target
from support.program import Program
from support.waiting import wait_until

from memosync import magnet
from memosync.errors import SwarmError, TorrentError
from memosync.library.store import Library
from memosync.seeder.state import read_state

_ALL = torrents.REFUSED | torrents.UNWANTED
HOSTILE = {name: data[len(b"d4:info") : -1] for name, data in _ALL.items() if data.startswith(b"d4:infod")}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A memo of several pieces."""
    return payloads.webm(tmp_path_factory.mktemp("good") / "memo.webm", "-ac", "2", "-b:a", "510k", "-vbr", "off")


@pytest.mark.parametrize("liar", LIARS)
def test_a_liar_alone_is_no_source(tmp_path: Path, good: bytes, liar: type[Peer]) -> None:
    target = Target(tmp_path)
    peer = liar(torrents.info(good), good)

    for patience in ("1s", "5s", "25s"):  # one that has not come to its lie on a busy machine is given time
        if not peer.told:
            target.refuses("fetch", peer.magnet, "--timeout", patience, code=SwarmError.exit_code)
    peer.close()

    assert peer.told, "it never came to its lie"
    assert () == Library(target.library).index().memos
    assert {".memosync"} == {path.name for path in target.library.iterdir()}


@pytest.mark.parametrize("some", [LIARS[:7], LIARS[7:9], LIARS[9:16], LIARS[16:], [AnotherSize] * 3, [NoMetadata] * 3])
def test_liars_do_not_keep_a_memo_from_who_meets_an_honest_peer_too(
    tmp_path: Path, good: bytes, some: list[type[Peer]]
) -> None:
    target = Target(tmp_path)
    info = torrents.info(good)
    met = [liar(info, good) for liar in some] + [SlowMetadata(info, good)]

    link = met[0].magnet + "".join(f"&x.pe=127.0.0.1:{peer.port}" for peer in met[1:])
    target.run("fetch", link, "--timeout", "230s", code=0)
    for peer in met:
        peer.close()

    [memo] = Library(target.library).index().memos
    assert good == (target.library / memo.file).read_bytes()


def test_hostile_torrents_are_refused_as_soon_as_a_peer_has_told_them(tmp_path: Path) -> None:
    target = Target(tmp_path)
    tellers = [Peer(metadata) for metadata in [*HOSTILE.values(), b"not bencoded"]]
    links = [peer.magnet for peer in tellers]

    target.refuses("fetch", *links, "--timeout", "30s", code=TorrentError.exit_code, count=len(links))

    assert [] == target.files()
    assert [] == target.incoming()


# against the seeder


@pytest.fixture
def seeder(memosync: Program, tmp_path: Path, good: bytes) -> tuple[str, int]:
    """A link to a memo that is served, and the process that serves it."""
    (tmp_path / "sound.webm").write_bytes(good)
    link = memosync("share", memosync("record", tmp_path / "sound.webm").out.strip()).out.strip()
    state = (memosync.library / ".memosync/seeder.toml").read_text()
    return link, int(re.findall(r"^pid = (\d+)", state, re.MULTILINE)[0])


Attack = Callable[[int, bytes], Generator[None]]  # port, infohash; a round at a time


def _garbage(port: int, infohash: bytes) -> Generator[None]:
    with socket.create_connection(("127.0.0.1", port), 1) as connection:
        connection.sendall(bytes(range(256)) * 100)
    yield


def _half_handshakes(port: int, infohash: bytes) -> Generator[None]:
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(socket.socket()) for _ in range(400)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))
        while True:
            for connection in select.select([], waiting, [], 0.05)[1]:
                waiting.remove(connection)
                with contextlib.suppress(OSError):
                    connection.send(handshake(infohash)[:40])
            yield


def _datagrams(port: int, infohash: bytes) -> Generator[None]:
    with socket.socket(type=socket.SOCK_DGRAM) as connection:
        connection.connect(("127.0.0.1", port))
        while True:
            for _ in range(1000):
                connection.send(os.urandom(100))
            yield


def _utp_connects(port: int, infohash: bytes) -> Generator[None]:
    with socket.socket(type=socket.SOCK_DGRAM) as connection:  # BEP 29; a thousand a second
        connection.connect(("127.0.0.1", port))
        for number in itertools.count():
            connection.send(struct.pack(">BBHIIIHH", 0x41, 0, number % 65536, 0, 0, 1 << 20, 1, 0))
            if number % 50 == 0:
                select.select([], [], [], 0.05)
                yield


def _messages(port: int, infohash: bytes) -> Generator[None]:
    """Send what has to be answered, and never read an answer."""
    request = struct.pack(">III", 0, 0, 16384)
    several = [message(peers.INTERESTED), message(3), message(peers.REQUEST, request), bytes(4)]
    several += [message(peers.REQUEST, b"\xff" * 12), message(peers.EXTENDED, b"\0de"), message(peers.HAVE, bytes(4))]
    with socket.create_connection(("127.0.0.1", port), 1) as connection:
        connection.sendall(handshake(infohash) + message(peers.EXTENDED, b"\0d1:md11:ut_metadatai2eee"))
        while True:
            connection.sendall(b"".join(several) * 50)
            yield


def _poison(port: int, infohash: bytes) -> Generator[None]:
    """Offer to a seeder what it has, but wrong, and metadata of another torrent."""
    with socket.create_connection(("127.0.0.1", port), 1) as connection:
        connection.sendall(handshake(infohash) + message(peers.BITFIELD, b"\xff") + message(peers.UNCHOKE))
        while True:
            connection.sendall(message(peers.PIECE_, bytes(8) + b"w" * 16384))
            connection.sendall(message(peers.EXTENDED, b"\2d8:msg_typei1e5:piecei0e10:total_sizei9ee" + b"w" * 9))
            yield


@contextlib.contextmanager
def _under(attack: Attack, port: int, infohash: bytes) -> Iterator[None]:
    """Go on with the attack, again when it was thrown out, for as long as the block takes."""
    begun, end = threading.Event(), threading.Event()

    def go_on() -> None:
        deadline = time.monotonic() + 3 * SECONDS
        rounds = itertools.count()
        while not end.is_set() and time.monotonic() < deadline:
            with contextlib.suppress(OSError), contextlib.closing(attack(port, infohash)) as going:
                for _ in going:
                    if next(rounds) == 10:
                        begun.set()
                    if end.is_set() or time.monotonic() > deadline:
                        return

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        assert begun.wait(SECONDS), "the attack never began"
        yield
    finally:
        end.set()
        thread.join()


@pytest.mark.parametrize("attack", [_garbage, _half_handshakes, _datagrams, _utp_connects, _messages, _poison])
def test_a_flood_at_the_seeders_port_does_not_keep_others_from_it(
    memosync: Program, tmp_path: Path, seeder: tuple[str, int], attack: Attack
) -> None:
    link, process = seeder
    found = magnet.parse(link)
    other = memosync.on(tmp_path / "Other")

    with _under(attack, int(found.peers[0].rpartition(":")[2]), bytes.fromhex(found.infohash)):
        other("fetch", link, timeout=SECONDS)

    assert _content(memosync.library) == _content(other.library)
    assert _memory(process) < MEMORY, "or it is another process now"


def test_a_peer_that_was_turned_away_is_counted_no_longer(
    memosync: Program, tmp_path: Path, seeder: tuple[str, int]
) -> None:
    found = magnet.parse(seeder[0])
    private = memosync.library / ".memosync"

    def addresses() -> list[str]:
        state = read_state(private)
        assert state
        return [address for swarm in state.swarms.values() for address in swarm.addresses]

    memosync.on(tmp_path / "Other")("fetch", seeder[0])
    wait_until(lambda: addresses() == [], "the end of the fetch")
    with socket.create_connection(("127.0.0.1", int(found.peers[0].rpartition(":")[2]))) as connection:
        ours = f"127.0.0.1:{connection.getsockname()[1]}"
        connection.sendall(handshake(bytes.fromhex(found.infohash)) + message(peers.BITFIELD, b"\0"))
        wait_until(lambda: addresses() == [ours], "a peer that is counted")

        connection.sendall(message(peers.BITFIELD, bytes(1000)))  # which has another size

        wait_until(lambda: addresses() == [], "nobody that is counted")


def _content(library: Path) -> bytes:
    [memo] = Library(library).index().memos
    return (library / memo.file).read_bytes()


def _memory(process: int) -> int:
    """Give what a process has resident, in kilobytes."""
    [size] = re.findall(r"VmRSS:\s*(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(size)
