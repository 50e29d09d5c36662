"""What the kernel tells of changed directories: whoever serves need not look all the time."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memosync.seeder.inotify import Changes
from memosync.stop import Stop

LONG = 30.0  # seconds that nobody waits who hears anything


def replace(directory: Path) -> None:
    (directory.parent / "new").write_text("new")
    os.replace(directory.parent / "new", directory / "index.toml")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "Memos"
    directory.mkdir()
    (directory / "index.toml").write_text("old")
    return directory


@pytest.fixture
def changes(directory: Path, tmp_path: Path) -> Iterator[Changes]:
    changes = Changes(tmp_path / "not-there", directory)
    yield changes
    changes.close()


def seconds(wait: Callable[[], object]) -> float:
    began = time.monotonic()
    wait()
    return time.monotonic() - began


@pytest.mark.parametrize(
    "change",
    [
        replace,
        lambda directory: (directory / "index.toml").write_text("new"),
        lambda directory: (directory / "index.toml").unlink(),
        lambda directory: (directory / "index.toml").rename(directory.parent / "away"),
    ],
    ids=["replaced", "written", "removed", "moved away"],
)
def test_a_change_ends_the_wait_and_only_one(
    directory: Path, changes: Changes, change: Callable[[Path], object]
) -> None:
    threading.Timer(0.05, change, [directory]).start()

    assert seconds(lambda: changes.wait(Stop(), LONG)) < LONG / 2
    assert seconds(lambda: changes.wait(Stop(), 0.2)) >= 0.2


def test_without_a_change_it_waits_as_long_as_it_was_told(changes: Changes) -> None:
    assert seconds(lambda: changes.wait(Stop(), 0.2)) >= 0.2


def test_a_signal_ends_the_wait(changes: Changes) -> None:
    stop = Stop()
    threading.Timer(0.05, stop.set).start()

    assert seconds(lambda: changes.wait(stop, LONG)) < LONG / 2


@pytest.mark.parametrize("kernel", ["has none", "has no more"])
def test_where_the_kernel_tells_nothing_it_is_a_short_pause(
    directory: Path, monkeypatch: pytest.MonkeyPatch, kernel: str
) -> None:
    class Library:
        if kernel == "has no more":
            inotify_init1 = staticmethod(lambda _flags: -1)
            inotify_add_watch = staticmethod(lambda *_: -1)

    monkeypatch.setattr(ctypes, "CDLL", lambda _name: Library())
    changes = Changes(directory)

    assert 0.1 <= seconds(lambda: changes.wait(Stop(), LONG)) < LONG / 2
    changes.close()


def test_nothing_stays_open_behind_it(directory: Path) -> None:
    before = os.listdir("/proc/self/fd")

    Changes(directory).close()

    assert os.listdir("/proc/self/fd") == before
