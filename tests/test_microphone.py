"""Record from the microphone without a terminal, and let happen to it what happens to recordings."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import sound, vmic
from support.disk import SmallDisk
from support.library import memos
from support.long import more
from support.program import Ended, Program
from support.vmic import Microphone
from support.waiting import wait_until

from memosync.audio import loudness
from memosync.errors import AudioError, LibraryError, UsageError

ID = re.compile(r"[0-9a-hjkmnp-tv-z]{8}\n")
WORDS = ["-t", "Interview", "-d", "with the mayor", "--tag", "work", "--tag", "town hall"]


@dataclasses.dataclass
class Recording:
    """A running `memosync record`."""

    process: subprocess.Popen[Any]
    library: Path
    outputs: Path

    @property
    def out(self) -> str:
        return (self.outputs / "out").read_text()

    @property
    def err(self) -> str:
        return (self.outputs / "err").read_text()

    @property
    def parts(self) -> list[Path]:
        return list((self.library / ".memosync" / "recording").glob("*.part"))

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something that happens while it records."""

        def happens() -> object:
            assert self.process.poll() is None, self.err
            return condition()

        wait_until(happens, what)

    def wait_for_sound(self) -> Recording:
        """Wait until about a second can be read from the disk."""
        self.wait_for(lambda: any(part.stat().st_size > 3000 for part in self.parts), "sound reaches the disk")
        return self

    def wait_for_warning(self, words: str) -> None:
        """Wait until it warns of this."""
        self.wait_for(lambda: re.search(f"memosync: warning: .*({words})", self.err), f"a warning: {words}")

    def end(self, *signals: signal.Signals, code: int = 0) -> str:
        """Send it these signals, insist on its exit code and give what it printed."""
        for number in signals:
            self.process.send_signal(number)
        self.process.wait(60)

        assert code == self.process.returncode, self.err
        return self.out


Record = Callable[..., Recording]


@pytest.fixture
def record(memosync: Program, tmp_path: Path, ended: Ended) -> Record:
    """Start `memosync record` with these arguments."""

    def start(*arguments: object) -> Recording:
        outputs = tmp_path / f"outputs{len(list(tmp_path.glob('outputs*')))}"
        outputs.mkdir()
        with (outputs / "out").open("wb") as out, (outputs / "err").open("wb") as err:
            process = memosync.start("record", *arguments, stdout=out, stderr=err)
        return Recording(ended(process), memosync.library, outputs)

    return start


def path_of(memosync: Program) -> Path:
    """Give the file of the only memo."""
    (memo,) = memos(memosync)
    return Path(memo["path"])


def missing(path: Path, position: float) -> float:
    """Say how many seconds before this position of the signal a recording ends."""
    found = vmic.stretches(path)
    return position - (found[-1].end if found else 0.0)


def probe(path: Path) -> dict[str, Any]:
    """Read a file's format with FFmpeg's own tool."""
    command = ["ffprobe", "-v", "error", "-show_format", "-of", "json", str(path)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["format"])


# -- a recording that goes well


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT], ids=lambda number: number.name
)
def test_a_signal_saves(memosync: Program, microphone: Microphone, record: Record, number: signal.Signals) -> None:
    recording = record(*WORDS).wait_for_sound()
    position = microphone.listen(0.2)

    out = recording.end(number)

    assert ID.fullmatch(out)
    (memo,) = memos(memosync)
    assert out.strip() == memo["id"]
    assert "Interview" in recording.err
    assert "warning" not in recording.err
    assert not re.search(r"[\r\a\x1b]", recording.err)  # no meter where there is no terminal
    assert missing(Path(memo["path"]), position) < 0.5
    assert len(vmic.stretches(Path(memo["path"]))) == 1
    assert not recording.parts


