"""From a memo to its link, with the addresses at which the running seeder is reached."""

from __future__ import annotations

from collections.abc import Callable

from ..magnet import Magnet
from ..memo import Memo
from ..network import Network, trackers_of
from .state import SeederState

Linker = Callable[[Memo], str | None]


def linker(state: SeederState | None, network: Network) -> Linker:
    """Make links as the running seeder is reached, without addresses where none runs."""
    state = state or SeederState(network=network)
    peers = tuple(f"{address}:{state.port}" for address in state.addresses)

    def link(memo: Memo) -> str | None:
        if not memo.infohash:
            return None
        trackers = trackers_of(memo.trackers, state.network, typed=memo.typed)
        return str(Magnet(infohash=memo.infohash, name=memo.title, trackers=trackers, peers=peers))

    return link
