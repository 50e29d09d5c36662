"""Meeting browsers: a tab that fetches from memosync, and memosync that fetches from a tab, beside two tabs.

Everybody has a machine of its own, on a switch that leads nowhere, with a WebSocket tracker as the only place to meet.
What the tracker sees, from the opening of a WebSocket to the announce that all is there, is measured the same way for
both; the seconds of memosync begin with its process, those of a tab when it opens a link in a browser that runs.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from material import ask, environment, many, memo_of, memosync
from measure import US, Bar, Contestants, Measures, Prepare, Row, cpu, memory, run, wait_until
from playwright.sync_api import Error, sync_playwright
from startup import short_memo

from memosync.seeder.state import read_state
from memosync.torrent.webrtc.browsers import MOST_ANNOUNCED

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from support.browser import Chromium, Tab, browsers
from support.netns import Host, Network
from support.wstracker import Remote, WebSocketTracker

TABS, SWARM = "tab from tab", "s in the swarm"
NAME = "Memo.webm"


@contextmanager
def machines(directory: Path) -> Iterator[tuple[Host, Remote, Chromium, Chromium]]:
    """Give a machine for memosync, a tracker on another, and two browsers on two more."""
    with sync_playwright() as playwright, Network(4, route=True, multicast=False) as network:
        middle, home, *others = network.hosts
        with browsers(playwright, directory) as start:
            first, second = map(start, others)
            yield home, middle.websocket_tracker(), first, second


def _seen(tracker: Remote, before: int) -> Measures:
    """Measure what the tracker saw of who came last, after so many events."""

    def had_it() -> list[float]:
        events = tracker.events[before:]
        came = {event.connection: event.at for event in events if event.kind == "open"}
        ends = [event for event in events if event.event == "completed" or event.kind == "close"]  # a terminal is gone
        return [event.at - came[event.connection] for event in ends if event.connection in came]

    wait_until(had_it, "the tracker to hear that it is there", 10)
    return {SWARM: had_it()[-1]}


def _tab(browser: Chromium, tracker: Remote, magnet: str, digest: str) -> Callable[[], Measures]:
    """Let a new tab open a link, and measure from there until it has the memo."""

    def fetch() -> Measures:
        before = len(tracker.events)
        tab = browser.open(magnet=magnet)
        try:
            arrived = tab.arrived(60)
            seen = _seen(tracker, before)
        except Error as error:
            raise RuntimeError(f"a tab did not fetch: {error.message}") from error
        finally:
            tab.close()
        if arrived.sha256 != digest:
            raise RuntimeError("a tab fetched something else")
        return {"s": arrived.began + arrived.done, **seen}

    return fetch


def tab_fetching(size: int) -> Prepare:
    @contextmanager
    def prepare(directory: Path, quick: bool) -> Iterator[Contestants]:
        """Share a memo, let a tab seed a copy of it under another name, and let tabs fetch either."""
        with machines(directory) as (home, tracker, first, second):
            env = environment_of(directory)
            library = directory / "home"
            ours = [*home.command, *memosync(library)]
            run([*ours, "record", memo_of(size, directory), "-t", "Memo"], env)
            try:
                link = ask(
                    library, "share", "last", "--public", "--tracker", tracker.url, environment=env, under=home.command
                )
                file = next(library.glob("*.webm"))
                digest = hashlib.sha256(file.read_bytes()).hexdigest()
                seeded = first.open().seed(file, "Copy.webm", tracker.url)
                yield {US: _tab(second, tracker, link, digest), TABS: _tab(second, tracker, seeded.magnet, digest)}
            finally:
                run([*ours, "seed", "--stop"], env)

    return prepare


def terminal_fetching(size: int) -> Prepare:
    @contextmanager
    def prepare(directory: Path, quick: bool) -> Iterator[Contestants]:
        """Let a tab seed a memo, and let memosync and other tabs fetch it, memosync with the start of its process."""
        with machines(directory) as (home, tracker, first, second):
            env = environment_of(directory)
            target = directory / "fetched"
            seeder: Tab = first.open()
            seeded = seeder.seed(memo_of(size, directory), NAME, tracker.url)

            def fetch() -> Measures:
                shutil.rmtree(target, ignore_errors=True)
                before = len(tracker.events)
                measures = run([*home.command, *memosync(target, "fetch", seeded.magnet)], env)
                [file] = target.glob("*.webm")
                if hashlib.sha256(file.read_bytes()).hexdigest() != seeded.sha256:
                    raise RuntimeError("memosync fetched something else")
                return {**measures, **_seen(tracker, before)}

            yield {US: fetch, TABS: _tab(second, tracker, seeded.magnet, seeded.sha256)}

    return prepare


def environment_of(directory: Path) -> dict[str, str]:
    return environment(directory) | {"MEMOSYNC_NETWORK": "lan"}


def _row(name: str, work: str, prepare: Prepare, seconds: float, beside: str, repeat: int, quick: int) -> Row:
    return Row(name, work, prepare, [Bar("s", seconds), Bar(beside, 1, times=TABS)], repeat, quick)


def seeding_for_tabs(number: int) -> Prepare:
    @contextmanager
    def prepare(directory: Path, quick: bool) -> Iterator[Contestants]:
        """Start the seeder on a library that shares so many memos at a WebSocket tracker, and watch it idle."""
        env, library = environment(directory), directory / "Memos"
        with WebSocketTracker() as tracker:
            many(library, number, short_memo(directory), tracker=tracker.url)

            def ours() -> Measures:
                tracker.events.clear()
                ready = run(memosync(library, "seed", "--detach"), env)["s"]
                try:
                    state = read_state(library / ".memosync")
                    assert state
                    wait_until(lambda: len(tracker.infohashes()) >= min(number, MOST_ANNOUNCED), "announces", 60)
                    time.sleep(12)  # offers that nobody took are let go of
                    before, began = cpu(state.pid), time.monotonic()
                    time.sleep(4 if quick else 20)
                    idle = 100 * (cpu(state.pid) - before) / (time.monotonic() - began)
                    announced, sockets = len(tracker.infohashes()), tracker.open
                    found = {"announced": announced, "WebSockets": sockets}
                    return {"s until ready": ready, **memory(state.pid), "% CPU idle": idle, **found}
                finally:
                    run(memosync(library, "seed", "--stop"), env)

            yield {US: ours}

    return prepare


def _crowd_row(number: int, *bars: Bar) -> Row:
    bounds = [Bar("WebSockets", 1), Bar("announced", MOST_ANNOUNCED), *bars]
    work = f"seeder with {number:,} memos for tabs"
    return Row(f"seed-for-tabs-{number}", work, seeding_for_tabs(number), bounds, repeat=3)


ROWS = [
    _row("tab-200k", "200 KB from memosync in a tab", tab_fetching(200_000), 1, "s", 11, 3),
    _row("tab-20m", "20 MB from memosync in a tab", tab_fetching(20_000_000), 5, "s", 5, 1),
    _row("terminal-200k", "fetch of 200 KB from a tab", terminal_fetching(200_000), 1.5, SWARM, 11, 3),
    _row("terminal-20m", "fetch of 20 MB from a tab", terminal_fetching(20_000_000), 5, "s", 5, 1),
    _crowd_row(1_000, Bar("s until ready", 5), Bar("PSS MB", 120), Bar("% CPU idle", 2)),
    _crowd_row(10_000),
]
