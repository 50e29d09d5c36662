"""Fetching: a session that gets one torrent's file, and says what every source of peers answered."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import MemosyncError, SwarmError, TorrentError
from ..files import as_library_error, sync_file
from ..magnet import InfoHash, Magnet
from ..network import Address, Network, is_private, is_websocket, parse_address, usable_peers, usable_trackers
from ..quantities import format_count
from ..stop import Stop
from .session import fault_of, free_port, open_session
from .webrtc.signalling import Signalling

_FETCHING: Mapping[str, Any] = {
    "enable_outgoing_utp": False,  # else a killed fetch waits 60 s for its first byte when it is run again
    "connection_speed": 200,
    "torrent_connect_boost": 100,
    "smooth_connects": False,
    "min_reconnect_time": 1,
    "prioritize_partial_pieces": True,  # a fetch that is killed then loses no more than one
    "close_redundant_connections": False,  # the seeder should hear that we have everything before we go
}
NO_ANSWER = "no answer yet"
_NOBODY = "nobody has it so far"
SYNC_EVERY = 16_000_000  # bytes
ASK_EVERY = 15.0  # seconds between two times that trackers are asked while nobody is there: who seeds may just begin
FILE = "memo.webm"  # what the file is called while it is staged, whatever the torrent calls it


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a fetch is."""

    name: str  # the torrent's, empty until the metadata is there
    size: int  # bytes, 0 until the metadata is there
    done: int  # bytes that are here and verified
    rate: int  # bytes a second
    peers: int
    waited: float  # seconds since the last new byte
    sources: Mapping[str, str]  # what each source of peers answered last


def fetch(
    link: Magnet,
    staging: Path,
    *,
    torrent: bytes = b"",
    network: Network,
    accept: Callable[[bytes], None],
    stop: Stop,
    timeout: float,  # seconds without a new byte
    info_only: bool = False,
    dht: bytes = b"",
    on_progress: Callable[[Progress], None] = lambda _progress: None,
) -> None:
    """Fetch a torrent's one file into `staging`, continuing what is there; end once all of it is on the disk.

    `accept` gets the .torrent as soon as it is there and raises to refuse it; then nothing of it stays. SwarmError
    after `timeout` seconds without a new byte, Interrupted on `stop`; both keep what arrived.
    """
    import libtorrent as lt

    good, doubtful = usable_trackers(link.trackers, network)
    trackers = good + [url for url in doubtful if _is_public(url)]
    params = lt.load_torrent_buffer(torrent) if torrent else lt.parse_magnet_uri(f"magnet:?xt=urn:btih:{link.infohash}")
    signalling = Signalling(link.infohash, [url for url in trackers if is_websocket(url)], network)
    others = [url for url in trackers if not is_websocket(url)]
    params.trackers, params.tracker_tiers = others, list(range(len(others)))
    params.url_seeds, params.http_seeds, params.dht_nodes = [], [], []
    params.save_path, params.renamed_files = str(staging), {0: FILE}
    flags = lt.torrent_flags
    params.flags &= ~(flags.auto_managed | flags.paused | flags.update_subscribe)
    if info_only:
        params.flags |= flags.upload_mode
    session = open_session(network, free_port(network), {**_FETCHING, **signalling.settings}, dht)
    # peers added with the torrent are called at once, later ones at the next tick, a second away
    params.peers = usable_peers(link.peers, network, _own_addresses(session))
    handle = session.add_torrent(params)
    signalling.follow(session, handle, 0, 0)
    download = _Download(session, handle, network, params.peers, trackers, signalling)
    try:
        while True:
            finished = False
            for alert in download.news():
                finished |= isinstance(alert, lt.torrent_finished_alert)
                if isinstance(alert, lt.metadata_received_alert):
                    accept(b"d4:info" + handle.torrent_file().info_section() + b"e")
                    if info_only:
                        return
                elif isinstance(alert, lt.file_error_alert | lt.torrent_error_alert):
                    if alert.error.category().name() == "libtorrent":
                        raise TorrentError(f"this is not a torrent: {alert.error.message()}")
                    with as_library_error("keep what arrives"):
                        raise OSError(alert.error.value(), alert.error.message())
            if finished:
                with as_library_error("keep what arrives"):
                    if refused := download.flush():  # a piece is verified before it is written
                        raise refused
                session.remove_torrent(handle)
                return
            on_progress(progress := download.progress())
            signalling.follow(session, handle, progress.peers, progress.waited)
            download.sync(staging / FILE)
            download.ask_again(progress.peers)
            stop.check()
            if progress.waited > timeout:
                raise SwarmError(download.excuse(timeout), "the same command goes on where this one stopped")
    except TorrentError:
        download.remove()
        raise
    except MemosyncError:
        download.flush()
        raise


def ask(trackers: Iterable[str], network: Network, *, stop: Stop, timeout: float, dht: bytes = b"") -> dict[str, str]:
    """Ask every tracker and the DHT for peers of something that nobody has, and give what each source answered."""
    answers: dict[str, str] = {}

    def listen(progress: Progress) -> None:
        answers.update(progress.sources)
        if NO_ANSWER not in answers.values():
            raise SwarmError("all have answered")

    nothing = Magnet(infohash=InfoHash(os.urandom(20).hex()), trackers=tuple(trackers))
    with contextlib.suppress(SwarmError), tempfile.TemporaryDirectory() as nowhere:
        job = {"network": network, "accept": lambda _torrent: None, "stop": stop, "timeout": timeout, "dht": dht}
        fetch(nothing, Path(nowhere), info_only=True, on_progress=listen, **job)  # type: ignore[arg-type]
    return answers


