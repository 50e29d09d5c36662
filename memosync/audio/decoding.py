"""Sound in whatever form it comes, as packets or as blocks of samples, with all the damage that can be got around.

Three read it: libsndfile the files of WAV's family, `pcm` what of it comes through a pipe or contradicts its own
header, FFmpeg everything else. The neighbour of `webm` in the room that owns PyAV.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, cast

from ..errors import AudioError
from ..memo import Words
from . import headers, opus, pcm
from .carried import Carried
from .chains import AsPipe, Part
from .damage import Clock, Damage
from .formats import FORMATS, headerless, is_free_format, what_it_is
from .id3 import behind_id3
from .metadata import Overlooked, Said, can_be, names_of, overlooked_in, said_by, said_by_mp3
from .webm import Reader, open_input, skipped, translated

if TYPE_CHECKING:
    import av
    import av.container
    import soundfile

    from .chains import Peeking
    from .mixing import Block
    from .webm import Packet

    Shape = tuple[tuple[str, ...], int]  # the names of the channels, as `Mixer` takes them, and Hz

_FORMS = {(b"FORM", b"AIFF"), (b"FORM", b"AIFC")} | headers.WAVES
_SUBTYPES = (  # of it; FFmpeg knows more codecs, but takes NMS for AMR and makes G.72x 1.8 dB louder
    *("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW"),
    *("NMS_ADPCM_", "G721_", "G723_", "DWVW_"),
)
_KINDS = {pcm.PCM: "PCM_", pcm.FLOAT: ("FLOAT", "DOUBLE"), pcm.ALAW: "ALAW", pcm.ULAW: "ULAW"}
_OTHERS = {"AVR", "HTK", "MAT4", "MAT5", "MPC2K", "PAF", "PVF", "SDS", "WVE", "XI"}  # formats that it alone reads
_AMR = {"amrnb": 0x57, "amrwb": 0x58}  # FFmpeg takes NMS (0x38) and Voxware (0x77, 0x78) for it, too (mmreg.h)
_MPEG = ("mp3", "mp3float", "mp2", "mp2float", "mp1", "mp1float")  # of which FFmpeg (8.1) tells a new rate a frame late
_GAP, _SLACK = 0.1, 0.015  # seconds: a smaller jump of the clock is none; of Opus, whose packets know their length
_ENCRYPTED, _DECRYPT = "it is encrypted, and memosync has no key", "record a copy that plays everywhere"
_LONGEST = 0.12  # seconds of a packet of Opus (RFC 6716, 2.1.4); FFmpeg may count a broken one as a page of them
_BROKEN_RUN = 1_000  # errors in a row after which a file has no more to give


class Source:
    """A source that was opened: its words, and its sound in packets or in blocks of samples."""

    is_float = False  # samples as they were recorded, which may be louder than full scale
    is_opus = False  # in one or two channels: its packets can be copied
    stream: av.AudioStream | None = None
    head = b""  # what Opus says of how its packets are decoded
    remarks: Sequence[str] = ()  # what a person should know of how it is read

    def __init__(self, words: Words, carried: Carried, duration: float | None) -> None:
        self.words, self.carried = words, carried
        self.duration = duration  # seconds, as the source says; None where it does not
        self.tracks = [0]  # that have sound which can be decoded
        self.track = 0
        self.ahead: Sequence[tuple[float, float]] = [(0.0, 0.0)]  # as far as it was read (`Carried.moved`)

    def blocks(self, seconds: float, damage: Damage, now: Callable[[], float]) -> Iterator[tuple[Shape, Block]]:
        """Give samples (channels x frames), about so many seconds at a time, and what they are."""
        raise NotImplementedError

    def packets(self, damage: Damage, now: Callable[[], float]) -> Iterator[Packet]:
        """Give the packets."""
        raise NotImplementedError

    def decode(self, packet: Packet) -> list[av.AudioFrame]:
        """Decode one of the packets."""
        raise NotImplementedError

    @property
    def is_exact(self) -> bool:
        """Tell whether the duration is that of the sound, and no estimate."""
        return False

    @property
    def is_short(self) -> bool:
        """Tell, once all of it was read, whether its header counts more than its last packet does."""
        return False


class _Decoded(Source):
    """What FFmpeg reads."""

    def __init__(self, container: av.container.InputContainer, track: int | None, overlooked: Overlooked) -> None:
        sound = [stream for stream in container.streams.audio if can_be(stream) and not _is_guess(container, stream)]
        streams = [stream for stream in sound if not _is_encrypted(stream)]
        if sound and not streams:
            raise AudioError(_ENCRYPTED, _DECRYPT)
        if not streams:
            raise AudioError(_without_sound(container))
        first = next((stream for stream in streams if stream.disposition & 1), streams[0])  # 1: the default one
        stream = next((stream for stream in streams if stream.index == track), first)
        said = overlooked.read_by(container, stream)
        super().__init__(said.words, said.carried, (container.duration or 0) / 1_000_000 or None)
        self.tracks, self.track = [stream.index for stream in streams], stream.index
        self.stream, codec = stream, stream.codec_context
        self.is_opus = codec.name in ("opus", "libopus") and codec.channels <= 2
        if self.is_opus and self.duration:  # FFmpeg counts what a decoder throws away
            self.duration -= (opus.pre_skip(codec.extradata) or 0) / opus.RATE
        sample = codec.format.name if codec.format else ""  # damage may leave none
        self.is_float = codec.name.startswith("pcm_f") or (codec.name == "wavpack" and "flt" in sample)
        self.head = bytes([codec.channels]) + opus.decoding(codec.extradata)
        self._container = container
        self._end = 0.0  # of the last packet, by its clock, once that was read

    @property
    def is_exact(self) -> bool:
        assert self.stream
        begin = float((self.stream.start_time or 0) * (self.stream.time_base or 0))
        names, alone = self._container.format.name, len(self._container.streams) == 1
        if names == "wav" and self.stream.codec_context.name == "aac":  # without lengths FFmpeg finds little of it
            return True
        return alone and names in ("ogg", "matroska,webm") and abs(begin) < _GAP

    @property
    def is_short(self) -> bool:
        assert self.stream
        codec = self.stream.codec_context
        head = codec.extradata if self._container.format.name == "flac" else None
        samples = int.from_bytes(head[13:18], "big") % 2**36 if head else 0  # of STREAMINFO; 0: nobody knows
        return samples > 0 and self._end < samples / codec.sample_rate - _GAP

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
            cut = skipped(packet)[1]
            if self.is_opus and cut > opus.count_samples(memoryview(packet)):  # which decoders take for none
                packet, cut = _whole(packet), 0
            held = packet if cut else None
            if not held:
                yield packet
        if held:
            yield held

    def _demuxed(self, damage: Damage, now: Callable[[], float]) -> Iterator[Packet]:
        import av

        assert self.stream
        broken, unit, usual = 0, float(self.stream.time_base or 0), 0.0
        clock = Clock(damage, now, _SLACK if self.is_opus else _GAP)
        self.ahead, is_mp4 = clock.ahead, "mp4" in self._container.format.name
        demuxed, last = self._container.demux(self.stream), None
        while broken < _BROKEN_RUN:
            try:
                packet = next(demuxed, None)
            except av.FFmpegError:
                broken += 1
                if broken == 1:
                    damage.hit(now(), None)
                demuxed = self._container.demux(self.stream)  # which goes on behind it
                continue
            except IndexError:  # a track that begins midway, as damage or another file makes it
                broken += 1
                demuxed = self._container.demux(self.stream)
                continue
            if packet is None:
                clock.end()
                if last and last.pts is not None:
                    self._end = (last.pts + (last.duration or 0)) * unit
                return
            if not packet.size:
                continue
            if is_mp4 and packet.has_sidedata("encryption_info"):  # whose first seconds may be in the clear
                raise AudioError(_ENCRYPTED, _DECRYPT)
            broken, last = 0, packet
            if packet.pts is not None and packet.duration:
                clock.tick(packet.pts * unit, packet.duration * unit)
            if self.is_opus:
                usual = opus.count_samples(memoryview(packet)) / opus.RATE or usual
                if (packet.duration or 0) * unit > _LONGEST:
                    packet.duration = round(usual / unit)
            yield packet

    def decode(self, packet: Packet) -> list[av.AudioFrame]:
        assert self.stream
        return self.stream.codec_context.decode(packet)

    def _is_behind(self, packet: Packet) -> bool:
        """Tell whether something is no sound, but what FFmpeg takes along behind it: tags, or what fills up a chunk.

        Those of Wave64 are as long as multiples of eight bytes.
        """
        is_tag = bytes(packet).startswith((b"LYRICSBEGIN", b"ID3"))
        return is_tag or (self._container.format.name == "w64" and packet.size < 8)

    def _frames(self, damage: Damage, now: Callable[[], float]) -> Iterator[av.AudioFrame]:
        import av

        assert self.stream
        codec = self.stream.codec_context
        is_mpeg = codec.name in _MPEG
        with translated("read"):
            for packet in chain(self.packets(damage, now), (None,)):
                try:
                    frames = codec.decode(packet)
                    if is_mpeg and packet and (rate := _mpeg_rate(bytes(memoryview(packet)[:3]))):
                        for frame in frames:
                            frame.sample_rate = rate
                    yield from frames
                except av.FFmpegError:  # of whatever kind: some decoders give -1, or a number of their own
                    if packet and not self._is_behind(packet):
                        damage.hit(now(), float((packet.duration or 0) * (packet.time_base or 0)) or None)


class _Plain(Source):
    """Samples behind a header that `pcm` read."""

    def __init__(self, said: Said, found: pcm.Pcm, file: BinaryIO | Peeking) -> None:
        length = None if found.length is None else found.length / found.frame / found.rate
        super().__init__(said.words, said.carried, length)
        self._pcm, self._file = found, file
        self.is_float = found.kind == pcm.FLOAT
        self._names = said.names if not any(found.names) and len(said.names) == len(found.names) else found.names

    def blocks(self, seconds: float, damage: Damage, now: Callable[[], float]) -> Iterator[tuple[Shape, Block]]:
        ahead = {} if isinstance(self._file, io.IOBase) else {"peek": cast("Peeking", self._file).peek}
        for block in pcm.blocks(self._pcm, self._file.read, round(seconds * self._pcm.rate) or 1, **ahead):
            yield (self._names, self._pcm.rate), block


class _Sndfile(Source):
    """What libsndfile reads."""

    def __init__(self, said: Said, sound: soundfile.SoundFile, names: tuple[str, ...]) -> None:
        super().__init__(said.words, said.carried, sound.frames / sound.samplerate)
        self._sound = sound
        self.is_float = sound.subtype in ("FLOAT", "DOUBLE")
        self._names = names if len(names) == sound.channels else ("",) * sound.channels

    def close(self) -> None:
        self._sound.close()

    def blocks(self, seconds: float, damage: Damage, now: Callable[[], float]) -> Iterator[tuple[Shape, Block]]:
        import numpy as np

        rate = self._sound.samplerate
        kind, full = ("int16", 2**15) if self._sound.subtype == "PCM_16" else ("float32", 1)  # a third of the time
        while len(block := self._sound.read(round(seconds * rate) or 1, dtype=kind, always_2d=True)):
            samples = block.T.astype(np.float32, copy=False)
            yield (self._names, rate), samples / np.float32(full) if full > 1 else samples


@contextlib.contextmanager
def open_source(file: Reader, track: int | None = None) -> Iterator[Source]:
    """Open a source from its beginning, with whoever reads it best; a pipe has to be `Peeking`.

    `track` is the number of a stream; where none is given it is the one that the file calls its default, or the first
    that can be decoded. AudioError, which says what it is, where it cannot be read.
    """
    is_file = file.seekable()
    with _open_file(cast("BinaryIO", file), track) if is_file else _open_pipe(cast("Peeking", file), track) as source:
        yield source


def _open_file(file: BinaryIO, track: int | None) -> contextlib.AbstractContextManager[Source]:
    peek = headers.reading(file)
    if opened := _open_plain(file):
        return opened
    if is_free_format(peek):
        said = said_by_mp3(file)
        if free := _opened(file):
            return contextlib.closing(_Sndfile(said, free, ()))
    begin, end = peek(0, 64), file.seek(0, io.SEEK_END)
    overlooked, sound = overlooked_in(peek, end), headers.encoded(peek)
    length = sound.reach(end, peek) if sound else None
    seen: Reader = file
    if overlooked.behind.start < end:
        seen = Part(file, 0, overlooked.behind.start)
    file.seek(0)
    if sound and length != sound.length:
        seen = _Wave(file.read, sound, length)
    return _decoded(seen, track, begin, overlooked)


def _open_pipe(pipe: Peeking, track: int | None) -> contextlib.AbstractContextManager[Source]:
    def peek(at: int, size: int) -> bytes:
        return pipe.peek(size, at)

    begin = peek(0, 64)
    if found := headers.parse(peek):
        said = said_by(io.BytesIO(_taken(pipe.read, found.start) + bytes(64 * found.frame)))
        return contextlib.nullcontext(_Plain(said, found, pipe))
    overlooked, seen = overlooked_in(peek), cast("Reader", pipe)
    if sound := headers.encoded(peek):
        seen = _Wave(pipe.read, sound, sound.length, pipe.peek)
    hint = None if begin.startswith(b"OggS") else "some formats have to be read as a file: memosync record FILE"
    # FFmpeg must not read seconds ahead, which kill -9 would take along; of FLAC it holds ten frames back all the same,
    # 0.9 s at 48 kHz
    return _decoded(seen, track, begin, overlooked, hint, analyzeduration="1", max_probe_packets="20")


@contextlib.contextmanager
def _decoded(
    file: Reader, track: int | None, begin: bytes, overlooked: Overlooked, hint: str | None = None, **options: str
) -> Iterator[Source]:
    """Have FFmpeg open what begins so, or libsndfile what that alone knows; AudioError, which says what it is."""
    remarks = []
    if overlooked.unedited:
        options["ignore_editlist"] = "1"
        remarks.append(f"its edit list {overlooked.unedited}: all of it is saved")
    with contextlib.ExitStack() as stack:
        try:
            container = stack.enter_context(open_input(file, FORMATS, None, **options))
        except AudioError as error:
            if file.seekable() and (sound := _opened(cast("BinaryIO", file))) and sound.format in _OTHERS:
                yield stack.enter_context(contextlib.closing(_Sndfile(Said(), sound, ())))
                return
            if not (found := headerless(begin, str(getattr(file, "name", "")))):
                said, what_helps = what_it_is(begin, error.__cause__)
                raise AudioError(said, what_helps or hint) from error
            file.seek(0)
            options = {} if found.form == "g729" else {"sample_rate": str(found.rate)}
            container = stack.enter_context(open_input(file, found.form, found.form, **options))
            remarks.append(f"it has no header: by its name it is {found.called}, {found.rate} Hz")
        source = _Decoded(container, track, overlooked)
        source.remarks = remarks
        yield source


def _open_plain(file: BinaryIO) -> contextlib.AbstractContextManager[Source] | None:
    """Open a file of WAV's family; None for another one, and where FFmpeg alone knows its codec."""

    read_at = headers.reading(file)
    found = headers.parse(read_at)
    behind = behind_id3(read_at)
    begin = read_at(behind, 12)
    is_kin = begin[:4] in (b".snd", b"dns.") or begin.startswith(headers.W64) or (begin[:4], begin[8:]) in _FORMS
    if not is_kin and not (found and found.is_narrow):  # of CAF, FFmpeg reads the others
        return None
    seen: BinaryIO = file
    if found:
        claimed = found.length
        found = pcm.corrected(found, file.seek(0, io.SEEK_END), read_at)
        length = found.length or 0
        if claimed and claimed // found.frame * found.frame < length:  # FFmpeg would look for chunks in the sound
            seen = cast("BinaryIO", Part(file, 0, found.start + claimed))
    said = said_by(seen)
    if found and pcm.has_another(found, read_at(found.start + length + length % 2, 8)):
        file.seek(found.start)
        return contextlib.nullcontext(_Plain(said, found, AsPipe(file)))
    if (sound := _opened(file)) and sound.subtype.startswith(_SUBTYPES):
        # of an extensible Wave64 it (1.2.2) takes all for integers
        is_right = not begin.startswith(headers.W64)
        if found:
            is_right = sound.subtype.startswith(_KINDS[found.kind]) and not found.is_narrow
            is_right &= found.length == sound.frames * found.frame
        if is_right:
            return contextlib.closing(_Sndfile(said, sound, found.names if found else said.names))
        sound.close()
    if found:
        file.seek(found.start)
        return contextlib.nullcontext(_Plain(said, found, file))
    return None


