"""Libraries of one group: what each says, and what becomes of what the others say, without a network between them."""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from proof import crash
from proof.sounds import heard, sound
from support.group import SECRET, SILENT, WHEN, edit, entered, only, record, tell, words

from memosync import index, manifest
from memosync.audio import webm
from memosync.commands import sync
from memosync.doctor.devices import devices
from memosync.doctor.rebuild import rebuild
from memosync.errors import UsageError
from memosync.library import group, identity, keys, known, places, stamps, trash
from memosync.library.adopt import open_library
from memosync.library.device import device
from memosync.library.digests import Digests
from memosync.library.freeze import Form, freeze
from memosync.library.incoming import Incoming, already_here, take_in
from memosync.library.known import Device
from memosync.library.reword import reword
from memosync.library.served import served_as
from memosync.library.stamps import content_of
from memosync.library.store import Library
from memosync.manifest import BIRTH, Cell, Clock, State
from memosync.memo import MemoId, Words, torrent_name
from memosync.network import Network
from memosync.seeder.state import SeederState
from memosync.stop import Stop
from memosync.torrent import metainfo

Make = Callable[[str], Library]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Give what makes a library that is in the group already."""
    return lambda name: entered(tmp_path / name)


def test_what_is_recorded_on_one_is_on_the_other(make: Make) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1)

    tell(one, other)

    memo = only(other)
    assert (memo.id, memo.title, memo.tags, memo.recorded) == (memo_id, "Weekly standup", ("work",), WHEN)
    assert heard(other.path(memo).read_bytes()) == 1
    assert other.is_intact(memo, other.path(memo))
    assert words(one) == words(other)


def test_until_its_file_comes_a_memo_is_awaited(make: Make) -> None:
    one, other = make("one"), make("other")
    record(one, 1)
    identity.identify(one, SILENT)

    group.merge_in(other, group.state_of(one), SILENT)

    memo = only(other)
    assert places.is_awaited(other, memo)
    assert [(wanted.id, content) for wanted, content in group.wanted(other)] == [(memo.id, content_of(only(one)))]


def test_what_comes_from_elsewhere_is_not_the_last(make: Make) -> None:
    one, other = make("one"), make("other")
    record(one, 1)
    mine = record(other, 2)

    tell(one, other)

    assert other.find("last").id == mine


def test_edits_of_different_words_on_two_devices_both_count(make: Make) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1)
    tell(one, other)

    edit(one, memo_id, title="Standup", tags=("work", "weekly"))
    edit(other, memo_id, description="what we said", tags=())
    tell(one, other)
    tell(other, one)

    assert words(one) == words(other)
    memo = only(one)
    assert (memo.title, memo.description, memo.tags) == ("Standup", "what we said", ("weekly",))


def test_trash_and_restore_travel_with_the_file(make: Make) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1)
    tell(one, other)

    trash.put(one, [memo_id], WHEN)
    tell(one, other)
    assert [path.name for path in other.trash.iterdir()] == [only(other).file]
    assert only(other).trashed == WHEN

    trash.take_back(other, [memo_id])
    tell(other, one)
    assert only(one).trashed is None
    assert heard(one.path(only(one)).read_bytes()) == 1


def test_what_was_purged_does_not_come_back(make: Make) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1)
    tell(one, other)

    trash.purge(one, trash.put(one, [memo_id], WHEN).values())
    tell(one, other)
    tell(other, one)

    assert one.index().memos == ()
    assert only(other).trashed == WHEN


def test_what_was_purged_here_is_had_again_once_another_brings_it_back(make: Make) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1)
    tell(one, other)
    trash.purge(one, trash.put(one, [memo_id], WHEN).values())
    tell(one, other)

    trash.take_back(other, [memo_id])
    tell(other, one)

    assert heard(one.path(only(one)).read_bytes()) == 1


def test_an_index_of_before_brings_no_old_word_back(make: Make) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1)
    tell(one, other)
    before = (one.root / "index.toml").read_bytes()
    edit(one, memo_id, title="Standup")
    tell(one, other)

    (one.root / "index.toml").write_bytes(before)
    tell(one, other)
    tell(other, one)

    assert (only(one).title, only(other).title) == ("Standup", "Standup")


def test_an_entry_that_is_missing_is_no_deletion(make: Make) -> None:
    one, other = make("one"), make("other")
    empty = (one.root / "index.toml").read_bytes()
    record(one, 1)
    tell(one, other)

    (one.root / "index.toml").write_bytes(empty)
    tell(one, other)
    tell(other, one)

    assert words(one) == words(other)
    assert len(words(one)) == 1


def test_what_a_person_typed_into_the_index_reaches_the_others(make: Make) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1)
    tell(one, other)
    edit(one, memo_id, title="First")
    path = one.root / "index.toml"
    path.write_text(path.read_text().replace("First", "Typed"))

    tell(one, other)

    assert only(other).title == "Typed"


def test_the_same_memo_on_two_libraries_that_join_is_one(tmp_path: Path) -> None:
    one, other = open_library(tmp_path / "one", SILENT), open_library(tmp_path / "other", SILENT)
    record(one, 1, "Weekly standup")
    shutil.copytree(one.root, other.root)
    edit(one, only(one).id, title="Edited before")

    for library in (one, other):
        group.enter(library, SECRET)
    tell(one, other)
    tell(other, one)

    assert words(one) == words(other)
    assert only(one).title == "Edited before"


@pytest.mark.parametrize("fetched", [(), (0,), (1,), (0, 1)], ids=["neither", "one", "other", "both"])
def test_devices_that_each_had_a_memo_say_the_same_of_it_and_a_third_what_is_true(
    make: Make, fetched: tuple[int, ...]
) -> None:
    """Each has an id of its own for it."""
    one, other, third = made = [make(name) for name in ("one", "other", "third")]
    for number, library in enumerate((one, other)):
        memo_id = record(library, 1)
        edit(library, memo_id, fetched=number in fetched)
    assert only(one).id != only(other).id

    for teller, listener in ((one, other), (other, one), (one, other), (other, third), (third, one)):
        tell(teller, listener)

    assert group.state_of(one).memos == group.state_of(other).memos == group.state_of(third).memos
    assert [only(library).fetched for library in made] == [0 in fetched, 1 in fetched, len(fetched) == 2]
    assert only(third).id in (only(one).id, only(other).id)


def test_what_is_alive_on_who_joins_stays_alive(make: Make) -> None:
    one = make("one")
    memo_id = record(one, 1)
    copy = Library(one.root.with_name("copy"))
    shutil.copytree(one.root, copy.root)
    group.leave(copy)
    trash.put(one, [memo_id], WHEN)
    one.clock = lambda: 4e9  # seventy years ahead
    trash.take_back(one, [memo_id])
    trash.put(one, [memo_id], WHEN)

    group.enter(copy, SECRET)
    tell(one, copy)
    tell(copy, one)

    assert (only(one).trashed, only(copy).trashed) == (None, None)


def test_who_leaves_keeps_every_memo_that_is_here_and_no_secret(make: Make) -> None:
    one, other = make("one"), make("other")
    record(one, 1)
    record(other, 2)
    identity.identify(one, SILENT)
    group.merge_in(other, group.state_of(one), SILENT)

    group.leave(other)

    assert [heard(other.path(memo).read_bytes()) for memo in other.index().memos] == [2]
    assert not keys.has_secret(other)
    assert other.index().group == ""


def test_a_second_group_is_refused(make: Make) -> None:
    with pytest.raises(UsageError, match="another group"):
        group.enter(make("one"), bytes(32))


def test_the_secret_of_before_is_kept(tmp_path: Path) -> None:
    library = open_library(tmp_path / "one", SILENT)
    before = keys.secret(library)

    group.enter(library, SECRET)

    (kept,) = library.keys.glob("before-*")
    assert kept.read_bytes() == before
    assert keys.secret(library) == SECRET


def test_a_copy_of_a_library_is_another_device(make: Make) -> None:
    one = make("one")
    name = device(one.inner)
    copy = one.root.with_name("copy")
    shutil.copytree(one.root, copy)

    assert device(one.inner) == name != device(copy / ".memosync")


def test_a_file_that_nobody_wants_is_left_where_it_is(make: Make) -> None:
    one = make("one")
    record(one, 1)
    identity.identify(one, SILENT)
    stranger = one.inner / "arrived"
    stranger.write_bytes(sound(2))

    assert not group.take(one, only(one).uid or "", stranger)
    assert not group.take(one, "0" * 64, stranger)
    assert stranger.exists()
    assert heard(one.path(only(one)).read_bytes()) == 1


def test_another_file_of_the_same_size_is_taken_whatever_words_are_in_it(make: Make) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1)
    tell(one, other)
    edit(one, memo_id, title="Weekly standby")
    reword(one, only(one))
    edit(one, memo_id, description="in the index alone")
    assert only(one).size == only(other).size

    tell(one, other)

    assert other.path(only(other)).read_bytes() == one.path(only(one)).read_bytes()
    assert list(group.wanted(other)) == []


def test_an_index_from_before_it_had_its_uid_names_the_memo_that_was_purged(make: Make) -> None:
    one, other = make("one"), make("other")  # as in life 4014670
    memo_id = record(one, 1)
    before, sound_of_it = one.index_file.read_bytes(), one.path(only(one)).read_bytes()
    assert not only(one).uid
    tell(one, other)
    uid, path = only(one).uid, one.path(only(one))
    trash.purge(one, trash.put(one, [memo_id], WHEN).values())
    tell(one, other)
    trash.take_back(other, [memo_id])

    one.index_file.write_bytes(before)
    path.write_bytes(sound_of_it)  # which a fetch that died left there
    tell(other, one)

    assert [(memo.uid, bool(memo.trashed)) for memo in one.index().memos] == [(uid, False)]


@pytest.mark.parametrize("form", ["public", "sealed"])
def test_a_file_that_a_link_gives_is_replaced_only_once_it_was_altered(make: Make, form: Form) -> None:
    one, other = make("one"), make("other")
    record(one, 1)
    tell(one, other)
    (kept,), _fault = freeze(other, other.index().memos, (), form=form)
    path = other.path(kept)
    right, digests = path.read_bytes(), Digests()
    edit(one, only(one).id, title="Reworded")
    reword(one, only(one))
    tell(one, other)
    assert path.read_bytes() == right
    assert [memo.id for memo in group.held(other, digests)] == [kept.id]
    assert not list(group.wanted(other, digests))
    shutil.copy(one.path(only(one)), came := other.inner / "came")
    assert not group.take(other, kept.uid or "", came), "it was on its way already"
    assert path.read_bytes() == right

    path.write_bytes(sound(2))
    assert not list(group.held(other, digests))
    assert [memo.id for memo, _content in group.wanted(other, digests)] == [kept.id]
    tell(one, other)

    assert path.read_bytes() == one.path(only(one)).read_bytes()
    assert [heard(one.read_bytes()) for one in other.inner.glob("*.webm")] == [2], "what was there is put away"
    assert only(other).size == path.stat().st_size


def test_a_link_that_was_ended_on_one_is_served_by_none(make: Make) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1)
    tell(one, other)
    (first,), _fault = freeze(one, one.index().memos, (), form="sealed")
    (same,), _fault = freeze(other, other.index().memos, (), form="sealed")
    assert first.sealed == same.sealed
    assert served_as(other, same) == (first.sealed,)

    (new,), _fault = freeze(one, one.index().memos, (), form="new")
    tell(one, other)

    assert served_as(other, only(other)) == ()
    assert first.sealed
    assert keys.is_ended(other, first.sealed)
    (again,), _fault = freeze(other, other.index().memos, (), form="sealed")
    assert (again.id, again.sealed) == (memo_id, new.sealed)


def test_a_link_that_an_index_does_not_name_is_ended_as_well(make: Make) -> None:
    one, other = make("one"), make("other")
    record(one, 1)
    identity.identify(one, SILENT)
    before = one.index_file.read_bytes()
    (first,), _fault = freeze(one, one.index().memos, (), form="sealed")
    tell(one, other)
    freeze(other, other.index().memos, (), form="sealed")
    (new,), _fault = freeze(other, other.index().memos, (), form="new")

    one.index_file.write_bytes(before)
    one = Library(one.root)
    tell(other, one)

    assert first.sealed
    assert keys.is_ended(one, first.sealed)
    (same,), _fault = freeze(one, one.index().memos, (), form="sealed")
    assert same.sealed == new.sealed
    assert served_as(one, only(one)) == (new.sealed,)


@pytest.mark.parametrize(("days_since_heard", "purged"), [(0, True), (20, True), (35, False), (None, False)])
def test_a_month_is_over_only_once_another_device_was_heard_after_it(
    make: Make, days_since_heard: int | None, purged: bool
) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1)
    thrown = datetime.fromtimestamp(one.clock(), UTC)
    trash.put(one, [memo_id], thrown)
    tell(one, other)
    for day in range(0, 61, 5):
        one.clock = (thrown + timedelta(days=day)).timestamp
        if day == 60 - (days_since_heard if days_since_heard is not None else 99):
            tell(other, one)
        overdue = trash.overdue(one, thrown + timedelta(days=day))

    assert bool(overdue) is purged


@pytest.mark.parametrize("ahead", [3650, -3650])
def test_what_a_device_by_another_clock_threw_away_stays_until_one_was_heard_after_a_month(
    make: Make, ahead: int
) -> None:
    one, other = make("one"), make("other")  # as in life 176
    memo_id = record(one, 1)
    thrown = datetime.fromtimestamp(one.clock(), UTC) - timedelta(days=ahead)  # by the clock of the other
    tell(one, other)
    tell(other, one)
    trash.put(other, [memo_id], thrown)
    tell(other, one)
    assert only(one).trashed
    for day in range(0, 100, 5):
        now = datetime.fromtimestamp(one.clock(), UTC) + timedelta(days=5)
        one.clock = now.timestamp
        assert not trash.overdue(one, now), f"{day} days after another one was heard"


@pytest.mark.parametrize("ahead", [40, 3650])
def test_who_was_heard_while_the_clock_was_ahead_was_not_heard_after_the_month(make: Make, ahead: int) -> None:
    one, other = make("one"), make("other")  # as in life 2004952, of a library that was copied to another machine
    now = datetime.fromtimestamp(one.clock(), UTC)
    record(other, 1)
    one.clock = (now + timedelta(days=ahead)).timestamp
    tell(other, one)
    memo_id = record(one, 2)
    one.clock = now.timestamp
    trash.put(one, [memo_id], now)

    def due(days: range) -> int | None:
        for day in days:
            one.clock = (now + timedelta(days=day)).timestamp
            if trash.overdue(one, now + timedelta(days=day)):
                return day
        return None

    assert due(range(100)) is None
    record(other, 3)
    tell(other, one)
    assert due(range(101, 200)) == (101 if ahead < 99 else None)  # a time before the noted one tells nothing
    record(other, 4)
    tell(other, one)
    assert due(range(200, 300)) == 200


@pytest.mark.parametrize("was_thrown_away", [False, True])
@pytest.mark.parametrize("lies_in_trash", [False, True])
def test_a_file_is_found_by_its_memo_though_an_index_that_was_put_back_names_it_otherwise(
    make: Make, was_thrown_away: bool, lies_in_trash: bool
) -> None:
    one, other = make("one"), make("other")  # as in life 2008464
    memo_id = record(one, 1)
    tell(one, other)
    if was_thrown_away:
        trash.put(other, [memo_id], WHEN)
    name = only(other).file.replace("weekly", "monthly")
    text = (other.root / "index.toml").read_text()
    (other.root / "index.toml").write_text(text.replace(only(other).file, name))
    if lies_in_trash != was_thrown_away:
        before = other.trash / only(one).file, other.root / only(one).file
        other.trash.mkdir(exist_ok=True)
        shutil.move(before[not was_thrown_away], before[was_thrown_away])
    altered = other.root / f"2026-08-24-weekly-{memo_id}.webm"
    altered.write_bytes(sound(2))  # has the id in its name, too

    identity.identify(other, SILENT)

    assert {path.name for path in other.root.glob("*.webm")} == {altered.name} | (set() if was_thrown_away else {name})
    assert {path.name for path in other.trash.glob("*.webm")} == ({name} if was_thrown_away else set())
    assert heard(other.path(only(other)).read_bytes()) == 1
    assert not list(group.wanted(other))


def test_a_file_that_cannot_be_read_keeps_nobody_waiting(make: Make) -> None:
    one, other = make("one"), make("other")
    record(one, 1)
    mine = record(other, 2)
    os.truncate(other.path(only(other)), 10**9)  # almost nothing but a hole

    tell(one, other)

    assert [memo.uid == only(one).uid for memo in other.index().memos] == [True, False]
    assert other.find("last").id == mine


def test_a_memo_is_on_devices_that_can_have_heard_of_it(make: Make) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1)
    identity.identify(one, SILENT)
    made = only(one).recorded.timestamp()
    met = dict.fromkeys(("aaaaaaaa", "cccccccc", "dddddddd"), int(made) + 60) | {"bbbbbbbb": int(made) - 60}
    lacks = {key: {"count": 0, "memos": []} for key in met}
    lacks["cccccccc"] = {"count": 1, "memos": [(only(one).uid or "")[: known.LACK]]}
    lacks["dddddddd"] = {"count": 9, "memos": []}  # more than it can name
    rows = {name: {"since": Cell(1000, BIRTH), "lacks": Cell(lacks[name], Clock(1000, 0, name))} for name in met}
    known.change(other, lambda now: replace(now, devices={**now.devices, **rows}, met=met))
    group.merge_in(other, State(group.state_of(one).memos), SILENT)

    assert [row.id for row in group.holders(other, only(other))] == ["aaaaaaaa"]
    assert only(other).id == memo_id


def test_two_devices_that_came_by_one_invitation_are_told(make: Make) -> None:
    one = make("one")
    for name, came_by in (("aaaaaaaa", "1" * 40), ("bbbbbbbb", "1" * 40), ("cccccccc", "2" * 40)):
        known.say(one, name, {"name": name[:2], "since": 1000, "came_by": came_by})

    (told,) = [found.text for found in devices(one, None) if "one invitation" in found.text]
    assert told.startswith("aa and bb came by one invitation")
    known.say(one, "bbbbbbbb", {"gone": 1})
    assert not any("one invitation" in found.text for found in devices(one, None))


def test_whoever_dies_while_a_state_is_merged_has_the_old_one_or_the_new(make: Make, tmp_path: Path) -> None:
    one, other = make("one"), make("other")
    kept, thrown, purged = (record(one, number) for number in (1, 2, 3))
    tell(one, other)
    trash.purge(other, trash.put(other, [purged], WHEN).values())
    edit(one, kept, title="Standup")
    trash.put(one, [thrown], WHEN)
    record(one, 4)
    identity.identify(one, SILENT)
    theirs = group.state_of(one)
    before = words(other)
    crash.install()

    after, deaths = 0, 0
    while True:
        copy = Library(tmp_path / f"copy{after}")
        shutil.copytree(other.root, copy.root)
        with crash.dying(after) as died:
            group.merge_in(copy, theirs, SILENT)
        if not died:
            break
        deaths += 1
        copy = open_library(copy.root, SILENT)
        found = words(copy)
        group.merge_in(copy, theirs, SILENT)
        assert found in (before, words(copy))
        assert sorted(os.listdir(copy.trash)) == sorted(memo.file for memo in copy.index().memos if memo.trashed)
        after += 1
    assert deaths > 20
    assert words(copy) != before


def test_what_a_person_typed_before_any_word_was_changed_is_no_word_that_it_came_with(tmp_path: Path) -> None:
    library = open_library(tmp_path / "alone", SILENT)
    memo_id = record(library, 1)
    path = library.root / "index.toml"
    path.write_text(path.read_text().replace("Weekly standup", "Typed by hand"))

    edit(library, memo_id, tags=("work", "new"))

    assert only(library).title == "Typed by hand"
    assert any(stamp.startswith("title ") for stamp in only(library).stamps)


@pytest.mark.parametrize("chance", range(6))  # which of two devices comes first in the order is one
def test_of_words_typed_before_joining_those_of_the_index_that_was_saved_later_count(
    tmp_path: Path, chance: int
) -> None:
    one = open_library(tmp_path / "one", SILENT)  # as in life 2006729
    record(one, 1)
    text = (one.root / "index.toml").read_text()
    (one.root / "index.toml").write_text(text.replace('"Weekly standup"', '"Typed"'))
    os.utime(one.root / "index.toml", (1_790_000_000, 1_790_000_000))
    shutil.copytree(one.root, tmp_path / "other")
    index_file = tmp_path / "other" / "index.toml"
    index_file.write_text(index_file.read_text().replace('"Typed"', '"Typed once more"'))
    os.utime(index_file, (1_790_000_009, 1_790_000_009))

    other = open_library(tmp_path / "other", SILENT)
    for library in (one, other):
        group.enter(library, SECRET)
    tell(one, other)
    tell(other, one)

    assert {only(one).title, only(other).title} == {"Typed once more"}


@pytest.mark.parametrize("form", ["public", "sealed"])
def test_what_a_person_typed_before_it_was_shared_is_no_word_that_it_came_with(tmp_path: Path, form: Form) -> None:
    one = open_library(tmp_path / "one", SILENT)  # as in life 314465
    memo_id = record(one, 1, "Untitled")
    shutil.copytree(one.root, tmp_path / "other", symlinks=True)
    other = open_library(tmp_path / "other", SILENT)
    path = one.root / "index.toml"
    path.write_text(path.read_text().replace('title = "Untitled"', 'title = "Typed by hand"'))
    freeze(one, [one.find(memo_id)], (), form)  # which writes them into its file

    for library in (one, other):
        group.enter(library, SECRET)
    tell(one, other)
    tell(other, one)

    assert [only(library).title for library in (one, other)] == ["Typed by hand"] * 2


def test_words_typed_into_the_index_are_said_with_the_time_of_that(make: Make) -> None:
    one, other = make("one"), make("other")
    record(one, 1)
    tell(one, other)
    tell(other, one)
    path = one.root / "index.toml"
    path.write_text(path.read_text().replace("Weekly standup", "Another title"))  # of one clock the greater would stay

    tell(one, other)

    assert only(other).title == "Another title"
    assert any(stamp.startswith("title ") for stamp in only(one).stamps)


def test_what_was_thrown_away_elsewhere_is_wanted_again_where_nothing_of_it_ever_was(make: Make) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1)
    trash.put(one, [memo_id], WHEN)
    identity.identify(one, SILENT)
    group.merge_in(other, group.state_of(one), SILENT)
    assert not other.trash.exists()

    trash.take_back(other, [only(other).id])
    tell(other, one)

    assert (only(one).trashed, only(other).trashed) == (None, None)


def test_no_word_stands_for_ever(make: Make) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1)
    tell(one, other)
    last = manifest.Clock(manifest.MOST_MS - 1, manifest.MOST_TURNS - 1, "ffffffff")
    far = manifest.Clock(int((one.clock() + 20 * 365 * 86_400) * 1000), manifest.MOST_TURNS - 1, "ffffffff")
    uid = only(one).uid or ""
    cells = {"title": manifest.Cell("For ever", last), "description": manifest.Cell("For years", far)}

    group.merge_in(one, manifest.State({uid: cells}), SILENT)
    assert (only(one).title, only(one).description) == ("Weekly standup", "For years")
    edit(one, memo_id, title="Mine", description="Mine")
    tell(one, other)
    group.merge_in(other, manifest.State({uid: cells}), SILENT)

    assert (only(other).title, only(other).description) == ("Mine", "Mine")


def test_what_is_purged_before_others_heard_of_it_keeps_its_words(make: Make, tmp_path: Path) -> None:
    one = make("one")
    memo_id = record(one, 1)
    shutil.copytree(one.root, tmp_path / "other", symlinks=True)
    other = open_library(tmp_path / "other", SILENT)
    edit(one, memo_id, title="Later")

    trash.purge(one, trash.put(one, [memo_id], WHEN).values())
    tell(one, other)

    assert only(other).title == "Later"


def test_a_fetch_that_dies_anywhere_leaves_nothing_that_seems_to_be_recorded_here(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "stranger.webm"
    path.write_bytes(sound(5))
    torrent = metainfo.make(path, "stranger.webm")
    info = webm.probe(path)
    crash.install()

    for after in itertools.count():
        library = make(f"library{after}")
        incoming = Incoming(library, torrent.infohash, 10**9)
        incoming.accept(torrent.data)
        shutil.copy(path, incoming.file)
        with crash.dying(after) as died:
            take_in(library, incoming, incoming.plain(), info, ())
        memos = open_library(library.root, SILENT).index().memos
        assert all(memo.fetched for memo in memos)
        if not died:
            break
    assert memos
    assert after > 10


@pytest.mark.parametrize("link", ["public", "sealed"])
@pytest.mark.parametrize("given", [None, "public", "sealed"])
def test_a_fetch_that_dies_anywhere_brings_no_word_that_seems_to_be_typed_here(
    make: Make, tmp_path: Path, link: Form, given: Form | None
) -> None:
    one, other = make("one"), make("other")  # as in life 4021968
    memo_id = record(one, 1)
    tell(one, other)
    (shared,), _fault = freeze(one, one.index().memos, (), form=link)
    (infohash,) = shared.infohashes
    key = keys.find(one, infohash)
    secret, path = (key.seal.key, one.form(infohash)) if key else (b"", one.path(shared))
    edit(other, memo_id, title="Edited here")
    if given:  # an earlier index names another link to other bytes
        freeze(other, other.index().memos, (), form=given)
    group.leave(other)
    trash.purge(other, trash.put(other, [memo_id], WHEN).values())
    edit(one, memo_id, title="Later")
    crash.install()

    for after in itertools.count():
        shutil.copytree(other.root, tmp_path / f"copy{after}", symlinks=True)
        library = open_library(tmp_path / f"copy{after}", SILENT)
        incoming = Incoming(library, infohash, 10**9, secret)
        incoming.accept(one.torrent(infohash).read_bytes())
        shutil.copy(path, incoming.file)
        with crash.dying(after) as died:
            take_in(library, incoming, incoming.plain(), webm.probe(one.path(shared)), ())
        library = open_library(library.root, SILENT)
        for memo in library.index().memos:
            assert (memo.fetched, memo.infohashes) == (True, (infohash,))
            assert library.is_intact(memo, library.path(memo))
        group.enter(library, SECRET)
        tell(library, one)
        assert only(one).title == "Later"
        if not died:
            break
    assert after > 10


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_fetch_of_what_is_here_that_dies_before_the_index_is_lost_changes_no_word(
    make: Make, tmp_path: Path, is_shared: bool
) -> None:
    one = make("one")
    memo_id = record(one, 1)
    identity.identify(one, SILENT)
    shutil.copy(one.path(only(one)), path := tmp_path / "theirs.webm")
    if is_shared:  # and its file was lost since
        freeze(one, one.index().memos, (), form="public")
        one.path(only(one)).unlink()
    edit(one, memo_id, title="Edited here")
    torrent = metainfo.make(path, torrent_name(Words("Weekly standup"), memo_id))
    crash.install()

    for after in itertools.count():
        shutil.copytree(one.root, tmp_path / f"copy{after}", symlinks=True)
        library = open_library(tmp_path / f"copy{after}", SILENT)
        shutil.copy2(library.index_file, before := tmp_path / f"before{after}.toml")
        incoming = Incoming(library, torrent.infohash, 10**9)
        incoming.accept(torrent.data)
        shutil.copy(path, incoming.file)
        with crash.dying(after) as died:
            take_in(library, incoming, incoming.plain(), webm.probe(path), ())
        library.index_file.write_text("broken")
        shutil.copy2(before, library.inner / "index.1.toml")
        rebuild(library, now=WHEN, stop=Stop(), console=SILENT)
        memo = only(open_library(library.root, SILENT))
        assert (memo.title, memo.fetched) == ("Edited here", False)
        if not died:
            break
    assert after > 5


def come_by_link(library: Library, path: Path) -> MemoId:
    """Take a file in as a fetch does that got it from a stranger."""
    torrent = metainfo.make(path, path.name)
    memo = already_here(library, torrent.infohash)
    if not memo:
        incoming = Incoming(library, torrent.infohash, 10**9)
        incoming.accept(torrent.data)
        shutil.copy(path, incoming.file)
        memo = take_in(library, incoming, incoming.plain(), webm.probe(path), ())
        incoming.remove()
    return identity.claim(library, identity.original_of(library, memo).id)


def test_what_comes_by_link_is_one_with_what_an_old_index_has_just_brought_back(make: Make, tmp_path: Path) -> None:
    one, other = make("one"), make("other")  # as in life 300804
    memo_id = record(one, 1, "Mine")
    before = (one.root / "index.toml").read_bytes()
    tell(one, other)
    (one.root / "index.toml").write_bytes(before)
    (path := tmp_path / "theirs.webm").write_bytes(sound(1))

    assert come_by_link(one, path) == memo_id

    tell(one, other)
    tell(other, one)
    for library in (one, other):
        assert [memo.title for memo in library.index().memos if not memo.trashed] == ["Mine"]


def test_a_link_to_a_spare_brings_back_the_memo_that_has_the_words(make: Make, tmp_path: Path) -> None:
    one, other = make("one"), make("other")  # as in life 303721
    memo_id = record(one, 1, "Mine")
    tell(one, other)
    (path := tmp_path / "theirs.webm").write_bytes(sound(1))
    assert come_by_link(one, path) == memo_id
    (spare,) = [memo for memo in one.index().memos if memo.trashed]
    trash.put(one, [memo_id], WHEN)

    assert identity.original_of(one, spare).id == memo_id
    assert come_by_link(one, path) == memo_id
    tell(one, other)
    for library in (one, other):
        assert [memo.title for memo in library.index().memos if not memo.trashed] == ["Mine"]

    trash.put(one, [memo_id], WHEN)
    trash.purge(one, [memo for memo in one.index().memos if memo.id == memo_id])
    assert identity.original_of(one, spare) == spare  # nothing else is left of it


def test_an_index_that_is_put_back_finds_what_was_thrown_away_since(make: Make, tmp_path: Path) -> None:
    one, other = make("one"), make("other")
    alone = open_library(tmp_path / "alone", SILENT)
    memo_id = record(alone, 1)
    before = (alone.root / "index.toml").read_bytes()
    group.enter(alone, SECRET)
    tell(alone, one)
    trash.put(alone, [memo_id], WHEN)
    (alone.root / "index.toml").write_bytes(before)

    alone = open_library(alone.root, SILENT)
    group.enter(alone, SECRET)
    tell(one, alone)
    tell(alone, other)

    for library in (alone, one, other):
        assert len([memo for memo in library.index().memos if not memo.trashed]) == 1


def test_what_is_purged_may_stand_where_it_does_not_belong(make: Make) -> None:
    one = make("one")
    memo_id = record(one, 1)
    edit(one, memo_id, title="Other words")
    one.update({memo_id: lambda memo: replace(memo, trashed=WHEN)})  # and died before the file was moved
    ended = []

    def purge() -> None:
        with one.lock(memo_id):
            trash.purge(one, one.index().memos)
        ended.append(True)

    waiting = threading.Thread(target=purge, daemon=True)
    waiting.start()
    waiting.join(30)

    assert ended, "it waits for a lock that it holds itself"
    assert not one.index().memos
    assert not list(one.root.glob("*.webm"))


def test_one_word_more_among_many_memos_is_all_that_is_read_and_stamped(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = make("Memos")
    again = Library(library.root)
    uids = [f"{number:064x}" for number in range(1, 201)]
    cells = {
        "title": Cell("Weekly standup", BIRTH),
        "file": Cell({"sha256": "ab" * 32, "size": 49_123, "infohash": "cd" * 20}, BIRTH),
    }
    group.merge_in(library, State(dict.fromkeys(uids, cells)), SILENT)
    assert group.state_of(library) == group.state_of(again)
    seen: list[str] = []

    def watched(act: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def watch(one: object) -> Any:
            seen.append(act.__name__)
            return act(one)

        return watch

    monkeypatch.setattr(stamps, "_values", watched(stamps._values))
    monkeypatch.setattr(index, "_memo", watched(index._memo))
    edited = {"title": Cell("Better", Clock(2_000_000_000_000, 0, "7be1c20d"))}
    group.merge_in(library, State({uids[7]: edited}), SILENT)

    assert group.state_of(library) == group.state_of(again)
    assert "Better" in {memo.title for memo in again.index().memos}
    assert len(seen) < 30, "not once for each memo"


@pytest.mark.parametrize(
    ("lacking", "there", "said"),
    [
        ({"me": "ab", "other": "c"}, ["other"], {"me": "on the way", "other": "on the way"}),  # two that have just met
        ({"me": "a", "other": "a"}, ["other"], {"me": "held by nobody now", "other": "held by nobody now"}),
        ({"me": "a", "other": "ab", "third": ""}, ["other"], {"me": "held by nobody now", "other": "on the way"}),
        ({"me": "a", "other": "a", "third": ""}, ["other", "third"], {"me": "on the way", "other": "on the way"}),
        ({"me": "a", "other": ""}, [], {"me": "no other device is there", "other": ""}),
        ({"me": "", "other": "", "third": "a"}, ["other"], {"third": "it is not there"}),  # but two that have it are
        ({"me": "a", "other": "ab", "third": "a"}, ["other"], {"other": "on the way", "third": "it is not there"}),
    ],
)
def test_what_a_device_lacks_is_on_the_way_when_one_that_is_there_has_some_of_it(
    lacking: dict[str, str], there: list[str], said: dict[str, str]
) -> None:
    rows = {name: Device(id=name, lacking=len(memos), lacks=tuple(memos)) for name, memos in lacking.items()}
    state = SeederState(network=Network.LOOPBACK, met=tuple(there))

    assert {name: sync.why(rows[name], rows, "me", state) for name in said} == said
    damaged = {name: replace(row, why="damaged") for name, row in rows.items()}
    for name, why in said.items():
        assert sync.why(damaged[name], damaged, "me", state) == (f"damaged, {why}" if why else "")
