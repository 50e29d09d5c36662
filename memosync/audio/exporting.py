"""Memos in the formats that other programs read, with their words in the tags that each format has.

The neighbour of `webm` in the room that owns PyAV.
"""

from __future__ import annotations

import contextlib
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast, get_args

from ..errors import AudioError, MemosyncError, UsageError
from ..memo import Words
from . import opus
from .tags import to_tags
from .webm import (
    RATE,
    audio_stream,
    finish,
    in_time,
    is_finished,
    open_input,
    packets,
    probe,
    pulled,
    skipped,
    timeline_of,
    translated,
)

if TYPE_CHECKING:
    import av
    import av.container

    from .webm import Packet

    Look = Callable[[int], None]  # is told how many frames are done

Format = Literal["webm", "ogg", "wav", "flac", "mp3"]
_OPUS = ("opus", "libopus")
_CODECS = {"flac": ("flac", "s16"), "mp3": ("libmp3lame", "fltp")}  # and the samples it takes
_BITRATE = 64_000  # bits a second for each channel of an MP3; constant: a player knows its length from a pipe, too
_LOOK_EVERY = 50  # packets, often a second
_RIFF = {"title": b"INAM", "DESCRIPTION": b"ICMT", "KEYWORDS": b"IKEY", "DATE_RECORDED": b"ICRD"}
_UNKNOWN = 2**32 - 1  # the length of a WAV that is longer than it can say


class Target(Protocol):
    """A file, or anything else that takes bytes; of one that is not `seekable` lengths are found out before."""

    def write(self, data: bytes | memoryview, /) -> int | None:
        """Take bytes; whatever OSError there is."""

    def flush(self) -> None:
        """Pass on what was taken."""

    def seek(self, offset: int, /) -> int:
        """Go to a position and tell it."""

    def seekable(self) -> bool:
        """Tell whether `seek` works."""


def format_of(suffix: str) -> Format:
    """Find the format of a file's extension, WebM where there is none; UsageError for a foreign one."""
    name = suffix[1:].lower()
    found = {"": "webm", "opus": "ogg", "oga": "ogg"}.get(name, name)
    if found not in get_args(Format):
        raise UsageError(f"{suffix} is none of the formats", "give -f webm, ogg, wav, flac or mp3")
    return cast("Format", found)


def convert(path: Path, target: Target, form: Format, words: Words, *, on_progress: Callable[[float], None]) -> None:
    """Write a memo with these words; AudioError when it is damaged, and whatever OSError `target` raises.

    WebM is the file itself when it has these words, a duration, cues and a clock that is right, else a remux of it;
    Ogg (RFC 7845) has the same packets; WAV, FLAC (RFC 9639) and MP3 are decoded, 48 kHz and 16 bits. `on_progress` is
    given the fraction that is done, 0 to 1.
    """
    info = probe(path)
    if form == "webm":
        with tempfile.TemporaryDirectory() as directory:
            if info.words != words or not is_finished(path) or not timeline_of(path).is_right:
                mended = Path(directory) / "memo.webm"  # FFmpeg puts the cues in front by reading what it wrote
                if finish(path, mended, words).duration < info.duration - 0.1:
                    raise AudioError("it cannot be read to its end")
                path = mended
            with open(path, "rb") as file:
                shutil.copyfileobj(file, target)
        return
    with open(path, "rb") as file, open_input(file) as source:

        def look(frames: int) -> None:
            on_progress(min(1.0, frames / RATE / info.duration))

        stream = audio_stream(source)
        if form == "ogg":
            _write_ogg(source, stream, target, words, look)
        elif form == "wav":
            frames = round(info.duration * RATE) if stream.codec_context.name in _OPUS else _UNKNOWN
            _write_wav(source, stream, target, words, look, None if target.seekable() else frames)
        else:
            _encode(source, stream, target, words, look, form)


def _write_ogg(
    source: av.container.InputContainer, stream: av.AudioStream, target: Target, words: Words, look: Look
) -> None:
    """Copy the packets, those of Opus timed by their samples (RFC 7845, 4): WebM has rounded times."""
    is_opus = stream.codec_context.name in _OPUS
    tick, done = Fraction(1, RATE), 0
    with _open_output(target, "ogg") as file:
        copied = file.add_stream_from_template(stream)
        copied.metadata.update(_to_vorbis(words))
        pairs = pairwise(chain((packet for packet, _ in in_time(packets(source, stream), stream)), (None,)))
        for number, (packet, following) in enumerate(cast("Iterator[tuple[Packet, object]]", pairs)):
            if is_opus:
                samples = opus.count_samples(memoryview(packet))
                if number == 0:
                    done = -skipped(packet)[0]  # FFmpeg counts from where one begins to hear it
                packet.pts = packet.dts = done
                packet.duration, packet.time_base = samples, tick
                done += samples
                if following is None:
                    packet.duration -= skipped(packet)[1]
            packet.stream = copied
            file.mux_one(packet)
            if number % _LOOK_EVERY == 0:
                look(done)


