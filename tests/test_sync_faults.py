"""Libraries in sync on disks that are full, broken, read-only or altered: old or new, nothing lost, and it goes on."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from proof.crash import refusing
from support import seeder
from support.disk import SmallDisk, read_only
from support.faults import REFUSES_WHILE
from support.group import SECRET, SILENT, WHEN, edit, only, tell, words
from support.group import record as put
from support.library import memos
from support.library import only as only_of
from support.pairs import is_in_index, join, record, titles, wait_for, wait_until_even
from support.program import PROGRAM, Program
from support.sound import altered
from support.terminal import Terminal
from support.tracker import Tracker
from support.waiting import wait_until

from memosync.audio import webm
from memosync.errors import LibraryError
from memosync.library import group, heads, identity, known, trash
from memosync.library.adopt import open_library
from memosync.library.store import Library
from memosync.memo import MemoId, Words
from memosync.network import Network
from memosync.seeder import sync
from memosync.stop import Stop
from memosync.torrent.meeting import Meeting

REFUSED = {"index.toml": "ENOSPC", "/sync/": "EIO", ".webm": "ENOSPC"}


def made(place: Path) -> Library:
    library = open_library(place, SILENT)
    group.enter(library, SECRET)
    return library


def holds(path: Path, data: bytes) -> bool:
    """Tell whether a file has these bytes; for a moment it may be nowhere, as it is replaced."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes() == data
    return False


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


def test_a_disk_that_refused_to_keep_what_came_is_asked_again(
    memosync: Program, other: Program, tmp_path: Path
) -> None:
    signs = {name: tmp_path / name.strip("./") for name in REFUSED}
    other.meddle(REFUSES_WHILE.format(refused=[(name, error, str(signs[name])) for name, error in REFUSED.items()]))
    join(memosync, other)
    del other.environment["PYTHONPATH"]  # its seeder alone has such a disk
    record(memosync, "Before")
    wait_for("Before", other)

    for name, sign in signs.items():
        lines = len(seeder.log(other).splitlines())
        sign.touch()
        record(memosync, f"While {sign.name} was refused")
        wait_until(lambda: len(seeder.log(other).splitlines()) > lines, f"a word of {name} in the log")  # noqa: B023
        sign.unlink()

        wait_for(f"While {sign.name} was refused", other)
        assert titles(other) == titles(memosync)
        record(other, f"Back after {sign.name}")
        wait_for(f"Back after {sign.name}", memosync)


def start(program: Program) -> None:
    program("sync")
    wait_until(lambda: "in sync as device" in seeder.log(program), "its part in the group")


def test_what_stands_in_the_way_of_sync_is_taken_away_or_said(used: tuple[Program, Program]) -> None:
    one, other = used
    other("seed", "--stop")
    place = other.library / ".memosync" / "sync"
    (place / "directory").mkdir(parents=True)
    (place / "directory" / "file").touch()
    (place / "link").symlink_to(one.library)
    (place / ("a" * 40)).symlink_to(one.library / "index.toml")

    record(one, "Past what was in the way")
    other("sync")

    wait_for("Past what was in the way", other)
    assert not {"directory", "link", "a" * 40} & {path.name for path in place.iterdir()}
    assert (one.library / "index.toml").exists()


def test_nothing_is_kept_where_a_link_leads(used: tuple[Program, Program], tmp_path: Path) -> None:
    one, other = used
    other("seed", "--stop")
    place = other.library / ".memosync" / "sync"
    shutil.rmtree(place)
    (elsewhere := tmp_path / "elsewhere").mkdir()
    place.symlink_to(elsewhere)
    record(one, "Beside a link")

    assert "a symbolic link" in other("sync", code=LibraryError.exit_code).err
    assert not list(elsewhere.iterdir())

    place.unlink()
    other("sync")
    wait_for("Beside a link", other)


