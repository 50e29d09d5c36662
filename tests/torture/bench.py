"""A verb at work in a copy of a small library, to be disturbed; and what has to hold afterwards, whatever happened."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import sound
from support.long import more
from support.program import Program

from memosync import files, index
from memosync.audio import webm
from memosync.errors import LibraryError, NotFoundError
from memosync.library import keys, sealed
from memosync.library.served import served_as
from memosync.library.store import Library
from memosync.memo import parse_id
from memosync.torrent import metainfo

WORDS = ("title", "description", "tags", "recorded")
PROMISED = (*WORDS, "duration", "size", "infohash", "shared", "sealed", "private", "fetched")
EBML = b"\x1aE\xdf\xa3"  # how a WebM file begins
SOUND = sound.wav(sound.tone(1))
MEMOS = ("PLAIN", "RETITLED", "SHARED", "SEALED", "TRASHED")
LOOKING = {"seed", "sync", "play", "show", "export"}  # verbs that change no memo
LEFT = ("abcdefgh", "abcdefgk")  # ids of what crashes left


@dataclasses.dataclass(frozen=True)
class Case:
    """A verb and what it is given, and what was left lying about before."""

    arguments: tuple[str, ...]
    stdin: bytes = b""
    prepare: Callable[[Path], None] = lambda _library: None
    named: bool = False  # its paths are the same every time
    broken: bool = False  # the index cannot be read before
    flawed: bool = False  # a memo is not what the index says before
    private: bool = False  # the next `check` says nothing, or what to do, and the one at the end nothing
    more: bool = False  # of a kind that has another one here


def leave_work(library: Path) -> None:
    """Leave what crashes leave: a recording that was not finished, a file without an entry, half-made files."""
    (path,) = library.glob("*-plain-*.webm")
    recording = library / ".memosync/recording"
    shutil.copy(path, recording / f"{LEFT[0]}.webm.part")
    shutil.copy(path, recording / "abcdefgj.webm.import")
    shutil.copy(path, library / f"2026-08-25-orphan-{LEFT[1]}.webm")


def break_index(library: Path) -> None:
    """Cut the index in two; its copies are as old as the last change but one."""
    path = library / "index.toml"
    path.write_bytes(path.read_bytes()[:-200])


def damage(library: Path) -> None:
    """Have a shared memo's file be in the wrong place, and lose what links need; leave a conflict of the index."""
    (shared,) = library.glob("*-shared-*.webm")
    shared.rename(library / ".memosync/trash" / shared.name)
    for entry in Library(library).index().memos:
        if entry.file == shared.name and entry.infohash:
            (library / f".memosync/torrents/{entry.infohash}.torrent").unlink()
        if entry.sealed:
            (library / ".memosync/keys" / entry.sealed).unlink()
            (library / ".memosync/sealed" / entry.sealed).write_bytes(b"something else")
    text = (library / "index.toml").read_text().replace('"PLAIN"', '"Plain elsewhere"')
    (library / "index.sync-conflict-20260825-101112-ABCDEFG.toml").write_text(text)


CASES = {
    "record a file": Case(("record", "SOURCE", "-t", "New", "--tag", "new", "--again")),
    "record a pipe": Case(("record", "-", "-t", "New", "--tag", "new"), stdin=SOUND),
    "bring home what crashes left": Case(("list",), prepare=leave_work, more=True),
    "share": Case(("share", "PLAIN", "RETITLED", "SHARED", "--no-seed"), private=True),
    "share by another link": Case(("share", "SEALED", "--new", "--no-seed"), private=True),
    "share with anybody": Case(("share", "PLAIN", "RETITLED", "--public", "--no-seed"), more=True),
    "share no longer": Case(("share", "--stop", "SHARED", "SEALED"), more=True),
    "fetch": Case(("fetch", "LINK"), named=True, private=True),
    "fetch from anybody": Case(("fetch", "PUBLIC"), named=True, more=True),
    "edit": Case(("edit", "PLAIN", "-t", "Other", "-d", "words", "--tag", "more")),
    "edit what is shared": Case(("edit", "SHARED", "-t", "Other", "-d", "words", "--tag", "more"), more=True),
    "rm": Case(("rm", "PLAIN", "SHARED")),
    "restore": Case(("restore", "TRASHED"), more=True),
    "mend and merge": Case(("check", "--repair"), prepare=damage, flawed=True),
    "rebuild the index": Case(("check", "--repair"), prepare=break_index, broken=True),
    "rm for ever": Case(("rm", "SHARED", "SEALED", "TRASHED", "--purge", "--force"), private=True),
}


NAMES = [*(name for name in CASES if not CASES[name].more), *more(*(name for name in CASES if CASES[name].more))]


@dataclasses.dataclass(frozen=True)
class Origin:
    """A library that is copied for every run, and what stands for its parts in the arguments."""

    library: Path
    names: dict[str, str]


