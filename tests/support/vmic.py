"""Microphone and speaker for machines without: a private PulseAudio behind ALSA, and a signal that can be found again.

The signal is a chord whose loudness changes every 40 ms in an order that never repeats, so that any second of a
recording tells which second of the signal it is. Root or not, any number may run side by side, and nothing is left.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import fcntl
import math
import os
import random
import shutil
import signal as signals
import subprocess
import tempfile
import termios
import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest

from support.disk import NAMESPACE
from support.waiting import wait_until

RATE = 48000
TICK = RATE // 50  # samples the microphone hears at a time
STEP = RATE // 25  # samples of one loudness
HOP = RATE // 100  # samples in one value of an envelope
WINDOW = RATE // HOP  # values that are looked for together
SECONDS = 120  # length of the signal
LEVELS = random.Random(1).choices(range(8), k=SECONDS * RATE // STEP)

ALSA = """
pcm.!default { type asym playback.pcm vspk capture.pcm vmic }
pcm.vmic { type pulse device vmic }
pcm.vempty { type pulse device vempty }
pcm.vspk { type pulse device vspk }
ctl.!default { type pulse }
"""
NO_DEVICE = [*NAMESPACE, "sh", "-c", '[ ! -d /dev/snd ] || mount -t tmpfs none /dev/snd; exec "$@"', "sh"]
NOWHERE = {"PULSE_SERVER": "unix:/nowhere", "XDG_RUNTIME_DIR": "/nowhere"}
_HIDE = 'for file in /etc/ld.so.cache /usr/lib/*/libportaudio.so*; do mount --bind /dev/null $file; done; exec "$@"'
NO_PORTAUDIO = [*NAMESPACE, "sh", "-c", _HIDE, "sh"]
SPEAKER = "module-null-sink sink_name=vspk norewinds=1 rate=48000 channels=2"
EMPTY = "module-null-source source_name=vempty rate=48000 channels=1"
WAITING = 1 << 20  # bytes, ten seconds, that wait for a PulseAudio that a busy machine holds up


@cache
def _limits() -> Path:
    """Compile what limits devices, once for all tests of a process; it is gone with that."""
    directory = Path(tempfile.mkdtemp(prefix="limits-"))
    atexit.register(shutil.rmtree, directory)
    library, source = directory / "limits.so", Path(__file__).with_name("limits.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def modules(directory: Path, channels: int) -> list[str]:
    """Name what PulseAudio loads for the devices: an output, an input that hears nothing, and the microphone."""
    microphone = f"module-pipe-source source_name=vmic file={directory}/fifo format=s16le rate=48000"
    return [SPEAKER, EMPTY, f"{microphone} channels={channels}"]


def has_socket(process: int) -> bool:
    """Tell whether a process has a socket open: it asks the sound server."""
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        try:
            if os.readlink(descriptor).startswith("socket:"):
                return True
        except FileNotFoundError:  # it was closed meanwhile
            pass
    return False


def signal() -> bytes:
    """Make the signal: s16le, 48 kHz, mono."""
    chord = [sum(math.sin(2 * math.pi * hertz * i / RATE) for hertz in (225, 375, 550, 900)) for i in range(STEP)]
    steps = [array("h", [int(value * 3000 * 10 ** (-level / 5)) for value in chord]).tobytes() for level in range(8)]
    return b"".join(steps[level] for level in LEVELS)


def square(amplitude: int) -> bytes:
    """Make ten seconds of a square wave: at 32767 it sounds like a clipped voice, at 1 it is the noise of an input."""
    return array("h", [amplitude if i // 100 % 2 else -amplitude for i in range(RATE)]).tobytes() * 10


@dataclasses.dataclass
class Ear:
    """What was played so far."""

    path: Path  # s16le, 48 kHz

    @property
    def sound(self) -> array[int]:
        """All of it, without the silence around it."""
        data = self.path.read_bytes()
        data = data[: len(data) // 2 * 2]
        begin = len(data) - len(data.lstrip(b"\0"))
        return array("h", data[begin // 2 * 2 : (len(data.rstrip(b"\0")) + 1) // 2 * 2])

    def wait(self, seconds: float) -> None:
        """Wait until so much was heard since it began."""
        size = seconds * RATE * 2
        heard = lambda: self.path.stat().st_size >= size and len(self.sound) >= seconds * RATE  # noqa: E731
        wait_until(heard, f"{seconds} s are heard")


class Microphone:
    """The running device; what is played into it is heard in real time, sample by sample, and silence otherwise."""

    def __init__(self, directory: Path, daemon: subprocess.Popen[bytes], sides: Sequence[float]) -> None:
        self.directory = directory
        self.sides = sides  # how much each channel hears
        self.environment = {
            "PULSE_SERVER": f"unix:{directory}/native",
            "PULSE_CLIENTCONFIG": f"{directory}/client.conf",
            "PULSE_COOKIE": f"{directory}/cookie",
            "XDG_RUNTIME_DIR": str(directory),  # else every client leaves a directory in /tmp
            "ALSA_CONFIG_PATH": f"/usr/share/alsa/alsa.conf:{directory}/asound.conf",
        }
        self.lossy = False  # every second tick is lost on the way, as on an overloaded machine
        self.frozen = False  # all of them are
        self._daemon = daemon
        self._playing = b""
        self._heard = 0  # bytes
        self._pipe = -1
        self._closed = threading.Event()
        self._feeder = threading.Thread(target=self._feed, daemon=True)

    @property
    def position(self) -> float:
        """Seconds of what is played that have reached the device."""
        waiting = array("i", [0])
        with contextlib.suppress(OSError, ValueError):  # there is no pipe
            fcntl.ioctl(self._pipe, termios.FIONREAD, waiting)
        return max(0, self._heard - waiting[0] // len(self.sides)) / 2 / RATE

    def limited(self, rate: int | None = None, channels: int | None = None) -> dict[str, str]:
        """Give the environment in which every device has this rate (Hz) and this number of channels alone."""
        only = {"ONLY_RATE": rate, "ONLY_CHANNELS": channels}
        return {"LD_PRELOAD": str(_limits()), **{name: str(value) for name, value in only.items() if value}}

    def play(self, samples: bytes) -> None:
        """Let the microphone hear this from now on."""
        self._playing, self._heard = b"", 0
        self._playing = samples

    def listen(self, seconds: float) -> float:
        """Wait until it has heard so much more, and give the position then."""
        until = self.position + seconds
        wait_until(lambda: self.position >= until, f"{seconds} s are heard")
        return self.position

    @contextlib.contextmanager
    def listening(self, channels: int = 1) -> Iterator[Ear]:
        """Hear what is played meanwhile, in real time and sample by sample."""
        path = self.directory / "heard"
        command = ["parec", "-d", "vspk.monitor", "--raw", "--format=s16le", "--rate=48000", "--latency-msec=20"]
        with path.open("wb") as file:
            process = subprocess.Popen(
                [*command, f"--channels={channels}"], env={**os.environ, **self.environment}, stdout=file
            )
        try:
            wait_until(lambda: path.stat().st_size, "it listens")
            began = time.monotonic()
            yield Ear(path)
            ended = time.monotonic()
            size = (ended + 0.1 - began) * RATE * 2 * channels
            while path.stat().st_size < size and process.poll() is None and time.monotonic() < ended + 5:
                time.sleep(0.01)  # a busy machine hears it later
        finally:
            process.kill()
            process.wait()

    def pull(self) -> None:
        """Unplug it where no other device is left: a recording is ended."""
        for module in ("module-null-sink", "module-null-source", "module-pipe-source"):
            self._control("unload-module", module)

    def pull_moved(self) -> None:
        """Unplug it where there are others: PulseAudio moves a recording to one of them, which is silent."""
        self._control("unload-module", "module-pipe-source")

    def replug(self) -> None:
        """Plug in what was pulled."""
        present = self._control("list", "short", "modules")
        for module in modules(self.directory, len(self.sides)):
            if module.split()[0] not in present:
                self._control("load-module", *module.split())
        self._control("set-default-source", "vmic")

    def stall(self) -> None:
        """Let the device freeze: no sample more, and no error."""
        self.frozen = True
        self._daemon.send_signal(signals.SIGSTOP)

    def resume(self) -> None:
        """Thaw it; what it could not take meanwhile is lost."""
        self._daemon.send_signal(signals.SIGCONT)
        self.frozen = False

    def die(self) -> None:
        """Let the sound server crash."""
        self._daemon.kill()

    def start(self) -> None:
        """Feed it as soon as it is there."""
        wait_until(self._answers, f"PulseAudio answers: {self.directory / 'log'}")
        self._feeder.start()

    def close(self) -> None:
        """End everything that belongs to it."""
        self._closed.set()
        self._daemon.kill()  # reaches a frozen process too
        self._daemon.wait()
        if self._feeder.ident:
            self._feeder.join()

    def _answers(self) -> bool:
        if self._daemon.poll() is not None:
            pytest.fail((self.directory / "log").read_text())
        return (self.directory / "native").exists() and bool(self._control("info", check=False))

    def _control(self, *command: str, check: bool = True) -> str:
        environment = {**os.environ, **self.environment}
        return subprocess.run(
            ["pactl", *command], env=environment, check=check, timeout=20, stdout=subprocess.PIPE, text=True
        ).stdout

    def _feed(self) -> None:
        """Be the clock, which PulseAudio's pipe source has not; a late tick follows at once, none is left out."""
        listener, tick = None, 0
        began = time.monotonic()
        while not self._closed.wait(max(0.0, began + tick * TICK / RATE - time.monotonic())):
            tick += 1
            playing, heard = self._playing, self._heard
            chunk = playing[heard : heard + TICK * 2]
            if playing is self._playing:
                self._heard = heard + len(chunk)
            if self.frozen or (self.lossy and tick % 2):
                continue
            try:
                if self._pipe < 0:
                    self._pipe = os.open(self.directory / "fifo", os.O_WRONLY | os.O_NONBLOCK)
                    fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, WAITING)
                    listener = self._listen(listener)
                os.write(self._pipe, self._spread(chunk.ljust(TICK * 2, b"\0")))
            except BlockingIOError:
                pass  # the pipe is full
            except OSError:  # unplugged
                self._unplug()
        self._unplug()
        self._listen(listener, again=False)

    def _spread(self, chunk: bytes) -> bytes:
        if len(self.sides) == 1:
            return chunk
        return array("h", [int(side * sample) for sample in array("h", chunk) for side in self.sides]).tobytes()

    def _unplug(self) -> None:
        pipe, self._pipe = self._pipe, -1
        if pipe >= 0:
            os.close(pipe)

    def _listen(self, last: subprocess.Popen[bytes] | None, again: bool = True) -> subprocess.Popen[bytes] | None:
        """Keep one listener to nowhere: while nobody records, the source does not read, and old sound would pile up."""
        if last is not None:
            last.kill()
            last.wait()
        command = ["parec", "-d", "vmic", "--raw"]
        environment, no = {**os.environ, **self.environment}, subprocess.DEVNULL
        return subprocess.Popen(command, env=environment, stdin=no, stdout=no, stderr=no) if again else None


