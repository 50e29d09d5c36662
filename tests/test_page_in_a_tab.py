"""A page in Chromium: it plays while it loads, says in words what happens, and calls nobody but those it names.

Pictures of it are written to tests/artefacts.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import matroska
from support.browser import Chromium
from support.matroska import Shape
from support.netns import Capture, Host, Network
from support.program import PROGRAM, Program
from support.seeder import state
from support.sound import convert, noise
from support.terminal import Terminal
from support.visitor import (
    ASKED,
    LISTEN,
    Visitor,
    as_soon_as_it_is_there,
    hear,
    make_author,  # noqa: F401
    make_network,  # noqa: F401
    make_visit,  # noqa: F401
)
from support.waiting import wait_until
from support.wide import widened

PICTURES = Path(__file__).parent / "artefacts"
EVIL = "</script><script>window.evil = 1</script>"
KEEP_WHAT_IT_SAYS = """
window.said = []
const attributes = ['aria-description', 'aria-label', 'aria-roledescription', 'aria-valuetext', 'alt', 'title']
new MutationObserver(changes => {
  for (const { type, target, attributeName } of changes) {
    said.push(type === 'attributes' ? target.getAttribute(attributeName) : target.textContent)
  }
}).observe(document.body, { subtree: true, childList: true, characterData: true, attributeFilter: attributes })
"""


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute of noise."""
    return noise(tmp_path_factory.mktemp("sound") / "short.webm", 30, "-c:a", "libopus", "-b:a", "64k")


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute of noise that swells and fades as speech does."""
    volume = "volume=eval=frame:volume='0.01+pow(abs(sin(t*2.3)*sin(t*0.7)),1.5)*(0.4+0.6*abs(sin(t*5.1)))'"
    return noise(tmp_path_factory.mktemp("speech") / "speech.webm", 30, "-af", volume, "-c:a", "libopus")


@pytest.fixture(scope="session")
def long_sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five minutes of noise, 20 MB."""
    options = ["-ac", "2", "-c:a", "libopus", "-b:a", "512k", "-vbr", "off", "-compression_level", "0"]
    return noise(tmp_path_factory.mktemp("sound") / "long.webm", 313, *options)


def test_a_page_plays_while_it_loads(
    network: Network,
    author: Program,
    visit: Callable[..., Visitor],
    long_sound: Path,
    tmp_path: Path,
    figure: Callable[[str], None],
    long: bool,
) -> None:
    tracker = network.hosts[0].websocket_tracker()
    author("record", long_sound, "-t", "Tides", "-d", "How the sea comes and goes.\nWith Ada.", "--tag", "sea")
    author("seed", "--detach", "--up", "1M")
    author("share", "last", "--public", "--tracker", tracker.url, "--page", tmp_path / "page.html")

    visitor = visit(f"file://{tmp_path}/page.html", ASKED + as_soon_as_it_is_there(f"({LISTEN})(); play.click()"))
    visitor.wait_until("heard.first", "sound")
    first, part, asked = visitor.tab.run("() => [heard.first, loaded.value, asked]")
    figure(f"a page of 20 MB at 1 MB/s: first sound after {first:.2f} s")
    begun, alike = visitor.position(), hear(visitor, long_sound)
    visitor.tab.screenshot(PICTURES / "playing.png")

    assert first <= (3 if long else 15)  # all of it takes 20; a busy machine draws a page slowly
    assert asked[0] == 0
    assert begun < visitor.position()
    assert alike > 0.95
    assert part < 0.9

    visitor.seek(200)
    assert hear(visitor, long_sound) > 0.95
    author("seed", "--stop")
    author("seed", "--detach")
    visitor.wait_for_words("All of it is here", 60)
    for position in (2, 305, 150):  # it is more than Chromium takes at once
        visitor.seek(position)
        assert hear(visitor, long_sound) > 0.95

    assert {url.split(":")[0] for url in visitor.requests} <= {"file", "blob", "ws"}
    assert [url for url in visitor.requests if url.startswith("ws")] == [tracker.url + "/"]
    assert visitor.tab.errors == []