@pytest.mark.parametrize("options", [(), ("--stereo",)], ids=["mono", "stereo"])
def test_what_is_recorded_is_measured_on_the_way_and_is_as_loud_for_all(
    memosync: Program, microphone: Microphone, record: Record, tmp_path: Path, options: tuple[str, ...]
) -> None:
    memo_id = record(*options).wait_for_sound().end(signal.SIGINT).strip()
    kept = loudness.loads((memosync.library / ".memosync/cache" / memo_id).read_bytes())
    path = path_of(memosync)
    measured = loudness.measure(path)
    theirs = memosync.on(tmp_path / "Theirs")
    theirs("fetch", memosync("share", "last").out.strip())
    mine, fetched = (json.loads(program("show", "last", "--json").out) for program in (memosync, theirs))

    for found in (kept.loudness, measured.loudness, mine["loudness"], fetched["loudness"]):
        assert found == pytest.approx(sound.loudness(path), abs=0.1)
    for found in (kept.peak, measured.peak, mine["peak"], fetched["peak"]):
        assert found == pytest.approx(sound.peak(path), abs=0.1)
    assert measured.wave == kept.wave


def test_a_recording_carries_its_words_in_its_own_tags(
    memosync: Program, microphone: Microphone, record: Record
) -> None:
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    identity = record(*WORDS, "--max", "1").end().strip()

    file = probe(path_of(memosync))
    tags = {name.upper(): value for name, value in file["tags"].items()}
    recorded = datetime.datetime.fromisoformat(tags["DATE_RECORDED"])
    assert tags["TITLE"] == "Interview"
    assert tags["DESCRIPTION"] == "with the mayor"
    assert tags["KEYWORDS"] == "work,town hall"
    assert tags["MEMOSYNC_ID"] == identity
    assert before <= recorded <= datetime.datetime.now(datetime.UTC)
    assert float(file["duration"]) > 0.9


def test_max_ends_a_recording(memosync: Program, microphone: Microphone, record: Record) -> None:
    out = record("--max", "2").end()

    identity, _, seconds, *_ = memosync("list").out.split("\t")
    assert out == identity + "\n"
    assert float(seconds) == pytest.approx(2, abs=0.1)


def test_a_recording_without_a_title_is_called_after_its_time(
    memosync: Program, microphone: Microphone, record: Record
) -> None:
    record("--max", "1").end()

    (memo,) = memos(memosync)
    recorded = datetime.datetime.fromisoformat(memo["recorded"])
    assert str(recorded.year) in memo["title"]
    assert f"{recorded:%M}" in memo["title"]


def test_more_signals_while_it_is_saved_change_nothing(
    memosync: Program, microphone: Microphone, record: Record
) -> None:
    out = record().wait_for_sound().end(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTERM)

    assert ID.fullmatch(out)
    assert len(memos(memosync)) == 1


def test_a_reader_that_has_gone_costs_nothing(memosync: Program, microphone: Microphone) -> None:
    process = memosync.start("record", "--max", "1")
    assert process.stdout
    assert process.stderr
    process.stdout.close()

    assert process.wait(60) == 0
    assert "Traceback" not in process.stderr.read().decode()
    assert len(memos(memosync)) == 1


def test_share_prints_the_link_instead(memosync: Program, microphone: Microphone, record: Record) -> None:
    out = record("--share", "--max", "1", "-t", "Interview").end()

    (memo,) = memos(memosync)
    assert out.count("\n") == 1
    assert out.startswith(f"magnet:?xt=urn:btih:{memo['sealed']}&x.key=")
    assert "Interview" not in out


def test_arecord_may_hold_the_microphone(
    memosync: Program, microphone: Microphone, ended: Ended, tmp_path: Path
) -> None:
    environment = {**os.environ, **microphone.environment}
    arecord = ended(subprocess.Popen(["arecord", "-q", "-f", "cd"], env=environment, stdout=subprocess.PIPE))
    tee = ended(subprocess.Popen(["tee", tmp_path / "heard.wav"], stdin=arecord.stdout, stdout=subprocess.PIPE))
    process = ended(memosync.start("record", "-", stdin=tee.stdout, text=True))
    microphone.listen(2)
    arecord.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    (memo,) = memos(memosync)
    assert (process.returncode, out) == (0, memo["id"] + "\n"), err
    assert memo["duration"] == pytest.approx((tmp_path / "heard.wav").stat().st_size / 44_100 / 4, abs=0.05)
    assert len(vmic.stretches(Path(memo["path"]))) == 1


# -- devices


