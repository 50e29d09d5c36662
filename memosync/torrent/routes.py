"""What this machine's networks are, as the kernel knows them (rtnetlink(7)): its addresses, and where they lead."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from ..network import Block, Local

_GET_LINKS, _GET_ADDRESSES, _GET_ROUTES = 18, 22, 26  # RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE
_REQUEST_ALL = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_ERROR, _DONE = 2, 3  # NLMSG_ERROR, NLMSG_DONE
_UNICAST, _LOCAL = 1, 2  # RTN_UNICAST, RTN_LOCAL
# RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_MULTIPATH, RTA_VIA
_DESTINATION, _INTERFACE, _GATEWAY, _METRIC, _SEVERAL_HOPS, _VIA = 1, 4, 5, 6, 9, 18
_MAIN = 254  # RT_TABLE_MAIN: the table of wg-quick(8) and its like, which takes everything, is another one
_WHERE, _OWN, _FLAGS = 1, 2, 8  # IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS
_TEMPORARY, _FAILED, _DEPRECATED = 0x01, 0x08, 0x20  # IFA_F_TEMPORARY, IFA_F_DADFAILED, IFA_F_DEPRECATED
_POINT_TO_POINT, _RUNNING = 0x10, 0x40  # IFF_POINTOPOINT, IFF_RUNNING
_LINK_INFO, _KIND = 18, 1  # IFLA_LINKINFO, and IFLA_INFO_KIND in it
_LIKE_A_CARD = ("", "veth", "vlan", "bond", "team", "macvlan", "ipvlan")  # others are bridges, tunnels and the like
_CHANGES = 0x01 | 0x10 | 0x40 | 0x100 | 0x400  # RTMGRP_LINK, and RTMGRP_..._IFADDR and _ROUTE of both families
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence number, port
_ROUTE = struct.Struct("=8BI")  # rtmsg: family, length of destination and source, TOS, table, protocol, scope, type
_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
_ADDRESS = struct.Struct("=4BI")  # ifaddrmsg: family, length of prefix, flags, scope, index of the interface
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type
_HOP = struct.Struct("=HBBi")  # rtnexthop: length, flags, hops, index of the interface
_WORST = 2**32  # a metric that no route has


def connected() -> tuple[Block, ...]:
    """Give every block of addresses that is reached without a gateway, and each that is this machine's own.

    All of the kernel's tables count: a VPN often has one of its own. Nothing where the kernel does not say.
    """
    blocks: dict[Block, None] = {}  # an ordered set
    with _where_the_kernel_says():
        for message in _ask(_GET_ROUTES, _ROUTE):
            if block := _connected(message):
                blocks[block] = None
    return tuple(sorted(blocks, key=str))


def own_addresses() -> list[Local]:
    """Give every address that this machine has now. Nothing where the kernel does not say."""
    found: list[Local] = []
    with _where_the_kernel_says():
        links = dict(map(_link, _ask(_GET_LINKS, _LINK)))
        metrics: dict[int, int] = {}
        for message in _ask(_GET_ROUTES, _ROUTE):
            if default := _default(message):
                index, metric = default
                metrics[index] = min(metric, metrics.get(index, _WORST))
        for message in _ask(_GET_ADDRESSES, _ADDRESS):
            family, _, flags, _, index = _ADDRESS.unpack_from(message)
            attributes = _attributes(message[_ADDRESS.size :])
            own = attributes.get(_OWN) or attributes.get(_WHERE)  # of IPv4 the second may be the other end's
            if _FLAGS in attributes:
                flags = int.from_bytes(attributes[_FLAGS], sys.byteorder)
            is_aside, has_carrier = links.get(index, (False, True))
            if own and not flags & _FAILED:
                found.append(
                    Local(
                        address=ip_address(own),
                        metric=metrics.get(index),
                        is_aside=is_aside,
                        is_temporary=family == socket.AF_INET6 and bool(flags & _TEMPORARY),
                        is_deprecated=bool(flags & _DEPRECATED),
                        has_carrier=has_carrier,
                    )
                )
    return found


class Changes:
    """Tells whether this machine's networks have changed since it was asked the last time, at no cost."""

    def __init__(self) -> None:
        self._kernel: socket.socket | None = None
        with _where_the_kernel_says():
            self._kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
            self._kernel.bind((0, _CHANGES))
        self._is_first = True

    def seen(self) -> bool:
        """Tell it, and always the first time."""
        changed, self._is_first = self._is_first, False
        while self._kernel:
            try:
                self._kernel.recv(1 << 17)
            except BlockingIOError:
                break
            except OSError:  # there were too many to keep (ENOBUFS)
                pass
            changed = True
        return changed


