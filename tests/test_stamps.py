"""Stamps: what stands beside a memo's words in the index, and what other devices are told and tell of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from memosync import index, manifest
from memosync.index import Index
from memosync.library.stamps import arrived, cells_of, content_of, is_stamped, stamped, with_cells
from memosync.manifest import BIRTH, FETCHED, MEMO, Cell, Clock, is_cell, merge_cells
from memosync.memo import Memo, MemoId

WHEN = datetime(2026, 8, 25, 10, 11, 12, tzinfo=timezone(timedelta(hours=2)))
NOW, ME, OTHER = 1_760_000_000_000, "7be1c20d", "3fa9c1d2"
UID = "5c" * 32
MINE = Memo(
    id=MemoId("7k3f9x2a"),
    file="2026-08-25-weekly-standup-7k3f9x2a.webm",
    title="Weekly standup",
    tags=("work",),
    recorded=WHEN,
    duration=12.48,
    size=49123,
    uid=UID,
)
FILE = {"sha256": "a0" * 32, "size": 49123, "infohash": "b1" * 20}

TEXTS = st.text(max_size=40)
MEMOS = st.builds(
    lambda title, description, tags, hours, trashed, renewals, fetched: replace(
        MINE,
        title=title.replace("\0", ""),
        description=description.replace("\0", ""),
        tags=tuple(tag.replace("\0", "") or "x" for tag in tags),
        recorded=WHEN + timedelta(hours=hours),
        trashed=trashed,
        renewals=renewals,
        fetched=fetched,
    ),
    TEXTS,
    TEXTS,
    st.lists(TEXTS, max_size=4),
    st.integers(0, 5),
    st.none() | st.just(WHEN),
    st.integers(0, 2),
    st.booleans(),
)


def through_text(memo: Memo) -> Memo:
    """As it is read back from an index."""
    return index.loads(index.dumps(Index((memo,), version=2))).memos[0]


def test_words_that_nobody_changed_have_the_clock_of_birth() -> None:
    cells = cells_of(stamped(MINE, NOW, ME))

    assert {cell.clock for cell in cells.values()} == {BIRTH}
    assert (cells["title"].value, cells["tag:work"].value) == ("Weekly standup", "work")
    assert cells["recorded"].value == "2026-08-25T10:11:12+02:00"


def test_what_a_strangers_file_says_is_earlier_than_that() -> None:
    assert {cell.clock for cell in cells_of(stamped(replace(MINE, fetched=True), NOW, ME)).values()} == {FETCHED}


def test_an_entry_says_when_which_word_was_changed() -> None:
    memo = stamped(replace(stamped(MINE, NOW, ME), title="Other"), NOW, ME)

    assert memo.stamps == (
        f"tag:work 0:1: {manifest.digest('work')}",
        f"title {NOW:x}:0:{ME} {manifest.digest('Other')}",
    )
    assert memo.born == "".join(map(manifest.digest, ["Weekly standup", "", "2026-08-25T10:11:12+02:00"]))


def test_a_word_that_a_person_typed_into_the_index_is_an_edit_of_now() -> None:
    typed = replace(stamped(MINE, NOW, ME), description="typed", tags=("Work", "new"))
    cells = cells_of(stamped(typed, NOW + 5, ME))
    new = {name: cell.value for name, cell in cells.items() if cell.clock == (NOW + 5, 0, ME)}

    assert not is_stamped(typed)
    assert new == {"description": "typed", "tag:work": "Work", "tag:new": "new"}


def test_a_tag_that_is_taken_away_stays_known() -> None:
    cells = cells_of(stamped(replace(stamped(MINE, NOW, ME), tags=()), NOW, ME))

    assert cells["tag:work"] == Cell("", Clock(NOW, 0, ME))


def test_an_edit_is_later_than_what_it_replaces_by_any_clock() -> None:
    future = with_cells(stamped(MINE, NOW, ME), {"title": Cell("Later", Clock(NOW * 2, 3, OTHER))})
    edited = stamped(replace(future, title="Mine"), NOW, ME)

    assert cells_of(edited)["title"] == ("Mine", (NOW * 2, 4, ME))


def test_an_old_entry_that_is_put_back_is_not_news() -> None:
    old = through_text(stamped(MINE, NOW, ME))
    new = stamped(replace(old, title="Other", tags=("work", "x")), NOW + 1, ME)

    assert merge_cells(cells_of(stamped(old, NOW + 9, ME)), cells_of(new)) == cells_of(new)


def test_another_time_zone_is_no_edit() -> None:
    memo = stamped(MINE, NOW, ME)

    assert is_stamped(through_text(memo))
    assert is_stamped(replace(memo, trashed=None))


def test_trash_is_a_moment_in_utc() -> None:
    cells = cells_of(stamped(replace(stamped(MINE, NOW, ME), trashed=WHEN), NOW, ME))

    assert cells["trashed"].value == "2026-08-25T08:11:12+00:00"


def test_more_tags_than_a_person_may_give_are_kept() -> None:
    tags = {f"tag:t{number}": Cell(f"t{number}", Clock(NOW, 0, OTHER)) for number in range(80)}
    memo = with_cells(stamped(MINE, NOW, ME), tags)

    assert len(memo.tags) == 81
    assert memo.tags[0] == "work"
    assert is_stamped(through_text(memo))


def test_what_a_newer_version_says_is_kept_and_said_on() -> None:
    later = {"later": Cell({"deep": ["x", 1]}, Clock(NOW, 0, OTHER))}
    memo = through_text(with_cells(stamped(MINE, NOW, ME), later))

    assert cells_of(memo)["later"] == later["later"]


def test_broken_notes_are_passed_over() -> None:
    memo = replace(stamped(MINE, NOW, ME), stamps=("nonsense", "title x:y:z 1"), content="0:1: nonsense", more="{")

    assert content_of(memo) is None
    assert cells_of(stamped(memo, NOW, ME))["title"].value == "Weekly standup"


@given(MEMOS)
def test_stamping_again_changes_nothing(memo: Memo) -> None:
    once = stamped(memo, NOW, ME)

    assert stamped(once, NOW + 1, OTHER) is once


@given(MEMOS)
def test_stamps_survive_the_index(memo: Memo) -> None:
    once = stamped(memo, NOW, ME)

    assert is_stamped(through_text(once))
    assert cells_of(through_text(once)) == cells_of(once)


@given(MEMOS)
def test_what_is_told_may_stand_in_a_cell(memo: Memo) -> None:
    for name, cell in cells_of(stamped(memo, NOW, ME)).items():
        assert is_cell(name, cell.value, MEMO), (name, cell)


@given(MEMOS, MEMOS)
def test_cells_that_are_merged_in_are_told_again_as_they_were(memo: Memo, other: Memo) -> None:
    mine = stamped(memo, NOW, ME)
    edited = stamped(replace(stamped(other, NOW, OTHER), title="edited"), NOW + 1, OTHER)
    merged = merge_cells(cells_of(mine), cells_of(edited))
    told = cells_of(through_text(with_cells(mine, merged)))

    assert {name: told[name] for name in merged if name not in ("id", "duration", "fetched")} == {
        name: cell for name, cell in merged.items() if name not in ("id", "duration", "fetched")
    }


@given(MEMOS)
def test_a_memo_that_arrives_says_what_the_others_do(memo: Memo) -> None:
    cells = {**cells_of(stamped(memo, NOW, ME)), "file": Cell(FILE, BIRTH)}
    here = through_text(arrived(UID, cells, MemoId("0" * 8)))

    assert {**cells_of(here), "id": cells["id"]} == cells
    assert (here.size, here.trashed) == (49123, memo.trashed.astimezone(UTC) if memo.trashed else None)
