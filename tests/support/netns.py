"""Network namespaces for tests: hosts on a switch of their own, cut off from this machine's network.

Works as root and, where user namespaces are allowed, as an ordinary user. Nothing is left behind: a namespace lives as
long as its holder process and what was started in it, and both end with the `Network`.
"""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from support import packets, tracker, wstracker
from support.packets import Packet
from support.program import Program
from support.waiting import wait_until

HOLD = ["sh", "-c", "echo ready; exec cat"]
ROUTE = """
echo 1 >/proc/sys/net/ipv4/ip_forward
iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE
iptables -A FORWARD -i eth0 -m state --state ESTABLISHED,RELATED -j ACCEPT
iptables -A FORWARD -i eth0 -j DROP
iptables -A INPUT -i eth0 -m state --state NEW -j DROP
"""
GATEWAY = 254  # the last part of the switch's own address, where default routes lead (and end)


class Namespace:
    """One network namespace, held open by a process that sleeps in it."""

    def __init__(self, enter: list[str], unshare: list[str]) -> None:
        self.holder = subprocess.Popen([*enter, *unshare, *HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == b"ready\n", "no network namespace: root or user namespaces are needed"
        self.pid = self.holder.pid
        self.started: list[subprocess.Popen[Any]] = []
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        self.entered = [f"/proc/{self.pid}/ns/{kind}" for kind in (["user", "net"] if user else ["net"])]
        self.command = ["nsenter", f"--target={self.pid}", *user, "--net", "--"]

    def start(self, *command: object, **options: Any) -> subprocess.Popen[Any]:
        """Start a process in here; whatever comes of it ends with the namespace."""
        options = {"stdin": subprocess.DEVNULL, **options}
        process = subprocess.Popen([*self.command, *map(str, command)], **options)
        self.started.append(process)
        return process

    def run(self, *command: object, timeout: float = 60, **options: Any) -> str:
        """Run a process in here to its good end and give its output."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, **options}
        done = subprocess.run([*self.command, *map(str, command)], timeout=timeout, **options)

        assert done.returncode == 0, f"{command}: {done.stdout}"
        return str(done.stdout)

    def ip(self, commands: str) -> None:
        """Run several `ip` commands, one a line."""
        self.run("ip", "-batch", "-", input=commands)

    def processes(self) -> list[int]:
        """Find all processes that live in here."""
        here = os.readlink(f"/proc/{self.pid}/ns/net")
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(process / "ns/net") == here:
                    found.append(int(process.name))
            except OSError:  # gone meanwhile, or another user's
                pass
        return found

    def close(self) -> None:
        """End everything in here, the holder last."""

        def empty() -> bool:
            others = [pid for pid in self.processes() if pid != self.pid]
            for pid in others:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            return not others

        for process in self.started:  # one may still be on its way in
            process.kill()
            process.wait()
        wait_until(empty, "the namespace to be empty")
        self.holder.communicate()


class Host(Namespace):
    """A machine on the switch: `eth0` with one address of each family, and loopback."""

    address: str
    port: str  # of the switch

    def program(self, library: Path, network: str = "lan") -> Program:
        """Give memosync as somebody on this machine runs it."""
        library.parent.mkdir(parents=True, exist_ok=True)
        return _Inside(self, library, {"HOME": str(library.parent), "MEMOSYNC_NETWORK": network})

    def received(self) -> int:
        """Give the bytes that came to this machine by its cable."""
        (link,) = json.loads(self.run("ip", "-s", "-j", "link", "show", "eth0"))
        return int(link["stats64"]["rx"]["bytes"])

    def tracker(self, address: str = "", peers: Iterable[str] = (), redirect: str = "") -> tuple[str, str]:
        """Start a tracker, on this machine's address unless told another; give its HTTP and its UDP URL.

        It names these peers to everybody, or sends who asks by HTTP elsewhere.
        """
        options = [f"--host={address or self.address}", *(f"--peer={peer}" for peer in peers), f"--redirect={redirect}"]
        command = [sys.executable, tracker.__file__, *options]
        process = self.start(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        return process.stdout.readline().strip(), process.stdout.readline().strip()

    def websocket_tracker(
        self, mode: str = "answer", *, address: str = "", port: int = 0, interval: int = 120, delay: float = 5
    ) -> wstracker.Remote:
        """Start a tracker for browsers, see wstracker.py; on a port where one was, it is the same one restarted."""
        options = {"mode": mode, "host": address or self.address, "port": port, "interval": interval, "delay": delay}
        command = [sys.executable, wstracker.__file__, *(f"--{name}={value}" for name, value in options.items())]
        return wstracker.Remote(self.start(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))


class Capture:
    """See every packet on every interface of a host, loopback too; all that is in it when it is to be `whole`."""

    def __init__(self, host: Host, *, whole: bool = False) -> None:
        self.host = host
        command = [sys.executable, packets.__file__, *(["whole"] if whole else [])]
        self.process = host.start(*command, stdin=None, stdout=subprocess.PIPE, text=True)
        self.packets: list[Packet] = []
        self.marks = 0
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        wait_until(lambda: self.packets, "the capture to begin")
        self.packets.clear()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.packets.append(Packet(**json.loads(line)))

    def so_far(self) -> list[Packet]:
        """Give all packets until now: those before one that is sent for this."""
        self.marks += 1
        mark = "127.77.0.1", self.marks  # where nobody else sends anything
        send = f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', {mark})"
        self.host.run(sys.executable, "-c", send)
        places: list[tuple[str, int]] = []

        def seen() -> bool:
            places[:] = [(packet.destination, packet.port) for packet in list(self.packets)]
            return mark in places

        wait_until(seen, "the capture to come up")
        return self.packets[: places.index(mark)]


class _Inside(Program):
    def __init__(self, host: Host, library: Path, environment: dict[str, str]) -> None:
        super().__init__(library, environment)
        self.host = host
        self.under = host.command

    def on(self, library: Path) -> Program:
        return self.host.program(library, self.environment["MEMOSYNC_NETWORK"])

    def namespaces(self) -> list[str] | None:
        return self.host.entered if self.under == self.host.command else None

    def start(self, *arguments: object, **options: Any) -> subprocess.Popen[Any]:
        process = super().start(*arguments, **options)
        self.host.started.append(process)
        return process


class Network:
    """Hosts 10.77.0.1, 10.77.0.2, ... (fd77::1, ...) on one switch that leads nowhere else.

    `route` gives them a default route, into the switch. Without `multicast` the switch swallows it, as some access
    points do.
    """

    def __init__(
        self, hosts: int = 1, *, subnet: str = "10.77.0.0/24", route: bool = False, multicast: bool = True
    ) -> None:
        self.namespaces: list[Namespace] = []
        self.hosts: list[Host] = []
        try:
            self._build(hosts, ipaddress.IPv4Network(subnet), route, "on" if multicast else "off")
        except BaseException:
            self.close()
            raise

    def _build(self, count: int, subnet: ipaddress.IPv4Network, route: bool, multicast: str) -> None:
        unshare = ["unshare", "--net"]
        switch = Namespace([], unshare if os.geteuid() == 0 else [*unshare, "--user", "--map-root-user"])
        self.namespaces.append(switch)
        switch.ip(f"""
            link set lo up
            link add switch type bridge mcast_snooping 0
            link set switch addrgenmode none
            address add {subnet[GATEWAY]}/{subnet.prefixlen} dev switch
            address add fd77::{GATEWAY}/64 dev switch nodad
            link set switch up
        """)
        for number in range(1, count + 1):
            host = Host(switch.command, unshare)
            self.namespaces.append(host)
            self.hosts.append(host)
            host.address, host.port = str(subnet[number]), f"port{number}"
            switch.ip(f"""
                link add port{number} type veth peer name eth0 netns {host.pid}
                link set port{number} addrgenmode none
                link set port{number} master switch
                link set port{number} type bridge_slave mcast_flood {multicast}
                link set port{number} up
            """)
            host.ip(f"""
                link set lo up
                link set eth0 addrgenmode none
                address add {host.address}/{subnet.prefixlen} dev eth0
                address add fd77::{number}/64 dev eth0 nodad
                address add fe80::77:{number}/64 dev eth0 nodad
                link set eth0 up
            """)
            if route:
                host.ip(f"route add default via {subnet[GATEWAY]}\nroute add default via fd77::{GATEWAY}")

    def cut(self, *hosts: Host) -> None:
        """Pull the plugs of hosts."""
        self.namespaces[0].ip("\n".join(f"link set {host.port} down" for host in hosts))

    def plug_in(self, *hosts: Host) -> None:
        self.namespaces[0].ip("\n".join(f"link set {host.port} up" for host in hosts))

    def part(self, *hosts: Host, parted: bool = True) -> None:
        """Have nothing go from one of these hosts to another, without a sign of it; or again."""
        state = "on" if parted else "off"
        self.namespaces[0].ip("\n".join(f"link set {one.port} type bridge_slave isolated {state}" for one in hosts))

    def behind(self, router: Host, subnet: str) -> Host:
        """Give a machine behind a router of this network, which keeps ports and drops whatever nobody inside asked for.

        Dropping is what makes it one of those that people have: else what a stranger sends takes the port on the
        router itself, and what goes there from inside gets another one.
        """
        block = ipaddress.IPv4Network(subnet)
        inside, host = block[1], Host(self.namespaces[0].command, ["unshare", "--net"])
        self.namespaces.append(host)
        host.address = str(block[2])
        router.ip(f"""
            link add inside type veth peer name eth0 netns {host.pid}
            address add {inside}/{block.prefixlen} dev inside
            link set inside up
        """)
        router.run("sh", "-ec", ROUTE)
        host.ip(f"""
            link set lo up
            link set eth0 addrgenmode none
            address add {host.address}/{block.prefixlen} dev eth0
            link set eth0 up
            route add default via {inside}
        """)
        return host

    def close(self) -> None:
        """End all hosts and what runs on them, then the switch."""
        while self.namespaces:
            self.namespaces.pop().close()

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
