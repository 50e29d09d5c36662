"""sync: this library and those of one's other devices are one; who they are, and what each of them lacks."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from .. import files, magnet, sealing
from ..console import Console, one_line
from ..errors import Interrupted, NotFoundError, SeederError, SwarmError, TorrentError, UsageError, WrongKeyError
from ..library import group, invitations, known
from ..library.known import Device, Known
from ..library.places import is_awaited
from ..library.store import Library
from ..magnet import Magnet
from ..memo import Memo
from ..network import is_cut_off, trackers_of
from ..quantities import format_count, format_span
from ..seeder import client
from ..seeder.state import SeederState
from ..stop import Stop
from ..torrent import download, metainfo
from .arguments import INPUT, Globals, read_all
from .share import usable_of

Ready = TypeVar("Ready")
_LOOK_EVERY = 0.05  # seconds
_LEAVES = 5.0  # seconds within which the seeder says that a device has left
_ANSWERED = 60.0  # seconds within which somebody who is there answers
_INTRODUCED = 5.0  # seconds within which a seeder that takes part in sync says so
_LONGEST_LINK = 20_000  # bytes of what is pasted
_LEAST_LEFT = 0.01  # of all that is to come, until none of it is
_A_MEMO = "this is a link to a memo, and no invitation"
_PRINTS_ONE = "memosync sync --invite device on the other device prints one"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOptions:
    """What is to be done."""

    invite: Literal["device"] | None = None
    link: str | None = None  # -, for an invitation on standard input
    pasted: str | None = None  # what a person pasted for it
    forget: Sequence[str] = ()  # devices
    leave: bool = False
    wait: bool = False  # until all devices that are there have all, or somebody has come
    name: str | None = None  # of this device
    trackers: Sequence[str] = ()  # where the devices meet, instead of the default ones
    typed: bool = False  # these stand on the command line
    timeout: float | None = None  # seconds without anything new

    @property
    def patience(self) -> float:
        """How long an answer is waited for that comes by itself, in seconds."""
        return _ANSWERED if self.timeout is None else self.timeout


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A device of the group, and how it is."""

    device: Device
    is_this: bool = False
    is_met: bool = False  # connected to the running seeder
    is_even: bool = False  # and knows all that is known here, and says all that it lacks
    met: int | None = None  # when it last was, in seconds since 1970; None when it never was, or is this one
    as_of: float | None = 0.0  # what is said of it, in seconds since 1970: None is now, 0 not known
    why: str = ""  # it lacks what it lacks

    @property
    def lacking(self) -> int | None:
        """How many memos it has not got yet; None where that is not known."""
        return None if self.as_of == 0 else self.device.lacking


def sync(command: Globals, options: SyncOptions, *, stop: Stop) -> list[Status]:
    """Do what the options say, and say how the devices are."""
    console = command.console
    if sum((options.invite is not None, options.link is not None, bool(options.forget), options.leave)) > 1:
        raise UsageError("--invite, an invitation, --forget and --leave exclude each other")
    if options.trackers and options.typed and options.invite is None:
        raise UsageError("--tracker goes with --invite", "memosync sync --invite device --tracker URL")
    name = _name(options.name)
    if options.leave:
        _leave(command.open(stop), console)
        return []
    if options.forget:
        _forget(library := command.open(stop), options.forget, console, stop)
        return _status(library)
    library = command.open_to_swarms(stop)
    if options.invite:
        _invite(command, library, options, name, stop)
        return []
    if options.link is not None:
        _join(command, library, options, name, stop)
    elif not library.index().group:
        raise _in_no_group("memosync sync --invite device on this device, and memosync sync - on the other one")
    else:
        group.insist_on_secret(library)
        with files.as_library_error("take part in sync"), library.index_lock():
            pass  # where nothing can be written the seeder cannot, either
        if name:
            known.say(library, group.device_of(library), {"name": name})
        state = client.current(library)
        client.refuse_another_network(state, command.network)
        was_serving = client.is_serving(library)
        try:  # else what is new here stays here
            state = state or client.serve(library, [], command.network, state, stop=stop, console=console)
        except SeederError as error:
            if options.wait:
                raise
            console.warn(f"nothing goes to other devices: {error}; {error.hint}")  # and how they were is known
            return _status(library)
        if not was_serving:
            console.tell("the seeder was started: what is new goes to the other devices until memosync seed --stop")
        _warn_of_no_network(state, console)
        me = group.device_of(library)
        if not _until(lambda: me in known.read(library).devices, _INTRODUCED, stop):
            console.warn("this device takes no part in sync; memosync seed --status and .memosync/seeder.log say why")
    if options.wait:
        _wait(command, library, options, stop)
    for rows in group.of_one_invitation(library):
        console.warn(
            f"{_named(rows)} came by one invitation: if you do not know them all, leave everywhere, and begin anew"
        )
    return _status(library)


