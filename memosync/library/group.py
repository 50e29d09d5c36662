"""The group that a library is in: what its memos are to the other devices, and what these say of them.

Two libraries that hold the same secret are one. What a device says is derived from its index, and from the graves of
what was purged; what others say is merged into these. An entry that is missing is never a deletion.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from .. import files
from ..audio import webm
from ..console import Console
from ..errors import AudioError, LibraryError, MemosyncError, TorrentError, UsageError
from ..index import Index
from ..manifest import BIRTH, MOST_MEMOS, Cell, Cells, State, Table, merge_cells, news, tick, until
from ..memo import Memo, MemoId, id_in_file_name, parse_id
from ..sealing import group_of
from . import keys, known
from .adopt import adopt
from .device import named
from .digests import Digests
from .entries import as_it_came
from .known import LACK, Device, Known
from .sealed import form_for_devices
from .sounds import is_as_long
from .stamps import arrived, cells_of, content_of, stamped, with_cells
from .store import Library

_HEARD_EVERY = 3_600.0  # seconds between two notes of that
_FARTHEST = 100 * 31_557_600_000  # milliseconds that another clock may be ahead of this one
_JOINED = 1  # milliseconds: the time of what was changed before joining, later than any word that nobody changed


def enter(library: Library, secret: bytes | None = None) -> None:
    """Have a library be in the group of this secret, or of its own; UsageError when it is in another one.

    Words that a person changed before are later than those nobody did, and what is not in the trash is alive now.
    """
    index = library.index()
    if index.group and secret and index.group != group_of(secret):
        raise UsageError("this library is in another group", "memosync sync --leave ends that, and keeps every memo")
    if secret:
        keys.replace_secret(library, secret, datetime.fromtimestamp(library.clock(), UTC))
    group = group_of(keys.secret(library))
    if index.group != group:
        known.change(library, lambda before: Known(joining=True, graves=before.graves, port=before.port))
    came = {memo.id: as_it_came(memo, library.path(memo)) for memo in index.memos if not memo.born}

    def edit(index: Index) -> Index:
        now, me = library.stamp()
        memos = (stamped(memo, _JOINED, me, came[memo.id]) if memo.id in came else memo for memo in index.memos)
        entered = (stamped(memo, now, me) for memo in memos)
        return replace(
            index, group=group, memos=tuple(memo if memo.trashed else _alive(memo, {}, now, me) for memo in entered)
        )

    library.transaction(edit)


def leave(library: Library) -> None:
    """Have a library be in no group: it keeps every memo that is here, and forgets the secret."""
    if library.index().group:
        with contextlib.suppress(LibraryError):  # of a secret that is lost
            identify(library, Console())
    keys.forget_secret(library)

    def edit(index: Index) -> Index:
        memos = (memo for memo in index.memos if not is_awaited(library, memo))
        return replace(index, group="", memos=tuple(replace(memo, content="", more="") for memo in memos))

    library.transaction(edit)
    with files.as_library_error("leave the group"):
        known.path_of(library).unlink(missing_ok=True)


def insist_on_secret(library: Library) -> None:
    """Insist that the library's secret is the one of its group; LibraryError."""
    group = library.index().group
    with contextlib.suppress(LibraryError):  # it is broken
        if keys.has_secret(library) and group_of(keys.secret(library)) == group:
            return
    raise LibraryError(
        "the secret in .memosync/keys/library is not the one of the group that the index names",
        "put the one back that was there, from a backup; or memosync sync --leave, and join again",
    )


def device_of(library: Library) -> str:
    """Give the name of this library's device, eight hexadecimal digits; LibraryError."""
    if name := named(library.inner):
        return name
    with files.as_library_error("name this device"):
        library.prepare()
        with library.index_lock():
            return library.stamp()[1]


def others(library: Library) -> list[Device]:
    """Give the other devices of the group, but for those that will not come again."""
    if not library.index().group:
        return []
    me = device_of(library)
    return [row for row in known.devices(known.read(library)).values() if row.id != me and not row.gone]


def holders(library: Library, memo: Memo) -> list[Device]:
    """Give the other devices that have a memo's file, as far as they say."""
    uid = (memo.uid or "")[:LACK]
    return [row for row in others(library) if uid not in row.lacks]


