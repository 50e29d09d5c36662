"""seed: one process that serves every shared memo, follows the index, and comes back when it is killed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import taker as taking
from support.handshake import offers
from support.library import entries
from support.program import PROGRAM, Ended, Program, errors
from support.seeder import is_alive, log, port_of_our_own, state
from support.sound import noise
from support.terminal import Terminal
from support.tracker import Tracker
from support.waiting import takes_less, until, wait_until

from memosync import process
from memosync.errors import Interrupted, SeederError
from memosync.seeder import client
from memosync.seeder import state as seeder

NOT_RUNNING = SeederError.exit_code


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of two memos that are shared and one that is not; 60 KB each."""
    home = tmp_path_factory.mktemp("template")
    program = Program(home / "Memos", {"HOME": str(home)})
    sound = noise(home / "noise.webm", 4, "-c:a", "libopus", "-b:a", "128k")
    for title in ("First", "Second", "Third"):
        program("record", sound, "-t", title, "--again")
    program("share", "--public", "--all", "--no-seed")
    program("share", "--stop", "last")
    return program.library


@pytest.fixture
def library(memosync: Program, template: Path) -> Program:
    """The program on a copy of it."""
    shutil.copytree(template, memosync.library)
    return memosync


@pytest.fixture
def other(memosync: Program, tmp_path: Path) -> Program:
    """Somebody else's library."""
    return memosync.on(tmp_path / "Theirs")


