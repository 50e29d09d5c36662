"""Downloads that are not finished: what of them is here, since when, and how they are dropped."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from .. import files
from ..errors import LibraryError, UsageError
from ..magnet import InfoHash
from ..quantities import from_stamp
from ..sealing import is_name
from ..torrent import metainfo
from . import keys
from .incoming import already_here, title_of
from .sealed import digest_of
from .store import Library

_DIGITS = 12  # of an infohash; an id of a memo has eight, so that neither is taken for the other
_BEGINNING = re.compile(r"[0-9a-f]{9,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """What is known of a memo of which not everything has arrived."""

    infohash: InfoHash
    title: str  # the beginning of its infohash where its title is sealed, or nobody has told it
    is_sealed: bool
    arrived: int  # bytes
    size: int  # bytes, 0 where nobody has told it
    since: datetime  # nothing new has come

    @property
    def name(self) -> str:
        """The beginning of its infohash, by which people name it."""
        return self.infohash[:_DIGITS]


def unfinished(library: Library) -> list[Download]:
    """Find every download that is not finished; one may be under way."""
    return [_look_at(library, infohash) for infohash in library.downloads()]


def named(library: Library, words: Sequence[str]) -> tuple[list[Download], list[str]]:
    """Find those that begin like one of the words, and give the words that no download begins like."""
    found: dict[InfoHash, Download] = {}
    left = []
    infohashes = library.downloads()
    for word in words:
        begins = word.strip().lower()
        fitting = [each for each in infohashes if _BEGINNING.fullmatch(begins) and each.startswith(begins)]
        if not fitting:
            left.append(word)
        found |= {infohash: _look_at(library, infohash) for infohash in fitting}
    return list(found.values()), left


def drop(library: Library, download: Download) -> None:
    """Throw away what has arrived, for ever; UsageError while a fetch is at it, LibraryError."""
    with library.lock(download.infohash, wait=False) as held:
        if not held:
            raise UsageError(f"a fetch of “{download.title}” is running", "end that first")
        with files.as_library_error(f"drop “{download.title}”"):
            files.remove(library.incoming(download.infohash))


def brought(library: Library, path: Path) -> InfoHash | None:
    """Find by which download a file that the index does not name came, where the fetch died before it could say so."""
    for infohash in library.downloads():
        with contextlib.suppress(LibraryError, OSError):
            torrent = metainfo.believed(library.incoming(infohash) / "torrent", infohash)
            key = keys.find(library, infohash)
            if torrent and (key.digest == digest_of(path) if key else metainfo.fitting([torrent], path)):
                return infohash
    return None


def settle(library: Library) -> None:
    """Take away what fetches left that died before anything arrived, or when the memo was in its place already."""
    for infohash in library.downloads():
        path = library.incoming(infohash)
        with contextlib.suppress(LibraryError, OSError):  # it harms nobody
            if os.listdir(path) and not already_here(library, infohash):
                continue
            with library.lock(infohash, wait=False) as held:
                if held and (not os.listdir(path) or already_here(library, infohash)):
                    files.remove(path)


def _look_at(library: Library, infohash: InfoHash) -> Download:
    path = library.incoming(infohash)
    torrent = metainfo.believed(path / "torrent", infohash)
    is_sealed = bool(torrent and is_name(torrent.name))
    kept = [files.time_of(place) for place in (path / "memo.webm", path / "torrent", path)]
    return Download(
        infohash=infohash,
        title=title_of(torrent) if torrent and not is_sealed else infohash[:_DIGITS],
        is_sealed=is_sealed,
        arrived=min(files.used_space(path), torrent.size) if torrent else files.used_space(path),
        size=torrent.size if torrent else 0,
        since=from_stamp(next(filter(None, kept), 0) / 1e9),
    )
