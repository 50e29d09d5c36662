"""What befalls a device in sync: disks that fail, are full or alter what they keep, and groups that are left meanwhile.

One thing that fails is not to keep others from coming, nor to go on for ever, and no good file gives way to an altered
one.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from proof import talk
from proof.crash import refusing
from proof.sounds import heard
from support.group import SECRET, SILENT, WHEN, edit, entered, only, record
from support.sound import altered
from support.waiting import wait_until
from support.wire import Wire, has

from memosync import files
from memosync.audio import webm
from memosync.console import Console
from memosync.errors import MemosyncError
from memosync.library import group, heads, identity, invitations, known, trash
from memosync.library.freeze import freeze
from memosync.library.heads import Head
from memosync.library.sealed import digest_of, form_for_devices, open_from_devices
from memosync.library.stamps import content_of
from memosync.library.store import Library
from memosync.magnet import InfoHash
from memosync.manifest import BIRTH, Cell, Clock, State
from memosync.memo import MemoId, Words
from memosync.network import Network
from memosync.seeder import forms, sync
from memosync.stop import Stop
from memosync.torrent.meeting import Meeting

OTHER_SECRET = bytes(range(1, 33))


@pytest.fixture
def wire(tmp_path: Path) -> Wire:
    """Two devices that have met."""
    wire = Wire(entered(tmp_path / "one"), entered(tmp_path / "other"))
    wire.go(3)
    assert wire.is_even(), wire.log
    return wire


@pytest.mark.parametrize("number", range(1, 7))  # which of two counts was chance
@pytest.mark.parametrize("kind", ["a byte", "nothing is left"])
def test_what_a_disk_altered_while_a_device_was_in_no_group_replaces_nothing(
    wire: Wire, number: int, kind: str
) -> None:
    one, other = wire.libraries
    record(one, number, "Interview")
    wire.go(10)
    before = other.path(only(other)).read_bytes()
    group.leave(one)
    wire.go(3)
    data = bytearray((path := one.path(only(one))).read_bytes())
    data[len(data) // 2 + 40 * number] ^= 0xFF

    path.write_bytes(bytes(data) if kind == "a byte" else b"")
    group.enter(one, SECRET)
    wire.go(200)

    assert wire.is_even()
    assert [library.path(only(library)).read_bytes() for library in (one, other)] == [before] * 2


@pytest.mark.parametrize("is_shared_there", [True, False])
def test_what_a_disk_altered_comes_again_though_nobody_has_the_bytes_that_all_want(
    wire: Wire, is_shared_there: bool
) -> None:
    one, other = wire.libraries
    record(one, 1)
    wire.go(10)
    freeze(one, one.index().memos, (), form="public")  # as in life 5002039
    if is_shared_there:
        freeze(other, other.index().memos, (), form="public")
    path = other.path(only(other))
    right = path.read_bytes()
    lost = Cell({"sha256": f"{1:064x}", "size": 1000, "infohash": f"{1:040x}"}, Clock(2 * 10**12, 0, "f" * 8))
    group.merge_in(one, State({only(one).uid or "": {"file": lost}}), SILENT)  # of a third device, which is no more
    wire.go(10)

    path.write_bytes(altered(right))
    wire.go(forms.LOOK_AGAIN + 100)

    assert path.read_bytes() == right
    assert any(data == altered(right) for data in map(Path.read_bytes, other.inner.glob("*.webm"))), "it is put away"
    content = content_of(only(other))
    assert content
    assert is_shared_there or content.value["sha256"] == digest_of(path).hex(), "from now on all are to have this one"
    assert wire.is_even()


def test_memos_that_nobody_has_any_more_do_not_keep_others_from_coming(wire: Wire) -> None:
    one, other = wire.libraries
    lost = {
        f"{number:064x}": {
            "file": Cell({"sha256": f"{number:064x}", "size": 1000, "infohash": f"{number:040x}"}, BIRTH),
            "title": Cell(f"Lost {number}", BIRTH),
        }
        for number in range(1, forms.MOST_AT_ONCE + 1)
    }
    group.merge_in(one, State(lost), SILENT)  # of a third device, which is no more
    wire.go(10)

    record(one, 7, "Later")
    wire.go(300)

    assert has(other, "Later")


def test_a_file_that_another_program_gave_other_words_comes_to_who_lacks_it(wire: Wire) -> None:
    one, other = wire.libraries  # as in life 93731 of seeders
    record(one, 1)
    wire.go(10)
    (shared,), _fault = freeze(one, one.index().memos, (), form="sealed")
    wire.go(10)
    webm.finish(path := one.path(shared), new := one.root / "new", Words("Retagged", "", (), WHEN))
    new.rename(path)  # of which the index says nothing
    wire.go(2 * forms.LOOK_AGAIN)

    other.path(only(other)).unlink()
    wire.go(2 * forms.LOOK_AGAIN)

    assert heard(other.path(only(other)).read_bytes()) == 1


def test_what_gave_nothing_for_a_while_has_as_long_when_it_is_fetched_again(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: dict[InfoHash, float] = {}
    fetch, ask = talk._Exchange.fetch, wire.ask
    comes_after, until = 20.0, wire.now + 100

    def fetched(exchange: Any, infohash: InfoHash, path: Path, *, size: int = 0, **more: Any) -> None:
        if size:  # a memo
            began[infohash] = wire.now
        fetch(exchange, infohash, path, size=size, **more)

    def slowly(device: Any, infohash: InfoHash) -> bytes | None:
        is_slow = infohash in began and wire.now < max(until, began[infohash] + comes_after)
        return None if is_slow else ask(device, infohash)

    monkeypatch.setattr(talk._Exchange, "fetch", fetched)
    monkeypatch.setattr(wire, "ask", slowly)
    record(wire.libraries[0], 1)
    wire.go(200)

    assert has(wire.libraries[1], "Weekly standup")


def test_a_disk_that_is_nearly_full_is_not_filled_with_what_others_lack(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _other = wire.libraries
    record(one, 1)
    size = one.path(only(one)).stat().st_size
    monkeypatch.setattr(files, "free_space", lambda path: 3 * size if "/one" in str(path) else 10**12)
    wire.go(60)
    part = wire.seeders[0]._taking_part
    assert part
    assert not part._forms._served

    monkeypatch.setattr(files, "free_space", lambda _path: 10**12)
    wire.go(60)

    assert has(wire.libraries[1], "Weekly standup")


def test_what_a_device_lacks_that_is_off_takes_no_room_on_the_others(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = wire.libraries
    record(one, 1)
    too_little = 10**9 + only(one).size  # a GB is left free
    monkeypatch.setattr(files, "free_space", lambda path: too_little if "/other" in str(path) else 10**12)
    wire.go(60)
    part = wire.seeders[0]._taking_part
    assert part
    (form,) = part._forms._served
    assert (one.underway / form).exists()

    wire.libraries.remove(other)
    gone = wire.meetings.pop(1)
    wire.go(forms.KEPT + 10)

    assert not (one.underway / form).exists()
    assert not part._forms._served
    wire.libraries.append(other)
    wire.meetings[1] = gone
    monkeypatch.setattr(files, "free_space", lambda _path: 10**12)
    wire.go(60)
    assert has(other, "Weekly standup")


def test_a_disk_that_is_full_takes_no_more_and_more_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, opened, closed = entered(tmp_path / "one"), list[Meeting](), list[Meeting]()
    open_meeting, close, write = Meeting.__init__, Meeting.close, files.write

    def opening(meeting: Meeting, *how: Any, **more: Any) -> None:
        open_meeting(meeting, *how, **more)
        opened.append(meeting)

    def closing(meeting: Meeting) -> None:
        close(meeting)
        closed.append(meeting)

    def full(path: Path, *how: Any, **more: Any) -> None:
        if path.name == "sync.toml":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, *how, **more)

    monkeypatch.setattr(Meeting, "__init__", opening)
    monkeypatch.setattr(Meeting, "close", closing)
    monkeypatch.setattr(files, "write", full)
    seeder, stop = sync.Sync(one.root, Network.LOOPBACK, up=0, down=0, log=lambda text: None), Stop()
    thread = threading.Thread(target=seeder.run, args=[stop])
    thread.start()
    wait_until(lambda: len(opened) > 2, "it to try again", 30)
    stop.set()
    thread.join()

    assert opened == closed


def test_what_is_served_and_altered_by_a_disk_is_served_no_more(tmp_path: Path) -> None:
    data = os.urandom(200_000)
    head = heads.describe(data)
    one, other = (
        Meeting(Network.LOOPBACK, keep=bytes(32), device=name, place=tmp_path, log=lambda text: None)
        for name in ("00000001", "00000002")
    )
    try:
        for meeting, peer in ((one, other), (other, one)):
            meeting.point(heads.describe(b"something").infohash)
            meeting.call({peer._device: [f"127.0.0.1:{peer.port}"]})
        (path := tmp_path / head.infohash).write_bytes(data)
        one.exchange.serve(head.torrent, path)

        def both_poll() -> bool:
            one.poll(0.02)
            other.poll(0.02)
            return True

        def polled(done: Callable[[], object]) -> Callable[[], object]:
            return lambda: both_poll() and done()

        wait_until(polled(lambda: one.pointers and other.pointers), "them to meet", 20)
        path.write_bytes(data[:100_000] + bytes([data[100_000] ^ 1]) + data[100_001:])
        other.exchange.fetch(head.infohash, tmp_path / "came", largest=10**7)
        wait_until(polled(lambda: not one.exchange.has(head.infohash)), "it to be noticed", 60)
    finally:
        one.close()
        other.close()


def test_what_arrives_while_a_disk_is_read_only_comes_later(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = wire.libraries
    unlink = Path.unlink

    def refused(*_args: Any) -> None:
        raise OSError(errno.EROFS, "read-only")

    def unlinking(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".webm" and path.parent.name == "sync":
            refused()  # Linux says so before it looks whether there is one
        unlink(path, missing_ok)

    monkeypatch.setattr("memosync.seeder.forms.open_from_devices", refused)
    monkeypatch.setattr(Path, "unlink", unlinking)
    for number in range(1, 4):
        record(one, number, f"Memo {number}")
    wire.go(30)
    assert not has(other, "Memo 1")

    monkeypatch.setattr("memosync.seeder.forms.open_from_devices", open_from_devices)
    monkeypatch.setattr(Path, "unlink", unlink)
    wire.go(900, step=0.5)

    assert all(has(other, f"Memo {number}") for number in range(1, 4)), wire.log


def test_what_is_recorded_when_a_seeder_has_just_looked_goes_to_the_others(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = wire.libraries
    wire.go(10)
    identify = identity.identify

    def and_then_another(library: Library, console: Console) -> set[MemoId]:
        found = identify(library, console)
        if library.root == one.root:
            monkeypatch.setattr("memosync.seeder.sync.identify", identify)
            record(Library(one.root), 2, "Another")
        return found

    monkeypatch.setattr("memosync.seeder.sync.identify", and_then_another)
    record(one, 1, "One")
    wire.go(60)

    assert has(other, "One")
    assert has(other, "Another"), wire.log


def test_who_joins_another_group_while_a_memo_is_read_says_it_to_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = entered(tmp_path / "one"), entered(tmp_path / "other", OTHER_SECRET)
    record(one, 1, "Long")

    def slow(*args: Any) -> Any:
        found = form_for_devices(*args)
        monkeypatch.setattr("memosync.library.identity.form_for_devices", form_for_devices)
        group.leave(person := Library(one.root))
        group.enter(person, OTHER_SECRET)
        return found

    monkeypatch.setattr("memosync.library.identity.form_for_devices", slow)
    identity.identify(one, SILENT)  # as the seeder does
    Wire(Library(one.root), other).go(100)

    assert has(other, "Long")


def test_what_is_alive_on_who_leaves_and_joins_again_at_once_stays_alive(wire: Wire) -> None:
    one, other = wire.libraries
    memo_id = record(one, 1)
    wire.go(10)
    before = other.index_file.read_bytes()
    one.clock = lambda: time.time() + 10**8  # ahead
    trash.put(one, [memo_id], WHEN)
    wire.go(10)
    assert only(other).trashed

    other.index_file.write_bytes(before)
    group.leave(other)
    group.enter(other, SECRET)
    wire.go(10)

    assert [bool(only(library).trashed) for library in (one, other)] == [False] * 2


def test_who_leaves_and_joins_again_says_nothing_on_what_it_said_before(wire: Wire) -> None:
    one, other = wire.libraries  # as in life 11 of seeders
    words = "".join(map(chr, range(0x4E00, 0x5A00)))  # so many that what comes next stands on them
    edit(one, record(one, 1), description=words)
    known.say(one, "0a1b2c3d", {"name": "desk", "since": 1})  # a third one, that is off
    wire.go(20)
    part = wire.seeders[0]._taking_part
    assert part
    assert part._pointing.bases.chain
    assert wire.is_even(), wire.log

    group.leave(one)
    group.enter(one, SECRET)
    wire.go(100)

    assert wire.is_even(), wire.log
    assert group.state_of(one) == group.state_of(other)


def test_words_of_one_group_do_not_come_into_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = entered(tmp_path / "one"), entered(tmp_path / "other")
    record(one, 1, "Of the first group")
    left = list[Library]()

    def leaving(library: Library, *more: Any) -> Any:
        if library.root == other.root and not left:
            left.append(Library(other.root))
            group.leave(left[0])
            group.enter(left[0], OTHER_SECRET)
        return identity.identify(library, *more)

    monkeypatch.setattr("memosync.library.group.identify", leaving)
    Wire(one, other).go(10)

    assert left
    assert not Library(other.root).index().memos


def test_what_is_known_outlives_a_read_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = entered(tmp_path / "one"), entered(tmp_path / "other")
    memo_id = record(one, 1, "Purged")
    identity.identify(one, SILENT)
    group.merge_in(other, group.state_of(one), SILENT)  # and is off from now on
    trash.purge(one, trash.put(one, [memo_id], WHEN).values())
    read = files.read

    def failing(path: Path, *how: Any, **more: Any) -> bytes:
        if path.name == "sync.toml":
            raise OSError(errno.EIO, "I/O error")
        return read(path, *how, **more)

    later = Library(one.root)
    monkeypatch.setattr(files, "read", failing)
    with pytest.raises(MemosyncError):
        known.say(later, group.device_of(later), {"name": "laptop"})
    monkeypatch.setattr(files, "read", read)
    group.merge_in(one, group.state_of(other), SILENT)

    assert not [memo for memo in one.index().memos if not memo.trashed]


def test_a_file_that_could_not_be_read_once_is_said_later(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = wire.libraries
    failed = list[Path]()

    def once(library: Library, path: Path, *more: Any) -> Any:
        if not failed:
            failed.append(path)
            raise OSError(errno.EIO, "I/O error")
        return form_for_devices(library, path, *more)

    monkeypatch.setattr("memosync.library.identity.form_for_devices", once)
    record(one, 1, "Once")
    wire.go(5)
    assert failed
    assert not has(other, "Once")
    wire.go(60)

    assert has(other, "Once")


def test_a_device_that_gets_another_name_under_its_seeder_goes_on_by_that(wire: Wire) -> None:
    one, other = wire.libraries
    (one.inner / "device").unlink()
    record(one, 1, "Since then")
    wire.go(10)

    part = wire.seeders[0]._taking_part
    assert part
    assert part.me == group.device_of(Library(one.root))
    assert has(other, "Since then")


@pytest.mark.parametrize("has_a_fault", [False, True])
def test_a_seeder_that_ends_on_a_full_disk_ends_its_session(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, has_a_fault: bool
) -> None:
    stop = Stop()

    def ends(_part: sync._Part) -> None:
        stop.set()
        if has_a_fault:
            raise LookupError("a fault of ours")

    monkeypatch.setattr(sync._Part, "turn", ends)
    with wire.on(0), refusing(0, errno.ENOSPC, True):
        wire.seeders[0].run(stop)

    assert 0 not in wire.meetings


@pytest.mark.parametrize("is_joined_again", [False, True])
def test_an_invitation_goes_as_the_group_is_left(tmp_path: Path, is_joined_again: bool) -> None:
    one = entered(tmp_path / "one")
    link = invitations.invite(one, ["127.0.0.1:9000"])
    assert link.infohash
    assert one.form(link.infohash).exists()

    group.leave(one)
    if is_joined_again:
        group.enter(one, OTHER_SECRET)

    assert [*files.names(one.forms), *files.names(one.torrents)] == []


def test_a_base_that_came_too_late_is_taken_for_no_head(wire: Wire, tmp_path: Path) -> None:
    third = entered(tmp_path / "third")  # as in the life 30123 of seeders
    edit(third, record(third, 1), description=os.urandom(1500).hex())  # so long that others stand on what says it
    identity.identify(third, SILENT)
    lowest = heads.seal(SECRET, State())
    base = heads.seal(SECRET, group.state_of(third), lowest.infohash)
    head = heads.seal(SECRET, State(), base.infohash)
    torrents: dict[InfoHash, SimpleNamespace] = {}
    far = SimpleNamespace(number=9, name="a" * 8, head=head.infohash, exchange=SimpleNamespace(torrents=torrents))
    wire.meetings[9] = far

    def step(served: Head) -> None:
        (path := tmp_path / served.infohash).write_bytes(served.data)
        torrents[served.infohash] = SimpleNamespace(path=path, is_here=True)
        wire.go(0.25)

    step(head)
    wire.go(0.25)  # it comes, and waits
    far.head = ""  # nobody says it any more
    step(base)
    wire.now += forms.KEPT + 1
    step(lowest)
    wire.go(3)

    assert "cannot be kept" not in "\n".join(wire.log)
    assert not list(wire.libraries[0].root.rglob(base.infohash))


def test_nothing_is_left_of_what_stands_on_a_base_that_cannot_be_had(wire: Wire, tmp_path: Path) -> None:
    lowest = heads.seal(SECRET, State())  # as in the life 71038 of seeders
    base = heads.seal(SECRET, State(), lowest.infohash)
    head = heads.seal(SECRET, State(), base.infohash)
    torrents: dict[InfoHash, SimpleNamespace] = {}
    for served in (head, base):
        (path := tmp_path / served.infohash).write_bytes(served.data)
        torrents[served.infohash] = SimpleNamespace(path=path, is_here=True)
    far = SimpleNamespace(number=9, name="a" * 8, head=head.infohash, exchange=SimpleNamespace(torrents=torrents))
    wire.meetings[9] = far
    wire.go(1)
    one = wire.libraries[0]
    assert {head.infohash, base.infohash} < {*files.names(one.underway)}

    far.head = ""
    wire.meetings[0].exchange.drop(lowest.infohash)  # as one that is too large
    wire.go(1)

    assert {head.infohash, base.infohash}.isdisjoint(files.names(one.underway))
    assert {head.infohash, base.infohash}.isdisjoint(wire.meetings[0].exchange.torrents)


def test_what_a_disk_refused_to_take_or_to_let_go_of_is_not_there_for_ever(wire: Wire) -> None:
    one, seeder = wire.libraries[0], wire.seeders[0]
    memo_id = record(one, 1)
    wire.go(3)
    for after in range(40):
        edit(one, memo_id, description=os.urandom(1500).hex())  # so long that what is said next stands on it
        wire.now += forms.KEPT / 3
        with wire.on(0), refusing(after, errno.EIO, for_good=after % 2 == 1) as refused:
            try:
                seeder._turn(Stop())
            except (MemosyncError, OSError):
                seeder._seen = (0, 0, 0)
        if not refused:
            break
    assert not refused
    assert after > 5

    wire.go(2 * forms.KEPT, step=5)

    part = seeder._taking_part
    assert part
    due = {*part._pointing.kept, *part._forms._served}
    assert {*files.names(one.underway)} == due == {*wire.meetings[0].exchange.torrents}


def test_a_base_is_not_served_for_ever_when_what_stands_on_it_is_gone(wire: Wire) -> None:
    one, other = wire.libraries
    memo_id = record(one, 1)
    for _ in range(2):
        edit(one, memo_id, description=os.urandom(1500).hex())  # so long that what is said next stands on it
        wire.go(3)
    wire.meetings.clear()
    wire.seeders.clear()
    wire.libraries.remove(other)
    wire.go(1)
    part = wire.seeders[0]._taking_part
    assert part
    _lowest, upper = part._pointing.bases.chain

    wire.meetings[0].exchange.drop(upper.infohash)  # as where its file is gone
    wire.go(2 * forms.KEPT, step=5)

    due = {*part._pointing.kept, *part._forms._served}
    assert {*files.names(one.underway)} == due == {*wire.meetings[0].exchange.torrents}
