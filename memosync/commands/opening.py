"""What every verb does first: open the library, and bring home what a crash left in it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from .. import metainfo, webm
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
    for memo_id, path in library.orphans():
        _mend(library, memo_id, path, _adopt, tell)
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
    with contextlib.suppress(OSError):  # else the next command does it
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
    for torrent in _kept_torrents(library.private / "torrents").get(path.stat().st_size, []):
        if metainfo.fits(torrent, path):
            return torrent
    return metainfo.make(path, torrent_name(words, memo_id))


@functools.cache
def _kept_torrents(directory: Path) -> dict[int, list[metainfo.Metainfo]]:
    torrents: dict[int, list[metainfo.Metainfo]] = {}
    for path in directory.glob("*.torrent"):
        with contextlib.suppress(MemosyncError, OSError):
            torrent = metainfo.read(path.read_bytes())
            torrents.setdefault(torrent.size, []).append(torrent)
    return torrents


def _mend(library: Library, memo_id: MemoId, path: Path, mend: Callable[..., None], tell: Tell) -> None:
    """Do it only while nobody else is at it, and never let it stop the verb."""
    try:
        with library.lock(memo_id, wait=False) as held:
            if held and path.exists():
                mend(library, memo_id, path, tell)
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


def _adopt(library: Library, memo_id: MemoId, path: Path, tell: Tell) -> None:
    if any(memo.id == memo_id or memo.file == path.name for memo in library.index().memos):
        return
    info = webm.probe(path)
    torrent = kept_or_made(library, path, info.words, memo_id)
    memo = new_memo(memo_id, info, path, when=path.stat().st_mtime, title=torrent.name.removesuffix(".webm"))
    memo = replace(memo, file=path.name, infohash=torrent.infohash)
    library.keep_torrent(torrent.infohash, torrent.data)
    library.change(lambda index: index.with_memo(memo))
    tell(f"adopted {path.name}, which the index did not name")
