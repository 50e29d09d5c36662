"""WebM and Opus: finished, and looked into with suspicion.

The one owner of PyAV. Finishing, recovering and importing Opus are one thing, a remux: packets are copied untouched
into a file with Duration and Cues in front, whose bytes depend on nothing but the packets, the words, and what else the
file carries (chapters).
Container: WebM (a subset of Matroska, RFC 9559); codec: Opus (RFC 6716).
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import re
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol, cast

from .. import files
from ..errors import AudioError, UsageError, reason_of
from ..memo import Words
from . import opus, timeline
from .carried import Carried, carried_of, to_chapters, to_matroska
from .tags import are_in, make_readable, to_tags, words_of
from .timeline import Timeline

if TYPE_CHECKING:
    import av
    import av.audio
    import av.container
    import av.filter

    Packet = av.Packet[av.AudioStream]
    Tap = Callable[[av.AudioFrame], None]  # is given every frame that passes

RATE = opus.RATE  # Hz
FINISHED = {"cues_to_front": "1", "fflags": "+bitexact"}  # how a whole file is written
_CLUSTER = b"\x1f\x43\xb6\x75"  # how one begins (RFC 9559, 5.1.3)
_HEAD = 2**18  # bytes that are enough for all that stands before the sound, but for a file of very many chapters
_CUES, _DURATION = b"\x1c\x53\xbb\x6b", re.compile(b"\x44\x89[\x84\x88]")  # (RFC 9559, 5.1.5, 5.1.2.10)
_OPUS = ("opus", "libopus")
_ROUNDED = 0.003  # seconds that a copied time stamp may differ from its packet's: it has whole milliseconds
_EXACT = 0.001_25  # seconds: within half of the shortest packet (RFC 6716, 2.1.4) none is before the one before it
_START = -(2**40)  # microseconds: at 0 the packets before it would be passed over, which prepare the first sound
_A_MINUTE = 3_000  # packets of most recorders
_BITRATES = range(6_000, 510_001)


@dataclass(frozen=True, slots=True)
class Sound:
    """How to encode: Opus at 48 kHz (RFC 6716)."""

    channels: int = 1
    bitrate: int = 32_000  # bits a second


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioInfo:
    """What a memo's file is and says."""

    duration: float  # seconds of sound: what its packets give, whatever their time stamps say
    claimed: float = 0  # seconds of sound there would be if the header were right; 0 where it says nothing
    words: Words


class Reader(Protocol):
    """An open file, or anything else that gives bytes; one that is not `seekable` is read as it comes."""

    def read(self, size: int, /) -> bytes:
        """Give up to `size` bytes, none at the end."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a position and tell it, as `io.IOBase.seek` does."""

    def seekable(self) -> bool:
        """Tell whether `seek` works."""


def finish(
    part: Path,
    target: Path,
    words: Words | None = None,
    carried: Carried | None = None,
    *,
    is_believed: bool = True,
    on_progress: Callable[[float], None] = lambda _fraction: None,
) -> AudioInfo:
    """Remux `part`, a recording that ended or was killed, into `target`, with other words where they are given.

    What it carries besides them stays, but for chapters after the end; a clock that is off is put right. The same
    packets, words and things carried give the same bytes. A duration of 0 means that no packet is in it. A clock that
    is right is believed, which takes half the time, unless FFmpeg finds another end. AudioError when it is not WebM,
    LibraryError when the disk refuses.
    """
    import av

    try:
        with files.open_regular(part) as walked:
            known = timeline.read(walked, _EXACT)
    except OSError as error:
        raise AudioError(f"it cannot be read: {reason_of(error)}") from error
    with contextlib.ExitStack() as opened:
        opened.enter_context(translated("write"))
        try:
            only = {"protocol_whitelist": "file", "format_whitelist": "matroska,webm"}
            source = opened.enter_context(av.open(part, "r", "matroska", only, metadata_errors="replace"))
        except (EOFError, av.error.OSError, av.error.InvalidDataError) as error:
            garbage = isinstance(error, av.error.InvalidDataError) and part.stat().st_size
            if garbage or _CLUSTER in part.read_bytes():
                raise
            return AudioInfo(duration=0, words=Words())  # it ends within its header
        stream = audio_stream(source)
        _without_subtitles(source)
        words, carried = words or words_of(source), carried or _timed(carried_of(source), known)
        final: Packet | None = None
        is_exact = is_believed and known.codec == "opus" and known.whole and known.steady and abs(known.begin) < _EXACT
        last = known.duration if is_exact else 0.0
        carried = carried.until(last) if is_exact else carried
        make_place(target)
        with av.open(target, "w", format="webm", options=FINISHED) as file:
            file.metadata.update(to_tags(words) | to_matroska(carried, words))
            file.set_chapters(to_chapters(carried))
            copied = file.add_stream_from_template(stream)
            found = _until_damage(source.demux(stream), max(1, part.stat().st_size), on_progress)
            if is_exact:  # as all are that `record` wrote: there is nothing to put right
                for packet in found:
                    if packet.pts is not None and packet.size:
                        final = packet
                        packet.stream = copied
                        file.mux_one(packet)
            else:
                for packet, last in in_time(found, stream):  # noqa: B007
                    packet.stream = copied
                    file.mux_one(packet)
    if is_exact and not _ends_at(known, final):  # FFmpeg stumbled where the walk did not
        return finish(part, target, words, carried, is_believed=False, on_progress=on_progress)
    if (cut := carried.until(last)) != carried:  # its end is known only now, and chapters stand before it
        return finish(part, target, words, cut, on_progress=on_progress)
    put_length(target, last, opus.pre_skip(stream.codec_context.extradata) or 0)
    return AudioInfo(duration=last, words=words)


