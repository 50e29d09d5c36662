"""The seeder itself: it serves what the index says until it is told to end, and says how it is."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from .. import files
from ..console import Console
from ..errors import Interrupted, LibraryError, MemosyncError, reason_of
from ..library import sealed
from ..library.store import Library
from ..magnet import InfoHash
from ..network import Network
from ..stop import Stop
from ..torrent.seeding import Swarm
from ..torrent.server import MOST_PEERS, Server
from ..torrent.session import wait_for_port
from . import readiness
from .inotify import SELDOM, Changes
from .reconcile import Reconciler
from .state import (
    Kept,
    SeederState,
    Settings,
    SwarmState,
    dumps,
    is_in_place,
    last_port,
    silent_state,
    sole,
    wait_for_library,
    write_fault,
    write_state,
)
from .sync import Sync, SyncState

_LACKS_EVERY, _COMPLETE_EVERY = 0.5, 60.0  # seconds between looks whether a form is lacking, and at all of them
_MET_EVERY = 0.1  # seconds between looks at how sync is, while a device is met
_PATIENCE = 3.0  # seconds for whoever has the port that links name, most likely a seeder that is ending
_ARENA_MAX = -8  # of mallopt(3)
MOST_MEMORY = 2**31  # bytes; ten thousand memos take a tenth of it
# Their sessions end with the process: 2.1.1 was seen to take three seconds to end one whose peer is gone, and nothing
# else of Python runs meanwhile.
_open_to_the_end: list[tuple[Server, Sync]] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be served, how, and who is told."""

    library: Library
    network: Network
    settings: Settings
    kept: Kept | None = None  # by a keeper
    console: Console
    on_state: Callable[[SeederState, int], None] = lambda _state, _served: None


def run(task: Task, stop: Stop) -> None:
    """Serve until `stop`, and again whenever a library that was moved or unplugged is back in its place.

    SeederError when another seeder serves this library, or there is nothing to listen on; one that is kept leaves the
    waiting to its keeper: LibraryError.
    """
    library, kept = task.library, task.kept
    private = library.inner
    if not kept:
        library.prepare()
    files.never_make(library.root, private)
    _share_memory()
    while not stop.is_set():
        with sole(private, kept.lock if kept else None) as lock:
            _serve(task, lock, stop)
        if not stop.is_set():
            task.console.log(gone := f"the library is not at {library.root} any more; served again when it is back")
            if kept:
                raise LibraryError(gone)
            gc.collect()  # libtorrent has the port until nothing names the session any more
            wait_for_library(private, stop)


def _serve(task: Task, lock: int, stop: Stop) -> None:
    """Serve until `stop`, and no longer than the library is in its place; what cannot be written is tried again."""
    library, log, over = task.library, task.console.log, Stop()
    private, settings = library.inner, task.settings
    spoken = _Spoken(task)
    server = _listening(task, spoken.first, stop)
    reconciler = Reconciler(library, server, task.network, log)
    reconciler.look()
    lacking = threading.Event()  # and not the session: it has its port as long as anybody names it
    threading.Thread(target=_complete, args=(library.root, lacking, log, over), daemon=True).start()
    sync = Sync(library.root, task.network, up=settings.up, down=settings.down, log=log)
    syncing = threading.Thread(target=sync.run, args=(over,), daemon=True)
    syncing.start()
    changes = Changes(library.root, private, library.keys)
    try:
        while not stop.is_set() and is_in_place(private, lock):
            rests = server.is_idle and spoken.seen == reconciler.seen
            if rests:
                changes.wait(stop, _MET_EVERY if sync.state.met else SELDOM)
            reconciler.look()
            if reconciler.lacks_forms():
                lacking.set()
            server.poll(0 if rests else 0.1)
            spoken.say(server, reconciler.seen, sync.state)
    finally:
        changes.close()
        over.set()
        if stop.is_set():
            _open_to_the_end.append((server, sync))
        syncing.join(timeout=2)
        if (known := server.close()) and is_in_place(private, lock):
            with contextlib.suppress(LibraryError):  # it may be lost
                library.session_state(known)


def _listening(task: Task, me: SeederState, stop: Stop) -> Server:
    """Open what serves, on the port that was chosen or the one that links name; on another one while that is taken."""
    settings, last, network = task.settings, me.usual_port, task.network
    descriptors = _raise_limits()
    is_chosen = bool(settings.port) and not me.restarts
    if last and not is_chosen:
        wait_for_port(settings.port or last, network, stop, _PATIENCE)
    server = Server(
        network,
        port=settings.port or last,
        insist=is_chosen,
        up=settings.up,
        down=settings.down,
        descriptors=descriptors,
        dht=task.library.session_state(),
        log=task.console.log,
    )
    task.console.log(f"serving on port {server.port}")
    if server.port != server.wanted:
        task.console.warn(
            f"another program has port {server.wanted}, which links name; it is taken back when it is free"
        )
    return server


