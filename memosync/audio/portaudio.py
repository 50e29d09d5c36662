"""PortAudio: what the microphone and the speaker have in common.

The owner of sounddevice. Its thread only passes bytes on; nothing it calls waits for anything else.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, Literal, TypeVar

from ..errors import AudioError
from ..stop import Stop

RATE = 48_000  # Hz, that of Opus
_OTHERS = (44_100, 96_000, 88_200, 192_000, 176_400, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)  # Hz
_NOT_SUCH = ((-9997,), (-9998,))  # paInvalidSampleRate, paInvalidChannelCount
STALLED = 3.0  # seconds without a block after which a device counts as gone
Result = TypeVar("Result")


class Stream:
    """A stream of interleaved native float32; `_callback` passes the blocks on."""

    def __init__(
        self,
        kind: Literal["input", "output"],
        what: str,
        hint: str | None,
        *,
        device: int,
        channels: Sequence[int],
        blocks: int,
        latency: float,
    ) -> None:
        """Open the device with this number at 48 kHz, or where it has not got that, at another rate.

        Of the numbers of `channels` the first one that it has is taken. `blocks` of a second are passed on, each in
        one piece; `latency` is in seconds. AudioError when PortAudio cannot: "cannot {what}", with this hint.
        """
        sd = portaudio()
        self.rate = RATE  # Hz, of the device
        self.channels = channels[0]  # of the device
        self._what = what
        self._last = self._looked = time.monotonic()  # delivered, and asked for
        self._gone = threading.Event()
        refused: list[Exception] = []
        for self.rate, self.channels in _shapes(sd, device, channels):
            try:
                self._stream = (sd.RawInputStream if kind == "input" else sd.RawOutputStream)(
                    samplerate=self.rate,
                    channels=self.channels,
                    dtype="float32",
                    blocksize=self.rate // blocks,
                    latency=latency,
                    device=device,
                    callback=self._callback,
                    finished_callback=self._gone.set,
                )
                return
            except (sd.PortAudioError, ValueError) as error:
                refused.append(error)
                if error.args[1:2] not in _NOT_SUCH:
                    raise AudioError(f"cannot {what}: {error}", hint) from error
        raise AudioError(f"cannot {what}: {refused[0]}", hint) from refused[0]

    def start(self) -> None:
        """Let it run; AudioError when PortAudio cannot."""
        self._last = time.monotonic()
        try:
            self._stream.start()
        except portaudio().PortAudioError as error:
            raise AudioError(f"cannot {self._what}: {error}", "is another program using it?") from error

    @property
    def lost(self) -> str | None:
        """Say how the device was lost; None while it goes on."""
        if self._gone.is_set():
            return "disappeared"
        # PortAudio says nothing when a device stalls; this clock stands still while the machine sleeps
        now = time.monotonic()
        if now - self._looked > 1:  # it was us who stood still (Ctrl-Z)
            self._last = max(self._last, now)
        self._looked = now
        return "stopped working" if now - self._last > STALLED else None

    def close(self) -> None:
        """Release the device; waits a second at most, for on a stalled one PortAudio may hang for ever."""
        closer = threading.Thread(target=self._stream.abort, daemon=True)
        closer.start()
        closer.join(1.0)

    def _callback(self, data: Any, frames: int, when: Any, _status: object) -> None:
        raise NotImplementedError


def _shapes(sd: ModuleType, device: int, channels: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Give rates (Hz) and numbers of channels to try: nothing is asked of the device while 48 kHz will do."""
    yield from ((RATE, count) for count in channels)
    own = int(sd.query_devices(device)["default_samplerate"])
    for rate in dict.fromkeys((own, *_OTHERS)):
        yield from ((rate, count) for count in channels)


def portaudio() -> ModuleType:
    """Load PortAudio; AudioError where it is not installed."""
    try:
        _silence()
        import sounddevice
    except OSError as error:
        raise AudioError("the PortAudio library is missing", "install it: apt install libportaudio2") from error
    return sounddevice  # type: ignore[no-any-return]


def patiently(do: Callable[[], Result], stop: Stop) -> Result:
    """Ask the sound system on a thread of its own: where that is frozen, PortAudio waits for minutes, deaf to signals.

    What `do` raises is raised; AudioError when it does not return within 10 s, or on `stop`.
    """
    done: list[Result | BaseException] = []

    def work() -> None:
        try:
            done.append(do())
        except BaseException as error:
            done.append(error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    deadline = time.monotonic() + 10
    worker.join(0.05)
    while not done:
        if stop.is_set():
            raise AudioError("nothing was captured")
        if time.monotonic() > deadline:
            raise AudioError("the sound system does not answer", "is PulseAudio or PipeWire running well?")
        worker.join(0.05)
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
