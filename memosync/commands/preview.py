"""What a link leads to, before anything of it is fetched: `fetch --info`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from ..library.store import Library
from ..memo import clean_title
from ..torrent import metainfo
from ..torrent.download import fetch
from ..torrent.metainfo import Metainfo
from .arriving import already_here, title_of
from .fetch import Job
from .several import Fail
from .sources import Source, each_source


def look_at_all(
    library: Library, texts: Iterable[str], job: Job, *, answer: Callable[[Metainfo, str], None], fail: Fail
) -> None:
    """Answer every link's metadata and the title, as far as it is known before the memo is here."""

    def look_at(source: Source) -> None:
        torrent = _metadata(library, source, job)
        answer(torrent, clean_title(source.link.name) or title_of(torrent))

    each_source(texts, look_at, stop=job.stop, fail=fail)


def _metadata(library: Library, source: Source, job: Job) -> Metainfo:
    """Get the metadata of a link and nothing else."""
    kept = library.torrent(source.link.infohash)
    if already_here(library, source.link.infohash) and kept.exists():
        return metainfo.read(kept.read_bytes())
    found = [source.torrent] if source.torrent else []
    if not found:
        with tempfile.TemporaryDirectory() as nowhere:
            fetch(
                source.link,
                Path(nowhere),
                network=job.network,
                accept=found.append,
                stop=job.stop,
                timeout=job.timeout,
                info_only=True,
                dht=library.session_state(),
                on_progress=job.view(),
            )
    return metainfo.read(found[0])
