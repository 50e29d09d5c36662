"""What devices of a life tell each other, with what the wires lose and where the power fails: a model of both."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from unittest.mock import patch

from memosync import manifest
from memosync.console import Console
from memosync.errors import MemosyncError
from memosync.library import adopt, group, identity, places
from memosync.library.digests import Digests
from memosync.library.store import Library

from . import crash
from .sounds import MANY
from .witness import FIELDS, Device, Failure, Witness

SILENT = Console()


@dataclass
class Node:
    """A place where the pointer is kept, as a node of the DHT does: only a higher sequence number replaces it."""

    seq: int = 0
    head: str = ""


class Wires(Witness):
    """Devices that meet, all of them or those of one side, by a pointer that several nodes keep."""

    def __init__(self, seed: int, place: Path) -> None:
        super().__init__()
        self.random, self.power = Random(seed), Random(seed + 1)
        self.disk = Random(seed + 4)
        self.place = place
        crash.use_disk(place / "disk")
        setattr(os, "urandom", Random(seed + 2).randbytes)  # noqa: B010  # the same life again has the same ids
        self.log: list[str] = []
        self.numbers = iter(self.random.sample(range(MANY), 200))  # of sounds
        self.nodes = {1: [Node() for _ in range(self.random.randint(1, 4))], 2: [Node(), Node()]}  # by group
        self.heads: dict[str, tuple[bytes, set[int], set[str]]] = {}  # with who has it, and what it says is thrown away
        self.read: dict[bytes, manifest.State] = {}
        self.apart: dict[int, int] = {}
        self.has_room = True  # for files of other devices

    def note(self, text: str) -> None:
        self.log.append(f"{self.now - 1_790_000_000:10.3f} {text}")

    def reboot(self, device: Device) -> None:
        with patch.object(adopt, "Library", partial(Library, clock=lambda: self.now + device.skew)):
            try:
                device.library = adopt.open_library(device.root, SILENT)
            except MemosyncError as error:
                raise Failure(f"lost: device {device.number} cannot be opened: {error}") from error
        device.digests, device.identified = Digests(), 0
        if device.library.index().group:
            places.place(device.library)

    def died(self, act: str, died: list[str]) -> None:
        for write in died:
            self.count.update(["kill", f"kill in {act}", f"kill at {write}"])

    @contextlib.contextmanager
    def refusing(self, device: Device, act: str, *, may: bool) -> Iterator[list[str]]:
        """Now and then have the disk refuse something, or all from then on, and the process go on."""
        is_chosen, after, for_good = self.disk.random() < 0.15, self.disk.randint(0, 30), self.disk.random() < 0.5
        error = self.disk.choice([errno.ENOSPC, errno.EIO])
        of = device.root if error == errno.EIO and self.disk.random() < 0.5 else None
        with crash.refusing(after if is_chosen and may else None, error, for_good, of) as refused:
            yield refused
        if refused:
            self.note(f"its disk refused {refused[0]}, {os.strerror(error)}")
            self.count.update(
                ["refused", f"refused in {act}", f"refused at {refused[0]}", f"refused: {os.strerror(error)}"]
            )
            self.count["refused to read"] += of is not None

    def cuts_power(self, device: Device, after: int | None, chance: float) -> str:
        """Choose whether the power goes after what is done next: `always`, or when it `dies`; else nothing."""
        chosen = self.power.random()
        cut = "always" if chosen < chance else "dies" if chosen < 0.5 and after is not None else ""
        crash.watch(device.root if cut else None)
        return cut

    def loses_power(self, cut: str, died: bool) -> bool:
        """Cut the power where that was chosen, which takes what the disk was not told to keep."""
        if not cut or (cut == "dies" and not died):
            return False
        self.count["power cut"] += 1
        if lost := crash.lose_power(self.power.choice([1, 2, 3, 100])):
            self.count["power cut that took something"] += 1
            self.note(f"a power cut takes {lost}")
        return True

    def meet(self, device: Device, *, lossy: bool) -> None:
        """Merge what the pointer points to, publish what that lacks, and take the files that are to be had."""
        if not device.grouped:
            return
        after = self.random.randint(0, 40) if lossy and self.random.random() < 0.2 else None
        cut = self.cuts_power(device, after, chance=0.05 if lossy else 0.0)
        refusing = self.refusing(device, "a merge", may=lossy and after is None)
        with crash.dying(after) as died, self.meanwhile(device, "a merge" if lossy else ""), refusing:
            try:
                self.sync(device, lossy=lossy)
            except (MemosyncError, OSError) as error:
                self.note(f"device {device.number}: sync refused: {error}")
                device.identified = 0
        self.note(f"device {device.number}: meets{' DIED' if died else ''}")
        self.died("a merge", died)
        if self.loses_power(cut, bool(died)) or died:
            self.reboot(device)
        self.observe(device)

    def meanwhile(self, device: Device, what: str) -> contextlib.AbstractContextManager[None]:
        """Have another process do something to the library of a device at which `what` is being done; nothing here."""
        return contextlib.nullcontext()

    def reachable(self, device: Device) -> list[Device]:
        here = self.apart.get(device.number, 0)
        others = [other for other in self.devices if other is not device and other.grouped == device.grouped]
        return [other for other in others if self.apart.get(other.number, 0) == here]

    def sync(self, device: Device, *, lossy: bool) -> None:
        library = device.library
        near = self.reachable(device)
        nodes = [
            node
            for number, node in enumerate(self.nodes[device.grouped])
            if not lossy or (number + device.number) % 3 or self.random.random() < 0.5
        ]
        best = max((node.seq for node in nodes), default=0)
        points = sorted({node.head for node in nodes if node.seq == best and node.head})
        if lossy and points:
            points = [self.random.choice(points)]
        said = [theirs for head in points if (theirs := self.hear(device, head, near, lossy=lossy))]
        if (looked_at := library.index_time()) != device.identified:  # what was done here meanwhile
            identity.identify(library, SILENT)
            device.identified = looked_at
        state = group.state_of(library)
        if any(manifest.news(theirs, state) != manifest.State() for theirs in said or [manifest.State()]):
            data = manifest.dumps(state)
            name = hashlib.sha256(data).hexdigest()
            thrown = {memo.trashed for memo in self.shown(device).values() if memo.trashed}
            self.heads.setdefault(name, (data, set(), thrown))[1].add(device.number)
            race = lossy and self.random.random() < 0.2  # somebody else took the same number meanwhile
            for node in nodes:
                if lossy and self.random.random() < 0.3:
                    self.count["lost put"] += 1
                    continue
                if (seq := best + (not race)) > node.seq:
                    node.seq, node.head = seq, name
                    self.count["put race"] += any(
                        each.seq == seq and each.head != name for each in self.nodes[device.grouped]
                    )
        self.take_files(device, near, lossy=lossy)

    def hear(self, device: Device, head: str, near: list[Device], *, lossy: bool) -> manifest.State | None:
        """Fetch a head and merge it; None where it cannot be had."""
        library, (data, holders, thrown) = device.library, self.heads[head]
        if not holders & {device.number, *(other.number for other in near)} or (lossy and self.random.random() < 0.2):
            self.count["head that could not be fetched"] += 1
            return None
        theirs = self.said(data)
        news = theirs if lossy else manifest.news(group.state_of(library), theirs)  # as the seeder does
        is_own = not holders - {device.number}
        device.heard_at = device.heard_at if is_own else self.now  # though it may die once that is noted
        with self.merging(device, theirs, thrown):
            group.merge_in(library, news, SILENT, is_own=is_own)
        holders.add(device.number)
        return theirs

    @contextlib.contextmanager
    def merging(self, device: Device, theirs: manifest.State, thrown: set[str]) -> Iterator[None]:
        """Note what it means for what is shown that a device merges what another one says, and throws away."""
        before = self.shown(device)
        alive = {number for number, memo in before.items() if not memo.trashed}
        joining, device.joining = device.joining, False
        yield
        if joining:  # what is alive on who joins stays so
            for number, undone in self.trashings.items():
                for when in undone.keys() & thrown if number in alive else ():
                    undone[when].add("joined")
        shown = self.shown(device)
        for uid, cells in theirs.memos.items():
            number = self.uids.get(uid, -1)  # whose words count only once it is said when they were typed
            no_clocks = manifest.FETCHED, manifest.BIRTH if number in self.by_file else None
            said = {field for field, cell in cells.items() if cell.clock not in no_clocks}  # not by a file alone
            if number in shown and said.issuperset(f"tag:{tag}" for tag in shown[number].tags):
                device.fetched.discard(number)
            for name in FIELDS if number in shown else ():
                if number not in before or getattr(shown[number], name) != getattr(before[number], name):
                    (device.clocked if name in said else device.by_link).add((number, name))

    def said(self, data: bytes) -> manifest.State:
        """Read what somebody said, once."""
        if data not in self.read:
            self.read[data] = manifest.loads(data)
        return self.read[data]

    def take_files(self, device: Device, near: list[Device], *, lossy: bool) -> None:
        library = device.library
        for memo, content in list(group.wanted(library, device.digests)) if self.has_room else ():
            if lossy and self.random.random() < 0.3:
                continue
            data = [path.read_bytes() for other in near for path in self.whole_files_of(other, memo.uid or "")]
            right = [found for found in data if hashlib.sha256(found).hexdigest() == content.value["sha256"]]
            if not right and not lossy:  # nobody has it any more
                identity.offer(library, memo.uid or "")
            if found := right or ([] if device.ear(memo.file) is not None else data):
                staged = library.inner / "arrived"
                staged.write_bytes(found[0])
                group.take(library, memo.uid or "", staged)
                staged.unlink(missing_ok=True)

    def files_of(self, device: Device, uid: str) -> list[Path]:
        memos = [memo for memo in device.library.index().memos if memo.uid == uid]
        return [path for memo in memos if (path := device.library.path(memo)).is_file()]

    def whole_files_of(self, device: Device, uid: str) -> list[Path]:
        """Give those that no disk has altered: a seeder looks."""
        return [path for path in self.files_of(device, uid) if device.ear(path.name) is not None]

    def world(self) -> object:
        """Tell how all is from how it was."""
        return [device.state() for device in self.devices], [(node.seq, node.head) for node in self.nodes[1]]