def test_of_one_browser_it_is_said_where_it_is_and_when_it_closes_there_is_room_at_once_for_the_next_of_its_address(
    network: Network, author: Program, visit: Callable[..., Visitor], long_sound: Path, tmp_path: Path
) -> None:
    tracker = network.hosts[0].websocket_tracker()
    author("record", long_sound, "-t", "Tides")
    author("seed", "--detach", "--up", "1M")
    share = ["share", "last", "--tracker", tracker.url, "--page", str(tmp_path / "page.html"), "--wait"]
    waits = Terminal([*author.under, *PROGRAM, *share], author.environment)
    waits.wait_for(lambda screen: "waiting for somebody to fetch “Tides”" in screen.text, "that it waits")
    address = rf"{re.escape(network.hosts[1].address)}:\d+"
    row = rf"seeding +\S+ [kM]B given  not delivered  browsers too  Tides\n +[1-9]\d* % +{address}\n[^\n]*process"

    def peers() -> int:
        (swarm,) = state(author)["swarm"]
        return int(swarm["peers"])

    def is_watched() -> bool:
        watched = Terminal([*author.under, *PROGRAM, "seed", "--status"], author.environment)
        rows = watched.end()
        watched.close()
        return bool(re.search(row, rows))

    for number in range(3):
        visitor = visit(f"file://{tmp_path}/page.html")
        visitor.wait_until("loaded.value > 0.02", "some of it")
        wait_until(peers, "the seeder to say so")
        if not number:
            visitor.wait_until("/from 1 device(?!s)/.test(numbers.innerText)", "from how many it comes")
            waits.wait_for(
                lambda screen: re.search(rf"[1-9]%  [█░]{{20}}  {address}  “Tides”", screen.text), "who it is"
            )
            waits.close()
            wait_until(is_watched, "its row to have its address, and no other peer one")
        visitor.tab.close()
        wait_until(lambda: not peers(), "it to be gone; who is silent is, after ten seconds", 6)


def test_without_a_peer_it_says_so_calls_nobody_else_and_goes_on_when_one_comes(
    network: Network, author: Program, visit: Callable[..., Visitor], speech: Path, tmp_path: Path
) -> None:
    tracker = network.hosts[0].websocket_tracker()
    memo = author("record", speech, "-t", EVIL, "-d", EVIL, "--tag", EVIL).out.strip()
    author("share", memo, "--public", "--no-seed", "--tracker", tracker.url, "--page", tmp_path / "page.html")
    capture = Capture(network.hosts[1])

    visitor = visit(f"file://{tmp_path}/page.html", as_soon_as_it_is_there("window.said = state.textContent"))
    page = visitor.tab.page
    assert "Looking for somebody" in visitor.tab.run("() => said")
    visitor.tab.screenshot(PICTURES / "loading.png")
    visitor.wait_for_words("Nobody who has it is there", 60)
    visitor.tab.screenshot(PICTURES / "no-peer.png")

    assert page.get_by_text(f"memosync share --public {memo}").is_visible()
    assert (page.inner_text("h1"), page.inner_text(".description"), page.inner_text("li")) == (EVIL, EVIL, EVIL)
    assert page.title() == EVIL
    assert page.evaluate("window.evil") is None

    other = visit(f"file://{tmp_path}/page.html")
    for one in (visitor, other):
        one.wait_for_words("The others who are here have no more of it", 60)
    assert page.get_by_text(f"memosync share --public {memo}").is_visible()
    page.click("#play")
    author("share", memo, "--public")
    for one in (visitor, other):
        one.wait_for_words("All of it is here", 60)
    visitor.wait_until("audio.currentTime > 0.2", "to play as was wished before")
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.path().read_bytes() == next(author.library.glob("*.webm")).read_bytes()
    assert download.value.suggested_filename.endswith(".webm")
    assert not page.get_by_text("memosync seed").is_visible()

    ours, theirs = ({host.address, host.address.replace("10.77.0.", "fd77::")} for host in network.hosts)
    sent = [packet for packet in capture.so_far() if packet.source in theirs and packet.protocol in (6, 17)]
    own = [packet for packet in sent if packet.port != 53]  # what the browser asks for itself is names
    assert {packet.destination for packet in own} <= ours | theirs
    assert visitor.tab.errors == []


