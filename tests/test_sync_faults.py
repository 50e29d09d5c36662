"""Libraries in sync on disks that are full, broken, read-only or altered: old or new, nothing lost, and it goes on."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
from pathlib import Path

import pytest
from proof.refusal import refusing
from support import seeder
from support.disk import SmallDisk, read_only
from support.group import SECRET, SILENT, WHEN, edit, only, tell, words
from support.group import record as put
from support.library import memos
from support.pairs import join, record, titles, wait_for
from support.program import Program
from support.tracker import Tracker
from support.waiting import wait_until

from memosync.errors import LibraryError
from memosync.library import group, heads, identity, known, trash
from memosync.library.adopt import open_library
from memosync.library.store import Library
from memosync.network import Network
from memosync.torrent.meeting import Meeting

REFUSES = """
import errno, os
def refuse(call):
    def refused(*arguments, **more):
        last = os.fspath(arguments[1] if call.__name__ in ("replace", "rename", "link") else arguments[0])
        writes = call.__name__ != "open" or arguments[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and any(name in last for name in {names!r}) and os.path.exists({sign!r}):
            raise OSError(errno.{error}, os.strerror(errno.{error}), last)
        return call(*arguments, **more)
    return refused
for name in ("open", "replace", "rename", "link"):
    setattr(os, name, refuse(getattr(os, name)))
"""  # as long as a file, the sign, is there


def made(place: Path) -> Library:
    library = open_library(place, SILENT)
    group.enter(library, SECRET)
    return library


@pytest.fixture
def other(memosync: Program, tmp_path: Path) -> Program:
    return memosync.on(tmp_path / "Other")


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
def test_a_write_that_is_refused_while_a_state_is_merged_leaves_the_old_one_or_the_new(
    tmp_path: Path, error: int, for_good: bool
) -> None:
    one, other = made(tmp_path / "one"), made(tmp_path / "other")
    kept, thrown, purged = (put(one, number) for number in (1, 2, 3))
    tell(one, other)
    trash.purge(other, trash.put(other, [purged], WHEN).values())
    edit(one, kept, title="Standup")
    trash.put(one, [thrown], WHEN)
    put(one, 4)
    identity.identify(one, SILENT)
    theirs, before = group.state_of(one), words(other)

    for after in itertools.count():
        copy = Library(tmp_path / f"copy{after}")
        shutil.copytree(other.root, copy.root)
        with refusing(after, error, for_good) as refused, contextlib.suppress(LibraryError):
            group.merge_in(copy, theirs, SILENT)
        copy = open_library(copy.root, SILENT)
        found = words(copy)
        group.merge_in(copy, theirs, SILENT)
        assert found in (before, words(copy))
        assert sorted(os.listdir(copy.trash)) == sorted(memo.file for memo in copy.index().memos if memo.trashed)
        shutil.rmtree(copy.root)
        if not refused:
            break
    assert after > 15
    assert words(copy) != before


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
def test_a_write_that_is_refused_while_a_memo_arrives_loses_neither_it_nor_the_one_before(
    tmp_path: Path, error: int
) -> None:
    one, other = made(tmp_path / "one"), made(tmp_path / "other")
    memo_id = put(one, 1)
    tell(one, other)
    before = other.path(only(other)).read_bytes()
    edit(one, memo_id, title="Standup")
    new = put(one, 2)
    identity.identify(one, SILENT)
    group.merge_in(other, group.state_of(one), SILENT)
    (memo,) = (memo for memo in one.index().memos if memo.id == new)
    came = one.path(memo).read_bytes()

    for after in itertools.count():
        copy = Library(tmp_path / f"copy{after}")
        shutil.copytree(other.root, copy.root)
        (copy.inner / "arrived").write_bytes(came)
        with refusing(after, error, True) as refused, contextlib.suppress(LibraryError):
            group.take(copy, memo.uid or "", copy.inner / "arrived")
        copy = open_library(copy.root, SILENT)
        held = {copy.path(held).read_bytes() for held in copy.index().memos if copy.path(held).exists()}
        left = copy.inner / "arrived"
        assert before in held
        assert came in held or left.read_bytes() == came
        shutil.rmtree(copy.root)
        if not refused:
            break
    assert after > 1


@pytest.mark.parametrize(("name", "error"), [("index.toml", "ENOSPC"), ("/sync/", "EIO"), (".webm", "ENOSPC")])
def test_a_disk_that_refused_to_keep_what_came_is_asked_again(
    memosync: Program, other: Program, tmp_path: Path, name: str, error: str
) -> None:
    sign = tmp_path / "full"
    other.meddle(REFUSES.format(names=[name], sign=str(sign), error=error))
    join(memosync, other)
    record(memosync, "Before")
    wait_for("Before", other)
    lines = len(seeder.log(other).splitlines())

    sign.touch()
    record(memosync, "Meanwhile")
    wait_until(lambda: len(seeder.log(other).splitlines()) > lines, "a word of it in the log")
    sign.unlink()

    wait_for("Meanwhile", other)
    assert titles(other) == titles(memosync)
    record(other, "Back")
    wait_for("Back", memosync)


def start(program: Program) -> None:
    program("sync")
    wait_until(lambda: "in sync as device" in seeder.log(program), "its part in the group")


def test_what_stands_in_the_way_of_sync_is_taken_away_or_said(memosync: Program, other: Program) -> None:
    join(memosync, other)
    other("seed", "--stop")
    place = other.library / ".memosync" / "sync"
    (place / "directory").mkdir(parents=True)
    (place / "directory" / "file").touch()
    (place / "link").symlink_to(memosync.library)
    (place / ("a" * 40)).symlink_to(memosync.library / "index.toml")

    record(memosync, "Meanwhile")
    other("sync")

    wait_for("Meanwhile", other)
    assert not {"directory", "link", "a" * 40} & {path.name for path in place.iterdir()}
    assert (memosync.library / "index.toml").exists()


def test_nothing_is_kept_where_a_link_leads(memosync: Program, other: Program, tmp_path: Path) -> None:
    join(memosync, other)
    other("seed", "--stop")
    place = other.library / ".memosync" / "sync"
    shutil.rmtree(place)
    (elsewhere := tmp_path / "elsewhere").mkdir()
    place.symlink_to(elsewhere)
    record(memosync, "Meanwhile")

    assert "a symbolic link" in other("sync", code=LibraryError.exit_code).err
    assert not list(elsewhere.iterdir())

    place.unlink()
    other("sync")
    wait_for("Meanwhile", other)


@pytest.mark.parametrize("said", [b"", b"devices = 3\nmet = []\nbase = 5\n", b"[graves]\nx = 'x'\n[devices]\nx = 5\n"])
def test_what_is_known_of_others_may_be_lost(memosync: Program, other: Program, said: bytes) -> None:
    join(memosync, other)
    record(other, "Before")
    wait_for("Before", memosync)
    other("seed", "--stop")
    library = Library(other.library)
    port = known.read(library).port
    known.path_of(library).write_bytes(f"port = {port}\n".encode() + said)
    record(memosync, "Meanwhile")

    other("sync")

    wait_for("Meanwhile", other)
    wait_until(lambda: len(other("sync").lines) == 2, "the other device to be known again")


def test_devices_that_all_lost_it_meet_at_the_trackers_of_their_group(memosync: Program, other: Program) -> None:
    with Tracker() as tracker:  # nothing else names one of them to the other here
        join(memosync, other, "--tracker", tracker.udp_url)
        for program in (memosync, other):
            program("seed", "--stop")
            known.path_of(Library(program.library)).unlink()
        for program in (memosync, other):
            program("sync")

        record(memosync, "Since then")

        wait_for("Since then", other)


def test_other_trackers_count_at_once_for_a_seeder_that_runs(memosync: Program, other: Program) -> None:
    join(memosync, other)
    with Tracker() as tracker:
        memosync("sync", "--invite", "device", "--tracker", tracker.udp_url)

        wait_until(lambda: len(tracker.swarms) == 2, "the meeting place and the invitation to be announced there")
        record(memosync, "Since then")
        wait_for("Since then", other)
        memosync("sync", "--leave")
        memosync("sync", "--invite", "device")
        assert not Library(memosync.library).index().meeting, "they were another group's"


def test_what_is_known_of_others_cannot_be_kept_and_that_is_said(memosync: Program, other: Program) -> None:
    join(memosync, other)
    other("seed", "--stop")
    path = known.path_of(Library(other.library))
    path.unlink()
    path.mkdir()

    assert "takes no part in sync" in other("sync").err
    wait_until(lambda: "keep what is known of the other devices" in seeder.log(other), "the reason")


@pytest.mark.parametrize("secret", [None, b"", b"short", bytes(32)], ids=str)
def test_without_its_secret_a_library_says_so_and_keeps_its_memos(
    memosync: Program, other: Program, secret: bytes | None
) -> None:
    join(memosync, other)
    record(other, "Mine")
    path = other.library / ".memosync" / "keys" / "library"
    other("seed", "--stop")
    path.unlink()
    if secret is not None:
        path.write_bytes(secret)

    refused = other("sync", code=6)
    other("seed", "--detach")

    assert "keys/library" in refused.err
    assert "--leave" in refused.err
    wait_until(lambda: "keys/library" in seeder.log(other), "the same in the log")
    assert titles(other) == ["Mine"]
    assert not (path.exists() if secret is None else path.read_bytes() != secret)


def test_a_library_that_cannot_be_written_is_listed_and_says_why_it_is_not_in_sync(
    memosync: Program, other: Program
) -> None:
    join(memosync, other)
    record(memosync, "Before")
    wait_for("Before", other)
    other("seed", "--stop")
    other.under = read_only(other.library)

    assert "Before" in other("list").out
    other("show", "last")
    refused = other("sync", code=6)

    assert len([line for line in refused.err.splitlines() if "error:" in line]) == 1
    assert "Traceback" not in refused.err


def test_a_disk_without_room_says_so_in_its_row(memosync: Program, tmp_path: Path) -> None:
    disk = SmallDisk(tmp_path / "disk", 30_000_000)
    try:
        small = memosync.on(disk.place / "Memos")
        small.under = disk.under
        record(memosync, "Too much")
        join(memosync, small)

        wait_until(lambda: "no room on its disk" in memosync("sync").out, "the row to say it")
        assert "no room on its disk" in small("sync").out
        assert "is not here yet" in small("play", "last", code=4).err
        small("seed", "--stop")
    finally:
        disk.close()


def test_what_is_done_while_heads_are_merged_counts(memosync: Program, other: Program) -> None:
    join(memosync, other)
    ids = [record(other, f"Memo {number}") for number in range(4)]
    for number in range(4):
        wait_for(f"Memo {number}", memosync)
    busy = [memosync.start("edit", ids[0], "--description", f"word {number}") for number in range(6)]
    other("edit", ids[0], "--title", "Edited meanwhile")
    other("rm", ids[1])
    other("rm", ids[2])
    other("restore", ids[2])
    assert [process.wait(60) for process in busy] == [0] * len(busy)

    def said(program: Program) -> list[tuple[str, str]]:
        return sorted((memo["title"], memo["description"]) for memo in memos(program))

    wait_until(lambda: said(memosync) == said(other), "both to be the same")
    wait_for("Edited meanwhile", memosync)
    assert titles(other) == ["Edited meanwhile", "Memo 2", "Memo 3"]


def test_who_leaves_while_memos_come_is_left_alone(memosync: Program, other: Program) -> None:
    join(memosync, other)
    coming = [memosync.start("edit", record(memosync, f"Memo {n}"), "--description", "a word") for n in range(4)]

    other("sync", "--leave")
    assert [process.wait(60) for process in coming] == [0] * len(coming)

    wait_until(lambda: not (other.library / ".memosync" / "sync").exists(), "what was said to be gone")
    assert not open_library(other.library, SILENT).index().group
    assert not (other.library / ".memosync" / "sync.toml").exists()
    assert all(Path(memo["path"]).exists() for memo in memos(other))
    record(memosync, "Later")
    assert "Traceback" not in seeder.log(other) + seeder.log(memosync)


def test_what_was_said_and_is_lost_on_the_disk_is_said_again(memosync: Program, other: Program) -> None:
    join(memosync, other)
    other("seed", "--stop")
    place = memosync.library / ".memosync" / "sync"
    before = set(place.iterdir())
    record(memosync, "Meanwhile")
    wait_until(lambda: set(place.iterdir()) - before, "it to be said")
    for path in place.iterdir():
        path.unlink()

    other("sync")

    wait_for("Meanwhile", other)


def test_what_is_gone_before_it_could_be_looked_at_is_not_called_served(tmp_path: Path) -> None:
    head = heads.describe(b"what a device says")
    meeting = Meeting(Network.LOOPBACK, keep=bytes(32), device="00000001", place=tmp_path, log=lambda _text: None)
    meeting.exchange.serve(head.torrent, tmp_path / "gone")

    def is_dropped() -> bool:
        meeting.poll(0.05)
        return not meeting.exchange.has(head.infohash)

    wait_until(is_dropped, "it to be dropped", 20)
    meeting.close()
