"""A page as text: what stands in it, what it may call, and when none is written. In browsers: test_page_in_a_tab."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import itertools
import json
import re
import resource
import struct
import time
import tomllib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import libtorrent as lt
import numpy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.program import Program
from support.sound import noise
from support.wide import widened

from memosync.audio import timeline, webm
from memosync.errors import UsageError
from memosync.network import DEFAULT_TRACKERS, Network, browser_trackers
from memosync.page import page
from memosync.page.page import Page
from memosync.torrent.webrtc import stun

EVIL = "</script><script>alert(1)</script>"
TRACKER = "ws://127.0.0.1:4000/announce"
ours = files("memosync.page")
NO_WORDS = {  # what has letters and a blank in the scripts, and is no sentence
    "button, a, summary",
    "textarea, select",
    "Enter",  # a key
    'audio/webm; codecs="opus"',
    'audio/webm; codecs=""',
    "memosync memo v1\\x01",  # of Cobblestone's context
    "(prefers-color-scheme: dark)",
    "(forced-colors: active)",
    "this piece is not here",  # for WebTorrent
}
LATER = ("live", "opener")  # words that the scripts say
READ = {"aria-description", "aria-label", "aria-roledescription", "aria-valuetext", "alt", "lang", "title"}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.text(
    "</script>!-[]&#;'\"\\`$ ", max_size=60
)


class Parsed(html.parser.HTMLParser):
    """A page as a browser reads it: elements with their attributes and their own text, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[int] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes), []))
        if tag not in ("meta", "link", "input", "path"):
            self._open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self.elements[self._open.pop()][0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open:
            self.elements[self._open[-1]][2].append(data)

    def texts(self, tag: str) -> list[str]:
        return ["".join(data) for name, _, data in self.elements if name == tag]

    def attribute(self, tag: str, name: str, **having: str) -> str:
        (found,) = [
            attributes[name]
            for other, attributes, _ in self.elements
            if other == tag and having.items() <= attributes.items()
        ]
        return str(found)

    @property
    def words(self) -> list[str]:
        """Everything that is read or read out, but for commands."""
        found = ["".join(data) for tag, _, data in self.elements if tag not in ("style", "script", "code")]
        return found + [value or "" for _, named, _ in self.elements for name, value in named.items() if name in READ]

    @property
    def policy(self) -> dict[str, list[str]]:
        text = self.attribute("meta", "content", **{"http-equiv": "Content-Security-Policy"})
        return {name: values for name, *values in (rule.split() for rule in text.split(";"))}

    @property
    def data(self) -> Any:
        return json.loads(self.texts("script")[0])


def a_page(**changes: Any) -> Page:
    """Make a page of something."""
    fields: dict[str, Any] = {
        "id": "7k3f9x2a",
        "title": "Weekly standup",
        "recorded": datetime(2026, 8, 25, 10, 11, tzinfo=UTC),
        "duration": 754.2,
        "size": 49_123,
        "name": "Weekly standup.webm",
        "infohash": 40 * "a",
        "link": f"magnet:?xt=urn:btih:{40 * 'a'}&dn=Weekly%20standup",
        "trackers": ["wss://tracker.example.com", TRACKER],
    }
    return Page(**{**fields, **changes})


def hash_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_webtorrent_is_the_build_that_is_named() -> None:
    origin = tomllib.loads((ours / "webtorrent/origin.toml").read_text())
    build = (ours / "webtorrent/webtorrent.min.js").read_bytes()

    assert origin["sha256"] == hashlib.sha256(build).hexdigest()


def test_the_page_has_webtorrent_whole_with_its_licence_and_names_no_source_map() -> None:
    text = page.write(a_page())
    build = (ours / "webtorrent/webtorrent.min.js").read_text()
    body, _, rest = build.partition("export{i as default};")

    assert body in text
    assert rest.strip().startswith("//# sourceMappingURL=")
    assert "sourceMappingURL" not in text
    assert all(line.strip() in text for line in (ours / "webtorrent/LICENSE").read_text().splitlines())


def test_a_page_says_what_the_memo_is() -> None:
    parsed = Parsed(page.write(a_page(description="Two\nlines", tags=("work", "sea & shore"))))

    assert parsed.texts("title") == parsed.texts("h1") == ["Weekly standup"]
    assert parsed.texts("time")[0] == "Tuesday, 25 August 2026, 10:11"
    assert parsed.texts("li") == ["work", "sea & shore"]
    assert "Two\nlines" in parsed.texts("p")
    assert parsed.attribute("a", "href", id="magnet") == a_page().link
    assert "12 minutes 34 seconds" in parsed.texts("span")


def scripts() -> str:
    """Give the page's own scripts without their comments."""
    return re.sub(r"(?m)(^|\s)//.*$", "", "".join((ours / name).read_text() for name in (*page.BEFORE, *page.AFTER)))


def places(words: Any) -> set[str]:
    """Find the names in braces in a text or in a list of forms."""
    return set(re.findall(r"\{(\w+)\}", words if isinstance(words, str) else " ".join(words)))


def numbered(words: Any, count: Iterator[int]) -> Any:
    """Put something at the end of every text that tells it from all others, and that HTML has to escape."""
    if isinstance(words, dict):
        return {key: numbered(value, count) for key, value in words.items()}
    return f'{words} "&<!--{next(count)}.' if isinstance(words, str) else [numbered(value, count) for value in words]


def test_every_word_of_a_page_is_translated_where_the_words_are_and_none_is_unused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = itertools.count()
    words = widened({name: numbered(table, count) for name, table in page.words().items() if name not in LATER})
    words |= {name: widened(page.words()[name]) for name in LATER}
    monkeypatch.setattr(page, "words", lambda: words)
    nameless = {"id": "1", "title": "2", "tags": ("3",), "link": "#4"}
    dates = [datetime(2026, 1, 5, tzinfo=UTC) + timedelta(days=31 * month) for month in range(12)]  # each weekday, too
    pages = [a_page(**nameless, recorded=date) for date in dates]
    pages += [a_page(**nameless, duration=seconds) for seconds in (0, 3661, 7322)]
    pages.append(a_page(**nameless, key=bytes(16)))

    written = [*map(page.write, pages), page.write_opener([TRACKER], "", near=True)]
    said = [text for each in written for text in Parsed(each).words]

    assert [text for text in said if re.search("[A-Za-z{}]", text)] == []
    assert {int(number) for number in re.findall(r"\"&<!--(\d+)\.", "".join(said))} == set(range(next(count)))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (60, "1 minute"),
        (3_602, "1 hour 2 seconds"),
        (7_321, "2 hours 2 minutes 1 second"),
    ],
)
def test_a_duration_is_read_out_in_words(seconds: float, words: str) -> None:
    parsed = Parsed(page.write(a_page(duration=seconds)))

    assert words in parsed.texts("span")


