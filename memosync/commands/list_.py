"""list: what is in the library, newest first, or as it is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from ..library.places import is_awaited
from ..library.served import served_as
from ..library.store import Library
from ..magnet import InfoHash
from ..memo import Memo, matches
from ..quantities import format_count
from ..seeder import client
from ..seeder.links import Linker, Links, linker
from .arguments import Globals

Key = Literal["recorded", "added", "title", "duration", "size"]


@dataclass(frozen=True, slots=True)
class Row:
    """A memo as `list` shows it."""

    memo: Memo
    path: Path
    links: Links
    served: tuple[InfoHash, ...]  # by these
    damaged: bool  # its file is gone, or has another size than the index says
    awaited: bool = False  # another device has it, and it is not here yet

    @property
    def flags(self) -> str:
        """Those of `spftad` that hold: served, to anybody, fetched, trashed, awaited, damaged."""
        memo = self.memo
        held = (
            ("s", bool(self.served)),
            ("p", memo.infohash in self.served),
            ("f", memo.fetched),
            ("t", memo.trashed),
            ("a", self.awaited),
            ("d", self.damaged),
        )
        return "".join(letter for letter, holds in held if holds) or "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """Which memos are to be listed."""

    words: Sequence[str] = ()  # all of them in its title, description or tags
    tag: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    sort: Key | None = None  # when it was recorded, or in the trash when it was thrown away
    reverse: bool = False
    shared: bool = False
    trashed: bool = False  # those in the trash instead
    most: int | None = None  # only the first


def list_memos(command: Globals, options: ListOptions, *, with_links: bool = False) -> list[Row]:
    """Find memos, newest first, last trashed first, or as they are to be sorted."""
    library = command.open()
    links = linker(library, client.current(library), command.network) if with_links else lambda _memo: Links()
    rows = find_rows(library, options, links)
    if (idle := sum(bool(row.served) for row in rows)) and not client.is_serving(library):
        are = "is marked as shared, and is" if idle == 1 else "are marked as shared, and are"
        command.console.tell(f"{format_count(idle)} {are} not served now; memosync seed --detach starts the seeder")
    if not rows:
        empty = not any(options.trashed == bool(memo.trashed) for memo in library.index().memos)
        nothing = "no memos yet; memosync record makes one"
        if options.trashed:
            nothing = "nothing is in the trash"
        elif library.index().memos:
            nothing = "every memo is in the trash; memosync list --trash shows them"
        everything = f"memosync list{' --trash' if options.trashed else ''} shows all"
        command.console.tell(nothing if empty else f"no memo fits; {everything}")
    return rows


def find_rows(library: Library, options: ListOptions, links: Linker) -> list[Row]:
    """Find the memos that fit, as they are while they are looked at."""
    tag = options.tag and options.tag.casefold()
    memos = [
        memo
        for memo in reversed(library.index().memos)  # of two of one second the one added last comes first
        if options.trashed == bool(memo.trashed)
        and (tag is None or tag in map(str.casefold, memo.tags))
        and (options.since is None or memo.recorded >= options.since)
        and (options.until is None or memo.recorded <= options.until)
        and (memo.shared or memo.private or not options.shared)
        and (not options.words or matches(memo, options.words))
    ]
    _sort(memos, options)
    rows = []
    for memo in memos[: options.most]:
        row = row_of(library, memo, links)
        while row.damaged and (now := library.index().get(memo.id)) != row.memo:  # it was changed meanwhile
            if now is None or options.trashed != bool(now.trashed):
                break
            row = row_of(library, now, links)
        else:
            rows.append(row)
    return rows


def _sort(memos: list[Memo], options: ListOptions) -> None:
    """Sort memos, of which the last added is the first: new and large first, titles by the alphabet."""
    if options.sort != "added":
        # of one second: in the same order on all devices of a group
        memos.sort(
            key=lambda memo: (memo.recorded if options.sort else memo.trashed or memo.recorded, memo.uid or ""),
            reverse=True,
        )
    if options.sort == "title":
        memos.sort(key=lambda memo: memo.title.casefold())
    elif options.sort == "duration":
        memos.sort(key=lambda memo: memo.duration, reverse=True)
    elif options.sort == "size":
        memos.sort(key=lambda memo: memo.size, reverse=True)
    if options.reverse:
        memos.reverse()


def row_of(library: Library, memo: Memo, links: Linker) -> Row:
    """Look at one memo."""
    path = library.path(memo)
    is_whole = library.is_intact(memo, path)
    awaited = not is_whole and is_awaited(library, memo, path)
    return Row(memo, path, links(memo), served_as(library, memo), not is_whole and not awaited, awaited)
