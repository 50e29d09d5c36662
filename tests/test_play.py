"""Play memos through a real PulseAudio whose output is recorded, and compare what was heard with what is in them."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
from array import array
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from support import sound, vmic
from support.disk import read_only
from support.library import memos
from support.long import more
from support.program import PROGRAM, Ended, Program, errors
from support.seeder import state
from support.terminal import Screen, Terminal
from support.vmic import RATE, Microphone
from support.waiting import wait_until

from memosync.commands.play import Listener
from memosync.console import Console
from memosync.errors import AudioError, Interrupted, LibraryError, MemosyncError, NotFoundError, UsageError
from memosync.stop import Stop

LENGTH = 120  # seconds of the long memo
CLOCK = re.compile(r"(\d\d):(\d\d) / 02:00")
BARS = re.compile("[▁▂▃▄▅▆▇█]")


@pytest.fixture(scope="module")
def speaker() -> Iterator[Microphone]:
    """A sound server of which only the output is used."""
    with vmic.plugged_in() as device:
        yield device


def file_of(directory: Path, name: str, samples: bytes) -> Path:
    """Make a memo's file of samples, to be taken over as it is."""
    path = directory / f"{name}.wav"
    path.write_bytes(sound.wav(samples))
    return sound.convert(path, directory / f"{name}.webm", "-c:a", "libopus", "-b:a", "32k")


@pytest.fixture(scope="module")
def signal_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with one memo of two minutes, in which any second tells which it is."""
    directory = tmp_path_factory.mktemp("signal")
    Program(directory / "Memos", {})("record", file_of(directory, "signal", vmic.signal()))
    return directory / "Memos"


@pytest.fixture
def player(memosync: Program, speaker: Microphone) -> Program:
    """The program, where there is something to play through."""
    memosync.environment.update(speaker.environment)
    return memosync


@pytest.fixture
def long_memo(player: Program, signal_library: Path) -> Program:
    """The program with the signal as its only memo."""
    shutil.copytree(signal_library, player.library)
    return player


@pytest.fixture
def play(long_memo: Program) -> Iterator[Callable[..., Terminal]]:
    """Start `memosync play last` in a terminal."""
    terminals: list[Terminal] = []

    def start(*arguments: object, command: tuple[str, ...] = (), **options: Any) -> Terminal:
        whole = [*command, *PROGRAM, "play", "last", *map(str, arguments)]
        terminals.append(Terminal(whole, long_memo.environment, **options))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


def path_of(memosync: Program) -> Path:
    """Give the file of the memo that was added last."""
    return Path(json.loads(memosync("list", "--json", "-n", "1").out)["path"])


def decoded(path: Path, begin: float = 0.0) -> array[int]:
    """Have FFmpeg decode all that is behind a position."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "s16le", "-ac", "1", "-"]
    samples = array("h", subprocess.run(command, check=True, capture_output=True).stdout)
    return samples[round(begin * RATE) :]


