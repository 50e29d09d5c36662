"""Loudness, peak and waveform beside those of the system's FFmpeg; their cache; and how they are drawn."""

from __future__ import annotations

import array
import math
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import sound
from support.sound import convert, noise, probe, tone, wav

from memosync.audio.loudness import Levels, loads, measure
from memosync.errors import AudioError, Interrupted
from memosync.stop import Stop
from memosync.ui.wave import draw

TEXT = "Remember to call the plumber. She said the budget should be ready by Thursday, perhaps a little earlier."
SPEECH = {  # how it is spoken, and what becomes of it
    "a voice": ("en", "anull"),
    "a high voice in stereo": ("fr+f3", "pan=stereo|c0=c0|c1=0.3*c0"),
    "a whisper": ("en+whisper", "anull"),
    "a voice that fades": ("en", "volume=if(lt(t\\,3)\\,1\\,0.02):eval=frame"),
    "a quiet voice between silences": ("de", "volume=-30dB,adelay=3000,apad=pad_dur=5"),
}


def opus(source: Path, target: Path, *options: str) -> Path:
    return convert(source, target, *options, "-c:a", "libopus", "-b:a", "64k")


@pytest.fixture(scope="module", params=SPEECH, ids=lambda name: name.replace(" ", "-"))
def speech(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A memo in which somebody speaks."""
    voice, effect = SPEECH[request.param]
    spoken = tmp_path_factory.mktemp("speech") / "spoken.wav"
    subprocess.run(["espeak-ng", "-v", voice, "-w", spoken, TEXT], check=True)
    return opus(spoken, spoken.with_suffix(".webm"), "-af", f"aresample=48000,{effect}")


def test_the_loudness_and_the_peak_of_speech_are_those_ffmpeg_finds(speech: Path) -> None:
    found = measure(speech)

    assert sound.loudness(speech) == pytest.approx(found.loudness, abs=0.1)
    assert sound.peak(speech) == pytest.approx(found.peak, abs=0.1)


@pytest.mark.parametrize("rate", ["44100", "22050", "11025"])
def test_vorbis_is_measured_at_its_own_rate(tmp_path: Path, rate: str) -> None:
    options = ["-c:a", "libvorbis", "-ar", rate, "-ac", "2"]
    memo = noise(tmp_path / "noise.webm", 3, *options)
    found = measure(memo)

    assert sound.loudness(memo) == pytest.approx(found.loudness, abs=0.1)
    assert sound.peak(memo) == pytest.approx(found.peak, abs=0.1)
    assert len(found.wave) in (30, 31)


def test_the_wave_of_speech_is_the_peak_of_each_tenth_of_a_second(speech: Path) -> None:
    command = ["ffmpeg", "-v", "error", "-i", str(speech), "-f", "s16le", "-ar", "48000", "-"]
    samples = array.array("h", subprocess.run(command, check=True, capture_output=True).stdout)
    size = 4_800 * probe(speech)["stream"]["channels"]
    blocks = [samples[at : at + size] for at in range(0, len(samples), size)]
    peaks = [max(max(block), -min(block)) for block in blocks]
    levels = [255 + 40 * math.log10(peak / 32767) if peak > 30 else 0 for peak in peaks]
    wave = measure(speech).wave

    assert len(levels) == len(wave)
    assert all(abs(level - max(135, found)) < 2 for level, found in zip(levels, wave, strict=True) if level > 135)


def test_loudness_of_a_tone_is_that_of_the_standard(tmp_path: Path) -> None:
    source = tmp_path / "tone.wav"
    source.write_bytes(wav(tone(3, frequency=997)))
    found = measure(opus(source, tmp_path / "tone.webm"))

    assert 20 * math.log10(12_000 / 32_767) - 3.01 == pytest.approx(found.loudness, abs=0.1)


@pytest.mark.parametrize(("seconds", "volume"), [(0.05, "0dB"), (0.3, "0dB"), (0.38, "0dB"), (3, "-70dB"), (3, "-inf")])
def test_what_is_too_short_or_too_quiet_has_no_loudness(tmp_path: Path, seconds: float, volume: str) -> None:
    source = tmp_path / "tone.wav"
    source.write_bytes(wav(tone(seconds)))
    effect = "volume=0" if volume == "-inf" else f"volume={volume}"
    found = measure(opus(source, tmp_path / "tone.webm", "-af", effect))

    assert found.loudness is None
    assert found.wave
    assert (volume == "-inf") == (found.peak == -math.inf)


def test_damage_costs_what_it_hit(tmp_path: Path) -> None:
    source = tmp_path / "tone.wav"
    source.write_bytes(wav(tone(40)))
    memo = opus(source, tmp_path / "tone.webm")
    whole, data = measure(memo), bytearray(memo.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 500] = b"\xff" * 500
    memo.write_bytes(data)
    found = measure(memo)

    assert whole.loudness == pytest.approx(found.loudness, abs=1)
    assert 300 < len(found.wave) < len(whole.wave)


def test_what_is_no_audio_is_refused(tmp_path: Path) -> None:
    (tmp_path / "memo.webm").write_bytes(b"#EXTM3U\nhttp://127.0.0.1/\n")

    with pytest.raises(AudioError, match="not audio"):
        measure(tmp_path / "memo.webm")


def test_the_wave_so_far_is_told_and_it_can_be_stopped(tmp_path: Path) -> None:
    minute = tmp_path / "minute.wav"
    minute.write_bytes(wav(tone(60)))
    memo = tmp_path / "memo.webm"
    opus(minute, memo, "-filter_complex", "aloop=loop=4:size=2880000")
    told: list[tuple[float, bytes]] = []
    found = measure(memo, on_progress=lambda fraction, wave: told.append((fraction, wave)))
    stop = Stop()

    def interrupt(_fraction: float, _wave: bytes) -> None:
        told.clear()
        stop.signal_number = 2
        stop.set()

    assert [pytest.approx(n / 5, abs=0.01) for n in range(1, 5)] == [fraction for fraction, _ in told]
    assert all(found.wave.startswith(wave) for _, wave in told)
    with pytest.raises(Interrupted):
        measure(memo, on_progress=interrupt, stop=stop)


numbers = st.floats(allow_nan=False, max_value=1e300)


@given(st.none() | numbers, numbers, st.binary())
def test_levels_are_read_as_they_were_written(loudness: float | None, peak: float, wave: bytes) -> None:
    levels = Levels(loudness=loudness, peak=peak, wave=wave)

    assert levels == loads(levels.dumps())


@given(st.integers(0, 5_000), st.integers(1, 255))
def test_half_written_or_altered_levels_are_refused(where: int, change: int) -> None:
    whole = Levels(loudness=-20.5, peak=-1.0, wave=b"wave" * 10).dumps()
    data = bytearray(whole)
    where %= len(data)
    short = bytes(data[:where])
    data[where] ^= change

    older = b"memosync levels 1" + whole[len(b"memosync levels 1") :]
    for broken in (bytes(data), short, bytes(len(data)), whole + b"\0", older):
        with pytest.raises(ValueError, match="not the levels"):
            loads(broken)


def test_a_wave_is_drawn_from_60_decibels_under_full_scale_to_it() -> None:
    assert ["  ▄█"] == draw(bytes([0, 135, 195, 255]), 80)
    assert [" ▂▄▆█", "█████"] == draw(bytes([195, 210, 225, 240, 255]), 5, rows=2)


def test_a_column_is_the_mean_of_its_peaks() -> None:
    assert ["▄█"] == draw(bytes([0, 255, 255, 255]), 2)
    assert ["▃▅"] == draw(bytes([0, 255, 0]) * 3 + bytes([255, 255, 0]) * 3, 2)


@pytest.mark.parametrize("columns", [1, 7, 80, 300])
def test_a_wave_is_as_wide_as_it_may_be(columns: int) -> None:
    assert [columns] * 3 == list(map(len, draw(bytes(range(256)) * 5, columns, rows=3)))


def test_nothing_is_drawn_of_nothing() -> None:
    assert ["", ""] == draw(b"", 80, rows=2)
