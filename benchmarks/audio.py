"""What sound costs: encoding an hour, a minute of recording, the moments after `stop` and before the first sound."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from material import FFMPEG, PROGRAM, environment, memosync, repeat, speech
from measure import US, Bar, Contestants, Measures, Row, cpu, run, wait_until

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from support.terminal import Terminal
from support.vmic import Ear, plugged_in
from support.vmic import signal as chord

QUIET = 1500  # of 32768
MPV = ("mpv", "--no-config", "--no-video", "--really-quiet", "--ao=pulse")
OPUS = ("-c:a", "libopus", "-b:a", "32k", "-application", "voip", "-frame_duration", "20", "-compression_level", "10")


@contextmanager
def encoding(directory: Path, quick: bool) -> Iterator[Contestants]:
    """Encode an hour of speech, a tenth of it when quick; the measures are of an hour either way."""
    seconds = 360 if quick else 3600
    env = environment(directory)
    source = speech(directory / "speech.wav", seconds)

    def hour(*command: object) -> Measures:
        return {unit: value * 3600 / seconds for unit, value in run(command, env).items()}

    def ours() -> Measures:
        shutil.rmtree(directory / "Memos", ignore_errors=True)
        return hour(*memosync(directory / "Memos", "record", source))

    yield {US: ours, "ffmpeg": lambda: hour(*FFMPEG, "-i", source, *OPUS, directory / "speech.webm")}


@contextmanager
def recording(directory: Path, quick: bool) -> Iterator[Contestants]:
    """Record with all three at once from one device, so that the same noise hits all."""
    begin, length = (5, 10) if quick else (10, 60)  # seconds
    with plugged_in() as microphone:
        microphone.play(chord())
        env = {**environment(directory), **microphone.environment}
        numbers = itertools.count()
        measured: dict[str, Measures] = {}

        def all_at_once() -> None:
            n = next(numbers)
            commands = {
                US: memosync(directory / "Memos", "record"),
                "ffmpeg -f alsa": [*FFMPEG, *_input("alsa", "default"), *OPUS, directory / f"alsa{n}.webm"],
                "ffmpeg -f pulse": [*FFMPEG, *_input("pulse", "vmic"), *OPUS, directory / f"pulse{n}.webm"],
            }
            processes = {name: _start(command, env) for name, command in commands.items()}
            try:
                time.sleep(begin)
                began = time.monotonic()
                before = {name: cpu(process.pid) for name, process in processes.items()}
                time.sleep(length)
                minutes = (time.monotonic() - began) / 60
                for name, process in processes.items():
                    measured[name] = {"CPU s a minute": (cpu(process.pid) - before[name]) / minutes}
            finally:
                for process in processes.values():
                    process.send_signal(signal.SIGINT)
                    process.wait(20)

        def take(name: str) -> Measures:
            if name not in measured:
                all_at_once()
            return measured.pop(name)

        yield {name: partial(take, name) for name in (US, "ffmpeg -f alsa", "ffmpeg -f pulse")}


@contextmanager
def stopping(directory: Path, quick: bool) -> Iterator[Contestants]:
    """Time both halves of a stop: INT to the id for a short recording, and finishing the `.part` of an hour.

    The second is what `list` takes longer when it finds one, with loading FFmpeg, which a recorder has done before.
    """
    env = environment(directory)
    minutes = directory / "minutes.webm"
    run([*FFMPEG, "-i", speech(directory / "speech.wav", 60), *OPUS, minutes], env)
    hour = repeat(minutes, directory / "hour.webm", 3600)
    library = directory / "Memos"
    with plugged_in() as microphone:
        microphone.play(chord())

        def stop() -> Measures:
            shutil.rmtree(library, ignore_errors=True)
            short = _stop_to_id(library, {**env, **microphone.environment})
            shutil.rmtree(library)
            without = run(memosync(library, "list"), env)
            part = library / ".memosync" / "recording" / "00000001.webm.part"
            part.parent.mkdir(parents=True)
            shutil.copyfile(hour, part)
            found = run(memosync(library, "list"), env)
            if part.exists():
                raise RuntimeError("the recording of an hour was not finished")
            finish = found["s"] - without["s"]
            return {
                "s": short + finish,
                "of it finishing s": finish,
                "of it finishing CPU s": found["CPU s"] - without["CPU s"],
            }

        yield {US: stop, "ffmpeg -c copy": lambda: run(_remux(hour, directory / "copy.webm"), env)}


@contextmanager
def starting(directory: Path, quick: bool) -> Iterator[Contestants]:
    """Time from the start of a process to the first sound of an hour."""
    env = environment(directory)
    hour, library = _quiet_then_loud(directory, env)
    with plugged_in() as output:
        env |= output.environment

        def start(*command: object) -> Measures:
            with output.listening() as ear:
                began = time.perf_counter()
                process = _start([*command], env)
                try:
                    _wait_for_sound(ear, QUIET / 2)
                    return {"s": time.perf_counter() - began}
                finally:
                    process.terminate()
                    process.wait(20)

        yield {
            US: partial(start, *memosync(library, "play", "last")),
            "mpv": partial(start, *MPV, hour),
            "ffplay": partial(start, "ffplay", "-v", "error", "-nodisp", "-vn", hour),
        }


@contextmanager
def seeking(directory: Path, quick: bool) -> Iterator[Contestants]:
    """Time from a key, or what mpv has instead, to the sound of the middle of an hour, whose second half is loud."""
    env = environment(directory)
    hour, library = _quiet_then_loud(directory, env)
    with plugged_in() as output:
        env |= output.environment

        def seek(to_the_middle: Callable[[], object]) -> Measures:
            with output.listening() as ear:
                _wait_for_sound(ear, QUIET / 2)
                time.sleep(1)
                began = time.perf_counter()
                to_the_middle()
                _wait_for_sound(ear, QUIET * 2)
                return {"s": time.perf_counter() - began}

        def ours() -> Measures:
            terminal = Terminal([str(part) for part in memosync(library, "play", "last")], env)
            try:
                return seek(lambda: terminal.type("5"))
            finally:
                terminal.close()

        def mpv() -> Measures:
            door = directory / "mpv"
            process = _start([*MPV, f"--input-ipc-server={door}", hour], env)
            try:
                wait_until(door.exists, "mpv listens")
                with socket.socket(socket.AF_UNIX) as remote:
                    remote.connect(str(door))
                    command = json.dumps({"command": ["seek", 50, "absolute-percent"]}) + "\n"
                    return seek(lambda: remote.sendall(command.encode()))
            finally:
                process.terminate()
                process.wait(20)
                door.unlink(missing_ok=True)

        yield {US: ours, "mpv": mpv}


def _quiet_then_loud(directory: Path, env: dict[str, str]) -> tuple[Path, Path]:
    """Make an hour whose second half is loud, and a library that has it."""
    for name, level in (("quiet", QUIET), ("loud", 10 * QUIET)):
        source = f"aevalsrc={level / 32768}*sin(2*PI*440*t):d=60:s=48000"
        run([*FFMPEG, "-f", "lavfi", "-i", source, *OPUS, directory / f"{name}.webm"], env)
    (directory / "list").write_text("file quiet.webm\n" * 30 + "file loud.webm\n" * 30)
    hour = directory / "hour.webm"
    run([*FFMPEG, "-f", "concat", "-i", directory / "list", "-c", "copy", "-cues_to_front", "1", hour], env)
    run(memosync(directory / "Memos", "record", hour), env)
    return hour, directory / "Memos"


def _wait_for_sound(ear: Ear, level: float) -> None:
    """Wait until something louder is heard."""
    with ear.path.open("rb") as heard:
        wait_until(lambda: any(sample > level for sample in array("h", heard.read() or b"")), "sound")


@contextmanager
def exporting(form: str, directory: Path, _quick: bool) -> Iterator[Contestants]:
    """Write an hour as a file: Ogg is a copy of its packets, WAV is decoded, FLAC and MP3 are encoded again."""
    env = environment(directory)
    library, hour = _record_hour(directory, env)
    options = {"ogg": ["-c", "copy"], "mp3": ["-c:a", "libmp3lame", "-b:a", "64k"]}.get(form, [])
    yield {
        US: lambda: run(memosync(library, "export", "last", "--force", "-o", directory / f"ours.{form}"), env),
        "ffmpeg": lambda: run([*FFMPEG, "-i", hour, *options, directory / f"ffmpeg.{form}"], env),
    }


@contextmanager
def showing(directory: Path, quick: bool) -> Iterator[Contestants]:
    """Show an hour that was never listened to, and then again."""
    env = environment(directory)
    library, hour = _record_hour(directory, env)

    def show() -> Measures:
        shutil.rmtree(library / ".memosync" / "cache", ignore_errors=True)
        first = run(memosync(library, "show", "last"), env)
        return {**run(memosync(library, "show", "last"), env), "first s": first["s"], "first CPU s": first["CPU s"]}

    def listen() -> Measures:
        done = run([*FFMPEG, "-i", hour, "-af", "ebur128,astats", "-f", "null", "-"], env)
        return {"first s": done["s"], "first CPU s": done["CPU s"]}

    yield {US: show, "ffmpeg -af ebur128,astats": listen}


def _record_hour(directory: Path, env: dict[str, str]) -> tuple[Path, Path]:
    """Make a library with an hour of speech in it; give it, and the file that was recorded from."""
    minute = directory / "minute.webm"
    run([*FFMPEG, "-i", speech(directory / "speech.wav", 60), *OPUS, minute], env)
    hour = repeat(minute, directory / "hour.webm", 3600)
    run(memosync(directory / "Memos", "record", hour), env)
    return directory / "Memos", hour


def _stop_to_id(library: Path, env: dict[str, str]) -> float:
    process = subprocess.Popen(
        [PROGRAM, "--library", library, "record"], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    parts = library / ".memosync" / "recording"
    wait_until(lambda: any(part.stat().st_size > 10_000 for part in parts.glob("*.part")), "it records")
    began = time.perf_counter()
    process.send_signal(signal.SIGINT)
    assert process.stdout
    if not process.stdout.readline():
        raise RuntimeError("the recorder gave no id")
    seconds = time.perf_counter() - began
    process.communicate(timeout=20)
    return seconds


def _remux(source: Path, target: Path) -> list[object]:
    return [*FFMPEG, "-i", source, "-c", "copy", "-cues_to_front", "1", target]


def _input(kind: str, name: str) -> tuple[str, ...]:
    return ("-f", kind, "-sample_rate", "48000", "-channels", "1", "-i", name)


def _start(command: list[object], env: dict[str, str]) -> subprocess.Popen[bytes]:
    with open(os.devnull, "r+b") as nothing:
        return subprocess.Popen([str(part) for part in command], env=env, stdin=nothing, stdout=nothing, stderr=nothing)


ROWS = [
    Row("encode", "encoding 1 h of speech", encoding, [Bar("CPU s", 0.85, times="ffmpeg")], repeat=3),
    Row(
        "recording",
        "recording, CPU after the first 10 s",
        recording,
        [Bar("CPU s a minute", 1, times=f"ffmpeg -f {kind}") for kind in ("alsa", "pulse")],
        repeat=3,
    ),
    Row("play-start", "`play` of 1 h to its first sound", starting, [Bar("s", 0.4)], repeat=11, quick=3),
    Row("play-seek", "a key to the sound 30 min further", seeking, [Bar("s", 0.1)], repeat=11, quick=3),
    Row("export-wav", "exporting 1 h as WAV", partial(exporting, "wav"), [Bar("CPU s", 1.5, times="ffmpeg")], repeat=3),
    Row("export-mp3", "exporting 1 h as MP3", partial(exporting, "mp3"), [Bar("CPU s", 1.3, times="ffmpeg")], repeat=5),
    Row(
        "export-flac",
        "exporting 1 h as FLAC",
        partial(exporting, "flac"),
        [Bar("CPU s", 1.5, times="ffmpeg")],
        repeat=3,
    ),
    Row("export-ogg", "exporting 1 h as Ogg", partial(exporting, "ogg"), [Bar("s", 1.5, more_than="ffmpeg")]),
    Row("show", "`show` of 1 h", showing, [Bar("s", 0.3), Bar("first s", 10)], repeat=5),
    Row("stop", "stop to saved, a recording of 1 h", stopping, [Bar("s", 1.5)], repeat=5),
]
