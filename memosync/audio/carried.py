"""What a file carries besides its words, from file to file: chapters, and who made it, and of which album.

The index has none of it. The neighbour of `webm` in the room that owns PyAV, whose names for tags are FFmpeg's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..memo import Words, clean_description, clean_title

if TYPE_CHECKING:
    from fractions import Fraction  # which loads `decimal`, 2 ms of every verb

    import av
    import av.container
    from av.container.core import Chapter as AvChapter

MOST_CHAPTERS = 1_000  # as many as three digits can number
_NEAR = 100  # milliseconds that a last chapter may claim more than there is, as where a length was rounded
_LONGEST = 10**12  # milliseconds, some thirty years: what is later would not fit into 64 bits everywhere
_TAGS = (  # in the order in which they are written and shown; not where it was: a memo is given to strangers
    *("artist", "album_artist", "author", "performer", "composer", "originator", "album", "track", "disc", "genre"),
    *("show", "episode_id", "comment", "synopsis", "language", "copyright", "license", "publisher"),
    *("organization", "contact", "isrc", "url", "make", "model", "encoded_by"),
)
_ALSO_CALLED = {
    "comments": "comment",  # what `vorbis_comments` makes of one beside a description
    "com.apple.quicktime.make": "make",
    "com.apple.quicktime.model": "model",
    "com.apple.quicktime.author": "author",
}
_INFO = {
    "artist": b"IART",
    "album": b"IPRD",
    "track": b"ITRK",
    "genre": b"IGNR",
    "language": b"ILNG",
    "copyright": b"ICOP",
    "encoded_by": b"ITCH",
}


@dataclass(frozen=True, slots=True)
class Chapter:
    """A part of a recording that has a title."""

    start: int  # milliseconds
    end: int  # milliseconds; not after `start` where the file does not say
    title: str = ""


@dataclass(frozen=True, slots=True)
class Carried:
    """What a file carries besides its words."""

    chapters: tuple[Chapter, ...] = ()  # one after the other
    tags: Mapping[str, str] = field(default_factory=dict)

    def until(self, seconds: float) -> Carried:
        """Cut what is after the end, and let a chapter whose end nobody said end there."""
        end = round(seconds * 1000)
        chapters = tuple(
            replace(chapter, end=end) if not chapter.start < chapter.end <= end + _NEAR else chapter
            for chapter in self.chapters
            if chapter.start < end
        )
        return replace(self, chapters=chapters)

    def moved(self, ahead: Sequence[tuple[float, float]]) -> Carried:
        """Let chapters that count by a clock count by what is heard; one of which nothing is heard is left out.

        `ahead` tells, in seconds, from where on of what is heard the clock is how far ahead of it; its first is 0.
        """
        moved: dict[int, Chapter] = {}
        for chapter in self.chapters:
            start, end = (round(1000 * _heard(edge / 1000, ahead)) for edge in (chapter.start, chapter.end))
            is_heard = end > max(0, start) or (start >= 0 and chapter.end <= chapter.start)
            if is_heard:
                moved.setdefault(max(0, start), replace(chapter, start=max(0, start), end=end))
        return replace(self, chapters=tuple(moved.values()))


def _heard(clock: float, ahead: Sequence[tuple[float, float]]) -> float:
    """Give how much is heard before a time of the clock: in a hole nothing more is."""
    (_, now), *jumps = ahead
    for at, more in jumps:
        if clock < at + more:
            return min(clock - now, at)
        now = more
    return clock - now


NOTHING = Carried()


def carried_of(source: av.container.InputContainer, stream: av.AudioStream | None = None) -> Carried:
    """Find what a file carries, cleaned of what a terminal would obey; at most `MOST_CHAPTERS` chapters.

    With the `stream` that is taken from a file of any format, its tags (Ogg) are included, and chapters count from
    its first sample, where a memo begins.
    """
    begin = 0 * _ms()
    if stream and stream.start_time and stream.time_base and source.format.name != "mp3":  # its delay is no time
        begin = max(begin, stream.start_time * stream.time_base)
    return Carried(_chapters_of(source, begin), _tags_of(source, stream))


def to_chapters(carried: Carried) -> list[AvChapter]:
    """Give chapters as PyAV takes them, numbered from 1: these are the UIDs of Matroska (RFC 9559, 5.1.7.1.4.1)."""
    return [
        {
            "id": number,
            "start": chapter.start,
            "end": max(chapter.start, chapter.end),
            "time_base": _ms(),
            "metadata": {"title": chapter.title} if chapter.title else {},
        }
        for number, chapter in enumerate(carried.chapters, 1)
    ]


def to_id3(carried: Carried) -> list[AvChapter]:
    """Give chapters as ID3v2 has them (ID3v2 Chapter Frame Addendum 1.0): a table of contents counts up to 255.

    Of a longer title FFmpeg (8.1 too) reads a wrong length, and none of the chapters that follow.
    """
    cut = (
        replace(chapter, title=chapter.title.encode()[:120].decode(errors="ignore"))
        for chapter in carried.chapters[:255]
    )
    return to_chapters(replace(carried, chapters=tuple(cut)))


def to_matroska(carried: Carried, words: Words) -> dict[str, str]:
    """Name what is carried as the tags of a memo's file (Matroska tags, RFC 9559, 5.1.8).

    A comment is left out that is the description, or would be taken for it because there is none.
    """
    if words.description and words.description != carried.tags.get("comment"):
        return dict(carried.tags)
    return {name: value for name, value in carried.tags.items() if name != "comment"}


def to_vorbis(carried: Carried, words: Words) -> dict[str, str]:
    """Name it as Vorbis comments do, with CHAPTERxxx for chapters (Xiph's Chapter Extension), which end at the next.

    FFmpeg calls COMMENT what others call DESCRIPTION, so a comment beside one is COMMENTS.
    """
    tags = {name.replace("comment", "comments"): value for name, value in to_matroska(carried, words).items()}
    for number, chapter in enumerate(carried.chapters):
        hours, rest = divmod(chapter.start, 3_600_000)
        if hours < 100:
            minutes, milliseconds = divmod(rest, 60_000)
            clock = f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}.{milliseconds % 1000:03}"
            tags |= {f"CHAPTER{number:03}": clock, f"CHAPTER{number:03}NAME": chapter.title}
    return tags


def to_info(carried: Carried) -> dict[bytes, str]:
    """Name it as the chunks of a WAV's INFO, which has no second place for a comment."""
    return {chunk: carried.tags[name] for name, chunk in _INFO.items() if name in carried.tags}


def _ms() -> Fraction:
    """Give a millisecond, in seconds."""
    from fractions import Fraction

    return Fraction(1, 1000)


def _chapters_of(source: av.container.InputContainer, begin: Fraction) -> tuple[Chapter, ...]:
    """Find chapters and make them follow each other; those that end before `begin`, seconds, are left out."""
    found: dict[int, Chapter] = {}
    for chapter in source.chapters()[: 10 * MOST_CHAPTERS]:  # a stranger's file may have millions
        tick = chapter["time_base"] or _ms()
        start, end = (min(round((chapter[edge] * tick - begin) * 1000), _LONGEST) for edge in ("start", "end"))
        if end > 0 or start >= 0:
            title = chapter["metadata"].get("title", "")
            if source.format.name == "mp3" and re.fullmatch(r"chp?\d+", title):  # what FFmpeg says where there is none
                title = ""
            found.setdefault(max(0, start), Chapter(max(0, start), end, clean_title(title)))
    chapters = sorted(found.values(), key=lambda chapter: chapter.start)[:MOST_CHAPTERS]
    following = [chapter.start for chapter in chapters[1:]]
    ended = (
        replace(chapter, end=after) if chapter.end <= chapter.start else chapter
        for chapter, after in zip(chapters, following, strict=False)
    )
    return (*ended, *chapters[-1:])


def _tags_of(source: av.container.InputContainer, stream: av.AudioStream | None) -> dict[str, str]:
    """Find the tags that are worth keeping.

    A comment is one beside a description; without one it is the description (`tags.words_of`). What Matroska says of
    the language of a stream is not believed: where nothing is said that means English.
    """
    own = dict(stream.metadata) if stream else {}
    if own.get("language") == "und" or "matroska" in source.format.name:
        own.pop("language", None)
    found: dict[str, str] = {}
    described = False
    for name, value in {**own, **source.metadata}.items():
        known = _ALSO_CALLED.get(name.lower(), name.lower())
        value = (clean_description if known == "comment" else clean_title)(value)
        described |= bool(value) and name.lower() in ("description", "comments")
        if known in _TAGS and value and (known not in found or name.lower() == "comments"):
            found[known] = value
    if not described:
        found.pop("comment", None)
    return {name: found[name] for name in _TAGS if name in found}
