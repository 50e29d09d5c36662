"""Name the tests that run a line, as `make coverage` saw them: python tests/where.py memosync/library/store.py:57."""

from __future__ import annotations

import ast
import os
import signal
import sys
from pathlib import Path

import coverage


def statement(source: str, line: int) -> int:
    """Give the first line of the innermost statement that a line belongs to: it stands for all of it."""
    found = line
    for node in ast.walk(ast.parse(source)):  # outer ones come first
        if isinstance(node, ast.stmt) and node.end_lineno and node.lineno <= line <= node.end_lineno:
            found = node.lineno
    return found


def main() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    name, _, number = sys.argv[-1].rpartition(":")
    data = Path(os.environ["COVERAGE_FILE"])
    path = Path(name).resolve()
    if not number.isdecimal() or not path.is_file():
        sys.exit("what line? make where LINE=memosync/library/store.py:57")
    if not data.exists():
        sys.exit("no test has been watched yet: make coverage")
    if path.stat().st_mtime > data.stat().st_mtime:
        print(f"{name} is newer than what is known of it, lines may have moved: make coverage", file=sys.stderr)
    known = coverage.CoverageData(str(data))
    known.read()
    line = statement(path.read_text(), int(number))
    tests = sorted(filter(None, known.contexts_by_lineno(str(path)).get(line, [])))
    if not tests:
        sys.exit(f"no test runs {name}:{line}")
    print(*tests, sep="\n")


if __name__ == "__main__":
    main()
