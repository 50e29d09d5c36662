"""Seeders of several devices in memory, by a clock of their own; what is a model here is that of `proof/talk`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from proof import talk

from memosync.errors import MemosyncError
from memosync.library import heads
from memosync.library.store import Library
from memosync.magnet import InfoHash
from memosync.network import Network
from memosync.seeder import forms, hearing, pointing, sync
from memosync.stop import Stop


class Wire:
    """Devices that hear each other at once, and have what the others serve."""

    def __init__(self, *libraries: Library) -> None:
        self.now = 1000.0
        self.libraries = list(libraries)
        self.meetings: dict[int, Any] = {}  # by the number of a library
        self.seeders: dict[int, sync.Sync] = {}
        self.log: list[str] = []

    def near(self, device: Any) -> list[Any]:
        return [each for number, each in self.meetings.items() if number != device.number]

    def fails(self, _chance: float) -> bool:
        return False

    def ask(self, device: Any, infohash: InfoHash) -> bytes | None:
        """Give what another device serves, if that is what it says."""
        for other in self.near(device):
            torrent = other.exchange.torrents.get(infohash)
            if torrent and torrent.is_here and (data := self.content(torrent.path, infohash)) is not None:
                return data
        return None

    def content(self, path: Path, infohash: InfoHash) -> bytes | None:
        """Read a file, if it is what the torrent of this infohash describes."""
        data = path.read_bytes() if path.exists() else b""
        return data if heads.describe(data).infohash == infohash else None

    @contextmanager
    def on(self, number: int) -> Iterator[None]:
        """Have a seeder's clock and wires be those of a device."""

        def meeting(*_: Any, keep: bytes, device: str, **_more: Any) -> Any:
            return talk._Meeting(self, SimpleNamespace(number=number), keep, device)  # type: ignore[arg-type]

        clock = SimpleNamespace(monotonic=lambda: self.now)
        with ExitStack() as stack:
            for module in (sync, hearing, pointing, forms):
                stack.enter_context(patch.object(module, "time", clock))
            stack.enter_context(patch.object(sync, "Meeting", meeting))
            yield

    def seeder(self, number: int) -> sync.Sync:
        if number not in self.seeders:
            root = self.libraries[number].root
            self.seeders[number] = sync.Sync(root, Network.LOOPBACK, up=0, down=0, log=self.log.append)
        return self.seeders[number]

    def go(self, seconds: float, *, step: float = 0.25) -> None:
        """Let all of them go on for so long."""
        end = self.now + seconds
        while self.now < end:
            self.now += step
            for number in range(len(self.libraries)):
                seeder = self.seeder(number)
                with self.on(number):
                    try:
                        seeder._turn(_Never())
                    except (MemosyncError, OSError) as error:  # as its thread does
                        self.log.append(str(error))
                        seeder._seen = (0, 0, 0)

    def is_even(self) -> bool:
        return all(len(each.state.even) == len(self.libraries) - 1 for each in self.seeders.values())


class _Never(Stop):
    def wait(self, timeout: float | None = None, *others: int) -> bool:
        return False


def has(library: Library, title: str) -> bool:
    """Tell whether a memo of that title is in a library, with its file."""
    return any(
        memo.title == title and library.path(memo).exists() for memo in Library(Path(library.root)).index().memos
    )
