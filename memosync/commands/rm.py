"""rm and restore: to the trash, where memos stay for a month, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from ..console import Console
from ..errors import LibraryError, SwarmError, UsageError
from ..library import downloads, trash
from ..library.downloads import Download
from ..library.group import others
from ..library.places import is_awaited
from ..library.store import Library
from ..memo import Memo
from ..quantities import format_count
from ..seeder import client
from ..seeder.state import SeederState
from ..stop import Stop
from .arguments import Globals, choose, in_batches, titles

_GRACE, _PATIENCE = 3.0, 60.0  # seconds without anything new: where no other device is there, and where one is


def rm(command: Globals, words: Sequence[str], *, purge: bool, force: bool, now: datetime) -> None:
    """Throw memos away, with `purge` for ever, and answer their ids; they are served no longer.

    What did not arrive whole is named by the beginning of its infohash, and can only be purged. To purge is asked for,
    unless with `force`: UsageError without a yes, or without anybody to ask.
    """
    library, console = command.open(), command.console
    unfinished, words = downloads.named(library, words)
    memos = choose(library, words, None if purge else False)
    if unfinished and not purge:
        name = unfinished[0].name
        raise UsageError(f"{name} did not arrive whole, and the trash is for memos", f"memosync rm --purge {name}")
    if purge and not force:
        _refuse_unasked([*unfinished, *memos], console)
    for download in unfinished:
        downloads.drop(library, download)
        console.answer(download.infohash)
        console.tell(f"dropped: {titles([download])}; memosync fetch with its link begins anew")
    throw_away(library, memos, console, purge=purge, now=now)
    empty(library, console, now=now)


def restore(command: Globals, words: Sequence[str], *, stop: Stop) -> None:
    """Bring memos back as they were, and answer their ids; those that were shared are served again.

    SwarmError when the file of one is on another device, and does not come.
    """
    library = command.open(stop)
    memos = choose(library, words, True)
    bring_back(library, memos, command.console)
    _wait_for_files(library, memos, command.console, stop)


def _wait_for_files(library: Library, memos: Sequence[Memo], console: Console, stop: Stop) -> None:
    """Wait for what comes from other devices, longer while one is there that may have it."""
    ids = {memo.id for memo in memos}

    def awaited() -> list[Memo]:
        return [memo for memo in library.index().memos if memo.id in ids and is_awaited(library, memo)]

    def look(_state: SeederState | None) -> tuple[bool, object]:
        return not (left := awaited()), left

    def patience(state: SeederState | None) -> float:
        return _PATIENCE if state and state.met else _GRACE

    if missing := awaited():
        console.tell(f"waiting for other devices: {titles(missing)}")
        if not client.wait_for_devices(library, look, patience, stop=stop):
            text = f"{format_count(len(awaited()))} not here yet, to come from other devices"
            raise SwarmError(text, "memosync sync says how they are; nothing more needs to be typed")


def throw_away(library: Library, memos: Sequence[Memo], console: Console, *, purge: bool, now: datetime) -> None:
    for batch in in_batches(library, memos, console):
        if purge:
            trash.destroy(library, batch, now)
        else:
            trash.put(library, batch, now)
    for memo in memos:
        console.answer(memo.id)
    if memos:
        where = "purged" if purge else "in the trash, from where memosync restore brings it back"
        if (many := len(others(library))) and any(memo.uid for memo in memos):
            where = (
                "purged here; what other devices have of it stays in their trash"
                if purge
                else f"{where} on {'both' if many == 1 else f'all {many + 1}'} devices"
            )
        console.tell(f"{where}: {titles(memos)}")


def bring_back(library: Library, memos: Sequence[Memo], console: Console) -> None:
    for batch in in_batches(library, memos, console):
        trash.take_back(library, batch)
    for memo in memos:
        console.answer(memo.id)
    if memos:
        console.tell(f"back from the trash: {titles(memos)}")
    if again := [memo for memo in memos if replace(memo, trashed=None).is_served]:
        console.tell(f"shared as before: {titles(again)}; memosync share --stop ends that")


def empty(library: Library, console: Console, *, now: datetime) -> None:
    """Purge what has been in the trash for a month, and say so; a disk that refuses is a warning."""
    try:
        memos = trash.overdue(library, now)
        for batch in in_batches(library, memos, console):
            trash.purge(library, [memo for memo in memos if memo.id in batch])
        if memos:
            console.tell(f"purged after a month in the trash: {titles(memos)}")
    except LibraryError as error:
        console.warn(f"the trash is left as it is: {error}")


def _refuse_unasked(memos: Sequence[Memo | Download], console: Console) -> None:
    """Ask once whether all of them are to be destroyed."""
    if memos and not (said := console.ask(f"destroy {titles(memos)} for ever?")):
        nobody = "nothing is purged where nobody can be asked", "--force purges without a question"
        raise UsageError(*nobody) if said is None else UsageError("nothing is purged")
