"""Everything that can be planted, in every place of a library, before every verb.

Nothing outside of the library changes, nothing hangs, and what a verb cannot do it says in one line.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import planted
from support.long import more
from support.planted import DIRECTORIES, FILES, KINDS, OUTSIDE, PRECIOUS, QUICK, VERBS, Origin
from support.program import Program, commands, errors

from memosync.errors import MemosyncError

CODES = {0} | {error.exit_code for error in MemosyncError.__subclasses__()} - {MemosyncError.exit_code}
LONGEST = 20  # seconds: what hangs does so for ever, and the machine may be busy
PLACES = FILES | DIRECTORIES


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    return planted.make_origin(tmp_path_factory.mktemp("planted"))


def test_every_verb_meets_what_is_planted() -> None:
    assert {arguments[0] for arguments in VERBS.values()} == commands().keys() - {"", "help"}


@pytest.mark.parametrize("place", [*list(PLACES)[::2], *more(*list(PLACES)[1::2])])
def test_nothing_planted_is_written_through_or_waited_for(
    origin: Origin, tmp_path: Path, long: bool, place: str, figure: Callable[[str], None]
) -> None:
    wrong, times = [], []
    for kind in KINDS if long else QUICK:
        for verb in VERBS if long else PLACES[place]:
            library = tmp_path / "here" / "Memos"
            outside = library.parent / OUTSIDE
            outside.mkdir(parents=True)
            (outside / "precious").write_bytes(PRECIOUS)
            shutil.copytree(origin.library, library)
            planted.plant(library, library / origin.fill(place), kind)
            before = planted.state_of(outside)
            program = Program(library, {"HOME": str(tmp_path)})

            began = time.monotonic()
            ran = program.run(*map(origin.fill, VERBS[verb]), timeout=LONGEST)

            times.append(time.monotonic() - began)
            after = planted.state_of(outside)
            if before != after:
                wrong.append(f"{verb}, {kind}: outside is {sorted(after)}")
            said = errors(ran.err)
            if ran.code not in CODES or "Traceback" in ran.err or len(said) != (ran.code != 0):
                wrong.append(f"{verb}, {kind}: {ran.code} after {times[-1]:.1f} s: {ran.out[-500:]}{ran.err[-1500:]}")
            shutil.rmtree(library.parent)

    assert not wrong, "\n".join(wrong)
    figure(f"{len(times)} verbs met what was planted as {place}, the slowest took {max(times):.1f} s")
