"""Freezing: what the first link to a memo's bytes does to it, and the torrents by which frozen bytes are known.

Its words are in its file, its torrent is kept, and neither ever changes again.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from .. import files
from ..audio import webm
from ..console import part
from ..errors import AudioError, LibraryError, NotFoundError, TorrentError
from ..magnet import InfoHash
from ..memo import Memo, MemoId, Words, torrent_name
from ..torrent import metainfo
from ..torrent.metainfo import Metainfo
from . import keys, sealed
from .reword import reword
from .sounds import has_sound_of
from .store import Library

Form = Literal["public", "sealed", "new"]  # the file itself; sealed; sealed, and the link before is ended


def freeze(
    library: Library,
    memos: Sequence[Memo],
    trackers: tuple[str, ...],
    form: Form,
    on_progress: Callable[[float], None] = lambda _done: None,
) -> tuple[list[Memo], LibraryError | None]:
    """Freeze memos and mark them as shared, to anybody or to who has a private link, many at a time.

    With `trackers`, typed here, instead of those they had. LibraryError when a link cannot be made. One of what comes
    after that, such as to end the link before, is given with them: they have their links, and only these are served.
    `on_progress` is told how many are done, and how much of the next one; of that anew for all that it takes.
    """
    marked: dict[MemoId, Memo] = {}
    fault: LibraryError | None = None
    for batch in library.locked(memos):
        before = [memo for memo in library.index().memos if memo.id in batch]
        changes: dict[MemoId, Callable[[Memo], Memo]] = {}
        try:
            for memo_id in batch:
                done = len(marked) + len(changes)
                on_progress(done)
                changes[memo_id] = _freeze(library, memo_id, trackers, form, part(on_progress, done, done + 1))
        except LibraryError as error:
            others = f"{len(marked)} others were shared" if marked else "nothing was shared"
            raise LibraryError(f"{error}; {others}" if len(memos) > 1 else str(error), error.hint) from error
        try:
            marked |= library.update(changes)
        except LibraryError as error:
            found = {memo.id: memo for memo in library.index().memos if memo.id in batch}
            if len(found) < len(batch) or any(changes[memo_id](memo) != memo for memo_id, memo in found.items()):
                raise
            fault, marked = fault or error, marked | found  # all of it is in the index, perhaps not after a power cut
        if form != "public":  # once all have one
            for memo in before:
                try:
                    sealed.end_others(library, marked[memo.id], memo.sealed)
                except LibraryError as error:
                    text = f"an earlier link of {memo.label} is served no longer, but not ended for good: {error}"
                    fault = fault or LibraryError(text, "memosync check --repair ends it")
    return [marked[memo.id] for memo in memos], fault


def frozen_torrent(library: Library, memo: Memo) -> Metainfo | None:
    """Read the torrent that a frozen memo's own file is known by; None when it is lost or broken, or not frozen."""
    if memo.infohash:
        return metainfo.believed(library.torrent(memo.infohash), memo.infohash)
    return None


def is_file_of(
    library: Library, memo: Memo, path: Path, on_progress: Callable[[float], None] = lambda _fraction: None
) -> bool:
    """Tell whether a file is what the memo's torrent, its key, or where there is neither its entry describes.

    OSError when that cannot be read: nothing is known of it then. `on_progress` is told how far it is read, 0 to 1.
    """
    if torrent := frozen_torrent(library, memo):
        return metainfo.fits(torrent, path, on_progress)
    if memo.sealed and (key := keys.find(library, memo.sealed)):
        return sealed.digest_of(path, on_progress) == key.digest
    return library.is_intact(memo, path)


def torrent_again(library: Library, memo: Memo, path: Path, words: Words) -> Metainfo | None:
    """Make a frozen memo's lost torrent again from its file, which says these words; None when it makes another one."""
    torrent = kept_or_made(library, path, words, memo.id)
    return torrent if torrent.infohash == memo.infohash else None


def kept_or_made(library: Library, path: Path, words: Words, memo_id: MemoId) -> Metainfo:
    """Give the torrent of a file that never changes again: the one kept for it, else the one of our own making."""
    return kept_torrent(library, path) or metainfo.make(path, torrent_name(words, memo_id))


