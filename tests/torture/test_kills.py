"""Recordings from the microphone that are killed at any instant: all there afterwards, but for less than a second."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import sound, vmic
from support.program import Ended, Program
from support.waiting import wait_until

AT_ONCE = 5
WORDS = ["-t", "Interview", "-d", "with the mayor", "--tag", "work", "--tag", "town hall"]


def test_no_instant_of_kill_9_costs_a_second(
    tmp_path: Path, ended: Ended, long: bool, seed: int, figure: Callable[[str], None]
) -> None:
    chance = random.Random(seed)
    lost: list[float] = []
    lengths: list[float] = []
    with vmic.plugged_in() as device:
        for batch in range(20 if long else 1):
            instants = sorted(chance.uniform(0, 8 if long else 4) for _ in range(AT_ONCE))
            programs = [
                Program(tmp_path / f"{batch}-{number}" / "Memos", {**device.environment, "HOME": str(tmp_path)})
                for number in range(AT_ONCE)
            ]
            device.play(vmic.signal())
            processes = [ended(program.start("record", *WORDS)) for program in programs]
            for program in programs:
                parts = program.library / ".memosync/recording"
                wait_until(lambda: list(parts.glob("*.part")), "it records")  # noqa: B023
            began, begin = time.monotonic(), device.position
            ends = []
            for process, instant in zip(processes, instants, strict=True):
                time.sleep(max(0.0, began + instant - time.monotonic()))  # the instant, nothing is waited for
                process.kill()
                ends.append(device.position)
                assert process.communicate()[0] == b""
            for program, end in zip(programs, ends, strict=True):
                result = program("list", "--json")
                memos = [json.loads(line) for line in result.lines]
                if not memos:
                    assert end - begin < 1
                    lost.append(end - begin)
                    continue
                (memo,) = memos
                assert memo["id"] in result.err
                assert (memo["title"], memo["description"]) == ("Interview", "with the mayor")
                assert memo["tags"] == ["work", "town hall"]
                assert float(sound.probe(Path(memo["path"]))["duration"]) == pytest.approx(memo["duration"], abs=0.05)
                stretches = vmic.stretches(Path(memo["path"]))
                if not stretches:  # too short to be known again: all of it counts as missing
                    assert memo["duration"] < 0.5
                    lost.append(end - begin)
                    continue
                assert len(stretches) == 1, stretches  # what is there is what was fed, without a gap
                assert stretches[0].end - stretches[0].begin == pytest.approx(memo["duration"], abs=0.5)
                lost.append(end - stretches[0].end)
                lengths.append(memo["duration"])
                assert program("list").err == ""
                assert not list((program.library / ".memosync/recording").iterdir())
    lost.sort()

    assert lost[-1] < 1
    assert len(lengths) > len(lost) / 2
    figure(
        f"{len(lost)} kills, {len(lengths)} memos of {min(lengths):.1f} to {max(lengths):.1f} s recovered: "
        f"{lost[len(lost) // 2]:.2f} s missing in the median, {lost[-1]:.2f} s at most"
    )
