"""Private links, as they are used: given, fetched, ended, mended; and what is refused."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support import faults
from support.beginning import beginning_of
from support.disk import SmallDisk
from support.group import tell
from support.handshake import offers
from support.library import memos, only
from support.program import PROGRAM, Ended, Program, Result
from support.seeder import log, state
from support.sound import noise, tone, wav
from support.terminal import Terminal
from support.waiting import wait_until

from memosync import files, magnet, sealing
from memosync.console import Console
from memosync.errors import LibraryError, NotFoundError, SwarmError, TorrentError, UsageError
from memosync.files import used_space
from memosync.library import group, keys, sealed
from memosync.library.keys import Key
from memosync.library.served import revision, served
from memosync.library.store import Library
from memosync.network import Network
from memosync.quantities import format_size
from memosync.sealing import Seal
from memosync.seeder import client
from memosync.seeder.state import read_state
from memosync.stop import Stop
from memosync.torrent import metainfo

SECOND = wav(tone(1))
TITLE, DESCRIPTION = "The merger nobody may know of", "what was said about the price of it"


@pytest.fixture
def library(memosync: Program, tmp_path: Path) -> Program:
    """A library that has one memo."""
    memosync("record", noise(tmp_path / "noise.flac"), "--title", TITLE, "--description", DESCRIPTION)
    return memosync


@pytest.fixture
def other(memosync: Program, tmp_path: Path) -> Iterator[Program]:
    program = memosync.on(tmp_path / "other")
    yield program
    program.run("seed", "--stop")


def shared(library: Program, *options: str) -> str:
    return library("share", "last", *options).out.strip()


def inner(library: Program) -> Path:
    return library.library / ".memosync"


def path(library: Program) -> Path:
    return Path(only(library)["path"])


def waits(process: subprocess.Popen[bytes]) -> bool:
    """Tell whether a process waits for a lock."""
    return f" {process.pid} " in "".join(line for line in Path("/proc/locks").read_text().splitlines() if "->" in line)


def refused(library: Program, link: str) -> Result:
    """Have a link fetched in vain; nothing of it may stay."""
    result = library("fetch", "-", stdin=link, code=TorrentError.exit_code)
    assert only_files(library.library) <= {"lock"}
    return result


def only_files(directory: Path) -> set[str]:
    return {file.name for file in directory.rglob("*") if file.is_file() and file.parent.name != "locks"}


def test_who_has_the_link_has_the_memo(library: Program, other: Program) -> None:
    link = shared(library)

    assert other("fetch", "-", stdin=link).out.strip() == only(library)["id"]

    assert path(other).read_bytes() == path(library).read_bytes()
    found = only(other)
    assert (found["title"], found["description"], found["fetched"]) == (TITLE, DESCRIPTION, True)
    assert (found["sealed"], found["private"], found["shared"]) == (magnet.parse(link).infohash, False, False)
    assert found["infohash"] is None


def test_a_fetched_memo_is_shared_on_in_the_form_it_came_in(library: Program, other: Program) -> None:
    link, given = magnet.parse(shared(library)), other
    given("fetch", str(link))

    again = magnet.parse(shared(given))

    assert (again.infohash, again.key) == (link.infohash, link.key)
    assert given("list").out.split("\t")[4] == "sf"


def test_what_is_seeded_while_it_is_fetched_stays_private(library: Program, other: Program) -> None:
    link = shared(library)

    other("fetch", "--seed", "-", stdin=link)
    other("fetch", "--seed", magnet.parse(link).infohash)

    assert (only(other)["private"], only(other)["shared"]) == (True, False)
    assert only(other)["infohash"] is None


def test_the_short_form_and_the_one_for_a_page_are_the_same_memo(library: Program, other: Program) -> None:
    whole = shared(library, "--link", page := "https://memos.example/open.html")
    assert whole == library("share", "last", env={"MEMOSYNC_LINK": page}).out.strip()
    (text,) = magnet.split(whole)
    link = magnet.parse(text)
    peer = "".join(link.peers)
    other("fetch", f"magnet:?xt=urn:btih:{link.infohash}.{magnet.format_key(link.key)}&x.pe={peer}")

    assert other("fetch", f"{link.infohash}.{magnet.format_key(link.key)}").out.strip() == only(other)["id"]


def test_what_is_here_by_one_link_is_the_same_memo_by_the_other(library: Program, other: Program) -> None:
    private, public = shared(library), library("share", "last", "--public").out.strip()

    for link in (public, private, public):
        assert other("fetch", link).out.strip() == only(library)["id"]

    found = only(other)
    assert (found["infohash"], found["sealed"]) == (magnet.parse(public).infohash, magnet.parse(private).infohash)
    other("rm", "last")
    other("fetch", private)
    assert only(other)["trashed"] is None


def test_what_arrives_by_both_links_at_once_is_one_memo(library: Program, other: Program, ended: Ended) -> None:
    links = shared(library), library("share", "last", "--public").out.strip()
    (inner(other)).mkdir(parents=True)
    with files.locked(inner(other) / "lock", remove=False):  # nobody can name anything in the index
        both = [ended(other.start("fetch", link)) for link in links]
        wait_until(lambda: all(waits(process) for process in both), "both to arrive, and wait")
    assert [process.wait(60) for process in both] == [0, 0]

    assert {only(other)["sealed"], only(other)["infohash"]} == {magnet.parse(link).infohash for link in links}


SEALS_SLOWLY = """
import time
from memosync import sealing
sealing._AT_ONCE = 1
def fill(*arguments, fill=sealing._fill):
    time.sleep(0.3)
    return fill(*arguments)
