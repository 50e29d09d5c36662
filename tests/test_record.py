"""Record from files and from standard input: every format whole, with its own words and date, whatever happens."""

from __future__ import annotations

import os
import random
import re
import signal
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import pytest
from support import sound
from support.disk import SmallDisk
from support.library import Listed, memos, only
from support.program import PROGRAM, Ended, Program
from support.terminal import Terminal
from support.waiting import wait_until

from memosync.errors import AudioError, Interrupted, LibraryError, UsageError

ID = re.compile(r"[0-9a-hjkmnp-tv-z]{8}\n")
TAGS = {"title": "Tag title", "comment": "said in the tags", "date": "2019-03-04"}
FORMATS = {  # what people have: the file's ending, and how FFmpeg makes it
    "wav": [],
    "24.wav": ["-c:a", "pcm_s24le", "-ar", "96000"],
    "float.wav": ["-c:a", "pcm_f32le", "-ac", "6"],
    "aiff": ["-write_id3v2", "1"],
    "flac": [],
    "mp3": [],
    "m4a": [],
    "vorbis.ogg": ["-c:a", "libvorbis"],
    "opus.ogg": ["-c:a", "libopus"],
    "stereo.opus": ["-c:a", "libopus", "-ac", "2", "-frame_duration", "60"],
    "opus.webm": ["-c:a", "libopus"],
    "vorbis.mka": ["-c:a", "libvorbis"],
}
OPUS = [name for name, options in FORMATS.items() if "libopus" in options]
GARBAGE = random.Random(1).randbytes(50_000)
LONG_AGO = datetime(2017, 2, 3, 4, 5, 6, tzinfo=UTC)


def age(path: Path) -> Path:
    """Give a file another time stamp than now."""
    os.utime(path, (LONG_AGO.timestamp(), LONG_AGO.timestamp()))
    return path


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two seconds of 440 Hz in every format, with tags."""
    folder = tmp_path_factory.mktemp("sources")
    plain = folder / "plain"
    plain.write_bytes(sound.wav(sound.tone(2)))
    tags = [part for name, value in TAGS.items() for part in ("-metadata", f"{name}={value}")]
    return {name: age(sound.convert(plain, folder / f"source.{name}", *tags, *FORMATS[name])) for name in FORMATS}


@pytest.fixture(scope="module")
def imported(sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Listed]:
    """The memos made of them by one command, in its order."""
    home = tmp_path_factory.mktemp("home")
    memosync = Program(home / "Memos", {"HOME": str(home)})
    ids = memosync("record", "--again", *sources.values()).lines
    found = {memo["id"]: memo for memo in memos(memosync)}
    return {name: found[memo_id] for name, memo_id in zip(sources, ids, strict=True)}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A second of sound in a file without tags."""
    path = tmp_path / "My talk – day 2.wav"
    path.write_bytes(sound.wav(sound.tone(1)))
    return age(path)


def leftovers(memosync: Program) -> list[str]:
    """Name what a recording left in the library besides memos."""
    return [path.name for path in (memosync.library / ".memosync" / "recording").glob("*")]


# -- files


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_recorded_whole(imported: dict[str, Listed], name: str) -> None:
    memo = imported[name]
    length, frequency = sound.hear(Path(memo["path"]))

    assert length == pytest.approx(2, abs=0.06)
    assert memo["duration"] == pytest.approx(length, abs=0.05)
    assert frequency == pytest.approx(440, abs=3)


@pytest.mark.parametrize("name", FORMATS)
def test_its_tags_are_its_words_and_its_date(imported: dict[str, Listed], name: str) -> None:
    memo = imported[name]

    assert (memo["title"], memo["description"]) == (TAGS["title"], TAGS["comment"])
    assert datetime.fromisoformat(memo["recorded"]) == datetime(2019, 3, 4).astimezone()


@pytest.mark.parametrize("name", OPUS)
def test_opus_is_taken_over_packet_by_packet(sources: dict[str, Path], imported: dict[str, Listed], name: str) -> None:
    path = Path(imported[name]["path"])

    assert sound.packets(sources[name]) == sound.packets(path)
    assert sound.probe(path)["stream"]["channels"] == (2 if "stereo" in name else 1)


