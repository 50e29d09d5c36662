"""Answers that are lists: aligned on a terminal, TAB-separated in a pipe, or JSON Lines."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from datetime import time as time_of_day
from typing import TYPE_CHECKING, Any

from ..console import INVISIBLE, one_line
from ..index import KEYS
from ..network import is_cut_off
from ..quantities import format_clock, format_count, format_level, format_moment, format_size, from_stamp
from .terminal import align, answer, clear, fits, flush, is_terminal, room, table, tell, warn, width, write
from .wave import draw

if TYPE_CHECKING:
    from ..audio.microphone import Device
    from ..commands.list_ import Row
    from ..commands.seed import Status
    from ..commands.show import Shown
    from ..commands.sync import Status as Synced
    from ..doctor.finding import Finding
    from ..library.recorder import RecorderState
    from ..seeder.state import SeederState, SwarmState
    from ..torrent.metainfo import Metainfo


_BROWSERS = {True: "yes", False: "no", None: "-"}
_FINDERS = {True: "browsers too", False: "no browsers", None: "programs"}  # who can find it, to people


def memos(rows: Iterable[Row], as_json: bool = False) -> None:
    """List memos: aligned on a terminal, TAB-separated in a pipe, or JSON Lines."""
    if as_json:
        for row in rows:
            write(sys.stdout, _json(_as_json(row)) + "\n", flush=False)
    elif is_terminal(sys.stdout):
        lines = [
            (
                row.memo.id,
                format_moment(row.memo.recorded),
                format_clock(row.memo.duration),
                format_size(row.memo.size),
                row.flags,
                one_line(row.memo.title) + "".join(f" #{one_line(tag)}" for tag in row.memo.tags),
            )
            for row in rows
        ]
        if width(sys.stdout) < 60:  # the title says more than the rest
            align([(memo_id, words) for memo_id, *_, words in lines])
        else:
            align(lines, right=(2, 3))
    else:
        for row in rows:
            memo = row.memo
            numbers = f"{memo.id}\t{memo.recorded.isoformat()}\t{memo.duration:.3f}\t{memo.size}\t{row.flags}"
            words = f"{one_line(','.join(memo.tags))}\t{one_line(memo.title)}"
            write(sys.stdout, f"{numbers}\t{words}\n", flush=False)
    flush()


def devices(found: Iterable[Device]) -> None:
    """List what can record: number, name, channels, and `*` at the default."""
    rows = [
        (str(device.number), "*" if device.is_default else "-", str(device.channels), device.name) for device in found
    ]
    if not rows:
        tell("there is no microphone")
    table(rows, right=(0, 2))


def recorder(state: RecorderState) -> None:
    """Say how a recording in the background goes: id, time, level, minutes of disk where they are few, title."""
    if is_terminal(sys.stdout):
        room = f"disk {state.minutes_left:.0f} min" if math.isfinite(state.minutes_left) else ""
        numbers = [format_clock(state.elapsed), format_level(state.peak), *filter(None, [room])]
    else:
        room = f"{state.minutes_left:.0f}" if math.isfinite(state.minutes_left) else "-"
        numbers = [f"{state.elapsed:.3f}", f"{state.peak:.1f}", room]
    table([(state.memo, *numbers, state.title)])
    for text in state.warnings:
        warn(text)


def status(state: SeederState, rows: Iterable[Status], as_json: bool = False) -> None:
    """Say how every shared memo is served."""
    rows = list(rows)
    if as_json:
        for row in rows:
            line = {"id": row.memo.id, "state": row.swarm.state, "peers": row.swarm.peers, "given": row.swarm.given}
            line |= {"title": row.memo.title, "browsers": row.browsers, "delivered": row.swarm.delivered}
            fetching = [{"address": address, "percent": percent} for address, percent in _fetching(row.swarm)]
            write(sys.stdout, _json(line | {"fetching": fetching}) + "\n", flush=False)
    elif is_terminal(sys.stdout):
        table([line for row in rows for line in _watched(row)], right=(2,))
    else:
        table(
            [
                (
                    row.memo.id,
                    row.swarm.state,
                    str(row.swarm.peers),
                    str(row.swarm.given),
                    row.memo.title,
                    _BROWSERS[row.browsers],
                    str(row.swarm.delivered),
                    ",".join(row.swarm.fetching),
                )
                for row in rows
            ]
        )
    if hidden := sum(row.is_crowded_out for row in rows):
        tell(f"browsers cannot find {hidden} of these memos: there is no room for more, programs find them all")
    if not state.ready:
        tell(f"process {state.process} is starting")
        return
    if unheard := sum(row.browsers is False for row in rows) - hidden:
        tell(f"browsers cannot find {unheard} of these memos: no WebSocket tracker of theirs answers")
    if state.usual_port not in (0, state.port):
        warn(f"links given before name port {state.usual_port}, which another program has: it is tried again and again")
    if is_cut_off(state.addresses, state.network):
        warn("this machine is in no network: nobody else can fetch anything before it is")
    kept = f", started again {state.restarts} times" if state.restarts else ""
    tell(f"process {state.process} serves on port {state.port}, network {state.network.value}{kept}")


def _watched(row: Status) -> Iterator[tuple[str, ...]]:
    """Say to a person how a memo is served, and in a row each who fetches it and how far they are."""
    swarm = row.swarm
    times = {0: "not delivered", 1: "delivered once"}.get(swarm.delivered, f"delivered {swarm.delivered} times")
    given, finders = f"{format_size(swarm.given)} given", _FINDERS[row.browsers]
    yield row.memo.id, swarm.state, given, times, finders, row.memo.title
    fetching = _fetching(swarm)
    for address, percent in fetching:
        yield "", f"{percent} %", "", "", "", address
    if others := swarm.peers - len(fetching):
        yield "", "", "", "", "", format_count(others, "other peer" if fetching else "peer")


def _fetching(swarm: SwarmState) -> list[tuple[str, int]]:
    return [(address, int(percent)) for address, _, percent in (peer.rpartition(" ") for peer in swarm.fetching)]


def synced(found: Iterable[Synced], as_json: bool = False) -> None:
    """Say how each device of the group is: what it lacks, as of when, and why."""
    rows = list(found)
    if as_json:
        for row in rows:
            device = row.device
            line = {
                "device": device.id,
                "name": device.name,
                "this": row.is_this,
                "since": _moment(device.since),
                "here": row.is_met or row.is_this,
                "met": _moment(row.met),
                "lacking": row.lacking,
                "why": row.why,
                "as_of": "now" if row.as_of is None else _moment(row.as_of),
            }
            write(sys.stdout, _json(line) + "\n", flush=False)
        flush()
        return
    people = is_terminal(sys.stdout)
    lines = []
    for row in rows:
        device = row.device
        lacks = f"{format_count(device.lacking)}, {row.why}" if device.lacking else "nothing"
        when = "now" if row.as_of is None else _when(row.as_of, people)
        met = "this device" if row.is_this else "now" if row.is_met else _when(row.met, people) or "never"
        known = f"lacks {lacks}, as of {when}" if when else "not known what it lacks"
        numbers = ("" if row.lacking is None else str(row.lacking), row.why, "now" if row.as_of is None else when)
        words = (known,) if people else numbers
        lines.append((device.id, device.name, _when(device.since, people), met, *words))
    table(_laid_out(lines) if people else lines)


def _laid_out(lines: Sequence[tuple[str, ...]]) -> Sequence[tuple[str, ...]]:
    """Lay out rows of devices for a terminal: what each lacks, why and as of when says more than the rest.

    Where a row is too long for that it goes on below, and less of the rest is shown where even so there is no room.
    """
    without_since = [(device, name, met, known) for device, name, _since, met, known in lines]
    many = Counter(name for _device, name, *_ in lines)
    without_id = [
        (name if name and many[name] == 1 else f"{name} {device[:4]}".strip(), met, known)
        for device, name, met, known in without_since
    ]
    names = [(name, known) for name, _met, known in without_id]
    if whole := next(filter(fits, (lines, without_since)), None):
        return whole
    for rows in (without_since, without_id, names):
        below = [line for row in rows for line in _going_on(row, room(rows))]
        if fits(below):
            return below
    least = width(sys.stdout) - 2
    return [(line,) for name, known in names for line in (name, *(f"  {text}" for text in _wrap(known.split(), least)))]


def _going_on(row: tuple[str, ...], columns: int) -> Iterator[tuple[str, ...]]:
    """Have the last cell of a row go on below, after one of its commas."""
    first, *others = _wrap(row[-1].replace(", ", ",\n").split("\n"), columns)
    yield *row[:-1], first
    for text in others:
        yield *[""] * (len(row) - 1), text


def _wrap(parts: Iterable[str], columns: int) -> list[str]:
    """Join parts to lines that are no longer than so many columns, if no part is."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + 1 + len(part) <= columns:
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return lines


