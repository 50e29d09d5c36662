"""The command line as people type it: options on either side of the command, help, and what a wrong option gets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import sound
from support.program import PROGRAM, Program, commands
from support.terminal import Terminal

from memosync import __version__
from memosync.errors import UsageError

VERBS = sorted(commands().keys() - {"", "help"})


@pytest.fixture
def memo(memosync: Program, tmp_path: Path) -> str:
    (tmp_path / "sound.wav").write_bytes(sound.wav(sound.tone(1)))
    return memosync("record", tmp_path / "sound.wav", "-t", "Weekly standup").out.strip()


def test_options_of_the_program_hold_behind_the_command_too_and_there_they_win(
    memosync: Program, memo: str, tmp_path: Path
) -> None:
    own = memosync.library
    memosync.environment |= {"MEMOSYNC_LIBRARY": str(tmp_path / "empty"), "HOME": ""}

    assert memosync("list", "--library", own).lines[0].startswith(memo)
    assert memosync("--library", tmp_path / "nowhere", "show", "last", f"--library={own}").lines[0] == f"id\t{memo}"
    assert memosync("edit", memo, "-t", "--quiet", "--library", own).err != ""  # where it is a title
    assert memosync("edit", memo, "-t", "Standup", "--quiet", "--library", own).err == ""
    assert memosync("list", "-q").err == ""
    link = "magnet:?xt=urn:btih:" + "1" * 40
    refused = memosync("--network", "lan", "fetch", link, "--network", "loopback", "--library", own, code=4)
    assert "names nobody" in refused.err
    assert "moon" in memosync("list", "--network", "moon", code=UsageError.exit_code).err
    assert "--library is empty" in memosync("list", "--library", "", code=UsageError.exit_code).err
    assert not (tmp_path / "nowhere").exists()


def test_version_and_help_have_short_ways(memosync: Program) -> None:
    assert memosync("-V").out == memosync("--version").out == f"memosync {__version__}\n"
    assert memosync("help").out == memosync("--help").out == memosync().out
    assert memosync("help", "list").out == memosync("list", "--help").out
    assert "no such command 'lst'" in memosync("help", "lst", code=UsageError.exit_code).err


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_command_ends_with_where_else_options_stand_and_two_examples(
    memosync: Program, verb: str
) -> None:
    window = Terminal([*PROGRAM, verb, "--help"], memosync.environment, rows=60)
    *above, heading, first, second = window.end().splitlines()
    window.close()

    assert window.screen.wrapped == 0
    assert (heading, above[-1]) == ("Examples:", "")
    assert re.match("  everywhere: .*--library DIR.*--network.*--quiet", above[-2])
    command = commands()[verb]
    known = {name for option in command.params for name in option.opts}
    for example in (first, second):
        typed = re.search(rf"memosync {verb}\b(.*)", example)
        assert typed, example
        assert set(re.findall(r"(?<= )--?[a-z-]+", typed[1].partition(" | ")[0])) <= known


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--tag x list", "--tag belongs behind list"),
        ("--tag x", "--tag belongs behind a command: record, list, edit"),
        ("list --play", "list has no --play; fetch has"),
        ("list --version", "--version stands alone"),
        ("play -t Title last", "play has no -t; record, edit have"),
        ("list --sinse 7d", "no such option: --sinse (Possible options: --json, --since)"),
        ("list --zzzz", "no such option: --zzzz"),
        ("restore", "MEMO is missing"),
    ],
)
def test_a_wrong_option_says_where_it_belongs(memosync: Program, typed: str, said: str) -> None:
    result = memosync(*typed.split(), code=UsageError.exit_code)

    assert result.err.splitlines()[0] == f"memosync: error: {said}"
    assert "COMMAND --help" not in result.err
    assert result.out == ""


def test_an_option_that_lacks_its_value_names_the_help_of_its_command(memosync: Program) -> None:
    for words, name in (
        ("share last --link", "memosync share"),
        ("-q list --tag", "memosync list"),
        ("--library", "memosync"),
    ):
        refused = memosync(*words.split(), code=UsageError.exit_code).err
        assert refused.endswith(f"memosync: hint: {name} --help says what it takes\n")
