"""What others do with the seeder: start it, have it serve, wait for what it says, and end it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .. import __version__, process
from ..console import Console
from ..errors import LibraryError, SeederError
from ..library.served import revision, served_as
from ..library.store import Library
from ..magnet import InfoHash
from ..memo import Memo
from ..network import Network
from ..stop import Stop
from . import readiness
from .state import (
    SeederState,
    Settings,
    SwarmState,
    is_running,
    is_seeder,
    loads,
    lock_of,
    log_of,
    read_fault,
    read_state,
    second,
    silent_state,
    stamp,
    unsaid,
    why_unwritten,
)

_FROM_TERMINAL = (-signal.SIGINT, -signal.SIGHUP, -signal.SIGQUIT)  # how a process ends that did not expect them
_LOOK_EVERY, _READ_EVERY = 0.01, 0.25  # seconds between looks at whether seeder.toml changed, and into it
_SOONEST = 0.001  # seconds between the first looks: most are answered within ten milliseconds
_PATIENCE = 3.0  # seconds for which a seeder may be there and say nothing
_BEGINS = 8.0  # seconds in which one that was just started may still begin
KEEPER = "memosync.seeder.keeper"
_WORST_FIRST = ("damaged", "checking", "seeding")


def current(library: Library) -> SeederState | None:
    """Read what the running seeder says of itself; None when none runs, or it has not said anything yet."""
    return read_state(library.inner)


def is_serving(library: Library) -> bool:
    """Tell whether a seeder runs, or is on its way."""
    return is_running(library.inner)


def last_fault(library: Library) -> str:
    """Give why the last seeder here did not start or was given up; empty when it ended well."""
    return read_fault(library.inner)


def refuse_another_network(state: SeederState | None, network: Network) -> None:
    """SeederError when the running seeder reaches further, or less far, than is asked for."""
    if state and state.network is not network:
        restart = f"memosync seed --stop && memosync --network {network} seed --detach"
        raise SeederError(f"the running seeder serves with --network {state.network}", restart)


def refuse_older(state: SeederState | None) -> None:
    """SeederError when the running seeder is of a version without private links, and cannot be replaced."""
    if state and state.version != __version__ and not _is_detached(state):
        text = f"process {state.pid}, of version {state.version}, cannot serve private links"
        raise SeederError(text, "end it, and run the same command again")


def start(
    library: Library, network: Network, settings: Settings, *, stop: Stop, console: Console, timeout: float = 30
) -> SeederState:
    """Start the seeder in the background, in place of one of another version; return when it serves.

    SeederError with the reason when it does not; Interrupted on `stop`, and then nothing is left running.
    """
    library.prepare()
    state = current(library)
    refuse_another_network(state, network)
    if renewed := _renew(library, state, stop, console):
        return renewed
    chosen = [("--port", settings.port), ("--up", settings.up), ("--down", settings.down)]
    options = [text for name, value in chosen if value for text in (name, str(value))]
    root = str(library.root.absolute())
    return _start(library, ["--library", root, "--network", network.value, "seed", *options], stop, timeout)


def end(library: Library, *, stop: Stop, timeout: float = 10) -> None:
    """End the seeder and wait until it is gone; SeederError when none runs, Interrupted on `stop`."""
    private = library.inner
    library.refuse_links()
    began = time.monotonic()
    ended = 0
    while is_running(private) or _keeper(library):
        if pid := _to_end(library):  # looked for again each time: a number may be another process's by now
            ended = pid
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        elif not ended and time.monotonic() > began + _PATIENCE and is_running(private):  # nor has it ended just now
            raise unsaid(private)
        if time.monotonic() > began + timeout:
            raise SeederError(
                f"the seeder does not end (process {ended})", f"kill -9 {ended} ends it; no memo is lost by that"
            )
        stop.wait(2 * _LOOK_EVERY)
        stop.check()
    if not ended:
        raise SeederError("no seeder is running", "memosync seed --detach starts one")


def _to_end(library: Library) -> int:
    """Find the process that a signal ends the seeder with; 0 where nothing can be believed."""
    if said := current(library):
        return said.process
    pid = process.lock_holder(lock_of(library.inner)) if is_running(library.inner) else _keeper(library)
    return pid if is_seeder(pid) else 0


def insist_running(library: Library) -> SeederState:
    """Give what the running seeder says of itself; SeederError when none runs, or nothing is said that is believed."""
    began = time.monotonic()
    while not (state := current(library)):
        if not is_running(library.inner):
            raise silent(library) or SeederError("no seeder is running", "memosync seed --detach starts one")
        _insist_said(library.inner, began)
        time.sleep(_LOOK_EVERY)
    return state


def silent(library: Library) -> SeederError | None:
    """Tell of a seeder that runs, or waits for the library, and of which nothing is said that can be believed."""
    if is_running(library.inner):
        return None if current(library) else unsaid(library.inner)
    if not os.path.isdir(library.inner) and (waiting := _keeper(library)):
        text = f"the library is not at {library.root}; process {waiting} waits for it, to serve it again"
        return SeederError(text, "memosync seed --stop ends it")
    return None


def _insist_said(private: Path, since: float) -> None:
    """Wait for what a seeder that has the lock says of itself, but not for long: SeederError."""
    now = time.monotonic()
    if (
        now > since + _PATIENCE
        and is_running(private)
        and not 0 < process.age(process.lock_holder(lock_of(private))) < _BEGINS
    ):
        raise unsaid(private)


def _keeper(library: Library) -> int:
    """Find a keeper that was started for the library in this place, and may be waiting for it; 0 for none."""
    return process.find(KEEPER, str(library.inner.absolute()))


def serve(
    library: Library,
    memos: Sequence[Memo],
    network: Network,
    state: SeederState | None,
    *,
    stop: Stop,
    console: Console,
    timeout: float = 60,
) -> SeederState:
    """Have the seeder, of which `state` is known, serve these memos; start it where none runs.

    Returns what it says once they can be fetched. SeederError when it cannot, LibraryError when one of them is damaged.
    """
    seen, written = {revision(library)}, library.index_time()  # now, and what the first became since
    deadline = time.monotonic() + timeout
    said, again = None, 0.0  # what `state` says may be old by now
    pause, unsaid_since = _SOONEST, 0.0  # since when nothing is said that can be believed
    fault: SeederError | None = None  # why it did not start
    with contextlib.suppress(SeederError):  # somebody else has just done it, or is at it
        state = _renew(library, state, stop, console) or state
    while time.monotonic() < deadline:
        stop.check()
        if not is_running(library.inner):
            if fault:
                raise fault
            try:
                state = start(library, network, Settings(), stop=stop, console=console)
            except SeederError as error:  # it may be ending still, or somebody else's has just begun
                fault = error
                continue
        seen.add(revision(library))
        # what 0.1.0 has seen is a time
        if state and state.ready and (state.seen >= written if state.version != __version__ else state.seen in seen):
            for memo in memos:
                if (swarm := swarm_of(library, state, memo)) and swarm.state == "damaged":
                    raise LibraryError(
                        f"memo {memo.id} is not served: {swarm.fault or 'it is damaged'}", "memosync check says more"
                    )
            return state
        stop.wait(pause)
        pause = min(1.2 * pause, _LOOK_EVERY)
        # two of its states in a row may have one stamp, where that knows only seconds
        if (new := stamp(library.inner)) != said or state is None or time.monotonic() > again:
            state, said, again = current(library), new, time.monotonic() + _READ_EVERY
        if state is None:
            unsaid_since = unsaid_since or time.monotonic()
            _insist_said(library.inner, unsaid_since)
        else:
            unsaid_since = 0.0
            if time.monotonic() > deadline - timeout + _PATIENCE and (why := why_unwritten(library.inner)):
                raise SeederError(f"the seeder cannot say whether it serves that: {why}", "mend that, and try again")
    raise SeederError("the seeder does not answer", "memosync seed --stop, then share again")


def swarm_of(library: Library, state: SeederState, memo: Memo) -> SwarmState | None:
    """Sum up what the swarms of a served memo do; None when it is not served."""
    forms = served_as(library, memo)
    return _sum_up(state, forms) if forms else None


def _sum_up(state: SeederState, forms: Sequence[InfoHash]) -> SwarmState:
    silent = silent_state(ready=state.ready)
    swarms = [state.swarms.get(infohash, SwarmState(infohash=infohash, state=silent)) for infohash in forms]
    return SwarmState(
        infohash=swarms[0].infohash,
        state=min((swarm.state for swarm in swarms), key=_WORST_FIRST.index),
        peers=sum(swarm.peers for swarm in swarms),
        given=sum(swarm.given for swarm in swarms),
        delivered=sum(swarm.delivered for swarm in swarms),
        fault=next((swarm.fault for swarm in swarms if swarm.fault), ""),
        addresses=tuple(dict.fromkeys(address for swarm in swarms for address in swarm.addresses)),
        fetching=tuple(peer for swarm in swarms for peer in swarm.fetching),
    )


def wait_until_delivered(
    library: Library,
    memos: Sequence[Memo],
    *,
    stop: Stop,
    on_wait: Callable[[Sequence[tuple[Memo, SwarmState]]], None],
    on_delivered: Callable[[Memo], None],
) -> None:
    """Wait until somebody has all of each memo; SeederError when the seeder ends before, Interrupted on `stop`.

    `on_wait` is told again and again of the memos that nobody has yet.
    """
    wanted = [(memo, forms) for memo in memos if (forms := served_as(library, memo))]
    while wanted:
        stop.check()
        state = current(library)
        if state is None and not is_running(library.inner):
            raise SeederError("the seeder ended before somebody had it", "memosync seed --detach starts it again")
        if state:
            found = [(memo, forms, _sum_up(state, forms)) for memo, forms in wanted]
            for memo, _, swarm in found:
                if swarm.delivered:
                    on_delivered(memo)
            wanted = [(memo, forms) for memo, forms, swarm in found if not swarm.delivered]
            if wanted:
                on_wait([(memo, swarm) for memo, _, swarm in found if not swarm.delivered])
        stop.wait(0.1)


def wait_for_devices(
    library: Library,
    look: Callable[[SeederState | None], tuple[bool, object]],
    patience: Callable[[SeederState | None], float],
    *,
    stop: Stop,
) -> bool:
    """Wait until `look` says that all is here, and False when nothing new has come for `patience`, in seconds.

    Beside that it gives what is here by now: what else comes from other devices is new, too. Interrupted on `stop`.
    """
    last, changed = None, time.monotonic()
    while True:
        state = current(library)
        is_done, here = look(state)
        if is_done:
            return True
        now = here, state.coming if state else ()
        if now != last:
            last, changed = now, time.monotonic()
        elif time.monotonic() - changed > patience(state):
            return False
        stop.check()
        stop.wait(0.1)


def _renew(library: Library, state: SeederState | None, stop: Stop, console: Console) -> SeederState | None:
    """Restart a seeder that another version of this program runs: on its port, with its options, and saying so."""
    if not state or state.version == __version__:
        return None
    other = f"of version {state.version}, this is version {__version__}"
    if not _is_detached(state):
        console.warn(f"process {state.pid} runs in the foreground, {other}: end it, and start it anew")
        return None
    console.tell(f"a seeder is running {other}: restarting it")
    arguments = process.arguments(state.keeper)
    with contextlib.suppress(SeederError):  # it has ended by itself
        end(library, stop=stop)
    return _start(library, arguments[arguments.index("--library") :], stop)


def _is_detached(state: SeederState) -> bool:
    return "--library" in process.arguments(state.keeper)


def _start(library: Library, arguments: list[str], stop: Stop, timeout: float = 30) -> SeederState:
    """Start a keeper in a session of its own; return when its seeder serves."""
    private = library.inner
    began = time.monotonic()
    deadline = began + timeout
    while is_running(private) and time.monotonic() < deadline:
        if read_state(private):
            raise second(private)
        _insist_said(private, began)
        stop.check()
        stop.wait(_LOOK_EVERY)  # it begins, or ends
    while True:
        ours, theirs = os.pipe()
        keeper = process.start(
            KEEPER, str(private.absolute()), str(theirs), *arguments, pass_fds=[theirs], start_new_session=True
        )
        os.close(theirs)
        try:
            said = readiness.wait_for(ours, deadline, stop)
        finally:
            os.close(ours)
        if stop.is_set():
            keeper.terminate()
            keeper.wait()
            stop.check()
        if said is None and time.monotonic() < deadline and keeper.wait() in _FROM_TERMINAL:
            continue  # a signal for who started it met it before it was in a session of its own
        break
    if said and "state" in said:
        return loads(said["state"])
    if said is None and keeper.poll() == 0 and is_running(private):  # another one was quicker
        raise second(private)
    if said:
        process.end(keeper, _PATIENCE)  # it is about to: nobody who looks now is to find it
    fault, hint = (said.get("fault"), said.get("hint")) if said else (None, None)
    text = f"the seeder did not start: {fault or 'it said nothing'}"
    raise SeederError(text, hint or f"all of it is in {log_of(private)}")
