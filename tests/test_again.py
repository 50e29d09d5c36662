"""Record a file whose sound is here already: it is said so, and never when it is not true."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from support import ogg, sound
from support.library import memos, only
from support.program import PROGRAM, Program

from memosync.errors import UsageError


@pytest.fixture
def speech(memosync: Program, tmp_path: Path) -> Path:
    """Three seconds of sound that are a memo already, as a WAV."""
    path = sound.noise(tmp_path / "speech.wav", 3)
    memosync("record", path, "-t", "Standup")
    return path


def wav(_memosync: Program, speech: Path) -> Path:
    return speech


def exported(memosync: Program, speech: Path) -> Path:
    """Take it out as Ogg Opus: its packets, in another container."""
    memosync("export", "last", "-o", path := speech.with_suffix(".ogg"))
    return path


def the_memo_s_own_file(memosync: Program, speech: Path) -> Path:
    """Copy it to where it has another name and date, after other words were written into it."""
    path = speech.with_suffix(".webm")
    shutil.copy(only(memosync)["path"], path)
    memosync("edit", "last", "-t", "Standup", "-d", "other words")
    return path


@pytest.mark.parametrize("source", [wav, exported, the_memo_s_own_file], ids=lambda source: source.__name__)
def test_a_file_that_is_here_already_is_answered_by_its_id(
    memosync: Program, speech: Path, source: Callable[[Program, Path], Path]
) -> None:
    path = source(memosync, speech)
    (memo,) = memos(memosync)

    again = memosync("record", path, path)
    assert again.lines == [memo["id"]] * 2
    assert again.err.count(f"{path} is here already: {memo['id']} “Standup”") == 2
    assert memos(memosync) == [memo]
    assert os.listdir(memosync.library / ".memosync/recording") == []

    refused = memosync("record", path, path, "-t", "It's “new”", "--tag", "work", code=UsageError.exit_code)
    assert refused.out == ""
    assert memos(memosync) == [memo]
    assert refused.err.count("it is here already") == 2
    (edit,) = re.findall(r"hint: memosync (edit .*?); ", refused.err)
    command = [*PROGRAM, *shlex.split(edit)]
    subprocess.run(command, env=memosync.environment, check=True, capture_output=True, timeout=60)
    edited = only(memosync)
    assert (edited["id"], edited["title"], edited["tags"]) == (memo["id"], "It's “new”", ["work"])

    second = memosync("record", path, "--again", "-t", "Second").out.strip()
    assert {found["id"]: found["title"] for found in memos(memosync)} == {memo["id"]: "It's “new”", second: "Second"}


def altered(memosync: Program, speech: Path) -> Path:
    """Change a byte of its sound, and nothing of its size."""
    return _flipped(memosync, speech, 10)


def mistimed(memosync: Program, speech: Path) -> Path:
    """Change when one of its packets is to be heard, and none of them."""
    return _flipped(memosync, speech, 2)


def _flipped(memosync: Program, speech: Path, offset: int) -> Path:
    """Change a byte of a block: its track, two of its time, its flags, then its packet (RFC 9559, 10)."""
    path = Path(only(memosync)["path"])
    with av.open(path) as file:
        block = next(packet.pos or 0 for packet in file.demux() if (packet.pts or 0) > 1500)
    data = bytearray(path.read_bytes())
    data[block + offset] ^= 0xFF
    path.write_bytes(data)
    return speech


def cut(memosync: Program, speech: Path) -> Path:
    os.truncate(Path(only(memosync)["path"]), 4000)
    return speech


def gone(memosync: Program, speech: Path) -> Path:
    Path(only(memosync)["path"]).unlink()
    return speech


def thrown_away(memosync: Program, speech: Path) -> Path:
    memosync("rm", "last")
    return speech


def louder(memosync: Program, speech: Path) -> Path:
    """Have the same packets be played louder (RFC 7845, 5.1: output gain)."""
    path = exported(memosync, speech)
    head, *others = ogg.packets(path)
    path.write_bytes(ogg.stream([head[:16] + (6 * 256).to_bytes(2, "little") + head[18:], *others]))
    return path


@pytest.mark.parametrize(
    "source", [altered, mistimed, cut, gone, thrown_away, louder], ids=lambda source: source.__name__
)
def test_what_is_not_here_as_it_was_is_saved(
    memosync: Program, speech: Path, source: Callable[[Program, Path], Path]
) -> None:
    before = only(memosync)["id"]
    path = source(memosync, speech)

    (new,) = memosync("record", path).lines

    assert new != before
    assert new in {memo["id"] for memo in memos(memosync)}


def test_what_a_pipe_brings_is_always_saved(memosync: Program, speech: Path) -> None:
    (new,) = memosync("record", "-", stdin=speech.read_bytes()).lines

    assert len({memo["id"] for memo in memos(memosync)} - {new}) == 1


def test_share_answers_the_link_of_what_is_here(memosync: Program, speech: Path) -> None:
    link = memosync("record", speech, "--share").out

    assert link == memosync("share", "last").out
    assert len(memos(memosync)) == 1