def put_length(path: Path, seconds: float, skip: int) -> None:
    """Have a file's header say how long its sound is: FFmpeg counts `skip` samples more, which a decoder throws away.

    Those of our own encoder, 6.5 ms, are left to be counted. LibraryError when the disk refuses.
    """
    if skip < timeline.NEAR * RATE:
        return
    with files.as_library_error("write the audio"), path.open("r+b") as file:
        if found := _DURATION.search(file.read(2**16).partition(_CLUSTER)[0]):
            file.seek(found.end())
            file.write(struct.pack(">d" if found[0].endswith(b"\x88") else ">f", seconds * 1_000))


def _ends_at(known: Timeline, packet: Packet | None) -> bool:
    """Tell whether a packet is the last of a file that was walked over, by the clock FFmpeg has from its header."""
    if packet is None or packet.pts is None:
        return known.duration == 0
    end = float(packet.pts * packet.time_base) + opus.count_samples(memoryview(packet)) / RATE
    return -_ROUNDED < known.end - end < known.skip / RATE + _ROUNDED


def probe(path: Path) -> AudioInfo:
    """Look into a WebM file from a stranger: one Opus or Vorbis track, perhaps WebVTT beside it; AudioError otherwise.

    FFmpeg never guesses the format and opens nothing but this file. The duration (seconds) is what the packets of Opus
    give (RFC 6716, 3.1), less what is skipped at both ends, and of Vorbis the time between its first block and its
    last; the header is not asked: a browser leaves it out and a liar fills it in. OSError when it cannot be read.
    """
    with files.open_regular(path) as file, open_input(file) as source:
        stream = audio_stream(source)
        kinds = sorted((other.type, getattr(other.codec_context, "name", "")) for other in source.streams)
        if stream.codec_context.name not in (*_OPUS, "vorbis") or kinds[1:] not in ([], [("subtitle", "webvtt")]):
            raise AudioError("it is not a memo: a WebM file with one Opus or Vorbis track and at most WebVTT beside it")
        found = lay_out(file, source)
        if not found.duration:
            raise AudioError("there is no sound in it")
        missing = (source.duration or 0) / 1e6 - found.end
        claimed = found.duration + max(0.0, missing) if source.duration else 0.0
        return AudioInfo(duration=found.duration, claimed=claimed, words=words_of(source))


def read_words(path: Path) -> Words:
    """Read what a WebM file says of itself, and nothing else; AudioError when it is none, OSError as `probe`."""
    with files.open_regular(path) as file, open_input(file) as source:
        return words_of(source)


def says(path: Path, words: Words) -> bool:
    """Tell whether a file says these words and no others; AudioError and OSError as `read_words`.

    One that was written here is not shown to FFmpeg, which takes longer to load than all else that `share` does.
    """
    with files.open_regular(path) as file:
        if are_in(file.read(_HEAD), words):
            return True
    return read_words(path) == words


