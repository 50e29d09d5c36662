"""What a person puts back, copies or types while something else goes on: no old word wins, and nothing is there twice.

Earlier indexes, files of a backup, entries that were copied, and who edits while a memo is shared or comes.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from proof import crash
from proof.sounds import heard, sound
from support.group import SECRET, SILENT, WHEN, edit, entered, only, record, tell, words
from support.sound import altered

from memosync.audio import webm
from memosync.commands import edit as edit_verb
from memosync.commands.arguments import Globals
from memosync.commands.check import check_library
from memosync.console import Console
from memosync.doctor.rebuild import rebuild
from memosync.errors import LibraryError
from memosync.library import group, identity, incoming, sealed, trash
from memosync.library.adopt import open_library
from memosync.library.freeze import Form, freeze
from memosync.library.incoming import Incoming, take_in
from memosync.library.reword import reword
from memosync.library.sealed import form_for_devices
from memosync.library.stamps import content_of
from memosync.library.store import Library
from memosync.memo import MemoId, Words, torrent_name
from memosync.network import Network
from memosync.stop import Stop
from memosync.torrent import metainfo

Make = Callable[[str], Library]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Give what makes a library that is in the group already."""
    return lambda name: entered(tmp_path / name)


@pytest.fixture
def alone(tmp_path: Path) -> Library:
    """A library that is in no group."""
    return open_library(tmp_path / "alone", SILENT)


def by_command(library: Library, memo_id: MemoId, **changes: Any) -> None:
    edit_verb.apply(library, [library.find(memo_id)], lambda memo: replace(memo, **changes), SILENT)


def both_tell(one: Library, other: Library) -> None:
    for _ in range(2):
        tell(one, other)
        tell(other, one)


def join(*libraries: Library) -> None:
    for library in libraries:
        group.enter(library, SECRET)
    both_tell(*libraries)


def titles(*libraries: Library) -> list[str]:
    return [only(library).title for library in libraries]


def repaired(library: Library) -> Library:
    command = Globals(root=library.root, network=Network.LOOPBACK, console=SILENT)
    list(check_library(command, repair=True, now=datetime.now(UTC), stop=Stop()))
    return open_library(library.root, SILENT)


def lost_index(library: Library, now: float) -> Library:
    """Have the index be made anew from the earlier ones, at a time."""
    library.index_file.unlink()
    library = Library(library.root, clock=lambda: now)
    rebuild(library, now=WHEN, stop=Stop(), console=SILENT)
    os.utime(library.index_file, (now, now))
    return library


def purge(library: Library, memo_id: MemoId) -> None:
    trash.purge(library, trash.put(library, [memo_id], WHEN).values())


def comes(library: Library, torrent: bytes, data: bytes) -> Incoming:
    """Have a memo have arrived by its link, but not be taken in yet."""
    coming = Incoming(library, metainfo.read(torrent).infohash, 10**9)
    coming.accept(torrent)
    coming.file.write_bytes(data)
    return coming


def fetched(library: Library, torrent: bytes, data: bytes) -> None:
    """Fetch a memo by its link, in a group."""
    coming = comes(library, torrent, data)
    memo = take_in(library, coming, coming.plain(), webm.probe(coming.file), ())
    coming.remove()
    identity.claim(library, memo.id)


@pytest.mark.parametrize("befall", ["the index is lost", "an empty one is put back"])
@pytest.mark.parametrize("is_heard", [False, True])
def test_what_was_typed_long_ago_is_no_newer_by_an_earlier_index(make: Make, befall: str, is_heard: bool) -> None:
    one, other, now = make("one"), make("other"), time.time()
    empty = one.index_file.read_bytes()
    memo_id = record(one, 1)
    both_tell(one, other)
    one.index_file.write_text(one.index_file.read_text().replace("Weekly standup", "Typed"))
    if not is_heard:
        edit(one, memo_id, tags=("work", "new"))  # and the index before has it without its stamp
    other.clock = lambda: now + 100
    edit(other, memo_id, title="Edited later")
    if is_heard:
        tell(other, one)
        assert titles(one) == ["Edited later"]

    if befall == "the index is lost":
        one = lost_index(one, now + 200)
    else:
        one = Library(one.root, clock=lambda: now + 200)
        one.index_file.write_bytes(empty)
        os.utime(one.index_file, (now + 200, now + 200))
    both_tell(one, other)

    assert titles(one, other) == ["Edited later"] * 2


