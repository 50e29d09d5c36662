"""Whom a link may have us call: every address in it is a stranger's word."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from memosync import network
from memosync.network import DEFAULT_TRACKERS, MOST_PEERS, MOST_TRACKERS, Network, Reach
from memosync.torrent import session

AT_HOME = (ip_network("192.168.7.0/24"), ip_network("fe80::/64"), ip_network("203.0.113.0/24"))
PUBLIC = Reach(Network.PUBLIC, AT_HOME)


@pytest.mark.parametrize(
    ("address", "reached_by"),
    [
        ("127.0.0.1", "public lan loopback"),
        ("127.200.1.2", "public lan loopback"),
        ("::1", "public lan loopback"),
        ("::ffff:127.0.0.1", "public lan loopback"),
        ("10.1.2.3", "public lan"),
        ("172.16.0.1", "public lan"),
        ("172.31.255.255", "public lan"),
        ("192.168.1.1", "public lan"),
        ("100.64.0.1", "public lan"),
        ("169.254.1.1", "public lan"),
        ("fe80::1%eth0", "public lan"),
        ("fd12::1", "public lan"),
        ("172.32.0.1", "public"),
        ("100.128.0.1", "public"),
        ("8.8.8.8", "public"),
        ("::ffff:8.8.8.8", "public"),
        ("2001:db8::1", "public"),
        ("64:ff9b::a00:1", "public"),
    ],
)
def test_a_network_reaches_so_far_and_no_further(address: str, reached_by: str) -> None:
    parsed = network.parse_address(address)

    assert parsed
    assert reached_by.split() == [reach.value for reach in Network if reach.allows(parsed)]


@pytest.mark.parametrize(
    "text", ["", "example.org", "1.2.3", "1.2.3.4.5", "0x7f.1", "127.1", "256.1.1.1", "[", "::1::"]
)
def test_a_name_is_no_address(text: str) -> None:
    assert network.parse_address(text) is None


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("127.0.0.1:6881", ("127.0.0.1", 6881)),
        ("[::1]:65535", ("::1", 65535)),
        ("1.2.3.4:1024", ("1.2.3.4", 1024)),
        ("1.2.3.4:1023", None),
        ("1.2.3.4:22", None),
        ("1.2.3.4:0", None),
        ("1.2.3.4:65536", None),
        ("1.2.3.4:-5000", None),
        ("1.2.3.4:\u0662\u0660\u0660\u0660\u0660", None),
        ("1.2.3.4", None),
        ("example.org:6881", None),
        ("", None),
    ],
)
def test_a_peer_is_an_address_and_a_port_that_is_not_privileged(text: str, peer: tuple[str, int] | None) -> None:
    parsed = network.parse_peer(text)

    assert peer == (parsed and (str(parsed[0]), parsed[1]))


CALLED_BY = [
    ("8.8.8.8", "public"),
    ("2001:db8::1", "public"),
    ("172.32.0.1", "public"),
    ("192.168.7.9", "public lan"),
    ("fe80::9", "public lan"),
    ("192.168.8.9", "lan"),
    ("10.0.0.1", "lan"),
    ("172.17.0.2", "lan"),
    ("100.64.0.1", "lan"),
    ("169.254.1.1", "lan"),
    ("fd00::1", "lan"),
    ("fe80:0:0:1::1", "lan"),
    ("127.0.0.1", "lan loopback"),
    ("127.9.9.9", "lan loopback"),
    ("::1", "lan loopback"),
    ("0.0.0.0", ""),
    ("0.1.2.3", ""),
    ("224.0.0.1", ""),
    ("239.255.255.250", ""),
    ("255.255.255.255", ""),
    ("240.0.0.1", ""),
    ("::", ""),
    ("ff02::1", ""),
    ("fec0::1", ""),
    ("::127.0.0.1", ""),
    ("64:ff9b::7f00:1", ""),
    ("2002:7f00:1::1", ""),
    ("2002:a00:1::1", ""),
    ("2001:0:7f00:1::", ""),
]


@pytest.mark.parametrize(("address", "called_by"), CALLED_BY)
def test_whoever_names_a_peer_it_is_called_only_where_it_may_be(address: str, called_by: str) -> None:
    assert called_by.split() == [reach.value for reach in Network if Reach(reach, AT_HOME).allows(ip_address(address))]


@pytest.mark.parametrize("reach", [Reach(network, AT_HOME) for network in Network], ids=str)
def test_libtorrent_is_told_the_same(reach: Reach) -> None:
    blocked = session.filter_of(reach)

    for text in [*dict(CALLED_BY), "::ffff:127.0.0.1", "::ffff:8.8.8.8"]:
        wrapped = text.startswith("::ffff:")
        assert (blocked.access(text) == 0) == (not wrapped and reach.allows(ip_address(text))), text


def test_peers_of_a_link_are_called_only_where_they_may_be() -> None:
    peers = ["192.168.7.9:7000", "10.0.0.1:7000", "8.8.8.8:7000", "127.0.0.1:7000", "[::ffff:192.168.7.8]:7000"]

    assert [host for host, _ in network.usable_peers(peers, PUBLIC)] == ["192.168.7.9", "8.8.8.8", "192.168.7.8"]
    assert [host for host, _ in network.usable_peers(peers, Reach(Network.PUBLIC))] == ["8.8.8.8"]


@pytest.mark.parametrize(
    ("reach", "hosts"), [(Network.LAN, ["192.168.1.9", "127.0.0.1"]), (Network.LOOPBACK, ["127.0.0.1"])]
)
def test_peers_outside_the_mode_s_ranges_are_dropped(reach: Network, hosts: list[str]) -> None:
    peers = ["192.168.1.9:7000", "8.8.8.8:7000", "127.0.0.1:7000", "127.0.0.1:7000"]

    assert hosts == [host for host, _ in network.usable_peers(peers, Reach(reach))]


def test_of_many_peers_a_few_are_called() -> None:
    peers = [f"8.8.{number // 250}.{number % 250}:7000" for number in range(10_000)]

    assert MOST_PEERS == 8 == len(network.usable_peers(peers, PUBLIC))


@pytest.mark.parametrize(
    "url",
    [
        "udp://127.0.0.1:6969",
        "http://127.0.0.1:6969/announce",
        "ws://127.0.0.1:8000",
        "wss://127.0.0.1/",
        "udp://[::1]:6969/announce",
    ],
)
def test_an_ordinary_tracker_is_used_inside_the_mode_s_own_range(url: str) -> None:
    for reach in Network:
        assert [url] == network.usable_trackers([url], reach)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/admin/reboot",
        "http://192.168.1.1/announce?reboot=1",
        "ws://10.0.0.1/x",
        "wss://[fe80::1]/secret",
        "http://[::ffff:192.168.1.1]/x",
        "http://127.0.0.1/announce?",
        "http://127.0.0.1/announce/../apply.cgi",
        "http://127.0.0.1/%61nnounce",
        "http://127.0.0.1//announce",
        "http://127.0.0.1/announce;x",
        "HTTP://127.0.0.1/x",
    ],
)
def test_an_odd_request_reaches_no_private_address_unless_a_person_typed_it(url: str) -> None:
    for reach in Network:
        assert network.usable_trackers([url], reach) == []
    tracker = network.parse_tracker(url)
    assert tracker
    assert [tracker.url] == network.usable_trackers([url], Network.PUBLIC, typed=True)


@pytest.mark.parametrize(
    "url", ["http://0.0.0.0/announce", "udp://[::]:80", "udp://224.0.0.1:1900", "ws://[ff02::1]:80"]
)
def test_nobody_is_asked_where_nobody_is(url: str) -> None:
    for typed in (False, True):
        assert network.usable_trackers([url], Network.PUBLIC, typed=typed) == []


def test_a_name_is_looked_up_when_its_tracker_is_asked() -> None:
    urls = ["http://router.example/reboot?now", "http://tracker.example/announce"]

    assert urls == network.usable_trackers(urls, Network.PUBLIC)


def test_the_scheme_s_case_is_no_matter() -> None:
    urls = ["UDP://8.8.8.8:80", "Wss://Tracker.example/Path", "udp://8.8.8.8:80"]

    assert network.usable_trackers(urls, Network.PUBLIC) == ["udp://8.8.8.8:80", "wss://Tracker.example/Path"]


@pytest.mark.parametrize("reach", [Network.LAN, Network.LOOPBACK])
def test_every_name_is_dropped_where_none_may_be_looked_up(reach: Network) -> None:
    names = [*DEFAULT_TRACKERS, "http://localhost/announce", "udp://tracker:1", "http://x.example/odd"]

    for typed in (False, True):
        assert network.usable_trackers(names, reach, typed=typed) == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "tracker.example:80",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "http://",
        "http://[::1",
        "udp://127.0.0.1:99999",
        "http://127.0.0.1/\r\nX: y",
        "udp://127.0.0.1:1/" + 1000 * "a",
        "http://127.0.0.1/announce#/../apply.cgi?x",
        "http://tracker.example/announce#",
        "udp://127.0.0.1:1#x.key=secret",
        "http://admin:admin@192.168.1.1/announce",
        "udp://0:11217/announce",
        "udp://127.1:6969",
        "udp://2130706433:6969",
        "http://0x7f000001/announce",
        "http://127.0.0.0x1/announce",
        "http://127.1./announce",
        "http://127.0.0.1/a b",
    ],
    ids=lambda url: url[:30],
)
def test_what_is_no_tracker_is_dropped(url: str) -> None:
    assert network.parse_tracker(url) is None
    assert network.usable_trackers([url], Network.PUBLIC, typed=True) == []


def test_of_many_trackers_some_are_used_once_each() -> None:
    urls = [f"udp://8.8.8.8:{number}" for number in range(1, 10_001)]

    good = network.usable_trackers([urls[0], *urls], Network.PUBLIC)

    assert urls[:20] == good
    assert MOST_TRACKERS == 20


def test_our_own_trackers_speak_to_programs_and_to_browsers() -> None:
    schemes = {url.partition(":")[0] for url in DEFAULT_TRACKERS}

    assert {"udp", "wss"} == schemes
    assert all(network.parse_tracker(url) for url in DEFAULT_TRACKERS)


CANDIDATE = "a=candidate:1 1 UDP 2122317823 {} 40000 typ host"


@pytest.mark.parametrize(
    ("line", "reached_by"),
    [
        (CANDIDATE.format("8.8.8.8"), "public"),
        (CANDIDATE.format("2001:db8::1"), "public"),
        (CANDIDATE.format("10.1.2.3"), "lan"),
        (CANDIDATE.format("fd77::1"), "lan"),
        (CANDIDATE.format("192.168.7.3"), "public lan"),
        (CANDIDATE.format("127.0.0.1"), "lan loopback"),
        (CANDIDATE.format("::ffff:127.0.0.1"), "lan loopback"),
        ("a=candidate:9 1 udp 1 10.1.2.3 50000 typ srflx raddr 8.8.8.8 rport 9 generation 0", "lan"),
        (CANDIDATE.format("127.0.0.1").replace("40000", "53"), ""),
        (CANDIDATE.format("8.8.8.8").replace("40000", "\u0664\u0660\u0660\u0660\u0660"), ""),
        (CANDIDATE.format("224.0.0.1"), ""),
        (CANDIDATE.format("outside.example"), ""),
        (CANDIDATE.format("4d2c.local"), ""),
        (CANDIDATE.format("10.1.2.3%outside.example"), ""),
        (CANDIDATE.format("[10.1.2.3]"), ""),
        (CANDIDATE.format("10.1.2.3 "), ""),
        ("A" + CANDIDATE.format("127.0.0.1")[1:], ""),
        ("a=x:" + CANDIDATE.format("127.0.0.1"), ""),
        ("a=candidate:1", ""),
        ("a=remote-candidates:1 127.0.0.1 40000", ""),
        ("a=end-of-candidates", "public lan loopback"),
        ("a=ice-ufrag:x", "public lan loopback"),
    ],
)
def test_of_a_browser_s_description_what_may_be_called_stays(line: str, reached_by: str) -> None:
    before, after = "v=0", "a=mid:0"
    for end in ("\r\n", "\n", "\r"):
        description = end.join([before, line, after, ""])
        kept = {reach.value: network.usable_candidates(description, Reach(reach, AT_HOME)) for reach in Network}

        assert kept == {
            reach.value: "\r\n".join([before, *[line] * (reach.value in reached_by.split()), after, ""])
            for reach in Network
        }
