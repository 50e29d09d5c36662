"""How far `--network` reaches: what leaves the machine, seen on every interface of one that could reach anywhere."""

from __future__ import annotations

import ipaddress
import os
import re
import signal
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import libtorrent as lt
import pytest
from support.library import only
from support.netns import Capture, Host, Network
from support.packets import Packet
from support.program import PROGRAM, Program
from support.sound import noise
from support.vmic import plugged_in
from support.waiting import wait_until

from memosync.errors import SwarmError

LOOPBACK = ["127.0.0.0/8", "::1/128"]
PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fe80::/10", "fc00::/7"]
ASSIGNED = ["239.192.152.143/32", "ff15::efc0:988f/128"]  # BEP 14
ASSIGNED += ["224.0.0.22/32", "0.0.0.0/32", "ff02::/16", "::/128"]  # who listens to it: to and from
ABROAD = ["203.0.113.7", "11.0.0.1", "172.32.0.1", "[2001:db8::7]"]  # two of them next door to private ranges
TRACKERS = [
    "udp://tracker.example.org:1337/announce",
    "http://tracker.example.net/announce",
    "wss://tracker.example.com",
    *(f"{scheme}://{address}:6969/announce" for scheme in ("udp", "http", "ws") for address in ABROAD),
]
WEB_SEEDS = ["http://203.0.113.9/memo.webm", "http://files.example.org/memo.webm", "http://10.77.0.254/memo.webm"]


@pytest.fixture
def host() -> Iterator[Host]:
    """A machine with another interface than loopback, and a default route over it."""
    with Network(1, route=True) as network:
        yield network.hosts[0]


def use(host: Host, directory: Path, network: str, address: str) -> None:
    """Share a memo, and fetch and seed it by a link and a .torrent that point all over the world."""
    ours = host.tracker(address, [f"{abroad}:6881" for abroad in ABROAD if ":" not in abroad])[0]
    trackers = {"MEMOSYNC_TRACKERS": " ".join([ours, *TRACKERS])}
    sharer, by_link, by_torrent = (host.program(directory / name / "Memos", network) for name in ("a", "b", "c"))
    memo = sharer("record", noise(directory / "a/noise.flac")).out.strip()

    link = sharer("share", "--public", memo, env=trackers).out.strip()

    head, _, rest = link.partition("&")
    strangers = [f"x.pe={address}:6881" for address in (*ABROAD, "peer.example.org")]
    strangers += [f"tr={url}" for url in TRACKERS] + [f"{key}={url}" for key in ("ws", "as", "xs") for url in WEB_SEEDS]
    by_link("fetch", "&".join([head, *strangers[:5], rest, *strangers[5:]]), "--seed", env=trackers)

    [torrent] = sharer.library.glob(".memosync/torrents/*.torrent")
    metainfo: Any = lt.bdecode(torrent.read_bytes())
    web_seeds = [url.encode() for url in WEB_SEEDS]
    metainfo |= {b"url-list": web_seeds, b"httpseeds": web_seeds}
    metainfo |= {b"announce-list": [[url.encode()] for url in (*TRACKERS, ours)]}
    metainfo |= {b"nodes": [[b"203.0.113.7", 6881], [b"router.example.org", 6881]]}
    strange_torrent = directory / "strange.torrent"
    strange_torrent.write_bytes(lt.bencode(metainfo))
    by_torrent("fetch", strange_torrent, "--seed", env=trackers)

    assert len({only(program)["infohash"] for program in (sharer, by_link, by_torrent)}) == 1
    for program in (sharer, by_link, by_torrent):
        program("seed", "--stop")


def strange(packets: list[Packet], ranges: list[str]) -> list[Packet]:
    """Pick the packets from or to somewhere else, and every look-up of a name and request for a web seed."""
    networks = [ipaddress.ip_network(text) for text in ranges]

    def near(text: str) -> bool:
        return bool(text) and any(ipaddress.ip_address(text) in network for network in networks)

    return [
        packet
        for packet in packets
        if not (packet.kernels or (near(packet.source) and near(packet.destination) and packet.port not in (53, 80)))
    ]


def assert_sees_names(capture: Capture) -> None:
    """Look a name up: had the program done so, it would have been seen."""
    before = len(capture.so_far())
    capture.host.start("getent", "ahosts", "control.example.org")
    wait_until(lambda: any(packet.port == 53 for packet in capture.packets[before:]), "a look-up to be seen", 10)


def test_under_loopback_no_packet_leaves_the_machine_and_no_name_is_looked_up(host: Host, tmp_path: Path) -> None:
    capture = Capture(host)

    use(host, tmp_path, "loopback", "127.0.0.1")

    assert strange(capture.so_far(), LOOPBACK) == []
    assert_sees_names(capture)


def test_under_lan_packets_stay_in_private_ranges_and_no_name_is_looked_up(host: Host, tmp_path: Path) -> None:
    capture = Capture(host)

    use(host, tmp_path, "lan", host.address)

    assert strange(capture.so_far(), [*LOOPBACK, *PRIVATE, *ASSIGNED]) == []
    assert_sees_names(capture)


