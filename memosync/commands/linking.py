"""From a memo to its link, and the addresses the link gives."""

from __future__ import annotations

import functools
from collections.abc import Callable

from ..library.store import Library
from ..magnet import Magnet
from ..memo import Memo
from ..network import DEFAULT_TRACKERS, Network, usable_trackers
from ..seeder import SeederState, read_state

Linker = Callable[[Memo], str | None]


@functools.cache
def trackers_of(own: tuple[str, ...], network: Network) -> tuple[str, ...]:
    """Give the trackers a memo is announced to: its own or the default ones, as far as the network allows."""
    return tuple(usable_trackers(own or DEFAULT_TRACKERS, network)[0])


def linker(library: Library, network: Network) -> Linker:
    """Make links as the running seeder would be reached, without addresses where none runs."""
    state = read_state(library.private) or SeederState(network=network)

    def link(memo: Memo) -> str | None:
        if not memo.infohash:
            return None
        trackers = trackers_of(memo.trackers, state.network)
        peers = tuple(f"{address}:{state.port}" for address in state.addresses)
        return str(Magnet(infohash=memo.infohash, name=memo.title, trackers=trackers, peers=peers))

    return link
