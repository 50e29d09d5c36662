"""Ogg taken apart into its links, from files and from pipes, whatever their pages say of time."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import pytest
from support import ogg

from memosync.audio import opus
from memosync.audio.chains import links_of_file, links_of_pipe
from memosync.audio.webm import Reader

HEADS = [opus.head(1), b"OpusTags" + bytes(8)]
TOC = bytes([9 << 3])  # 20 ms in one frame
AUDIO = [TOC + bytes([number]) * (number % 300 + 1) for number in range(120)]
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
def test_garbage_between_pages_begins_no_link(links: Links) -> None:
    at = FIRST.index(b"OggS", 3_000)

    found = links(FIRST[:at] + b"\x00OggX" * 9 + FIRST[at:] + SECOND)

    assert len(found) == 2
    assert found[1] == SECOND


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
