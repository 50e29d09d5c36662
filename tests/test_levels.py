"""What a recording is warned of, heard block by block."""

from __future__ import annotations

import array
import math

import pytest

from memosync.audio.levels import RATE, Watch

BLOCK = RATE // 10  # frames


def blocks(watch: Watch, seconds: float, amplitude: float, channels: int = 1) -> list[str]:
    """Let it hear a square wave, and give the warnings."""
    block = array.array("f", [amplitude, -amplitude] * (BLOCK * channels // 2)).tobytes()
    for _ in range(round(seconds * 10)):
        watch.feed(block)
    return warnings(watch)


def warnings(watch: Watch) -> list[str]:
    """Take all there are."""
    found = []
    while warning := watch.take_warning():
        found.append(warning)
    return found


@pytest.mark.parametrize("amplitude", [0.0, 0.0001], ids=["nothing", "hiss"])
@pytest.mark.parametrize("channels", [1, 2])
def test_nothing_but_silence_is_told_once_after_three_seconds(amplitude: float, channels: int) -> None:
    watch = Watch(channels)

    assert blocks(watch, 2.9, amplitude, channels) == []
    (warning,) = blocks(watch, 20, amplitude, channels)
    assert "silence" in warning


def test_a_pause_after_speech_is_no_reason_to_warn() -> None:
    watch = Watch()

    assert blocks(watch, 1, 0.1) + blocks(watch, 20, 0.0001) == []


def test_five_seconds_of_exact_zeros_after_sound_are_told_each_time() -> None:
    watch = Watch()

    assert blocks(watch, 1, 0.1) + blocks(watch, 4.9, 0) == []
    (first,) = blocks(watch, 20, 0)
    assert "stopped" in first
    assert blocks(watch, 1, 0.1) == []
    (second,) = blocks(watch, 6, 0)
    assert first == second


def test_clipping_is_told_and_not_again_and_again() -> None:
    watch = Watch()

    assert blocks(watch, 1, 0.99) == []
    (warning,) = blocks(watch, 25, 1.0)
    assert "clipping" in warning
    assert len(blocks(watch, 20, -1.0)) == 1


def test_lost_frames_are_told_with_their_length() -> None:
    watch = Watch()
    for tenth in range(50):
        watch.count(tenth * BLOCK, 100 + tenth / 10)
    assert warnings(watch) == []

    for tenth in range(50, 61):
        assert warnings(watch) == []
        watch.count(tenth * BLOCK, 102 + tenth / 10)  # the machine slept

    (warning,) = warnings(watch)
    assert "lost 2.0 s" in warning
    for tenth in range(61, 200):
        watch.count(tenth * BLOCK, 102 + tenth / 10)
    assert warnings(watch) == []


def test_frames_that_come_late_or_in_bursts_are_not_lost() -> None:
    watch = Watch()

    for tenth in range(300):
        watch.count(max(0, tenth - tenth % 3) * BLOCK, 100 + tenth / 10)
    watch.count(301 * BLOCK, 140)  # stopped for ten seconds, and what came meanwhile is on its way
    watch.count(405 * BLOCK, 140.5)

    assert warnings(watch) == []


def test_a_slow_loss_is_noticed_too() -> None:
    watch = Watch()

    for tenth in range(200):
        watch.count(int(tenth * BLOCK * 0.95), 100 + tenth / 10)

    assert warnings(watch)


def test_little_room_is_told_at_each_limit_once() -> None:
    watch = Watch()
    told = []
    for minutes in (61, 59, 58, 11, 9, 8, 2, 0.5, 0.4):
        watch.room(minutes)
        told.append(len(warnings(watch)))

    assert told == [0, 1, 0, 0, 1, 0, 0, 1, 0]


def test_the_meter_shows_the_loudest_since_the_last_look() -> None:
    watch = Watch()
    blocks(watch, 0.1, 0.5)
    blocks(watch, 0.1, 0.1)

    first, second = watch.meter(1.5, paused=False), watch.meter(1.6, paused=True)

    assert first.peak == pytest.approx(-6.02, abs=0.01)
    assert (first.elapsed, first.paused, first.minutes_left) == (1.5, False, None)
    assert (-math.inf, True) == (second.peak, second.paused)


def test_the_meter_shows_minutes_under_an_hour() -> None:
    watch = Watch()

    watch.room(75)
    assert watch.meter(0, paused=False).minutes_left is None
    watch.room(42)
    assert watch.meter(0, paused=False).minutes_left == 42
