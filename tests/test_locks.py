"""Locks that others have, or that a file system has not got: nobody waits in silence, deaf, or for ever."""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support import sound
from support.library import entries, state
from support.program import Ended, Program, errors
from support.waiting import wait_until

from memosync import files
from memosync.errors import LibraryError
from memosync.library.store import Library
from memosync.memo import MemoId, new_id

SECOND = sound.wav(sound.tone(1))
WITHOUT_LOCKS = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=flock", "-e", "inject=flock:error=ENOLCK"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with two memos, of which the second is in the trash, and its link beside it."""
    home = tmp_path_factory.mktemp("home")
    program = Program(home / "Memos", {"HOME": str(home)})
    for title in ("One", "Two"):
        program("record", "-", "-t", title, stdin=SECOND)
    (home / "link").write_text(program("share", "--no-seed", "last").out)
    program("rm", "last")
    return program.library


@pytest.fixture
def other(memosync: Program, recorded: Path, tmp_path: Path) -> Program:
    """A library in which a file is not in the index yet."""
    shutil.copytree(recorded, memosync.library)
    shutil.copytree(recorded, tmp_path / "Other")
    (file,) = recorded.glob("*.webm")
    stray = MemoId(new_id(b"stray"))
    shutil.copy(file, tmp_path / "Other" / f"{file.stem[:-8]}{stray}.webm")
    return memosync.on(tmp_path / "Other")


class Waiting:
    """A process that is in front of a lock, and what it says."""

    def __init__(self, process: subprocess.Popen[Any], said: Path) -> None:
        self.process, self._said = process, said

    def said(self) -> str:
        return self._said.read_text()

    def end(self, number: signal.Signals) -> tuple[int, float]:
        """Signal it, and give its exit code and the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(20), time.monotonic() - began


def begin(program: Program, ended: Ended, said: Path, *arguments: object, stdin: bytes = b"") -> Waiting:
    with said.open("wb") as err:
        process = ended(program.start(*arguments, stdin=subprocess.PIPE, stderr=err))
    assert process.stdin
    process.stdin.write(stdin)
    process.stdin.close()
    return Waiting(process, said)


@pytest.fixture
def held(memosync: Program, other: Program) -> Iterator[None]:
    """Both libraries' locks are ours, and those of their memos."""
    with ExitStack() as locks:
        for program in (memosync, other):
            library = Library(program.library)
            for memo in library.index().memos:
                locks.enter_context(library.lock(memo.id))
            locks.enter_context(files.locked(library.inner / "lock", remove=False))
        yield


def test_who_waits_for_a_lock_says_for_whom_and_hears_that_it_is_to_end(
    memosync: Program, other: Program, recorded: Path, held: None, tmp_path: Path, ended: Ended
) -> None:
    link = recorded.with_name("link").read_text()
    (tmp_path / "second.wav").write_bytes(SECOND)
    before = state(memosync.library)

    waiting = [
        begin(memosync, ended, tmp_path / "1", "share", "--no-seed", "--all"),
        begin(memosync, ended, tmp_path / "2", "record", "--again", tmp_path / "second.wav"),
        begin(memosync, ended, tmp_path / "3", "fetch", "-", stdin=link.encode()),
        begin(memosync, ended, tmp_path / "4", "edit", entries(memosync)[0]["id"], "-t", "Other"),
        begin(other, ended, tmp_path / "5", "check"),
    ]
    for one in waiting:
        wait_until(lambda: f"waiting for process {os.getpid()} (" in one.said(), one.said)  # noqa: B023
    ends = [one.end(signal.SIGINT if number % 2 else signal.SIGTERM) for number, one in enumerate(waiting)]

    assert [code for code, _ in ends] == [143, 130, 143, 130, 143]
    assert statistics.median(seconds for _, seconds in ends) < 1, ends  # a machine that is busy is late now and then
    assert not any("Traceback" in one.said() for one in waiting)
    assert not any(errors(one.said()) for one in waiting)
    assert before == {name: data for name, data in state(memosync.library).items() if "/cache/" not in name}


def test_what_was_recorded_is_kept_by_who_may_not_wait_for_the_index(
    memosync: Program, other: Program, held: None, tmp_path: Path, ended: Ended
) -> None:
    waiting = begin(memosync, ended, tmp_path / "said", "record", "-", "-t", "Three", stdin=SECOND)
    wait_until(lambda: "waiting for process" in waiting.said(), waiting.said)

    assert waiting.end(signal.SIGTERM)[0] == 143
    assert "the recording is kept in " in waiting.said()
    assert [entry["title"] for entry in entries(memosync)] == ["One", "Two"]


def test_a_signal_that_ended_a_recording_does_not_end_the_wait_to_save_it(
    memosync: Program, other: Program, tmp_path: Path, ended: Ended
) -> None:
    library = Library(memosync.library)
    with files.locked(library.inner / "lock", remove=False):
        process = ended(memosync.start("record", "-", "-t", "Three", stdin=subprocess.PIPE))
        assert process.stdin
        process.stdin.write(SECOND)
        process.stdin.flush()
        wait_until(lambda: any(part.stat().st_size > 1_000 for _, part in library.recordings()), "some of it")
        process.send_signal(signal.SIGINT)
        wait_until(lambda: b"waiting for process" in said(process), "it to wait")

    process.communicate(timeout=20)
    assert process.returncode in (0, 130)
    assert [entry["title"] for entry in entries(memosync)] == ["One", "Two", "Three"]


def said(process: subprocess.Popen[bytes]) -> bytes:
    """Read what a process says on standard error, as far as it has."""
    assert process.stderr
    os.set_blocking(process.stderr.fileno(), False)
    return process.stderr.read() or b""


def test_a_file_system_without_locks_is_said_in_one_line_and_what_only_looks_works(
    memosync: Program, other: Program, recorded: Path, tmp_path: Path
) -> None:
    (memosync.library / ".memosync/seeder.lock").touch()
    one = entries(memosync)[0]["id"]
    memosync.under = other.under = WITHOUT_LOCKS
    before = state(memosync.library)

    for looking in (
        ["list"],
        ["list", "--json"],
        ["show", one],
        ["check"],
        ["export", one, "-o", tmp_path / "one.webm"],
    ):
        result = memosync.run(*looking)

        assert (result.code, errors(result.err)) == (0, []), looking
        assert result.out
    assert other("list").out.count("One") == 1  # what is no memo yet stays so
    for changing in (["record", "-"], ["edit", one, "-t", "Other"], ["share", one], ["rm", one], ["restore", "last"]):
        result = memosync.run(*changing, stdin=SECOND)

        assert (result.code, result.out) == (LibraryError.exit_code, ""), changing
        (error,) = errors(result.err)
        assert error.endswith("this file system has no locks")
        assert "hint: mount it with locks" in result.err
        assert "Traceback" not in result.err
    assert before.items() <= state(memosync.library).items()
