"""Sync: what the seeder does so that a library and those of the group's other devices become the same.

What is new here is sealed into a head, to which the device then points; what others point to is fetched and merged,
and then the files are that are not here. All of it happens in a thread of its own, and what cannot be done now is tried
again.
"""

from __future__ import annotations

import contextlib
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
from ..errors import MemosyncError, reason_of
from ..index import Index
from ..library import group, keys, known
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
from .bases import Base
from .forms import AGAIN, KEPT, SOON, Forms
from .hearing import Hearing
from .pointing import Pointing

_PAUSE = 0.3  # seconds between two heads, at least
_NOTED = 600.0  # seconds between two notes that a device is met
_HEARD = 10.0  # and of one that says something new
_SETTLES = 3.0  # seconds after which other addresses are this device's
_LOOK_EVERY = 0.1  # seconds between two looks at what is to be done
_ROW_EVERY = 30.0  # seconds after which this device says anew what it lacks, while half of what it said is true


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncState:
    """How it is now."""

    met: tuple[str, ...] = ()  # devices that are connected
    even: tuple[str, ...] = ()  # those of them that know all that this one knows, and say all that they lack
    coming: tuple[tuple[str, int], ...] = ()  # uids of the memos that are being fetched, and percent
    going: tuple[tuple[str, int], ...] = ()  # uids of those that others fetch from here, and percent, once for each
    passed: int = 0  # bytes that were given and taken


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
        self._seen = (0, 0, 0)  # time stamps of the index and of what is known, acted on
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
                    self._seen = (0, 0, 0)
                    stop.wait(1)
                except Exception:  # a fault of ours ends no seeder, which serves what was shared
                    for line in traceback.format_exc().splitlines():
                        self._log_once(line)
                    self._close()
                    self._seen = (0, 0, 0)
                    stop.wait(AGAIN)
        finally:
            if self._taking_part:
                self._taking_part.close()

    def _turn(self, stop: Stop) -> None:
        device = files.time_of(self._library.inner / "device")
        seen = self._library.index_time(), files.time_of(known.path_of(self._library)), device
        part = self._taking_part
        if seen != self._seen:
            index = self._library.index()
            if part and (index.group, index.meeting, group.device_of(self._library)) != (
                part.group,
                part.trackers,
                part.me,
            ):
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
        try:
            known.change(library, lambda before: replace(before, port=meeting.port), name)
            self._log(f"in sync as device {me}, on port {meeting.port}")
            self._taking_part = _Part(library, index, secret, me, meeting, self._place, self._console)
        except BaseException:
            meeting.close()
            raise
        return self._taking_part

    def _close(self) -> None:
        part, self._taking_part, self.state = self._taking_part, None, SyncState()
        if part:
            part.close()

    def _log_once(self, text: str) -> None:
        if text not in self._said_once and len(self._said_once) < 1000:
            self._said_once.add(text)
            self._log(text)


