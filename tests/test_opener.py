"""The opener in Chromium: one page that opens whatever link stands behind its #, and keeps none.

Pictures of it are written to tests/artefacts.
"""

from __future__ import annotations

import base64
import random
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from support import matroska
from support.browser import Tab
from support.hostile import torrents
from support.library import memos, only
from support.links import Reader
from support.matroska import Shape
from support.netns import Network
from support.program import Program
from support.sound import noise
from support.visitor import (
    LISTEN,
    Visitor,
    hear,
    make_author,  # noqa: F401
    make_network,  # noqa: F401
    make_visit,  # noqa: F401
)

from memosync import magnet, sealing
from memosync.errors import TorrentError
from memosync.sealing import Seal

PICTURES = Path(__file__).parent / "artefacts"
TALLEST = """() => {
  const { data, width, height } = wave.getContext('2d').getImageData(0, 0, wave.width, wave.height)
  const filled = Array.from({ length: height }, (_, y) =>
    Array.from({ length: width }, (_, x) => data[4 * (y * width + x) + 3]).some(Boolean))
  return filled.filter(Boolean).length / height
}"""  # the highest bar, as a part of the canvas


HTML = '<img src=x onerror="evil = 1">\u202egpj.exe<script>'
HASH, KEY = 40 * "a", bytes(range(16))


def read_out(visitor: Visitor) -> list[str]:
    """Give what a screen reader meets, in order: what says its role, with its name or what stands in it."""
    tree = visitor.tab.page.locator("main").aria_snapshot()
    roles = "alert|button|combobox|heading|link|list|navigation|progressbar|region|slider|status|textbox"
    found = re.findall(rf'^ *- ({roles})(?: "(.*?)")?(?: \[[^:]*\])*(?:: (.*))?:?$', tree, re.MULTILINE)
    return [f"{role} {name or text}".strip() for role, name, text in found]


def claimed(tab: Tab, tracker: str) -> str:
    """Have a tab name a file of 2 GB to whoever asks, and give its infohash."""
    info = {"length": 2_000_000_000, "name": "x", "piece length": 1 << 22, "pieces": bytes(20 * 477)}
    encoded = base64.b64encode(torrents.torrent(info)).decode()
    torrent = "Uint8Array.from(atob(encoded), byte => byte.charCodeAt(0))"
    add = f"peer.client([]).add({torrent}, {{ announce: [tracker] }}, done)"
    function = f"async ([encoded, tracker]) => (await new Promise(done => {add})).infoHash"
    return str(tab.run(function, [encoded, tracker]))


def seeded_both(tab: Tab, tracker: str) -> str:
    """Have a tab seed a torrent of two files, and give its infohash."""
    files = "['a', 'b'].map(name => new File([name.repeat(50000)], `${name}.webm`))"
    add = f"peer.client([]).seed({files}, {{ name: 'both', announceList: [[tracker]] }}, done)"
    return str(tab.run(f"async tracker => (await new Promise(done => {add})).infoHash", tracker))