def _when(seconds: float | None, people: bool) -> str:
    if not seconds:
        return ""
    moment = from_stamp(seconds)
    return format_moment(moment) if people else moment.isoformat()


def _moment(seconds: float | None) -> str | None:
    return from_stamp(seconds).isoformat() if seconds else None


def info(torrent: Metainfo, title: str, as_json: bool = False) -> None:
    """Say what a link is of."""
    fields = {"infohash": torrent.infohash, "size": torrent.size, "name": torrent.name, "title": title}
    if as_json:
        answer(_json(fields))
    elif is_terminal(sys.stdout):
        table([(f"{torrent.infohash[:8]}…", format_size(torrent.size), title or torrent.name)])
    else:
        table([(torrent.infohash, str(torrent.size), torrent.name, title)])


def fetched(row: Row, as_json: bool = False) -> None:
    """Say what is here now: its id, or a line of JSON."""
    if as_json:
        memos([row], as_json)
    else:
        answer(row.memo.id)


def showing(as_json: bool = False) -> Callable[[Shown], None]:
    """Give what shows memos, with an empty line between two that are no JSON."""
    begun: list[bool] = []

    def show(found: Shown) -> None:
        if begun and not as_json:
            write(sys.stdout, "\n", flush=False)
        begun.append(True)
        shown(found, as_json)

    return show


