"""The microphone: what PortAudio delivers, handed on block by block.

The owner of sounddevice. Its thread only passes bytes on; nothing in here waits for anything else.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TypeVar

from .errors import AudioError

RATE = 48_000  # Hz
Result = TypeVar("Result")
STALLED = 3.0  # seconds without a block after which a device counts as gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device that can record."""

    number: int
    name: str
    channels: int
    is_default: bool


class Microphone:
    """An open recording stream; `on_block` gets interleaved native float32 at 48 kHz on PortAudio's thread."""

    def __init__(self, device: str | None, channels: int, on_block: Callable[[bytes], None]) -> None:
        """Open the default device, or the one with this number or part of a name; AudioError when there is none."""
        sd = _portaudio()
        self._on_block = on_block
        self._size = 4 * channels
        self._last = self._looked = time.monotonic()  # delivered, and asked for
        self._gone = threading.Event()
        self.frames = 0  # delivered so far
        self.name = _find(device).name
        try:
            self._stream = sd.RawInputStream(
                samplerate=RATE,
                channels=channels,
                dtype="float32",
                blocksize=960,
                latency=0.2,
                device=None if device is None else _find(device).number,
                callback=self._callback,
                finished_callback=self._gone.set,
            )
        except (sd.PortAudioError, ValueError) as error:
            raise AudioError(
                f"cannot record from {self.name}: {error}", "try another one of memosync record --list-devices"
            ) from error

    def start(self) -> None:
        self._last = time.monotonic()
        try:
            self._stream.start()
        except _portaudio().PortAudioError as error:
            raise AudioError(f"cannot record from {self.name}: {error}", "is another program using it?") from error

    @property
    def lost(self) -> str | None:
        """Say how the device was lost; None while it delivers."""
        if self._gone.is_set():
            return "disappeared"
        # PortAudio says nothing when a device stalls; this clock stands still while the machine sleeps
        now = time.monotonic()
        if now - self._looked > 1:  # it was us who stood still (Ctrl-Z)
            self._last = now
        self._looked = now
        return "stopped delivering" if now - self._last > STALLED else None

    def close(self) -> None:
        """Let the device go; on a stalled one that may hang for ever, so it is not waited for."""
        closer = threading.Thread(target=self._stream.abort, daemon=True)
        closer.start()
        closer.join(1.0)

    def _callback(self, data: object, frames: int, _when: object, _status: object) -> None:
        self._last = time.monotonic()
        self.frames += frames
        self._on_block(bytes(data))  # type: ignore[call-overload]  # a cffi buffer


def devices() -> list[Device]:
    """List what can record; AudioError without PortAudio."""
    sd = _portaudio()
    default = sd.default.device[0]
    found = [dict(entry) for entry in sd.query_devices()]
    return [
        Device(
            number=number,
            name=str(entry["name"]),
            channels=int(entry["max_input_channels"]),
            is_default=number == default,
        )
        for number, entry in enumerate(found)
        if entry["max_input_channels"] > 0
    ]


def _find(wanted: str | None) -> Device:
    found = devices()
    if not found:
        raise AudioError("there is no microphone", "plug one in, or record a file: memosync record FILE")
    if wanted is None:
        default = [device for device in found if device.is_default]
        if not default:
            raise AudioError("there is no default microphone", "choose one: memosync record --list-devices")
        return default[0]
    matching = [device for device in found if wanted == str(device.number) or wanted == device.name]
    matching = matching or [device for device in found if wanted.casefold() in device.name.casefold()]
    if len(matching) == 1:
        return matching[0]
    what = "may be " + ", ".join(device.name for device in matching[:5]) if matching else "is no microphone"
    raise AudioError(f"{wanted!r} {what}", "memosync record --list-devices shows names and numbers")


def _portaudio() -> ModuleType:
    try:
        _silence()
        import sounddevice
    except OSError as error:
        raise AudioError("the PortAudio library is missing", "install it: apt install libportaudio2") from error
    return sounddevice  # type: ignore[no-any-return]


def patiently(do: Callable[[], Result], stop: threading.Event) -> Result:
    """Do what asks the sound system on a thread of its own: when that is frozen it takes minutes, deaf to signals.

    AudioError when it does not answer in 10 s, or on `stop`.
    """
    done: list[Result | BaseException] = []

    def work() -> None:
        try:
            done.append(do())
        except BaseException as error:
            done.append(error)

    threading.Thread(target=work, daemon=True).start()
    deadline = time.monotonic() + 10
    while not done:
        if stop.wait(0.005):
            raise AudioError("nothing was captured")
        if time.monotonic() > deadline:
            raise AudioError("the sound system does not answer", "is PulseAudio or PipeWire running well?")
    if isinstance(done[0], BaseException):
        raise done[0]
    return done[0]


def _silence() -> None:
    """Keep what PortAudio and ALSA write straight to descriptor 2, from threads of theirs, off the terminal."""
    global _silenced
    if sys.stderr and not _silenced:
        _silenced = True
        sys.stderr.flush()
        ours = os.dup(2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.stderr = open(ours, "w", encoding=sys.stderr.encoding, errors="backslashreplace", buffering=1)  # noqa: SIM115


_silenced = False
