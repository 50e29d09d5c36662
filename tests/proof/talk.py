"""A life whose devices talk as seeders do: `seeder/sync` as it is, on wires that are a model.

The wires carry pointers and torrents in memory: late, in part, between those who are on one side, and not at all when
somebody has died. So what is tried here is all that `wires` leaves out: heads on bases, what is fetched, refused, kept
for a while and dropped, files in their forms, a seeder that begins anew at what it finds on its disk.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from memosync import files
from memosync.errors import MemosyncError
from memosync.library import group, heads, known
from memosync.library.store import Library
from memosync.magnet import InfoHash
from memosync.manifest import State
from memosync.network import Network
from memosync.seeder import forms, hearing, pointing, sync
from memosync.seeder.pointing import Pointing
from memosync.stop import Stop
from memosync.torrent.meeting import Pointer
from memosync.torrent.metainfo import Metainfo

from . import crash
from .life import Life, release
from .witness import Device, Failure

STEP = 0.25  # seconds between two turns
LONGEST = 200.0  # seconds after which all have to know and to have the same
_LETTERS = list(map(chr, range(0x4E00, 0x9FA0)))
_LATE, _FAILS = 0.3, 0.2  # how likely a word is late, and a torrent comes not now


@dataclass
class _Torrent:
    path: Path
    largest: int = 0
    size: int = 0
    is_here: bool = False


class _Exchange:
    """`torrent/exchange` in memory."""

    def __init__(self, talk: Talk, device: Device) -> None:
        self.talk, self.device, self.passed = talk, device, 0
        self.torrents: dict[InfoHash, _Torrent] = {}
        self.oversized: set[InfoHash] = set()
        self.came: list[InfoHash] = []

    def serve(self, torrent: Metainfo, path: Path) -> None:
        self.torrents.setdefault(torrent.infohash, _Torrent(path, is_here=True))

    def fetch(
        self, infohash: InfoHash, path: Path, *, largest: int, size: int = 0, holders: Collection[str] = ()
    ) -> None:
        self.torrents.setdefault(infohash, _Torrent(path, largest, size))

    def drop(self, infohash: InfoHash) -> None:
        self.torrents.pop(infohash, None)

    def arrived(self) -> list[InfoHash]:
        came, self.came = self.came, []
        return came

    def has(self, infohash: InfoHash) -> bool:
        return infohash in self.torrents

    def is_here(self, infohash: InfoHash) -> bool:
        return infohash in self.torrents and self.torrents[infohash].is_here

    def progress(self, infohash: InfoHash) -> float:
        return float(self.is_here(infohash))

    def fetching(self, infohash: InfoHash) -> tuple[float, ...]:
        return ()

    def poll(self) -> None:
        for infohash, torrent in list(self.torrents.items()):
            if torrent.is_here:
                if not torrent.path.exists():
                    self.drop(infohash)
                continue
            data = self.talk.content(torrent.path, infohash) or self.talk.ask(self.device, infohash)
            if data is None:
                continue
            if len(data) > torrent.largest or torrent.size not in (0, len(data)):
                self.oversized.add(infohash)
                self.drop(infohash)
                continue
            torrent.path.write_bytes(data)
            torrent.is_here = True
            self.came.append(infohash)


class _Meeting:
    """`torrent/meeting` in memory."""

    def __init__(self, talk: Talk, device: Device, keep: bytes, name: str) -> None:
        self.talk, self.device, self.keep, self.name = talk, device, keep, name
        self.exchange = _Exchange(talk, device)
        self.port = 10_000 + device.number
        self.addresses = [f"10.0.0.{device.number + 1}:{self.port}"]
        self.head = InfoHash("")
        self.pointers: dict[str, Pointer] = {}
        self.is_open = False
        talk.meetings[device.number] = self

    def call(self, addresses: Mapping[str, Sequence[str]]) -> None:
        pass

    def point(self, head: InfoHash) -> None:
        self.head = head

    def poll(self, seconds: float) -> None:
        said = {}
        for other in self.talk.near(self.device):
            if other.head and other.name != self.name:
                is_late = other.name in self.pointers and self.talk.fails(_LATE)
                said[other.name] = self.pointers[other.name] if is_late else Pointer(other.name, other.head)
        self.pointers = said
        self.exchange.poll()

    def close(self) -> None:
        self.talk.meetings.pop(self.device.number, None)


class _Never(Stop):
    """Nobody waits in a life."""

    def wait(self, timeout: float | None = None, *others: int) -> bool:
        return False


class Talk(Life):
    """Devices with seeders that run beside what is done."""

    def __init__(self, seed: int, place: Path, acts: int = 50) -> None:
        super().__init__(seed, place, acts)
        self.more_acts = [(2, self.forget)]
        random.seed(seed)
        self.luck = random.Random(seed + 3)
        self.is_lossy = True
        self.meetings: dict[int, _Meeting] = {}  # by device
        self.seeders: dict[int, sync.Sync] = {}
        self.thrown: dict[str, set[str]] = {}  # by head: what it says is thrown away
        self.contents: dict[tuple[str, int, int, int], InfoHash] = {}  # of files, as they were

    # The wires

    def near(self, device: Device) -> list[_Meeting]:
        here = self.apart.get(device.number, 0)
        me = self.meetings[device.number]
        others = [each for each in self.meetings.values() if each is not me and each.keep == me.keep]
        return [each for each in others if self.apart.get(each.device.number, 0) == here]

    def fails(self, chance: float) -> bool:
        return self.is_lossy and self.luck.random() < chance

    def content(self, path: Path, infohash: InfoHash) -> bytes | None:
        """Give a file's content if it is what the torrent says."""
        try:
            status, data = path.stat(), path.read_bytes()
        except OSError:
            return None
        key = str(path), status.st_ino, status.st_mtime_ns, status.st_size
        if key not in self.contents:
            self.contents[key] = heads.describe(data).infohash
        return data if self.contents[key] == infohash else None

    def ask(self, device: Device, infohash: InfoHash) -> bytes | None:
        for other in self.near(device):
            torrent = other.exchange.torrents.get(infohash)
            if torrent and torrent.is_here and (data := self.content(torrent.path, infohash)) is not None:
                if self.fails(_FAILS):
                    self.count["torrent that did not come at once"] += 1
                    return None
                return data
        return None

    # What is done

    def word(self, name: str) -> str:
        """Some are so long that what is said next stands on the head that says them."""
        is_long = name == "description" and (self.luck.random() < 0.3 or not self.is_lossy)
        return super().word(name) + ("".join(self.luck.choices(_LETTERS, k=1000)) if is_long else "")

    # The seeders

    def meet(self, device: Device, *, lossy: bool) -> None:
        """Have the seeders go on for a moment."""
        for _ in range(self.random.randint(1, 12)):
            self.now += STEP * self.random.random()
            self.turn(device if self.random.random() < 0.5 else self.random.choice(self.devices))

    def turn(self, device: Device) -> None:
        """Have a seeder do what it does now; it may be ended, and die."""
        if self.fails(0.03):
            self.end(device)
            self.count["seeder that began anew"] += 1
        after = self.luck.randint(0, 40) if self.fails(0.03) else None
        cut = self.cuts_power(device, after, chance=0.01 if self.is_lossy else 0.0)
        refusing = self.refusing(device, "a turn of the seeder", may=self.is_lossy and after is None)
        with self.as_it_is_on(device), crash.dying(after) as died, refusing:
            seeder = self.seeders.get(device.number) or sync.Sync(
                device.root, Network.LOOPBACK, up=0, down=0, log=self.hear_it_say
            )
            self.seeders[device.number] = seeder
            try:
                seeder._turn(_Never())
            except (MemosyncError, OSError) as error:
                self.note(f"device {device.number}: sync goes on in a moment: {error}")
                release(error)
                seeder._seen = 0, 0, 0
        self.died("a turn of the seeder", died)
        if self.loses_power(cut, bool(died)) or died:
            self.note(f"device {device.number}: its seeder DIED")
            self.seeders.pop(device.number, None)
            self.meetings.pop(device.number, None)
            self.reboot(device)
        self.observe(device)

    def hear_it_say(self, text: str) -> None:
        self.note(text)
        if "No such file" in text:
            raise Failure(f"stale: a seeder says {text}")

    def put_back(self, device: Device) -> str:
        before = device.root.stat().st_ino if device.root.exists() else 0
        said = super().put_back(device)
        if not device.root.exists() or device.root.stat().st_ino != before:  # no seeder lives in what was taken away
            self.end(device)
        return said

    def lose_inner(self, device: Device) -> str:
        if self.random.random() < 0.5:
            self.end(device)
        return super().lose_inner(device)

    def forget(self, device: Device) -> str:
        """Say that another device will not come again, though it may."""
        rows = group.others(device.library)
        if not rows:
            return "refused: nobody there"
        row = self.random.choice(rows)
        known.say(device.library, row.id, {"gone": 1})
        return row.id

    def end(self, device: Device) -> None:
        if (seeder := self.seeders.pop(device.number, None)) and seeder._taking_part:
            with self.as_it_is_on(device):
                seeder._taking_part.close()

    @contextmanager
    def as_it_is_on(self, device: Device) -> Iterator[None]:
        """Have the seeder's clocks, wires and disk be this device's."""
        merge, seal = sync._Part._merge, Pointing.seal

        def merging(part: sync._Part, built: Any, tellers: set[str]) -> None:
            self.count["head merged"] += 1
            self.count["head merged that is served here"] += built.infohash in part._pointing.bases.infohashes
            self.count["head on a base"] += bool(built.below)
            device.heard_at = self.now
            with self.merging(device, built.state, self.thrown.get(built.infohash, set())):
                merge(part, built, tellers)

        def sealing(its_own: Pointing, state: State) -> InfoHash:
            head = seal(its_own, state)
            thrown = {memo.trashed for memo in self.shown(device).values() if memo.trashed}
            self.thrown.setdefault(head, thrown)
            return head

        def meeting(*_: Any, keep: bytes, device: str, **_more: Any) -> _Meeting:
            return _Meeting(self, one, keep, device)

        one, clock = device, _Clock(lambda: self.now)
        with (
            patch.object(sync, "time", clock),
            patch.object(hearing, "time", clock),
            patch.object(pointing, "time", clock),
            patch.object(forms, "time", clock),
            patch.object(sync, "Library", partial(Library, clock=lambda: self.now + device.skew)),
            patch.object(sync, "Meeting", meeting),
            patch.object(sync._Part, "_merge", merging),
            patch.object(Pointing, "seal", sealing),
            patch.object(files, "free_space", lambda _place: 10**11 if self.has_room else 0),
        ):
            yield

    # The end

    def heal(self) -> None:
        self.note("heal")
        self.apart, self.is_lossy = {}, False
        for device in self.devices:
            if self.random.random() < 0.3:
                self.end(device)
            self.reboot(device)
            # it may join again before its seeder has seen that it left
            is_back = device.grouped == 1 and self.random.random() < 0.2
            if device.grouped == 2 or is_back:
                self.leave(device)
                self.observe(device)  # what was on its way is not listed any more
            if not device.grouped:
                self.enter(device, 1)
            self.count["left and joined again at once"] += is_back
        took = self.wait_until_all_is_even()
        self.count[f"seconds until all agree: under {5 + took // 5 * 5}"] += 1
        if found := self.choose(self.devices[0]):
            self.chosen = found[0], "description"
            self.act(self.devices[0], self.edit)
            self.wait_until_all_is_even()
        for device in self.devices:  # and who begins anew knows it as well
            if self.random.random() < 0.5:
                self.end(device)
        self.wait_until_all_is_even()
        self.now += forms.KEPT + 1  # and it stays so
        for _ in range(8):
            self.go_on()
        self.wait_until_all_is_even()
        for device in self.devices:
            self.insist_on_what_is_kept(device)

    def wait_until_all_is_even(self) -> int:
        """Give the seconds that it took."""
        began = self.now
        self.go_on()  # each sees what was done just now
        while not self.all_is_even():
            if self.now - began > LONGEST + forms.LONGER * self.somebody_is_gone():
                raise Failure(f"stale: {self.how_it_is()}")
            self.go_on()
        return int(self.now - began)

    def go_on(self) -> None:
        self.now += STEP
        for device in self.devices:
            self.turn(device)

    def all_is_even(self) -> bool:
        names = {meeting.name for meeting in self.meetings.values()}
        if len(names) < len(self.devices):
            return False
        for number, meeting in self.meetings.items():
            seeder, device = self.seeders[number], self.devices[number]
            part = seeder._taking_part
            assert part
            is_coming = any(self.is_to_be_had(device, uid) for uid in part._forms.wanted)
            if {*seeder.state.even, meeting.name} != names or is_coming:
                return False
        return True

    def somebody_is_gone(self) -> bool:
        """Tell whether a device is known that nobody is any more, and that may have what all want."""
        names = {meeting.name for meeting in self.meetings.values()}
        return any(row.id not in names for device in self.devices for row in group.others(device.library))

    def is_to_be_had(self, device: Device, uid: str) -> bool:
        """Tell whether a memo cannot be heard here, but elsewhere: where nobody has the right bytes, others will do."""
        return not self.whole_files_of(device, uid) and any(self.whole_files_of(each, uid) for each in self.devices)

    def how_it_is(self) -> str:
        names = {number: meeting.name for number, meeting in self.meetings.items()}
        return "; ".join(f"{names.get(number)} {seeder.state}" for number, seeder in self.seeders.items())

    def insist_on_what_is_kept(self, device: Device) -> None:
        """Insist that nothing is left of what was said long ago."""
        part = self.seeders[device.number]._taking_part
        assert part
        here = {path.name for path in (device.root / ".memosync" / "sync").iterdir()}
        # heads from less than KEPT ago or pointed to by others, and what a device lacks, or did just now
        due = {*part._pointing.kept, *part._pointing.retired, *part._forms._served, *part._forms._retired}
        if here != due:
            raise Failure(f"stale: {sorted(here ^ due)} on the disk of device {device.number}, which is not said")
        if self.meetings[device.number].exchange.torrents.keys() != due | part._forms.fetching.keys():
            raise Failure(f"stale: device {device.number} serves other things than it says")


@dataclass
class _Clock:
    monotonic: Callable[[], float]
