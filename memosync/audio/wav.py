"""WAV as it is written: what stands before the samples, in RIFF, or in RF64 where they are more than RIFF can count.

Multimedia Programming Interface and Data Specifications 1.0 (RIFF, INFO); EBU Tech 3306 (RF64, ds64). libsndfile would
write the same, but not into a pipe, and it has no name for tags (IKEY).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

UNKNOWN = 2**32 - 1  # frames: of a stream that cannot tell its length before it has ended
MOST = 2**32 - 2  # bytes that RIFF can count; one more means that ds64 does


def header(channels: int, rate: int, info: Mapping[bytes, str], frames: int) -> bytes:
    """Make all that stands before `frames` 16-bit samples of each channel; `info` are chunks of INFO by their names.

    Of `UNKNOWN` frames it says the most that RIFF can.
    """
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * 2 * channels, 2 * channels, 16)
    said = b"".join(_chunk(name, text.encode() + b"\0") for name, text in info.items() if text)
    before = _chunk(b"fmt ", form) + _chunk(b"LIST", b"INFO" + said)
    samples = frames * 2 * channels  # bytes, always even
    size = len(b"WAVE") + len(before) + 8 + samples  # what RIFF counts: all that is behind it
    if frames == UNKNOWN:
        size = samples = UNKNOWN
    elif size > MOST:
        counts = struct.pack("<QQQI", size + 36, samples, frames, 0)  # the last for a table, of which there is none
        return b"RF64\xff\xff\xff\xffWAVE" + _chunk(b"ds64", counts) + before + b"data\xff\xff\xff\xff"
    return b"RIFF" + struct.pack("<I", size) + b"WAVE" + before + b"data" + struct.pack("<I", samples)


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
