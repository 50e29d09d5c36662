"""What the seeder says of itself, in `seeder.toml`, and the lock that says whether there is one.

`private` is a library's `.memosync`, which is all that the keeper knows of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import __version__, files, index, process
from ..errors import LibraryError, SeederError
from ..magnet import InfoHash
from ..network import Network, parse_address
from ..stop import Stop

_FIRST_VERSION = "0.1.0"  # which did not say so
_LOOK_EVERY = 1.0  # seconds between looks whether a library is back
_GRAIN = 2.0  # seconds of the coarsest time stamps, FAT's
_ROOM = 16_384  # bytes that are more than enough for what a seeder says


@dataclass(frozen=True, slots=True, kw_only=True)
class SwarmState:
    """One served torrent with something to say."""

    infohash: InfoHash
    state: str = "seeding"  # or checking, damaged
    peers: int = 0
    given: int = 0  # bytes since the seeder began
    delivered: int = 0  # how often somebody was seen to have all of it
    addresses: tuple[str, ...] = ()  # of some of the peers
    fault: str = ""  # why it is damaged
    fetching: tuple[str, ...] = ()  # some of those that lack some of it, who has most first: address and percent


def silent_state(*, ready: bool) -> str:
    """Give the state of a torrent of which a seeder says nothing: all of them are checked before it is ready."""
    return "seeding" if ready else "checking"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeederState:
    """What the running seeder says of itself."""

    version: str = __version__
    network: Network
    port: int = 0
    usual_port: int = 0  # the one that links given before name
    addresses: tuple[str, ...] = ()  # as they stand in links
    ready: bool = False
    pid: int = 0
    keeper: int = 0  # its parent, when it is detached
    restarts: int = 0
    seen: int = 0  # the revision of what is served that it last acted on
    crowded: bool = False  # more torrents have WebSocket trackers than can be announced there
    announced: tuple[InfoHash, ...] = ()  # those that are, when it is crowded
    answering: tuple[str, ...] = ()  # WebSocket trackers, by which browsers find what is announced there
    swarms: Mapping[InfoHash, SwarmState] = field(default_factory=dict)
    met: tuple[str, ...] = ()  # devices of the group that are connected
    even: tuple[str, ...] = ()  # those of them that know all that this one knows, and say all that they lack
    coming: tuple[str, ...] = ()  # of memos whose file is on its way from them: uid and percent
    going: tuple[str, ...] = ()  # of those that they fetch from here, once for each of them: uid and percent
    passed: int = 0  # bytes that devices gave this one, and got from it

    @property
    def process(self) -> int:
        """The process to signal: the keeper where there is one."""
        return self.keeper or self.pid


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to serve."""

    port: int | None = None  # the one of the last time, or any
    up: int = 0  # bytes a second, 0 for no limit
    down: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a keeper hands to its child."""

    lock: int  # the descriptor of the seeder's lock
    restarts: int
    readiness: int | None = None  # the descriptor of the pipe to whoever started it


def lock_of(private: Path) -> Path:
    return private / "seeder.lock"


def is_running(private: Path) -> bool:
    lock = lock_of(private)
    if os.path.islink(private):
        return False
    # of another user's file that we may not open the kernel tells all the same
    return files.is_locked(lock) or (not os.access(lock, os.R_OK) and process.lock_holder(lock) > 0)


def log_of(private: Path) -> Path:
    return private / "seeder.log"


def stamp(private: Path) -> tuple[int, int, int] | None:
    """Identify what the seeder said last: another stamp, other news. None while it has never said anything."""
    with contextlib.suppress(OSError):
        return files.state_of(private / "seeder.toml")
    return None


def read_state(private: Path) -> SeederState | None:
    """Read what the seeder says of itself; None when none runs, or it has not said anything yet.

    Others may have written there: the process is believed only when it can be the seeder. What this version does not
    know, or is not what it should be, is passed over.
    """
    if not is_running(private):
        return None
    with contextlib.suppress(ValueError, KeyError, TypeError):
        table = _read(private)
        if _is_seeder(private, table):
            return _from_table(table)
    return None


def loads(text: str) -> SeederState:
    """Read what a seeder that we have just started says of itself."""
    return _from_table(index.parse_toml(text))


def dumps(state: SeederState) -> str:
    """Write what the seeder says of itself."""
    table = {name: getattr(state, name) for name in SeederState.__slots__ if name != "swarms"}
    table |= {"network": state.network.value, "born": process.birth(state.pid)}
    table["swarm"] = [dataclasses.asdict(swarm) for swarm in state.swarms.values()]
    return index.format_toml(table)


def write_state(private: Path, state: SeederState) -> None:
    """Say how we are; the caller is the seeder. OSError when the disk refuses."""
    _write(private, dumps(state))


def _from_table(table: dict[str, Any]) -> SeederState:
    known = [_known(SwarmState, swarm) for swarm in table.pop("swarm", []) if isinstance(swarm, dict)]
    swarms = [SwarmState(**swarm) for swarm in known if "infohash" in swarm]
    table = {"version": _FIRST_VERSION, **table}
    network = Network(table.pop("network"))
    by_infohash = {swarm.infohash: swarm for swarm in swarms}
    state = SeederState(**_known(SeederState, table), network=network, swarms=by_infohash)
    addresses = tuple(filter(parse_address, state.addresses))  # they will stand in links
    port, usual_port = _port(state.port), _port(state.usual_port)
    return dataclasses.replace(state, addresses=addresses, port=port, usual_port=usual_port)


def write_fault(private: Path, fault: str) -> None:
    """Say why there is no seeder, where that can be written; the caller holds the lock."""
    with contextlib.suppress(OSError, LibraryError):
        last_port(private)  # else it would be lost with what cannot be read
        _write(private, index.format_toml(_read(private) | {"fault": fault, "ready": False}))


def last_port(private: Path) -> int:
    """Give the port of the last seeder here that could choose, so that links already given stay good; 0 for none.

    LibraryError when that cannot be read, and would be lost.
    """
    path = private / "seeder.toml"
    with files.as_library_error(f"read {path}"), contextlib.suppress(FileNotFoundError, files.OddFile):
        files.read(path)
    said = _read(private)
    return _port(said.get("usual_port")) or _port(said.get("port"))


def _port(port: object) -> int:
    return port if isinstance(port, int) and 1024 <= port <= 65535 else 0


def read_fault(private: Path) -> str:
    """Give why the last seeder here did not start or was given up; empty when it ended well."""
    return str(_read(private).get("fault", ""))


def has_served(private: Path, pid: int) -> bool:
    """Tell whether this process has been ready."""
    table = _read(private)
    return table.get("pid") == pid and table.get("ready") is True


@contextlib.contextmanager
def sole(private: Path, inherited: int | None = None) -> Iterator[int]:
    """Be the one seeder of this library, and give the descriptor of its lock; SeederError names the one that is."""
    if inherited is not None:  # opening the lock anew would refuse ourselves
        yield inherited
        return
    path = lock_of(private)
    with files.as_library_error(f"write in {private.parent}"):
        try:  # a disk with a file open for writing can neither be made read-only nor be so
            lock = files.acquire(path, wait=False, access=os.O_RDONLY)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            lock = files.acquire(path, wait=False)  # NFS wants to write what it locks
    if not lock:
        raise second(private)
    try:
        yield lock.descriptor
    finally:
        lock.release(remove=False)


def is_in_place(private: Path, lock: int) -> bool:
    """Tell whether the library in this place is the one whose lock we have: not one that was moved, or unplugged."""
    return files.is_at(lock_of(private), lock)


def was_removed(private: Path, lock: int) -> bool:
    """Tell whether the library whose lock we have is nowhere any more."""
    return not os.path.lexists(private.parent) and not files.has_name(lock)


def wait_for_library(private: Path, stop: Stop) -> None:
    """Wait until there is a library in its place, a second at least, and no longer than until `stop`."""
    while not stop.wait(_LOOK_EVERY) and not os.path.isdir(private):
        pass


def second(private: Path) -> SeederError:
    """Give the error of whoever would be the second seeder."""
    if state := read_state(private):
        text = f"a seeder of this library is running already (process {state.process})"
        return SeederError(text, "memosync seed --stop ends it")
    return unsaid(private)


def unsaid(private: Path) -> SeederError:
    """Give the error of whoever finds that a seeder is here, of which nothing is said that can be believed: who it is.

    Nobody's word is taken but the kernel's.
    """
    pid = process.lock_holder(lock_of(private))
    if not pid:
        text = "a process that is not seen from here, in another container or on another machine, serves this library"
        return SeederError(text, "run this there, or end it there")
    if not is_seeder(pid):
        return SeederError(f"process {pid} has {lock_of(private)}, and is no seeder of yours", "end it, and try again")
    why = why_unwritten(private) or (read_fault(private) if _has_spoken(private, pid) else "")
    text = f"process {pid} serves this library, and does not say how" + (f": {why}" if why else "")
    return SeederError(text, "mend that, and try again" if why else "memosync seed --stop ends it")


def _has_spoken(private: Path, pid: int) -> bool:
    """Tell whether what stands in seeder.toml was written since this process began: before, it is another one's."""
    return time.time() - files.time_of(private / "seeder.toml") / 1e9 < process.age(pid) + _GRAIN


