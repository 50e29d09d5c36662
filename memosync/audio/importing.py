"""Other people's audio on its way into a memo: files of every common format, and standard input as it comes.

What is Opus already is copied packet by packet, at the time that its packets take, whatever the source's clock says;
the rest is decoded, mixed, brought to 48 kHz and encoded. The neighbour of `webm` in the room that owns PyAV.
"""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import select
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from .. import files
from ..errors import AudioError, LibraryError
from ..memo import Words
from ..quantities import format_clock, format_size
from ..stop import Stop
from . import id3, truncation
from .carried import Carried
from .chains import AsPipe, OfPipe, Part, links_of_file, links_of_pipe
from .damage import Damage
from .decoding import Source, block_of, open_source
from .formats import why_whole
from .headers import reading
from .headroom import Headroom
from .levels import SILENCE
from .metadata import Said, said_by_id3
from .mixing import CARRIES, Mixer
from .webm import RATE, Sound, layout, translated
from .writer import Writer

if TYPE_CHECKING:
    import av

    from .decoding import Shape
    from .mixing import Block
    from .webm import Reader

_KEPT = ": all of it is kept on the disk until that is here"
_ROOM = 64_000_000  # bytes of a disk that are left alone
_UNREADABLE = 1_000_000_000  # bytes, at most, of a pipe that are kept although they may be no sound
_FULL = 1.001  # full scale, and what rounding makes of it
_SHORT = 1_000_000  # bytes that are kept without a word