def test_devices_are_listed(memosync: Program, microphone: Microphone) -> None:
    result = memosync("record", "--list-devices")

    assert any("vmic" in line for line in result.lines)
    assert any("vempty" in line for line in result.lines)
    assert all(re.search(r"\d", line) for line in result.lines)


def test_a_part_of_its_name_chooses_a_device(memosync: Program, microphone: Microphone, record: Record) -> None:
    memosync.environment["MEMOSYNC_DEVICE"] = "vempty"

    record("--max", "1").end()
    assert max(vmic.envelope(path_of(memosync))) < 6

    record("--max", "2", "--device", "vmi").end()
    assert vmic.stretches(Path(memos(memosync)[0]["path"]))


def test_its_number_chooses_a_device(memosync: Program, microphone: Microphone, record: Record) -> None:
    lines = memosync("record", "--list-devices").lines
    numbers = {name: re.search(r"\d+", line) for line in lines for name in ("vmic", "vempty") if name in line}

    assert numbers["vempty"]
    assert numbers["vmic"]
    record("--max", "1", "--device", numbers["vempty"][0]).end()
    assert max(vmic.envelope(path_of(memosync))) < 6
    record("--max", "2", "--device", numbers["vmic"][0]).end()
    assert vmic.stretches(Path(memos(memosync)[0]["path"]))


@pytest.mark.parametrize("device", ["nonesuch", "4711"])
def test_an_unknown_device_is_one_line(memosync: Program, microphone: Microphone, device: str) -> None:
    result = memosync("record", "--device", device, code=AudioError.exit_code)

    assert_refused(result.out, result.err)
    assert device in result.err
    assert memos(memosync) == []


def assert_refused(out: str, err: str) -> None:
    """Insist on one error line, a hint and nothing else."""
    lines = err.splitlines()

    assert out == ""
    assert lines[0].startswith("memosync: error: ")
    assert all(line.startswith("memosync: hint: ") for line in lines[1:])


def refused_at_once(memosync: Program, record: Record, under: list[str]) -> str:
    """Record where something is missing, and give what it said."""
    memosync.under = under
    began = time.monotonic()
    recording = record()
    recording.end(code=AudioError.exit_code)

    assert time.monotonic() - began < 8  # a sound system that does not answer is given up after 10
    assert_refused(recording.out, recording.err)
    assert "memosync: hint: " in recording.err
    assert not recording.parts
    return str(recording.err)


def test_no_device_at_all_is_said_at_once(memosync: Program, record: Record) -> None:
    memosync.environment.update(vmic.NOWHERE)

    assert "no microphone" in refused_at_once(memosync, record, vmic.NO_DEVICE)
    assert "no microphone" in memosync("record", "--list-devices").err


def test_no_portaudio_library_is_said_at_once(memosync: Program, microphone: Microphone, record: Record) -> None:
    assert "libportaudio2" in refused_at_once(memosync, record, vmic.NO_PORTAUDIO)


# -- a device without 48 kHz, or with other channels: PulseAudio's, of which nobody is told all that it can do


LOUD = 20 * math.log10(12_000 / 32_768) - 3.0  # LUFS of a mono tone of 1 kHz (ITU-R BS.1770)


@pytest.fixture
def limited(memosync: Program, microphone: Microphone) -> Callable[..., None]:
    """Let the microphone have one `rate` or number of `channels` alone."""

    def limit(**only: int) -> None:
        memosync.environment.update(microphone.limited(**only))

    return limit


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 1), (16_000, 2)])
def test_the_instrument_has_one_rate_and_shape(microphone: Microphone, rate: int, channels: int) -> None:
    command = ["arecord", "--dump-hw-params", "-f", "cd", "-r", "48000", "-c", str(channels), "-s", "1", "/dev/null"]
    environment = {**os.environ, **microphone.environment, **microphone.limited(rate, channels)}
    said = subprocess.run(command, env=environment, check=False, capture_output=True, text=True).stderr

    assert re.search(rf"^RATE: {rate}$", said, re.MULTILINE)
    assert re.search(rf"^CHANNELS: {channels}$", said, re.MULTILINE)
    assert f"requested = 48000Hz, got = {rate}Hz" in said