def sound_of(path: Path) -> bytes:
    """Give the SHA-256 over each packet's length (4 bytes, big-endian) and bytes: other words leave it as it is.

    AudioError when the file cannot be read, OSError as `probe`.
    """
    import hashlib

    digest = hashlib.sha256()
    with files.open_regular(path) as file, open_input(file) as source:
        for packet in packets(source, audio_stream(source)):
            data = bytes(packet)
            digest.update(len(data).to_bytes(4, "big") + data)
    return digest.digest()


def have_same_sound(one: Path, other: Path, on_progress: Callable[[float], None] = lambda _fraction: None) -> bool:
    """Tell whether two WebM files have the same packets at the same times, to be decoded in the same way.

    A memo one of whose time stamps was hit has all of its packets, and is damaged. The first difference ends it.
    `on_progress` is told how far that is, 0 to 1.

    AudioError when one of them cannot be read to its end, OSError as `probe`.
    """
    with contextlib.ExitStack() as opened:
        found = []
        for path in (one, other):
            source = opened.enter_context(open_input(opened.enter_context(files.open_regular(path))))
            stream = audio_stream(source)
            how = opus.decoding(stream.codec_context.extradata)
            part = packets(source, stream)
            if path is other:
                part = _told(part, max(1, path.stat().st_size), on_progress)
            found.append((how, part, float(stream.time_base or 0)))
        (mine, ours, tick), (theirs, others, tock) = found
        return mine == theirs and all(
            a and b and abs((a.pts or 0) * tick - (b.pts or 0) * tock) < _ROUNDED and memoryview(a) == memoryview(b)
            for a, b in itertools.zip_longest(ours, others)
        )


def timeline_of(path: Path) -> Timeline:
    """Find out where in a file what is heard when, as far as it makes sense; OSError when it cannot be read."""
    with files.open_regular(path) as file, contextlib.suppress(AudioError), open_input(file) as source:
        return lay_out(file, source)
    return Timeline()


def lay_out(file: BinaryIO, source: av.container.InputContainer) -> Timeline:
    """Find out where in an open WebM file what is heard when: by a walk, or by FFmpeg where the walk cannot.

    A file that took too long has the duration that its last block tells. AudioError when it cannot be read.
    """
    stream = audio_stream(source)
    position = file.tell()
    found = timeline.read(file)
    file.seek(position)  # where FFmpeg left it
    is_opus = stream.codec_context.name in _OPUS
    if found.whole and is_opus and found.codec == "opus":
        return found
    if is_opus and not found.late:
        return _counted(source, stream, found)
    with translated("read"):
        begin, end = _span(source, stream)
    duration = max(0.0, end - begin)
    return replace(found, codec="opus" if is_opus else "vorbis", duration=duration, begin=begin, end=end, steady=True)


def _counted(source: av.container.InputContainer, stream: av.AudioStream, found: Timeline) -> Timeline:
    """Count what FFmpeg finds in a file that is damaged, or written in a rare way."""
    with contextlib.suppress(AudioError), translated("read"):
        source.seek(_START)
    end, samples, skip = 0.0, 0, -1
    for packet in packets(source, stream):
        begin, cut = skipped(packet)
        if skip < 0:
            skip = begin or (opus.pre_skip(stream.codec_context.extradata) or 0)
        more = opus.count_samples(memoryview(packet))
        samples += more - (cut if cut <= more else 0)
        if packet.pts is not None and packet.time_base:
            end = float(packet.pts * packet.time_base) + more / RATE
    return replace(found, duration=max(0, samples - max(0, skip)) / RATE, end=end, skip=max(0, skip), steady=False)


def _span(source: av.container.InputContainer, stream: av.AudioStream) -> tuple[float, float]:
    """Find where on the container's clock the sound begins and ends, in seconds: a seek and a few packets."""
    begin = end = 0.0
    for packet in packets(source, stream):
        if packet.pts is not None and packet.time_base:
            begin = float(packet.pts * packet.time_base)
            break
    for start in (-_START, _START):  # the last cluster by its cue; without cues all of it
        with contextlib.suppress(AudioError), translated("read"):
            source.seek(start, backward=True)
        for packet in packets(source, stream):
            if packet.pts is not None and packet.time_base:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if end:
            break
    return begin, end


