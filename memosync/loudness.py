"""How loud a memo is: its loudness (ITU-R BS.1770-5, EBU R 128), its peak, and its waveform.

The neighbour of `webm` in the room that owns PyAV. An hour costs a second and a half on the way to the encoder: every
sample is looked at by FFmpeg, and Python sees ten numbers a second.
"""

from __future__ import annotations

import array
import contextlib
import io
import math
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import Stop
from .webm import RATE, audio_stream, open_input, packets, translated

if TYPE_CHECKING:
    import av

STEPS = 10  # of the wave in a second
_MAGIC = b"memosync levels 1"
_GATE, _RELATIVE_GATE = -70.0, -10.0  # LUFS, LU
_K_RATE = 16_000  # Hz: what is above 8 kHz moves the loudness of speech by less than 0.05 LU, and costs three times
_LOOK_EVERY = RATE  # frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """How loud a memo is."""

    loudness: float | None  # LUFS, integrated; None when it is too short (0.4 s) or too quiet (-70 LUFS)
    peak: float  # dBFS of the loudest sample, -inf for silence
    wave: bytes  # the peak of each 0.1 s: 0 for silence, otherwise 255 + 2 * its dBFS

    def dumps(self) -> bytes:
        numbers = struct.pack(">dd", math.nan if self.loudness is None else self.loudness, self.peak)
        return _MAGIC + struct.pack(">I", zlib.crc32(numbers + self.wave)) + numbers + self.wave


def loads(data: bytes) -> Levels:
    """Read what `dumps` wrote; ValueError when it is not that, to the last byte."""
    head, body = data[: len(_MAGIC) + 4], data[len(_MAGIC) + 4 :]
    if len(body) < 16 or head != _MAGIC + struct.pack(">I", zlib.crc32(body)):
        raise ValueError("not the levels of a memo")
    loudness, peak = struct.unpack(">dd", body[:16])
    return Levels(loudness=None if math.isnan(loudness) else loudness, peak=peak, wave=body[16:])


