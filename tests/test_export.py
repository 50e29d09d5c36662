"""Export into files and streams: the same sound with today's words, whole or not at all, for whoever reads it."""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support import sound
from support.disk import SmallDisk
from support.library import only
from support.program import PROGRAM, Program
from support.terminal import Terminal
from support.waiting import wait_until

from memosync import index
from memosync.audio import webm
from memosync.audio.exporting import convert
from memosync.errors import Interrupted, LibraryError, NotFoundError, UsageError
from memosync.memo import Words

FORMATS = ["webm", "ogg", "wav", "flac", "mp3"]
TITLE, DESCRIPTION, TAGS = "Über: “alles”", "one\ntwo", ("work", "größe")
WORDS = ["-t", TITLE, "-d", DESCRIPTION, "--tag", TAGS[0], "--tag", TAGS[1]]
DATE = "2019-03-04T05:06:07+02:00"
BROWSER_ID, VORBIS_ID = "7k3f9x2a", "7k3f9x2b"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of three: one of ours, and, as if fetched, one of a browser that gave no length, and one in Vorbis."""
    folder = tmp_path_factory.mktemp("template")
    program = Program(folder / "Memos", {"HOME": str(folder)})
    plain = folder / "plain.wav"
    plain.write_bytes(sound.wav(sound.tone(2.5)))
    program.library.mkdir()
    for memo, options in ((BROWSER_ID, "-c:a libopus -frame_duration 60"), (VORBIS_ID, "-c:a libvorbis -ac 2")):
        words = f"-metadata title={memo} -metadata DATE_RECORDED={DATE} -metadata MEMOSYNC_ID={memo}"
        path = program.library / f"2019-03-04-x-{memo}.webm"  # into a pipe FFmpeg writes neither length nor cues
        command = f"ffmpeg -v error -i {plain} {options} {words} -f webm - > {path}"
        subprocess.run(command, shell=True, check=True)
    dated = sound.convert(plain, folder / "dated.flac", "-metadata", f"date={DATE}")
    program("record", dated, *WORDS)
    return program.library


@pytest.fixture
def full(memosync: Program, template: Path) -> Program:
    """The program on a copy of that library."""
    shutil.copytree(template, memosync.library)
    return memosync


@pytest.fixture(scope="module")
def long_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with a memo of ten minutes."""
    folder = tmp_path_factory.mktemp("long")
    minute = folder / "minute.wav"
    minute.write_bytes(sound.wav(sound.tone(10)))
    packets = sound.convert(minute, folder / "minute.webm", "-c:a", "libopus")
    command = ["ffmpeg", "-v", "error", "-stream_loop", "-1", "-i", str(packets), "-t", "600", "-c", "copy"]
    subprocess.run([*command, folder / "long.webm"], check=True)
    program = Program(folder / "Memos", {"HOME": str(folder)})
    program("record", folder / "long.webm")
    return program.library


def file_of(program: Program, memo: str = "über-alles-*") -> Path:
    """Give a memo's file in the library, that of ours unless another is asked for."""
    (path,) = program.library.glob(f"*-{memo}.webm")
    return path


def several(program: Program, folder: Path, titles: list[str]) -> list[str]:
    """Record memos of half a second, with these titles in the index."""
    (folder / "plain.wav").write_bytes(sound.wav(sound.tone(0.5)))
    ids = program("record", "--again", *[folder / "plain.wav"] * len(titles)).lines
    known = index.loads((program.library / "index.toml").read_text())
    named = dict(zip(ids, titles, strict=True))
    memos = tuple(replace(memo, title=named.get(memo.id, memo.title)) for memo in known.memos)
    (program.library / "index.toml").write_text(index.dumps(replace(known, memos=memos)))
    return ids


def said(path: Path) -> dict[str, str]:
    """Give the tags of a file, in lower case, wherever the format has them."""
    found = sound.probe(path)
    return {**{name.lower(): value for name, value in found["stream"].get("tags", {}).items()}, **found["tags"]}


