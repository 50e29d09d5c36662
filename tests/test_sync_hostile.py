"""Libraries in sync beside somebody who lies: a device of the group, or a stranger at the meeting place."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import libtorrent as lt
import pytest
from support import seeder
from support.disk import SmallDisk
from support.handshake import offers
from support.library import entries
from support.pairs import join, record, titles, wait_for
from support.program import Program
from support.waiting import wait_until

from memosync import manifest, sealing
from memosync.console import Console
from memosync.errors import TorrentError
from memosync.library import group, heads, keys, known
from memosync.library.adopt import open_library
from memosync.library.store import Library
from memosync.magnet import InfoHash
from memosync.manifest import State
from memosync.network import Network
from memosync.seeder import sync
from memosync.seeder.bases import DEEPEST
from memosync.stop import Stop
from memosync.torrent.exchange import Exchange
from memosync.torrent.meeting import _ASKED, _AT_MEETING, _SAID, Meeting, _hollow
from memosync.torrent.metainfo import Metainfo

SECRET = bytes(range(32))
UID, LIED = "5c" * 32, "1e" * 32
ME, THEM = "00000001", "7be1c20d"
SILENT = Console()
MORE = itertools.count()  # for titles that nothing has yet
LATEST = [manifest.MOST_MS - 1, manifest.MOST_TURNS - 1, "ffffffff"]  # the end of the year 9999
MEASURE = """
import sys
from memosync import manifest
from memosync.errors import TorrentError
def memory(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))
data = sys.stdin.buffer.read()
before = memory("VmRSS:")
try:
    manifest.loads(data)
except TorrentError as error:
    print(error)
