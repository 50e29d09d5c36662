"""How far a session may reach, and what of a stranger's list of addresses may be called at all.

Pure: names are not looked up here.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address

# Long-lived public trackers, UDP (BEP 15) for programs and WebSocket for browser tabs: the ones WebTorrent itself uses.
DEFAULT_TRACKERS = (
    "udp://tracker.opentrackr.org:1337/announce",
    "udp://explodie.org:6969/announce",
    "wss://tracker.openwebtorrent.com",
    "wss://tracker.webtorrent.dev",
    "wss://tracker.btorrent.xyz",
)
MOST_TRACKERS, MOST_PEERS = 20, 8  # taken from one link
_CANDIDATE = re.compile(r"a=candidate:\S+ \d+ \w+ \d+ ([\da-fA-F.:]+) (\d+) typ [ -~]*")
_LOOPBACK = ("127.0.0.0/8", "::1/128")
_PRIVATE = (
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"),
    *("fe80::/10", "fc00::/7"),
)


class Network(enum.StrEnum):
    """`--network`: the whole internet, the local networks, or this machine."""

    PUBLIC = "public"
    LAN = "lan"
    LOOPBACK = "loopback"

    @property
    def ranges(self) -> tuple[str, ...]:
        """The only address ranges allowed; empty when all are."""
        return {"public": (), "lan": (*_PRIVATE, *_LOOPBACK), "loopback": _LOOPBACK}[self.value]

    def allows(self, address: Address) -> bool:
        return not self.ranges or _within(address, self.ranges)


def is_private(address: Address) -> bool:
    return _within(address, (*_PRIVATE, *_LOOPBACK)) or address.is_unspecified or address.is_multicast


def parse_address(text: str) -> Address | None:
    """Read an address as it stands in links; a zone (`%eth0`) is dropped, an IPv4 one in IPv6 clothes unwrapped."""
    try:
        address = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def parse_peer(text: str) -> tuple[Address, int] | None:
    """Read `x.pe`: `1.2.3.4:6881` or `[::1]:6881`; None for names, and for ports under 1024."""
    host, _, port = text.rpartition(":")
    address = parse_address(host)
    if address is None or not re.fullmatch(r"\d{1,5}", port) or not 1024 <= int(port) <= 65535:
        return None
    return address, int(port)


def parse_tracker(url: str) -> tuple[str, str, bool] | None:
    """Read a tracker's URL as scheme, host and whether its request is an ordinary one; None when it is none.

    libtorrent sends an HTTP or WebSocket request as the link's author wrote it, so one whose path is neither `/` nor
    `/announce`, or that has a query, must not reach a private address.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    named = host and (parse_address(host) or re.fullmatch(r"[\w.-]+", host))
    if (
        parts.scheme not in ("udp", "http", "https", "ws", "wss")
        or not named
        or not url.isprintable()
        or len(url) > 500
    ):
        return None
    return parts.scheme, host or "", parts.scheme == "udp" or (parts.path in ("", "/", "/announce") and not parts.query)


def is_websocket(url: str) -> bool:
    """Tell whether browsers are found through this tracker, and nobody else is."""
    return url.partition(":")[0] in ("ws", "wss")


def browser_trackers(urls: Iterable[str]) -> list[str]:
    """Choose the trackers that a page in a browser may call.

    None at an IPv6 address: a Content-Security-Policy has no way to name one (CSP 3, 2.3.1).
    """
    return [url for url in urls if is_websocket(url) and parse_tracker(url) and "[" not in url]


def usable_trackers(urls: Iterable[str], network: Network) -> tuple[list[str], list[str]]:
    """Split a link's trackers into those to use and those to use only when their name is a public address.

    In `lan` and `loopback` every name is dropped, so no name is ever looked up there.
    """
    good: list[str] = []
    after_lookup: list[str] = []
    for url in list(dict.fromkeys(urls))[:MOST_TRACKERS]:
        if not (tracker := parse_tracker(url)):
            continue
        _, host, ordinary = tracker
        if address := parse_address(host):
            if network.allows(address) and (ordinary or not is_private(address)):
                good.append(url)
        elif network is Network.PUBLIC:
            (good if ordinary else after_lookup).append(url)
    return good, after_lookup


@functools.cache
def trackers_of(own: tuple[str, ...], network: Network) -> tuple[str, ...]:
    """Give the trackers a memo is announced to: its own or the default ones, as far as the network allows."""
    return tuple(usable_trackers(own or DEFAULT_TRACKERS, network)[0])


def usable_peers(peers: Iterable[str], network: Network, own: Iterable[Address]) -> list[tuple[str, int]]:
    """Choose the peers of a link that may be called; private ones only where this machine has such a network.

    Link-local addresses are a network of their own: every interface has one, wherever it leads.
    """
    networks = {address.is_link_local for address in own if is_private(address) and not address.is_loopback}
    chosen: dict[tuple[str, int], None] = {}  # an ordered set
    for address, port in filter(None, map(parse_peer, peers)):
        near = is_private(address) and not address.is_loopback
        nobody = address.is_multicast or address.is_unspecified
        if network.allows(address) and not nobody and (not near or address.is_link_local in networks):
            chosen[str(address), port] = None
        if len(chosen) == MOST_PEERS:
            break
    return list(chosen)


def usable_candidates(description: str, network: Network) -> str:
    """Take out of a WebRTC description (SDP, RFC 8866) every candidate (RFC 8839) that may not be called.

    Names are not: looking one up may leave the network.
    """

    def usable(line: str) -> bool:
        if "candidate" not in line.lower() or line == "a=end-of-candidates":
            return True
        found = _CANDIDATE.fullmatch(line)
        peer = found and parse_peer(":".join(found.groups()))
        return bool(peer and network.allows(peer[0]) and not peer[0].is_multicast)

    return "".join(f"{line}\r\n" for line in re.split(r"[\r\n]+", description) if line and usable(line))


_network = functools.cache(ip_network)


def _within(address: Address, ranges: Iterable[str]) -> bool:
    return any(address in _network(text) for text in ranges)
