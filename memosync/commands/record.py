"""record: to a memo, from the microphone, from files, or from standard input."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from .. import files
from ..audio import dates, webm
from ..audio.importing import Pipe, import_source
from ..audio.levels import Meter, Monitor
from ..audio.loudness import Gauge
from ..audio.microphone import Device, Microphone, devices
from ..audio.portaudio import patiently
from ..audio.writer import Recording
from ..console import one_line
from ..errors import AudioError, Interrupted, UsageError
from ..library.entries import new_memo
from ..library.measures import keep_measured
from ..library.recover import finish_recording
from ..library.store import Library
from ..memo import Memo, Words, clean_description, clean_title, parse_tags
from ..quantities import format_moment, from_stamp, local
from ..stop import Stop
from .arguments import Globals, each, reading
from .share import ShareOptions, share

Key = Literal["pause", "save", "discard"]
Control = Callable[[Meter], Key | None]  # shows how it goes, and gives the key that was pressed
_LOOK_EVERY = 0.25  # seconds; somebody at the controls wants to see more
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while the machine sleeps


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """What is wanted of a recording; what is empty comes from the source."""

    sources: Sequence[str] = ()  # files, or - for standard input; none for the microphone
    title: str = ""
    description: str = ""
    tags: Sequence[str] = ()
    device: str | None = None  # part of a microphone's name, or its number
    limit: float | None = None  # seconds
    bitrate: int = 32_000  # bits a second
    stereo: bool = False
    share: bool = False  # answer a link instead of the id


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recorder:
    """What every recording of one call has in common."""

    command: Globals
    library: Library
    words: Words
    now: datetime
    sound: webm.Sound
    limit: float | None  # seconds
    share: bool
    stop: Stop

    def done(self, memo: Memo) -> None:
        """Say what was saved, and answer it."""
        console = self.command.console
        if memo.trashed:
            console.tell(f"discarded: {memo.id} is in the trash")
            return
        console.tell(f"saved {memo.id} “{memo.title}”, {memo.duration:.1f} s")
        if self.share:
            share(self.command, ShareOptions(memos=[memo.id]), library=self.library, stop=Stop())
        else:
            console.answer(memo.id)


def record(
    command: Globals,
    options: RecordOptions,
    *,
    now: datetime,
    stop: Stop,
    controls: Callable[[], AbstractContextManager[Control | None]] = nullcontext,
) -> None:
    """Record until `stop`, the limit, or the person at the controls says so; what was captured is always saved.

    Each memo is answered before an error is raised: AudioError when the device was lost, nothing was captured, or it is
    not audio; LibraryError when the disk refused; UsageError, and nothing done, when a source is not there.
    """
    words = Words(clean_title(options.title), clean_description(options.description), parse_tags(options.tags), now)
    sound = webm.Sound(2 if options.stereo else 1, webm.parse_bitrate(options.bitrate))
    sources = _find_sources(options.sources)
    recorder = _Recorder(
        command=command,
        library=command.open_to_swarms(stop) if options.share else command.open(stop),
        words=words,
        now=now,
        sound=sound,
        limit=options.limit,
        share=options.share,
        stop=stop,
    )
    name = lambda source: str(source or "standard input")  # noqa: E731
    try:
        if sources:
            save = lambda source: _record_source(recorder, source)  # noqa: E731
            each(sources, save, name=name, stop=stop, console=command.console)
        else:
            with controls() as control:
                _record_microphone(recorder, options.device, control)
    except Interrupted as end:
        if end.hint:
            command.console.warn(end.hint)
        raise


def microphones() -> list[Device]:
    """List what can record; AudioError without PortAudio."""
    return patiently(devices, Stop())


def _find_sources(names: Sequence[str]) -> list[Path | None]:
    """Turn arguments into files, `-` into None; UsageError for one that is not there, before anything is done."""
    for name in names:
        if name != "-" and not os.access(name, os.R_OK):
            raise UsageError(f"{one_line(name)}: there is no such file, or it cannot be read")
        if name != "-" and os.path.isdir(name):
            raise UsageError(f"{one_line(name)} is a directory", "name the files in it")
    return [None if name == "-" else Path(name) for name in names]


def _record_microphone(recorder: _Recorder, device: str | None, control: Control | None) -> None:
    library, sound, stop, console = recorder.library, recorder.sound, recorder.stop, recorder.command.console
    paused = False
    room = 0  # frames still wanted

    def take(block: bytes) -> None:  # on PortAudio's thread
        nonlocal room
        if not paused:
            block = block[: room * size]
            room -= len(block) // size
            recording.write(block)

    def warn() -> None:
        monitor.mixed(recording.standing_in, recording.inverted)
        while warning := monitor.take_warning():
            console.warn(warning)

    microphone = patiently(lambda: Microphone(device, sound.channels, take), stop)
    rate, channels, size = microphone.rate, microphone.channels, 4 * microphone.channels
    room = round((recorder.limit or 10**9) * rate)
    monitor = Monitor(channels, rate)
    library.prepare()
    memo_id = library.take_id()
    part = library.part(memo_id)
    given = recorder.words
    words = replace(given, id=memo_id, title=given.title or format_moment(given.recorded or recorder.now))
    memo: Memo | None = None
    try:
        with library.lock(memo_id):
            key: Key | None = None
            lost: str | None = None
            look_again, gauge = 0.0, Gauge()
            recording = Recording(
                part, words, sound, rate=rate, channels=channels, on_samples=monitor.feed, tap=gauge.feed
            )
            try:
                files.sync_directory(part.parent)
                patiently(microphone.start, stop)
                pause = 0.1 if control else _LOOK_EVERY
                while room and not stop.wait(pause) and not recording.error and not (lost := microphone.lost):
                    monitor.count(microphone.frames, time.clock_gettime(_CLOCK))
                    if (now := time.monotonic()) >= look_again:
                        monitor.room(_minutes_left(part, sound.bitrate))
                        look_again = now + 1
                    warn()
                    key = control(monitor.meter(recording.duration, paused)) if control else None
                    if key in ("save", "discard"):
                        break
                    paused ^= key == "pause"
                if ended := f"the microphone {lost}" if lost else recording.error:
                    console.alarm(f"the recording has ended: {ended}")
            finally:  # whatever happened, a bug included: the file first
                recording.close()
                library.patience.save_first()
                warn()
                trashed = local(datetime.now(UTC)) if key == "discard" else None
                memo = finish_recording(library, memo_id, trashed)
    finally:  # without the memo's lock, which sharing takes
        if memo:
            keep_measured(library, memo, gauge)
            recorder.done(memo)
        microphone.close()
    if recording.error:
        raise recording.error
    if lost:
        raise AudioError(f"the microphone {lost}; " + ("what it captured is saved" if memo else "nothing was captured"))
    if not memo:
        raise AudioError("nothing was captured", "memosync record --list-devices shows what can record")


def _minutes_left(part: Path, bitrate: int) -> float:
    """Say how long the disk lasts: a recording is written twice, the second time when it is finished."""
    with files.as_library_error("look at the disk"):
        free = files.free_space(part) - part.stat().st_size
    return max(0.0, free / 2 / (bitrate / 8 * 1.05) / 60)


def _record_source(recorder: _Recorder, source: Path | None) -> None:
    """Make a memo of one source.

    Words that are not given come from the source's tags; the title then from its name, the date from its name or its
    time stamp.
    What standard input gave until `stop` is saved; a file that was not read to its end is not.
    """
    library, words, console = recorder.library, recorder.words, recorder.command.console
    shown = one_line(str(source or "standard input"))

    def describe(own: Words) -> Words:
        name = source.stem if source else ""
        recorded, word = dates.choose(own.dates, name, written, recorder.now)
        if word:
            console.warn(f"{shown}: {word}")
        title = words.title or own.title or clean_title(name) or format_moment(recorded)
        return Words(title, words.description or own.description, words.tags or own.tags, recorded, memo_id)

    def progress(done: float, whole: float | None) -> None:
        if not live:
            recorder.stop.check()
            if whole:
                console.progress(shown, min(done / whole, 0.999))

    with reading():
        # libsndfile shares its position
        file = open(source or 0, "rb", buffering=0, closefd=source is not None)  # noqa: SIM115  # a with for errors here
    with file:
        status = os.fstat(file.fileno())
        written = from_stamp(int(status.st_mtime)) if stat.S_ISREG(status.st_mode) else None
        live = not file.seekable()
        library.prepare()
        memo_id = library.take_id()
        part = library.part(memo_id)
        target = part if live else part.with_suffix(".import")
        memo: Memo | None = None
        try:
            with library.lock(memo_id):
                try:
                    reader = Pipe(recorder.stop, file.fileno()) if live else file
                    with reading():
                        import_source(
                            reader,
                            target,
                            describe,
                            recorder.sound,
                            live=live,
                            limit=recorder.limit,
                            on_progress=progress,
                            warn=lambda text: console.warn(f"{shown}: {text}"),
                        )
                    if not live:
                        made = new_memo(memo_id, webm.probe(target), target, when=0)
                        library.add(made, target)
                        memo = made
                finally:
                    console.progress(shown, 1)
                    library.patience.save_first()
                    if live and part.exists():
                        memo = finish_recording(library, memo_id)
                    elif not live:
                        target.unlink(missing_ok=True)
        finally:  # without the memo's lock, which sharing takes
            if memo:
                recorder.done(memo)
