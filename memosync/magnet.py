"""Links: magnets (BEP 9), bare infohashes, and the share links of the browser app this grew from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NewType
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

from .console import one_line
from .errors import TorrentError, UsageError

InfoHash = NewType("InfoHash", str)  # 40 hexadecimal digits, lower case: SHA-1 of the info dictionary (BEP 3)

LONGEST_LINK = 1_000_000  # characters
MOST_SEEDS = 1_000  # memos in one share link
LONGEST_BASE = 2_000  # characters
_HEX = re.compile(r"[0-9a-fA-F]{40}")
_BASE32 = re.compile(r"[A-Za-z2-7]{32}")
_PAGE = re.compile(r"(?i)https?://|file://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Magnet:
    """A magnet of BitTorrent v1; what it names is a stranger's word."""

    infohash: InfoHash
    name: str = ""
    trackers: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()  # "address:port" (`x.pe`, BEP 9)
    other: tuple[tuple[str, str], ...] = ()  # parameters we do not know, in their order

    def __str__(self) -> str:
        parts = [f"xt=urn:btih:{self.infohash}"]
        parts += ["dn=" + quote(self.name, safe="")] if self.name else []
        parts += ["tr=" + quote(url, safe="") for url in self.trackers]
        parts += ["x.pe=" + quote(peer, safe=":[]") for peer in self.peers]
        parts += [quote(name, safe=".") + "=" + quote(value, safe=":") for name, value in self.other]
        return "magnet:?" + "&".join(parts)


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
    if infohash := parse_infohash(link):
        return Magnet(infohash=infohash)
    if not link[:8].lower().startswith("magnet:?"):
        raise TorrentError(
            "this is not a link to a memo", "give a magnet, an infohash, a share link or a .torrent file"
        )
    trackers: dict[str, None] = {}  # an ordered set
    peers: dict[str, None] = {}
    topics: list[str] = []
    names: list[str] = []
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
            case _:
                other.append((key, value))
    for topic in topics:
        prefix, _, digits = topic.rpartition(":")
        if prefix.lower() == "urn:btih" and (infohash := parse_infohash(digits)):
            name = names[0] if names else ""
            return Magnet(
                infohash=infohash, name=name, trackers=tuple(trackers), peers=tuple(peers), other=tuple(other)
            )
    if any(topic.lower().startswith("urn:btmh:") for topic in topics):
        raise TorrentError("this link is for BitTorrent v2 alone (btmh), which this version cannot fetch")
    if any(topic.lower().startswith("urn:btpk:") for topic in topics):
        raise TorrentError("this link is for a feed that changes (btpk), which this version cannot fetch")
    raise TorrentError("this magnet has no infohash that can be read", "ask for the whole link again")


def split(link: str) -> list[str]:
    """Take a share link (`https://…/share?seeds=<magnet>&seeds=…`) apart; any other link is itself alone."""
    link = link.strip()
    if len(link) > LONGEST_LINK:
        raise TorrentError(f"this link is longer than {LONGEST_LINK} characters")
    if not _PAGE.match(link):
        return [link]
    try:
        parts = urlsplit(link)
    except ValueError:
        raise TorrentError("this address cannot be read") from None
    seeds = [value.strip() for query in _queries(parts) for key, value in _query(query) if key == "seeds"]
    if not seeds:
        raise TorrentError("there is no memo in this link", "a share link has ?seeds=magnet:… in it")
    return list(dict.fromkeys(seeds))[:MOST_SEEDS]


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

    Where the page's own address goes on behind the # (`#/share`), so does the link. UsageError when that would be more
    than `split` takes.
    """
    seeds = "&".join("seeds=" + quote(magnet, safe="") for magnet in magnets)
    page, mark, fragment = base.partition("#")
    if fragment.startswith(("/", "!")) or "?" in fragment:
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
    """Name a link or a file in a message by its beginning and its end."""
    line = one_line(link.strip())
    return line if len(line) <= width else line[: width // 2] + "…" + line[1 - width // 2 :]
