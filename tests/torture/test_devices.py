"""Three devices in sync, each a host of its own: what people do, at random, while links are cut and processes killed.

Afterwards nothing that was acknowledged is lost, nothing is there twice, and all devices say the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proof.sounds import heard, sound
from support import netns, seeder
from support.netns import Host
from support.program import Program
from support.waiting import wait_until

LONG, SHORT = 600.0, 8.0  # seconds of acts
AT_REST = 60.0  # seconds after which they have to be the same


@dataclass
class Memory:
    """What was acknowledged."""

    recorded: set[int] = field(default_factory=set)  # sounds
    trashed: set[int] = field(default_factory=set)  # those that somebody threw away, brought back since or not
    titles: dict[int, dict[str, str]] = field(default_factory=dict)  # of a sound: each title, and the one it replaced

    def may_be(self, number: int) -> set[str]:
        """Give the titles of a sound that no acknowledged edit replaced."""
        known = self.titles[number]
        return known.keys() - set(known.values())


class Device:
    """One host and its library."""

    def __init__(self, network: netns.Network, number: int, host: Host, place: Path) -> None:
        self.network, self.number = network, number
        self.program: Program = host.program(place / f"device{number}" / "Memos")
        self.is_cut = False

    def memos(self, *options: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.program("list", "--json", *options).lines]

    def here(self, *options: str) -> dict[int, dict[str, Any]]:
        """Give what is listed and here, by what is heard of it; each sound once."""
        found: dict[int, dict[str, Any]] = {}
        for memo in self.memos(*options):
            with contextlib.suppress(FileNotFoundError):
                number = heard(Path(memo["path"]).read_bytes())
                assert number is not None, memo
                assert number not in found, f"twice: {memo}, {found[number]}"
                found[number] = memo
        return found

    def cut(self, is_cut: bool) -> None:
        self.is_cut = is_cut
        state = "down" if is_cut else "up"
        self.network.namespaces[0].ip(f"link set port{self.number} {state}")

    def kill(self, name: str) -> None:
        """Kill the seeder, or its keeper with it."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            process = seeder.state(self.program)[name]
            if process:
                os.kill(process, signal.SIGKILL)

    def says(self) -> list[tuple[object, ...]]:
        """Give all that other devices are to say, too; the file of what is in the trash may be on one alone."""
        return [
            (
                memo["title"],
                memo["recorded"],
                sorted(memo["tags"]),
                bool(memo["trashed"]),
                bool(options) or Path(memo["path"]).exists(),
            )
            for options in ((), ("--trash",))
            for memo in self.memos(*options)
        ]


def test_three_devices_lose_nothing(tmp_path: Path, long: bool, seed: int, figure: Callable[[str], None]) -> None:
    chance, memory, rests = random.Random(seed), Memory(), []
    acts: dict[str, int] = {}
    with netns.Network(3) as network:
        devices = [Device(network, number, host, tmp_path) for number, host in enumerate(network.hosts, 1)]
        for joiner in devices[1:]:
            invitation = devices[0].program("sync", "--invite", "device").out
            joiner.program("sync", "-", stdin=invitation)
        try:
            ends = time.monotonic() + (LONG if long else SHORT)
            while time.monotonic() < ends:
                for _ in range(30 if long else 10):
                    name = _act(chance, chance.choice(devices), memory)
                    acts[name] = acts.get(name, 0) + 1
                    if time.monotonic() > ends:
                        break
                rests.append(_rest(devices, memory))
        finally:
            for device in devices:
                device.program.run("seed", "--stop")
    assert memory.recorded
    figure(
        f"{sum(acts.values())} acts ({', '.join(f'{name} {count}' for name, count in sorted(acts.items()))}), "
        f"{len(memory.recorded)} memos: lost 0 duplicated 0 stale 0; the same {statistics.median(rests):.1f} s after "
        f"heal, {max(rests):.1f} s at worst of {len(rests)}"
    )


def _act(chance: random.Random, device: Device, memory: Memory) -> str:
    """Do something on a device, and remember what was acknowledged."""
    act = chance.choices(["record", "edit", "rm", "restore", "cut", "heal", "kill", "end"], [6, 6, 2, 2, 2, 2, 2, 1])[0]
    if act == "record":
        number = len(memory.titles)
        path = device.program.library.parent / f"{number}.webm"
        path.write_bytes(sound(number))
        title = f"Memo {number}"
        memory.titles[number] = {title: ""}
        if device.program.run("record", path, "--title", title).code == 0:
            memory.recorded.add(number)
    elif act in ("edit", "rm"):
        there = device.here()
        if there:
            number = chance.choice(sorted(there))
            memo = there[number]
            if act == "edit":
                title = f"Memo {number}, {len(memory.titles[number])} edits"
                before = next((one["title"] for one in device.memos() if one["id"] == memo["id"]), "")
                said = device.program.run("edit", memo["id"], "--title", title)
                if said.code == 0:
                    memory.titles[number][title] = before
                else:  # somebody has just thrown it away elsewhere
                    assert "is in the trash" in said.err, said
            else:
                memory.trashed.add(number)
                device.program.run("rm", memo["id"])
    elif act == "restore":
        if thrown := device.memos("--trash"):
            device.program.run("restore", chance.choice(thrown)["id"])
    elif act in ("cut", "heal"):
        device.cut(act == "cut")
    elif act == "kill":
        device.kill("pid")
    else:
        device.kill("keeper")
    return act


def _rest(devices: list[Device], memory: Memory) -> float:
    """Heal everything, and wait until all devices say the same, and have all of it; give the seconds."""
    for device in devices:
        device.cut(False)
        device.program("sync")
    began = time.monotonic()

    def are_the_same() -> bool:
        first, *others = (device.says() for device in devices)
        return all(one == first for one in others) and all(row[-1] for row in first)

    wait_until(are_the_same, lambda: "\n".join(str(device.says()) for device in devices), AT_REST)
    seconds = time.monotonic() - began
    everywhere: set[int] = set()
    for device in devices:
        alive, thrown = device.here(), device.here("--trash")
        everywhere |= alive.keys() | thrown.keys()
        assert memory.recorded - memory.trashed <= alive.keys(), "lost, or thrown away by nobody"
        for number, memo in (alive | thrown).items():
            assert memo["title"] in memory.may_be(number), (memo["title"], memory.titles[number])
    assert memory.recorded <= everywhere, "lost"
    return seconds
