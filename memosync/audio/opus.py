"""What is written in an Opus packet and in the head of a stream of them. Pure."""

from __future__ import annotations

import struct

RATE = 48_000  # Hz, at which Opus counts whatever it was given
PRE_SKIP = 312  # samples that libopus has a decoder throw away at 48 kHz, 6.5 ms
LONGEST = 5_760  # samples of a packet: 120 ms
_FASTEST = 768_000  # Hz of which anybody has recorded


def _frame(config: int) -> int:
    """Give the samples of a frame by its configuration (RFC 6716, 3.1, table 2)."""
    if config < 12:
        return (480, 960, 1920, 2880)[config & 3]
    return 480 << (config & 1) if config < 16 else 120 << (config & 3)


_FRAMES = [_frame(toc >> 3) for toc in range(256)]
SAMPLES = [_frame(toc >> 3) * (1, 2, 2, 0)[toc & 3] for toc in range(256)]  # of a packet; 0: see its next byte


def count_samples(packet: bytes | memoryview) -> int:
    """Tell how many samples at 48 kHz a packet gives (RFC 6716, 3.1); 0 when it is none."""
    if not packet:
        return 0
    if samples := SAMPLES[packet[0]]:
        return samples
    samples = _FRAMES[packet[0]] * (packet[1] & 63) if len(packet) > 1 else 0
    return samples if samples <= LONGEST else 0


def samples(packet: bytes) -> int:
    """Do the same with more suspicion: ValueError for a packet that no decoder takes (RFC 6716, 3.4)."""
    code, size = packet[0] & 3 if packet else 0, len(packet) - 1
    cut = (code == 1 and size % 2) or (code == 2 and (not size or size <= _length(packet, 1)))
    if cut or not (count := count_samples(packet)):
        raise ValueError("an empty packet" if not packet else "a broken packet")
    return count


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
    """Read from a stream's head how many samples a decoder throws away at the start; None without a head.

    One whose numbers are the wrong way round, as GStreamer 1.22 writes it into MP4, is none: by its rate that is seen.
    """
    if not extradata or len(extradata) < 19 or extradata[:8] != b"OpusHead":
        return None
    if int.from_bytes(extradata[12:16], "little") > _FASTEST >= int.from_bytes(extradata[12:16], "big"):
        return None
    return int.from_bytes(extradata[10:12], "little")


def decoding(extradata: bytes | None) -> bytes:
    """Give what in a stream's head says how packets are decoded: channels, pre-skip, gain (RFC 7845, 5.1)."""
    return extradata[9:12] + extradata[16:] if extradata and pre_skip(extradata) is not None else b""
