"""From a memo to its links, with the addresses at which the running seeder is reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..library import keys
from ..library.store import Library
from ..magnet import Magnet
from ..memo import Memo
from ..network import Network, trackers_of
from .state import SeederState


@dataclass(frozen=True, slots=True)
class Links:
    """The links that were given to a memo."""

    private: str | None = None  # who has it can listen, and nobody else; None where it is not shared so now
    public: str | None = None  # to the file itself, which anybody may find


Linker = Callable[[Memo], Links]


def linker(library: Library, state: SeederState | None, network: Network) -> Linker:
    """Make links as the running seeder is reached, without addresses where none runs."""
    state = state or SeederState(network=network)
    peers = tuple(f"{address}:{state.port}" for address in state.addresses)

    def links(memo: Memo) -> Links:
        trackers = trackers_of(memo.trackers, state.network, typed=memo.typed)
        private = public = None
        if (
            not memo.trashed
            and memo.private
            and memo.sealed
            and (key := keys.find(library, memo.sealed))
            and not key.ended
        ):
            private = str(Magnet(infohash=memo.sealed, key=key.seal.key, trackers=trackers, peers=peers))
        if memo.infohash:
            public = str(Magnet(infohash=memo.infohash, name=memo.title, trackers=trackers, peers=peers))
        return Links(private, public)

    return links
