"""WAV as it is exported: RIFF while that can count it, RF64 above, read by libsndfile, FFmpeg and sox."""

from __future__ import annotations

import importlib
import io
import subprocess
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from support import sound

from memosync.audio import wav
from memosync.audio.exporting import convert
from memosync.memo import Words

soundfile: Any = importlib.import_module("soundfile")
INFO = {b"INAM": "Über: “alles”", b"ICMT": "one\ntwo", b"IART": "Ä. Person", b"ICRD": "2019-03-04T05:06:07+02:00"}
TAGS = {"title": INFO[b"INAM"], "comment": INFO[b"ICMT"], "artist": INFO[b"IART"], "date": INFO[b"ICRD"]}
WORDS = Words("A title", "A description", ("one", "two"), datetime.fromisoformat("2019-03-04T05:06:07+02:00"))
RIFF_FRAMES = (2**32 - 2 - 300) // 2  # of one channel, beside some room for the header


class Pipe(io.BytesIO):
    """What takes bytes and cannot seek."""

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0, /) -> int:
        raise AssertionError("it was told that this cannot seek")


def sparse(path: Path, channels: int, frames: int) -> Path:
    """Make a file whose last frame is loud, without writing what is before it."""
    begin = wav.header(channels, 48_000, INFO, frames)
    with path.open("wb") as file:
        file.write(begin)
        file.seek(len(begin) + (frames - 1) * 2 * channels)
        file.write(b"\x00\x40" * channels)
    return path


@pytest.fixture(scope="module")
def memo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memo")
    (folder / "tone.wav").write_bytes(sound.wav(sound.tone(2.5)))
    return sound.convert(folder / "tone.wav", folder / "memo.webm", "-c:a", "libopus", "-compression_level", "0")


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("kind", "frames"), [("RIFF", 1), ("RIFF", RIFF_FRAMES), ("RF64", 2**31 + 1), ("RF64", 16 * 3600 * 48_000)]
)
def test_others_read_every_length(tmp_path: Path, channels: int, kind: str, frames: int) -> None:
    frames = frames // channels if kind == "RIFF" and frames > 1 else frames
    path = sparse(tmp_path / "out.wav", channels, frames)
    form = sound.probe(path)

    assert path.open("rb").read(4) == kind.encode()
    with soundfile.SoundFile(path) as file:
        assert (file.frames, file.channels, file.samplerate, file.subtype) == (frames, channels, 48_000, "PCM_16")
        assert {**file.copy_metadata(), **TAGS} == file.copy_metadata()
        file.seek(frames - 1)
        assert abs(file.read(10) - 0.5).max() == 0
    assert float(form["duration"]) == pytest.approx(frames / 48_000, abs=1e-5)
    assert {**form["tags"], **TAGS} == form["tags"]
    # sox 14.4.2 knows no RF64
    assert kind == "RF64" or subprocess.check_output(["soxi", "-s", path], text=True).strip() == str(frames)


def test_the_last_length_that_fits_is_riff() -> None:
    header = len(wav.header(1, 48_000, INFO, 1))
    most = (2**32 - 2 - (header - 8)) // 2

    assert wav.header(1, 48_000, INFO, most)[:4] == b"RIFF"
    assert int.from_bytes(wav.header(1, 48_000, INFO, most)[4:8], "little") in (2**32 - 2, 2**32 - 3)
    assert wav.header(1, 48_000, INFO, most + 1)[:4] == b"RF64"


@pytest.mark.parametrize("codec", ["libopus", "libvorbis"])
def test_what_riff_cannot_count_is_exported_as_rf64(
    memo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    """RIFF counts only so far here: 4 GB take some minutes."""
    source = sound.convert(memo, tmp_path / "memo.webm", "-c:a", codec, "-ac", "2")
    piped, plain = Pipe(), io.BytesIO()
    convert(source, plain, "wav", WORDS, on_progress=lambda _: None)
    monkeypatch.setattr(wav, "MOST", 100_000)
    with (tmp_path / "out.wav").open("wb") as file:
        convert(source, file, "wav", WORDS, on_progress=lambda _: None)
    convert(source, piped, "wav", WORDS, on_progress=lambda _: None)
    data = (tmp_path / "out.wav").read_bytes()

    assert data[:4] == b"RF64"
    assert data == piped.getvalue()
    plain.seek(0)
    assert soundfile.read(io.BytesIO(data))[0].tobytes() == soundfile.read(plain)[0].tobytes()
    assert sound.hear(tmp_path / "out.wav")[0] == pytest.approx(2.5, abs=0.01)


def test_a_memo_whose_clock_is_wrong_is_whole_all_the_same(
    memo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clock tells of a length that RIFF counts, and its samples are more."""
    long = tmp_path / "long.webm"
    with av.open(memo) as source, av.open(long, "w") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        packets = [bytes(packet) for packet in source.demux(audio=0) if packet.size]
        for number in range(6_500):  # of 20 ms
            packet = av.Packet(packets[number % len(packets)])
            packet.pts = packet.dts = number * 20 // 15
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            target.mux(packet)
    monkeypatch.setattr(wav, "MOST", 8_000_000)
    with (tmp_path / "out.wav").open("wb") as file:
        convert(long, file, "wav", WORDS, on_progress=lambda _: None)

    with soundfile.SoundFile(tmp_path / "out.wav") as read:
        assert (read.format, read.frames / 48_000) == ("RF64", pytest.approx(130, abs=1))
        assert (tmp_path / "out.wav").stat().st_size == pytest.approx(read.frames * 2, abs=500)
