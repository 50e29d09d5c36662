"""What the seeder serves: derived here from the index, so that nobody else needs to know in which form it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..magnet import InfoHash
from ..memo import Memo
from ..network import Network, trackers_of
from .store import Library


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One torrent to serve."""

    infohash: InfoHash
    path: Path  # the file that is served
    torrent: Path  # its kept .torrent
    trackers: tuple[str, ...]  # that it is announced to
    typed: bool = False  # they were, by a person here


def served(library: Library, network: Network) -> list[Served]:
    """Give all that is to be served, in the order of the index; LibraryError when that cannot be read."""
    return [
        Served(
            infohash=infohash,
            path=library.path(memo),
            torrent=library.torrent(infohash),
            trackers=trackers_of(memo.trackers, network, typed=memo.typed),
            typed=memo.typed,
        )
        for memo in library.index().memos
        if (infohash := served_as(memo))
    ]


def served_as(memo: Memo) -> InfoHash | None:
    """Give the infohash under which a memo is served; None when it is not."""
    return memo.infohash if memo.is_served else None
