"""Files that are several one after the other, taken apart link by link.

Of Ogg, where that is usual ("chained", RFC 3533, 4), FFmpeg reads on behind the end of the first link only where the
next one is of the same kind, and refuses it else. It also refuses packets on pages that say -1 for their time ("granule
position"), and Opus whose time cannot be; these get one here. Of others, as `cat` and recorders that begin anew make
them, it takes the second file for packets of the first, which may be noise, or sees nothing of it. What is in none of
these formats is one link.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Protocol

from . import ogg, transport
from .headers import W64
from .id3 import Peek, behind_id3
from .pcm import BEHIND, chunks_behind
from .truncation import Watch

if TYPE_CHECKING:
    from .webm import Reader

_INITIAL = re.escape(bytes(byte for byte in range(256) if byte & 8))  # WavPack's INITIAL_BLOCK
_BEGINS = [  # how files begin, and go on, of whose format one can tell where the next one begins
    (b"\x1a\x45\xdf\xa3", rb".{1,48}?\x42\x82.(?:webm|matroska)"),  # EBML's DocType (RFC 8794, 11.2.4)
    *((name, rb".{4}WAVE[\x20-\x7e]{4}") for name in (b"RIFF", b"RIFX", b"RF64", b"BW64")),
    (b"RIFF", rb".{4}AVI LIST"),
    (b"FORM", rb".{4}AIF[FC][A-Z]{4}"),
    (b"caff", rb"\0\x01\0\0desc"),
    (b"FLV\1", rb"[\x01\x04\x05]\0\0\0\x09\0\0\0\0"),
    (b"fLaC", rb"[\0\x80]\0\0\x22"),  # and a STREAMINFO (RFC 9639, 8.2)
    (b"\x30\x26\xb2\x75", rb"\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0\x62\xce\x6c"),  # ASF
    (b"#!AMR", rb"(?:-WB)?\n"),  # RFC 4867, 5.1
    (b"\0\0\0", rb".ftyp(?:M4[ABVP] |mp4[12]|iso[m2-9]|qt  |3g[p2].|dash|avc1|MSNV|[fF]4V)"),  # ISO/IEC 14496-12, 4.3
    (W64, rb"\xa5\xd6\x28\xdb\x04\xc1\0\0"),
    (b".snd\0\0", rb".{6}\0\0\0.\0.{3}\0\0\0."),  # and its codec, its rate and its channels
    (b"TTA1", rb"[\x01\x02]\0.\0.\0.{2}[\0-\x0f]\0"),
    (b"Creative Voice File\x1a", rb"\x1a\0"),
    (b"wvpk", rb".{4}[\x02-\x10]\x04.{6}\0{4}.{5}[" + _INITIAL + rb"]"),  # the first block of a first frame
    (b"nut/multimedia container\0", rb"N"),
    (b"FORM", rb".{4}(?:8SVX|16SV|MAUD)[A-Z]{4}"),
    (b"NIST_1A\n", rb" *\d+\n"),
    (b".SoX", rb".\0\0\0.{16}[\1-\x40]\0\0\0"),  # its header's length, how many samples, its rate, its channels
    (b"XoS.", rb"\0\0\0.{17}\0\0\0[\1-\x40]"),
    (b".RMF\0\0\0\x12", rb"\0[\0\1]"),
]
_BEGIN = 64  # bytes in which one can tell
Place = tuple[float, float]  # where it begins, and its length: seconds, 0 where nobody knows
_AT_ONCE = 1 << 20
_BEGINNING = re.compile(rb"OggS\0[\2\6]\0{8}")  # a page on which a stream begins
_NEVER = b"\xff" * 8  # the time of a page on which no packet ends
_FIRST_PACKETS = (  # how they begin; a page that only says that it is a first one begins nothing
    *(b"OpusHead", b"\x01vorbis", b"Speex   ", b"\x7fFLAC", b"fLaC", b"CELT", b"PCM     ", b"fishead"),
    *(b"\x80theora", b"\x80kate", b"\x01video", b"\x01audio", b"BBCD", b"OVP80", b"UVS "),
)


class Peeking(Protocol):
    """A pipe whose next bytes can be looked at."""

    def read(self, size: int, /) -> bytes:
        """Give up to `size` bytes, none at the end."""

    def peek(self, size: int, /, at: int = 0) -> bytes:
        """Give `size` bytes, `at` bytes ahead, without taking them; fewer where it ends."""

    def unread(self, data: bytes, /) -> None:
        """Take back what was read last."""


def links_of_file(file: BinaryIO) -> Iterator[Reader]:
    """Give each link of a file, from its beginning on, as a file of its own; the file itself where there is one."""
    begin, packet = _begin(AsPipe(file).look), transport.packet_size(AsPipe(file).look)
    if packet:
        starts, is_odd = _changes(file, packet), False
    else:
        starts, is_odd = (_starts(file, begin), False) if begin else _survey(file)
    if is_odd:
        file.seek(0)
        yield from links_of_pipe(AsPipe(file))
        return
    if len(starts) < 2:
        file.seek(0)
        yield file
        return
    for start, until in zip(starts, [*starts[1:], file.seek(0, io.SEEK_END)], strict=True):
        yield Part(file, start, until)


def links_of_pipe(pipe: Peeking) -> Iterator[Reader]:
    """Give each link as a pipe of its own, which ends where the next begins; what was not read of it is passed over."""
    more = True
    while more:
        begin = _begin(lambda at, size: pipe.peek(size, at))
        packet = transport.packet_size(lambda at, size: pipe.peek(size, at))
        link = _Until(pipe, begin) if begin else _OfPackets(pipe, packet) if packet else _Link(pipe)
        yield link
        while link.read(1 << 16):  # what its reader left
            pass
        more = bool(pipe.peek(1))


@dataclass(frozen=True, slots=True)
class _Begin:
    """How a file begins of whose format one can tell where the next one begins."""

    magic: bytes
    whole: re.Pattern[bytes]
    at: int  # behind so many bytes, an ID3 tag

    @property
    def behind(self) -> tuple[tuple[bytes, ...], Callable[[Peek], int]]:
        """Give how what may stand behind its sound begins, and what tells how many bytes of that are there."""
        if b"WAVE" in self.whole.pattern:
            return BEHIND, chunks_behind
        return ((b"APETAGEX", b"TAG"), _tags_behind) if self.magic == b"wvpk" else ((), lambda _peek: 0)


def _begin(peek: Peek) -> _Begin | None:
    """Find how it begins; None where the next one cannot be told."""
    at = behind_id3(peek)
    head = peek(at, _BEGIN)
    found = (_Begin(magic, re.compile(re.escape(magic) + then, re.DOTALL), at) for magic, then in _BEGINS)
    return next((begin for begin in found if begin.whole.match(head)), None)


def _tags_behind(peek: Peek) -> int:
    """Tell how many bytes of tags stand at the end, APEv2 and ID3v1; 0 for none: FFmpeg takes them for a block."""
    at = 32 + int.from_bytes(head[12:16], "little") if (head := peek(0, 32)).startswith(b"APETAGEX") else 0
    at += 128 if len(last := peek(at, 129)) == 128 and last[:3] == b"TAG" else 0
    return at if at and peek(at, 4) in (b"", b"wvpk") else 0


def _starts(file: BinaryIO, begin: _Begin) -> list[int]:
    """Find where in a file one begins that begins as it does itself."""
    starts, at, kept = [0], begin.at + 1, b""
    file.seek(at)
    while data := file.read(_AT_ONCE):
        data = kept + data
        known = len(data) - _BEGIN
        starts += [at + match.start() for match in begin.whole.finditer(data) if match.start() <= known]
        kept = data[1 - _BEGIN :]
        at += len(data) - len(kept)
    return starts


def _changes(file: BinaryIO, packet: int) -> list[int]:
    """Find where in an MPEG-TS its tracks become others."""
    starts, at, tracks = [0], 0, transport.Tracks(packet)
    file.seek(0)
    while data := file.read(_AT_ONCE // packet * packet):
        changed = tracks.change(data)
        at += len(data)
        if changed is not None:
            starts.append(tracks.named)
            at = file.seek(changed + packet)
    return starts


def _survey(file: BinaryIO) -> tuple[list[int], bool]:
    """Find where links begin, and whether there are packets without a time; garbage between pages is passed over."""
    starts, at, last, inside, is_odd, is_opus = [0], 0, 0, False, False, False
    file.seek(0)
    if file.read(4) != b"OggS":
        return starts, False
    while True:
        file.seek(at)
        head = file.read(ogg.HEAD + 255)
        if head[:4] != b"OggS" or len(head) < ogg.HEAD:
            file.seek(last + 1)  # of a page that was torn, the next link is among what it claims
            torn = _BEGINNING.search(file.read(at - last + ogg.HEAD))
            is_odd |= len(head) == ogg.HEAD + 255  # of what is lost there only who reads on knows the length
            if not torn and len(head) < ogg.HEAD:
                return starts, is_odd
            file.seek(at + len(head))
            found = (head + file.read(1 << 16)).find(b"OggS", 1)
            last = at = last + 1 + torn.start() if torn else at + (found if found > 0 else len(head))
            continue
        last = at
        first = _first_packet(head, inside)
        if first and inside:
            starts.append(at)
        is_opus = first.startswith(b"OpusHead") or (is_opus and not (first and inside))
        inside = not first
        size = ogg.HEAD + head[26] + sum(head[ogg.HEAD : ogg.HEAD + head[26]])
        is_odd |= (
            _has_no_time(head, is_opus) or ogg.crc(head[:size] + file.read(max(0, size - len(head)))) != head[ogg.CRC]
        )
        at += size


def _first_packet(page: bytes, inside: bool) -> bytes:
    """Give how the first packet of a stream begins, `inside` a link only one that can be; nothing on another page."""
    packet = page[ogg.HEAD + page[26] :][:8]
    return packet if page[ogg.FLAGS] & ogg.FIRST and (not inside or packet.startswith(_FIRST_PACKETS)) else b""


def _has_no_time(head: bytes, is_opus: bool) -> bool:
    """Tell whether packets end on a page which says that none does, or for Opus that it is when nothing can be."""
    if head[ogg.TIME] == _NEVER:
        return min(head[ogg.HEAD : ogg.HEAD + head[26]], default=255) < 255
    return is_opus and int.from_bytes(head[ogg.TIME], "little") >= ogg.LONGEST


class AsPipe:
    """A file that is read like a pipe."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int, /) -> bytes:
        return self._file.read(size)

    def peek(self, size: int, /, at: int = 0) -> bytes:
        here = self._file.tell()
        self._file.seek(here + at)
        data = self._file.read(size)
        self._file.seek(here)
        return data

    def unread(self, data: bytes, /) -> None:
        self._file.seek(-len(data), io.SEEK_CUR)

    def look(self, at: int, size: int) -> bytes:
        self._file.seek(at)
        return self._file.read(size)


