"""Which formats are taken, by file and by pipe, and what is said of those that are not."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support import matroska, ogg, sound
from support.program import Program
from support.recorders import RATE, Record, amplitude, by_file, by_pipe, chunk, form, integers, riff, tones

from memosync import files
from memosync.audio import importing
from memosync.errors import AudioError

VOICE = tones((440, 0.5))
PLAIN = riff(form(width=2, bits=16), integers(VOICE, 16))
SILENT = riff(form(width=2, bits=16), bytes(2 * RATE))
EARLY = np.concatenate([VOICE[: RATE // 4], 0 * VOICE[RATE // 4 :]])  # what is said at once
AS_FILE = "what comes can only be read as a file"
Made = Callable[..., bytes]
both_ways = pytest.mark.parametrize("record", [by_file, by_pipe])


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Have FFmpeg make a file of the voice, whose name ends so."""

    def make(ending: str, *options: str, voice: bytes = PLAIN) -> bytes:
        (tmp_path / "voice.wav").write_bytes(voice)
        return sound.convert(tmp_path / "voice.wav", tmp_path / f"made.{ending}", *options).read_bytes()

    return make


def by_sndfile(path: Path, kind: str, subtype: str) -> bytes:
    soundfile.write(path, VOICE, RATE, subtype, format=kind)
    return path.read_bytes()


def aiff(*chunks: bytes, kind: bytes = b"AIFF") -> bytes:
    body = kind + b"".join(chunks)
    return b"FORM" + struct.pack(">I", len(body)) + body


def sample_first() -> bytes:
    """Make an AIFF whose samples stand before what says of which kind they are."""
    rate = bytes.fromhex("400ebb80000000000000")  # 48,000 of 80 bits
    common = chunk(b"COMM", struct.pack(">hLh", 1, RATE, 16) + rate, ">")
    return aiff(chunk(b"SSND", bytes(8) + integers(VOICE, 16, order=">"), ">"), common)


def amiga() -> bytes:
    """Make an 8SVX, as an Amiga has it."""
    head = struct.pack(">LLLHBBL", RATE, 0, 0, RATE, 1, 0, 0x10000)
    return aiff(chunk(b"VHDR", head, ">"), chunk(b"BODY", integers(VOICE, 8), ">"), kind=b"8SVX")


def is_heard(record: Record, data: bytes, why: str = AS_FILE) -> None:
    heard, said = record(data)

    assert said == ("" if record is by_file else f"{why}: all of it is kept on the disk until that is here")
    assert len(heard) / RATE == pytest.approx(1, abs=0.05)
    assert amplitude(heard, 440) == pytest.approx(0.5, rel=0.04)


@both_ways
@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "NMS_ADPCM_32"),
        ("AU", "G721_32"),
        ("AU", "G723_40"),
        ("AIFF", "DWVW_16"),
        ("SDS", "PCM_16"),
        ("PAF", "PCM_24"),
        ("AVR", "PCM_16"),
        ("PVF", "PCM_16"),
        ("MAT5", "PCM_16"),
    ],
)
def test_what_libsndfile_alone_reads_well_is_read_by_it(
    tmp_path: Path, record: Record, kind: str, subtype: str
) -> None:
    is_heard(record, by_sndfile(tmp_path / "voice", kind, subtype))


def test_two_that_libsndfile_alone_reads_are_both_read(tmp_path: Path) -> None:
    heard, said = by_file(by_sndfile(tmp_path / "voice", "WAV", "NMS_ADPCM_32") * 2)

    assert said == ""
    assert len(heard) / RATE == pytest.approx(2, abs=0.05)
    assert amplitude(heard, 440) == pytest.approx(0.5, rel=0.04)


def length_unknown() -> bytes:
    """Make an AIFF whose maker had no way back to its lengths."""
    data = bytearray(aiff(sample_first()[12 + 8 + 8 + 2 * RATE :], sample_first()[12 : 12 + 8 + 8 + 2 * RATE]))
    at = data.index(b"SSND") + 4
    data[4:8] = data[at : at + 4] = bytes(4)
    return bytes(data)


