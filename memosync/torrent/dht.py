"""The way into the DHT (BEP 5) for a session that began without a network.

libtorrent 2.1.1 looks for its first nodes once, when it begins: a seeder that was started before the network was up
would never be found there.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import islice
from typing import Any

LOOK_EVERY = 1.0  # seconds, while no node answers
FIRST, LAST = 5.0, 60.0  # seconds until it is begun anew, the first time and in the end
MOST_AT_ONCE = 50  # torrents that are announced the moment it has come in; the others wait for their turn


class Rejoining:
    """Begin anew while no node answers, and announce what is served when one does."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._begun = time.monotonic()
        self._pause = FIRST
        self._again = False
        # it does not run before the first nodes' names were looked up, which may take long
        self._next = self._begun if session.get_settings()["enable_dht"] else float("inf")

    def look(self) -> None:
        """Ask for the session's statistics when it is time."""
        if time.monotonic() > self._next:
            self._next = time.monotonic() + LOOK_EVERY
            self._session.post_session_stats()

    def hear(self, nodes: int, handles: Iterable[Any]) -> None:
        """Act on how many nodes are known."""
        now = time.monotonic()
        if nodes:
            for handle in islice(handles, MOST_AT_ONCE if self._again else 0):
                handle.force_dht_announce()
            self._begun, self._pause, self._again, self._next = now, FIRST, False, now + LAST
        elif now > self._begun + self._pause:
            self._begun, self._pause, self._again = now, min(2 * self._pause, LAST), True
            for wanted in (False, True):
                self._session.apply_settings({"enable_dht": wanted})
