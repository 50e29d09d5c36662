"""When to announce what at which WebSocket tracker, besides the announces that libtorrent makes on its own.

An announce carries fresh offers of WebRTC connections, which the tracker hands to some of the browsers that wait there.
Three occasions: somebody came or went at a torrent, so others may be waiting for the place; a tracker says nothing, and
may be gone; a tracker was gone, and has forgotten us. All of it is bounded, whatever trackers and browsers do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ...magnet import InfoHash

SOON, SELDOM = 0.25, 8.0  # seconds between announces while somebody is served, and when nothing comes of them
GROWTH = 1.6
QUIET = 8.0  # seconds without an answer after which a tracker is asked whether it is still there
PATIENCE = 5.0  # seconds between two times that everything is announced anew at a tracker; grows with one that lets go
LONGEST_PATIENCE = 600.0
AT_ONCE = 10  # announces that one look gives of each kind


@dataclass(slots=True)
class _Torrent:
    trackers: tuple[str, ...]
    announced: float = 0.0  # the last time on our account
    pause: float = SOON


@dataclass(slots=True)
class _Tracker:
    turn: dict[InfoHash, None] = field(default_factory=dict)  # an ordered set, announced longest ago first
    missing: dict[InfoHash, None] = field(default_factory=dict)  # to be announced anew
    asked: float = 0.0
    answered: float = 0.0
    connected: bool = False  # it has been, once
    lost: bool = False  # what was announced there may be forgotten
    rejoined: float = -LONGEST_PATIENCE
    patience: float = PATIENCE

    def next(self) -> InfoHash:
        """Give the torrent whose turn it is."""
        infohash = next(iter(self.turn))
        self.had_its_turn(infohash)
        return infohash

    def had_its_turn(self, infohash: InfoHash) -> None:
        if infohash in self.turn:
            del self.turn[infohash]
            self.turn[infohash] = None


class Schedule:
    """What is announced where and when; `now` is any clock that only goes forward, in seconds."""

    def __init__(self) -> None:
        self._torrents: dict[InfoHash, _Torrent] = {}
        self._trackers: dict[str, _Tracker] = {}
        self._woken: dict[InfoHash, float] = {}  # when it is due

    def add(self, infohash: InfoHash, trackers: Iterable[str], now: float) -> None:
        """Take in a torrent that libtorrent announces by itself now."""
        self._torrents[infohash] = _Torrent(tuple(trackers), now)
        for url in self._torrents[infohash].trackers:
            self._trackers.setdefault(url, _Tracker(asked=now)).turn[infohash] = None

    def remove(self, infohash: InfoHash) -> None:
        self._woken.pop(infohash, None)
        torrent = self._torrents.pop(infohash, None)
        for url in torrent.trackers if torrent else ():
            tracker = self._trackers[url]
            tracker.turn.pop(infohash, None)
            tracker.missing.pop(infohash, None)
            if not tracker.turn:
                del self._trackers[url]

    def wake(self, infohash: InfoHash, now: float) -> None:
        """Somebody came or went: others may be waiting for the place."""
        if torrent := self._torrents.get(infohash):
            due = max(now, torrent.announced + torrent.pause)
            self._woken[infohash] = min(due, self._woken.get(infohash, due))

    def served(self, infohash: InfoHash, now: float) -> None:
        """Somebody was given something, or left: the next ones are served at that pace, too."""
        if torrent := self._torrents.get(infohash):
            torrent.pause = SOON
            self.wake(infohash, now)

    def connected(self, url: str) -> None:
        """A connection to the tracker is made; when it is not the first, the tracker has forgotten us."""
        if tracker := self._trackers.get(url):
            tracker.lost |= tracker.connected
            tracker.connected = True

    def failed(self, url: str) -> None:
        """It could not be asked, or the connection to it ended."""
        if tracker := self._trackers.get(url):
            tracker.lost = True

    def answered(self, url: str, infohash: InfoHash, now: float) -> None:
        """It took in an announce of a torrent; if it had forgotten us, all others follow."""
        if not (tracker := self._trackers.get(url)):
            return
        tracker.answered = now
        tracker.missing.pop(infohash, None)
        tracker.had_its_turn(infohash)
        if tracker.lost and now > tracker.rejoined + tracker.patience:
            # one that lets go again and again is not announced at without end
            quick = now < tracker.rejoined + 4 * tracker.patience
            tracker.patience = min(tracker.patience * 2, LONGEST_PATIENCE) if quick else PATIENCE
            tracker.lost, tracker.rejoined = False, now
            tracker.missing = {other: None for other in tracker.turn if other != infohash}

    def all_anew(self) -> None:
        """Announce everything anew, a few at a time."""
        for tracker in self._trackers.values():
            tracker.missing = dict(tracker.turn)

    def due(self, now: float) -> list[tuple[InfoHash, str]]:
        """Give what is to be announced now, a few at a time."""
        announces: list[tuple[InfoHash, str]] = []
        for infohash in [infohash for infohash, due in self._woken.items() if due <= now][:AT_ONCE]:
            torrent = self._torrents[infohash]
            for url in torrent.trackers:
                announces.append((infohash, url))
                self._trackers[url].asked = now
            torrent.announced = now
            torrent.pause *= GROWTH
            del self._woken[infohash]
            if torrent.pause < SELDOM:
                self._woken[infohash] = now + torrent.pause  # an offer may have been lost
            else:
                torrent.pause = SELDOM
        for url, tracker in self._trackers.items():
            some = list(tracker.missing)[:AT_ONCE]
            for infohash in some:
                del tracker.missing[infohash]
            if not some and now > max(tracker.asked, tracker.answered) + QUIET:
                tracker.asked = now
                some = [tracker.next()]
            announces += [(infohash, url) for infohash in some]
        return announces
