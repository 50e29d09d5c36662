"""Headers of WAV and its kin, from files and from pipes: what stands before plain samples.

RIFF and its big-endian twin RIFX (Multimedia Programming Interface and Data Specifications 1.0), its formats (mmreg.h,
WAVE_FORMAT_EXTENSIBLE), RF64 (EBU Tech 3306), BW64 (ITU-R BS.2088), Sony's Wave64, CAF (Apple's Core Audio Format
Specification), and AU (Sun's audio.h); an ID3 tag in front of them is passed over (ID3v2.4, 3.1).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from .id3 import Peek, behind_id3
from .pcm import ALAW, CHANNELS, FLOAT, PCM, RATES, ULAW, WIDTHS, Pcm, Sound

WAVES = {(name, b"WAVE") for name in (b"RIFF", b"RIFX", b"RF64", b"BW64")}  # how they begin, and go on after 4 bytes
W64 = b"riff\x2e\x91\xcf\x11"  # how a Wave64 begins
_NO_LENGTH = 0x7FFF0000  # what programs that write a WAV into a pipe give for its length, or more, or 0
_NEVER = 1 << 62  # bytes; what has more, or less than nothing, was never filled in
_HEADER = 1 << 26  # bytes in which the samples must begin
_INFO = 1 << 20  # bytes of an INFO
_MANY = 10_000  # chunks before them
_EXTENSIBLE = 0xFFFE
_NAMES = {b"fmt ", b"data", b"LIST", b"bext", b"fact", b"iXML", b"JUNK", b"junk", b"ds64", b"cue ", b"id3 ", b"PEAK"}
_SPEAKERS = [  # by the bits of a channel mask
    *("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC"),
    *("SL", "SR", "TC", "TFL", "TFC", "TFR", "TBL", "TBC", "TBR"),
]
_IN_CAF = {b"lpcm": PCM, b"alaw": ALAW, b"ulaw": ULAW}
_IN_AU = {1: (ULAW, 1), 27: (ALAW, 1), 6: (FLOAT, 4), 7: (FLOAT, 8), 2: (PCM, 1), 3: (PCM, 2), 4: (PCM, 3), 5: (PCM, 4)}


def reading(file: BinaryIO) -> Peek:
    """Give what reads a file from an offset; nothing where no file can reach, as a damaged length may say."""

    def read_at(at: int, size: int) -> bytes:
        try:
            file.seek(at)
        except (OSError, OverflowError):
            return b""
        return file.read(size)

    return read_at


def parse(peek: Peek) -> Pcm | None:
    """Read the header of a file with plain samples; None for anything else."""
    begin = behind_id3(peek)
    head = peek(begin, 16)
    if (head[:4], head[8:12]) in WAVES:
        return _parse_wave(peek, begin, ">" if head[:4] == b"RIFX" else "<")
    if head.startswith(W64):
        return _parse_w64(peek, begin)
    if head[:4] in (b".snd", b"dns."):
        return _parse_au(peek, begin)
    return _parse_caf(peek, begin) if head[:4] == b"caff" else None


def info(peek: Peek, *, behind: bool) -> dict[bytes, bytes]:
    """Find what a WAV's INFO says, by the names of its chunks; `behind` its samples only where those can be passed."""
    begin, found = behind_id3(peek), dict[bytes, bytes]()
    head = peek(begin, 12)
    if (head[:4], head[8:]) not in WAVES:
        return {}
    order = ">" if head[:4] == b"RIFX" else "<"
    for name, at, size in chunks(peek, begin + 12, order, 2**40 if behind else _HEADER):
        if name == b"LIST" and size <= _INFO and peek(at, 4) == b"INFO":
            content = peek(at, size)
            parts = chunks(lambda at, size, content=content: content[at : at + size], 4, order)  # type: ignore[misc]
            found |= {part: content[here : here + length] for part, here, length in parts}
        elif name == b"data" and not behind:
            break
    return found


def _parse_wave(peek: Peek, begin: int, order: str) -> Pcm | None:
    fmt, long = b"", None
    for name, at, size in chunks(peek, begin + 12, order):
        if name == b"fmt ":
            fmt = peek(at, min(size, 64))
        elif name == b"ds64":
            long = int.from_bytes(peek(at + 8, 8), "little")
        elif name == b"data":
            return _parse_format(fmt, order, at, _known(size if long is None or size != 0xFFFFFFFF else long), 2)
        elif name == b"LIST" and peek(at, 4) == b"wavl":  # of chunks of samples, and of others that count silence
            first = next((each for each in chunks(peek, at + 4, order) if each[0] == b"data"), None)
            return _parse_format(fmt, order, first[1], _known(first[2]), 2) if first else None
    return None


def _known(length: int) -> int | None:
    return length if 0 < length < _NO_LENGTH or 0xFFFFFFFF < length < _NEVER else None


def encoded(peek: Peek) -> Sound | None:
    """Find where the sound of a WAV is, whatever its codec; None where it is plain, and of files beyond 4 GB."""
    begin = behind_id3(peek)
    head = peek(begin, 12)
    if head[:4] not in (b"RIFF", b"RIFX") or head[8:] != b"WAVE" or parse(peek):
        return None
    data = (each for each in chunks(peek, begin + 12, ">" if head[:4] == b"RIFX" else "<") if each[0] == b"data")
    return next((Sound(at, _known(size)) for _, at, size in data), None)


