"""Stamps: between a memo's entry in the index and the cells that the devices of a group tell each other of it. Pure.

The clock of a word stands beside it in the index, with eight hexadecimal digits by which the word is known again. Where
they fit, that is when it was written, whatever file the entry came from; where they do not, a person has edited the
text, and the word is stamped anew. So no second file can turn old words into new edits. Title, description and date
that nobody changed since the memo was made need no stamp: `born` has the digits of all three.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from .. import manifest
from ..manifest import BIRTH, FETCHED, TAG, Cell, Cells, Clock, Json, Table, digest, merge_cells, tag_field, tick
from ..memo import Memo, MemoId, clean_description, clean_title, file_name

_BORN = ("title", "description", "recorded")
_DIGITS = 8  # of each of them
_Stamps = Mapping[str, tuple[Clock, str]]  # by field: when it was written, and the digits of what


def stamped(memo: Memo, now: int, device: str, before: Memo | None = None) -> Memo:
    """Stamp every word of a memo that was changed since it was stamped, `now` (milliseconds since 1970).

    One that never was keeps its words as those that it came with, or those of the entry `before`.
    """
    if not memo.born:
        origin = _born(before or memo)
        memo = replace(memo, born=origin.born, stamps=origin.stamps)
    if not (new := dict(_unstamped(memo))):
        return memo
    stamps, first = _stamps(memo), _first(memo)
    clocks = {field: stamps[field][0] if field in stamps else first for field in new}
    return _with_stamps(memo, {**stamps, **{field: (tick(clocks[field], now, device), new[field]) for field in new}})


def is_stamped(memo: Memo) -> bool:
    """Tell whether nobody changed a memo's words since they were stamped."""
    return bool(memo.born) and not any(_unstamped(memo))


def _unstamped(memo: Memo) -> Iterator[tuple[str, str]]:
    """Give the fields whose words are not known by the digits that stand beside them, and the digits of these words."""
    values = _values(memo)
    stamps = {field: said for field, clock, said in _lines(memo) if manifest.is_clock(clock)}
    for field in {**values, **stamps}:
        said = digest(values[field] if field in values else _nothing(field))
        if said != (stamps[field] if field in stamps else _born_digits(memo, field)):
            yield field, said


def cells_of(memo: Memo) -> Cells:
    """Give what a memo's entry, which is stamped, says to other devices.

    An entry does not change, and among ten thousand few do: what was made of one is kept with it.
    """
    if memo.cells is None:
        object.__setattr__(memo, "cells", _cells_of(memo))
    cells: Cells = memo.cells
    return cells


def _cells_of(memo: Memo) -> Cells:
    values, stamps, first = _values(memo), _stamps(memo), _first(memo)
    cells = {
        field: Cell(values.get(field, _nothing(field)), stamps[field][0] if field in stamps else first)
        for field in {**values, **stamps}
    }
    cells["id"] = Cell(memo.id, first)
    cells["duration"] = Cell(round(memo.duration * 1000), first)
    if memo.fetched:
        cells["fetched"] = Cell(1, first)
    if content := _content_of(memo):
        cells["file"] = content
    return {**cells, **_more(memo)}


def with_cells(memo: Memo, cells: Cells) -> Memo:
    """Have a memo's entry, which is stamped, say what these cells do, each with its clock.

    Its id, its length and whether it was fetched stay what they are here. What counts of them on all devices is said
    on, or no two would ever say the same; what was recorded anywhere was not fetched.
    """
    mine = cells_of(memo)
    new = {field: cell for field, cell in cells.items() if mine.get(field) != cell}
    if not new:
        return memo
    if "fetched" in new and not memo.fetched:
        new["fetched"] = Cell(0, BIRTH)
    changes: dict[str, Any] = {}
    for field in ("title", "description", "renewals"):
        if field in new:
            changes[field] = new[field].value
    for field in ("recorded", "trashed"):
        if field in new:
            changes[field] = datetime.fromisoformat(new[field].value) if new[field].value else None
    tags = {field: cell.value for field, cell in new.items() if field.startswith(TAG)}
    if tags:
        spelled = {tag_field(clean_title(tag)): tag for tag in reversed(memo.tags)} | tags
        changes["tags"] = _ordered(memo, spelled)
    if "file" in new:
        changes["content"] = format_content(new["file"])
    words = {*_BORN, "trashed", "renewals", *tags}
    if others := {field: cell for field, cell in new.items() if field not in words and field != "file"}:
        changes["more"] = _format_more({**_more(memo), **others})
    stamps = {field: (cell.clock, digest(cell.value)) for field, cell in new.items() if field in words}
    return _with_stamps(replace(memo, **changes), {**_stamps(memo), **stamps})


def alive(memo: Memo, said: Cells, now: int, device: str) -> Memo:
    """Have a memo not be in the trash, by an act of now, after all that was said of it."""
    cells = merge_cells(cells_of(memo), said)
    clock = cells["trashed"].clock if "trashed" in cells else BIRTH
    return with_cells(memo, {"trashed": Cell("", tick(clock, now, device))})


def heeding(memo: Memo, graves: Table) -> Memo:
    """Have the entry of a memo, which may be from before it was purged, say what is known of it since."""
    if not memo.born or not memo.uid or memo.uid not in graves:
        return memo
    return with_cells(memo, merge_cells(cells_of(memo), graves[memo.uid]))


