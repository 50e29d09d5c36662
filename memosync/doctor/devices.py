"""What `check` finds out about the other devices of the group: who was not met for long, and what is not here."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import LibraryError
from ..library import group, known
from ..library.places import is_awaited
from ..library.store import Library
from ..quantities import format_count, format_moment, from_stamp
from ..seeder.state import SeederState
from .finding import Finding

LONG = 30 * 86_400.0  # seconds without being met


def devices(library: Library, state: SeederState | None) -> Iterator[Finding]:
    """Say how the library is in sync, if it is; nothing of it is a defect."""
    try:
        index = library.index()
    except LibraryError:  # which is a defect of its own
        return
    if not index.group:
        return
    try:
        group.insist_on_secret(library)
        others = group.others(library)
    except LibraryError as error:
        yield Finding("note", "sync", f"{error}{f'; {error.hint}' if error.hint else ''}")
        return
    if not state:
        yield Finding("note", "sync", "no seeder runs: nothing goes to other devices or comes; memosync sync starts it")
    if missing := sum(is_awaited(library, memo) for memo in index.memos if not memo.trashed):
        yield Finding("note", "sync", f"{format_count(missing)} of other devices not here yet")
    met, now = known.read(library).met, library.clock()
    for row in others:
        name, at = row.name or row.id, met.get(row.id, 0)
        when = f"last met {format_moment(from_stamp(at))}" if at else "never met"
        if state and row.id in state.met:
            yield Finding("ok", "sync", f"{name} is connected")
        elif now - (at or row.since) > LONG:
            yield Finding("note", "sync", f"{name} was {when}; memosync sync --forget {row.id} waits for it no more")
        else:
            yield Finding("ok", "sync", f"{name} was {when}")
    for rows in group.of_one_invitation(library):
        names = " and ".join(row.name or row.id for row in rows)
        text = f"{names} came by one invitation, which is for one: if you do not know them all, leave everywhere"
        yield Finding("note", "sync", text)
    if not others:
        yield Finding("note", "sync", "no other device has come; memosync sync --invite device invites one")
