"""rm, restore and list --trash: gone and back as it was, and destroyed only when that is meant or long enough ago."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import tomllib
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import tomli_w
from support.disk import SmallDisk
from support.faults import at_every
from support.handshake import offers
from support.library import entries, memos, only
from support.program import PROGRAM, Program, answer
from support.seeder import state
from support.sound import noise
from support.terminal import Terminal
from support.waiting import takes_less, until

from memosync.commands import rm
from memosync.commands.list_ import ListOptions, find_rows
from memosync.console import Console
from memosync.errors import LibraryError, NotFoundError, UsageError
from memosync.library import group, trash
from memosync.library.adopt import open_library
from memosync.library.store import Library
from memosync.memo import Memo
from memosync.seeder.links import Links

NOW = datetime(2026, 9, 1, 8, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of three memos, the first of them shared."""
    home = tmp_path_factory.mktemp("template")
    program = Program(home / "Memos", {"HOME": str(home)})
    sound = noise(home / "noise.webm", 1, "-c:a", "libopus", "-b:a", "64k")
    for title in ("First", "Second", "Third"):
        program("record", sound, "-t", title, "--again")
    (first, *_) = entries(program)
    program("share", "--public", first["id"], "--no-seed")
    return program.library


@pytest.fixture
def three(memosync: Program, template: Path) -> list[str]:
    """Copy it into ours and give the ids."""
    shutil.copytree(template, memosync.library)
    return [entry["id"] for entry in entries(memosync)]


@pytest.fixture
def library(memosync: Program, three: list[str]) -> Library:
    """The library the program works on, from within."""
    return Library(memosync.library)


def listed(memosync: Program, *options: str) -> list[str]:
    """Give the ids and flags that are listed."""
    return [" ".join(line.split("\t")[:5:4]) for line in memosync("list", *options).lines]


