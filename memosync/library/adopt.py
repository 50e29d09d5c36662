"""Adopting: entries of the index for what is on the disk, when a library is opened or its index is made anew."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from .. import files
from ..audio import webm
from ..console import Console
from ..errors import AudioError, Interrupted, LibraryError, MemosyncError
from ..magnet import InfoHash
from ..memo import Memo, MemoId
from ..quantities import format_count
from ..stop import Stop
from . import known, sealed
from .downloads import brought, settle
from .entries import Entry, as_file_says, new_memo
from .freeze import is_file_of, kept_or_made, kept_torrent, look_again
from .patience import Patience
from .recover import recover
from .sounds import sound_or_nothing
from .stamps import heeding
from .store import Library


def open_library(root: Path, console: Console, stop: Stop | None = None) -> Library:
    """Open a library; finish every recording whose process died and adopt every file the index does not know.

    What a fetch that died has opened of a private memo goes: sealed it is kept, and the next fetch opens it again.
    LibraryError when the index cannot be trusted; what cannot be mended is a warning, and the verb goes on. Whoever is
    at something of it is waited for until `stop`.
    """
    library = Library(root, patience=Patience(stop, console.tell))
    library.refuse_links()
    library.index()
    library.sweep()
    for memo_id, part in library.recordings():
        _mend(library, memo_id, part, console, lambda memo_id, part: recover(library, memo_id, part, console))
    for memo_id, path in library.leftovers():
        _mend(library, memo_id, path, console, library.settle)
    for infohash, path in library.opened():
        with _left_alone(path, console), library.lock(infohash, wait=False) as held:
            if held:
                path.unlink(missing_ok=True)
    adopt(library, library.orphans(), console)
    bring_back(library, console)
    settle(library)
    return library


def adopt(
    library: Library, orphans: list[tuple[MemoId, Path]], console: Console, trashed: datetime | None = None
) -> None:
    """Name in the index what it does not know, a hundred at a time, and nothing that somebody is about to name."""
    if not orphans:
        return
    look_again()
    before = library.snapshots.entries((memo_id for memo_id, _ in orphans), library.index().group)
    for start in range(0, len(orphans), 100):
        with contextlib.ExitStack() as locks:
            found: list[Entry] = []
            for memo_id, path in orphans[start : start + 100]:
                with _left_alone(path, console):
                    if locks.enter_context(library.lock(memo_id, wait=False)) and path.exists():
                        found.append(entry_of(library, memo_id, path, before, trashed))
            try:
                new = {memo.id for memo in library.add_entries([entry.memo for entry in found])}
            except LibraryError as error:
                console.warn(f"{format_count(len(found))} not in the index yet: {error}")
                continue
            for entry in found:
                if entry.memo.id in new:
                    console.tell(f"adopted {entry.memo.file}, which the index did not name, by {entry.source}")


def bring_back(library: Library, console: Console) -> None:
    """Bring back what was thrown away and is here again, though it is in the trash, too: a person copied it."""
    for memo in library.index().memos:
        if memo.trashed and _is_twice(library, memo):
            with _left_alone(library.root / memo.file, console), library.lock(memo.id, wait=False) as held:
                now = library.index().get(memo.id) if held else None
                if now and now.trashed and _is_twice(library, now):
                    (library.trash / now.file).unlink()
                    files.sync_directory(library.trash)  # else it may be there again, and the next to be thrown away
                    library.update({now.id: lambda memo: replace(memo, trashed=None)})
                    console.tell(f"brought back {now.file}, which was in the trash and is here again")


def _is_twice(library: Library, memo: Memo) -> bool:
    """Tell whether a memo's file is both at home and in the trash, and sounds the same."""
    home, thrown = library.root / memo.file, library.trash / memo.file
    if not (files.is_regular(home) and files.is_regular(thrown)):
        return False
    return bool(sound := sound_or_nothing(home)) and sound == sound_or_nothing(thrown)


def entry_of(
    library: Library, memo_id: MemoId, path: Path, before: Mapping[MemoId, Entry], trashed: datetime | None = None
) -> Entry:
    """Make the entry of a file that the index does not name, in the trash when it is `trashed`.

    What another index says of it counts more than its own tags; with these alone it is frozen, for it may have been
    shared. What lies as a download, too, came from a fetch that died. AudioError when it is no memo.
    """
    if entry := before.get(memo_id):
        entry = replace(entry, memo=replace(entry.memo, file=path.name))
        if found := brought_up_to_date(library, entry, trashed):
            return found
    return _new_entry(library, memo_id, path, trashed, brought(library, path))


