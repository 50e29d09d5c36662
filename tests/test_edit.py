"""edit: other words in the index, and in the file while nobody else can have it; the sound is never touched."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support import sound
from support.faults import at_every
from support.library import Listed, entries, only
from support.program import PROGRAM, Program
from support.terminal import Terminal
from support.waiting import wait_until

from memosync.audio import webm
from memosync.commands.edit import apply, typed
from memosync.commands.list_ import ListOptions, find_rows
from memosync.console import Console
from memosync.errors import NotFoundError, UsageError
from memosync.library.adopt import open_library
from memosync.library.store import Library
from memosync.magnet import InfoHash
from memosync.seeder.links import Links
from memosync.torrent import metainfo

WORDS = ["-t", "One", "-d", "two\nlines", "--tag", "work", "--tag", "home"]
IN_BOTH = "memosync: “One”: changed in the index and in the file\n"
INFOHASH = InfoHash("c12fe1c06bba254a9dc9f519b335aa7c1367a88a")


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with one memo, made once."""
    home = tmp_path_factory.mktemp("edit")
    memosync = Program(home / "Memos", {"HOME": str(home)})
    memosync("record", "-", *WORDS, stdin=sound.wav(sound.tone(1)))
    return memosync.library


@pytest.fixture
def one(memosync: Program, recorded: Path) -> Path:
    """The file of the only memo of a library."""
    shutil.copytree(recorded, memosync.library)
    return file_of(memosync)


@pytest.fixture
def library(memosync: Program) -> Library:
    """The library the program works on, from within."""
    return Library(memosync.library)


def file_of(memosync: Program) -> Path:
    (path,) = memosync.library.glob("*.webm")
    return path


def words(memo: Listed) -> tuple[str, str, list[str]]:
    return memo["title"], memo["description"], memo["tags"]


def state(root: Path) -> dict[str, tuple[int, bytes]]:
    """Give the time stamp and content of every file of a library."""
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in root.rglob("*") if path.is_file()}


def flags(memosync: Program) -> list[str]:
    return [line.split("\t")[4] for line in memosync("list").lines]


# -- the words, and where they are written


def test_index_and_file_say_the_new_words_and_the_sound_is_the_same(memosync: Program, one: Path) -> None:
    before, packets = only(memosync), sound.packets(one)

    result = memosync("edit", "last", "-t", "Größe", "-d", "what\nwas said", "--tag", "+new")

    after, tags = only(memosync), sound.probe(one)["tags"]
    assert (result.out, result.err) == (before["id"] + "\n", IN_BOTH)
    assert words(after) == ("Größe", "what\nwas said", ["work", "home", "new"])
    assert (tags["title"], tags["description"], tags["keywords"]) == ("Größe", "what\nwas said", "work,home,new")
    assert packets == sound.packets(one)
    same = ("id", "file", "recorded", "duration", "infohash", "path")
    assert [dict(before)[name] for name in same] == [dict(after)[name] for name in same]
    assert one.stat().st_size == after["size"] != before["size"]
    assert flags(memosync) == ["-"]


def test_what_a_lost_index_is_rebuilt_from_are_the_new_words(memosync: Program, one: Path) -> None:
    memosync("edit", "last", "-t", "Other", "-d", "", "--tag", "-work")
    for kept in [memosync.library / "index.toml", *(memosync.library / ".memosync").glob("index.*.toml")]:
        kept.unlink()

    assert words(only(memosync)) == ("Other", "", ["home"])


@pytest.mark.parametrize(
    ("options", "tags"),
    [
        (["--tag", "+a", "--tag", "b"], ["work", "home", "a", "b"]),
        (["--tag", "-work"], ["home"]),
        (["--tag=-WORK", "--tag=+Work"], ["home", "Work"]),
        (["--tag", "+work", "--tag", "-absent"], ["work", "home"]),
        (["--tag", "Work", "--tag", "HOME", "--tag", "home"], ["Work", "home"]),
        (["--tag", "++", "--tag", "+-x"], ["work", "home", "+", "-x"]),
    ],
    ids=" ".join,
)
def test_tags_are_added_and_taken_away_in_their_order(
    memosync: Program, one: Path, options: list[str], tags: list[str]
) -> None:
    memosync("edit", "last", *options)

    assert only(memosync)["tags"] == tags