def piped(program: Program, arguments: str, reader: str) -> subprocess.CompletedProcess[str]:
    """Lead an export into a line of the shell, and end as the first of them that fails."""
    line = f'set -o pipefail; "$@" export {arguments} | {reader}'
    return subprocess.run(
        ["bash", "-c", line, "sh", *PROGRAM], env=program.environment, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_has_all_of_the_sound_and_the_words(full: Program, tmp_path: Path, form: str) -> None:
    target = tmp_path / f"out.{form}"

    answer = full("export", "last", "-o", target)
    tags = said(target)
    length, pitch = sound.hear(target)

    assert answer.lines == [str(target)]
    assert answer.err == ""
    assert length == 2.5  # to the sample: nothing more at an end
    assert pitch == pytest.approx(440, abs=1)
    assert float(sound.probe(target)["duration"]) == pytest.approx(2.5, abs=0.06)
    assert tags["title"] == TITLE
    assert (tags.get("comment") or tags["description"]) == DESCRIPTION
    assert (tags["ikey"].split("; ") if form == "wav" else tags["keywords"].split(",")) == list(TAGS)
    assert (tags.get("date_recorded") or tags["date"]) == DATE
    assert form != "mp3" or tags["date"] == "2019-03-04T03:06:07"  # ID3 says UTC


@pytest.mark.parametrize("form", ["ogg", "wav", "flac", "mp3"])
def test_what_was_exported_can_be_recorded_again(full: Program, tmp_path: Path, form: str) -> None:
    full("export", "last", "-o", tmp_path / f"again.{form}")
    other = full.on(tmp_path / "other")

    other("record", tmp_path / f"again.{form}")
    row = only(other)

    assert (row["title"], row["description"], row["recorded"]) == (TITLE, DESCRIPTION, DATE)
    assert row["tags"] == list(TAGS)


@pytest.mark.parametrize(
    ("form", "reader"),
    [
        ("wav", "sox - -n stat"),
        ("wav", "aplay -q -D null"),
        ("flac", "sox - -n stat"),
        ("ogg", "ffmpeg -v error -i - -f null -"),
        ("mp3", "ffmpeg -v error -i - -f null -"),
        ("webm", "mpv --no-config --really-quiet --ao=pcm --ao-pcm-file=/dev/null -"),
    ],
)
def test_other_programs_read_it_from_a_pipe(full: Program, form: str, reader: str) -> None:
    done = piped(full, f"last -f {form}", reader)

    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "WARN" in line or "memosync" in line]
    assert "sox" not in reader or "Length (seconds):      2.500000" in done.stderr


@pytest.mark.parametrize(
    ("form", "memo"), [*((form, BROWSER_ID) for form in FORMATS), ("ogg", VORBIS_ID), ("wav", VORBIS_ID)]
)
def test_a_strangers_memo_is_whole_in_every_format(full: Program, tmp_path: Path, form: str, memo: str) -> None:
    before = file_of(full, memo).read_bytes()
    target, streamed = tmp_path / f"out.{form}", tmp_path / f"streamed.{form}"

    full("export", memo, "-o", target)
    piped(full, f"{memo} -f {form}", f"cat > {streamed}")

    codec = sound.probe(target)["stream"]["codec_name"]
    same = codec in ("opus", "vorbis")
    assert same == (form in ("webm", "ogg"))
    assert not same or sound.packets(target) == sound.packets(file_of(full, memo))
    for path in (target, streamed):
        assert sound.hear(path)[0] == pytest.approx(2.5, abs=0.05)
        assert said(path)["title"] == memo
    assert float(sound.probe(target)["duration"]) == pytest.approx(2.5, abs=0.07)  # which a browser leaves out
    assert file_of(full, memo).read_bytes() == before


def test_webm_is_the_file_byte_for_byte(full: Program, tmp_path: Path) -> None:
    full("export", "last", "-o", tmp_path / "copy.webm")
    streamed = piped(full, "last", f"cmp - '{file_of(full)}'")

    assert (tmp_path / "copy.webm").read_bytes() == file_of(full).read_bytes()
    assert (streamed.returncode, streamed.stdout) == (0, "")


