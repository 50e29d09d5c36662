"""seed --install: a seeder that is back after a reboot, by the real systemd."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

from support.handshake import offers
from support.library import only
from support.program import Ended, Program, errors
from support.seeder import state
from support.sound import noise
from support.systemd import Systemd, without_systemd
from support.waiting import wait_until

from memosync.errors import SeederError, UsageError

ODD = "My 100% “memos”, $HOME"  # what systemd would read as something else


def shared(memosync: Program, tmp_path: Path) -> None:
    memosync.library = tmp_path / ODD
    memosync.environment["MEMOSYNC_LIBRARY"] = str(memosync.library)
    memosync("record", noise(tmp_path / "noise.flac", 1), "-t", "For ever")
    memosync("share", "last", "--no-seed")


def is_served(memosync: Program) -> bool:
    return " serves on port " in memosync.run("seed", "--status").err and offers(
        state(memosync)["port"], only(memosync)["sealed"]
    )


def test_it_serves_after_a_reboot_until_it_is_uninstalled(memosync: Program, tmp_path: Path) -> None:
    shared(memosync, tmp_path)
    home = Path(memosync.environment["HOME"])
    memo = only(memosync)["sealed"]
    units = home / ".config/systemd/user"
    machine = Systemd(home)
    try:
        machine.runs(memosync)
        memosync("seed", "--detach")

        said = memosync("seed", "--install", "--up", "5M").err

        (unit,) = units.glob("memosync-*.service")
        assert unit.name in said
        assert is_served(memosync)
        assert state(memosync)["keeper"] == 0  # systemd is it
        port = state(memosync)["port"]
        machine.close()
        wait_until(lambda: not offers(port, memo), "the power to be cut")

        machine = Systemd(home)
        machine.runs(memosync)

        wait_until(lambda: is_served(memosync), "it to be served again")
        assert state(memosync)["port"] == port
        memosync("seed", "--install")  # once more, with other options
        assert "--up" not in unit.read_text()
        assert is_served(memosync)

        memosync("seed", "--uninstall")

        assert not list(units.rglob("memosync-*"))
        memosync("seed", "--status", code=SeederError.exit_code)
        assert errors(memosync("seed", "--uninstall", code=SeederError.exit_code).err)
    finally:
        machine.close()


def test_without_systemd_the_unit_is_printed(memosync: Program, tmp_path: Path, ended: Ended) -> None:
    shared(memosync, tmp_path)
    without_systemd(memosync)

    result = memosync("seed", "--install")

    place = re.findall(r"this is (/.*\.service)$", result.err, re.MULTILINE)[0]
    unit = tmp_path / Path(place).name
    unit.write_text(result.out)
    verify = ["systemd-analyze", "--user", "verify", "--man=no", str(unit)]
    done = subprocess.run(verify, env=memosync.environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, unit.name in done.stderr) == (0, False), done.stderr
    assert not Path(place).exists()
    memosync("seed", "--install", "--stop", code=UsageError.exit_code)
    memo = Path(only(memosync)["path"])
    part = memosync.library / ".memosync/recording/abcdefgh.webm.part"
    shutil.copy(memo, part)  # what a power cut left
    (command,) = re.findall("^ExecStart=:(.*)", result.out, re.MULTILINE)
    with (tmp_path / "journal").open("wb") as journal:
        service = ended(
            subprocess.Popen(
                shlex.split(command.replace("%%", "%")), env=memosync.environment, stdout=journal, stderr=journal
            )
        )
        wait_until(lambda: "serving on port" in Path(journal.name).read_text(), "it to serve")
        service.terminate()
        assert service.wait(30) == 0
    assert not part.exists()
    assert "For ever" not in Path(journal.name).read_text()  # which others may read
