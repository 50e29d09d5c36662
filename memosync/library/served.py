"""What the seeder serves: derived here from the index, so that nobody else needs to know in which form it is."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

from .. import files
from ..magnet import InfoHash
from ..memo import Memo
from ..network import Network, trackers_of
from . import keys, known
from .store import Library


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One torrent to serve."""

    infohash: InfoHash
    place: Path  # the directory of the file that is served, one for all: ten thousand paths take as many megabytes
    name: str  # of that file
    torrents: Path  # where its .torrent is kept
    trackers: tuple[str, ...]  # that it is announced to
    typed: bool = False  # they were, by a person here
    seek: bool = False  # who wants it waits for it

    @property
    def path(self) -> Path:
        return self.place / self.name

    @property
    def torrent(self) -> Path:
        return self.torrents / f"{self.infohash}.torrent"


def served(library: Library, network: Network) -> list[Served]:
    """Give all that is to be served, in the order of the index; LibraryError when that cannot be read."""
    now, index = known.read(library), library.index()
    trackers = functools.cache(lambda own, typed: trackers_of(own, network, typed=typed))  # most have the same
    invitations = [
        Served(
            infohash=one.infohash,
            place=library.forms,
            name=one.infohash,
            torrents=library.torrents,
            trackers=trackers_of(index.meeting, network, typed=True),
            typed=True,
            seek=True,
        )
        for one in now.invitations
        if one.until > library.clock()
    ]
    return invitations + [
        Served(
            infohash=infohash,
            place=library.root if infohash == memo.infohash else library.forms,
            name=memo.file if infohash == memo.infohash else infohash,
            torrents=library.torrents,
            trackers=trackers(memo.trackers, memo.typed),
            typed=memo.typed,
        )
        for memo in index.memos
        for infohash in served_as(library, memo)
    ]


def revision(library: Library) -> int:
    """Give a number that is another one whenever something else may be served; 0 where there is nothing.

    That is when the index, the keys or what is known of other devices have changed. Of two numbers nobody can tell
    which is the later one: a time stamp knows no more than seconds on some file systems, and backups are put back.
    """
    states = [files.state_of_any(path) for path in (library.index_file, library.keys, known.path_of(library))]
    digest = hashlib.blake2b(repr(states).encode(), digest_size=7).digest()  # which TOML has numbers for
    return int.from_bytes(digest, "big") if any(map(any, states)) else 0


def served_as(library: Library, memo: Memo) -> tuple[InfoHash, ...]:
    """Give the infohashes under which a memo is served: of its file, of its sealed form, or of both.

    By a private link that was ended, or whose key is lost, nothing is, whatever the index says.
    """
    public = (memo.infohash,) if memo.shared and memo.infohash else ()
    sealed = (memo.sealed,) if memo.private and memo.sealed and keys.is_alive(library, memo.sealed) else ()
    return () if memo.trashed else public + sealed


def unread_memos(library: Library, all_served: list[Served]) -> list[Memo]:
    """Give the memos that would be served by their private links, too, could the keys be read; LibraryError."""
    forms = {one.infohash for one in all_served}
    wanted = [memo for memo in library.index().memos if memo.private and memo.sealed and not memo.trashed]
    return [
        memo for memo in wanted if memo.sealed not in forms and memo.sealed and keys.is_unread(library, memo.sealed)
    ]