def test_ogg_has_the_same_packets(full: Program, tmp_path: Path) -> None:
    full("export", "last", "-o", tmp_path / "copy.opus")

    assert sound.probe(tmp_path / "copy.opus")["format_name"] == "ogg"
    assert sound.packets(tmp_path / "copy.opus") == sound.packets(file_of(full))


def test_opus_is_a_name_of_ogg(full: Program, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    answer = full("export", "last", "-f", "opus", "-o", tmp_path / "out")
    full("export", "last", "-f", "ogg", "-o", tmp_path / "out.ogg")

    assert Path(answer.out.strip()).name == "Über- “alles”.opus"
    assert Path(answer.out.strip()).read_bytes() == (tmp_path / "out.ogg").read_bytes()


@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("channels", [1, 2])
def test_opus_without_its_header_gets_one_in_ogg(memosync: Program, tmp_path: Path, delay: bool, channels: int) -> None:
    """Some recorders leave CodecPrivate out, and CodecDelay with it (RFC 9559, 5.1.4.1.22 and 5.1.4.1.28)."""
    (tmp_path / "plain.wav").write_bytes(sound.wav(sound.tone(1, channels=channels), channels=channels))
    whole = sound.convert(tmp_path / "plain.wav", tmp_path / "whole.webm", "-c:a", "libopus").read_bytes()
    void = lambda found: b"\xec" + bytes([0x80 + len(found[0]) - 2]) + bytes(len(found[0]) - 2)  # noqa: E731
    data, count = re.subn(rb"\x63\xa2\x93OpusHead.{11}", void, whole, flags=re.DOTALL)
    data = data if delay else re.sub(rb"\x56\xaa[\x83\x84].{3,4}?(?=\x56\xbb)", void, data, flags=re.DOTALL)
    assert count == 1
    memosync.library.mkdir()
    (memosync.library / f"2019-03-04-x-{BROWSER_ID}.webm").write_bytes(data)

    memosync("export", BROWSER_ID, "-o", tmp_path / "out.ogg")
    wrote = (tmp_path / "out.ogg").read_bytes()
    head = wrote[wrote.index(b"OpusHead") :][:19]

    assert sound.packets(tmp_path / "out.ogg") == sound.packets(tmp_path / "whole.webm")
    assert (head[8], head[9], head[18]) == (1, channels, 0)
    assert int.from_bytes(head[10:12], "little") == (312 if delay else 0)
    assert sound.hear(tmp_path / "out.ogg")[0] == pytest.approx(1 if delay else 1.02, abs=0.015)


@pytest.mark.parametrize("form", ["webm", "ogg"])
def test_words_edited_after_the_memo_was_shared_are_in_the_export(full: Program, tmp_path: Path, form: str) -> None:
    full("share", "last", "--no-seed")
    before = file_of(full).read_bytes()
    full("edit", "last", "-t", "Today's title", "--tag", "-work")

    full("export", "last", "-f", form, "-o", tmp_path / "out")

    assert said(tmp_path / "out")["title"] == "Today's title"
    assert said(tmp_path / "out")["keywords"] == "größe"
    assert sound.packets(tmp_path / "out") == sound.packets(file_of(full))
    assert file_of(full).read_bytes() == before


def test_stereo_stays_stereo(memosync: Program, tmp_path: Path) -> None:
    (tmp_path / "two.wav").write_bytes(sound.wav(sound.tone(1, channels=2), channels=2))
    memosync("record", tmp_path / "two.wav", "--stereo")

    for form in ("ogg", "wav", "mp3"):
        memosync("export", "last", "-o", tmp_path / f"out.{form}")

        assert sound.probe(tmp_path / f"out.{form}")["stream"]["channels"] == 2
    assert piped(memosync, "last -f wav", f"cmp - {tmp_path}/out.wav").returncode == 0


@pytest.mark.parametrize("form", FORMATS)
def test_a_reader_that_has_seen_enough_is_no_failure(full: Program, form: str) -> None:
    done = piped(full, f"last -f {form}", "head -c 100 | wc -c")

    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "100", "")


