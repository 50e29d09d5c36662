"""The DHT (BEP 5) of a session: its bootstrap when there was no network at first, its rest while nobody needs it, and
how often a device says there where it is, and asks who else is.

libtorrent 2.1.1 looks for its first nodes once, when the session opens: a seeder that was started before the network
was up would never be found in the DHT.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

from .session import dht_state, nodes_of

if TYPE_CHECKING:
    import libtorrent as lt

ASK_EVERY = 1.0  # seconds between two looks at the number of nodes, while there is none
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0  # seconds between two bootstraps: at first, and after many in vain
MOST_NODES = 20  # that are kept in mind while the DHT rests
MOST_AT_ONCE = 50  # torrents that are announced as soon as a late bootstrap succeeds; libtorrent does the others later
RESTS_AFTER = 30.0  # seconds for which it was of no use
SEEK_EVERY = 900.0  # seconds; nodes forget whom they heard of after half an hour
SEEK_ALONE = 15.0, 300.0  # seconds between two walks of who is alone: at least, and at most
_SOON, _APART = 1.0, 3.0  # seconds until a walk, and from one to the next: no node is asked often in one second
_IMPLIED_PORT = 2  # libtorrent's flag: where a router gives this device another port, that counts


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
        self._needed_at = self._began
        self._nodes: list[tuple[str, int]] = []  # whom the DHT had when it went to rest
        self._state = b""  # the same, for a later session

    def poll(self) -> None:
        """Ask the session for its statistics when it is time; `handle_nodes` gets the number of nodes from them."""
        if time.monotonic() > self._next_look:
            self._next_look = time.monotonic() + ASK_EVERY
            self._session.post_session_stats()

    def need(self, is_needed: bool) -> None:
        """Leave the DHT when it was of no use for some time, and come back to it as soon as it is."""
        now = time.monotonic()
        self._needed_at = now if is_needed else self._needed_at
        is_resting = now - self._needed_at > RESTS_AFTER
        if not self._may_be_on or is_resting is self._is_resting:
            return
        self._is_resting = is_resting
        if is_resting:
            self._nodes, self._state = nodes_of(self._session)[:MOST_NODES], dht_state(self._session)
            self._next_look = math.inf
        self._session.apply_settings({"enable_dht": not is_resting})
        if not is_resting:
            self._began = self._next_look = now
            self._pause, self._repeated = FIRST_PAUSE, True

    def state(self) -> bytes:
        """Give what `open_session` takes to begin with the nodes that are known now."""
        return self._state if self._is_resting else dht_state(self._session)

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
            self._nodes = []
        elif self._nodes:  # those with a name, which are asked first, do not answer
            for node in self._nodes:
                self._session.add_dht_node(node)
            self._nodes = []
        elif now > self._began + self._pause:
            self._began, self._pause, self._repeated = now, min(2 * self._pause, LONGEST_PAUSE), True
            self._session.apply_settings({"enable_dht": False})
            self._session.apply_settings({"enable_dht": True})


class Search:
    """An infohash in the DHT: that this device is there, and who else is.

    A walk asks some twenty nodes, and most of them twice. Whoever comes does so, and finds who waits: that one may ask
    seldom. A walk takes 15 s where nodes have just gone, and two at once would ask the others twice.
    """

    def __init__(self, session: lt.session, infohash: lt.sha1_hash, port: int) -> None:
        """Ask nothing yet: before the bootstrap nobody would answer."""
        self._session, self._infohash, self._port = session, infohash, port
        self._walked, self._due, self._asked = time.monotonic(), math.inf, 0.0
        self._is_due = False

    def soon(self, now: float) -> None:
        """Have it asked in a moment."""
        self._due = min(self._due, max(now + _SOON, self._walked + _APART))

    def poll(self, now: float, alone: float) -> None:
        """Ask when it is time, `alone` being the seconds for which nobody else was met, and 0 with somebody."""
        least, most = SEEK_ALONE
        pause = min(max(least, alone / 2), most) if alone else SEEK_EVERY
        self._is_due = now > min(self._due, self._walked + pause)
        if self._is_due and now - self._asked > ASK_EVERY:
            self._asked = now
            self._session.post_dht_stats()

    def handle_walks(self, number: int) -> None:
        """Ask, if it is time and so many walks, none, are underway."""
        if self._is_due and not number:
            self.walk()

    def walk(self) -> None:
        """Say in the DHT that this device is there, and ask who else is."""
        self._walked, self._due, self._is_due = time.monotonic(), math.inf, False
        self._session.dht_announce(self._infohash, self._port, _IMPLIED_PORT)
