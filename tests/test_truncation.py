"""A source whose end is missing is saved as far as it goes, and that is said; of one that is whole it is not."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ogg, sound
from support.recorders import RATE, Record, amplitude, by_file, by_pipe, form, integers, riff, tones

from memosync.audio.truncation import Watch, is_cut
from memosync.errors import AudioError

Made = Callable[[str], Path]  # gives a file, by its ending

VOICE = integers(tones((440, 0.5), seconds=3), 16)
PLAIN = form(width=2, bits=16)
FORMATS = {
    "opus": [],
    "ogg": ["-c:a", "libvorbis"],
    "oga": ["-c:a", "flac", "-f", "ogg"],
    "wav": [],
    "adpcm.wav": ["-c:a", "adpcm_ms"],
    "rf64.wav": ["-rf64", "always"],
    "avi": ["-c:a", "libmp3lame"],
    "caf": ["-c:a", "adpcm_ima_qt"],
    "pcm.caf": [],
    "aiff": [],
    "au": [],
    "w64": [],
    "voc": [],
    "m4a": ["-c:a", "aac", "-movflags", "+faststart"],
    "mp4": ["-c:a", "aac", "-movflags", "frag_keyframe+empty_moov", "-frag_duration", "500000"],
    "mka": ["-c:a", "aac"],
    "webm": ["-c:a", "libopus"],
    "live.webm": ["-c:a", "libopus", "-live", "1"],
    "flv": ["-c:a", "libmp3lame", "-ar", "44100"],
    "wma": ["-c:a", "wmav2"],
    "flac": [],
    "tta": [],
    "wv": ["-c:a", "wavpack"],
    "mp3": ["-c:a", "libmp3lame", "-q:a", "4"],
    "adpcm.w64": ["-c:a", "adpcm_ms"],
    "rm": ["-c:a", "ac3"],
    "sox": ["-c:a", "pcm_s32le"],
}
BY_SOX = ["sph", "8svx", "maud"]
PIPED = {  # what is written into a pipe has no way back to its lengths
    "wav": [],
    "avi": [],
    "caf": ["-c:a", "pcm_s16be"],
    "au": [],
    "voc": [],
    "w64": [],
    "matroska": ["-c:a", "aac"],
    "flac": [],
    "wv": ["-c:a", "wavpack"],
    "flv": ["-c:a", "libmp3lame", "-ar", "44100"],
    "asf": ["-c:a", "wmav2"],
    "mp3": [],
    "rm": ["-c:a", "ac3"],
    "sox": ["-c:a", "pcm_s32le"],
}
KEPT = ": all of it is kept on the disk until that is here"
both_ways = pytest.mark.parametrize("record", [by_file, by_pipe])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Have FFmpeg or sox make a file of a format when the first one asks for it."""
    place = tmp_path_factory.mktemp("whole")

    @cache
    def make(name: str) -> Path:
        path = place / f"made.{name}"
        if name == "voice.wav":
            path.write_bytes(riff(PLAIN, VOICE))
        elif name in BY_SOX:
            subprocess.run(["sox", make("voice.wav"), path], check=True)
        else:
            sound.convert(make("voice.wav"), path, *FORMATS[name])
        return path

    return make


def without_end(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3 - 7]


def warned(said: str) -> list[str]:
    return [line for line in said.splitlines() if line and not line.endswith(KEPT)]


@both_ways
@pytest.mark.parametrize("name", [*FORMATS, *BY_SOX])
def test_what_is_cut_is_saved_as_far_as_it_goes_and_that_is_said_in_a_line(
    made: Made, record: Record, name: str
) -> None:
    data = made(name).read_bytes()

    heard, said = record(data)
    of_cut, of_cut_said = record(without_end(data))

    assert warned(said) == []
    assert len(heard) / RATE == pytest.approx(3, abs=0.1)
    (line,) = warned(of_cut_said)
    assert re.fullmatch("cut off: the source breaks off at 00:0[12]; all that is there is saved", line)
    assert 0.9 < len(of_cut) / RATE < 2.2
    assert amplitude(of_cut, 440) == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("form_", PIPED)
def test_what_was_written_into_a_pipe_knows_no_end_and_is_not_called_cut(made: Made, form_: str) -> None:
    command = ["ffmpeg", "-v", "error", "-i", str(made("voice.wav")), *PIPED[form_], "-f", form_, "pipe:1"]
    data = subprocess.run(command, capture_output=True, check=True).stdout

    for record in (by_file, by_pipe):
        heard, said = record(data)

        assert warned(said) == []
        assert len(heard) / RATE == pytest.approx(3, abs=0.1)


