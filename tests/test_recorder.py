"""Record in the background: begun, asked after and ended by three commands, and whatever happens in between."""

from __future__ import annotations

import itertools
import math
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support import vmic
from support.disk import SmallDisk
from support.library import memos
from support.program import PROGRAM, Ended, Program, Result
from support.terminal import Terminal
from support.vmic import Microphone
from support.waiting import wait_until

from memosync import files, process
from memosync.audio.levels import Meter
from memosync.console import Console
from memosync.errors import AudioError, LibraryError, UsageError
from memosync.library import recorder
from memosync.library.store import Library
from memosync.memo import MemoId, Words

ID = re.compile(r"[0-9a-hjkmnp-tv-z]{8}\n")
WORDS = ["-t", "Interview", "-d", "with the mayor", "--tag", "work", "--tag", "town hall"]


def said(memosync: Program) -> dict[str, object]:
    """Read what the recorder says of itself, nothing while it has not."""
    try:
        return tomllib.loads((memosync.library / ".memosync/recorder.toml").read_text())
    except FileNotFoundError:
        return {}


def number(memosync: Program) -> int:
    pid = said(memosync)["pid"]
    assert isinstance(pid, int)
    return pid


@pytest.fixture(autouse=True)
def no_recorder_is_left(memosync: Program) -> Iterator[None]:
    """Kill one that a test that failed has left."""
    yield
    if recorder.is_running(Library(memosync.library)) and (pid := said(memosync).get("pid")):
        os.kill(int(str(pid)), signal.SIGKILL)


def has(memosync: Program, seconds: float) -> None:
    """Wait until it has recorded so much."""
    wait_until(lambda: float(str(said(memosync).get("elapsed", 0))) >= seconds, f"{seconds} s are recorded")


def assert_nothing_runs(memosync: Program) -> None:
    for option in ("--status", "--stop"):
        asked = memosync("record", option, code=AudioError.exit_code)

        assert asked.out == ""
        assert "memosync: error: nothing is being recorded in the background\n" in asked.err
        assert "memosync record --detach" in asked.err


def missing(path: Path, position: float) -> float:
    """Say how many seconds before this position of the signal a recording ends, which has no gap."""
    (found,) = vmic.stretches(path)
    return position - found.end


def test_a_recording_survives_its_terminal_says_how_it_goes_and_is_ended_by_its_id(
    memosync: Program, microphone: Microphone
) -> None:
    program = " ".join(PROGRAM)
    words = "-t 'Interview at 8' -d '-5 dB' --tag work --tag 'town hall'"
    shell = ["sh", "-c", f"{program} record --detach {words} && cat"]
    window = Terminal(shell, memosync.environment)
    window.wait_for(lambda screen: "record --stop" in screen.text, "it records")
    begin = microphone.position
    window.hang_up()
    assert window.process.wait(60)  # the shell was ended by it

    row = memosync("record", "--status").out.rstrip("\n").split("\t")
    identity, seconds, level, room, title = row
    assert ID.fullmatch(identity + "\n")
    assert (room, title) == ("-", "Interview at 8")
    assert -60 < float(level) < 0
    has(memosync, float(seconds) + 1)

    second = memosync("record", "--detach", code=UsageError.exit_code)
    assert (second.out, memos(memosync)) == ("", [])
    assert "already" in second.err
    assert "memosync record --stop" in second.err

    position = microphone.listen(0.2)
    ended = memosync("record", "--stop")
    assert ended.out == identity + "\n"
    assert "saved" in ended.err
    assert "warning" not in ended.err
    (memo,) = memos(memosync)
    assert (memo["id"], memo["title"], memo["tags"]) == (identity, "Interview at 8", ["work", "town hall"])
    assert memo["description"] == "-5 dB"
    assert missing(Path(memo["path"]), position) < 0.5
    assert vmic.stretches(Path(memo["path"]))[0].begin < begin
    assert_nothing_runs(memosync)
    window.close()


