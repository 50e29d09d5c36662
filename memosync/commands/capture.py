"""What `record` does with the microphone: what it captured is saved, whatever happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from .. import files
from ..audio.levels import RATE, Meter, Monitor
from ..audio.loudness import Gauge
from ..audio.microphone import Microphone
from ..audio.portaudio import patiently
from ..audio.writer import Recording
from ..errors import AudioError
from ..library.store import Library
from ..memo import Memo
from .finishing import finish_recording
from .measuring import keep_heard
from .record import Job

Key = Literal["pause", "save", "discard"]
Control = Callable[[Meter], Key | None]
_LOOK_EVERY = 0.25  # seconds; somebody at the controls wants to see more
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while the machine sleeps


def record_microphone(library: Library, job: Job, *, device: str | None = None, control: Control | None = None) -> None:
    """Record until `stop`, the limit, or the person at the controls says so; what was captured is always saved.

    The memo is answered before an error is raised: AudioError when the device was lost or nothing was captured,
    LibraryError when the disk refused.
    """
    sound = job.sound
    watch = Monitor(sound.channels)
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
    words = replace(job.words, id=memo_id, title=job.words.title or f"{job.words.recorded:%Y-%m-%d %H:%M}")
    memo: Memo | None = None
    try:
        with library.lock(memo_id):
            key: Key | None = None
            lost: str | None = None
            look_again, gauge = 0.0, Gauge()
            recording = Recording(part, words, sound, on_samples=watch.feed, tap=gauge.feed)
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
                if ended := f"the microphone {lost}" if lost else recording.error:
                    job.tell(f"\athe recording has ended: {ended}")
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


def _minutes_left(part: Path, bitrate: int) -> float:
    """Say how long the disk lasts: a recording is written twice, the second time when it is finished."""
    with files.as_library_error("look at the disk"):
        free = files.free_space(part) - part.stat().st_size
    return max(0.0, free / 2 / (bitrate / 8 * 1.05) / 60)