def brought_up_to_date(library: Library, entry: Entry, trashed: datetime | None) -> Entry | None:
    """Bring an earlier entry up to what was done since, as far as files and torrents tell.

    Where the file is says whether it is in the trash; a file that was rewritten later has the later words, but for what
    was in the trash; a kept torrent that fits says that it was shared, and is frozen. What a person typed counts from
    when that was saved, and not from now; what others said of it since it was purged counts, but not that it is gone
    where its file is here again. None for what was purged since.
    """
    memo = heeding(library.noticed(entry.memo, entry.since), known.read(library).graves)
    entry, was_trashed = replace(entry, memo=memo), bool(memo.trashed)
    home, thrown = library.root / memo.file, library.trash / memo.file
    if not memo.content or (home.exists() and not thrown.exists()):  # else other devices know whether it is
        if home.exists():
            memo = replace(memo, trashed=None)
        elif not memo.trashed and thrown.exists():  # nobody knows when: before all that is known to be done to it
            memo = library.noticed(replace(memo, trashed=trashed), 1_000_000)
    path = library.path(memo)
    if not path.exists():
        return None if memo.trashed and not memo.content else entry
    is_later = path.stat().st_size != memo.size or files.time_of(path) > entry.since
    if is_later and (came := brought(library, path)) and came not in memo.infohashes:  # it was purged, and fetched
        return _new_entry(library, memo.id, path, None, came)
    if was_trashed and memo.is_frozen:
        with contextlib.suppress(OSError):
            if not is_file_of(library, memo, path):  # it was purged, and the file is from a backup
                memo = replace(memo, infohash=None, shared=False, sealed=None, private=False)
    if not memo.is_frozen:
        if is_later:
            with contextlib.suppress(AudioError, OSError):  # nobody edits what is in the trash
                words = not (was_trashed or entry.is_of_group) and has_words_of_its_own(library, memo, path)
                memo = as_file_says(memo, path, webm.probe(path), words=words)
                memo = library.noticed(memo, files.time_of(path))
        torrent, form = kept_torrent(library, path), sealed.known_form(library, path)
        memo = replace(memo, infohash=torrent.infohash if torrent else None)
        memo = replace(memo, sealed=form.infohash, renewals=form.renewals) if form else memo
    return replace(entry, memo=memo)


def has_words_of_its_own(library: Library, memo: Memo, path: Path) -> bool:
    """Tell whether a file that is later than an entry of no group may have later words, too; OSError.

    In a group words are written into files only when they are shared, and a file comes when it may: it has the words
    that it was made with, also once the group was left.
    """
    return sealed.digest_of(path).hex() not in library.snapshots.digests().get(memo.id, ())


def _new_entry(library: Library, memo_id: MemoId, path: Path, trashed: datetime | None, came: InfoHash | None) -> Entry:
    """Make an entry by what a file and the kept torrents say alone; AudioError when it is no memo."""
    info = webm.probe(path)
    if form := sealed.known_form(library, path):  # its title is to be in no torrent
        memo = new_memo(memo_id, info, path, when=path.stat().st_mtime)
        memo = replace(memo, sealed=form.infohash, renewals=form.renewals)
        memo = replace(memo, infohash=given.infohash if (given := kept_torrent(library, path)) else None)
        fetched = bool(came) or sealed.came(library, form.infohash)
    else:
        torrent = kept_or_made(library, path, info.words, memo_id)
        memo = new_memo(memo_id, info, path, when=path.stat().st_mtime, title=torrent.name.removesuffix(".webm"))
        library.keep_torrent(torrent.infohash, torrent.data)
        memo = replace(memo, infohash=torrent.infohash)
        fetched = bool(came)
    return Entry(replace(memo, file=path.name, trashed=trashed, fetched=fetched))


def _mend(
    library: Library, memo_id: MemoId, path: Path, console: Console, mend: Callable[[MemoId, Path], None]
) -> None:
    """Do it only while nobody else is at it."""
    with _left_alone(path, console), library.lock(memo_id, wait=False) as held:
        if held and os.path.lexists(path):
            mend(memo_id, path)


@contextlib.contextmanager
def _left_alone(path: Path, console: Console) -> Iterator[None]:
    """Warn of what cannot be mended, and never let it stop the verb."""
    try:
        yield
    except Interrupted:
        raise
    except (MemosyncError, OSError) as error:
        console.warn(f"{path.name} is left as it is: {error}")
