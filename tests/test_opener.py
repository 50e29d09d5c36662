"""The opener in Chromium: one page that opens whatever link stands behind its #, and keeps none.

Pictures of it are written to tests/artefacts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from support import matroska
from support.library import memos, only
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

from memosync import magnet

PICTURES = Path(__file__).parent / "artefacts"
TALLEST = """() => {
  const { data, width, height } = wave.getContext('2d').getImageData(0, 0, wave.width, wave.height)
  const filled = Array.from({ length: height }, (_, y) =>
    Array.from({ length: width }, (_, x) => data[4 * (y * width + x) + 3]).some(Boolean))
  return filled.filter(Boolean).length / height
}"""  # the highest bar, as a part of the canvas


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute of noise."""
    return noise(tmp_path_factory.mktemp("sound") / "noise.webm", 30, "-c:a", "libopus", "-b:a", "64k")


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
    visitor.seek(25)
    assert hear(visitor, sound) > 0.95
    visitor.wait_for_words("All of it is here", 60)
    visitor.wait_until(f"({TALLEST})() > 0.5", "the waveform")
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
    page.goto(f"file://{place}#{magnet.parse(magnet.split(link)[0]).infohash}")
    visitor.wait_for_words("This memo is private, and its link has no key", 60)
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
    page.goto(f"file://{place}#magnet:?xt=urn:btih:{40 * 'b'}&tr={quote(tracker.url, safe='')}")
    visitor.wait_for_words("Nobody who has it is there", 60)
    assert page.get_by_text("memosync seed --detach").is_visible()
    assert visitor.tab.errors == []
