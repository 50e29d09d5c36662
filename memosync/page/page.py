"""A page for somebody who has only a browser: one file that finds its peers, and plays while it loads.

Text in, text out. What stands beside it is put into the page whole: `page.html` with `page.css` and the scripts, and
WebTorrent's own build, untouched. Its words are all in `words.toml`. The page holds no sound; its policy lets it call
the trackers that it names and no other host.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, reduce
from importlib.resources import files
from string import Template
from typing import Any
from urllib.parse import urlsplit

from ..index import parse_toml

BEFORE = ("alone.js", "sha1.js")  # WebTorrent
AFTER = (
    *("store.js", "wave.js", "clock.js", "stream.js", "state.js", "sealed.js", "links.js", "tracks.js", "heard.js"),
    *("swarm.js", "page.js", "controls.js", "start.js", "opener.js"),
)
_SEALED, _OPENER = {"sealed.js"}, {"links.js", "tracks.js", "heard.js", "opener.js"}  # are not in every page
COLUMNS = 480  # of the waveform, at most
SPEEDS = (0.75, 1, 1.25, 1.5, 1.75, 2)
_SEED = "memosync seed --detach"
_FETCH = "<code>memosync fetch</code>"
_EXPORT = "export{i as default};"  # how WebTorrent's build ends, but for a comment that names its source map


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a page says and needs; all of it may be a stranger's words."""

    id: str
    title: str
    description: str = ""
    tags: tuple[str, ...] = ()
    recorded: datetime  # aware
    duration: float  # seconds
    size: int  # bytes
    name: str  # of the file that is downloaded
    infohash: str
    torrent: bytes = b""  # of its info dictionary alone: else it is asked for, and only who has it can tell
    link: str  # for other programs
    trackers: Sequence[str]  # WebSocket ones
    stun: str = ""  # host:port
    codec: str = "opus"  # as in MIME types
    heights: Sequence[float] = ()  # of the waveform, 0 to 1
    clusters: Sequence[tuple[float, int]] = ()  # seconds of sound before one, and where in the file
    begin: float = 0.0  # seconds: what the file's clock says where the sound begins
    track: int = 0  # whose blocks have to be timed by their samples (of Opus); 0: that clock can be believed
    key: bytes = b""  # of a private link: what is served is sealed


class _Template(Template):
    idpattern = r"[a-z]+(?:\.[a-z]+)?"  # $clock, and of the words $text.help


def write(page: Page) -> str:
    """Write the page of a memo."""
    clock, text, live = _clock(page.duration), words()["text"], words()["live"]
    header = _fill(
        "header.html",
        iso=page.recorded.isoformat(),
        date=html.escape(_date(page.recorded)),
        period=f"PT{page.duration:.3f}S",
        clock=clock,
        spoken=html.escape(_spoken(page.duration)),
        title=html.escape(page.title),
        tags=_tags(page.tags),
    )
    command = f"memosync share {'' if page.key else '--public '}{page.id}"
    return _page(
        _OPENER if page.key else _OPENER | _SEALED,
        _data(page),
        page.trackers,
        ask="",
        hidden="",
        scriptless=html.escape(text["scriptless"]),
        header=header,
        title=html.escape(page.title),
        clock=clock,
        at=html.escape(live["at"].format(now=_clock(0), all=clock)),
        duration=f"{page.duration:.3f}",
        description=_paragraph(page.description),
        commands=_command("author", command) + _command("others", _SEED),
        programs=_programs("private" if page.key else "programs"),
        link=html.escape(page.link),
    )


def write_opener(trackers: Sequence[str], stun: str, *, near: bool) -> str:
    """Write a page that opens any link.

    It may call these trackers, those of links that are called by TLS, and if `near` this machine's own.
    """
    nothing: dict[str, Any] = {"title": "", "size": 0, "duration": 0, "heights": [], "clusters": []}
    data = nothing | {
        "trackers": list(trackers),
        "stun": stun,
        "near": near,
        "date": words()["date"],
        "words": words()["live"] | words()["opener"],
    }
    text = words()["text"]
    return _page(
        {"start.js"},
        _json(data),
        [*trackers, "wss:", *(["ws://127.0.0.1:*"] if near else [])],
        ask=_fill("ask.html"),
        hidden=" hidden",
        scriptless=html.escape(text["needed"]),
        header=_fill("memo.html"),
        title=html.escape(text["opener"]),
        clock=_clock(0),
        at="",
        duration="0",
        description='<p id="description" class="description" dir="auto"></p>',
        commands=_command("either", _SEED),
        programs=_programs("programs") + _programs("private"),
        link="",
    )


def _page(without: set[str], data: str, hosts: Sequence[str], **fields: str) -> str:
    """Put a page together, without some scripts; it may call these hosts."""
    script = _script(tuple(name for name in AFTER if name not in without))
    style, live = _source("page.css"), words()["live"]
    return _fill(
        "page.html",
        policy=html.escape(_policy(hosts, style, script)),
        style=style,
        script=script,
        data=data,
        speeds=_speeds(),
        play=html.escape(live["play"]),
        looking=html.escape(live["looking"]),
        copy=html.escape(live["copy"]),
        **fields,
    )


