"""What somebody else may put into a library that he can write, and who can read one."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import sound
from support.disk import NAMESPACE
from support.library import only
from support.planted import PRECIOUS
from support.program import Ended, Program
from support.seeder import log, state
from support.waiting import wait_until

from memosync import files, index, process
from memosync.audio.loudness import Levels, loads
from memosync.errors import LibraryError, SeederError, SwarmError
from memosync.library.store import Library
from memosync.magnet import InfoHash
from memosync.memo import Memo
from memosync.seeder.state import read_state

SOUND = sound.wav(sound.tone(0.5))
Plant = Callable[[Path, Path], object]
LINKS: dict[str, Plant] = {
    "symbolic link": lambda path, outside: path.symlink_to(outside),
    "hard link": lambda path, outside: os.link(outside, path),
}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Another library, with one memo that is served."""
    home = tmp_path_factory.mktemp("theirs")
    program = Program(home / "Theirs", {"HOME": str(home)})
    program("record", "-", "-t", "Theirs", stdin=SOUND)
    program("share", "--public", "last")
    yield program
    program("seed", "--stop")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "precious"
    path.write_bytes(PRECIOUS)
    return path


def memo_of(program: Program) -> Memo:
    (memo,) = Library(program.library).index().memos
    return memo


def recorded(memosync: Program) -> tuple[Library, Memo, Path]:
    """Give a library with one memo, that, and its file."""
    memosync("record", "-", "-t", "Ours", stdin=SOUND)
    library, memo = Library(memosync.library), memo_of(memosync)
    return library, memo, library.path(memo)


def moved(path: Path, place: Path) -> Path:
    """Move a file there, and link to it."""
    target = place / path.name
    path.rename(target)
    path.symlink_to(target)
    return target


# -- what comes in


@pytest.mark.parametrize("kind", LINKS)
def test_what_arrives_is_written_into_no_file_that_was_there(
    memosync: Program, theirs: Program, outside: Path, kind: str
) -> None:
    link, memo = theirs("share", "--public", "last").out.strip(), memo_of(theirs)
    incoming = Library(memosync.library).incoming(memo.infohash or InfoHash(""))
    incoming.mkdir(parents=True)
    LINKS[kind](incoming / "memo.webm", outside)

    memosync("fetch", link)

    assert outside.read_bytes() == PRECIOUS
    assert Path(only(memosync)["path"]).read_bytes() == (theirs.library / memo.file).read_bytes()
    assert not incoming.exists()


@pytest.mark.parametrize("kind", ["damaged", "another's", "a directory"])
def test_a_kept_torrent_that_is_not_the_links_is_thrown_away(
    memosync: Program, theirs: Program, kind: str, tmp_path: Path
) -> None:
    link, memo = theirs("share", "--public", "last").out.strip(), memo_of(theirs)
    others = memosync.on(tmp_path / "Others")
    others("record", "-", "-t", "Another", stdin=sound.wav(sound.tone(0.7)))
    others("share", "--public", "last", "--no-seed")
    other = memo_of(others)
    incoming = Library(memosync.library).incoming(memo.infohash or InfoHash(""))
    incoming.mkdir(parents=True)
    if kind == "a directory":
        (incoming / "torrent" / "in it").mkdir(parents=True)
    elif kind == "damaged":
        (incoming / "torrent").write_bytes(b"d4:infod6:lengthi5")
    else:  # whole, with all that it describes
        shutil.copy(Library(others.library).torrent(other.infohash or InfoHash("")), incoming / "torrent")
        shutil.copy(others.library / other.file, incoming / "memo.webm")

    memosync("fetch", link)

    assert memo_of(memosync).infohash == memo.infohash
    assert Path(only(memosync)["path"]).read_bytes() == (theirs.library / memo.file).read_bytes()


