"""On disks of coarse time stamps, of one second (ext2, by fuse2fs) or two (vfat, by fusefat), every change is seen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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

from memosync.magnet import parse

SOUND = sound.wav(sound.tone(0.5))
CHANGES = """
import sys
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
print(len(set(seen)), len({number for _, number in seen}), seen == sorted(seen, key=lambda one: one[0]))
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

    assert done.stdout == b"8 8 True\n", done.stderr.decode()


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
