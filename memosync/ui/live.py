"""What is redrawn in place while something goes on."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..quantities import format_clock, format_count, format_level, format_size, format_span
from .keyboard import Steered, has_controls, keys
from .terminal import is_screen, show, tell

if TYPE_CHECKING:
    from ..audio.levels import Meter
    from ..commands.recorder import Key
    from ..memo import Memo
    from ..seeder.state import SeederState, SwarmState
    from ..torrent.download import Progress
    from .player import Player

_LEAST = 0.01  # of something, from which one can tell how long all of it takes
_ASKED = 2.0  # seconds in which a second x discards


def controls() -> contextlib.AbstractContextManager[Controls | None]:
    """Give the live line of a recording and its keys, where there is a person to steer it."""
    return Controls() if has_controls() else contextlib.nullcontext()


def player() -> contextlib.AbstractContextManager[Player | None]:
    """Give the player, where there is a person to steer it."""
    if not has_controls():
        return contextlib.nullcontext()
    from .player import Player  # most commands need not load it

    return Player()


class Controls(Steered):
    """The live line of a recording and the keys that steer it."""

    def __init__(self) -> None:
        self._history: list[float] = []
        self._asked_until = 0.0  # monotonic

    def __call__(self, meter: Meter) -> Key | None:
        """Draw the line anew and take a key, if one was pressed."""
        key = self._key()
        self._history = [*self._history, meter.peak][-5:]
        show(self._line(meter), *self._hints(meter))
        return key

    def _key(self) -> Key | None:
        for pressed in keys():
            if pressed == "x" and self._asks():
                return "discard"
            self._asked_until = time.monotonic() + _ASKED if pressed == "x" else 0.0
            if pressed in ("\r", "\n", "q"):
                return "save"
            if pressed == " ":
                return "pause"
        return None

    def _asks(self) -> bool:
        """Tell whether one more x discards: an hour later nobody knows of the first one."""
        return time.monotonic() < self._asked_until

    def _line(self, meter: Meter) -> str:
        clock = format_clock(meter.elapsed)
        if meter.paused:
            return f"‖ {clock}  paused"
        bars = "".join(
            "▁▂▃▄▅▆▇█"[max(0, min(7, int((peak + 60) / 7.5)))] if peak > -90 else " " for peak in self._history
        )
        return f"● {clock}  {bars:5}  {format_level(meter.peak)}"

    def _hints(self, meter: Meter) -> list[str]:
        if self._asks():
            return ["   press x again to discard", " x: discard?"]
        space = "go on" if meter.paused else "pause"
        room = f"  disk {meter.minutes_left:.0f} min" if meter.minutes_left is not None else ""
        hints = [f"{room}   [space] {space}  [enter] save  [x][x] discard", f"{room}   [enter] save", room]
        return [*hints, f"  [space] {space}", ""] if meter.paused else [*hints, ""]


class FetchView:
    """What a fetch says on its way: a bar on a terminal, and what it waits for when nothing comes."""

    def __init__(self) -> None:
        self._drawn = 0.0
        self._said = 0

    def __call__(self, progress: Progress) -> None:
        if not progress.peers and progress.waited >= (1, 10, math.inf)[self._said]:
            self._said += 1
            if self._said == 1:
                tell("waiting for somebody who has it")
            else:
                from ..torrent.sources import describe_all  # most commands need not load it

                tell(f"nobody so far ({describe_all(progress.sources)})")
        if not is_screen(sys.stderr) or time.monotonic() - self._drawn < 0.1:
            return
        self._drawn = time.monotonic()
        if not progress.size:
            show(format_count(progress.peers, "peer"), "  waiting for the torrent's metadata", "")
            return
        fraction = progress.done / progress.size
        numbers = f"{fraction:4.0%}  {format_size(progress.done)} of {format_size(progress.size)}"
        rate = f"  {format_size(progress.rate)}/s"
        left = progress.size - progress.done
        rate += f"  {format_span(left / progress.rate)} left" if progress.rate and left else ""
        peers = format_count(progress.peers, "peer")
        show(numbers, f"  {_bar(fraction)}{rate}  {peers}  {progress.name}", f"{rate}  {peers}", rate, "")


class WaitView:
    """What is said while somebody is waited for who fetches: a line on a terminal, once what it waits for elsewhere."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._has_said = False

    def __call__(self, waiting: Sequence[tuple[Memo, SwarmState]]) -> None:
        """Draw whoever is furthest with one of these memos, none of which anybody has yet."""
        several = f"{format_count(len(waiting))}" if len(waiting) > 1 else f"“{waiting[0][0].title}”"
        if not is_screen(sys.stderr):
            if not self._has_said and time.monotonic() - self._began > 1:
                self._has_said = True
                tell(f"waiting for somebody to fetch {several}")
            return
        fetching = [(*peer.rpartition(" ")[::2], memo) for memo, swarm in waiting for peer in swarm.fetching]
        if not fetching:
            show(f"waiting for somebody to fetch {several}", "   Ctrl-C: it is served on", "")
            return
        address, percent, memo = max(fetching, key=lambda peer: int(peer[1]))
        others = f", and {format_count(len(fetching) - 1, 'other')}" if len(fetching) > 1 else ""
        fraction = int(percent) / 100
        of = f"  {address}{others}  “{memo.title}”"
        show(f"{fraction:4.0%}", f"  {_bar(fraction)}{of}", of, f"  {address}")