def test_there_are_no_words_in_the_scripts() -> None:
    quoted = re.findall(r"'((?:[^'\\\n]|\\.)*)'|`([^`]*)`", scripts())
    fixed = {re.sub(r"\$\{.*?\}", "", text) for texts in quoted for text in texts}

    assert {text for text in fixed if re.search(r"[A-Za-z].*\s|\s.*[A-Za-z]|^[A-Z][a-z]*$", text)} == NO_WORDS


def test_the_scripts_ask_for_every_word_that_they_are_given_and_for_no_other() -> None:
    asked = set(re.findall(r"\bwords\.(\w+)", scripts()))

    assert asked == set(Parsed(page.write_opener([], "", near=False)).data["words"])


def test_the_scripts_put_something_into_every_place_in_a_sentence() -> None:
    live = page.words()["live"] | page.words()["opener"]
    filled = re.findall(r"fill\(words\.(\w+)(?:\[\w+\])?, \{ (.*?) \}\)", scripts())
    given = {name: set(re.findall(r"(?:^|, )(\w+)(?=: |, |$)", values)) for name, values in filled}
    given |= {name: {"count"} for name in re.findall(r"count\(words\.(\w+)", scripts())}

    assert given == {name: places(words) for name, words in live.items() if places(words)}


@given(texts, texts, st.lists(texts, max_size=3), texts)
@example(EVIL, EVIL, [EVIL], EVIL)
@example("\u2028\u2029$title${data}", "<!--<script>", ["]]>"], "\"'><img src=x onerror=alert(1)>")
def test_whatever_it_is_called_a_page_has_the_same_elements(
    title: str, description: str, tags: list[str], name: str
) -> None:
    words = {"title": title, "description": description + ".", "tags": tags, "name": name, "link": "magnet:?" + name}

    parsed = Parsed(page.write(a_page(**words)))
    plain = Parsed(page.write(a_page(description="x", tags=["x"] * len(tags))))

    assert [tag for tag, _, _ in plain.elements] == [tag for tag, _, _ in parsed.elements]
    assert (parsed.data["title"], parsed.data["name"]) == (title, name)
    assert plain.texts("script")[1] == parsed.texts("script")[1]


