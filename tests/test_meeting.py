"""Where browsers meet: the seeder at WebSocket trackers, good ones and bad ones. No browser is needed for it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from support import stunserver, wstracker
from support.handshake import offers
from support.library import memos
from support.netns import Host, Network
from support.program import Ended, Program
from support.seeder import log, state
from support.sound import noise
from support.stunserver import StunServer
from support.tracker import Tracker
from support.waiting import wait_until
from support.wstracker import Heard, Remote, WebSocketTracker
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from memosync.torrent.webrtc import stun

AT_ONCE = 7  # seconds: a silent tracker is asked again after 8 and given up after 10, a STUN server after 23
RETURN = 15  # seconds in which a tracker that was away is in use again
MISSED = 16  # seconds after which a connection that gives no sign of life is taken for lost
GONE = 12  # seconds after which what is announced no longer is dropped when its last peer has left
TAB = "-TEST00-tab"  # how a tab's peer id begins
MEMORY = 90  # MB resident: a seeder has 42 among friends, and 72 when an enemy makes all the offers that are taken


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of three memos, 60 KB each."""
    home = tmp_path_factory.mktemp("template")
    program = Program(home / "Memos", {"HOME": str(home)})
    sound = noise(home / "noise.webm", 4, "-c:a", "libopus", "-b:a", "128k")
    for title in ("First", "Second", "Third"):
        program("record", sound, "-t", title, "--again")
    return program.library


@pytest.fixture
def library(memosync: Program, template: Path) -> Program:
    """The program on a copy of it."""
    shutil.copytree(template, memosync.library)
    return memosync


def share(program: Program, *trackers: str) -> list[str]:
    """Share all memos with these trackers alone, and give their infohashes."""
    program("share", "--public", "--all", *(word for url in trackers for word in ("--tracker", url)))
    return [memo["infohash"] for memo in memos(program)]


