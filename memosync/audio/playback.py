"""Memos decoded for the speaker: from any position, at any speed, at their own pitch.

The neighbour of `webm` in the room that owns PyAV.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .webm import audio_stream, decode, pulled, samples_of, translated

if TYPE_CHECKING:
    import av
    import av.container
    import av.filter

SLOWEST, FASTEST = 0.5, 3.0  # times the speed at which it was recorded
_PREROLL = 0.2  # seconds to decode before a position: Opus asks for 0.08 (RFC 7845, 4.6), then the samples are right


@dataclass(frozen=True, slots=True)
class Output:
    """What takes the samples, as it has them."""

    rate: int  # Hz
    channels: int  # 1 or 2
    block: int  # frames


def hear(
    source: av.container.InputContainer, position: float, speed: float, output: Output
) -> Iterator[tuple[float, bytes]]:
    """Give blocks of interleaved native float32, as the output takes them, with their positions in seconds.

    `position` is in seconds; `speed`, from `SLOWEST` to `FASTEST`, is how many of them pass in one. A new one on the
    same `source` ends the one before. AudioError when it cannot be read.
    """
    with translated("read"):
        source.seek(int((position - _PREROLL) * 1_000_000), backward=True)
        graph = _graph(audio_stream(source), position, speed, output)
        graph.set_audio_frame_size(output.block)
    for frame in _decode(source, audio_stream(source), position - _PREROLL):
        with translated("read"):
            graph.push(frame)
            blocks = list(map(samples_of, pulled(graph)))
        for block in blocks:
            yield position, block
            position += output.block / output.rate * speed


def _decode(
    source: av.container.InputContainer, stream: av.AudioStream, begin: float
) -> Iterator[av.AudioFrame | None]:
    """Give the frames from `begin` (seconds) on, then None."""
    first = begin / (stream.time_base or 1)
    with translated("read"):
        later = (packet for packet in source.demux(stream) if packet.pts is None or packet.pts >= first)
        yield from decode(later, stream)
    yield None


def _graph(stream: av.AudioStream, position: float, speed: float, output: Output) -> av.filter.Graph:
    import av.filter

    graph = av.filter.Graph()
    nodes = [graph.add_abuffer(template=stream), graph.add("atrim", f"start={max(0, position):.6f}")]
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
