"""Links as the page that opens any reads them, in Playwright's Node.js: no browser is needed for that."""

from __future__ import annotations

import json
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import playwright

NODE = Path(playwright.__file__).with_name("driver") / "node"


class Reader:
    """Read links until `close`; one that takes longer than five seconds ends it."""

    def __init__(self) -> None:
        command = [str(NODE), str(Path(__file__).with_suffix(".mjs")), str(files("memosync.page"))]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self, text: str) -> list[dict[str, Any]] | None:
        """Give the links in a text; None where the page says that it cannot be read."""
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps(text), file=self.process.stdin, flush=True)
        found: list[dict[str, Any]] | None = json.loads(self.process.stdout.readline())
        return found

    def close(self) -> None:
        self.process.communicate(timeout=10)
