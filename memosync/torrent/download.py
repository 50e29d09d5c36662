"""Fetching: a session that downloads one torrent's file, and what every source of peers answered meanwhile."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Interrupted, MemosyncError, SwarmError, TorrentError, WrongKeyError
from ..files import Writeback, as_library_error
from ..magnet import InfoHash, Magnet
from ..network import Network, is_cut_off, is_websocket, reachable_at, usable_peers, usable_trackers
from ..stop import Stop
from .metainfo import wrap
from .routes import own_addresses
from .session import free_port, open_session, reach_of, renew_reach
from .sources import Answer, Sources, describe_all
from .tracker_proxy import TrackerProxy
from .webrtc.signalling import Signalling

if TYPE_CHECKING:
    import libtorrent as lt

_FETCHING: lt.settings_pack = {
    "enable_outgoing_utp": False,  # else a killed fetch waits 60 s for its first byte when it is run again
    "connection_speed": 200,  # attempts a second
    "torrent_connect_boost": 100,  # peers of the first answer that are connected to at once
    "smooth_connects": False,
    "min_reconnect_time": 1,  # seconds
    "prioritize_partial_pieces": True,  # a fetch that is killed then loses no more than one
    "close_redundant_connections": False,  # the seeder should learn that we have everything before we go
}
NOWHERE = Path(os.devnull, "nothing")  # where nothing can be written: of what only the metadata is wanted
_ALONE = "this machine is in no network: connect it to one, then type the same again"
_NOBODY = "who shares it has to be on: there, memosync seed --status says so; then type the same again"
_ROUND = 7.0  # seconds that peers have to give the metadata; libtorrent asks twice in it
_ROUNDS = 8  # as short as that: trackers hear of each
_CONNECTIONS = 100  # at most
_BY_ONE = 12.0  # seconds of calling by uTP, and then by TCP
_NOTHING = -2  # was asked for
ASK_EVERY = 15.0  # seconds between two announces while there are no peers: who seeds may just begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a fetch is."""

    name: str  # the torrent's, empty until the metadata is there
    size: int  # bytes, 0 until the metadata is there
    done: int  # bytes that are here and verified
    rate: int  # bytes a second
    peers: int
    waited: float  # seconds since the last new byte
    sources: Mapping[str, Answer]  # by their names for people


def fetch(
    link: Magnet,
    path: Path,
    *,
    torrent: bytes = b"",  # a .torrent file, when it is there already
    network: Network,
    accept: Callable[[bytes], None],
    stop: Stop,
    timeout: float,  # seconds without a new byte
    typed: bool = False,  # the link's trackers were, by a person here
    punch: bool = False,  # holes into routers, by uTP, since who has it calls as well
    info_only: bool = False,  # end once `accept` has had the metadata
    begins: Callable[[bytes], None] | None = None,  # gets the first piece as soon as it is there
    follow: Callable[[bytes], None] | None = None,  # gets all pieces, one after the other, as they come
    dht: bytes = b"",  # what `dht_state` of an earlier session gave
    on_progress: Callable[[Progress], None] = lambda _progress: None,
) -> Writeback:
    """Fetch a torrent's one file as `path`, continuing what is there; end once all of it is written.

    The last of it may still be on its way to the disk: whoever keeps it waits for the end of what is given back.

    `accept` gets the .torrent as soon as it is there and raises TorrentError to refuse it; then nothing of it stays.
    So may `begins`; after WrongKeyError what arrived stays. The last pieces may be there before `follow` has had them.
    SwarmError after `timeout` seconds without a new byte, LibraryError when the disk refuses what arrives, Interrupted
    on `stop`: these keep what arrived.
    """
    import libtorrent as lt

    trackers = usable_trackers(link.trackers, network, typed=typed)
    params = lt.load_torrent_buffer(torrent) if torrent else lt.parse_magnet_uri(f"magnet:?xt=urn:btih:{link.infohash}")
    proxy = TrackerProxy(network)
    urls = {url: proxy.url_for(url, typed=typed) for url in trackers}
    signalling = Signalling(link.infohash, [url for url in trackers if is_websocket(url)], network, proxy)
    others = [urls[url] for url in trackers if not is_websocket(url)]
    params.trackers, params.tracker_tiers = others, list(range(len(others)))
    params.url_seeds, params.http_seeds, params.dht_nodes = [], [], []
    params.save_path, params.renamed_files = str(path.parent), {0: path.name}
    flags = lt.torrent_flags
    params.flags &= ~(flags.auto_managed | flags.paused | flags.update_subscribe)
    if info_only:
        params.flags |= flags.upload_mode
    if follow:
        params.flags |= flags.sequential_download
    settings: lt.settings_pack = {
        **_FETCHING,
        **signalling.settings,
        "enable_outgoing_utp": punch,
        "enable_outgoing_tcp": not punch,
    }
    session = open_session(network, free_port(network), settings, dht)
    # peers added with the torrent are connected to at once, later ones at the next tick, a second away
    params.peers = usable_peers(link.peers, reach_of(network))
    handle = session.add_torrent(params)
    signalling.poll(session, handle, 0, 0)
    sources = Sources(network, trackers=trackers, peers=params.peers, tracker_of=proxy.tracker_of)
    download, writeback = _Download(session, handle, sources, params.peers), Writeback(path)
    try:
        while True:
            finished = False
            for alert in download.poll():
                signalling.handle_alert(alert)
                finished |= isinstance(alert, lt.torrent_finished_alert)
                if isinstance(alert, lt.metadata_received_alert) and (info := handle.torrent_file()):
                    accept(wrap(info.info_section()))
                    if info_only:
                        return writeback
                elif isinstance(alert, lt.read_piece_alert) and not alert.error.value():
                    download.followed, download.asked = alert.piece + 1, -1
                    if begins:
                        begins(alert.buffer)
                        begins = None
                    if follow:
                        follow(alert.buffer)
                elif isinstance(alert, lt.file_error_alert | lt.torrent_error_alert):
                    if alert.error.category().name() == "libtorrent":
                        raise TorrentError(f"this is not a torrent: {alert.error.message()}")
                    with as_library_error("keep what arrives"):
                        raise OSError(alert.error.value(), alert.error.message())
            if finished:
                with as_library_error("keep what arrives"):
                    if refused := download.flush():  # a piece is verified before it is written
                        raise refused
                writeback.reach_end()
                session.remove_torrent(handle)
                return writeback
            on_progress(progress := download.progress())
            if (begins or follow) and progress.size:
                download.ask_next()
            signalling.poll(session, handle, progress.peers, progress.waited)
            writeback.reach(progress.done)
            download.ask_again(progress.peers)
            if punch:
                download.change_transport(progress.peers)
            if not progress.size:
                download.meet_others(progress.peers)
            stop.check()
            if progress.waited > timeout:
                own = [str(address) for address in reachable_at(own_addresses(), network)]
                raise SwarmError(download.excuse(timeout), _ALONE if is_cut_off(own, network) else _NOBODY)
    except WrongKeyError:
        download.flush()
        raise
    except TorrentError:
        download.remove()
        raise
    except MemosyncError as error:
        download.flush()
        if isinstance(error, SwarmError | Interrupted) and not info_only and download.has_some(bool(torrent)):
            error.hint = "the same command goes on where this one stopped"
        raise