def _opened(file: BinaryIO) -> soundfile.SoundFile | None:
    """Have libsndfile open a file; None where it cannot, or finds what cannot be."""
    import soundfile

    class OneWay(soundfile.SoundFile):  # type: ignore[misc, unused-ignore]
        """Read on, without a seek after each block, which libsndfile cannot do in DWVW."""

        def seekable(self) -> bool:
            return False

    file.seek(0)
    with contextlib.suppress(soundfile.SoundFileError):
        sound = OneWay(file if isinstance(file, Part) else file.fileno(), closefd=False)  # a part has no descriptor
        if sound.samplerate in pcm.RATES and sound.channels <= pcm.CHANNELS:
            return sound
        sound.close()
    return None


class _Wave:
    """A WAV whose header does not say how much sound there is, for FFmpeg, which believes it."""

    def __init__(
        self,
        read: Callable[[int], bytes],
        sound: pcm.Sound,
        length: int | None,  # bytes of sound; None: to the end
        peek: Callable[[int], bytes] = lambda _size: b"",
    ) -> None:
        self._read, self._peek, self._sound = read, peek, sound
        self._head = _taken(read, sound.start)[:-4] + b"\xff\xff\xff\xff"
        self._left = 2**62 if length is None else length

    def read(self, size: int, /) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        if not self._left and pcm.goes_on(self._sound.length or 0, self._sound.pad, self._peek):
            self._left = 2**62
        data = self._read(min(size, self._left))
        self._left -= len(data)
        return data

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0, /) -> int:
        raise io.UnsupportedOperation("it is read as it comes")


