"""Where exported memos and pages go: the file that was named, or readable names in a directory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import IO

from .. import files
from ..audio.exporting import Format, format_of
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
        if path:
            free_place(path, force=force)
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


def free_place(path: Path, *, force: bool) -> None:
    """Insist that a file may be written there; UsageError when there is one, unless with `force`, or no directory."""
    if path.exists() and not (force and path.is_file()):
        raise UsageError(f"{path} exists", "--force replaces a file")
    if not path.parent.is_dir():
        raise UsageError(f"there is no directory {path.parent}", "make it, or name another")


@contextmanager
def written(path: Path, *, force: bool, otherwise: str) -> Iterator[IO[bytes]]:
    """Give a file that appears at its place whole or not at all; UsageError when another was faster."""
    with files.as_library_error(f"write {path}", otherwise):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with files.made_whole(path, replace=force) as file:
                yield file
        except FileExistsError as error:
            raise UsageError(f"{error.filename2 or error.filename} exists", "--force replaces a file") from error
