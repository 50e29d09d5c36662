"""MP4 and QuickTime, as far as FFmpeg has them wrong: boxes, and the edit list of the sound (ISO/IEC 14496-12)."""

from __future__ import annotations

from collections.abc import Iterator

from .headers import Peek

_BEGIN = {b"ftyp", b"moov", b"wide", b"free", b"skip", b"pnot", b"uuid", b"mdat"}  # how one may
_AHEAD = 1 << 26  # bytes of a pipe in which the index must begin
_MOST = 1 << 62  # bytes of a file


def why_unedited(peek: Peek, *, behind: bool) -> str:
    """Say why the edit list of an MP4's sound cannot be followed (8.6.6); nothing where it can, or there is none.

    In a pause between two parts FFmpeg (8.1) plays the beginning; a length of 0, which is for fragments, leaves nothing
    elsewhere. `behind` the sound the index is looked for where that can be passed.
    """
    if peek(4, 4) not in _BEGIN:
        return ""
    places = ((at, end) for name, at, end in _boxes(peek, 0, _MOST if behind else _AHEAD) if name == b"moov")
    at, end = next(places, (0, 0))
    moov = peek(at, min(end - at, _AHEAD))

    def within(at: int, size: int) -> bytes:
        return moov[at : at + size]

    boxes = list(_boxes(within, 0, len(moov)))
    for _, at, end in (box for box in boxes if box[0] == b"trak"):
        inside = {name: (at, end) for name, at, end in _boxes(within, at, end)}
        media = {name: at for name, at, _ in _boxes(within, *inside.get(b"mdia", (0, 0)))}
        lists = {name: (at, end) for name, at, end in _boxes(within, *inside.get(b"edts", (0, 0)))}
        if b"hdlr" not in media or within(media[b"hdlr"] + 8, 4) != b"soun" or b"elst" not in lists:
            continue
        at, end = lists[b"elst"]
        width = 8 if within(at, 1) == b"\1" else 4
        edits = range(at + 8, end, 2 * width + 4)
        is_pause = [within(edit + width, width) == b"\xff" * width for edit in edits]
        if any(is_pause[1:-1]):
            return "has pauses in it"
        lengths = [within(edit, width) for edit, pause in zip(edits, is_pause, strict=True) if not pause]
        if not any(map(any, lengths)) and all(name != b"mvex" for name, _, _ in boxes):
            return "leaves nothing of it"
    return ""


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
