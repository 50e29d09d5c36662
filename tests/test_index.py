"""The index as text: nothing is lost on the way there and back, and nothing bad gets in."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from memosync import index, memo
from memosync.errors import LibraryError
from memosync.index import KEYS, Index
from memosync.magnet import InfoHash
from memosync.memo import Memo

ENTRY = {
    "id": "7k3f9x2a",
    "file": "2026-08-25-weekly-standup-7k3f9x2a.webm",
    "title": "Weekly standup",
    "recorded": datetime(2026, 8, 25, 10, 11, 12, tzinfo=timezone(timedelta(hours=2))),
    "duration": 12.48,
    "size": 49123,
}
DESIGN = """\
# my memos
# on two lines

version = 1
colour = "blue"
[[memo]]
id = "7k3f9x2a"               # 8 characters
file = "2026-08-25-weekly-standup-7k3f9x2a.webm"
title = "Weekly standup"
description = "what we said about the release"
tags = ["work"]
recorded = 2026-08-25T10:11:12+02:00
duration = 12.48
size = 49123
infohash = "a0a384eaa0a384eaa0a384eaa0a384eaa0a384ea"
shared = true
trackers = ["udp://127.0.0.1:6969/announce"]
trashed = 2026-09-01T08:00:00Z
mood = { good = true, at = [1, 2.5, "x"] }
[memo.stars]
number = 5
[settings]
deep = { er = [{ a = 1 }] }
"""

MINE = "version = 1\n\n[[memo]]\n" + tomli_w.dumps(ENTRY)

EVERYTHING = index.dumps(
    Index(
        (
            Memo(
                **ENTRY,  # type: ignore[arg-type]
                description="what we said\nabout the “release”",
                tags=("work", "a, b"),
                infohash=InfoHash("a0" * 20),
                shared=True,
                sealed=InfoHash("b1" * 20),
                private=True,
                renewals=2,
                fetched=True,
                trackers=("udp://127.0.0.1:6969/announce",),
                typed=True,
                trashed=datetime(2026, 9, 1, 8, tzinfo=UTC),
                uid="5c" * 32,
                born="7be1c20d" * 3,
                stamps=("tag:work 0:1: 7be1c20d", "title 19a1c2f0b3d:0:3fa9c1d2 7be1c20d"),
                content=f"0:1: {'c2' * 32} 49123 {'d3' * 20}",
                more='{"later":["x",1,0,"7be1c20d"]}',
            ),
        ),
        version=2,
    )
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
moments = st.datetimes(
    min_value=datetime(2, 1, 1),
    max_value=datetime(9998, 1, 1),
    timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts | moments,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def memos(draw: st.DrawFn) -> Memo:
    """Make a memo as the program would have it."""
    memo_id = memo.new_id(draw(st.binary(min_size=5, max_size=5)))
    title, recorded = memo.clean_title(draw(texts)), draw(moments)
    return Memo(
        id=memo_id,
        file=memo.file_name(title, recorded, memo_id),
        title=title,
        description=memo.clean_description(draw(texts)),
        tags=memo.clean_tags(draw(st.lists(texts, max_size=3))),
        recorded=recorded,
        duration=draw(st.floats(0, 1e9)),
        size=draw(st.integers(0, 2**50)),
        infohash=draw(st.none() | st.binary(min_size=20, max_size=20).map(lambda data: InfoHash(data.hex()))),
        shared=draw(st.booleans()),
        fetched=draw(st.booleans()),
        trackers=tuple(draw(st.lists(st.just("udp://127.0.0.1:6969"), max_size=2))),
        trashed=draw(st.none() | moments),
        extra=draw(st.dictionaries(names.filter(lambda name: name not in KEYS), values, max_size=2)),
    )


indexes = st.builds(
    Index,
    st.lists(memos(), max_size=4, unique_by=lambda one: one.id).map(tuple),
    st.lists(names.map(lambda text: f"# {text}".rstrip()), max_size=2).map("\n".join),
    st.dictionaries(names.filter(lambda name: name not in ("version", "memo")), values, max_size=2),
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(indexes)
def test_what_is_written_reads_back_the_same(before: Index) -> None:
    assert before == index.loads(index.dumps(before))


@st.composite
def hand_edits(draw: st.DrawFn) -> str:
    """Make an index of a person who has a way of their own to write some lines."""
    found: list[str] = []
    for line in index.dumps(replace(draw(indexes), head="")).splitlines():
        key, _, value = line.partition(" = ")
        ways = [line, line, line, f"{line}  # [[memo]]", f"  {line}", f"{line}\r", f"{line}\n\n# a remark"]
        if line == "[[memo]]":
            ways = [line, line, "[[ memo ]]", "[[memo]] # mine", '[["memo"]]', "[[memo]] \r", "# [[memo]]\n[[memo]]"]
        elif key in ("title", "description"):
            ways += [f"{key}={value}", f'"{key}" = {value}', f"{key} = '[[memo]]'"]
            ways += [f"{key} = {quotes}\n[[memo]]\n{quotes}" for quotes in ('"""', "'''")]
        elif key == "recorded":
            ways += ["recorded = 2026-08-25T10:11:12", "recorded = 2026-08-25 10:11:12Z"]
        elif key == "size":
            ways += [f"{line}\n[memo.mine]\nid = 1\ntrashed = 1", f"{line}\nmine = [\n[1],\n]", f"mine.id = 1\n{line}"]
        found.append(draw(st.sampled_from(ways)) if line[:1] not in (" ", "]") and not line.endswith("[") else line)
    return "\n".join(found) + draw(st.sampled_from(["", "\n", "\n\n", "\n[mine]\nid = 1\n"]))