def test_opus_from_standard_input_is_taken_over_packet_by_packet(memosync: Program, sources: dict[str, Path]) -> None:
    for name in OPUS[:2]:
        memosync("record", "-", stdin=sources[name].read_bytes())

    assert sorted(sound.packets(Path(memo["path"])) for memo in memos(memosync)) == sorted(
        sound.packets(sources[name]) for name in OPUS[:2]
    )


def test_chained_ogg_is_recorded_to_its_very_end(memosync: Program, sources: dict[str, Path], tmp_path: Path) -> None:
    plain = tmp_path / "high.wav"
    plain.write_bytes(sound.wav(sound.tone(2, frequency=880)))
    high = sound.convert(plain, tmp_path / "high.ogg", "-c:a", "libopus")
    chained = tmp_path / "chained.ogg"
    chained.write_bytes(sources["opus.ogg"].read_bytes() + high.read_bytes())

    memosync("record", chained)
    memosync("record", "-", stdin=chained.read_bytes())

    copied, encoded = (set(sound.packets(Path(memo["path"]))) for memo in memos(memosync))
    theirs = set(sound.packets(high))
    assert theirs <= copied  # nobody can hear a pipe twice
    assert not theirs & encoded
    for memo in memos(memosync):
        assert memo["duration"] == pytest.approx(4, abs=0.1)
        assert sound.hear(Path(memo["path"]), 0, 1.9) == pytest.approx((1.9, 440), abs=3)
        assert sound.hear(Path(memo["path"]), 2.1, 1.8) == pytest.approx((1.8, 880), abs=5)


def test_the_words_given_come_first_and_are_in_the_file_s_own_tags(memosync: Program, sources: dict[str, Path]) -> None:
    words = ["-t", "Größe 🎙", "-d", "first\nsecond", "--tag", "work", "--tag", "town hall", "--tag", "work"]
    result = memosync("record", sources["opus.ogg"], *words)

    memo = only(memosync)
    assert (memo["title"], memo["description"]) == ("Größe 🎙", "first\nsecond")
    assert memo["tags"] == ["work", "town hall"]
    assert result.out == memo["id"] + "\n"
    assert re.match(rf"memosync: saved .*{memo['id']}.*Größe 🎙", result.err)
    tags = sound.probe(Path(memo["path"]))["tags"]
    assert (tags["title"], tags["description"], tags["keywords"]) == ("Größe 🎙", "first\nsecond", "work,town hall")
    assert (tags["date_recorded"], tags["memosync_id"]) == (memo["recorded"], memo["id"])
    assert "comment" not in tags


def test_without_tags_a_file_s_name_and_time_stamp_stand_in(memosync: Program, plain: Path) -> None:
    memosync("record", plain)

    memo = only(memosync)
    assert memo["title"] == "My talk – day 2"
    assert datetime.fromisoformat(memo["recorded"]) == LONG_AGO
    assert datetime.fromisoformat(memo["recorded"]).utcoffset() == LONG_AGO.astimezone().utcoffset()
    assert memo["file"] == f"{LONG_AGO.astimezone():%Y-%m-%d}-my-talk-day-2-{memo['id']}.webm"


def test_a_date_that_cannot_be_is_none(memosync: Program, tmp_path: Path, plain: Path) -> None:
    dates = ["1970-01-01T00:00:00Z", "0000-00-00", "2019-02-30", "0001-01-01", "\x1b[2J", "9" * 400]
    files = [tmp_path / f"{number}.flac" for number in range(len(dates))]
    for file, date in zip(files, dates, strict=True):
        age(sound.convert(plain, file, "-metadata", f"date={date}"))

    memosync("record", "--again", *files)

    assert {datetime.fromisoformat(memo["recorded"]) for memo in memos(memosync)} == {LONG_AGO}


def test_a_date_in_a_tag_is_one_of_this_place_unless_it_says_otherwise(
    memosync: Program, tmp_path: Path, plain: Path
) -> None:
    dates = {
        "2018": "2018-01-01T00:00:00+01:00",
        "2018-07": "2018-07-01T00:00:00+02:00",
        "2018-07-06 05:04:03": "2018-07-06T05:04:03+02:00",
        "2018-07-06T05:04:03Z": "2018-07-06T05:04:03+00:00",
        "2018-07-06T05:04:03-07:00": "2018-07-06T05:04:03-07:00",
    }
    files = [tmp_path / f"{number}.flac" for number in range(len(dates))]
    for file, date in zip(files, dates, strict=True):
        sound.convert(plain, file, "-metadata", f"date={date}", "-metadata", f"title={date}")
    memosync.environment["TZ"] = "Europe/Berlin"

    memosync("record", "--again", *files)

    assert dates == {memo["title"]: memo["recorded"] for memo in memos(memosync)}


