"""Sessions: everything libtorrent does on a network, and how far it may reach.

This package is the owner of libtorrent, together with `metainfo`, which opens no network.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

from ..network import Network

_COMMON: Mapping[str, Any] = {
    "user_agent": "memosync",
    "allow_multiple_connections_per_ip": True,  # two people behind one router are two people
    "announce_to_all_trackers": True,  # else only the UDP one is, and no browser ever finds us
    "announce_to_all_tiers": True,
    "no_connect_privileged_ports": True,  # a link must not make us call somebody's mail server
    "stop_tracker_timeout": 1,
    "alert_queue_size": 200_000,
    "validate_https_trackers": True,
    "webtorrent_stun_server": "",  # see `stun`
    "dht_upload_rate_limit": 20_000,
    "resolver_cache_timeout": 30,  # seconds; a name that was not found is believed lost for an eighth: 150 s by default
}
_REACH: Mapping[Network, Mapping[str, Any]] = {
    Network.PUBLIC: {"listen_interfaces": "0.0.0.0:{port},[::]:{port}"},
    Network.LAN: {
        "listen_interfaces": "0.0.0.0:{port},[::]:{port}",
        "enable_dht": False,
        "enable_upnp": False,
        "enable_natpmp": False,
    },
    Network.LOOPBACK: {
        "listen_interfaces": "127.0.0.1:{port}",
        "outgoing_interfaces": "127.0.0.1",
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "ssrf_mitigation": False,  # trackers here are ours; `network` has looked at them already
    },
}

_opened: list[Any] = []


def open_session(
    network: Network, port: int, settings: Mapping[str, Any], dht: bytes = b"", *, trace: bool = False
) -> Any:
    """Open a libtorrent session that reaches as far as `network` says and listens on `port`.

    Its first alerts tell on which addresses: all that this machine has. With `trace` it tells what torrents do, too.
    It is kept until the process ends: to end it before, libtorrent waits for every name that is being looked up.
    """
    import libtorrent as lt

    category = lt.alert_category
    mask = category.error | category.status | category.tracker | category.peer | category.connect | category.dht
    if trace:
        mask |= category.torrent_log
    reach = dict(_REACH[network])
    reach["listen_interfaces"] = reach["listen_interfaces"].format(port=port)
    params = lt.session_params()
    if dht and network is Network.PUBLIC:
        with contextlib.suppress(RuntimeError, ValueError):
            params = lt.read_session_params(dht, _dht_only())
    chosen: Any = {**_COMMON, **reach, **settings, "alert_mask": int(mask)}
    params.settings = chosen
    session = lt.session(params)
    _opened.append(session)
    if network.ranges:
        session.set_ip_filter(_only(network))
    session.is_listening()  # waits for its thread: else the first alerts may tell of some addresses only
    return session


def fault_of(alert: Any) -> str:
    """Say what was wrong with a tracker."""
    # 2.1.1 calls a WebSocket that could not be opened an operation that was canceled
    if alert.error.value() == errno.ECANCELED:
        return "no connection"
    return str(alert.failure_reason() or alert.error.message())


def dht_state(session: Any) -> bytes:
    """Give what a later session needs to find its way into the DHT (BEP 5) at once; nothing if no node is known."""
    import libtorrent as lt

    state: Any = lt.write_session_params(session.session_state(), _dht_only())
    nodes = state.get(b"dht state", {})
    return bytes(lt.bencode(state)) if nodes.get(b"nodes") or nodes.get(b"nodes6") else b""


def leave(session: Any, deadline: float) -> None:
    """Tell the trackers that we go, and wait for them until `deadline` (monotonic, seconds)."""
    import libtorrent as lt

    session.pause()
    session.is_paused()  # waits for its thread, which has said by then whom it tells
    told: set[tuple[str, Any]] = set()
    while time.monotonic() < deadline:
        for alert in session.pop_alerts():
            match alert:
                case lt.tracker_announce_alert() if alert.event == lt.event_t.stopped:
                    told.add((alert.tracker_url(), alert.handle))
                case lt.tracker_reply_alert() | lt.tracker_error_alert():
                    told.discard((alert.tracker_url(), alert.handle))
        if not told:
            return
        session.wait_for_alert(20)


def free_port(network: Network) -> int:
    """Find a port that is free now on every address, for TCP and for UDP."""
    for _ in range(100):
        with socket.create_server((_host(network), 0)) as probe:
            port = int(probe.getsockname()[1])
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


def is_reachable(address: str, port: int) -> bool:
    """Tell whether somebody takes a TCP connection there; an address as it stands in links."""
    with contextlib.suppress(OSError), socket.create_connection((address.strip("[]"), port), timeout=3):
        return True
    return False


def _host(network: Network) -> str:
    return "127.0.0.1" if network is Network.LOOPBACK else ""


def _dht_only() -> int:
    import libtorrent as lt

    return int(lt.save_state_flags_t.save_dht_state)


def _only(network: Network) -> Any:
    """Block every address but those of the network's ranges."""
    import libtorrent as lt

    rules = lt.ip_filter()
    rules.add_rule("0.0.0.0", "255.255.255.255", 1)
    rules.add_rule("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1)
    for block in map(ip_network, network.ranges):
        rules.add_rule(str(block[0]), str(block[-1]), 0)
    return rules
