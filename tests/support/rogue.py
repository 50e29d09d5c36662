"""A device of a group that says what it likes, and some of what it might say."""

from __future__ import annotations

import json
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import libtorrent as lt

from memosync import sealing
from memosync.library import heads, keys, known
from memosync.library.store import Library
from memosync.magnet import InfoHash
from memosync.network import Network
from memosync.torrent.meeting import Meeting
from memosync.torrent.metainfo import Metainfo

from .program import Program

UID = "5c" * 32
THEM = "7be1c20d"
NUMBERED = [f"{number:064x}" for number in range(300_000)]


def packed(memos: Any, devices: Any = None) -> bytes:
    """Write a state as it is on the wire, whatever is in it."""
    return zlib.compress(json.dumps({"version": 1, "memos": memos, "devices": devices or {}}).encode())


def packed_text(text: str) -> bytes:
    return zlib.compress(f'{{"devices":{{}},"memos":{text},"version":1}}'.encode())


BOMBS = {
    "blanks": lambda: zlib.compress(b'{"version":1,"memos":{}' + b" " * 2 * 10**8 + b"}", 1),
    "one word": lambda: zlib.compress(b'{"memos":"' + b"a" * 2 * 10**8 + b'"}', 1),
    "a million entries": lambda: packed_text("{" + ",".join(f'"{uid}":{{}}' for uid in NUMBERED * 4) + "}"),
    "many entries": lambda: packed_text("{" + ",".join(f'"{uid}":{{"x":[1]}}' for uid in NUMBERED) + "}"),
    "many objects": lambda: packed_text("[" + ",".join(['{"a":1}'] * 740_000) + "]"),
    "many lists": lambda: packed_text("[" + ",".join(["[[]]"] * 490_000) + "]"),
    "wide letters": lambda: packed_text('{"a":"\U0001f600' + "a" * 31_000_000 + '"}'),
    "many devices": lambda: packed({}, {f"{number:08x}": {"name": ["x"]} for number in range(100_000)}),
    "deep lists": lambda: packed_text("[" * 100_000 + "]" * 100_000),
}


class Rogue:
    """A device of the group that says what it likes."""

    def __init__(self, program: Program, place: Path, device: str = THEM) -> None:
        library = Library(program.library)
        self.secret, self.place = keys.secret(library), place
        place.mkdir()
        keep = sealing.keep_key(self.secret)
        self.meeting = Meeting(Network.LOOPBACK, keep=keep, device=device, place=place, log=lambda _text: None)
        act = self.meeting.exchange.handle_alert
        self.meeting.exchange.handle_alert = lambda alert: (  # type: ignore[method-assign]
            None if isinstance(alert, lt.fastresume_rejected_alert) else act(alert)  # it gives what it has not
        )
        self.calls = [f"127.0.0.1:{known.read(library).port}"]
        self.meeting.call({"": self.calls})
        self.lock, self.ends = threading.Lock(), threading.Event()
        self.thread = threading.Thread(target=self._poll, daemon=True)  # a test that fails closes nothing
        self.thread.start()

    def _poll(self) -> None:
        while not self.ends.is_set():
            with self.lock:
                self.meeting.poll(0.02)
            self.ends.wait(0.005)

    def keep(self, data: bytes) -> InfoHash:
        """Serve these bytes as what a device says."""
        head = heads.describe(data)
        (self.place / head.infohash).write_bytes(data)
        with self.lock:
            self.meeting.exchange.serve(head.torrent, self.place / head.infohash)
        return head.infohash

    def serve(self, info: dict[bytes, Any]) -> InfoHash:
        """Serve a torrent of which nothing is there but what it says of itself."""
        entry: Any = {b"info": info}
        data = lt.bencode(entry)
        infohash = InfoHash(str(lt.load_torrent_buffer(data).info_hashes.v1))
        with self.lock:
            self.meeting.exchange.serve(
                Metainfo(infohash=infohash, name="", size=0, piece_length=0, pieces=b"", data=data),
                self.place / "nothing",
            )
        return infohash

    def given(self, infohash: InfoHash) -> int:
        """Give the bytes that others had of a torrent, what it says of itself included."""
        with self.lock:
            torrent = self.meeting.exchange._torrents.get(infohash)
            if not torrent:  # its file was asked for, which is not there
                return sys.maxsize
            return torrent.handle.status().total_upload if torrent.handle else 0

    def point(self, infohash: InfoHash) -> None:
        with self.lock:
            self.meeting.point(infohash)

    def seal(self, state: bytes, base: InfoHash | None = None) -> bytes:
        """Seal a state, or what is none, into a head."""
        inner = sealing.seal_bytes(sealing.read_key(self.secret), "head", state)
        envelope = bytes([1]) + (bytes.fromhex(base) if base else bytes(20)) + bytes(4)
        return sealing.seal_bytes(sealing.keep_key(self.secret), "hold", envelope + inner)

    def close(self) -> None:
        self.ends.set()
        self.thread.join()
        with self.lock:
            self.meeting.close()
