"""What everybody else sees of libraries in sync: every packet of two devices, in one network and on the internet."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import libtorrent as lt
import pytest
from support import seeder
from support.devices import Device, device
from support.internet import Internet, small_internet
from support.leaks import WORDS, Watch, announced, found, holds, windows, written
from support.library import memos
from support.netns import Capture
from support.netns import Network as Machines
from support.packets import streams, utp_streams
from support.pairs import wait_for
from support.sound import noise
from support.waiting import wait_until

from memosync import magnet, sealing
from memosync.library import keys
from memosync.library.stamps import content_of
from memosync.library.store import Library
from memosync.torrent.meeting import _SAID, _hollow

LATER = "Quite another title of it"


@dataclass
class Place:
    """Where two devices are, and by what they find each other."""

    devices: list[Device]
    trackers: tuple[str, ...] = ()
    internet: Internet | None = None
    ways: tuple[str, ...] = ("LSD",)  # in which the meeting place is made known

    def heard(self) -> str:
        """Give what nodes of the DHT have heard, where there is one: a line for each announce."""
        return self.internet.heard_at(self.internet.others[0]).read_text() if self.internet else ""

    def waits_for_the_dht(self, infohash: str, before: int = 0) -> None:
        """Wait until its nodes have heard once more of something on one of the machines."""
        line = f"{self.devices[0].host.address} {infohash}\n"
        if self.internet:
            wait_until(lambda: self.heard().count(line) > before, "the DHT to hear of the meeting place")


@contextmanager
def in_one_network(home: Path) -> Iterator[Place]:
    with Machines(2) as network:
        yield Place([device(host, home / host.address, "lan") for host in network.hosts])


@contextmanager
def on_the_internet(home: Path) -> Iterator[Place]:
    with small_internet(3, home) as internet:
        internet.name_the_first_node()
        internet.start_nodes(20)
        devices = [
            device(host, home / host.address, seeder=internet.program(host)) for host in (internet.here, internet.there)
        ]
        yield Place(devices, internet.others[0].tracker(), internet, ("LSD", "HTTP", "UDP", "DHT"))


@pytest.mark.parametrize("place", [in_one_network, on_the_internet])
def test_nobody_sees_anything_of_libraries_in_sync(tmp_path: Path, place: object) -> None:
    """Two devices that are invited, record, edit and throw away: others learn where they meet, and nothing else."""
    assert callable(place)
    with place(tmp_path) as there:
        one, other = (each.program for each in there.devices)
        for program in (one, other):
            program.library.mkdir(parents=True, mode=0o700)
        for each in there.devices:
            each.seeder.meddle("from memosync.torrent import dht; dht.RESTS_AFTER = 1.0")
        captures = [Capture(each.host, whole=True) for each in there.devices]
        words = [f"--{name}={text}" for name, text in WORDS.items()]
        with Watch(*(each.host for each in there.devices)) as watch:
            one("record", noise(tmp_path / "noise.flac"), *words)
            trackers = [f"--tracker={url}" for url in there.trackers]
            invitation = there.devices[0].seeder("sync", "--invite", "device", *trackers)
            library = Library(one.library)
            meeting, pointer = (
                _infohash(library, kind, size) for kind, size in (("meeting", 1), ("pointer", _SAID + 1))
            )
            there.waits_for_the_dht(meeting)
            joined = there.devices[1].seeder("sync", "-", stdin=invitation.out)
            wait_for(WORDS["title"], other)
            other("edit", "last", "--title", LATER)
            wait_for(LATER, one)
            other("sync", "--wait")
            other("rm", "last")
            wait_until(lambda: not memos(one) and list(library.trash.glob("*.webm")), "the trash")
        said = [path for program in (one, other) for path in (program.library / ".memosync/sync").iterdir()]
        sealed = {path.name: path.read_bytes() for path in said if len(path.name) == 40}
        packets = [packet for capture in captures for packet in capture.so_far()]
        logs = [seeder.log(program) for program in (one, other)]
        other("seed", "--stop")
        there.waits_for_the_dht(meeting, there.heard().count(meeting))  # who is alone comes back to it
        heard = there.heard()
        one("seed", "--stop")

    link, secret = magnet.parse(invitation.out.strip()), keys.secret(library)
    sent = {*streams(packets), *utp_streams(packets), *(bytes.fromhex(packet.data) for packet in packets)}
    memo = next(library.trash.glob("*.webm")).read_bytes()
    assert len(sealed) >= 2
    texts = [*(text.encode() for text in WORDS.values()), LATER.encode()]
    nobody = set.union(*map(windows, [memo, secret, secret.hex().encode(), *texts, *sealed.values()]))
    assert found(nobody, sent) == set()
    assert not any(holds(data, [link.key, *written(link.key)]) for data in sent)
    forms = {content.value["infohash"] for memo in library.index().memos if (content := content_of(memo))}
    names = {*sealed, *forms, pointer}
    assert len(names) > len(sealed)
    hashes = [form for name in names for form in (bytes.fromhex(name), name.encode(), name.upper().encode())]
    assert not any(holds(data, hashes) for data in sent)
    known = announced(sent)
    for way in there.ways:
        assert meeting in known[way], way
    assert set.union(*known.values()) <= {meeting, link.infohash}
    assert set(re.findall(r"^[0-9.]+ ([0-9a-f]{40})$", heard, re.MULTILINE)) <= {meeting, link.infohash}

    private = [*written(link.key), secret, secret.hex().encode()]
    assert len(watch.seen) > 10
    assert not any(holds(text, private) for text in watch.seen)
    assert not any(holds(text.encode(), private) for text in [*logs, invitation.err, joined.err, joined.out])
    for program in (one, other):
        for path in program.library.rglob("*"):
            is_closed = stat.S_IMODE(path.lstat().st_mode) in (0o600, 0o700)
            assert is_closed or path.parent.name == "sync", path  # where nobody comes, and libtorrent writes
            if path.is_file() and path.parent.name != "keys":
                assert not holds(path.read_bytes(), private), path


def _infohash(library: Library, kind: str, pieces: int) -> str:
    """Give the infohash of one of the two torrents by which the devices of a group find each other."""
    torrent = _hollow(sealing.keep_key(keys.secret(library)), kind, pieces)
    return str(lt.load_torrent_buffer(torrent).info_hashes.v1)