class Gauge:
    """Look at frames of audio of any one kind, on their way to somewhere else."""

    def __init__(self) -> None:
        self._graph: Any = None
        self._frames = self._looked = 0  # that went in, at the rate of what is fed
        self._powers: array.array[float] = array.array("f")
        self.peaks: array.array[int] = array.array("H")
        self._samples: list[bytes] = []

    def feed(self, frame: av.AudioFrame) -> None:
        """Take a frame, and give it the time that follows; FFmpeg's own errors are for the caller."""
        if self._graph is None:
            self._open(frame)
        frame.pts, frame.time_base = self._frames, self._tick
        self._source.push(frame)
        self._frames += frame.samples
        if self._frames - self._looked >= _LOOK_EVERY:
            self._looked = self._frames
            self._look()

    @property
    def wave(self) -> bytes:
        """The wave so far, a few seconds behind what was fed."""
        return bytes(_byte(peak) for peak in self.peaks)

    def levels(self) -> Levels:
        """End it, and give what was found."""
        if self._graph is not None:
            self._source.push(None)
            self._look(ended=True)
        peak = max(self.peaks, default=0)
        return Levels(loudness=integrated(self._powers), peak=_decibels(peak), wave=self.wave)

    def _open(self, frame: av.AudioFrame) -> None:
        """Build it: the samples as they are to one end; K-weighted, squared and averaged over 0.1 s to the other."""
        import av.filter

        self._tick = Fraction(1, frame.sample_rate)
        graph = self._graph = av.filter.Graph()
        self._channels = min(frame.layout.nb_channels, 2)
        self._source = graph.add_abuffer(
            sample_rate=frame.sample_rate,
            format=frame.format.name,
            layout=frame.layout.name,
            time_base=Fraction(1, frame.sample_rate),
        )
        layout = "mono" if self._channels == 1 else "stereo"
        even = graph.add("aformat", f"sample_fmts=flt:sample_rates={RATE}:channel_layouts={layout}")
        whole = graph.add("asetnsamples", f"n={RATE // 2}:p=0")
        split = graph.add("asplit")
        samples = graph.add("aformat", "sample_fmts=s16")
        self._sample_sink, self._power_sink = graph.add("abuffersink"), graph.add("abuffersink")
        weighted = [graph.add("aresample", f"{_K_RATE}:filter_size=8")]
        weighted += [graph.add("biquad", f"precision=f32:{curve}") for curve in _k_weighting(_K_RATE)]
        twice, square = graph.add("asplit"), graph.add("amultiply")
        mean = graph.add("aresample", f"{STEPS}:filter_size=1")
        graph.link_nodes(self._source, even, whole, split)
        split.link_to(samples, 0)
        split.link_to(weighted[0], 1)
        graph.link_nodes(*weighted, twice)
        twice.link_to(square, 0, 0)
        twice.link_to(square, 1, 1)
        graph.link_nodes(samples, self._sample_sink)
        graph.link_nodes(square, mean, graph.add("aformat", "sample_fmts=flt"), self._power_sink)
        graph.configure()

    def _look(self, ended: bool = False) -> None:
        for data in _pull(self._power_sink):
            self._powers.frombytes(data)
        self._samples += _pull(self._sample_sink)
        if ended or len(self._samples) >= 20:
            self.peaks += _peaks_of(b"".join(self._samples), RATE // STEPS * self._channels)
            self._samples.clear()


def measure(
    path: Path, *, on_progress: Callable[[float, bytes], None] = lambda _part, _wave: None, stop: Stop | None = None
) -> Levels:
    """Listen to a memo from its beginning to its end; AudioError when it cannot be heard, Interrupted at `stop`.

    Every few seconds of it `on_progress` is told which part is done, 0 to 1, and the wave so far.
    """
    gauge = Gauge()
    seen = 0
    with open(path, "rb") as file, open_input(file) as source:
        stream = audio_stream(source)
        length = (source.duration or 0) / 1_000_000  # seconds; unknown where a browser left it out
        for packet in packets(source, stream):
            with translated("read"):
                for frame in stream.codec_context.decode(packet):
                    gauge.feed(frame)
            if len(gauge.peaks) != seen:
                seen = len(gauge.peaks)
                if stop:
                    stop.check()
                on_progress(min(1.0, seen / STEPS / length) if length else 0.0, gauge.wave)
    with translated("read"):
        return gauge.levels()


def integrated(powers: Sequence[float]) -> float | None:
    """Give the loudness (LUFS) of K-weighted powers, each of 0.1 s: mean over what both gates let through."""
    blocks = [sum(powers[at : at + 4]) / 4 for at in range(len(powers) - 3)]  # of 0.4 s, each 0.1 s after the other
    loud = [power for power in blocks if _loudness(power) > _GATE]
    if not loud:
        return None
    gate = _loudness(sum(loud) / len(loud)) + _RELATIVE_GATE
    loud = [power for power in loud if _loudness(power) > gate]
    return _loudness(sum(loud) / len(loud))


def _loudness(power: float) -> float:
    return -0.691 + 10 * math.log10(power) if power > 0 else -math.inf


def _decibels(sample: int) -> float:
    return 20 * math.log10(sample / 32768) if sample else -math.inf


def _byte(sample: int) -> int:
    return max(1, round(255 + 2 * _decibels(sample))) if sample else 0


def _k_weighting(rate: int) -> list[str]:
    """Give the two filters of BS.1770, a high shelf and a high pass, at any rate: the published ones are for 48 kHz."""
    frequency, q, gain = 1681.974450955533, 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    k, band = math.tan(math.pi * frequency / rate), gain**0.4996667741545416
    shelf = gain + band * k / q + k * k, 2 * (k * k - gain), gain - band * k / q + k * k, k, q
    k, q = math.tan(math.pi * 38.13547087602444 / rate), 0.5003270373238773
    norm = 1 + k / q + k * k
    return [
        "b0={}:b1={}:b2={}:a0={}:a1={}:a2={}".format(*b, 1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k)
        for *b, k, q in (shelf, (norm, -2 * norm, norm, k, q))
    ]


def _pull(sink: Any) -> Iterator[bytes]:
    import av

    with contextlib.suppress(av.BlockingIOError, av.EOFError):
        while True:
            frame = sink.pull()
            plane = frame.planes[0]
            yield bytes(plane)[: frame.samples * frame.layout.nb_channels * frame.format.bytes]


def _peaks_of(samples: bytes, block: int) -> array.array[int]:
    """Find the largest magnitude in every `block` of 16-bit samples.

    FFmpeg's WAV writer does it on its way, for the `levl` chunk (EBU Tech 3285, supplement 3), and can leave out all
    else; Python would take 40 times as long.
    """
    import av

    found = array.array("H")
    if not samples:
        return found
    options = {"write_peak": "only", "peak_block_size": str(block), "peak_format": "2", "peak_ppv": "1"}
    envelope = io.BytesIO()
    with av.open(envelope, "w", format="wav", options=options) as file:
        stream = file.add_stream("pcm_s16le", rate=RATE, layout="mono")
        file.start_encoding()
        packet = av.Packet(samples)
        packet.stream, packet.pts, packet.dts = stream, 0, 0
        file.mux_one(packet)
    data = envelope.getvalue()
    begin = data.index(b"levl") + 8
    offset = struct.unpack_from("<I", data, begin + 28)[0]
    count = struct.unpack_from("<I", data, begin + 20)[0]
    found.frombytes(data[begin + offset - 8 :][: 2 * count])
    return found
