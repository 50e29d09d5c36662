"""How long a command takes that does little: help, lists, and adding one memo to many."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from material import FFMPEG, PROGRAM, ask, environment, many, memosync
from measure import US, Bar, Contestants, Prepare, Row, run, runs

TYPER = "import typer"


@contextmanager
def plain(directory: Path, quick: bool, *, arguments: tuple[str, ...] = ("--help",)) -> Iterator[Contestants]:
    env = environment(directory)
    library = directory / "Memos"
    yield {
        US: runs(*memosync(library, *arguments), environment=env),
        TYPER: runs(sys.executable, "-c", "import typer", environment=env),
        "python -c pass": runs(sys.executable, "-c", "pass", environment=env),
    }


empty = partial(plain, arguments=("list",))


def over(number: int, verb: str) -> Prepare:
    @contextmanager
    def prepare(directory: Path, quick: bool) -> Iterator[Contestants]:
        env = environment(directory)
        many(directory / "Memos", number, short_memo(directory))
        yield {
            US: runs(*memosync(directory / "Memos", verb), environment=env),
            TYPER: runs(sys.executable, "-c", "import typer", environment=env),
        }

    return prepare


def adding(number: int) -> Prepare:
    @contextmanager
    def prepare(directory: Path, quick: bool) -> Iterator[Contestants]:
        env = environment(directory)
        memo = short_memo(directory)
        many(directory / "Memos", number, memo)
        yield {
            US: runs(*memosync(directory / "Memos", "record", "--again", memo), environment=env),
            "memosync, adding to 1": runs(*memosync(directory / "one", "record", "--again", memo), environment=env),
        }

    return prepare


def changing(number: int, verb: str) -> Prepare:
    """Edit one memo of many, or throw one away: the same again, which is a change each time."""

    @contextmanager
    def prepare(directory: Path, quick: bool) -> Iterator[Contestants]:
        env, library = environment(directory), directory / "Memos"
        many(library, number, short_memo(directory))
        each = f"{PROGRAM} --library {library} {verb} last" + (" -t $$" if verb == "edit" else "")  # $$: another one
        yield {US: runs("sh", "-c", f"exec {each}", environment=env)}

    return prepare


@contextmanager
def completing(directory: Path, quick: bool) -> Iterator[Contestants]:
    """Press TAB behind `show `, as bash asks for it."""
    env = environment(directory) | {"COMP_WORDS": "memosync show 0", "COMP_CWORD": "2"}
    env |= {"_MEMOSYNC_COMPLETE": "complete_bash", "MEMOSYNC_LIBRARY": str(directory / "Memos")}
    many(directory / "Memos", 50_000, short_memo(directory))
    yield {US: runs(PROGRAM, environment=env)}


def short_memo(directory: Path) -> Path:
    """Make a memo of three seconds whose title has a number in it."""
    tone = directory / "tone.wav"
    run([*FFMPEG, "-f", "lavfi", "-i", "sine=f=300:d=3", "-ar", "48000", tone], environment(directory))
    library = directory / "short"
    ask(library, "record", tone, "-t", "Weekly standup 00000", environment=environment(directory))
    return next(library.glob("*.webm"))


ROWS = [
    Row("help", "`--help`", plain, [Bar("s", 1.6, times=TYPER)], repeat=15, quick=5),
    Row("list-empty", "`list` of an empty library", empty, [Bar("s", 1.6, times=TYPER)], repeat=15, quick=5),
    Row("list-1000", "`list` of 1,000 memos", over(1_000, "list"), [Bar("s", 0.25)], repeat=15, quick=5),
    Row("list-10000", "`list` of 10,000 memos", over(10_000, "list"), [Bar("s", 1.0)], repeat=11, quick=3),
    Row("check-10000", "`check` of 10,000 memos", over(10_000, "check"), [Bar("s", 10)], repeat=5, quick=1),
    Row("add-10000", "adding a memo to 10,000", adding(10_000), [Bar("s", 1.5)], repeat=9, quick=3),
    Row("list-50000", "`list` of 50,000 memos", over(50_000, "list"), [Bar("s", 2.5)], repeat=5, quick=1),
    Row("add-50000", "adding a memo to 50,000", adding(50_000), [Bar("s", 4)], repeat=5, quick=1),
    Row("edit-50000", "`edit` of one of 50,000", changing(50_000, "edit"), [Bar("s", 4)], repeat=5, quick=1),
    Row("rm-50000", "`rm` of one of 50,000", changing(50_000, "rm"), [Bar("s", 4)], repeat=5, quick=1),
    Row("tab-50000", "a TAB in 50,000 memos", completing, [Bar("s", 1)], repeat=5, quick=1),
]