print(memory("VmHWM:") - before)
"""
NUMBERED = [f"{number:064x}" for number in range(300_000)]


def packed(memos: Any, devices: Any = None) -> bytes:
    """Write a state as it is on the wire, whatever is in it."""
    return zlib.compress(json.dumps({"version": 1, "memos": memos, "devices": devices or {}}).encode())


def packed_text(text: str) -> bytes:
    return zlib.compress(f'{{"devices":{{}},"memos":{text},"version":1}}'.encode())


BOMBS = {
    "blanks": lambda: zlib.compress(b'{"version":1,"memos":{}' + b" " * 2 * 10**8 + b"}", 1),
    "one word": lambda: zlib.compress(b'{"memos":"' + b"a" * 2 * 10**8 + b'"}', 1),
    "a million entries": lambda: packed_text("{" + ",".join(f'"{uid}":{{}}' for uid in NUMBERED * 4) + "}"),
    "many entries": lambda: packed_text("{" + ",".join(f'"{uid}":{{"x":[1]}}' for uid in NUMBERED) + "}"),
    "many objects": lambda: packed_text("[" + ",".join(['{"a":1}'] * 740_000) + "]"),
    "many lists": lambda: packed_text("[" + ",".join(["[[]]"] * 490_000) + "]"),
    "wide letters": lambda: packed_text('{"a":"\U0001f600' + "a" * 31_000_000 + '"}'),
    "many devices": lambda: packed({}, {f"{number:08x}": {"name": ["x"]} for number in range(100_000)}),
    "deep lists": lambda: packed_text("[" * 100_000 + "]" * 100_000),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_is_made_to_fill_the_memory_is_refused_and_does_not(bomb: str) -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE], input=BOMBS[bomb](), capture_output=True, check=True)

    said, more = done.stdout.decode().splitlines()
    assert said.startswith(("what a device says", "a device says more"))
    assert int(more) < 100_000, "KB"


def test_a_state_of_as_many_memos_as_may_be_is_read() -> None:
    cells: dict[str, Any] = {
        "title": ["Weekly standup, of many"],
        "recorded": ["2026-08-25T10:11:12+02:00"],
        "id": ["7k3f9x2a"],
    }
    cells |= {"file": [{"sha256": UID, "size": 12345, "infohash": "a" * 40}], "tag:work": ["work", 5, 0, THEM]}

    assert len(manifest.loads(packed(dict.fromkeys(NUMBERED[: manifest.MOST_MEMOS], cells))).memos) == 50_000
    with pytest.raises(TorrentError):
        manifest.loads(packed({key: {"title": ["t"]} for key in NUMBERED[: manifest.MOST_MEMOS + 1]}))


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """A library that is in a group."""
    library = open_library(tmp_path / "Memos", SILENT)
    group.enter(library, SECRET)
    return library


@pytest.mark.parametrize("where", ["memos", "devices"])
def test_what_is_deep_is_dropped_and_never_in_the_way_of_writing(library: Library, where: str) -> None:
    deep = ",".join(f'"deep{depth}":[{"[" * depth}{"]" * depth},5,0,"{THEM}"]' for depth in range(30, 850, 3))
    row = f'{{"{UID if where == "memos" else THEM}":{{{deep},"trashed":["2026-09-01T08:00:00+00:00"]}}}}'
    theirs = manifest.loads(zlib.compress(f'{{"{where}":{row},"version":1}}'.encode()))

    group.merge_in(library, theirs, SILENT)

    (cells,) = (*theirs.memos.values(), *theirs.devices.values())
    assert set(cells) == {"trashed"}


def test_a_file_says_no_more_than_an_index_keeps(library: Library) -> None:
    file = {"sha256": UID, "size": 1, "infohash": "a" * 40}
    theirs = manifest.loads(packed({UID: {"file": [{**file, "more": "\ud800"}], "title": ["t"]}}))

    assert theirs.memos == {UID: {"title": ("t", manifest.BIRTH)}}


def test_devices_that_are_named_again_and_again_are_some_in_the_end(library: Library) -> None:
    known.say(library, ME, {"name": "laptop"})
    for number in range(5):
        group.merge_in(library, manifest.loads(packed({}, {THEM: {f"word{number}": ["x" * 20_000]}})), SILENT)
    for first in range(0, 600, 100):
        rows = {f"{number:08x}": {"name": [f"device {number}", 5, 0, THEM]} for number in range(first, first + 100)}
        group.merge_in(library, manifest.loads(packed({}, rows)), SILENT)

    long = {f"word{number}": ["x" * 20_000] for number in range(2)}
    assert manifest.loads(packed({}, {THEM: long})).devices == {}
    found = known.read(library).devices
    assert len(found) == manifest.MOST_DEVICES
    assert found[ME]["name"].value == "laptop"
    assert set(found[THEM]) == {"word0"}
    assert known.path_of(library).stat().st_size < 100_000


def test_more_memos_than_can_be_said_are_not_merged(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "MOST_MEMOS", 5)
    say = [{uid: {"title": ["t"]} for uid in NUMBERED[first : first + 4]} for first in (0, 4)]
    group.merge_in(library, manifest.loads(packed(say[0])), SILENT)

    with pytest.raises(TorrentError, match="more of its memos"):
        group.merge_in(library, manifest.loads(packed(say[1])), SILENT)
    assert len(library.index().memos) == 4


ODD: list[Any] = [
    None,
    0,
    1,
    -1,
    2**63,
    10**400,
    "",
    "x",
    "\u202e\x1b[31m",
    "9999-12-31T23:59:59+00:00",
    "0001-01-01T00:00:00+00:00",
]
ODD += [
    [],
    {},
    [[1]],
    {"a": None},
    "127.0.0.1:22",
    ["224.0.0.1:6881", 5, None, "x" * 90, "::1", "name.example:6881"] * 99,
]
ODD += [{"count": 2**62, "memos": ["zz", 3, "A" * 16], "why": ["room"]}, {"count": "1", "memos": {}, "why": {}}]
ODD += [[{"uid": UID, "sha256": UID, "size": 2**60, "infohash": "../"}, 3, None, {"uid": 5}] * 50]
FIELDS = [
    "title",
    "description",
    "recorded",
    "trashed",
    "renewals",
    "file",
    "id",
    "duration",
    "fetched",
    "tag:work",
    "new",
]
ROW = ["name", "since", "addresses", "lacks", "holds", "came_by", "gone", "new"]


def test_cells_of_every_wrong_kind_are_dropped_or_merged_and_the_library_goes_on(library: Library) -> None:
    for number, value in enumerate(ODD):
        for clock in ([], [5, 0, THEM], LATEST):
            memos = {f"{number:064x}": {field: [value, *clock] for field in FIELDS}}
            memos[UID] = memos[f"{number:064x}"]
            rows = {name: {field: [value, *clock] for field in ROW} for name in (THEM, ME)}
            group.merge_in(library, manifest.loads(packed(memos, rows)), SILENT)

    assert known.devices(known.read(library)).keys() == {THEM, ME}
    again = manifest.loads(manifest.dumps(group.state_of(library)))
    assert again == group.state_of(library)
    assert sorted(os.listdir(library.root)) == [".memosync", "index.toml"]
    known.say(library, ME, {"name": "laptop", "addresses": [], "lacks": {"count": 0, "memos": [], "why": ""}})
    memo = library.index().memos[0]
    library.update({memo.id: lambda memo: replace(memo, title="Mine")})


def test_what_a_device_says_of_itself_is_read_as_far_as_it_may_go() -> None:
    hold = {"uid": UID, "sha256": UID, "size": 1, "infohash": "a" * 40}
    said = {
        "name": ["two\nlines" + "n" * 100],
        "addresses": [[f"127.0.0.1:{6881 + number}" for number in range(50)]],
        "lacks": [{"count": 500, "memos": ["5c" * 8] * 500, "why": "because"}],
        "holds": [[hold] * 400],
    }

    def read(words: dict[str, Any]) -> known.Device:
        return known.devices(known.Known(devices={THEM: manifest.read_cells(words, {})}))[THEM]

    device = read(said)
    assert (len(device.name), "\n" in device.name, device.why) == (known.LONGEST_NAME, False, "")
    assert len(device.addresses) == known.MOST_ADDRESSES
    assert len(device.lacks) == len(device.holds) == known.MOST_LACKS
    assert not read({"holds": [[{**hold, "infohash": "../x"}, {**hold, "size": -1}]]}).holds


def test_only_what_may_be_an_address_is_called(library: Library) -> None:
    odd = ["127.0.0.1:22", "127.0.0.1:0", "127.0.0.1:70000", "name.example:6881", "[::1", "", "127.0.0.1", "127.1:6881"]
    rows = {THEM: {"addresses": [[*odd[:7], "127.0.0.1:6881"]]}, ME: {"addresses": [odd * 9]}}
    group.merge_in(library, manifest.loads(packed({}, rows)), SILENT)

    devices = known.devices(known.read(library))
    assert (devices[THEM].addresses, devices[ME].addresses) == (("127.0.0.1:6881",), ())


@pytest.mark.parametrize("cut", [0, 1, 24, 55, 56, 57, 80, -1, -17])
def test_a_head_that_is_cut_is_refused(cut: int) -> None:
    head = heads.seal(SECRET, State({UID: {"title": manifest.Cell("Weekly standup", manifest.BIRTH)}}))

    with pytest.raises(TorrentError):
        heads.open_head(SECRET, head.data[:cut])


def test_a_head_of_which_a_bit_is_flipped_or_of_another_group_is_refused() -> None:
    head = heads.seal(SECRET, State({UID: {"title": manifest.Cell("Weekly standup", manifest.BIRTH)}}))

    for at in range(0, len(head.data), 3):
        with pytest.raises(TorrentError):
            heads.open_head(SECRET, head.data[:at] + bytes([head.data[at] ^ 1]) + head.data[at + 1 :])
    with pytest.raises(TorrentError):
        heads.open_head(bytes(32), head.data)


@pytest.mark.parametrize("inner", [b"", b"x", b"x" * 57, bytes(100), zlib.compress(b"[]"), zlib.compress(b"3")])
@pytest.mark.parametrize("number", [0, 1, 2**32 - 1])
def test_an_envelope_with_anything_in_it_is_refused(inner: bytes, number: int) -> None:
    for version in (0, 1, 2, 255):
        for sealed in (inner, sealing.seal_bytes(sealing.read_key(SECRET), "head", inner)):
            envelope = bytes([version]) + bytes(20) + number.to_bytes(4, "big") + sealed
            data = sealing.seal_bytes(sealing.keep_key(SECRET), "hold", envelope)
            with pytest.raises(TorrentError):
                heads.open_head(SECRET, data)


class Rogue:
    """A device of the group that says what it likes."""

    def __init__(self, program: Program, place: Path, device: str = THEM) -> None:
        library = Library(program.library)
        self.secret, self.place = keys.secret(library), place
        place.mkdir()
        keep = sealing.keep_key(self.secret)
        self.meeting = Meeting(Network.LOOPBACK, keep=keep, device=device, place=place, log=lambda _text: None)
        act = self.meeting.exchange.handle_alert
        self.meeting.exchange.handle_alert = lambda alert: (  # type: ignore[method-assign]
            None if isinstance(alert, lt.fastresume_rejected_alert) else act(alert)  # it gives what it has not
        )
        self.calls = [f"127.0.0.1:{known.read(library).port}"]
        self.meeting.call({"": self.calls})
        self.lock, self.ends = threading.Lock(), threading.Event()
        self.thread = threading.Thread(target=self._poll, daemon=True)  # a test that fails closes nothing
        self.thread.start()

    def _poll(self) -> None:
        while not self.ends.is_set():
            with self.lock:
                self.meeting.poll(0.02)
            self.ends.wait(0.005)

    def keep(self, data: bytes) -> InfoHash:
        """Serve these bytes as what a device says."""
        head = heads.describe(data)
        (self.place / head.infohash).write_bytes(data)
        with self.lock:
            self.meeting.exchange.serve(head.torrent, self.place / head.infohash)
        return head.infohash

    def serve(self, info: dict[bytes, Any]) -> InfoHash:
        """Serve a torrent of which nothing is there but what it says of itself."""
        entry: Any = {b"info": info}
        data = lt.bencode(entry)
        infohash = InfoHash(str(lt.load_torrent_buffer(data).info_hashes.v1))
        with self.lock:
            self.meeting.exchange.serve(
                Metainfo(infohash=infohash, name="", size=0, piece_length=0, pieces=b"", data=data),
                self.place / "nothing",
            )
        return infohash

    def given(self, infohash: InfoHash) -> int:
        """Give the bytes that others had of a torrent, what it says of itself included."""
        with self.lock:
            torrent = self.meeting.exchange._torrents.get(infohash)
            if not torrent:  # its file was asked for, which is not there
                return sys.maxsize
            return torrent.handle.status().total_upload if torrent.handle else 0

    def point(self, infohash: InfoHash) -> None:
        with self.lock:
            self.meeting.point(infohash)

    def seal(self, state: bytes, base: InfoHash | None = None) -> bytes:
        """Seal a state, or what is none, into a head."""
        inner = sealing.seal_bytes(sealing.read_key(self.secret), "head", state)
        envelope = bytes([1]) + (bytes.fromhex(base) if base else bytes(20)) + bytes(4)
        return sealing.seal_bytes(sealing.keep_key(self.secret), "hold", envelope + inner)

    def close(self) -> None:
        self.ends.set()
        self.thread.join()
        with self.lock:
            self.meeting.close()


@pytest.mark.parametrize("forgetful", [False, True], ids=["", "one that forgets what it merged does"])
def test_a_head_that_was_merged_is_never_fetched_again(
    memosync: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgetful: bool
) -> None:
    library, fetched, looks = open_library(memosync.library, SILENT), list[InfoHash](), list[float]()
    group.enter(library, SECRET)
    fetch, hear = Exchange.fetch, sync._Part._hear

    def counted_fetch(exchange: Exchange, head: InfoHash, *args: Any, **more: Any) -> None:
        fetched.append(head)
        fetch(exchange, head, *args, **more)

    def counted_hear(part: sync._Part) -> None:
        looks.append(time.monotonic())
        hear(part)

    monkeypatch.setattr(Exchange, "fetch", counted_fetch)
    monkeypatch.setattr(sync._Part, "_hear", counted_hear)
    for name in ("KEPT", "AGAIN"):  # else it would be served on for ten minutes, and not be fetched for that
        monkeypatch.setattr(sync, name, 0.0)
    if forgetful:
        monkeypatch.setattr(sync._Part, "_remember", lambda part, head: None)
    part, stop = sync.Sync(library.root, Network.LOOPBACK, up=0, down=0, log=lambda text: None), Stop()
    thread = threading.Thread(target=part.run, args=[stop])
    thread.start()
    wait_until(lambda: bool(known.read(library).port), "it to take part", 20)
    rogue = Rogue(memosync, tmp_path / "rogue")
    try:
        cells = manifest.read_cells({"file": [{"sha256": UID, "size": 9, "infohash": "b" * 40}]}, manifest.MEMO)
        head = rogue.keep(rogue.seal(manifest.dumps(State({UID: cells}))))
        rogue.point(head)
        wait_until(lambda: bool(library.index().memos), "what it says to be merged", 30)
        if not forgetful:
            assert part._taking_part
            exchange = part._taking_part._exchange
            wait_until(lambda: not exchange.has(head), "it to be let go", 20)
            seen = len(looks)
            wait_until(lambda: len(looks) > seen + 30, "it to look again and again", 30)
            assert fetched.count(head) == 1
        else:
            wait_until(lambda: fetched.count(head) > 1, "it to be fetched again", 30)
    finally:
        rogue.close()
        stop.set()
        thread.join()


@pytest.fixture
def rogue(pair: tuple[Program, Program], tmp_path: Path) -> Iterator[Rogue]:
    rogue = Rogue(pair[0], tmp_path / "rogue")
    yield rogue
    rogue.close()


def forget_memory(program: Program) -> int:
    """Give what the seeder has, in KB, and have its kernel forget that it ever had more."""
    Path(f"/proc/{seeder.state(program)['pid']}/clear_refs").write_text("5")
    return memory(program)


def memory(program: Program) -> int:
    """Give the most that the seeder had since then, in KB."""
    text = Path(f"/proc/{seeder.state(program)['pid']}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM"))


Before = tuple[list[int], list[str]]  # the processes of the seeders, and the titles of what is there


def begin(pair: tuple[Program, Program]) -> Before:
    """Have each device have a memo more, and give how they are before they hear of what is wrong."""
    one, other = pair
    for program in pair:
        record(program, f"Before {next(MORE)}")
    wait_until(lambda: titles(one) == titles(other), "both to have them")
    return [seeder.state(program)["pid"] for program in pair], titles(one)


def insist_that_it_goes_on(pair: tuple[Program, Program], before: Before) -> None:
    """Insist that what is new on each is on the other, that no memo is lost, and that no seeder died of it."""
    processes, there = before
    for program in pair:
        record(program, title := f"After {next(MORE)}")
        for each in pair:
            wait_for(title, each)
    for program in pair:
        assert {*there} <= {*titles(program)}
    assert [seeder.state(program)["pid"] for program in pair] == processes


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


def met(tmp_path: Path, *devices: str) -> list[Meeting]:
    """Give devices of one group that call each other."""
    said: dict[str, Any] = {"keep": bytes(range(32)), "place": tmp_path, "log": lambda _text: None}
    meetings = [Meeting(Network.LOOPBACK, device=device, **said) for device in devices]
    for meeting in meetings:
        others = [("127.0.0.1", other.port) for other in meetings if other is not meeting]
        meeting.call({"": [f"{host}:{port}" for host, port in others]})
        meeting.exchange.call({"": others}, {"": others}, ())
        meeting.point(InfoHash("0" * 40))
    return meetings


def polled(meetings: list[Meeting], condition: Callable[[], object]) -> Callable[[], object]:
    def holds() -> object:
        for meeting in meetings:
            meeting.poll(0.01)
        return condition()

    return holds


def test_who_calls_himself_as_we_are_called_is_no_other_device(tmp_path: Path) -> None:
    one, same, other = meetings = met(tmp_path, ME, ME, THEM)

    wait_until(polled(meetings, lambda: {*one.pointers, *same.pointers} == {THEM}), "both to meet the other one", 20)
    wait_until(polled(meetings, lambda: len(one._place.get_peer_info()) > 1), "the two to meet", 20)
    until = time.monotonic() + 1
    wait_until(polled(meetings, lambda: time.monotonic() > until), "a second", 20)

    assert one.pointers.keys() == same.pointers.keys() == {THEM}
    assert other.pointers.keys() == {ME}
    for meeting in meetings:
        meeting.close()


SAID = {"as it was said": True, "of two files": False, "larger": False, "of another size": False}


@pytest.mark.parametrize("kind", SAID)
def test_what_is_not_as_it_was_said_is_let_go(tmp_path: Path, kind: str) -> None:
    (tmp_path / "served" / "x").mkdir(parents=True)
    files = [{b"length": 20_000, b"path": [b"a"]}, {b"length": 20_000, b"path": [b"b"]}]
    data = bytes(40_000)
    pieces = b"".join(hashlib.sha1(data[at : at + 16_384]).digest() for at in range(0, len(data), 16_384))
    info: dict[bytes, Any] = {b"piece length": 16_384, b"name": b"x", b"pieces": pieces}
    info |= {b"files": files} if kind == "of two files" else {b"length": len(data)}
    entry: Any = {b"info": info}
    torrent = lt.bencode(entry)
    infohash = InfoHash(str(lt.load_torrent_buffer(torrent).info_hashes.v1))
    served = tmp_path / "served" / "first"
    served.write_bytes(data[:20_000] if kind == "of two files" else data)
    (tmp_path / "served" / "x" / "b").write_bytes(data[20_000:])
    one, other = meetings = met(tmp_path, ME, THEM)

    one.exchange.serve(Metainfo(infohash=infohash, name="", size=0, piece_length=0, pieces=b"", data=torrent), served)
    largest, size = 39_999 if kind == "larger" else 40_000, 39_000 if kind == "of another size" else 0
    other.exchange.fetch(infohash, tmp_path / "came", largest=largest, size=size)

    arrived: list[InfoHash] = []

    def is_over() -> bool:
        arrived.extend(other.exchange.arrived())
        return bool(arrived) or not other.exchange.has(infohash)

    wait_until(polled(meetings, is_over), "it to come, or to be let go", 30)
    assert bool(arrived) is SAID[kind]
    for meeting in meetings:
        meeting.close()


STRANGE: lt.settings_pack = {
    "in_enc_policy": 0,
    "out_enc_policy": 0,
    "allowed_enc_level": 2,
    "listen_interfaces": "127.0.0.1:0",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "aio_threads": 1,
}


class Stranger:
    """Somebody who knows of a torrent of the group's, encrypts as its devices do, and gives noise for its pieces."""

    def __init__(self, port: int, torrent: bytes, place: Path, *, gives: bool) -> None:
        place.mkdir()
        params = lt.load_torrent_buffer(torrent)
        assert params.ti
        if gives:
            (place / params.ti.name()).write_bytes(os.urandom(params.ti.total_size()))
            params.have_pieces = [True] * params.ti.num_pieces()
            params.flags |= lt.torrent_flags.no_verify_files
        params.save_path = str(place)
        params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        params.peers = [("127.0.0.1", port)]
        self.session = lt.session(STRANGE)
        self.handle = self.session.add_torrent(params)

    @property
    def was_there(self) -> bool:
        status = self.handle.status()
        return status.total_download + status.total_upload > 0


