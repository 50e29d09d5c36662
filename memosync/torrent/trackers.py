"""HTTP trackers, asked on libtorrent's account, and connections to trackers of any kind.

libtorrent 2.1.1 follows redirects of HTTP trackers wherever they lead, to any path of a device in the LAN too, and
looks names up for them in `lan` and `loopback`; no setting keeps it from that. Here every address is looked at before
it is connected to, and a redirect is a new URL of the same stranger.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.client
import io
import os
import socket
import ssl
import string
import struct
from typing import Any, TypeAlias, cast
from urllib.parse import quote, urljoin, urlsplit

import libtorrent as lt
from aiohappyeyeballs import start_connection

from ..network import Network, Tracker, parse_address, parse_tracker
from .session import reach_of

_Answer: TypeAlias = dict[bytes, Any]

_PATIENCE = 20.0  # seconds for one answer, redirects included
_GRACE = 1.0  # seconds that the other family of addresses has once one has answered
_LARGEST_ANSWER = 1_000_000  # bytes
_MOST_REDIRECTS = 3
_SECURE = ("https", "wss")
_DELAY = 0.25  # seconds (RFC 8305): there are machines whose IPv6 leads nowhere


class _Nowhere(OSError):
    """There is no address where a tracker may be asked."""


class _Astray(OSError):
    """A tracker redirects to nowhere."""


async def announce(url: str, query: str, network: Network, *, typed: bool) -> bytes:
    """Ask an HTTP tracker (BEP 3) with the query that libtorrent made, once by each family of addresses (BEP 7).

    Give its answer, bencoded, with the peers of both; a failure reason (BEP 3) when there is none.
    """
    families = (socket.AF_INET, socket.AF_INET6)
    waiting = {asyncio.create_task(_announce_by(family, url, query, network, typed)) for family in families}
    answers: list[_Answer] = []
    errors: list[Exception] = []
    while waiting:
        grace = _GRACE if answers else None
        done, waiting = await asyncio.wait(waiting, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            break
        for task in done:
            try:
                answers.append(task.result())
            except (OSError, ValueError, http.client.HTTPException) as error:
                errors.append(error)
    if not answers:
        says: dict[type, int] = {socket.gaierror: 2, _Nowhere: 1}  # less than the other family's
        errors.sort(key=lambda error: says.get(type(error), 0))
        answers = [{b"failure reason": _fault(errors[0]).encode()}]
    answers.sort(key=lambda answer: b"failure reason" in answer)
    return lt.bencode(functools.reduce(_with_peers_of, answers))


async def dial(tracker: Tracker, network: Network, *, typed: bool, family: int = socket.AF_UNSPEC) -> socket.socket:
    """Connect to a tracker, at an address where it may be asked; OSError when there is none, or none answers.

    Its name is looked up on `public` only.
    """
    known = parse_address(tracker.host)
    if known and family == (socket.AF_INET6 if known.version == 4 else socket.AF_INET):
        raise _Nowhere("it has no address of this family")
    if not known and network is not Network.PUBLIC:
        raise _Nowhere("its name is not looked up in this network")
    parts = urlsplit(tracker.url)
    port = parts.port or (443 if tracker.scheme in _SECURE else 80)
    looked_up = await asyncio.get_running_loop().getaddrinfo(tracker.host, port, family=family, type=socket.SOCK_STREAM)
    places = []
    near = reach_of(network).is_near
    for place in looked_up:
        address = parse_address(str(place[4][0]))
        if (
            address
            and tracker.may_be_asked(address, network, typed=typed)
            and (typed or tracker.is_ordinary or not near(address))
        ):
            places.append(place)
    if not places:
        raise _Nowhere("it has no address where it may be asked")
    return await start_connection(places, happy_eyeballs_delay=_DELAY)


async def _announce_by(family: int, url: str, query: str, network: Network, typed: bool) -> _Answer:
    address = url + ("&" if "?" in url else "?") + query
    async with asyncio.timeout(_PATIENCE):
        for hop in range(1 + _MOST_REDIRECTS):
            try:
                if not (tracker := parse_tracker(url)) or tracker.scheme not in ("http", "https"):
                    raise _Nowhere("it is no HTTP tracker")
                connected = await dial(tracker, network, typed=typed, family=family)
            except _Nowhere:
                if hop:
                    raise _Astray("it redirects to where it may not be asked") from None
                raise
            answer = await _get(tracker, address, connected)
            if answer.status not in (301, 302, 303, 307, 308):
                return _read(answer)
            try:
                address, typed = urljoin(url, answer.getheader("Location", "")), False  # a stranger's word again
            except ValueError:
                raise _Astray("it redirects to what cannot be read") from None
            base, _, rest = address.partition("?")
            url = base if rest.lstrip("?&") == query else address  # which is our own, and no odd one
    raise _Astray("it redirects again and again")


async def _get(tracker: Tracker, address: str, connected: socket.socket) -> http.client.HTTPResponse:
    """Send one request (HTTP/1.0, RFC 1945: the answer ends with the connection) and read the whole answer."""
    context, name = (_tls(), tracker.host) if tracker.scheme == "https" else (None, None)
    reader, writer = await asyncio.open_connection(sock=connected, ssl=context, server_hostname=name)
    parts = urlsplit(address)
    target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=string.punctuation)
    host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode()
    head = f"GET {target} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: memosync\r\nConnection: close\r\n\r\n"
    try:
        writer.write(head.encode())
        data = await reader.read(_LARGEST_ANSWER)
        while len(data) < _LARGEST_ANSWER and (more := await reader.read(_LARGEST_ANSWER - len(data))):
            data += more
    finally:
        writer.close()
    response = http.client.HTTPResponse(cast(socket.socket, _Received(data)))
    response.begin()
    return response


class _Received:
    """What http.client takes for a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _read(response: http.client.HTTPResponse) -> _Answer:
    """Read a bencoded answer; ValueError when it is none."""
    with contextlib.suppress(RuntimeError):
        answer: Any = lt.bdecode(response.read())
        if isinstance(answer, dict):
            return _with_compact_peers(answer)
    raise ValueError("it answers nonsense" if response.status == 200 else f"HTTP {response.status}")


def _with_compact_peers(answer: _Answer) -> _Answer:
    """Write peers that are named one by one (BEP 3) as bytes (BEP 23, BEP 7): libtorrent would look names up."""
    if not isinstance(answer.get(b"peers"), list):
        return answer
    named: dict[bytes, bytes] = {b"peers": b"", b"peers6": answer.get(b"peers6", b"")}
    for peer in answer[b"peers"]:
        with contextlib.suppress(KeyError, TypeError, AttributeError, ValueError, struct.error):
            if address := parse_address(peer[b"ip"].decode()):
                packed = address.packed + struct.pack(">H", peer[b"port"])
                named[b"peers" if address.version == 4 else b"peers6"] += packed
    return {**answer, **named}


def _with_peers_of(answer: _Answer, other: _Answer) -> _Answer:
    for name in (b"peers", b"peers6"):
        ours, theirs = answer.get(name), other.get(name)
        if theirs and (not ours or type(ours) is type(theirs)):
            answer = {**answer, name: ours + theirs if ours else theirs}
    return answer


def _fault(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.HTTPException):
        return "it answers nonsense"
    if isinstance(error, OSError) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0)
    return str(getattr(error, "strerror", None) or error)