@contextlib.contextmanager
def _where_the_kernel_says() -> Iterator[None]:
    """Let other systems, sandboxes without netlink, and what is not understood come to nothing."""
    with contextlib.suppress(OSError, AttributeError, ValueError, struct.error):
        yield


def _ask(kind: int, body: struct.Struct) -> Iterator[bytes]:
    """Ask the kernel for everything of a kind; OSError when it does not answer."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
        kernel.settimeout(1)
        kernel.send(_HEADER.pack(_HEADER.size + body.size, kind, _REQUEST_ALL, 1, 0) + bytes(body.size))
        while True:
            data = kernel.recv(1 << 17)
            while len(data) >= _HEADER.size:
                length, answer, *_ = _HEADER.unpack_from(data)
                if answer in (_DONE, _ERROR) or length < _HEADER.size:
                    return
                yield data[_HEADER.size : length]
                data = data[_aligned(length) :]


def _link(message: bytes) -> tuple[int, tuple[bool, bool]]:
    """Read one interface: its index, whether it is a bridge, a tunnel or another that leads to few, and has a cable."""
    _, _, index, flags, _ = _LINK.unpack_from(message)
    info = _attributes(_attributes(message[_LINK.size :]).get(_LINK_INFO, b""))
    kind = info.get(_KIND, b"").rstrip(b"\0").decode("ascii", "replace")
    is_aside = bool(flags & _POINT_TO_POINT) or kind not in _LIKE_A_CARD
    return index, (is_aside, bool(flags & _RUNNING))


def _default(message: bytes) -> tuple[int, int] | None:
    """Read one route: the interface and the metric of one that leads to everywhere; None for any other."""
    family, bits, _, _, table, *_, kind, _flags = _ROUTE.unpack_from(message)
    if family not in (socket.AF_INET, socket.AF_INET6) or bits or table != _MAIN or kind != _UNICAST:
        return None
    attributes = _attributes(message[_ROUTE.size :])
    metric = int.from_bytes(attributes.get(_METRIC, b""), sys.byteorder)
    if _INTERFACE in attributes:
        return int.from_bytes(attributes[_INTERFACE], sys.byteorder), metric
    return (_HOP.unpack_from(attributes[_SEVERAL_HOPS])[-1], metric) if _SEVERAL_HOPS in attributes else None


def _connected(message: bytes) -> Block | None:
    """Read one route; None for one that leads by a gateway, to everywhere, or not to machines."""
    family, bits, *_, kind, _flags = _ROUTE.unpack_from(message)
    attributes = _attributes(message[_ROUTE.size :])
    by_others = attributes.keys() & {_GATEWAY, _SEVERAL_HOPS, _VIA}
    if family not in (socket.AF_INET, socket.AF_INET6) or kind not in (_UNICAST, _LOCAL) or by_others or not bits:
        return None
    return ip_network((attributes[_DESTINATION], bits)) if _DESTINATION in attributes else None


def _attributes(rest: bytes) -> dict[int, bytes]:
    attributes: dict[int, bytes] = {}
    while len(rest) >= _ATTRIBUTE.size:
        length, name = _ATTRIBUTE.unpack_from(rest)
        if length < _ATTRIBUTE.size:
            break
        attributes[name] = rest[_ATTRIBUTE.size : length]
        rest = rest[_aligned(length) :]
    return attributes


def _aligned(length: int) -> int:
    return length + 3 & ~3
