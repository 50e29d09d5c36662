"""Devices in sync, as people use them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from memosync.errors import MemosyncError
from memosync.library.store import Library
from support import seeder
from support.library import Listed, memos
from support.program import Program
from support.sound import noise
from support.waiting import wait_until

Before = tuple[list[int], list[str]]  # the processes of the seeders, and the titles of what is there
_more = itertools.count()  # for titles that nothing has yet


def record(program: Program, title: str, *options: str) -> str:
    """Record something that nobody else recorded, and give its id."""
    return program("record", noise(program.library.parent / f"{title}.flac", 1), "--title", title, *options).out.strip()


def join(inviter: Program, joiner: Program, *options: str) -> str:
    """Have one library join another one's group, and give the invitation."""
    invitation = inviter("sync", "--invite", "device", *options).out
    joiner("sync", "-", stdin=invitation)
    return invitation.strip()


def named(program: Program, title: str) -> Listed:
    """Give what `list` says of the only memo of this title."""
    (memo,) = (memo for memo in memos(program) if memo["title"] == title)
    return memo


def wait_until_even(programs: Iterable[Program]) -> None:
    """Wait until each says just what another one does."""
    for program in programs:
        wait_until(lambda: seeder.state(program).get("even"), f"{program.library} to say the same")  # noqa: B023


def titles(program: Program) -> list[str]:
    return sorted(memo["title"] for memo in memos(program))


def is_here(program: Program, title: str) -> bool:
    """Tell whether a memo of this title is listed, and its file is here."""
    return any(memo["title"] == title and Path(memo["path"]).exists() for memo in memos(program))


def is_in_index(program: Program, title: str) -> bool:
    """Tell the same from the index alone: a hundred looks cost less than one run of the program."""
    library = Library(program.library)
    try:
        here = [memo for memo in library.index().memos if not memo.trashed and memo.title == title]
    except MemosyncError:  # it is not there yet
        return False
    return any(library.path(memo).exists() for memo in here)


def wait_for(title: str, *programs: Program) -> None:
    for program in programs:
        wait_until(partial(is_in_index, program, title), f"{title} in {program.library}")
        wait_until(partial(is_here, program, title), f"{title} to be listed")


def begin(pair: tuple[Program, Program]) -> Before:
    """Have each device have a memo more, and give how they are before they hear of what is wrong."""
    one, other = pair
    for program in pair:
        record(program, f"Before {next(_more)}")
    wait_until(lambda: titles(one) == titles(other), "both to have them")
    return [seeder.state(program)["pid"] for program in pair], titles(one)


def insist_that_it_goes_on(pair: tuple[Program, Program], before: Before) -> None:
    """Insist that what is new on each is on the other, that no memo is lost, and that no seeder died of it."""
    processes, there = before
    for program in pair:
        record(program, title := f"After {next(_more)}")
        for each in pair:
            wait_for(title, each)
    for program in pair:
        assert {*there} <= {*titles(program)}
    assert [seeder.state(program)["pid"] for program in pair] == processes
