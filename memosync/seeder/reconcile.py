"""From the index to the session: the server has exactly what is to be served, and only files that are the same."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from .. import files
from ..errors import MemosyncError
from ..library.served import Served, revision, served
from ..library.store import Library
from ..magnet import InfoHash
from ..network import Network
from ..torrent import metainfo
from ..torrent.server import Server

_LOOK_EVERY = 2.0  # seconds between looks at the files themselves
_LOOKS = 400  # at files, in a second at most: ten thousand are looked at in 25 s
_Signature = tuple[int, int, int] | None  # see files.state_of; None for what is no file


class Reconciler:
    """Match what a server serves to the index, and to the files."""

    def __init__(self, library: Library, server: Server, network: Network, log: Callable[[str], None]) -> None:
        self._library, self._server, self._network, self._log = library, server, network, log
        self._served: dict[InfoHash, tuple[Served, _Signature, _Signature]] = {}
        self._looked = 0.0
        self.seen = 0  # the revision acted on

    def look(self) -> None:
        """Act on a changed index at once, on changed files every few seconds."""
        seen = revision(self._library)
        if seen != self.seen or (seen == 0 and self._served):
            try:
                self._follow(served(self._library, self._network))
            except MemosyncError as error:
                self._log(f"going on with what was served before: {error}")
            self.seen = seen
        elif time.monotonic() - self._looked > max(_LOOK_EVERY, len(self._served) / _LOOKS):
            for wanted, *signatures in list(self._served.values()):
                if [_signature(wanted.path), _signature(wanted.torrent)] != signatures:
                    self._serve(wanted)
        else:
            return
        self._looked = time.monotonic()

    def _follow(self, all_wanted: list[Served]) -> None:
        for infohash in self._served.keys() - {wanted.infohash for wanted in all_wanted}:
            self._server.drop(infohash)
            del self._served[infohash]
        for wanted in all_wanted:
            before, *signatures = self._served.get(wanted.infohash, (None, None, None))
            if before == wanted:
                continue
            same_file = before is not None and (before.path, before.torrent) == (wanted.path, wanted.torrent)
            if same_file and self._server.replace_trackers(wanted.infohash, wanted.trackers, typed=wanted.typed):
                self._served[wanted.infohash] = wanted, signatures[0], signatures[1]
            else:
                self._serve(wanted)

    def _serve(self, wanted: Served) -> None:
        """Serve a file, looking at every byte of it first when it is younger than its torrent."""
        infohash, path = wanted.infohash, wanted.path
        self._server.drop(infohash)
        signature = _signature(path)
        self._served[infohash] = wanted, signature, _signature(wanted.torrent)
        try:
            torrent = metainfo.believed(wanted.torrent, infohash)
            younger = signature is not None and signature[1] > files.time_of(wanted.torrent)
            if torrent is None:
                self._server.call_damaged(infohash, "its torrent is lost")
            elif signature is None:
                self._server.call_damaged(infohash, f"{path.name} is gone")
            elif younger and not metainfo.fits(torrent, path):
                self._server.call_damaged(infohash, f"{path.name} was altered")
            else:
                self._server.serve(path, torrent.data, wanted.trackers, typed=wanted.typed, seek=wanted.seek)
        except (OSError, MemosyncError, RuntimeError) as error:
            self._server.call_damaged(infohash, f"its torrent cannot be read: {error}")


def _signature(path: Path) -> _Signature:
    with contextlib.suppress(OSError):
        return files.state_of(path)
    return None
