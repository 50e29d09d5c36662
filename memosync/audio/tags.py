"""Words as the tags of a file, ours and other people's.

The neighbour of `webm` in the room that owns PyAV.
"""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ..memo import Words, clean_description, clean_tags, clean_title, parse_id

if TYPE_CHECKING:
    import av
    import av.container


def to_tags(words: Words) -> dict[str, str]:
    """Name words as the tags of a memo's file, without those that are empty (Matroska tags, RFC 9559, 5.1.8)."""
    tags = {
        "title": words.title,
        "DESCRIPTION": words.description,
        "KEYWORDS": ",".join(words.tags),
        "DATE_RECORDED": words.recorded.isoformat(timespec="seconds") if words.recorded else "",
        "MEMOSYNC_ID": words.id or "",
    }
    return {name: value for name, value in tags.items() if value}


def words_of(source: av.container.InputContainer, stream: av.AudioStream | None = None) -> Words:
    """Find the words in the tags of a file, ours and other people's, those of its stream (Ogg) included.

    They are cleaned of what a terminal would obey.
    """
    tags = {**(stream.metadata if stream else {}), **source.metadata}
    tags = {name.lower(): value for name, value in reversed(tags.items())}
    return Words(
        title=clean_title(tags.get("title", "")),
        description=clean_description(tags.get("description") or tags.get("comment", "")),
        tags=clean_tags((tags.get("keywords") or tags.get("ikey", "").replace("; ", ",")).split(",")),  # IKEY: a WAV's
        recorded=_date(tags),
        id=parse_id(tags.get("memosync_id")),
    )


def _date(tags: dict[str, str]) -> datetime | None:
    """Find when it was recorded, local time where the tags name no other."""
    day, clock = tags.get("date", ""), tags.get("creation_time", "")
    together = f"{day} {clock}" if re.fullmatch(r"\d\d:\d\d:\d\d", clock) else clock  # a broadcast WAV has them apart
    for text in (tags.get("date_recorded", ""), together, day, tags.get("year", "")):
        padded = (
            text.strip() + "-01-01"[len(text.strip()) - 4 :] if re.fullmatch(r"\d{4}(-\d\d)?", text.strip()) else text
        )
        with contextlib.suppress(ValueError, OverflowError):
            when = datetime.fromisoformat(padded.strip())
            if when.year > 1970:  # what devices without a clock write
                when = when.replace(microsecond=0).astimezone(when.tzinfo)
                # offsets have whole minutes, in TOML and everywhere since 1972
                return (
                    when
                    if (when.utcoffset() or timedelta()) % timedelta(minutes=1) == timedelta()
                    else when.astimezone(UTC)
                )
    return None