def has_answered(answer: str) -> bool:
    """Tell whether a tracker or the DHT said who has a torrent, be it nobody."""
    return answer == _NOBODY or re.fullmatch(r"\d+ peers?", answer) is not None


class _Download:
    """One torrent being fetched, and what is known of where peers might come from."""

    def __init__(
        self, session: Any, handle: Any, network: Network, peers: Any, trackers: list[str], signalling: Signalling
    ) -> None:
        self._session, self._handle, self._network = session, handle, network
        self._tracker_of = signalling.tracker_of
        self._called: dict[tuple[str, int], str] = dict.fromkeys(peers, NO_ANSWER)
        self._trackers = dict.fromkeys(trackers, NO_ANSWER)
        self._dht = NO_ANSWER if network is Network.PUBLIC else "off"
        self._last_byte = self._asked = time.monotonic()
        self._arrived = -1
        self._progress: Progress | None = None
        self._looked = 0.0
        self._synced = 0
        self._syncing = threading.Thread()

    def news(self) -> list[Any]:
        """Wait a little for alerts, take note of what they say of peers, and give them."""
        import libtorrent as lt

        self._session.wait_for_alert(50)
        alerts = list(self._session.pop_alerts())
        for alert in alerts:
            match alert:
                case lt.tracker_reply_alert() | lt.dht_reply_alert():
                    answer = format_count(alert.num_peers, "peer")
                    if isinstance(alert, lt.dht_reply_alert):
                        self._dht = answer
                    else:
                        self._trackers[self._tracker_of(alert)] = answer
                case lt.tracker_error_alert():
                    self._trackers[self._tracker_of(alert)] = fault_of(alert)
                case lt.dht_bootstrap_alert():  # it comes, too, when there is no node of it
                    self._handle.force_dht_announce()  # else one added before is not looked up for a minute
                case lt.session_stats_alert():
                    if self._dht == NO_ANSWER and alert.values["dht.dht_nodes"]:
                        self._dht = _NOBODY
                case lt.peer_disconnected_alert() | lt.peer_error_alert():
                    endpoint = (alert.endpoint[0], alert.endpoint[1])
                    if endpoint in self._called:
                        self._called[endpoint] = alert.error.message()
                case lt.metadata_received_alert():
                    self._last_byte = time.monotonic()
        return alerts

    def progress(self) -> Progress:
        """Sum up, ten times a second at most: asking libtorrent waits for its thread."""
        now = time.monotonic()
        if self._progress is None or now - self._looked > 0.1:
            self._looked = now
            if self._dht == NO_ANSWER:
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
                sources=self._sources(),
            )
        return self._progress

    def excuse(self, timeout: float) -> str:
        """Say why nothing came, source by source."""
        progress = self.progress()
        what = f"nothing new in {timeout:.0f} s"
        if progress.done:
            what += f", {progress.done} of {progress.size} bytes are here"
        return f"{what} ({'; '.join(f'{source}: {answer}' for source, answer in progress.sources.items())})"

    def flush(self) -> OSError | None:
        """Wait until everything that arrived is on the disk, else it is lost; give what the disk refused."""
        import libtorrent as lt

        if not self._handle.status().has_metadata:  # there is nothing, and no answer either
            return None
        self._handle.flush_cache()
        return self._wait_for(lt.cache_flushed_alert)

    def sync(self, path: Path) -> None:
        """Let the disk take what has arrived; a large file's one fsync at the end would take as long as the fetch."""
        if self._progress and self._progress.done > self._synced + SYNC_EVERY and not self._syncing.is_alive():
            self._synced = self._progress.done
            self._syncing = threading.Thread(target=sync_file, args=[path], daemon=True)
            self._syncing.start()

    def ask_again(self, peers: int) -> None:
        """Ask the trackers again when it is time: they name half an hour, and others come meanwhile."""
        if peers:
            self._asked = time.monotonic()
        elif time.monotonic() > self._asked + ASK_EVERY:
            self._asked = time.monotonic()
            self._handle.force_reannounce(0, -1, 1)  # of all, and now

    def remove(self) -> None:
        """Forget the torrent and delete what libtorrent made for it."""
        import libtorrent as lt

        self._session.remove_torrent(self._handle, self._session.delete_files)
        self._wait_for(lt.torrent_deleted_alert, lt.torrent_delete_failed_alert)

    def _wait_for(self, *kinds: type) -> OSError | None:
        """Wait for an alert, and give the error of the disk that came before it."""
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

    def _sources(self) -> dict[str, str]:
        sources = {_place_of(url): answer for url, answer in self._trackers.items()} or {"trackers": "none to ask"}
        sources["DHT"] = self._dht
        sources["LAN"] = "nobody answered" if self._network is not Network.LOOPBACK else "off"
        sources |= {f"{address}:{port}": answer for (address, port), answer in self._called.items()}
        return sources if self._called else {**sources, "addresses in the link": "none to call"}


def _own_addresses(session: Any) -> list[Address]:
    """Give the addresses of this machine on which the session that was just opened listens."""
    import libtorrent as lt

    heard = [alert.address for alert in session.pop_alerts() if isinstance(alert, lt.listen_succeeded_alert)]
    return list(filter(None, map(parse_address, heard)))


def _place_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _is_public(url: str) -> bool:
    """Look a tracker's name up: every address it has must be a public one."""
    with contextlib.suppress(OSError, ValueError, UnicodeError):
        found = [parse_address(str(entry[4][0])) for entry in socket.getaddrinfo(urlsplit(url).hostname, 80)]
        return bool(found) and all(address and not is_private(address) for address in found)
    return False
