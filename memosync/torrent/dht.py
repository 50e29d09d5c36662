"""The DHT (BEP 5) of a session: its bootstrap when there was no network at first, and its rest while nobody needs it.

libtorrent 2.1.1 looks for its first nodes once, when the session opens: a seeder that was started before the network
was up would never be found in the DHT.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

from .session import nodes_of

if TYPE_CHECKING:
    import libtorrent as lt

ASK_EVERY = 1.0  # seconds between two looks at the number of nodes, while there is none
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0  # seconds between two bootstraps: at first, and after many in vain
MOST_NODES = 20  # that are kept in mind while the DHT rests
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
        self._may_be_on = bool(session.get_settings()["enable_dht"])
        self._next_look = self._began if self._may_be_on else math.inf
        self._is_resting = False
        self._nodes: list[tuple[str, int]] = []  # whom the DHT had when it went to rest

    def poll(self) -> None:
        """Ask the session for its statistics when it is time; `handle_nodes` gets the number of nodes from them."""
        if time.monotonic() > self._next_look:
            self._next_look = time.monotonic() + ASK_EVERY
            self._session.post_session_stats()

    def rest(self, is_resting: bool) -> None:
        """Leave the DHT, or come back to the nodes that were known when it was left."""
        if not self._may_be_on or is_resting is self._is_resting:
            return
        self._is_resting = is_resting
        if is_resting:
            self._nodes = nodes_of(self._session)[:MOST_NODES]
            self._next_look = math.inf
        self._session.apply_settings({"enable_dht": not is_resting})
        if not is_resting:
            for node in self._nodes:
                self._session.add_dht_node(node)
            self._began = self._next_look = time.monotonic()
            self._pause, self._repeated = FIRST_PAUSE, True

    def handle_nodes(self, nodes: int, handles: Iterable[lt.torrent_handle]) -> None:
        """Bootstrap again when there have been no nodes for too long; announce the torrents when that has succeeded."""
        now = time.monotonic()
        if self._is_resting:  # what was asked for before that comes now
            return
        if nodes:
            for handle in islice(handles, MOST_AT_ONCE if self._repeated else 0):
                handle.force_dht_announce()
            self._began, self._pause, self._repeated = now, FIRST_PAUSE, False
            self._next_look = now + LONGEST_PAUSE
        elif now > self._began + self._pause:
            self._began, self._pause, self._repeated = now, min(2 * self._pause, LONGEST_PAUSE), True
            self._session.apply_settings({"enable_dht": False})
            self._session.apply_settings({"enable_dht": True})