@pytest.mark.parametrize("kind", ["meeting", "pointer"])
def test_noise_and_a_crowd_where_devices_meet_do_not_keep_them_apart(
    pair: tuple[Program, Program], tmp_path: Path, kind: str
) -> None:
    """At the pointer only who has the secret can be: a device of the group that gives noise."""
    one, before = pair[0], begin(pair)
    most = forget_memory(one)
    library = Library(one.library)
    port, keep = known.read(library).port, sealing.keep_key(keys.secret(library))
    torrent = _hollow(keep, kind, 1 if kind == "meeting" else _SAID + 1)
    count = 60 if kind == "meeting" else 5
    strangers = [Stranger(port, torrent, tmp_path / f"stranger {n}", gives=n % 2 == 0) for n in range(count)]
    wait_until(lambda: sum(stranger.was_there for stranger in strangers) > count // 3, "a crowd")

    insist_that_it_goes_on(pair, before)
    for program in pair:  # they find each other anew
        program("seed", "--stop")
        program("sync")
    record(one, f"Once more, {kind}")
    wait_for(f"Once more, {kind}", pair[1])
    assert memory(one) - most < 100_000, "KB"


def test_who_knows_only_the_meeting_place_is_given_nothing_else(pair: tuple[Program, Program], tmp_path: Path) -> None:
    one = pair[0]
    library = Library(one.library)
    port, keep = known.read(library).port, sealing.keep_key(keys.secret(library))
    stranger = Stranger(port, _hollow(keep, "meeting", 1), tmp_path / "stranger", gives=False)
    wait_until(lambda: stranger.was_there, "to meet")
    record(one, "Secret")
    wait_for("Secret", pair[1])

    names = {InfoHash(path.name) for path in (one.library / ".memosync" / "sync").iterdir() if len(path.name) == 40}
    assert len(names) > 1
    for name in names:
        assert not offers(port, name)
    assert stranger.handle.status().total_payload_download == 0
    assert [str(handle.info_hashes().v1) for handle in stranger.session.get_torrents()] == [
        str(stranger.handle.info_hashes().v1)
    ]


def test_a_disk_that_would_not_take_what_a_stranger_sent_is_asked_again(tmp_path: Path) -> None:
    keep, place = bytes(range(32)), tmp_path / "place"
    place.touch()  # where a directory is to be
    meeting = Meeting(Network.LOOPBACK, keep=keep, device=ME, place=place, log=lambda _text: None)
    torrent = _hollow(keep, "meeting", 1)
    liar = Stranger(meeting.port, torrent, tmp_path / "liar", gives=True)

    def is_there(stranger: Stranger) -> bool:
        meeting.poll(0.02)
        return stranger.was_there and not meeting._stopped

    wait_until(lambda: not is_there(liar) and meeting._stopped, "the disk to refuse it")
    place.unlink()
    place.mkdir()

    def goes_on() -> bool:
        meeting.poll(0.02)
        return not meeting._place.status().flags & lt.torrent_flags.paused

    wait_until(goes_on, "it to be asked again")
    meeting.close()


@pytest.mark.parametrize("kind", ["meeting", "pointer"])
def test_nobody_is_answered_in_the_clear(tmp_path: Path, kind: str) -> None:
    (meeting,) = met(tmp_path, ME)
    torrent = _hollow(meeting._keep, kind, 1 if kind == "meeting" else _SAID + 1)

    assert not offers(meeting.port, str(lt.load_torrent_buffer(torrent).info_hashes.v1))

    stranger = Stranger(meeting.port, torrent, tmp_path / "stranger", gives=False)
    wait_until(polled([meeting], lambda: stranger.was_there), "one who encrypts to be there", 20)
    meeting.close()


def test_of_a_crowd_where_devices_meet_some_are_asked_whether_they_are_of_the_group(tmp_path: Path) -> None:
    (meeting,) = met(tmp_path, ME)
    meeting._session.apply_settings({"enable_outgoing_utp": False})
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3 * _ASKED)]
        for one in crowd:
            meeting._meet(("127.0.0.1", one.getsockname()[1]))

        def called() -> int:
            return len(select.select(crowd, [], [], 0)[0])

        wait_until(polled([meeting], lambda: called() >= _ASKED), "some to be called", 20)
        until = time.monotonic() + 1
        wait_until(polled([meeting], lambda: time.monotonic() > until), "a second", 20)
        assert called() == _ASKED
    assert meeting._place.max_connections() == _AT_MEETING
    meeting.close()


