"""Links: ours read by libtorrent, everybody's read by us, and nothing read into what is none."""

from __future__ import annotations

import base64
import contextlib
import re
import time
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
KEY = "mfrggzdfmztwq2lknnwg23tpoa"

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
infohashes = st.binary(min_size=20, max_size=20).filter(any).map(lambda data: InfoHash(data.hex()))
keys = st.from_regex(r"\A[a-z]{1,3}\Z").filter(lambda key: key not in ("xt", "dn", "tr"))
magnets = st.builds(
    Magnet,
    infohash=infohashes,
    key=st.just(b"") | st.binary(min_size=16, max_size=16),
    name=st.just("") | texts,
    trackers=st.lists(texts, max_size=3, unique=True).map(tuple),
    peers=st.lists(texts, max_size=3, unique=True).map(tuple),
    other=st.lists(st.tuples(keys, texts), max_size=3).map(tuple),
)


@given(magnets)
@example(Magnet(infohash=INFOHASH, name="Call with Dr."))
@example(Magnet(infohash=INFOHASH, peers=("]",)))
def test_a_magnet_is_one_plain_word_and_reads_back_the_same(link: Magnet) -> None:
    text = str(link)

    assert link == magnet.parse(text)
    assert [text] == magnet.split(text)
    assert [text] == magnet.unwrap(text)
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
        (40 * "0", "zeros"),
        (32 * "A", "zeros"),
        (f"magnet:?xt=urn:btih:{40 * '0'}&tr=udp://a:1", "zeros"),
        (f"https://instant.io/#{40 * '0'}", "zeros"),
        (f"{INFOHASH}.{KEY[:-1]}", "key"),
        (f"{INFOHASH}.{KEY[:-1]}b", "key"),  # its last two bits are not 0
        (f"magnet:?xt=urn:btih:{INFOHASH}&x.key={KEY}a", "key"),
        (f"magnet:?xt=urn:btih:{INFOHASH}&x.key={KEY}&x.key={26 * 'a'}", "two"),
        (f"magnet:?xt=urn:btih:{INFOHASH}.{KEY}&x.key={26 * 'a'}", "two"),
        (f"{INFOHASH}.webm", "not a link"),
        ("http://127.0.0.1:1/memo.torrent", "no memo"),
        (f"https://github.com/a/b/commit/{INFOHASH}", "no memo"),
        (f"https://example.org/?token={BASE32}", "no memo"),
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


@pytest.mark.parametrize(
    "link",
    [
        f"{INFOHASH}.{KEY}",
        f"{INFOHASH}.{KEY}".upper(),
        f"“{INFOHASH}.{KEY}”.",
        f"magnet:?xt=urn:btih:{INFOHASH}&x.key={KEY}&tr=udp://a:1",
        f"magnet:?xt=urn:btih:{INFOHASH}&amp;X.KEY={KEY.upper()}",
        f"magnet:?xt=urn:btih:{INFOHASH}.{KEY}&tr=udp://a:1",
        quote(f"magnet:?xt=urn:btih:{INFOHASH}&x.key={KEY}", safe=""),
        f"https://memos.example/open.html#{INFOHASH}.{KEY}",
        f"https://memos.example/#?seeds=magnet%3A%3Fxt%3Durn%3Abtih%3A{INFOHASH}%26x.key%3D{KEY}",
        f"magnet:?x.key={KEY}&x.key={KEY}&xt=urn:btih:{INFOHASH}",
    ],
    ids=lambda text: text[:40],
)
def test_a_private_link_has_a_key_in_whatever_form_it_comes(link: str) -> None:
    (found,) = (magnet.parse(part) for part in magnet.split(link))

    assert (found.infohash, found.key) == (INFOHASH, base64.b32decode(KEY.upper() + "======"))
    assert KEY not in magnet.shorten(link).lower()


