"""Tags of MP3 and its kin in front of the sound and behind it, where FFmpeg has them wrong or overlooks them.

ID3v2 (2.3 and 2.4) and ID3v1, APE (Hydrogenaudio's APEv2 specification), and what was made because ID3v1 is short:
Lyrics3 v2.00, and the enhanced tag. Of several behind the sound FFmpeg (8.1) finds the last at most, in MP3 none but
ID3v1, and takes the others for damaged sound.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_TAG = 1 << 26  # bytes of a tag
_TEXT = 1 << 20  # bytes of a text in it
_TAGS = 10  # behind each other
_WITHOUT_FOOTER = 1 << 20  # bytes in which an ID3v2 tag is looked for that has none
_APE = {"record date": "date", "album artist": "album_artist"}  # names that others have another word for
_LYRICS = {b"ETT": "title", b"EAR": "artist", b"EAL": "album", b"INF": "comment"}
_WITHOUT_LENGTH = re.compile(rb"\xff[\xe0-\xff]|wvpk|TTA1|MP\+|MPCK|MAC |fLaC|tBaK")  # of what stands in a file
_ENHANCED = ("title", "artist", "album")
_HAVE_WORDS = (  # formats with a place of their own for words, how they begin
    *(b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff", b"FORM", b"OggS", b"fLaC", b"caff", b".snd", b"#!AMR", b"wvpk"),
    *(b"\x1a\x45\xdf\xa3", b"\x30\x26\xb2\x75"),  # Matroska, and WMA
)

Peek = Callable[[int, int], bytes]  # gives from an offset so many bytes, fewer where it ends


def behind_id3(peek: Peek) -> int:
    """Give the offset of what is behind an ID3 tag, 0 where there is none."""
    head = peek(0, 10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + _synchsafe(head[6:]) + (10 if head[5] & 16 else 0)  # a footer


def in_front(peek: Peek) -> int:
    """Tell how long an ID3 tag is that stands where none should, and FFmpeg (8.1) cannot read what is behind it."""
    begin = behind_id3(peek)
    head = peek(begin, 8) if begin else b""
    return begin if head.startswith(_HAVE_WORDS) or head[4:] == b"ftyp" else 0


def resynchronised(peek: Peek) -> bytes:
    """Give an ID3 tag as it was before zeros were put into it (ID3v2.3, 5; v2.2, 3.1); nothing where none were.

    FFmpeg (8.1) takes them for a part of its frames. Of v2.4, where each frame has its own, it does not.
    """
    head = peek(0, 10)
    if not (end := behind_id3(peek)) or head[3] not in (2, 3) or not head[5] & 0x80 or end > _TAG:
        return b""
    tag = peek(10, end - 10).replace(b"\xff\0", b"\xff")
    return head[:5] + bytes([head[5] & 0x7F, *(len(tag) >> bits & 127 for bits in (21, 14, 7, 0))]) + tag


def unmarked(peek: Peek) -> dict[bytes, bytes]:
    """Find the texts of an ID3 tag that are UTF-16 without its mark (ID3v2.4, 4; v2.3, 3.3), by the names of frames."""
    head = peek(0, 10)
    end = behind_id3(peek)
    if not end or head[3] not in (3, 4) or head[5] & 0xC0:  # unsynchronised, or with an extended header
        return {}
    found, at = dict[bytes, bytes](), 10
    while at + 10 < end and (frame := peek(at, 10))[:1].isalpha():
        size = int.from_bytes(frame[4:8], "big") if head[3] == 3 else _synchsafe(frame[4:8])
        if (frame[:1] == b"T" or frame[:4] == b"COMM") and size <= _TEXT and not frame[9]:
            content = peek(at + 10, size)
            begins = (place + 2 for place in range(4, size, 2) if content[place : place + 2] == b"\0\0")
            text = content[1:] if frame[:1] == b"T" else content[next(begins, size) :]
            if content[:1] == b"\1" and text[:2] not in (b"\xff\xfe", b"\xfe\xff"):
                found[frame[:4]] = text
        at += 10 + size
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """What tags there are behind the sound."""

    start: int  # the offset where they begin, and the sound ends
    id3v2: bytes = b""  # as it would stand in front
    id3v1: bytes = b""
    texts: Mapping[str, bytes] = field(default_factory=dict)  # of the others, by FFmpeg's names


def behind(peek: Peek, end: int) -> Behind:
    """Read the tags behind the sound of a file that ends there: what stands nearer to the sound says more."""
    begin, found = behind_id3(peek), Behind(start=end)
    for _ in range(_TAGS if begin or _WITHOUT_LENGTH.match(peek(0, 4)) else 0):
        tags = (read(peek, found.start) for read in (_id3v1, _lyrics3, _ape, _appended, _without_footer))
        if not (tag := next((tag for tag in tags if tag and begin < tag.start < found.start), None)):
            break
        id3v2, id3v1, texts = tag.id3v2 or found.id3v2, tag.id3v1 or found.id3v1, {**found.texts, **tag.texts}
        found = Behind(start=tag.start, id3v2=id3v2, id3v1=id3v1, texts=texts)
    return found


def _id3v1(peek: Peek, end: int) -> Behind | None:
    """Read 128 bytes, whose texts are 30 long, and the enhanced tag before them, which goes on with 60 of some."""
    tag = _ending(peek, end, 128)
    if not tag.startswith(b"TAG"):
        return None
    more = _ending(peek, end - 128, 227)
    if not more.startswith(b"TAG+"):
        return Behind(start=end - 128, id3v1=tag)
    texts = {name: tag[3 + 30 * number :][:30] + more[4 + 60 * number :][:60] for number, name in enumerate(_ENHANCED)}
    return Behind(start=end - 355, id3v1=tag, texts=_saying(texts))


def _lyrics3(peek: Peek, end: int) -> Behind | None:
    """Read fields, each with a name of three letters and a length of five digits, and the length of all of them."""
    tail = _ending(peek, end, 15)
    if not tail.endswith(b"LYRICS200") or not tail[:6].isdigit():
        return None
    body = _ending(peek, end - 15, int(tail[:6]))
    texts, at = dict[str, bytes](), len(b"LYRICSBEGIN")
    while head := re.match(rb"([A-Z0-9]{3})(\d{5})", body[at : at + 8]):
        at += 8 + int(head[2])
        if head[1] in _LYRICS:
            texts[_LYRICS[head[1]]] = body[at - int(head[2]) : at]
    return Behind(start=end - 15 - len(body), texts=_saying(texts)) if body.startswith(b"LYRICSBEGIN") else None


def _ape(peek: Peek, end: int) -> Behind | None:
    """Read items of text, pictures and links being others; several texts of one have a NUL between them."""
    foot = _ending(peek, end, 32)
    if not foot.startswith(b"APETAGEX"):
        return None
    version, size, count, flags = struct.unpack("<4I", foot[8:24])
    body = _ending(peek, end, size) if 32 <= size < _TAG else b""
    texts, at = dict[str, bytes](), 0
    for _ in range(min(count, len(body) // 10)):
        length, kind = struct.unpack("<II", body[at : at + 8].ljust(8, b"\0"))
        name = body[at + 8 : at + 8 + 256].partition(b"\0")[0]
        at += 9 + len(name)
        called = name.decode("ascii", "replace").lower()
        if not kind & 6:
            texts[_APE.get(called, called)] = b"; ".join(body[at : at + length].strip(b"\0").split(b"\0"))
        at += length
    if at != len(body) - 32:  # it lies about its length
        return None
    texts.setdefault("date", texts.get("year", b""))
    head = 32 * (version >= 2000 and flags >> 31)
    return Behind(start=end - size - head, texts=_saying(texts))


def _appended(peek: Peek, end: int) -> Behind | None:
    """Find an ID3v2 tag by the footer that it has there (ID3v2.4, 5)."""
    foot = _ending(peek, end, 10)
    start = end - 20 - _synchsafe(foot[6:])
    return _id3v2(peek, start, end) if foot.startswith(b"3DI") else None


def _without_footer(peek: Peek, end: int) -> Behind | None:
    """Find one that was put there as it would stand in front."""
    tail = _ending(peek, end, min(end, _WITHOUT_FOOTER))
    heads = re.finditer(rb"ID3[\2-\4]\0[\0-\xff][\0-\x7f]{4}", tail)
    starts = (head.start() for head in heads if head.start() + 10 + _synchsafe(head[0][6:]) == len(tail))
    return next((_id3v2(peek, end - len(tail) + start, end) for start in starts), None)


def _id3v2(peek: Peek, start: int, end: int) -> Behind | None:
    tag = peek(start, end - start) if 0 < start and end - start < _TAG else b""
    return Behind(start=start, id3v2=tag) if tag.startswith(b"ID3") else None


def _ending(peek: Peek, end: int, size: int) -> bytes:
    """Give so many bytes before an offset, none where there are not as many."""
    return peek(end - size, size) if 0 < size <= end else b""


def _saying(texts: Mapping[str, bytes]) -> dict[str, bytes]:
    """Leave out what says nothing."""
    return {name: text for name, text in texts.items() if text.strip(b"\0 ")}


def _synchsafe(data: bytes) -> int:
    """Read a number of seven bits a byte."""
    size = 0
    for byte in data:
        size = size << 7 | byte & 127
    return size
