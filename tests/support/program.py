"""The program as a user runs it: arguments in; standard output, standard error and exit code out."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from .zygote import Forked, zygote

PROGRAM = [sys.executable, "-m", "memosync"]
INSTALLED = Path(sys.executable).with_name("memosync")
Ended = Callable[[subprocess.Popen[Any]], subprocess.Popen[Any]]  # the fixture of this name


@dataclasses.dataclass(frozen=True)
class Result:
    """What a finished run left: everything a script could see of it."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Program:
    """Run memosync in a child process on one library, on loopback only."""

    def __init__(self, library: Path, environment: Mapping[str, str]) -> None:
        self.library = library
        self.under: list[str] = []  # another command that runs it
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MEMOSYNC_")},
            "MEMOSYNC_LIBRARY": str(library),
            "MEMOSYNC_NETWORK": "loopback",
            "XDG_RUNTIME_DIR": str(library.parent),  # else whoever asks for a microphone leaves a directory in /tmp
            **environment,
        }

    def on(self, library: Path) -> Program:
        """Give the same program on another library."""
        return Program(library, {"HOME": self.environment["HOME"]})

    def meddle(self, code: str) -> None:
        """Run this first in every interpreter of the program: a fault that cannot be had otherwise."""
        place = self.library.with_name(f"{self.library.name} meddled")
        place.mkdir()
        (place / "sitecustomize.py").write_text(code)
        before = self.environment.get("PYTHONPATH")
        self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(place), before]))

    def start(self, *arguments: object, **options: Any) -> subprocess.Popen[Any]:
        """Start it and return at once; standard streams are pipes unless told otherwise."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        environment = {**self.environment, **options.pop("env", {})}
        return subprocess.Popen([*self.under, *PROGRAM, *map(str, arguments)], env=environment, **options)

    def __call__(
        self,
        *arguments: object,
        code: int = 0,
        stdin: str | bytes = b"",
        timeout: float = 60,
        env: Mapping[str, str] = {},
    ) -> Result:
        """Run it to its end and insist on its exit code."""
        result = self.run(*arguments, stdin=stdin, timeout=timeout, env=env)

        assert code == result.code, f"{arguments}: {result.out}{result.err}"
        return result

    def run(
        self, *arguments: object, stdin: str | bytes = b"", timeout: float = 60, env: Mapping[str, str] = {}
    ) -> Result:
        """Run it to its end, or kill it after so many seconds."""
        process = self._start_loaded(*arguments, env=env) or self.start(*arguments, stdin=subprocess.PIPE, env=env)
        data = stdin.encode() if isinstance(stdin, str) else stdin
        try:
            out, err = process.communicate(data, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err += f"\n{arguments} did not end in {timeout} s".encode()
        assert process.returncode is not None
        return Result(process.returncode, *(said.decode(errors="surrogateescape") for said in (out, err)))

    def begin(
        self, *arguments: object, streams: Sequence[IO[bytes]], cwd: Path, env: Mapping[str, str]
    ) -> subprocess.Popen[Any] | Forked:
        """Start it with files for its standard streams, and return at once."""
        loaded = self._start_loaded(*arguments, env=env, streams=[file.fileno() for file in streams], directory=cwd)
        stdin, stdout, stderr = streams
        return loaded or self.start(*arguments, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, env=env)

    def namespaces(self) -> list[str] | None:
        """Name those that it runs in; None under another command that does more."""
        return None if self.under else []

    def _start_loaded(self, *arguments: object, env: Mapping[str, str], **options: Any) -> Forked | None:
        """Start it loaded already, where that makes no difference: not under another command, nor to count lines."""
        environment, namespaces = {**self.environment, **env}, self.namespaces()
        if namespaces is None or "COVERAGE_PROCESS_START" in os.environ or not zygote().may_run(environment):
            return None
        return zygote().start(environment, list(map(str, arguments)), namespaces, **options)


def errors(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("memosync: error:")]


def answer(memosync: Program, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the program as bash does at a TAB after the words, and list what it imports on stderr."""
    question = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1), "_MEMOSYNC_COMPLETE": "complete_bash"}
    command = [sys.executable, "-X", "importtime", str(INSTALLED)]
    return subprocess.run(
        command, env={**memosync.environment, **question}, capture_output=True, text=True, check=True, timeout=60
    )


def commands() -> dict[str, Any]:
    """Give the program's commands as Typer made them; the empty name is the program itself."""
    import typer.main

    from memosync import cli

    group: Any = typer.main.get_command(cli.app)
    return {"": group, **group.commands}
