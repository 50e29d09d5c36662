"""Plain samples behind a header of WAV or its kin, without a decoder.

libsndfile reads the files of this family; what comes through a pipe, or has a header that contradicts the file, is read
here, behind what `headers` found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .mixing import Block

RATES, CHANNELS = range(1_000, 1_000_001), 64  # Hz, and how many there can be
PCM, FLOAT, ALAW, ULAW = 1, 3, 6, 7  # format tags (mmreg.h)
WIDTHS = {PCM: (1, 2, 3, 4), FLOAT: (4, 8), ALAW: (1,), ULAW: (1,)}  # bytes of a sample
_HELD = 10  # seconds of narrow samples that are waited for, to see where their bits are
_MEMORY = 1 << 26  # bytes, at most

BEHIND = (  # names of chunks that stand behind samples
    *(b"LIST", b"id3 ", b"ID3 ", b"iXML", b"bext", b"cue ", b"fact", b"PEAK", b"smpl", b"inst", b"_PMX", b"axml"),
    *(b"JUNK", b"junk", b"PAD ", b"afsp", b"minf", b"elm1", b"regn", b"umid", b"DGDA", b"levl", b"chna", b"SAUR"),
)
_SILENCE, _LONGEST = b"slnt", 3_600  # a chunk that says how many frames of it there are; seconds
_FILES = (b"RIFF", b"RIFX", b"RF64", b"BW64")
_CHUNK, _CHUNKS = 1 << 24, 1 << 25  # bytes of one of them, of all of them

Peek = Callable[[int], bytes]  # gives as many of the next bytes without taking them, fewer where it ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Pcm:
    """What stands in the header of a file of WAV's family."""

    kind: int  # PCM, FLOAT, ALAW, ULAW
    width: int  # bytes of a sample
    bits: int  # of a sample that mean something
    names: tuple[str, ...]  # of the channels, as FFmpeg's; "" where it is a guess
    rate: int  # Hz
    start: int  # offset of the samples in bytes
    length: int | None  # of the samples in bytes; None: to the end
    order: str = "<"  # of the bytes of a sample, as `struct` writes it
    pad: int = 2  # bytes to whose multiples chunks are filled up
    is_signed: bool = False  # a sample of one byte is
    is_plain: bool = True  # not WAVE_FORMAT_EXTENSIBLE, which says where in a wider sample the bits are
    is_low: bool | None = None  # the bits of narrow samples are the lower ones; None where nobody knows yet

    @property
    def frame(self) -> int:
        """Bytes of a frame."""
        return self.width * len(self.names)

    @property
    def is_narrow(self) -> bool:
        """Tell whether samples of 4 bytes have 24 bits or fewer."""
        return self.kind == PCM and self.width == 4 and self.bits <= 24

    def block(self, data: bytes, *, low: bool = False) -> Block:
        """Turn whole frames into channels x frames; with `low`, of 4 bytes the lower three are the sample."""
        import numpy as np

        samples: NDArray[np.float32]
        if self.kind == FLOAT:
            with np.errstate(over="ignore"):  # of doubles: infinity, which is silence
                samples = np.frombuffer(data, f"{self.order}f{self.width}").astype(np.float32)
        elif self.kind in (ALAW, ULAW):
            samples = _expanded(self.kind)[np.frombuffer(data, "u1")]
        elif self.width == 1:
            bytes_ = np.frombuffer(data, "u1")
            samples = ((bytes_ ^ 128 if self.is_signed else bytes_).astype(np.float32) - 128) / np.float32(128)
        elif self.width == 3:
            padded = np.zeros((len(data) // 3, 4), "u1")
            padded[:, slice(1, 4) if self.order == "<" else slice(0, 3)] = np.frombuffer(data, "u1").reshape(-1, 3)
            samples = padded.view(f"{self.order}i4")[:, 0].astype(np.float32) / np.float32(2**31)
        else:
            scale = np.float32(2**23 if low else 2 ** (8 * self.width - 1))
            samples = np.frombuffer(data, f"{self.order}i{self.width}").astype(np.float32) / scale
        return samples.reshape(-1, len(self.names)).T


@dataclass(frozen=True, slots=True)
class Sound:
    """Where in a file its sound is, as its header says."""

    start: int  # offset in bytes
    length: int | None  # bytes; None: to the end
    pad: int = 2  # bytes to whose multiples chunks are filled up

    def reach(self, size: int, read: Callable[[int, int], bytes]) -> int:
        """Correct the length by the size of the file (bytes), of which `read` gives what is at an offset.

        A recorder that lost its power leaves a length of what it had written some time ago, or 0; one that goes on
        beyond 4 GB, the remainder. Chunks behind the sound are none of it, even where the header says so.
        """
        there = size - self.start
        length = there if self.length is None else min(self.length, there)
        length += (there - length) >> 32 << 32 if self.pad == 2 else 0
        behind = self.start + length + -length % self.pad
        if there - length > 8 and not is_name(read(behind, 4)):
            length = there
        if self.pad != 2 or length != there or length == self.length:
            return length
        window = max(self.start, size - _CHUNKS)
        found = (window + match.start() for match in re.finditer(b"|".join(BEHIND), read(window, size - window)))
        return next((at - self.start for at in found if chunks_behind(read, at)), length)


def chunks_behind(read: Callable[[int, int], bytes], at: int = 0) -> int:
    """Tell how many bytes of chunks that stand behind samples are there, up to the end or another file; 0 for none."""
    begin = at
    while (header := read(at, 8))[:4] in BEHIND and len(header) == 8:
        size = int.from_bytes(header[4:], "little")
        if size > _CHUNK:
            return 0
        at += 8 + size
        at += size % 2 and read(at, 4) not in BEHIND
    return at - begin if not header or header[:4] in _FILES else 0


def corrected(pcm: Pcm, size: int, read: Callable[[int, int], bytes]) -> Pcm:
    """Correct the length by the size of the file (bytes), and find out what of narrow samples is meant."""
    length = Sound(pcm.start, pcm.length, pcm.pad).reach(size, read) // pcm.frame * pcm.frame
    if not pcm.is_narrow or pcm.is_low is not None:
        return replace(pcm, length=length)
    pieces = (read(at, min(1 << 20, pcm.start + length - at)) for at in range(pcm.start, pcm.start + length, 1 << 20))
    found = [_place(pcm, piece) for piece in pieces]
    return replace(pcm, length=length, is_low=False if False in found else True in found)


def blocks(pcm: Pcm, read: Callable[[int], bytes], frames: int, peek: Peek = lambda _size: b"") -> Iterator[Block]:
    """Give what `read` gives from the first sample on in blocks of at most so many frames: channels x frames.

    Of 24 bits in 4 bytes the upper three are meant (WAVE_FORMAT_EXTENSIBLE), unless what comes says otherwise; what
    does not say it for ten seconds is better kept until it does (`is_open`). Where
    the header ends the samples and no chunk begins, it was not brought up to date, and they go on; so they do in
    another chunk of samples behind the first.
    """
    left = length = 2**62 if pcm.length is None else pcm.length
    rest, low = b"", bool(_is_low(pcm, peek))
    while left or goes_on(length, pcm.pad, peek) or has_another(pcm, _behind(pcm, length, peek)):
        if not left and has_another(pcm, head := _behind(pcm, length, peek)):
            left = length = _begin_another(pcm, length, read)
            if head.startswith(_SILENCE):
                yield from _silence(pcm, int.from_bytes(read(left), _order(pcm)), frames)
                left = 0
                continue
        left = left or 2**32  # a header that counts less has the remainder
        if not (data := read(min(left, frames * pcm.frame - len(rest)))):
            return
        left -= len(data)
        data = rest + data
        whole = len(data) // pcm.frame * pcm.frame
        rest = data[whole:]
        if not whole:
            continue
        if low and pcm.is_low is None:
            low = _place(pcm, data[:whole]) is not False
        yield pcm.block(data[:whole], low=low)


def goes_on(length: int, pad: int, peek: Peek) -> bool:
    """Tell whether what comes behind so many bytes is sound all the same, and neither a chunk nor the end."""
    pad = -length % pad
    behind = peek(pad + 9)[pad:]
    return len(behind) > 8 and not is_name(behind[:4])


def has_another(pcm: Pcm, head: bytes) -> bool:
    """Tell whether another chunk of samples, or of silence, begins, by what stands behind the first."""
    counts = _SILENCE + (4).to_bytes(4, _order(pcm))
    return pcm.pad == 2 and len(head) == 8 and (head[:4] == b"data" or head == counts)


def _behind(pcm: Pcm, length: int, peek: Peek) -> bytes:
    """Look at the header of the chunk that follows one of so many bytes."""
    pad = -length % pcm.pad
    return peek(pad + 8)[pad:]


def _begin_another(pcm: Pcm, length: int, read: Callable[[int], bytes]) -> int:
    """Pass over the header of the next chunk, behind one of so many bytes; give its own length in bytes."""
    return int.from_bytes(read(-length % pcm.pad + 8)[-4:], _order(pcm))


def _silence(pcm: Pcm, length: int, frames: int) -> Iterator[Block]:
    """Give so many frames of silence, of which a `wavl` counts the lengths; none where that cannot be."""
    import numpy as np

    for at in range(0, length if length <= _LONGEST * pcm.rate else 0, frames):
        yield np.zeros((len(pcm.names), min(frames, length - at)), np.float32)


def _order(pcm: Pcm) -> Literal["little", "big"]:
    return "little" if pcm.order == "<" else "big"


def is_name(name: bytes) -> bool:
    """Tell whether it can be that of a chunk."""
    return name.replace(b" ", b"x").isalnum()


def is_open(pcm: Pcm, peek: Peek) -> bool:
    """Tell whether for long nobody can know where in narrow samples their bits are: a quiet beginning says little."""
    return _is_low(pcm, peek) is None


def _is_low(pcm: Pcm, peek: Peek) -> bool | None:
    """Tell whether in narrow samples the lower bits are meant; what comes is held back until that is known.

    None where it is not when ten seconds have come.
    """
    if not pcm.is_narrow or pcm.is_low is not None:
        return bool(pcm.is_low)
    step = min(pcm.rate * pcm.frame, _MEMORY // _HELD // pcm.frame * pcm.frame)
    most = 2**62 if pcm.length is None else pcm.length
    found: list[bool | None] = []
    for end in range(step, (_HELD + 1) * step, step):
        ahead = peek(min(end, most))
        piece = ahead[end - step :]
        place = _place(pcm, piece[: len(piece) // 4 * 4])
        if place is False:
            return False
        found.append(place)
        if len(ahead) < end:
            return True in found
    return _place(replace(pcm, is_plain=False), ahead) or None


def _place(pcm: Pcm, data: bytes) -> bool | None:
    """Tell whether in samples of 4 bytes the lower three are meant, as far as these can tell.

    Where the lowest byte is never used, samples that never reach the highest one are quiet ones, or low ones of
    somebody who does not know the extensible format.
    """
    import numpy as np

    samples = np.frombuffer(data, f"{pcm.order}i4")
    if not samples.any():
        return None
    if (np.abs(samples.astype(np.int64)) >= 2**23).any():
        return False
    return True if pcm.is_plain or (samples & 0xFF).any() else None


@cache
def _expanded(kind: int) -> NDArray[np.float32]:
    """Give what each byte of A-law or mu-law means (ITU-T G.711)."""
    import numpy as np

    code = np.arange(256) ^ (0x55 if kind == ALAW else 0xFF)
    exponent, mantissa = code >> 4 & 7, code & 15
    if kind == ALAW:
        size = np.where(exponent, (2 * mantissa + 33) << np.maximum(exponent, 1) - 1, 2 * mantissa + 1) * 8
        sign = np.where(code & 128, 1, -1)
    else:
        size = (((2 * mantissa + 33) << exponent) - 33) * 4
        sign = np.where(code & 128, -1, 1)
    expanded: NDArray[np.float32] = (sign * size / 2**15).astype(np.float32)
    return expanded
