"""How far a session may reach, and what of a stranger's list of addresses may be called at all.

Pure: names are not looked up here.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Block = IPv4Network | IPv6Network  # of addresses

# Long-lived public trackers, UDP (BEP 15) for programs and WebSocket for browser tabs: the ones WebTorrent itself uses.
DEFAULT_TRACKERS = (
    "udp://tracker.opentrackr.org:1337/announce",
    "udp://explodie.org:6969/announce",
    "wss://tracker.openwebtorrent.com",
    "wss://tracker.webtorrent.dev",
    "wss://tracker.btorrent.xyz",
)
MOST_TRACKERS, MOST_PEERS = 20, 8  # taken from one link
LONGEST_TRACKER = 500  # characters
_NUMBER = re.compile(r"(?i)(?:^|\.)(?:\d+|0x[\da-f]*)\.?$")  # "127.1", "0x7f000001": addresses, and no names
_CANDIDATE = re.compile(r"a=candidate:\S+ \d+ \w+ \d+ ([0-9a-fA-F.:]+) ([0-9]+) typ [ -~]*")
_LOOPBACK = ("127.0.0.0/8", "::1/128")
_PRIVATE = (
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"),
    *("fe80::/10", "fc00::/7"),
)
# On the internet nobody is at these (RFC 6890): this machine, groups, and IPv4 in the clothes of IPv6, in which any
# address may hide: mapped, compatible and translated ones all begin with eight zeros, Teredo, 6to4.
_NOBODY = ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/8", "2001::/32", "2002::/16", "fec0::/10", "ff00::/8")
_EVERYBODY = ("0.0.0.0/0", "::/0")


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


@dataclass(frozen=True, slots=True)
class Reach:
    """Which peers may be called, whoever names them: what a link, a tracker, a peer or a tab says is a stranger's word.

    On `public` nobody on this machine, and private addresses only in networks that this machine is connected to.
    """

    network: Network
    near: tuple[Block, ...] = ()  # the blocks that this machine is connected to, or has itself

    def rules(self) -> Iterator[tuple[Block, bool]]:
        """Give blocks of addresses and whether they may be called; of two that overlap the later one counts."""
        if self.network is not Network.PUBLIC:
            yield from ((_block(text), False) for text in _EVERYBODY)
            yield from ((_block(text), True) for text in self.network.ranges)
            return
        yield from ((_block(text), False) for text in (*_NOBODY, *_PRIVATE))
        private = list(map(_block, _PRIVATE))
        yield from ((block, True) for block in self.near if any(_is_part(block, whole) for whole in private))

    def is_near(self, address: Address) -> bool:
        """Tell whether an address is this machine's, or of a machine that it is connected to."""
        return any(address in block for block in self.near)

    def allows(self, address: Address) -> bool:
        """Tell whether a peer at an address may be called."""
        return [True, *(may for block, may in self.rules() if address in block)][-1] and not address.is_multicast


def is_private(address: Address) -> bool:
    return _within(address, (*_PRIVATE, *_NOBODY))


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """An address of this machine, and what the kernel says of it."""

    address: Address
    metric: int | None = None  # of the default route over its interface, the smallest counts; None where none leads
    is_aside: bool = False  # its interface is a bridge, a tunnel or a VPN
    is_temporary: bool = False  # another one in a few hours (RFC 8981)
    is_deprecated: bool = False  # its prefix is no longer this network's (RFC 4862)
    has_carrier: bool = True  # its interface has a cable, or is in a wireless network


def reachable_at(own: Iterable[Local], network: Network) -> list[Address]:
    """Order the addresses of this machine for a link, so that the first few are the best of them.

    Those where the default route leads come first, bridges and VPNs last, and the best one of each family before all
    the others. Left out is what nobody can call: what `network` excludes, what is deprecated, IPv6 addresses that
    mean another machine elsewhere; and, where there are others, those of the loopback interface.
    """
    usable = [
        local
        for local in own
        if network.allows(local.address) and not (local.address.version == 6 and local.address.is_link_local)
    ]
    usable = [local for local in usable if not local.is_deprecated] or usable
    usable = [local for local in usable if not local.address.is_loopback] or usable

    def worth(local: Local) -> tuple[bool, bool, int, bool, bool, bool, int]:
        return (
            local.metric is None,
            local.is_aside,
            local.metric or 0,
            local.address.is_link_local,
            is_private(local.address),
            local.is_temporary,
            local.address.version,
        )

    ordered = [local.address for local in sorted(usable, key=worth)]
    first = {address.version: address for address in reversed(ordered)}
    return sorted(ordered, key=lambda address: first[address.version] != address)


