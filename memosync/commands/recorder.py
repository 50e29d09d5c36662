"""The recorder: what makes a memo of what the microphone hears, here or in a process in the background."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

from .. import files, process
from ..audio import webm
from ..audio.levels import Meter, Monitor
from ..audio.loudness import Gauge
from ..audio.microphone import Microphone
from ..audio.portaudio import patiently
from ..audio.writer import Recording
from ..console import Console
from ..errors import AudioError, LibraryError, MemosyncError, of_code
from ..library import recorder
from ..library.measures import keep_measured
from ..library.recorder import RecorderState
from ..library.recover import finish_recording
from ..library.store import Library
from ..memo import Memo, MemoId, Words
from ..quantities import format_duration, format_moment, local
from ..seeder import readiness
from ..stop import Stop
from .arguments import Globals
from .share import ShareOptions, share

Key = Literal["pause", "save", "discard"]
Control = Callable[[Meter], Key | None]  # shows how it goes, and gives the key that was pressed
_LOOK_EVERY = 0.25  # seconds; somebody at the controls wants to see more
_PATIENCE = 120.0  # seconds for it to save a long recording, and to share it
_BEGUN = 30.0  # seconds for it to begin: three times what the sound system may take to answer
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while the machine sleeps
_NONE, _BEGIN = "nothing is being recorded in the background", "memosync record --detach begins"
_SILENT = 5.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorder:
    """What every recording of one call has in common."""

    command: Globals
    library: Library
    words: Words
    now: datetime
    sound: webm.Sound
    again: bool  # also of a file whose sound is here already
    limit: float | None  # seconds
    share: bool
    stop: Stop
    on_begin: Callable[[Words], None] = lambda _words: None  # is told what is recorded from now on
    on_saved: Callable[[], None] = lambda: None

    def done(self, memo: Memo) -> None:
        """Say what was saved, and answer it."""
        self.on_saved()
        _say_saved(self.command, self.library, memo, share_it=self.share)


def _say_saved(command: Globals, library: Library, memo: Memo, *, share_it: bool) -> None:
    """Say what was saved, and answer its id, or share it and answer its link."""
    if memo.trashed:
        command.console.tell(f"discarded: {memo.label} is in the trash")
        return
    command.console.tell(f"saved {memo.label}, {format_duration(memo.duration)}")
    answer(command, library, memo, share_it=share_it)


def answer(command: Globals, library: Library, memo: Memo, *, share_it: bool) -> None:
    """Answer a memo's id, or share it and answer its link."""
    if share_it:
        share(command, ShareOptions(memos=[memo.id]), library=library, stop=Stop())
    else:
        command.console.answer(memo.id)


def record_microphone(recorder: Recorder, device: str | None, control: Control | None) -> None:
    """Record until `stop`, the limit, or who is at the controls says so, and save what was captured.

    It is answered before an error is raised: AudioError when the device was lost or nothing was captured, LibraryError
    when the disk refused.
    """
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
            recorder.on_begin(words)
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
                memo = finish_recording(library, memo_id, console, trashed)
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


def detach(command: Globals, library: Library, arguments: list[str], *, stop: Stop) -> None:
    """Start a recorder in the background with these arguments of `record`; return when it records.

    What kept it from that is raised. UsageError when there is one already; on `stop` it ends, and that is `end`.
    """
    library.prepare()
    with recorder.sole(library):
        _tell_of_the_last(command.console, library)
    root, network = str(library.root.absolute()), command.network.value
    command_line = ["--library", root, "--network", network, "record", *arguments]
    ours, theirs = os.pipe()
    with recorder.new_log(library) as log:
        child = process.start(
            "memosync",
            *command_line,
            *("--readiness", str(theirs)),
            pass_fds=[theirs],
            start_new_session=True,
            stderr=log,
        )
    os.close(theirs)
    try:
        said = readiness.wait_for(ours, time.monotonic() + _BEGUN, stop)
    finally:
        os.close(ours)
    if said is not None and "fault" not in said:
        state = recorder.last(library) or RecorderState()
        command.console.tell(f"recording {state.memo} “{state.title}” in the background")
        command.console.tell("memosync record --stop ends and saves it, --status says how it goes")
        return
    process.end(child, _PATIENCE)
    if said:
        raise of_code(int(said["code"]))(said["fault"], said.get("hint"))
    if recorder.last(library):
        end(command, stop=Stop())
    elif stop.is_set():
        raise AudioError("nothing was captured")
    else:
        raise AudioError("the recorder did not begin, and said nothing", f"look into {recorder.log_of(library)}")


