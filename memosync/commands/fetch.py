"""fetch: from a link to a memo that is whole, verified and indexed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..audio import sandbox
from ..errors import AudioError, Interrupted, TorrentError
from ..library.store import Library
from ..memo import Memo
from ..network import Network
from ..stop import Stop
from ..torrent import metainfo
from ..torrent.download import Progress
from ..torrent.download import fetch as fetch_torrent
from .arriving import already_here, out_of_trash, take_in
from .opening import Tell
from .several import Fail
from .sources import Source, each_source
from .staging import Staging, sole


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What every fetch needs to know."""

    network: Network
    timeout: float = 60  # seconds without a new byte
    max_size: int = 10**9  # bytes
    stop: Stop
    tell: Tell
    view: Callable[[], Callable[[Progress], None]] = lambda: lambda _progress: None  # made anew for each link


def fetch_all(
    library: Library,
    texts: Iterable[str],
    job: Job,
    *,
    serve_on: bool = False,
    answer: Callable[[Memo], None],
    then: Callable[[Memo], None] = lambda _memo: None,
    fail: Fail,
) -> None:
    """Fetch every memo of every link, answer each as soon as it is here, and do `then` with it."""

    def fetch_one(source: Source) -> None:
        memo = fetch(library, source, job)
        job.tell(f"{memo.id} “{memo.title}”, {memo.duration:.1f} s")
        answer(memo)
        if serve_on:
            from .share import share

            share(library, [memo], job.network, stop=job.stop, tell=job.tell, answer=lambda _link: None)
        then(memo)

    each_source(texts, fetch_one, stop=job.stop, fail=fail)


def fetch(library: Library, source: Source, job: Job) -> Memo:
    """Fetch one memo, or find that it is here already.

    SwarmError and Interrupted keep what arrived, and the same call goes on there; after TorrentError nothing of it is
    left.
    """
    infohash = source.link.infohash
    if memo := already_here(library, infohash):
        shutil.rmtree(library.incoming(infohash), ignore_errors=True)  # one died when it had put it in its place
        return out_of_trash(library, memo, job.tell)
    library.prepare()
    sandbox.start()
    with sole(library, infohash, stop=job.stop, tell=job.tell):
        if memo := already_here(library, infohash):
            return out_of_trash(library, memo, job.tell)
        staging = Staging(library, infohash, job.max_size)
        try:
            if source.torrent and not staging.torrent:
                staging.accept(source.torrent)
            fetch_torrent(
                source.link,
                staging.directory,
                torrent=staging.torrent,
                network=job.network,
                accept=staging.accept,
                stop=job.stop,
                timeout=job.timeout,
                dht=library.session_state(),
                on_progress=job.view(),
            )
            info = sandbox.probe(staging.file)
            memo = take_in(library, metainfo.read(staging.torrent), staging.file, info, source.link.trackers)
        except (TorrentError, AudioError) as error:
            staging.remove()
            raise TorrentError(str(error), error.hint) from error
        except Interrupted:
            job.tell("what arrived is kept; the same command goes on where this one stopped")
            raise
        staging.remove()
        return memo