def bext(day: bytes, clock: bytes) -> bytes:
    """Make the chunk that a broadcast WAV has (EBU Tech 3285), with the day and the time it began."""
    texts = (b"Scene 12 Take 3", 256), (b"ZOOM F3", 32), (b"", 32), (day, 10), (clock, 8)
    return sound.chunk(b"bext", b"".join(text.ljust(size, b"\0") for text, size in texts) + bytes(8 + 2 + 64 + 190))


def test_a_broadcast_wav_is_of_its_origination_date_and_time(memosync: Program, tmp_path: Path) -> None:
    wanted = datetime(2021, 3, 14, 22, 39, 31).astimezone()
    data = sound.wav(sound.tone(0.5))
    signs = [*zip("-/:_. -", ":::_. -", strict=True)]  # EBU Tech 3285 allows them
    files = [tmp_path / f"{number}.wav" for number in range(len(signs))]
    for file, (in_day, in_time) in zip(files, signs, strict=True):
        day, clock = in_day.join(("2021", "03", "14")), in_time.join(("22", "39", "31"))
        file.write_bytes(data[:12] + bext(day.encode(), clock.encode()) + data[12:])

    result = memosync("record", "--again", *files)

    assert [wanted] * len(signs) == [datetime.fromisoformat(memo["recorded"]) for memo in memos(memosync)]
    assert "date" not in result.err


def test_where_the_date_in_a_file_cannot_be_its_time_stamp_is_taken_and_that_is_said(
    memosync: Program, tmp_path: Path
) -> None:
    data = sound.wav(sound.tone(0.5))
    days = [b"0000-00-00", b"1980-01-01", b"2199-03-14"]
    files = [tmp_path / f"{number}.wav" for number in range(len(days))]
    for file, day in zip(files, days, strict=True):
        file.write_bytes(data[:12] + bext(day, b"00:00:00") + data[12:])
        age(file)

    result = memosync("--quiet", "record", "--again", *files)

    assert [LONG_AGO] * len(days) == [datetime.fromisoformat(memo["recorded"]) for memo in memos(memosync)]
    word = r"^memosync: warning: (.+): the date in it, (\S+) 00:00:00, cannot be relied on; its time stamp is taken$"
    assert [(str(file), day.decode()) for file, day in zip(files, days, strict=True)] == re.findall(
        word, result.err, re.MULTILINE
    )


def test_without_a_date_in_it_a_file_is_of_the_date_in_its_name(memosync: Program, tmp_path: Path) -> None:
    at = datetime(2016, 3, 4, 10, 11, 12).astimezone()
    stamp = LONG_AGO.astimezone()
    names = {
        "REC_20160304-101112": at,
        "Recording 2016-03-04 10.11.12": at,
        "160304_1011": at.replace(second=0),
        "PTT-20160304-WA0001": datetime(2016, 3, 4).astimezone(),
        f"PTT-{stamp:%Y%m%d}-WA0002": stamp,  # the time stamp tells the time of that day
        "Interview 12.03.": stamp,
    }
    for name in names:
        (tmp_path / f"{name}.wav").write_bytes(SECOND)
        age(tmp_path / f"{name}.wav")

    memosync("record", "--again", *(tmp_path / f"{name}.wav" for name in names))

    assert names == {memo["title"]: datetime.fromisoformat(memo["recorded"]) for memo in memos(memosync)}


def test_the_name_of_a_track_is_no_title_but_in_ogg_it_is_one(memosync: Program, plain: Path, tmp_path: Path) -> None:
    name = ["-metadata:s:a", "title=simple_aac_recording0", "-metadata:s:a", "handler_name=Sound Handler"]
    names = {"Screen.mkv": "Screen", "Screen.mp4": "Screen", "Screen.ogg": "simple_aac_recording0"}
    files = [sound.convert(plain, tmp_path / file, *name, "-c:a", "libopus") for file in names]

    memosync("record", "--again", *files)

    assert list(names.values()) == [memo["title"] for memo in reversed(memos(memosync))]


