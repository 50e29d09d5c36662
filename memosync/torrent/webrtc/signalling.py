"""Signalling: how a fetch meets browsers at WebSocket trackers, which hand its offers to them and theirs to it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ...magnet import InfoHash
from ...network import Network
from ..tracker_proxy import Relay
from .schedule import Schedule
from .stun import Watch

_STUN_WITHIN = 1.0  # seconds that a STUN server has to answer before the trackers are asked
_FIRST_WAIT = 1.0  # seconds after which they are asked again when nobody has come
_IDLE = 2.0  # seconds after which peers that give nothing count as none
_WITH_BROWSERS: Mapping[str, Any] = {
    "allow_multiple_connections_per_ip": False,  # else two tabs behind one address crash libtorrent 2.1.1
    "max_webtorrent_offers": 6,
    "webtorrent_connection_timeout": 10,  # seconds; as many offers of theirs that come to nothing keep the others out
}


class Signalling:
    """The WebSocket trackers of one fetch.

    They are asked once it is known whether a STUN server can be used, which delays nothing else, and again as long as
    nothing comes: a tab may let go in the middle, and comes back only for another offer, and those who took the first
    offers may be there to give nothing.
    """

    def __init__(self, infohash: InfoHash, trackers: Sequence[str], network: Network) -> None:
        self._infohash, self._trackers = infohash, trackers
        self._stun = Watch(network, again=False) if trackers else None
        self._relay = Relay(network)
        self._schedule = Schedule()
        self._began = time.monotonic()
        self._first = 0  # the number of the first of them among the torrent's trackers
        self._hungry = True
        self.settings: Mapping[str, Any] = _WITH_BROWSERS if trackers else {}

    def follow(self, session: Any, handle: Any, peers: int, waited: float) -> None:
        """Do what is due, now that there are so many peers and the last new byte came so many seconds ago."""
        now = time.monotonic()
        if self._stun:
            if self._stun.known() or now > self._began + _STUN_WITHIN:
                session.apply_settings({"webtorrent_stun_server": self._stun.usable})
                self._stun = None
                self._begin(handle, now)
            return
        hungry = not peers or waited > _IDLE
        if hungry and not self._hungry:
            self._schedule.served(self._infohash, now)
        self._hungry = hungry
        for _, url in self._schedule.due(now):
            if hungry:
                handle.force_reannounce(0, self._first + self._trackers.index(url), 1)

    def tracker_of(self, alert: Any) -> str:
        """Tell which tracker an alert is about."""
        return self._relay.tracker(alert.tracker_url())

    def _begin(self, handle: Any, now: float) -> None:
        self._first = len(handle.trackers())
        for number, url in enumerate(self._trackers, self._first):
            handle.add_tracker({"url": self._relay.way_to(url), "tier": number})
        self._schedule.add(self._infohash, self._trackers, now)
        self._schedule.wake(self._infohash, now + _FIRST_WAIT)
