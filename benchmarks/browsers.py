"""Meeting browsers: a tab that fetches from memosync, and memosync that fetches from a tab, beside two tabs.

Everybody has a machine of its own, on a switch that leads nowhere, with a WebSocket tracker as the only place to meet.
What the tracker sees, from the opening of a WebSocket to the announce that all is there, is measured the same way for
both; the seconds of memosync begin with its process, those of a tab when it opens a link in a browser that runs.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from material import ask, environment, memo_of, memosync
from measure import US, Bar, Contestants, Measures, Prepare, Row, run, wait_until
from playwright.sync_api import Error, sync_playwright

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from browser import Chromium, Tab, browsers
from netns import Host, Network
from wstracker import Remote

TABS, SWARM = "tab from tab", "s in the swarm"
NAME = "Memo.webm"


@contextmanager
def _machines(directory: Path) -> Iterator[tuple[Host, Remote, Chromium, Chromium]]:
    """Give a machine for memosync, a tracker on another, and two browsers on two more."""
    with sync_playwright() as playwright, Network(4, route=True, multicast=False) as network:
        middle, home, *others = network.hosts
        with browsers(playwright, directory) as start:
            first, second = map(start, others)
            yield home, middle.websocket_tracker(), first, second


def _seen(tracker: Remote, before: int) -> Measures:
    """Measure what the tracker saw of who came last, after so many events."""

    def completed() -> list[float]:
        events = tracker.events[before:]
        came = {event.connection: event.at for event in events if event.kind == "open"}
        return [event.at - came[event.connection] for event in events if event.event == "completed"]

    wait_until(completed, "the tracker to hear that it is there", 10)
    return {SWARM: completed()[-1]}


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
        with _machines(directory) as (home, tracker, first, second):
            env = _environment(directory)
            library = directory / "home"
            ours = [*home.command, *memosync(library)]
            run([*ours, "record", memo_of(size, directory), "-t", "Memo"], env)
            try:
                link = ask(library, "share", "last", "--tracker", tracker.url, environment=env, under=home.command)
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
        with _machines(directory) as (home, tracker, first, second):
            env = _environment(directory)
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


def _environment(directory: Path) -> dict[str, str]:
    return environment(directory) | {"MEMOSYNC_NETWORK": "lan"}


def _row(name: str, work: str, prepare: Prepare, seconds: float, beside: str, repeat: int, quick: int) -> Row:
    return Row(name, work, prepare, [Bar("s", seconds), Bar(beside, 1, times=TABS)], repeat, quick)


ROWS = [
    _row("tab-200k", "200 KB from memosync in a tab", tab_fetching(200_000), 1, "s", 11, 3),
    _row("tab-20m", "20 MB from memosync in a tab", tab_fetching(20_000_000), 5, "s", 5, 1),
    _row("terminal-200k", "fetch of 200 KB from a tab", terminal_fetching(200_000), 1.5, SWARM, 11, 3),
    _row("terminal-20m", "fetch of 20 MB from a tab", terminal_fetching(20_000_000), 5, "s", 5, 1),
]
