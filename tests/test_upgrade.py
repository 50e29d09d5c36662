"""An upgrade in place: nothing that 0.1.0 left on the disk is lost, and what of it still runs goes over to this one.

`upgrade/make.py` says what there is, and how it came to be.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.handshake import offers
from support.library import memos
from support.program import Program
from support.seeder import port_of_our_own
from support.waiting import wait_until

from memosync.errors import LibraryError, SeederError

UPGRADE = Path(__file__).with_name("upgrade")
OLD = UPGRADE / "memosync-0.1.0.zip"
SAID = {
    # what `share` did then has an option now
    (*run["arguments"], *["--public"] * ("share" in run["arguments"])): run["out"]
    for run in json.loads((UPGRADE / "said-0.1.0.json").read_text())
}
LISTED: list[dict[str, Any]] = [
    json.loads(line)
    for arguments, out in SAID.items()
    if arguments in (("list", "--json"), ("list", "--trash", "--json"))
    for line in out.splitlines()
]
ID = {memo["title"]: memo["id"] for memo in LISTED}
SHARED = {memo["id"]: memo["infohash"] for memo in LISTED if memo["shared"] and not memo["trashed"]}
PIECE = 16384  # bytes, of a memo this small


@pytest.fixture
def port() -> int:
    """A port that is free now, and below those that the kernel gives to anybody: so it stays free."""
    for port in range(port_of_our_own(), 32768):
        try:
            with socket.create_server(("127.0.0.1", port)), socket.socket(type=socket.SOCK_DGRAM) as datagrams:
                datagrams.bind(("127.0.0.1", port))
                return port
        except OSError:  # somebody has it
            continue
    pytest.fail("no port is free")


@pytest.fixture
def library(memosync: Program, port: int) -> Program:
    """The program on the library that 0.1.0 left, whose last seeder had the port; `Theirs` is beside it."""
    tar = ["tar", "-xpzf", str(UPGRADE / "library-0.1.0.tar.gz"), "--no-same-owner"]
    subprocess.run(tar, cwd=memosync.library.parent, check=True)
    left = memosync.library / ".memosync" / "seeder.toml"
    left.write_text(re.sub(r"(?m)^port = \d+$", f"port = {port}", left.read_text()))
    return memosync


@pytest.fixture
def old(library: Program) -> Program:
    """0.1.0 on the same library."""
    program = library.on(library.library)
    program.environment |= {"PYTHONPATH": str(OLD), "PYTHONSAFEPATH": "1"}
    assert program("--version").out == "memosync 0.1.0\n"
    return program


@pytest.fixture
def old_seeder(old: Program, port: int) -> dict[str, Any]:
    """A seeder of 0.1.0 that serves the library; what it says of itself."""
    old("seed", "--detach")
    found = state(old)
    assert found["port"] == port
    assert "version" not in found  # so it is no other
    return found


def state(program: Program) -> dict[str, Any]:
    """Read what the seeder says of itself."""
    return tomllib.loads((program.library / ".memosync" / "seeder.toml").read_text())


def index(program: Program) -> dict[str, Any]:
    """Read the index, with its memos by their ids."""
    table = tomllib.loads((program.library / "index.toml").read_text())
    return table | {"memo": {memo["id"]: memo for memo in table["memo"]}}


def is_served(program: Program) -> bool:
    """Tell whether all that is shared is given to whoever asks."""
    return all(offers(state(program)["port"], infohash) for infohash in SHARED.values())


def is_gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def fields(row: str) -> list[str]:
    return row.split("\t")


def version(program: Program) -> str:
    return program("--version").out.removeprefix("memosync ").strip()


def contents(program: Program) -> dict[str, tuple[int, str]]:
    """Give mode and checksum of everything that is a memo's, or half of one."""
    patterns = ("*.webm", ".memosync/trash/*", ".memosync/torrents/*", ".memosync/incoming/*/*")
    files = [path for pattern in patterns for path in program.library.glob(pattern)]
    return {
        str(path.relative_to(program.library)): (path.stat().st_mode, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in files
    }


def directories(program: Program) -> dict[Path, int]:
    """Give the mode of every directory."""
    return {path: path.stat().st_mode for path in (program.library, *program.library.rglob("*")) if path.is_dir()}


def link_of(program: Program, title: str) -> str:
    """Give the link that `list` gives of a memo."""
    return next(str(memo["link"]) for memo in memos(program) if memo["title"] == title)


def test_every_command_prints_what_0_1_0_printed(library: Program) -> None:
    library("list")  # which brings home what was interrupted

    for arguments, out in SAID.items():
        now = [line for line in library(*arguments).lines if "Interrupted" not in line]
        before = out.replace("LIBRARY", str(library.library)).splitlines()
        if "--json" in arguments:
            measured = {"loudness", "peak"}
            wanted = [{key: json.loads(line)[key] for key in json.loads(line).keys() - measured} for line in before]
            given = [json.loads(line) for line in now]
            assert wanted == [{key: memo.get(key) for key in keys} for memo, keys in zip(given, wanted, strict=True)]
        else:
            # what 0.1.0 served anybody may find, and a flag says so now
            assert before == [re.sub(r"\tsp(?=[ftd]*\t)", "\ts", line) for line in now], arguments


def test_each_memo_is_as_loud_as_it_was_with_an_old_cache_and_without(library: Program) -> None:
    shows = {arguments: json.loads(out) for arguments, out in SAID.items() if arguments[0] == "show"}
    cached = {path.name for path in library.library.glob(".memosync/cache/*")}
    assert 0 < len([arguments for arguments in shows if arguments[1] in cached]) < len(shows)

    for arguments, before in shows.items():
        now = json.loads(library(*arguments).out)
        assert before["loudness"] == pytest.approx(now["loudness"], abs=1)  # 0.1.0 measured what went into the encoder
        assert before["peak"] == pytest.approx(now["peak"], abs=2)


def test_reading_renames_nothing_and_changes_no_byte_of_a_memo_and_no_mode(library: Program, tmp_path: Path) -> None:
    before, directories_before = contents(library), directories(library)
    assert directories_before[library.library] & 0o777 == 0o755
    assert {mode & 0o777 for name, (mode, _) in before.items() if "own-trackers" in name} == {0o640}

    for arguments in SAID:
        library(*arguments)
    library("export", *SHARED, "-f", "webm", "-o", f"{tmp_path}/")
    library("check")
    library("seed", "--status", code=SeederError.exit_code)

    after, directories_after = contents(library), directories(library)
    assert before == {name: after.get(name) for name in before}
    assert ["interrupted" in name for name in after.keys() - before.keys()] == [True]
    assert directories_before == {path: directories_after.get(path) for path in directories_before}


def test_writing_loses_no_word_no_comment_and_no_key_that_is_unknown(library: Program) -> None:
    library("list")  # which brings home what was interrupted
    before = index(library)

    library("edit", ID["Default trackers"], "-t", "Another title")
    library("edit", ID["Never shared"], "--tag", "new")

    after, text = index(library), (library.library / "index.toml").read_text()
    assert text.startswith("# My memos. Ask me before you change anything here.\n# – A.\n\n")
    assert after["colour"] == "green"
    assert after["memo"][ID["Never shared"]]["heard"] == {"by": ["Ben", "Zoë"], "times": 3}
    before["memo"][ID["Default trackers"]]["title"] = "Another title"
    before["memo"][ID["Never shared"]]["tags"].append("new")
    before["memo"][ID["Never shared"]]["size"] = after["memo"][ID["Never shared"]]["size"]  # it is in the file, too
    for memo in after["memo"].values():  # when the words were changed
        memo.pop("stamps", None), memo.pop("born", None)
    assert before == after


@pytest.mark.parametrize("title", ["Shared no longer", "Their word"])
def test_what_is_shared_again_has_its_old_link(library: Program, title: str) -> None:
    before = next(memo for memo in LISTED if memo["title"] == title)

    assert library("share", before["id"], "--public", "--no-seed").out == f"{before['link']}\n"
    assert index(library)["memo"][before["id"]]["shared"]


def test_what_was_shared_is_exported_byte_for_byte(library: Program, tmp_path: Path) -> None:
    for memo in LISTED:
        if memo["infohash"] and not memo["trashed"] and memo["title"] != "Edited afterwards":  # that gets its new words
            library("export", memo["id"], "-f", "webm", "-o", tmp_path / memo["id"])
            assert (library.library / memo["file"]).read_bytes() == (tmp_path / memo["id"]).read_bytes()


def test_an_interrupted_recording_is_recovered(library: Program) -> None:
    result = library("list")

    (memo,) = [memo for memo in memos(library) if memo["title"] == "Interrupted"]
    assert re.search(rf"recovered .*{memo['id']}", result.err)
    assert memo["tags"] == ["work"]
    assert memo["infohash"] is None
    assert 1 < memo["duration"] < 3.1
    assert list(library.library.glob(".memosync/recording/*")) == []


def test_what_is_in_the_trash_comes_back_as_it_was(library: Program) -> None:
    thrown = [memo for memo in LISTED if memo["trashed"]]
    before = {memo["id"]: contents(library)[f".memosync/trash/{memo['file']}"] for memo in thrown}

    library("restore", *before)

    for memo in thrown:
        assert before[memo["id"]] == contents(library)[memo["file"]]
    now = {memo["id"]: memo for memo in memos(library)}
    for key in ("title", "tags", "recorded", "size", "infohash", "shared", "link"):
        assert [memo[key] for memo in thrown] == [now[memo["id"]][key] for memo in thrown]


def test_a_half_fetched_memo_goes_on_where_it_stopped(library: Program, tmp_path: Path) -> None:
    theirs = library.on(tmp_path / "Theirs")
    theirs("share", "--all", "--public")
    memo = next(memo for memo in memos(theirs) if memo["title"] == "Their long talk")
    whole = Path(memo["path"]).read_bytes()
    (half,) = library.library.glob(".memosync/incoming/*/memo.webm")
    pieces = range(0, len(whole), PIECE)
    missing = [start for start in pieces if half.read_bytes()[start:][:PIECE] != whole[start:][:PIECE]]
    assert 0 < len(missing) < len(pieces)
    needed = sum(len(whole[start:][:PIECE]) for start in missing)

    def given() -> int:
        rows = [json.loads(line) for line in theirs("seed", "--status", "--json").lines]
        return next(int(row["given"]) for row in rows if row["id"] == memo["id"])

    fetched = library("fetch", memo["link"]).out.strip()

    assert next(Path(memo["path"]) for memo in memos(library) if memo["id"] == fetched).read_bytes() == whole
    assert list(library.library.glob(".memosync/incoming/*")) == []
    # what a peer still had in its buffer when it was left, libtorrent does not always count
    wait_until(lambda: given() > needed / 2, lambda: f"most of {needed} bytes to be told: {given()}", 20)
    assert given() <= needed


def test_a_port_of_the_last_seeder_is_taken_again(library: Program, port: int) -> None:
    link = library("share", ID["Default trackers"]).out.strip()

    assert link.endswith(f"&x.pe=127.0.0.1:{port}")
    assert state(library)["port"] == port
    assert is_served(library)


@pytest.fixture
def old_keeper(library: Program, port: int, tmp_path: Path, ended: Any) -> subprocess.Popen[bytes]:
    """A keeper of 0.1.0 whose seeder serves; its program was replaced by this one meanwhile."""
    place = tmp_path / "site-packages"
    with zipfile.ZipFile(OLD) as archive:
        archive.extractall(place)
    arguments = ["--library", str(library.library), "--network", "loopback", "seed"]
    keeper: subprocess.Popen[bytes] = ended(
        subprocess.Popen(
            [sys.executable, "-P", "-m", "memosync.seeder", str(library.library / ".memosync"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env={**library.environment, "PYTHONPATH": str(place)},
        )
    )
    wait_until(lambda: state(library)["keeper"] == keeper.pid and state(library)["ready"], "it to serve", 60)
    assert state(library)["port"] == port
    assert "version" not in state(library)
    (place / "memosync").rename(place / "memosync-0.1.0")
    here = importlib.util.find_spec("memosync")
    assert here
    assert here.submodule_search_locations
    (place / "memosync").symlink_to(Path(here.submodule_search_locations[0]).resolve())
    return keeper


def kill_its_child(library: Program) -> None:
    """End the seeder as a crash does, and return when the next one serves."""
    before = state(library)
    os.kill(before["pid"], signal.SIGKILL)
    wait_until(lambda: state(library)["pid"] != before["pid"] and state(library)["ready"], "the next to serve", 60)


def test_an_old_keeper_keeps_a_new_seeder_on_the_same_port(
    library: Program, old_keeper: subprocess.Popen[bytes], port: int
) -> None:
    kill_its_child(library)

    found = state(library)
    assert (found["port"], found["keeper"], found["restarts"]) == (port, old_keeper.pid, 1)
    assert is_served(library)
    assert f"process {found['keeper']} serves on port {port}" in library("seed", "--status").err
    kill_its_child(library)
    assert state(library)["restarts"] == 2
    library("seed", "--stop")
    assert old_keeper.wait(20) == 0
    assert is_gone(state(library)["pid"])


def test_a_new_seeder_under_an_old_keeper_tells_its_version(
    library: Program, old_keeper: subprocess.Popen[bytes]
) -> None:
    kill_its_child(library)

    assert state(library).get("version") == version(library)
    assert state(library)["keeper"] == old_keeper.pid


def test_an_old_keeper_ends_with_its_new_seeder(library: Program, old_keeper: subprocess.Popen[bytes]) -> None:
    kill_its_child(library)

    old_keeper.kill()
    old_keeper.wait()

    wait_until(lambda: is_gone(state(library)["pid"]), "the seeder to end", 20)
    library("seed", "--status", code=SeederError.exit_code)


def test_who_only_looks_reads_the_state_of_an_old_seeder_and_leaves_it(
    library: Program, old_seeder: dict[str, Any], port: int
) -> None:
    status = library("seed", "--status")
    link = link_of(library, "Default trackers")
    shown = json.loads(library("show", ID["Default trackers"], "--json").out)

    assert {memo: said for memo, said, *_ in map(fields, status.lines)} == dict.fromkeys(SHARED, "seeding")
    assert f"process {old_seeder['keeper']} serves on port {port}" in status.err
    assert link.endswith(f"&x.pe=127.0.0.1:{port}")
    assert (shown["state"], shown["link"]) == ("seeding", link)
    assert (state(library)["keeper"], state(library)["pid"]) == (old_seeder["keeper"], old_seeder["pid"])


def test_share_restarts_a_seeder_of_another_version_on_its_port_and_says_so_once(
    library: Program, old_seeder: dict[str, Any], port: int
) -> None:
    first = library("share", ID["Default trackers"])
    after = state(library)
    second = library("share", ID["Default trackers"])

    assert len([line for line in first.err.splitlines() if "version" in line]) == 1, first.err
    assert "version" not in second.err
    assert first.out == second.out
    assert first.out.endswith(f"&x.pe=127.0.0.1:{port}\n")
    assert_goes_over(library, old_seeder, after, port)


def test_detach_restarts_a_seeder_of_another_version_on_its_port_and_says_so_once(
    library: Program, old_seeder: dict[str, Any], port: int
) -> None:
    first = library("seed", "--detach")
    after = state(library)
    second = library("seed", "--detach", code=SeederError.exit_code)

    assert len([line for line in first.err.splitlines() if "version" in line]) == 1, first.err
    assert f"process {after['keeper']} serves on port {port}" in first.err
    assert "running already" in second.err
    assert_goes_over(library, old_seeder, after, port)


def test_its_limits_go_over(library: Program, old: Program) -> None:
    old("seed", "--detach", "--up", "50k", "--down", "60k")

    library("share", ID["Default trackers"])

    words = Path(f"/proc/{state(library)['keeper']}/cmdline").read_text().split("\0")
    assert (words[words.index("--up") + 1], words[words.index("--down") + 1]) == ("50000", "60000")


def test_one_in_the_foreground_is_left_with_a_warning(library: Program, old: Program, ended: Any) -> None:
    process = ended(old.start("seed"))
    wait_until(lambda: state(library)["pid"] == process.pid and state(library)["ready"], "it to serve")

    result = library("share", ID["Default trackers"], "--public")

    assert f"warning: process {process.pid} runs in the foreground" in result.err
    assert "restarting" not in result.err
    assert state(library)["pid"] == process.pid


@pytest.mark.parametrize("verb", [["list"], ["share", "--all", "--no-seed"], ["seed"], ["edit", "last", "-t", "x"]])
def test_0_1_0_refuses_a_library_that_has_private_links(library: Program, old: Program, verb: list[str]) -> None:
    library("share", ID["Default trackers"], "--no-seed")
    before = {path: path.read_bytes() for path in library.library.iterdir() if path.is_file()}

    refused = old(*verb, code=LibraryError.exit_code)

    assert "newer" in refused.err
    assert before == {path: path.read_bytes() for path in library.library.iterdir() if path.is_file()}


def test_one_in_the_foreground_cannot_serve_what_is_sealed(library: Program, old: Program, ended: Any) -> None:
    process = ended(old.start("seed"))
    wait_until(lambda: state(library)["pid"] == process.pid and state(library)["ready"], "it to serve")
    before = index(library)

    result = library("share", ID["Default trackers"], code=SeederError.exit_code)

    assert f"process {process.pid}, of version 0.1.0, cannot serve private links" in result.err
    assert "end it" in result.err
    assert index(library) == before
    assert is_served(library)


def assert_goes_over(library: Program, before: dict[str, Any], after: dict[str, Any], port: int) -> None:
    """See that one seeder ended and the other has its place, and has not been disturbed since."""
    assert after["version"] == version(library)
    assert (after["port"], after["network"]) == (port, "loopback")
    wait_until(lambda: is_gone(before["keeper"]) and is_gone(before["pid"]), "the old ones to be gone", 20)
    assert (state(library)["keeper"], state(library)["pid"]) == (after["keeper"], after["pid"])
    assert is_served(library)
    assert {said for _, said, *_ in map(fields, library("seed", "--status").lines)} == {"seeding"}


@pytest.fixture
def later_seeder(library: Program) -> Iterator[dict[str, Any]]:
    """A seeder that says what this program does not know; what is known of what it says."""
    library("seed", "--detach")
    path, found = library.library / ".memosync" / "seeder.toml", state(library)
    before = path.read_text()
    swarm = {"infohash": next(iter(SHARED.values())), "state": "seeding", "peers": 3, "given": 77, "delivered": 0}
    rows = "".join(f"{name} = {json.dumps(value)}\n" for name, value in swarm.items())
    text = re.sub(r"(?m)^swarm = \[\]\n", 'mood = "calm"\n', before)
    replace(path, f"{text}[[swarm]]\n{rows}addresses = []\nweather = {{ sun = true }}\n")
    assert state(library)["mood"] == "calm"
    assert state(library)["swarm"][0]["weather"] == {"sun": True}
    yield found
    replace(path, before)  # so that it is stopped, whatever was found


def replace(path: Path, text: str) -> None:
    """Write a file as the seeder does: whoever reads it sees all of it."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


def test_the_state_of_a_later_seeder_is_read_though_it_says_more(
    library: Program, later_seeder: dict[str, Any], port: int
) -> None:
    rows = {memo: (peers, given) for memo, _, peers, given, *_ in map(fields, library("seed", "--status").lines)}

    assert rows == dict.fromkeys(SHARED, ("0", "0")) | {next(iter(SHARED)): ("3", "77")}
    assert link_of(library, "Default trackers").endswith(f"&x.pe=127.0.0.1:{port}")
    library("share", ID["Default trackers"])
    assert state(library)["keeper"] == later_seeder["keeper"]
