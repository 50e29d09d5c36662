"""Many lives, in ranges that can be gone on with: what was lost, is there twice, or is stale; none of it may be.

python -m proof.run [--first N] [--lives N] [--jobs N] [--mutant NAME]      (in tests/; `make proof` does)
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from . import crash, mutants
from .life import Failure, Life

LEAST = {  # of what has to have happened in a hundred lives: else they prove nothing
    "edited at once": 10,
    "one sound with other words": 10,  # equal clocks, and different values
    "kill": 50,
    "kill in a merge": 10,
    "kill in edit": 5,
    "kill in record": 10,
    "kill in fetch": 5,
    "kill in share": 3,
    "kill in throw_away": 2,
    "kill in purge": 1,
    "power cut that took something": 50,
    "wait_for_weeks": 20,
    "put race": 30,
    "lost put": 100,
    "head that could not be fetched": 100,
    "partition": 100,
    "index-only restore": 5,
    "put back: sync": 5,
    "put back: all": 5,
    "copy that lives on": 10,
    "join with a history": 20,
    "joined with a memo that was thrown away": 5,
    "clock off": 50,
    "sound judged": 300,
    "word judged": 1000,
}
_SHOWN = 20  # failures


_place = ""  # where these lives are


def _prepare(mutant: str, place: str) -> None:
    global _place
    _place = place
    crash.install()
    if mutant:
        mutants.MUTANTS[mutant]()
    gc.collect()
    gc.freeze()  # what is there for good is not to be looked at again and again


def _live(seed: int) -> tuple[int, Counter[str], str]:
    """Live once."""
    with tempfile.TemporaryDirectory(dir=_place) as place:
        life = Life(seed, Path(place))
        try:
            return seed, life.run(), ""
        except Failure as failure:
            return seed, life.count, str(failure)
        finally:
            with contextlib.suppress(OSError):
                shutil.rmtree(place)
                Path(place).mkdir()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--lives", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--mutant", default="", choices=["", *mutants.MUTANTS])
    chosen = parser.parse_args()
    total: Counter[str] = Counter()
    failures: list[tuple[int, str]] = []
    began, lived = time.monotonic(), 0
    seeds = range(chosen.first, chosen.first + chosen.lives)
    memory = Path("/dev/shm")  # a disk that is no disk, where there is one
    with (
        tempfile.TemporaryDirectory(prefix="memosync-lives-", dir=memory if memory.is_dir() else None) as place,
        multiprocessing.get_context("spawn").Pool(chosen.jobs, _prepare, (chosen.mutant, place)) as pool,
    ):
        for seed, count, failure in pool.imap_unordered(_live, seeds, 1 if chosen.mutant else 10):
            lived += 1
            total += count
            if failure:
                failures.append((seed, failure))
                if chosen.mutant:  # which is caught
                    break
        pool.terminate()
        pool.join()
    for seed, failure in sorted(failures)[:_SHOWN]:
        print(f"life {seed}: {failure}")
    kinds = Counter(failure.partition(":")[0] for _, failure in failures)
    print(f"lives {lived}, from {chosen.first}; " + ", ".join(f"{kind} {kinds[kind]}" for kind in _KINDS))
    if chosen.mutant:
        return 0 if failures else 1
    if not failures:  # the rule of three
        print(f"so less than one life in {lived // 3} loses something, with 95 % confidence")
    for name, many in sorted(total.items()):
        print(f"{many:9} {name}")
    print(f"{time.monotonic() - began:.0f} s")
    rare = [name for name, least in LEAST.items() if lived >= 50 and total[name] < least * lived // 100]
    if rare:
        print(f"too rare: {', '.join(rare)}")
    return 1 if failures or rare else 0


_KINDS = ("lost", "duplicated", "stale")

if __name__ == "__main__":
    sys.exit(main())
