"""One life of a group of devices, made by chance: what is done on each, what fails, and how all is healed."""

from __future__ import annotations

import contextlib
import os
import shutil
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from memosync.audio import webm
from memosync.commands import check
from memosync.commands import edit as edit_verb
from memosync.commands.arguments import Globals
from memosync.errors import LibraryError, MemosyncError
from memosync.library import adopt, group, identity, trash
from memosync.library.entries import new_memo
from memosync.library.freeze import freeze
from memosync.library.incoming import Incoming, take_in
from memosync.library.store import Library
from memosync.magnet import InfoHash
from memosync.memo import MemoId, Words, torrent_name
from memosync.network import Network
from memosync.stop import Stop
from memosync.torrent import metainfo

from . import crash
from .hands import SECRETS, Hands
from .sounds import heard, sound
from .wires import SILENT
from .witness import DAY, FIELDS, Device, Failure, Shown, Value

SKEWS = [0, 0, 0, 3 * DAY, -3 * DAY, 3650 * DAY, -3650 * DAY]  # seconds that a clock is off
ROUNDS = 12  # in which all have to agree, once everybody meets everybody


def release(error: BaseException | None) -> None:
    """Let go of what the frames of an error hold, which may be locks."""
    while error:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


class Another(Library):
    """A library, as another process has it that waits for no lock of a memo."""

    @contextlib.contextmanager
    def lock(self, name: MemoId | InfoHash, wait: bool = True) -> Iterator[bool]:
        with super().lock(name, wait=False) as is_held:
            if wait and not is_held:
                raise LibraryError(f"memo {name} is in use")
            yield is_held


