"""A machine that goes from network to network: what its links name, and who finds it there."""

from __future__ import annotations

import re
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest
from support import taker as taking
from support.library import entries
from support.netns import Host, Network
from support.program import Program
from support.seeder import state
from support.sound import noise
from support.waiting import wait_until

from memosync import network
from memosync.library import known
from memosync.library.store import Library
from memosync.network import Local, reachable_at

MOVES = 6
TRACKER = "10.90.0.1"  # which is there wherever one is
BRIDGES = "\n".join(
    f"""
    link add docker{number} type bridge
    address add 172.{17 + number}.0.1/16 dev docker{number}
    address add fd00:{17 + number}::1/64 dev docker{number} nodad
    link set docker{number} up
    """
    for number in range(4)
)
A, B, C = "192.168.1.2", "10.0.0.2", "172.17.0.1"


def own(text: str) -> Local:
    """Read an address and what the kernel says of it, as `ADDRESS metric=N aside temporary deprecated`."""
    address, *said = text.split()
    metric = next((int(word.partition("=")[2]) for word in said if word.startswith("metric=")), None)
    return Local(
        address=ip_address(address),
        metric=metric,
        is_aside="aside" in said,
        is_temporary="temporary" in said,
        is_deprecated="deprecated" in said,
    )


@pytest.mark.parametrize(
    ("found", "named"),
    [
        ([f"{C} aside", f"{B}", f"{A} metric=100"], [A, B, C]),
        ([f"{A} metric=600", f"{B} metric=100"], [B, A]),
        ([f"{A} metric=100", f"{B} aside metric=50"], [A, B]),  # a VPN that takes everything
        ([f"{A}", f"{B} aside metric=0"], [B, A]),  # PPP, which is all that there is
        ([f"{A} metric=0", f"{B}", "fd00::1 aside"], [A, "fd00::1", B]),
        ([f"{A} metric=0", "fd00::1 metric=0", "2a00::1 metric=0"], ["2a00::1", A, "fd00::1"]),
        (["2a00::5 metric=0 temporary", "2a00::1 metric=0"], ["2a00::1", "2a00::5"]),
        (["2a00::1 metric=0 deprecated", "2a00:1::1 metric=0"], ["2a00:1::1"]),
        (["169.254.3.4 metric=0", f"{A} metric=0", "fe80::1 metric=0", "127.0.0.1", "::1"], [A, "169.254.3.4"]),
        (["127.0.0.1", "::1"], ["127.0.0.1", "::1"]),
    ],
)
def test_the_best_address_of_each_family_comes_first(found: list[str], named: list[str]) -> None:
    assert named == [str(address) for address in reachable_at(map(own, found), network.Network.PUBLIC)]


def test_a_link_names_no_address_that_its_network_excludes() -> None:
    found = map(own, ["2a00::1 metric=0", "fd00::1 metric=0", f"{A} metric=0"])

    assert [A, "fd00::1"] == [str(address) for address in reachable_at(found, network.Network.LAN)]


def addresses_in(link: str) -> list[str]:
    return re.findall(r"x\.pe=\[?([0-9a-f.:]+?)\]?:\d+(?:&|$)", link.strip())


def move(host: Host, before: tuple[str, str], now: tuple[str, str]) -> None:
    """Take a machine to another network; its old IPv6 prefix is called off, as routers do it."""
    host.ip(f"""
        address del {before[0]}/24 dev eth0
        address add {now[0]}/24 dev eth0
        address change {before[1]}/64 dev eth0 preferred_lft 0 valid_lft 7200
        address add {now[1]}/64 dev eth0 nodad
        route replace default via {now[0].rpartition(".")[0]}.254
        route replace {TRACKER} dev eth0
    """)


def named(program: Program, *wanted: str) -> None:
    """Wait until the seeder names these addresses first."""
    wait_until(
        lambda: [text.strip("[]") for text in state(program)["addresses"]][: len(wanted)] == list(wanted),
        lambda: f"the seeder to name {wanted}: {state(program)['addresses']}",
        20,
    )


def test_a_link_names_where_the_machine_is_now_among_bridges_and_after_any_number_of_moves(tmp_path: Path) -> None:
    with Network(2, route=True, multicast=False) as switch:
        here, there = switch.hosts
        here.ip(BRIDGES)
        sharer, fetcher = (host.program(tmp_path / host.address / "Memos") for host in switch.hosts)
        there.ip(f"address add {TRACKER}/32 dev eth0")
        here.ip(f"route add {TRACKER} dev eth0")
        sharer("record", noise(tmp_path / "noise.flac"), "-t", "On the road")
        first = sharer("share", "last", "--tracker", there.tracker(TRACKER)[1]).out.strip()

        assert addresses_in(first)[:2] == ["10.77.0.1", "fd77::1"]
        assert len(addresses_in(first)) == 4
        place = ("10.77.0.1", "fd77::1")
        for number in range(1, MOVES + 1):
            place, before = (f"10.78.{number}.1", f"fd78:{number}::1"), place
            there.ip(f"address add 10.78.{number}.2/24 dev eth0")
            move(here, before, place)
            named(sharer, *place)

            link = sharer("share", "last").out.strip()

            assert addresses_in(link)[:2] == list(place)
            assert not {before[0], before[1]} & set(addresses_in(link))
            by_tracker = ["fetch", "--info", re.sub(r"&x\.pe=[^&]*", "", first), "--timeout", "8s"]
            wait_until(lambda: fetcher.run(*by_tracker).code == 0, "the tracker to know the new address")  # noqa: B023
        fetcher("fetch", re.sub(r"&tr=[^&]*", "", link))


