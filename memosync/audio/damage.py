"""What could not be had of a source, and where: packets that are broken, and holes that its clock shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, dropwhile

from ..quantities import format_clock

_PATIENCE, _FOLLOWS = 25, 0.1  # packets after which a jump is one for good; how fast its slow drift is followed
_LACKS = 0.5  # seconds that a source may be shorter than it says
_NEAR = 0.1  # seconds between two places of damage that are one
_TOLD = 5  # places of damage that are told one by one
_LAST = 1.5  # seconds before a cut in which what cannot be read is what was cut


class Damage:
    """What could not be had of a source, and where: places and lengths in seconds."""

    def __init__(self) -> None:
        self._broken: list[tuple[float, float]] = []
        self._missing: list[tuple[float, float]] = []
        self._doubtful: list[tuple[float, float]] = []
        self._cut: list[float] = []
        self._lacking = ""

    def hit(self, at: float, length: float | None) -> None:
        """Note that something could not be read; None where nobody knows how much."""
        self._note(self._broken, at, length or 0.0)

    def miss(self, at: float, length: float) -> None:
        """Note a hole in the source."""
        self._note(self._missing, at, length)

    def doubt(self, at: float, length: float) -> None:
        """Note that what was read there is not quite what was written."""
        if self._doubtful and at - sum(self._doubtful[-1]) < _NEAR:
            begin, _ = self._doubtful.pop()
            at, length = begin, at + length - begin
        self._doubtful.append((at, length))

    def lose(self, at: float, length: float) -> None:
        """Note that something is missing, where nothing is known of that yet; 0 where nobody knows how much."""
        known = chain(self._broken, self._missing, ((cut, 0.0) for cut in self._cut))
        if not any(begin - _LAST < at < begin + more + _LAST for begin, more in known):
            self.hit(at, length)

    def cut(self, at: float) -> None:
        """Note that the source ends there, before it says that it does."""
        if self._broken and at - self._broken[-1][0] < _LAST:
            self._broken.pop()
        self._cut.append(at)

    def lack(self, claimed: float, heard: float) -> None:
        """Note that a source is shorter than it says, where what else is known of it does not explain that."""
        known = [*self._broken, *self._missing]
        is_little = all(length for _, length in known) and sum(length for _, length in known) < (claimed - heard) / 2
        if claimed - heard > _LACKS and is_little and not self._cut:
            self._lacking = f"it says that it is {claimed:.1f} s long, and {heard:.1f} s of it could be read: "

    def excuse(self) -> str:
        """Say why there is no sound at all, nothing where no damage is known."""
        if self._broken:
            return "its sound cannot be decoded: all of it is damaged"
        return "it is cut off before its sound" if self._cut else ""

    def told(self) -> Iterator[str]:
        """Say it, a line for each kind."""
        if self._broken:
            rest = "" if self._lacking else "; all else is saved"
            yield f"damaged: {self._places(self._broken)} could not be read{rest}"
        if self._doubtful:
            yield f"damaged: {self._places(self._doubtful)} may sound wrong in places; it is saved as far as it goes"
        if self._missing:
            yield f"holes in the source: {self._places(self._missing)} are missing there, and left out"
        if self._cut:
            places = _few([format_clock(at) for at in self._cut])
            yield f"cut off: the source breaks off at {places}; all that is there is saved"
        if self._lacking:
            yield f"{self._lacking}it is damaged, or says what is not so; all that is there is saved"

    @staticmethod
    def _note(places: list[tuple[float, float]], at: float, length: float) -> None:
        if places and at - places[-1][0] < 0.5:
            at, length = places[-1][0], places.pop()[1] + length
        places.append((at, length))

    @staticmethod
    def _places(places: list[tuple[float, float]]) -> str:
        told = [
            f"{length:.2f} s at {format_clock(at)}" if length else f"something at {format_clock(at)}"
            for at, length in places
        ]
        return _few(told)


def _few(places: list[str]) -> str:
    more = len(places) - _TOLD
    return ", ".join(places[:_TOLD]) + (f" and {more} places more" if more > 0 else "")


class Clock:
    """Compare a source's clock with how long its packets take: where it runs ahead for good, something is missing.

    A browser's clock jitters by some packets and comes back.
    """

    def __init__(self, damage: Damage, now: Callable[[], float], slack: float) -> None:
        self._damage, self._now, self._slack = damage, now, slack
        self._passed = 0.0  # seconds that the packets took so far
        self._base: float | None = None  # how far the clock is ahead of that
        self._ahead: list[float] = []  # how far the last packets are ahead of it, all of them more than the slack
        self._since = 0.0
        self._jitter = 0.0  # how far it was ahead, at most, and came back
        self._passed_by = 0.0  # what the packets took before the first of those
        self.ahead = [(0.0, 0.0)]  # seconds of packets from where on it is how far ahead for good, since it began

    def tick(self, at: float, duration: float) -> None:
        """Take the time of the next packet, and how long it is (seconds)."""
        ahead, before = at - self._passed, self._passed
        self._passed += duration
        base = ahead if self._base is None else self._base
        if ahead - base <= self._slack:
            self._base = base + (ahead - base) * _FOLLOWS if ahead > base else ahead
            self._jitter = max(self._jitter, *self._ahead, 0.0)
            self._ahead = []
            return
        self._since, self._passed_by = (self._since, self._passed_by) if self._ahead else (self._now(), before)
        self._ahead.append(ahead - base)
        if len(self._ahead) >= _PATIENCE:
            self._jump()

    def end(self) -> None:
        """Note what is missing where the clock did not come back, unless it may only have had no time to."""
        usual = self._jitter + self._slack if self._jitter else 0.0
        self._ahead = list(dropwhile(lambda ahead: ahead <= usual, self._ahead))
        if min(self._ahead, default=0.0) > usual:
            self._jump()

    def _jump(self) -> None:
        if self._ahead and self._base is not None:
            self._damage.miss(self._since, min(self._ahead))
            self.ahead.append((self._passed_by, self.ahead[-1][1] + min(self._ahead)))
            self._base += min(self._ahead)
            self._ahead = []
