"""play: a memo through the default output, steered from the terminal where there is one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from .. import files, webm
from ..errors import AudioError, MemosyncError, Stop, UsageError
from ..library import Library
from ..memo import Memo
from ..playback import FASTEST, SLOWEST, hear
from ..portaudio import BLOCK, patiently
from ..quantities import format_clock
from ..speaker import Speaker
from .measuring import levels_of
from .opening import Tell

Result = TypeVar("Result")
AHEAD = 1.0  # seconds that are decoded before they are needed
TICK = 0.03  # seconds between two looks at what is wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Playing:
    """What is heard, and how; also what somebody wants to hear instead."""

    duration: float  # seconds
    position: float = 0.0  # seconds
    speed: float = 1.0  # times the recorded one
    paused: bool = False
    wave: bytes = b""  # as far as it is known, see `Levels`


Control = Callable[[Playing], Playing | None]  # shows what is heard, and gives what is wanted; None ends it


def play(
    library: Library,
    memo: Memo,
    *,
    position: float = 0.0,
    speed: float = 1.0,
    stop: Stop,
    tell: Tell,
    control: Control | None = None,
) -> None:
    """Play a memo to its end, or until `control` says so; Interrupted on `stop`, AudioError without an output."""
    if not SLOWEST <= speed <= FASTEST:
        raise UsageError(f"a speed of {speed:g} is not possible", f"give --speed from {SLOWEST:g} to {FASTEST:g}")
    if position >= memo.duration:
        raise UsageError(f"{memo.id} ends at {format_clock(memo.duration)}", "give an earlier --from")
    elsewhere = f"memosync export {memo.id} -o . makes a file for another player"

    def ask(do: Callable[[], Result]) -> Result:
        try:
            return patiently(do, stop)
        except AudioError as error:
            stop.check()  # an interrupt is no failure
            raise AudioError(str(error), error.hint or elsewhere) from error

    wave = b""

    def look(_part: float, known: bytes) -> None:
        nonlocal wave
        wave = known

    def measure() -> None:
        with suppress(MemosyncError):
            look(1, levels_of(library, memo, on_progress=look, stop=stop).wave)

    with files.as_library_error(f"play {memo.file}"):
        file = library.path(memo).open("rb")
    with file, closing(ask(Speaker)) as speaker, webm.open_input(file) as source:
        tell(f"playing {memo.id} “{memo.title}”, {memo.duration:.1f} s")
        now = Playing(duration=memo.duration, position=position, speed=speed)
        wanted: Playing | None = now
        blocks: Iterator[tuple[float, bytes]] | None = None
        if control:
            threading.Thread(target=measure, daemon=True).start()
        while wanted:
            if begins := blocks is None or wanted != now:
                now = wanted
                ask(partial(speaker.halt, now.position))
                blocks = hear(source, now.position, now.speed, BLOCK)
            while speaker.queued < AHEAD and (block := next(blocks, None)):
                speaker.write(*block)
            if begins and not now.paused:
                ask(speaker.start)
            stop.wait(TICK)
            stop.check()
            if speaker.lost:
                raise AudioError(f"the output {speaker.lost}", elsewhere)
            if speaker.is_done:
                break
            now = replace(now, position=speaker.heard, wave=wave)
            wanted = control(now) if control else now
