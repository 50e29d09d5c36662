"""Memos in the formats that other programs read, with their words in the tags that each format has.

The neighbour of `webm` in the room that owns PyAV.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast, get_args

from .. import files
from ..console import part
from ..errors import AudioError, MemosyncError, UsageError
from ..memo import Words
from . import opus, wav
from .carried import Carried, carried_of, to_id3, to_info, to_matroska, to_vorbis
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
    from av.container.core import Chapter as AvChapter

    from .webm import Packet

    Look = Callable[[int], None]  # is told how many frames are done

Format = Literal["webm", "ogg", "opus", "wav", "flac", "mp3"]  # Opus is Ogg under another name
_OPUS = ("opus", "libopus")
_BITRATE = 64_000  # bits a second for each channel of an MP3; constant: a player knows its length from a pipe, too
_MP3_FRAME, _MP3_DELAY = 1152, 1105  # frames: in one of MP3; that encoder and decoder make of nothing (LAME, FFmpeg)
_SKIP_SAMPLES = 11  # FFmpeg's number for side data that say what is not to be heard
_AT_ONCE = 2**17  # bytes of a file that is copied
_LOOK_EVERY = 50  # packets, often a second
_RIFF = {"title": b"INAM", "DESCRIPTION": b"ICMT", "KEYWORDS": b"IKEY", "DATE_RECORDED": b"ICRD"}


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
    found = {"": "webm", "oga": "ogg"}.get(name, name)
    if found not in get_args(Format):
        raise UsageError(f"{suffix} is none of the formats", "give -f webm, ogg, opus, wav, flac or mp3")
    return cast("Format", found)


def convert(path: Path, target: Target, form: Format, words: Words, *, on_progress: Callable[[float], None]) -> None:
    """Write a memo with these words; AudioError when it is damaged, and whatever OSError `target` raises.

    WebM is the file itself when it has these words, a duration, cues and a clock that is right, else a remux of it;
    Ogg (RFC 7845) has the same packets; WAV (RF64 where RIFF cannot count them), FLAC (RFC 9639) and MP3 are decoded,
    48 kHz and 16 bits. What the file carries besides its words is in there as far as the format has it. `on_progress`
    is given the fraction that is done, 0 to 1.
    """
    info = probe(path)
    if form == "webm":
        begin = 0.0
        with contextlib.ExitStack() as made:
            if info.words != words or not is_finished(path) or not timeline_of(path).is_right:
                # FFmpeg puts the cues in front by reading what it wrote
                mended = made.enter_context(files.scratch()) / "memo.webm"
                if finish(path, mended, words, on_progress=part(on_progress, 0, 0.5)).duration < info.duration - 0.1:
                    raise AudioError("it cannot be read to its end")
                path, begin = mended, 0.5
            with files.open_regular(path) as file:
                size, done = os.fstat(file.fileno()).st_size, 0
                while piece := file.read(_AT_ONCE):
                    target.write(piece)
                    done += len(piece)
                    on_progress(min(1.0, begin + (1 - begin) * done / size))
        return

    def look(frames: int) -> None:
        on_progress(min(1.0, frames / RATE / info.duration))

    if form == "wav":
        _write_wav(path, target, words, look, _frames_of(path, info.duration, ahead=not target.seekable()))
        return
    with files.open_regular(path) as file, open_input(file) as source:
        stream, carried = audio_stream(source), carried_of(source)
        comments = _to_vorbis(words) | to_vorbis(carried, words)
        if form == "mp3":
            _write_mp3(source, stream, target, _to_id3(words, carried), to_id3(carried), look)
        elif form == "flac":
            _write_flac(source, stream, target, comments, look)
        else:
            _write_ogg(source, stream, target, comments, look)


def _write_ogg(
    source: av.container.InputContainer, stream: av.AudioStream, target: Target, comments: dict[str, str], look: Look
) -> None:
    """Copy the packets, those of Opus timed by their samples (RFC 7845, 4): WebM has rounded times."""
    is_opus = stream.codec_context.name in _OPUS
    tick, done = Fraction(1, RATE), 0
    everything = (packet for packet, _ in in_time(packets(source, stream), stream))
    first = next(everything, None)
    if first is None:
        raise AudioError("there is no sound in it")
    with _open_output(target, "ogg") as file:
        copied = file.add_stream_from_template(stream)
        if is_opus and not stream.codec_context.extradata:  # there was no CodecPrivate, as some recorders leave it out
            copied.codec_context.extradata = opus.head(stream.codec_context.channels, skipped(first)[0])
        copied.metadata.update(comments)
        pairs = pairwise(chain((first,), everything, (None,)))
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


def _write_wav(path: Path, target: Target, words: Words, look: Look, frames: int) -> None:
    """Write 16-bit samples, `frames` of each channel as far as that is known; what was wrong is set right at the end.

    AudioError where it cannot be.
    """
    with files.open_regular(path) as file, open_input(file) as source:
        stream, info = audio_stream(source), _to_info(words) | to_info(carried_of(source))
        channels = min(2, stream.codec_context.channels)
        header = wav.header(channels, RATE, info, frames)
        target.write(header)
        done = 0
        for frame in _decode(source, stream, "s16", RATE):
            target.write(memoryview(frame.planes[0])[: frame.samples * 2 * channels])
            done += frame.samples
            look(done)
    right = wav.header(channels, RATE, info, done)
    if right == header or (frames == wav.UNKNOWN and right.startswith(b"RIFF")):
        return
    if not target.seekable():
        raise AudioError(f"it has {done} samples, and not the {frames} that its packets tell of")
    target.seek(0)
    if len(right) == len(header):
        target.write(right)
    else:  # its clock had told of another length, and its samples are in the wrong place
        _write_wav(path, target, words, look, done)


def _write_flac(
    source: av.container.InputContainer, stream: av.AudioStream, target: Target, comments: dict[str, str], look: Look
) -> None:
    tick, done = Fraction(1, RATE), 0
    with _open_output(target, "flac") as file:
        encoded = file.add_stream("flac", rate=RATE, layout=_layout(stream), format="s16")
        file.metadata.update(comments)
        file.start_encoding()
        for frame in _decode(source, stream, "s16", RATE):  # PyAV cuts them
            frame.pts, frame.time_base = done, tick
            file.mux(encoded.encode(frame))
            done += frame.samples
            look(done)
        file.mux(encoded.encode(None))


def _write_mp3(
    source: av.container.InputContainer,
    stream: av.AudioStream,
    target: Target,
    tags: dict[str, str],
    chapters: list[AvChapter],
    look: Look,
) -> None:
    """Write MP3 frames of a constant bit rate (ISO/IEC 11172-3) behind an ID3v2.4 tag.

    They are made by lameenc: the LAME in PyAV 18.1 was compiled without optimisation, and takes three times as long.
    FFmpeg's encoder is opened and gets nothing: the file takes its parameters from it.
    """
    import av
    import lameenc
    from av.packet import PacketSideData

    channels = min(2, stream.codec_context.channels)
    lame = lameenc.Encoder()
    lame.silence()
    lame.set_channels(channels)
    lame.set_in_sample_rate(RATE)
    lame.set_bit_rate(_BITRATE * channels // 1000)
    lame.set_quality(3)  # what LAME and FFmpeg take where nobody asks for another
    size = 144 * _BITRATE * channels // RATE  # bytes of a frame
    made, done, number, tick = bytearray(), 0, 0, Fraction(1, RATE)
    with _open_output(target, "mp3") as file:
        encoded = file.add_stream("libmp3lame", rate=RATE, layout=_layout(stream), bit_rate=_BITRATE * channels)
        file.metadata.update(tags)
        file.set_chapters(chapters)
        file.start_encoding()

        def write(keep: int) -> None:
            """Write the frames that are there but for the last `keep` bytes of them."""
            nonlocal number
            while len(made) >= size + keep:
                packet = av.Packet(bytes(made[:size]))
                del made[:size]
                packet.stream, packet.time_base = encoded, tick
                packet.pts = packet.dts = number * _MP3_FRAME - _MP3_DELAY
                packet.duration = _MP3_FRAME
                if number == 0 or not made:  # from these FFmpeg knows what a player has to leave out at both ends
                    begin = 0 if number else _MP3_DELAY
                    end = 0 if made else max(0, packet.pts + _MP3_FRAME - done)
                    skipped = PacketSideData(_SKIP_SAMPLES, 10)  # type: ignore[call-arg]  # as Cython has it, not its stub
                    skipped.update(struct.pack("<IIBB", begin, end, 0, 0))
                    packet.set_sidedata(skipped)
                number += 1
                file.mux_one(packet)

        for frame in _decode(source, stream, "s16", RATE):
            made += lame.encode(bytes(frame.planes[0])[: frame.samples * 2 * channels])
            done += frame.samples
            write(keep=size)
            look(done)
        made += lame.flush()
        write(keep=0)


def _layout(stream: av.AudioStream) -> str:
    return "mono" if stream.codec_context.channels == 1 else "stereo"


def _decode(
    source: av.container.InputContainer, stream: av.AudioStream, form: str, size: int
) -> Iterator[av.AudioFrame]:
    """Decode all of it into frames of `size` samples (the last may be shorter), mono or stereo.

    AudioError where it cannot be decoded.
    """
    import av.filter

    with translated("read"):
        graph = av.filter.Graph()
        begin, end = graph.add_abuffer(template=stream), graph.add("abuffersink")
        even = graph.add("aformat", f"sample_fmts={form}:sample_rates={RATE}:channel_layouts={_layout(stream)}")
        graph.link_nodes(begin, even, graph.add("asetnsamples", f"n={size}:p=0"), end).configure()
        for number, packet in enumerate(chain(packets(source, stream), (None,))):
            for frame in stream.codec_context.decode(packet):
                begin.push(frame)
            if packet is None:
                begin.push(None)
            elif number % _LOOK_EVERY:  # asking each time costs as much as decoding
                continue
            yield from pulled(end)


def _frames_of(path: Path, duration: float, *, ahead: bool) -> int:
    """Count the frames that it gives when it is decoded, at 48 kHz, where they have to be known `ahead`, or else 0.

    They have to where they may be more than RIFF counts; what RIFF counts and is no Opus is `wav.UNKNOWN`: it had to be
    decoded.
    """
    with files.open_regular(path) as file, open_input(file) as source:
        stream = audio_stream(source)
        channels = min(2, stream.codec_context.channels)
        is_long = (duration + 60) * RATE * 2 * channels > wav.MOST
        if not ahead and not is_long:
            return 0
        with translated("read"):
            if stream.codec_context.name in _OPUS:
                return round(duration * RATE)
            return sum(frame.samples for frame in _decode(source, stream, "s16", RATE)) if is_long else wav.UNKNOWN


def _to_vorbis(words: Words) -> dict[str, str]:
    """Name words as Vorbis comments do, which Ogg and FLAC have."""
    return {name.replace("DATE_RECORDED", "DATE"): value for name, value in to_tags(words).items()}


def _to_id3(words: Words, carried: Carried) -> dict[str, str]:
    """Name words, and what is carried, as FFmpeg calls the frames of ID3v2.4.

    Its dates are UTC, so the whole one stands beside; a comment takes the place that the description has else.
    """
    tags, more = to_tags(words), to_matroska(carried, words)
    if "comment" not in more and words.description:
        tags["comment"] = tags.pop("DESCRIPTION")
    return tags | more | ({"date": _utc(words.recorded)} if words.recorded else {})


def _utc(when: datetime) -> str:
    """Write a moment as ID3v2.4 has it, in UTC; at the edges of the calendar, where UTC is beyond them, its year."""
    try:
        return when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds")
    except OverflowError:
        return f"{when.year:04}"


def _to_info(words: Words) -> dict[bytes, str]:
    """Name words as the chunks of a WAV's INFO."""
    tags = to_tags(words)
    tags["KEYWORDS"] = tags.get("KEYWORDS", "").replace(",", "; ")
    return {chunk: tags[name] for name, chunk in _RIFF.items() if tags.get(name)}
