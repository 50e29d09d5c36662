"""seed: serve every shared memo, and follow the index."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .. import metainfo, seeder
from ..errors import MemosyncError, SeederError, Stop
from ..library import Library
from ..memo import InfoHash, Memo
from ..network import Network, is_websocket
from ..seeder import SeederState, SwarmState
from ..session.serve import MOST_PEERS, Server
from .linking import trackers_of

Signature = tuple[int, int, int]  # inode, time stamp, size
_LOOK_EVERY = 2.0  # seconds between looks at the files themselves


@dataclass(frozen=True, slots=True)
class Options:
    """How to serve."""

    port: int | None = None  # the one of the last time, or any
    up: int = 0  # bytes a second, 0 for no limit
    down: int = 0


def seed(
    library: Library,
    network: Network,
    options: Options,
    *,
    kept: tuple[int, int] | None = None,  # by a keeper: the descriptor of its lock, and its restarts
    stop: Stop,
    log: Callable[[str], None],
    on_state: Callable[[SeederState, int], None] = lambda _state, _served: None,
) -> None:
    """Serve until `stop`; SeederError when another seeder serves this library, or there is nothing to listen on."""
    private = library.private
    library.prepare()
    refuse_another_network(library, network)
    with seeder.sole(private, kept[0] if kept else None):
        me = {"network": network, "pid": os.getpid(), "restarts": kept[1] if kept else 0}
        me["keeper"] = os.getppid() if kept else 0
        descriptors = seeder.raise_limits()
        port_before = seeder.last_port(private)
        seeder.write_state(private, SeederState(port=port_before, **me))  # type: ignore[arg-type]
        server = Server(
            network,
            port=options.port or port_before,
            insist=bool(options.port),
            up=options.up,
            down=options.down,
            descriptors=descriptors,
            dht=library.session_state(),
            log=log,
        )
        follower = _Follower(library, server, network, log)
        log(f"serving on port {server.port}")
        said: SeederState | None = None
        said_at = 0.0
        try:
            while not stop.is_set():
                follower.look()
                server.poll(0.1)
                urgent = said is None or not said.ready or said.seen != follower.seen
                if not urgent and time.monotonic() - said_at < 1:  # looking at ten thousand swarms takes a while
                    continue
                ready = not server.checking
                state = SeederState(
                    port=server.port,
                    addresses=tuple(server.link_addresses(network)),
                    ready=ready or bool(said and said.ready),
                    seen=follower.seen if ready else said.seen if said else 0,
                    crowded=server.announced is not None,
                    announced=server.announced or (),
                    swarms=_swarms(server),
                    **me,  # type: ignore[arg-type]
                )
                said_at = time.monotonic()
                if state != said:
                    seeder.write_state(private, state)
                    said = state
                    on_state(state, server.number)
        finally:
            library.session_state(server.close())


def detach(library: Library, network: Network, options: Options | None = None) -> SeederState:
    """Start the seeder in the background; end when it serves, SeederError with the reason when it does not."""
    library.prepare()
    refuse_another_network(library, network)
    return seeder.detach(library.private, _arguments(library, network, options or Options()))


def stop(root: Path) -> None:
    """End the seeder and wait until it is gone; SeederError when none runs."""
    seeder.stop(Library(root).private)


def refuse_another_network(library: Library, network: Network) -> None:
    """SeederError when the running seeder reaches further, or less far, than is asked for."""
    state = seeder.read_state(library.private)
    if state and state.network is not network:
        restart = f"memosync seed --stop && memosync --network {network} seed --detach"
        raise SeederError(f"the running seeder serves with --network {state.network}", restart)


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


class _Follower:
    """Make the session serve what the index says, and only files that are still what they were."""

    def __init__(self, library: Library, server: Server, network: Network, log: Callable[[str], None]) -> None:
        self._library, self._server, self._network, self._log = library, server, network, log
        self._served: dict[InfoHash, tuple[Path, Signature | None, tuple[str, ...]]] = {}
        self._looked = 0.0
        self.seen = 0  # the time stamp of the index acted on

    def look(self) -> None:
        """Act on a changed index at once, on changed files every few seconds."""
        seen = self._library.index_time()
        if seen != self.seen or (seen == 0 and self._served):
            try:
                self._follow([memo for memo in self._library.index().memos if memo.shared and not memo.trashed])
            except MemosyncError as error:
                self._log(f"going on with what was served before: {error}")
            self.seen = seen
        elif time.monotonic() - self._looked > max(_LOOK_EVERY, len(self._served) / 1000):
            for infohash, (path, signature, trackers) in list(self._served.items()):
                if _signature(path) != signature:
                    self._serve(infohash, path, trackers)
        else:
            return
        self._looked = time.monotonic()

    def _follow(self, memos: list[Memo]) -> None:
        wanted = {
            memo.infohash: (self._library.path(memo), trackers_of(memo.trackers, self._network))
            for memo in memos
            if memo.infohash
        }
        for infohash in set(self._served) - set(wanted):
            self._server.drop(infohash)
            del self._served[infohash]
        for infohash, (path, trackers) in wanted.items():
            if infohash not in self._served or (path, trackers) != self._served[infohash][::2]:
                self._serve(infohash, path, trackers)

    def _serve(self, infohash: InfoHash, path: Path, trackers: tuple[str, ...]) -> None:
        """Serve a file, looking at every byte of it first when it is younger than its torrent."""
        self._server.drop(infohash)
        signature = _signature(path)
        self._served[infohash] = path, signature, trackers
        kept = self._library.torrent(infohash)
        try:
            torrent = kept.read_bytes()
            younger = signature is not None and signature[1] > kept.stat().st_mtime_ns
            if signature is None:
                self._server.call_damaged(infohash, f"{path.name} is gone")
            elif younger and not metainfo.fits(metainfo.read(torrent), path):
                self._server.call_damaged(infohash, f"{path.name} was altered")
            else:
                self._server.serve(path, torrent, list(trackers))
        except (OSError, MemosyncError, RuntimeError) as error:
            self._server.call_damaged(infohash, f"its torrent cannot be read: {error}")


def _signature(path: Path) -> Signature | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


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


def _arguments(library: Library, network: Network, options: Options) -> list[str]:
    root = str(library.root.absolute())
    chosen = [("--port", options.port), ("--up", options.up), ("--down", options.down)]
    chosen_texts = [text for name, value in chosen if value for text in (name, str(value))]
    return ["--library", root, "--network", network.value, "seed", *chosen_texts]
