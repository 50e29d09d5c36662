"""Chapters, and what else a file carries besides its words: in from every format, kept, and out into every other."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support import matroska, sound
from support.long import more
from support.program import PROGRAM, Program
from support.terminal import Terminal

from memosync.audio import id3

Chapters = list[tuple[Any, Any, str]]  # seconds, and titles

CHAPTERS: Chapters = [(0, 1, "Intro"), (1, 2.345, "Zwei = drei; #4 ü"), (2.345, 4, "End")]
TAGS = {
    "artist": "Ä. Person",
    "album": "Interviews",
    "album_artist": "Everybody",
    "track": "3",
    "genre": "Speech",
    "composer": "Somebody",
    "copyright": "© 2019 them",
    "language": "ger",
    "publisher": "A house",
}
LIVE = ("-flush_packets", "1", "-cluster_time_limit", "400")
CONTAINERS = {  # FFmpeg writes chapters into these, and the tags that the format has
    "webm": "-c:a libopus",
    "mka": "-c:a aac",
    "opus": "-c:a libopus",
    "mp3": "-c:a libmp3lame -b:a 64k",
    "m4a": "-c:a aac",
    "m4b": "-c:a aac -f mp4",
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "plain.wav"
    path.write_bytes(sound.wav(sound.tone(4)))
    return path


def tagged(
    plain: Path, target: Path, *options: str, chapters: Chapters = CHAPTERS, tags: dict[str, str] = TAGS
) -> Path:
    """Have FFmpeg write a file with these chapters and tags."""
    said = target.with_suffix(".said")
    lines = [";FFMETADATA1", *(f"{name}={_escape(value)}" for name, value in tags.items())]
    for start, end, title in chapters:
        lines += ["[CHAPTER]", "TIMEBASE=1/1000", f"START={start * 1000:.0f}", f"END={end * 1000:.0f}"]
        lines += [f"title={_escape(title)}"] if title else []
    said.write_text("\n".join(lines) + "\n")
    more = ("-map", "0:a", "-map_metadata", "1", "-map_chapters", "1", *options)
    return sound.convert(plain, target, "-f", "ffmetadata", "-i", str(said), *more)


def _escape(text: str) -> str:
    return re.sub(r"([=;#\\\n])", r"\\\1", text)


def chapters_of(path: Path | str, data: bytes | None = None) -> Chapters:
    """Read the chapters of a file, or of a stream, with the system's FFmpeg."""
    command = ["ffprobe", "-v", "error", "-show_chapters", "-of", "json", str(path)]
    found = json.loads(subprocess.run(command, input=data, check=True, capture_output=True).stdout)["chapters"]
    return [(float(one["start_time"]), float(one["end_time"]), one.get("tags", {}).get("title", "")) for one in found]


def near(chapters: Chapters) -> Chapters:
    """These, but for what rounding does; a last one may end with the last packet instead of the last sample."""
    return [(pytest.approx(start, abs=0.002), pytest.approx(end, abs=0.1), title) for start, end, title in chapters]


def said(path: Path) -> dict[str, str]:
    """Give the tags of a file, in lower case, wherever the format has them."""
    command = ["ffprobe", "-v", "error", "-show_entries", "format_tags:stream_tags", "-select_streams", "a"]
    found = json.loads(subprocess.run([*command, "-of", "json", path], check=True, capture_output=True).stdout)
    tags = {**found["streams"][0].get("tags", {}), **found["format"].get("tags", {})}
    return {name.lower(): value for name, value in tags.items()}


def file_of(program: Program) -> Path:
    """Give the file that was written last."""
    return max(program.library.glob("*.webm"), key=lambda path: path.stat().st_mtime_ns)


@pytest.fixture(scope="module")
def full(plain: Path) -> Path:
    """A file that carries all of it."""
    more = TAGS | {"title": "A title", "description": "A description", "comment": "A comment"}
    return tagged(plain, plain.with_name("in.mka"), "-c:a", "aac", tags=more)


@pytest.fixture
def recorded(memosync: Program, full: Path) -> Program:
    """A library with a memo of that file, which is recorded once."""
    template = full.with_name("Memos")
    if template.exists():
        shutil.copytree(template, memosync.library)
    else:
        memosync("record", full)
        shutil.copytree(memosync.library, template)
    return memosync


