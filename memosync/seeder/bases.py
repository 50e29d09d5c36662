"""Bases: what a device's heads stand on, so that each says only what is new.

A head names its base, which is a head as well and may have a base itself: the whole state, in addition to that what
has changed lately, and in addition to that what has changed just now. Whoever has the lower ones needs none of them
again, so one word more among thousands of memos costs a few hundred bytes.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from pathlib import Path

from .. import files
from ..errors import MemosyncError, TorrentError
from ..library import heads
from ..library.heads import Head, Opened
from ..magnet import InfoHash
from ..manifest import State, merge, news

DEEPEST = 2  # bases that a head may stand on
MOST_NEWS = 1_500  # bytes of a head: a larger one is a base for what comes next


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Base:
    """A head that others may stand on, with all that it and its own bases say."""

    infohash: InfoHash
    state: State
    size: int  # bytes of it alone
    below: tuple[Base, ...] = ()  # the lowest first

    @property
    def chain(self) -> tuple[Base, ...]:
        return (*self.below, self)

    @property
    def next(self) -> Base | None:
        """The base for what is said next, here and on every other device: this one, or the one below."""
        if self.size > MOST_NEWS and len(self.below) < DEEPEST:
            return self
        return self.below[-1] if self.below else None


class Bases:
    """What this device's own head stands on, and those that are on the disk."""

    def __init__(self, secret: bytes, place: Path) -> None:
        self._secret, self._place = secret, place
        self.chain: tuple[Base, ...] = ()

    @property
    def infohashes(self) -> set[InfoHash]:
        return {base.infohash for base in self.chain}

    def find(self, infohash: InfoHash, depth: int = 1) -> Base | None:
        """Give a base that is here, with those that it stands on; None where one of them is not."""
        for base in self.chain:
            if base.infohash == infohash:
                return base
        with contextlib.suppress(OSError, MemosyncError):
            head = heads.describe(files.read(self._place / infohash))
            if head.infohash == infohash:
                return self.on_its_base(infohash, heads.open_head(self._secret, head.data), depth)
        return None

    def on_its_base(self, infohash: InfoHash, opened: Opened, depth: int = 0) -> Base | None:
        """Give a head, `depth` of others on it, with what it stands on; None where that is not here.

        TorrentError when it stands on more than any device makes.
        """
        if not opened.base:
            return Base(infohash=infohash, state=opened.state, size=opened.size)
        if depth >= DEEPEST:
            raise TorrentError("it stands on more than it may")
        below = self.find(opened.base, depth + 1)
        if not below:
            return None
        state = merge(below.state, opened.state)
        return Base(infohash=infohash, state=state, size=opened.size, below=below.chain)

    def seal(self, state: State) -> tuple[Head, Base]:
        """Seal a state in addition to as much of what is said already as is of use."""
        chain = self.chain
        while chain:
            below = chain[-1]
            if news(state, below.state) != State():  # it says what is not known here any more: the group was left
                chain = chain[:-1]
                continue
            head = heads.seal(self._secret, news(below.state, state), below.infohash)
            # of many words, one costs the least where what is said between two whole states grows no larger than this
            if len(head.data) <= (MOST_NEWS if len(chain) == DEEPEST else math.sqrt(2 * below.size * MOST_NEWS)):
                break
            chain = chain[:-1]
        else:
            head = heads.seal(self._secret, state)
        return head, Base(infohash=head.infohash, state=state, size=len(head.data), below=chain)