@pytest.mark.parametrize("kept", ["all but the end", "the entries alone"])
def test_words_do_not_come_from_a_file_that_other_devices_sent_when_an_index_breaks(make: Make, kept: str) -> None:
    one, other, later = make("one"), make("other"), time.time() + 100  # as in life 5030025
    memo_id = record(one, 1)
    both_tell(one, other)
    edit(one, memo_id, description="Edited")
    both_tell(one, other)
    os.utime(other.path(only(other)), (later, later))
    record(other, 2)

    text = other.index_file.read_text()
    other.index_file.write_text(text[:-10] if kept == "all but the end" else text[text.index("[[memo]]") : -10])
    for path in other.inner.glob("index.*.toml"):
        path.unlink()
    rebuild(other, now=WHEN, stop=Stop(), console=SILENT)
    join(one, other)

    assert [library.index().get(memo_id).description for library in (one, other)] == ["Edited"] * 2  # type: ignore[union-attr]


def test_an_edit_counts_from_when_it_was_made_though_its_index_is_lost(alone: Library, tmp_path: Path) -> None:
    now = time.time()
    memo_id = record(alone, 1)
    by_command(alone, memo_id, description="so that it is stamped")
    shutil.copytree(alone.root, tmp_path / "other")
    other = open_library(tmp_path / "other", SILENT)
    by_command(alone, memo_id, title="First")
    other.clock = lambda: now + 100
    by_command(other, memo_id, title="Second")

    alone = lost_index(alone, now + 200)
    join(alone, other)

    assert titles(alone, other) == ["Second"] * 2


@pytest.mark.parametrize("copy", [shutil.copy, shutil.copy2])
def test_a_file_of_a_backup_has_no_word_that_was_typed_now(
    alone: Library, tmp_path: Path, copy: Callable[[Path, Path], object]
) -> None:
    now = time.time()
    memo_id = record(alone, 1, "Old")
    path = alone.path(only(alone))
    os.utime(path, (now - 300, now - 300))
    shutil.copy2(path, backup := tmp_path / "backup.webm")
    alone.clock = lambda: now - 200
    by_command(alone, memo_id, title="A newer title")
    shutil.copytree(alone.root, tmp_path / "other")
    other = open_library(tmp_path / "other", SILENT)
    other.clock = lambda: now - 100
    by_command(other, memo_id, title="The newest title")
    purge(alone, memo_id)

    copy(backup, path)
    alone, other = open_library(alone.root, SILENT), open_library(other.root, SILENT)
    join(alone, other)

    assert titles(alone, other) == ["The newest title"] * 2


def test_an_older_file_of_what_was_purged_has_no_link_to_later_bytes(alone: Library, tmp_path: Path) -> None:
    memo_id = record(alone, 1, "Old")
    shutil.copy2(path := alone.path(only(alone)), backup := tmp_path / "backup.webm")
    by_command(alone, memo_id, title="A newer title")
    freeze(alone, alone.index().memos, (), form="public")
    purge(alone, memo_id)

    shutil.copy2(backup, path)
    memo = only(repaired(alone))

    assert not memo.is_frozen
    assert not memo.is_served


def test_an_older_file_brings_no_old_word_into_a_group(make: Make, tmp_path: Path) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1, "Old")
    shutil.copy(one.path(only(one)), backup := tmp_path / "backup.webm")
    edit(one, memo_id, title="A longer title")
    reword(one, only(one))
    both_tell(one, other)
    edit(other, memo_id, title="The newest title")
    both_tell(one, other)

    shutil.copy(backup, path := one.path(only(one)))
    later = one.index_time() + 10**9
    os.utime(path, ns=(later, later))
    one = repaired(one)
    both_tell(one, other)

    assert titles(one, other) == ["The newest title"] * 2


def test_who_dies_as_a_file_comes_finds_no_word_in_it_that_was_typed_here(make: Make, tmp_path: Path) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1, "Old")
    identity.identify(one, SILENT)
    group.merge_in(other, group.state_of(one), SILENT)
    edit(one, memo_id, title="A longer title")
    reword(one, only(one))
    edit(one, memo_id, title="The newest title")
    group.merge_in(other, group.state_of(one), SILENT)
    ((memo, _content),) = group.wanted(other)
    crash.install()

    for after in itertools.count():
        copy = Library(tmp_path / f"copy{after}")
        shutil.copytree(other.root, copy.root, symlinks=True)
        shutil.copy(one.path(only(one)), came := copy.inner / "came")
        later = copy.index_time() + 10**9
        os.utime(came, ns=(later, later))
        with crash.dying(after) as died:
            group.take(copy, memo.uid or "", came)
        assert titles(repaired(copy)) == ["The newest title"]
        if not died:
            break
    assert after > 1


