"""The speaker: PortAudio takes blocks of samples one by one, each with a mark, its position in the memo (seconds)."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from ..errors import AudioError
from .portaudio import Stream, portaudio

_BLOCKS = 50  # in a second
_AFTER = 0.3  # seconds of silence, besides twice the latency, without which the end of the sound is cut off


class Speaker(Stream):
    """The default output, stopped at first; it takes blocks of `block` frames at `rate`, of `channels` each."""

    def __init__(self) -> None:
        """Open it, at 48 kHz in stereo where it has that; AudioError when there is none."""
        device = _default()
        self._queue: deque[tuple[float, bytes]] = deque()
        self._given: deque[float] = deque([0.0], maxlen=100)  # marks of the last blocks
        self._silent = 0  # blocks since the last one that had sound
        super().__init__(
            "output",
            "play",
            None,
            device=device["index"],
            channels=[min(2, device["max_output_channels"])],
            blocks=_BLOCKS,
            latency=0.4,  # a busy machine is late by 0.3 s
        )
        self.block = self.rate // _BLOCKS  # frames
        self._latency: float = self._stream.latency

    def restart(self, mark: float, blocks: Iterable[tuple[float, bytes]] | None) -> None:
        """Drop what is queued and begin with these blocks and the mark of the first; without any be silent at once.

        AudioError when PortAudio cannot.
        """
        self._stream.abort()
        self._gone.clear()
        self._last = math.inf  # what is halted is not lost
        self._queue = deque(blocks or [])
        self._given.clear()
        self._given.append(mark)
        self._silent = 0
        if blocks is not None:
            self.start()

    def write(self, mark: float, block: bytes) -> None:
        """Queue at most a block of interleaved native float32; never waits."""
        self._queue.append((mark, block))

    @property
    def queued(self) -> int:
        """Number of blocks that PortAudio has not taken yet."""
        return len(self._queue)

    @property
    def heard(self) -> float:
        """Mark of the block that leaves the speaker now, by what the device says of its latency."""
        return self._given[-min(len(self._given), 1 + round(self._latency * self.rate / self.block))]

    @property
    def is_done(self) -> bool:
        """Tell whether all that was written has left the speaker."""
        return not self._queue and self._silent * self.block / self.rate > 2 * self._latency + _AFTER

    def _callback(self, data: Any, _frames: int, when: Any, _status: object) -> None:
        self._last = time.monotonic()
        # what the device says is nearer to the truth than what was agreed on, but not always there
        self._latency = min(1.0, max(self._stream.latency, when.outputBufferDacTime - when.currentTime))
        mark, block = self._queue.popleft() if self._queue else (self._given[-1], b"")
        self._given.append(mark)
        self._silent = 0 if block else self._silent + 1
        data[:] = block.ljust(len(data), b"\0")


def output() -> str:
    """Name the default output device; AudioError when there is none, or no PortAudio."""
    return str(_default()["name"])


def _default() -> dict[str, Any]:
    sd = portaudio()
    if sd.default.device[1] < 0:
        raise AudioError("there is no sound output")
    return dict(sd.query_devices(sd.default.device[1]))