def _invite(command: Globals, library: Library, options: SyncOptions, name: str, stop: Stop) -> None:
    """Answer an invitation as soon as it can be had, and with `wait` return when somebody has come."""
    console = command.console
    trackers = usable_of(options.trackers, command.network, console, typed=options.typed)
    state = client.current(library)
    client.refuse_another_network(state, command.network)
    client.refuse_older(state)
    if not (is_new := not library.index().group):
        group.insist_on_secret(library)
    group.enter(library)
    with _says_when_interrupted(console, "this library is the first of its group now" if is_new else ""):
        if name:
            known.say(library, group.device_of(library), {"name": name})
        if trackers or is_new:  # what stands there may be of a group that was left
            library.transaction(lambda index: index.with_meeting(trackers))
        me = group.device_of(library)
        client.serve(library, [], command.network, state, stop=stop, console=console)
        addresses = _until(lambda: _addresses(library, me), options.patience, stop)
        if not addresses:
            raise SwarmError(
                "the seeder does not say where other devices reach it", "memosync seed --stop, then try again"
            )
        link = invitations.invite(library, addresses)
        state = client.serve(library, [], command.network, client.current(library), stop=stop, console=console)
        _warn_of_no_network(state, console)
        peers = tuple(f"{address}:{state.port}" for address in state.addresses)
        meeting_at = trackers_of(library.index().meeting, command.network, typed=True)
        if is_new:
            console.tell(
                "this library is the first of its group: what is recorded here will be on the other devices, too"
            )
        console.tell("whoever has this invitation can have every memo: give it by a way that you trust")
        console.tell("it is good for one device, within 15 minutes; there: memosync sync -")
        before = set(known.read(library).devices)
        console.answer(str(replace(link, trackers=meeting_at, peers=peers)))
        if options.wait:
            _wait_for_one(library, before, options, console, stop)


@contextlib.contextmanager
def _says_when_interrupted(console: Console, text: str) -> Iterator[None]:
    """Say what is so by now, and how it is undone, when a signal ends what follows."""
    try:
        yield
    except Interrupted:
        if text:
            console.warn(f"{text}; memosync sync --leave ends that")
        raise


def _wait_for_one(library: Library, before: Set[str], options: SyncOptions, console: Console, stop: Stop) -> None:
    """Wait until a device has come by the invitation; SwarmError when none has in time."""
    life = invitations.LIFETIME
    patience = life if options.timeout is None else min(options.timeout, life)
    console.tell(f"waiting for a device to come, for {format_span(patience)}")
    new = _until(lambda: set(known.read(library).devices) - before, patience, stop)
    if not new:
        hint = "memosync sync --invite device makes another invitation"
        if patience < life:
            hint = "the invitation is good still; memosync sync says who has come"
        raise SwarmError(f"nobody has come in {format_span(patience)}", hint)
    rows = known.devices(known.read(library))
    console.tell(f"{_named([rows[name] for name in new])} is in sync from now on")


def _warn_of_no_network(state: SeederState, console: Console) -> None:
    if is_cut_off(state.addresses, state.network):
        console.warn("this machine is in no network: no other device can come before it is")


def _addresses(library: Library, device: str) -> tuple[str, ...]:
    """Give where a device is, as it says itself once its seeder runs."""
    row = known.devices(known.read(library)).get(device)
    return row.addresses if row else ()


