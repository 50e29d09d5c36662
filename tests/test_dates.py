"""Dates as recorders write them into their files and into their names: what is believed, and what is not."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import sound
from support.library import make_memo
from support.program import Program

from memosync import index, memo, quantities
from memosync.audio import dates, exporting, tags
from memosync.audio.carried import NOTHING
from memosync.index import Index
from memosync.memo import Words
from memosync.page import page

NOW = datetime(2026, 8, 25, 10, 11, 12, tzinfo=UTC)
DAY = datetime(2019, 3, 4).astimezone()
HERE = datetime(2019, 3, 4, 10, 11, 12).astimezone()
THERE = datetime(2019, 3, 4, 10, 11, 12, tzinfo=UTC)
EAST = datetime(2019, 3, 4, 10, 11, 12, tzinfo=timezone(timedelta(hours=1)))
STAMP = datetime(2017, 2, 3, 4, 5, 6, tzinfo=UTC)

TAGS = {  # what stands in a tag, and when that was
    "2019": datetime(2019, 1, 1).astimezone(),
    "2019-03": datetime(2019, 3, 1).astimezone(),
    **dict.fromkeys(("2019-03-04", "2019/03/04", "2019:03:04", "2019_03_04", "2019.03.04", "2019 03 04"), DAY),
    **dict.fromkeys(("2019-3-4", "2019/3/4", "2019- 3- 4", "20190304", " 2019-03-04\0\0", "２０１９-０３-０４"), DAY),
    **dict.fromkeys(("04.03.2019", "4.3.2019", "March 4, 2019", "Mar 4 2019", "4 March 2019", "04-Mar-2019"), DAY),
    **dict.fromkeys(("Monday, March 4, 2019", "2019年3月4日", "2019년 3월 4일"), DAY),
    "03/03/2019": datetime(2019, 3, 3).astimezone(),
    "25/03/2019": datetime(2019, 3, 25).astimezone(),
    "03/25/2019": datetime(2019, 3, 25).astimezone(),
    "25-3-2019 10:11": datetime(2019, 3, 25, 10, 11).astimezone(),
    "2019-03-04 10:11": datetime(2019, 3, 4, 10, 11).astimezone(),
    "2019-03-04T10": datetime(2019, 3, 4, 10).astimezone(),
    "2019-W10-1": DAY,
    **dict.fromkeys(("2019:03:04 10:11:12", "2019/03/04 10:11:12", "2019.03.04 10.11.12", "2019_03_04 10_11_12"), HERE),
    **dict.fromkeys(("2019 03 04 10 11 12", "2019-03-04 10-11-12", "2019-03-04 101112", "20190304 101112"), HERE),
    **dict.fromkeys(
        ("20190304101112", "20190304T101112", "2019-03-04T10:11:12.987654321", "2019-03-04 10:11:12,5"), HERE
    ),
    "190304101112": HERE,  # and not of 1903
    "201903041011": datetime(2019, 3, 4, 10, 11).astimezone(),
    "197503041011": datetime(1975, 3, 4, 10, 11).astimezone(),
    **dict.fromkeys(
        ("04.03.2019 10:11:12", "04.03.2019, 10:11:12", "04.03.2019 - 10:11:12", "Mon Mar  4 10:11:12 2019"), HERE
    ),
    **dict.fromkeys(("MON MAR 04 10:11:12 2019", "March 4, 2019 at 10:11:12 AM"), HERE),
    "March 4, 2019 10:11 PM": datetime(2019, 3, 4, 22, 11).astimezone(),
    "2019-03-04 12:11:12 a.m.": datetime(2019, 3, 4, 0, 11, 12).astimezone(),
    **dict.fromkeys(("2019-03-04T10:11:12Z", "2019-03-04T10:11:12.345Z", "20190304T101112Z", "1551694272"), THERE),
    **dict.fromkeys(("2019-03-04 10:11:12 UTC", "2019-03-04 10:11:12 GMT", "1551694272123", "1551694272.5"), THERE),
    **dict.fromkeys(("2019-03-04T10:11:12+0000", "2019-03-04T10:11:12-00:00", "Mon Mar 4 10:11:12 UTC 2019"), THERE),
    **dict.fromkeys(("2019-03-04T10:11:12+0100", "2019-03-04T10:11:12+01", "2019-03-04T10:11:12 +01:00"), EAST),
    **dict.fromkeys(("Mon, 04 Mar 2019 10:11:12 +0100", "2019-03-04 10:11:12 UTC+1", "20190304T101112+0100"), EAST),
    **dict.fromkeys(
        ("2019-03-04T10:11:12+01:00:00", "2019-03-04 10:11:12 CET", "2019-03-04T10:11:12+01:00[Europe/Berlin]"), EAST
    ),
    "2019-03-04T10:11-05:00": datetime(2019, 3, 4, 10, 11, tzinfo=timezone(-timedelta(hours=5))),
    "2019-03-04T10:11-05": datetime(2019, 3, 4, 10, 11, tzinfo=timezone(-timedelta(hours=5))),
    "2019-03-04T24:00:00": datetime(2019, 3, 5).astimezone(),
    "2016-12-31T23:59:60Z": datetime(2017, 1, 1, tzinfo=UTC),
    "1962-05-06": datetime(1962, 5, 6).astimezone(),  # a tape
    "2026-08-26T10:00:00Z": datetime(2026, 8, 26, 10, tzinfo=UTC),  # a clock that is a day ahead
}
NO_DATES = [
    *("0000-00-00", "2019-00-00", "2019-03-00", "2019-02-30", "2019-13-01", "2019-03-04 25:00:00"),
    "0000-00-00 00:00:00",
    *("2019-03-04T10:61:00", "2019-03-04T24:00:01", "2019-03-04T10:11:12+25:00", "0001-01-01", "0000", "1492"),
    *("1904-01-01T00:00:00Z", "1903-12-31T19:00:00-05:00", "1970-01-01", "1970-01-01T01:00:00+01:00", "1970", "1904"),
    *("1969-12-31T19:00:00-05:00", "1980-01-01", "1980-01-01 00:00:12", "0", "86400", "1970-01-05 06:07:08"),
    *("2040-02-06T06:28:16Z", "2026-08-26T10:11:13Z", "2026-08-27", "9999-12-31T23:59:59-23:59", "9999-12-31"),
    *("04/03/2019", "3/4/2019", "04-03-2019", "04.03.19", "03.2019", "12.03.", "summer", "Marathon 4, 2019"),
    "22:39:31",
    *("\x1b[2J", "9" * 400, "-" * 100_000, "2019-03-04" * 40, "2019-03/04", "２", "1551694272" * 2, "4 2019"),
]  # fmt: skip


@pytest.mark.parametrize("text", TAGS, ids=lambda text: ascii(text)[:40])
def test_a_date_in_a_tag_is_read(text: str) -> None:
    moment, word = dates.choose([text], "talk", STAMP, NOW)

    assert (TAGS[text], TAGS[text].utcoffset(), "") == (moment, moment.utcoffset(), word)


@pytest.mark.parametrize("text", NO_DATES, ids=lambda text: ascii(text)[:40])
def test_a_date_that_cannot_be_is_not_believed_and_that_is_said(text: str) -> None:
    moment, word = dates.choose([text], "talk", STAMP, NOW)

    assert (STAMP, True) == (moment, word.endswith("cannot be relied on; its time stamp is taken"))
    assert len(word) < 150
    assert not set(word) & set("\x1b\n")


def test_where_no_tag_names_a_date_nothing_is_said() -> None:
    assert (STAMP, "") == dates.choose(["", " ", "\0"], "talk", STAMP, NOW)


NAMES = {  # a file's name without its ending, and when that was
    **dict.fromkeys(("20190304_101112", "20190304101112", "REC_20190304-101112"), HERE),
    **dict.fromkeys(("190304-101112", "20190304 101112-8C0E"), HERE),
    **dict.fromkeys(("Voice 2019-03-04 at 10.11.12", "Recording 2019-03-04 10.11.12", "190304_101112_Tr1"), HERE),
    **dict.fromkeys(("WhatsApp Audio 2019-03-04 at 10.11.12 AM", "audio_2019-03-04_10-11-12 (2)"), HERE),
    **dict.fromkeys(("Voice 190304_101112",), HERE),
    **dict.fromkeys(("signal-2019-03-04-10-11-12-345", "signal-2019-03-04-101112", "2019-03-04 10-11-12"), HERE),
    **dict.fromkeys(("Bildschirmaufnahme 2019-03-04 um 10.11.12", "Anna(01701234567)_20190304101112"), HERE),
    **dict.fromkeys(("20190304101112345",), HERE),
    **dict.fromkeys(("Call recording 01701234567_190304_101112", "recording-20190304-101112"), HERE),
    **dict.fromkeys(("2019-03-04T10_11_12",), HERE),
    **dict.fromkeys(("2019-03-04 10꞉11꞉12", "录音 2019年3月4日 10时11分12秒"), HERE),
    **dict.fromkeys(("Talk 04.03.2019 10-11-12", "2019_03_04_10_11_12"), HERE),
    **dict.fromkeys(("Mon Mar  4 10-11-12 2019", "2019-03-04 10h11m12s", "SoundRecord-2019-03-04-10-11-12"), HERE),
    **dict.fromkeys(("190304_1011", "2019-03-04 10.11", "Call_20190304_1011"), HERE.replace(second=0)),
    **dict.fromkeys(("201903041011", "190304-1011_02"), HERE.replace(second=0)),
    "Screen Recording 2019-03-04 at 10.11.12\u202fPM": HERE.replace(hour=22),
    **dict.fromkeys(("GMT20190304-101112_Recording", "20190304T101112Z", "abc (2019-03-04 at 11.11.12 GMT+1)"), THERE),
    **dict.fromkeys(("recording1551694272123", "1551694272123"), THERE),
    **dict.fromkeys(("2019-03-04T10-11-12.345Z", "recording-2019-03-04T10_11_12-345Z"), THERE),
    "20190304T101112+0100": EAST,
    **dict.fromkeys(("PTT-20190304-WA0001", "AUD-20190304-WA0003", "20190304", "2019-03-04", "Talk 2019-3-4"), DAY),
    **dict.fromkeys(("190304_0001", "190304_001", "20190304_0003", "2019-03-04-2", "2019-03-04 5 people"), DAY),
    **dict.fromkeys(("Interview 04.03.2019", "Talk, March 4, 2019", "4 Mar 2019 talk"), DAY),
    **dict.fromkeys(("20190304会议", "會議 2019年3月4日"), DAY),
}  # fmt: skip
NO_NAMES = [
    *("Interview 12.03.", "Take 240304", "Take 12", "240304", "12.03.24", "Interview 04-03-2019", "04032019", "2019"),
    "2019-03",
    *("030-240304-1011", "+49-170-20190304", "0170 2019-0304", "120190304", "20190304a", "d20190304f00", "201903041"),
    "v1.20190304",
    *("20191304", "20190230_101112", "991304_1011", "190304_2561", "0.20190304", "1551694272", "4915112345678"),
    "9783161484100",
    "850304_1011",
    *("a1551694272123b", "12345678", "Room 1234_5678", "IMG_1234", "DS_0001", "ZOOM0001", "Track 01"),
    "DR0000_0001",
    "",
    *("192.168.2019.03.04", "3.2019.03.04", "Marathon 4, 2019", "Sun 2019", "4 mares 2019", "-" * 255, "1" * 255),
    "1-" * 120,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=lambda text: ascii(text)[:40])
def test_a_date_in_a_recorder_s_name_is_read(name: str) -> None:
    assert (NAMES[name], "") == dates.choose([], name, STAMP, NOW)


@pytest.mark.parametrize("name", NO_NAMES, ids=lambda text: ascii(text)[:40])
def test_what_may_be_another_number_in_a_name_is_no_date(name: str) -> None:
    assert (STAMP, "") == dates.choose([], name, STAMP, NOW)


@pytest.mark.parametrize("name", ["20400206_062816", "19800101_000012", "REC_19700101-000000"])
def test_a_recorder_s_name_that_cannot_be_is_said(name: str) -> None:
    moment, word = dates.choose([], name, STAMP, NOW)

    assert STAMP == moment
    assert "in its name" in word
    assert "its time stamp" in word


def test_tags_come_before_the_name_and_the_name_before_the_time_stamp() -> None:
    assert HERE == dates.choose(["", "2040-01-01", "2019-03-04 10:11:12"], "20180102_030405", STAMP, NOW)[0]
    moment, word = dates.choose(["0000-00-00"], "20190304_101112", STAMP, NOW)
    assert (HERE, True) == (moment, word.endswith("its name is taken"))
    assert HERE == dates.choose([], "20190304_101112", STAMP, NOW)[0]


def test_what_is_more_exact_and_of_the_same_day_is_taken() -> None:
    late = HERE.replace(hour=23)

    assert (late, "") == dates.choose([], "PTT-20190304-WA0001", late, NOW)
    assert (late, "") == dates.choose(["2019-03-04"], "talk", late, NOW)
    assert (HERE, "") == dates.choose(["2019-03-04"], "20190304_101112", late, NOW)
    assert (HERE, "") == dates.choose(["2019"], "20190304_101112", STAMP, NOW)
    assert (HERE, "") == dates.choose([], "20190304_101112", late, NOW)
    assert (DAY, "") == dates.choose([], "PTT-20190304-WA0001", late + timedelta(days=1), NOW)
    assert (datetime(2019, 1, 1).astimezone(), "") == dates.choose(["2019"], "talk", late, NOW)  # of a copy, perhaps


def test_without_a_time_stamp_that_can_be_it_is_now() -> None:
    assert (NOW, "") == dates.choose([], "", None, NOW)
    for stamp in (datetime(1970, 1, 1, tzinfo=UTC), NOW + timedelta(days=2)):
        moment, word = dates.choose([], "talk", stamp, NOW)
        assert (NOW, True) == (moment, word.endswith("the time is that of now"))
    assert dates.choose(["2040"], "talk", None, NOW)[1].endswith("the time is that of now")


@given(st.text(max_size=40) | st.text("0123456789-:./_ TZ+,", max_size=40), st.text("0123456789-._ TWA+", max_size=40))
def test_nothing_that_stands_anywhere_breaks_it(text: str, name: str) -> None:
    moment, _ = dates.choose([text], name, STAMP, NOW)

    assert moment.utcoffset() is not None
    assert not moment.microsecond
    assert timedelta() == (moment.utcoffset() or timedelta()) % timedelta(minutes=1)
    assert moment <= NOW + timedelta(days=1)


DAYS = [datetime.min, datetime.max.replace(microsecond=0)]
OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
WRITTEN = st.builds(datetime.replace, st.sampled_from(DAYS) | st.datetimes(), microsecond=st.just(0))
LATE = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(-timedelta(hours=12)))
EARLY = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))


@contextmanager
def at(zone: str) -> Iterator[None]:
    """Be where clocks show another time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize("zone", ["Etc/GMT+12", "Pacific/Kiritimati", "Europe/Amsterdam", "UTC-25", "XXX-1:02:03"])
