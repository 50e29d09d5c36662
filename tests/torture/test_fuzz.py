"""The parsers of what strangers send: nothing but our own errors comes out, in bounded time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fuzz
import pytest

MEMORY = 250_000  # kilobytes resident


@pytest.mark.parametrize("parser", fuzz.PARSERS)
def test_no_input_gets_more_out_of_a_parser_than_our_own_error(
    tmp_path: Path, parser: str, long: bool, seed: int, figure: Callable[[str], None]
) -> None:
    count = 100_000 if long else 500
    command = [sys.executable, fuzz.__file__, parser, str(count), str(seed), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200)

    assert done.returncode == 0, f"{done.stderr[-3000:]}\nof {(tmp_path / 'input').read_bytes()[:300]!r}"
    found = json.loads(done.stdout)
    assert found["accepted"] > count / 1000
    assert found["answers"] > 5
    assert found["peak"] < MEMORY
    figure(
        f"{parser}: {count} inputs, {found['accepted']} accepted, {found['answers']} different answers, "
        f"the slowest {found['slowest'] * 1000:.0f} ms of CPU, {found['peak'] / 1000:.0f} MB at most"
    )