class _Part:
    """What a device does from when it joins the others until it goes."""

    def __init__(
        self, library: Library, index: Index, secret: bytes, me: str, meeting: Meeting, place: Path, console: Console
    ) -> None:
        self.group, self.trackers, self.me = index.group, index.meeting, me
        self._library, self._secret, self._me, self._console = library, secret, me, console
        self._meeting, self._exchange, self._place = meeting, meeting.exchange, place
        self._known = Known()
        self._rows: Mapping[str, Device] = {}
        self._mine = self._learned = State()  # what is known here, and what was when that was looked at last
        self._thought: tuple[int, Table] = 0, {}  # the index's time, and the graves, that this is of
        self._identified = 0  # the index's time, when every memo whose file is here had its uid
        self._equal: set[InfoHash] = set()  # heads that say just that
        self._before: tuple[State, set[InfoHash]] = State(), set()  # what was known before, and the heads that say that
        self._again_at = math.inf  # when files that could not be read are looked at again
        self._moved_at = self._looked = self._row_at = -math.inf
        self._pointing = Pointing(secret, meeting, place, self._keep_base)
        self._hearing = Hearing(secret, self._exchange, place, self._pointing, self._merge, console)
        self._forms = Forms(library, me, meeting, place, console)
        self._noted: dict[tuple[str, bool], float] = {}  # when it was noted that a device is met, and even
        self._there: set[str] = set()  # those that are met
        self._introduce()
        now = known.read(library)
        if base := self._pointing.bases.find(InfoHash(now.base)) if now.base else None:
            self._pointing.stand_on(base)
        self._sweep()

    def turn(self) -> None:
        """Do what is to be done now."""
        self._meeting.poll(0.05)
        self._hear()
        for infohash in [*self._exchange.arrived(), *self._hearing.due()]:
            if self._exchange.is_here(infohash):  # else it was dropped since
                if infohash in self._forms.fetching:
                    self._forms.take(infohash)
                    self._looked = -math.inf  # for the next one
                else:
                    self._hearing.take(infohash)
        now = time.monotonic()
        if now > self._again_at:
            self.learn()
        if now - self._looked > _LOOK_EVERY:
            self._looked = now
            if not self._has_moved():
                self._moved_at = now
            if now - self._moved_at > _SETTLES:
                self._introduce()
            self._forms.plan(now)
            self._say_what_is_held()
            self._say(now)
            self._clean(now)

    def learn(self) -> None:
        """Look at what is here now, and whom to call."""
        library = self._library
        before = {memo.uid for memo in library.index().memos}
        if (looked_at := library.index_time()) != self._identified:
            unread = identify(library, self._console)
            self._identified = 0 if unread else looked_at  # what came to it meanwhile is looked at the next time
            self._again_at = time.monotonic() + AGAIN if unread else math.inf
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
        self._forms.learn(self._rows, came)
        self._learned = self._mine

    def _recall(self) -> None:
        """Bring back what was known here before, and is not any more: somebody put an older index back.

        The others said it already, and will not say it again.
        """
        lost = news(self._mine, self._learned)
        memos = {uid: dict(cells) for uid, cells in lost.memos.items()}
        for uid in memos.keys() & self._known.graves.keys():
            if memos[uid].pop("file", None):  # which bytes were purged is not kept, unless others say it still
                self._hearing.forget()
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
            coming=tuple((uid, int(100 * part)) for uid, part in coming.items()),
            going=tuple(self._forms.going()),
            passed=self._exchange.passed,
        )

    def _even(self) -> list[str]:
        """Name the devices that say just what is known here."""
        pointers = self._meeting.pointers.items() if self._pointing.said == self._mine else ()
        return sorted(name for name, pointer in pointers if pointer.head in self._equal)

    def close(self) -> None:
        with contextlib.suppress(MemosyncError, OSError):
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
        pointers = self._meeting.pointers
        self._note_met(pointers, _NOTED)
        if gone := self._there - pointers.keys():
            self._note_met(gone, 0.0)
        self._there = set(pointers)
        self._note_knowing({name for name, pointer in pointers.items() if pointer.head in self._equal})
        pointed: dict[InfoHash, set[str]] = {}
        for name, pointer in pointers.items():
            pointed.setdefault(pointer.head, set()).add(name)
        self._hearing.hear(pointed, self._equal)

    def _merge(self, built: Base, tellers: set[str]) -> None:
        """Merge what a head says, to which these devices point."""
        group.merge_in(self._library, news(self._mine, built.state), self._console, into=self.group)
        if self._me in built.state.devices:
            self._note_knowing(tellers)
        self._note_met(tellers, _HEARD)
        self.learn()
        if built.state == self._mine:
            self._equal.add(built.infohash)

    def _say(self, now: float) -> None:
        """Point to a head that says what is known here, unless that is being said."""
        pointing = self._pointing
        if self._forms.is_late(now) or not self._forms.wanted or (self._mine != pointing.said and not self._equal):
            self._say_what_lacks(now)
        if self._mine == pointing.said or now - pointing.said_at < _PAUSE + random.uniform(0, _PAUSE):
            return
        if not self._equal:
            head = pointing.seal(self._mine)
            self._hearing.remember(head)
            self._equal.add(head)
        elif not self._forms.wanted or self._row().lacking:  # else what is on its way may be here in a moment
            pointing.point_to(min(self._equal), self._mine)

    def _say_what_lacks(self, now: float) -> None:
        """Have this device's row say which files are not here: again when there are none, or after a while."""
        row = self._row()
        newest = [uid[:LACK] for uid in islice(self._forms.wanted, MOST_LACKS)]
        left = len(set(row.lacks) & set(newest))  # of what was said
        is_crowded = self._hearing.is_crowded or self._forms.has_no_room()
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
        held = tuple(self._forms.held.values())
        if held != self._row().holds:
            holds = [
                {"uid": hold.uid, "sha256": hold.digest, "size": hold.size, "infohash": hold.infohash} for hold in held
            ]
            known.say(self._library, self._me, {"holds": holds}, self.group)
            self._think()

    def _clean(self, now: float) -> None:
        """End what is over: serving what was left some time ago, and invitations; begin anew what was lost here."""
        if now - self._pointing.said_at > SOON and self._pointing.is_lost():
            self._pointing.begin_anew()
            self._equal.clear()
        self._forms.clean(now)
        told = self._equal & {pointer.head for pointer in self._meeting.pointers.values()}  # it is not heard again
        self._equal.difference_update(self._pointing.clean(now, told))
        if self._known.invitations and self._library.clock() > min(one.until for one in self._known.invitations):
            end_used(self._library, self._rows)
        if now - self._swept > KEPT:
            self._sweep()

    def _sweep(self) -> None:
        """Take away what is of no use: a disk may not have let go of it, or libtorrent have written it once more."""
        self._swept, awaited = time.monotonic(), self._forms.awaited()
        for left in map(InfoHash, files.names(self._place)):
            if left not in awaited and not self._exchange.has(left):
                with contextlib.suppress(OSError):
                    files.remove(self._place / left)

    def _keep_base(self, infohash: InfoHash) -> None:
        """Keep which head this device's next one stands on."""
        self._keep(lambda known: replace(known, base=infohash))

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
