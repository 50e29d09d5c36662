"""share: a link that works at once and for ever.

    SHARES=100 python -m pytest tests/test_share.py -k times

shares and fetches a hundred times instead of ten.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import libtorrent as lt
import pytest
from support.disk import POWERLESS
from support.handshake import greet, is_connected, offers, visiting
from support.library import Entry, entries, only
from support.program import PROGRAM, Ended, Program, errors
from support.seeder import is_alive, port_of_our_own
from support.sound import noise
from support.terminal import Terminal
from support.tracker import Tracker
from support.waiting import wait_until
from support.wstracker import WebSocketTracker

from memosync.errors import LibraryError, NotFoundError, SeederError, SwarmError, UsageError
from memosync.seeder.state import is_running

SHARES = int(os.environ.get("SHARES", "10"))
SENTENCE = "memosync: sharing “{}”: only who has the link can listen, and a link cannot be called back"


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of noise, encoded already."""
    return noise(tmp_path_factory.mktemp("sound") / "noise.webm", 1, "-c:a", "libopus", "-b:a", "64k")


@pytest.fixture
def other(memosync: Program, tmp_path: Path) -> Program:
    """Somebody else's library."""
    return memosync.on(tmp_path / "Theirs")


@pytest.fixture(scope="module")
def template(sound: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of three memos."""
    home = tmp_path_factory.mktemp("template")
    program = Program(home / "Memos", {"HOME": str(home)})
    for title in ("First", "Second", "Third"):
        program("record", sound, "-t", title, "--again")
    return program.library


@pytest.fixture
def three(memosync: Program, template: Path) -> list[str]:
    """Copy it into ours and give the ids."""
    shutil.copytree(template, memosync.library)
    return [memo["id"] for memo in entries(memosync)]


def record(memosync: Program, sound: Path, title: str) -> str:
    """Make a memo and give its id."""
    return memosync("record", sound, "-t", title, "--again").out.strip()


def entry(memosync: Program, memo: str) -> Entry:
    """Read a memo's entry as it stands in the index."""
    (found,) = [entry for entry in entries(memosync) if entry["id"] == memo]
    return found


def infohash(link: str) -> str:
    """Take the infohash out of a magnet."""
    return str(lt.parse_magnet_uri(link.strip()).info_hashes.v1)


def infohashes(memosync: Program, *memos: str) -> list[str]:
    return [entry(memosync, memo)["sealed"] for memo in memos]


def change_by_hand(memosync: Program, old: str, new: str) -> None:
    """Edit the index as a person would."""
    index = memosync.library / "index.toml"
    text = index.read_text()
    assert text.count(old) == 1
    index.write_text(text.replace(old, new))


def serves(memosync: Program) -> bool:
    return memosync.start("seed", "--status").wait(20) == 0


def test_one_magnet_a_line_in_the_order_of_the_arguments(memosync: Program, three: list[str]) -> None:
    first, second, third = three

    result = memosync("share", third, first, second)

    assert [infohash(line) for line in result.lines] == infohashes(memosync, third, first, second)
    assert all(line.startswith("magnet:?xt=urn:btih:") for line in result.lines)


def test_dash_reads_ids_and_rows_of_list(memosync: Program, three: list[str]) -> None:
    first, second, third = three
    rows = memosync("list").out

    ids = memosync("share", "-", "--no-seed", stdin=f"\ufeff{second}\n\n  {third[:6]}\n")
    all_rows = memosync("share", first, "-", "--no-seed", stdin=rows)

    assert [infohash(line) for line in ids.lines] == infohashes(memosync, second, third)
    assert sorted(infohash(line) for line in all_rows.lines) == sorted(infohashes(memosync, first, second, third))
    assert infohash(all_rows.lines[0]) == infohashes(memosync, first)[0]


def test_all_shares_every_memo(memosync: Program, three: list[str]) -> None:
    memos = three

    links = memosync("share", "--all").lines

    assert [infohash(link) for link in links] == infohashes(memosync, *memos)
    assert len(memosync("seed", "--status").lines) == 3


def test_a_prefix_and_last_name_a_memo(memosync: Program, three: list[str]) -> None:
    first, second, third = three
    prefix = next(first[:length] for length in range(3, 9) if first[:length] not in (second[:length], third[:length]))

    links = memosync("share", prefix.upper(), "last", "--no-seed").lines

    assert [infohash(link) for link in links] == infohashes(memosync, first, third)


def test_the_magnet_has_infohash_title_and_this_machines_address(memosync: Program, sound: Path) -> None:
    memo = record(memosync, sound, "Ähre & Co. = 100 %")

    link = memosync("share", memo, "--public").out.strip()

    port = tomllib.loads((memosync.library / ".memosync" / "seeder.toml").read_text())["port"]
    magnet = lt.parse_magnet_uri(link)
    assert re.match(r"magnet:\?xt=urn:btih:[0-9a-f]{40}&", link)
    assert str(magnet.info_hashes.v1) == entry(memosync, memo)["infohash"]
    assert magnet.name == "Ähre & Co. = 100 %"
    assert magnet.peers == [("127.0.0.1", port)]
    assert link.endswith(f"&x.pe=127.0.0.1:{port}")
    assert link.isascii()


def test_the_default_trackers_are_udp_and_websocket_ones(memosync: Program, three: list[str]) -> None:

    far = memosync("--network", "public", "share", "last", "--no-seed").out
    near = memosync("share", "last", "--no-seed").out

    trackers = lt.parse_magnet_uri(far.strip()).trackers
    assert {tracker.partition(":")[0] for tracker in trackers} == {"udp", "wss"}
    assert 2 <= len(trackers) <= 6
    assert "tr=" not in near


def test_tracker_replaces_the_default_ones_and_is_remembered(memosync: Program, three: list[str]) -> None:
    memo = three[0]
    trackers = ["udp://127.0.0.1:6969/announce", "ws://127.0.0.1:8000"]

    given = memosync("share", memo, "--no-seed", *(f"--tracker={tracker}" for tracker in trackers)).out
    later = memosync("share", memo, "--no-seed").out

    assert lt.parse_magnet_uri(given.strip()).trackers == trackers
    assert entry(memosync, memo)["trackers"] == trackers
    assert given == later


def test_the_variable_replaces_the_default_trackers(memosync: Program, three: list[str]) -> None:
    trackers = ["udp://127.0.0.1:6969/announce", "http://127.0.0.1:6969/announce"]

    link = memosync("share", "last", "--no-seed", env={"MEMOSYNC_TRACKERS": " ".join(trackers)}).out

    assert lt.parse_magnet_uri(link.strip()).trackers == trackers


def test_a_tracker_outside_of_the_network_is_refused_and_one_of_the_variable_is_left_out(
    memosync: Program, sound: Path
) -> None:
    memosync("record", sound)
    name, ours = "udp://tracker.example:6969/announce", "UDP://127.0.0.1:1"

    refused = memosync("share", "last", "--no-seed", "--tracker", ours, "--tracker", name, code=UsageError.exit_code)
    assert refused.out == ""
    assert f"{name} is outside of --network loopback" in refused.err
    assert only(memosync)["trackers"] == []

    shared = memosync("share", "last", "--no-seed", env={"MEMOSYNC_TRACKERS": f"{name} {ours}"})
    assert f"{name} is outside of --network loopback; it is left out" in shared.err
    assert "tr=udp%3A%2F%2F127.0.0.1%3A1" in shared.out
    assert (only(memosync)["trackers"], only(memosync)["typed"]) == (["udp://127.0.0.1:1"], True)


def test_a_tracker_is_used_as_it_was_typed(memosync: Program, sound: Path) -> None:
    memosync("record", sound)
    with Tracker() as tracker:
        url = tracker.http_url + "?passkey=secret"  # what a stranger could not have us ask here

        link = memosync("share", "last", "--tracker", url).out

        assert "passkey%3Dsecret" in link
        wait_until(lambda: tracker.announces, "it to be asked")


def test_other_trackers_of_a_served_memo_are_asked_at_once_and_cost_no_peer(
    memosync: Program, other: Program, three: list[str]
) -> None:
    def told() -> list[str]:
        """Give state, peers and bytes given."""
        return memosync("seed", "--status").lines[0].split("\t")[1:4]

    with Tracker() as udp, Tracker() as http, WebSocketTracker() as for_tabs:
        link = memosync("share", "last", "--public", "--tracker", udp.udp_url).out.strip()
        other("fetch", link)
        size = str(only(other)["size"])
        wait_until(lambda: told() == ["seeding", "0", size], "what was given to be told", 20)
        with socket.create_connection(("127.0.0.1", int(link.rpartition(":")[2])), 30) as peer:
            greet(peer, infohash(link))
            wait_until(lambda: told()[1] == "1", "the peer to be told of", 20)
            changes: list[tuple[list[str], Callable[[], int]]] = [
                ([http.http_url], lambda: len(http.announces)),
                ([http.http_url, for_tabs.url], lambda: len(for_tabs.announces())),
                ([udp.udp_url], lambda: len(udp.announces)),
                ([for_tabs.url], lambda: len(for_tabs.announces())),
            ]
            for urls, announces in changes:
                before = announces()
                memosync("share", "last", "--public", *(f"--tracker={url}" for url in urls))
                wait_until(lambda: announces() > before, f"{urls} to be asked", 7)  # noqa: B023

                assert is_connected(peer)
                assert ["seeding", "1", size] == told()


def test_what_is_no_tracker_is_refused_before_anything_is_done(memosync: Program, three: list[str]) -> None:
    for tracker in ("tracker.example.org", "ftp://127.0.0.1/announce", "udp://", "udp://a b:1"):
        result = memosync("share", three[0], "--tracker", tracker, code=UsageError.exit_code)
        assert result.out == ""

    assert not {"sealed", "infohash"} & entry(memosync, three[0]).keys()


def test_shared_and_at_once_fetched_many_times(memosync: Program, other: Program, sound: Path) -> None:
    memos = memosync("record", "--again", *[sound] * SHARES).lines
    assert len(set(memos)) == SHARES

    for number, memo in enumerate(memos):
        if number % 2 == 0 and number:  # half of them start the seeder
            memosync("seed", "--stop")
        link = memosync("share", memo).out.strip()
        assert offers(int(link.rpartition(":")[2]), infohash(link))
        assert other("fetch", link, "--timeout", "5s").out == f"{memo}\n"
        assert (memosync.library / entry(memosync, memo)["file"]).read_bytes() == (
            other.library / entry(other, memo)["file"]
        ).read_bytes()


def test_two_shares_at_once_start_one_seeder(memosync: Program, other: Program, three: list[str]) -> None:
    memos = three

    shares = [memosync.start("share", memo) for memo in memos]

    answers = [share.communicate(timeout=30) for share in shares]
    assert [share.returncode for share in shares] == [0, 0, 0], answers
    links = [out.decode().strip() for out, _ in answers]
    assert len({link.partition("&x.pe=")[2] for link in links}) == 1
    for link, memo in zip(links, memos, strict=True):
        assert other("fetch", link, "--timeout", "5s").out == f"{memo}\n"


def test_no_seed_starts_no_seeder(memosync: Program, three: list[str]) -> None:
    memo = three[0]

    link = memosync("share", memo, "--no-seed").out

    memosync("seed", "--status", code=SeederError.exit_code)
    assert "x.pe" not in link
    assert entry(memosync, memo)["private"] is True


def test_foreground_serves_until_interrupted(memosync: Program, other: Program, three: list[str], ended: Ended) -> None:
    memo = three[0]

    process = ended(memosync.start("share", memo, "--foreground", text=True))
    assert process.stdout
    link = process.stdout.readline().strip()
    other("fetch", link, "--timeout", "5s")

    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    memosync("seed", "--status", code=SeederError.exit_code)


NOBODY = "magnet:?xt=urn:btih:" + "ab" * 20 + "&x.pe=127.0.0.1:9999"


@pytest.mark.parametrize(
    ("arguments", "live", "code"),
    [
        (("share", "last", "--foreground"), "serving 1 memo on port", 0),
        (("share", "last", "--wait"), "waiting for somebody to fetch “Third”", 130),
        (("fetch", NOBODY), "0 peers  waiting for", 130),
    ],
    ids=["foreground", "wait", "fetch"],
)
def test_a_live_line_stands_alone_and_is_ended_by_ctrl_c(
    memosync: Program, three: list[str], arguments: tuple[str, ...], live: str, code: int
) -> None:
    terminal = Terminal([*PROGRAM, *arguments], memosync.environment, columns=200)
    try:
        link = "magnet:" if arguments[0] == "share" else ""
        terminal.wait_for(lambda screen: live in screen.lines[-1] and link in screen.text, "the live line")

        terminal.type("\x03")

        terminal.end(code)
        assert terminal.screen.column == 0
        assert sum(live in line for line in terminal.screen.lines) == 1
        links = [line for line in terminal.screen.lines if "magnet:" in line]
        assert all(line.startswith("magnet:") and line.count("memo") == 0 for line in links)
        assert len(links) == (arguments[0] == "share")
    finally:
        terminal.close()


def test_wait_returns_when_somebody_has_all_of_it(
    memosync: Program, other: Program, three: list[str], ended: Ended
) -> None:
    first, second, _ = three
    process = ended(memosync.start("share", first, second, "--wait", text=True))
    assert process.stdout
    links = [process.stdout.readline().strip() for _ in range(2)]

    def peers() -> list[str]:
        return [row.split("\t")[2] for row in memosync("seed", "--status").lines]

    other("fetch", links[0])
    with visiting(int(links[1].rpartition(":")[2]), infohash(links[1])):
        wait_until(lambda: peers()[1] == "1", "somebody to come and have nothing of the second", 20)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
    other("fetch", links[1])

    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")


def test_wait_can_be_interrupted_and_the_seeder_goes_on(memosync: Program, three: list[str], ended: Ended) -> None:
    process = ended(memosync.start("share", "last", "--wait", text=True))
    assert process.stdout
    process.stdout.readline()

    process.send_signal(signal.SIGINT)

    assert process.wait(20) == 130
    assert serves(memosync)


SLOW = "import sys, time\nif '--kept' in sys.orig_argv: time.sleep(60)"
MEETS = ["strace", "-f", "-qq", "-e", "trace=setsid", "-e", "inject=setsid:delay_enter=2s", "-o"]


@pytest.mark.parametrize(
    "arguments",
    [("share", "last"), ("seed", "--detach"), ("share", "last", "--wait")],
    ids=lambda words: " ".join(words),
)
def test_an_interrupt_while_the_seeder_starts_ends_both(
    memosync: Program, other: Program, three: list[str], ended: Ended, arguments: tuple[str, ...]
) -> None:
    before = dict(memosync.environment)
    memosync.meddle(SLOW)
    process = ended(memosync.start(*arguments, text=True))
    wait_until(lambda: is_running(memosync.library / ".memosync"), "the keeper to hold its lock", 20)

    process.send_signal(signal.SIGINT)

    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", SENTENCE.format("Third") + "\n" if "share" in arguments else "")
    assert not is_running(memosync.library / ".memosync")
    memosync.environment = before
    other("fetch", memosync("share", "last").out.strip(), "--timeout", "5s")


@pytest.mark.parametrize("running", [False, True], ids=["cold", "warm"])
def test_it_waits_for_what_the_seeder_says_instead_of_asking_again_and_again(
    memosync: Program, three: list[str], running: bool
) -> None:
    if running:
        memosync("seed", "--detach")
    trace = memosync.library.with_name("trace")
    memosync.under = ["strace", "--trace=openat", "--string-limit=300", f"--output={trace}"]  # the process itself alone

    memosync("share", three[0], "--tracker", "udp://127.0.0.1:9")

    memosync.under = []
    assert trace.read_text().count('/seeder.toml", O_RDONLY') <= 4
    assert trace.read_text().count('/index.toml", O_RDONLY') <= 2


Met = Callable[..., subprocess.Popen[str]]


SLOW = """
import time
from memosync.library import sealed
form_of = sealed.form_of
sealed.form_of = lambda *given, **named: [time.sleep(0.3), form_of(*given, **named)][1]
"""


READS_SLOWLY = """
import time
from memosync import files, sealing
fill, open_regular = sealing._fill, files.open_regular
sealing._fill = lambda *given: [time.sleep(0.25), fill(*given)][1]
sealing._AT_ONCE = 8

class Slow:
    def __init__(self, file):
        self.file = file
    def __enter__(self):
        return self
    def __exit__(self, *given):
        self.file.close()
    def __getattr__(self, name):
        return getattr(self.file, name)
    def readinto(self, buffer):
        time.sleep(0.03)
        return self.file.readinto(buffer)

import memosync.torrent.metainfo as metainfo
from types import SimpleNamespace
metainfo.files = SimpleNamespace(**{**vars(files), "open_regular": lambda *given: Slow(open_regular(*given))})
"""


@pytest.mark.parametrize("options", [[], ["--new"], ["--public"]], ids=" ".join)
def test_of_one_that_is_large_a_terminal_shows_how_far_it_is(
    memosync: Program, tmp_path: Path, options: list[str]
) -> None:
    loud = ("-ac", "2", "-c:a", "libopus", "-b:a", "512k", "-vbr", "off", "-compression_level", "0")
    memosync("record", noise(tmp_path / "loud.webm", 16, *loud), "-t", "Loud")
    memosync.meddle(READS_SLOWLY)
    terminal = Terminal([*PROGRAM, "share", "last", "--no-seed", *options], memosync.environment)
    try:
        terminal.end()
    finally:
        terminal.close()

    assert re.search(r"[1-9]\d%  “Loud”", terminal.wrote)
    assert re.search(r"%  “Loud”  \d s left", terminal.wrote)
    assert "%" not in terminal.screen.text.partition("magnet:")[0]


def test_of_many_a_terminal_shows_how_far_it_is(memosync: Program, three: list[str]) -> None:
    memosync.meddle(SLOW)
    terminal = Terminal([*PROGRAM, "share", "--all", "--no-seed"], memosync.environment, columns=100)
    try:
        terminal.end()
    finally:
        terminal.close()

    assert re.search(rf"[67]\d%  of {len(three)} memos", terminal.wrote)
    assert "of 3 memos" not in terminal.screen.text


@pytest.fixture
def met(memosync: Program, ended: Ended) -> Met:
    """Start it, and type Ctrl-C while the keeper is still in the process group of who started it, and dies of it."""

    def start(*arguments: object) -> subprocess.Popen[str]:
        trace = memosync.library.with_name("trace")
        memosync.under = [*MEETS, str(trace)]
        process = ended(memosync.start(*arguments, text=True, start_new_session=True))
        memosync.under = []
        wait_until(lambda: trace.exists() and "setsid(" in trace.read_text(), "the keeper to begin", 20)
        os.killpg(process.pid, signal.SIGINT)
        wait_until(lambda: "killed by SIGINT" in trace.read_text(), "the keeper to die of it", 20)
        return process

    return start


def test_an_interrupt_that_the_young_keeper_dies_of_is_no_failure(
    memosync: Program, other: Program, three: list[str], met: Met
) -> None:
    process = met("share", "last")

    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", SENTENCE.format("Third") + "\n")
    assert not is_running(memosync.library / ".memosync")
    other("fetch", memosync("share", "last").out.strip(), "--timeout", "5s")


def test_a_recording_is_shared_though_the_young_keeper_dies_of_an_interrupt(
    memosync: Program, other: Program, sound: Path, met: Met
) -> None:
    process = met("record", sound, "--share")
    assert process.stdout

    other("fetch", process.stdout.readline().strip(), "--timeout", "5s")
    memosync("seed", "--stop")  # which strace waits for
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_stop_drops_it_and_the_memo_stays(memosync: Program, other: Program, three: list[str]) -> None:
    first, second, third = three
    links = memosync("share", first, second).lines

    result = memosync("share", "--stop", first)

    assert result.out == ""
    rows = {line.split("\t")[0]: line.split("\t")[4] for line in memosync("list").lines}
    assert rows == {first: "-", second: "s", third: "-"}
    wait_until(lambda: len(memosync("seed", "--status").lines) == 1, "the seeder to drop it", 20)
    other("fetch", links[0], "--timeout", "1s", code=SwarmError.exit_code)
    other("fetch", links[1])


def test_stop_is_one_change_and_says_what_it_did(memosync: Program, three: list[str], tmp_path: Path) -> None:
    first, second, _ = three
    memosync("share", first, second, "--no-seed")
    memosync("share", second, "--no-seed", "--public")
    trace = tmp_path / "trace"

    memosync.under = ["strace", "-f", "-qq", "-y", "-e", "trace=rename,renameat,renameat2", "-o", str(trace)]
    of_public = memosync("share", "--stop", "--public", "--all").err.splitlines()
    of_all = memosync("share", "--stop", "--all").err.splitlines()

    assert of_public == [
        "memosync: “First” was served by the private link alone, and still is",
        "memosync: served by the private link alone now: “Second”; who has it keeps it",
        "memosync: not served before: “Third”",
    ]
    assert of_all == [
        "memosync: served no longer: “First”, “Second”; who has it keeps it",
        "memosync: not served before: “Third”",
    ]
    assert len(re.findall(r'/index\.toml"[^"]*$', trace.read_text(), re.MULTILINE)) == 1  # of the last command alone


def test_the_link_survives_a_title_changed_by_hand(memosync: Program, other: Program, three: list[str]) -> None:
    memo = three[0]
    before = memosync("share", memo, "--public").out
    file = memosync.library / entry(memosync, memo)["file"]
    content = file.read_bytes()

    change_by_hand(memosync, 'title = "First"', 'title = "Conversation"')
    after = memosync("share", memo, "--public").out

    assert infohash(before) == infohash(after)
    assert lt.parse_magnet_uri(after.strip()).name == "Conversation"
    assert content == file.read_bytes()
    other("fetch", before.strip())


def test_a_title_changed_before_the_first_share_travels_in_the_file(
    memosync: Program, other: Program, three: list[str]
) -> None:
    memo = three[0]

    change_by_hand(memosync, 'title = "First"', 'title = "Conversation"')
    other("fetch", memosync("share", memo).out.strip())

    assert only(other)["title"] == "Conversation"
    assert entry(memosync, memo)["size"] == (memosync.library / entry(memosync, memo)["file"]).stat().st_size


def test_sharing_what_is_tagged_right_changes_no_byte(memosync: Program, three: list[str]) -> None:
    memo = three[0]
    file = memosync.library / entry(memosync, memo)["file"]
    before = (file.stat().st_ino, file.read_bytes())

    memosync("share", memo, "--no-seed")

    assert before == (file.stat().st_ino, file.read_bytes())


@pytest.mark.parametrize("lost", [["index.toml"], ["index.toml", ".memosync"]], ids=["index", "all that is ours"])
def test_the_link_survives_a_lost_index(memosync: Program, other: Program, sound: Path, lost: list[str]) -> None:
    memo = record(memosync, sound, 'The "talk": 1/2')
    before = memosync("share", memo, "--public", "--no-seed").out

    for name in lost:
        path = memosync.library / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    memosync("check", "--repair")
    after = memosync("share", memo, "--public").out

    assert infohash(before) == infohash(after)
    assert entry(memosync, memo)["title"] == 'The "talk": 1/2'
    other("fetch", after.strip())


def torrent_by_somebody_else(sound: Path, directory: Path) -> tuple[Path, Path]:
    """Make a memo and its torrent, of another name and another piece length than ours."""
    directory.mkdir()
    made = lt.create_torrent(
        [lt.create_file_entry("Their talk.webm", sound.stat().st_size)], 32768, lt.create_torrent.v1_only
    )
    (directory / "Their talk.webm").write_bytes(sound.read_bytes())
    lt.set_piece_hashes(made, str(directory))
    torrent = directory / "their.torrent"
    torrent.write_bytes(lt.bencode(made.generate()))
    return directory / "Their talk.webm", torrent


def take_in(memosync: Program, sound: Path, directory: Path) -> str:
    """Have a memo whose torrent somebody else made fetched (its bytes wait in the staging directory); give its link."""
    file, torrent = torrent_by_somebody_else(sound, directory)
    link = f"magnet:?xt=urn:btih:{lt.load_torrent_file(str(torrent)).info_hashes.v1}"
    staging = memosync.library / ".memosync" / "incoming" / infohash(link)
    staging.mkdir(parents=True)
    shutil.copy(file, staging / "memo.webm")
    memosync("fetch", torrent)
    return link


def test_a_fetched_memo_is_shared_on_by_the_same_link(
    memosync: Program, other: Program, sound: Path, tmp_path: Path
) -> None:
    link = take_in(memosync, sound, tmp_path / "theirs")

    shared = memosync("share", "last", "--public").out

    assert infohash(link) == infohash(shared)
    other("fetch", shared.strip())
    assert infohash(link) == infohash(other("share", "last", "--public", "--no-seed").out)


def test_a_fetched_memo_keeps_its_link_when_the_index_is_lost(
    memosync: Program, other: Program, sound: Path, tmp_path: Path
) -> None:
    link = take_in(memosync, sound, tmp_path / "theirs")

    (memosync.library / "index.toml").unlink()
    shared = memosync("share", "last", "--public").out

    assert infohash(link) == infohash(shared)
    other("fetch", shared.strip())


def test_the_link_survives_being_fetched_and_shared_on(memosync: Program, other: Program, three: list[str]) -> None:
    link = memosync("share", "last", "--public").out.strip()
    other("fetch", link)
    memosync("seed", "--stop")

    onward = other("share", "last", "--public").out.strip()
    third = memosync.on(memosync.library.with_name("Third"))
    third("fetch", onward)

    assert infohash(link) == infohash(onward) == only(third)["infohash"]


def test_what_a_link_means_is_said_once_on_standard_error(memosync: Program, three: list[str]) -> None:

    result = memosync("share", "--all", "--no-seed")

    assert result.err.splitlines() == [SENTENCE.replace("“{}”", "“First”, “Second”, “Third”")]


def scan(lines: list[str]) -> list[str]:
    """Hold another program's camera before what a dark terminal shows: half blocks are light, the rest is dark."""
    pixels = {"█": (255, 255), "▀": (255, 0), "▄": (0, 255), " ": (0, 0)}
    rows = [bytes(pixels[block][half] for block in line for _ in range(4)) for line in lines for half in (0, 1)]
    image = b"P5 %d %d 255\n" % (len(rows[0]), 4 * len(rows)) + b"".join(4 * row for row in rows)
    read = subprocess.run(["zbarimg", "--quiet", "--raw", "pgm:-"], input=image, capture_output=True, check=True)
    return read.stdout.decode().splitlines()


def test_another_program_reads_each_link_in_its_qr_code(memosync: Program, three: list[str]) -> None:
    change_by_hand(memosync, 'title = "Third"', f'title = "Größe & Co. 🎙 {"x" * 300}"')
    options = ("--network", "public", "share", three[0], three[2], "--public", "--no-seed")

    plain = memosync(*options)
    drawn = memosync(*options, "--qr")

    assert plain.out == drawn.out
    lines = [line for line in drawn.err.splitlines() if set(line) <= set("█▀▄ ")]
    codes = [list(code) for _, code in itertools.groupby(lines, len)]  # the longer the link, the wider
    assert [scan(code) for code in codes] == [[link] for link in plain.lines]


def test_a_qr_code_that_has_no_room_is_told_and_not_drawn(memosync: Program, three: list[str]) -> None:
    command = [*PROGRAM, "share", "last", "--public", "--no-seed", "--qr"]
    link = memosync(*command[len(PROGRAM) :]).out.strip()
    for columns, rows, drawn in ((36, 60, False), (37, 60, True), (41, 60, True), (80, 20, True), (80, 19, False)):
        terminal = Terminal(command, memosync.environment, columns=columns, rows=rows)
        terminal.end()
        terminal.close()
        codes = [line.ljust(columns) for line in terminal.screen.lines if set(line) & set("█▀▄")]
        assert (scan(codes) if codes else []) == [link] * drawn
        said = "".join(terminal.screen.text.split())  # where it is broken is another question
        assert ("needsawindowof37columnsand20lines" in said) != drawn


@pytest.mark.parametrize("which", ["--all", "-"])
def test_where_there_is_nothing_to_share_no_seeder_is_started(memosync: Program, which: str) -> None:
    result = memosync("share", which)

    assert (result.out, result.err) == ("", "memosync: there is nothing to share\n")
    assert not memosync.library.exists()


def test_nothing_is_done_when_one_of_several_is_unknown(memosync: Program, three: list[str]) -> None:
    memo = three[0]

    result = memosync("share", memo, "zzzzzzzz", code=NotFoundError.exit_code)

    assert result.out == ""
    assert result.err.splitlines()[0] == "memosync: error: no memo 'zzzzzzzz'"
    assert not {"sealed", "infohash"} & entry(memosync, memo).keys()
    memosync("seed", "--status", code=SeederError.exit_code)


def test_an_ambiguous_prefix_names_the_candidates(memosync: Program, sound: Path, three: list[str]) -> None:
    for memo in ("aaaaaaaa", "aaaaaaab"):
        shutil.copy(sound, memosync.library / f"2026-08-25-talk-{memo}.webm")

    result = memosync("share", "aaaa", code=NotFoundError.exit_code)

    (error,) = [line for line in result.err.splitlines() if line.startswith("memosync: error:")]
    assert "aaaaaaaa" in error
    assert "aaaaaaab" in error
    assert result.out == ""


def test_no_argument_at_all_is_a_usage_error(memosync: Program) -> None:
    assert memosync("share", code=UsageError.exit_code).out == ""


def test_a_memo_whose_file_is_gone_is_not_shared(memosync: Program, three: list[str]) -> None:
    memo = three[0]
    file = memosync.library / entry(memosync, memo)["file"]
    file.unlink()

    result = memosync("share", memo, code=LibraryError.exit_code)

    assert result.out == ""
    assert str(file) in result.err


@pytest.mark.parametrize("fault", ["a directory", "closed", "a disk that fails", "empty", "cut"])
def test_a_memo_that_cannot_be_read_is_not_shared(memosync: Program, three: list[str], fault: str) -> None:
    memo = three[0]
    before = entry(memosync, memo)
    file = memosync.library / before["file"]
    if fault == "closed":
        file.chmod(0)
        memosync.under = POWERLESS
    elif fault == "a directory":
        file.unlink()
        file.mkdir()
    elif fault == "empty":
        file.write_bytes(b"")
    elif fault == "cut":
        os.truncate(file, file.stat().st_size // 3)
    else:
        memosync.under = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(file), "-e", "inject=read:error=EIO"]

    result = memosync("share", memo, "--no-seed", code=LibraryError.exit_code)

    assert (result.out, len(errors(result.err))) == ("", 1)
    assert f"cannot read {file.name}: " in result.err
    assert before == entry(memosync, memo)


def test_a_seeder_of_another_network_is_not_used(memosync: Program, three: list[str]) -> None:
    first, second, _ = three
    memosync("share", first)

    result = memosync("--network", "lan", "share", second, code=SeederError.exit_code)

    assert result.out == ""
    assert "loopback" in result.err
    (hint,) = [line for line in result.err.splitlines() if line.startswith("memosync: hint:")]
    assert "seed --stop" in hint
    assert "--network lan seed --detach" in hint


def test_a_seeder_that_was_killed_is_started_again(memosync: Program, other: Program, three: list[str]) -> None:
    first, second, _ = three
    memosync("seed", "--detach", "--port", port_of_our_own())
    old = memosync("share", first).out.strip()
    state = tomllib.loads((memosync.library / ".memosync" / "seeder.toml").read_text())
    os.kill(state["keeper"], signal.SIGSTOP)  # else the server ends with it, or comes back
    for process in (state["pid"], state["keeper"]):
        os.kill(process, signal.SIGKILL)
    wait_until(lambda: not is_alive(state["pid"]) and not is_alive(state["keeper"]), "both to die", 20)

    new = memosync("share", second).out.strip()

    assert old.partition("x.pe=")[2] == new.partition("x.pe=")[2]
    other("fetch", old, new)


def test_share_in_a_terminal_leaves_a_seeder_that_survives_it(
    memosync: Program, other: Program, three: list[str]
) -> None:
    memo = three[0]
    terminal = Terminal([*PROGRAM, "share", memo], memosync.environment, columns=200)
    terminal.end()

    terminal.hang_up()

    assert "magnet:?" in terminal.screen.text
    other("fetch", memosync("share", memo, "--no-seed").out.strip())
    assert len(memosync("seed", "--status").lines) == 1


BASE = "https://memos.example/share"


def test_link_prints_share_links_that_fetch_takes_back(memosync: Program, other: Program, three: list[str]) -> None:
    first, second, third = three

    links = memosync("share", third, first, "--public", "--link", BASE).lines
    (one,) = memosync("share", second, third, "--public", "--link", BASE + "?lang=en#top", "--one").lines
    fetched = other("fetch", *links, one).lines

    assert all(link.startswith(f"{BASE}?seeds=magnet%3A%3Fxt%3Durn%3Abtih%3A") for link in links)
    assert one.startswith(f"{BASE}?lang=en&seeds=magnet%3A")
    assert one.endswith("#top")
    assert fetched == [third, first, second, third]


def test_a_share_link_is_printed_while_it_is_served_in_the_foreground(
    memosync: Program, three: list[str], ended: Ended
) -> None:
    process = ended(memosync.start("share", *three, "--link", BASE, "--one", "--foreground"))
    assert process.stdout

    line = process.stdout.readline().decode()
    process.send_signal(signal.SIGINT)

    assert line.count("seeds=magnet") == 3
    assert process.wait(20) == 0


@pytest.mark.parametrize(
    "options",
    [["--link", "memos.example"], ["--link", ""], ["--one"], ["--link", BASE + "?seeds=x"], ["--link", BASE, "--stop"]],
    ids=" ".join,
)
def test_a_link_that_cannot_be_is_refused_before_anything_is_done(
    options: list[str], memosync: Program, three: list[str]
) -> None:
    result = memosync("share", three[0], *options, code=UsageError.exit_code)

    assert result.out == ""
    assert not {"shared", "private"} & entry(memosync, three[0]).keys()


def test_a_variable_is_no_option_that_stop_goes_not_with(memosync: Program, three: list[str]) -> None:
    memosync("share", three[0], "--no-seed")

    memosync("share", "--stop", three[0], env={"MEMOSYNC_TRACKERS": "udp://127.0.0.1:1", "MEMOSYNC_LINK": BASE})

    assert not {"shared", "private"} & entry(memosync, three[0]).keys()


NO_NETWORK = {
    "ip link set lo up": (
        0,
        "memosync: warning: this machine is in no network: nobody else can fetch it before it is\n",
    ),
    "true": (  # even the loopback is down
        SeederError.exit_code,
        """memosync: error: the seeder did not start: this machine is in no network
memosync: hint: connect it to one, and run the same command again
""",
    ),
}


@pytest.mark.parametrize("before", NO_NETWORK)
def test_where_there_is_no_network_that_is_said(memosync: Program, three: list[str], before: str) -> None:
    code, expected = NO_NETWORK[before]
    memosync.under = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", f'{before} && exec "$@"', "sh"]
    memosync.environment["MEMOSYNC_NETWORK"] = "public"

    result = memosync("share", "last", code=code)

    assert (result.err.partition("called back\n")[2], bool(result.out)) == (expected, code == 0)
    status = memosync.on(memosync.library).run("seed", "--status").err
    assert ("this machine is in no network" in status) == (code == 0)
