"""The microphone: PortAudio records blocks of samples and passes each on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import AudioError
from .portaudio import RATE, Stream, portaudio

_BLOCK = RATE // 20  # frames: fewer wake two threads more often, more are lost at the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device that can record."""

    number: int
    name: str
    channels: int
    is_default: bool


class Microphone(Stream):
    """An open recording stream; `on_block` gets interleaved native float32 at 48 kHz on PortAudio's thread."""

    def __init__(self, device: str | None, channels: int, on_block: Callable[[bytes], None]) -> None:
        """Open the default device, or the one with this number or part of a name; AudioError when there is none."""
        self._on_block = on_block
        self.frames = 0  # delivered so far
        found = find(device)
        super().__init__(
            "RawInputStream",
            f"record from {found.name}",
            "try another one of memosync record --list-devices",
            block=_BLOCK,
            channels=channels,
            latency=0.2,
            device=None if device is None else found.number,
        )

    def _callback(self, data: Any, frames: int, _when: object, _status: object) -> None:
        self._last = time.monotonic()
        self.frames += frames
        self._on_block(bytes(data))


def devices() -> list[Device]:
    """List what can record; AudioError without PortAudio."""
    sd = portaudio()
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


def find(wanted: str | None) -> Device:
    """Find the default microphone, or the one with this number or part of a name; AudioError names the candidates."""
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
