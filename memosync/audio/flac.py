"""FLAC as it comes out of a pipe, cut into frames (RFC 9639).

FFmpeg would do it, but keeps the last ten frames to itself: a second of sound, which kill -9 would take along.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

_SYNC = re.compile(b"\xff[\xf8\xf9]")
_HEADER = 17  # bytes of the longest frame header, and one
_LONGEST = 2**20  # bytes after which what has no end is no frame


def metadata_size(peek: Callable[[int], bytes]) -> int:
    """Give the bytes before the first frame; 0 when this is not FLAC."""
    at, last = 4, False
    while not last and at < 2**25:
        header = peek(at + 4)[at:]
        if len(header) < 4 or peek(4) != b"fLaC":
            return 0
        last = header[0] >= 0x80
        at += 4 + int.from_bytes(header[1:4], "big")
    return at if last and len(peek(at)) == at else 0


def frames(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Give each frame as soon as the next one begins, the last one at the end; damaged ones are whole again later."""
    held, at = bytearray(), 0
    before: tuple[bytes, int] | None = None
    for data in itertools.chain(iter(lambda: read(65_536), b""), [bytes(_HEADER)]):  # zeros: the last may be shorter
        held += data
        while (sync := _SYNC.search(held, at)) and (start := sync.start()) + _HEADER <= len(held):
            header = _header(bytes(held[start : start + _HEADER]))
            at = start + 1
            if header and (before is None or _follows(before, header)):
                if start:
                    yield bytes(held[:start])
                del held[:start]
                before, at = header, 1
        at = sync.start() if sync else max(0, len(held) - 1)
        if len(held) > _LONGEST:
            del held[:at]
            before, at = None, 0
    if len(held) > _HEADER:
        yield bytes(held[:-_HEADER])


def _header(data: bytes) -> tuple[bytes, int] | None:
    """Read a frame header (9.1): what is the same in all of a stream, and the number of the frame or its first sample.

    None when it is none: a frame may well contain the two bytes that one begins with.
    """
    ones = 8 - (data[4] ^ 0xFF).bit_length()
    start = 5 + max(0, ones - 1)
    end = start + {6: 1, 7: 2}.get(data[2] >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(data[2] & 15, 0)
    if ones in (1, 8) or _crc8(data[:end]) != data[end]:
        return None
    number = data[4] & 0x7F >> ones
    for byte in data[5:start]:
        number = number << 6 | byte & 0x3F
    return bytes((data[1], data[2] & 15, data[3] & 15)), number


def _follows(before: tuple[bytes, int], header: tuple[bytes, int]) -> bool:
    """Tell whether a header continues a stream, some frames of which may be damaged."""
    furthest = 65_535 if before[0][0] & 1 else 16  # it counts samples, or frames
    return before[0] == header[0] and 0 < header[1] - before[1] <= furthest


def _crc8(data: bytes) -> int:
    """The check sum of a header: polynomial x^8 + x^2 + x + 1 (9.1.8)."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value << 1 ^ (0x107 if value & 0x80 else 0)
    return value
