"""What the seeder serves: the session follows the index, and the files themselves."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import MemosyncError
from ..library.store import Library
from ..magnet import InfoHash
from ..memo import Memo
from ..network import Network
from ..torrent import metainfo
from ..torrent.server import Server
from .linking import trackers_of

Signature = tuple[int, int, int]  # inode, time stamp, size
_LOOK_EVERY = 2.0  # seconds between looks at the files themselves


class Follower:
    """Make the session serve what the index says, and only files that are still what they were."""

    def __init__(self, library: Library, server: Server, network: Network, log: Callable[[str], None]) -> None:
        self._library, self._server, self._network, self._log = library, server, network, log
        self._served: dict[InfoHash, tuple[Path, Signature | None, tuple[str, ...]]] = {}
        self._looked = 0.0
        self.seen = 0  # the time stamp of the index acted on

    def look(self) -> None:
        """Act on a changed index at once, on changed files every few seconds."""
        seen = self._library.index_time()
        if seen != self.seen or (seen == 0 and self._served):
            try:
                self._follow([memo for memo in self._library.index().memos if memo.shared and not memo.trashed])
            except MemosyncError as error:
                self._log(f"going on with what was served before: {error}")
            self.seen = seen
        elif time.monotonic() - self._looked > max(_LOOK_EVERY, len(self._served) / 1000):
            for infohash, (path, signature, trackers) in list(self._served.items()):
                if _signature(path) != signature:
                    self._serve(infohash, path, trackers)
        else:
            return
        self._looked = time.monotonic()

    def _follow(self, memos: list[Memo]) -> None:
        wanted = {
            memo.infohash: (self._library.path(memo), trackers_of(memo.trackers, self._network))
            for memo in memos
            if memo.infohash
        }
        for infohash in set(self._served) - set(wanted):
            self._server.drop(infohash)
            del self._served[infohash]
        for infohash, (path, trackers) in wanted.items():
            before = self._served.get(infohash)
            if before and before[::2] == (path, trackers):
                continue
            if before and before[0] == path and self._server.replace_trackers(infohash, trackers):
                self._served[infohash] = path, before[1], trackers
            else:
                self._serve(infohash, path, trackers)

    def _serve(self, infohash: InfoHash, path: Path, trackers: tuple[str, ...]) -> None:
        """Serve a file, looking at every byte of it first when it is younger than its torrent."""
        self._server.drop(infohash)
        signature = _signature(path)
        self._served[infohash] = path, signature, trackers
        kept = self._library.torrent(infohash)
        try:
            torrent = kept.read_bytes()
            younger = signature is not None and signature[1] > kept.stat().st_mtime_ns
            if signature is None:
                self._server.call_damaged(infohash, f"{path.name} is gone")
            elif younger and not metainfo.fits(metainfo.read(torrent), path):
                self._server.call_damaged(infohash, f"{path.name} was altered")
            else:
                self._server.serve(path, torrent, trackers)
        except (OSError, MemosyncError, RuntimeError) as error:
            self._server.call_damaged(infohash, f"its torrent cannot be read: {error}")


def _signature(path: Path) -> Signature | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
