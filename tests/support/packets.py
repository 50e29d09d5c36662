"""Every packet on all interfaces of a network namespace: a script that writes them down, and what it writes.

python packets.py [whole]
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import queue
import socket
import struct
import sys
import threading
from collections.abc import Iterable

UTP_HEADER = 20  # bytes
UTP_CARRIES = (0x01, 0x11)  # first bytes of packets that carry something, data and the last data, of version 1
ETH_P_ALL, SOL_PACKET, PACKET_STATISTICS, SO_TIMESTAMPNS = 3, 263, 6, 35  # not among Python's names


@dataclasses.dataclass(frozen=True)
class Packet:
    """What was seen of one packet on one interface."""

    interface: str
    kind: str  # ip, ipv6, arp, or a number
    protocol: int
    source: str
    destination: str
    port: int  # the destination's, 0 where there is none
    kernels: bool  # the kernel's own upkeep of IPv6, which no program asked for
    data: str = ""  # all of it from the IP header on, hexadecimal, where that was asked for
    at: float = 0.0  # when the kernel saw it, in seconds since 1970


def streams(packets: Iterable[Packet]) -> list[bytes]:
    """Put together what was sent by TCP in each direction of each connection, in its order, each byte once."""
    flows: dict[tuple[str, str, bytes], dict[int, bytes]] = {}
    for packet in packets:
        if packet.protocol == socket.IPPROTO_TCP:
            data = _carried(packet)
            flow = flows.setdefault((packet.source, packet.destination, data[:4]), {})
            begin = int.from_bytes(data[4:8], "big")
            payload = data[(data[12] >> 4) * 4 :]
            flow[begin] = max(payload, flow.get(begin, b""), key=len)
    return [_joined(flow) for flow in flows.values()]


def utp_streams(packets: Iterable[Packet]) -> list[bytes]:
    """Put together what was sent by uTP (BEP 29), the same way: its packets count, and not its bytes."""
    flows: dict[tuple[str, str, bytes], dict[int, bytes]] = {}
    latest: dict[tuple[str, str, bytes], int] = {}
    for packet in packets:
        data = _carried(packet)[8:] if packet.protocol == socket.IPPROTO_UDP else b""
        if len(data) < UTP_HEADER or data[0] not in UTP_CARRIES:
            continue
        number, extension, at = int.from_bytes(data[16:18], "big"), data[1], UTP_HEADER
        while extension and at + 2 <= len(data):
            extension, at = data[at], at + 2 + data[at + 1]
        key = packet.source, packet.destination, _carried(packet)[:4] + data[2:4]
        before = latest.get(key, number)
        number = latest[key] = before + (number - before + 2**15) % 2**16 - 2**15  # they begin anew after 65535
        flow = flows.setdefault(key, {})
        flow[number] = max(data[at:], flow.get(number, b""), key=len)
    return [b"".join(payload for _, payload in sorted(flow.items())) for flow in flows.values()]


def _carried(packet: Packet) -> bytes:
    """Give what is in an IP packet: the header of TCP or UDP, and what follows."""
    data = bytes.fromhex(packet.data)
    return data[(data[0] & 15) * 4 : int.from_bytes(data[2:4], "big")] if packet.kind == "ip" else data[40:]


def _joined(flow: dict[int, bytes]) -> bytes:
    first = next(iter(flow))
    whole = b""
    for at, payload in sorted(((begin - first) % 2**32, payload) for begin, payload in flow.items()):
        whole += payload[max(0, len(whole) + 1 - at) :]  # the first packet of a connection counts as a byte
    return whole


def main() -> None:
    """Write each packet as a line of JSON, beginning with one of our own."""
    seen: queue.SimpleQueue[Packet] = queue.SimpleQueue()  # whoever reads slowly makes us miss none
    threading.Thread(target=_write, args=(seen,), daemon=True).start()
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as packets:
        packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
        packets.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first:
            first.sendto(b"", ("127.0.0.1", 9))
        while True:
            data, [(_, _, stamp)], _, (interface, protocol, *_) = packets.recvmsg(65536, socket.CMSG_SPACE(16))
            seconds, nanoseconds = struct.unpack("qq", stamp)
            dropped = struct.unpack("II", packets.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
            if dropped:
                sys.exit(f"{dropped} packets went unseen")
            packet, at = _packet(interface, protocol, data), seconds + nanoseconds / 1e9
            seen.put(dataclasses.replace(packet, data=data.hex() if sys.argv[1:] else "", at=at))


def _write(seen: queue.SimpleQueue[Packet]) -> None:
    while True:
        print(json.dumps(dataclasses.asdict(seen.get())), flush=True)


def _packet(interface: str, kind: int, data: bytes) -> Packet:
    kernels = False
    if kind == 0x0800:
        rest = data[(data[0] & 15) * 4 :]
        name, protocol, source, destination = "ip", data[9], data[12:16], data[16:20]
    elif kind == 0x86DD:
        rest, protocol = data[40:], data[6]
        if protocol == 0:  # hop-by-hop options stand before listener reports
            rest, protocol = rest[(rest[1] + 1) * 8 :], rest[0]
        name, source, destination = "ipv6", data[8:24], data[24:40]
        # Router solicitations, and listener reports for groups that no router forwards.
        groups = [rest[start : start + 16] for start in range(12, len(rest), 20)]
        listens = rest[0] == 143 and all(group.startswith(b"\xff\x02") for group in groups)
        kernels = protocol == 58 and (rest[0] == 133 or listens)
    elif kind == 0x0806:
        name, protocol, source, destination, rest = "arp", 0, data[14:18], data[24:28], b""
    else:
        return Packet(interface, hex(kind), 0, "", "", 0, False)
    port = int.from_bytes(rest[2:4], "big") if protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP) else 0
    from_, to = (str(ipaddress.ip_address(address)) for address in (source, destination))
    return Packet(interface, name, protocol, from_, to, port, kernels)


if __name__ == "__main__":
    main()
