"""Words of a group's memos against all that befalls an index: no old word wins, and no new one is lost."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from proof import crash
from proof.mutants import words_without_stamps
from support.group import SECRET, SILENT, WHEN, edit, only, record, tell

from memosync import manifest
from memosync.doctor.rebuild import rebuild
from memosync.library import group
from memosync.library.adopt import open_library
from memosync.library.store import Library
from memosync.memo import clean_title
from memosync.stop import Stop

Befall = Callable[[Library, Path], None]  # with what was copied of the library before the last edit


def entered(root: Path) -> Library:
    library = open_library(root, SILENT)
    group.enter(library, SECRET)
    return library


def agreed(one: Library, other: Library) -> str:
    """Have both tell each other all, and give the title that both have then."""
    for _ in range(2):
        tell(one, other)
        tell(other, one)
    assert clean_title(only(one).title) == only(other).title  # what a person typed stands as it was typed
    assert manifest.news(group.state_of(one), group.state_of(other)).memos == {}
    return only(other).title


def snapshot(library: Library, before: Path) -> None:
    old = (before / "index.toml").read_bytes()
    os.replace(
        next(path for path in library.inner.glob("index.?.toml") if path.read_bytes() == old), library.index_file
    )


def backup_of_the_index(library: Library, before: Path) -> None:
    shutil.copy(before / "index.toml", library.index_file)


def backup_of_everything(library: Library, before: Path) -> None:
    shutil.rmtree(library.root)
    shutil.copytree(before, library.root)


def rebuilt_index(library: Library, before: Path) -> None:
    shutil.copy(before / "index.toml", library.inner / "index.1.toml")
    library.index_file.write_text("broken")
    rebuild(Library(library.root), now=WHEN, stop=Stop(), console=SILENT)


def nothing_but_memos(library: Library, before: Path) -> None:
    shutil.rmtree(library.inner)
    library.index_file.unlink()
    entered(library.root)


def another_time_zone(library: Library, before: Path) -> None:
    shutil.copy(before / "index.toml", library.index_file)
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()


@pytest.mark.parametrize(
    "befall",
    [snapshot, backup_of_the_index, backup_of_everything, rebuilt_index, nothing_but_memos, another_time_zone],
    ids=lambda befall: str(befall.__name__),
)
def test_what_is_put_back_brings_no_old_word_and_loses_no_new_one(
    tmp_path: Path, befall: Befall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    one, other = entered(tmp_path / "one"), entered(tmp_path / "other")
    memo_id = record(one, 1)
    edit(one, memo_id, title="Old", description="Old", tags=("old", "work"))
    agreed(one, other)
    shutil.copytree(one.root, tmp_path / "before")
    edit(one, memo_id, description="New", tags=("new", "work"))
    edit(other, only(other).id, title="New")
    agreed(one, other)

    befall(one, tmp_path / "before")
    one = open_library(one.root, SILENT)
    assert agreed(one, other) == "New"
    for library in (one, other):
        assert (only(library).description, set(only(library).tags)) == ("New", {"new", "work"})
    edit(one, only(one).id, title="Newest")
    assert agreed(one, other) == "Newest"

    monkeypatch.undo()
    time.tzset()


def die_anywhere(tmp_path: Path) -> None:
    """Merge and edit, and die at each write; AssertionError where words were not stamped as they are to be."""
    one, other = entered(tmp_path / "one"), entered(tmp_path / "other")
    memo_id = record(one, 1)
    agreed(one, other)
    edit(other, only(other).id, title="Later")
    theirs = group.state_of(other)
    crash.install()

    for after in itertools.count():
        copy = Library(tmp_path / f"copy{after}")
        shutil.copytree(one.root, copy.root)
        with crash.dying(after) as died:
            group.merge_in(copy, theirs, SILENT)
            edit(copy, memo_id, description="Mine")
        copy = open_library(copy.root, SILENT)
        # whatever it has now of what others say it says as they do, and not as what was typed here
        assert only(copy).title in ("Weekly standup", "Later")
        title = group.state_of(copy).memos[only(copy).uid or ""]["title"]
        assert title in (theirs.memos[only(other).uid or ""]["title"], ("Weekly standup", manifest.BIRTH))
        if not died:
            break
    assert after > 20
    assert (only(copy).title, only(copy).description) == ("Later", "Mine")


def test_an_edit_that_dies_anywhere_is_done_or_not_and_stamped_where_it_is(tmp_path: Path) -> None:
    die_anywhere(tmp_path)


def test_words_that_are_written_without_their_stamps_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("transaction", "_stamped"):
        monkeypatch.setattr(Library, name, getattr(Library, name))  # as they are afterwards
    words_without_stamps()

    with pytest.raises(AssertionError, match="assert Cell"):
        die_anywhere(tmp_path)


def test_two_processes_that_edit_at_once_lose_no_word(tmp_path: Path) -> None:
    one, other = entered(tmp_path / "one"), entered(tmp_path / "other")
    record(one, 1)
    agreed(one, other)
    many = 10
    program = f"""if True:
        import sys
        from pathlib import Path
        from support.group import edit, only
        from memosync.library.store import Library
        library = Library(Path(sys.argv[1]))
        sys.stdin.readline()
        for number in range({many}):
            memo = only(library)
            library.update({{memo.id: lambda memo: __import__("dataclasses").replace(
                memo, tags=(*memo.tags, f"{{sys.argv[2]}}{{number}}"))}})
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(one.root), name],
            cwd=Path(__file__).parent,
            stdin=subprocess.PIPE,
            text=True,
        )
        for name in ("a", "b")
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.close()
    assert [process.wait(60) for process in processes] == [0, 0]

    agreed(one, other)

    assert set(only(other).tags) == {"work", *(f"{name}{number}" for name in "ab" for number in range(many))}


def test_what_a_cell_cannot_hold_as_it_was_typed_is_no_news_for_ever(tmp_path: Path) -> None:
    one, other = entered(tmp_path / "one"), entered(tmp_path / "other")
    memo_id = record(one, 1)
    agreed(one, other)
    title = unicodedata.normalize("NFD", "Žluťoučký kůň " + "é" * 300)
    tags = tuple(unicodedata.normalize("NFD", f"Tág {number}") for number in range(60))
    edit(one, memo_id, title=title, tags=tags, description=unicodedata.normalize("NFD", "é\n" * 2000))

    first = agreed(one, other)
    said = group.state_of(one)
    assert agreed(one, other) == first

    assert group.state_of(one).memos == said.memos
    assert first == clean_title(title) != title
    assert set(only(other).tags) == set(map(clean_title, tags))
