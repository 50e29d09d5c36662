"""FLAC cut into frames, beside what FFmpeg's own demuxer makes of the same bytes."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import sound

from memosync.audio import flac


def split(data: bytes, most: int = 65_536) -> list[bytes]:
    """Cut a whole file, read in bits of up to `most` bytes."""
    size = flac.metadata_size(lambda size: data[:size])
    rest = io.BytesIO(data[size:])
    return list(flac.frames(lambda _size: rest.read(random.Random(1).randint(1, most))))


@pytest.fixture(scope="module", params=["tone", "noise", "stereo"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FLAC file: of small frames, of large ones, and with two channels that share theirs in changing ways."""
    folder = tmp_path_factory.mktemp("flac")
    samples = random.Random(2).randbytes(400_000) if request.param == "noise" else sound.tone(3)
    if request.param == "stereo":
        samples = b"".join(
            samples[at : at + 2] * 2 if at % 40_000 > 20_000 else samples[at : at + 4] for at in range(0, 200_000, 2)
        )
    (folder / "plain.wav").write_bytes(sound.wav(samples, channels=2 if request.param == "stereo" else 1))
    return sound.convert(folder / "plain.wav", folder / "plain.flac")


@pytest.mark.parametrize("most", [1, 700, 65_536])
def test_frames_are_those_ffmpeg_finds(file: Path, most: int) -> None:
    assert sound.packets(file) == split(file.read_bytes(), most)


def test_a_frame_is_given_when_the_next_one_has_begun(file: Path) -> None:
    packets = sound.packets(file)
    data = file.read_bytes()
    begun = sum(map(len, packets[:5])) + 20
    fed = iter([data[flac.metadata_size(lambda size: data[:size]) :][:begun]])
    found = flac.frames(lambda _size: next(fed))

    assert [next(found) for _ in range(5)] == packets[:5]


def test_damage_costs_the_frames_it_hit(file: Path) -> None:
    packets = sound.packets(file)
    data = bytearray(file.read_bytes())
    fifth = len(data) - sum(map(len, packets[4:]))
    data[fifth - 10 : fifth + 3] = bytes(13)

    assert split(bytes(data))[-len(packets) + 5 :] == packets[5:]


@given(st.binary(max_size=300), st.integers(1, 40))
def test_no_byte_is_added_or_lost_and_nothing_raises(noise: bytes, most: int) -> None:
    assert b"".join(split(b"fLaC\x80\0\0\0" + noise, most)) == noise


@pytest.mark.parametrize("data", [b"", b"fLaC", b"fLaC\x80\0\0\x09ab", b"OggS" + bytes(50), b"fLaC" + bytes(10)])
def test_what_has_no_whole_header_is_not_flac(data: bytes) -> None:
    assert flac.metadata_size(lambda size: data[:size]) == 0
