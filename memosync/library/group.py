"""The group that a library is in: what its memos are to the other devices, and what these say of them.

Two libraries that hold the same secret are one. What a device says is derived from its index, and from the graves of
what was purged; what others say is merged into these. An entry that is missing is never a deletion.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from .. import files
from ..console import Console
from ..errors import LibraryError, TorrentError, UsageError
from ..index import Index
from ..manifest import MOST_MEMOS, Cell, Cells, State, Table, merge_cells, news, until
from ..memo import Memo, MemoId, parse_id
from ..sealing import derive, group_of, link
from . import invitations, keys, known
from .device import named
from .digests import Digests
from .entries import as_it_came
from .identity import identify, is_to_be_identified, sounds_as_it_should
from .known import LACK, Device, Known
from .places import files_by_id, is_awaited, is_here, place
from .sounds import has_sound_of, sound_or_nothing
from .stamps import alive, arrived, cells_of, content_of, of_no_group, stamped, with_cells
from .store import Library

_HEARD_EVERY = 3_600.0  # seconds between two notes of that
_MOST_RENEWALS = 1_000  # that are looked for: what others say may be any number
_FARTHEST = 100 * 31_557_600_000  # milliseconds that another clock may be ahead of this one


def enter(library: Library, secret: bytes | None = None) -> None:
    """Have a library be in the group of this secret, or of its own; UsageError when it is in another one.

    Words that a person typed before are later than those nobody did, and those of the index that was saved later than
    those of another one; what is not in the trash is alive now.
    """
    index = library.index()
    if index.group and secret and index.group != group_of(secret):
        raise UsageError("this library is in another group", "memosync sync --leave ends that, and keeps every memo")
    if secret:
        keys.replace_secret(library, secret, datetime.fromtimestamp(library.clock(), UTC))
    group = group_of(keys.secret(library))
    if index.group != group:
        known.change(
            library, lambda before: Known(joining=True, graves=before.graves, purged=before.purged, port=before.port)
        )
    came = {memo.id: as_it_came(memo, library.path(memo)) for memo in index.memos if not memo.born}

    def edit(index: Index) -> Index:
        now, me = library.stamp()
        # nobody knows when they were typed: an index's seconds, as milliseconds, are in January 1970, before all words
        # whose time is known
        joined = max(1, library.stamp_of_typed()[0] // 1000)
        before = index.memos if index.group == group else map(of_no_group, index.memos)
        memos = (stamped(memo, joined, me, came[memo.id]) if memo.id in came else memo for memo in before)
        entered = (stamped(memo, now, me) for memo in memos)
        return replace(
            index, group=group, memos=tuple(memo if memo.trashed else alive(memo, {}, now, me) for memo in entered)
        )

    library.transaction(edit)


def leave(library: Library) -> None:
    """Have a library be in no group: it keeps every memo that is here, and forgets the secret."""
    if library.index().group:
        with contextlib.suppress(LibraryError):  # of a secret that is lost
            identify(library, Console())
    if made := [one.infohash for one in known.read(library).invitations]:
        invitations.end(library, made)
    keys.forget_secret(library)

    def edit(index: Index) -> Index:
        memos = (memo for memo in index.memos if not is_awaited(library, memo))
        return replace(index, group="", memos=tuple(map(of_no_group, memos)))

    library.transaction(edit)
    with files.as_library_error("leave the group"):
        known.path_of(library).unlink(missing_ok=True)


def insist_on_secret(library: Library) -> None:
    """Insist that the library's secret is the one of its group; LibraryError."""
    group, is_there = library.index().group, True
    try:
        if (is_there := keys.has_secret(library)) and group_of(keys.secret(library)) == group:
            return
    except LibraryError as error:
        if isinstance(error.__cause__, OSError):  # it cannot be read now; else it is broken
            raise
    if not is_there:
        raise keys.gone()
    raise LibraryError(
        "the secret in .memosync/keys/library is not the one of the group that the index names", keys.PUT_BACK
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
    """Give the other devices that have a memo's file, as far as they say.

    Who was last heard before it was recorded knows nothing of it, and who lacks more than it can name may lack it.
    """
    met, uid, recorded = known.read(library).met, (memo.uid or "")[:LACK], memo.recorded.timestamp()
    since = recorded if recorded < library.clock() else 0.0  # by a clock that is ahead nothing can be told
    return [
        row
        for row in others(library)
        if uid not in row.lacks and row.lacking <= len(row.lacks) and max(met.get(row.id, 0), row.as_of) >= since
    ]


def of_one_invitation(library: Library) -> list[list[Device]]:
    """Give the devices that came by one invitation, which was for one: somebody else had it, too."""
    came: dict[str, list[Device]] = {}
    for row in known.devices(known.read(library)).values():
        if row.came_by and not row.gone:
            came.setdefault(row.came_by, []).append(row)
    return [rows for rows in came.values() if len(rows) > 1]


def state_of(library: Library) -> State:
    """Give what this device says: of every memo that it can tell from others, and of the devices that it knows.

    What a person typed into the index is stamped first: LibraryError where that cannot be written.
    """
    index = library.index()
    if not library.is_stamped(index):
        index = library.transaction(lambda index: index)
    now = known.read(library)
    return State(_table(index, now.graves), now.devices)


def merge_in(library: Library, theirs: State, console: Console, *, is_own: bool = False, into: str = "") -> None:
    """Have the index say what another device's state does, where that is later; LibraryError.

    By what this device said itself, which `is_own`, nobody was heard. Nothing is merged once the library is in another
    group than the one that it is to go `into`. TorrentError when these would be more memos than
    any device can say. What is from a time that no clock has shown yet is left: nobody could write anything later.
    """
    index, theirs = library.index(), until(theirs, int(library.clock() * 1000) + _FARTHEST)
    name, uids = index.group, {*theirs.memos, *(memo.uid for memo in index.memos), *known.read(library).graves}
    if theirs.memos and len(uids) > MOST_MEMOS:
        raise TorrentError("a device says more of its memos than can be had here")
    while theirs.memos or known.read(library).joining:
        unreadable = identify(library, console)
        _end_links(library, theirs)
        try:
            library.transaction(functools.partial(_merged, library, theirs, unreadable, into))
            break
        except _Unidentified:
            pass
    now = int(library.clock())

    def edit(before: Known) -> Known:
        is_heard = bool(theirs.memos or theirs.devices) and not is_own
        if is_heard and (before.joining or abs(now - before.heard) > _HEARD_EVERY):
            before = replace(before, joining=False, heard=now)
        return replace(before, devices=known.with_rows(before.devices, theirs.devices))

    known.change(library, edit, name or "none")
    place(library)


def wanted(library: Library, digests: Digests | None = None) -> Iterator[tuple[Memo, Cell]]:
    """Give the memos whose file is not here, or not the one that all devices are to have, and which that is."""
    digests = digests or Digests()
    for memo in library.index().memos:
        if not memo.trashed and (content := content_of(memo)):
            path = library.path(memo)
            if not os.path.lexists(path):
                yield memo, content
            else:
                with contextlib.suppress(OSError):  # of a file that cannot be read nobody knows what it is
                    is_other = digests.of(path) != content.value["sha256"]
                    if is_other and not (memo.is_frozen and digests.is_whole(library, memo)):
                        yield memo, content


def held(library: Library, digests: Digests) -> Iterator[Memo]:
    """Give the memos whose file is another one than all devices are to have, and stays so: a link was given to it."""
    for memo in library.index().memos:
        if memo.is_frozen and not memo.trashed and (content := content_of(memo)):
            with contextlib.suppress(OSError):
                if digests.of(library.path(memo)) != content.value["sha256"] and digests.is_whole(library, memo):
                    yield memo


def take(library: Library, uid: str, came: Path) -> bool:
    """Move a file that came from another device to its memo; False, and nothing done, when it is not wanted (now).

    What is here already is replaced by the file that all devices are to have, and where a link was given to its bytes
    only once they are not whole; by another one only once they are not. What sounds otherwise than what came is kept
    beside: somebody altered it.
    """
    found = next((memo for memo in library.index().memos if memo.uid == uid), None)
    if not found:
        return False
    with library.lock(found.id), files.as_library_error(f"save the file of memo {found.id}"):
        memo = library.index().get(found.id)
        if not memo or memo.trashed or memo.uid != uid:
            return False
        path, size = library.path(memo), came.stat().st_size
        if os.path.lexists(path):
            content = content_of(memo)
            is_other = not content or Digests().of(came) != content.value["sha256"]
            if is_other and (sounds_as_it_should(library, memo) or not has_sound_of(came, memo.uid)):
                return False
            is_altered = sound_or_nothing(path) != sound_or_nothing(came)
            if memo.is_frozen and (not is_altered or sounds_as_it_should(library, memo)):
                return False
            if not is_altered:
                files.move(came, new := library.rewritten(memo.id))
                library.update({memo.id: lambda memo: replace(memo, size=size)})
                library.settle(memo.id, new, is_named=True)
                return True
            library.put_away(path)
        files.move(came, path)
        if memo.size != size:
            library.update({memo.id: lambda memo: replace(memo, size=size)})
        return True


def bury(library: Library, memos: Iterable[Memo]) -> None:
    """Keep what other devices have to know of memos that are purged next: not which bytes they were."""
    doomed = [memo for memo in memos if memo.uid and memo.born]

    def edit(before: Known) -> Known:
        buried = dict(before.graves)
        for memo in doomed:
            kept = {name: cell for name, cell in cells_of(memo).items() if name != "file"}
            buried[memo.uid or ""] = merge_cells(buried.get(memo.uid or "", {}), kept)
        return replace(before, graves=buried, purged={**before.purged, **{memo.id: memo.uid or "" for memo in doomed}})

    if doomed:
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


def _merged(library: Library, theirs: State, left: set[MemoId], into: str, index: Index) -> Index:
    """Merge another device's state into an index, and into the graves.

    _Unidentified when there are memos without a uid but those that are `left` so.
    """
    if not index.group or into not in ("", index.group):  # it was left meanwhile
        return index
    if any(memo.id not in left and not memo.uid and is_to_be_identified(library, memo) for memo in index.memos):
        raise _Unidentified
    now, me = library.stamp()
    memos = {memo.id: memo if memo.born else stamped(memo, now, me) for memo in index.memos}
    ids = {memo.uid: memo.id for memo in memos.values() if memo.uid}
    before = known.read_whole(library)
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
                memos[memo.id] = alive(memos[memo.id], cells, now, me)
        elif _is_alive(cells) or ("file" in cells and uid not in dead):
            memo_id, file = parse_id(cells["id"].value) if "id" in cells else None, None
            if memo_id and memo_id not in taken:
                files_here = files_by_id(library) if files_here is None else files_here
                file = name if (name := files_here.get(memo_id)) and is_here(library, name) else None
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
    """End the private links that another device has exchanged for new ones; the index is told later.

    Also those that the index does not name, for it may have been put back, and one that does may be, too.
    """
    for memo in library.index().memos:
        cells = theirs.memos.get(memo.uid or "", {})
        if "renewals" in cells and (links := cells["renewals"].value) > memo.renewals:
            if memo.sealed and (key := keys.find(library, memo.sealed)):
                keys.keep(library, memo.sealed, replace(key, ended=True))
            digest = bytes.fromhex(cells["file"].value["sha256"]) if "file" in cells else b""
            if digest and (kept := list(keys.kept(library, digest))):
                secret = keys.secret(library)
                over = [derive(secret, link(number), digest) for number in range(min(links, _MOST_RENEWALS))]
                for infohash, key in kept:
                    if key.seal in over:
                        keys.keep(library, infohash, replace(key, ended=True))


def _without_ended_link(before: Memo, memo: Memo) -> Memo:
    return replace(memo, sealed=None, private=False) if memo.renewals > before.renewals else memo


def _is_alive(cells: Cells) -> bool:
    return "trashed" not in cells or not cells["trashed"].value
