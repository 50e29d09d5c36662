"""WAV and its kin, whoever wrote them: by file and by pipe what went in comes out."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest
from support import sound
from support.recorders import (
    RATE,
    Record,
    amplitude,
    by_file,
    by_pipe,
    caf,
    chunk,
    form,
    id3,
    integers,
    riff,
    tones,
    w64,
)

from memosync.audio import headers, webm
from memosync.audio.decoding import open_source
from memosync.audio.importing import Pipe
from memosync.audio.pcm import ALAW as A_LAW
from memosync.audio.pcm import Pcm
from memosync.stop import Stop

VOICE = tones((440, 0.5))
FLOATS = VOICE.astype(">f4").tobytes()
NARROW = form(width=4, bits=32, valid=24)
UPPER, LOWER = integers(VOICE, 24, 4), integers(VOICE, 24, 4, low=True)
DS64 = chunk(b"ds64", struct.pack("<QQQI", 0, len(UPPER), RATE, 0))
G711 = Pcm(kind=A_LAW, width=1, bits=8, names=("",), rate=RATE, start=0, length=None).block(bytes(range(256)))[0]
ALAW = bytes(np.abs(G711[:, None] - VOICE).argmin(axis=0).astype("u1"))
PICTURE = chunk(b"id3 ", bytes(1_100_000))  # more than 1 MB in front of the samples
ADPCM = struct.pack("<HHIIHHHH", 0x11, 1, 8_000, 4_055, 256, 4, 2, 505)  # IMA's (mmreg.h)
PLAIN, SHORT = form(width=2, bits=16), form(width=3, bits=24)


def au(kind: int, data: bytes, length: int, name: bytes = b".snd") -> bytes:
    """Make an AU (Sun's audio.h), which may lie about its length."""
    return name + struct.pack(">5I" if name == b".snd" else "<5I", 28, length, kind, RATE, 1) + bytes(4) + data


BEHIND = chunk(b"LIST", b"INFO" + chunk(b"ICMT", b"text " * 3_000)) + chunk(b"id3 ", b"picture" * 3_001)
HALF = integers(VOICE, 24)[: RATE // 2 * 3]
FREE = b"free" + struct.pack(">q", 5_000) + bytes(5_000)
KIN = {
    "RIFX": riff(form(width=2, bits=16, order=">"), integers(VOICE, 16, order=">"), name=b"RIFX"),
    "RIFX, 24 bits": riff(form(width=3, bits=24, order=">"), integers(VOICE, 24, order=">"), name=b"RIFX"),
    "RIFX, floating point": riff(form(tag=3, width=4, bits=32, order=">"), FLOATS, name=b"RIFX"),
    "24 in 32": riff(NARROW, UPPER),
    "24 in 32 behind a picture": riff(NARROW, UPPER, PICTURE),
    "24 in 32 behind a picture, lower": riff(form(width=4, bits=24), LOWER, PICTURE),
    "24 in 32, BW64": riff(NARROW, UPPER, DS64, name=b"BW64", length=2**32 - 1),
    "24 in 32, RF64": riff(NARROW, UPPER, DS64, name=b"RF64", length=2**32 - 1),
    "24 in 32, Wave64": w64(NARROW, UPPER),
    "24 in 32, CAF": caf(integers(VOICE, 24, 4, ">"), 4, 24),
    "24 in 32, CAF, little-endian": caf(UPPER, 4, 24, 2),
    "24 in 32, CAF, lower": caf(integers(VOICE, 24, 4, ">", low=True), 4, 24),
    "Wave64": w64(PLAIN, integers(VOICE, 16)),
    "Wave64, floating point": w64(form(tag=3, width=4, bits=32), VOICE.astype("<f4").tobytes()),
    "Wave64, floating point, extensible": w64(form(tag=3, width=4, bits=32, valid=32), VOICE.astype("<f4").tobytes()),
    "Wave64, double, extensible": w64(form(tag=3, width=8, bits=64, valid=64), VOICE.astype("<f8").tobytes()),
    "Wave64, A-law, extensible": w64(form(tag=6, width=1, bits=8, valid=8), ALAW),
    "RF64, A-law, extensible": riff(form(tag=6, width=1, bits=8, valid=8), ALAW, DS64, name=b"RF64"),
    "CAF with room": caf(integers(VOICE, 16, order=">"), 2, 16, 0, b"lpcm", FREE),
    "CAF, floating point, with room": caf(FLOATS, 4, 32, 1, b"lpcm", FREE),
    "CAF, 8 bits": caf(integers(VOICE, 8), 1, 8),
    "ID3 in front": id3(300) + riff(PLAIN, integers(VOICE, 16)),
    "ID3 in front of 24 in 32": id3(300) + riff(NARROW, UPPER),
    "counts too little": riff(PLAIN, integers(VOICE, 16), length=20_000),
    "counts too little, odd": riff(SHORT, integers(VOICE, 24), length=20_001) + chunk(b"LIST", b"INFO"),
    "has no place for its bits": riff(PLAIN[:14], integers(VOICE, 16)),
    "frames of another length than it says": riff(
        struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 4, 16), integers(VOICE, 16)
    ),
    "AU, little-endian": struct.pack("<4sIIIII", b"dns.", 24, 2 * RATE, 3, RATE, 1) + integers(VOICE, 16),
    "AU that counts nothing": au(3, integers(VOICE, 16, order=">"), 0),
    "AU that counts nothing, little-endian": au(6, VOICE.astype("<f4").tobytes(), 0, b"dns."),
    "AU that counts too little, A-law": au(27, ALAW, 5_000),
    "says nothing of its bits": riff(form(width=2, bits=0), integers(VOICE, 16)),
    "counts nothing, chunks behind": riff(PLAIN, integers(VOICE, 16), length=0) + BEHIND,
    "counts too much, chunks behind": riff(PLAIN, integers(VOICE, 16), length=10**9) + BEHIND,
    "counts too little, chunks behind": riff(PLAIN, integers(VOICE, 16), length=20_000) + BEHIND,
    "two, the first of which counts too little": riff(SHORT, HALF, length=20_000) + riff(SHORT, HALF),
    "two, the first of which counts nothing": riff(SHORT, HALF, length=0) + BEHIND + riff(SHORT, HALF) + BEHIND,
    "two chunks of samples": riff(SHORT, HALF) + chunk(b"data", HALF),
    "counts too little, Wave64": w64(PLAIN, integers(VOICE, 16)[:20_000]) + integers(VOICE, 16)[20_000:],
}
both_ways = pytest.mark.parametrize("record", [by_file, by_pipe])


@both_ways
@pytest.mark.parametrize("data", KIN.values(), ids=KIN)
def test_what_went_in_comes_out(record: Record, data: bytes) -> None:
    heard, said = record(data)

    assert said == ""
    assert len(heard) / RATE == pytest.approx(1, abs=0.03)
    assert amplitude(heard, 440) == pytest.approx(0.5, rel=0.02)
    assert np.abs(heard[:-1_500]).max() < 0.6  # what stands behind the samples may be heard where the header is wrong


def test_ffmpeg_does_not_look_for_chunks_in_silence_behind_a_length_that_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It takes a quarter of a second for each megabyte: a WAV of more than 4 GB took a quarter of an hour."""
    places: list[int] = []
    seek = webm._Seekable.seek

    def look(file: webm._Seekable, offset: int, whence: int = 0, /) -> int:
        places.append(offset)
        return seek(file, offset, whence)

    monkeypatch.setattr(webm._Seekable, "seek", look)
    heard, _ = by_file(riff(PLAIN, bytes(1_000_000) + integers(VOICE, 16), length=20_000))

    assert max(places, default=0) <= 20_100
    assert amplitude(heard[-RATE:], 440) == pytest.approx(0.5, rel=0.02)


@both_ways
@pytest.mark.parametrize("name", [b"RIFF", b"RIFX"])
@pytest.mark.parametrize("silent", [RATE // 2, 2**32 - 1], ids=["half a second", "damaged"])
def test_a_list_of_samples_and_silence_is_read(record: Record, name: bytes, silent: int) -> None:
    order = ">" if name == b"RIFX" else "<"
    parts = [VOICE[: RATE // 2 + 1], VOICE]
    first, second = (chunk(b"data", integers(part, 24, order=order), order) for part in parts)
    between = chunk(b"slnt", struct.pack(order + "I", silent), order)
    body = b"WAVE" + chunk(b"fmt ", form(width=3, bits=24, order=order), order)
    body += chunk(b"LIST", b"wavl" + first + between + second, order) + chunk(b"LIST", b"INFO", order)

    heard, said = record(name + struct.pack(order + "I", len(body)) + body)

    hole = 0.5 if silent == RATE // 2 else 0
    assert said == ""
    assert len(heard) / RATE == pytest.approx(1.5 + hole, abs=0.03)
    assert amplitude(heard[: RATE // 2], 440) == pytest.approx(0.5, rel=0.02)
    assert amplitude(heard[-RATE:], 440) == pytest.approx(0.5, rel=0.02)
    assert np.abs(heard[round(0.6 * RATE) : round(0.9 * RATE)]).max() < 0.01 or not hole
    assert "cut off" in record(name + struct.pack(order + "I", len(body)) + body[: -RATE // 2])[1]


@both_ways
@pytest.mark.parametrize("behind", [b"", BEHIND], ids=["", "chunks behind"])
@pytest.mark.parametrize("length", [0, 5_000, 10**9])
def test_what_only_ffmpeg_decodes_ends_where_it_ends(
    encoded: bytes, record: Record, length: int, behind: bytes
) -> None:
    at = encoded.index(b"data") + 4

    heard, said = record(encoded[:at] + struct.pack("<I", length) + encoded[at + 4 :] + behind)

    assert said == ""
    assert len(heard) / RATE == pytest.approx(1, abs=0.03)
    assert amplitude(heard, 440) == pytest.approx(0.5, rel=0.02)


@both_ways
def test_a_codec_whose_packets_have_a_length_of_their_own_is_no_noise(tmp_path: Path, record: Record) -> None:
    (tmp_path / "voice.wav").write_bytes(riff(PLAIN, integers(tones((440, 0.5), seconds=3), 16)))
    flash = sound.convert(tmp_path / "voice.wav", tmp_path / "flash.wav", "-c:a", "adpcm_swf", "-ar", "22050")

    heard, _ = record(flash.read_bytes())

    assert amplitude(heard[: 3 * RATE], 440) == pytest.approx(0.5, rel=0.04)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Give a WAV of ADPCM."""
    path = tmp_path_factory.mktemp("adpcm") / "voice.wav"
    path.write_bytes(riff(PLAIN, integers(VOICE, 16)))
    return sound.convert(path, path.with_name("adpcm.wav"), "-c:a", "adpcm_ima_wav", "-bitexact").read_bytes()


@both_ways
@pytest.mark.parametrize("fmt", [form(width=4, bits=24), NARROW], ids=["plain", "extensible"])
@pytest.mark.parametrize("used", [0, 0x5B], ids=["empty", "used"])
def test_a_quiet_beginning_of_24_in_32_stays_quiet(record: Record, fmt: bytes, used: int) -> None:
    if used and fmt != NARROW:  # nobody could know
        fmt = form(width=4, bits=32)
    room = integers(tones((300, 0.002), seconds=1.5), 24, 4) + UPPER
    data = (np.frombuffer(room, "<i4") | used).tobytes()

    heard, _ = record(riff(fmt, data))

    assert amplitude(heard[:RATE], 300) == pytest.approx(0.002, rel=0.2)
    assert amplitude(heard[-RATE:], 440) == pytest.approx(0.5, rel=0.02)


@both_ways
@pytest.mark.parametrize("is_low", [True, False], ids=["16 bits at the lower end", "a room at the upper end"])
@pytest.mark.parametrize("fmt", [form(width=4, bits=24), form(width=4, bits=24, valid=24)], ids=["plain", "extensible"])
def test_24_in_32_that_do_not_tell_where_they_are_for_long_are_kept_until_they_do(
    record: Record, fmt: bytes, is_low: bool
) -> None:
    if is_low:
        data = 11 * ((VOICE * (2**15 - 1)).astype("<i4") << 8).tobytes() + LOWER  # whose lowest byte is used
    else:
        data = 11 * integers(VOICE * np.float32(0.001), 24, 4) + UPPER

    heard, said = record(riff(fmt, data))

    assert said == "" if record == by_file else "all of it is kept on the disk" in said
    assert amplitude(heard[:RATE], 440) == pytest.approx(0.5 if is_low else 0.0005, rel=0.1)
    assert amplitude(heard[-RATE:], 440) == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("piped", [False, True], ids=["file", "pipe"])
@pytest.mark.parametrize("page", ["utf-16", "utf-16-le", "utf-16-be", "utf-8"])
@pytest.mark.parametrize("fmt", [PLAIN, ADPCM], ids=["plain", "ADPCM"])
def test_info_is_read_in_utf_16_too(tmp_path: Path, fmt: bytes, page: str, piped: bool) -> None:
    texts = {b"INAM": "Toplantı: 15", b"IART": "Лев"}
    info = chunk(b"LIST", b"INFO" + b"".join(chunk(name, (text + "\0").encode(page)) for name, text in texts.items()))
    source = tmp_path / "source.wav"
    source.write_bytes(riff(fmt, bytes(25_600), info) if piped else riff(fmt, bytes(25_600)) + info)

    with source.open("rb", buffering=0) as file, open_source(Pipe(Stop(), file.fileno()) if piped else file) as opened:
        assert opened.words.title == texts[b"INAM"]
        assert opened.carried.tags["artist"] == texts[b"IART"]


@pytest.mark.parametrize("piped", [False, True], ids=["file", "pipe"])
@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("page", ["utf-16", "utf-16-le", "utf-16-be"])
def test_an_id3_tag_in_utf_16_needs_no_mark(tmp_path: Path, page: str, version: int, piped: bool) -> None:
    def frame(name: bytes, content: bytes) -> bytes:
        return name + struct.pack(">I", len(content)) + b"\0\0" + content  # of so few bytes one size is as the other

    title, artist, comment = "Toplantı: 15", "会议记录", "О чём"
    frames = frame(b"TIT2", b"\1" + title.encode(page)) + frame(b"TPE1", b"\1" + (artist + "\0").encode(page))
    frames += frame(b"APIC", b"\0image/png\0\3\0" + bytes(60))
    frames += frame(b"COMM", b"\1eng" + (b"\xff\xfe" if page == "utf-16" else b"") + b"\0\0" + comment.encode(page))
    (tmp_path / "voice.wav").write_bytes(riff(PLAIN, integers(VOICE, 16)))
    mp3 = sound.convert(tmp_path / "voice.wav", tmp_path / "voice.mp3", "-id3v2_version", "0").read_bytes()
    source = tmp_path / "source.mp3"
    source.write_bytes(b"ID3" + bytes([version, 0, 0, 0, 0, len(frames) >> 7, len(frames) & 127]) + frames + mp3)

    with source.open("rb", buffering=0) as file, open_source(Pipe(Stop(), file.fileno()) if piped else file) as opened:
        assert (opened.words.title, opened.words.description) == (title, comment)
        assert opened.carried.tags["artist"] == artist


@pytest.mark.parametrize("piped", [False, True], ids=["file", "pipe"])
@pytest.mark.parametrize("version", [2, 3])
def test_an_id3_tag_that_was_unsynchronised_is_read_to_its_end(tmp_path: Path, version: int, piped: bool) -> None:
    """FFmpeg 8.1 takes the zeros that stand in it (ID3v2.3, 5) for a part of the frames, and all begins too late."""
    texts = {b"TIT2": "Größe ÿÿ", b"TPE1": "Éva", b"TALB": "Сбор"}
    frames = b""
    for name, text in texts.items():
        content = b"\1" + text.encode("utf-16")
        two = {b"TIT2": b"TT2", b"TPE1": b"TP1", b"TALB": b"TAL"}[name] + struct.pack(">I", len(content))[1:]
        frames += (name + struct.pack(">I", len(content)) + b"\0\0" if version == 3 else two) + content
    frames = re.sub(rb"\xff(?=[\xe0-\xff\0])", b"\xff\0", frames)
    (tmp_path / "voice.wav").write_bytes(riff(PLAIN, integers(VOICE, 16)))
    mp3 = sound.convert(tmp_path / "voice.wav", tmp_path / "voice.mp3", "-id3v2_version", "0").read_bytes()
    source = tmp_path / "source.mp3"
    source.write_bytes(b"ID3" + bytes([version, 0, 0x80, 0, 0, len(frames) >> 7, len(frames) & 127]) + frames + mp3)

    with source.open("rb", buffering=0) as file, open_source(Pipe(Stop(), file.fileno()) if piped else file) as opened:
        assert opened.words.title == texts[b"TIT2"]
        assert opened.carried.tags == {"artist": texts[b"TPE1"], "album": texts[b"TALB"]}


def test_chunks_without_end_are_given_up() -> None:
    """Chunks of nothing, as many as fit."""
    many = b"RIFF\0\0\0\0WAVE" + b"JUNK\0\0\0\0" * 200_000

    assert headers.parse(lambda at, size: many[at : at + size]) is None
