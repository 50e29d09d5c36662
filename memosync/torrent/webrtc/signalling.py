"""Signalling: how a fetch meets browsers, by offers of WebRTC connections that WebSocket trackers pass on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...magnet import InfoHash
from ...network import Network
from ..session import forget_peers
from ..tracker_proxy import TrackerProxy
from .schedule import Schedule
from .stun import StunProbe

if TYPE_CHECKING:
    import libtorrent as lt

_STUN_WITHIN = 1.0  # seconds that a STUN server has to answer before the trackers are asked
_FIRST_PAUSE = 1.0  # seconds after which they are asked again when no peer has come
_IDLE = 2.0  # seconds after which peers that send nothing count as none
_PATIENCE = 3.0  # seconds that whoever is called otherwise has to answer
_WITH_BROWSERS: lt.settings_pack = {
    "allow_multiple_connections_per_ip": False,  # else two tabs behind one address crash libtorrent 2.1.1
    "max_webtorrent_offers": 6,
    "webtorrent_connection_timeout": 10,  # seconds; as many offers of theirs that fail keep the others out
}


class Signalling:
    """The WebSocket trackers of one fetch.

    They are added once it is known whether a STUN server can be used, which delays nothing else, and asked again as
    long as no byte comes: a tab may disconnect half-way, and comes back only for another offer, and the browsers that
    took the first offers may have nothing to send.
    """

    def __init__(self, infohash: InfoHash, trackers: Sequence[str], network: Network, proxy: TrackerProxy) -> None:
        """Take WebSocket trackers that `proxy` knows."""
        self._infohash, self._trackers = infohash, trackers
        self._probe = StunProbe(network, repeat=False) if trackers else None
        self._proxy = proxy
        self._schedule = Schedule()
        self._began = time.monotonic()
        self._first = 0  # the number of the first of them among the torrent's trackers
        self._hungry = True
        self._called: dict[str, float] = {}  # addresses, and when somebody there was last
        self.settings: lt.settings_pack = _WITH_BROWSERS if trackers else {}  # that the fetch's session needs

    def poll(self, session: lt.session, handle: lt.torrent_handle, peers: int, waited: float) -> None:
        """Announce what is due, given the number of peers and the seconds since the last new byte."""
        now = time.monotonic()
        if self._probe:
            if self._probe.finished() or now > self._began + _STUN_WITHIN:
                session.apply_settings({"webtorrent_stun_server": self._probe.usable})
                self._probe = None
                self._add_trackers(handle, now)
            return
        self._make_way(session, peers, now)
        hungry = not peers or waited > _IDLE
        if hungry and not self._hungry:
            self._schedule.served(self._infohash, now)
        self._hungry = hungry
        for _, url in self._schedule.due(now):
            if hungry:
                # by number, so that it goes out at once; 1 is to ignore how long the tracker wants us to wait
                handle.force_reannounce(0, self._first + self._trackers.index(url), 1)

    def handle_alert(self, alert: lt.alert) -> None:
        """Note who is called."""
        import libtorrent as lt

        if self._trackers and isinstance(alert, lt.peer_connect_alert):
            self._called[alert.endpoint[0]] = time.monotonic()

    def _make_way(self, session: lt.session, peers: int, now: float) -> None:
        """While there are no peers, forget those who were called and do not answer.

        Other trackers name the address of a router that lets nobody in; and without several connections to an address
        2.1.1 drops, in silence, every WebRTC connection to one that is in its list of peers.
        """
        if peers:
            self._called = dict.fromkeys(self._called, now)
        elif silent := [address for address, called in self._called.items() if now > called + _PATIENCE]:
            forget_peers(session, silent)
            for address in silent:
                del self._called[address]

    def _add_trackers(self, handle: lt.torrent_handle, now: float) -> None:
        self._first = len(handle.trackers())
        for number, url in enumerate(self._trackers, self._first):
            handle.add_tracker({"url": self._proxy.url_for(url), "tier": number})
        self._schedule.add(self._infohash, self._trackers, now)
        self._schedule.wake(self._infohash, now + _FIRST_PAUSE)