@pytest.mark.parametrize("form", ["wav", "ogg"])
def test_the_first_piece_is_enough_to_know_the_format_by(full: Program, form: str) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # where each write is seen as one
    with ours, theirs:
        process = full.start("export", "last", "-f", form, stdout=theirs)
        theirs.close()
        first = ours.recv(100_000)
        while ours.recv(100_000):
            pass

    assert process.wait(20) == 0
    assert len(first) >= 256  # what sox looks at, in one read


def test_a_terminal_gets_no_sound(full: Program) -> None:
    with_terminal = Terminal([*PROGRAM, "export", "last"], full.environment)
    with_terminal.end(UsageError.exit_code)
    with_terminal.close()

    assert "hint: give -o FILE" in with_terminal.wrote
    assert "webm" not in with_terminal.wrote


def test_a_file_that_exists_is_replaced_by_force_alone(full: Program, tmp_path: Path) -> None:
    target = tmp_path / "there.ogg"
    target.write_text("precious")
    link = tmp_path / "link.ogg"
    link.symlink_to(target)

    refused = full("export", "last", "-o", target, code=UsageError.exit_code)
    assert (target.read_text(), refused.out) == ("precious", "")
    assert "--force" in refused.err

    full("export", "last", "-o", link, "--force")
    assert sound.probe(target)["format_name"] == "ogg"
    assert link.is_symlink()


LINGERS = """
import io
import os
import time
def link(source, target, link=os.link):
    while not os.path.exists(target):
        time.sleep(0.01)
    link(source, target)
os.link = link
"""


def test_a_file_that_appears_meanwhile_is_not_replaced(full: Program, tmp_path: Path) -> None:
    target = tmp_path / "out" / "late.flac"
    target.parent.mkdir()
    full.meddle(LINGERS)
    process = full.start("export", "last", "-o", target)
    wait_until(lambda: list(target.parent.iterdir()), "it has begun")
    target.write_text("somebody else's")

    err = process.communicate(timeout=60)[1].decode()
    assert (process.returncode, target.read_text()) == (UsageError.exit_code, "somebody else's")
    assert "late.flac exists" in err
    assert list(target.parent.iterdir()) == [target]


def test_a_disk_without_hard_links_gets_files_too(full: Program, tmp_path: Path) -> None:
    fault = ["strace", "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", "trace=link,linkat"]
    command = [*fault, "-e", "inject=link,linkat:error=EPERM", *PROGRAM, "export", "last", "-o", f"{tmp_path}/x.wav"]
    done = subprocess.run(command, env=full.environment, capture_output=True, text=True, timeout=120)

    assert "INJECTED" in (tmp_path / "trace").read_text()
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/x.wav\n")
    assert sound.hear(tmp_path / "x.wav")[0] == 2.5


def test_a_dash_is_standard_output(full: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here := tmp_path / "here").mkdir()
    monkeypatch.chdir(here)
    command = [*PROGRAM, "export", "last", "-f", "wav", "-o"]

    dash = subprocess.run([*command, "-"], env=full.environment, capture_output=True, check=True).stdout
    plain = subprocess.run(command[:-1], env=full.environment, capture_output=True, check=True).stdout

    assert dash == plain
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["last", BROWSER_ID], "-o DIR/"),
        (["last", BROWSER_ID, "-o", "one.ogg"], "-o DIR/"),
        (["last", "-o", "memo.m4a"], "-f webm, ogg"),
        (["last", "-o", "memo.wav", "-f", "m4a"], "--help"),
        (["last", "-o", "nowhere/memo.wav"], "make it"),
        (["last", "-o", "plain.wav/"], "--force"),
        (["last", "-o", ""], "-o FILE"),
        (["last", "-o", "/dev/null", "--force"], "--force replaces a file"),
        ([], "--help"),
    ],
)
def test_wrong_usage_changes_nothing(
    full: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], hint: str
) -> None:
    (here := tmp_path / "here").mkdir()
    (here / "plain.wav").write_text("plain")
    monkeypatch.chdir(here)

    refused = full("export", *arguments, code=UsageError.exit_code)

    assert refused.out == ""
    assert [line.split(":")[1] for line in refused.err.splitlines()] == [" error", " hint"]
    assert hint in refused.err
    assert [path.name for path in here.iterdir()] == ["plain.wav"]
    assert (here / "plain.wav").read_text() == "plain"