@pytest.mark.parametrize("form", ["public", "sealed"])
@pytest.mark.parametrize("how", ["by another device", "by hand"])
def test_a_word_that_comes_while_a_memo_is_shared_stays(
    make: Make, form: Form, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1)
    edit(one, memo_id, title="First")
    both_tell(one, other)
    edit(other, memo_id, title="Second")
    theirs, finish = group.state_of(other), webm.finish

    def and_meanwhile(*args: Any, **more: Any) -> webm.AudioInfo:
        if how == "by hand":
            one.index_file.write_text(one.index_file.read_text().replace('"First"', '"Second"'))
        else:
            group.merge_in(Library(one.root), theirs, SILENT)
        return finish(*args, **more)

    monkeypatch.setattr(webm, "finish", and_meanwhile)
    (shared,), fault = freeze(one, one.index().memos, (), form=form)
    monkeypatch.undo()
    both_tell(one, other)

    assert (shared.is_frozen, fault) == (True, None)
    assert titles(one, other) == ["Second"] * 2


def test_a_word_that_is_typed_while_another_is_written_is_in_the_file_too(
    alone: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    memo_id, finish = record(alone, 1), webm.finish  # as in life 91071 of seeders

    def and_meanwhile(*args: Any, **more: Any) -> webm.AudioInfo:
        alone.index_file.write_text(alone.index_file.read_text().replace("Weekly standup", "Typed"))
        return finish(*args, **more)

    monkeypatch.setattr(webm, "finish", and_meanwhile)
    by_command(alone, memo_id, description="Edited")
    monkeypatch.undo()

    assert webm.read_words(alone.path(only(alone))) == only(alone).words
    assert (only(alone).title, only(alone).description) == ("Typed", "Edited")
    assert only(lost_index(alone, time.time() + 1)).title == "Typed"


@pytest.mark.parametrize("form", ["public", "sealed"])
@pytest.mark.parametrize("is_edited", [False, True])
def test_what_a_disk_altered_is_not_what_all_devices_have_once_it_is_shared(
    make: Make, form: Form, is_edited: bool
) -> None:
    one, other = make("one"), make("other")  # as in life 5050817
    record(one, 1)
    both_tell(one, other)
    if is_edited:
        edit(other, only(other).id, title="Edited")
    path = other.path(only(other))
    path.write_bytes(altered(right := path.read_bytes()))

    with pytest.raises(LibraryError, match="was altered: it is not what the other devices have"):
        freeze(other, other.index().memos, (), form=form)
    both_tell(one, other)

    assert [library.path(only(library)).read_bytes() for library in (one, other)] == [right] * 2
    _shared, fault = freeze(other, other.index().memos, (), form=form)
    assert not fault


def test_an_edit_while_a_lost_file_comes_again_stays(alone: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    memo_id = record(alone, 1)
    (shared,), _fault = freeze(alone, alone.index().memos, (), form="public")
    assert shared.infohash
    data, torrent = alone.path(shared).read_bytes(), alone.torrent(shared.infohash).read_bytes()
    alone.path(shared).unlink()
    coming, keep = comes(alone, torrent, data), incoming._keep

    def and_meanwhile(*args: Any) -> None:
        keep(*args)
        by_command(Library(alone.root), memo_id, title="Edited meanwhile")

    monkeypatch.setattr(incoming, "_keep", and_meanwhile)
    took = take_in(alone, coming, coming.plain(), webm.probe(coming.plain()), ())

    assert took == only(alone)
    assert (took.title, heard(alone.path(took).read_bytes())) == ("Edited meanwhile", 1)


@pytest.mark.parametrize("is_shared_here", [False, True])
def test_what_a_link_gives_takes_the_place_of_what_a_disk_altered(make: Make, is_shared_here: bool) -> None:
    one, other = make("one"), make("other")  # as in life 91314 of seeders
    record(one, 1)
    both_tell(one, other)
    (shared,), _fault = freeze(one, one.index().memos, (), form="public")
    if is_shared_here:
        freeze(other, other.index().memos, (), form="sealed")
    edit(other, only(other).id, title="Edited")
    path = other.path(only(other))
    path.write_bytes(bad := altered(path.read_bytes()))
    assert shared.infohash
    torrent, data = one.torrent(shared.infohash).read_bytes(), one.path(shared).read_bytes()

    fetched(other, torrent, data)
    both_tell(one, other)

    assert titles(one, other) == ["Edited"] * 2
    assert path.read_bytes() == data
    assert [kept.read_bytes() for kept in other.inner.glob("*.webm")] == [bad], "it is put away"
    assert only(other).infohash == shared.infohash


def test_an_index_of_another_device_that_names_another_file_makes_no_memo_twice(make: Make, tmp_path: Path) -> None:
    one, other = make("one"), make("other")  # as in life 5010897
    for library, title in ((one, "First"), (other, "Second")):
        (bare := tmp_path / "bare").write_bytes(sound(1))
        webm.finish(bare, file := tmp_path / f"{title}.webm", Words(title, "", (), WHEN))
        fetched(library, metainfo.make(file, file.name).data, file.read_bytes())
    both_tell(one, other)
    assert only(one).uid == only(other).uid
    assert only(one).id != only(other).id
    group.leave(other)

    shutil.copy(other.index_file, one.index_file)
    one = open_library(one.root, SILENT)
    join(one, other)

    assert only(one).uid == only(other).uid
    assert [heard(library.path(only(library)).read_bytes()) for library in (one, other)] == [1, 1]


@pytest.fixture
def met(make: Make) -> tuple[Library, Library]:
    """Two devices that have heard each other, so that neither is joining any more."""
    one, other = make("one"), make("other")
    record(one, 9, "Another")
    both_tell(one, other)
    return one, other


def living(library: Library) -> list[str]:
    return [memo.title for memo in library.index().memos if memo.title != "Another" and not memo.trashed]


@pytest.mark.parametrize("how", ["heard of", "not heard of", "its file deleted", "thrown away by a clock ahead"])
def test_what_is_recorded_after_its_sound_was_thrown_away_stays(met: tuple[Library, Library], how: str) -> None:
    one, other = met
    now = time.time()
    memo_id = record(one, 1)
    if how == "its file deleted":
        both_tell(one, other)
    identity.identify(one, SILENT)
    if how == "thrown away by a clock ahead":
        one.clock = lambda: now + 10**8
    trash.put(one, [memo_id], WHEN)
    if how != "not heard of":
        tell(one, other)
    if how == "its file deleted":
        (other.trash / next(memo.file for memo in other.index().memos if memo.trashed)).unlink()

    other.clock = lambda: now + 1000
    record(other, 1, "Later")
    both_tell(one, other)

    assert len(living(one)) == len(living(other)) == 1


def test_who_joins_with_an_old_trash_throws_nothing_away(met: tuple[Library, Library], alone: Library) -> None:
    one, other = met
    trash.put(alone, [record(alone, 1, "Of now")], datetime(2020, 1, 1, tzinfo=UTC))
    record(one, 1, "Of now")
    both_tell(one, other)

    group.enter(alone, SECRET)
    both_tell(one, alone)
    both_tell(one, other)

    assert living(one) == living(other) == ["Of now"]


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_synchronisers_copy_of_before_is_no_newer_than_our_own_indexes(alone: Library, is_shared: bool) -> None:
    memo_id = record(alone, 1)
    if is_shared:
        freeze(alone, alone.index().memos, (), form="public")
    else:
        group.enter(alone, SECRET)
    by_command(alone, memo_id, title="Old")
    shutil.copy2(alone.index_file, alone.root / "index (conflicted copy).toml")
    by_command(alone, memo_id, title="New")
    record(alone, 2, "Another")
    head, entry, another = alone.index_file.read_text().split("[[memo]]")
    assert memo_id in entry

    alone.index_file.write_text(f"{head}[[memo]]{another}")

    assert open_library(alone.root, SILENT).index().get(memo_id).title == "New"  # type: ignore[union-attr]


def test_what_was_edited_of_a_fetched_copy_does_not_go_with_it(alone: Library, tmp_path: Path) -> None:
    record(alone, 1, "Mine")
    (bare := tmp_path / "bare").write_bytes(sound(1))
    webm.finish(bare, file := tmp_path / "Theirs.webm", Words("Theirs", "", ("theirs",), WHEN))
    coming = comes(alone, metainfo.make(file, file.name).data, file.read_bytes())
    theirs = take_in(alone, coming, coming.plain(), webm.probe(coming.file), ())
    by_command(alone, theirs.id, title="Important", tags=("theirs", "typed"))

    group.enter(alone, SECRET)
    identity.identify(alone, SILENT)

    (memo,) = (memo for memo in alone.index().memos if not memo.trashed)
    assert (memo.title, set(memo.tags), memo.fetched) == ("Important", {"work", "typed"}, False)


def test_a_tag_that_is_spelled_otherwise_is_so_everywhere(met: tuple[Library, Library]) -> None:
    one, other = met
    memo_id = record(one, 1)
    both_tell(one, other)

    change = edit_verb.change_of(edit_verb.EditOptions(tags=["Work"]))
    edit_verb.apply(one, [one.find(memo_id)], change, SILENT)
    both_tell(one, other)

    assert [library.find(memo_id).tags for library in (one, other)] == [("Work",)] * 2


def test_a_file_that_is_a_symbolic_link_is_said_to_stay_here(met: tuple[Library, Library], tmp_path: Path) -> None:
    one, other = met
    path = one.path(one.find(record(one, 1)))
    path.symlink_to(path.rename(tmp_path / "elsewhere.webm"))
    both_tell(one, other)
    command = Globals(root=one.root, network=Network.LOOPBACK, console=SILENT)

    said = [found.text for found in check_library(command, repair=False, now=datetime.now(UTC), stop=Stop())]

    assert f"{path.name} is a symbolic link: it stays here, and is on no other device" in said
    assert not living(other)


@pytest.mark.parametrize("what", ["edited", "thrown away", "brought back"])
@pytest.mark.parametrize("where", ["in another entry", "in its own date"])
def test_a_typo_in_the_index_takes_nothing_else_with_it(met: tuple[Library, Library], what: str, where: str) -> None:
    one, _other = met
    memo_id = record(one, 1, "Old")
    if what == "edited":
        by_command(one, memo_id, title="New")
    else:
        trash.put(one, [memo_id], WHEN)
    if what == "brought back":
        trash.take_back(one, [memo_id])

    text = one.index_file.read_text()
    if where == "in another entry":
        text = text.replace('"Another"', '"Ano"ther"')
    else:
        before, own = text.split(f'id = "{memo_id}"')
        text = before + f'id = "{memo_id}"' + re.sub("recorded = .*", "recorded = 2026-08-25", own, count=1)
    one.index_file.write_text(text)
    one = repaired(Library(one.root))

    assert living(one) == {"edited": ["New"], "thrown away": [], "brought back": ["Old"]}[what]
    assert {memo.title for memo in one.index().memos} >= {"Another"}


@pytest.mark.parametrize("with_its_index", [True, False])
def test_a_memo_that_had_another_id_elsewhere_is_there_once(make: Make, with_its_index: bool) -> None:
    one, other = make("one"), make("other")
    if record(one, 1) > record(other, 1):  # then the grave has the id of the other one
        one, other = other, one
    before, path = one.index_file.read_bytes(), one.path(only(one))
    data = path.read_bytes()
    both_tell(one, other)
    assert only(one).id != only(other).id
    purge(one, only(one).id)
    both_tell(one, other)

    path.write_bytes(data)
    if with_its_index:
        one.index_file.write_bytes(before)
    else:
        for snapshot in one.snapshots.kept():
            snapshot.unlink()
    both_tell(one, other)
    trash.take_back(other, [memo.id for memo in other.index().memos if memo.trashed])
    both_tell(one, other)

    assert words(one) == words(other)
    assert not only(one).trashed


@pytest.mark.parametrize("has_earlier_indexes", [True, False])
def test_a_file_that_is_copied_back_after_its_memo_was_purged_is_alive(make: Make, has_earlier_indexes: bool) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1)
    both_tell(one, other)
    path = one.path(only(one))
    data = path.read_bytes()
    purge(one, memo_id)
    both_tell(one, other)

    path.write_bytes(data)
    for snapshot in one.snapshots.kept() if not has_earlier_indexes else ():
        snapshot.unlink()
    one = open_library(one.root, SILENT)
    both_tell(one, other)

    assert [bool(only(library).trashed) for library in (one, other)] == [False, False]
    assert heard(one.path(only(one)).read_bytes()) == 1


def thrown_away(library: Library, is_in_a_group: bool) -> tuple[MemoId, Path, datetime]:
    """Throw something away; give it, where it was, and when it went."""
    memo_id = record(library, 1)
    if is_in_a_group:
        group.enter(library, SECRET)
        identity.identify(library, SILENT)
    path, when = library.path(only(library)), datetime.fromtimestamp(library.clock(), UTC)
    trash.put(library, [memo_id], when)
    return memo_id, path, when


@pytest.mark.parametrize("is_in_a_group", [False, True])
def test_a_file_that_is_copied_out_of_the_trash_is_back(alone: Library, is_in_a_group: bool) -> None:
    memo_id, path, thrown = thrown_away(alone, is_in_a_group)
    shutil.copy(alone.path(only(alone)), path)
    told: list[str] = []

    alone = open_library(alone.root, Console(tell=told.append))

    assert not only(alone).trashed
    assert heard(alone.path(only(alone)).read_bytes()) == 1
    assert told == [f"brought back {path.name}, which was in the trash and is here again"]
    trash.put(alone, [memo_id], thrown)
    assert only(open_library(alone.root, SILENT)).trashed == thrown


def test_a_seeder_that_runs_sees_what_is_copied_out_of_the_trash(alone: Library) -> None:
    _memo_id, path, _when = thrown_away(alone, True)
    shutil.copy(alone.path(only(alone)), path)

    identity.identify(alone, SILENT)

    assert not only(alone).trashed


@pytest.mark.parametrize("is_in_a_group", [False, True])
def test_another_file_beside_the_one_in_the_trash_is_not_emptied_with_it(alone: Library, is_in_a_group: bool) -> None:
    memo_id, path, thrown = thrown_away(alone, is_in_a_group)
    (bare := alone.root / "bare").write_bytes(sound(2))
    webm.finish(bare, path, Words("Another", "", (), thrown, memo_id))

    alone = open_library(alone.root, SILENT)
    for day in range(0, 400, 5):
        alone.clock = (now := thrown + timedelta(days=day)).timestamp
        trash.purge(alone, trash.overdue(alone, now))
    assert not alone.index().memos
    alone = open_library(alone.root, SILENT)
    identity.identify(alone, SILENT)

    assert heard(path.read_bytes()) == 2
    assert not only(alone).trashed


def test_what_was_typed_into_the_trash_is_not_lost_as_it_goes(make: Make) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1, "Zebra")
    both_tell(one, other)
    edit(one, memo_id, title="Zebra two")
    both_tell(one, other)
    trash.put(one, [memo_id], WHEN)
    one.index_file.write_text(one.index_file.read_text().replace("Zebra two", "Aardvark"))

    trash.purge(one, one.index().memos)
    both_tell(one, other)
    trash.take_back(other, [memo_id])
    both_tell(one, other)

    assert titles(one, other) == ["Aardvark"] * 2


