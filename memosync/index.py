"""The index as text: `index.toml` in, memos out, and back without losing what we do not understand.

The one owner of tomli and tomli_w.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from . import layout
from .console import one_line
from .errors import LibraryError
from .magnet import InfoHash
from .memo import Memo, MemoId, id_in_file_name, parse_id
from .network import LONGEST_TRACKER, MOST_TRACKERS
from .quantities import local

VERSIONS = 1, 2  # wherever there are keys it is 2, which 0.1.0 refuses: it would rewrite the file of a private memo
REBUILD = "memosync check --repair rebuilds it; nothing is changed until then"
_BETWEEN_DEVICES = ("uid", "born", "stamps", "content", "more")  # what only they read
_ALL = tuple(name for name in Memo.__slots__ if name not in ("extra", "cells"))
KEYS = tuple(name for name in _ALL if name not in _BETWEEN_DEVICES)
EDITABLE = ("title", "description", "tags", "recorded")
_LISTS = {"tags", "trackers", "stamps"}
_TIMES = {"recorded", "trashed"}
_REQUIRED = ("id", "file", "title", "recorded", "duration", "size")
_AS_WE_WRITE = re.compile(r"\[\[memo\]\]\n(?:\w+ = [^\n]*\n|    [^\n]*\n|\]\n|\n)*(?:\[|\Z)")
_STRING = re.compile(r'"(?:[^"\\\n]|\\(?:["\\bfnrt]|u[0-9a-fA-F]{4}))*"')  # of TOML and JSON alike
_TAGS = re.compile(rf"^tags\s*=\s*(\[(?:\s*{_STRING.pattern}\s*,?)*\s*\])", re.MULTILINE)
_ID, _TITLE = re.compile(r'\nid = "([^"\\]*)"\n'), re.compile(r'\ntitle = "([^"\\]*)"\n')


@dataclass(frozen=True, slots=True)
class Index:
    """Every memo of a library, in the order they were added."""

    memos: tuple[Memo, ...] = ()
    head: str = ""  # comments a person wrote at the top
    extra: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSIONS[0]
    group: str = ""  # the public key of the group that this library is in, hexadecimal
    written: Written | None = field(default=None, compare=False, repr=False)

    @property
    def meeting(self) -> tuple[str, ...]:
        """The trackers at which the devices of the group meet, where these are not the default ones."""
        found = self.extra.get("meeting") if self.group else None
        texts = [text for text in found if isinstance(text, str)] if isinstance(found, list) else []
        return tuple(text for text in texts if len(text) <= LONGEST_TRACKER)[:MOST_TRACKERS]

    def with_meeting(self, trackers: Sequence[str]) -> Index:
        """Have the devices of the group meet at these trackers; at the default ones for none."""
        rest = {name: value for name, value in self.extra.items() if name != "meeting"}
        return replace(self, extra=rest | ({"meeting": list(trackers[:MOST_TRACKERS])} if trackers else {}))

    def with_memo(self, memo: Memo) -> Index:
        """Put a memo in the place of the one with its id, or at the end."""
        if any(other.id == memo.id for other in self.memos):
            memos = tuple(memo if other.id == memo.id else other for other in self.memos)
        else:
            memos = (*self.memos, memo)
        return replace(self, memos=memos)

    def get(self, memo_id: MemoId) -> Memo | None:
        return next((memo for memo in self.memos if memo.id == memo_id), None)

    def with_infohash(self, infohash: InfoHash) -> Memo | None:
        """Give the memo with this infohash in one of its forms; one in the trash only when there is no other."""
        found = (memo for memo in self.memos if infohash in memo.infohashes)
        return min(found, key=lambda memo: memo.trashed is not None, default=None)


@dataclass(frozen=True, slots=True)
class Written:
    """An index as it stands: what is not changed is written again as it stood, which takes a tenth of the time."""

    entries: tuple[str, ...]  # nothing where lines do not tell where they are
    memos: tuple[Memo | None, ...]  # that they say; None for one of which an entry does not say all

    def by_memo(self) -> dict[int, str]:
        """Give the text of each memo's entry, by its place in memory."""
        return {id(memo): entry for memo, entry in zip(self.memos, self.entries, strict=False) if memo}

    def by_entry(self) -> dict[str, Memo]:
        return {entry: memo for memo, entry in zip(self.memos, self.entries, strict=False) if memo}


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML 1.0; ValueError (also for nesting too deep)."""
    import tomli

    try:
        return tomli.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def format_toml(table: Mapping[str, Any]) -> str:
    import tomli_w

    try:
        return tomli_w.dumps(table)
    except RecursionError as error:
        raise LibraryError("index.toml has unknown keys that are nested too deep", "take them out of it") from error


def loads(text: str, before: Index | None = None) -> Index:
    """Read an index; LibraryError when it is broken, contradicts itself or is from a newer version.

    Entries that stand as they did in the one `before`, or as we write them, are not read as TOML, which takes ten times
    as long.
    """
    if is_newer(text):
        raise LibraryError("index.toml is of a newer version than this program knows", "update memosync")
    head, *entries = layout.parts(text) or [text]
    known = before.written.by_entry() if before and before.written else {}
    memos = [known.get(entry) or layout.read(entry) for entry in entries]
    if any(memos):
        with contextlib.suppress(ValueError):  # which names another line than the one it is in
            return _loads(head, entries, memos)
    try:
        return _loads(text, entries)
    except ValueError as error:
        raise LibraryError(f"index.toml is broken: {one_line(str(error))[:200]}", REBUILD) from error


def _loads(head: str, entries: Sequence[str], memos: Sequence[Memo | None] = ()) -> Index:
    """Read an index from what of it stands before its entries, and from those that are not known as `memos`.

    From all of it where these are none. ValueError.
    """
    left = [entry for entry, memo in zip(entries, memos, strict=False) if not memo]
    table = parse_toml("\n".join([head, *left]))
    version = table.pop("version", None)
    if type(version) is not int or version not in VERSIONS:
        raise ValueError(f"version = {VERSIONS[-1]} is missing")
    group = table.pop("group") if _is_group(table.get("group")) else ""
    stands, tables = "memo" in table, table.pop("memo", [])
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise ValueError("[[memo]] is not a list of tables")
    if memos and (stands, len(tables)) != (bool(left), len(left)):
        raise ValueError("something else is called memo")
    read = [(memo, None if _is_local(one) else memo) for memo, one in zip(map(_memo, tables), tables, strict=True)]
    if memos:
        rest = iter(read)
        read = [(memo, memo) if memo else next(rest) for memo in memos]
    for name in ("id", "file"):
        counted = Counter(getattr(memo, name) for memo, _ in read)
        if len(counted) < len(read):
            value = counted.most_common(1)[0][0]
            ids = " and ".join([memo.id for memo, _ in read if getattr(memo, name) == value][:2])
            raise ValueError(f"two memos have one {name}: {ids}")
    uids = Counter(memo.uid for memo, _ in read if memo.uid)
    if len(uids) < uids.total():  # a person copied an entry, with its file: that is another memo
        first = {memo.uid: memo for memo, _ in reversed(read)}
        read = [
            (as_another(memo), None) if memo.uid and first[memo.uid] is not memo else (memo, whole)
            for memo, whole in read
        ]
    written = Written(tuple(entries), tuple(whole for _, whole in read)) if len(entries) == len(read) else None
    return Index(tuple(memo for memo, _ in read), _head(head), table, version, group, written)


def offers(text: str) -> Iterator[tuple[str, str, bool]]:
    """Give of each memo in an index, the last one first, its id, its title, and whether it is in the trash.

    In a tenth of the time that reading it takes, and not all that is wrong with it is found.
    """
    _, *parts = layout.parts(text) or [""]
    if not parts:
        yield from ((memo.id, memo.title, bool(memo.trashed)) for memo in reversed(loads(text).memos))
    for part in reversed(parts):
        if (own := _AS_WE_WRITE.match(part)) and (memo_id := _ID.search(own[0])) and (title := _TITLE.search(own[0])):
            yield memo_id[1], title[1], "\ntrashed = " in own[0]
        else:
            (memo,) = loads(f"version = {VERSIONS[-1]}\n{part}\n").memos
            yield memo.id, memo.title, bool(memo.trashed)


def tags_in(text: str) -> list[str]:
    """Give the tags in an index, the most used first, in no more time than `offers` takes."""
    found = (json.loads(tag) for tags in _TAGS.findall(text) for tag in _STRING.findall(tags))
    return [tag for tag, _count in Counter(found).most_common()]


def is_newer(text: str) -> bool:
    """Tell whether an index, whole or not, says that it is from a newer version."""
    version = re.search(r"^\ufeff?version\s*=\s*(\d{1,99})", text.partition("\n[")[0], re.MULTILINE)
    return version is not None and int(version[1]) > VERSIONS[-1]


def salvage(data: bytes, before: Index) -> Index:
    """Read what can be read of a broken index.

    What is missing of an entry, where the text was cut or something is written wrong, is taken from the index `before`;
    an entry that is not there is left out: nobody knows what else it said. Of two with one id the one counts whose file
    has it in its name.
    """
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    entries = re.split(r"^\[\[memo\]\][ \t]*\r?\n", text, flags=re.MULTILINE)[1:]
    try:
        extra, is_cut = parse_toml(text), False
    except ValueError:
        is_cut = True
        try:
            extra = parse_toml(re.split(r"^\[", text, maxsplit=1, flags=re.MULTILINE)[0])
        except ValueError:
            extra = {}
    found: dict[str, Memo] = {}
    for number, entry in enumerate(entries, 1):
        is_last = is_cut and number == len(entries)
        for memo in (() if is_last else _whole(entry)) or _completed(entry, before, is_last):
            if memo.id not in found or id_in_file_name(memo.file) == memo.id:
                found[memo.id] = memo
    by_file = {memo.file: memo for memo in reversed(found.values())}
    memos = tuple(memo for memo in found.values() if by_file[memo.file] is memo)
    group = extra.pop("group") if _is_group(extra.get("group")) else ""
    return Index(memos, _head(text), {name: extra[name] for name in extra.keys() - {"version", "memo"}}, group=group)


def _whole(entry: str) -> tuple[Memo, ...]:
    """Read an entry of a broken index that is whole on its own: several, where headings are as others write them."""
    with contextlib.suppress(LibraryError):
        return loads(f"version = {VERSIONS[-1]}\n[[memo]]\n{entry}").memos if "\ufffd" not in entry else ()
    return ()


def _completed(entry: str, before: Index, is_cut: bool) -> tuple[Memo, ...]:
    """Read the words of an entry that can be read, and have the rest be as before.

    What comes behind, too, where it `is_cut`. Nothing for what is two entries, by now, or was not the same one.
    """
    table: dict[str, Any] = {}
    wrong = set()
    for statement in re.split(r"^(?=\w+[ \t]*=)", entry, flags=re.MULTILINE):
        name = statement.partition("=")[0].strip()
        if name in table or name in wrong:
            return ()
        wrong.add(name)
        with contextlib.suppress(ValueError):
            value = parse_toml(statement).get(name)
            if "\ufffd" not in statement and name in _RULES and _RULES[name](value):
                table[name] = value
                wrong.remove(name)
    memo = before.get(table.get("id", ""))
    if not memo or memo.file != table.get("file"):
        return ()
    end = max(map(_ALL.index, table))
    rest = to_table(memo)
    for name in (*EDITABLE, "trashed", "stamps"):
        if name in table:
            rest[name] = table[name]
        elif name not in wrong and not (is_cut and _ALL.index(name) > end):
            rest.pop(name, None)  # a person took it out
    with contextlib.suppress(ValueError):
        return (_memo(rest),)
    return ()


def differences(memo: Memo, other: Memo) -> list[str]:
    """Name what another entry of the same memo says otherwise."""
    return [f"{name} “{getattr(other, name)}”" for name in KEYS if getattr(other, name) != getattr(memo, name)]


def dumps(index: Index, known: dict[int, str] | None = None) -> str:
    """Write an index; `loads` gives the same index back.

    What is `known` of the entries, by their place in memory, is taken from there, and what is not is put into it.
    """
    table = {"version": index.version, **index.extra, **({"group": index.group} if index.group else {})}
    known = {} if known is None else known
    known |= index.written.by_memo() if index.written else {}
    for memo in index.memos:
        if id(memo) not in known:
            known[id(memo)] = _format_entry(memo)
    entries = [known[id(memo)] for memo in index.memos]
    top = (index.head + "\n\n" if index.head else "") + format_toml(table if entries else {**table, "memo": []})
    return "\n\n".join(text.rstrip() for text in (top, *entries)) + "\n"


def format_words(memo: Memo) -> str:
    """Write what a person may change of a memo, also what is empty."""
    import tomli_w

    table = {name: getattr(memo, name) for name in EDITABLE} | {"tags": list(memo.tags)}
    return tomli_w.dumps(table, multiline_strings=True)


def parse_words(text: str, memo: Memo) -> dict[str, Any]:
    """Give what differs from the memo's words in such a text; ValueError says what cannot be."""
    table = parse_toml(text)
    if unknown := sorted(table.keys() - set(EDITABLE)):
        raise ValueError(f"{one_line(unknown[0])[:80]!r} is none of {', '.join(EDITABLE)}")
    kept = {name: value for name, value in to_table(memo).items() if name not in EDITABLE}
    typed = _memo(kept | table)
    return {name: getattr(typed, name) for name in EDITABLE if getattr(typed, name) != getattr(memo, name)}


