"""What a library knows of its group beside its memos, in `.memosync/sync.toml`; it may be lost.

The devices of the group and what they say of themselves, when they were met, what is remembered of memos that were
purged, and the invitations that are open.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import files, manifest
from ..console import one_line
from ..index import format_toml, parse_toml
from ..magnet import InfoHash, parse_infohash
from ..manifest import BIRTH, Cell, Cells, Json, Table, is_device, merge_cells, tick
from ..network import parse_peer
from .store import Library

MOST_ADDRESSES = 8  # of one device
MOST_LACKS = 200  # memos that a device names of those that it lacks, by the first digits of their uids
LACK = 16  # such digits
LONGEST_NAME = 60  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A file of a memo that is not the one that all devices are to have."""

    uid: str
    digest: str  # SHA-256, hexadecimal
    size: int  # bytes
    infohash: InfoHash  # of its form for devices


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What one device of the group says of itself."""

    id: str
    name: str = ""
    since: float = 0.0  # when it came, in seconds since 1970
    addresses: tuple[str, ...] = ()  # each address:port
    lacking: int = 0  # memos whose file it has not got yet
    lacks: tuple[str, ...] = ()  # the first digits of some of their uids, newest first
    why: str = ""  # it lacks them: `room` where its disk has none, `damaged` where some were altered there; else empty
    as_of: float = 0.0  # when it said so
    holds: tuple[Hold, ...] = ()
    came_by: str = ""  # the infohash of the invitation
    gone: bool = False  # a person said that it will not come again


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """A sealed file that tells a new device the secret."""

    infohash: InfoHash
    until: int  # seconds since 1970


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All of it."""

    joining: bool = False  # nothing was merged since this library entered the group: what is alive here stays alive
    heard: int = 0  # when, about, another device was heard last, in seconds since 1970
    port: int = 0  # at which other devices find this one
    addresses: tuple[str, ...] = ()  # of who invited this device
    graves: Table = field(default_factory=dict)  # what is known of memos that were purged, by uid
    purged: Mapping[str, str] = field(default_factory=dict)  # uids of memos that were purged here, by their ids here
    devices: Table = field(default_factory=dict)  # what each says of itself
    met: Mapping[str, int] = field(default_factory=dict)  # when each was, in seconds since 1970
    even: Mapping[str, int] = field(default_factory=dict)  # when each last knew all that was known here
    knowing: tuple[str, ...] = ()  # which of them have said that they know this one
    base: str = ""  # the infohash of the state that what is said next is said in addition to
    invitations: tuple[Invitation, ...] = ()


def path_of(library: Library) -> Path:
    return library.inner / "sync.toml"


def read(library: Library) -> Known:
    """Read it, as far as it can be."""
    try:
        return read_whole(library)
    except OSError:
        return Known()


def read_whole(library: Library) -> Known:
    """Read it to change it: what cannot be read now is not to be lost; OSError."""
    try:
        found: Known = library.known.read(path_of(library), _parse)
    except (FileNotFoundError, files.OddFile):
        return Known()
    return found


def _parse(data: bytes) -> Known:
    table: dict[str, Any] = {}
    with contextlib.suppress(ValueError):
        table = parse_toml(data.decode("utf-8"))
    return Known(
        joining=table.get("joining") is True,
        heard=_second(table.get("heard")),
        port=port if type(port := table.get("port")) is int and 1024 <= port <= 65535 else 0,
        addresses=_texts(table.get("addresses"), MOST_ADDRESSES, 80),
        graves=_tables(table.get("graves"), manifest.MEMO),
        purged=_uids(table.get("purged")),
        devices=_tables(table.get("devices"), {}),
        met=_moments(table.get("met")),
        even=_moments(table.get("even")),
        knowing=tuple(filter(is_device, _texts(table.get("knowing"), 1000, 8))),
        base=parse_infohash(text) or "" if isinstance(text := table.get("base"), str) else "",
        invitations=_invitations(table.get("invitations")),
    )


def write(library: Library, known: Known) -> None:
    """Keep it; the caller holds the library's `lock`. OSError."""
    table: dict[str, Any] = {
        "joining": known.joining,
        "heard": known.heard,
        "port": known.port,
        "addresses": list(known.addresses),
        "knowing": list(known.knowing),
        "base": known.base,
        "met": dict(known.met),
        "even": dict(known.even),
        "devices": _texts_of(known.devices),
        "graves": _texts_of(known.graves),
        "purged": dict(known.purged),
        "invitations": [{"infohash": one.infohash, "until": one.until} for one in known.invitations],
    }
    data = format_toml({name: value for name, value in table.items() if value}).encode()
    files.write(path_of(library), data, newer_than=files.time_of(path_of(library)))


