"""The bootstrap of the DHT (BEP 5) for a session that was opened without a network.

libtorrent 2.1.1 looks for its first nodes once, when the session opens: a seeder that was started before the network
was up would never be found in the DHT.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import libtorrent as lt

ASK_EVERY = 1.0  # seconds between two looks at the number of nodes, while there is none
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0  # seconds between two bootstraps: at first, and after many in vain
MOST_AT_ONCE = 50  # torrents that are announced as soon as a late bootstrap succeeds; libtorrent does the others later


class Bootstrap:
    """Bootstrap the DHT again while the session knows no node, and announce the torrents once it knows one."""

    def __init__(self, session: lt.session) -> None:
        """Do nothing in a session whose DHT is off."""
        self._session = session
        self._began = time.monotonic()
        self._pause = FIRST_PAUSE
        self._repeated = False
        # libtorrent's DHT does not run before the names of its first nodes were looked up, which may take long:
        # so whether it is on is asked of the settings
        self._next_look = self._began if session.get_settings()["enable_dht"] else float("inf")

    def poll(self) -> None:
        """Ask the session for its statistics when it is time; `handle_nodes` gets the number of nodes from them."""
        if time.monotonic() > self._next_look:
            self._next_look = time.monotonic() + ASK_EVERY
            self._session.post_session_stats()

    def handle_nodes(self, nodes: int, handles: Iterable[lt.torrent_handle]) -> None:
        """Bootstrap again when there have been no nodes for too long; announce the torrents when that has succeeded."""
        now = time.monotonic()
        if nodes:
            for handle in islice(handles, MOST_AT_ONCE if self._repeated else 0):
                handle.force_dht_announce()
            self._began, self._pause, self._repeated = now, FIRST_PAUSE, False
            self._next_look = now + LONGEST_PAUSE
        elif now > self._began + self._pause:
            self._began, self._pause, self._repeated = now, min(2 * self._pause, LONGEST_PAUSE), True
            self._session.apply_settings({"enable_dht": False})
            self._session.apply_settings({"enable_dht": True})