class Part(io.RawIOBase):
    """A part of a file as a file."""

    def __init__(self, file: BinaryIO, start: int, end: int) -> None:
        super().__init__()
        self._file, self._start, self._end, self._at = file, start, end, start

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # no other is given
        left = max(0, self._end - self._at)
        self._file.seek(self._at if left else 0)
        data = self._file.read(min(len(buffer), left))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        base = (self._start, self._at, self._end)[whence]
        self._at = max(self._start, base + offset)
        return self._at - self._start

    def tell(self) -> int:
        return self._at - self._start

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


class OfPipe:
    """A part of a pipe, and what all of them have."""

    def __init__(self, pipe: Peeking) -> None:
        self._pipe = pipe
        self._watch = Watch(lambda at, size: pipe.peek(size, at))

    def read(self, size: int, /) -> bytes:
        data = self._read(size)
        self._watch.feed(data)
        return data

    def _read(self, size: int) -> bytes:
        raise NotImplementedError

    def damaged(self, _unit: float) -> tuple[list[Place], list[Place]]:
        """Give where it was mended and where something is missing, and how long that is, all in seconds.

        `_unit` is how long a sample is by which it counts.
        """
        return [], []

    def is_cut(self, heard: float, claimed: float | None) -> bool:
        """Read what is left, and tell whether sound is missing at its end, as `truncation.is_cut` does of a file."""
        while self.read(1 << 16):
            pass
        return self._watch.is_cut(heard, claimed)

    def peek(self, size: int, /, at: int = 0) -> bytes:
        return self._pipe.peek(size, at)

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0, /) -> int:
        raise io.UnsupportedOperation("a pipe cannot seek")


