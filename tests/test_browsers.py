"""With browsers: Chromium with WebTorrent as it comes, when there is only a WebSocket tracker to meet at."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import Chromium
from netns import Host, Network


@pytest.fixture
def network() -> Iterator[Network]:
    with Network(3, route=True) as network:
        yield network


def test_two_tabs_fetch_from_each_other(network: Network, chromium: Callable[[Host], Chromium], tmp_path: Path) -> None:
    tracker = network.hosts[0].websocket_tracker()
    file = tmp_path / "bytes"
    file.write_bytes(os.urandom(200_000))
    browser = chromium(network.hosts[1])

    seeded = browser.open().seed(file, "Some bytes.webm", tracker.url)
    arrived = browser.open().fetch(seeded.magnet)

    assert hashlib.sha256(file.read_bytes()).hexdigest() == seeded.sha256 == arrived.sha256
