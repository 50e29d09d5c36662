"""Durations, sizes and dates as people type and read them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memosync import quantities
from memosync.errors import UsageError

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 30, 12, 0, tzinfo=BERLIN)  # the day after its clocks went forward


@pytest.fixture(autouse=True)
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be where clocks change."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("0.5", 0.5),
        ("1:30", 90),
        ("1:02:03", 3723),
        ("0:00.5", 0.5),
        ("2m", 120),
        ("1h5m", 3900),
        ("1h", 3600),
        ("1h5m7.25s", 3907.25),
        ("2m30", 150),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert seconds == quantities.parse_duration(text) == quantities.parse_position(text)


@pytest.mark.parametrize(
    "text", ["", "0", "0:00", "-1", "1e3", "nan", "inf", "m", "5x", "1:2:3:4", "1 30", "1,5", 99 * "9"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        quantities.parse_duration(text)


@pytest.mark.parametrize("text", ["0", "0s", "0:00", "0:00:00", "0.0"])
def test_a_position_may_be_the_beginning(text: str) -> None:
    assert quantities.parse_position(text) == 0


@pytest.mark.parametrize("text", ["", ":", "s", "-0", "0:", "nan", "0 0", "0x"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        quantities.parse_position(text)


@given(st.integers(1, 10**7))
def test_a_clock_reads_back_as_its_duration(seconds: int) -> None:
    assert seconds == quantities.parse_duration(quantities.format_clock(seconds))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("500", 500),
        ("32k", 32_000),
        ("32K", 32_000),
        ("1.5G", 1_500_000_000),
        ("2M", 2_000_000),
        ("64Ki", 65_536),
        ("1Mi", 2**20),
        ("2GiB", 2**31),
        ("10kB", 10_000),
    ],
)
def test_a_size_is_read(text: str, size: int) -> None:
    assert size == quantities.parse_size(text)


@pytest.mark.parametrize("text", ["", "k", "-1", "1T", "1 k", "0x10", "1e3", "nan", "1.G", 99 * "9"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        quantities.parse_size(text)


@pytest.mark.parametrize(
    ("text", "begin"),
    [
        ("2026-08-01", datetime(2026, 8, 1, tzinfo=BERLIN)),
        ("2026-01-01", datetime(2026, 1, 1, tzinfo=BERLIN)),  # in winter, with another offset
        ("2026-03-30T10:30", datetime(2026, 3, 30, 10, 30, tzinfo=BERLIN)),
        ("2026-03-30T10:30:00Z", datetime(2026, 3, 30, 12, 30, tzinfo=BERLIN)),
        ("today", datetime(2026, 3, 30, tzinfo=BERLIN)),
        ("yesterday", datetime(2026, 3, 29, tzinfo=BERLIN)),  # before the clocks went forward
    ],
)
def test_a_date_is_read_as_the_moment_it_began_here(text: str, begin: datetime) -> None:
    assert begin.timestamp() == quantities.parse_when(text, NOW.astimezone()).timestamp()


def test_days_are_counted_back_from_now() -> None:
    now = NOW.astimezone()

    assert now - timedelta(days=7) == quantities.parse_when("7d", now)


@pytest.mark.parametrize(
    "text", ["", "7", "d", "-7d", "99999999d", "9999999d", "tomorrow-ish", "2026-13-01", "2026-02-30", "1.8.2026"]
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        quantities.parse_when(text, NOW)


@pytest.mark.parametrize(
    "text", ["0001-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31", "9999-12-31T23:59", "99999d"]
)
def test_a_date_far_away_is_a_date(text: str) -> None:
    assert quantities.parse_when(text, NOW).tzinfo


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (1785578400, "2026-08-01 12:00"),
        (-1, "1970-01-01 00:59"),
        (-(10**10), "1653-02-10 06:13"),  # when clocks here showed 53:28 minutes more, which TOML cannot write
        (-62135596800, "0001-01-01 00:00"),
        (-(2**40), "0001-01-01 00:00"),
        (2**40, "9999-12-31 23:59"),
        (2**62, "9999-12-31 23:59"),
    ],
)
def test_every_time_stamp_is_a_moment_of_the_calendar(seconds: int, written: str) -> None:
    when = quantities.from_stamp(seconds)

    assert written == quantities.format_moment(when)
    assert not (when.utcoffset() or timedelta()) % timedelta(minutes=1)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_950, "10 kB"),
        (49_123, "49 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (1_540_000, "1.5 MB"),
        (7_300_000_000_000, "7300 GB"),
    ],
)
def test_a_size_is_written_short(size: int, text: str) -> None:
    assert text == quantities.format_size(size)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "00:00"), (12.99, "00:12"), (3599, "59:59"), (3723, "1:02:03"), (360000, "100:00:00")]
)
def test_a_duration_is_written_as_a_clock(seconds: float, text: str) -> None:
    assert text == quantities.format_clock(seconds)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.22, "0.2 s"), (59.94, "59.9 s"), (59.96, "00:59"), (95, "01:35"), (3723, "1:02:03")]
)
def test_a_short_duration_is_written_in_seconds(seconds: float, text: str) -> None:
    assert text == quantities.format_duration(seconds)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1 s"), (7.2, "8 s"), (90, "90 s"), (91, "2 min"), (3541, "1 h 00 min"), (7_500, "2 h 05 min")],
)
def test_a_time_to_wait_is_written_rounded_up(seconds: float, text: str) -> None:
    assert text == quantities.format_span(seconds)
