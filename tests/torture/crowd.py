"""Many processes at once in one library: `python crowd.py LIBRARY SOURCE PROCESSES SECONDS SEED VERB...`.

Each of them is the program, told one thing after the other: it is loaded once and forked for each verb, so that there
are tens of verbs a second and not three. Standard output is what was run and what came of it, a JSON line each.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import pkgutil
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memosync import __main__, commands, index
from memosync.index import Index


@dataclasses.dataclass
class Person:
    """One of the crowd."""

    library: Path
    source: Path
    name: str
    chance: random.Random
    count: int = 0

    def think(self, verb: str) -> list[str]:
        """Choose what to give to a verb."""
        self.count += 1
        memos = self.memos().memos
        chosen = self.chance.sample(memos, min(len(memos), self.chance.choice([1, 1, 2])))
        some = [str(memo.id) for memo in chosen] or ["none"]
        title = f"{self.name} {self.count}"
        arguments: dict[str, Callable[[], list[str]]] = {
            "record": lambda: [str(self.source), "-t", title, "--tag", title, "--again"],
            "list": lambda: self.chance.choice([[], ["--json"], ["--shared"]]),
            "share": lambda: [*some, self.chance.choice(["--no-seed", "--no-seed", "--stop"])],
            "edit": lambda: [some[0], "-t", f"edited by {title}", "-d", "word " * self.chance.randrange(40)],
            "rm": lambda: [*some, *self.chance.choice([[], [], ["--purge", "--force"]])],
            "restore": lambda: some,
            "check": lambda: self.chance.choice([[], ["--repair"]]),
        }
        return arguments[verb]()

    def memos(self) -> Index:
        """Read the index as it is now."""
        path = self.library / "index.toml"
        return index.loads(path.read_text("utf-8")) if path.exists() else Index()

    def run(self, verb: str) -> dict[str, Any]:
        """Be the program once."""
        arguments = [verb, *self.think(verb)]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = os.fork()
            if not child:
                for file, number in ((out, 1), (err, 2)):
                    os.dup2(file.fileno(), number)
                sys.argv = ["memosync", *arguments]
                __main__.main()
            status = os.waitpid(child, 0)[1]
            texts = [os.pread(file.fileno(), 10**6, 0).decode() for file in (out, err)]
        return {"run": arguments, "code": os.waitstatus_to_exitcode(status), "out": texts[0], "err": texts[1]}


def main(library: str, source: str, processes: str, seconds: str, seed: str, *verbs: str) -> None:
    loaded = [
        "av",
        "libtorrent",
        "memosync.cli",
        *(f"{commands.__name__}.{module.name}" for module in pkgutil.iter_modules(commands.__path__)),
    ]
    for name in loaded:
        importlib.import_module(name)
    deadline = time.monotonic() + float(seconds)
    people = [
        Person(Path(library), Path(source), f"p{number}", random.Random(f"{seed} {number}"))
        for number in range(int(processes))
    ]
    for person in people:
        if os.fork():
            continue
        with tempfile.TemporaryFile("w+") as diary:
            while not person.count or time.monotonic() < deadline:
                print(json.dumps(person.run(person.chance.choice(verbs))), file=diary)
            diary.seek(0)
            os.write(1, diary.read().encode())
        os._exit(0)
    failed = sum(os.wait()[1] != 0 for _ in people)
    os._exit(failed)


if __name__ == "__main__":
    main(*sys.argv[1:])
