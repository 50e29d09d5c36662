"""The seeder as a process: started, kept alive, asked how it is, and stopped.

The owner of subprocess and pids. What it says of itself stands in `seeder.toml`; who holds `seeder.lock` is it.
The detached process is a keeper: it holds the lock, runs the ordinary `seed` as its child, whose standard input is a
pipe from it, writes what the child says into the log, and starts it again when it died of anything but its end.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import files, index
from .errors import SeederError
from .magnet import InfoHash
from .network import Network
from .stop import Stop

LOG_LIMIT = 400_000  # bytes; the log before this one is kept beside it
MOST_MEMORY = 2**31  # bytes; ten thousand memos take a tenth of it
PATIENCE = 5  # deaths in a row before it served anything
_FROM_TERMINAL = (-signal.SIGINT, -signal.SIGHUP, -signal.SIGQUIT)  # how a process ends that did not expect them
_SAID_WHY = range(2, 9)  # exit codes of an end that would come again


@dataclass(frozen=True, slots=True, kw_only=True)
class SwarmState:
    """One served torrent with something to say."""

    infohash: InfoHash
    state: str = "seeding"
    peers: int = 0
    given: int = 0  # bytes since the seeder began
    delivered: int = 0  # how often somebody was seen to have all of it
    addresses: tuple[str, ...] = ()  # of some of the peers


@dataclass(frozen=True, slots=True, kw_only=True)
class SeederState:
    """What the running seeder says of itself."""

    network: Network
    port: int = 0
    addresses: tuple[str, ...] = ()  # as they stand in links
    ready: bool = False
    pid: int = 0
    keeper: int = 0  # its parent, when it is detached
    restarts: int = 0
    seen: int = 0  # the time stamp of the index it last acted on
    crowded: bool = False  # more torrents have WebSocket trackers than can be announced there
    announced: tuple[InfoHash, ...] = ()  # those that are, when it is crowded
    swarms: Mapping[InfoHash, SwarmState] = field(default_factory=dict)


def is_running(private: Path) -> bool:
    return files.is_locked(private / "seeder.lock")


def read_state(private: Path) -> SeederState | None:
    """Read what the seeder says of itself; None when none runs, or it has not said anything yet."""
    if not is_running(private):
        return None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        table = index.parse_toml((private / "seeder.toml").read_text("utf-8"))
        ending = table["keeper"] and not _born(table["keeper"])  # its keeper was killed, and it goes too
        if table["born"] == _born(table["pid"]) and not ending:
            swarms = [SwarmState(**swarm) for swarm in table.pop("swarm", [])]
            table |= {"network": Network(table["network"]), "addresses": tuple(table["addresses"])}
            table["announced"] = tuple(table["announced"])
            del table["born"]
            return SeederState(**table, swarms={swarm.infohash: swarm for swarm in swarms})
    return None


def write_state(private: Path, state: SeederState) -> None:
    """Say how we are; the caller is the seeder."""
    table = {name: getattr(state, name) for name in SeederState.__slots__ if name != "swarms"}
    table |= {"network": state.network.value, "addresses": list(state.addresses), "born": _born(state.pid)}
    table["announced"] = list(state.announced)
    table["swarm"] = [{name: getattr(swarm, name) for name in SwarmState.__slots__} for swarm in state.swarms.values()]
    files.write(private / "seeder.toml", index.format_toml(table).encode(), sync=False)


def last_port(private: Path) -> int:
    """Give the port of the last seeder here, so that links already given stay good; 0 for none."""
    with contextlib.suppress(OSError, ValueError):
        port = index.parse_toml((private / "seeder.toml").read_text("utf-8")).get("port", 0)
        return port if isinstance(port, int) and 1024 <= port <= 65535 else 0
    return 0


@contextlib.contextmanager
def sole(private: Path, inherited: int | None = None) -> Iterator[int]:
    """Be the one seeder of this library; SeederError names the one that is. The lock's descriptor is given."""
    if inherited is not None:  # opening the lock anew would refuse ourselves
        yield inherited
        return
    lock = files.acquire(private / "seeder.lock", wait=False)
    if not lock:
        raise _second(private)
    try:
        yield lock.descriptor
    finally:
        lock.release(remove=False)


def detach(private: Path, arguments: list[str], stop: Stop, timeout: float = 30) -> SeederState:
    """Start the keeper in a session of its own; end when it serves, or SeederError with the last line of its log.

    Interrupted on `stop`, and then nothing is left running.
    """
    deadline = time.monotonic() + timeout
    while is_running(private) and time.monotonic() < deadline:
        if read_state(private):
            raise _second(private)
        stop.check()
        time.sleep(0.01)  # it begins, or ends
    process = _start_keeper(private, arguments)
    while time.monotonic() < deadline:
        state = read_state(private)
        if state and state.ready and state.keeper == process.pid:
            return state
        code = process.poll()
        if stop.is_set():
            process.terminate()
            process.wait()
            stop.check()
        if code in _FROM_TERMINAL:  # which was for who started it, and met it before it was in a session of its own
            process = _start_keeper(private, arguments)
        elif code is not None:
            break
        time.sleep(0.01)
    raise SeederError(f"the seeder did not start: {_last_line(private)}", f"all of it is in {private / 'seeder.log'}")


