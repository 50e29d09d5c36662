"""A small disk: a file system of some megabytes in a mount namespace of its own, which can be filled."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .waiting import wait_until

ROOT = os.geteuid() == 0
POWERLESS = (
    ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"] if ROOT else []
)  # root reads everything
NAMESPACE = ["unshare", "--mount"] if ROOT else ["unshare", "--user", "--map-root-user", "--mount"]
ENTER = ["nsenter", "--mount", "--wd", *([] if ROOT else ["--user", "--preserve-credentials"])]


def read_only(directory: Path) -> list[str]:
    """Give what a command is run under that shall find this directory on a disk that cannot be written."""
    mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    return [*NAMESPACE, "sh", "-c", mount, str(directory.resolve())]


def without_temporary(directory: Path) -> list[str]:
    """Give what a command is run under that shall find no place for temporary files, but may write in a directory."""
    mount = 'mount --bind "$0" "$0" && for place in /tmp /var/tmp; do mount --rbind $place $place'
    mount += ' && mount -o remount,ro,bind $place || exit 1; done; cd /proc && exec "$@"'
    return [*NAMESPACE, "sh", "-c", mount, str(directory.resolve())]


class CoarseDisk:
    """A disk mounted at `place` for what runs `under` it: its time stamps are of one second (ext2) or two (vfat)."""

    def __init__(self, place: Path, kind: str) -> None:
        self.kind = kind
        place.mkdir()
        image = place.with_suffix(".image")
        with image.open("wb") as file:
            file.truncate(16_000_000)
        options = ["-q", "-F", "-I", "128"] if kind == "ext2" else ["-F", "16"]
        subprocess.run([f"mkfs.{kind}", *options, image], capture_output=True, check=True)
        mount = ["fuse2fs", "-f", "-o", "fakeroot"] if kind == "ext2" else ["fusefat", "-f", "-o", "rw+"]
        command = [*NAMESPACE, *mount, str(image), str(place)]
        self.holder = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.seen = Path(f"/proc/{self.holder.pid}/root{place}")  # the same from outside
        self.under = [*ENTER, f"--target={self.holder.pid}"]
        wait_until(lambda: os.stat(self.seen).st_dev != os.stat(place).st_dev, "the disk to be there")

    def close(self) -> None:
        """End what holds it."""
        self.holder.terminate()
        self.holder.wait(20)


class SmallDisk:
    """A disk of so many bytes, mounted at `place` for what runs `under` it; a filler takes most of it."""

    def __init__(self, place: Path, size: int, host: Sequence[str] = ()) -> None:
        """Mount it; `host` is the command by which that of another machine's is entered, where that is to see it."""
        place.mkdir()
        self.place = place
        mount = f"mount -t tmpfs -o size={size} none {place} && echo mounted && exec cat"
        command = [*host, *(NAMESPACE[:1] + NAMESPACE[-1:] if host else NAMESPACE), "sh", "-c", mount]
        pipe = subprocess.PIPE  # it ends with us
        self.holder = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        assert self.holder.stdout
        assert self.holder.stdout.readline() == "mounted\n"
        self.seen = Path(f"/proc/{self.holder.pid}/root{place}")  # the same from outside
        self.under = [*ENTER, f"--target={self.holder.pid}", *(["--net"] if host else [])]

    def fill(self, room: int) -> None:
        """Leave only so much room, in bytes."""
        with (self.seen / "filler").open("wb") as filler:
            status = os.statvfs(self.seen)
            filler.write(bytes(max(0, status.f_bavail * status.f_frsize - room)))

    def make_room(self) -> None:
        """Take the filler away."""
        (self.seen / "filler").unlink()

    def remount(self, access: str) -> None:
        """Have it read-only, `ro`, or not, `rw`."""
        subprocess.run([*self.under, "mount", "-o", f"remount,{access}", str(self.place)], check=True)

    def close(self) -> None:
        """End what holds it."""
        self.holder.kill()
        self.holder.communicate()


class Stick:
    """A disk that is pulled out and plugged in again, on a small one; the library `Memos` on it may be renamed, too."""

    def __init__(self, disk: SmallDisk) -> None:
        self._disk = disk
        self.place = disk.place / "stick"  # as it is seen under the disk
        self.seen = disk.seen / "stick"
        (disk.seen / "content").mkdir()
        self.seen.mkdir()
        self.plug_in()

    def plug_in(self) -> None:
        subprocess.run(
            [*self._disk.under, "mount", "--bind", str(self._disk.place / "content"), self.place], check=True
        )

    def pull(self) -> None:
        """Have it gone, as a desktop does when it was pulled without a word."""
        subprocess.run([*self._disk.under, "umount", "--lazy", self.place], check=True)

    def rename(self) -> None:
        (self.seen / "Memos").rename(self.seen / "Elsewhere")

    def rename_back(self) -> None:
        (self.seen / "Elsewhere").rename(self.seen / "Memos")

    def left(self) -> list[str]:
        """Name what stands where the library was."""
        return [path.name for path in self.seen.iterdir() if path.name != "Elsewhere"]