class _Until(OfPipe):
    """A pipe up to where another file of its format begins, without the chunks of a WAV, or the tags, at its end."""

    def __init__(self, pipe: Peeking, begin: _Begin) -> None:
        super().__init__(pipe)
        self._begin = begin
        self._own = begin.at + 1  # bytes up to which it is this file that begins
        behind, self._count_behind = begin.behind
        self._names = (begin.magic, *behind)
        self._any = re.compile(b"|".join((begin.whole.pattern, *self._names[1:])), re.DOTALL)
        self._ended = False

    def _read(self, size: int) -> bytes:
        if self._ended:
            return b""
        data = self._pipe.read(size)
        own, self._own = self._own, max(0, self._own - len(data))
        for at in sorted(self._candidates(data, own)):
            peek = partial(self._ahead, data[at:])
            passed = self._count_behind(peek)
            if passed or self._begin.whole.match(peek(0, _BEGIN)):
                self._ended = True
                self._pipe.unread(data[at:])
                while passed and (more := self._pipe.read(passed)):
                    passed -= len(more)
                return data[:at]
        return data

    def _candidates(self, data: bytes, own: int) -> Iterator[int]:
        """Give where something else begins, or may begin of which too little has come."""
        yield from (match.start() for match in self._any.finditer(data, own))
        for at in range(max(own, len(data) - _BEGIN), len(data)):
            if any(name.startswith(data[at : at + len(name)]) for name in self._names):
                yield at

    def _ahead(self, read: bytes, at: int, size: int) -> bytes:
        """Give what is so many bytes ahead, of which some were read already."""
        have = read[at : at + size]
        return have if len(have) == size else have + self._pipe.peek(size - len(have), max(0, at - len(read)))