def test_a_kept_torrent_is_believed_by_its_hash_alone(memosync: Program, tmp_path: Path) -> None:
    library, *_ = recorded(memosync)
    link = memosync("share", "--public", "last").out
    (memo,) = library.index().memos
    kept = library.torrent(memo.infohash or InfoHash(""))
    backup = tmp_path / "backup"
    os.link(kept, backup)  # as a backup of hard links does
    others = memosync.on(tmp_path / "Others")
    others("record", "-", "-t", "Another", stdin=sound.wav(sound.tone(0.7)))
    others("share", "--public", "last", "--no-seed")
    other = memo_of(others).infohash or InfoHash("")

    memosync("share", "--public", "last")
    assert kept.stat().st_nlink == 2

    memosync("seed", "--stop")
    kept.unlink()
    shutil.copy(Library(others.library).torrent(other), kept)
    memosync("seed", "--detach")
    assert {row.split("\t")[1] for row in memosync("seed", "--status").lines} == {"damaged"}
    assert other not in str(state(memosync))
    assert link.startswith(memosync("share", "--public", "last", "--no-seed").out.strip().partition("&")[0])
    assert kept.read_bytes() == backup.read_bytes()
    wait_until(lambda: "\tseeding\t" in memosync("seed", "--status").out, "it to be served again")


# -- links of people


def test_a_memo_that_is_a_link_is_read_and_given_to_nobody(memosync: Program, tmp_path: Path) -> None:
    library, memo, path = recorded(memosync)
    target = moved(path, tmp_path)
    before = target.read_bytes()

    memosync("export", memo.id, "-o", tmp_path / "out.wav")
    assert not [line for line in memosync("check").lines if line.startswith("defect")]
    refused = memosync("share", "--public", memo.id, "--no-seed", code=LibraryError.exit_code)
    assert "is a symbolic link" in refused.err
    memosync("edit", memo.id, "-t", "Other")

    assert not path.is_symlink()
    assert library.index().memos[0].title == "Other"
    assert before == target.read_bytes()


def test_a_shared_memo_that_is_a_link_is_served_as_long_as_it_is_the_links(memosync: Program, tmp_path: Path) -> None:
    _, memo, path = recorded(memosync)
    link = memosync("share", "--public", memo.id, "--no-seed").out
    moved(path, tmp_path)

    again = memosync("share", "--public", memo.id).out.strip()

    assert again.startswith(link.strip().partition("&")[0])
    assert memosync.on(tmp_path / "Theirs")("fetch", again).code == 0


def test_a_memo_that_is_a_link_goes_to_the_trash_and_back(memosync: Program, tmp_path: Path) -> None:
    _, memo, path = recorded(memosync)
    target = moved(path, tmp_path)

    memosync("rm", memo.id)
    memosync("show", memo.id, code=LibraryError.exit_code)  # in the trash there are none
    memosync("restore", memo.id)

    assert os.readlink(path) == str(target)
    assert target.exists()


def test_a_link_with_a_name_of_our_pattern_is_not_adopted(memosync: Program, tmp_path: Path) -> None:
    library, _, path = recorded(memosync)
    shutil.copy(path, tmp_path / "private.webm")
    (library.root / "2026-08-25-abcdefgh.webm").symlink_to(tmp_path / "private.webm")

    assert len(memosync("list").lines) == 1
    assert len(list(library.torrents.iterdir())) == 0


def test_a_link_in_the_place_of_the_index_is_replaced_when_that_is_rebuilt(memosync: Program, outside: Path) -> None:
    recorded(memosync)
    path = memosync.library / "index.toml"
    path.unlink()
    path.symlink_to(outside)

    memosync("list", code=LibraryError.exit_code)
    memosync("check", "--repair")

    assert outside.read_bytes() == PRECIOUS
    assert not path.is_symlink()
    assert only(memosync)["title"] == "Ours"


# -- the seeder


@pytest.mark.parametrize("kind", LINKS)
def test_the_log_is_written_into_no_file_that_was_there(memosync: Program, outside: Path, kind: str) -> None:
    library, _, path = recorded(memosync)
    os.mkfifo(library.inner / "seeder.log") if kind == "FIFO" else LINKS[kind](library.inner / "seeder.log", outside)

    memosync("share", "--public", "last")
    wait_until(lambda: "serving on port" in log(memosync), "the log")
    path.unlink()
    os.mkfifo(path)  # which libtorrent would wait for
    wait_until(lambda: "damaged" in memosync("seed", "--status").out, "it to be damaged")
    memosync("seed", "--stop")

    assert outside.read_bytes() == PRECIOUS


