"""record: from the microphone, a file or standard input to a memo."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from .. import files, webm
from ..errors import AudioError, Stop, UsageError
from ..levels import RATE, Meter, Watch
from ..library import Library
from ..loudness import Gauge
from ..memo import Memo, Words, clean_title, one_line
from ..microphone import Microphone
from ..network import Network
from ..portaudio import patiently
from ..source import Pipe, import_source
from ..writer import Recording
from .entries import new_memo
from .finishing import finish_recording
from .measuring import keep_heard
from .opening import Tell
from .several import Fail, each
from .share import share

Key = Literal["pause", "save", "discard"]
Control = Callable[[Meter], Key | None]
_LOOK_EVERY = 0.25  # seconds; somebody at the controls wants to see more
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while the machine sleeps


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What every recording needs to know."""

    words: Words  # as given; what is empty comes from the source
    sound: webm.Sound
    limit: float | None = None  # seconds
    stop: Stop
    tell: Tell
    answer: Callable[[str], None]
    share_on: Network | None = None  # answer a link that works there instead of the id

    def done(self, library: Library, memo: Memo) -> None:
        """Say what was saved, and answer it."""
        if memo.trashed:
            self.tell(f"discarded: {memo.id} is in the trash")
            return
        self.tell(f"saved {memo.id} “{memo.title}”, {memo.duration:.1f} s")
        if self.share_on:
            share(library, [memo], self.share_on, stop=Stop(), tell=self.tell, answer=self.answer)
        else:
            self.answer(memo.id)


def record_microphone(library: Library, job: Job, *, device: str | None = None, control: Control | None = None) -> None:
    """Record until `stop`, the limit, or the person at the controls says so; what was captured is always saved.

    The memo is answered before an error is raised: AudioError when the device was lost or nothing was captured,
    LibraryError when the disk refused.
    """
    sound = job.sound
    watch = Watch(sound.channels)
    paused = False
    room = int((job.limit or 10**9) * RATE)  # frames still wanted

    def take(block: bytes) -> None:  # on PortAudio's thread
        nonlocal room
        if not paused:
            block = block[: room * 4 * sound.channels]
            room -= len(block) // (4 * sound.channels)
            recording.write(block)

    microphone = patiently(lambda: Microphone(device, sound.channels, take), job.stop)
    library.prepare()
    memo_id = library.take_id()
    part = library.part(memo_id)
    title = job.words.title or f"{job.words.recorded:%Y-%m-%d %H:%M}"
    words = replace(job.words, id=memo_id, title=title)
    memo: Memo | None = None
    try:
        with library.lock(memo_id):
            key: Key | None = None
            lost: str | None = None
            look_again = 0.0
            gauge = Gauge()
            recording = Recording(part, words, sound, on_samples=watch.feed, listen=gauge.feed)
            try:
                files.sync_directory(part.parent)
                patiently(microphone.start, job.stop)
                pause = 0.1 if control else _LOOK_EVERY
                while room and not job.stop.wait(pause) and not recording.error and not (lost := microphone.lost):
                    watch.count(microphone.frames, time.clock_gettime(_CLOCK))
                    if (now := time.monotonic()) >= look_again:
                        watch.room(_minutes_left(part, sound.bitrate))
                        look_again = now + 1
                    while warning := watch.take_warning():
                        job.tell(f"warning: {warning}")
                    key = control(watch.meter(recording.duration, paused)) if control else None
                    if key in ("save", "discard"):
                        break
                    paused ^= key == "pause"
                if lost or recording.error:
                    job.tell(
                        "\athe recording has ended: " + (f"the microphone {lost}" if lost else str(recording.error))
                    )
            finally:  # whatever happened, a bug included: the file first
                recording.close()
                trashed = datetime.now().astimezone() if key == "discard" else None
                memo = finish_recording(library, memo_id, trashed)
    finally:  # without the memo's lock, which sharing takes
        if memo:
            keep_heard(library, memo, gauge)
            job.done(library, memo)
        microphone.close()
    if recording.error:
        raise recording.error
    if lost:
        raise AudioError(f"the microphone {lost}; " + ("what it captured is saved" if memo else "nothing was captured"))
    if not memo:
        raise AudioError("nothing was captured", "memosync record --list-devices shows what can record")


def check_sources(names: Sequence[str]) -> list[Path | None]:
    """Turn arguments into files, `-` into None; UsageError for one that is not there, before anything is done."""
    for name in names:
        if name != "-" and not os.access(name, os.R_OK):
            raise UsageError(f"{one_line(name)}: there is no such file, or it cannot be read")
        if name != "-" and Path(name).is_dir():
            raise UsageError(f"{one_line(name)} is a directory", "name the files in it")
    return [None if name == "-" else Path(name) for name in names]


def record_sources(library: Library, sources: Sequence[Path | None], job: Job, *, fail: Fail) -> None:
    """Make a memo of each audio file, and of standard input where one is None."""
    name = lambda source: str(source or "standard input")  # noqa: E731
    each(sources, lambda source: _record_source(library, source, job), name=name, stop=job.stop, fail=fail)


def _record_source(library: Library, source: Path | None, job: Job) -> None:
    """Make a memo of one source.

    Words that are not given come from the source's tags; the title then from its name, the date from its time stamp.
    What standard input gave until `stop` is saved; a file that was not read to its end is not.
    """
    words = job.words

    def describe(own: Words) -> Words:
        recorded = own.recorded or written or words.recorded
        title = words.title or own.title or (clean_title(source.stem) if source else "") or f"{recorded:%Y-%m-%d %H:%M}"
        return Words(title, words.description or own.description, words.tags or own.tags, recorded, memo_id)

    def progress(_seconds: float) -> None:
        if not live:
            job.stop.check()

    file: webm.Reader
    with open(source or 0, "rb", closefd=source is not None) as file:
        status = os.fstat(file.fileno())
        written = datetime.fromtimestamp(int(status.st_mtime)).astimezone() if stat.S_ISREG(status.st_mode) else None
        live = not file.seekable()
        library.prepare()
        memo_id = library.take_id()
        part = library.part(memo_id)
        target = part if live else part.with_suffix(".import")
        memo: Memo | None = None
        gauge = Gauge()
        try:
            with library.lock(memo_id):
                try:
                    reader = Pipe(job.stop, file.fileno()) if live else file
                    import_source(
                        reader,
                        target,
                        describe,
                        job.sound,
                        live=live,
                        limit=job.limit,
                        on_progress=progress,
                        listen=gauge.feed,
                    )
                    if not live:
                        made = new_memo(memo_id, webm.probe(target), target, when=0)
                        library.add(made, target)
                        memo = made
                finally:
                    if live and part.exists():
                        memo = finish_recording(library, memo_id)
                    elif not live:
                        target.unlink(missing_ok=True)
        finally:  # without the memo's lock, which sharing takes
            if memo:
                keep_heard(library, memo, gauge)
                job.done(library, memo)


def _minutes_left(part: Path, bitrate: int) -> float:
    """Say how long the disk lasts: a recording is written twice, the second time when it is finished."""
    with files.as_library_error("look at the disk"):
        free = files.free_space(part) - part.stat().st_size
    return max(0.0, free / 2 / (bitrate / 8 * 1.05) / 60)