def is_cut_off(addresses: Iterable[str], network: Network) -> bool:
    """Tell whether only this machine reaches what is at these addresses, and others are meant to."""
    found = [parse_address(address) for address in addresses]
    return network is not Network.LOOPBACK and bool(found) and all(address and address.is_loopback for address in found)


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
    if address is None or not re.fullmatch(r"[0-9]{1,5}", port) or not 1024 <= int(port) <= 65535:
        return None
    return address, int(port)


@dataclass(frozen=True, slots=True)
class Tracker:
    """A tracker's URL, taken apart."""

    url: str  # its scheme in lower case
    scheme: str
    host: str
    is_ordinary: bool  # its request is one that any tracker gets

    def may_be_asked(self, address: Address, network: Network, *, typed: bool) -> bool:
        """Tell whether it may be asked at an address: that of its URL, or one that its name has.

        An HTTP or WebSocket request goes out as the URL's author wrote it, so one whose path is neither `/` nor
        `/announce`, or that has a query, reaches no private address, unless the URL was `typed` here.
        """
        if not network.allows(address) or address.is_multicast or address.is_unspecified:
            return False
        return typed or self.is_ordinary or not is_private(address)


def parse_tracker(url: str) -> Tracker | None:
    """Read a tracker's URL; None when it is none.

    One with a fragment is none: what stands behind the # would be sent. Nor is one with a user's name in it.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ("udp", "http", "https", "ws", "wss") or not host or len(url) > LONGEST_TRACKER:
        return None
    if not parse_address(host) and (not re.fullmatch(r"[\w.-]+", host) or _NUMBER.search(host)):
        return None
    if not url.isprintable() or " " in url or "#" in url or "@" in parts.netloc:
        return None
    ordinary = parts.path in ("", "/", "/announce") and "?" not in url
    whole = parts.scheme + url[len(parts.scheme) :]
    return Tracker(whole, parts.scheme, host, parts.scheme == "udp" or ordinary)


def is_websocket(url: str) -> bool:
    """Tell whether browsers are found through this tracker, and nobody else is."""
    return url.partition(":")[0] in ("ws", "wss")


def is_udp(url: str) -> bool:
    """Tell whether a tracker takes datagrams (BEP 15)."""
    return url.startswith("udp:")


def browser_trackers(urls: Iterable[str]) -> list[str]:
    """Choose the trackers that a page in a browser may call.

    None at an IPv6 address: a Content-Security-Policy has no way to name one (CSP 3, 2.3.1).
    """
    return [url for url in urls if is_websocket(url) and parse_tracker(url) and "[" not in url]


def usable_trackers(urls: Iterable[str], network: Network, *, typed: bool = False) -> list[str]:
    """Choose the trackers to use, `typed` by a person here or named by a link.

    In `lan` and `loopback` every name is dropped, so no name is ever looked up there. Elsewhere it is looked up when
    the tracker is asked, and what addresses it has decides then.
    """
    usable: dict[str, None] = {}  # an ordered set
    for tracker in filter(None, map(parse_tracker, urls)):
        address = parse_address(tracker.host)
        if tracker.may_be_asked(address, network, typed=typed) if address else network is Network.PUBLIC:
            usable[tracker.url] = None
        if len(usable) == MOST_TRACKERS:
            break
    return list(usable)


@functools.cache
def trackers_of(own: tuple[str, ...], network: Network, *, typed: bool = False) -> tuple[str, ...]:
    """Give the trackers a memo is announced to: its own or the default ones, as far as the network allows."""
    return tuple(usable_trackers(own or DEFAULT_TRACKERS, network, typed=typed))


def usable_peers(peers: Iterable[str], reach: Reach) -> list[tuple[str, int]]:
    """Choose the peers of a link that may be called, at most MOST_PEERS."""
    found = (peer for peer in map(parse_peer, peers) if peer and reach.allows(peer[0]))
    chosen = dict.fromkeys((str(address), port) for address, port in found)
    return list(chosen)[:MOST_PEERS]


def usable_candidates(description: str, reach: Reach) -> str:
    """Take out of a WebRTC description (SDP, RFC 8866) every candidate (RFC 8839) that may not be called.

    Names are not: looking one up may leave the network.
    """

    def usable(line: str) -> bool:
        if "candidate" not in line.lower() or line == "a=end-of-candidates":
            return True
        found = _CANDIDATE.fullmatch(line)
        peer = found and parse_peer(":".join(found.groups()))
        return bool(peer and reach.allows(peer[0]))

    return "".join(f"{line}\r\n" for line in re.split(r"[\r\n]+", description) if line and usable(line))


_block = functools.cache(ip_network)


def _is_part(block: Block, whole: Block) -> bool:
    return block.version == whole.version and block.subnet_of(whole)  # type: ignore[arg-type]


def _within(address: Address, ranges: Iterable[str]) -> bool:
    return any(address in _block(text) for text in ranges)
