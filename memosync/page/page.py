"""A page for somebody who has only a browser: one file that finds its peers, and plays while it loads.

Text in, text out. What stands beside it is put into the page whole: `page.html` with `page.css` and the scripts, and
WebTorrent's own build, untouched. The page holds no sound; its policy lets it call the trackers that it names and no
other host.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from string import Template
from urllib.parse import urlsplit

from ..quantities import format_count

BEFORE, AFTER = ("alone.js", "sha1.js"), ("store.js", "wave.js", "stream.js", "words.js", "page.js")  # WebTorrent
COLUMNS = 480  # of the waveform, at most
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
    clusters: Sequence[tuple[float, int]] = ()  # seconds, and where in the file


def write(page: Page) -> str:
    """Write the page."""
    style, script = _source("page.css"), _script()
    clock = _clock(page.duration)
    return Template(_source("page.html")).substitute(
        policy=html.escape(_policy(page, style, script)),
        title=html.escape(page.title),
        date=f"{page.recorded:%A}, {page.recorded.day} {page.recorded:%B} {page.recorded.year}, {page.recorded:%H:%M}",
        iso=page.recorded.isoformat(),
        clock=clock,
        spoken=_spoken(page.duration),
        period=f"PT{page.duration:.3f}S",
        duration=f"{page.duration:.3f}",
        description=_paragraph(page.description),
        tags=_tags(page.tags),
        id=html.escape(page.id),
        link=html.escape(page.link),
        data=_data(page),
        style=style,
        script=script,
    )


def _policy(page: Page, style: str, script: str) -> str:
    """Allow these very scripts and styles, a sound that is made here, and the trackers (CSP 3)."""
    hosts = [f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" for parts in map(urlsplit, page.trackers)]
    rules = {
        "default-src": ["'none'"],
        "script-src": [_hash(script)],
        "style-src": [_hash(style)],
        "img-src": ["data:"],
        "media-src": ["blob:"],
        "connect-src": list(dict.fromkeys(hosts)) or ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "require-trusted-types-for": ["'script'"],
        "trusted-types": ["'none'"],
    }
    return "; ".join(" ".join([name, *values]) for name, values in rules.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _data(page: Page) -> str:
    """Give what the scripts need as JSON in which nothing ends a script element or a line."""
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
    }
    text = json.dumps(data, separators=(",", ":"))  # all that is not ASCII is escaped
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


@cache
def _script() -> str:
    licence = "\n".join(f" * {line}".rstrip() for line in _source("webtorrent/LICENSE").strip().splitlines())
    build = _source("webtorrent/webtorrent.min.js").partition("\n//# sourceMappingURL=")[0].strip()
    if not build.endswith(_EXPORT):
        raise AssertionError("this is another build of WebTorrent")
    module = f"const WebTorrent = (() => {{\n{build.removesuffix(_EXPORT)}return i\n}})()\n"
    bundle = f"\n/* WebTorrent\n *\n{licence}\n */\n{module}"
    return "".join([*map(_source, BEFORE), bundle, *map(_source, AFTER)])


@cache
def _source(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _paragraph(text: str) -> str:
    return f'<p class="description" dir="auto">{html.escape(text)}</p>' if text else ""


def _tags(tags: Sequence[str]) -> str:
    items = "".join(f'<li dir="auto">{html.escape(tag)}</li>' for tag in tags)
    return f'<ul class="tags" aria-label="Tags">{items}</ul>' if items else ""


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _spoken(seconds: float) -> str:
    """Say a duration as it is read out."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    parts = [(hours, "hour"), (minute, "minute"), (second, "second")]
    said = [format_count(number, unit) for number, unit in parts if number]
    return " ".join(said) or "0 seconds"
