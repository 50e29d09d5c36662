"""Pages of Ogg (RFC 3533, 6): their checksum, and how those are mended of which only that is wrong. Pure."""

from __future__ import annotations

import contextlib
import zlib
from dataclasses import dataclass, field

from . import opus

HEAD = 27  # bytes of a page before the lengths of its segments
CONTINUED, FIRST, LAST = 1, 2, 4  # the flags of a page: it goes on with a packet, begins a stream, ends it
FLAGS = 5  # where they stand in it
TIME = slice(6, 14)  # where the time stands at which its last packet ends, in samples ("granule position")
CRC = slice(22, 26)  # where that stands
_SERIAL, _NUMBER = slice(14, 18), slice(18, 22)
_MOST = 1 << 21  # samples of a page: 255 packets of Vorbis have no more
LONGEST = 1 << 47  # samples, 93 years: no time is later, or negative
_TORN = 64  # bytes alike at the end of a page: a power cut filled it up, nobody's flips did

_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def crc(page: bytes | bytearray) -> bytes:
    """Compute that of a page, whatever stands in its place: of polynomial 0x04c11db7, not reflected, begun with 0.

    zlib's is of the same polynomial, reflected, begun and ended with all bits set.
    """
    whole = (page[: CRC.start] + bytes(4) + page[CRC.stop :]).translate(_MIRRORED)
    mirrored = zlib.crc32(whole, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return mirrored.to_bytes(4, "big").translate(_MIRRORED)


def _samples(page: bytes) -> int:
    """Count what its packets of Opus give that begin on it."""
    at = HEAD + page[26]
    begins, samples = not page[FLAGS] & CONTINUED, 0
    for length in page[HEAD:at]:
        if begins and length:
            with contextlib.suppress(ValueError):
                samples += opus.samples(page[at : at + length])
        at += length
        begins = length < 255
    return samples


@dataclass(slots=True)
class Mender:
    """Follow the pages of one link, and mend those whose checksum is wrong: all of their packets but some are right.

    FFmpeg leaves out such a page, a second of sound for a bit.
    """

    time: int = 0  # samples, of the last page that had one
    hurt: list[tuple[int, int]] = field(default_factory=list)  # from and until when those last that were mended
    lost: list[tuple[int, int]] = field(default_factory=list)  # the same of what is missing; nothing: nobody knows
    _serials: set[bytes] = field(default_factory=set)
    _step: int = 0  # samples of the longest page
    _number: int = 0  # of the last page
    _lacks: bool = False  # behind it there was something that could not be read
    _is_open: bool = False  # its last packet goes on on the next one
    _is_last: bool = False

    def follow(self, page: bytes, behind: bytes, is_opus: bool) -> bytes:
        """Give a whole page as it is to be read; where it is hurt, `behind` is how the next one begins."""
        is_hurt = crc(page) != page[CRC]
        if is_hurt:
            if (mended := self._mended(page, behind, is_opus)) == page:
                self.skip()
                return page
            page = mended
        elif page[FLAGS] & FIRST:
            self._serials.add(page[_SERIAL])
        number = int.from_bytes(page[_NUMBER], "little")
        self._lacks |= not is_hurt and len(self._serials) == 1 and number > self._number + 1
        self._number = self._number + 1 if is_hurt else number
        time = int.from_bytes(page[TIME], "little")
        if time < LONGEST:
            own = _samples(page) if is_opus else self._step
            if self._lacks and self.time and time - own - self.time > own // 2:
                self.lost.append((self.time, time - own))
            elif self.time:
                self._step = max(self._step, time - self.time)
            self.time, self._lacks = time, False
        self._is_open = page[26] > 0 and page[26 + page[26]] == 255
        self._is_last = bool(page[FLAGS] & LAST)
        return page

    def skip(self) -> None:
        """Note that something was no page, or one with other lengths than it says."""
        self._lacks = True

    def end(self) -> None:
        """Note what is missing at the end: of a link that ends as it should nothing is."""
        if self._lacks and not self._is_last:
            self.lost.append((self.time, self.time))

    def timed(self, page: bytes) -> bytes:
        """Give a page the time at which its packets of Opus end.

        Where they are not Opus it is that of the page before: any is better than none. That it is the last one must not
        be believed: the decoder would cut off its end.
        """
        changed = bytearray(page)
        changed[FLAGS] &= ~LAST
        self.time += _samples(page)
        changed[TIME] = self.time.to_bytes(8, "little")
        changed[CRC] = crc(changed)
        return bytes(changed)

    def _mended(self, page: bytes, behind: bytes, is_opus: bool) -> bytes:
        is_last = not behind or bool(behind[FLAGS:] and behind[FLAGS] & FIRST)
        if (behind and not behind.startswith(b"OggS")) or len(self._serials) > 1:
            return page  # its lengths are wrong, too
        if not behind and len(set(page[-_TORN:])) == 1:
            return page
        changed, before = bytearray(page), self.time
        changed[4] = 0
        begins = changed[FLAGS] & FIRST and not self._serials
        changed[FLAGS] = FIRST if begins else CONTINUED * self._is_open | LAST * is_last
        changed[_SERIAL] = next(iter(self._serials), page[_SERIAL])
        time = int.from_bytes(page[TIME], "little")
        ends = min(page[HEAD : HEAD + page[26]], default=255) < 255
        if ends and self.time:
            most = _samples(page) + 2 * opus.LONGEST if is_opus else 2 * self._step or _MOST
            if not 0 <= time - self.time <= most:
                time = self.time + (_samples(page) if is_opus else self._step)
                changed[FLAGS] &= ~LAST
        changed[TIME] = time.to_bytes(8, "little") if ends else b"\xff" * 8
        changed[CRC] = crc(changed)
        if ends:
            self.hurt.append((before, time))
        return bytes(changed)
