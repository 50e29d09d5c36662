"""When something was recorded, as recorders write it into their files and into their files' names.

Dates without an offset are of this place. What cannot be, what lies more than a day ahead, and what a device without a
clock writes is not believed; nor is what may as well be another date, as 04/03/2019.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from ..console import one_line
from ..quantities import local

_LONGEST = 80  # characters of a date in a tag
_AHEAD = timedelta(days=1)  # how far a clock may be wrong, or its time zone
_FIRST = 1877  # when sound was first recorded and played
_NO_CLOCK = [datetime(year, 1, 1, tzinfo=UTC) for year in (1904, 1956, 1970, 1980)]  # Macintosh (twice), Unix, FAT
_MONTHS = ["january", "february", "march", "april", "may", "june", "july", "august", "september"]
_MONTHS += ["october", "november", "december"]
_ZONES = {"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7}  # RFC 5322, 4.3
_ZONES |= {"Z": 0, "UT": 0, "UTC": 0, "GMT": 0, "CET": 1, "CEST": 2}
_SIGNS = [  # that mean others: 2019年3月4日 10时11分12秒, 2019년 3월 4일, 10h11m12s
    (r"(?<=\d)\s?[年月년월]\s?(?=\d)", "-"),
    (r"(?<=\d)\s?[日일]\s?", " "),
    (r"(?<=\d)[时時点點시分분hm]\s?(?=\d\d)", ":"),
    (r"(?<=\d\d)[秒초s]", ""),
    ("[\ua789\u2236]", ":"),  # what looks like a colon where a file's name may have none
]

_YMD = r"(?P<y>\d{4})\s?(?P<by>[-/:._ ])\s?(?P<m>\d\d?)\s?(?P=by)\s?(?P<d>\d\d?)"
_DMY = r"(?P<d>\d\d?)(?P<by>[-/.])\s?(?P<m>\d\d?)(?P=by)\s?(?P<y>\d{4})"
_SOLID = r"(?P<y>\d{4})(?P<m>\d\d)(?P<d>\d\d)"
_SHORT = (
    r"(?P<y>[01]\d|2[1-9])(?P<m>\d\d)(?P<d>\d\d)(?P<H>\d\d)(?P<M>\d\d)(?P<S>\d\d)"  # no year begins so, or it is 1901
)
_MON = r"(?P<month>[A-Za-z]{3,9})\.?"
_WEEKDAY = r"(?:[A-Za-z]{3,9},?\s+)?"
_WRITTEN = [
    rf"{_WEEKDAY}{_MON}\s+(?P<d>\d\d?)(?:st|nd|rd|th)?,?\s+(?P<y>\d{{4}})",
    rf"{_WEEKDAY}(?P<d>\d\d?)(?:st|nd|rd|th|\.)?[ -]+{_MON},?[ -]+(?P<y>\d{{4}})",
]
_CLOCK = r"(?P<H>\d\d?)(?P<per>[-:._ ]?)(?P<M>\d\d)(?:(?P=per)(?P<S>\d\d)(?:[.,]\d+)?)?"
_HALF = r"(?:\s?(?P<half>[AaPp])\.?[Mm]\.?)?"
_ZONE = r"(?:\s?(?P<zone>(?:UTC?|GMT)?\s?[-+]\d\d?(?::?\d\d){0,2}|[A-Z]{1,4}))?(?:\[[\w/]+\])?"
_UNIX = r"(1?\d{9})(\d{3}|\d{6})?(?:\.\d+)?"
_YEAR = r"(?P<y>\d{4})(?:[-/:.](?P<m>\d\d))?"
_CTIME = rf"{_WEEKDAY}{_MON}\s+(?P<d>\d\d?),?\s+{_CLOCK}{_ZONE}\s+(?P<y>\d{{4}})"
_IN_TAGS = [
    *(rf"{date}(?:(?:\s*[T_,]\s*|\s+(?:(?:at|-)\s+)?|-){_CLOCK}{_HALF}{_ZONE})?" for date in (_YMD, _DMY, *_WRITTEN)),
    _SHORT,
    rf"{_SOLID}(?:[ T_-]?{_CLOCK}{_ZONE})?",
    _CTIME,
]

_FREE = r"(?<!\d)(?<!\d[-.,])"  # no other number goes on here
_THEN = r"(?:\s*[-_T.,(@]\s*|\s*(?:,\s*)?(?:at|um|om|kl|à|a las|alle|às|ore)\s+|\s+)"
_EXACT = r"(?P<H>\d\d?)(?P<per>[-:._ ])(?P<M>\d\d)(?P=per)(?P<S>\d\d)(?:[-.,_]\d{3})?(?!\d)"
_ROUGH = r"(?P<H>\d\d?)(?P<per>[-:._])(?P<M>\d\d)(?![-:._]?\d)"
_TIGHT = r"(?P<H>\d\d)(?P<M>\d\d)(?P<S>\d\d)(?:\d{3})?(?!\d)"
_MINUTE = r"(?P<H>\d\d)(?P<M>\d\d)(?!\d)(?![-.]\d)"
_WHERE = r"(?:\s?(?P<zone>(?:UTC|GMT)(?:[-+]\d\d?(?::?\d\d)?)?|Z(?![A-Za-z])|[+]\d\d:?\d\d|-\d\d:\d\d))?"
_DATED = r"(?P<before>GMT|UTC)?(?<!\d)(?P<y>(?:18|19|20)\d\d)"
_LONG = rf"{_DATED}(?P<by>[-._ ])(?P<m>\d\d?)(?P=by)(?P<d>\d\d?)"
_FULL = rf"{_DATED}(?P<m>\d\d)(?P<d>\d\d)"
_BRIEF = r"(?<!\d)(?<!\d[-. ])(?P<y>\d\d)(?P<m>\d\d)(?P<d>\d\d)"
_IN_NAMES = [  # compiled when they are needed, as all here
    *(
        rf"{date}{_THEN}{clock}{_HALF}{_WHERE}"
        for date in (_LONG, _FREE + _DMY, *_WRITTEN)
        for clock in (_EXACT, _TIGHT, _ROUGH, _MINUTE)
    ),
    *(rf"{_FULL}[ T_.-]?{clock}{_WHERE}" for clock in (_TIGHT, _MINUTE)),
    *(rf"{_FULL}{_THEN}{clock}{_HALF}{_WHERE}" for clock in (_EXACT, _ROUGH)),
    rf"{_WEEKDAY}{_MON}\s+(?P<d>\d\d?)\s+{_EXACT}\s+(?P<y>\d{{4}})(?!\d)",
    rf"{_BRIEF}[-_ ]{_TIGHT}",
    rf"{_BRIEF}[-_]{_MINUTE}",
    rf"^{_BRIEF}[-_]\d{{3}}(?!\d)",
    *(rf"{date}(?!\d)" for date in (_FREE + _LONG, _FREE + _DMY, *_WRITTEN)),
    rf"{_FREE}{_FULL}(?![0-9A-Za-z])",
]
_MILLISECONDS = r"[A-Za-z]*[-_ ]?(1\d{9})\d{3}"


@dataclass(frozen=True, slots=True)
class Date:
    """A moment, as exactly as somebody wrote it."""

    moment: datetime  # aware, to the second; the first one where less is known
    parts: int = 6  # of year, month, day, hour, minute and second: how many are known

    def refines(self, other: Date) -> bool:
        """Tell whether this says the same as another one, and more."""
        mine, theirs = (local(date.moment).timetuple()[: other.parts] for date in (self, other))
        return self.parts > other.parts and mine == theirs


def choose(texts: Iterable[str], name: str, stamp: datetime | None, now: datetime) -> tuple[datetime, str]:
    """Decide when a file was recorded: by its tags, else by its name (without the ending), its time stamp, or now.

    With it comes what a person should be told, or nothing: that the date in it cannot be. Where only the day is known,
    the name or the time stamp tells the time of that day.
    """
    found = named = None
    doubtful, place = "", " in it"
    for text in filter(None, map(_plain, texts)):
        date = parse_date(text)
        if date and is_believable(date.moment, now):
            found, doubtful = date, ""
            break
        doubtful = doubtful or text
    for date, text in dates_in_name(name):
        if is_believable(date.moment, now):
            named = date
            break
        if not found and not doubtful and date.parts > 3 and str(date.moment.year) in text:  # of 850304_1011 who knows
            doubtful, place = text, " in its name"
    written = Date(local(stamp)) if stamp and is_believable(stamp, now) else None
    if named and (not found or named.refines(found)):
        found = named
    taken = "its name" if found else "its time stamp"
    if written and (not found or (found.parts == 3 and written.refines(found))):
        found = written
    if stamp and not found and not doubtful:
        doubtful, place = str(stamp.date()), " of its time stamp"
    word = f"the date{place}, {one_line(doubtful)[:50]}, cannot be relied on; " if doubtful else ""
    if found is None:
        return now, word and word + "the time is that of now"
    return found.moment, word and f"{word}{taken} is taken"


def first(texts: Iterable[str]) -> datetime | None:
    """Give the first date that may have been, be it in the future."""
    found = filter(None, map(parse_date, texts))
    return next((date.moment for date in found if is_believable(date.moment)), None)


def parse_date(text: str) -> Date | None:
    """Read a date, or a date and time, as the tags of a file have it; None for anything else and what cannot be.

    These are known: year, month and day with any of `- / : . _` between them or a blank (EBU Tech 3285 allows all of
    them in a broadcast WAV), or nothing (ISO 8601), then also with two digits of the year and the time to the second;
    day, month and year, where it is clear which is which; months by their English names, as in RFC 5322 and C's
    `asctime`; years and months alone; Unix times of nine digits on, in seconds, milliseconds or microseconds; and
    whatever else `datetime.fromisoformat` takes.
    """
    text = _plain(text)
    if not text or len(text) > _LONGEST:
        return None
    for pattern in _IN_TAGS:
        if (match := re.fullmatch(pattern, text)) and (date := _date_of(match)):
            return date
    try:
        if match := re.fullmatch(_YEAR, text):
            return _made(int(match["y"]), int(match["m"] or 1), 1, parts=2 if match["m"] else 1)
        if match := re.fullmatch(_UNIX, text):
            return _whole(datetime.fromtimestamp(int(match[1]), UTC))
        return _whole(datetime.fromisoformat(text)) if text.isascii() else None
    except (ValueError, OverflowError, OSError):
        return None


def dates_in_name(name: str) -> Iterator[tuple[Date, str]]:
    """Find dates in a file's name, the most exact and most certain first, with the text that says so.

    Recorders, telephones and messengers write `20240304_101112`, `2024-03-04 at 10.11.12`, `GMT20240304-101112`,
    `240304_1011` and the like; `PTT-20240304-WA0001` and `240304_0001` (a number follows) name the day. Also believed
    are 04.03.2024, March 4, 2024, and milliseconds of Unix time that are the whole name but for a word before them.
    Six digits alone (`Take 240304`), dates without a year or with two digits of one, day and month in unclear order,
    and digits that are part of a longer number, a telephone number or a version, are not.
    """
    name = _plain(name[:255])
    if not re.search(r"\d\d", name):
        return  # before all those are compiled
    for pattern in _IN_NAMES:
        for match in re.finditer(pattern, name):
            if date := _date_of(match):
                yield date, match[0].strip()
    milliseconds = re.fullmatch(_MILLISECONDS, name)
    if milliseconds and (date := parse_date(milliseconds[1])):
        yield date, milliseconds[1]


def is_believable(moment: datetime, now: datetime | None = None) -> bool:
    """Tell whether something may have been recorded then; without `now` the future is as good as any other time."""
    if moment.year < _FIRST or moment.year in (1904, 1970):
        return False
    if any(-timedelta(hours=14) <= moment - default <= timedelta(hours=38) for default in _NO_CLOCK):
        return False  # that day in any time zone
    return now is None or moment <= now + _AHEAD


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", text[:1000].partition("\0")[0])
    for pattern, sign in _SIGNS:
        text = re.sub(pattern, sign, text)
    return text.strip()


def _date_of(match: re.Match[str]) -> Date | None:
    """Make a date of what a pattern found; None where that cannot be."""
    found = {name: value for name, value in match.groupdict().items() if value}
    year, month, day = int(found["y"]), int(found.get("m", 0)) or _month(found.get("month", "")), int(found["d"])
    if found.get("by") in ("/", "-") and match.start("d") < match.start("y"):  # as Europeans or Americans write it
        if month <= 12 and day <= 12 and month != day:
            return None
        month, day = (day, month) if month > 12 else (month, day)
    year += 2000 if len(found["y"]) == 2 else 0
    counted = not found.get("per") and "S" not in found and found.get("H") == "00"  # 240304_0001: the first of that day
    try:
        if "H" not in found or counted:
            return _made(year, month, day, parts=3)
        hour, minute, second = int(found["H"]), int(found["M"]), int(found.get("S", 0))
        if "half" in found:
            hour = hour % 12 + 12 * (found["half"] in "Pp") if 1 <= hour <= 12 else -1
        return _made(year, month, day, hour, minute, second, _zone(found.get("zone") or found.get("before")))
    except (ValueError, OverflowError, OSError):
        return None


def _made(
    year: int,
    month: int,
    day: int,
    hour: int = 0,
    minute: int = 0,
    second: int = 0,
    zone: timezone | None = None,
    *,
    parts: int = 6,
) -> Date:
    """Make a date, which may say 24:00:00 or have a leap second; ValueError, OverflowError or OSError."""
    later = timedelta()
    if (hour, minute, second) == (24, 0, 0):
        hour, later = 0, timedelta(days=1)
    if second == 60:
        second, later = 59, timedelta(seconds=1)
    return _whole(datetime(year, month, day, hour, minute, second, tzinfo=zone) + later, parts)


def _whole(moment: datetime, parts: int = 6) -> Date:
    moment = moment.replace(microsecond=0)
    if not moment.tzinfo:
        moment = local(moment)
    elif (moment.utcoffset() or timedelta()) % timedelta(minutes=1):  # TOML cannot write that
        moment = moment.astimezone(UTC)
    return Date(moment, parts)


def _month(name: str) -> int:
    """Give the number of an English month, also of a shortened one; 0 for any other word."""
    return next((number for number, month in enumerate(_MONTHS, 1) if month.startswith(name.lower())), 0)


def _zone(text: str | None) -> timezone | None:
    """Read an offset, or a zone by its name; None for nothing, ValueError for anything else."""
    if not text:
        return None
    if match := re.fullmatch(r"(?:UTC?|GMT)?\s?([-+])(\d\d?)(?::?(\d\d))?(?::?(\d\d))?", text):
        offset = timedelta(hours=int(match[2]), minutes=int(match[3] or 0), seconds=int(match[4] or 0))
        return timezone(-offset if match[1] == "-" else offset)
    if text not in _ZONES:
        raise ValueError(text)
    return timezone(timedelta(hours=_ZONES[text]))
