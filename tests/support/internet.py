"""A small internet: machines on public addresses that no multicast connects, and a DHT (BEP 5) of its own."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.netns import Host, Network
from support.program import Program
from support.waiting import wait_until

BOOTSTRAP = "dht.libtorrent.org"  # the one name that libtorrent knows of the DHT
NODES = """
import os
import socket
import sys
import time
import libtorrent as lt
category, ours, others = lt.alert_category, sys.argv[1].split(","), sys.argv[2:]
def named(address):  # as its address demands (BEP 42): else it gets another name soon, and is asked by both
    masked = bytes(part & mask for part, mask in zip(socket.inet_aton(address), (3, 15, 63, 255)))
    check = 0xffffffff
    for byte in masked:
        check ^= byte
        for _ in range(8):
            check = check >> 1 ^ (0x82f63b78 if check & 1 else 0)  # CRC-32C
    check ^= 0xffffffff
    name = check.to_bytes(4, "big")[:2] + bytes([check >> 8 & 0xf8]) + os.urandom(16) + bytes(1)
    state = {b"dht state": {b"node-id": [name + socket.inet_aton(address)]}}
    return lt.read_session_params(lt.bencode(state), lt.save_state_flags_t.save_dht_state)
def opened(address):
    params = named(address)
    params.settings = {
        "listen_interfaces": f"{address}:25401", "dht_bootstrap_nodes": "",
        "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
        "dht_block_ratelimit": 1000, "alert_mask": int(category.dht | category.dht_operation),
    }
    return lt.session(params)
sessions = [opened(address) for address in ours]
while True:
    for session in sessions:
        session.post_session_stats()
    time.sleep(0.3)  # who asks faster is blocked by the others
    for address, session in zip(ours, sessions):
        for alert in session.pop_alerts():
            if isinstance(alert, lt.dht_announce_alert):
                print(alert.ip, alert.info_hash, flush=True)
            elif isinstance(alert, lt.session_stats_alert):
                if alert.values["dht.dht_nodes"] >= min(3, len(ours + others) - 1):
                    print("joined", address, flush=True)
                else:
                    for other in ours + others:
                        if other != address:
                            session.add_dht_node((other, 25401))
"""


def infohash(link: str) -> str:
    (found,) = re.findall("btih:([0-9a-f]{40})", link)
    return str(found)


class Internet:
    """Two machines that no multicast connects, and three more on which a DHT may be; one of its nodes has a name."""

    def __init__(self, network: Network, home: Path) -> None:
        self.network, self.home = network, home
        self.here, self.there, *self.others = network.hosts
        self.names = home / "hosts"
        self.names.write_text("127.0.0.1 localhost\n")
        self.resolver = home / "resolv.conf"
        self.resolver.write_text("")

    def name_the_first_node(self) -> None:
        with self.names.open("a") as names:
            names.write(f"{self.others[0].address} {BOOTSTRAP}\n")

    def start_nodes(self, each: int = 1) -> None:
        """Start a DHT: so many nodes on each of the other machines."""
        known = [other.address for other in self.others]
        for number, host in enumerate(self.others):
            more = [f"203.0.{100 + number * each + extra}.1" for extra in range(each - 1)]
            host.ip("\n".join(f"address add {address}/16 dev eth0" for address in more))
            others = [address for address in known if address != host.address]
            with self.heard_at(host).open("w") as heard:
                host.start(sys.executable, "-c", NODES, ",".join([host.address, *more]), *others, stdout=heard)

        def joined(host: Host) -> set[str]:
            return {line for line in self.heard_at(host).read_text().splitlines() if line.startswith("joined")}

        wait_until(lambda: all(len(joined(host)) == each for host in self.others), "every node to know some others")

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


@contextmanager
def small_internet(hosts: int, home: Path) -> Iterator[Internet]:
    """Make one of so many machines."""
    with Network(hosts, subnet="203.0.0.0/16", multicast=False) as network:
        for number, host in enumerate(network.hosts, 1):  # of a /24, libtorrent believes one node alone
            host.ip(f"address del {host.address}/16 dev eth0\naddress add 203.0.{number}.1/16 dev eth0")
            host.address = f"203.0.{number}.1"
        yield Internet(network, home)