def test_tags_in_an_old_code_page_are_read(memosync: Program, plain: Path, tmp_path: Path) -> None:
    data = sound.wav(sound.tone(0.5))
    without = sound.convert(plain, tmp_path / "plain.mp3", "-id3v2_version", "0").read_bytes()
    titles = {"Gespräch Müller": "cp1252", "长相思": "gbk", "Привет мир": "cp1251", "テスト録音": "shift_jis"}
    files = []
    for title, page in titles.items():
        text = title.encode(page)
        info = sound.chunk(b"LIST", b"INFO" + sound.chunk(b"INAM", text + b"\0"))
        frame = b"TIT2" + struct.pack(">IHB", len(text) + 1, 0, 0) + text  # ID3v2.3: "ISO-8859-1"
        made = {
            "wav": data[:12] + info + data[12:],
            "v2.mp3": b"ID3\3\0\0" + struct.pack(">I", len(frame)) + frame + without,
            "v1.mp3": without + b"TAG" + text.ljust(125, b"\0"),
        }
        for ending, content in made.items():
            files.append(tmp_path / f"{page}.{ending}")
            files[-1].write_bytes(content)

    memosync("record", "--again", *files)

    assert sorted([*titles] * 3) == sorted(memo["title"] for memo in memos(memosync))


def test_opus_whose_tags_are_not_utf_8_is_taken_over_with_them(
    memosync: Program, sources: dict[str, Path], tmp_path: Path
) -> None:
    source = sources["opus.webm"].read_bytes()
    (tmp_path / "old.webm").write_bytes(source.replace(TAGS["title"].encode(), "Größe".encode("cp1252") + b"  it"))

    memosync("record", tmp_path / "old.webm")

    assert only(memosync)["title"] == "Größe  it"
    assert sound.packets(sources["opus.webm"]) == sound.packets(Path(only(memosync)["path"]))


def test_words_from_a_stranger_s_tags_obey_no_terminal(memosync: Program, tmp_path: Path, plain: Path) -> None:
    tags = ["-metadata", "title=a\x1b[2J\tb\nc\u202ed", "-metadata", "comment=x\x1b]0;y\x07z"]
    result = memosync("record", sound.convert(plain, tmp_path / "hostile.flac", *tags))

    memo = only(memosync)
    assert memo["title"] == "a [2J b c d"
    assert not set(result.err + memo["description"]) & set("\x1b\x07\u202e")
    assert result.err.count("\n") == 1


def test_several_sources_are_answered_in_their_order_and_one_that_fails_stops_no_other(
    memosync: Program, plain: Path, tmp_path: Path
) -> None:
    (tmp_path / "noise.mp3").write_bytes(GARBAGE)
    (tmp_path / "text.wav").write_text("a talk\n")
    (tmp_path / "empty.ogg").touch()
    (tmp_path / "header.wav").write_bytes(sound.wav(b""))
    (tmp_path / "list.m4a").write_text(f"#EXTM3U\n#EXTINF:1,\n{plain}\n")
    (tmp_path / "zeros.flac").write_bytes(bytes(50_000))
    bad = [tmp_path / name for name in ("noise.mp3", "text.wav", "empty.ogg", "header.wav", "list.m4a", "zeros.flac")]
    video = tmp_path / "silent.mp4"
    film = ["-f", "lavfi", "-i", "testsrc=d=0.2:s=32x32", str(video)]
    subprocess.run(["ffmpeg", "-v", "error", *film], check=True)

    names = [path.name for path in (*bad, video)]
    sources = [plain.name, *names[:3], "-", *names[3:]]
    process = memosync.start("record", "--again", *sources, cwd=tmp_path, stdin=subprocess.PIPE)
    out, err = (text.decode() for text in process.communicate(SECOND, timeout=60))

    assert process.returncode == AudioError.exit_code
    first, second = out.splitlines()
    found = {memo["id"]: memo["title"] for memo in memos(memosync)}
    assert (found[first], len(found), second in found) == ("My talk – day 2", 2, True)
    assert re.findall(r"^memosync: error: (\S+): .*(?:not audio|no sound)", err, re.MULTILINE) == names
    assert leftovers(memosync) == []


def test_a_terminal_shows_how_far_a_file_is_and_how_long_it_will_take(memosync: Program, tmp_path: Path) -> None:
    sound.noise(tmp_path / "long.flac", 900)
    window = Terminal([*PROGRAM, "record", "long.flac"], memosync.environment, 40, cwd=tmp_path)
    window.wait_for(lambda screen: re.search(r"^ *\d+%  long.flac  (\d+ s|\d min) left$", screen.lines[0]), "a time")
    window.type("\x03")
    window.end(Interrupted(signal.SIGINT).exit_code)
    window.close()

    assert memos(memosync) == []
    assert leftovers(memosync) == []