WRONG_OPTIONS = {
    "empty title": ["-t", ""],
    "blank title": ["-t", " \n"],
    "empty tag": ["--tag", ""],
    "plus": ["--tag", "+"],
    "minus": ["--tag", "-"],
    "comma": ["--tag", "a,b"],
    "too many tags": [f"--tag={number}" for number in range(49)],
}


@pytest.mark.parametrize("options", [*WRONG_OPTIONS.values(), []], ids=[*WRONG_OPTIONS, "nothing"])
def test_what_cannot_be_is_exit_2_and_changes_nothing(memosync: Program, one: Path, options: list[str]) -> None:
    before = state(memosync.library)

    result = memosync("edit", "last", *(["-d", "new", *options] if options else []), code=UsageError.exit_code)

    assert result.out == ""
    assert re.fullmatch("memosync: error: [^\n]+\n(memosync: hint: [^\n]+\n)?", result.err)
    assert before == state(memosync.library)


def test_the_same_words_again_write_nothing(memosync: Program, one: Path) -> None:
    before = state(memosync.library)

    result = memosync("edit", "last", *WORDS[:4], "--tag", "work", "--tag", "-absent")

    assert result.err == "memosync: “One”: there is nothing to change\n"
    assert before == state(memosync.library)


def test_unknown_keys_survive_and_other_memos_are_left_alone(memosync: Program, one: Path) -> None:
    index = memosync.library / "index.toml"
    index.write_text("# mine\n\n" + index.read_text() + "mood = 'good'\n")
    memosync("record", "-", "-t", "Two", stdin=sound.wav(sound.tone(0.3)))
    first, second = tomllib.loads(index.read_text())["memo"]

    memosync("edit", first["id"], "-t", "Other")

    assert index.read_text().startswith("# mine\n")
    other, same = tomllib.loads(index.read_text())["memo"]
    assert same == second
    changed = [stamp.split()[0] for stamp in other.pop("stamps") if " 0:1: " not in stamp]
    assert changed == ["title"]  # a copy of the library may be in use, too
    assert other == {**first, "title": "Other", "size": other["size"], "born": other["born"]}


@pytest.mark.parametrize("which", ["00000000", "zz"])
def test_a_memo_that_is_not_there_is_exit_3(memosync: Program, one: Path, which: str) -> None:
    memosync("edit", which, "-t", "x", code=NotFoundError.exit_code)


# -- once a link may be out


def test_once_shared_the_file_stays_and_the_link_stays_good(memosync: Program, one: Path) -> None:
    (before,) = memosync("share", "--public", "last", "--no-seed").lines
    content, kept = one.read_bytes(), sorted((memosync.library / ".memosync/torrents").iterdir())

    result = memosync("edit", "last", "-t", "Other", "--tag", "-work", "-d", "")

    (after,) = memosync("share", "--public", "last", "--no-seed").lines
    assert (
        result.err
        == "memosync: “One”: changed here; whoever fetches it gets the words of before, so that its link stays good\n"
    )
    assert words(only(memosync)) == ("Other", "", ["home"])
    assert content == one.read_bytes()
    assert kept == sorted((memosync.library / ".memosync/torrents").iterdir())
    assert metainfo.fits(metainfo.read(kept[0].read_bytes()), one)
    assert after == before.replace("dn=One", "dn=Other")


def waits_for_a_lock(process: subprocess.Popen[Any]) -> bool:
    """Tell whether it stands in front of an flock (proc_locks(5))."""
    return bool(re.search(rf"-> FLOCK +ADVISORY +WRITE {process.pid} ", Path("/proc/locks").read_text()))