def called_otherwise(library: Library) -> None:
    """Have a memo be purged, and come again by its link under a later name; then put the index of before back."""
    memo_id = only(library).id
    before = library.index_file.read_bytes()
    by_command(library, memo_id, title="A newer title")
    (shared,), _fault = freeze(library, library.index().memos, (), form="public")
    assert shared.infohash
    data, torrent = library.path(shared).read_bytes(), library.torrent(shared.infohash).read_bytes()
    purge(library, memo_id)
    fetched(library, torrent, data)
    library.index_file.write_bytes(before)


def test_a_file_that_an_index_put_back_calls_otherwise_is_found(alone: Library) -> None:
    record(alone, 1, "Old")
    called_otherwise(alone)

    alone = repaired(repaired(alone))

    assert heard(alone.path(only(alone)).read_bytes()) == 1
    assert alone.is_intact(only(alone), alone.path(only(alone)))


def test_a_file_that_an_index_put_back_calls_otherwise_does_not_come_beside_itself(make: Make) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1, "Old")
    both_tell(one, other)
    called_otherwise(one)

    one = open_library(one.root, SILENT)
    both_tell(one, other)
    trash.take_back(other, [memo.id for memo in other.index().memos if memo.trashed])
    both_tell(one, other)

    assert only(one).id == memo_id
    assert len(list(one.root.glob("*.webm"))) == 1


