"""Other indexes than the index: earlier ones of ours, copies that a file synchroniser left, and broken ones kept aside.

The last five are kept, and the last of each day (by its own date) for a week, each a hard link made before the index is
replaced.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import accumulate, pairwise
from pathlib import Path

from .. import files, index
from ..errors import LibraryError
from ..index import Index
from ..memo import MemoId
from ..quantities import from_stamp
from .entries import Entry
from .stamps import content_of, of_no_group

SNAPSHOTS, DAYS = 5, 7  # kept: the indexes before the last changes, and one of each of the last days
_BROKEN = "index.broken-"  # and the time when it was replaced
_DAY = r"\d{4}-\d\d-\d\d"


class Snapshots:
    """The other indexes of one library; none of them is ever changed, but the newest may be replaced."""

    def __init__(self, root: Path, private: Path) -> None:
        self._root, self._private = root, private
        self._numbered = [private / f"index.{number}.toml" for number in range(1, SNAPSHOTS + 1)]  # the newest first
        self._digests: tuple[list[tuple[int, int, int]], Mapping[MemoId, set[str]]] = [], {}  # of which files

    def kept(self) -> list[Path]:
        """List the indexes of before, the newest first, also where a clock was ahead when one of them was written."""
        names = files.names(self._private)
        numbered = [path for path in self._numbered if path.name in names]
        times = [*accumulate(map(files.time_of, numbered), min)]  # each is older than the one with the number before
        days = [self._private / name for name in sorted(names) if re.fullmatch(rf"index\.{_DAY}\.toml", name)]
        for path in days:
            time = files.time_of(path)
            times.append(0 if numbered and time > times[0] else time)
        in_turn = sorted(zip(times, [*numbered, *days], strict=True), key=lambda one: one[0], reverse=True)
        return [path for _time, path in in_turn]

    def keep(self, path: Path) -> None:
        """Keep the index in `path` as it is, and let go of those that are too old."""
        if not path.exists():
            return
        for newer, older in reversed([*pairwise(self._numbered)]):
            if files.is_regular(newer):
                files.move(newer, older, sync=False)
        files.keep_copy(path, self._numbered[0])
        day = from_stamp(path.stat().st_mtime).date()
        files.keep_copy(path, self._private / f"index.{day}.toml")
        days = sorted(name for name in files.names(self._private) if re.fullmatch(rf"index\.{_DAY}\.toml", name))
        for name in days[:-DAYS]:
            (self._private / name).unlink()

    def renew(self, data: bytes) -> None:
        """Have the newest one say what the index is about to: what of it must not be lost with that."""
        files.write(self._numbered[0], data)

    def newest(self) -> tuple[Index, Path | None]:
        """Read the newest that can be read; an empty index without one. LibraryError when it is newer than us."""
        for path in self.kept():
            try:
                text = files.read(path).decode("utf-8")
                return index.loads(text), path
            except (OSError, UnicodeDecodeError):
                pass
            except LibraryError:
                if index.is_newer(text):
                    raise
        return Index(), None

    def copies(self) -> list[Path]:
        """List what a file synchroniser left beside the index when it changed in two places."""
        names = [name for name in files.names(self._root, links=True) if re.fullmatch(r"index[-. (].*\.toml", name)]
        return [self._root / name for name in sorted(names) if not name.startswith(_BROKEN)]

    def broken(self) -> list[Path]:
        """List the indexes that were put aside when they were replaced by one made anew."""
        return [self._root / name for name in sorted(files.names(self._root, links=True)) if name.startswith(_BROKEN)]

    def put_aside(self, broken: bytes, when: datetime) -> None:
        """Keep a broken index, which is about to be replaced, beside it."""
        files.write(self._root / f"{_BROKEN}{when:%Y-%m-%d-%H%M%S}.toml", broken, like=self._root / "index.toml")

    def entries(self, ids: Iterable[MemoId], group: str) -> dict[MemoId, Entry]:
        """Find what they say of these memos, for a library that is in a group or in none.

        The newest first, of ours and of the copies that a file synchroniser left.
        """
        wanted = set(ids)
        known: dict[MemoId, Entry] = {}
        places: dict[tuple[int, int], Path] = {}
        ours = self.kept()
        newest = files.time_of(ours[0]) if ours else 0
        copies = self.copies()
        later = [path for path in copies if files.time_of(path) > newest]
        for path in [*later, *ours, *copies]:
            with contextlib.suppress(FileNotFoundError):  # it was given its next number meanwhile
                places.setdefault(files.identity(path), path)
        for path in places.values():
            if wanted - known.keys():
                with contextlib.suppress(LibraryError, OSError, ValueError):
                    known = entries_in(index.loads(files.read(path).decode("utf-8")), path, group) | known
        return known

    def digests(self) -> Mapping[MemoId, set[str]]:
        """Give the SHA-256, in hexadecimal digits, of files that earlier indexes named to the devices of a group."""
        paths = [path for path in self.kept() if files.is_regular(path)]
        key = [files.state_of(path) for path in paths]
        if key != self._digests[0]:
            found: dict[MemoId, set[str]] = {}
            for path in paths:
                with contextlib.suppress(LibraryError, OSError, ValueError):
                    for memo in index.loads(files.read(path).decode("utf-8")).memos:
                        if content := content_of(memo):
                            found.setdefault(memo.id, set()).add(content.value["sha256"])
            self._digests = key, found
        return self._digests[1]


def entries_in(found: Index, path: Path, group: str) -> dict[MemoId, Entry]:
    """Take the entries of an index that stands in `path`, for a library that is in a group or in none."""
    since = files.time_of(path)
    memos = found.memos if found.group == group else map(of_no_group, found.memos)
    return {
        memo.id: Entry(memo, path.name, since, is_of_group=bool(found.group or group or memo.content)) for memo in memos
    }