def test_a_machine_that_gets_its_cable_late_is_found_all_the_same(tmp_path: Path) -> None:
    with Network(2, route=True, multicast=False) as switch:
        here = switch.hosts[0]
        sharer, fetcher = (host.program(tmp_path / host.address / "Memos") for host in switch.hosts)
        sharer("record", noise(tmp_path / "noise.flac"), "-t", "Plugged in late")
        switch.cut(here)
        wait_until(lambda: "NO-CARRIER" in here.run("ip", "link", "show", "eth0"), "the cable to be out")
        sharer("share", "last")

        switch.plug_in(here)

        named(sharer, "10.77.0.1", "fd77::1")
        fetcher("fetch", sharer("share", "last").out.strip())


def test_ipv6_is_listened_on_from_when_somebody_may_call_it(tmp_path: Path) -> None:
    """Every place more costs each torrent memory, and an announce: a link-local address is none for a seeder."""
    with Network(1) as switch:
        (here,) = switch.hosts
        here.ip("address del fd77::1/64 dev eth0")
        sharer = here.program(tmp_path / "Memos")
        sharer("record", noise(tmp_path / "noise.flac"), "-t", "By another way")
        link = sharer("share", "last").out.strip()

        listening = here.run("ss", "-tlnH")
        assert (addresses_in(link), "10.77.0.1" in listening, "[fe80" in listening) == (["10.77.0.1"], True, False)
        here.ip("address add fd77::1/64 dev eth0 nodad")
        named(sharer, "10.77.0.1", "fd77::1")
        connect = f"import socket; socket.create_connection(('fd77::1', {state(sharer)['port']}), 5)"
        here.run(sys.executable, "-c", connect)


def test_changes_of_index_trackers_and_network_drop_nobody_who_is_being_served(tmp_path: Path) -> None:
    with Network(2, route=True) as switch:
        here, there = switch.hosts
        sharer = here.program(tmp_path / "Memos")
        sound = noise(tmp_path / "noise.webm", 4, "-c:a", "libopus", "-b:a", "128k")
        public, private = (
            sharer("record", sound, "-t", title, "--again").out.strip() for title in ("Public", "Private")
        )
        sharer("seed", "--detach", "--up", "5k")
        trackers = [there.tracker()[way] for way in (0, 1)]
        sharer("share", "--public", public, "--tracker", trackers[0])
        sharer("share", private, "--tracker", trackers[0])
        found = {memo["id"]: memo for memo in entries(sharer)}
        wanted = [("10.77.0.1", found[public]["infohash"]), ("fd77::1", found[private]["sealed"])]
        port = state(sharer)["port"]
        takers = [
            there.start(sys.executable, taking.__file__, address, port, infohash, stdout=subprocess.PIPE)
            for address, infohash in wanted
        ]

        def peers() -> list[str]:
            return [line.split("\t")[2] for line in sharer("seed", "--status").lines]

        wait_until(lambda: peers() == ["1", "1"], "both to be served", 20)

        sharer("share", "--public", public, "--tracker", trackers[1])
        sharer("share", private, "--tracker", trackers[1])
        here.ip(BRIDGES + "address add 10.78.0.1/24 dev eth0\naddress add fd78::1/64 dev eth0 nodad")
        sharer("record", sound, "-t", "Another", "--again")
        sharer("share", "last")
        here.ip("address del 10.78.0.1/24 dev eth0\naddress del fd78::1/64 dev eth0\nlink del docker0")
        sharer("edit", public, "-t", "Called otherwise")
        sharer("rm", "last")

        assert [None, None] == [taker.poll() for taker in takers]
        for taker, memo in zip(takers, (public, private), strict=True):
            assert len(taker.communicate(timeout=120)[0]) > found[memo]["size"]
            assert taker.returncode == 0  # all of it in one connection


def test_a_device_in_sync_says_where_it_is_now_and_no_more(tmp_path: Path) -> None:
    with Network(1, multicast=False) as switch:
        (here,) = switch.hosts
        here.ip(BRIDGES)
        device = here.program(tmp_path / "Memos")
        device("sync", "--invite", "device")

        def said() -> list[str]:
            (row,) = known.devices(known.read(Library(device.library))).values()
            return [str(parsed[0]) for text in row.addresses if (parsed := network.parse_peer(text))]

        def says(place: tuple[str, str]) -> None:
            wait_until(lambda: said()[:2] == list(place), lambda: f"the device to say {place}: {said()}")

        place = ("10.77.0.1", "fd77::1")
        for number in range(1, 4):
            says(place)
            assert not {text for text in said() if text.startswith(("10.", "fd7"))} - {*place}
            place, before = (f"10.78.{number}.1", f"fd78:{number}::1"), place
            here.ip(f"""
                address del {before[0]}/24 dev eth0
                address del {before[1]}/64 dev eth0
                address add {place[0]}/24 dev eth0
                address add {place[1]}/64 dev eth0 nodad
                route replace default via {place[0].rpartition(".")[0]}.254
            """)
        device("seed", "--stop")
