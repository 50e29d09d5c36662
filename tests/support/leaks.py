"""What everybody else sees: windows of what is secret, and who looks."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from memosync import magnet
from support.netns import Host

WORDS = {
    "title": "The merger nobody may know of",
    "description": "what was said about the price of it",
    "tag": "acquisition of the mill",
}
_ANNOUNCED: dict[str, tuple[re.Pattern[bytes], Callable[[bytes], bytes]]] = {
    "LSD": (re.compile(rb"(?i)infohash: *([0-9a-f]{40})"), lambda name: bytes.fromhex(name.decode())),  # BEP 14
    "DHT": (re.compile(rb"(?s)9:info_hash20:(.{20})4:port"), bytes),  # BEP 5
    "HTTP": (re.compile(rb"[?&]info_hash=([^& ]+)"), unquote_to_bytes),  # BEP 3
    "UDP": (re.compile(rb"(?s)memosync\x00\x00\x00\x01.{4}(.{20})"), bytes),  # BEP 15, at the tests' own tracker
}

WINDOW, DIFFERENT = 16, 8  # bytes in a row, so many of them different: what nobody sends by chance


def windows(data: bytes) -> set[bytes]:
    found = {data[at : at + WINDOW] for at in range(len(data) - WINDOW + 1)}
    return {window for window in found if len(set(window)) >= DIFFERENT}


def written(key: bytes) -> list[bytes]:
    """Write a key in every way in which somebody might."""
    small = magnet.format_key(key)
    texts = [key.hex(), key.hex().upper(), small, small.upper(), base64.b64encode(key).decode().rstrip("=")]
    texts += [quote_from_bytes(key), base64.urlsafe_b64encode(key).decode().rstrip("=")]
    return [key, *(text.encode() for text in texts)]


def found(secret: set[bytes], seen: Iterable[bytes]) -> set[bytes]:
    """Give the windows of what is secret that were seen."""
    return {window for data in seen for at in range(len(data)) if (window := data[at : at + WINDOW]) in secret}


def holds(data: bytes, secrets: Iterable[bytes]) -> bool:
    return any(secret in data for secret in secrets)


def announced(sent: Iterable[bytes]) -> dict[str, set[str]]:
    """Give the infohashes that are announced in the clear, by each way in which that can be.

    Not those that nodes of the DHT are asked for: to come to know them, libtorrent asks for some that are none.
    """
    found: dict[str, set[str]] = {way: set() for way in _ANNOUNCED}
    for data in sent:
        for way, (pattern, read) in _ANNOUNCED.items():
            found[way] |= {read(name).hex() for name in pattern.findall(data)}
    return found


class Watch:
    """See the command line, and the variables, of everything that lives on some hosts, for as long as a block takes."""

    def __init__(self, *hosts: Host) -> None:
        self.hosts, self.seen = hosts, set[bytes]()
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self.ends.wait(0.1):
            for pid in (pid for host in self.hosts for pid in host.processes()):
                for name in ("cmdline", "environ"):
                    try:
                        self.seen.add(Path(f"/proc/{pid}/{name}").read_bytes())
                    except OSError:  # it has gone
                        pass

    def __enter__(self) -> Watch:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ends.set()
        self.thread.join()
