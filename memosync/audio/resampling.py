"""What a microphone delivers, made into what a memo is encoded from: mixed to its channels, resampled to 48 kHz.

The neighbour of `writer` in the room that owns PyAV. A device that has both already pays nothing for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .mixing import Mixer
from .webm import RATE, Sound, layout

if TYPE_CHECKING:
    import av


class Resampler:
    """Take the blocks of one recording in their order; no sample is lost between two of them, nor at the end."""

    def __init__(self, rate: int, channels: int, sound: Sound) -> None:
        """Prepare for blocks of this rate (Hz) with so many channels, of which nobody says where they stand."""
        import av

        self._rate, self._channels, self._layout = rate, channels, layout(sound)
        # a window is a second: blocks are shorter
        mixer = Mixer([""] * channels, sound.channels, rate=rate, patience=rate)
        self._mixer = mixer if channels != sound.channels else None
        self._resampler = av.AudioResampler("flt", self._layout, RATE) if rate != RATE else None

    @property
    def standing_in(self) -> int | None:
        """The channel, from 0, that stands in for a mix that cancels itself out; None while none does."""
        return self._mixer.standing_in if self._mixer else None

    @property
    def inverted(self) -> tuple[int, ...]:
        """The channels, from 0, that are mixed inverted because they would cancel others."""
        return self._mixer.inverted if self._mixer else ()

    def feed(self, block: bytes) -> list[av.AudioFrame]:
        """Give frames of interleaved float32 at 48 kHz for a block of whole frames, interleaved native float32.

        av.FFmpegError when FFmpeg cannot.
        """
        import av

        samples = len(block) // (4 * self._channels)
        if self._mixer:
            block = self._mix(self._mixer, block)
        frame = av.AudioFrame(format="flt", layout=self._layout, samples=samples)
        frame.planes[0].update(block.ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate = self._rate
        return self._resampler.resample(frame) if self._resampler else [frame]

    def flush(self) -> list[av.AudioFrame]:
        """Give what is still in the resampler's filter; then it takes no more. av.FFmpegError when FFmpeg cannot."""
        return self._resampler.resample(None) if self._resampler else []

    def _mix(self, mixer: Mixer, block: bytes) -> bytes:
        import numpy as np

        return mixer.mix(np.frombuffer(block, np.float32).reshape(-1, self._channels).T).T.tobytes()
