"""What somebody who can write in a library may plant there, and a library to plant it in."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from memosync.library.store import Library
from support import sound
from support.program import Program

HUGE = 2**40  # bytes
PRECIOUS = b"what is outside of the library, and none of its business\n"
OUTSIDE = "outside"  # the name of the directory beside the library


def state_of(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Give the mode and the content of everything in a directory."""
    return {
        str(path.relative_to(directory)): (os.lstat(path).st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(directory.rglob("*"))
    }


@dataclass(frozen=True)
class Origin:
    """A library that is copied for each case, and what stands for its parts in arguments and in paths."""

    library: Path
    names: dict[str, str]

    def fill(self, text: str) -> str:
        for name, value in self.names.items():
            text = text.replace(name, value)
        return text


def make_origin(home: Path) -> Origin:
    """Make a library that has a memo of each kind, half a fetch, and all that is ever in `.memosync`.

    What is fetched stands in another one, which nobody serves.
    """
    source = home / "source.wav"
    source.write_bytes(sound.wav(sound.tone(0.5)))
    ours, theirs = (Program(home / name, {"HOME": str(home)}) for name in ("Memos", "Theirs"))
    names = {"SOURCE": str(source)}
    for name in ("PLAIN", "SHARED", "TRASHED"):
        names[f"{name}_ID"] = ours("record", source, "-t", name, "--again").out.strip()
    ours("share", "--public", names["SHARED_ID"], names["TRASHED_ID"], "--no-seed")
    ours("rm", names["TRASHED_ID"])
    ours("show", names["PLAIN_ID"])
    theirs("record", source, "-t", "FOREIGN")
    theirs("share", "--public", "last", "--no-seed")
    (foreign,) = Library(theirs.library).index().memos
    library = Library(ours.library)
    for memo in library.index().memos:
        names[f"{memo.title}_FILE"] = memo.file
        names[f"{memo.title}_HASH"] = memo.infohash or ""
    assert foreign.infohash
    names |= {
        "FOREIGN_HASH": foreign.infohash,
        "FOREIGN_TORRENT": str(Library(theirs.library).torrent(foreign.infohash)),
    }
    names["FOREIGN_FILE"] = str(theirs.library / foreign.file)
    incoming = library.incoming(foreign.infohash)
    incoming.mkdir(parents=True)
    shutil.copy(names["FOREIGN_TORRENT"], incoming / "torrent")
    shutil.copy(names["FOREIGN_FILE"], incoming / "memo.webm")
    for name in ("seeder.toml", "seeder.log", "session"):
        (library.inner / name).write_bytes(b"")
    return Origin(library.root, names)


FILES: dict[str, tuple[str, ...]] = {  # each path of a library that is a file, and verbs that meet it
    "index.toml": ("list", "edit"),
    "PLAIN_FILE": ("show", "edit"),
    "SHARED_FILE": ("export shared", "share shared"),
    "2026-01-01-orphan-abcdefgh.webm": ("list", "record"),
    "index (conflicted copy).toml": ("list", "repair"),
    ".index.toml.tmp": ("edit", "rm"),
    ".memosync/lock": ("edit", "rm"),
    ".memosync/locks/PLAIN_ID": ("edit", "share"),
    ".memosync/index.1.toml": ("edit", "rm"),
    ".memosync/index.2026-01-01.toml": ("rm", "edit"),
    ".memosync/recording/abcdefgj.webm.part": ("list", "share"),
    ".memosync/recording/PLAIN_ID.webm": ("edit", "list"),
    ".memosync/recording/PLAIN_ID.webm.half": ("edit", "list"),
    ".memosync/recording/PLAIN_ID.webm.new": ("edit", "list"),
    ".memosync/incoming/FOREIGN_HASH/memo.webm": ("fetch", "list"),
    ".memosync/incoming/FOREIGN_HASH/torrent": ("fetch", "list"),
    ".memosync/incoming/FOREIGN_HASH/.FOREIGN_HASH.parts": ("list", "rm"),
    ".memosync/torrents/SHARED_HASH.torrent": ("share shared", "export shared", "repair"),
    ".memosync/cache/PLAIN_ID": ("show", "rm"),
    ".memosync/trash/TRASHED_FILE": ("show trashed", "restore"),
    ".memosync/trash.toml": ("rm", "purge"),
    ".memosync/seeder.lock": ("stop", "status"),
    ".memosync/seeder.toml": ("stop", "list"),
    ".memosync/seeder.log": ("status", "list"),
    ".memosync/session": ("list", "show"),
    ".memosync/recorder.lock": ("end recorder", "detach"),
    ".memosync/recorder.toml": ("end recorder", "ask recorder"),
    ".memosync/recorder.log": ("detach", "list"),
}
DIRECTORIES: dict[str, tuple[str, ...]] = {
    ".memosync": ("list", "stop"),
    ".memosync/recording": ("record", "edit"),
    ".memosync/torrents": ("share", "export shared"),
    ".memosync/locks": ("edit", "share"),
    ".memosync/incoming": ("list", "rm"),
    ".memosync/incoming/FOREIGN_HASH": ("fetch", "list"),
    ".memosync/trash": ("rm", "restore"),
    ".memosync/cache": ("show", "edit"),
}
VERBS = {
    "record": ["record", "SOURCE", "-t", "New", "--again"],
    "detach": ["record", "--detach", "--device", "none of them"],
    "ask recorder": ["record", "--status"],
    "end recorder": ["record", "--stop"],
    "list": ["list", "--json"],
    "share": ["share", "--public", "PLAIN_ID", "--no-seed"],
    "share shared": ["share", "--public", "SHARED_ID", "--no-seed"],
    "fetch": ["fetch", "FOREIGN_TORRENT", "--timeout", "0.5"],
    "status": ["seed", "--status"],
    "stop": ["seed", "--stop"],
    "leave": ["sync", "--leave"],
    "play": ["play", "PLAIN_ID"],
    "show": ["show", "PLAIN_ID"],
    "show trashed": ["show", "TRASHED_ID"],
    "edit": ["edit", "PLAIN_ID", "-t", "Other"],
    "export": ["export", "PLAIN_ID", "-f", "wav"],
    "export shared": ["export", "SHARED_ID"],
    "rm": ["rm", "PLAIN_ID"],
    "purge": ["rm", "TRASHED_ID", "--purge", "--force"],
    "restore": ["restore", "TRASHED_ID"],
    "check": ["check"],
    "repair": ["check", "--repair"],
}


def _link(path: Path, outside: Path) -> None:
    """Move what is there outside, and link to it; of the index something else: a link to one is followed."""
    target = outside / "target"
    if path.name != "index.toml" and os.path.lexists(path):
        shutil.move(path, target)
    else:
        path.unlink(missing_ok=True)
        target.write_bytes(PRECIOUS)
    path.symlink_to(target)


def _hard_link(path: Path, outside: Path) -> None:
    _link(path, outside)
    if not path.is_dir():  # of which there are none
        path.unlink()
        os.link(outside / "target", path)


def _socket(path: Path, _outside: Path) -> None:
    here = os.open(path.parent, os.O_RDONLY)  # a path of a socket has 108 bytes at most
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{here}/{path.name[:40]}")
    os.close(here)
    (path.parent / path.name[:40]).rename(path)


def _directory(path: Path, _outside: Path) -> None:
    path.mkdir()
    (path / "in it").write_bytes(PRECIOUS)


def _huge(path: Path, _outside: Path) -> None:
    with path.open("ab") as file:
        file.truncate(HUGE)


KINDS: dict[str, Callable[[Path, Path], object]] = {
    "a link outside": _link,
    "a dangling link": lambda path, outside: path.symlink_to(outside / "new"),
    "a FIFO": lambda path, _outside: os.mkfifo(path),
    "a directory": _directory,
    "a socket": _socket,
    "a device": lambda path, _outside: path.symlink_to("/dev/zero"),  # made by root alone
    "a hard link": _hard_link,
    "an empty file": lambda path, _outside: path.touch(),
    "a huge file": _huge,
}
STAY = {"a link outside", "a hard link", "a huge file"}  # kinds that have to do with what is there
QUICK = ("a link outside", "a dangling link", "a FIFO", "a hard link")


def plant(library: Path, path: Path, kind: str) -> None:
    """Put it there, in the place of what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind not in STAY or (kind == "a huge file" and path.is_dir()):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    KINDS[kind](path, library.parent / OUTSIDE)