def test_several_memos_get_readable_names_of_their_own(full: Program, tmp_path: Path) -> None:
    titles = ["Note", "note", "NOTE", "-rf / ..", "...", "a\u202e/../b\nc", "x" * 400]
    ids = several(full, tmp_path, titles)
    place = tmp_path / "new" / "stick"
    place.mkdir(parents=True)
    (place / "Note.ogg").write_text("precious")

    rows = full("list").lines  # of which the first field is the id
    answer = full("export", "-", "-f", "ogg", "-o", f"{place}/", stdin="\n".join([*ids, ids[0], rows[-1]]))
    names = [Path(line).name for line in answer.lines]

    assert names[:3] == ["Note 2.ogg", "note.ogg", "NOTE 3.ogg"]  # also where capitals make no difference
    assert names[3:7] == ["rf.ogg", f"{ids[4]}.ogg", "a--..-b-c.ogg", f"{'x' * 120}.ogg"]
    assert len(names) == len(ids) + 1
    assert {path.name for path in place.iterdir()} == {*names, "Note.ogg"}
    assert (place / "Note.ogg").read_text() == "precious"


def test_by_force_the_same_names_are_used_again(full: Program, tmp_path: Path) -> None:
    ids = several(full, tmp_path, ["Note", "Note"])

    first = full("export", *ids, "-o", f"{tmp_path}/out/", "-f", "wav").lines
    again = full("export", *ids, "-o", f"{tmp_path}/out", "-f", "wav", "--force").lines

    assert [Path(line).name for line in first] == ["Note.wav", "Note 2.wav"]
    assert again == first


def test_one_that_is_damaged_does_not_stop_the_others(full: Program, tmp_path: Path) -> None:
    ids = several(full, tmp_path, ["garbage", "cut", "altered", "gone", "sound"])
    garbage, cut, altered, gone, _ = (file_of(full, memo) for memo in ids)
    full("share", ids[2], "--no-seed")
    garbage.write_bytes(random.Random(1).randbytes(garbage.stat().st_size))
    os.truncate(cut, 3000)
    data = bytearray(altered.read_bytes())
    data[-500] ^= 1
    altered.write_bytes(data)
    gone.unlink()

    for form in ("webm", "wav"):
        done = full("export", *ids, "-f", form, "-o", f"{tmp_path}/{form}/", code=LibraryError.exit_code)

        errors = [line for line in done.err.splitlines() if line.startswith("memosync: error: ")]
        assert [line.split(": ")[2].split()[0] for line in errors] == ids[:4], done.err
        assert [line.endswith(" is gone") for line in errors] == [False, False, False, True]
        assert done.lines == [f"{tmp_path}/{form}/sound.{form}"]
        assert [path.name for path in (tmp_path / form).iterdir()] == [f"sound.{form}"]


def test_a_memo_that_is_not_there_stops_it_before_anything_is_written(full: Program, tmp_path: Path) -> None:
    full("export", "last", "zzzzzzzz", "-o", f"{tmp_path}/out/", code=NotFoundError.exit_code)

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing_behind(
    memosync: Program, long_template: Path, tmp_path: Path, number: signal.Signals
) -> None:
    (place := tmp_path / "out").mkdir()
    (place / "old.mp3").write_text("old")
    process = memosync.on(long_template).start("export", "last", "-o", place / "old.mp3", "--force")
    wait_until(lambda: any(path.stat().st_size > 1000 for path in place.glob(".*")), "it is being written")
    process.send_signal(number)

    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (Interrupted(number).exit_code, b"", b"")
    assert [path.name for path in place.iterdir()] == ["old.mp3"]
    assert (place / "old.mp3").read_text() == "old"


