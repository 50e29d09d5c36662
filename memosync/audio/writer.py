"""WebM as it is written: by an encoder, which has a thread of its own while the microphone is on, or packet by packet.

The neighbour of `webm` in the room that owns PyAV.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..errors import AudioError, LibraryError
from ..memo import Words
from . import opus
from .carried import NOTHING, Carried, to_chapters, to_matroska
from .resampling import Resampler
from .tags import to_tags
from .webm import FINISHED, RATE, Sound, finish, layout, make_place, put_length, skipped, translated

if TYPE_CHECKING:
    import av

    from .webm import Packet, Tap

FRAMES_AT_ONCE = 9_600  # fed to the encoder, 0.2 s: half of that costs a tenth more, as its caches are cold each time
_LIVE = {"flush_packets": "1", "cluster_time_limit": "300"}  # without these FFmpeg keeps everything in memory
_OPTIONS = {"application": "voip", "frame_duration": "20", "compression_level": "10"}
_SYNC_EVERY = 5 * RATE  # frames
_HEARD_AT_ONCE = 100  # packets, 2 s: that they are decoded one by one costs 3 % more, for the same reason


class Writer:
    """A WebM file being written: Opus packets, encoded here or copied from a source."""

    def __init__(
        self,
        path: Path,
        words: Words,
        sound: Sound,
        *,
        carried: Carried = NOTHING,  # what is to be in it besides the words
        template: av.AudioStream | None = None,  # Opus, whose packets are to be copied; what is encoded goes behind
        live: bool = False,  # every 0.3 s reaches the disk: kill -9 costs no more
        tap: Tap | None = None,  # is given what was encoded, decoded again: what a listener will get
    ) -> None:
        """Create the file; AudioError when FFmpeg cannot, LibraryError when the disk refuses."""
        import av

        self._tick = Fraction(1, RATE)
        self._path, self._live, self._copies, self._tap = path, live, template is not None, tap
        self._sound = sound if template is None else Sound(template.codec_context.channels, sound.bitrate)
        self._unheard: list[Packet | None] = []  # of the encoder, which the tap waits for; None ends them
        self._words, self._carried, self._written = words, carried, carried
        self._frames = self._synced = 0  # frames that went in
        self._copied = 0  # samples in packets that were copied, or encoded behind them
        self._encoder: av.AudioCodecContext | None = None  # of what follows copied packets
        skip = opus.pre_skip(template.codec_context.extradata) if template else None
        self._begin = -(opus.PRE_SKIP if skip is None else skip)  # the time of the first copied packet, in samples
        make_place(path)
        with translated("write"):
            self._file = av.open(path, "w", format="webm", options=_LIVE if live else FINISHED)
            self._file.metadata.update(to_tags(words) | to_matroska(carried, words))
            self._file.set_chapters(to_chapters(carried))
            if template is None or skip is None:  # an encoder writes the head where there is none
                shape = layout(self._sound)
                stream = self._file.add_stream(
                    "libopus", rate=RATE, layout=shape, bit_rate=sound.bitrate, options=_OPTIONS
                )
            else:
                stream = self._file.add_stream_from_template(template)
            self._stream = stream
            self._file.start_encoding()
            if tap:
                self._decoder = av.CodecContext.create("opus", "r")
                self._decoder.extradata = stream.codec_context.extradata

    def move_chapters(self, ahead: Sequence[tuple[float, float]]) -> Carried | None:
        """Let chapters begin where they are heard (`Carried.moved`), once that is known; None where nothing changed."""
        self._carried = self._carried.moved(ahead)
        return self._carried if self._carried != self._written else None

    @property
    def duration(self) -> float:
        """Seconds of audio that were given to it so far."""
        return self._frames / RATE

    @property
    def sound(self) -> Sound:
        """How frames have to be that are encoded into it: copied packets decide."""
        return self._sound

    def encode(self, frame: av.AudioFrame) -> None:
        """Encode a frame, 48 kHz float with the channels of `sound`; AudioError, or LibraryError of the disk."""
        frame.pts, frame.time_base = self._frames, self._tick
        self._frames += frame.samples
        with translated("write"):
            if self._copies:
                self._append(self._encoder_behind().encode(frame))
            else:
                self._mux(self._stream.encode(frame))
        self._sync()

    def copy(self, packet: Packet) -> None:
        """Copy a packet to where the one before ends, whatever it says of time; ValueError for one that is broken.

        AudioError, or LibraryError of the disk.
        """
        samples = opus.samples(bytes(packet))
        self._end_encoder()
        with translated("write"):
            self._place(packet, samples)
        self._frames = max(0, self._copied + self._begin - skipped(packet)[1])
        self._sync()

    def _place(self, packet: Packet, samples: int) -> None:
        packet.pts = packet.dts = self._begin + self._copied
        packet.duration, packet.time_base = samples - skipped(packet)[1], self._tick
        self._copied += samples
        packet.stream = self._stream
        self._file.mux_one(packet)

    def _append(self, packets: Sequence[Packet]) -> None:
        for packet in packets:
            self._place(packet, opus.samples(bytes(packet)))

    def _encoder_behind(self) -> av.AudioCodecContext:
        """Give an encoder whose packets go behind copied ones."""
        import av

        if self._encoder is None:
            encoder = av.CodecContext.create("libopus", "w")
            encoder.sample_rate, encoder.format, encoder.layout = RATE, "flt", layout(self._sound)
            encoder.bit_rate, encoder.options, encoder.time_base = self._sound.bitrate, dict(_OPTIONS), self._tick
            self._encoder = encoder
        return self._encoder

    def _end_encoder(self) -> None:
        if self._encoder:
            with translated("write"):
                self._append(self._encoder.encode(None))
            self._encoder = None

    def close(self) -> None:
        """Write what the encoder still holds, and end the file; AudioError, or LibraryError of the disk.

        Where chapters are after its end, or were moved, it is written once more, unless it is `live`: then `finish`
        does it, which has to be given those that were moved.
        """
        self._end_encoder()
        with translated("write"):
            if not self._copies:
                self._mux(self._stream.encode(None))
                self._listen(None)
            self._file.close()
        if self._copies and not self._live:
            put_length(self._path, self.duration, -self._begin)
        if self._frames and not self._live and self._carried.until(self.duration) != self._written:
            half = self._path.with_suffix(".half")
            try:
                finish(self._path, half, self._words, self._carried.until(self.duration))
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
            self._file.mux_one(packet)
        self._listen(*packets)

    def _listen(self, *packets: Packet | None) -> None:
        """Decode what was encoded for the tap, which breaks nothing: the first failure ends it, not the recording."""
        if self._tap:
            self._unheard += packets
        if not self._tap or (None not in packets and len(self._unheard) < _HEARD_AT_ONCE):
            return
        unheard, self._unheard = self._unheard, []
        try:
            with translated("read"):
                for packet in unheard:
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
        rate: int = RATE,  # Hz, of what is written
        channels: int | None = None,  # of what is written; those of the memo
        on_samples: Callable[[bytes], None] = lambda _samples: None,  # is given each block, as it was written
        promptly: bool = True,  # as soon as it was, and not once there is enough to encode: that wakes more often
        tap: Tap | None = None,  # is given it as a listener will get it
    ) -> None:
        self.error: AudioError | LibraryError | None = None  # set once the encoder has failed and takes no more
        self._writer = Writer(path, words, sound, live=True, tap=tap)
        self._rate, self._channels, self._on_samples = rate, channels or sound.channels, on_samples
        self._resampler = Resampler(rate, self._channels, sound)
        self._at_once = 4 * self._channels * (FRAMES_AT_ONCE * rate // RATE)  # bytes
        self._blocks: deque[bytes] = deque()
        self._unheard = 0  # bytes since the encoder was last woken
        self._enough = 1 if promptly else self._at_once
        self._bell: queue.SimpleQueue[bool] = queue.SimpleQueue()  # wakes the encoder; True: that was all
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def write(self, block: bytes) -> None:
        """Queue interleaved native float32 samples of the rate and the channels that were named; never waits."""
        self._blocks.append(block)
        self._unheard += len(block)
        if self._unheard >= self._enough:
            self._unheard %= self._enough
            self._bell.put(False)

    @property
    def duration(self) -> float:
        """Seconds of audio encoded so far."""
        return self._writer.duration

    @property
    def standing_in(self) -> int | None:
        """The channel, from 0, that is encoded alone because a mix of all cancels itself out; None while none is."""
        return self._resampler.standing_in

    @property
    def inverted(self) -> tuple[int, ...]:
        """The channels, from 0, that are mixed inverted because they would cancel others."""
        return self._resampler.inverted

    def close(self) -> None:
        """Encode what is queued and end the file; a failure is in `error`."""
        self._bell.put(True)
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
        pending = bytearray()
        ended = False
        while not ended:
            ended = self._bell.get()
            for _ in range(len(self._blocks)):  # of those that come meanwhile the bell tells, or nobody wants them
                block = self._blocks.popleft()
                self._on_samples(block)
                pending += block
                while len(pending) >= self._at_once:
                    self._take(pending, self._at_once)
        if pending:
            self._take(pending, len(pending))
        for frame in self._resampler.flush():
            self._writer.encode(frame)
        self._writer.close()

    def _take(self, pending: bytearray, size: int) -> None:
        """Encode so many bytes of what is pending, in whole frames."""
        taken = bytes(pending[:size])
        del pending[:size]
        for frame in self._resampler.feed(taken):
            self._writer.encode(frame)