def stop(private: Path, timeout: float = 10) -> None:
    """End the seeder and wait until it is gone; SeederError when none runs."""
    deadline = time.monotonic() + timeout
    state = None
    while is_running(private):
        state = state or read_state(private)
        if state:
            with contextlib.suppress(ProcessLookupError):
                os.kill(state.keeper or state.pid, signal.SIGTERM)
        if time.monotonic() > deadline:
            raise SeederError(f"the seeder does not end{f' (process {state.pid})' if state else ''}")
        time.sleep(0.02)
    if not state:
        raise SeederError("no seeder is running", "memosync seed --detach starts one")


def raise_limits() -> int:
    """Allow as many open files, peers among them, as the machine does, and give their number."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard >= 0 else 2**20


def be_kept(stop: Stop) -> None:
    """Live as a keeper's child: set `stop` when standard input, a pipe from it, ends; die before the memory is full."""
    # peers that ask and never read make libtorrent 2.1.1 grow for as long as they go on
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY if hard < 0 else min(MOST_MEMORY, hard), hard))

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1):
                pass
        stop.set()

    threading.Thread(target=watch, daemon=True).start()


def _start_keeper(private: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "memosync.seeder", str(private), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env=_environment(),
    )


def _second(private: Path) -> SeederError:
    state = read_state(private)
    who = f" (process {state.keeper or state.pid})" if state else ""
    return SeederError(f"a seeder of this library is running already{who}", "memosync seed --stop ends it")


def _end(child: subprocess.Popen[bytes], stop: Stop) -> None:
    """Pass the end on: TERM first, KILL when it does not listen."""
    stop.wait()
    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(5)
    child.kill()


def _served(private: Path, pid: int) -> bool:
    with contextlib.suppress(OSError, ValueError):
        table = index.parse_toml((private / "seeder.toml").read_text("utf-8"))
        return table.get("pid") == pid and table.get("ready") is True
    return False


def _log(private: Path, line: bytes) -> None:
    path = private / "seeder.log"
    with contextlib.suppress(OSError):
        if path.exists() and path.stat().st_size > LOG_LIMIT:
            files.move(path, path.with_suffix(".log.1"), sync=False)
        with open(path, "ab") as log:
            log.write(time.strftime("%Y-%m-%d %H:%M:%S ").encode() + line[:2000])


def _last_line(private: Path) -> str:
    """Find the last thing that went wrong in the log, without its time."""
    with contextlib.suppress(OSError, IndexError):
        lines = [line[20:] for line in (private / "seeder.log").read_text("utf-8", "replace").splitlines()]
        reasons = [line for line in lines if line.startswith(("memosync: error: ", "giving up"))]
        return reasons[-1].removeprefix("memosync: error: ")
    return "it said nothing"


def _environment() -> dict[str, str]:
    """Let a fresh interpreter find this same program, whatever its working directory."""
    home = str(Path(__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))}


def _born(pid: int) -> str:
    """Tell one process from a later one with the same number: its start time, in clock ticks after boot (proc(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]  # a zombie is dead, whoever has not yet taken note of it
    except OSError:  # gone, or a system without /proc
        return "" if Path("/proc/self").exists() else str(pid)


def _main() -> None:
    """Be the keeper of `python -m memosync.seeder PRIVATE ARGUMENTS...`."""
    private, end = Path(sys.argv[1]), Stop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: end.set())
    with contextlib.suppress(SeederError), sole(private) as lock:  # another one was quicker: it will do
        sys.exit(_keep(private, sys.argv[2:], lock, end))


def _keep(private: Path, arguments: list[str], lock: int, stop: Stop) -> int:
    """Run the seeder as a child and again whenever it dies, on the same port; give the exit code of its end."""
    failures = restarts = 0
    while True:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "memosync", *arguments, "--kept", f"{lock}:{restarts}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[lock],
            cwd="/",
            env=_environment(),
        )
        threading.Thread(target=_end, args=[child, stop], daemon=True).start()
        assert child.stderr
        last = b"\n"
        for line in child.stderr:
            _log(private, line)
            last = b": " + line
        code = child.wait()
        if stop.is_set() or code == 0 or code in _SAID_WHY:
            return max(code, 0)
        failures = 0 if _served(private, child.pid) else failures + 1
        restarts += 1
        if failures >= PATIENCE:
            _log(private, f"giving up, it died {failures} times before it served ({code})".encode() + last)
            return 1
        _log(private, f"the seeder died ({code}); start {restarts + 1}\n".encode())
        stop.wait(0.05 * 2**failures)


if __name__ == "__main__":
    _main()
