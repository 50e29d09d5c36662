"""check: whether the library is what its index says, and what the machine can do for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ..console import Console
from ..doctor.finding import Finding
from ..doctor.leftovers import leftovers, snapshots
from ..doctor.machine import look_over
from ..doctor.memos import examine
from ..doctor.rebuild import rebuild
from ..doctor.repair import merge
from ..errors import LibraryError
from ..library import sealed
from ..library.adopt import adopt
from ..library.patience import Patience
from ..library.store import Library
from ..memo import MemoId
from ..quantities import format_count
from ..stop import Stop
from .arguments import Globals, of_all
from .rm import empty


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """How far to look."""

    repair: bool = False  # mend what needs no guess
    net: bool = False  # ask the trackers and the DHT, too
    device: str | None = None  # the microphone that is used
    trackers: Sequence[str] = ()  # those that are used instead of the default ones


def check(command: Globals, options: CheckOptions, *, now: datetime, stop: Stop) -> list[Finding]:
    """Find what there is to say of the library and the machine, and with `repair` mend what needs no guess."""
    found = list(check_library(command, repair=options.repair, now=now, stop=stop))
    if options.net:
        command.console.tell("asking who answers on the network")
    network = command.network if options.net else None
    found += look_over(command.root, network, device=options.device, trackers=options.trackers, stop=stop)
    return found


def check_library(command: Globals, *, repair: bool = False, now: datetime, stop: Stop) -> Iterator[Finding]:
    """Find what there is to say of a library.

    It opens the library as every verb does; of one whose index cannot be trusted it says just that.
    """
    console = command.console
    library = Library(command.root, patience=Patience(stop, console.tell))
    try:
        if repair:
            yield from _rebuild(library, now, stop, console)
        library = command.open(stop)
        if repair:
            adopt(library, library.orphans(trashed=True), console, now)
            yield from (Finding("note", subject, text) for subject, text in merge(library))
        if any(memo.trashed for memo in library.index().memos) and not library.closed():
            empty(library, console, now=now)
        memos = library.index().memos
    except LibraryError as error:
        yield Finding("defect", "index", f"{error}{f'; {error.hint}' if error.hint else ''}")
        yield from snapshots(library)
        return
    yield Finding("ok", "index", format_count(len(memos)))
    intact = verified = 0
    for number, memo in enumerate(memos):

        def look(fraction: float, done: int = number) -> None:
            stop.check()
            console.progress(of_all(memos), min((done + fraction) / len(memos), 0.999))

        look(0)
        found = list(examine(library, memo, look))
        if any(finding.is_defect for finding in found):
            found = _look_again(library, memo.id, repair, look)
        yield from found
        if not any(finding.is_defect for finding in found):
            intact, verified = intact + 1, verified + memo.is_frozen
    console.progress("", 1)
    yield Finding("ok", "memos", f"{intact} as the index says, {verified} of them byte for byte")
    yield from _end_links(library, repair)
    yield from leftovers(library)
    yield from snapshots(library)


def conclude(found: Iterable[Finding], repaired: bool) -> None:
    """Raise LibraryError when there is a defect."""
    if defects := sum(finding.is_defect for finding in found):
        hint = "memosync check --repair mends what needs no guess, and deletes nothing"
        raise LibraryError(f"the library has {format_count(defects, 'defect')}", None if repaired else hint)


def _rebuild(library: Library, now: datetime, stop: Stop, console: Console) -> Iterator[Finding]:
    """Make a lost or broken index anew, and say which entry came from where."""
    with contextlib.suppress(LibraryError):
        library.index()
        return
    entries = rebuild(library, now=now, stop=stop, console=console)
    yield Finding("note", "index", f"it was rebuilt with {format_count(len(entries))}")
    for entry in entries:
        yield Finding("note", entry.memo.id, f"“{entry.memo.title}” is from {entry.source}")


def _end_links(library: Library, repair: bool) -> Iterator[Finding]:
    """Find memos whose link before was not ended, with nobody else at them, and end it."""
    for memo in sealed.left_alive(library):
        text = "an earlier private link of it was not ended; nothing is served by it now"
        with contextlib.ExitStack() as locks:
            with contextlib.suppress(LibraryError):  # where we may make no lock, nobody writes
                if not locks.enter_context(library.lock(memo.id, wait=False)) or memo not in sealed.left_alive(library):
                    continue
            if repair:
                try:
                    sealed.end_others(library, memo, None)
                    yield Finding("note", memo.id, "an earlier private link of it is ended")
                    continue
                except LibraryError as error:
                    text = f"{text}; {error}"
            yield Finding("defect", memo.id, text)


def _look_again(library: Library, memo_id: MemoId, repair: bool, on_progress: Callable[[float], None]) -> list[Finding]:
    """Examine a memo with nobody else at it, and mend what can be mended."""
    said: list[Finding] = []
    with contextlib.ExitStack() as locks:
        with contextlib.suppress(LibraryError):  # where we may make no lock, nobody writes
            if not locks.enter_context(library.lock(memo_id, wait=False)):
                return [Finding("note", memo_id, "another process is at it")]
        again = True
        while again and len(said) < 4:
            again, memo = False, library.index().get(memo_id)
            for finding in examine(library, memo, on_progress) if memo else ():
                if repair and finding.mend:
                    try:
                        said.append(Finding("note", memo_id, finding.mend()))
                        again = True
                        break
                    except LibraryError as error:
                        finding = replace(finding, text=f"{finding.text}; {error}")
                said.append(finding)
    return said
