"""play: memos through the default output, steered from the terminal where there is one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from .. import files
from ..audio import webm
from ..audio.arriving import Arriving
from ..audio.playback import FASTEST, SLOWEST, Output, Recording, opened, opened_as_it_comes
from ..audio.portaudio import patiently
from ..audio.speaker import Speaker
from ..console import Console
from ..errors import AudioError, MemosyncError, UsageError
from ..library.measures import watch_wave
from ..library.store import Library
from ..memo import Memo
from ..quantities import format_clock, format_duration
from ..stop import Stop
from .arguments import Globals, choose, each, insist_here

if TYPE_CHECKING:
    from ..torrent.download import Progress

Result = TypeVar("Result")
AHEAD = 50  # blocks that are decoded before the output takes them: a second
TICK = 0.05  # seconds between two looks at it


@dataclass(frozen=True, slots=True, kw_only=True)
class Playing:
    """What is heard, and how; also what somebody wants to hear instead."""

    duration: float  # seconds
    position: float = 0.0  # seconds
    speed: float = 1.0  # times the recorded one
    paused: bool = False
    wave: bytes = b""  # as far as it is known, see `Levels`
    place: int = 0  # of the memo among those that are played, from 0 on; another one is another memo, or none
    count: int = 1  # of those that are played


_START = Playing(duration=0.0)
Steering = Callable[[Playing], Playing | None]  # shows it, and gives after a moment what is wanted; None ends it


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayOptions:
    """Which memos are to be played, and how."""

    memos: Sequence[str] = ()
    position: float = 0.0  # seconds, in the first of them
    speed: float = 1.0  # times the recorded one


def play(
    command: Globals,
    options: PlayOptions,
    *,
    stop: Stop,
    steered: Callable[[], AbstractContextManager[Steering | None]] = nullcontext,
) -> None:
    """Play memos one after the other, or as the person who steers it says; see `play_memo`."""
    library = command.open(stop)
    memos = choose(library, options.memos)
    if memos:
        _refuse(memos[0], options)
    now = replace(_START, position=options.position, speed=options.speed, count=len(memos))

    def play_on() -> Iterator[Memo]:
        while 0 <= now.place < len(memos):
            yield memos[now.place]

    def play_one(memo: Memo) -> None:
        nonlocal now
        begin, now = now, replace(now, place=now.place + 1, position=0.0)  # also when it cannot be played
        insist_here(library, memo)
        with steered() as steering:
            end = play_memo(library, memo, command.console, begin, stop=stop, steering=steering)
        now = replace(now, place=end.place, speed=end.speed) if end else replace(now, place=len(memos))

    each(play_on(), play_one, name=lambda memo: memo.label, stop=stop, console=command.console)


def play_memo(
    library: Library,
    memo: Memo,
    console: Console,
    begin: Playing | None = None,
    *,
    stop: Stop,
    steering: Steering | None = None,
) -> Playing | None:
    """Play a memo to its end, or until `steering` says so; Interrupted on `stop`, AudioError without an output.

    Give what is to be played then, by its `place`; None when the person has heard enough.
    """
    elsewhere = f"memosync export {memo.id} -o . makes a file for another player"

    def ask(do: Callable[[], Result]) -> Result:
        try:
            return patiently(do, stop)
        except AudioError as error:
            stop.check()  # an interrupt is no failure
            raise AudioError(str(error), error.hint or elsewhere) from error

    with files.as_library_error(f"play {memo.file}"):
        file = files.open_regular(library.path(memo))
    webm.warm_up()
    with file, closing(ask(Speaker)) as speaker, opened(file) as recording:
        console.tell(f"playing {memo.label}, {format_duration(memo.duration)}")
        wave = watch_wave(library, memo, stop=stop) if steering else bytes
        now = replace(begin or _START, duration=memo.duration)
        return _hear(recording, now, speaker, ask, stop=stop, steering=steering, wave=wave)


def _refuse(memo: Memo, options: PlayOptions) -> None:
    """Insist on a speed and a position that can be; UsageError."""
    if not SLOWEST <= options.speed <= FASTEST:
        fault = f"a speed of {options.speed:g} is not possible"
        raise UsageError(fault, f"give --speed from {SLOWEST:g} to {FASTEST:g}")
    if options.position >= memo.duration:
        raise UsageError(f"{memo.label} ends at {format_clock(memo.duration)}", "give an earlier --from")


def play_arriving(
    arriving: Arriving,
    console: Console,
    *,
    stop: Stop,
    steered: Callable[[], AbstractContextManager[Steering | None]] = nullcontext,
    on_begun: Callable[[bool], None],
) -> None:
    """Play what is still arriving, to its end, or until the person who steers it says so; as `play_memo`.

    `on_begun` is told once it can, and whether somebody steers it; what AudioError says before holds only for now.
    """
    with opened_as_it_comes(arriving) as (recording, duration), closing(patiently(Speaker, stop)) as speaker:
        console.tell(f"playing it while it arrives, {format_duration(duration)}")
        with steered() as steering:
            on_begun(steering is not None)
            _hear(
                recording,
                Playing(duration=duration),
                speaker,
                partial(patiently, stop=stop),
                stop=stop,
                steering=steering,
                is_ready=lambda: arriving.is_ready,
            )


class Listener:
    """Has a memo heard while it arrives, by a thread of its own; a context manager that ends with it."""

    def __init__(
        self, console: Console, steered: Callable[[], AbstractContextManager[Steering | None]], stop: Stop
    ) -> None:
        self._console, self._steered, self._stop = console, steered, stop
        self._arriving: Arriving | None = None
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._fault: MemosyncError | None = None
        self._has_failed = self.is_steered = self.heard = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._arriving and self._thread.ident:
            self._arriving.give_up()
            self._thread.join(timeout=5)  # one that decodes does not look up

    def listen(self, place: Path) -> Callable[[bytes], None]:
        """Give what takes the memo's bytes as they come, and keeps them there; what fails is only not heard so."""
        try:
            self._arriving = arriving = Arriving(place, self._stop)
        except OSError:
            return lambda _data: None

        def add(data: bytes) -> None:
            try:
                arriving.add(data)
                if not self._thread.ident:
                    self._thread.start()
            except OSError:
                self._has_failed = True
                arriving.give_up()

        return add

    def complete(self, path: Path) -> None:
        """Go on with the whole memo."""
        with suppress(OSError):
            if self._arriving and not self._has_failed:
                self._arriving.complete(path)

    def instead_of(self, view: Callable[[Progress], None]) -> Callable[[Progress], None]:
        """Give a view that is not drawn while the player is."""
        return lambda progress: None if self.is_steered else view(progress)

    def hear_out(self) -> None:
        """Wait until it was heard, or could not be kept; Interrupted on `stop`, AudioError without an output."""
        while self._thread.is_alive():
            self._stop.wait(0.05)
            self._stop.check()
        if self._has_failed:
            self.heard = False
        elif self._fault:
            raise self._fault

    def _on_begun(self, is_steered: bool) -> None:
        self.is_steered, self.heard = is_steered, True

    def _play(self) -> None:
        assert self._arriving
        try:
            play_arriving(
                self._arriving, self._console, stop=self._stop, steered=self._steered, on_begun=self._on_begun
            )
        except MemosyncError as error:
            self._fault = error if self.heard else None
        except OSError:  # it did not arrive, or cannot be read: who fetches or plays it says so
            self.heard = False
        finally:
            self.is_steered = False


