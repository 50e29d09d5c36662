"""A peer that has the first piece of a torrent's file, and nothing else: what is known by it is known by that alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import libtorrent as lt

from memosync.torrent import metainfo
from support.isolated import ISOLATED
from support.waiting import wait_until


@contextlib.contextmanager
def beginning_of(file: Path, torrent: Path, directory: Path) -> Iterator[tuple[int, int, Callable[[], int]]]:
    """Give its port on this machine, the bytes of the piece, and what tells how many it has given so far."""
    known = metainfo.read(torrent.read_bytes())
    part = directory / "beginning"
    part.write_bytes(file.read_bytes()[: known.piece_length])
    session = lt.session(ISOLATED)
    params = lt.load_torrent_buffer(known.data)
    params.save_path, params.renamed_files = str(directory), {0: part.name}
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    handle = session.add_torrent(params)
    wait_until(lambda: handle.status().num_pieces == 1 and session.listen_port(), "a peer to have the first piece")
    try:
        yield session.listen_port(), known.piece_length, lambda: handle.status().total_payload_upload
    finally:
        session.remove_torrent(handle)
