"""Devices in sync on machines of their own: in one network, on the internet, and behind routers that let nobody in."""

from __future__ import annotations

import bisect
import functools
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support.devices import Device, all_met, are_even, arrival, device, invite, is_past, rewording, wait_for
from support.internet import small_internet
from support.library import WHEN, memos
from support.long import more
from support.netns import Capture, Host, Network
from support.packets import Packet
from support.sound import noise

from memosync.library import known

SETTLED = 75.0  # seconds after which two devices have nothing more to say
WATCHED = 120.0  # seconds
OURS = "fd77::1"  # beside its other address
LSD = 6771  # the port of local discovery (BEP 14), by which who is there is told every five minutes
PLACES = ("lan", "lan, public", "tracker", "dht", "one router", "two routers")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Several times 200 KB to record: what sounds the same is one memo, if it is recorded on two devices."""
    place = tmp_path_factory.mktemp("sounds")
    return [noise(place / f"{number}.webm", 12.5, "-c:a", "libopus", "-b:a", "128k") for number in range(3)]


@pytest.fixture
def sound(sounds: list[Path]) -> Path:
    return sounds[0]


@contextmanager
def two_devices(place: str, home: Path, meddling: str = "") -> Iterator[tuple[Network, Device, Device]]:
    """Give two devices of one group that are connected, and the network they are in."""
    with ExitStack() as stack:
        trackers: tuple[str, ...] = ()
        if place.startswith("lan"):
            network = stack.enter_context(Network(2))
            reach = place.rpartition(" ")[2]
            one, other = (device(host, home / host.address, reach) for host in network.hosts)
        else:
            internet = stack.enter_context(small_internet(3, home))
            network, hosts = internet.network, list(internet.network.hosts)
            if "router" in place:
                hosts[1] = network.behind(hosts[1], "192.168.2.0/24")
            if place == "two routers":
                hosts[0] = network.behind(hosts[0], "192.168.1.0/24")
            if place == "dht":
                internet.name_the_first_node()
                internet.start_nodes(20)
            else:
                trackers = (hosts[2].tracker()[1],)
            one, other = (device(host, home / host.address, seeder=internet.program(host)) for host in hosts[:2])
        for each in (one, other) if meddling else ():
            each.seeder.meddle(meddling)
        invite(one, other, *(word for url in trackers for word in ("--tracker", url)))
        wait_for((one, other), lambda: all_met([one, other]), "them to meet", 20)
        if place == "dht":  # an invitation names addresses, too: without them nothing else leads to each other
            for each in (one, other):
                each.stop()
                known.path_of(each.library).unlink()
            for each in (one, other):
                each.start()
            # where nodes that have just died are near the name, whoever announces waits for their answers
            wait_for((one, other), lambda: all_met([one, other]), "them to meet by the DHT alone", 180)
        yield network, one, other


def have(devices: Sequence[Device], titles: set[str]) -> bool:
    """Tell whether these are on all devices."""
    return all(titles <= one.titles() for one in devices)


def plugged(network: Network, kind: str, plugged_in: bool, *hosts: Host) -> None:
    """Have two machines not reach each other, or again."""
    if kind == "silent":
        network.part(*hosts, parted=not plugged_in)
    elif plugged_in:
        network.plug_in(*hosts)
    else:
        network.cut(*hosts)


@pytest.mark.parametrize("place", PLACES)
def test_what_is_recorded_and_worded_on_one_is_soon_on_the_other(
    tmp_path: Path, sound: Path, place: str, long: bool, figure: Callable[[str], None]
) -> None:
    came: list[float] = []
    worded: list[float] = []
    costs: list[int] = []
    began = time.monotonic()
    with two_devices(place, tmp_path) as (_, one, other):
        met = time.monotonic() - began
        for number in range(20 if long else 5):
            came.append(arrival(one, other, sound, f"Memo {number}"))
            wait_for((one, other), lambda: are_even((one, other)), "both to say the same")
            before = [each.host.received() for each in (one, other)]
            worded.append(rewording(one, other, f"Memo {number}", f"Better {number}"))
            wait_for((one, other), lambda: are_even((one, other)), "both to say the same")
            costs.append(max(each.host.received() - size for each, size in zip((one, other), before, strict=True)))

        assert [memo["title"] for memo in memos(one.program)] == [memo["title"] for memo in memos(other.program)]
    for what, times in (("recorded", came), ("edited", worded)):
        median, worst = statistics.median(times), max(times)
        figure(
            f"{place}: {what} on one until on the other: {len(times)} of {len(times)}, {median:.2f} s, {worst:.2f} s"
        )
    figure(f"{place}: set up in {met:.1f} s, an edit was {statistics.median(costs) / 1000:.1f} KB to each device")
    if place == "lan":  # the devices are connected once for each thing that is new, and not at every address
        assert statistics.median(costs) < 8_000


@pytest.mark.parametrize("place", ["lan", *more("tracker")])
def test_what_was_recorded_while_one_was_off_comes_newest_first(
    tmp_path: Path, sound: Path, place: str, long: bool, figure: Callable[[str], None]
) -> None:
    count = 50 if long else 10
    with two_devices(place, tmp_path) as (_, one, other):
        other.stop()
        for number in range(count):
            os.utime(sound, (WHEN.timestamp() + number, WHEN.timestamp() + number))
            one.record(sound, f"{number:02}")
        wait_for((one,), lambda: one.said() == count, "all to be said, as it is before another machine is up", 60)
        wanted = [f"{number:02}" for number in reversed(range(count))]
        came: list[str] = []

        def all_came() -> bool:
            came.extend(sorted(other.titles() - set(came), reverse=True))
            return len(came) == count

        began = time.monotonic()
        other.start()
        took = wait_for((one, other), all_came, "all to come", 2.0 * count)

        ready = time.monotonic() - began - took
        late = [abs(came.index(title) - place) for place, title in enumerate(wanted)]
        assert statistics.median(late) <= 2, f"three come at a time: {came}"
        assert came[0] in wanted[:3], came
    figure(
        f"{place}: {count} memos that were recorded while it was off: {took / count:.2f} s each, up in {ready:.1f} s"
    )


@pytest.mark.parametrize("kind", ["unplugged", "silent"])
def test_after_a_cut_both_are_soon_the_same(
    tmp_path: Path, sounds: list[Path], kind: str, long: bool, figure: Callable[[str], None]
) -> None:
    took: list[float] = []
    # a cable is seen to be there again, whenever they would look for each other next
    seldom = "from memosync.torrent import meeting; meeting._AGAIN, meeting._QUIET_AFTER = (600.0,), 1.0"
    with two_devices("lan", tmp_path, "" if long or kind == "silent" else seldom) as (network, one, other):
        for number in range(10 if long else 1):
            plugged(network, kind, False, one.host, other.host)
            until = time.monotonic() + (20 if long else 0)
            new = {f"Here {number}", f"There {number}"}
            one.record(sounds[0], f"Here {number}")
            other.record(sounds[1], f"There {number}")
            wait_for((one, other), lambda: not one.met() and not other.met(), "them to miss each other", 40)
            wait_for((one, other), functools.partial(is_past, until), "some time to pass", 60)
            plugged(network, kind, True, one.host, other.host)
            took.append(wait_for((one, other), functools.partial(have, (one, other), new), "both to be the same", 30))
    figure(f"after a cut, {kind}: {len(took)} of {len(took)}, {statistics.median(took):.2f} s, {max(took):.2f} s")


def test_a_seeder_that_was_killed_is_soon_in_sync_again(
    tmp_path: Path, sounds: list[Path], long: bool, figure: Callable[[str], None]
) -> None:
    took: list[float] = []
    with two_devices("lan", tmp_path) as (_, one, other):
        for number in range(20 if long else 2):
            other.kill()
            took.append(arrival(one, other, sounds[0], f"While it was dead {number}", 20))
            took.append(arrival(other, one, sounds[1], f"Since it lives {number}", 20))
    figure(f"killed: {len(took)} of {len(took)}, {statistics.median(took):.2f} s, {max(took):.2f} s")


def test_three_devices_are_one(tmp_path: Path, sounds: list[Path], long: bool, figure: Callable[[str], None]) -> None:
    took: list[float] = []
    with Network(3) as network:
        devices = [device(host, tmp_path / host.address) for host in network.hosts]
        invite(devices[0], devices[1])
        invite(devices[1], devices[2])
        wait_for(devices, lambda: all_met(devices), "all to meet", 20)
        for number in range(20 if long else 3):
            one = devices[number % 3]
            one.record(sounds[number % 3], f"Memo {number}")
            there = functools.partial(have, devices, {f"Memo {number}"})
            took.append(wait_for(devices, there, "it to be on all"))
        for number, one in enumerate(devices):  # at the same time
            one.record(sounds[number], f"By {number}")
        by_all = {f"By {number}" for number in range(3)}
        at_once = wait_for(devices, lambda: have(devices, by_all), "all to be on all")

        listed = [[memo["title"] for memo in memos(one.program)] for one in devices]
        assert listed[0] == listed[1] == listed[2]
    figure(f"three devices: {len(took)} of {len(took)}, {statistics.median(took):.2f} s, {max(took):.2f} s")
    figure(f"three devices, each records at once: {at_once:.2f} s")


def most_in_a_second(packets: Sequence[Packet]) -> int:
    """Give how many packets went to one address in one second, wherever it begins."""
    most = 0
    for address in {packet.destination for packet in packets}:
        times = sorted(packet.at for packet in packets if packet.destination == address)
        most = max([most, *(bisect.bisect(times, at + 1) - number for number, at in enumerate(times))])
    return most


@pytest.mark.parametrize("place", ["lan", *more("tracker", "dht")])
def test_devices_that_have_everything_are_quiet(
    tmp_path: Path, sound: Path, place: str, long: bool, figure: Callable[[str], None]
) -> None:
    settled, watched = (SETTLED, WATCHED) if long else (6.0, 12.0)
    soon = "from memosync.torrent import exchange, meeting; exchange._CALLS = meeting._QUIET_AFTER = 2.0"
    with two_devices(place, tmp_path, "" if long else soon) as (_, one, other):
        arrival(one, other, sound, "Memo")
        wait_for((one, other), lambda: are_even((one, other)), "both to say the same", 40)
        for what in ("together", "alone"):
            if what == "alone":
                other.stop()  # and both say goodbye
                wait_for((one, other), lambda: not one.met(), "it to be missed", 40)
            capture, settles = Capture(one.host, whole=True), time.time() + settled
            until = functools.partial(is_past, time.monotonic() + settled + watched)
            wait_for((one, other), until, "some time to pass", 2 * (settled + watched))
            packets = [packet for packet in capture.so_far() if packet.interface == "eth0" and packet.port]
            late = [packet for packet in packets if packet.at > settles]
            size = sum(len(packet.data) // 2 * (12 if packet.port == LSD else 3600 / watched) for packet in late)
            most = most_in_a_second([packet for packet in late if packet.source in (one.host.address, OURS)])
            figure(f"{place}, idle, {what}: {size / 1e6:.2f} MB in an hour, {most} packets in a second to one address")
            assert size < 1_000_000, f"bytes in an hour, {what}"
            assert 0 < most <= 3, f"packets in a second to one address, {what}"
