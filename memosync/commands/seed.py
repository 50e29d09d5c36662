"""seed: serve every shared memo, here or in the background."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .. import seeder
from ..library.store import Library
from ..network import Network
from ..seeder import SeederState
from ..stop import Stop
from ..torrent.server import Server
from .following import Follower
from .status import refuse_another_network, state_of


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
        keeper, restarts = (os.getppid(), kept[1]) if kept else (0, 0)
        port = seeder.last_port(private)
        me = SeederState(network=network, port=port, pid=os.getpid(), keeper=keeper, restarts=restarts)
        descriptors = seeder.raise_limits()
        seeder.write_state(private, me)
        server = Server(
            network,
            port=options.port or port,
            insist=bool(options.port),
            up=options.up,
            down=options.down,
            descriptors=descriptors,
            dht=library.session_state(),
            log=log,
        )
        follower = Follower(library, server, network, log)
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
                state = state_of(server, me, said, follower.seen)
                said_at = time.monotonic()
                if state != said:
                    seeder.write_state(private, state)
                    said = state
                    on_state(state, server.number)
        finally:
            if known := server.close():
                library.session_state(known)


def detach(library: Library, network: Network, options: Options, *, stop: Stop) -> SeederState:
    """Start the seeder in the background; end when it serves, SeederError with the reason when it does not."""
    library.prepare()
    refuse_another_network(library, network)
    return seeder.detach(library.private, _arguments(library, network, options), stop)


def stop(root: Path) -> None:
    """End the seeder and wait until it is gone; SeederError when none runs."""
    seeder.stop(Library(root).private)


def _arguments(library: Library, network: Network, options: Options) -> list[str]:
    root = str(library.root.absolute())
    chosen = [("--port", options.port), ("--up", options.up), ("--down", options.down)]
    chosen_texts = [text for name, value in chosen if value for text in (name, str(value))]
    return ["--library", root, "--network", network.value, "seed", *chosen_texts]
