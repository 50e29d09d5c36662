"""With others: aria2c, Transmission and rtorrent, each as it comes, in swarms with memosync.

Everybody has a machine of its own, on a network without internet: rtorrent and Transmission know one peer an address.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.library import only
from support.netns import Host, Network
from support.program import Program
from support.sound import noise
from support.waiting import wait_until

from memosync import magnet

PROGRAMS = ["aria2c", "rtorrent", "transmission-daemon"]
NAME = "One megabyte.webm"
BYTES = ["-c:a", "libopus", "-b:a", "256k", "-vbr", "off"]  # packets that are only copied
DEADLINE = 60  # seconds for 1 MB


class Swarm:
    """Five machines: the first has a tracker and a memosync with a memo of 1 MB, the others are for whoever comes."""

    def __init__(self, directory: Path, network: Network) -> None:
        self.directory = directory
        self.home, *self.hosts = network.hosts
        self.tracker = self.home.tracker()[1]
        self.library = directory / "home" / "Memos"
        self.memosync = self.home.program(self.library)
        self.memosync("record", noise(directory / "noise.webm", 32, *BYTES), "-t", "One megabyte")
        self.memo = only(self.memosync)
        self.file = Path(str(self.memo["path"]))
        self.size = self.file.stat().st_size

        assert self.size > 1_000_000

    def share(self, *options: str) -> str:
        """Share the memo by way of the UDP tracker and give the link."""
        return self.memosync("share", "last", "--tracker", self.tracker, *options).out.strip()

    def torrent(self) -> Path:
        """Give the .torrent that memosync made, with the tracker written into a copy of it."""
        torrent = self.directory / "memo.torrent"
        [kept] = self.library.glob(".memosync/torrents/*.torrent")
        shutil.copy(kept, torrent)
        subprocess.run(["transmission-edit", "--add", self.tracker, torrent], check=True, stdout=subprocess.PIPE)
        return torrent

    def start(self, program: str, host: Host, downloads: Path, source: str | Path) -> Callable[[], str]:
        """Start another program on a link, or on a .torrent of a file it has; give what it has said so far."""
        look = ["--check-integrity"] if isinstance(source, Path) else []  # else aria2c believes that it has nothing
        commands: dict[str, list[str | Path]] = {
            # on its own it ends, and drops what is under way, once it has sent as much as there is
            "aria2c": ["aria2c", *look, "--seed-ratio=0", f"--dir={downloads}", source],
            "rtorrent": ["rtorrent", "-n", "-d", downloads, "-o", "system.daemon.set=true", source],
            "transmission-daemon": ["transmission-daemon", "--foreground", "--download-dir", downloads],
        }
        downloads.mkdir(parents=True, exist_ok=True)
        home = str(downloads.parent)
        environment = {"HOME": home, "TMPDIR": home, "PATH": os.environ["PATH"]}
        log = downloads.with_suffix(".log")
        with open(log, "wb") as output:
            host.start(*commands[program], env=environment, stdout=output, stderr=output)
        if program == "transmission-daemon":
            add = [*host.command, "transmission-remote", "--add", source]
            wait_until(lambda: not subprocess.run(add, capture_output=True).returncode, "Transmission to listen")
        return lambda: log.read_text(errors="replace")[-2000:]


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[Swarm]:
    with Network(5, route=True) as network:
        yield Swarm(tmp_path, network)


def same(memo: Path, other: Path) -> bool:
    return other.is_file() and memo.read_bytes() == other.read_bytes()


def fetched(program: Program) -> Path:
    """Give the file of the only memo of a library."""
    return Path(only(program)["path"])


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_memosync_shares_another_program_fetches_in_time(swarm: Swarm, program: str) -> None:
    link = swarm.share("--public")
    downloads = swarm.directory / program / "downloads"

    said = swarm.start(program, swarm.hosts[0], downloads, link)

    wait_until(lambda: same(swarm.file, downloads / NAME), said, DEADLINE)


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_another_program_seeds_memosync_fetches_in_time(swarm: Swarm, program: str) -> None:
    link = swarm.share("--public", "--no-seed")
    downloads = swarm.directory / program / "downloads"
    downloads.mkdir(parents=True)
    shutil.copy(swarm.file, downloads / NAME)
    fetching = swarm.hosts[1].program(swarm.directory / "away" / "Memos")

    began = time.monotonic()
    swarm.start(program, swarm.hosts[0], downloads, swarm.torrent())
    fetching("fetch", link, timeout=DEADLINE)

    assert time.monotonic() - began < DEADLINE
    assert same(swarm.file, fetched(fetching))


def test_what_another_program_made_a_torrent_of_memosync_fetches_in_time(swarm: Swarm) -> None:
    downloads = swarm.directory / "transmission" / "downloads"
    downloads.mkdir(parents=True)
    shutil.copy(swarm.file, downloads / "theirs.webm")
    torrent = swarm.directory / "theirs.torrent"
    create: list[str | Path] = [
        "transmission-create",
        "--tracker",
        swarm.tracker,
        "--outfile",
        torrent,
        downloads / "theirs.webm",
    ]
    subprocess.run(create, check=True, stdout=subprocess.PIPE)
    fetching = swarm.hosts[1].program(swarm.directory / "away" / "Memos")

    began = time.monotonic()
    swarm.start("transmission-daemon", swarm.hosts[0], downloads, torrent)
    fetching("fetch", torrent, timeout=DEADLINE)

    assert time.monotonic() - began < DEADLINE
    assert same(swarm.file, fetched(fetching))


def test_all_of_them_fetch_in_one_swarm(swarm: Swarm) -> None:
    link = swarm.share("--public")
    folders = {program: swarm.directory / program / "downloads" for program in PROGRAMS}

    *hosts, last = swarm.hosts
    for (program, downloads), host in zip(folders.items(), hosts, strict=True):
        swarm.start(program, host, downloads, link)
    began = time.monotonic()
    fetching = last.program(swarm.directory / "away" / "Memos")
    fetching("fetch", link, timeout=DEADLINE)

    def missing() -> list[str]:
        return [program for program, downloads in folders.items() if not same(swarm.file, downloads / NAME)]

    wait_until(lambda: not missing(), lambda: f"{missing()}", began + DEADLINE - time.monotonic())
    assert same(swarm.file, fetched(fetching))


def test_a_helper_carries_a_private_memo_that_it_cannot_read(swarm: Swarm) -> None:
    link = swarm.share()
    unread = f"magnet:?xt=urn:btih:{magnet.parse(link).infohash}&tr={swarm.tracker}"
    downloads = swarm.directory / "helper" / "downloads"

    said = swarm.start("aria2c", swarm.hosts[0], downloads, unread)
    [sealed] = swarm.library.glob(".memosync/sealed/*")
    wait_until(lambda: any(same(sealed, file) for file in downloads.iterdir()), said, DEADLINE)
    swarm.memosync("seed", "--stop")
    fetching = swarm.hosts[1].program(swarm.directory / "away" / "Memos")
    fetching("fetch", link, timeout=DEADLINE)

    assert same(swarm.file, fetched(fetching))
    assert b"One megabyte" not in sealed.read_bytes()


def test_three_fetches_of_one_link_get_parts_from_each_other(swarm: Swarm) -> None:
    swarm.memosync("seed", "--detach", "--up", "250k")
    link = swarm.share("--public")
    hosts = swarm.hosts[:3]
    programs = [host.program(swarm.directory / f"away{number}" / "Memos") for number, host in enumerate(hosts)]
    seeder = tomllib.loads((swarm.library / ".memosync" / "seeder.toml").read_text())["pid"]

    os.kill(seeder, signal.SIGSTOP)  # until all of them are there: who comes late finds nobody else
    fetches = [program.start("fetch", link) for program in programs]
    connected = functools.partial(swarm.home.run, "ss", "-Htn", "state", "established")
    wait_until(lambda: all(f"{host.address}:" in connected() for host in hosts), connected, 30)
    os.kill(seeder, signal.SIGCONT)
    codes = [fetch.wait(DEADLINE) for fetch in fetches]

    assert codes == [0, 0, 0], [fetch.stderr.read() for fetch in fetches if fetch.stderr]
    given = json.loads(swarm.memosync("seed", "--status", "--json").out)["given"]
    assert swarm.size <= given < 2.5 * swarm.size