class Pipe:
    """A descriptor, usually standard input, that gives what is there, and nothing more after `stop`."""

    def __init__(self, stop: Stop, descriptor: int = 0) -> None:
        self._stop, self._descriptor = stop, descriptor
        self._ahead = bytearray()
        self._kept: BinaryIO | None = None

    def read(self, size: int, /) -> bytes:
        """Wait for bytes and give up to `size` of them, none at the end or after `stop`."""
        data = bytes(self._ahead[:size])
        del self._ahead[:size]
        if data and (len(data) == size or not select.select([self._descriptor], [], [], 0)[0]):
            return data
        return data + self._read(size - len(data))

    def peek(self, size: int, /, at: int = 0) -> bytes:
        """Wait for `size` bytes, `at` bytes ahead, and give them without taking them; fewer where it ends."""
        while len(self._ahead) < at + size and (more := self._read(at + size - len(self._ahead))):
            self._ahead += more
        return bytes(self._ahead[at : at + size])

    def take(self, size: int, /) -> bytes:
        """Give so many bytes, fewer where it ends."""
        data = self.peek(size)
        del self._ahead[: len(data)]
        return data

    def unread(self, data: bytes, /) -> None:
        """Take back what was read last."""
        self._ahead[:0] = data

    def keep(self, directory: Path) -> None:
        """Keep what is ahead, and all that comes, in a file without a name, as long as the disk has room for it."""
        self._directory = directory
        with contextlib.suppress(OSError):
            self._kept = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115  # closed by `taken`
            self._add(bytes(self._ahead))

    def taken(self) -> BinaryIO | None:
        """Give what was kept, to be closed, and keep no more; None where nothing is."""
        kept, self._kept = self._kept, None
        return kept

    def keep_all(self, warn: Callable[[], None]) -> BinaryIO | None:
        """Keep what comes to its end, too, and give it; None where it was not kept, or is too much.

        `warn` is called where that takes long.
        """
        self._ahead.clear()
        is_told = False
        while self._kept and self._read(1 << 16):
            size = self._kept.tell() if self._kept else 0
            if size > _SHORT and not is_told:
                is_told = True
                warn()
            if size > _UNREADABLE:
                self.forget()
        return self.taken()

    def forget(self) -> None:
        """Keep no more, and nothing."""
        if kept := self.taken():
            kept.close()

    @property
    def is_stopped(self) -> bool:
        """Tell whether it ends only because somebody wanted that."""
        return self._stop.is_set()

    def seekable(self) -> bool:
        """Say no."""
        return False

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Refuse with OSError."""
        raise OSError(errno.ESPIPE, "a pipe cannot seek")

    def _read(self, size: int) -> bytes:
        while size and not self._stop.is_set():
            if select.select([self._descriptor], [], [], 0.1)[0]:
                data = os.read(self._descriptor, size)
                self._add(data)
                return data
        return b""

    def _add(self, data: bytes) -> None:
        if self._kept:
            try:
                if files.free_space(self._directory) < _ROOM or self._kept.write(data) < len(data):
                    self.forget()
            except OSError:
                self.forget()


def import_source(
    file: BinaryIO | Pipe,
    target: Path,
    describe: Callable[[Words], Words],
    sound: Sound,
    *,
    live: bool = False,
    limit: float | None = None,  # seconds
    on_progress: Callable[[float, float | None], None] = lambda _done, _all: None,
    warn: Callable[[str], None] = lambda _text: None,
) -> Carried | None:
    """Write any audio file or stream as WebM: Opus packet by packet, everything else encoded.

    `describe` turns the words found in the source into those to write. A source that cannot seek is read as it comes;
    with `live`, `webm.finish` can finish `target` whatever happens. `on_progress` is given the seconds that are done
    and, where they are known, those of all of it. `warn` is told what a person should know of the sound: what is
    damaged and where, which of several tracks was taken, that channels cancel each other, that all is silence.
    What it carries is given where `webm.finish` has to be: with `live`, when holes had its chapters moved.
    A file is not to be buffered: libsndfile reads from its descriptor.
    AudioError when it is not audio, LibraryError when the disk refuses.
    """
    with contextlib.ExitStack() as opened:
        file, said = _behind_id3(file)
        pipe = file if isinstance(file, Pipe) else None
        if pipe and (why := why_whole(pipe)):
            warn(f"what comes {why}{_KEPT}")
            file = opened.enter_context(_spooled(pipe, target.parent))
        elif pipe:
            pipe.keep(target.parent)
            opened.callback(pipe.forget)
        source = _Import(
            file,
            pipe,
            said,
            target,
            describe,
            sound,
            opened,
            live=live,
            limit=limit,
            on_progress=on_progress,
            warn=warn,
        )
        try:
            source.run()
        finally:
            for warning in source.warnings():
                warn(warning)
        return source.carried


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How a source is read; when that turns out to be wrong, it is read once more in another way."""

    copy: bool = True  # the packets of Opus
    track: int | None = None  # its number in the file; None: the default one, or the first that can be decoded
    carrying: tuple[bool, ...] | None = None  # which channels of a guessed layout carry anything
    as_it_comes: bool = False  # a file, as if it were a pipe: where it was cut FFmpeg may refuse it else
    gain: float | None = None  # of what is louder than full scale, which Opus would clip
    silent: tuple[int, ...] = ()  # tracks that were read and have nothing but silence
    is_last: bool = False


