"""A systemd of our own, as one that is logged in has it: in namespaces, so that nothing of it is left behind."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from .program import Program

WITHOUT = 'mount -t tmpfs none /run && exec "$@"'  # a machine that was not booted by systemd
MANAGER = """
mount -t tmpfs none /run
mkdir -p -m 700 /run/systemd/system /run/user/0
dbus-daemon --session --address=$DBUS_SESSION_BUS_ADDRESS --fork >&2
/usr/lib/systemd/systemd --user --log-target=console >&2 &
until systemctl --user is-system-running --wait >&2; do sleep 0.1; done
echo ready
exec cat
"""
UNSHARE = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--mount"]


def without_systemd(program: Program) -> None:
    """Run a program on a machine without it."""
    program.under = [*UNSHARE, "sh", "-c", WITHOUT, "sh"]


class Systemd:
    """The user's manager, from its start, as after a boot, to its end."""

    def __init__(self, home: Path) -> None:
        self.environment = {
            "HOME": str(home),
            "XDG_RUNTIME_DIR": "/run/user/0",
            "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/0/bus",
        }
        command = [*UNSHARE, "--pid", "--mount-proc", "--fork", "--kill-child", "sh", "-c", MANAGER]
        environment = {"PATH": os.environ["PATH"], **self.environment}
        self.log = (home / "systemd.log").open("a")
        self.holder = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log
        )
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == b"ready\n", (home / "systemd.log").read_text()

    def runs(self, program: Program) -> None:
        """Run a program in there."""
        space = f"/proc/{self.holder.pid}/ns/"
        user = [] if os.geteuid() == 0 else [f"--user={space}user", "--preserve-credentials"]
        program.under = ["nsenter", *user, f"--mount={space}mnt", f"--pid={space}pid_for_children", "--"]
        program.environment.update(self.environment)

    def close(self) -> None:
        """End it, and everything in it, at once: as a power cut does."""
        self.holder.kill()
        self.holder.communicate()
        self.log.close()