def change(library: Library, edit: Callable[[Known], Known], group: str = "") -> Known:
    """Read it under the library's `lock`, let `edit` change it, and keep that; LibraryError.

    Where a `group` is named, nothing is kept once the library has left it.
    """
    with files.as_library_error("keep what is known of the other devices"):
        library.prepare()
        with library.index_lock():
            before = read_whole(library)
            if group and library.index().group != group:
                return before
            if (after := edit(before)) != before:
                write(library, after)
            return after


def devices(known: Known) -> dict[str, Device]:
    """Give the devices of the group, those that came first before the others."""
    found = sorted((_device(name, cells) for name, cells in known.devices.items()), key=lambda one: (one.since, one.id))
    return {one.id: one for one in found}


def with_rows(rows: Table, theirs: Table) -> Table:
    """Merge what others say of devices into it: of each no more than may be, and of no more devices than may be."""
    merged = dict(rows)
    for name, cells in theirs.items():
        row = merge_cells(merged.get(name, {}), cells)
        if (name in merged or len(merged) < manifest.MOST_DEVICES) and manifest.is_short(row):
            merged[name] = row
    return merged


def say(library: Library, name: str, words: Mapping[str, Json], group: str = "") -> None:
    """Have the row of a device say this, by an act of now, as `change` does; LibraryError."""

    def edit(known: Known) -> Known:
        if not _differs(known, name, words):
            return known
        now, me = library.stamp()
        cells = known.devices.get(name, {})
        new = {
            word: Cell(value, tick(cells[word].clock if word in cells else BIRTH, now, me))
            for word, value in words.items()
            if word not in cells or cells[word].value != value
        }
        return replace(known, devices={**known.devices, name: merge_cells(cells, new)})

    change(library, edit, group)


def _differs(known: Known, name: str, words: Mapping[str, Json]) -> bool:
    cells = known.devices.get(name, {})
    return any(word not in cells or cells[word].value != value for word, value in words.items())


def _device(name: str, cells: Cells) -> Device:
    """Read what a device says of itself; what cannot be is passed over."""
    said = {word: cell.value for word, cell in cells.items()}
    lacks = said.get("lacks")
    lacks = lacks if isinstance(lacks, dict) else {}
    count = lacks.get("count")
    holds = said.get("holds")
    since = said.get("since")
    return Device(
        id=name,
        name=one_line(text)[:LONGEST_NAME] if isinstance(text := said.get("name"), str) else "",
        since=since / 1000 if type(since) is int and 0 <= since < manifest.MOST_MS else 0.0,
        addresses=tuple(filter(parse_peer, _texts(said.get("addresses"), MOST_ADDRESSES, 80))),
        lacking=count if type(count) is int and 0 <= count < 2**40 else 0,
        lacks=tuple(text for text in _texts(lacks.get("memos"), MOST_LACKS, LACK) if re.fullmatch("[0-9a-f]+", text)),
        why=why if (why := lacks.get("why")) in ("room", "damaged") else "",
        as_of=cells["lacks"].clock.ms / 1000 if "lacks" in cells else 0.0,
        holds=tuple(filter(None, map(_hold, holds[:MOST_LACKS]))) if isinstance(holds, list) else (),
        came_by=came_by if isinstance(came_by := said.get("came_by"), str) else "",
        gone=said.get("gone") == 1,
    )


def _hold(value: Json) -> Hold | None:
    if not isinstance(value, dict):
        return None
    uid, file = value.get("uid"), {word: said for word, said in value.items() if word != "uid"}
    if isinstance(uid, str) and re.fullmatch("[0-9a-f]{64}", uid) and manifest.is_cell("file", file, manifest.MEMO):
        return Hold(uid=uid, digest=value["sha256"], size=value["size"], infohash=value["infohash"])
    return None


def _tables(found: object, rules: manifest.Rules) -> dict[str, Cells]:
    tables = {}
    for key, text in found.items() if isinstance(found, dict) else ():
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            tables[str(key)] = manifest.read_cells(json.loads(text), rules)
    return tables


def _texts_of(table: Table) -> dict[str, str]:
    return {key: manifest.canonical(manifest.to_json(cells)).decode() for key, cells in table.items()}


def _texts(found: object, most: int, longest: int) -> tuple[str, ...]:
    texts = found if isinstance(found, list) else []
    return tuple(text for text in texts if isinstance(text, str) and len(text) <= longest)[:most]


def _second(value: object) -> int:
    return value if type(value) is int and 0 <= value < 2**40 else 0


def _moments(found: object) -> dict[str, int]:
    return {name: _second(at) for name, at in found.items() if is_device(name)} if isinstance(found, dict) else {}


def _uids(found: object) -> dict[str, str]:
    return {name: uid for name, uid in found.items() if isinstance(uid, str)} if isinstance(found, dict) else {}


def _invitations(found: object) -> tuple[Invitation, ...]:
    invitations = []
    for table in found if isinstance(found, list) else ():
        infohash = parse_infohash(str(table.get("infohash"))) if isinstance(table, dict) else None
        if infohash and (until := _second(table.get("until"))):
            invitations.append(Invitation(infohash=infohash, until=until))
    return tuple(invitations)