def is_awaited(library: Library, memo: Memo, path: Path | None = None) -> bool:
    """Tell whether a memo is known from other devices alone: its file is not here, at its `path`, or not yet."""
    return bool(memo.content) and not os.path.lexists(path or library.path(memo))


def state_of(library: Library) -> State:
    """Give what this device says: of every memo that it can tell from others, and of the devices that it knows.

    What a person typed into the index is stamped first: LibraryError where that cannot be written.
    """
    index = library.index()
    if not library.is_stamped(index):
        index = library.transaction(lambda index: index)
    now = known.read(library)
    return State(_table(index, now.graves), now.devices)


def identify(library: Library, console: Console) -> set[MemoId]:
    """See that every memo whose file is here has its uid, and that it is said which bytes that is.

    Files that the index does not name are adopted first. Give those that cannot be read, and are left for another time.
    """
    place(library)  # an index that was put back may expect files elsewhere
    adopt(library, library.orphans(), console)
    before = {memo.id for memo in library.index().memos if memo.uid}
    for fetched in (False, True):  # what is here already, and then what came to it
        _identify(library, [memo for memo in library.index().memos if memo.fetched is fetched], before)
    return {memo.id for memo in library.index().memos if _is_to_be_identified(library, memo)}


def give_uids(library: Library, memos: Iterable[Memo]) -> None:
    """See that these memos have theirs, where their files can be read; the caller may hold their locks."""
    found = {}
    for memo in memos:
        if _is_to_be_identified(library, memo):
            with contextlib.suppress(MemosyncError, OSError):
                found[memo.id] = _identity(library, memo)
    if found:
        library.transaction(lambda index: _identified(library, index, found))


def claim(library: Library, memo_id: MemoId) -> MemoId:
    """Have a memo that was just fetched be alive on all devices, whatever they know of it.

    Give its id, or the one of a memo that is here already and sounds the same: that is the one then, with its words.
    """
    memo = library.index().get(memo_id)
    if not memo or not library.index().group:
        return memo_id
    alike = (other for other in library.index().memos if not other.fetched and is_as_long(other, memo.duration))
    give_uids(library, alike)  # an index that was put back may not know that of any
    found = {memo_id: _identity(library, memo)} if _is_to_be_identified(library, memo) else {}
    twin = _same_sound(library, memo, found[memo_id][0]) if found else None
    one = twin.id if twin else memo_id

    def edit(index: Index) -> Index:
        now, me = library.stamp()
        index = _identified(library, index, found)
        if one != memo_id and (spare := index.get(memo_id)):
            index = index.with_memo(_in_trash(library, spare))
        memo = index.get(one)
        dead = known.read(library).graves.get(memo.uid or "", {}) if memo else {}
        return index.with_memo(_alive(replace(memo, trashed=None), dead, now, me)) if memo else index

    library.transaction(edit)
    place(library)
    return one


def original_of(library: Library, memo: Memo) -> Memo:
    """Give the memo that has the words, for a fetched one in the trash that is there because this was here already."""
    if not (memo.trashed and memo.fetched and memo.uid):
        return memo
    return _same_sound(library, memo, _sound(library.path(memo))) or memo


def merge_in(library: Library, theirs: State, console: Console) -> None:
    """Have the index say what another device's state does, where that is later; LibraryError.

    TorrentError when these would be more memos than any device can say. What is from a time that no clock has shown yet
    is left: nobody could write anything later.
    """
    index, theirs = library.index(), until(theirs, int(library.clock() * 1000) + _FARTHEST)
    name, uids = index.group, {*theirs.memos, *(memo.uid for memo in index.memos), *known.read(library).graves}
    if theirs.memos and len(uids) > MOST_MEMOS:
        raise TorrentError("a device says more of its memos than can be had here")
    while theirs.memos or known.read(library).joining:
        unreadable = identify(library, console)
        _end_links(library, theirs)
        try:
            library.transaction(functools.partial(_merged, library, theirs, unreadable))
            break
        except _Unidentified:
            pass
    now = int(library.clock())

    def edit(before: Known) -> Known:
        if (theirs.memos or theirs.devices) and (before.joining or now - before.heard > _HEARD_EVERY):
            before = replace(before, joining=False, heard=now)
        return replace(before, devices=known.with_rows(before.devices, theirs.devices))

    known.change(library, edit, name or "none")
    place(library)


