"""Ids, names and titles: what a person or a stranger gives, and what becomes of it."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memosync import memo
from memosync.errors import UsageError
from memosync.memo import Memo, MemoId, Words

ID = MemoId("7k3f9x2a")
WHEN = datetime(2026, 8, 25, 10, 11, 12, tzinfo=UTC)
LONG = 499 * "a" + " b"

anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
moments = st.datetimes(timezones=st.just(UTC))
random_bytes = st.binary(min_size=5, max_size=5)


@given(random_bytes)
def test_every_five_bytes_are_another_id(random: bytes) -> None:
    memo_id = memo.new_id(random)

    number = 0
    for character in reversed(memo_id):
        number = number * 32 + memo.ALPHABET.index(character)
    assert memo_id == memo.parse_id(memo_id)
    assert random == number.to_bytes(5, "big")


@pytest.mark.parametrize(
    "text", ["", "7k3f9x2", "7k3f9x2ab", "7K3F9X2A", "7k3f9x2i", "7k3f9x2l", "../f9x2a", "7k3f9x2a\n", 7, None]
)
def test_what_is_no_id_is_not_taken_for_one(text: object) -> None:
    assert memo.parse_id(text) is None


@given(anything, moments, random_bytes)
@example("../../etc/passwd", WHEN, b"12345")
@example("-rf", WHEN, b"12345")
@example(300 * "あ", WHEN, b"12345")
@example("CON", WHEN, b"12345")
def test_the_id_can_be_read_out_of_every_file_name(title: str, recorded: datetime, random: bytes) -> None:
    memo_id = memo.new_id(random)

    name = memo.file_name(title, recorded, memo_id)

    assert memo_id == memo.id_in_file_name(name)
    assert name.startswith(recorded.date().isoformat())
    assert len(name.encode()) <= 100
    assert "/" not in name
    assert name.isprintable()


def test_a_file_name_is_date_slug_and_id() -> None:
    name = memo.file_name("Weekly Standup — März!", WHEN, ID)

    assert name == "2026-08-25-weekly-standup-märz-7k3f9x2a.webm"


def test_a_title_without_a_letter_makes_no_slug() -> None:
    assert memo.file_name("🎙 …", WHEN, ID) == "2026-08-25-7k3f9x2a.webm"


@pytest.mark.parametrize(
    "name",
    [
        "x.webm",
        "7k3f9x2a.webm",
        "2026-08-25-7k3f9x2a.webm.part",
        "2026-08-25-7k3f9x2a.WEBM",
        "2026-08-25-talk-7k3f9x2i.webm",
        "2026-08-25/talk-7k3f9x2a.webm",
        "2026-08-25-a\nb-7k3f9x2a.webm",
        "2026-08-25-caf\udce9-7k3f9x2a.webm",  # which is not UTF-8, as the index is
        "2026-08-25-a\u200eb-7k3f9x2a.webm",
        ".2026-08-25-7k3f9x2a.webm",
    ],
)
def test_a_name_of_another_pattern_is_not_ours(name: str) -> None:
    assert memo.id_in_file_name(name) is None


@given(anything)
@example(LONG)
def test_a_clean_title_is_one_line_and_stays_as_it_is(text: str) -> None:
    title = memo.clean_title(text)

    assert title == memo.clean_title(title) == unicodedata.normalize("NFC", title)
    assert title == title.strip()
    assert not any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in title)
    assert len(title) <= memo.TITLE_LIMIT


@pytest.mark.parametrize(
    "bad", ["\x1b[2J", "\r", "\n", "\t", "\0", "\x7f", "\x9b", "\u2028", "\u202e", "\u2066", "\ufeff"]
)
def test_what_a_terminal_would_obey_becomes_a_space(bad: str) -> None:
    assert f"a {bad[1:]}b" == memo.clean_title(f"a{bad}b")


@given(st.text(max_size=80))
def test_a_clean_description_keeps_its_lines_and_stays_as_it_is(text: str) -> None:
    description = memo.clean_description(text)

    assert description == memo.clean_description(description)
    assert not any(unicodedata.category(character) == "Cc" for character in description if character not in "\n\t")


def test_a_description_keeps_newlines_and_tabs() -> None:
    assert memo.clean_description(" first\r\n\tsecond\x1b[2J\n\n") == "first\n\tsecond [2J"


def test_tags_keep_their_order_and_lose_doubles_and_nothing() -> None:
    assert memo.clean_tags([" work ", "", "town hall", "work", "\t", "a\nb"]) == ("work", "town hall", "a b")


@pytest.mark.parametrize("tag", ["a,b", "", "  ", "\n"])
def test_a_tag_with_a_comma_or_nothing_in_it_is_refused(tag: str) -> None:
    with pytest.raises(UsageError):
        memo.parse_tags(["fine", tag])


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Weekly standup", "Weekly standup"),
        ("Mañana", "Mañana"),
        ("Man\u0303ana", "Mañana"),
        ('a/b\\c:d*e?f"g<h>i|j', "a-b-c-d-e-f-g-h-i-j"),
        ("a\x1b[2J\u202eb", "a-[2J-b"),
        (200 * "x", 120 * "x"),
        (50 * "あ!", 30 * "あ!"),
        ("..", "7k3f9x2a"),
        ("///", "7k3f9x2a"),
        ("", "7k3f9x2a"),
    ],
)
def test_the_name_in_the_torrent_is_the_title_made_safe(title: str, name: str) -> None:
    assert name + ".webm" == memo.torrent_name(Words(title), ID)


@given(anything)
@example("\x1f \x1f")  # `- -`, as it was when the first link was given to such a title
def test_the_name_in_the_torrent_is_always_a_plain_name(title: str) -> None:
    name = memo.torrent_name(Words(title), ID).removesuffix(".webm")

    assert name.strip(".-")
    assert name == name.strip()
    assert len(name.encode()) <= 120
    assert not set(name) & set('/\\:*?"<>|\0\n\r\t\x1b')


@pytest.mark.parametrize(
    ("words", "fits"),
    [
        ([], True),
        (["standup"], True),
        (["STRASSE", "weekly"], True),
        (["work"], True),
        (["release weekly"], False),
        (["standup", "absent"], False),
    ],
)
def test_every_word_has_to_be_somewhere_whatever_its_case(words: list[str], fits: bool) -> None:
    one = Memo(
        id=ID,
        file="x.webm",
        title="Weekly Standup",
        description="the release in the Straße",
        tags=("Work",),
        recorded=WHEN,
        duration=1.0,
        size=1,
    )

    assert fits == memo.matches(one, words)


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("2026-08-25 10:11", "2026-08-25-10-11-7k3f9x2a.webm"),  # as one without a title is called
        ("2026-08-25", "2026-08-25-7k3f9x2a.webm"),
        ("2026-08-250", "2026-08-25-2026-08-250-7k3f9x2a.webm"),
        ("2026-08-24", "2026-08-25-2026-08-24-7k3f9x2a.webm"),
    ],
)
def test_a_file_s_name_has_the_date_once(title: str, name: str) -> None:
    assert memo.file_name(title, WHEN, ID) == name
