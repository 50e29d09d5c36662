"""The microphone: PortAudio records blocks of samples and passes each on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import AudioError, UsageError
from .portaudio import Stream, portaudio

_BLOCKS = 20  # in a second: more wake two threads more often, of fewer more is lost at the end
_SERVER = 32  # channels: who claims so many is a sound server or a plug-in, and mixes itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device that can record."""

    number: int
    name: str
    channels: int
    is_default: bool


class Microphone(Stream):
    """An open recording stream; `on_block` gets interleaved native float32 on PortAudio's thread.

    It gets what the device has: `channels` of them, `rate` (Hz) a second.
    """

    def __init__(self, device: str | None, channels: int, on_block: Callable[[bytes], None]) -> None:
        """Open the default device, or the one with this number or part of a name, for a memo of 1 or 2 channels.

        At 48 kHz and with these channels where it has them. AudioError when there is none, UsageError when two are
        wanted of a device that has one.
        """
        self._on_block = on_block
        self.frames = 0  # delivered so far
        found = find(device)
        if channels > found.channels:
            raise UsageError(f"{found.name} has 1 channel", "record without --stereo, or from another --device")
        super().__init__(
            "input",
            f"record from {found.name}",
            "try another one of memosync record --list-devices",
            device=found.number,
            channels=_channels(found, channels),
            blocks=_BLOCKS,
            latency=0.2,
        )

    def _callback(self, data: Any, frames: int, _when: object, _status: object) -> None:
        self._last = time.monotonic()
        self.frames += frames
        self._on_block(bytes(data))


def _channels(device: Device, wanted: int) -> list[int]:
    """Give the numbers of channels to open a device with, best first."""
    if wanted == 1 < device.channels < _SERVER:  # PortAudio would grant one, and drop all but the first
        return [device.channels, 1]
    return sorted({wanted, min(2, device.channels), device.channels})


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