@pytest.mark.parametrize("rate", [44_100, 16_000, 192_000, *more(8_000, 11_025, 48_000, 96_000)])
def test_any_rate_is_recorded_as_long_as_loud_and_as_high_as_it_was(
    memosync: Program, microphone: Microphone, record: Record, limited: Callable[..., None], rate: int
) -> None:
    microphone.play(sound.tone(60, frequency=1000))
    limited(rate=rate, channels=1)
    recording = record("--max", "1")
    memo_id = recording.end().strip()

    (memo,) = memos(memosync)
    kept = loudness.loads((memosync.library / ".memosync/cache" / memo_id).read_bytes())
    length, frequency = sound.hear(Path(memo["path"]))
    assert "warning" not in recording.err
    assert (memo["duration"], length) == pytest.approx((1, 1), abs=0.0011)  # Matroska's unit is a millisecond
    assert frequency == pytest.approx(1000, abs=2)  # counted in one second
    assert sound.loudness(Path(memo["path"])) == pytest.approx(LOUD, abs=0.3)
    assert kept.loudness == pytest.approx(sound.loudness(Path(memo["path"])), abs=0.1)


@pytest.mark.parametrize("rate", [44_100, *more(16_000, 96_000)])
def test_at_any_rate_nothing_is_lost_between_blocks_nor_falsely_told_to_be(
    memosync: Program, microphone: Microphone, record: Record, limited: Callable[..., None], rate: int
) -> None:
    limited(rate=rate, channels=1)
    recording = record().wait_for_sound()
    position = microphone.listen(2.5)
    recording.end(signal.SIGTERM)

    (stretch,) = vmic.stretches(path_of(memosync))
    assert "warning" not in recording.err
    assert missing(path_of(memosync), position) < 0.5
    assert stretch.end - stretch.begin == pytest.approx(memos(memosync)[0]["duration"], abs=0.6)


@pytest.mark.parametrize("rate", [16_000, *more(192_000)])
def test_frames_lost_at_another_rate_are_told(
    microphone: Microphone, record: Record, limited: Callable[..., None], rate: int
) -> None:
    limited(rate=rate)
    recording = record().wait_for_sound()

    microphone.lossy = True
    recording.wait_for_warning("lost")
    assert ID.fullmatch(recording.end(signal.SIGTERM))


@pytest.mark.parametrize("microphone", [(0, 1)], indirect=True, ids=["right"])
@pytest.mark.parametrize(("amplitude", "warning"), [(1, "silence"), (32767, "clipping"), *more((0, "silence"))])
def test_what_is_wrong_at_another_rate_on_one_side_alone_is_told(
    microphone: Microphone, record: Record, limited: Callable[..., None], amplitude: int, warning: str
) -> None:
    microphone.play(vmic.square(amplitude) * 4)
    limited(rate=16_000, channels=2)
    recording = record()

    recording.wait_for_warning(warning)
    assert ID.fullmatch(recording.end(signal.SIGTERM))


def test_a_kill_at_another_rate_loses_less_than_a_second(
    memosync: Program, microphone: Microphone, record: Record, limited: Callable[..., None]
) -> None:
    limited(rate=8_000, channels=2)
    recording = record(*WORDS).wait_for_sound()
    position = microphone.listen(0.2)

    recording.process.kill()
    recording.process.wait()

    assert missing(path_of(memosync), position) < 1


@pytest.mark.long
def test_a_device_of_another_rate_that_is_lost_is_saved(
    memosync: Program, microphone: Microphone, record: Record, limited: Callable[..., None]
) -> None:
    limited(rate=44_100, channels=2)
    recording = record(*WORDS).wait_for_sound()
    position = microphone.listen(0.2)

    microphone.pull()
    recording.end(code=AudioError.exit_code)

    assert "the microphone disappeared; what it captured is saved" in recording.err
    assert missing(path_of(memosync), position) < 1