def sockets(host: Host, program: Program, *arguments: object, code: int = 0, env: Mapping[str, str] = {}) -> list[str]:
    """Run a command, which may reach the whole internet, and list the sockets it and its children asked for."""
    trace = program.library.with_name("trace")
    slow = "inject=listen:delay_exit=50000"  # microseconds: a busy machine's addresses come one after the other
    command = [
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=socket,connect,listen",
        "-e",
        slow,
        "-o",
        trace,
        *PROGRAM,
        *arguments,
    ]
    process = host.start(*command, env={**program.environment, "MEMOSYNC_NETWORK": "public", **env})

    assert process.wait(60) == code
    return trace.read_text().splitlines()


def test_record_list_and_check_open_no_internet_socket(host: Host, tmp_path: Path) -> None:
    program = host.program(tmp_path / "home" / "Memos")
    found = sockets(host, program, "record", noise(tmp_path / "noise.flac"))
    with plugged_in() as microphone:
        found += sockets(host, program, "record", "--max", "1s", env=microphone.environment)
    found += sockets(host, program, "check")
    for options in ((), ("--json",), ("--shared",)):
        found += sockets(host, program, "list", *options)

    assert len(program("list").lines) == 2
    assert [line for line in found if "AF_INET" in line] == []


def called(lines: list[str]) -> set[tuple[str, int]]:
    """Take the addresses and ports from what `connect` was traced to be asked for."""
    asked = [re.search(r'connect\(.*_port=htons\((\d+)\).*?"([0-9a-f.:]+)"', line) for line in lines]
    return {(found[2], int(found[1])) for found in asked if found}


@pytest.mark.parametrize("at_home", [False, True], ids=["abroad", "at home"])
def test_what_a_link_may_not_have_us_call_is_not_called(tmp_path: Path, at_home: bool) -> None:
    private = {("10.1.2.3", 7000), ("192.168.1.9", 7000), ("fd12::9", 7000), ("127.0.0.1", 7000), ("::1", 7000)}
    near = {("10.77.0.77", 7000)}
    public = {("203.0.113.7", 1024), ("2001:db8::7", 7000)}
    privileged = {("203.0.113.8", 22), ("203.0.113.8", 1023), ("127.0.0.1", 80), ("10.1.2.3", 443)}
    with Network(1, subnet="10.77.0.0/24" if at_home else "203.0.113.0/24", route=True) as network:
        (host,) = network.hosts
        host.ip("address add 2001:db8::1/64 dev eth0 nodad" + ("" if at_home else "\naddress del fd77::1/64 dev eth0"))
        tracker = host.tracker(peers=[f"203.0.113.9:{port}" for port in (443, 7001)])[0]
        peers = [
            f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
            for address, port in sorted(private | privileged) + sorted(near | public)
        ]
        link = "&x.pe=".join([f"magnet:?xt=urn:btih:{40 * 'a'}&tr={tracker}", *peers])
        program = host.program(tmp_path / "home" / "Memos")

        seen = set[tuple[str, int]]()
        for patience in ("2s", "20s"):  # the second on a machine that is busy
            seen |= called(sockets(host, program, "fetch", link, "--timeout", patience, code=SwarmError.exit_code))
            if public | {("203.0.113.9", 7001)} <= seen:
                break

    assert public | {("203.0.113.9", 7001)} <= seen
    assert seen & (privileged | {("203.0.113.9", 443)}) == set()
    assert seen & (private | near) == (near if at_home else set())


def test_a_fetch_does_open_one(host: Host, tmp_path: Path) -> None:
    program = host.program(tmp_path / "home" / "Memos")
    link = "magnet:?xt=urn:btih:" + 40 * "a"
    found = sockets(host, program, "fetch", link, "--timeout", "1s", code=SwarmError.exit_code)

    assert [line for line in found if "AF_INET" in line]


def test_a_seeder_ends_soon_while_names_are_looked_up_and_keeps_what_it_knew_of_the_dht(
    host: Host, tmp_path: Path
) -> None:
    program = host.program(tmp_path / "Memos", "public")
    program.environment["RES_OPTIONS"] = "timeout:30"  # seconds that a name is looked up
    program("record", noise(tmp_path / "noise.flac"))
    program("share", "--public", "last", env={"MEMOSYNC_TRACKERS": " ".join(TRACKERS)})
    seeder = tomllib.loads((program.library / ".memosync/seeder.toml").read_text())
    known = program.library / ".memosync/session"
    known.write_bytes(b"what an earlier one knew")

    os.kill(seeder["pid"], signal.SIGTERM)

    wait_until(lambda: not Path(f"/proc/{seeder['pid']}").exists(), "it to end", 15)
    assert "SIGKILL" not in (program.library / ".memosync/seeder.log").read_text()
    assert b"what an earlier one knew" == known.read_bytes(), "it met no node that would be worth more"
