"""Files whose clock is wrong: what is heard counts, in every place, and stays what it is byte for byte.

How a browser plays them: test_page_in_a_tab.
"""

from __future__ import annotations

import io
import json
import random
import struct
import subprocess
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import av
import numpy
import pytest
from support import matroska, sound, vmic
from support.library import memos, only
from support.matroska import Shape
from support.program import Program
from support.vmic import Microphone

from memosync.audio import loudness, opus, timeline, webm
from memosync.audio.playback import Output, opened
from memosync.audio.timeline import Timeline
from memosync.errors import AudioError
from memosync.memo import Words

RATE = 48_000
LENGTH = 201 * 0.02 - 312 / RATE  # seconds that are heard of the packets below
DAY = 27 * 3_600_000  # ms

# The time stamp, in ms, of what is heard after so many.
CLOCKS: dict[str, Callable[[int], int]] = {
    "right": lambda at: at,
    "late": lambda at: at + 12_000,
    "a day late": lambda at: at + DAY,
    "early": lambda at: at - 100,
    "a hole": lambda at: at + 5_000 * (at > 1_400),
    "a small hole": lambda at: at + 300 * (at > 1_400),
    "slow": lambda at: at // 3,
    "fast": lambda at: at * 3,
    "twice the same": lambda at: at - at % 40,
    "four times the same": lambda at: at - at % 80,
    "now and then back": lambda at: at if at % 200 else max(0, at - 300),
    "stopped": lambda _at: 0,
}
SHAPES: dict[str, Shape] = {
    "as browsers write": Shape(),
    "sizes known": Shape(known=True),
    "one cluster": Shape(cluster=30_000),
    "laced as Xiph does": Shape(lacing="xiph", together=8),
    "laced by differences": Shape(lacing="ebml", together=8, known=True),
    "groups": Shape(groups=True),
    "no CodecPrivate": Shape(private=False),
    "no CodecDelay": Shape(delay=False),
    "neither": Shape(private=False, delay=False),
    "ticks of a sample": Shape(scale=20_833),
    "ticks of a second": Shape(scale=10**9),
    "less at its end": Shape(padding=100),
    "less than nothing at its end": Shape(padding=9_999),
    "with words": Shape(words=True),
    "with words, sizes known": Shape(words=True, known=True),
}


def made(clock: str = "right", shape: Shape = SHAPES["as browsers write"], frame: str = "20") -> bytes:
    """Make a file of four seconds in which every moment is another one."""
    return matroska.webm(matroska.packets(4, frame), lambda i: CLOCKS[clock](int(i * float(frame))), shape)


def decoded(data: bytes) -> array[int]:
    """Have FFmpeg decode all of it, one after the other."""
    command = ["ffmpeg", "-v", "error", "-f", "matroska", "-i", "-", "-map", "0:a", "-af", "asetpts=N/SR/TB"]
    command += ["-f", "s16le", "-"]
    return array("h", subprocess.run(command, input=data, check=True, capture_output=True).stdout)


def walked(data: bytes) -> Timeline:
    return timeline.read(io.BytesIO(data))


@pytest.mark.parametrize("frame", ["2.5", "20", "60"])
@pytest.mark.parametrize("clock", CLOCKS)
def test_it_lasts_as_long_as_what_is_decoded(clock: str, frame: str) -> None:
    for name in SHAPES if frame == "20" else ("as browsers write", "laced as Xiph does", "groups"):
        shape = SHAPES[name]
        data = made(clock, shape, frame)
        found = walked(data)
        with av.open(io.BytesIO(data), "r", "matroska") as source:
            samples = sum(one.samples for one in source.decode(audio=0))

        assert found.whole
        assert round(found.duration * RATE) == samples
        assert [data[at : at + 4] for _, at in found.clusters] == [b"\x1f\x43\xb6\x75"] * len(found.clusters)


@pytest.mark.parametrize("clock", CLOCKS)
def test_only_a_clock_that_is_right_is_believed(clock: str) -> None:
    found = walked(made(clock))

    assert found.is_right == (clock in ("right", "twice the same"))
    assert found.steady == (clock in ("right", "twice the same", "late", "a day late", "early"))
    assert not walked(made(clock, SHAPES["laced as Xiph does"])).steady