class _OfPackets(OfPipe):
    """A pipe of MPEG-TS up to where its tracks become others."""

    def __init__(self, pipe: Peeking, packet: int) -> None:
        super().__init__(pipe)
        self._packet, self._tracks = packet, transport.Tracks(packet)
        self._read_so_far = 0  # bytes
        self._rest = b""  # of whole packets
        self._ended = False

    def _read(self, size: int) -> bytes:
        if not self._rest and not self._ended:
            self._rest = self._packets(max(1, size // self._packet) * self._packet)
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def _packets(self, size: int) -> bytes:
        data = self._pipe.read(size)
        while (missing := -len(data) % self._packet) and (more := self._pipe.read(missing)):
            data += more
        changed = self._tracks.change(data)
        if changed is not None:
            at = changed - self._read_so_far
            self._pipe.unread(self._tracks.name + data[at:])
            self._ended, data = True, data[:at]
        self._read_so_far += len(data)
        return data


class _Link(OfPipe):
    """A pipe up to where the next link begins."""

    def __init__(self, pipe: Peeking) -> None:
        super().__init__(pipe)
        self._left = 0  # bytes of the page that is being read
        self._given = b""  # the last bytes that were given
        self._mender = ogg.Mender()
        self._changed = b""  # what of a page is left that was changed
        self._inside = self._is_opus = False
        self._is_ogg = pipe.peek(4) == b"OggS"

    def _read(self, size: int) -> bytes:
        if not self._is_ogg:
            return self._pipe.read(size)
        if not self._left and not self._changed and not self._turn():
            return b""
        if self._changed:
            data, self._changed = self._changed[:size], self._changed[size:]
            return data
        data = self._pipe.read(min(size, self._left))
        self._left -= len(data)
        self._given = (self._given + data)[-ogg.HEAD :]
        return data

    def _turn(self) -> bool:
        """Look at the next page, and tell whether it belongs to this link."""
        head = self._pipe.peek(ogg.HEAD)
        torn = _BEGINNING.search(self._given + head) if head[:4] != b"OggS" else None
        if torn and torn.start() < len(self._given):  # what the page before claimed of it has been given already
            self._pipe.unread(self._given[torn.start() :])
            self._given = b""
            return self._turn()
        if head[:4] != b"OggS" or len(head) < ogg.HEAD:
            self._left = 1  # garbage, or the end
            if len(head) == ogg.HEAD:
                self._mender.skip()
            return True
        first = (
            _first_packet(self._pipe.peek(ogg.HEAD + head[26] + 8), self._inside)
            if head[ogg.FLAGS] & ogg.FIRST
            else b""
        )
        if first and self._inside:
            return False
        self._is_opus |= first.startswith(b"OpusHead")
        self._inside = not first
        head = self._pipe.peek(ogg.HEAD + head[26])
        self._left = len(head) + sum(head[ogg.HEAD :])
        if torn := _BEGINNING.search(self._pipe.peek(self._left), 1):  # a torn page claims what follows
            self._left = torn.start()
            return True
        page = self._pipe.peek(self._left)
        if len(page) < self._left:
            return True
        hurt = ogg.crc(page) != page[ogg.CRC]
        mended = self._mender.follow(page, self._pipe.peek(6, self._left) if hurt else b"", self._is_opus)
        if _has_no_time(mended, self._is_opus):
            mended = self._mender.timed(mended)
        if mended != page:
            while self._left and (passed := self._pipe.read(self._left)):
                self._left -= len(passed)
            self._changed = mended
        return True

    def damaged(self, unit: float) -> tuple[list[Place], list[Place]]:
        self._mender.end()
        hurt, lost = (
            [(begin * unit, (end - begin) * unit) for begin, end in places]
            for places in (self._mender.hurt, self._mender.lost)
        )
        return hurt, lost
