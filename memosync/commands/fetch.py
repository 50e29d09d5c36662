"""fetch: from a link to a memo that is whole, verified and indexed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .. import magnet
from ..audio import sandbox
from ..console import Console
from ..errors import AudioError, Interrupted, SwarmError, TorrentError, WrongKeyError
from ..files import as_library_error
from ..library import keys
from ..library.freeze import is_file_of
from ..library.identity import claim, original_of
from ..library.incoming import Incoming, already_here, only_fetch, take_in, title_of
from ..library.store import Library
from ..magnet import Magnet
from ..memo import Memo, clean_title
from ..network import Network, parse_peer, usable_trackers
from ..quantities import format_duration
from ..sealing import is_name, opened_size
from ..seeder import client
from ..seeder.links import linker
from ..stop import Stop
from ..torrent import download, metainfo
from ..torrent.download import Progress
from ..torrent.metainfo import Metainfo
from .arguments import INPUT, Globals, each, is_file, read_all, read_file
from .list_ import Row, row_of
from .rm import bring_back
from .share import ShareOptions, share

if TYPE_CHECKING:
    from .play import Listener, Steering

View = Callable[[], Callable[[Progress], None]]  # made anew for each link


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOptions:
    """What is to be fetched, and how."""

    links: Sequence[str] = ()  # magnets, infohashes, share links, .torrent files, pages, - for what is piped in
    info: bool = False  # only say what it is
    timeout: float = 60.0  # seconds without a new byte
    max_size: int = 10**9  # bytes
    seed: bool = False  # serve it on
    play: bool = False  # play it while it arrives


@dataclass(frozen=True, slots=True)
class _Source:
    """What one link or .torrent file says."""

    link: Magnet
    torrent: bytes = b""


def fetch(
    command: Globals,
    options: FetchOptions,
    *,
    stop: Stop,
    answer: Callable[[Row], None],
    view: View = lambda: lambda _progress: None,
    steered: Callable[[], AbstractContextManager[Steering | None]] = nullcontext,
) -> None:
    """Fetch every memo of every link, and answer each as soon as it is here."""
    library, console = command.open_to_swarms(stop), command.console

    def listener_to_one() -> AbstractContextManager[Listener | None]:
        if not options.play:
            return nullcontext()
        from .play import Listener

        return Listener(console, steered, stop)

    def fetch_one(source: _Source) -> None:
        with listener_to_one() as listener:
            memo, was_here = _fetch(
                library, source, command.network, options, stop=stop, console=console, view=view, listener=listener
            )
            try:
                if listener and listener.is_steered:  # whose screen it is
                    listener.hear_out()
            finally:
                answer_one(source, memo, was_here)
            if listener:
                listener.hear_out()
        if listener and not listener.heard:
            from .play import play_memo

            with steered() as steering:
                play_memo(library, memo, console, stop=stop, steering=steering)

    def answer_one(source: _Source, memo: Memo, was_here: bool) -> None:
        console.tell(f"{'already here' if was_here else 'fetched'}: “{memo.title}”, {format_duration(memo.duration)}")
        with suppress(OSError):
            if was_here and not is_file_of(library, memo, library.path(memo)):
                console.warn(f"{memo.file} was altered; move it away and fetch again to have what the link gives")
        answer(row_of(library, memo, linker(library, client.current(library), command.network)))
        if options.seed:
            public = not source.link.key and bool(memo.infohash)  # in the form that it came in
            share(command, ShareOptions(memos=[memo.id], public=public), library=library, stop=stop)

    _each_source(options.links, fetch_one, stop=stop, console=console)


def look_at(
    command: Globals,
    options: FetchOptions,
    *,
    stop: Stop,
    answer: Callable[[Metainfo, str], None],
    view: View = lambda: lambda _progress: None,
) -> None:
    """Answer every link's metadata and the title, as far as it is known before the memo is here."""
    library = command.open(stop)

    def look(source: _Source) -> None:
        torrent = _metadata(library, source, command.network, options.timeout, stop=stop, view=view)
        if source.link.key and not is_name(torrent.name):
            raise WrongKeyError("this memo is not private, and its link has a key", "leave x.key out of it")
        if is_name(torrent.name):
            key = "" if source.link.key else ", and this link has no key"
            command.console.tell(f"this memo is private: its title is sealed, too{key}")
            answer(replace(torrent, size=opened_size(torrent.size)), "")
        else:
            answer(torrent, clean_title(source.link.name) or title_of(torrent))

    _each_source(options.links, look, stop=stop, console=command.console)


