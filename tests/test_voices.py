"""What went in comes out, whatever recorder it came from: level, length and every voice, by file and by pipe."""

from __future__ import annotations

import json
import re
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import matroska, ogg, recorders, sound
from support.disk import SmallDisk
from support.library import memos, only
from support.program import Program
from support.recorders import RATE, Record, Samples, amplitude

from memosync.errors import AudioError, LibraryError

Ways = Callable[[Program, Path], str]


def tones(*parts: tuple[float, float], seconds: float = 2) -> Samples:
    """Mix sines of these frequencies (Hz) and amplitudes."""
    time = np.arange(round(seconds * RATE)) / RATE
    return sum((amplitude * np.sin(2 * np.pi * frequency * time) for frequency, amplitude in parts), 0 * time).astype(
        "f"
    )


def wav(path: Path, *channels: Samples, bits: int = 16) -> Path:
    """Write a plain WAV, without a word of where its channels stand."""
    block = np.stack(channels, axis=1)
    data = (block * 32_767).astype("<i2") if bits == 16 else block.astype("<f4")
    plain = sound.wav(data.tobytes(), channels=len(channels), bits=bits)
    path.write_bytes(plain if bits == 16 else plain[:20] + struct.pack("<H", 3) + plain[22:])
    return path


def decoded(path: Path | str) -> Samples:
    """Give what one hears of its first channel."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-af", "pan=mono|c0=c0", "-ar", str(RATE), "-f", "f32le", "-"]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.float32)


def by_file(memosync: Program, path: Path) -> str:
    return memosync("record", "--again", path).err


def by_pipe(memosync: Program, path: Path) -> str:
    return memosync("record", "-", stdin=path.read_bytes()).err


both_ways = pytest.mark.parametrize("record", [by_file, by_pipe])
in_process = pytest.mark.parametrize("record", [recorders.by_file, recorders.by_pipe])


def ffmpeg(target: Path, *arguments: str | Path) -> Path:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments), str(target)], check=True)
    return target


# -- levels, and channels


@in_process
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_a_voice_on_every_channel_is_as_loud_as_it_was(tmp_path: Path, record: Record, channels: int) -> None:
    voice = tones((440, 0.7))
    source = wav(tmp_path / "voice.wav", *[voice] * channels)
    if channels == 6:
        source = ffmpeg(tmp_path / "5.1.wav", "-i", source, "-af", "channelmap=channel_layout=5.1")

    heard, _ = record(source.read_bytes())

    assert 20 * np.log10(amplitude(heard, 440) / 0.7) == pytest.approx(0, abs=0.1)
    assert abs(heard).max() < 0.75


@in_process
@pytest.mark.parametrize(("channels", "voice"), [(3, 2), (6, 3), (8, 3), (10, 9), (12, 0), (60, 59)])
def test_a_voice_on_any_track_of_a_recorder_is_heard(tmp_path: Path, record: Record, channels: int, voice: int) -> None:
    tracks = [tones(seconds=1)] * channels
    tracks[voice] = tones((440, 0.5), seconds=1)

    heard, _ = record(wav(tmp_path / "tracks.wav", *tracks).read_bytes())

    assert amplitude(heard, 440) == pytest.approx(0.5, rel=0.02)


@in_process
def test_four_speakers_with_a_microphone_each_are_all_heard(tmp_path: Path, record: Record) -> None:
    frequencies = (300, 500, 700, 900)

    heard, _ = record(wav(tmp_path / "four.wav", *[tones((frequency, 0.5)) for frequency in frequencies]).read_bytes())

    assert [amplitude(heard, each) for each in frequencies] == pytest.approx([0.125] * 4, rel=0.05)


@in_process
def test_channels_that_cancel_each_other_are_no_silence_and_that_is_said(tmp_path: Path, record: Record) -> None:
    voice = tones((440, 0.5), seconds=6)

    heard, said = record(wav(tmp_path / "opposite.wav", voice, -0.9 * voice).read_bytes())

    assert "from 00:0" in said
    assert "its channels cancel each other: the loudest one, 1 of 2, stands in" in said
    assert amplitude(heard[3 * RATE :], 440) == pytest.approx(0.5, rel=0.02)
    assert record is recorders.by_pipe or amplitude(heard[: 3 * RATE], 440) == pytest.approx(0.5, rel=0.02)


def test_stereo_keeps_its_sides_and_5_1_gets_no_louder(memosync: Program, tmp_path: Path) -> None:
    left, right = tones((440, 0.7)), tones((660, 0.7))
    wide = ffmpeg(
        tmp_path / "5.1.wav",
        "-i",
        wav(tmp_path / "six.wav", *[left, right] * 3),
        "-af",
        "channelmap=channel_layout=5.1",
    )

    memosync("record", "--stereo", wav(tmp_path / "two.wav", left, right), wide)

    for memo in memos(memosync):
        sides = ffmpeg(tmp_path / "sides.wav", "-i", memo["path"], "-af", "channelsplit,join=inputs=2")
        assert sound.peak(sides) < -2


@both_ways
def test_samples_that_are_no_numbers_poison_nothing(memosync: Program, tmp_path: Path, record: Ways) -> None:
    voice = tones((440, 0.5))
    voice[10_000], voice[20_000], voice[70_000] = np.nan, np.inf, np.nan

    said = record(memosync, wav(tmp_path / "nan.wav", voice, -voice, bits=32))

    heard = decoded(only(memosync)["path"])
    assert "from 00:00 on its channels cancel each other" in said  # they do not hide what is wrong besides
    assert "silence" not in said
    assert amplitude(heard[RATE:], 440) == pytest.approx(0.5, rel=0.02)  # a pipe is judged after a second
    assert abs(heard).max() < 0.7
    assert json.loads(memosync("show", "last", "--json").out)["loudness"] == pytest.approx(-9, abs=2)


@in_process
@pytest.mark.parametrize(
    ("form", "codec", "peak"),
    [
        ("wav", "pcm_f32le", 1.5),
        ("aiff", "pcm_f64be", 30),  # as recorders of 32 bits do
        ("caf", "pcm_f32be", 2**15),  # of another scale
        ("mka", "pcm_f32le", 2**31),
        ("wv", "wavpack", 1.5),
    ],
)
def test_what_is_louder_than_full_scale_is_made_quieter_and_not_clipped(
    tmp_path: Path, record: Record, form: str, codec: str, peak: float
) -> None:
    voice = np.concatenate([tones((440, part), seconds=1.5) for part in (0.3, peak, 0.3 * peak)])
    source = wav(tmp_path / "plain.wav", voice, bits=32)

    heard, said = record(ffmpeg(tmp_path / f"voice.{form}", "-i", source, "-c:a", codec).read_bytes())

    quiet, loud, after = (heard[round(begin * RATE) : round((begin + 1) * RATE)] for begin in (0.2, 1.8, 3.3))
    assert said.count("louder than full scale") == 1
    assert amplitude(loud, 440) == pytest.approx(1, rel=0.05)
    assert amplitude(loud, 1_320) < 0.01
    assert amplitude(after, 440) == pytest.approx(0.3, rel=0.05)
    before = 0.3 if record is recorders.by_pipe else 0.3 / peak
    assert amplitude(quiet, 440) == pytest.approx(before, rel=0.05, abs=0.001)


@in_process
@pytest.mark.parametrize("beyond", [50, 2e4, 1e38, None], ids=str)
def test_damage_that_is_beyond_full_scale_makes_nothing_quieter(
    tmp_path: Path, record: Record, beyond: float | None
) -> None:
    voice = tones((440, 0.5))
    if beyond:
        voice[10_000:10_090:2] = beyond
    else:  # a cluster of a memory card that has something else
        voice[10_000:18_192] = np.frombuffer(np.random.default_rng(1).bytes(32_768), np.float32)

    heard, said = record(wav(tmp_path / "damaged.wav", voice, bits=32).read_bytes())

    assert said == ""
    assert amplitude(heard[-RATE:], 440) == pytest.approx(0.5, rel=0.02)


@in_process
def test_nothing_but_silence_is_said(tmp_path: Path, record: Record) -> None:
    silence = wav(tmp_path / "silence.wav", tones())

    assert "nothing but silence" in record(silence.read_bytes())[1]
    copied = ffmpeg(tmp_path / "silence.opus", "-i", silence, "-c:a", "libopus")
    assert "nothing but silence" in record(copied.read_bytes())[1]
    assert "silence" not in record(wav(tmp_path / "voice.wav", tones((440, 0.01))).read_bytes())[1]


# -- tracks


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A file of two tracks, the first of them silent."""
    silent, voice = wav(tmp_path / "silent.wav", tones()), wav(tmp_path / "voice.wav", tones((440, 0.5)))
    return ffmpeg(tmp_path / "film.mkv", "-i", silent, "-i", voice, "-map", "0", "-map", "1", "-c:a", "flac")


