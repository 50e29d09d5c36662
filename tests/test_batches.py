"""Several memos at once, by arguments or from standard input: found before anything is done, a line for a fault."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import sound, vmic
from support.library import memos
from support.program import PROGRAM, Program, errors
from support.terminal import Terminal
from support.vmic import Microphone

from memosync.errors import LibraryError, NotFoundError, UsageError

TITLES = ["First", "Second", "Third"]


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of three memos, made once."""
    home = tmp_path_factory.mktemp("batches")
    memosync = Program(home / "Memos", {"HOME": str(home)})
    for seconds, title in zip((12, 12, 6), TITLES, strict=True):  # long enough for a person who presses keys
        (home / f"{title}.wav").write_bytes(sound.wav(sound.tone(seconds, 8_000), 8_000))
    memosync("record", "--again", *(home / f"{title}.wav" for title in TITLES))
    return memosync.library


@pytest.fixture
def ids(memosync: Program, recorded: Path) -> list[str]:
    """The ids of three memos, the first one first."""
    shutil.copytree(recorded, memosync.library)
    found = {memo["title"]: memo["id"] for memo in memos(memosync)}
    return [found[title] for title in TITLES]


@pytest.mark.parametrize(
    "verb", [["show"], ["show", "--path"], ["edit", "-d", "x"], ["play"], ["export", "-o", "."], ["rm"]]
)
def test_every_memo_is_found_before_anything_is_done_and_each_that_is_not_is_a_line(
    memosync: Program, ids: list[str], verb: list[str]
) -> None:
    before = memosync("list", "--json").out
    result = memosync(*verb, ids[0], "zzzz", "-", stdin=f"{ids[1]}\nyyyy\n", code=NotFoundError.exit_code)

    assert result.out == ""
    assert errors(result.err) == [f"memosync: error: no memo '{word}'" for word in ("zzzz", "yyyy")]
    assert result.err.count("hint") == 1
    assert memosync("list", "--json").out == before


@pytest.mark.parametrize("nothing", ["", "\n"], ids=["an empty one", "an empty line"])
def test_where_standard_input_names_nothing_that_is_said(memosync: Program, ids: list[str], nothing: str) -> None:
    verbs = [["share"], ["fetch"], ["play"], ["show"], ["edit", "-d", "x"], ["export", "-o", "."], ["rm"], ["restore"]]
    for verb in verbs:
        result = memosync(*verb, "-", stdin=nothing)

        assert (result.out, result.err) == ("", f"memosync: there is nothing to {verb[0]}\n")


def test_who_types_a_title_gets_the_id(memosync: Program, ids: list[str]) -> None:
    refused = memosync("play", "second", code=NotFoundError.exit_code).err
    assert refused.endswith(f"'second'\nmemosync: hint: a memo is named by its id: {ids[1]} “Second”\n")
    memosync("edit", ids[0], ids[2], "-d", "the same words")
    refused = memosync("rm", "same words", code=NotFoundError.exit_code).err
    assert refused.endswith("\nmemosync: hint: memosync list 'same words' shows the ids of those with these words\n")
    memosync("rm", ids[1])
    refused = memosync("restore", "second", code=NotFoundError.exit_code).err
    assert refused.endswith(f"a memo is named by its id: {ids[1]} “Second”\n")


def test_show_takes_several_and_rows_of_list(memosync: Program, ids: list[str]) -> None:
    rows = memosync("list", "--sort", "added").out

    alone = [memosync("show", memo).out for memo in ids[::-1]]
    assert memosync("show", "-", stdin=rows).out == "\n".join(alone)
    assert [json.loads(line)["id"] for line in memosync("show", "--json", *ids, ids[0]).lines] == ids
    paths = memosync("show", "--path", *ids).lines
    assert [Path(path).exists() for path in paths] == [True] * 3
    Path(paths[1]).unlink()
    shutil.rmtree(memosync.library / ".memosync/cache")
    result = memosync("show", *ids, code=LibraryError.exit_code)
    assert [line for line in result.lines if line.startswith("id")] == [f"id\t{memo}" for memo in ids]
    assert ids[1] in errors(result.err)[0]
    result = memosync("show", "--path", *ids, code=LibraryError.exit_code)
    assert (result.lines, len(errors(result.err))) == ([paths[0], paths[2]], 1)


