"""Devices that meet beside strangers who stand there, too, and what goes between those that have met."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libtorrent as lt
import pytest
from support.handshake import offers
from support.pairs import begin, insist_that_it_goes_on, record, wait_for
from support.program import Program
from support.rogue import THEM
from support.seeder import forget_memory, memory
from support.waiting import wait_until

from memosync import sealing
from memosync.library import heads, keys, known
from memosync.library.store import Library
from memosync.magnet import InfoHash
from memosync.network import Network
from memosync.torrent.meeting import _ASKED, _AT_MEETING, _SAID, Meeting, _hollow
from memosync.torrent.metainfo import Metainfo
from memosync.torrent.session import free_port

ME = "00000001"


def met(tmp_path: Path, *devices: str) -> list[Meeting]:
    """Give devices of one group that call each other."""
    said: dict[str, Any] = {"keep": bytes(range(32)), "place": tmp_path, "log": lambda _text: None}
    meetings = [Meeting(Network.LOOPBACK, device=device, **said) for device in devices]
    for meeting in meetings:
        others = [("127.0.0.1", other.port) for other in meetings if other is not meeting]
        meeting.call({"": [f"{host}:{port}" for host, port in others]})
        meeting.exchange.call({"": others}, {"": others}, ())
        meeting.point(InfoHash("0" * 40))
    return meetings


def polled(meetings: list[Meeting], condition: Callable[[], object]) -> Callable[[], object]:
    def holds() -> object:
        for meeting in meetings:
            meeting.poll(0.01)
        return condition()

    return holds


def test_who_calls_himself_as_we_are_called_is_no_other_device(tmp_path: Path) -> None:
    one, same, other = meetings = met(tmp_path, ME, ME, THEM)

    wait_until(polled(meetings, lambda: {*one.pointers, *same.pointers} == {THEM}), "both to meet the other one", 20)
    wait_until(polled(meetings, lambda: len(one._place.get_peer_info()) > 1), "the two to meet", 20)
    until = time.monotonic() + 1
    wait_until(polled(meetings, lambda: time.monotonic() > until), "a second", 20)

    assert one.pointers.keys() == same.pointers.keys() == {THEM}
    assert other.pointers.keys() == {ME}
    for meeting in meetings:
        meeting.close()


def test_a_device_that_was_called_in_vain_is_called_soon_again_though_another_one_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that are parted from two others: nobody is alone, and after hours libtorrent would call once an hour."""
    for name, seconds in (("_AGAIN", (0.2, 0.4)), ("_EVERY", 1.0), ("_QUIET_AFTER", 0.5)):
        monkeypatch.setattr(f"memosync.torrent.meeting.{name}", seconds)
    said: dict[str, Any] = {"keep": bytes(range(32)), "place": tmp_path, "log": lambda _text: None}
    one, other = here = met(tmp_path, ME, THEM)
    one._session.apply_settings({"enable_outgoing_utp": False})  # where nobody listens that takes a while
    wait_until(polled(here, lambda: one.pointers and other.pointers), "the two to meet", 20)
    port = free_port(Network.LOOPBACK)
    away = {THEM: [f"127.0.0.1:{other.port}"], "00000003": [f"127.0.0.1:{port}"]}
    one.call(away)
    until = time.monotonic() + 3
    wait_until(polled(here, lambda: time.monotonic() > until), "it to be called in vain", 20)

    third = Meeting(Network.LOOPBACK, device="00000003", port=port, **said)  # it knows nobody
    third.point(InfoHash("0" * 40))

    wait_until(polled([*here, third], lambda: "00000003" in one.pointers), "it to be there", 15)
    for each in (*here, third):
        each.close()


SAID = {"as it was said": True, "of two files": False, "larger": False, "of another size": False}


