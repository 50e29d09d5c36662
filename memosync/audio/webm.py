"""WebM and Opus: finished, and looked into with suspicion.

The one owner of PyAV. Finishing, recovering and importing Opus are one thing, a remux: packets are copied untouched
into a file with Duration and Cues in front, whose bytes depend on nothing but the packets, the words, and what else the
file carries (chapters).
Container: WebM (a subset of Matroska, RFC 9559); codec: Opus (RFC 6716).
"""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast

from .. import files
from ..errors import AudioError, UsageError
from ..memo import Words
from .carried import Carried, carried_of, to_chapters, to_matroska
from .tags import to_tags, words_of

if TYPE_CHECKING:
    import av
    import av.audio
    import av.container
    import av.filter

    Packet = av.Packet[av.AudioStream]
    Tap = Callable[[av.AudioFrame], None]  # is given every frame that passes

RATE = 48_000  # Hz
FINISHED = {"cues_to_front": "1", "fflags": "+bitexact"}  # how a whole file is written
_CLUSTER = b"\x1f\x43\xb6\x75"  # how one begins (RFC 9559, 5.1.3)
_CUES, _DURATION = b"\x1c\x53\xbb\x6b", re.compile(b"\x44\x89[\x84\x88]")  # (RFC 9559, 5.1.5, 5.1.2.10)
CLUSTERS = 1_000  # that are told: of an hour all, of a day every 87 s one
INDEXING = 10.0  # seconds of CPU that finding them may take
_INDEX = str(2**24)  # bytes: what FFmpeg may remember of blocks; of more, every other one is forgotten
_BITRATES = range(6_000, 510_001)


@dataclass(frozen=True, slots=True)
class Sound:
    """How to encode: Opus at 48 kHz (RFC 6716)."""

    channels: int = 1
    bitrate: int = 32_000  # bits a second


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioInfo:
    """What a memo's file is and says."""

    duration: float  # seconds
    claimed: float = 0  # seconds, as the header says; 0 where it says nothing
    words: Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """What somebody needs to play a memo from the middle: where its clusters begin (RFC 9559, 5.1.3)."""

    codec: str  # as in MIME types: opus or vorbis
    starts: tuple[tuple[float, int], ...]  # seconds (to a hundredth), and offsets in bytes; both rise


class Reader(Protocol):
    """An open file, or anything else that gives bytes; one that is not `seekable` is read as it comes."""

    def read(self, size: int, /) -> bytes:
        """Give up to `size` bytes, none at the end."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a position and tell it, as `io.IOBase.seek` does."""

    def seekable(self) -> bool:
        """Tell whether `seek` works."""


def finish(part: Path, target: Path, words: Words | None = None, carried: Carried | None = None) -> AudioInfo:
    """Remux `part`, a recording that ended or was killed, into `target`, with other words where they are given.

    What it carries besides them stays, but for chapters after the end. The same packets, words and things carried give
    the same bytes. A duration of 0 means that no packet is in it. AudioError when it is not WebM, LibraryError when the
    disk refuses.
    """
    import av

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
        words, carried = words or words_of(source), carried or carried_of(source)
        packet = last = None
        with av.open(target, "w", format="webm", options=FINISHED) as file:
            file.metadata.update(to_tags(words) | to_matroska(carried, words))
            file.set_chapters(to_chapters(carried))
            copied = file.add_stream_from_template(stream)
            for packet in _until_damage(
                source.demux(stream)
            ):  # 180,000 times for an hour: nothing here that need not be
                if packet.pts is not None:
                    last = packet.pts + (packet.duration or 0)
                    packet.stream = copied
                    file.mux_one(packet)
        duration = float((last or 0) * (stream.time_base or 0))
    if (cut := carried.until(duration)) != carried:  # its end is known only now, and chapters stand before it
        return finish(part, target, words, cut)
    return AudioInfo(duration=duration, words=words)


