"""How loud a memo is to whoever plays it: its loudness (ITU-R BS.1770-5, EBU R 128), its peak, and its waveform.

All of it is measured on what comes out of the decoder, by FFmpeg's filters `ebur128` and `astats`: so who recorded a
memo and who fetched it find the same. The neighbour of `webm` in the room that owns PyAV.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..stop import Stop
from .webm import audio_stream, decode, open_input, pulled, translated

if TYPE_CHECKING:
    import av
    import av.filter

STEPS = 10  # of the waveform in a second
_MAGIC = b"memosync levels 2"
_GATE = -70.0  # LUFS: what ebur128 gives where nothing was louder
_SILENCE = -90.0  # dBFS: less than a 16-bit sample can say; Opus makes -90.6 of silence
_LOOK_EVERY = 100  # frames, of Opus usually 2 s: asking the filters costs as much as they do
_TELL_EVERY = 60 * STEPS  # steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """How loud a memo is."""

    loudness: float | None  # LUFS, integrated; None when it is too short (0.4 s) or too quiet (-70 LUFS)
    peak: float  # dBFS of the loudest sample, -inf for silence; a decoder may go above 0
    wave: bytes  # the peak of each 0.1 s: 0 for silence, otherwise 255 + 2 * its dBFS

    def dumps(self) -> bytes:
        """Write them as `loads` reads them: the format's name, a CRC-32, two big-endian doubles, the waveform."""
        numbers = struct.pack(">dd", math.nan if self.loudness is None else self.loudness, self.peak)
        return _MAGIC + struct.pack(">I", zlib.crc32(numbers + self.wave)) + numbers + self.wave


def loads(data: bytes) -> Levels:
    """Read what `dumps` wrote; ValueError when it is not that, to the last byte."""
    head, body = data[: len(_MAGIC) + 4], data[len(_MAGIC) + 4 :]
    if len(body) < 16 or head != _MAGIC + struct.pack(">I", zlib.crc32(body)):
        raise ValueError("not the levels of a memo")
    loudness, peak = struct.unpack(">dd", body[:16])
    if loudness == math.inf or math.isnan(peak) or peak == math.inf:
        raise ValueError("nothing is that loud")
    return Levels(loudness=None if math.isnan(loudness) else loudness, peak=peak, wave=body[16:])


class Gauge:
    """Measure decoded frames, all of one kind, as they pass."""

    def __init__(self) -> None:
        self.wave = bytearray()  # so far, up to a few seconds ago
        self._graph: av.filter.Graph | None = None  # made when the first frame says of what kind they are
        self._fed = 0  # frames since the last look
        self._loudness, self._peak = _GATE, -math.inf

    def feed(self, frame: av.AudioFrame) -> None:
        """Take the next frame; av.FFmpegError when FFmpeg cannot."""
        if self._graph is None:
            self._graph = self._open(frame)
        self._source.push(frame)
        self._fed += 1
        if self._fed >= _LOOK_EVERY:
            self._look()

    def levels(self) -> Levels:
        """End the measuring and give its result; AudioError when FFmpeg cannot."""
        if self._graph:
            with translated("read"):
                self._source.push(None)
                self._look()
        loudness = None if self._loudness <= _GATE else self._loudness
        return Levels(loudness=loudness, peak=self._peak, wave=bytes(self.wave))

    def _open(self, frame: av.AudioFrame) -> av.filter.Graph:
        """Build the graph: frames of 0.1 s come out of it, each with its own peak and the loudness up to there."""
        from fractions import Fraction

        import av.filter

        rate = frame.sample_rate
        graph = av.filter.Graph()
        graph.threads = 1  # handing a channel to another thread takes as long as measuring it
        self._source = graph.add_abuffer(
            sample_rate=rate, format=frame.format.name, layout=frame.layout.name, time_base=Fraction(1, rate)
        )
        tenths = graph.add("asetnsamples", f"n={rate // STEPS}:p=0")
        only_peak = "measure_perchannel=none:measure_overall=Peak_level"
        peaks, loudness = graph.add("astats", f"metadata=1:reset=1:{only_peak}"), graph.add("ebur128", "metadata=1")
        self._measured = graph.add("abuffersink")
        graph.link_nodes(self._source, tenths, peaks, loudness, self._measured).configure()
        return graph

    def _look(self) -> None:
        self._fed = 0
        for frame in pulled(self._measured):
            found = frame.metadata
            self._loudness = float(found.get("lavfi.r128.I", self._loudness))
            peak = float(found["lavfi.astats.Overall.Peak_level"])
            peak = peak if peak > _SILENCE else -math.inf
            self._peak = max(self._peak, peak)
            self.wave.append(min(255, round(255 + 2 * peak)) if peak > _SILENCE else 0)


def measure(
    path: Path, *, on_progress: Callable[[float, bytes], None] = lambda _fraction, _wave: None, stop: Stop | None = None
) -> Levels:
    """Decode a memo from its beginning to its end and measure it; AudioError when it cannot be decoded.

    At every minute of it `on_progress` is given the fraction that is done, 0 to 1, and the waveform so far, and `stop`
    raises Interrupted. OSError when the file cannot be read.
    """
    gauge = Gauge()
    tell = _TELL_EVERY
    with files.open_regular(path) as file, open_input(file) as source, translated("read"):
        stream = audio_stream(source)
        length = (source.duration or 0) / 1_000_000  # seconds; a browser leaves it out
        for frame in decode(source.demux(stream), stream):
            gauge.feed(frame)
            if len(gauge.wave) >= tell:
                if stop:
                    stop.check()
                on_progress(min(1.0, tell / STEPS / length) if length else 0.0, bytes(gauge.wave[:tell]))
                tell += _TELL_EVERY
        return gauge.levels()
