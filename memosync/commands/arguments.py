"""What verbs are given: the options of every command, several arguments at once, and files that people name."""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from .. import files
from ..console import Console, one_line
from ..errors import Interrupted, LibraryError, MemosyncError, NotFoundError, Several, SwarmError, UsageError, reason_of
from ..library.adopt import open_library
from ..library.downloads import Download
from ..library.group import holders
from ..library.places import is_awaited
from ..library.store import Library
from ..magnet import shorten
from ..memo import Memo, MemoId, quoted
from ..network import Network
from ..quantities import format_count
from ..stop import Stop

Item = TypeVar("Item")
INPUT = 0  # the descriptor of standard input


@dataclass(frozen=True, slots=True)
class Globals:
    """What holds for every command."""

    root: Path  # of the library
    network: Network
    console: Console

    def open(self, stop: Stop | None = None) -> Library:
        """Open the library and bring home what a crash left in it; LibraryError when its index cannot be trusted.

        With `stop`, for a verb that turns signals into one: then it is heard while others are waited for, too.
        """
        return open_library(self.root, self.console, stop)

    def open_to_swarms(self, stop: Stop | None = None) -> Library:
        """Open a library in which libtorrent finds files; LibraryError where it does not: 2.1.1 knows UTF-8 alone."""
        if str(self.root).encode(errors="replace") != os.fsencode(self.root):
            fault = f"the path {self.root} is not UTF-8, and memos in it can be neither served nor fetched"
            raise LibraryError(fault, "rename it, or give another --library")
        return self.open(stop)


def each(
    items: Iterable[Item], do: Callable[[Item], None], *, name: Callable[[Item], str], stop: Stop, console: Console
) -> None:
    """Do it for every item; Several with the highest exit code when some failed, Interrupted at once.

    A hint that many share is said once.
    """
    errors: list[MemosyncError] = []
    for item in items:
        try:
            stop.check()
            do(item)
        except (Interrupted, Several) as error:
            if isinstance(error, Interrupted):
                raise
            errors.append(error)
        except MemosyncError as error:
            was_said = error.hint in {other.hint for other in errors}
            console.fail(MemosyncError(str(error)) if was_said else error, shorten(name(item)))
            errors.append(error)
    if errors:
        raise Several(errors)


def choose(
    library: Library, words: Sequence[str], trashed: bool | None = False, *, everything: bool = False, least: int = 1
) -> list[Memo]:
    """Find every memo that is meant, each once, before anything is done to one of them.

    NotFoundError when there is none, Several when there are none for more than one of the words.
    Where there are several, an id has `least` characters, or more: UsageError.
    """
    here = [memo for memo in library.index().memos if not memo.trashed]
    if len(here) > 1 and (short := [word for word in words if len(word.strip()) < least]):
        raise UsageError(f"{one_line(short[0])!r} is not enough of an id for this", f"type {least} characters of it")
    memos = here if everything else []
    missing: list[MemosyncError] = []
    for word in words:
        try:
            memos.append(library.find(word, trashed))
        except NotFoundError as error:
            missing.append(error)
    if missing:
        raise missing[0] if len(missing) == 1 else Several(missing, told=False)
    return list({memo.id: memo for memo in memos}.values())


def in_batches(library: Library, memos: Sequence[Memo], console: Console) -> Iterator[list[MemoId]]:
    """Give the ids of memos, a hundred at a time and locked, and say how far that is where there are more."""
    done, is_told = 0, False
    for batch in library.locked(memos):
        if is_told := bool(done):
            console.progress(of_all(memos), done / len(memos))
        yield batch
        done += len(batch)
    if is_told:
        console.progress("", 1)


def of_all(memos: Sequence[Memo]) -> str:
    """Say of what it is told how far it is."""
    return f"of {format_count(len(memos))}"


def insist_here(library: Library, memo: Memo, name: str = "it") -> None:
    """Insist that a memo's file is here, and not on its way from other devices; SwarmError says from which."""
    if is_awaited(library, memo):
        names = ", ".join(one_line(row.name) or row.id for row in holders(library, memo))
        text = f"{name} is not here yet: " + (f"it comes from {names}" if names else "nobody has it now")
        raise SwarmError(text, "memosync sync says how the devices are")


def titles(memos: Sequence[Memo | Download]) -> str:
    """Name memos to a person."""
    named = ", ".join(quoted(memo.title) for memo in memos[:3])
    return f"{named} and {len(memos) - 3} more" if len(memos) > 3 else named


def free_place(path: Path, *, force: bool, otherwise: str) -> None:
    """Insist that a file may be written there.

    UsageError when there is one, unless with `force`, or no directory; LibraryError where we may not look.
    """
    with files.as_library_error(f"write {path}", otherwise):
        if path.exists() and not (force and path.is_file()):
            raise UsageError(f"{path} exists", "--force replaces a file")
        if not path.parent.is_dir():
            raise UsageError(f"there is no directory {path.parent}", "make it, or name another")


@contextmanager
def reading(name: str | None = None, hint: str | None = None) -> Iterator[None]:
    """Raise UsageError for what the operating system refuses to read of what a person named.

    With `name` it says of what, with `hint` what was perhaps meant where there is no such file.
    """
    about = "" if name is None else f"{one_line(name) or '“”'}: "
    try:
        yield
    except FileNotFoundError as error:
        raise UsageError(f"{about}there is no such file", hint) from error
    except OSError as error:
        raise UsageError(f"{about}it cannot be read: {reason_of(error)}") from error


def is_file(text: str) -> bool:
    """Tell whether a text is the path of what may be read, or must not be: of anything but a directory."""
    try:
        return not stat.S_ISDIR(os.stat(text).st_mode)
    except (OSError, ValueError):
        return False


def read_file(path: str, most: int, stop: Stop) -> bytes:
    """Read a file or a pipe, `most` bytes at most and one more; UsageError when it is not there, or something else.

    Interrupted on `stop`, also while nobody writes into the pipe.
    """
    with reading():
        kind = os.stat(path).st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISFIFO(kind):
            raise UsageError("it is neither a file nor a pipe")
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            return read_all(descriptor, most, stop)
        finally:
            os.close(descriptor)


def read_all(descriptor: int, most: int, stop: Stop) -> bytes:
    """Read to the end, `most` bytes at most and one more; Interrupted on `stop`, also while nothing comes."""
    data = bytearray()
    with reading():
        while len(data) <= most:
            stop.check()
            if not select.select([descriptor], [], [], 0.1)[0]:
                continue
            if not (piece := os.read(descriptor, min(2**20, most + 1 - len(data)))):
                break
            data += piece
    return bytes(data)


@contextmanager
def written(path: Path, *, force: bool, otherwise: str) -> Iterator[IO[bytes]]:
    """Give a file that appears at its place whole or not at all; UsageError when another was faster."""
    with files.as_library_error(f"write {path}", otherwise):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with files.made_whole(path, replace=force) as file:
                yield file
        except FileExistsError as error:
            raise UsageError(f"{error.filename2 or error.filename} exists", "--force replaces a file") from error
