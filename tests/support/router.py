"""A router's own answers to who asks it to let connections in: NAT-PMP (RFC 6886) or PCP (RFC 6887), on UDP port 5351.

    python tests/support/router.py pmp|pcp ADDRESS OUTSIDE

answers at an address inside; what it grants is forwarded by iptables from `eth0`, whose address is `OUTSIDE`. It prints
a line for each port that it grants, and ends with its standard input.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import subprocess
import sys
import threading

PORT = 5351
UDP, TCP = 17, 6
UNSUPPORTED_VERSION = 1
LIFETIME = 3600  # seconds


def main() -> None:
    kind, address, outside = sys.argv[1:]
    threading.Thread(target=_serve, args=(kind, address, ipaddress.IPv4Address(outside)), daemon=True).start()
    sys.stdin.read()


def _serve(kind: str, address: str, outside: ipaddress.IPv4Address) -> None:
    asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asked.bind((address, PORT))
    print("ready", flush=True)
    while True:
        request, who = asked.recvfrom(1100)
        version, operation = request[:2]
        if kind == "pcp" and version == 2 and operation == 1 and len(request) >= 60:  # MAP
            protocol, inside = request[36], int.from_bytes(request[40:42], "big")
            _forward(protocol, inside, who[0])
            head = struct.pack(">BBBBII12x", 2, 0x81, 0, 0, LIFETIME, 1)
            mapped = ipaddress.IPv6Address(f"::ffff:{outside}").packed
            asked.sendto(head + request[24:42] + request[40:42] + mapped, who)
        elif kind == "pmp" and version == 0 and operation == 0:
            asked.sendto(struct.pack(">BBHI4s", 0, 128, 0, 1, outside.packed), who)
        elif kind == "pmp" and version == 0 and operation in (1, 2) and len(request) >= 12:
            inside = int.from_bytes(request[4:6], "big")
            _forward(UDP if operation == 1 else TCP, inside, who[0])
            asked.sendto(struct.pack(">BBHIHHI", 0, 128 + operation, 0, 1, inside, inside, LIFETIME), who)
        else:  # of another version, as RFC 6886, 3.5, and RFC 6887, appendix A, have it
            asked.sendto(struct.pack(">BBHI", 0, 128 + operation % 128, UNSUPPORTED_VERSION, 1), who)


def _forward(protocol: int, port: int, inside: str) -> None:
    name = {UDP: "udp", TCP: "tcp"}[protocol]
    for rule in (
        f"-t nat -I PREROUTING -i eth0 -p {name} --dport {port} -j DNAT --to {inside}",
        f"-I FORWARD -i eth0 -p {name} -d {inside} --dport {port} -j ACCEPT",
    ):
        subprocess.run(["iptables", "-w", *rule.split()], check=True)
    print(name, port, flush=True)


if __name__ == "__main__":
    main()
