"""How libraries become one, tried by lives that chance makes: those of seeders, and faults that both have to find.

The two thousand lives of the rules alone run beside the tests: `make lives` in the Makefile.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from proof.mutants import MUTANTS, TALK
from support.long import more

QUICK = {  # and the life to begin with: soon after it each is found
    "drop_everything": 0,
    "fresh_stamps": 202,
    "links_of_others_do_not_end": 78,
    "missing_is_deleted": 2,
    "never_apply": 0,
    "nothing_is_synced": 26,
    "what_is_saved_is_overwritten": 294,
    "whoever_comes_last": 0,
}
RARE = {"what_is_there_is_what_was_written": 626}


def proof(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "proof.run", "--jobs", "1", *arguments]
    return subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)


def test_nothing_is_lost_between_seeders_that_begin_anew_and_die() -> None:
    ran = proof("--talk", "--lives", "20")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "lives 20, from 0; lost 0, duplicated 0, stale 0" in ran.stdout


@pytest.mark.parametrize("name", ["served_is_fetched", *more(*sorted(TALK.keys() - {"served_is_fetched"}))])
def test_a_fault_of_seeders_is_found(name: str) -> None:
    ran = proof("--talk", "--mutant", name, "--lives", "1000")

    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("name", [*QUICK, *more(*sorted(MUTANTS.keys() - QUICK))])
def test_a_fault_in_the_rules_is_found(name: str) -> None:
    ran = proof("--mutant", name, "--first", str((QUICK | RARE).get(name, 0)), "--lives", "1000")

    assert ran.returncode == 0, ran.stdout + ran.stderr
