"""The person's own editor, for what does not fit on a command line. The owner of os.system."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .. import files
from ..errors import UsageError
from .terminal import ask, error

Result = TypeVar("Result")


def edit(text: str, check: Callable[[str], Result]) -> Result | None:
    """Have a text edited until `check`, which raises UsageError, takes it; None when it was left as it is.

    What was typed is never lost: an error says in which file it is.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or shutil.which("vi") or shutil.which("nano")
    if not editor:
        raise UsageError("there is no editor here", "name one in EDITOR, or give --title, --description or --tag")
    with files.as_library_error("keep what is typed", "another TMPDIR"):
        descriptor, name = tempfile.mkstemp(".toml", "memosync-")  # which nobody else may read
        path = Path(name)
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
    while True:
        # its words are the shell's, which must not stay and die of a Ctrl-C; standard output is for the answer
        status = os.waitstatus_to_exitcode(os.system(f"exec {editor} {shlex.quote(name)} >&2"))
        typed = path.read_bytes().decode("utf-8", "replace") if path.exists() else text
        if typed == text:
            path.unlink(missing_ok=True)
            if status:
                raise UsageError(f"the editor {editor!r} failed ({status}); nothing is changed", "look at EDITOR")
            return None
        try:
            if status:
                raise UsageError(f"the editor {editor!r} failed ({status})")
            result = check(typed)
            path.unlink()
            return result
        except UsageError as refusal:
            error(refusal)
            if not ask("edit it again?", otherwise=True):
                raise UsageError(f"nothing is changed; what was typed is kept in {path}") from None