READ_OUT = [
    *("heading The merger", "list Tags"),
    *("region Player", "button Pause", "slider Position", "button 15 seconds back", "button 15 seconds forward"),
    *("combobox Speed", "slider Volume"),
    *("region Loading", "status All of it is here, and exactly what was shared.", "progressbar Loaded"),
    "button From 0:12",
    *("region Keep it", "link Download", "button Copy the link"),
]


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    reader = Reader()
    yield reader
    reader.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute of noise."""
    return noise(tmp_path_factory.mktemp("sound") / "noise.webm", 30, "-c:a", "libopus", "-b:a", "64k")


PRIVATE = f"magnet:?xt=urn:btih:{HASH}&x.key={magnet.format_key(KEY)}&tr=wss%3A%2F%2Ft.example"
SHORT = f"{HASH}.{magnet.format_key(KEY)}"


@pytest.mark.parametrize(
    "pasted",
    [
        PRIVATE,
        f"Have you heard this? {PRIVATE}.",
        f"\ufeff“{PRIVATE}”",
        PRIVATE.replace("&", "&amp;"),
        quote(PRIVATE, safe=""),
        f"https://memos.example/open.html#?seeds={quote(PRIVATE, safe=':/?')}&t=5",
        f"{PRIVATE[:70]}\r\n  {PRIVATE[70:]}\n\nsee you",
        f"(<{magnet.join('https://memos.example/open.html', [PRIVATE])}&t=5>)",
        f"Listen: https://memos.example/open.html#{SHORT}.",
        f"https://memos.example/open.html#/{PRIVATE}",
        f"?xt=urn:btih:{PRIVATE.partition('btih:')[2]}",
        f"magnet:?xt=urn:btih:{SHORT}&dn=x",
        SHORT.upper(),
        f"{SHORT}\n{SHORT}",
        f"> {SHORT[:50]}\u2028> {SHORT[50:]}\x85\x85see you",
        f"{SHORT}\tThe merger\t0:30",
        f">\u3000{SHORT}",
        f"「{SHORT}」 . ",
    ],
    ids=lambda text: ascii(text[:40]),
)
def test_a_link_is_understood_as_people_paste_it(reader: Reader, pasted: str) -> None:
    (found,) = reader.read(pasted) or [{}]

    assert (found["infohash"], found["key"]) == (HASH, base64.b64encode(KEY).decode())
    link = magnet.parse(found["link"])
    assert (link.infohash, link.key) == (HASH, KEY)


def test_what_looks_like_a_key_in_a_title_is_none_in_the_link_that_is_copied(reader: Reader) -> None:
    (found,) = reader.read(f"magnet:?xt=urn:btih:{HASH}&dn=urn:btih:{SHORT}") or [{}]

    assert (found["key"], magnet.parse(found["link"]).key) == ("", b"")


@pytest.mark.parametrize(
    "pasted",
    [
        f"{HASH}&x.key={magnet.format_key(KEY)}",
        f"x.key={SHORT}",
        f"{SHORT}&x.key={magnet.format_key(KEY)}",
        f"{SHORT}.{magnet.format_key(KEY)}",
        f"{SHORT[:-1]}",
        f"{SHORT[:-1]}b",
        f"{SHORT[:41]}0{SHORT[42:]}",
        f"{SHORT[:39]}\uff11{SHORT[40:]}",
        f"{SHORT[:20]} {SHORT[20:]}",
        f"{40 * '0'}.{magnet.format_key(KEY)}",
        f".{SHORT}",
        f"{SHORT}/",
    ],
    ids=lambda text: ascii(text[35:]),
)
def test_what_is_nearly_a_hash_and_a_key_is_neither_half_of_it(reader: Reader, pasted: str) -> None:
    assert not reader.read(pasted)
    with pytest.raises(TorrentError):
        magnet.parse(*magnet.split(pasted))


def test_links_on_several_lines_are_several(reader: Reader) -> None:
    found = reader.read(f"{PRIVATE}\n{40 * 'b'}\nmagnet:?xt=urn:btih:{32 * '7'}\n\nThese.")

    assert [link["infohash"] for link in found or ()] == [HASH, 40 * "b", 40 * "f"]


@pytest.mark.parametrize("glued", ["a", "ab", "7", "%20a", "%00", "&x.key=" + 26 * "a"])
def test_a_key_that_is_not_whole_or_is_more_is_refused(reader: Reader, glued: str) -> None:
    assert [reader.read(PRIVATE.replace("&tr", f"{glued}&tr"))] == [None]


def test_of_the_trackers_that_a_link_names_those_are_taken_that_are_some(reader: Reader) -> None:
    named = [
        "javascript:alert(1)",
        "wss://a:b@c",
        "wss://:b@c",
        "wss://a#b",
        "udp://a:1",
        "https://a",
        "wss:",
        "WSS://a/b",
    ]

    (found,) = reader.read("&tr=".join([PRIVATE, *(quote(url, safe="") for url in named)])) or [{}]

    assert found["trackers"] == ["wss://t.example", "WSS://a/b"]


@pytest.mark.parametrize(
    "huge",
    ["magnet:?x=" + 900_000 * " " + "x", "x" + 900_000 * '"' + "x", 300_000 * "?&a" + "magnet:?", 1_000_001 * "a"],
    ids=["blanks", "quotation marks", "parameters", "more"],
)
def test_a_text_as_long_as_can_be_pasted_holds_nobody_up(reader: Reader, huge: str) -> None:
    assert not reader.read(huge)


def test_of_a_link_no_more_is_read_than_anybody_needs(reader: Reader) -> None:
    memos = "&".join(f"seeds={number:040x}" for number in range(1, 1100))
    trackers = "".join(f"&tr=wss%3A%2F%2Ft{number}.example" for number in range(30))

    assert len(reader.read(f"https://memos.example/open.html#?{memos}") or ()) == 1000
    assert len((reader.read(PRIVATE + trackers) or [{}])[0]["trackers"]) == 20
    assert reader.read(PRIVATE + 50_000 * "&a") is None
    assert reader.read(PRIVATE + 1_000_000 * " ") is None


def test_a_private_link_is_opened_and_its_key_is_gone_from_the_address(
    network: Network, author: Program, visit: Callable[..., Visitor], sound: Path, tmp_path: Path
) -> None:
    tracker, place = network.hosts[0].websocket_tracker(), tmp_path / "open.html"
    words = ["-t", "The merger", "-d", "The price is named at 0:12.", "--tag", "work"]
    author("record", sound, *words)
    written = author("share", "--page", place, "--tracker", tracker.url)
    assert (written.out, "could read the keys" in written.err) == ("", True)
    link = author("share", "last", "--tracker", tracker.url, "--link", f"file://{place}").out.strip()
    key = magnet.format_key(magnet.parse(magnet.split(link)[0]).key)
    assert key in link

    visitor = visit(f"file://{place}")
    page = visitor.tab.page
    asked = page.get_by_role("textbox", name="Paste the link")
    asked.fill("not a link")
    page.get_by_role("button", name="Open").click()
    assert "This is no link to a memo" in page.get_by_role("alert").inner_text()
    assert asked.input_value() == ""  # a key would stand there as long as the page is open
    assert read_out(visitor) == [
        "region Open a memo",
        "heading Open a memo",
        "textbox Paste the link that you were given",
        "alert This is no link to a memo, or not the whole one. Ask for the whole link again.",
        "button Open",
    ]
    visitor.tab.look(width=320, height=800)
    visitor.tab.screenshot(PICTURES / "opener.png")
    page.goto(f"{link}&t=5")
    visitor.tab.run(LISTEN)
    page.click("#play")
    visitor.wait_until("heard.first", "sound")

    assert page.evaluate("location.href") == f"file://{place}"
    assert 5 <= visitor.position() < 12
    assert hear(visitor, sound) > 0.95
    assert (page.inner_text("h1#title"), page.title()) == ("The merger", "The merger")
    assert re.fullmatch(r"\w+day, \d+ \w+ \d{4}, \d\d:\d\d · 0:30", page.inner_text("#when"))
    assert page.inner_text("#tags") == "work"
    page.get_by_role("button", name="From 0:12").click()
    visitor.wait_until("audio.currentTime > 12.3 && audio.currentTime < 20", "to play from the time that was clicked")
    page.evaluate("audio.loop = true")  # else it may be over before all of it is here
    visitor.seek(25)
    assert hear(visitor, sound) > 0.95
    visitor.wait_for_words("All of it is here", 60)
    visitor.wait_until(f"({TALLEST})() > 0.5", "the waveform")
    assert read_out(visitor) == READ_OUT
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.path().read_bytes() == Path(only(author)["path"]).read_bytes()
    assert download.value.suggested_filename == "The merger.webm"
    visitor.tab.screenshot(PICTURES / "opened.png")
    visitor.tab.look(dark=True)
    visitor.tab.screenshot(PICTURES / "opened-dark.png")
    assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0

    page.goto(link.replace(key, ("b" if key[0] == "a" else "a") + key[1:]))
    visitor.wait_for_words("The key is not the one of this memo", 60)
    (whole,) = magnet.split(link)
    infohash = magnet.parse(whole).infohash
    page.goto(f"file://{place}#{infohash}")
    visitor.wait_for_words("This memo is private, and its link has no key", 60)
    for fragment in (whole, f"{infohash}.{key}", f"x={infohash}%2E{key}"):
        page.goto("about:blank")
        page.goto(f"file://{place}#{fragment}")
        visitor.wait_until("title.textContent === 'The merger'", "what is in it")
        assert page.evaluate("location.href") == f"file://{place}"
        assert key in (page.get_attribute("#magnet", "href") or "")
    page.goto(f"file://{place}#nonsense")
    page.get_by_role("alert").get_by_text("This is no link to a memo").wait_for()
    assert (page.title(), page.evaluate("location.href")) == ("Open a memo", f"file://{place}")
    page.goto(f"{link}&t=5")
    page.reload()
    assert (asked.is_visible(), page.get_by_role("alert").inner_text()) == (True, "")
    assert {url for url in visitor.requests if not url.startswith(("blob:", "file:"))} == {f"{tracker.url}/"}
    assert visitor.tab.errors == []

    page.route("https://memos.example/**", lambda route: route.fulfill(path=place))
    host = f"https://memos.example//{place.name}"
    named = ["wss://memos.example/announce", "wss://memos.example/post", "wss://memos.example/announce?delete=all"]
    page.goto(f"{host}#{'&tr='.join([whole, *(quote(url, safe='') for url in named)])}")
    visitor.wait_for_words("can be reached (memos.example)", 60)
    assert page.evaluate("location.href") == host
    page.goto(f"file://{place}#magnet:?xt=urn:btih:{infohash}&tr=wss%3A%2F%2Fnobody.example")
    visitor.wait_for_words("can be reached (nobody.example)", 60)  # no other is asked for what names its own


def test_what_is_no_memo_is_refused_loaded_no_further_and_a_file_that_lies_does_no_harm(
    network: Network, author: Program, visit: Callable[..., Visitor], tmp_path: Path
) -> None:
    tracker, place = network.hosts[0].websocket_tracker(), tmp_path / "open.html"
    author("share", "--page", place, "--tracker", tracker.url)
    junk, sealed, lying = tmp_path / "junk", tmp_path / "sealed", tmp_path / "lying.webm"
    junk.write_bytes(random.Random(1).randbytes(2_000_000))
    with junk.open("rb") as plain, sealed.open("wb") as target:
        sealing.seal(plain, Seal(KEY, bytes(24)), target.write)
    words = {"title": HTML, "description": HTML, "KEYWORDS": ",".join(map(str, range(1000))), "__proto__": "x"}
    tags = [option for name, value in words.items() for option in ("-metadata", f"{name}={value}")]
    honest = noise(tmp_path / "honest.webm", 3, "-c:a", "libopus", "-cues_to_front", "1", *tags).read_bytes()
    (said,) = re.findall(b"\x44\x89\x88(.{8})", honest, re.DOTALL)  # its duration
    lying.write_bytes(honest.replace(said, struct.pack(">d", 9e10)))

    visitor = visit(f"file://{place}")
    page, other = visitor.tab.page, visitor.tab.chromium.open()
    other.run("() => { peer.client([]).throttleUpload(300000) }")
    files = [other.seed(path, f"{HTML}.exe", tracker.url) for path in (junk, sealed, lying)]
    for link in (files[0].infohash, f"{files[1].infohash}.{magnet.format_key(KEY)}", seeded_both(other, tracker.url)):
        page.goto(f"file://{place}#{link}")
        visitor.wait_until(
            f"magnet.href.includes('{link[:40]}')", "this one to be opened"
        )  # those words are there still
        visitor.wait_for_words("What is behind this link is no memo", 60)
        other.wait_until("peer.status().every(swarm => !swarm.peers.length)", "to be left")
        assert page.get_attribute("#save", "href") is None

    page.goto(f"file://{place}#{claimed(other, tracker.url)}")
    visitor.wait_for_words("This is 2.0 GB, more than a browser takes", 60)

    page.goto(f"file://{place}#{files[2].infohash}")
    visitor.wait_for_words("All of it is here", 60)
    visitor.wait_until("title.textContent.includes('<img')", "its own words")
    visitor.wait_until("Math.abs(position.max - 3) < 0.1", "its length by what is heard")
    assert page.locator("#tags li").count() == 50
    assert (page.get_attribute("#save", "download") or "").endswith("-gpj.exe-script-.webm")
    assert page.evaluate("[window.evil, document.querySelectorAll('img').length]") == [None, 0]
    assert visitor.tab.errors == []


def test_several_memos_the_old_form_of_link_and_one_that_nobody_serves(
    network: Network, author: Program, visit: Callable[..., Visitor], sound: Path, tmp_path: Path
) -> None:
    tracker, place = network.hosts[0].websocket_tracker(), tmp_path / "open.html"
    spoken, shape = matroska.packets(20, kind="noise"), Shape(words=True)
    plain = tmp_path / "plain.webm"
    plain.write_bytes(matroska.webm(spoken, lambda i: i * 20))
    author.library.mkdir(parents=True)
    live = matroska.webm(spoken, lambda i: i * 20 + 7_000 * (i > 400), shape)
    (author.library / "2026-08-25-odd-abcdefgh.webm").write_bytes(live)  # without cues, with a hole
    author("record", sound, "-t", "Second")
    author("share", "--page", place, "--tracker", tracker.url)
    base = ["--tracker", tracker.url, "--link", f"file://{place}"]
    both = author("share", "abcdefgh", "last", "--public", *base, "--one").out.strip()
    private = author("share", "last", "--tracker", tracker.url).out.strip()
    by_id = {memo["id"]: memo for memo in memos(author)}
    odd = by_id.pop("abcdefgh")
    (other,) = by_id.values()

    assert both.startswith(f"file://{place}?seeds=magnet%3A")
    visitor = visit(both)
    page = visitor.tab.page
    rows = page.get_by_role("navigation", name="Memos").get_by_role("button")
    visitor.tab.run(LISTEN)
    page.click("#play")
    visitor.wait_until("heard.first", "sound")
    assert hear(visitor, plain) > 0.95
    visitor.wait_for_words("All of it is here", 60)
    visitor.wait_until("Math.abs(position.max - 20) < 0.1", "its length by what is heard")
    visitor.seek(14)  # behind the hole
    assert hear(visitor, plain) > 0.95
    assert rows.count() == 2
    visitor.seek(19)
    visitor.wait_until("title.textContent === 'Second'", "the other one, which follows")
    assert rows.nth(1).get_attribute("aria-current") == "true"
    visitor.wait_until("position.max > 29 && audio.currentTime > 0.3 && audio.currentTime < 10", "to play it")
    assert hear(visitor, sound) > 0.95

    seeds = "&".join(f"seeds={quote(link, safe='')}" for link in (private, odd["public_link"]))
    infohash = odd["infohash"]
    for fragment, title in ((f"?{seeds}&t=3", "Second"), (other["public_link"], "Second"), (infohash, odd["title"])):
        page.goto(f"file://{place}#{fragment}")
        visitor.wait_until(f"title.textContent === {title!r}", title)
    page.goto(f"file://{place}#magnet:?xt=urn:btih:{40 * 'b'}&tr={quote(tracker.url, safe='')}&dn={600 * 'x'}")
    visitor.wait_for_words("Nobody who has it is there", 60)
    assert page.get_by_text("memosync seed --detach").is_visible()
    assert page.inner_text("h1#title") == 500 * "x"
    assert visitor.tab.errors == []
