"""The DHT (BEP 5): a link without a tracker or an address finds the memo, on a small internet with a DHT of its own."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from support.netns import Host, Network
from support.program import Program
from support.sound import noise
from support.waiting import wait_until

BOOTSTRAP = "dht.libtorrent.org"  # the one name that libtorrent knows of the DHT
NODE = """
import sys
import time
import libtorrent as lt
category, others = lt.alert_category, sys.argv[2:]
session = lt.session({
    "listen_interfaces": f"{sys.argv[1]}:25401", "dht_bootstrap_nodes": "",
    "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "dht_block_ratelimit": 1000, "alert_mask": int(category.dht | category.dht_operation),
})
while True:
    session.post_session_stats()
    time.sleep(0.3)  # who asks faster is blocked by the others
    for alert in session.pop_alerts():
        if isinstance(alert, lt.dht_announce_alert):
            print(alert.ip, alert.info_hash, flush=True)
        elif isinstance(alert, lt.session_stats_alert):
            if alert.values["dht.dht_nodes"]:
                print("joined", flush=True)
            else:
                for other in others:
                    session.add_dht_node((other, 25401))
"""
SILENT_NAME_SERVER = """
import socket, sys, time
with socket.socket(type=socket.SOCK_DGRAM) as server:
    server.bind((sys.argv[1], 53))
    time.sleep(1000)
"""
ASK = """
from memosync.network import Network
from memosync.stop import Stop
from memosync.torrent.download import ask
print(ask([], Network.PUBLIC, stop=Stop(), timeout=2)["DHT"].pending)
"""


class Internet:
    """Two machines that no multicast connects, and three more on which a DHT may be; one of its nodes has a name."""

    def __init__(self, hosts: list[Host], home: Path) -> None:
        self.here, self.there, *self.others = hosts
        self.home = home
        self.names = home / "hosts"
        self.names.write_text("127.0.0.1 localhost\n")
        self.resolver = home / "resolv.conf"
        self.resolver.write_text("")

    def name_the_first_node(self) -> None:
        with self.names.open("a") as names:
            names.write(f"{self.others[0].address} {BOOTSTRAP}\n")

    def start_nodes(self) -> None:
        for host in self.others:
            known = [other.address for other in self.others if other is not host]
            with self.heard_at(host).open("w") as heard:
                host.start(sys.executable, "-c", NODE, host.address, *known, stdout=heard)
        logs = [self.heard_at(host) for host in self.others]
        wait_until(lambda: all("joined" in log.read_text() for log in logs), "every node to know the others")

    def heard_at(self, host: Host) -> Path:
        return self.home / f"{host.address}.log"

    def was_announced(self, host: Host, link: str) -> bool:
        """Tell whether any node heard that somebody on a machine has what a link is for."""
        return any(f"{host.address} {infohash(link)}" in self.heard_at(other).read_text() for other in self.others)

    def with_names(self, *command: object) -> list[object]:
        mounts = 'mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", mounts, self.names, self.resolver, *command]

    def program(self, host: Host, name: str = "Memos") -> Program:
        """Give memosync as somebody runs it there who reaches everything; the only tracker answers nobody."""
        program = host.program(self.home / host.address / name, "public")
        program.under = [*program.under, *map(str, self.with_names())]
        program.environment["MEMOSYNC_TRACKERS"] = "udp://203.0.99.9:1"
        return program


@pytest.fixture
def internet(tmp_path: Path) -> Iterator[Internet]:
    with Network(5, subnet="203.0.0.0/16", multicast=False) as network:
        for number, host in enumerate(network.hosts, 1):  # of a /24, libtorrent believes one node alone
            host.ip(f"address del {host.address}/16 dev eth0\naddress add 203.0.{number}.1/16 dev eth0")
            host.address = f"203.0.{number}.1"
        yield Internet(network.hosts, tmp_path)


def infohash(link: str) -> str:
    (found,) = re.findall("btih:([0-9a-f]{40})", link)
    return str(found)


def bare(link: str) -> str:
    """Leave nothing of a link but what names the memo."""
    return f"magnet:?xt=urn:btih:{infohash(link)}"


def share(program: Program, title: str) -> str:
    """Record a memo, share it, and give its link."""
    program("record", noise(program.library.parent / f"{title}.flac", 1), "-t", title)
    return program("share", "--public", "last").out.strip()


def test_a_link_with_neither_tracker_nor_address_finds_the_memo_and_the_next_one_without_a_bootstrap_node(
    internet: Internet,
) -> None:
    internet.name_the_first_node()
    internet.start_nodes()
    ours, theirs = internet.program(internet.here), internet.program(internet.there)
    first, second = (share(ours, title) for title in ("First", "Second"))
    for link in (first, second):
        wait_until(partial(internet.was_announced, internet.here, link), "it to be announced")

    theirs("fetch", bare(first), "--seed", "--timeout", "50s")

    wait_until(lambda: internet.was_announced(internet.there, first), "whoever fetched it to be announced")
    theirs("seed", "--stop")  # which keeps the nodes it knows
    internet.names.write_text("")
    theirs("fetch", bare(second), "--timeout", "50s")
    assert len(theirs("list").lines) == 2


def test_check_says_that_the_dht_answers(internet: Internet) -> None:
    internet.name_the_first_node()
    internet.start_nodes()

    found = [line.split("\t") for line in internet.program(internet.here)("check", "--net").lines]

    assert ["ok", "DHT", "it answers"] in found, found[-4:]


@pytest.mark.parametrize("named", [True, False], ids=["a node that is down", "a name nobody knows"])
def test_a_dht_where_nobody_answers_is_not_said_to_answer(internet: Internet, named: bool) -> None:
    if named:
        internet.name_the_first_node()

    said = internet.here.run(*internet.with_names(sys.executable, "-c", ASK))

    assert said == "True\n"


@pytest.mark.parametrize("silent", [False, True], ids=["no name server", "a silent one"])
def test_a_seeder_that_began_without_a_network_is_found_when_there_is_one(internet: Internet, silent: bool) -> None:
    if silent:  # what it is asked is given up after two seconds
        address = internet.others[0].address
        internet.others[0].start(sys.executable, "-c", SILENT_NAME_SERVER, address)
        internet.resolver.write_text(f"nameserver {address}\noptions timeout:2 attempts:1\n")
    ours, theirs = internet.program(internet.here), internet.program(internet.there)
    link = share(ours, "From the train")
    internet.start_nodes()

    internet.name_the_first_node()

    wait_until(lambda: internet.was_announced(internet.here, link), "it to be announced", 120)
    theirs("fetch", bare(link), "--timeout", "50s")