class _Import:
    """One source on its way."""

    def __init__(
        self,
        file: BinaryIO | Pipe,
        pipe: Pipe | None,  # from which it comes
        said: Said,  # in front of it
        target: Path,
        describe: Callable[[Words], Words],
        sound: Sound,
        opened: contextlib.ExitStack,  # closes what it opens for longer than one pass
        *,
        live: bool,
        limit: float | None,
        on_progress: Callable[[float, float | None], None],
        warn: Callable[[str], None],
    ) -> None:
        self._file, self._pipe, self._target, self._describe, self._sound = file, pipe, target, describe, sound
        self._opened, self._said = opened, said
        self._live, self._longest, self._on_progress, self._warn = live, limit or 2**62, on_progress, warn
        self._words: Words | None = None
        self._size = 0.1 if live or limit else 1.0  # seconds of a block
        self._begin(_Way())

    def run(self) -> None:
        """Write all of it, if need be more than once."""
        way: _Way | None = self._way
        refused: AudioError | None = None
        while way:
            self._begin(way)
            try:
                way = self._read()
            except AudioError as error:
                if self._way.silent:
                    way = replace(self._way, track=self._way.silent[0], is_last=True)
                elif self._take_all():
                    continue
                elif self._way.as_it_comes or isinstance(self._file, Pipe):
                    raise (refused or error) from error.__cause__  # the first one says more
                else:
                    refused, way = error, replace(self._way, as_it_comes=True)

    def warnings(self) -> Iterator[str]:
        """Say what a person should know of what was written."""
        yield from self._notes
        if self._louder_from >= 0:
            begin = f"from {format_clock(self._louder_from)} on " if self._louder_from else ""
            decibels = f"{-20 * math.log10(self._gain):.1f} dB"
            yield f"{begin}it is louder than full scale, and made {decibels} quieter, so that nothing is clipped"
        if self._cancels:
            yield f"from {self._cancels[0]} on its channels cancel each other: {self._cancels[1]}"
        yield from self._damage.told()

    def _begin(self, way: _Way) -> None:
        self._way = way
        self._notes: list[str] = []
        self._cancels: tuple[str, str] | None = None  # since when, and what was done
        self._damage = Damage()
        self._heard = False
        self.carried: Carried | None = None  # where its chapters were moved
        self._gain = way.gain or 1.0
        self._louder_from = 0.0 if self._gain < 1 else -1.0  # seconds; -1: it never is

    def _read(self) -> _Way | None:
        """Read the source in this way; give another one where it was wrong."""
        writer: Writer | None = None
        remarks: dict[str, None] = {}
        with contextlib.ExitStack() as opened:
            for link in self._links():
                with contextlib.ExitStack() as link_opened:
                    if not (source := self._open(link, writer, link_opened)):
                        continue
                    remarks |= dict.fromkeys(source.remarks)
                    if writer is None:
                        first, copies = source, self._way.copy and source.is_opus
                        writer = opened.enter_context(self._new_writer(first, copies))
                    elif copies:  # behind a first link: the same kind is copied where nothing can be read twice
                        copies = self._live and source.is_opus and source.head == first.head
                    begun = writer.duration
                    if again := (self._copy if copies else self._encode)(source, writer):
                        return again
                    if writer.duration >= self._longest:
                        break
                    if not (self._pipe and self._pipe.is_stopped):
                        self._doubt(link, source, begun, writer.duration)
            assert writer
            self.carried = writer.move_chapters(first.ahead)
            if not writer.duration:
                damage, self._damage = self._damage, Damage()  # which is all that there is
                raise AudioError(damage.excuse() or "there is no sound in it")
        self._notes += remarks
        return self._listen_again(first.tracks, first.track)

    def _links(self) -> Iterator[Reader]:
        """Give what stands one behind the other in the source."""
        if isinstance(self._file, Pipe):
            return links_of_pipe(self._file)
        if self._way.as_it_comes:
            self._file.seek(0)
            return links_of_pipe(AsPipe(self._file))
        return links_of_file(self._file)

    def _open(self, link: Reader, writer: Writer | None, opened: contextlib.ExitStack) -> Source | None:
        """Open a link; None, and the damage is noted, where it cannot be read and others could."""
        if writer and isinstance(link, OfPipe) and (why := why_whole(link)):
            self._warn(f"what comes at {format_clock(writer.duration)} {why}{_KEPT}")
            link = opened.enter_context(_spooled(link, self._target.parent))
        try:
            return opened.enter_context(open_source(link, self._way.track))
        except AudioError:
            if writer is None:
                raise
            self._damage.hit(writer.duration, None)
            return None

    def _new_writer(self, first: Source, copies: bool) -> Writer:
        """Have a file begun, with what the first link says of itself."""
        words, carried = self._said.filled(first.words, first.carried)
        self._words = self._words or self._describe(words)
        template = first.stream if copies else None
        return Writer(self._target, self._words, self._sound, carried=carried, template=template, live=self._live)

    def _doubt(self, link: Reader, source: Source, begun: float, ended: float) -> None:
        """Note what of a link was mended, and what is missing; it is heard between these seconds of the memo."""
        if _is_cut(link, source, ended - begun):
            self._damage.cut(ended)
        elif source.is_exact and source.duration:
            self._damage.lack(source.duration, ended - begun)
        if not isinstance(link, OfPipe) or not source.stream:
            return
        unit = float(source.stream.time_base or 0)
        start = (source.stream.start_time or 0) * unit
        hurt, lost = link.damaged(unit)
        for at, length in hurt:
            self._damage.doubt(begun + max(0.0, at - start), length)
        for at, length in lost:
            self._damage.lose(begun + max(0.0, at - start), length)

    def _listen_again(self, tracks: list[int], track: int) -> _Way | None:
        """See whether another track has the voice, when this one has none; say which was taken."""
        silent = self._way.silent if self._heard else (*self._way.silent, track)
        if not self._heard and self._pipe and (kept := self._pipe.taken()):
            self._file = self._opened.enter_context(kept)
        if not self._heard and not self._way.is_last and not isinstance(self._file, Pipe):
            if others := [other for other in tracks if other not in silent]:
                return replace(self._way, track=others[0], silent=silent)
            if len(tracks) > 1:
                return replace(self._way, track=silent[0], silent=silent, is_last=True)
        if len(tracks) > 1:
            numbers = [str(tracks.index(other) + 1) for other in silent if other != track]
            why = f" (silent: {', '.join(numbers)})" if numbers else ""
            self._notes.append(f"of its {len(tracks)} tracks number {tracks.index(track) + 1} is taken{why}")
        if not self._heard:
            hint = ": `memosync record FILE`, of the same as a file, takes another track"
            more = len(tracks) > 1 and isinstance(self._file, Pipe)
            self._notes.append("there is nothing but silence in it" + hint * more)
        return None

    def _copy(self, source: Source, writer: Writer) -> _Way | None:
        """Copy the packets of Opus; another way when some are to be left out, which only decoding can do."""
        for packet in source.packets(self._damage, lambda: writer.duration):
            if packet.is_discard:
                if not isinstance(self._file, Pipe):
                    return replace(self._way, copy=False)
                continue
            if not self._heard:
                with contextlib.suppress(AudioError), translated("read"):
                    peaks = [abs(block_of(frame)).max() for frame in source.decode(packet)]
                    self._heard = max(peaks, default=0) > SILENCE
            try:
                writer.copy(packet)
            except ValueError:
                self._damage.hit(writer.duration, float((packet.duration or 0) * (packet.time_base or 0)) or None)
            self._tell(writer, source)
            if writer.duration >= self._longest:
                break
        return None

    def _encode(self, source: Source, writer: Writer) -> _Way | None:
        """Decode, mix and encode; another way when it has to be known first what carries anything, or how loud it is.

        Of a pipe it is known as far as it has come.
        """
        import av
        import numpy as np

        shape: Shape | None = None
        mixer: Mixer | None = None
        resampler: av.AudioResampler | None = None
        out, headroom = writer.sound, Headroom()

        def put(frame: av.AudioFrame | None) -> None:
            if resampler:
                with translated("read"):
                    pieces = resampler.resample(frame)
                for piece in pieces:
                    if writer.duration < self._longest:
                        writer.encode(piece)

        blocks = source.blocks(self._size, self._damage, lambda: writer.duration)
        for found, block in blocks:
            names, rate = found
            if mixer is None or shape != found:
                put(None)
                shape, carrying = found, self._way.carrying
                carrying = carrying if carrying and len(carrying) == len(names) else None
                patience = rate if self._size < 1 else 0
                mixer = Mixer(names, out.channels, rate=rate, patience=patience, carrying=carrying)
                if mixer.wonders and not self._way.carrying and not isinstance(self._file, Pipe):
                    return replace(self._way, carrying=_carrying(shape, chain([(found, block)], blocks), self._longest))
                resampler = av.AudioResampler("flt", layout(out), RATE, frame_size=round(self._size * RATE))
            mixed = mixer.mix(block)
            if source.is_float and self._way.gain is None:
                headroom.feed(mixed)
                if headroom.peak * self._gain > _FULL:
                    if not isinstance(self._file, Pipe):
                        _listen_on(headroom, mixer, found, blocks, self._longest - writer.duration)
                        return replace(self._way, gain=1 / headroom.peak)
                    self._gain = 1 / headroom.peak
                    self._louder_from = writer.duration if self._louder_from < 0 else self._louder_from
            if source.is_float:
                mixed = np.clip(mixed * np.float32(self._gain), -1, 1)
            self._look_at(mixer, writer.duration)
            self._heard |= mixer.peak > SILENCE
            put(_frame(mixed, rate, out))
            self._tell(writer, source)
            if writer.duration >= self._longest:
                return None
        put(None)
        return None

    def _take_all(self) -> bool:
        """Have a pipe read from its beginning as a file, as some formats and damage want it; tell whether it can be."""
        if not self._pipe:
            return False
        if not (kept := self._pipe.keep_all(lambda: self._warn(f"what comes cannot be read as it comes{_KEPT}"))):
            return False
        self._file, self._words = self._opened.enter_context(kept), None
        return True

    def _tell(self, writer: Writer, source: Source) -> None:
        """Tell how far it is; of a pipe whose sound is found no more is kept."""
        self._on_progress(writer.duration, source.duration)
        if self._pipe and (self._heard or (len(source.tracks) < 2 and writer.duration)):
            self._pipe.forget()

    def _look_at(self, mixer: Mixer, at: float) -> None:
        """Note what is done against channels that cancel each other."""
        since = self._cancels[0] if self._cancels else format_clock(at)
        if mixer.inverted:
            numbers = ", ".join(str(number + 1) for number in mixer.inverted)
            self._cancels = since, f"{numbers} of {mixer.channels} inverted"
        elif mixer.standing_in is not None and not self._cancels:
            self._cancels = since, f"the loudest one, {mixer.standing_in + 1} of {mixer.channels}, stands in"


