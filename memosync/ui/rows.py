"""Answers that are lists: aligned on a terminal, TAB-separated in a pipe, or JSON Lines."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping
from datetime import date
from datetime import time as time_of_day
from typing import TYPE_CHECKING, Any

from ..index import KEYS
from ..memo import INVISIBLE, one_line
from ..quantities import format_clock, format_size
from . import align, answer, flush, is_terminal, table, tell, width, write

if TYPE_CHECKING:
    from ..commands.list_ import Row
    from ..commands.seed import Status
    from ..metainfo import Metainfo
    from ..microphone import Device
    from ..seeder import SeederState


def memos(rows: Iterable[Row], as_json: bool = False) -> None:
    """List memos: aligned on a terminal, TAB-separated in a pipe, or JSON Lines."""
    if as_json:
        for row in rows:
            write(sys.stdout, _json(_as_json(row)) + "\n", flush=False)
    elif is_terminal(sys.stdout):
        lines = [
            (
                row.memo.id,
                f"{row.memo.recorded:%Y-%m-%d %H:%M}",
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


def status(state: SeederState, rows: Iterable[Status], as_json: bool = False) -> None:
    """Say how every shared memo is served."""
    lines = [(row.memo.id, row.swarm.state, str(row.swarm.peers), str(row.swarm.given), row.memo.title) for row in rows]
    if as_json:
        for memo_id, kind, peers, given, title in lines:
            line = {"id": memo_id, "state": kind, "peers": int(peers), "given": int(given), "title": title}
            write(sys.stdout, _json(line) + "\n", flush=False)
    else:
        table(lines, right=(2, 3))
    kept = f", started again {state.restarts} times" if state.restarts else ""
    tell(f"process {state.pid} serves on port {state.port}, network {state.network.value}{kept}")


def info(torrent: Metainfo, title: str, as_json: bool = False) -> None:
    """Say what a link is of."""
    fields = {"infohash": torrent.infohash, "size": torrent.size, "name": torrent.name, "title": title}
    if as_json:
        answer(_json(fields))
    else:
        table([(torrent.infohash, str(torrent.size), one_line(torrent.name), one_line(title))], right=(1,))


def _as_json(row: Row) -> dict[str, Any]:
    """The keys of the index, null or empty where the index leaves them out, plus `path` and `link`."""
    table = {name: getattr(row.memo, name) for name in KEYS} | dict(row.memo.extra)
    return {name: _plain(value) for name, value in table.items()} | {"path": str(row.path), "link": row.link}


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