def test_an_edit_that_waited_for_a_share_leaves_the_file_alone(memosync: Program, library: Library, one: Path) -> None:
    content, memo = one.read_bytes(), library.index().memos[0]
    with library.lock(memo.id):
        edit = memosync.start("edit", memo.id, "-t", "Other")
        wait_until(lambda: waits_for_a_lock(edit), "the edit to meet the lock")
        library.update({memo.id: lambda memo: replace(memo, infohash=INFOHASH, shared=True)})  # as `share` does

    out, err = edit.communicate(timeout=60)

    assert (edit.returncode, out) == (0, f"{memo.id}\n".encode())
    assert b"gets the words of before" in err
    assert content == one.read_bytes()
    assert (only(memosync)["title"], only(memosync)["infohash"]) == ("Other", INFOHASH)


def test_an_edit_that_waited_for_its_memo_s_end_is_exit_3(memosync: Program, library: Library, one: Path) -> None:
    memo = library.index().memos[0]
    with library.lock(memo.id):
        edit = memosync.start("edit", memo.id, "-t", "Other")
        wait_until(lambda: waits_for_a_lock(edit), "the edit to meet the lock")
        library.update({memo.id: lambda memo: replace(memo, trashed=memo.recorded)})

    assert edit.wait(60) == NotFoundError.exit_code
    assert library.index().memos[0].title == "One"


def test_edits_and_a_share_at_once_leave_a_file_that_fits_its_link(memosync: Program, one: Path) -> None:
    titles = ["A", "A longer title", "Another title that is the longest"]
    everybody = [memosync.start("edit", "last", "-t", title) for title in titles]
    everybody.insert(1, memosync.start("share", "--public", "last", "--no-seed"))

    assert [process.wait(60) for process in everybody] == [0, 0, 0, 0]

    after = only(memosync)
    torrent = metainfo.read((memosync.library / f".memosync/torrents/{after['infohash']}.torrent").read_bytes())
    assert metainfo.fits(torrent, one)
    assert after["title"] in titles
    assert flags(memosync) == ["sp"]


# -- whatever dies


def assert_whole(memosync: Program, *titles: str) -> None:
    """Insist that nothing is damaged before the next command and after it, and that nothing half-made is left."""
    library = Library(memosync.library)
    every = library.index().memos
    assert all(library.is_intact(memo, library.path(memo)) and memo.title in titles for memo in every)

    open_library(memosync.library, Console(tell=pytest.fail, warn=pytest.fail))  # as every command does first

    assert every == library.index().memos
    for memo in every:
        assert (memo.size, memo.words) == (library.path(memo).stat().st_size, webm.probe(library.path(memo)).words)
    assert not list((memosync.library / ".memosync/recording").iterdir())


@pytest.mark.parametrize(
    ("call", "fault", "title"),
    [
        ("rename", "signal=KILL", "A title that is longer"),
        ("rename", "signal=KILL", "Two"),  # the file has as many bytes as before
        ("rename", "error=EIO", "A title that is longer"),
        ("rename", "error=EIO", "Two"),
        ("fsync", "error=EIO", "A title that is longer"),
    ],
    ids=["rename-killed", "rename-killed-as-long", "rename-refused", "rename-refused-as-long", "fsync-refused"],
)
def test_a_fault_at_any_step_damages_nothing_and_the_next_command_goes_on(
    memosync: Program, recorded: Path, call: str, fault: str, title: str
) -> None:
    packets = sound.packets(next(recorded.glob("*.webm")))
    for here in at_every(call, fault, memosync, recorded, "edit", "last", "-t", title):
        assert_whole(here, "One", title)
        assert packets == sound.packets(file_of(here))

    assert_whole(here, title)


def test_several_are_one_change_of_the_index_whatever_dies(memosync: Program, tmp_path: Path) -> None:
    for title in ("One", "Two", "Three"):
        memosync("record", "-", "-t", title, stdin=sound.wav(sound.tone(len(title) / 10)))
    ids = [entry["id"] for entry in entries(memosync)]

    for here in at_every("rename", "signal=KILL", memosync, memosync.library, "edit", *ids, "--tag", "x"):
        changed = [entry.get("tags") == ["x"] for entry in entries(here)]
        assert changed in ([False] * 3, [True] * 3)
        assert_whole(here, "One", "Two", "Three")

    assert all(changed)
    assert len(list((here.library / ".memosync").glob("index.?.toml"))) == 1  # what there was before it


