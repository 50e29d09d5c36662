"""What devices tell each other, as bytes: golden, opened again, refused; and what a library knows of the others."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memosync import sealing
from memosync.console import Console
from memosync.errors import TorrentError, WrongKeyError
from memosync.library import group, heads, invitations, known
from memosync.library.adopt import open_library
from memosync.library.known import Device, Hold, Invitation, Known
from memosync.library.store import Library
from memosync.magnet import InfoHash
from memosync.manifest import BIRTH, Cell, Clock, State, merge
from memosync.seeder.bases import Bases

SECRET = bytes(range(32))
ME = "7be1c20d"
FILE = {"sha256": "ab" * 32, "size": 49_123, "infohash": "cd" * 20}
MEMO = {"title": Cell("Weekly standup", Clock(1_700_000_000_000, 0, ME)), "file": Cell(FILE, BIRTH)}
STATE = State({"5c" * 32: MEMO}, {ME: {"name": Cell("laptop", Clock(1, 0, ME))}})


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = open_library(tmp_path / "Memos", Console())
    group.enter(library, SECRET)
    return library


def test_what_is_derived_from_the_secret_is_the_same_for_ever() -> None:
    keep = sealing.keep_key(SECRET)

    assert sealing.read_key(SECRET).hex() == "d392ec6518520747ff16b18f4a05cf0b73690dc2aafdcbfa8a5933f5f577d66c"
    assert keep.hex() == "69e4d499a1cfef22181960705f6e348dff291514590a5a40608531765b0123ee"
    assert sealing.tag(keep, "pointer", b"x", 8).hex() == "c5e1091ebc3e510d"
    hollow = {kind: sealing.hollow(keep, kind, pieces) for kind, pieces in (("meeting", 1), ("pointer", 257))}
    assert {kind: (name, hashlib.sha256(hashes).hexdigest()[:16]) for kind, (name, hashes) in hollow.items()} == {
        "meeting": ("10f806667f82c834", "841a07bfe18344d1"),
        "pointer": ("e9b36794b24e61f4", "0535fc06e8f2005a"),
    }


def test_a_head_is_the_same_bytes_for_ever() -> None:
    head = heads.seal(SECRET, STATE)

    assert head.infohash == "9459a39892830278f850d8e5ee071acd6e10a4f3"
    assert heads.seal(SECRET, State(), head.infohash).infohash == "42e29ce214598dc87332649d563d10bdcb87c701"
    assert head.torrent.name == head.data[:8].hex()
    assert sealing.is_name(head.torrent.name)


def test_a_head_is_opened_with_the_secret_alone() -> None:
    base = heads.seal(SECRET, STATE)
    head = heads.seal(SECRET, STATE, base.infohash)

    opened = heads.open_head(SECRET, head.data)

    assert (opened.state, opened.base) == (STATE, base.infohash)
    with pytest.raises(WrongKeyError):
        heads.open_head(bytes(32), head.data)


def test_who_keeps_a_head_for_others_learns_what_else_is_to_be_kept_and_nothing_more() -> None:
    base = InfoHash("ee" * 20)
    envelope = sealing.open_bytes(sealing.keep_key(SECRET), "hold", heads.seal(SECRET, STATE, base).data)

    assert envelope[:25] == b"\1" + bytes.fromhex(base) + (1).to_bytes(4, "big")
    assert envelope[25:45] == bytes.fromhex(str(FILE["infohash"]))
    assert b"Weekly" not in envelope
    with pytest.raises(TorrentError):
        sealing.open_bytes(sealing.keep_key(SECRET), "head", envelope[45:])


@given(st.data())
def test_an_altered_head_is_refused(data: st.DataObject) -> None:
    head = bytearray(heads.seal(SECRET, STATE).data)
    at = data.draw(st.integers(0, len(head) - 1))
    head[at] ^= data.draw(st.integers(1, 255))

    with pytest.raises(TorrentError):
        heads.open_head(SECRET, bytes(head))


@given(st.binary(max_size=200))
def test_what_is_no_head_is_refused(data: bytes) -> None:
    with pytest.raises(TorrentError):
        heads.open_head(SECRET, data)


@given(st.binary(max_size=100))
def test_what_a_device_seals_and_is_no_state_is_refused(data: bytes) -> None:
    for sealed in (
        sealing.seal_bytes(sealing.keep_key(SECRET), "hold", data),
        sealing.seal_bytes(
            sealing.keep_key(SECRET),
            "hold",
            b"\1" + bytes(24) + sealing.seal_bytes(sealing.read_key(SECRET), "head", data),
        ),
    ):
        with pytest.raises(TorrentError):
            heads.open_head(SECRET, sealed)


def test_a_head_of_a_newer_version_says_to_update() -> None:
    sealed = sealing.seal_bytes(sealing.keep_key(SECRET), "hold", b"\2" + bytes(24))

    with pytest.raises(TorrentError) as refused:
        heads.open_head(SECRET, sealed)

    assert refused.value.hint == "update memosync"


def edited(state: State, number: int) -> State:
    """Have one of its memos be called otherwise."""
    uid = list(state.memos)[number * 7919 % len(state.memos)]
    return merge(
        state, State({uid: {"title": Cell(f"Edited {number} times", Clock(2_000_000_000_000 + number, 0, ME))}})
    )


def test_one_word_more_costs_little_among_thousands_of_memos_also_who_was_away_for_some(tmp_path: Path) -> None:
    uids = [hashlib.sha256(bytes([number % 256, number >> 8])).hexdigest() for number in range(1_000)]
    files = {uid: {"sha256": uid, "size": 49_123, "infohash": uid[:40]} for uid in uids}
    state = State({uid: {**MEMO, "file": Cell(file, BIRTH)} for uid, file in files.items()})
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    mine, theirs, cost, edits = Bases(SECRET, here), Bases(SECRET, there), 0, 300
    for number in range(edits + 1):
        state = edited(state, number) if number else state
        head, built = mine.seal(state)
        (here / head.infohash).write_bytes(head.data)
        mine.chain = built.next.chain if built.next else ()
        if number % 40 < 30:  # else it is off
            for base in built.chain:
                if not (there / base.infohash).exists():
                    (there / base.infohash).write_bytes(data := (here / base.infohash).read_bytes())
                    cost += len(data) if number else 0
            found = theirs.on_its_base(head.infohash, heads.open_head(SECRET, head.data))

            assert found
            assert found.state == state
            theirs.chain = found.next.chain if found.next else ()
            assert theirs.seal(state)[1].infohash in (head.infohash, mine.seal(state)[1].infohash)
    assert cost / edits < 1_500


def test_a_base_that_is_not_here_or_stands_on_too_many_is_none(tmp_path: Path) -> None:
    chain = [heads.seal(SECRET, STATE)]
    for _ in range(4):
        chain.append(heads.seal(SECRET, STATE, chain[-1].infohash))
    bases, opened = Bases(SECRET, tmp_path), [heads.open_head(SECRET, head.data) for head in chain]

    assert bases.on_its_base(chain[1].infohash, opened[1]) is None
    for head in chain:
        (tmp_path / head.infohash).write_bytes(head.data)
    two = bases.on_its_base(chain[2].infohash, opened[2])
    assert two
    assert [base.infohash for base in two.chain] == [head.infohash for head in chain[:3]]
    assert bases.on_its_base(chain[3].infohash, opened[3]) is None
    with pytest.raises(TorrentError, match="more than it may"):
        bases.on_its_base(chain[2].infohash, opened[2], depth=2)


def test_what_is_known_comes_back_as_it_was_kept(library: Library) -> None:
    whole = Known(
        joining=True,
        heard=12,
        port=30_000,
        addresses=("127.0.0.1:2000",),
        graves={"5c" * 32: {"title": Cell("gone", BIRTH)}},
        devices=STATE.devices,
        met={ME: 5},
        even={ME: 6},
        knowing=(ME,),
        base="ab" * 20,
        invitations=(Invitation(infohash=InfoHash("cd" * 20), until=7),),
    )

    known.change(library, lambda _before: whole)

    assert known.read(library) == whole


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"met = 3\ndevices = 4\ngraves = [1]\nport = 'x'\ninvitations = 5\nbase = 1"]
)
def test_what_is_not_what_was_kept_is_nothing(library: Library, data: bytes) -> None:
    known.path_of(library).write_bytes(data)

    assert known.read(library) == Known()


def test_what_a_device_says_of_itself_is_read_with_care() -> None:
    def row(**said: object) -> Device:
        cells = {name: Cell(value, Clock(5_000, 0, ME)) for name, value in said.items()}
        return known.devices(Known(devices={ME: cells}))[ME]

    hold = {"uid": "5c" * 32, **FILE}
    addresses = ["127.0.0.1:2000", "name:2000", "1.2.3.4:80", 7, "[::1]:3000", *["10.0.0.1:4000"] * 20]
    assert row(name="lap\x1btop" + "x" * 99).name == ("lap top" + "x" * 99)[: known.LONGEST_NAME]
    assert row(addresses=addresses).addresses[:2] == ("127.0.0.1:2000", "[::1]:3000")
    assert len(row(addresses=addresses).addresses) <= known.MOST_ADDRESSES
    lacks = {"count": 3, "memos": ["5c" * 8, "..", 7], "why": "room"}
    assert row(lacks=lacks) == Device(id=ME, lacking=3, lacks=("5c" * 8,), why="room", as_of=5.0)
    assert row(holds=[hold, 3, {"uid": 1}]).holds == (
        Hold(uid="5c" * 32, digest="ab" * 32, size=49_123, infohash=InfoHash("cd" * 20)),
    )
    nothing: object
    for nothing in (None, 3, [], {}, "x", {"count": -1, "memos": 3, "why": 5}):
        odd = row(name=nothing, since=nothing, addresses=nothing, lacks=nothing, holds=nothing, gone=nothing)
        assert replace(odd, name="", as_of=0.0) in (Device(id=ME), Device(id=ME, since=0.003))


def test_an_invitation_tells_the_secret_to_who_has_its_key(library: Library) -> None:
    library.transaction(lambda index: index.with_meeting(["udp://10.0.0.1:1/announce"]))

    link = invitations.invite(library, ["10.0.0.2:2000"])

    data = library.form(link.infohash).read_bytes()
    told = invitations.open_invitation(data, link.key)
    assert (told.secret, told.trackers, told.addresses) == (SECRET, ("udp://10.0.0.1:1/announce",), ("10.0.0.2:2000",))
    assert SECRET not in data
    with pytest.raises(WrongKeyError):
        invitations.open_invitation(data, bytes(16))
    with pytest.raises(TorrentError):
        invitations.open_invitation(data[:-1], link.key)


def test_an_invitation_is_over_when_its_time_is_or_somebody_came_by_it(library: Library) -> None:
    first, second = (invitations.invite(library, []) for _ in range(2))

    invitations.end_used(library, {ME: Device(id=ME, came_by=first.infohash)})
    assert [one.infohash for one in invitations.open_now(library)] == [second.infohash]
    assert not library.form(first.infohash).exists()

    late = Library(library.root, clock=lambda: library.clock() + invitations.LIFETIME + 1)
    invitations.end_used(late, {})
    assert not known.read(library).invitations
    assert not library.form(second.infohash).exists()
    assert not library.torrent(second.infohash).exists()