@pytest.mark.parametrize(
    "link",
    [
        f"{BASE32}.{KEY}",
        f"{INFOHASH[:-1]}.{KEY}",
        f"{INFOHASH}a.{KEY}",
        *(f"{INFOHASH}{mark}{KEY}" for mark in ("#", ":", "/", "%2E", "&#46;")),
        f"{INFOHASH}.{KEY[:7]}",
        f"{INFOHASH}.{KEY[:3]}0{KEY[4:]}",
        f"magnet:?x.key.1={KEY}&xt=urn:btih:x",
        f"magnet:?x.key=={KEY}",
        f"x.key=%20{KEY}",
        KEY,
    ],
)
def test_no_message_says_what_may_be_a_key(link: str) -> None:
    said = magnet.shorten(link, 300).lower()

    assert not any(KEY[at : at + 6] in said for at in range(len(KEY) - 5))


def test_the_key_stands_right_behind_what_it_opens() -> None:
    link = Magnet(infohash=INFOHASH, key=magnet.parse_key(KEY), name="x", trackers=("udp://a:1",), peers=("[::1]:1",))

    assert str(link) == f"magnet:?xt=urn:btih:{INFOHASH}&x.key={KEY}&dn=x&tr=udp%3A%2F%2Fa%3A1&x.pe=[::1]:1"


@pytest.mark.parametrize("base", ["https://a.example/open.html", "https://a.example/#/share", "https://a.example/?a=b"])
def test_nothing_of_a_private_link_is_sent_to_the_host_of_a_page(base: str) -> None:
    private = str(Magnet(infohash=INFOHASH, key=magnet.parse_key(KEY)))

    link = magnet.join(base, [private, f"magnet:?xt=urn:btih:{OTHER}"])

    assert link.partition("#")[0] == base.partition("#")[0]
    assert [private, f"magnet:?xt=urn:btih:{OTHER}"] == magnet.split(link)


