"""The DHT (BEP 5): a link without a tracker or an address finds the memo, on a small internet with a DHT of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from support.internet import Internet, infohash, small_internet
from support.program import Program
from support.sound import noise
from support.waiting import wait_until

SILENT_NAME_SERVER = """
import socket, sys, time
with socket.socket(type=socket.SOCK_DGRAM) as server:
    server.bind((sys.argv[1], 53))
    time.sleep(1000)
"""
ASK = """
from memosync.network import Network
from memosync.stop import Stop
from memosync.torrent.download import ask
print(ask([], Network.PUBLIC, stop=Stop(), timeout=2)["DHT"].pending)
"""


@pytest.fixture
def internet(tmp_path: Path) -> Iterator[Internet]:
    with small_internet(5, tmp_path) as internet:
        yield internet


def bare(link: str) -> str:
    """Leave nothing of a link but what names the memo."""
    return f"magnet:?xt=urn:btih:{infohash(link)}"


def share(program: Program, title: str) -> str:
    """Record a memo, share it, and give its link."""
    program("record", noise(program.library.parent / f"{title}.flac", 1), "-t", title)
    return program("share", "--public", "last").out.strip()


def test_a_link_with_neither_tracker_nor_address_finds_the_memo_and_the_next_one_without_a_bootstrap_node(
    internet: Internet,
) -> None:
    internet.name_the_first_node()
    internet.start_nodes()
    ours, theirs = internet.program(internet.here), internet.program(internet.there)
    ours.meddle("from memosync.torrent import dht; dht.RESTS_AFTER = 0.0")
    ours("seed", "--detach")  # it shares nothing yet, and rests
    first, second = (share(ours, title) for title in ("First", "Second"))
    for link in (first, second):
        wait_until(partial(internet.was_announced, internet.here, link), "it to be announced")

    theirs("fetch", bare(first), "--seed", "--timeout", "50s")

    wait_until(lambda: internet.was_announced(internet.there, first), "whoever fetched it to be announced")
    theirs("seed", "--stop")  # which keeps the nodes it knows
    internet.names.write_text("")
    theirs("fetch", bare(second), "--timeout", "50s")
    assert len(theirs("list").lines) == 2


def test_check_says_that_the_dht_answers(internet: Internet) -> None:
    internet.name_the_first_node()
    internet.start_nodes()

    found = [line.split("\t") for line in internet.program(internet.here)("check", "--net").lines]

    assert ["ok", "DHT", "it answers"] in found, found[-4:]


@pytest.mark.parametrize("named", [True, False], ids=["a node that is down", "a name nobody knows"])
def test_a_dht_where_nobody_answers_is_not_said_to_answer(internet: Internet, named: bool) -> None:
    if named:
        internet.name_the_first_node()

    said = internet.here.run(*internet.with_names(sys.executable, "-c", ASK))

    assert said == "True\n"


@pytest.mark.parametrize("silent", [False, True], ids=["no name server", "a silent one"])
def test_a_seeder_that_began_without_a_network_is_found_when_there_is_one(internet: Internet, silent: bool) -> None:
    if silent:  # what it is asked is given up after two seconds
        address = internet.others[0].address
        internet.others[0].start(sys.executable, "-c", SILENT_NAME_SERVER, address)
        internet.resolver.write_text(f"nameserver {address}\noptions timeout:2 attempts:1\n")
    ours, theirs = internet.program(internet.here), internet.program(internet.there)
    link = share(ours, "From the train")
    internet.start_nodes()

    internet.name_the_first_node()

    wait_until(lambda: internet.was_announced(internet.here, link), "it to be announced", 120)
    theirs("fetch", bare(link), "--timeout", "50s")