def _behind_id3(file: BinaryIO | Pipe) -> tuple[BinaryIO | Pipe, Said]:
    """Pass over an ID3 tag where none should be, and give what it says."""
    if isinstance(file, Pipe):
        tag = file.take(id3.in_front(lambda at, size: file.peek(size, at)))
    else:
        peek = reading(file)
        tag = peek(0, id3.in_front(peek))
        file.seek(0)
    if not tag:
        return file, Said()
    seen = file if isinstance(file, Pipe) else cast("BinaryIO", Part(file, len(tag), file.seek(0, io.SEEK_END)))
    return seen, said_by_id3(tag)


def _is_cut(link: Reader, source: Source, heard: float) -> bool:
    """Tell whether what was read to its end, so many seconds, ends before it says that it does."""
    if isinstance(link, OfPipe):
        found = link.is_cut(heard, source.duration)
    else:
        found = truncation.is_cut(reading(cast("BinaryIO", link)), heard, source.duration)
    return found or source.is_short


def _carrying(shape: Shape, blocks: Iterable[tuple[Shape, Block]], longest: float) -> tuple[bool, ...]:
    """Find which channels have anything in `longest` seconds, as long as the shape stays."""
    import numpy as np

    peaks, seconds = np.zeros(len(shape[0])), 0.0
    for found, block in blocks:
        if found != shape or seconds >= longest:
            break
        seconds += block.shape[1] / shape[1]
        peaks = np.maximum(peaks, np.abs(np.nan_to_num(block, posinf=0, neginf=0)).max(axis=1, initial=0))
    return tuple(bool(peak > CARRIES) for peak in peaks)


def _listen_on(
    headroom: Headroom, mixer: Mixer, shape: Shape, blocks: Iterable[tuple[Shape, Block]], longest: float
) -> None:
    """Find out how loud the rest is, in `longest` seconds."""
    seconds = 0.0
    for found, block in blocks:
        if seconds >= longest:
            break
        seconds += block.shape[1] / found[1]
        headroom.feed(mixer.mix(block) if found == shape else block)


def _frame(block: Block, rate: int, sound: Sound) -> av.AudioFrame:
    import av
    import numpy as np

    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), "fltp", layout(sound))
    frame.sample_rate = rate
    return frame


@contextlib.contextmanager
def _spooled(pipe: Reader, directory: Path) -> Iterator[BinaryIO]:
    """Keep all that comes in a file without a name; LibraryError when the disk has no room for it."""
    with files.as_library_error("keep what comes"), tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        while data := pipe.read(1 << 16):
            if files.free_space(directory) < _ROOM:
                raise LibraryError(
                    f"the disk has no room to keep it: {format_size(_ROOM)} are left free",
                    "memosync record FILE reads it from where it lies",
                )
            file.write(data)
        file.seek(0)
        yield cast("BinaryIO", file)
