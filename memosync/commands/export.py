"""export: memos as files for other programs, or one of them as a stream."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from .. import files
from ..audio.exporting import Format, Target, convert, format_of
from ..errors import AudioError, LibraryError, UsageError
from ..library.freeze import is_file_of
from ..memo import Memo, torrent_name
from ..stop import Stop
from .arguments import Globals, choose, each, free_place, insist_here, written

_LOOK = "memosync check says more"
_Place = Path | None  # a file, or standard output


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What is to be exported, and where to."""

    memos: Sequence[str] = ()
    form: Format | None = None  # that of the file's extension where none is given, else webm
    place: str | None = None  # a file, a directory, or - for standard output, as without any
    force: bool = False  # replace what exists


def export(command: Globals, options: ExportOptions, *, out: Target | None, to_file: bool = False, stop: Stop) -> None:
    """Write memos to files, which appear whole or not at all, and answer those; without a place write one to `out`.

    When the reader of that has seen enough, it is done; with `to_file` it has none, and how far it is is shown.
    UsageError, and nothing done, where there is no `out`, as on a terminal, or the place cannot be; LibraryError when a
    memo is damaged.
    """
    if options.place == "":
        there = "-o FILE or -o DIR/ names one; without it, standard output is meant"
        raise UsageError("there is no place in -o", there)
    place = None if options.place == "-" else options.place
    if place is None and not out:
        raise UsageError("sound is nothing for a terminal", "give -o FILE, or pass it to a program: | mpv -")
    library, console = command.open(stop), command.console
    memos = choose(library, options.memos)
    form, places = _choose_places(memos, place, options.form, force=options.force)

    def write(item: tuple[Memo, _Place]) -> None:
        memo, path = item
        source = library.path(memo)
        insist_here(library, memo)
        with files.as_library_error(f"read {source}"):
            is_there = os.path.lexists(source)
            if not is_there or not is_file_of(library, memo, source, telling(f"of “{memo.title}” looked at")):
                raise LibraryError(f"{source} {'was altered' if is_there else 'is gone'}", _LOOK)
        if path is None:
            assert out
            with files.as_library_error("write the answer"), suppress(BrokenPipeError):
                copy(memo, source, out)
                out.flush()
        else:
            with written(path, force=options.force, otherwise="another -o") as file:
                copy(memo, source, file)
        if place or to_file:
            console.progress("", 1)  # the disk has it
        if path:
            console.answer(str(path))

    def telling(of: str) -> Callable[[float], None]:
        def look(fraction: float) -> None:
            stop.check()
            if place or to_file:
                console.progress(of, min(fraction, 0.999))

        return look

    def copy(memo: Memo, source: Path, target: Target) -> None:
        try:
            convert(source, target, form, memo.words, on_progress=telling(memo.title))
        except AudioError as error:
            raise LibraryError(f"it is damaged: {error}", _LOOK) from error

    each(places, write, name=lambda item: item[0].label, stop=stop, console=console)


def _choose_places(
    memos: Sequence[Memo], place: str | None, form: Format | None, *, force: bool
) -> tuple[Format, list[tuple[Memo, _Place]]]:
    """Give each memo the file that is named, or a readable name in the directory that is; none without a place.

    And the format: where none is given, that of the file's extension. UsageError when there is none, or when the file
    exists, unless with `force`; in a directory a name that is free is taken.
    """
    if place is None or not (place.endswith("/") or os.path.isdir(place)):
        if len(memos) > 1:
            raise UsageError(f"{len(memos)} memos need a directory", "-o DIR/ takes them all")
        path = Path(place) if place is not None else None
        if path:
            free_place(path, force=force, otherwise="another -o")
        return form or format_of(path.suffix if path else ""), [(memo, path) for memo in memos]
    form = form or "webm"
    found: list[tuple[Memo, _Place]] = []
    taken: set[str] = set()
    for memo in memos:
        stem = torrent_name(memo.words, memo.id).removesuffix(".webm").strip(" .-") or memo.id
        names = chain((f"{stem}.{form}",), (f"{stem} {number}.{form}" for number in count(2)))
        paths = (Path(place, name) for name in names if name.casefold() not in taken)
        path = next(path for path in paths if force or not os.path.exists(path))
        taken.add(path.name.casefold())
        found.append((memo, path))
    return form, found
