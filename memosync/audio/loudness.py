"""How loud a memo is: its loudness (ITU-R BS.1770-5, EBU R 128), its peak, and its waveform.

The neighbour of `webm` in the room that owns PyAV. FFmpeg looks at every sample, Python at ten numbers a second: an
hour costs a second and a half on its way to the encoder, half of what FFmpeg's own `ebur128` and `astats` take.
"""

from __future__ import annotations

import array
import io
import math
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..stop import Stop
from .webm import RATE, audio_stream, decode, open_input, pulled, samples_of, translated

if TYPE_CHECKING:
    import av.filter

STEPS = 10  # of the wave in a second
_MAGIC = b"memosync levels 1"
_GATE, _RELATIVE_GATE = -70.0, -10.0  # LUFS, LU
_THINNED = 16_000  # Hz: every third sample is as loud on the average, and costs a third
_MEANS = 200  # a second: FFmpeg's means have soft edges, those of 5 ms put together have none
_OFFSET = -0.733  # LU: -0.691 is the standard's, for 48 kHz; at 1 kHz its filters give 0.042 dB more at 16 kHz
_LOOK_EVERY = 2 * RATE  # frames: few enough that memory is used again, not given back
_WAVE_EVERY = 60 * RATE  # frames


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
    """Look at frames of audio, all of one kind, on their way to somewhere else; errors of FFmpeg are for the caller."""

    def __init__(self) -> None:
        self._graph: av.filter.Graph | None = None  # once it is known what is fed
        self._channels = 1
        self._fed = 0  # frames since the last look
        self._powers: array.array[float] = array.array("f")
        self._peak = 0
        self.wave = b""  # so far, up to a minute ago

    def feed(self, frame: av.AudioFrame) -> None:
        if self._graph is None:
            self._graph = self._open(frame)
        self._source.push(frame)
        self._fed += frame.samples
        if self._fed >= _LOOK_EVERY:
            self._look()

    def levels(self) -> Levels:
        """End it, and give what was found; AudioError when FFmpeg cannot."""
        if self._graph:
            with translated("read"):
                self._source.push(None)
                self._look(ended=True)
        size = _MEANS // STEPS * self._channels
        starts = range(0, len(self._powers) - size + 1, size)
        powers = [sum(self._powers[at : at + size]) * self._channels / size for at in starts]
        return Levels(loudness=integrated(powers), peak=_decibels(self._peak), wave=self.wave)

    def _open(self, frame: av.AudioFrame) -> av.filter.Graph:
        """Build the graph: 16-bit samples to one end; K-weighted, squared, and averaged to the other."""
        import av.filter

        graph = av.filter.Graph()
        graph.threads = 1  # handing a channel to another thread takes as long as looking at it
        self._channels = frame.layout.nb_channels
        self._envelope = _Envelope(self._channels)
        self._source = graph.add_abuffer(
            sample_rate=frame.sample_rate,
            format=frame.format.name,
            layout=frame.layout.name,
            time_base=Fraction(1, frame.sample_rate),
        )
        even = graph.add("aformat", f"sample_fmts=fltp:sample_rates={RATE}")
        pieces, both = graph.add("asetnsamples", f"n={RATE // 2}:p=0"), graph.add("asplit")
        self._samples, self._means = graph.add("abuffersink"), graph.add("abuffersink")
        graph.link_nodes(self._source, even, pieces, both, graph.add("aformat", "sample_fmts=s16"), self._samples)
        thinned = graph.add("aresample", f"{_THINNED}:filter_size=0")
        weights = [graph.add("biquad", f"precision=f32:{curve}") for curve in _k_weighting(_THINNED)]
        twice, square = graph.add("asplit"), graph.add("amultiply")
        means = graph.add("aresample", f"{_MEANS}:filter_size=1:filter_type=cubic")
        both.link_to(thinned, 1)
        graph.link_nodes(thinned, *weights, twice, square, means, graph.add("aformat", "sample_fmts=flt"), self._means)
        twice.link_to(square, 1, 1)
        graph.configure()
        return graph

    def _look(self, ended: bool = False) -> None:
        self._fed = 0
        for frame in pulled(self._means):
            self._powers.frombytes(samples_of(frame))
        for frame in pulled(self._samples):
            self._envelope.add(samples_of(frame))
        if ended or self._envelope.frames >= _WAVE_EVERY:
            peaks = self._envelope.close()
            self._envelope = _Envelope(self._channels)
            self._peak = max(self._peak, *peaks, 0)
            self.wave += bytes(max(1, round(255 + 2 * _decibels(peak))) if peak else 0 for peak in peaks)