def ask(
    trackers: Iterable[str], network: Network, *, stop: Stop, timeout: float, dht: bytes = b""
) -> Mapping[str, Answer]:
    """Ask every tracker and the DHT for peers of something that nobody has, and give what each source answered.

    End when all have, or after `timeout` seconds. Interrupted on `stop`.
    """
    answers: dict[str, Answer] = {}

    def record(progress: Progress) -> None:
        answers.update(progress.sources)
        if not any(answer.pending for answer in answers.values()):
            raise SwarmError("all have answered")

    nothing = Magnet(infohash=InfoHash(os.urandom(20).hex()), trackers=tuple(trackers))
    with contextlib.suppress(SwarmError):
        fetch(
            nothing,
            NOWHERE,
            network=network,
            accept=lambda _torrent: None,
            stop=stop,
            timeout=timeout,
            typed=True,
            info_only=True,
            dht=dht,
            on_progress=record,
        )
    return answers


class _Download:
    """One torrent being fetched."""

    def __init__(
        self,
        session: lt.session,
        handle: lt.torrent_handle,
        sources: Sources,
        addresses: Sequence[tuple[str, int]],  # that the link names, and that may be called
    ) -> None:
        self._session, self._handle, self._sources, self._addresses = session, handle, sources, addresses
        self._last_byte = self._asked = self._began = time.monotonic()
        self._by_tcp = False
        self._failures = 3  # after which an address is given up
        self._met = self._last_byte  # when these peers were
        self._rounds = 0  # of letting go and meeting again
        self._deceived = False  # in this one
        self._arrived = -1
        self._progress: Progress | None = None
        self._summed_up = 0.0
        self.followed, self.asked = 0, _NOTHING  # pieces that were read, one after the other; the one that is to come

    def poll(self) -> list[lt.alert]:
        """Wait a little for alerts, record what they tell of the sources of peers, and give them."""
        import libtorrent as lt

        self._session.wait_for_alert(50)
        alerts = self._session.pop_alerts()
        renew_reach()
        for alert in alerts:
            self._sources.handle_alert(alert)
            match alert:
                case lt.dht_bootstrap_alert():  # it is posted, too, when no node was found
                    self._handle.force_dht_announce()  # else one added before is not looked up for a minute
                case lt.metadata_received_alert():
                    self._last_byte = time.monotonic()
                    if self._rounds:
                        self._limit_connections(some=False)
                case lt.metadata_failed_alert():
                    self._deceived = True
        return alerts

    def progress(self) -> Progress:
        """Sum up, ten times a second at most: a question to libtorrent waits for its thread."""
        now = time.monotonic()
        if self._progress is None or now - self._summed_up > 0.1:
            self._summed_up = now
            if self._sources.need_statistics:
                self._session.post_session_stats()
            status = self._handle.status()
            if status.total_payload_download > self._arrived:
                self._arrived, self._last_byte = status.total_payload_download, now
            self._progress = Progress(
                name=status.name if status.has_metadata else "",
                size=status.total_wanted if status.has_metadata else 0,
                done=status.total_wanted_done,
                rate=status.download_payload_rate,
                peers=status.num_peers,
                waited=now - self._last_byte,
                sources=self._sources.answers(),
            )
        return self._progress

    def excuse(self, timeout: float) -> str:
        """Word for people why nothing came, source by source."""
        progress = self.progress()
        what = f"nothing new in {timeout:.0f} s"
        if progress.done:
            what += f", {progress.done} of {progress.size} bytes are here"
        return f"{what} ({describe_all(progress.sources)})"

    def has_some(self, knew_metadata: bool) -> bool:
        """Tell whether anything is here that the next one need not fetch: a piece, or the metadata."""
        status = self._handle.status()
        return bool(status.num_pieces) or (status.has_metadata and not knew_metadata)

    def flush(self) -> OSError | None:
        """Wait until everything that arrived is on the disk, else it is lost; give what the disk refused."""
        import libtorrent as lt

        if not self._handle.status().has_metadata:  # there is nothing, and no answer either
            return None
        self._handle.flush_cache()
        return self._wait_for(lt.cache_flushed_alert)

    def ask_next(self) -> None:
        """Have the next piece read, if it is here; the first one comes before the others."""
        if self.asked == _NOTHING:  # no deadline: with one, a piece of a browser's often never comes (2.1.1)
            self._handle.piece_priority(0, 7)
            self.asked = -1
        if self.asked != self.followed and self._handle.have_piece(self.followed):
            self.asked = self.followed
            self._handle.read_piece(self.followed)

    def ask_again(self, peers: int) -> None:
        """Announce and call again while there are no peers.

        A tracker's interval is half an hour, and libtorrent gives an address up after three failures: here it is
        allowed one more, which takes effect when somebody names it again.
        """
        if peers:
            self._asked = time.monotonic()
        elif time.monotonic() > self._asked + ASK_EVERY:
            self._asked = time.monotonic()
            self._failures += 1
            self._session.apply_settings({"max_failcount": self._failures})
            self._handle.force_reannounce(0, -1, 1)  # of all, and now
            self._handle.force_dht_announce()
            for address in self._addresses:
                self._handle.connect_peer(address)

    def change_transport(self, peers: int) -> None:
        """While there are no peers, call by uTP alone, then by TCP for a while: there are networks without UDP.

        Once uTP has failed, libtorrent would not try it again, and the next time may find the hole in the router.
        """
        now = time.monotonic()
        by_tcp = int((now - self._began) / _BY_ONE) % 2 == 1
        if by_tcp != self._by_tcp and not peers:
            self._by_tcp = by_tcp
            self._session.apply_settings({"enable_outgoing_utp": not by_tcp, "enable_outgoing_tcp": by_tcp})

    def meet_others(self, peers: int) -> None:
        """While the metadata does not come from the peers that are here, let go of them all and call them anew.

        libtorrent takes the size of the metadata from who named one last, and asks for a piece of it every three
        seconds: a single peer that lies about the size, answers with something else or never, can keep all others from
        being heard. Two at a time, one a second after the other, an honest one has its turn.
        """
        now = time.monotonic()
        patience = 2 + self._rounds / 4 if self._deceived else _ROUND + 5 * max(0, self._rounds - _ROUNDS)
        if not peers:
            self._met = now
        elif now > self._met + patience:
            self._met, self._rounds = now, self._rounds + 1
            self._handle.pause()
            self._limit_connections(some=self._deceived or self._rounds % 3 != 0)
            self._handle.resume()
            self._deceived = False
            for address in random.sample(self._addresses, len(self._addresses)):
                self._handle.connect_peer(address)

    def _limit_connections(self, *, some: bool) -> None:
        self._session.apply_settings({"connection_speed": 1 if some else _FETCHING["connection_speed"]})
        self._handle.set_max_connections(2 if some else _CONNECTIONS)

    def remove(self) -> None:
        """Remove the torrent and delete the files that libtorrent made for it."""
        import libtorrent as lt

        self._session.remove_torrent(self._handle, self._session.delete_files)
        self._wait_for(lt.torrent_deleted_alert, lt.torrent_delete_failed_alert)

    def _wait_for(self, *kinds: type[lt.alert]) -> OSError | None:
        """Wait ten seconds at most for an alert, and give the error of the disk that came before it."""
        import libtorrent as lt

        refused = None
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            self._session.wait_for_alert(100)
            for alert in self._session.pop_alerts():
                if isinstance(alert, lt.file_error_alert):
                    refused = OSError(alert.error.value(), alert.error.message())
                elif isinstance(alert, kinds):
                    return refused
        return refused