@given(hand_edits(), st.data())
@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_who_writes_what_did_not_change_as_it_stood_says_the_same(text: str, data: st.DataObject) -> None:
    try:
        before = index.loads(text)
    except LibraryError:
        assume(False)
    changed = [replace(one, title="Other") if data.draw(st.booleans()) else one for one in before.memos]
    after = replace(before, memos=tuple(data.draw(st.permutations(changed))[: data.draw(st.integers(0, 4))]))

    quickly, slowly = index.dumps(after), index.dumps(replace(after, written=None))

    assert after == index.loads(quickly) == index.loads(slowly)
    assert re.findall("recorded = .{19}$", quickly, re.MULTILINE) == []
    for one in (quickly, text):
        found, plain = index.loads(one, before), index.loads(one)
        assert found == plain
        backwards = [index.dumps(replace(read, memos=read.memos[::-1])) for read in (found, plain)]
        assert backwards[0] == backwards[1]


def test_entries_that_stand_as_they_did_are_taken_from_the_index_before() -> None:
    entries = [ENTRY | {"id": memo_id, "file": f"{memo_id}.webm"} for memo_id in ("7k3f9x2a", "aaaaaaaa", "bbbbbbbb")]
    text = index.dumps(index.loads(tomli_w.dumps({"version": 1, "memo": entries})))
    before = index.loads(text)
    first, middle, last = text.split("\n[[memo]]\n")[1:]
    title = str(ENTRY["title"])
    after = text.replace(middle, middle.replace(title, "Better"))
    found = index.loads(after, before)

    assert found == index.loads(after)
    assert [memo.title for memo in found.memos] == [title, "Better", title]
    assert [one is other for one, other in zip(before.memos, found.memos, strict=True)] == [True, False, True]
    fewer = index.loads(text.replace(f"[[memo]]\n{first}\n", ""), before)
    assert list(fewer.memos) == list(before.memos[1:])
    with pytest.raises(LibraryError, match="two memos"):
        index.loads(text.replace(last, first), before)


def test_what_a_person_wrote_beside_an_entry_stays_while_that_is_not_changed() -> None:
    other = index.loads(MINE.replace("7k3f9x2a", "aaaaaaaa")).memos[0]
    before = index.loads(MINE.replace('standup"\n', 'standup"  # the good one\n')).with_memo(other)
    after = index.loads(index.dumps(before)).with_memo(replace(other, title="Other"))

    assert 'title = "Weekly standup"  # the good one\n' in index.dumps(after)
    assert "# the good one" not in index.dumps(after.with_memo(replace(after.memos[0], title="Other")))


@given(indexes)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_what_we_wrote_is_written_again_byte_for_byte(before: Index) -> None:
    text = index.dumps(before)

    assert text == index.dumps(index.loads(text)) == index.dumps(replace(index.loads(text), written=None))


