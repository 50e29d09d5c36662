"""Words in a memo's file, found without FFmpeg: never where it would find others."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support import matroska, sound
from support.program import Program

from memosync.audio import webm
from memosync.audio.carried import Carried, Chapter
from memosync.audio.tags import are_in
from memosync.memo import MemoId, Words

BARE = Words(recorded=datetime(2026, 8, 25, 10, 11, 12, tzinfo=UTC), id=MemoId("7k3f9x2a"))
FULL = replace(BARE, title="Weekly “standup”", description="one\ntwo", tags=("work", "älter"))
LONG = replace(FULL, title="t" * 200, description="d" * 9_000)
OTHERS = Carried((Chapter(0, 500, "DESCRIPTION"),), {"artist": "Ada"})


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tags") / "part.webm"
    path.write_bytes(matroska.webm(matroska.packets(1), lambda number: 20 * number))
    return path


@pytest.mark.parametrize("words", [BARE, FULL, LONG], ids=["bare", "full", "long"])
@pytest.mark.parametrize("carried", [Carried(), OTHERS], ids=["alone", "among-others"])
def test_words_in_a_file_of_ours_are_found_and_no_others(
    part: Path, tmp_path: Path, words: Words, carried: Carried
) -> None:
    path = tmp_path / "memo.webm"
    webm.finish(part, path, words, carried)
    head = path.read_bytes()

    others = [replace(words, title=words.title + "x"), replace(words, tags=("work",)), replace(words, description="x")]
    assert (are_in(head, words), webm.read_words(path)) == (True, words)
    assert [are_in(head, other) for other in others] == [False, False, False]


def test_a_comment_without_a_description_is_one(part: Path, tmp_path: Path) -> None:
    """FFmpeg is asked then, and what comes after it decides."""
    path = tmp_path / "memo.webm"
    webm.finish(part, path, FULL, Carried((), {"comment": "beside it"}))

    assert (are_in(path.read_bytes(), FULL), webm.says(path, FULL)) == (False, True)


@pytest.mark.parametrize(("options", "needed"), [((), set()), (("--public",), {"av", "decimal"})], ids=["", "public"])
def test_sharing_a_recording_does_not_wait_for_what_others_load(
    memosync: Program, options: tuple[str, ...], needed: set[str]
) -> None:
    memosync("record", "-", "-t", "Weekly “standup”", "--tag", "work", stdin=sound.wav(sound.tone(0.5)))
    command = [sys.executable, "-X", "importtime", "-m", "memosync", "share", "last", "--no-seed", *options]
    done = subprocess.run(command, env=memosync.environment, capture_output=True, text=True, check=True)

    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "memosync.torrent.metainfo" in loaded
    assert loaded & {"libtorrent", "av", "socket", "html", "decimal"} == needed


def test_of_damaged_files_it_never_says_what_ffmpeg_does_not(part: Path, tmp_path: Path) -> None:
    path, chance, believed = tmp_path / "memo.webm", random.Random(1), 0
    webm.finish(part, path, FULL, OTHERS)
    data = path.read_bytes()
    end = data.index(b"\x1f\x43\xb6\x75")
    for _ in range(1_000):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(end)] = chance.choice([0, 0x63, 0x67, 0x80, 0xFF, chance.randrange(256)])
        cut = bytes(damaged) if chance.random() < 0.9 else bytes(damaged[: chance.randrange(end)])
        if are_in(cut, FULL):
            believed += 1
            path.write_bytes(cut)
            assert webm.read_words(path) == FULL

    assert believed > 30
