"""Devices of one group, each a library on a machine of its own, and how long what is said on one takes to the other."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from memosync.errors import MemosyncError
from memosync.library import keys
from memosync.library.places import is_awaited
from memosync.library.store import Library
from memosync.magnet import InfoHash
from memosync.memo import Memo
from memosync.seeder.bases import Bases
from support.netns import Host
from support.program import Program
from support.seeder import log, state
from support.waiting import wait_until

SOON = 10.0  # seconds: nothing may take longer


@dataclass(slots=True)
class Device:
    """A library on a machine."""

    host: Host
    seeder: Program  # what runs its seeder
    program: Program  # what does everything else

    @property
    def library(self) -> Library:
        return Library(self.program.library)

    def memos(self) -> list[Memo]:
        """Give the memos that are listed here."""
        try:
            return [memo for memo in self.library.index().memos if not memo.trashed]
        except MemosyncError:  # it is not there yet
            return []

    def titles(self) -> set[str]:
        """Give the titles of those that are listed and can be played."""
        library = self.library
        return {memo.title for memo in self.memos() if not is_awaited(library, memo) and library.path(memo).exists()}

    def record(self, sound: Path, title: str) -> None:
        self.program("record", sound, "-t", title, "--again")

    def met(self) -> list[str]:
        """Give the devices that are connected."""
        try:
            found: list[str] = state(self.program).get("met", [])
        except OSError:
            return []
        return found

    def said(self) -> int:
        """Give how many memos are in what is said to the other devices: what was just recorded is, in a moment."""
        library = self.library
        bases, names = Bases(keys.secret(library), library.underway), os.listdir(library.underway)
        return max((len(base.state.memos) for name in names if (base := bases.find(InfoHash(name), 0))), default=0)

    def start(self, *options: str) -> None:
        self.seeder("seed", "--detach", *options)

    def stop(self) -> None:
        self.program("seed", "--stop")

    def kill(self) -> None:
        """Kill the seeder, but not who keeps it."""
        os.kill(state(self.program)["pid"], signal.SIGKILL)

    def described(self) -> str:
        return f"{self.host.address}: {sorted(self.titles())}, met {self.met()}, log {log(self.program)[-1500:]}"


def device(host: Host, place: Path, network: str = "public", seeder: Program | None = None) -> Device:
    """Give a library on a machine that has none yet."""
    program = seeder or host.program(place / "Memos", network)
    return Device(host, program, host.program(program.library, network))


def invite(first: Device, second: Device, *options: str) -> None:
    """Have two libraries be one, as two people do it."""
    link = first.seeder("sync", "--invite", "device", *options).out
    second.seeder("sync", "-", stdin=link)


def wait_for(devices: Sequence[Device], condition: Callable[[], object], what: str, seconds: float = SOON) -> float:
    """Wait for it and give the seconds; where it does not come, say how the devices are."""
    began = time.monotonic()
    wait_until(condition, lambda: "\n".join([what, *(one.described() for one in devices)]), seconds)
    return time.monotonic() - began


def is_past(moment: float) -> bool:
    return time.monotonic() > moment


def all_met(devices: Sequence[Device]) -> bool:
    """Tell whether each device is connected to all others."""
    return all(len(one.met()) == len(devices) - 1 for one in devices)


def are_even(devices: Sequence[Device]) -> bool:
    """Tell whether each says just what the others do."""
    return all(len(state(one.program).get("even", ())) == len(devices) - 1 for one in devices)


def arrival(first: Device, second: Device, sound: Path, title: str, seconds: float = SOON) -> float:
    """Record a memo on one device, and give the seconds until it is on the other."""
    first.record(sound, title)
    return wait_for((first, second), lambda: title in second.titles(), f"{title} to be there", seconds)


def rewording(first: Device, second: Device, before: str, after: str, seconds: float = SOON) -> float:
    """Give a memo another title on one device, and give the seconds until that is the other's."""
    (memo,) = [memo for memo in first.memos() if memo.title == before]
    first.program("edit", memo.id, "-t", after)
    return wait_for((first, second), lambda: after in second.titles(), f"{after} to be the title", seconds)
