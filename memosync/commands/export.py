"""export: memos as files for other programs, or one of them as a stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from typing import cast, get_args

from .. import files, metainfo
from ..convert import Format, Target, convert
from ..errors import AudioError, LibraryError, Stop, TorrentError, UsageError
from ..library import Library
from ..memo import Memo, torrent_name
from .several import Fail, each

Place = Path | None  # a file, or standard output
LOOK = "memosync check says more"
ALIASES = {"": "webm", "opus": "ogg", "oga": "ogg"}


def choose_format(form: Format | None, place: str | None) -> Format:
    """Take the format that was given, else that of the file's extension, else WebM; UsageError for an unknown one."""
    suffix = "" if place is None or _is_directory(place) else Path(place).suffix[1:].lower()
    found = form or ALIASES.get(suffix, suffix)
    if found not in get_args(Format):
        raise UsageError(f"{suffix} is none of the formats", "give -f webm, ogg, wav, flac or mp3")
    return cast("Format", found)


def choose_places(memos: Sequence[Memo], place: str | None, form: Format, *, force: bool) -> list[tuple[Memo, Place]]:
    """Give each memo the file that is named, or a readable name in the directory that is; none without a place.

    UsageError when the file exists, unless with `force`; in a directory a name that is free is taken.
    """
    path = Path(place) if place is not None else None
    if place is None or path is None or not _is_directory(place):
        if len(memos) > 1:
            raise UsageError(f"{len(memos)} memos need a directory", "-o DIR/ takes them all")
        if path and path.exists() and not (force and path.is_file()):
            raise UsageError(f"{place} exists", "--force replaces a file")
        if path and not path.parent.is_dir():
            raise UsageError(f"there is no directory {path.parent}", "make it, or name another")
        return [(memo, path) for memo in memos]
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is not a directory", "name another")
    found: list[tuple[Memo, Place]] = []
    taken: set[str] = set()
    for memo in memos:
        stem = torrent_name(memo.words, memo.id).removesuffix(".webm").strip(" .-") or memo.id
        names = chain((f"{stem}.{form}",), (f"{stem} {number}.{form}" for number in count(2)))
        name = next(n for n in names if n.casefold() not in taken and (force or not (path / n).exists()))
        taken.add(name.casefold())
        found.append((memo, path / name))
    return found


def export(
    library: Library,
    places: Sequence[tuple[Memo, Place]],
    form: Format,
    *,
    out: Target,
    force: bool = False,
    answer: Callable[[str], None],
    on_progress: Callable[[Memo, float], None],  # which part is done, 0 to 1
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
            return
        with files.as_library_error(f"write {path}", "another -o"):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with files.made_whole(path, replace=force) as file:
                    copy(memo, source, file)
            except FileExistsError as error:
                raise UsageError(f"{path} exists", "--force replaces a file") from error
        answer(str(path))

    def copy(memo: Memo, source: Path, target: Target) -> None:
        def look(part: float) -> None:
            stop.check()
            on_progress(memo, part)

        try:
            convert(source, target, form, memo.words, on_progress=look)
        except AudioError as error:
            raise LibraryError(f"it is damaged: {error}", LOOK) from error
        on_progress(memo, 1)

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


def _is_directory(place: str) -> bool:
    return place.endswith("/") or Path(place).is_dir()
