"""Tags behind the sound of a file: all of them are read, none is taken for sound."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from support import sound
from support.program import Program

Tag = Callable[[dict[str, str]], bytes]

WORDS = {
    "title": "Ein Gespräch, dessen Titel länger als dreißig Zeichen ist",
    "artist": "Ä. Person",
    "album": "Gespräche, die länger als dreißig Zeichen dauern",
    "comment": "What was said",
    "date": "2019-03-04",
}
KINDS = {
    "mp3": "-id3v2_version 0 -write_xing 0 -c:a libmp3lame",
    "aac": "-c:a aac",
    "wv": "-c:a wavpack -fflags +bitexact -flags:a +bitexact",
    "tta": "-c:a tta",
}


def id3v1(words: dict[str, str], page: str = "cp1252") -> bytes:
    fields = [("title", 30), ("artist", 30), ("album", 30), ("date", 4), ("comment", 28)]
    return b"TAG" + b"".join(words[name].encode(page)[:size].ljust(size, b"\0") for name, size in fields) + b"\0\5\x0c"


def ape(words: dict[str, str], *, version: int = 2000, page: str = "utf-8") -> bytes:
    """Make a tag with a picture in it, of which version 2 has a header, too."""
    names = {"title": "Title", "artist": "Artist", "album": "Album", "comment": "Comment", "date": "Year"}
    items = b"".join(_item(names[name], text.encode(page), 0) for name, text in words.items())
    items += _item("Cover Art (Front)", b"a.jpg\0TAG" + bytes(200), 2)
    flags = (version == 2000) << 31
    edges = [
        b"APETAGEX" + struct.pack("<IIII8x", version, len(items) + 32, len(words) + 1, flags | begins << 29)
        for begins in (1, 0)
    ]
    return edges[0] * (version == 2000) + items + edges[1]


def _item(name: str, value: bytes, flags: int) -> bytes:
    return struct.pack("<II", len(value), flags) + name.encode() + b"\0" + value


def id3v2(words: dict[str, str], *, footer: bool = True) -> bytes:
    """Make a tag as it stands behind sound, with UTF-8 in it; some programs forget the footer."""
    names = {"title": b"TIT2", "artist": b"TPE1", "album": b"TALB", "comment": b"COMM", "date": b"TDRC"}
    frames = b""
    for name, text in words.items():
        content = b"\3" + b"eng\0" * (name == "comment") + text.encode()
        frames += names[name] + struct.pack(">IH", len(content), 0) + content
    size = bytes(len(frames) >> bits & 127 for bits in (21, 14, 7, 0))
    behind = b"\4\0" + (b"\x10" if footer else b"\0") + size
    return b"ID3" + behind + frames + (b"3DI" + behind) * footer


def lyrics3(words: dict[str, str]) -> bytes:
    """Make what stands before an ID3v1 tag that is too short."""
    texts = {b"LYR": b"[00:00]la la", b"ETT": words["title"].encode("cp1252"), b"EAL": words["album"].encode("cp1252")}
    body = b"LYRICSBEGIN" + b"".join(name + f"{len(text):05}".encode() + text for name, text in texts.items())
    return body + f"{len(body):06}".encode() + b"LYRICS200"


def enhanced(words: dict[str, str]) -> bytes:
    """Make what goes on where an ID3v1 tag is too short, 60 bytes each."""
    rest = (words[name].encode("cp1252")[30:].ljust(60, b"\0") for name in ("title", "artist", "album"))
    return b"TAG+" + b"".join(rest) + b"\0" + bytes(30 + 6 + 6)


BEHIND: dict[str, Tag] = {
    "APE": ape,
    "APE, ID3v1": lambda words: ape(words) + id3v1(words),
    "APEv1 in cp1252": lambda words: ape(words, version=1000, page="cp1252"),
    "ID3v2": id3v2,
    "ID3v2 without footer": lambda words: id3v2(words, footer=False),
    "ID3v2, APE of the title, ID3v1": lambda words: id3v2(words) + ape({"title": "Another"}) + id3v1(words),
    "Lyrics3, ID3v1": lambda words: lyrics3(words) + id3v1(words),
    "TAG+, ID3v1": lambda words: enhanced(words) + id3v1(words),
    "ID3v1": id3v1,
}


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Give half a second of each format without a tag."""
    place = tmp_path_factory.mktemp("voices")
    (place / "voice.wav").write_bytes(sound.wav(sound.tone(0.5, 44_100), 44_100))
    made = {
        kind: sound.convert(place / "voice.wav", place / f"voice.{kind}", *options.split())
        for kind, options in KINDS.items()
    }
    return {kind: path.read_bytes() for kind, path in made.items()}


def test_tags_behind_the_sound_are_read_and_no_sound(
    memosync: Program, voices: dict[str, bytes], tmp_path: Path
) -> None:
    files = {(kind, name): tmp_path / f"{number} {name}.{kind}" for kind in KINDS for number, name in enumerate(BEHIND)}
    for (kind, name), path in files.items():
        path.write_bytes(voices[kind] + BEHIND[name](WORDS))

    said = memosync("record", "--again", *files.values()).err
    ids = [line.split("saved ")[1][:8] for line in said.splitlines() if "saved " in line]
    shown = [json.loads(line) for line in memosync("show", "--json", *ids).out.splitlines()]

    assert [line for line in said.splitlines() if "saved" not in line] == []
    for (kind, name), memo in zip(files, shown, strict=True):
        most = 30 if name == "ID3v1" else 99
        found = {**memo["carried"], "title": memo["title"], "date": memo["recorded"][:10]}
        whole = {**WORDS, "date": "2019-01-01"} if name.split(",")[0] in ("ID3v1", "Lyrics3", "TAG+") else WORDS
        expected = {name: whole[name][:most].rstrip() for name in ("title", "artist", "album", "date")}

        assert {name: found.get(name) for name in expected} == expected, (kind, name)
        assert memo["description"] == WORDS["comment"], (kind, name)
        assert 0.45 < memo["duration"] < 0.6, (kind, name)


