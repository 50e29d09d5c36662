"""One directory of memos and its index: what is where, who is at it, and the entries of the index.

The order in which things are written is in the docstring of the package.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from .. import files, index
from ..console import one_line
from ..errors import LibraryError, NotFoundError
from ..index import Index, as_another
from ..magnet import InfoHash, parse_infohash, shorten
from ..manifest import merge_cells
from ..memo import ALPHABET, Memo, MemoId, id_in_file_name, matches, new_id, parse_id
from .device import device
from .entries import as_it_came, says
from .patience import Patience
from .snapshots import Snapshots
from .stamps import alive, cells_of, is_stamped, stamped, with_cells

_PART = ".webm.part"
_TRIES = 3  # to change an index that others write into meanwhile
OPENED = "opened.webm"  # in a download that is sealed: what was in it, until that is a memo
_PLACES = ("recording", "torrents", "locks", "incoming", "trash", "keys", "sealed", "sync")


class Library:
    """A library on disk; nothing is made until something is written."""

    def __init__(self, root: Path, clock: Callable[[], float] = time.time, patience: Patience | None = None) -> None:
        """Take a directory, the clock that words are stamped by (seconds since 1970), and how locks are waited for."""
        self.patience = patience or Patience()
        self.root = root
        self.clock = clock
        self.index_file = root / "index.toml"
        self.inner = root / ".memosync"
        self.recording = self.inner / "recording"
        self.trash = self.inner / "trash"
        self.torrents = self.inner / "torrents"
        self.keys = self.inner / "keys"
        self.forms = self.inner / "sealed"
        self.underway = self.inner / "sync"  # what is on its way to other devices of the group, or from them
        self._lock, self._locks = self.inner / "lock", self.inner / "locks"
        self._cache = self.inner / "cache"
        self.snapshots = Snapshots(root, self.inner)
        self.known = files.Remembered[Any]()  # of the other devices, see `known`
        self._cached: tuple[tuple[int, int, int], Index] | None = None
        self._checked: tuple[Memo, ...] = ()  # memos of which every word is stamped that has to be

    def refuse_links(self) -> None:
        """Insist that our directories are some, and no links, as the library itself may be; LibraryError."""
        with files.as_library_error(f"use {self.inner}"):
            files.refuse_links(self.inner)
            files.refuse_links_in(self.inner, _PLACES)
            if not self._cache.is_file():  # nothing can be kept there then, and nothing has to be
                files.refuse_links(self._cache)

    def sweep(self) -> None:
        """Remove what writers that died left."""
        for place in (self.root, self.inner, self.torrents, self.keys, self.forms):
            files.sweep(place)

    def index(self) -> Index:
        """Read the index, empty where there is none; LibraryError when it cannot be read or is not to be trusted."""
        path = self.index_file
        with files.as_library_error(f"read {path}"):
            try:
                identity = files.state_of(path)
                if self._cached is None or self._cached[0] != identity:
                    before, text = self._cached, files.read(path, links=True).decode("utf-8")
                    self._cached = identity, index.loads(text, before[1] if before else None)
            except FileNotFoundError:
                if path.is_symlink():  # what it leads to may become anything
                    raise LibraryError("index.toml is a symbolic link to nowhere", "take it away") from None
                if self.snapshots.kept():  # what is lost must not be replaced by what is left
                    raise LibraryError("index.toml is gone", index.REBUILD) from None
                return Index()
            except UnicodeDecodeError as error:
                raise LibraryError("index.toml is broken: it is not UTF-8", index.REBUILD) from error
        return self._cached[1]

    def forget(self) -> None:
        """Have the index read anew when it is needed again: of ten thousand memos it takes 15 MB."""
        self._cached = None

    def index_bytes(self) -> bytes:
        """Read the index as it stands, broken or not; empty where there is none."""
        path = self.index_file
        with files.as_library_error(f"read {path}"):
            try:
                return files.read(path, links=True)
            except FileNotFoundError:
                return b""

    def rebuild(self, new: Index, broken: bytes, when: datetime) -> None:
        """Put a new index in the place of a lost or `broken` one, which is kept beside it; not when it changed.

        Where that is a symbolic link it leads to no index of ours, so the link is replaced, and not what it leads to.
        """
        path = self.index_file
        with files.as_library_error(f"write {path}"):
            self.prepare()
            with self.index_lock():
                if self.index_bytes() != broken:
                    raise LibraryError("index.toml was changed meanwhile", "memosync check says how it is now")
                if path.exists():
                    self.snapshots.put_aside(broken, when)
                files.write(path, index.dumps(self._versioned(new)).encode(), newer_than=self.index_time())

    def _versioned(self, new: Index) -> Index:
        """Have an index say that it is for who knows private links, wherever there are keys."""
        return replace(new, version=index.VERSIONS[-1]) if os.path.lexists(self.keys) else new

    def _noticed(self, index: Index) -> Index:
        """Stamp what a person typed into the index, where words are stamped, by the time that it was saved at."""
        if self.is_stamped(index):
            return index
        stamp = self.stamp_of_typed()
        return replace(index, memos=tuple(stamped(memo, *stamp) if memo.born else memo for memo in index.memos))

    def noticed(self, memo: Memo, typed: int) -> Memo:
        """Stamp what a person typed into a memo's entry, where words are stamped, by when it was saved (ns since 1970).

        LibraryError where this device cannot be named.
        """
        if not memo.born or is_stamped(memo):
            return memo
        with files.as_library_error("name this device"):
            self.prepare()
            with self.index_lock():
                now, me = self.stamp()
        return stamped(memo, min(now, typed // 1_000_000), me)

    def is_stamped(self, index: Index) -> bool:
        """Tell whether nobody typed something into the index that is not stamped yet, where words are stamped."""
        if index.memos is not self._checked:
            known = set(map(id, self._checked))
            if not all(id(memo) in known or not memo.born or is_stamped(memo) for memo in index.memos):
                return False
            self._checked = index.memos
        return True

    def _stamped(self, before: Index, after: Index) -> Index:
        """Stamp the words that are other ones than before, and in a group all that are new.

        Also outside of one: a copy of this library may be in use elsewhere, and one day they are in a group.
        """
        known, old = set(map(id, before.memos)), {memo.id: memo for memo in before.memos}
        to_stamp: dict[int, Memo | None] = {}  # by its place in memory, and as it was
        for memo in after.memos:
            if id(memo) not in known:
                was = old.get(memo.id)
                if after.group or memo.born or (was and was.words != memo.words):
                    to_stamp[id(memo)] = was
        if not to_stamp:
            return after
        now, me = self.stamp()

        def stamp(memo: Memo) -> Memo:
            if id(memo) not in to_stamp:
                return memo
            was = to_stamp[id(memo)]
            # what a person typed into the index before is no word that it came with
            came = as_it_came(was, self.path(was)) if was and not was.born else was
            return stamped(memo, now, me, came)

        return replace(after, memos=tuple(map(stamp, after.memos)))

    def stamp(self) -> tuple[int, str]:
        """Give what a word is stamped with now: milliseconds since 1970, and this device; the caller holds `lock`."""
        return int(self.clock() * 1000), device(self.inner)

    def stamp_of_typed(self) -> tuple[int, str]:
        """Give what a word is stamped with that a person typed into the index: when it was saved."""
        now, me = self.stamp()
        return min(now, self.index_time() // 1_000_000), me

    def index_time(self) -> int:
        """Give the index's time stamp in nanoseconds; every change makes it larger. 0 without an index."""
        return files.time_of(self.index_file)

    def transaction(self, edit: Callable[[Index], Index], first: Callable[[], None] = lambda: None) -> Index:
        """Read the index again under its lock, let `edit` change it, and replace it.

        What has to be on the disk `first` is done under the lock, too, so that nothing is when that is not to be had.
        """
        path = self.index_file
        if path.is_symlink():  # a link to where it is synchronised stays one
            path = path.resolve()
        with files.as_library_error(f"change {path}"):
            self.prepare()
            with self.index_lock():
                first()
                for _ in range(_TRIES):
                    with contextlib.suppress(files.Overtaken):  # by a person's editor, which knows no lock
                        return self._change(path, edit, files.state_of_any(path))
                return self._change(path, edit)

    def _change(self, path: Path, edit: Callable[[Index], Index], was: tuple[int, int, int] | None = None) -> Index:
        """Let `edit` change the index, and write it; Overtaken when it is not what it `was` any more, OSError."""
        before = self.index()
        noticed = self._noticed(before)
        after = self._stamped(noticed, self._versioned(edit(noticed)))
        if after != before or not path.exists():
            known = set(map(id, before.memos))
            changed = tuple(memo for memo in after.memos if id(memo) not in known)
            text = index.dumps(after, entries := dict[int, str]())
            # nothing we could not read again ever locks a library
            index.loads(index.dumps(replace(after, memos=changed, written=None), entries))
            self.snapshots.keep(path)
            if _ends_sharing(before, changed):  # or an index that is made anew would begin it again
                self.snapshots.renew(text.encode())
            # a clock set back must not make a new index look older than the one before
            state = files.write(path, text.encode(), newer_than=self.index_time(), was=was)
            written = index.Written(tuple(entries[id(memo)] for memo in after.memos), after.memos)
            self._cached = state, replace(after, written=written)
        return after

    def add(self, memo: Memo, staged: Path) -> Memo:
        """Move a finished file to its place, then name it in the index; the caller holds the memo's lock.

        Give its entry: where there was one whose file was lost, its words stay.
        """
        with files.as_library_error(f"save {memo.file}"):
            if files.is_regular(staged):
                files.sync_file(staged)  # which takes a while; nobody has to wait for that

        def move() -> None:
            with files.as_library_error(f"save {memo.file}"):
                place = self.trash if memo.trashed else self.root
                files.make_directory(place)
                files.move(staged, place / memo.file)

        def named(index: Index) -> Index:
            if not (was := index.get(memo.id)):
                if index.group and not memo.fetched and not memo.trashed:  # whatever was of its sound
                    return index.with_memo(alive(stamped(memo, *self.stamp()), {}, *self.stamp()))
                return index.with_memo(memo)
            facts = {name: getattr(memo, name) for name in ("file", "size", "duration", "trashed")}
            return index.with_memo(replace(was, **facts))

        return next(each for each in self.transaction(named, first=move).memos if each.id == memo.id)

    def add_entries(self, found: list[Memo]) -> list[Memo]:
        """Add entries for files that are in their place, and give those that the index did not have by then.

        One that it names by another id, whose file is not here, becomes one with it: an index may be of another device.
        """
        new: list[Memo] = []

        def edit(index: Index) -> Index:
            known = {text for memo in index.memos for text in (memo.id, memo.file)}
            by_uid = {memo.uid: memo for memo in index.memos if memo.uid}
            new[:], lost = [], set[MemoId]()
            for memo in found:
                twin = by_uid.get(memo.uid or "")
                if known & {memo.id, memo.file}:
                    continue
                if twin and memo.born and twin.born and not os.path.lexists(self.path(twin)):
                    lost.add(twin.id)
                    merged = with_cells(memo, merge_cells(cells_of(memo), cells_of(twin)))
                    new.append(replace(merged, trashed=memo.trashed))
                else:
                    new.append(as_another(memo) if twin else memo)
            return replace(index, memos=(*(memo for memo in index.memos if memo.id not in lost), *new))

        if found:
            self.transaction(edit)
        return new

    def update(self, changes: Mapping[MemoId, Callable[[Memo], Memo]]) -> dict[MemoId, Memo]:
        """Change some memos' entries, as they are by then, all at once; NotFoundError when one is gone."""

        def edit(index: Index) -> Index:
            for memo_id in changes.keys() - {memo.id for memo in index.memos}:
                raise NotFoundError(f"no memo {memo_id} any more")
            memos = (changes[memo.id](memo) if memo.id in changes else memo for memo in index.memos)
            return replace(index, memos=tuple(memos))

        return {memo.id: memo for memo in self.transaction(edit).memos if memo.id in changes}

    def find(self, word: str, trashed: bool | None = False) -> Memo:
        """Find a memo by its id, an unambiguous prefix of it, or `last`; NotFoundError names the candidates.

        Those that are not in the trash are looked at, or, when it is `trashed`, those that are; both with None.
        """
        everything = self.index().memos
        memos = [memo for memo in everything if trashed is None or trashed == bool(memo.trashed)]
        wanted = word.strip().lower()
        if wanted == "last" and (added := [memo for memo in memos if trashed or not memo.trashed]):
            return max(added, key=lambda memo: memo.trashed or memo.recorded) if trashed else added[-1]
        found = [memo for memo in memos if wanted and memo.id.startswith(wanted)]
        if len(found) == 1:
            return found[0]
        if not everything:
            raise NotFoundError("there are no memos", "memosync record makes one")
        if trashed and not memos:
            raise NotFoundError("nothing is in the trash", "memosync list shows what is not")
        if not memos or wanted == "last":
            raise NotFoundError("every memo is in the trash", "memosync list --trash shows them")
        if not found:
            if trashed is False and any(memo.id == wanted for memo in everything):
                raise NotFoundError(f"memo {wanted} is in the trash", f"memosync restore {wanted} brings it back")
            raise NotFoundError(f"no memo {shorten(word)!r}", _named(memos, one_line(word).strip(), trashed))
        names = ", ".join(f"{memo.id} ({one_line(memo.title)[:30]})" for memo in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise NotFoundError(f"{shorten(word)!r} may be {names}{more}", "type more of the id")

    def path(self, memo: Memo) -> Path:
        """Where the memo's file is; a trashed one may not have moved yet.

        In the library's directory it may be a symbolic link, which its owner made; in the trash there is none.
        """
        if memo.trashed and files.is_regular(thrown := self.trash / memo.file):
            return thrown
        return self.root / memo.file

    def is_intact(self, memo: Memo, path: Path) -> bool:
        """Tell whether a memo's file is there and has the size that the index says, or will have it in a moment."""
        # while we look, its new content may move from the second place to the first, or all of it to the trash or back
        return memo.size == _size(path) or memo.size in (
            _size(self.rewritten(memo.id), links=False),
            _size(self.path(memo)),
        )

    def torrent(self, infohash: InfoHash) -> Path:
        return self.torrents / f"{infohash}.torrent"

    def form(self, infohash: InfoHash) -> Path:
        """Where the sealed form of a memo is, which can be made again as long as there are its file and its key."""
        return self.forms / infohash

    def kept_of(self, infohash: InfoHash) -> tuple[Path, Path, Path]:
        """Give all that is kept of a link: its key and its sealed form, where it is a private one, and its torrent."""
        return self.keys / infohash, self.form(infohash), self.torrent(infohash)

    def keep_torrent(self, infohash: InfoHash, data: bytes) -> None:
        """Keep a torrent for as long as there is a library: nothing else makes the same link again."""
        path = self.torrent(infohash)
        with files.as_library_error("keep the torrent"):
            self.prepare()
            with contextlib.suppress(OSError):  # what is no torrent is replaced
                if files.read(path) == data:
                    return
            files.write(path, data)

    def session_state(self, new: bytes | None = None) -> bytes:
        """Give what the last seeder here knew of the DHT, or keep what this one does."""
        path = self.inner / "session"
        with files.as_library_error("keep the state of the session"):
            if new is not None:
                files.write(path, new, sync=False)
        with contextlib.suppress(OSError):  # it may be lost
            return files.read(path)
        return b""

    def incoming(self, infohash: InfoHash) -> Path:
        return self.inner / "incoming" / infohash

    def cache(self, memo_id: MemoId) -> Path:
        """Where is kept what can be found out again from the memo's file; it may be deleted at any time."""
        return self._cache / memo_id

    def part(self, memo_id: MemoId) -> Path:
        return self.recording / f"{memo_id}{_PART}"

    def rewritten(self, memo_id: MemoId) -> Path:
        """Where a memo's new content stands, complete, until the index names its size and it is moved to its place."""
        return self.recording / f"{memo_id}.webm.new"

    def settle(self, memo_id: MemoId, path: Path, *, is_named: bool = False, sync: bool = True) -> None:
        """End what was begun with a half-made or rewritten file: move it where the index expects it, or remove it.

        Where both are of the size that the index says, it may mean the one that is there: then what they say tells,
        unless it is known that this one `is_named`. Without `sync` the caller has the directories put on the disk.
        """
        memo = self.index().get(memo_id)
        with files.as_library_error(f"write {memo.file if memo else path}"):
            if (
                memo
                and not memo.is_frozen
                and path == self.rewritten(memo_id)
                and _size(path, links=False) == memo.size
                and path.stat().st_nlink == 1  # else it is another file's, too
                and (is_named or _size(self.path(memo)) != memo.size or says(path, memo.words))
            ):
                files.move(path, self.path(memo), sync=sync)
            else:
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self, name: MemoId | InfoHash, wait: bool = True) -> Iterator[bool]:
        """Hold the lock of a memo or a download; False when we do not wait and somebody else has it."""
        self.refuse_links()
        with files.as_library_error(f"write in {self.root}"):
            what = f"memo {name}" if parse_id(name) else "the same download"
            lock = files.acquire(self._locks / name, wait, watch=self.patience.watch(what))
        try:
            yield lock is not None
        finally:
            if lock:
                lock.release()

    def index_lock(self) -> AbstractContextManager[None]:
        """Hold the lock under which the index, keys and what is known of other devices are changed; OSError."""
        return files.locked(self._lock, remove=False, watch=self.patience.watch("the index"))

    def locked(self, memos: Iterable[Memo]) -> Iterator[list[MemoId]]:
        """Give the ids, a hundred at a time, while the memos are locked: in one order, which everybody keeps."""
        ids = sorted(memo.id for memo in memos)
        for batch in (ids[start : start + 100] for start in range(0, len(ids), 100)):
            with contextlib.ExitStack() as locks:
                for memo_id in batch:
                    locks.enter_context(self.lock(memo_id))
                yield batch

    def take_id(self) -> MemoId:
        """Choose an id that is free here."""
        taken = {memo.id for memo in self.index().memos}
        while (memo_id := new_id(os.urandom(5))) in taken or os.path.lexists(self.part(memo_id)):
            pass
        return memo_id

    def prepare(self) -> None:
        """Make the directories a write needs, the library closed to others; LibraryError where that is not allowed."""
        with files.as_library_error(f"write in {self.root}"):
            if not self.root.exists():
                files.refuse_to_make(self.root)
                self.root.parent.mkdir(parents=True, exist_ok=True)
                self.root.mkdir(0o700, exist_ok=True)
            for place in (self.recording, self.torrents, self._locks):
                files.make_directory(place)
        self.refuse_links()

    def put_away(self, path: Path) -> Path:
        """Move a file that is nobody's any more out of people's sight, and give its new place; OSError."""
        kept = files.free_name(self.inner / path.name)
        files.move(path, kept)
        return kept

    def closed(self) -> Path | None:
        """Find what of the library, or of its place, cannot be written by this user; None where there is nothing."""
        if not os.path.exists(self.root):
            above = next(place for place in self.root.parents if os.path.exists(place))
            return None if above.is_dir() and _may_write(above) else above
        places = (self.root, self.inner, self.index_file)
        return next((place for place in places if os.path.lexists(place) and not _may_write(place)), None)

    def refused(self) -> list[Path]:
        """Find what in `.memosync` this user cannot use as it has to be: what root made there once, say."""
        if not os.path.isdir(self.inner):
            return []
        found = []
        for place, _, names in os.walk(self.inner, onerror=lambda error: found.append(Path(error.filename))):
            if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
                found.append(Path(place))
            for path in (Path(place) / name for name in names):
                in_place = path.name in ("lock", "seeder.log") or path.parent.name in ("locks", "incoming")
                if not path.is_symlink() and not os.access(path, os.R_OK | (os.W_OK if in_place else 0)):
                    found.append(path)
        return sorted(set(found))

    def recordings(self) -> list[tuple[MemoId, Path]]:
        """Every recording that is in progress, or was when its process died."""
        names = files.names(self.recording)
        ids = [parse_id(name.removesuffix(_PART)) for name in names if name.endswith(_PART)]
        return [(memo_id, self.part(memo_id)) for memo_id in ids if memo_id]

    def leftovers(self) -> list[tuple[MemoId, Path]]:
        """Half-made files of imports and finishing remuxes, with the memo whose lock says whether somebody is at it."""
        found = []
        for name in files.names(self.recording):
            if (memo_id := parse_id(name.partition(".")[0])) and not name.endswith(_PART):
                found.append((memo_id, self.recording / name))
        return found

    def orphans(self, index: Index | None = None, *, trashed: bool = False) -> list[tuple[MemoId, Path]]:
        """Files with a name of our own pattern that the index does not know; symbolic links are none."""
        place = self.trash if trashed else self.root
        names = [name for name in files.names(place, links=not trashed) if name.endswith(".webm")]
        index = index or self.index()
        known = {memo.file for memo in index.memos}
        unknown = [(id_in_file_name(name), place / name) for name in sorted(names) if name not in known]
        ids = {memo.id for memo in index.memos} if unknown else set()
        found = [(memo_id, path) for memo_id, path in unknown if memo_id and memo_id not in ids]
        return [(memo_id, path) for memo_id, path in found if files.is_regular(path)]

    def strangers(self) -> list[tuple[Path, Memo | None]]:
        """WebM files here that are no memo's, each with the memo whose id is in its name: a copy, or renamed."""
        names = {name for name in files.names(self.root, links=True) if name.endswith(".webm")}
        names -= {memo.file for memo in self.index().memos}
        ours = {memo.id: memo for memo in self.index().memos} if names else {}
        ids = {name: re.findall(rf"-([{ALPHABET}]{{8}})(?![0-9a-z])", name) for name in sorted(names)}
        return [
            (self.root / name, next((ours[memo_id] for memo_id in ids[name] if memo_id in ours), None)) for name in ids
        ]

    def is_busy(self, name: MemoId | InfoHash) -> bool:
        """Tell whether somebody is at a memo or a download."""
        return files.is_locked(self._locks / name)

    def opened(self) -> list[tuple[InfoHash, Path]]:
        """What is open of sealed downloads, whole or half, with the download whose lock says that somebody is at it."""
        found = [path for path in (self.inner / "incoming").glob(f"*/*{OPENED}*") if not path.parent.is_symlink()]
        return [(infohash, path) for path in found if (infohash := parse_infohash(path.parent.name))]

    def downloads(self) -> list[InfoHash]:
        """Downloads that are not finished."""
        names = sorted(files.names(self.inner / "incoming"))
        return [infohash for name in names if (infohash := parse_infohash(name)) == name]


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK | (os.X_OK if os.path.isdir(path) else 0))


def _ends_sharing(before: Index, changed: Sequence[Memo]) -> bool:
    now = {memo.id: memo for memo in changed}
    were = [memo for memo in before.memos if memo.id in now]
    return any(was.shared > now[was.id].shared or was.private > now[was.id].private for was in were)


def _named(memos: Sequence[Memo], words: str, trashed: bool | None) -> str:
    """Say how to come by the id of a memo that is not named by one, but perhaps by what it is about."""
    shows = "memosync list --trash" if trashed else "memosync list"
    found = [memo for memo in memos if words and matches(memo, [words])]
    if len(found) == 1:
        return f"a memo is named by its id: {found[0].label}"
    return (
        f"{shows} {shlex.quote(words)} shows the ids of those with these words" if found else f"{shows} shows the ids"
    )


def _size(path: Path, links: bool = True) -> int | None:
    try:
        return files.status_of(path, links).st_size
    except OSError:
        return None