def look_again() -> None:
    """Have the kept torrents be read once more: others may have kept some since."""
    _kept_torrents.cache_clear()


def kept_torrent(library: Library, path: Path) -> Metainfo | None:
    """Find the kept torrent that describes a file byte for byte."""
    with contextlib.suppress(OSError):
        alike = _kept_torrents(library.torrents).get(path.stat().st_size, [])
        return metainfo.fitting(alike, path)
    return None


@functools.cache
def _kept_torrents(directory: Path) -> dict[int, list[Metainfo]]:
    torrents: dict[int, list[Metainfo]] = {}
    for path in directory.glob("*.torrent"):
        with contextlib.suppress(TorrentError, OSError):
            torrent = metainfo.read(files.read(path))
            torrents.setdefault(torrent.size, []).append(torrent)
    return torrents


def _freeze(
    library: Library, memo_id: MemoId, trackers: tuple[str, ...], form: Form, on_progress: Callable[[float], None]
) -> Callable[[Memo], Memo]:
    """See that a locked memo's words are in its file and what its link needs is kept; give the change to its entry."""
    memo = library.index().get(memo_id)
    if memo is None or memo.trashed:
        raise NotFoundError(f"memo {memo_id} was removed meanwhile")
    try:
        with files.as_library_error(f"read {memo.file}"):
            return _frozen(library, memo, trackers, form, on_progress)
    except AudioError as error:
        raise LibraryError(f"cannot read {memo.file}: {error}", "memosync check says more") from error


def _frozen(
    library: Library, memo: Memo, trackers: tuple[str, ...], form: Form, on_progress: Callable[[float], None]
) -> Callable[[Memo], Memo]:
    path = library.path(memo)
    try:
        files.status_of(path, links=True)
    except FileNotFoundError:
        raise LibraryError(f"the file of {memo.label} is gone: {path}", "bring it back, or share another one") from None
    if not memo.is_frozen and path.is_symlink():  # nobody may choose by it what of ours a link gives away
        raise LibraryError(f"the file of {memo.label} is a symbolic link: {path}", "put the file itself there")
    if not memo.is_frozen and memo.content and not has_sound_of(path, memo.uid):  # all devices would have to have it
        text = f"the file of {memo.label} was altered: it is not what the other devices have"
        raise LibraryError(text, "it comes again from one of them; memosync sync says which are there")
    if not memo.is_frozen and not webm.says(path, memo.words):
        reword(library, memo, on_progress)
    elif not memo.is_frozen and not library.is_intact(memo, path) and webm.probe(path).duration < memo.duration - 0.1:
        raise AudioError("it is damaged: its end is missing")
    kept = memo.infohash if form == "public" else memo.sealed and keys.is_alive(library, memo.sealed)
    is_new = form == "new" or not kept
    if memo.is_frozen and is_new and not is_file_of(library, memo, path, on_progress):
        text = f"the file of {memo.label} was altered: it is not what its link gives any more"
        raise LibraryError(text, "bring back the file as it was")
    changes: dict[str, Any] = {"trackers": trackers, "typed": True} if trackers else {}
    if form == "public":
        changes |= {"infohash": _public(library, memo, path, on_progress), "shared": True}
    else:
        if form == "new":
            made = sealed.another_form(library, memo, on_progress)
        else:
            made = sealed.form_of(library, memo, on_progress=on_progress)
        changes |= {"sealed": made.infohash, "renewals": made.renewals, "private": True}
    size = memo.size if memo.is_frozen else path.stat().st_size

    return lambda memo: replace(memo, size=size, **changes)


def _public(library: Library, memo: Memo, path: Path, on_progress: Callable[[float], None]) -> InfoHash:
    """See that the torrent of a memo's file is kept, whose words are in it, and give its infohash."""
    if not memo.infohash:
        torrent = metainfo.make(path, torrent_name(webm.read_words(path), memo.id), on_progress)
        library.keep_torrent(torrent.infohash, torrent.data)
        return torrent.infohash
    if not frozen_torrent(library, memo):
        again = torrent_again(library, memo, path, webm.read_words(path))
        if not again:
            raise LibraryError(
                f"the torrent of {memo.label} is lost",
                "put .memosync/torrents back from a backup, or share it privately",
            )
        library.keep_torrent(memo.infohash, again.data)
    return memo.infohash
