"""Entries of the index, as a memo's file or another index gives them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AudioError
from ..memo import Memo, MemoId, Words, clean_title, file_name
from ..quantities import format_moment, from_stamp

if TYPE_CHECKING:
    from ..audio.webm import AudioInfo


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a memo, and from where."""

    memo: Memo
    source: str = "its file"
    since: int = 0  # nanoseconds: when the source was written
    is_of_group: bool = False  # of a group, in which an index has later words than files


def new_memo(memo_id: MemoId, info: AudioInfo, path: Path, when: float, title: str = "") -> Memo:
    """Make the entry for a file from what it says of itself; `when` (Unix seconds) and `title` stand in."""
    words = info.words
    recorded = words.recorded or from_stamp(int(when))
    title = words.title or clean_title(title) or format_moment(recorded)
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


def as_file_says(memo: Memo, path: Path, info: AudioInfo, *, words: bool) -> Memo:
    """Correct an entry by what its file is, and with `words` by what that says of itself."""
    memo = replace(memo, duration=round(info.duration, 3), size=path.stat().st_size)
    if not words:
        return memo
    title, recorded = info.words.title or memo.title, info.words.recorded or memo.recorded
    return replace(memo, title=title, description=info.words.description, tags=info.words.tags, recorded=recorded)


def says(path: Path, words: Words) -> bool:
    """Tell whether a file can be read, and says just these words."""
    from ..audio import webm

    with contextlib.suppress(AudioError, OSError):
        return webm.probe(path).words == words
    return False


def as_it_came(memo: Memo, path: Path) -> Memo:
    """Give a memo's entry with the words that its file says, as far as that can be read."""
    from ..audio import webm  # most who change an index need it not

    with contextlib.suppress(AudioError, OSError):
        return replace(as_file_says(memo, path, webm.probe(path), words=True), trashed=memo.trashed)
    return memo
