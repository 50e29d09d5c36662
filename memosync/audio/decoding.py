"""Sound in whatever form it comes, as packets or as blocks of samples, with all the damage that can be got around.

Three read it: libsndfile the files of WAV's family, `pcm` what of it comes through a pipe or contradicts its own
header, FFmpeg everything else. The neighbour of `webm` in the room that owns PyAV.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from ..errors import AudioError
from ..memo import Words
from ..quantities import format_clock
from . import pcm
from .carried import NOTHING, Carried, carried_of
from .tags import words_of
from .webm import Reader, open_input, skipped, translated

if TYPE_CHECKING:
    import av
    import av.container
    import soundfile

    from .mixing import Block
    from .webm import Packet

    Shape = tuple[tuple[str, ...], int]  # the names of the channels, as `Mixer` takes them, and Hz

FORMATS = (  # of FFmpeg, that have sound in them and name no other file
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dss,dts,eac3,flac,flv,g722,g726,g723_1,gsm,iff,ircam,"
    "latm,loas,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nut,ogg,oma,qcp,rm,shn,sox,tta,tak,voc,w64,wav,"
    "webm,wsd,wv,xwma"
)
_RIFFS = {(b"RIFF", b"WAVE"), (b"RF64", b"WAVE"), (b"FORM", b"AIFF"), (b"FORM", b"AIFC")}
_FAMILY = "aiff,au,w64,wav"  # what libsndfile reads here
_SUBTYPES = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")  # of it; FFmpeg knows more codecs
_KNOWN = {  # how files begin that are audio, or could be taken for it
    b"OggS": "Ogg",
    b"fLaC": "FLAC",
    b"ID3": "MP3",
    b"caff": "CAF",
    b".snd": "AU",
    b"#!AMR": "AMR",
    b"RIFF": "WAV or AVI",
    b"RF64": "WAV",
    b"FORM": "AIFF",
    b"MThd": "MIDI, which is notes and no sound",
    b"\x1a\x45\xdf\xa3": "WebM or Matroska",
    b"\x1f\x43\xb6\x75": "a part of a WebM without its beginning",
    b"\x30\x26\xb2\x75": "WMA",
}
_GAP, _SLACK = 0.1, 0.015  # seconds: a smaller jump of the clock is none; of Opus, whose packets know their length
_PATIENCE, _FOLLOWS = 25, 0.1  # packets after which a jump is one for good; how fast its slow drift is followed
_BROKEN_RUN = 1_000  # errors in a row after which a file has no more to give
_TOLD = 5  # places of damage that are told one by one


class Pipe(Protocol):
    """What cannot seek, but can be looked at ahead."""

    def read(self, size: int, /) -> bytes:
        """Give up to `size` bytes, none at the end."""

    def peek(self, size: int, /) -> bytes:
        """Give the next `size` bytes without taking them; fewer where it ends."""


class Damage:
    """What could not be had of a source, and where: places and lengths in seconds."""

    def __init__(self) -> None:
        self._broken: list[tuple[float, float]] = []
        self._missing: list[tuple[float, float]] = []

    def hit(self, at: float, length: float | None) -> None:
        """Note that something could not be read; None where nobody knows how much."""
        self._note(self._broken, at, length or 0.0)

    def miss(self, at: float, length: float) -> None:
        """Note a hole in the source."""
        self._note(self._missing, at, length)

    def excuse(self) -> str:
        """Say why there is no sound at all, nothing where no damage is known."""
        return "its sound cannot be decoded: all of it is damaged" if self._broken else ""

    def told(self) -> Iterator[str]:
        """Say it, a line for each kind."""
        if self._broken:
            yield f"damaged: {self._places(self._broken)} could not be read; all else is saved"
        if self._missing:
            yield f"holes in the source: {self._places(self._missing)} are missing there, and left out"

    @staticmethod
    def _note(places: list[tuple[float, float]], at: float, length: float) -> None:
        if places and at - places[-1][0] < 0.5:
            at, length = places[-1][0], places.pop()[1] + length
        places.append((at, length))

    @staticmethod
    def _places(places: list[tuple[float, float]]) -> str:
        told = [
            f"{length:.2f} s at {format_clock(at)}" if length else f"something at {format_clock(at)}"
            for at, length in places
        ]
        more = len(told) - _TOLD
        return ", ".join(told[:_TOLD]) + (f" and {more} places more" if more > 0 else "")


class _Clock:
    """Compare a source's clock with how long its packets take: where it runs ahead for good, something is missing.

    A browser's clock jitters by some packets and comes back.
    """

    def __init__(self, damage: Damage, now: Callable[[], float], slack: float) -> None:
        self._damage, self._now, self._slack = damage, now, slack
        self._passed = 0.0  # seconds that the packets took so far
        self._base: float | None = None  # how far the clock is ahead of that
        self._ahead: list[float] = []  # how far the last packets are ahead of it, all of them more than the slack
        self._since = 0.0

    def tick(self, at: float, duration: float) -> None:
        """Take the time of the next packet, and how long it is (seconds)."""
        ahead = at - self._passed
        self._passed += duration
        base = ahead if self._base is None else self._base
        if ahead - base <= self._slack:
            self._base = base + (ahead - base) * _FOLLOWS if ahead > base else ahead
            self._ahead = []
            return
        self._since = self._since if self._ahead else self._now()
        self._ahead.append(ahead - base)
        if len(self._ahead) >= _PATIENCE:
            self.end()

    def end(self) -> None:
        """Note what is missing where the clock did not come back."""
        if self._ahead and self._base is not None:
            self._damage.miss(self._since, min(self._ahead))
            self._base += min(self._ahead)
            self._ahead = []


class Source:
    """A source that was opened: its words, and its sound in packets or in blocks of samples."""

    is_opus = False  # in one or two channels: its packets can be copied
    stream: av.AudioStream | None = None
    channels = 0

    def __init__(self, words: Words, carried: Carried, duration: float | None) -> None:
        self.words, self.carried = words, carried
        self.duration = duration  # seconds, as the source says; None where it does not
        self.tracks = [0]  # that have sound which can be decoded
        self.track = 0

    def blocks(self, seconds: float, damage: Damage, now: Callable[[], float]) -> Iterator[tuple[Shape, Block]]:
        """Give samples (channels x frames), about so many seconds at a time, and what they are."""
        raise NotImplementedError

    def packets(self, damage: Damage, now: Callable[[], float]) -> Iterator[Packet]:
        """Give the packets."""
        raise NotImplementedError

    def decode(self, packet: Packet) -> list[av.AudioFrame]:
        """Decode one of the packets."""
        raise NotImplementedError


class _Decoded(Source):
    """What FFmpeg reads."""

    def __init__(self, container: av.container.InputContainer, track: int | None) -> None:
        streams = [stream for stream in container.streams.audio if _can_be(stream)]
        if not streams:
            raise AudioError(_without_sound(container))
        first = next((stream for stream in streams if stream.disposition & 1), streams[0])  # 1: the default one
        stream = next((stream for stream in streams if stream.index == track), first)
        super().__init__(
            words_of(container, stream), carried_of(container, stream), (container.duration or 0) / 1_000_000 or None
        )
        self.tracks, self.track = [stream.index for stream in streams], stream.index
        self.stream, self.channels = stream, stream.codec_context.channels
        self.is_opus = stream.codec_context.name in ("opus", "libopus") and self.channels <= 2
        self._container = container

    def blocks(self, seconds: float, damage: Damage, now: Callable[[], float]) -> Iterator[tuple[Shape, Block]]:
        import av

        kind: tuple[str, int, str] | None = None
        shape: Shape = (), 0
        packer: av.AudioResampler | None = None  # FFmpeg puts frames together with less ado than NumPy
        for frame in chain(self._frames(damage, now), (None,)):
            found = (frame.layout.name, frame.sample_rate, frame.format.name) if frame else None
            if packer and found != kind:
                with translated("read"):
                    rest = packer.resample(None)
                yield from ((shape, block_of(piece)) for piece in rest)
            if not frame:
                return
            if found != kind:
                kind, shape = found, (names_of(frame.layout), frame.sample_rate)
                size = round(seconds * frame.sample_rate) or 1
                packer = av.AudioResampler("flt", frame.layout, frame.sample_rate, frame_size=size)
            assert packer
            with translated("read"):
                whole = packer.resample(frame)
            yield from ((shape, block_of(piece)) for piece in whole)

    def packets(self, damage: Damage, now: Callable[[], float]) -> Iterator[Packet]:
        """Give all packets that are not empty; what cannot be read costs no more than itself.

        Only of the last one the end may be cut off: wrong times in an Ogg have FFmpeg do so with others.
        """
        held: Packet | None = None
        for packet in self._demuxed(damage, now):
            if held:
                yield _whole(held)
            held = packet if skipped(packet)[1] else None
            if not held:
                yield packet
        if held:
            yield held

    def _demuxed(self, damage: Damage, now: Callable[[], float]) -> Iterator[Packet]:
        import av

        assert self.stream
        broken, unit = 0, float(self.stream.time_base or 0)
        clock = _Clock(damage, now, _SLACK if self.is_opus else _GAP)
        demuxed = self._container.demux(self.stream)
        while broken < _BROKEN_RUN:
            try:
                packet = next(demuxed, None)
            except (av.error.InvalidDataError, av.error.PatchWelcomeError):
                broken += 1
                if broken == 1:
                    damage.hit(now(), None)
                demuxed = self._container.demux(self.stream)  # which goes on behind it
                continue
            if packet is None:
                clock.end()
                return
            if not packet.size:
                continue
            broken = 0
            if packet.pts is not None and packet.duration:
                clock.tick(packet.pts * unit, packet.duration * unit)
            yield packet

    def decode(self, packet: Packet) -> list[av.AudioFrame]:
        assert self.stream
        return self.stream.codec_context.decode(packet)

    def _frames(self, damage: Damage, now: Callable[[], float]) -> Iterator[av.AudioFrame]:
        import av

        assert self.stream
        with translated("read"):
            for packet in chain(self.packets(damage, now), (None,)):
                try:
                    yield from self.stream.codec_context.decode(packet)
                except (av.error.InvalidDataError, av.error.PatchWelcomeError):
                    if packet:
                        damage.hit(now(), float((packet.duration or 0) * (packet.time_base or 0)) or None)


@dataclass(frozen=True, slots=True)
class _Said:
    """What a file says of itself besides its sound."""

    words: Words = Words()  # noqa: RUF009
    carried: Carried = NOTHING
    names: tuple[str, ...] = ()  # of its channels


class _Plain(Source):
    """Samples behind a header that `pcm` read."""

    def __init__(self, said: _Said, found: pcm.Pcm, read: Callable[[int], bytes]) -> None:
        length = None if found.length is None else found.length / found.frame / found.rate
        super().__init__(said.words, said.carried, length)
        self._pcm, self._read = found, read

    def blocks(self, seconds: float, damage: Damage, now: Callable[[], float]) -> Iterator[tuple[Shape, Block]]:
        for block in pcm.blocks(self._pcm, self._read, round(seconds * self._pcm.rate) or 1):
            yield (self._pcm.names, self._pcm.rate), block


class _Sndfile(Source):
    """What libsndfile reads."""

    def __init__(self, said: _Said, sound: soundfile.SoundFile, names: tuple[str, ...]) -> None:
        super().__init__(said.words, said.carried, sound.frames / sound.samplerate)
        self._sound = sound
        self._names = names if len(names) == sound.channels else ("",) * sound.channels

    def close(self) -> None:
        self._sound.close()

    def blocks(self, seconds: float, damage: Damage, now: Callable[[], float]) -> Iterator[tuple[Shape, Block]]:
        rate = self._sound.samplerate
        while len(block := self._sound.read(round(seconds * rate) or 1, dtype="float32", always_2d=True)):
            yield (self._names, rate), block.T


@contextlib.contextmanager
def open_source(file: Reader, track: int | None = None) -> Iterator[Source]:
    """Open a source from its beginning, with whoever reads it best; a pipe has to be a `Pipe`.

    `track` is the number of a stream; where none is given it is the one that the file calls its default, or the first
    that can be decoded. AudioError, which says what it is, where it cannot be read.
    """
    if file.seekable():
        seekable = cast("BinaryIO", file)
        seekable.seek(0)
        begin = seekable.read(64)
        if opened := _open_plain(seekable, begin):
            with opened as source:
                yield source
            return
        seekable.seek(0)
        ahead = {"max_size": "32768"}  # of a WAV FFmpeg gives 4 KiB at a time else
    else:
        pipe = cast("Pipe", file)
        begin = pipe.peek(64)
        if found := pcm.parse(pipe.peek):
            said = _described(io.BytesIO(pipe.read(found.start) + bytes(64 * found.frame)))
            yield _Plain(said, found, pipe.read)
            return
        # FFmpeg must not read seconds ahead, which kill -9 would take along; of FLAC it holds ten frames back all the
        # same, 0.9 s at 48 kHz
        ahead = {"analyzeduration": "1", "max_probe_packets": "1"}
    with contextlib.ExitStack() as stack:
        try:
            container = stack.enter_context(open_input(file, FORMATS, None, **ahead))
        except AudioError as error:
            raise AudioError(_what_it_is(begin)) from error
        yield _Decoded(container, track)


def _open_plain(file: BinaryIO, begin: bytes) -> contextlib.AbstractContextManager[Source] | None:
    """Open a file of WAV's family; None for another one, and where FFmpeg alone knows its codec."""
    kind = begin[:4], begin[8:12]
    if kind[0] not in (b".snd", b"riff") and kind not in _RIFFS:
        return None
    import soundfile

    said = _described(file)
    found = pcm.parse(lambda size: _read_at(file, 0, size))
    if found:
        found = pcm.corrected(found, file.seek(0, io.SEEK_END), lambda at, size: _read_at(file, at, size))
    sound = None
    with contextlib.suppress(soundfile.SoundFileError):
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        sound = soundfile.SoundFile(file.fileno(), closefd=False)
    possible = sound and sound.samplerate in pcm.RATES and sound.channels <= pcm.CHANNELS
    if sound and possible and sound.subtype.startswith(_SUBTYPES):
        if not found or (found.length == sound.frames * found.frame and not found.is_narrow):
            return contextlib.closing(_Sndfile(said, sound, found.names if found else said.names))
        sound.close()
    if found:
        file.seek(found.start)
        return contextlib.nullcontext(_Plain(said, found, file.read))
    return None


