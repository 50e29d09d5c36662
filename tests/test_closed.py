"""Libraries that cannot be written: whatever is to change something says so in one line, and nothing else."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from support import sound
from support.disk import POWERLESS, SmallDisk, read_only
from support.library import entries, state
from support.program import Program

from memosync.errors import LibraryError, SeederError

NEEDS_ROOM = [
    "record FILE -t Another",
    "record - -t Another",
    "share ONE",
    "share ONE --public --no-seed",
    "edit ONE -t Another",
    "sync --invite device",
]
CHANGES = [
    *NEEDS_ROOM,
    "share ONE --foreground",
    "share --new SHARED",
    "share --stop SHARED",
    "edit SHARED --tag x",
    "rm ONE",
    "rm --purge --force ONE",
    "restore GONE",
    "record --detach",
    "seed --detach",
    f"fetch magnet:?xt=urn:btih:{40 * 'b'}&x.pe=127.0.0.1:9",
]


def assert_each_is_one_error(memosync: Program, commands: list[str], file: Path) -> None:
    """Run every command, and insist on one line of what is wrong, with one of what to do, and that no id is bare."""
    ids = {name: entry["id"] for name, entry in zip(("ONE", "SHARED", "GONE"), entries(memosync), strict=True)}
    before = state(memosync.library)
    said = {}
    for command in commands:
        words = [ids.get(word, str(file) if word == "FILE" else word) for word in command.split()]
        result = memosync.run(*words, stdin=file.read_bytes())
        expected = SeederError.exit_code if command.startswith("seed") else LibraryError.exit_code
        one_error = re.fullmatch("memosync: error: [^\n]+\nmemosync: hint: [^\n]+\n", result.err)
        bare = [word for word in re.findall(r"\b[0-9a-hjkmnp-tv-z]{8}\b(?! “)", result.err) if word in ids.values()]
        if not one_error or bare or result.out or result.code != expected or "cannot lock" in result.err:
            said[command] = result

    assert said == {}
    assert before == state(memosync.library)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a library with three memos, one of them shared, one thrown away."""
    home = tmp_path_factory.mktemp("template")
    memosync = Program(home / "Memos", {"HOME": str(home)})
    for number, title in enumerate(("One", "Shared", "Gone")):
        memosync("record", "-", "-t", title, stdin=sound.wav(sound.tone(0.5 + number / 10)))
    memosync("share", entries(memosync)[1]["id"], "--no-seed")
    memosync("rm", "last")
    return memosync.library


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Somebody's recording that is in no library."""
    (tmp_path / "another.wav").write_bytes(sound.wav(sound.tone(1)))
    return tmp_path / "another.wav"


@pytest.fixture
def three(memosync: Program, template: Path, file: Path) -> Path:
    """Copy the library into ours; give that file."""
    shutil.copytree(template, memosync.library)
    return file


def test_on_a_disk_that_is_mounted_read_only(memosync: Program, three: Path) -> None:
    memosync.under = read_only(memosync.library)

    assert_each_is_one_error(memosync, CHANGES, three)
    said = memosync("edit", "last", "-t", "Another", code=LibraryError.exit_code).err
    assert "hint: have the disk mounted for writing, or give another --library" in said  # rights are no help


def test_where_one_has_no_right_to_write(memosync: Program, three: Path) -> None:
    places = [memosync.library, *memosync.library.rglob("*")]
    for path in places:
        path.chmod(0o555 if path.is_dir() else 0o444)
    memosync.under = POWERLESS
    try:
        assert_each_is_one_error(memosync, ["record FILE", "share ONE", "seed --detach"], three)
    finally:
        for path in places:
            path.chmod(0o755)


def test_on_a_full_disk(memosync: Program, disk: SmallDisk, template: Path, file: Path) -> None:
    shutil.copytree(template, memosync.library)
    disk.fill(0)

    assert_each_is_one_error(memosync, NEEDS_ROOM, file)


def test_a_check_says_once_that_it_cannot_be_written(memosync: Program, three: Path) -> None:
    memosync.under = read_only(memosync.library)

    result = memosync("check")

    assert (result.err, result.out.count("cannot be written")) == ("", 1)