@pytest.mark.parametrize("kind", SAID)
def test_what_is_not_as_it_was_said_is_let_go(tmp_path: Path, kind: str) -> None:
    (tmp_path / "served" / "x").mkdir(parents=True)
    files = [{b"length": 20_000, b"path": [b"a"]}, {b"length": 20_000, b"path": [b"b"]}]
    data = bytes(40_000)
    pieces = b"".join(hashlib.sha1(data[at : at + 16_384]).digest() for at in range(0, len(data), 16_384))
    info: dict[bytes, Any] = {b"piece length": 16_384, b"name": b"x", b"pieces": pieces}
    info |= {b"files": files} if kind == "of two files" else {b"length": len(data)}
    entry: Any = {b"info": info}
    torrent = lt.bencode(entry)
    infohash = InfoHash(str(lt.load_torrent_buffer(torrent).info_hashes.v1))
    served = tmp_path / "served" / "first"
    served.write_bytes(data[:20_000] if kind == "of two files" else data)
    (tmp_path / "served" / "x" / "b").write_bytes(data[20_000:])
    one, other = meetings = met(tmp_path, ME, THEM)

    one.exchange.serve(Metainfo(infohash=infohash, name="", size=0, piece_length=0, pieces=b"", data=torrent), served)
    largest, size = 39_999 if kind == "larger" else 40_000, 39_000 if kind == "of another size" else 0
    other.exchange.fetch(infohash, tmp_path / "came", largest=largest, size=size)

    arrived: list[InfoHash] = []

    def is_over() -> bool:
        arrived.extend(other.exchange.arrived())
        return bool(arrived) or not other.exchange.has(infohash)

    wait_until(polled(meetings, is_over), "it to come, or to be let go", 30)
    assert bool(arrived) is SAID[kind]
    for meeting in meetings:
        meeting.close()


STRANGE: lt.settings_pack = {
    "in_enc_policy": 0,
    "out_enc_policy": 0,
    "allowed_enc_level": 2,
    "listen_interfaces": "127.0.0.1:0",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "aio_threads": 1,
}


class Stranger:
    """Somebody who knows of a torrent of the group's, encrypts as its devices do, and gives noise for its pieces."""

    def __init__(self, port: int, torrent: bytes, place: Path, *, gives: bool) -> None:
        place.mkdir()
        params = lt.load_torrent_buffer(torrent)
        assert params.ti
        if gives:
            (place / params.ti.name()).write_bytes(os.urandom(params.ti.total_size()))
            params.have_pieces = [True] * params.ti.num_pieces()
            params.flags |= lt.torrent_flags.no_verify_files
        params.save_path = str(place)
        params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        params.peers = [("127.0.0.1", port)]
        self.session = lt.session(STRANGE)
        self.handle = self.session.add_torrent(params)

    @property
    def was_there(self) -> bool:
        status = self.handle.status()
        return status.total_download + status.total_upload > 0


