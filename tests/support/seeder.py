"""What a seeder says of itself, and whether it lives."""

from __future__ import annotations

import contextlib
import os
import tomllib
from pathlib import Path
from typing import Any

from support.program import Program


def state(program: Program) -> dict[str, Any]:
    """Read what the seeder says of itself."""
    return tomllib.loads((program.library / ".memosync" / "seeder.toml").read_text())


def log(program: Program) -> str:
    with contextlib.suppress(FileNotFoundError):  # nothing is in it yet, or it was moved just now
        return (program.library / ".memosync" / "seeder.log").read_text()
    return ""


def is_alive(process: int) -> bool:
    """Tell whether a thread of it is left: only the last one lets go of what the process holds, as a lock."""
    threads: list[str] = []
    with contextlib.suppress(OSError):
        threads = os.listdir(f"/proc/{process}/task")
    for thread in threads:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{process}/task/{thread}/stat").read_text()
            if text.rpartition(")")[2].split()[0] not in "ZX":
                return True
    return False


def cpu(process: int) -> float:
    """Give the seconds that a process has taken of the machine."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def port_of_our_own() -> int:
    """Give a port below those that the kernel gives away by itself, so that it is free a second time."""
    return 20000 + os.getpid() % 10000


def forget_memory(program: Program) -> int:
    """Give what the seeder has, in KB, and have its kernel forget that it ever had more."""
    Path(f"/proc/{state(program)['pid']}/clear_refs").write_text("5")
    return memory(program)


def memory(program: Program) -> int:
    """Give the most that the seeder had since then, in KB."""
    text = Path(f"/proc/{state(program)['pid']}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM"))
