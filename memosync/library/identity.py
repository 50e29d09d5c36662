"""Which memo is which, on all devices of a group: its uid comes from its sound.

Who has the same sound has the same memo. A second one with a sound that is here already has a number in its uid, and
what comes by a link is never such a second one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from .. import files
from ..audio import webm
from ..console import Console
from ..errors import AudioError, MemosyncError
from ..index import EDITABLE, Index
from ..manifest import BIRTH, FETCHED, TAG, Cell, Cells, merge_cells
from ..memo import Memo, MemoId
from . import known
from .adopt import adopt, bring_back
from .places import place
from .reword import reword
from .sealed import form_for_devices
from .sounds import has_sound_of, is_as_long, is_of_sound, sound_or_nothing, uid_of
from .stamps import alive, cells_of, content_of, heeding, stamped, with_cells
from .store import Library


def identify(library: Library, console: Console) -> set[MemoId]:
    """See that every memo whose file is here has its uid, and that it is said which bytes that is.

    Files that the index does not name are adopted first. Give those that cannot be read, and are left for another time.
    """
    place(library)  # an index that was put back may expect files elsewhere
    adopt(library, library.orphans(), console)
    bring_back(library, console)
    _heed_graves(library)
    before = {memo.id for memo in library.index().memos if memo.uid}
    for fetched in (False, True):  # what is here already, and then what came to it
        _identify(library, [memo for memo in library.index().memos if memo.fetched is fetched], before)
    return {memo.id for memo in library.index().memos if is_to_be_identified(library, memo)}


def give_uids(library: Library, memos: Iterable[Memo]) -> None:
    """See that these memos have theirs, where their files can be read; the caller may hold their locks."""
    found, group = {}, library.index().group
    for memo in memos:
        if is_to_be_identified(library, memo):
            with contextlib.suppress(MemosyncError, OSError):
                found[memo.id] = _identity(library, memo)
    if found:
        library.transaction(lambda index: _identified(library, index, found, group))


def claim(library: Library, memo_id: MemoId) -> MemoId:
    """Have a memo that was just fetched be alive on all devices, whatever they know of it.

    Give its id, or the one of a memo that is here already and sounds the same: that is the one then, with its words.
    """
    memo, group = library.index().get(memo_id), library.index().group
    if not memo or not group:
        return memo_id
    alike = (other for other in library.index().memos if not other.fetched and is_as_long(other, memo.duration))
    give_uids(library, alike)  # an index that was put back may not know that of any
    found = {memo_id: _identity(library, memo)} if is_to_be_identified(library, memo) else {}
    twin = _same_sound(library, memo, found[memo_id][0]) if found else None
    one = twin.id if twin else memo_id

    def edit(index: Index) -> Index:
        now, me = library.stamp()
        index = _identified(library, index, found, group)
        if one != memo_id and (spare := index.get(memo_id)):
            index = index.with_memo(_in_trash(library, spare))
        memo = index.get(one)
        dead = known.read(library).graves.get(memo.uid or "", {}) if memo else {}
        return index.with_memo(alive(replace(memo, trashed=None), dead, now, me)) if memo else index

    library.transaction(edit)
    place(library)
    return one


def original_of(library: Library, memo: Memo) -> Memo:
    """Give the memo that has the words, for a fetched one in the trash that is there because this was here already."""
    if not (memo.trashed and memo.fetched and memo.uid):
        return memo
    return _same_sound(library, memo, sound_or_nothing(library.path(memo))) or memo


def is_to_be_identified(library: Library, memo: Memo) -> bool:
    return not (memo.uid and content_of(memo)) and files.is_regular(library.path(memo))


def sounds_as_it_should(library: Library, memo: Memo) -> bool:
    """Tell whether a memo's file has the sound that its uid is made of; False where it cannot be read."""
    return has_sound_of(library.path(memo), memo.uid)


def offer(library: Library, uid: str) -> bool:
    """Have the file of a memo that is here, with the words of now, be the one that it is to have on all devices.

    False, and nothing done, where there is none that sounds as the memo does, or a link to its bytes was given;
    AudioError, LibraryError.
    """
    found = next((memo for memo in library.index().memos if memo.uid == uid), None)
    if not found:
        return False
    with library.lock(found.id):
        memo = library.index().get(found.id)
        if not memo or memo.uid != uid or memo.trashed or memo.is_frozen or not memo.content:
            return False
        if not sounds_as_it_should(library, memo):
            return False
        reword(library, memo)
        return True


def _heed_graves(library: Library) -> None:
    """Have an index from before a memo was purged say what is known of it by now."""
    graves = known.read(library).graves
    if any(heeding(memo, graves) is not memo for memo in library.index().memos):
        library.transaction(lambda index: replace(index, memos=tuple(heeding(memo, graves) for memo in index.memos)))
        place(library)