def of_no_group(memo: Memo) -> Memo:
    """Have a memo's entry name no file for the devices of a group: another group's secret makes another form of it."""
    return replace(memo, content="", more="")


def arrived(uid: str, cells: Cells, memo_id: MemoId, file: str | None = None) -> Memo:
    """Make the entry of a memo that other devices have, under an id that is free here, in a `file` that may be here."""
    recorded = datetime.fromisoformat(cells["recorded"].value if "recorded" in cells else "1970-01-01T00:00:00+00:00")
    title = cells["title"].value if "title" in cells else ""
    content = cells.get("file")
    memo = Memo(
        id=memo_id,
        file=file or file_name(title, recorded, memo_id),
        title=title,
        recorded=recorded,
        duration=cells["duration"].value / 1000 if "duration" in cells else 0.0,
        size=content.value["size"] if content else 0,
        fetched="fetched" in cells and cells["fetched"].value == 1,
        uid=uid,
    )
    return with_cells(_born(memo), cells)


def content_of(memo: Memo) -> Cell | None:
    """Give which bytes a memo's file has on all devices, or will have; None while nobody has said so."""
    return cells_of(memo).get("file") if memo.content else None


def _content_of(memo: Memo) -> Cell | None:
    clock_text, *rest = memo.content.split(" ")
    clock = manifest.parse_clock(clock_text)
    if clock is None or len(rest) != 3 or not rest[1].isdecimal():
        return None
    value = {"sha256": rest[0], "size": int(rest[1]), "infohash": rest[2]}
    return Cell(value, clock) if manifest.is_cell("file", value, manifest.MEMO) else None


def format_content(cell: Cell) -> str:
    """Write which bytes a memo's file has as `content_of` reads it."""
    return "{} {sha256} {size} {infohash}".format(cell.clock, **cell.value)


def _values(memo: Memo) -> dict[str, Json]:
    """Give what stands in an entry, as a cell has it; a tag that is not there, or nothing, has no field."""
    found: dict[str, Json] = {
        "title": clean_title(memo.title),
        "description": clean_description(memo.description),
        "recorded": memo.recorded.isoformat(),
    }
    for tag in filter(None, map(clean_title, memo.tags)):
        found.setdefault(tag_field(tag), tag)
    if memo.trashed:
        found["trashed"] = _in_utc(memo.trashed).isoformat()
    if memo.renewals:
        found["renewals"] = memo.renewals
    return found


def _in_utc(when: datetime) -> datetime:
    try:
        return when.astimezone(UTC)
    except OverflowError:  # at the edges of the calendar
        return (datetime.min if when.year == 1 else datetime.max.replace(microsecond=0)).replace(tzinfo=UTC)


def _nothing(field: str) -> Json:
    return 0 if field == "renewals" else ""


def _first(memo: Memo) -> Clock:
    """Give the clock of what a memo came with: what is said here counts more than what came with a stranger's file."""
    return FETCHED if memo.fetched else BIRTH


def _born(memo: Memo) -> Memo:
    """Take a memo's words as those that it came with."""
    values = _values(memo)
    born = "".join(digest(values[field]) for field in _BORN)
    stamps = {field: (_first(memo), digest(value)) for field, value in values.items() if field not in _BORN}
    return _with_stamps(replace(memo, born=born), stamps)


def _born_digits(memo: Memo, field: str) -> str:
    if field not in _BORN:
        return digest(_nothing(field))
    at = _BORN.index(field) * _DIGITS
    return memo.born[at : at + _DIGITS]


def _stamps(memo: Memo) -> dict[str, tuple[Clock, str]]:
    """Read an entry's stamps, `FIELD CLOCK DIGITS`; what is none is passed over."""
    read = ((field, manifest.parse_clock(clock), said) for field, clock, said in _lines(memo))
    return {field: (clock, said) for field, clock, said in read if clock}


def _lines(memo: Memo) -> Iterator[tuple[str, str, str]]:
    """Cut an entry's stamps into field, clock and digits."""
    for text in memo.stamps:
        parts = text.rsplit(" ", 2)
        if len(parts) == 3 and parts[0]:
            yield parts[0], parts[1], parts[2]


def _with_stamps(memo: Memo, stamps: _Stamps) -> Memo:
    return replace(memo, stamps=tuple(f"{field} {clock} {said}" for field, (clock, said) in sorted(stamps.items())))


def _more(memo: Memo) -> Cells:
    """Read the cells that this version knows nothing of."""
    try:
        return manifest.read_cells(json.loads(memo.more), manifest.MEMO) if memo.more else {}
    except (ValueError, RecursionError):
        return {}


def _format_more(cells: Cells) -> str:
    return manifest.canonical(manifest.to_json(cells)).decode()


def _ordered(memo: Memo, spelled: Mapping[str, str]) -> tuple[str, ...]:
    """Give the tags in the order of before, the new ones behind them."""
    left = dict(spelled)
    kept = [left.pop(tag_field(clean_title(tag)), "") for tag in memo.tags]
    return tuple(filter(None, [*kept, *(left[field] for field in sorted(left))]))
