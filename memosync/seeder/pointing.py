"""What this device points to: its head, the bases that this stands on, and those that it has left a while ago."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from .. import files
from ..library import heads
from ..magnet import InfoHash
from ..manifest import State
from ..torrent.meeting import Meeting
from .bases import Base, Bases
from .forms import AGAIN, KEPT, drop, room


class Pointing:
    """The heads that are served here, and which of them says what is known."""

    def __init__(self, secret: bytes, meeting: Meeting, place: Path, keep: Callable[[InfoHash], object]) -> None:
        """Point to nothing yet; `keep` keeps which base is stood on, for the next time."""
        self.bases = Bases(secret, place)
        self.said: State | None = None  # what this device's head says
        self.said_at = -math.inf
        self.retired: dict[InfoHash, float] = {}  # heads and bases that are to go, and when
        self._head: InfoHash | None = None
        self._meeting, self._exchange, self._place, self._keep = meeting, meeting.exchange, place, keep

    @property
    def kept(self) -> set[InfoHash]:
        """This device's head, and what it stands on."""
        return {self._head, *self.bases.infohashes} if self._head else self.bases.infohashes

    def seal(self, state: State) -> InfoHash:
        """Seal what is known here into a head of this device's own, and point to it; LibraryError."""
        head, built = self.bases.seal(state)
        path = self._place / head.infohash
        with files.as_library_error("keep what is said to other devices"):
            files.write(path, head.data)
        self._exchange.serve(head.torrent, path)
        self.stand_on(built.next)
        self._point(head.infohash, state)
        return head.infohash

    def point_to(self, infohash: InfoHash, state: State) -> None:
        """Point to a head that is here, and says just what is known here."""
        if self._head != infohash:
            self._point(infohash, state)
        self.said = state

    def stand_on(self, base: Base | None) -> None:
        """Say what comes next in addition to this base, and serve it and those below; OSError."""
        if not base or [base.infohash] == [one.infohash for one in self.bases.chain[-1:]]:
            return
        before, self.bases.chain = self.bases.infohashes, base.chain
        for infohash in before - self.bases.infohashes:
            self.retire(infohash)
        for infohash in self.bases.infohashes:
            self.retired.pop(infohash, None)
            if not self._exchange.has(infohash):
                path = self._place / infohash
                self._exchange.serve(heads.describe(files.read(path)).torrent, path)
        self._keep(base.infohash)

    def retire(self, head: InfoHash) -> None:
        """Serve on what was left, for a while; not for long where it takes room that is needed."""
        self.retired[head] = time.monotonic() + (KEPT if room(self._place) > heads.LARGEST else AGAIN)

    def drop(self, head: InfoHash) -> None:
        """Let go of a head, unless this device's own one is it, or stands on it."""
        if head not in self.kept:
            drop(self._exchange, self._place, head)

    def is_lost(self) -> bool:
        """Tell whether something of what is said is served no more."""
        return not all(map(self._exchange.has, self.kept))

    def begin_anew(self) -> None:
        """Stand on nothing: what is said cannot be read any more."""
        for infohash in self.bases.infohashes:
            self.retire(infohash)
        self.bases.chain, self.said = (), None

    def clean(self, now: float, needed: Iterable[InfoHash]) -> list[InfoHash]:
        """Let go of what was left some time ago, but for what is needed, and give what that is."""
        kept = self.kept.union(needed)
        over = [infohash for infohash, at in self.retired.items() if now > at and infohash not in kept]
        for infohash in over:
            del self.retired[infohash]
            drop(self._exchange, self._place, infohash)
        return over

    def _point(self, infohash: InfoHash, state: State) -> None:
        if self._head:
            self.retire(self._head)
        self.retired.pop(infohash, None)
        self._head, self.said, self.said_at = infohash, state, time.monotonic()
        self._meeting.point(infohash)
