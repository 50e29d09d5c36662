"""What a file says of itself, of which FFmpeg overlooks some and has some wrong: words, and what else it carries.

The neighbour of `webm` in the room that owns PyAV.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

from ..errors import AudioError
from ..memo import Words
from . import headers, id3, mp4, pcm
from .carried import NOTHING, Carried, carried_of
from .tags import add, add_raw, add_unmarked, add_utf16, words_of
from .webm import open_input

if TYPE_CHECKING:
    import av
    import av.container

    from .id3 import Peek

_FAMILY = "aiff,au,caf,w64,wav"  # what libsndfile reads here
_SILENCE = (b"\xff\xfb\x14\xc0" + bytes(92)) * 10  # of MP3, 32 kb/s


@dataclass(frozen=True, slots=True)
class Said:
    """What a file says of itself besides its sound."""

    words: Words = Words()  # noqa: RUF009
    carried: Carried = NOTHING
    names: tuple[str, ...] = ()  # of its channels

    def filled(self, words: Words, carried: Carried) -> tuple[Words, Carried]:
        """Fill up with this what words, and what else is carried, leave open."""
        mine = self.words
        words = replace(
            words,
            title=words.title or mine.title,
            description=words.description or mine.description,
            tags=words.tags or mine.tags,
            recorded=words.recorded or mine.recorded,
            dates=(*words.dates, *mine.dates),
        )
        return words, Carried(carried.chapters or self.carried.chapters, {**self.carried.tags, **carried.tags})


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlooked:
    """What of its words FFmpeg does not find, or not as they are."""

    info: Mapping[bytes, bytes]  # of a WAV, by the names of its chunks
    unmarked: Mapping[bytes, bytes]  # of an ID3 tag, by the names of its frames
    resynchronised: bytes  # an ID3 tag
    boxes: Mapping[str, bytes]  # of 3GP
    unedited: str  # why the edit list of an MP4 is not followed
    behind: id3.Behind  # the sound

    def read_by(self, container: av.container.InputContainer, stream: av.AudioStream) -> Said:
        """Give what FFmpeg finds in a file, and this: what stands in front of the sound counts first."""
        more = NOTHING
        if self.resynchronised:
            container.metadata.clear()
            more = _add_id3(container, self.resynchronised)
        add_utf16(container, self.info)
        add_unmarked(container, self.unmarked)
        add_raw(container, self.boxes)
        if self.behind.id3v2:
            more = _add_id3(container, self.behind.id3v2)
        add_raw(container, self.behind.texts)
        if self.behind.id3v1:
            _add_id3(container, b"", self.behind.id3v1)
        carried = carried_of(container, stream)
        return Said(words_of(container, stream), replace(carried, chapters=carried.chapters or more.chapters))


def overlooked_in(peek: Peek, end: int | None = None) -> Overlooked:
    """Read it from a file of `end` bytes, or from the beginning of a pipe, which has no end yet."""
    index = mp4.index_of(peek, behind=end is not None)
    return Overlooked(
        info=headers.info(peek, behind=end is not None),
        unmarked=id3.unmarked(peek),
        resynchronised=id3.resynchronised(peek),
        boxes=mp4.words_of_3gp(index),
        unedited=mp4.why_unedited(index),
        behind=id3.behind(peek, end) if end is not None else id3.Behind(start=0),
    )


def said_by(file: BinaryIO, formats: str = _FAMILY) -> Said:
    """Have FFmpeg read what a file, of WAV's family unless it is said, says of itself."""
    found = overlooked_in(headers.reading(file), file.seek(0, io.SEEK_END))
    file.seek(0)
    with contextlib.suppress(AudioError), open_input(file, formats, None) as container:
        for stream in filter(can_be, container.streams.audio):
            names = names_of(stream.codec_context.layout)
            return replace(found.read_by(container, stream), names=names)
    return Said()


def said_by_mp3(file: BinaryIO) -> Said:
    """Have FFmpeg read the tags of an MP3 whose frames it cannot: between them it is given silence."""
    read = headers.reading(file)
    return said_by_id3(read(0, id3.behind_id3(read)), overlooked_in(read, file.seek(0, io.SEEK_END)))


def said_by_id3(tag: bytes, overlooked: Overlooked | None = None) -> Said:
    """Have FFmpeg read an ID3 tag, and take what it has overlooked in it, or in the file that it is of."""
    found = overlooked or overlooked_in(headers.reading(io.BytesIO(tag)))
    with contextlib.suppress(AudioError), _between_tags(tag) as container:
        return found.read_by(container, container.streams.audio[0])
    return Said()


def names_of(layout: av.AudioLayout) -> tuple[str, ...]:
    """Name the channels, `""` each where their order is a guess."""
    names = [channel.name for channel in layout.channels]
    return tuple("" if name in ("NONE", "UNSD", "") else name for name in names)


def can_be(stream: av.AudioStream) -> bool:
    """Tell whether FFmpeg has a decoder for a track, and its numbers make sense."""
    codec = stream.codec_context
    if codec is None:
        return False
    return not codec.sample_rate or (codec.sample_rate in pcm.RATES and codec.channels <= pcm.CHANNELS)


def _add_id3(container: av.container.InputContainer, before: bytes, after: bytes = b"") -> Carried:
    """Add what FFmpeg reads in an ID3 tag to what is known already; give all that it carries."""
    with contextlib.suppress(AudioError), _between_tags(before, after) as silence:
        add(container, silence.metadata)
        return carried_of(silence)
    return NOTHING


@contextlib.contextmanager
def _between_tags(before: bytes, after: bytes = b"") -> Iterator[av.container.InputContainer]:
    """Open silence between two tags; AudioError when there is too much of them."""
    peek = headers.reading(io.BytesIO(before))
    before = id3.resynchronised(peek) or before
    with open_input(io.BytesIO(before + _SILENCE + after), "mp3", None) as container:
        add_unmarked(container, id3.unmarked(peek))
        yield container
