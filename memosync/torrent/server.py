"""Serving: files uploaded to whoever asks, to programs in one session and to browsers in another."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SeederError
from ..magnet import InfoHash
from ..network import Address, Network, is_websocket, reachable_at
from .listening import Listening
from .routes import own_addresses
from .seeding import SEEDING, Seeding, Swarm
from .session import free_port, is_free, leave, listen_on, open_session
from .tracker_proxy import TrackerProxy
from .webrtc.browsers import Browsers

if TYPE_CHECKING:
    import libtorrent as lt

_FOR_PROGRAMS: lt.settings_pack = {
    "peer_timeout": 20,  # seconds; Transmission 3.00 wakes at our keep-alive, half of this: 35 s for 1 MB instead of 89
    "listen_queue_size": 500,
    "max_retry_port_bind": 0,
}
MOST_PEERS = 8  # of one memo that are named
MOST_ADDRESSES = 4  # in a link
_SEEK_EVERY = 5.0  # seconds
# libtorrent looks at every torrent as often, whether anybody is there or not; limits are kept in portions of it
_IDLE: lt.settings_pack = {"tick_interval": 2500}  # milliseconds
_BUSY: lt.settings_pack = {"tick_interval": 500}
# Local discovery (BEP 14): who comes says so himself, and is called. Each torrent of ten thousand every five minutes
# takes 2 % of a core.
_DISCOVERED_EVERY, _DISCOVERED_AT_MOST = 300, 1  # seconds between two announces of a torrent; torrents in a second
_ADDED_AT_ONCE = 200  # torrents, before the alerts about them are handled
_ANNOUNCED_AT_ONCE, _BETWEEN = 10, 0.1  # torrents, and seconds until the next ones
_TRY_EVERY = 2.0  # seconds between looks whether the port that was wanted is free
# libtorrent goes on by TCP once uTP has failed, and only uTP gets into a router that its owner called us from
_SEEKING: lt.settings_pack = {"enable_outgoing_tcp": False, "min_reconnect_time": 3}  # seconds
_SERVING: lt.settings_pack = {"enable_outgoing_tcp": True, "min_reconnect_time": 60}


class Server:
    """Serve files, each by its own torrent, and never write to them.

    Programs connect by TCP and uTP to one session. Browsers connect by WebRTC to another (see `webrtc.browsers`), which
    is opened when the first torrent has a WebSocket tracker.
    """

    def __init__(
        self,
        network: Network,
        *,
        port: int = 0,
        insist: bool = False,  # on the port; without, another one will do until it is free
        up: int = 0,  # bytes a second, 0 for no limit
        down: int = 0,
        descriptors: int = 1024,  # that this process may have open
        dht: bytes = b"",  # what `close` gave the last time
        log: Callable[[str], None],
    ) -> None:
        """Open the session for programs and listen; SeederError without a port or an address to listen on."""
        self._log = log
        self._network = network
        self._descriptors = descriptors
        self._damaged: dict[InfoHash, Swarm] = {}
        self._paths: dict[InfoHash, str] = {}  # of what is served and not damaged; a Path takes four times the room
        self.port = port if port and is_free(port, network) else 0
        if insist and not self.port:
            raise SeederError(f"port {port} is taken", "choose another --port, or none")
        self.port = self.port or free_port(network)
        self.wanted = port or self.port
        self._tried = time.monotonic()
        self._up, self._down = up, down
        limits: lt.settings_pack = {"upload_rate_limit": up, "download_rate_limit": down}
        session = open_session(network, self.port, {**SEEDING, **_FOR_PROGRAMS, **limits}, dht)
        proxy = TrackerProxy(network)
        self._programs = _Programs(session, network, proxy, up=up, down=down, on_damage=self.call_damaged, log=log)
        self._browsers: Browsers | None = None
        self._sought: set[InfoHash] = set()
        self._is_seeking = self._ticks_seldom = False
        self._discovered_every = _DISCOVERED_EVERY
        self._sought_at = 0.0
        self._programs.poll(0)
        self._announced_at = self._best()
        if not self.addresses:
            if not reachable_at(own_addresses(), network):
                raise SeederError("this machine is in no network", "connect it to one, and run the same command again")
            raise SeederError(f"cannot listen on port {self.port}", "choose another --port")

    def serve(
        self, path: Path, torrent: bytes, trackers: Sequence[str], *, typed: bool = False, seek: bool = False
    ) -> None:
        """Serve a file that is not served yet, at trackers that a person here typed or not; `poll` until it is checked.

        `seek` who wants it: behind a router that lets nobody in, whoever waits for it has to be called. A file that is
        not the torrent's becomes `damaged`. RuntimeError, libtorrent's own, when `torrent` is none.
        """
        import libtorrent as lt

        params = lt.load_torrent_buffer(torrent)
        infohash = InfoHash(str(params.info_hashes.v1))
        self._damaged.pop(infohash, None)
        self._paths[infohash] = str(path)
        if seek:
            self._sought.add(infohash)
        for_programs, for_browsers = _by_session(trackers)
        if for_browsers:
            self._for_browsers().serve(infohash, path, for_browsers, typed=typed)
        self._programs.add(infohash, params, path, self._programs.urls(for_programs, typed))
        if len(self._paths) % _ADDED_AT_ONCE == 0:
            self._programs.poll(0)  # what the alerts of ten thousand take is not given back

    def replace_trackers(self, infohash: InfoHash, trackers: Sequence[str], *, typed: bool = False) -> bool:
        """Announce a served torrent at these trackers from now on, at once, and keep its peers and what it gave.

        Give False, having done nothing, when it is not served or its file is damaged. Trackers that are left out get no
        `stopped`, see `Seeding.replace_trackers`. When none is a WebSocket tracker any more, the browsers that are
        connected have the rest of it, see `Browsers.retire`.
        """
        if not (path := self._paths.get(infohash)):
            return False
        for_programs, for_browsers = _by_session(trackers)
        self._programs.replace_trackers(infohash, self._programs.urls(for_programs, typed))
        if for_browsers:
            self._for_browsers().serve(infohash, Path(path), for_browsers, typed=typed)
        elif self._browsers:
            self._browsers.retire(infohash)
        return True

    def drop(self, infohash: InfoHash) -> None:
        """Disconnect its peers and forget it."""
        self._damaged.pop(infohash, None)
        self._paths.pop(infohash, None)
        self._sought.discard(infohash)
        self._programs.drop(infohash)
        if self._browsers:
            self._browsers.drop(infohash)

    def call_damaged(self, infohash: InfoHash, why: str) -> None:
        """Stop serving what is not what the torrent says, or cannot be read, but count it among the swarms."""
        if infohash not in self._damaged:  # libtorrent says it several times, the reason first
            self.drop(infohash)
            self._damaged[infohash] = Swarm(state="damaged", fault=why)
            self._log(f"{infohash} is damaged: {why}")

    def poll(self, seconds: float) -> None:
        """Handle the alerts of both sessions, waiting at most so long for the first one."""
        self._programs.poll(0.02 if self._browsers and self._browsers.busy else seconds)
        if self._is_seeking != bool(self._sought):
            self._is_seeking = bool(self._sought)
            self._programs.session.apply_settings(_SEEKING if self._is_seeking else _SERVING)
        is_idle = not (self._programs.busy_swarms or self._up or self._down)
        if is_idle != self._ticks_seldom:
            self._ticks_seldom = is_idle
            self._programs.session.apply_settings(_IDLE if is_idle else _BUSY)
        every = max(_DISCOVERED_EVERY, len(self._paths) // _DISCOVERED_AT_MOST // 100 * 100)
        if every != self._discovered_every:
            self._discovered_every = every
            self._programs.session.apply_settings({"local_service_announce_interval": every})
        if self._sought and time.monotonic() - self._sought_at > _SEEK_EVERY:
            self._sought_at = time.monotonic()
            self._seek()
        if self._browsers:
            self._browsers.update(self._programs.swarms)
        self._take_back()
        if (best := self._best()) != self._announced_at and self._programs.listening.is_settled:
            self._announced_at = best
            self._programs.announce_anew()

    def swarms(self) -> Iterator[tuple[InfoHash, Swarm]]:
        """Give every torrent that has or had peers, or is checked or damaged, with its numbers of both sessions."""
        for infohash in self._programs.noted | (self._browsers.noted if self._browsers else set()):
            if swarm := self._programs.swarms.get(infohash):
                in_browsers = self._browsers.totals(infohash) if self._browsers else None
                yield infohash, swarm.and_in(in_browsers) if in_browsers else swarm
        yield from self._damaged.items()

    def is_damaged(self, infohash: InfoHash) -> bool:
        return infohash in self._damaged

    @property
    def damaged(self) -> list[InfoHash]:
        return list(self._damaged)

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing goes on that `poll` would have to see at once."""
        return not (self.checking or self._programs.busy_swarms or self._browsers or self._sought)

    @property
    def number(self) -> int:
        """How many torrents are served or damaged."""
        return len(self._programs.swarms) + len(self._damaged)

    @property
    def announced(self) -> tuple[InfoHash, ...] | None:
        """Which torrents browsers can find; None when they find all that have a WebSocket tracker."""
        return self._browsers.announced if self._browsers else None

    @property
    def answering(self) -> tuple[str, ...]:
        """The WebSocket trackers that answer."""
        return self._browsers.answering if self._browsers else ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses for links, the best first, IPv6 ones in brackets: of those that are listened on now."""
        here = self._programs.listening.at(self.port)[:MOST_ADDRESSES]
        return tuple(f"[{address}]" if address.version == 6 else str(address) for address in here)

    @property
    def checking(self) -> bool:
        """Tell whether libtorrent still looks at a file that was added."""
        return self._programs.checking

    def close(self) -> bytes:
        """Announce to the trackers that we stop, for 1.5 s at most, and give the DHT's state for the next `Server`."""
        state = self._programs.bootstrap.state()
        deadline = time.monotonic() + 1.5
        leave(self._programs.session, deadline)
        if self._browsers:
            self._browsers.leave(deadline)
        return state

    def _best(self) -> tuple[int, Sequence[tuple[Address, bool]]]:
        here = self._programs.listening.with_routes(self.port).items()
        return self.port, list(here)[:2]  # of each family one, where there are both

    def _take_back(self) -> None:
        """Listen on the port that was wanted, too, once whoever had it has left it."""
        if self.port == self.wanted:
            return
        if self._programs.listening.at(self.wanted):
            self._log(f"serving on port {self.wanted} again")
            self.port = self.wanted
        elif time.monotonic() - self._tried > _TRY_EVERY:
            self._tried = time.monotonic()
            if is_free(self.wanted, self._network):
                # links to the other port were given meanwhile, and peers are connected there
                listen_on(self._programs.session, self._network, [self.wanted, self.port])

    def _seek(self) -> None:
        """Ask again who wants what is sought: a tracker names those who came before, and is asked twice an hour."""
        for swarm in map(self._programs.swarms.get, self._sought):
            if swarm and swarm.handle and not swarm.peers:
                swarm.handle.force_reannounce(0, -1, 1)
                swarm.handle.force_dht_announce()

    def _for_browsers(self) -> Browsers:
        if self._browsers is None:
            self._browsers = Browsers(
                self._network,
                up=self._up,
                down=self._down,
                descriptors=self._descriptors,
                on_damage=self.call_damaged,
                log=self._log,
            )
        return self._browsers