def names(root: Path) -> list[str]:
    """Name the sound in a library, wherever it is."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.webm*"))


def contents(memosync: Program) -> list[bytes]:
    return [path.read_bytes() for path in sorted(memosync.library.glob("*.webm"))]


# -- there and back


def test_rm_hides_a_memo_and_list_trash_shows_it(memosync: Program, three: list[str]) -> None:
    first, second, third = three
    file = entries(memosync)[2]["file"]

    result = memosync("rm", third[:6])

    assert result.out == third + "\n"
    assert "“Third”" in result.err
    assert listed(memosync) == [f"{second} -", f"{first} sp"]
    (row,) = map(json.loads, memosync("list", "--trash", "--json").lines)
    assert datetime.now(UTC) - datetime.fromisoformat(row["trashed"]) < timedelta(minutes=5)
    assert row["path"] == str(memosync.library / ".memosync/trash" / file)
    assert Path(row["path"]).stat().st_size == row["size"]
    assert listed(memosync, "--trash") == [f"{third} t"]


def test_restore_brings_everything_back_as_it_was(memosync: Program, three: list[str]) -> None:
    before, files = entries(memosync), contents(memosync)
    memosync("rm", three[0], three[1])

    result = memosync("restore", three[0], three[1][:7])

    assert result.lines == three[:2]
    assert before == entries(memosync)
    assert files == contents(memosync)
    assert names(memosync.library) == sorted(entry["file"] for entry in before)
    assert memosync("list", "--trash").err == "memosync: nothing is in the trash\n"


def test_the_last_thrown_away_is_first_and_the_last_to_restore(memosync: Program, library: Library) -> None:
    ids = [memo.id for memo in library.index().memos]
    for number, memo_id in enumerate([ids[1], ids[2], ids[0]]):
        trash.put(library, [memo_id], NOW + number * DAY)

    assert listed(memosync, "--trash") == [f"{ids[0]} t", f"{ids[2]} t", f"{ids[1]} t"]
    assert listed(memosync, "--trash", "-n", "1", "third") == [f"{ids[2]} t"]
    assert memosync("restore", "last").out == f"{ids[0]}\n"


def test_dash_reads_ids_and_rows(memosync: Program, three: list[str]) -> None:
    memosync("rm", "-", stdin=memosync("list").out)
    assert listed(memosync) == []
    memosync("restore", "-", stdin=f"{three[1]}\n\n")
    assert listed(memosync) == [f"{three[1]} -"]

    memosync("rm", "--purge", "--force", "-", stdin=memosync("list", "--trash").out)

    assert [entry["id"] for entry in entries(memosync)] == [three[1]]
    assert memosync("rm", "--purge", "-", stdin="").out == ""


@pytest.mark.parametrize("verb", ["share", "edit", "rm"])
def test_what_is_in_the_trash_is_gone_for_other_verbs(memosync: Program, three: list[str], verb: str) -> None:
    memosync("rm", "last")

    result = memosync(verb, three[2], *(["-t", "x"] if verb == "edit" else []), code=NotFoundError.exit_code)

    assert f"memo {three[2]} is in the trash\nmemosync: hint: memosync restore {three[2]}" in result.err


def test_nothing_is_done_when_one_of_several_is_unknown(memosync: Program, three: list[str]) -> None:
    before = entries(memosync)
    for arguments in (["rm", three[0], "zzzz"], ["rm", "--purge", "--force", three[0], "zzzz"], ["restore", three[0]]):
        result = memosync(*arguments, code=NotFoundError.exit_code)
        assert result.out == ""

    assert before == entries(memosync)
    assert len(contents(memosync)) == 3


def test_a_memo_without_its_file_can_be_thrown_away_but_not_taken_back(memosync: Program, three: list[str]) -> None:
    (memosync.library / entries(memosync)[1]["file"]).unlink()
    memosync("rm", three[0], three[1])
    assert listed(memosync, "--trash")[0] in (f"{three[1]} td", f"{three[0]} t")

    result = memosync("restore", three[0], three[1], code=LibraryError.exit_code)

    assert (result.out, len(listed(memosync, "--trash"))) == ("", 2)
    memosync("restore", three[0])


def test_completion_offers_what_is_in_the_trash_to_restore_alone(memosync: Program, three: list[str]) -> None:
    memosync("rm", "last")

    assert answer(memosync, "memosync", "restore", "").stdout.split() == ["last", three[2]]
    assert answer(memosync, "memosync", "rm", "").stdout.split() == ["last", three[1], three[0]]


# -- and the network


def test_the_seeder_drops_it_within_a_second_and_serves_it_again(memosync: Program, three: list[str]) -> None:
    infohash = entries(memosync)[0]["infohash"]
    memosync("seed", "--detach")
    port = state(memosync)["port"]
    assert offers(port, infohash)

    def rm_and_restore() -> float:
        memosync("rm", three[0])
        dropped = until(lambda: not offers(port, infohash), "it to be dropped")
        assert memosync("seed", "--status").out == ""
        memosync("restore", three[0])
        return max(dropped, until(lambda: offers(port, infohash), "it to be served again"))

    takes_less(1, rm_and_restore)
    assert [line.split("\t")[:2] for line in memosync("seed", "--status").lines] == [[three[0], "seeding"]]


def test_a_link_to_what_is_in_the_trash_brings_it_back(memosync: Program, three: list[str], tmp_path: Path) -> None:
    before = entries(memosync)
    link = memosync("share", "--public", three[0], "--no-seed").out.strip()
    memosync("rm", three[0])
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-qq", "-e", "trace=socket", "-o", str(trace), *PROGRAM, "fetch", link]

    done = subprocess.run(command, env=memosync.environment, capture_output=True, text=True, timeout=30)

    assert (done.returncode, done.stdout) == (0, three[0] + "\n")
    assert "back from the trash" in done.stderr
    assert "shared as before: “First”; memosync share --stop ends that\n" in done.stderr
    assert "AF_INET" not in trace.read_text()
    assert before == entries(memosync)


def test_in_a_group_a_link_brings_back_the_memo_with_the_words_and_not_what_came_twice(
    memosync: Program, tmp_path: Path
) -> None:
    path = noise(tmp_path / "talk.wav", 1)
    memo = memosync("record", path, "-t", "Mine").out.strip()
    other = memosync.on(tmp_path / "Theirs")
    other("record", Path(only(memosync)["path"]), "-t", "Theirs")
    link = other("share", "--public", "last").out.strip()
    group.enter(open_library(memosync.library, Console()), bytes(32))

    assert memosync("fetch", link).out == memo + "\n"  # the same sound is here, with my words
    other("seed", "--stop")
    assert [found["title"] for found in memos(memosync)] == ["Mine"]
    again = memosync("fetch", link)
    assert (again.out, [found["title"] for found in memos(memosync)]) == (memo + "\n", ["Mine"])
    assert "back from the trash" not in again.err
    memosync("rm", memo)
    back = memosync("fetch", link)
    assert (back.out, [found["title"] for found in memos(memosync)]) == (memo + "\n", ["Mine"])
    assert "back from the trash: “Mine”" in back.err


def test_a_fetched_memo_whose_file_is_lost_in_the_trash_is_fetched_into_its_entry(
    memosync: Program, three: list[str], tmp_path: Path
) -> None:
    other = memosync.on(tmp_path / "Theirs")
    link = memosync("share", "--public", three[0]).out.strip()
    memo = other("fetch", link).out.strip()
    other("edit", memo, "-t", "Mine")
    other("rm", memo)
    shutil.rmtree(other.library / ".memosync/trash")

    assert other("fetch", link).out == memo + "\n"

    (entry,) = entries(other)
    assert (entry["title"], entry.get("trashed")) == ("Mine", None)
    assert listed(other) == [f"{memo} f"]


def test_restore_makes_no_second_memo_of_one_infohash(memosync: Program, library: Library) -> None:
    first, second, _ = library.index().memos
    trash.put(library, [first.id], NOW)
    library.update({second.id: lambda memo: replace(memo, infohash=first.infohash)})

    result = memosync("restore", first.id, code=UsageError.exit_code)

    assert second.id in result.err
    assert listed(memosync, "--trash") == [f"{first.id} t"]


# -- whatever dies


def assert_none_lost(memosync: Program, template: Path) -> None:
    """Insist that every memo is listed once, whole, here or in the trash."""
    rows = [row for options in ([], ["--trash"]) for row in listed(memosync, *options)]
    assert len(rows) == 3
    assert not [row for row in rows if row.endswith("d")]
    assert sorted(Path(name).name for name in names(memosync.library)) == names(template)


def test_a_kill_at_any_step_of_rm_loses_nothing(memosync: Program, template: Path) -> None:
    for here in at_every("rename", "signal=KILL", memosync, template, "rm", "last"):
        assert_none_lost(here, template)
        assert here("rm", "last").lines  # another one, or the same

    assert len(listed(here)) == 1


def test_a_kill_at_any_step_of_restore_loses_nothing(memosync: Program, template: Path, tmp_path: Path) -> None:
    begin = memosync.on(tmp_path / "begin")
    shutil.copytree(template, begin.library)
    begin("rm", "last")
    for here in at_every("rename", "signal=KILL", memosync, begin.library, "restore", "last"):
        assert_none_lost(here, template)
        if listed(here, "--trash"):
            here("restore", "last")
        assert names(template) == names(here.library)


def test_a_purge_that_is_killed_can_be_ended(memosync: Program, template: Path) -> None:
    purge = ("rm", "--purge", "--force")
    first = tomllib.loads((template / "index.toml").read_text())["memo"][0]
    for here in at_every("unlink", "signal=KILL", memosync, template, *purge, first["id"]):
        assert len([row for row in listed(here) if row.endswith("d")]) == 0
        if len(entries(here)) == 3:
            here(*purge, first["id"])
        assert len(entries(here)) == 2
        assert len(names(here.library)) == 2
        assert not list((here.library / ".memosync/torrents").iterdir())


def test_who_lists_meanwhile_sees_each_memo_whole(library: Library) -> None:
    ids = [memo.id for memo in library.index().memos]
    stop, seen = threading.Event(), set[tuple[bool, str]]()

    def look() -> None:
        while not stop.is_set():
            for trashed in (False, True):
                found = find_rows(Library(library.root), ListOptions(trashed=trashed), lambda _: Links())
                seen.update((trashed, row.flags) for row in found)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for number in range(1000):
            if number > 20 and len(seen) > 2:
                break
            with ExitStack() as locks:
                for memo_id in sorted(ids):
                    locks.enter_context(library.lock(memo_id))
                trash.put(library, ids, NOW + number * DAY)
                trash.take_back(library, ids)
    finally:
        stop.set()
        reader.join()

    assert seen == {(False, "-"), (False, "sp"), (True, "t")}


def test_nothing_that_lies_in_the_way_is_replaced(memosync: Program, three: list[str]) -> None:
    file = memosync.library / entries(memosync)[2]["file"]
    memosync("rm", "last")
    file.write_bytes(b"somebody else's")

    memosync("restore", "last")

    assert file.read_bytes() == b"somebody else's"
    assert len(list((memosync.library / ".memosync/trash").iterdir())) == 1
    assert listed(memosync)[0] == f"{three[2]} d"


# -- purged on purpose


def test_purge_leaves_nothing_of_a_memo(memosync: Program, three: list[str]) -> None:
    first, second, third = three
    memosync("rm", second)
    cache = memosync.library / ".memosync/cache"
    cache.mkdir(exist_ok=True)
    (cache / first).write_bytes(b"what can be found out again")

    result = memosync("rm", "--purge", "--force", first, second)

    assert result.lines == [first, second]
    assert [entry["id"] for entry in entries(memosync)] == [third]
    left = [path.name for path in memosync.library.rglob("*") if first in path.name or second in path.name]
    assert left == []
    assert not list((memosync.library / ".memosync/torrents").iterdir())


def test_purge_in_a_pipe_is_refused_without_force(memosync: Program, three: list[str]) -> None:
    before = entries(memosync)

    result = memosync("rm", "--purge", three[0], code=UsageError.exit_code)

    assert (result.out, before) == ("", entries(memosync))
    assert "hint: --force" in result.err
    assert len(contents(memosync)) == 3


@pytest.mark.parametrize(
    ("typed", "code"), [("y\n", 0), ("yes\n", 0), ("\n", 2), ("n\n", 2), ("\x04", 2), ("\x03", 130)]
)
def test_purge_asks_once_for_all_of_them(memosync: Program, three: list[str], typed: str, code: int) -> None:
    terminal = Terminal([*PROGRAM, "rm", "--purge", three[0], "last"], memosync.environment, 120)
    try:
        question = "destroy “First”, “Third” for ever? [y/N]"
        terminal.wait_for(lambda screen: question in screen.text, "the question")
        assert len(entries(memosync)) == 3

        terminal.type(typed)

        assert terminal.end(code).count("[y/N]") == 1
        assert len(entries(memosync)) == (3 if code else 1)
    finally:
        terminal.close()


@pytest.mark.parametrize(
    ("verb", "thrown", "said"),
    [
        (["restore", "last"], 0, "nothing is in the trash"),
        (["show", "last"], 3, "every memo is in the trash"),
        (["rm", "last"], 3, "every memo is in the trash"),
        (["rm", "--purge", "--force", "last"], 3, "every memo is in the trash"),
    ],
)
def test_where_the_memos_are_is_said(
    memosync: Program, three: list[str], verb: list[str], thrown: int, said: str
) -> None:
    memosync("rm", *three[:thrown]) if thrown else None

    refused = memosync(*verb, code=NotFoundError.exit_code)

    assert refused.err.splitlines()[0] == f"memosync: error: {said}"
    assert refused.err.splitlines()[1].startswith("memosync: hint: memosync list")


def test_last_is_never_one_of_the_trash_when_it_is_purged(memosync: Program, three: list[str]) -> None:
    memosync("rm", "last")

    assert memosync("rm", "--purge", "--force", "last").out == three[1] + "\n"


def test_another_memo_s_torrent_stays(library: Library) -> None:
    first, second, _ = library.index().memos
    assert first.infohash
    library.update({second.id: lambda memo: replace(memo, infohash=first.infohash)})

    trash.purge(library, trash.put(library, [second.id], NOW).values())

    assert library.torrent(first.infohash).exists()


def test_what_was_taken_back_meanwhile_is_not_purged(library: Library) -> None:
    memo = library.index().memos[0]
    old = trash.put(library, [memo.id], NOW)
    trash.take_back(library, [memo.id])
    trash.purge(library, old.values())
    again = trash.put(library, [memo.id], NOW + DAY)
    trash.purge(library, old.values())

    assert library.path(again[memo.id]).exists()
    assert len(library.index().memos) == 3


# -- purged because it is long ago

Look = Callable[[float], list[Memo]]


@pytest.fixture
def look(library: Library) -> Look:
    """Throw the first memo away, and look at the trash so many days later by the clock."""
    trash.put(library, [library.index().memos[0].id], NOW)
    trash.overdue(library, NOW)
    return lambda days: trash.overdue(library, NOW + days * DAY)


def first_due(look: Look, days: range) -> int | None:
    return next((day for day in days if look(day)), None)


def test_who_looks_every_day_purges_after_a_month(look: Look) -> None:
    assert first_due(look, range(1, 99)) == 31


def test_who_looks_every_week_purges_at_the_next_look_after_a_month(look: Look) -> None:
    assert first_due(look, range(7, 99, 7)) == 42


def test_who_looks_seldom_purges_in_the_end(look: Look) -> None:
    assert first_due(look, range(60, 999, 60)) == 360


@pytest.mark.parametrize("age", [1, 24, 29.9])
@pytest.mark.parametrize("ahead", [0.5, 6, 8, 31, 3650, 10**5])
def test_a_clock_that_is_ahead_for_a_run_purges_nothing(look: Look, age: float, ahead: float) -> None:
    for day in range(1, int(age)):
        look(day)

    assert look(age) == look(age + ahead) == look(age) == []
    assert [day for day in (age + 0.01, 29.99) if look(day)] == []


def test_a_clock_that_stays_ahead_purges_nothing_for_weeks(look: Look) -> None:
    assert first_due(look, range(3650, 4000)) == 3650 + 24


def test_what_was_thrown_away_under_a_clock_that_was_behind_stays_for_weeks(library: Library) -> None:
    trash.put(library, [library.index().memos[0].id], datetime(1970, 1, 1, tzinfo=UTC))
    trash.overdue(library, datetime(1970, 1, 1, tzinfo=UTC))

    assert first_due(lambda day: trash.overdue(library, NOW + day * DAY), range(99)) == 24


def test_a_clock_that_goes_back_is_no_time(look: Look) -> None:
    assert [day for day in range(0, -40, -5) if look(day)] == []
    assert look(31) == []


def test_a_memo_that_was_taken_back_in_between_begins_anew(look: Look, library: Library) -> None:
    for day in range(1, 29):
        look(day)
    memo_id = library.index().memos[0].id
    trash.take_back(library, [memo_id])
    trash.put(library, [memo_id], NOW + 28.5 * DAY)

    assert first_due(look, range(29, 99)) == 29 + 31


@pytest.mark.parametrize("text", ["", "x", "looked = 'x'", "looked = 0\nages = 1", "looked = nan\n[ages]\nx = nan"])
def test_without_a_note_of_what_was_seen_it_begins_anew(look: Look, library: Library, text: str) -> None:
    for day in range(1, 29):
        look(day)
    (library.inner / "trash.toml").write_text(text)

    assert first_due(look, range(29, 99)) == 29 + 31


def test_rm_purges_what_is_due_and_says_so(memosync: Program, library: Library, look: Look) -> None:
    first, second, third = library.index().memos
    path = library.inner / "trash.toml"
    path.write_text(re.sub(r"= 0\.0$", "= 3e6", path.read_text(), flags=re.MULTILINE))
    library.update({first.id: lambda memo: replace(memo, trashed=memo.trashed and memo.trashed.replace(year=2025))})
    path.write_text(path.read_text().replace("2026", "2025"))

    for arguments in (["list"], ["list", "--trash"], ["edit", third.id, "-t", "x"], ["restore", "zz"]):
        memosync(*arguments, code=NotFoundError.exit_code if "zz" in arguments else 0)
    assert len(library.index().memos) == 3

    result = memosync("rm", second.id)

    assert result.out == f"{second.id}\n"
    assert "memosync: purged after a month in the trash: “First”\n" in result.err
    assert [memo.id for memo in library.index().memos] == [second.id, third.id]
    assert not list(memosync.library.rglob(first.file))


# -- on a full disk


def fill(disk: SmallDisk) -> None:
    """Leave no room for a byte."""
    disk.fill(room=0)
    with suppress(OSError), (disk.seen / "rest").open("wb", buffering=0) as rest:
        while rest.write(bytes(4096)):  # what the file system did not count
            pass


def test_on_a_full_disk_check_says_nothing_of_a_secret_that_never_was_and_of_a_trash_that_is_empty(
    memosync: Program, template: Path, disk: SmallDisk
) -> None:
    shutil.copytree(template, disk.seen / "Memos")
    fill(disk)
    memosync("share", "last", code=LibraryError.exit_code)

    (told,) = (line for line in memosync("check").lines if "hours of recording" in line)
    assert told.endswith("hours of recording")
    assert "secret" not in memosync("check").out


def test_on_a_full_disk_purging_makes_the_room_that_it_needs(
    memosync: Program, template: Path, disk: SmallDisk
) -> None:
    shutil.copytree(template, disk.seen / "Memos")
    first, second, third = (entry["id"] for entry in entries(memosync))
    memosync("share", second, "--no-seed")
    sealed = entries(memosync)[1]["sealed"]
    memosync("rm", first, second)
    fill(disk)

    (told,) = (line for line in memosync("check").lines if "hours of recording" in line)
    assert told.endswith("memosync list --trash | memosync rm --purge --force - empties the trash")
    gone = memosync("rm", "--purge", "--force", "-", stdin=memosync("list", "--trash").out)

    assert sorted(gone.lines) == sorted([first, second])
    assert [entry["id"] for entry in entries(memosync)] == [third]
    assert len(names(memosync.library)) == 1
    assert not [path for path in memosync.library.rglob("*") if sealed in path.name]
    assert memosync("check").lines[1].startswith("ok\tmemos")


def test_of_many_it_is_told_how_far_it_is(tmp_path: Path) -> None:
    library = Library(tmp_path / "Memos")
    library.prepare()
    ids = [f"{number:08}" for number in range(250)]
    each = [
        {"id": name, "title": name, "file": f"2026-01-01-{name}.webm", "recorded": NOW, "duration": 1.0, "size": 0}
        for name in ids
    ]
    (library.root / "index.toml").write_text(tomli_w.dumps({"version": 1, "memo": each}))
    for entry in each:
        (library.root / str(entry["file"])).touch()
    told: list[tuple[str, float]] = []
    console = Console(progress=lambda *given: told.append(given))
    expected = [("of 250 memos", 0.4), ("of 250 memos", 0.8), ("", 1)]

    rm.throw_away(library, library.index().memos, console, purge=False, now=NOW)
    assert told == expected
    rm.bring_back(library, library.index().memos, console)
    assert told == expected * 2
    rm.throw_away(library, library.index().memos, console, purge=True, now=NOW)
    assert told == expected * 3
    assert library.index().memos == ()