def place(library: Library) -> None:
    """Move files to where the index says that they are: some to the trash, some back."""
    at_home, thrown = set(files.names(library.root, links=True)), set[str]()
    with contextlib.suppress(LibraryError):
        thrown.update(files.names(library.trash))
    for memo in library.index().memos:
        here, there = (at_home, thrown) if memo.trashed else (thrown, at_home)
        if memo.born and memo.file in here and memo.file not in there and _misplaced(library, memo):
            with library.lock(memo.id), files.as_library_error(f"move {memo.file}"):
                now = library.index().get(memo.id)
                if now and (move := _misplaced(library, now)):
                    files.make_directory(move[1].parent)
                    files.move(*move)


def wanted(library: Library, digests: Digests | None = None) -> Iterator[tuple[Memo, Cell]]:
    """Give the memos whose file is not here, or not the one that all devices are to have, and which that is."""
    digests = digests or Digests()
    for memo in library.index().memos:
        if not memo.trashed and (content := content_of(memo)):
            path = library.path(memo)
            if not os.path.lexists(path):
                yield memo, content
            elif not memo.is_frozen:
                with contextlib.suppress(OSError):  # of a file that cannot be read nobody knows what it is
                    if digests.of(path) != content.value["sha256"]:
                        yield memo, content


def held(library: Library, digests: Digests) -> Iterator[Memo]:
    """Give the memos whose file is another one than all devices are to have, and stays so: a link was given to it."""
    for memo in library.index().memos:
        if memo.is_frozen and not memo.trashed and (content := content_of(memo)):
            with contextlib.suppress(OSError):
                if digests.of(library.path(memo)) != content.value["sha256"]:
                    yield memo


def take(library: Library, uid: str, came: Path) -> bool:
    """Move a file that came from another device to its memo; False, and nothing done, when it is not wanted (now).

    What is here already is replaced only by the file that all devices are to have, and only while no link was given to
    its bytes. What sounds otherwise than that is kept beside: a person, or a disk, altered it.
    """
    found = next((memo for memo in library.index().memos if memo.uid == uid), None)
    if not found:
        return False
    with library.lock(found.id), files.as_library_error(f"save {found.file}"):
        memo = library.index().get(found.id)
        if not memo or memo.trashed or memo.uid != uid:
            return False
        path, size = library.path(memo), came.stat().st_size
        if not os.path.lexists(path):
            files.move(came, path)
            if memo.size != size:
                library.update({memo.id: lambda memo: replace(memo, size=size)})
            return True
        content = content_of(memo)
        if memo.is_frozen or not content or Digests().of(came) != content.value["sha256"]:
            return False
        if _sound(path) != _sound(came):
            library.put_away(path)
        files.move(came, new := library.rewritten(memo.id))
        library.update({memo.id: lambda memo: replace(memo, size=size)})
        library.settle(memo.id, new, is_named=True)
        return True


def bury(library: Library, memos: Iterable[Memo]) -> None:
    """Keep what other devices have to know of memos that are purged next: not which bytes they were."""
    dead = {memo.uid: cells_of(memo) for memo in memos if memo.uid and memo.born}

    def edit(before: Known) -> Known:
        buried = dict(before.graves)
        for uid, cells in dead.items():
            kept = {name: cell for name, cell in cells.items() if name != "file"}
            buried[uid] = merge_cells(buried.get(uid, {}), kept)
        return replace(before, graves=buried)

    if dead:
        known.change(library, edit)


def heard(library: Library) -> float:
    """Give when, about, another device was heard last, in seconds since 1970; 0 when that is not known."""
    return float(known.read(library).heard)


class _Unidentified(Exception):
    """A memo came into the index while another device's state was about to be merged."""


def _table(index: Index, dead: Table) -> dict[str, Cells]:
    table = dict(dead)
    for memo in index.memos:
        if memo.uid and memo.born:
            table[memo.uid] = merge_cells(cells_of(memo), dead.get(memo.uid, {}))
    return table