def _join(command: Globals, library: Library, options: SyncOptions, name: str, stop: Stop) -> None:
    """Have a library be one with that of who invited it; return when the other one knows this one."""
    console = command.console
    link = _invitation(options, stop)
    _insist_on_no_group(library, link)
    state = client.current(library)
    client.refuse_another_network(state, command.network)
    client.refuse_older(state)
    told = _told(command, library, link, options.patience, stop)
    here = {memo.id for memo in library.index().memos if not memo.trashed}
    if library.index().group:  # of which nobody came to be
        group.leave(library)
    group.enter(library, told.secret)
    with _says_when_interrupted(console, "this library is one with the other now"):
        library.transaction(lambda index: index.with_meeting(told.trackers))
        known.change(library, lambda before: replace(before, addresses=told.addresses))
        known.say(library, group.device_of(library), {"came_by": link.infohash, **({"name": name} if name else {})})
        client.serve(library, [], command.network, state, stop=stop, console=console)
        console.tell("this library is one with the other now; waiting for it to know")
        if not _until(lambda: _is_known(library), options.patience, stop):
            raise SwarmError(
                f"nobody has answered in {options.patience:.0f} s",
                "it goes on while both are there; memosync sync says how it is",
            )
    comes = sum(is_awaited(library, memo) or memo.id not in here for memo in _alive(library))
    console.tell(f"{format_count(len(here))} here, {comes} more there")


def _insist_on_no_group(library: Library, link: Magnet) -> None:
    """Insist that a library is in sync with no other, and does not invite itself; UsageError."""
    now, others = known.read(library), group.others(library)
    if link.infohash in {one.infohash for one in now.invitations}:
        raise UsageError("this invitation was made here", "it is for another device; there: memosync sync -")
    if not others:
        return
    text = f"this library is in sync with {_named(others)} already"
    if link.infohash in {row.came_by for row in known.devices(now).values()}:
        raise UsageError(f"{text}, and this invitation is theirs: nothing is to be done", "memosync sync shows them")
    hint = "memosync sync --leave ends that and keeps every memo; then join the other ones"
    raise UsageError(text, f"if this invitation is of other devices: {hint}")


def _is_known(library: Library) -> bool:
    now = known.read(library)
    return bool(now.knowing) and not now.joining


def _alive(library: Library) -> list[Memo]:
    return [memo for memo in library.index().memos if not memo.trashed]


def _invitation(options: SyncOptions, stop: Stop) -> Magnet:
    """Read the invitation that was given; TorrentError when it is none."""
    if options.link != "-":
        hint = "memosync sync - reads it: paste it, or have it come through a pipe"
        raise UsageError("an invitation does not belong on a command line, where others see it", hint)
    text = options.pasted
    if text is None:
        text = magnet.decode(read_all(INPUT, _LONGEST_LINK, stop))
    lines = magnet.unwrap(text)
    try:
        links = [link for line in lines for link in magnet.split(line)]
    except TorrentError:  # what is said of pages is about memos
        links = []
    if lines and not any(map(magnet.is_link, links)):
        raise TorrentError("this is no invitation", _PRINTS_ONE)
    if len(links) != 1:
        raise UsageError("there is no invitation" if not links else "these are several links", _PRINTS_ONE)
    link = magnet.parse(links[0])
    if not link.key:
        hint = "memosync fetch - reads it; an invitation has a key: if it is one, ask for the whole of it again"
        raise TorrentError(_A_MEMO, hint)
    return link


def _told(command: Globals, library: Library, link: Magnet, timeout: float, stop: Stop) -> invitations.Told:
    """Fetch an invitation, and open it in memory alone; SwarmError when nobody gives it."""

    def accept(torrent: bytes) -> None:
        if metainfo.read(torrent).size > invitations.LARGEST:
            raise TorrentError(_A_MEMO, "memosync fetch - reads it")

    try:
        with files.scratch() as place:  # what is in the library may be a memo that is on its way
            file = place / "invitation"
            download.fetch(
                link,
                file,
                network=command.network,
                accept=accept,
                stop=stop,
                timeout=timeout,
                punch=True,
                dht=library.session_state(),
            )
            with files.as_library_error("read the invitation"):
                data = files.read(file)
    except SwarmError as error:
        hint = "it is good for one device and 15 minutes, while the one that made it is on"
        hint = f"{hint}; there, memosync sync --invite device makes another"
        raise SwarmError(f"nobody gives this invitation: {error}", hint) from error
    try:
        return invitations.open_invitation(data, link.key)
    except WrongKeyError as error:
        if sealing.is_sealed_with(data, link.key):
            raise TorrentError(_A_MEMO, "memosync fetch - reads it") from None
        raise WrongKeyError("the key is not the one of this invitation", "ask for the whole of it again") from error