def test_who_lists_meanwhile_sees_nothing_damaged(library: Library, memosync: Program, one: Path) -> None:
    memo, stop, seen = library.index().memos[0], threading.Event(), list[tuple[str, str]]()

    def look() -> None:
        while not stop.is_set():
            rows = find_rows(Library(library.root), ListOptions(), lambda _: Links())
            seen.extend((row.memo.title, row.flags) for row in rows)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for number in range(3000):
            apply(library, [memo], partial(replace, title="x" * (number % 7 + 1)), Console())
            if number >= 30 and len(set(seen)) > 3:
                break
    finally:
        stop.set()
        reader.join()

    assert len({title for title, _ in seen}) > 3
    assert {flag for _, flag in seen} == {"-"}


def test_what_is_rewritten_keeps_its_mode(memosync: Program, one: Path) -> None:
    index = memosync.library / "index.toml"
    one.chmod(0o640)
    index.chmod(0o600)

    memosync("edit", "last", "-t", "Other")

    assert webm.probe(one).words.title == "Other"
    assert (one.stat().st_mode & 0o777, index.stat().st_mode & 0o777) == (0o640, 0o600)


@pytest.mark.parametrize("how", ["cut", "gone", "garbage"])
def test_a_damaged_file_stays_as_it_is_and_is_still_called_so(memosync: Program, one: Path, how: str) -> None:
    content = {"cut": one.read_bytes()[:-2000], "gone": b"", "garbage": b"x" * 5000}[how]
    one.write_bytes(content) if content else one.unlink()

    result = memosync("edit", "last", "-t", "Other")

    assert "“One”: changed in the index alone: " in result.err
    assert (only(memosync)["title"], flags(memosync)) == ("Other", ["d"])
    assert content == (one.read_bytes() if one.exists() else b"")
    assert not list((memosync.library / ".memosync/recording").iterdir())


# -- in an editor


Edit = Callable[..., Terminal]


@pytest.fixture
def edit(memosync: Program, tmp_path: Path) -> Iterator[Edit]:
    """Run `edit last` in a terminal, with a shell script as the editor of the file "$1"."""
    terminals: list[Terminal] = []

    def start(script: str, variable: str = "EDITOR", **options: Any) -> Terminal:
        editor = tmp_path / "an editor"
        editor.write_text(f'test "$1" = --wait || exit 9\nshift\n{script}\n')
        environment = {"TMPDIR": str(tmp_path), variable: f"sh '{editor}' --wait"}
        command = [*PROGRAM, "edit", "last"]
        terminals.append(Terminal(command, {**memosync.environment, "EDITOR": "false", **environment}, 300, **options))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


def kept(tmp_path: Path) -> list[Path]:
    return sorted(tmp_path.glob("memosync-*"))


@pytest.mark.parametrize("variable", ["EDITOR", "VISUAL"])
def test_the_editor_changes_every_word(memosync: Program, one: Path, tmp_path: Path, edit: Edit, variable: str) -> None:
    text = "title = 'Other'\\ndescription = '''a\\nb'''\\ntags = ['x']\\nrecorded = 2026-01-02T03:04:05+06:00\\n"

    terminal = edit(f'stat -c "mode %a" "$1"; cat "$1"; printf "{text}" >"$1"', variable)

    screen = terminal.end()
    assert "mode 600" in screen
    assert 'title = "One"' in screen
    assert 'tags = [\n    "work",\n    "home",\n]' in screen
    after, tags = only(memosync), sound.probe(one)["tags"]
    assert words(after) == ("Other", "a\nb", ["x"])
    assert after["recorded"] == tags["date_recorded"] == "2026-01-02T03:04:05+06:00"
    assert kept(tmp_path) == []


def test_a_text_that_is_left_as_it_was_changes_nothing(
    memosync: Program, one: Path, tmp_path: Path, edit: Edit
) -> None:
    before = state(memosync.library)

    assert "nothing is changed" in edit(":").end()
    assert before == state(memosync.library)
    assert kept(tmp_path) == []


