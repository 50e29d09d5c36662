"""Every write of every verb that changes the library: killed there, then refused there with ENOSPC and with EIO.

One run under strace lists the system calls that change something in the library; each of them is then made to fail in a
run of its own. Afterwards every memo is what it was before or what a run that nobody disturbs makes of it, what was
answered holds, the next command works, and so does the same one again.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
import random
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sound
from conftest import PROGRAM, Program
from test_house import commands

from memosync import files, index, metainfo, webm
from memosync.errors import LibraryError, NotFoundError
from memosync.library import Library

CALLS = (
    "?openat,?creat,?write,?pwrite64,?writev,?pwritev,?pwritev2,?fsync,?fdatasync,?rename,?renameat,?renameat2,"
    "?link,?linkat,?symlink,?symlinkat,?unlink,?unlinkat,?mkdir,?mkdirat,?rmdir,?truncate,?ftruncate,?fallocate,"
    "?chmod,?fchmod,?fchmodat,?utimensat,?copy_file_range,?sendfile"
)
STRACE = ["strace", "-f", "-q", "-y", "-s0", "-e", f"trace={CALLS}"]
LEFT = ("abcdefgh", "abcdefgk")
FASTER = ["--seccomp-bpf"]  # with which strace 6.1 injects no signal
LOOKING = {"seed"}  # verbs that change nothing in the library
PROMISED = ("title", "description", "tags", "recorded", "duration", "size", "infohash", "shared", "fetched")
SOUND = sound.wav(sound.tone(1))


@dataclasses.dataclass(frozen=True)
class Case:
    """A verb at work: what it is given, and what was left lying about before."""

    arguments: tuple[str, ...]
    stdin: bytes = b""
    prepare: Callable[[Path], None] = lambda _library: None
    named: bool = False  # its paths are the same every time

    @property
    def verb(self) -> str:
        return self.arguments[0]


def leave_work(library: Path) -> None:
    """Leave what crashes leave: a recording that was not finished, a file without an entry, half-made files."""
    (path,) = library.glob("*-plain-*.webm")
    recording = library / ".memosync/recording"
    shutil.copy(path, recording / f"{LEFT[0]}.webm.part")
    shutil.copy(path, recording / "abcdefgj.webm.import")
    shutil.copy(path, library / f"2026-08-25-orphan-{LEFT[1]}.webm")


CASES = {
    "record a file": Case(("record", "SOURCE", "-t", "New", "--tag", "new")),
    "record a pipe": Case(("record", "-", "-t", "New", "--tag", "new"), stdin=SOUND),
    "bring home what crashes left": Case(("list",), prepare=leave_work),
    "share": Case(("share", "PLAIN", "RETITLED", "--no-seed")),
    "share no longer": Case(("share", "--stop", "SHARED")),
    "fetch": Case(("fetch", "LINK"), named=True),
}


@dataclasses.dataclass(frozen=True)
class Origin:
    """A library that is copied for every run, and what stands for its parts in the arguments."""

    library: Path
    names: dict[str, str]


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    """A library with a memo of each kind, and another one from which a memo can be fetched."""
    home = tmp_path_factory.mktemp("origin")
    source = home / "source.wav"
    source.write_bytes(SOUND)
    program, theirs = Program(home / "Memos", {"HOME": str(home)}), Program(home / "Theirs", {"HOME": str(home)})
    names = {name: program("record", source, "-t", name).out.strip() for name in ("PLAIN", "RETITLED", "SHARED")}
    program("share", names["SHARED"], "--no-seed")
    index_file = program.library / "index.toml"
    index_file.write_text(index_file.read_text().replace('"RETITLED"', '"Another title"'))
    theirs("record", source, "-t", "Theirs", "-d", "from elsewhere")
    names |= {"SOURCE": str(source), "LINK": theirs("share", "last").out.strip()}
    yield Origin(program.library, names)
    theirs("seed", "--stop")


@dataclasses.dataclass(frozen=True)
class Write:
    """One system call that changes the library: the how-manieth of its name in its thread."""

    call: str
    count: int
    what: str  # the call as strace shows it, ids replaced


class Bench:
    """Run one case again and again on fresh copies of the library."""

    def __init__(self, case: Case, origin: Origin, directory: Path) -> None:
        self.case, self.origin = case, origin
        self.program = Program(directory / "Memos", {"HOME": str(directory), "PYTHONDONTWRITEBYTECODE": "1"})
        self.library = Library(self.program.library)
        self._trace = directory / "trace"
        self.arguments = [origin.names.get(word, word) for word in case.arguments]
        self._only: list[str] = []  # options that have strace look at nothing else
        self._fresh()
        self.before = self.memos()
        self._run(good=True)
        if case.named:
            found = re.findall(rf'["<]({re.escape(str(self.library.root))}[^">]*)[">]', self._trace.read_text())
            self._only = [word for path in sorted(set(found)) for word in ("-P", path)]
            self._fresh()
            self._run(good=True)
        self.writes = list(self._writes())
        self.after = self.memos()

    def memos(self) -> dict[str, dict[str, Any]]:
        """Give what is promised of each memo, by its id; one that is made here has another one every time."""
        table = json.loads(json.dumps([index.to_table(memo) for memo in self.library.index().memos], default=str))
        known = {*self.origin.names.values(), *LEFT}
        return {
            entry["id"] if entry["id"] in known else entry["title"]: {name: entry.get(name) for name in PROMISED}
            | {"trashed": "trashed" in entry}
            for entry in table
        }

    def disturb(self, write: Write, how: str) -> bool:
        """Run it with one call disturbed, and insist on everything; False when the call was not reached."""
        self._fresh()
        kill = how == "KILL"
        fault = f"inject={write.call}:{'signal' if kill else 'error'}={how}:when={write.count}"
        done = self._run("-e", fault, *([] if kill else FASTER))
        trace = self._trace.read_text()
        story = f"{how} at {write.what}\n{done.stdout}{done.stderr}\n{trace[-1500:]}"

        if done.returncode != -signal.SIGKILL if kill else "(INJECTED)" not in trace:
            return False
        assert "Traceback" not in done.stderr, story
        if not kill:
            assert done.returncode in (0, LibraryError.exit_code), story
            errors = [line for line in done.stderr.splitlines() if line.lstrip("\a").startswith("memosync: error: ")]
            assert (len(errors) > 0) == (done.returncode > 0), story
        index.loads((self.library.root / "index.toml").read_text())
        listed = self.program("list", "--json")
        if done.returncode == 0:
            self._golden(story)
        self._insist(story, done.stdout)
        assert {json.loads(line)["id"] for line in listed.lines} == self._ids(), story

        again = self.program.start(*self.arguments, stdin=subprocess.PIPE, text=False)
        out, err = again.communicate(self.case.stdin, 60)
        story += f"\nand again:\n{out.decode()}{err.decode()}"
        assert again.returncode == 0 or (again.returncode == NotFoundError.exit_code and self.memos() == self.after)
        self._insist(story, out.decode())
        self._golden(story)
        rests = [path for name in ("recording", "incoming") for path in (self.library.private / name).glob("*")]
        assert rests + list(self.library.root.rglob(".*.tmp")) == [], story
        return True

    def _golden(self, story: str) -> None:
        """Insist that what ended well did what it was told."""
        for name, memo in self.memos().items():
            assert self._is(name, memo, self.after.get(name)), f"{story}\n{memo} should be {self.after.get(name)}"
        assert self.memos().keys() == self.after.keys(), story

    def _insist(self, story: str, out: str) -> None:
        """Insist that each memo is what it was or what it was to become, with its file; and that answers hold."""
        found = self.memos()
        for name, memo in found.items():
            was, becomes = self.before.get(name), self.after.get(name)
            assert self._is(name, memo, was) or self._is(name, memo, becomes), (
                f"{story}\n{memo} was {was} or should be {becomes}"
            )
        assert self.before.keys() & self.after.keys() <= found.keys(), f"{story}\nonly {found.keys()} are left"
        memos = self.library.index().memos
        assert len({memo.id for memo in memos}) == len({memo.file for memo in memos}) == len(memos)
        for memo in memos:
            path = self.library.path(memo)
            # between the new tags of a file and its entry, the size is not right yet
            assert self.library.is_sound(memo, path) or not memo.infohash, f"{story}\n{memo}"
            assert webm.probe(path).duration == pytest.approx(memo.duration, abs=0.001), f"{story}\n{memo}"
            if memo.infohash:
                torrent = metainfo.read(self.library.torrent(memo.infohash).read_bytes())
                assert metainfo.fits(torrent, path), f"{story}\n{memo}"
        for answer in out.splitlines():
            infohash = re.match("magnet:.*btih:([0-9a-f]{40})", answer)
            key = answer.split("\t")[0]
            kept = [
                memo for memo in memos if (memo.shared and memo.infohash == infohash[1] if infohash else memo.id == key)
            ]
            assert len(kept) == 1, f"{story}\n{answer!r} was promised"
        assert not files.is_locked(self.library.private / "lock")

    def _is(self, name: str, memo: dict[str, Any], other: dict[str, Any] | None) -> bool:
        """Tell whether a memo is as it should be; one that was brought home may be frozen, or the beginning of it."""
        if other is None:
            return False
        if self.case.stdin:
            other = {**other, "recorded": memo["recorded"]}
            if memo["duration"] < other["duration"]:
                other |= {"duration": memo["duration"], "size": memo["size"]}
        if memo["infohash"] and name not in self.before:  # it was adopted
            other = {**other, "infohash": memo["infohash"], "fetched": memo["fetched"]}
        return memo == other and memo["duration"] > 0

    def _ids(self) -> set[str]:
        return {memo.id for memo in self.library.index().memos if not memo.trashed}

    def _fresh(self) -> None:
        shutil.rmtree(self.library.root, ignore_errors=True)
        shutil.copytree(self.origin.library, self.library.root)
        self.case.prepare(self.library.root)

    def _run(self, *options: str, good: bool = False) -> subprocess.CompletedProcess[str]:
        """Run it under strace."""
        command = [*STRACE, "-o", str(self._trace), *self._only, *options, *PROGRAM, *self.arguments]
        done = subprocess.run(
            command, input=self.case.stdin, env=self.program.environment, capture_output=True, timeout=60
        )
        assert not good or done.returncode == 0, done.stderr
        return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())

    def _writes(self) -> Iterator[Write]:
        """Find in the trace what changed the library; of many equal ones in a row the first two and the last."""
        counts: collections.Counter[tuple[str, str]] = collections.Counter()
        found = []
        for line in self._trace.read_text().splitlines():
            call = re.match(r"(\d+) +(\w+)\(", line)
            if not call:
                continue
            counts[call[1], call[2]] += 1
            opens = call[2] == "openat" and "O_CREAT" not in line
            if str(self.library.root) in line and not opens and not re.search(r" = -1 E\w+ \(", line):
                what = line.partition("(")[2].replace(str(self.library.root), "…")
                what = re.sub(r"\d+<|[0-9a-hjkmnp-tv-z]{8}\.webm|\b[0-9a-f]{40}|[0-9]+\)? = .*|, \d+", "", what)
                found.append(Write(call[2], counts[call[1], call[2]], f"{call[2]}({what}"))
        for _, group in itertools.groupby(found, key=lambda write: write.what):
            row = list(group)
            yield from row if len(row) < 4 else [*row[:2], row[-1]]


def test_every_verb_that_changes_the_library_is_here() -> None:
    assert {case.verb for case in CASES.values()} | LOOKING == set(commands()) - {""}


@pytest.mark.parametrize("name", CASES)
def test_a_disturbed_write_loses_nothing(
    origin: Origin, tmp_path: Path, name: str, long: bool, seed: int, figure: Callable[[str], None]
) -> None:
    bench = Bench(CASES[name], origin, tmp_path)
    faults = [(write, how) for how in ("KILL", "ENOSPC", "EIO") for write in bench.writes]
    faults = [(write, how) for write, how in faults if how != "KILL" or write.call != "openat"]

    chosen = faults if long else random.Random(f"{seed} {name}").sample(faults, 2)
    reached = [bench.disturb(write, how) for write, how in chosen]

    assert all(reached)
    counts = collections.Counter(how for _, how in chosen)
    figure(f"{name}: {', '.join(f'{count} {how}' for how, count in counts.items())} at {len(bench.writes)} writes")