class _Programs(Seeding):
    """The session for TCP and uTP, which also records where it listens."""

    def __init__(
        self,
        session: lt.session,
        network: Network,
        proxy: TrackerProxy,
        *,
        up: int,
        down: int,
        on_damage: Callable[[InfoHash, str], None],
        log: Callable[[str], None],
    ) -> None:
        super().__init__(session, up=up, down=down, on_damage=on_damage, log=log)
        self._proxy = proxy
        self.listening = Listening(session, network)
        self._to_announce: dict[InfoHash, None] = {}  # an ordered set
        self._next = 0.0  # when some of it are

    def poll(self, seconds: float) -> None:
        """Handle the alerts, and go along with this machine's networks."""
        super().poll(seconds)
        now = time.monotonic()
        self.listening.poll()
        some = list(itertools.islice(self._to_announce, _ANNOUNCED_AT_ONCE)) if now > self._next else []
        for infohash in some:
            self._next = now + _BETWEEN
            del self._to_announce[infohash]
            if (swarm := self.swarms.get(infohash)) and swarm.handle:
                swarm.handle.force_reannounce(0, -1, 1)
                swarm.handle.force_dht_announce()

    def announce_anew(self) -> None:
        """Announce everything once more, by and by: links that name an earlier address lead here by their trackers."""
        self._to_announce = dict.fromkeys(self.swarms)

    def urls(self, trackers: Sequence[str], typed: bool) -> list[str]:
        """Give the URLs that libtorrent is to know trackers by."""
        return [self._proxy.url_for(url, typed=typed) for url in trackers]

    def tracker_of(self, alert: lt.tracker_alert) -> str:
        return self._proxy.tracker_of(super().tracker_of(alert))

    def handle_alert(self, alert: lt.alert) -> None:
        import libtorrent as lt

        if isinstance(alert, lt.listen_succeeded_alert):
            self.listening.handle_alert(alert)
        else:
            super().handle_alert(alert)


def _by_session(trackers: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split trackers into those for programs and those for browsers."""
    return [url for url in trackers if not is_websocket(url)], [url for url in trackers if is_websocket(url)]
