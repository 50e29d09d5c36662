"""Other people's audio on its way into a memo: files of every common format, and standard input as it comes.

The neighbour of `webm` in the room that owns PyAV.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AudioError
from ..memo import Words
from ..stop import Stop
from .carried import carried_of
from .tags import words_of
from .webm import RATE, Reader, Sound, audio_stream, decode, layout, open_input, packets, translated
from .writer import FRAMES_AT_ONCE, Chained, Writer

if TYPE_CHECKING:
    import av


FORMATS = "aac,ac3,aiff,amr,ape,asf,au,avi,caf,eac3,flac,matroska,mov,mp3,ogg,tta,voc,w64,wav,webm,wv"
_NO_LENGTH = 0x7FFF0000  # what programs that write a WAV into a pipe give for its length, or more, or 0
_PCM = {(1, 8): "u8", (1, 16): "s16le", (1, 24): "s24le", (1, 32): "s32le", (3, 32): "f32le", (3, 64): "f64le"}


def import_source(
    file: Reader,
    target: Path,
    describe: Callable[[Words], Words],
    sound: Sound,
    *,
    live: bool = False,
    limit: float | None = None,  # seconds
    on_progress: Callable[[float], None] = lambda _seconds: None,
) -> None:
    """Write any audio file or stream as WebM: Opus packet by packet, everything else encoded.

    `describe` turns the words found in the source into those to write. A source that cannot seek is read as it comes;
    with `live`, `webm.finish` can finish `target` whatever happens. `on_progress` is given the seconds that are done.
    AudioError when it is not audio, LibraryError when the disk refuses.
    """
    import av

    longest = limit or 2**62
    with contextlib.ExitStack() as opened:
        source = opened.enter_context(_open(file))
        stream = audio_stream(source)
        words, carried = describe(words_of(source, stream)), carried_of(source, stream)
        if stream.codec_context.name in ("opus", "libopus") and stream.codec_context.channels <= 2:
            with (
                Writer(target, words, sound, carried=carried, template=stream, live=live) as writer,
                contextlib.suppress(Chained),
            ):
                for packet in packets(source, stream):
                    writer.copy(packet, mend=live)
                    on_progress(writer.duration)
                    if writer.duration >= longest:
                        break
                _insist_on_sound(writer)
                return
            file.seek(0)
            source = opened.enter_context(_open(file))
            stream = audio_stream(source)
        resampler = av.AudioResampler("flt", layout(sound), RATE, frame_size=FRAMES_AT_ONCE if live or limit else RATE)
        with Writer(target, words, sound, carried=carried, live=live) as writer:
            for frame in _decode(source, stream):
                if frame is not None:
                    frame.pts = None  # what a source says of time may be broken; its samples follow each other
                with translated("read"):
                    pieces = resampler.resample(frame)
                for piece in pieces:
                    if writer.duration < longest:
                        writer.encode(piece)
                on_progress(writer.duration)
                if writer.duration >= longest:
                    break
        _insist_on_sound(writer)


class Pipe:
    """A descriptor, usually standard input, that gives what is there, and nothing more after `stop`."""

    def __init__(self, stop: Stop, descriptor: int = 0) -> None:
        self._stop, self._descriptor = stop, descriptor
        self._ahead = b""
        self._left = 2**62  # bytes until what belongs to the audio ends

    def read(self, size: int, /) -> bytes:
        """Wait for bytes and give up to `size` of them, none at the end or after `stop`."""
        size = min(size, self._left)
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        data = data or self._read(size)
        self._left -= len(data)
        return data

    def peek(self, size: int) -> bytes:
        """Wait for the next bytes and give them without taking them; fewer where it ends."""
        while len(self._ahead) < size and (more := self._read(size - len(self._ahead))):
            self._ahead += more
        return self._ahead[:size]

    def cut(self, start: int, length: int | None) -> None:
        """Drop the first `start` bytes of what was peeked at, and end `length` bytes after them, None if unknown."""
        self._ahead = self._ahead[start:]
        self._left = 2**62 if length is None else length

    def seekable(self) -> bool:
        """Say no."""
        return False

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Refuse with OSError."""
        raise OSError(errno.ESPIPE, "a pipe cannot seek")

    def _read(self, size: int) -> bytes:
        while size and not self._stop.is_set():
            if select.select([self._descriptor], [], [], 0.1)[0]:
                return os.read(self._descriptor, size)
        return b""


def _open(file: Reader) -> contextlib.AbstractContextManager[av.container.InputContainer]:
    """Open any audio; of a pipe FFmpeg must not read seconds ahead, which kill -9 would take along.

    Of FLAC it holds ten frames back all the same, 0.9 s at 48 kHz.
    """
    if not isinstance(file, Pipe):
        return open_input(file, FORMATS, None, max_size="32768")  # of a WAV FFmpeg gives 4 KiB at a time else
    if pcm := _plain_wav(file):
        form, options = pcm
        return open_input(file, form, form, **options)
    return open_input(file, FORMATS, None, analyzeduration="1", max_probe_packets="1")


def _plain_wav(pipe: Pipe) -> tuple[str, dict[str, str]] | None:
    """Read a WAV's header (Multimedia Programming Interface and Data Specifications 1.0) and leave only its samples.

    FFmpeg would wait for 64 KiB of them, 8 s of what `arecord` records by default. None for what is better left to it.
    """
    if pipe.peek(12)[:4] != b"RIFF" or pipe.peek(12)[8:] != b"WAVE":
        return None
    at, fmt = 12, b""
    while len(header := pipe.peek(at + 8)[at:]) == 8 and at < 100_000:
        name, size = struct.unpack("<4sI", header)
        if name == b"data":
            break
        chunk = pipe.peek(at + 8 + min(size, 100_000))[at + 8 :]
        fmt = chunk if name == b"fmt " else fmt
        if name in (b"bext", b"id3 ") or any(word in chunk for word in (b"INAM", b"ICRD", b"ICMT")):
            return None  # it has words of its own
        at += 8 + size + size % 2
    if len(header) < 8 or len(fmt) < 16 or header[:4] != b"data":
        return None
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", fmt[:16])
    tag = int.from_bytes(fmt[24:26], "little") if tag == 0xFFFE else tag  # extensible: the first of its sub-format
    form = _PCM.get((tag, bits))
    if not form or not channels or not rate:
        return None
    pipe.cut(at + 8, size if 0 < size < _NO_LENGTH else None)
    names = {1: "mono", 2: "stereo"}
    return form, {"sample_rate": str(rate), "ch_layout": names.get(channels, f"{channels}C")}


def _decode(source: av.container.InputContainer, stream: av.AudioStream) -> Iterator[av.AudioFrame | None]:
    """Give every frame, then None."""
    with translated("read"):
        yield from decode(source.demux(stream), stream)
    yield None


def _insist_on_sound(writer: Writer) -> None:
    if not writer.duration:
        raise AudioError("there is no sound in it")
