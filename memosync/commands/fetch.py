"""fetch: from a link to a memo that is whole, verified and indexed."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from .. import files, magnet, metainfo, webm
from ..errors import AudioError, Interrupted, LibraryError, Stop, TorrentError, UsageError
from ..library import Library
from ..magnet import Magnet
from ..memo import InfoHash, Memo, clean_title
from ..metainfo import Metainfo
from ..network import DEFAULT_TRACKERS, Network, usable_trackers
from ..quantities import format_size
from ..session.fetch import FILE, Progress
from ..session.fetch import fetch as fetch_torrent
from .entries import new_memo
from .opening import Tell
from .rm import restore
from .several import Fail, each

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Source:
    """What one link or .torrent file says."""

    text: str  # as it was given
    link: Magnet
    torrent: bytes = b""


def _read_link(link: str) -> Source:
    return Source(link, magnet.parse(link))


def _read_file(text: str) -> Source:
    """Read a .torrent file; UsageError when it is not there."""
    try:
        with open(text, "rb") as file:
            torrent = metainfo.read(file.read(metainfo.LARGEST_TORRENT + 1))
    except OSError as error:
        raise UsageError(f"cannot read it: {error.strerror}") from error
    return Source(text, Magnet(infohash=torrent.infohash, trackers=torrent.trackers), torrent.data)


def _is_file(text: str) -> bool:
    if re.match(r"(?i)magnet:|https?:", text):
        return False
    return text.endswith(".torrent") or (len(text) < 4096 and "\0" not in text and Path(text).is_file())


def already_here(library: Library, infohash: InfoHash) -> Memo | None:
    """Give the memo that has this infohash and its file; it may be in the trash."""
    memo = library.index().with_infohash(infohash)
    return memo if memo and library.path(memo).exists() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What every fetch needs to know."""

    network: Network
    timeout: float = 60  # seconds without a new byte
    max_size: int = 10**9  # bytes
    stop: Stop
    tell: Tell
    view: Callable[[], OnProgress] = lambda: lambda _progress: None  # made anew for each link


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

    _each_source(texts, fetch_one, job, fail)


def look_at_all(
    library: Library, texts: Iterable[str], job: Job, *, answer: Callable[[Metainfo, str], None], fail: Fail
) -> None:
    """Answer every link's metadata and the title, as far as it is known before the memo is here."""

    def look_at(source: Source) -> None:
        torrent = look(library, source, job)
        answer(torrent, clean_title(source.link.name) or _stem(torrent.name))

    _each_source(texts, look_at, job, fail)


def fetch(library: Library, source: Source, job: Job) -> Memo:
    """Fetch one memo, or find that it is here already.

    SwarmError and Interrupted keep what arrived, and the same call goes on there; after TorrentError nothing of it is
    left.
    """
    infohash = source.link.infohash
    if memo := already_here(library, infohash):
        shutil.rmtree(library.incoming(infohash), ignore_errors=True)  # one died when it had put it in its place
        return _out_of_trash(library, memo, job)
    library.prepare()
    probe = webm.prober()
    with _sole(library, infohash, job):
        if memo := already_here(library, infohash):
            return _out_of_trash(library, memo, job)
        staging = library.incoming(infohash)
        with files.as_library_error("keep what arrives"):
            staging.mkdir(parents=True, exist_ok=True)
        kept = staging / "torrent"
        if kept.exists():
            _refuse_what_is_no_memo(metainfo.read(kept.read_bytes()), job.max_size)

        def accept(data: bytes) -> None:
            torrent = metainfo.read(data)
            if torrent.infohash != infohash:
                raise TorrentError("this torrent has another infohash than its link")
            _refuse_what_is_no_memo(torrent, job.max_size)
            missing = torrent.size - files.free_space(staging) - files.used_space(staging)
            if missing > 0:
                raise LibraryError(
                    f"the disk has no room for its {format_size(torrent.size)}", "make room and try again"
                )
            with files.as_library_error("keep the torrent"):
                files.write(kept, torrent.data)

        resuming = kept.exists()
        try:
            if source.torrent and not resuming:
                accept(source.torrent)
            fetch_torrent(
                source.link,
                staging,
                torrent=kept.read_bytes() if kept.exists() else b"",
                network=job.network,
                accept=accept,
                stop=job.stop,
                timeout=job.timeout,
                dht=library.session_state(),
                on_progress=job.view(),
            )
            memo = _take_in(library, source, metainfo.read(kept.read_bytes()), staging / FILE, probe(staging / FILE))
        except (TorrentError, AudioError) as error:
            shutil.rmtree(staging, ignore_errors=True)
            raise TorrentError(str(error), error.hint) from error
        except Interrupted:
            job.tell("what arrived is kept; the same command goes on where this one stopped")
            raise
        shutil.rmtree(staging, ignore_errors=True)
        return memo


