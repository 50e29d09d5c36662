"""Fixtures every test may use: a library of its own, and the program as a user runs it."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import vmic
from disk import SmallDisk

if TYPE_CHECKING:
    from browser import Chromium
    from playwright.sync_api import Playwright

hypothesis.settings.register_profile("busy", deadline=None)  # how long an example takes says more of the machine
hypothesis.settings.load_profile("busy")
for ignored in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):  # as a shell has its jobs in the background do
    if signal.getsignal(ignored) is signal.SIG_IGN:  # so would what is tested
        signal.signal(ignored, signal.default_int_handler if ignored is signal.SIGINT else signal.SIG_DFL)
PROGRAM = [sys.executable, "-m", "memosync"]
_SEED = 20260825


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="torture: everything instead of a sample")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests give, and what chance began with in one that failed."""
    for report in terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", []):
        for name, line in report.user_properties:
            if report.failed or (name == "figure" and terminalreporter.config.getoption("--long")):
                terminalreporter.write_line(f"{report.duration:6.0f} s  {line}")


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


@dataclasses.dataclass(frozen=True)
class Result:
    """What a finished run left: everything a script could see of it."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Program:
    """Run memosync in a child process on one library, on loopback only."""

    def __init__(self, library: Path, environment: Mapping[str, str]) -> None:
        self.library = library
        self.under: list[str] = []  # another command that runs it
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MEMOSYNC_")},
            "MEMOSYNC_LIBRARY": str(library),
            "MEMOSYNC_NETWORK": "loopback",
            "XDG_RUNTIME_DIR": str(library.parent),  # else whoever asks for a microphone leaves a directory in /tmp
            **environment,
        }

    def on(self, library: Path) -> Program:
        """Give the same program on another library."""
        return Program(library, {"HOME": self.environment["HOME"]})

    def meddle(self, code: str) -> None:
        """Run this first in every interpreter of the program: a fault that cannot be had otherwise."""
        place = self.library.with_name("meddled")
        place.mkdir()
        (place / "sitecustomize.py").write_text(code)
        before = self.environment.get("PYTHONPATH")
        self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(place), before]))

    def start(self, *arguments: object, **options: Any) -> subprocess.Popen[Any]:
        """Start it and return at once; standard streams are pipes unless told otherwise."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        environment = {**self.environment, **options.pop("env", {})}
        return subprocess.Popen([*self.under, *PROGRAM, *map(str, arguments)], env=environment, **options)

    def __call__(
        self,
        *arguments: object,
        code: int = 0,
        stdin: str | bytes = b"",
        timeout: float = 60,
        env: Mapping[str, str] = {},
    ) -> Result:
        """Run it to its end and insist on its exit code."""
        process = self.start(*arguments, stdin=subprocess.PIPE, env=env)
        data = stdin.encode() if isinstance(stdin, str) else stdin
        try:
            out, err = process.communicate(data, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"{arguments} did not end in {timeout} s: {out!r} {err!r}")
        result = Result(process.returncode, out.decode(), err.decode())

        assert code == result.code, f"{arguments}: {result.out}{result.err}"
        return result


def memos(memosync: Program) -> list[dict[str, Any]]:
    """Give what `list` lists."""
    return [json.loads(line) for line in memosync("list", "--json").lines]


@pytest.fixture
def memosync(tmp_path: Path) -> Iterator[Program]:
    """The program on a fresh library; a seeder it left behind is stopped."""
    home = tmp_path / "home"
    home.mkdir()
    program = Program(tmp_path / "Memos", {"HOME": str(home)})
    yield program
    for lock in tmp_path.glob("*/.memosync/seeder.lock"):
        program.on(lock.parent.parent).start("seed", "--stop").wait(60)


@pytest.fixture
def ended() -> Iterator[Callable[[subprocess.Popen[Any]], subprocess.Popen[Any]]]:
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
def microphone(memosync: Program) -> Iterator[vmic.Microphone]:
    """A microphone that hears the signal, and that the program finds."""
    with vmic.plugged_in() as device:
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
    from browser import browsers

    with browsers(playwright, tmp_path) as start:
        yield start
