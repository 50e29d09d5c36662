"""Libraries in sync beside a device of the group that lies: it is not believed, costs little, and nothing stops."""

from __future__ import annotations

import json
import os
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support import seeder
from support.disk import SmallDisk
from support.group import SECRET, SILENT
from support.library import entries
from support.pairs import begin, insist_that_it_goes_on, join, record, titles
from support.program import Program
from support.rogue import BOMBS, THEM, UID, Rogue, packed
from support.seeder import forget_memory, memory
from support.waiting import wait_until

from memosync import manifest, sealing
from memosync.library import group, heads, known
from memosync.library.adopt import open_library
from memosync.library.store import Library
from memosync.magnet import InfoHash
from memosync.manifest import State
from memosync.network import Network
from memosync.seeder import hearing, pointing, sync
from memosync.seeder.bases import DEEPEST
from memosync.seeder.hearing import Hearing
from memosync.stop import Stop
from memosync.torrent.exchange import Exchange

LIED = "1e" * 32
PATIENCE = 2.0  # seconds after which what was refused is asked for again


@dataclass
class Here:
    """A device in this process, and what it does."""

    library: Library
    part: sync.Sync
    fetched: list[tuple[InfoHash, float]] = field(default_factory=list)  # heads, and when it began to
    looks: int = 0  # at what others say

    @property
    def exchange(self) -> Exchange:
        assert self.part._taking_part
        return self.part._taking_part._exchange

    def times(self, head: InfoHash) -> list[float]:
        return [at for one, at in self.fetched if one == head]

    def looks_again(self, often: int = 30) -> None:
        before = self.looks
        wait_until(lambda: self.looks > before + often, "it to look again and again", 30)


