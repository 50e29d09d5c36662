"""record: to a memo, from the microphone, from files, or from standard input."""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from ..audio import dates, webm
from ..audio.importing import Pipe, import_source
from ..audio.microphone import Device, devices
from ..audio.portaudio import patiently
from ..console import one_line
from ..errors import Interrupted, UsageError
from ..library.entries import new_memo
from ..library.recorder import RecorderState
from ..library.recover import finish_recording
from ..library.sounds import same_sound
from ..memo import Memo, Words, clean_description, clean_title, parse_tags
from ..quantities import format_moment, from_stamp
from ..stop import Stop
from . import recorder as background
from .arguments import Globals, each, reading
from .recorder import Control, Recorder, answer, record_microphone


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
    again: bool = False  # also of a file whose sound is here already
    detach: bool = False  # in the background
    stop: bool = False  # the one in the background
    status: bool = False
    readiness: int | None = None  # in the background: the descriptor of a pipe to whoever started it


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
    _refuse_what_excludes_each_other(options)
    if options.stop:
        background.end(command, stop=stop)
        return
    words = Words(clean_title(options.title), clean_description(options.description), parse_tags(options.tags), now)
    sound = webm.Sound(2 if options.stereo else 1, webm.parse_bitrate(options.bitrate))
    sources = _find_sources(options.sources)
    library = command.open_to_swarms(stop) if options.share else command.open(stop)
    if options.detach:
        background.detach(command, library, _arguments(options), stop=stop)
        return
    recorder = Recorder(
        command=command,
        library=library,
        words=words,
        now=now,
        sound=sound,
        again=options.again,
        limit=options.limit,
        share=options.share,
        stop=stop,
    )
    if options.readiness is not None:
        background.record_detached(recorder, options.device, options.readiness)
        return
    try:
        if sources:
            each(sources, partial(_record_source, recorder), name=_name_of, stop=stop, console=command.console)
        else:
            with controls() as control:
                record_microphone(recorder, options.device, control)
    except Interrupted as end:
        if end.hint:
            command.console.warn(end.hint)
        raise


def status(command: Globals, options: RecordOptions, *, stop: Stop) -> RecorderState:
    """Say how the recording in the background goes; AudioError where there is none, or it has ended by itself."""
    _refuse_what_excludes_each_other(options)
    return background.status(command, stop=stop)


def _name_of(source: Path | None) -> str:
    return str(source or "standard input")


def _refuse_what_excludes_each_other(options: RecordOptions) -> None:
    if options.detach + options.stop + options.status > 1:
        raise UsageError("--detach, --stop and --status exclude each other")
    if options.detach and options.sources:
        raise UsageError("--detach is for the microphone", "memosync record FILE, without it")
    what = (options.sources, options.title, options.description, options.tags, options.limit)
    if (options.stop or options.status) and (any(what) or options.stereo or options.share or options.again):
        name = "--stop" if options.stop else "--status"
        raise UsageError(f"{name} goes with no other option of record", f"memosync record {name}")


def _arguments(options: RecordOptions) -> list[str]:
    """Give the command line by which a recorder in the background gets these options."""
    chosen = [("--title", options.title), ("--description", options.description)]
    chosen += [("--tag", tag) for tag in options.tags]
    limit = options.limit or 0
    chosen += [
        ("--device", options.device or ""),
        ("--max", f"{limit // 3600:.0f}h{limit % 3600:.9f}" if limit else ""),
    ]
    chosen += [("--bitrate", str(options.bitrate))]
    flags = [("--stereo", options.stereo), ("--share", options.share)]
    return [*(f"{name}={value}" for name, value in chosen if value), *(name for name, given in flags if given)]


def microphones() -> list[Device]:
    """List what can record; AudioError without PortAudio."""
    return patiently(devices, Stop())


def _find_sources(names: Sequence[str]) -> list[Path | None]:
    """Turn arguments into files, `-` into None; UsageError for one that is not there, before anything is done."""
    for name in names:
        if name == "-":
            continue
        with reading(name, "for a title, memosync record -t TITLE"):
            mode = os.stat(name).st_mode
            if not os.access(name, os.R_OK):  # not opened yet: whoever writes into a pipe would hear of it
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if stat.S_ISDIR(mode):
            raise UsageError(f"{one_line(name)} is a directory", "name the files in it")
    return [None if name == "-" else Path(name) for name in names]


def _record_source(recorder: Recorder, source: Path | None) -> None:
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

    def compared(fraction: float) -> None:
        recorder.stop.check()
        console.progress(f"{shown}, compared with what is here", min(fraction, 0.999))

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
        here: Memo | None = None
        try:
            with library.lock(memo_id):
                try:
                    progress(0, 1)
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
                        here = None if recorder.again else same_sound(library, target, made.duration, compared)
                        if not here:
                            library.add(made, target)
                            memo = made
                finally:
                    console.progress(shown, 1)
                    library.patience.save_first()
                    if live and part.exists():
                        memo = finish_recording(library, memo_id, console)
                    elif not live:
                        target.unlink(missing_ok=True)
        finally:  # without the memo's lock, which sharing takes
            if memo:
                recorder.done(memo)
        if here:
            _answer_for(recorder, here, shown)


def _answer_for(recorder: Recorder, memo: Memo, shown: str) -> None:
    """Say that a source is here already, and answer that memo; UsageError when other words were given."""
    words = recorder.words
    named = f"{memo.id} “{one_line(memo.title)}”"
    given = [("-t", words.title), ("-d", words.description), *(("--tag", f"+{tag}") for tag in words.tags)]
    if typed := [part for option, word in given if word for part in (option, word)]:
        edit = shlex.join(["memosync", "edit", memo.id, *typed])
        raise UsageError(f"it is here already: {named}", f"{edit}; record --again makes a second one")
    recorder.command.console.tell(f"{shown} is here already: {named}")
    answer(recorder.command, recorder.library, memo, share_it=recorder.share)