def test_edit_takes_several_and_changes_all_or_none(memosync: Program, ids: list[str]) -> None:
    refused = memosync("edit", *ids, "-t", "Same", code=UsageError.exit_code)
    assert "a title is for one memo" in refused.err
    memosync("share", ids[0], "--no-seed")

    done = memosync("edit", "-", "--tag", "+work", "-d", "spoken", stdin="\n".join(ids))

    assert done.lines == ids
    assert all(title in done.err for title in TITLES)
    assert {(memo["description"], *memo["tags"]) for memo in memos(memosync)} == {("spoken", "work")}
    memosync("edit", ids[2], *(word for number in range(49) for word in ("--tag", f"t{number}")))
    full = memosync("edit", *ids, "--tag", "more", "--tag", "still more", code=UsageError.exit_code)
    assert ids[2] in errors(full.err)[0]
    assert "Third" in errors(full.err)[0]
    assert not any("more" in memo["tags"] for memo in memos(memosync))


def test_edit_says_when_it_was_recorded(memosync: Program, ids: list[str]) -> None:
    memosync("edit", ids[0], ids[2], "--recorded", "2020-02-03 04:05")

    assert {memo["title"]: memo["recorded"][:16] for memo in memos(memosync) if memo["recorded"] < "2021"} == {
        "First": "2020-02-03T04:05",
        "Third": "2020-02-03T04:05",
    }
    shown = memosync("show", ids[0], "--path").out.strip()
    assert "2020-02-03T04:05" in sound.probe(Path(shown))["tags"]["date_recorded"]
    memosync("edit", ids[0], "--recorded", "soon", code=UsageError.exit_code)


@pytest.fixture(scope="module")
def speaker() -> Iterator[Microphone]:
    """A sound server of which only the output is used."""
    with vmic.plugged_in() as device:
        yield device


def test_play_plays_on_and_a_fault_costs_one_memo(memosync: Program, ids: list[str], speaker: Microphone) -> None:
    Path(memosync("show", ids[1], "--path").out.strip()).unlink()
    memosync.environment.update(speaker.environment)

    with speaker.listening() as ear:
        result = memosync("play", *ids, "--from", "11", code=LibraryError.exit_code)

    heard = sum(abs(sample) > 100 for sample in ear.sound) / vmic.RATE  # not the silence between two
    assert 6.6 < heard < 7.2  # what is behind --from of the first, and all of the third
    assert [line.split()[2] for line in result.err.splitlines() if "playing" in line] == [ids[0], ids[2]]
    assert len(errors(result.err)) == 1


def test_n_and_b_go_to_the_next_memo_and_back(memosync: Program, ids: list[str], speaker: Microphone) -> None:
    window = Terminal([*PROGRAM, "play", *ids], memosync.environment | speaker.environment, columns=100)

    def plays(title: str, number: int) -> None:
        """Wait until that memo is the one that was begun last, and is drawn."""
        window.wait_for(
            lambda screen: f"“{title}”" in window.wrote.rpartition("playing ")[2] and f"{number}/3" in screen.text,
            title,
        )

    plays("First", 1)
    assert "[n] next" in window.screen.text
    window.type(" ")
    window.type("n")
    plays("Second", 2)
    window.type("n")
    plays("Third", 3)
    window.type(" b")
    plays("Second", 2)
    window.type(" b")
    plays("First", 1)
    window.type(" nn")
    plays("Third", 3)
    window.type(" n")  # there is none
    window.end()
    window.close()


def test_titles_are_named_as_they_were_typed_and_say_that_they_are_cut(memosync: Program, tmp_path: Path) -> None:
    (tmp_path / "sound.wav").write_bytes(sound.wav(sound.tone(0.2)))
    titles = [f"{letter} " + "ü" * length for letter, length in zip("ABCD", (58, 59, 3, 3), strict=True)]
    ids = [memosync("record", "--again", "-t", title, tmp_path / "sound.wav").out.strip() for title in titles]
    by_id = sorted(ids, reverse=True)
    first, second, third, _ = (titles[ids.index(memo_id)] for memo_id in by_id)

    said = memosync("edit", *by_id, "--tag", "work").err

    cut = {titles[1]: titles[1][:59] + "…"}
    named = ", ".join(f"“{cut.get(title, title)}”" for title in (first, second, third))
    assert said == f"memosync: {named} and 1 more: changed in the index and in the file\n"
    assert cut[titles[1]] in memosync("rm", ids[1]).err
    memosync("rm", *(memo_id for memo_id in ids if memo_id != ids[1]))
    assert memosync("list").err == "memosync: every memo is in the trash; memosync list --trash shows them\n"
