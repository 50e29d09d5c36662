"""What the devices of one group tell each other of their memos, and how what they say becomes one state. Pure.

A state is a set of registers, one for each field of each memo and of each device, and merging two states takes of each
register the later cell: a state-based CRDT. So whoever has merged the same cells, in any order and as often as he
likes, has the same state. A cell's clock is a hybrid logical one: later than the cell that it replaces, whatever the
wall clock says, and otherwise the time of day.
"""

from __future__ import annotations

import json
import re
import unicodedata
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

from .errors import TorrentError
from .magnet import parse_infohash
from .memo import clean_description, clean_title, parse_id

Json: TypeAlias = Any  # whatever a newer version may put into a cell: no fractions, and no true, which equals 1

VERSION = 1
TAG = "tag:"  # before the case-folded name of a tag: its field
MOST_MS, MOST_TURNS = 253_402_300_800_000, 2**31  # a clock: up to the year 9999
MOST_MEMOS, MOST_DEVICES = 50_000, 200  # in a state
MOST_BYTES, MOST_TOKENS, MOST_TEXT = 32_000_000, 1_600_000, 48_000_000  # of a state as text, and bytes once decoded
MOST_FIELD, MOST_VALUE = 1_600, 100_000  # characters: case-folded, the longest tag has 1,500
MOST_ROW = 30_000  # characters of all that a device says of itself
MOST_DEPTH = 20  # of what is in a value
_DEVICE = re.compile("[0-9a-f]{8}|")
_HASH = re.compile("[0-9a-f]{64}")
_CLOCK = re.compile("([0-9a-f]{1,12}):([0-9a-f]{1,8}):([0-9a-f]{8}|)")
_CLOCK_OF_NOW = re.compile("[0-9a-f]{1,11}:[0-9a-f]{1,7}:(?:[0-9a-f]{8}|)")
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


class Clock(NamedTuple):
    """When a cell was written."""

    ms: int  # milliseconds since 1970, as the device had it
    turn: int = 0  # of those with the same time
    device: str = ""  # eight hexadecimal digits; none of what nobody wrote

    def __str__(self) -> str:
        return f"{self.ms:x}:{self.turn:x}:{self.device}"


FETCHED = Clock(0, 0)  # of what a stranger's memo came with
BIRTH = Clock(0, 1)  # of what a memo was made with


class Cell(NamedTuple):
    """What a register holds."""

    value: Json
    clock: Clock


Cells: TypeAlias = Mapping[str, Cell]  # by field
Table: TypeAlias = Mapping[str, Cells]  # by uid, or by device
Rules: TypeAlias = Mapping[str, Callable[[Json], object]]  # by field: what a value of it has to be


@dataclass(frozen=True, slots=True)
class State:
    """All that is known of the memos of a group, by uid, and of its devices."""

    memos: Table = field(default_factory=dict)
    devices: Table = field(default_factory=dict)