@pytest.mark.parametrize(
    ("microphone", "rate"),
    [((0, 1), 44_100), *more(((0, 1), 48_000), ((1, 0), 44_100), ((1, 0), 48_000))],
    indirect=["microphone"],
    ids=["right-44100", "right-48000", "left-44100", "left-48000"],
)
def test_a_voice_on_one_side_of_a_stereo_device_is_in_a_mono_memo(
    memosync: Program, microphone: Microphone, record: Record, limited: Callable[..., None], rate: int
) -> None:
    microphone.play(sound.tone(60, frequency=1000))
    limited(rate=rate, channels=2)
    recording = record("--max", "1")
    recording.end()

    path = path_of(memosync)
    assert "warning" not in recording.err
    assert sound.probe(path)["stream"]["channels"] == 1
    assert [*sound.hear(path)] == [pytest.approx(1, abs=0.01), pytest.approx(1000, abs=2)]
    assert sound.loudness(path) == pytest.approx(LOUD - 6, abs=0.3)


@pytest.mark.parametrize("microphone", [(0, 1)], indirect=True, ids=["right"])
@pytest.mark.parametrize("rate", [44_100, *more(48_000)])
def test_the_sides_of_a_stereo_device_stay_where_they_are(
    memosync: Program, microphone: Microphone, record: Record, limited: Callable[..., None], tmp_path: Path, rate: int
) -> None:
    microphone.play(sound.tone(60, frequency=1000))
    limited(rate=rate, channels=2)
    record("--stereo", "--max", "1").end()

    path = path_of(memosync)
    left, right = (sound.convert(path, tmp_path / f"{side}.wav", "-af", f"pan=mono|c0={side}") for side in ("FL", "FR"))
    assert sound.probe(path)["stream"]["channels"] == 2
    assert sound.peak(left) < -20
    assert [*sound.hear(right)] == [pytest.approx(1, abs=0.01), pytest.approx(1000, abs=2)]
    assert sound.loudness(right) == pytest.approx(LOUD, abs=0.3)


@pytest.mark.parametrize("microphone", [(1, -1)], indirect=True, ids=["against"])
@pytest.mark.parametrize("rate", [48_000, *more(16_000)])
def test_sides_that_cancel_each_other_are_told_once_and_one_stands_in(
    memosync: Program, microphone: Microphone, record: Record, limited: Callable[..., None], rate: int
) -> None:
    limited(rate=rate, channels=2)
    recording = record()
    recording.wait_for_warning("cancel")
    position = microphone.listen(1.5)
    recording.end(signal.SIGTERM)

    path = path_of(memosync)
    (stretch,) = vmic.stretches(path)
    assert missing(path, position) < 0.5
    assert stretch.end - stretch.begin > memos(memosync)[0]["duration"] - 2.5  # two seconds, and what a window is off
    assert recording.err.count("warning") == 1


def test_stereo_of_a_mono_device_is_refused_in_a_line(
    memosync: Program, microphone: Microphone, limited: Callable[..., None]
) -> None:
    limited(channels=1)
    result = memosync("record", "--stereo", "--device", "vmic", code=UsageError.exit_code)

    assert_refused(result.out, result.err)
    assert "vmic has 1 channel" in result.err
    assert "without --stereo" in result.err
    assert memos(memosync) == []


# -- accidents


@pytest.mark.parametrize("milliseconds", [0, 15, 60, *more(5, 30, 120)])
def test_a_kill_while_it_is_saved_leaves_one_memo(
    memosync: Program, microphone: Microphone, record: Record, milliseconds: int
) -> None:
    recording = record(*WORDS).wait_for_sound()
    position = microphone.position

    recording.process.terminate()
    time.sleep(milliseconds / 1000)  # the instant, nothing is waited for
    recording.process.kill()
    recording.process.wait()

    (memo,) = memos(memosync)
    assert memo["title"] == "Interview"
    assert missing(Path(memo["path"]), position) < 1
    assert not recording.parts
    assert len(list(memosync.library.glob("*.webm"))) == 1