class _Envelope:
    """The largest magnitude of each 0.1 s of 16-bit samples.

    FFmpeg's WAV writer finds it for the `levl` chunk (EBU Tech 3285, supplement 3), and can leave out all the rest.
    """

    def __init__(self, channels: int) -> None:
        import av

        self.frames = 0
        self._channels = channels
        self._data = io.BytesIO()
        size = RATE // STEPS * channels  # of all channels together
        options = {"write_peak": "only", "peak_format": "2", "peak_ppv": "1", "peak_block_size": str(size)}
        self._file = av.open(self._data, "w", format="wav", options=options)
        self._stream = self._file.add_stream("pcm_s16le", rate=RATE, layout="mono")
        self._packet: Callable[[bytes], Any] = av.Packet
        self._file.start_encoding()

    def add(self, samples: bytes) -> None:
        packet = self._packet(samples)
        packet.stream, packet.pts, packet.dts = self._stream, self.frames, self.frames
        self.frames += len(samples) // (2 * self._channels)
        self._file.mux_one(packet)

    def close(self) -> Sequence[int]:
        self._file.close()
        data = self._data.getvalue()
        if not self.frames:
            return ()
        at = data.index(b"levl")
        count, _, begin = struct.unpack_from("<III", data, at + 28)
        return struct.unpack_from(f"<{count}H", data, at + begin)


def measure(
    path: Path, *, on_progress: Callable[[float, bytes], None] = lambda _part, _wave: None, stop: Stop | None = None
) -> Levels:
    """Listen to a memo from its beginning to its end; AudioError when it cannot be heard, Interrupted at `stop`.

    At every minute of it `on_progress` is told which part is done, 0 to 1, and the wave so far.
    """
    gauge = Gauge()
    seen = b""
    with open(path, "rb") as file, open_input(file) as source, translated("read"):
        stream = audio_stream(source)
        length = (source.duration or 0) / 1_000_000  # seconds; a browser leaves it out
        for frame in decode(source.demux(stream), stream):
            gauge.feed(frame)
            if gauge.wave != seen:
                seen = gauge.wave
                if stop:
                    stop.check()
                on_progress(min(1.0, len(seen) / STEPS / length) if length else 0.0, seen)
        return gauge.levels()


def integrated(powers: Sequence[float]) -> float | None:
    """Give the loudness (LUFS) of K-weighted powers, one for each 0.1 s: the mean of what both gates let through."""
    blocks = [sum(powers[at : at + 4]) / 4 for at in range(len(powers) - 3)]  # of 0.4 s
    gate = _GATE
    for relative in (_RELATIVE_GATE, 0.0):
        blocks = [power for power in blocks if _loudness(power) > gate]
        if not blocks:
            return None
        mean = _loudness(sum(blocks) / len(blocks))
        gate = mean + relative
    return mean


def _loudness(power: float) -> float:
    return _OFFSET + 10 * math.log10(power) if power > 0 else -math.inf


def _decibels(sample: int) -> float:
    return 20 * math.log10(min(sample, 32767) / 32767) if sample else -math.inf


def _k_weighting(rate: int) -> list[str]:
    """Give both filters, a high shelf and a high pass, at any rate: BS.1770 has their coefficients for 48 kHz only."""
    k, q, gain = math.tan(math.pi * 1681.974450955533 / rate), 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    band = gain**0.4996667741545416 * k / q
    shelf = (gain + band + k * k, 2 * (k * k - gain), gain - band + k * k), k, q
    k, q = math.tan(math.pi * 38.13547087602444 / rate), 0.5003270373238773
    norm = 1 + k / q + k * k  # its numerator is 1, -2, 1 after the division
    high_pass = (norm, -2 * norm, norm), k, q
    return [
        "b0={}:b1={}:b2={}:a0={}:a1={}:a2={}".format(*b, 1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k)
        for b, k, q in (shelf, high_pass)
    ]