def _taken(read: Callable[[int], bytes], size: int) -> bytes:
    data = b""
    while len(data) < size and (more := read(size - len(data))):
        data += more
    return data


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


def _mpeg_rate(head: bytes) -> int:
    """Give the rate (Hz) that a frame of MPEG audio says (ISO/IEC 11172-3, 13818-3, and 2.5); 0 where it says none."""
    if len(head) < 3 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    version, index = head[1] >> 3 & 3, head[2] >> 2 & 3
    return (44_100, 48_000, 32_000, 0)[index] >> (2, 0, 1, 0)[version] if version != 1 else 0


def _whole(packet: Packet) -> Packet:
    """Give a packet of which a decoder throws nothing away."""
    import av

    whole = cast("Packet", av.Packet(bytes(packet)))
    whole.pts, whole.dts, whole.duration, whole.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    return whole


def _is_guess(container: av.container.InputContainer, stream: av.AudioStream) -> bool:
    """Tell whether a WAV says nothing of the codec that FFmpeg believes to see in it."""
    codec = stream.codec_context
    if container.format.name != "wav" or codec.name not in _AMR:
        return False
    return ord(codec.codec_tag[0]) != _AMR[codec.name]


def _is_encrypted(stream: av.AudioStream) -> bool:
    """Tell whether Matroska names a key (RFC 9559, 5.1.4.1.31.10), or a file was bought with Apple's FairPlay."""
    with contextlib.suppress(UnicodeDecodeError):  # of a tag that is a number
        return "enc_key_id" in stream.metadata or stream.codec_context.codec_tag == "drms"
    return False


def _without_sound(container: av.container.InputContainer) -> str:
    tracks = len(container.streams.audio)
    most = max((stream.codec_context.channels for stream in container.streams.audio if stream.codec_context), default=0)
    if most > pcm.CHANNELS:
        return f"it has {most} channels, and no more than {pcm.CHANNELS} are taken"
    if tracks:
        return f"it is {container.format.long_name}, and FFmpeg can decode none of its {tracks} audio tracks"
    return f"there is no sound in it, it is {container.format.long_name}"
