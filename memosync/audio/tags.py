"""Words as the tags of a file, ours and other people's.

The neighbour of `webm` in the room that owns PyAV.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..memo import Words, clean_description, clean_tags, clean_title, parse_id
from . import codepages, dates, ebml

if TYPE_CHECKING:
    import av
    import av.container

_HAVE_ID3 = {"mp3", "aac", "aiff", "tta", "dsf"}  # as FFmpeg calls formats
_INFO = {  # what FFmpeg calls the chunks of a WAV's INFO
    b"INAM": "title",
    b"ICMT": "comment",
    b"ICRD": "date",
    b"IKEY": "IKEY",
    b"IART": "artist",
    b"IPRD": "album",
    b"IGNR": "genre",
    b"ICOP": "copyright",
}
_ID3 = {  # and the frames of an ID3 tag
    b"TIT2": "title",
    b"COMM": "comment",
    b"TDRC": "date",
    b"TYER": "date",
    b"TPE1": "artist",
    b"TALB": "album",
    b"TCON": "genre",
    b"TCOP": "copyright",
}
_TIME = r"\s*\d\d?[-:._ ]?\d\d[-:._ ]?\d\d\s*"  # of day, in a broadcast WAV
_MARKS = (b"\xff\xfe", b"\xfe\xff")
_EARLIEST = 1970  # what a memo may say, since 0.1.0, is later
_BEGIN = bytes.fromhex("1a45dfa39f4286810142f7810142f2810442f381084282847765626d42878104428581021853806701")
_CLUSTER = b"\x1f\x43\xb6\x75"
_INDEX = b"\x11\x4d\x9b\x74"  # SeekHead, which stands first in the segment
_SEEK, _SEEK_ID, _SEEK_POSITION = 0x4DBB, 0x53AB, 0x53AC
_INFORMATION, _CUES, _TAGS = 0x1549A966, 0x1C53BB6B, 0x1254C367
_TITLE, _TAG, _TARGETS, _TRACK_UID = 0x7BA9, 0x7373, 0x63C0, 0x63C5
_SIMPLE, _NAME, _TEXT = 0x67C8, 0x45A3, 0x4487


def to_tags(words: Words) -> dict[str, str]:
    """Name words as the tags of a memo's file, without those that are empty (Matroska tags, RFC 9559, 5.1.8)."""
    tags = {
        "title": words.title,
        "DESCRIPTION": words.description,
        "KEYWORDS": ",".join(words.tags),
        "DATE_RECORDED": words.recorded.isoformat(timespec="seconds") if words.recorded else "",
        "MEMOSYNC_ID": words.id or "",
    }
    return {name: value for name, value in tags.items() if value}


def are_in(head: bytes, words: Words) -> bool:
    """Tell whether the beginning of a file has the tags of these words and no others that are about words.

    Without FFmpeg, and only of a file that is laid out as FFmpeg lays ours out: nothing is known where it says False.
    """
    try:
        said = _tags_in(head)
    except (ebml.Nonsense, IndexError, KeyError, ValueError):
        return False
    read = {"title", "description", "comment", "keywords", "ikey", "date_recorded", "memosync_id"}
    about = [(name, text) for name, text in said if name.lower() in read]
    return sorted(about) == sorted(to_tags(words).items())


def _tags_in(head: bytes) -> list[tuple[str, str]]:
    """Read title and global tags between the beginning of a segment and its Cues (RFC 9559, 5.1); ebml.Nonsense."""
    begin = len(_BEGIN) + 7  # of the size of the segment
    if not head.startswith(_BEGIN) or head[begin : begin + 4] != _INDEX:
        raise ebml.Nonsense
    seeks = [ebml.children(seek) for _, seek in ebml.each(head[begin + 5 : begin + 5 + (head[begin + 4] & 0x7F)])]
    places = {ebml.whole(seek[_SEEK_ID]): ebml.whole(seek[_SEEK_POSITION]) for seek in seeks}
    elements = ebml.each(head[begin : begin + places[_CUES]])
    (info,) = (body for name, body in elements if name == _INFORMATION)
    (tags,) = (body for name, body in elements if name == _TAGS)
    at_its_place = ebml.each(head[begin + places[_TAGS] : begin + places[_CUES]])[0]
    if len(places) < len(seeks) or at_its_place != (_TAGS, tags) or _CLUSTER not in head[begin + places[_CUES] :]:
        raise ebml.Nonsense
    pairs = [(b"title", text) for name, text in ebml.each(info) if name == _TITLE]
    for (targets, whose), *simple in (ebml.each(body) for name, body in ebml.each(tags) if name == _TAG):
        if targets != _TARGETS or (whose and _TRACK_UID not in ebml.children(whose)):
            raise ebml.Nonsense
        for kind, body in [] if whose else simple:
            (one, name), (other, text) = ebml.each(body)
            if (kind, one, other) != (_SIMPLE, _NAME, _TEXT):  # in a language, or with others in it
                raise ebml.Nonsense
            pairs.append((name, text))
    return [(name.decode(), text.decode()) for name, text in pairs]