@contextlib.contextmanager
def _open_output(target: Target, form: str) -> Iterator[av.container.OutputContainer]:
    import av

    with translated("write"):
        file = av.open(target, "w", format=form, options={"fflags": "+bitexact"})
        try:
            yield file
        except BaseException:  # closing it writes again, and may fail again
            with contextlib.suppress(av.FFmpegError, OSError, MemosyncError):
                file.close()
            raise
        file.close()


def _write_wav(
    source: av.container.InputContainer,
    stream: av.AudioStream,
    target: Target,
    words: Words,
    look: Look,
    frames: int | None,
) -> None:
    """Write 16-bit samples; where `frames`, their number, is not known yet it is written at the end."""
    channels = min(2, stream.codec_context.channels)
    target.write(_wav_header(channels, words, frames or 0))
    done = 0
    for frame in _decode(source, stream, "s16", RATE):
        target.write(memoryview(frame.planes[0])[: frame.samples * 2 * channels])
        done += frame.samples
        look(done)
    if frames is None:
        target.seek(0)
        target.write(_wav_header(channels, words, done))


def _encode(
    source: av.container.InputContainer,
    stream: av.AudioStream,
    target: Target,
    words: Words,
    look: Look,
    form: Literal["flac", "mp3"],
) -> None:

    codec, samples = _CODECS[form]
    channels = min(2, stream.codec_context.channels)
    tick, done = Fraction(1, RATE), 0
    with _open_output(target, form) as file:
        layout = "mono" if channels == 1 else "stereo"
        encoded = cast(
            "av.AudioStream",
            file.add_stream(codec, rate=RATE, layout=layout, format=samples, bit_rate=_BITRATE * channels),
        )
        file.metadata.update(_to_vorbis(words) if form == "flac" else _to_id3(words))
        file.start_encoding()
        for frame in _decode(source, stream, samples, encoded.codec_context.frame_size):
            frame.pts, frame.time_base = done, tick
            file.mux(encoded.encode(frame))
            done += frame.samples
            look(done)
        file.mux(encoded.encode(None))


def _decode(
    source: av.container.InputContainer, stream: av.AudioStream, form: str, size: int
) -> Iterator[av.AudioFrame]:
    """Decode all of it into frames of `size` samples (the last may be shorter), mono or stereo.

    AudioError where it cannot be decoded.
    """
    import av.filter

    layout = "mono" if stream.codec_context.channels == 1 else "stereo"
    with translated("read"):
        graph = av.filter.Graph()
        begin, end = graph.add_abuffer(template=stream), graph.add("abuffersink")
        even = graph.add("aformat", f"sample_fmts={form}:sample_rates={RATE}:channel_layouts={layout}")
        graph.link_nodes(begin, even, graph.add("asetnsamples", f"n={size}:p=0"), end).configure()
        for number, packet in enumerate(chain(packets(source, stream), (None,))):
            for frame in stream.codec_context.decode(packet):
                begin.push(frame)
            if packet is None:
                begin.push(None)
            elif number % _LOOK_EVERY:  # asking each time costs as much as decoding
                continue
            yield from pulled(end)


def _to_vorbis(words: Words) -> dict[str, str]:
    """Name words as Vorbis comments do, which Ogg and FLAC have."""
    return {name.replace("DATE_RECORDED", "DATE"): value for name, value in to_tags(words).items()}


def _to_id3(words: Words) -> dict[str, str]:
    """Name words as FFmpeg calls the frames of ID3v2.4: its dates are UTC, so the whole one stands beside."""
    tags = {name.replace("DESCRIPTION", "comment"): value for name, value in to_tags(words).items()}
    return tags | ({"date": f"{words.recorded.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"} if words.recorded else {})


def _wav_header(channels: int, words: Words, frames: int) -> bytes:
    """Make all that stands before the samples (Multimedia Programming Interface and Data Specifications 1.0)."""
    size = min(frames * 2 * channels, _UNKNOWN)
    tags = to_tags(words)
    tags["KEYWORDS"] = tags.get("KEYWORDS", "").replace(",", "; ")
    said = b"".join(_chunk(name, tags[tag].encode() + b"\0") for tag, name in _RIFF.items() if tags.get(tag))
    form = struct.pack("<HHIIHH", 1, channels, RATE, RATE * 2 * channels, 2 * channels, 16)
    rest = b"WAVE" + _chunk(b"fmt ", form) + _chunk(b"LIST", b"INFO" + said) + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", min(len(rest) + size, _UNKNOWN)) + rest


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
