"""On disks of coarse time stamps, of one second (ext2, by fuse2fs) or two (vfat, by fusefat), every change is seen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import sound
from support.disk import CoarseDisk
from support.handshake import offers
from support.library import entries
from support.program import Program
from support.seeder import state
from support.waiting import wait_until

from memosync import files
from memosync.magnet import parse

SOUND = sound.wav(sound.tone(0.5))
CHANGES = """
import sys
import time
from pathlib import Path
from memosync.library.served import revision
from memosync.library.store import Library
from support.library import add
one, other = Library(Path(sys.argv[1])), Library(Path(sys.argv[1]))
seen = []
for number in range(8):
    one.transaction(add(number))
    assert len(other.index().memos) == number + 1
    seen.append((one.index_time(), revision(one)))
print(len({at for at, _ in seen}), len({number for _, number in seen}), seen == sorted(seen, key=lambda one: one[0]))
"""


@pytest.fixture(params=["ext2", "vfat"])
def disk(memosync: Program, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[CoarseDisk]:
    disk = CoarseDisk(tmp_path / "disk", request.param)
    memosync.environment["MEMOSYNC_LIBRARY"] = str(tmp_path / "disk" / "Memos")
    memosync.library = disk.seen / "Memos"
    memosync.under = disk.under
    probe = disk.seen / "probe"
    probe.touch()
    os.utime(probe, ns=2 * (1_700_000_001_700_000_000,))
    assert probe.stat().st_mtime == {"ext2": 1_700_000_001, "vfat": 1_700_000_000}[request.param]
    yield disk
    memosync.run("seed", "--stop")
    disk.close()


def test_two_changes_of_one_second_have_two_stamps(disk: CoarseDisk, memosync: Program, tmp_path: Path) -> None:
    command = [*disk.under, sys.executable, "-c", CHANGES, memosync.environment["MEMOSYNC_LIBRARY"]]
    done = subprocess.run(command, env={**memosync.environment, "PYTHONPATH": ":".join(sys.path)}, capture_output=True)

    # fusefat 0.1a sets the time anew as a file is closed: there it is another file by its number
    stamps, *seen = done.stdout.split()
    assert (seen, stamps == b"8" or disk.kind == "vfat") == ([b"8", b"True"], True), done.stderr.decode()


@pytest.mark.parametrize("grain", [1, 1_000, 10**9, 2 * 10**9])  # ns
def test_what_is_written_is_newer_than_what_was_whatever_the_grain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grain: int
) -> None:
    path, later, keep = tmp_path / "index.toml", 10**9 * (int(time.time()) // 2 * 2 + 1_000), os.utime
    monkeypatch.setattr(os, "utime", lambda file, ns: keep(file, ns=tuple(one // grain * grain for one in ns)))

    files.write(path, b"new", newer_than=later)

    assert later < path.stat().st_mtime_ns <= later + 2 * 10**9


def test_of_six_shares_in_a_row_each_is_served_and_one_that_was_stopped_is_not(
    disk: CoarseDisk, memosync: Program, tmp_path: Path
) -> None:
    elsewhere = memosync.on(tmp_path / "Elsewhere")
    for number in range(6):
        elsewhere("record", "-", "-t", str(number), stdin=SOUND)
    memosync.library.mkdir()
    for name in ("index.toml", *(entry["file"] for entry in entries(elsewhere))):
        # in one piece: fusefat 0.1a damages what is written to twice, as a recording is
        shutil.copyfile(elsewhere.library / name, memosync.library / name)
    ids = [entry["id"] for entry in entries(memosync)]

    links = [parse(memosync("share", memo).out.strip()) for memo in ids]

    port = state(memosync)["port"]
    assert [offers(port, link.infohash) for link in links] == 6 * [True]
    memosync("share", "--stop", ids[-1])
    wait_until(lambda: not offers(port, links[-1].infohash), "the last one not to be served any more", 20)
    assert [offers(port, link.infohash) for link in links[:-1]] == 5 * [True]
