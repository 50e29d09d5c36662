"""check: what it finds in a library that is well, in one that is not, and what it mends."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support import sound
from support.disk import POWERLESS
from support.faults import LOOKS_LONG
from support.library import make_memo
from support.library import state as whole_state
from support.program import PROGRAM, Program
from support.terminal import Terminal
from support.tracker import Tracker
from support.vmic import plugged_in
from support.waiting import wait_until

from memosync import index
from memosync.audio import webm
from memosync.commands.arguments import Globals
from memosync.commands.check import check_library
from memosync.commands.edit import EditOptions, edit
from memosync.commands.rm import rm
from memosync.commands.share import ShareOptions, share
from memosync.console import Console
from memosync.doctor.finding import Finding
from memosync.doctor.memos import examine
from memosync.errors import Interrupted, LibraryError
from memosync.index import Index
from memosync.library.store import Library
from memosync.magnet import InfoHash
from memosync.memo import Memo, MemoId
from memosync.network import Network
from memosync.stop import Stop
from memosync.torrent import metainfo

KEPT = ("title", "description", "tags", "recorded", "infohash", "trashed", "shared", "fetched")
SECOND = sound.wav(sound.tone(1))


@pytest.fixture(scope="session")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that was used: a memo of each kind, the last one younger than the newest snapshot."""
    home = tmp_path_factory.mktemp("home")
    memosync, library = Program(home / "Memos", {"HOME": str(home)}), Library(home / "Memos")
    titles = ["Plain", "Reworded", "Thrown away", "Shared in the end", "From somebody else", "Last"]
    for title in titles:
        (home / f"{title}.wav").write_bytes(SECOND)
    words = ["-d", "two\nlines", "--tag", "work", "--tag", "ÄÖ"]
    ids = memosync("record", "--again", *words, *(home / f"{title}.wav" for title in titles[:-1])).lines
    plain, reworded, thrown, shared, theirs = map(library.find, ids)
    command = Globals(library.root, Network.LOOPBACK, Console())
    share(command, ShareOptions(memos=[plain.id], public=True, no_seed=True), stop=Stop())
    edit(command, EditOptions(memos=[plain.id], title="Edited after it was shared", tags=["late"]), editor=None)
    edit(command, EditOptions(memos=[reworded.id], title="Edited before", tags=["-work"]), editor=None)
    rm(command, [thrown.id], purge=False, force=False, now=now())
    torrent = metainfo.make(library.path(theirs), "Their own name.webm")
    library.keep_torrent(torrent.infohash, torrent.data)
    library.update({theirs.id: lambda memo: replace(memo, infohash=torrent.infohash, fetched=True)})
    share(command, ShareOptions(memos=[shared.id], public=True, no_seed=True), stop=Stop())
    memosync("record", "--again", home / "Last.wav")
    return library.root


@pytest.fixture
def library(lived_in: Path, memosync: Program) -> Library:
    """A copy of it, to be broken."""
    shutil.copytree(lived_in, memosync.library)
    return Library(memosync.library)


def now() -> datetime:
    return datetime.now().astimezone().replace(microsecond=0)


def state(root: Path) -> dict[str, bytes]:
    """Give every file with what is in it, but for when the trash was looked at last."""
    return {name: data for name, data in whole_state(root).items() if not name.endswith("trash.toml")}


def look(library: Library, repair: bool = False) -> list[Finding]:
    """Check it from within."""
    return list(
        check_library(Globals(library.root, Network.LOOPBACK, Console()), repair=repair, now=now(), stop=Stop())
    )


def defects(found: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.subject, finding.text) for finding in found if finding.severity == "defect"]


def entries(library: Library) -> dict[MemoId, dict[str, Any]]:
    """Give of every memo what must never change."""
    return {memo.id: {name: getattr(memo, name) for name in KEPT} for memo in Library(library.root).index().memos}


def titled(library: Library, title: str) -> Memo:
    return next(memo for memo in Library(library.root).index().memos if memo.title == title)


def torrent_of(library: Library, memo: Memo) -> Path:
    assert memo.infohash
    return library.torrent(memo.infohash)


def files_of(library: Library) -> set[bytes]:
    """Give what is in every file but the index and what is private, wherever it is."""
    return {path.read_bytes() for path in library.root.rglob("*.webm")}


# -- an index that is broken or lost

