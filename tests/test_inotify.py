"""What the kernel tells of changed directories: whoever serves need not look all the time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from memosync.seeder.inotify import Changes
from memosync.stop import Stop


def replace(directory: Path) -> None:
    (directory.parent / "new").write_text("new")
    os.replace(directory.parent / "new", directory / "index.toml")


@pytest.mark.parametrize(
    "change",
    [
        replace,
        lambda directory: (directory / "index.toml").write_text("new"),
        lambda directory: (directory / "index.toml").unlink(),
    ],
    ids=["replaced", "written", "removed"],
)
def test_a_change_ends_the_wait(tmp_path: Path, change: Callable[[Path], object]) -> None:
    directory = tmp_path / "Memos"
    directory.mkdir()
    (directory / "index.toml").write_text("old")
    changes = Changes(directory, tmp_path / "not-there")
    threading.Timer(0.05, change, [directory]).start()
    began = time.monotonic()

    changes.wait(Stop(), 60)
    changes.close()

    assert time.monotonic() - began < 30


def test_a_signal_ends_the_wait(tmp_path: Path) -> None:
    stop, began = Stop(), time.monotonic()
    threading.Timer(0.05, stop.set).start()

    Changes(tmp_path).wait(stop, 60)

    assert time.monotonic() - began < 30
