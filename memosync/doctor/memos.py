"""What `check` finds out about one memo, and what would mend it without a guess."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ..audio import webm
from ..console import part
from ..errors import AudioError, reason_of
from ..library import group, keys, sealed
from ..library.freeze import frozen_torrent, is_file_of, torrent_again
from ..library.identity import sounds_as_it_should
from ..library.places import is_awaited
from ..library.stamps import content_of
from ..library.store import Library
from ..magnet import InfoHash
from ..memo import Memo
from . import repair
from .finding import Finding

NEAR = 0.1  # seconds: a container's length and its last block's end differ by less


def examine(
    library: Library, memo: Memo, on_progress: Callable[[float], None] = lambda _fraction: None
) -> Iterator[Finding]:
    """Find what is wrong with a memo: its file, its pieces where it was shared, its length, its words.

    `on_progress` is told how far its bytes are looked at, 0 to 1.
    """
    path = library.path(memo)
    try:
        yield from _examine_file(library, memo, path, on_progress)
    except FileNotFoundError:  # at first, or while it was looked at
        if is_awaited(library, memo) and not memo.trashed:
            names = ", ".join(row.name or row.id for row in group.holders(library, memo))
            where = f"it is on {names}" if names else "nobody has it"
            yield Finding("note", memo.id, f"its file is not here yet; {where}")
            return
        found = repair.find_file(library, memo)
        text = f"{memo.file} is gone{f'; {found.relative_to(library.root)} is it' if found else ''}"
        mend = partial(repair.bring_back, found, path) if found else None
        yield Finding("note" if memo.trashed else "defect", memo.id, text, mend)


def _examine_file(library: Library, memo: Memo, path: Path, on_progress: Callable[[float], None]) -> Iterator[Finding]:
    """Find what is wrong with a memo's file; FileNotFoundError when it is gone."""
    first = 0.5 if memo.sealed and not memo.trashed else 1.0  # the other half is the sealed form
    try:
        size, info = path.stat().st_size, webm.probe(path)
        known = frozen_torrent(library, memo) if memo.infohash else memo.sealed and keys.find(library, memo.sealed)
        is_altered = memo.is_frozen and known and not is_file_of(library, memo, path, part(on_progress, 0, first))
    except FileNotFoundError:
        raise
    except (AudioError, OSError) as error:
        yield Finding("defect", memo.id, f"{memo.file} cannot be read: {reason_of(error)}")
        return
    if memo.is_frozen:
        if is_altered:
            yield Finding("defect", memo.id, f"{memo.file} was altered: it is not what its link gives any more")
            return
        if memo.sealed and not memo.trashed:
            yield from _examine_sealed(library, memo, memo.sealed, part(on_progress, first, 1))
        if memo.infohash and not frozen_torrent(library, memo):
            again = torrent_again(library, memo, path, info.words)
            if not again:
                yield Finding(
                    "defect", memo.id, "the torrent of its link is lost; a backup of .memosync/torrents has it"
                )
                return
            mend = partial(repair.keep_torrent, library, again)
            yield Finding("defect", memo.id, "the torrent of its link is lost; its file makes the same", mend)
    elif _is_other(library, memo, path, part(on_progress, 0, first)):
        yield Finding("defect", memo.id, f"{memo.file} was altered: it is not what the other devices have")
        return
    elif info.claimed and info.duration < info.claimed - NEAR:
        yield Finding("defect", memo.id, f"{memo.file} ends after {info.duration:.1f} of {info.claimed:.1f} s")
        return
    if path.is_symlink() and not memo.uid and library.index().group:
        yield Finding("note", memo.id, f"{memo.file} is a symbolic link: it stays here, and is on no other device")
    if size != memo.size or abs(info.duration - memo.duration) > NEAR:
        text = f"{memo.file} has {size} bytes, {info.duration:.1f} s; the index says {memo.size}, {memo.duration:.1f} s"
        sure = memo.is_frozen or info.claimed
        yield Finding("defect", memo.id, text, partial(repair.believe_file, library, memo, info) if sure else None)
    elif not memo.is_frozen and info.words != memo.words and not memo.content:  # in a group that is as it should be
        yield Finding("note", memo.id, "the words in its file are not those of the index; sharing writes them")


def _is_other(library: Library, memo: Memo, path: Path, on_progress: Callable[[float], None]) -> bool:
    """Tell whether a file has neither the bytes that all devices of the group are to have, nor their sound."""
    content = content_of(memo)
    if not content or sealed.digest_of(path, on_progress).hex() == content.value["sha256"]:
        return False
    return not sounds_as_it_should(library, memo)


def _examine_sealed(
    library: Library, memo: Memo, infohash: InfoHash, on_progress: Callable[[float], None]
) -> Iterator[Finding]:
    """Find what is wrong with what is kept of a memo's private link."""
    key = keys.find(library, infohash)
    if key and key.ended:
        if memo.private:
            text = f"its private link was ended, and is served no longer; memosync share {memo.id} gives another"
            yield Finding("note", memo.id, text)
    elif not key:
        mend = partial(repair.seal_again, library, memo)
        yield Finding("defect", memo.id, "the key of its private link is lost", mend)
    elif fault := sealed.fault_of(library, infohash, thorough=True, on_progress=on_progress):
        mend = partial(repair.seal_again, library, memo)
        text = f"its sealed form {fault}; memosync check --repair makes it again"
        yield Finding("defect" if memo.private else "note", memo.id, text, mend)