def test_an_entry_that_a_person_copied_with_its_file_is_another_memo(make: Make) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1)
    both_tell(one, other)
    text, another = one.index_file.read_text(), one.take_id()
    shutil.copy(one.path(only(one)), one.root / only(one).file.replace(memo_id, another))
    entry = text.split("[[memo]]")[1].replace(memo_id, another).replace("Weekly standup", "Copy")
    one.index_file.write_text(f"{text}\n[[memo]]{entry}")

    one = open_library(one.root, SILENT)
    both_tell(one, other)

    for library in (one, other):
        assert sorted(memo.title for memo in library.index().memos) == ["Copy", "Weekly standup"]


def test_two_fetches_that_die_under_one_seeder_are_known_by_their_own_links(make: Make, tmp_path: Path) -> None:
    one = make("one")
    crash.install()
    torrents = []
    for number in (5, 6):
        path = tmp_path / f"stranger{number}.webm"
        path.write_bytes(sound(number))
        torrent = metainfo.make(path, torrent_name(Words(f"What stranger {number} calls it"), MemoId("0" * 8)))
        torrents.append(torrent.infohash)
        for after in itertools.count():
            coming = comes(one, torrent.data, path.read_bytes())
            with crash.dying(after) as died:
                take_in(one, coming, coming.plain(), webm.probe(path), ())
            assert died
            if one.orphans():
                break
        identity.identify(one, SILENT)  # as a seeder does again and again

    assert [memo.infohash for memo in one.index().memos] == torrents


