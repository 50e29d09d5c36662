"""Where the devices of one group find each other, and how each tells the others which head it stands at.

Two torrents that nobody has a byte of, derived from a key that only these devices have. The *meeting* is announced:
trackers, the DHT and local discovery tell who else is there, strangers too. The *pointer* is not: only who has the key
knows its infohash, and with encryption forced (MSE), nobody else can connect to it. So who is a peer of it is one of
the group; and in the pieces of it that a device says to have, though it has none, it says which head it stands at. To
say something else it drops the torrent, and adds it anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..magnet import InfoHash
from ..network import Network, is_websocket, parse_address, parse_peer, usable_trackers
from ..sealing import hollow, tag
from .dht import Bootstrap, Search
from .exchange import Address, Exchange, apart, call, is_incoming
from .listening import Listening
from .metainfo import Bencoded
from .session import free_port, is_free, leave, open_session, renew_reach
from .tracker_proxy import TrackerProxy

if TYPE_CHECKING:
    import libtorrent as lt

_APART: lt.settings_pack = {
    "in_enc_policy": 0,  # forced, both ways: who does not know an infohash does not learn it from us
    "out_enc_policy": 0,
    "allowed_enc_level": 2,  # RC4, or libtorrent goes on in the clear
    "active_downloads": -1,  # torrents; -1 is no limit
    "active_seeds": -1,
    "active_limit": -1,
    "unchoke_slots_limit": -1,
    "choking_algorithm": 0,
    "torrent_connect_boost": 100,  # peers of the first answer that are connected to at once
    "smooth_connects": False,
    "max_failcount": 32,  # which libtorrent does not count to: a device may come back after hours
    "peer_timeout": 20,  # seconds
    "connections_limit": 400,
    "send_buffer_low_watermark": 2**18,
    "alert_queue_size": 20_000,
    "dht_read_only": True,  # BEP 43: it asks, and nobody asks it, or tells others of it, once it is gone, too
}
_BUSY: lt.settings_pack = {
    "connection_speed": 200,  # attempts a second
    "min_reconnect_time": 1,  # seconds, and as many more each time that it failed
    "seeding_outgoing_connections": True,
}
# once all have what there is, devices would go on to call each other, and themselves, every second
_QUIET: lt.settings_pack = {"connection_speed": 2, "min_reconnect_time": 60, "seeding_outgoing_connections": False}
_QUIET_AFTER = 20.0  # seconds without anything new
_AT_MEETING = 50  # connections
_ASKED = 16  # of those who are there, whether they are of the group
_PIECE = 16_384  # bytes; of what nobody has
_HEAD, _DEVICE, _TAG = 20, 4, 8  # bytes of what a device says
_SAID = 8 * (_HEAD + _DEVICE + _TAG)  # bits; and one piece more, which nobody says to have: so all stay connected
_AGAIN = (2.0, 5.0, 8.0, 11.0)  # seconds after which who is alone announces again; then every
_EVERY, _LATER, _AT_LAST = 15.0, 300.0, 1800.0  # seconds; in the first ten minutes, the first hour, and then
_LINGER = 3.0  # seconds that a device which hung up is taken to be there still
_MOST_EXTERNAL = 4  # addresses that others see this machine at
_UTP = 1 << 17  # libtorrent's flag, that the wheel has no name for: of a peer whose port is one that it listens at
_MEND = 3.0  # seconds after which a torrent that a full disk has stopped goes on
_HUNG_UP = 0.3  # seconds that another device has to call anew after it hung up
_MISSED = 1.0  # seconds that a device may be away until it is called wherever it may be
_LATELY = 60.0  # seconds for which who came to the meeting place is asked each time whether he is of the group


@dataclass(frozen=True, slots=True)
class Pointer:
    """What a device that is connected now says: which head it stands at."""

    device: str
    head: InfoHash


class Meeting:
    """A session for one device of a group."""

    def __init__(
        self,
        network: Network,
        *,
        keep: bytes,  # the group's key for it, 32 bytes
        device: str,
        place: Path,  # a directory for what strangers send, which is nothing of worth
        port: int = 0,
        trackers: Sequence[str] = (),
        up: int = 0,  # bytes a second, 0 for no limit
        down: int = 0,
        dht: bytes = b"",  # what `dht_state` of an earlier session gave
        log: Callable[[str], None],
    ) -> None:
        """Open the session and go to the meeting place."""
        import libtorrent as lt

        self._network, self._keep, self._device, self._scrap = network, keep, device, place
        self.port = port if port and is_free(port, network) else free_port(network)
        limits: lt.settings_pack = {"upload_rate_limit": up, "download_rate_limit": down}
        self._session = open_session(network, self.port, {**_APART, **_BUSY, **limits}, dht)
        self.exchange = Exchange(self._session, up=up, down=down, log=log)
        self._proxy = TrackerProxy(network)
        self._bootstrap = Bootstrap(self._session)
        self._listening = Listening(self._session, network)
        self._external: dict[str, None] = {}
        self._known: Mapping[str, list[Address]] = {}  # where devices are, as they say
        self._pointer: lt.torrent_handle | None = None
        self._said = b""
        self._pointed = 0.0
        self.pointers: dict[str, Pointer] = {}  # of the devices that are connected now, by device
        self._said_since: dict[Pointer, float] = {}  # monotonic; by those that are connected
        self._endpoints: dict[str, list[Address]] = {}  # where each of them is
        self._here: set[str] = set()  # devices that are connected at this moment
        self._last: dict[str, list[Address]] = {}  # where each was connected last
        self._callers: set[str] = set()  # devices that can call this one: they have
        self._missed: dict[str, float] = {}  # devices that were connected a moment ago, and when they are called
        self._seen: dict[str, float] = {}  # when each was connected last
        self._met: dict[Address, float] = {}  # who was at the meeting place, and asked, and when
        self._hung_up: dict[Address, float] = {}
        self._unread = 0.0  # until when somebody may be connected who has not said anything yet
        self._looked = self._polled = 0.0
        self._alone_since = self._new_at = time.monotonic()  # or since somebody came or went
        self._is_quiet, self._is_looking = False, True
        self.is_open = False  # somebody may come whom no device knows
        self._stopped = 0.0  # when libtorrent stopped one of the two torrents
        self._announced, self._again = 0, 0.0  # how often, and how long it had been alone by then
        params = lt.load_torrent_buffer(_hollow(keep, "meeting", 1))
        params.save_path = str(place)
        usable = [url for url in usable_trackers(trackers, network, typed=True) if not is_websocket(url)]
        params.trackers = [self._proxy.url_for(url, typed=True) for url in usable]
        params.tracker_tiers = list(range(len(usable)))
        params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused | lt.torrent_flags.update_subscribe)
        # by itself libtorrent would ask everybody whom a node names whether it is a node, too, each time
        params.flags |= lt.torrent_flags.disable_dht
        self._name = params.info_hashes.v1
        self._search = Search(self._session, self._name, self.port)
        mask = self._session.get_settings()["alert_mask"] | int(lt.alert_category.dht_operation)
        self._session.apply_settings({"alert_mask": mask})
        self._place = self._session.add_torrent(params)
        self._place.set_max_connections(_AT_MEETING)
        self.poll(0)

    @property
    def addresses(self) -> list[str]:
        """The addresses at which other devices reach this one, as far as it knows, each address:port."""
        here = map(str, self._listening.at(self.port))
        found = {text: parse_address(text) for text in (*here, *self._external)}
        chosen = [text for text, address in found.items() if address and not address.is_loopback] or list(found)
        return [f"[{text}]:{self.port}" if ":" in text else f"{text}:{self.port}" for text in chosen]

    def call(self, addresses: Mapping[str, Iterable[str]]) -> None:
        """Know these as addresses of other devices, by device."""
        parsed = {device: filter(None, map(parse_peer, texts)) for device, texts in addresses.items()}
        known = {device: [(str(host), port) for host, port in found] for device, found in parsed.items()}
        if known != self._known:
            before, self._known = _all(self._known), known
            self._call_for_torrents()
            for device, peers in known.items():
                for peer in peers:
                    if peer not in before:
                        call(self._place, peer)
                        if device not in self._here:
                            self._ask(peer)

    def point(self, head: InfoHash) -> None:
        """Tell the other devices, those that are connected and all that can be called, where this one stands."""
        said = bytes.fromhex(head) + bytes.fromhex(self._device)
        self._said = said + tag(self._keep, "pointer", said, _TAG)
        self._new_at = time.monotonic()
        self._pace(self._new_at)
        self._ring()

    def poll(self, seconds: float) -> None:
        """Handle the alerts that there are, waiting at most so long for the first one, and look who is there."""
        now = time.monotonic()
        self._session.wait_for_alert(int(1000 * (0.005 if now < self._unread else seconds)))
        for alert in self._session.pop_alerts():
            self._handle_alert(alert)
            self.exchange.handle_alert(alert)
        now = time.monotonic()
        if now < self._unread or now - self._looked > 0.25:
            self._looked = now
            self._look(now)
        if now - self._polled > 0.5:
            self._polled = now
            if self._listening.poll():
                self._begin_anew(now)
            self._bootstrap.poll()
            renew_reach()
            self._rest()
            self._announce(now)
            self._search.poll(now, 0.0 if self.pointers else now - self._alone_since)
            self._pace(now)
            self.exchange.poll()
            if self._stopped and now - self._stopped > _MEND:
                self._stopped = 0.0
                self._go_on()
            self._call_back(now)

    def close(self) -> None:
        """Tell the trackers that this device goes, for a second at most."""
        leave(self._session, time.monotonic() + 1)

    def _go_on(self) -> None:
        """Start the two torrents again: a disk that would not take what a stranger sends is no reason to be away."""
        import libtorrent as lt

        for handle in filter(None, (self._place, self._pointer)):
            handle.clear_error()
            handle.unset_flags(lt.torrent_flags.upload_mode)
            handle.resume()

    def _ring(self) -> None:
        import libtorrent as lt

        if self._pointer:
            self._session.remove_torrent(self._pointer)
        params = lt.load_torrent_buffer(_hollow(self._keep, "pointer", _SAID + 1))
        params.save_path = str(self._scrap)
        params.flags = apart(params.flags) | lt.torrent_flags.no_verify_files
        params.have_pieces = [bool(self._said[at >> 3] >> (7 - at % 8) & 1) for at in range(_SAID)] + [False]
        params.piece_priorities = [0] * _SAID + [1]
        params.peers = list(self._peers())
        self._endpoints.clear()
        self._pointer = self._session.add_torrent(params)
        self._unread = time.monotonic() + 1

    def _peers(self) -> list[Address]:
        """Give whom to call: devices where they are, or wherever they may be, and who came to the meeting place."""
        now, devices = time.monotonic(), self._devices()
        called = _all({**devices, **self._last})
        are_there = {peer for name in self._last for peer in devices[name]}
        lately = [
            peer
            for peer, at in self._met.items()
            if peer not in are_there and (now - at < _LATELY or not self.pointers)
        ]
        return list(dict.fromkeys([*called, *lately[:_ASKED]]))

    def _devices(self) -> dict[str, list[Address]]:
        """Give where each device of the group may be: first where it was seen, and then where it says to be."""
        names = dict.fromkeys([*self._last, *self._known])
        return {name: [*dict.fromkeys([*self._last.get(name, ()), *self._known.get(name, ())])] for name in names}

    def _call_for_torrents(self) -> None:
        """Have those devices called for torrents that are there."""
        devices = {name: peers for name, peers in self._devices().items() if name in self.pointers}
        self.exchange.call({**devices, **self._last}, devices, self._callers)

    def _ask(self, peer: Address) -> None:
        """Ask a peer whether it is of the group: only then it is one of the pointer, too."""
        if self._pointer:
            call(self._pointer, peer)

    def _call_back(self, now: float) -> None:
        """Call a device that hung up and did not call itself, and then wherever it may be."""
        for peer in [peer for peer, at in self._hung_up.items() if now - at > _HUNG_UP]:
            del self._hung_up[peer]
            if peer not in _all(self._endpoints):
                self._ask(peer)
        for name in [name for name, at in self._missed.items() if now - at > _MISSED]:
            del self._missed[name]
            for peer in self._devices().get(name, ()) if name not in self._here else ():
                self._ask(peer)

    def _look(self, now: float) -> None:
        """Read what those who are connected say."""
        said: dict[Pointer, float] = {}  # by all who are connected, and since when
        endpoints: dict[str, list[Address]] = {}
        silent = False
        for peer in self._pointer.get_peer_info() if self._pointer else ():
            pieces = list(peer.pieces[:_SAID])
            if not any(pieces):
                silent = True
                continue
            if pointer := self._read(pieces):
                said[pointer] = self._said_since.get(pointer, now)
                if not peer.flags & peer.local_connection:
                    self._callers.add(pointer.device)
                if peer.flags & (peer.local_connection | _UTP):
                    endpoints.setdefault(pointer.device, []).append((peer.ip[0], peer.ip[1]))
        # a device may be connected twice: what it said before it moved stands there until that connection is given up
        found = {pointer.device: pointer for pointer in sorted(said, key=lambda one: said[one])}
        self._said_since = said
        self._seen |= dict.fromkeys(found, now)
        there = {name: one for name, one in self.pointers.items() if now - self._seen[name] < _LINGER} | found
        if found.keys() != self.pointers.keys() and there.keys() != self.pointers.keys():
            self._alone_since, self._announced = now, 0
        self._callers &= there.keys()
        self._missed = {name: self._missed.get(name, now) for name in self.pointers if name not in found}
        endpoints = {name: self._once(name, peers) for name, peers in endpoints.items()}
        has_changed = endpoints != self._endpoints or there.keys() != self.pointers.keys()
        self._here, self.pointers, self._endpoints = set(found), there, endpoints
        self._last = {name: peers for name, peers in self._last.items() if name in there} | endpoints
        if has_changed:
            self._call_for_torrents()
        if not silent and self._unread < now + 0.5:
            self._unread = 0.0

    def _once(self, name: str, peers: list[Address]) -> list[Address]:
        """Choose one of the addresses of a device that is connected at several; others may call themselves so, too."""
        own = [peer for peer in self._known.get(name, ()) if peer in peers]
        return [*own[:1], *sorted(peer for peer in peers if peer not in own)]

    def _read(self, pieces: list[bool]) -> Pointer | None:
        said = bytes(
            sum(bit << (7 - at) for at, bit in enumerate(pieces[start : start + 8])) for start in range(0, _SAID, 8)
        )
        text, check = said[:-_TAG], said[-_TAG:]
        device = text[_HEAD:].hex()
        if tag(self._keep, "pointer", text, _TAG) != check or device == self._device:
            return None
        return Pointer(device, InfoHash(text[:_HEAD].hex()))

    def _announce(self, now: float) -> None:
        """While somebody is missing, look for them again and again."""
        alone = now - self._alone_since
        if self._announced < len(_AGAIN):
            due = _AGAIN[self._announced]
        else:
            pause = _EVERY if alone < 600 else _LATER if alone < 3600 else _AT_LAST
            due = self._again + pause
        if alone > due and self._is_missed():
            self._announced += 1
            self._again = alone
            self._look_around(now, anew=not self.pointers or self._announced > len(_AGAIN))

    def _begin_anew(self, now: float) -> None:
        """Look for who is missing at once, and as often as at the beginning: this machine is in another network."""
        self._alone_since, self._announced = now, 0
        if self._is_missed():
            self._look_around(now, anew=True)

    def _is_missed(self) -> bool:
        """Tell whether somebody of the group is not there, or may not be."""
        return not self.pointers or bool(self._known.keys() - self.pointers.keys())

    def _look_around(self, now: float, *, anew: bool) -> None:
        """Call the devices that are known and not there; and who is alone asks who else is at the meeting place.

        libtorrent calls who did not answer later and later, after hours in the end: not so in a torrent that is added
        `anew`.
        """
        lost = _all({device: self._known[device] for device in self._known.keys() - self.pointers.keys()})
        if not self.pointers:
            # libtorrent listens nowhere that had no cable when it began, and tells no local network that it is here
            self._session.reopen_network_sockets(0)
            self._place.force_reannounce(0, -1, 1)
            if self._announced <= len(_AGAIN):
                self._search.soon(now)
            lost = self._peers()
        for peer in lost:
            call(self._place, peer)
        if anew and self._said:
            self._ring()
        else:
            for peer in lost:
                self._ask(peer)

    def _rest(self) -> None:
        """Look for others only while somebody is missing, in the DHT and at the meeting place.

        The DHT costs more than all else that devices say to each other. At the meeting place who wants nothing of it is
        there as before for whoever comes, and libtorrent parts two of whom neither does: else devices that have met
        would have two connections, and a sign of life by each.
        """
        is_looking = self.is_open or self._is_missed()
        self._bootstrap.need(is_looking)
        if self._is_looking != is_looking:
            self._is_looking = is_looking
            self._place.piece_priority(0, int(is_looking))

    def _pace(self, now: float) -> None:
        """Call quickly while there is something new, or somebody was lost just now, and seldom else."""
        new = max(self._new_at, self.exchange.new_at, self._alone_since if self._is_missed() else 0.0)
        if self._is_quiet != (is_quiet := now - new > _QUIET_AFTER):
            self._is_quiet = is_quiet
            self._session.apply_settings(_QUIET if is_quiet else _BUSY)

    def _handle_alert(self, alert: lt.alert) -> None:
        import libtorrent as lt

        match alert:
            case lt.listen_succeeded_alert():
                self._listening.handle_alert(alert)
            case lt.external_ip_alert():
                if len(self._external) < _MOST_EXTERNAL:
                    self._external[alert.external_address] = None
            case lt.file_error_alert() | lt.torrent_error_alert() if alert.handle in (self._place, self._pointer):
                self._stopped = self._stopped or time.monotonic()
            case lt.dht_bootstrap_alert():
                self._search.walk()
            case lt.dht_stats_alert():
                self._search.handle_walks(len(alert.active_requests))
            case lt.dht_get_peers_reply_alert() if alert.info_hash == self._name:
                for peer in alert.peers()[:_AT_MEETING]:  # a node may name as many as it likes
                    if not self._is_own(peer):
                        call(self._place, peer)
            case lt.session_stats_alert():
                self._bootstrap.handle_nodes(alert.values["dht.dht_nodes"], [])
            case lt.peer_connect_alert() if alert.handle == self._place:
                if not (is_incoming(alert) and "(TCP)" in alert.message()):  # where that came from nobody listens
                    self._meet((alert.ip[0], alert.ip[1]))
            case lt.peer_connect_alert() if alert.handle == self._pointer:
                self._unread = time.monotonic() + 1
            case lt.peer_disconnected_alert() if alert.handle == self._pointer:
                peer = (alert.ip[0], alert.ip[1])
                if peer in _all(self._endpoints):
                    self._hung_up[peer] = time.monotonic()

    def _is_own(self, peer: Address) -> bool:
        return peer[1] == self.port and (peer[0] in [*map(str, self._listening.at(self.port)), *self._external])

    def _meet(self, peer: Address) -> None:
        """Ask who is at the meeting place whether he is of the group, unless that is known."""
        if peer in self._met or self._is_own(peer):
            return
        if len(self._met) >= _AT_MEETING:
            self._met.clear()
        self._met[peer] = time.monotonic()
        is_known = any(peer in peers for name, peers in self._devices().items() if name in self._here)
        if len(self._met) <= _ASKED and not is_known:
            self._ask(peer)


def _all(known: Mapping[str, list[Address]]) -> list[Address]:
    return [peer for peers in known.values() for peer in peers]


def _hollow(keep: bytes, kind: str, pieces: int) -> bytes:
    """Make a torrent of so many pieces that nobody has."""
    import libtorrent as lt

    name, hashes = hollow(keep, kind, pieces)
    info: Bencoded = {b"length": pieces * _PIECE, b"name": name.encode(), b"piece length": _PIECE, b"pieces": hashes}
    return lt.bencode({b"info": info})