sealing._fill = fill
"""


def test_while_a_large_one_is_opened_a_terminal_shows_how_far_that_is(library: Program, other: Program) -> None:
    other.meddle(SEALS_SLOWLY)  # as if there were more of it
    window = Terminal([*PROGRAM, "fetch", shared(library)], other.environment)
    window.end()
    window.close()

    assert re.search(r"[1-9]\d%  opening it", window.wrote)
    assert "opening it" not in window.screen.text


def test_a_link_is_asked_for_and_may_be_pasted_in_several_lines(library: Program, other: Program) -> None:
    link = shared(library)
    terminal = Terminal([*PROGRAM, "fetch"], other.environment)
    terminal.wait_for(lambda screen: "paste a link:" in screen.text, "the question")

    terminal.type(link[:60] + "\r" + link[60:] + "\r")
    terminal.end()
    terminal.close()
    assert only(other)["title"] == TITLE

    nothing = Terminal([*PROGRAM, "fetch"], other.environment)
    nothing.wait_for(lambda screen: "paste a link:" in screen.text, "the question")
    nothing.type("\r")
    nothing.end(UsageError.exit_code)
    nothing.close()
    assert "LINK is missing" in nothing.wrote
    assert "paste" not in other("fetch", code=UsageError.exit_code).err


def test_a_link_without_its_key_or_with_another_is_refused_and_nothing_is_kept(
    library: Program, other: Program
) -> None:
    link = shared(library)
    key = magnet.format_key(magnet.parse(link).key)

    wrong = refused(other, link.replace(key, 26 * "a"))
    without = refused(other, link.replace(f"&x.key={key}", ""))

    assert re.search("error: .*the key is not the one of this memo", wrong.err)
    assert re.search("error: .*private, and its link has no key", without.err)
    assert key not in wrong.err + without.err


def test_a_wrong_key_is_told_by_the_first_piece_alone(memosync: Program, other: Program, tmp_path: Path) -> None:
    """Nobody has any other piece; with the right key it is waited for."""
    memosync("record", noise(tmp_path / "long.flac", 20), "--bitrate", "64k")
    link = shared(memosync, "--no-seed")
    key, infohash = magnet.format_key(magnet.parse(link).key), magnet.parse(link).infohash
    form, torrent = inner(memosync) / "sealed" / infohash, inner(memosync) / f"torrents/{infohash}.torrent"
    with beginning_of(form, torrent, tmp_path) as (port, piece, given):
        link = f"magnet:?xt=urn:btih:{infohash}&x.key={key}&x.pe=127.0.0.1:{port}"

        refused(other, link.replace(key, 26 * "a"))

        assert given() == piece
        waited = other("fetch", "-", "--timeout", "2", stdin=link, code=SwarmError.exit_code)
        assert f"{piece} of {form.stat().st_size} bytes are here" in waited.err


@pytest.mark.parametrize(
    "damage", ["flipped", "cut", "longer", "swapped", "another's", "public", "of an invitation", "of another context"]
)
def test_what_was_altered_is_refused_and_nothing_is_kept(
    library: Program, other: Program, tmp_path: Path, damage: str
) -> None:
    """Somebody who has a link and its key makes another torrent of what is not the memo."""
    link = magnet.parse(shared(library))
    form = inner(library) / "sealed" / link.infohash
    data = bytearray(form.read_bytes())
    match damage:
        case "flipped":
            data[len(data) // 2] ^= 1
        case "cut":
            del data[-17:]
        case "longer":
            data += bytes(20)
        case "swapped":
            chunk = 16_400
            data[56 : 56 + 2 * chunk] = data[56 + chunk : 56 + 2 * chunk] + data[56 : 56 + chunk]
        case "another's":
            data[:56] = os.urandom(56)
        case "public":
            data = bytearray(path(library).read_bytes())
        case "of an invitation" | "of another context":
            context = sealing.INVITATION if "invitation" in damage else b"memosync memo v2"
            seal, data = Seal(link.key, bytes(data[:24])), bytearray()
            with path(library).open("rb") as plain:
                sealing.seal(plain, seal, data.extend, context=context)
    library("seed", "--stop")
    liar = library.on(tmp_path / "liar")
    torrent = serve_as_private(liar, bytes(data), link.key, tmp_path)

    result = refused(other, torrent)

    assert len([line for line in result.err.splitlines() if "error:" in line]) == 1


def serve_as_private(liar: Program, data: bytes, key: bytes, tmp_path: Path) -> str:
    """Serve some bytes as the sealed form of a memo, and give the link."""
    liar("record", noise(tmp_path / "liar.flac"))
    place = Library(liar.library)
    memo = place.index().memos[0]
    place.forms.mkdir(mode=0o700)
    (form := place.forms / "form").write_bytes(data)
    torrent = metainfo.make(form, data[:8].hex())
    form.rename(place.form(torrent.infohash))
    digest = sealed.digest_of(place.path(memo))
    keys.keep(place, torrent.infohash, Key(seal=Seal(key, data[:24]), digest=digest))
    place.keep_torrent(torrent.infohash, torrent.data)
    place.update({memo.id: lambda memo: replace(memo, sealed=torrent.infohash)})
    return shared(liar)


def test_a_new_link_ends_the_one_before_whatever_an_index_says(library: Program, other: Program) -> None:
    old = shared(library)
    before = (library.library / "index.toml").read_bytes()

    new = shared(library, "--new")

    assert (magnet.parse(old).infohash, magnet.parse(old).key) != (magnet.parse(new).infohash, magnet.parse(new).key)
    (library.library / "index.toml").write_bytes(before)  # put back, and so it names the old one
    library("seed", "--stop")
    library("seed", "--detach")
    other("fetch", old, "--timeout", "2s", code=SwarmError.exit_code)
    again = magnet.parse(shared(library))
    assert again.infohash == magnet.parse(new).infohash
    other("fetch", str(again))


@pytest.mark.parametrize("way", ["rebuilt from its file", "rebuilt from an index of before", "put back from the trash"])
def test_no_way_back_has_a_link_that_was_ended_served(library: Program, way: str) -> None:
    old = magnet.parse(shared(library, "--no-seed")).infohash
    before = (library.library / "index.toml").read_bytes()
    new = magnet.parse(shared(library, "--no-seed", "--new")).infohash
    for index in library.library.rglob("index*.toml"):
        index.unlink()
    if "trash" in way:
        (library.library / "index.toml").write_bytes(before)
        memo_id = library("rm", "last").out.strip()
        library("restore", memo_id)
    else:
        if "of before" in way:
            (inner(library) / "index.1.toml").write_bytes(before)
        library("check", "--repair")

    assert [one.infohash for one in served(Library(library.library), Network.LOOPBACK)] == []

    assert magnet.parse(shared(library, "--no-seed")).infohash == new
    assert [one.infohash for one in served(Library(library.library), Network.LOOPBACK)] == [new]
    assert old != new


def test_no_link_is_ended_when_another_one_cannot_be_made(library: Program, tmp_path: Path) -> None:
    library("record", noise(tmp_path / "second.flac"), "--title", "Second")
    links = library("share", "--all").lines
    before = memos(library)
    Path(before[1]["path"]).unlink()

    library("share", "--all", "--new", code=LibraryError.exit_code)

    assert [memo["sealed"] for memo in before] == [memo["sealed"] for memo in memos(library)]
    assert not [file for file in (inner(library) / "keys").iterdir() if file.stat().st_size > 72]
    assert len(links) == 2


@pytest.mark.parametrize(
    ("call", "place", "error", "words"),
    [
        ("replace", ".memosync/keys/{}", errno.ENOSPC, "not ended for good: cannot keep the key: no space left"),
        ("replace", ".memosync/keys/{}", errno.EIO, "not ended for good: cannot keep the key: input/output error"),
        ("unlink", ".memosync/sealed/{}", errno.EIO, "not ended for good: cannot end the link: input/output error"),
        ("fsync", "", errno.EIO, "index.toml: input/output error"),  # it stands there, but a power cut might take it
    ],
    ids=["no room for the key", "the key", "the form", "the index"],
)
def test_a_new_link_that_stands_is_said_and_the_one_before_is_not_served_when_a_disk_fails_behind_it(
    library: Program, other: Program, call: str, place: str, error: int, words: str
) -> None:
    old = shared(library)
    infohash = magnet.parse(old).infohash
    before = (library.library / "index.toml").read_bytes()
    failing = library.on(library.library)
    failing.meddle(faults.REFUSES.format(call=call, path=str(library.library / place.format(infohash)), error=error))

    result = failing("share", "last", "--new", code=LibraryError.exit_code)

    assert words in result.err
    new = magnet.parse(result.out.strip())
    assert new.infohash == only(library)["sealed"] != infohash
    other("fetch", old, "--timeout", "2s", code=SwarmError.exit_code)
    other("fetch", str(new))
    if call == "replace":
        assert keys.is_alive(Library(library.library), infohash)
        assert "was not ended" in library("check", code=LibraryError.exit_code).out
        assert "was not ended" in failing("check", "--repair", code=LibraryError.exit_code).out
    library("check", "--repair")
    library("check")
    assert keys.is_ended(Library(library.library), infohash)
    (library.library / "index.toml").write_bytes(before)
    wait_until(lambda: only(library)["link"] is None, "what is put back to be served no longer")


def test_nothing_has_changed_when_a_disk_fails_before_a_new_link_stands(library: Program) -> None:
    old = shared(library)
    failing = library.on(library.library)
    failing.meddle(faults.REFUSES.format(call="replace", path=str(library.library / "index.toml"), error=errno.ENOSPC))

    result = failing("share", "last", "--new", code=LibraryError.exit_code)

    assert result.out == ""
    assert shared(library) == old


def test_of_two_links_that_are_alive_a_rebuilt_index_has_the_later_one(library: Program) -> None:
    forms = [magnet.parse(shared(library, "--no-seed")).infohash]
    for _ in range(4):
        kept = {name: (inner(library) / "keys" / name).read_bytes() for name in forms}
        forms.append(magnet.parse(shared(library, "--no-seed", "--new")).infohash)
        for at, (name, data) in enumerate(kept.items()):  # as if that had not been written
            (inner(library) / "keys" / name).write_bytes(data)
            os.utime(inner(library) / "keys" / name, (at, at))
    for index in library.library.rglob("index*.toml"):
        index.unlink()

    library("check", "--repair")

    assert only(library)["sealed"] == forms[-1]


@pytest.mark.parametrize("change", ["flipped", "cut", "a link to another file"])
@pytest.mark.parametrize("link", ["another one", "a private one"])
def test_what_was_exchanged_gets_no_link(library: Program, tmp_path: Path, change: str, link: str) -> None:
    library("share", "last", *(["--public"] if link == "a private one" else []))
    library("seed", "--stop")
    file = path(library)
    data = file.read_bytes()
    if change == "flipped":
        file.write_bytes(data[:-100] + bytes([data[-100] ^ 1]) + data[-99:])
    elif change == "cut":
        file.write_bytes(data[:5000])
    else:
        (tmp_path / "secret").write_text("private key")
        file.unlink()
        file.symlink_to(tmp_path / "secret")
    before = {name.name: name.read_bytes() for name in inner(library).glob("*/*") if name.is_file()}

    result = library("share", "last", *(["--new"] if link == "another one" else []), code=LibraryError.exit_code)

    assert "was altered" in result.err
    after = {name.name: name.read_bytes() for name in inner(library).glob("*/*") if name.is_file()}
    assert before == after


def test_a_link_is_ended_for_good_also_when_its_key_was_lost(library: Program) -> None:
    old = magnet.parse(shared(library)).infohash
    before = (library.library / "index.toml").read_bytes()
    (inner(library) / "keys" / old).unlink()

    shared(library, "--new")
    (library.library / "index.toml").write_bytes(before)
    library("check", "--repair")

    assert library("list").out.split("\t")[4] == "-"
    assert only(library)["link"] is None
    assert magnet.parse(shared(library)).infohash != old


@pytest.mark.parametrize("more", [b"\1\1", b"\0", b"x"])
def test_a_key_with_something_behind_it_is_one_that_was_ended(library: Program, more: bytes) -> None:
    infohash = magnet.parse(shared(library)).infohash
    key = inner(library) / "keys" / infohash
    key.write_bytes(key.read_bytes() + more)

    assert magnet.parse(shared(library)).infohash != infohash


def test_a_form_that_is_another_ones_is_not_taken_away(library: Program) -> None:
    infohash = magnet.parse(shared(library)).infohash
    index = library.library / "index.toml"
    index.write_text(index.read_text().replace(infohash, 40 * "c"))
    before = {name.name for name in inner(library).glob("*/*")}

    result = library("share", "last", code=LibraryError.exit_code)

    assert "share --new" in result.err
    assert before <= {name.name for name in inner(library).glob("*/*")}


def test_purging_takes_what_was_kept_of_every_link_there_was(library: Program) -> None:
    for _ in range(3):
        shared(library, "--new")
    assert len(list((inner(library) / "keys").iterdir())) == 4
    library("seed", "--stop")

    library("rm", "--purge", "--force", "last")

    assert [file.name for file in (inner(library) / "keys").iterdir()] == ["library"]
    assert not list((inner(library) / "sealed").iterdir()) + list((inner(library) / "torrents").iterdir())


def test_a_wrong_key_costs_nothing_of_what_has_arrived(memosync: Program, other: Program, tmp_path: Path) -> None:
    memosync("record", noise(tmp_path / "long.flac", 60), "--bitrate", "128k")
    link = magnet.parse(shared(memosync))
    incoming = inner(other) / "incoming" / link.infohash
    memosync("seed", "--stop")
    memosync("seed", "--detach", "--up", "300k")
    link = magnet.parse(str(only(memosync)["link"]))
    fetching = other.start("fetch", str(link), stderr=subprocess.DEVNULL)
    wait_until(lambda: incoming.exists() and used_space(incoming) > 300_000, "some of it")
    fetching.terminate()
    fetching.wait()
    before = used_space(incoming)

    for wrong in (replace(link, key=bytes(16)), replace(link, key=b"")):
        other("fetch", str(wrong), code=TorrentError.exit_code)
        assert used_space(incoming) >= before


def test_a_new_link_is_another_one_also_for_who_has_lost_count(library: Program, other: Program) -> None:
    shared(library)
    link = shared(library, "--new")
    other("fetch", "--seed", link)
    library("seed", "--stop")
    library("rm", "--purge", "--force", "last")
    library("fetch", str(only(other)["link"]))

    new = magnet.parse(shared(library, "--new"))

    assert new.infohash not in ("", magnet.parse(link).infohash)


def test_a_link_that_a_dying_program_left_alive_is_ended_with_the_next(library: Program) -> None:
    old = magnet.parse(shared(library)).infohash
    key = (inner(library) / "keys" / old).read_bytes()
    new = magnet.parse(shared(library, "--new")).infohash
    (inner(library) / "keys" / old).write_bytes(key)  # as it is before that is written

    assert magnet.parse(shared(library)).infohash == new

    found = Library(library.library)
    assert (keys.is_ended(found, old), keys.is_alive(found, new)) == (True, True)


def test_each_key_is_read_once_however_many_memos_are_shared_at_once(library: Program, tmp_path: Path) -> None:
    library("record", "--again", *8 * [str(path(library))])
    trace = ["strace", "-f", "-qq", "-e", "trace=openat", "-o", str(tmp_path / "trace")]
    command = [*trace, *PROGRAM, "share", "--all", "--no-seed"]
    links = subprocess.run(command, env=library.environment, check=True, capture_output=True, text=True).stdout

    opened = re.findall(r"/keys/([0-9a-f]{40})", (tmp_path / "trace").read_text())
    assert {magnet.parse(link).infohash for link in links.splitlines()} == set(opened)
    assert len(opened) <= 3 * 9  # as it is sealed, and as others are ended: it was 15 for each of nine


def test_a_seeder_reads_only_keys_that_are_others_than_before(
    library: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = magnet.parse(shared(library, "--no-seed")).infohash
    found = Library(library.library)
    assert [one.infohash for one in served(found, Network.LOOPBACK)] == [old]
    read: list[Path] = []
    whole = files.read

    def noted(wanted: Path, links: bool = False) -> bytes:
        read.append(wanted)
        return whole(wanted, links)

    monkeypatch.setattr(files, "read", noted)

    assert [one.infohash for one in served(found, Network.LOOPBACK)] == [old]
    assert read == []
    key = inner(library) / "keys" / old
    key.write_bytes(key.read_bytes() + b"\1")  # as an ended one is
    assert served(found, Network.LOOPBACK) == []
    assert read == [key]


def test_a_public_link_is_never_another_one(library: Program) -> None:
    assert "without --public" in library("share", "last", "--new", "--public", code=UsageError.exit_code).err


def test_a_lost_form_is_made_again_when_the_seeder_begins(library: Program, other: Program) -> None:
    link = shared(library)
    library("seed", "--stop")
    shutil.rmtree(inner(library) / "sealed")

    library("seed", "--detach")

    peer = json.loads(library("list", "--json").out)["link"]
    assert other("fetch", peer).out
    assert magnet.parse(peer).infohash == magnet.parse(link).infohash


def test_a_form_for_which_there_is_no_room_is_made_when_there_is(library: Program) -> None:
    shared(library)
    library("seed", "--stop")
    sealed_file, wanted = inner(library) / "sealed", path(library)
    away = wanted.rename(wanted.with_suffix(".away"))
    shutil.rmtree(sealed_file)
    seeder = Library(library.library)
    said: list[str] = []
    sealed.complete(seeder, said.append)
    away.rename(wanted)

    sealed.complete(seeder, said.append)

    assert ["cannot be served" in said[0], "was made again" in said[1]] == [True, True]


def test_a_first_link_for_which_there_is_no_room_leaves_nothing_that_an_older_program_refuses(
    memosync: Program, disk: SmallDisk
) -> None:
    (disk.seen / "one.wav").write_bytes(SECOND)
    memosync("record", disk.place / "one.wav")
    disk.fill(0)

    refusal = memosync("share", "last", "--no-seed", code=LibraryError.exit_code).err

    assert "cannot keep the library's secret: no space left on device" in refusal
    assert not (inner(memosync) / "keys").exists()
    disk.make_room()
    memosync("edit", "last", "--title", "Any other")
    assert b"version = 1" in (memosync.library / "index.toml").read_bytes()
    memosync("share", "last", "--no-seed")
    assert stat.S_IMODE((inner(memosync) / "keys").stat().st_mode) == 0o700


def test_what_may_come_counts_as_it_is_sealed_and_as_it_is_opened(library: Program, other: Program) -> None:
    link, size = shared(library), path(library).stat().st_size

    said = other("fetch", link, "--max-size", str(3 * size // 2), code=TorrentError.exit_code).err

    assert "error: " in said
    assert re.search(r": sealed and opened it takes [\d.]+ kB, more than [\d.]+ kB\n", said), said
    assert other("fetch", link, "--max-size", str(3 * size)).lines


def seen(library: Program) -> int:
    """Give the revision of what is served that the seeder last acted on."""
    state = read_state(inner(library))
    return state.seen if state else 0


def test_a_key_that_comes_back_is_served_again_by_who_serves(library: Program, other: Program) -> None:
    link = shared(library)
    key = inner(library) / "keys" / magnet.parse(link).infohash
    away = key.rename(library.library / "key")
    wait_until(lambda: seen(library) == revision(Library(library.library)), "the seeder to see that it is gone")
    other("fetch", link, "--timeout", "2s", code=SwarmError.exit_code)
    away.rename(key)

    assert shared(library) == link
    other("fetch", link)


@pytest.mark.parametrize("lost", ["form", "altered form", "another's form", "key", "torrent"])
def test_check_mends_what_is_kept_of_a_private_link(library: Program, lost: str) -> None:
    infohash = magnet.parse(shared(library)).infohash
    library("seed", "--stop")
    places = {
        "form": inner(library) / "sealed" / infohash,
        "key": inner(library) / "keys" / infohash,
        "torrent": inner(library) / f"torrents/{infohash}.torrent",
    }
    before = {name: place.read_bytes() for name, place in places.items()}
    if lost == "altered form":
        places["form"].write_bytes(before["form"][:-1] + b"x")
    elif lost == "another's form":  # which is as large, and as old as a backup
        places["form"].write_bytes(os.urandom(len(before["form"])))
        os.utime(places["form"], (0, 0))
    else:
        places[lost].unlink()

    found = library("check", code=LibraryError.exit_code).out
    form = f"its sealed form {'was altered' if lost.endswith('form') and lost != 'form' else 'is lost'}; memosync"
    assert re.search(f"^defect\t[^\t]*\t({'the key of' if lost == 'key' else form})", found, re.MULTILINE)
    library("check", "--repair")

    assert before == {name: place.read_bytes() for name, place in places.items()}
    library("check")


def test_a_key_that_is_lost_with_the_secret_costs_the_link_and_nothing_else(library: Program) -> None:
    old = magnet.parse(shared(library, "--no-seed")).infohash
    for name in (old, "library"):
        (inner(library) / "keys" / name).unlink()

    found = library("check", "--repair", code=LibraryError.exit_code).out
    refusal = library("share", "last", "--no-seed", code=LibraryError.exit_code).err

    assert re.search("^defect\t.*the key of its private link is lost", found, re.MULTILINE)
    assert "memosync share --new" in refusal
    assert magnet.parse(shared(library, "--no-seed", "--new")).infohash != old
    library("check")


def test_a_secret_that_is_lost_costs_no_link(library: Program) -> None:
    link = shared(library, "--no-seed")
    (inner(library) / "keys/library").unlink()
    shutil.rmtree(inner(library) / "sealed")

    assert "the library's secret is lost" in library("check", "--repair").out

    assert shared(library, "--no-seed") == link


def test_words_that_are_changed_later_stay_here_and_what_is_back_from_the_trash_is_served(
    library: Program, other: Program
) -> None:
    text = shared(library)
    link = magnet.parse(text)
    port, memo_id = int(link.peers[0].rpartition(":")[2]), only(library)["id"]
    library("edit", "last", "--title", "Other words")

    library("rm", "last")
    wait_until(lambda: not offers(port, link.infohash), "it to be dropped")
    thrown = library("list", "--trash", "--json").out
    library("restore", memo_id)
    wait_until(lambda: offers(port, link.infohash), "it to be served again")

    assert magnet.format_key(link.key) not in thrown
    assert shared(library) == text
    other("fetch", "-", stdin=text)
    assert only(other)["title"] == TITLE


def test_a_key_is_shown_of_what_is_shared_alone(library: Program) -> None:
    key = magnet.format_key(magnet.parse(shared(library, "--no-seed")).key)
    looks = (["list", "--json"], ["show", "last", "--json"], ["show", "last"])
    assert all(key in library(*look).out for look in looks)

    library("share", "--stop", "last")

    assert not any(key in library(*look).out for look in looks)


def test_an_altered_file_is_never_sealed_under_the_key_of_what_it_was(library: Program) -> None:
    infohash = magnet.parse(shared(library)).infohash
    library("seed", "--stop")
    file = path(library)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    (inner(library) / "sealed" / infohash).unlink()

    result = library("share", "last", code=LibraryError.exit_code)

    assert "not what its link was given for" in result.err
    assert "was altered" in library("check", code=LibraryError.exit_code).out
    assert not list((inner(library) / "sealed").iterdir())


def test_a_rebuilt_index_knows_the_private_link_and_serves_nothing(library: Program) -> None:
    infohash = magnet.parse(shared(library)).infohash
    library("seed", "--stop")
    (library.library / "index.toml").unlink()
    for snapshot in inner(library).glob("index*.toml"):
        snapshot.unlink()

    library("check", "--repair")

    found = only(library)
    assert (found["sealed"], found["private"], found["shared"]) == (infohash, False, False)
    assert found["infohash"] is None
    assert not found["fetched"]
    assert (library.library / "index.toml").read_text().startswith("version = 2")
    assert magnet.parse(shared(library)).infohash == infohash


@pytest.mark.parametrize("known", [True, False], ids=["by an index of before", "by its file alone"])
def test_a_rebuilt_index_gives_nothing_to_more_than_it_was_given_to(library: Program, known: bool) -> None:
    link = magnet.parse(shared(library, "--no-seed"))
    public = None if known else magnet.parse(shared(library, "--no-seed", "--public")).infohash
    for index in library.library.rglob("index*.toml"):
        if not known or index.parent == library.library:
            index.unlink()

    library("check", "--repair")

    found = only(library)
    assert (found["sealed"], found["infohash"]) == (link.infohash, public)
    assert (found["private"], found["shared"]) == (False, False)
    assert magnet.parse(shared(library, "--no-seed")).infohash == link.infohash


@pytest.mark.parametrize("lost", ["index.toml", "index.toml and the one before it"])
def test_what_is_shared_no_longer_stays_so_when_the_index_is_rebuilt(library: Program, lost: str) -> None:
    """The index of before says that it is shared."""
    for form in ([], ["--public"]):
        shared(library, "--no-seed", *form)
    library("share", "--stop", "last")
    for name in ("index.toml", ".memosync/index.1.toml")[: 1 if lost == "index.toml" else 2]:
        with (library.library / name).open("r+b") as file:  # in its place, as a disk does it
            file.truncate(60)

    said = library("check", "--repair").out

    found = only(library)
    assert (found["private"], found["shared"], found["title"]) == (False, False, TITLE)
    assert found["sealed"]
    assert found["infohash"]
    assert ("not shared any more" in said) == (lost != "index.toml")


def test_the_program_before_private_links_refuses_the_library(library: Program) -> None:
    text = (library.library / "index.toml").read_text()
    assert text.startswith("version = 1")

    shared(library)

    assert (library.library / "index.toml").read_text().startswith("version = 2")


def test_keys_are_closed_to_others_and_nowhere_else(library: Program) -> None:
    link = shared(library)
    key = magnet.parse(link).key
    library("seed", "--stop")

    keys = inner(library) / "keys"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in keys.iterdir()} == {0o600}
    secrets = (key, magnet.format_key(key).encode(), key.hex().encode())
    for file in library.library.rglob("*"):
        if file.is_file() and file.parent != keys:
            assert not any(secret in file.read_bytes() for secret in secrets), file
    for place, mode in ((keys, 0o755), (keys / "library", 0o644), (keys / magnet.parse(link).infohash, 0o640)):
        before = stat.S_IMODE(place.stat().st_mode)
        place.chmod(mode)
        assert "chmod -R go=" in library("check").out
        place.chmod(before)
    said = library("check").out
    assert "chmod" not in said
    assert f"ok\tsealed\t{format_size(used_space(inner(library) / 'sealed'))} for private links" in said


def test_nothing_of_the_memo_is_in_what_is_served_or_said_of_it(library: Program) -> None:
    infohash = magnet.parse(shared(library)).infohash
    library("seed", "--stop")

    told = [inner(library) / name for name in ("seeder.toml", "seeder.log", f"torrents/{infohash}.torrent")]
    plain = path(library).read_bytes() + TITLE.encode() + DESCRIPTION.encode()
    windows = {plain[at : at + 16] for at in range(len(plain) - 15)}
    windows = {window for window in windows if len(set(window)) >= 8}
    for file in (*told, inner(library) / "sealed" / infohash):
        data = file.read_bytes()
        assert not any(data[at : at + 16] in windows for at in range(len(data) - 15)), file


def test_a_seeder_that_brings_a_recording_home_names_no_title_in_its_log(library: Program) -> None:
    shared(library)
    part = inner(library) / "recording/abcdefgh.webm.part"
    shutil.copy(path(library), part)  # what a crash left, later
    os.kill(state(library)["pid"], signal.SIGKILL)

    wait_until(lambda: log(library).count("serving on port") == 2, "its keeper to start another one", 30)
    assert not part.exists()
    assert len(memos(library)) == 2
    assert not re.search("merger|price", log(library))


def test_the_key_is_in_no_command_line_when_the_link_was_piped_in(library: Program, other: Program) -> None:
    link = shared(library).replace(str(magnet.parse(shared(library)).peers[0]), "127.0.0.1:1")
    key = magnet.format_key(magnet.parse(link).key)
    process = other.start("fetch", "-", "--timeout", "3s", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin
    process.stdin.write(link.encode())
    process.stdin.close()
    seen = 0
    while process.poll() is None:
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen += 1
                assert key.encode() not in place.read_bytes()
            except OSError:
                pass
    assert seen
    assert process.stderr
    assert key not in process.stderr.read().decode()


@pytest.mark.parametrize(
    "words",
    [
        ["{}"],
        ["help", "{}"],
        ["check", "{}"],
        ["record", "{}"],
        ["play", "{}"],
        ["list", "-n", "{}"],
        ["list", "--since", "{}"],
        ["fetch", "--timeout", "{}"],
        ["fetch", "--max-size", "{}"],
        ["fetch", "--{}"],
        ["seed", "--port", "{}"],
        ["sync", "--forget", "{}"],
        ["--network", "{}", "list"],
        ["share", "last", "--tracker", "http://tracker.example/announce#{}"],
    ],
    ids=" ".join,
)
def test_a_link_at_a_wrong_place_is_refused_without_its_key(library: Program, words: list[str]) -> None:
    """Whoever forgets the verb shows the line to others, or keeps it, when they ask what was wrong."""
    key = "7jn44fwjcvyy27jysbod36vpiq"
    links = [f"magnet:?xt=urn:btih:{'ab' * 20}&x.key={key}", f"{'ab' * 20}.{key}", key]
    links.append(magnet.join("https://memos.example/open.html", links[:1]))

    for link in links:
        result = library.run(*(word.format(link) for word in words))

        assert result.code in (UsageError.exit_code, NotFoundError.exit_code)
        assert "memosync: error: " in result.err
        assert not any(key[at : at + 12] in result.out + result.err for at in range(len(key) - 11)), link


def test_info_says_the_size_and_that_the_title_is_sealed(library: Program, other: Program) -> None:
    result = other("fetch", "--info", "--json", shared(library))

    found = json.loads(result.out)
    assert (found["size"], found["title"]) == (only(library)["size"], "")
    assert "sealed" in result.err


def test_stop_ends_both_forms_and_purging_takes_all_that_was_kept(library: Program) -> None:
    sealed, public = shared(library), library("share", "last", "--public").out.strip()
    assert library("list").out.split("\t")[4] == "sp"
    status = library("seed", "--status").out.splitlines()
    assert len(status) == 1

    library("share", "--stop", "last")
    assert library("list").out.split("\t")[4] == "-"
    library("rm", "--purge", "--force", "last")

    for link in (sealed, public):
        infohash = magnet.parse(link).infohash
        assert not [file for file in inner(library).rglob("*") if infohash in file.name]


def test_a_row_of_the_status_is_a_memo_with_what_went_by_both_links_and_the_worse_state(
    library: Program, other: Program
) -> None:
    links, file = (shared(library), shared(library, "--public")), path(library)
    for number, link in enumerate(links):
        library.on(other.library / str(number))("fetch", link)
    given = file.stat().st_size + (inner(library) / "sealed" / magnet.parse(links[0]).infohash).stat().st_size

    def rows() -> list[dict[str, object]]:
        found = map(json.loads, library("seed", "--status", "--json").lines)
        return [{name: row[name] for name in ("state", "given", "delivered")} for row in found]

    told = {"state": "seeding", "given": given, "delivered": 2}
    wait_until(lambda: rows() == [told], lambda: f"both to be counted: {rows()}", 20)
    file.write_bytes(file.read_bytes() + b"x")
    wait_until(lambda: [row["state"] for row in rows()] == ["damaged"], "the public one to be seen as damaged", 20)


def test_who_shares_with_anybody_already_is_told(library: Program) -> None:
    link = library("share", "last", "--public")
    assert "can be found" in link.err

    both = library("share", "last")
    library("share", "--stop", "--public", "last")

    assert re.search(f"warning: anybody finds .{TITLE}., too; .*--stop --public", both.err)
    assert (only(library)["private"], only(library)["shared"]) == (True, False)


@pytest.mark.parametrize("where", ["where it came", "where the index was lost", "on another device"])
def test_what_came_by_a_private_link_is_not_given_to_anybody_unasked(
    library: Program, other: Program, where: str
) -> None:
    other("fetch", "-", stdin=shared(library))
    assert "secret" not in other("check").out  # there never was one
    has = other
    if where == "where the index was lost":
        for index in other.library.rglob("index*.toml"):
            index.unlink()
        other("check", "--repair")
    elif where == "on another device":
        has = other.on(other.library.with_name("third"))
        one, two = Library(other.library), Library(has.library)
        group.enter(one)
        group.enter(two, keys.secret(one))
        tell(one, two)

    refused = has("share", "last", "--public", "--no-seed", code=UsageError.exit_code)
    assert re.search(f"“{TITLE}” came .*by a private link", refused.err)
    assert "--yes" in refused.err
    assert only(has)["infohash"] is None
    assert only(has)["fetched"]

    has("share", "last", "--public", "--no-seed", "--yes")
    assert only(has)["shared"] is True


def test_a_slip_gives_nothing_away(library: Program, tmp_path: Path) -> None:
    memo_id = only(library)["id"]
    library("share", memo_id[0], "--no-seed")  # there is but one
    second = noise(tmp_path / "second.flac")
    while (other := library("record", second, "--title", "Second").out.strip())[0] == memo_id[0]:
        library("rm", other, "--purge", "--force")

    assert "3 characters" in library("share", memo_id[:2], code=UsageError.exit_code).err
    library("share", memo_id[:3], "--no-seed")
    library("share", "--stop", memo_id[0])


def test_where_one_cannot_be_shared_none_is(library: Program, tmp_path: Path) -> None:
    library("record", noise(tmp_path / "second.flac"), "--title", "Second")
    Path(memos(library)[0]["path"]).unlink()

    result = library("share", "--all", code=LibraryError.exit_code)

    assert f"the file of {memos(library)[0]['id']} “" in result.err
    assert "nothing was shared" in result.err
    assert [memo["private"] for memo in memos(library)] == [False, False]


@pytest.mark.parametrize(
    ("who", "learns"),
    [
        ("A tracker, and nodes of the DHT, learn", ["a number that tells nothing of the memo", "addresses", "when"]),
        ("Who helps to carry it", ["the size", "how long you spoke", "can open nothing, not the title either"]),
        ("Who watches your network", ["that you speak BitTorrent", "with whom", "when", "how much"]),
        ("Who gets the link", ["can listen"]),
        ("Whoever controls the host of a page that opens any link", ["reads the keys", "is sent to no host"]),
        ("Who has the page of a private memo", ["the key is in it"]),
        ("On its way all of that is sealed", ["in your library, and in theirs, nothing is encrypted"]),
        ("The keys are in .memosync/keys", ["Keep a copy of the directory with the one of your memos"]),
        ("the secret that they are made of", ["with which all private links of the library can be opened"]),
    ],
    ids=["tracker, DHT", "helper", "observer", "friend", "host", "page", "disk", "backup", "secret"],
)
def test_the_manual_says_what_others_learn_of_a_private_memo_and_what_to_back_up(who: str, learns: list[str]) -> None:
    (said,) = (part for part in passages() if who in part)

    assert [words for words in learns if words not in said] == []


def passages() -> list[str]:
    """Give what the manual says of privacy and of private links, each point and each paragraph by itself."""
    manual = (Path(__file__).parent.parent / "man/memosync.1").read_text()
    begin, end = manual.index("\n.Sh NETWORK AND PRIVACY"), manual.index("\n.Sh DEVICES IN SYNC")
    parts = re.split(r"\n\.(?:It|Pp|Sh|Bl|El|Bd|Ed)\b", manual[begin:end])
    return [
        " ".join(re.sub(r"^\.[A-Z][a-z] ", "", part, flags=re.MULTILINE).split()).replace(" ,", ",") for part in parts
    ]


def test_it_is_opened_without_memosync(library: Program, tmp_path: Path) -> None:
    manual = (Path(__file__).parent.parent / "man/memosync.1").read_text()
    lines = manual.partition(".Sh PRIVATE LINKS")[2].partition(".Bd -literal -offset indent\n")[2].partition(".Ed")[0]
    link = magnet.parse(shared(library))
    sealed = (inner(library) / "sealed" / link.infohash).read_bytes()

    command = [sys.executable, "-c", lines, magnet.format_key(link.key)]
    opened = subprocess.run(command, input=sealed, check=True, capture_output=True, timeout=60).stdout

    assert len(lines.strip().splitlines()) == 3
    assert opened == path(library).read_bytes()


def test_a_seeder_that_was_faster_than_who_waits_for_it_is_heard(library: Program) -> None:
    place = Library(library.library)
    shared(library)
    state = client.current(place)
    memo = place.index().memos[0]
    place.update({memo.id: lambda memo: replace(memo, shared=False, tags=("new",))})
    wait_until(lambda: (said := client.current(place)) and said.seen == revision(place), "the seeder")

    said = client.serve(place, [memo], Network.LOOPBACK, state, stop=Stop(), console=Console(), timeout=5)

    assert said.seen == revision(place)
