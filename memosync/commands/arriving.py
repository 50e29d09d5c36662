"""How what was fetched becomes a memo of this library, and what is one already."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..audio.webm import AudioInfo
from ..library.store import Library
from ..magnet import InfoHash
from ..memo import Memo, clean_title
from ..network import DEFAULT_TRACKERS, Network, usable_trackers
from ..torrent.metainfo import Metainfo
from .entries import new_memo
from .opening import Tell
from .rm import restore


def already_here(library: Library, infohash: InfoHash) -> Memo | None:
    """Give the memo that has this infohash and its file; it may be in the trash."""
    memo = library.index().with_infohash(infohash)
    return memo if memo and library.path(memo).exists() else None


def out_of_trash(library: Library, memo: Memo, tell: Tell) -> Memo:
    """Bring a memo back when it is in the trash."""
    if memo.trashed:
        restore(library, [memo], tell=tell, answer=lambda _id: None)
    return library.index().get(memo.id) or memo


def title_of(torrent: Metainfo) -> str:
    """Read a title from the name of a torrent."""
    return clean_title(re.sub(r"(?i)\.webm$", "", torrent.name))


def take_in(library: Library, torrent: Metainfo, path: Path, info: AudioInfo, trackers: Sequence[str]) -> Memo:
    """Move a file that has all its pieces in byte for byte and index it, with the trackers of its link."""
    library.keep_torrent(torrent.infohash, torrent.data)
    with contextlib.suppress(OSError):
        # a torrent may ask for an executable file (BEP 47); this one gets the mode of any file of ours, where it can
        path.chmod(library.torrent(torrent.infohash).stat().st_mode)
    if lost := library.index().with_infohash(torrent.infohash):  # its entry is here, its file was not
        lost = replace(lost, trashed=None)
        with library.lock(lost.id):
            library.add(lost, path)
        return lost
    usable = usable_trackers(trackers, Network.PUBLIC)[0]
    others = tuple(usable) if set(usable) - set(DEFAULT_TRACKERS) else ()
    memo_id = info.words.id or library.take_id()
    while True:
        with library.lock(memo_id):
            if not library.index().get(memo_id) and not library.part(memo_id).exists():
                memo = new_memo(memo_id, info, path, when=path.stat().st_mtime, title=title_of(torrent))
                memo = replace(memo, infohash=torrent.infohash, fetched=True, trackers=others)
                library.add(memo, path)
                return memo
        memo_id = library.take_id()
