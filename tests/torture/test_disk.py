"""A disk that fills up at any point of a verb: exit 6, older memos as they were, and done as soon as there is room."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bench import CASES, NAMES, Bench, Origin, make_origin  # noqa: F401
from support.disk import SmallDisk
from support.program import Program

from memosync.errors import LibraryError

NEEDY = {"record a file", "record a pipe", "edit"}  # others make room by what they replace
NEEDY |= {"share", "share by another link", "share with anybody", "fetch", "fetch from anybody"}
PAGE = 4096  # bytes: what a tmpfs gives at a time


@pytest.mark.parametrize("name", NAMES)
def test_a_disk_that_fills_at_any_point_loses_nothing(
    origin: Origin, memosync: Program, disk: SmallDisk, name: str, long: bool, figure: Callable[[str], None]
) -> None:
    bench = Bench(CASES[name], origin, memosync)
    codes = []
    for pages in range(8) if long else [0]:
        bench.fresh()
        disk.fill(room=pages * PAGE)
        done = bench.run()
        bench.judge(done, f"room for {pages} pages", make_room=disk.make_room)
        codes.append(done.returncode)

    assert set(codes) <= {0, LibraryError.exit_code}
    assert codes[0] == LibraryError.exit_code or name not in NEEDY
    assert codes[-1] == 0 or not long
    figure(f"{name}: a full disk {codes.count(LibraryError.exit_code)} times, {codes.count(0)} times there was room")