@pytest.mark.parametrize("form", ["wav", "ogg"])
def test_a_reader_that_sleeps_does_not_keep_it_from_ending(memosync: Program, long_template: Path, form: str) -> None:
    process = memosync.on(long_template).start("export", "last", "-f", form)
    assert process.stdout
    process.stdout.read(1)
    process.send_signal(signal.SIGTERM)

    assert process.wait(20) == Interrupted(signal.SIGTERM).exit_code


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "small", 2_000_000)
    yield disk
    disk.close()


@pytest.mark.parametrize("form", ["wav", "webm", "flac"])
def test_a_full_disk_gets_no_part_of_a_file(full: Program, small: SmallDisk, tmp_path: Path, form: str) -> None:
    small.fill(room=8_000)
    command = [*small.under, *PROGRAM, "export", "last", "-o", f"{tmp_path}/small/out.{form}"]
    done = subprocess.run(command, env=full.environment, capture_output=True, text=True, timeout=120)

    assert (done.returncode, done.stdout) == (LibraryError.exit_code, "")
    assert "no space left" in done.stderr
    assert "hint: make room" in done.stderr
    assert [path.name for path in small.seen.iterdir()] == ["filler"]


def test_a_full_disk_behind_standard_output_is_told(full: Program) -> None:
    with open("/dev/full", "wb") as device:
        process = full.start("export", "last", "-f", "wav", stdout=device)
        err = process.communicate(timeout=30)[1].decode()

    assert process.returncode == LibraryError.exit_code
    assert "no space left" in err


def test_a_terminal_shows_how_far_it_is_and_then_the_name(
    memosync: Program, long_template: Path, tmp_path: Path
) -> None:
    memosync.environment["MEMOSYNC_LIBRARY"] = str(long_template)
    window = Terminal([*PROGRAM, "export", "last", "-o", "out.wav"], memosync.environment, cwd=tmp_path)
    window.end()
    window.close()

    assert "%  long" in window.wrote
    assert window.screen.lines[0] == "out.wav"


@pytest.mark.parametrize("words", [None, Words("Another")], ids=["copied", "made anew"])
def test_of_a_webm_file_it_is_told_how_far_it_is(memosync: Program, tmp_path: Path, words: Words | None) -> None:
    loud = ("-ac", "2", "-c:a", "libopus", "-b:a", "512k", "-vbr", "off", "-compression_level", "0")
    memosync("record", sound.noise(tmp_path / "loud.webm", 16, *loud), "-t", "Loud")
    path, out, told = Path(only(memosync)["path"]), io.BytesIO(), list[float]()

    convert(path, out, "webm", words or webm.read_words(path), on_progress=told.append)

    assert told == sorted(told)
    assert len({round(fraction, 1) for fraction in told if 0 < fraction < 1}) >= 3
    assert (out.getvalue() == path.read_bytes()) == (words is None)


@pytest.mark.parametrize("place", ["-o out.mp3", "-f mp3 >out.mp3"])
def test_a_terminal_shows_how_long_it_will_take(
    memosync: Program, long_template: Path, tmp_path: Path, place: str
) -> None:
    memosync.environment["MEMOSYNC_LIBRARY"] = str(long_template)
    shell = ["sh", "-c", f"exec {' '.join(PROGRAM)} export last {place}"]
    window = Terminal(shell, memosync.environment, 40, cwd=tmp_path)
    window.wait_for(lambda screen: re.search(r"^ *\d+%  long  (\d+ s|\d min) left$", screen.lines[0]), "a time")
    began = window.wrote
    window.type("\x03")
    window.end(Interrupted(signal.SIGINT).exit_code)
    window.close()

    assert re.search(r"\d%  long\r", began)  # at first there is none
