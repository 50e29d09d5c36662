"""Memos decoded for the speaker: from any position, at any speed, at their own pitch.

The neighbour of `webm` in the room that owns PyAV.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

from ..errors import AudioError
from .arriving import Arriving
from .opus import count_samples, pre_skip
from .timeline import Timeline
from .webm import RATE, START, audio_stream, decode, lay_out, open_input, pulled, samples_of, translated

if TYPE_CHECKING:
    import av
    import av.container
    import av.filter

    from .webm import Packet

SLOWEST, FASTEST = 0.5, 3.0  # times the speed at which it was recorded
_PREROLL = 0.2  # seconds to decode before a position: Opus asks for 0.08 (RFC 7845, 4.6), then the samples are right
_SAMPLE = Fraction(1, RATE)  # seconds


@dataclass(frozen=True, slots=True)
class Output:
    """What takes the samples, as it has them."""

    rate: int  # Hz
    channels: int  # 1 or 2
    block: int  # frames


class Recording:
    """A memo that is open to be heard. Its positions are seconds of sound, whatever the container's clock says."""

    def __init__(self, file: BinaryIO | Arriving, source: av.container.InputContainer, timeline: Timeline) -> None:
        self._file, self._source, self._timeline = file, source, timeline

    def hear(self, position: float, speed: float, output: Output) -> Iterator[tuple[float, bytes]]:
        """Give blocks of interleaved native float32, as the output takes them, with their positions in seconds.

        `position` is in seconds; `speed`, from `SLOWEST` to `FASTEST`, is how many of them pass in one. A new one ends
        the one before. AudioError when it cannot be read.
        """
        first = position - _PREROLL - self._timeline.skip / RATE  # FFmpeg throws that away wherever one begins
        with contextlib.ExitStack() as opened:
            if self._timeline.steady:
                begin = 0.0 if self._timeline.is_right else self._timeline.begin
                with translated("read"):
                    self._source.seek(int((begin + first) * 1_000_000) if first > 0 else START, backward=True)
                stream = audio_stream(self._source)
                heard, unit = _by_clock(self._source, stream, begin, first), stream.time_base
            else:
                start, splice = self._splice(first)
                source = opened.enter_context(open_input(splice))
                stream = audio_stream(source)
                heard, unit = _by_samples(source, stream, start, first), _SAMPLE
            with translated("read"):
                graph = _graph(stream, unit, position, speed, output)
                graph.set_audio_frame_size(output.block)
            for frame in heard:
                with translated("read"):
                    graph.push(frame)
                    blocks = list(map(samples_of, pulled(graph)))
                for block in blocks:
                    yield position, block
                    position += output.block / output.rate * speed

    def _splice(self, position: float) -> tuple[int, _Splice]:
        """Find the cluster to begin with; give the sample at which it does, 0 the first one that is heard, and it."""
        found = self._timeline.clusters
        head = found[0][1] if found else 0
        start, offset = max((cluster for cluster in found if cluster[0] <= position), default=(0.0, head))
        if offset == head:
            return -self._timeline.skip, _Splice(self._file, 0, 0)
        return round(start * RATE), _Splice(self._file, head, offset)


@contextlib.contextmanager
def opened(file: BinaryIO) -> Iterator[Recording]:
    """Open a memo's file to hear it; AudioError when it is none."""
    with open_input(file) as source:
        yield Recording(file, source, lay_out(file, source))


@contextlib.contextmanager
def opened_as_it_comes(file: Arriving) -> Iterator[tuple[Recording, float]]:
    """Open what is still arriving, and give the seconds that its header says, too; AudioError where it says none.

    A position is found by what is before it: nothing is known of what is behind.
    """
    with open_input(_Splice(file, 0, 0)) as source:
        stream = audio_stream(source)
        if stream.codec_context.name not in ("opus", "libopus") or not source.duration:
            raise AudioError("it can be heard only when all of it is here")
        skip = pre_skip(stream.codec_context.extradata) or 0
        yield Recording(file, source, Timeline(skip=skip)), source.duration / 1_000_000


class _Splice:
    """A file without what is between its header and one of its clusters, to be read from there as it comes."""

    def __init__(self, file: BinaryIO | Arriving, head: int, offset: int) -> None:
        self._file, self._head, self._offset = file, head, offset
        self._at = 0

    def read(self, size: int, /) -> bytes:
        """Give up to `size` bytes, none at the end."""
        in_head = self._at < self._head
        self._file.seek(self._at if in_head else self._at - self._head + self._offset)
        data = self._file.read(min(size, self._head - self._at) if in_head else size)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Refuse with OSError."""
        raise io.UnsupportedOperation("it is read as it comes")

    def seekable(self) -> bool:
        """Say no."""
        return False


def _by_clock(
    source: av.container.InputContainer, stream: av.AudioStream, begin: float, first: float
) -> Iterator[av.AudioFrame | None]:
    """Give the frames from `first` on (seconds) as the container times them, less its `begin`; then None."""
    unit = stream.time_base or Fraction(1)
    earliest = (begin + first) / unit if first > 0 else -math.inf
    shift = round(begin / unit)
    with translated("read"):
        later = (packet for packet in source.demux(stream) if packet.pts is None or packet.pts >= earliest)
        for frame in decode(later, stream):
            if shift and frame.pts is not None:
                frame.pts -= shift
            yield frame
    yield None


def _by_samples(
    source: av.container.InputContainer, stream: av.AudioStream, start: int, first: float
) -> Iterator[av.AudioFrame | None]:
    """Give the frames from `first` on (seconds), timed by the samples that follow from `start`; then None."""

    def timed(packets: Iterator[Packet]) -> Iterator[av.AudioFrame]:
        done = start
        for packet in packets:
            if not packet.size:
                continue
            done += count_samples(memoryview(packet))
            if done < first * RATE:
                continue
            for frame in decode([packet], stream):
                frame.pts, frame.time_base = done - frame.samples, _SAMPLE  # what is left out is at its beginning
                yield frame

    with translated("read"):
        yield from timed(source.demux(stream))
    yield None


def _graph(
    stream: av.AudioStream, unit: Fraction | None, position: float, speed: float, output: Output
) -> av.filter.Graph:
    import av.filter

    graph = av.filter.Graph()
    nodes = [graph.add_abuffer(template=stream, time_base=unit), graph.add("atrim", f"start={max(0, position):.6f}")]
    if stream.codec_context.channels == 1:  # as loud on each side; FFmpeg itself takes 3 dB off
        nodes.append(graph.add("pan", "stereo|c0=c0|c1=c0"))
    nodes.append(graph.add("aformat", f"sample_fmts=flt:sample_rates={output.rate}:channel_layouts=stereo"))
    if output.channels == 1:  # no louder than each side; FFmpeg itself adds 3 dB
        nodes.append(graph.add("pan", "mono|c0=0.5*c0+0.5*c1"))
    while speed != 1:  # atempo goes from 0.5 to 100, but leaves out samples above 2
        nodes.append(graph.add("atempo", f"{min(speed, 2.0):.6f}"))
        speed /= min(speed, 2.0)
    graph.link_nodes(*nodes, graph.add("abuffersink")).configure()
    return graph
