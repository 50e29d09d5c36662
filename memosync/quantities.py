"""Durations, sizes and dates as people type and read them."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

from .errors import UsageError

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_CLOCK = re.compile(r"(?:(\d{1,6}):)?(\d{1,6}):(\d{1,2}(?:\.\d{1,9})?)")
_SPELLED = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9}(?:\.\d{1,9})?)s?)?")


def parse_duration(text: str) -> float:
    """Read `90`, `1:30`, `2m` or `1h5m` as seconds; UsageError for anything else and for nothing at all."""
    match = _CLOCK.fullmatch(text) or _SPELLED.fullmatch(text)
    hours, minutes, seconds = match.groups(default="0") if match else ("0", "0", "0")
    total = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if not total:
        raise UsageError(f"{text!r} is not a duration", "write it as 90, 1:30, 2m or 1h5m")
    return total


def parse_position(text: str) -> float:
    """Read a duration, or 0, as seconds from the beginning; UsageError for anything else."""
    return 0.0 if re.fullmatch(r"(0+:)*0+(\.0+)?s?", text) else parse_duration(text)


def parse_size(text: str) -> int:
    """Read `500`, `32k`, `1.5G` or `64Ki` as bytes (or bits); UsageError for anything else."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)([kMG]i?|)B?", text.replace("K", "k"))
    if not match:
        raise UsageError(f"{text!r} is not a size", "write it as 500, 32k, 1.5G or 64Ki")
    return int(float(match[1]) * _UNITS[match[2]])


def parse_when(text: str, now: datetime) -> datetime:
    """Read `2026-08-01`, `7d` or `yesterday` (or `today`) as the moment it began; UsageError for anything else."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if text in ("today", "yesterday"):
        # the offset is looked up again: yesterday may have had another
        return local((midnight - timedelta(days=text == "yesterday")).replace(tzinfo=None))
    try:
        if match := re.fullmatch(r"(\d{1,5})d", text):
            return now - timedelta(days=int(match[1]))
        when = datetime.fromisoformat(text)
        return when if when.tzinfo else local(when)
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is not a date", "write it as 2026-08-01, 7d or yesterday") from None


def parse_until(text: str, now: datetime) -> datetime:
    """Read the same as the last moment of it, which is another one where a day is named; UsageError."""
    when = parse_when(text, now)
    if not re.fullmatch(r"today|yesterday|[\d-]{8,10}|\d{4}-?W[\d-]{2,4}", text):
        return when
    return local(when.replace(tzinfo=None, hour=23, minute=59, second=59, microsecond=999_999))


def local(when: datetime) -> datetime:
    """Give a moment as clocks here show it; one without an offset is of this place.

    UTC stands in for an offset that TOML and RFC 3339 cannot write, as local mean time had; at the edges of the
    calendar, where the same moment here would be in the year 0 or 10000, it stays as it is.
    """
    try:
        here = when.astimezone()
        return here.astimezone(UTC) if (here.utcoffset() or timedelta()) % timedelta(minutes=1) else here
    except (ValueError, OverflowError, OSError):
        return when if when.tzinfo else when.replace(tzinfo=UTC)


def from_stamp(seconds: float) -> datetime:
    """Give the local time of a Unix time stamp, which file systems have beyond the calendar: its edge then."""
    try:
        return local(datetime.fromtimestamp(seconds, UTC))
    except (ValueError, OverflowError, OSError):
        return (datetime.min if seconds < 0 else datetime.max).replace(microsecond=0, tzinfo=UTC)


def format_moment(when: datetime) -> str:
    """Write `2026-08-25 10:11`; the year always has four digits, which C's `%Y` does not give it (glibc)."""
    return f"{when.date()} {when:%H:%M}"


def format_clock(seconds: float) -> str:
    """Write seconds as `00:12` or `1:02:03`."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute:02}:{second:02}"


def format_duration(seconds: float) -> str:
    """Write how long a memo is as `3.0 s`, `01:35` or `1:02:03`."""
    return f"{seconds:.1f} s" if round(seconds, 1) < 60 else format_clock(seconds)


def format_level(peak: float) -> str:
    """Write a level in dBFS as `−18 dB`."""
    return f"{max(peak, -99):.0f} dB".replace("-", "−") if math.isfinite(peak) else "−∞ dB"


def format_span(seconds: float) -> str:
    """Write seconds as `8 s`, `3 min` or `1 h 05 min`, rounded up: what is not over takes a second at least."""
    if seconds <= 90:
        return f"{max(1, math.ceil(seconds))} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def format_count(number: int, what: str = "memo") -> str:
    """Write `1 memo` or `2 memos`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def format_size(size: float) -> str:
    """Write bytes as `49 kB` or `1.5 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or size >= 9.95 else f"{size:.1f} {unit}"
