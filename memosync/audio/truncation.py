"""Sources that end before they say that they do: a copy that broke off, a recorder whose power was cut.

Of each format what it says of its own lengths is followed to the end. Nothing is said of those that cannot know theirs,
as what is written into a pipe, nor where only what stands behind the sound is missing.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Generator

from . import headers, ogg
from .headers import chunks
from .id3 import Peek, behind_id3
from .pcm import is_name

# Asks for so many bytes at an offset, never before those that it asked for last, and is given fewer where it ends. It
# gives whether sound is missing; or, where bytes are, the seconds of sound that should be there; None: as FFmpeg says.
_Walk = Generator[tuple[int, int], bytes, bool | float | None]

_MATROSKA = (0x18538067, 0x1F43B675, 0xA3, 0xA0)  # Segment, Cluster, SimpleBlock, BlockGroup (RFC 9559, 5.1)
_FLV_SOUND, _FLV_PICTURE = 8, 9
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_SHORT = 0.1  # seconds by which what counts the sound may be wrong
_MOST = 1 << 20  # bytes of a table that are kept
_WINDOW = 1 << 16  # bytes in which the next page is looked for
_NO_LENGTH = 0x7FFF0000  # bytes; what is written into a pipe gives this for its length, or more, or 0


class Watch:
    """Follow a source whose bytes pass."""

    def __init__(self, peek: Peek) -> None:
        """Begin where the source does; `peek` is used for no more than its header."""
        self._walk = _walk_of(peek)
        self._at, self._kept = 0, b""  # bytes from an offset on that may be asked for
        self._verdict: bool | float | None = False
        self._wanted: tuple[int, int] | None = (0, 0)
        self._send(None)

    def feed(self, data: bytes) -> None:
        """Take what comes next."""
        if not self._wanted:
            return
        self._kept += data
        while self._wanted:
            begin, size = self._wanted
            self._pass(begin)
            if self._at < begin or len(self._kept) < size:
                return
            self._send(self._kept[:size])

    def is_cut(self, heard: float, claimed: float | None) -> bool:
        """Tell, where it ends, whether sound is missing, by what was heard and what FFmpeg saw claimed (seconds)."""
        while self._wanted:
            begin, size = self._wanted
            self._pass(begin)
            self._send(self._kept[:size] if self._at >= begin else b"")
        return _judged(self._verdict, heard, claimed)

    def _pass(self, begin: int) -> None:
        """Forget what stands before an offset."""
        passed = min(max(0, begin - self._at), len(self._kept))
        self._at, self._kept = self._at + passed, self._kept[passed:]

    def _send(self, data: bytes | None) -> None:
        try:
            self._wanted = next(self._walk) if data is None else self._walk.send(data)
        except StopIteration as end:
            self._wanted, self._kept, self._verdict = None, b"", end.value


def is_cut(read: Peek, heard: float, claimed: float | None) -> bool:
    """Tell the same of a file, of which `read` gives what is at an offset."""
    walk = _walk_of(read)
    try:
        wanted = next(walk)
        while True:
            wanted = walk.send(read(*wanted))
    except StopIteration as end:
        return _judged(end.value, heard, claimed)


def _judged(verdict: bool | float | None, heard: float, claimed: float | None) -> bool:
    if isinstance(verdict, bool):
        return verdict
    return heard < (claimed or 0.0 if verdict is None else verdict) - _SHORT


def _walk_of(peek: Peek) -> _Walk:
    """Find who knows the lengths of what begins so."""
    begin = behind_id3(peek)
    head = peek(begin, 16)
    if (head[:4], head[8:12]) in headers.WAVES or head.startswith(headers.W64):
        return _ends_at(_end_of_wave(peek, begin, head))
    if head[:4] == b"FORM" and head[8:11] == b"AIF":
        sound = ((at, size) for name, at, size in chunks(peek, begin + 12, ">") if name == b"SSND")
        at, size = next(sound, (0, 0))
        return _ends_at(at + size if 0 < size < _NO_LENGTH else 0)
    if head[:4] == b"FORM" and head[8:12] in (b"8SVX", b"16SV", b"MAUD"):
        return _ends_at(
            next((at + size for name, at, size in chunks(peek, begin + 12, ">") if name in (b"BODY", b"MDAT")), 0)
        )
    if head.startswith(b"NIST_1A\n"):
        return _ends_at(_end_of_sphere(peek(begin, 1 << 14)))
    if head[:4] in (b".SoX", b"XoS.") and len(head) == 16:
        length, samples = struct.unpack(("<" if head[:1] == b"." else ">") + "4xIQ", head)
        return _ends_at(begin + length + 4 * samples)
    if head[:4] == b".snd" and len(head) == 16:
        start, size = struct.unpack(">4xII4x", head)
        return _ends_at(begin + start + size if 0 < size < _NO_LENGTH else 0)
    if head[4:8] in (b"ftyp", b"moov", b"wide", b"free", b"skip"):
        return _boxes(begin)
    if head[:1] == b"\xff" and head[1:2] >= b"\xe0":
        return _mp3(begin)
    return next((walk(begin) for magic, walk in _WALKS.items() if head.startswith(magic)), _ends_at(0))


def _ends_at(end: int) -> _Walk:
    """Follow what ends there; 0 where that is not known."""
    return bool(end) and (yield from _is_torn(end))


def _is_torn(end: int) -> Generator[tuple[int, int], bytes, bool]:
    return not (yield end - 1, 1)


def _end_of_sphere(head: bytes) -> int:
    """Give where the samples of a NIST SPHERE end; 0 where they are compressed, or it does not say."""
    fields = dict(re.findall(rb"(?m)^(\w+) -\w+ ([\w,.-]+)", head.partition(b"end_head")[0]))
    names = (b"sample_count", b"channel_count", b"sample_n_bytes")
    if b"," in fields.get(b"sample_coding", b"") or not all(fields.get(name, b"").isdigit() for name in names):
        return 0
    length, numbers = head[8:16].strip(), [int(fields[name]) for name in names]
    return int(length) + numbers[0] * numbers[1] * numbers[2] if length.isdigit() else 0


def _end_of_wave(peek: Peek, begin: int, head: bytes) -> int:
    """Give where the samples of a WAV end, 0 where its header contradicts itself: it was never brought up to date."""
    found = headers.parse(peek) or headers.encoded(peek) or headers.encoded_w64(peek)
    if not found or not found.length:
        return 0
    end = found.start + found.length
    order = ">" if head[:4] == b"RIFX" else "<"
    lists = (at + size for name, at, size in chunks(peek, begin + 12, order, found.start) if name == b"LIST")
    end = max(end, *lists, 0) if head[8:12] == b"WAVE" else end  # of samples in a list, where that ends
    whole = int.from_bytes(head[4:8], "big" if head[:4] == b"RIFX" else "little")
    is_riff = head[:4] in (b"RIFF", b"RIFX")
    return 0 if is_riff and begin + 8 + whole < end else end


def _ogg(at: int) -> _Walk:
    """Follow pages (RFC 3533, 6); whether the last one says that it is, many recorders forget.

    What a power cut leaves of the last page may be filled up, mostly with zeros.
    """
    page = b""
    while (head := (yield at, 27 + 255)).startswith(b"OggS") or (page and (at := (yield from _next_page(at)))):
        if not head.startswith(b"OggS"):  # the page before lied about its length
            continue
        size = 27 + head[26] + sum(head[27 : 27 + head[26]]) if len(head) > 27 else 0
        page = yield at, size
        if not size or len(head) < 27 + head[26] or len(page) < size:
            return True
        at += size
    goes_on = bool(page and not head) and page[26 + page[26]] == 255
    return goes_on or (bool(page) and ogg.crc(page) != page[ogg.CRC])


def _next_page(at: int) -> Generator[tuple[int, int], bytes, int]:
    """Find another page further on; 0 where there is none."""
    while len(data := (yield at, _WINDOW)) > 27:
        if (found := data.find(b"OggS\0")) >= 0:
            return at + found
        at += len(data) - 4
    return 0


def _avi(at: int) -> _Walk:
    """Follow the parts of an AVI, and what is in its `movi` where that does not know its length."""
    while len(head := (yield at, 12)) == 12:
        name, size = struct.unpack("<4sI", head[:8])
        is_open = not 0 < size < _NO_LENGTH
        if name == b"RIFF" or (name == b"LIST" and head[8:] == b"movi" and is_open):
            at += 12
            continue
        if not is_name(name) or (is_open and name == b"LIST"):
            return False
        at += 8 + size
        if size and (yield from _is_torn(at)):
            return bool(name == b"LIST" or name[:2].isdigit())
        at += size % 2
    return False


def _caf(at: int) -> _Walk:
    """Follow the chunks of a CAF; that of the sound may be the last and without a length (-1)."""
    at += 8
    while len(head := (yield at, 12)) == 12:
        name, size = struct.unpack(">4sq", head)
        if size < 0:
            return False
        at += 12 + size
        if size and (yield from _is_torn(at)):
            return bool(name == b"data")
    return False


def _boxes(at: int) -> _Walk:
    """Follow the boxes of an MP4 or QuickTime (ISO/IEC 14496-12, 4.2): one without a length (0) is the last."""
    name = b""
    while len(head := (yield at, 16)) >= 8:
        size, name = struct.unpack(">I4s", head[:8])
        size = int.from_bytes(head[8:], "big") if size == 1 else size
        if size < 8 or not is_name(name):
            return False
        at += size
        if (yield from _is_torn(at)):
            return name in (b"mdat", b"moof")
    return name == b"moof"


def _matroska(at: int) -> _Walk:
    """Follow the elements of a Matroska (RFC 8794, 4): what is live has segments and clusters without a length."""
    segment, cluster, *blocks = _MATROSKA
    until = 0
    while head := (yield at, 12):
        width = 9 - head[0].bit_length()
        length = 9 - head[width].bit_length() if width <= 4 and len(head) > width else 9
        if length > 8 or width + length > len(head):
            return False
        name = int.from_bytes(head[:width], "big")
        most = (1 << 7 * length) - 1
        size = int.from_bytes(head[width : width + length], "big") & most
        at += width + length
        if name == segment:
            until = 0 if size == most else at + size
        elif name != cluster or size != most:
            if size == most:
                return False
            at += size
            if size and (yield from _is_torn(at)):
                return name == cluster or name in blocks
    return None if at < until else False


def _flv(at: int) -> _Walk:
    """Follow the tags of an FLV (Adobe's Video File Format Specification 10.1, E.4)."""
    at += 13
    while len(head := (yield at, 4)) == 4:
        at += 11 + int.from_bytes(head[1:], "big")
        if (yield from _is_torn(at)):
            return head[0] in (_FLV_SOUND, _FLV_PICTURE)
        at += 4
    return False


def _asf(at: int) -> _Walk:
    """Follow the objects of an ASF (Microsoft's specification, 3 and 5); that of a broadcast has no true length."""
    while len(head := (yield at, 24)) == 24:
        size = int.from_bytes(head[16:], "little")
        if size < 24:
            return False
        if at == 0 or head[:16] != _ASF_DATA:
            content = yield at, min(size, 1 << 16)
            flags = content.find(_ASF_FILE) + 88
            if flags >= 88 and content[flags : flags + 1] and content[flags] & 1:
                return False
        at += size
        if (yield from _is_torn(at)):
            return head[:16] == _ASF_DATA
    return False


def _real(at: int) -> _Walk:
    """Follow the chunks of a RealMedia; that of the sound has no true length where it was sent live."""
    while len(head := (yield at, 8)) == 8:
        name, size = struct.unpack(">4sI", head)
        if size < 8 or not is_name(name.strip(b".")):
            return False
        at += size
        if size < _NO_LENGTH and (yield from _is_torn(at - 10)):  # by which FFmpeg counts too many
            return bool(name == b"DATA")
    return False


def _voc(at: int) -> _Walk:
    """Follow the blocks of a VOC, the last of which is one of a single byte."""
    at += int.from_bytes((yield at + 20, 2), "little")
    while len(head := (yield at, 4)) == 4 and head[0]:
        at += 4 + int.from_bytes(head[1:], "little")
        if not (behind := (yield at - 1, 11)):
            return True
        if head[0] == 9 and len(behind) == 10 and not behind[9]:  # SoX 14.4.2 counts four of its header's twelve bytes
            return False
    return False


def _wavpack(at: int) -> _Walk:
    """Follow the blocks of a WavPack, which know how many samples there are in all, if not -1."""
    end, samples = 0, -1
    while len(head := (yield at, 32)) == 32 and head[:4] == b"wvpk":
        size, total, index, count = struct.unpack("<I4xIII", head[4:24])
        samples = total if samples < 0 else samples
        at += 8 + size
        if (yield from _is_torn(at)):
            return True
        end = max(end, index + count)
    return head[:4] == b"wvpk" or end < samples < 0xFFFFFFFF


def _tta(at: int) -> _Walk:
    """Find the end of a TTA, which begins with how long each of its frames is."""
    head = yield at, 22
    if len(head) == 22 and (rate := int.from_bytes(head[10:14], "little")):
        size = 4 * -(-int.from_bytes(head[14:18], "little") * 245 // (256 * rate))
        lengths = (yield at + 22, size) if size < _MOST else b""
        if size == len(lengths):
            return (yield from _is_torn(at + 26 + size + sum(struct.unpack(f"<{size // 4}I", lengths))))
    return False


def _mp3(at: int) -> _Walk:
    """Find the end of an MP3 by what encoders put into its first frame; some count the tags in front of it, too."""
    head = yield at, 64
    found = re.search(rb"(?:Xing|Info)\0{3}[\3\7\x0b\x0f](.{4})(.{4})", head, re.DOTALL)
    length = int.from_bytes(found[2], "big") if found else 0
    if not found or length >= _NO_LENGTH or not (yield from _is_torn(at + length)):
        return False
    halved = {0b11: 0, 0b10: 1}.get(head[1] >> 3 & 3, 2)  # MPEG 1, 2 and 2.5
    rate = (44_100, 48_000, 32_000, 0)[head[2] >> 2 & 3] >> halved
    return int.from_bytes(found[1], "big") * (576 if halved else 1152) / rate if rate else False


_WALKS: dict[bytes, Callable[[int], _Walk]] = {
    b"OggS": _ogg,
    b"RIFF": _avi,
    b"caff": _caf,
    b"\x1a\x45\xdf\xa3": _matroska,
    b"FLV\1": _flv,
    b"\x30\x26\xb2\x75": _asf,
    b".RMF": _real,
    b"Creative Voice F": _voc,
    b"wvpk": _wavpack,
    b"TTA1": _tta,
}
