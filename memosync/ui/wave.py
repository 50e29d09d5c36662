"""A waveform as text."""

from __future__ import annotations

from ..audio.levels import heights

_BARS = " ▁▂▃▄▅▆▇█"


def draw(wave: bytes, columns: int, rows: int = 1) -> list[str]:
    """Draw peaks (0, or 255 + 2 * dBFS) in so many columns and rows, the top one first."""
    steps = len(_BARS) - 1
    bars = [height * rows * steps for height in heights(wave, columns)]
    return ["".join(_BARS[max(0, min(steps, round(bar) - row * steps))] for bar in bars) for row in range(rows)][::-1]