def test_a_page_from_a_web_server_without_https_is_steered_by_keys_and_read_out(
    network: Network, author: Program, visit: Callable[..., Visitor], sound: Path, tmp_path: Path
) -> None:
    tracker = network.hosts[0].websocket_tracker()
    author("record", sound, "-t", "Weekly standup")
    author("share", "last", "--public", "--tracker", tracker.url, "--page", tmp_path / "page.html")
    server = [sys.executable, "-m", "http.server", "8000", "--directory", tmp_path]
    network.hosts[0].start(*server, stderr=subprocess.DEVNULL)
    network.hosts[0].run(
        "sh",
        "-c",
        f"until curl -so /dev/null {network.hosts[0].address}:8000; do :; done",
        timeout=60,  # it looks its own name up
    )

    visitor = visit(f"http://{network.hosts[0].address}:8000/page.html")
    page = visitor.tab.page
    visitor.wait_for_words("All of it is here", 60)
    button, slider = page.get_by_role("button", name="Play"), page.get_by_role("slider", name="Position")

    assert page.evaluate("isSecureContext") is False
    page.keyboard.press("Tab")
    assert button.evaluate("element => element === document.activeElement")
    page.keyboard.press("Enter")
    visitor.wait_until("audio.currentTime > 0.1", "to play")
    page.keyboard.press("Space")
    visitor.wait_until("audio.paused", "to pause")
    page.keyboard.press("Tab")
    assert slider.evaluate("element => element === document.activeElement")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("PageUp")
    page.keyboard.press("ArrowLeft")
    visitor.wait_until("Math.abs(audio.currentTime - 25) < 0.1", "to be where the keys led")
    assert slider.get_attribute("aria-valuetext") == "0:25 of 0:30"
    assert page.get_by_role("status").inner_text() == visitor.says()
    slider.click()
    visitor.wait_until("Math.abs(audio.currentTime - 15) < 0.5", "to be where the waveform was clicked")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    visitor.wait_until("audio.currentTime < 0.5", "to be 15 s back")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    visitor.wait_until("audio.currentTime > 14.5", "to be 15 s on")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    visitor.wait_until("audio.playbackRate === 1.25", "to be faster")
    page.keyboard.press("Tab")
    page.keyboard.press("Home")
    visitor.wait_until("audio.volume === 0", "to be silent")
    for name in ("15 seconds back", "15 seconds forward"):
        assert page.get_by_role("button", name=name).is_visible()
    assert page.get_by_role("combobox", name="Speed").is_visible()
    assert page.get_by_role("slider", name="Volume").is_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Copied").wait_for()
    assert [url for url in visitor.requests if not url.startswith(("blob:", "ws:"))] == [page.url]
    assert visitor.tab.errors == []


def test_a_page_that_came_by_https_says_why_it_cannot_call_an_unencrypted_tracker(
    author: Program, visit: Callable[..., Visitor], sound: Path, tmp_path: Path
) -> None:
    author("record", sound)
    author(
        "share", "last", "--public", "--no-seed", "--tracker", "ws://10.77.0.1:4000", "--page", tmp_path / "page.html"
    )
    visitor = visit("about:blank")
    visitor.tab.page.route("https://memos.example/**", lambda route: route.fulfill(path=tmp_path / "page.html"))

    visitor.tab.page.goto("https://memos.example/page.html")

    assert "the browser refuses the server that introduces people (10.77.0.1:4000)" in visitor.says()
    assert [url for url in visitor.requests if url.startswith("ws")] == visitor.tab.errors == []


def test_a_page_fits_a_telephone_and_the_night(
    network: Network, author: Program, visit: Callable[..., Visitor], speech: Path, tmp_path: Path
) -> None:
    tracker = network.hosts[0].websocket_tracker()
    words = [
        "-t",
        "Weekly standup, and what nobodyeversaidinonewordwithoutpausesforbreath",
        "--tag",
        "work",
        "--tag",
        "x",
    ]
    author("record", speech, *words, "-d", "What we said about the release.\n" * 3)
    author("share", "last", "--public", "--tracker", tracker.url, "--page", tmp_path / "page.html")

    visitor = visit(f"file://{tmp_path}/page.html")
    visitor.wait_for_words("All of it is here", 60)
    visitor.tab.page.click("#play")
    visitor.wait_until("audio.currentTime > 1", "to play")
    light = visitor.tab.run("() => getComputedStyle(document.body).backgroundColor")
    visitor.tab.look(width=320, height=1200)
    visitor.tab.screenshot(PICTURES / "narrow.png")
    widths = visitor.tab.run("() => [document.documentElement.scrollWidth, innerWidth]")
    visitor.tab.look(dark=True)
    visitor.tab.screenshot(PICTURES / "dark.png")
    dark = visitor.tab.run("() => getComputedStyle(document.body).backgroundColor")
    visitor.tab.page.emulate_media(reduced_motion="reduce")

    assert widths[0] <= widths[1] == 320
    assert light != dark
    assert (
        visitor.tab.run(
            "() => { play.classList.add('waiting'); return getComputedStyle(play, '::after').animationName }"
        )
        == "none"
    )