def _read_at(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)


def _described(file: BinaryIO) -> _Said:
    """Have FFmpeg read what a file of WAV's family says of itself."""
    with contextlib.suppress(AudioError):
        file.seek(0)
        with open_input(file, _FAMILY, None) as container:
            for stream in filter(_can_be, container.streams.audio):
                names = names_of(stream.codec_context.layout)
                return _Said(words_of(container, stream), carried_of(container, stream), names)
    return _Said()


def names_of(layout: av.AudioLayout) -> tuple[str, ...]:
    """Name the channels, `""` each where their order is a guess."""
    names = [channel.name for channel in layout.channels]
    return tuple("" if name in ("NONE", "UNSD", "") else name for name in names)


def block_of(frame: av.AudioFrame) -> Block:
    """Give the samples of a frame of any format: channels x frames, 1.0 is full scale.

    It must not have 8 planes or more: of exactly 8 PyAV 18.1 reads a ninth, and falls.
    """
    import numpy as np

    data = frame.to_ndarray()
    if not frame.format.is_planar:
        data = data.reshape(-1, frame.layout.nb_channels).T
    if data.dtype == np.uint8:
        return (data.astype(np.float32) - 128) / np.float32(128)
    if data.dtype.kind == "i":
        return data.astype(np.float32) / np.float32(2 ** (8 * data.dtype.itemsize - 1))
    return data.astype(np.float32, copy=False)


