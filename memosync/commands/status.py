"""What the seeder says of itself and of each memo that it serves."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .. import seeder
from ..errors import SeederError
from ..library.store import Library
from ..magnet import InfoHash
from ..memo import Memo
from ..network import Network, is_websocket
from ..seeder import SeederState, SwarmState
from ..torrent.server import MOST_PEERS, Server
from .linking import trackers_of


@dataclass(frozen=True, slots=True)
class Status:
    """A shared memo and what its swarm does."""

    memo: Memo
    swarm: SwarmState
    browsers: bool | None  # whether they can find it; None where it has no WebSocket tracker


def status(library: Library) -> tuple[SeederState, list[Status]]:
    """Say how each shared memo is served; SeederError when no seeder runs."""
    state = seeder.read_state(library.private)
    if state is None:
        raise SeederError("no seeder is running", "memosync seed --detach starts one")
    memos = [memo for memo in library.index().memos if memo.shared and not memo.trashed and memo.infohash]
    announced = set(state.announced)

    def found_by_browsers(memo: Memo) -> bool | None:
        if not any(map(is_websocket, trackers_of(memo.trackers, state.network))):
            return None
        return not state.crowded or memo.infohash in announced

    return state, [
        Status(memo, state.swarms.get(memo.infohash, SwarmState(infohash=memo.infohash)), found_by_browsers(memo))
        for memo in memos
        if memo.infohash
    ]


def refuse_another_network(library: Library, network: Network) -> None:
    """SeederError when the running seeder reaches further, or less far, than is asked for."""
    state = seeder.read_state(library.private)
    if state and state.network is not network:
        restart = f"memosync seed --stop && memosync --network {network} seed --detach"
        raise SeederError(f"the running seeder serves with --network {state.network}", restart)


def state_of(server: Server, me: SeederState, before: SeederState | None, seen: int) -> SeederState:
    """Say how the server is that has acted on the index of `seen`; once ready it stays so while something is added."""
    ready = not server.checking
    return replace(
        me,
        port=server.port,
        addresses=tuple(server.link_addresses(me.network)),
        ready=ready or bool(before and before.ready),
        seen=seen if ready else before.seen if before else 0,
        crowded=server.announced is not None,
        announced=server.announced or (),
        swarms=_swarms(server),
    )


def _swarms(server: Server) -> dict[InfoHash, SwarmState]:
    """Only those with something to say: ten thousand idle ones need not be written every second."""
    return {
        infohash: SwarmState(
            infohash=infohash,
            state=swarm.state,
            peers=swarm.peers,
            given=swarm.given,
            delivered=swarm.delivered,
            addresses=tuple(sorted(swarm.addresses)[:MOST_PEERS]),
        )
        for infohash, swarm in server.swarms()
        if swarm.peers or swarm.given or swarm.delivered or swarm.state != "seeding"
    }
