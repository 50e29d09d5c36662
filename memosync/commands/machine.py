"""What `check` finds out about the machine: sound, disk, the seeder, and who answers on the network."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .. import files, seeder
from ..errors import AudioError, LibraryError, Stop
from ..library import Library
from ..microphone import find
from ..network import DEFAULT_TRACKERS, Network, parse_address, usable_trackers
from ..portaudio import patiently
from ..quantities import format_size
from ..session import is_reachable
from ..session.fetch import ask
from ..speaker import output
from .examine import Finding

BYTES_AN_HOUR = 32_000 / 8 * 3600  # of a recording as it is made when nothing else is said
PATIENCE = 15  # seconds that a tracker has for its answer


def look_over(
    root: Path, network: Network | None, *, device: str | None, trackers: Sequence[str], stop: Stop
) -> Iterator[Finding]:
    """Find what the machine can do for a library; nothing of it is a defect. No socket is opened without a network."""
    library = Library(root)
    yield _hear("microphone", lambda: find(device).name, stop)
    yield _hear("output", output, stop)
    yield _disk(root)
    yield _rights(library)
    state = seeder.read_state(library.private)
    yield _seeder(library, state)
    if network:
        if state:
            yield from _port(state, network)
        yield from _sources(library, network, trackers, stop)


def _hear(subject: str, name: Callable[[], str], stop: Stop) -> Finding:
    try:
        return Finding("ok", subject, patiently(name, stop))
    except AudioError as error:
        stop.check()
        return Finding("note", subject, f"{error}{f'; {error.hint}' if error.hint else ''}")


def _disk(root: Path) -> Finding:
    try:
        free = files.free_space(root)
    except OSError as error:
        return Finding("note", "disk", f"its free space is not known: {error.strerror}")
    hours = free / BYTES_AN_HOUR
    return Finding("ok" if hours >= 1 else "note", "disk", f"{format_size(free)} free, {hours:.0f} hours of recording")


def _rights(library: Library) -> Finding:
    places = [library.root, library.private, library.root / "index.toml"]
    for place in places if library.root.exists() else [library.root.parent]:
        if place.exists() and not os.access(place, os.W_OK):
            return Finding("note", "rights", f"{place} cannot be written; list, show, play and export work")
    return Finding("ok", "rights", f"{library.root} can be written")


def _seeder(library: Library, state: seeder.SeederState | None) -> Finding:
    if state:
        where = f"on port {state.port}, network {state.network.value}"
        return Finding("ok" if state.ready else "note", "seeder", f"process {state.keeper or state.pid} serves {where}")
    try:
        shared = sum(memo.shared and not memo.trashed for memo in library.index().memos)
    except LibraryError:
        shared = 0
    if shared:
        return Finding("note", "seeder", f"none runs, and {shared} memos are shared; memosync seed --detach starts it")
    return Finding("ok", "seeder", "none runs, and nothing is shared")


def _port(state: seeder.SeederState, network: Network) -> Iterator[Finding]:
    for text in state.addresses:
        address = parse_address(text)
        if address and network.allows(address):
            answer = "takes connections" if (here := is_reachable(text, state.port)) else "takes no connection even"
            yield Finding("ok" if here else "note", "port", f"{text}:{state.port} {answer} from here")


def _sources(library: Library, network: Network, trackers: Sequence[str], stop: Stop) -> Iterator[Finding]:
    usable, doubtful = usable_trackers(trackers or DEFAULT_TRACKERS, network)
    if not usable + doubtful:
        yield Finding("note", "trackers", f"with --network {network.value} there is none to ask")
    if not usable + doubtful and network is not Network.PUBLIC:
        return
    answers = ask(usable + doubtful, network, stop=stop, timeout=PATIENCE, dht=library.session_state())
    for source, answer in answers.items():
        if "://" in source or (source == "DHT" and network is Network.PUBLIC):
            good = re.fullmatch(r"\d+ peers|nobody has it so far", answer)
            yield Finding("ok" if good else "note", source, "it answers" if good else answer)
