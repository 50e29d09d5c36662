"""Child processes: fresh interpreters that run this same program, and whether a process is still the one it was.

The one owner of subprocess. Never a fork: a process with threads cannot be copied.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any


def start(
    module: str, *arguments: str, deaf_to: Collection[signal.Signals] = (), **options: Any
) -> subprocess.Popen[bytes]:
    """Start `python -m module` in a fresh interpreter that finds this same program; options are those of Popen.

    The signals it is `deaf_to` never reach it, not even before its first line: they are blocked when it begins.
    """
    home = str(Path(__file__).parent.parent)
    path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-P", "-m", module, *arguments]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, deaf_to)
    try:
        return subprocess.Popen(command, cwd="/", env={**os.environ, "PYTHONPATH": path}, **options)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def birth(pid: int) -> str:
    """Tell one process from a later one with the same number: its start time, in clock ticks after boot (proc(5)).

    Empty for one that is dead, a zombie included.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except OSError:  # gone, or a system without /proc
        return "" if Path("/proc/self").exists() else str(pid)
