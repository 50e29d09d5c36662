"""What a device delivers, block by block, made into 48 kHz with the channels of a memo."""

from __future__ import annotations

import array
import math

import pytest

from memosync.audio.resampling import Resampler
from memosync.audio.webm import Sound, samples_of


def tone(rate: int, seconds: float, gains: tuple[float, ...] = (1.0,)) -> bytes:
    """Make a tone of 440 Hz, as loud in each channel as `gains` says."""
    samples = (math.sin(2 * math.pi * 440 * number / rate) for number in range(round(rate * seconds)))
    return array.array("f", [gain * sample / 2 for sample in samples for gain in gains]).tobytes()


def resampled(resampler: Resampler, data: bytes, at_once: int) -> array.array[float]:
    """Feed it so many bytes at once, and give all that comes out."""
    found = array.array("f")
    for begin in range(0, len(data), at_once):
        for frame in resampler.feed(data[begin : begin + at_once]):
            found.frombytes(samples_of(frame))
    for frame in resampler.flush():
        found.frombytes(samples_of(frame))
    return found


@pytest.mark.parametrize("rate", [48_000, 44_100, 16_000, 8_000, 11_025, 96_000, 192_000])
@pytest.mark.parametrize("at_once", [4 * 37, 4 * 800])
def test_what_comes_in_blocks_is_the_same_tone_and_as_long(rate: int, at_once: int) -> None:
    found = resampled(Resampler(rate, 1, Sound()), tone(rate, 1.5), at_once)
    expected = array.array("f", tone(48_000, 1.5))

    assert len(found) == math.ceil(round(rate * 1.5) * 48_000 / rate)
    inner = range(200, len(expected) - 200)  # at its ends a tone that breaks off rings
    assert max(abs(found[at] - expected[at]) for at in inner) < 0.0001


@pytest.mark.parametrize("gains", [(1.0, 0.0), (0.0, 1.0)])
def test_two_channels_are_halved_in_one(gains: tuple[float, float]) -> None:
    resampler = Resampler(44_100, 2, Sound())
    found = resampled(resampler, tone(44_100, 1.5, gains), 4410 * 8)

    assert len(found) == 72_000
    assert max(found) == pytest.approx(0.25, abs=0.01)
    assert resampler.standing_in is None


def test_two_channels_stay_two() -> None:
    found = resampled(Resampler(44_100, 2, Sound(2)), tone(44_100, 1.5, (0.0, 1.0)), 4410 * 8)

    assert len(found) == 2 * 72_000
    assert max(found[::2]) == 0
    assert max(found[1::2]) == pytest.approx(0.5, abs=0.01)


def test_a_channel_stands_in_where_two_cancel_each_other() -> None:
    resampler = Resampler(16_000, 2, Sound())
    found = resampled(resampler, tone(16_000, 4, (0.5, -1.0)) + tone(16_000, 4, (1.0, -1.0)), 1600 * 8)

    assert resampler.standing_in == 1
    assert max(found[-48_000:]) == pytest.approx(0.5, abs=0.01)
