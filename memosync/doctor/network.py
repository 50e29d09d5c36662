"""What `check --net` finds out: whether we are reached, and who answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from ..errors import LibraryError
from ..library.store import Library
from ..network import DEFAULT_TRACKERS, Network, parse_address, usable_trackers
from ..seeder.state import SeederState
from ..stop import Stop
from ..torrent.download import ask
from ..torrent.session import is_reachable
from ..torrent.sources import describe
from .finding import Finding

PATIENCE = 15  # seconds that a tracker has for its answer


def port(state: SeederState, network: Network) -> Iterator[Finding]:
    """Find whether the seeder can be reached at the addresses that links give."""
    for text in state.addresses:
        address = parse_address(text)
        if address and network.allows(address):
            answer = "takes connections" if (here := is_reachable(text, state.port)) else "takes no connection even"
            yield Finding("ok" if here else "note", "port", f"{text}:{state.port} {answer} from here")


def sources(library: Library, network: Network, trackers: Sequence[str], stop: Stop) -> Iterator[Finding]:
    """Find what each tracker and the DHT answer."""
    meeting: tuple[str, ...] = ()  # where the devices of the group do
    with contextlib.suppress(LibraryError):  # which is said elsewhere
        meeting = library.index().meeting
    usable = usable_trackers([*(trackers or DEFAULT_TRACKERS), *meeting], network, typed=True)
    if not usable:
        yield Finding("note", "trackers", f"with --network {network.value} there is none to ask")
        if network is not Network.PUBLIC:
            return
    answers = ask(usable, network, stop=stop, timeout=PATIENCE, dht=library.session_state())
    for source, answer in answers.items():
        if "://" in source or (source == "DHT" and network is Network.PUBLIC):
            good = answer.peers is not None
            yield Finding("ok" if good else "note", source, "it answers" if good else describe(source, answer))
