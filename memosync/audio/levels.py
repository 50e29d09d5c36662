"""Levels of sound: what to warn of while recording, and how high a waveform is drawn. Pure: no file, no clock."""

from __future__ import annotations

import itertools
import math
from collections import deque
from dataclasses import dataclass

RATE = 48_000  # Hz
SILENT_START = 3.0  # seconds of nothing but silence at the start
DEAD_AFTER_SOUND = 5.0  # seconds of exact zeros after sound
SILENCE = 10 ** (-70 / 20)  # a peak under -70 dBFS is no voice
CLIPPED = 0.999
WINDOW, LOST = 10.0, 0.3  # seconds: frames missing within a window that are more than jitter
LATE = 10  # looks in a row at which they are missing: a program that was stopped gets them late
_FLOOR = 255 - 2 * 60  # is drawn as nothing: -60 dBFS, as in the bars while recording
_HEIGHTS = bytes(max(0, peak - _FLOOR) for peak in range(256))


def heights(wave: bytes, columns: int) -> list[float]:
    """Give the height, 0 to 1, of each of so many columns of a waveform, whose bytes are 0 or 255 + 2 * dBFS.

    A column is as high as the mean of its bytes: by the loudest alone an hour would be one block. A waveform of fewer
    bytes than columns gets a column for each byte.
    """
    columns = min(columns, len(wave))
    edges = [column * len(wave) // columns for column in range(columns + 1)] if columns else []
    tall = wave.translate(_HEIGHTS)
    return [sum(tall[a:b]) / (b - a) / _HEIGHTS[-1] for a, b in itertools.pairwise(edges)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """What a person wants to see while recording."""

    elapsed: float  # seconds captured
    peak: float  # dBFS of the loudest sample lately, -inf for none
    paused: bool
    minutes_left: float | None  # of disk, when under an hour


class Monitor:
    """Watch a recording, its samples, the clock and the disk, and warn once of each thing that goes wrong."""

    def __init__(self, channels: int = 1, rate: int = RATE) -> None:
        """Prepare for what a device with so many channels delivers at this rate (Hz)."""
        self._channels, self._rate = channels, rate
        self._minutes: float | None = None
        self._little = math.inf
        self._warnings: deque[str] = deque()
        self._frames = 0
        self._silent = 0  # frames since the last sample that was not silent
        self._zeros = 0  # frames since the last sample that was not zero
        self._heard = self._said_silent = self._said_dead = False
        self._clipped_at = -math.inf
        self._said_alone = self._said_inverted = False
        self._peak = 0.0
        self._late = 0  # looks in a row at which frames were missing
        self._times: deque[tuple[float, int]] = deque()

    def feed(self, block: bytes) -> None:
        """Look for silence and clipping in interleaved native float32 samples, as they were delivered."""
        import numpy as np

        frames = len(block) // (4 * self._channels)
        samples = np.frombuffer(block, np.float32)
        # fmax passes over what is no number
        peak = float(max(np.fmax.reduce(samples, initial=0.0), -np.fmin.reduce(samples, initial=0.0)))
        self._frames += frames
        self._peak = max(self._peak, peak)
        self._zeros = 0 if peak else self._zeros + frames
        self._silent = 0 if peak > SILENCE else self._silent + frames
        now = self._frames / self._rate
        if peak > SILENCE:
            self._heard, self._said_dead = True, False
        elif not self._heard and not self._said_silent and self._silent >= SILENT_START * self._rate:
            self._said_silent = True
            self._warnings.append("nothing but silence so far: is the microphone muted, or the wrong one?")
        elif self._heard and not self._said_dead and self._zeros >= DEAD_AFTER_SOUND * self._rate:
            self._said_dead = True
            self._warnings.append("the sound stopped dead: is the microphone still plugged in?")
        if peak >= CLIPPED and now - self._clipped_at > 30:
            self._clipped_at = now
            self._warnings.append("the sound is clipping: turn the input down or move away")

    def count(self, delivered: int, clock: float) -> None:
        """Compare all frames delivered so far with a clock (seconds) that goes on while the machine sleeps."""
        if not delivered or (self._times and delivered == self._times[-1][1]):
            return  # it has not begun yet, or stands still: what that cost is known when it goes on
        self._times.append((clock, delivered))
        began, before = self._times[0]
        missing = clock - began - (delivered - before) / self._rate
        self._late = self._late + 1 if missing > LOST else 0
        if self._late > LATE:
            self._warnings.append(f"lost {missing:.1f} s of sound: the machine slept, or is too busy")
            self._times.clear()
            self._late = 0
        elif clock - began > WINDOW and not self._late:
            self._times.popleft()

    def mixed(self, standing_in: int | None, inverted: tuple[int, ...] = ()) -> None:
        """Take the channels, from 0, that stand in for a mix which cancels itself out, or are inverted in it."""
        cancels = "the microphone's channels cancel each other out: "
        if standing_in is not None and not self._said_alone:
            self._said_alone = True
            self._warnings.append(f"{cancels}only number {standing_in + 1} is recorded")
        if inverted and not self._said_inverted:
            self._said_alone = self._said_inverted = True
            numbers = ", ".join(str(number + 1) for number in inverted)
            self._warnings.append(f"{cancels}all are recorded, number {numbers} inverted")

    def room(self, minutes: float) -> None:
        """Take the minutes of recording that the disk has room for, and warn under an hour, ten minutes and one."""
        self._minutes = minutes if minutes < 60 else None
        limit = next((limit for limit in (1, 10, 60) if minutes < limit), math.inf)
        if limit < self._little:
            self._little = limit
            self._warnings.append(f"the disk has room for {minutes:.0f} more minutes")

    def take_warning(self) -> str | None:
        """Give the next warning, None when all are given."""
        return self._warnings.popleft() if self._warnings else None

    def meter(self, elapsed: float, paused: bool) -> Meter:
        """Give what is to be shown: `elapsed` (seconds) and the loudest sample since the last call."""
        peak, self._peak = self._peak, 0.0
        decibels = 20 * math.log10(peak) if peak > 0 else -math.inf
        return Meter(elapsed=elapsed, peak=decibels, paused=paused, minutes_left=self._minutes)
