"""The promises of a library, one test each: whatever dies at whatever moment, no memo is lost and none is doubled."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support import sound
from support.disk import NAMESPACE, POWERLESS, SmallDisk
from support.group import record as put
from support.library import WHEN, add, make_memo, memos, state
from support.program import PROGRAM, Ended, Program
from support.waiting import wait_until

from memosync import files, index
from memosync.console import Console
from memosync.errors import LibraryError, NotFoundError
from memosync.index import Index
from memosync.library.recover import finish_recording
from memosync.library.store import Library
from memosync.magnet import InfoHash
from memosync.memo import MemoId

SECOND = sound.wav(sound.tone(1))
INFOHASH = InfoHash("c12fe1c06bba254a9dc9f519b335aa7c1367a88a")


@pytest.fixture
def library(memosync: Program) -> Library:
    """The library the program works on, from within."""
    return Library(memosync.library)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with one memo, made once."""
    home = tmp_path_factory.mktemp("home")
    memosync = Program(home / "Memos", {"HOME": str(home)})
    memosync("record", "-", "-t", "One", "-d", "two\nlines", "--tag", "work", stdin=SECOND)
    return memosync.library


@pytest.fixture
def one(memosync: Program, recorded: Path) -> Path:
    """The file of the only memo of a library."""
    shutil.copytree(recorded, memosync.library)
    (path,) = memosync.library.glob("*.webm")
    return path


def read(path: Path) -> list[str]:
    """Give the titles that stand in an index."""
    return [entry["title"] for entry in tomllib.loads(path.read_text())["memo"]]


# -- data before index


def test_a_kill_at_any_step_of_saving_loses_nothing_and_doubles_nothing(
    memosync: Program, recorded: Path, tmp_path: Path
) -> None:
    changes = "rename,link,unlink"  # the system calls that change a directory
    for step in range(1, 12):
        here = memosync.on(tmp_path / str(step) / "Memos")
        shutil.copytree(recorded, here.library)
        trace, kill = here.library.with_name("trace"), f"inject={changes}:signal=KILL:when={step}"
        strace = ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={changes}", "-e", kill]
        record = [*strace, *PROGRAM, "record", "-", "-t", "Two"]
        subprocess.run(record, input=SECOND, env=here.environment, capture_output=True, timeout=120)
        killed = "killed by SIGKILL" in trace.read_text()

        listed = memos(here)

        assert sorted(entry["title"] for entry in listed) == ["One", "Two"]
        for entry in listed:
            assert Path(entry["path"]).stat().st_size == entry["size"]
            assert entry["duration"] == pytest.approx(1, abs=0.05)
        assert len(list(here.library.glob("*.webm"))) == 2
        assert not list((here.library / ".memosync" / "recording").iterdir())
        if not killed:
            break

    assert not killed
    assert step > 4


