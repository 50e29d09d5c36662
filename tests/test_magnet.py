"""Links: ours read by libtorrent, everybody's read by us, and nothing read into what is none."""

from __future__ import annotations

from urllib.parse import quote

import libtorrent as lt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memosync import magnet
from memosync.errors import TorrentError, UsageError
from memosync.magnet import InfoHash, Magnet

INFOHASH = InfoHash("c12fe1c06bba254a9dc9f519b335aa7c1367a88a")
BASE32 = "YEX6DQDLXISUVHOJ6UM3GNNKPQJWPKEK"
OTHER = 40 * "b"

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
infohashes = st.binary(min_size=20, max_size=20).map(lambda data: InfoHash(data.hex()))
keys = st.from_regex(r"\A[a-z]{1,3}\Z").filter(lambda key: key not in ("xt", "dn", "tr"))
magnets = st.builds(
    Magnet,
    infohash=infohashes,
    name=st.just("") | texts,
    trackers=st.lists(texts, max_size=3, unique=True).map(tuple),
    peers=st.lists(texts, max_size=3, unique=True).map(tuple),
    other=st.lists(st.tuples(keys, texts), max_size=3).map(tuple),
)


@given(magnets)
def test_a_magnet_is_one_plain_word_and_reads_back_the_same(link: Magnet) -> None:
    text = str(link)

    assert link == magnet.parse(text)
    assert text.isascii()
    assert text.isprintable()
    assert " " not in text


def test_libtorrent_reads_our_magnets() -> None:
    trackers = ["udp://127.0.0.1:6969/announce", "wss://tracker.example.com/a?b=c&d=e"]
    peers = ["127.0.0.1:6881", "[::1]:6882"]
    link = Magnet(infohash=INFOHASH, name="Straße & Co: 100 %", trackers=tuple(trackers), peers=tuple(peers))

    params = lt.parse_magnet_uri(str(link))

    assert str(params.info_hashes.v1) == INFOHASH
    assert ("Straße & Co: 100 %", trackers) == (params.name, params.trackers)
    assert params.peers == [("127.0.0.1", 6881), ("::1", 6882)]


def test_we_read_libtorrent_s_magnets() -> None:
    params = lt.parse_magnet_uri(f"magnet:?xt=urn:btih:{INFOHASH}")
    params.name, params.trackers = "Straße & Co", ["udp://127.0.0.1:6969/announce"]

    link = magnet.parse(lt.make_magnet_uri(params))

    assert (INFOHASH, "Straße & Co", tuple(params.trackers)) == (link.infohash, link.name, link.trackers)


@pytest.mark.parametrize(
    "link",
    [
        INFOHASH,
        INFOHASH.upper(),
        BASE32,
        BASE32.lower(),
        f"magnet:?xt=urn:btih:{INFOHASH}",
        f"MAGNET:?XT=URN:BTIH:{INFOHASH.upper()}",
        f"magnet:?xt=urn:btih:{BASE32}",
        f"magnet:?xt.1=urn:btih:{INFOHASH}&xt.2=urn:btmh:1220{64 * 'a'}",
        f"magnet:?xt=urn:btmh:1220{64 * 'a'}&xt=urn:btih:{INFOHASH}",
        f"magnet:?dn=first&tr=udp%3A%2F%2F1.2.3.4%3A5&xt=urn%3Abtih%3A{INFOHASH}",
        f"magnet:?xt=urn:sha1:{32 * 'A'}&xt=urn:btih:{INFOHASH}",
        f"magnet:?xt=urn:btih:{INFOHASH}&&=&x&dn",
    ],
)
def test_an_infohash_is_found_however_it_is_written(link: str) -> None:
    assert magnet.parse(link).infohash == INFOHASH


def test_every_part_is_found() -> None:
    link = magnet.parse(
        f"magnet:?xt=urn:btih:{INFOHASH}&dn=a+b%20c&tr=udp://a:1&tr.2=udp://b:2&tr=udp://a:1"
        "&x.pe=127.0.0.1:6881&x.pe=[::1]:6882&ws=http%3A%2F%2Fx%2F&xl=12&x.own=1"
    )

    assert (link.name, link.trackers) == ("a b c", ("udp://a:1", "udp://b:2"))
    assert link.peers == ("127.0.0.1:6881", "[::1]:6882")
    assert link.other == (("ws", "http://x/"), ("xl", "12"), ("x.own", "1"))


