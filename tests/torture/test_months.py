"""A month of a laptop's life in fast motion: whatever happens to it, at its end every link that was given is served."""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from support import handshake, sound
from support.disk import SmallDisk, Stick
from support.library import entries
from support.netns import Host, Network
from support.program import Program
from support.seeder import is_alive, state
from support.waiting import wait_until

SOUND = sound.wav(sound.tone(0.3))
ACTS = ["share", "move", "sleep", "fill", "read-only", "pull", "rename", "crash", "reboot"]
OFFERS = """
import sys
sys.path.insert(0, sys.argv[1])
from support.handshake import offers
sys.exit(not all(offers(int(sys.argv[2]), infohash) for infohash in sys.argv[3:]))
"""


class Laptop:
    """A machine on a network, with a library on a disk that can be pulled."""

    def __init__(self, host: Host, place: Path, chance: random.Random) -> None:
        self.host, self.chance = host, chance
        self.disk = SmallDisk(place, 8_000_000, host.command)
        self.stick = Stick(self.disk)
        self.program: Program = host.program(self.stick.seen / "Memos")
        self.program.under = self.disk.under
        self.program.environment["MEMOSYNC_LIBRARY"] = str(self.stick.place / "Memos")
        self.links: list[str] = []
        self.port = 0
        self.moves = 0

    def act(self, name: str) -> None:
        """Have it happen, and pass."""
        {
            "share": self.share,
            "move": self.move,
            "sleep": self.sleep,
            "fill": lambda: self.without(lambda: self.disk.fill(room=0), self.disk.make_room),
            "read-only": lambda: self.without(self.become_read_only, lambda: self.disk.remount("rw")),
            "pull": lambda: self.be_away(self.stick.pull, self.stick.plug_in),
            "rename": lambda: self.be_away(self.stick.rename, self.stick.rename_back),
            "crash": self.crash,
            "reboot": self.reboot,
        }[name]()

    def share(self) -> None:
        self.program("record", "-", "-t", f"Memo {len(self.links)}", stdin=SOUND)
        self.links.append(self.program("share", "last").out.strip())
        self.port = self.port or state(self.program)["port"]

    def move(self) -> None:
        """Come to another network, and in the end home."""
        before, self.moves = f"10.77.0.{10 + self.moves}/24", self.moves + 1
        if self.moves == 1:
            before = f"{self.host.address}/24"
        self.host.ip(f"address del {before} dev eth0\naddress add 10.77.0.{10 + self.moves}/24 dev eth0")

    def sleep(self) -> None:
        pids = [state(self.program)[name] for name in ("keeper", "pid")]
        for number, letter in ((signal.SIGSTOP, "T"), (signal.SIGCONT, "SRD")):
            for pid in pids:
                os.kill(pid, number)
            wait_until(lambda: all(_letter(pid) in letter for pid in pids), "them to stop, or to go on")  # noqa: B023

    def without(self, take: Callable[[], None], give: Callable[[], None]) -> None:
        """Have the disk take nothing, with a crash meanwhile or without."""
        take()
        if self.chance.random() < 0.5:
            self.crash()
        self.insist_served()
        give()

    def become_read_only(self) -> None:
        def is_done() -> bool:
            try:
                self.disk.remount("ro")
            except subprocess.CalledProcessError:  # it is being written
                return False
            return True

        wait_until(is_done, "nobody to write")

    def be_away(self, go: Callable[[], None], come: Callable[[], None]) -> None:
        pid = state(self.program)["pid"]
        go()
        wait_until(lambda: not is_alive(pid), "it to serve no longer")
        assert self.stick.left() == []
        come()

    def crash(self) -> None:
        """Kill what serves; its keeper is there."""
        pids = children(state(self.program)["keeper"])
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, pids)), "it to die")

    def reboot(self) -> None:
        pids = [state(self.program)["keeper"], state(self.program)["pid"]]
        os.kill(pids[0], signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, pids)), "both to die")
        self.program("seed", "--detach")

    def insist_served(self) -> float:
        """Wait until each memo is served on the port of always, and give the seconds."""
        infohashes = [memo["sealed"] for memo in entries(self.program)]
        command = [*self.host.command, sys.executable, "-c", OFFERS, str(Path(handshake.__file__).parent.parent)]
        command += [str(self.port), *infohashes]
        began = time.monotonic()
        wait_until(lambda: subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0, "all to be served")
        return time.monotonic() - began


def children(pid: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _letter(pid: int) -> str:
    """Tell how a process is, by the letter of proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_every_link_that_was_given_is_still_served(
    tmp_path: Path, long: bool, seed: int, figure: Callable[[str], None]
) -> None:
    chance = random.Random(seed)
    acts = ["share", *(chance.choices(ACTS, k=90) if long else chance.sample(ACTS[1:], 3))]
    back: list[float] = []
    with Network(2) as network:
        laptop = Laptop(network.hosts[0], tmp_path / "disk", chance)
        try:
            for name in acts:
                laptop.act(name)
                back.append(laptop.insist_served())
            for number, link in enumerate(laptop.links):
                friend = network.hosts[1].program(tmp_path / f"friend{number}" / "Memos")
                friend("fetch", link, "--timeout", "60s", timeout=90)
        finally:
            laptop.program.run("seed", "--stop")
            laptop.disk.close()
    figure(
        f"{len(acts)} acts, {len(laptop.links)} links, all served and fetched; back after "
        f"{statistics.median(back):.1f} s in the median, {max(back):.1f} s at most"
    )
