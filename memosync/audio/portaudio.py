"""PortAudio: what the microphone and the speaker have in common.

The owner of sounddevice. Its thread only passes bytes on; nothing it calls waits for anything else.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from ..errors import AudioError
from ..stop import Stop

RATE = 48_000  # Hz
BLOCK = 960  # frames that are passed on at once: 20 ms
STALLED = 3.0  # seconds without a block after which a device counts as gone
Result = TypeVar("Result")


class Stream:
    """A stream of interleaved native float32 at 48 kHz; `_callback` passes the blocks on."""

    def __init__(self, kind: str, what: str, hint: str | None, *, block: int = BLOCK, **options: Any) -> None:
        """Open sounddevice's stream of this `kind` with `block` frames a block and its other options.

        AudioError when PortAudio cannot: "cannot {what}", with this hint.
        """
        sd = portaudio()
        self._what = what
        self._last = self._looked = time.monotonic()  # delivered, and asked for
        self._gone = threading.Event()
        try:
            self._stream = getattr(sd, kind)(
                samplerate=RATE,
                dtype="float32",
                blocksize=block,
                callback=self._callback,
                finished_callback=self._gone.set,
                **options,
            )
        except (sd.PortAudioError, ValueError) as error:
            raise AudioError(f"cannot {what}: {error}", hint) from error

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
