"""What other devices point to: heads, fetched with the bases that they stand on, until they can be merged."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping
from pathlib import Path

from .. import files
from ..console import Console
from ..errors import LibraryError, TorrentError
from ..library import heads
from ..library.heads import Opened
from ..magnet import InfoHash
from ..torrent.exchange import Exchange
from .bases import Base
from .forms import AGAIN, KEPT, SOON, room
from .pointing import Pointing

_MOST_BASES = 16  # that are being fetched, else none on which nobody says anything any more
_SHARE = 100  # of what is left of a disk that is nearly full, a head takes one part at most
_MOST_MERGED = 1000  # heads that are remembered, and never fetched again


class Hearing:
    """Heads of others that come, wait for their bases, or are tried again."""

    def __init__(
        self,
        secret: bytes,
        exchange: Exchange,
        place: Path,
        pointing: Pointing,
        merge: Callable[[Base, set[str]], object],
        console: Console,
    ) -> None:
        """Hear nothing yet; `merge` takes a head that is whole, and the devices that point to it."""
        self._secret, self._exchange, self._place, self._pointing = secret, exchange, place, pointing
        self._merge, self._console = merge, console
        self._merged: dict[InfoHash, None] = {}  # heads, in an ordered set
        self._coming: dict[InfoHash, set[str]] = {}  # heads that are being fetched, and which devices point to them
        self._waiting: dict[InfoHash, dict[InfoHash, Opened]] = {}  # what stands on a base that is fetched, by that
        self._unsaid: dict[InfoHash, float] = {}  # bases on which nobody says anything any more, and since when
        self._refused: dict[InfoHash, float] = {}  # what could not be had, and when it is tried again
        self._unkept: dict[InfoHash, float] = {}  # what came, and could not be kept, and when it is looked at again
        self.is_crowded = False  # a head was too large for what is left of the disk

    def hear(self, pointed: Mapping[InfoHash, set[str]], equal: Container[InfoHash]) -> None:
        """Fetch the heads that devices point to, but those that were merged, or are `equal` to what is known."""
        now = time.monotonic()
        for base in [base for base in self._waiting if not self._exchange.has(base)]:  # it could not be had
            for head in self._let_go(base):
                self._refuse(head, base)
        for head, tellers in pointed.items():
            if head in self._coming and not self._exchange.has(head) and not self._is_waiting(head):
                self._refuse(head, head)
            if head in self._merged or head in equal or self._refused.get(head, 0.0) > now:
                continue
            is_new, self._coming[head] = head not in self._coming, tellers
            if is_new and self._exchange.is_here(head):  # as a base
                self.take(head)
            elif is_new:
                self._exchange.fetch(head, self._place / head, largest=self._largest(), holders=tellers)
        unsaid = {base: self._unsaid.get(base, now) for base in self._waiting if self._on(base).isdisjoint(pointed)}
        is_crowded = len(self._waiting) > _MOST_BASES
        for base in [base for base, since in unsaid.items() if is_crowded or now - since > KEPT]:  # nobody has it now
            self._give_up(base)
        self._unsaid = {base: since for base, since in unsaid.items() if base in self._waiting}
        for head in [head for head in self._coming if head not in pointed and not self._is_waiting(head)]:
            del self._coming[head]  # who pointed to it points to another one by now, or is gone
            self._pointing.drop(head)
        self._refused = {head: until for head, until in self._refused.items() if until > now}

    def due(self) -> list[InfoHash]:
        """Give what came, could not be kept, and is to be looked at again."""
        now = time.monotonic()
        self._unkept = {infohash: at for infohash, at in self._unkept.items() if self._exchange.has(infohash)}
        return [infohash for infohash, at in self._unkept.items() if now > at]

    def take(self, infohash: InfoHash) -> None:
        """Act on what has arrived: merge a head, or those whose base it is."""
        try:
            self._take(infohash)
            self._unkept.pop(infohash, None)
        except TorrentError as error:
            self._console.warn(f"what another device says is left: {error}")
            for head in self._let_go(infohash):
                self.remember(head)
                self._coming.pop(head, None)
            for waiting in self._waiting.values():
                waiting.pop(infohash, None)
            self._unkept.pop(infohash, None)
        except (LibraryError, OSError) as error:
            if infohash not in self._unkept:
                self._console.warn(f"what another device says cannot be kept now: {error}")
            self._unkept[infohash] = time.monotonic() + SOON

    def remember(self, head: InfoHash) -> None:
        """Never fetch it again."""
        self._merged[head] = None
        while len(self._merged) > _MOST_MERGED:
            del self._merged[next(iter(self._merged))]

    def forget(self) -> None:
        """Fetch what was merged already, if it is pointed to."""
        self._merged.clear()

    def _largest(self) -> int:
        """Give the bytes that a head may have: words are small, and come also where there is no room for memos."""
        return min(heads.LARGEST, max(room(self._place), files.free_space(self._place) // _SHARE))

    def _refuse(self, head: InfoHash, failed: InfoHash) -> None:
        """Try later what cannot be had now, because it, or its base, has `failed`."""
        self.is_crowded |= failed in self._exchange.oversized and self._largest() < heads.LARGEST
        self._coming.pop(head, None)
        self._refused[head] = time.monotonic() + AGAIN
        self._pointing.drop(head)

    def _give_up(self, base: InfoHash) -> None:
        """Fetch a base no longer, nor those below that nothing else waits for."""
        self._waiting.pop(base, None)
        self._pointing.drop(base)
        for lower in [lower for lower, waiting in self._waiting.items() if base in waiting]:
            del self._waiting[lower][base]
            if not self._waiting[lower]:
                self._give_up(lower)

    def _is_waiting(self, head: InfoHash) -> bool:
        return any(head in waiting for waiting in self._waiting.values())

    def _on(self, base: InfoHash) -> set[InfoHash]:
        """Give the heads that stand on a base that is being fetched, directly or not."""
        directly = self._waiting.get(base, {})
        return {*directly}.union(*map(self._on, directly))

    def _let_go(self, base: InfoHash) -> list[InfoHash]:
        """Let go of a base, and of what stands on it, and give the heads among that; or of a head."""
        waiting = self._waiting.pop(base, None)
        self._pointing.drop(base)
        return [base] if waiting is None else [head for one in waiting for head in self._let_go(one)]

    def _take(self, infohash: InfoHash) -> None:
        """Merge a head, or those whose base has come; TorrentError when it is none, LibraryError, OSError."""
        self._build(infohash, heads.open_head(self._secret, files.read(self._place / infohash)))

    def _build(self, infohash: InfoHash, opened: Opened) -> None:
        """Put a head onto its base, or wait until that has come; and then what waits for it onto that."""
        built = self._pointing.bases.on_its_base(infohash, opened, self._depth(infohash))
        if not built:
            assert opened.base
            self._waiting.setdefault(opened.base, {})[infohash] = opened
            if self._exchange.is_here(opened.base):  # but not what it stands on
                self._take(opened.base)
            else:
                self._exchange.fetch(opened.base, self._place / opened.base, largest=self._largest())
        elif infohash in self._waiting:
            self._pointing.stand_on(built)
            for head, waiting in list(self._waiting[infohash].items()):
                self._build(head, waiting)
                del self._waiting[infohash][head]
            del self._waiting[infohash]
        else:
            self._merge(built, self._coming.get(infohash, set()))
            self._coming.pop(infohash, None)
            self.remember(infohash)
            self._pointing.retire(infohash)
            self._pointing.stand_on(built.next)
            self.is_crowded = False

    def _depth(self, base: InfoHash) -> int:
        """Give how many heads stand on each other that wait for this one."""
        return max((1 + self._depth(head) for head in self._waiting.get(base, ())), default=0)