class Fraction:
    """How far something long is, and how long it will still take; gone when it is done."""

    def __init__(self) -> None:
        self._drawn = time.monotonic()
        self._of, self._pace = "", _Pace()

    def __call__(self, of: str, fraction: float) -> None:
        """Draw it ten times a second; what of the same name is less far than before is another one."""
        now = time.monotonic()
        if of != self._of:
            self._of, self._pace = of, _Pace()
        left = self._pace.left(fraction)
        if is_screen(sys.stderr) and (fraction == 1 or now - self._drawn > 0.1):
            self._drawn = now
            if fraction == 1:
                show("")
            else:
                show(f"{fraction:4.0%}  {of}", left, "")


class Listening:
    """A bar while a memo is listened to."""

    def __init__(self) -> None:
        self._pace = _Pace()
        self._pace.left(0)

    def __call__(self, fraction: float, _wave: bytes) -> None:
        left = self._pace.left(fraction)
        if is_screen(sys.stderr):
            bar = f"  {_bar(fraction)}  listening to it"
            show(f"{fraction:4.0%}", bar + left, bar, "")


class _Pace:
    """How fast something goes, and so how long it will still take."""

    def __init__(self) -> None:
        self._last = 1.0
        self._began = (0.0, 0.0)  # when it was first heard of, and which fraction was done then

    def left(self, fraction: float) -> str:
        """Say how long it will still take, from when it has taken a second; what is less far than before is another."""
        now = time.monotonic()
        if fraction < self._last:
            self._began = (now, fraction)
        self._last = fraction
        spent, done = now - self._began[0], fraction - self._began[1]
        return f"  {format_span(spent * (1 - fraction) / done)} left" if spent > 1 and done >= _LEAST else ""


def serving(state: SeederState, served: int) -> None:
    """Draw the status line of a seeder in the foreground."""
    if is_screen(sys.stderr):
        peers = sum(swarm.peers for swarm in state.swarms.values())
        given = sum(swarm.given for swarm in state.swarms.values())
        coming = f", {format_count(len(state.coming))} on the way" if state.coming else ""
        devices = f", {format_count(len(state.met), 'device')} in sync{coming}" if state.met else ""
        show(
            f"serving {format_count(served)}",
            f" on port {state.port}, {format_count(peers, 'peer')}, {format_size(given)} given{devices}",
            "",
        )


def _bar(fraction: float) -> str:
    return "█" * int(fraction * 20) + "░" * (20 - int(fraction * 20))
