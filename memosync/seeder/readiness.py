"""The way back to whoever starts a process in the background: a pipe, on which is said that it is ready, or why not.

What is said is one line of JSON: an object, with `state` where a seeder says of itself how it is, also where no disk
takes it, or with `fault`, and maybe `hint` and `code`, the exit code.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import time

from ..stop import Stop


def say(pipe: int | None, **words: str | None) -> None:
    """Say how the process is that is ready, or what is wrong; nobody may be listening any more."""
    if pipe is not None:
        said = memoryview(json.dumps({name: word for name, word in words.items() if word}).encode() + b"\n")
        with contextlib.suppress(OSError):
            while said:
                said = said[os.write(pipe, said) :]


def wait_for(pipe: int, deadline: float, stop: Stop) -> dict[str, str] | None:
    """Wait for what is said; None when nobody will say anything more, on `stop`, and at `deadline` (monotonic)."""
    said = b""
    while time.monotonic() < deadline and not stop.is_set():
        if select.select([pipe], [], [], 0.05)[0]:
            if not (more := os.read(pipe, 65_536)):
                break
            said += more
            if said.endswith(b"\n"):
                answer: dict[str, str] = json.loads(said.splitlines()[0])
                return answer
    return None
