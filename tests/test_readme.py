"""What the README says of who has to be on, of reboots and of routers: each sentence is true, or a test is red."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import router, stunserver
from support.internet import Internet, small_internet
from support.library import only
from support.netns import Host
from support.program import Program
from support.seeder import is_alive, port_of_our_own, state
from support.sound import noise
from support.tracker import Tracker
from support.waiting import wait_until

from memosync.commands.fetch import FetchOptions
from memosync.errors import SeederError, SwarmError

README = " ".join((Path(__file__).parent.parent / "README.md").read_text().split())
OPEN = """
iptables -t nat -I PREROUTING -i eth0 -p tcp --dport {port} -j DNAT --to {inside}
iptables -I FORWARD -i eth0 -p tcp -d {inside} --dport {port} -j ACCEPT
"""


class Homes:
    """Two machines behind routers that let nobody in, and trackers on the internet between them."""

    def __init__(self, internet: Internet) -> None:
        self.internet = internet
        self.routers, self.middle = internet.network.hosts[:2], internet.network.hosts[2]
        hosts = [internet.network.behind(one, f"192.168.{n}.0/24") for n, one in enumerate(self.routers, 1)]
        self.hosts, (self.ann, self.ben) = hosts, [internet.program(host) for host in hosts]
        self.trackers(self.middle.tracker()[1])
        stun = _started(self.middle, stunserver.__file__, f"--host={self.middle.address}")
        for program in (self.ann, self.ben):
            program.environment["MEMOSYNC_STUN"] = stun

    def trackers(self, *urls: str) -> None:
        for program in (self.ann, self.ben):
            program.environment["MEMOSYNC_TRACKERS"] = " ".join(urls)

    def share(self, *seed: object) -> str:
        """Record and share a memo, and give the link."""
        self.ann("record", noise(self.internet.home / "noise.flac"), "-t", "From behind a router")
        self.ann("seed", "--detach", *seed)
        return self.ann("share", "last").out.strip()


def _started(host: Host, *command: object) -> str:
    """Start a script on a host, and give the first line that it prints."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = host.start(sys.executable, *command, **pipes)
    assert process.stdout
    return str(process.stdout.readline().strip())


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[Homes]:
    with small_internet(3, tmp_path) as internet:
        yield Homes(internet)


def test_behind_routers_a_memo_is_fetched_as_browsers_do(homes: Homes) -> None:
    udp = homes.ann.environment["MEMOSYNC_TRACKERS"]  # which names the router, where nobody answers
    homes.trackers(udp, homes.middle.websocket_tracker().url)

    homes.ben("fetch", homes.share(), "--timeout", "30s")

    assert only(homes.ben)["title"] == "From behind a router"
    homes.ann("seed", "--stop")


@pytest.mark.parametrize("how", ["by hand", "pmp", "pcp"])
def test_a_router_that_lets_somebody_in_helps_all(homes: Homes, how: str) -> None:
    if how == "by hand":
        port = port_of_our_own()
        link = homes.share("--port", port)
        homes.ben("fetch", link, "--timeout", "3s", code=SwarmError.exit_code)  # no WebSocket tracker is there
        homes.routers[0].run("sh", "-ec", OPEN.format(port=port, inside=homes.hosts[0].address))
    else:
        assert "by PCP and NAT-PMP" in README
        home = homes.routers[0]
        assert _started(home, router.__file__, how, "192.168.1.1", home.address) == "ready"
        link = homes.share()

    homes.ben("fetch", link, "--timeout", "30s")

    assert only(homes.ben)["title"] == "From behind a router"
    homes.ann("seed", "--stop")


def test_somebody_has_to_be_on_who_has_it(memosync: Program, tmp_path: Path) -> None:
    ben, carl, dora = (memosync.on(tmp_path / name) for name in ("Ben", "Carl", "Dora"))
    with Tracker() as tracker:
        for program in (memosync, ben, carl, dora):
            program.environment["MEMOSYNC_TRACKERS"] = tracker.udp_url
        memosync("record", noise(tmp_path / "noise.flac"), "-t", "Who is on")
        link = memosync("share", "last").out.strip()
        memosync("seed", "--stop")

        alone = ben("fetch", link, "--timeout", "2s", code=SwarmError.exit_code).err
        memosync("seed", "--detach")
        ben("fetch", link, "--seed")
        memosync("seed", "--stop")
        carl("fetch", link)
        ben("seed", "--stop")
        dora("fetch", link, "--timeout", "2s", code=SwarmError.exit_code)  # Carl fetched it without --seed

    assert "memosync: hint: who shares it has to be on" in alone
    assert only(carl)["sealed"] == only(memosync)["sealed"]
    assert ("`fetch` waits a minute" in README, FetchOptions().timeout) == (True, 60)


def test_after_a_reboot_nothing_is_served_until_somebody_says_so(memosync: Program, tmp_path: Path) -> None:
    memosync("record", noise(tmp_path / "noise.flac"), "-t", "Before the reboot")
    link = memosync("share", "last").out.strip()
    processes = [state(memosync)[process] for process in ("keeper", "pid")]
    for process in processes:  # as a power cut does: all at once, and what it wrote stays
        os.kill(process, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, processes)), "the power to be cut")
    written = memosync.library / ".memosync" / "seeder.toml"
    text = written.read_text()  # the numbers are those of other processes now
    written.write_text(re.sub(r"(?m)^(pid|keeper) = .*", rf"\1 = {os.getpid()}", text))

    said = memosync("list").err
    memosync("seed", "--status", code=SeederError.exit_code)
    (number,) = re.findall(r"until the next `share` or `memosync (seed --detach)`", README)
    memosync(*number.split())
    memosync.on(tmp_path / "Ben")("fetch", link)

    assert "marked as shared, and is not served now; memosync seed --detach" in said
