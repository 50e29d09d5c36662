"""WAV read without a decoder, compared with libsndfile; and headers that contradict their files."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support import sound

from memosync.audio import headers, pcm

VOICE = (0.5 * np.sin(np.arange(4_800) / 20)).astype(np.float64)
EXTENSIBLE = bytes.fromhex("000000001000800000aa00389b71")  # the end of a sub-format (mmreg.h)


def wav(data: bytes, *, tag: int = 1, channels: int = 1, width: int, bits: int, valid: int = 0, mask: int = 0) -> bytes:
    """Make a WAV at 48 kHz; with `valid` bits it is an extensible one."""
    frame = width * channels
    form = struct.pack("<HHIIHH", 0xFFFE if valid else tag, channels, 48_000, 48_000 * frame, frame, bits)
    if valid:
        form += struct.pack("<HHIH", 22, valid, mask, tag) + EXTENSIBLE
    body = b"WAVE" + sound.chunk(b"fmt ", form) + sound.chunk(b"data", data)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def integers(width: int, scale: float, shift: int = 0) -> bytes:
    """Give the voice in integers of so many bytes."""
    whole = ((VOICE * scale).astype(np.int64) << shift).astype("<i8")
    return whole.view("u1").reshape(-1, 8)[:, :width].tobytes()


def read(data: bytes) -> tuple[pcm.Pcm, np.ndarray]:
    """Read it as it would come through a pipe."""
    found = headers.parse(lambda at, size: data[at : at + size])
    assert found
    rest = io.BufferedReader(io.BytesIO(data[found.start :]), 1 << 27)
    blocks = pcm.blocks(found, rest.read, 1_000, lambda size: rest.peek()[:size])
    return found, np.concatenate(list(blocks), axis=1)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW"])
@pytest.mark.parametrize("form", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_libsndfile_writes_is_read_as_libsndfile_reads_it(
    tmp_path: Path, subtype: str, form: str, channels: int
) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, np.outer(VOICE, np.linspace(1, 0.3, channels)), 44_100, subtype, format=form)

    found, samples = read(path.read_bytes())

    theirs = soundfile.read(path, dtype="float32", always_2d=True)[0].T
    assert (found.rate, len(found.names)) == (44_100, channels)
    assert samples == pytest.approx(theirs, abs=1e-7)


@pytest.mark.parametrize(
    "data",
    [
        wav(integers(3, 2**19, 4), width=3, bits=20),
        wav(integers(3, 2**19, 4), width=3, bits=24, valid=20),
        wav(integers(4, 2**23, 8), width=4, bits=32, valid=24),
        wav(integers(4, 2**19, 12), width=4, bits=32, valid=20),
        wav(integers(4, 2**23), width=4, bits=24, valid=24),  # not shifted up, as the format wants it
        wav(integers(4, 2**23), width=4, bits=24),
        wav(integers(4, 2**15, 8), width=4, bits=24),  # 16 bits in 24 in 32
        wav(VOICE.astype("<f4").tobytes(), tag=3, width=4, bits=32, valid=32),
    ],
)
def test_bits_that_do_not_fill_their_bytes_are_as_loud_as_they_were(data: bytes) -> None:
    _, samples = read(data)

    assert samples[0] == pytest.approx(VOICE, abs=4e-5)


@pytest.mark.parametrize(
    ("header", "used"), [({"bits": 24}, 0), ({"bits": 32, "valid": 24}, 0x5B)], ids=["plain", "extensible"]
)
def test_a_long_quiet_beginning_of_24_in_32_is_not_taken_for_low_bits(header: dict[str, int], used: int) -> None:
    """By a pipe it is held back for no more than ten seconds."""
    room = (np.tile(VOICE * 2**14, 105).astype("<i4") << 8) | used
    data = wav(room.tobytes() + integers(4, 2**23, 8), width=4, **header)

    _, samples = read(data)

    assert np.allclose(samples[0, : len(room)], room / 2**31, rtol=0, atol=1e-7)
    assert samples[0, -4_800:] == pytest.approx(VOICE, abs=1e-6)


def test_what_no_float_can_hold_is_no_warning() -> None:
    doubles = VOICE.astype("<f8")
    doubles[100] = 1e300

    with warnings.catch_warnings(action="error"):
        _, samples = read(wav(doubles.tobytes(), tag=3, width=8, bits=64))

    assert np.isinf(samples[0]).sum() == 1


def test_a_mask_names_the_channels_and_none_is_a_guess() -> None:
    silence = bytes(4_800)
    named, _ = read(wav(silence, channels=6, width=2, bits=16, valid=16, mask=0x3F))
    guessed, _ = read(wav(silence, channels=4, width=2, bits=16, valid=16))

    assert named.names == ("FL", "FR", "FC", "LFE", "BL", "BR")
    assert guessed.names == ("",) * 4


@pytest.mark.parametrize("padded", [True, False])
def test_chunks_of_odd_length_are_passed_over(padded: bool) -> None:
    plain = sound.wav(sound.tone(0.1))
    odd = b"iXML" + struct.pack("<I", 5) + b"<a/>x" + bytes(padded)

    found, samples = read(plain[:36] + odd + b"junk" + struct.pack("<I", 3) + b"abc" + bytes(padded) + plain[36:])

    assert samples == pytest.approx(read(plain)[1])
    assert found.length == 9_600


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF, 0x7FFFF000])
def test_a_length_that_a_pipe_cannot_know_means_to_the_end(length: int) -> None:
    found, samples = read(sound.wav(sound.tone(0.1), length=length))

    assert found.length is None
    assert samples.shape == (1, 4_800)


def corrected(data: bytes, size: int | None = None) -> int | None:
    """Give the length that is believed of a file; `size` pretends that more zeros follow."""
    found = headers.parse(lambda at, size: data[at : at + size])
    assert found
    whole = len(data) if size is None else size
    return pcm.corrected(
        found, whole, lambda at, count: data[at : at + count].ljust(min(count, whole - at), b"\0")
    ).length


def test_a_header_that_was_not_brought_up_to_date_does_not_cut_the_file() -> None:
    voice = sound.tone(0.1)

    assert corrected(sound.wav(voice, length=0)) == len(voice)
    assert corrected(sound.wav(voice, length=4_000)) == len(voice)
    assert corrected(sound.wav(voice, length=2 * len(voice))) == len(voice)
    assert corrected(sound.wav(voice, after=sound.chunk(b"LIST", b"INFO"))) == len(voice)
    assert corrected(sound.wav(voice[:4_001], after=b"\0" + sound.chunk(b"id3 ", b"x"))) == 4_000


@pytest.mark.parametrize("seconds", [45_000, 90_000])
def test_a_length_beyond_4_gb_is_whole(seconds: int) -> None:
    length = seconds * 48_000 * 2
    plain = sound.wav(sound.tone(0.1), length=length % 2**32)
    ds64 = sound.chunk(b"ds64", struct.pack("<QQQI", 0, length, length // 2, 0))
    rf64 = sound.wav(sound.tone(0.1), length=0xFFFFFFFF).replace(b"RIFF", b"RF64").replace(b"fmt ", ds64 + b"fmt ")

    assert corrected(plain, 44 + length) == length
    assert corrected(rf64, 44 + len(ds64) + length) == length


def test_chunks_behind_more_than_4_gb_are_no_sound() -> None:
    length, tail = 45_000 * 48_000 * 2, sound.chunk(b"LIST", b"INFO")
    data = sound.wav(b"", length=length % 2**32)
    found = headers.parse(lambda at, size: data[at : at + size])
    assert found

    there = {44 + length: tail}  # all else is silence
    whole = pcm.corrected(found, 44 + length + len(tail), lambda at, count: there.get(at, bytes(count))[:count])

    assert whole.length == length


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        sound.wav(b"")[:30],
        sound.wav(b"", channels=0),
        sound.wav(b"", rate=0),
        sound.wav(b"", bits=0),
        sound.wav(b"", channels=200),
        sound.wav(b"", rate=2_000_000),
        b"RIFF\0\0\0\0AVI " + bytes(100),
        sound.wav(b"").replace(b"data", b"atad") + bytes(2_000_000),
    ],
)
def test_what_cannot_be_is_left_to_others(data: bytes) -> None:
    assert headers.parse(lambda at, size: data[at : at + size]) is None
