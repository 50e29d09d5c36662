"""What is measured with: speech, memos of any size, and libraries of any number of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import wave
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from measure import run

from memosync import index
from memosync.memo import Memo, file_name, new_id, torrent_name
from memosync.torrent import metainfo

PROGRAM = Path(sys.executable).with_name("memosync")
RATE = 48_000  # Hz
FFMPEG = ("ffmpeg", "-v", "error", "-nostdin", "-y")
_SENTENCES = (
    "Remember to call the plumber about the kitchen sink before noon.",
    "The train to the coast leaves from platform nine, not from platform four.",
    "She said the budget should be ready by Thursday, perhaps a little earlier.",
    "Buy coffee, oranges, two loaves of bread, and a box of matches.",
    "Check whether the backup of the old laptop has really finished.",
)


def environment(home: Path) -> dict[str, str]:
    """Give an environment in which nothing leaves this machine, and nothing of its user is seen."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MEMOSYNC_", "PYTHON"))}
    paths = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    return {**inherited, **paths, "HOME": str(home), "MEMOSYNC_NETWORK": "loopback"}


def memosync(library: Path, *arguments: object) -> list[object]:
    """Give the command as a user types it, on a library."""
    return [PROGRAM, "--library", library, *arguments]


def ask(library: Path, *arguments: object, environment: Mapping[str, str], under: Sequence[str] = ()) -> str:
    """Run memosync, under another command or by itself, and give its answer; RuntimeError when it fails."""
    answer = library.with_name(f"{library.name}.answer")
    run([*under, *memosync(library, *arguments)], environment, answer)
    return answer.read_text().strip()


def speech(path: Path, seconds: int) -> Path:
    """Let eSpeak speak ten minutes in changing voices, with pauses, and repeat them: 48 kHz, 16 bits, mono."""
    lines = [
        f'<prosody rate="{80 + n * 7 % 50}%" pitch="{30 + n * 11 % 45}%">Note {n}. {_SENTENCES[n % 5]}</prosody>'
        f'<break time="{300 + n * 370 % 1000}ms"/>'
        for n in range(1, 150)
    ]
    spoken = path.with_suffix(".spoken.wav")
    text = f"<speak>{' '.join(lines)}</speak>"
    subprocess.run(["espeak-ng", "-m", "-w", spoken, "--stdin"], input=text.encode(), check=True)
    once = path.with_suffix(".once.wav")
    subprocess.run([*FFMPEG, "-i", spoken, "-t", "600", "-ar", str(RATE), "-ac", "1", once], check=True)
    with wave.open(str(once)) as file, wave.open(str(path), "wb") as target:
        target.setparams(file.getparams())
        samples = file.readframes(file.getnframes())
        missing = seconds * RATE * 2
        while missing > 0:
            target.writeframesraw(samples[:missing])
            missing -= len(samples)
    spoken.unlink()
    once.unlink()
    return path


def repeat(source: Path, target: Path, seconds: float) -> Path:
    """Make a longer WebM file of the same packets of 20 ms, laid out and timed as a recording that was cut off."""
    looped = target.with_suffix(".looped.webm")
    loop = ("-stream_loop", "-1", "-i", source, "-t", f"{seconds}", "-c", "copy", looped)
    subprocess.run([*FFMPEG, *loop], check=True)
    clock = ("-bsf:a", "setts=ts=N*20-7")  # ms; where the source began anew it is off by what its end lacks
    live = ("-flush_packets", "1", "-cluster_time_limit", "400")
    subprocess.run([*FFMPEG, "-i", looped, "-c", "copy", *clock, *live, target], check=True)
    looped.unlink()
    return target


def memo_of(size: int, directory: Path) -> Path:
    """Make an Opus file of about so many bytes, by repeating a minute."""
    minute = directory / "minute.webm"
    rate, channels = (32_000, "1") if size < 10_000_000 else (500_000, "2")  # bits a second
    noise = "anoisesrc=d=60:a=0.3:c=pink:seed=1"
    encode = ("-ac", channels, "-c:a", "libopus", "-b:a", f"{rate}", "-vbr", "off", minute)
    subprocess.run([*FFMPEG, "-f", "lavfi", "-i", noise, "-ar", f"{RATE}", *encode], check=True)
    return repeat(minute, directory / "memo.webm", size * 8 / rate)


def many(library: Path, number: int, memo: Path, *, tracker: str = "") -> None:
    """Fill a library: names of one file, or with a tracker files of their own, each shared by its own torrent."""
    private = library / ".memosync"
    (private / "torrents").mkdir(parents=True)
    body = memo.read_bytes()
    begin = datetime(2024, 1, 1, 9, tzinfo=timezone(timedelta(hours=1)))
    memos = []
    for n in range(number):
        memo_id, when, title = new_id(n.to_bytes(5, "big")), begin + timedelta(hours=2 * n), f"Weekly standup {n:05}"
        file = library / file_name(title, when, memo_id)
        entry = Memo(
            id=memo_id,
            file=file.name,
            title=title,
            description="what we said about the release",
            tags=("work",),
            recorded=when,
            duration=3.0,
            size=len(body),
        )
        if tracker:
            file.write_bytes(re.sub(rb"Weekly standup \d{5}", title.encode(), body))
            torrent = metainfo.make(file, torrent_name(entry.words, memo_id))
            (private / "torrents" / f"{torrent.infohash}.torrent").write_bytes(torrent.data)
            entry = replace(entry, infohash=torrent.infohash, shared=True, trackers=(tracker,))
        else:
            os.link(memo, file)
        memos.append(entry)
    (library / "index.toml").write_text(index.dumps(index.Index(tuple(memos))), "utf-8")
