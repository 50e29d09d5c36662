"""show: everything that is known of a memo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..audio.loudness import Levels
from ..errors import AudioError, LibraryError
from ..library.store import Library
from ..memo import Memo
from ..seeder import SwarmState, read_state
from ..stop import Stop
from .linking import Linker
from .list_ import Row, row_of
from .measuring import levels_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A memo, what its swarm does, and how loud it is."""

    row: Row
    swarm: SwarmState | None  # None when it is not served
    levels: Levels | None
    fault: AudioError | LibraryError | None  # why there are no levels


def show(
    library: Library, memo: Memo, link: Linker, *, on_progress: Callable[[float, bytes], None], stop: Stop
) -> Shown:
    """Find out everything of a memo; it is listened to where that was not done before."""
    state = read_state(library.private)
    served = state and memo.shared and not memo.trashed and memo.infohash
    swarm = state.swarms.get(served, SwarmState(infohash=served)) if state and served else None
    levels: Levels | None = None
    fault: AudioError | LibraryError | None = None
    try:
        levels = levels_of(library, memo, on_progress=on_progress, stop=stop)
    except (AudioError, LibraryError) as error:
        fault = error
    return Shown(row=row_of(library, memo, link), swarm=swarm, levels=levels, fault=fault)


def path_of(library: Library, memo: Memo) -> Path:
    """Give the path of a memo's file; LibraryError when it is gone."""
    path = library.path(memo)
    if not path.exists():
        raise LibraryError(f"the file of memo {memo.id} is gone: {path}", "memosync check says what else is wrong")
    return path
