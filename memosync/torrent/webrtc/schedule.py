"""When to announce which torrent at which WebSocket tracker, besides the announces that libtorrent makes on its own.

An announce carries fresh offers of WebRTC connections, which the tracker hands to some of the browsers that wait there.
There are three occasions: a browser came or went, so others may be waiting for its place; a tracker has been silent and
may be gone; a tracker was gone and has forgotten us. All of it is bounded, whatever trackers and browsers do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ...magnet import InfoHash

SOON, SELDOM = 0.25, 8.0  # seconds between announces of a torrent while browsers are served, and when none comes
GROWTH = 1.6  # of that pause, with each announce
QUIET = 8.0  # seconds without an answer after which a tracker is asked whether it is still there
PATIENCE = 5.0  # seconds between two times that all is announced anew at one tracker; doubles when it fails again soon
LONGEST_PATIENCE = 600.0
AT_ONCE = 10  # announces of each kind that one call of `due` gives


@dataclass(slots=True)
class _Torrent:
    trackers: tuple[str, ...]
    announced: float = 0.0  # when it was last, by this schedule or as it was added
    pause: float = SOON


@dataclass(slots=True)
class _Tracker:
    turn: dict[InfoHash, None] = field(default_factory=dict)  # an ordered set, announced longest ago first
    missing: dict[InfoHash, None] = field(default_factory=dict)  # to be announced anew
    asked: float = 0.0
    answered: float = 0.0
    connected: bool = False  # it has been, once
    lost: bool = False  # it may have forgotten what was announced
    is_silent: bool = True  # nothing has come from it since its connection ended, or ever
    reannounced: float = -LONGEST_PATIENCE  # when everything was, after a reconnect
    patience: float = PATIENCE

    def next(self) -> InfoHash:
        """Take the torrent whose turn it is, and move it to the end."""
        infohash = next(iter(self.turn))
        self.had_its_turn(infohash)
        return infohash

    def had_its_turn(self, infohash: InfoHash) -> None:
        if infohash in self.turn:
            del self.turn[infohash]
            self.turn[infohash] = None


class Schedule:
    """What is due where; `now` is any clock that only goes forward, in seconds."""

    def __init__(self) -> None:
        self._torrents: dict[InfoHash, _Torrent] = {}
        self._trackers: dict[str, _Tracker] = {}
        self._woken: dict[InfoHash, float] = {}  # when it is due

    def add(self, infohash: InfoHash, trackers: Iterable[str], now: float) -> None:
        """Schedule a torrent, or change its trackers; libtorrent announces it by itself now.

        What is known of a tracker that keeps a torrent stays known, its connection above all.
        """
        before = self._torrents.get(infohash)
        self._torrents[infohash] = _Torrent(tuple(trackers), now)
        for url in self._torrents[infohash].trackers:
            self._trackers.setdefault(url, _Tracker(asked=now)).turn[infohash] = None
        if before:
            self._remove_from(set(before.trackers) - set(self._torrents[infohash].trackers), infohash)

    def remove(self, infohash: InfoHash) -> None:
        """Schedule a torrent no longer; forget the trackers that had nothing else."""
        self._woken.pop(infohash, None)
        if torrent := self._torrents.pop(infohash, None):
            self._remove_from(torrent.trackers, infohash)

    def wake(self, infohash: InfoHash, now: float) -> None:
        """Announce a torrent soon: a browser came or went, so others may be waiting for its place."""
        if torrent := self._torrents.get(infohash):
            due = max(now, torrent.announced + torrent.pause)
            self._woken[infohash] = min(due, self._woken.get(infohash, due))

    def served(self, infohash: InfoHash, now: float) -> None:
        """Announce a torrent at the quickest pace: a browser was sent something, or left."""
        if torrent := self._torrents.get(infohash):
            torrent.pause = SOON
            self.wake(infohash, now)

    def connected(self, url: str) -> None:
        """Record a new connection to a tracker; it has forgotten what was announced over an earlier one."""
        if tracker := self._trackers.get(url):
            tracker.lost |= tracker.connected
            tracker.connected = True

    def failed(self, url: str) -> None:
        """Record that a tracker could not be asked, or that the connection to it ended."""
        if tracker := self._trackers.get(url):
            tracker.lost = tracker.is_silent = True

    def answered(self, url: str, infohash: InfoHash, now: float) -> None:
        """Record the tracker's answer to a torrent's announce; after a reconnect, re-announce all others."""
        if not (tracker := self._trackers.get(url)):
            return
        tracker.answered, tracker.is_silent = now, False
        tracker.missing.pop(infohash, None)
        tracker.had_its_turn(infohash)
        if tracker.lost and now > tracker.reannounced + tracker.patience:
            # one that disconnects again and again is not announced at without end
            quick = now < tracker.reannounced + 4 * tracker.patience
            tracker.patience = min(tracker.patience * 2, LONGEST_PATIENCE) if quick else PATIENCE
            tracker.lost, tracker.reannounced = False, now
            tracker.missing = {other: None for other in tracker.turn if other != infohash}

    @property
    def answering(self) -> tuple[str, ...]:
        """The trackers that answered the last time something was to be heard of them."""
        return tuple(url for url, tracker in self._trackers.items() if not tracker.is_silent)

    def reannounce_all(self) -> None:
        """Announce everything anew at every tracker, a few at a time."""
        for tracker in self._trackers.values():
            tracker.missing = dict(tracker.turn)

    def due(self, now: float) -> list[tuple[InfoHash, str]]:
        """Take what is to be announced now, each torrent with the tracker's URL, a few at a time."""
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

    def _remove_from(self, trackers: Iterable[str], infohash: InfoHash) -> None:
        for url in trackers:
            tracker = self._trackers[url]
            tracker.turn.pop(infohash, None)
            tracker.missing.pop(infohash, None)
            if not tracker.turn:
                del self._trackers[url]
