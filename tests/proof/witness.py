"""Who remembers what each device of a life showed when something was done, and judges what is there in the end.

Nothing of it is the code's that is looked at. A sound is known by ear, a word by its text: none is used twice.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC
from pathlib import Path
from typing import Any

import tomli

from memosync.library.digests import Digests
from memosync.library.store import Library

from .sounds import heard

FIELDS = ("title", "description", "recorded")
DAY = 86_400.0  # seconds
RENAMED = "-renamed-"  # in the names of files that were renamed


class Failure(AssertionError):
    """Something was lost, is there twice, or is stale."""


@dataclass(frozen=True)
class Shown:
    """What a device shows of one memo."""

    id: str
    file: str
    title: str
    description: str
    recorded: str
    tags: frozenset[str]
    trashed: str
    uid: str
    renewals: str
    link: str  # the private one that it is served by


@dataclass
class Value:
    """A word that was typed, or a tag that was added or taken away."""

    before: str | None  # what stood there
    device: int
    acknowledged: bool
    destroyed: bool = False  # with the only disk that had it


@dataclass
class Device:
    number: int
    root: Path
    skew: float  # seconds that its clock is off
    library: Library
    grouped: int = 0  # the number of its group, 0 in none
    backups: list[tuple[str, Path]] = field(default_factory=list)
    seen: dict[tuple[int, str], str] = field(default_factory=dict)  # by sound and field: the word it showed last
    trash_seen: dict[int, set[str]] = field(default_factory=dict)
    trashed_since: dict[int, float] = field(default_factory=dict)  # by sound
    heard_at: float = 0.0  # when it merged what another one says
    fetched: set[int] = field(default_factory=set)  # and not met by what other devices say of it
    by_link: set[tuple[int, str]] = field(default_factory=set)  # by sound and field: words of a fetched file alone
    clocked: set[tuple[int, str]] = field(default_factory=set)  # those that another device said something else for
    by_hand: dict[tuple[int, str], str] = field(default_factory=dict)  # words that nobody may have noticed yet
    joining: bool = False
    looked: tuple[list[tuple[int, int]], dict[int | str, Shown]] | None = None
    digests: Digests = field(default_factory=Digests)
    identified: int = 0  # the time stamp that the index had when every memo had its uid
    observed: list[tuple[int, int]] | None = None
    index_time: int = 0  # nanoseconds: the time stamp of its index when that was looked at last
    heard: dict[tuple[str, int, int], int | None] = field(default_factory=dict)  # by file, as it was

    def __post_init__(self) -> None:
        names = "index.toml", "", ".memosync/trash", ".memosync/sync.toml"
        self.places = [os.path.join(self.root, name) for name in names]

    def state(self) -> list[tuple[int, int]]:
        """Tell what is on its disk from what was: of all that it shows, and of all that it knows."""
        found = []
        for place in self.places:
            status = stat_of(place)
            found.append((status.st_ino, status.st_mtime_ns) if status else (0, 0))
        return found

    def ear(self, name: str) -> int | None:
        """Tell which sound a file is, here or in the trash; none is decoded twice."""
        for place in (self.places[1], self.places[2]):
            path = os.path.join(place, name)
            if status := stat_of(path):
                key = path, status.st_ino, status.st_ctime_ns
                if key not in self.heard:
                    self.heard[key] = heard(Path(path).read_bytes())
                return self.heard[key]
        return None


def stat_of(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def listed(index: str) -> Iterator[Shown]:
    """Give what stands in an index, none of it read twice."""
    with contextlib.suppress(FileNotFoundError):
        head, *entries = Path(index).read_text().split("\n[[memo]]\n")
        for part in (head, *(f"[[memo]]\n{entry}" for entry in entries)):
            yield from _listed(part)


@functools.lru_cache(maxsize=10_000)
def _listed(part: str) -> list[Shown]:
    tables: list[dict[str, Any]] = tomli.loads(part).get("memo", [])
    return [
        Shown(
            id=table["id"],
            file=table["file"],
            title=table["title"],
            description=table.get("description", ""),
            recorded=table["recorded"].isoformat(),
            tags=frozenset(table.get("tags", [])),
            trashed=table["trashed"].astimezone(UTC).isoformat() if "trashed" in table else "",
            uid=table.get("uid", ""),
            renewals=str(table.get("renewals", 0)),
            link=table.get("sealed", "") if table.get("private") else "",
        )
        for table in tables
    ]


class Witness:
    """What was shown and done so far, and what has to be there for that."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0  # seconds since 1970
        self.count: Counter[str] = Counter()
        self.devices: list[Device] = []
        self.words = iter(range(10**9))
        self.values: dict[tuple[int, str], dict[str, Value]] = {}
        self.trashings: dict[int, dict[str, set[str]]] = {}  # by sound: each time it was thrown away, and what undid it
        self.made: dict[int, bool] = {}  # by sound: whether that was acknowledged
        self.destroyed: set[int] = set()  # sounds whose last bytes are gone
        self.typed_and_copied: set[tuple[int, str, str | None]] = set()  # by hand, and then noticed by two devices
        self.given: dict[str, str] = {}  # private links, and after how many renewals
        self.uids: dict[str, int] = {}
        self.is_off = False  # some clock is, or was
        self.by_file: set[int] = set()  # sounds of which a file was copied: its words are those of no clock, everywhere
        self.came: dict[int, set[int]] = {}  # which files of strangers were fetched, by sound
        self.pending: list[Callable[[bool], None]] = []  # what is settled once it is known whether it is acknowledged

    def shown(self, device: Device, *, once: bool = False) -> dict[int | str, Shown]:
        """Give what it lists, by sound; by uid where nobody has heard it yet."""
        state = device.state()
        if device.looked and device.looked[0] == state and not once:
            return device.looked[1]
        found: dict[int | str, Shown] = {}
        for memo in listed(device.places[0]):
            number = device.ear(memo.file)
            if number is not None and memo.uid and self.uids.setdefault(memo.uid, number) != number:
                raise Failure(f"one uid for sounds {number} and {self.uids[memo.uid]}")
            if number is None:
                number = self.uids.get(memo.uid)
            if number is None and not memo.uid:
                continue  # an old index names it: what it was is not here any more
            key: int | str = memo.uid if number is None else number
            if once and key in found and not (found[key].trashed or memo.trashed):
                raise Failure(f"duplicated: sound {key} is twice in the list of device {device.number}")
            if key not in found or self.precedence(memo) < self.precedence(found[key]):
                found[key] = memo
        device.looked = state, found
        return found

    def precedence(self, memo: Shown) -> tuple[bool, int]:
        """Order those of one sound: what is not in the trash, then what had a uid first; a second one is the spare."""
        known = list(self.uids)
        return bool(memo.trashed), known.index(memo.uid) if memo.uid in known else len(known)

    def observe(self, device: Device, after_loss: bool = False) -> None:
        """Look at what it shows; it must not go back from what it showed, unless a person put an old state back."""
        if device.observed != device.state():
            self.set_times(device)
            device.observed = device.state()
        here = self.shown(device)
        if not device.grouped:  # nobody keeps what it has thrown away
            device.seen = {key: text for key, text in device.seen.items() if key[0] in here}
        for number, memo in here.items():
            if not isinstance(number, int):
                continue
            if memo.trashed and device.seen.get((number, "uid"), "") not in ("", memo.uid):  # only the spare is left
                device.seen = {key: text for key, text in device.seen.items() if key[0] != number}
            device.seen[number, "uid"] = memo.uid
            self.given.setdefault(memo.link, memo.renewals)
            for name in (*FIELDS, "renewals"):
                now, before = getattr(memo, name), device.seen.get((number, name))
                is_back = before not in (None, now) and now in self.ancestors(number, name, before)
                if is_back and not after_loss and (number, name) not in device.by_link:  # words in files have no clocks
                    raise Failure(f"stale: device {device.number} went back from {before!r} to {now!r}")
                device.seen[number, name] = now
            if memo.trashed:
                device.trash_seen.setdefault(number, set()).add(memo.trashed)
                device.trashed_since.setdefault(number, self.now)
            else:
                device.trashed_since.pop(number, None)
        device.by_link -= device.clocked
        device.clocked.clear()

    def set_times(self, device: Device) -> None:
        """What was written just now was by the device's clock."""
        clock, now = int((self.now + device.skew) * 10**9), time.time()
        for place in (*device.places[1:3], str(device.root / ".memosync")):
            with contextlib.suppress(FileNotFoundError), os.scandir(place) as found:
                for entry in found:
                    if entry.is_file() and abs(entry.stat().st_mtime - now) < DAY:
                        os.utime(entry.path, ns=(clock, clock))
        with contextlib.suppress(FileNotFoundError):  # which is never older than the one before, by any clock
            path = device.root / "index.toml"
            if (time_of := path.stat().st_mtime_ns) != device.index_time:
                device.index_time = max(clock, time_of)
                os.utime(path, ns=(device.index_time, device.index_time))

    def ancestors(self, number: int, name: str, text: str | None) -> set[str]:
        found: set[str] = set()
        values = self.values.get((number, name), {})
        while text in values and (text := values[text].before) and text not in found:
            found.add(text)
        return found

    def typed(
        self, device: Device, number: int, name: str, text: str, before: str | None, *, by_hand: bool = False
    ) -> None:
        unnoticed = device.by_hand.get((number, name)) == before or (number, name, before) in self.typed_and_copied
        by_file = number in device.fetched or (number, name) in device.by_link or number in self.by_file
        if (by_file and (self.is_off or (by_hand and not device.grouped))) or (
            unnoticed and (self.is_off or not device.grouped)
        ):
            before = None  # when that was typed nobody can say: by another clock, or index, it may be later
        value = Value(before, device.number, acknowledged=False)
        self.values.setdefault((number, name), {})[text] = value

        def settle(acknowledged: bool) -> None:
            value.acknowledged = acknowledged
            if acknowledged:
                device.by_link.discard((number, name))

        self.pending.append(settle)

    def forget_when_it_was_typed(self, device: Device) -> None:
        """An index that was put back may have words that nobody had noticed: they count from then."""
        here = self.shown(device)
        for (number, name), text in [typed for each in self.devices for typed in each.by_hand.items()]:
            if self.shows(here, number, name, text):
                for value in self.values[number, name].values():
                    value.before = None if value.before == text else value.before

    def undo_trashings(self, device: Device, number: int) -> None:
        """Once it is acknowledged, all that this device had shown of it as thrown away is undone."""
        token = str(next(self.words))
        seen = set(device.trash_seen.get(number, set()))

        def undo(acknowledged: bool) -> None:
            for when in seen if acknowledged else ():
                self.trashings.get(number, {}).setdefault(when, set()).add(token)

        self.pending.append(undo)

    def is_spare(self, number: int, memo: Shown) -> bool:
        """Tell whether it is a second memo of a sound, that came by a link with words of its own."""
        known = [uid for uid, sound in self.uids.items() if sound == number]
        return memo.uid in known[1:]

    def have_other_words(self, number: int) -> None:
        """Somebody wants a sound with the words of a second memo of it, and not those of the first."""
        for (sounding, _name), values in self.values.items():
            for value in values.values() if sounding == number else ():
                value.destroyed = True
        for device in self.devices:
            device.by_link |= {(number, name) for name in FIELDS}

    def forget_what_only_it_has(self, device: Device, *, only_index: bool = False, only: int | None = None) -> None:
        """What no other device shows, nor anything later, may be gone once this one's index is, or all that it has.

        Of one sound, when it is `only` that.
        """
        elsewhere = [other for other in self.devices if other is not device]
        others = [self.shown(other) for other in elsewhere]
        mine = {number: memo for number, memo in self.shown(device).items() if isinstance(number, int)}
        for (sounding, name), values in self.values.items():
            if only not in (None, sounding):
                continue
            by_link = sounding, name if name in FIELDS else "title"  # words in files have no clocks
            clocked = [words for other, words in zip(elsewhere, others, strict=True) if by_link not in other.by_link]
            for text, value in values.items():
                shown = any(self.shows(words, sounding, name, text) for words in clocked)
                # a tag that is not there was taken away, or has not come yet
                value.destroyed |= not shown or (text == "taken away" and value.device == device.number)
        for number, memo in mine.items():
            if only not in (None, number):
                continue
            for when, undone in () if memo.trashed else self.trashings.get(number, {}).items():
                # who has not heard that it was thrown away does not know either that it was brought back
                knowing = [other for other in elsewhere if when in other.trash_seen.get(number, ())]
                if not any(self.is_alive(self.shown(other), number) for other in knowing):
                    undone.clear()
            known = any(number in other for other in others) or self.has_bytes(number, besides=device)
            if not known and not only_index:
                self.destroyed.add(number)

    def is_alive(self, shown: dict[int | str, Shown], number: int) -> bool:
        return number in shown and not shown[number].trashed

    def shows(self, shown: dict[int | str, Shown], number: int, name: str, text: str) -> bool:
        if number not in shown:
            return False
        if name.startswith("tag "):
            return (name[4:] in shown[number].tags) == (text == "there")
        now = getattr(shown[number], name)
        return now == text or text in self.ancestors(number, name, now)

    def has_bytes(self, number: int, besides: Device) -> bool:
        others = [device for device in self.devices if device is not besides]
        return any(self.has_bytes_in(device.root, number) for device in others)

    def has_bytes_in(self, root: Path, number: int) -> bool:
        paths = [*root.glob("*.webm"), *root.glob(".memosync/trash/*.webm")]
        return any(heard(path.read_bytes()) == number for path in paths)

    def lose_bytes(self, device: Device, number: int) -> None:
        """Some of a sound may just have gone from a device: note where those were the last."""
        if not self.has_bytes(number, besides=device) and not self.has_bytes_in(device.root, number):
            self.destroyed.add(number)

    def judge(self) -> None:
        devices = self.devices
        self.count["one sound with other words"] += sum({0, 1} <= versions for versions in self.came.values())
        for values in self.values.values():
            before = {value.before for value in values.values()}
            edits = {text: value for text, value in values.items() if value.acknowledged and value.before is not None}
            ends = edits.keys() - before
            self.count["edited at once"] += max(0, len(ends) - 1)
        shown = [self.shown(device, once=True) for device in devices]
        words = [
            {key: replace(memo, id="", file="", link="") for key, memo in each.items() if not memo.trashed}
            for each in shown
        ]
        for device, each in zip(devices, words, strict=True):
            for key in {*each, *words[0]}:
                if each.get(key) != words[0].get(key):
                    here, there = each.get(key), words[0].get(key)
                    raise Failure(
                        f"stale: sound {key} is {here} on device {device.number}, {there} on {devices[0].number}"
                    )
        for device, each in zip(devices, shown, strict=True):
            self.judge_device(device, each)
            files = [path for path in device.root.glob("*.webm") if RENAMED not in path.name]  # a second one
            names = Counter(heard(path.read_bytes()) for path in files)
            for number, many in names.items():
                if many > 1 and number is not None:
                    raise Failure(f"duplicated: sound {number} is {many} times on the disk of device {device.number}")

    def judge_device(self, device: Device, shown: dict[int | str, Shown]) -> None:
        for number, acknowledged in self.made.items():
            if not acknowledged or number in self.destroyed:
                continue
            if not all(self.trashings.get(number, {}).values()):
                self.count["sound that may be in the trash"] += 1
                continue
            memo = shown.get(number)
            if not memo or memo.trashed:
                raise Failure(f"lost: sound {number} is not on device {device.number}")
            if device.ear(memo.file) != number:
                raise Failure(f"lost: sound {number} cannot be heard on device {device.number}")
            self.count["sound judged"] += 1
            is_over = memo.link and int(self.given.get(memo.link, memo.renewals)) < int(memo.renewals)
            if is_over:
                raise Failure(f"stale: a link of sound {number} that was ended is served by device {device.number}")
        for (number, name), values in self.values.items():
            if number not in shown or shown[number].trashed:
                continue
            later = {value.before for value in values.values() if value.acknowledged and not value.destroyed}
            if name.startswith("tag "):
                there = values["there"]
                if "taken away" in values:
                    if "there" in later and name[4:] in shown[number].tags:
                        raise Failure(f"lost: {name} of sound {number} is there again on device {device.number}")
                elif there.acknowledged and not there.destroyed and name[4:] not in shown[number].tags:
                    raise Failure(f"lost: {name} of sound {number} is gone on device {device.number}")
                continue
            now = getattr(shown[number], name)
            if now not in values:
                raise Failure(
                    f"lost: {name} of sound {number} is {now!r} on device {device.number}, which nobody typed"
                )
            if now in later:
                by = [text for text, value in values.items() if value.before == now and value.acknowledged]
                raise Failure(
                    f"lost: {name} of sound {number} is {now!r} on device {device.number}, and {by} came later"
                )
            self.count["word judged"] += 1
