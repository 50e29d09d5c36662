"""Tabs behind one address, and a seeder on another machine that serves them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.browser import Chromium, Tab
from support.netns import Network
from support.seeder import state
from support.sound import noise
from support.waiting import wait_until

ALONE = """() => {
    const watch = peer.watch
    peer.watch = function (torrent) {
        torrent.on('wire', wire => { if (!wire.peerId.startsWith('2d4c54')) wire.destroy() })
        return watch.call(this, torrent)
    }
}"""  # a tab that has nothing to do with other tabs: only with -LT, which is libtorrent


class Crowd:
    """A memo that is shared on one machine, and a browser on another."""

    def __init__(self, network: Network, chromium: Callable[..., Chromium], directory: Path) -> None:
        home, self.away, *_ = network.hosts
        self.tracker = home.websocket_tracker()
        self.library = home.program(directory / "home" / "Memos", "public")
        self.library.environment["MEMOSYNC_STUN"] = ""
        self.chromium = chromium
        self.directory = directory

    def share(self, size: int) -> str:
        """Share a memo of about so many bytes."""
        rate = "500k" if size > 1_000_000 else "64k"
        seconds = size * 8 / int(rate.rstrip("k")) / 1000
        options = ["-ac", "2", "-c:a", "libopus", "-b:a", rate, "-vbr", "off", "-compression_level", "0"]
        self.library("record", noise(self.directory / "noise.webm", seconds, *options))
        link: str = self.library("share", "last", "--public", "--tracker", self.tracker.url).out.strip()
        wait_until(self.tracker.announces, "it to be announced")
        return link

    def tabs(self, number: int) -> list[Tab]:
        """Open tabs behind one address."""
        return [self._browser.open() for _ in range(number)]

    @functools.cached_property
    def _browser(self) -> Chromium:
        return self.chromium(self.away)

    def state(self) -> dict[str, Any]:
        return state(self.library)

    def takes(self) -> tuple[float, int, int]:
        """Give what the seeder has for itself: memory in MB, descriptors, threads."""
        process = Path(f"/proc/{self.state()['pid']}")
        lines = (process / "smaps_rollup").read_text().splitlines()
        memory = next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000
        return memory, len(os.listdir(process / "fd")), len(os.listdir(process / "task"))

    def log(self) -> str:
        return (self.library.library / ".memosync" / "seeder.log").read_text()


@pytest.fixture(name="crowd")
def make_crowd(tmp_path: Path, chromium: Callable[..., Chromium]) -> Iterator[Crowd]:
    with Network(2, route=True, multicast=False) as network:
        yield Crowd(network, chromium, tmp_path)
