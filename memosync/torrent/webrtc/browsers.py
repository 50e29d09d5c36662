"""Browsers: the session that serves tabs over WebRTC, who are found through WebSocket trackers and nothing else.

It is a session of its own because libtorrent 2.1.1 enters every WebRTC peer with port 0: with
`allow_multiple_connections_per_ip`, which programs behind one router need, it frees the wrong entry when one of two
tabs behind one address leaves, and crashes. So here one tab of an address is served at a time, quickly, and the next
one gets an offer as soon as there is room.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...magnet import InfoHash
from ...network import Network
from ..seeding import SEEDING, Seeding, Swarm, infohash_of
from ..session import leave, open_session
from ..tracker_proxy import Relay
from .schedule import Schedule
from .stun import Watch

_FOR_BROWSERS: Mapping[str, Any] = {
    "listen_interfaces": "127.0.0.1:0",  # without one nothing is announced, and with each one more it is once more
    "allow_multiple_connections_per_ip": False,
    "enable_incoming_tcp": False,
    "enable_outgoing_tcp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "peer_timeout": 10,  # seconds that a tab may be silent
    "webtorrent_connection_timeout": 10,  # seconds that an offer, a descriptor, is kept; one in use is answered at once
    "min_websocket_announce_interval": 120,
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
_ON_THE_WAY = 1.5  # seconds from an answer until a connection is there, or will not be
_BLOCK = 16_384  # bytes, during which a tab that is served says nothing
_WAITS = 4.0  # seconds that who was turned away is taken to wait
_LOOK_EVERY = 60.0  # seconds between looks at who was asked for
_FIRST_WAIT = 1.0  # seconds that a STUN server has to answer before the first announce
_OPEN = "*** RTC data channel open"
_CONNECT = re.compile(r"\*\*\* WEBSOCKET_TRACKER_CONNECT \[ url: (\S+) ]")


def choose(offered: Sequence[InfoHash], asked: Callable[[InfoHash], int], most: int) -> list[InfoHash]:
    """Choose whom browsers can find when it cannot be all: half of them the newest, half the most asked for.

    `offered` is ordered by age, oldest first.
    """
    if len(offered) <= most:
        return list(offered)
    newest = list(offered[-((most + 1) // 2) :])
    others = sorted(reversed(offered[: -len(newest)]), key=asked, reverse=True)
    return newest + others[: most - len(newest)]


class Browsers(Seeding):
    """Serve the torrents that have WebSocket trackers to browsers."""

    def __init__(
        self,
        network: Network,
        *,
        up: int,  # bytes a second, 0 for no limit
        down: int,
        descriptors: int,
        on_damage: Callable[[InfoHash, str], None],
        log: Callable[[str], None],
    ) -> None:
        limits = {"upload_rate_limit": up, "download_rate_limit": down}
        session = open_session(network, 0, {**SEEDING, **_FOR_BROWSERS, **limits}, trace=True)
        super().__init__(session, up=up, down=down, on_damage=on_damage, log=log)
        self._budget = max(1, min(ALL_OFFERS, descriptors // 4))
        self._offered: dict[InfoHash, tuple[Path, tuple[str, ...]]] = {}
        self._chosen: list[InfoHash] = []
        self._looked = 0.0
        self._changed = False
        self._offers = 0
        self._relay = Relay(network, take=self._take, expect=self._expect)
        self._expected: dict[InfoHash, float] = {}  # when somebody was last on the way
        self._wanted: set[InfoHash] = set()  # that an offer came for and was not taken
        self._schedule = Schedule()
        self._stun = Watch(network, again=True)
        self._stun_server = ""
        self._born = time.monotonic()
        self._served = 0.0
        self._knocked: dict[InfoHash, float] = {}  # when somebody came who is no peer yet
        self._waiting = 0.0  # until when somebody who was turned away waits for a place
        self._timeout = 0

    def offer(self, infohash: InfoHash, path: Path, trackers: Sequence[str]) -> None:
        """Have a torrent served to browsers, if there is room, as soon as `follow` finds that it is sound."""
        self.withdraw(infohash)
        self._offered[infohash] = path, tuple(trackers)
        self._changed = True

    def withdraw(self, infohash: InfoHash) -> None:
        """Serve it to browsers no longer."""
        if self._offered.pop(infohash, None):
            self._changed = True
            self._expected.pop(infohash, None)
            self._schedule.remove(infohash)
            self.drop(infohash)

    @property
    def announced(self) -> tuple[InfoHash, ...] | None:
        """Which torrents browsers can find; None for all that were offered."""
        return tuple(self._chosen) if len(self._chosen) < len(self._offered) else None

    @property
    def busy(self) -> bool:
        """Tell whether somebody was served a moment ago, and the next one should not wait for long."""
        return time.monotonic() - self._served < 2

    def follow(self, sound: Mapping[InfoHash, Swarm]) -> None:
        """Serve those that are sound and asked for in the other session, take in the news, and announce what is due."""
        now = time.monotonic()
        if self._changed or now - self._looked > _LOOK_EVERY:
            self._choose(sound)
            self._changed, self._looked = False, now
        if self._use_stun(now):
            self._add_some(sound, now)
        self.poll(0)
        self._make_room(now)
        while self._wanted:
            self._schedule.served(self._wanted.pop(), now)
            self._served = now
        for infohash, url in self._schedule.due(now):
            self._announce(infohash, url)

    def hear(self, alert: Any) -> None:
        """Take in one alert, and what it means for the next announces."""
        import libtorrent as lt

        now = time.monotonic()
        match alert:
            case lt.torrent_log_alert():
                if found := _CONNECT.match(alert.log_message()):
                    self._schedule.connected(self._relay.tracker(found[1]))
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
                self._asked = 0.0  # see at once what was given
                self._served = now
        given = {}
        if isinstance(alert, lt.state_update_alert):
            given = {infohash: swarm.given for infohash, swarm in self.swarms.items()}
        super().hear(alert)
        for infohash, before in given.items():
            if (swarm := self.swarms.get(infohash)) and swarm.given > before:
                self._schedule.served(infohash, now)

    def tracker_of(self, alert: Any) -> str:
        return self._relay.tracker(super().tracker_of(alert))

    def leave(self, deadline: float) -> None:
        """Let the trackers hear of it, as the session does."""
        self._stun.end()
        leave(self.session, deadline)

    def _choose(self, sound: Mapping[InfoHash, Swarm]) -> None:
        """Choose whom browsers can find, and share the offers out among them."""
        nothing = Swarm()

        def asked(infohash: InfoHash) -> int:
            return sound.get(infohash, nothing).asked + self.swarms.get(infohash, nothing).asked

        trackers = max((len(urls) for _, urls in self._offered.values()), default=1)
        most = max(1, min(MOST_ANNOUNCED, self._budget // trackers))
        self._chosen = choose(list(self._offered), asked, most)
        for infohash in set(self.swarms) - set(self._chosen):
            self._schedule.remove(infohash)
            self.drop(infohash)
        share = min(SHARED_OUT, self._budget) // max(1, len(self._chosen) * trackers)
        offers = max(1, min(MOST_OFFERS, share))
        if offers != self._offers:
            self._offers = offers
            self.session.apply_settings({"max_webtorrent_offers": offers})

    def _make_room(self, now: float) -> None:
        """Let go of silent tabs sooner while another one waits: libtorrent takes one of an address at a time."""
        turned_away = [infohash for infohash, came in self._knocked.items() if now > came + _TURNED_AWAY]
        for infohash in turned_away:
            del self._knocked[infohash]
            self._waiting = now + _WAITS
        impatient = _IMPATIENT + (2 * _BLOCK // self._up if self._up else 0)
        timeout = impatient if now < self._waiting else max(impatient, _FOR_BROWSERS["peer_timeout"])
        if timeout != self._timeout:
            self._timeout = timeout
            self.session.apply_settings({"peer_timeout": timeout})

    def _take(self, infohash: InfoHash) -> bool:
        """Tell, in the relay's thread, whether a tab's offer is taken: while nobody is here or on the way.

        Others get our own offers a moment later. A tab whose offer we take, and that libtorrent then turns away as the
        second of its address, may believe for 25 s that we are connected, and take no offer (WebTorrent 3.0.21).
        """
        swarm = self.swarms.get(infohash)
        if swarm and (swarm.addresses or time.monotonic() < self._expected.get(infohash, 0.0) + _ON_THE_WAY):
            self._wanted.add(infohash)
            return False
        self._expect(infohash)
        return True

    def _expect(self, infohash: InfoHash) -> None:
        if infohash in self.swarms:
            self._expected[infohash] = time.monotonic()

    def _use_stun(self, now: float) -> bool:
        """Tell libtorrent of the STUN server while it answers; say whether it can be announced by now."""
        if self._stun.usable != self._stun_server:
            self._stun_server = self._stun.usable
            self.session.apply_settings({"webtorrent_stun_server": self._stun_server})
            self._schedule.all_anew()
        return self._stun.known() or now - self._born > _FIRST_WAIT

    def _add_some(self, sound: Mapping[InfoHash, Swarm], now: float) -> None:
        import libtorrent as lt

        missing = [infohash for infohash in self._chosen if infohash not in self.swarms] if self._incomplete() else []
        for infohash in missing[:_ADDED_AT_ONCE]:
            other = sound.get(infohash)
            if other and other.handle and other.state == "seeding":
                path, trackers = self._offered[infohash]
                params = lt.add_torrent_params()
                params.ti = other.handle.torrent_file()
                params.info_hashes = params.ti.info_hashes()
                self.add(params, path, list(map(self._relay.way_to, trackers)))
                self._schedule.add(infohash, trackers, now)

    def _incomplete(self) -> bool:
        return len(self.swarms) < len(self._chosen)

    def _announce(self, infohash: InfoHash, url: str) -> None:
        swarm = self.swarms.get(infohash)
        if swarm and swarm.handle:
            # by number, so that it goes out at once; 1 is to ignore how long the tracker wants us to wait
            swarm.handle.force_reannounce(0, self._offered[infohash][1].index(url), 1)
