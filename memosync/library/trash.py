"""The trash of a library, in an order that a crash at any point leaves whole; the callers hold the memos' locks.

In, the entry says `trashed`, then the file moves; back, the file moves, then the entry; purged is the file, then the
entry. A trashed memo's file may be in either place, and the entry alone says what holds. Only where the disk has no
room for the entry, and a person said that a memo be destroyed, is its file first.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from .. import files
from ..errors import LibraryError, UsageError
from ..index import format_toml, parse_toml
from ..memo import Memo, MemoId
from . import group, identity, keys
from .sealed import digest_of
from .store import Library

WEEK, MONTH, YEAR = 7 * 86_400.0, 30 * 86_400.0, 365 * 86_400.0  # seconds


def put(library: Library, ids: Iterable[MemoId], when: datetime) -> dict[MemoId, Memo]:
    """Throw memos away, and give their entries; those that are in the trash already stay there as they are."""
    memos = library.update({memo_id: lambda memo: replace(memo, trashed=memo.trashed or when) for memo_id in ids})
    _move(memos.values(), library.root, library.trash)
    return memos


def take_back(library: Library, ids: Iterable[MemoId]) -> dict[MemoId, Memo]:
    """Bring memos back as they were; LibraryError or UsageError, and nothing changed, when one of them cannot be."""
    index = library.index()
    here = {infohash: memo.id for memo in index.memos if not memo.trashed for infohash in memo.infohashes}
    ids = set(ids)
    memos = [memo for memo in index.memos if memo.id in ids and memo.trashed]
    for memo in memos:
        places = library.trash, library.root
        if not memo.content and not any(os.path.lexists(place / memo.file) for place in places):
            raise LibraryError(f"the file of {memo.label} is gone: {library.path(memo)}", "fetch it again")
        for infohash in memo.infohashes:
            if (twin := here.setdefault(infohash, memo.id)) != memo.id:
                raise UsageError(f"{memo.label} is here already, as {twin}", f"memosync rm --purge {memo.id}")
    _move(memos, library.trash, library.root)
    return library.update({memo_id: lambda memo: replace(memo, trashed=None) for memo_id in ids})


def destroy(library: Library, ids: Iterable[MemoId], when: datetime) -> None:
    """Throw memos away and purge them at once.

    Where the disk has no room for an index that says so, their files go before their entries, one after the other,
    until there is: a crash in between leaves an entry without its file, which is purged like any other.
    """
    ids = set(ids)
    left = [memo for memo in library.index().memos if memo.id in ids]
    digests: dict[MemoId, set[bytes]] = {}  # of the files that are gone
    while True:
        try:
            memos = put(library, ids, when)
            break
        except LibraryError as error:
            if not (left and files.is_out_of_room(error.__cause__)):
                raise
        memo = left.pop()
        digests[memo.id] = _digests(library, memo)
        with files.as_library_error("make room"):
            _unlink(library.trash / memo.file, library.root / memo.file)
    purge(library, memos.values(), digests)


def purge(library: Library, memos: Iterable[Memo], gone: Mapping[MemoId, set[bytes]] | None = None) -> None:
    """Destroy memos that are in the trash, and all that was kept of them; one that was taken back meanwhile stays.

    `gone` are the SHA-256 of files that are destroyed already.
    """
    wanted = {(memo.id, memo.trashed) for memo in memos if memo.trashed}
    index = library.index()
    if not library.is_stamped(index):  # what a person typed before counts, if others bring it back
        index = library.transaction(lambda index: index)
    if index.group:  # what was said of one that has no uid yet could not be kept
        identity.give_uids(library, [memo for memo in index.memos if (memo.id, memo.trashed) in wanted])
        index = library.index()
    doomed = [memo for memo in index.memos if (memo.id, memo.trashed) in wanted]
    ids = {memo.id for memo in doomed}
    others = {infohash for memo in index.memos if memo.id not in ids for infohash in memo.infohashes}
    if not doomed:
        return
    every = list(keys.kept(library)) if keys.has_keys(library) else []
    staying = {key.digest for infohash, key in every if infohash in others}
    known = gone or {}
    digests = {
        memo.id: ((_digests(library, memo) if every else set()) | known.get(memo.id, set())) - staying
        for memo in doomed
    }
    group.bury(library, doomed)
    with files.as_library_error("empty the trash"):
        for memo in doomed:
            links = {infohash for infohash in memo.infohashes if infohash not in others}
            links |= {infohash for infohash, key in every if key.digest in digests[memo.id]} - others
            kept = [path for infohash in links for path in library.kept_of(infohash)]
            ended = [library.keys / infohash for infohash, key in every if key.ended and infohash in links]
            kept = [path for path in kept if path not in ended]
            # what was ended is known to be, as long as there is a file
            _unlink(*kept, library.path(memo), library.cache(memo.id), *ended)
        files.sync_directory(library.root)  # else a power cut might bring a file back that nothing names
    library.transaction(lambda index: replace(index, memos=tuple(m for m in index.memos if m.id not in ids)))


def _digests(library: Library, memo: Memo) -> set[bytes]:
    """Give the SHA-256 of a memo's file, as its key says, and as the file does."""
    found = {key.digest for key in [memo.sealed and keys.find(library, memo.sealed)] if key}
    with contextlib.suppress(OSError):
        found.add(digest_of(library.path(memo)))
    return found


