"""What `check` finds out about the machine: sound, disk, the seeder."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .. import files
from ..audio.microphone import find
from ..audio.portaudio import patiently
from ..audio.speaker import output
from ..errors import AudioError, LibraryError, reason_of
from ..library.store import Library
from ..network import Network
from ..quantities import format_count, format_size
from ..seeder import client
from ..seeder.state import SeederState
from ..stop import Stop
from .devices import devices
from .finding import Finding
from .network import port, sources

BYTES_AN_HOUR = 32_000 / 8 * 3600  # of a recording as it is made when nothing else is said
_MAKE_ROOM = "memosync list --trash | memosync rm --purge --force - empties the trash"


def look_over(
    root: Path, network: Network | None, *, device: str | None, trackers: Sequence[str], stop: Stop
) -> Iterator[Finding]:
    """Find what the machine can do for a library; nothing of it is a defect. No socket is opened without a network."""
    library = Library(root)
    yield _device("microphone", lambda: find(device).name, stop)
    yield _device("output", output, stop)
    yield _disk(library)
    yield _rights(library)
    yield from _readers(library)
    state = client.current(library)
    yield _seeder(library, state)
    if state:
        yield from _damaged(library, state)
    yield from devices(library, state)
    if network:
        if state:
            yield from port(state, network)
        yield from sources(library, network, trackers, stop)


def _device(subject: str, name: Callable[[], str], stop: Stop) -> Finding:
    try:
        return Finding("ok", subject, patiently(name, stop))
    except AudioError as error:
        stop.check()
        return Finding("note", subject, f"{error}{f'; {error.hint}' if error.hint else ''}")


def _disk(library: Library) -> Finding:
    try:
        free = files.free_space(library.root)
    except OSError as error:
        return Finding("note", "disk", f"its free space is not known: {reason_of(error)}")
    hours = free / BYTES_AN_HOUR
    text = f"{format_size(free)} free, {hours:.0f} hours of recording"
    if hours >= 1:
        return Finding("ok", "disk", text)
    return Finding("note", "disk", f"{text}; {_MAKE_ROOM}" if files.names(library.trash) else text)


def _rights(library: Library) -> Finding:
    root = library.root
    if os.path.lexists(root) and not root.is_dir():
        return Finding("note", "rights", f"{root} is no directory; give another --library")
    if closed := library.closed():
        return Finding("note", "rights", f"{closed} cannot be written; list, show, play and export work")
    if refused := library.refused():
        more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
        text = f"{refused[0]}{more} cannot be read or written by you; chown -R or chmod -R u+rwX gives them back"
        return Finding("note", "rights", text)
    return Finding("ok", "rights", f"{root} can be written")


def _readers(library: Library) -> Iterator[Finding]:
    """Say what every account of the machine can read; one that we made is closed to them."""
    root = library.root.resolve()
    with contextlib.suppress(OSError, LibraryError):
        if not all(place.stat().st_mode & stat.S_IXOTH for place in (root, *root.parents)):
            return
        memos = [library.path(memo) for memo in library.index().memos]
        readable = [path for path in memos if files.mode_of(path) & stat.S_IROTH]
        what = ["the index"] if files.mode_of(root / "index.toml") & stat.S_IROTH else []
        what += [format_count(len(readable))] if readable else []
        if what:
            text = f"every account of this machine can read {' and '.join(what)}; chmod 700 {root} closes it"
            yield Finding("note", "readers", text)


def _seeder(library: Library, state: SeederState | None) -> Finding:
    if state:
        where = f"on port {state.port}, network {state.network.value}"
        return Finding("ok" if state.ready else "note", "seeder", f"process {state.process} serves {where}")
    if error := client.silent(library):
        return Finding("note", "seeder", f"{error}; {error.hint}")
    try:
        shared = sum(memo.is_served for memo in library.index().memos)
    except LibraryError:
        shared = 0
    fault = client.last_fault(library)
    if shared and fault:
        return Finding("note", "seeder", f"none runs, {format_count(shared)} shared; the last one said: {fault}")
    if shared:
        return Finding("note", "seeder", f"none runs, {format_count(shared)} shared; memosync seed --detach starts it")
    return Finding("ok", "seeder", "none runs, and nothing is shared")


def _damaged(library: Library, state: SeederState) -> Iterator[Finding]:
    """Say which memos the running seeder does not serve, whatever was found of their files."""
    with contextlib.suppress(LibraryError):  # which was said
        for memo in library.index().memos:
            if (swarm := client.swarm_of(library, state, memo)) and swarm.state == "damaged":
                text = f"the seeder does not serve it: {swarm.fault or 'it is damaged'}; it looks again by itself"
                yield Finding("note", memo.id, text)
