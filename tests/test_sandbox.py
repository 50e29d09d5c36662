"""The child that looks into a stranger's file: what it says, what of it is believed, and when it ends.

Files that break it: test_hostile.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netns import noise
from vmic import wait_until

from memosync import process
from memosync.audio import sandbox, webm
from memosync.errors import AudioError

GOOD = {
    "duration": 2.5,
    "claimed": 0.0,
    "title": "A title",
    "description": "one\ntwo",
    "tags": ["work"],
    "recorded": "2026-08-25T10:11:12+02:00",
    "id": "7k3f9x2a",
}
PARENT = """
import sys, time
from memosync.audio import sandbox
sandbox.start()
print(sandbox._child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    """A memo with words, in a place whose name is no text."""
    place = tmp_path / os.fsdecode(b"caf\xe9 \n")
    words = {"title": "Größe 🎙", "DESCRIPTION": "one\ntwo", "KEYWORDS": "a,b", "DATE_RECORDED": GOOD["recorded"]}
    tags = [part for name, value in words.items() for part in ("-metadata", f"{name}={value}")]
    return noise(place / "memo.webm", 1, "-c:a", "libopus", *tags)


def test_it_finds_what_this_holderwould_find(spoken: Path) -> None:
    found = sandbox.probe(spoken)

    assert found == webm.probe(spoken)
    assert (found.words.title, found.words.tags, bool(found.words.recorded)) == ("Größe 🎙", ("a", "b"), True)


def test_many_threads_may_ask_at_once(tmp_path: Path) -> None:
    files = [noise(tmp_path / f"{n}.webm", n, "-c:a", "libopus", "-b:a", "6k") for n in (1, 2, 3)]
    answers: list[tuple[int, int]] = []

    def ask(number: int) -> None:
        for _ in range(20):
            answers.append((number % 3 + 1, round(sandbox.probe(files[number % 3]).duration)))

    threads = [threading.Thread(target=ask, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(answers) == [(n, n) for n in (1, 2, 3) for _ in range(40)]


def test_a_file_that_is_no_memo_or_is_gone_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "memo.webm").write_bytes(b"#EXTM3U\n")

    with pytest.raises(AudioError, match="not audio"):
        sandbox.probe(tmp_path / "memo.webm")
    with pytest.raises(AudioError, match="cannot be read"):
        sandbox.probe(tmp_path / "gone.webm")


@pytest.fixture
def parent() -> Iterator[tuple[subprocess.Popen[Any], int]]:
    """A process that has a child, and the child's number."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert parent.stdout
        yield parent, int(parent.stdout.readline())
        parent.kill()


def test_it_ends_with_its_parent(parent: tuple[subprocess.Popen[Any], int]) -> None:
    holder, child = parent
    assert process.birth(child)

    holder.kill()

    wait_until(lambda: not process.birth(child), "the child to end")


def test_what_a_terminal_sends_to_all_does_not_reach_it(parent: tuple[subprocess.Popen[Any], int]) -> None:
    _, child = parent
    blocked = int(Path(f"/proc/{child}/status").read_text().partition("SigBlk:")[2].split()[0], 16)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):  # from its first moment on
        assert blocked >> number - 1 & 1
        os.kill(child, number)
    assert process.birth(child)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_it_takes_no_more_than_its_limits(spoken: Path) -> None:
    sandbox.probe(spoken)
    assert sandbox._child
    limits = Path(f"/proc/{sandbox._child.pid}/limits").read_text()

    assert [["30", "30"], [str(2**31)] * 2] == [
        limits.partition(name)[2].split()[:2] for name in ("Max cpu time", "Max address space")
    ]


def test_it_loads_little_besides_ffmpeg() -> None:
    child = process.start("memosync.audio.sandbox", stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    child.communicate(timeout=60)
    code = "import sys, memosync.audio.sandbox; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert child.returncode == 0
    assert {"av", "numpy", "subprocess", "typer", "libtorrent", "memosync.index"} & set(loaded) == set()


def test_an_answer_is_read() -> None:
    found = sandbox.parse_answer(json.dumps(GOOD).encode())

    assert (found.duration, found.words.title, found.words.id) == (2.5, "A title", "7k3f9x2a")
    assert found.words.recorded
    assert found.words.recorded.isoformat() == GOOD["recorded"]


@pytest.mark.parametrize(
    "change",
    [
        {"duration": -1.0},
        {"duration": float("inf")},
        {"duration": float("nan")},
        {"duration": "2"},
        {"claimed": float("nan")},
        {"title": None},
        {"tags": [1]},
        {"tags": "work"},
        {"recorded": "yesterday"},
        {"recorded": "2026-08-25"},
        {"id": 1},
        {"more": 1},
    ],
    ids=str,
)
def test_an_answer_that_is_not_as_agreed_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(AudioError, match="nonsense"):
        sandbox.parse_answer(json.dumps(GOOD | change).encode())


def test_what_it_says_obeys_no_terminal() -> None:
    found = sandbox.parse_answer(json.dumps(GOOD | {"title": "a\x1b[2J\u202eb", "id": "../../x"}).encode())
    with pytest.raises(AudioError) as caught:
        sandbox.parse_answer(json.dumps({"error": "a\x1b[2J\nb" + 9_999 * "c"}).encode())

    assert (found.words.title, found.words.id) == ("a [2J b", None)
    assert str(caught.value).startswith("a [2J bc")
    assert len(str(caught.value)) == 500


@given(st.binary() | st.text().map(str.encode) | st.integers(1, 99_999).map(lambda depth: b"[" * depth))
def test_anything_else_is_refused(answer: bytes) -> None:
    with pytest.raises(AudioError):
        sandbox.parse_answer(answer)