@in_process
def test_the_track_that_a_file_calls_its_default_is_taken_and_said(tmp_path: Path, record: Record) -> None:
    noise, voice = wav(tmp_path / "noise.wav", tones((700, 0.5))), wav(tmp_path / "voice.wav", tones((440, 0.5)))
    options = ["-map", "0", "-map", "1", "-c:a", "flac", "-disposition:a:0", "0", "-disposition:a:1", "default"]

    heard, said = record(ffmpeg(tmp_path / "default.mkv", "-i", noise, "-i", voice, *options).read_bytes())

    assert "of its 2 tracks number 2 is taken" in said
    assert amplitude(heard, 440) == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("codec", ["flac", "libopus"])
def test_where_the_first_track_is_silent_the_one_with_the_voice_is_taken(
    memosync: Program, tmp_path: Path, film: Path, codec: str
) -> None:
    said = by_file(memosync, ffmpeg(tmp_path / "two.mkv", "-i", film, "-map", "0", "-c:a", codec))

    assert "of its 2 tracks number 2 is taken (silent: 1)" in said
    assert amplitude(decoded(only(memosync)["path"]), 440) == pytest.approx(0.5, rel=0.03)


def test_a_track_that_nobody_can_decode_does_not_hide_the_next_one(memosync: Program, tmp_path: Path) -> None:
    voice = wav(tmp_path / "voice.wav", tones((440, 0.5)))
    for name, tracks in (("apple.qta", ["-map", "0", "-map", "1"]), ("none.qta", [])):
        film = ffmpeg(tmp_path / "film.mov", "-i", voice, "-i", voice, *tracks, "-c:a", "alac")
        data = bytearray(film.read_bytes())
        at = data.index(b"alac", data.index(b"stsd"))
        inner = data.index(b"alac", at + 4)
        data[at : at + 4], data[inner : inner + 4] = b"apac", b"dapa"
        (tmp_path / name).write_bytes(data)

    by_file(memosync, tmp_path / "apple.qta")
    refused = memosync("record", tmp_path / "none.qta", code=AudioError.exit_code).err

    assert amplitude(decoded(only(memosync)["path"]), 440) == pytest.approx(0.5, rel=0.02)
    assert "it is QuickTime / MOV, and FFmpeg can decode none of its 1 audio tracks" in refused