def _in_no_group(hint: str) -> UsageError:
    return UsageError("this library is in sync with no other", hint)


def _leave(library: Library, console: Console) -> None:
    if not library.index().group:
        raise _in_no_group("there is nothing to leave")
    lost = sum(is_awaited(library, memo) for memo in _alive(library))
    device, is_known = group.device_of(library), bool(group.others(library))
    group.leave(library)
    console.tell(f"kept here: {format_count(len(_alive(library)))}; the other devices go on without this one")
    if is_known:
        console.tell(f"memosync sync --forget {device[:4]} there ends waiting for this one")
    if lost:
        console.warn(f"{format_count(lost)} had not come yet, and will not now")


def _forget(library: Library, words: Sequence[str], console: Console, stop: Stop) -> None:
    """Have no device wait any more for those that will not come again; NotFoundError, and nothing done.

    UsageError for one that is connected: it would come again at once.
    """
    if not library.index().group:
        raise _in_no_group("there is no device to forget")
    rows = list({row.id: row for row in [_find(library, word) for word in words]}.values())
    if group.device_of(library) in {row.id for row in rows}:
        raise UsageError("this is the device that you are at", "memosync sync --leave ends sync here")
    if met := _met(library, rows):
        console.tell(f"seeing whether {_named(met[:1])} has just left")
        if not _until(lambda: not _met(library, rows), _LEAVES, stop):
            raise UsageError(f"{_named(met[:1])} is there now", "memosync sync --leave there ends sync with it")
    for row in rows:
        known.say(library, row.id, {"gone": 1})
    console.tell(f"nobody waits for {_named(rows)} any more; a device that still has the secret can come again")


def _met(library: Library, rows: Sequence[Device]) -> list[Device]:
    """Give those that are connected to the running seeder."""
    state = client.current(library)
    return [row for row in rows if state and row.id in state.met]


def _find(library: Library, word: str) -> Device:
    rows = [row for row in known.devices(known.read(library)).values() if not row.gone]
    text = word.strip().lower()
    found = [row for row in rows if text and (row.id.startswith(text) or row.name.lower() == text)]
    if len(found) != 1:
        names = ", ".join(f"{row.id} ({row.name})" for row in found)
        what = f"{magnet.shorten(word, 40)!r} may be {names}" if found else f"no device {magnet.shorten(word, 40)!r}"
        raise NotFoundError(what, "memosync sync shows them")
    return found[0]


def _wait(command: Globals, library: Library, options: SyncOptions, stop: Stop) -> None:
    """Wait until this device and all that are met have all; SwarmError when nothing happens for too long."""
    client.serve(library, [], command.network, client.current(library), stop=stop, console=command.console)
    most, was_alone = 0, True
    furthest: dict[tuple[str, int], float] = {}  # by uid and number of those who lack it: how much of it they had

    def look(state: SeederState | None) -> tuple[bool, object]:
        nonlocal most, was_alone
        rows = _status(library, state)
        met = [row for row in rows if row.is_met]
        there = [row.device for row in rows if row.is_met or row.is_this]
        lacking = Counter(uid for device in there for uid in device.lacks)
        going = _going(state)
        unsaid = Counter(uid for uid, _ in going) - lacking  # who fetches it is yet to say that it lacks it
        missing = sum(device.lacking for device in there) + unsaid.total()
        most, was_alone = max(most, missing), was_alone and not met
        if most:
            left = max(missing - _under_way(going, lacking + unsaid, furthest), _LEAST_LEFT * most) if missing else 0
            command.console.progress(f"of {format_count(most)} to come", 1 - left / most)
        have_all = bool(met) and not missing and all(row.is_even for row in met)
        return have_all, (met, missing, state.passed if state else 0)

    have_all = client.wait_for_devices(library, look, lambda _state: options.patience, stop=stop)
    command.console.progress("", 1)
    if not have_all and was_alone:
        text = f"no other device was there in {options.patience:.0f} s"
        raise SwarmError(text, "have another one on, too; memosync sync says when each was met last")
    if not have_all:
        raise SwarmError(f"nothing new in {options.patience:.0f} s", "memosync sync says who lacks what, and why")