@pytest.fixture
def here(memosync: Program, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    """A device that begins at once anew what the real one does after half a minute, and serves nothing on."""
    library = open_library(memosync.library, SILENT)
    group.enter(library, SECRET)
    here = Here(library, sync.Sync(library.root, Network.LOOPBACK, up=0, down=0, log=lambda text: None))
    fetch, hear = Exchange.fetch, Hearing.hear

    def noted_fetch(exchange: Exchange, head: InfoHash, *args: Any, **more: Any) -> None:
        here.fetched.append((head, time.monotonic()))
        fetch(exchange, head, *args, **more)

    def counted_hear(heard: Hearing, *args: Any) -> None:
        here.looks += 1
        hear(heard, *args)

    monkeypatch.setattr(Exchange, "fetch", noted_fetch)
    monkeypatch.setattr(Hearing, "hear", counted_hear)
    for name, seconds in (("KEPT", 0.0), ("AGAIN", PATIENCE)):
        for module in (hearing, pointing):
            monkeypatch.setattr(module, name, seconds)
    stop = Stop()
    thread = threading.Thread(target=here.part.run, args=[stop])
    thread.start()
    wait_until(lambda: here.part._taking_part, "it to take part", 20)
    yield here
    stop.set()
    thread.join()


@pytest.fixture
def beside(here: Here, memosync: Program, tmp_path: Path) -> Iterator[Rogue]:
    """A rogue that calls that device."""
    rogue = Rogue(memosync, tmp_path / "beside")
    yield rogue
    rogue.close()


@pytest.mark.parametrize("forgetful", [False, True], ids=["", "one that forgets what it merged does"])
def test_a_head_that_was_merged_is_never_fetched_again(
    here: Here, beside: Rogue, monkeypatch: pytest.MonkeyPatch, forgetful: bool
) -> None:
    if forgetful:
        monkeypatch.setattr(Hearing, "remember", lambda heard, head: None)
    cells = manifest.read_cells({"file": [{"sha256": UID, "size": 9, "infohash": "b" * 40}]}, manifest.MEMO)
    head = beside.keep(beside.seal(manifest.dumps(State({UID: cells}))))
    beside.point(head)

    wait_until(lambda: bool(here.library.index().memos), "what it says to be merged", 30)
    if forgetful:
        wait_until(lambda: len(here.times(head)) > 1, "it to be fetched again", 30)
    else:
        wait_until(lambda: not here.exchange.has(head), "it to be let go", 20)
        here.looks_again()
        assert len(here.times(head)) == 1


@pytest.mark.parametrize("kind", ["too large", "on what is too large"])
def test_what_was_refused_is_asked_for_again_after_some_time_and_not_before(
    here: Here, beside: Rogue, kind: str
) -> None:
    large = head = beside.keep(bytes(heads.LARGEST + 1))
    if kind == "on what is too large":
        head = beside.keep(beside.seal(packed({}), base=large))
    beside.point(head)

    wait_until(lambda: len(here.times(head)) > 1, "it to be asked for again", 30)
    first, second = here.times(head)[:2]
    assert second - first >= PATIENCE
    assert len(here.times(large)) <= len(here.times(head))


@pytest.mark.parametrize("kind", ["a head", "what a head stands on", "one of many that heads stand on"])
def test_what_nobody_points_to_any_more_is_not_waited_for(
    here: Here, beside: Rogue, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind == "one of many that heads stand on":
        monkeypatch.setattr(hearing, "_MOST_BASES", 1)
        monkeypatch.setattr(hearing, "KEPT", 600.0)
    first, second = (InfoHash(digits * 20) for digits in ("dd", "ee"))  # nobody has them
    for awaited in (first, second):
        beside.point(awaited if kind == "a head" else beside.keep(beside.seal(packed({}), base=awaited)))
        wait_until(lambda: here.exchange.has(awaited), "it to be asked for", 30)  # noqa: B023

    wait_until(lambda: not here.exchange.has(first), "it to be given up", 20)
    assert here.exchange.has(second)
    here.looks_again()
    assert len(here.times(first)) == 1
    assert first not in {path.name for path in here.library.underway.iterdir()}


@pytest.fixture
def rogue(pair: tuple[Program, Program], tmp_path: Path) -> Iterator[Rogue]:
    rogue = Rogue(pair[0], tmp_path / "rogue")
    yield rogue
    rogue.close()


def test_a_device_that_says_everything_that_is_wrong_is_not_believed_and_nothing_stops(
    pair: tuple[Program, Program], rogue: Rogue, tmp_path: Path
) -> None:
    one, before = pair[0], begin(pair)
    most = forget_memory(one)
    place = one.library.parent
    outside = {*place.iterdir(), *tmp_path.iterdir()}
    wrong = {
        "noise": os.urandom(50_000),
        "another group's": heads.seal(bytes(32), State()).data,
        "altered": rogue.seal(manifest.dumps(State()))[:-1] + b"x",
        "no state": rogue.seal(b"nothing"),
        "a bomb": rogue.seal(BOMBS["blanks"]()),
        "many entries": rogue.seal(BOMBS["many entries"]()),
        "many devices": rogue.seal(BOMBS["many devices"]()),
        "of a newer version": rogue.seal(zlib.compress(b'{"version":2}')),
    }
    for name, data in wrong.items():
        lines = seeder.log(one).count("what another device says is left")
        rogue.point(rogue.keep(data))
        wait_until(lambda: seeder.log(one).count("what another device says is left") > lines, name)  # noqa: B023
    base = rogue.keep(rogue.seal(packed({})))
    for _ in range(DEEPEST):
        on_it, base = base, rogue.keep(rogue.seal(packed({"7e" * 32: {"title": [f"On {base}"]}}), base))
    lines = seeder.log(one).count("what another device says is left")
    rogue.point(rogue.keep(rogue.seal(packed({}), base)))
    wait_until(lambda: seeder.log(one).count("what another device says is left") > lines, "too many bases")
    titled = {"title": ["Of a base that has a base"], "file": [{"sha256": UID, "size": 9, "infohash": "b" * 40}]}
    rogue.point(rogue.keep(rogue.seal(packed({UID: titled}), on_it)))
    wait_until(lambda: "Of a base that has a base" in titles(one), "it to be merged")
    rogue.point(rogue.keep(rogue.seal(packed({"6d" * 32: titled}), InfoHash("dd" * 20))))  # which nobody has

    insist_that_it_goes_on(pair, before)
    assert memory(one) - most < 100_000, "KB"
    assert {path.suffix for path in {*place.iterdir(), *tmp_path.iterdir()} - outside} == {".flac"}
    assert "Traceback" not in seeder.log(one)


def test_what_is_said_takes_no_more_of_a_disk_than_it_has_room_for(memosync: Program, tmp_path: Path) -> None:
    """A hundredth of a disk with less than a gigabyte; words are small, and come all the same."""
    disk = SmallDisk(tmp_path / "disk", 30_000_000)
    try:
        small = memosync.on(disk.place / "Memos")
        small.under, small.library = disk.under, disk.seen / "Memos"
        memo_id = record(memosync, "Small")
        join(memosync, small)
        wait_until(lambda: titles(small) == ["Small"], "the words of it")
        rogue = Rogue(small, tmp_path / "rogue")
        uids = [f"{number:064x}" for number in range(300)]
        large = packed({uid: {"description": [os.urandom(2000).hex(), 5, 0, THEM]} for uid in uids})
        rogue.point(rogue.keep(rogue.seal(large)))

        wait_until(lambda: "more than there is room for" in seeder.log(small), "it to be refused")
        wait_until(lambda: "no room on its disk" in memosync("sync").out, "the row to say it")
        names = list((small.library / ".memosync" / "sync").iterdir())
        assert max(path.stat().st_size for path in names) < 300_000
        rogue.close()
        memosync("edit", memo_id, "--title", "Small still")
        wait_until(lambda: "Small still" in titles(small), "the new words")
        small("seed", "--stop")
    finally:
        disk.close()


def test_a_torrent_that_is_no_head_is_left_and_leaves_nothing(pair: tuple[Program, Program], rogue: Rogue) -> None:
    one, before = pair[0], begin(pair)
    files = [{b"length": 20_000, b"path": [b"..", b"..", b"index.toml"]}, {b"length": 20_000, b"path": [b"b"]}]
    piece = {b"piece length": 16_384, b"name": b"x"}
    torrents: list[dict[bytes, Any]] = [
        {**piece, b"length": 10**9, b"piece length": 2**20, b"pieces": bytes(20 * 954)},
        {**piece, b"files": files, b"pieces": bytes(60)},
    ]
    said = seeder.log(one).count("is not what it said")
    rogue.point(large := rogue.keep(bytes(heads.LARGEST + 1)))
    wait_until(lambda: seeder.log(one).count("is not what it said") > said, "a word of it in the log")
    for info in torrents:
        rogue.point(infohash := rogue.serve(info))
        wait_until(lambda: rogue.given(infohash) > 500, "it to have been asked for")
    assert rogue.given(large) < 1_000_000, "bytes"

    insist_that_it_goes_on(pair, before)
    assert not [path for path in (one.library / ".memosync" / "sync").iterdir() if path.is_dir()]


def test_a_device_that_points_elsewhere_all_the_time_costs_little(pair: tuple[Program, Program], rogue: Rogue) -> None:
    before = begin(pair)
    old = rogue.keep(rogue.seal(packed({})))
    for number in range(20):
        rogue.point(InfoHash(f"{number:040x}"))
        rogue.point(old)
        with rogue.lock:
            rogue.meeting.poll(0.05)

    insist_that_it_goes_on(pair, before)


def said_of(program: Program, uid: str) -> list[str]:
    """Give the titles that the index has for a memo."""
    return [entry["title"] for entry in entries(program) if entry.get("uid") == uid]


def test_a_pointer_that_is_none_is_passed_over(pair: tuple[Program, Program], tmp_path: Path) -> None:
    before, (me, *_) = begin(pair), [json.loads(line)["device"] for line in pair[0]("sync", "--json").lines]
    for lie in ("a wrong tag", "every piece", "our name"):
        rogue = Rogue(pair[0], tmp_path / lie, me if lie == "our name" else THEM)
        head = rogue.keep(rogue.seal(packed({LIED: {"title": [f"A lie: {lie}"]}})))
        if lie == "our name":
            rogue.point(head)
            with rogue.lock:
                rogue.meeting.call({"": [f"127.0.0.1:{known.read(Library(program.library)).port}" for program in pair]})
            wait_until(lambda: said_of(pair[1], LIED) == ["A lie: our name"], "it to be heard by who is not called so")
        else:
            said = bytes.fromhex(head) + bytes.fromhex(THEM)
            said += sealing.tag(sealing.keep_key(rogue.secret), "pointer", said, 8)
            with rogue.lock:
                rogue.meeting._said = b"\xff" * len(said) if lie == "every piece" else said[:-1] + bytes([said[-1] ^ 1])
                rogue.meeting._ring()

        insist_that_it_goes_on(pair, before)
        rogue.close()
        if lie != "our name":
            assert not said_of(pair[0], LIED)
    assert len(pair[0]("sync").lines) == 2
