"""The end of a recording: from its `.part` to a memo, by who made it or, when that died, by who comes next."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from ..audio import webm
from ..audio.carried import Carried
from ..console import Console
from ..errors import AudioError, Interrupted, LibraryError
from ..files import is_out_of_room, make_directory, move, status_of
from ..memo import Memo, MemoId
from ..quantities import format_duration
from .entries import new_memo
from .store import Library


def finish_recording(
    library: Library, memo_id: MemoId, console: Console, trashed: datetime | None = None, carried: Carried | None = None
) -> Memo | None:
    """Turn a locked `.part` into a memo, None when there is no sound in it.

    `carried` is what it carries besides its words, where the `.part` says that wrong.
    When that fails, the `.part` stays and the error says where it is, or the hint of Interrupted.
    """
    part = library.part(memo_id)
    staged = part.with_name(f"{memo_id}.webm")
    try:
        progress = partial(console.progress, "of the recording saved")
        info = webm.finish(part, staged, carried=carried, on_progress=progress)
        if not info.duration:
            staged.unlink(missing_ok=True)
            part.unlink()
            return None
        memo = replace(new_memo(memo_id, info, staged, when=part.stat().st_mtime), trashed=trashed)
        library.add(memo, staged)
    except (AudioError, LibraryError, Interrupted) as error:
        staged.unlink(missing_ok=True)
        kept = f"the recording is kept in {part}; the next command finishes it when it can"
        if isinstance(error, Interrupted):
            raise Interrupted(error.signal_number, kept) from error
        hint = "make room; then memosync list finishes it" if is_out_of_room(error.__cause__) else error.hint
        raise type(error)(f"{error}; {kept}", hint) from error
    finally:
        console.progress("of the recording saved", 1)
    with contextlib.suppress(OSError):  # else the next command does it
        part.unlink()
    return memo


def recover(library: Library, memo_id: MemoId, part: Path, console: Console) -> None:
    """Finish a recording whose process died, with its memo locked; what cannot be read is kept in the trash.

    OddFile when it is no file.
    """
    status_of(part)
    memo = library.index().get(memo_id)
    if memo and library.path(memo).exists():  # it died between the index and this
        part.unlink()
        return
    try:
        if memo := finish_recording(library, memo_id, console):
            console.tell(f"recovered the interrupted recording {memo.label}, {format_duration(memo.duration)}")
    except AudioError:  # a power cut's work: no reason to try again every time, and none to throw it away
        kept = library.trash / part.name
        make_directory(kept.parent)
        move(part, kept)
        console.warn(f"an interrupted recording cannot be read; it is kept as {kept}")
