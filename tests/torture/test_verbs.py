"""Every verb in every surrounding: it may refuse, with a code of ours, but there is never a traceback.

The library is one to stumble over: behind a symbolic link, in a directory of spaces, quotes, a newline and an emoji.
"""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import sound
from support.disk import read_only
from support.long import more
from support.program import PROGRAM, Program, commands
from support.terminal import Terminal

from memosync.errors import MemosyncError

SAMPLES = {  # what each verb is given; SOURCE, LINK, TRASHED and HERE stand for what they say
    "record": ["SOURCE", "-t", "Новый 🎙", "--again"],
    "list": [],
    "share": ["last", "--no-seed", "--qr"],
    "fetch": ["LINK"],
    "seed": ["--status"],
    "sync": [],
    "play": ["last", "--from", "0.9"],
    "show": ["last"],
    "edit": ["last", "-t", "Another 🎙"],
    "export": ["last", "-f", "wav"],
    "rm": ["last"],
    "check": [],
    "restore": ["TRASHED"],
}
READING = {"list", "show", "export"}  # verbs that do their work where nothing can be written
CODES = {0, 2} | {error.exit_code for error in MemosyncError.__subclasses__()} - {MemosyncError.exit_code}
COLOUR = re.compile(r"\x1b\[[0-9;]*(?<![0-9])(3[0-8]|4[0-8]|9[0-7])[;m]")

Run = Callable[[Program, list[str]], tuple[int, str]]


def shell(line: str, *before: str) -> Run:
    """Run it by a line of the shell, in which it is `"$@"`."""

    def run(program: Program, arguments: list[str]) -> tuple[int, str]:
        command = ["bash", "-c", f"set -o pipefail; {line}", "sh", *before, *PROGRAM, *arguments]
        done = subprocess.run(
            command, env=program.environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60
        )
        return done.returncode, (done.stdout + done.stderr).decode(errors="surrogateescape")

    return run


def on_a_read_only_disk(program: Program, arguments: list[str]) -> tuple[int, str]:
    """Run it where the library cannot be written."""
    code, text = shell('"$@"', *read_only(program.library))(program, arguments)
    assert code == 0 or arguments[0] not in READING, text
    return code, text


def terminal(columns: int, *variables: str) -> Run:
    """Run it in a terminal."""

    def run(program: Program, arguments: list[str]) -> tuple[int, str]:
        window = Terminal(["env", *variables, *PROGRAM, *arguments], program.environment, columns=columns)
        window.end(None)
        window.close()
        assert "TERM=dumb" not in variables or "\x1b" not in window.wrote
        assert "NO_COLOR=1" not in variables or not COLOUR.search(window.wrote)
        return window.process.returncode, window.wrote

    return run


READ_ONLY = "a library that is read-only"
SURROUNDINGS: dict[str, Run] = {
    "standard output closed, nothing to read": shell('"$@" >&-'),
    "standard error and input closed": shell('"$@" 2>&- <&-'),
    "a reader of one line": shell('"$@" | head -1'),
    "a reader that has gone": shell('"$@" | true'),
    "another reader that has gone": shell('"$@" 2>&1 >/dev/null | true'),
    "a full device": shell('"$@" >/dev/full'),
    "no home and a plain locale": shell('env -u HOME LANG=C LC_ALL=C "$@"'),
    READ_ONLY: on_a_read_only_disk,
    "a narrow terminal": terminal(30),
    "a dumb terminal of 30 columns": terminal(30, "TERM=dumb"),
    "a wide terminal without colour": terminal(300, "NO_COLOR=1"),
}


def combinations() -> Iterator[Any]:
    """Give every verb in every surrounding; the short run has each of both a few times, a fifth of all."""
    for (row, verb), (column, surrounding) in itertools.product(enumerate(SAMPLES), enumerate(SURROUNDINGS)):
        stays = (row + column) % 5 == 0 or (verb in READING and surrounding == READ_ONLY)
        yield (verb, surrounding) if stays else more((verb, surrounding))[0]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A library with a memo that is shared and one in the trash, and what stands for what in the arguments."""
    home = tmp_path_factory.mktemp("template")
    source = home / "source.wav"
    source.write_bytes(sound.wav(sound.tone(1)))
    program = Program(home / "Memos", {"HOME": str(home)})
    program("record", source, "-t", "Über “alles”\u202e 🎙", "-d", "one\ntwo", "--tag", "work")
    names = {"SOURCE": str(source), "LINK": program("share", "last", "--no-seed").out.strip()}
    names["TRASHED"] = program("record", "--again", source).out.strip()
    program("rm", names["TRASHED"])
    return program.library, names


def test_every_verb_has_something_to_do() -> None:
    assert SAMPLES.keys() == commands().keys() - {"", "help"}


@pytest.mark.parametrize(("verb", "surrounding"), list(combinations()))
def test_no_surrounding_gets_a_traceback_out_of_a_verb(
    template: tuple[Path, dict[str, str]], tmp_path: Path, verb: str, surrounding: str
) -> None:
    place = tmp_path / "two words '\"$(x)`\n🎙"
    place.mkdir()
    shutil.copytree(template[0], place / "Memos")
    (tmp_path / "linked").symlink_to(place / "Memos")
    names = {**template[1], "HERE": str(tmp_path)}
    program = Program(tmp_path / "linked", {"HOME": str(tmp_path)})

    code, text = SURROUNDINGS[surrounding](program, [verb, *(names.get(word, word) for word in SAMPLES[verb])])

    assert code in CODES, text
    assert "Traceback" not in text
    assert "Error" not in text
