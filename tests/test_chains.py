"""Files one after the other taken apart, from files and from pipes, and of Ogg whatever its pages say of time."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import ogg, sound
from support.recorders import RATE, Record, amplitude, by_file, by_pipe, id3

from memosync.audio import importing, opus
from memosync.audio.chains import links_of_file, links_of_pipe
from memosync.audio.webm import Reader
from memosync.stop import Stop

HEADS = [opus.head(1), b"OpusTags" + bytes(8)]
TOC = bytes([9 << 3])  # 20 ms in one frame
AUDIO = [TOC + bytes([number]) * (number % 300 + 1) for number in range(120)]
BEGINS = {
    "WebM": b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\x82\x84webm" + bytes(50),
    "WAV": b"RIFF\x24\x77\0\0WAVEfmt \x10\0\0\0",
    "RF64": b"RF64\xff\xff\xff\xffWAVEds64",
    "AVI": b"RIFF\x24\x77\0\0AVI LIST",
    "AIFF": b"FORM\0\0\x77\x24AIFFCOMM",
    "CAF": b"caff\0\1\0\0desc",
    "FLV": b"FLV\1\4\0\0\0\x09\0\0\0\0",
    "FLAC": b"fLaC\0\0\0\x22",
    "ASF": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),
    "AMR": b"#!AMR-WB\n",
    "MP4": b"\0\0\0\x20ftypM4A ",
    "Wave64": bytes.fromhex("726966662e91cf11a5d628db04c10000"),
    "AU": b".snd\0\0\0\x18\xff\xff\xff\xff\0\0\0\3\0\0\xbb\x80\0\0\0\1",
    "TTA": b"TTA1\1\0\1\0\x10\0\x80\xbb\0\0",
    "VOC": b"Creative Voice File\x1a\x1a\0",
    "WavPack": b"wvpk\xb0\x0b\0\0\x10\4\0\0\x80\xbb\0\0" + bytes(4) + b"\x80\xbb\0\0\x21\x18",
    "NUT": b"nut/multimedia container\0NM",
    "8SVX": b"FORM\0\0\x77\x248SVXVHDR",
    "SPHERE": b"NIST_1A\n   1024\n",
    "SoX": b".SoX\x1c\0\0\0" + bytes(13) + b"\x70\xe7\x40\1\0\0\0",
    "SoX, big-endian": b"XoS.\0\0\0\x1c" + bytes(8) + b"\x40\xe7\x70" + bytes(5) + b"\0\0\0\2",
    "RealMedia": b".RMF\0\0\0\x12\0\1",
}
both_ways = pytest.mark.parametrize("record", [by_file, by_pipe])
FIRST, SECOND = ogg.stream(HEADS + AUDIO), ogg.stream(HEADS + AUDIO[:30])


class Pipe:
    """Bytes that come as they please."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        return self._file.read(min(size, 1_000))

    def peek(self, size: int, /, at: int = 0) -> bytes:
        here = self._file.tell()
        self._file.seek(here + at)
        data = self._file.read(size)
        self._file.seek(here)
        return data

    def unread(self, data: bytes, /) -> None:
        self._file.seek(-len(data), io.SEEK_CUR)


def whole(links: Iterator[Reader]) -> list[bytes]:
    """Read each to its end before the next one is asked for."""
    return [b"".join(iter(lambda: link.read(777), b"")) for link in links]  # noqa: B023


def of_file(data: bytes) -> list[bytes]:
    return whole(links_of_file(io.BytesIO(data)))


def of_pipe(data: bytes) -> list[bytes]:
    return whole(links_of_pipe(Pipe(data)))


Links = Callable[[bytes], list[bytes]]


@pytest.mark.parametrize("links", [of_file, of_pipe])
@pytest.mark.parametrize("parts", [[FIRST], [FIRST, SECOND], [FIRST, SECOND, FIRST], [b"no Ogg" * 9_000], [b""]])
def test_each_link_is_given_to_its_last_byte(links: Links, parts: list[bytes]) -> None:
    assert links(b"".join(parts)) == parts


@pytest.mark.parametrize("links", [of_file, of_pipe])
@pytest.mark.parametrize("before", [b"", id3(300)], ids=["", "ID3"])
@pytest.mark.parametrize("begin", BEGINS.values(), ids=BEGINS)
def test_a_file_behind_one_of_its_format_is_another_link(links: Links, begin: bytes, before: bytes) -> None:
    magics = b"".join(begin[:size] + b"\xff" * 60 for size in range(min(len(begin), 12)))  # that nothing follows
    parts = [before + begin + magics, begin + bytes(711) + begin[:3], begin + magics]

    assert links(b"".join(parts)) == parts


def test_a_look_ahead_makes_the_next_read_no_smaller() -> None:
    """Reads of 64 bytes took six minutes for five of silence in a MOV."""
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "wb", buffering=0) as file:
        file.write(bytes(1_000))
        pipe = importing.Pipe(Stop(), reading)
        pipe.peek(64)

        assert len(pipe.read(1_000)) == 1_000