def test_where_clusters_begin_is_told_in_seconds_of_sound() -> None:
    hole, right = walked(made("a hole")), walked(made())

    assert [seconds for seconds, _ in right.clusters] == pytest.approx([0, 0.994, 1.994, 2.994, 3.994], abs=0.002)
    assert [seconds for seconds, _ in hole.clusters] == pytest.approx([0, 0.994, 1.414, 2.414, 3.414], abs=0.002)
    assert hole.begin == 0
    assert hole.end == pytest.approx(9.02)
    assert walked(made("a day late")).begin == DAY / 1000


@pytest.mark.parametrize("known", [False, True])
def test_several_files_in_one_are_heard_one_after_the_other(known: bool) -> None:
    data = made("right", Shape(known=known)) * 2
    with webm.open_input(io.BytesIO(data)) as source:
        found = webm.lay_out(io.BytesIO(data), source)

    assert found.duration == pytest.approx(len(decoded(data)) / RATE)
    assert (found.whole, found.steady) == (not known, False)


def test_what_is_in_another_way_is_left_to_ffmpeg() -> None:
    whole = made("right", Shape(known=True))
    other = made("right", Shape(known=True, delay=False))

    for data in (whole + other, whole[: len(whole) * 2 // 3], whole[:3000] + bytes(200) + whole[3200:], whole + b"x"):
        found = walked(data)
        assert not found.whole
        with webm.open_input(io.BytesIO(data)) as source:
            counted = webm.lay_out(io.BytesIO(data), source)
        assert counted.duration == pytest.approx(len(decoded(data)) / RATE, abs=0.02)
        assert not counted.is_right


def test_what_it_understands_of_a_mangled_file_ffmpeg_understands_so_too() -> None:
    chance = random.Random(1)
    files = [made("right", shape) for shape in SHAPES.values()]
    understood = 0
    for _ in range(400):
        data = bytearray(chance.choice(files))
        for _ in range(chance.choice([1, 2, 3])):
            at = chance.randrange(len(data))
            data[at : at + chance.choice([0, 1, 2, 9])] = chance.randbytes(chance.choice([0, 1, 1, 4]))
        found = walked(bytes(data))
        if not found.whole:
            continue
        try:
            with webm.open_input(io.BytesIO(data)) as source:
                stream = webm.audio_stream(source)
                samples = sum(opus.count_samples(bytes(packet)) for packet in webm.packets(source, stream))
        except AudioError:
            continue
        understood += 1

        assert samples - found.skip - 9_999 <= found.duration * RATE <= samples

    assert understood > 20


def test_a_walk_takes_less_than_ffmpeg_takes(figure: Callable[[str], None]) -> None:
    head, *packets = matroska.packets(4)
    data = matroska.webm([head, *packets * 75], lambda i: i * 20, Shape())  # five minutes
    began = time.process_time()
    found = walked(data)
    walk = time.process_time() - began
    with webm.open_input(io.BytesIO(data)) as source:
        count = len(list(webm.packets(source, webm.audio_stream(source))))
    demuxer = time.process_time() - began - walk
    figure(f"a walk over an hour takes {walk * 12:.2f} s of CPU, FFmpeg's demuxer {demuxer * 12:.2f}")

    assert found.duration == pytest.approx(count * 0.02, abs=0.01)
    assert walk < demuxer


def test_a_file_that_takes_too_long_is_as_long_as_its_last_block_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "PATIENCE", -1.0)
    (tmp_path / "memo.webm").write_bytes(made("a hole"))

    assert webm.probe(tmp_path / "memo.webm").duration == pytest.approx(9.02, abs=0.02)


# -- what is said of a file


def probed(path: Path, data: bytes) -> webm.AudioInfo:
    path.write_bytes(data)
    return webm.probe(path)


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_file_is_as_long_as_its_sound(tmp_path: Path, clock: str) -> None:
    assert probed(tmp_path / "memo.webm", made(clock)).duration == pytest.approx(LENGTH, abs=0.001)


def test_what_is_missing_at_the_end_is_told_apart_from_a_hole(tmp_path: Path) -> None:
    path = tmp_path / "memo.webm"

    assert probed(path, made("a hole")).claimed == 0
    assert probed(path, made("a hole", Shape(duration=9.02))).claimed == pytest.approx(LENGTH, abs=0.02)
    assert probed(path, made("a hole", Shape(duration=11.02))).claimed == pytest.approx(LENGTH + 2, abs=0.02)
    assert probed(path, made("a day late", Shape(duration=4.02))).claimed == pytest.approx(LENGTH, abs=0.02)


def test_words_beside_the_sound_are_passed_over_and_cannot_end_it(tmp_path: Path) -> None:
    good = made("right", Shape(words=True))
    bad = good.replace(b"\n\nhello", b"xxhello")

    for data in (good, bad):
        assert probed(tmp_path / "memo.webm", data).duration == pytest.approx(LENGTH, abs=0.001)
        assert webm.finish(tmp_path / "memo.webm", tmp_path / "copy.webm").duration == pytest.approx(4.013, abs=0.02)
        assert loudness.measure(tmp_path / "memo.webm").wave[20:30].count(0) == 0


def test_words_that_ffmpeg_wrote_beside_it_are_no_reason_to_refuse_a_memo(tmp_path: Path) -> None:
    words = tmp_path / "words.vtt"
    words.write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n")
    plain = sound.noise(tmp_path / "plain.webm", 2, "-c:a", "libopus")
    both = sound.convert(plain, tmp_path / "both.webm", "-i", str(words), "-c", "copy", "-map", "0:a", "-map", "1")

    assert webm.probe(both).duration == pytest.approx(webm.probe(plain).duration, abs=0.001)
    assert webm.timeline_of(both).is_right


def test_vorbis_has_the_time_between_its_first_block_and_its_last(tmp_path: Path) -> None:
    plain = sound.noise(tmp_path / "plain.webm", 4, "-c:a", "libvorbis")
    late = tmp_path / "late.webm"
    sound.convert(plain, late, "-c", "copy", "-output_ts_offset", "12")

    assert float(sound.probe(late)["stream"]["start_time"]) == pytest.approx(12, abs=0.05)
    assert webm.probe(late).duration == pytest.approx(webm.probe(plain).duration, abs=0.01)
    found = webm.timeline_of(late)
    assert (found.codec, found.steady, found.is_right) == ("vorbis", True, False)
    assert found.begin == pytest.approx(12, abs=0.05)


# -- what comes out


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_remux_has_a_clock_that_is_right(tmp_path: Path, clock: str) -> None:
    path, copy, again = (tmp_path / f"{name}.webm" for name in ("memo", "copy", "again"))
    path.write_bytes(made(clock))

    info = webm.finish(path, copy, Words(title="x"))
    webm.finish(copy, again)

    assert webm.timeline_of(copy).is_right
    assert info.duration == pytest.approx(LENGTH, abs=0.03)
    assert sound.packets(copy) == sound.packets(path)
    assert float(sound.probe(copy)["duration"]) == pytest.approx(LENGTH, abs=0.03)
    assert again.read_bytes() == copy.read_bytes()


@pytest.mark.parametrize("frame", ["2.5", "20", "60"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_clock_that_is_right_is_copied_as_if_it_were_put_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str, frame: str
) -> None:
    part, copied, mended = (tmp_path / f"{name}.webm" for name in ("part", "copied", "mended"))
    part.write_bytes(made(shape=SHAPES[shape], frame=frame))

    found = webm.finish(part, copied)

    monkeypatch.setattr(webm, "_EXACT", 0)
    assert webm.finish(part, mended) == found
    assert sound.packets(copied) == sound.packets(part)
    assert mended.read_bytes() == copied.read_bytes()


def test_what_record_wrote_is_copied_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part, target = tmp_path / "part.webm", tmp_path / "whole.webm"
    part.write_bytes(made())
    monkeypatch.setattr(webm, "in_time", None)

    assert webm.finish(part, target).duration == pytest.approx(LENGTH, abs=1e-4)


def test_a_clock_is_not_believed_where_ffmpeg_finds_another_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, target, whole = tmp_path / "part.webm", tmp_path / "whole.webm", made()
    known = walked(whole)
    part.write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr(timeline, "read", lambda _file, _near: known)

    found = webm.finish(part, target).duration

    monkeypatch.undo()
    assert found == webm.probe(target).duration == pytest.approx(LENGTH / 2, abs=0.3)


def heard(data: bytes, position: float, seconds: float) -> array[int]:
    """Give what the player plays from there, of the left side."""
    with opened(io.BytesIO(data)) as recording:
        blocks = islice(recording.hear(position, 1.0, Output(RATE, 2, 960)), round(seconds / 0.02))
        samples = numpy.frombuffer(b"".join(block for _, block in blocks), numpy.float32)[::2]
    return array("h", (samples.clip(-1, 1) * 32767).round().astype(numpy.int16).tobytes())


def shift(found: array[int], whole: array[int], position: float) -> float:
    """Find by how many seconds what was heard is elsewhere than it should be."""
    probe = numpy.array(found[480:1440], int)
    at = round(position * RATE) + 480
    first = max(0, at - 2400)
    windows = numpy.lib.stride_tricks.sliding_window_view(numpy.array(whole[first : at + 2400 + 960], int), 960)
    return (first + int(numpy.abs(windows - probe).sum(axis=1).argmin()) - at) / RATE


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_position_is_found_by_what_is_heard_before_it(clock: str) -> None:
    others = (Shape(known=True, lacing="xiph", together=4), Shape(delay=False))
    for shape in (Shape(), *(others if clock in ("right", "a hole") else ())):
        data = made(clock, shape)
        whole = decoded(data)
        for position in (0.0, 0.73, 2.5, 3.7):
            found = heard(data, position, 0.1)

            assert abs(shift(found, whole, position)) <= 0.05


def test_a_position_is_found_in_a_damaged_file_and_in_several_in_one() -> None:
    one = made("a hole")
    damaged = one[:4000] + bytes(300) + one[4300:]

    for data in (damaged, one * 2):
        whole = decoded(data)
        for position in (0.5, 2.5, len(whole) / RATE - 0.5):
            assert abs(shift(heard(data, position, 0.1), whole, position)) <= 0.05


@pytest.mark.parametrize("skip", [3_840, 48_000])
def test_what_a_decoder_throws_away_costs_nothing_that_is_heard(skip: int) -> None:
    """As much as a second is where somebody cut the beginning off without decoding it (RFC 7845, 4.2)."""
    head, *audio = matroska.packets()
    data = matroska.webm([head[:10] + struct.pack("<H", skip) + head[12:], *audio], lambda number: 20 * number)
    whole = decoded(data)

    assert len(heard(data, 0.0, 9)) / RATE == pytest.approx(len(whole) / RATE, abs=0.05)
    for position in (0.0, 0.1, 0.3, 0.73, 2.5):
        assert abs(shift(heard(data, position, 0.1), whole, position)) <= 0.05


def test_playing_ends_with_the_sound() -> None:
    for clock in CLOCKS:
        assert len(heard(made(clock), 3.0, 9)) / RATE == pytest.approx(LENGTH - 3, abs=0.05)


# -- from a link to the ear


@pytest.fixture(scope="module")
def speaker() -> Iterator[Microphone]:
    with vmic.plugged_in() as device:
        yield device


ODD = [
    ("a hole", Shape(title="Odd")),
    ("a day late", Shape(title="Odd", known=True, duration=4.0)),
    ("slow", Shape(title="Odd", lacing="xiph", together=3, words=True)),
]


def test_a_fetched_file_has_one_length_everywhere_and_is_not_touched(
    memosync: Program, speaker: Microphone, tmp_path: Path
) -> None:
    theirs = memosync.on(tmp_path / "theirs" / "Memos")
    theirs.library.mkdir(parents=True)
    files = [made(*odd) for odd in ODD]
    names = [f"abcdefg{number}" for number in range(len(files))]
    for name, data in zip(names, files, strict=True):
        (theirs.library / f"2026-08-25-odd-{name}.webm").write_bytes(data)  # adopted
    links = theirs("share", "--public", *names).out.split()
    memosync.environment.update(speaker.environment)

    ids = memosync("fetch", *links).out.split()
    lengths = {memo["duration"] for memo in [*memos(memosync), *memos(theirs)]}
    shown = [json.loads(line) for line in memosync("show", *ids, "--json").out.splitlines()]
    pages = ["--no-seed", "--tracker", "ws://127.0.0.1:4000", "--page"]
    for memo_id in ids:
        memosync("share", memo_id, "--public", *pages, tmp_path / f"{memo_id}.html")
    ears = []
    for memo_id in ids:
        with speaker.listening() as ear:
            memosync("play", memo_id, "--from", "2.5")
        ears.append(ear)
    theirs("seed", "--stop")

    (length,) = lengths
    assert length == pytest.approx(LENGTH, abs=0.001)
    for memo, ear, data in zip(shown, ears, files, strict=True):
        assert (memo["title"], memo["duration"]) == ("Odd", length)
        assert Path(memo["path"]).read_bytes() == data
        text = (tmp_path / f"{memo['id']}.html").read_text()
        on_page = json.loads(text.partition('id="memo">')[2].partition("</script>\n<script")[0])
        assert (on_page["duration"], on_page["track"]) == (length, 1)
        assert len(on_page["heights"]) == pytest.approx(10 * LENGTH, abs=1.5)
        assert all(start < LENGTH for start, _ in on_page["clusters"])
        assert len(ear.sound) / RATE == pytest.approx(LENGTH - 2.5, abs=0.05)
        assert abs(shift(array("h", ear.sound), decoded(data), 2.5)) <= 0.05
    for form in ("webm", "ogg", "wav", "flac", "mp3"):
        memosync("export", *ids, "-f", form, "-o", f"{tmp_path / form}/")
        for path in (tmp_path / form).iterdir():
            assert sound.hear(path)[0] == pytest.approx(LENGTH, abs=0.05)
            assert float(sound.probe(path)["duration"]) == pytest.approx(LENGTH, abs=0.05)
    assert len(list(tmp_path.glob("*/Odd*"))) == 3 * 5
    assert memosync("check").code == 0


def test_an_index_that_believed_the_clock_is_mended_by_check(memosync: Program) -> None:
    memosync.library.mkdir()
    (memosync.library / "2026-08-25-odd-abcdefgh.webm").write_bytes(made("a hole"))
    memosync("list")
    index = memosync.library / "index.toml"
    index.write_text(index.read_text().replace(f"duration = {only(memosync)['duration']}", "duration = 9.02"))

    memosync("check", "--repair")

    assert only(memosync)["duration"] == pytest.approx(LENGTH, abs=0.001)


def test_shapes_can_be_told() -> None:
    """What is made here is what FFmpeg takes it for."""
    for shape in SHAPES.values():
        with av.open(io.BytesIO(made("right", replace(shape, title="Odd"))), "r", "matroska") as found:
            assert [one.codec_context.name for one in found.streams] == ["opus", *["webvtt"] * shape.words]
            assert found.metadata["title"] == "Odd"


@pytest.mark.parametrize("slow", [0, 1], ids=["right", "a millisecond late each time"])
def test_a_packet_that_begins_as_the_one_before_is_only_taken_for_such_a_one_at_its_time(slow: int) -> None:
    head, first, *_ = matroska.packets(4)
    audio = [first] * 200
    shape = Shape(delay=False, cluster=30_000)  # all in one

    found = timeline.read(io.BytesIO(matroska.webm([head, *audio], lambda i: i * (20 + slow), shape)))

    skip = struct.unpack_from("<H", head, 10)[0] / 48_000
    assert found.duration == pytest.approx(len(audio) * 0.02 - skip)
    assert found.steady is not bool(slow)


def test_packets_that_begin_alike_and_hold_more_or_less_are_counted_each() -> None:
    head, *audio = matroska.packets(4)
    many = [1 + number % 3 for number in range(60)]  # frames: how many stands behind the first byte (RFC 6716, 3.2.5)
    held = [bytes([audio[0][0] | 3, count]) + bytes(count * 40) for count in many]

    found = timeline.read(io.BytesIO(matroska.webm([head, *held], lambda i: i * 20, Shape(delay=False))))

    skip = struct.unpack_from("<H", head, 10)[0] / 48_000
    assert found.duration == pytest.approx(sum(many) * 0.02 - skip)