EDGES = [datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)]


@pytest.mark.parametrize("recorded", EDGES, ids=["the last year", "the first year"])
def test_words_that_are_as_odd_as_may_be_are_the_same_everywhere(make: Make, recorded: datetime) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1)
    both_tell(one, other)

    by_command(one, memo_id, recorded=recorded, tags=(500 * "ß", 500 * "ﬃ"), title=500 * "ﬃ")
    both_tell(one, other)

    assert words(one) == words(other)
    assert only(other).recorded == recorded
    assert group.state_of(one) == group.state_of(other)


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_what_was_thrown_away_beyond_the_calendar_is_thrown_away_everywhere(make: Make, when: str) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1)
    both_tell(one, other)

    edit(one, memo_id, trashed=datetime.fromisoformat(when))
    both_tell(one, other)

    assert only(other).trashed
    assert group.state_of(one) == group.state_of(other)


def purged(make: Make) -> tuple[Library, Library, MemoId, Path]:
    """Purge a memo on the first of two devices, whose words are then changed on the other one; give also its file.

    The index of before was kept for the day.
    """
    one, other = make("one"), make("other")
    memo_id = record(one, 1)
    both_tell(one, other)
    yesterday = time.time() - 86_400
    os.utime(one.index_file, (yesterday, yesterday))
    trash.purge(one, trash.put(one, [memo_id], WHEN).values())
    edit(other, memo_id, title="Later")
    tell(other, one)
    return one, other, memo_id, other.path(only(other))


