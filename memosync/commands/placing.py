"""Where exported memos go: the file that was named, or readable names in a directory."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from ..convert import Format, format_of
from ..errors import UsageError
from ..memo import Memo, torrent_name

Place = Path | None  # a file, or standard output


def choose_places(
    memos: Sequence[Memo], place: str | None, form: Format | None, *, force: bool
) -> tuple[Format, list[tuple[Memo, Place]]]:
    """Give each memo the file that is named, or a readable name in the directory that is; none without a place.

    And the format: where none is given, that of the file's extension. UsageError when there is none, or when the file
    exists, unless with `force`; in a directory a name that is free is taken.
    """
    if place is None or not (place.endswith("/") or Path(place).is_dir()):
        if len(memos) > 1:
            raise UsageError(f"{len(memos)} memos need a directory", "-o DIR/ takes them all")
        path = Path(place) if place is not None else None
        if path and path.exists() and not (force and path.is_file()):
            raise UsageError(f"{path} exists", "--force replaces a file")
        if path and not path.parent.is_dir():
            raise UsageError(f"there is no directory {path.parent}", "make it, or name another")
        return form or format_of(path.suffix if path else ""), [(memo, path) for memo in memos]
    form = form or "webm"
    found: list[tuple[Memo, Place]] = []
    taken: set[str] = set()
    for memo in memos:
        stem = torrent_name(memo.words, memo.id).removesuffix(".webm").strip(" .-") or memo.id
        names = chain((f"{stem}.{form}",), (f"{stem} {number}.{form}" for number in count(2)))
        paths = (Path(place, name) for name in names if name.casefold() not in taken)
        path = next(path for path in paths if force or not path.exists())
        taken.add(path.name.casefold())
        found.append((memo, path))
    return form, found