def probe(path: Path) -> AudioInfo:
    """Look into a WebM file from a stranger: one Opus or Vorbis track and nothing else; AudioError otherwise.

    FFmpeg never guesses the format and opens nothing but this file. The duration (seconds) is taken from the last
    block, not from the header, where a browser leaves it out and a liar fills it in. OSError when it cannot be read.
    """
    with open(path, "rb") as file, open_input(file) as source:
        stream = audio_stream(source)
        if len(source.streams) != 1 or stream.codec_context.name not in ("opus", "libopus", "vorbis"):
            raise AudioError("it is not a memo: a WebM file with one Opus or Vorbis track and nothing else")
        end = 0.0
        for start in (2**40, 0):  # the last cluster by its cue; without cues all of it
            with contextlib.suppress(AudioError), translated("read"):
                source.seek(start, backward=True)
            for packet in packets(source, stream):
                if packet.pts is not None and packet.time_base:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if end:
                break
        if not end:
            raise AudioError("there is no sound in it")
        return AudioInfo(duration=end, claimed=(source.duration or 0) / 1e6, words=words_of(source))


def carried_by(path: Path) -> Carried:
    """Find what a memo's file carries besides its words; AudioError when it is not WebM, OSError."""
    with open(path, "rb") as file, open_input(file) as source:
        return carried_of(source)


def warm_up() -> None:
    """Load FFmpeg on another thread while this one waits for something else."""
    threading.Thread(target=__import__, args=["av"], daemon=True).start()


def is_finished(path: Path) -> bool:
    """Tell whether a WebM file has a duration and cues in its header; a browser's often has neither.

    OSError when it cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(2**16).partition(_CLUSTER)[0]
    return _CUES in head and _DURATION.search(head) is not None


def clusters(path: Path) -> Clusters:
    """Find the clusters of a file as far as they make sense; none where it has none. OSError when it cannot be read.

    FFmpeg takes them from the cues; of a file without any, a browser's, it looks at every block. Of more than
    `CLUSTERS` some are left out, evenly, but not the first.
    """
    found: list[tuple[float, int]] = []
    codec = "opus"
    with _Hasty(path) as file:
        with contextlib.suppress(AudioError), open_input(file, indexmem=_INDEX) as source:
            stream = audio_stream(source)
            codec = "vorbis" if stream.codec_context.name == "vorbis" else codec
            with contextlib.suppress(AudioError), translated("read"):
                source.seek(2**40, backward=True)  # past the end: whatever is not in the cues is read
            tick = float(stream.time_base or 0)
            for entry in stream.index_entries:
                start = round(max(0.0, entry.timestamp * tick), 3), entry.pos  # the first begins before 0
                if not found or (start[0] > found[-1][0] and start[1] > found[-1][1]):
                    found.append(start)
        told = found[:: -(-len(found) // CLUSTERS) or 1]
        return Clusters(codec=codec, starts=tuple(itertools.takewhile(lambda start: _is_cluster(file, start[1]), told)))


class _Hasty(io.FileIO):
    """A file that ends when its time is over: while FFmpeg seeks, nothing else can stop it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._end = time.thread_time() + INDEXING

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size) if time.thread_time() < self._end else b""


def _is_cluster(file: io.FileIO, offset: int) -> bool:
    with contextlib.suppress(OSError):  # cues may point to where no file ends
        return os.pread(file.fileno(), len(_CLUSTER), offset) == _CLUSTER
    return False


def parse_bitrate(bits: int) -> int:
    """Check a bit rate (bits a second) against what Opus can do; UsageError."""
    if bits not in _BITRATES:
        raise UsageError(f"Opus has no bit rate of {bits}", "give --bitrate from 6k to 510k; 32k is good speech")
    return bits


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

    The options are those of the format. AudioError when it is none of these.
    """
    import av

    options |= {"protocol_whitelist": "", "format_whitelist": formats}
    with translated("read"):
        source = av.open(file, "r", format=form, options=options, metadata_errors="replace")
    with source:
        yield source


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


def samples_of(frame: av.AudioFrame) -> bytes:
    """Give the samples of a frame in an interleaved format, without what FFmpeg allocates behind them."""
    return bytes(frame.planes[0])[: frame.samples * frame.layout.nb_channels * frame.format.bytes]


def _until_damage(packets: Iterator[Packet]) -> Iterator[Packet]:
    """Give the packets before the garbage that a power cut may leave at the end."""
    import av

    with contextlib.suppress(av.FFmpegError):
        yield from packets


def layout(sound: Sound) -> str:
    """Name the channels as FFmpeg does."""
    return "stereo" if sound.channels == 2 else "mono"