def _fill(name: str, **fields: str) -> str:
    text = {f"text.{key}": html.escape(word) for key, word in words()["text"].items()}
    return _Template(_source(name)).substitute(text, **fields)


def link_in(text: str) -> str | None:
    """Find the link for programs in a page that `write` wrote."""
    found = re.search(r'<a id="magnet" href="([^"]*)"', text)
    return html.unescape(found[1]) if found else None


@cache
def words() -> dict[str, Any]:
    """Give all words of a page, as they stand in `words.toml`."""
    return parse_toml(_source("words.toml"))


def _policy(hosts: Sequence[str], style: str, script: str) -> str:
    """Allow these very scripts and styles, a sound that is made here, and the trackers (CSP 3)."""
    named = [
        f"{parts.scheme}:{'//' * bool(parts.netloc)}{parts.netloc.rpartition('@')[2]}" for parts in map(urlsplit, hosts)
    ]
    rules = {
        "default-src": ["'none'"],
        "script-src": [_hash(script)],
        "style-src": [_hash(style)],
        "img-src": ["data:"],
        "media-src": ["blob:"],
        "connect-src": list(dict.fromkeys(named)) or ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "require-trusted-types-for": ["'script'"],
        "trusted-types": ["'none'"],
    }
    return "; ".join(" ".join([name, *values]) for name, values in rules.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _data(page: Page) -> str:
    """Give what the scripts need of a memo."""
    data = {
        "title": page.title,
        "infohash": page.infohash,
        "torrent": base64.b64encode(page.torrent).decode(),
        "trackers": list(page.trackers),
        "stun": page.stun,
        "name": page.name,
        "size": page.size,
        "duration": round(page.duration, 3),
        "type": f'audio/webm; codecs="{page.codec}"',
        "heights": [round(100 * height) for height in page.heights],
        "clusters": [[seconds, offset] for seconds, offset in page.clusters],
        "begin": round(page.begin, 3),
        "track": page.track,
        **({"key": base64.b64encode(page.key).decode()} if page.key else {}),
        "words": words()["live"],
    }
    return _json(data)


def _json(data: dict[str, Any]) -> str:
    """Write JSON in which nothing ends a script element or a line."""
    text = json.dumps(data, separators=(",", ":"))  # all that is not ASCII is escaped
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


@cache
def _script(names: tuple[str, ...]) -> str:
    licence = "\n".join(f" * {line}".rstrip() for line in _source("webtorrent/LICENSE").strip().splitlines())
    build = _source("webtorrent/webtorrent.min.js").partition("\n//# sourceMappingURL=")[0].strip()
    if not build.endswith(_EXPORT):
        raise AssertionError("this is another build of WebTorrent")
    module = f"const WebTorrent = (() => {{\n{build.removesuffix(_EXPORT)}return i\n}})()\n"
    bundle = f"\n/* WebTorrent\n *\n{licence}\n */\n{module}"
    return "".join([*map(_source, BEFORE), bundle, *map(_source, names)])


@cache
def _source(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _paragraph(text: str) -> str:
    return f'<p id="description" class="description" dir="auto">{html.escape(text)}</p>' if text else ""


def _programs(name: str) -> str:
    return f'<p id="{name}">{html.escape(words()["text"][name]).format(command=_FETCH)}</p>'


def _command(name: str, command: str) -> str:
    """Give a command with who types it."""
    return f"<div><dt>{html.escape(words()['text'][name])}</dt><dd><code>{html.escape(command)}</code></dd></div>"


def _speeds() -> str:
    """Give the choices of how fast it is played."""
    decimal = html.escape(words()["live"]["decimal"])
    return "".join(
        f'<option value="{speed}"{" selected" * (speed == 1)}>{f"{speed:g}".replace(".", decimal)}×</option>'
        for speed in SPEEDS
    )


def _tags(tags: Sequence[str]) -> str:
    items = "".join(f'<li dir="auto">{html.escape(tag)}</li>' for tag in tags)
    return f'<ul class="tags" aria-label="{html.escape(words()["text"]["tags"])}">{items}</ul>' if items else ""


def _date(when: datetime) -> str:
    names = words()["date"]
    pattern: str = names["pattern"]
    return pattern.format(
        weekday=names["weekdays"][when.weekday()],
        day=when.day,
        month=names["months"][when.month - 1],
        year=when.year,
        hour=f"{when:%H}",
        minute=f"{when:%M}",
    )


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _spoken(seconds: float) -> str:
    """Say a duration as it is read out."""
    forms = words()["duration"]
    pair: str = forms["pair"]
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    parts = [(hours, forms["hours"]), (minute, forms["minutes"]), (second, forms["seconds"])]
    said = [_count(of_these, number) for number, of_these in parts if number] or [forms["nothing"]]
    return reduce(lambda longer, shorter: pair.format(longer=longer, shorter=shorter), said)


def _count(forms: Sequence[str], number: int) -> str:
    return forms[min(number, len(forms)) - 1].format(count=number)
