"""Libraries in sync, as they are used: invited, joined, edited, left; each a process of its own, on loopback."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
import tomllib
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from support import seeder
from support.library import entries, memos, only
from support.long import more
from support.pairs import is_here, join, named, record, titles, wait_for, wait_until_even
from support.program import PROGRAM, Ended, Program
from support.sound import noise
from support.terminal import Terminal
from support.waiting import takes_less, wait_until

from memosync import magnet
from memosync.console import Console
from memosync.errors import NotFoundError, SwarmError, UsageError
from memosync.library import group, keys, known
from memosync.library.adopt import open_library
from memosync.library.store import Library

SILENT = Console()
AGAIN = pytest.mark.usefixtures("again")
AHEAD = "import time; time.time = lambda now=time.time: now() + {seconds}"  # where no clock can be set


@pytest.fixture(params=[1, *more(*range(2, 21))])
def again(request: pytest.FixtureRequest) -> int:
    """Have a test run many times in the long run: in what order devices hear of what is chance."""
    return int(request.param)


@pytest.fixture
def other(memosync: Program, tmp_path: Path) -> Program:
    """The same program on another device: another library."""
    return memosync.on(tmp_path / "Other")


def is_back(program: Program, before: int) -> bool:
    """Tell whether the keeper has started another seeder since."""
    state = seeder.state(program)
    return bool(state["pid"] != before and state["ready"] and seeder.is_alive(state["pid"]))


def test_two_libraries_become_one(memosync: Program, other: Program) -> None:
    record(memosync, "From one")
    record(other, "From another")
    invited = memosync("sync", "--invite", "device", "--name", "laptop")
    (link,) = invited.lines

    joined = other("sync", "-", "--name", "desktop", stdin=invited.out)

    assert magnet.parse(link).key
    assert "1 memo here, 1 more there" in joined.err
    assert [line.split("\t")[1] for line in joined.lines] == ["desktop", "laptop"]
    wait_for("From one", other)
    wait_for("From another", memosync)
    assert [memo["id"] for memo in memos(memosync)] == [memo["id"] for memo in memos(other)]
    one, same = (next(m for m in memos(program) if m["title"] == "From one") for program in (memosync, other))
    assert Path(one["path"]).read_bytes() == Path(same["path"]).read_bytes()


def test_what_is_done_on_one_device_is_done_on_the_other(used: tuple[Program, Program]) -> None:
    one, other = used
    memo_id = record(one, "Standup", "--tag", "work")
    wait_for("Standup", other)

    other("edit", memo_id, "--title", "Weekly standup", "--tag", "weekly")
    wait_for("Weekly standup", one)
    assert set(named(one, "Weekly standup")["tags"]) == {"work", "weekly"}

    said = one("rm", memo_id).err
    assert "on both devices" in said
    wait_until(lambda: "Weekly standup" not in titles(other), "the trash")
    assert memo_id in [json.loads(line)["id"] for line in other("list", "--trash", "--json").lines]

    other("restore", memo_id)
    wait_for("Weekly standup", one)

    one("rm", memo_id)
    wait_until(lambda: "Weekly standup" not in titles(other), "the trash again")
    wait_until_even(used)
    said = one("rm", "--purge", "--force", memo_id).err
    assert "purged here; what other devices have of it stays in their trash" in said  # if they have: nobody says so
    assert other("list", "--trash").out
    other("sync", "--wait", "--timeout", "10")
    one("sync", "--wait", "--timeout", "10")


def test_what_was_recorded_while_no_seeder_ran_comes_once_both_are_asked(used: tuple[Program, Program]) -> None:
    one, other = used
    for program in used:
        program("seed", "--stop")
    record(one, "Offline")

    shown = one("sync")
    assert "now" not in [line.split("\t")[3] for line in shown.lines]
    assert shown.err.startswith("memosync: the seeder was started: what is new goes to the other devices")
    assert "was started" not in one("sync").err
    other("sync")

    wait_for("Offline", other)


def test_wait_returns_when_both_have_all(memosync: Program, other: Program) -> None:
    for number in range(5):
        record(memosync, f"Memo {number}")
    join(memosync, other)

    waited = other("sync", "--wait")

    assert titles(other) == [f"Memo {number}" for number in range(5)]
    assert all(Path(memo["path"]).exists() for memo in memos(other))
    assert [line.split("\t")[4:] for line in waited.lines] == [["0", "", "now"]] * 2


def test_wait_ends_where_nobody_is(used: tuple[Program, Program]) -> None:
    one, other = used
    one("seed", "--stop")
    wait_until(lambda: not json.loads(other("sync", "--json").lines[1])["here"], "it to be gone")

    assert "no other device was there in 1 s" in other("sync", "--wait", "--timeout", "1", code=4).err


def test_wait_goes_on_while_bytes_go_and_come_and_shows_how_far_they_are(
    pair: tuple[Program, Program], tmp_path: Path
) -> None:
    one, other = pair
    for program in pair:
        program("seed", "--stop")
    one("record", noise(tmp_path / "long.flac", 50), "--bitrate", "96k", "--title", "Long")
    other.meddle("from memosync.seeder import forms; forms.GRACE = 1000.0")  # until then it says not that it lacks it
    other("seed", "--detach", "--down", "32k")  # for which it takes longer than is waited
    gives = Terminal([*PROGRAM, "sync", "--wait", "--timeout", "9s"], one.environment)
    takes = Terminal([*PROGRAM, "sync", "--wait", "--timeout", "9s"], other.environment)

    shown: list[int] = []
    for least in (10, 40, 70):
        for terminal in (gives, takes):
            terminal.wait_for(lambda screen: percent(screen.text) >= least, f"{least} %")  # noqa: B023
            shown.append(percent(terminal.screen.text))
    assert "of 1 memo to come" in takes.screen.text
    for terminal in (gives, takes):
        terminal.end()
        terminal.close()

    assert max(shown) < 100
    assert is_here(other, "Long")


def percent(text: str) -> int:
    found = re.search(r"(\d+)%", text)
    return int(found[1]) if found else -1


def test_devices_that_say_the_same_rest(used: tuple[Program, Program]) -> None:
    wait_until_even(used)

    for program in used:
        process = seeder.state(program)["pid"]

        def taken(process: int = process) -> float:
            before, ends = seeder.cpu(process), time.monotonic() + 1
            wait_until(lambda: time.monotonic() > ends, "a second")
            return seeder.cpu(process) - before

        takes_less(0.1, taken)


def test_a_seeder_that_nobody_hears_ends_at_once(used: tuple[Program, Program]) -> None:
    one, other = used
    one("seed", "--stop")

    def attempt() -> float:
        other("sync")  # starts it
        began = time.monotonic()
        other("seed", "--stop")
        return time.monotonic() - began

    takes_less(1.5, attempt)


def test_what_one_lacks_is_said_with_the_reason(pair: tuple[Program, Program], tmp_path: Path) -> None:
    one, other = pair
    other("seed", "--stop")
    record(one, "Far away")
    one("sync")  # says it once more
    there, here = open_library(one.library, SILENT), open_library(other.library, SILENT)
    wait_until(lambda: only(one) and entries(one)[0].get("uid"), "it to be known between devices")
    group.merge_in(here, group.state_of(there), SILENT)
    known.change(here, lambda now: replace(now, met={group.device_of(there): int(time.time()) + 1}))  # as a seeder does
    one("seed", "--stop")

    assert other("list").out.split("\t")[4] == "a"
    assert [only(program)["awaited"] for program in pair] == [False, True]
    assert json.loads(other("show", "last", "--json", code=4).out)["awaited"] is True
    for verb in (["play"], ["export", "-o", str(tmp_path)], ["share"], ["show", "--path"]):
        refused = other(*verb, only(other)["id"], code=4)
        assert "is not here yet: it comes from" in refused.err, verb
        assert refused.err.count(only(other)["id"]) <= 1, "said once"
    assert other("check").out.count("defect") == 0
    assert re.search(r"its file is not here yet; it is on \S", other("check").out)


@pytest.mark.parametrize("given", ["--timeout", "MEMOSYNC_TIMEOUT"])
def test_who_invites_and_waits_gives_up_when_told_to(memosync: Program, given: str) -> None:
    options, env = (["--timeout", "1"], {}) if given == "--timeout" else ([], {given: "1"})

    gave_up = memosync("sync", "--invite", "device", "--wait", *options, code=SwarmError.exit_code, env=env)

    assert magnet.parse(gave_up.out.strip()).key
    assert "memosync: waiting for a device to come, for 1 s\n" in gave_up.err
    assert "error: nobody has come in 1 s\nmemosync: hint: the invitation is good still" in gave_up.err


def test_who_invites_and_waits_is_told_who_came(memosync: Program, other: Program, ended: Ended) -> None:
    inviting = ended(memosync.start("sync", "--invite", "device", "--wait", text=True))
    assert inviting.stdout

    other("sync", "-", "--name", "desktop", stdin=inviting.stdout.readline())

    _out, err = inviting.communicate(timeout=30)
    assert inviting.returncode == 0
    assert "waiting for a device to come, for 15 min" in err
    assert "is in sync from now on" in err


@pytest.mark.parametrize("verb", ["join", "invite"])
def test_who_is_interrupted_late_is_told_what_is_so(memosync: Program, other: Program, ended: Ended, verb: str) -> None:
    if verb == "join":
        invitation = memosync.library.with_name("invitation")
        invitation.write_text(memosync("sync", "--invite", "device").out)
        with invitation.open() as stdin:
            process = ended(other.start("sync", "-", stdin=stdin, text=True))
    else:
        process = ended(other.start("sync", "--invite", "device", "--wait", text=True))

    wait_until(lambda: other.library.exists() and Library(other.library).index().group, "it to be in the group")
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=30)

    so = "one with the other now" if verb == "join" else "the first of its group now"
    assert process.returncode == 128 + signal.SIGINT
    assert err.splitlines()[-1] == f"memosync: warning: this library is {so}; memosync sync --leave ends that"
    other("sync", "--leave")


def test_an_invitation_is_good_for_one_device(memosync: Program, other: Program, tmp_path: Path) -> None:
    invitation = join(memosync, other)
    wait_until(lambda: not known.read(Library(memosync.library)).invitations, "it to be used up")
    third = memosync.on(tmp_path / "Third")

    refused = third("sync", "-", "--timeout", "2", stdin=invitation, code=4)

    assert "nobody gives this invitation" in refused.err
    assert "good for one device" in refused.err
    assert "memosync sync --invite device makes another" in refused.err
    assert not open_library(third.library, SILENT).index().group
    assert not list((memosync.library / ".memosync" / "sealed").iterdir())


def test_an_invitation_whose_time_is_over_is_given_no_more(memosync: Program, other: Program) -> None:
    invitation = memosync("sync", "--invite", "device").out
    library = Library(memosync.library)
    known.change(library, lambda now: replace(now, invitations=tuple(replace(one, until=1) for one in now.invitations)))
    wait_until(lambda: not known.read(library).invitations, "it to be over")

    other("sync", "-", "--timeout", "2", stdin=invitation, code=4)


def test_the_secret_is_in_keys_alone(used: tuple[Program, Program]) -> None:
    one, other = used
    secret = keys.secret(Library(one.library))
    assert secret == keys.secret(Library(other.library))

    for program in used:
        for path in program.library.rglob("*"):
            if path.is_file() and path.parent.name != "keys":
                data = path.read_bytes()
                assert secret not in data, path
                assert secret.hex().encode() not in data, path


def test_an_invitation_and_a_memo_are_not_taken_for_each_other(memosync: Program, other: Program) -> None:
    record(memosync, "Secret")
    link = memosync("share", "last").out
    invitation = memosync("sync", "--invite", "device").out

    assert "this is an invitation" in other("fetch", "-", stdin=invitation, code=5).err
    assert "this is a link to a memo" in other("sync", "-", stdin=link, code=5).err
    long = memosync("record", noise(memosync.library.parent / "long.flac", 10)).out.strip()
    link = memosync("share", long).out
    assert "this is a link to a memo, and no invitation" in other("sync", "-", stdin=link, code=5).err
    assert not open_library(other.library, SILENT).index().group
    assert not list((other.library / ".memosync" / "incoming").iterdir())


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        ("", 2, "there is no invitation"),
        ("nonsense", 5, "this is no invitation\nmemosync: hint: memosync sync --invite device on the other device"),
        ("https://example.org/", 5, "this is no invitation\nmemosync: hint: memosync sync --invite device"),
        (f"magnet:?xt=urn:btih:{'a' * 40}&x.key=abc", 5, "the key of this link is not whole"),
        ("a" * 40, 5, "this is a link to a memo, and no invitation\nmemosync: hint: memosync fetch - reads it; an inv"),
    ],
)
def test_what_is_no_invitation_changes_nothing(other: Program, said: str, code: int, words: str) -> None:
    refused = other("sync", "-", stdin=said, code=code)

    assert words in refused.err
    assert not (other.library / ".memosync" / "keys").exists()


def test_wrong_arguments_say_what_to_do(memosync: Program) -> None:
    link = f"magnet:?xt=urn:btih:{'a' * 40}&x.key={'a' * 26}"

    assert "memosync sync --invite device" in memosync("sync", code=2).err
    assert "does not belong on a command line" in memosync("sync", link, code=2).err
    assert "exclude each other" in memosync("sync", "-", "--leave", code=2).err
    assert "exclude each other" in memosync("sync", "--invite", "device", "--forget", "x", code=2).err
    assert "--tracker goes with --invite" in memosync("sync", "--tracker", "udp://127.0.0.1:1", code=2).err
    for option in (["--wait"], ["--json"], ["--name", "x"], ["--timeout", "5"]):
        assert "--leave goes with no other option" in memosync("sync", "--leave", *option, code=2).err
        if option != ["--json"]:
            refused = memosync("sync", "--forget", "x", *option, code=2).err
            assert "--forget goes with --json and no other option" in refused
    assert "exclude each other" in memosync("sync", "--invite", "device", "--json", code=2).err
    assert "no other" in memosync("sync", "--leave", code=2, env={"MEMOSYNC_TIMEOUT": "5"}).err
    assert "in sync with no other" in memosync("sync", "--forget", "x", code=2).err
    assert not memosync.library.exists() or not (memosync.library / ".memosync" / "keys").exists()


@pytest.mark.parametrize("loopback", ["ip link set lo up", "true"])
def test_without_a_network_that_is_said_and_the_devices_are_shown(pair: tuple[Program, Program], loopback: str) -> None:
    one = pair[0]
    one("seed", "--stop")
    apart = one.on(one.library)
    apart.under = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", f'{loopback} && exec "$@"', "sh"]
    apart.environment["MEMOSYNC_NETWORK"] = "public"

    shown = apart("sync")

    assert len(shown.lines) == 2
    assert "warning: this machine is in no network" in shown.err or "did not start: this machine is in no" in shown.err
    if loopback == "true":
        assert "did not start" in apart("sync", "--wait", code=8).err
        return
    apart("seed", "--stop")
    assert "warning: this machine is in no network" in apart("sync", "--invite", "device").err
    apart("seed", "--stop")


def test_a_second_group_is_refused_with_what_to_do(used: tuple[Program, Program], memosync: Program) -> None:
    one, other = used
    third = memosync
    invitation = third("sync", "--invite", "device").out

    refused = other("sync", "-", stdin=invitation, code=2)

    assert "already" in refused.err
    assert "if this invitation is of other devices: memosync sync --leave ends that" in refused.err
    assert open_library(other.library, SILENT).index().group == open_library(one.library, SILENT).index().group


def test_an_invitation_of_ones_own_group_is_told_as_one(memosync: Program, other: Program) -> None:
    invitation = memosync("sync", "--invite", "device").out
    before = (memosync.library / "index.toml").read_bytes(), keys.secret(Library(memosync.library))
    refused = memosync("sync", "-", stdin=invitation, code=UsageError.exit_code)
    assert "this invitation was made here" in refused.err
    assert "it is for another device; there: memosync sync -" in refused.err
    assert ((memosync.library / "index.toml").read_bytes(), keys.secret(Library(memosync.library))) == before

    other("sync", "-", stdin=invitation)
    wait_until(lambda: not known.read(Library(memosync.library)).invitations, "it to be used up")

    for program in (memosync, other):
        refused = program("sync", "-", stdin=invitation, code=UsageError.exit_code)
        assert "nothing is to be done" in refused.err
        assert "--leave" not in refused.err


def test_who_leaves_keeps_every_memo_and_forgets_the_secret(pair: tuple[Program, Program]) -> None:
    one, other = pair
    record(one, "Ours")
    wait_for("Ours", other)
    device = json.loads(other("sync", "--json").lines[0])["device"]

    left = other("sync", "--leave").err
    assert "kept here: 1 memo; the other devices go on without this one" in left
    assert f"memosync sync --forget {device[:4]} there ends waiting for this one" in left
    record(one, "Later")

    assert titles(other) == ["Ours"]
    assert not keys.has_secret(Library(other.library))
    assert not (other.library / ".memosync" / "sync.toml").exists()
    wait_until(lambda: not (other.library / ".memosync" / "sync").exists(), "what was said to be gone")
    assert "no other" in other("sync", code=2).err
    assert "1 memo here, 1 more there" in other("sync", "-", stdin=one("sync", "--invite", "device").out).err


def test_a_device_that_is_forgotten_is_waited_for_no_more(pair: tuple[Program, Program]) -> None:
    one, other = pair
    other("seed", "--stop")
    (_mine, gone) = [json.loads(line) for line in one("sync", "--json").lines]

    rows = one("sync", "--forget", gone["device"][:4]).lines

    assert [line.split("\t")[0] for line in rows] == [json.loads(one("sync", "--json").lines[0])["device"]]
    assert "no device" in one("sync", "--forget", "nobody", code=3).err
    other("sync")  # it comes back
    wait_until(lambda: len(one("sync").lines) == 2, "it to be a device again")


def test_several_devices_are_forgotten_or_none_is(pair: tuple[Program, Program]) -> None:
    one, other = pair
    other("seed", "--stop")
    library = Library(one.library)
    for number in range(3):
        known.say(library, f"{number}" * 8, {"name": f"desk {number}"})

    one("sync", "--forget", "desk 0", "--forget", "nobody", code=NotFoundError.exit_code)
    assert len(one("sync").lines) == 5
    forgotten = one("sync", "--forget", "desk 0", "--forget", "2222", "--forget", "desk 2", "--json")

    assert "nobody waits for desk 0, desk 2 any more" in forgotten.err
    assert {json.loads(line)["name"] for line in forgotten.lines} & {f"desk {n}" for n in range(3)} == {"desk 1"}


def test_a_device_that_was_forgotten_leaves_its_name_and_id_to_others(pair: tuple[Program, Program]) -> None:
    one, other = pair
    other("seed", "--stop")
    library = Library(one.library)
    known.say(library, "0a0a0a0a", {"name": "desk"})
    known.say(library, "0a0a0b0b", {"name": "desk"})
    assert "may be 0a0a0a0a (desk), 0a0a0b0b (desk)" in one("sync", "--forget", "Desk", code=3).err

    one("sync", "--forget", "0a0a0a")

    assert "no device '0a0a0a'" in one("sync", "--forget", "0a0a0a", code=NotFoundError.exit_code).err
    assert "nobody waits for desk any more" in one("sync", "--forget", "desk").err
    assert "no device 'desk'" in one("sync", "--forget", "desk", code=NotFoundError.exit_code).err


def test_a_device_that_is_there_is_not_forgotten(pair: tuple[Program, Program]) -> None:
    one, other = pair
    there = json.loads(one("sync", "--json").lines[1])
    known_before = known.read(Library(one.library)).devices[there["device"]]

    refused = one("sync", "--forget", there["device"], code=UsageError.exit_code)

    assert f"error: {there['name']} is there now" in refused.err
    assert "hint: memosync sync --leave there" in refused.err
    assert not refused.out
    assert known.read(Library(one.library)).devices[there["device"]] == known_before
    other("sync", "--leave")
    assert len(one("sync", "--forget", there["device"]).lines) == 1, "it has just left"


def test_links_that_were_given_before_go_on(memosync: Program, other: Program, tmp_path: Path) -> None:
    record(other, "Given away")
    link = other("share", "last").out.strip()
    before = keys.secret(Library(other.library))

    join(memosync, other)

    assert keys.secret(Library(other.library)) != before
    (kept,) = (other.library / ".memosync" / "keys").glob("before-*")
    assert kept.read_bytes() == before
    wait_for("Given away", memosync)
    third = memosync.on(tmp_path / "Third")
    third("fetch", link)
    assert only(third)["title"] == "Given away"


def test_what_a_link_gives_are_the_words_of_when_it_was_made(used: tuple[Program, Program], memosync: Program) -> None:
    one, other = used
    memo_id = record(one, "As recorded")
    wait_for("As recorded", other)
    other("edit", memo_id, "--title", "As edited")
    wait_for("As edited", one)

    link = one("share", memo_id).out.strip()
    memosync("fetch", link)

    assert only(memosync)["title"] == "As edited"
    shared, path = Path(named(one, "As edited")["path"]).read_bytes(), Path(named(other, "As edited")["path"])
    wait_until(lambda: path.read_bytes() == shared, "the other device to have the file of the link")


def test_what_is_fetched_goes_to_the_other_device(used: tuple[Program, Program], memosync: Program) -> None:
    one, other = used
    record(memosync, "From a stranger")
    link = memosync("share", "last").out.strip()

    one("fetch", link)

    wait_for("From a stranger", other)
    assert named(other, "From a stranger")["fetched"]
    assert not named(other, "From a stranger")["private"], "what is shared does not travel"


def test_killed_at_any_moment_it_goes_on(used: tuple[Program, Program]) -> None:
    one, other = used
    for number in range(4):
        record(one, f"Killed {number}")
        before = seeder.state(other)["pid"]
        os.kill(before, signal.SIGKILL)
        wait_until(partial(is_back, other, before), "it to be back")

    wait_until(lambda: titles(other) == titles(one), "all of them")
    for number in range(4):
        wait_for(f"Killed {number}", other)
    assert len(list(other.library.glob("*-killed-*.webm"))) == 4


@AGAIN
def test_a_library_that_was_copied_is_one_more_device(pair: tuple[Program, Program], tmp_path: Path) -> None:
    one, other = pair
    record(one, "Before")
    wait_for("Before", other)
    one("seed", "--stop")
    copy = one.on(tmp_path / "Copy")
    shutil.copytree(one.library, copy.library, symlinks=True)

    record(one, "In the first")
    record(copy, "In the copy")
    one("sync")
    copy("sync")

    for program in (one, other, copy):
        wait_for("In the first", program)
        wait_for("In the copy", program)
    assert len(one("sync").lines) == 3


@AGAIN
def test_a_backup_that_is_put_back_is_brought_up_to_date(pair: tuple[Program, Program], tmp_path: Path) -> None:
    one, other = pair
    memo_id = record(one, "Old title")
    wait_for("Old title", other)
    one("seed", "--stop")
    shutil.copytree(one.library, tmp_path / "backup", symlinks=True)
    one("edit", memo_id, "--title", "New title")
    one("sync")
    wait_for("New title", other)
    record(one, "After the backup")
    wait_for("After the backup", other)

    one("seed", "--stop")
    shutil.rmtree(one.library)
    shutil.copytree(tmp_path / "backup", one.library, symlinks=True)
    record(one, "After the accident")
    one("sync")

    for program in pair:
        for title in ("New title", "After the backup", "After the accident"):
            wait_for(title, program)
        assert len(memos(program)) == 3


@AGAIN
def test_both_edit_one_title_offline(pair: tuple[Program, Program]) -> None:
    one, other = pair
    memo_id = record(one, "Undecided")
    wait_for("Undecided", other)
    for program in pair:
        program("seed", "--stop")
    one("edit", memo_id, "--title", "First")
    other("edit", memo_id, "--title", "Second")

    for program in pair:
        program("sync")

    for program in pair:
        wait_for("Second", program)
        assert not {"Undecided", "First"} & set(titles(program))


@AGAIN
def test_one_throws_away_what_the_other_edits_offline(pair: tuple[Program, Program]) -> None:
    one, other = pair
    memo_id = record(one, "Doubtful")
    wait_for("Doubtful", other)
    for program in pair:
        program("seed", "--stop")
    one("rm", memo_id)
    other("edit", memo_id, "--title", "Worth keeping")

    for program in pair:
        program("sync")

    def thrown(program: Program) -> list[str]:
        return [json.loads(line)["title"] for line in program("list", "--trash", "--json").lines]

    wait_until(lambda: all("Worth keeping" in thrown(program) for program in pair), "both to say the same")
    assert not any({"Worth keeping", "Doubtful"} & set(titles(program)) for program in pair)
    other("restore", memo_id)
    for program in pair:
        wait_for("Worth keeping", program)


@AGAIN
def test_clocks_that_are_ten_years_off_make_no_old_word_win(memosync: Program, other: Program) -> None:
    for program, years in ((memosync, 10), (other, -10)):
        program.meddle(AHEAD.format(seconds=years * 31_556_952))
    join(memosync, other)
    memo_id = record(memosync, "From the future")
    wait_for("From the future", other)
    record(other, "From the past")
    wait_for("From the past", memosync)

    for number, (here, there) in enumerate([(other, memosync), (memosync, other)]):
        here("edit", memo_id, "--title", f"Edit {number}")
        wait_for(f"Edit {number}", there)
    other("rm", memo_id)
    wait_until(lambda: titles(memosync) == ["From the past"], "the trash")
    memosync("restore", memo_id)

    wait_for("Edit 1", other)
    assert titles(memosync) == titles(other) == ["Edit 1", "From the past"]


def test_a_secret_that_is_another_ones_is_said_and_nothing_is_in_sync(pair: tuple[Program, Program]) -> None:
    one, _other = pair
    one("seed", "--stop")
    (one.library / ".memosync" / "keys" / "library").write_bytes(os.urandom(32))

    refused = one("sync", code=6)

    assert "keys/library" in refused.err
    assert "--leave" in refused.err


def test_in_a_terminal_it_asks_for_the_invitation(memosync: Program, other: Program) -> None:
    invitation = memosync("sync", "--invite", "device").out.strip()
    terminal = Terminal([*PROGRAM, "sync", "-"], other.environment)
    terminal.wait_for(lambda screen: "paste the invitation:" in screen.text, "the question")

    terminal.type(invitation + "\r")
    terminal.end()
    terminal.close()

    assert open_library(other.library, SILENT).index().group


def test_devices_of_another_network_are_not_mixed(memosync: Program) -> None:
    memosync("sync", "--invite", "device")

    refused = memosync("--network", "lan", "sync", "--invite", "device", code=8)

    assert "--network loopback" in refused.err


def test_index_and_what_is_known_of_others_are_toml(used: tuple[Program, Program]) -> None:
    one, _other = used
    table = tomllib.loads((one.library / ".memosync" / "sync.toml").read_text())

    assert len(table["devices"]) == 2


def test_what_is_brought_back_from_the_trash_of_another_device_comes(used: tuple[Program, Program]) -> None:
    one, other = used
    memo_id = record(one, "Thrown away")
    wait_for("Thrown away", other)
    file = other.library / ".memosync" / "trash" / named(other, "Thrown away")["file"]
    one("rm", memo_id)
    wait_until(file.exists, "the trash")
    file.unlink()

    other("restore", memo_id)

    assert is_here(other, "Thrown away")


def test_what_does_not_come_back_is_wanted_still(used: tuple[Program, Program]) -> None:
    one, other = used
    memo_id = record(one, "Wanted back")
    wait_for("Wanted back", other)
    file = other.library / ".memosync" / "trash" / named(other, "Wanted back")["file"]
    one("rm", memo_id)
    wait_until(file.exists, "the trash")
    one("seed", "--stop")
    file.unlink()

    refused = other("restore", memo_id, code=4)

    assert "not here yet" in refused.err
    one("sync")
    wait_for("Wanted back", other)


def test_a_file_that_somebody_took_away_comes_back_from_what_is_served_of_it(used: tuple[Program, Program]) -> None:
    one, other = used
    record(one, "Taken away")
    wait_for("Taken away", other)
    Path(named(one, "Taken away")["path"]).unlink()

    record(one, "The next")  # now it looks

    wait_until(partial(is_here, one, "Taken away"), "it to be back", 20)


def test_check_says_how_the_devices_are(used: tuple[Program, Program]) -> None:
    one, other = used
    name = json.loads(one("sync", "--json").lines[1])["name"]
    assert f"ok\tsync\t{name} is connected" in one("check").lines

    other("seed", "--stop")
    one("seed", "--stop")

    said = one("check").out
    assert "no seeder runs: nothing goes to other devices" in said
    assert f"{name} was last met" in said
    library = Library(one.library)
    known.change(library, lambda now: replace(now, met=dict.fromkeys(now.met, 1_700_000_000)))
    assert "memosync sync --forget" in one("check").out


def test_where_links_were_given_to_two_files_of_a_memo_who_has_none_gets_either(
    pair: tuple[Program, Program], tmp_path: Path
) -> None:
    one, other = pair
    memo_id = record(one, "Undecided")
    wait_for("Undecided", other)
    for program in pair:
        program("seed", "--stop")
    for program, title in ((one, "First"), (other, "Second")):
        program("edit", memo_id, "--title", title)
        program("share", memo_id, "--no-seed")
    for program in pair:
        program("sync")
    for program in pair:
        wait_for("Second", program)
    assert Path(only(one)["path"]).read_bytes() != Path(only(other)["path"]).read_bytes()

    other("seed", "--stop")  # whose file is the one that all are to have
    third = one.on(tmp_path / "Third")
    join(one, third)
    wait_for("Second", third)

    assert Path(only(third)["path"]).read_bytes() == Path(only(one)["path"]).read_bytes()
    other("sync")
    wanted, path = Path(only(other)["path"]).read_bytes(), Path(only(third)["path"])
    wait_until(lambda: path.read_bytes() == wanted, "the one that all are to have")


def test_in_a_narrow_window_it_says_what_each_lacks(used: tuple[Program, Program]) -> None:
    one, other = used
    one("sync", "--name", "laptop")
    other("sync", "--name", "desktop")
    wait_until(lambda: "desktop" in one("sync").out, "its name")
    other("seed", "--stop")
    wait_until(lambda: not seeder.state(one)["met"], "it to be gone")

    for columns in (50, 80, 100):
        terminal = Terminal([*PROGRAM, "sync"], one.environment, columns=columns)
        terminal.end()

        words = " ".join(terminal.screen.text.split())
        assert "desktop" in words, columns
        assert re.search(r"lacks nothing, (\S+ )?as of now", words), columns
        assert re.search(r"lacks nothing, as of 20\d\d-\d\d-\d\d \d\d:\d\d$", words), columns
        assert not terminal.screen.wrapped
        terminal.close()


def test_a_row_that_is_too_long_goes_on_below_and_says_all_that_matters(memosync: Program) -> None:
    memosync("sync", "--invite", "device", "--name", "q3")
    library = Library(memosync.library)
    for device in ("0a1b2c3d", "0fed0000"):
        known.say(library, device, {"name": "desktop", "since": 1, "lacks": {"count": 12, "memos": [], "why": ""}})
    known.change(library, lambda now: replace(now, met={"0a1b2c3d": 1_700_000_000}))

    shown = {}
    for columns in (20, 30, 60, 80, 140):
        terminal = Terminal([*PROGRAM, "sync"], memosync.environment, columns=columns)
        terminal.end()
        shown[columns] = " ".join(terminal.screen.text.split())
        assert not terminal.screen.wrapped
        assert "…" not in terminal.screen.text
        terminal.close()

    for words in shown.values():
        assert "q3" in words
        assert re.search("desktop 0a1b|0a1b2c3d desktop", words)
        assert re.search("desktop 0fed|0fed0000 desktop", words)
        assert "lacks nothing, as of now" in words
        assert re.search(r"lacks 12 memos, no other device is there, as of 20\d\d-\d\d-\d\d \d\d:\d\d$", words)
    assert {columns for columns, words in shown.items() if "1970-01-01" in words} == {140}
    assert {columns for columns, words in shown.items() if "0a1b2c3d" in words} == {80, 140}
    assert {columns for columns, words in shown.items() if "2023-11-14" in words} == {60, 80, 140}


def test_of_a_device_of_which_nothing_is_known_no_script_reads_a_0(memosync: Program) -> None:
    memosync("sync", "--invite", "device")
    known.say(Library(memosync.library), "0a1b2c3d", {"name": "desktop"})

    (_, row), (_, line) = memosync("sync").lines, memosync("sync", "--json").lines

    assert row.split("\t") == ["0a1b2c3d", "desktop", "", "never", "", "", ""]
    said = json.loads(line)
    assert (said["lacking"], said["why"], said["as_of"]) == (None, "", None)


def test_who_was_invited_and_has_heard_nobody_yet_does_not_say_that_nothing_is_missing(memosync: Program) -> None:
    library = open_library(memosync.library, SILENT)
    group.enter(library, bytes(32))
    known.change(library, lambda now: replace(now, addresses=("127.0.0.1:9",)))  # of who invited it

    (row,) = memosync("sync").lines

    assert row.split("\t")[3:] == ["this device", "", "", ""]


def test_two_devices_of_one_invitation_are_warned_of(memosync: Program) -> None:
    memosync("sync", "--invite", "device")
    for name, said in (("0a1b2c3d", "phone"), ("1b2c3d4e", "thief")):
        known.say(Library(memosync.library), name, {"name": said, "came_by": "1" * 40})

    assert "phone, thief came by one invitation" in memosync("sync").err


def test_an_older_index_that_is_put_back_while_the_seeder_runs_is_brought_up_to_date(
    pair: tuple[Program, Program],
) -> None:
    one, other = pair
    memo_id = record(one, "Former title")
    wait_for("Former title", other)
    index = one.library / "index.toml"
    old = index.read_bytes()
    other("edit", memo_id, "--title", "Present title")
    wait_for("Present title", one)
    record(other, "Since then")
    wait_for("Since then", one)

    index.write_bytes(old)

    for program in pair:
        wait_for("Present title", program)
        wait_for("Since then", program)
        assert "Former title" not in titles(program)


def test_an_invitation_is_drawn_as_a_code_beside_the_answer(memosync: Program) -> None:
    invited = memosync("sync", "--invite", "device", "--qr")

    assert len(invited.lines) == 1
    assert "█" in invited.err


def test_a_seeder_in_the_foreground_shows_the_devices(used: tuple[Program, Program]) -> None:
    one, _other = used
    one("seed", "--stop")
    terminal = Terminal([*PROGRAM, "seed"], one.environment, columns=100)

    terminal.wait_for(lambda screen: "1 device in sync" in screen.text, "the other device")

    terminal.type("\x03")
    terminal.end(None)
    terminal.close()


def test_nobody_who_answers_is_said_and_it_goes_on_later(memosync: Program, other: Program) -> None:
    invitation = memosync("sync", "--invite", "device").out
    seed = seeder.state(memosync)["pid"]
    os.kill(seed, signal.SIGSTOP)
    try:
        assert "nobody gives this invitation" in other("sync", "-", "--timeout", "1", stdin=invitation, code=4).err
    finally:
        os.kill(seed, signal.SIGCONT)

    other("sync", "-", stdin=invitation)
    assert len(other("sync").lines) == 2


def test_a_memo_that_is_on_its_way_is_not_taken_away_by_its_link_given_as_an_invitation(
    memosync: Program, other: Program
) -> None:
    record(memosync, "Secret")
    link = memosync("share", "last").out
    arrived = open_library(other.library, SILENT).incoming(magnet.parse(link.strip()).infohash) / "memo.webm"
    arrived.parent.mkdir(parents=True)
    arrived.write_bytes(b"the half of it")

    other("sync", "-", stdin=link, code=5)

    assert arrived.read_bytes() == b"the half of it"
