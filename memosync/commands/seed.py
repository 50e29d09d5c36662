"""seed: serve every shared memo, here or in the background, and say how each is served."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

from ..console import Console
from ..errors import UsageError
from ..library.served import served_as
from ..library.store import Library
from ..memo import Memo
from ..network import is_websocket, trackers_of
from ..seeder import client, service
from ..seeder.state import Kept, SeederState, Settings, SwarmState
from ..stop import Stop
from .arguments import Globals


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedOptions:
    """What the seeder is to do, and how."""

    detach: bool = False  # in the background
    status: bool = False
    stop: bool = False
    install: bool = False  # as a service of systemd's
    uninstall: bool = False
    port: int | None = None
    up: int = 0  # bytes a second, 0 for no limit
    down: int = 0
    kept: str = ""  # by a keeper, which gives LOCK:RESTARTS
    readiness: int | None = None  # and the descriptor of a pipe to whoever started it


@dataclass(frozen=True, slots=True)
class Status:
    """A shared memo and what its swarm does."""

    memo: Memo
    swarm: SwarmState
    browsers: bool | None  # whether they can find it; None where it has no WebSocket tracker
    is_crowded_out: bool = False  # they cannot because others are announced in its place


def seed(
    command: Globals,
    options: SeedOptions,
    *,
    stop: Stop,
    on_state: Callable[[SeederState, int], None] = lambda _state, _served: None,
) -> None:
    """Serve until `stop`, or see that it is done in the background; SeederError with the reason when it cannot be."""
    console = command.console
    _refuse_several(options)
    settings = Settings(port=options.port, up=options.up, down=options.down)
    if options.stop:
        client.end(Library(command.root), stop=stop)  # also when its index is broken
        console.tell("the seeder has ended")
    elif options.install:
        library = command.open_to_swarms()
        service.install(library, command.network, settings, stop=stop, console=console)
    elif options.uninstall:
        service.uninstall(Library(command.root), console)
    elif options.detach:
        state = client.start(command.open_to_swarms(stop), command.network, settings, stop=stop, console=console)
        console.tell(f"process {state.keeper} serves on port {state.port}")
    else:
        from ..seeder.run import Task, be_kept, run  # which load what serves

        kept = _kept(options)
        with be_kept(Library(command.root), kept, stop) if kept else nullcontext():
            # what is brought home has a title, which belongs into no log: who looks at the library sees it
            silent = replace(command, console=Console()) if kept else command
            library = silent.open_to_swarms(stop)
            client.refuse_another_network(client.current(library), command.network)
            task = Task(
                library=library,
                network=command.network,
                settings=settings,
                kept=kept,
                console=console,
                on_state=on_state,
            )
            run(task, stop)


def status(command: Globals, options: SeedOptions) -> tuple[SeederState, list[Status]]:
    """Say how each shared memo is served; SeederError when no seeder runs."""
    _refuse_several(options)
    library = command.open()
    state = client.insist_running(library)
    rows = []
    for memo in library.index().memos:
        if swarm := client.swarm_of(library, state, memo):
            browsers, is_crowded_out = None, False
            if trackers := set(filter(is_websocket, trackers_of(memo.trackers, state.network, typed=memo.typed))):
                is_crowded_out = state.crowded and not set(served_as(library, memo)) <= set(state.announced)
                browsers = not is_crowded_out and bool(trackers & set(state.answering))
            rows.append(Status(memo, swarm, browsers, is_crowded_out))
    return state, rows


def _refuse_several(options: SeedOptions) -> None:
    if options.detach + options.status + options.stop + options.install + options.uninstall > 1:
        raise UsageError("--detach, --status, --stop, --install and --uninstall exclude each other")


def _kept(options: SeedOptions) -> Kept | None:
    lock, _, restarts = options.kept.partition(":")
    return Kept(lock=int(lock), restarts=int(restarts), readiness=options.readiness) if options.kept else None