def is_seeder(pid: int) -> bool:
    """Tell whether a process, which has the lock of a seeder, is one that this user may end as such."""
    return process.is_ours(pid) and any("memosync" in Path(word).name for word in process.arguments(pid))


def why_unwritten(private: Path) -> str:
    """Find why a seeder may be unable to say how it is; empty where there is nothing."""
    with contextlib.suppress(OSError):
        if not os.access(private, os.W_OK | os.X_OK):
            return f"{private} cannot be written"
        if files.free_space(private) < _ROOM:
            return "the disk is full"
    return ""


def _read(private: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        files.refuse_links(private)
        return index.parse_toml(files.read(private / "seeder.toml").decode("utf-8"))
    return {}


def _is_seeder(private: Path, table: Mapping[str, Any]) -> bool:
    """Tell whether the process that is named is there, is ours, has the lock, and its parent is the keeper, if any."""
    pid, keeper, born = table["pid"], table["keeper"], table["born"]
    if not (type(pid) is int and type(keeper) is int and process.is_ours(pid) and born):
        return False
    if keeper and not (process.is_ours(keeper) and process.parent(pid) in (keeper, 0)):  # it was killed, or is another
        return False
    return bool(born == process.birth(pid) and process.has_open(keeper or pid, lock_of(private)))


def _write(private: Path, text: str) -> None:
    files.write(private / "seeder.toml", text.encode(), sync=False)


def _known(kind: type, table: Mapping[str, Any]) -> dict[str, Any]:
    """Take what fits the fields of a dataclass, in name and in type."""
    known: dict[str, Any] = {}
    for field_ in dataclasses.fields(kind):
        value = table.get(field_.name)
        if field_.type.startswith("tuple") and isinstance(value, list):
            value = tuple(text for text in value if isinstance(text, str))
        if type(value) is int and not 0 <= value < 2**63:
            continue
        if type(value).__name__ == field_.type.partition("[")[0] or (field_.type == "InfoHash" and type(value) is str):
            known[field_.name] = value
    return known
