"""Fixtures every test may use: a library of its own, and the program as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from support import vmic
from support.disk import SmallDisk
from support.pairs import join, wait_until_even
from support.program import Ended, Program

if TYPE_CHECKING:
    from playwright.sync_api import Playwright
    from support.browser import Chromium

hypothesis.settings.register_profile("busy", deadline=None)  # how long an example takes says more of the machine
hypothesis.settings.load_profile("busy")
for ignored in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):  # as a shell has its jobs in the background do
    if signal.getsignal(ignored) is signal.SIG_IGN:  # so would what is tested
        signal.signal(ignored, signal.default_int_handler if ignored is signal.SIGINT else signal.SIG_DFL)
_SEED = 20260825


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="torture: everything instead of a sample")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what is marked `long`, more of the same, to the long run."""
    if not config.getoption("--long"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long")])
        items[:] = [item for item in items if not item.get_closest_marker("long")]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests give, and what chance began with in one that failed."""
    for report in terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", []):
        for name, line in report.user_properties:
            if report.failed or (name == "figure" and terminalreporter.config.getoption("--long")):
                terminalreporter.write_line(f"{report.duration:6.0f} s  {line}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Where lines are counted, name the test for which they run, here and in the program: see `make coverage`."""
    if "COVERAGE_PROCESS_START" in os.environ:
        import coverage

        os.environ["COVERAGE_CONTEXT"] = item.nodeid
        measured = coverage.Coverage.current()
        assert measured
        measured.switch_context(item.nodeid)
    return (yield)


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Tell whether this is the long run, `make torture`."""
    return bool(request.config.getoption("--long"))


@pytest.fixture
def seed(long: bool, record_property: Callable[[str, object], None]) -> int:
    """What chance begins with: always the same in the short run, another one every time in the long one."""
    number = int(os.environ.get("SEED") or (time.time_ns() if long else _SEED))
    record_property("seed", f"SEED={number}")
    return number


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Have a line of figures printed at the end of a long run."""
    return lambda line: record_property("figure", line)


@pytest.fixture
def memosync(tmp_path: Path) -> Iterator[Program]:
    """The program on a fresh library; a seeder it left behind is stopped."""
    home = tmp_path / "home"
    home.mkdir()
    program = Program(tmp_path / "Memos", {"HOME": str(home)})
    yield program
    stop_seeders(program)


@pytest.fixture
def pair(memosync: Program, tmp_path: Path) -> tuple[Program, Program]:
    """Two devices in sync that run and know the same."""
    one, other = memosync.on(tmp_path / "One"), memosync.on(tmp_path / "Other")
    join(one, other)
    wait_until_even((one, other))
    return one, other


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, Program]]:
    """Two devices in sync, which the tests of a file have one after the other."""
    place = tmp_path_factory.mktemp("devices")
    (place / "home").mkdir()
    one = Program(place / "One", {"HOME": str(place / "home")})
    join(one, other := one.on(place / "Other"))
    yield one, other
    stop_seeders(one)


@pytest.fixture
def used(devices: tuple[Program, Program]) -> tuple[Program, Program]:
    """The same as `pair`, and sooner: two devices that other tests had before, with whatever these left there."""
    for program in devices:
        program("sync")
    wait_until_even(devices)
    return devices


def stop_seeders(program: Program) -> None:
    """Stop the seeders of all libraries beside a program's."""
    for lock in program.library.parent.glob("*/.memosync/seeder.lock"):
        program.on(lock.parent.parent).run("seed", "--stop")


@pytest.fixture
def ended() -> Iterator[Ended]:
    """Register a process that must not outlive the test."""
    processes: list[subprocess.Popen[Any]] = []

    def register(process: subprocess.Popen[Any]) -> subprocess.Popen[Any]:
        processes.append(process)
        return process

    yield register
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()


@pytest.fixture
def microphone(memosync: Program, request: pytest.FixtureRequest) -> Iterator[vmic.Microphone]:
    """A microphone that hears the signal, and that the program finds; its `sides` may be a parameter."""
    with vmic.plugged_in(getattr(request, "param", (1.0,))) as device:
        memosync.environment.update(device.environment)
        device.play(vmic.signal())
        yield device


@pytest.fixture
def disk(memosync: Program, tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of 8 MB that has the library."""
    disk = SmallDisk(tmp_path / "disk", 8_000_000)
    memosync.environment["MEMOSYNC_LIBRARY"] = str(tmp_path / "disk" / "Memos")
    memosync.library = disk.seen / "Memos"
    memosync.under = disk.under
    yield disk
    if list(disk.seen.rglob("seeder.lock")) or not memosync.library.exists():
        memosync.run("seed", "--stop")
    disk.close()


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """What drives the browsers; it has no browser of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        yield driver


@pytest.fixture
def chromium(playwright: Playwright, tmp_path: Path) -> Iterator[Callable[..., Chromium]]:
    """Start a browser on a host of the test's network, as often as it is called."""
    from support.browser import browsers

    with browsers(playwright, tmp_path) as start:
        yield start
