"""A seeder that is there for months: full disks, disks that are pulled, libraries that are moved, reads that fail."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from support import sound
from support.disk import NAMESPACE, POWERLESS, SmallDisk, Stick
from support.faults import REFUSES_WHILE
from support.handshake import offers
from support.library import entries, only
from support.long import more
from support.program import PROGRAM, Ended, Program, errors
from support.seeder import is_alive, log, state
from support.waiting import wait_until

from memosync.errors import LibraryError, SeederError

SOUND = sound.wav(sound.tone(0.5))
AT_ONCE = 15  # seconds, on a busy machine, in which a command has to say what it finds


@pytest.fixture
def shared(memosync: Program) -> Program:
    """A library of one memo that is shared, with nobody who serves it."""
    return share(memosync)


def share(program: Program) -> Program:
    program("record", "-", "-t", "Months", stdin=SOUND)
    program("share", "last", "--no-seed")
    return program


def serves(program: Program, port: int) -> bool:
    return offers(port, only(program)["sealed"])


def kill(program: Program) -> int:
    """Kill the process that serves, and give its number; its keeper lives."""
    pid: int = state(program)["pid"]
    os.kill(pid, signal.SIGKILL)
    return pid


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_a_disk_that_takes_nothing_ends_no_seeder(memosync: Program, disk: SmallDisk, how: str) -> None:
    share(memosync)("seed", "--detach")
    port, keeper = state(memosync)["port"], state(memosync)["keeper"]
    disk.fill(room=0) if how == "full" else disk.remount("ro")

    for _ in range(5 if how == "full" else 1):  # after five deaths one is given up that never served
        killed = [int(pid) for pid in Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()]
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, killed)), "it to die")  # noqa: B023
        wait_until(lambda: serves(memosync, port), "it to be back")
    said = memosync("seed", "--status", code=SeederError.exit_code, timeout=AT_ONCE)
    disk.make_room() if how == "full" else disk.remount("rw")

    assert f"process {keeper} " in errors(said.err)[0]
    assert ("the disk is full" if how == "full" else "cannot be written") in errors(said.err)[0]
    wait_until(lambda: memosync.run("seed", "--status").code == 0, "it to say how it is")
    assert (state(memosync)["port"], state(memosync)["keeper"]) == (port, keeper)
    assert log(memosync).count("how it is cannot be written") <= 6


@pytest.mark.parametrize("error", ["EIO", "EDQUOT"])
def test_a_disk_that_refuses_what_it_writes_ends_no_seeder(shared: Program, tmp_path: Path, error: str) -> None:
    sign = tmp_path / "sign"
    shared.meddle(REFUSES_WHILE.format(refused=[("/.memosync/", error, str(sign))]))
    shared("seed", "--detach")
    port, keeper = state(shared)["port"], state(shared)["keeper"]
    sign.touch()

    killed = kill(shared)
    wait_until(lambda: not is_alive(killed), "it to die")
    wait_until(lambda: serves(shared, port), "it to be back")
    said = shared("seed", "--status", code=SeederError.exit_code, timeout=AT_ONCE)
    sign.unlink()

    assert f"process {keeper} " in errors(said.err)[0]
    wait_until(lambda: shared.run("seed", "--status").code == 0, "it to say how it is")
    assert (state(shared)["port"], state(shared)["keeper"]) == (port, keeper)


def test_on_a_full_disk_a_seeder_starts_and_the_link_is_given(memosync: Program, disk: SmallDisk) -> None:
    link = share(memosync)("share", "last").out
    port = state(memosync)["port"]
    memosync("seed", "--stop")
    index = memosync.library / "index.toml"
    before = index.read_bytes()
    memosync("record", "-", "-t", "Later", stdin=SOUND)
    memosync("edit", "last", "-t", "Later still")
    index.write_bytes(before)  # so there is a file that an earlier index names, and this one has no room for
    disk.fill(room=0)

    result = memosync("share", "last", timeout=AT_ONCE)

    assert result.out == link
    assert "not in the index yet" in result.err
    assert offers(port, entries(memosync)[0]["sealed"])
    disk.make_room()
    assert len(memosync("list").lines) == 2


@pytest.mark.parametrize(
    ("how", "detached"), [("unplugged", True), ("renamed", False), *more(("renamed", True))], ids=str
)
def test_a_library_that_is_away_is_waited_for(
    memosync: Program, disk: SmallDisk, ended: Ended, how: str, detached: bool
) -> None:
    stick = Stick(disk)
    memosync.environment["MEMOSYNC_LIBRARY"] = str(stick.place / "Memos")
    memosync.library = stick.seen / "Memos"
    away, back = (stick.pull, stick.plug_in) if how == "unplugged" else (stick.rename, stick.rename_back)
    infohash = only(share(memosync))["sealed"]
    if detached:
        memosync("seed", "--detach")
    else:
        ended(memosync.start("seed", stderr=subprocess.DEVNULL))
    wait_until(lambda: " serves on port " in memosync.run("seed", "--status").err, "it to serve")
    port, keeper, pid = (state(memosync)[name] for name in ("port", "keeper", "pid"))

    for _ in range(2):
        away()
        wait_until(lambda: not offers(port, infohash), "it to serve nothing", 20)
        if detached:
            wait_until(lambda: not is_alive(pid), "the child to end", 20)  # noqa: B023
            said = memosync("seed", "--status", code=SeederError.exit_code, timeout=AT_ONCE).err
            assert f"process {keeper} waits for it" in errors(said)[0]
        assert stick.left() == []
        back()
        wait_until(lambda: offers(port, infohash), "it to be served on its port again")
        wait_until(lambda: state(memosync)["ready"], "it to say so")
        assert (state(memosync)["port"], state(memosync)["keeper"]) == (port, keeper)
        pid = state(memosync)["pid"]
    if detached:
        away()
        wait_until(lambda: not is_alive(pid), "the child to end", 20)
        memosync("seed", "--stop", timeout=AT_ONCE)
        wait_until(lambda: not is_alive(keeper), "the keeper to end", 20)
        assert stick.left() == []


def test_a_library_that_was_renamed_is_served_from_its_new_place_on_the_same_port(
    shared: Program, tmp_path: Path
) -> None:
    infohash = only(shared)["sealed"]
    link = shared("share", "last").out
    waiting = state(shared)["keeper"]
    moved = shared.on(tmp_path / "Archive")
    shared.library.rename(moved.library)

    wait_until(lambda: not offers(state(moved)["port"], infohash), "it to serve nothing", 20)
    assert moved("share", "last", timeout=AT_ONCE).out == link
    moved.library.rename(shared.library)  # the one that waited and the new one: one of them serves

    wait_until(lambda: offers(state(shared)["port"], infohash), "it to be served", 20)
    assert shared("share", "last", timeout=AT_ONCE).out == link
    for program in (shared, moved):  # where one serves, and another one waits
        program.run("seed", "--stop")
    wait_until(lambda: not is_alive(waiting), "no other one to be left", 20)


@pytest.mark.parametrize("inside", ["seeder", *more("commands")])
def test_a_seeder_in_a_container_is_named_at_once_by_those_outside(shared: Program, ended: Ended, inside: str) -> None:
    """And by those inside; each has a space of processes of its own, and the library in common."""
    container = [*NAMESPACE, "--pid", "--fork", "--kill-child", "--mount-proc"]
    seeder, command = (container, []) if inside == "seeder" else ([], container)
    ended(subprocess.Popen([*seeder, *PROGRAM, "seed"], env=shared.environment, stderr=subprocess.DEVNULL))
    wait_until(lambda: (shared.library / ".memosync/seeder.toml").exists() and state(shared)["ready"], "it to serve")

    def start(*words: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return ended(
            subprocess.Popen([*command, *PROGRAM, *words], env=shared.environment, stdout=pipe, stderr=pipe, text=True)
        )

    def named(said: str) -> bool:
        return bool(re.search(r"process \d+ |a process that is not seen from here", said))

    running = [start(*words) for words in (["seed", "--status"], ["share", "last"], ["seed", "--detach"], ["check"])]
    for process in running[:3]:
        assert named(*errors(process.communicate(timeout=2 * AT_ONCE)[1]))
        assert process.returncode == SeederError.exit_code
    (line,) = [line for line in running[3].communicate(timeout=AT_ONCE)[0].splitlines() if "\tseeder\t" in line]
    assert named(line)
    stopping = start("seed", "--stop")
    said = stopping.communicate(timeout=AT_ONCE)[1]
    if inside == "seeder":  # the kernel says who it is
        assert stopping.returncode == 0, said
    else:
        assert named(*errors(said))


@pytest.mark.parametrize("what", ["file", "key", "index"])
def test_what_cannot_be_read_for_a_while_is_served_again_by_itself(
    memosync: Program, tmp_path: Path, what: str
) -> None:
    """Its rights are taken away and given back, which changes nothing else: no size, no time stamp."""
    memosync.under = POWERLESS
    memosync("record", "-", "-t", "Months", stdin=SOUND)
    public = ["--public"] if what == "file" else []
    link = memosync("share", "last", *public).out.strip()
    memo = only(memosync)
    infohash = memo["infohash"] or memo["sealed"]
    path = {
        "file": Path(memo["path"]),
        "key": memosync.library / ".memosync/keys" / infohash,
        "index": memosync.library / "index.toml",
    }[what]
    reader = memosync.on(tmp_path / "Theirs")

    path.chmod(0)
    if what == "file":
        fetching = reader.start("fetch", link)
        wait_until(lambda: state(memosync).get("swarm"), "it to be found", 20)
        wait_until(lambda: "damaged" in memosync("seed", "--status").out, "it to be called damaged", 20)
        # in libtorrent's words or, once it was looked at again, in ours
        assert re.search(r"does not serve it: .*cannot be read: permission denied", memosync.run("check").out)
        assert (
            "cannot be read: permission denied"
            in errors(memosync("share", "last", "--public", code=LibraryError.exit_code).err)[0]
        )
        path.chmod(0o600)
        assert fetching.wait(60) == 0, fetching.communicate()
        return
    os.utime(memosync.library / "index.toml")  # it has to look
    wait_until(lambda: "cannot " in log(memosync), "it to be said", 20)
    assert offers(state(memosync)["port"], infohash)
    kill(memosync)  # and what comes in its place has not read it before
    fails = f"the seeder died ({LibraryError.exit_code})"
    wait_until(lambda: fails in log(memosync) or log(memosync).count("cannot ") > 1, "another one to see it", 20)
    path.chmod(0o600)

    wait_until(lambda: offers(state(memosync)["port"], infohash), "it to be served again", 30)
    reader("fetch", link)
    if what == "index":  # and one whose index says something else once it can be read
        said, ended = log(memosync).count("going on with what was served before"), path.with_suffix(".new")
        ended.write_text(path.read_text().replace("private = true", "private = false"))
        ended.chmod(0)
        ended.replace(path)
        wait_until(lambda: log(memosync).count("going on with what was served before") > said, "it to be said", 20)
        assert offers(state(memosync)["port"], infohash)
        path.chmod(0o600)
        wait_until(lambda: not offers(state(memosync)["port"], infohash), "it to be served no longer", 20)


@pytest.mark.parametrize("public", [False, True], ids=["sealed", "public"])
def test_a_read_error_is_not_called_an_alteration(shared: Program, public: bool) -> None:
    if public:
        shared("share", "last", "--no-seed", "--public")
    memo = only(shared)
    form = shared.library / ".memosync/sealed" / memo["sealed"]

    # as it is looked at as sound, as it is compared, and what is served of it
    for path, step in ((Path(memo["path"]), 1), (Path(memo["path"]), 6), (form, 1)):
        trace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(path), "-e", "trace=read,pread64"]
        command = [*trace, "-e", f"inject=read,pread64:error=EIO:when={step}+", *PROGRAM, "check"]
        done = subprocess.run(command, env=shared.environment, capture_output=True, text=True, timeout=60)
        assert "cannot be read: input/output error" in done.stdout, (step, done)
        assert "altered" not in done.stdout
        assert done.returncode == LibraryError.exit_code


@pytest.mark.parametrize("name", ["seeder.toml", "keys", *more("seeder.lock", "torrents")])
def test_what_root_made_is_the_reason_given_and_check_finds_it(memosync: Program, name: str) -> None:
    memosync.under = POWERLESS
    share(memosync)("share", "last")
    port = state(memosync)["port"]
    memosync("seed", "--stop")
    place = memosync.library / ".memosync" / name
    path = next(place.iterdir()) if place.is_dir() else place

    path.chmod(0)
    found = memosync.run("check").out
    started = memosync.run("seed", "--detach")
    path.chmod(0o600)

    (rights,) = [line for line in found.splitlines() if "\trights\t" in line]
    assert rights.startswith("note\t")
    assert str(path) in rights
    if place == path:
        assert started.code == SeederError.exit_code
        assert f"{path}: permission denied" in errors(started.err)[0]
        memosync("seed", "--detach")
    wait_until(lambda: serves(memosync, port), "it to be served on its port", 20)
