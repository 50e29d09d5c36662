"""From the index to the session: the server has exactly what is to be served, and only files that are the same."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path

from .. import files
from ..errors import MemosyncError, reason_of
from ..library import keys
from ..library.served import Served, revision, served, unread_memos
from ..library.store import Library
from ..magnet import InfoHash
from ..network import Network
from ..torrent import metainfo
from ..torrent.server import Server

_LOOK_EVERY = 2.0  # seconds between looks at the files themselves
_SOONEST, _LATEST = 2.0, 600.0  # seconds after which what could not be read is looked at again
_LOOKS = 400  # at files, in a second at most: ten thousand are looked at in 25 s
_Signature = int  # of files.state_of, which takes ten times the room; 0 for what is no file


class Reconciler:
    """Match what a server serves to the index, and to the files."""

    def __init__(self, library: Library, server: Server, network: Network, log: Callable[[str], None]) -> None:
        self._library, self._server, self._network, self._log = library, server, network, log
        self._served: dict[InfoHash, tuple[Served, _Signature, _Signature]] = {}
        self._looked = 0.0
        self._tried = 0  # the revision that was looked at
        self._index, self._said = _Pause(), ""
        self._damaged: dict[InfoHash, _Pause] = {}
        self.seen = 0  # the revision acted on

    def look(self) -> None:
        """Act on a changed index at once, on changed files every few seconds; look again at what cannot be read."""
        seen = revision(self._library)
        if seen != self._tried or self._index.is_over():
            self._tried = seen
            try:
                self._follow(served(self._library, self._network))
                self._library.forget()
                self.seen = seen
            except MemosyncError as error:
                self._index.begin()
                self._log_once(f"going on with what was served before: {error}")
        elif time.monotonic() - self._looked > max(_LOOK_EVERY, len(self._served) / _LOOKS):
            for infohash, (wanted, *signatures) in list(self._served.items()):
                if signatures != [_signature(wanted.path), _signature(wanted.torrent)]:
                    self._damaged.pop(infohash, None)
                    self._serve(wanted)
                elif self._server.is_damaged(infohash) and self._damaged.setdefault(infohash, _begun()).is_over():
                    self._serve(wanted, thorough=True)
        else:
            return
        self._looked = time.monotonic()

    def lacks_forms(self) -> bool:
        """Tell whether a sealed form is not served that should be."""
        found = (self._served.get(infohash) for infohash in self._server.damaged)
        return any(one and one[0].place == self._library.forms for one in found)

    def _follow(self, all_wanted: list[Served]) -> None:
        unread = False
        for infohash in self._served.keys() - {wanted.infohash for wanted in all_wanted}:
            if keys.is_unread(self._library, infohash):  # it was not ended
                unread = True
                continue
            self._server.drop(infohash)
            del self._served[infohash]
            self._damaged.pop(infohash, None)
        for wanted in all_wanted:
            before, *signatures = self._served.get(wanted.infohash, (None, 0, 0))
            if before == wanted:
                continue
            same_file = before is not None and before.path == wanted.path
            if same_file and self._server.replace_trackers(wanted.infohash, wanted.trackers, typed=wanted.typed):
                self._served[wanted.infohash] = wanted, signatures[0], signatures[1]
            else:
                self._serve(wanted)
        for memo in unread_memos(self._library, all_wanted):
            unread = True
            self._log_once(f"the key of memo {memo.id} cannot be read")
        self._index.begin() if unread else self._index.end()

    def _serve(self, wanted: Served, *, thorough: bool = False) -> None:
        """Serve a file, looking at every byte of it first when it is younger than its torrent, or was damaged."""
        infohash, path, kept = wanted.infohash, wanted.path, wanted.torrent
        self._server.drop(infohash)
        self._served[infohash] = wanted, _signature(path), _signature(kept)
        name = path.name
        try:
            younger = files.status_of(path, links=True).st_mtime_ns > files.time_of(kept)
            name = "its torrent"
            torrent = metainfo.believed(kept, infohash)
            if torrent is None:
                files.read(kept)
                self._server.call_damaged(infohash, "its torrent is broken")
                return
            name = path.name
            if (younger or thorough) and not metainfo.fits(torrent, path):
                self._server.call_damaged(infohash, f"{name} was altered")
            else:
                self._server.serve(path, torrent.data, wanted.trackers, typed=wanted.typed, seek=wanted.seek)
        except FileNotFoundError:
            self._server.call_damaged(infohash, f"{name} is gone")
        except (OSError, RuntimeError) as error:
            self._server.call_damaged(infohash, f"{name} cannot be read: {reason_of(error)}")

    def _log_once(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._log(text)


class _Pause:
    """How long to wait until what could not be read is looked at again: longer each time."""

    def __init__(self) -> None:
        self._length, self._until = 0.0, math.inf

    def begin(self) -> None:
        self._length = min(2 * self._length, _LATEST) or _SOONEST
        self._until = time.monotonic() + self._length

    def end(self) -> None:
        self._length, self._until = 0.0, math.inf

    def is_over(self) -> bool:
        """Tell whether it is; the next one begins then."""
        if time.monotonic() < self._until:
            return False
        self.begin()
        return True


def _begun() -> _Pause:
    pause = _Pause()
    pause.begin()
    return pause


def _signature(path: Path) -> _Signature:
    with contextlib.suppress(OSError):
        return hash(files.state_of(path))
    return 0
