"""The keeper: the detached process, a few lines without libtorrent that keep the seeder alive.

It holds `seeder.lock`, runs the ordinary `seed` as its child, whose standard input is a pipe from it, writes what the
child says into the log, and starts it again when it died of anything but its end. While the library is not where it
was, moved or unplugged, it holds and makes nothing, and waits.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files, process
from ..errors import LibraryError, SeederError
from ..stop import Stop
from . import readiness, state

if TYPE_CHECKING:
    from ..process import Child

LOG_LIMIT = 400_000  # bytes; the log before this one is kept beside it
_LOOK_EVERY = 5.0  # seconds
PATIENCE = 5  # deaths in a row before it served anything
_LONG = 30.0  # seconds after which one has served, whether that could be written or not
_PAUSE = 60.0  # seconds at most between two starts
_SAID_WHY = range(2, 9)  # exit codes of an end that would come again


def main() -> None:
    """Be the keeper of `python -m memosync.seeder.keeper PRIVATE PIPE ARGUMENTS...`."""
    private, pipe, arguments = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    stop = Stop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    files.never_make(private.parent, private)
    has_begun = False
    while not stop.is_set():
        try:
            with state.sole(private) as lock:
                has_begun = True
                code = keep(private, arguments, lock, pipe, stop)
                if code is not None or state.was_removed(private, lock):
                    sys.exit(code)
        except SeederError:  # another one was quicker: it will do
            return
        except LibraryError as error:
            if not has_begun:
                readiness.say(pipe, fault=str(error), hint=error.hint)
                sys.exit(error.exit_code)
        state.wait_for_library(private, stop)


def keep(private: Path, arguments: list[str], lock: int, pipe: int, stop: Stop) -> int | None:
    """Run the seeder as a child and again whenever it dies, on the same port; give the exit code of its end.

    None when the library is not in its place any more. One that has served is never given up: what it died of, or said
    why, may pass.
    """
    failures = restarts = 0
    has_served = False
    while True:
        kept = ["--kept", f"{lock}:{restarts}", "--readiness", str(pipe)]
        began = time.monotonic()
        child = process.start("memosync", *arguments, *kept, pipes=["stdin", "stderr"], pass_fds=[lock, pipe])
        threading.Thread(target=_pass_on, args=[child, stop], daemon=True).start()
        assert child.stderr
        last = b""
        for line in child.stderr:
            _log(private, line)
            last = line
        code = child.wait()
        if stop.is_set():
            return 0
        if not state.is_in_place(private, lock):
            return None
        if code == 0:
            return 0
        serves = state.has_served(private, child.pid) or time.monotonic() - began > _LONG
        has_served |= serves
        if code in _SAID_WHY and not has_served:
            readiness.say(pipe, fault=_text(last).removeprefix("memosync: error: ") or "it said nothing")
            return code
        failures = 0 if serves else failures + 1
        restarts += 1
        if failures >= PATIENCE and not has_served:
            fault = f"giving up, it died {failures} times before it served ({code})"
            fault += f"; the last it said was: {_text(last)}" if last.strip() else ""
            _log(private, fault.encode() + b"\n")
            state.write_fault(private, fault)
            readiness.say(pipe, fault=fault)
            return 1
        _log(private, f"the seeder died ({code}); start {restarts + 1}\n".encode())
        stop.wait(min(0.05 * 2**failures, _PAUSE))


def _pass_on(child: Child, stop: Stop) -> None:
    while not stop.wait(_LOOK_EVERY):
        if child.poll() is not None:
            return
    process.end(child)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").strip()


def _log(private: Path, line: bytes) -> None:
    path = state.log_of(private)
    with contextlib.suppress(OSError):
        if files.is_regular(path) and path.stat().st_size > LOG_LIMIT:
            files.move(path, path.with_suffix(".log.1"), sync=False)
        files.append(path, time.strftime("%Y-%m-%d %H:%M:%S ").encode() + line[:2000])


if __name__ == "__main__":
    main()
