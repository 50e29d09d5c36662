"""check: whether the library is what its index says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from ..errors import LibraryError
from ..library.store import Library
from ..memo import MemoId
from ..quantities import format_count
from ..stop import Stop
from .examine import Finding, examine
from .opening import Tell, adopt, open_library
from .rebuild import Progress, rebuild
from .repair import merge
from .rm import empty
from .surroundings import files_around, snapshots


def check(
    root: Path, *, repair: bool = False, now: datetime, stop: Stop, tell: Tell, on_progress: Progress
) -> Iterator[Finding]:
    """Find what there is to say of a library, and with `repair` mend what needs no guess.

    It opens the library as every verb does; of one whose index cannot be trusted it says just that.
    """
    library = Library(root)
    try:
        if repair:
            yield from _rebuild(library, now, stop, on_progress)
        library = open_library(root, tell)
        if repair:
            adopt(library, library.orphans(trashed=True), tell, now)
            yield from (Finding("note", subject, text) for subject, text in merge(library))
        if any(memo.trashed for memo in library.index().memos):
            empty(library, now=now, tell=tell)
        memos = library.index().memos
    except LibraryError as error:
        yield Finding("defect", "index", f"{error}{f'; {error.hint}' if error.hint else ''}")
        yield from snapshots(library)
        return
    yield Finding("ok", "index", format_count(len(memos)))
    sound = verified = 0
    for number, memo in enumerate(memos):
        stop.check()
        on_progress(f"of {len(memos)} memos", number / len(memos))
        found = list(examine(library, memo))
        if any(finding.severity == "defect" for finding in found):
            found = _look_again(library, memo.id, repair)
        yield from found
        if not any(finding.severity == "defect" for finding in found):
            sound, verified = sound + 1, verified + bool(memo.infohash)
    on_progress("", 1)
    yield Finding("ok", "memos", f"{sound} as the index says, {verified} of them byte for byte")
    yield from files_around(library)
    yield from snapshots(library)


def conclude(found: Iterable[Finding], repaired: bool) -> None:
    """Raise LibraryError when there is a defect."""
    if defects := sum(finding.severity == "defect" for finding in found):
        hint = "memosync check --repair mends what needs no guess, and deletes nothing"
        raise LibraryError(f"the library has {format_count(defects, 'defect')}", None if repaired else hint)


def _rebuild(library: Library, now: datetime, stop: Stop, on_progress: Progress) -> Iterator[Finding]:
    """Make a lost or broken index anew, and say which entry came from where."""
    with contextlib.suppress(LibraryError):
        library.index()
        return
    entries = rebuild(library, now=now, stop=stop, on_progress=on_progress)
    yield Finding("note", "index", f"it was rebuilt with {format_count(len(entries))}")
    for entry in entries:
        yield Finding("note", entry.memo.id, f"“{entry.memo.title}” is from {entry.source}")


def _look_again(library: Library, memo_id: MemoId, repair: bool) -> list[Finding]:
    """Examine a memo with nobody else at it, and mend what can be mended."""
    said: list[Finding] = []
    with contextlib.ExitStack() as locks:
        with contextlib.suppress(LibraryError):  # where we may make no lock, nobody writes
            if not locks.enter_context(library.lock(memo_id, wait=False)):
                return [Finding("note", memo_id, "another process is at it")]
        again = True
        while again and len(said) < 4:
            again, memo = False, library.index().get(memo_id)
            for finding in examine(library, memo) if memo else ():
                if repair and finding.mend:
                    try:
                        said.append(Finding("note", memo_id, finding.mend()))
                        again = True
                        break
                    except LibraryError as error:
                        finding = replace(finding, text=f"{finding.text}; {error}")
                said.append(finding)
    return said
