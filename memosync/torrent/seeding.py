"""Seeding: what both sessions that serve have in common: their torrents, and what happens in each swarm."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import reason_of
from ..magnet import InfoHash
from .dht import Bootstrap
from .session import fault_of, renew_reach

if TYPE_CHECKING:
    import libtorrent as lt

SEEDING: lt.settings_pack = {
    "active_downloads": -1,  # torrents; -1 is no limit
    "active_seeds": -1,
    "active_limit": -1,
    "active_dht_limit": -1,
    "active_lsd_limit": -1,
    "active_tracker_limit": -1,
    "unchoke_slots_limit": -1,
    "choking_algorithm": 0,
    "connections_limit": 4000,  # a few hundred strangers who only connect must not keep everybody else out
    "handshake_timeout": 4,  # seconds
    # bytes that may be on their way to a peer whose speed is not known yet: with libtorrent's 10 kB a megabyte takes
    # twice as long, and the seeder four times the CPU
    "send_buffer_low_watermark": 2**18,
}
FLOOD = 1_000_000  # bytes a second that peers may send us, which are requests and nothing else
_WATCHED = 50  # swarms with peers of which it is known how far each is
_ASK_EVERY = 0.5  # seconds between two questions to libtorrent what each torrent has sent
_NOBODY: dict[str, int] = {}  # one for all: of ten thousand swarms most are idle


@dataclass(slots=True)
class Swarm:
    """One served torrent and its peers: in one session, or in both together."""

    state: str = "checking"  # checking, seeding, damaged
    peers: int = 0  # connected now
    given: int = 0  # bytes of payload that were sent
    visits: int = 0  # connections that were made
    delivered: int = 0  # peers that were seen to have all of it
    addresses: frozenset[str] = frozenset()  # of the connected peers, each as address:port
    # of those of them that lack some of it: percent they have
    fetching: Mapping[str, int] = field(default_factory=lambda: _NOBODY)
    trackers: tuple[str, ...] = ()  # as libtorrent is to know them
    fault: str = ""  # why it is damaged
    handle: lt.torrent_handle | None = field(default=None, repr=False)  # None until libtorrent has added it

    def and_in(self, other: Swarm) -> Swarm:
        """Add the peers and the numbers of the same torrent in another session."""
        return Swarm(
            state=self.state,
            peers=self.peers + other.peers,
            given=self.given + other.given,
            visits=self.visits + other.visits,
            delivered=self.delivered + other.delivered,
            addresses=self.addresses | other.addresses,
            fetching={**self.fetching, **other.fetching},
        )


class Seeding:
    """Torrents in a session that sends and never writes."""

    def __init__(
        self,
        session: lt.session,
        *,
        up: int,  # bytes a second, 0 for no limit
        down: int,
        on_damage: Callable[[InfoHash, str], None],
        log: Callable[[str], None],
    ) -> None:
        """Call `on_damage` with the reason when a file turns out not to be the torrent's."""
        self.session = session
        self.swarms: dict[InfoHash, Swarm] = {}
        self._up, self._down = up, down
        self._on_damage = on_damage
        self._log = log
        self._asked = 0.0
        self.bootstrap = Bootstrap(session)
        self._checking: set[InfoHash] = set()
        self.busy_swarms: set[InfoHash] = set()  # those with peers
        self._visited: set[InfoHash] = set()  # those that have had some
        self._replaced: set[InfoHash] = set()  # whose trackers were, before libtorrent had added them
        self._tracker_faults: dict[str, str] = {}

    def add(self, infohash: InfoHash, params: lt.add_torrent_params, path: Path, trackers: Sequence[str]) -> None:
        """Serve a file by the torrent in `params`; `poll` until it is checked."""
        import libtorrent as lt

        params.save_path, params.renamed_files = str(path.parent), {0: path.name}
        # each in a tier of its own, or libtorrent changes their order
        params.trackers, params.tracker_tiers = list(trackers), list(range(len(trackers)))
        params.url_seeds, params.http_seeds = [], []
        flags = lt.torrent_flags
        params.flags |= flags.seed_mode | flags.upload_mode
        params.flags &= ~(flags.auto_managed | flags.paused)
        self.swarms[infohash] = Swarm(trackers=tuple(trackers))
        self._checking.add(infohash)
        self.session.async_add_torrent(params)

    def drop(self, infohash: InfoHash) -> None:
        """Disconnect a torrent's peers and forget it; its trackers get `stopped` (BEP 3)."""
        self._checking.discard(infohash)
        self._replaced.discard(infohash)
        self.busy_swarms.discard(infohash)
        self._visited.discard(infohash)
        swarm = self.swarms.pop(infohash, None)
        if swarm and swarm.handle:
            self.session.remove_torrent(swarm.handle)

    def replace_trackers(self, infohash: InfoHash, trackers: Sequence[str]) -> None:
        """Announce a torrent at these trackers from now on, at once, and keep its peers.

        Trackers that are left out get no `stopped`: libtorrent 2.1.1 sends that only for all of a torrent's trackers,
        and disconnects its peers. They forget us once our next announce is overdue.
        """
        swarm = self.swarms[infohash]
        if swarm.trackers != tuple(trackers):
            swarm.trackers = tuple(trackers)
            if swarm.handle:
                _set_trackers(swarm.handle, trackers)
            else:
                self._replaced.add(infohash)

    @property
    def noted(self) -> set[InfoHash]:
        """Those with something to say; the others have been idle since they were checked."""
        return self._checking | self._visited

    @property
    def checking(self) -> bool:
        """Tell whether libtorrent still looks at a file that was added."""
        return bool(self._checking)

    def poll(self, seconds: float) -> None:
        """Handle the alerts that there are, waiting at most so long for the first one."""
        self.session.wait_for_alert(int(seconds * 1000))
        for alert in self.session.pop_alerts():
            self.handle_alert(alert)
        if time.monotonic() - self._asked > _ASK_EVERY:
            self._asked = time.monotonic()
            self.session.post_torrent_updates(0)
            for infohash in list(itertools.islice(self.busy_swarms, _WATCHED)):
                self._look_at_peers(infohash)
            self.bootstrap.need(bool(self.swarms))
            self.bootstrap.poll()
            renew_reach()

    def _look_at_peers(self, infohash: InfoHash) -> None:
        """See how far each is: what `post_peer_info` tells cannot be read in 2.1.1."""
        swarm = self.swarms[infohash]
        peers = swarm.handle.get_peer_info() if swarm.handle else []
        if not peers:  # of one that came and went between two updates nothing tells
            self.busy_swarms.discard(infohash)
        connected = [peer for peer in peers if _text(peer.ip) in swarm.addresses]
        swarm.fetching = {_text(peer.ip): int(peer.progress * 100) for peer in connected if peer.progress < 1}

    def handle_alert(self, alert: lt.alert) -> None:
        """Record in its swarm what an alert tells, and log the faults of trackers."""
        import libtorrent as lt

        match alert:
            case lt.add_torrent_alert():
                self._added(alert)
            case lt.torrent_checked_alert():
                if (swarm := self.find(alert)) and swarm.state == "checking":
                    swarm.state = "seeding"
                    self._checking.discard(infohash_of(alert))
            case lt.hash_failed_alert():  # its bytes rotted: noticed when a peer requests them
                self._on_damage(infohash_of(alert), "its file was altered")
            case lt.file_error_alert():
                why = reason_of(OSError(alert.error.message()))
                self._on_damage(infohash_of(alert), f"its file cannot be read: {why}")
            case lt.fastresume_rejected_alert() | lt.torrent_error_alert():
                self._on_damage(infohash_of(alert), alert.message())
            case lt.peer_connect_alert():
                if swarm := self.find(alert):
                    swarm.addresses |= {_text(alert.ip)}
                    self.busy_swarms.add(infohash := infohash_of(alert))
                    self._visited.add(infohash)
                    swarm.visits += 1
            case lt.peer_disconnected_alert():
                if swarm := self.find(alert):
                    swarm.addresses -= {_text(alert.ip)}
                    # a peer that has become a seed is of no more use to one, and is let go with this reason
                    swarm.delivered += "upload to upload" in alert.message()
            case lt.state_update_alert():
                for status in alert.status:
                    self._update(status)
            case lt.tracker_error_alert():  # ten thousand memos need not say the same
                url, fault = self.tracker_of(alert), fault_of(alert)
                if fault and self._tracker_faults.get(url) != fault:
                    self._tracker_faults[url] = fault
                    self._log(f"tracker {url}: {fault}")
            case lt.session_stats_alert():
                handles = (swarm.handle for swarm in self.swarms.values() if swarm.handle)
                self.bootstrap.handle_nodes(alert.values["dht.dht_nodes"], handles)
            case lt.listen_failed_alert():
                self._log(alert.message())

    def tracker_of(self, alert: lt.tracker_alert) -> str:
        """Give the URL of the tracker that an alert is about."""
        return alert.tracker_url()

    def find(self, alert: lt.torrent_alert) -> Swarm | None:
        """Find the swarm that an alert is about."""
        return self.swarms.get(infohash_of(alert))

    def _added(self, alert: lt.add_torrent_alert) -> None:
        if alert.error.value():
            self._on_damage(InfoHash(str(alert.params.info_hashes.v1)), alert.message())
            return
        infohash = infohash_of(alert)
        swarm = self.swarms.get(infohash)
        if swarm and swarm.state != "damaged":
            swarm.handle = alert.handle
            if infohash in self._replaced:
                self._replaced.discard(infohash)
                _set_trackers(swarm.handle, swarm.trackers)
            if self._up:
                alert.handle.set_upload_limit(self._up)  # the session's own limit does not bind on local networks
            if self._down:
                alert.handle.set_download_limit(self._down)
        else:  # dropped before it was added
            self.session.remove_torrent(alert.handle)

    def _update(self, status: lt.torrent_status) -> None:
        infohash = InfoHash(str(status.info_hashes.v1))
        if swarm := self.swarms.get(infohash):
            swarm.peers = status.num_peers
            (self.busy_swarms.add if swarm.peers else self.busy_swarms.discard)(infohash)
            swarm.given = max(swarm.given, status.total_payload_upload)
            if swarm.peers or swarm.given:
                self._visited.add(infohash)
            if not swarm.peers:  # of one that was turned away for what it sent no alert tells
                swarm.addresses, swarm.fetching = frozenset(), _NOBODY
        # a request of 17 bytes is for 16 KiB; a limit at all times would cost a third of the speed
        if status.download_rate > FLOOD + status.upload_rate // 10:
            status.handle.set_download_limit(min(FLOOD, self._down or FLOOD))


def infohash_of(alert: lt.torrent_alert) -> InfoHash:
    """Give the infohash of the torrent that an alert is about."""
    return InfoHash(str(alert.handle.info_hashes().v1))


def _set_trackers(handle: lt.torrent_handle, trackers: Sequence[str]) -> None:
    import libtorrent as lt

    entries = []
    for tier, url in enumerate(trackers):
        entry = lt.announce_entry(url)
        entry.tier = tier
        entries.append(entry)
    handle.replace_trackers(entries)


def _text(place: tuple[str, int]) -> str:
    address, port = place
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
