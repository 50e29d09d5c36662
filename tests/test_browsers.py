"""With browsers: Chromium with WebTorrent as it comes, when there is only a WebSocket tracker to meet at.

Everybody has a machine of its own. A tab speaks WebRTC alone and aria2c never does, so what passes between them has
passed through memosync.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.browser import Chromium
from support.library import memos
from support.netns import Network
from support.program import Program
from support.sound import noise
from support.waiting import wait_until

OPUS = [
    "-ac",
    "2",
    "-c:a",
    "libopus",
    "-b:a",
    "500k",
    "-vbr",
    "off",
    "-compression_level",
    "0",
]  # 62,500 bytes a second
SECONDS = {"200 KB": 3.2, "20 MB": 320}
DEADLINE = 60  # seconds, for any size, with other tests beside it

sizes = pytest.mark.parametrize("size", SECONDS)


class Meeting:
    """A tracker for browsers on one machine, and three machines to meet from, which find each other in no other way."""

    def __init__(self, directory: Path, network: Network, chromium: Callable[..., Chromium]) -> None:
        self.directory = directory
        self.chromium = chromium
        self.middle, *self.hosts = network.hosts
        self.tracker = self.middle.websocket_tracker()

    def program(self, name: str) -> Program:
        """Give memosync with a library of this name, on a machine of its own."""
        return self.hosts[0 if name == "home" else 1].program(self.directory / name / "Memos")

    def browser(self, **options: bool) -> Chromium:
        return self.chromium(self.hosts[2], **options)

    def audio(self, size: str) -> Path:
        """Make an Opus file of about so many bytes."""
        return noise(self.directory / "noise.webm", SECONDS[size], *OPUS)

    def share(self, program: Program, source: Path, *options: str) -> str:
        program("record", source, "-t", "A memo")
        return program("share", "last", "--public", "--tracker", self.tracker.url, *options).out.strip()


@pytest.fixture
def meeting(tmp_path: Path, chromium: Callable[..., Chromium]) -> Iterator[Meeting]:
    with Network(4, route=True, multicast=False) as network:
        meeting = Meeting(tmp_path, network, chromium)
        yield meeting
        print(*meeting.tracker.events, sep="\n")  # shown with a failure


def sha256(file: str | Path) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def only(program: Program) -> Path:
    """Give the file of a library's only memo."""
    [memo] = memos(program)
    return Path(memo["path"])


def packets(file: str) -> list[float]:
    """Have ffprobe find where each packet begins, in seconds."""
    ask = ["ffprobe", "-v", "error", "-show_entries", "packet=pts_time", "-of", "csv=print_section=0", str(file)]
    return [float(line.strip(",")) for line in subprocess.check_output(ask, text=True).split()]


@sizes
def test_a_tab_fetches_what_share_prints(meeting: Meeting, size: str) -> None:
    home = meeting.program("home")
    link = meeting.share(home, meeting.audio(size))

    tab = meeting.browser().open(magnet=link)
    arrived = tab.arrived(DEADLINE)

    assert ("A memo.webm", sha256(only(home)), "webrtc") == (arrived.name, arrived.sha256, arrived.kind)
    assert [] == tab.errors + tab.warnings()


def test_tabs_that_wait_already_are_served_when_memosync_comes(meeting: Meeting) -> None:
    home = meeting.program("home")
    link = meeting.share(home, meeting.audio("200 KB"), "--no-seed")
    browser = meeting.browser()

    tabs = [browser.open(magnet=link) for _ in range(3)]
    wait_until(
        lambda: len({event.peer for event in meeting.tracker.announces()}) == 3, "the tabs to be in the swarm", DEADLINE
    )
    home("seed", "--detach")

    assert [sha256(only(home))] * 3 == [tab.arrived(DEADLINE).sha256 for tab in tabs]


@sizes
def test_fetch_gets_what_a_tab_seeds(meeting: Meeting, size: str) -> None:
    seeded = meeting.browser().open().seed(meeting.audio(size), "From a tab.webm", meeting.tracker.url)
    away = meeting.program("away")

    away("fetch", seeded.magnet, timeout=DEADLINE)

    [memo] = memos(away)
    assert ("From a tab", seeded.infohash, seeded.size) == (memo["title"], memo["infohash"], memo["size"])
    assert seeded.sha256 == sha256(memo["path"])


