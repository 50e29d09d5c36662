"""HTTP trackers, asked by us on libtorrent's account, at addresses where they may be asked and no other."""

from __future__ import annotations

import asyncio
import http.server
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import libtorrent as lt
import pytest
from support.tracker import Tracker

from memosync.network import Network
from memosync.torrent.trackers import announce

QUERY = f"info_hash={20 * '%aa'}&port=7000&left=0&compact=1"
ANSWER = b"d8:intervali1800e5:peers6:\x08\x08\x08\x08\x1b\x58e"


class Site(http.server.ThreadingHTTPServer):
    """A web server that answers every request with the same bytes, and keeps what was asked."""

    daemon_threads = True

    def __init__(self, answer: bytes, host: str = "127.0.0.1") -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), _Page)
        self.answer, self.asked = answer, list[str]()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path: str = "/announce") -> str:
        host, port = self.server_address[:2]
        return f"http://[{host!s}]:{port}{path}" if ":" in str(host) else f"http://{host!s}:{port}{path}"


class _Page(http.server.BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.wfile.write(self.server.answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Any]:
    sites: list[Site] = []

    def open_site(answer: bytes, host: str = "127.0.0.1") -> Site:
        sites.append(Site(answer, host))
        return sites[-1]

    yield open_site
    for each in sites:
        each.shutdown()
        each.server_close()


def page(body: bytes, head: bytes = b"HTTP/1.1 200 OK\r\n") -> bytes:
    return head + b"\r\n" + body


def redirect(url: str) -> bytes:
    return b"HTTP/1.1 302 Found\r\nLocation: " + url.encode() + b"\r\n\r\n"


def ask(url: str, network: Network = Network.LOOPBACK, *, typed: bool = False) -> Any:
    with ThreadPoolExecutor(1) as thread:  # one without a loop, whatever other tests left in this one
        return lt.bdecode(thread.submit(lambda: asyncio.run(announce(url, QUERY, network, typed=typed))).result())


def test_what_a_tracker_answers_comes_back() -> None:
    with Tracker(strangers=[("8.8.8.8", 7000)]) as tracker:
        answer = ask(tracker.http_url)

        assert answer[b"peers"] == b"\x08\x08\x08\x08\x1b\x58"
        assert [str(each) for each in tracker.announces] == [f"http {20 * 'aa'} 127.0.0.1:7000 left=0 alive"]


@pytest.mark.parametrize(
    "answer",
    [
        page(ANSWER),
        page(ANSWER, b"HTTP/1.0 200 OK\r\n"),
        page(ANSWER, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(ANSWER)),
        page(b"%x\r\n%s\r\n0\r\n\r\n" % (len(ANSWER), ANSWER), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"),
    ],
    ids=["to the end", "old", "of a length", "in chunks"],
)
def test_http_is_understood(site: Any, answer: bytes) -> None:
    assert ask(site(answer).url())[b"peers"] == ANSWER[-7:-1]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", b"nonsense"),
        (b"\xff\x00 i am no web server\r\n\r\n", b"nonsense"),
        (page(b"<html>"), b"nonsense"),
        (page(b"i1e"), b"nonsense"),
        (page(b"<html>", b"HTTP/1.1 404 Not Found\r\n"), b"HTTP 404"),
        (page(b"d14:failure reason2:noe", b"HTTP/1.1 403 Forbidden\r\n"), b"no"),
        (page(b"d" + 2_000_000 * b"x"), b"nonsense"),
        (b"HTTP/1.1 302 Found\r\n\r\n", b"redirects"),
    ],
)
def test_what_is_no_answer_is_a_failure(site: Any, answer: bytes, why: bytes) -> None:
    assert why in ask(site(answer).url())[b"failure reason"]


@pytest.mark.parametrize("path", ["/announce", "/"])
def test_a_redirect_to_another_tracker_is_followed(site: Any, path: str) -> None:
    goal = site(page(ANSWER))
    first = site(redirect(f"{goal.url(path)}?{QUERY}"))

    assert ask(first.url("/secret"), typed=True)[b"peers"] == ANSWER[-7:-1]
    assert (first.asked, goal.asked) == ([f"/secret?{QUERY}"], [f"{path}?{QUERY}"])


@pytest.mark.parametrize(
    "goal",
    [
        "{}/apply.cgi",
        "{}/announce?reboot",
        "{}/announce#x",
        "{}/announce/../apply.cgi",
        "/apply.cgi",
        "http://tracker.example/announce",
        "http://10.0.0.1/announce",
        "ftp://127.0.0.1/announce",
        "file:///etc/passwd",
        "http://[",
    ],
)
def test_a_redirect_to_anything_else_is_not(site: Any, goal: str) -> None:
    device = site(page(ANSWER))
    first = site(redirect(goal.format(device.url(""))))

    assert b"it redirects to w" in ask(first.url(), typed=True)[b"failure reason"]
    assert (len(first.asked), device.asked) == (1, [])


def test_a_query_that_a_redirect_glues_on_is_a_part_of_its_path(site: Any) -> None:
    device = site(page(ANSWER))
    first = site(b"")
    for goal in ("/", "/announce", "/announce&", ""):
        first.answer = redirect(f"http://127.0.0.1:{device.server_address[1]}{goal}{QUERY}")
        assert b"it redirects to w" in ask(first.url(), typed=True)[b"failure reason"]
    assert device.asked == []


def test_peers_that_a_tracker_names_one_by_one_are_addresses_or_nobody(site: Any) -> None:
    named: Any = [
        {b"ip": b"8.8.8.8", b"port": 7000, b"peer id": bytes(20)},
        {b"ip": b"2001:db8::8", b"port": 7000},
        *({b"ip": name, b"port": 7000} for name in (b"name.example", b"localhost", b"127.1", b"\xff", 5, [b"8.8.8.8"])),
        *({b"ip": b"9.9.9.9", b"port": port} for port in (-1, 70_000, b"7000")),
        *({b"ip": b"9.9.9.9"}, b"9.9.9.9:7000", 9),
    ]
    answer = lt.bencode({b"interval": 1800, b"peers": named})

    told = ask(site(page(answer)).url())

    assert told[b"peers"] == socket.inet_aton("8.8.8.8") + b"\x1b\x58"
    assert told[b"peers6"] == socket.inet_pton(socket.AF_INET6, "2001:db8::8") + b"\x1b\x58"


def test_a_redirect_without_end_ends(site: Any) -> None:
    first = site(b"")
    first.answer = redirect(first.url())

    assert b"again and again" in ask(first.url())[b"failure reason"]
    assert len(first.asked) == 4


def test_a_name_that_leads_here_gets_no_odd_request(site: Any) -> None:
    device = site(page(ANSWER))
    url = device.url().replace("127.0.0.1", "localhost")

    assert b"no address" in ask(url.replace("/announce", "/apply.cgi"), Network.PUBLIC)[b"failure reason"]
    assert b"not looked up" in ask(url, Network.LAN)[b"failure reason"]
    assert device.asked == []
    assert b"peers" in ask(url, Network.PUBLIC)
    assert b"peers" in ask(url.replace("/announce", "/apply.cgi"), Network.PUBLIC, typed=True)


def test_who_does_not_answer_says_why() -> None:
    with Tracker(mode="refused") as tracker:
        assert b"refused" in ask(tracker.http_url)[b"failure reason"].lower()
