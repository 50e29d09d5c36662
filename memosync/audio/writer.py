"""WebM as it is written: by an encoder, which has a thread of its own while the microphone is on, or packet by packet.

The neighbour of `webm` in the room that owns PyAV.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..errors import AudioError, LibraryError
from ..memo import Words
from .carried import NOTHING, Carried, to_chapters, to_matroska
from .tags import to_tags
from .webm import FINISHED, RATE, Sound, finish, layout, translated

if TYPE_CHECKING:
    import av

    from .webm import Packet, Tap

FRAMES_AT_ONCE = 4_800  # fed to the encoder: 0.1 s
_LIVE = {"flush_packets": "1", "cluster_time_limit": "400"}  # without these FFmpeg keeps everything in memory
_SYNC_EVERY = 5 * RATE  # frames
_NONE = -(2**62)  # before any time of a packet


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
        carried: Carried = NOTHING,  # what is to be in it besides the words
        template: av.AudioStream | None = None,  # copy the packets of this stream instead of encoding
        live: bool = False,  # every 0.4 s reaches the disk: kill -9 costs no more
        tap: Tap | None = None,  # is given what was encoded, decoded again: what a listener will get
    ) -> None:
        """Create the file; AudioError when FFmpeg cannot, LibraryError when the disk refuses."""
        import av

        self._tick = Fraction(1, RATE)
        self._path, self._live, self._encoding, self._tap = path, live, template is None, tap
        self._words, self._carried = words, carried
        self._frames = self._synced = 0  # frames that went in
        self._shift, self._next = 0, _NONE  # of copied packets, in units of the stream's time base
        with translated("write"):
            self._file = av.open(path, "w", format="webm", options=_LIVE if live else FINISHED)
            self._file.metadata.update(to_tags(words) | to_matroska(carried, words))
            self._file.set_chapters(to_chapters(carried))
            if template is None:
                options = {"application": "voip", "frame_duration": "20", "compression_level": "10"}
                shape = layout(sound)
                stream = self._file.add_stream(
                    "libopus", rate=RATE, layout=shape, bit_rate=sound.bitrate, options=options
                )
            else:
                stream = self._file.add_stream_from_template(template)
            self._stream = stream
            self._file.start_encoding()
            if tap:
                self._decoder = av.CodecContext.create("opus", "r")
                self._decoder.extradata = stream.codec_context.extradata

    @property
    def duration(self) -> float:
        """Seconds of audio that were given to it so far."""
        return self._frames / RATE

    def encode(self, frame: av.AudioFrame) -> None:
        """Encode a frame, 48 kHz float with the channels of this file; AudioError, or LibraryError of the disk."""
        frame.pts, frame.time_base = self._frames, self._tick
        self._frames += frame.samples
        with translated("write"):
            self._mux(self._stream.encode(frame))
        self._sync()

    def copy(self, packet: Packet, *, mend: bool = False) -> None:
        """Copy a packet; `Chained` when its time is before the last one's, as where another Ogg stream begins.

        A first one that is late is moved to the beginning, and all others with it. With `mend` one that is too early
        is moved behind the last one instead. AudioError, or LibraryError of the disk.
        """
        assert packet.pts is not None
        if self._next == _NONE:
            self._shift = min(0, -packet.pts)
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
        """Write what the encoder still holds, and end the file; AudioError, or LibraryError of the disk.

        Where chapters are after its end it is written once more, unless it is `live`: then `finish` does it.
        """
        with translated("write"):
            if self._encoding:
                self._mux(self._stream.encode(None))
                self._listen(None)
            self._file.close()
        if not self._live and self._carried.until(self.duration) != self._carried:
            half = self._path.with_suffix(".half")
            try:
                finish(self._path, half, self._words)
                with files.as_library_error("write the audio"):
                    files.move(half, self._path)
            finally:
                half.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Close the file after a failure, without what the encoder still holds."""
        with contextlib.suppress(AudioError, LibraryError), translated("write"):
            self._file.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close() if kind is None else self.abandon()

    def _mux(self, packets: Sequence[Packet]) -> None:
        for packet in packets:
            self._listen(packet)
            self._file.mux_one(packet)

    def _listen(self, packet: Packet | None) -> None:
        """Decode what was encoded for the tap, which breaks nothing: the first failure ends it, not the recording."""
        if self._tap:
            try:
                with translated("read"):
                    for frame in self._decoder.decode(packet):
                        self._tap(frame)
            except AudioError:
                self._tap = None

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
        on_samples: Callable[[bytes], None] = lambda _samples: None,  # is given what was encoded, as it was written
        tap: Tap | None = None,  # is given it as a listener will get it
    ) -> None:
        self.error: AudioError | LibraryError | None = None  # set once the encoder has failed and takes no more
        self._writer = Writer(path, words, sound, live=True, tap=tap)
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
