"""A program that dies, or is refused, at one system call after the other."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from conftest import PROGRAM, Program


def at_every(
    calls: str, fault: str, memosync: Program, template: Path, *arguments: object, stdin: bytes = b""
) -> Iterator[Program]:
    """Run it with a fault at the first of these system calls, at the second, and so on, each on a copy of a library.

    The last one given met no fault any more.
    """
    for step in itertools.count(1):
        here = memosync.on(memosync.library.with_name(f"step {step}") / "Memos")
        shutil.copytree(template, here.library)
        trace = here.library.with_name("trace")
        inject = ["-e", f"trace={calls}", "-e", f"inject={calls}:{fault}:when={step}"]
        command = ["strace", "-f", "-qq", "-o", trace, *inject, *PROGRAM, *map(str, arguments)]
        subprocess.run(command, input=stdin, env=here.environment, capture_output=True, timeout=30)
        yield here
        if "killed by" not in trace.read_text() and "INJECTED" not in trace.read_text():
            assert step > 1
            return
