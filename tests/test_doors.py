"""Doors: nobody whom a stranger names is sent a byte, but where a peer may be."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import libtorrent as lt
import pytest
from support import stranger
from support.library import only
from support.netns import Capture, Host, Namespace, Network
from support.sound import noise
from support.stranger import know_a_node, start_stranger
from support.waiting import wait_until

from memosync import sealing
from memosync.errors import SwarmError
from memosync.library import keys, known
from memosync.library.store import Library
from memosync.torrent.meeting import _hollow

BEYOND = "192.168.99.9"  # on the other side of the gateway: a private network that we are not connected to
CLOSED = ["127.0.0.1", "127.0.0.2", "[::1]", BEYOND, "[fd99::9]"]  # where something listens that is no peer
WRAPPED = ["[::ffff:127.0.0.1]", "[::ffff:192.168.99.9]", "[::127.0.0.1]", "0.0.0.0", "[::]", "[2002:7f00:1::1]"]
SOURCES = ["link", "udp", "http", "pex", "dht"]
DNS = 53
NODE = b"d1:ad2:id20:"  # how a query of the DHT begins
HANGS = 30  # seconds that a name is looked up for, where nobody answers
SOME = 3  # seconds in which libtorrent would have called the others
PORT = {source: 11211 + number for number, source in enumerate(SOURCES)}


class Ears:
    """Services at addresses of a machine, on one port for each source of peers, and what they have heard."""

    def __init__(self, namespace: Namespace, addresses: list[str]) -> None:
        places = [f"{address}:{port}" for address in addresses for port in PORT.values()]
        command = [sys.executable, stranger.__file__, "listen", *places]
        process = namespace.start(*command, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        self.heard: dict[str, list[str]] = defaultdict(list)  # by place, in hexadecimal
        threading.Thread(target=self._listen, args=(process.stdout,), daemon=True).start()

    def _listen(self, lines: IO[str]) -> None:
        for line in lines:
            heard = json.loads(line)
            self.heard[heard["where"]].append(heard["what"])


@pytest.fixture
def network() -> Iterator[Network]:
    """Two machines, and behind their gateway a private network that they are not connected to."""
    with Network(2, route=True) as network:
        network.namespaces[0].ip(f"address add {BEYOND}/24 dev switch\naddress add fd99::9/64 dev switch nodad")
        yield network


def named(source: str, host: Host) -> list[str]:
    """Give what a source names: everything that is closed, and an own address of the machine, which is not."""
    return [f"{address}:{PORT[source]}" for address in (*CLOSED, *WRAPPED, host.address)]


def assert_only_the_open_one_is_called(ears: list[Ears], host: Host, sources: list[str]) -> None:
    """Wait until each source was believed, then some, and see who was called."""

    def called(but: bytes = b"nobody") -> set[str]:
        heard = [
            (place, bytes.fromhex(what)) for ear in ears for place, all_of_it in ear.heard.items() for what in all_of_it
        ]
        return {place for place, what in heard if not what.startswith(but)}

    opened = {f"{host.address}:{PORT[source]}" for source in sources}
    wait_until(lambda: opened <= called(but=NODE), lambda: f"{opened} to be called, not {called()}")
    time.sleep(SOME)
    assert called() == opened


def test_a_fetch_calls_no_service_whoever_names_it(network: Network, tmp_path: Path) -> None:
    here, there = network.hosts
    ears = [Ears(here, [*CLOSED[:3], here.address]), Ears(network.namespaces[0], CLOSED[3:])]
    links = {
        "link": "".join(f"&x.pe={place}" for place in named("link", here)),
        "http": "&tr=" + there.tracker(peers=named("http", here))[0],
        "udp": "&tr=" + there.tracker(peers=[place for place in named("udp", here) if "[" not in place])[1],
        "pex": f"&x.pe={there.address}:7001",
        "dht": "",
    }
    start_stranger(there, 7001, named("pex", here))
    start_stranger(there, 7002, named("dht", here))

    for source, rest in links.items():
        program = here.program(tmp_path / source / "Memos", "public")
        if source == "dht":
            know_a_node(program.library, there, 7002)
        command = f"\r\nflush_all\r\n{source}".ljust(20).encode()  # as a service may take an infohash
        program.start("fetch", f"magnet:?xt=urn:btih:{command.hex()}{rest}")

    assert_only_the_open_one_is_called(ears, here, SOURCES)


def test_a_seeder_calls_no_service_whoever_names_it(network: Network, tmp_path: Path) -> None:
    here, there = network.hosts
    ears = [Ears(here, [*CLOSED[:3], here.address]), Ears(network.namespaces[0], CLOSED[3:])]
    http = there.tracker(peers=named("http", here))[0]
    udp = there.tracker(peers=[place for place in named("udp", here) if "[" not in place])[1]
    node = start_stranger(there, 7002, named("dht", here))
    program = here.program(tmp_path / "Memos", "public")
    program("record", noise(tmp_path / "noise.flac"))
    know_a_node(program.library, there, 7002)
    program("seed", "--detach")
    assert node.readline() == b"asked\n"

    program("share", "--public", "last", "--tracker", http, "--tracker", udp)

    seeder = tomllib.loads((program.library / ".memosync/seeder.toml").read_text())
    start_stranger(there, 7001, named("pex", here), f"{here.address}:{seeder['port']}", only(program)["infohash"])
    assert_only_the_open_one_is_called(ears, here, SOURCES[1:])


def test_a_device_in_sync_calls_no_service_whoever_names_it(network: Network, tmp_path: Path) -> None:
    """Trackers, who gossips at the meeting place, nodes of the DHT that answer garbage, too, and a device that lies."""
    here, there = network.hosts
    ears = [Ears(here, [*CLOSED[:3], here.address]), Ears(network.namespaces[0], CLOSED[3:])]
    http = there.tracker(peers=named("http", here))[0]
    udp = there.tracker(peers=[place for place in named("udp", here) if "[" not in place])[1]
    start_stranger(there, 7002, named("dht", here), options=("--garbage",))
    program = here.program(tmp_path / "Memos", "public")
    know_a_node(program.library, there, 7002)
    program("sync", "--invite", "device", "--tracker", http, "--tracker", udp)
    library = Library(program.library)
    places = named("link", here)
    for name, said in (("7be1c20d", places[:6]), ("7be1c20e", places[6:])):
        known.say(library, name, {"addresses": said})

    meeting = lt.load_torrent_buffer(_hollow(sealing.keep_key(keys.secret(library)), "meeting", 1)).info_hashes.v1
    call = f"{here.address}:{known.read(library).port}", str(meeting)
    start_stranger(there, 7001, named("pex", here), *call, options=("--encrypted",))

    assert_only_the_open_one_is_called(ears, here, SOURCES)
    assert program("sync").lines


@pytest.mark.parametrize("reach", ["public", "lan", "loopback"])
def test_a_tracker_that_leads_elsewhere_leads_to_no_device_and_no_name(
    network: Network, tmp_path: Path, reach: str
) -> None:
    here, there = network.hosts
    at = (there, there.address) if reach != "loopback" else (here, "127.0.0.1")
    device = Ears(here, [here.address, "127.0.0.1"])
    goals = [f"http://{address}:11211/apply.cgi?reboot" for address in (here.address, "127.0.0.1")]
    goals += ["http://device.example/announce"] if reach != "public" else []
    trackers = [at[0].tracker(at[1], redirect=goal)[0] for goal in goals]
    program = here.program(tmp_path / "Memos", reach)
    program("record", noise(tmp_path / "noise.flac"))
    capture = Capture(here)

    link = f"magnet:?xt=urn:btih:{'ab' * 20}" + "".join(f"&tr={url}" for url in trackers)
    fetching = program.start("fetch", link, stderr=subprocess.PIPE, text=True)
    program("share", "--public", "last", *(part for url in trackers for part in ("--tracker", url)))

    assert fetching.stderr
    [_, told] = fetching.stderr.readline(), fetching.stderr.readline()
    assert told.count("redirects to where it may not be asked") == len(goals), told
    log = program.library / ".memosync/seeder.log"
    wait_until(lambda: log.read_text().count("redirects to where") == len(goals), log.read_text)
    assert device.heard == {}
    if reach != "public":
        assert [packet for packet in capture.so_far() if packet.port == DNS] == []


def test_a_network_is_near_as_long_as_this_machine_is_connected_to_it(network: Network, tmp_path: Path) -> None:
    here, there = network.hosts
    ears = Ears(network.namespaces[0], [BEYOND])
    program = here.program(tmp_path / "Memos", "public")
    program("record", noise(tmp_path / "noise.flac"))
    program("share", "--public", "last")
    seeder = tomllib.loads((program.library / ".memosync/seeder.toml").read_text())
    call = f"{here.address}:{seeder['port']}", only(program)["infohash"]
    strangers = itertools.count(7001)
    told = f"{BEYOND}:{PORT['http']}"
    fetching = here.program(tmp_path / "fetching", "public")
    fetching.start("fetch", f"magnet:?xt=urn:btih:{'ab' * 20}&tr={there.tracker(peers=[told])[0]}")

    def is_called(source: str) -> bool:
        """Name somebody there to the seeder, and tell whether he was called in the time that this takes it."""
        place = f"{BEYOND}:{PORT[source]}"
        start_stranger(there, next(strangers), [place], *call)
        with contextlib.suppress(pytest.fail.Exception):
            wait_until(lambda: place in ears.heard, "", SOME)
        return place in ears.heard

    assert not is_called("link")
    assert told not in ears.heard
    here.ip("address add 192.168.99.7/24 dev eth0")
    wait_until(lambda: is_called("pex"), "the network to be believed", 30)
    wait_until(lambda: told in ears.heard, "the network to be believed by a fetch", 30)
    here.ip("address del 192.168.99.7/24 dev eth0")
    time.sleep(10)  # twice as long as it takes to be seen

    assert not is_called("dht")


def test_who_calls_itself_a_router_leads_to_no_service(network: Network, tmp_path: Path) -> None:
    here, there = network.hosts
    services = Ears(here, ["127.0.0.1"])
    start_stranger(there, 5000, [f"http://127.0.0.1:{PORT['link']}/shutdown"], role="route")
    start_stranger(there, 7002, [])
    program = here.program(tmp_path / "Memos", "public")
    know_a_node(program.library, there, 7002)
    capture = Capture(here)

    program("seed", "--detach")

    wait_until(lambda: any(packet.port == 7002 for packet in capture.so_far()), "its session to begin")
    time.sleep(SOME)
    assert services.heard == {}


def test_an_odd_request_reaches_no_machine_nearby_even_at_a_public_address(tmp_path: Path) -> None:
    with Network(2, subnet="203.0.113.0/24", route=True) as network:
        here, there = network.hosts
        ears = [Ears(host, [host.address]) for host in network.hosts]
        program = here.program(tmp_path / "Memos", "public")
        odd = [f"http://{host.address}:{PORT[source]}/apply.cgi?reboot" for host in network.hosts for source in SOURCES]
        ordinary = f"http://{there.address}:{PORT['link']}/announce"

        program.start("fetch", f"magnet:?xt=urn:btih:{'ab' * 20}" + "".join(f"&tr={url}" for url in [*odd, ordinary]))

        wait_until(lambda: ears[1].heard, "the ordinary tracker to be asked")
        time.sleep(SOME)
        assert ears[0].heard == {}
        assert [bytes.fromhex(text)[:14] for text in ears[1].heard.pop(f"{there.address}:{PORT['link']}") if text] == [
            b"GET /announce?"
        ]
        assert ears[1].heard == {}


HANGING = [f"{scheme}://hangs-{number}.example/announce" for number in range(7) for scheme in ("http", "wss")]
HANGING += [f"udp://hangs-{number}.example:6969" for number in range(6)]


def test_names_that_nobody_answers_for_keep_nobody_waiting(network: Network, tmp_path: Path) -> None:
    here, there = network.hosts
    theirs, program = there.program(tmp_path / "theirs/Memos", "public"), here.program(tmp_path / "Memos", "public")
    program.environment["RES_OPTIONS"] = f"timeout:{HANGS}"
    theirs("record", noise(tmp_path / "noise.flac"))
    link = theirs("share", "--public", "last").out.split("&tr=")[0]
    port = tomllib.loads((theirs.library / ".memosync/seeder.toml").read_text())["port"]
    hanging = "".join(f"&tr={url}" for url in HANGING)
    capture = Capture(here)

    began = time.monotonic()
    program("fetch", f"{link}&x.pe={there.address}:{port}{hanging}")
    assert time.monotonic() - began < HANGS / 2
    wait_until(lambda: [packet for packet in capture.so_far() if packet.port == DNS], "names to be looked up", 10)

    nobody = f"magnet:?xt=urn:btih:{'ab' * 20}{hanging}"
    began = time.monotonic()
    program("fetch", nobody, "--timeout", "2s", code=SwarmError.exit_code)
    waiting = program.start("fetch", nobody, stderr=subprocess.PIPE, text=True)
    assert waiting.stderr
    assert waiting.stderr.readline() == "memosync: waiting for somebody who has it\n"
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(HANGS / 2) == 130
    assert time.monotonic() - began < HANGS