def memory(pid: int) -> float:
    """Give the most that a process ever had resident, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1000


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def has_all(tracker: Heard, infohashes: list[str], since: float = 0) -> Callable[[], bool]:
    return lambda: {event.infohash for event in tracker.announces() if event.at > since} >= set(infohashes)


def test_everything_is_announced_to_both_kinds_and_over_one_websocket(library: Program) -> None:
    with WebSocketTracker() as tracker, Tracker() as other:
        infohashes = share(library, tracker.url, other.udp_url)

        wait_until(has_all(tracker, infohashes), "all to be announced to browsers", AT_ONCE)
        wait_until(
            lambda: {heard.infohash.hex() for heard in other.announces} >= set(infohashes), "and to programs", 20
        )

        assert 1 == tracker.open
        assert 3 == [event.event for event in tracker.announces()].count("started"), "each was announced once"
        assert 3 == [heard.event for heard in other.announces].count("started"), "and to programs, too"
        assert all(event.left == 0 and event.offers for event in tracker.announces())


def test_a_tracker_is_asked_over_tls_when_its_certificate_is_good(library: Program, tmp_path: Path) -> None:
    authority = trustme.CA()
    known = tmp_path / "authorities.pem"
    authority.cert_pem.write_to_path(str(known))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with WebSocketTracker(tls=tls) as tracker:
        share(library, tracker.url)
        wait_until(lambda: tracker.url in log(library), "the stranger's certificate to be refused", 20)
        library("seed", "--stop")
        assert not tracker.announces()

        library.environment["SSL_CERT_FILE"] = str(known)
        infohashes = share(library, tracker.url)

        wait_until(has_all(tracker, infohashes), "all to be announced", AT_ONCE)


def test_without_a_websocket_tracker_there_is_one_session(library: Program) -> None:
    with Tracker() as tracker:
        share(library, tracker.udp_url)
        threads = len(os.listdir(f"/proc/{state(library)['pid']}/task"))
        with WebSocketTracker() as for_browsers:
            infohashes = share(library, for_browsers.url)
            wait_until(has_all(for_browsers, infohashes), "them to be announced", AT_ONCE)

            assert threads < len(os.listdir(f"/proc/{state(library)['pid']}/task"))


def test_who_is_served_over_webrtc_has_the_rest_of_it_when_the_trackers_change(
    quiet_network: Network, tmp_path: Path, ended: Any
) -> None:
    home, away = quiet_network.hosts
    for_tabs, for_programs = away.websocket_tracker(), away.tracker()[1]
    library, fetcher = home.program(tmp_path / "Ours/Memos"), away.program(tmp_path / "Theirs/Memos")
    library("record", noise(tmp_path / "noise.webm", 25, "-ac", "2", "-c:a", "libopus", "-b:a", "256k"))
    link = library("share", "--public", "last", "--tracker", for_tabs.url, "--no-seed").out.strip()
    library("seed", "--detach", "--up", "100k")

    def swarm() -> dict[str, Any]:
        swarms: list[dict[str, Any]] = state(library)["swarm"]
        return swarms[0] if swarms else {"peers": 0, "given": 0}

    fetching = ended(fetcher.start("fetch", link, text=True))
    wait_until(lambda: swarm()["given"] > 100_000, "it to be served", 60)
    given = [swarm()["given"]]
    for tracker in (for_programs, for_tabs.url, for_programs):
        library("share", "--public", "last", "--tracker", tracker)
        given.append(swarm()["given"])
    fetching.terminate()  # one that is cut off comes back for the rest
    fetching.wait(20)
    fetcher("fetch", link)
    wait_until(lambda: swarm()["peers"] == 0, "it to leave", 20)
    given.append(swarm()["given"])
    time.sleep(GONE)
    given.append(swarm()["given"])
    library("share", "--public", "last", "--tracker", for_tabs.url)
    given.append(swarm()["given"])
    assert sorted(given) == given


def test_a_memo_shared_later_is_announced_at_once_over_the_same_websocket(library: Program) -> None:
    first, second, _ = (memo["id"] for memo in memos(library))
    with WebSocketTracker() as tracker:
        library("share", "--public", first, "--tracker", tracker.url)

        library("share", "--public", second, "--tracker", tracker.url)

        wait_until(has_all(tracker, [memos(library)[1]["infohash"]]), "it to be announced", AT_ONCE)
        assert 1 == tracker.open


def test_a_tracker_that_was_away_and_one_that_restarts_is_used_again(library: Program) -> None:
    away = WebSocketTracker(mode="refused")
    port = away.port
    infohashes = share(library, away.url)
    wait_until(lambda: f"{away.url}: no connection" in log(library), "it to be missed", 20)

    for when in ("it is there", "it has restarted"):
        with WebSocketTracker(port=port) as tracker:
            wait_until(has_all(tracker, infohashes), f"all to be announced when {when}", RETURN)
    away.close()  # until here nobody else was given its port


def lose(network: Network, tracker: Heard) -> None:
    """Have the way back of every connection to a tracker vanish without a word, as in a router that begins anew."""
    home, away = network.hosts

    def ports() -> list[str]:
        lines = home.run("ss", "-Htan", "state", "syn-sent", "state", "established", "dport", tracker.port).splitlines()
        return [re.findall(r":(\d+) ", line)[0] for line in lines]

    wait_until(ports, "a connection to be there or on its way", 5)
    away.ip("\n".join(f"rule add ipproto tcp sport {tracker.port} dport {port} blackhole" for port in ports()))


@pytest.mark.parametrize("before", [True, False], ids=["before it was there", "later"])
def test_a_tracker_is_used_again_after_a_connection_to_it_was_lost(
    network: Network, template: Path, tmp_path: Path, before: bool
) -> None:
    home, away = network.hosts
    library = home.program(tmp_path / "Memos", "public")
    library.environment["MEMOSYNC_STUN"] = ""
    shutil.copytree(template, library.library)
    tracker = away.websocket_tracker()
    if before:
        away.ip(f"rule add pref 1 ipproto tcp sport {tracker.port} blackhole")
    infohashes = share(library, tracker.url)
    if not before:
        wait_until(has_all(tracker, infohashes), "all to be announced", 5)

    lose(network, tracker)
    lost = time.monotonic()
    if before:
        away.ip("rule del pref 1")

    wait_until(has_all(tracker, infohashes, since=lost), "all to be announced anew", MISSED + RETURN)


def test_bad_trackers_delay_neither_kind_of_good_one(library: Program, ended: Ended) -> None:
    slow = [sys.executable, wstracker.__file__, "--mode=slow", "--delay=60"]
    process = ended(subprocess.Popen(slow, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    bad: list[Heard] = [
        Remote(process),
        *(WebSocketTracker(mode=mode) for mode in ("refused", "silent", "garbage", "closes")),
    ]
    with WebSocketTracker() as tracker, Tracker() as other, Tracker(mode="silent") as silent:
        urls = [enemy.url for enemy in bad]
        began = time.monotonic()
        infohashes = share(library, *urls, silent.udp_url, silent.http_url, tracker.url, other.udp_url)

        wait_until(has_all(tracker, infohashes), "all to be announced to browsers", AT_ONCE)
        wait_until(
            lambda: {heard.infohash.hex() for heard in other.announces} >= set(infohashes), "and to programs", AT_ONCE
        )

        assert time.monotonic() - began < AT_ONCE
    for enemy in bad:
        enemy.close()


@pytest.mark.parametrize("mode", ["giant", "offers", "sdp", "infohashes", "closes", "garbage"])
def test_a_hostile_tracker_gets_nothing_but_lines_in_the_log(library: Program, other: Program, mode: str) -> None:
    with WebSocketTracker(mode=mode) as enemy, WebSocketTracker() as tracker:
        infohashes = share(library, enemy.url, tracker.url)
        wait_until(has_all(tracker, infohashes), "all to be announced at the good one", 20)
        seeder = state(library)
        before = descriptors(seeder["pid"])
        until = time.monotonic() + 2

        wait_until(lambda: time.monotonic() > until, "it to do its worst", 5)

        assert memory(seeder["pid"]) < MEMORY
        assert descriptors(seeder["pid"]) < before + 100
        assert len(log(library).splitlines()) < 30
        assert all(offers(seeder["port"], infohash) for infohash in infohashes)
        other("fetch", library("share", "--public", "last", "--no-seed").out.strip(), timeout=20)
        assert seeder["pid"] == state(library)["pid"]


def test_of_two_offers_of_tabs_one_is_taken_and_the_other_gets_ours(library: Program) -> None:
    link = library("share", "--public", "last", "--no-seed").out
    infohash = bytes.fromhex(re.findall("btih:([0-9a-f]{40})", link)[0]).decode("latin-1")
    with WebSocketTracker() as tracker, connect(tracker.url) as tab:

        def announce(who: str, *offers: dict[str, Any]) -> None:
            numbered = [{"offer": offer, "offer_id": "offered by " + who} for offer in offers]
            about = {"info_hash": infohash, "peer_id": TAB + who}
            tab.send(json.dumps({"action": "announce", **about, "left": 1, "offers": numbered}))

        def hear() -> None:
            with contextlib.suppress(ConnectionClosed):
                for message in map(json.loads, tab):
                    if not str(message.get("peer_id", TAB)).startswith(TAB):
                        heard.extend({"offer", "answer"} & set(message))
                        offer.update(message.get("offer") or {})

        heard, offer = list[str](), dict[str, Any]()
        threading.Thread(target=hear).start()
        announce("the first")
        library("share", "--public", "last", "--tracker", tracker.url)
        wait_until(lambda: offer, "an offer of the seeder's", 10)
        heard.clear()

        announce("the first", offer)
        announce("the other", offer, offer)  # one of them may go to the first

        wait_until(lambda: {"answer", "offer"} <= set(heard), "an answer and an offer", 10)
        until = time.monotonic() + 1
        wait_until(lambda: time.monotonic() > until, "everything else", 5)
        assert 1 == heard.count("answer")


@pytest.fixture
def other(memosync: Program, tmp_path: Path) -> Program:
    """Somebody else's library."""
    return memosync.on(tmp_path / "Theirs")