def assert_heard(heard: array[int], expected: array[int]) -> None:
    """Insist on every sample; where it begins may be a millisecond off, which is Matroska's unit of time."""
    assert abs(len(heard) - len(expected)) <= RATE // 1000
    shifts = range(-RATE // 1000, RATE // 1000 + 1)
    shift = min(shifts, key=lambda by: sum(abs(heard[at] - expected[at + by]) for at in range(2000, 2300)))
    both = range(max(0, -shift), min(len(heard), len(expected) - shift))
    assert max(abs(heard[at] - expected[at + shift]) for at in both) <= 2


def without_pauses(heard: array[int]) -> array[int]:
    """Leave out where nothing was played, because the next of it had not come yet: on a busy machine that may be.

    The shortest that was seen took 40 ms.
    """
    return array("h", re.sub(rb"(?:\0\0){900,}", b"", heard.tobytes()))


def stretches(heard: array[int], directory: Path) -> list[vmic.Stretch]:
    """Say which parts of the signal were heard."""
    path = directory / "heard.wav"
    path.write_bytes(sound.wav(heard.tobytes()))
    return vmic.stretches(path)


def clock(screen: Screen) -> int:
    """Give the position that is shown, in seconds; -1 while there is none."""
    found = CLOCK.search(screen.text)
    return int(found[1]) * 60 + int(found[2]) if found else -1


def is_drawn(screen: Screen) -> bool:
    """Tell whether the cursor is back at the first row of the waveform, and nothing half-drawn."""
    return next((row for row, line in enumerate(screen.lines) if "│" in line), -1) == screen.row


# -- what is heard


def test_every_sample_is_heard_to_the_last(player: Program, speaker: Microphone, tmp_path: Path) -> None:
    player("record", file_of(tmp_path, "short", vmic.signal()[: 2 * round(1.234 * RATE)]))

    with speaker.listening() as ear:
        result = player("play", "last")

    assert result.out == ""
    assert re.fullmatch(r"memosync: playing \w{8} “short”, \d\.\d s\n", result.err)
    assert_heard(ear.sound, decoded(path_of(player)))


def test_from_begins_there_to_the_millisecond(long_memo: Program, speaker: Microphone) -> None:
    with speaker.listening() as ear:
        long_memo("play", "last", "--from", "1:58.9")

    assert_heard(ear.sound, decoded(path_of(long_memo), 118.9))


@pytest.mark.parametrize(("speed", "seconds"), [("0.5", 0.5), ("2", 2), ("3", 3)])
def test_speed_changes_the_length_and_not_the_pitch(
    player: Program, speaker: Microphone, tmp_path: Path, speed: str, seconds: float
) -> None:
    player("record", file_of(tmp_path, "tone", sound.tone(seconds)))

    with speaker.listening() as ear:
        player("play", "last", "--speed", speed)

    (tmp_path / "heard.wav").write_bytes(sound.wav(ear.sound.tobytes()))
    length, frequency = sound.hear(tmp_path / "heard.wav")
    assert length == pytest.approx(seconds / float(speed), abs=0.05)
    assert frequency == pytest.approx(440, abs=2)


def test_both_channels_are_heard_each_on_its_side(player: Program, speaker: Microphone, tmp_path: Path) -> None:
    left = array("h", [sample for pair in zip(array("h", sound.tone(1)), [0] * RATE, strict=True) for sample in pair])
    (tmp_path / "left.wav").write_bytes(sound.wav(left.tobytes(), channels=2))
    player("record", "--stereo", tmp_path / "left.wav")

    with speaker.listening(channels=2) as ear:
        player("play", "last")

    assert max(ear.sound[::2]) > 10_000
    assert max(ear.sound[1::2]) < 2_000


@pytest.mark.parametrize(
    ("rate", "channels", "speed"),
    [
        (44_100, 2, "1"),
        (48_000, 1, "2"),
        (16_000, 1, "1"),
        (192_000, 2, "2"),
        *more((44_100, 2, "2"), (48_000, 1, "1"), (16_000, 1, "2"), (192_000, 2, "1")),
    ],
)
def test_an_output_with_another_rate_or_one_channel_plays_the_same(
    player: Program, speaker: Microphone, tmp_path: Path, rate: int, channels: int, speed: str
) -> None:
    player("record", "--stereo", file_of(tmp_path, "tone", sound.tone(2)))
    player.environment.update(speaker.limited(rate, channels))

    with speaker.listening() as ear:
        player("play", "last", "--speed", speed)

    heard = ear.sound
    (tmp_path / "heard.wav").write_bytes(sound.wav(heard.tobytes()))
    length, frequency = sound.hear(tmp_path / "heard.wav")
    assert length == pytest.approx(2 / float(speed), abs=0.05)
    assert frequency == pytest.approx(440, abs=2)
    assert max(heard[RATE // 4 : -RATE // 4]) == pytest.approx(12_000, rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["nope"], NotFoundError),
        (["last", "--from", "2:01"], UsageError),
        (["last", "--speed", "0.4"], UsageError),
        (["last", "--speed", "3.1"], UsageError),
        (["last", "--speed", "nan"], UsageError),
    ],
)
def test_what_cannot_be_played_is_one_line(
    long_memo: Program, arguments: list[str], error: type[MemosyncError]
) -> None:
    result = long_memo("play", *arguments, code=error.exit_code)

    assert result.out == ""
    assert len(errors(result.err)) == 1
    assert "playing" not in result.err


def test_fetch_plays_what_it_fetched(player: Program, speaker: Microphone, tmp_path: Path) -> None:
    theirs = player.on(tmp_path / "theirs")
    memo_id = theirs("record", file_of(tmp_path, "short", vmic.signal()[: 2 * RATE])).out
    link = theirs("share", "last").out.strip()

    with speaker.listening() as ear:
        result = player("fetch", "--play", link)

    assert result.out == memo_id
    assert_heard(ear.sound, decoded(path_of(player)))


@pytest.mark.parametrize("form", ["private", "public"])
def test_fetch_plays_it_while_it_arrives(
    player: Program, speaker: Microphone, tmp_path: Path, ended: Ended, form: str
) -> None:
    theirs = player.on(tmp_path / "theirs")
    theirs("record", file_of(tmp_path, "short", vmic.signal()[: 20 * RATE]))
    theirs("seed", "--detach", "--up", "12k")
    link = theirs("share", "last", *["--public"] * (form == "public")).out.strip()

    with speaker.listening() as ear:
        fetching = ended(
            player.start("fetch", "--play", link, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        assert fetching.stderr
        assert fetching.stdout
        coming = player.library / ".memosync" / "incoming"
        wait_until(lambda: sum(path.stat().st_blocks for path in coming.glob("*/*")) * 512 > 30_000, "some of it")
        os.kill(seeder := state(theirs)["pid"], signal.SIGSTOP)  # nothing more comes until it plays
        try:
            while "playing" not in (line := fetching.stderr.readline()):
                assert line
            assert not (player.library / "index.toml").exists()
        finally:
            os.kill(seeder, signal.SIGCONT)
        assert fetching.stdout.read().strip() == memos(player)[0]["id"]
        assert fetching.wait(60) == 0

    assert_heard(without_pauses(ear.sound), without_pauses(decoded(path_of(player))))


def test_what_has_no_room_to_be_heard_at_once_is_heard_later(tmp_path: Path) -> None:
    data = file_of(tmp_path, "short", sound.tone(1)).read_bytes()
    listener = Listener(Console(), nullcontext, Stop())
    add = listener.listen(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        add(data[:60])  # it waits for the rest of the header
        add(data[60:])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    listener.hear_out()

    assert not listener.heard


def test_fetch_gives_its_answer_where_there_is_nothing_to_play_through(memosync: Program, tmp_path: Path) -> None:
    theirs = memosync.on(tmp_path / "theirs")
    memo_id = theirs("record", file_of(tmp_path, "short", sound.tone(1))).out
    link = theirs("share", "last").out.strip()

    memosync.environment.update(vmic.NOWHERE)
    command = [*vmic.NO_DEVICE, *PROGRAM, "fetch", "--play", link]
    done = subprocess.run(command, env=memosync.environment, capture_output=True, text=True, timeout=30)

    assert (done.returncode, done.stdout) == (AudioError.exit_code, memo_id)
    assert f"memosync export {memo_id.strip()}" in done.stderr


# -- accidents


@pytest.mark.parametrize(
    ("missing", "hint"), [(vmic.NO_DEVICE, "memosync export {}"), (vmic.NO_PORTAUDIO, "apt install libportaudio2")]
)
def test_what_is_missing_is_said_with_what_helps(long_memo: Program, missing: list[str], hint: str) -> None:
    long_memo.environment.update(vmic.NOWHERE)
    done = subprocess.run(
        [*missing, *PROGRAM, "play", "last"], env=long_memo.environment, capture_output=True, text=True, timeout=30
    )

    assert (done.returncode, done.stdout) == (AudioError.exit_code, "")
    error, said = done.stderr.splitlines()
    assert error.startswith("memosync: error: ")
    assert said.startswith("memosync: hint: ")
    assert hint.format(long_memo("list").out[:8]) in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_it(long_memo: Program, speaker: Microphone, number: signal.Signals) -> None:
    with speaker.listening() as ear:
        process = long_memo.start("play", "last")
        ear.wait(0.3)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)

    assert process.returncode == Interrupted(number).exit_code
    assert errors(err.decode()) == []
    assert len(ear.sound) < 10 * RATE


@pytest.mark.parametrize("accident", [Microphone.pull, Microphone.stall, Microphone.die], ids=lambda way: way.__name__)
def test_an_output_that_is_lost_is_exit_7(long_memo: Program, accident: Callable[[Microphone], None]) -> None:
    with vmic.plugged_in() as device:
        long_memo.environment.update(device.environment)
        with device.listening() as ear:
            process = long_memo.start("play", "last")
            ear.wait(0.3)
            accident(device)
            _, err = process.communicate(timeout=60)

    assert process.returncode == AudioError.exit_code
    assert len(errors(err.decode())) == 1
    assert "memosync export " in err.decode()


def test_a_frozen_sound_system_is_no_reason_to_ignore_a_signal(long_memo: Program) -> None:
    with vmic.plugged_in() as device:
        device.stall()
        process = long_memo.start("play", "last", env=device.environment)
        wait_until(lambda: vmic.has_socket(process.pid), "it asks the sound server")

        process.terminate()

        assert process.wait(20) == Interrupted(signal.SIGTERM).exit_code


def test_damage_costs_what_it_hit(player: Program, speaker: Microphone, tmp_path: Path) -> None:
    player("record", file_of(tmp_path, "short", vmic.signal()[: 4 * RATE]))
    path = path_of(player)
    sound.convert(tmp_path / "short.wav", path, "-c:a", "libvorbis")  # what a fetched one may be
    whole = decoded(path)
    packets = sound.packets(path)
    spoiled = max(packets[len(packets) // 3 : len(packets) * 2 // 3], key=len)
    path.write_bytes(path.read_bytes().replace(spoiled, b"\xff" * len(spoiled)))  # which is no audio packet

    with speaker.listening() as ear:
        player("play", "last")

    assert len(whole) - RATE // 10 < len(ear.sound) < len(whole)
    assert_heard(ear.sound[: RATE // 2], whole[: RATE // 2])
    assert_heard(ear.sound[-RATE // 2 :], whole[-RATE // 2 :])


@pytest.mark.parametrize(
    "content", [b"", b"#EXTM3U\nhttp://127.0.0.1:9/x\n", bytes(100_000)], ids=["empty", "HLS", "0"]
)
def test_a_file_that_is_none_is_exit_7(long_memo: Program, content: bytes) -> None:
    path_of(long_memo).write_bytes(content)

    result = long_memo("play", "last", code=AudioError.exit_code)

    assert len(errors(result.err)) == 1


def test_a_file_that_is_gone_is_exit_6(long_memo: Program) -> None:
    path_of(long_memo).unlink()

    assert len(errors(long_memo("play", "last", code=LibraryError.exit_code).err)) == 1


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_cost_nothing(long_memo: Program, speaker: Microphone, streams: str) -> None:
    command = ["sh", "-c", f'exec "$@" {streams}', "sh", *PROGRAM, "play", "last", "--from", "1:59.5"]
    with speaker.listening() as ear:
        done = subprocess.run(command, env=long_memo.environment, capture_output=True, text=True, timeout=30)

    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert len(ear.sound) == pytest.approx(RATE / 2, rel=0.01)


def test_a_memo_on_a_read_only_disk_is_heard(long_memo: Program, speaker: Microphone) -> None:
    long_memo.under = read_only(long_memo.library)
    with speaker.listening() as ear:
        long_memo("play", "last", "--from", "1:59.5")

    assert len(ear.sound) == pytest.approx(RATE / 2, rel=0.01)


# -- in a terminal


@pytest.mark.parametrize("columns", [30, 200, *more(80)])
def test_the_waveform_is_redrawn_in_place(play: Callable[..., Terminal], columns: int) -> None:
    terminal = play(columns=columns)
    screen = terminal.screen
    terminal.wait_for(
        lambda screen: clock(screen) >= 1 and BARS.search(screen.text) and is_drawn(screen), "the waveform"
    )
    before = (screen.wrapped, screen.scrolled, len(screen.lines), screen.row)
    wave = [line.index("│") for line in screen.lines if "│" in line]

    terminal.type("9")
    terminal.wait_for(lambda screen: clock(screen) >= 109 and is_drawn(screen), "a second near the end")

    after = [line.index("│") for line in screen.lines if "│" in line]
    assert (screen.wrapped, screen.scrolled, len(screen.lines), screen.row) == before
    assert len(set(wave)) == len(set(after)) == 1
    assert after[0] == pytest.approx((columns - 1) * 109 / LENGTH, abs=1.5)
    assert {len(line) for line in screen.lines if "│" in line} <= set(range(columns))
    terminal.type("q")
    screen_after = terminal.end()
    assert "│" not in screen_after
    assert "▶" not in screen_after


def test_the_keys_do_what_they_say(play: Callable[..., Terminal]) -> None:
    terminal = play(columns=120)
    terminal.wait_for(lambda screen: clock(screen) >= 0, "the player")

    terminal.type(" ")
    terminal.wait_for(lambda screen: "‖" in screen.text, "that it pauses")
    for keys, position in [
        ("5", 60),
        ("\x1b[D", 55),
        ("\x1b[C\x1b[C", 65),
        ("\x1b[1;2D", 5),
        ("\x1b[1;2C", 65),
        ("\x1b[6~", 5),
        ("\x1b[B", 0),
        ("\x1b[5~\x1bOC", 65),
        ("\x1b[5~", 120),
        ("9", 108),
        ("\x1b", 108),  # no key of ours, and the next one counts all the same
        ("0", 0),
    ]:
        terminal.type(keys)
        terminal.wait_for(lambda screen, wanted=position: clock(screen) == wanted, f"{keys!r} leads to {position} s")  # type: ignore[misc]
    for keys, speed in [("]", "1.25×"), ("[[", "0.75×"), ("[[[[", " 0.5×"), ("]" * 12, " 3×")]:
        terminal.type(keys)
        terminal.wait_for(lambda screen, wanted=speed: wanted in screen.text, f"a speed of {speed}")  # type: ignore[misc]
    terminal.type("[" * 12 + " \x1b[")  # a key that comes in two parts, as it may over a slow line
    terminal.wait_for(lambda screen: clock(screen) == 1, "that it goes on")
    terminal.type("C")
    terminal.wait_for(lambda screen: clock(screen) >= 6, "5 s more")
    terminal.type("q")
    terminal.end()


def test_what_the_keys_choose_is_heard(play: Callable[..., Terminal], speaker: Microphone, tmp_path: Path) -> None:
    with speaker.listening() as ear:
        terminal = play()
        ear.wait(2)
        terminal.type(" ")
        terminal.wait_for(lambda screen: "‖" in screen.text, "that it pauses")
        paused = len(ear.sound) / RATE
        terminal.type(" ")
        ear.wait(paused + 2)
        terminal.type("5")
        ear.wait(len(ear.sound) / RATE + 2)
        terminal.type("q")
        terminal.end()

    first, *rest, last = stretches(ear.sound, tmp_path)
    assert first.begin == pytest.approx(0, abs=0.1)
    assert rest == [] or rest[0].begin == pytest.approx(first.end, abs=0.8)  # what a busy machine is late by
    assert last.begin == pytest.approx(60, abs=0.8)


def test_at_its_end_the_terminal_is_given_back(play: Callable[..., Terminal]) -> None:
    terminal = play("--from", "1:59")

    assert "error" not in terminal.end()


@pytest.mark.parametrize(("number", "key"), [(signal.SIGINT, "\x03"), (signal.SIGTERM, "")], ids=["INT", "TERM"])
def test_a_signal_gives_the_terminal_back(play: Callable[..., Terminal], number: signal.Signals, key: str) -> None:
    terminal = play()
    terminal.wait_for(lambda screen: clock(screen) >= 0, "the player")

    if key:
        terminal.type(key)
    else:
        terminal.process.send_signal(number)

    assert "error" not in terminal.end(Interrupted(number).exit_code)


def test_a_closed_window_ends_it(play: Callable[..., Terminal]) -> None:
    terminal = play()
    terminal.wait_for(lambda screen: clock(screen) >= 0, "the player")

    terminal.hang_up()

    assert terminal.process.wait(60) == Interrupted(signal.SIGHUP).exit_code


def test_a_terminal_that_cannot_redraw_only_hears_it(play: Callable[..., Terminal]) -> None:
    terminal = play("--from", "1:59.5", command=("env", "TERM=dumb"))

    screen = terminal.end()

    assert "playing" in screen
    assert "▶" not in screen


def test_in_the_background_it_leaves_the_terminal_alone(play: Callable[..., Terminal]) -> None:
    terminal = play("--from", "1:59.5", command=("bash", "-mc", '"$@" & wait $!', "bash"))

    assert "▶" not in terminal.end()


def test_the_waveform_is_drawn_as_it_is_computed_and_disturbs_nothing(
    play: Callable[..., Terminal], long_memo: Program, speaker: Microphone, tmp_path: Path
) -> None:
    path = path_of(long_memo)
    longer = ["-stream_loop", "9", "-i", str(path), "-c", "copy", str(tmp_path / "longer.webm")]
    subprocess.run(["ffmpeg", "-v", "error", *longer], check=True)
    long_memo("record", tmp_path / "longer.webm")

    with speaker.listening() as ear:
        terminal = play()
        terminal.wait_for(lambda _: len(set(re.findall("·+", terminal.wrote))) > 4, "the waveform grows")
        ear.wait(2)
        terminal.type("q")
        terminal.end()

    assert_heard(ear.sound[: 2 * RATE], decoded(path)[: 2 * RATE])
