"""Where the clusters of a memo's file begin: who plays it while it loads can begin at each of them.

The neighbour of `webm` that reads Matroska (RFC 9559) itself, because files from browsers have no Cues. Nothing but the
heads of elements is read, and a file that is broken, or is meant to be, ends where it makes no sense.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MOST = 1_000  # clusters that are told: of an hour all, of a day every 87 s one
_MOST_ELEMENTS = 2_000_000  # a stranger's file may have a billion
_HEAD = 12  # bytes: the longest id and size (RFC 8794)
_SEGMENT, _CLUSTER, _INFO, _SCALE, _TIMESTAMP = 0x18538067, 0x1F43B675, 0x1549A966, 0x2AD7B1, 0xE7
_LONGEST_HEADER = 1 << 20  # bytes that stand before the first cluster and are looked through for the codec


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """What somebody needs to play a memo from the middle."""

    codec: str  # as in MIME types: opus or vorbis
    starts: tuple[tuple[float, int], ...]  # seconds, and where in the file; first the first, thinned evenly


def clusters_of(path: Path) -> Clusters:
    """Find the clusters of a file; OSError when it cannot be read, no starts when it has none."""
    with open(path, "rb") as file:
        starts = _walk(file)
        file.seek(0)
        header = file.read(min(starts[0][1] if starts else _LONGEST_HEADER, _LONGEST_HEADER))
    every = -(-len(starts) // MOST) or 1
    return Clusters(codec="vorbis" if b"A_VORBIS" in header else "opus", starts=tuple(starts[::every]))


def _walk(file: BinaryIO) -> list[tuple[float, int]]:
    starts: list[tuple[float, int]] = []
    scale = 1_000_000  # nanoseconds in a tick
    at = end = 0  # end: of the cluster we are in, 0 where that is not known
    size_of_all = file.seek(0, 2)
    for _ in range(_MOST_ELEMENTS):
        if at >= size_of_all:  # a liar's elements end where no file system can seek to
            break
        file.seek(at)
        head = file.read(_HEAD)
        element, id_length = _vint(head, keep_marker=True)
        size, size_length = _vint(head[id_length:], keep_marker=False)
        if not id_length or not size_length:
            break
        begin, at = at, at + id_length + size_length
        unknown = size == (1 << 7 * size_length) - 1  # as browsers write it
        if element == _CLUSTER:
            starts.append((-1.0, begin))
            end = 0 if unknown else at + size
        elif element in (_SCALE, _TIMESTAMP) and 0 < size <= 8:
            file.seek(at)
            number = int.from_bytes(file.read(size), "big")
            if element == _SCALE:
                scale = number
            elif starts and starts[-1][0] < 0:
                starts[-1] = number * scale / 1e9, starts[-1][1]
                if end:
                    at = end
                    continue
        if element not in (_SEGMENT, _CLUSTER, _INFO):  # else its children come next
            if unknown:
                break
            at += size
    told = [(round(seconds, 3), begin) for seconds, begin in starts if seconds >= 0]
    rising = [told[0]] if told else []
    for seconds, begin in told[1:]:
        if seconds > rising[-1][0]:
            rising.append((seconds, begin))
    return rising


def _vint(data: bytes, *, keep_marker: bool) -> tuple[int, int]:
    """Read a number of variable length (RFC 8794, 4) as itself and its length, 0 where there is none."""
    length = 9 - data[0].bit_length() if data and data[0] else 0
    if not length or len(data) < length:
        return 0, 0
    number = int.from_bytes(data[:length], "big")
    return number if keep_marker else number & (1 << 7 * length) - 1, length