def to_table(memo: Memo) -> dict[str, Any]:
    """Give a memo's keys as they stand in the index: what is empty is left out."""
    table = {name: getattr(memo, name) for name in _ALL}
    table |= {name: list(table[name]) for name in _LISTS}
    return dict(memo.extra) | {name: value for name, value in table.items() if value or name in _REQUIRED}


def _format_entry(memo: Memo) -> str:
    table = to_table(memo)
    if any(isinstance(value, dict | list) for value in memo.extra.values()):  # which may be tables, with headers
        return format_toml({"memo": [table]})
    return "[[memo]]\n" + format_toml(table)  # tomli_w would try first how long each is in one line


def as_another(memo: Memo) -> Memo:
    """Have a memo be no more the one that other devices know by its uid."""
    return replace(memo, uid=None, born="", stamps=(), content="", more="")


def _head(text: str) -> str:
    head = re.match(r"(?:[ \t]*(?:#[^\n]*)?\n)*", text)
    return head[0].strip("\n") if head else ""


def _memo(entry: dict[str, Any]) -> Memo:
    known: dict[str, Any] = {}
    extra = {}
    for name, value in entry.items():
        rule = _RULES.get(name)
        if rule and rule(value):
            known[name] = value
        elif rule is None or name in _BETWEEN_DEVICES:  # what a person put there before it was ours
            extra[name] = value
        else:
            said = _WORDS.get(name) or f"{value!r:.60}"
            raise ValueError(f"{name} of memo {str(entry.get('id', '?'))[:80]!r} is {said}")
    for name in _REQUIRED:
        if name not in known:
            raise ValueError(f"{name} of memo {str(entry.get('id', '?'))[:80]!r} is missing")
    for name in known.keys() & _LISTS:
        known[name] = tuple(known[name])
    for name in known.keys() & _TIMES:
        if known[name].tzinfo is None:
            known[name] = local(known[name])
    return Memo(**known, extra=extra)


