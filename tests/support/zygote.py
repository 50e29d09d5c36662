"""Many verbs in a short time: each a process of its own, forked from one that has loaded the program already.

`python -m support.zygote` reads a job a line from standard input, and answers a line when that has ended.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import memosync
from support.program import Program, Result

LOADED = ["av", "libtorrent", "numpy", "rich.console", "tomli", "tomli_w"]


@dataclass(frozen=True)
class Ran:
    """What a verb left."""

    code: int  # negative: the signal that ended it
    out: str
    err: str
    seconds: float


class Zygote:
    """Run verbs of the program, one after the other."""

    def __init__(self) -> None:
        path = os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.zygote"],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, program: Program, *arguments: object, seconds: float, stdin: bytes = b"") -> Ran:
        """Run it to its end, or kill it after so many seconds."""
        assert self._process.stdin
        assert self._process.stdout
        job = [program.environment, list(map(str, arguments)), seconds, stdin.hex()]
        print(json.dumps(job), file=self._process.stdin, flush=True)
        return Ran(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate()


class Quick(Program):
    """The program, run by a zygote."""

    def __init__(self, program: Program, zygote: Zygote) -> None:
        super().__init__(program.library, program.environment)
        self.zygote = zygote

    def on(self, library: Path) -> Quick:
        return Quick(super().on(library), self.zygote)

    def __call__(
        self,
        *arguments: object,
        code: int = 0,
        stdin: str | bytes = b"",
        timeout: float = 60,
        env: Mapping[str, str] = {},
    ) -> Result:
        assert not env
        data = stdin.encode() if isinstance(stdin, str) else stdin
        ran = self.zygote.run(self, *arguments, seconds=timeout, stdin=data)

        assert code == ran.code, f"{arguments}: {ran.out}{ran.err}"
        return Result(ran.code, ran.out, ran.err)


@contextlib.contextmanager
def born() -> Iterator[Zygote]:
    """Give one, and end it."""
    ours = Zygote()
    try:
        yield ours
    finally:
        ours.close()


def _run(environment: dict[str, str], arguments: list[str], seconds: float, stdin: str) -> Ran:
    """Fork, be the verb there, and wait for it here."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(bytes.fromhex(stdin))
        given.seek(0)
        began = time.monotonic()
        if (pid := os.fork()) == 0:
            _be(environment, arguments, [file.fileno() for file in (given, out, err)])
        handle = os.pidfd_open(pid)
        try:
            if not select.select([handle], [], [], seconds)[0]:
                os.kill(pid, signal.SIGKILL)
        finally:
            os.close(handle)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        said = [os.pread(file.fileno(), 10**6, 0).decode("utf-8", "replace") for file in (out, err)]
        return Ran(code, said[0], said[1], time.monotonic() - began)


def _be(environment: dict[str, str], arguments: list[str], streams: list[int]) -> None:
    """Become a verb: never returns."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["memosync", *arguments]
    try:
        from memosync.__main__ import main

        main()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)


def _serve() -> None:
    for name in LOADED:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(memosync.__path__, "memosync."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.freeze()  # a collection would copy every page
    for line in sys.stdin:
        ran = _run(*json.loads(line))
        print(json.dumps([ran.code, ran.out, ran.err, ran.seconds]), flush=True)


if __name__ == "__main__":
    _serve()