def _merged(library: Library, theirs: State, left: set[MemoId], index: Index) -> Index:
    """Merge another device's state into an index, and into the graves.

    _Unidentified when there are memos without a uid but those that are `left` so.
    """
    if not index.group:  # it was left meanwhile
        return index
    if any(memo.id not in left and not memo.uid and _is_to_be_identified(library, memo) for memo in index.memos):
        raise _Unidentified
    now, me = library.stamp()
    memos = {memo.id: memo if memo.born else stamped(memo, now, me) for memo in index.memos}
    ids = {memo.uid: memo.id for memo in memos.values() if memo.uid}
    before = known.read(library)
    dead, joining = before.graves, before.joining
    mine = _table(replace(index, memos=tuple(memos.values())), dead)
    buried, taken = dict(dead), set(memos)
    files_here: dict[MemoId, str] | None = None
    new: list[Memo] = []
    for uid in sorted({*news(State(mine), theirs).memos, *dead}):
        cells = merge_cells(mine.get(uid, {}), theirs.memos.get(uid, {}))
        if uid in ids:
            memo = memos[ids[uid]]
            memos[memo.id] = _without_ended_link(memo, with_cells(memo, cells))
            if joining and not memo.trashed and not _is_alive(cells):
                memos[memo.id] = _alive(memos[memo.id], cells, now, me)
        elif _is_alive(cells) or ("file" in cells and uid not in dead):
            memo_id, file = parse_id(cells["id"].value) if "id" in cells else None, None
            if memo_id and memo_id not in taken:
                files_here = _named(library) if files_here is None else files_here
                file = name if (name := files_here.get(memo_id)) and _is_here(library, name) else None
            else:
                memo_id = library.take_id()
            taken.add(memo_id)
            new.append(arrived(uid, cells, memo_id, file))
        else:
            buried[uid] = cells
    if buried != dead:
        known.write(library, replace(before, graves=buried))
    new.sort(key=lambda memo: (memo.recorded, memo.uid))
    return replace(index, memos=(*new, *memos.values()))  # what came last is what was added here last


def _end_links(library: Library, theirs: State) -> None:
    """End the private links that another device has exchanged for new ones; the index is told later."""
    for memo in library.index().memos:
        renewals = theirs.memos.get(memo.uid or "", {}).get("renewals")
        if renewals and renewals.value > memo.renewals and memo.sealed and (key := keys.find(library, memo.sealed)):
            keys.keep(library, memo.sealed, replace(key, ended=True))


def _without_ended_link(before: Memo, memo: Memo) -> Memo:
    return replace(memo, sealed=None, private=False) if memo.renewals > before.renewals else memo


def _identify(library: Library, memos: list[Memo], before: set[MemoId]) -> None:
    """Give memos their uids; `before` are those that had one when this began."""
    found: dict[MemoId, tuple[bytes, Cell]] = {}
    spare, wanted = set(), set()
    for memo in memos:
        if _is_to_be_identified(library, memo):
            with contextlib.suppress(MemosyncError, OSError):
                found[memo.id] = _identity(library, memo)
                # a fetch that died before it could say so
                twin = _same_sound(library, memo, found[memo.id][0]) if memo.fetched and not memo.uid else None
                if twin and not memo.trashed and (not twin.trashed or twin.id in before):
                    spare.add(memo.id)
                    wanted |= {twin.id} if twin.trashed else set()

    def edit(index: Index) -> Index:
        index = _identified(library, index, found)
        now, me = library.stamp()

        def settled(memo: Memo) -> Memo:
            if memo.id in wanted:
                return _alive(replace(memo, trashed=None), {}, now, me)
            return _in_trash(library, memo) if memo.id in spare else memo

        return replace(index, memos=tuple(map(settled, index.memos)))

    if found:
        library.transaction(edit)
        place(library)