def _hear(
    recording: Recording,
    now: Playing,
    speaker: Speaker,
    ask: Callable[[Callable[[], None]], None],
    *,
    stop: Stop,
    steering: Steering | None,
    wave: Callable[[], bytes] = bytes,
    is_ready: Callable[[], bool] = lambda: True,
) -> Playing | None:
    """Have a recording heard, from the position and as fast as it is wanted; there is silence while it is not ready.

    Give what is wanted at its end, which is the next one, or before; None when nothing is.
    """
    output = Output(speaker.rate, speaker.channels, speaker.block)
    wanted: Playing | None = now
    blocks: Iterator[tuple[float, bytes]] | None = None
    while wanted and wanted.place == now.place:
        if blocks is None or wanted != now:
            now = wanted
            blocks = recording.hear(now.position, now.speed, output)
            first = list(islice(blocks, AHEAD)) if is_ready() else []
            ask(partial(speaker.restart, now.position, None if now.paused else first))
        while (ready := is_ready()) and speaker.queued < AHEAD and (block := next(blocks, None)):
            speaker.write(*block)
        now = replace(now, position=speaker.heard, wave=wave())
        wanted = steering(now) if steering else now
        if not steering:
            stop.wait(TICK)
        stop.check()
        if speaker.lost:
            raise AudioError(f"the output {speaker.lost}", "memosync export makes a file for another player")
        if ready and speaker.is_done:
            return replace(now, place=now.place + 1)
    return wanted