def look(library: Library, source: Source, job: Job) -> Metainfo:
    """Get the metadata of a link and nothing else."""
    found: list[Metainfo] = []
    if memo := already_here(library, source.link.infohash):
        kept = library.torrent(source.link.infohash)
        found = [metainfo.read(kept.read_bytes())] if kept.exists() and memo else []
    if source.torrent and not found:
        found = [metainfo.read(source.torrent)]
    if not found:
        import tempfile

        with tempfile.TemporaryDirectory() as nowhere:
            fetch_torrent(
                source.link,
                Path(nowhere),
                network=job.network,
                accept=lambda data: found.append(metainfo.read(data)),
                stop=job.stop,
                timeout=job.timeout,
                info_only=True,
                dht=library.session_state(),
                on_progress=job.view(),
            )
    return found[0]


def _each_source(texts: Iterable[str], do: Callable[[Source], None], job: Job, fail: Fail) -> None:
    """Do it for every .torrent file, every link, and every link in a share link, which names no file."""

    def whole(text: str) -> None:
        if _is_file(text):
            do(_read_file(text))
        else:
            each(magnet.split(text), lambda link: do(_read_link(link)), name=str, stop=job.stop, fail=fail)

    each(texts, whole, name=str, stop=job.stop, fail=fail)


def _out_of_trash(library: Library, memo: Memo, job: Job) -> Memo:
    """Bring a memo back when it is in the trash."""
    if memo.trashed:
        restore(library, [memo], tell=job.tell, answer=lambda _id: None)
    return library.index().get(memo.id) or memo


def _stem(name: str) -> str:
    return clean_title(re.sub(r"(?i)\.webm$", "", name))


def _take_in(library: Library, source: Source, torrent: Metainfo, path: Path, info: webm.AudioInfo) -> Memo:
    """Move a file that has all its pieces in byte for byte and index it."""
    library.keep_torrent(torrent.infohash, torrent.data)
    with contextlib.suppress(OSError):
        # a torrent may ask for an executable file (BEP 47); this one gets the mode of any file of ours, where it can
        path.chmod(library.torrent(torrent.infohash).stat().st_mode)
    if lost := library.index().with_infohash(torrent.infohash):  # its entry is here, its file was not
        lost = replace(lost, trashed=None)
        with library.lock(lost.id):
            library.add(lost, path)
        return lost
    trackers = usable_trackers(source.link.trackers, Network.PUBLIC)[0]
    others = tuple(trackers) if set(trackers) - set(DEFAULT_TRACKERS) else ()
    memo_id = info.words.id or library.take_id()
    while True:
        with library.lock(memo_id):
            if not library.index().get(memo_id) and not library.part(memo_id).exists():
                memo = new_memo(memo_id, info, path, when=path.stat().st_mtime, title=_stem(torrent.name))
                memo = replace(memo, infohash=torrent.infohash, fetched=True, trackers=others)
                library.add(memo, path)
                return memo
        memo_id = library.take_id()


def _refuse_what_is_no_memo(torrent: Metainfo, max_size: int) -> None:
    extension = re.search(r"\.([A-Za-z][A-Za-z0-9]{1,3})$", torrent.name)
    if extension and extension[1].lower() not in ("webm", "weba"):
        raise TorrentError(f"this is a .{extension[1]} file, not a memo (a WebM file)")
    if torrent.size > max_size:
        raise TorrentError(
            f"it has {format_size(torrent.size)}, more than {format_size(max_size)}", "raise --max-size to have it"
        )


@contextlib.contextmanager
def _sole(library: Library, infohash: InfoHash, job: Job) -> Iterator[None]:
    """Be the only fetch of this infohash; wait for another one."""
    told = False
    while True:
        with library.lock(infohash, wait=False) as held:
            if held:
                yield
                return
        if not told:
            job.tell("another fetch of this link is running; waiting for it")
            told = True
        job.stop.wait(0.1)
        job.stop.check()