class _Spoken:
    """What the seeder says of itself: on the disk where that takes it; why it does not is logged once."""

    def __init__(self, task: Task) -> None:
        """Say that one begins, on the port of the last time."""
        self._task, self._private = task, task.library.inner
        self._fault = ""
        self._is_written = False
        self._said: SeederState | None = None
        self._said_at, self._synced = 0.0, SyncState()
        last, kept = last_port(self._private), task.kept
        self.first = SeederState(network=task.network, port=last, usual_port=last, pid=os.getpid())
        if kept:
            self.first = replace(self.first, keeper=os.getppid(), restarts=kept.restarts)
        self._write(self.first)

    @property
    def seen(self) -> int | None:
        """The revision that was said to be served; None while nothing was said of it."""
        return self._said.seen if self._said else None

    def say(self, server: Server, seen: int, synced: SyncState) -> None:
        """Say how the server is that acts on the index of `seen`: what others wait for at once, else every second."""
        said, is_new = self._said, replace(synced, passed=0) != replace(self._synced, passed=0)
        urgent = said is None or not said.ready or said.seen != seen or is_new
        urgent |= said is not None and (said.addresses, said.port) != (server.addresses, server.port)
        self._synced = synced
        if not urgent and time.monotonic() - self._said_at < 1:  # looking at ten thousand swarms takes a while
            return
        state = _state_of(server, self.first, said, seen, synced)
        self._said_at = time.monotonic()
        if state != said or not self._is_written:
            self._write(state)
            if (kept := self._task.kept) and state.ready and not (said and said.ready):
                readiness.say(kept.readiness, state=dumps(state))
            self._said = state
            self._task.on_state(state, server.number)

    def _write(self, state: SeederState) -> None:
        try:
            write_state(self._private, state)
            self._is_written, self._fault = True, ""
        except OSError as error:
            self._is_written = False
            if self._fault != (fault := reason_of(error)):
                self._fault = fault
                self._task.console.log(f"how it is cannot be written: {fault}; it goes on, and writes it when it can")


@contextlib.contextmanager
def be_kept(library: Library, kept: Kept, stop: Stop) -> Iterator[None]:
    """Live as a keeper's child: set `stop` when standard input, a pipe from it, ends; die before the memory is full.

    What goes wrong inside is said to whoever started the seeder, too.
    """
    # peers that ask and never read make libtorrent 2.1.1 grow for as long as they go on
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY if hard < 0 else min(MOST_MEMORY, hard), hard))

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1):
                pass
        stop.set()

    threading.Thread(target=watch, daemon=True).start()
    files.never_make(library.root, library.inner)
    try:
        yield
    except Interrupted:
        raise
    except MemosyncError as error:
        if is_in_place(library.inner, kept.lock):
            write_fault(library.inner, str(error))
        readiness.say(kept.readiness, fault=str(error), hint=error.hint)
        raise


def _complete(root: Path, lacking: threading.Event, log: Callable[[str], None], stop: Stop) -> None:
    """Make sealed forms again that are lost, while the others are served: large ones take a while, or room is made."""
    said: set[str] = set()
    again = 0.0

    def say_once(text: str) -> None:
        if text not in said:
            said.add(text)
            log(text)

    while not stop.is_set():
        if lacking.is_set() and time.monotonic() > again:
            lacking.clear()
            with contextlib.suppress(LibraryError):  # which whoever follows the index says
                sealed.complete(Library(root), say_once)
            again = time.monotonic() + _COMPLETE_EVERY
        stop.wait(_LACKS_EVERY)


def _share_memory() -> None:
    """Have all threads take memory from two places: from one for each, ten thousand memos take 6 MB more (glibc)."""
    with contextlib.suppress(AttributeError, OSError):  # another system
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 2)


def _raise_limits() -> int:
    """Allow as many open files, peers among them, as the machine does, and give their number."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard >= 0 else 2**20


def _state_of(server: Server, me: SeederState, before: SeederState | None, seen: int, synced: SyncState) -> SeederState:
    """Say how the server is that has acted on the index of `seen`; once ready it stays so while something is added."""
    is_quiet = not server.checking
    ready = is_quiet or bool(before and before.ready)
    return replace(
        me,
        port=server.port,
        usual_port=server.wanted,
        addresses=server.addresses,
        ready=ready,
        seen=seen if is_quiet else before.seen if before else 0,
        crowded=server.announced is not None,
        announced=server.announced or (),
        answering=tuple(sorted(server.answering)),
        swarms=_swarms(server, ready),
        met=synced.met,
        even=synced.even,
        coming=tuple(f"{uid} {percent}" for uid, percent in synced.coming),
        going=tuple(f"{uid} {percent}" for uid, percent in synced.going),
        passed=synced.passed,
    )


def _furthest(swarm: Swarm) -> list[tuple[int, str]]:
    return sorted(((percent, address) for address, percent in swarm.fetching.items()), reverse=True)


def _swarms(server: Server, ready: bool) -> dict[InfoHash, SwarmState]:
    """Only those with something to say: ten thousand idle ones need not be written every second."""
    silent = silent_state(ready=ready)
    return {
        infohash: SwarmState(
            infohash=infohash,
            state=swarm.state,
            peers=swarm.peers,
            given=swarm.given,
            delivered=swarm.delivered,
            addresses=tuple(sorted(swarm.addresses)[:MOST_PEERS]),
            fault=swarm.fault,
            fetching=tuple(f"{address} {percent}" for percent, address in _furthest(swarm)[:MOST_PEERS]),
        )
        for infohash, swarm in server.swarms()
        if swarm.peers or swarm.given or swarm.delivered or swarm.state != silent
    }
