"""Hostile WebSocket trackers, and hostile peers in browsers: to who seeds, and to who fetches, they are log lines."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from support import hostile, wstracker
from support.browser import Chromium, Tab
from support.hostile.target import steering
from support.library import memos
from support.netns import Host, Network
from support.program import Program
from support.sound import noise
from support.waiting import wait_until

from memosync.errors import SwarmError
from memosync.seeder.state import SeederState, read_state

TRACKERS = [mode for mode in wstracker.MODES if mode != "answer"]
DEAF = ("silent", "refused")  # who of them hear nothing
ENEMY = Path(hostile.__file__).with_name("enemy.js")
ATTACKS = (  # what the enemy knows
    *("garbage", "text", "empty", "large", "silence", "another swarm", "a message of 4 GB", "nested extensions"),
    *("a size of metadata", "requests", "what nobody asked for", "hanging up"),
)
DEADLINE = 60  # seconds, with other tests beside it
MEMORY = 250_000  # kilobytes at the worst: an ordinary seeder has 50,000
LINES = 100  # of the log
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S.{0,400}")


class Ground:
    """A memo on one machine, trackers on another, and two more for browsers."""

    def __init__(self, directory: Path, network: Network, chromium: Callable[[Host], Chromium]) -> None:
        self.middle, home, self.there, self.elsewhere = network.hosts
        self.chromium = chromium
        self.tracker = self.middle.websocket_tracker()
        self.home = home.program(directory / "home" / "Memos", "public")
        self.home.environment["MEMOSYNC_STUN"] = ""
        self.home("record", noise(directory / "noise.webm", 5, "-c:a", "libopus", "-b:a", "256k", "-vbr", "off"))
        [memo] = memos(self.home)
        self.file = Path(memo["path"])
        self.sha256 = sha256(self.file)

    def hostile_trackers(self) -> list[wstracker.Remote]:
        return [self.middle.websocket_tracker(mode) for mode in TRACKERS]

    def enemy(self) -> Tab:
        """Open a tab that knows all attacks."""
        tab = self.chromium(self.elsewhere).open()
        tab.page.add_script_tag(path=ENEMY)

        assert set(ATTACKS) == set(tab.run("() => enemy.names"))
        return tab

    def attack(self, enemy: Tab, name: str, infohash: str) -> None:
        """Attack whoever is in a swarm."""
        enemy.run("attack => enemy.attack(...attack)", [name, self.tracker.url, infohash])

    def share(self, trackers: Sequence[wstracker.Remote]) -> tuple[str, SeederState]:
        """Share the memo by these trackers; give its infohash, and what the seeder is."""
        self.home(
            "share", "last", "--public", *(option for tracker in trackers for option in ("--tracker", tracker.url))
        )
        [memo] = memos(self.home)
        return memo["infohash"], state(self.home)

    def is_served(self, infohash: str) -> None:
        """Insist that an honest tab gets the memo."""
        magnet = f"magnet:?xt=urn:btih:{infohash}&tr={self.tracker.url}"

        assert self.sha256 == self.chromium(self.there).open(magnet=magnet).arrived(DEADLINE).sha256

    def unharmed(self, before: SeederState) -> None:
        """Insist that the seeder is the same process, never grew, and has written a log of few and decent lines."""
        now = state(self.home)
        peak = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{now.pid}/status").read_text())
        log = (self.home.library / ".memosync/seeder.log").read_text("utf-8")

        assert (before.pid, before.port) == (now.pid, now.port), log
        assert peak
        assert int(peak[1]) < MEMORY
        assert not steering(log)
        assert [] == [line for line in log.splitlines() if not LINE.fullmatch(line)]
        assert len(log.splitlines()) < LINES, log


def sha256(file: str | Path) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def state(program: Program) -> SeederState:
    state = read_state(program.library / ".memosync")
    assert state, "the seeder has died"
    return state


@pytest.fixture
def ground(tmp_path: Path, chromium: Callable[[Host], Chromium]) -> Iterator[Ground]:
    with Network(4, route=True, multicast=False) as network:
        yield Ground(tmp_path, network, chromium)


def test_hostile_trackers_keep_nobody_from_a_seeder(ground: Ground) -> None:
    hostile = ground.hostile_trackers()
    infohash, before = ground.share([*hostile, ground.tracker])

    asked = [tracker for tracker, mode in zip(hostile, TRACKERS, strict=True) if mode not in DEAF]
    wait_until(lambda: all(tracker.announces() for tracker in asked), "the hostile trackers to be asked", DEADLINE)

    ground.is_served(infohash)
    ground.unharmed(before)


def test_hostile_trackers_keep_no_fetch_from_who_is_met_by_a_good_one(ground: Ground) -> None:
    seeded = ground.chromium(ground.there).open().seed(ground.file, "A memo.webm", ground.tracker.url)
    link = seeded.magnet + "".join(f"&tr={tracker.url}" for tracker in ground.hostile_trackers())

    ground.home("fetch", link, timeout=DEADLINE)

    [path] = [memo["path"] for memo in memos(ground.home) if memo["infohash"] == seeded.infohash]
    assert ground.sha256 == sha256(path)


def test_hostile_trackers_alone_are_no_source(ground: Ground) -> None:
    link = f"magnet:?xt=urn:btih:{'ab' * 20}" + "".join(f"&tr={tracker.url}" for tracker in ground.hostile_trackers())

    result = ground.home("fetch", link, "--timeout", "3s", code=SwarmError.exit_code, timeout=DEADLINE)

    assert "" == result.out
    assert not steering(result.err)
    assert "Traceback" not in result.err


def test_hostile_browsers_keep_nobody_from_a_seeder(ground: Ground) -> None:
    infohash, before = ground.share([ground.tracker])
    enemy = ground.enemy()

    for name in ATTACKS:
        ground.attack(enemy, name, infohash)
        told = functools.partial(lambda name: f"{name}: {enemy.run('() => [enemy.made, enemy.left]')}", name)
        enemy.wait_until("enemy.over(argument)", told, DEADLINE, name)
        enemy.run("() => enemy.leave()")
        ground.unharmed(before)

    ground.is_served(infohash)
    ground.unharmed(before)


def test_hostile_browsers_keep_no_fetch_from_an_honest_one(ground: Ground) -> None:
    seeded = ground.chromium(ground.there).open().seed(ground.file, "A memo.webm", ground.tracker.url)
    enemy = ground.enemy()
    for name in ATTACKS:
        ground.attack(enemy, name, seeded.infohash)
    wait_until(
        lambda: len(ground.tracker.announces(seeded.infohash)) > len(ATTACKS), "the enemies in the swarm", DEADLINE
    )
    enemy.wait_until("Object.keys(enemy.made).length", "one of them to attack", DEADLINE)

    ground.home("fetch", seeded.magnet, timeout=DEADLINE)

    [path] = [memo["path"] for memo in memos(ground.home) if memo["infohash"] == seeded.infohash]
    assert ground.sha256 == sha256(path)