def test_nobody_is_told_of_a_torrent_but_of_the_meeting_place(tmp_path: Path) -> None:
    (meeting,) = met(tmp_path, ME)
    head = heads.describe(b"what a device says")
    (tmp_path / "head").write_bytes(head.data)
    meeting.exchange.serve(head.torrent, tmp_path / "head")
    meeting.exchange.fetch(InfoHash("dd" * 20), tmp_path / "other", largest=1)
    wait_until(polled([meeting], lambda: len(meeting._session.get_torrents()) == 4), "all to be there", 20)

    apart = lt.torrent_flags.disable_dht | lt.torrent_flags.disable_lsd | lt.torrent_flags.disable_pex
    for torrent in meeting._session.get_torrents():
        assert (torrent == meeting._place) or (torrent.flags() & apart == apart and not torrent.trackers())
    meeting.close()


def test_who_calls_often_takes_the_place_of_nobody_who_is_asked_whether_he_is_of_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He calls by TCP, from a port at which nobody listens."""
    monkeypatch.setitem(STRANGE, "enable_outgoing_utp", False)
    keep = bytes(range(32))
    one, other = (
        Meeting(Network.LOOPBACK, keep=keep, device=device, place=tmp_path, log=lambda _text: None)
        for device in (ME, THEM)
    )
    for meeting in (one, other):
        meeting._session.apply_settings({"enable_outgoing_utp": False})
        meeting.point(InfoHash("0" * 40))
    torrent = _hollow(keep, "meeting", 1)
    callers = [Stranger(one.port, torrent, tmp_path / f"caller {n}", gives=False) for n in range(_ASKED + 1)]

    def poll() -> None:
        for meeting in (one, other):
            meeting.poll(0.01)

    def have_called() -> bool:
        poll()
        return all(caller.was_there for caller in callers)

    wait_until(have_called, "all to call", 60)
    one._place.connect_peer(("127.0.0.1", other.port))  # as a tracker or a node names it

    def is_found() -> bool:
        poll()
        return THEM in one.pointers

    wait_until(is_found, "it to be found among them", 20)
    for meeting in (one, other):
        meeting.close()
