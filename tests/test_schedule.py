"""When what is announced to browsers: a schedule that no browser and no tracker can make run away."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from memosync.magnet import InfoHash
from memosync.torrent.webrtc.browsers import choose
from memosync.torrent.webrtc.schedule import LONGEST_PATIENCE, QUIET, Schedule

ONE, TWO = "ws://1.example", "ws://2.example"
STEP = 0.1  # seconds between looks


def memos(number: int) -> list[InfoHash]:
    return [InfoHash(f"{n:040x}") for n in range(number)]


class Clock:
    """A schedule that is looked at ten times a second, and trackers that answer, or do not."""

    def __init__(self, number: int, *trackers: str) -> None:
        self.schedule = Schedule()
        self.now = 1000.0
        self.dead: set[str] = set()
        self.asked: list[tuple[float, InfoHash, str]] = []
        for infohash in memos(number):
            self.schedule.add(infohash, trackers, self.now)
            for url in trackers:
                self.answer(infohash, url)

    def answer(self, infohash: InfoHash, url: str) -> None:
        if url in self.dead:
            self.schedule.failed(url)
        else:
            self.schedule.answered(url, infohash, self.now)

    def run(self, seconds: float, each: Callable[[], None] = lambda: None) -> list[tuple[float, InfoHash, str]]:
        """Let so much time pass and give what was announced in it: seconds from its beginning, what, where."""
        began, first = self.now, len(self.asked)
        while self.now < began + seconds:
            self.now += STEP
            each()
            for infohash, url in self.schedule.due(self.now):
                self.asked.append((self.now - began, infohash, url))
                self.answer(infohash, url)
        return self.asked[first:]


def test_somebody_who_came_or_went_makes_room_known_at_once_and_then_ever_more_seldom() -> None:
    clock = Clock(1, ONE)
    clock.run(1)
    [memo] = memos(1)

    clock.schedule.wake(memo, clock.now)
    times = [at for at, _, _ in clock.run(60)]

    assert times[0] < 0.2
    assert 5 < len(times) < 16
    assert min(times[n + 1] - times[n] for n in range(len(times) - 1)) > 0.2


def test_while_somebody_is_served_the_pace_is_kept() -> None:
    clock = Clock(1, ONE)
    [memo] = memos(1)

    times = [at for at, _, _ in clock.run(10, lambda: clock.schedule.served(memo, clock.now))]

    assert 20 < len(times) <= 40


def test_those_who_come_and_go_without_end_and_take_nothing_cannot_hurry_it() -> None:
    clock = Clock(1, ONE)
    [memo] = memos(1)
    clock.run(60, lambda: clock.schedule.wake(memo, clock.now))

    assert len(clock.run(60, lambda: clock.schedule.wake(memo, clock.now))) <= 9


def test_a_silent_tracker_is_asked_for_one_memo_at_a_time_each_in_its_turn() -> None:
    clock = Clock(3, ONE)

    asked = [memo for _, memo, _ in clock.run(3 * (QUIET + 1))]

    assert memos(3) == asked


@pytest.mark.parametrize("number", [1, 500])
def test_a_tracker_that_was_away_has_everything_again_within_fifteen_seconds(number: int) -> None:
    clock = Clock(number, ONE, TWO)
    clock.dead = {ONE}
    clock.run(100)

    clock.dead = set()
    asked = clock.run(15)

    assert {memo for _, memo, url in asked if url == ONE} == set(memos(number))
    assert len([memo for _, memo, url in asked if url == TWO]) <= 2


def test_a_tracker_that_had_to_be_connected_anew_has_everything_again() -> None:
    clock = Clock(500, ONE)
    clock.schedule.connected(ONE)
    clock.run(100)

    clock.schedule.connected(ONE)

    assert {memo for _, memo, _ in clock.run(15)} == set(memos(500))


def test_a_tracker_that_lets_go_each_time_does_not_have_everything_announced_each_time() -> None:
    clock = Clock(500, ONE)

    clock.run(3600, lambda: clock.schedule.connected(ONE))

    rounds = len(clock.asked) / 500
    assert rounds < 3600 / LONGEST_PATIENCE + 10


def test_a_dead_tracker_is_asked_no_more_often_the_more_memos_there_are() -> None:
    clock = Clock(500, ONE)
    clock.run(1)
    clock.dead = {ONE}

    assert len(clock.run(80)) <= 11


def test_what_is_served_no_longer_is_announced_no_longer() -> None:
    clock = Clock(2, ONE)
    gone, stays = memos(2)
    clock.schedule.wake(gone, clock.now)
    clock.schedule.reannounce_all()

    clock.schedule.remove(gone)

    assert {memo for _, memo, _ in clock.run(30)} == {stays}
    clock.schedule.remove(stays)
    assert not clock.run(30)


def test_what_has_other_trackers_is_announced_at_these_alone() -> None:
    clock = Clock(1, ONE)
    [memo] = memos(1)
    clock.schedule.wake(memo, clock.now)

    clock.schedule.add(memo, [TWO], clock.now)

    assert {url for _, _, url in clock.run(30)} == {TWO}


def test_a_tracker_that_stays_is_known_to_have_been_connected_before() -> None:
    clock = Clock(1, ONE)
    clock.schedule.connected(ONE)

    for memo in memos(2):
        clock.schedule.add(memo, [TWO, ONE], clock.now)
    clock.run(1)
    clock.schedule.connected(ONE)

    assert {memo for _, memo, url in clock.run(QUIET + 2) if url == ONE} == set(memos(2))


def test_all_are_chosen_where_there_is_room() -> None:
    assert memos(5) == choose(memos(5), lambda memo: 0, 5)


def test_the_newest_and_those_most_asked_for_are_chosen() -> None:
    asked = {memos(10)[1]: 7, memos(10)[3]: 2}

    chosen = choose(memos(10), lambda memo: asked.get(memo, 0), 4)

    assert {memos(10)[n] for n in (9, 8, 1, 3)} == set(chosen)


def test_of_those_equally_asked_for_the_newer_are_chosen() -> None:
    assert set(memos(10)[6:]) == set(choose(memos(10), lambda memo: 0, 4))
    assert [memos(10)[9]] == choose(memos(10), lambda memo: 0, 1)