@both_ways
@pytest.mark.parametrize("length", [0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_wav_that_does_not_know_its_length_is_not_called_cut(record: Record, length: int) -> None:
    assert record(riff(PLAIN, VOICE, length=length))[1] == ""


@both_ways
def test_a_wav_whose_header_contradicts_itself_is_not_called_cut(record: Record) -> None:
    """A recorder that sets aside how much there may be, and never came back to it."""
    assert record(riff(PLAIN, VOICE, length=10 * len(VOICE)))[1] == ""


@both_ways
def test_what_stands_behind_the_sound_may_be_missing(made: Made, record: Record) -> None:
    sized = sound.convert(made("voice.wav"), made("voice.wav").with_name("cues.mka"), "-c:a", "aac").read_bytes()

    assert record(sized[: sized.rindex(b"\x1c\x53\xbb\x6b") + 6])[1] == ""  # within the Cues
    assert record(riff(PLAIN, VOICE) + b"LIST\x40\0\0\0INFOI")[1] == ""


@both_ways
def test_an_ogg_without_a_last_page_is_cut_only_where_a_packet_goes_on(made: Made, record: Record) -> None:
    packets = ogg.packets(made("opus"))
    pages = ogg.stream(packets)
    last = pages.rindex(b"OggS")
    unsaid = ogg.page(packets[2:][50 * ((len(packets) - 3) // 50) :], 960 * (len(packets) - 2), 9)
    torn = bytearray(ogg.page([bytes(255)], -1, 10))  # its lengths are 255, and 0, which ends it
    torn[26:29] = b"\1\xff"
    torn[22:26] = bytes(4)
    torn[22:26] = ogg.crc(bytes(torn)).to_bytes(4, "little")

    assert record(pages[:last] + unsaid)[1] == ""
    assert (
        record(pages[:last] + unsaid + torn)[1] == "cut off: the source breaks off at 00:03; all that is there is saved"
    )


@both_ways
def test_a_page_that_lies_about_its_length_in_the_middle_is_no_cut(made: Made, record: Record) -> None:
    data = bytearray(ogg.stream(ogg.packets(made("opus")), pages_of=10))
    data[data.index(b"OggS", len(data) // 3) + 40] ^= 0x55  # a length of its packets

    assert re.fullmatch("(damaged|holes).*", record(bytes(data))[1])


@both_ways
@pytest.mark.parametrize("name", ["opus", "ogg"])
def test_what_a_power_cut_left_of_a_page_may_be_filled_up(made: Made, record: Record, name: str) -> None:
    data = made(name).read_bytes()
    cut = without_end(data)

    assert re.match("cut off: the source breaks off at 00:0[12]; ", record(cut + bytes(1 << 16))[1])
    assert record(data + bytes(1 << 12))[1] == ""
    assert record(data + b"TAG" + bytes(125))[1] == ""


@both_ways
@pytest.mark.parametrize("options", [["-c:a", "libvorbis"], ["-c:a", "libopus", "-ac", "2"]], ids=["Vorbis", "stereo"])
def test_another_link_behind_one_that_is_cut_is_whole(
    made: Made, tmp_path: Path, record: Record, options: list[str]
) -> None:
    """The page that was torn claims where the next link begins."""
    after = sound.convert(made("voice.wav"), tmp_path / "after.ogg", *options).read_bytes()

    heard, said = record(without_end(made("opus").read_bytes()) + after)

    assert said.startswith("cut off: the source breaks off at 00:0")
    assert len(heard) / RATE == pytest.approx(5, abs=0.15)


@both_ways
def test_each_link_that_is_cut_is_told(made: Made, record: Record) -> None:
    data = without_end(made("wav").read_bytes())

    heard, said = record(data + data)

    assert said == "cut off: the source breaks off at 00:01, 00:03; all that is there is saved"
    assert len(heard) / RATE == pytest.approx(4, abs=0.05)


@both_ways
def test_where_nothing_of_the_sound_is_there_it_is_said_why(made: Made, record: Record) -> None:
    data = made("wav").read_bytes()

    with pytest.raises(AudioError, match="it is cut off before its sound"):
        record(data[: data.index(b"data") + 8])


@both_ways
@pytest.mark.parametrize(
    "behind", [b"\xa3\x01" + bytes([0x7F] * 7), b"\xec\x01" + bytes([0xFE] * 7)], ids=["a block", "what is no sound"]
)
def test_a_length_that_no_file_can_have_costs_nothing_else(made: Made, record: Record, behind: bytes) -> None:
    heard, _ = record(made("live.webm").read_bytes() + behind)

    assert len(heard) / RATE == pytest.approx(3, abs=0.05)


@both_ways
def test_where_a_fragment_of_an_mp4_breaks_off_what_is_there_is_saved(made: Made, record: Record) -> None:
    """FFmpeg refuses all of a file where the head of a fragment is cut, and nothing where it comes through a pipe."""
    data = made("mp4").read_bytes()
    at = [match.start() for match in re.finditer(b"moof", data)][4]

    for cut in (at - 4, at + 40, at + 104, at + 120, at + 150):
        heard, said = record(data[:cut])

        assert len(heard) / RATE == pytest.approx(2, abs=0.1)
        assert said.count("cut off") == (cut > at), cut


@both_ways
@pytest.mark.parametrize("place", [b"\x40", b"\xc0"], ids=["before its beginning", "behind its end"])
def test_where_ffmpeg_looks_for_an_index_in_what_was_cut_nothing_is_lost(
    made: Made, record: Record, place: bytes
) -> None:
    """At the end of a NUT there is where that is, and at the end of what was cut there is anything."""
    nut = sound.convert(made("wav"), made("wav").with_name("made.nut"), "-c:a", "pcm_s16le").read_bytes()

    heard, _ = record(nut[:150_000] + place + bytes(11))

    assert len(heard) / RATE == pytest.approx(150_000 / 2 / RATE, abs=0.1)


@both_ways
@pytest.mark.parametrize("length", [2**63 - 1, 2**64 - 1, 2**64 - 16])
def test_a_length_of_8_bytes_that_was_never_filled_in_is_no_cut(record: Record, length: int) -> None:
    ds64 = b"ds64" + (28).to_bytes(4, "little") + length.to_bytes(8, "little") * 3 + bytes(4)

    heard, said = record(riff(PLAIN, VOICE, ds64, name=b"RF64", length=0xFFFFFFFF))

    assert said == ""
    assert len(heard) / RATE == pytest.approx(3, abs=0.05)


@both_ways
def test_an_mp3_whose_frames_were_never_counted_is_not_called_cut(made: Made, record: Record) -> None:
    data = bytearray(made("mp3").read_bytes())
    at = re.search(rb"(?:Xing|Info)\0{3}", data)
    assert at
    data[at.end() + 1 : at.end() + 9] = b"\xff" * 8  # how many, and in how many bytes

    heard, said = record(bytes(data))

    assert said == ""
    assert len(heard) / RATE == pytest.approx(3, abs=0.1)


@both_ways
def test_a_box_of_8_bytes_of_length_is_followed_to_where_it_cannot_be(made: Made, record: Record) -> None:
    data = made("m4a").read_bytes()
    end = b"\0\0\0\1free" + (2**64 - 1).to_bytes(8, "big")

    heard, said = record(data + end)

    assert said == ""
    assert len(heard) / RATE == pytest.approx(3, abs=0.05)


@pytest.mark.parametrize("name", [*FORMATS, *BY_SOX])
@pytest.mark.parametrize("step", [1, 7, 4_096])
def test_what_passes_is_judged_as_what_lies_there(made: Made, name: str, step: int) -> None:
    for data in (whole := made(name).read_bytes()[:70_000]), without_end(whole):

        def read(at: int, size: int, data: bytes = data) -> bytes:
            return data[at : at + size]

        watch = Watch(read)
        for piece in _pieces(data, step):
            watch.feed(piece)

        assert watch.is_cut(1.0, 3.0) == is_cut(read, 1.0, 3.0)


@given(
    st.sampled_from(
        [
            *(
                b"OggS",
                b"RIFF",
                b"FORM",
                b".snd",
                b"caff",
                b"fLaC",
                b"FLV\1",
                b"wvpk",
                b"TTA1",
                b"ID3\4\0\0",
                b"\xff\xfb",
            ),
            *(b".SoX", b"XoS.", b"NIST_1A\n", b".RMF", b"RF64", b"riff\x2e\x91\xcf\x11"),
        ]
    ),
    st.sampled_from([b"", b"\0\0\0\0AVI ", b"\0\0\0\0WAVE", b"\0\0\0\0AIFF", b"\0\0\0\0ftyp", b"Creative Voice File"]),
    st.binary(max_size=100),
)
def test_any_bytes_are_judged(magic: bytes, then: bytes, data: bytes) -> None:
    for whole in (
        magic + then + data,
        then + data,
        magic + data,
        b"\x1a\x45\xdf\xa3" + data,
        b"\x30\x26\xb2\x75" + data,
    ):
        watch = Watch(lambda at, size, whole=whole: whole[at : at + size])  # type: ignore[misc]
        watch.feed(whole)

        assert watch.is_cut(0.0, None) in (True, False)


def _pieces(data: bytes, step: int) -> Iterator[bytes]:
    return (data[at : at + step] for at in range(0, len(data), step))