def test_what_is_known_of_others_may_be_lost(used: tuple[Program, Program]) -> None:
    one, other = used
    library = Library(other.library)
    for number, said in enumerate((b"", b"met = []\nbase = 5\n[graves]\nx = 'x'\n[devices]\nx = 5\n")):
        other("seed", "--stop")
        port = known.read(library).port
        known.path_of(library).write_bytes(f"port = {port}\n".encode() + said)
        record(one, f"Lost {number}")

        other("sync")

        wait_for(f"Lost {number}", other)
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
        assert tracker.udp_url.removesuffix("/announce") in memosync("check", "--net").out
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


def test_without_its_secret_a_library_says_so_and_keeps_its_memos(used: tuple[Program, Program]) -> None:
    other = used[1]
    record(other, "Mine")
    path = other.library / ".memosync" / "keys" / "library"
    kept, before = path.read_bytes(), titles(other)
    other("seed", "--stop")
    for secret in (None, b"", b"short", bytes(32)):
        path.unlink(missing_ok=True)
        if secret is not None:
            path.write_bytes(secret)

        refused = other("sync", code=6)

        assert "keys/library" in refused.err
        assert (", is gone" in refused.err) is (secret is None)
        assert "--leave" in refused.err
        assert titles(other) == before
        if secret is None:
            assert "is gone" in other("share", "last", "--no-seed", code=LibraryError.exit_code).err
        assert not (path.exists() if secret is None else path.read_bytes() != secret)
    other("seed", "--detach")
    wait_until(lambda: "keys/library" in seeder.log(other), "the same in the log")
    path.write_bytes(kept)
    wait_until(lambda: seeder.state(other)["met"], "it to be in sync again")

    path.write_bytes(bytes(32))
    record(other, "Now it looks")

    wait_until(lambda: not seeder.state(other)["met"], "it to be in sync no longer")
    path.write_bytes(kept)


def test_a_library_that_cannot_be_written_is_listed_and_says_why_it_is_not_in_sync(
    used: tuple[Program, Program],
) -> None:
    one, other = used
    record(one, "Before")
    wait_for("Before", other)
    other("seed", "--stop")
    reader = other.on(other.library)
    reader.under = read_only(other.library)

    assert "Before" in reader("list").out
    reader("show", "last")
    for options in ([], ["--wait"], ["--invite", "device"], ["--name", "reader"], ["--forget", "x"], ["--leave"]):
        refused = reader("sync", *options, code=3 if "x" in options else 6)

        (line,) = [line for line in refused.err.splitlines() if "error:" in line]
        assert ("no device 'x'" if "x" in options else "read-only file system") in line, options
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
        terminal = Terminal([*disk.under, *PROGRAM, "sync", "--wait"], small.environment, columns=80)
        terminal.wait_for(lambda screen: "of 1 memo to come" in screen.text, "how far it is")
        terminal.type("\x03")
        terminal.end(130)
        terminal.close()
        small("seed", "--stop")
    finally:
        disk.close()


def test_what_is_done_while_heads_are_merged_counts(used: tuple[Program, Program]) -> None:
    one, other = used
    ids = [record(other, f"Memo {number}") for number in range(3)]
    for number in range(3):
        wait_for(f"Memo {number}", one)
    busy = [one.start("edit", ids[0], "--description", f"word {number}") for number in range(4)]
    other("edit", ids[0], "--title", "Edited meanwhile")
    other("rm", ids[1])
    other("rm", ids[2])
    other("restore", ids[2])
    assert [process.wait(60) for process in busy] == [0] * len(busy)

    def said(program: Program) -> list[tuple[str, str]]:
        return sorted((memo["title"], memo["description"]) for memo in memos(program))

    wait_until(lambda: said(one) == said(other), "both to be the same")
    wait_for("Edited meanwhile", one)
    assert {"Edited meanwhile", "Memo 2"} <= {*titles(other)}
    assert not {"Memo 0", "Memo 1"} & {*titles(other)}


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


