"""Memos between devices, each in a sealed form: what is not here is fetched, and what others lack is served."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from .. import files
from ..console import Console
from ..errors import LibraryError, MemosyncError, TorrentError, reason_of
from ..library import group
from ..library.digests import Digests
from ..library.identity import offer
from ..library.known import LACK, MOST_LACKS, Device, Hold
from ..library.sealed import form_for_devices, open_from_devices
from ..library.stamps import content_of
from ..library.store import Library
from ..magnet import InfoHash
from ..memo import Memo
from ..sealing import sealed_size
from ..torrent.exchange import Exchange
from ..torrent.meeting import Meeting
from ..torrent.metainfo import Metainfo

KEPT = 600.0  # seconds for which what others may still be fetching, or come back for, is served on
AGAIN = 30.0  # seconds after which what could not be had is tried again
LONG = 60.0  # seconds after which another file of a memo will do, where nobody has the one that all are to have
LONGER = 600.0  # the same, where a device is off that may have it
SOON = 3.0  # seconds after which what came, and could not be kept, is looked at again
LOOK_AGAIN = 600.0  # seconds after which files are looked at though the index is as it was: a disk may have altered one
GRACE = 1.0  # seconds that a file may be on its way before this device says that it lacks it
MOST_AT_ONCE = 3  # memos that are fetched
_HELD = 5.0  # seconds after which another file of a memo will do, where one is not here, or was altered
_STUCK = 60.0  # seconds without a byte of a memo after which others come first
_ROOM = 10**9  # bytes of the disk that are left free
_SEALING = 0.1  # seconds of each look that are for sealing memos, or one memo


@dataclass(slots=True)
class Wanted:
    """A file that is not here, or not as it should be."""

    memo: Memo
    infohash: InfoHash
    digest: str
    size: int  # bytes
    since: float
    is_damaged: bool = False  # it is here, and was altered
    not_before: float = 0.0  # it could not be had, or kept
    pause: float = SOON  # seconds until it is fetched again, when it could not be kept


def room(place: Path) -> int:
    """Give the bytes that may be taken of a disk; fewer than none where it is nearly full."""
    return files.free_space(place) - _ROOM


def drop(exchange: Exchange, place: Path, infohash: InfoHash) -> None:
    """Fetch or serve something no longer, and take it away."""
    exchange.drop(infohash)
    with contextlib.suppress(OSError):
        (place / infohash).unlink(missing_ok=True)


class Forms:
    """What of the memos' files goes from this device to the others, and comes from them."""

    def __init__(self, library: Library, me: str, meeting: Meeting, place: Path, console: Console) -> None:
        self._library, self._me, self._console = library, me, console
        self._meeting, self._exchange, self._place = meeting, meeting.exchange, place
        self._rows: Mapping[str, Device] = {}
        self._digests = Digests()
        self._looked_at = 0  # the index's time, when files were looked for
        self._looked = 0.0  # when that was
        self.wanted: dict[str, Wanted] = {}  # by uid, newest first
        self.held: dict[str, Hold] = {}  # what is here of a memo in place of what all are to have, by uid
        self.fetching: dict[InfoHash, str] = {}  # uids
        self._came: dict[InfoHash, tuple[float, float]] = {}  # how much of what is fetched is here, and since when
        self._fresh: dict[InfoHash, float] = {}  # forms of what just came, and until when they are served
        self._to_serve: dict[InfoHash, Memo] = {}  # by their forms
        self._served: set[InfoHash] = set()
        self._unsealed: dict[InfoHash, float] = {}  # what could not be sealed, and when it is tried again
        self._retired: dict[InfoHash, float] = {}  # what is served no longer, and when it goes
        self._seen: dict[str, float] = {}  # the devices that are there, or were just now, and when they were last
        self._lacks: dict[str, set[str]] = {}  # what each of the other devices has not, or not as all are to have it
        self._nowhere: dict[str, float] = {}  # uids of what all lack who are there, and since when

    def awaited(self) -> set[InfoHash]:
        """Give the forms of what is not here: some of one may be on the disk."""
        return {content.value["infohash"] for _memo, content in group.wanted(self._library, self._digests)}

    def learn(self, rows: Mapping[str, Device], came: Iterable[Memo]) -> None:
        """Look at what is here now, and at what others lack; `came` is new."""
        self._rows, until = rows, time.monotonic() + KEPT
        for memo in came:
            if content := content_of(memo):
                self._fresh[content.value["infohash"]] = until
        if self._looked_at != (looked_at := self._library.index_time()):
            self._looked_at = looked_at
            self._look_for_files(time.monotonic())
        self._choose()

    def plan(self, now: float) -> None:
        """Fetch what is wanted, newest first, and serve what others want."""
        self._give_up(now)
        if now - self._looked > LOOK_AGAIN:
            self._look_for_files(now)
        before = self._seen.keys()
        lately = {name: at for name, at in self._seen.items() if now - at < KEPT}
        self._seen = lately | dict.fromkeys(self._meeting.pointers, now)
        if self._seen.keys() != before:
            self._choose()
        self._offer(now)
        self._fetch(now)
        until = now + _SEALING
        for infohash, memo in self._to_serve.items():
            is_due = infohash not in self.fetching and self._unsealed.get(infohash, 0.0) <= now
            if infohash not in self._served and is_due:
                if torrent := self._form(infohash, memo):
                    self._served.add(infohash)
                    self._retired.pop(infohash, None)
                    self._exchange.serve(torrent, self._place / infohash)
                else:
                    self._unsealed[infohash] = now + AGAIN
                if time.monotonic() > until:
                    break

    def take(self, infohash: InfoHash) -> None:
        """Keep a memo that has come, unless it is not wanted any more."""
        uid, form = self.fetching.pop(infohash), self._place / infohash
        wanted = self.wanted.get(uid)
        if wanted and wanted.infohash == infohash:
            plain = form.with_suffix(".webm")
            try:
                open_from_devices(self._library, form, wanted.digest, plain)
                group.take(self._library, uid, plain)
                del self.wanted[uid]
                if (content := content_of(wanted.memo)) and content.value["sha256"] != wanted.digest:
                    self._looked = 0.0  # which says again that the one for all devices is not here
            except TorrentError as error:
                self._console.warn(f"what came is not the memo: {error}")
                wanted.not_before = time.monotonic() + AGAIN
            except (LibraryError, OSError) as error:
                self._console.warn(f"a memo that came cannot be kept: {reason_of(error)}")
                wanted.not_before = time.monotonic() + wanted.pause
                wanted.pause = min(2 * wanted.pause, KEPT)
            finally:
                with contextlib.suppress(OSError):  # a disk that is read-only says so of what is not there, too
                    plain.unlink(missing_ok=True)
        if infohash not in self._served:
            self._drop(infohash)

    def going(self) -> list[tuple[str, int]]:
        """Give the uids of the memos that others fetch from here, once for each of them, and percent that it has."""
        return [
            (memo.uid or "", int(100 * part))
            for infohash, memo in self._to_serve.items()
            for part in sorted(self._exchange.fetching(infohash))
        ]

    def is_late(self, now: float) -> bool:
        """Tell whether something is not here that could be by now."""
        return any(now - wanted.since > GRACE for wanted in self.wanted.values())

    def has_no_room(self) -> bool:
        """Tell whether the disk has none for something that is wanted."""
        return any(2 * wanted.size >= room(self._place) for wanted in self.wanted.values())

    def has_damaged(self) -> bool:
        """Tell whether something that is wanted is here, and was altered."""
        return any(wanted.is_damaged for wanted in self.wanted.values())

    def clean(self, now: float) -> None:
        """End what is over: serving what was left, and what just came some time ago."""
        for infohash in [infohash for infohash in self._served if not self._exchange.has(infohash)]:
            self._served.discard(infohash)
            self._unsealed[infohash] = now + SOON
        if any(now > until for until in self._fresh.values()):
            self._choose()
        for infohash in [infohash for infohash, at in self._retired.items() if now > at]:
            del self._retired[infohash]
            if infohash not in self._served:
                self._drop(infohash)

    def _look_for_files(self, now: float) -> None:
        """See which files are not here, or are others than they are to be."""
        found, self._looked = {}, now
        every = group.wanted(self._library, self._digests)
        for memo, content in sorted(every, key=lambda one: one[0].recorded, reverse=True):
            value, uid = content.value, memo.uid or ""
            before, is_damaged = self.wanted.get(uid), self._is_damaged(memo)
            if not before or (before.digest, before.is_damaged) != (value["sha256"], is_damaged):
                before = Wanted(memo, value["infohash"], value["sha256"], value["size"], now, is_damaged)
            found[uid] = replace(before, memo=memo)
        self.wanted = found
        held = islice(group.held(self._library, self._digests), MOST_LACKS)
        self.held = {memo.uid: hold for memo in held if memo.uid and (hold := self._hold(memo.uid, memo))}

    def _is_damaged(self, memo: Memo) -> bool:
        with contextlib.suppress(OSError):
            return not self._digests.is_whole(self._library, memo)
        return False  # it is not here at all

    def _hold(self, uid: str, memo: Memo) -> Hold | None:
        """Say which file of a memo is here, that is not the one all devices are to have."""
        path, before = self._library.path(memo), self.held.get(uid)
        with contextlib.suppress(OSError, LibraryError):
            if before and before.digest == self._digests.of(path):
                return before
            digest, form = form_for_devices(self._library, path)
            return Hold(uid=uid, digest=digest.hex(), size=path.stat().st_size, infohash=form.infohash)
        return None

    def _give_up(self, now: float) -> None:
        """Fetch no longer what is not wanted any more, what could not be had, and what another file will do for."""
        for infohash, uid in list(self.fetching.items()):
            wanted = self.wanted.get(uid)
            if not wanted or wanted.infohash != infohash or not self._exchange.has(infohash):
                if wanted:
                    wanted.not_before = now + AGAIN
                del self.fetching[infohash]
                if infohash not in self._served:
                    self._drop(infohash)
            elif self._is_stuck(infohash, now):
                wanted.not_before, wanted.pause = now + wanted.pause, min(2 * wanted.pause, KEPT)
                del self.fetching[infohash]
                self._exchange.drop(infohash)  # what came of it stays
            elif (
                now - wanted.since > _HELD
                and not self._exchange.progress(infohash)
                and self._from_who_holds(uid, wanted) is not wanted
            ):
                del self.fetching[infohash]
                self._drop(infohash)

    def _is_stuck(self, infohash: InfoHash, now: float) -> bool:
        """Tell whether nothing came of a memo for a while: others may come meanwhile."""
        part, since = self._exchange.progress(infohash), now
        if infohash in self._came and self._came[infohash][0] == part:
            since = self._came[infohash][1]
        self._came = {one: self._came[one] for one in self.fetching if one in self._came} | {infohash: (part, since)}
        return now - since > _STUCK

    def _fetch(self, now: float) -> None:
        left = room(self._place)
        in_turn = sorted(self.wanted.items(), key=lambda item: item[1].pause)  # what did not come comes last
        for uid, wanted in in_turn if self._meeting.pointers else ():
            if len(self.fetching) >= MOST_AT_ONCE:
                break
            if wanted.infohash not in self.fetching and now >= wanted.not_before and 2 * wanted.size < left:
                size = sealed_size(wanted.size)
                self.fetching[wanted.infohash] = uid
                self._came.pop(wanted.infohash, None)  # it has as long as the first time
                if self._exchange.is_here(wanted.infohash):  # it is served, or was: another memo has just this file
                    self.take(wanted.infohash)
                    break
                self._exchange.fetch(wanted.infohash, self._place / wanted.infohash, largest=size, size=size)

    def _from_who_holds(self, uid: str, wanted: Wanted) -> Wanted:
        """Take any file of a memo that is not here, or was altered, where the one for all devices does not come."""
        if wanted.is_damaged or not os.path.lexists(self._library.path(wanted.memo)):
            for name in self._meeting.pointers:
                for hold in self._rows[name].holds if name in self._rows else ():
                    if hold.uid == uid and hold.digest != wanted.digest:
                        self.wanted[uid] = Wanted(
                            wanted.memo, hold.infohash, hold.digest, hold.size, time.monotonic(), wanted.is_damaged
                        )
                        return self.wanted[uid]
        return wanted

    def _offer(self, now: float) -> None:
        """Have all devices want the file of a memo that is here, where nobody has had the one that they want for long.

        After a power cut, or when somebody left, that one may be gone for good, and the memo play everywhere; and a
        device that was replaced, or whose library was put back, never comes again under its name.
        """
        there = [lacks for name, lacks in self._lacks.items() if name in self._meeting.pointers]
        by_all = set.intersection(*there) if there else set()
        patience = LONG if len(there) == len(self._lacks) else LONGER
        self._nowhere = {uid: self._nowhere.get(uid, now) for uid in self.wanted if uid[:LACK] in by_all}
        for uid in [uid for uid, since in self._nowhere.items() if now - since > patience]:
            self._nowhere[uid] = now
            what = "nobody has the file of a memo that all devices are to have"
            try:
                if offer(self._library, uid):
                    self._console.warn(f"{what}: from now on it is the one that is here")
            except (MemosyncError, OSError) as error:
                refused = error.__cause__ if isinstance(error.__cause__, OSError) else error  # which names no title
                self._console.warn(f"{what}: {reason_of(refused)}")

    def _choose(self) -> None:
        """Choose the forms of what others lack who are there, and of what just came."""
        now = time.monotonic()
        others = [row for row in self._rows.values() if row.id != self._me and not row.gone]
        self._lacks = {row.id: {*row.lacks, *(hold.uid[:LACK] for hold in row.holds)} for row in others}
        lacked = {uid for row in others if row.id in self._seen for uid in row.lacks}
        self._fresh = {infohash: until for infohash, until in self._fresh.items() if until > now}
        chosen: dict[InfoHash, Memo] = {}
        for memo in reversed(self._library.index().memos if lacked or self._fresh else ()):
            if (content := content_of(memo)) and not memo.trashed and memo.uid and memo.uid not in self.wanted:
                hold = self.held.get(memo.uid)
                infohash = hold.infohash if hold else content.value["infohash"]
                if memo.uid[:LACK] in lacked or infohash in self._fresh:
                    chosen[infohash] = memo
        for infohash in self._served - chosen.keys():
            self._served.discard(infohash)
            self._retired[infohash] = now + GRACE
        self._to_serve = chosen
        self._unsealed = {infohash: at for infohash, at in self._unsealed.items() if infohash in chosen}

    def _form(self, infohash: InfoHash, memo: Memo) -> Metainfo | None:
        """Seal a memo for the other devices; None where that cannot be done, or makes another form."""
        with contextlib.suppress(OSError, LibraryError):
            size = sealed_size(files.status_of(self._library.path(memo), links=True).st_size)
            if 4 * size >= files.free_space(self._place):  # half of what is left is for what is recorded
                return None
            _digest, torrent = form_for_devices(self._library, self._library.path(memo), self._place / infohash)
            if torrent.infohash == infohash:
                return torrent
            (self._place / infohash).unlink(missing_ok=True)
        return None

    def _drop(self, infohash: InfoHash) -> None:
        drop(self._exchange, self._place, infohash)
