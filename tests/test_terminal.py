"""Record in a terminal: the live line, its keys, and the window that is closed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from support import vmic
from support.disk import SmallDisk
from support.library import memos
from support.program import PROGRAM, Program
from support.sound import noise
from support.terminal import Screen, Terminal
from support.vmic import Microphone

from memosync.errors import AudioError

ID = re.compile(r"\b[0-9a-hjkmnp-tv-z]{8}\b")
CLOCK = re.compile(r"\b(\d\d):(\d\d)\b")
LEVEL = re.compile(r"[−-]\d+ dB")

READS_SLOWLY = """
import io
import time
from memosync import files
open_regular = files.open_regular

class Slow(io.BufferedReader):
    def readinto(self, buffer):
        time.sleep(len(buffer) / 6e7)  # seconds
        return super().readinto(buffer)

files.open_regular = lambda *given, **options: Slow(open_regular(*given, **options).detach())
"""
Record = Callable[..., Terminal]


@pytest.fixture
def record(memosync: Program, microphone: Microphone) -> Iterator[Record]:
    """Start `memosync record` in a terminal."""
    terminals: list[Terminal] = []

    def start(*arguments: str, **options: Any) -> Terminal:
        command = [*memosync.under, *PROGRAM, "record", *arguments]
        terminals.append(Terminal(command, memosync.environment, **options))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


def trash(memosync: Program) -> list[dict[str, Any]]:
    """Give the entries of the index that are in the trash, whose files have to be there too."""
    index = tomllib.loads((memosync.library / "index.toml").read_text())
    entries = [entry for entry in index["memo"] if "trashed" in entry]
    assert all((memosync.library / ".memosync" / "trash" / entry["file"]).is_file() for entry in entries)
    return entries


def clock(screen: Screen) -> int:
    """Give the seconds that the live line shows, -1 while there is none."""
    times = [CLOCK.search(line) for line in screen.lines]
    return next((int(time[1]) * 60 + int(time[2]) for time in times if time), -1)


def reaches(seconds: int) -> Callable[[Screen], bool]:
    """Tell whether the clock shows so much."""
    return lambda screen: clock(screen) >= seconds


def says_paused(screen: Screen) -> bool:
    return "paused" in screen.text.lower()


@pytest.mark.parametrize("columns", [30, 80, 200])
def test_the_live_line_is_redrawn_in_place(record: Record, columns: int) -> None:
    terminal = record(columns=columns)
    terminal.wait_for(reaches(1), "the live line")
    screen: Screen = terminal.screen
    before = (screen.wrapped, screen.scrolled, len(screen.lines), screen.row)

    terminal.wait_for(reaches(3), "two seconds more")

    assert (screen.wrapped, screen.scrolled, len(screen.lines), screen.row) == before
    assert len([line for line in screen.lines if CLOCK.search(line)]) == 1
    terminal.type("q")
    terminal.end()


def test_the_live_line_shows_what_design_promises(record: Record, microphone: Microphone) -> None:
    terminal = record()
    terminal.wait_for(lambda screen: reaches(1)(screen) and LEVEL.search(screen.text), "a clock and a level")

    (line,) = [line for line in terminal.screen.lines if CLOCK.search(line)]
    assert line.lstrip().startswith("●")
    for key in ("[space] pause", "[enter] save", "[x][x] discard"):
        assert key in line
    loud = LEVEL.search(line)
    assert loud
    microphone.play(vmic.square(30))  # -61 dB
    terminal.wait_for(lambda screen: re.search("[−-](5|6)[0-9] dB", screen.text), "a lower level")
    terminal.type("q")
    terminal.end()


def test_a_terminal_may_change_its_width(record: Record) -> None:
    terminal = record(columns=120)
    terminal.wait_for(reaches(1), "the live line")

    terminal.resize(31)
    terminal.screen.wrapped = 0
    terminal.wait_for(reaches(clock(terminal.screen) + 1), "the live line again")
    terminal.wait_for(reaches(clock(terminal.screen) + 1), "a second more")

    assert terminal.screen.wrapped <= 1  # what was drawn while it changed
    assert len(terminal.screen.lines) <= 2
    terminal.type("q")
    terminal.end()


@pytest.mark.parametrize("only", [{}, {"rate": 16_000, "channels": 2}], ids=["48 kHz", "16 kHz, stereo"])
def test_space_pauses_and_resumes(
    memosync: Program, microphone: Microphone, record: Record, only: dict[str, int]
) -> None:
    if only:
        memosync.environment.update(microphone.limited(**only))
    terminal = record()
    terminal.wait_for(reaches(2), "the live line")

    pressed = microphone.position
    terminal.type(" ")
    terminal.wait_for(says_paused, "that it pauses")
    paused, shown = microphone.position, clock(terminal.screen)
    terminal.wait_for(lambda _: microphone.position > paused + 2, "two seconds")
    assert clock(terminal.screen) - shown <= 1
    again = microphone.position
    terminal.type(" ")
    terminal.wait_for(lambda screen: not says_paused(screen), "that it goes on")
    resumed = microphone.position
    terminal.wait_for(reaches(shown + 2), "more sound")
    terminal.type("q")
    terminal.end()

    (memo,) = memos(memosync)
    before, after = vmic.stretches(Path(memo["path"]))
    assert pressed - 0.6 < before.end < paused + 0.6  # a window of comparison moves by a quarter
    assert again - 1 < after.begin < resumed + 1  # and is a second long
    assert memo["duration"] == pytest.approx(before.end - before.begin + after.end - after.begin, abs=1)


@pytest.mark.parametrize("key", ["\r", "q", "\x03"], ids=["enter", "q", "Ctrl-C"])
def test_a_key_saves(memosync: Program, microphone: Microphone, record: Record, key: str) -> None:
    terminal = record("-t", "Interview")
    terminal.wait_for(reaches(2), "the live line")

    position = microphone.position
    terminal.type(key)
    screen = terminal.end()

    (memo,) = memos(memosync)
    assert ID.findall(screen.splitlines()[-1]) == [memo["id"]]
    assert "Interview" in screen
    assert position - vmic.stretches(Path(memo["path"]))[-1].end < 0.5


def test_four_ctrl_c_in_a_row_save_once(memosync: Program, microphone: Microphone, record: Record) -> None:
    terminal = record("-t", "Interview")
    terminal.wait_for(reaches(2), "the live line")

    position = microphone.position
    for _ in range(4):
        terminal.type("\x03")
    screen = terminal.end()

    (memo,) = memos(memosync)
    assert screen.count(memo["id"]) == 2  # what was saved, and the answer
    assert position - vmic.stretches(Path(memo["path"]))[-1].end < 0.5


def test_x_x_discards_into_the_trash(memosync: Program, record: Record) -> None:
    terminal = record("-t", "Interview")
    terminal.wait_for(reaches(1), "the live line")

    terminal.type("x")
    terminal.wait_for(lambda screen: re.search(r"again|once more|\[x\] discard", screen.text), "the question")
    terminal.type("x")
    screen = terminal.end()

    assert memos(memosync) == []
    (memo,) = trash(memosync)
    assert memo["title"] == "Interview"
    assert f"discarded: {memo['id']} “Interview” is in the trash" in screen


def test_one_x_discards_nothing(memosync: Program, record: Record) -> None:
    terminal = record()
    terminal.wait_for(reaches(1), "the live line")

    terminal.type("x")
    terminal.wait_for(reaches(2), "it goes on")
    terminal.type(" ")
    terminal.wait_for(says_paused, "another key")
    terminal.type("x")
    terminal.wait_for(lambda screen: not says_paused(screen) or "again" in screen.text, "the question")
    terminal.type("\r")
    terminal.end()

    assert len(memos(memosync)) == 1
    assert trash(memosync) == []


def test_an_x_is_forgotten_after_two_seconds(memosync: Program, record: Record) -> None:
    terminal = record()
    terminal.wait_for(reaches(1), "the live line")

    terminal.type("x")
    terminal.wait_for(lambda screen: "again" in screen.text, "the question")
    terminal.wait_for(lambda screen: "again" not in screen.text, "it is forgotten", seconds=10)
    terminal.type("x")
    terminal.wait_for(lambda screen: "again" in screen.text, "the question, once more")
    terminal.type("\r")
    terminal.end()

    assert len(memos(memosync)) == 1
    assert trash(memosync) == []


def test_what_listens_to_a_memo_says_how_long_it_will_still_take(memosync: Program) -> None:
    draw = "from memosync.ui.live import Listening; from time import sleep; bar = Listening()"
    draw += "; bar(0.1, b''); sleep(1.2); bar(0.5, b''); sleep(1.2); bar(0.75, b'')"
    terminal = Terminal([sys.executable, "-c", draw], memosync.environment)
    terminal.end()
    terminal.close()

    assert re.search(r" 10%  ██░+  listening to it\r", terminal.wrote)
    assert re.search(r" 50%  █{10}░{10}  listening to it  [23] s left\r", terminal.wrote)


def test_of_one_that_is_large_each_verb_says_how_far_it_is(memosync: Program, tmp_path: Path) -> None:
    loud = noise(tmp_path / "minute.webm", 15, "-ac", "2", "-c:a", "libopus", "-b:a", "512k", "-compression_level", "0")
    large = tmp_path / "large.webm"
    loop = ["ffmpeg", "-v", "error", "-stream_loop", "35", "-i", str(loud), "-c", "copy", str(large)]
    subprocess.run(loop, check=True, timeout=60)
    memosync("record", large, "-t", "Large")
    memosync.meddle(READS_SLOWLY)
    silent: list[tuple[object, str]] = []
    looks, of_1 = r"\d%  of “Large” looked at", r"[1-9]%  of 1 memo"
    for command, shown in (
        (["record", large], r"\d%  \S*large.webm, compared with what is here"),
        (["edit", "last", "-d", "Long"], of_1),
        (["share", "last", "--no-seed"], r"[1-9]%  “Large”"),
        (["check"], of_1),
        (["export", "last", "-o", tmp_path / "sealed.webm"], looks),
        (["share", "last", "--public", "--yes", "--no-seed"], r"[1-9]%  “Large”"),
        (["check"], of_1),
        (["export", "last", "-o", tmp_path / "public.webm"], looks),
    ):
        terminal = Terminal([*PROGRAM, *map(str, command)], memosync.environment, 200)
        terminal.end(None)
        terminal.close()

        assert "%" not in terminal.screen.text, command
        if not re.search(shown, terminal.wrote):
            silent.append((command[0], terminal.wrote))

    assert [name for name, _ in silent] == [], silent


def test_a_closed_window_saves(memosync: Program, microphone: Microphone, record: Record) -> None:
    terminal = record("-t", "Interview")
    terminal.wait_for(reaches(2), "the live line")

    position = microphone.position
    terminal.hang_up()

    assert terminal.process.wait(20) == 0
    (memo,) = memos(memosync)
    assert memo["title"] == "Interview"
    assert position - vmic.stretches(Path(memo["path"]))[-1].end < 0.5


def test_the_meter_is_there_where_standard_output_is_a_pipe(memosync: Program, record: Record) -> None:
    terminal = record(stdout=subprocess.PIPE)
    terminal.wait_for(reaches(1), "the live line")

    terminal.type("\r")
    terminal.end()

    (memo,) = memos(memosync)
    assert terminal.process.stdout
    assert terminal.process.stdout.read() == f"{memo['id']}\n".encode()
    assert memo["id"] not in terminal.screen.lines


@pytest.mark.parametrize("columns", [40, 80])
def test_under_an_hour_the_minutes_that_the_disk_has_are_shown(
    memosync: Program, disk: SmallDisk, record: Record, columns: int
) -> None:
    disk.fill(room=4_000_000)  # 8 minutes: a recording is written twice
    terminal = record(columns=columns)

    terminal.wait_for(lambda screen: reaches(1)(screen) and re.search("disk [678] min", screen.text), "the minutes")
    terminal.type("q")
    terminal.end()


def test_a_lost_device_rings_the_bell(memosync: Program, microphone: Microphone, record: Record) -> None:
    terminal = record()
    terminal.wait_for(reaches(1), "the live line")

    microphone.pull()
    terminal.end(AudioError.exit_code)

    assert terminal.screen.bells == 1
    assert "memosync: error:" in terminal.screen.text
    assert memos(memosync)


@pytest.mark.parametrize("keeps", ["the beginnings", "all"])
def test_of_a_line_nothing_is_left_when_the_window_has_become_narrower(keeps: Literal["the beginnings", "all"]) -> None:
    ours, theirs = os.pipe()
    tail = "' on port 40123, 2 peers, 1.2 MB given, 1 device in sync', ''"
    talk = f"t.answer('magnet:?'); t.show('serving 1 memo', {tail}); os.read({ours}, 1); t.show('serving 2', {tail})"
    command = [sys.executable, "-c", f"import os; from memosync.ui import terminal as t; {talk}; t.leave()"]
    terminal = Terminal(command, dict(os.environ), columns=80, pass_fds=[ours])
    terminal.wait_for(lambda screen: "in sync" in screen.text, "the line")

    terminal.resize(25, keeps)
    os.write(theirs, b".")

    terminal.end()
    assert terminal.screen.lines == ["magnet:?", "serving 2"]
    terminal.close()
    for descriptor in (ours, theirs):
        os.close(descriptor)


def test_a_ctrl_c_leaves_the_line_as_it_was(memosync: Program) -> None:
    memosync("list")
    terminal = Terminal([*PROGRAM, "seed"], memosync.environment)
    terminal.wait_for(lambda screen: "serving 0 memos" in screen.text, "the line")

    terminal.type("\x03")

    terminal.end(None)
    assert "^C" not in terminal.screen.text
    assert "serving 0 memos on port" in terminal.screen.text
    terminal.close()


def test_an_answer_takes_the_place_of_the_line_that_is_redrawn() -> None:
    """As the link of `share --foreground`, which comes while the line says that it is checked."""
    talk = "t.show('serving 0 memos'); t.answer('magnet:?'); t.show('serving 1'); t.leave()"
    command = [sys.executable, "-c", f"from memosync.ui import terminal as t; {talk}"]
    terminal = Terminal(command, dict(os.environ), columns=80)
    terminal.end()
    terminal.close()

    assert [line for line in terminal.screen.lines if line] == ["magnet:?", "serving 1"]
