"""Libraries of one group, without a network between them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from proof.sounds import sound

from memosync import manifest
from memosync.audio import webm
from memosync.console import Console
from memosync.library import group
from memosync.library.adopt import open_library
from memosync.library.entries import new_memo
from memosync.library.store import Library
from memosync.memo import Memo, MemoId, Words

SECRET = bytes(range(32))


WHEN = datetime(2026, 8, 25, 10, 11, 12, tzinfo=UTC)


SILENT = Console()


def entered(root: Path, secret: bytes = SECRET) -> Library:
    """Open a library that is in the group of a secret."""
    library = open_library(root, SILENT)
    group.enter(library, secret)
    return library


def record(library: Library, number: int, title: str = "Weekly standup") -> MemoId:
    """Put a sound into a library, as a recording does at its end."""
    memo_id = library.take_id()
    with library.lock(memo_id):
        library.prepare()
        bare, staged = library.root / "bare", library.part(memo_id).with_suffix(".new")
        bare.write_bytes(sound(number))
        info = webm.finish(bare, staged, Words(title, "", ("work",), WHEN, memo_id))
        bare.unlink()
        library.add(new_memo(memo_id, info, staged, when=0), staged)
    return memo_id


def tell(one: Library, other: Library) -> None:
    """Have `other` hear what `one` says, and take the files that it wants and `one` has."""
    group.merge_in(one, manifest.State(), SILENT)
    group.merge_in(other, manifest.loads(manifest.dumps(group.state_of(one))), SILENT)
    files = {memo.uid: one.path(memo) for memo in one.index().memos}
    for memo, _content in list(group.wanted(other)):
        if memo.uid in files and files[memo.uid].exists():
            shutil.copy(files[memo.uid], other.inner / "arrived")
            group.take(other, memo.uid or "", other.inner / "arrived")


def edit(library: Library, memo_id: MemoId, **words: object) -> None:
    library.update({memo_id: lambda memo: replace(memo, **words)})  # type: ignore[arg-type]


def only(library: Library) -> Memo:
    (memo,) = library.index().memos
    return memo


def words(library: Library) -> list[tuple[object, ...]]:
    memos = sorted(library.index().memos, key=lambda memo: str(memo.uid))
    return [(memo.uid, memo.title, memo.description, set(memo.tags), memo.recorded, memo.trashed) for memo in memos]
