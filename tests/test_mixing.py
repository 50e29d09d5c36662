"""Channels mixed to one or two: by the weights that everybody uses, no louder than they were, and no voice lost."""

from __future__ import annotations

import warnings
from fractions import Fraction
from typing import cast

import av
import av.filter
import numpy as np
import pytest
from numpy.typing import NDArray

from memosync.audio.decoding import block_of
from memosync.audio.metadata import names_of
from memosync.audio.mixing import Mixer

Block = NDArray[np.float32]
RATE = 48_000
KNOWN = ["2.1", "3.0", "quad", "4.0", "5.0", "5.1", "5.1(side)", "6.1", "7.1", "7.1(wide)"]


def voices(count: int, seconds: float = 1.0, level: float = 0.1) -> Block:
    """Make channels that have nothing to do with each other."""
    return np.random.default_rng(count).standard_normal((count, round(seconds * RATE))).astype(np.float32) * level


def power(block: Block) -> float:
    """Give the mean square in dB, -200 for silence."""
    return float(10 * np.log10(np.mean(block.astype(np.float64) ** 2) + 1e-20))


def by_ffmpeg(block: Block, layout: str, outputs: int) -> Block:
    """Mix as FFmpeg's resampler does when its weights are to sum to 1."""
    graph = av.filter.Graph()
    begin = graph.add_abuffer(sample_rate=RATE, format="flt", layout=layout, time_base=Fraction(1, RATE))
    mix = graph.add("aresample", f"ochl={'mono' if outputs == 1 else 'stereo'}:rematrix_maxval=1.0:osf=fltp")
    graph.link_nodes(begin, mix, graph.add("abuffersink")).configure()
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.T).reshape(1, -1), "flt", layout)
    frame.sample_rate = RATE
    graph.push(frame)
    graph.push(None)
    return block_of(cast("av.AudioFrame", graph.pull()))


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("layout", KNOWN)
def test_a_known_layout_is_mixed_as_everybody_does(layout: str, outputs: int) -> None:
    names = names_of(av.AudioLayout(layout))
    block = voices(len(names))
    if outputs == 2:
        block = np.vstack(
            [row if name in ("FL", "BL", "SL", "FLC") else row * 0.9 for name, row in zip(names, block, strict=True)]
        )

    mixed = Mixer(names, outputs).mix(block)

    for ours, theirs in zip(mixed, by_ffmpeg(block, layout, outputs), strict=True):
        assert power(ours) == pytest.approx(power(theirs), abs=0.1)


@pytest.mark.parametrize("names", [["FL", "FR"], ["", ""], ["FL", "FR", "FC", "LFE", "BL", "BR"], [""] * 7])
def test_a_voice_on_all_channels_is_as_loud_as_it_was_and_clips_nothing(names: list[str]) -> None:
    voice = voices(1, level=0.25).clip(-1, 1)

    for outputs in (1, 2):
        mixed = Mixer(names, outputs).mix(np.repeat(voice, len(names), axis=0))
        assert mixed.shape == (outputs, RATE)
        assert power(mixed) == pytest.approx(power(voice), abs=0.01 if "LFE" not in names or outputs == 1 else 0.8)
        assert np.abs(mixed).max() <= 1 + 1e-6  # as some machines round