def test_a_recording_that_somebody_makes_is_left_alone(
    memosync: Program, microphone: Microphone, record: Record
) -> None:
    recording = record(*WORDS).wait_for_sound()
    begin = microphone.position

    assert memos(memosync) == []
    other = record("--max", "1", "-t", "Other").end().strip()
    assert [memo["id"] for memo in memos(memosync)] == [other]
    assert len(recording.parts) == 1
    position = microphone.position
    identity = recording.end(signal.SIGTERM).strip()

    assert {memo["id"] for memo in memos(memosync)} == {identity, other}
    path = next(Path(memo["path"]) for memo in memos(memosync) if memo["id"] == identity)
    (stretch,) = vmic.stretches(path)
    assert stretch.begin < begin
    assert position - stretch.end < 0.5


@pytest.mark.parametrize(
    ("accident", "said"),
    [(Microphone.pull, "disappeared"), (Microphone.stall, "stopped working"), (Microphone.die, "disappeared")],
    ids=lambda way: getattr(way, "__name__", ""),
)
def test_a_device_that_is_lost_ends_the_recording_and_saves_it(
    memosync: Program, microphone: Microphone, record: Record, accident: Callable[[Microphone], None], said: str
) -> None:
    recording = record(*WORDS).wait_for_sound()
    position = microphone.listen(0.2)

    accident(microphone)
    out = recording.end(code=AudioError.exit_code)

    assert ID.fullmatch(out)
    assert "\a" in recording.err
    assert re.search(rf"memosync: error: the microphone {said}; what it captured is saved\n", recording.err)
    assert "Traceback" not in recording.err
    assert "Expression" not in recording.err  # what PortAudio writes by itself
    (memo,) = memos(memosync)
    assert memo["title"] == "Interview"
    assert missing(Path(memo["path"]), position) < 1


def test_a_frozen_device_is_no_reason_to_ignore_a_signal(
    memosync: Program, microphone: Microphone, record: Record
) -> None:
    microphone.stall()
    recording = record()
    recording.wait_for(lambda: vmic.has_socket(recording.process.pid), "it asks the sound server")

    recording.end(signal.SIGTERM, code=AudioError.exit_code)
    assert_refused(recording.out, recording.err)


def test_a_device_that_became_another_is_told(memosync: Program, microphone: Microphone, record: Record) -> None:
    recording = record().wait_for_sound()
    microphone.listen(1)

    microphone.pull_moved()
    recording.wait_for_warning("silen|stopped")
    microphone.replug()
    recording.end(signal.SIGTERM)

    assert vmic.stretches(path_of(memosync))


@pytest.mark.parametrize("amplitude", [0, 1])
def test_silence_from_the_start_is_told(
    memosync: Program, microphone: Microphone, record: Record, amplitude: int
) -> None:
    microphone.play(vmic.square(amplitude) * 4)
    recording = record()

    recording.wait_for_warning("silen")
    assert ID.fullmatch(recording.end(signal.SIGTERM))


def test_clipping_is_told(memosync: Program, microphone: Microphone, record: Record) -> None:
    microphone.play(vmic.square(32767) * 4)
    recording = record()

    recording.wait_for_warning("clip")
    assert ID.fullmatch(recording.end(signal.SIGTERM))


def test_lost_frames_are_told(memosync: Program, microphone: Microphone, record: Record) -> None:
    recording = record().wait_for_sound()

    microphone.lossy = True
    recording.wait_for_warning("lost|missing")
    assert ID.fullmatch(recording.end(signal.SIGTERM))