def _fetch(
    library: Library,
    source: _Source,
    network: Network,
    options: FetchOptions,
    *,
    stop: Stop,
    console: Console,
    view: View,
    listener: Listener | None = None,
) -> tuple[Memo, bool]:
    """Fetch one memo, or find that it is here already, which is told.

    SwarmError and Interrupted keep what arrived, if anything did, and the same call goes on there; after TorrentError
    nothing of it is left.
    """

    def opening(fraction: float) -> None:
        if not (listener and listener.is_steered):  # whose screen it is
            console.progress("opening it", fraction)

    infohash, key = source.link.infohash, source.link.key
    kept = keys.find(library, infohash)
    if key and kept and kept.seal.key not in (key, bytes(len(key))):
        raise WrongKeyError("the key is not the one of this memo", "ask for the whole link")
    if memo := already_here(library, infohash):
        shutil.rmtree(library.incoming(infohash), ignore_errors=True)  # one died when it had put it in its place
        return _out_of_trash(library, memo, console), True
    library.prepare()
    sandbox.start()
    with only_fetch(library, infohash, stop=stop, console=console):
        if memo := already_here(library, infohash):
            return _out_of_trash(library, memo, console), True
        resumed = library.incoming(infohash).exists()
        incoming = Incoming(library, infohash, options.max_size, key)
        try:
            if source.torrent and not incoming.torrent:
                incoming.accept(source.torrent)
            if not incoming.file.exists() and (
                nobody := _nobody(source.link, network)
            ):  # of a file nothing may be missing
                incoming.remove()
                raise nobody
            writeback = download.fetch(
                source.link,
                incoming.file,
                torrent=incoming.torrent,
                network=network,
                accept=incoming.accept,
                begins=incoming.begins,
                follow=incoming.follow(listener.listen(incoming.directory)) if listener else None,
                stop=stop,
                timeout=options.timeout,
                dht=library.session_state(),
                on_progress=listener.instead_of(view()) if listener else view(),
            )
            path = incoming.plain(opening)
            opening(1)
            if listener:
                listener.complete(path)
            info = sandbox.probe(path)  # meanwhile the last of it reaches the disk
            with as_library_error("keep what arrives"):
                writeback.end()
            memo = take_in(library, incoming, path, info, source.link.trackers)
            memo = _out_of_trash(library, memo, console)
            memo = library.index().get(claim(library, memo.id)) or memo
        except WrongKeyError:
            if not resumed:
                incoming.remove()
            raise
        except (TorrentError, AudioError) as error:
            incoming.remove()
            raise TorrentError(str(error), error.hint) from error
        except (SwarmError, Interrupted) as error:
            if isinstance(error, Interrupted) and error.hint:
                console.tell(f"what arrived is kept; {error.hint}")
            if not incoming.torrent and not incoming.file.exists():
                incoming.remove()
            raise
        finally:
            incoming.shut()
        incoming.remove()
        return memo, False


def _out_of_trash(library: Library, memo: Memo, console: Console) -> Memo:
    """Bring a memo back when it is in the trash, or the one that is here instead of it."""
    memo = original_of(library, memo)
    if memo.trashed:
        bring_back(library, [memo], Console(tell=console.tell))
    return library.index().get(memo.id) or memo