def test_chapters_and_tags_come_in_from_every_format(memosync: Program, plain: Path, tmp_path: Path) -> None:
    sources = [tagged(plain, tmp_path / f"in.{kind}", *CONTAINERS[kind].split()) for kind in CONTAINERS]

    ids = memosync("record", "--again", *sources).out.split()

    for source, path in zip(sources, memosync("show", *ids, "--path").out.splitlines(), strict=True):
        kept = dict(TAGS.items() & said(source).items())  # MP4 says nothing of a language here
        found = said(Path(path))

        assert chapters_of(path) == near(CHAPTERS), source
        assert {name: found.get(name) for name in kept} == kept, source
        assert len(kept) >= len(TAGS) - 2, source


def test_chapters_come_in_from_comments_of_flac_and_vorbis(memosync: Program, plain: Path, tmp_path: Path) -> None:
    for kind, codec in (("flac", "flac"), ("ogg", "libvorbis")):
        marks = {"CHAPTER001": "00:00:00.000", "CHAPTER001NAME": "One", "CHAPTER002": "00:00:02.500"}
        marks |= {"CHAPTER002NAME": "Two"}
        options = [part for name, value in marks.items() for part in ("-metadata", f"{name}={value}")]
        memosync("record", "--again", sound.convert(plain, tmp_path / f"in.{kind}", "-c:a", codec, *options))

        assert chapters_of(file_of(memosync)) == near([(0, 2.5, "One"), (2.5, 4, "Two")])


@pytest.mark.parametrize("kind", ["webm", "mp3"])
def test_chapters_come_in_from_a_pipe(memosync: Program, plain: Path, tmp_path: Path, kind: str) -> None:
    source = tagged(plain, tmp_path / f"in.{kind}", *CONTAINERS[kind].split())

    memosync("record", "-", stdin=source.read_bytes())

    assert chapters_of(file_of(memosync)) == near(CHAPTERS)
    assert said(file_of(memosync))["artist"] == TAGS["artist"]


@pytest.mark.parametrize("piped", [False, True], ids=["file", "pipe"])
def test_the_words_of_an_mp3_whose_frames_tell_no_bit_rate_come_in(
    memosync: Program, plain: Path, tmp_path: Path, piped: bool
) -> None:
    """libsndfile, which alone reads its sound, does not read its tag."""
    words = {"title": "A title", "comment": "A comment", "date": "2019-03-04"}
    tag = tagged(plain, tmp_path / "tagged.mp3", tags=TAGS | words).read_bytes()
    source = tmp_path / "free.mp3"
    subprocess.run(["lame", "--quiet", "--freeformat", "-b", "330", plain, source], check=True)
    source.write_bytes(tag[: id3.behind_id3(lambda at, size: tag[at : at + size])] + source.read_bytes())

    memosync("record", *(["-"] if piped else [source]), stdin=source.read_bytes() if piped else b"")
    found = said(file_of(memosync))

    assert chapters_of(file_of(memosync)) == near(CHAPTERS)
    assert (found["title"], found["description"], found["artist"]) == ("A title", "A comment", TAGS["artist"])
    assert found["date_recorded"].startswith("2019-03-04")


def test_chapters_and_tags_go_out_into_every_format(recorded: Program, tmp_path: Path) -> None:
    targets = [tmp_path / f"out.{form}" for form in ("webm", "ogg", "opus", "flac", "mp3")]

    for target in targets:
        recorded("export", "last", "-o", target)
    again = recorded.on(tmp_path / "again")
    ids = again("record", "--again", *targets).out.split()

    words = TAGS | {"title": "A title", "description": "A description", "comment": "A comment"}
    for target, path in zip(targets, again("show", *ids, "--path").out.splitlines(), strict=True):
        given, returned = said(target), said(Path(path))
        if target.suffix != ".flac":  # FFmpeg 5.1 does not look for them there
            assert chapters_of(target) == near(CHAPTERS), target
        assert chapters_of(path) == near(CHAPTERS), target
        assert {name: given.get(name) for name in TAGS} == TAGS, target
        assert {name: returned.get(name) for name in words} == words, target


