"""Serving in this process: what a seeder's loop does faster than anybody can type."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tracker import Tracker
from support.waiting import wait_until

from memosync.magnet import InfoHash
from memosync.network import Network
from memosync.torrent import metainfo
from memosync.torrent.metainfo import Metainfo
from memosync.torrent.server import Server


@pytest.fixture
def server() -> Server:
    return Server(Network.LOOPBACK, log=lambda _line: None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "memo.webm"
    path.write_bytes(bytes(range(250)) * 1000)
    return path


@pytest.fixture
def torrent(file: Path) -> Metainfo:
    return metainfo.make(file, "A memo.webm")


def polled(server: Server) -> bool:
    """Have it handle what has happened."""
    server.poll(0.05)
    return True


def answered(server: Server) -> bool:
    """Tell whether a tracker's answer has come: who has none yet is not told of the end."""
    return any(
        each["verified"]
        for swarm in server._programs.swarms.values()
        if swarm.handle
        for each in swarm.handle.trackers()
    )


def test_trackers_that_are_replaced_before_the_torrent_is_added_are_asked(
    server: Server, file: Path, torrent: Metainfo
) -> None:
    with Tracker() as old, Tracker() as new:
        server.serve(file, torrent.data, [old.udp_url])

        assert server.replace_trackers(torrent.infohash, [new.udp_url])

        wait_until(lambda: polled(server) and answered(server), "the new one to answer", 20)
        server.drop(torrent.infohash)
        wait_until(
            lambda: polled(server) and [heard.event for heard in new.announces] == ["started", "stopped"],
            lambda: f"it to be told of the end, and of the beginning once: {new.announces}",
            20,
        )


def test_a_tracker_is_told_once_that_a_torrent_is_there(server: Server, file: Path, torrent: Metainfo) -> None:
    with Tracker() as tracker:
        server.serve(file, torrent.data, [tracker.udp_url])

        wait_until(lambda: polled(server) and not server.checking, "it to be checked", 20)
        wait_until(lambda: polled(server) and answered(server), "it to be announced", 20)
        assert server.replace_trackers(torrent.infohash, [tracker.udp_url])
        server.drop(torrent.infohash)
        wait_until(
            lambda: polled(server) and [heard.event for heard in tracker.announces] == ["started", "stopped"],
            lambda: f"it to be told of the beginning and of the end, once: {tracker.announces}",
            20,
        )


def test_what_is_not_served_has_no_trackers_to_be_replaced(server: Server, file: Path, torrent: Metainfo) -> None:
    assert not server.replace_trackers(torrent.infohash, ["udp://127.0.0.1:9"])

    server.serve(file, torrent.data, [])
    server.call_damaged(torrent.infohash, "its file was altered")

    assert not server.replace_trackers(torrent.infohash, ["udp://127.0.0.1:9"])
    assert ["damaged"] == [swarm.state for _, swarm in server.swarms()]
    assert not server.replace_trackers(InfoHash("ab" * 20), [])