def test_what_stands_in_front_counts_first_and_what_it_lacks_comes_from_behind(
    memosync: Program, voices: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "voice.mp3"
    front = id3v2({"title": "In front", "date": "2018-01-02"}, footer=False)
    path.write_bytes(front + voices["mp3"] + ape(WORDS) + id3v1(WORDS))

    memosync("record", path)
    memo = json.loads(memosync("show", "last", "--json").out)

    assert (memo["title"], memo["recorded"][:10]) == ("In front", "2018-01-02")
    assert (memo["description"], memo["carried"]["album"]) == (WORDS["comment"], WORDS["album"])


IN_FRONT = {  # that have a place of their own for words; FFmpeg 8.1 refuses most of them behind a tag
    "wav": "-c:a pcm_s16le",
    "aiff": "-c:a pcm_s16be",
    "au": "-c:a pcm_s16be",
    "flac": "-c:a flac",
    "ogg": "-c:a libvorbis",
    "opus": "-c:a libopus",
    "m4a": "-c:a aac",
    "webm": "-c:a libopus",
    "wv": "-c:a wavpack",
    "wma": "-c:a wmav2 -f asf",
    "amr": "-c:a libopencore_amrnb -ar 8000",
}


def test_a_tag_in_front_of_what_has_words_elsewhere_hides_neither_sound_nor_words(
    memosync: Program, voices: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "voice.mp3").write_bytes(voices["mp3"])
    files = [tmp_path / f"in.{kind}" for kind in IN_FRONT]
    for path, options in zip(files, IN_FRONT.values(), strict=True):
        bare = sound.convert(tmp_path / "voice.mp3", tmp_path / f"bare{path.suffix}", *options.split())
        path.write_bytes(id3v2(WORDS, footer=False) + bare.read_bytes())

    memosync("record", "--again", *files)
    piped = [path for path in files if path.suffix in (".wav", ".ogg", ".m4a")]
    for path in piped:
        memosync("record", "-", stdin=path.read_bytes())
    ids = [line.split("\t")[0] for line in memosync("list").out.splitlines()]
    found = [json.loads(line) for line in memosync("show", "--json", *ids).out.splitlines()]

    assert len(found) == len(files) + len(piped)
    for memo in found:
        assert (memo["title"], memo["description"]) == (WORDS["title"], WORDS["comment"])
        assert (memo["recorded"][:10], memo["carried"]["artist"]) == (WORDS["date"], WORDS["artist"])
        assert 0.45 < memo["duration"] < 0.65


def test_a_length_that_cannot_be_costs_no_sound(memosync: Program, voices: dict[str, bytes], tmp_path: Path) -> None:
    """Of APE, of Lyrics3 and of ID3v2, which would begin in the midst of the sound: nothing there is taken for one."""
    half = len(voices["mp3"]) // 2
    lies = [
        b"APETAGEX" + struct.pack("<IIII8x", 1000, half, 3, 0),
        f"{half:06}LYRICS200".encode(),
        b"3DI\4\0\x10\0\0" + bytes([half >> 7, half & 127]),
    ]
    files = [tmp_path / f"{number}.mp3" for number in range(len(lies))]
    for path, lie in zip(files, lies, strict=True):
        path.write_bytes(voices["mp3"] + lie)

    memosync("record", "--again", *files)

    assert all(0.45 < float(line.split("\t")[2]) < 0.6 for line in memosync("list").out.splitlines())


def test_the_words_of_3gp_are_read(memosync: Program, voices: dict[str, bytes], tmp_path: Path) -> None:
    """FFmpeg writes them; of its copyright it reads an empty one. A second title is in UTF-16."""
    (tmp_path / "voice.mp3").write_bytes(voices["mp3"])
    words = WORDS | {"genre": "Speech", "copyright": "© them", "author": "B"}
    options = [part for name, text in words.items() for part in ("-metadata", f"{name}={text}")]
    telephone = sound.convert(tmp_path / "voice.mp3", tmp_path / "voice.3gp", "-c:a", "aac", *options)
    data = telephone.read_bytes()
    at = data.index(b"dscp") + 10
    wide = "Ü".encode("utf-16").ljust(len(WORDS["comment"]), b"\0")
    (tmp_path / "wide.3gp").write_bytes(data[:at] + wide + data[at + len(wide) :])

    memosync("record", "--again", telephone, tmp_path / "wide.3gp")
    found = [
        json.loads(line)
        for line in memosync("show", "--json", "-", stdin=memosync("list").out.encode()).out.splitlines()
    ]

    assert sorted(memo["description"] for memo in found) == [WORDS["comment"], "Ü"]
    for memo in found:
        assert (memo["title"], memo["recorded"][:4]) == (WORDS["title"], "2019")
        assert memo["carried"].items() >= (
            words.items() - {*WORDS.items()} | {(name, WORDS[name]) for name in ("artist", "album")}
        )