@pytest.mark.parametrize(
    "before",
    [
        "delete window.MediaSource; delete window.ManagedMediaSource",
        "SourceBuffer.prototype.appendBuffer = () => { throw new Error('no') }",
    ],
    ids=["there is no such thing", "it breaks"],
)
def test_where_nothing_plays_while_it_loads_it_plays_when_all_is_here(
    network: Network, author: Program, visit: Callable[..., Visitor], sound: Path, tmp_path: Path, before: str
) -> None:
    tracker = network.hosts[0].websocket_tracker()
    author("record", sound)
    author("share", "last", "--public", "--tracker", tracker.url, "--page", tmp_path / "page.html")

    visitor = visit(f"file://{tmp_path}/page.html", before)
    visitor.tab.run(LISTEN)
    visitor.tab.page.click("#play")
    visitor.wait_until("heard.first", "sound")

    visitor.wait_for_words("All of it is here", 60)
    assert hear(visitor, sound) > 0.95


def test_a_recording_of_a_browser_plays_too(
    network: Network,
    author: Program,
    chromium: Callable[[Host], Chromium],
    visit: Callable[..., Visitor],
    tmp_path: Path,
) -> None:
    tracker = network.hosts[0].websocket_tracker()
    seeded = chromium(network.hosts[0]).open().record(3, "From a tab.webm", tracker.url)
    memo = author("fetch", seeded.magnet).out.strip()
    author("share", memo, "--public", "--tracker", tracker.url, "--page", tmp_path / "page.html")

    visitor = visit(f"file://{tmp_path}/page.html")
    visitor.tab.page.click("#play")
    visitor.wait_until("audio.currentTime > 1", "to play")

    assert visitor.tab.page.inner_text("h1") == "From a tab"
    length = json.loads(author("show", memo, "--json").out)["duration"]
    assert visitor.tab.run("() => audio.duration") == pytest.approx(length, abs=0.1)
    assert length > 1


