"""The session that serves browsers: over WebRTC, found through WebSocket trackers and nothing else.

It is a session of its own because libtorrent 2.1.1 enters every WebRTC peer with port 0: with
`allow_multiple_connections_per_ip`, which programs behind one router need, it frees the wrong entry when one of two
tabs behind one address disconnects, and crashes. So here one tab of an address is served at a time, quickly, and the
next one gets an offer as soon as there is room.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...magnet import InfoHash
from ...network import Network
from ..seeding import SEEDING, Seeding, Swarm, infohash_of
from ..session import NO_INTERNET, leave, open_session
from ..tracker_proxy import TrackerProxy
from .schedule import Schedule
from .stun import StunProbe

if TYPE_CHECKING:
    import libtorrent as lt

_PEER_TIMEOUT = 10  # seconds that a tab may be silent
_FOR_BROWSERS: lt.settings_pack = {
    "listen_interfaces": "127.0.0.1:0",  # without one nothing is announced, and with each one more it is once more
    "allow_multiple_connections_per_ip": False,
    "enable_incoming_tcp": False,
    "enable_outgoing_tcp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    **NO_INTERNET,
    "enable_lsd": False,
    "peer_timeout": _PEER_TIMEOUT,
    "webtorrent_connection_timeout": 10,  # seconds that an offer, a descriptor, is kept; one in use is answered at once
    "min_websocket_announce_interval": 120,  # seconds
    "alert_queue_size": 5_000,  # whatever a tracker sends is in one
    "aio_threads": 2,
    "hashing_threads": 1,
}
MOST_ANNOUNCED = 500  # torrents at a time
MOST_OFFERS = 6  # in one announce
ALL_OFFERS = 1500  # at a time, each some 20 kB and a descriptor
SHARED_OUT = 300  # of them, as long as each torrent has one: making them all costs a second of CPU
_ADDED_AT_ONCE = 25
_TURNED_AWAY = 0.3  # seconds after which one whose channel was opened, and who is no peer, was turned away
_IMPATIENT = 2  # seconds that a tab may be silent while another waits for its place: most likely it was killed
_CONNECTING = 1.5  # seconds from an answer to an offer until the connection is there, or will not be
_BLOCK = 16_384  # bytes, during which a tab that is served says nothing
_WAITS = 4.0  # seconds that a tab which was turned away is taken to wait
_CHOOSE_EVERY = 60.0  # seconds
_LINGER = 10.0  # seconds without a peer after which a retired torrent is dropped: time to come back for the rest
_FIRST_WAIT = 1.0  # seconds that a STUN server has to answer before the first announce
_OPEN = "*** RTC data channel open"  # libtorrent's log of a torrent
_CONNECT = re.compile(r"\*\*\* WEBSOCKET_TRACKER_CONNECT \[ url: (\S+) ]")


def choose(served: Sequence[InfoHash], visits: Callable[[InfoHash], int], most: int) -> list[InfoHash]:
    """Choose what browsers can find when it cannot be all: half of it the newest, half the most visited.

    `served` is ordered by age, oldest first.
    """
    if len(served) <= most:
        return list(served)
    newest = list(served[-((most + 1) // 2) :])
    others = sorted(reversed(served[: -len(newest)]), key=visits, reverse=True)
    return newest + others[: most - len(newest)]


class Browsers(Seeding):
    """Serve the torrents that have WebSocket trackers to browsers."""

    def __init__(
        self,
        network: Network,
        *,
        up: int,  # bytes a second, 0 for no limit
        down: int,
        descriptors: int,  # that this process may have open
        on_damage: Callable[[InfoHash, str], None],
        log: Callable[[str], None],
    ) -> None:
        """Open the session; a quarter of the descriptors is for offers."""
        settings: lt.settings_pack = {"upload_rate_limit": up, "download_rate_limit": down}
        session = open_session(network, 0, {**SEEDING, **_FOR_BROWSERS, **settings}, trace=True)
        super().__init__(session, up=up, down=down, on_damage=on_damage, log=log)
        self._most_offers = max(1, min(ALL_OFFERS, descriptors // 4))
        self._served: dict[InfoHash, tuple[Path, tuple[str, ...]]] = {}  # oldest first; not all of it is chosen
        self._chosen: list[InfoHash] = []
        self._chosen_at = 0.0
        self._retired: dict[InfoHash, float] = {}  # announced no longer; when each last had a peer
        self._earlier: dict[InfoHash, Swarm] = {}  # what retired torrents did that are dropped by now
        self._changed = False
        self._offers = 0  # in each announce
        self._proxy = TrackerProxy(network, accept_offer=self._accept_offer, on_answer=self._expect)
        self._expected: dict[InfoHash, float] = {}  # when a connection last began to be made
        self._declined: set[InfoHash] = set()  # whose offers were, since the last poll
        self._schedule = Schedule()
        self._probe = StunProbe(network, repeat=True)
        self._stun_server = ""
        self._opened_at = time.monotonic()
        self._served_at = 0.0
        self._knocked: dict[InfoHash, float] = {}  # when a tab's channel was opened that is no peer yet
        self._waiting = 0.0  # until when a tab that was turned away waits for a place
        self._timeout = _PEER_TIMEOUT

    def serve(self, infohash: InfoHash, path: Path, trackers: Sequence[str], *, typed: bool = False) -> None:
        """Serve a file at these WebSocket trackers, if there is room, once `update` finds that it is intact.

        A torrent that is served already keeps its peers and its place among the others. `typed`: the trackers were, by
        a person here.
        """
        for url in trackers:
            self._proxy.url_for(url, typed=typed)
        self._served[infohash] = path, tuple(trackers)
        self._changed = True
        if infohash in self.swarms and infohash not in self._retired:
            self._announce_at(infohash, time.monotonic())

    def retire(self, infohash: InfoHash) -> None:
        """Announce it no longer, and let the tabs that are connected have the rest of it.

        One that is cut off may come back: its tracker was not told, and still passes its offers on.
        """
        if self._served.pop(infohash, None):
            self._changed = True

    def drop(self, infohash: InfoHash) -> None:
        """Disconnect its peers and forget it, and what it did."""
        if self._served.pop(infohash, None):
            self._changed = True
        self._forget(infohash)
        self._earlier.pop(infohash, None)

    @property
    def noted(self) -> set[InfoHash]:
        """Those that have done something here, also before they were dropped to make room."""
        return super().noted | self._earlier.keys()

    @property
    def announced(self) -> tuple[InfoHash, ...] | None:
        """Which torrents browsers can find; None for all that are served."""
        return tuple(self._chosen) if len(self._chosen) < len(self._served) else None

    @property
    def answering(self) -> tuple[str, ...]:
        """The WebSocket trackers that answer: by the others no browser finds anything."""
        return self._schedule.answering

    @property
    def busy(self) -> bool:
        """Tell whether a tab was served a moment ago, and the next one should not wait for long."""
        return time.monotonic() - self._served_at < 2

    def totals(self, infohash: InfoHash) -> Swarm | None:
        """Give what it has done here in all, also before it was dropped to make room; None for nothing."""
        swarm, earlier = self.swarms.get(infohash), self._earlier.get(infohash)
        return swarm.and_in(earlier) if swarm and earlier else swarm or earlier

    def update(self, others: Mapping[InfoHash, Swarm]) -> None:
        """Add what is served and intact in the other session, handle the alerts, and announce what is due."""
        now = time.monotonic()
        if self._changed or now - self._chosen_at > _CHOOSE_EVERY:
            self._choose(others, now)
            self._changed, self._chosen_at = False, now
        if self._use_stun(now):
            self._add_some(others, now)
        self.poll(0)
        self._make_room(now)
        while self._declined:
            self._schedule.served(self._declined.pop(), now)
            self._served_at = now
        self._forget_retired(now)
        for infohash, url in self._schedule.due(now):
            self._reannounce(infohash, url)

    def handle_alert(self, alert: lt.alert) -> None:
        """Record what an alert tells, in its swarm and for the next announces."""
        import libtorrent as lt

        now = time.monotonic()
        match alert:
            case lt.torrent_log_alert():
                if found := _CONNECT.match(alert.log_message()):
                    self._schedule.connected(self._proxy.tracker_of(found[1]))
                elif alert.log_message() == _OPEN:
                    self._knocked[infohash_of(alert)] = now
                return
            case lt.tracker_reply_alert():
                self._schedule.answered(self.tracker_of(alert), infohash_of(alert), now)
            case lt.tracker_error_alert():
                self._schedule.failed(self.tracker_of(alert))
            case lt.peer_connect_alert() | lt.peer_disconnected_alert():
                if isinstance(alert, lt.peer_connect_alert):
                    self._knocked.pop(infohash_of(alert), None)
                    self._schedule.wake(infohash_of(alert), now)
                else:
                    self._schedule.served(infohash_of(alert), now)
                self._asked = 0.0  # ask at once what was sent
                self._served_at = now
        given = {}
        if isinstance(alert, lt.state_update_alert):
            given = {infohash: swarm.given for infohash, swarm in self.swarms.items()}
        super().handle_alert(alert)
        for infohash, before in given.items():
            if (swarm := self.swarms.get(infohash)) and swarm.given > before:
                self._schedule.served(infohash, now)

    def tracker_of(self, alert: lt.tracker_alert) -> str:
        return self._proxy.tracker_of(super().tracker_of(alert))

    def leave(self, deadline: float) -> None:
        """Announce to the trackers that every torrent is stopped, until `deadline` (monotonic, seconds)."""
        self._probe.stop()
        leave(self.session, deadline)

    def _choose(self, others: Mapping[InfoHash, Swarm], now: float) -> None:
        """Choose what browsers can find, retire the rest, and share the offers out."""
        nothing = Swarm()

        def visits(infohash: InfoHash) -> int:
            return others.get(infohash, nothing).visits + (self.totals(infohash) or nothing).visits

        trackers = max((len(urls) for _, urls in self._served.values()), default=1)
        most = max(1, min(MOST_ANNOUNCED, self._most_offers // trackers))
        self._chosen = choose(list(self._served), visits, most)
        for infohash in set(self.swarms) - set(self._chosen) - set(self._retired):
            self._retired[infohash] = now
            self._schedule.remove(infohash)
            self.replace_trackers(infohash, ())
        for infohash in set(self._chosen) & set(self._retired):
            del self._retired[infohash]
            self._announce_at(infohash, now)
        share = min(SHARED_OUT, self._most_offers) // max(1, len(self._chosen) * trackers)
        offers = max(1, min(MOST_OFFERS, share))
        if offers != self._offers:
            self._offers = offers
            self.session.apply_settings({"max_webtorrent_offers": offers})

    def _announce_at(self, infohash: InfoHash, now: float) -> None:
        """Announce a torrent that was added already at the trackers of today."""
        _, trackers = self._served[infohash]
        self.replace_trackers(infohash, [*map(self._proxy.url_for, trackers)])
        self._schedule.add(infohash, trackers, now)

    def _forget_retired(self, now: float) -> None:
        """Drop what is retired once its last peer has gone and libtorrent has told of the last bytes."""
        for infohash, had_peers in list(self._retired.items()):
            # a tab that is turned away takes its address along, even that of another one which is connected
            if self.swarms[infohash].addresses or self.swarms[infohash].peers:
                self._retired[infohash] = now
            elif now > had_peers + _LINGER:
                self._forget(infohash)

    def _forget(self, infohash: InfoHash) -> None:
        """Take it out of the session, and keep what it did."""
        self._schedule.remove(infohash)
        self._retired.pop(infohash, None)
        self._expected.pop(infohash, None)
        if done := self.totals(infohash):
            self._earlier[infohash] = Swarm(given=done.given, visits=done.visits, delivered=done.delivered)
        super().drop(infohash)

    def _make_room(self, now: float) -> None:
        """Let go of silent tabs sooner while another one waits: libtorrent takes one of an address at a time."""
        turned_away = [infohash for infohash, came in self._knocked.items() if now > came + _TURNED_AWAY]
        for infohash in turned_away:
            del self._knocked[infohash]
            self._waiting = now + _WAITS
        impatient = _IMPATIENT + (2 * _BLOCK // self._up if self._up else 0)
        timeout = impatient if now < self._waiting else max(impatient, _PEER_TIMEOUT)
        if timeout != self._timeout:
            self._timeout = timeout
            self.session.apply_settings({"peer_timeout": timeout})

    def _accept_offer(self, infohash: InfoHash) -> bool:
        """Tell, in the proxy's thread, whether a tab's offer is accepted: while no other is connected or connecting.

        The others get our own offers a moment later. A tab whose offer is accepted, and that libtorrent then turns away
        as the second of its address, may believe for 25 s that we are connected, and accept no offer (WebTorrent
        3.0.21).
        """
        swarm = self.swarms.get(infohash)
        if swarm and (swarm.addresses or time.monotonic() < self._expected.get(infohash, 0.0) + _CONNECTING):
            self._declined.add(infohash)
            return False
        self._expect(infohash)
        return True

    def _expect(self, infohash: InfoHash) -> None:
        if infohash in self.swarms:
            self._expected[infohash] = time.monotonic()

    def _use_stun(self, now: float) -> bool:
        """Tell libtorrent of the STUN server while it answers; tell whether anything can be announced by now."""
        if self._probe.usable != self._stun_server:
            self._stun_server = self._probe.usable
            self.session.apply_settings({"webtorrent_stun_server": self._stun_server})
            self._schedule.reannounce_all()
        return self._probe.finished() or now - self._opened_at > _FIRST_WAIT

    def _add_some(self, others: Mapping[InfoHash, Swarm], now: float) -> None:
        import libtorrent as lt

        missing = [infohash for infohash in self._chosen if infohash not in self.swarms] if self._incomplete() else []
        for infohash in missing[:_ADDED_AT_ONCE]:
            other = others.get(infohash)
            info = other.handle.torrent_file() if other and other.handle and other.state == "seeding" else None
            if info:
                path, trackers = self._served[infohash]
                params = lt.add_torrent_params()
                params.ti, params.info_hashes = info, info.info_hashes()
                self.add(infohash, params, path, [*map(self._proxy.url_for, trackers)])
                self._schedule.add(infohash, trackers, now)

    def _incomplete(self) -> bool:
        return len(self.swarms) - len(self._retired) < len(self._chosen)

    def _reannounce(self, infohash: InfoHash, url: str) -> None:
        swarm = self.swarms.get(infohash)
        if swarm and swarm.handle:
            # by number, so that it goes out at once; 1 is to ignore how long the tracker wants us to wait
            swarm.handle.force_reannounce(0, self._served[infohash][1].index(url), 1)
