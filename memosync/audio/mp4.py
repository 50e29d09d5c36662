"""MP4 and QuickTime, as far as FFmpeg has them wrong: the edit list of the sound (ISO/IEC 14496-12), words of 3GP."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

from .id3 import Peek

_BEGIN = {b"ftyp", b"moov", b"wide", b"free", b"skip", b"pnot", b"uuid", b"mdat"}  # how one may
_AHEAD = 1 << 26  # bytes of a pipe in which the index must begin
_MOST = 1 << 62  # bytes of a file
_NOTHING = 0.001  # seconds
_WORDS = {  # boxes of 3GP (3GPP TS 26.244, 8), and what FFmpeg calls the like
    b"titl": "title",
    b"dscp": "description",
    b"perf": "artist",
    b"auth": "author",
    b"albm": "album",
    b"gnre": "genre",
    b"cprt": "copyright",
}


def index_of(peek: Peek, *, behind: bool) -> bytes:
    """Give what says what is in a file (`moov`, 8.2.1), `behind` the sound where that can be passed; else nothing."""
    if peek(4, 4) not in _BEGIN:
        return b""
    places = ((at, end) for name, at, end in _boxes(peek, 0, _MOST if behind else _AHEAD) if name == b"moov")
    at, end = next(places, (0, 0))
    return peek(at, min(end - at, _AHEAD)) if end else b""


def why_unedited(index: bytes) -> str:
    """Say why the edit list of the sound cannot be followed (8.6.6); nothing where it can, or there is none.

    In a pause between two parts FFmpeg (8.1) plays the beginning; a length of 0, which is for fragments, leaves nothing
    elsewhere, nor does a part that begins behind the sound.
    """
    in_fragments = any(name == b"mvex" for name, _ in _in(index))
    scale, _ = _time(_find(index, b"mvhd"))
    for track in (body for name, body in _in(index) if name == b"trak"):
        edits = _edits(_find(track, b"edts", b"elst"))
        if not edits or _find(track, b"mdia", b"hdlr")[8:12] != b"soun":
            continue
        if any(start < 0 for _, start in edits[1:-1]):
            return "has pauses in it"
        unit, all_of_it = _time(_find(track, b"mdia", b"mdhd"))
        left = sum(min(length / scale, max(0, all_of_it - start) / unit) for length, start in edits if start >= 0)
        if left < _NOTHING and not in_fragments:
            return "leaves nothing of it"
    return ""


def words_of_3gp(index: bytes) -> dict[str, bytes]:
    """Find the words of 3GP, of which FFmpeg (8.1) writes all and reads none, by its names."""
    places = [_find(index, b"udta"), *(_find(body, b"udta") for name, body in _in(index) if name == b"trak")]
    boxes = [box for place in places for box in _in(place)]
    words = {_WORDS[name]: body[6:] for name, body in reversed(boxes) if name in _WORDS}  # behind a language
    if year := int.from_bytes(dict(boxes).get(b"yrrc", b"")[4:6], "big"):
        words["date"] = b"%d" % year
    return words


def _edits(body: bytes) -> list[tuple[int, int]]:
    """Give the length of each edit, in the movie's time, and where in the sound it begins; -1: it is a pause."""
    form, step = (">Qq", 20) if body[:1] == b"\1" else (">Ii", 12)
    return [struct.unpack_from(form, body, at) for at in range(8, len(body) - step + 1, step)]


def _time(body: bytes) -> tuple[int, float]:
    """Read ticks in a second, and a duration in them, infinite where it is not known (8.2.2, 8.4.2)."""
    form, at = (">IQ", 20) if body[:1] == b"\1" else (">II", 12)
    if len(body) < at + struct.calcsize(form):
        return 1, math.inf
    scale, duration = struct.unpack_from(form, body, at)
    return scale or 1, duration or math.inf


def _find(body: bytes, *names: bytes) -> bytes:
    """Give the body of the first box of that name, and in it of the next; nothing where there is none."""
    for name in names:
        body = next((found for called, found in _in(body) if called == name), b"")
    return body


def _in(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give the boxes in another one."""
    boxes = _boxes(lambda at, size: body[at : at + size], 0, len(body))
    return ((name, body[at:end]) for name, at, end in boxes)


def _boxes(peek: Peek, at: int, until: int) -> Iterator[tuple[bytes, int, int]]:
    """Give the boxes of an MP4 (4.2): name, and where the body begins and ends."""
    while at < until and len(head := peek(at, 16)) >= 8:
        size, name, body = int.from_bytes(head[:4], "big"), head[4:8], at + 8
        if size == 1:
            size, body = int.from_bytes(head[8:], "big"), at + 16
        end = min(at + size if size else until, until)
        if end < body:
            return
        yield name, body, end
        at = end
