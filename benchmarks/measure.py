"""Measuring: what a process cost, several programs taking turns at one work, and the bars."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

US = "memosync"
LONGEST = 240  # seconds after which a row begins no further round

Measures = Mapping[str, float]  # by unit: seconds, CPU seconds, MB, % CPU
Contestants = Mapping[str, Callable[[], Measures]]
Prepare = Callable[[Path, bool], AbstractContextManager[Contestants]]  # in a directory of its own; quickly or not


@dataclass(frozen=True, slots=True)
class Bar:
    """What is promised of one measure, alone or beside another program."""

    measure: str
    limit: float
    times: str = ""  # at most `limit` times that of this program
    more_than: str = ""  # at most `limit` more than that of this program
    faster_than: str = ""  # at least `limit` times less than that of this program

    def value(self, medians: Mapping[str, Measures]) -> float:
        """Give what is compared with the limit."""
        ours = medians[US][self.measure]
        if self.times:
            return ours / medians[self.times][self.measure]
        if self.more_than:
            return ours - medians[self.more_than][self.measure]
        return medians[self.faster_than][self.measure] / ours if self.faster_than else ours

    def is_met(self, value: float) -> bool:
        return value >= self.limit if self.faster_than else value <= self.limit

    def __str__(self) -> str:
        if self.times:
            return f"≤ {self.limit:g} × {self.times}"
        if self.more_than:
            return f"≤ {self.more_than} + {self.limit:g}"
        return f"≥ {self.limit:g} × faster than {self.faster_than}" if self.faster_than else f"≤ {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One work, who does it, and the bars."""

    name: str
    work: str
    prepare: Prepare
    bars: Sequence[Bar]
    repeat: int = 5
    quick: int = 1  # rounds with --quick


@dataclass(slots=True)
class Result:
    """What was measured in one row."""

    row: Row
    samples: dict[str, list[Measures]] = field(default_factory=dict)
    seconds: float = 0  # that the row took
    failure: str = ""

    @property
    def medians(self) -> dict[str, Measures]:
        return {
            name: {unit: statistics.median(sample[unit] for sample in samples) for unit in samples[0]}
            for name, samples in self.samples.items()
        }


def compete(row: Row, repeat: int, quick: bool, directory: Path) -> Result:
    """Let everybody do the work in turn, `repeat` times, each round beginning with another one.

    When it has to be quick, only those whom the bars name.
    """
    result = Result(row)
    began = time.monotonic()
    try:
        with row.prepare(directory, quick) as contestants:
            named = {US} | {name for bar in row.bars for name in (bar.times, bar.more_than, bar.faster_than)}
            names = [name for name in contestants if name in named or not quick]
            for turn in range(repeat):
                if turn and (time.monotonic() - began) * (turn + 1) / turn > LONGEST:
                    break
                for name in names[turn % len(names) :] + names[: turn % len(names)]:
                    result.samples.setdefault(name, []).append(contestants[name]())
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        result.failure = f"{type(error).__name__}: {' '.join(str(error).split())}"
        result.samples.clear()
    result.seconds = time.monotonic() - began
    return result


def run(command: Sequence[object], environment: Mapping[str, str], output: Path | None = None) -> Measures:
    """Run a program to its end; RuntimeError with its last words when it fails."""
    with tempfile.TemporaryFile() as words, open(output or os.devnull, "wb") as out:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command], env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=words
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            words.seek(0)
            last = words.read().decode(errors="replace").strip()[-300:]
            raise RuntimeError(f"{command[0]} ended with {process.returncode}: {last}")
    return {"s": seconds, "CPU s": usage.ru_utime + usage.ru_stime}


def runs(*command: object, environment: Mapping[str, str]) -> Callable[[], Measures]:
    """Make a contestant of a command."""
    return lambda: run(command, environment)


def cpu(pid: int) -> float:
    """Give the CPU seconds of a living process, to the nanosecond where the kernel counts them."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except (FileNotFoundError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> Measures:
    """Give the memory of a process in MB: its share of what it has in RAM, and all of that."""
    table = dict(line.split(":") for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return {name: int(table[key].split()[0]) * 1024 / 1e6 for name, key in (("PSS MB", "Pss"), ("RSS MB", "Rss"))}


def wait_until(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Return as soon as the condition holds; RuntimeError when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not in {seconds:.0f} s: {what}")
        time.sleep(0.005)
