"""A memo: what is known of one recording, and the rules its words and names follow."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NewType

from .console import INVISIBLE, one_line
from .errors import UsageError
from .magnet import InfoHash

MemoId = NewType("MemoId", str)  # 8 characters of Crockford base32, lower case

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID = re.compile(f"[{ALPHABET}]{{8}}")
_FILE = re.compile(rf"\d{{4}}-\d\d-\d\d(?:-[^/]+)?-([{ALPHABET}]{{8}})\.webm")
_UNSAFE = re.compile(r'[/\\:*?"<>|]')
_QUOTED = 60  # characters
TITLE_LIMIT, DESCRIPTION_LIMIT, TAGS_LIMIT = 500, 20_000, 50


def quoted(title: str) -> str:
    """Write a title in a message, in 60 characters at most: `“Weekly standup”`."""
    line = one_line(title)
    return f"“{line if len(line) <= _QUOTED else line[: _QUOTED - 1] + '…'}”"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memo:
    """One entry of the index."""

    id: MemoId
    file: str  # a name in the library's directory, never a path
    title: str
    description: str = ""
    tags: tuple[str, ...] = ()
    recorded: datetime  # aware
    duration: float  # seconds
    size: int  # bytes
    infohash: InfoHash | None = None  # of the file itself, known once it was shared or fetched
    shared: bool = False  # the seeder serves it
    sealed: InfoHash | None = None  # of the sealed form that its private link gives
    private: bool = False  # the seeder serves that
    renewals: int = 0  # how often its private link was exchanged for a new one
    fetched: bool = False  # somebody else's, from a swarm
    trackers: tuple[str, ...] = ()  # only where they are not the default ones
    typed: bool = False  # a person here named them, not a link
    trashed: datetime | None = None
    uid: str | None = None  # between the devices of a group, which all know it by this
    born: str = ""  # by which title, description and date are known again that it came with
    stamps: tuple[str, ...] = ()  # when its words were changed since, see `library.stamps`
    content: str = ""  # in a group: which bytes its file has everywhere, or will have
    more: str = ""  # in a group: what devices of a newer version say of it
    extra: Mapping[str, Any] = field(default_factory=dict)  # keys of the index that we do not know
    cells: Any = field(default=None, init=False, repr=False, compare=False)  # what `library.stamps` made of it, kept

    @property
    def label(self) -> str:
        """Its name to a person who may have to type its id."""
        return f"{self.id} {quoted(self.title)}"

    @property
    def words(self) -> Words:
        return Words(self.title, self.description, self.tags, self.recorded, self.id)

    @property
    def infohashes(self) -> tuple[InfoHash, ...]:
        """Those of every link that there is to it: of its file, and of its sealed form."""
        return tuple(infohash for infohash in (self.infohash, self.sealed) if infohash)

    @property
    def is_frozen(self) -> bool:
        """Tell whether a link to the file's bytes was given: from then on it never changes, not by a byte."""
        return bool(self.infohashes)

    @property
    def is_served(self) -> bool:
        """Tell whether the seeder is to serve it, in one form or both."""
        return (self.shared or self.private) and self.is_frozen and not self.trashed


@dataclass(frozen=True, slots=True)
class Words:
    """What a memo's file says about itself in its tags."""

    title: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    recorded: datetime | None = None
    id: MemoId | None = None
    dates: tuple[str, ...] = field(default=(), compare=False)  # as its tags have them, for `dates.choose`


def new_id(random: bytes) -> MemoId:
    """Make an id from five random bytes."""
    number = int.from_bytes(random[:5], "big")
    return MemoId("".join(ALPHABET[number >> 5 * place & 31] for place in range(8)))


def parse_id(text: object) -> MemoId | None:
    return MemoId(text) if isinstance(text, str) and _ID.fullmatch(text) else None


def clean_title(text: str) -> str:
    return one_line(unicodedata.normalize("NFC", text)).strip()[:TITLE_LIMIT].strip()


def clean_description(text: str) -> str:
    """Keep newlines and tabs, drop what else a terminal would obey."""
    kept = "\n".join("\t".join(map(one_line, line.split("\t"))) for line in text.replace("\r\n", "\n").split("\n"))
    return kept.strip()[:DESCRIPTION_LIMIT].strip()


def clean_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Drop empty tags and doubles, keep the order."""
    cleaned = (clean_title(tag) for tag in tags)
    return tuple(dict.fromkeys(tag for tag in cleaned if tag))[:TAGS_LIMIT]


def parse_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Take tags as a person gives them; UsageError for one with a comma in it."""
    for tag in (tags := list(tags)):
        if "," in tag or not clean_title(tag):
            raise UsageError(f"{one_line(tag)!r} is not a tag", "give --tag once for each, without commas")
    return clean_tags(tags)


def file_name(title: str, recorded: datetime, memo_id: MemoId) -> str:
    """Choose the file's name once and for all: date, slug, id."""
    slug = re.sub(r"[\W_]+", "-", unicodedata.normalize("NFC", title).lower()).strip("-")
    date = str(recorded.date())
    if f"{slug}-".startswith(f"{date}-"):  # as that of one without a title does
        slug = slug.removeprefix(date).strip("-")
    slug = slug.encode()[:60].decode(errors="ignore").strip("-")
    return "-".join(filter(None, [date, slug, memo_id])) + ".webm"


def id_in_file_name(name: str) -> MemoId | None:
    """Read the id out of a name of our own pattern; None for any other name, and for one that no index may have."""
    match = _FILE.fullmatch(name) if one_line(name) == name else None
    return MemoId(match[1]) if match else None


def torrent_name(words: Words, memo_id: MemoId) -> str:
    """Derive `info.name` from the title frozen in the file; a golden test keeps it: it is part of the infohash."""
    name = _UNSAFE.sub("-", INVISIBLE.sub("-", unicodedata.normalize("NFC", words.title)))
    name = name.encode()[:120].decode(errors="ignore").strip()
    return (name if name.strip(".-") else memo_id) + ".webm"


def matches(memo: Memo, words: Iterable[str]) -> bool:
    """Tell whether every word, case ignored, is in the title, the description or a tag."""
    text = "\n".join([memo.title, memo.description, *memo.tags]).casefold()
    return all(word.casefold() in text for word in words)
