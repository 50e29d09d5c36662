"""Sessions of libtorrent: how each is opened, how far it may reach, and how it takes its leave.

`torrent` is the owner of libtorrent. Every setting that all sessions share stands here.
"""

from __future__ import annotations

import contextlib
import errno
import random
import socket
import time
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import one_line
from ..network import Network, Reach, reachable_at
from ..stop import Stop
from .routes import connected, own_addresses

if TYPE_CHECKING:
    import libtorrent as lt

_COMMON: lt.settings_pack = {
    "user_agent": "memosync",
    "allow_multiple_connections_per_ip": True,  # two people behind one router are two people
    "announce_to_all_trackers": True,  # else only the UDP one is, and no browser ever finds us
    "announce_to_all_tiers": True,
    "no_connect_privileged_ports": True,  # a link must not make us call somebody's mail server
    "enable_upnp": False,  # 2.1.1 sends requests to wherever a device nearby says, and a redirect leads it to 127.0.0.1
    "stop_tracker_timeout": 1,  # seconds
    "alert_queue_size": 200_000,
    "apply_ip_filter_to_trackers": False,  # `network` and `trackers` have rules for them, and the proxy is here
    "webtorrent_stun_server": "",  # see `webrtc.stun`
    "dht_upload_rate_limit": 20_000,  # bytes a second
    "resolver_cache_timeout": 30,  # seconds; a name that was not found is believed lost for an eighth: 150 s by default
}
PAUSED, SKIPPED = 40, 180  # torrent_paused, announce_skipped: of libtorrent's own errors
_LOOK_EVERY = 5.0  # seconds between looks at the networks that this machine is connected to
_FIRST_PORT = 10_000  # below are those of services that people know by number
NO_INTERNET: lt.settings_pack = {"enable_dht": False, "enable_natpmp": False}


def open_session(
    network: Network, port: int, settings: lt.settings_pack, dht: bytes = b"", *, trace: bool = False
) -> lt.session:
    """Open a session that reaches as far as `network` says and listens on `port`, for TCP and UDP; 0 is any.

    Its first alerts tell on which addresses: all that this machine has. `dht` is what `dht_state` gave before. With
    `trace` libtorrent's log of each torrent comes as alerts, too. The session is kept until the process ends: to end
    it before, libtorrent waits for every name that is being looked up.
    """
    import libtorrent as lt

    category = lt.alert_category  # without `peer`: a peer would fill our memory with the alerts of its wrong requests
    mask = category.error | category.status | category.tracker | category.connect | category.dht
    if trace:
        mask |= category.torrent_log
    params = lt.session_params()
    if dht and network is Network.PUBLIC:
        with contextlib.suppress(RuntimeError, ValueError):
            params = lt.read_session_params(dht, lt.save_state_flags_t.save_dht_state)
    params.settings = {**_COMMON, **_reach(network, port), **settings, "alert_mask": mask}
    session = lt.session(params)
    _opened.append(_Opened(session, network))
    session.is_listening()  # waits for libtorrent's thread: else the first alerts may tell of some addresses only
    return session


def reach_of(network: Network) -> Reach:
    """Give which peers may be called now."""
    return Reach(network, connected() if network is Network.PUBLIC else ())


def renew_reach() -> None:
    """Keep every session to the peers that may be called now, as this machine's networks come and go."""
    for opened in _opened:
        opened.renew()


def forget_peers(session: lt.session, addresses: Iterable[str]) -> None:
    """Have a session forget whoever is at these addresses, until somebody names them again."""
    for opened in _opened:
        if opened.is_of(session):
            opened.forget(addresses)


class _Opened:
    """An open session, and whom it may call."""

    def __init__(self, session: lt.session, network: Network) -> None:
        self._session, self._network = session, network
        self._reach: Reach | None = None
        self._looked = -_LOOK_EVERY
        self.renew()

    def is_of(self, session: lt.session) -> bool:
        return self._session is session

    def renew(self) -> None:
        now = time.monotonic()
        if now - self._looked >= _LOOK_EVERY:
            self._looked = now
            if (reach := reach_of(self._network)) != self._reach:
                self._reach = reach
                self._session.set_ip_filter(filter_of(reach))

    def forget(self, addresses: Iterable[str]) -> None:
        if self._reach:
            without = filter_of(self._reach)
            for address in addresses:
                without.add_rule(address, address, 1)
            self._session.set_ip_filter(without)  # whom it keeps out leaves the list of peers
            self._session.set_ip_filter(filter_of(self._reach))


_opened: list[_Opened] = []


def is_own(error: lt.error_code, value: int) -> bool:
    """Tell whether an error is that one of libtorrent's own: other categories have the same numbers."""
    return error.value() == value and error.category().name() == "libtorrent"


def fault_of(alert: lt.tracker_error_alert) -> str:
    """Word what went wrong with a tracker: its own failure reason (BEP 3) where it gave one.

    Nothing did when only some of our addresses were no use for asking it: it is asked from the others.
    """
    if is_own(alert.error, SKIPPED):
        return ""
    # 2.1.1 calls a WebSocket that could not be opened an operation that was canceled
    if alert.error.value() == errno.ECANCELED:
        return "no connection"
    return one_line(alert.failure_reason())[:100] or alert.error.message()