def test_what_was_not_measured_yet_is_no_silence(memosync: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    memosync("list")
    library, begun = Library(memosync.library), []
    library.prepare()
    monkeypatch.setattr(time, "monotonic", itertools.count().__next__)  # a second every time it is asked
    teller = recorder.Teller(library, recorder.RecorderState(), Console(), on_sound=lambda: begun.append(1))
    teller.begin(Words(id=MemoId("abcdefgh")))

    def level(elapsed: float, peak: float) -> float:
        teller.look(Meter(elapsed=elapsed, peak=peak, paused=False, minutes_left=None))
        state = recorder.last(library)
        assert state
        return state.peak

    assert (level(0.1, -math.inf), begun) == (-math.inf, [])
    assert (level(0.1, -20), begun) == (-20, [1])
    assert level(0.2, -math.inf) == -20
    assert level(1.0, -math.inf) == -math.inf  # half a second of nothing
    assert begun == [1]


def kill(memosync: Program, _microphone: Microphone) -> None:
    """Stop it first, which it says nothing of, and whoever asks is told."""
    os.kill(number(memosync), signal.SIGSTOP)
    os.utime(memosync.library / ".memosync/recorder.toml", (0, 0))
    assert "warning: it has said nothing for" in memosync("record", "--status").err
    os.kill(number(memosync), signal.SIGKILL)


def pull(_memosync: Program, microphone: Microphone) -> None:
    microphone.pull()


def end_well(memosync: Program, _microphone: Microphone) -> None:
    os.kill(number(memosync), signal.SIGTERM)


@pytest.mark.parametrize(
    ("accident", "ending", "code", "word"),
    [
        (kill, "the recorder died", 0, "warning: the recorder died"),
        (pull, "the microphone disappeared", AudioError.exit_code, "error: the microphone disappeared"),
        (end_well, "", 0, "saved"),
    ],
    ids=["kill -9", "unplugged", "ended by itself"],
)
def test_what_was_captured_is_saved_and_its_end_is_told(
    memosync: Program,
    microphone: Microphone,
    accident: Callable[[Program, Microphone], None],
    ending: str,
    code: int,
    word: str,
) -> None:
    memosync("record", "--detach", *WORDS)
    has(memosync, 1)
    position = microphone.listen(0.2)

    accident(memosync, microphone)
    wait_until(lambda: not recorder.is_running(Library(memosync.library)), "it has ended")

    status = memosync("record", "--status", code=AudioError.exit_code)
    assert status.out == ""
    assert f"the recording has ended: {ending}" in status.err
    assert "memosync record --stop" in status.err
    stopped = memosync("record", "--stop", code=code)
    assert ID.fullmatch(stopped.out)
    assert word in stopped.err
    (memo,) = memos(memosync)
    assert (memo["id"] + "\n", memo["title"]) == (stopped.out, "Interview")
    assert missing(Path(memo["path"]), position) < 1
    assert_nothing_runs(memosync)


def test_a_full_disk_keeps_it_and_stop_saves_it_when_there_is_room(
    memosync: Program, microphone: Microphone, disk: SmallDisk
) -> None:
    memosync("list")
    disk.fill(room=120_000)
    memosync("record", "--detach", *WORDS, "--bitrate", "192k")
    wait_until(lambda: not recorder.is_running(Library(memosync.library)), "the disk is full")
    position = microphone.position

    full = memosync("record", "--stop", code=LibraryError.exit_code)
    (part,) = (memosync.library / ".memosync/recording").glob("*.part")
    assert full.out == ""
    assert part.name in full.err

    disk.make_room()
    stopped = memosync("record", "--stop")
    (memo,) = memos(memosync)
    assert stopped.out == memo["id"] + "\n"
    assert missing(memosync.library / memo["file"], position) < 2
    assert_nothing_runs(memosync)


def test_stop_has_it_saved_also_while_another_process_is_at_the_index(
    memosync: Program, microphone: Microphone, ended: Ended
) -> None:
    memosync("list")
    memosync("record", "--detach", *WORDS)
    has(memosync, 0.5)
    with files.locked(memosync.library / ".memosync/lock", remove=False):
        stop = ended(memosync.start("record", "--stop"))
        wait_until(lambda: list((memosync.library / ".memosync/recording").glob("*.webm")), "it is finished")
        microphone.listen(0.5)
        assert stop.poll() is None
    out, err = stop.communicate(timeout=60)

    assert stop.returncode == 0, err
    (memo,) = memos(memosync)
    assert out.decode() == memo["id"] + "\n"
    assert b"warning" not in err


def test_one_that_nobody_asked_after_is_told_before_the_next_and_max_and_share_hold(
    memosync: Program, microphone: Microphone
) -> None:
    memosync("record", "--detach", "--max", "1", "--share", "-t", "First")
    wait_until(lambda: not recorder.is_running(Library(memosync.library)), "it has ended")
    (first,) = memos(memosync)
    assert first["private"]  # although nobody has asked
    assert first["duration"] == pytest.approx(1, abs=0.05)

    second = memosync("record", "--detach", "--share", "--max", "60", "-t", "Second")
    assert f"saved: {first['id']} “First”" in second.err
    has(memosync, 0.5)
    link = memosync("record", "--stop").out

    assert link == memosync("share", "last").out
    assert {memo["title"] for memo in memos(memosync)} == {"First", "Second"}


def test_of_several_at_once_one_records_and_the_others_are_refused(memosync: Program, microphone: Microphone) -> None:
    starts = [memosync.start("record", "--detach") for _ in range(3)]
    said = [start.communicate(timeout=120) for start in starts]

    codes = sorted(start.returncode for start in starts)
    assert codes == [0, *[UsageError.exit_code] * 2], said
    memosync("record", "--stop")
    assert len(memos(memosync)) == 1


def refused(memosync: Program, *options: str, code: int) -> Result:
    """Insist that it is refused at once, in a line, and nothing is left."""
    result = memosync("record", "--detach", *options, code=code)
    assert result.out == ""
    assert len(re.findall("^memosync: error: ", result.err, re.MULTILINE)) == 1
    assert "hint" in result.err
    assert memos(memosync) == []
    assert_nothing_runs(memosync)
    return result


def test_what_keeps_it_from_beginning_is_said_by_detach_itself(
    memosync: Program, microphone: Microphone, tmp_path: Path
) -> None:
    assert "is no microphone" in refused(memosync, "--device", "nonsense", code=AudioError.exit_code).err
    assert "--bitrate" in refused(memosync, "--bitrate", "1", code=UsageError.exit_code).err
    assert "--detach" in refused(memosync, str(tmp_path), code=UsageError.exit_code).err
    assert "exclude" in memosync("record", "--detach", "--stop", code=UsageError.exit_code).err
    assert "no other option" in memosync("record", "--stop", "-t", "Late", code=UsageError.exit_code).err
    microphone.die()
    memosync.environment.update(vmic.NOWHERE)
    memosync.under = vmic.NO_DEVICE
    assert "microphone" in refused(memosync, code=AudioError.exit_code).err


def test_no_process_is_ended_but_one_that_holds_the_lock(memosync: Program, ended: Ended) -> None:
    memosync("list")
    library = Library(memosync.library)
    library.prepare()
    holds = "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX); print(); input()"
    lock = memosync.library / ".memosync/recorder.lock"
    holder = ended(subprocess.Popen([sys.executable, "-c", holds, lock], stdin=-1, stdout=-1))
    assert holder.stdout
    assert holder.stdout.readline()
    other = ended(subprocess.Popen(["sleep", "60"]))

    good = recorder.RecorderState(memo="abcdefgh", ended=True)
    for wrong in (
        replace(good, memo="../../precious"),
        replace(good, elapsed=math.nan),
        replace(good, elapsed=math.inf),
        replace(good, memo=""),
    ):
        recorder.write(library, wrong)
        assert recorder.last(library) is None
    for pid, born in ((other.pid, process.birth(other.pid)), (holder.pid, "1"), (holder.pid, ""), (-1, "1"), (0, "1")):
        recorder.write(library, replace(good, pid=pid, born=born))
        assert recorder.last(library)
        recorder.ask_to_end(library)
        assert recorder.current(library) is None
    assert (other.poll(), holder.poll()) == (None, None)

    recorder.write(library, replace(good, pid=holder.pid, born=process.birth(holder.pid)))
    recorder.ask_to_end(library)
    assert holder.wait(60) == -signal.SIGTERM


@pytest.mark.parametrize("code", [0, 1, 9, 143, -1])
def test_of_a_fault_with_no_exit_code_of_ours_it_is_said_that_nothing_was_captured(
    memosync: Program, code: int
) -> None:
    memosync("list")
    library = Library(memosync.library)
    library.prepare()
    recorder.write(library, recorder.RecorderState(memo="abcdefgh", ended=True, fault="it was not well", code=code))

    assert "error: it was not well\n" in memosync("record", "--stop", code=AudioError.exit_code).err
    assert_nothing_runs(memosync)
