"""When each packet of a memo is heard: its samples count, and not what the container's clock says.

A recorder that was paused leaves a hole in that clock, a live stream begins at 27 hours, and some programs count in
another unit. Opus tells in the first byte of a packet how many samples it gives (RFC 6716, 3.1), so all that is needed
is a walk over the elements of the file (Matroska, RFC 9559; EBML, RFC 8794), in plain Python: an hour takes 0.1 s,
where FFmpeg's demuxer takes one. What the walk does not understand it leaves to that.
"""

from __future__ import annotations

import math
import struct
import time
from dataclasses import dataclass
from typing import BinaryIO, Literal

from .ebml import WIDTHS, Nonsense, children, each, whole
from .opus import RATE, SAMPLES, count_samples

CLUSTERS = 1_000  # that are told: of an hour all, of a day every 87 s one
PATIENCE = 10.0  # seconds of CPU that a walk may take
NEAR = 0.025  # seconds that a clock may be off and still be right
_WINDOW = 2**20  # bytes that are read at once
_HELD = 16 * CLUSTERS  # clusters that are remembered while it walks
_UNKNOWN = -1  # the size of an element that ends where another one begins

_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_INFO, _TRACKS = 0x1549A966, 0x1654AE6B
_OTHERS = {0x114D9B74, 0x1C53BB6B, 0x1254C367, 0x1043A770, 0x1941A469}  # SeekHead, Cues, Tags, Chapters, Attachments
_FILLING = {0xEC, 0xBF}  # Void, CRC-32
_TIMESTAMP, _SIMPLE_BLOCK, _BLOCK_GROUP, _BLOCK, _DISCARD = 0xE7, 0xA3, 0xA0, 0xA1, 0x75A2
_IN_CLUSTERS = {0xA7, 0xAB, 0x5854, *_FILLING}  # Position, PrevSize, SilentTracks
_SCALE, _TRACK, _NUMBER, _TYPE, _CODEC, _PRIVATE, _DELAY = 0x2AD7B1, 0xAE, 0xD7, 0x83, 0x86, 0x63A2, 0x56AA
_ENCODINGS = 0x6D80  # what compresses packets, or encrypts them
_AUDIO = 2
_CODECS: dict[bytes, Literal["opus", "vorbis"]] = {b"A_OPUS": "opus", b"A_VORBIS": "vorbis"}


