"""What a recording is warned of, heard block by block."""

from __future__ import annotations

import array
import math

import pytest

from memosync.audio.levels import RATE, Monitor

BLOCK = RATE // 10  # frames


def blocks(monitor: Monitor, seconds: float, amplitude: float, channels: int = 1) -> list[str]:
    """Let it hear a square wave, and give the warnings."""
    block = array.array("f", [amplitude, -amplitude] * (BLOCK * channels // 2)).tobytes()
    for _ in range(round(seconds * 10)):
        monitor.feed(block)
    return warnings(monitor)


def warnings(monitor: Monitor) -> list[str]:
    """Take all there are."""
    found = []
    while warning := monitor.take_warning():
        found.append(warning)
    return found


@pytest.mark.parametrize("amplitude", [0.0, 0.0001], ids=["nothing", "hiss"])
@pytest.mark.parametrize("channels", [1, 2])
def test_nothing_but_silence_is_told_once_after_three_seconds(amplitude: float, channels: int) -> None:
    monitor = Monitor(channels)

    assert blocks(monitor, 2.9, amplitude, channels) == []
    (warning,) = blocks(monitor, 20, amplitude, channels)
    assert "silence" in warning


def test_a_pause_after_speech_is_no_reason_to_warn() -> None:
    monitor = Monitor()

    assert blocks(monitor, 1, 0.1) + blocks(monitor, 20, 0.0001) == []


def test_five_seconds_of_exact_zeros_after_sound_are_told_each_time() -> None:
    monitor = Monitor()

    assert blocks(monitor, 1, 0.1) + blocks(monitor, 4.9, 0) == []
    (first,) = blocks(monitor, 20, 0)
    assert "stopped" in first
    assert blocks(monitor, 1, 0.1) == []
    (second,) = blocks(monitor, 6, 0)
    assert first == second


def test_clipping_is_told_and_not_again_and_again() -> None:
    monitor = Monitor()

    assert blocks(monitor, 1, 0.99) == []
    (warning,) = blocks(monitor, 25, 1.0)
    assert "clipping" in warning
    assert len(blocks(monitor, 20, -1.0)) == 1


@pytest.mark.parametrize(("at", "height"), [(3, 1.0), (2 * BLOCK - 1, -1.0)])
def test_no_sample_is_overlooked_of_either_channel(at: int, height: float) -> None:
    monitor, samples = Monitor(2), array.array("f", [0.1] * 2 * BLOCK)
    samples[at] = height

    monitor.feed(samples.tobytes())

    assert monitor.meter(1, paused=False).peak == 0
    (warning,) = warnings(monitor)
    assert "clipping" in warning


def test_a_sample_that_is_no_number_hides_no_voice() -> None:
    monitor = Monitor()

    monitor.feed(array.array("f", [0.5, math.nan] * BLOCK).tobytes())
    monitor.feed(array.array("f", [math.nan] * BLOCK).tobytes())

    assert monitor.meter(1, paused=False).peak == pytest.approx(-6.02, abs=0.01)


def test_lost_frames_are_told_with_their_length() -> None:
    monitor = Monitor()
    for tenth in range(50):
        monitor.count(tenth * BLOCK, 100 + tenth / 10)
    assert warnings(monitor) == []

    for tenth in range(50, 61):
        assert warnings(monitor) == []
        monitor.count(tenth * BLOCK, 102 + tenth / 10)  # the machine slept

    (warning,) = warnings(monitor)
    assert "lost 2.0 s" in warning
    for tenth in range(61, 200):
        monitor.count(tenth * BLOCK, 102 + tenth / 10)
    assert warnings(monitor) == []


def test_frames_that_come_late_or_in_bursts_are_not_lost() -> None:
    monitor = Monitor()

    for tenth in range(300):
        monitor.count(max(0, tenth - tenth % 3) * BLOCK, 100 + tenth / 10)
    monitor.count(301 * BLOCK, 140)  # stopped for ten seconds, and what came meanwhile is on its way
    monitor.count(405 * BLOCK, 140.5)

    assert warnings(monitor) == []


def test_a_slow_loss_is_noticed_too() -> None:
    monitor = Monitor()

    for tenth in range(200):
        monitor.count(int(tenth * BLOCK * 0.95), 100 + tenth / 10)

    assert warnings(monitor)


@pytest.mark.parametrize("rate", [8_000, 192_000])
def test_what_another_rate_is_warned_of_comes_at_the_same_time(rate: int) -> None:
    monitor, tenth = Monitor(2, rate), bytes(8 * rate // 10)
    for at in range(100):
        monitor.count(at * rate // 10, 100 + at / 10)
    assert warnings(monitor) == []

    for _ in range(29):
        monitor.feed(tenth)
    assert warnings(monitor) == []
    monitor.feed(tenth)
    for at in range(100, 200):
        monitor.count(at * rate // 10, 101 + at / 10)
    silent, lost = warnings(monitor)
    assert "silence" in silent
    assert "lost 1.0 s" in lost


def test_a_channel_that_stands_in_is_told_once() -> None:
    monitor = Monitor()

    for channel in (None, 1, 1, None, 0):
        monitor.mixed(channel)

    (warning,) = warnings(monitor)
    assert "only number 2" in warning
    monitor.mixed(None, (0, 2))
    monitor.mixed(None, (1,))
    (warning,) = warnings(monitor)
    assert "all are recorded, number 1, 3 inverted" in warning


def test_little_room_is_told_at_each_limit_once() -> None:
    monitor = Monitor()
    told = []
    for minutes in (61, 59, 58, 11, 9, 8, 2, 0.5, 0.4):
        monitor.room(minutes)
        told.append(len(warnings(monitor)))

    assert told == [0, 1, 0, 0, 1, 0, 0, 1, 0]


def test_the_meter_shows_the_loudest_since_the_last_look() -> None:
    monitor = Monitor()
    blocks(monitor, 0.1, 0.5)
    blocks(monitor, 0.1, 0.1)

    first, second = monitor.meter(1.5, paused=False), monitor.meter(1.6, paused=True)

    assert first.peak == pytest.approx(-6.02, abs=0.01)
    assert (first.elapsed, first.paused, first.minutes_left) == (1.5, False, None)
    assert (-math.inf, True) == (second.peak, second.paused)


def test_the_meter_shows_minutes_under_an_hour() -> None:
    monitor = Monitor()

    monitor.room(75)
    assert monitor.meter(0, paused=False).minutes_left is None
    monitor.room(42)
    assert monitor.meter(0, paused=False).minutes_left == 42