@pytest.mark.parametrize(
    ("times", "shape", "before"),
    [
        (lambda i: i * 20 + 27 * 3_600_000, Shape(known=True, duration=20.0), ""),
        (lambda i: i * 20 + 7_000 * (i > 400) + 150 * (i > 430), Shape(words=True), ""),
        (lambda i: i * 20 // 3, Shape(lacing="ebml", together=5), ""),
        (
            lambda i: i * 20 + 7_000 * (i > 400),
            Shape(groups=True),
            "delete MediaSource; delete window.ManagedMediaSource",
        ),
        (lambda i: i * 20, Shape(words=True, known=True), ""),
    ],
    ids=["a day late", "holes, words", "slow, laced", "a hole, nothing plays while it loads", "words"],
)
def test_what_is_heard_counts_and_not_the_clock_of_the_file(
    network: Network,
    author: Program,
    visit: Callable[..., Visitor],
    tmp_path: Path,
    times: matroska.Times,
    shape: Shape,
    before: str,
) -> None:
    tracker = network.hosts[0].websocket_tracker()
    spoken = matroska.packets(20, kind="noise")
    plain = tmp_path / "plain.webm"
    plain.write_bytes(matroska.webm(spoken, lambda i: i * 20))
    author.library.mkdir(parents=True)
    (author.library / "2026-08-25-odd-abcdefgh.webm").write_bytes(matroska.webm(spoken, times, shape))
    author("share", "abcdefgh", "--public", "--tracker", tracker.url, "--page", tmp_path / "page.html")

    visitor = visit(f"file://{tmp_path}/page.html", before)
    visitor.tab.run(LISTEN)
    visitor.tab.page.click("#play")
    visitor.wait_until("heard.first", "sound")

    for position in (0, 14, 7.5):  # in front of the hole and behind it
        if position:
            visitor.seek(position)
        assert hear(visitor, plain) > 0.95
    assert visitor.tab.run("() => audio.duration") == pytest.approx(20.01, abs=0.05)
    visitor.seek(18)
    visitor.wait_until("audio.ended", "to come to its end")
    assert visitor.position() == pytest.approx(20.01, abs=0.05)
    assert visitor.tab.page.locator("#position").get_attribute("aria-valuetext") == "0:20 of 0:20"
    assert visitor.tab.errors == []


def test_vorbis_that_begins_late_is_heard_from_its_beginning(
    network: Network, author: Program, visit: Callable[..., Visitor], tmp_path: Path
) -> None:
    tracker = network.hosts[0].websocket_tracker()
    plain = noise(tmp_path / "plain.webm", 15, "-c:a", "libvorbis")
    author.library.mkdir(parents=True)
    late = author.library / "2026-08-25-late-abcdefgh.webm"
    convert(plain, late, "-c", "copy", "-output_ts_offset", "12")
    author("share", "abcdefgh", "--public", "--tracker", tracker.url, "--page", tmp_path / "page.html")

    visitor = visit(f"file://{tmp_path}/page.html")
    visitor.tab.run(LISTEN)
    visitor.tab.page.click("#play")
    visitor.wait_until("heard.first", "sound")

    assert hear(visitor, plain) > 0.95
    visitor.seek(9)
    assert hear(visitor, plain) > 0.95
    assert visitor.tab.run("() => audio.duration") == pytest.approx(15, abs=0.05)
    assert visitor.tab.errors == []


def test_a_tracker_that_is_away_is_named_and_used_when_it_is_back(
    network: Network, author: Program, visit: Callable[..., Visitor], sound: Path, tmp_path: Path
) -> None:
    tracker = network.hosts[0].websocket_tracker()
    author("record", sound)
    author("share", "last", "--public", "--no-seed", "--tracker", tracker.url, "--page", tmp_path / "page.html")
    port = int(tracker.url.rpartition(":")[2])
    tracker.close()

    visitor = visit(f"file://{tmp_path}/page.html")
    visitor.wait_for_words(f"No server that introduces people can be reached ({network.hosts[0].address}:{port})", 60)
    network.hosts[0].websocket_tracker(port=port)
    author("share", "last", "--public")
    visitor.wait_for_words("All of it is here", 60)


def test_whatever_a_page_says_later_is_translated_where_the_words_are(
    network: Network, author: Program, visit: Callable[..., Visitor], tmp_path: Path
) -> None:
    tracker = network.hosts[0].websocket_tracker()
    place = tmp_path / "page.html"
    author("record", noise(tmp_path / "noise.webm", 1, "-c:a", "libopus", "-b:a", "32k"))
    author("share", "last", "--public", "--no-seed", "--tracker", tracker.url, "--page", place)
    begin, data, end = re.split('(?<=id="memo">)(.*)(?=</script>\n<script)', place.read_text())
    memo = json.loads(data)
    words = memo["words"] = widened(memo["words"] | {"decimal": ","})
    place.write_text(begin + json.dumps(memo) + end)

    visitor = visit(f"file://{place}", as_soon_as_it_is_there(KEEP_WHAT_IT_SAYS))
    visitor.wait_for_words(words["alone"], 60)
    other = visit(f"file://{place}")
    for one in (visitor, other):
        one.wait_for_words(words["idle"], 60)
    author("share", "last", "--public")
    visitor.wait_for_words(words["done"], 60)
    for button in ("#play", "#copy"):
        visitor.tab.page.click(button)
    visitor.wait_until("audio.currentTime > 0.1", "to play")
    said = visitor.tab.run("() => said")

    parts = {part for text in said for part in text.split(" · ")}
    assert parts >= {words[name] for name in ("alone", "idle", "done", "pause", "copied", "nobody")}
    assert words["peers"][0] in parts
    assert any(re.fullmatch(r"0 % ｏｆ \d,\d ｋＢ", part) for part in parts)
    assert [text for text in said if re.search("[A-Za-z{}]", text)] == []
    assert visitor.tab.errors == []


def test_the_stun_server_is_asked_in_public_alone(
    network: Network, author: Program, visit: Callable[..., Visitor], sound: Path, tmp_path: Path
) -> None:
    here = network.hosts[0].address
    tracker = network.hosts[0].websocket_tracker()
    author("record", sound)
    author.environment["MEMOSYNC_STUN"] = f"{here}:3478"
    asked = {}

    for name in ("lan", "public"):
        page = tmp_path / f"{name}.html"
        author("--network", name, "share", "last", "--public", "--no-seed", "--tracker", tracker.url, "--page", page)
        capture = Capture(network.hosts[1])
        before = {event.peer for event in tracker.announces()}
        visit(f"file://{page}")
        wait_until(lambda: {event.peer for event in tracker.announces()} - before, "the tab at the tracker")  # noqa: B023
        asked[name] = {packet.destination for packet in capture.so_far() if packet.port == 3478}

    assert asked == {"lan": set(), "public": {here}}
