"""A bare libtorrent session that really seeds what the enemy made, and sockets that hear whether anybody calls."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import libtorrent as lt

from ..isolated import ISOLATED
from .torrents import bencode, info, infohash, torrent


class Swarm:
    """Seeds on loopback, and nothing else."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = itertools.count()
        self._session = lt.session({**ISOLATED, "alert_mask": 0, "unchoke_slots_limit": -1, "choking_algorithm": 0})
        deadline = time.monotonic() + 60
        while not self._session.listen_port():
            assert time.monotonic() < deadline, "libtorrent does not listen"
            self._session.wait_for_alert(10)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._session.listen_port()}"

    def seed(self, payload: bytes, metadata: dict[str, Any] | None = None, **parameters: str) -> str:
        """Seed a payload by an info dictionary, its own when none is given; give the magnet."""
        metadata = metadata or info(payload)
        path = self._directory / f"payload-{next(self._count)}"
        path.write_bytes(payload)
        params = lt.load_torrent_buffer(torrent(metadata))
        params.save_path, params.renamed_files = str(self._directory), {0: path.name}
        params.flags |= lt.torrent_flags.seed_mode
        params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        self._session.add_torrent(params)
        more = "".join(f"&{name}={quote(value)}" for name, value in parameters.items())
        return f"magnet:?xt=urn:btih:{infohash(bencode(metadata))}&x.pe={self.address}{more}"


class Victim:
    """A port, TCP and UDP, that an innocent listens on."""

    def __init__(self) -> None:
        while True:
            self._tcp = socket.create_server(("127.0.0.1", 0), backlog=20)
            self._udp = socket.socket(type=socket.SOCK_DGRAM)
            self.port: int = self._tcp.getsockname()[1]
            with contextlib.suppress(OSError):  # somebody has it for UDP
                self._udp.bind(("127.0.0.1", self.port))
                break
            self.close()
        self._tcp.setblocking(False)
        self._udp.setblocking(False)

    def calls(self) -> int:
        """Count who has called since the last time: the kernel has answered for us."""
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                self._tcp.accept()[0].close()
                count += 1
        with contextlib.suppress(BlockingIOError):
            while self._udp.recv(2048):
                count += 1
        return count

    def close(self) -> None:
        self._tcp.close()
        self._udp.close()
