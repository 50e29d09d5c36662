"""What devices of a group may say, however wrong it is: refused, dropped or merged, and nothing stops or fills up."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.group import SECRET, SILENT
from support.rogue import BOMBS, NUMBERED, THEM, UID, packed

from memosync import manifest, sealing
from memosync.errors import TorrentError
from memosync.library import group, heads, known
from memosync.library.adopt import open_library
from memosync.library.store import Library
from memosync.manifest import State

ME = "00000001"
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