@settings(max_examples=30)
@given(naive=WRITTEN, offset=st.none() | OFFSETS)
@example(naive=DAYS[1], offset=LATE.tzinfo)
@example(naive=DAYS[0], offset=EARLY.tzinfo)
@example(naive=datetime(1930, 5, 1), offset=None)  # when Amsterdam was 19 minutes and 32 seconds ahead
def test_every_date_that_toml_can_write_holds_everywhere(zone: str, naive: datetime, offset: timezone | None) -> None:
    written = naive.replace(tzinfo=offset)
    with at(zone):
        text = index.dumps(Index((make_memo(1, recorded=written, trashed=written),)))
        (one,) = index.loads(text).memos
        again = index.dumps(Index((one,)))
        when = one.recorded

        assert (one,) == index.loads(again).memos
        assert when.tzinfo
        assert naive == when.replace(tzinfo=None) or not offset
        assert one.id == memo.id_in_file_name(memo.file_name("", when, one.id))
        assert len("2026-08-25 10:11") == len(quantities.format_moment(when))
        assert quantities.parse_when(when.isoformat(), NOW) == when
        said = Words(title="T", recorded=when, id=one.id)
        assert when == datetime.fromisoformat(tags.to_tags(said)["DATE_RECORDED"])
        assert exporting._to_id3(said, NOTHING)["date"]
        assert dates.choose([when.isoformat()], "talk", when, NOW)[0].tzinfo
        assert not dates.Date(when).refines(dates.Date(when))
        assert f"{when.year}" in page._date(when)
        if found := dates.parse_date(when.isoformat()):
            assert found.moment == when


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with a memo of the last hour of the calendar, one of its first, and one without an offset."""
    folder = tmp_path_factory.mktemp("far")
    (folder / "tone.wav").write_bytes(sound.wav(sound.tone(0.5)))
    program = Program(folder / "Memos", {"HOME": str(folder)})
    program("record", "--again", *[folder / "tone.wav"] * 3)
    path = program.library / "index.toml"
    memos = index.loads(path.read_text()).memos
    dated = zip(memos, (LATE, EARLY, datetime(1930, 5, 1)), strict=True)
    path.write_text(index.dumps(Index(tuple(replace(one, recorded=when) for one, when in dated))))
    return program.library


def test_memos_of_the_first_and_the_last_day_are_like_any_other(memosync: Program, far: Path, tmp_path: Path) -> None:
    shutil.copytree(far, memosync.library)
    memosync.environment["TZ"] = "Europe/Amsterdam"
    rows = [row.split("\t")[:2] for row in memosync("list", "--since", "0001-01-01T00:00:00+14:00").lines]
    late, old, early = [memo_id for memo_id, _ in rows]

    memosync("export", late, early, "-f", "mp3", "-o", f"{tmp_path}/")
    memosync("edit", early, "-t", "New")
    memosync("share", late, "--public", "--no-seed", "--tracker", "ws://127.0.0.1:9", "--page", tmp_path / "page.html")
    memosync("rm", late, old)

    assert [LATE.isoformat(), "1930-04-30T23:40:28+00:00", EARLY.isoformat()] == [when for _, when in rows]
    said = [sound.probe(path)["tags"] for path in sorted(tmp_path.glob("*.mp3"))]
    assert {"9999", "0001"} == {tags["date"] for tags in said}
    assert {LATE.isoformat(), EARLY.isoformat()} == {tags["date_recorded"] for tags in said}
