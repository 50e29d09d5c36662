"""Sync: what the seeder does so that a library and those of the group's other devices become the same.

What is new here is sealed into a head, to which the device then points; what others point to is fetched and merged,
and then the files are that are not here. All of it happens in a thread of its own, and what cannot be done now is tried
again.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import shutil
import socket
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from .. import files
from ..console import Console
from ..errors import LibraryError, MemosyncError, TorrentError
from ..library import group, heads, keys, known
from ..library.digests import Digests
from ..library.heads import Head, Opened
from ..library.invitations import end_used
from ..library.known import LACK, LONGEST_NAME, MOST_ADDRESSES, MOST_LACKS, Device, Hold, Known
from ..library.sealed import form_for_devices, open_from_devices
from ..library.stamps import content_of
from ..library.store import Library
from ..magnet import InfoHash
from ..manifest import State, Table, merge, news
from ..memo import Memo
from ..network import DEFAULT_TRACKERS, Network
from ..sealing import keep_key, sealed_size
from ..stop import Stop
from ..torrent.meeting import Meeting
from ..torrent.metainfo import Metainfo

MOST_AT_ONCE = 3  # memos that are fetched
_GRACE = 1.0  # seconds that a file may be on its way before this device says that it lacks it
_PAUSE = 0.3  # seconds between two heads, at least
_KEPT = 600.0  # seconds for which a head that was left is served on, and a memo that just came
_HELD = 5.0  # seconds after which another file of a memo will do, where one is not here at all
_AGAIN = 30.0  # seconds after which what could not be had is tried again
_SOON = 3.0  # seconds after which what came, and could not be kept, is looked at again
_MOST_BASES = 16  # that are being fetched though nobody says anything in addition to them any more
_ROOM = 10**9  # bytes of the disk that are left free
_NOTED = 600.0  # seconds between two notes that a device is met
_MOST_MERGED = 1000  # heads that are remembered, and never fetched again
_SETTLES = 3.0  # seconds after which other addresses are this device's
_LOOK_EVERY = 0.1  # seconds between two looks at what is to be done
_SEALING = 0.1  # seconds of each that are for sealing memos, or one memo
_ROW_EVERY = 30.0  # seconds after which this device says anew what it lacks, while half of what it said is true


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncState:
    """How it is now."""

    met: tuple[str, ...] = ()  # devices that are connected
    even: tuple[str, ...] = ()  # those of them that know all that this one knows, and say all that they lack
    coming: tuple[tuple[str, int], ...] = ()  # uids of the memos that are being fetched, and percent


@dataclass(slots=True)
class _Wanted:
    """A file that is not here."""

    memo: Memo
    infohash: InfoHash
    digest: str
    size: int  # bytes
    since: float
    not_before: float = 0.0  # it could not be had, or kept
    pause: float = _SOON  # seconds until it is fetched again, when it could not be kept


class Sync:
    """One library's part in its group."""

    def __init__(
        self,
        root: Path,
        network: Network,
        *,
        up: int,  # bytes a second, 0 for no limit
        down: int,
        log: Callable[[str], None],
    ) -> None:
        self._library, self._network, self._up, self._down, self._log = Library(root), network, up, down, log
        self._console = Console(warn=log)
        self._place = self._library.underway
        self._said_once: set[str] = set()
        self._seen = (0, 0)  # time stamps of the index and of what is known, acted on
        self._taking_part: _Part | None = None
        self.state = SyncState()

    def run(self, stop: Stop) -> None:
        """Take part while there is a group, until `stop`."""
        try:
            while not stop.is_set():
                try:
                    self._turn(stop)
                except (MemosyncError, OSError) as error:
                    self._log_once(f"sync goes on in a moment: {error}")
                    self._seen = (0, 0)
                    stop.wait(1)
                except Exception:  # a fault of ours ends no seeder, which serves what was shared
                    for line in traceback.format_exc().splitlines():
                        self._log_once(line)
                    self._close()
                    self._seen = (0, 0)
                    stop.wait(_AGAIN)
        finally:
            self._close()

    def _turn(self, stop: Stop) -> None:
        seen = self._library.index_time(), files.time_of(known.path_of(self._library))
        part = self._taking_part
        if seen != self._seen:
            index = self._library.index()
            if part and index.group != part.group:
                self._close()
                part = None
            if index.group and not part:
                part = self._open(index.group)
            self._seen = seen
            if part:
                part.learn()
        if part:
            part.turn()
            self.state = part.state()
        else:
            if self._place.exists() and not self._library.index().group:  # libtorrent may have written once more
                shutil.rmtree(self._place, ignore_errors=True)
            stop.wait(0.2)

    def _open(self, name: str) -> _Part:
        library = self._library
        group.insist_on_secret(library)
        secret = keys.secret(library)
        with files.as_library_error("keep what other devices say"):
            files.refuse_links(self._place)
            files.make_directory(self._place)
            with library.index_lock():
                me = library.stamp()[1]
        now = known.read(library)
        meeting = Meeting(
            self._network,
            keep=keep_key(secret),
            device=me,
            place=self._place,
            port=now.port,
            trackers=now.trackers or DEFAULT_TRACKERS,
            up=self._up,
            down=self._down,
            dht=library.session_state(),
            log=self._log_once,
        )
        known.change(library, lambda before: replace(before, port=meeting.port), name)
        self._log(f"in sync as device {me}, on port {meeting.port}")
        self._taking_part = _Part(library, name, secret, me, meeting, self._place, self._console)
        return self._taking_part

    def _close(self) -> None:
        if self._taking_part:
            self._taking_part.close()
        self._taking_part, self.state = None, SyncState()

    def _log_once(self, text: str) -> None:
        if text not in self._said_once and len(self._said_once) < 1000:
            self._said_once.add(text)
            self._log(text)