def _going(state: SeederState | None) -> list[tuple[str, float]]:
    """Give what is on its way to this device and from it: the beginning of a uid, and how much of it is there."""
    texts = [text.partition(" ") for text in ((*state.coming, *state.going) if state else ())]
    return [(uid[: known.LACK], int(percent) / 100 if percent.isdecimal() else 0) for uid, _, percent in texts]


def _under_way(
    going: Sequence[tuple[str, float]], lacking: Counter[str], furthest: dict[tuple[str, int], float]
) -> float:
    """Sum up how much devices have of what they lack; who has got all of a memo may be yet to say so."""
    now: dict[str, float] = {}
    for uid, part in going:
        now[uid] = now.get(uid, 0) + part
    for uid, many in lacking.items():
        furthest[uid, many] = max(furthest.get((uid, many), 0), min(now.get(uid, 0), many))
    return sum(furthest[one] for one in lacking.items())


def _until(ready: Callable[[], Ready], timeout: float, stop: Stop) -> Ready:
    """Give what is ready once it is, or what it is after so many seconds; Interrupted on `stop`."""
    deadline = time.monotonic() + timeout
    while not (found := ready()) and time.monotonic() < deadline:
        stop.check()
        stop.wait(_LOOK_EVERY)
    return found


def _status(library: Library, state: SeederState | None = None) -> list[Status]:
    """Say how each device is, this one first."""
    state = state or client.current(library)
    now, me = known.read(library), group.device_of(library)
    rows = known.devices(now)
    if me in rows:  # whose row may be a moment old
        lacks = [(memo.uid or "")[: known.LACK] for memo in _alive(library) if is_awaited(library, memo)]
        if rows[me].why == "damaged":  # which was found by looking at each file
            lacks = list(dict.fromkeys([*lacks, *rows[me].lacks]))
        rows[me] = replace(rows[me], lacking=len(lacks), lacks=tuple(lacks))
    found = [
        Status(
            device=row,
            is_this=row.id == me,
            is_met=bool(state and row.id in state.met),
            is_even=(is_even := bool(state and row.id in state.even)),
            met=now.met.get(row.id),
            as_of=_as_of(row, now, is_even=is_even, is_this=row.id == me),
            why=why(row, rows, me, state),
        )
        for row in rows.values()
        if not row.gone
    ]
    return sorted(found, key=lambda row: not row.is_this)


def _as_of(row: Device, now: Known, *, is_even: bool, is_this: bool) -> float | None:
    """Say when it was so what a device says; one that was invited knows nothing before it has heard another one."""
    if is_even or (is_this and not (now.joining and now.addresses)):
        return None
    return 0.0 if is_this else max(row.as_of, float(now.even.get(row.id, 0)))


def why(row: Device, rows: Mapping[str, Device], me: str, state: SeederState | None) -> str:
    """Say why a device lacks what it lacks, as this one, which is `me`, and those say that it has met."""
    if row.why == "room":
        return "no room on its disk"
    if not row.lacking:
        return ""
    where = _where(row, rows, me, state)
    return f"damaged, {where}" if row.why == "damaged" else where


def _where(row: Device, rows: Mapping[str, Device], me: str, state: SeederState | None) -> str:
    """Say where that is from which a device may get what it lacks."""
    if not state or not state.met:
        return "no other device is there"
    if row.id != me and row.id not in state.met:
        return "it is not there"
    there = [other for other in rows.values() if other.id != row.id and (other.id == me or other.id in state.met)]
    return "on the way" if any(_has_some(other, row) for other in there) else "held by nobody now"


def _has_some(other: Device, row: Device) -> bool:
    """Tell whether a device has some of what another one lacks, as both say: of two that join, both may lack."""
    return not other.lacking or bool(set(row.lacks) - set(other.lacks))


def _name(text: str | None) -> str:
    if text is None:
        return ""
    name = one_line(text).strip()
    if not name or len(name) > known.LONGEST_NAME:
        raise UsageError(f"a device's name has from 1 to {known.LONGEST_NAME} characters")
    return name


def _named(rows: Sequence[Device]) -> str:
    return ", ".join(row.name or row.id for row in rows)