@pytest.mark.parametrize("kind", ["meeting", "pointer"])
def test_noise_and_a_crowd_where_devices_meet_do_not_keep_them_apart(
    pair: tuple[Program, Program], tmp_path: Path, kind: str
) -> None:
    """At the pointer only who has the secret can be: a device of the group that gives noise."""
    one, before = pair[0], begin(pair)
    most = forget_memory(one)
    library = Library(one.library)
    port, keep = known.read(library).port, sealing.keep_key(keys.secret(library))
    torrent = _hollow(keep, kind, 1 if kind == "meeting" else _SAID + 1)
    count = 60 if kind == "meeting" else 5
    strangers = [Stranger(port, torrent, tmp_path / f"stranger {n}", gives=n % 2 == 0) for n in range(count)]
    wait_until(lambda: sum(stranger.was_there for stranger in strangers) > count // 3, "a crowd")

    insist_that_it_goes_on(pair, before)
    for program in pair:  # they find each other anew
        program("seed", "--stop")
        program("sync")
    record(one, f"Once more, {kind}")
    wait_for(f"Once more, {kind}", pair[1])
    assert memory(one) - most < 100_000, "KB"


def test_who_knows_only_the_meeting_place_is_given_nothing_else(pair: tuple[Program, Program], tmp_path: Path) -> None:
    one = pair[0]
    library = Library(one.library)
    port, keep = known.read(library).port, sealing.keep_key(keys.secret(library))
    stranger = Stranger(port, _hollow(keep, "meeting", 1), tmp_path / "stranger", gives=False)
    wait_until(lambda: stranger.was_there, "to meet")
    record(one, "Secret")
    wait_for("Secret", pair[1])

    names = {InfoHash(path.name) for path in (one.library / ".memosync" / "sync").iterdir() if len(path.name) == 40}
    assert len(names) > 1
    for name in names:
        assert not offers(port, name)
    assert stranger.handle.status().total_payload_download == 0
    assert [str(handle.info_hashes().v1) for handle in stranger.session.get_torrents()] == [
        str(stranger.handle.info_hashes().v1)
    ]


def test_a_disk_that_would_not_take_what_a_stranger_sent_is_asked_again(tmp_path: Path) -> None:
    keep, place = bytes(range(32)), tmp_path / "place"
    place.touch()  # where a directory is to be
    meeting = Meeting(Network.LOOPBACK, keep=keep, device=ME, place=place, log=lambda _text: None)
    torrent = _hollow(keep, "meeting", 1)
    liar = Stranger(meeting.port, torrent, tmp_path / "liar", gives=True)

    def is_there(stranger: Stranger) -> bool:
        meeting.poll(0.02)
        return stranger.was_there and not meeting._stopped

    wait_until(lambda: not is_there(liar) and meeting._stopped, "the disk to refuse it")
    place.unlink()
    place.mkdir()

    def goes_on() -> bool:
        meeting.poll(0.02)
        return not meeting._place.status().flags & lt.torrent_flags.paused

    wait_until(goes_on, "it to be asked again")
    meeting.close()


@pytest.mark.parametrize("kind", ["meeting", "pointer"])
def test_nobody_is_answered_in_the_clear(tmp_path: Path, kind: str) -> None:
    (meeting,) = met(tmp_path, ME)
    torrent = _hollow(meeting._keep, kind, 1 if kind == "meeting" else _SAID + 1)

    assert not offers(meeting.port, str(lt.load_torrent_buffer(torrent).info_hashes.v1))

    stranger = Stranger(meeting.port, torrent, tmp_path / "stranger", gives=False)
    wait_until(polled([meeting], lambda: stranger.was_there), "one who encrypts to be there", 20)
    meeting.close()


def test_of_a_crowd_where_devices_meet_some_are_asked_whether_they_are_of_the_group(tmp_path: Path) -> None:
    (meeting,) = met(tmp_path, ME)
    meeting._session.apply_settings({"enable_outgoing_utp": False})
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3 * _ASKED)]
        for one in crowd:
            meeting._meet(("127.0.0.1", one.getsockname()[1]))

        def called() -> int:
            return len(select.select(crowd, [], [], 0)[0])

        wait_until(polled([meeting], lambda: called() >= _ASKED), "some to be called", 20)
        until = time.monotonic() + 1
        wait_until(polled([meeting], lambda: time.monotonic() > until), "a second", 20)
        assert called() == _ASKED
    assert meeting._place.max_connections() == _AT_MEETING
    meeting.close()


def test_nobody_is_told_of_a_torrent_but_of_the_meeting_place(tmp_path: Path) -> None:
    (meeting,) = met(tmp_path, ME)
    head = heads.describe(b"what a device says")
    (tmp_path / "head").write_bytes(head.data)
    meeting.exchange.serve(head.torrent, tmp_path / "head")
    meeting.exchange.fetch(InfoHash("dd" * 20), tmp_path / "other", largest=1)
    wait_until(polled([meeting], lambda: len(meeting._session.get_torrents()) == 4), "all to be there", 20)

    apart = lt.torrent_flags.disable_dht | lt.torrent_flags.disable_lsd | lt.torrent_flags.disable_pex
    for torrent in meeting._session.get_torrents():
        assert (torrent == meeting._place) or (torrent.flags() & apart == apart and not torrent.trackers())
    meeting.close()


def test_who_calls_often_takes_the_place_of_nobody_who_is_asked_whether_he_is_of_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He calls by TCP, from a port at which nobody listens."""
    monkeypatch.setitem(STRANGE, "enable_outgoing_utp", False)
    keep = bytes(range(32))
    one, other = (
        Meeting(Network.LOOPBACK, keep=keep, device=device, place=tmp_path, log=lambda _text: None)
        for device in (ME, THEM)
    )
    for meeting in (one, other):
        meeting._session.apply_settings({"enable_outgoing_utp": False})
        meeting.point(InfoHash("0" * 40))
    torrent = _hollow(keep, "meeting", 1)
    callers = [Stranger(one.port, torrent, tmp_path / f"caller {n}", gives=False) for n in range(_ASKED + 1)]

    def poll() -> None:
        for meeting in (one, other):
            meeting.poll(0.01)

    def have_called() -> bool:
        poll()
        return all(caller.was_there for caller in callers)

    wait_until(have_called, "all to call", 60)
    one._place.connect_peer(("127.0.0.1", other.port))  # as a tracker or a node names it

    def is_found() -> bool:
        poll()
        return THEM in one.pointers

    wait_until(is_found, "it to be found among them", 20)
    for meeting in (one, other):
        meeting.close()