@pytest.mark.parametrize("form", ["webm", "ogg", "mp3"])
def test_whoever_reads_a_pipe_gets_chapters(recorded: Program, form: str) -> None:
    command = [*PROGRAM, "export", "last", "-f", form]
    data = subprocess.run(command, env=recorded.environment, capture_output=True, check=True).stdout

    assert [title for *_, title in chapters_of("-", data)] == [title for *_, title in CHAPTERS]


def test_a_wav_has_the_tags_that_info_has(recorded: Program, tmp_path: Path) -> None:
    recorded("export", "last", "-o", tmp_path / "out.wav")
    tags = said(tmp_path / "out.wav")

    names = ("artist", "album", "track", "genre", "copyright", "language")
    assert {name: tags[name] for name in names} == {name: TAGS[name] for name in names}
    assert tags["comment"] == "A description"


def test_other_words_in_the_file_leave_the_rest_as_it_was(recorded: Program) -> None:
    before, packets = said(file_of(recorded)), sound.packets(file_of(recorded))

    recorded("edit", "last", "-t", "Another title", "--tag", "new")
    first = file_of(recorded).read_bytes()
    after = said(file_of(recorded))
    recorded("edit", "last", "-t", "And another")
    recorded("edit", "last", "-t", "Another title")

    assert {**before, "title": "Another title", "keywords": "new"} == after
    assert chapters_of(file_of(recorded)) == near(CHAPTERS)
    assert sound.packets(file_of(recorded)) == packets
    assert file_of(recorded).read_bytes() == first


def test_the_same_import_gives_the_same_bytes(recorded: Program, full: Path, tmp_path: Path) -> None:
    again = recorded.on(tmp_path / "again")
    again("record", full)
    files = [file_of(program).read_bytes() for program in (recorded, again)]
    ids = [program("list").out[:8].encode() for program in (recorded, again)]

    assert files[0].replace(ids[0], ids[1]) == files[1]


def test_a_fetched_memo_has_its_chapters(recorded: Program, tmp_path: Path) -> None:
    theirs = recorded.on(tmp_path / "Theirs")
    theirs("fetch", recorded("share", "last").out.strip())

    assert file_of(theirs).read_bytes() == file_of(recorded).read_bytes()
    assert shown(theirs)["chapters"] == shown(recorded)["chapters"] != []

    theirs("edit", "last", "-t", "Mine")
    theirs("export", "last", "-o", tmp_path / "mine.webm")

    assert chapters_of(tmp_path / "mine.webm") == near(CHAPTERS)
    assert said(tmp_path / "mine.webm")["title"] == "Mine"


def test_a_recording_whose_process_died_keeps_its_chapters(memosync: Program, plain: Path, tmp_path: Path) -> None:
    part = memosync.library / ".memosync/recording/00000001.webm.part"
    part.parent.mkdir(parents=True)
    live = tagged(plain, tmp_path / "live.webm", "-c:a", "libopus", *LIVE)
    part.write_bytes(live.read_bytes()[:-9_000])

    length = json.loads(memosync("list", "--json").out)["duration"]
    found = chapters_of(file_of(memosync))

    assert 2.345 < length < 3.9
    assert found == [*near(CHAPTERS)[:2], (pytest.approx(2.345), pytest.approx(length, abs=0.1), "End")]
    assert said(file_of(memosync))["artist"] == TAGS["artist"]


@pytest.mark.parametrize("kind", ["webm", "mp3", "m4a"])
def test_chapters_after_the_end_are_cut(memosync: Program, plain: Path, tmp_path: Path, kind: str) -> None:
    source = tagged(plain, tmp_path / f"in.{kind}", *CONTAINERS[kind].split())

    memosync("record", source, "--max", "1.5")
    memosync("export", "last", "-o", tmp_path / "out.mp3")

    for path in (file_of(memosync), tmp_path / "out.mp3"):
        assert chapters_of(path) == near([(0, 1, "Intro"), (1, 1.5, CHAPTERS[1][2])])
    assert [path.name for path in (memosync.library / ".memosync/recording").iterdir()] == []


def test_chapters_of_a_damaged_file_end_where_it_does(memosync: Program, plain: Path, tmp_path: Path) -> None:
    source = tagged(plain, tmp_path / "in.mp3", *CONTAINERS["mp3"].split())
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])

    memosync("record", source)
    length = json.loads(memosync("list", "--json").out)["duration"]

    assert 1 < length < 2.345
    assert chapters_of(file_of(memosync)) == near([(0, 1, "Intro"), (1, length, CHAPTERS[1][2])])