def _whole(packet: Packet) -> Packet:
    """Give a packet of which a decoder throws nothing away."""
    import av

    whole = cast("Packet", av.Packet(bytes(packet)))
    whole.pts, whole.dts, whole.duration, whole.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    return whole


def _can_be(stream: av.AudioStream) -> bool:
    """Tell whether FFmpeg has a decoder for a track, and its numbers make sense."""
    codec = stream.codec_context
    if codec is None:
        return False
    return not codec.sample_rate or (codec.sample_rate in pcm.RATES and codec.channels <= pcm.CHANNELS)


def _without_sound(container: av.container.InputContainer) -> str:
    tracks = len(container.streams.audio)
    if tracks:
        return f"it is {container.format.long_name}, and FFmpeg can decode none of its {tracks} audio tracks"
    return f"there is no sound in it, it is {container.format.long_name}"


def _what_it_is(begin: bytes) -> str:
    """Say what it is that begins like audio and cannot be read."""
    if not begin:
        return "there is no sound in it, nor anything else"
    if begin[4:8] in (b"ftyp", b"mdat", b"wide", b"moov"):
        return "it is MP4 or QuickTime whose index (moov) is missing: the recorder did not end it, or it was cut off"
    for magic, name in _KNOWN.items():
        if begin.startswith(magic):
            return f"it begins like {name}, but nothing in it can be read: it is damaged, or cut off"
    return "not audio, as far as FFmpeg knows"
