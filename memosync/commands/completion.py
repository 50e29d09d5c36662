"""Completion: what a TAB offers: words that begin like what was typed, and nothing when they cannot be found out.

And the scripts that ask for it, and where a shell looks for one.

A shell may run what stands in an answer or beside it, so where the answer is `plain` it has of a stranger's words only
harmless characters. Our own scripts evaluate nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from .. import index
from ..console import Console, one_line
from ..errors import LibraryError, MemosyncError, UsageError, reason_of
from ..library.store import Library

SCRIPTS = {"bash": "memosync.bash", "zsh": "_memosync", "fish": "memosync.fish"}
_WHICH = "it is for bash, zsh and fish: run it in one of them"
_UNSAFE = re.compile(r"[^\w ,.!?-]+")


def memo_ids(root: Path, beginning: str, *, trashed: bool, plain: bool) -> list[tuple[str, str]]:
    """Offer the ids of memos, last added first, each with its title, and `last`, which begins like no id."""
    with contextlib.suppress(MemosyncError, UnicodeDecodeError):
        offered = index.offers(Library(root).index_bytes().decode("utf-8"))
        found = [(memo_id, title) for memo_id, title, is_trashed in offered if trashed == is_trashed]
        last = [("last", "thrown away last" if trashed else found[0][1])] if found else []
        return [(word, _shown(title, plain)) for word, title in last + found if word.startswith(beginning)]
    return []


def tags(root: Path, beginning: str, *, plain: bool) -> list[str]:
    """Offer tags, the most used first; also behind the sign that `edit` takes."""
    sign = beginning[:1] if beginning[:1] in ("+", "-") else ""
    with contextlib.suppress(MemosyncError, UnicodeDecodeError):
        known = index.tags_in(Library(root).index_bytes().decode("utf-8"))
        return [sign + tag for tag in known if _shown(tag, plain) == tag and "\\" not in tag]
    return []


def device_names(part: str) -> list[str]:
    """Offer the microphones with this part in their name."""
    from ..audio.microphone import devices

    try:
        names = [device.name for device in devices()]
    except MemosyncError:
        return []
    return [name for name in names if re.fullmatch(r"[\w .,:()+-]+", name) and part.casefold() in name.casefold()]


def _shown(text: str, plain: bool) -> str:
    return _UNSAFE.sub(" ", text) if plain else one_line(text)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a person's own scripts are, and what has a shell read ours at its start."""

    script: Path
    start_file: Path | None = None  # None where the shell looks there by itself
    line: str = ""


def script_of(shell: str | None) -> str:
    """Give the script for a shell; UsageError where there is none."""
    if shell not in SCRIPTS:
        raise UsageError(f"there is no completion for {shell}" if shell else "this is no shell that is known", _WHICH)
    return files("memosync").joinpath("completions", SCRIPTS[shell]).read_text(encoding="utf-8")


def install(shell: str | None, environment: Mapping[str, str], console: Console) -> None:
    """Put the script where a person's scripts for a shell are, have it read at the start, and answer where it is.

    A start file is only added to, once, also where it is a symbolic link. UsageError, LibraryError.
    """
    script, place = script_of(shell), _place_of(shell or "", environment)
    try:
        place.script.parent.mkdir(parents=True, exist_ok=True)
        place.script.write_text(script, encoding="utf-8")
        if place.start_file:
            before = place.start_file.read_text("utf-8", "replace") if place.start_file.exists() else ""
            if place.line not in before:
                with place.start_file.open("a", encoding="utf-8") as file:
                    file.write(f"{'' if before[-1:] in ('', chr(10)) else chr(10)}{place.line}\n")
    except OSError as error:
        text = f"cannot write {error.filename or place.script}: {reason_of(error)}"
        raise LibraryError(text, "memosync --show-completion prints the script, to be put elsewhere") from error
    console.answer(str(place.script))
    read = f", which {place.start_file} reads" if place.start_file else ""
    console.tell(f"completion is installed{read}; the next {shell} has it")


def _place_of(shell: str, environment: Mapping[str, str]) -> _Place:
    home = environment.get("HOME", "")
    if not os.path.isabs(home):
        raise UsageError("there is no home directory", "memosync --show-completion prints the script")
    data = Path(environment.get("XDG_DATA_HOME") or f"{home}/.local/share")
    if shell == "fish":
        config = Path(environment.get("XDG_CONFIG_HOME") or f"{home}/.config")
        return _Place(config / "fish/completions/memosync.fish")
    if shell == "bash":  # also where the package bash-completion, which would find it there, is not in use
        script = data / "bash-completion/completions/memosync"
        return _Place(script, Path(home, ".bashrc"), f"source {_quoted(script)}")
    script = data / "zsh/site-functions/_memosync"
    begin = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }"
    return _Place(script, Path(environment.get("ZDOTDIR") or home, ".zshrc"), f"{begin}; source {_quoted(script)}")


def _quoted(path: Path) -> str:
    text = str(path).replace("'", "'\\''")
    return f"'{text}'"