def words_of(source: av.container.InputContainer, stream: av.AudioStream | None = None) -> Words:
    """Find the words in the tags of a file, ours and other people's, those of its stream included.

    In Ogg all tags are on the stream; elsewhere the title of a track is its name: "simple_aac_recording". Dates are not
    compared with today's: those who know it ask `dates.choose`. All is cleaned of what a terminal would obey.
    """
    track = _by_name(stream.metadata) if stream else {}
    if source.format.name != "ogg":
        track.pop("title", None)
    tags = track | _by_name(source.metadata)
    dated = _dates(tags)
    memo_id = parse_id(tags.get("memosync_id"))
    own = dates.parse_date(tags.get("date_recorded", "")) if memo_id else None  # whatever a person says of their memo
    return Words(
        title=clean_title(tags.get("title", "")),
        description=clean_description(tags.get("description") or tags.get("comment", "")),
        tags=clean_tags((tags.get("keywords") or tags.get("ikey", "").replace("; ", ",")).split(",")),  # IKEY: a WAV's
        recorded=own.moment if own and own.moment.year > _EARLIEST else dates.first(dated),
        id=memo_id,
        dates=dated,
    )


def make_readable(source: av.container.InputContainer) -> None:
    """Decode the tags of a file, whose bytes PyAV gives as surrogates: in place, so what is copied has them, too."""
    places = [source.metadata, *(stream.metadata for stream in source.streams)]
    texts = [text for place in places for pair in place.items() for text in pair]
    latin = not _HAVE_ID3.isdisjoint(source.format.name.split(","))
    readable = codepages.mended(texts, latin=latin)
    if readable != texts:
        pairs = zip(readable[::2], readable[1::2], strict=True)
        for place in places:
            decoded = dict(itertools.islice(pairs, len(place)))
            place.clear()
            place.update(decoded)


def add_utf16(source: av.container.InputContainer, info: Mapping[bytes, bytes]) -> None:
    """Add what of a WAV's INFO is in UTF-16, of which FFmpeg reads no more than a letter."""
    texts = {name: codepages.utf16(info[chunk]) for chunk, name in _INFO.items() if chunk in info}
    source.metadata.update({name: text for name, text in texts.items() if text})


def add_unmarked(source: av.container.InputContainer, texts: Mapping[bytes, bytes]) -> None:
    """Add what of an ID3 tag is in UTF-16 without its mark, of which FFmpeg reads nothing."""
    named = {name: codepages.unmarked_utf16(texts[frame]) for frame, name in _ID3.items() if frame in texts}
    source.metadata.update({name: text for name, text in named.items() if text and name not in source.metadata})


def add(source: av.container.InputContainer, texts: Mapping[str, str]) -> None:
    """Add what a file says in another place, too, of which nothing is known yet."""
    known = _by_name(source.metadata)
    source.metadata.update({name: text for name, text in texts.items() if name.lower() not in known})


def add_raw(source: av.container.InputContainer, texts: Mapping[str, bytes]) -> None:
    """Add what stands there in UTF-8, in UTF-16 with its mark, or in a code page that nobody named, without NULs."""
    raw = {name: codepages.utf16(text) if text[:2] in _MARKS else _escaped(text) for name, text in texts.items()}
    add(source, dict(zip(raw, codepages.mended(list(raw.values())), strict=True)))


def _escaped(text: bytes) -> str:
    return text.replace(b"\0", b"").strip().decode("utf-8", "surrogateescape")


def _by_name(metadata: dict[str, str]) -> dict[str, str]:
    """Give tags by their names in lower case, the first of each that says something."""
    return {name.lower(): text for name, text in reversed(metadata.items()) if text}


def _dates(tags: dict[str, str]) -> tuple[str, ...]:
    """Give what says when it was recorded, the most certain first.

    A broadcast WAV (EBU Tech 3285) has day and time apart. QuickTime's own date has an offset, `creation_time` none.
    """
    day, clock = tags.get("date", ""), tags.get("creation_time", "")
    if re.fullmatch(_TIME, clock):
        clock = day and f"{day} {clock}"
    own, apple = tags.get("date_recorded", ""), tags.get("com.apple.quicktime.creationdate", "")
    return tuple(dict.fromkeys(filter(None, [own, apple, clock, day, tags.get("year", "")])))
