"""Fifty processes in one library: nothing lost, nothing doubled, no link broken, and nothing left lying about."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import crowd
import pytest
from bench import CASES
from support import sound
from support.program import Program
from support.waiting import wait_until

from memosync import files, index
from memosync.audio import webm
from memosync.errors import NotFoundError
from memosync.library.store import Library
from memosync.torrent import metainfo

VERBS = {case.arguments[0] for case in CASES.values()} - {"fetch"}  # which needs more than a library


def test_a_crowd_in_one_library_loses_nothing(
    memosync: Program, tmp_path: Path, long: bool, seed: int, figure: Callable[[str], None]
) -> None:
    processes, seconds, reads = (50, 60, 1000) if long else (12, 5, 100)
    source = tmp_path / "source.wav"
    source.write_bytes(sound.wav(sound.tone(0.3)))
    library = Library(memosync.library)
    verbs = [*sorted(VERBS), "record", "record", "share"]
    command = [sys.executable, crowd.__file__, library.root, source, processes, seconds, seed, *verbs]
    environment = memosync.environment | {"PYTHONPATH": os.pathsep.join(sys.path)}

    running = subprocess.Popen(
        [*map(str, command)], env=environment, stdin=subprocess.DEVNULL, stdout=(tmp_path / "out").open("wb")
    )
    path = library.root / "index.toml"
    wait_until(path.exists, "the first memo")
    began = time.monotonic()
    for number in range(reads):  # spread over the time
        time.sleep(max(0.0, began + number / reads * seconds - time.monotonic()))
        index.loads(path.read_text())
    assert running.wait(120) == 0
    runs = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]

    for run in runs:
        assert run["code"] in (0, NotFoundError.exit_code), run
        assert not any(word in run["err"] for word in ("Traceback", "adopted", "recovered", "warning")), run
    assert len(runs) >= processes

    memos = library.index().memos
    answered = [line for run in runs if run["run"][0] == "record" and run["code"] == 0 for line in run["out"].split()]
    purged = {word for run in runs if "--purge" in run["run"] for word in run["run"]}
    assert len(set(answered)) == len(answered)
    assert {memo.id for memo in memos} - set(answered) == set(), "nobody recorded them"
    assert set(answered) - {memo.id for memo in memos} <= purged, "they are lost"
    assert [memo.tags for memo in memos if len(memo.tags) != 1] == []
    assert max(collections.Counter(memo.tags for memo in memos).values()) == 1, "one is there twice"

    for memo in memos:
        path = library.path(memo)
        assert library.is_intact(memo, path), memo
        assert webm.probe(path).duration == pytest.approx(memo.duration, abs=0.001), memo
        if memo.infohash:
            assert metainfo.fits(metainfo.read(library.torrent(memo.infohash).read_bytes()), path), memo
    assert {path.name for path in library.root.glob("*.webm")} == {memo.file for memo in memos if not memo.trashed}
    for name in ("locks", "recording", "incoming"):
        assert list((library.inner / name).glob("*")) == []
    assert list(library.root.rglob(".*.tmp")) == []
    assert not files.is_locked(library.inner / "lock")
    counts = collections.Counter(run["run"][0] for run in runs)
    done = ", ".join(f"{verb} {count}" for verb, count in sorted(counts.items()))
    figure(f"{processes} processes, {seconds} s: {done}; {len(memos)} memos; the index parsed {reads} of {reads} times")
