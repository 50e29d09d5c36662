"""What `record` does with files and with standard input."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from ..audio import webm
from ..audio.importing import Pipe, import_source
from ..library.store import Library
from ..memo import Memo, Words, clean_title
from .entries import new_memo
from .finishing import finish_recording
from .record import Job
from .several import Fail, each


def record_sources(library: Library, sources: Sequence[Path | None], job: Job, *, fail: Fail) -> None:
    """Make a memo of each audio file, and of standard input where one is None."""
    name = lambda source: str(source or "standard input")  # noqa: E731
    each(sources, lambda source: _record_source(library, source, job), name=name, stop=job.stop, fail=fail)


def _record_source(library: Library, source: Path | None, job: Job) -> None:
    """Make a memo of one source.

    Words that are not given come from the source's tags; the title then from its name, the date from its time stamp.
    What standard input gave until `stop` is saved; a file that was not read to its end is not.
    """
    words = job.words

    def describe(own: Words) -> Words:
        recorded = own.recorded or written or words.recorded
        title = words.title or own.title or (clean_title(source.stem) if source else "") or f"{recorded:%Y-%m-%d %H:%M}"
        return Words(title, words.description or own.description, words.tags or own.tags, recorded, memo_id)

    def progress(_seconds: float) -> None:
        if not live:
            job.stop.check()

    file: webm.Reader
    with open(source or 0, "rb", closefd=source is not None) as file:
        status = os.fstat(file.fileno())
        written = datetime.fromtimestamp(int(status.st_mtime)).astimezone() if stat.S_ISREG(status.st_mode) else None
        live = not file.seekable()
        library.prepare()
        memo_id = library.take_id()
        part = library.part(memo_id)
        target = part if live else part.with_suffix(".import")
        memo: Memo | None = None
        try:
            with library.lock(memo_id):
                try:
                    reader = Pipe(job.stop, file.fileno()) if live else file
                    import_source(reader, target, describe, job.sound, live=live, limit=job.limit, on_progress=progress)
                    if not live:
                        made = new_memo(memo_id, webm.probe(target), target, when=0)
                        library.add(made, target)
                        memo = made
                finally:
                    if live and part.exists():
                        memo = finish_recording(library, memo_id)
                    elif not live:
                        target.unlink(missing_ok=True)
        finally:  # without the memo's lock, which sharing takes
            if memo:
                job.done(library, memo)