@contextlib.contextmanager
def plugged_in(sides: Sequence[float] = (1.0,)) -> Iterator[Microphone]:
    """Give a microphone of one's own, gone at the end; each of its channels hears as much as `sides` says."""
    directory = Path(tempfile.mkdtemp(prefix="vmic-"))  # not pytest's: the path of a socket has to be short
    try:
        (directory / "asound.conf").write_text(ALSA)
        (directory / "client.conf").write_text("autospawn = no\nenable-shm = no\n")
        loaded = [
            *modules(directory, len(sides)),
            f"module-native-protocol-unix auth-anonymous=1 socket={directory}/native",
        ]
        commands = [*(f"load-module {module}" for module in loaded), "set-default-source vmic"]
        (directory / "default.pa").write_text("\n".join([*commands, ""]))
        home = {name: str(directory) for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME")}
        options = "--daemonize=no --exit-idle-time=-1 --use-pid-file=no --disable-shm=yes --realtime=no"
        command = f"setpriv --pdeathsig KILL pulseaudio -n -F {directory}/default.pa {options} --high-priority=no"
        with (directory / "log").open("wb") as log:
            daemon = subprocess.Popen(
                command.split(),
                env={**os.environ, **home, "DBUS_SESSION_BUS_ADDRESS": "disabled:"},
                start_new_session=True,  # a Ctrl-C on the terminal is for the tests alone
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        microphone = Microphone(directory, daemon, sides)
        try:
            microphone.start()
            yield microphone
        finally:
            microphone.close()
    finally:
        shutil.rmtree(directory)


@dataclasses.dataclass
class Stretch:
    """A piece of the signal that is in a recording without a gap, in seconds of the signal."""

    begin: float
    end: float


def envelope(path: Path) -> list[float]:
    """Decode a recording and give how loud it is, in dB, every 10 ms."""
    samples = array("h")
    resampler = av.AudioResampler("s16", "mono", RATE)
    with av.open(str(path)) as container:
        for frame in [*container.decode(audio=0), None]:
            for piece in resampler.resample(frame):
                samples.frombytes(bytes(piece.planes[0])[: piece.samples * 2])
    means = (sum(map(abs, samples[i : i + HOP])) / HOP for i in range(0, len(samples) - HOP + 1, HOP))
    return [20 * math.log10(1 + mean) for mean in means]


def stretches(path: Path) -> list[Stretch]:
    """Say which parts of the signal are in a recording, in the order in which they are heard there."""
    recorded = envelope(path)
    reference = [-4.0 * level for level in LEVELS for _ in range(STEP // HOP)]
    found: list[Stretch] = []
    at = shift = 0
    size = min(WINDOW, len(recorded))
    for at in [*range(0, len(recorded) - size, WINDOW // 4), len(recorded) - size]:
        window = recorded[at : at + size]
        if max(window, default=0) - min(window, default=0) < 10:
            continue  # silence, or too little
        if _likeness(window, reference, at + shift) < 0.9:
            shift = _find(window, reference) - at
            if _likeness(window, reference, at + shift) < 0.9:
                continue
        begin, end = (at + shift) * HOP / RATE, (at + shift + size) * HOP / RATE
        if found and begin <= found[-1].end and abs(end - found[-1].end) <= WINDOW // 4 * HOP / RATE + 0.03:
            found[-1].end = end
        else:
            found.append(Stretch(begin, end))
    return found


def _find(window: list[float], reference: list[float]) -> int:
    """Give the place of the reference that the window is most like."""
    places = np.lib.stride_tricks.sliding_window_view(np.array(reference), len(window))
    mine = np.array(window) - np.mean(window)
    theirs = places - places.mean(axis=1, keepdims=True)
    spread = np.maximum((theirs**2).sum(axis=1), 1e-9)
    return int(np.argmax((theirs * mine).sum(axis=1) / np.sqrt(spread)))


def _likeness(window: list[float], reference: list[float], place: int) -> float:
    """Correlate the window with one place of the reference."""
    other = reference[place : place + len(window)]
    if place < 0 or len(other) < len(window):
        return 0.0
    mine, theirs = sum(window) / len(window), sum(other) / len(other)
    both = sum(a * b for a, b in zip(window, other, strict=True)) - len(window) * mine * theirs
    spread = sum(a * a for a in window) - len(window) * mine * mine
    spread *= sum(b * b for b in other) - len(window) * theirs * theirs
    return both / math.sqrt(spread) if spread > 0 else 0.0
