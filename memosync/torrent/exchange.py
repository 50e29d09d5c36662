"""What the devices of one group give each other: torrents that only they know of, in a session of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..magnet import InfoHash
from .metainfo import Metainfo
from .seeding import infohash_of

if TYPE_CHECKING:
    import libtorrent as lt

Address = tuple[str, int]
_CALL_AGAIN = 0.7  # seconds: who is behind a NAT has to call those who cannot call it
_MOST_OVERSIZED = 100  # that are kept in mind
_COMES = 3.0  # seconds that a device that can call this one has to ask for what is served
_CALLS = 20.0  # seconds for which somebody is called again


@dataclass(slots=True)
class _Torrent:
    """One torrent of the session."""

    since: float  # when it was added
    called: float  # when its peers were called last
    path: Path
    largest: int = 0  # bytes that what is fetched may have
    size: int = 0  # bytes that it has to have, where that is known
    is_here: bool = False
    came: set[Address] = field(default_factory=set)  # who called for it, or had it when it was fetched
    handle: lt.torrent_handle | None = None  # None until libtorrent has added it
    is_busy: bool = False  # somebody is connected, or was a moment ago
    fetching: tuple[float, ...] = ()  # how much those have of it who lack some, from 0 to 1
    passed: int = 0  # bytes of it that were given and taken


class Exchange:
    """Torrents that are served to the other devices, and fetched from them."""

    def __init__(
        self,
        session: lt.session,
        *,
        up: int,
        down: int,
        log: Callable[[str], None],  # bytes a second, 0 for no limit
    ) -> None:
        self._session, self._up, self._down, self._log = session, up, down, log
        self._torrents: dict[InfoHash, _Torrent] = {}
        self._peers: Mapping[str, Sequence[Address]] = {}  # where each device is connected
        self._anywhere: Mapping[str, Sequence[Address]] = {}  # and where else it may be
        self._callers: Collection[str] = ()
        self._arrived: list[InfoHash] = []
        self.oversized: set[InfoHash] = set()  # some of what had more bytes than it might
        self.passed = 0  # bytes of all of them that were given and taken
        self.new_at = 0.0  # when there was something to fetch, or something new to serve, as time.monotonic says

    def serve(self, torrent: Metainfo, path: Path) -> None:
        """Serve a file that is the torrent's, and call those devices for it that may not be able to call this one."""
        import libtorrent as lt

        if torrent.infohash not in self._torrents:
            params = lt.load_torrent_buffer(torrent.data)
            params.flags |= lt.torrent_flags.seed_mode | lt.torrent_flags.upload_mode
            params.peers = self._first(self._peers.keys() - set(self._callers))
            self._add(torrent.infohash, params, path, is_here=True)

    def fetch(
        self, infohash: InfoHash, path: Path, *, largest: int, size: int = 0, holders: Collection[str] = ()
    ) -> None:
        """Fetch a torrent's one file as `path`, and go on with what is there; `arrived` tells when it is.

        One that has more bytes than `largest`, or others than `size`, is dropped. Devices that are known to be its
        `holders` are called before others.
        """
        import libtorrent as lt

        if infohash not in self._torrents:
            params = lt.parse_magnet_uri(f"magnet:?xt=urn:btih:{infohash}")
            params.peers = self._first(holders) or self._first(self._peers)
            self._add(infohash, params, path, largest=largest, size=size)

    def drop(self, infohash: InfoHash) -> None:
        """Serve or fetch it no longer; what is on the disk stays."""
        torrent = self._torrents.pop(infohash, None)
        if torrent and torrent.handle:
            self._session.remove_torrent(torrent.handle)

    def arrived(self) -> list[InfoHash]:
        """Give what has arrived since this was asked for last, and is on the disk."""
        arrived, self._arrived = self._arrived, []
        return arrived

    def has(self, infohash: InfoHash) -> bool:
        return infohash in self._torrents

    def is_here(self, infohash: InfoHash) -> bool:
        """Tell whether it is served: all of it is on the disk."""
        torrent = self._torrents.get(infohash)
        return torrent is not None and torrent.is_here

    def progress(self, infohash: InfoHash) -> float:
        """Give how much of a torrent that is being fetched is here, from 0 to 1."""
        torrent = self._torrents.get(infohash)
        return torrent.handle.status().progress if torrent and torrent.handle else 0.0

    def fetching(self, infohash: InfoHash) -> tuple[float, ...]:
        """Give how much of a torrent those have who fetch it from here, from 0 to 1."""
        torrent = self._torrents.get(infohash)
        return torrent.fetching if torrent else ()

    def call(
        self,
        peers: Mapping[str, Sequence[Address]],
        anywhere: Mapping[str, Sequence[Address]],
        callers: Collection[str],
    ) -> None:
        """Have these devices called from now on, and `anywhere` when nobody came.

        `callers` are those that were seen to call this one: what is served they will ask for by themselves.
        """
        self._peers, self._anywhere, self._callers = peers, anywhere, callers

    def poll(self) -> None:
        """Call devices again for what was added a moment ago and has no peers, and see what is finished.

        Not every torrent that is has an alert that says so: none whose file was there already.
        """
        now = time.monotonic()
        altered = []
        for infohash, torrent in self._torrents.items():
            if not torrent.is_here:
                self.new_at = now
                if torrent.handle and torrent.handle.status().is_finished:
                    torrent.handle.flush_cache()
            if torrent.is_busy and torrent.handle and not self._look_at_peers(torrent, torrent.handle):
                altered.append(infohash)
            due = now - torrent.called > _CALL_AGAIN and (now - torrent.since < _CALLS or not torrent.is_here)
            if due and torrent.handle:
                torrent.called = now if now - torrent.since < _CALLS else now + 10 * _CALL_AGAIN
                if not torrent.handle.status().num_peers:
                    for name, addresses in self._anywhere.items():
                        if not torrent.is_here or not self._comes(name, torrent, now):
                            for peer in addresses:
                                call(torrent.handle, peer)
        for infohash in altered:
            self.drop(infohash)

    def handle_alert(self, alert: lt.alert) -> None:
        """Note what an alert tells of a torrent."""
        import libtorrent as lt

        match alert:
            case lt.add_torrent_alert():
                infohash = InfoHash(str(alert.params.info_hashes.v1))
                if (torrent := self._torrents.get(infohash)) and not alert.error.value():
                    torrent.handle = alert.handle
                    if self._up:
                        alert.handle.set_upload_limit(self._up)
                    if self._down:
                        alert.handle.set_download_limit(self._down)
            case lt.peer_connect_alert():
                if torrent := self._torrents.get(infohash_of(alert)):
                    torrent.is_busy = True
                    if is_incoming(alert) or not torrent.is_here:
                        torrent.came.add((alert.ip[0], alert.ip[1]))
            case lt.metadata_received_alert():
                infohash = infohash_of(alert)
                torrent, info = self._torrents.get(infohash), alert.handle.torrent_file()
                if torrent and info and not _is_fit(info, torrent):
                    if info.total_size() > torrent.largest:
                        self.oversized = {*list(self.oversized)[: _MOST_OVERSIZED - 1], infohash}
                    self._log(
                        "what another device gives is not what it said, or more than there is room for; it is left"
                    )
                    self.drop(infohash)
            case lt.torrent_finished_alert():
                if (torrent := self._torrents.get(infohash_of(alert))) and not torrent.is_here:
                    alert.handle.flush_cache()
            case lt.cache_flushed_alert():
                infohash = infohash_of(alert)
                torrent = self._torrents.get(infohash)
                if torrent and not torrent.is_here and alert.handle.status().is_finished:
                    torrent.is_here = True
                    self._arrived.append(infohash)
            case lt.file_error_alert() | lt.torrent_error_alert() | lt.fastresume_rejected_alert():
                infohash = infohash_of(alert)
                torrent = self._torrents.get(infohash)
                # the last one is of a file that was gone before it was looked at
                if torrent and (torrent.is_here or not isinstance(alert, lt.fastresume_rejected_alert)):
                    self._log(f"between devices: {alert.error.message()}")
                    self.drop(infohash)

    def _add(
        self,
        infohash: InfoHash,
        params: lt.add_torrent_params,
        path: Path,
        *,
        largest: int = 0,
        size: int = 0,
        is_here: bool = False,
    ) -> None:
        now = self.new_at = time.monotonic()
        self._torrents[infohash] = _Torrent(now, now, path, largest, size, is_here)
        params.save_path, params.renamed_files = str(path.parent), {0: path.name}
        params.flags = apart(params.flags)
        self._session.async_add_torrent(params)

    def _look_at_peers(self, torrent: _Torrent, handle: lt.torrent_handle) -> bool:
        """See what goes and comes; False for what was here whole, and is not: a disk has altered it.

        A torrent without a peer is not looked at again before there is one.
        """
        import libtorrent as lt

        peers, status = handle.get_peer_info(), handle.status()
        connected = [peer for peer in peers if not peer.flags & (lt.peer_info.connecting | lt.peer_info.handshake)]
        passed = status.total_payload_upload + status.total_payload_download
        self.passed += max(0, passed - torrent.passed)
        torrent.passed, torrent.is_busy = passed, bool(peers)
        torrent.fetching = tuple(peer.progress for peer in connected if peer.progress < 1)
        return not torrent.is_here or status.state != lt.torrent_status.downloading

    def _comes(self, name: str, torrent: _Torrent, now: float) -> bool:
        """Tell whether a device came for what is served, or will."""
        is_early = name in self._callers and now - torrent.since < _COMES
        return is_early or not torrent.came.isdisjoint(self._anywhere[name])

    def _first(self, devices: Iterable[str]) -> list[Address]:
        """Give where these devices are called first."""
        return [peer for name in devices for peer in self._peers.get(name, ())]


def call(handle: lt.torrent_handle, peer: Address) -> None:
    """Call a peer for a torrent, and do not ask it whether it is a node of the DHT, too, as libtorrent does each time.

    It does so of all whom it was not told of by the state of an earlier session.
    """
    import libtorrent as lt

    handle.connect_peer(peer, int(lt.peer_info.resume_data))


def is_incoming(alert: lt.peer_connect_alert) -> bool:
    """Tell whether the peer called us; 2.1.1 has it in no property."""
    return " incoming connection to peer" in alert.message()


def apart(flags: int) -> int:
    """Give a torrent's flags so that only who is called for it, or calls, is its peer, and nobody is told of it."""
    import libtorrent as lt

    all_flags = lt.torrent_flags
    flags &= ~(all_flags.auto_managed | all_flags.paused | all_flags.update_subscribe)
    return flags | all_flags.disable_dht | all_flags.disable_lsd | all_flags.disable_pex


def _is_fit(info: lt.torrent_info, torrent: _Torrent) -> bool:
    fits = info.num_files() == 1 and 0 < info.total_size() <= torrent.largest
    return fits and torrent.size in (0, info.total_size())