@pytest.mark.parametrize("changes", [0, 6])
def test_a_file_that_is_copied_back_after_it_was_purged_is_wanted_with_the_words_of_now(
    make: Make, changes: int
) -> None:
    one, other, memo_id, path = purged(make)  # as in life 4214187
    for number in range(changes):  # then the last index that names it is from before it was thrown away
        record(one, 2 + number)
    shutil.copy(path, one.root / path.name)

    one = open_library(one.root, SILENT)
    identity.identify(one, SILENT)

    shown = {memo.id: (memo.title, memo.trashed) for memo in one.index().memos}
    both_tell(one, other)

    assert shown[memo_id] == ("Later", None)
    assert [(memo.title, memo.trashed) for memo in other.index().memos if memo.id == memo_id] == [shown[memo_id]]
    assert words(one) == words(other)


def test_an_index_of_before_it_was_purged_says_what_is_known_of_it_by_now(make: Make) -> None:
    one, other = make("one"), make("other")
    memo_id = record(one, 1)
    both_tell(one, other)
    before = one.index_file.read_bytes()
    trash.purge(one, trash.put(one, [memo_id], WHEN).values())
    edit(other, memo_id, title="Later")
    both_tell(one, other)

    one.index_file.write_bytes(before)
    identity.identify(one, SILENT)

    assert [(memo.title, memo.trashed) for memo in (only(one), only(other))] == 2 * [("Later", WHEN)]


def test_what_is_typed_at_once_into_a_file_that_is_back_counts_by_whatever_clock(make: Make) -> None:
    one, other, memo_id, path = purged(make)
    shutil.copy(path, one.root / path.name)
    one = open_library(one.root, SILENT)
    one.clock = lambda: 0.0

    by_command(one, memo_id, title="Last")
    both_tell(one, other)

    assert titles(one, other) == ["Last", "Last"]


def test_what_a_rebuilt_index_finds_in_the_trash_was_not_thrown_away_just_now(make: Make) -> None:
    one, other = make("one"), make("other")  # as in life 1999
    memo_id = record(one, 1)
    before = one.index_file.read_bytes()
    both_tell(one, other)
    trash.put(one, [memo_id], WHEN)
    both_tell(one, other)
    trash.take_back(other, [memo_id])

    for kept in one.inner.glob("index.*.toml"):
        kept.unlink()
    (one.inner / "index.1.toml").write_bytes(before)
    one = lost_index(one, time.time() + 60)
    assert only(one).trashed
    both_tell(one, other)

    assert not only(one).trashed
    assert not only(other).trashed


def test_an_index_of_a_clock_that_was_ahead_is_no_newer_than_those_after_it(make: Make) -> None:
    one, other = make("one"), make("other")  # as in life 992
    memo_id = record(one, 1)
    for title in ("First", "Second", "Third", "Last"):
        edit(one, memo_id, title=title)
    both_tell(one, other)
    then = time.time() + 86_400
    of_a_day = shutil.copy(one.inner / "index.3.toml", one.inner / "index.2031-01-01.toml")
    for path in (one.inner / "index.3.toml", of_a_day):
        os.utime(path, (then, then))

    one.index_file.write_bytes(one.index_file.read_bytes().partition(b"[[memo]]")[0])
    one = open_library(one.root, SILENT)
    assert titles(one) == ["Last"]
    both_tell(one, other)

    assert titles(one, other) == ["Last", "Last"]


def left_with_words_that_its_file_has_not(make: Make) -> Library:
    """Give a library that left the group with a memo whose title was edited before its file came."""
    one, other = make("one"), make("other")
    memo_id = record(other, 1, "Standup")
    identity.identify(other, SILENT)
    group.merge_in(one, group.state_of(other), SILENT)
    by_command(one, memo_id, title="Retro")
    time.sleep(0.01)  # a file's time stamp is one of the machine's
    tell(other, one)
    group.leave(one)
    return one


