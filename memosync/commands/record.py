"""record: to a memo, from the microphone (`capture`), or from files and standard input (`intake`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..audio import webm
from ..console import one_line
from ..errors import UsageError
from ..library.store import Library
from ..memo import Memo, Words
from ..network import Network
from ..stop import Stop
from .opening import Tell
from .share import share


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What every recording needs to know."""

    words: Words  # as given; what is empty comes from the source
    sound: webm.Sound
    limit: float | None = None  # seconds
    stop: Stop
    tell: Tell
    answer: Callable[[str], None]
    share_on: Network | None = None  # answer a link that works there instead of the id

    def done(self, library: Library, memo: Memo) -> None:
        """Say what was saved, and answer it."""
        if memo.trashed:
            self.tell(f"discarded: {memo.id} is in the trash")
            return
        self.tell(f"saved {memo.id} “{memo.title}”, {memo.duration:.1f} s")
        if self.share_on:
            share(library, [memo], self.share_on, stop=Stop(), tell=self.tell, answer=self.answer)
        else:
            self.answer(memo.id)


def check_sources(names: Sequence[str]) -> list[Path | None]:
    """Turn arguments into files, `-` into None; UsageError for one that is not there, before anything is done."""
    for name in names:
        if name != "-" and not os.access(name, os.R_OK):
            raise UsageError(f"{one_line(name)}: there is no such file, or it cannot be read")
        if name != "-" and Path(name).is_dir():
            raise UsageError(f"{one_line(name)} is a directory", "name the files in it")
    return [None if name == "-" else Path(name) for name in names]