def test_a_file_is_in_place_before_the_index_names_it(library: Library, tmp_path: Path) -> None:
    staged = tmp_path / "staged"
    staged.write_bytes(b"x")
    new, seen = make_memo(1), list[bool]()

    def spy(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and str(arguments[1]) == str(library.root / "index.toml") and not seen:
            seen.append((library.root / new.file).exists())

    sys.addaudithook(spy)
    library.add(new, staged)

    assert seen == [True]


def test_an_orphan_is_adopted_with_its_words_and_not_touched(memosync: Program, one: Path) -> None:
    before = one.read_bytes()
    (entry,) = map(dict, memos(memosync))
    (memosync.library / "index.toml").unlink()

    first, second = memosync("list", "--json"), memosync("list")

    (adopted,) = map(json.loads, first.lines)
    assert one.name in first.err
    assert second.err == ""
    same = ("id", "file", "title", "description", "tags", "recorded", "size")
    assert [entry[name] for name in same] == [adopted[name] for name in same]
    assert adopted["duration"] == pytest.approx(1, abs=0.05)
    assert adopted["infohash"]  # frozen from now on: it may have been shared before the index was lost
    assert before == one.read_bytes()


def test_only_names_of_our_pattern_are_adopted(memosync: Program, one: Path) -> None:
    names = [
        "talk.webm",
        "abcdefgh.webm",
        "2026-08-25-talk-abcdefgi.webm",
        "2026-08-25-abcdefgh.webm.part",
        "index.1.toml",
    ]
    for name in [*names, ".2026-08-25-abcdefgh.webm"]:
        shutil.copy(one, memosync.library / name)
    before = state(memosync.library)

    assert len(memos(memosync)) == 1
    assert before == state(memosync.library)


def test_what_only_has_our_name_is_told_and_left(memosync: Program, one: Path) -> None:
    for name, data in {
        "a-abcdefgh": b"",
        "b-abcdefgj": b"#EXTM3U\nhttp://127.0.0.1:9/\n",
        "c-abcdefgk": SECOND,
    }.items():
        (memosync.library / f"2026-08-25-{name}.webm").write_bytes(data)
    (memosync.library / "2026-08-25-abcdefgm.webm").mkdir()
    (memosync.library / "2026-08-25-abcdefgn.webm").symlink_to("/dev/zero")
    before = state(memosync.library)

    result = memosync("list")

    assert len(result.lines) == 1
    assert re.findall(r"^memosync: warning: \S+", result.err, re.MULTILINE)
    assert before == state(memosync.library)


@pytest.mark.parametrize(
    "text", ["version = 3\n", "version = 1\n[[memo]]\n", "\xff\xfe", ""], ids=["newer", "broken", "latin", "empty"]
)
def test_nothing_is_adopted_finished_or_written_while_the_index_cannot_be_trusted(
    memosync: Program, one: Path, text: str
) -> None:
    (memosync.library / "index.toml").write_bytes(text.encode("latin-1"))
    shutil.copy(one, memosync.library / "2026-08-25-abcdefgh.webm")
    shutil.copy(one, memosync.library / ".memosync" / "recording" / "abcdefgj.webm.part")
    before = state(memosync.library)

    for arguments in (["list"], ["record", "-"]):
        result = memosync(*arguments, stdin=SECOND, code=LibraryError.exit_code)
        assert result.out == ""
        assert re.match(r"memosync: error: .*index\.toml", result.err)

    assert before == state(memosync.library)


# -- to the trash the other way round


def test_a_trashed_memo_may_have_its_file_in_either_place(memosync: Program, library: Library, one: Path) -> None:
    (entry,) = library.index().memos
    library.transaction(lambda index: index.with_memo(replace(entry, trashed=WHEN)))
    (trashed,) = library.index().memos

    assert library.path(trashed) == one
    assert memosync("list").lines == []  # and nothing adopts it anew
    (library.inner / "trash").mkdir()
    one.rename(library.inner / "trash" / one.name)
    assert library.path(trashed) == library.inner / "trash" / one.name
    memosync("share", entry.id, "--no-seed", code=NotFoundError.exit_code)


# -- replace, never edit


def test_the_index_is_replaced_and_who_reads_the_old_one_reads_all_of_it(library: Library) -> None:
    library.transaction(add(1))
    path = library.root / "index.toml"
    before = path.read_bytes()
    with path.open("rb") as reader:
        library.transaction(add(2))

        assert before == reader.read()
    assert before != path.read_bytes()
    assert not list(library.root.glob(".*.tmp"))


def test_a_reader_always_sees_a_whole_index(library: Library) -> None:
    library.transaction(add(0))
    stop, sizes = threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            sizes.append(len(Library(library.root).index().memos))

    with ThreadPoolExecutor() as pool:
        reader = pool.submit(look)
        try:
            wait_until(lambda: sizes or reader.done(), "it to be read")
            for number in range(1, 40):
                library.transaction(add(number))
            wait_until(lambda: sizes[-1] == 40 or reader.done(), "the last one to be read")
        finally:
            stop.set()
        reader.result()

    assert len(set(sizes)) > 1
    assert sizes == sorted(sizes)


def test_a_change_that_fails_leaves_the_index_and_no_rest(library: Library) -> None:
    library.transaction(add(1))
    before = state(library.root)

    def fail(index: Index) -> Index:
        raise NotFoundError("gone")

    with pytest.raises(NotFoundError):
        library.transaction(fail)

    assert before == state(library.root)


def test_an_index_is_always_newer_than_the_one_before_whatever_the_clock_says(library: Library) -> None:
    library.transaction(add(1))
    tomorrow = (datetime.now() + timedelta(days=1)).timestamp()
    os.utime(library.root / "index.toml", (tomorrow, tomorrow))
    before = library.index_time()

    library.transaction(add(2))

    assert library.index_time() > before


def test_time_stamps_beyond_the_calendar_are_its_edge(memosync: Program, disk: SmallDisk, one: Path) -> None:
    undated = sound.convert(one, disk.seen / "undated.webm", "-c", "copy", "-map_metadata", "-1")
    orphan = undated.rename(one.with_name("2026-08-25-abcdefgh.webm"))
    source = disk.seen / "sound.wav"
    source.write_bytes(SECOND)
    for path, stamp in ((orphan, 2**40), (source, -(2**40)), (memosync.library / "index.toml", 2**40)):
        os.utime(path, (stamp, stamp))
        assert path.stat().st_mtime == stamp

    said = memosync("record", disk.place / "sound.wav").err
    found = memosync("check").out

    assert "the date of its time stamp, 0001-01-01, cannot be relied on; the time is that of now" in said
    assert "index.1.toml is of 9999-12-31" in found
    assert {"9999", str(datetime.now().year)} == {memo["recorded"][:4] for memo in memos(memosync)}


# -- snapshots


def test_the_last_five_indexes_are_kept(library: Library) -> None:
    for number in range(8):
        library.transaction(add(number))

    kept = [len(read(library.inner / f"index.{number}.toml")) for number in range(1, 6)]

    assert kept == [7, 6, 5, 4, 3]
    assert not (library.inner / "index.6.toml").exists()


def test_a_change_that_changes_nothing_takes_no_snapshot(library: Library) -> None:
    for number in range(3):
        library.transaction(add(number))
    before = state(library.root)

    for _ in range(9):
        library.transaction(add(1))

    assert before == state(library.root)


def test_the_last_index_of_each_day_is_kept_for_a_week(library: Library) -> None:
    now = datetime.now()
    for day in range(10):
        for hour in (10, 20):
            library.transaction(add(2 * day + hour // 20))
            then = (now.replace(hour=hour) - timedelta(days=20 - day)).timestamp()
            os.utime(library.root / "index.toml", (then, then))
    library.transaction(add(99))

    kept = {path.name[6:16]: len(read(path)) for path in library.inner.glob("index.????-??-??.toml")}

    assert kept == {f"{now - timedelta(days=20 - day):%Y-%m-%d}": 2 * day + 2 for day in range(3, 10)}


# -- what a person wrote


def test_unknown_keys_and_the_comments_at_the_top_survive_every_verb(memosync: Program, one: Path) -> None:
    path = memosync.library / "index.toml"
    path.write_text(
        "# mine\n#\n# and mine\n\n" + path.read_text() + "mood = 'good'\n[memo.stars]\nn = 5\n[colours]\na = [1]\n"
    )

    memosync("share", "--public", "last", "--no-seed")

    assert path.read_text().startswith("# mine\n#\n# and mine\n\n")
    table = tomllib.loads(path.read_text())
    assert table["colours"] == {"a": [1]}
    assert (table["memo"][0]["mood"], table["memo"][0]["stars"]) == ("good", {"n": 5})
    assert dict(memos(memosync)[0])["mood"] == "good"


def test_who_edits_the_index_by_hand_is_believed(memosync: Program, one: Path) -> None:
    path = memosync.library / "index.toml"
    path.write_text(path.read_text().replace('"One"', '"Another"'))

    assert [entry["title"] for entry in memos(memosync)] == ["Another"]


def type_by_hand(library: Library, before: str, after: str) -> None:
    path = library.index_file
    path.write_text(path.read_text().replace(f'"{before}"', f'"{after}"'))


def titles(library: Library) -> list[str]:
    return [memo.title for memo in Library(library.root).index().memos]


@pytest.mark.parametrize("times", [1, 3])
def test_what_is_typed_into_the_index_while_it_is_changed_stays(library: Library, times: int) -> None:
    put(library, 1, "One")
    put(library, 2, "Another")
    typed = iter([("One", "First"), ("First", "Second"), ("Second", "Third")][:times])

    def edit(index: Index) -> Index:
        if words := next(typed, None):  # an editor, which knows no lock
            type_by_hand(library, *words)
        return replace(index, memos=tuple(replace(memo, description="changed") for memo in index.memos))

    changed = library.transaction(edit)

    assert sorted(titles(library)) == sorted(["Another", "First" if times == 1 else "Third"])
    assert {memo.description for memo in changed.memos} == {"changed"}
    assert Library(library.root).index() == changed


def test_what_is_adopted_while_something_is_typed_is_adopted_once(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(library, 1, "One")
    (one,) = library.index().memos
    found = replace(one, id=MemoId("abcdefgh"), file="another-abcdefgh.webm")
    keep = library.snapshots.keep

    def keep_and_type(path: Path) -> None:
        keep(path)
        type_by_hand(library, "One", "First")

    monkeypatch.setattr(library.snapshots, "keep", keep_and_type)

    assert library.add_entries([found]) == [found]
    assert sorted(titles(library)) == ["First", "One"]


def test_what_is_typed_into_the_index_just_after_it_was_changed_stays(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    memo_id = put(library, 1, "One")
    sync = files.sync_directory

    def sync_directory(path: Path) -> None:
        if path == library.root:
            type_by_hand(library, "Two", "2nd")
        sync(path)

    monkeypatch.setattr(files, "sync_directory", sync_directory)
    library.update({memo_id: lambda memo: replace(memo, title="Two")})
    monkeypatch.undo()
    library.update({memo_id: lambda memo: replace(memo, description="changed")})

    assert titles(library) == ["2nd"]


# -- locks


def test_a_lock_dies_with_its_holder(library: Library, ended: Ended) -> None:
    library.prepare()
    name = MemoId("abcdefgh")
    script = (
        "import sys, time; from pathlib import Path; from memosync.library.store import Library\n"
        f"with Library(Path(sys.argv[1])).lock({str(name)!r}): print('held', flush=True); time.sleep(60)"
    )
    holder = ended(subprocess.Popen([sys.executable, "-c", script, library.root], stdout=subprocess.PIPE, text=True))
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    with library.lock(name, wait=False) as held:
        assert not held

    holder.kill()
    holder.communicate()

    with library.lock(name, wait=False) as held:
        assert held
    assert not list((library.inner / "locks").iterdir())


def test_who_asks_whether_a_lock_is_held_keeps_nobody_from_it(tmp_path: Path, ended: Ended) -> None:
    path = tmp_path / "seeder.lock"
    path.touch()
    script = (
        "import sys; from pathlib import Path; from memosync import files; print('asking', flush=True)\n"
        "while True: files.is_locked(Path(sys.argv[1]))"
    )
    asker = ended(subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE, text=True))
    assert asker.stdout
    assert asker.stdout.readline() == "asking\n"

    for _ in range(10_000):
        lock = files.acquire(path, wait=False)
        assert lock
        lock.release(remove=False)

    assert asker.poll() is None


def test_many_changes_at_once_lose_nothing_of_each_other(library: Library, ended: Ended) -> None:
    script = (
        "import sys; from pathlib import Path; from memosync.library.store import Library\n"
        "from support.library import add\n"
        "for number in range(*map(int, sys.argv[2:])): Library(Path(sys.argv[1])).transaction(add(number))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ranges = [(begin, begin + 25) for begin in (0, 25, 50)]
    commands = [[sys.executable, "-c", script, str(library.root), *map(str, numbers)] for numbers in ranges]
    processes = [ended(subprocess.Popen(command, env=environment)) for command in commands]

    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert len(library.index().memos) == 75


def test_two_recordings_at_once_are_both_saved(memosync: Program) -> None:
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(memosync, "record", "-", "-t", f"n{number}", stdin=SECOND) for number in range(2)]
        listed = pool.submit(memosync, "list").result()
        ids = {run.result().out.strip() for run in runs}

    assert ids == {entry["id"] for entry in memos(memosync)}
    assert not re.search("warning|error|adopted|recovered", listed.err)


# -- a recording in progress is a locked .part


def test_a_recording_that_somebody_makes_is_left_alone_and_finished_after_his_death(
    memosync: Program, library: Library, one: Path
) -> None:
    memo_id = MemoId("abcdefgh")
    part = library.part(memo_id)
    shutil.copy(one, part)
    with library.lock(memo_id):
        assert memosync("list").err == ""
        assert part.exists()

    result = memosync("list")

    assert memo_id in result.out
    assert f"recovered the interrupted recording {memo_id}" in result.err
    assert not part.exists()
    recovered = next(entry for entry in memos(memosync) if entry["id"] == memo_id)
    assert (recovered["title"], recovered["tags"], recovered["description"]) == ("One", ["work"], "two\nlines")
    assert sound.probe(Path(recovered["path"]))["tags"]["title"] == "One"


def test_who_finishes_a_recording_says_how_far_it_is(library: Library) -> None:
    library.prepare()
    sound.noise(library.part(MemoId("abcdefgh")), 150, "-c:a", "libopus", "-b:a", "6k", "-f", "webm")
    said: list[tuple[str, float]] = []

    finish_recording(library, MemoId("abcdefgh"), Console(progress=lambda of, fraction: said.append((of, fraction))))

    assert {of for of, _ in said} == {"of the recording saved"}
    fractions = [round(fraction, 1) for _, fraction in said]
    assert fractions == [0, 0.4, 0.8, 1]


def test_two_verbs_that_find_one_recording_finish_it_once(memosync: Program, library: Library, one: Path) -> None:
    shutil.copy(one, library.part(MemoId("abcdefgh")))

    with ThreadPoolExecutor(3) as pool:
        results = [run.result() for run in [pool.submit(memosync, "list") for _ in range(3)]]

    assert sum("recovered" in result.err for result in results) == 1
    assert not any("warning" in result.err for result in results)
    assert len(memos(memosync)) == 2


def test_adding_the_same_id_twice_is_adding_it_once(memosync: Program, library: Library, one: Path) -> None:
    (entry,) = library.index().memos
    library.transaction(lambda index: index.with_memo(replace(entry, title="Edited", shared=True, infohash=INFOHASH)))
    shutil.copy(one, library.part(entry.id))  # its process died when the index was written, the `.part` not yet gone
    before = (library.root / "index.toml").read_bytes(), one.read_bytes()

    assert len(memos(memosync)) == 1
    assert before == ((library.root / "index.toml").read_bytes(), one.read_bytes())
    assert not library.part(entry.id).exists()


def test_a_recording_that_cannot_be_read_is_kept_and_told_once(memosync: Program, library: Library, one: Path) -> None:
    library.part(MemoId("abcdefgh")).write_bytes(b"\x1a\x45\xdf\xa3" + bytes(5000))

    first, second = memosync("list"), memosync("list")

    (line,) = first.err.splitlines()
    (kept,) = map(Path, re.findall(r"/\S*abcdefgh\S*", line))
    assert kept.read_bytes()[:4] == b"\x1a\x45\xdf\xa3"
    assert second.err == ""


def test_half_made_files_of_the_dead_are_cleared_and_those_of_the_living_are_not(
    memosync: Program, library: Library, one: Path
) -> None:
    folder = library.inner / "recording"
    for name in ("abcdefgh.webm.import", "abcdefgj.webm", "abcdefgk.webm.import"):
        shutil.copy(one, folder / name)

    with library.lock(MemoId("abcdefgk")):
        assert len(memos(memosync)) == 1

    assert [path.name for path in folder.iterdir()] == ["abcdefgk.webm.import"]


def test_an_empty_recording_leaves_no_memo(memosync: Program, library: Library, one: Path) -> None:
    library.part(MemoId("abcdefgh")).touch()

    memosync("list")

    assert len(memos(memosync)) == 1
    assert memosync("list").err == ""


# -- where a library may be


def test_looking_makes_no_library(memosync: Program) -> None:
    memosync("list")
    memosync("--version")
    memosync("record", "--help")
    memosync("share", "x", code=NotFoundError.exit_code)

    assert not memosync.library.exists()


@pytest.mark.parametrize("name", ["two words", "'\"$(touch x)`\\;|&", "a\nb", "-r 🎙 Méмо"])
def test_a_library_may_have_any_name(memosync: Program, tmp_path: Path, name: str) -> None:
    here = memosync.on(tmp_path / name / name)

    memo_id = here("record", "-", stdin=SECOND).out.strip()

    (entry,) = memos(here)
    assert (entry["id"], Path(entry["path"]).parent) == (memo_id, here.library)
    assert not Path("x").exists()


def test_a_library_may_be_a_symbolic_link(memosync: Program, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    here = memosync.on(tmp_path / "link")

    here("record", "-", stdin=SECOND)

    assert (tmp_path / "link").is_symlink()
    assert len(list((tmp_path / "elsewhere").glob("*.webm"))) == 1
    assert len(memos(here)) == len(memos(memosync.on(tmp_path / "elsewhere"))) == 1


def test_an_index_that_is_a_symbolic_link_stays_one(memosync: Program, one: Path, tmp_path: Path) -> None:
    synced, path = tmp_path / "synced.toml", memosync.library / "index.toml"
    path.rename(synced)
    path.symlink_to(synced)

    memosync("record", "-", "-t", "Two", stdin=SECOND)

    assert path.is_symlink()
    assert read(synced) == ["One", "Two"]
    assert not list(tmp_path.glob(".*"))


def test_a_path_in_an_answer_holds_everywhere(memosync: Program, one: Path) -> None:
    """A relative --library is of no use to who reads the answer elsewhere."""
    process = memosync.start("--library", memosync.library.name, "list", "--json", cwd=memosync.library.parent)
    out, _ = process.communicate(timeout=30)

    assert json.loads(out)["path"] == str(one)


def test_what_is_no_directory_is_refused(memosync: Program, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "dangling").symlink_to("nowhere")
    memosync.on(tmp_path / "file")("list", code=LibraryError.exit_code)
    memosync.on(tmp_path / "file" / "deeper")("record", "-", stdin=SECOND, code=LibraryError.exit_code)
    memosync.on(tmp_path / "dangling")("record", "-", stdin=SECOND, code=LibraryError.exit_code)

    assert (tmp_path / "file").read_text() == "x"


def test_a_read_only_library_is_told_and_read(memosync: Program, library: Library, one: Path) -> None:
    shutil.copy(one, library.part(MemoId("abcdefgh")))
    shutil.copy(one, library.root / "2026-08-25-abcdefgj.webm")
    before = state(library.root)
    for path in [library.root, *library.root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    command = [*POWERLESS, *PROGRAM]

    try:
        listed = subprocess.run(
            [*command, "list"], env=memosync.environment, capture_output=True, text=True, timeout=60
        )
        record = subprocess.run([*command, "record", "-"], env=memosync.environment, input=SECOND, capture_output=True)
    finally:
        for path in [library.root, *library.root.rglob("*")]:
            path.chmod(0o755)

    assert (listed.returncode, len(listed.stdout.splitlines())) == (0, 1)
    assert len(re.findall("^memosync: warning: .*abcdefg[hj]", listed.stderr, re.MULTILINE)) == 2
    assert (record.returncode, record.stdout) == (LibraryError.exit_code, b"")
    assert b"memosync: error: " in record.stderr
    assert b"Traceback" not in record.stderr
    assert before == state(library.root)
    assert len(memos(memosync)) == 3  # once it may, it does


def test_a_library_on_a_read_only_disk_is_told_and_read(memosync: Program, library: Library, one: Path) -> None:
    shutil.copy(one, library.part(MemoId("abcdefgh")))
    mount = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
    command = [*NAMESPACE, "sh", "-ec", mount, "sh", str(library.root), *PROGRAM, "list"]

    listed = subprocess.run(command, env=memosync.environment, capture_output=True, text=True, timeout=60)

    assert (listed.returncode, len(listed.stdout.splitlines())) == (0, 1), listed.stderr
    assert re.match("memosync: warning: abcdefgh.*read-only", listed.stderr)


def test_a_library_that_may_not_be_read_is_a_library_error(memosync: Program, one: Path) -> None:
    memosync.library.chmod(0)
    try:
        command = [*POWERLESS, *PROGRAM, "list"]
        result = subprocess.run(command, env=memosync.environment, capture_output=True, text=True, timeout=60)
    finally:
        memosync.library.chmod(0o755)

    assert (result.returncode, result.stdout) == (LibraryError.exit_code, ""), result.stderr


# -- which memo is meant


def test_a_memo_is_an_id_a_beginning_of_one_or_the_last_added(library: Library) -> None:
    first, second, gone = (
        replace(make_memo(number), id=MemoId(name)) for number, name in enumerate(["abcdefgh", "abzzzzzz", "xyz00000"])
    )
    library.transaction(lambda _: Index((first, second, replace(gone, trashed=WHEN))))

    assert library.find("abcdefgh") == library.find("abc") == library.find(" ABC ") == first
    assert library.find("last") == library.find("abz") == second
    for word in ("ab", "a", "", "x", "xyz00000", "nope", "../x", "abcdefghj"):
        with pytest.raises(NotFoundError):
            library.find(word)
    with pytest.raises(NotFoundError, match=r"abcdefgh.*abzzzzzz"):
        library.find("ab")


def test_an_ambiguous_beginning_names_the_candidates(memosync: Program) -> None:
    memosync.library.mkdir()
    pair = tuple(replace(make_memo(number), id=MemoId(name)) for number, name in enumerate(["abcdefgh", "abczzzzz"]))
    (memosync.library / "index.toml").write_text(index.dumps(Index(pair)))

    result = memosync("share", "abc", "--no-seed", code=NotFoundError.exit_code)

    assert result.out == ""
    assert re.match(r"memosync: error: 'abc' .*abcdefgh.*abczzzzz", result.err)


@pytest.mark.parametrize("size", [files.Writeback.EVERY + 1, None], ids=["on the way", "at the end"])
def test_a_fault_that_the_disk_has_in_the_background_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int | None
) -> None:
    (tmp_path / "file").write_bytes(b"something")
    writeback = files.Writeback(tmp_path / "file")
    writeback.reach(files.Writeback.EVERY)
    writeback.end()

    def refuse(_descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(os, "fsync", refuse)
    writeback.reach(size) if size else writeback.reach_end()

    with pytest.raises(OSError, match="the disk is broken"):
        writeback.end()
