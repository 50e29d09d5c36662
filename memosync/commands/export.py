"""export: memos as files for other programs, or one of them as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import IO

from .. import files, metainfo
from ..convert import Format, Target, convert, format_of
from ..errors import AudioError, LibraryError, Stop, TorrentError, UsageError
from ..library import Library
from ..memo import Memo, torrent_name
from .several import Fail, each

Place = Path | None  # a file, or standard output
LOOK = "memosync check says more"


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


def export(
    library: Library,
    places: Sequence[tuple[Memo, Place]],
    form: Format,
    *,
    out: Target,
    force: bool = False,
    answer: Callable[[str], None],
    on_progress: Callable[[str, float], None],  # of which title, and which part is done, 0 to 1
    stop: Stop,
    fail: Fail,
) -> None:
    """Write memos to their places, where they appear whole or not at all, and answer those; without one to `out`.

    When the reader of that has seen enough, it is done.
    """

    def write(item: tuple[Memo, Place]) -> None:
        memo, path = item
        source = _sound(library, memo)
        if path is None:
            with files.as_library_error("write the answer"), suppress(BrokenPipeError):
                copy(memo, source, out)
                out.flush()
            return
        with written(path, force=force, otherwise="another -o") as file:
            copy(memo, source, file)
        answer(str(path))

    def copy(memo: Memo, source: Path, target: Target) -> None:
        def look(part: float) -> None:
            stop.check()
            on_progress(memo.title, part)

        try:
            convert(source, target, form, memo.words, on_progress=look)
        except AudioError as error:
            raise LibraryError(f"it is damaged: {error}", LOOK) from error
        on_progress(memo.title, 1)

    each(places, write, name=lambda item: item[0].id, stop=stop, fail=fail)


def _sound(library: Library, memo: Memo) -> Path:
    """Find a memo's file; LibraryError when it is not what the index and its torrent say."""
    path = library.path(memo)
    fits = library.is_sound(memo, path)
    with suppress(TorrentError, OSError):
        if memo.infohash and fits:
            fits = metainfo.fits(metainfo.read(library.torrent(memo.infohash).read_bytes()), path)
    if not fits:
        raise LibraryError(f"{path} is gone or was altered", LOOK)
    return path
