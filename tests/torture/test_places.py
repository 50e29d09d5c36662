"""Clocks that are wrong, hours that come twice, and disks that cannot do what others can."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support import sound
from support.program import PROGRAM, Program

SOUND = sound.wav(sound.tone(0.3))
YEAR = timedelta(days=400)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.wav"
    path.write_bytes(SOUND)
    return path


def age(library: Path, by: timedelta) -> None:
    """Make all that is there so much younger: what is left of a clock that was set back."""
    for path in library.rglob("*"):
        then = path.stat().st_mtime_ns + int(by.total_seconds()) * 10**9
        os.utime(path, ns=(then, then))
    index = library / "index.toml"
    times, text = index.stat(), index.read_text()
    for entry in tomllib.loads(text)["memo"]:
        text = text.replace(str(entry["recorded"]), str(entry["recorded"] + by))
    index.write_text(text)
    os.utime(index, ns=(times.st_atime_ns, times.st_mtime_ns))


def titles(memosync: Program, *arguments: str, **variables: str) -> list[str]:
    """List them, in another environment if need be."""
    listed = memosync("list", "--json", *arguments, env=variables)
    assert "warning" not in listed.err
    return [json.loads(line)["title"] for line in listed.lines]


@pytest.mark.parametrize("by", [YEAR, -YEAR], ids=["back", "forward"])
def test_a_clock_that_is_set_hides_nothing_from_the_seeder(
    memosync: Program, source: Path, tmp_path: Path, by: timedelta
) -> None:
    memosync("record", source, "-t", "before")
    memosync("share", "last")
    age(memosync.library, by)

    memosync("record", "-", "-t", "after", stdin=SOUND)
    link = memosync("share", "last").out.strip()
    fetched = memosync.on(tmp_path / "Theirs")("fetch", link, "--timeout", "20")

    assert fetched.out == memosync("list", "after").out.split("\t")[0] + "\n"
    expected = ["before", "after"] if by > timedelta() else ["after", "before"]
    assert titles(memosync) == expected
    assert {row.split("\t")[1] for row in memosync("seed", "--status").lines} == {"seeding"}


def test_an_hour_that_comes_twice_and_one_that_never_comes(memosync: Program, source: Path) -> None:
    berlin = {"TZ": "Europe/Berlin"}
    first = datetime(2025, 10, 26, 0, 30, tzinfo=UTC)  # 2:30 in summer time, and an hour later again
    for title, then in {"first": first, "second": first + timedelta(hours=1)}.items():
        os.utime(source, (then.timestamp(), then.timestamp()))
        memosync("record", source, "-t", title, "--again", env=berlin)

    listed = [json.loads(line) for line in memosync("list", "--json", env=berlin).lines]
    assert [memo["recorded"] for memo in listed] == ["2025-10-26T02:30:00+01:00", "2025-10-26T02:30:00+02:00"]
    for zone in ("America/Los_Angeles", "Pacific/Kiritimati", "No/Where", "", "UTC-25"):
        assert titles(memosync, TZ=zone) == ["second", "first"]
    assert titles(memosync, "--since", "2025-10-26", **berlin) == ["second", "first"]

    index = memosync.library / "index.toml"
    index.write_text(index.read_text().replace("2025-10-26 02:30:00+01:00", "2026-03-29 02:30:00"))  # never was, there
    assert titles(memosync, **berlin) == ["second", "first"]
    memosync("share", "--all", "--no-seed", env=berlin)
    assert titles(memosync, **berlin) == ["second", "first"]


def test_a_disk_without_hard_links_rights_and_directories_to_sync_is_no_obstacle(
    memosync: Program, source: Path, tmp_path: Path
) -> None:
    theirs = memosync.on(tmp_path / "Theirs")
    theirs("record", source, "-t", "Theirs")
    link = theirs("share", "last").out.strip()
    calls = {"link,linkat": "EPERM", "chmod,fchmod,fchmodat": "EPERM"}
    strace = ["strace", "-f", "-qq", "-o", tmp_path / "trace", "-e", f"trace={','.join(calls)}"]
    strace += [word for names, error in calls.items() for word in ("-e", f"inject={names}:error={error}")]

    before = b""
    for arguments in (
        ["record", "--again", source],
        ["record", "-", "-t", "Two"],
        ["fetch", link],
        ["share", "last", "--no-seed"],
    ):
        index = memosync.library / "index.toml"
        before = index.read_bytes() if index.exists() else b""
        done = subprocess.run(
            [*map(str, [*strace, *PROGRAM, *arguments])],
            env=memosync.environment,
            input=SOUND,
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr

    assert "(INJECTED)" in (tmp_path / "trace").read_text()
    assert (memosync.library / ".memosync/index.1.toml").read_bytes() == before
    assert sorted(titles(memosync)) == ["Theirs", "Two", "source"]
