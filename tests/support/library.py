"""What is in a library, and memos to put there."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

from memosync import memo
from memosync.index import Index
from memosync.memo import Memo
from support.program import Program

WHEN = datetime(2026, 8, 25, 10, 11, 12, tzinfo=UTC)


class Entry(TypedDict, total=False):
    """A memo as the index has it; what is not said is not there."""

    id: str
    file: str
    title: str
    description: str
    tags: list[str]
    recorded: datetime
    duration: float  # seconds
    size: int  # bytes
    infohash: str
    shared: bool
    sealed: str
    private: bool
    renewals: int
    fetched: bool
    trackers: list[str]
    typed: bool
    trashed: datetime


class Listed(TypedDict):
    """A memo as `list --json` tells of it."""

    id: str
    file: str
    title: str
    description: str
    tags: list[str]
    recorded: str
    duration: float  # seconds
    size: int  # bytes
    infohash: str  # or null
    shared: bool
    sealed: str  # or null
    private: bool
    renewals: int
    fetched: bool
    trackers: list[str]
    typed: bool
    trashed: str | None
    path: str
    link: str  # or null
    public_link: str  # or null
    awaited: bool


def memos(memosync: Program) -> list[Listed]:
    """Give what `list` lists, after it saw to what it found."""
    return [json.loads(line) for line in memosync("list", "--json").lines]


def only(memosync: Program) -> Listed:
    """Give what `list` says of the only memo."""
    (memo,) = memos(memosync)
    return memo


def entries(memosync: Program) -> list[Entry]:
    """Give the entries of the index as they stand there."""
    return list(tomllib.loads((memosync.library / "index.toml").read_text()).get("memo", []))


def make_memo(number: int, **changes: Any) -> Memo:
    """Make an entry; its file is none of our concern."""
    memo_id = memo.new_id(number.to_bytes(5, "big"))
    title = f"Memo {number}"
    name = memo.file_name(title, WHEN, memo_id)
    return replace(Memo(id=memo_id, file=name, title=title, recorded=WHEN, duration=1.0, size=1), **changes)


def add(number: int) -> Callable[[Index], Index]:
    """Name one memo more."""
    return lambda index: index.with_memo(make_memo(number))


def state(root: Path) -> dict[str, bytes]:
    """Give every file of a library with what is in it, but for empty lock files."""
    found = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if data}