def test_a_file_that_came_after_its_words_were_edited_has_no_later_words(make: Make) -> None:
    one = left_with_words_that_its_file_has_not(make)  # as in the life 72284 of seeders

    one.index_file.write_bytes(one.index_file.read_bytes().partition(b"[[memo]]")[0])

    assert titles(open_library(one.root, SILENT)) == ["Retro"]


def test_a_file_of_a_clock_that_was_ahead_has_no_later_words(make: Make) -> None:
    one = left_with_words_that_its_file_has_not(make)  # as in the life 72965 of seeders
    record(one, 2, "Another")  # so that an index is kept that is of no group
    for path in one.inner.glob("index.*.toml"):
        os.utime(path, (1, 1))

    one = lost_index(one, time.time())

    assert {memo.title for memo in one.index().memos} == {"Another", "Retro"}


@pytest.mark.parametrize("is_identified", [True, False])
def test_a_file_beside_the_index_that_it_came_with_has_no_later_words(
    make: Make, alone: Library, is_identified: bool
) -> None:
    other = make("other")  # as in the lives 521 and 2664
    memo_id = record(other, 1, "Standup")
    if is_identified:
        identity.identify(other, SILENT)
    by_command(other, memo_id, title="Retro")

    alone.prepare()
    shutil.copy(other.index_file, alone.root / "index (conflicted copy).toml")
    time.sleep(0.01)
    shutil.copy(other.path(only(other)), alone.root)

    assert titles(open_library(alone.root, SILENT)) == ["Retro"]


def test_a_file_that_came_to_a_group_has_no_later_words_than_an_index_of_none(make: Make) -> None:
    one, third = left_with_words_that_its_file_has_not(make), make("third")  # as in life 4600124

    shutil.copy(one.index_file, third.root / "index (conflicted copy).toml")
    time.sleep(0.01)
    shutil.copy(one.path(only(one)), third.root)

    assert titles(open_library(third.root, SILENT)) == ["Retro"]


def test_what_is_repaired_after_leaving_keeps_its_words(make: Make) -> None:
    one = left_with_words_that_its_file_has_not(make)
    index = one.index_file.read_text()
    one.index_file.write_text(index.replace(f"size = {only(one).size}", "size = 1"))
    os.utime(one.index_file, (1, 1))

    list(check_library(Globals(one.root, Network.LOOPBACK, SILENT), repair=True, now=WHEN, stop=Stop()))

    assert titles(one) == ["Retro"]
    assert only(one).size > 1


def test_a_file_that_a_disk_gives_no_more_ends_no_check(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = left_with_words_that_its_file_has_not(make)
    one.index_file.write_text(one.index_file.read_text().replace(f"size = {only(one).size}", "size = 1"))
    os.utime(one.index_file, (1, 1))

    def refused(path: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(sealed, "digest_of", refused)
    found = check_library(Globals(one.root, Network.LOOPBACK, SILENT), repair=True, now=WHEN, stop=Stop())

    assert any(finding.is_defect and "input/output error" in finding.text for finding in found)
    assert only(one).size == 1


@pytest.mark.parametrize("is_in_another", [False, True], ids=["no group", "another group"])
def test_a_file_that_is_copied_back_after_leaving_is_had_in_the_group_of_then(make: Make, is_in_another: bool) -> None:
    one, other = make("one"), make("other")  # as in the life 30158 of seeders
    memo_id = record(other, 1)
    identity.identify(other, SILENT)
    group.merge_in(one, group.state_of(other), SILENT)
    path = other.path(only(other))
    group.leave(one)
    if is_in_another:
        group.enter(one, bytes(32))
    shutil.copy(path, one.root / path.name)

    one = open_library(one.root, SILENT)
    by_command(one, memo_id, title="Later")
    if not is_in_another:
        group.enter(one, SECRET)
    identity.identify(one, SILENT)

    content = content_of(only(one))
    assert content
    digest, form = form_for_devices(one, one.path(only(one)))
    assert (content.value["sha256"], content.value["infohash"]) == (digest.hex(), form.infohash)


def test_whoever_joins_forgets_what_another_secret_made_of_a_file(make: Make, alone: Library) -> None:
    other = make("other")
    record(other, 1)
    identity.identify(other, SILENT)
    alone.prepare()
    shutil.copy(other.path(only(other)), alone.root)
    entry = only(other)
    alone.add_entries([replace(entry, content=entry.content.replace(entry.content[-40:], 40 * "0"))])

    group.enter(alone, SECRET)
    identity.identify(alone, SILENT)

    assert content_of(only(alone)) == content_of(entry)
