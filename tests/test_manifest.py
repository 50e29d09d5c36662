"""What devices tell each other of their memos: the merge's laws, clocks, and states as bytes."""

from __future__ import annotations

import json
import time
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.waiting import takes_less

from memosync import manifest
from memosync.errors import TorrentError
from memosync.manifest import BIRTH, FETCHED, Cell, Clock, State, canonical, loads, merge, news, tick

UID, OTHER = "5c" * 32, "c5" * 32
DEVICES = st.sampled_from(["", "7be1c20d", "3fa9c1d2"])
CLOCKS = st.builds(Clock, st.integers(0, 3), st.integers(0, 2), DEVICES)
ANY = st.recursive(
    st.none() | st.integers(0, 2) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=1), inner, max_size=2),
    max_leaves=4,
)
CELLS = st.one_of(
    st.tuples(st.sampled_from(["title", "description"]), st.sampled_from(["", "x", "y"])),
    st.tuples(st.just("trashed"), st.sampled_from(["", "2026-09-01T08:00:00+00:00"])),
    st.tuples(st.just("tag:work"), st.sampled_from(["", "Work", "WORK"])),
    st.tuples(st.sampled_from(["later", "mark"]), ANY),
)


def tables(*keys: str) -> st.SearchStrategy[dict[str, dict[str, Cell]]]:
    return st.dictionaries(
        st.sampled_from(keys),
        st.lists(st.tuples(CELLS, CLOCKS), min_size=1, max_size=6).map(
            lambda found: {name: Cell(value, clock) for (name, value), clock in found}
        ),
        max_size=2,
    )


STATES = st.builds(State, tables(UID, OTHER), tables("7be1c20d", "00000001"))


def text(state: State) -> bytes:
    return zlib.decompress(manifest.dumps(state))


@given(STATES, STATES)
def test_merging_is_commutative(one: State, other: State) -> None:
    assert text(merge(one, other)) == text(merge(other, one))


@given(STATES, STATES, STATES)
def test_merging_is_associative(one: State, other: State, third: State) -> None:
    assert text(merge(merge(one, other), third)) == text(merge(one, merge(other, third)))


@given(STATES, STATES)
def test_merging_again_changes_nothing(one: State, other: State) -> None:
    merged = merge(one, other)

    assert text(merge(merged, other)) == text(merge(merged, one)) == text(merge(merged, merged)) == text(merged)


def test_ten_thousand_memos_are_merged_in_half_a_second() -> None:
    def state(word: str, odd: int) -> State:
        born = {name: Cell(f"{word} {name}", BIRTH) for name in ("description", "recorded", "tag:work", "id", "file")}
        clocks = [tick(BIRTH, 1 + number % 2 * odd, "7be1c20d") for number in range(10_000)]
        return State({f"{number:064x}": {**born, "title": Cell(word, clock)} for number, clock in enumerate(clocks)})

    one, other = state("one", 1), state("other", -1)

    def attempt() -> float:
        began = time.process_time()  # what others do on this machine is not meant
        merged = merge(one, other)
        took = time.process_time() - began
        assert {memo["title"].value for memo in merged.memos.values()} == {"one", "other"}
        return took

    takes_less(0.5, attempt)


@given(STATES, STATES)
def test_news_are_all_that_has_to_be_merged(one: State, other: State) -> None:
    new = news(one, other)

    assert text(merge(one, new)) == text(merge(one, other))
    assert news(merge(one, other), other) == news(merge(one, other), one) == State()


@given(STATES)
def test_a_state_is_read_as_it_was_written(state: State) -> None:
    assert loads(manifest.dumps(state)) == state


@given(CLOCKS, st.integers(-5, 5), DEVICES)
def test_a_new_cell_is_later_than_the_one_it_replaces(before: Clock, now: int, device: str) -> None:
    assert tick(before, now, device)[:2] > before[:2]


def test_an_edit_has_the_time_of_day() -> None:
    assert tick(BIRTH, 1_760_000_000_000, "7be1c20d") == (1_760_000_000_000, 0, "7be1c20d")


def test_what_a_stranger_wrote_loses_to_what_was_written_here() -> None:
    theirs, ours = ({UID: {"title": Cell(title, clock)}} for title, clock in (("z", FETCHED), ("a", BIRTH)))

    assert merge(State(theirs), State(ours)).memos == ours


@given(CLOCKS)
def test_a_clock_is_read_as_it_was_written(clock: Clock) -> None:
    assert manifest.parse_clock(str(clock)) == clock


@pytest.mark.parametrize("wrong", ["", "1:2", "1:2:3", "g:0:", "1:0:7BE1C20D", "-1:0:", f"{253402300800000:x}:0:"])
def test_what_is_no_clock_is_not_read(wrong: str) -> None:
    assert manifest.parse_clock(wrong) is None


