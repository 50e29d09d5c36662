"""What every verb does first: open the library, and bring home what a crash left in it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from ..errors import MemosyncError
from ..library.store import Library
from ..memo import MemoId
from .entries import Entry, entry_of
from .finishing import recover
from .indexes import elsewhere

Tell = Callable[[str], None]


def open_library(root: Path, tell: Tell) -> Library:
    """Open a library; finish every recording whose process died and adopt every file the index does not know.

    LibraryError when the index cannot be trusted; what cannot be mended is told, and the verb goes on.
    """
    library = Library(root)
    library.index()
    for memo_id, part in library.recordings():
        _mend(library, memo_id, part, recover, tell)
    for memo_id, path in library.leftovers():
        _mend(library, memo_id, path, lambda library, memo_id, path, _tell: library.settle(memo_id, path), tell)
    adopt(library, library.orphans(), tell)
    return library


def adopt(library: Library, orphans: list[tuple[MemoId, Path]], tell: Tell, now: datetime | None = None) -> None:
    """Name in the index what it does not know, a hundred at a time, and nothing that somebody is about to name."""
    known = elsewhere(library, [memo_id for memo_id, _ in orphans])
    for start in range(0, len(orphans), 100):
        with contextlib.ExitStack() as locks:
            found: list[Entry] = []
            for memo_id, path in orphans[start : start + 100]:
                with _leaving(path, tell):
                    if locks.enter_context(library.lock(memo_id, wait=False)) and path.exists():
                        found.append(entry_of(library, memo_id, path, known, now))
            new = library.name([entry.memo for entry in found])
            for entry in found:
                if entry.memo in new:
                    tell(f"adopted {entry.memo.file}, which the index did not name, by {entry.source}")


def _mend(library: Library, memo_id: MemoId, path: Path, mend: Callable[..., None], tell: Tell) -> None:
    """Do it only while nobody else is at it."""
    with _leaving(path, tell), library.lock(memo_id, wait=False) as held:
        if held and path.exists():
            mend(library, memo_id, path, tell)


@contextlib.contextmanager
def _leaving(path: Path, tell: Tell) -> Iterator[None]:
    """Tell what cannot be mended, and never let it stop the verb."""
    try:
        yield
    except (MemosyncError, OSError) as error:
        tell(f"warning: {path.name} is left as it is: {error}")
