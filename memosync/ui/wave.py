"""A waveform as text."""

from __future__ import annotations

import itertools

_BARS = " ▁▂▃▄▅▆▇█"
_FLOOR = 255 - 2 * 60  # is drawn as nothing: -60 dBFS, as in the bars while recording
_HEIGHTS = bytes(max(0, peak - _FLOOR) for peak in range(256))


def draw(wave: bytes, columns: int, rows: int = 1) -> list[str]:
    """Draw peaks (0, or 255 + 2 * dBFS) in so many columns and rows, the top one first.

    A column is as high as its peaks are on the average: of the loudest alone an hour would be one block. What is
    shorter takes fewer columns, one for each peak.
    """
    columns = min(columns, len(wave))
    edges = [column * len(wave) // columns for column in range(columns + 1)] if columns else []
    heights = wave.translate(_HEIGHTS)
    steps = len(_BARS) - 1
    bars = [sum(heights[a:b]) / (b - a) / _HEIGHTS[-1] * rows * steps for a, b in itertools.pairwise(edges)]
    return ["".join(_BARS[max(0, min(steps, round(bar) - row * steps))] for bar in bars) for row in range(rows)][::-1]
