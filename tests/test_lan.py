"""Two machines on a network without internet: share here, fetch there, and no tracker."""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path

import pytest
from support.library import only
from support.netns import Network
from support.program import Program
from support.sound import noise
from support.waiting import takes_less

from memosync.errors import SwarmError

GLOBAL = "2001:db8:1234:5678:9abc:def0:1234:5678"  # as machines at home have it
README = (Path(__file__).parent.parent / "README.md").read_text()
DEADLINE = 5  # seconds, from the start of the process to its end

SESSIONS = """
import os
import libtorrent as lt
from memosync.network import Network
from memosync.torrent.session import open_session
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])  # else it is rarely seen between two of them
for number in range(20):
    session = open_session(Network.LAN, 7000 + number, {})
    heard = [alert for alert in session.pop_alerts() if isinstance(alert, lt.listen_succeeded_alert)]
    print(*sorted({alert.address for alert in heard}))
"""


def share(program: Program) -> str:
    """Record a memo on one machine, share it, and give the link."""
    program("record", noise(program.library.parent / "noise.flac"), "-t", "From here")
    return program("share", "last").out.strip()


def file(program: Program) -> bytes:
    """Give the bytes of a library's only memo."""
    return Path(only(program)["path"]).read_bytes()


def fetch(program: Program, link: str) -> None:
    """Fetch it in time, each time into an empty library."""

    def attempt() -> float:
        shutil.rmtree(program.library, ignore_errors=True)
        began = time.monotonic()
        process = program.start("fetch", link)  # whose start counts
        err = process.communicate(timeout=60)[1].decode()
        assert process.returncode == 0, err
        return time.monotonic() - began

    takes_less(DEADLINE, attempt)


def test_an_open_session_knows_all_addresses_of_the_machine() -> None:
    with Network(1) as network:
        known = network.hosts[0].run(sys.executable, "-c", SESSIONS)

    assert {"10.77.0.1 127.0.0.1 ::1 fd77::1 fe80::77:1%eth0"} == set(known.splitlines())


@pytest.mark.parametrize("route", [True, False], ids=["with a default route", "without one"])
def test_addresses_in_the_link_are_enough(tmp_path: Path, route: bool) -> None:
    with Network(2, route=route, multicast=False) as network:
        here = network.hosts[0].program(tmp_path / "here" / "Memos")
        there = network.hosts[1].program(tmp_path / "there" / "Memos")
        link = share(here)

        fetch(there, link)

        assert "&tr=" not in link
        assert file(here) == file(there)


@pytest.mark.parametrize("route", [True, False], ids=["with a default route", "without one"])
def test_local_discovery_is_enough(tmp_path: Path, route: bool) -> None:
    with Network(2, route=route) as network:
        here = network.hosts[0].program(tmp_path / "here" / "Memos")
        there = network.hosts[1].program(tmp_path / "there" / "Memos")
        link = re.sub(r"&x\.pe=[^&]*", "", share(here))

        fetch(there, link)

        assert "x.pe" not in link
        assert "&tr=" not in link
        assert file(here) == file(there)


def test_a_link_is_as_long_as_the_readme_says(tmp_path: Path) -> None:
    said = re.search(r"\*\*A link is one line\*\* of some (\d+) characters, (\d+) with the addresses", README)
    assert said
    bare, whole = map(int, said.groups())
    with Network(1, route=True) as network:
        (host,) = network.hosts
        host.ip(f"address delete fd77::1/64 dev eth0\naddress add {GLOBAL}/64 dev eth0 nodad")
        here = host.program(tmp_path / "here" / "Memos", "public")

        link = share(here)

    assert f"[{GLOBAL}]" in link
    assert abs(len(link) - whole) < 25
    assert abs(len(re.sub(r"&x\.pe=[^&]*", "", link)) - bare) < 25


def test_neither_means_that_nobody_is_found(tmp_path: Path) -> None:
    with Network(2, multicast=False) as network:
        here = network.hosts[0].program(tmp_path / "here" / "Memos")
        there = network.hosts[1].program(tmp_path / "there" / "Memos")
        link = re.sub(r"&x\.pe=[^&]*", "", share(here))

        result = there("fetch", link, "--timeout", "3s", code=SwarmError.exit_code)

        assert (
            "trackers: none to ask; DHT: off; LAN: nobody answered; addresses in the link: none to call" in result.err
        )
