"""Private memos in Chromium: a page that has the key opens what comes, and plays nothing that was altered."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import firefox, vmic
from support.library import only
from support.netns import Network
from support.program import Program
from support.sound import noise
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

from memosync.sealing import HEAD


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of noise, 4 MB."""
    options = ["-ac", "2", "-c:a", "libopus", "-b:a", "512k", "-vbr", "off", "-compression_level", "0"]
    return noise(tmp_path_factory.mktemp("sound") / "noise.webm", 60, *options)


def with_data(place: Path, name: str, **changes: Any) -> Path:
    """Write a page again with other data in it."""
    begin, data, end = re.split('(?<=id="memo">)(.*)(?=</script>\n<script)', place.read_text())
    other = place.with_name(name)
    other.write_text(begin + json.dumps(json.loads(data) | changes) + end)
    return other


def test_a_private_page_plays_while_it_loads_and_gives_the_plain_file(
    network: Network, author: Program, visit: Callable[..., Visitor], sound: Path, tmp_path: Path
) -> None:
    tracker, place = network.hosts[0].websocket_tracker(), tmp_path / "page.html"
    author("record", sound, "-t", "The merger", "-d", "The price is named at 0:40, not at 1:30.")
    author("seed", "--detach", "--up", "1M")
    shared = author("share", "last", "--tracker", tracker.url, "--page", place)
    assert "who has the page can listen" in shared.err

    visitor = visit(f"file://{place}#t=20", ASKED + as_soon_as_it_is_there(f"({LISTEN})(); play.click()"))
    page = visitor.tab.page
    visitor.wait_until("heard.first", "sound")
    begun, part = visitor.tab.run("() => [audio.currentTime, loaded.value]")

    assert visitor.tab.run("() => asked[0]") == 0  # without its head nothing is opened
    assert 20 <= begun < 25
    assert part < 0.9
    assert hear(visitor, sound) > 0.95
    page.get_by_role("button", name="From 0:40").click()
    visitor.wait_until("audio.currentTime > 40.3 && audio.currentTime < 45", "to play from the time that was clicked")
    assert page.locator("#description button").count() == 1
    assert hear(visitor, sound) > 0.95
    visitor.seek(5)
    assert hear(visitor, sound) > 0.95
    visitor.wait_for_words("All of it is here", 60)
    visitor.wait_until("document.getElementById('save').href", "the plain file")
    read = page.locator("body").aria_snapshot()
    controls = re.findall(r'^ *- (?:button|combobox|link|progressbar|region|slider)\b(?: "(.*?)")?', read, re.MULTILINE)
    assert len(controls) >= 12
    assert [name for name in controls if not re.search("[a-z]{3}", name)] == []  # what a screen reader says of it
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.path().read_bytes() == Path(only(author)["path"]).read_bytes()
    assert page.get_attribute("#magnet", "href") == shared.out.strip()
    assert visitor.tab.errors == []

    page.route("http://memos.example/**", lambda route: route.fulfill(path=place))
    page.goto("http://memos.example/page.html")
    assert "Open it by https or as a file" in visitor.says()


def test_what_the_key_does_not_open_and_what_was_altered_is_not_played(
    network: Network, author: Program, visit: Callable[..., Visitor], tmp_path: Path
) -> None:
    tracker, place = network.hosts[0].websocket_tracker(), tmp_path / "page.html"
    author("record", noise(tmp_path / "noise.webm", 8, "-c:a", "libopus", "-b:a", "128k"))
    author("share", "last", "--tracker", tracker.url, "--page", place)
    form = bytearray((author.library / ".memosync/sealed" / only(author)["sealed"]).read_bytes())
    wrong = with_data(place, "wrong.html", key=base64.b64encode(bytes(16)).decode())

    visitor = visit(f"file://{wrong}")
    visitor.wait_for_words("The key is not the one of this memo", 60)
    assert visitor.tab.run("() => audio.buffered.length") == 0

    form[HEAD + 4 * 16_400 + 100] ^= 1  # in the fifth chunk
    (tmp_path / "altered").write_bytes(form)
    seeded = visitor.tab.chromium.open().seed(tmp_path / "altered", "0123456789abcdef", tracker.url)
    visitor.tab.page.goto(f"file://{with_data(place, 'altered.html', infohash=seeded.infohash, torrent='')}")
    visitor.tab.page.click("#play")
    visitor.wait_for_words("This memo was altered", 60)
    assert (
        visitor.tab.run("() => audio.buffered.length ? audio.buffered.end(0) : 0") < 4.8
    )  # of 8 s; the fifth chunk ends behind 5
    assert visitor.tab.page.get_attribute("#save", "href") is None


def test_firefox_opens_a_private_memo_by_its_page_and_by_the_page_that_opens_any_link(
    network: Network, author: Program, tmp_path: Path
) -> None:
    tracker, place, opener = network.hosts[0].websocket_tracker(), tmp_path / "page.html", tmp_path / "open.html"
    author("record", noise(tmp_path / "noise.webm", 8, "-c:a", "libopus", "-b:a", "128k"), "-t", "The merger")
    author("share", "--page", opener, "--tracker", tracker.url)
    link = author("share", "last", "--tracker", tracker.url, "--page", place, "--link", f"file://{opener}").out.strip()
    key = only(author)["link"].partition("x.key=")[2][:26]
    element = "document.getElementById('{}')".format
    plays = f"!{element('audio')}.error && {element('audio')}.currentTime > 1 && {element('audio')}.duration"
    here = f"{element('save')}.href && {element('state')}.innerText"
    begins = f"{element('play')} && !{element('play')}.disabled && ({element('play')}.click(), document.title)"
    asked = [
        begins,
        plays,
        here,
        f"(location = {json.dumps(link)}, true)",
        "/open.html/.test(location) && document.readyState === 'complete'",
    ]
    asked += [
        begins.replace(" && (", f" && {element('title')}.innerText === 'The merger' && ("),
        plays,
        here,
        "location.href",
    ]

    command = [sys.executable, firefox.__file__, f"file://{place}", "60"]
    with vmic.plugged_in() as speaker:  # without an output Firefox plays nothing
        options = {"env": {**os.environ, **speaker.environment}, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = network.hosts[1].start(*command, text=True, **options)
        said, _ = process.communicate("\n".join(asked), timeout=300)
    found = [json.loads(line) for line in said.splitlines()]

    assert found[:1] == found[5:6] == ["The merger"]
    assert 7.9 < found[1] < 8.1
    assert 7.9 < found[6] < 8.1
    assert "All of it is here" in found[2]
    assert "All of it is here" in found[7]
    assert key not in found[8]
