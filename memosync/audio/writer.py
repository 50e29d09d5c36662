"""WebM as it is written: by an encoder, on a thread of its own while it is spoken, or packet by packet.

The neighbour of `webm` in the room that owns PyAV.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..errors import AudioError, LibraryError
from ..memo import Words
from .webm import FINISHED, RATE, Sound, layout, to_tags, translated

if TYPE_CHECKING:
    import av

    from .webm import Listen, Packet

FRAMES_AT_ONCE = 4_800  # fed to the encoder: 0.1 s
_LIVE = {"flush_packets": "1", "cluster_time_limit": "400"}  # without these FFmpeg keeps everything in memory
_SYNC_EVERY = 5 * RATE  # frames


class Chained(Exception):
    """Another logical stream begins inside an Ogg file (RFC 3533, chained)."""


class Writer:
    """A WebM file being written: Opus packets, encoded here or copied from a source."""

    def __init__(
        self,
        path: Path,
        words: Words,
        sound: Sound,
        *,
        template: av.AudioStream | None = None,  # copy the packets of this stream instead of encoding
        live: bool = False,  # every 0.4 s reaches the disk: kill -9 costs no more
        listen: Listen = lambda _frame: None,  # to what is encoded
    ) -> None:
        from fractions import Fraction

        import av

        self._tick = Fraction(1, RATE)
        self._path, self._live, self._encoding, self._listen = path, live, template is None, listen
        self._frames = self._synced = 0  # frames that went in
        self._shift, self._next = 0, -(2**62)  # of copied packets, in units of the stream's time base
        with translated("write"):
            self._file = av.open(path, "w", format="webm", options=_LIVE if live else FINISHED)
            self._file.metadata.update(to_tags(words))
            if template is None:
                options = {"application": "voip", "frame_duration": "20", "compression_level": "10"}
                shape = layout(sound)
                stream = self._file.add_stream(
                    "libopus", rate=RATE, layout=shape, bit_rate=sound.bitrate, options=options
                )
            else:
                stream = self._file.add_stream_from_template(template)
            self._stream: Any = stream
            self._file.start_encoding()

    @property
    def duration(self) -> float:
        """Seconds of audio that went in so far."""
        return self._frames / RATE

    def encode(self, frame: av.AudioFrame) -> None:
        """Encode a frame of 48 kHz float audio with the channels of this file."""
        frame.pts, frame.time_base = self._frames, self._tick
        self._frames += frame.samples
        with translated("write"):
            self._file.mux(self._stream.encode(frame))
        with contextlib.suppress(AudioError), translated("read"):  # who only listens breaks nothing
            self._listen(frame)
        self._sync()

    def copy(self, packet: Packet, *, mend: bool = False) -> None:
        """Take a packet over; `Chained` when time runs backwards, as it does where another Ogg stream begins.

        With `mend` its time is put behind what is there instead.
        """
        assert packet.pts is not None
        if packet.pts + self._shift < self._next:
            if not mend:
                raise Chained
            self._shift = self._next - packet.pts
        packet.pts = packet.dts = packet.pts + self._shift
        self._next = packet.pts + 1
        if packet.time_base:
            self._frames = int((packet.pts + (packet.duration or 0)) * packet.time_base * RATE)
        packet.stream = self._stream
        with translated("write"):
            self._file.mux(packet)
        self._sync()

    def close(self) -> None:
        with translated("write"):
            if self._encoding:
                self._file.mux(self._stream.encode(None))
            self._file.close()

    def abandon(self) -> None:
        """Close the file after something failed, whatever is still inside of it."""
        with contextlib.suppress(AudioError, LibraryError), translated("write"):
            self._file.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close() if kind is None else self.abandon()

    def _sync(self) -> None:
        if self._live and self._frames - self._synced >= _SYNC_EVERY:
            self._synced = self._frames
            with files.as_library_error("write the recording"):
                files.sync_file(self._path)


class Recording:
    """An encoder on a thread of its own, so that nothing it waits for ever stops the microphone."""

    def __init__(
        self,
        path: Path,
        words: Words,
        sound: Sound,
        *,
        on_samples: Callable[[bytes], None] = lambda _samples: None,
        listen: Listen = lambda _frame: None,
    ) -> None:
        self.error: AudioError | LibraryError | None = None  # set once the encoder has failed and takes no more
        self._writer = Writer(path, words, sound, live=True, listen=listen)
        self._sound, self._on_samples = sound, on_samples
        self._blocks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def write(self, block: bytes) -> None:
        """Queue interleaved native float32 samples at 48 kHz; never waits."""
        self._blocks.put(block)

    @property
    def duration(self) -> float:
        """Seconds of audio encoded so far."""
        return self._writer.duration

    def close(self) -> None:
        """Encode what is queued and end the file; a failure is in `error`."""
        self._blocks.put(None)
        self._thread.join()

    def _run(self) -> None:
        failure: AudioError | LibraryError | None = AudioError("the encoder failed: a bug, told above")
        try:
            with translated("write"):
                self._encode()
            failure = None
        except (AudioError, LibraryError) as error:
            failure = error
        finally:  # whatever it was: nobody may believe that this goes on
            self.error = failure
            if failure:
                self._writer.abandon()

    def _encode(self) -> None:
        import av

        size = 4 * self._sound.channels
        pending = bytearray()
        ended = False
        while not ended:
            block = self._blocks.get()
            ended = block is None
            pending += block or b""
            while len(pending) >= FRAMES_AT_ONCE * size or (ended and pending):
                samples = min(len(pending) // size, FRAMES_AT_ONCE)
                taken = bytes(pending[: samples * size])
                del pending[: samples * size]
                frame = av.AudioFrame(format="flt", layout=layout(self._sound), samples=samples)
                frame.planes[0].update(taken.ljust(frame.planes[0].buffer_size, b"\0"))
                frame.sample_rate = RATE
                self._writer.encode(frame)
                self._on_samples(taken)
        self._writer.close()
