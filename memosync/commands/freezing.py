"""What the first `share` does to a memo: its words are in its file, its torrent is kept, and neither changes again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..audio import webm
from ..errors import LibraryError, NotFoundError
from ..library.store import Library
from ..memo import Memo, MemoId, torrent_name
from ..torrent import metainfo
from .edit import reword
from .several import locked
from .torrents import kept_or_made


def freeze(library: Library, memos: Sequence[Memo], trackers: tuple[str, ...]) -> list[Memo]:
    """Freeze memos and mark them as shared, many at a time."""
    marked: dict[MemoId, Memo] = {}
    for batch in locked(library, memos):
        marked |= library.update({memo_id: _freeze(library, memo_id, trackers) for memo_id in batch})
    return [marked[memo.id] for memo in memos]


def _freeze(library: Library, memo_id: MemoId, trackers: tuple[str, ...]) -> Callable[[Memo], Memo]:
    """See that a locked memo's words are in its file and its torrent is kept; give the change to its entry."""
    memo = library.index().get(memo_id)
    if memo is None or memo.trashed:
        raise NotFoundError(f"memo {memo_id} was removed meanwhile")
    path = library.path(memo)
    if not path.exists():
        raise LibraryError(f"the file of memo {memo_id} is gone: {path}", "bring it back, or share another one")
    infohash, size = memo.infohash, memo.size
    if infohash is None:
        if webm.probe(path).words != memo.words:
            reword(library, memo)
        torrent = metainfo.make(path, torrent_name(memo.words, memo_id))
        infohash, size = torrent.infohash, torrent.size
        library.keep_torrent(infohash, torrent.data)
    elif not library.torrent(infohash).exists():
        torrent = kept_or_made(library, path, webm.probe(path).words, memo_id)
        if torrent.infohash != infohash:
            raise LibraryError(f"the torrent of memo {memo_id} is lost", "fetch it again from somebody who has it")
        library.keep_torrent(infohash, torrent.data)

    def mark(memo: Memo) -> Memo:
        return replace(memo, infohash=infohash, size=size, shared=True, trackers=trackers or memo.trackers)

    return mark