@st.composite
def accidents(draw: st.DrawFn) -> str:
    """Make an index in which a character was typed, or one lost, anywhere, if that is no part of an entry or two."""
    text = draw(st.one_of(indexes.map(index.dumps), hand_edits()))
    at = draw(st.integers(0, len(text)))
    typed = draw(st.sampled_from(["", *'\n "\\[]=#.-:+0179abZ_é\x85\x7f', "id", "\nshared = true", "\n[[memo]]\n"]))
    return f"{text[:at]}{typed}{text[at + draw(st.integers(0, 2)) :]}\n"


def read_or_none(text: str) -> Index | None:
    with contextlib.suppress(LibraryError):
        return index.loads(text)
    return None


@given(accidents())
@example(EVERYTHING)
@example(EVERYTHING.replace("25 10:11:12+02:00", "25 10:11:12.000001-00:30"))
@example(EVERYTHING.replace("2026-08-25 10", "2026-02-30 10"))
@example(EVERYTHING.replace("Weekly", r"\"Weekly\" \\ \n\t\u00e9"))
@example(EVERYTHING.replace("Weekly", r"\"Weekly\" \\ \n\t"))
@example(EVERYTHING.replace("standup-7", "stand\u202eup-7"))
@example(EVERYTHING.replace('"work"', '""'))
@example(EVERYTHING.replace("Weekly", "Weekly\x7f"))
@example(EVERYTHING.replace("shared = true", "shared = true\nshared = true"))
@example(EVERYTHING.replace("version = 2", "version = 2\nmemo = []"))
@example(EVERYTHING + "\n" + EVERYTHING.partition("\n\n")[2])
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_what_is_laid_out_as_we_write_it_says_what_toml_says(text: str) -> None:
    as_toml = f'{text}\n# """'  # where there may be strings of several lines, no line is what it looks like

    assert repr(read_or_none(text)) == repr(read_or_none(as_toml))


def test_what_we_write_is_known_by_its_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    (memo,) = index.loads(EVERYTHING).memos
    monkeypatch.setattr(index, "_memo", None)  # what reads the TOML of an entry

    assert all(getattr(memo, name) for name in index.to_table(memo))
    assert index.loads(EVERYTHING).memos == (memo,)
    assert index.dumps(index.loads(EVERYTHING)) == EVERYTHING
    monkeypatch.setattr(index, "loads", None)  # what a TAB has no time for
    assert list(index.offers(EVERYTHING)) == [(memo.id, memo.title, True)]


@given(hand_edits())
@example(f"{MINE}[memo.mine]\ntrashed = 1\n[[memo]]\n" + MINE.partition("\n[[memo]]\n")[2].replace("7k3f", "aaaa"))
@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_what_is_offered_is_what_is_read(text: str) -> None:
    try:
        memos = index.loads(text).memos
    except LibraryError:
        assume(False)

    assert [(one.id, one.title, bool(one.trashed)) for one in reversed(memos)] == list(index.offers(text))


def test_every_key_is_read_and_every_unknown_one_and_the_comments_at_the_top_survive() -> None:
    read = index.loads(DESIGN)

    (one,) = read.memos
    assert (one.id, one.title, one.tags, one.duration, one.size) == (
        "7k3f9x2a",
        "Weekly standup",
        ("work",),
        12.48,
        49123,
    )
    assert ENTRY["recorded"] == one.recorded
    assert (one.infohash, one.shared, one.fetched) == (InfoHash(5 * "a0a384ea"), True, False)
    assert datetime(2026, 9, 1, 8, tzinfo=UTC) == one.trashed
    assert one.extra == {"mood": {"good": True, "at": [1, 2.5, "x"]}, "stars": {"number": 5}}
    assert read.extra == {"colour": "blue", "settings": {"deep": {"er": [{"a": 1}]}}}
    again = index.dumps(index.loads(index.dumps(read)))
    assert index.dumps(read) == again
    assert again.startswith("# my memos\n# on two lines\n")


def test_what_is_empty_is_left_out() -> None:
    text = tomli_w.dumps({"version": 1, "memo": [ENTRY]})

    assert text == index.dumps(index.loads(text))


def test_a_local_time_gets_this_machine_s_offset() -> None:
    text = tomli_w.dumps({"version": 1, "memo": [ENTRY | {"recorded": datetime(2026, 8, 25, 10, 11, 12)}]})

    assert index.loads(text).memos[0].recorded == datetime(2026, 8, 25, 10, 11, 12).astimezone()