@pytest.fixture(params=[socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["TCP", "UDP"])
def taken(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """A socket of another program, at a port."""
    with socket.socket(type=request.param) as other:
        other.bind(("127.0.0.1", 0))
        yield other


@pytest.fixture
def taken_port(taken: socket.socket) -> int:
    """A port that another program has."""
    return int(taken.getsockname()[1])


def status(program: Program) -> dict[str, str]:
    """Give each memo's state."""
    rows = [row.split("\t") for row in program("seed", "--status").lines]
    return {row[0]: row[1] for row in rows}


def serves(program: Program, *numbers: int) -> bool:
    """Tell whether exactly these memos are served."""
    port = state(program)["port"]
    return [number for number, memo in enumerate(entries(program)) if offers(port, memo["infohash"])] == list(numbers)


def test_in_the_foreground_a_status_line_tells_what_it_does(library: Program, other: Program) -> None:
    terminal = Terminal([*PROGRAM, "seed"], library.environment)
    try:
        terminal.wait_for(lambda screen: re.search(r"serving 2 memos on port \d+", screen.text), "the status line")
        link = library("share", "--public", entries(library)[0]["id"], "--no-seed").out.strip()

        other("fetch", link)

        terminal.wait_for(lambda screen: re.search(r"[1-9]\d kB given", screen.text), "what was given")
        assert len([line for line in terminal.screen.lines if "serving 2 memos" in line]) == 1
        assert terminal.screen.wrapped == terminal.screen.scrolled == 0
        terminal.type("\x03")
        terminal.end()
    finally:
        terminal.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_well(library: Program, ended: Ended, number: int) -> None:
    process = ended(library.start("seed", text=True))
    wait_until(lambda: library.start("seed", "--status").wait(60) == 0 and serves(library, 0, 1), "it to serve")

    process.send_signal(number)

    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err
    library("seed", "--status", code=NOT_RUNNING)


def test_detach_returns_when_everything_can_be_fetched(library: Program) -> None:
    result = library("seed", "--detach")

    assert serves(library, 0, 1)
    assert result.out == ""
    assert state(library)["keeper"] != state(library)["pid"]


def test_list_says_once_that_what_it_marks_as_served_is_not(library: Program) -> None:
    without = library("list")
    library("seed", "--detach")
    served = library("list")

    assert [line.split("\t")[4] for line in without.lines] == ["-", "sp", "sp"]
    assert without.err.count("2 memos are marked as shared, and are not served now; memosync seed --detach") == 1
    assert (served.out, served.err) == (without.out, "")


def test_while_nothing_happens_it_sleeps(library: Program) -> None:
    library("seed", "--detach")
    process = state(library)["pid"]

    def wakes() -> dict[str, int]:
        """By thread: how often it waited for something."""
        said = {path.parent.name: path.read_text() for path in Path(f"/proc/{process}/task").glob("*/status")}
        return {thread: int(text.split("voluntary_ctxt_switches:")[1].split()[0]) for thread, text in said.items()}

    def main_and_all() -> tuple[float, float]:
        before, began = wakes(), time.monotonic()
        wait_until(lambda: time.monotonic() > began + 2, "some time to pass")
        now = wakes()
        more, seconds = {thread: now[thread] - before.get(thread, 0) for thread in now}, time.monotonic() - began
        return more[str(process)] / seconds, sum(more.values()) / seconds

    takes_less(5, lambda: main_and_all()[0])  # twice in a second, and ten times if it would not be told of changes
    takes_less(25, lambda: main_and_all()[1])


def test_an_empty_library_can_be_served(memosync: Program) -> None:
    memosync("seed", "--detach")

    assert memosync("seed", "--status").out == ""


def test_status_tells_id_state_peers_bytes_given_and_title(library: Program, other: Program) -> None:
    library("seed", "--detach")
    first, second, _ = entries(library)
    other("fetch", library("share", "--public", first["id"]).out.strip())

    def rows() -> list[list[str]]:
        return [row.split("\t") for row in library("seed", "--status").lines]

    told = [first["id"], "seeding", "0", str(first["size"]), "First", "-", "1", ""]
    wait_until(lambda: rows()[0] == told, lambda: f"what was given to be told: {rows()[0]}", 20)
    assert rows()[1] == [second["id"], "seeding", "0", "0", "Second", "-", "0", ""]
    objects = [json.loads(line) for line in library("seed", "--status", "--json").lines]
    idle = {"id": second["id"], "state": "seeding", "peers": 0, "given": 0, "title": "Second", "browsers": None}
    assert objects[1] == idle | {"delivered": 0, "fetching": []}
    assert [objects[0][key] for key in ("given", "peers", "delivered")] == [first["size"], 0, 1]


def test_whoever_waits_sees_who_fetches_and_how_far_they_are(library: Program, other: Program, ended: Ended) -> None:
    library("seed", "--detach", "--up", "8k")
    first = entries(library)[0]
    waiting = Terminal([*PROGRAM, "share", "--public", first["id"], "--wait"], library.environment, columns=200)
    try:
        waiting.wait_for(lambda screen: screen.lines[-1].startswith("waiting for somebody to fetch “First”"), "it")
        link = next(line for line in waiting.screen.lines if line.startswith("magnet:"))
        fetch = ended(other.start("fetch", link))

        waiting.wait_for(
            lambda screen: re.match(r" [257][05]%.*127\.0\.0\.1:\d+  “First”", screen.lines[-1]), "how far"
        )

        (object,) = json.loads(library("seed", "--status", "--json").lines[0])["fetching"]
        assert (object["address"][:10], 0 < object["percent"] < 100) == ("127.0.0.1:", True)
        watched = Terminal([*PROGRAM, "seed", "--status"], library.environment)
        assert re.search(
            rf"{first['id']}  seeding +\d+ k?B given  not delivered +programs  First\n +[257][05] % +127", watched.end()
        )
        watched.close()
        assert waiting.end().endswith("memosync: “First” was delivered")
        assert fetch.wait(60) == 0
    finally:
        waiting.close()


@pytest.mark.parametrize("columns", [30, 60])
def test_on_a_terminal_status_is_aligned_and_as_wide_as_it(library: Program, columns: int) -> None:
    library("seed", "--detach")
    index = library.library / "index.toml"
    index.write_text(index.read_text().replace('title = "First"', f'title = "{"日本語 " * 30}"'))
    terminal = Terminal([*PROGRAM, "seed", "--status"], library.environment, columns=columns)
    terminal.end()
    terminal.close()

    first, second = [line for line in terminal.screen.lines if " seeding " in line]
    assert [first.split()[0], second.split()[0]] == [memo["id"] for memo in entries(library)][:2]
    assert first.index("日本語") == second.index("Second")
    assert first.endswith("…")
    assert second.endswith("Second")
    assert columns < 60 or terminal.screen.wrapped <= 1  # what is said on the way


def test_nothing_to_ask_or_stop_is_exit_8(library: Program) -> None:
    for option in ("--status", "--stop"):
        result = library("seed", option, code=NOT_RUNNING)
        assert result.out == ""
        assert len(errors(result.err)) == 1


def test_stop_ends_both_processes(library: Program) -> None:
    library("seed", "--detach")
    processes = [state(library)["keeper"], state(library)["pid"]]
    assert all(is_alive(process) for process in processes)

    library("seed", "--stop")

    wait_until(lambda: not any(map(is_alive, processes)), "both to be gone", 20)
    assert not serves(library, 0, 1)
    library("seed", "--status", code=NOT_RUNNING)


@pytest.mark.parametrize("how", ["option", "variable"])
def test_port_chooses_the_port_and_the_next_seeder_keeps_it(library: Program, how: str) -> None:
    port = port_of_our_own()
    environment = {"MEMOSYNC_PORT": str(port)} if how == "variable" else {}
    library("seed", "--detach", *(["--port", port] if how == "option" else []), env=environment)
    link = library("share", "--public", "last").out
    library("seed", "--stop")

    library("seed", "--detach")

    assert link.strip().endswith(f"&x.pe=127.0.0.1:{port}")
    assert state(library)["port"] == port
    assert serves(library, 0, 1, 2)


@pytest.mark.parametrize("how", [("--detach",), ()], ids=["detached", "in the foreground"])
def test_a_port_that_is_taken_is_the_reason_given(library: Program, taken_port: int, how: tuple[str]) -> None:
    result = library("seed", *how, "--port", taken_port, code=SeederError.exit_code)

    (error,) = errors(result.err)
    assert f"port {taken_port} is taken" in error
    assert error.count("memosync:") == 1
    library("seed", "--status", code=NOT_RUNNING)


def test_who_could_not_start_is_gone_once_that_is_said(library: Program, taken_port: int) -> None:
    library.meddle(
        "import time\nfrom memosync.seeder import readiness\nsay = readiness.say\n"
        "def say_and_linger(pipe, **words):\n    say(pipe, **words)\n    time.sleep('fault' in words)\n"
        "readiness.say = say_and_linger"
    )

    library("seed", "--detach", "--port", taken_port, code=SeederError.exit_code)

    library("seed", "--status", code=NOT_RUNNING)


def test_the_reason_is_heard_where_no_log_can_be_written_and_remembered(library: Program, taken_port: int) -> None:
    (library.library / ".memosync" / "seeder.log").mkdir()

    (error,) = errors(library("seed", "--detach", "--port", taken_port, code=SeederError.exit_code).err)

    assert error == f"memosync: error: the seeder did not start: port {taken_port} is taken"
    assert state(library)["fault"] == f"port {taken_port} is taken"
    assert f"port {taken_port} is taken" in library("check").out
    library("seed", "--detach")
    assert "fault" not in state(library)
    assert " is taken" not in library("check").out


def test_a_port_that_nobody_chose_is_none_that_outgoing_connections_get(library: Program) -> None:
    library("seed", "--detach")

    assert 1024 <= state(library)["port"] < 32768


@pytest.mark.parametrize("taken", [socket.SOCK_DGRAM], indirect=True)
def test_a_port_of_last_time_that_is_being_left_is_waited_for(library: Program, taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    (library.library / ".memosync" / "seeder.toml").write_text(f"port = {port}\n")
    starting = library.start("seed", "--detach")
    wait_until(lambda: state(library).get("pid"), "it to begin")
    status = library("seed", "--status")

    taken.close()

    assert [line.split("\t")[1] for line in status.lines] == ["checking"] * len(status.lines) != []
    assert status.err == f"memosync: process {state(library)['keeper']} is starting\n"

    assert starting.wait(60) == 0
    assert state(library)["port"] == port


@pytest.mark.parametrize("taken", [socket.SOCK_STREAM], indirect=True)
def test_a_port_of_last_time_that_is_taken_hinders_nothing_and_is_taken_back(
    library: Program, taken: socket.socket, ended: Ended
) -> None:
    port = taken.getsockname()[1]
    (library.library / ".memosync" / "seeder.toml").write_text(f"port = {port}\n")
    library("seed", "--detach")
    library("seed", "--stop")  # which is no reason to forget it
    library("seed", "--detach", "--up", "12k")
    other = state(library)["port"]

    assert other != port
    assert serves(library, 0, 1)
    assert f"x.pe=127.0.0.1:{other}" in library("share", "--public", "last").out
    assert f"another program has port {port}" in log(library)
    assert f"port {port}, which another program has" in library("seed", "--status").err
    first = entries(library)[0]
    take = [sys.executable, taking.__file__, "127.0.0.1", str(other), first["infohash"]]
    taker = ended(subprocess.Popen(take, stdout=subprocess.PIPE))
    wait_until(lambda: library("seed", "--status").lines[0].split("\t")[2] == "1", "a peer to be there")

    taken.close()

    wait_until(lambda: state(library)["port"] == port and serves(library, 0, 1, 2), "the port to be taken back", 20)
    assert taker.poll() is None
    assert len(taker.communicate(timeout=60)[0]) > first["size"]  # in one connection
    assert taker.returncode == 0
    assert offers(other, first["infohash"])  # by a link that was given meanwhile
    assert "another program" not in library("seed", "--status").err


@pytest.mark.parametrize("how", ["option", "variable"])
def test_up_limits_what_is_given(library: Program, other: Program, how: str) -> None:
    environment = {"MEMOSYNC_UP": "40k"} if how == "variable" else {}
    library("seed", "--detach", *(["--up", "40k"] if how == "option" else []), env=environment)
    link = library("share", "--public", entries(library)[0]["id"]).out.strip()

    started = time.monotonic()
    other("fetch", link)

    assert 1 < time.monotonic() - started < 14  # 60 KB at 40 kB/s


def test_down_limits_what_is_taken(library: Program, other: Program) -> None:
    library("seed", "--detach", "--down", "150", env={"MEMOSYNC_DOWN": "1M"})
    link = library("share", "--public", entries(library)[0]["id"]).out.strip()

    started = time.monotonic()
    other("fetch", link)

    assert time.monotonic() - started > 2  # all that is received is handshakes and four requests, some 500 bytes


def test_newly_shared_is_served_within_a_second_and_unshared_is_dropped(library: Program) -> None:
    library("seed", "--detach")
    before = state(library)["pid"]
    assert serves(library, 0, 1)

    def share_and_stop() -> float:
        library("share", "--public", "last", "--no-seed")
        served = until(lambda: serves(library, 0, 1, 2), "the third to be served")
        library("share", "--stop", "last")
        return max(served, until(lambda: serves(library, 0, 1), "it to be dropped"))

    takes_less(1, share_and_stop)
    assert state(library)["pid"] == before


@pytest.mark.parametrize("how", [("--detach",), ()], ids=["detached", "in the foreground"])
def test_a_second_seeder_names_the_first(library: Program, how: tuple[str]) -> None:
    library("seed", "--detach")
    first = state(library)

    result = library("seed", *how, "--port", "50123", code=SeederError.exit_code)

    (error,) = errors(result.err)
    assert re.search(rf"\b({first['keeper']}|{first['pid']})\b", error)
    assert state(library)["pid"] == first["pid"]


@pytest.mark.parametrize("how", [("--detach",), ()], ids=["detached", "in the foreground"])
def test_a_seeder_of_another_network_is_named_with_the_command_that_restarts_it(
    library: Program, how: tuple[str]
) -> None:
    library("seed", "--detach")

    result = library("--network", "lan", "seed", *how, code=SeederError.exit_code)

    assert "loopback" in errors(result.err)[0]
    (hint,) = [line for line in result.err.splitlines() if line.startswith("memosync: hint:")]
    assert "--network lan seed --detach" in hint
    assert state(library)["network"] == "loopback"


def test_detached_it_survives_the_terminals_end(library: Program) -> None:
    terminal = Terminal([*PROGRAM, "seed", "--detach"], library.environment)
    try:
        terminal.end()
    finally:
        terminal.close()

    assert serves(library, 0, 1)
    assert os.getsid(state(library)["keeper"]) == state(library)["keeper"]


def test_in_the_foreground_it_ends_with_its_terminal(library: Program) -> None:
    terminal = Terminal([*PROGRAM, "seed"], library.environment)
    try:
        terminal.wait_for(lambda screen: "serving 2 memos" in screen.text, "the status line")
        terminal.hang_up()

        assert terminal.process.wait(20) == 0
    finally:
        terminal.close()


def test_a_killed_server_is_back_in_three_seconds_on_the_same_port(library: Program) -> None:
    library("seed", "--detach", "--port", port_of_our_own())
    before = state(library)

    def is_back_after_a_kill() -> float:
        killed = state(library)["pid"]
        os.kill(killed, signal.SIGKILL)
        return until(lambda: state(library)["pid"] != killed and serves(library, 0, 1), "it to be back")

    is_back_after_a_kill()
    takes_less(3, is_back_after_a_kill)
    threads = Path(f"/proc/{before['keeper']}/task")
    wait_until(lambda: len(list(threads.iterdir())) == 2, "the keeper to be as it was at first", 20)

    assert state(library)["port"] == before["port"]
    assert state(library)["keeper"] == before["keeper"]
    wait_until(lambda: state(library)["ready"], "it to say so", 20)
    assert f"started again {state(library)['restarts']} times" in library("seed", "--status").err


DIES = "import os, signal, sys\nif '--kept' in sys.orig_argv: {how}"


@pytest.mark.parametrize(
    "how",
    [
        "os.kill(os.getpid(), signal.SIGSEGV)",
        "os.write(2, b'nobody knows\\n'); os._exit(1)",
        "':0' in sys.orig_argv[sys.orig_argv.index('--kept') + 1] and os.write(2, b'of old\\n'); os.abort()",
    ],
    ids=["crash", "bug", "crash after another"],
)
def test_a_server_that_dies_at_once_again_and_again_is_given_up(library: Program, how: str) -> None:
    before = dict(library.environment)
    library.meddle(DIES.format(how=how))

    result = library("seed", "--detach", code=SeederError.exit_code)

    (error,) = errors(result.err)
    assert "giving up, it died 5 times before it served" in error
    assert len(re.findall(r"the seeder died \(.*\); start [2-5]\n", log(library))) == 4
    assert re.search(r"giving up.*\n\Z", log(library))
    assert ("nobody knows" in error) == ("nobody knows" in how)
    assert ("of old" in log(library), "of old" in error) == ("of old" in how, False)
    library("seed", "--status", code=NOT_RUNNING)
    library.environment = before
    library("seed", "--detach")
    assert serves(library, 0, 1)


def test_what_went_wrong_before_is_no_reason_of_a_seeder_that_says_nothing(library: Program, tmp_path: Path) -> None:
    program, private = tmp_path / "memosync.py", library.library / ".memosync"
    program.write_text("import fcntl, sys; lock = open(sys.argv[1]); fcntl.flock(lock, 2); print(); sys.stdin.read()")
    (private / "seeder.lock").touch()
    (private / "seeder.toml").write_text('fault = "port 11111 is taken"')
    os.utime(private / "seeder.toml", (time.time() - 3600, time.time() - 3600))
    command: list[str | Path] = [sys.executable, program, private / "seeder.lock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        before = str(seeder.unsaid(private))
        os.utime(private / "seeder.toml")
        now = str(seeder.unsaid(private))
        holder.communicate()

    assert before == f"process {holder.pid} serves this library, and does not say how"
    assert now == f"{before}: port 11111 is taken"


def test_with_a_killed_keeper_the_server_ends_too(library: Program) -> None:
    library("seed", "--detach")
    before = state(library)

    os.kill(before["keeper"], signal.SIGKILL)

    wait_until(lambda: not is_alive(before["pid"]), "the server to end", 20)
    library("seed", "--status", code=NOT_RUNNING)


@pytest.mark.parametrize("command", [("seed", "--detach"), ("share", "--public", "last")], ids=["seed", "share"])
def test_after_a_killed_keeper_the_next_start_works_at_once(library: Program, command: tuple[str, ...]) -> None:
    library("seed", "--detach")
    before = state(library)

    os.kill(before["keeper"], signal.SIGKILL)
    wait_until(lambda: not is_alive(before["keeper"]), "it to die", 20)
    result = library(*command, timeout=20)

    assert state(library)["keeper"] != before["keeper"]
    assert str(before["keeper"]) not in result.err
    assert is_alive(state(library)["keeper"])
    assert serves(library, 0, 1, 2) or serves(library, 0, 1)


def test_term_ends_it_in_two_seconds_though_no_tracker_answers(library: Program) -> None:
    with Tracker(mode="silent") as silent:

        def ends() -> float:
            library("share", "--public", "--all", "--tracker", silent.udp_url, "--tracker", silent.http_url)
            processes = [state(library)["keeper"], state(library)["pid"]]
            assert len(library("seed", "--status").lines) == 3
            os.kill(processes[0], signal.SIGTERM)
            return until(lambda: not any(map(is_alive, processes)), "both to end")

        takes_less(2, ends)


def damage(library: Program, number: int, how: str) -> Path:
    """Alter a memo's file, or take it away, and give its name."""
    file: Path = library.library / entries(library)[number]["file"]
    if how == "gone":
        file.rename(file.with_suffix(".away"))
        return file
    content = bytearray(file.read_bytes())
    content[30000] ^= 1
    file.write_bytes(content if how == "altered" else content[:30000])
    return file


def test_damaged_memos_are_called_so_and_the_others_are_served(library: Program, other: Program) -> None:
    first, second, third = (memo["id"] for memo in entries(library))
    link = library("share", "--public", third).out.strip()

    files = [damage(library, 0, "altered"), damage(library, 1, "gone")]

    wanted = {first: "damaged", second: "damaged", third: "seeding"}
    wait_until(lambda: status(library) == wanted, "them to be called damaged", 20)
    wait_until(lambda: all(file.name in log(library) for file in files), "the log to name them", 20)
    assert offers(state(library)["port"], entries(library)[2]["infohash"])
    other("fetch", link)


@pytest.mark.parametrize("how", ["altered", "cut", "gone"])
def test_what_was_damaged_before_it_started_is_called_so_too(library: Program, how: str) -> None:
    first, second, _ = (memo["id"] for memo in entries(library))

    file = damage(library, 0, how)
    library("seed", "--detach")

    assert status(library) == {first: "damaged", second: "seeding"}
    wait_until(lambda: file.name in log(library), "the log to name it", 20)
    assert serves(library, 1)


def test_a_file_that_came_back_is_served_again(library: Program) -> None:
    file = damage(library, 0, "gone")
    library("seed", "--detach")
    assert serves(library, 1)

    file.with_suffix(".away").rename(file)

    wait_until(lambda: serves(library, 0, 1), "it to be served again", 20)
    wait_until(lambda: set(status(library).values()) == {"seeding"}, "it to be told", 20)


def test_bytes_that_rotted_behind_a_right_time_stamp_are_never_given(library: Program, other: Program) -> None:
    file = library.library / entries(library)[0]["file"]
    stamp = file.stat().st_mtime_ns
    damage(library, 0, "altered")
    os.utime(file, ns=(stamp, stamp))
    library("seed", "--detach")
    link = library("share", "--public", entries(library)[0]["id"], "--no-seed").out.strip()

    fetching = other.start("fetch", link)

    wait_until(lambda: "damaged" in status(library).values(), "it to be called damaged", 20)
    assert serves(library, 1)
    fetching.terminate()
    assert fetching.wait(20) == Interrupted(signal.SIGTERM).exit_code
    assert list(other.library.glob("*.webm")) == []


def test_a_broken_index_hinders_nothing_that_is_served(library: Program) -> None:
    library("seed", "--detach")
    index = library.library / "index.toml"
    good = index.read_text()

    index.write_text("version = 1\n[[memo]\n")
    wait_until(lambda: "index.toml is broken" in log(library), "the log to say so", 20)
    index.write_text(good)

    assert serves(library, 0, 1)
    library("share", "--public", "last")
    assert serves(library, 0, 1, 2)


def test_the_log_stays_under_a_megabyte(library: Program) -> None:
    index = library.library / "index.toml"
    lost = [
        f'[[memo]]\nid = "zz{number:06}"\nfile = "2026-01-01-{"long-" * 10}zz{number:06}.webm"\ntitle = "Lost"\n'
        f'recorded = 2026-01-01T00:00:00Z\nduration = 1.0\nsize = 9\ninfohash = "{number:040}"\nshared = true\n'
        for number in range(1500)
    ]
    index.write_text(index.read_text() + "\n" + "\n".join(lost))
    private, infohash = library.library / ".memosync", entries(library)[0]["infohash"]
    (private / "seeder.log").write_text("2026-01-01 00:00:00 it has served for a while\n" * 8500)  # 390 kB

    library("seed", "--detach")
    for _ in range(3):  # 200 kB are written each time
        killed = state(library)["pid"]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: state(library)["pid"] != killed and state(library)["ready"], "it to be back")  # noqa: B023

    wait_until(lambda: offers(state(library)["port"], infohash), "it to be served")
    library("seed", "--stop")  # until when the log is written
    assert (private / "seeder.log.1").exists()
    assert 400_000 < sum(path.stat().st_size for path in private.glob("seeder.log*")) < 1_000_000


def test_nothing_of_it_listens_but_on_the_loopback_interface(library: Program) -> None:
    library("seed", "--detach")

    listening = subprocess.run(["ss", "-Htulnp"], capture_output=True, text=True, check=True).stdout
    ours = [line.split()[4] for line in listening.splitlines() if f"pid={state(library)['pid']}," in line]
    assert ours
    assert all(re.match(r"127\.0\.0\.1(%lo)?:", address) for address in ours)


def test_a_zombie_is_no_living_process() -> None:
    child = subprocess.Popen(["true"])
    wait_until(
        lambda: Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z", "its end", 5
    )  # nobody waits for it

    assert process.birth(child.pid) == ""
    assert process.birth(os.getpid()) != ""

    child.wait()


def is_told_to_end(pid: int) -> bool:
    """Tell whether TERM waits for a process that is stopped (proc(5))."""
    pending = re.search(r"^ShdPnd:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(pending and int(pending[1], 16) & 1 << signal.SIGTERM - 1)


@pytest.mark.parametrize("is_killed", [False, True], ids=["Ctrl-C", "a keeper that is killed"])
def test_while_a_seeder_is_slow_to_end(library: Program, ended: Ended, is_killed: bool) -> None:
    """Who waits for that hears Ctrl-C; and when nobody is left who could be asked, it was no stranger's."""
    library("seed", "--detach")
    keeper, server = state(library)["keeper"], state(library)["pid"]
    for pid in (keeper, server):
        os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        stopping = ended(library.start("seed", "--stop", stderr=subprocess.PIPE))
        wait_until(lambda: is_told_to_end(keeper), "it to be told", 20)
        if is_killed:
            os.kill(keeper, signal.SIGKILL)
            wait_until(lambda: time.monotonic() > began + client._PATIENCE + 1, "its patience to be over", 20)
            os.kill(server, signal.SIGCONT)

            assert stopping.wait(30) == 0, errors(stopping.communicate()[1].decode())
        else:
            stopping.send_signal(signal.SIGINT)

            assert stopping.wait(5) == Interrupted(signal.SIGINT).exit_code
    finally:
        for pid in filter(is_alive, (keeper, server)):
            os.kill(pid, signal.SIGCONT)
