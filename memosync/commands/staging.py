"""Where a download lies until it is a memo: what may come in there, and who is at it."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator

from .. import files
from ..errors import LibraryError, TorrentError
from ..library.store import Library
from ..magnet import InfoHash
from ..quantities import format_size
from ..stop import Stop
from ..torrent import metainfo
from ..torrent.download import FILE
from ..torrent.metainfo import Metainfo
from .opening import Tell


class Staging:
    """The directory of one download, with its torrent as soon as that is accepted."""

    def __init__(self, library: Library, infohash: InfoHash, max_size: int) -> None:
        """Make it or find what arrived before; TorrentError when that has more than `max_size` bytes."""
        self.directory = library.incoming(infohash)
        self.file = self.directory / FILE
        self._infohash, self._max_size = infohash, max_size
        self._kept = self.directory / "torrent"
        with files.as_library_error("keep what arrives"):
            self.directory.mkdir(parents=True, exist_ok=True)
        if self.torrent:
            _refuse_what_is_no_memo(metainfo.read(self.torrent), max_size)

    @property
    def torrent(self) -> bytes:
        """The torrent that was accepted, now or before."""
        return self._kept.read_bytes() if self._kept.exists() else b""

    def accept(self, data: bytes) -> None:
        """Keep the torrent; TorrentError when it is another one or no memo, LibraryError without room for its file."""
        torrent = metainfo.read(data)
        if torrent.infohash != self._infohash:
            raise TorrentError("this torrent has another infohash than its link")
        _refuse_what_is_no_memo(torrent, self._max_size)
        if torrent.size > files.free_space(self.directory) + files.used_space(self.directory):
            raise LibraryError(f"the disk has no room for its {format_size(torrent.size)}", "make room and try again")
        with files.as_library_error("keep the torrent"):
            files.write(self._kept, torrent.data)

    def remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)


@contextlib.contextmanager
def sole(library: Library, infohash: InfoHash, *, stop: Stop, tell: Tell) -> Iterator[None]:
    """Be the only fetch of this infohash; wait for another one."""
    told = False
    while True:
        with library.lock(infohash, wait=False) as held:
            if held:
                yield
                return
        if not told:
            tell("another fetch of this link is running; waiting for it")
            told = True
        stop.wait(0.1)
        stop.check()


def _refuse_what_is_no_memo(torrent: Metainfo, max_size: int) -> None:
    extension = re.search(r"\.([A-Za-z][A-Za-z0-9]{1,3})$", torrent.name)
    if extension and extension[1].lower() not in ("webm", "weba"):
        raise TorrentError(f"this is a .{extension[1]} file, not a memo (a WebM file)")
    if torrent.size > max_size:
        raise TorrentError(
            f"it has {format_size(torrent.size)}, more than {format_size(max_size)}", "raise --max-size to have it"
        )