class _Part:
    """What a device does from when it joins the others until it goes."""

    def __init__(
        self, library: Library, name: str, secret: bytes, me: str, meeting: Meeting, place: Path, console: Console
    ) -> None:
        self.group = name
        self._library, self._secret, self._me, self._console = library, secret, me, console
        self._meeting, self._exchange, self._place = meeting, meeting.exchange, place
        self._known = Known()
        self._rows: Mapping[str, Device] = {}
        self._mine = State()  # what is known here
        self._thought: tuple[int, Table] = 0, {}  # the index's time, and the graves, that this is of
        self._identified = 0  # the index's time, when every memo whose file is here had its uid
        self._looked_at = 0  # and when files were looked for
        self._equal: set[InfoHash] = set()  # heads that say just that
        self._said: State | None = None  # what this device's head says
        self._head: Head | None = None
        self._said_at = self._moved_at = self._looked = self._row_at = -math.inf
        self._base: tuple[InfoHash, State] | None = None
        self._merged: dict[InfoHash, None] = {}  # heads, in an ordered set
        self._coming: dict[InfoHash, set[str]] = {}  # heads that are being fetched, and which devices point to them
        self._waiting: dict[InfoHash, dict[InfoHash, Opened]] = {}  # heads whose base is being fetched, by that
        self._refused: dict[InfoHash, float] = {}  # what could not be had, and when it is tried again
        self._unkept: dict[InfoHash, float] = {}  # what came, and could not be kept, and when it is looked at again
        self._digests = Digests()
        self._wanted: dict[str, _Wanted] = {}  # by uid, newest first
        self._held: dict[str, Hold] = {}  # what is here of a memo in place of what all are to have, by uid
        self._fetching: dict[InfoHash, str] = {}  # uids
        self._fresh: dict[InfoHash, float] = {}  # forms of what just came, and until when they are served
        self._to_serve: dict[InfoHash, Memo] = {}  # by their forms
        self._served: set[InfoHash] = set()
        self._unsealed: dict[InfoHash, float] = {}  # what could not be sealed, and when it is tried again
        self._retired: dict[InfoHash, float] = {}  # heads, bases and forms that are to go, and when
        self._noted: dict[tuple[str, bool], float] = {}  # when it was noted that a device is met, and even
        self._there: set[str] = set()  # those that are met
        self._introduce()
        now = known.read(library)
        self._load_base(now.base)
        kept = {now.base, *(content.value["infohash"] for _memo, content in group.wanted(library, self._digests))}
        for left in files.names(place):
            if left not in kept:
                files.remove(place / left)

    def turn(self) -> None:
        """Do what is to be done now."""
        self._meeting.poll(0.05)
        self._hear()
        now = time.monotonic()
        self._unkept = {infohash: at for infohash, at in self._unkept.items() if self._exchange.has(infohash)}
        for infohash in [*self._exchange.arrived(), *(one for one, at in self._unkept.items() if now > at)]:
            self._take(infohash)
        now = time.monotonic()
        if now - self._looked > _LOOK_EVERY:
            self._looked = now
            if not self._has_moved():
                self._moved_at = now
            if now - self._moved_at > _SETTLES:
                self._introduce()
            self._plan(now)
            self._say(now)
            self._clean(now)

    def learn(self) -> None:
        """Look at what is here now, and whom to call."""
        library, known_before = self._library, self._mine
        before = {memo.uid for memo in library.index().memos}
        if library.index_time() != self._identified:
            group.identify(library, self._console)
            self._identified = library.index_time()
        self._think()
        self._recall(known_before)
        if self._me not in self._rows or self._row().gone:
            self._introduce()
        end_used(library, self._rows)
        others = [row for row in self._rows.values() if row.id != self._me and not row.gone]
        known_at = {row.id: row.addresses for row in others}
        self._meeting.call(known_at or {"": self._known.addresses})
        until = time.monotonic() + _KEPT
        for memo in [memo for memo in library.index().memos if memo.uid not in before][-MOST_LACKS:]:
            if content := content_of(memo):
                self._fresh[content.value["infohash"]] = until
        if self._looked_at != (looked_at := library.index_time()):
            self._looked_at = looked_at
            self._look_for_files()
        self._choose_what_to_serve()

    def _recall(self, before: State) -> None:
        """Bring back what was known here before, and is not any more: somebody put an older index back.

        The others said it already, and will not say it again.
        """
        lost = news(self._mine, before)
        memos = {uid: dict(cells) for uid, cells in lost.memos.items()}
        for uid in memos.keys() & self._known.graves.keys():  # which bytes were purged is not kept
            memos[uid].pop("file", None)
        memos = {uid: cells for uid, cells in memos.items() if cells}
        if (memos or lost.devices) and self._library.index().group == self.group:
            group.merge_in(self._library, State(memos, lost.devices), self._console)
            self._think()

    def state(self) -> SyncState:
        """Say how it is."""
        coming = {uid: self._exchange.progress(infohash) for infohash, uid in self._fetching.items()}
        return SyncState(
            met=tuple(sorted(self._meeting.pointers)),
            even=tuple(self._even()),
            coming=tuple((uid, round(100 * part)) for uid, part in coming.items()),
        )

    def _even(self) -> list[str]:
        """Name the devices that say just what is known here."""
        pointers = self._meeting.pointers.items() if self._said == self._mine else ()
        return sorted(name for name, pointer in pointers if pointer.head in self._equal)

    def close(self) -> None:
        self._note_met(self._meeting.pointers, 0.0)
        self._meeting.close()

    def _introduce(self) -> None:
        """Have this device's row say who it is and where, now."""
        row = known.devices(known.read(self._library)).get(self._me)
        words: dict[str, object] = {"addresses": self._meeting.addresses[:MOST_ADDRESSES]}
        if not row or not row.name:
            words["name"] = socket.gethostname().partition(".")[0][:LONGEST_NAME]
        if not row or not row.since:
            words["since"] = int(self._library.clock() * 1000)
        if row and row.gone:
            words["gone"] = 0
        known.say(self._library, self._me, words, self.group)
        self._moved_at = time.monotonic()
        self._think()

    def _row(self) -> Device:
        """Give what this device says of itself: nothing more, once the group was left."""
        return self._rows.get(self._me) or Device(id=self._me)

    def _has_moved(self) -> bool:
        """Tell whether this device is elsewhere than it says; it may be nowhere for a moment."""
        now = tuple(self._meeting.addresses[:MOST_ADDRESSES])
        return bool(now) and now != self._row().addresses

    def _think(self) -> None:
        """See what is known here: of memos only when something of them has changed."""
        self._known = known.read(self._library)
        self._rows = known.devices(self._known)
        thought = self._library.index_time(), self._known.graves
        if thought == self._thought:
            mine = State(self._mine.memos, self._known.devices)
        else:
            mine, self._thought = group.state_of(self._library), thought
        if mine != self._mine:
            self._mine, self._equal = mine, set()

    def _look_for_files(self) -> None:
        """See which files are not here, or are others than they are to be."""
        now, found = time.monotonic(), {}
        every = group.wanted(self._library, self._digests)
        for memo, content in sorted(every, key=lambda one: one[0].recorded, reverse=True):
            value, uid = content.value, memo.uid or ""
            before = self._wanted.get(uid)
            if before and before.digest == value["sha256"]:
                found[uid] = replace(before, memo=memo)
            else:
                found[uid] = _Wanted(memo, value["infohash"], value["sha256"], value["size"], now)
        self._wanted = found
        held = islice(group.held(self._library, self._digests), MOST_LACKS)
        self._held = {memo.uid: hold for memo in held if memo.uid and (hold := self._hold(memo.uid, memo))}
        if self._held or self._row().holds:
            holds = [
                {"uid": hold.uid, "sha256": hold.digest, "size": hold.size, "infohash": hold.infohash}
                for hold in self._held.values()
            ]
            known.say(self._library, self._me, {"holds": holds}, self.group)
            self._think()

    def _hold(self, uid: str, memo: Memo) -> Hold | None:
        """Say which file of a memo is here, that is not the one all devices are to have."""
        path, before = self._library.path(memo), self._held.get(uid)
        with contextlib.suppress(OSError, LibraryError):
            if before and before.digest == self._digests.of(path):
                return before
            digest, form = form_for_devices(self._library, path)
            return Hold(uid=uid, digest=digest.hex(), size=path.stat().st_size, infohash=form.infohash)
        return None

    def _hear(self) -> None:
        """Fetch what others point to, unless it was merged."""
        now, pointers = time.monotonic(), self._meeting.pointers
        self._note_met(pointers, _NOTED)
        if gone := self._there - pointers.keys():
            self._note_met(gone, 0.0)
        self._there = set(pointers)
        self._note_knowing({name for name, pointer in pointers.items() if pointer.head in self._equal})
        pointed: dict[InfoHash, set[str]] = {}
        for name, pointer in pointers.items():
            pointed.setdefault(pointer.head, set()).add(name)
        for base in [base for base in self._waiting if not self._exchange.has(base)]:  # it could not be had
            for head in self._waiting.pop(base):
                self._refuse(head)
        for head, tellers in pointed.items():
            if head in self._coming and not self._exchange.has(head) and not self._is_waiting(head):
                self._refuse(head)
            if head in self._merged or head in self._equal or self._refused.get(head, 0.0) > now:
                continue
            if head not in self._coming:
                self._exchange.fetch(head, self._place / head, largest=heads.LARGEST)
            self._coming[head] = tellers
        if len(self._waiting) > _MOST_BASES:
            for base in [base for base, waiting in self._waiting.items() if not waiting.keys() & pointed.keys()]:
                del self._waiting[base]
                self._drop(base)
        for head in [head for head in self._coming if head not in pointed and not self._is_waiting(head)]:
            del self._coming[head]  # who pointed to it points to another one by now, or is gone
            self._drop(head)
        self._refused = {head: until for head, until in self._refused.items() if until > now}

    def _refuse(self, head: InfoHash) -> None:
        """Try later what cannot be had now."""
        self._coming.pop(head, None)
        self._refused[head] = time.monotonic() + _AGAIN
        self._drop(head)

    def _is_waiting(self, head: InfoHash) -> bool:
        return any(head in waiting for waiting in self._waiting.values())

    def _take(self, infohash: InfoHash) -> None:
        """Act on what has arrived."""
        if infohash in self._fetching:
            self._take_memo(infohash)
            return
        try:
            self._take_head(infohash)
            self._unkept.pop(infohash, None)
        except TorrentError as error:
            self._console.warn(f"what another device says is left: {error}")
            for head in self._waiting.pop(infohash, {infohash: None}):
                self._remember(head)
                self._coming.pop(head, None)
            self._unkept.pop(infohash, None)
            if not self._base or self._base[0] != infohash:
                self._drop(infohash)
        except (LibraryError, OSError) as error:
            if infohash not in self._unkept:
                self._console.warn(f"what another device says cannot be kept now: {error}")
            self._unkept[infohash] = time.monotonic() + _SOON

    def _take_head(self, infohash: InfoHash) -> None:
        """Merge a head, or those whose base has come; TorrentError when it is none, LibraryError, OSError."""
        opened = heads.open_head(self._secret, files.read(self._place / infohash))
        if infohash in self._waiting:  # a base
            self._stand_on(infohash, opened.state)
            for head, waiting in list(self._waiting[infohash].items()):
                self._merge(head, merge(opened.state, waiting.state))
                del self._waiting[infohash][head]
            del self._waiting[infohash]
        elif not opened.base:
            self._merge(infohash, opened.state)
        elif (self._base and self._base[0] == opened.base) or self._load_base(opened.base):
            assert self._base
            self._merge(infohash, merge(self._base[1], opened.state))
        else:
            self._waiting.setdefault(opened.base, {})[infohash] = opened
            self._exchange.fetch(opened.base, self._place / opened.base, largest=heads.LARGEST)

    def _merge(self, head: InfoHash, theirs: State) -> None:
        """Merge what a head says."""
        group.merge_in(self._library, news(self._mine, theirs), self._console)
        if self._me in theirs.devices:
            self._note_knowing(self._coming.get(head, set()))
        self.learn()
        self._coming.pop(head, None)
        self._remember(head)
        self._retired[head] = time.monotonic() + _KEPT
        if theirs == self._mine:
            self._equal.add(head)

    def _take_memo(self, infohash: InfoHash) -> None:
        uid, form = self._fetching.pop(infohash), self._place / infohash
        wanted = self._wanted.get(uid)
        if wanted and wanted.infohash == infohash:
            plain = form.with_suffix(".webm")
            try:
                open_from_devices(self._library, form, wanted.digest, plain)
                group.take(self._library, uid, plain)
                del self._wanted[uid]
                self._looked = -math.inf  # for the next one
            except TorrentError as error:
                self._console.warn(f"what came is not the memo: {error}")
                wanted.not_before = time.monotonic() + _AGAIN
            except (LibraryError, OSError) as error:
                self._console.warn(f"a memo that came cannot be kept: {error}")
                wanted.not_before = time.monotonic() + wanted.pause
                wanted.pause = min(2 * wanted.pause, _KEPT)
            finally:
                plain.unlink(missing_ok=True)
        if infohash not in self._served:
            self._drop(infohash)

    def _plan(self, now: float) -> None:
        """Fetch what is wanted, newest first, and serve what others want."""
        for infohash, uid in list(self._fetching.items()):
            wanted = self._wanted.get(uid)
            if not wanted or wanted.infohash != infohash or not self._exchange.has(infohash):
                if wanted:
                    wanted.not_before = now + _AGAIN
                del self._fetching[infohash]
                if infohash not in self._served:
                    self._drop(infohash)
            elif (
                now - wanted.since > _HELD
                and not self._exchange.progress(infohash)
                and self._from_who_holds(uid, wanted) is not wanted
            ):
                del self._fetching[infohash]
                self._drop(infohash)
        room = files.free_space(self._place) - _ROOM
        for uid, wanted in self._wanted.items() if self._meeting.pointers else ():
            if len(self._fetching) >= MOST_AT_ONCE:
                break
            if wanted.infohash not in self._fetching and now >= wanted.not_before and 2 * wanted.size < room:
                size = sealed_size(wanted.size)
                self._fetching[wanted.infohash] = uid
                if wanted.infohash in self._served:  # another memo has just this file
                    self._take_memo(wanted.infohash)
                    break
                self._exchange.fetch(wanted.infohash, self._place / wanted.infohash, largest=size, size=size)
        until = now + _SEALING
        for infohash, memo in self._to_serve.items():
            is_due = infohash not in self._fetching and self._unsealed.get(infohash, 0.0) <= now
            if infohash not in self._served and is_due:
                if torrent := self._form(infohash, memo):
                    self._served.add(infohash)
                    self._retired.pop(infohash, None)
                    self._exchange.serve(torrent, self._place / infohash)
                else:
                    self._unsealed[infohash] = now + _AGAIN
                if time.monotonic() > until:
                    break

    def _from_who_holds(self, uid: str, wanted: _Wanted) -> _Wanted:
        """Take any file of a memo that is not here at all, where the one that all are to have does not come."""
        if not os.path.lexists(self._library.path(wanted.memo)):
            for name in self._meeting.pointers:
                for hold in self._rows[name].holds if name in self._rows else ():
                    if hold.uid == uid and hold.digest != wanted.digest:
                        other = _Wanted(wanted.memo, hold.infohash, hold.digest, hold.size, time.monotonic())
                        self._wanted[uid] = other
                        return other
        return wanted

    def _choose_what_to_serve(self) -> None:
        """Choose the forms of what others lack, and of what just came."""
        now = time.monotonic()
        others = [row for row in self._rows.values() if row.id != self._me and not row.gone]
        lacked = {uid for row in others for uid in row.lacks}
        self._fresh = {infohash: until for infohash, until in self._fresh.items() if until > now}
        chosen: dict[InfoHash, Memo] = {}
        for memo in reversed(self._library.index().memos if lacked or self._fresh else ()):
            if (content := content_of(memo)) and not memo.trashed and memo.uid and memo.uid not in self._wanted:
                hold = self._held.get(memo.uid)
                infohash = hold.infohash if hold else content.value["infohash"]
                if memo.uid[:LACK] in lacked or infohash in self._fresh:
                    chosen[infohash] = memo
        for infohash in self._served - chosen.keys():
            self._served.discard(infohash)
            self._retired[infohash] = now + _GRACE
        self._to_serve = chosen
        self._unsealed = {infohash: at for infohash, at in self._unsealed.items() if infohash in chosen}

    def _form(self, infohash: InfoHash, memo: Memo) -> Metainfo | None:
        """Seal a memo for the other devices; None where that cannot be done, or makes another form."""
        with contextlib.suppress(OSError, LibraryError):
            _digest, torrent = form_for_devices(self._library, self._library.path(memo), self._place / infohash)
            if torrent.infohash == infohash:
                return torrent
            (self._place / infohash).unlink(missing_ok=True)
        return None

    def _say(self, now: float) -> None:
        """Point to a head that says what is known here, unless that is being said."""
        late = any(now - wanted.since > _GRACE for wanted in self._wanted.values())
        if late or not self._wanted or (self._mine != self._said and not self._equal):
            self._say_what_lacks(now)
        if self._mine == self._said or now - self._said_at < _PAUSE + random.uniform(0, _PAUSE):
            return
        if not self._equal:
            self._seal()
        elif not self._wanted or self._row().lacking:  # else what is on its way may be here in a moment
            self._point_to(min(self._equal))

    def _say_what_lacks(self, now: float) -> None:
        """Have this device's row say which files are not here: again when there are none, or after a while."""
        row = self._row()
        newest = [uid[:LACK] for uid in islice(self._wanted, MOST_LACKS)]
        left = len(set(row.lacks) & set(newest))  # of what was said
        if list(row.lacks) == newest or (newest and 2 * left > len(newest) and now - self._row_at < _ROW_EVERY):
            return
        self._row_at = now
        room = files.free_space(self._place) - _ROOM
        why = "room" if any(2 * wanted.size >= room for wanted in self._wanted.values()) else ""
        lacks = {"count": len(self._wanted), "memos": newest, "why": why}
        known.say(self._library, self._me, {"lacks": lacks}, self.group)
        self._think()

    def _seal(self) -> None:
        """Seal what is known here into a head of this device's own, and point to it."""
        base, base_state = self._base or (None, State())
        head = heads.seal(self._secret, news(base_state, self._mine), base)
        if len(head.data) > heads.MOST_NEWS and self._mine != base_state:
            whole = heads.seal(self._secret, self._mine)
            self._publish(whole)
            self._stand_on(whole.infohash, self._mine)
            head = heads.seal(self._secret, State(), whole.infohash)
        self._publish(head)
        self._remember(head.infohash)
        self._point(head)

    def _point_to(self, infohash: InfoHash) -> None:
        """Point to a head that says just what is known here."""
        if not self._head or self._head.infohash != infohash:
            self._point(heads.describe(files.read(self._place / infohash)))
        self._said = self._mine

    def _point(self, head: Head) -> None:
        if self._head:
            self._retired[self._head.infohash] = time.monotonic() + _KEPT
        self._retired.pop(head.infohash, None)
        self._head, self._said, self._said_at = head, self._mine, time.monotonic()
        self._equal.add(head.infohash)
        self._meeting.point(head.infohash)

    def _publish(self, head: Head) -> None:
        path = self._place / head.infohash
        with files.as_library_error("keep what is said to other devices"):
            files.write(path, head.data)
        self._exchange.serve(head.torrent, path)

    def _stand_on(self, base: InfoHash, state: State) -> None:
        """Say what comes next in addition to this base."""
        if self._base:
            self._retired[self._base[0]] = time.monotonic() + _KEPT
        self._retired.pop(base, None)
        self._base = base, state
        self._keep(lambda before: replace(before, base=base))

    def _load_base(self, infohash: str) -> bool:
        """Take as base what is on the disk, if it is there, and serve it; tell whether it is."""
        with contextlib.suppress(OSError, MemosyncError):
            base = heads.describe(files.read(self._place / infohash)) if infohash else None
            if base and base.infohash == infohash:
                self._stand_on(base.infohash, heads.open_head(self._secret, base.data).state)
                self._exchange.serve(base.torrent, self._place / infohash)
                return True
        return False

    def _remember(self, infohash: InfoHash) -> None:
        self._merged[infohash] = None
        while len(self._merged) > _MOST_MERGED:
            del self._merged[next(iter(self._merged))]

    def _drop(self, infohash: InfoHash) -> None:
        self._exchange.drop(infohash)
        with contextlib.suppress(OSError):
            (self._place / infohash).unlink(missing_ok=True)

    def _clean(self, now: float) -> None:
        """End what is over: serving what was left some time ago, and invitations; begin anew what was lost here."""
        if self._head and not self._exchange.has(self._head.infohash) and now - self._said_at > _SOON:
            self._base = self._said = None  # its file, or that of the base, cannot be read any more
            self._equal.clear()
        for infohash in [infohash for infohash in self._served if not self._exchange.has(infohash)]:
            self._served.discard(infohash)
            self._unsealed[infohash] = now + _SOON
        kept = {self._head.infohash if self._head else "", self._base[0] if self._base else "", *self._served}
        if any(now > until for until in self._fresh.values()):
            self._choose_what_to_serve()
        for infohash in [infohash for infohash, at in self._retired.items() if now > at]:
            del self._retired[infohash]
            if infohash not in kept:
                self._equal.discard(infohash)
                self._drop(infohash)
        if self._known.invitations and self._library.clock() > min(one.until for one in self._known.invitations):
            end_used(self._library, self._rows)

    def _note_met(self, devices: Iterable[str], every: float) -> None:
        """Keep when devices were met."""
        now, now_even = time.monotonic(), self._even()
        noted = {device: self._noted.get((device, device in now_even), -math.inf) for device in devices}
        if due := [device for device, at in noted.items() if now - at >= every]:
            self._noted |= {(device, device in now_even): now for device in due}
            met = dict.fromkeys(due, int(self._library.clock()))
            even = {device: at for device, at in met.items() if device in now_even}
            self._keep(lambda before: replace(before, met={**before.met, **met}, even={**before.even, **even}))

    def _note_knowing(self, devices: set[str]) -> None:
        """Keep which devices know this one."""
        if devices - set(self._known.knowing):
            all_of_them = tuple(sorted({*self._known.knowing, *devices}))
            self._keep(lambda before: replace(before, knowing=all_of_them))

    def _keep(self, edit: Callable[[Known], Known]) -> None:
        """Keep what is known, unless the group was left."""
        self._known = known.change(self._library, edit, self.group)
