"""A stranger who names others: a peer that gossips (BEP 11) and a node of the DHT (BEP 5), or a router; and ears.

    python stranger.py name --at ADDRESS:PORT [--call HOST:PORT INFOHASH [--encrypted]] [--garbage] -- ADDRESS:PORT...
    python stranger.py listen ADDRESS:PORT...
    python stranger.py route --at ADDRESS:PORT URL

`name` tells whoever connects, and whom it is told to call, of these peers by PEX and of its own DHT port, and names
them to whoever asks its node, which sends garbage before each answer when it is told to. `listen` takes TCP and UDP and
prints a line of JSON for all that arrives: where, and what, in hexadecimal. `route` calls itself a router (UPnP),
described at its own port by a redirect to the URL. All say a line when they are ready, `name` one when its node is
first asked, and end when they are killed.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import itertools
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import libtorrent as lt

sys.path.append(str(Path(__file__).parent.parent))
from support.mse import Encrypted

if TYPE_CHECKING:
    from .netns import Host

RESERVED = b"\0\0\0\0\0\x10\0\x01"  # extensions (BEP 10), DHT
EXTENDED, DHT_PORT = 20, 9  # messages
OUR_PEX = 1
GARBAGE: list[Callable[[bytes], bytes]] = [  # instead of answers, or of a part of one, to a question of the DHT
    lambda asked: os.urandom(200),
    lambda asked: b"",
    lambda asked: b"d1:rd2:id20:",
    lambda asked: bencode({b"t": asked, b"y": b"r", b"r": [b"no table", 5]})[:-1],
    lambda asked: bencode({b"t": b"??", b"y": b"r", b"r": {b"id": bytes(3), b"nodes": b"x" * 7, b"values": [b"y"]}}),
    lambda asked: bencode({b"t": asked, b"y": b"e", b"e": b"no list"}),
    lambda asked: b"l" * 1000 + b"e" * 1000,
]
SSDP = "239.255.255.250", 1900


def bencode(value: Any) -> bytes:
    return lt.bencode(value)


def compact(named: list[str], version: int) -> list[bytes]:
    """Write the peers of one family as six or eighteen bytes each."""
    pairs = [
        (ipaddress.ip_address(host.strip("[]")), int(port)) for host, _, port in (n.rpartition(":") for n in named)
    ]
    return [host.packed + struct.pack(">H", port) for host, port in pairs if host.version == version]


def message(kind: int, payload: bytes) -> bytes:
    return struct.pack(">IB", 1 + len(payload), kind) + payload


def gossip(peer: socket.socket | Encrypted, infohash: bytes, dht_port: int, named: list[str], called: bool) -> None:
    """Be a peer with nothing to give: say a handshake, and name others as soon as that may be."""

    def read(count: int) -> bytes:
        data = b""
        while len(data) < count:
            if not (more := peer.recv(count - len(data))):
                raise OSError
            data += more
        return data

    with contextlib.suppress(OSError), peer:
        if called:
            infohash = read(68)[28:48]
        name = b"-TEST00-" + os.urandom(6).hex().encode()
        peer.sendall(b"\x13BitTorrent protocol" + RESERVED + infohash + name)
        if not called:
            read(68)
        peer.sendall(message(EXTENDED, b"\0" + bencode({b"m": {b"ut_pex": OUR_PEX}})))
        peer.sendall(message(DHT_PORT, struct.pack(">H", dht_port)))
        while True:
            data = read(struct.unpack(">I", read(4))[0])
            if data[:2] == bytes([EXTENDED, 0]):
                theirs: Any = lt.bdecode(data[2:])
                added, added6 = compact(named, 4), compact(named, 6)
                pex = {b"added": b"".join(added), b"added.f": bytes(len(added))}
                pex |= {b"added6": b"".join(added6), b"added6.f": bytes(len(added6))}
                peer.sendall(message(EXTENDED, bytes([theirs[b"m"][b"ut_pex"]]) + bencode(pex)))


def answer_queries(node: socket.socket, named: list[str], garbage: bool) -> None:
    """Be a node of the DHT that knows these peers of every torrent, and the same addresses as nodes.

    To its first question it names no node: for one that is silent it would wait, before it asks for peers.
    """
    own: dict[bytes, bytes] = {b"id": bytes(20), b"nodes": b"", b"token": b"token"}
    kinds = itertools.cycle(GARBAGE)
    while True:
        data, whom = node.recvfrom(2**16)
        query: Any = lt.bdecode(data)
        if query.get(b"y") == b"q":
            if garbage and own[b"nodes"]:  # else it would not be believed that this is a node
                node.sendto(next(kinds)(query[b"t"]), whom)
            values = {b"values": compact(named, 4) + compact(named, 6)} if query[b"q"] == b"get_peers" else {}
            node.sendto(bencode({b"t": query[b"t"], b"y": b"r", b"r": {**own, **values}}), whom)
            if not own[b"nodes"]:
                print("asked", flush=True)
                for key, version in (b"nodes", 4), (b"nodes6", 6):
                    own[key] = b"".join(os.urandom(20) + place for place in compact(named, version))


def hear(where: str, ear: socket.socket) -> None:
    def say(data: bytes) -> None:
        os.write(1, json.dumps({"where": where, "what": data.hex()}).encode() + b"\n")  # in one piece

    if ear.type == socket.SOCK_DGRAM:
        while True:
            say(ear.recv(2**16))
    while True:
        caller = ear.accept()[0]
        say(b"")
        with contextlib.suppress(OSError), caller:
            caller.settimeout(1)
            say(caller.recv(2**16))


def call_itself_a_router(address: str, port: int) -> None:
    """Answer whoever looks for a router (SSDP, UPnP Device Architecture 1.0) that it is described at a port of ours."""
    ear = socket.socket(type=socket.SOCK_DGRAM)
    ear.bind(("", SSDP[1]))
    ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(SSDP[0]) + socket.inet_aton(address))
    while True:
        _, whom = ear.recvfrom(2**16)
        device = "upnp:rootdevice"
        head = (
            f"LOCATION: http://{address}:{port}/\r\nST: {device}\r\nUSN: uuid:1::{device}\r\nCACHE-CONTROL: max-age=900"
        )
        ear.sendto(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode(), whom)


def lead(door: socket.socket, goal: str) -> None:
    """Redirect whoever asks by HTTP."""
    while True:
        with contextlib.suppress(OSError), door.accept()[0] as caller:
            caller.recv(2**16)
            caller.sendall(f"HTTP/1.1 302 Found\r\nLocation: {goal}\r\nContent-Length: 0\r\n\r\n".encode())


def start_stranger(
    host: Host, port: int, places: list[str], *call: str, role: str = "name", options: tuple[str, ...] = ()
) -> IO[bytes]:
    """Start somebody who names these; give what it says."""
    options = (*options, "--at", f"{host.address}:{port}", *(["--call", *call] if call else []))
    process = host.start(sys.executable, __file__, role, *options, "--", *places, stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    return process.stdout


def know_a_node(library: Path, host: Host, port: int) -> None:
    """Have a library know of a node of the DHT, as from an earlier session."""
    node = socket.inet_aton(host.address) + struct.pack(">H", port)
    directory = library / ".memosync"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "session").write_bytes(bencode({b"dht state": {b"node-id": bytes(20), b"nodes": [node]}}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("name", "listen", "route"))
    parser.add_argument("places", nargs="*")
    parser.add_argument("--at", metavar="ADDRESS:PORT")
    parser.add_argument("--call", nargs=2, metavar=("ADDRESS:PORT", "INFOHASH"))
    parser.add_argument("--encrypted", action="store_true")
    parser.add_argument("--garbage", action="store_true")
    options = parser.parse_intermixed_args()
    threads = []
    if options.role == "listen":
        for place in options.places:
            host, _, port = place.rpartition(":")
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                ear = socket.socket(family, kind)
                ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                ear.bind((host.strip("[]"), int(port)))
                if kind == socket.SOCK_STREAM:
                    ear.listen(100)
                threads.append(threading.Thread(target=hear, args=(place, ear)))
    elif options.role == "route":
        host, _, port = options.at.rpartition(":")
        door = socket.create_server((host, int(port)))
        threads.append(threading.Thread(target=call_itself_a_router, args=(host, int(port))))
        threads.append(threading.Thread(target=lead, args=(door, options.places[0])))
    else:
        host, _, port = options.at.rpartition(":")
        node = socket.socket(type=socket.SOCK_DGRAM)
        node.bind((host, int(port)))
        threads.append(threading.Thread(target=answer_queries, args=(node, options.places, options.garbage)))
        door = socket.create_server((host, int(port)))

        def welcome() -> None:
            while True:
                peer = door.accept()[0]
                threading.Thread(target=gossip, args=(peer, b"", int(port), options.places, True)).start()

        threads.append(threading.Thread(target=welcome))
        if options.call:
            called, _, its_port = options.call[0].rpartition(":")
            infohash, peer = bytes.fromhex(options.call[1]), socket.create_connection((called, int(its_port)))
            spoken = Encrypted(peer, infohash) if options.encrypted else peer
            threads.append(threading.Thread(target=gossip, args=(spoken, infohash, int(port), options.places, False)))
    for thread in threads:
        thread.start()
    print("ready", flush=True)


if __name__ == "__main__":
    main()
