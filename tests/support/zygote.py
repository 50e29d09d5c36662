"""The program without its start: processes forked from one that has loaded it already, otherwise like any others.

Starting an interpreter and loading FFmpeg and libtorrent is most of what a test of a verb would take. `python -m
support.zygote DESCRIPTOR` takes jobs from that socket, each with the descriptors of its standard streams.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

import memosync

_LOADED = ["av", "libtorrent", "numpy", "rich.console", "tomli", "tomli_w"]
_AT_ANY_TIME = (
    "MEMOSYNC_",
    "ALSA_",
    "PULSE_",
    "PYTEST_",
    "XDG_",
    "HOME",
    "PATH",
    "EDITOR",
    "VISUAL",
    "TERM",
    "TMPDIR",
)  # variables that no start reads
_PR_SET_DUMPABLE = 4


class Forked:
    """A process of the program, with what tests need of `subprocess.Popen`."""

    def __init__(self, stdin: int, stdout: int, stderr: int, status: int) -> None:
        self._stdin = stdin
        self._status = os.fdopen(status)
        self.pid = int(self._status.readline())
        self.returncode: int | None = None
        self.peak = 0  # the most memory it had resident, in kilobytes; known at its end
        self._said = [b"", b""]
        piped = [each for each in ((0, stdout), (1, stderr)) if each[1] >= 0]
        self._threads = [threading.Thread(target=self._read, args=each) for each in piped]

    def communicate(self, data: bytes = b"", timeout: float = 60) -> tuple[bytes, bytes]:
        """Write all of its standard input, read what it says, and wait for its end; TimeoutExpired."""
        if self._stdin >= 0:
            self._threads.append(threading.Thread(target=self._write, args=(self._stdin, data)))
            self._stdin = -1
            for thread in self._threads:
                thread.start()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            raise subprocess.TimeoutExpired("memosync", timeout)
        self.wait(max(0, deadline - time.monotonic()))
        return self._said[0], self._said[1]

    def wait(self, timeout: float = 60) -> int:
        """Wait for its end; TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("memosync", timeout)
            with self._status:
                self.returncode, self.peak = map(int, self._status.readline().split())
        return self.returncode

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def _read(self, number: int, descriptor: int) -> None:
        with open(descriptor, "rb") as stream:
            self._said[number] = stream.read()

    def _write(self, descriptor: int, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError), open(descriptor, "wb", buffering=0) as stream:
            while data:
                data = data[stream.write(data) :]


class Zygote:
    """The process that all others are forked from."""

    def __init__(self) -> None:
        self._environment = dict(os.environ)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "support.zygote", str(theirs.fileno())]
        with theirs:
            subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, pass_fds=[theirs.fileno()])

    def may_run(self, environment: Mapping[str, str]) -> bool:
        """Tell whether an interpreter that is started with these variables would be the same as this one."""
        changed = dict(set(environment.items()) ^ set(self._environment.items()))
        return all(name.startswith(_AT_ANY_TIME) for name in changed)

    def start(
        self,
        environment: Mapping[str, str],
        arguments: list[str],
        namespaces: Sequence[str] = (),
        streams: Sequence[int] = (),
        directory: str | os.PathLike[str] = "",
    ) -> Forked:
        """Start the program with these variables, in these namespaces; its standard streams are pipes otherwise."""
        umask = os.umask(0)
        os.umask(umask)
        here = os.path.abspath(directory)
        status, told = os.pipe()
        pipes = [] if streams else [os.pipe() for _ in range(3)]
        (given, stdin), (stdout, out), (stderr, err) = pipes or [(streams[0], -1), (-1, streams[1]), (-1, streams[2])]
        with tempfile.TemporaryFile() as job:
            job.write(json.dumps([dict(environment), arguments, here, umask, list(namespaces)]).encode())
            job.seek(0)
            socket.send_fds(self._socket, [b"job"], [job.fileno(), given, out, err, told])
        for descriptor in (told, *((given, out, err) if pipes else ())):
            os.close(descriptor)
        return Forked(stdin, stdout, stderr, status)


_the_one = functools.cache(Zygote)
_lock = threading.Lock()  # a second one would end what it was asked for as it goes


def zygote() -> Zygote:
    """Give the one of this process; it ends with it."""
    with _lock:
        return _the_one()


def _enter(namespaces: list[str]) -> None:
    """Go into namespaces as nsenter does."""
    libc = ctypes.CDLL(None, use_errno=True)
    for descriptor in [os.open(path, os.O_RDONLY) for path in namespaces]:
        if libc.setns(descriptor, 0):
            raise OSError(ctypes.get_errno(), "no namespace to go into")
        os.close(descriptor)
    libc.prctl(_PR_SET_DUMPABLE, 1)  # as after an exec: else what it has in /proc is root's


def _be(
    streams: list[int],
    environment: dict[str, str],
    arguments: list[str],
    directory: str,
    umask: int,
    namespaces: list[str],
) -> None:
    """Become the program: never returns."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, max(streams) + 1)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    os.umask(umask)
    tempfile.tempdir = None  # it was chosen for another environment
    sys.argv = [str(Path(memosync.__file__).with_name("__main__.py")), *arguments]
    code = 1
    try:
        from memosync.__main__ import main

        if namespaces:
            _enter(namespaces)
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _serve(jobs: socket.socket) -> None:
    """Fork a process for every job, and tell of each its number at once and its exit code in the end."""
    for name in _LOADED:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(memosync.__path__, "memosync."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.freeze()  # a collection would copy every page
    running: dict[int, tuple[int, int]] = {}  # by its pidfd: the process, and where its end is told
    while True:
        for ready in select.select([jobs.fileno(), *running], [], [])[0]:
            if ready in running:
                pid, told = running.pop(ready)
                _, status, usage = os.wait4(pid, 0)
                end = os.waitstatus_to_exitcode(status), usage.ru_maxrss
                with contextlib.suppress(BrokenPipeError):
                    os.write(told, b"%d %d\n" % end)
                os.close(ready)
                os.close(told)
                continue
            message, descriptors, *_ = socket.recv_fds(jobs, 16, 5)
            if not message:
                return
            *streams, told = descriptors
            with open(streams.pop(0)) as job:
                doing = json.load(job)
            if (pid := os.fork()) == 0:
                _be(streams, *doing)
            os.write(told, b"%d\n" % pid)
            running[os.pidfd_open(pid)] = pid, told
            for descriptor in streams:
                os.close(descriptor)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
