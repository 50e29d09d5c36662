"""A program that dies, or is refused, at one system call after the other."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from support.program import PROGRAM, Program

LOOKS_LONG = """
import time
from memosync.audio import webm
def probe(path, probe=webm.probe):
    open({sign!r}, "w").close()
    time.sleep(1)
    return probe(path)
webm.probe = probe
"""

REFUSES = """
import os
def refused(*arguments, call=os.{call}):
    last = arguments[-1]
    if {path!r} == (os.readlink(f"/proc/self/fd/{{last}}") if isinstance(last, int) else os.fspath(last)):
        raise OSError({error}, os.strerror({error}))
    return call(*arguments)
os.{call} = refused
"""  # of one path alone, which strace does not look at in a rename

REFUSES_WHILE = """
import errno, os
def refuse(call):
    def refused(*arguments, **more):
        last = os.fspath(arguments[1] if call.__name__ in ("replace", "rename", "link") else arguments[0])
        writes = call.__name__ != "open" or arguments[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        for name, error, sign in {refused!r}:
            if writes and name in last and os.path.exists(sign):
                number = getattr(errno, error)
                raise OSError(number, os.strerror(number), last)
        return call(*arguments, **more)
    return refused
for name in ("open", "replace", "rename", "link"):
    setattr(os, name, refuse(getattr(os, name)))
"""  # what is refused: parts of paths, each with an error's name, and a file, the sign, while which is there


def at_every(call: str, fault: str, memosync: Program, template: Path, *arguments: object) -> Iterator[Program]:
    """Run it with a fault instead of the first of these system calls, the second, and so on, each in a fresh library.

    The last one given met no fault any more.
    """
    for step in itertools.count(1):
        here = memosync.on(memosync.library.with_name(f"{call} {step}") / "Memos")
        shutil.copytree(template, here.library, ignore=shutil.ignore_patterns("index.*.toml"))
        trace = here.library.with_name("trace")
        # strace counts each system call by itself: of two given at once many would be passed over
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={step}"]
        command = ["strace", "-f", "-qq", "-o", str(trace), *inject, *PROGRAM, *map(str, arguments)]
        subprocess.run(command, env=here.environment, capture_output=True, timeout=120)
        yield here
        if "killed by" not in trace.read_text() and "INJECTED" not in trace.read_text():
            assert step > 1
            return
