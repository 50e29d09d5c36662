"""What networks this machine is connected to, as the kernel routes to them (rtnetlink(7))."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_network

from ..network import Block

_GET_ROUTES = 26  # RTM_GETROUTE
_REQUEST_ALL = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_ERROR, _DONE = 2, 3  # NLMSG_ERROR, NLMSG_DONE
_UNICAST, _LOCAL = 1, 2  # RTN_UNICAST, RTN_LOCAL
_DESTINATION, _GATEWAY, _SEVERAL_HOPS, _VIA = 1, 5, 9, 18  # RTA_DST, RTA_GATEWAY, RTA_MULTIPATH, RTA_VIA
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence number, port
_ROUTE = struct.Struct("=8BI")  # rtmsg: family, length of destination and source, TOS, table, protocol, scope, type
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type


def connected() -> tuple[Block, ...]:
    """Give every block of addresses that is reached without a gateway, and each that is this machine's own.

    All of the kernel's tables count: a VPN often has one of its own. Nothing where the kernel does not say.
    """
    blocks: dict[Block, None] = {}  # an ordered set
    with contextlib.suppress(OSError, AttributeError, ValueError, struct.error):
        for message in _routes():
            if block := _connected(message):
                blocks[block] = None
    return tuple(sorted(blocks, key=str))


def _routes() -> Iterator[bytes]:
    """Ask the kernel for all routes; OSError when it does not answer."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
        kernel.settimeout(1)
        kernel.send(_HEADER.pack(_HEADER.size + _ROUTE.size, _GET_ROUTES, _REQUEST_ALL, 1, 0) + bytes(_ROUTE.size))
        while True:
            data = kernel.recv(1 << 17)
            while len(data) >= _HEADER.size:
                length, kind, *_ = _HEADER.unpack_from(data)
                if kind in (_DONE, _ERROR) or length < _HEADER.size:
                    return
                yield data[_HEADER.size : length]
                data = data[_aligned(length) :]


def _connected(message: bytes) -> Block | None:
    """Read one route; None for one that leads by a gateway, to everywhere, or not to machines."""
    family, bits, *_, kind, _flags = _ROUTE.unpack_from(message)
    attributes: dict[int, bytes] = {}
    rest = message[_ROUTE.size :]
    while len(rest) >= _ATTRIBUTE.size:
        length, name = _ATTRIBUTE.unpack_from(rest)
        if length < _ATTRIBUTE.size:
            break
        attributes[name] = rest[_ATTRIBUTE.size : length]
        rest = rest[_aligned(length) :]
    by_others = attributes.keys() & {_GATEWAY, _SEVERAL_HOPS, _VIA}
    if family not in (socket.AF_INET, socket.AF_INET6) or kind not in (_UNICAST, _LOCAL) or by_others or not bits:
        return None
    return ip_network((attributes[_DESTINATION], bits)) if _DESTINATION in attributes else None


def _aligned(length: int) -> int:
    return length + 3 & ~3
