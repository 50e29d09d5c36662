"""The program under attack: how it may end, what it may say, and what it must not touch."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import resource
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.program import Program, Result
from support.zygote import Forked

SECONDS = 240  # that any attack may take, with other tests beside it
MEMORY = 250_000  # kilobytes resident: an ordinary fetch has 60,000, one that is flooded up to 190,000
_ADDRESSES = 6 * 2**30  # bytes: the machine's own protection from what would be seen too late

Tree = Mapping[str, tuple[Any, ...]]


class Target:
    """A library with a home, a working directory and a temporary one around it, in all of which nothing may happen."""

    def __init__(self, directory: Path) -> None:
        self.outside = directory
        self.library = directory / "Memos"
        self.here = directory / "here"
        for name in ("home", "here", "tmp"):
            (directory / name).mkdir(parents=True)
        (directory / "canary.webm").write_text("alive")
        self.program = Program(self.library, {"HOME": str(directory / "home"), "TMPDIR": str(directory / "tmp")})

    def run(self, *arguments: object, code: int, stdin: bytes = b"", env: Mapping[str, str] = {}) -> Result:
        """Run the program to its end and insist on everything that holds for every attack."""
        before = self.around()
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin)
            given.seek(0)
            process = self.program.begin(*arguments, streams=[given, out, err], cwd=self.here, env=env)
            resource.prlimit(process.pid, resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
            peak = _watch(process)
            texts = [os.pread(file.fileno(), 10**7, 0).decode() for file in (out, err)]
        assert process.returncode is not None
        result = Result(process.returncode, *texts)

        assert code == result.code, result
        assert peak < MEMORY, result
        assert "Traceback" not in result.err
        assert not steering(result.err), result
        assert not steering(result.out, "\n\t"), result
        assert before == self.around(), "something happened outside the library"
        return result

    def refuses(self, *arguments: object, code: int, count: int = 1, **options: Any) -> list[str]:
        """Run what must fail so many times; give the error lines, one for each."""
        result = self.run(*arguments, code=code, **options)
        lines = result.err.splitlines()
        errors = [line for line in lines if line.startswith("memosync: error: ")]
        hints = [line for line in lines if line.startswith("memosync: hint: ")]
        waits = [
            line for line in lines if line.startswith(("memosync: waiting for somebody", "memosync: nobody so far"))
        ]

        assert "" == result.out
        assert count == len(errors), result.err
        assert len(hints) <= count
        assert sorted(lines) == sorted(errors + hints + waits)
        assert [] == [line for line in lines if len(line) > 400], "a clear line is no novel"
        return errors

    def files(self) -> list[str]:
        """Name whatever is in the library and is no directory: of a refused download, nothing."""
        paths = self.library.rglob("*")
        return sorted(str(path.relative_to(self.library)) for path in paths if path.is_symlink() or not path.is_dir())

    def incoming(self) -> list[Path]:
        return list((self.library / ".memosync/incoming").glob("*"))

    def around(self) -> Tree:
        """Take everything around the library down: kind, rights, time, content, target."""
        paths = [path for path in self.outside.rglob("*") if not path.is_relative_to(self.library)]
        return {str(path): _state(path) for path in paths}


def tree(directory: Path) -> Tree:
    return {str(path): _state(path) for path in directory.rglob("*")}


def _state(path: Path) -> tuple[Any, ...]:
    status = path.lstat()
    link = os.readlink(path) if path.is_symlink() else ""
    content = hashlib.sha1(path.read_bytes()).hexdigest() if path.is_file() and status.st_size < 10**7 else ""
    return status.st_mode, status.st_size, status.st_mtime_ns if path.is_file() else 0, link, content


def _watch(process: subprocess.Popen[Any] | Forked) -> int:
    """Wait for the end of a process, or make it; give the most memory it was seen to have."""
    peak = 0
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):  # ru_maxrss would count what we had when we forked
            found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
            peak = max(peak, int(found[1])) if found else peak
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
            return max(peak, process.peak) if isinstance(process, Forked) else peak
    process.kill()
    process.wait()
    return peak


def steering(text: str, allowed: str = "\n") -> list[str]:
    """Find what a terminal would obey: C0 and C1, separators of lines, marks that turn the direction of writing."""
    codes = {
        *range(32),
        *range(127, 160),
        0x61C,
        *range(0x200E, 0x2010),
        *range(0x2028, 0x202F),
        *range(0x2066, 0x206A),
    }
    return [sign for sign in text if ord(sign) in codes and sign not in allowed]