def _unlink(*paths: Path) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # no directory there is ours
            path.unlink()


def overdue(library: Library, now: datetime) -> list[Memo]:
    """Give what has been in the trash for a month, whatever the clock did meanwhile.

    Time there is what passed between looks like this one: nothing when the clock went back, a week at most, and all
    of it only at the next look. The dates must agree, too. So one wrong look can purge nothing. In a group it is a
    year, unless another device was heard after that month: it may have brought the memo back. When that was is told by
    a clock, too, perhaps by that of another machine from which the library was copied: what counts is that a later time
    is noted than there was at the last look, and that the month was over then.
    """
    path, seconds = library.inner / "trash.toml", now.timestamp()
    with files.as_library_error("look at the trash"), library.index_lock():
        index = library.index()
        trashed = {f"{memo.id} {memo.trashed.isoformat()}": memo for memo in index.memos if memo.trashed}
        heard = group.heard(library) if index.group else 0.0
        looked, ages, before, answered = seconds, {}, heard, set[str]()
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, OverflowError):
            table = parse_toml(files.read(path).decode("utf-8"))
            looked, ages = float(table["looked"]), {name: float(age) for name, age in dict(table["ages"]).items()}
            before, answered = float(table.get("heard", heard)), {str(name) for name in table.get("answered", [])}
        if trashed:
            passed = min(max(seconds - looked, 0.0), WEEK)
            now_ages = {name: ages[name] + passed if name in ages else 0.0 for name in trashed}
            if heard > before:
                answered |= {name for name, age in ages.items() if age >= MONTH}
            answered &= trashed.keys()
            noted = {"looked": seconds, "heard": heard, "answered": sorted(answered), "ages": now_ages}
            files.write(path, format_toml(noted).encode(), sync=False)

    def is_overdue(name: str, memo: Memo) -> bool:
        after = YEAR if index.group and name not in answered else MONTH
        thrown = memo.trashed.timestamp() if memo.trashed else seconds
        return min(ages.get(name, 0.0), seconds - thrown) >= after

    return [memo for name, memo in trashed.items() if is_overdue(name, memo)]


def _move(memos: Iterable[Memo], source: Path, target: Path) -> None:
    """Rename the memos' files, all before their directories are synced; nothing is ever replaced."""
    with files.as_library_error(f"move to {target}"):
        files.make_directory(target)
        for memo in memos:
            if os.path.lexists(source / memo.file) and not os.path.lexists(target / memo.file):
                files.move(source / memo.file, target / memo.file, sync=False)
        for place in (target, source):
            if place.exists():  # of what was thrown away elsewhere nothing is here, nor maybe a trash
                files.sync_directory(place)