@pytest.mark.parametrize("codec", ["libopus", "aac"])
def test_chapters_move_with_sound_that_begins_late(memosync: Program, plain: Path, tmp_path: Path, codec: str) -> None:
    late = tmp_path / "late.mka"
    options = ["-itsoffset", "0.75", "-i", str(plain), "-c:a", codec]
    subprocess.run(["ffmpeg", "-v", "error", *options, tmp_path / "first.mka"], check=True)
    marks = [(0.0, 0.5, "before"), (0.5, 1.75, "over it"), (1.75, 4.75, "in it")]
    tagged(tmp_path / "first.mka", late, "-c", "copy", "-copyts", chapters=marks)
    assert float(sound.probe(late)["stream"]["start_time"]) == pytest.approx(0.75, abs=0.05)

    memosync("record", late)

    assert float(sound.probe(file_of(memosync))["stream"]["start_time"]) == pytest.approx(0, abs=0.01)
    assert [(round(start, 1), title) for start, _, title in chapters_of(file_of(memosync))] == [
        (0, "over it"),
        (1.0, "in it"),
    ]


@pytest.mark.parametrize("jump", [4_000, *more(300, 0)])  # of a clock, in ms, after two seconds
def test_chapters_stay_with_what_was_said_where_the_clock_jumps(memosync: Program, tmp_path: Path, jump: int) -> None:
    opus = tmp_path / "opus.webm"
    opus.write_bytes(matroska.webm(matroska.packets(), lambda i: i * 20 + 7_000 + (jump if i >= 100 else 0)))
    marks: Chapters = [
        (at, at + 0.2, f"{heard}") for heard in (0.5, 1.5, 2.5, 3.5) if (at := 7 + heard + (heard > 2) * jump / 1_000)
    ]
    source = tagged(opus, tmp_path / "source.webm", "-c", "copy", "-copyts", chapters=marks)

    memosync("record", source)
    piped, theirs = memosync.on(tmp_path / "piped"), memosync.on(tmp_path / "Theirs")
    piped("record", "-", stdin=source.read_bytes())
    theirs.library.mkdir()
    shutil.copy(source, theirs.library / "2026-08-25-odd-abcdefgh.webm")  # adopted as it is

    for form in ("webm", "ogg"):
        theirs("export", "last", "-o", tmp_path / f"out.{form}")
    assert [round(chapter["start"], 1) for chapter in shown(theirs)["chapters"]] == [0.5, 1.5, 2.5, 3.5]
    for path in (file_of(memosync), file_of(piped), tmp_path / "out.webm", tmp_path / "out.ogg"):
        assert [(round(start, 1), title) for start, _, title in chapters_of(path)] == [
            (heard, f"{heard}") for heard in (0.5, 1.5, 2.5, 3.5)
        ], path


def test_a_comment_that_is_the_description_stands_there_once(memosync: Program, plain: Path, tmp_path: Path) -> None:
    for number, tags in enumerate([{"comment": "Said"}, {"comment": "Said", "description": "Said"}]):
        memosync("record", "--again", tagged(plain, tmp_path / f"{number}.mka", "-c:a", "aac", tags=tags))

        assert "comment" not in said(file_of(memosync))
        assert said(file_of(memosync))["description"] == "Said"
        assert "comment" not in shown(memosync)["carried"]

    memosync("record", "--again", tmp_path / "0.mka", "-d", "Mine")

    assert (said(file_of(memosync))["description"], said(file_of(memosync)).get("comment")) == ("Mine", None)

    both = tagged(plain, tmp_path / "both.mka", "-c:a", "aac", tags={"comment": "Said", "description": "Described"})
    memosync("record", "--again", both, "-d", "Mine")

    assert (said(file_of(memosync))["description"], said(file_of(memosync))["comment"]) == ("Mine", "Said")

    memosync("edit", "last", "-d", "")
    memosync("share", "last", "--no-seed")

    assert shown(memosync)["description"] == ""
    assert "comment" not in said(file_of(memosync))