@given(texts)
@example("\u2028\u2029" + EVIL)
def test_the_data_of_a_page_ends_no_script_and_no_line(title: str) -> None:
    (line,) = re.findall(
        '<script type="application/json" id="memo">(.*)</script>\n<script', page.write(a_page(title=title))
    )

    assert not set(line) & set("<>&\u2028\u2029")


def test_the_policy_allows_these_scripts_and_styles_the_trackers_and_nothing_else() -> None:
    parsed = Parsed(page.write(a_page()))

    assert parsed.policy == {
        "default-src": ["'none'"],
        "script-src": [hash_of(parsed.texts("script")[1])],
        "style-src": [hash_of(parsed.texts("style")[0])],
        "img-src": ["data:"],
        "media-src": ["blob:"],
        "connect-src": ["wss://tracker.example.com", "ws://127.0.0.1:4000"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "require-trusted-types-for": ["'script'"],
        "trusted-types": ["'none'"],
    }


def test_a_page_names_no_host_but_its_trackers_and_has_no_style_or_handler_in_an_element() -> None:
    parsed = Parsed(page.write(a_page()))
    sources = "".join(
        (ours / name).read_text() for name in ("page.html", "page.css", *page.BEFORE, *page.AFTER)
    ).replace("http://www.w3.org/2000/svg", "")

    assert re.findall(r"(?:https?|wss?):?//", sources) == []
    names = {name for tag, attributes, _ in parsed.elements for name in attributes}
    assert {name for name in names if name.startswith("on") or name in ("style", "src", "srcset", "action")} == set()
    assert {attributes["rel"] for tag, attributes, _ in parsed.elements if tag == "link"} == {"icon"}


def test_a_page_has_the_scripts_it_needs_and_one_of_a_private_memo_3_kb_more() -> None:
    public, private = page.write(a_page()), page.write(a_page(key=bytes(16)))

    assert len(private.encode()) - len(public.encode()) < 3_000
    assert ["class Sealed" in text for text in (public, private)] == [False, True]
    assert "linksIn" not in public + private


@pytest.mark.parametrize(("near", "hosts"), [(True, ["wss:", "ws://127.0.0.1:*"]), (False, ["wss:"])])
def test_the_policy_of_the_opener_is_that_of_a_page_but_for_the_trackers(near: bool, hosts: list[str]) -> None:
    parsed, other = Parsed(page.write_opener([TRACKER], "", near=near)), Parsed(page.write(a_page()))

    assert parsed.policy["connect-src"] == ["ws://127.0.0.1:4000", *hosts]
    assert parsed.policy["script-src"] == [hash_of(parsed.texts("script")[1])]
    assert {name: rule for name, rule in parsed.policy.items() if name not in ("connect-src", "script-src")} == {
        name: rule for name, rule in other.policy.items() if name not in ("connect-src", "script-src")
    }


def test_no_word_of_a_page_is_one_of_the_trade() -> None:
    said = " ".join(str(list(page.words()[name].values())) for name in ("text", *LATER)).lower()

    assert (
        set(re.findall(r"\w+", said)) & {"peer", "peers", "piece", "pieces", "fingerprint", "swarm", "infohash"}
        == set()
    )


def test_the_opener_is_written_without_a_memo_and_nothing_is_started(memosync: Program, tmp_path: Path) -> None:
    place = tmp_path / "open.html"

    result = memosync("share", "--page", place)

    assert result.out == ""
    assert "could read the keys" in result.err
    assert Parsed(place.read_text()).policy["connect-src"] == ["wss:", "ws://127.0.0.1:*"]
    assert not memosync.library.exists()
    assert "exists" in memosync("share", "--page", place, code=UsageError.exit_code).err
    assert "--tracker" in memosync("share", "--page", place, "--public", code=UsageError.exit_code).err


def test_a_browser_may_call_websocket_trackers_that_a_policy_can_name() -> None:
    urls = ["udp://a:1", "wss://b", "http://c/announce", "ws://10.0.0.1:4000/announce", "ws://[fd77::1]:4000", "x"]

    assert browser_trackers(urls) == ["wss://b", "ws://10.0.0.1:4000/announce"]
    assert browser_trackers(DEFAULT_TRACKERS)


def test_a_stun_server_is_asked_in_public_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEMOSYNC_STUN", raising=False)
    assert stun.server_for(Network.PUBLIC) == lt.default_settings()["webtorrent_stun_server"]

    for named in ("stun.example.com:3478", ""):
        monkeypatch.setenv("MEMOSYNC_STUN", named)
        assert {network.value: stun.server_for(network) for network in Network} == {
            "public": named,
            "lan": "",
            "loopback": "",
        }


@pytest.mark.parametrize(
    ("options", "codec"), [(["-c:a", "libopus"], "opus"), (["-c:a", "libvorbis", "-ac", "2"], "vorbis")]
)
def test_clusters_are_where_ffmpeg_wrote_them(options: list[str], codec: str, tmp_path: Path) -> None:
    path = noise(tmp_path / "noise.webm", 19, *options)
    data = path.read_bytes()

    found = webm.timeline_of(path)

    assert found.codec == codec
    assert [offset for _, offset in found.clusters] == [
        match.start() for match in re.finditer(b"\x1f\x43\xb6\x75", data)
    ]
    assert [round(seconds) for seconds, _ in found.clusters] == [0, 5, 10, 15]


BLOCK = b"\xfc\xff\xfe"  # 20 ms of silence (RFC 6716)


def element(name: str, data: bytes, size: str = "") -> bytes:
    """Make an EBML element (RFC 8794), with another size than it has if need be."""
    return bytes.fromhex(name + (size or f"{len(data) | 1 << 28:08x}")) + data


def without_cues(path: Path, times: Iterable[int], size: str = "") -> list[int]:
    """Write a file as browsers do, a cluster of three blocks at each time (ms), and give where the clusters begin."""
    head = element("86", b"A_OPUS") + element("83", b"\2") + element("d7", b"\1") + element("73c5", b"\1")
    head += element("63a2", b"OpusHead\1\1\0\0\x80\xbb\0\0\0\0\0")
    head += element("e1", element("b5", struct.pack(">f", 48_000)) + element("9f", b"\1"))
    tracks = element("1654ae6b", element("ae", head))
    info = element("1549a966", element("2ad7b1", (1_000_000).to_bytes(3, "big")))
    parts = [
        element("1a45dfa3", element("4282", b"webm")) + element("18538067", b"", "01ffffffffffffff") + info + tracks
    ]
    for start in times:
        blocks = [element("a3", b"\x81" + struct.pack(">hB", at, 0x80) + BLOCK) for at in (0, 20, 40)]
        parts.append(element("1f43b675", element("e7", start.to_bytes(4, "big")) + b"".join(blocks), size))
    path.write_bytes(b"".join(parts))
    return list(itertools.accumulate(map(len, parts)))[:-1]


@pytest.mark.parametrize("size", ["", "01ffffffffffffff"], ids=["told", "unknown"])
def test_clusters_without_cues_are_found_as_browsers_write_them(tmp_path: Path, size: str) -> None:
    offsets = without_cues(tmp_path / "live.webm", [0, 990, 70_000], size)

    found = webm.timeline_of(tmp_path / "live.webm")

    assert (found.codec, found.clusters) == ("opus", tuple(zip([0.0, 0.06, 0.12], offsets, strict=True)))


def test_cues_that_lie_are_not_believed(tmp_path: Path) -> None:
    path = noise(tmp_path / "noise.webm", 19, "-c:a", "libopus", "-cues_to_front", "1")
    data = bytearray(path.read_bytes())
    before = webm.timeline_of(path).clusters
    third = data.index(b"\xf1", data.index(b"\xb3", data.index(b"\x1c\x53\xbb\x6b")) + 60)  # CueClusterPosition
    data[third + 2] ^= 0x40
    path.write_bytes(data)

    assert webm.timeline_of(path).clusters == before


def test_a_long_memo_has_a_thousand_clusters_at_most(tmp_path: Path) -> None:
    without_cues(tmp_path / "long.webm", range(0, 2_001_000, 1_000))

    found = webm.timeline_of(tmp_path / "long.webm").clusters

    assert [round(seconds / 0.06) for seconds, _ in found] == list(range(0, 2_001, 3))


def test_a_file_of_nothing_but_small_clusters_takes_neither_long_nor_much_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "many.webm"
    without_cues(path, [0])
    tiny = bytes.fromhex("1f43b675 8f e784 00000000 a387 81000080") + BLOCK
    clusters = numpy.tile(numpy.frombuffer(tiny, numpy.uint8), (1_000_000, 1))
    clusters[:, 7:11] = numpy.arange(1, 1_000_001, dtype=">u4").view(numpy.uint8).reshape(-1, 4)
    with path.open("ab") as file:
        file.write(clusters.tobytes())

    whole = webm.timeline_of(path)
    monkeypatch.setattr(timeline, "PATIENCE", 0.2)
    before = time.thread_time()
    with path.open("rb") as file:
        late = timeline.read(file)

    assert 500 < len(whole.clusters) <= 1_000
    assert whole.clusters[0] == late.clusters[0]
    assert late.clusters[-1] < whole.clusters[-1]
    assert (whole.whole, whole.late, late.whole, late.late) == (True, False, False, True)
    assert time.thread_time() - before < 0.2 + 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1_000_000  # kB


@pytest.mark.parametrize("data", [b"", b"OggS" + bytes(100), bytes(100_000)], ids=["nothing", "Ogg", "zeros"])
def test_what_is_no_webm_has_no_clusters(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "memo.webm").write_bytes(data)

    assert webm.timeline_of(tmp_path / "memo.webm").clusters == ()


@pytest.fixture(scope="module", params=["0", "1"], ids=["cues behind", "cues in front"])
def clustered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file with several clusters."""
    options = ["-c:a", "libopus", "-b:a", "6k", "-cues_to_front", request.param]
    return noise(tmp_path_factory.mktemp("clusters") / "noise.webm", 12, *options)


@given(junk=st.binary(max_size=200), at=st.integers(0, 8_000))
@example(junk=b"\0\x10\0\0\0\0\0", at=113)  # 280 terabytes long: more than any seek takes
@example(junk=b"\xec\x01" + b"\xf0" * 7, at=0)
def test_a_broken_file_has_the_clusters_before_it_breaks(clustered: Path, junk: bytes, at: int) -> None:
    whole = [start for start in webm.timeline_of(clustered).clusters if start[1] < at - 100]  # of one, a whole block
    broken = clustered.with_name("broken.webm")
    broken.write_bytes(clustered.read_bytes()[:at] + junk)

    found = webm.timeline_of(broken).clusters

    assert [offset for _, offset in whole] == [offset for _, offset in found[: len(whole)]]
    assert [seconds for seconds, _ in whole] == pytest.approx([seconds for seconds, _ in found[: len(whole)]], abs=0.01)
    assert sorted({seconds for seconds, _ in found}) == [seconds for seconds, _ in found]
    assert sorted({offset for _, offset in found}) == [offset for _, offset in found]
    assert all(offset < broken.stat().st_size for _, offset in found)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of noise."""
    return noise(tmp_path_factory.mktemp("sound") / "noise.webm", 2, "-c:a", "libopus")


def shares_nothing(memosync: Program) -> bool:
    return '"shared": true' not in memosync("list", "--json").out


def test_share_writes_a_page_and_prints_the_link_alone(memosync: Program, sound: Path, tmp_path: Path) -> None:
    memo = memosync("record", sound, "-t", EVIL, "-d", "Said it", "--tag", "work").out.strip()
    place = tmp_path / "page.html"

    result = memosync(
        "share", memo, "--public", "--no-seed", "--tracker", TRACKER, "--tracker", "udp://127.0.0.1:1", "--page", place
    )
    parsed = Parsed(place.read_text())

    (link,) = result.lines
    assert str(place) in result.err
    assert parsed.texts("h1") == [EVIL]
    assert f"memosync share --public {memo}" in parsed.texts("code")
    assert parsed.attribute("a", "href", id="magnet") == link
    torrent = lt.torrent_info(base64.b64decode(parsed.data["torrent"]))
    assert (str(torrent.info_hash()), torrent.name()) == (parsed.data["infohash"], parsed.data["name"])
    assert (parsed.data["infohash"], parsed.data["trackers"], parsed.data["stun"]) == (link[20:60], [TRACKER], "")
    assert parsed.data["size"] == next(memosync.library.glob("*.webm")).stat().st_size
    assert len(parsed.data["heights"]) == 20
    assert min(parsed.data["heights"]) > 50
    assert parsed.data["type"] == 'audio/webm; codecs="opus"'
    assert parsed.data["clusters"][0][0] == 0


def test_a_page_is_made_by_a_seeder_that_serves(memosync: Program, sound: Path, tmp_path: Path) -> None:
    memosync("record", sound)

    link = memosync("share", "last", "--public", "--tracker", TRACKER, "--page", tmp_path / "page.html").out.strip()

    assert "x.pe=127.0.0.1" in link
    assert Parsed((tmp_path / "page.html").read_text()).attribute("a", "href", id="magnet") == link


def test_without_a_tracker_for_browsers_no_page_is_written_and_nothing_is_shared(
    memosync: Program, sound: Path, tmp_path: Path
) -> None:
    memosync("record", sound)
    place = tmp_path / "page.html"

    for options in (["--network", "loopback"], ["--network", "lan"]):
        for tracker in ([], ["--tracker", "udp://127.0.0.1:1"]):
            result = memosync(
                *options, "share", "last", "--public", *tracker, "--page", place, code=UsageError.exit_code
            )
            assert (result.out, result.err.count("\n")) == ("", 2)
            assert "no browser" in result.err
            assert "--tracker ws" in result.err
            assert "npx bittorrent-tracker@9 --ws" in result.err  # one that can be had

    hint = memosync("share", "last", "--page", place, code=UsageError.exit_code).err
    (tracker,) = re.findall(r"hint: --tracker (ws://127\S+),", hint)
    assert not place.exists()
    assert shares_nothing(memosync)
    memosync("share", "last", "--no-seed", "--tracker", tracker, "--page", place)
    assert place.exists()


@pytest.mark.parametrize(
    ("place", "why"),
    [("-", "standard output"), ("there.html", "exists"), ("no/where.html", "no directory"), (".", "exists")],
)
def test_a_page_that_has_no_place_is_refused_before_anything_is_done(
    place: str, why: str, memosync: Program, sound: Path, tmp_path: Path
) -> None:
    memosync("record", sound)
    there = tmp_path / "there.html"
    there.write_text("mine")

    path = place if place == "-" else tmp_path / place
    result = memosync("share", "last", "--public", "--tracker", TRACKER, "--page", path, code=UsageError.exit_code)

    assert why in result.err
    assert there.read_text() == "mine"
    assert shares_nothing(memosync)


def test_force_replaces_a_page(memosync: Program, sound: Path, tmp_path: Path) -> None:
    memosync("record", sound)
    place = tmp_path / "page.html"
    place.write_text("an older one")

    memosync("share", "last", "--public", "--no-seed", "--tracker", TRACKER, "--page", place, "--force")

    assert place.read_text().startswith("<!doctype html>")


def test_a_page_is_for_one_memo(memosync: Program, sound: Path, tmp_path: Path) -> None:
    memosync("record", "--again", sound, sound)

    result = memosync("share", "--all", "--tracker", TRACKER, "--page", tmp_path / "x.html", code=UsageError.exit_code)

    assert "one memo" in result.err
    assert shares_nothing(memosync)


def test_a_page_that_cannot_be_written_is_told_beside_the_link(memosync: Program, sound: Path, tmp_path: Path) -> None:
    memosync("record", sound)

    result = memosync(
        "share", "last", "--public", "--no-seed", "--tracker", TRACKER, "--page", "/proc/page.html", code=6
    )

    assert "cannot write /proc/page.html" in result.err
    assert result.out.startswith("magnet:?xt=urn:btih:")
