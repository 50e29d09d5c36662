"""Hostile WebSocket trackers, and hostile peers in browsers: to who seeds, and to who fetches, they are log lines."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import wstracker
from browser import Chromium, Tab
from conftest import Program, memos
from hostile.target import steering
from netns import Host, Network, noise, wait_until

from memosync.errors import SwarmError
from memosync.seeder import SeederState, read_state

TRACKERS = [mode for mode in wstracker.MODES if mode != "answer"]
ENEMY = Path(__file__).with_name("hostile") / "enemy.js"
ATTACKS = re.findall(r"^  '?([a-z0-9GB ]+?)'?: (?:async )?\(?[a-z, ]*\)? =>", ENEMY.read_text("utf-8"), re.MULTILINE)
DEADLINE = 20  # seconds, with other tests beside it
MEMORY = 250_000  # kilobytes at the worst: an ordinary seeder has 50,000
LINES = 100  # of the log
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S.{0,400}")


class Ground:
    """A seeder with a memo on one machine, trackers on another, and two more for browsers, one of them the enemy's."""

    def __init__(self, directory: Path, network: Network, chromium: Callable[[Host], Chromium]) -> None:
        self.middle, home, self.away, self.other = network.hosts
        self.chromium = chromium
        self.tracker = self.middle.websocket_tracker()
        self.home = home.program(directory / "home" / "Memos")
        self.fetching = self.away.program(directory / "away" / "Memos")
        self.home("record", noise(directory / "noise.webm", 5, "-c:a", "libopus", "-b:a", "256k", "-vbr", "off"))
        [memo] = memos(self.home)
        self.sha256 = hashlib.sha256(Path(memo["path"]).read_bytes()).hexdigest()
        self.file = Path(memo["path"])

    def share(self, *trackers: str) -> tuple[str, SeederState]:
        """Share the memo by these trackers; give the link and what the seeder is."""
        options = [option for tracker in trackers for option in ("--tracker", tracker)]
        link = self.home("share", "last", *options).out.strip()
        return link, _state(self.home)

    def unharmed(self, before: SeederState) -> None:
        """Insist that the seeder is the same process, of ordinary size, and that its log is a log."""
        now = _state(self.home)

        assert (before.pid, before.port) == (now.pid, now.port)
        peak = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{now.pid}/status").read_text())
        assert peak
        assert int(peak[1]) < MEMORY
        log = (self.home.library / ".memosync/seeder.log").read_text("utf-8")
        assert not steering(log)
        assert [] == [line for line in log.splitlines() if not LINE.fullmatch(line)]
        assert len(log.splitlines()) < LINES, log


def _state(program: Program) -> SeederState:
    state = read_state(program.library / ".memosync")
    assert state, "the seeder has died"
    return state


@pytest.fixture
def ground(tmp_path: Path, chromium: Callable[[Host], Chromium]) -> Iterator[Ground]:
    with Network(4, route=True, multicast=False) as network:
        yield Ground(tmp_path, network, chromium)


def enemies(ground: Ground, infohash: str, names: list[str]) -> Tab:
    """Let a tab attack whoever is in a swarm."""
    tab = ground.chromium(ground.other).open()
    tab.page.add_script_tag(path=ENEMY)
    tab.run(
        "([tracker, infohash, names]) => enemy.begin(tracker, infohash, names)", [ground.tracker.url, infohash, names]
    )
    return tab


@pytest.mark.parametrize("mode", TRACKERS)
def test_a_hostile_tracker_keeps_nobody_from_a_seeder(ground: Ground, mode: str) -> None:
    hostile = ground.middle.websocket_tracker(mode)
    link, before = ground.share(hostile.url, ground.tracker.url)
    if mode not in ("silent", "refused"):
        wait_until(hostile.announces, DEADLINE, "the hostile tracker to be asked")
    good = link.replace(hostile.url.replace(":", "%3A").replace("/", "%2F"), ground.tracker.url)

    arrived = ground.chromium(ground.other).open(magnet=good).arrived(DEADLINE)

    assert ground.sha256 == arrived.sha256
    ground.unharmed(before)


def test_hostile_trackers_keep_no_fetch_from_who_is_met_by_a_good_one(ground: Ground) -> None:
    hostile = [ground.middle.websocket_tracker(mode) for mode in TRACKERS]
    seeded = ground.chromium(ground.other).open().seed(ground.file, "A memo.webm", ground.tracker.url)

    ground.fetching("fetch", seeded.magnet + "".join(f"&tr={tracker.url}" for tracker in hostile), timeout=DEADLINE)

    [memo] = memos(ground.fetching)
    assert ground.sha256 == hashlib.sha256(Path(memo["path"]).read_bytes()).hexdigest()


def test_hostile_trackers_alone_are_no_source(ground: Ground) -> None:
    hostile = [ground.middle.websocket_tracker(mode) for mode in TRACKERS]
    link = f"magnet:?xt=urn:btih:{'ab' * 20}" + "".join(f"&tr={tracker.url}" for tracker in hostile)

    result = ground.fetching("fetch", link, "--timeout", "3s", code=SwarmError.exit_code, timeout=DEADLINE)

    assert "" == result.out
    assert not steering(result.err)
    assert "Traceback" not in result.err


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_browser_keeps_nobody_from_a_seeder(ground: Ground, attack: str) -> None:
    link, before = ground.share(ground.tracker.url)
    tab = enemies(ground, _state_infohash(link), [attack])

    wait_until(lambda: tab.run("() => enemy.made")[attack] > 0, DEADLINE, "the attack")
    arrived = ground.chromium(ground.away).open(magnet=link).arrived(DEADLINE)

    assert ground.sha256 == arrived.sha256
    ground.unharmed(before)


def _state_infohash(link: str) -> str:
    found = re.search(r"urn:btih:([0-9a-f]{40})", link)
    assert found
    return found[1]


def test_hostile_browsers_keep_no_fetch_from_an_honest_one(ground: Ground) -> None:
    honest = ground.chromium(ground.away).open().seed(ground.file, "A memo.webm", ground.tracker.url)
    tab = enemies(ground, honest.infohash, ATTACKS)

    ground.home("fetch", honest.magnet, timeout=DEADLINE)

    [memo] = [memo for memo in memos(ground.home) if memo["infohash"] == honest.infohash]
    assert ground.sha256 == hashlib.sha256(Path(memo["path"]).read_bytes()).hexdigest()
    assert tab.run("() => Object.keys(enemy.made).length"), "nobody attacked"