def _is_local(entry: dict[str, Any]) -> bool:
    """Tell whether one of an entry's times depends on where this machine is: it is written with its offset."""
    return any(name in entry and entry[name].tzinfo is None for name in _TIMES)


def _is_group(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_name(value: Any) -> bool:
    """A plain name that cannot leave the library's directory, hide in it, or pass for something else of ours."""
    plain = isinstance(value, str) and "/" not in value and one_line(value) == value
    return plain and value.endswith(".webm") and not value.startswith(".")


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) and text for text in value)


def _is_infohash(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{40}", value) is not None


def _is_length(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**62


# What is wrong with words is said without them: it comes into the seeder's log, which people show to others.
_WORDS = {"file": "no name of a .webm file", "title": "no text", "description": "no text", "tags": "no list of texts"}
_RULES: dict[str, Callable[[Any], object]] = {
    "id": parse_id,
    "file": _is_name,
    "title": _is_text,
    "description": _is_text,
    "tags": _are_texts,
    "recorded": lambda value: isinstance(value, datetime),
    "duration": _is_length,
    "size": lambda value: isinstance(value, int) and _is_length(value),
    "infohash": _is_infohash,
    "shared": lambda value: isinstance(value, bool),
    "sealed": _is_infohash,
    "private": lambda value: isinstance(value, bool),
    "renewals": lambda value: type(value) is int and _is_length(value),
    "fetched": lambda value: isinstance(value, bool),
    "trackers": _are_texts,
    "typed": lambda value: isinstance(value, bool),
    "trashed": lambda value: isinstance(value, datetime),
    "uid": lambda value: isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value),
    "born": _is_text,
    "stamps": _are_texts,
    "content": _is_text,
    "more": _is_text,
}