@pytest.mark.parametrize(
    ("link", "why"),
    [
        (f"magnet:?xt=urn:btmh:1220{64 * 'a'}", "v2"),
        (f"magnet:?xs=urn:btpk:{64 * 'a'}&xt=urn:btpk:{64 * 'a'}", "btpk"),
        ("magnet:?dn=name", "infohash"),
        (f"magnet:?xt=urn:btih:{INFOHASH[:-1]}", "infohash"),
        (f"magnet:?xt=urn:btih:{INFOHASH}0", "infohash"),
        (f"magnet:?xt=urn:btih:{40 * 'g'}", "infohash"),
        (f"magnet:?xt=urn:btih:{INFOHASH}%00", "infohash"),
        (f"magnet:?xt={INFOHASH}", "infohash"),
        ("magnet:", "not a link"),
        ("", "not a link"),
        (INFOHASH[:-1], "not a link"),
        ("file:///etc/passwd", "no memo"),
        ("https://example.org/", "no memo"),
        ("https://[::1", "address"),
        ("magnet:?" + 60_000 * "a=b&", "too many"),
        ("magnet:?" + 1_000_000 * "a", "longer"),
    ],
    ids=lambda text: text[:40],
)
def test_what_is_no_link_to_a_memo_is_refused_with_a_reason(link: str, why: str) -> None:
    with pytest.raises(TorrentError, match=why):
        [magnet.parse(part) for part in magnet.split(link)]


@given(st.text(max_size=40) | st.text("magnet:?xt=urnbih&.%0af", max_size=80).map("magnet:?".__add__))
def test_any_text_is_a_link_or_refused(text: str) -> None:
    try:
        links = [magnet.parse(part) for part in magnet.split(text)]
    except TorrentError:
        return
    assert all(magnet.parse_infohash(link.infohash) for link in links)


@pytest.mark.parametrize(
    "page", ["https://memos.example/share?", "http://localhost:5173/#/share?", "HTTPS://x/share?lang=en&"]
)
def test_a_share_link_of_the_browser_app_is_all_its_seeds_once_each(page: str) -> None:
    first, second = f"magnet:?xt=urn:btih:{INFOHASH}&dn=a%20b&tr=wss%3A%2F%2Fx", f"magnet:?xt=urn:btih:{OTHER}"
    link = page + "&".join("seeds=" + quote(seed, safe="") for seed in (first, second, first))

    assert [first, second] == magnet.split(f" {link}\n")


def test_another_link_is_itself_alone() -> None:
    link = f"magnet:?xt=urn:btih:{INFOHASH}&seeds=x"

    assert [link] == magnet.split(link)


def test_a_share_link_has_an_end() -> None:
    links = magnet.split("https://x/?" + "&".join(f"seeds={number:040x}" for number in range(20_000)))

    assert len(links) == magnet.MOST_SEEDS


bases = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["https://memos.example", "HTTP://localhost:5173", "http://[::1]:80", "file:///home/a/page.html"]),
    st.sampled_from(["", "/", "/share", "/a/b.html"]),
    st.sampled_from(["", "?", "?lang=en", "?lang=en&", "?a=b%26seed=s"]),
    st.sampled_from(["", "#", "#top", "#/share", "#/share?x=y", "#!/share?", "#top?"]),
)


@given(bases, st.lists(magnets, min_size=1, max_size=4))
def test_a_share_link_reads_back_as_its_magnets(base: str, links: list[Magnet]) -> None:
    texts = list(dict.fromkeys(map(str, links)))

    magnet.check_base(base)
    link = magnet.join(base, texts)

    assert texts == magnet.split(link)
    assert [magnet.parse(text) for text in magnet.split(link)] == list(dict.fromkeys(links))
    assert link.isprintable()
    assert " " not in link


@pytest.mark.parametrize(
    ("base", "link"),
    [
        ("https://x/share", "https://x/share?seeds=M&seeds=M"),
        ("https://x/share?lang=en", "https://x/share?lang=en&seeds=M&seeds=M"),
        ("https://x/share#top", "https://x/share?seeds=M&seeds=M#top"),
        ("https://x/#/share", "https://x/#/share?seeds=M&seeds=M"),
        ("https://x/?a=b#/share?c=d", "https://x/?a=b#/share?c=d&seeds=M&seeds=M"),
    ],
)
def test_the_seeds_come_where_a_page_looks_for_them(base: str, link: str) -> None:
    assert link == magnet.join(base, ["M", "M"])


@pytest.mark.parametrize(
    "base",
    [
        *(
            "",
            "memos.example",
            "ftp://x/",
            "https://",
            "https:x",
            "file:/x",
            "https://[::1",
            "https://a b/",
            "https://x/\n",
        ),
        *("https://x/?seeds=magnet:", "https://x/#/share?seeds=x", "https://x/?a=b&seeds=1", "https://" + 3_000 * "x"),
    ],
    ids=lambda base: base[:30],
)
def test_what_is_no_page_of_its_own_makes_no_share_links(base: str) -> None:
    with pytest.raises(UsageError):
        magnet.check_base(base)


def test_a_share_link_is_no_longer_than_fetch_takes() -> None:
    with pytest.raises(UsageError):
        magnet.join("https://x/", [f"magnet:?xt=urn:btih:{number:040x}" for number in range(magnet.MOST_SEEDS + 1)])
    with pytest.raises(UsageError):
        magnet.join("https://x/", [f"magnet:?xt=urn:btih:{INFOHASH}&dn={magnet.LONGEST_LINK * 'x'}"])


@given(st.text())
@example("0" * 81)
def test_a_link_in_a_message_is_short_and_one_line(text: str) -> None:
    short = magnet.shorten(text)

    assert len(short) <= 80
    assert not set(short) & set("\n\r\t\x1b\x9b\u202e")
