"""export: memos as files for other programs, or one of them as a stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from .. import files
from ..audio.exporting import Format, Target, convert
from ..errors import AudioError, LibraryError, TorrentError
from ..library.store import Library
from ..memo import Memo
from ..stop import Stop
from ..torrent import metainfo
from .placing import Place, written
from .several import Fail, each

LOOK = "memosync check says more"


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
