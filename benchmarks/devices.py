"""What is recorded on one machine until it is on the other, in a network without internet."""

from __future__ import annotations

import filecmp
import itertools
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from material import memo_of
from measure import US, Bar, Contestants, Measures, Row, run

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from support.devices import all_met, arrival, device, invite, wait_for
from support.netns import Host, Network
from support.waiting import until

SYNCTHING = "Syncthing"
WATCHED = 'rescanIntervalS="3600" fsWatcherEnabled="true" fsWatcherDelayS="10"'  # as it has a new folder from its GUI


@contextmanager
def recording(directory: Path, quick: bool) -> Iterator[Contestants]:
    """Record 200 KB on one of two machines, and put a file of that size where Syncthing looks, with its defaults."""
    sound = memo_of(200_000, directory)
    numbers = itertools.count()
    with Network(2) as network, Network(2) as other_network:
        one, other = (device(host, directory / host.address, "lan") for host in network.hosts)
        invite(one, other)
        wait_for((one, other), lambda: all_met([one, other]), "them to meet")
        here, there = _syncthing(other_network.hosts, directory)

        def record() -> Measures:
            return {"s": arrival(one, other, sound, f"Memo {next(numbers)}")}

        def copy() -> Measures:
            name = f"{next(numbers)}.webm"
            shutil.copyfile(sound, here / name)
            return {"s": until(lambda: _is_same(sound, there / name), "the file to be there")}

        copy()  # when they have met
        yield {US: record, SYNCTHING: copy}


def _syncthing(hosts: list[Host], directory: Path) -> list[Path]:
    """Start Syncthing on both machines and give the folder of each; all that is set is who they are, and the folder."""
    homes = [directory / f"syncthing {host.address}" for host in hosts]
    devices = ""
    for home in homes:
        run(["syncthing", "generate", f"--home={home}", "--no-default-folder"], {**os.environ, "HOME": str(home)})
        config = (home / "config.xml").read_text()
        (name,) = set(re.findall(r'<device id="(\S{63})"', config))
        devices += f'<device id="{name}"/>'
    for host, home in zip(hosts, homes, strict=True):
        (home / "memos" / ".stfolder").mkdir(parents=True)
        folder = f'<folder id="memos" path="{home / "memos"}" {WATCHED}>{devices}</folder>'
        config = re.sub(r"(?s)    <device id=.*?</device>\n", "", (home / "config.xml").read_text(), count=1)
        known = devices.replace("/>", "><address>dynamic</address></device>")
        (home / "config.xml").write_text(re.sub("(<configuration[^>]*>)", rf"\1{folder}{known}", config, count=1))
        log = (home / "log").open("w")
        command = ["syncthing", "serve", f"--home={home}", "--no-browser", "--no-restart"]
        host.start(*command, stdout=log, stderr=log, env={**os.environ, "HOME": str(home)})
    return [home / "memos" for home in homes]


def _is_same(one: Path, other: Path) -> bool:
    return other.exists() and filecmp.cmp(one, other, shallow=False)


ROWS = [
    Row(
        "sync-200k",
        "200 KB recorded on one machine of a LAN until on the other",
        recording,
        [Bar("s", 1), Bar("s", 8, faster_than=SYNCTHING)],
        repeat=7,
        quick=2,
    )
]
