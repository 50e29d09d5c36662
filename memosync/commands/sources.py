"""What `fetch` is given: links, share links that hold several, and .torrent files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .. import magnet
from ..errors import UsageError
from ..magnet import Magnet
from ..stop import Stop
from ..torrent import metainfo
from .several import Fail, each


@dataclass(frozen=True, slots=True)
class Source:
    """What one link or .torrent file says."""

    link: Magnet
    torrent: bytes = b""


def each_source(texts: Iterable[str], do: Callable[[Source], None], *, stop: Stop, fail: Fail) -> None:
    """Do it for every .torrent file, every link, and every link in a share link, which names no file."""

    def whole(text: str) -> None:
        if _is_file(text):
            do(_read_file(text))
        else:
            each(magnet.split(text), lambda link: do(Source(magnet.parse(link))), name=str, stop=stop, fail=fail)

    each(texts, whole, name=str, stop=stop, fail=fail)


def _is_file(text: str) -> bool:
    if re.match(r"(?i)magnet:|https?:", text):
        return False
    return text.endswith(".torrent") or (len(text) < 4096 and "\0" not in text and Path(text).is_file())


def _read_file(path: str) -> Source:
    """Read a .torrent file; UsageError when it is not there."""
    try:
        with open(path, "rb") as file:
            torrent = metainfo.read(file.read(metainfo.LARGEST_TORRENT + 1))
    except OSError as error:
        raise UsageError(f"cannot read it: {error.strerror}") from error
    return Source(Magnet(infohash=torrent.infohash, trackers=torrent.trackers), torrent.data)
