"""The microphone: what PortAudio delivers, handed on block by block.

The owner of sounddevice. Its thread only passes bytes on; nothing in here waits for anything else.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

from .errors import AudioError

RATE = 48_000  # Hz
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
        self._last = time.monotonic()
        self._gone = threading.Event()
        self.frames = 0  # delivered so far
        self.name = _find(device).name
        try:
            with _quiet():
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
        with _quiet():
            try:
                self._stream.start()
            except Exception as error:
                if type(error).__name__ != "PortAudioError":
                    raise
                raise AudioError(f"cannot record from {self.name}: {error}", "is another program using it?") from error

    @property
    def lost(self) -> str | None:
        """Say how the device was lost; None while it delivers."""
        if self._gone.is_set():
            return "disappeared"
        # PortAudio says nothing when a device stalls; this clock stands still while the machine sleeps
        return "stopped delivering" if time.monotonic() - self._last > STALLED else None

    def close(self) -> None:
        """Let the device go; on a stalled one that may hang for ever, so it is not waited for."""
        with _quiet():
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
    with _quiet():
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
        with _quiet():
            import sounddevice
    except OSError as error:
        raise AudioError("the PortAudio library is missing", "install it: apt install libportaudio2") from error
    return sounddevice  # type: ignore[no-any-return]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what PortAudio and ALSA write straight to descriptor 2 off the terminal."""
    with contextlib.suppress(Exception):
        sys.stderr.flush()
    try:
        kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # standard error is closed already
        yield
        return
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