def test_of_those_that_do_not_fit_it_is_said_that_browsers_cannot_find_them(library: Program) -> None:
    library.under = ["prlimit", "--nofile=80", "--"]
    trackers = [WebSocketTracker() for _ in range(7)]
    share(library, *(tracker.url for tracker in trackers))
    oldest, *ids = [memo["id"] for memo in reversed(memos(library))]

    def found() -> dict[str, str]:
        return {row.split("\t")[0]: row.split("\t")[5] for row in library("seed", "--status").lines}

    # which of them, is known once trackers have answered
    wait_until(lambda: {oldest: "no", **dict.fromkeys(ids, "yes")} == found(), "the newest to be announced", 20)
    assert "cannot find 1 of these memos" in library("seed", "--status").err
    told = [json.loads(line) for line in library("seed", "--status", "--json").lines]
    assert {oldest: False, **dict.fromkeys(ids, True)} == {row["id"]: row["browsers"] for row in told}
    hidden = memos(library)[-1]["infohash"]
    assert all(hidden not in tracker.infohashes() for tracker in trackers)

    library("share", "--stop", ids[0])
    wait_until(lambda: hidden in trackers[0].infohashes(), "there to be room", 20)
    wait_until(lambda: {oldest: "yes", ids[1]: "yes"} == found(), "it to be told", 20)
    for tracker in trackers:
        tracker.close()