def test_a_memo_takes_the_place_of_the_one_with_its_id() -> None:
    entries = [ENTRY, ENTRY | {"id": "abcdefgh", "file": "b.webm"}]
    before = index.loads(tomli_w.dumps({"version": 1, "memo": entries}))
    changed = index.loads(tomli_w.dumps({"version": 1, "memo": [ENTRY | {"title": "New"}]})).memos[0]

    after = before.with_memo(changed).with_memo(changed)

    assert [one.title for one in after.memos] == ["New", "Weekly standup"]


def test_a_newer_version_is_refused_as_just_that() -> None:
    with pytest.raises(LibraryError, match="newer"):
        index.loads("version = 3\n[[memo]]\nwhatever = 1\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "version = 0",
        'version = "1"',
        "version = [",
        "version = 1\nmemo = 3",
        "version = 1\n[memo]\nid = 3",
        "version = 1\nversion = 1",
        'version = 1\nx = "\x1b[2J"',
        "version = 1\nx = " + 10_000 * "[",
        9999 * "a",
        "memo = []",
    ],
    ids=lambda text: repr(text[:30]),
)
def test_a_broken_index_is_refused_in_one_line_without_control_characters(text: str) -> None:
    with pytest.raises(LibraryError, match="broken") as caught:
        index.loads(text)

    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "change",
    [
        *({"id": value} for value in ("", "7k3f9x2", "../../..", "7K3F9X2A", 7, ["7k3f9x2a"])),
        *(
            {"file": value}
            for value in ("", "../x.webm", "/etc/x.webm", "a/b.webm", ".x.webm", "x.toml", "a\x1b[2J.webm", 1)
        ),
        *({"file": value} for value in ("a\0.webm", "a\n.webm", "..webm", "index.toml")),
        *({"title": value} for value in (1, "a\0b", ["x"])),
        *({"recorded": value} for value in ("2026-08-25", 1, date(2026, 8, 25))),
        *({"duration": value} for value in (-1, float("nan"), float("inf"), "1", True)),
        *({"size": value} for value in (-1, 1.5, 2**63, "1", True)),
        *({"infohash": value} for value in ("", "a0", 40 * "g", 40 * "A", 1)),
        *({"tags": value} for value in ("work", [1], [""], {"a": 1})),
        *({"trackers": value} for value in ("udp://x", [1])),
        *({"shared": value} for value in (1, "yes")),
        *({"trashed": value} for value in (True, "2026-09-01")),
    ],
    ids=repr,
)
def test_an_entry_that_cannot_be_is_refused_and_named(change: dict[str, Any]) -> None:
    with pytest.raises(LibraryError, match="broken") as caught:
        index.loads(tomli_w.dumps({"version": 1, "memo": [ENTRY | change]}))

    assert next(iter(change)) in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "change",
    [
        {"title": [3 * "Secret"]},
        {"description": [3 * "Secret"]},
        {"tags": 3 * "Secret"},
        {"file": f"{3 * 'Secret'}.mp3"},
        {"id": "abcdefgh", "file": ENTRY["file"]},
    ],
    ids=repr,
)
def test_what_is_wrong_with_an_index_is_said_without_the_words_of_a_memo(change: dict[str, Any]) -> None:
    """It stands in the seeder's log, which people show to others."""
    with pytest.raises(LibraryError, match="broken") as caught:
        index.loads(tomli_w.dumps({"version": 1, "memo": [ENTRY | change, ENTRY]}))

    assert not re.search("Secret|weekly", str(caught.value))


@pytest.mark.parametrize("missing", ["id", "file", "title", "recorded", "duration", "size"])
def test_an_entry_without_what_it_needs_is_refused(missing: str) -> None:
    entry = {name: value for name, value in ENTRY.items() if name != missing}

    with pytest.raises(LibraryError, match=missing):
        index.loads(tomli_w.dumps({"version": 1, "memo": [entry]}))


@pytest.mark.parametrize("change", [{"file": "b.webm"}, {"id": "abcdefgh"}], ids=["two ids", "two files"])
def test_two_memos_with_one_id_or_one_file_are_refused(change: dict[str, str]) -> None:
    with pytest.raises(LibraryError, match="two memos"):
        index.loads(tomli_w.dumps({"version": 1, "memo": [ENTRY, ENTRY | change]}))