@both_ways
@pytest.mark.parametrize("make", [sample_first, amiga, length_unknown])
def test_what_no_pipe_can_be_read_of_is_kept_until_it_is_whole(record: Record, make: Callable[[], bytes]) -> None:
    is_heard(record, make())


@both_ways
@pytest.mark.parametrize("is_first", [True, False])
def test_a_box_before_the_sound_of_an_mp4_hides_no_index(made: Made, record: Record, is_first: bool) -> None:
    data = made("m4a")
    box = struct.pack(">I4s", 1_100_024, b"uuid") + bytes(1_100_016)
    at = data.index(b"ftyp") - 4 if is_first else data.index(b"mdat") - 4
    moved = bytearray(data[:at] + box + data[at:])
    table = moved.index(b"stco") + 12
    moved[table : table + 4] = struct.pack(">I", struct.unpack(">I", moved[table : table + 4])[0] + len(box))

    is_heard(record, bytes(moved), "what comes has its index at its end")


def test_an_mp4_whose_index_is_at_its_end_is_recorded_behind_another_one_too(made: Made) -> None:
    first, second = made("m4a", "-movflags", "+faststart"), made("m4a")

    heard, said = by_pipe(first + second + first)

    assert said == "what comes at 00:01 has its index at its end: all of it is kept on the disk until that is here"
    assert len(heard) / RATE == pytest.approx(3, abs=0.2)
    for third in range(3):  # whose waves do not continue each other's
        assert amplitude(heard[third * RATE : (third + 1) * RATE], 440) == pytest.approx(0.5, rel=0.1)


@both_ways
@pytest.mark.parametrize("behind", [b"", b"TAG" + bytes(125)], ids=["", "ID3v1"])
def test_the_tags_at_the_end_of_a_wavpack_are_no_damage(made: Made, record: Record, behind: bytes) -> None:
    wavpack = made("wv", "-c:a", "wavpack")  # with an APE tag

    assert b"APETAGEX" in wavpack
    assert [record(data + behind)[1] for data in (wavpack, wavpack * 2)] == ["", ""]


def test_a_wavpack_of_several_blocks_is_kept_until_it_is_whole(made: Made) -> None:
    heard, said = by_pipe(made("wv", "-c:a", "wavpack", "-ac", "6"))

    assert said == f"{AS_FILE}: all of it is kept on the disk until that is here"
    assert len(heard) / RATE == pytest.approx(1, abs=0.05)


@both_ways
@pytest.mark.parametrize(("form", "codec"), [("mlp", "mlp"), ("thd", "truehd")])
def test_meridians_formats_are_taken(made: Made, record: Record, form: str, codec: str) -> None:
    heard, _ = record(made(form, "-strict", "-2", "-c:a", codec, "-ac", "2"))

    assert len(heard) / RATE == pytest.approx(1, abs=0.05)
    assert amplitude(heard, 440) == pytest.approx(0.5 * 2**-0.5, rel=0.04)  # FFmpeg spreads it so


@both_ways
@pytest.mark.parametrize(
    ("form", "options", "length"),
    [
        ("wtv", ["-c:a", "mp2"], 1.0),
        ("swf", ["-c:a", "libmp3lame", "-ar", "44100"], 0.8),  # FFmpeg writes no more than what fills its frames
        ("gxf", ["-f", "lavfi", "-i", "color=s=720x576:r=25:d=1", "-c:v", "mpeg2video", "-pix_fmt", "yuv420p"], 1.0),
    ],
)
def test_formats_of_television_and_flash_are_taken(
    made: Made, record: Record, form: str, options: list[str], length: float
) -> None:
    heard, _ = record(made(form, *options))

    assert length - 0.05 < len(heard) / RATE < length + 0.5  # GXF is filled up to a whole field of its map
    assert amplitude(heard[: round(length * RATE)], 440) == pytest.approx(0.5, rel=0.2)


