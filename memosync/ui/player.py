"""The player: a waveform with the position moving in it, and the keys that steer it."""

from __future__ import annotations

import functools
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ..audio.loudness import STEPS
from ..audio.playback import FASTEST, SLOWEST
from ..quantities import format_clock
from .keyboard import Steered, keys
from .terminal import fit, size, write
from .wave import draw

if TYPE_CHECKING:
    from ..commands.play import Playing

_SEEKS = {"\x1b[D": -5, "\x1b[C": 5}  # seconds; the sequences are xterm's
_SEEKS |= {"\x1b[1;2D": -60, "\x1b[1;2C": 60, "\x1b[6~": -60, "\x1b[5~": 60, "\x1b[B": -60, "\x1b[A": 60}
_KEY = re.compile(r"\x1b\[[0-9;]*[^0-9;]|\x1b(?!\[|$)|[^\x1b]")
_STEP = 0.25  # of the speed
_BACK = 3.0  # seconds after which `b` means the beginning, and not yet the memo before
_ROWS = 5
_TICK = 0.05  # seconds between two looks
_HINTS = (
    "   [space] {space}  {skip}[←→] 5 s  [⇧←→] 60 s  [0-9] tenths  [[ ]] speed  [q] end",
    "  [space] {space}  {skip}[←→] 5 s  [⇧←→] 60 s  [[ ]] speed  [q] end",
    "  [space] {space}  {skip}[←→] 5 s  [q] end",
    "  {skip}[q] end",
    "  [q] end",
    "",
)


class Player(Steered):
    """What is heard, drawn in place; called with it, it waits a moment for a key and gives what is wanted then."""

    def __init__(self) -> None:
        self._typed = self._drawn = ""
        self._bars = functools.lru_cache(maxsize=1)(draw)

    def __call__(self, now: Playing) -> Playing | None:
        wanted = now
        for key in self._keys():
            if key == "q":
                return None
            wanted = _obey(key, wanted)
            if wanted.place != now.place:  # what is typed behind it is for another one
                break
        lines = "\n".join(line + "\x1b[K" for line in self._lines(wanted))
        if lines != self._drawn:
            self._drawn = lines
            write(sys.stderr, "\r{}\x1b[J\r{}".format(lines, "\x1b[A" * lines.count("\n")))
        return wanted

    def _keys(self) -> Iterator[str]:
        """Give key by key; the rest of one whose beginning has come is waited for."""
        self._typed = (self._typed + keys(_TICK)).replace("\x1bO", "\x1b[")  # from a terminal in application mode
        while match := _KEY.match(self._typed):
            self._typed = self._typed[match.end() :]
            yield match[0]

    def _lines(self, now: Playing) -> list[str]:
        screen = size(sys.stderr)
        columns = max(1, min(screen.columns - 1, round(now.duration * STEPS)))
        rows = max(1, min(_ROWS, screen.lines - 2))
        known = min(1.0, len(now.wave) / STEPS / now.duration)
        bars = self._bars(now.wave, round(known * columns), rows)
        ground = ["".ljust(columns)] * (rows - 1) + ["".ljust(columns, "·")]
        at = min(columns - 1, int(now.position / now.duration * columns))
        lines = [bar + empty[len(bar) :] for bar, empty in zip(bars, ground, strict=True)]
        clock = f"{format_clock(min(now.position, now.duration))} / {format_clock(now.duration)}  {now.speed:g}×"
        several = now.count > 1
        clock = f"{now.place + 1}/{now.count}  {clock}" if several else clock
        words = {"space": "go on" if now.paused else "pause", "skip": "[n] next  [b] back  " if several else ""}
        hints = [hint.format(**words) for hint in _HINTS]
        status = fit(("‖ " if now.paused else "▶ ") + clock, *hints)
        return [*(line[:at] + "│" + line[at + 1 :] for line in lines), status]


def _obey(key: str, now: Playing) -> Playing:
    if key == " ":
        return replace(now, paused=not now.paused)
    if key in _SEEKS:
        return replace(now, position=min(max(0.0, now.position + _SEEKS[key]), now.duration))
    if key == "n":
        return replace(now, place=now.place + 1, paused=False)
    if key == "b" and (now.position > _BACK or not now.place):
        return replace(now, position=0.0)
    if key == "b":
        return replace(now, place=now.place - 1, paused=False)
    if key in "0123456789":
        return replace(now, position=now.duration * int(key) / 10)
    if key == "]":
        return replace(now, speed=min(FASTEST, math.floor(now.speed / _STEP + 1) * _STEP))
    if key == "[":
        return replace(now, speed=max(SLOWEST, math.ceil(now.speed / _STEP - 1) * _STEP))
    return now