# How a SimpleBlock begins (RFC 9559, 10.2): name, size of two bytes, track | time, flags, first byte of the packet;
# and the second of these where the size has one byte.
_LONG, _SHORT = struct.Struct(">Ii"), struct.Struct(">3xi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Where in a file what is heard when."""

    codec: Literal["opus", "vorbis"] = "opus"
    track: int = 1  # its number, by which blocks name it
    duration: float = 0.0  # seconds of sound; of Vorbis it is not known here
    begin: float = 0.0  # seconds on the container's clock at which the sound begins
    end: float = 0.0  # seconds on that clock at which the last block ends
    clusters: tuple[
        tuple[float, int], ...
    ] = ()  # seconds of sound before one (to a millisecond), its offset; both rise
    skip: int = 0  # samples of the first packets that are not heard
    steady: bool = False  # from `begin` on that clock goes as the samples do; believed of Vorbis
    whole: bool = False  # all of the file was understood
    late: bool = False  # it took longer than `PATIENCE`
    jumps: tuple[tuple[float, float], ...] = ()  # seconds of sound from which that clock is how far ahead of them

    @property
    def ahead(self) -> tuple[tuple[float, float], ...]:
        """Tell from where on of what is heard that clock is how far ahead of it, both in seconds."""
        return ((0.0, self.begin), *self.jumps)

    @property
    def is_right(self) -> bool:
        """Tell whether the container's clock can be believed."""
        return self.steady and abs(self.begin) < NEAR


def read(file: BinaryIO, near: float = NEAR) -> Timeline:
    """Walk over a WebM file as far as it makes sense; OSError when it cannot be read.

    `near` is how many seconds its clock may be off and still be called steady.
    """
    walk = _Walk(file, time.thread_time() + PATIENCE, near)
    try:
        walk.go()
        walk.whole = True
    except Nonsense:
        pass
    except _Late:
        walk.late = True
    return walk.timeline()


class _Late(Exception):
    """It took too long."""


class _Walk:
    """One pass over a file; positions are offsets in it, bytes are looked at in a window that moves on."""

    def __init__(self, file: BinaryIO, until: float, near: float) -> None:
        self._file, self._until, self._near = file, until, near * RATE
        self._size = file.seek(0, 2)
        self._data, self._from = b"", 0  # the window, and where it begins
        self.whole = self.late = False
        self.number = 0  # of the track, 0 until it is known
        self._codec: Literal["opus", "vorbis"] = "opus"
        self._tracks, self._others = b"", set[int]()
        self._tick = RATE / 1000  # samples: of the container's clock
        self._samples = SAMPLES
        self._codec_delay = self._pre_skip = 0  # samples
        self._done = self._cut = 0  # samples that packets gave, and that are discarded at the end
        self._first: float | None = None  # samples, on the container's clock; so are the next two
        self._last = 0.0
        self._low, self._high = -math.inf, math.inf  # what the clock may say more than the samples
        self._is_steady = True
        self._jumps: list[tuple[float, float]] = []  # samples before one, and what the clock says more from there on
        self._clusters: list[tuple[float, int]] = []
        self._seen, self._stride = 0, 1

    def timeline(self) -> Timeline:
        """Tell what was found."""
        is_opus = self._codec == "opus"
        skip = self._codec_delay or self._pre_skip
        clock = self._first or 0.0
        first = clock + (0 if self._codec_delay else skip)
        shift = skip if is_opus else first
        told: list[tuple[float, int]] = []
        for at, offset in self._clusters:
            start = round(max(0.0, (at - shift) / RATE), 3)
            if not told or start > told[-1][0]:
                told.append((start, offset))
        return Timeline(
            codec=self._codec,
            track=self.number,
            duration=max(0, self._done - skip - self._cut) / RATE,
            begin=first / RATE,
            end=self._last / RATE,
            clusters=tuple(told[:: -(-len(told) // CLUSTERS) or 1]),
            skip=skip,
            steady=self._is_steady and self.whole,
            whole=self.whole,
            late=self.late,
            jumps=tuple((max(0, done - skip) / RATE, (more + first - clock) / RATE) for done, more in self._jumps),
        )

    def go(self) -> None:
        """Walk to the end of the file; Nonsense or _Late before it."""
        at, end = 0, 0  # of the segment that it is in
        while at < self._size:
            name, size, body = self._element(at)
            if at >= end and name not in ((_EBML, _SEGMENT, *_FILLING) if not end else _FILLING):
                raise Nonsense  # of three segments with sizes, one after the other, FFmpeg reads two
            if name == _SEGMENT:
                at, end = body, self._size if size == _UNKNOWN else body + size
                continue
            if name == _CLUSTER:
                at = self._cluster(at, body, size)
                continue
            if size == _UNKNOWN or name not in (_EBML, _INFO, _TRACKS, *_OTHERS, *_FILLING):
                raise Nonsense
            if name in (_INFO, _TRACKS):
                self._learn(name, self._bytes(body, size))
            at = body + size

    # -- what is in front

    def _learn(self, name: int, data: bytes) -> None:
        """Take what the header says; other segments have to say the same."""
        if name == _INFO:
            if not self.number:
                nanoseconds = whole(children(data).get(_SCALE, b"")) or 1_000_000
                self._tick = nanoseconds * RATE / 10**9
            return
        if self._tracks:
            if data != self._tracks:
                raise Nonsense
            return
        self._tracks = data
        for entry, body in each(data):
            if entry != _TRACK:
                continue
            found = children(body)
            number = whole(found.get(_NUMBER, b""))
            if whole(found.get(_TYPE, b"")) != _AUDIO:
                self._others.add(number)
            elif self.number or not 0 < number < 127 or _ENCODINGS in found:
                raise Nonsense
            elif codec := _CODECS.get(found.get(_CODEC, b"").rstrip(b"\0")):
                self.number, self._codec = number, codec
                self._samples = SAMPLES if codec == "opus" else [1] * 256
                self._codec_delay = round(whole(found.get(_DELAY, b"")) * RATE / 10**9)
                self._pre_skip = int.from_bytes(found.get(_PRIVATE, b"")[10:12], "little") if codec == "opus" else 0
            else:
                raise Nonsense
        if not self.number or self.number in self._others:
            raise Nonsense

    # -- clusters

    def _cluster(self, offset: int, at: int, size: int) -> int:
        """Walk over a cluster and give the position behind it."""
        if not self.number:
            raise Nonsense
        end = self._size if size == _UNKNOWN else at + size
        last = min(end, self._size)
        stamp, is_heard, before = 0, False, self._done  # of the cluster, in ticks; whether there is sound in it
        try:
            while at < last:
                if self._first is not None and (run := self._blocks(stamp, at, last)) > at:
                    is_heard, at = True, run
                    continue
                name, length, body = self._element(at)
                if size == _UNKNOWN and name > 0xFFFFFF:  # only what is no part of a cluster has a name of four bytes
                    break
                if length == _UNKNOWN or body + length > last:
                    raise Nonsense
                if name == _TIMESTAMP:
                    stamp = int.from_bytes(self._bytes(body, min(length, 8)), "big")
                elif name in (_SIMPLE_BLOCK, _BLOCK_GROUP):
                    data = self._bytes(body, length)
                    self._group(stamp, data) if name == _BLOCK_GROUP else self._block(stamp, data, 0)
                    is_heard = True
                elif name not in _IN_CLUSTERS:
                    raise Nonsense
                at = body + length
        finally:
            if is_heard:
                self._keep(before if self._codec == "opus" else self._ticks(stamp), offset)
        return at

    def _keep(self, at: float, offset: int) -> None:
        """Remember where a cluster begins, or every other one when there are too many."""
        if self._seen % self._stride == 0:
            self._clusters.append((at, offset))
            if len(self._clusters) >= _HELD:
                self._clusters = self._clusters[::2]
                self._stride *= 2
        self._seen += 1

    def _blocks(self, stamp: int, start: int, end: int) -> int:
        """Run over SimpleBlocks as nearly all are: of this track, one frame each, a size of one byte or two.

        250,000 of them an hour and a half: nothing here that need not be. Most are as long as the one before, and begin
        where that ends: of these only the size is looked at. Give the position of the first other element.
        """
        data, at = self._data, start - self._from
        rest = end - self._from
        stop = min(len(data), rest) - 8
        if not 0 <= at < stop or data[at] != _SIMPLE_BLOCK:
            return start
        tick, samples, done, low, high = self._tick, self._samples, self._done, self._low, self._high
        long, short = 0xA3400080 | self.number, 0xA3808000 | self.number << 8
        ahead, more = 0.0, 0  # samples: how far the clock is, and what the last packet gave
        expected, step = math.inf, 0  # the next one from its time on, if it is like the last, and what that grows by
        read_long, read_short = _LONG.unpack_from, _SHORT.unpack_from
        while at < stop:
            begin, times = read_long(data, at)
            if begin & 0xFFC000FF == long:
                size, here = begin >> 8 & 0x3FFF, at + 3
            elif begin & 0xFF80FF00 == short:
                (times,) = read_short(data, at)
                size, here = begin >> 16 & 0x7F, at + 2
            else:
                break
            after = here + size
            if size < 5 or after > rest:
                break
            if times == expected:
                expected += step
                done += more
                at = after
                continue
            if times & 0x600:  # laced
                break
            if not (gives := samples[times & 0xFF] or count_samples(data[here + 4 : after])):
                break
            ahead = (stamp + (times >> 16)) * tick - done
            if not low < ahead < high:
                low, high = self._jump(done, ahead)
            ticks, fraction = divmod(gives, tick)
            step = int(ticks) << 16
            expected = math.inf if fraction or not samples[times & 0xFF] else times + step
            done += gives
            at, more = after, gives
        if at > start - self._from:
            if self._codec == "opus":
                self._done = done
            self._low, self._high = low, high
            self._last = done + ahead
        return at + self._from

    def _group(self, stamp: int, data: bytes) -> None:
        found = children(data)
        if _BLOCK not in found:
            raise Nonsense
        discard = int.from_bytes(found.get(_DISCARD, b""), "big", signed=True)  # nanoseconds
        if discard < 0 or len(found.get(_DISCARD, b"")) > 8:
            raise Nonsense
        self._block(stamp, found[_BLOCK], round(discard * RATE / 10**9))

    def _block(self, stamp: int, data: bytes, discard: int) -> None:
        """Count a block with all its frames (RFC 9559, 10)."""
        if len(data) < 5 or not data[0] & 0x80:
            raise Nonsense
        if data[0] & 0x7F in self._others:
            return
        if data[0] & 0x7F != self.number:
            raise Nonsense
        clock = self._ticks(stamp + int.from_bytes(data[1:3], "big", signed=True))
        frames = _frames_of(data)
        if len(frames) > 1:
            self._is_steady = False  # which nobody but FFmpeg takes
            if discard:
                raise Nonsense
        if self._first is None:
            self._first = clock
            self._low, self._high = clock - self._near, clock + self._near
        if self._codec == "vorbis":
            self._last = clock
            self._low, self._high = -math.inf, math.inf
            return
        if not self._low < clock - self._done < self._high:
            self._low, self._high = self._jump(self._done, clock - self._done)
        samples = sum(map(count_samples, frames))
        self._done += samples
        self._cut += discard if discard <= samples else 0  # as decoders have it
        self._last = clock + samples

    def _jump(self, done: int, more: float) -> tuple[float, float]:
        """Remember that the clock says so much more from here on, and tell between what it is believed."""
        self._is_steady = False
        if len(self._jumps) >= _HELD:
            return -math.inf, math.inf
        self._jumps.append((done, more))
        return more - self._near, more + self._near

    def _ticks(self, count: int) -> float:
        return count * self._tick

    # -- elements

    def _element(self, at: int) -> tuple[int, int, int]:
        """Read an element's name, its size and where its body begins (RFC 8794, 5 and 6)."""
        here = at - self._from
        data = self._data
        if not 0 <= here < len(data) - 12:
            data, here = self._window(at, 12)
            if here >= len(data):
                raise Nonsense
        length = WIDTHS[data[here]]
        body = here + length
        if length > 4 or body >= len(data):
            raise Nonsense
        name = int.from_bytes(data[here:body], "big") if length > 1 else data[here]
        width = WIDTHS[data[body]]
        if width == 1:
            size, full = data[body] & 0x7F, 0x7F
        else:
            full = (1 << 7 * width) - 1
            size = int.from_bytes(data[body : body + width], "big") & full
        if width > 8 or body + width > len(data):
            raise Nonsense
        return name, _UNKNOWN if size == full else size, at + length + width

    def _bytes(self, at: int, size: int) -> bytes:
        """Read the body of an element."""
        here = at - self._from
        if 0 <= here <= len(self._data) - size:
            return self._data[here : here + size]
        if at + size > self._size:
            raise Nonsense
        if size > _WINDOW:
            raise Nonsense
        data, here = self._window(at, size)
        return data[here : here + size]

    def _window(self, at: int, size: int) -> tuple[bytes, int]:
        """Have so many bytes at a position in the window, as far as the file has them, and tell where in it."""
        here = at - self._from
        is_last = self._from + len(self._data) >= self._size
        if here < 0 or here > len(self._data) or (here > len(self._data) - size and not is_last):
            if time.thread_time() > self._until:
                raise _Late
            self._file.seek(at)
            self._data, self._from, here = self._file.read(_WINDOW), at, 0
        return self._data, here


def _frames_of(data: bytes) -> list[bytes]:
    """Split a block into its frames (RFC 9559, 10.3)."""
    lacing = data[3] & 6
    if not lacing:
        return [data[4:]]
    count, at = data[4] + 1, 5
    sizes: list[int] = []
    if lacing == 4:
        size, rest = divmod(len(data) - at, count)
        if rest:
            raise Nonsense
        sizes = [size] * count
    else:
        for number in range(count - 1):
            if lacing == 2:
                size = 0
                while at < len(data) and data[at] == 255:
                    size, at = size + 255, at + 1
                if at >= len(data):
                    raise Nonsense
                size, at = size + data[at], at + 1
            else:
                width = WIDTHS[data[at]] if at < len(data) else 9
                if width > 8 or at + width > len(data):
                    raise Nonsense
                size = int.from_bytes(data[at : at + width], "big") & (1 << 7 * width) - 1
                at += width
                if number:
                    size += sizes[-1] - ((1 << 7 * width - 1) - 1)
            if size < 0:
                raise Nonsense
            sizes.append(size)
        sizes.append(len(data) - at - sum(sizes))
    if min(sizes) <= 0 or at + sum(sizes) != len(data):
        raise Nonsense
    frames: list[bytes] = []
    for size in sizes:
        frames.append(data[at : at + size])
        at += size
    return frames