def test_stereo_is_the_half_of_both() -> None:
    left, right = voices(2)

    assert np.allclose(Mixer(["FL", "FR"], 1).mix(np.vstack([left, right])), (left + right) / 2, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("count", [3, 4, 6, 8, 10, 60])
def test_of_a_guessed_layout_what_carries_anything_has_the_same_weight(count: int) -> None:
    block = np.zeros((count, RATE), np.float32)
    block[count - 1], block[1] = voices(2)
    quiet = voices(1, level=0.0001)[0]
    block[0] = quiet  # noise under -60 dBFS

    known = Mixer([""] * count, 1, carrying=[number in (1, count - 1) for number in range(count)]).mix(block)
    found = Mixer([""] * count, 1).mix(block)

    assert np.allclose(known, (block[1] + block[count - 1]) / 2, rtol=0, atol=1e-6)
    assert np.allclose(found, known, rtol=0, atol=1e-6)


def test_four_microphones_with_a_speaker_each_are_all_heard() -> None:
    block = np.zeros((4, 4 * RATE), np.float32)
    for number in range(4):
        block[number, number * RATE : (number + 1) * RATE] = voices(1)[0]
    mixer = Mixer([""] * 4, 1, patience=RATE)

    pieces = [mixer.mix(piece) for piece in np.split(block, 40, axis=1)]

    heard = [power(np.concatenate(pieces[first : first + 10], axis=1)) for first in range(0, 40, 10)]
    assert heard == pytest.approx([-20, -26, -29.5, -32], abs=0.3)  # who comes later makes all a little quieter
    assert mixer.standing_in is None


@pytest.mark.parametrize("seconds", [1.0, 0.1])
def test_where_the_mix_cancels_the_loudest_channel_stands_in_as_long_as_it_does(seconds: float) -> None:
    voice = voices(1, 12)
    opposite = np.vstack([voice * 0.9, -voice])
    block = np.concatenate([opposite[:, : 6 * RATE], np.vstack([voice, voice])[:, 6 * RATE :]], axis=1)
    mixer = Mixer(["FL", "FR"], 1, patience=0 if seconds == 1 else RATE)

    pieces, stood_in = [], []
    for piece in np.split(block, round(12 / seconds), axis=1):
        pieces.append(mixer.mix(piece))
        stood_in.append(mixer.standing_in)

    mixed = np.concatenate(pieces, axis=1)
    late = 0 if seconds == 1 else 2 * RATE  # what comes through a pipe is judged when it has passed
    assert power(mixed[:, late : 6 * RATE]) == pytest.approx(power(voice), abs=0.3)
    assert power(mixed[:, 9 * RATE :]) == pytest.approx(power(voice), abs=0.1)
    assert set(stood_in) == {1, None}
    assert stood_in[-1] is None


@pytest.mark.parametrize("both", ["DC", "hum", "rumble", "half of the voice"])
def test_what_both_channels_have_hides_no_voice_that_cancels(both: str) -> None:
    """A microphone one side of which is wired the wrong way round hears the mains alike on both, and no voice."""
    time = np.arange(4 * RATE) / RATE
    low, middle, high = (np.sin(2 * np.pi * hertz * time).astype(np.float32) for hertz in (60, 300, 1_300))
    rumble = np.cumsum(voices(1, 4)[0]) * np.float32(0.02)
    alike = {"DC": np.full_like(high, 0.2), "hum": 0.2 * low, "rumble": rumble, "half of the voice": 0.1 * middle}[both]
    block = np.stack([alike + 0.05 * high, alike - 0.05 * high])
    mixer = Mixer(["FL", "FR"], 1)

    mixed = np.concatenate([mixer.mix(piece) for piece in np.split(block, 4, axis=1)], axis=1)[0]

    assert 2 * abs(np.mean(mixed * np.exp(2j * np.pi * 1_300 * time))) == pytest.approx(0.05, rel=0.1)


def test_a_pause_in_which_channels_have_noise_of_their_own_costs_no_word_behind_it() -> None:
    voice, *noise = voices(3, 12)
    voice[np.arange(12 * RATE) // (3 * RATE) % 2 == 1] = 0
    block = (np.stack([voice, -voice]) + np.stack(noise) * 0.005).astype(np.float32)
    mixer = Mixer(["FL", "FR"], 1, patience=RATE)

    mixed = [mixer.mix(piece) for piece in np.split(block, 120, axis=1)]

    assert power(np.concatenate(mixed[60:65], axis=1)) == pytest.approx(power(voice[6 * RATE :][:24_000]), abs=0.3)


@pytest.mark.parametrize("seconds", [1.0, 0.1])
@pytest.mark.parametrize("own", [1, 2])  # the channel of the second speaker
def test_who_speaks_in_turn_beside_channels_that_cancel_is_heard(seconds: float, own: int) -> None:
    first, second = voices(2, 8)
    turn = np.arange(8 * RATE) // RATE % 2
    block = np.stack([first * (turn == 0), -first * (turn == 0), *np.zeros((own - 1, 8 * RATE), np.float32)])
    block[own] += second * (turn == 1)
    mixer = Mixer([""] * (own + 1), 1, patience=0 if seconds == 1 else RATE, carrying=[True] * (own + 1))

    pieces = [mixer.mix(piece) for piece in np.split(block, round(8 / seconds), axis=1)]

    begin = 0 if seconds == 1 else 3 * RATE  # a pipe has three seconds
    mixed = np.concatenate(pieces, axis=1)[0]
    late = np.arange(8 * RATE) >= 3 * RATE
    assert mixer.inverted in ((0,), (1,))
    assert power(mixed[late & (turn == 0)]) == pytest.approx(-20 + 20 * np.log10(2 / (own + 1)), abs=0.1)
    assert power(mixed[begin:][turn[begin:] == 1]) == pytest.approx(-20 - 20 * np.log10(own + 1), abs=0.1)


def test_channels_that_agree_again_are_not_inverted_any_more() -> None:
    first, second = voices(2, 9)
    voice, other = np.split(first, 3), np.split(second, 3)
    mixer, inverted = Mixer([""] * 2, 1), []

    for left, right in ((voice[0], -voice[0]), (0 * other[1], other[1]), (voice[2], voice[2])):
        for piece in np.split(np.stack([left, right]), 3, axis=1):
            mixed = mixer.mix(piece)
        inverted.append(mixer.inverted)

    assert inverted == [(), (1,), ()]
    assert power(mixed) == pytest.approx(power(voice[2]), abs=0.2)


def test_what_is_too_loud_for_its_square_is_no_warning() -> None:
    block = voices(2)
    block[0, 1000] = 3e38

    with warnings.catch_warnings(action="error"):
        mixed = Mixer(["FL", "FR"], 1).mix(block)

    assert np.isfinite(mixed).all()
    assert mixed[0, 2000:] == pytest.approx(block[:, 2000:].mean(axis=0), abs=1e-7)


def test_channels_that_differ_are_not_taken_for_opposite_ones() -> None:
    left, right = voices(2, 3)
    mixer = Mixer(["FL", "FR"], 1)

    for other in (right, np.zeros_like(left), -0.5 * left, right * 0.01):
        mixer.mix(np.vstack([left, other]))
        assert mixer.standing_in is None


def test_a_voice_on_the_subwoofer_alone_is_heard() -> None:
    block = np.zeros((6, RATE), np.float32)
    block[3] = voices(1)[0]
    names = ["FL", "FR", "FC", "LFE", "BL", "BR"]

    assert power(Mixer(names, 1).mix(block)) == pytest.approx(power(block[3]), abs=0.01)
    assert power(Mixer(names, 2).mix(block)) == pytest.approx(power(block[3]), abs=0.01)


def test_a_side_that_is_silent_stays_so_in_stereo() -> None:
    block = np.vstack([voices(1)[0], np.zeros(RATE, np.float32)])

    assert np.allclose(Mixer(["FL", "FR"], 2).mix(block), block, rtol=1e-6, atol=1e-9)


def test_what_is_no_number_is_silence_and_costs_nothing_else() -> None:
    block = voices(2)
    broken = block.copy()
    broken[0, 1000], broken[1, 2000], broken[0, 3000] = np.nan, np.inf, -np.inf

    mixed = Mixer(["FL", "FR"], 1).mix(broken)

    whole = Mixer(["FL", "FR"], 1).mix(block)
    differ = np.flatnonzero(mixed[0] != whole[0])
    assert np.isfinite(mixed).all()
    assert list(differ) == [1000, 2000, 3000]


def test_one_mix_fades_into_the_next() -> None:
    count = np.arange(2 * RATE)
    voice = (0.5 * np.sin(2 * np.pi * 100 * count / RATE)).astype(np.float32)
    mixer = Mixer(["FL", "FR"], 1)

    first = mixer.mix(np.vstack([voice, voice * 0.9])[:, :RATE])
    second = mixer.mix(np.vstack([voice, -voice])[:, RATE:])

    steps = np.abs(np.diff(np.concatenate([first, second], axis=1)))
    assert steps.max() < 0.02  # of a sine of 100 Hz at half of full scale: 0.0065, and a fade of 10 ms