def in_time(packets: Iterable[Packet], stream: av.AudioStream) -> Iterator[tuple[Packet, float]]:
    """Give packets, each with the seconds that are heard up to its end; holes are closed, and the first begins at 0.

    A time stamp that is off becomes that of its samples; the others stay, so that a file that was finished stays what
    it is. Vorbis does not tell its samples: only where it begins is put right.
    """
    from fractions import Fraction

    sample = Fraction(1, RATE)  # seconds
    tick = float((stream.time_base or 0) * RATE)
    is_opus = stream.codec_context.name in _OPUS
    near = _ROUNDED * RATE
    done = shift = None
    last, hidden = -1e18, 0
    for packet in packets:  # 180,000 times for an hour: nothing here that need not be
        pts = packet.pts
        if pts is None or not packet.size:
            continue
        if not is_opus:
            if shift is None:
                shift = pts if abs(pts * tick) >= timeline.NEAR * RATE else 0
            packet.pts = packet.dts = pts - shift
            yield packet, (packet.pts + (packet.duration or 0)) * tick / RATE
            continue
        begin, cut = skipped(packet)
        now = pts * tick
        if done is None:
            skip = opus.pre_skip(stream.codec_context.extradata) or 0
            begin = begin or (skip if -near < now + skip < near else 0)  # after a seek FFmpeg does not say it
            done, hidden = -begin, 0 if begin else skip
        off = now - done
        data = memoryview(packet)
        more = opus.SAMPLES[data[0]] or opus.count_samples(data)
        if not -near < off < near or now < last:
            off = 0.0
            packet.time_base = sample
            packet.pts = packet.dts = done
            packet.duration = more
        last = done + off
        done += more
        hidden += cut if cut <= more else 0
        yield packet, (done - hidden) / RATE


def carried_by(path: Path) -> Carried:
    """Find what a memo's file carries besides its words; AudioError when it is not WebM, OSError."""
    with files.open_regular(path) as file, open_input(file) as source:
        return carried_in(file, source)


def carried_in(file: BinaryIO, source: av.container.InputContainer) -> Carried:
    """Find what an open WebM file carries besides its words, chapters timed by what is heard."""
    carried = carried_of(source)
    return _timed(carried, lay_out(file, source)) if carried.chapters else carried


def _timed(carried: Carried, known: Timeline) -> Carried:
    is_right = all(abs(more) < timeline.NEAR for _, more in known.ahead)
    return carried if is_right else carried.moved(known.ahead)


def warm_up() -> None:
    """Load FFmpeg on another thread while this one waits for something else."""
    threading.Thread(target=__import__, args=["av"], daemon=True).start()


def is_finished(path: Path) -> bool:
    """Tell whether a WebM file has a duration and cues in its header; a browser's often has neither.

    OSError when it cannot be read.
    """
    with files.open_regular(path) as file:
        head = file.read(2**16).partition(_CLUSTER)[0]
    return _CUES in head and _DURATION.search(head) is not None


def parse_bitrate(bits: int) -> int:
    """Check a bit rate (bits a second) against what Opus can do; UsageError."""
    if bits not in _BITRATES:
        raise UsageError(f"Opus has no bit rate of {bits}", "give --bitrate from 6k to 510k; 32k is good speech")
    return bits


def make_place(path: Path) -> None:
    """Make the file that FFmpeg is to write, which would follow a symbolic link; LibraryError when the disk refuses."""
    with files.as_library_error("write the audio"):
        files.make_new(path)


@contextlib.contextmanager
def translated(doing: Literal["read", "write"]) -> Iterator[None]:
    """Raise AudioError for what PyAV raises; LibraryError when the disk refused what was to be written."""
    import av

    try:
        yield
    except (av.FFmpegError, ValueError, IndexError, EOFError, MemoryError) as error:
        if doing == "write" and getattr(error, "errno", None) in (
            errno.ENOSPC,
            errno.EDQUOT,
            errno.EIO,
            errno.EROFS,
            errno.EFBIG,
        ):
            with files.as_library_error("write the audio"):
                raise OSError(error.errno, error.strerror) from error  # type: ignore[union-attr]
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioError("the encoder failed: " + reason if doing == "write" else f"not audio: {reason}") from error