ENCODER_THAT_FAILS = """
import av
whole, count = av.AudioFrame, 0
def frame(**options):
    global count
    count += 1
    if count > 8:
        {fault}
    return whole(**options)
av.AudioFrame = frame
"""
FAULTS = {
    "refuses": "options['layout'] = '5.1'",  # PyAV's encoder takes no frame that is of another shape than the first
    "has no memory": "options['samples'] = 2**30",
    "is broken": "raise AttributeError('a bug')",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_encoder_that_fails_ends_the_recording_and_saves_it(
    memosync: Program, microphone: Microphone, record: Record, fault: str
) -> None:
    memosync.meddle(ENCODER_THAT_FAILS.format(fault=FAULTS[fault]))
    recording = record(*WORDS)
    out = recording.end(code=AudioError.exit_code)

    memosync.environment.pop("PYTHONPATH")
    (memo,) = memos(memosync)
    assert "\a" in recording.err
    assert (out, memo["title"]) == (memo["id"] + "\n", "Interview")
    assert memo["duration"] == pytest.approx(1.6, abs=0.01)
    assert len(vmic.stretches(Path(memo["path"]))) == 1


SLEEP = """
import os, time
gettime = time.clock_gettime
def clock_gettime(clock):
    return gettime(clock) + (60 if clock == time.CLOCK_BOOTTIME and os.path.exists({slept!r}) else 0)
time.clock_gettime = clock_gettime
"""


def test_what_is_lost_while_the_machine_sleeps_is_told(
    memosync: Program, microphone: Microphone, record: Record, tmp_path: Path
) -> None:
    slept = tmp_path / "slept"  # no more of a sleep can be had here: the clock that counts it jumps, no other does
    memosync.meddle(SLEEP.format(slept=str(slept)))
    recording = record().wait_for_sound()

    slept.touch()
    recording.wait_for_warning(r"lost (59|60)\.\d s of sound: the machine slept")
    recording.end(signal.SIGTERM)

    assert recording.err.count("warning") == 1
    assert vmic.stretches(path_of(memosync))


@pytest.mark.parametrize("with_the_device", [False, True], ids=["alone", "with the device"])
def test_a_program_that_was_stopped_goes_on(
    memosync: Program, microphone: Microphone, record: Record, with_the_device: bool
) -> None:
    recording = record().wait_for_sound()
    stopped = microphone.listen(1)

    recording.process.send_signal(signal.SIGSTOP)  # as Ctrl-Z does
    if with_the_device:
        microphone.stall()
    microphone.listen(4 if with_the_device else 1.5)
    recording.process.send_signal(signal.SIGCONT)
    if with_the_device:
        resumed = microphone.listen(0.5)
        microphone.resume()
        recording.wait_for_warning("lost")
        lost = float(re.findall(r"lost (\d+\.\d) s", recording.err)[0])
        assert lost == pytest.approx(resumed - stopped, abs=1)
    position = microphone.listen(1.5)
    recording.end(signal.SIGTERM)

    heard = vmic.stretches(path_of(memosync))
    assert (len(heard), recording.err.count("warning")) == ((2, 1) if with_the_device else (1, 0))
    assert position - heard[-1].end < 1.5  # it does go on


# -- a small disk


def test_a_full_disk_keeps_the_recording_until_there_is_room(
    memosync: Program, microphone: Microphone, record: Record, disk: SmallDisk
) -> None:
    memosync("list")
    disk.fill(room=120_000)
    recording = record(*WORDS, "--bitrate", "192k")
    wait_until(lambda: recording.process.poll() is not None, "the disk is full")
    position = microphone.position

    assert recording.process.returncode == LibraryError.exit_code, recording.err
    assert recording.out == ""
    (part,) = recording.parts
    assert part.name in recording.err
    assert "Traceback" not in recording.err

    still_full = memosync("list")
    assert still_full.out == ""
    assert part.name in still_full.err
    assert recording.parts == [part]

    disk.make_room()
    listed = memosync("list", "--json")
    memo = json.loads(listed.out)
    assert (memo["title"], memo["tags"]) == ("Interview", ["work", "town hall"])
    assert "Interview" in listed.err or memo["id"] in listed.err
    assert missing(memosync.library / memo["file"], position) < 2
    assert not recording.parts


def test_a_disk_that_is_full_already_is_one_line(
    memosync: Program, microphone: Microphone, record: Record, disk: SmallDisk
) -> None:
    disk.fill(room=0)
    recording = record()

    recording.end(code=LibraryError.exit_code)
    assert recording.out == ""
    assert len(re.findall("^memosync: error: .*(?:space|full|room)", recording.err, re.MULTILINE)) == 1
    assert all(line.lstrip("\a").startswith("memosync: ") for line in recording.err.splitlines())


def test_little_room_is_told_in_minutes(
    memosync: Program, microphone: Microphone, record: Record, disk: SmallDisk
) -> None:
    disk.fill(room=4_000_000)
    recording = record().wait_for_sound()

    recording.wait_for_warning(r"\d min|\d more min")  # 4 MB at 32 kb/s are 16 minutes at most
    recording.end(signal.SIGTERM)
