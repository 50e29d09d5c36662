"""Child processes: fresh interpreters that run this same program, and whether a process is still the one it was.

The one owner of subprocess. Never a fork: a process with threads cannot be copied.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import signal
    import subprocess

    Child = subprocess.Popen[bytes]


def start(
    module: str, *arguments: str, pipes: Collection[str] = (), deaf_to: Collection[signal.Signals] = (), **options: Any
) -> Child:
    """Start `python -m module` in a fresh interpreter that finds this same program.

    Those of its standard streams that are named in `pipes` are pipes, the others lead nowhere. The signals it is
    `deaf_to` never reach it, not even before its first line: they are blocked when it begins. `options` are Popen's.
    """
    import signal
    import subprocess  # which most commands need not load

    home = str(Path(__file__).parent.parent)
    path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-P", "-m", module, *arguments]
    for stream in ("stdin", "stdout", "stderr"):
        options.setdefault(stream, subprocess.PIPE if stream in pipes else subprocess.DEVNULL)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, deaf_to)
    try:
        return subprocess.Popen(command, cwd="/", env={**os.environ, "PYTHONPATH": path}, **options)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def outcome(*command: str, timeout: float) -> tuple[int, str]:
    """Run another program to its end, for `timeout` seconds at most; give its exit code and what it said.

    A program that is not there, or does not end, has the exit code 127.
    """
    import subprocess

    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, str(error)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def end(child: Child, patience: float = 5) -> None:
    """End a child: TERM first, KILL when it has not ended after `patience` seconds."""
    import subprocess

    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(patience)
    child.kill()


def birth(pid: int) -> str:
    """Tell one process from a later one with the same number: its start time, in clock ticks after boot (proc(5)).

    Empty for one that is dead, a zombie included.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except OSError:  # gone, or a system without /proc
        return "" if Path("/proc/self").exists() else str(pid)


def is_ours(pid: int) -> bool:
    """Tell whether a process is one that this user may have started and may end: never a group, or the first of all."""
    with contextlib.suppress(OSError):
        return pid > 1 and os.stat(f"/proc/{pid}").st_uid == os.geteuid()
    return pid > 1 and not Path("/proc/self").exists()


def parent(pid: int) -> int:
    """Give the process that a process ends with, or that took it over (proc(5)); 0 where that cannot be known."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def has_open(pid: int, path: Path) -> bool:
    """Tell whether a process of ours has a file open; one of a system without /proc may have."""
    if not Path("/proc/self").exists():
        return True
    with contextlib.suppress(OSError):
        status = path.stat()
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                if os.path.samestat(descriptor.stat(), status):
                    return True
    return False


def lock_holder(path: Path) -> int:
    """Give the process that has a file's lock for itself, whoever started it (proc_locks(5)).

    0 for one that is not seen from here, as in another container or on another machine, and where nobody has it.
    """
    with contextlib.suppress(OSError, ValueError):
        status = path.stat()
        device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
        for line in Path("/proc/locks").read_text().splitlines():
            _, kind, _, access, pid, place, *_ = line.split()
            there, _, inode = place.rpartition(":")
            is_it = (kind, access) == ("FLOCK", "WRITE") and int(inode) == status.st_ino
            if is_it and (there == device or has_open(int(pid), path)):  # some file systems have two numbers
                return max(0, int(pid))
    return 0


def program(pid: int) -> str:
    """Name the program that a process runs, and not the interpreter that does; empty where that cannot be known."""
    words = arguments(pid)
    if words and Path(words[0]).name.startswith("python") and "-c" not in words:
        words = [word for word in words[1:] if not word.startswith("-")] or words
    return Path(words[0]).name if words else ""


def arguments(pid: int) -> list[str]:
    """Give the command line of a process of ours (proc(5)); nothing where that cannot be known."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text("utf-8", "surrogateescape").split("\0")[:-1]
    return []


def age(pid: int) -> float:
    """Give the seconds for which a process has been there; 0 where that cannot be known."""
    with contextlib.suppress(OSError, ValueError):
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return max(0.0, uptime - int(birth(pid)) / os.sysconf("SC_CLK_TCK"))
    return 0.0


def find(*words: str) -> int:
    """Find a process of ours that was started with these words, one after the other, and sees the same disks.

    0 for none.
    """
    for place in Path("/proc").glob("[1-9]*"):
        given = tuple(arguments(pid := int(place.name)))
        if words[0] in given and given[given.index(words[0]) :][: len(words)] == words and is_ours(pid):
            with contextlib.suppress(OSError):
                if os.readlink(place / "ns/mnt") == os.readlink("/proc/self/ns/mnt"):
                    return pid
    return 0
