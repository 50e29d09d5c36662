"""Links: magnets (BEP 9), bare infohashes, and magnets in the addresses of web apps; as they were pasted.

`unwrap` puts lines together, `split` cleans a link and takes it out of a page's address, `parse` reads what is left
and forgives nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NewType
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from .console import one_line
from .errors import TorrentError, UsageError

InfoHash = NewType("InfoHash", str)  # 40 hexadecimal digits, lower case: SHA-1 of the info dictionary (BEP 3)

LONGEST_LINK = 1_000_000  # characters
MOST_SEEDS = 1_000  # memos in one share link
LONGEST_BASE = 2_000  # characters
_HEX = re.compile(r"[0-9a-fA-F]{40}")
_BASE32 = re.compile(r"[A-Za-z2-7]{32}")
_PRIVATE = re.compile(r"([0-9a-fA-F]{40})\.([A-Za-z2-7]{16,40})")  # a private link's short form: infohash and key
_KEY = re.compile(r"(?i)x(?:\.|%(?:25)*2e)key")
_SECRET = re.compile(  # what may be a key, whole or mistyped: behind its name, behind an infohash, or alone
    r"""(?ix)
    (x(?:\.|%(?:25)*2e)key [^&=%]{0,9} (?:=|%(?:25)*3d)) [^&\s]+
    | ((?<![0-9a-z]) (?:[0-9a-f]{38,42} | [a-z2-7]{32}) (?:[^0-9a-z&=?%\s] | %(?:25)*[0-9a-f]{2})) [0-9a-z]+
    | (?<![0-9a-z]) [a-z0-9]{24,28} (?![0-9a-z])
    """
)
_IN_A_LINE = re.compile(  # the same in a line that is about anything: no name of a file is to be taken for a key
    r"""(?ix)
    (x(?:\.|%(?:25)*2e)key [^&=%\s]{0,9} (?:=|%(?:25)*3d)) [^&\s'")]+
    | ((?<![0-9a-z]) (?:[0-9a-f]{40} | [a-z2-7]{32}) (?:\.|%(?:25)*2e)) [a-z2-7]{16,}
    | (?<![0-9a-z]) (?=[a-z]*[2-7]) [a-z2-7]{26} (?![0-9a-z])
    """
)
_WHOLE = "ask for the whole link again"
_PAGE = re.compile(r"(?i)https?://|file://")

# what people's programs put around a link, or into it
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")  # no width, or direction
_AMPERSAND = re.compile(r"(?i)&(?:(?:amp|#0*38|#x0*26);)+")  # escaped for HTML, once or more
_ENTITY = re.compile(r"&(?:#\d{1,6}|#[xX][\da-fA-F]{1,6}|[A-Za-z]{1,20});")
_CLOSERS = dict(zip("(<[{„“”«»‹›‘‚「『《（【\"'`", ")>]}“””»«›‹’‘」』》）】\"'`", strict=True))
_MARKS = {"]": "[/", ">": "<"}  # what ends the text of [url] and <code>
_BRACKETS = {")": "(", ">": "<", "]": "[", "}": "{"}
_TRAILING = frozenset(".,;:!?…·\"'`“”„«»‹›‘’‚」』》）】")
_COLON = "(?::|%(?:25)*3a)"  # as it is, or percent-encoded, once or more
_MAGNET = rf"magnet{_COLON}"
_URN = rf"(?:\??xt=)?urn{_COLON}bt(?:ih|mh|pk){_COLON}|btih{_COLON}"
_ADDRESS = rf"(?:https?|file){_COLON}(?:/|%(?:25)*2f)"
_AT_A_WORD = re.compile(rf"(?i)(?:^|(?<=[\s(<\[{{\"'`“„«‹‘])){_MAGNET}")
_ANYWHERE = re.compile(rf"(?i)(?<![a-z0-9])(?:{_MAGNET}|{_ADDRESS}|{_URN})")
_AT_THE_BEGINNING = re.compile(rf"(?i)[(<\[{{\"'`]{{0,3}}(?:{_MAGNET}|{_ADDRESS}|{_URN})")
_ENCODED = re.compile(r"(?i)(?:magnet|https?|file|(?:xt=)?urn|btih)%|magnet:/*%(?:25)*3f")


@dataclass(frozen=True, slots=True, kw_only=True)
class Magnet:
    """A magnet of BitTorrent v1; what it names is a stranger's word."""

    infohash: InfoHash
    key: bytes = b""  # 16 bytes that open a private memo (see `sealing`); empty for a public one
    name: str = ""
    trackers: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()  # "address:port" (`x.pe`, BEP 9)
    other: tuple[tuple[str, str], ...] = ()  # parameters we do not know, in their order

    def __str__(self) -> str:
        parts = [f"xt=urn:btih:{self.infohash}"]
        parts += ["x.key=" + format_key(self.key)] if self.key else []
        parts += ["dn=" + quote(self.name, safe="")] if self.name else []
        parts += ["tr=" + quote(url, safe="") for url in self.trackers]
        parts += ["x.pe=" + quote(peer, safe=":[]") for peer in self.peers]
        parts += [quote(name, safe=".") + "=" + quote(value, safe=":") for name, value in self.other]
        text = "magnet:?" + "&".join(parts)
        last = text[-1]  # a dot or a bracket would be taken for the sentence's
        return text if last.isalnum() or last in "-_~=" else f"{text[:-1]}%{ord(last):02X}"


def parse_infohash(text: str) -> InfoHash | None:
    """Read 40 hexadecimal or 32 base32 digits."""
    if _HEX.fullmatch(text):
        return InfoHash(text.lower())
    if _BASE32.fullmatch(text):
        import base64  # most links are hexadecimal

        return InfoHash(base64.b32decode(text.upper()).hex())
    return None


def parse(link: str) -> Magnet:
    """Read one magnet or bare infohash; TorrentError for anything else, and for kinds of link not known yet."""
    if short := _PRIVATE.fullmatch(link):
        return Magnet(infohash=_insist(InfoHash(short[1].lower())), key=parse_key(short[2]))
    if infohash := parse_infohash(link):
        return Magnet(infohash=_insist(infohash))
    if not link[:8].lower().startswith("magnet:?"):
        raise TorrentError(
            "this is not a link to a memo", "give a magnet, an infohash, a share link or a .torrent file"
        )
    trackers: dict[str, None] = {}  # an ordered set
    peers: dict[str, None] = {}
    topics: list[str] = []
    names: list[str] = []
    keys: set[bytes] = set()
    other: list[tuple[str, str]] = []
    for key, value in _query(link[8:]):
        plain = re.sub(r"\.\d+$", "", key.lower())  # tr.1, xt.2: several of one kind
        match plain:
            case "xt":
                topics.append(value)
            case "dn":
                names.append(value)
            case "tr":
                trackers[value] = None
            case "x.pe":
                peers[value] = None
            case "x.key":
                keys.add(parse_key(value))
            case _:
                other.append((key, value))
    for topic in topics:
        prefix, _, digits = topic.rpartition(":")
        if prefix.lower() != "urn:btih":
            continue
        if short := _PRIVATE.fullmatch(digits):
            digits = short[1]
            keys.add(parse_key(short[2]))
        if infohash := parse_infohash(digits):
            if len(keys) > 1:
                raise TorrentError("this link has two different keys", _WHOLE)
            return Magnet(
                infohash=_insist(infohash),
                key=next(iter(keys), b""),
                name=names[0] if names else "",
                trackers=tuple(trackers),
                peers=tuple(peers),
                other=tuple(other),
            )
    if any(topic.lower().startswith("urn:btmh:") for topic in topics):
        raise TorrentError("this link is for BitTorrent v2 alone (btmh), which this version cannot fetch")
    if any(topic.lower().startswith("urn:btpk:") for topic in topics):
        raise TorrentError("this link is for a feed that changes (btpk), which this version cannot fetch")
    raise TorrentError("this magnet has no infohash that can be read", _WHOLE)


def parse_key(text: str) -> bytes:
    """Read the key of a private link: 26 characters of base32 (RFC 4648, 6) in either case; TorrentError."""
    import base64

    if re.fullmatch(r"[A-Za-z2-7]{26}", text):
        key = base64.b32decode(text.upper() + "======")
        if format_key(key) == text.lower():  # the last two of its 130 bits are 0
            return key
    raise TorrentError("the key of this link is not whole", _WHOLE)


def format_key(key: bytes) -> str:
    """Write the key of a private link: 16 bytes as 26 characters."""
    import base64

    return base64.b32encode(key).decode().rstrip("=").lower()


def _insist(infohash: InfoHash) -> InfoHash:
    """Refuse the one infohash that libtorrent takes for none."""
    if not infohash.strip("0"):
        raise TorrentError("an infohash of nothing but zeros is nobody's", _WHOLE)
    return infohash


def decode(data: bytes) -> str:
    """Read text in UTF-8 or UTF-16, with a byte order mark or without: UTF-16 of a link has a zero in each pair."""
    encoding = "utf-8-sig"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif b"\0" in data[:2]:
        encoding = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    return data.decode(encoding, "replace")


def unwrap(text: str, is_path: Callable[[str], bool] = lambda _line: False) -> list[str]:
    """Give the links that stand one a line, or in several where a program wrapped them.

    A line that does not begin like a link continues the one before; a blank one ends it, and so does a path.
    """
    links: list[list[str]] = []
    is_open = False
    for whole in _UNSEEN.sub("", text).splitlines():
        line = whole.strip().lstrip("> ").split("\t")[0].strip()  # quoted in a mail; the first field of a row
        if not line:
            is_open = False
        elif is_open and not is_path(line) and not _begins(line, links[-1]):
            links[-1].append(line)
        else:
            links.append([line])
            is_open = not is_path(line)
    return ["".join(lines) for lines in links]


def _begins(line: str, before: list[str]) -> bool:
    """Tell whether a line begins a link; only a magnet does after one that was cut amid a parameter."""
    if _AT_A_WORD.search(line):
        return True
    if _AT_A_WORD.search(before[0]) and before[-1].lower().endswith(("=", "btih:")):
        return False
    alone = _trimmed(line.lstrip("".join(_CLOSERS)))
    return bool(_AT_THE_BEGINNING.match(line) or parse_infohash(alone) or _PRIVATE.fullmatch(alone))


def clean(text: str) -> str:
    """Find the link in what was pasted: without what stands around it, HTML's and percent-encoding of the whole.

    What has no link in it comes back without what quotes it.
    """
    text = _unescape(_UNSEEN.sub("", text).strip())
    if start := _AT_A_WORD.search(text) or _ANYWHERE.search(text):
        text = _until_closed(text[start.start() :], text[: start.start()][-1:])
    link = _trimmed(text.lstrip("".join(_CLOSERS)))
    for _ in range(3):
        if _ENCODED.match(link) or (link[:7].lower() == "magnet:" and "=" not in link):
            link = _unescape(unquote(link))
    link = re.sub(r"(?i)^magnet:/{0,3}(?:\?&*|(?=xt=))", "magnet:?", link)
    link = re.sub(r"(?i)^\??(?=xt=urn:)", "magnet:?", link)
    return re.sub(r"(?i)^(?:urn:)?(?=bt(?:ih|mh|pk):)", "magnet:?xt=urn:", link)


def _unescape(text: str) -> str:
    return _ENTITY.sub(_character, _AMPERSAND.sub("&", text))


def _character(entity: re.Match[str]) -> str:
    import html  # two milliseconds, for links alone that were cut out of a page

    return html.unescape(entity[0])


def _until_closed(text: str, opener: str) -> str:
    """Cut off what follows the bracket, quotation mark or mark-up that closes the one before a link."""
    if mark := _MARKS.get(opener):
        return text.partition(mark)[0]
    opener = "[" if opener == "=" else opener  # [url=…]
    closer = _CLOSERS.get(opener)
    if not closer:
        return re.split("[<>]", text, maxsplit=1)[0]
    if closer in "\"'`":  # an apostrophe may stand in a name
        return re.split(rf"{closer}(?=[\s>.,;:)\]]|$)", text, maxsplit=1)[0]
    depth = 1
    for found in re.finditer(f"[{re.escape(opener + closer)}]", text):
        depth += 1 if found[0] == opener else -1
        if not depth:
            text = text[: found.start()]
            break
    more = {"(": r"\s+[\"']", "<": r"\|"}.get(opener)  # a title in Markdown, a label in Slack
    return re.split(more, text, maxsplit=1)[0] if more else text


def _trimmed(text: str) -> str:
    """Take off the end what belongs to the sentence: punctuation, and brackets that were not opened here."""
    surplus = {closer: text.count(closer) - text.count(opener) for closer, opener in _BRACKETS.items()}
    end = len(text)
    while end and ((last := text[end - 1]) in _TRAILING or last.isspace() or surplus.get(last, 0) > 0):
        if last in surplus:
            surplus[last] -= 1
        end -= 1
    return text[:end]


def path_of(link: str) -> str | None:
    """Give the path that a `file://` link names (RFC 8089); None for any other, and for a share link."""
    link = clean(link) if len(link) <= LONGEST_LINK else ""
    if link[:7].lower() != "file://":
        return None
    parts = _address(link)
    if any(_links_in(parts)):
        return None
    path = unquote(parts.path, errors="surrogateescape")
    if parts.netloc.lower() not in ("", "localhost") or not path or "\0" in path:
        raise TorrentError("this is no file on this machine")
    return path


def split(link: str) -> list[str]:
    """Clean a link, and take a page's address apart (`https://…/share?seeds=<magnet>&seeds=…`, `https://…/#HASH`)."""
    if len(link) > LONGEST_LINK:
        raise TorrentError(f"this link is longer than {LONGEST_LINK} characters")
    link = clean(link)
    if not _PAGE.match(link):
        return [link]
    seeds, others = _links_in(parts := _address(link))
    if not seeds and not others:
        if parts.path.lower().endswith(".torrent"):
            raise TorrentError("there is no memo in this link", "download it: curl -L ADDRESS | memosync fetch -")
        raise TorrentError("there is no memo in this link", "a share link has ?seeds=magnet:… in it")
    return list(dict.fromkeys(map(clean, seeds or others)))[:MOST_SEEDS]


def _address(link: str) -> SplitResult:
    try:
        return urlsplit(link)
    except ValueError:
        raise TorrentError("this address cannot be read", _WHOLE) from None


def _links_in(parts: SplitResult) -> tuple[list[str], list[str]]:
    """Find the links in a page's address: those of `seeds=`, and those that are its query or fragment, or in them."""
    seeds: list[str] = []
    others: list[str] = []
    for text, query in zip((parts.query, parts.fragment), _queries(parts), strict=True):
        whole = text.lstrip("/!?")
        if raw := re.split(r"(?i)(?=magnet:/*\?)", text)[1:]:  # nobody encoded them: each ends where the next begins
            others += [re.sub(r"[?&][\w.]*=$", "", one) for one in raw]
        elif re.match(rf"(?i){_MAGNET}|{_URN}", whole):
            others.append(whole)
        else:
            first = re.split(r"[?&/]", whole, maxsplit=1)[0]
            if text is parts.fragment and _BASE32.fullmatch(first):  # in a query it may be anything
                others.append(first)
            values = _query(query or text)
            seeds += [value for key, value in values if key == "seeds"]
            others += [one for one in (first, *(value for _, value in values)) if is_link(one)]
    return seeds, others


def is_link(text: str) -> bool:
    """Tell whether a text is a link that `parse` reads, or would if it were whole."""
    text = text.strip()
    return bool(_HEX.fullmatch(text) or _PRIVATE.fullmatch(text) or re.match(rf"(?i){_MAGNET}|{_URN}", text))


def check_base(base: str) -> None:
    """Insist that `join` can make links of it; UsageError when it cannot."""
    hint = "give the address of a page, like https://HOST/share"
    try:
        parts = urlsplit(base)
        place = parts.path if parts.scheme == "file" else parts.hostname
    except ValueError:
        place = ""
    if not _PAGE.match(base) or not place or not base.isprintable() or " " in base or len(base) > LONGEST_BASE:
        raise UsageError(f"{shorten(base)!r} is not the address of a page", hint)
    if any(key == "seeds" for query in _queries(parts) for key, _ in _query(query)):
        raise UsageError(f"{shorten(base)!r} has memos in it already", hint)


def join(base: str, magnets: Sequence[str]) -> str:
    """Make one share link of magnets, which `split` takes apart: `https://…/share?seeds=<magnet>&seeds=…`.

    Where the page's own address goes on behind the # (`#/share`), so does the link, and always when there is a key in
    it: what stands there is sent to nobody. UsageError when that would be more than `split` takes.
    """
    seeds = "&".join("seeds=" + quote(magnet, safe="") for magnet in magnets)
    page, mark, fragment = base.partition("#")
    if any(map(_KEY.search, magnets)):
        link = page + "#" + _with_query(fragment, seeds)
    elif fragment.startswith(("/", "!")) or "?" in fragment:
        link = page + mark + _with_query(fragment, seeds)
    else:
        link = _with_query(page, seeds) + mark + fragment
    if len(link) > LONGEST_LINK or len(magnets) > MOST_SEEDS:
        raise UsageError("these memos are too many for one link", "share fewer of them at a time, or without --one")
    return link


def _with_query(address: str, query: str) -> str:
    joint = "?" if "?" not in address else "" if address.endswith(("?", "&")) else "&"
    return address + joint + query


def _queries(parts: SplitResult) -> tuple[str, str]:
    return parts.query, parts.fragment.partition("?")[2]  # some routers keep theirs behind the #


def _query(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, errors="replace", max_num_fields=50_000)
    except ValueError:
        raise TorrentError("this link has too many parts") from None


def shorten(link: str, width: int = 80) -> str:
    """Name a link or a file in a message by its beginning and its end, without the key of a private one."""
    line = _without(_SECRET, one_line(link.strip()))
    return line if len(line) <= width else line[: width // 2] + "…" + line[1 - width // 2 :]


def without_keys(line: str) -> str:
    """Take out of a line that is about anything the keys of private links, wherever somebody put one."""
    return _without(_IN_A_LINE, line)


def _without(secret: re.Pattern[str], line: str) -> str:
    return secret.sub(lambda found: f"{found[1] or found[2] or ''}…", line)