# -- clocks


@pytest.fixture(scope="module")
def opus(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The packets of four seconds of Opus, its two headers first; the frequency says where one is."""
    folder = tmp_path_factory.mktemp("opus")
    parts = [tones((frequency, 0.5), seconds=1) for frequency in (300, 400, 500, 600)]
    voice = wav(folder / "voice.wav", np.concatenate(parts))
    return ogg.packets(ffmpeg(folder / "voice.ogg", "-i", voice, "-c:a", "libopus"))


CLOCKS: dict[str, Callable[[int], int]] = {  # the samples at which a packet ends, as the pages say
    "begins at 27 h": lambda number: 960 * (number + 1) + 27 * 3_600 * RATE,
    "three times too small": lambda number: 320 * (number + 1),
    "none": lambda _number: 0,
    "-1 at the end": lambda number: -1 if number > 120 else 960 * (number + 1),
    "-1 in the middle": lambda number: -1 if 60 < number < 140 else 960 * (number + 1),
    "beyond all": lambda number: 960 * (number + 1) + 2**62,
    "negative": lambda number: 960 * (number + 1) - 10**9,
    "a hole": lambda number: 960 * (number + 1) + (number > 100) * 5 * RATE,
}


def test_opus_is_as_long_as_its_packets_are_whatever_its_clock_says(
    memosync: Program, tmp_path: Path, opus: list[bytes]
) -> None:
    odd = [tmp_path / f"{name}.opus" for name in CLOCKS]
    for path, time in zip(odd, CLOCKS.values(), strict=True):
        path.write_bytes(ogg.stream(opus, time, pages_of=30))  # the last one has 21: all may seem to be cut off

    said = memosync("record", "--again", *odd).err
    said += "".join(memosync("record", "-", stdin=odd[number].read_bytes()).err for number in (0, 4, 5))

    assert said.count("warning: ") == 1
    assert f"{odd[-1]}: holes in the source: 5.00 s at 00:01 are missing there" in said
    found = memos(memosync)
    places = [Path(memo["path"]) for memo in found]
    assert len(found) == 11
    assert [memo["duration"] for memo in found] == pytest.approx([4.0] * 11, abs=0.05)
    assert [float(sound.probe(place)["duration"]) for place in places] == pytest.approx([4.0] * 11, abs=0.05)
    assert (found[0]["title"] in CLOCKS) != (found[-1]["title"] in CLOCKS)  # one came by file, one by pipe
    for form in ("webm", "ogg", "wav", "flac", "mp3"):
        memosync("export", found[0]["id"], found[-1]["id"], "-f", form, "-o", f"{tmp_path / form}/")
        places += (tmp_path / form).iterdir()
    assert len(places) == 11 + 2 * 5
    for heard in map(decoded, places):
        assert len(heard) / RATE == pytest.approx(4.0, abs=0.05)
        for second, frequency in enumerate((300, 400, 500, 600)):
            assert amplitude(heard[second * RATE : (second + 1) * RATE], frequency) == pytest.approx(0.5, rel=0.1)


@both_ways
def test_what_a_decoder_throws_away_is_no_part_of_the_length_anywhere(
    memosync: Program, tmp_path: Path, opus: list[bytes], record: Ways
) -> None:
    """FFmpeg counts it in the header; a second is where the beginning was cut off without decoding (RFC 7845, 4.2)."""
    head = opus[0][:10] + struct.pack("<H", RATE) + opus[0][12:]
    (tmp_path / "voice.opus").write_bytes(ogg.stream([head, *opus[1:]]))

    said = record(memosync, tmp_path / "voice.opus")

    assert "warning" not in said
    for words in ("A title", "Another"):  # the file is written anew for the second
        memo = only(memosync)
        assert float(sound.probe(Path(memo["path"]))["duration"]) == pytest.approx(memo["duration"], abs=0.01)
        assert len(decoded(memo["path"])) / RATE == pytest.approx(memo["duration"], abs=0.01)
        memosync("edit", "last", "-t", words)


@in_process
@pytest.mark.parametrize("burst", [2, 3, 5])
def test_packets_that_have_their_times_in_bursts_have_no_holes_between_them(
    tmp_path: Path, record: Record, burst: int
) -> None:
    packets = matroska.packets()
    even = [*packets, *packets[1 : 1 + burst - (len(packets) - 2) % burst]]  # the last one begins a burst
    hole = [20 * (number - number % burst) + (number > len(even) - 8) * 200 for number in range(len(even))]
    (tmp_path / "even.webm").write_bytes(matroska.webm(even, lambda number: 20 * (number - number % burst)))
    (tmp_path / "hole.webm").write_bytes(matroska.webm(even, hole.__getitem__))

    assert "holes" not in record((tmp_path / "even.webm").read_bytes())[1]
    assert "holes in the source: 0.2" in record((tmp_path / "hole.webm").read_bytes())[1]


@in_process
def test_what_an_mp4_leaves_out_stays_out(tmp_path: Path, opus: list[bytes], record: Record) -> None:
    (tmp_path / "voice.ogg").write_bytes(ogg.stream(opus))
    data = bytearray(ffmpeg(tmp_path / "whole.mp4", "-i", tmp_path / "voice.ogg", "-c", "copy").read_bytes())
    at = data.index(b"elst")
    begin = struct.unpack(">i", data[at + 16 : at + 20])[0]
    data[at + 12 : at + 20] = struct.pack(">Ii", 2_000, begin + RATE)  # from 1 s on, two of them
    (tmp_path / "cut.mp4").write_bytes(data)

    heard, _ = record((tmp_path / "cut.mp4").read_bytes())

    assert len(heard) / RATE == pytest.approx(2, abs=0.05)
    assert amplitude(heard[:RATE], 400) == pytest.approx(0.5, rel=0.1)
    assert amplitude(heard[RATE:], 500) == pytest.approx(0.5, rel=0.1)


# -- damage


@in_process
@pytest.mark.parametrize("packet", [b"", b"\x03"], ids=["empty", "broken"])
def test_a_packet_that_cannot_be_read_costs_itself_and_that_is_said(
    tmp_path: Path, opus: list[bytes], record: Record, packet: bytes
) -> None:
    (tmp_path / "odd.opus").write_bytes(ogg.stream([*opus[:102], packet, *opus[103:]], pages_of=20))

    heard, said = record((tmp_path / "odd.opus").read_bytes())

    assert "at 00:02" in said or "at 00:01" in said
    assert len(heard) / RATE == pytest.approx(4, abs=0.05)


@in_process
def test_a_page_that_is_lost_costs_itself_and_that_is_said(tmp_path: Path, opus: list[bytes], record: Record) -> None:
    data = bytearray(ogg.stream(opus, pages_of=25))
    at = [place for place in range(len(data)) if data.startswith(b"OggS", place)][5]
    data[at] ^= 1
    (tmp_path / "odd.opus").write_bytes(data)

    heard, said = record((tmp_path / "odd.opus").read_bytes())

    assert "holes in the source: 0.50 s at 00:01 are missing there" in said
    assert len(heard) / RATE == pytest.approx(3.5, abs=0.05)


@in_process
@pytest.mark.parametrize("codec", ["libopus", "libvorbis", "libspeex"])
def test_a_wrong_bit_on_each_page_costs_no_second_and_is_said(tmp_path: Path, record: Record, codec: str) -> None:
    """FFmpeg leaves out each page whose checksum is wrong, and says nothing: of these nearly all."""
    voice = wav(tmp_path / "voice.wav", tones((440, 0.5), seconds=4))
    source = ffmpeg(tmp_path / "voice.ogg", "-i", voice, "-ar", "16000", "-c:a", codec)
    data = bytearray(source.read_bytes())
    for at in [place for place in range(len(data)) if data.startswith(b"OggS", place)][2:]:
        data[at + 27 + data[at + 26] + 300] ^= 16
    source.write_bytes(data)

    heard, said = record(source.read_bytes())

    assert "s at 00:00 may sound wrong in places" in said
    assert len(heard) / RATE == pytest.approx(4, abs=0.1)
    assert amplitude(heard, 440) == pytest.approx(0.5, rel=0.2)


@in_process
def test_a_last_page_that_is_lost_is_said(tmp_path: Path, opus: list[bytes], record: Record) -> None:
    data = bytearray(ogg.stream(opus, pages_of=70))
    data[data.rindex(b"OggS")] ^= 1
    (tmp_path / "odd.opus").write_bytes(data)

    assert re.search(
        "damaged: something at 00:02 could not be read|it says that it is 4.0 s long",
        record((tmp_path / "odd.opus").read_bytes())[1],
    )


LYRICS = b"LYRICSBEGININD0000200LYR00020la la la la la la la000048LYRICS200TAG" + bytes(125)


@in_process
@pytest.mark.parametrize(
    ("name", "codec", "behind"), [("gsm.w64", ["-ar", "8000", "-c:a", "libgsm_ms"], b""), ("lyrics.mp3", [], LYRICS)]
)
def test_what_stands_behind_the_sound_is_no_damage(
    tmp_path: Path, record: Record, name: str, codec: list[str], behind: bytes
) -> None:
    source = ffmpeg(tmp_path / name, "-i", wav(tmp_path / "voice.wav", tones((440, 0.5), seconds=4)), *codec)
    source.write_bytes(source.read_bytes() + behind)

    heard, said = record(source.read_bytes())

    assert "damaged" not in said
    assert len(heard) / RATE == pytest.approx(4, abs=0.05)


@in_process
def test_of_aac_without_lengths_it_is_said_how_little_could_be_had(tmp_path: Path, record: Record) -> None:
    """In a WAV nothing tells where a frame of it ends; FFmpeg writes such files, and reads little of them."""
    voice = wav(tmp_path / "voice.wav", tones((440, 0.5), seconds=4))
    source = ffmpeg(tmp_path / "aac.wav", "-i", voice, "-c:a", "aac")

    _, said = record(source.read_bytes())

    assert re.search(r"it says that it is [34]\.\d s long, and [01]\.\d s of it could be read", said)
    assert "all else is saved" not in said


@pytest.mark.parametrize("codec", ["m4a", "mp3", "aac", "flac"])
def test_damage_in_the_middle_costs_no_more_than_itself(memosync: Program, tmp_path: Path, codec: str) -> None:
    source = ffmpeg(tmp_path / f"voice.{codec}", "-i", wav(tmp_path / "voice.wav", tones((440, 0.5), seconds=4)))
    data = bytearray(source.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 100] = bytes(range(100))
    source.write_bytes(data)

    said = by_file(memosync, source)

    assert only(memosync)["duration"] == pytest.approx(4, abs=0.5)
    assert ("damaged: " in said or "holes in the source: " in said) or codec in ("mp3", "aac")  # frames found anew


@pytest.mark.parametrize(("form", "codec"), [("webm", "libopus"), ("mka", "libvorbis")])
def test_what_is_shorter_than_it_says_is_told(memosync: Program, tmp_path: Path, form: str, codec: str) -> None:
    """Behind damage FFmpeg goes on at the next cluster, of which there may be none, and says nothing."""
    source = ffmpeg(tmp_path / f"v.{form}", "-i", wav(tmp_path / "v.wav", tones((440, 0.5), seconds=4)), "-c:a", codec)
    data = bytearray(source.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4_096] = bytes(4_096)
    source.write_bytes(data)

    for record in (by_file, by_pipe):
        assert "it says that it is 4.0 s long, and " in record(memosync, source)


PICTURE = ["-f", "lavfi", "-i", "testsrc=s=160x120:r=25", "-map", "1", "-map", "0", "-c:v", "mpeg2video", "-shortest"]
CAMERA = ["-f", "mpegts", "-mpegts_m2ts_mode", "1"]


@pytest.mark.parametrize(
    "parts",
    [
        ((1, "-ar", "44100"), (2, "-ar", "22050"), "mp3"),
        ((1, "-ar", "44100"), (2, "-ar", "44100"), "aac"),
        ((1, "-c:a", "libvorbis"), (2, "-c:a", "libvorbis"), "ogg"),
        ((1, "-c:a", "libopus"), (2, "-c:a", "libopus"), "ogg"),
        ((2, "-c:a", "libopus"), (1, "-c:a", "libvorbis"), "ogg"),
        ((1, "-c:a", "aac"), (2, "-c:a", "mp2"), "ts"),
        ((1, *PICTURE, "-c:a", "mp2"), (1, "-c:a", "mp2"), "ts"),
        ((2, "-c:a", "ac3", *CAMERA), (1, *PICTURE, "-c:a", "ac3", *CAMERA), "mts"),
        ((1, "-c:a", "ac3", *CAMERA), (1, *PICTURE, "-c:a", "mp2", *CAMERA), "mts"),
    ],
    ids=[
        "mp3",
        "aac",
        "vorbis",
        "opus",
        "opus and vorbis",
        "TS",
        "TS with a picture first",
        "M2TS",
        "M2TS of two kinds",
    ],
)
def test_what_changes_its_rate_or_channels_midway_is_whole(tmp_path: Path, parts: Sequence[Any]) -> None:
    *options, form = parts
    whole = b""
    for frequency, (channels, *some) in zip((440, 660), options, strict=True):
        voice = wav(tmp_path / "voice.wav", *[tones((frequency, 0.5))] * channels)
        raw = ["-id3v2_version", "0", "-write_xing", "0"] if form == "mp3" else []
        whole += ffmpeg(tmp_path / f"part.{form}", "-i", voice, *some, *raw).read_bytes()

    for record in (recorders.by_file, recorders.by_pipe):
        heard, _ = record(whole)

        assert len(heard) / RATE == pytest.approx(4, abs=0.2)
        assert amplitude(heard[: 2 * RATE], 440) == pytest.approx(0.5, rel=0.1)
        assert amplitude(heard[-2 * RATE :], 660) == pytest.approx(0.5, rel=0.1)


@in_process
@pytest.mark.parametrize(("form", "rates"), [("mp3", (8_000, 48_000, 32_000)), ("mp2", (48_000, 16_000))])
def test_where_the_rate_changes_no_frame_has_that_of_another(
    tmp_path: Path, record: Record, form: str, rates: Sequence[int]
) -> None:
    """FFmpeg 8.1 says of the first frame behind a change, or before one that it has seen, the rate of the other."""
    voice = wav(tmp_path / "voice.wav", tones((440, 0.5), seconds=0.5))
    raw = ["-id3v2_version", "0", "-write_xing", "0"] if form == "mp3" else []
    parts = [ffmpeg(tmp_path / f"{rate}.{form}", "-i", voice, "-ar", str(rate), *raw).read_bytes() for rate in rates]

    heard, _ = record(b"".join(parts))

    lengths = [len(record(part)[0]) / RATE for part in parts]
    assert len(heard) / RATE == pytest.approx(sum(lengths), abs=0.005)


@in_process
def test_what_another_codec_cannot_read_costs_nothing_that_came_before(tmp_path: Path, record: Record) -> None:
    voice = wav(tmp_path / "voice.wav", tones((440, 0.5)))
    whole = (
        ffmpeg(tmp_path / "made.aac", "-i", voice).read_bytes()
        + ffmpeg(tmp_path / "made.mp2", "-i", voice).read_bytes()
    )
    (tmp_path / "whole.aac").write_bytes(whole)

    heard, said = record((tmp_path / "whole.aac").read_bytes())

    assert "at 00:02 could not be read" in said
    assert amplitude(heard[: 2 * RATE], 440) == pytest.approx(0.5, rel=0.1)


@in_process
def test_a_track_that_begins_midway_ends_nothing(tmp_path: Path, record: Record) -> None:
    voice = wav(tmp_path / "voice.wav", tones((440, 0.5)))
    flv = ffmpeg(tmp_path / "made.flv", "-i", voice, "-c:a", "aac", "-ar", "44100").read_bytes()
    at = 13
    while at < len(flv) // 2:
        at += 15 + int.from_bytes(flv[at + 1 : at + 4], "big")
    picture = b"\x09\0\0\5" + flv[at + 4 : at + 8] + bytes(3) + b"\x22" + bytes(4) + b"\0\0\0\x10"
    (tmp_path / "whole.flv").write_bytes(flv[:at] + picture + flv[at:])

    heard, said = record((tmp_path / "whole.flv").read_bytes())

    assert said == ""
    assert len(heard) / RATE == pytest.approx(2, abs=0.1)


# -- formats


OTHERS = {  # the ending, and how FFmpeg makes it
    "ts": ["-c:a", "aac"],
    "mts": ["-c:a", "ac3", "-f", "mpegts"],
    "mpg": ["-c:a", "mp2"],
    "flv": ["-c:a", "aac"],
    "ra": ["-c:a", "real_144", "-ar", "8000", "-f", "rm"],
    "gsm": ["-c:a", "libgsm", "-ar", "8000"],
    "loas": ["-c:a", "aac", "-f", "latm"],
    "w64": [],
    "au": ["-c:a", "pcm_s16be"],
    "aiff": ["-c:a", "pcm_s24be"],
    "caf": ["-c:a", "alac"],
    "wma": ["-c:a", "wmav2"],
}


WITHOUT_A_HEADER = {  # what FFmpeg's muxer of it is called, and its rate
    "g722": ("g722", 16_000),
    "sln": ("s16le", 8_000),
    "sln16": ("s16le", 16_000),
    "ul": ("mulaw", 8_000),
    "ALAW": ("alaw", 8_000),
}


def dss(frames: bytes) -> bytes:
    """Put G.723.1 into the blocks of a DSS (as FFmpeg's libavformat/dss.c reads them), behind a header of two."""
    head = bytearray(b"\2dss".ljust(1024, b"\0"))
    head[0x32 : 0x32 + 12], head[0x2A4] = b"190304101112", 2
    return bytes(head) + b"".join(bytes(6) + frames[at : at + 506] for at in range(0, len(frames), 506))


def test_formats_of_recorders_and_cameras_are_recorded(memosync: Program, tmp_path: Path) -> None:
    voice = wav(tmp_path / "voice.wav", tones((440, 0.5), seconds=1))
    files = [ffmpeg(tmp_path / f"camera.{form}", "-i", voice, *options) for form, options in OTHERS.items()]
    subprocess.run(["sox", voice, tmp_path / "voice.sph"], check=True)
    cinema = wav(tmp_path / "eight.wav", *[tones((440, 0.5), seconds=1)] * 8)  # in as many planes
    files += [tmp_path / "voice.sph", ffmpeg(tmp_path / "cinema.m4a", "-i", cinema, "-c:a", "aac")]
    frames = ffmpeg(tmp_path / "frames", "-i", voice, "-ar", "8000", "-f", "g723_1")
    (tmp_path / "dictation.dss").write_bytes(dss(frames.read_bytes()))
    files += [tmp_path / "dictation.dss"]

    memosync("record", "--again", *files)
    for form in ("ts", "w64", "caf"):
        memosync("record", "-", stdin=(tmp_path / f"camera.{form}").read_bytes())

    found = memos(memosync)
    assert len(found) == len(files) + 3
    assert [memo["duration"] for memo in found] == pytest.approx([1.0] * len(found), abs=0.1)
    assert [amplitude(decoded(memo["path"]), 440) for memo in found] == pytest.approx([0.5] * len(found), rel=0.2)


def test_sound_without_a_header_is_known_by_its_name_and_never_called_no_audio(
    memosync: Program, tmp_path: Path
) -> None:
    voice = wav(tmp_path / "voice.wav", tones((440, 0.5)))
    files = [
        ffmpeg(tmp_path / f"{ending}.{ending}", "-i", voice, "-ar", str(rate), "-f", form)
        for ending, (form, rate) in WITHOUT_A_HEADER.items()
    ]
    (tmp_path / "call.g729").write_bytes(bytes(range(250)) * 8)  # of 10 bytes and 10 ms each, which nobody encodes here

    said = memosync("record", "--again", *files, tmp_path / "call.g729").err
    found = memos(memosync)
    refused = [memosync("record", "-", stdin=file.read_bytes(), code=AudioError.exit_code).err for file in files]

    assert [memo["duration"] for memo in found] == pytest.approx([2.0] * (len(files) + 1), abs=0.05)
    for memo in found:
        assert memo["title"] == "call" or amplitude(decoded(memo["path"]), 440) == pytest.approx(0.5, rel=0.05)
    assert "ul.ul: it has no header: by its name it is µ-law, 8000 Hz" in said
    for error in refused:
        assert "error: standard input: not audio, or sound without a header: nothing in it says what it is" in error
        assert "memosync: hint: such sound is known by the end of its file's name: memosync record FILE.g722" in error


@both_ways
@pytest.mark.parametrize("rate", [24_000])
def test_opus_without_a_head_gets_one(
    memosync: Program, tmp_path: Path, opus: list[bytes], record: Ways, rate: int
) -> None:
    """CAF as a telephone's messenger writes it (Apple Core Audio Format Specification)."""
    audio = opus[2:]
    frames = 960 * rate // RATE
    sizes = [bytes([0x80 | len(one) >> 7, len(one) & 127] if len(one) > 127 else [len(one)]) for one in audio]
    chunks = {
        b"desc": struct.pack(">d4sIIIII", rate, b"opus", 0, 0, frames, 1, 0),
        b"pakt": struct.pack(">qqii", len(audio), len(audio) * frames, 312 * rate // RATE, 0) + b"".join(sizes),
        b"data": bytes(4) + b"".join(audio),
    }
    data = b"".join(name + struct.pack(">q", len(content)) + content for name, content in chunks.items())
    (tmp_path / "message.caf").write_bytes(b"caff" + struct.pack(">HH", 1, 0) + data)

    record(memosync, tmp_path / "message.caf")
    memosync("export", "last", "-o", tmp_path / "out.ogg")

    assert sound.packets(Path(only(memosync)["path"])) == audio
    assert len(decoded(tmp_path / "out.ogg")) / RATE == pytest.approx(4, abs=0.05)
    assert amplitude(decoded(tmp_path / "out.ogg")[:RATE], 300) == pytest.approx(0.5, rel=0.1)


def test_an_mp4_with_its_index_at_its_end_is_kept_until_that_comes(memosync: Program, tmp_path: Path) -> None:
    source = ffmpeg(tmp_path / "phone.m4a", "-i", wav(tmp_path / "voice.wav", tones((440, 0.5))))

    said = by_pipe(memosync, source)
    cut = memosync("record", "-", stdin=source.read_bytes()[:-3_000], code=AudioError.exit_code).err

    assert "its index at its end" in said
    assert amplitude(decoded(only(memosync)["path"]), 440) == pytest.approx(0.5, rel=0.05)
    assert "index (moov) is missing" in cut
    assert list((memosync.library / ".memosync" / "recording").iterdir()) == []


def test_an_mp4_for_which_the_disk_has_no_room_is_refused(memosync: Program, disk: SmallDisk, tmp_path: Path) -> None:
    """There are 8 MB, and 64 are left free."""
    source = ffmpeg(tmp_path / "phone.m4a", "-i", wav(tmp_path / "voice.wav", tones((440, 0.5))))

    error = memosync("record", "-", stdin=source.read_bytes(), code=LibraryError.exit_code).err

    assert "error: standard input: the disk has no room to keep it: 64 MB are left free" in error
    assert "memosync record FILE reads it from where it lies" in error
    assert list((disk.seen / "Memos/.memosync/recording").iterdir()) == []


@in_process
def test_what_is_encrypted_is_neither_silence_nor_noise_but_refused_as_that(
    tmp_path: Path, record: Record, opus: list[bytes]
) -> None:
    voice = wav(tmp_path / "voice.wav", tones((440, 0.5)))
    key = ["-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "0" * 32, "-encryption_kid", "1" * 32]
    bought = ffmpeg(tmp_path / "bought.m4a", "-i", voice, "-c:a", "aac").read_bytes()
    head, sample_entry = bought[: (at := bought.index(b"mp4a", bought.index(b"stsd")))], bought[at + 4 :]
    shape = matroska.Shape(encrypted=True)
    sources = [
        ffmpeg(tmp_path / "lent.mp4", "-i", voice, "-c:a", "aac", *key).read_bytes(),
        head + b"drms" + sample_entry,
        matroska.webm([opus[0], *opus[2:]], lambda number: number * 20, shape),
    ]

    for data in sources:
        with pytest.raises(AudioError, match="it is encrypted"):
            record(data)


def test_an_error_says_what_it_is_and_not_audio_only_of_what_is_none(memosync: Program, tmp_path: Path) -> None:
    odd = {
        b"MThd\0\0\0\6" + bytes(40): "it begins like MIDI",
        b"OggS" + bytes(200): "it begins like Ogg",
        b"\0\0\0\x20ftypM4A " + bytes(200): "it is MP4 or QuickTime whose index (moov) is missing",
        b"%PDF-1.4\n" + bytes(2_000): "not audio, as far as FFmpeg and libsndfile know",
        "Text, nothing but täxt\n".encode() * 90: "not audio, as far as FFmpeg and libsndfile know",
        b"\3ds2" + bytes(2_000): "it is DS2 of a dictation machine, which neither FFmpeg nor libsndfile decodes",
        b"\7ds2" + bytes(2_000): "it is DS2",
        b"\3enc" + bytes(2_000): "it is DSS of a dictation machine, enciphered, which neither",
        b"#!SILK_V3" + bytes(2_000): "it is SILK",
        b"MS_VOICE" + bytes(2_000): "it is MSV or DVF of a Sony recorder, which neither",
        b"\2#!SILK_V3" + bytes(2_000): "it is SILK of a messenger, which neither",
        b"": "there is no sound in it",
        b"\x55" * 2_000: "not audio, or sound without a header: nothing in it says what it is",  # silence in A-law
        bytes(range(256)) * 9: "not audio, or sound without a header: nothing in it says what it is",
    }
    files = [tmp_path / str(number) for number in range(len(odd))]
    for file, data in zip(files, odd, strict=True):
        file.write_bytes(data)

    said = memosync("record", *files, code=AudioError.exit_code).err.splitlines()
    errors = [line for line in said if not line.startswith("memosync: hint: ")]

    for error, file, what in zip(errors, files, odd.values(), strict=True):
        assert error.startswith(f"memosync: error: {file}: {what}")


@both_ways
def test_a_first_packet_that_no_decoder_takes_is_left_out(memosync: Program, tmp_path: Path, record: Ways) -> None:
    head, *audio = matroska.packets()
    broken = bytes([9 << 3 | 2, 200, 0])  # a frame longer than the packet
    (tmp_path / "odd.webm").write_bytes(matroska.webm([head, broken, *audio], lambda number: 20 * number))

    said = record(memosync, tmp_path / "odd.webm")

    assert "0.02 s at 00:00 are missing there" in said
    assert sound.packets(Path(only(memosync)["path"])) == audio