FULL = f"magnet:?xt=urn:btih:{INFOHASH}&dn=Call%20with%20Dr.%20Kim%20(2)&tr=udp%3A%2F%2Fa%3A1"
FULL += "&tr=wss%3A%2F%2Fb%2F%3Fc%26d&x.pe=[::1]:6881"
RAW = f"magnet:?xt=urn:btih:{INFOHASH}&dn=a b&tr=udp://a:1&tr=http://b/announce"
APOSTROPHE = RAW.replace("a b", "Bob's talk")
ESCAPED = FULL.replace("&", "&amp;")
ENCODED = quote(FULL, safe="")
WRAPPED = [FULL[at : at + 72] for at in range(0, len(FULL), 72)]
BARE = f"magnet:?xt=urn:btih:{INFOHASH}"
PASTED: list[tuple[str | bytes, str]] = [
    # HTML
    (ESCAPED, FULL),
    (FULL.replace("&", "&#38;"), FULL),
    (FULL.replace("&", "&#038;"), FULL),
    (FULL.replace("&", "&#x26;"), FULL),
    (FULL.replace("&", "&AMP;"), FULL),
    (FULL.replace("&", "&amp;amp;"), FULL),
    (FULL.replace("&", "&amp;#38;"), FULL),
    (f"&lt;{ESCAPED}&gt;", FULL),
    (f"&quot;{ESCAPED}&quot;", FULL),
    (f'<a href="{ESCAPED}">{ESCAPED}</a>', FULL),
    (f"<a class='x' href='{ESCAPED}' title='y'>the memo</a>", FULL),
    (f"<code>{ESCAPED}</code>", FULL),
    (f"{ESCAPED}<br>", FULL),
    # percent-encoded whole
    (ENCODED, FULL),
    (re.sub("%..", lambda found: found[0].lower(), ENCODED), FULL),
    (quote(ENCODED, safe=""), FULL),
    (f"magnet:{quote(FULL[7:], safe='')}", FULL),
    (f"magnet:?{quote(FULL[8:], safe='')}", FULL),
    (quote(ESCAPED, safe=""), FULL),
    (f"“{ENCODED}”", FULL),
    (quote(f"https://instant.io/#{INFOHASH}", safe=""), BARE),
    # the scheme
    (FULL.replace("magnet:?", "magnet:///?"), FULL),
    (FULL.replace("magnet:?", "magnet://?"), FULL),
    (FULL.replace("magnet:?", "magnet:/?"), FULL),
    (FULL.replace("magnet:?", "magnet:"), FULL),
    (FULL.replace("magnet:?", "magnet:?&"), FULL),
    (FULL.replace("magnet:?", "MAGNET:?"), FULL),
    (FULL.removeprefix("magnet:"), FULL),
    (FULL.removeprefix("magnet:?"), FULL),
    (FULL.removeprefix("magnet:?xt="), FULL),
    (f"urn:btih:{INFOHASH}", BARE),
    (f"URN:BTIH:{INFOHASH.upper()}", BARE),
    (f"btih:{BASE32}", BARE),
    (f"BTIH:{INFOHASH}", BARE),
    (f"urn%3Abtih%3A{INFOHASH}", BARE),
    (f"xt=urn:btih:{INFOHASH}", BARE),
    (RAW, RAW),
    # quotation marks and brackets
    *((f"{opener}{FULL}{closer}", FULL) for opener, closer in ('""', "''", "``", "“”", "„“", "„”", "«»", "»«", "‘’")),
    *((f"{opener}{FULL}{closer}", FULL) for opener, closer in ("()", "<>", "[]", "{}", "「」", "‹›")),
    (f"(<{FULL}>)", FULL),
    (f"```{FULL}```", FULL),
    (f"'{APOSTROPHE}'", APOSTROPHE),
    *((f"{opener}{INFOHASH}{closer}", BARE) for opener, closer in ('""', "<>", "“”", "()", "[]")),
    (f"<URL:{FULL}>", FULL),
    # of a text
    (f"[the memo]({FULL})", FULL),
    (f"[the (first) memo](<{FULL}>)", FULL),
    (f'[memo]({FULL} "a title").', FULL),
    (f"[from https://example.org]({FULL})", FULL),
    (f"[1]: {FULL}", FULL),
    (f"[url={FULL}]memo[/url]", FULL),
    (f"[url]{FULL}[/url]", FULL),
    (f"[[{FULL}][memo]]", FULL),
    (f"<{FULL}|memo>", FULL),
    (f"Here it is: {FULL}", FULL),
    (f"> {FULL}", FULL),
    (f"memosync fetch '{FULL}'", FULL),
    *((f"{FULL}{end}", FULL) for end in (".", ",", ";", "!", "...", ")", ").", "]", '"', "”", ">", ">.")),
    *((f"{INFOHASH}{end}", BARE) for end in (".", ",", ")", '".')),
    (f"magnet:?xt=urn:btih:{INFOHASH}&dn=a(2)", f"magnet:?xt=urn:btih:{INFOHASH}&dn=a(2)"),
    (f"(magnet:?xt=urn:btih:{INFOHASH}&dn=a(2))", f"magnet:?xt=urn:btih:{INFOHASH}&dn=a(2)"),
    # what nobody sees
    (f"\ufeff{FULL}", FULL),
    (f"\u200b{FULL}\u200b", FULL),
    ("\u200b".join(WRAPPED), FULL),
    ("\u2060".join(WRAPPED), FULL),
    ("\u00ad".join(WRAPPED), FULL),
    (f"\u200e{INFOHASH[:20]}\u200d{INFOHASH[20:]}\u200f", BARE),
    (f"\u202a{FULL}\u202c", FULL),
    (f"\u00a0{FULL}\u3000", FULL),
    # bytes
    (FULL.encode("utf-8-sig"), FULL),
    (FULL.encode("utf-16"), FULL),
    (b"\xfe\xff" + FULL.encode("utf-16-be"), FULL),
    (f"\r\n{FULL}\r\n".encode("utf-16-le"), FULL),
    (FULL.encode("utf-16-be"), FULL),
    # in lines
    ("\n".join(WRAPPED), FULL),
    ("\r\n".join(WRAPPED), FULL),
    ("  \n    ".join(WRAPPED), FULL),
    ("\n".join(f"> {line}" for line in WRAPPED), FULL),
    (f"<{ESCAPED[:90]}\n{ESCAPED[90:]}>", FULL),
    (f"magnet:?xt=urn:btih:\n{FULL[20:]}", FULL),
    (f"{RAW[:-17]}\n{RAW[-17:]}", RAW),
    (f"{ENCODED[:50]}\n{ENCODED[50:]}", FULL),
    (f"\n\n{FULL}\n\n", FULL),
    # web apps
    (f"https://instant.io/#{INFOHASH}", BARE),
    (f"https://instant.io/#{BASE32}", BARE),
    (f"https://instant.io/#{ENCODED}", FULL),
    (f"https://instant.io/#{FULL}", FULL),
    (f"https://btorrent.xyz/#{INFOHASH}", BARE),
    (f"https://btorrent.xyz/view#{FULL}", FULL),
    (f"https://btorrent.xyz/view#{ENCODED}", FULL),
    (f"https://btorrent.xyz/view#{INFOHASH}?x=1", BARE),
    (f"https://webtor.example/#/{INFOHASH}", BARE),
    (f"https://webtor.example/#!/show?magnet={ENCODED}", FULL),
    (f"https://webtor.example/show?magnet={ENCODED}&lang=en", FULL),
    (f"https://webtor.example/show?lang=en&magnet={FULL}", FULL),
    (f"https://webtor.example/show?magnet={FULL}#top", FULL),
    (f"https://example.org/?infohash={INFOHASH}", BARE),
    (f"https://example.org/torrent?hash={INFOHASH.upper()}&x=1", BARE),
    (f"https://example.org/?{ENCODED}", FULL),
    (f"https://example.org/?{FULL[8:]}", FULL),
    (f"https://example.org/#{FULL[8:]}", FULL),
    (f"https://example.org/#btih:{INFOHASH}", BARE),
    (f"<https://instant.io/#{INFOHASH}>.", BARE),
    (f"[memo](https://instant.io/#{INFOHASH})", BARE),
    (f"HTTPS://INSTANT.IO/#{INFOHASH.upper()}", BARE),
    (f"https://memos.example/share?seeds={ENCODED}&amp;lang=en", FULL),
    (f"https://memos.example/open.html#?seeds={ENCODED}&t=90", FULL),
    (f"https://memos.example/share?seeds={FULL}", FULL),
    (f"file:///home/a/page.html?seeds={ENCODED}", FULL),
]