def test_what_was_said_and_is_lost_on_the_disk_is_said_again(used: tuple[Program, Program]) -> None:
    one, other = used
    other("seed", "--stop")
    place = one.library / ".memosync" / "sync"

    def said() -> set[Path]:  # what is being written is none yet
        return {path for path in place.iterdir() if not path.name.startswith(".")}

    before = said()
    record(one, "Said twice")
    wait_until(lambda: said() - before, "it to be said")
    for path in said():
        path.unlink(missing_ok=True)

    other("sync")

    wait_for("Said twice", other)


def test_who_has_deleted_what_is_not_seen_leaves_and_joins_again_as_it_is_told_to(
    pair: tuple[Program, Program],
) -> None:
    one, other = pair
    record(one, "Interview")
    wait_for("Interview", other)
    other("seed", "--stop")
    shutil.rmtree(other.library / ".memosync")
    assert "memosync sync --leave, and join again" in other("sync", code=6).err

    assert "kept here: 1 memo" in other("sync", "--leave").err
    join(one, other)
    record(other, "Later")

    wait_for("Later", one)
    assert sorted(titles(one)) == sorted(titles(other)) == ["Interview", "Later"]


@pytest.mark.parametrize("is_one_off", [False, True], ids=["all are there", "one is off, and may have them"])
def test_where_nobody_has_the_bytes_that_all_are_to_have_others_of_the_same_sound_will_do(
    pair: tuple[Program, Program], tmp_path: Path, is_one_off: bool
) -> None:
    one, other = pair
    record(one, "Same sound")
    if is_one_off:
        third = one.on(tmp_path / "Third")
        join(one, third)
        wait_until_even((*pair, third))
        third("seed", "--stop")
    wait_for("Same sound", other)
    wait_until_even(pair)
    for program in pair:  # as after a power cut, and what was alone on a device that left
        program("seed", "--stop")
        program.meddle(f"from memosync.seeder import forms; forms.{'LONGER' if is_one_off else 'LONG'} = 1.0")
        path = Path(only_of(program)["path"])
        bare = path.with_name("bare")
        webm.finish(path, bare, Words(program.library.name, "", (), WHEN, MemoId(only_of(program)["id"])))
        bare.replace(path)

    for program in pair:
        program("sync")

    def files() -> set[bytes]:
        return {Path(only_of(program)["path"]).read_bytes() for program in pair}

    wait_until(lambda: len(files()) == 1, "both to have the same file", 60)
    assert b"Same sound" in files().pop(), "the words of now"
    if not is_one_off:
        waited = one("sync", "--wait", "--timeout", "20")
        assert [line.split("\t")[4:] for line in waited.lines] == [["0", "", "now"]] * 2


def test_a_file_that_a_disk_has_altered_is_told_and_comes_again(pair: tuple[Program, Program]) -> None:
    one, other = pair
    record(one, "Interview")
    wait_for("Interview", other)
    wait_until_even(pair)
    path = Path(only_of(other)["path"])
    right = path.read_bytes()
    other("seed", "--stop")
    other.meddle("from memosync.seeder import forms; forms.LOOK_AGAIN = 1.0")
    path.write_bytes(altered(right))

    assert f"{path.name} was altered: it is not what the other devices have" in other("check", code=6).out

    other("sync")
    wait_until(lambda: holds(path, right), "it to come again", 30)
    wait_until_even(pair)
    path.write_bytes(altered(right))  # of which the index says nothing
    wait_until(lambda: holds(path, right), "it to be looked at, and to come again", 30)
    assert "altered" not in other("check").out


@pytest.mark.parametrize("is_shared", [False, True], ids=["bare", "shared"])
def test_a_device_says_that_it_lacks_what_is_damaged_there_until_it_comes_again(
    pair: tuple[Program, Program], is_shared: bool
) -> None:
    one, other = pair
    record(one, "Interview")
    wait_for("Interview", other)
    if is_shared:
        other("share", "last")
    wait_until_even(pair)
    path = Path(only_of(other)["path"])
    right = path.read_bytes()
    assert path.read_bytes() == Path(only_of(one)["path"]).read_bytes()
    one("seed", "--stop")
    other("seed", "--stop")
    path.write_bytes(altered(right))
    assert other("check", code=6).out.count("was altered") == 1

    other("sync")
    alone = "\t1\tdamaged, no other device is there\t"
    wait_until(lambda: alone in other("sync").out, "the row to say it", 30)
    one("sync")
    other("sync", "--wait")
    assert path.read_bytes() == right
    wait_until_even(pair)

    assert "damaged" not in other("sync").out + one("sync").out
    assert "altered" not in other("check").out
    assert only_of(other)["private"] == is_shared