def test_standard_output_is_for_the_id_alone(memosync: Program, one: Path, edit: Edit) -> None:
    memo = only(memosync)["id"]

    terminal = edit('echo from the editor; sed -i s/One/Other/ "$1"', stdout=subprocess.PIPE)

    terminal.wait_for(lambda screen: "changed in the index" in screen.text, "what was changed")
    assert terminal.process.stdout
    assert terminal.process.stdout.read() == f"{memo}\n".encode()
    assert "from the editor" in terminal.screen.text


DATE = "recorded = 2026-01-02T03:04:05Z\n"
WRONG = [DATE, "title = 'x'", "title = ''\n" + DATE, "title = 1\n" + DATE, "title = 'x'\ntitel = 'x'\n" + DATE]
WRONG += ["title = 'x'\ntags = ['a,b']\n" + DATE, "title = 'x'\nrecorded = 2026-01-02"]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_a_memo_cannot_be_called_is_refused(library: Library, one: Path, wrong: str) -> None:
    (memo,) = library.index().memos
    assert typed("title = 'x'\n" + DATE, memo)(memo).title == "x"

    with pytest.raises(UsageError):
        typed(wrong, memo)


@pytest.mark.parametrize("wrong", ["title = ", "title = ''"])
def test_what_cannot_be_read_is_offered_again_with_what_was_typed(
    memosync: Program, one: Path, tmp_path: Path, edit: Edit, wrong: str
) -> None:
    second = "title = 'Other'\\nrecorded = 2026-01-02T03:04:05Z"
    (tmp_path / "wrong").write_text(wrong)
    typed, again = tmp_path / "typed", f'test -e {tmp_path}/typed && printf "{second}" >"$1" && exit'

    terminal = edit(f'cat "$1" >>{tmp_path}/was; {again}; cp {tmp_path}/wrong "$1"; cp "$1" {typed}')

    terminal.wait_for(lambda screen: "edit it again? [Y/n]" in screen.text, "the question")
    assert "memosync: error: " in terminal.screen.text
    terminal.type("\n")
    terminal.end()
    assert (tmp_path / "was").read_text().endswith(wrong)
    assert words(only(memosync)) == ("Other", "", [])
    assert kept(tmp_path) == []


@pytest.mark.parametrize("no", ["n\n", "\x04"], ids=["no", "end of input"])
def test_what_was_typed_is_kept_when_it_is_not_edited_again(
    memosync: Program, one: Path, tmp_path: Path, edit: Edit, no: str
) -> None:
    before = state(memosync.library)
    terminal = edit('echo "an hour of work =" >"$1"')
    terminal.wait_for(lambda screen: "edit it again?" in screen.text, "the question")

    terminal.type(no)

    screen = terminal.end(UsageError.exit_code)
    (path,) = kept(tmp_path)
    assert str(path) in screen
    assert path.read_text() == "an hour of work =\n"
    assert before == state(memosync.library)


@pytest.mark.parametrize("script", ["exit 3", 'rm "$1"; exit 3'])
def test_an_editor_that_fails_is_exit_2(memosync: Program, one: Path, tmp_path: Path, edit: Edit, script: str) -> None:
    assert "failed (3)" in edit(script).end(UsageError.exit_code)
    assert only(memosync)["title"] == "One"
    assert kept(tmp_path) == []


def test_ctrl_c_belongs_to_the_editor(memosync: Program, one: Path, edit: Edit) -> None:
    terminal = edit("trap 'sed -i s/One/Other/ \"$1\"; exit 0' INT; echo ready; read line")
    terminal.wait_for(lambda screen: "ready" in screen.text, "the editor")

    terminal.type("\x03")

    terminal.end()
    assert only(memosync)["title"] == "Other"


def test_what_others_changed_while_the_editor_was_open_is_kept(memosync: Program, one: Path, edit: Edit) -> None:
    terminal = edit('echo ready; read line; sed -i s/One/Other/ "$1"')
    terminal.wait_for(lambda screen: "ready" in screen.text, "the editor")

    memosync("edit", "last", "-d", "meanwhile", "--tag", "-work")  # nothing is locked while a person thinks
    terminal.type("\n")

    terminal.end()
    assert words(only(memosync)) == ("Other", "meanwhile", ["home"])