@both_ways
@pytest.mark.parametrize("tag", [b"", b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)], ids=["bare", "ID3"])
def test_mp3_whose_frames_tell_no_bit_rate_is_taken(made: Made, tmp_path: Path, record: Record, tag: bytes) -> None:
    (tmp_path / "tone.wav").write_bytes(made("wav"))
    command = ["lame", "--quiet", "--freeformat", "-b", "330", str(tmp_path / "tone.wav"), str(tmp_path / "tone.mp3")]
    subprocess.run(command, check=True)

    heard, _ = record(tag + (tmp_path / "tone.mp3").read_bytes())

    assert len(heard) / RATE == pytest.approx(1, abs=0.1)
    assert amplitude(heard[RATE // 10 : RATE * 9 // 10], 440) == pytest.approx(0.5, rel=0.02)


def of_sox(folder: Path) -> bytes:
    """Make a VOC of 16 bits, whose block SoX 14.4.2 counts eight bytes too short."""
    (folder / "voice.wav").write_bytes(PLAIN)
    subprocess.run(["sox", folder / "voice.wav", folder / "voice.voc"], check=True)
    return (folder / "voice.voc").read_bytes()


def tagged_behind(folder: Path) -> bytes:
    """Make an MP3 with its tag at its end, which has a footer then (ID3v2.4, 3.4)."""
    (folder / "voice.wav").write_bytes(PLAIN)
    mp3 = sound.convert(folder / "voice.wav", folder / "voice.mp3", "-id3v2_version", "0").read_bytes()
    head, frame = b"\4\0\x10\0\0\0\x12", b"TIT2\0\0\0\x08\0\0\3A title"
    return mp3 + b"ID3" + head + frame + b"3DI" + head


@both_ways
@pytest.mark.parametrize("make", [of_sox, tagged_behind])
def test_what_is_whole_is_called_neither_cut_off_nor_damaged(
    tmp_path: Path, record: Record, make: Callable[[Path], bytes]
) -> None:
    heard, said = record(make(tmp_path))

    assert said == ""
    assert len(heard) / RATE == pytest.approx(1, abs=0.05)


@both_ways
@pytest.mark.parametrize("codec", ["aac", "libopus"])
@pytest.mark.parametrize("options", [(), ("-movflags", "faststart")], ids=["index behind", "index before"])
@pytest.mark.parametrize("change", ["no length", "begins behind all"])
def test_an_mp4_whose_edit_list_leaves_nothing_is_whole(
    made: Made, record: Record, codec: str, options: tuple[str, ...], change: str
) -> None:
    """A length of 0 is for fragments, and means all that follows there (ISO/IEC 14496-12, 8.6.6)."""
    data = bytearray(made("mp4", "-c:a", codec, *options))
    at = data.index(b"elst") + 12
    data[at : at + 8] = bytes(4) + data[at + 4 : at + 8] if change == "no length" else data[at : at + 4] + b"\0\x0f\0\0"

    heard, said = record(bytes(data))

    assert "its edit list leaves nothing of it: all of it is saved" in said
    assert len(heard) / RATE == pytest.approx(1, abs=0.05)
    assert amplitude(heard, 440) == pytest.approx(0.5, rel=0.05)


@both_ways
@pytest.mark.parametrize("codec", ["aac", "libopus"])
@pytest.mark.parametrize("options", [(), ("-movflags", "faststart")], ids=["index behind", "index before"])
def test_an_mp4_whose_edit_list_has_a_pause_is_whole(
    made: Made, record: Record, codec: str, options: tuple[str, ...]
) -> None:
    """Of 0.4 s, a pause of 0.3 s and the rest, FFmpeg plays the beginning again in the pause."""
    data = made("mp4", "-c:a", codec, *options)
    at = data.index(b"elst")
    times = struct.pack(">IiIIiIIiI", 400, 0, 1 << 16, 300, -1, 1 << 16, 600, 19_200, 1 << 16)
    (size,) = struct.unpack_from(">I", data, at - 4)
    longer = bytearray(data[: at + 4] + struct.pack(">II", 0, 3) + times + data[at - 4 + size :])
    more = len(longer) - len(data)
    for box in (at, *(data.rindex(name, 0, at) for name in (b"edts", b"trak", b"moov"))):
        struct.pack_into(">I", longer, box - 4, struct.unpack_from(">I", longer, box - 4)[0] + more)
    if options:  # what stands behind is farther away now
        place = longer.index(b"stco") + 8
        for chunk in range(struct.unpack_from(">I", longer, place)[0]):
            here = place + 4 + 4 * chunk
            struct.pack_into(">I", longer, here, struct.unpack_from(">I", longer, here)[0] + more)

    heard, said = record(bytes(longer))

    assert "its edit list has pauses in it: all of it is saved" in said
    assert len(heard) / RATE == pytest.approx(1, abs=0.05)
    assert amplitude(heard, 440) == pytest.approx(0.5, rel=0.05)


@both_ways
@pytest.mark.parametrize(("tag", "channels"), [(0x38, 2), (0x77, 1), (0x78, 1), (0x4342, 1)])
def test_a_wav_of_a_codec_that_nobody_knows_is_not_guessed_at(
    tmp_path: Path, record: Record, tag: int, channels: int
) -> None:
    """NMS of two channels libsndfile cannot read; FFmpeg takes it, and Voxware, for AMR."""
    data = bytearray(by_sndfile(tmp_path / "voice", "WAV", "NMS_ADPCM_16"))
    at = data.index(b"fmt ") + 8
    data[at : at + 4] = struct.pack("<HH", tag, channels)

    with pytest.raises(AudioError, match=r"it is WAV / WAVE .*, and FFmpeg can decode none of its 1 audio tracks"):
        record(bytes(data))


@both_ways
@pytest.mark.parametrize("form", ["adx", "ast"])
def test_a_format_that_is_not_taken_is_not_called_no_audio(made: Made, record: Record, form: str) -> None:
    with pytest.raises(AudioError, match="it is in a format that FFmpeg knows and memosync does not take"):
        record(made(form))


@both_ways
def test_more_channels_than_can_be_mixed_are_counted(record: Record) -> None:
    with pytest.raises(AudioError, match="it has 65 channels, and no more than 64 are taken"):
        record(riff(form(width=2, bits=16, channels=65), bytes(130 * 500)))


@both_ways
@pytest.mark.parametrize(("kind", "subtype", "rate"), [("HTK", "PCM_16", RATE), ("XI", "DPCM_16", 44_100)])
def test_what_cannot_be_read_as_it_comes_is_read_as_a_file(
    tmp_path: Path, record: Record, kind: str, subtype: str, rate: int
) -> None:
    heard, said = record(by_sndfile(tmp_path / "voice", kind, subtype))  # XI has no rate

    assert said == ""
    assert len(heard) / RATE == pytest.approx(RATE / rate, abs=0.05)
    assert abs(heard).max() == pytest.approx(0.5, rel=0.1)


@both_ways
@pytest.mark.parametrize(("form", "at", "damage"), [("flv", 83, b"\x55" * 3_000), ("m4a", 7, bytes(8))])
def test_damage_where_it_begins_costs_a_pipe_no_more_than_a_file(
    made: Made, record: Record, form: str, at: int, damage: bytes
) -> None:
    data = made(form, "-c:a", "aac", "-ar", "44100")
    kept = data[at:] if form == "flv" else data[at + len(damage) :]

    heard, _ = record(data[:at] + damage + kept)

    assert len(heard) / RATE == pytest.approx(1, abs=0.1)
    assert amplitude(heard, 440) == pytest.approx(0.5, rel=0.04)


def test_of_what_may_be_no_sound_only_so_much_is_kept_and_that_is_said(
    memosync: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = b"Words" * 800_000

    said = memosync("record", "-", stdin=odd, code=AudioError.exit_code).err
    monkeypatch.setattr(importing, "_UNREADABLE", 3_000_000)
    with pytest.raises(AudioError, match="not audio") as caught:
        by_pipe(odd)

    assert "what comes cannot be read as it comes: all of it is kept on the disk until that is here" in said
    assert "memosync record FILE" not in said
    assert "memosync record FILE" in str(caught.value.hint)


@both_ways
@pytest.mark.parametrize(("form", "codec"), [("ts", "mp2"), ("mka", "libopus"), ("avi", "pcm_s16le")])
def test_where_the_first_track_is_silent_the_next_one_is_heard(
    made: Made, record: Record, form: str, codec: str
) -> None:
    heard, said = record(made(form, *beside_a_tone(codec), voice=SILENT))

    assert said == "of its 2 tracks number 2 is taken (silent: 1)"
    assert len(heard) / RATE == pytest.approx(1, abs=0.06)
    assert amplitude(heard, 440) == pytest.approx(0.125, rel=0.04)


@both_ways
def test_where_all_tracks_are_silent_the_first_one_is_taken(made: Made, record: Record) -> None:
    heard, said = record(made("ts", "-map", "0", "-map", "0", "-t", "1", "-c:a", "mp2", voice=SILENT))

    assert said == "of its 2 tracks number 1 is taken (silent: 2)\nthere is nothing but silence in it"
    assert len(heard) / RATE == pytest.approx(1, abs=0.06)


def test_without_room_to_keep_a_pipe_it_is_said_who_takes_another_track(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "free_space", lambda _path: 0)

    _, said = by_pipe(made("ts", *beside_a_tone("mp2"), voice=SILENT))

    assert "nothing but silence in it: `memosync record FILE`, of the same as a file, takes another track" in said
    assert "`memosync record" not in by_pipe(SILENT)[1]


def beside_a_tone(codec: str) -> list[str]:
    """Have FFmpeg put a track of a tone behind the one that it is given."""
    return ["-f", "lavfi", "-i", "sine=440", "-map", "0", "-map", "1", "-t", "1", "-c:a", codec]


# -- Opus


@pytest.fixture
def opus(made: Made, tmp_path: Path) -> list[bytes]:
    """The packets of the voice, its two headers first."""
    made("opus")
    return ogg.packets(tmp_path / "made.opus")


@both_ways
def test_the_gain_and_the_pre_skip_of_each_link_are_its_own(record: Record, opus: list[bytes]) -> None:
    head = bytearray(opus[0])
    struct.pack_into("<HIh", head, 10, RATE // 2, RATE, -12 * 256)  # half a second is left out, -12 dB

    heard, _ = record(ogg.stream(opus) + ogg.stream([bytes(head), *opus[1:]]))

    assert len(heard) / RATE == pytest.approx(1.5, abs=0.05)
    assert amplitude(heard[: RATE * 9 // 10], 440) == pytest.approx(0.5, rel=0.05)
    assert amplitude(heard[RATE * 11 // 10 :], 440) == pytest.approx(0.5 * 10 ** (-12 / 20), rel=0.05)


@both_ways
def test_padding_that_is_more_than_a_packet_has_is_none(record: Record, opus: list[bytes]) -> None:
    """GStreamer 1.22 writes such where frames are shorter than the milliseconds that Matroska counts."""
    data = matroska.webm([opus[0], *opus[2:]], lambda number: 20 * number, matroska.Shape(padding=10**10))

    heard, said = record(data)

    assert said == ""
    assert len(heard) / RATE == pytest.approx(1, abs=0.05)


@both_ways
def test_a_head_with_its_numbers_the_wrong_way_round_costs_nothing(made: Made, record: Record) -> None:
    """GStreamer 1.22 writes it so into MP4: FFmpeg leaves out the first 0.3 s then."""
    data = bytearray(made("mp4", "-c:a", "libopus", voice=riff(form(width=2, bits=16), integers(EARLY, 16))))
    at = data.index(b"dOps") + 6
    data[at : at + 8] = struct.pack("<HIh", *struct.unpack_from(">HIh", data, at))

    heard, _ = record(bytes(data))

    assert len(heard) / RATE == pytest.approx(1, abs=0.05)
    assert amplitude(heard[: RATE // 4], 440) == pytest.approx(0.5, rel=0.05)


@both_ways
def test_a_broken_packet_is_told_to_be_as_long_as_the_others(record: Record, opus: list[bytes]) -> None:
    heard, said = record(ogg.stream([*opus[:22], b"\xff\xff\xff", *opus[23:]], pages_of=10))

    assert said == "damaged: 0.02 s at 00:00 could not be read; all else is saved"
    assert len(heard) / RATE == pytest.approx(0.98, abs=0.03)