@both_ways
@pytest.mark.parametrize("order", [1, -1])
def test_webm_with_another_codec_behind_the_first_is_whole(tmp_path: Path, record: Record, order: int) -> None:
    tones_of = {"libopus": 440, "libvorbis": 700}
    (first, low), (second, high) = list(tones_of.items())[::order]
    data = b""
    for codec, frequency in ((first, low), (second, high)):
        (tmp_path / "tone.wav").write_bytes(sound.wav(sound.tone(1, frequency=frequency)))
        data += sound.convert(tmp_path / "tone.wav", tmp_path / "tone.webm", "-c:a", codec).read_bytes()

    heard, said = record(data)

    assert said == ""
    assert len(heard) / RATE == pytest.approx(2, abs=0.05)
    for samples, frequency in ((heard[:RATE], low), (heard[-RATE:], high)):
        assert amplitude(samples, frequency) == pytest.approx(12_000 / 32_768, rel=0.05)
    assert abs(heard).max() < 0.45


@pytest.mark.parametrize("links", [of_file, of_pipe])
def test_garbage_between_pages_begins_no_link(links: Links) -> None:
    at = FIRST.index(b"OggS", 3_000)

    found = links(FIRST[:at] + b"\x00OggX" * 9 + FIRST[at:] + SECOND)

    assert len(found) == 2
    assert found[1] == SECOND


@pytest.mark.parametrize("links", [of_file, of_pipe])
@pytest.mark.parametrize("missing", range(1, 20))
@pytest.mark.parametrize("between", [b"", b"garbage" * 3])
def test_a_page_that_lost_some_bytes_takes_nothing_of_the_next_link(links: Links, missing: int, between: bytes) -> None:
    """What is missing in the last page it claims of what follows: less than one can tell the next link by."""
    torn = FIRST[:-40] + FIRST[-40 + missing :] + between

    first, *others = links(torn + SECOND + FIRST)

    assert first.startswith(torn)
    assert SECOND.startswith(first.removeprefix(torn))
    assert others == [SECOND, FIRST]


@pytest.mark.parametrize("links", [of_file, of_pipe])
def test_a_page_that_says_that_it_is_a_first_one_and_is_none_begins_no_link(links: Links) -> None:
    pages = [ogg.page(AUDIO[:9], 9 * 960, 2), ogg.page(AUDIO[9:20], 20 * 960, 3, 2), ogg.page(AUDIO[20:], 120 * 960, 4)]
    lying = ogg.stream(HEADS) + b"".join(pages)

    assert links(lying + SECOND) == [lying, SECOND]


@pytest.mark.parametrize("links", [of_file, of_pipe])
@pytest.mark.parametrize("at", [4, 5, 10, 12, 14, 17, 22])
def test_a_wrong_bit_in_the_head_of_a_page_is_put_right(links: Links, at: int) -> None:
    """In its version, its flags, its time, its serial number, its checksum."""
    second = FIRST.index(b"OggS", 100)  # of those with sound
    wrong = bytearray(FIRST)
    wrong[second + at] ^= 4

    assert links(bytes(wrong)) == [FIRST]


@pytest.mark.parametrize("links", [of_file, of_pipe])
def test_a_page_that_a_power_cut_filled_up_is_not_put_right(links: Links) -> None:
    torn = FIRST[:-400] + bytes(400)

    assert links(torn) == [torn]


def test_streams_beside_each_other_are_one_link() -> None:
    both = ogg.page(HEADS[:1], 0, 0, 2, serial=1) + ogg.page([b"fishead"], 0, 0, 2, serial=2) + FIRST[47:]

    assert of_file(both) == of_pipe(both) == [both]


def test_a_link_can_be_read_from_any_place() -> None:
    second = list(links_of_file(io.BytesIO(FIRST + SECOND)))[1]

    assert second.seek(10) == 10
    assert second.read(5) == SECOND[10:15]
    assert second.seek(-4, io.SEEK_END) == len(SECOND) - 4
    assert second.read(100) == SECOND[-4:]


@pytest.mark.parametrize("links", [of_file, of_pipe])
def test_packets_on_pages_without_a_time_get_the_one_at_which_they_end(links: Links) -> None:
    odd = ogg.stream(HEADS + AUDIO, lambda number: -1 if number > 40 else 960 * (number + 1), pages_of=30)
    right = ogg.stream(HEADS + AUDIO, pages_of=30)
    last = right.rindex(b"OggS")

    (found,) = links(odd)

    assert found[:last] == right[:last]
    assert found[last + 5] == 0  # where an end is not known nothing is cut off
    assert found[last + 6 : last + 14] == right[last + 6 : last + 14]
    assert int.from_bytes(found[last + 22 : last + 26], "little") == ogg.crc(
        found[last : last + 22] + bytes(4) + found[last + 26 :]
    )


def test_the_length_of_a_packet_is_in_its_first_bytes() -> None:
    """The table of RFC 6716, 3.1, and packets of every code."""
    lengths = [opus.samples(bytes([config << 3])) for config in range(32)]
    assert lengths == [480, 960, 1920, 2880] * 3 + [480, 960] * 2 + [120, 240, 480, 960] * 4
    assert opus.samples(bytes([9 << 3 | 1]) + bytes(4)) == 1920
    assert opus.samples(bytes([9 << 3 | 2, 2]) + bytes(4)) == 1920
    assert opus.samples(bytes([9 << 3 | 3, 6]) + bytes(4)) == 5760


@pytest.mark.parametrize(
    "packet", [b"", bytes([1, 0]), bytes([2]), bytes([2, 9, 0]), bytes([3]), bytes([3, 0]), bytes([11 << 3 | 3, 3])]
)
def test_a_packet_that_no_decoder_takes_has_no_length(packet: bytes) -> None:
    with pytest.raises(ValueError, match="packet"):
        opus.samples(packet)