def _identified(library: Library, index: Index, found: Mapping[MemoId, tuple[bytes, Cell]]) -> Index:
    """Give memos their uids.

    What was known of one from other devices, or from before it was purged, becomes one with it; what is here already
    under that uid is another memo with the same sound, and so is what was made anew since it was purged.
    """
    now, me = library.stamp()
    dead = known.read(library).graves
    memos = {memo.id: stamped(memo, now, me) if memo.id in found else memo for memo in index.memos}
    by_uid = {memo.uid: memo for memo in memos.values() if memo.uid}

    def is_another(uid: str, memo: Memo) -> bool:
        if twin := by_uid.get(uid):
            return not is_awaited(library, twin)
        return uid in dead and not memo.fetched

    for memo_id, (sound, content) in found.items():
        memo = memos.get(memo_id)
        if not memo or not _is_to_be_identified(library, memo):
            continue
        cells: Cells = {**cells_of(memo), "file": content}
        if memo.uid:
            uid = memo.uid
        else:
            number = 0
            while is_another(uid := _uid(sound, number), memo):
                number += 1
            if twin := by_uid.get(uid):
                cells = merge_cells(cells, cells_of(twin))
                del memos[twin.id]
            cells = merge_cells(cells, dead.get(uid, {}))
        memos[memo_id] = by_uid[uid] = with_cells(replace(memo, uid=uid), cells)
    return replace(index, memos=tuple(memos.values()))


def _is_to_be_identified(library: Library, memo: Memo) -> bool:
    return not (memo.uid and content_of(memo)) and files.is_regular(library.path(memo))


def _identity(library: Library, memo: Memo) -> tuple[bytes, Cell]:
    """Give a memo's sound, and which bytes its file is; LibraryError, OSError."""
    path = library.path(memo)
    digest, form = form_for_devices(library, path)
    try:
        sound = webm.sound_of(path)
    except AudioError:  # it may be heard some day
        sound = digest
    return sound, Cell({"sha256": digest.hex(), "size": path.stat().st_size, "infohash": form.infohash}, BIRTH)


def _sound(path: Path) -> bytes:
    """Give what is heard of a file, nothing where that cannot be said."""
    with contextlib.suppress(AudioError, OSError):
        return webm.sound_of(path)
    return b""


def _same_sound(library: Library, memo: Memo, sound: bytes) -> Memo | None:
    """Find another memo than this one, whose file is here and has this sound."""
    for other in library.index().memos:
        if other.id != memo.id and other.uid == _uid(sound, 0) and files.is_regular(path := library.path(other)):
            with contextlib.suppress(MemosyncError, OSError):
                if webm.sound_of(path) == sound:
                    return other
    return None


def _in_trash(library: Library, memo: Memo) -> Memo:
    """Put what is here twice into the trash."""
    return replace(memo, trashed=memo.trashed or datetime.fromtimestamp(int(library.clock()), UTC))


def _uid(sound: bytes, number: int) -> str:
    """Give the uid of the memo of this sound; where there are several, each has its number."""
    import hashlib

    return hashlib.sha256(b"memosync uid v1" + sound + (str(number).encode() if number else b"")).hexdigest()


def _alive(memo: Memo, said: Cells, now: int, device: str) -> Memo:
    """Have a memo not be in the trash, by an act of now, after all that was said of it."""
    cells = merge_cells(cells_of(memo), said)
    clock = cells["trashed"].clock if "trashed" in cells else BIRTH
    return with_cells(memo, {"trashed": Cell("", tick(clock, now, device))})


def _is_alive(cells: Cells) -> bool:
    return "trashed" not in cells or not cells["trashed"].value


def _misplaced(library: Library, memo: Memo) -> tuple[Path, Path] | None:
    """Give from where to where a memo's file has to be moved, if it has."""
    home, thrown = library.root / memo.file, library.trash / memo.file
    here, there = (home, thrown) if memo.trashed else (thrown, home)
    return (here, there) if not os.path.lexists(there) and files.is_regular(here) else None


def _is_here(library: Library, name: str) -> bool:
    return files.is_regular(library.root / name) or files.is_regular(library.trash / name)


def _named(library: Library) -> dict[MemoId, str]:
    """Give the names of memos' files that are here, by the id in them."""
    names = [*files.names(library.trash), *files.names(library.root, links=True)]
    return {memo_id: name for name in names if (memo_id := id_in_file_name(name))}