def _identify(library: Library, memos: list[Memo], before: set[MemoId]) -> None:
    """Give memos their uids; `before` are those that had one when this began."""
    found: dict[MemoId, tuple[bytes, Cell]] = {}
    spare, wanted = dict[MemoId, MemoId](), set[MemoId]()  # with whom each is one; who is to be alive for that
    group = library.index().group
    for memo in memos:
        if is_to_be_identified(library, memo):
            with contextlib.suppress(MemosyncError, OSError):
                found[memo.id] = _identity(library, memo)
                # a fetch that died before it could say so
                twin = _same_sound(library, memo, found[memo.id][0]) if memo.fetched and not memo.uid else None
                if twin and not memo.trashed and (not twin.trashed or twin.id in before):
                    spare[memo.id] = twin.id
                    wanted |= {twin.id} if twin.trashed else set()

    def edit(index: Index) -> Index:
        index = _identified(library, index, found, group)
        now, me = library.stamp()

        def settled(memo: Memo) -> Memo:
            if memo.id in wanted:
                memo = alive(replace(memo, trashed=None), {}, now, me)
            for other in index.memos if memo.id in spare.values() else ():
                if spare.get(other.id) == memo.id:
                    memo = with_cells(memo, merge_cells(cells_of(memo), _typed(other)))
            return _in_trash(library, memo) if memo.id in spare else memo

        return replace(index, memos=tuple(map(settled, index.memos)))

    if found:
        library.transaction(edit)
        place(library)


def _typed(memo: Memo) -> Cells:
    """Give the words of a memo that it did not come with."""
    return {
        field: cell
        for field, cell in cells_of(memo).items()
        if (field in EDITABLE or field.startswith(TAG)) and cell.clock > BIRTH
    }


def _identified(library: Library, index: Index, found: Mapping[MemoId, tuple[bytes, Cell]], group: str) -> Index:
    """Give memos their uids, unless the group was left, and perhaps another one joined, while they were looked at.

    What was known of one from other devices, or from before it was purged, or whose file is gone, becomes one with it;
    what is here already under that uid is another memo with the same sound, and so is what was made anew since it was
    purged: its id tells that from what was put back, the one that it had here or the one that it has on other devices.
    """
    if index.group != group:
        return index
    now, me = library.stamp()
    before = known.read(library)
    dead = before.graves
    memos = {memo.id: stamped(memo, now, me) if memo.id in found else memo for memo in index.memos}
    by_uid = {memo.uid: memo for memo in memos.values() if memo.uid}

    def is_another(uid: str, memo: Memo) -> bool:
        if twin := by_uid.get(uid):
            return os.path.lexists(library.path(twin))
        if uid not in dead or memo.fetched or before.purged.get(memo.id) == uid:
            return False
        return "id" not in dead[uid] or dead[uid]["id"].value != memo.id

    for memo_id, (sound, content) in found.items():
        memo = memos.get(memo_id)
        if not memo or not is_to_be_identified(library, memo):
            continue
        if memo.uid and not is_of_sound(memo.uid, sound):
            content = Cell(content.value, FETCHED)  # it was altered: what any other device has counts more
        cells: Cells = {**cells_of(memo), "file": content}
        if memo.uid:
            uid = memo.uid
        else:
            number = 0
            while is_another(uid := uid_of(sound, number), memo):
                number += 1
            if twin := by_uid.get(uid):
                cells = merge_cells(cells, cells_of(twin))
                del memos[twin.id]
            cells = merge_cells(cells, dead.get(uid, {}))
        found_again = with_cells(replace(memo, uid=uid), cells)
        is_gone = uid in dead or (not memo.uid and twin and twin.trashed)
        if is_gone and not memo.trashed:  # a person recorded it again, or brought its file back, or a fetch that died
            found_again = alive(found_again, {}, now, me)
        memos[memo_id] = by_uid[uid] = found_again
    return replace(index, memos=tuple(memos.values()))


def _identity(library: Library, memo: Memo) -> tuple[bytes, Cell]:
    """Give a memo's sound, and which bytes its file is; LibraryError, OSError."""
    path = library.path(memo)
    digest, form = form_for_devices(library, path)
    try:
        sound = webm.sound_of(path)
    except AudioError:  # it may be heard some day
        sound = digest
    return sound, Cell({"sha256": digest.hex(), "size": path.stat().st_size, "infohash": form.infohash}, BIRTH)


def _same_sound(library: Library, memo: Memo, sound: bytes) -> Memo | None:
    """Find another memo than this one, whose file is here and has this sound."""
    for other in library.index().memos:
        if other.id != memo.id and other.uid == uid_of(sound) and files.is_regular(path := library.path(other)):
            with contextlib.suppress(MemosyncError, OSError):
                if webm.sound_of(path) == sound:
                    return other
    return None


def _in_trash(library: Library, memo: Memo) -> Memo:
    """Put what is here twice into the trash."""
    return replace(memo, trashed=memo.trashed or datetime.fromtimestamp(int(library.clock()), UTC))