def test_of_a_strangers_chapters_only_so_many_are_taken_and_cleaned(
    memosync: Program, plain: Path, tmp_path: Path
) -> None:
    many: Chapters = [(number / 400, (number + 1) / 400, "x\x1b[31m\u202e" + "é" * 600) for number in range(1500)]
    memosync("record", tagged(plain, tmp_path / "in.mka", "-c:a", "aac", chapters=many))
    found = shown(memosync)["chapters"]

    assert len(found) == 1000
    assert {chapter["title"] for chapter in found} == {"x [31m " + "é" * 493}
    for form in ("ogg", "mp3"):
        memosync("export", "last", "-o", tmp_path / f"out.{form}")

        assert len(chapters_of(tmp_path / f"out.{form}")) == (1000 if form == "ogg" else 255)


@pytest.mark.parametrize("form", ["webm", "ogg", "mp3"])
def test_a_chapter_without_a_title_stays_without_one(memosync: Program, plain: Path, tmp_path: Path, form: str) -> None:
    marks: Chapters = [(0, 1, ""), (1, 4, "")]
    memosync("record", tagged(plain, tmp_path / "in.mka", "-c:a", "aac", chapters=marks))
    memosync("export", "last", "-o", tmp_path / f"out.{form}")
    memosync("record", "--again", tmp_path / f"out.{form}")

    assert chapters_of(file_of(memosync)) == near(marks)


def test_chapters_that_overlap_stand_twice_or_end_before_they_begin_are_mended(
    memosync: Program, plain: Path, tmp_path: Path
) -> None:
    marks: Chapters = [(2, 4, "two"), (0, 3, "one"), (0, 1, "again"), (3, 3, "three"), (9, 12, "never")]
    memosync("record", tagged(plain, tmp_path / "in.mp3", *CONTAINERS["mp3"].split(), chapters=marks))

    assert [chapter["title"] for chapter in shown(memosync)["chapters"]] == ["one", "two", "three"]
    ((*_, last),) = [[start, end] for start, end, title in chapters_of(file_of(memosync)) if title == "three"]
    assert last == pytest.approx(4, abs=0.1)


def test_a_person_sees_chapters_and_tags(recorded: Program) -> None:
    terminal = Terminal([*PROGRAM, "show", "last"], recorded.environment)
    terminal.end()
    terminal.close()
    lines = [line.rstrip() for line in re.sub(r"\x1b\[K|\r", "", terminal.wrote).splitlines()]

    at = lines.index("chapters     00:00  Intro")
    assert lines[at + 1 : at + 3] == [" " * 13 + "00:01  Zwei = drei; #4 ü", " " * 13 + "00:02  End"]
    assert {"artist       Ä. Person", "album artist Everybody", "comment      A comment"} <= set(lines)


def test_mpv_finds_the_chapters(recorded: Program) -> None:
    command: list[str | Path] = ["mpv", "--no-config", "--ao=null", "--length=0.1", "--msg-level=all=no"]
    command += ["--term-playing-msg=chapters=${chapters}", "--msg-level=term-msg=info", file_of(recorded)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert "chapters=3" in done.stdout


def test_a_memo_without_anything_is_the_same_as_ever(memosync: Program, plain: Path, tmp_path: Path) -> None:
    memosync("record", plain, "-t", "T", "-d", "D")
    data = file_of(memosync).read_bytes()

    assert b"\x10\x43\xa7\x70" not in data  # no Chapters (RFC 9559, 5.1.7)
    assert set(said(file_of(memosync))) == {
        *("title", "encoder", "description", "date_recorded", "memosync_id", "duration")
    }


def shown(program: Program) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(program("show", "last", "--json").out)
    return found


def test_where_a_telephone_was_goes_to_nobody(memosync: Program, plain: Path, tmp_path: Path) -> None:
    place = {"location": "+48.2082+016.3738/", "artist": "Me"}
    phone = tagged(plain, tmp_path / "phone.opus", "-c:a", "libopus", tags=place)
    film = tagged(plain, tmp_path / "phone.mov", "-c:a", "aac", "-movflags", "use_metadata_tags", tags=place)
    assert b"+48.2082" in phone.read_bytes()
    assert b"+48.2082" in film.read_bytes()

    memosync("record", phone, film)

    for memo in memosync.library.glob("*.webm"):
        assert b"+48.2082" not in memo.read_bytes()
        assert b"Me" in memo.read_bytes()
