"""The seeder of one library as a service of systemd's (systemd.service(5)), which has it back after a reboot."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import time
from pathlib import Path

from .. import files, process
from ..console import Console
from ..errors import SeederError
from ..library.store import Library
from ..network import Network
from ..stop import Stop
from . import client
from .state import Settings

_BOOTED = Path("/run/systemd/system")  # see sd_booted(3)
_PATIENCE = 30.0  # seconds until it serves
_TAKES = 60.0  # seconds that systemctl may take
_UNIT = """\
[Unit]
Description=Serve the shared memos of {library}

[Service]
ExecStart=:{command}
Restart=on-failure
RestartSec=5
LimitDATA=2G
{environment}
[Install]
WantedBy=default.target
"""


def name_of(library: Library) -> str:
    """Name the unit of a library: for people by its directory, and by its whole path for certain."""
    path = os.fsencode(library.root.absolute())
    for_people = re.sub(r"[^A-Za-z0-9]+", "-", library.root.name).strip("-")[:40]
    return f"memosync-{for_people or 'memos'}-{hashlib.sha256(path).hexdigest()[:8]}.service"


def unit_of(library: Library, network: Network, settings: Settings) -> str:
    """Write the unit that serves a library in the same way as `seed` does with these settings."""
    root = str(library.root.absolute())
    chosen = [("--port", settings.port), ("--up", settings.up), ("--down", settings.down)]
    options = [text for name, value in chosen if value for text in (name, str(value))]
    # nobody reads its journal for the titles of what it brings home, and others may read it
    command = [*_program(), "--library", root, "--network", network.value, "--quiet", "seed", *options]
    stun = os.environ.get("MEMOSYNC_STUN")
    return _UNIT.format(
        library=_specified(re.sub(r"[\\\x00-\x1f]", " ", root)),
        command=" ".join(map(_quoted, command)),
        environment="" if stun is None else f"Environment={_quoted(f'MEMOSYNC_STUN={stun}')}\n",
    )


def install(library: Library, network: Network, settings: Settings, *, stop: Stop, console: Console) -> None:
    """Have systemd serve a library from now on, also after a reboot, in place of the seeder that runs.

    Where there is no systemd, answer the unit. SeederError when it is not taken, and then none is left behind.
    """
    library.prepare()
    text, path = unit_of(library, network, settings), _directory() / name_of(library)
    if not _BOOTED.is_dir():
        for line in text.splitlines():
            console.answer(line)
        console.tell(f"systemd does not run here; where it does, this is {path}")
        return
    with files.as_library_error(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, text.encode())
    try:
        _systemctl("daemon-reload")
        with contextlib.suppress(SeederError):  # none runs
            client.end(library, stop=stop)
        _systemctl("enable", path.name)
        _systemctl("restart", path.name)  # it may have been there, with other options
        _wait_until_it_serves(library, path.name, stop)
    except BaseException:
        with contextlib.suppress(SeederError):
            _remove(path)
        raise
    console.tell(f"{path.name} serves it from now on, and after a reboot; memosync seed --uninstall ends that")
    if process.outcome("loginctl", "enable-linger", timeout=_TAKES)[0]:
        console.warn("it runs only while you are logged in; sudo loginctl enable-linger $USER lets it run always")


def uninstall(library: Library, console: Console) -> None:
    """End the service of a library and remove it; SeederError when there is none."""
    path = _directory() / name_of(library)
    if not path.exists():
        raise SeederError(f"there is no {path}", "memosync seed --install makes it")
    _remove(path)
    console.tell(f"{path.name} is removed; nothing serves the library now")


def _remove(path: Path) -> None:
    if _BOOTED.is_dir():
        _systemctl("disable", "--now", path.name)
    with files.as_library_error(f"remove {path}"):
        path.unlink(missing_ok=True)
    if _BOOTED.is_dir():
        _systemctl("daemon-reload")


def _wait_until_it_serves(library: Library, name: str, stop: Stop) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not ((state := client.current(library)) and state.ready):
        stop.check()
        if time.monotonic() > deadline:
            raise SeederError("the service did not begin to serve", f"journalctl --user -u {name} says why")
        stop.wait(0.05)


def _systemctl(*arguments: str) -> None:
    code, said = process.outcome("systemctl", "--user", *arguments, timeout=_TAKES)
    if code:
        why = said.strip().splitlines()[-1:] or [f"exit code {code}"]
        own_login = "it needs a login of your own: su and sudo have none"
        raise SeederError(f"systemctl --user {' '.join(arguments)}: {why[0]}", own_login)


def _directory() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


def _program() -> list[str]:
    """Give the command that runs this program, as it was run: a link to it stays when it is upgraded."""
    path = Path(sys.argv[0]).absolute()
    if path.name == "memosync" and os.access(path, os.X_OK):
        return [str(path)]
    return [sys.executable, "-P", "-m", "memosync"]


def _quoted(text: str) -> str:
    """Write a word of a command line for systemd, which with a colon in front of it looks for no variables in it."""
    escaped = "".join(f"\\x{ord(letter):02x}" if letter < " " or letter in "\\\"'" else letter for letter in text)
    return f'"{_specified(escaped)}"' if re.search(r"[^\w@%+=:,./-]", escaped) else _specified(escaped)


def _specified(text: str) -> str:
    return text.replace("%", "%%")
