"""show: all that is known of a memo, and levels that are found out once, whatever happens to their cache."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support import sound
from support.program import PROGRAM, Program
from support.sound import convert, noise, tone, wav
from support.terminal import Terminal
from support.waiting import wait_until

from memosync.audio.loudness import Levels, loads, measure
from memosync.errors import AudioError, LibraryError, NotFoundError

NAMES = [
    *("id", "file", "title", "description", "tags", "recorded", "duration", "size", "infohash", "shared"),
    *("sealed", "private", "renewals", "fetched", "trackers", "typed", "trashed", "path", "link", "public_link"),
    *("state", "peers", "given", "addresses", "loudness", "peak"),
    *("chapters", "carried", "awaited"),
]


@pytest.fixture(scope="module")
def minutes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quiet tone of a minute and a half, in Opus already."""
    source = tmp_path_factory.mktemp("minutes") / "tone.wav"
    source.write_bytes(wav(tone(90, rate=8_000), rate=8_000))
    quick = ("-c:a", "libopus", "-compression_level", "0", "-af", "volume=-12dB")
    return convert(source, source.with_name("A tone.webm"), *quick)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody who speaks on one side, and is louder towards the end."""
    spoken = tmp_path_factory.mktemp("speech") / "spoken.wav"
    subprocess.run(["espeak-ng", "-w", spoken, "Remember to call the plumber. The budget is ready."], check=True)
    effect = "pan=stereo|c0=c0|c1=0.3*c0,volume=if(lt(t\\,1)\\,0.3\\,1):eval=frame"
    return convert(spoken, spoken.with_name("speech.wav"), "-ar", "48000", "-af", effect)


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    source = tmp_path / "Spoken.wav"
    source.write_bytes(wav(tone(2.25)))
    return source


def shown(memosync: Program, *arguments: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(memosync("show", *arguments, "--json", code=code).out)
    return found


def cache(memosync: Program) -> Path:
    """Give the only file in the cache."""
    (path,) = (memosync.library / ".memosync/cache").iterdir()
    return path


def test_show_in_a_pipe_is_a_line_for_each_key_of_its_json(memosync: Program, spoken: Path) -> None:
    memosync("record", spoken, "-t", "A title", "-d", "one\ntwo\tthree", "--tag", "work", "--tag", "home")
    rows = [line.split("\t") for line in memosync("show", "last").lines]
    found = shown(memosync, "last")
    values = dict(rows)

    assert NAMES == list(found) == [name for name, *_ in rows]
    assert {2} == {len(row) for row in rows}
    assert ["A title", "one two three", "work,home"] == [values[name] for name in ("title", "description", "tags")]
    assert [f"{found['duration']:.3f}", str(found["size"])] == [values["duration"], values["size"]]
    assert ["false", "", "", "", ""] == [values[name] for name in ("shared", "link", "state", "peers", "addresses")]
    assert [found["loudness"], found["peak"]] == [float(values["loudness"]), float(values["peak"])]


def test_path_is_all_that_path_prints(memosync: Program, spoken: Path) -> None:
    memo_id = memosync("record", spoken).out.strip()
    result = memosync("show", memo_id[:3], "--path")

    assert (str(next(memosync.library.glob("*.webm"))) + "\n", "") == (result.out, result.err)


def test_path_and_json_exclude_each_other(memosync: Program, spoken: Path) -> None:
    memosync("record", spoken)

    assert "exclude" in memosync("show", "last", "--path", "--json", code=2).err


def test_no_memo_is_shown_for_an_id_that_is_not_there(memosync: Program) -> None:
    assert "" == memosync("show", "last", code=NotFoundError.exit_code).out


@pytest.mark.parametrize("kind", ["mono", "stereo", "opus", "pipe"])
def test_whoever_has_a_memo_sees_the_same_figures(memosync: Program, speech: Path, kind: str, tmp_path: Path) -> None:
    if kind == "pipe":
        memosync("record", "-", stdin=speech.read_bytes())
    elif kind == "opus":
        memosync("record", convert(speech, tmp_path / "speech.opus", "-c:a", "libopus"))
    else:
        memosync("record", speech, *(["--stereo"] if kind == "stereo" else []))
    theirs = memosync.on(tmp_path / "Theirs")
    theirs("fetch", memosync("share", "last").out.strip())
    first = shown(memosync, "last")
    again = shown(memosync, "last")  # from the cache
    cache(memosync).unlink()
    anew, fetched = shown(memosync, "last"), shown(theirs, "last")

    loudness, peak = sound.loudness(Path(first["path"])), sound.peak(Path(first["path"]))
    for found in (first, again, anew, fetched):
        assert found["loudness"] == pytest.approx(loudness, abs=0.1)
        assert found["peak"] == pytest.approx(peak, abs=0.1)


@pytest.mark.parametrize("seconds", [0.03, 0.08, 0.35])
def test_a_memo_too_short_to_have_a_loudness_is_shown_all_the_same(
    memosync: Program, tmp_path: Path, seconds: float
) -> None:
    short = tmp_path / "short.wav"
    short.write_bytes(wav(tone(seconds)))
    memosync("record", short)
    memosync("record", convert(short, tmp_path / "short.opus", "-c:a", "libopus"))

    for memo in memosync("list").lines:
        found = shown(memosync, memo.split("\t")[0])
        assert found["loudness"] is None
        assert found["peak"] is not None


def test_an_import_is_measured_when_it_is_first_shown(memosync: Program, spoken: Path, minutes: Path) -> None:
    for source in (spoken, minutes):
        memosync("record", source)
        before = (memosync.library / ".memosync/cache").exists()
        found = shown(memosync, "last")
        kept = loads(cache(memosync).read_bytes())
        cache(memosync).unlink()
        (memosync.library / ".memosync/cache").rmdir()

        assert not before
        assert kept == measure(Path(found["path"]))
        assert [found["loudness"], found["peak"]] == pytest.approx([kept.loudness, kept.peak], abs=0.005)


def test_what_an_older_version_kept_is_measured_anew(memosync: Program, spoken: Path) -> None:
    memosync("record", spoken)
    before = shown(memosync, "last")
    kept = cache(memosync).read_bytes()
    other = Levels(loudness=-1.0, peak=-1.0, wave=b"").dumps()
    cache(memosync).write_bytes(b"memosync levels 1" + other[len(b"memosync levels 1") :])

    assert before == shown(memosync, "last")
    assert kept == cache(memosync).read_bytes()


def test_what_was_listened_to_once_is_not_again(memosync: Program, minutes: Path) -> None:
    memosync("record", minutes)
    first = shown(memosync, "last")
    Path(first["path"]).write_bytes(bytes(first["size"]))

    assert first == shown(memosync, "last")


@pytest.mark.parametrize("harm", ["gone", "empty", "cut", "garbage", "a directory", "closed"])
def test_a_broken_cache_is_no_error(memosync: Program, spoken: Path, harm: str) -> None:
    memosync("record", spoken)
    before, path = shown(memosync, "last"), cache(memosync)
    kept = path.read_bytes()
    if harm in ("gone", "a directory", "closed"):
        path.unlink()
    if harm == "a directory":
        path.mkdir()
    elif harm == "closed":
        path.parent.rmdir()
        path.parent.write_bytes(b"")
    elif harm != "gone":
        path.write_bytes({"empty": b"", "cut": kept[:-1], "garbage": bytes(len(kept))}[harm])
    result = memosync("show", "last", "--json")

    assert "" == result.err
    assert before["loudness"] == pytest.approx(json.loads(result.out)["loudness"], abs=0.2)
    assert (path.is_file() and len(path.read_bytes()) == pytest.approx(len(kept), abs=1)) == (
        harm not in ("a directory", "closed")
    )


def test_a_recovered_recording_is_listened_to_when_it_is_shown(memosync: Program, minutes: Path) -> None:
    part = memosync.library / ".memosync/recording/00000001.webm.part"
    part.parent.mkdir(parents=True)
    shutil.copyfile(minutes, part)

    assert -60 < shown(memosync, "00000001")["loudness"] < -10


def test_silence_has_no_loudness_and_no_peak(memosync: Program, tmp_path: Path) -> None:
    silence = tmp_path / "silence.wav"
    silence.write_bytes(wav(bytes(96_000)))
    memosync("record", silence)
    found = shown(memosync, "last")

    assert [None, None] == [found["loudness"], found["peak"]]


def test_a_memo_whose_file_is_gone_is_shown_with_a_warning(memosync: Program, minutes: Path) -> None:
    memosync("record", minutes)
    path = Path(memosync("show", "last", "--path").out.strip())
    os.truncate(path, path.stat().st_size - 1)
    assert "warning: its file is not what the index says; " in memosync.run("show", "last").err
    shutil.rmtree(memosync.library / ".memosync/cache")
    path.unlink()
    result = memosync("show", "last", "--json", code=LibraryError.exit_code)

    assert ["A tone", None] == [json.loads(result.out)[name] for name in ("title", "loudness")]
    assert "warning: its file is gone; " in result.err
    assert "hint: memosync check says " in result.err
    assert "" == memosync("show", "last", "--path", code=LibraryError.exit_code).out


def test_a_memo_that_cannot_be_heard_is_shown_all_the_same(memosync: Program, minutes: Path) -> None:
    memosync("record", minutes)
    path = Path(memosync("show", "last", "--path").out.strip())
    path.write_bytes(bytes(path.stat().st_size))
    result = memosync("show", "last", "--json", code=AudioError.exit_code)

    assert ["A tone", None, None] == [json.loads(result.out)[name] for name in ("title", "loudness", "peak")]
    assert "“A tone”: not audio" in result.err


def test_a_memo_in_the_trash_is_shown_and_a_purged_one_leaves_nothing(memosync: Program, spoken: Path) -> None:
    memo_id = memosync("record", spoken).out.strip()
    memosync("rm", memo_id)
    found, kept = shown(memosync, memo_id), cache(memosync)
    memosync("rm", "--purge", "--force", memo_id)

    assert found["trashed"]
    assert Path(found["path"]).parent == memosync.library / ".memosync/trash"
    assert not kept.exists()


def test_show_says_to_whom_a_memo_is_served(memosync: Program, tmp_path: Path) -> None:
    other = memosync.on(tmp_path / "Theirs")
    memosync("record", noise(tmp_path / "noise.webm", 4, "-c:a", "libopus", "-b:a", "128k"))
    memosync("seed", "--detach", "--up", "8k")
    link = memosync("share", "last").out.strip()
    fetching = other.start("fetch", link)
    found: dict[str, Any] = {}

    def is_named() -> bool:
        found.update(shown(memosync, "last"))
        return bool(found["addresses"] and found["peers"])

    wait_until(is_named, "the peer to be named and counted", 20)
    fetching.wait(60)

    assert ["seeding", 1, link] == [found["state"], found["peers"], found["link"]]
    assert re.fullmatch(r"127\.0\.0\.1:\d+", found["addresses"][0])
    wait_until(lambda: not shown(memosync, "last")["addresses"], "the peer that left to be named no more", 20)
    memosync("share", "--stop", "last")
    assert [None, None, None, []] == [
        shown(memosync, "last")[name] for name in ("state", "peers", "given", "addresses")
    ]


@pytest.mark.parametrize("columns", [40, 100])
def test_a_person_sees_the_fields_and_a_waveform_as_wide_as_the_terminal(
    memosync: Program, minutes: Path, columns: int
) -> None:
    memosync("record", minutes, "-d", "one\ntwo", "--tag", "work")
    terminal = Terminal([*PROGRAM, "show", "last"], memosync.environment, columns)
    terminal.end()
    lines = [line.rstrip() for line in re.sub(r"\x1b\[K|\r", "", terminal.wrote).splitlines()]
    terminal.close()

    assert {
        "title        A tone",
        "description  one",
        " " * 13 + "two",
        "tags         work",
        "duration     01:30",
    } <= set(lines)
    assert [True] == [bool(re.fullmatch(r"loudness     -\d\d\.\d LUFS", line)) for line in lines if "LUFS" in line]
    assert [True] == [bool(re.fullmatch(r"peak         -\d\d\.\d dBFS", line)) for line in lines if "dBFS" in line]
    assert "state        not served" in lines
    assert ["█" * columns] == lines[-1:]


def test_a_bar_is_drawn_while_a_memo_is_listened_to_and_is_gone_then(memosync: Program, minutes: Path) -> None:
    memosync("record", minutes)
    terminal = Terminal([*PROGRAM, "show", "last"], memosync.environment)
    screen = terminal.end()
    again = Terminal([*PROGRAM, "show", "last"], memosync.environment)
    again.end()
    for each in (terminal, again):
        each.close()

    assert re.search(r"67%  █{13}░{7}  listening to it", terminal.wrote)
    assert "listening" not in screen
    assert "listening" not in again.wrote
