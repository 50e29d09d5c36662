"""show: everything that is known of a memo."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..audio.carried import NOTHING, Carried, to_matroska
from ..audio.loudness import Levels
from ..audio.webm import carried_by
from ..errors import AudioError, LibraryError, MemosyncError, SwarmError
from ..library.measures import levels_of
from ..seeder import client
from ..seeder.links import linker
from ..seeder.state import SwarmState
from ..stop import Stop
from .arguments import Globals, insist_here
from .list_ import Row, row_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A memo, what its swarm does, what its file carries besides its words, and how loud it is."""

    row: Row
    swarm: SwarmState | None  # None when it is not served
    carried: Carried
    levels: Levels | None
    fault: MemosyncError | None  # why there are no levels


def show(
    command: Globals,
    memo: str,
    *,
    stop: Stop,
    on_listening: Callable[[float, bytes], None] = lambda _fraction, _wave: None,
) -> Shown:
    """Find out everything of a memo, which may be in the trash; it is listened to where that was not done before."""
    library = command.open(stop)
    found = library.find(memo, trashed=None)
    state = client.current(library)
    swarm = client.swarm_of(library, state, found) if state else None
    carried = NOTHING
    with contextlib.suppress(AudioError, OSError):  # what is wrong is said of its levels
        carried = carried_by(library.path(found))
        carried = replace(carried, tags=to_matroska(carried, found.words))  # else a description may stand there twice
    levels: Levels | None = None
    fault: MemosyncError | None = None
    try:
        insist_here(library, [found])
        levels = levels_of(library, found, on_progress=on_listening, stop=stop)
    except (AudioError, LibraryError, SwarmError) as error:
        fault = error
    row = row_of(library, found, linker(library, state, command.network))
    return Shown(row=row, swarm=swarm, carried=carried, levels=levels, fault=fault)


def path_of(command: Globals, memo: str) -> str:
    """Give the path of a memo's file; LibraryError when it is gone."""
    library = command.open()
    found = library.find(memo, trashed=None)
    path = library.path(found)
    insist_here(library, [found])
    if not path.exists():
        raise LibraryError(f"the file of memo {found.id} is gone: {path}", "memosync check says what else is wrong")
    return str(path)
