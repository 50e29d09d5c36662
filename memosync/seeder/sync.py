"""Sync: what the seeder does so that a library and those of the group's other devices become the same.

What is new here is sealed into a head, to which the device then points; what others point to is fetched and merged,
and then the files are that are not here. All of it happens in a thread of its own, and what cannot be done now is tried
again.
"""

from __future__ import annotations

import math
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
from ..errors import LibraryError, MemosyncError, TorrentError, reason_of
from ..index import Index
from ..library import group, heads, keys, known
from ..library.heads import Head, Opened
from ..library.identity import identify
from ..library.invitations import end_used
from ..library.known import LACK, LONGEST_NAME, MOST_ADDRESSES, MOST_LACKS, Device, Known
from ..library.store import Library
from ..magnet import InfoHash
from ..manifest import State, Table, news
from ..network import DEFAULT_TRACKERS, Network
from ..sealing import keep_key
from ..stop import Stop
from ..torrent.meeting import Meeting
from .bases import Base, Bases
from .forms import AGAIN, KEPT, SOON, Forms, drop, room

_PAUSE = 0.3  # seconds between two heads, at least
_MOST_BASES = 16  # that are being fetched, else none on which nobody says anything any more
_SHARE = 100  # of what is left of a disk that is nearly full, a head takes one part at most
_NOTED = 600.0  # seconds between two notes that a device is met
_MOST_MERGED = 1000  # heads that are remembered, and never fetched again
_SETTLES = 3.0  # seconds after which other addresses are this device's
_LOOK_EVERY = 0.1  # seconds between two looks at what is to be done
_ROW_EVERY = 30.0  # seconds after which this device says anew what it lacks, while half of what it said is true


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncState:
    """How it is now."""

    met: tuple[str, ...] = ()  # devices that are connected
    even: tuple[str, ...] = ()  # those of them that know all that this one knows, and say all that they lack
    coming: tuple[tuple[str, int], ...] = ()  # uids of the memos that are being fetched, and percent


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
        """Take part while there is a group, until `stop`; its session is open then as long as this is named."""
        try:
            while not stop.is_set():
                try:
                    self._turn(stop)
                except (MemosyncError, OSError) as error:
                    self._log_once(f"sync goes on in a moment: {reason_of(error)}")
                    self._seen = (0, 0)
                    stop.wait(1)
                except Exception:  # a fault of ours ends no seeder, which serves what was shared
                    for line in traceback.format_exc().splitlines():
                        self._log_once(line)
                    self._close()
                    self._seen = (0, 0)
                    stop.wait(AGAIN)
        finally:
            if self._taking_part:
                self._taking_part.close()

    def _turn(self, stop: Stop) -> None:
        seen = self._library.index_time(), files.time_of(known.path_of(self._library))
        part = self._taking_part
        if seen != self._seen:
            index = self._library.index()
            if part and (index.group, index.meeting) != (part.group, part.trackers):
                self._close()
                part = None
            if index.group:
                try:
                    group.insist_on_secret(self._library)
                except MemosyncError:
                    self._close()
                    raise
                part = part or self._open(index)
            self._seen = seen
            if part:
                part.learn()
            else:
                self._library.forget()
        if part:
            part.turn()
            self.state = part.state()
        else:
            if self._place.exists() and not self._library.index().group:  # libtorrent may have written once more
                shutil.rmtree(self._place, ignore_errors=True)
            stop.wait(0.2)

    def _open(self, index: Index) -> _Part:
        library, name = self._library, index.group
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
            trackers=index.meeting or DEFAULT_TRACKERS,
            up=self._up,
            down=self._down,
            dht=library.session_state(),
            log=self._log_once,
        )
        known.change(library, lambda before: replace(before, port=meeting.port), name)
        self._log(f"in sync as device {me}, on port {meeting.port}")
        self._taking_part = _Part(library, index, secret, me, meeting, self._place, self._console)
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
        self, library: Library, index: Index, secret: bytes, me: str, meeting: Meeting, place: Path, console: Console
    ) -> None:
        self.group, self.trackers = index.group, index.meeting
        self._library, self._secret, self._me, self._console = library, secret, me, console
        self._meeting, self._exchange, self._place = meeting, meeting.exchange, place
        self._known = Known()
        self._rows: Mapping[str, Device] = {}
        self._mine = self._learned = State()  # what is known here, and what was when that was looked at last
        self._thought: tuple[int, Table] = 0, {}  # the index's time, and the graves, that this is of
        self._identified = 0  # the index's time, when every memo whose file is here had its uid
        self._equal: set[InfoHash] = set()  # heads that say just that
        self._before: tuple[State, set[InfoHash]] = State(), set()  # what was known before, and the heads that say that
        self._said: State | None = None  # what this device's head says
        self._head: Head | None = None
        self._said_at = self._moved_at = self._looked = self._row_at = -math.inf
        self._bases = Bases(secret, place)
        self._merged: dict[InfoHash, None] = {}  # heads, in an ordered set
        self._coming: dict[InfoHash, set[str]] = {}  # heads that are being fetched, and which devices point to them
        self._waiting: dict[InfoHash, dict[InfoHash, Opened]] = {}  # what stands on a base that is fetched, by that
        self._unsaid: dict[InfoHash, float] = {}  # bases on which nobody says anything any more, and since when
        self._refused: dict[InfoHash, float] = {}  # what could not be had, and when it is tried again
        self._is_crowded = False  # a head was too large for what is left of the disk
        self._unkept: dict[InfoHash, float] = {}  # what came, and could not be kept, and when it is looked at again
        self._forms = Forms(library, me, meeting, place, console)
        self._retired: dict[InfoHash, float] = {}  # heads and bases that are to go, and when
        self._noted: dict[tuple[str, bool], float] = {}  # when it was noted that a device is met, and even
        self._there: set[str] = set()  # those that are met
        self._introduce()
        now = known.read(library)
        if base := self._bases.find(InfoHash(now.base)) if now.base else None:
            self._stand_on(base)
        kept = {*self._bases.infohashes, *self._forms.awaited()}
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
            if self._exchange.is_here(infohash):  # else it was dropped since
                self._take(infohash)
        now = time.monotonic()
        if now - self._looked > _LOOK_EVERY:
            self._looked = now
            if not self._has_moved():
                self._moved_at = now
            if now - self._moved_at > _SETTLES:
                self._introduce()
            self._forms.plan(now)
            self._say(now)
            self._clean(now)

    def learn(self) -> None:
        """Look at what is here now, and whom to call."""
        library = self._library
        before = {memo.uid for memo in library.index().memos}
        if library.index_time() != self._identified:
            identify(library, self._console)
            self._identified = library.index_time()
        self._think()
        self._recall()
        if self._me not in self._rows or self._row().gone:
            self._introduce()
        end_used(library, self._rows)
        others = [row for row in self._rows.values() if row.id != self._me and not row.gone]
        known_at = {row.id: row.addresses for row in others}
        self._meeting.call(known_at or {"": self._known.addresses})
        self._meeting.is_open = bool(self._known.invitations)
        came = [memo for memo in library.index().memos if memo.uid not in before][-MOST_LACKS:]
        if self._forms.learn(self._rows, came):
            self._say_what_is_held()
        self._learned = self._mine

    def _recall(self) -> None:
        """Bring back what was known here before, and is not any more: somebody put an older index back.

        The others said it already, and will not say it again. Who has just joined forgot nothing: it begins anew.
        """
        if self._known.joining:
            return
        lost = news(self._mine, self._learned)
        memos = {uid: dict(cells) for uid, cells in lost.memos.items()}
        for uid in memos.keys() & self._known.graves.keys():
            if memos[uid].pop("file", None):  # which bytes were purged is not kept, unless others say it still
                self._merged.clear()
        memos = {uid: cells for uid, cells in memos.items() if cells}
        if (memos or lost.devices) and self._library.index().group == self.group:
            group.merge_in(self._library, State(memos, lost.devices), self._console, is_own=True)
            self._think()

    def state(self) -> SyncState:
        """Say how it is."""
        coming = {uid: self._exchange.progress(infohash) for infohash, uid in self._forms.fetching.items()}
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
            was, equal = self._before
            self._before = self._mine, self._equal
            self._mine, self._equal = mine, equal if mine == was else set()

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
            for head in self._waiting_for(base):
                self._refuse(head, base)
        for head, tellers in pointed.items():
            if head in self._coming and not self._exchange.has(head) and not self._is_waiting(head):
                self._refuse(head, head)
            if head in self._merged or head in self._equal or self._refused.get(head, 0.0) > now:
                continue
            is_new, self._coming[head] = head not in self._coming, tellers
            if is_new and self._exchange.is_here(head):  # as a base
                self._take(head)
            elif is_new:
                self._exchange.fetch(head, self._place / head, largest=self._largest_head(), holders=tellers)
        unsaid = {base: self._unsaid.get(base, now) for base in self._waiting if self._on(base).isdisjoint(pointed)}
        is_crowded = len(self._waiting) > _MOST_BASES
        for base in [base for base, since in unsaid.items() if is_crowded or now - since > KEPT]:  # nobody has it now
            del self._waiting[base], unsaid[base]
            self._drop(base)
        self._unsaid = unsaid
        for head in [head for head in self._coming if head not in pointed and not self._is_waiting(head)]:
            del self._coming[head]  # who pointed to it points to another one by now, or is gone
            self._drop(head)
        self._refused = {head: until for head, until in self._refused.items() if until > now}

    def _largest_head(self) -> int:
        """Give the bytes that a head may have: words are small, and come also where there is no room for memos."""
        return min(heads.LARGEST, max(room(self._place), files.free_space(self._place) // _SHARE))

    def _retire(self, head: InfoHash) -> None:
        """Serve on what was left, for a while; not for long where it takes room that is needed."""
        self._retired[head] = time.monotonic() + (KEPT if room(self._place) > heads.LARGEST else AGAIN)

    def _refuse(self, head: InfoHash, failed: InfoHash) -> None:
        """Try later what cannot be had now, because it, or its base, has `failed`."""
        self._is_crowded |= failed in self._exchange.oversized and self._largest_head() < heads.LARGEST
        self._coming.pop(head, None)
        self._refused[head] = time.monotonic() + AGAIN
        self._drop(head)

    def _drop(self, head: InfoHash) -> None:
        """Let go of a head, unless this device's own one is it, or stands on it."""
        if head not in self._kept():
            drop(self._exchange, self._place, head)

    def _kept(self) -> set[InfoHash]:
        return {self._head.infohash, *self._bases.infohashes} if self._head else self._bases.infohashes

    def _is_waiting(self, head: InfoHash) -> bool:
        return any(head in waiting for waiting in self._waiting.values())

    def _on(self, base: InfoHash) -> set[InfoHash]:
        """Give the heads that stand on a base that is being fetched, directly or not."""
        directly = self._waiting.get(base, {})
        return {*directly}.union(*map(self._on, directly))

    def _waiting_for(self, base: InfoHash) -> list[InfoHash]:
        """Take out what waits for a base, and give the heads among it."""
        waiting = self._waiting.pop(base, None)
        return [base] if waiting is None else [head for one in waiting for head in self._waiting_for(one)]

    def _take(self, infohash: InfoHash) -> None:
        """Act on what has arrived."""
        if infohash in self._forms.fetching:
            self._forms.take(infohash)
            self._looked = -math.inf  # for the next one
            return
        try:
            self._take_head(infohash)
            self._unkept.pop(infohash, None)
        except TorrentError as error:
            self._console.warn(f"what another device says is left: {error}")
            for head in self._waiting_for(infohash):
                self._remember(head)
                self._coming.pop(head, None)
            for waiting in self._waiting.values():
                waiting.pop(infohash, None)
            self._unkept.pop(infohash, None)
            self._drop(infohash)
        except (LibraryError, OSError) as error:
            if infohash not in self._unkept:
                self._console.warn(f"what another device says cannot be kept now: {error}")
            self._unkept[infohash] = time.monotonic() + SOON

    def _take_head(self, infohash: InfoHash) -> None:
        """Merge a head, or those whose base has come; TorrentError when it is none, LibraryError, OSError."""
        self._build(infohash, heads.open_head(self._secret, files.read(self._place / infohash)))

    def _build(self, infohash: InfoHash, opened: Opened) -> None:
        """Put a head onto its base, or wait until that has come; and then what waits for it onto that."""
        built = self._bases.on_its_base(infohash, opened, self._depth(infohash))
        if not built:
            assert opened.base
            self._waiting.setdefault(opened.base, {})[infohash] = opened
            if self._exchange.is_here(opened.base):  # but not what it stands on
                self._take_head(opened.base)
            else:
                self._exchange.fetch(opened.base, self._place / opened.base, largest=self._largest_head())
        elif infohash in self._waiting:
            self._stand_on(built)
            for head, waiting in list(self._waiting[infohash].items()):
                self._build(head, waiting)
                del self._waiting[infohash][head]
            del self._waiting[infohash]
        else:
            self._merge(built)

    def _depth(self, base: InfoHash) -> int:
        """Give how many heads stand on each other that wait for this one."""
        return max((1 + self._depth(head) for head in self._waiting.get(base, ())), default=0)

    def _merge(self, built: Base) -> None:
        """Merge what a head says."""
        head, theirs = built.infohash, built.state
        group.merge_in(self._library, news(self._mine, theirs), self._console)
        if self._me in theirs.devices:
            self._note_knowing(self._coming.get(head, set()))
        self.learn()
        self._coming.pop(head, None)
        self._remember(head)
        self._retire(head)
        self._stand_on(built.next)
        self._is_crowded = False
        if theirs == self._mine:
            self._equal.add(head)

    def _say(self, now: float) -> None:
        """Point to a head that says what is known here, unless that is being said."""
        if self._forms.is_late(now) or not self._forms.wanted or (self._mine != self._said and not self._equal):
            self._say_what_lacks(now)
        if self._mine == self._said or now - self._said_at < _PAUSE + random.uniform(0, _PAUSE):
            return
        if not self._equal:
            self._seal()
        elif not self._forms.wanted or self._row().lacking:  # else what is on its way may be here in a moment
            self._point_to(min(self._equal))

    def _say_what_lacks(self, now: float) -> None:
        """Have this device's row say which files are not here: again when there are none, or after a while."""
        row = self._row()
        newest = [uid[:LACK] for uid in islice(self._forms.wanted, MOST_LACKS)]
        left = len(set(row.lacks) & set(newest))  # of what was said
        is_crowded = self._is_crowded or self._forms.has_no_room()
        why = "room" if is_crowded else "damaged" if self._forms.has_damaged() else ""
        is_early = now - self._row_at < _ROW_EVERY
        is_same = list(row.lacks) == newest and (row.why == why or is_early)
        if is_same or (newest and 2 * left > len(newest) and is_early):
            return
        self._row_at = now
        lacks = {"count": len(self._forms.wanted), "memos": newest, "why": why}
        known.say(self._library, self._me, {"lacks": lacks}, self.group)
        self._think()

    def _say_what_is_held(self) -> None:
        """Have this device's row say which files are here in place of those that all devices are to have."""
        held = self._forms.held.values()
        if held or self._row().holds:
            holds = [
                {"uid": hold.uid, "sha256": hold.digest, "size": hold.size, "infohash": hold.infohash} for hold in held
            ]
            known.say(self._library, self._me, {"holds": holds}, self.group)
            self._think()

    def _seal(self) -> None:
        """Seal what is known here into a head of this device's own, and point to it."""
        head, built = self._bases.seal(self._mine)
        self._publish(head)
        self._stand_on(built.next)
        self._remember(head.infohash)
        self._point(head)

    def _point_to(self, infohash: InfoHash) -> None:
        """Point to a head that says just what is known here."""
        if not self._head or self._head.infohash != infohash:
            self._point(heads.describe(files.read(self._place / infohash)))
        self._said = self._mine

    def _point(self, head: Head) -> None:
        if self._head:
            self._retire(self._head.infohash)
        self._retired.pop(head.infohash, None)
        self._head, self._said, self._said_at = head, self._mine, time.monotonic()
        self._equal.add(head.infohash)
        self._meeting.point(head.infohash)

    def _publish(self, head: Head) -> None:
        path = self._place / head.infohash
        with files.as_library_error("keep what is said to other devices"):
            files.write(path, head.data)
        self._exchange.serve(head.torrent, path)

    def _stand_on(self, base: Base | None) -> None:
        """Say what comes next in addition to this base, and serve it and those below."""
        if not base or [base.infohash] == [one.infohash for one in self._bases.chain[-1:]]:
            return
        before, self._bases.chain = self._bases.infohashes, base.chain
        for infohash in before - self._bases.infohashes:
            self._retire(infohash)
        for infohash in self._bases.infohashes:
            self._retired.pop(infohash, None)
            if not self._exchange.has(infohash):
                path = self._place / infohash
                self._exchange.serve(heads.describe(files.read(path)).torrent, path)
        self._keep(lambda known: replace(known, base=base.infohash))

    def _remember(self, infohash: InfoHash) -> None:
        self._merged[infohash] = None
        while len(self._merged) > _MOST_MERGED:
            del self._merged[next(iter(self._merged))]

    def _clean(self, now: float) -> None:
        """End what is over: serving what was left some time ago, and invitations; begin anew what was lost here."""
        kept = self._kept()
        if now - self._said_at > SOON and not all(map(self._exchange.has, kept)):
            self._bases.chain, self._said = (), None  # what is said cannot be read any more
            self._equal.clear()
        self._forms.clean(now)
        kept |= self._equal & {pointer.head for pointer in self._meeting.pointers.values()}  # it is not heard again
        for infohash in [infohash for infohash, at in self._retired.items() if now > at and infohash not in kept]:
            del self._retired[infohash]
            self._equal.discard(infohash)
            drop(self._exchange, self._place, infohash)
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