def read(pasted: str | bytes) -> list[Magnet]:
    """Read links as `fetch -` does."""
    text = magnet.decode(pasted) if isinstance(pasted, bytes) else pasted
    return [magnet.parse(one) for line in magnet.unwrap(text) for one in magnet.split(line)]


@pytest.mark.parametrize(("pasted", "link"), PASTED, ids=lambda text: ascii(text[:50]))
def test_a_link_is_understood_as_people_paste_it(pasted: str | bytes, link: str) -> None:
    assert [magnet.parse(link)] == read(pasted)


def test_links_that_nobody_encoded_are_told_apart_in_one_address() -> None:
    link = f"https://memos.example/share?seeds={FULL}&seeds={BARE}"

    assert [magnet.parse(FULL), magnet.parse(BARE)] == read(link)


@pytest.mark.parametrize(
    "lines",
    [
        [FULL, BARE],
        [*WRAPPED, BARE, *WRAPPED],
        [INFOHASH, BASE32, INFOHASH.upper()],
        [BARE, f"„{INFOHASH}“", f"«{INFOHASH}.{26 * 'a'}»"],
        [f"<{INFOHASH}>", f"https://instant.io/#{INFOHASH}", f"urn:btih:{INFOHASH}", f"The last: {FULL}"],
        ["magnet:?dn=", BARE, "https://x/?seeds=", "https://x/"],
        [FULL, "", "hello"],
    ],
)
def test_a_line_that_begins_like_a_link_is_one(lines: list[str]) -> None:
    begun = len(lines) - sum(line in WRAPPED[1:] for line in lines) - lines.count("")

    assert begun == len(magnet.unwrap("\n".join(lines)))


