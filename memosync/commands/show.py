"""show: everything that is known of memos."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..audio.carried import NOTHING, Carried, to_matroska
from ..audio.loudness import Levels
from ..audio.webm import carried_by
from ..errors import AudioError, LibraryError, MemosyncError, SwarmError
from ..library.measures import levels_of
from ..library.store import Library
from ..memo import Memo
from ..network import Network
from ..seeder import client
from ..seeder.links import linker
from ..seeder.state import SeederState, SwarmState
from ..stop import Stop
from .arguments import Globals, choose, each, insist_here
from .list_ import Row, row_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A memo, what its swarm does, what its file carries besides its words, and how loud it is."""

    row: Row
    swarm: SwarmState | None  # None when it is not served
    carried: Carried
    levels: Levels | None
    fault: MemosyncError | None  # why there are no levels


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowOptions:
    """Which memos are to be shown."""

    memos: Sequence[str] = ()
    path: bool = False  # only where their files are


def show(
    command: Globals,
    options: ShowOptions,
    *,
    stop: Stop,
    answer: Callable[[Shown], None],
    on_listening: Callable[[float, bytes], None] = lambda _fraction, _wave: None,
) -> None:
    """Answer everything that is known of memos, or the paths of their files; one may be in the trash.

    One is listened to where that was not done before. LibraryError, AudioError or SwarmError when a file is gone,
    damaged or not here yet; what is known all the same is answered before.
    """
    library, console = command.open(stop), command.console
    memos = choose(library, options.memos, None)
    state = client.current(library)

    def show_one(memo: Memo) -> None:
        if options.path:
            console.answer(str(_path_of(library, memo)))
            return
        shown = _look_at(library, memo, state, command.network, stop, on_listening)
        answer(shown)
        if shown.fault:
            raise shown.fault

    each(memos, show_one, name=lambda memo: memo.label, stop=stop, console=console)


def _look_at(
    library: Library,
    memo: Memo,
    state: SeederState | None,
    network: Network,
    stop: Stop,
    on_listening: Callable[[float, bytes], None],
) -> Shown:
    swarm = client.swarm_of(library, state, memo) if state else None
    carried = NOTHING
    with contextlib.suppress(AudioError, OSError):  # what is wrong is said of its levels
        carried = carried_by(library.path(memo))
        carried = replace(carried, tags=to_matroska(carried, memo.words))  # else a description may stand there twice
    levels: Levels | None = None
    fault: MemosyncError | None = None
    try:
        insist_here(library, memo)
        levels = levels_of(library, memo, on_progress=on_listening, stop=stop)
    except (AudioError, LibraryError, SwarmError) as error:
        fault = error
    row = row_of(library, memo, linker(library, state, network))
    return Shown(row=row, swarm=swarm, carried=carried, levels=levels, fault=fault)


def _path_of(library: Library, memo: Memo) -> Path:
    """Give the path of a memo's file; LibraryError when it is gone."""
    path = library.path(memo)
    insist_here(library, memo)
    if not path.exists():
        raise LibraryError(f"its file is gone: {path}", "memosync check says what else is wrong")
    return path
