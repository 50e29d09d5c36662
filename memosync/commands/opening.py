"""What every verb does first: open the library, and bring home what a crash left in it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from .. import index, metainfo, webm
from ..errors import AudioError, LibraryError, MemosyncError
from ..files import move
from ..library import Library
from ..memo import Memo, MemoId, Words, clean_title, file_name, torrent_name

Tell = Callable[[str], None]


def open_library(root: Path, tell: Tell) -> Library:
    """Open a library; finish every recording whose process died and adopt every file the index does not know.

    LibraryError when the index cannot be trusted; what cannot be mended is told, and the verb goes on.
    """
    library = Library(root)
    library.index()
    for memo_id, part in library.recordings():
        _mend(library, memo_id, part, _recover, tell)
    for memo_id, path in library.leftovers():
        _mend(library, memo_id, path, lambda library, memo_id, path, _tell: library.settle(memo_id, path), tell)
    adopt(library, library.orphans(), tell)
    return library


def finish_recording(library: Library, memo_id: MemoId, trashed: datetime | None = None) -> Memo | None:
    """Turn a locked `.part` into a memo, None when there is no sound in it.

    When that fails, the `.part` stays and the error says where it is.
    """
    part = library.part(memo_id)
    staged = part.with_name(f"{memo_id}.webm")
    try:
        info = webm.finish(part, staged)
        if not info.duration:
            staged.unlink(missing_ok=True)
            part.unlink()
            return None
        memo = replace(new_memo(memo_id, info, staged, when=part.stat().st_mtime), trashed=trashed)
        library.add(memo, staged)
    except (AudioError, LibraryError) as error:
        staged.unlink(missing_ok=True)
        kept = f"the recording is kept in {part}; the next command finishes it when it can"
        raise type(error)(f"{error}; {kept}", error.hint) from error
    part.unlink()
    return memo


def new_memo(memo_id: MemoId, info: webm.AudioInfo, path: Path, when: float, title: str = "") -> Memo:
    """Make the entry for a file from what it says of itself; `when` (Unix seconds) and `title` stand in."""
    words = info.words
    recorded = words.recorded or datetime.fromtimestamp(int(when)).astimezone()
    title = words.title or clean_title(title) or f"{recorded:%Y-%m-%d %H:%M}"
    return Memo(
        id=memo_id,
        file=file_name(title, recorded, memo_id),
        title=title,
        description=words.description,
        tags=words.tags,
        recorded=recorded,
        duration=round(info.duration, 3),
        size=path.stat().st_size,
    )


def kept_or_made(library: Library, path: Path, words: Words, memo_id: MemoId) -> metainfo.Metainfo:
    """Give the torrent of a file that never changes again: the one kept for it, else the one of our own making."""
    return kept_torrent(library, path) or metainfo.make(path, torrent_name(words, memo_id))


def kept_torrent(library: Library, path: Path) -> metainfo.Metainfo | None:
    """Find the kept torrent that describes a file byte for byte."""
    alike = _kept_torrents(library.private / "torrents").get(path.stat().st_size, [])
    return metainfo.fitting(alike, path)


def adopt(library: Library, orphans: list[tuple[MemoId, Path]], tell: Tell, trashed: datetime | None = None) -> None:
    """Name in the index what it does not know, a hundred at a time, and nothing that somebody is about to name."""
    beside = entries_beside(library) if orphans else {}
    for start in range(0, len(orphans), 100):
        with contextlib.ExitStack() as locks:
            found: list[Memo] = []
            for memo_id, path in orphans[start : start + 100]:
                with _leaving(path, tell):
                    if locks.enter_context(library.lock(memo_id, wait=False)) and path.exists():
                        found.append(memo_of(library, memo_id, path, beside, trashed))
            for memo in library.name(found):
                tell(f"adopted {memo.file}, which the index did not name")


def memo_of(
    library: Library, memo_id: MemoId, path: Path, beside: Mapping[str, Memo], trashed: datetime | None = None
) -> Memo:
    """Make the entry of a file that the index does not name, frozen, for it may have been shared.

    What an index beside ours says of it counts more than its own tags. AudioError when it is no memo.
    """
    info = webm.probe(path)
    if (memo := beside.get(path.name)) and (memo.id, memo.size) == (memo_id, path.stat().st_size):
        return replace(memo, trashed=trashed and (memo.trashed or trashed))
    torrent = kept_or_made(library, path, info.words, memo_id)
    memo = new_memo(memo_id, info, path, when=path.stat().st_mtime, title=torrent.name.removesuffix(".webm"))
    library.keep_torrent(torrent.infohash, torrent.data)
    return replace(memo, file=path.name, infohash=torrent.infohash, trashed=trashed)


def entries_beside(library: Library) -> dict[str, Memo]:
    """Read what the copies of the index say that a file synchroniser left, by the names of the files."""
    found: dict[str, Memo] = {}
    for path in library.index_copies():
        with contextlib.suppress(LibraryError, OSError, ValueError):
            found |= {memo.file: memo for memo in index.loads(path.read_text("utf-8")).memos}
    return found


@functools.cache
def _kept_torrents(directory: Path) -> dict[int, list[metainfo.Metainfo]]:
    torrents: dict[int, list[metainfo.Metainfo]] = {}
    for path in directory.glob("*.torrent"):
        with contextlib.suppress(MemosyncError, OSError):
            torrent = metainfo.read(path.read_bytes())
            torrents.setdefault(torrent.size, []).append(torrent)
    return torrents


def _mend(library: Library, memo_id: MemoId, path: Path, mend: Callable[..., None], tell: Tell) -> None:
    """Do it only while nobody else is at it."""
    with _leaving(path, tell), library.lock(memo_id, wait=False) as held:
        if held and path.exists():
            mend(library, memo_id, path, tell)


@contextlib.contextmanager
def _leaving(path: Path, tell: Tell) -> Iterator[None]:
    """Tell what cannot be mended, and never let it stop the verb."""
    try:
        yield
    except (MemosyncError, OSError) as error:
        tell(f"warning: {path.name} is left as it is: {error}")


def _recover(library: Library, memo_id: MemoId, part: Path, tell: Tell) -> None:
    memo = library.index().get(memo_id)
    if memo and library.path(memo).exists():  # it died between the index and this
        part.unlink()
        return
    try:
        if memo := finish_recording(library, memo_id):
            tell(f"recovered the interrupted recording {memo.id} “{memo.title}”, {memo.duration:.1f} s")
    except AudioError:  # a power cut's work: no reason to try again every time, and none to throw it away
        kept = library.private / "trash" / part.name
        kept.parent.mkdir(exist_ok=True)
        move(part, kept)
        tell(f"warning: an interrupted recording cannot be read; it is kept as {kept}")
