"""A seeder that tabs behind one address visit and leave in waves, and one that is killed again and again."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Error
from support.browser import Chromium
from support.netns import Network
from support.sound import noise
from support.tabs import ALONE, Crowd, make_crowd  # noqa: F401
from support.waiting import takes_less, wait_until

ENDS = ("goodbye", "close", "crash")


def test_waves_of_tabs_crash_no_seeder_and_cost_it_nothing(
    crowd: Crowd, long: bool, figure: Callable[[str], None]
) -> None:
    link = crowd.share(200_000)
    browser = crowd.chromium(crowd.away)
    pid = crowd.state()["pid"]
    times: list[float] = []
    began, rounds, unserved = time.monotonic(), 0, 0
    first = (0.0, 0, 0)
    while rounds < 2 or time.monotonic() < began + (600 if long else 0):
        tabs = []
        for _ in range((3 if long else 2) + 3 * (rounds % 3 if long else 0)):
            tab = browser.open()
            tabs.append(tab)
            tab.run(ALONE)
            tab.add(link)
            try:
                times.append(tab.arrived(5).done)
            except Error:
                unserved += 1
        for number, tab in enumerate(tabs):  # the oldest first
            end = ENDS[number % 3]
            tab.crash() if end == "crash" else tab.close(goodbye=end == "goodbye")
        rounds += 1
        first = first if rounds > 1 else crowd.takes()
        assert pid == crowd.state()["pid"], crowd.log()

    if long:  # offers that nobody took are let go of
        wait_until(lambda: crowd.takes()[1] < first[1] + 20, "the descriptors to be as few as before", 20)
    last = crowd.takes()
    figure(
        f"{rounds} waves, {len(times) + unserved} tabs, {unserved} not served in 5 s; "
        f"median {statistics.median(times):.2f} s, the slowest {max(times):.2f} s; "
        f"memory {first[0]:.0f} MB and {last[0]:.0f} MB, descriptors {first[1]} and {last[1]}, "
        f"threads {first[2]} and {last[2]}"
    )
    assert 0 == crowd.state()["restarts"]
    assert last[0] < first[0] + 20
    assert last[1] < 300
    assert last[2] <= first[2] + 4
    assert unserved <= len(times) // 50


def test_a_seeder_that_is_killed_is_back_on_its_port_every_time(
    crowd: Crowd, long: bool, figure: Callable[[str], None]
) -> None:
    crowd.share(50_000)
    port, times = crowd.state()["port"], []
    for number in range(100 if long else 3):
        pid = crowd.state()["pid"]
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        wait_until(lambda: (said := crowd.state())["ready"] and said["pid"] != pid, "it to be back", 20)  # noqa: B023
        times.append(time.monotonic() - killed)

        assert (port, number + 1) == (crowd.state()["port"], crowd.state()["restarts"])
    assert f"started again {len(times)} times" in crowd.library("seed", "--status").err
    assert len(times) == crowd.log().count("the seeder died")
    figure(f"{len(times)} kills: back after {statistics.median(times):.2f} s, {max(times):.2f} s at most")
    assert statistics.median(times) < 1 if long else min(times) < 3, times  # seconds; with others beside it all is slow


def test_however_late_somebody_comes_they_meet_at_once(
    crowd: Crowd, long: bool, figure: Callable[[str], None], tmp_path: Path
) -> None:
    link = crowd.share(200_000)
    began = time.monotonic()
    browser = crowd.chromium(crowd.away)
    seeded = browser.open().seed(noise(tmp_path / "tab.wav", 2), "Tab.wav", crowd.tracker.url)
    times = {}
    for late in (0, 30, 90, 300) if long else (0, 2):
        time.sleep(max(0.0, began + late - time.monotonic()))  # being late is what is tried
        tab = browser.open()
        times[late] = tab.fetch(link, timeout=20).done
        tab.close()
    asked = time.monotonic()
    met: list[float] = []

    def meet() -> float:
        before = time.monotonic()
        crowd.library.on(tmp_path / f"Others {len(met)}")("fetch", "--info", seeded.magnet, timeout=20)
        met.append(time.monotonic() - before)
        return met[-1]

    takes_less(5, meet)

    told = ", ".join(f"{late} s after the share {took:.2f} s" for late, took in times.items())
    figure(f"a tab {told}; from a tab that was open for {asked - began:.0f} s the metadata in {met[-1]:.2f} s")
    assert max(times.values()) < 5


def test_tabs_behind_as_many_addresses_are_served_at_once(
    chromium: Callable[..., Chromium], tmp_path: Path, long: bool, figure: Callable[[str], None]
) -> None:
    with Network(21 if long else 4, route=True, multicast=False) as network:
        crowd = Crowd(network, chromium, tmp_path)
        link = crowd.share(200_000)
        tabs = [chromium(host).open() for host in network.hosts[1:]]
        for tab in tabs:
            tab.run(ALONE)

        for tab in tabs:
            tab.add(link)
        times = [tab.arrived(20).done for tab in tabs]

        figure(
            f"{len(tabs)} tabs behind as many addresses: median {statistics.median(times):.2f} s, {max(times):.2f} s"
        )
        assert max(times) < 5
        assert 0 == crowd.state()["restarts"]
