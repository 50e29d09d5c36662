"""What comes in from a swarm: where it lies until it is verified, what may come in, and how it becomes a memo."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import files, sealing
from ..audio.webm import AudioInfo
from ..console import Console
from ..errors import LibraryError, TorrentError, WrongKeyError
from ..magnet import InfoHash
from ..memo import Memo, MemoId, clean_title
from ..network import DEFAULT_TRACKERS, Network, usable_trackers
from ..quantities import format_size
from ..sealing import Seal
from ..stop import Stop
from ..torrent import metainfo
from ..torrent.metainfo import Metainfo
from . import keys
from .entries import new_memo
from .keys import Key
from .sealed import digest_of
from .sounds import sound_or_nothing, uid_of
from .store import OPENED, Library

# A title may end like a file's name ("Call with Dr.Kim", "About Node.js"): it is no memo only where this is known.
_NO_MEMO = re.compile(
    r"""(?ix) \. (
    mp[34] | m4[abv] | aac | ac3 | aiff? | amr | ape | flac | og[agv] | opus | wav | wma | 3gp | midi? | m3u8?
    | avi | flv | mk[av] | mov | mpe?g | wmv | vob | srt | vtt | gif | heic | jpe?g | png | psd | svg | tiff? | webp
    | csv | docx? | epub | html? | ini | json | mobi | nfo | od[pst] | pdf | pptx? | rtf | toml | txt | xlsx? | xml
    | 7z | apk | bat | bz2 | cmd | deb | dll | dmg | exe | t?gz | iso | jar | lnk | msi | rar | rpm | scr | tar
    | torrent | vbs | xz | ya?ml | zip | zst
    )\Z"""
)


class Incoming:
    """The directory of one download, with its torrent as soon as that is accepted."""

    def __init__(self, library: Library, infohash: InfoHash, max_size: int, key: bytes = b"") -> None:
        """Make it or find what arrived before; TorrentError when that has more than `max_size` bytes.

        What is in it was put there by us, or is thrown away: libtorrent writes into what it finds. With a `key` (16
        bytes) what arrives is sealed.
        """
        self.directory = library.incoming(infohash)
        self.file = self.directory / "memo.webm"  # whatever the torrent calls it
        self.key: Key | None = None  # of what is sealed, once that was opened
        self._infohash, self._max_size, self._secret = infohash, max_size, key
        self._kept, self._opened = self.directory / "torrent", self.directory / OPENED
        with files.as_library_error("keep what arrives"):
            library.refuse_links()
            if self.directory.is_symlink() or not self.directory.is_dir():
                files.remove(self.directory)
            files.make_directory(self.directory)
            torrent = metainfo.believed(self._kept, infohash)
            ours = {self.file: _is_ours(self.file, torrent.size if torrent else max_size), self._kept: torrent}
            for path in self.directory.iterdir():
                if not ours.get(path):
                    files.remove(path)
        if torrent:
            self._refuse_what_is_no_memo(torrent)

    @property
    def torrent(self) -> bytes:
        """The torrent that was accepted, now or before; empty when what is kept is not the one of this infohash."""
        torrent = metainfo.believed(self._kept, self._infohash)
        return torrent.data if torrent else b""

    def accept(self, data: bytes) -> None:
        """Keep the torrent; TorrentError when it is another one or no memo, LibraryError without room for its file."""
        torrent = metainfo.read(data)
        if torrent.infohash != self._infohash:
            raise TorrentError("this torrent has another infohash than its link")
        self._refuse_what_is_no_memo(torrent)
        needed = torrent.size + (sealing.opened_size(torrent.size) if self._secret else 0)
        if needed > files.free_space(self.directory) + files.used_space(self.directory):
            raise LibraryError(f"the disk has no room for its {format_size(needed)}", "make room and try again")
        with files.as_library_error("keep the torrent"):
            files.write(self._kept, torrent.data)

    def begins(self, data: bytes) -> None:
        """Look at the first piece; WrongKeyError when it is sealed with another key, or no key was given."""
        if self._secret:
            if sealing.is_sealed_with(data[: sealing.HEAD], self._secret, sealing.INVITATION):
                raise TorrentError(
                    "this is an invitation to a group of devices, and no memo", "memosync sync - reads it"
                )
            sealing.Opener(data[: sealing.HEAD], self._secret)
        elif data[:8].hex() == (name := metainfo.read(self.torrent).name) and sealing.is_name(name):
            raise WrongKeyError("this memo is private, and its link has no key", "ask for the whole link")

    def follow(self, add: Callable[[bytes], None]) -> Callable[[bytes], None]:
        """Give what takes the torrent's pieces in their order, and gives `add` what is in them, opened.

        WrongKeyError and TorrentError as `plain`.
        """
        if not self._secret:
            return add
        opener: sealing.Opener | None = None
        number, rest = 0, b""

        def take(piece: bytes) -> None:
            nonlocal opener, number, rest
            rest += piece
            if not opener and len(rest) >= sealing.HEAD:
                opener, rest = sealing.Opener(rest[: sealing.HEAD], self._secret), rest[sealing.HEAD :]
            at, size = 0, sealing.CHUNK + sealing.TAG
            while opener and len(rest) - at >= size:
                add(opener.open(number, rest[at : at + size]))
                number, at = number + 1, at + size
            rest = rest[at:]

        return take

    def plain(self, on_progress: Callable[[float], None] = lambda _fraction: None) -> Path:
        """Give the memo's file, opened where it is sealed; TorrentError when it was altered, LibraryError.

        `on_progress` is told how far it is opened, 0 to 1.
        """
        with files.as_library_error("open what arrived"), files.open_regular(self.file) as source:
            self.begins(head := source.read(sealing.HEAD))
            if not self._secret:
                return self.file
            source.seek(0)
            size = files.status_of(self.file).st_size
            with files.staged(self._opened) as (staged, target):
                writeback = files.Writeback(staged)

                def write(data: memoryview) -> None:
                    writeback.write(target, data)
                    on_progress(target.tell() / size)

                digest = sealing.unseal(source, write, self._secret)
                target.flush()
                writeback.end()
                files.move(staged, self._opened)
        self.key = Key(seal=Seal(self._secret, head[: sealing.SALT]), digest=digest)
        return self._opened

    def shut(self) -> None:
        """Throw away what was opened and is no memo yet: what arrived stays sealed, and is opened again."""
        with contextlib.suppress(OSError):
            self._opened.unlink(missing_ok=True)

    def remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def _refuse_what_is_no_memo(self, torrent: Metainfo) -> None:
        size, has = torrent.size, "it has"
        if self._secret:
            size, has = size + sealing.opened_size(size), "sealed and opened it takes"
        if ending := _NO_MEMO.search(torrent.name):
            raise TorrentError(f"this is a .{ending[1]} file, not a memo (a WebM file)")
        if size > self._max_size:
            raise TorrentError(
                f"{has} {format_size(size)}, more than {format_size(self._max_size)}", "raise --max-size to have it"
            )


@contextlib.contextmanager
def only_fetch(library: Library, infohash: InfoHash, *, stop: Stop, console: Console) -> Iterator[None]:
    """Be the only fetch of this infohash; wait for another one, Interrupted on `stop`."""
    told = False
    while True:
        with library.lock(infohash, wait=False) as held:
            if held:
                yield
                return
        if not told:
            console.tell("another fetch of this link is running; waiting for it")
            told = True
        stop.wait(0.1)
        stop.check()


def already_here(library: Library, infohash: InfoHash) -> Memo | None:
    """Give the memo that has this infohash and a file; it may be in the trash."""
    memo = library.index().with_infohash(infohash)
    if memo and (path := library.path(memo)).is_file() and path.stat().st_size:  # altered or not: it is somebody's work
        return memo
    return None


def title_of(torrent: Metainfo) -> str:
    """Read a title from the name of a torrent."""
    return clean_title(re.sub(r"(?i)\.webm$", "", torrent.name))


def take_in(library: Library, incoming: Incoming, path: Path, info: AudioInfo, trackers: Sequence[str]) -> Memo:
    """Move `path`, the memo of a torrent that has all its pieces, in and index it, with the trackers of its link.

    What it arrived as stays byte for byte: a sealed memo is kept in both forms. What arrives twice at once, by two
    links, is one memo. TorrentError when it was exchanged, LibraryError.
    """
    size = files.status_of(path).st_size
    with library.lock(MemoId(f"of-{size}-bytes")):
        return _take_in(library, incoming, path, info, trackers)


def _take_in(library: Library, incoming: Incoming, path: Path, info: AudioInfo, trackers: Sequence[str]) -> Memo:
    torrent, key = metainfo.read(incoming.torrent), incoming.key
    if not _is_ours(incoming.file, torrent.size) or incoming.file.stat().st_size != torrent.size:
        raise TorrentError("another program changed what arrived", "fetch it again")
    links: dict[str, Any] = {"sealed": torrent.infohash} if key else {"infohash": torrent.infohash}
    is_lost = library.index().with_infohash(torrent.infohash)
    for twin in [] if is_lost else _twins(library, path):
        if key and twin.sealed:  # by another private link
            return twin
        with library.lock(twin.id):
            now = next((memo for memo in _twins(library, path) if memo.id == twin.id), None)
            if now and not (now.sealed if key else now.infohash):
                _keep(library, incoming, torrent)
                twin = library.update({twin.id: lambda memo: replace(memo, **links)})[twin.id]
                _keep_form(library, incoming, torrent)
                return twin
    _keep(library, incoming, torrent)
    with contextlib.suppress(OSError):
        # a torrent may ask for an executable file (BEP 47); this one gets the mode of any file of ours, where it can
        path.chmod(files.status_of(library.torrent(torrent.infohash)).st_mode & 0o777)
    if lost := is_lost or _altered(library, path):  # its entry is here, its file was not, or not as it was
        with library.lock(lost.id):
            if not is_lost:
                with files.as_library_error(f"put away {lost.file}"):
                    library.put_away(library.path(lost))
            memo = library.add(replace(lost, trashed=None), path)
            if not is_lost:
                memo = library.update({lost.id: lambda memo: replace(memo, **links)})[lost.id]
        _keep_form(library, incoming, torrent)
        return memo
    usable = usable_trackers(trackers, Network.PUBLIC)
    others = tuple(usable) if set(usable) - set(DEFAULT_TRACKERS) else ()
    memo_id = info.words.id or library.take_id()
    while True:
        with library.lock(memo_id):
            if not library.index().get(memo_id) and not os.path.lexists(library.part(memo_id)):
                memo = new_memo(memo_id, info, path, when=path.stat().st_mtime, title=title_of(torrent))
                memo = replace(memo, fetched=True, trackers=others, **links)
                library.add(memo, path)
                _keep_form(library, incoming, torrent)
                return memo
        memo_id = library.take_id()


def _keep(library: Library, incoming: Incoming, torrent: Metainfo) -> None:
    """Keep what gives the link again: the torrent, and of a private one the key."""
    library.keep_torrent(torrent.infohash, torrent.data)
    if incoming.key:
        keys.keep(library, torrent.infohash, incoming.key)


def _keep_form(library: Library, incoming: Incoming, torrent: Metainfo) -> None:
    """Keep what a private memo arrived as, once the memo itself is safe: that makes it again, where it is lost."""
    if incoming.key:
        with files.as_library_error("keep the sealed memo"):
            files.make_directory(library.forms)
            files.move(incoming.file, library.form(torrent.infohash))


def _twins(library: Library, path: Path) -> list[Memo]:
    """Find the memos that have the same file, by another link or by none, first those that are not in the trash."""
    size, twins = path.stat().st_size, []
    alike = [memo for memo in library.index().memos if memo.size == size]
    digest = digest_of(path) if alike else b""
    for memo in sorted(alike, key=lambda memo: memo.trashed is not None):
        with contextlib.suppress(OSError):
            if digest_of(library.path(memo)) == digest:
                twins.append(memo)
    return twins


def _altered(library: Library, path: Path) -> Memo | None:
    """Find the memo that devices of the group know by this sound, and whose own file sounds otherwise by now."""
    index = library.index()
    sound = sound_or_nothing(path) if index.group else b""
    for memo in index.memos if sound else ():
        if memo.uid == uid_of(sound) and files.is_regular(own := library.path(memo)) and sound_or_nothing(own) != sound:
            return memo
    return None


def _is_ours(path: Path, most: int) -> bool:
    """Tell whether libtorrent may write there: into a file of so many bytes at most that has no other name."""
    with contextlib.suppress(OSError):
        status = files.status_of(path)
        return status.st_nlink == 1 and status.st_size <= most
    return False