def test_what_a_tab_recorded_is_kept_as_it_is_and_shared_on(meeting: Meeting) -> None:
    browser = meeting.browser()
    first = browser.open()
    seeded = first.record(1.5, "Das Märchen, Teil 1.webm", meeting.tracker.url)
    away = meeting.program("away")

    away("fetch", seeded.magnet, timeout=DEADLINE)
    [memo] = memos(away)
    first.crash()
    link = away("share", "last", "--public", "--tracker", meeting.tracker.url).out.strip()
    second = browser.open().fetch(link, DEADLINE)

    assert seeded.sha256 == sha256(memo["path"]) == second.sha256
    assert "Das Märchen, Teil 1" == memo["title"]
    header = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", memo["path"]]
    assert "N/A" == subprocess.check_output(header, text=True).strip(), "the file itself says how long it is"
    # on a busy machine the browser's clock may be a packet ahead of the sound, which is as long as its packets are
    assert abs(memo["duration"] - packets(memo["path"])[-1]) <= 0.1
    assert f"urn:btih:{seeded.infohash}&" in link


def test_a_browser_that_hides_its_address_is_met_both_ways(meeting: Meeting) -> None:
    home, away = meeting.program("home"), meeting.program("away")
    link = meeting.share(home, meeting.audio("200 KB"))
    browser = meeting.browser(mdns=True)
    gather = """async () => {
        const connection = new RTCPeerConnection(), found = []
        connection.createDataChannel('any')
        const all = new Promise(done => { connection.onicecandidate = ({ candidate }) =>
            candidate ? found.push(candidate.address) : done() })
        await connection.setLocalDescription(await connection.createOffer())
        await all
        return found
    }"""

    arrived = browser.open().fetch(link, DEADLINE)
    tab = browser.open()
    away("fetch", tab.seed(only(home), "Hidden.webm", meeting.tracker.url).magnet, timeout=DEADLINE)

    assert arrived.sha256 == sha256(only(home)) == sha256(only(away))
    addresses = tab.run(gather)
    assert addresses
    assert all(re.fullmatch(r"[-0-9a-f]+\.local", address) for address in addresses)


class Aria:
    """aria2c on the machine in the middle, with the tracker that it asks."""

    def __init__(self, meeting: Meeting) -> None:
        self.meeting = meeting
        self.tracker = meeting.middle.tracker()[1]
        self.downloads = meeting.directory / "aria2c"
        self.downloads.mkdir()
        self.log = meeting.directory / "aria2c.log"

    def start(self, source: str | Path) -> None:
        """Fetch a link, or seed what is there, and stay in the swarm."""
        look = ["--check-integrity"] if isinstance(source, Path) else []  # else it believes that it has nothing
        stay = ["--seed-ratio=0"]  # and no --enable-dht=false, with which it asks no UDP tracker
        with self.log.open("wb") as log:
            self.meeting.middle.start("aria2c", *stay, *look, f"--dir={self.downloads}", source, stdout=log, stderr=log)

    def fetched(self, name: str, digest: str) -> None:
        """Wait until it has a file of this digest."""
        file = self.downloads / name
        wait_until(
            lambda: file.is_file() and digest == sha256(file), lambda: self.log.read_text("utf-8", "replace"), DEADLINE
        )


@pytest.fixture
def aria(meeting: Meeting) -> Aria:
    return Aria(meeting)


def test_a_tab_and_aria2c_fetch_from_memosync_at_once(meeting: Meeting, aria: Aria) -> None:
    home = meeting.program("home")
    link = meeting.share(home, meeting.audio("200 KB"), "--tracker", aria.tracker)
    tab = meeting.browser().open()

    aria.start(link)
    arrived = tab.fetch(link, DEADLINE)

    assert sha256(only(home)) == arrived.sha256
    aria.fetched("A memo.webm", arrived.sha256)


def test_aria2c_has_from_memosync_what_a_tab_seeds(meeting: Meeting, aria: Aria) -> None:
    seeded = meeting.browser().open().seed(meeting.audio("200 KB"), "From a tab.webm", meeting.tracker.url)
    link = f"{seeded.magnet}&tr={aria.tracker}"
    away = meeting.program("away")

    aria.start(link)
    away("fetch", "--seed", link, timeout=DEADLINE)

    aria.fetched("From a tab.webm", seeded.sha256)


def test_a_tab_has_from_memosync_what_aria2c_seeds(meeting: Meeting, aria: Aria) -> None:
    home, away = meeting.program("home"), meeting.program("away")
    link = meeting.share(home, meeting.audio("200 KB"), "--tracker", aria.tracker, "--no-seed")
    [torrent] = home.library.glob(".memosync/torrents/*.torrent")
    shutil.copy(only(home), aria.downloads / "A memo.webm")
    announced = meeting.directory / "memo.torrent"
    shutil.copy(torrent, announced)
    subprocess.run(["transmission-edit", "--add", aria.tracker, announced], check=True, stdout=subprocess.PIPE)
    tab = meeting.browser().open()

    aria.start(announced)
    tab.add(link)
    away("fetch", "--seed", link, timeout=DEADLINE)

    assert sha256(only(home)) == tab.arrived(DEADLINE).sha256
