"""Serving: a session that gives files to whoever asks, and never writes to them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SeederError
from ..memo import InfoHash
from ..network import Network, parse_address
from . import dht_state, free_port, is_free, open_session

_SEEDING: Mapping[str, Any] = {
    "peer_timeout": 20,  # Transmission 3.00 wakes at our keep-alive, half of this: 35 s for 1 MB instead of 89
    "active_downloads": -1,
    "active_seeds": -1,
    "active_limit": -1,
    "active_dht_limit": -1,
    "active_lsd_limit": -1,
    "active_tracker_limit": -1,
    "unchoke_slots_limit": -1,
    "choking_algorithm": 0,
    "connections_limit": 4000,  # a few hundred strangers who only connect must not keep everybody else out
    "listen_queue_size": 500,
    "handshake_timeout": 4,
    # what may be on its way to a peer whose speed is not known yet: 10 kB on libtorrent's defaults, which makes a
    # megabyte take twice as long, and a seeder four times the CPU
    "send_buffer_low_watermark": 2**18,
}


MOST_PEERS = 8  # of one memo that are named
MOST_ADDRESSES = 4  # in a link
FLOOD = 1_000_000  # bytes a second that peers may ask with


@dataclass(slots=True)
class Swarm:
    """What a served torrent does."""

    state: str = "checking"  # checking, seeding, damaged
    peers: int = 0
    given: int = 0  # bytes
    delivered: int = 0  # how often somebody was seen to have all of it
    addresses: set[str] = field(default_factory=set)  # of its peers
    handle: Any = field(default=None, repr=False)


class Server:
    """A session that serves files, each by its own torrent, and never writes to them."""

    def __init__(
        self,
        network: Network,
        *,
        port: int = 0,
        insist: bool = False,  # on the port
        up: int = 0,  # bytes a second, 0 for no limit
        down: int = 0,
        dht: bytes = b"",
        log: Callable[[str], None],
    ) -> None:
        """Open the session and listen; SeederError when the port that was insisted on is taken."""
        self._log = log
        self._up, self._down = up, down
        self._asked = 0.0
        self._tracker_errors: dict[str, str] = {}
        self._checking: set[InfoHash] = set()
        self.swarms: dict[InfoHash, Swarm] = {}
        self.addresses: list[str] = []
        self.port = port if is_free(port, network) else 0
        if insist and not self.port:
            raise SeederError(f"port {port} is taken", "choose another --port, or none")
        self.port = self.port or free_port(network)
        limits = {"upload_rate_limit": up, "download_rate_limit": down, "max_retry_port_bind": 0}
        self._session = open_session(network, self.port, {**_SEEDING, **limits}, dht)
        self.poll(0)
        if not self.addresses:
            raise SeederError(f"cannot listen on port {self.port}", "choose another --port")

    def serve(self, path: Path, torrent: bytes, trackers: list[str]) -> None:
        """Serve a file; `poll` until it is checked. A file that is not the torrent's becomes `damaged`."""
        import libtorrent as lt

        params = lt.load_torrent_buffer(torrent)
        infohash = InfoHash(str(params.info_hashes.v1))
        params.save_path, params.renamed_files = str(path.parent), {0: path.name}
        params.trackers, params.url_seeds, params.http_seeds = trackers, [], []
        flags = lt.torrent_flags
        params.flags |= flags.seed_mode | flags.upload_mode
        params.flags &= ~(flags.auto_managed | flags.paused)
        self.swarms[infohash] = Swarm()
        self._checking.add(infohash)
        self._session.async_add_torrent(params)

    def drop(self, infohash: InfoHash) -> None:
        self._checking.discard(infohash)
        swarm = self.swarms.pop(infohash, None)
        if swarm and swarm.handle:
            self._session.remove_torrent(swarm.handle)

    def call_damaged(self, infohash: InfoHash, why: str) -> None:
        """Stop serving what is not what the torrent says, but remember it."""
        self.drop(infohash)
        self.swarms[infohash] = Swarm(state="damaged")
        self._log(f"{infohash} is damaged: {why}")

    def poll(self, seconds: float) -> None:
        """Wait so long for news at most, and take them in."""
        import libtorrent as lt

        self._session.wait_for_alert(int(seconds * 1000))
        for alert in self._session.pop_alerts():
            match alert:
                case lt.listen_succeeded_alert():
                    if alert.socket_type == lt.socket_type_t.tcp:
                        self._listens(alert.address)
                case lt.add_torrent_alert():
                    self._added(alert)
                case lt.torrent_checked_alert():
                    if (swarm := self._find(alert.handle)) and swarm.state == "checking":
                        swarm.state = "seeding"
                        self._checking.discard(InfoHash(str(alert.handle.info_hashes().v1)))
                case (
                    lt.fastresume_rejected_alert()
                    | lt.hash_failed_alert()  # its bytes rotted: seen when somebody asks for them
                    | lt.file_error_alert()
                    | lt.torrent_error_alert()
                ):
                    self.call_damaged(InfoHash(str(alert.handle.info_hashes().v1)), alert.message())
                case lt.peer_connect_alert():
                    if swarm := self._find(alert.handle):
                        swarm.addresses.add(self._address(alert))
                case lt.peer_disconnected_alert():
                    if swarm := self._find(alert.handle):
                        swarm.addresses.discard(self._address(alert))
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
                    url, reason = alert.tracker_url(), alert.error.message()
                    if self._tracker_errors.get(url) != reason:
                        self._tracker_errors[url] = reason
                        self._log(f"tracker {url}: {reason}")
                case lt.listen_failed_alert():
                    self._log(alert.message())
        if time.monotonic() - self._asked > 0.5:
            self._asked = time.monotonic()
            self._session.post_torrent_updates(0)

    def link_addresses(self, network: Network) -> list[str]:
        """Choose the addresses a link should give: this machine's own only where there is no other."""
        found = [(address, parse_address(address)) for address in self.addresses]
        reachable = [text for text, address in found if address and not address.is_loopback]
        return [f"[{text}]" if ":" in text else text for text in reachable or self.addresses][:MOST_ADDRESSES]

    @property
    def checking(self) -> bool:
        return bool(self._checking)

    def close(self) -> bytes:
        """End the session and give the DHT's state for the next one; trackers get a second to hear of it."""
        state = dht_state(self._session)
        held = [self._session]
        del self._session
        ending = threading.Thread(target=held.clear, daemon=True)  # libtorrent ends it when nobody holds it
        ending.start()
        ending.join(1.5)
        return state

    @staticmethod
    def _address(alert: Any) -> str:
        address, port = alert.ip
        return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

    def _find(self, handle: Any) -> Swarm | None:
        return self.swarms.get(InfoHash(str(handle.info_hashes().v1)))

    def _listens(self, address: str) -> None:
        found = parse_address(address)
        if found and not (found.version == 6 and found.is_link_local) and address not in self.addresses:
            self.addresses.append(address)

    def _added(self, alert: Any) -> None:
        infohash = InfoHash(str(alert.params.info_hashes.v1))
        swarm = self.swarms.get(infohash)
        if alert.error.value():
            self.call_damaged(infohash, alert.message())
        elif swarm and swarm.state != "damaged":
            swarm.handle = alert.handle
            if self._up:
                alert.handle.set_upload_limit(self._up)  # the session's own limit does not bind on local networks
            if self._down:
                alert.handle.set_download_limit(self._down)
        else:  # dropped again before it was there
            self._session.remove_torrent(alert.handle)