def test_what_is_gone_before_it_could_be_looked_at_is_not_called_served(tmp_path: Path) -> None:
    head = heads.describe(b"what a device says")
    meeting = Meeting(Network.LOOPBACK, keep=bytes(32), device="00000001", place=tmp_path, log=lambda _text: None)
    meeting.exchange.serve(head.torrent, tmp_path / "gone")

    def is_dropped() -> bool:
        meeting.poll(0.05)
        return not meeting.exchange.has(head.infohash)

    wait_until(is_dropped, "it to be dropped", 20)
    meeting.close()


@pytest.fixture
def long(pair: tuple[Program, Program]) -> tuple[Program, Program, bytes]:
    """Two devices that know the same, and whose last word was so long that what is said next stands on it.

    And the other one's index from before that.
    """
    one, other = pair
    record(one, "Long")
    wait_for("Long", other)
    wait_until_even(pair)
    before = (other.library / "index.toml").read_bytes()
    long = "".join(map(chr, random.Random(1).choices(range(0x4E00, 0x9FA0), k=1500)))
    one("edit", "last", "--title", "Longer", "--description", long)
    wait_until(lambda: is_in_index(other, "Longer"), "the new title")
    wait_until_even(pair)
    return one, other, before


def test_who_comes_back_when_all_was_said_knows_that_nothing_is_missing(long: tuple[Program, Program, bytes]) -> None:
    one, other, _ = long
    other("seed", "--stop")

    other("sync")

    wait_until_even((one, other))


def test_an_older_index_put_back_while_it_was_off_gets_what_others_said(long: tuple[Program, Program, bytes]) -> None:
    one, other, before = long
    other("seed", "--stop")
    (other.library / "index.toml").write_bytes(before)

    other("sync")

    wait_until(lambda: is_in_index(other, "Longer"), "the new title again")
    wait_until_even((one, other))


def test_by_what_is_recalled_from_before_an_older_index_was_put_back_nobody_is_heard(
    long: tuple[Program, Program, bytes],
) -> None:
    one, other, before = long
    for program in (one, other):
        program("seed", "--stop")
    library, stop = Library(other.library), Stop()
    known.change(library, lambda now: replace(now, heard=1))
    synced = sync.Sync(library.root, Network.LOOPBACK, up=0, down=0, log=lambda text: None)
    synced._turn(stop)

    library.index_file.write_bytes(before)
    synced._turn(stop)
    assert synced._taking_part
    synced._taking_part.close()

    assert is_in_index(other, "Longer")
    assert known.read(library).heard == 1, "else what others brought back could go from its trash"


@pytest.mark.parametrize("between", [False, True], ids=["", "between two looks"])
def test_an_older_index_put_back_while_it_runs_is_as_even_as_before(
    long: tuple[Program, Program, bytes], between: bool
) -> None:
    _, other, before = long
    other("seed", "--stop")
    library, stop = Library(other.library), Stop()
    synced = sync.Sync(library.root, Network.LOOPBACK, up=0, down=0, log=lambda text: None)

    def even() -> bool:
        synced._turn(stop)
        return bool(synced.state.even)

    wait_until(even, "it to say the same")
    part = synced._taking_part
    assert part

    library.index_file.write_bytes(before)
    if between:
        part._introduce()  # as when it gets other addresses at that moment
    synced._turn(stop)

    assert is_in_index(other, "Longer")
    wait_until(even, "it to say the same again", 20)
    part.close()