def test_the_same_value_is_the_same_text_on_every_device() -> None:
    assert canonical({"b": [1, True, None], "a": "Größe"}) == '{"a":"Größe","b":[1,true,null]}'.encode()


def test_the_digits_of_a_word_stay_as_they_are() -> None:
    assert [manifest.digest(value) for value in ("Weekly standup", "", 3)] == ["6bcd1ec4", "12ae32cb", "4e074085"]


def packed(memos: Any = None, version: Any = 1, **more: Any) -> bytes:
    return zlib.compress(json.dumps({"version": version, "memos": memos or {}, "devices": {}, **more}).encode())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", 3),
        ("title", "two\nlines"),
        ("title", " blank"),
        ("title", "\ud800"),
        ("title", "t" * 501),
        ("description", ["list"]),
        ("description", "\x1b[31mred"),
        ("recorded", "yesterday"),
        ("recorded", "2026-09-01T08:00:00"),
        ("recorded", "2026-09-01T08:00:00+00:00:30"),
        ("recorded", 20260901),
        ("recorded", "2026-09-01T08:00:00.5+00:00"),
        ("trashed", "2026-09-01T08:00:00+02:00"),
        ("trashed", None),
        ("renewals", -1),
        ("renewals", True),
        ("duration", 2**60),
        ("fetched", True),
        ("later", [{"deep": True}]),
        ("id", "../../../etc"),
        ("tag:work", "play"),
        ("tag:Work", "Work"),
        ("tag:wo\nrk", "wo\nrk"),
        ("file", {"sha256": "0" * 64, "size": 1}),
        ("file", {"sha256": "0" * 64, "size": -1, "infohash": "0" * 40}),
        ("file", {"sha256": "0" * 64, "size": 1, "infohash": "../" + "0" * 37}),
        ("file", {"sha256": "../" + "0" * 61, "size": 1, "infohash": "0" * 40}),
        ("later", "l" * 100_001),
        ("later", "\ud800"),
        ("l" * 1601, 1),
        ("", 1),
        ("\0", 1),
    ],
)
def test_a_cell_that_none_may_be_is_dropped_alone(field: str, value: Any) -> None:
    cells = {field: [value, 5, 0, "7be1c20d"], "description": ["stays"]} | (
        {} if field != "description" else {field: [value]}
    )
    read = loads(packed({UID: cells})).memos.get(UID, {})

    assert field not in read
    assert field == "description" or read["description"] == ("stays", BIRTH)


@pytest.mark.parametrize(
    "clock",
    [[5], [5, 0], [5, 0, 0], [-1, 0, ""], [5, -1, ""], [5, 2**31, ""], [2**60, 0, ""], [5, 0, "x"], ["5", 0, ""]],
)
def test_a_cell_of_an_impossible_time_is_dropped(clock: list[Any]) -> None:
    assert loads(packed({UID: {"title": ["t", *clock]}})).memos == {}


@pytest.mark.parametrize("key", ["", "5C" * 32, "../x", "5c" * 33])
def test_what_is_named_by_no_uid_is_dropped(key: str) -> None:
    assert loads(packed({key: {"title": ["t"]}})).memos == {}


@pytest.mark.parametrize("cells", [3, [], None, {"title": 3}, {"title": {}}, {"title": []}, {"title": "title"}])
def test_what_is_no_cell_is_dropped(cells: Any) -> None:
    assert not loads(packed({UID: cells})).memos.get(UID)


def test_fields_of_a_newer_version_are_kept() -> None:
    later = {"later": [{"deep": [1, "x"]}, 5, 0, "7be1c20d"]}
    state = loads(packed({UID: later}))

    assert loads(manifest.dumps(state)) == state
    assert state.memos[UID]["later"].value == {"deep": [1, "x"]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        zlib.compress(b"[]"),
        zlib.compress(b"{}"),
        zlib.compress(b"\xff"),
        packed()[:-3],
        packed(version="1"),
        packed(version=True),
        packed(memos={UID: {"later": [1.5]}}),
        zlib.compress(b'{"version":1,"memos":' + b"[" * 100_000),
        zlib.compress(b'{"version":' + b"9" * 5000),
    ],
)
def test_what_is_no_state_is_refused(data: bytes) -> None:
    with pytest.raises(TorrentError):
        loads(data)


def test_a_newer_version_says_what_to_do() -> None:
    with pytest.raises(TorrentError) as error:
        loads(packed(version=2))

    assert error.value.hint == "update memosync"


@pytest.mark.parametrize(
    ("begin", "many", "times"), [(b"", b" " * 2**20, 64), (b'{"version":1,"memos":{"x":[', b"[]," * 2**16, 32)]
)
def test_more_than_can_be_read_is_refused(begin: bytes, many: bytes, times: int) -> None:
    packer = zlib.compressobj()
    data = packer.compress(begin) + b"".join(packer.compress(many) for _ in range(times)) + packer.flush()

    with pytest.raises(TorrentError, match="more"):
        loads(data)