def test_it_is_said_that_browsers_find_nothing_while_no_tracker_of_theirs_answers(library: Program) -> None:
    def found() -> set[str]:
        return {row.split("\t")[5] for row in library("seed", "--status").lines}

    with WebSocketTracker() as tracker:
        share(library, tracker.url)
        wait_until(lambda: found() == {"yes"}, "the tracker to answer", 20)

    wait_until(lambda: found() == {"no"}, "it to be told that the tracker is gone", 30)
    assert "no WebSocket tracker of theirs answers" in library("seed", "--status").err


@pytest.mark.parametrize(("mode", "good"), [("answer", True), ("silent", False), ("garbage", False)])
def test_a_stun_server_is_asked_who_we_are(mode: str, good: bool) -> None:
    with StunServer(mode=mode) as server:
        assert good == stun.answers(server.address)
        assert server.asked


@pytest.mark.parametrize("name", ["nowhere.invalid:3478", "127.0.0.1", "127.0.0.1:x", ":", "[::1]:9", "\0:1"])
def test_what_is_no_stun_server_does_not_answer(name: str) -> None:
    assert not stun.answers(name)


@pytest.fixture
def network() -> Iterator[Network]:
    with Network(2, route=True) as network:
        yield network


@pytest.fixture
def quiet_network() -> Iterator[Network]:
    """Machines that do not discover each other."""
    with Network(2, route=True, multicast=False) as network:
        yield network


def stun_server(host: Host, mode: str) -> tuple[str, list[str]]:
    """Start a STUN server on a machine; give its address, and who asks it."""
    command = [sys.executable, stunserver.__file__, "--host", host.address, "--mode", mode]
    process = host.start(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address, asked = process.stdout.readline().strip(), list[str]()
    threading.Thread(target=asked.extend, args=[process.stdout], daemon=True).start()
    return address, asked


@pytest.mark.parametrize(
    ("reach", "mode", "least"), [("public", "answer", 2), ("public", "silent", 1), ("lan", "answer", 0)]
)
def test_a_stun_server_is_used_with_public_alone_and_delays_nothing(
    network: Network, template: Path, tmp_path: Path, reach: str, mode: str, least: int
) -> None:
    home, away = network.hosts
    address, asked = stun_server(away, mode)
    tracker, other = away.websocket_tracker(), away.tracker()[1]
    library = home.program(tmp_path / "home" / "Memos", reach)
    library.environment["MEMOSYNC_STUN"] = address
    shutil.copytree(template, library.library)

    infohashes = share(library, tracker.url, other)

    wait_until(lambda: tracker.infohashes() >= set(infohashes), "all to be announced to browsers", AT_ONCE)
    wait_until(lambda: len(asked) >= least, "it to be asked", 20)
    library("seed", "--stop")
    assert (reach == "public") == bool(asked)


@pytest.mark.parametrize("mode", ["answer", "silent"])
def test_a_stun_server_does_not_hold_a_fetch_up(network: Network, template: Path, tmp_path: Path, mode: str) -> None:
    home, away = network.hosts
    address, asked = stun_server(away, mode)
    tracker = away.websocket_tracker()
    library, other = (home.program(tmp_path / name / "Memos", "public") for name in ("home", "other"))
    library.environment["MEMOSYNC_STUN"] = other.environment["MEMOSYNC_STUN"] = address
    shutil.copytree(template, library.library)
    link = library("share", "--public", "last", "--tracker", tracker.url).out.strip()
    other.meddle("from memosync.torrent.webrtc import stun; stun._ANSWER_WITHIN = 60.0")

    other("fetch", link, timeout=20)  # from the addresses in it

    wait_until(lambda: asked, "it to be asked", 20)