def _metadata(
    library: Library, source: _Source, network: Network, timeout: float, *, stop: Stop, view: View
) -> Metainfo:
    """Get the metadata of a link and nothing else."""
    infohash = source.link.infohash
    if already_here(library, infohash) and (kept := metainfo.believed(library.torrent(infohash), infohash)):
        return kept
    found = [source.torrent] if source.torrent else []
    if not found and (nobody := _nobody(source.link, network)):
        raise nobody
    if not found:
        download.fetch(
            source.link,
            download.NOWHERE,
            network=network,
            accept=found.append,
            stop=stop,
            timeout=timeout,
            info_only=True,
            dht=library.session_state(),
            on_progress=view(),
        )
    return metainfo.read(found[0])


def _nobody(link: Magnet, network: Network) -> SwarmError | None:
    """Say so where nobody would ever come: without the DHT and local discovery, only the link tells who has it."""
    if network is not Network.LOOPBACK or any(usable_trackers(link.trackers, network)):
        return None
    if any(network.allows(address) for address, _port in filter(None, map(parse_peer, link.peers))):
        return None
    return SwarmError(
        "this link names nobody who could have it: no tracker and no address on this machine",
        "--network public looks further, in the DHT, too",
    )


def _each_source(texts: Iterable[str], do: Callable[[_Source], None], *, stop: Stop, console: Console) -> None:
    """Do it for every file, every link, and every link in a share link or a text, which names no file."""

    def whole(text: str) -> None:
        if text in _STANDARD_INPUT:
            data = read_all(INPUT, metainfo.LARGEST_TORRENT, stop)
            if not data.strip():
                console.tell("there is nothing to fetch")
            elif _FILE.match(data):
                do(_source(data))
            elif len(data) > metainfo.LARGEST_TORRENT:
                raise TorrentError("these links are more than can be read at once", "give fewer of them")
            else:
                each(magnet.unwrap(magnet.decode(data), is_file), one, name=str, stop=stop, console=console)
        else:
            if _CUT.fullmatch(text):
                console.tell(f"{text}: {_WHOLE}")
            one(text)

    def one(text: str) -> None:
        if _names_file(text):
            do(_source(read_file(text, metainfo.LARGEST_TORRENT, stop)))
        elif len(lines := magnet.unwrap(text)) > 1:
            each(lines, line, name=str, stop=stop, console=console)
        else:
            line("".join(lines))

    def line(text: str) -> None:
        if path := magnet.path_of(text):
            do(_source(read_file(path, metainfo.LARGEST_TORRENT, stop)))
        else:
            links = magnet.split(text)
            each(links, lambda link: do(_Source(magnet.parse(link))), name=str, stop=stop, console=console)

    each(texts, whole, name=str, stop=stop, console=console)


_STANDARD_INPUT = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
_CUT = re.compile(r"(?i)magnet:\?xt=urn:btih:[0-9a-z]{32,40}")  # before the first &, at which a shell ends a command
_WHOLE = "it is all that a shell leaves of a link without quotes; memosync fetch alone asks for the whole link"
_FILE = re.compile(rb"d\d+:|(?i:(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html)\b)")  # how a torrent or a page begins


def _names_file(text: str) -> bool:
    if re.match(r"(?i)magnet:|https?:|file:", text):
        return False
    return is_file(text) or (text.endswith(".torrent") and "\n" not in text and magnet.clean(text) == text)


def _source(data: bytes) -> _Source:
    """Read a .torrent file, or a page that `share --page` wrote."""
    if _FILE.match(data) and data[:1] != b"d" and len(data) <= metainfo.LARGEST_TORRENT:
        from ..page import page  # which few are given

        if not (link := page.link_in(data.decode("utf-8", "replace"))):
            raise TorrentError("there is no memo in this page", "share --page writes one that has a memo in it")
        return _Source(magnet.parse(link))
    torrent = metainfo.read(data)
    return _Source(Magnet(infohash=torrent.infohash, trackers=torrent.trackers), torrent.data)