def tick(before: Clock, now: int, device: str) -> Clock:
    """Give the clock of a cell that is written `now` (milliseconds since 1970) in the place of one of `before`."""
    if now > before.ms:
        return Clock(now, 0, device)
    turns = before.turn + 1
    return Clock(before.ms + turns // MOST_TURNS, turns % MOST_TURNS, device)


def until(state: State, ms: int) -> State:
    """Leave out of a state the cells that say that they were written later (milliseconds since 1970)."""
    tables = (
        {key: {name: cell for name, cell in cells.items() if cell.clock.ms <= ms} for key, cells in table.items()}
        for table in (state.memos, state.devices)
    )
    return State(*({key: cells for key, cells in table.items() if cells} for table in tables))


def is_clock(text: str) -> bool:
    """Tell whether a text is what `str` of a clock gives, in no time for those of this millennium and the next."""
    return _CLOCK_OF_NOW.fullmatch(text) is not None or parse_clock(text) is not None


def parse_clock(text: str) -> Clock | None:
    """Read what `str` of a clock gives; None for anything else."""
    if match := _CLOCK.fullmatch(text):
        return _clock(int(match[1], 16), int(match[2], 16), match[3])
    return None


def is_device(name: str) -> bool:
    return _DEVICE.fullmatch(name) is not None and name != ""


def canonical(value: Json) -> bytes:
    """Write a value as JSON that is the same on every device: keys in order, no blanks, UTF-8; ValueError."""
    return _encode(value).encode()


def digest(value: Json) -> str:
    """Give eight hexadecimal digits by which a value is known again: of SHA-256 over it."""
    import hashlib

    return hashlib.sha256(canonical(value)).hexdigest()[:8]


def tag_field(tag: str) -> str:
    """Give the field of a tag, however it is spelled."""
    return TAG + unicodedata.normalize("NFC", unicodedata.normalize("NFC", tag).casefold())


def later(one: Cell | None, other: Cell) -> bool:
    """Tell whether `other` takes the place of `one`: by its clock, and of equal clocks by its value."""
    if one is None or other.clock != one.clock:
        return one is None or other.clock > one.clock
    return one.value != other.value and canonical(other.value) > canonical(one.value)


def merge_cells(one: Cells, other: Cells) -> Cells:
    """Take of each field the later cell."""
    news = {name: cell for name, cell in other.items() if later(one.get(name), cell)}
    return {**one, **news} if news else one


def merge(one: State, other: State) -> State:
    """Bring two states together; the order does not matter, nor how often."""
    return State(_merge(one.memos, other.memos), _merge(one.devices, other.devices))


def news(known: State, other: State) -> State:
    """Give what of `other` is not `known`: merging that is merging all of it."""
    return State(_news(known.memos, other.memos), _news(known.devices, other.devices))


def dumps(state: State) -> bytes:
    """Write a state as compressed JSON: equal states are equal bytes."""
    tables = {"memos": state.memos, "devices": state.devices}
    written = {name: {key: to_json(cells) for key, cells in table.items()} for name, table in tables.items()}
    return zlib.compress(canonical({"version": VERSION, **written}), 6)


def loads(data: bytes) -> State:
    """Read a state; what of it no cell may be is left out, cell by cell.

    TorrentError when it is none at all, too large, or of a newer version.
    """
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(data, MOST_BYTES)
        tokens = sum(map(text.count, (b",", b"["))) + 6 * text.count(b"{")  # each may take 60 bytes
        if unpacker.unconsumed_tail or tokens > MOST_TOKENS or _width(text) * len(text) > MOST_TEXT:
            raise _too_much()
        if not unpacker.eof:
            raise ValueError("cut")
        table = json.loads(text.decode(), parse_float=_no_fraction, parse_constant=_no_fraction)
        version = table["version"]
        memos, devices = ({**table.get(name, {})} for name in ("memos", "devices"))
    except (zlib.error, ValueError, TypeError, LookupError, RecursionError) as error:
        raise TorrentError("what a device says of its memos cannot be read") from error
    if type(version) is not int or version != VERSION:
        raise TorrentError("a device of a newer version says how its memos are", "update memosync")
    if len(memos) > MOST_MEMOS or len(devices) > MOST_DEVICES:
        raise _too_much()
    return State(
        _read_table(memos, MEMO, _HASH),
        {name: row for name, row in _read_table(devices, {}, _DEVICE).items() if name and is_short(row)},
    )


def is_cell(name: str, value: Json, rules: Rules) -> bool:
    """Tell whether a field may hold such a value; those of a newer version may hold anything that is not too long."""
    if not (0 < len(name) <= MOST_FIELD) or "\0" in name:
        return False
    try:
        name.encode()
        if name.startswith(TAG):
            return isinstance(value, str) and (not value or tag_field(value) == name) and clean_title(value) == value
        rule = rules.get(name)
        return bool(rule(value)) if rule else _is_plain(value) and len(canonical(value)) <= MOST_VALUE
    except (ValueError, RecursionError, OverflowError):
        return False


def _merge(one: Table, other: Table) -> Table:
    merged = dict(one)
    for key, cells in other.items():
        mine = one.get(key)
        if mine is not cells and mine != cells:
            merged[key] = cells if mine is None else merge_cells(mine, cells)
    return merged


def _news(known: Table, other: Table) -> Table:
    found = {}
    for key, cells in other.items():
        mine = known.get(key)
        if mine is cells or mine == cells:
            continue
        new = {name: cell for name, cell in cells.items() if mine is None or later(mine.get(name), cell)}
        if new or mine is None:
            found[key] = new
    return found


def to_json(cells: Cells) -> dict[str, list[Json]]:
    """Write each cell as its value and its clock, which is left out where nobody wrote it."""
    return {name: [cell.value] if cell.clock == BIRTH else [cell.value, *cell.clock] for name, cell in cells.items()}


def read_cells(cells: Json, rules: Rules) -> Cells:
    """Read what `to_json` gives, but for what is no cell."""
    found = {}
    for name, cell in cells.items() if isinstance(cells, dict) else ():
        if isinstance(cell, list) and len(cell) in (1, 4):
            clock = _clock(*cell[1:]) if cell[1:] else BIRTH
            if clock and is_cell(name, cell[0], rules):
                found[name] = Cell(cell[0], clock)
    return found


def _read_table(table: dict[str, Json], rules: Rules, form: re.Pattern[str]) -> Table:
    read = {key: read_cells(cells, rules) for key, cells in table.items() if form.fullmatch(key)}
    return {key: cells for key, cells in read.items() if cells}


def is_short(row: Cells) -> bool:
    """Tell whether all that a device says of itself is no longer than that may be."""
    return len(canonical(to_json(row))) <= MOST_ROW


def _width(text: bytes) -> int:
    """Give how many bytes a character will take, once this UTF-8 is decoded."""
    return 4 if re.search(rb"[\xf0-\xff]", text) else 2 if re.search(rb"[\xc4-\xff]", text) else 1


def _too_much() -> TorrentError:
    return TorrentError("a device says more of its memos than can be read")


def _clock(ms: Json, turn: Json, device: Json) -> Clock | None:
    fits = type(ms) is int and type(turn) is int and isinstance(device, str)
    if fits and 0 <= ms < MOST_MS and 0 <= turn < MOST_TURNS and _DEVICE.fullmatch(device):
        return Clock(ms, turn, device)
    return None


def _no_fraction(text: str) -> Json:
    raise ValueError(f"{text[:20]} is no integer")


def _is_plain(value: Json, depth: int = 0) -> bool:
    """Tell whether nothing in a value is true or false, and nothing is so deep that writing it might fail."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return not isinstance(value, bool) and depth <= MOST_DEPTH and all(_is_plain(one, depth + 1) for one in inner)


def _is_moment(value: Json) -> bool:
    """Written as the index gives it back: with an offset of whole minutes."""
    if not isinstance(value, str) or len(value) > 40:
        return False
    moment = datetime.fromisoformat(value)
    whole = moment.tzinfo is not None and not (moment.utcoffset() or timedelta()) % timedelta(minutes=1)
    return whole and moment.isoformat() == value


def _is_file(value: Json) -> bool:
    """What a memo's file is: SHA-256, bytes, and the infohash of its form for the devices of the group."""
    return (
        isinstance(value, dict)
        and value.keys() == {"sha256", "size", "infohash"}  # the index keeps no more
        and isinstance(value.get("sha256"), str)
        and isinstance(value.get("infohash"), str)
        and _HASH.fullmatch(value["sha256"]) is not None
        and parse_infohash(value["infohash"]) == value["infohash"]
        and _is_number(value.get("size"))
    )


def _is_number(value: Json) -> bool:
    return type(value) is int and 0 <= value < 2**53


MEMO: Rules = {
    "title": lambda value: isinstance(value, str) and clean_title(value) == value,
    "description": lambda value: isinstance(value, str) and clean_description(value) == value,
    "recorded": _is_moment,
    "trashed": lambda value: value == "" or (_is_moment(value) and value.endswith("+00:00")),
    "renewals": _is_number,
    "file": _is_file,
    "id": parse_id,
    "duration": _is_number,  # milliseconds
    "fetched": lambda value: _is_number(value) and value in (0, 1),
}
