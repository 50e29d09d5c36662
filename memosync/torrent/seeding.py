"""Seeding: what every session that serves has in common, whoever it serves: torrents, and the news of their swarms."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..magnet import InfoHash
from .dht import Rejoining
from .session import fault_of

SEEDING: Mapping[str, Any] = {
    "active_downloads": -1,
    "active_seeds": -1,
    "active_limit": -1,
    "active_dht_limit": -1,
    "active_lsd_limit": -1,
    "active_tracker_limit": -1,
    "unchoke_slots_limit": -1,
    "choking_algorithm": 0,
    "connections_limit": 4000,  # a few hundred strangers who only connect must not keep everybody else out
    "handshake_timeout": 4,
    # what may be on its way to a peer whose speed is not known yet: 10 kB on libtorrent's defaults, which makes a
    # megabyte take twice as long, and a seeder four times the CPU
    "send_buffer_low_watermark": 2**18,
}
FLOOD = 1_000_000  # bytes a second that peers may ask with


@dataclass(slots=True)
class Swarm:
    """What a served torrent does in one session, or in all."""

    state: str = "checking"  # checking, seeding, damaged
    peers: int = 0
    given: int = 0  # bytes
    asked: int = 0  # how often somebody came
    delivered: int = 0  # how often somebody was seen to have all of it
    addresses: set[str] = field(default_factory=set)  # of its peers
    handle: Any = field(default=None, repr=False)

    def and_in(self, other: Swarm) -> Swarm:
        """Add what it does in another session."""
        return Swarm(
            state=self.state,
            peers=self.peers + other.peers,
            given=self.given + other.given,
            asked=self.asked + other.asked,
            delivered=self.delivered + other.delivered,
            addresses=self.addresses | other.addresses,
        )


class Seeding:
    """Torrents in a session of libtorrent that gives and never writes."""

    def __init__(
        self,
        session: Any,
        *,
        up: int,  # bytes a second, 0 for no limit
        down: int,
        on_damage: Callable[[InfoHash, str], None],
        log: Callable[[str], None],
    ) -> None:
        self.session = session
        self.swarms: dict[InfoHash, Swarm] = {}
        self._up, self._down = up, down
        self._on_damage = on_damage
        self._log = log
        self._asked = 0.0
        self._dht = Rejoining(session)
        self._checking: set[InfoHash] = set()
        self._tracker_errors: dict[str, str] = {}

    def add(self, params: Any, path: Path, trackers: list[str]) -> None:
        """Serve a file by the torrent in `params`; `poll` until it is checked."""
        import libtorrent as lt

        infohash = InfoHash(str(params.info_hashes.v1))
        params.save_path, params.renamed_files = str(path.parent), {0: path.name}
        # each in a tier of its own, or their order changes
        params.trackers, params.tracker_tiers = trackers, list(range(len(trackers)))
        params.url_seeds, params.http_seeds = [], []
        flags = lt.torrent_flags
        params.flags |= flags.seed_mode | flags.upload_mode
        params.flags &= ~(flags.auto_managed | flags.paused)
        self.swarms[infohash] = Swarm()
        self._checking.add(infohash)
        self.session.async_add_torrent(params)

    def drop(self, infohash: InfoHash) -> None:
        self._checking.discard(infohash)
        swarm = self.swarms.pop(infohash, None)
        if swarm and swarm.handle:
            self.session.remove_torrent(swarm.handle)

    @property
    def checking(self) -> bool:
        return bool(self._checking)

    def poll(self, seconds: float) -> None:
        """Wait so long for news at most, and take them in."""
        self.session.wait_for_alert(int(seconds * 1000))
        for alert in self.session.pop_alerts():
            self.hear(alert)
        if time.monotonic() - self._asked > 0.5:
            self._asked = time.monotonic()
            self.session.post_torrent_updates(0)
            self._dht.look()

    def hear(self, alert: Any) -> None:
        """Take in one alert."""
        import libtorrent as lt

        match alert:
            case lt.add_torrent_alert():
                self._added(alert)
            case lt.torrent_checked_alert():
                if (swarm := self.find(alert)) and swarm.state == "checking":
                    swarm.state = "seeding"
                    self._checking.discard(infohash_of(alert))
            case (
                lt.fastresume_rejected_alert()
                | lt.hash_failed_alert()  # its bytes rotted: seen when somebody asks for them
                | lt.file_error_alert()
                | lt.torrent_error_alert()
            ):
                self._on_damage(infohash_of(alert), alert.message())
            case lt.peer_connect_alert():
                if swarm := self.find(alert):
                    swarm.addresses.add(_address(alert))
                    swarm.asked += 1
            case lt.peer_disconnected_alert():
                if swarm := self.find(alert):
                    swarm.addresses.discard(_address(alert))
                    # a peer that has become a seed is of no more use to one, and is let go with this reason
                    swarm.delivered += "upload to upload" in alert.message()
            case lt.state_update_alert():
                for status in alert.status:
                    if swarm := self.swarms.get(InfoHash(str(status.info_hashes.v1))):
                        swarm.peers = status.num_peers
                        swarm.given = max(swarm.given, status.total_payload_upload)
                    # 17 bytes ask for 16 KiB; a standing limit would cost a third of the speed
                    if status.download_rate > FLOOD + status.upload_rate // 10:
                        status.handle.set_download_limit(min(FLOOD, self._down or FLOOD))
            case lt.tracker_error_alert():  # ten thousand memos need not say the same
                url, reason = self.tracker_of(alert), fault_of(alert)
                if self._tracker_errors.get(url) != reason:
                    self._tracker_errors[url] = reason
                    self._log(f"tracker {url}: {reason}")
            case lt.session_stats_alert():
                handles = (swarm.handle for swarm in self.swarms.values() if swarm.handle)
                self._dht.hear(alert.values["dht.dht_nodes"], handles)
            case lt.listen_failed_alert():
                self._log(alert.message())

    def tracker_of(self, alert: Any) -> str:
        """Tell which tracker an alert is about."""
        return str(alert.tracker_url())

    def find(self, alert: Any) -> Swarm | None:
        """Find the swarm an alert is about."""
        return self.swarms.get(infohash_of(alert))

    def _added(self, alert: Any) -> None:
        infohash = InfoHash(str(alert.params.info_hashes.v1))
        swarm = self.swarms.get(infohash)
        if alert.error.value():
            self._on_damage(infohash, alert.message())
        elif swarm and swarm.state != "damaged":
            swarm.handle = alert.handle
            if self._up:
                alert.handle.set_upload_limit(self._up)  # the session's own limit does not bind on local networks
            if self._down:
                alert.handle.set_download_limit(self._down)
        else:  # dropped again before it was there
            self.session.remove_torrent(alert.handle)


def infohash_of(alert: Any) -> InfoHash:
    """Tell which torrent an alert is about."""
    return InfoHash(str(alert.handle.info_hashes().v1))


def _address(alert: Any) -> str:
    address, port = alert.ip
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
