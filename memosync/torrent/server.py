"""Serving: files given to whoever asks, to programs in one session and to browsers in another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import SeederError
from ..magnet import InfoHash
from ..network import Network, is_websocket, parse_address
from .seeding import SEEDING, Seeding, Swarm
from .session import dht_state, free_port, is_free, leave, open_session
from .webrtc.browsers import Browsers

_FOR_PROGRAMS: Mapping[str, Any] = {
    "peer_timeout": 20,  # Transmission 3.00 wakes at our keep-alive, half of this: 35 s for 1 MB instead of 89
    "listen_queue_size": 500,
    "max_retry_port_bind": 0,
}
MOST_PEERS = 8  # of one memo that are named
MOST_ADDRESSES = 4  # in a link


class Server:
    """Serve files, each by its own torrent, and never write to them.

    Programs come by TCP and uTP into one session. Browsers come by WebRTC, and get another session (see `browsers`),
    which is opened when the first torrent has a WebSocket tracker.
    """

    def __init__(
        self,
        network: Network,
        *,
        port: int = 0,
        insist: bool = False,  # on the port
        up: int = 0,  # bytes a second, 0 for no limit
        down: int = 0,
        descriptors: int = 1024,  # that this process may have open
        dht: bytes = b"",
        log: Callable[[str], None],
    ) -> None:
        """Open the session and listen; SeederError when the port that was insisted on is taken."""
        self._log = log
        self._network = network
        self._descriptors = descriptors
        self._damaged: dict[InfoHash, Swarm] = {}
        self.addresses: list[str] = []
        self.port = port if is_free(port, network) else 0
        if insist and not self.port:
            raise SeederError(f"port {port} is taken", "choose another --port, or none")
        self.port = self.port or free_port(network)
        self._limits = {"up": up, "down": down}
        limits = {"upload_rate_limit": up, "download_rate_limit": down}
        session = open_session(network, self.port, {**SEEDING, **_FOR_PROGRAMS, **limits}, dht)
        self._programs = _Programs(self.port, session, up=up, down=down, on_damage=self.call_damaged, log=log)
        self._browsers: Browsers | None = None
        self._programs.poll(0)
        self.addresses = self._programs.addresses
        if not self.addresses:
            raise SeederError(f"cannot listen on port {self.port}", "choose another --port")

    def serve(self, path: Path, torrent: bytes, trackers: list[str]) -> None:
        """Serve a file; `poll` until it is checked. A file that is not the torrent's becomes `damaged`."""
        import libtorrent as lt

        params = lt.load_torrent_buffer(torrent)
        infohash = InfoHash(str(params.info_hashes.v1))
        self._damaged.pop(infohash, None)
        for_browsers = [url for url in trackers if is_websocket(url)]
        if for_browsers:
            self._for_browsers().offer(infohash, path, for_browsers)
        self._programs.add(params, path, [url for url in trackers if url not in for_browsers])

    def drop(self, infohash: InfoHash) -> None:
        self._damaged.pop(infohash, None)
        self._programs.drop(infohash)
        if self._browsers:
            self._browsers.withdraw(infohash)

    def call_damaged(self, infohash: InfoHash, why: str) -> None:
        """Stop serving what is not what the torrent says, but remember it."""
        self.drop(infohash)
        self._damaged[infohash] = Swarm(state="damaged")
        self._log(f"{infohash} is damaged: {why}")

    def poll(self, seconds: float) -> None:
        """Wait so long for news at most, and take them in."""
        self._programs.poll(0.02 if self._browsers and self._browsers.busy else seconds)
        if self._browsers:
            self._browsers.follow(self._programs.swarms)

    def swarms(self) -> Iterator[tuple[InfoHash, Swarm]]:
        """Give what every torrent does, in both sessions."""
        in_browsers = self._browsers.swarms if self._browsers else {}
        for infohash, swarm in self._programs.swarms.items():
            other = in_browsers.get(infohash)
            yield infohash, swarm.and_in(other) if other else swarm
        yield from self._damaged.items()

    @property
    def number(self) -> int:
        """How many torrents there are."""
        return len(self._programs.swarms) + len(self._damaged)

    @property
    def announced(self) -> tuple[InfoHash, ...] | None:
        """Which torrents browsers can find; None when they find all that have a WebSocket tracker."""
        return self._browsers.announced if self._browsers else None

    def link_addresses(self, network: Network) -> list[str]:
        """Choose the addresses a link should give: this machine's own only where there is no other."""
        found = [(address, parse_address(address)) for address in self.addresses]
        reachable = [text for text, address in found if address and not address.is_loopback]
        return [f"[{text}]" if ":" in text else text for text in reachable or self.addresses][:MOST_ADDRESSES]

    @property
    def checking(self) -> bool:
        return self._programs.checking

    def close(self) -> bytes:
        """Let the trackers hear of it, and give the DHT's state for the next one, empty when there is none."""
        state = dht_state(self._programs.session)
        deadline = time.monotonic() + 1.5
        leave(self._programs.session, deadline)
        if self._browsers:
            self._browsers.leave(deadline)
        return state

    def _for_browsers(self) -> Browsers:
        if self._browsers is None:
            limits = {**self._limits, "descriptors": self._descriptors}
            self._browsers = Browsers(self._network, on_damage=self.call_damaged, log=self._log, **limits)
        return self._browsers


class _Programs(Seeding):
    """The session for TCP and uTP, which also hears where it listens."""

    def __init__(self, port: int, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._port = port
        self.addresses: list[str] = []

    def hear(self, alert: Any) -> None:
        import libtorrent as lt

        if isinstance(alert, lt.listen_succeeded_alert):
            if alert.socket_type == lt.socket_type_t.tcp and alert.port == self._port:  # not where that was taken
                self._listens(alert.address)
        else:
            super().hear(alert)

    def _listens(self, address: str) -> None:
        found = parse_address(address)
        if found and not (found.version == 6 and found.is_link_local) and address not in self.addresses:
            self.addresses.append(address)