@pytest.fixture
def holder(memosync: Program, ended: Ended) -> tuple[Path, int]:
    """The directory of a library whose seeder's lock is held, and the process that does."""
    recorded(memosync)
    private = Library(memosync.library).inner
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(private / "seeder.lock")]
    child = ended(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    assert child.stdout
    child.stdout.readline()
    return private, child.pid


def say(private: Path, pid: object, keeper: object = 0, **more: object) -> None:
    """Write what a seeder says of itself."""
    table = {
        "network": "loopback",
        "pid": pid,
        "keeper": keeper,
        "addresses": [],
        "announced": [],
        "ready": True,
        **more,
    }
    table.setdefault("born", process.birth(pid) if isinstance(pid, int) else "")
    (private / "seeder.toml").write_text(index.format_toml(table))


def test_the_seeder_that_has_the_lock_is_believed(holder: tuple[Path, int]) -> None:
    private, pid = holder
    say(
        private,
        pid,
        seen="never",
        port="none",
        addresses=[1, "127.0.0.1"],
        swarm=[{"infohash": 1}, {"infohash": "a" * 40}],
    )

    found = read_state(private)

    assert found
    assert (found.process, found.seen, found.port, found.addresses) == (pid, 0, 0, ("127.0.0.1",))
    assert [(swarm.infohash, swarm.peers) for swarm in found.swarms.values()] == [("a" * 40, 0)]


def test_no_other_process_is_taken_for_the_seeder(holder: tuple[Path, int], ended: Ended) -> None:
    private, pid = holder
    bystander = ended(subprocess.Popen(["sleep", "600"])).pid
    lies = [
        (-1, 0),
        (0, 0),
        (1, 0),
        (bystander, 0),
        (pid, bystander),
        (pid, -1),
        (pid, os.getpid()),
        (str(pid), 0),
        (pid, ""),
    ]
    for named, keeper in lies:
        say(private, named, keeper)
        assert read_state(private) is None, (named, keeper)
    for when in ("", "1", process.birth(bystander)):
        say(private, pid, born=when)
        assert read_state(private) is None, when
    say(private, -1, born="")
    assert read_state(private) is None


def test_stopping_ends_no_process_that_a_stranger_names(memosync: Program) -> None:
    """In a space of processes of its own, so that what goes wrong ends nobody else."""
    recorded(memosync)
    private = Library(memosync.library).inner
    (private / "seeder.toml").write_text(
        'network = "loopback"\npid = -1\nkeeper = 0\nborn = ""\naddresses = []\nannounced = []\n'
    )
    script = f"""
        sleep 600 & sentinel=$!
        exec 9>>"$0/seeder.lock"; flock 9
        {sys.executable} -m memosync seed --stop 9>&-; code=$?
        kill -0 $sentinel && echo alive $code
        kill $sentinel
    """
    command = [*NAMESPACE, "--pid", "--fork", "--mount-proc", "bash", "-c", script, str(private)]

    done = subprocess.run(command, env=memosync.environment, capture_output=True, text=True, timeout=120)

    assert done.stdout == f"alive {SeederError.exit_code}\n", done.stderr
    assert "not seen from here" in done.stderr  # who took that lock is gone, and somebody else has it


# -- locks, and what is made anew


def test_a_lock_with_another_name_is_left_to_that_one(tmp_path: Path, outside: Path) -> None:
    os.link(outside, tmp_path / "lock")
    theirs = os.open(outside, os.O_RDWR)

    with files.locked(tmp_path / "lock", remove=False):
        fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody holds it

        assert (tmp_path / "lock").stat().st_nlink == 1
    os.close(theirs)


def test_a_lock_that_is_held_stays_when_a_backup_links_to_it(tmp_path: Path) -> None:
    with files.locked(tmp_path / "lock", remove=False):
        os.link(tmp_path / "lock", tmp_path / "backup")

        assert files.is_locked(tmp_path / "lock")
        assert files.acquire(tmp_path / "lock", wait=False) is None


@pytest.mark.parametrize("kind", LINKS)
def test_what_others_are_to_write_by_its_name_is_a_new_file(tmp_path: Path, outside: Path, kind: str) -> None:
    path = tmp_path / "new"
    LINKS[kind](path, outside)

    files.make_new(path)
    path.write_bytes(b"what FFmpeg writes")

    assert outside.read_bytes() == PRECIOUS


def test_what_writers_that_died_left_goes_and_what_a_living_one_writes_stays(memosync: Program) -> None:
    recorded(memosync)
    dead, alive = (memosync.library / f".index.toml-0123456{number}.tmp" for number in (7, 8))
    dead.write_bytes(b"half")

    with files.locked(alive):
        memosync("list")

        assert not dead.exists()
        assert alive.exists()


# -- who can read it


def modes(root: Path) -> set[str]:
    """Give the permissions of all that is in a library, and of itself."""
    return {f"{path.stat().st_mode & 0o777:o}" for path in [root, *root.rglob("*")] if path.name != "seeder.lock"}


def use(memosync: Program, theirs: Program) -> None:
    """Have everything written that a library ever has."""
    memosync("record", "-", "-t", "One", stdin=SOUND)
    memosync("share", "--public", "last")
    memosync("edit", "last", "-t", "Two")
    memosync("show", "last")
    memosync("rm", "last")
    memosync("fetch", theirs("share", "--public", "last").out.strip())
    memosync("check")
    memosync("seed", "--stop")


def test_a_new_library_is_closed_to_others(memosync: Program, theirs: Program, tmp_path: Path) -> None:
    use(memosync, theirs)
    memosync("export", "last", "-o", tmp_path / "out.webm")

    assert modes(memosync.library) == {"700", "600"}
    assert (tmp_path / "out.webm").stat().st_mode & 0o777 == 0o666 & ~umask()
    assert "\treaders\t" not in memosync("check").out


def test_a_library_that_is_there_keeps_its_rights(memosync: Program, theirs: Program) -> None:
    memosync.library.mkdir()
    memosync.library.chmod(0o755)
    use(memosync, theirs)

    made = {f"{mode & ~umask():o}" for mode in (0o777, 0o666)}
    assert modes(memosync.library) == {"755", *made, "600"}  # locks are for us alone
    assert {f"{path.stat().st_mode & 0o777:o}" for path in memosync.library.glob("[!.]*")} == {f"{0o666 & ~umask():o}"}


def test_check_says_what_other_accounts_can_read(memosync: Program) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:  # where every account may go, unlike pytest's
        Path(place).chmod(0o755)
        here = memosync.on(Path(place) / "Memos")
        here.library.mkdir()
        here.library.chmod(0o755)
        recorded(here)
        for path in here.library.glob("[!.]*"):
            path.chmod(0o644)

        (said,) = [line for line in here("check").lines if "\treaders\t" in line]
        here.library.chmod(0o750)
        assert "\treaders\t" not in here("check").out

    assert said.startswith("note\treaders\tevery account of this machine can read the index and 1 memo; chmod 700 ")


def umask() -> int:
    """Give the umask of this process."""
    now = os.umask(0o022)
    os.umask(now)
    return now


def test_the_rights_of_a_file_outside_stay_as_they_are(memosync: Program, outside: Path) -> None:
    outside.chmod(0o600)
    memosync("record", "-", stdin=SOUND)
    private, memo = memosync.library / ".memosync", only(memosync)
    os.link(outside, private / "index.4.toml")
    (private / "index.5.toml").write_text("x")
    (private / "index.5.toml").chmod(0o666)
    new = private / f"recording/{memo['id']}.webm.new"
    outside_too = outside.with_name("as_long")
    outside_too.write_bytes(bytes(memo["size"]))
    outside_too.chmod(0o600)
    Path(memo["path"]).chmod(0o666)
    os.link(outside_too, new)
    before = Path(memo["path"]).read_bytes()

    memosync("edit", "last", "-d", "another word")

    assert {0o600} == {path.stat().st_mode & 0o777 for path in (outside, outside_too)}
    assert outside_too.read_bytes() == bytes(memo["size"])
    assert not Path(memo["path"]).samefile(outside_too)
    assert len(before) < Path(memo["path"]).stat().st_size
    assert not new.exists()


@pytest.mark.parametrize("place", [".memosync/cache/{id}", "{file}", ".memosync/torrents/{infohash}.torrent"])
def test_a_directory_in_the_way_keeps_nothing_in_the_trash(memosync: Program, place: str) -> None:
    memosync("record", "-", stdin=SOUND)
    memosync("share", "--public", "last", "--no-seed")
    memo = only(memosync)
    memosync("rm", memo["id"])
    planted = memosync.library / place.format_map(memo)
    planted.unlink(missing_ok=True)
    planted.mkdir(parents=True)

    memosync("rm", memo["id"], "--purge", "--force")

    assert [] == memosync("list", "--trash").lines
    assert planted.is_dir()


def test_a_download_with_a_name_that_is_no_infohash_is_in_no_hint(memosync: Program) -> None:
    memosync("record", "-", stdin=SOUND)
    for name in ("x; something", "a\nb\033[31m", "AB" * 20):
        (memosync.library / ".memosync/incoming" / name).mkdir(parents=True)

    said = memosync("check")

    assert "memosync fetch" not in said.out + said.err


@pytest.mark.parametrize("plant", [Path.mkdir, os.mkfifo, Path.touch])
def test_a_memo_without_its_file_is_not_here(memosync: Program, plant: Callable[[Path], object]) -> None:
    memosync("record", "-", stdin=SOUND)
    link = memosync("share", "--public", "last", "--no-seed").out.strip()
    memo = only(memosync)
    Path(memo["path"]).unlink()
    plant(Path(memo["path"]))

    memosync("fetch", link, "--timeout", "1s", code=SwarmError.exit_code)
    if plant is not Path.touch:
        assert (
            f"cannot read {memo['file']}: {memo['file']} is a "
            in memosync("share", "--public", memo["id"], "--no-seed", code=LibraryError.exit_code).err
        )


def test_times_beyond_all_numbers_are_no_times(memosync: Program) -> None:
    memosync("record", "-", stdin=SOUND)
    (memosync.library / ".memosync/trash.toml").write_text(f"looked = 1{400 * '0'}\n[ages]\n")

    memosync("rm", "last")


def test_of_what_a_stranger_wrote_for_the_seeder_only_what_can_be_is_believed(memosync: Program) -> None:
    memosync("record", "-", stdin=SOUND)
    memosync("share", "--public", "last")
    path = memosync.library / ".memosync/seeder.toml"
    table = index.parse_toml(path.read_text())
    table |= {"swarm": ["x", {"infohash": "y", "given": 10**400, "peers": -5}], "port": 99_999_999, "restarts": -1}
    table["addresses"] = ["127.0.0.1", "stranger.example", "127.0.0.1&tr=udp:"]
    path.write_text(index.format_toml(table))

    state = read_state(memosync.library / ".memosync")

    assert state
    assert (state.port, state.restarts, state.addresses) == (0, 0, ("127.0.0.1",))
    assert [(swarm.given, swarm.peers) for swarm in state.swarms.values()] == [(0, 0)]
    memosync("seed", "--stop")


@pytest.mark.parametrize(("loudness", "peak"), [(float("inf"), 0.0), (-20.0, float("inf")), (-20.0, float("nan"))])
def test_no_cache_says_that_a_memo_is_louder_than_anything(loudness: float, peak: float) -> None:
    with pytest.raises(ValueError, match="loud"):
        loads(Levels(loudness=loudness, peak=peak, wave=b"").dumps())