def end(command: Globals, *, stop: Stop) -> None:
    """End the recorder in the background, and answer what it saved: also one that has ended by itself since.

    AudioError when nothing is recorded, or nothing was captured; the error that it ended with is raised after the
    answer, LibraryError when what it captured is not a memo yet.
    """
    library = Library(command.root)
    library.refuse_links()
    if not recorder.is_running(library) and not recorder.last(library):
        raise AudioError(_NONE, _BEGIN)
    deadline = time.monotonic() + _PATIENCE
    asked = False  # once: who asks again is in more of a hurry than to have it saved
    while not (lock := recorder.take(library)):
        asked = asked or recorder.ask_to_end(library)
        if time.monotonic() > deadline:
            raise AudioError("the recorder does not end", "memosync record --status says how it goes")
        stop.wait(0.1)
        stop.check()
    try:
        if not (state := recorder.last(library)):  # another --stop was faster
            raise AudioError(_NONE, _BEGIN)
        library = command.open(stop)  # which finishes what a recorder that died has left
        memo, part = library.index().get(MemoId(state.memo)), library.part(MemoId(state.memo))
        if not memo and part.exists():
            kept = f"the recorder died; the recording is kept in {part}; the next command finishes it when it can"
            raise LibraryError(state.fault or kept, state.hint or None)
        try:
            _conclude(command, library, state, memo)
        finally:
            recorder.forget(library)
    finally:
        lock.release(remove=False)


def _conclude(command: Globals, library: Library, state: RecorderState, memo: Memo | None) -> None:
    """Say and answer what became of a recording; the error that it ended with is raised."""
    for warning in state.warnings:
        command.console.warn(warning)
    fault = of_code(state.code)(state.fault, state.hint or None) if state.fault else None
    if not memo:
        nothing = "nothing was captured" if state.ended else "the recorder died, and nothing of it can be heard"
        raise fault or AudioError(nothing, "memosync record --list-devices shows what can record")
    if not state.ended:
        command.console.warn("the recorder died; what it had captured is saved")
    _say_saved(command, library, memo, share_it=state.share)
    if state.saved and isinstance(fault, AudioError | LibraryError):  # else it was in sharing, and that went well now
        raise fault


def status(command: Globals, *, stop: Stop) -> RecorderState:
    """Say how the recording in the background goes; AudioError where there is none, or it has ended by itself."""
    library = Library(command.root)
    library.refuse_links()
    deadline = time.monotonic() + _BEGUN
    while recorder.is_running(library) and time.monotonic() < deadline:
        if state := recorder.current(library):
            if (silent := recorder.silence(library)) > _SILENT:
                command.console.warn(f"it has said nothing for {silent:.0f} s: it does not go on, or the disk is full")
            return state
        stop.wait(0.05)  # it begins, or ends
        stop.check()
    if recorder.is_running(library):
        raise AudioError("the recorder does not say how it goes", "memosync record --stop ends and saves it")
    if state := recorder.last(library):
        why = state.fault or ("that was all" if state.ended else "the recorder died")
        raise AudioError(f"the recording has ended: {why}", "memosync record --stop says what was saved")
    raise AudioError(_NONE, _BEGIN)


def _tell_of_the_last(console: Console, library: Library) -> None:
    """Say what became of a recording that nobody has asked after, before the next one begins; we hold the lock."""
    if state := recorder.last(library):
        for text in filter(None, [*state.warnings, state.fault]):
            console.warn(text)
        if memo := library.index().get(MemoId(state.memo)):
            console.tell(f"the recording before this one was saved: {memo.label}, {format_duration(memo.duration)}")
        recorder.forget(library)


def record_detached(recorded: Recorder, device: str | None, pipe: int) -> None:
    """Be the recorder in the background, which says on this pipe that it has begun, or why it cannot.

    What becomes of it later is for whoever asks; UsageError when there is another one.
    """
    console, ready = recorded.command.console, partial(readiness.say, pipe)
    teller = recorder.Teller(recorded.library, RecorderState(share=recorded.share), console, on_sound=ready)
    try:
        with recorder.sole(recorded.library):
            command = replace(recorded.command, console=teller.console)
            own = replace(recorded, command=command, on_begin=teller.begin, on_saved=teller.saved)
            fault: MemosyncError | None = None
            try:
                record_microphone(own, device, teller.look)
            except MemosyncError as error:
                fault = error
                raise
            finally:
                teller.end(fault)
    except MemosyncError as error:
        readiness.say(pipe, fault=str(error), hint=error.hint, code=str(error.exit_code))
        raise
