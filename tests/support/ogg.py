"""Ogg pages (RFC 3533) as odd as people's recorders write them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path


def crc(data: bytes) -> int:
    """Compute the checksum of a page bit by bit."""
    value = 0
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
    return value


def page(packets: Iterable[bytes], time: int, number: int, flags: int = 0, serial: int = 7) -> bytes:
    """Make a page of whole packets, which end at this time (samples)."""
    lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, time, serial, number, 0, len(lacing)) + lacing
    whole = bytearray(head + b"".join(packets))
    whole[22:26] = struct.pack("<I", crc(bytes(whole)))
    return bytes(whole)


def packets(path: Path) -> list[bytes]:
    """Give all packets of a file, its two headers too."""
    data, at, found, begun = path.read_bytes(), 0, [], b""
    while at < len(data):
        count = data[at + 26]
        lacing, at = data[at + 27 : at + 27 + count], at + 27 + count
        for length in lacing:
            begun, at = begun + data[at : at + length], at + length
            if length < 255:
                found.append(begun)
                begun = b""
    return found


def stream(
    packets: Sequence[bytes], time: Callable[[int], int] = lambda number: 960 * (number + 1), pages_of: int = 50
) -> bytes:
    """Write a stream whose packet `number` ends at `time(number)` samples."""
    found = page(packets[:1], 0, 0, 2) + page(packets[1:2], 0, 1)
    audio = packets[2:]
    for number in range(0, len(audio), pages_of):
        some = audio[number : number + pages_of]
        is_last = number + pages_of >= len(audio)
        found += page(some, time(number + len(some) - 1), 2 + number // pages_of, 4 if is_last else 0)
    return found
