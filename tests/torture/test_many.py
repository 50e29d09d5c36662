"""Thousands of memos in sync: what an edit costs, what the seeder costs while nothing happens, and who joins late.

On three hosts of a network: two have all of it, the third begins with nothing and is killed again and again.
"""

from __future__ import annotations

import filecmp
import functools
import os
import random
import re
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import av
import pytest
from support.devices import Device, are_even, device, is_past, wait_for
from support.group import SECRET, SILENT, edit
from support.library import WHEN
from support.netns import Network
from support.seeder import cpu, is_alive, state
from support.sound import noise

from memosync import index
from memosync.audio import webm
from memosync.index import Index
from memosync.library import group, identity
from memosync.library.store import Library
from memosync.memo import Memo, Words, file_name, new_id

SETTLED, IDLE = 40, 60  # seconds: until two devices have nothing more to say, and then
KILLS = 12
TITLE = "Weekly standup 00000"


def filled(library: Library, count: int) -> None:
    """Fill a library with memos of three seconds that sound differently, by some bytes in one packet each."""
    library.prepare()
    bare = noise(library.root.parent / "noise.webm", 3, "-c:a", "libopus", "-b:a", "32k")
    source = library.root.parent / "source.webm"
    info = webm.finish(bare, source, Words(TITLE, "what we said about the release", ("work",), WHEN, None))
    body = source.read_bytes()
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
    packet = bytes(packets[len(packets) // 2])
    at = body.index(packet) + len(packet) // 2
    memos = []
    for number in range(count):
        title, when = f"Weekly standup {number:05}", WHEN - timedelta(hours=number)
        memo_id = new_id(number.to_bytes(5, "big"))
        name = file_name(title, when, memo_id)
        sound = body[:at] + number.to_bytes(4, "big") + body[at + 4 :]
        (library.root / name).write_bytes(re.sub(TITLE.encode(), title.encode(), sound))
        memo = Memo(id=memo_id, file=name, title=title, recorded=when, duration=info.duration, size=len(body))
        memos.append(replace(memo, description="what we said about the release", tags=("work",)))
    (library.root / "index.toml").write_text(index.dumps(Index(tuple(memos))))
    group.enter(library, SECRET)
    assert identity.identify(library, SILENT) == set()


def memory(process: int, name: str) -> float:
    """Give MB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1000


class Reader:
    """What an index says: its bytes, read once each time that it was replaced."""

    def __init__(self, one: Device) -> None:
        self.path = one.library.root / "index.toml"
        self.seen, self.text = 0, b""

    def has(self, words: str) -> bool:
        if self.seen != (seen := self.path.stat().st_mtime_ns):
            self.seen, self.text = seen, self.path.read_bytes()
        return words.encode() in self.text


def files_of(one: Device) -> int:
    return sum(name.endswith(".webm") for name in os.listdir(one.library.root))


@contextmanager
def in_sync(count: int, home: Path) -> Iterator[list[Device]]:
    """Give two devices that have so many memos, and a third one, which is off and has none."""
    with Network(3) as network:
        devices = [device(host, home / host.address, "lan") for host in network.hosts]
        one, other, new = devices
        filled(one.library, count)
        shutil.copytree(one.library.root, other.library.root)
        group.enter(new.library, SECRET)
        for each in (one, other):
            each.start()
        wait_for((one, other), lambda: are_even((one, other)), "both to say the same", 300)
        yield devices
        for each in devices:
            each.program.run("seed", "--stop")


@pytest.mark.long
@pytest.mark.parametrize(("count", "edits"), [(1_000, 50), (10_000, 500)])
def test_an_edit_among_thousands_of_memos_costs_little(
    tmp_path: Path, count: int, edits: int, seed: int, figure: Callable[[str], None]
) -> None:
    chance = random.Random(seed)
    with in_sync(count, tmp_path) as (one, other, _):
        wait_for((one, other), functools.partial(is_past, time.monotonic() + SETTLED), "them to settle", 2 * SETTLED)
        process = state(one.program)["pid"]
        taken, size = cpu(process), one.host.received()
        wait_for((one, other), functools.partial(is_past, time.monotonic() + IDLE), "some time to pass", 2 * IDLE)
        load, size = (cpu(process) - taken) / IDLE, one.host.received() - size
        figure(
            f"{count} memos, idle: {memory(process, 'VmRSS'):.0f} MB, {memory(process, 'VmHWM'):.0f} MB at most, "
            f"{load:.1%} of a core, {size / IDLE * 3600 / 1e6:.2f} MB in an hour came"
        )
        assert memory(process, "VmRSS") < 250

        took = []
        before = [each.host.received() for each in (one, other)]
        ids, readers = [memo.id for memo in one.library.index().memos], (Reader(one), Reader(other))
        for number in range(edits):
            edit((other, one)[number % 2].library, chance.choice(ids), title=f"Edited {number} times")
            is_there = functools.partial(readers[number % 2].has, f"Edited {number} times")
            took.append(wait_for((one, other), is_there, "it", 60))
        wait_for((one, other), lambda: are_even((one, other)), "both to say the same", 60)
        costs = [(each.host.received() - size) / edits for each, size in zip((one, other), before, strict=True)]
        figure(
            f"{count} memos, {edits} edits: {', '.join(f'{cost / 1000:.1f} KB' for cost in costs)} came to each device "
            f"for one; shown after {statistics.median(took):.2f} s, {max(took):.2f} s at worst"
        )
        assert max(costs) < 16_000


@pytest.mark.long
@pytest.mark.parametrize("count", [1_000, 10_000])
def test_who_joins_thousands_of_memos_and_is_killed_has_all_in_the_end(
    tmp_path: Path, count: int, seed: int, figure: Callable[[str], None]
) -> None:
    chance, had = random.Random(seed), list[int]()
    with in_sync(count, tmp_path) as devices:
        one, _, new = devices
        began = time.monotonic()
        new.start()
        for enough in [0] * (KILLS // 2) + sorted(chance.choices(range(count), k=KILLS // 2)):
            until = time.monotonic() + chance.uniform(0.2, 6)
            wait_for((new,), functools.partial(is_past, until), "some time to pass", 20)
            wait_for(devices, lambda: files_of(new) >= enough, "some to be there", 0.5 * count + 120)  # noqa: B023
            had.append(files_of(new))
            process = state(new.program)["pid"]
            new.kill()
            wait_for((new,), lambda: not is_alive(process), "it to die")  # noqa: B023
            new.program("sync")
        wait_for(devices, lambda: files_of(new) == count, "all to be there", 0.5 * count + 120)
        whole = time.monotonic() - began
        wait_for(devices, lambda: are_even(devices), "all to say the same", 60)

        titles = [{(memo.id, memo.title) for memo in each.library.index().memos} for each in devices]
        assert titles[0] == titles[1] == titles[2]
        paths = {memo.id: new.library.path(memo) for memo in new.library.index().memos}
        for memo in one.library.index().memos:
            assert filecmp.cmp(one.library.path(memo), paths[memo.id], shallow=False), memo
        assert set(paths.values()) == set(new.library.root.glob("*.webm"))
    figure(f"{count} memos, an empty device, killed when it had {had} of them: all of them after {whole:.0f} s")