@pytest.fixture(scope="session", name="origin")
def make_origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    """A library with a memo of each kind, and another one from which a memo can be fetched."""
    home = tmp_path_factory.mktemp("origin")
    source = home / "source.wav"
    source.write_bytes(SOUND)
    program, theirs = Program(home / "Memos", {"HOME": str(home)}), Program(home / "Theirs", {"HOME": str(home)})
    names = {name: program("record", source, "-t", name, "--again").out.strip() for name in MEMOS}
    program("share", names["SHARED"], names["TRASHED"], "--public", "--no-seed")
    program("share", names["SEALED"], "--no-seed")
    program("rm", names["TRASHED"])
    index_file = program.library / "index.toml"
    index_file.write_text(index_file.read_text().replace('"RETITLED"', '"Another title"'))
    theirs("record", source, "-t", "Theirs", "-d", "from elsewhere")
    names |= {"SOURCE": str(source), "LINK": theirs("share", "last").out.strip()}
    names["PUBLIC"] = theirs("share", "last", "--public").out.strip()
    yield Origin(program.library, names)
    theirs("seed", "--stop")


class Bench:
    """Run one case again and again on fresh copies of the library."""

    def __init__(self, case: Case, origin: Origin, program: Program) -> None:
        """Run it once, undisturbed."""
        self.case, self.origin, self._program = case, origin, program
        self.library = Library(program.library)
        self._under = program.under
        self._arguments = [origin.names.get(word, word) for word in case.arguments]
        self._purges = "--purge" in case.arguments
        self._sealed = {memo.sealed for memo in Library(origin.library).index().memos if memo.sealed}
        self._after = self.before = self.memos(Library(origin.library))
        self.fresh()
        self.run(good=True)
        self._after = self.memos()

    def fresh(self) -> None:
        """Begin anew."""
        shutil.rmtree(self.library.root, ignore_errors=True)
        shutil.copytree(self.origin.library, self.library.root)
        self.case.prepare(self.library.root)

    def run(self, *observer: str, good: bool = False) -> subprocess.CompletedProcess[str]:
        """Run it, under an observer if need be."""
        return self._run(self._arguments, observer, good)

    def memos(self, library: Library | None = None) -> dict[str, dict[str, Any]]:
        """Give what is promised of each memo, by its id; one that is made here has another one every time."""
        table = json.loads(
            json.dumps([index.to_table(memo) for memo in (library or self.library).index().memos], default=str)
        )
        known = {*self.origin.names.values(), *LEFT}
        return {
            entry["id"] if entry["id"] in known else entry["title"]: {name: entry.get(name) for name in PROMISED}
            | {"sealed": self._form(entry.get("sealed")), "trashed": "trashed" in entry}
            for entry in table
        }

    def _form(self, infohash: str | None) -> str | None:
        """Name a private link: one that is made here is another one, maybe every time."""
        return infohash if infohash is None or infohash in self._sealed else "another"

    def judge(
        self, done: subprocess.CompletedProcess[str], story: str, make_room: Callable[[], None] = lambda: None
    ) -> None:
        """Insist on all that has to hold after a run that was disturbed, and after it was run again."""
        story += f"\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, story
        if done.returncode >= 0:
            assert done.returncode in (0, LibraryError.exit_code), story
            errors = [line for line in done.stderr.splitlines() if line.lstrip("\a").startswith("memosync: error: ")]
            assert (len(errors) > 0) == (done.returncode > 0), story
        if done.returncode == 0 and "memosync: warning: " not in done.stderr:
            self._insist_on_end(story)
        if "--new" in self.case.arguments and done.returncode >= 0:  # nothing has changed, or the link was said
            links = {memo.sealed for memo in self.library.index().memos if memo.sealed} - self._sealed
            assert links == set(re.findall("magnet:.*btih:([0-9a-f]{40})", done.stdout)), story
        if self.case.broken and not self._can_be_read():
            return self._again(story, make_room, "")
        self._insist(story, done.stdout, whole=not self.case.flawed)
        assert done.returncode < 0 or not self.case.private or self._opened() == [], story
        listed = self._run(["list", "--json"], good=True).stdout.splitlines()
        self._insist(story, done.stdout, whole=not self.case.flawed)
        here = {memo.id for memo in self.library.index().memos if not memo.trashed}
        assert {json.loads(line)["id"] for line in listed} == here, story
        assert not self.case.private or self._opened() == [], story
        if self.case.private and (checked := self._run(["check"])).returncode:
            assert checked.returncode == LibraryError.exit_code, f"{story}\n{checked.stderr}"
            assert "memosync: hint: memosync check --repair" in checked.stderr, f"{story}\n{checked.stdout}"

        return self._again(story, make_room, done.stdout)

    def _can_be_read(self) -> bool:
        try:
            return bool(self.library.index())
        except LibraryError:
            return False

    def _again(self, story: str, make_room: Callable[[], None], before: str) -> None:
        """Run it again where nothing disturbs it."""
        make_room()
        again = self.run()
        story += f"\nand again:\n{again.stdout}{again.stderr}"
        assert again.returncode == 0 or (again.returncode == NotFoundError.exit_code and self.memos() == self._after)
        self._insist(story, again.stdout)
        self._insist_on_end(story)
        rests = [path for name in ("recording", "incoming") for path in (self.library.inner / name).glob("*")]
        rests += self.library.root.rglob(".*.tmp") if again.returncode == 0 else []  # else nothing was written again
        assert rests == [], story
        self._insist_on_links(story, before, again.stdout)

    def _insist_on_links(self, story: str, before: str, after: str) -> None:
        """Insist that each private link is what it was, byte for byte, or was ended; and that nothing else is left."""
        if "--new" not in self.case.arguments:
            assert set(re.findall("magnet:.*", before)) <= set(re.findall("magnet:.*", after)), story
        shared = {memo.sealed: memo for memo in self.library.index().memos if memo.sealed}
        for infohash, memo in shared.items():
            if not self._purges or not memo.trashed:
                assert sealed.form_of(self.library, memo).infohash == infohash, story
                assert sealed.is_kept(self.library, infohash, thorough=True), story
        kept = dict(keys.kept(self.library))
        assert {infohash for infohash, key in kept.items() if not key.ended} == shared.keys(), story
        assert set(files.names(self.library.forms)) == shared.keys(), story
        assert self._opened() == [], story
        if self.case.private:
            self._run(["check"], good=True)

    def _opened(self) -> list[Path]:
        """Find sound in the library that is no memo's, nor the new content of one that the next command moves."""
        found = [path for path in self.library.inner.rglob("*") if path.is_file() and path.parent != self.library.trash]
        return [path for path in found if path.suffix != ".new" and path.read_bytes()[:4] == EBML]

    def _run(
        self, arguments: list[str], observer: tuple[str, ...] = (), good: bool = False
    ) -> subprocess.CompletedProcess[str]:
        self._program.under = [*self._under, *observer]
        env = {"PYTHONDONTWRITEBYTECODE": "1"} if observer else {}  # whose writes would be seen, too
        done = self._program.run(*arguments, stdin=self.case.stdin, env=env)
        result = subprocess.CompletedProcess(arguments, done.code, done.out, done.err)
        assert not good or result.returncode == 0, result
        return result

    def _insist_on_end(self, story: str) -> None:
        """Insist that what ended well did what it was told."""
        assert self.memos().keys() == self._after.keys(), story
        for name, memo in self.memos().items():
            assert self._is(name, memo, self._after[name]), f"{story}\n{memo} should be {self._after[name]}"

    def _insist(self, story: str, out: str, *, whole: bool = True) -> None:
        """Insist that each memo is what it was or what it was to become, with its file; and that answers hold."""
        found = self.memos()
        for name, memo in found.items():
            was, becomes = self.before.get(name), self._after.get(name)
            allowed = [state for state in (was, becomes) if state]
            if was and becomes:  # its new words wait for the next command to move them into their place
                allowed.append(was | {"size": becomes["size"]})
            if was and self._purges:
                allowed.append(was | {"trashed": True})
            fits = any(self._is(name, memo, state) for state in allowed)
            assert fits, f"{story}\n{memo} was {was} or should be {becomes}"
        assert self.before.keys() & self._after.keys() <= found.keys(), f"{story}\nonly {found.keys()} are left"
        memos = self.library.index().memos
        assert len({entry.id for entry in memos}) == len({entry.file for entry in memos}) == len(memos)
        for entry in memos:
            if not whole or (self._purges and entry.trashed):
                continue  # a purged one's file goes before its entry
            path = self.library.path(entry)
            assert self.library.is_intact(entry, path), f"{story}\n{entry}"
            assert webm.probe(path).duration == pytest.approx(entry.duration, abs=0.001), f"{story}\n{entry}"
            if entry.sealed:
                form = keys.find(self.library, entry.sealed)
                assert form, f"{story}\n{entry}"
                assert (form.ended, form.digest) == (False, sealed.digest_of(path)), f"{story}\n{entry}"
            if entry.infohash:
                torrent = metainfo.read(self.library.torrent(entry.infohash).read_bytes())
                assert metainfo.fits(torrent, path), f"{story}\n{entry}"
        for answer in out.splitlines():
            link = re.match("magnet:.*btih:([0-9a-f]{40})", answer)
            key = answer.split("\t")[0]
            if not link and not parse_id(key):
                continue  # a finding
            kept = [memo for memo in memos if (link[1] in served_as(self.library, memo) if link else memo.id == key)]
            assert len(kept) == (0 if self._purges else 1), f"{story}\n{answer!r} was promised"
        assert not files.is_locked(self.library.inner / "lock")
        modes = [files.mode_of(path) for path in (self.library.keys, *self.library.keys.iterdir())]
        assert not any(mode & 0o077 for mode in modes), f"{story}\n{modes}"

    def _is(self, name: str, memo: dict[str, Any], other: dict[str, Any]) -> bool:
        """Tell whether a memo is as it should be; one that was brought home may be frozen, or the beginning of it."""
        if self.case.stdin:
            other = {**other, "recorded": memo["recorded"]}
            if memo["duration"] < other["duration"]:
                other |= {"duration": memo["duration"], "size": memo["size"]}
        if (memo["infohash"] or memo["sealed"]) and name not in self.before:  # it was adopted
            other = {**other, "infohash": memo["infohash"], "fetched": memo["fetched"]}
        return memo == other and memo["duration"] > 0
