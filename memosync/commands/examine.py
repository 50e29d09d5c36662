"""What `check` finds out about one memo, and how it is mended where that needs no guess."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from .. import files, metainfo, webm
from ..errors import AudioError, TorrentError
from ..library import Library
from ..memo import Memo
from ..metainfo import Metainfo
from .opening import kept_or_made

NEAR = 0.1  # seconds; browsers and encoders count the last block differently


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `check`."""

    severity: Literal["ok", "note", "defect"]
    subject: str  # a memo's id, or a part of the library or the machine
    text: str
    mend: Callable[[], str] | None = None  # does it, and says what was done


def examine(library: Library, memo: Memo) -> Iterator[Finding]:
    """Find what is wrong with a memo: its file, its length, its pieces, its words."""
    path = library.path(memo)
    try:
        size, info = path.stat().st_size, webm.probe(path)
    except FileNotFoundError:
        found = next((other for other in library.strays(memo) if _is_it(library, memo, other)), None)
        elsewhere = f"; {found.relative_to(library.root)} is it" if found else ""
        severity: Literal["note", "defect"] = "note" if memo.trashed else "defect"
        yield Finding(severity, memo.id, f"{memo.file} is gone{elsewhere}", found and (lambda: _bring_back(path, found)))
        return
    except (AudioError, OSError) as error:
        yield Finding("defect", memo.id, f"{memo.file} cannot be read: {getattr(error, 'strerror', None) or error}")
        return
    if memo.infohash:
        torrent = _torrent(library, memo)
        if torrent and not metainfo.fits(torrent, path):
            yield Finding("defect", memo.id, f"{memo.file} was altered: it is not what its link gives any more")
            return
        if not torrent:
            made = kept_or_made(library, path, info.words, memo.id)
            lost = "the torrent of its link is lost"
            if made.infohash != memo.infohash:
                yield Finding("defect", memo.id, f"{lost}, and its file makes another one")
                return
            yield Finding("defect", memo.id, lost, lambda: _keep(library, made))
    elif info.claimed and info.duration < info.claimed - NEAR:
        yield Finding("defect", memo.id, f"{memo.file} ends after {info.duration:.1f} of {info.claimed:.1f} s")
        return
    if (size, True) != (memo.size, abs(info.duration - memo.duration) <= NEAR):
        text = f"{memo.file} has {size} bytes and {info.duration:.1f} s, the index says {memo.size} and {memo.duration:.1f}"
        sure = memo.infohash or info.claimed
        yield Finding("defect", memo.id, text, (lambda: _believe_file(library, memo)) if sure else None)
    elif not memo.infohash and info.words != memo.words:
        yield Finding("note", memo.id, "the words in its file are older than the index; sharing writes them")