def dht_state(session: lt.session) -> bytes:
    """Save the nodes of the DHT (BEP 5) that a session knows, for a later one to begin with; empty for none."""
    import libtorrent as lt

    state = lt.write_session_params(session.session_state(), lt.save_state_flags_t.save_dht_state)
    nodes = state.get(b"dht state", {})
    return lt.bencode(state) if nodes.get(b"nodes") or nodes.get(b"nodes6") else b""


def nodes_of(session: lt.session) -> list[tuple[str, int]]:
    """Give the nodes of the DHT that a session knows."""
    import libtorrent as lt

    # 2.1.1 has no Python type for those of a `dht_state`
    found: Any = lt.write_session_params(session.session_state(), lt.save_state_flags_t.save_dht_state)
    state = found.get(b"dht state", {})
    compact = [*state.get(b"nodes", []), *state.get(b"nodes6", [])]
    return [(str(ip_address(node[:-2])), int.from_bytes(node[-2:], "big")) for node in compact]


def leave(session: lt.session, deadline: float) -> None:
    """Stop every torrent, announce that to the trackers, and wait for their answers until `deadline` (monotonic)."""
    import libtorrent as lt

    _opened[:] = [opened for opened in _opened if not opened.is_of(session)]  # it has its port while it is named
    session.pause()
    session.is_paused()  # waits for libtorrent's thread, which has posted by then whom it announces it to
    announced: set[tuple[str, lt.torrent_handle]] = set()
    while time.monotonic() < deadline:
        for alert in session.pop_alerts():
            match alert:
                case lt.tracker_announce_alert() if alert.event == lt.event_t.stopped:
                    announced.add((alert.tracker_url(), alert.handle))
                case lt.tracker_reply_alert() | lt.tracker_error_alert():
                    announced.discard((alert.tracker_url(), alert.handle))
        if not announced:
            return
        session.wait_for_alert(20)


def free_port(network: Network) -> int:
    """Find a port that is free now on every address, for TCP and for UDP, and will be when it is wanted again.

    Others are given to outgoing connections (ip(7), ip_local_port_range), of any program, while nobody listens there.
    """
    theirs = 2**15
    with contextlib.suppress(OSError, ValueError):
        theirs = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    below = min(theirs, 2**15) if theirs > 2 * _FIRST_PORT else 2**15
    for _ in range(100):
        port = random.randrange(_FIRST_PORT, below)
        if is_free(port, network):
            break
    return port


def is_free(port: int, network: Network) -> bool:
    """Tell whether a port is free for TCP and for UDP: where one is taken, 2.1.1 listens on another port for both."""
    place = _host(network), port
    with contextlib.suppress(OSError), socket.create_server(place), socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(place)
        return True
    return False


def wait_for_port(port: int, network: Network, stop: Stop, patience: float) -> None:
    """Wait until a port is free, for `patience` seconds at most."""
    deadline = time.monotonic() + patience
    while not (is_free(port, network) or stop.is_set() or time.monotonic() > deadline):
        stop.wait(0.1)


def is_reachable(address: str, port: int) -> bool:
    """Tell whether an address, written as in links, takes a TCP connection within three seconds."""
    with contextlib.suppress(OSError), socket.create_connection((address.strip("[]"), port), timeout=3):
        return True
    return False


def _host(network: Network) -> str:
    return "127.0.0.1" if network is Network.LOOPBACK else ""


def listen_on(session: lt.session, network: Network, ports: Sequence[int]) -> None:
    """Have an open session listen on these ports; who is connected stays so. Alerts tell on which addresses it does."""
    session.apply_settings({"listen_interfaces": _places(network, ports)})


def listen_anew(session: lt.session, network: Network) -> None:
    """Have an open session look again where it can listen, as this machine's networks have changed."""
    places = str(session.get_settings()["listen_interfaces"])
    ports = dict.fromkeys(int(place.rpartition(":")[2]) for place in places.split(","))
    if len(more := _places(network, list(ports))) > len(places):  # less would be on its way to somebody
        session.apply_settings({"listen_interfaces": more})
    session.reopen_network_sockets(0)


def _places(network: Network, ports: Sequence[int]) -> str:
    """Name where to listen: on IPv6 only where somebody may call it.

    Each place more is announced from, and of ten thousand torrents takes 4 MB and a percent of a core (2.1.1), and with
    [::] these are every interface's link-local address, and the loopback one.
    """
    hosts = ["127.0.0.1"]
    if network is not Network.LOOPBACK:
        own = own_addresses()
        others = [local for local in own if local.address.version == 6 and not local.address.is_loopback]
        hosts = ["0.0.0.0", *(["[::]"] if reachable_at(others, network) or not own else [])]
    return ",".join(f"{host}:{port}" for port in ports for host in hosts)


def _reach(network: Network, port: int) -> lt.settings_pack:
    listening: lt.settings_pack = {"listen_interfaces": _places(network, [port])}
    match network:
        case Network.PUBLIC:
            return listening
        case Network.LAN:
            return {**listening, **NO_INTERNET}
        case Network.LOOPBACK:
            return {
                **listening,
                "outgoing_interfaces": "127.0.0.1",
                **NO_INTERNET,
                "enable_lsd": False,
                "ssrf_mitigation": False,  # trackers here are ours; `network` has looked at them already
            }


def filter_of(reach: Reach) -> lt.ip_filter:
    """Make the filter that keeps a session to the peers that may be called."""
    import libtorrent as lt

    rules = lt.ip_filter()
    for block, may in reach.rules():
        rules.add_rule(str(block[0]), str(block[-1]), 0 if may else 1)
    return rules
