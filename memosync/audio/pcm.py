"""WAV and its kin without a decoder: plain samples behind a header.

libsndfile reads the files of this family; what comes through a pipe, or has a header that contradicts the file, is read
here (Multimedia Programming Interface and Data Specifications 1.0; WAVE_FORMAT_EXTENSIBLE; RF64: EBU Tech 3306).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .mixing import Block

_NO_LENGTH = 0x7FFF0000  # what programs that write a WAV into a pipe give for its length, or more, or 0
_HEADER = 1 << 20  # bytes in which the samples must begin
RATES, CHANNELS = range(1_000, 1_000_001), 64  # Hz, and how many there can be
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_WIDTHS = {_PCM: (1, 2, 3, 4), _FLOAT: (4, 8)}  # bytes of a sample
_NAMES = {b"fmt ", b"data", b"LIST", b"bext", b"fact", b"iXML", b"JUNK", b"junk", b"ds64", b"cue ", b"id3 ", b"PEAK"}
_SPEAKERS = [  # by the bits of a channel mask
    *("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC"),
    *("SL", "SR", "TC", "TFL", "TFC", "TFR", "TBL", "TBC", "TBR"),
]

Peek = Callable[[int], bytes]  # gives as many bytes from the beginning, fewer where it ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Pcm:
    """What stands in the header of a WAV file."""

    kind: int  # 1 for integers, 3 for floating point
    width: int  # bytes of a sample
    bits: int  # of a sample that mean something
    names: tuple[str, ...]  # of the channels, as FFmpeg's; "" where it is a guess
    rate: int  # Hz
    start: int  # offset of the samples in bytes
    length: int | None  # of the samples in bytes; None: to the end
    is_plain: bool = True  # not WAVE_FORMAT_EXTENSIBLE, which says where in a wider sample the bits are
    is_low: bool | None = None  # the bits of narrow samples are the lower ones; None where nobody knows yet

    @property
    def frame(self) -> int:
        """Bytes of a frame."""
        return self.width * len(self.names)

    @property
    def is_narrow(self) -> bool:
        """Tell whether samples of 4 bytes have 24 bits or fewer."""
        return self.kind == _PCM and self.width == 4 and self.bits <= 24

    def block(self, data: bytes, *, low: bool = False) -> Block:
        """Turn whole frames into channels x frames; with `low`, of 4 bytes the lower three are the sample."""
        import numpy as np

        samples: NDArray[np.float32]
        if self.kind == _FLOAT:
            samples = np.frombuffer(data, f"<f{self.width}").astype(np.float32)
        elif self.width == 1:
            samples = (np.frombuffer(data, "u1").astype(np.float32) - 128) / np.float32(128)
        elif self.width == 3:
            padded = np.zeros((len(data) // 3, 4), "u1")
            padded[:, 1:] = np.frombuffer(data, "u1").reshape(-1, 3)
            samples = padded.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
        else:
            scale = np.float32(2**23 if low else 2 ** (8 * self.width - 1))
            samples = np.frombuffer(data, f"<i{self.width}").astype(np.float32) / scale
        return samples.reshape(-1, len(self.names)).T


def parse(peek: Peek) -> Pcm | None:
    """Read the header of a WAV or RF64 with plain samples; None for anything else."""
    head = peek(12)
    if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        return None
    fmt, long = b"", None
    for name, at, size in _chunks(peek):
        if name == b"fmt ":
            fmt = peek(at + min(size, 64))[at:]
        elif name == b"ds64":
            long = int.from_bytes(peek(at + 16)[at + 8 :], "little")
        elif name == b"data":
            return _parse_format(fmt, at, long if long is not None and size == 0xFFFFFFFF else size)
    return None


def corrected(pcm: Pcm, size: int, read: Callable[[int, int], bytes]) -> Pcm:
    """Correct the length by the size of the file (bytes), of which `read` gives what is at an offset.

    A recorder that lost its power leaves a length of what it had written some time ago, or 0; one that goes on beyond
    4 GB, the remainder.
    """
    there = size - pcm.start
    length = there if pcm.length is None else min(pcm.length, there)
    length += (there - length) >> 32 << 32
    behind = pcm.start + length + length % 2
    if there - length > 8 and not read(behind, 4).replace(b" ", b"x").isalnum():
        length = there
    length = length // pcm.frame * pcm.frame
    if not pcm.is_narrow:
        return replace(pcm, length=length)
    pieces = (read(at, min(1 << 20, pcm.start + length - at)) for at in range(pcm.start, pcm.start + length, 1 << 20))
    found = [_place(piece, plain=pcm.is_plain) for piece in pieces]
    return replace(pcm, length=length, is_low=False if False in found else True in found)


def _chunks(peek: Peek) -> Iterator[tuple[bytes, int, int]]:
    """Give name, offset of the content and size of each chunk that begins early enough; some writers do not pad."""
    at = 12
    while at < _HEADER and len(header := peek(at + 8)[at:]) == 8:
        name, size = struct.unpack("<4sI", header)
        yield name, at + 8, size
        at += 8 + size
        following = peek(at + 5)[at:]
        at += size % 2 and not (following[:4] in _NAMES and following[1:] not in _NAMES)


def _parse_format(fmt: bytes, start: int, size: int) -> Pcm | None:
    if len(fmt) < 16:
        return None
    kind, channels, rate, _, align, bits = struct.unpack("<HHIIHH", fmt[:16])
    mask, is_plain = 0, kind != _EXTENSIBLE
    if kind == _EXTENSIBLE and len(fmt) >= 26:
        valid, mask, kind = struct.unpack("<HIH", fmt[18:26])
        bits = valid or bits
    width = align // channels if channels and align % channels == 0 else (bits + 7) // 8
    if kind not in _WIDTHS or width not in _WIDTHS[kind] or not 0 < channels <= CHANNELS or rate not in RATES:
        return None
    if kind == _PCM and not 0 < bits <= 8 * width:
        return None
    speakers = [name for bit, name in enumerate(_SPEAKERS) if mask >> bit & 1]
    names = tuple(speakers) if len(speakers) == channels else ("",) * channels
    length = size if 0 < size < _NO_LENGTH or size > 0xFFFFFFFF else None
    return Pcm(kind=kind, width=width, bits=bits, names=names, rate=rate, start=start, length=length, is_plain=is_plain)


def blocks(pcm: Pcm, read: Callable[[int], bytes], frames: int) -> Iterator[Block]:
    """Give what `read` gives from the first sample on in blocks of at most so many frames: channels x frames.

    Of 24 bits in 4 bytes the upper three are meant (WAVE_FORMAT_EXTENSIBLE), unless what has come says otherwise.
    """
    left = 2**62 if pcm.length is None else pcm.length
    rest, low = b"", pcm.is_low
    while left and (data := read(min(left, frames * pcm.frame - len(rest)))):
        left -= len(data)
        data = rest + data
        whole = len(data) // pcm.frame * pcm.frame
        rest = data[whole:]
        if not whole:
            continue
        if pcm.is_narrow and pcm.is_low is None and low is not False:
            place = _place(data[:whole], plain=pcm.is_plain)
            low = low if place is None else place
        yield pcm.block(data[:whole], low=bool(low))


def _place(data: bytes, *, plain: bool) -> bool | None:
    """Tell whether in samples of 4 bytes the lower three are meant, as far as these can tell.

    Where the lowest byte is never used, samples that never reach the highest one are quiet ones, or low ones of
    somebody who does not know the extensible format.
    """
    import numpy as np

    samples = np.frombuffer(data, "<i4")
    if not samples.any():
        return None
    if (np.abs(samples.astype(np.int64)) >= 2**23).any():
        return False
    return True if plain or (samples & 0xFF).any() else None