INDEX: dict[str, Callable[[bytes], bytes | None]] = {
    "gone": lambda text: None,
    "empty": lambda text: b"",
    "zeroed": lambda text: bytes(len(text)),
    "cut in half": lambda text: text[: len(text) // 2],
    "cut in the last entry": lambda text: text[: text.rindex(b"size")],
    "cut between two keys, and wrong elsewhere": lambda text: text[: text.rindex(b"infohash")].replace(
        b'title = "Edited before"', b"title = ?"
    ),
    "with zeros at its end": lambda text: text + bytes(512),
    "in UTF-16": lambda text: text.decode().encode("utf-16"),
    "in Latin-1": lambda text: text.decode().encode("latin-1"),
    "with a mark at its beginning": lambda text: b"\xef\xbb\xbf" + text,
    "with a quote too many": lambda text: text.replace(b'title = "Edited before"', b'title = "Edited before""'),
    "with a date that is none": lambda text: re.sub(rb"recorded = \S+", b"recorded = 'yesterday'", text, count=1),
    "with a path": lambda text: text.replace(b'file = "', b'file = "../', 1),
    "without a version": lambda text: text.replace(b"version = 1", b""),
    "without a heading": lambda text: text.replace(b"[[memo]]\n", b"", 2).replace(b"id", b"[[memo]]\nid", 1),
    "with a heading cut": lambda text: text.replace(b"[[memo]]", b"[[memo]", 3),
    "with a heading as others write it, and wrong elsewhere": lambda text: (
        text.replace(b"[[memo]]", b"[[ memo ]]", 2).replace(b"[[ memo ]]", b"[[memo]]", 1) + b"="
    ),
    "with an entry twice": lambda text: text + text[text.rindex(b"[[memo]]") :],
    "with an id twice": lambda text: text + text[text.rindex(b"[[memo]]") :].replace(b'file = "2', b'file = "3'),
    "with a file twice": lambda text: (
        text + re.sub(rb'id = "\w+"', b'id = "abcdefgh"', text[text.rindex(b"[[memo]]") :])
    ),
    "with marks of a conflict": lambda text: text.replace(
        b"[[memo]]", b"<<<<<<< ours\n[[memo]]\n=======\n>>>>>>> theirs\n[[memo]]", 1
    ),
    "that is something else": lambda text: b'{"memos": []}',
}


def test_a_broken_index_is_said_once(memosync: Program, library: Library) -> None:
    (library.root / "index.toml").write_text("garbage")

    assert memosync("check", code=LibraryError.exit_code).out.count("is broken") == 1


@pytest.mark.parametrize("breakage", INDEX)
def test_a_broken_index_is_rebuilt_and_nothing_is_lost(library: Library, breakage: str) -> None:
    path = library.root / "index.toml"
    before, recordings, whole = entries(library), files_of(library), path.read_bytes()
    broken = INDEX[breakage](whole)
    path.unlink() if broken is None else path.write_bytes(broken)

    assert [subject for subject, _ in defects(look(library))] == ["index"]
    assert (path.read_bytes() if path.exists() else None) == broken  # looking changes nothing
    found = look(library, repair=True)

    assert defects(found) == []
    said = {finding.subject: finding.text for finding in found if " is from " in finding.text}
    assert set(said) == set(before)
    after = entries(library)
    last = titled(library, "Last")
    if said[last.id].endswith("its file"):  # where nothing else is known it counts as shared
        before[last.id]["infohash"] = after[last.id]["infohash"]
        assert after[last.id]["infohash"]
    assert before == after
    assert recordings == files_of(library)
    kept = [path.read_bytes() for path in library.root.glob("index.broken-*.toml")]
    assert kept == ([] if broken is None else [broken])
    assert defects(look(library)) == []


def test_an_index_that_was_cut_and_can_be_read_loses_nothing_by_the_next_verb(
    memosync: Program, library: Library
) -> None:
    path = library.root / "index.toml"
    before = entries(library)
    for _ in range(2):
        library.update({titled(library, "Last").id: lambda memo: replace(memo, tags=(*memo.tags, "x"))})
    before[titled(library, "Last").id]["tags"] = ("x",)  # as the newest snapshot has it
    text = path.read_text()
    path.write_text(text[: text.index("[[memo]]")])

    memosync("list")
    memosync("check", "--repair")

    assert before == entries(library)


def test_a_rebuilt_index_keeps_comments_and_unknown_keys(library: Library) -> None:
    path = library.root / "index.toml"
    text = "# mine\n\n" + path.read_text() + "mood = 'good'\n[colours]\na = 1\n"
    path.write_text(text)
    library.update({titled(library, "Last").id: lambda memo: replace(memo, tags=("x",))})
    path.write_text(path.read_text().replace("version = 1", "version = 1\n?"))

    look(library, repair=True)

    rebuilt = index.loads(path.read_text())
    assert (rebuilt.head, rebuilt.extra) == ("# mine", {"colours": {"a": 1}})
    assert titled(library, "Last").extra == {"mood": "good"}


def test_an_index_that_was_changed_meanwhile_is_not_replaced(library: Library) -> None:
    before = state(library.root)

    with pytest.raises(LibraryError, match="changed meanwhile"):
        library.rebuild(Index(), b"as it was", now())

    assert before == state(library.root)


def test_what_came_from_where_is_said(library: Library) -> None:
    (library.root / "index.toml").unlink()

    found = {finding.subject: finding.text for finding in look(library, repair=True)}

    assert found[titled(library, "Edited before").id].endswith("is from index.1.toml")
    assert found[titled(library, "Last").id].endswith("is from its file")


def test_the_newest_snapshot_that_can_be_read_is_taken(library: Library) -> None:
    before = entries(library)
    for path in (library.root / "index.toml", *library.snapshots.kept()[:2]):
        path.write_bytes(path.read_bytes()[:100])

    found = look(library, repair=True)

    assert defects(found) == []
    assert set(before) == set(entries(library))
    assert not any("index.1.toml" in finding.text for finding in found if " is from " in finding.text)


def test_without_any_snapshot_the_files_and_their_torrents_say_it(library: Library) -> None:
    before = entries(library)
    for path in (library.root / "index.toml", *library.snapshots.kept()):
        path.write_bytes(b"?")

    found = look(library, repair=True)

    after = entries(library)
    assert defects(found) == []
    assert {finding.text.rpartition(" is from ")[2] for finding in found if " is from " in finding.text} == {"its file"}
    assert set(before) == set(after)
    for memo_id, memo in before.items():
        if memo["infohash"]:
            assert memo["infohash"] == after[memo_id]["infohash"]
        if memo["title"] != "Edited after it was shared":  # which is nowhere but in the index
            assert [memo[name] for name in KEPT[:4]] == [after[memo_id][name] for name in KEPT[:4]]
        assert bool(memo["trashed"]) == bool(after[memo_id]["trashed"])


def test_what_was_shared_after_the_snapshot_is_frozen_by_its_torrent(library: Library) -> None:
    memo = titled(library, "Edited before")
    torrent = metainfo.make(library.path(memo), "Edited before.webm")
    library.keep_torrent(torrent.infohash, torrent.data)
    (library.root / "index.toml").unlink()

    look(library, repair=True)

    assert titled(library, "Edited before").infohash == torrent.infohash


def test_a_file_that_was_rewritten_after_the_snapshot_has_the_last_word(library: Library) -> None:
    memo = titled(library, "Edited before")
    staged = library.root / "staged"
    webm.finish(library.path(memo), staged, replace(memo, title="Edited at last").words)
    staged.replace(library.path(memo))
    (library.root / "index.toml").unlink()

    assert defects(look(library, repair=True)) == []
    assert titled(library, "Edited at last").id == memo.id


def test_what_was_purged_stays_so(memosync: Program, library: Library) -> None:
    memosync("rm", "--purge", "--force", titled(library, "Edited before").id)
    before = entries(library)
    (library.root / "index.toml").unlink()

    look(library, repair=True)

    assert set(before) == set(entries(library))


@pytest.mark.parametrize("text", ["version = 3\n", "version = 3\n[[memo", "\ufeff# mine\nversion=12\n"])
def test_an_index_of_a_newer_version_is_refused(memosync: Program, library: Library, text: str) -> None:
    (library.root / "index.toml").write_text(text)
    before = state(library.root)

    result = memosync("check", "--repair", code=LibraryError.exit_code)

    assert re.search(r"^defect\tindex\t.*newer", result.out, re.MULTILINE)
    assert before == state(library.root)


def test_a_snapshot_of_a_newer_version_is_not_passed_over(library: Library) -> None:
    (library.root / "index.toml").unlink()
    path = library.snapshots.kept()[0]
    path.write_text("version = 3\n")
    before = state(library.root)

    assert "newer" in defects(look(library, repair=True))[0][1]
    assert before == state(library.root)


def test_no_verb_makes_a_new_index_where_one_was_lost(memosync: Program, library: Library) -> None:
    (library.root / "index.toml").unlink()
    before = state(library.root)

    for arguments in (["list"], ["record", "-"], ["share", "--public", "--all"]):
        result = memosync(*arguments, stdin=SECOND, code=LibraryError.exit_code)
        assert "index.toml is gone" in result.err
        assert "memosync check --repair" in result.err

    assert before == state(library.root)


def test_whatever_happens_to_an_index_no_memo_is_lost_by_a_repair(library: Library) -> None:
    path = library.root / "index.toml"
    whole, ids, chance = path.read_bytes(), set(entries(library)), random.Random(1)
    for _ in range(60):
        text = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            begin = chance.randrange(len(text))
            text[begin : begin + chance.choice([0, 1, 1, 40])] = chance.randbytes(chance.choice([0, 1, 3]))
        path.write_bytes(text)

        look(library, repair=True)

        assert ids <= set(entries(library))
        for aside in library.root.glob("index.broken-*"):
            aside.unlink()


# -- what is wrong with a memo


def damage(library: Library, memo: Memo, at: int = -500) -> None:
    """Let bits rot."""
    path = library.path(memo)
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


def test_a_library_that_is_well_has_no_defect(library: Library) -> None:
    found = look(library)

    assert defects(found) == []
    assert [finding.text for finding in found if finding.subject == "index"] == ["6 memos"]
    assert [finding.text for finding in found if finding.subject == "memos"] == [
        "6 as the index says, 3 of them byte for byte"
    ]


MEMOS: dict[str, Callable[[Library, Memo], object]] = {
    "renamed": lambda library, memo: library.path(memo).rename(library.path(memo).with_suffix(".mine.webm")),
    "in the trash": lambda library, memo: shutil.move(library.path(memo), library.inner / "trash" / memo.file),
    "of another size": lambda library, memo: rewrite(library, memo.size, 7),
    "of another length": lambda library, memo: rewrite(library, memo.duration, 99.5),
}


def rewrite(library: Library, old: float, new: float) -> None:
    """Change a number in the index by hand."""
    path = library.root / "index.toml"
    path.write_text(path.read_text().replace(f" = {old}\n", f" = {new}\n"))


@pytest.mark.parametrize("title", ["Edited before", "Edited after it was shared", "From somebody else"])
@pytest.mark.parametrize("breakage", MEMOS)
def test_what_needs_no_guess_is_mended(library: Library, breakage: str, title: str) -> None:
    before, recordings = entries(library), files_of(library)
    MEMOS[breakage](library, titled(library, title))

    assert titled(library, title).id in dict(defects(look(library)))
    assert defects(look(library, repair=True)) == []

    assert defects(look(library)) == []
    assert before == entries(library)
    assert recordings == files_of(library)


@pytest.mark.parametrize("what", ["lost", "broken", "another one"])
def test_a_torrent_of_our_making_is_made_again(library: Library, what: str) -> None:
    memo = titled(library, "Shared in the end")
    path = torrent_of(library, memo)
    before = path.read_bytes()
    if what == "lost":
        path.unlink()
    else:
        theirs = torrent_of(library, titled(library, "From somebody else"))
        path.write_bytes(theirs.read_bytes() if what == "another one" else before[:50])

    assert memo.id in dict(defects(look(library)))
    assert defects(look(library, repair=True)) == []

    assert before == path.read_bytes()
    assert len(list(path.parent.glob(f"{memo.infohash}.broken"))) == (what != "lost")


def test_what_cannot_be_mended_is_said_and_left(library: Library) -> None:
    shared, plain, theirs, gone, cut = (
        titled(library, title)
        for title in ("Shared in the end", "Edited before", "From somebody else", "Edited after it was shared", "Last")
    )
    damage(library, shared)
    library.path(plain).write_bytes(b"not a memo at all")
    torrent_of(library, theirs).unlink()
    library.path(gone).unlink()
    os.truncate(library.path(cut), cut.size // 2)
    library.update({cut.id: lambda memo: replace(memo, size=cut.size // 2, duration=0.5)})  # whatever the index says
    before = state(library.root)

    for repair in (False, True):
        said = dict(defects(look(library, repair)))

        assert re.search("was altered", said[shared.id])
        assert re.search("cannot be read", said[plain.id])
        assert re.search("torrent .* is lost", said[theirs.id])
        assert re.search("is gone", said[gone.id])
        assert re.search(r"ends after 0\.\d of 1\.0 s", said[cut.id])
    assert before == state(library.root)


def test_words_that_differ_are_a_note_until_the_memo_is_shared(memosync: Program, library: Library) -> None:
    path = library.root / "index.toml"
    path.write_text(path.read_text().replace('"Edited before"', '"By hand"'))
    memo = titled(library, "By hand")

    found = [finding for finding in look(library) if finding.subject == memo.id]

    assert [(finding.severity, "sharing writes them" in finding.text) for finding in found] == [("note", True)]
    memosync("share", "--public", memo.id, "--no-seed")
    assert [finding for finding in look(library) if finding.subject == memo.id] == []


def test_a_memo_that_somebody_is_at_is_no_defect(library: Library) -> None:
    memo = titled(library, "Shared in the end")
    damage(library, memo)
    before = state(library.root)

    for repair in (False, True):
        with library.lock(memo.id):
            assert defects(look(library, repair)) == []
    assert memo.id in dict(defects(look(library)))
    assert before == state(library.root)


# -- what is around the memos


def test_half_made_things_are_stated_and_are_no_defects(memosync: Program, library: Library) -> None:
    infohash = InfoHash(40 * "a")
    library.incoming(infohash).mkdir(parents=True)
    (library.incoming(infohash) / "memo.webm").write_bytes(bytes(10_000))
    part, half = library.part(MemoId("abcdefgh")), library.part(MemoId("abcdefgk")).with_suffix(".import")
    for path in (part, half):
        shutil.copy(library.path(titled(library, "Last")), path)
    (library.root / "talk.webm").write_bytes(b"x")
    (library.root / "2026-08-25-abcdefgj.webm").write_bytes(b"x")

    with library.lock(MemoId("abcdefgh")), library.lock(MemoId("abcdefgk")):
        found = {finding.subject: (finding.severity, finding.text) for finding in look(library)}

    assert {severity for severity, _ in found.values()} == {"ok", "note"}
    assert "is being made" in found["abcdefgh"][1]
    assert "is being made" in found["abcdefgk"][1]
    assert "cannot be" in found["abcdefgj"][1]
    assert "talk.webm" in found["files"][1]
    assert "memosync fetch with its link" in found[infohash[:12]][1]
    assert "recovered the interrupted recording abcdefgh" in memosync("check").err


def test_the_trash_is_counted_and_emptied_after_a_month(library: Library) -> None:
    (thrown,) = (memo for memo in library.index().memos if memo.trashed)
    assert [finding.text[:6] for finding in look(library) if finding.subject == "trash"] == ["1 memo"]

    told: list[str] = []
    command = Globals(library.root, Network.LOOPBACK, Console(tell=told.append))
    for weeks in range(1, 7):
        then = now() + timedelta(weeks=weeks)
        list(check_library(command, now=then, stop=Stop()))

    assert library.index().get(thrown.id) is None
    assert [text for text in told if thrown.id in text or thrown.title in text]


# -- what a file synchroniser leaves

COPIES = [
    "index.sync-conflict-20260901-101112-ABCDEFG.toml",
    "index (Anna's conflicted copy 2026-09-01).toml",
    "index (conflicted copy 2026-09-01 101112).toml",
    "index-DESKTOP-1.toml",
    "index (SFConflict anna 2026-09-01-10-11-12).toml",
]


@pytest.mark.parametrize("name", COPIES)
def test_copies_of_the_index_are_named_and_merged(library: Library, name: str) -> None:
    last, plain = titled(library, "Last"), titled(library, "Edited before")
    before = entries(library)
    named = (replace(plain, title="Their title"), replace(last, tags=("theirs",)), make_memo(5, title="Not here"))
    copy = library.root / name
    copy.write_text(index.dumps(Index(named)))
    library.transaction(lambda index: Index(tuple(memo for memo in index.memos if memo.id != last.id)))

    seen = [finding.text for finding in look(library) if finding.subject == "index"]  # it adopts what they know of it

    assert any(text.startswith(name) and "--repair" in text for text in seen)
    before[last.id]["tags"] = ("theirs",)
    assert before == entries(library)
    data = copy.read_bytes()
    said = {finding.subject: finding.text for finding in look(library, repair=True) if finding.severity == "note"}
    assert "title “Their title”" in said[plain.id]
    assert re.search(r"“Not here” is in .*not here$", said[named[-1].id])
    assert before == entries(library)
    assert not copy.exists()
    assert data == (library.inner / name).read_bytes()
    assert library.snapshots.copies() == []


def test_a_merged_copy_never_takes_the_place_of_another(library: Library) -> None:
    for titles in ("One", "Two"):
        (library.root / COPIES[3]).write_text(f"# {titles}\n" + index.dumps(Index()))
        look(library, repair=True)

    assert {path.read_text().split()[1] for path in library.inner.glob("index-DESKTOP*")} == {"One", "Two"}


def test_a_copy_stands_in_for_an_index_that_is_lost(library: Library) -> None:
    before = entries(library)
    (library.root / "index.toml").rename(library.root / COPIES[0])
    for path in library.snapshots.kept():
        path.unlink()

    assert defects(look(library, repair=True)) == []

    after = entries(library)
    trashed = next(memo_id for memo_id in before if before[memo_id]["trashed"])
    before[trashed]["trashed"] = after[trashed]["trashed"]
    assert before == after


def test_a_copy_that_cannot_be_read_is_named_and_left(library: Library) -> None:
    copy = library.root / COPIES[0]
    copy.write_text("version = 1\n[[memo]]\n")

    found = look(library, repair=True)

    assert [finding.severity for finding in found if copy.name in finding.text] == ["note", "note"]
    assert copy.exists()


def test_copies_of_memos_are_named_and_left(library: Library) -> None:
    memo, shared = titled(library, "Edited before"), titled(library, "Shared in the end")
    stem = memo.file.removesuffix(".webm")
    names = [f"{stem}.sync-conflict-20260901-101112-ABCDEFG.webm", f"{stem} (1).webm"]
    for name in names:
        shutil.copy(library.path(memo), library.root / name)
    shutil.copy(library.path(memo), library.root / f"{shared.file.removesuffix('.webm')} (conflicted copy).webm")
    before = state(library.root)

    for repair in (False, True):
        said = [(finding.subject, finding.text) for finding in look(library, repair) if finding.severity == "note"]

        assert sorted(said) == sorted(
            [(memo.id, f"{name} is a copy of it") for name in names]
            + [(shared.id, f"{shared.file.removesuffix('.webm')} (conflicted copy).webm is another version of it")]
        )
    assert before == state(library.root)


# -- the machine, and the answer


def rows(text: str) -> dict[str, tuple[str, str]]:
    """Give severity and text of each subject."""
    found = {}
    for line in text.splitlines():
        severity, subject, words = line.split("\t")
        found[subject] = severity, words
    return found


def test_a_row_is_severity_subject_and_text(memosync: Program, library: Library) -> None:
    told = memosync("check")
    as_json = [json.loads(line) for line in memosync("check", "--json").lines]
    both = [line.split("\t") for line in told.lines], [list(found.values()) for found in as_json]
    first, second = ([row for row in rows if row[1] != "disk"] for rows in both)  # its room changes

    assert first == second
    assert {tuple(found) for found in as_json} == {("severity", "subject", "text")}
    assert {found["severity"] for found in as_json} == {"ok", "note"}
    assert [found["subject"] for found in as_json[:2]] == ["index", "memos"]
    assert told.err == ""


def test_a_defect_is_exit_6_with_the_command_that_may_mend_it(memosync: Program, library: Library) -> None:
    memo = titled(library, "Edited before")
    library.path(memo).rename(library.root / f"renamed-{memo.id}.webm")

    before = memosync("check", code=LibraryError.exit_code)
    repaired = memosync("check", "--repair")

    assert rows(before.out)[memo.id] == ("defect", f"{memo.file} is gone; renamed-{memo.id}.webm is it")
    assert before.err.splitlines()[0] == "memosync: error: the library has 1 defect"
    assert "memosync check --repair" in before.err
    assert rows(repaired.out)[memo.id] == ("note", f"{memo.file} was brought back")
    assert repaired.err == ""


def test_a_title_from_somewhere_forges_no_row(memosync: Program, library: Library) -> None:
    library.update({titled(library, "Last").id: lambda memo: replace(memo, title="a\nok\tindex\tb\x1b[2J")})
    (library.root / "index.toml").unlink()

    out = memosync("check", "--repair").out

    assert [line for line in out.splitlines() if not re.fullmatch(r"(ok|note)\t[^\t]+\t[^\t\x00-\x1f]+", line)] == []


def test_a_machine_without_sound_is_no_defect(memosync: Program) -> None:
    found = rows(memosync("check").out)

    assert found["microphone"] == ("note", found["microphone"][1])
    assert found["output"][0] == "note"
    assert found["index"] == ("ok", "0 memos")
    assert re.search(r"^\d+ .B free, \d+ hours", found["disk"][1])
    assert found["rights"] == ("ok", f"{memosync.library} can be written")
    assert found["seeder"][0] == "ok"
    assert not memosync.library.exists()


def test_the_microphone_and_the_output_are_named(memosync: Program) -> None:
    with plugged_in() as microphone:
        found = rows(memosync("check", env=microphone.environment).out)
        other = rows(memosync("check", env={**microphone.environment, "MEMOSYNC_DEVICE": "nowhere"}).out)

    assert [found[name][0] for name in ("microphone", "output")] == ["ok", "ok"]
    assert other["microphone"][0] == "note"
    assert "'nowhere' is no microphone" in other["microphone"][1]


def test_who_answers_on_the_network_is_asked_only_with_net(memosync: Program, library: Library) -> None:
    modes = ("answer", "refused", "garbage")
    trackers = [Tracker(mode=mode, strangers=[("127.0.0.1", 9)]) for mode in modes]
    urls = [trackers[0].udp_url, *(tracker.http_url for tracker in trackers), "udp://tracker.example.org:1"]
    env = {"MEMOSYNC_TRACKERS": " ".join(urls)}
    try:
        memosync("share", "--public", "--all")
        quiet = rows(memosync("check", env=env).out)
        heard = [len(tracker.announces) for tracker in trackers]
        found = rows(memosync("check", "--net", env=env).out)
        announced = {announce.infohash.hex() for announce in trackers[0].announces}
    finally:
        for tracker in trackers:
            tracker.close()

    assert {subject for subject in found if subject not in quiet} == {url[: -len("/announce")] for url in urls[:4]} | {
        "port"
    }
    assert heard == [0, 0, 0]
    assert quiet["seeder"][0] == "ok"
    assert found["port"] == ("ok", found["port"][1])
    assert found[urls[0].removesuffix("/announce")] == found[urls[1].removesuffix("/announce")] == ("ok", "it answers")
    assert [found[url.removesuffix("/announce")][0] for url in urls[2:4]] == ["note", "note"]
    assert announced.isdisjoint({memo.infohash for memo in library.index().memos})  # nobody learns what is here


def test_without_a_tracker_that_may_be_asked_that_is_said(memosync: Program, library: Library) -> None:
    assert rows(memosync("check", "--net").out)["trackers"] == ("note", "with --network loopback there is none to ask")


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("nowhere")], ids=["file", "dangling link"])
def test_what_is_no_directory_is_not_said_to_be_writable(
    memosync: Program, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "thing")

    found = memosync.on(tmp_path / "thing").start("check").communicate(timeout=30)[0].decode()

    assert f"note\trights\t{tmp_path / 'thing'} is no directory" in found


def test_shared_memos_without_a_seeder_are_a_note(memosync: Program, library: Library) -> None:
    assert rows(memosync("check").out)["seeder"][0] == "note"


def test_a_read_only_library_is_checked_and_stays_as_it_is(library: Library, memosync: Program) -> None:
    damage(library, titled(library, "Shared in the end"))
    before = whole_state(library.root)
    for path in [library.root, *library.root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        command = [*POWERLESS, *PROGRAM, "check"]
        done = [
            subprocess.run([*command, *options], env=memosync.environment, capture_output=True, text=True, timeout=60)
            for options in ([], ["--repair"])
        ]
    finally:
        for path in [library.root, *library.root.rglob("*")]:
            path.chmod(0o755)

    for result in done:
        found = rows(result.stdout)
        assert result.returncode == LibraryError.exit_code
        assert "was altered" in found[titled(library, "Shared in the end").id][1]
        assert found["rights"] == ("note", f"{library.root} cannot be written; list, show, play and export work")
        assert "Traceback" not in result.stderr
    assert before == whole_state(library.root)


def test_what_may_not_be_read_is_said_without_a_traceback(library: Library, memosync: Program) -> None:
    memo = titled(library, "Edited before")
    library.path(memo).chmod(0)
    library.torrent(titled(library, "Shared in the end").infohash or InfoHash("")).chmod(0)
    command = [*POWERLESS, *PROGRAM, "check", "--repair"]
    done = subprocess.run(command, env=memosync.environment, capture_output=True, text=True, timeout=60)
    library.inner.chmod(0)
    worse = subprocess.run(command, env=memosync.environment, capture_output=True, text=True, timeout=60)
    library.inner.chmod(0o755)
    library.root.chmod(0o600)
    worst = subprocess.run(command, env=memosync.environment, capture_output=True, text=True, timeout=60)
    library.root.chmod(0o755)

    assert rows(done.stdout)[memo.id] == ("defect", f"{memo.file} cannot be read: permission denied")
    assert [done.returncode, worse.returncode, worst.returncode] == [LibraryError.exit_code] * 3
    assert "Traceback" not in done.stderr + worse.stderr + worst.stderr
    assert rows(worst.stdout)["rights"][0] == "note"


def test_where_no_library_can_be_made_is_not_called_a_place_that_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "thing").write_text("no directory")

    assert Library(tmp_path / "thing" / "new" / "Memos").closed() == tmp_path / "thing"
    assert Library(tmp_path / "new" / "Memos").closed() is None


def many(library: Library, number: int) -> None:
    """Fill a library with names of one file."""
    memo = titled(library, "Last")
    memos = [replace(make_memo(n), size=memo.size, duration=memo.duration) for n in range(number)]
    for new in memos:
        os.link(library.path(memo), library.root / new.file)
    (library.root / "index.toml").write_text(index.dumps(Index(tuple(memos))))


def test_a_terminal_shows_how_far_it_is_and_then_aligned_rows(memosync: Program, library: Library) -> None:
    many(library, 2000)
    terminal = Terminal([*PROGRAM, "check"], memosync.environment, columns=100)
    try:
        terminal.end()
    finally:
        terminal.close()

    assert re.search(r"\d+%  of 2005 memos", terminal.wrote)
    assert re.search(r"\nok +memos +2005 as the index says", terminal.wrote.replace("\r", ""))
    assert "of 2005 memos" not in terminal.screen.text


def test_an_interrupt_ends_it_with_130_and_no_half_answer(memosync: Program, library: Library, tmp_path: Path) -> None:
    many(library, 200)
    sign = tmp_path / "looks"
    memosync.meddle(LOOKS_LONG.format(sign=str(sign)))
    process = memosync.start("check")
    wait_until(sign.exists, "it to look into the first memo")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)

    assert (process.returncode, out) == (130, b"")
    assert b"Traceback" not in err


def test_an_interrupt_is_heard_after_each_memo(library: Library) -> None:
    stop = Stop()
    looked: list[float] = []

    def interrupt(_of: str, fraction: float) -> None:
        looked.append(fraction)
        stop.set()

    command = Globals(library.root, Network.LOOPBACK, Console(progress=interrupt))

    with pytest.raises(Interrupted):
        list(check_library(command, now=now(), stop=stop))

    assert looked == [0]


def test_a_repair_in_a_crowd_loses_nothing(memosync: Program, library: Library) -> None:
    before = entries(library)
    (library.root / "index.toml").write_bytes((library.root / "index.toml").read_bytes() + b"?")

    repairs = [memosync.start("check", "--repair") for _ in range(3)]
    codes = {process.wait(60) for process in repairs}
    for process in repairs:
        process.communicate()

    assert codes <= {0, LibraryError.exit_code}
    memosync("check")  # which adopts what two of them were at
    assert set(before) == set(entries(library))
    assert len(list(library.root.glob("index.broken-*"))) == 1


def test_a_file_that_is_purged_while_it_is_looked_at_is_gone(
    memosync: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "tone.wav"
    source.write_bytes(sound.wav(sound.tone(1)))
    memosync("record", source)
    memosync("share", "--public", "last", "--no-seed")
    library = Library(memosync.library)
    [memo] = library.index().memos

    def purged(*_arguments: object) -> None:
        library.path(memo).unlink()

    monkeypatch.setattr("memosync.doctor.memos.frozen_torrent", purged)  # it is gone, and the file goes in this moment

    assert [f"{memo.file} is gone"] == [finding.text for finding in examine(library, memo)]