@pytest.mark.parametrize("bad", ["nope.wav", ".", "nope\x1b[2J.wav", ""])
def test_a_source_that_is_not_there_is_exit_2_and_nothing_is_done(memosync: Program, plain: Path, bad: str) -> None:
    result = memosync("record", plain, plain.parent / bad if bad else "", code=UsageError.exit_code)

    assert (result.out, memosync.library.exists()) == ("", False)
    assert re.match("memosync: error: ", result.err)
    assert "\x1b" not in result.err


@pytest.mark.parametrize(
    "options", [["--bitrate", "600k"], ["--bitrate", "x"], ["--max", "soon"], ["--tag", "a,b"]], ids=" ".join
)
def test_a_bad_option_is_exit_2_and_nothing_is_done(memosync: Program, plain: Path, options: list[str]) -> None:
    result = memosync("record", plain, *options, code=UsageError.exit_code)

    assert (result.out, memosync.library.exists()) == ("", False)
    assert len(re.findall("^memosync: error: ", result.err, re.MULTILINE)) == 1


# -- the file that is made


def elements(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Walk over EBML elements (RFC 8794): their ids, and where their content begins and ends."""
    while at < end:
        width = 9 - data[at].bit_length()
        name = int.from_bytes(data[at : at + width], "big")
        at += width
        width = 9 - data[at].bit_length()
        size = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
        at += width
        yield name, at, at + size
        at += size


def test_the_memo_is_a_webm_with_duration_and_cues_in_front(memosync: Program) -> None:
    memosync("record", "-", stdin=sound.wav(sound.tone(20, 8000), 8000))

    path = Path(only(memosync)["path"])
    data = path.read_bytes()
    (header, start, end), (segment, *content) = elements(data, 0, len(data))
    assert (header, segment) == (0x1A45DFA3, 0x18538067)
    assert b"webm" in data[start:end]
    info, tracks, cues, tags, cluster = 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1254C367, 0x1F43B675
    parts = list(elements(data, *content))
    names = [name for name, *_ in parts]
    assert {info, tracks, cues, tags} <= set(names[: names.index(cluster)])
    durations = [
        data[begin:end]
        for part, *range_ in parts
        if part == info
        for name, begin, end in elements(data, *range_)
        if name == 0x4489
    ]
    assert struct.unpack(">d", *durations)[0] == pytest.approx(20_000, abs=50)
    command = ["mpv", "--no-config", "--no-video", "--ao=pcm", "--start=15.5", f"--ao-pcm-file={path}.wav", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    assert sound.hear(Path(f"{path}.wav")) == pytest.approx((4.5, 440), abs=3)
    assert sound.hear(Path(f"{path}.wav"))[0] == pytest.approx(4.5, abs=0.1)


def test_stereo_and_bitrate_are_kept(memosync: Program, tmp_path: Path) -> None:
    noise = tmp_path / "noise.wav"
    noise.write_bytes(sound.wav(random.Random(1).randbytes(4 * 48_000), channels=2))

    memosync("record", noise, "-t", "small", env={"MEMOSYNC_BITRATE": "16k"})
    memosync("record", noise, "-t", "large", "--bitrate", "128k", "--stereo", env={"MEMOSYNC_BITRATE": "16k"})

    found = {memo["title"]: memo for memo in memos(memosync)}
    channels = {title: sound.probe(Path(memo["path"]))["stream"]["channels"] for title, memo in found.items()}
    assert channels == {"small": 1, "large": 2}
    assert found["large"]["size"] == pytest.approx(16_000, rel=0.2)
    assert found["small"]["size"] < 4000


# -- standard input

SECOND = sound.wav(sound.tone(1))
LIES = [0, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x7FFF0024]  # arecord, FFmpeg, sox and others, into a pipe


def cd(seconds: float, length: int) -> bytes:
    """Make a WAV as it comes from a CD, whose header says that it has so many bytes."""
    return sound.wav(sound.tone(seconds, 44_100, 2), 44_100, 2, length=length)


@pytest.mark.parametrize("length", LIES[:3], ids=hex)
def test_a_wav_from_a_pipe_whose_header_lies_about_its_length_is_recorded_whole(memosync: Program, length: int) -> None:
    memosync("record", "-", stdin=cd(1.5, length))

    assert only(memosync)["duration"] == pytest.approx(1.5, abs=0.03)


def test_a_wav_in_a_file_whose_header_lies_about_its_length_is_recorded_whole(
    memosync: Program, tmp_path: Path
) -> None:
    files = [tmp_path / f"{length:x}.wav" for length in LIES]
    for file, length in zip(files, LIES, strict=True):
        file.write_bytes(cd(1.5, length))

    memosync("record", "--again", *files)

    assert [memo["duration"] for memo in memos(memosync)] == pytest.approx([1.5] * len(LIES), abs=0.03)


def test_a_wav_ends_where_its_data_ends(memosync: Program, tmp_path: Path) -> None:
    words = sound.chunk(b"LIST", b"INFO" + sound.chunk(b"INAM", b"Behind\0") + sound.chunk(b"ICRD", b"2018-07-06\0"))
    data = sound.wav(sound.tone(1.5), after=words + sound.chunk(b"JUNK", GARBAGE))
    (tmp_path / "chunks.wav").write_bytes(data)

    memosync("record", tmp_path / "chunks.wav")
    memosync("record", "-", stdin=data)

    piped, filed = memos(memosync)
    assert filed["duration"] == piped["duration"] == pytest.approx(1.5, abs=0.03)
    assert (filed["title"], filed["recorded"][:10]) == ("Behind", "2018-07-06")


def test_a_wav_that_was_cut_off_is_recorded_as_far_as_it_goes(memosync: Program, tmp_path: Path) -> None:
    data = sound.wav(sound.tone(1.5), length=48_000 * 2 * 60)
    (tmp_path / "cut.wav").write_bytes(data)

    memosync("record", "--again", "-", tmp_path / "cut.wav", stdin=data)

    assert [memo["duration"] for memo in memos(memosync)] == pytest.approx([1.5, 1.5], abs=0.05)


@pytest.mark.parametrize("name", ["24.wav", "float.wav", "vorbis.ogg", "m4a"])
def test_standard_input_may_be_of_any_format(memosync: Program, sources: dict[str, Path], name: str) -> None:
    if name == "m4a":  # FFmpeg writes its `moov` behind the sound: that needs a file, which standard input can be
        with sources[name].open("rb") as file:
            assert memosync.start("record", "-", stdin=file).wait(30) == 0
    else:
        memosync("record", "-", stdin=sources[name].read_bytes())

    memo = only(memosync)
    assert sound.hear(Path(memo["path"])) == pytest.approx((2, 440), abs=3)
    assert memo["duration"] == pytest.approx(2, abs=0.06)
    assert memo["title"] == TAGS["title"]


def test_a_named_pipe_is_read_as_it_comes(memosync: Program, tmp_path: Path) -> None:
    pipe = tmp_path / "talk"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=[SECOND], daemon=True).start()

    memosync("record", pipe, stdin=b"")

    memo = only(memosync)
    assert memo["title"] == "talk"
    assert memo["duration"] == pytest.approx(1, abs=0.03)


def test_what_comes_from_a_pipe_is_of_now(memosync: Program) -> None:
    before = datetime.now().astimezone().replace(microsecond=0)
    memosync("record", "-", stdin=SECOND)
    after = datetime.now().astimezone()

    memo = only(memosync)
    recorded = datetime.fromisoformat(memo["recorded"])
    assert before <= recorded <= after
    assert memo["title"] == f"{recorded:%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    "data",
    [b"", GARBAGE, SECOND[:20], SECOND[:44], b"OggS" + GARBAGE],
    ids=["nothing", "noise", "half a header", "a header", "no ogg"],
)
def test_what_is_not_audio_is_exit_7_and_leaves_nothing(memosync: Program, data: bytes) -> None:
    result = memosync("record", "-", stdin=data, code=AudioError.exit_code)

    assert result.out == ""
    assert re.fullmatch("memosync: error: standard input: .*\n(memosync: hint: .*\n)?", result.err)
    assert not list(memosync.library.glob("*.webm"))
    assert leftovers(memosync) == []


def test_a_header_that_cannot_be_is_exit_7(memosync: Program, tmp_path: Path) -> None:
    odd = {"channels": (200, 48_000, 16), "rate": (1, 2**31 - 1, 16), "slow": (1, 1, 16), "bits": (1, 48_000, 0)}
    for name, (channels, rate, bits) in odd.items():
        form = struct.pack("<HHIIHH", 1, channels, rate, 0, 0, bits)
        (tmp_path / f"{name}.wav").write_bytes(SECOND[:20] + form + SECOND[36:])
    files = list(tmp_path.glob("*.wav"))

    result = memosync("record", *files, code=AudioError.exit_code, timeout=20)
    piped = memosync("record", "-", stdin=(tmp_path / "rate.wav").read_bytes(), code=AudioError.exit_code)

    assert result.err.count("memosync: error: ") == len(odd)
    assert "Traceback" not in result.err + piped.err
    assert leftovers(memosync) == []


def test_no_standard_input_at_all_is_one_line(memosync: Program) -> None:
    process = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *PROGRAM, "record", "-"], env=memosync.environment, capture_output=True
    )

    assert process.returncode in (UsageError.exit_code, AudioError.exit_code)
    assert process.stderr.startswith(b"memosync: error: ")
    assert b"Traceback" not in process.stderr


class Pipe:
    """A running `record -` whose writer has not ended."""

    def __init__(self, memosync: Program, process: subprocess.Popen[Any], data: bytes) -> None:
        self.process = process
        self._folder = memosync.library / ".memosync" / "recording"
        threading.Thread(target=self._write, args=[data], daemon=True).start()

    def wait_for(self, seconds: float) -> None:
        """Wait until more than so many seconds can be read from the disk."""
        wait_until(lambda: self._on_disk() > seconds, f"{seconds} s reach the disk")

    def _write(self, data: bytes) -> None:
        assert self.process.stdin
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def _on_disk(self) -> float:
        assert self.process.poll() is None
        try:
            (part,) = self._folder.glob("*.part")
            with av.open(part) as file:
                packets = [packet for packet in file.demux() if packet.size]
            ends = [((one.pts or 0) + (one.duration or 0)) * one.time_base for one in packets]
            return float(max(ends, default=0))
        except (ValueError, av.FFmpegError):  # not there yet, or nothing in it
            return 0.0


Record = Callable[..., Pipe]


@pytest.fixture
def record(memosync: Program, ended: Ended) -> Record:
    """Start `record -`, give it so much, and leave it waiting for more."""

    def start(data: bytes, *arguments: str) -> Pipe:
        return Pipe(memosync, ended(memosync.start("record", "-", *arguments, stdin=subprocess.PIPE)), data)

    return start


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_a_pipe_and_saves_what_it_gave(memosync: Program, record: Record, number: signal.Signals) -> None:
    pipe = record(cd(2, 0xFFFFFFFF), "-t", "Talk")
    pipe.wait_for(1.2)

    pipe.process.send_signal(number)
    out, err = (text.decode() for text in pipe.process.communicate(timeout=60))

    assert pipe.process.returncode == 0, err
    memo = only(memosync)
    assert (out, memo["title"]) == (memo["id"] + "\n", "Talk")
    assert 1.2 <= memo["duration"] <= 2.05
    assert sound.hear(Path(memo["path"])) == pytest.approx((memo["duration"], 440), abs=3)


@pytest.mark.parametrize("kind", ["cd", "arecord", "opus.ogg", "opus.webm", "mp3", "flac"])
def test_what_a_pipe_gave_survives_kill_9(memosync: Program, record: Record, tmp_path: Path, kind: str) -> None:
    fed = 4.0
    late = 2.0 if kind == "flac" else 1.0  # FFmpeg holds back ten frames of it, 0.96 s here
    if kind == "arecord":  # its own default: 8 bits, 8000 Hz
        low = sound.tone(fed, 8000)[1::2]
        data = sound.wav(bytes(byte ^ 128 for byte in low), 8000, bits=8, length=0x80000000)
    else:
        data = cd(fed, 0xFFFFFFFF)
    if "." in kind or kind in ("mp3", "flac"):
        plain = tmp_path / "plain.wav"
        plain.write_bytes(sound.wav(sound.tone(fed)))
        live = ["-flush_packets", "1"] + (["-page_duration", "100000"] if "ogg" in kind else [])
        live += ["-cluster_time_limit", "300"] if "webm" in kind else []
        codec = ["-c:a", "libopus"] if "opus" in kind else []
        data = sound.convert(plain, tmp_path / f"live.{kind}", *codec, *live).read_bytes()
        data = data[:-300]  # its end has not come yet
    pipe = record(data, "-t", "Talk", "-d", "all of it", "--tag", "work")
    pipe.wait_for(fed - late)

    pipe.process.kill()
    pipe.process.communicate()
    result = memosync("list")

    memo = only(memosync)
    assert fed - late < memo["duration"] <= fed + 0.05
    assert re.match(rf"memosync: recovered .*{memo['id']}.*Talk", result.err)
    assert (memo["title"], memo["description"], memo["tags"]) == ("Talk", "all of it", ["work"])
    assert sound.hear(Path(memo["path"])) == pytest.approx((memo["duration"], 440), abs=3)
    assert leftovers(memosync) == []


def test_max_ends_a_pipe_that_would_not_end(memosync: Program, record: Record) -> None:
    pipe = record(sound.wav(sound.tone(30, 8000), 8000, length=0xFFFFFFFF), "--max", "1.5s")

    assert pipe.process.wait(60) == 0
    assert only(memosync)["duration"] == pytest.approx(1.5, abs=0.03)


def test_max_holds_for_each_source(memosync: Program, plain: Path, sources: dict[str, Path]) -> None:
    memosync("record", "--again", "--max", "0.5", "-", plain, sources["opus.ogg"], stdin=SECOND)

    assert [memo["duration"] for memo in memos(memosync)] == pytest.approx([0.5, 0.5, 0.5], abs=0.03)


# -- where the answer goes


def test_a_closed_standard_output_costs_nothing(memosync: Program, plain: Path) -> None:
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *PROGRAM, "record", "--again", str(plain), str(plain)]
    process = subprocess.run(command, env=memosync.environment, capture_output=True)

    assert process.returncode == 0, process.stderr
    assert len(memos(memosync)) == 2


def test_a_reader_that_has_gone_costs_no_recording(memosync: Program, plain: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = memosync.start("record", "--again", plain, plain, plain, stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=30)

    assert (process.returncode, b"Traceback" in err) == (0, False), err
    assert len(memos(memosync)) == 3


def test_an_answer_that_cannot_be_written_is_one_line_and_the_memo_stays(memosync: Program, plain: Path) -> None:
    with open("/dev/full", "wb") as full:
        process = memosync.start("record", plain, stdout=full)
        _, err = process.communicate(timeout=30)

    assert (process.returncode, b"Traceback" in err) == (LibraryError.exit_code, False), err
    assert len(memos(memosync)) == 1


# -- a full disk


def test_a_pipe_that_fills_the_disk_is_kept_and_finished_when_there_is_room(memosync: Program, disk: SmallDisk) -> None:
    memosync("record", "-", "-t", "Before", stdin=SECOND)
    disk.fill(room=100_000)
    noise = sound.wav(random.Random(1).randbytes(2 * 48_000 * 10))

    full = memosync("record", "-", "-t", "Talk", "--bitrate", "160k", stdin=noise, code=LibraryError.exit_code)

    (part,) = leftovers(memosync)
    assert full.out == ""
    assert part in full.err
    assert "Traceback" not in full.err
    assert "hint: make room; then memosync list finishes it" in full.err  # to record again would be another one
    assert len(memosync("list").lines) == 1
    assert leftovers(memosync) == [part]

    disk.make_room()
    talk = next(memo for memo in memos(memosync) if memo["title"] == "Talk")
    assert talk["duration"] > 3  # of what 100 kB hold at 160 kb/s, 5 s
    assert sound.hear(memosync.library / talk["file"])[0] == pytest.approx(talk["duration"], abs=0.05)
    assert leftovers(memosync) == []


def test_a_file_that_fills_the_disk_is_exit_6_and_leaves_nothing(
    memosync: Program, disk: SmallDisk, tmp_path: Path
) -> None:
    noise = tmp_path / "noise.wav"
    noise.write_bytes(sound.wav(random.Random(1).randbytes(2 * 48_000 * 10)))
    memosync("record", "-", stdin=SECOND)
    disk.fill(room=100_000)

    full = memosync("record", noise, "--bitrate", "160k", code=LibraryError.exit_code)

    assert full.out == ""
    assert re.match("memosync: error: .*no space left", full.err, re.IGNORECASE)
    assert len(memosync("list").lines) == 1
    assert leftovers(memosync) == []