def chunks(peek: Peek, at: int, order: str, until: int = _HEADER) -> Iterator[tuple[bytes, int, int]]:
    """Give name, offset of the content and size of each chunk that begins early enough; some writers do not pad."""
    for _ in range(_MANY):
        if at >= until or len(header := peek(at, 8)) < 8:
            return
        name, size = struct.unpack(order + "4sI", header)
        yield name, at + 8, size
        at += 8 + size
        if size % 2:
            following = peek(at, 5)
            at += not (following[:4] in _NAMES and following[1:] not in _NAMES)


def _parse_w64(peek: Peek, begin: int) -> Pcm | None:
    fmt = b""
    for name, at, size in _chunks_of_w64(peek, begin + 40):
        if name == b"fmt ":
            fmt = peek(at, min(max(size, 0), 64))
        elif name == b"data":
            return _parse_format(fmt, "<", at, size if 0 < size < _NEVER else None, 8)
    return None


def encoded_w64(peek: Peek) -> Sound | None:
    """Find where the sound of a Wave64 is, whatever its codec."""
    begin = behind_id3(peek)
    if not peek(begin, 16).startswith(W64):
        return None
    data = (
        Sound(at, size if 0 < size < _NEVER else None, 8)
        for name, at, size in _chunks_of_w64(peek, begin + 40)
        if name == b"data"
    )
    return next(data, None)


def _chunks_of_w64(peek: Peek, at: int) -> Iterator[tuple[bytes, int, int]]:
    """Give them as `chunks` does: with names of 16 bytes and lengths of 8, which count both and are filled up to 8."""
    for _ in range(_MANY):
        if at >= _HEADER or len(header := peek(at, 24)) < 24:
            return
        size = int.from_bytes(header[16:], "little") - 24
        yield header[:4], at + 24, size
        at += 24 + max(0, size) + -size % 8


def _parse_format(fmt: bytes, order: str, start: int, length: int | None, pad: int) -> Pcm | None:
    if len(fmt) < 14:
        return None
    kind, channels, rate, speed, align, bits = struct.unpack(order + "HHIIHH", fmt[:16].ljust(16, b"\0"))
    frame = channels * ((bits + 7) // 8)
    if align != frame and bits and speed == rate * frame:  # of three lengths one is wrong
        align = frame
    mask, is_plain, whole = 0, kind != _EXTENSIBLE, bits
    if kind == _EXTENSIBLE and len(fmt) >= 26:
        valid, mask, kind = struct.unpack(order + "HIH", fmt[18:26])
        bits = valid or bits
    width = align // channels if channels and align % channels == 0 else (bits + 7) // 8
    bits = bits or 8 * width
    speakers = [name for bit, name in enumerate(_SPEAKERS) if mask >> bit & 1]
    names = tuple(speakers) if len(speakers) == channels else ("",) * channels
    is_low = False if not is_plain and whole == 8 * width else None
    found = Pcm(
        kind=kind,
        width=width,
        bits=bits,
        names=names,
        rate=rate,
        start=start,
        length=length,
        order=order,
        pad=pad,
        is_plain=is_plain,
        is_low=is_low,
    )
    return found if _can_be(found) else None


def _parse_au(peek: Peek, begin: int) -> Pcm | None:
    head = peek(begin, 24)
    if len(head) < 24:
        return None
    order = ">" if head[:4] == b".snd" else "<"
    start, length, kind, rate, channels = struct.unpack(order + "5I", head[4:])
    if kind not in _IN_AU or start < 24:
        return None
    found = Pcm(
        kind=_IN_AU[kind][0],
        width=_IN_AU[kind][1],
        bits=8 * _IN_AU[kind][1],
        names=("",) * min(channels, CHANNELS + 1),
        rate=rate,
        start=begin + start,
        length=_known(length),
        order=order,
        pad=1,
        is_signed=True,
    )
    return found if _can_be(found) else None


def _parse_caf(peek: Peek, begin: int) -> Pcm | None:
    desc, at = b"", begin + 8
    for _ in range(_MANY):
        if at >= _HEADER or len(header := peek(at, 12)) < 12:
            break
        name, size = struct.unpack(">4sq", header)
        if name == b"desc":
            desc = peek(at + 12, 32)
        elif name == b"data":
            return _parse_desc(desc, at + 16, size - 4 if 4 < size < _NEVER else None)
        elif size < 0:
            break
        at += 12 + size
    return None


def _parse_desc(desc: bytes, start: int, length: int | None) -> Pcm | None:
    """Read what CAF says of its samples; of the bits of narrow ones it does not say where they are."""
    if len(desc) < 32:
        return None
    rate, kind, flags, size, frames, channels, bits = struct.unpack(">d4sIIIII", desc)
    if kind not in _IN_CAF or frames != 1 or not channels or size % channels or not rate < 2**32:
        return None
    found = Pcm(
        kind=FLOAT if kind == b"lpcm" and flags & 1 else _IN_CAF[kind],
        width=size // channels,
        bits=bits if kind == b"lpcm" else 8,
        names=("",) * min(channels, CHANNELS + 1),
        rate=round(rate),
        start=start,
        length=length,
        order="<" if flags & 2 else ">",
        pad=1,
        is_signed=True,
    )
    return found if _can_be(found) else None


def _can_be(found: Pcm) -> bool:
    if found.width not in WIDTHS.get(found.kind, ()) or not 0 < len(found.names) <= CHANNELS or found.rate not in RATES:
        return False
    return found.kind != PCM or 0 < found.bits <= 8 * found.width