def test_a_path_that_is_there_continues_no_link_and_is_not_continued() -> None:
    lines = [BARE, "a memo.torrent", "&tr=udp://a:1"]

    assert lines == magnet.unwrap("\n".join(lines), lambda line: line == "a memo.torrent")
    assert ["".join(lines)] == magnet.unwrap("\n".join(lines))


@pytest.mark.parametrize(
    ("link", "path"),
    [
        ("file:///home/a/My%20memo.torrent", "/home/a/My memo.torrent"),
        ("<file:///home/a/x.torrent>.", "/home/a/x.torrent"),
        ("FILE://localhost/x.torrent", "/x.torrent"),
        ("file:///x%FF.torrent", "/x\udcff.torrent"),
        (f"file:///page.html?seeds={INFOHASH}", None),
        (f"file:///page.html#{INFOHASH}", None),
        ("/home/a/x.torrent", None),
        (FULL, None),
        (f"https://example.org/?seeds=file%3A%2F%2F%2Fx.torrent#{INFOHASH}", None),
    ],
)
def test_a_link_to_a_file_is_its_path(link: str, path: str | None) -> None:
    assert path == magnet.path_of(link)


@pytest.mark.parametrize("link", ["file://elsewhere/x.torrent", "file:///x%00.torrent", "file://"])
def test_a_link_to_a_file_elsewhere_is_refused(link: str) -> None:
    with pytest.raises(TorrentError):
        magnet.path_of(link)


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "&amp;",
            "amp;",
            "&#0",
            "%25",
            "%3d",
            "magnet:",
            "magnet:?",
            "magnet%3A",
            "(magnet:",
            "(",
            ")",
            "<",
            "[",
            "' ",
        ),
        *("\n", "&tr=", "?", "#", "=", ".", "http://", "https%3A%2F%2F", "seeds=magnet:?xt=", "btih:", "x.key="),
        f"{INFOHASH}.",
    ],
)
def test_no_pasted_text_takes_long(piece: str) -> None:
    many = piece * (100_000 // len(piece))
    began = time.process_time()
    for text in (many, f"magnet:?{many}=", f"https://x/#{many}"):
        with contextlib.suppress(TorrentError):
            magnet.path_of(text)
            read(text)
        magnet.shorten(text)

    assert time.process_time() - began < 10  # a tenth of a second; what goes over it again and again takes minutes


@pytest.mark.parametrize(
    "link",
    [
        f"{INFOHASH}.{KEY}",
        f"magnet:?xt=urn:btih:{INFOHASH}&x.key={KEY}",
        f"https://x/#?seeds=magnet%3A%3Fx.key%3D{KEY}%26a",
    ],
)
def test_a_key_stands_in_no_message(link: str) -> None:
    assert KEY not in magnet.shorten(link, width=500)
    assert KEY not in magnet.shorten(link.upper(), width=500).lower()
    for text in (link, link.upper(), f"({link})", f"no such thing: {link!r}"):
        assert KEY not in magnet.without_keys(text).lower()


def test_a_line_without_a_key_stays_as_it_is() -> None:
    line = f"/a/{INFOHASH}.torrent: rechtsschutzversicherungen, {26 * '1'}, {INFOHASH}/memo.webm, 7k3f9x2a"

    assert line == magnet.without_keys(line)


@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from([*FULL.split("&"), *" \n&(<)>.\"'[]"])).map("".join)
    | st.text("magnet:?xt=urnbih&.%0af", max_size=80).map("magnet:?".__add__)
)
def test_any_text_is_a_link_or_refused(text: str) -> None:
    try:
        links = read(text)
    except TorrentError:
        return
    assert all(magnet.parse_infohash(link.infohash) for link in links)


@given(st.binary(max_size=40))
def test_any_bytes_are_text(data: bytes) -> None:
    assert len(magnet.decode(data)) <= len(data)


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