class Life(Hands):
    """Devices that live for a while; `run` gives what happened how often, or raises Failure."""

    def __init__(self, seed: int, place: Path, acts: int = 50) -> None:
        super().__init__(seed, place)
        self.acts = acts
        self.more_acts: list[tuple[int, Callable[[Device], str]]] = []
        self.other = Random(seed + 3)
        self.shared: dict[int, list[tuple[bytes, bytes]]] = {}  # what strangers have: files, each with its torrent
        self.own: set[int] = set()  # what of it came from here
        self.just = "", -1, ""  # which sound was edited or fetched, and which of its words
        self.copies: list[set[int]] = []  # of a library and its copy those at which nothing was done since

    # The whole of it

    def run(self) -> Counter[str]:
        for _ in range(self.random.randint(3, 5)):
            self.add_device(grouped=self.random.random() < 0.8)
        for device in self.devices[:2]:
            self.act(device, self.record)
        for _ in range(self.random.randint(15, self.acts)):
            self.now += self.random.choice([0.001, 1.0, 60.0, DAY / 3])
            if self.random.random() < 0.15:
                self.apart = {device.number: self.random.randint(0, 1) for device in self.devices}
                self.count["partition"] += len(set(self.apart.values())) > 1
            if self.disk.random() < 0.04:
                self.set_clock(self.disk.choice(self.devices))
            if self.disk.random() < 0.03:
                self.leave_copy(self.disk.choice(self.devices))
            device = self.random.choice(self.devices)
            if self.random.random() < 0.45:
                self.meet(device, lossy=True)
            else:
                self.act(device)
                self.compete(device)
        self.heal()
        self.judge()
        return self.count

    def compete(self, device: Device) -> None:
        """Have another device do to the same memo what this one has just done, before they can have met."""
        (what, number, name), self.just = self.just, ("", -1, "")
        others = [other for other in self.devices if other is not device]
        acts = {"edit": self.edit, "share": self.share_privately, "fetch": self.fetch}
        if what in ("edit", "share"):
            others = [other for other in others if self.is_alive(self.shown(other), number)]
        else:  # somebody gets it from another stranger, who gave it other words
            others = [
                other for other in others if (other.number + device.number) % 2 and number not in self.shown(other)
            ]
        if what and others and self.random.random() < 0.7:
            self.chosen = number, name
            self.act(self.random.choice(others), acts[what])
            self.just, self.chosen = ("", -1, ""), None

    def regret(self, device: Device) -> None:
        """Throw away the only bytes of a memo here; another device brings it back, which nobody says here for weeks."""
        others = [other for other in self.devices if other is not device and other.grouped == device.grouped]
        if not device.grouped or not others:
            return
        other = self.random.choice(others)
        self.apart, self.has_room = {}, False
        self.act(device, self.record)
        self.chosen = next(reversed(self.made)), ""
        for what, one in ((self.throw_away, device), (self.bring_back, other)):
            for each in (device, other):  # one tells the other of it
                self.meet(each, lossy=False)
            if self.chosen[0] in self.shown(one):
                self.act(one, what)
                memo = self.shown(one).get(self.chosen[0])
                self.count["brought back unheard"] += one is other and memo is not None and not memo.trashed
        self.chosen, self.has_room = None, True

    def add_device(self, grouped: int, source: Device | None = None) -> Device:
        number = len(self.devices)
        root = self.place / f"d{number}"
        if source:
            shutil.copytree(source.root, root, symlinks=True)
        skew = self.random.choice(SKEWS)
        self.is_off |= skew != 0
        self.count["clock off"] += skew != 0
        device = Device(number, root, skew, Library(root))
        self.devices.append(device)
        self.reboot(device)
        if source:
            device.grouped, device.seen, device.by_hand = source.grouped, dict(source.seen), dict(source.by_hand)
            device.fetched, device.by_link = set(source.fetched), set(source.by_link)
            self.typed_and_copied |= {(*key, text) for key, text in source.by_hand.items()}
            device.trash_seen = {number: set(seen) for number, seen in source.trash_seen.items()}
        elif grouped:
            device.grouped = 2 if self.disk.random() < 0.15 else 1
            group.enter(device.library, SECRETS[device.grouped])
        return device

    def set_clock(self, device: Device) -> None:
        """Have a device's clock be another one, as once it is in a network, or its battery is empty."""
        device.skew = self.disk.choice(SKEWS)
        self.is_off |= device.skew != 0
        self.note(f"device {device.number}: its clock is {device.skew / DAY:.0f} days off")
        self.count["clock set"] += 1

    # What a person does

    def act(self, device: Device, what: Callable[[Device], str] | None = None) -> None:
        acts: list[tuple[int, Callable[[Device], str]]] = [
            (4, self.record),
            (16, self.edit),
            (6, self.edit_by_hand),
            (8, self.tag),
            (6, self.throw_away),
            (6, self.bring_back),
            (2, self.purge),
            (5, self.wait_for_weeks),
            (6, self.share),
            (4, self.renew),
            (4, self.fetch),
            (3, self.enter_or_leave),
            (2, self.copy),
            (3, self.copy_file),
            (2, self.delete_file),
            (2, self.rename_file),
            (2, self.drop_entry),
            (1, self.break_index),
            (2, self.repair),
            (5, self.back_up),
            (6, self.put_back),
            (2, self.lose_inner),
            (2, self.alter_file),
            (2, self.retag_file),
            (3, self.tag_by_hand),
            (2, self.bring_back_by_hand),
            (1, self.reorder),
            (2, self.empty_trash),
            *self.more_acts,
        ]
        what = what or self.random.choices([act for _, act in acts], [weight for weight, _ in acts])[0]
        if what == self.put_back:
            device = next((each for each in self.devices if each.backups), device)
        if what == self.renew:
            device = next((each for each in self.devices if self.linked(each)), device)
        if what == self.wait_for_weeks:
            device = next((each for each in self.devices if self.has_alone_in_trash(each)), device)
            if self.random.random() < 0.5:
                self.regret(device)
        if what in (self.bring_back_by_hand, self.empty_trash):
            device = next((each for each in self.devices if self.choose(each, trashed=True, here=True)), device)
        if what == self.bring_back and not self.chosen:
            device = next((each for each in self.devices if self.choose(each, trashed=True, here=False)), device)
        after = self.random.randint(0, 30) if self.random.random() < 0.25 else None
        by_others = hasattr(Hands, name := what.__name__) or what == self.copy
        if by_others or what == self.enter_or_leave:
            after = None
        self.pending.clear()
        said = ""
        cut = self.cuts_power(device, after, chance=0.0 if by_others else 0.05)
        refusing = self.refusing(device, name, may=after is None and not by_others)
        with crash.dying(after) as died, self.meanwhile(device, "" if by_others else name), refusing as refused:
            said = self.tried(what, device)
        acknowledged = not died and not said.startswith("refused")
        for settle in self.pending:
            settle(acknowledged)
        self.note(f"device {device.number}: {name} {said}{' DIED' if died else ''}")
        self.count[name] += acknowledged
        for pair in self.copies if acknowledged else ():
            self.count["copy that lives on"] += pair == {device.number}
            pair.discard(device.number)
        self.died(name, died)
        if self.loses_power(cut, bool(died)) or died or refused:
            self.reboot(device)
        self.observe(device, after_loss=what in (self.put_back, self.lose_inner, self.drop_entry, self.break_index))

    def tried(self, what: Callable[[Device], str], device: Device) -> str:
        try:
            return what(device)
        except (MemosyncError, OSError) as error:
            release(error)
            return f"refused: {error}"

    def meanwhile(self, device: Device, what: str) -> AbstractContextManager[None]:
        """Now and then have another process do something to the same library, before some write of `what` is done."""
        acts = [self.edit, self.tag, self.record]
        if not crash.is_watched():  # an editor may leave to the disk when it keeps what was saved
            acts += [self.edit_by_hand]
        if what in ("a merge", "edit", "tag", "record"):
            acts += [self.throw_away, self.bring_back, self.share, self.fetch]
        if not what or self.other.random() < 0.7:
            return contextlib.nullcontext()
        if what == "enter_or_leave":  # what has not come by then is forgotten, with all that was typed
            acts = [self.record]
        other, left = self.other.choice(acts), self.other.randint(0, 30)
        lock = device.root / ".memosync" / "lock"

        def act(event: str, arguments: tuple[Any, ...]) -> bool:
            nonlocal left
            left -= 1
            by_hand = other == self.edit_by_hand
            is_the_write = event == "os.rename" and Path(os.fsdecode(arguments[1])).name == "index.toml"
            if left >= 0 or (is_the_write if by_hand else crash.is_held(lock)):
                return False
            mine = device.library, self.pending, self.just, self.chosen
            device.library = Another(device.root, clock=device.library.clock)
            self.pending, self.chosen = [], None
            said = self.tried(other, device)
            for settle in self.pending:
                settle(not said.startswith("refused"))
            device.library, self.pending, self.just, self.chosen = mine
            self.note(f"device {device.number}: meanwhile {other.__name__} {said}")
            self.count["meanwhile"] += not said.startswith("refused")
            self.count[f"meanwhile {other.__name__} {what}"] += not said.startswith("refused")
            return True

        return crash.interrupted(act)

    def has_alone_in_trash(self, device: Device) -> bool:
        """Tell whether the only bytes of something are in this device's trash."""
        thrown = [heard(path.read_bytes()) for path in device.root.glob(".memosync/trash/*.webm")]
        return any(number is not None and not self.has_bytes(number, besides=device) for number in thrown)

    def record(self, device: Device) -> str:
        number, library = next(self.numbers), device.library
        title, recorded = self.word("title"), self.word("recorded")
        for name, text in (("title", title), ("recorded", recorded), ("description", "")):
            self.typed(device, number, name, text, None)
        self.made[number] = False
        self.pending.append(lambda acknowledged: self.made.update({number: acknowledged}))
        memo_id = library.take_id()
        with library.lock(memo_id):
            library.prepare()
            part, staged = library.part(memo_id), library.part(memo_id).with_name(f"{memo_id}.webm")
            bare = self.place / f"bare{number}.webm"
            bare.write_bytes(sound(number))
            webm.finish(bare, part, Words(title, "", (), datetime.fromisoformat(recorded), memo_id))
            info = webm.finish(part, staged)
            library.add(new_memo(memo_id, info, staged, when=0), staged)
            part.unlink()
        return f"sound {number} as {title!r}"

    def edit(self, device: Device) -> str:
        if not (found := self.choose(device)):
            return "refused: nothing there"
        number, memo = found
        name = self.random.choice(FIELDS)
        if self.chosen:
            number, name = self.chosen
            memo = self.shown(device)[number]
        self.just = "edit", number, name
        text = self.word(name)
        self.typed(device, number, name, text, getattr(memo, name))
        value: Any = datetime.fromisoformat(text) if name == "recorded" else text
        edit_verb.apply(
            device.library, [device.library.find(memo.id)], lambda memo: replace(memo, **{name: value}), SILENT
        )
        return f"{name} of sound {number}: {getattr(memo, name)!r} -> {text!r}"

    def tag(self, device: Device) -> str:
        if not (found := self.choose(device)):
            return "refused: nothing there"
        number, memo = found
        if memo.tags and self.random.random() < 0.4:
            tag = self.random.choice(sorted(memo.tags))
            self.typed(device, number, f"tag {tag}", "taken away", "there")
            change = edit_verb.change_of(edit_verb.EditOptions(tags=[f"-{tag}"]))
        else:
            tag = f"tag{next(self.words)}"
            self.typed(device, number, f"tag {tag}", "there", None)
            change = edit_verb.change_of(edit_verb.EditOptions(tags=[tag]))
        edit_verb.apply(device.library, [device.library.find(memo.id)], change, SILENT)
        return f"{tag} of sound {number}"

    def throw_away(self, device: Device, *, purge: bool = False) -> str:
        if not (found := self.choose(device)):
            return "refused: nothing there"
        number, memo = found
        if self.chosen:
            number, memo = self.chosen[0], self.shown(device)[self.chosen[0]]
        when = datetime.fromtimestamp(self.now, UTC)
        self.trashings.setdefault(number, {})[when.isoformat()] = set()
        device.trash_seen.setdefault(number, set()).add(when.isoformat())
        library = device.library
        for batch in library.locked([each for each in library.index().memos if each.id == memo.id]):
            thrown = trash.put(library, batch, when)
            if purge:
                if not device.grouped:
                    self.forget_what_only_it_has(device)
                if not self.has_bytes(number, besides=device):
                    self.destroyed.add(number)
                trash.purge(library, thrown.values())
        return f"sound {number} at {when.isoformat()}"

    def purge(self, device: Device) -> str:
        return self.throw_away(device, purge=True)

    def wait_for_weeks(self, device: Device) -> str:
        """Look again and again for weeks: what was in the trash for long enough goes by itself."""
        library, due = device.library, []
        for _ in range(7):
            self.now += 8 * DAY
            due = trash.overdue(library, datetime.fromtimestamp(library.clock(), UTC))
        numbers = {memo.id: number for number, memo in self.shown(device).items()}
        for number in {numbers.get(memo.id) for memo in due}:
            since = device.trashed_since.get(number, self.now) if isinstance(number, int) else self.now
            others = device.grouped and device.heard_at < since + trash.MONTH and self.now < since + trash.YEAR
            if isinstance(number, int) and not others and not self.has_bytes(number, besides=device):
                self.destroyed.add(number)  # somebody could have said that he wants it
        if due and not device.grouped:
            self.forget_what_only_it_has(device)
        for _batch in library.locked(due):
            trash.purge(library, due)
        self.count["gone from a trash by itself"] += len(due)
        return f"sounds {sorted(str(numbers.get(memo.id)) for memo in due)} go"

    def bring_back(self, device: Device) -> str:
        if not (found := self.choose(device, trashed=True, here=False) or self.choose(device, trashed=True)):
            return "refused: nothing there"
        number, memo = found
        if self.chosen:
            number, memo = self.chosen[0], self.shown(device)[self.chosen[0]]
        if self.is_spare(number, memo):
            self.pending.append(lambda acknowledged: self.have_other_words(number) if acknowledged else None)
        self.undo_trashings(device, number)
        for batch in device.library.locked([each for each in device.library.index().memos if each.id == memo.id]):
            trash.take_back(device.library, batch)
        return f"sound {number}"

    def repair(self, device: Device) -> str:
        here = partial(Library, clock=lambda: self.now + device.skew)
        now = datetime.fromtimestamp(int(self.now + device.skew), UTC)
        command = Globals(device.root, Network.LOOPBACK, SILENT)
        with patch.object(adopt, "Library", here), patch.object(check, "Library", here), patch.object(check, "empty"):
            found = list(check.check_library(command, repair=True, now=now, stop=Stop()))
        return ", ".join(finding.text for finding in found if finding.is_defect)

    def share(self, device: Device) -> str:
        if self.random.random() < 0.6:
            return self.share_privately(device)
        if not (found := self.choose(device, here=True)):
            return "refused: nothing there"
        number, memo = found
        library, entries = device.library, [each for each in device.library.index().memos if each.id == memo.id]
        (shared,), _fault = freeze(library, entries, (), form="public")
        if shared.infohash:
            data = (library.root / shared.file).read_bytes()
            self.shared[number] = [(data, library.torrent(shared.infohash).read_bytes())]
            self.own.add(number)
        return f"sound {number}"

    def share_privately(self, device: Device) -> str:
        if not (found := self.choose(device, here=True)):
            return "refused: nothing there"
        number, memo = found
        if self.chosen:
            number, memo = self.chosen[0], self.shown(device)[self.chosen[0]]
        self.just = "share", number, ""
        self.may_be_renewed(number, memo)
        entries = [each for each in device.library.index().memos if each.id == memo.id]
        freeze(device.library, entries, (), form="sealed")
        return f"sound {number}, by a private link"

    def renew(self, device: Device) -> str:
        """Give another private link, and end the one before; or the first one."""
        if not (found := self.linked(device)):
            return self.share_privately(device)
        number, memo = self.random.choice(found)
        self.may_be_renewed(number, memo)
        text = str(int(memo.renewals) + 1)
        if not self.values[number, "renewals"][text].acknowledged:
            self.typed(device, number, "renewals", text, memo.renewals)
        entries = [each for each in device.library.index().memos if each.id == memo.id]
        (shared,), fault = freeze(device.library, entries, (), form="new")
        if fault:
            raise fault
        self.count["link ended"] += 1
        return f"link of sound {number}: {memo.link} -> {shared.sealed}, {memo.renewals} -> {shared.renewals}"

    def linked(self, device: Device) -> list[tuple[int, Shown]]:
        """Give the sounds that are here and have a private link."""
        shown = sorted(self.shown(device).items(), key=str)
        return [
            (number, memo)
            for number, memo in shown
            if isinstance(number, int) and memo.link and not memo.trashed and device.ear(memo.file) == number
        ]

    def may_be_renewed(self, number: int, memo: Shown) -> None:
        """Where a link was ended the next one may come after several."""
        values = self.values.setdefault((number, "renewals"), {"0": Value(None, -1, acknowledged=False)})
        for more in range(1, 5):
            values.setdefault(str(int(memo.renewals) + more), Value(None, -1, acknowledged=False))

    def fetch(self, device: Device) -> str:
        here = self.shown(device)
        free = [
            number
            for number in sorted(self.shared)
            if number not in here or (device.grouped and (here[number].trashed or number in self.own))
        ]
        number = self.stranger() if self.random.random() < 0.3 or not free else self.random.choice(free)
        number = self.chosen[0] if self.chosen else number
        self.just = "fetch", number, ""
        versions = self.shared[number]
        version = device.number % len(versions)
        data, torrent = versions[version]
        self.pending.append(
            lambda acknowledged: self.came.setdefault(number, set()).add(version if acknowledged else -1)
        )
        self.wanted(device, number)
        library = device.library
        infohash = metainfo.read(torrent).infohash
        memo = library.index().with_infohash(infohash)
        if memo and library.path(memo).is_file():
            if device.ear(memo.file) != number:
                return "refused: it is here, altered or not"
            memo = identity.original_of(library, memo)
            if memo.trashed:
                for batch in library.locked([memo]):
                    trash.take_back(library, batch)
        else:
            incoming = Incoming(library, infohash, 10**9)
            incoming.accept(torrent)
            incoming.file.write_bytes(data)
            path = incoming.plain()
            memo = identity.original_of(library, take_in(library, incoming, path, webm.probe(path), ()))
            incoming.remove()
            if memo.trashed:
                for batch in library.locked([memo]):
                    trash.take_back(library, batch)
        identity.claim(library, memo.id)
        return f"sound {number}"

    def stranger(self) -> int:
        """Have somebody else share a memo, or two that differ in their words alone."""
        number = next(self.numbers)
        path, bare = self.place / "stranger.webm", self.place / f"bare{number}.webm"
        bare.write_bytes(sound(number))
        versions = []
        for _ in range(self.random.randint(1, 2)):
            title, recorded = self.word("title"), self.word("recorded")
            webm.finish(bare, path, Words(title, "", (), datetime.fromisoformat(recorded)))
            versions.append((path.read_bytes(), metainfo.make(path, torrent_name(Words(title), MemoId("0" * 8))).data))
            for name, text in (("title", title), ("recorded", recorded), ("description", "")):
                self.values.setdefault((number, name), {})[text] = Value(None, -1, acknowledged=False)
        self.shared[number] = versions
        return number

    def enter_or_leave(self, device: Device) -> str:
        if device.grouped and self.random.random() < 0.6:
            return "refused: it stays"
        if device.grouped:
            self.leave(device)
            return "left"
        self.enter(device, 2 if self.disk.random() < 0.4 else 1)
        return f"entered group {device.grouped}"

    def leave(self, device: Device) -> None:
        self.forget_what_only_it_has(device)
        try:
            group.leave(device.library)
        except (MemosyncError, OSError):  # half of it is done: who is told so does it again
            crash.allow()
            group.leave(device.library)
        device.grouped = 0

    def enter(self, device: Device, number: int) -> None:
        device.joining = True
        try:
            group.enter(device.library, SECRETS[number])
        finally:  # whose index may be in its place, and nobody know whether it stays there
            device.grouped = self.group_of(device)
        self.count["joined another group"] += number == 2
        self.count["join with a history"] += bool(self.shown(device))
        self.count["joined with a memo that was thrown away"] += len(self.shown(device).keys() & self.trashings.keys())

    def copy(self, device: Device) -> str:
        if len(self.devices) >= 6 or not device.root.exists():
            return "refused: enough"
        other = self.add_device(grouped=device.grouped, source=device)
        self.copies.append({device.number, other.number})
        return f"to device {other.number}"

    # The end

    def heal(self) -> None:
        self.note("heal")
        self.apart = {}
        for device in self.devices:
            self.reboot(device)
            self.count["was in another group"] += device.grouped == 2
            if device.grouped == 2:
                self.leave(device)
                self.observe(device)
            if not device.grouped:
                self.enter(device, 1)
        quiet = 0
        now, seen = self.world(), dict[int, object]()  # by device: how all was when it had met the others
        for rounds in range(1, ROUNDS + 1):
            before = [self.shown(device) for device in self.devices]
            for device in self.devices:
                if seen.get(device.number) != now:  # else nobody did anything since
                    self.meet(device, lossy=False)
                    seen[device.number] = now = self.world()
            quiet = quiet + 1 if before == [self.shown(device) for device in self.devices] else 0
            if quiet == 2:  # in the first, somebody may have said what others hear in the second
                self.count[f"rounds until all agree: {rounds - 2}"] += 1
                return
        raise Failure(f"stale: still changing after {ROUNDS} rounds")
