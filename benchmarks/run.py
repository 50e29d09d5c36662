"""Measure every promise of speed beside other programs, all in one run, and print a table.

    python benchmarks/run.py [ROW...] [--quick] [--repeat N]

Nothing leaves this machine. The numbers of one run belong together: on another day the machine is another one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import audio
import browsers
import devices
import pages
import startup
import swarm
from measure import US, Measures, Result, compete

ROWS = [*swarm.ROWS[:6], *browsers.ROWS, *pages.ROWS, *startup.ROWS, *audio.ROWS, *devices.ROWS, *swarm.ROWS[6:]]
HEAD = ("row", "work", "memosync", "others", "bar", "measured", "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(row.name for row in ROWS))
    parser.add_argument("--quick", action="store_true", help="few rounds, short ones: under three minutes")
    parser.add_argument("--repeat", type=int, metavar="N", help="rounds of each row")
    options = parser.parse_args()
    chosen = [row for row in ROWS if not options.rows or any(row.name.startswith(name) for name in options.rows)]
    if not chosen:
        parser.error("no such row")
    results: list[Result] = []
    began = datetime.now().astimezone()
    loads = []
    for row in chosen:
        loads.append(os.getloadavg()[0])
        with tempfile.TemporaryDirectory(prefix="memosync-bench-") as directory:
            rounds = options.repeat or (row.quick if options.quick else row.repeat)
            result = compete(row, rounds, options.quick, Path(directory))
        results.append(result)
        print(
            f"{row.name}: {f'failed, {result.failure}' if result.failure else 'measured'}, {result.seconds:.0f} s",
            file=sys.stderr,
        )
    show([line for result in results for line in lines(result)])
    report = {
        "began": began.isoformat(timespec="seconds"),
        "quick": options.quick,
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "rows": [as_json(result, load) for result, load in zip(results, loads, strict=True)],
    }
    kept = Path(__file__).parent / "results" / f"{time.strftime('%Y%m%d-%H%M%S', began.timetuple())}.json"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    print(f"\nAll samples: {kept}", file=sys.stderr)
    sys.exit(any(result.failure for result in results))


def lines(result: Result) -> list[tuple[str, ...]]:
    """Give a line for each bar of a row."""
    row = result.row
    if result.failure:
        return [(row.name, row.work, "", "", "", "failed", result.failure[-100:])]
    medians = result.medians
    found: list[tuple[str, ...]] = []
    for bar in row.bars:
        value = bar.value(medians)
        others = [f"{name} {_number(theirs, bar.measure)}" for name, theirs in medians.items() if name != US]
        ours = f"{_number(medians[US], bar.measure)} {bar.measure}"
        met = "met" if bar.is_met(value) else "NOT MET"
        found.append((row.name, row.work, ours, ", ".join(others), str(bar), f"{value:.3g}", met))
    return found


def show(table: list[tuple[str, ...]]) -> None:
    """Print it as Markdown, aligned."""
    table = [HEAD, *table]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEAD))]
    for number, line in enumerate(table):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def as_json(result: Result, load: float) -> dict[str, object]:
    row, medians = result.row, result.medians
    bars: list[dict[str, object]] = [{"bar": str(bar), "measure": bar.measure} for bar in row.bars]
    for bar, said in zip(row.bars if medians else [], bars, strict=False):
        value = bar.value(medians)
        said |= {"value": value, "met": bar.is_met(value)}
    return {
        "row": row.name,
        "work": row.work,
        "rounds": max(map(len, result.samples.values()), default=0),
        "seconds": result.seconds,
        "load": load,
        "failure": result.failure or None,
        "medians": medians,
        "bars": bars,
        "samples": result.samples,
    }


def _number(measures: Measures, unit: str) -> str:
    return f"{measures[unit]:.3g}" if unit in measures else "-"


if __name__ == "__main__":
    main()
