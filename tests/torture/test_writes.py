"""Every write of every verb that changes the library: killed there, then refused there with ENOSPC and with EIO.

One run under strace lists the system calls that change something in the library; each of them is then made to fail in a
run of its own. Afterwards every memo is what it was before or what a run that nobody disturbs makes of it, what was
answered holds, the next command works, and so does the same one again.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import random
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench import CASES, LOOKING, NAMES, Bench, Case, Origin, make_origin  # noqa: F401
from support.program import Program, commands

CALLS = (
    "?openat,?creat,?write,?pwrite64,?writev,?pwritev,?pwritev2,?fsync,?fdatasync,?rename,?renameat,?renameat2,"
    "?link,?linkat,?symlink,?symlinkat,?unlink,?unlinkat,?mkdir,?mkdirat,?rmdir,?truncate,?ftruncate,?fallocate,"
    "?chmod,?fchmod,?fchmodat,?utimensat,?copy_file_range,?sendfile"
)
FASTER = ["--seccomp-bpf"]  # with which strace 6.1 injects no signal


@dataclasses.dataclass(frozen=True)
class Write:
    """One system call that changes the library: the how-manieth of its name in its thread."""

    call: str
    count: int
    what: str  # the call as strace shows it, ids replaced


class Saboteur:
    """Let one write after the other fail."""

    def __init__(self, case: Case, origin: Origin, directory: Path) -> None:
        self._bench = Bench(case, origin, Program(directory / "Memos", {"HOME": str(directory)}))
        self._root = str(self._bench.library.root)
        self._trace = directory / "trace"
        self._strace = ["strace", "-f", "-q", "-y", "-s0", "-o", str(self._trace), "-e", f"trace={CALLS}"]
        self._list()
        if case.named:  # look at nothing else, so that other processes and threads do not count
            paths = set(re.findall(rf'["<]({re.escape(self._root)}[^">]*)[">]', self._trace.read_text()))
            self._strace += [word for path in sorted(paths) for word in ("-P", path)]
            self._list()
        self.writes = list(self._writes())

    def disturb(self, write: Write, how: str) -> bool:
        """Run it with one call disturbed, and insist on everything; False when the call was not reached."""
        self._bench.fresh()
        fault = f"inject={write.call}:{'signal' if how == 'KILL' else 'error'}={how}:when={write.count}"
        done = self._bench.run(*self._strace, "-e", fault, *([] if how == "KILL" else FASTER))
        trace = self._trace.read_text()
        if done.returncode != -signal.SIGKILL if how == "KILL" else "(INJECTED)" not in trace:
            return False
        self._bench.judge(done, f"{how} at {write.what}\n{trace[-1500:]}")
        return True

    def _list(self) -> None:
        self._bench.fresh()
        self._bench.run(*self._strace, good=True)

    def _writes(self) -> Iterator[Write]:
        """Find in the trace what changed the library; of many equal ones in a row the first two and the last."""
        counts: collections.Counter[tuple[str, str]] = collections.Counter()
        found = []
        for line in self._trace.read_text().splitlines():
            call = re.match(r"(\d+) +(\w+)\(", line)
            if not call:
                continue
            counts[call[1], call[2]] += 1
            looks = call[2] == "openat" and "O_CREAT" not in line
            if self._root in line and not looks and not re.search(r" = -1 E\w+ \(", line):
                what = line.partition("(")[2].replace(self._root, "…")
                what = re.sub(r"\d+<|[0-9a-hjkmnp-tv-z]{8}\.webm|\b[0-9a-f]{40}|[0-9]+\)? = .*|, \d+", "", what)
                found.append(Write(call[2], counts[call[1], call[2]], f"{call[2]}({what}"))
        for _, group in itertools.groupby(found, key=lambda write: write.what):
            row = list(group)
            yield from row if len(row) < 4 else [*row[:2], row[-1]]


def test_every_verb_that_changes_the_library_is_here() -> None:
    assert {case.arguments[0] for case in CASES.values()} | LOOKING == set(commands()) - {"", "help"}


@pytest.mark.parametrize("name", NAMES)
def test_a_disturbed_write_loses_nothing(
    origin: Origin, tmp_path: Path, name: str, long: bool, seed: int, figure: Callable[[str], None]
) -> None:
    saboteur = Saboteur(CASES[name], origin, tmp_path)
    faults = [(write, how) for how in ("KILL", "ENOSPC", "EIO") for write in saboteur.writes]
    faults = [(write, how) for write, how in faults if how != "KILL" or write.call != "openat"]

    chosen = faults if long else random.Random(f"{seed} {name}").sample(faults, 1)
    reached = [saboteur.disturb(write, how) for write, how in chosen]

    assert all(reached)
    counts = collections.Counter(how for _, how in chosen)
    figure(f"{name}: {', '.join(f'{count} {how}' for how, count in counts.items())} at {len(saboteur.writes)} writes")