@contextlib.contextmanager
def open_input(
    file: Reader, formats: str = "matroska,webm", form: str | None = "matroska", **options: str
) -> Iterator[av.container.InputContainer]:
    """Open audio as one of FFmpeg's `formats`, or as `form` without a guess; nothing but `file` is ever opened.

    The options are those of the format. Its tags are readable. AudioError when it is none of these.
    """
    import av

    options |= {"protocol_whitelist": "", "format_whitelist": formats}
    with translated("read"):
        opened = _Seekable(file) if file.seekable() else file
        source = av.open(opened, "r", format=form, options=options, metadata_errors="surrogateescape")
    with source:
        make_readable(source)
        if form == "matroska":
            _without_subtitles(source)
        yield source


class _Seekable:
    """A file for FFmpeg, which may want to go where there is nothing, as in a NUT that was cut: it is told so."""

    def __init__(self, file: Reader) -> None:
        self._seek, self.read = file.seek, file.read
        self.tell, self.name = cast("BinaryIO", file).tell, getattr(file, "name", "")  # whose end may tell the format

    def seek(self, offset: int, whence: int = 0, /) -> int:
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -errno.EINVAL


def audio_stream(source: av.container.InputContainer) -> av.AudioStream:
    """Give the first audio track; AudioError when there is none, or none that FFmpeg can decode."""
    for stream in source.streams.audio[:1]:
        codec = stream.codec_context
        if codec is None:
            raise AudioError("its sound is of a kind that cannot be decoded")
        if codec.sample_rate and not (1_000 <= codec.sample_rate <= 1_000_000 and codec.channels <= 64):
            raise AudioError(f"{codec.sample_rate} Hz and {codec.channels} channels cannot be")
        return stream
    raise AudioError("there is no sound in it")


def _without_subtitles(source: av.container.InputContainer) -> None:
    """Have words beside the sound passed over: what is wrong in them would end what can be heard."""
    import av.stream

    if source.streams.subtitles:
        for words in source.streams.subtitles:
            words.discard = av.stream.Discard.all
        with contextlib.suppress(AudioError), translated("read"):
            source.seek(_START)


def packets(source: av.container.InputContainer, stream: av.AudioStream) -> Iterator[Packet]:
    """Give the packets of a stream that have a time and are not empty; AudioError where it cannot be read on."""
    with translated("read"):
        for packet in source.demux(stream):
            if packet.pts is not None and packet.size:
                yield packet


def decode(packets: Iterable[Packet], stream: av.AudioStream) -> Iterator[av.AudioFrame]:
    """Give every frame that can be decoded; damage costs the packets it hit, not those that follow.

    Other errors of FFmpeg pass.
    """
    import av

    for packet in packets:
        with contextlib.suppress(av.error.InvalidDataError):
            yield from stream.codec_context.decode(packet)


def pulled(sink: av.filter.Graph | av.filter.context.FilterContext) -> Iterator[av.AudioFrame]:
    """Give the frames that have come out of a filter graph, or of one of its ends, by now."""
    import av

    with contextlib.suppress(av.BlockingIOError, av.EOFError):
        while True:
            yield cast("av.AudioFrame", sink.pull())


def skipped(packet: Packet) -> tuple[int, int]:
    """Read how many samples of a packet a decoder throws away: at its beginning and at its end."""
    for data in packet.iter_sidedata():  # most have none; `has_sidedata` takes four times as long to say so
        if data.data_type == "skip_samples":
            begin, end = struct.unpack_from("<II", bytes(data))
            return begin, end
    return 0, 0


def samples_of(frame: av.AudioFrame) -> bytes:
    """Give the samples of a frame in an interleaved format, without what FFmpeg allocates behind them."""
    return bytes(frame.planes[0])[: frame.samples * frame.layout.nb_channels * frame.format.bytes]


def _until_damage(packets: Iterator[Packet], size: int, on_progress: Callable[[float], None]) -> Iterator[Packet]:
    """Give the packets before the garbage that a power cut may leave at the end, and tell which fraction they are."""
    import av

    with contextlib.suppress(av.FFmpegError):
        yield from _told(packets, size, on_progress)


def _told(packets: Iterable[Packet], size: int, on_progress: Callable[[float], None]) -> Iterator[Packet]:
    """Give packets of a file of `size` bytes, and tell at every minute of them which fraction they are."""
    for number, packet in enumerate(packets):
        if number % _A_MINUTE == 0:
            on_progress(min(1.0, (packet.pos or 0) / size))
        yield packet


def layout(sound: Sound) -> str:
    """Name the channels as FFmpeg does."""
    return "stereo" if sound.channels == 2 else "mono"
