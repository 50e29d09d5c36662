"""Many lives, in ranges that can be gone on with: what was lost, is there twice, or is stale; none of it may be.

python -m proof.run [--talk] [--first N] [--lives N] [--jobs N] [--brief] [--mutant NAME]

Run in tests/, as `make proof` does.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from . import crash, mutants
from .life import Life
from .talk import Talk
from .witness import Failure

LEAST = {  # of what has to have happened in a hundred lives, some half of what does: else they prove nothing
    "edited at once": 10,
    "one sound with other words": 6,  # equal clocks, and different values
    "kill": 150,
    "kill in a merge": 25,
    "kill in edit": 20,
    "kill in record": 25,
    "kill in fetch": 15,
    "kill in share": 4,
    "kill in tag": 3,
    "kill in throw_away": 5,
    "kill in purge": 1,
    "kill in bring_back": 1,
    "kill at open": 25,
    "kill at os.link": 25,
    "kill at os.remove": 30,
    "kill at os.rename": 15,
    "power cut that took something": 50,
    "wait_for_weeks": 20,
    "gone from a trash by itself": 1,
    "brought back unheard": 3,
    "copy_file": 25,
    "delete_file": 8,
    "rename_file": 8,
    "drop_entry": 12,
    "break_index": 8,
    "repair": 18,
    "lose_inner": 15,
    "alter_file": 6,
    "retag_file": 9,
    "tag_by_hand": 15,
    "bring_back_by_hand": 3,
    "reorder": 7,
    "empty_trash": 3,
    "refused": 70,
    "refused in a merge": 20,
    "refused in edit": 9,
    "refused in record": 12,
    "refused in fetch": 7,
    "refused at fsync": 11,
    "refused at os.rename": 10,
    "refused at os.remove": 12,
    "refused to read": 20,
    "meanwhile": 80,
    "meanwhile edit_by_hand a merge": 3,
    "meanwhile edit a merge": 2,
    "meanwhile throw_away a merge": 2,
    "meanwhile edit fetch": 2,
    "put race": 15,
    "lost put": 150,
    "head that could not be fetched": 130,
    "partition": 200,
    "index-only restore": 15,
    "put back: sync": 4,
    "put back: all": 6,
    "copy that lives on": 10,
    "join with a history": 40,
    "joined with a memo that was thrown away": 10,
    "clock off": 130,
    "clock set": 60,
    "copy of an index": 40,
    "link ended": 5,
    "was in another group": 25,
    "sound judged": 500,
    "word judged": 2000,
}
TALKED = {  # the same of devices that talk as seeders do
    "head merged": 2000,
    "head on a base": 300,
    "head merged that is served here": 50,
    "torrent that did not come at once": 300,
    "seeder that began anew": 150,
    "kill in a turn of the seeder": 25,
    "refused in a turn of the seeder": 180,
    "refused to read": 60,
    "power cut that took something": 50,
    "partition": 60,
    "put back: index": 12,
    "lose_inner": 12,
    "alter_file": 8,
    "retag_file": 9,
    "tag_by_hand": 15,
    "forget": 7,
    "sound judged": 400,
    "word judged": 1500,
}
_SHOWN = 20  # failures


_place, _kind = "", Life  # where these lives are, and of what kind


def _prepare(mutant: str, place: str, kind: type[Life]) -> None:
    global _place, _kind
    _place, _kind = place, kind
    crash.install()
    if mutant:
        (mutants.MUTANTS | mutants.TALK)[mutant]()
    gc.collect()
    gc.freeze()  # what is there for good is not to be looked at again and again


def _live(seed: int) -> tuple[int, Counter[str], str]:
    """Live once."""
    with tempfile.TemporaryDirectory(dir=_place) as place:
        life = _kind(seed, Path(place))
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
    parser.add_argument("--talk", action="store_true")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--lives", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--brief", action="store_true", help="say only what was lost, and what was too rare")
    parser.add_argument("--mutant", default="", choices=["", *mutants.MUTANTS, *mutants.TALK])
    chosen = parser.parse_args()
    kind, least = (Talk, TALKED) if chosen.talk else (Life, LEAST)
    total: Counter[str] = Counter()
    failures: list[tuple[int, str]] = []
    began, lived = time.monotonic(), 0
    seeds = range(chosen.first, chosen.first + chosen.lives)
    os.environ["PYTHONHASHSEED"] = "0"  # of those who live: the same life again goes the same way
    memory = Path("/dev/shm")  # a disk that is no disk, where there is one
    with (
        tempfile.TemporaryDirectory(prefix="memosync-lives-", dir=memory if memory.is_dir() else None) as place,
        ProcessPoolExecutor(  # which ends, and says so, where a process cannot begin, or is killed
            chosen.jobs, multiprocessing.get_context("spawn"), _prepare, (chosen.mutant, place, kind)
        ) as pool,
    ):
        for seed, count, failure in pool.map(_live, seeds, chunksize=1 if chosen.mutant else 10):
            lived += 1
            total += count
            if failure:
                failures.append((seed, failure))
                if chosen.mutant:  # which is caught
                    pool.shutdown(cancel_futures=True)
                    break
    for seed, failure in sorted(failures)[:_SHOWN]:
        print(f"life {seed}: {failure}")
    kinds = Counter(failure.partition(":")[0] for _, failure in failures)
    print(f"lives {lived}, from {chosen.first}; " + ", ".join(f"{kind} {kinds[kind]}" for kind in _KINDS))
    if chosen.mutant:
        return 0 if failures else 1
    if not failures:  # the rule of three
        print(f"so less than one life in {lived // 3} loses something, with 95 % confidence")
    for name, many in sorted(total.items()) if not chosen.brief else ():
        print(f"{many:9} {name}")
    print(f"{time.monotonic() - began:.0f} s")
    rare = [name for name, few in least.items() if lived >= 50 and total[name] < few * lived // 100]
    if rare:
        print(f"too rare: {', '.join(rare)}")
    return 1 if failures or rare else 0


_KINDS = ("lost", "duplicated", "stale")

if __name__ == "__main__":
    sys.exit(main())
