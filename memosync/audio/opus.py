"""What is written in an Opus packet and in the head of a stream of them. Pure."""

from __future__ import annotations

import struct

RATE = 48_000  # Hz, at which Opus counts whatever it was given
PRE_SKIP = 312  # samples that libopus has a decoder throw away at 48 kHz, 6.5 ms
_LONGEST = 5_760  # samples of a packet: 120 ms
_FRAME = [(480, 960, 1920, 2880)[config & 3] for config in range(12)]
_FRAME += [480 << (config & 1) for config in range(12, 16)] + [120 << (config & 3) for config in range(16, 32)]


def samples(packet: bytes) -> int:
    """Read how many samples at 48 kHz a packet gives (RFC 6716, 3.1); ValueError for one that cannot be (3.4)."""
    if not packet:
        raise ValueError("an empty packet")
    frame, code, size = _FRAME[packet[0] >> 3], packet[0] & 3, len(packet) - 1
    if code == 0:
        return frame
    if code == 1 and size % 2 == 0:
        return 2 * frame
    if code == 2 and size and size > _length(packet, 1):
        return 2 * frame
    if code == 3 and size and 0 < (count := packet[1] & 63) * frame <= _LONGEST:
        return count * frame
    raise ValueError("a broken packet")


def _length(packet: bytes, at: int) -> int:
    """Read the length of a frame, its own bytes counted too (RFC 6716, 3.2.1)."""
    first = packet[at]
    if first < 252:
        return first + 1
    return 4 * packet[at + 1] + first + 2 if at + 1 < len(packet) else len(packet)


def head(channels: int, pre_skip: int = PRE_SKIP) -> bytes:
    """Make the head of a stream that came without one (RFC 7845, 5.1)."""
    return b"OpusHead" + struct.pack("<BBHIhB", 1, channels, pre_skip, RATE, 0, 0)


def pre_skip(extradata: bytes | None) -> int | None:
    """Read from a stream's head how many samples a decoder throws away at the start; None without a head."""
    if not extradata or len(extradata) < 19 or extradata[:8] != b"OpusHead":
        return None
    return int.from_bytes(extradata[10:12], "little")
