#!/usr/bin/env python
"""Make what stands beside this file: 0.1.0 itself, two libraries as it left them, and what it said of them.

    tests/upgrade/make.py       # in a clone that has the commit; with ffmpeg, tar and the program's dependencies

It needs doing only once. `memosync-0.1.0.zip` is the program, without WebTorrent's build: `PYTHONPATH` takes the zip
as it is. `library-0.1.0.tar.gz` has `Memos`, in which lies everything that may lie in a library, and `Theirs`, from
which some of it came; its owner, modes and time stamps count. `said-0.1.0.json` is what 0.1.0 printed of `Memos`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

COMMIT = "703743af2ade6f11de250b224e6b8c4a165d5641"  # the last one of 0.1.0
PLACE = Path(__file__).resolve().parent
PROGRAM, LIBRARIES, SAID = (PLACE / name for name in ("memosync-0.1.0.zip", "library-0.1.0.tar.gz", "said-0.1.0.json"))
WITHOUT = ":(exclude)memosync/page/webtorrent/webtorrent.min.js"
COMMAND = [sys.executable, "-P", "-m", "memosync"]
PORT = 45678  # one that the kernel may give to anybody
TRACKERS = ["udp://tracker.example:6969/announce", "https://tracker.example/announce", "udp://127.0.0.1:6969/announce"]
HEAD = "# My memos. Ask me before you change anything here.\n# – A.\n"
DAY = timedelta(days=1)


class Memosync:
    """0.1.0 on one library, on loopback only."""

    def __init__(self, library: Path) -> None:
        self.library = library
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MEMOSYNC_")},
            "HOME": str(library.parent),
            "MEMOSYNC_LIBRARY": str(library),
            "MEMOSYNC_NETWORK": "loopback",
            "PYTHONPATH": str(PROGRAM),
        }

    def start(self, *arguments: object, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*COMMAND, *map(str, arguments)], env=self.environment, **options)

    def __call__(self, *arguments: object) -> str:
        process = self.start(*arguments, stdout=subprocess.PIPE)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0, arguments
        return out.decode().strip()

    @property
    def index(self) -> Path:
        return self.library / "index.toml"

    def memos(self) -> dict[str, dict[str, Any]]:
        """Give the entries of the index by their titles."""
        return {memo["title"]: memo for memo in tomllib.loads(self.index.read_text()).get("memo", [])}

    def let_a_day_pass(self) -> None:
        """Have the next change keep the index of yesterday."""
        yesterday = self.index.stat().st_mtime - DAY.total_seconds()
        os.utime(self.index, (yesterday, yesterday))


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def sound(path: Path, source: str, *options: str) -> Path:
    """Make something to record, of a date that is its own."""
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-ar", "48000", *options, "-map_metadata", "-1"]
    subprocess.run([*command, path], check=True)
    day = datetime(2026, 3, 1, 9, 30, tzinfo=UTC) + len(list(path.parent.glob("*.*"))) * DAY
    os.utime(path, (day.timestamp(), day.timestamp()))
    return path


def pack_program() -> None:
    command = ["git", "archive", "--format=zip", "-9", f"--output={PROGRAM}", COMMIT, "memosync", WITHOUT]
    subprocess.run(command, cwd=PLACE.parent.parent, check=True)


def pack_libraries(place: Path) -> None:
    ours = ["--owner=0", "--group=0", "--numeric-owner", "--sort=name"]
    exact = ["--format=posix", "--pax-option=delete=atime,delete=ctime"]
    tar = subprocess.run(
        ["tar", "-C", place, *ours, *exact, "-c", "Memos", "Theirs"], stdout=subprocess.PIPE, check=True
    )
    LIBRARIES.write_bytes(subprocess.run(["gzip", "-9n"], input=tar.stdout, stdout=subprocess.PIPE, check=True).stdout)


def give(theirs: Memosync, sounds: Path) -> None:
    """Have two memos to give: a long one that takes a while, and a short one."""
    noise = sound(sounds / "long.webm", "anoisesrc=duration=7:seed=1", "-c:a", "libopus", "-b:a", "256k")
    tone = sound(sounds / "short.wav", "sine=660:duration=2")
    theirs("record", noise, "-t", "Their long talk", "-d", "Nothing but noise", "--tag", "noise")
    theirs("record", tone, "-t", "Their word", "-d", "A tone", "--tag", "töne", "--bitrate", "16k")
    theirs("share", "--all", "--no-seed")


def fill(ours: Memosync, sounds: Path) -> None:
    """Have a memo of each kind that was made here."""

    def record(title: str, source: Path, *options: object) -> str:
        return ours("record", source, "-t", title, "--bitrate", "16k", *options)

    def tone(frequency: int) -> Path:  # whose samples are heard on the way to the encoder
        return sound(sounds / f"{frequency}.wav", f"sine={frequency}:duration=2")

    def packets(seed: int) -> Path:  # which are copied, and not heard before somebody asks
        options = ("-c:a", "libopus", "-b:a", "16k", "-ac", "1")
        return sound(sounds / f"{seed}.webm", f"anoisesrc=duration=1.5:amplitude=0.2:seed={seed}", *options)

    record("Never shared", tone(440), "-d", "Of two lines,\nand “quoted”", "--tag", "work", "--tag", "ärger")
    own = record("Über own trackers: 1/2 & more", packets(2), "--tag", "work")
    ours("share", own, "--no-seed", *(text for url in TRACKERS for text in ("--tracker", url)))
    (ours.library / ours.memos()["Über own trackers: 1/2 & more"]["file"]).chmod(0o640)
    ours.let_a_day_pass()
    ours("share", record("Default trackers", tone(550)), "--no-seed")
    ours.let_a_day_pass()
    edited = record("Before it was edited", packets(3), "-d", "as it was", "--tag", "before")
    ours("share", edited, "--no-seed")
    ours("edit", edited, "-t", "Edited afterwards", "-d", "as it is", "--tag", "-before", "--tag", "after")
    stopped = record("Shared no longer", tone(330))
    ours("share", stopped, "--no-seed")
    ours("share", "--stop", stopped)
    thrown = record("Thrown away when it was shared", tone(220), "--tag", "work")
    ours("share", thrown, "--no-seed")
    ours("rm", thrown)
    ours("rm", record("Thrown away", packets(4)))
    ours("show", own)  # which is listened to now, `edited` never was


def exchange(ours: Memosync, theirs: Memosync) -> None:
    """Serve for a while, fetch one memo, and half of another."""
    ours("seed", "--detach", "--port", PORT)
    theirs("seed", "--detach", "--up", "30k")
    short, long = (theirs("share", theirs.memos()[title]["id"]) for title in ("Their word", "Their long talk"))
    ours("fetch", short)
    half = theirs.memos()["Their long talk"]["size"] // 2
    fetching = ours.start("fetch", long)
    incoming = ours.library / ".memosync" / "incoming"
    wait_until(lambda: sum(path.stat().st_blocks for path in incoming.glob("*/*.webm")) * 512 > half, "half of it")
    fetching.send_signal(signal.SIGINT)
    assert fetching.wait(60) == 128 + signal.SIGINT
    theirs("seed", "--stop")
    ours("seed", "--stop")


def write_by_hand(ours: Memosync) -> None:
    """Put in what only a person would."""
    text = ours.index.read_text()
    assert text.startswith("version = 1\n")
    ours.index.write_text(
        f"{HEAD}\n"
        + text.replace("version = 1\n", "version = 1\ncolour = 'green'\n", 1).replace(
            'title = "Never shared"\n', 'title = "Never shared"\nheard = { by = ["Ben", "Zoë"], times = 3 }\n', 1
        )
    )


def ask(ours: Memosync) -> None:
    """Keep what it prints of everything."""
    everything = list(ours.memos().values())
    here = [memo["id"] for memo in everything if "trashed" not in memo]
    shared = [memo["id"] for memo in everything if memo.get("shared") and "trashed" not in memo]
    commands: list[list[str]] = [["list"], ["list", "--json"], ["list", "--trash"], ["list", "--trash", "--json"]]
    commands += [["list", "--shared"], ["--network", "public", "list", "--json"]]
    commands += [
        ["--network", network, "share", memo, "--no-seed"] for network in ("loopback", "public") for memo in shared
    ]
    shows = [["show", memo, "--json"] for memo in here]
    unheard = ours.library / ".memosync" / "cache" / ours.memos()["Edited afterwards"]["id"]
    said = [
        {"arguments": command, "out": ours(*command).replace(str(ours.library), "LIBRARY")}
        for command in commands + shows
    ]
    unheard.unlink()  # `show` has listened to it
    SAID.write_text(json.dumps(said, ensure_ascii=False, indent=1) + "\n")


def be_killed_while_recording(ours: Memosync) -> None:
    """Leave what a recording leaves that had no time to end."""
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=880:duration=3", "-ar", "48000", "-f", "wav", "-"]
    data = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    recording = ours.start("record", "-", "-t", "Interrupted", "--tag", "work", stdin=subprocess.PIPE)
    assert recording.stdin
    recording.stdin.write(data)
    recording.stdin.flush()
    folder = ours.library / ".memosync" / "recording"
    wait_until(lambda: sum(path.stat().st_size for path in folder.glob("*.part")) > 10_000, "it to be on the disk")
    recording.kill()
    recording.wait()


def main() -> None:
    os.umask(0o022)
    pack_program()
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "sounds").mkdir()
        ours, theirs = Memosync(place / "Memos"), Memosync(place / "Theirs")
        give(theirs, place / "sounds")
        fill(ours, place / "sounds")
        exchange(ours, theirs)
        write_by_hand(ours)
        ask(ours)
        be_killed_while_recording(ours)
        pack_libraries(place)


if __name__ == "__main__":
    main()
