"""List what is there: the same columns and keys for ever, newest first, and as wide as the terminal and no wider."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from support.program import PROGRAM, Program
from support.terminal import Terminal

from memosync.errors import UsageError

INFOHASH = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a"
TRACKER = "udp://127.0.0.1:6969/announce"
KEYS = ["id", "file", "title", "description", "tags", "recorded", "duration", "size", "infohash", "shared"]
KEYS += ["sealed", "private", "renewals", "fetched", "trackers", "typed", "trashed", "path", "link", "public_link"]
KEYS += ["awaited"]
NOW = datetime.now().astimezone().replace(microsecond=0)
FULL = {
    "id": "7k3f9x2a",
    "title": "Weekly standup",
    "description": "what we said\nabout the release",
    "tags": ["work", "town hall"],
    "recorded": datetime.fromisoformat("2026-08-25T10:11:12+02:00"),
    "duration": 12.48,
    "size": 49123,
    "infohash": INFOHASH,
    "shared": True,
    "trackers": [TRACKER],
    "mood": "good",
}
NOT_SERVED = "memosync: 1 memo is marked as shared, and is not served now; memosync seed --detach starts the seeder"
BARE = {
    "id": "abcdefgh",
    "title": "",
    "recorded": datetime.fromisoformat("2025-01-01T00:00:00Z"),
    "duration": 3600,
    "size": 0,
}

Fill = Callable[..., None]


@pytest.fixture
def fill(memosync: Program) -> Fill:
    """Write a library with these memos and their files."""

    def write(*memos: dict[str, Any]) -> None:
        memosync.library.mkdir()
        entries = [{"file": f"2026-01-01-{memo['id']}.webm", **memo} for memo in memos]
        for entry in entries:
            with (memosync.library / entry["file"]).open("wb") as file:
                file.truncate(entry["size"])
        (memosync.library / "index.toml").write_text(tomli_w.dumps({"version": 1, "memo": entries}))

    return write


def memo(number: int, title: str = "", days: float = 0, **changes: Any) -> dict[str, Any]:
    """Make an entry that was recorded so many days ago."""
    recorded = NOW - timedelta(days=days)
    return {"id": f"{number:08}", "title": title, "recorded": recorded, "duration": 1.0, "size": 1, **changes}


def titles(memosync: Program, *options: str) -> list[str]:
    """Give the titles that are listed, in their order."""
    return [line.split("\t")[-1] for line in memosync("list", *options).lines]


# -- in a pipe


def test_a_row_has_the_seven_columns(memosync: Program, fill: Fill) -> None:
    fill(FULL, BARE)

    result = memosync("list")

    first = "7k3f9x2a\t2026-08-25T10:11:12+02:00\t12.480\t49123\tsp\twork,town hall\tWeekly standup\n"
    assert result.out == first + "abcdefgh\t2025-01-01T00:00:00+00:00\t3600.000\t0\t-\t\t\n"
    assert result.err.splitlines() == [NOT_SERVED]


def test_json_has_every_key_and_null_or_nothing_where_there_is_none(memosync: Program, fill: Fill) -> None:
    fill(FULL, BARE)

    full, bare = map(json.loads, memosync("list", "--json").lines)

    assert set(full) == {*KEYS, "mood"}
    assert list(bare) == KEYS
    path = str(memosync.library / "2026-01-01-7k3f9x2a.webm")
    link = full.pop("link")
    assert link == full.pop("public_link")
    expected = {**FULL, "file": Path(path).name, "recorded": "2026-08-25T10:11:12+02:00", "path": path}
    private = {"sealed": None, "private": False, "renewals": 0}
    assert full == {**expected, **private, "fetched": False, "trashed": None, "typed": False, "awaited": False}
    assert link.startswith(f"magnet:?xt=urn:btih:{INFOHASH}&dn=Weekly%20standup&tr=udp%3A%2F%2F127.0.0.1%3A6969")
    assert (bare["description"], bare["tags"], bare["trackers"]) == ("", [], [])
    assert (bare["infohash"], bare["link"], bare["trashed"]) == (None, None, None)
    assert (bare["shared"], bare["fetched"], bare["duration"], bare["size"]) == (False, False, 3600, 0)


def test_json_is_one_line_a_memo_whatever_is_in_it(memosync: Program, fill: Fill) -> None:
    title, description = "a\tb\u2028c\x1b[2J", "first\nsecond\x85third"
    own: dict[str, Any] = {
        "stars": {"when": NOW, "n": [1, {"a": NOW.date()}]},
        "dates": [NOW],
        "some": [1.5, "x", True],
        "no": float("nan"),
    }
    fill(memo(1, title, description=description, **own), memo(2, days=1))

    out = memosync("list", "--json").out

    assert out.count("\n") == 2
    assert not set(out) & set("\t\x1b\x85\u2028\u202e")
    first = json.loads(out.split("\n")[0], parse_constant=pytest.fail)
    now = NOW.isoformat()
    assert (first["stars"], first["dates"]) == ({"when": now, "n": [1, {"a": now[:10]}]}, [now])
    assert (first["some"], first["no"]) == ([1.5, "x", True], None)


@pytest.mark.parametrize(
    ("title", "column"),
    [
        ("two\nlines", "two lines"),
        ("forged\n00000000\t2026-01-01", "forged 00000000 2026-01-01"),
        ("\x1b[2J\x1b]0;x\x07\r\x9b1m", " [2J ]0;x   1m"),
        ("a\u202eb\u2028c\x85d\x0be\x0cf\x1cg", "a b c d e f g"),
    ],
    ids=["newline", "row", "escape", "separators"],
)
def test_no_title_and_no_tag_forges_a_row_or_a_column(memosync: Program, fill: Fill, title: str, column: str) -> None:
    fill(memo(1, title, tags=[title, "b"]), memo(2, days=1))

    result = memosync("list")

    rows = [row.split("\t") for row in result.out.split("\n")[:-1]]
    assert [len(row) for row in rows] == [7, 7]
    assert rows[0][6].strip() == column.strip()
    assert rows[0][5].strip() == column.strip() + ",b"
    assert all(character.isprintable() or character in "\n\t" for character in result.out)


@pytest.mark.parametrize("encoding", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}])
def test_a_title_is_no_reason_to_fail_in_another_encoding(
    memosync: Program, fill: Fill, encoding: dict[str, str]
) -> None:
    fill(memo(1, "Größe 日本 🎙"), memo(2, "plain", days=1))

    process = memosync.start("list", env=encoding)
    out, err = process.communicate(timeout=30)

    assert (process.returncode, err) == (0, b"")
    assert [len(row.split(b"\t")) for row in out.splitlines()] == [7, 7]
    assert out.endswith(b"\tplain\n")


# -- which, and in which order


def test_the_newest_is_first_whatever_the_order_and_the_offset(memosync: Program, fill: Fill) -> None:
    zone = [datetime.fromisoformat(f"2026-08-25T{text}") for text in ("10:00:00+02:00", "09:00:00Z", "04:30:00-04:00")]
    fill(*(memo(number, str(number), recorded=recorded) for number, recorded in enumerate(zone)))

    assert titles(memosync) == ["1", "2", "0"]


def test_of_the_same_second_the_last_added_is_first(memosync: Program, fill: Fill) -> None:
    fill(memo(1, "older", days=1), memo(2, "first"), memo(3, "second"), memo(4, "third"))

    assert titles(memosync) == ["third", "second", "first", "older"]
    assert titles(memosync, "-n", "2") == ["third", "second"]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["straße"], ["STRASSE"]),
        (["town hall"], ["Weekly standup"]),
        (["STANDUP", "release"], ["Weekly standup"]),
        (["standup", "absent"], []),
        (["standup strasse"], []),
        (["--tag", "Work"], ["Weekly standup"]),
        (["--tag", "wor"], []),
        (["--shared"], ["Weekly standup"]),
        (["--shared", "strasse"], []),
        (["-n", "0"], []),
        (["-n", "99"], ["Weekly standup", "STRASSE"]),
        (["--", "-n"], []),
    ],
    ids=" ".join,
)
def test_words_tags_and_options_choose(memosync: Program, fill: Fill, options: list[str], found: list[str]) -> None:
    fill(BARE | {"title": "STRASSE"}, FULL, memo(3, "Weekly standup in the trash", tags=["work"], trashed=NOW))

    result = memosync("list", *options)

    assert [line.split("\t")[-1] for line in result.lines] == found
    assert bool(found) == (result.err in ("", f"{NOT_SERVED}\n"))


def test_since_chooses_by_the_day_or_by_days(memosync: Program, fill: Fill) -> None:
    hours = datetime.now(UTC).hour - 12
    memosync.environment["TZ"] = f"NOON{hours:+}"  # midnight is far away there
    now = datetime.now(timezone(timedelta(hours=-hours))).replace(microsecond=0)
    yesterday = now.replace(hour=0, minute=0, second=0) - timedelta(days=1)
    fill(
        memo(1, "now", recorded=now),
        memo(2, "yesterday", recorded=yesterday),
        memo(3, "before", recorded=yesterday - timedelta(seconds=1)),
        memo(4, "week", recorded=now - timedelta(days=6.99)),
        memo(5, "old", recorded=now - timedelta(days=7.01)),
    )

    assert titles(memosync, "--since", "yesterday") == ["now", "yesterday"]
    assert titles(memosync, "--since", f"{yesterday:%Y-%m-%d}") == ["now", "yesterday"]
    assert titles(memosync, "--since", "7d") == ["now", "yesterday", "before", "week"]
    assert titles(memosync, "--since", "2020-01-01", "-n", "5")[-1] == "old"
    assert titles(memosync, "--until", "yesterday") == ["yesterday", "before", "week", "old"]  # all of that day
    assert titles(memosync, "--until", f"{yesterday:%Y-%m-%dT00:00:00}") == ["yesterday", "before", "week", "old"]
    assert titles(memosync, "--until", "7d") == ["old"]
    assert titles(memosync, "--since", "7d", "--until", "yesterday") == ["yesterday", "before", "week"]


@pytest.mark.parametrize(
    ("key", "order"), [("recorded", "bca"), ("added", "cba"), ("title", "acb"), ("duration", "bca"), ("size", "abc")]
)
def test_sorts_by_what_is_wanted_and_what_is_equal_newest_first(
    memosync: Program, fill: Fill, key: str, order: str
) -> None:
    fill(
        memo(1, "a", days=3, size=3, duration=1.0),
        memo(2, "C", days=1, size=2, duration=2.0),
        memo(3, "B", days=2, size=1, duration=2.0),
    )
    names = {"a": "a", "b": "C", "c": "B"}
    expected = [names[letter] for letter in order]

    assert titles(memosync, "--sort", key) == expected
    assert titles(memosync, "--sort", key, "-r") == expected[::-1]
    assert titles(memosync, "--sort", key, "-rn", "1") == expected[-1:]


@pytest.mark.parametrize(
    "options",
    [["--since", "soon"], ["--until", "soon"], ["--sort", "x"], ["-n", "-1"], ["-n", "x"], ["--nope"]],
    ids=" ".join,
)
def test_a_bad_option_is_exit_2(memosync: Program, options: list[str]) -> None:
    result = memosync("list", *options, code=UsageError.exit_code)

    assert result.out == ""
    assert re.match("memosync: error: [^\n]+\n(memosync: hint: [^\n]+\n)?$", result.err)


def test_an_empty_library_is_a_hint_and_no_failure(memosync: Program, fill: Fill) -> None:
    for options in ((), ("--json",), ("word",)):
        result = memosync("list", *options)
        assert (result.out, result.err.count("\n")) == ("", 1)
        assert "memosync record" in result.err
    fill(memo(1, "there is one"))
    assert "memosync record" not in memosync("list", "absent").err


@pytest.mark.parametrize(
    ("changes", "size", "flags"),
    [
        ({}, 1, "-"),
        ({"shared": True, "infohash": INFOHASH}, 1, "sp"),
        ({"shared": True, "fetched": True, "infohash": INFOHASH}, 1, "spf"),
        ({"fetched": True}, 1, "f"),
        ({}, 2, "d"),
        ({}, None, "d"),
        ({"shared": True, "fetched": True, "infohash": INFOHASH}, 0, "spfd"),
    ],
)
def test_flags_say_what_holds(
    memosync: Program, fill: Fill, changes: dict[str, Any], size: int | None, flags: str
) -> None:
    fill(memo(1, **changes))
    (path,) = memosync.library.glob("*.webm")
    path.write_bytes(bytes(size)) if size is not None else path.unlink()

    (row,) = memosync("list").lines

    assert row.split("\t")[4] == flags


# -- on a terminal


@pytest.fixture
def show(memosync: Program) -> Iterator[Callable[[int], Terminal]]:
    """Run `list` to its end in a terminal of so many columns."""
    terminals = []

    def start(columns: int) -> Terminal:
        terminals.append(Terminal([*PROGRAM, "list"], memosync.environment, columns=columns))
        terminals[-1].end()
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


WIDE = ["plain", "日本語のとても長い題名です", "e\u0301a\u0300o\u0302 combined", "🎙🎙🎙 talk", "a" * 200, "日" * 100]


@pytest.mark.parametrize("columns", [30, 31, 80, 200])
def test_on_a_terminal_no_row_is_wider_than_it(
    memosync: Program, fill: Fill, show: Callable[[int], Terminal], columns: int
) -> None:
    memos = [memo(number, title, number, tags=["work"]) for number, title in enumerate(WIDE)]
    fill(*memos, memo(9, "long", 9, duration=86_400.0, size=123_456_789))

    screen = show(columns).screen

    assert (screen.wrapped, screen.scrolled, len(screen.lines)) == (0, 0, 7)
    for line, entry in zip(screen.lines, memos, strict=False):
        assert line.startswith(entry["id"])


def test_columns_are_aligned_and_titles_cut(memosync: Program, fill: Fill, show: Callable[[int], Terminal]) -> None:
    fill(
        *(memo(number, title, number) for number, title in enumerate(WIDE)),
        memo(9, "long", 9, duration=7384.0, size=5_000_000),
    )

    terminal = show(80)

    lines = terminal.screen.lines
    columns = [
        re.match(r"(\d{8})  (\d{4}-\d\d-\d\d \d\d:\d\d) +([\d:]+) +([\d.]+ k?M?B)  ([psftd-]+)  ", line)
        for line in lines
    ]
    assert all(columns)
    assert len({(found.end(3), found.end(4), found.end()) for found in columns if found}) == 1
    title = columns[0].end() if columns[0] else 0
    assert [line[title:][:5] for line in lines[:1]] == ["plain"]
    assert lines[1][title:].replace(" ", "").startswith("日本語のとても長い題名です")
    assert "é" in terminal.wrote or "e\u0301" in terminal.wrote
    for cut in lines[4:6]:
        assert cut.endswith("…")
    assert len(lines[4]) == 80


def test_no_title_obeys_the_terminal(memosync: Program, fill: Fill, show: Callable[[int], Terminal]) -> None:
    fill(memo(1, "a\x1b[2J\x1b]0;x\x07b\rc\nd", tags=["\x1b[31m"], description="\x1b[5m"), memo(2, "next", 1))

    terminal = show(80)  # whose screen refuses control characters

    assert len(terminal.screen.lines) == 2
    assert not [text for text in ("\x1b[2J", "\x1b]0", "\x07", "\x1b[31m") if text in terminal.wrote]


def test_tags_are_seen_and_nothing_is_coloured_into_a_pipe(
    memosync: Program, fill: Fill, show: Callable[[int], Terminal]
) -> None:
    fill(memo(1, "Talk", tags=["work", "town hall"]))

    assert "Talk #work #town hall" in show(80).screen.lines[0]
    assert "\x1b" not in memosync("list", env={"FORCE_COLOR": "1", "TERM": "xterm-256color"}).out
