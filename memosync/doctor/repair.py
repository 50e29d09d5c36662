"""What `check --repair` does where no guess is needed; nothing is deleted."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from .. import files, index
from ..audio import webm
from ..errors import AudioError, LibraryError
from ..library import sealed
from ..library.adopt import has_words_of_its_own
from ..library.entries import as_file_says
from ..library.freeze import is_file_of
from ..library.sounds import is_as_long
from ..library.store import Library
from ..memo import Memo
from ..torrent.metainfo import Metainfo


def merge(library: Library) -> list[tuple[str, str]]:
    """Name what the copies of the index say otherwise and put them away; their memos that were not known are adopted.

    Gives what it is about, a memo's id or the index, and what there is to say.
    """
    said: list[tuple[str, str]] = []
    ours = {memo.id: memo for memo in library.index().memos}
    for path in library.snapshots.copies():
        try:
            theirs = index.loads(files.read(path).decode("utf-8"))
        except (LibraryError, OSError, UnicodeDecodeError) as error:
            said.append(("index", f"{path.name} is left: {error}"))
            continue
        for memo in theirs.memos:
            if memo.id not in ours:
                said.append((memo.id, f"“{memo.title}” is in {path.name} alone, and its file is not here"))
            elif other := index.differences(ours[memo.id], memo):
                said.append((memo.id, f"{path.name} has {', '.join(other)}; left as it is"))
        with files.as_library_error(f"put {path.name} away"):
            kept = library.put_away(path)
        said.append(("index", f"{path.name} is merged, and kept as {kept.relative_to(library.root)}"))
    return said


def find_file(library: Library, memo: Memo) -> Path | None:
    """Find the file of a memo that is not in its place: in the trash, or under another name that has its id."""
    trashed = library.trash / memo.file
    named = [path for path, owner in library.strangers() if owner == memo]
    for path in [trashed, *named]:
        with contextlib.suppress(AudioError, OSError):
            if files.is_regular(path):
                # of another size it has other words: an index that was put back calls it as it was called before
                is_its_own = not memo.is_frozen and path in named and is_as_long(memo, webm.probe(path).duration)
                if is_its_own or is_file_of(library, memo, path):
                    return path
    return None


def bring_back(found: Path, place: Path) -> str:
    with files.as_library_error(f"bring {place.name} back"):
        files.move(found, place)
    return f"{place.name} was brought back"


def keep_torrent(library: Library, torrent: Metainfo) -> str:
    path = library.torrent(torrent.infohash)
    if os.path.lexists(path):
        with files.as_library_error("put the broken torrent aside"):
            files.move(path, files.free_name(path.with_suffix(".broken")))
    library.keep_torrent(torrent.infohash, torrent.data)
    return "its torrent was made again"


def seal_again(library: Library, memo: Memo) -> str:
    sealed.form_of(library, memo, thorough=True)
    return "its sealed form and its key are kept again"


def believe_file(library: Library, memo: Memo, info: webm.AudioInfo) -> str:
    """Have the index say what an intact file is, and its words when it was written after the index."""
    path = library.path(memo)
    is_later = not (memo.is_frozen or library.index().group) and files.time_of(path) > library.index_time()
    with files.as_library_error(f"read {path.name}"):
        later = is_later and has_words_of_its_own(library, memo, path)
    library.update({memo.id: lambda memo: as_file_says(memo, path, info, words=later)})
    return "the index says now what the file is"