def shown(found: Shown, as_json: bool = False) -> None:
    """Show a memo: with its waveform to a person, else each field as a name, TAB and its value, or all as JSON."""
    memo, swarm, levels, carried = found.row.memo, found.swarm, found.levels, found.carried
    loudness, peak = (levels.loudness, levels.peak) if levels else (None, None)
    fields = _as_json(found.row) | {
        "state": swarm.state if swarm else None,
        "peers": swarm.peers if swarm else None,
        "given": swarm.given if swarm else None,
        "addresses": list(swarm.addresses) if swarm else [],
        "loudness": None if loudness is None else round(loudness, 2),
        "peak": None if peak is None else _plain(round(peak, 2)),
        "chapters": [{"start": chapter.start / 1000, "title": chapter.title} for chapter in carried.chapters],
        "carried": dict(carried.tags),
    }
    fields["awaited"] = fields.pop("awaited")  # what is added stands at the end
    write(sys.stderr, clear())
    if found.row.damaged:
        what = "not what the index says" if found.row.path.exists() else "gone"
        warn(f"its file is {what}; memosync check says more")
    if as_json:
        answer(_json(fields))
        return
    if not is_terminal(sys.stdout):
        table([(name, _as_text(value)) for name, value in (fields | {"duration": f"{memo.duration:.3f}"}).items()])
        return
    fields |= {
        "recorded": memo.recorded.isoformat(" "),
        "duration": format_clock(memo.duration),
        "size": format_size(memo.size),
        "state": f"{swarm.state}, {format_count(swarm.peers, 'peer')}, {format_size(swarm.given)} given"
        if swarm
        else "not served",
        "loudness": f"{loudness:.1f} LUFS" if loudness is not None else levels and "too short or too quiet to say",
        "peak": f"{peak:.1f} dBFS" if peak is not None else None,
    }
    marks = [f"{format_clock(chapter.start / 1000)}  {chapter.title}" for chapter in carried.chapters]
    fields |= {"chapters": "\n".join(marks), "carried": None}
    if fields["public_link"] == fields["link"]:
        del fields["public_link"]
    for name, value in [*fields.items(), *((name.replace("_", " "), text) for name, text in carried.tags.items())]:
        if value not in (None, False, "", []) and name not in ("file", "peers", "given"):
            lines = value.split("\n") if name in ("description", "comment", "chapters") else [_as_text(value)]
            for label, line in zip([name, *[""] * len(lines)], lines, strict=False):
                write(sys.stdout, f"{label:12} {one_line(line)}".rstrip() + "\n", flush=False)
    for line in draw(levels.wave if levels else b"", width(sys.stdout), rows=3):
        write(sys.stdout, line.rstrip() + "\n", flush=False)
    flush()


def _as_text(value: Any) -> str:
    """Write a field of JSON as one of a row: text as it is, lists of it joined by commas, nothing for null."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ",".join(value)
    return value if isinstance(value, str) else "" if value is None else _json(value)


def findings(found: Iterable[Finding], as_json: bool = False) -> None:
    """Say what `check` found: severity, subject, text."""
    lines = [(finding.severity, finding.subject, finding.text) for finding in found]
    if as_json:
        for line in lines:
            write(sys.stdout, _json(dict(zip(("severity", "subject", "text"), line, strict=True))) + "\n", flush=False)
        flush()
    else:
        table(lines, cut=False)


def _as_json(row: Row) -> dict[str, Any]:
    """The keys of the index, null or empty where the index leaves them out, plus `path`, the links and `awaited`.

    `link` is the private one where there is one.
    """
    table = {name: getattr(row.memo, name) for name in KEYS} | dict(row.memo.extra)
    links = {"link": row.links.private or row.links.public, "public_link": row.links.public}
    values = {name: _plain(value) for name, value in table.items()}
    return values | {"path": str(row.path)} | links | {"awaited": row.awaited}


def _json(value: Any) -> str:
    """Write JSON (RFC 8259) that people can read and no terminal obeys."""
    return INVISIBLE.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))


def _plain(value: Any) -> Any:
    """Turn what TOML has and JSON has not into text, or null for what is no number."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, date | time_of_day):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value
