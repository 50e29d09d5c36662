"""fetch: from any kind of link to a memo that is whole, or to nothing and a clear line."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import libtorrent as lt
import pytest
from support.disk import without_temporary
from support.faults import LOOKS_LONG
from support.hostile import torrents
from support.isolated import ISOLATED
from support.library import Listed, memos, only
from support.netns import Network
from support.program import PROGRAM, Ended, Program, errors
from support.sound import altered, convert, noise, probe
from support.terminal import Terminal
from support.tracker import Tracker
from support.waiting import wait_until

from memosync.errors import LibraryError, SwarmError, TorrentError, UsageError
from memosync.page import page
from memosync.quantities import format_size
from memosync.torrent import metainfo

PIECE = 32768
GOES_ON = "the same command goes on where this one stopped"


class Peer:
    """A bare libtorrent session with one torrent, on loopback, that counts what it gives and takes."""

    def __init__(self, torrent: bytes, directory: Path, file: Path | None = None) -> None:
        """Seed the file, or fetch it into the directory."""
        self.data = file.read_bytes() if file else b""
        self.session = lt.session({**ISOLATED, "close_redundant_connections": False, "min_reconnect_time": 1})
        params = lt.load_torrent_buffer(torrent)
        params.save_path = str(file.parent if file else directory)
        params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        if file:
            params.renamed_files = {0: file.name}
            params.flags |= lt.torrent_flags.seed_mode
        self.handle = self.session.add_torrent(params)
        wait_until(lambda: self.session.is_listening() and self.session.listen_port(), "a peer to listen")
        self.link = f"magnet:?xt=urn:btih:{self.handle.info_hashes().v1}&x.pe=127.0.0.1:{self.session.listen_port()}"

    @property
    def given(self) -> int:
        return self.handle.status().total_payload_upload

    @property
    def taken(self) -> int:
        return self.handle.status().total_payload_download

    def limit(self, rate: int) -> None:
        """Give so many bytes a second, 0 for all there is."""
        self.handle.set_upload_limit(rate)

    def is_alone(self) -> None:
        """Return when it has seen that the other is gone: what it sends to the dead is given, too."""
        wait_until(lambda: not self.handle.status().num_peers, "a peer to be let go")

    def give(self, size: int) -> None:
        """Give more than so many bytes, slowly, and fall silent."""
        before = self.given
        self.limit(50_000)
        wait_until(lambda: self.given - before > size, "bytes to go over")
        self.fall_silent()

    def fall_silent(self) -> None:
        """Give nothing any more, without leaving; return when nothing is under way."""
        self.limit(1)
        changed, given = time.monotonic(), self.given

        def quiet() -> bool:
            nonlocal changed, given
            if self.given != given:
                changed, given = time.monotonic(), self.given
            return time.monotonic() - changed > 0.3

        wait_until(quiet, "it to be silent")


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds of noise, 300 KB, without any tag."""
    options = ("-c:a", "libopus", "-b:a", "256k", "-map_metadata", "-1", "-fflags", "+bitexact")
    return noise(tmp_path_factory.mktemp("sound") / "noise.webm", 10, *options)


@pytest.fixture(scope="session")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise(tmp_path_factory.mktemp("sound") / "short.webm", 1, "-c:a", "libopus")


def torrent_of(file: Path, name: str = "Their talk.webm", piece: int = PIECE, **more: Any) -> bytes:
    """Make a torrent as somebody else's program does."""
    made = lt.create_torrent([lt.create_file_entry(name, file.stat().st_size)], piece, lt.create_torrent.v1_only)
    named = file.with_name(name)
    os.link(file, named)
    lt.set_piece_hashes(made, str(file.parent))
    named.unlink()
    whole: Any = made.generate()
    return lt.bencode({**whole, **{key.encode(): value for key, value in more.items()}})


@pytest.fixture
def seeder(sound: Path, tmp_path: Path) -> Peer:
    """Somebody who gives the noise."""
    return Peer(torrent_of(sound), tmp_path, sound)


@dataclasses.dataclass(frozen=True)
class Shared:
    """Somebody else's library, its memos, and their links."""

    program: Program
    memos: list[Listed]
    links: list[str]


@pytest.fixture(scope="module")
def theirs(short: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """Two memos that are served all the time; nothing else happens in this library."""
    home = tmp_path_factory.mktemp("theirs")
    program = Program(home / "Memos", {"HOME": str(home)})
    words = ("-d", "one\ntwo", "--tag", "work", "--tag", "ärger")
    program("record", short, "-t", 'Über "alles": 1/2 & more', *words)
    program("record", short, "-t", "Second", "--again")
    links = program("share", "--all").lines
    yield Shared(program, memos(program)[::-1], links)
    program("seed", "--stop")


def bytes_of(memosync: Program) -> bytes:
    """Give the bytes of a library's only memo."""
    return Path(only(memosync)["path"]).read_bytes()


def staged(memosync: Program) -> list[Path]:
    """List what is left of fetches that are not finished."""
    return list(memosync.library.glob(".memosync/incoming/*/*"))


def has_open(pid: int, path: Path) -> bool:
    """Tell whether a process has a file open."""
    try:
        return any(link.resolve() == path for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def without_peers(link: str) -> str:
    return re.sub(r"&x\.pe=[^&]*", "", link)


def test_a_magnet_brings_the_memo_byte_for_byte(memosync: Program, theirs: Shared) -> None:
    result = memosync("fetch", theirs.links[0])

    assert bytes_of(memosync) == Path(theirs.memos[0]["path"]).read_bytes()
    assert result.out == f"{only(memosync)['id']}\n"
    assert staged(memosync) == []


def test_title_description_tags_date_and_id_come_out_of_the_file(memosync: Program, theirs: Shared) -> None:
    forged = re.sub(r"dn=[^&]*", "dn=Something%20else", theirs.links[0])

    memosync("fetch", forged)

    memo = only(memosync)
    keys = ("id", "title", "description", "tags", "recorded", "duration", "size", "infohash", "file")
    assert [dict(theirs.memos[0])[key] for key in keys] == [dict(memo)[key] for key in keys]
    assert (memo["title"], memo["description"]) == ('Über "alles": 1/2 & more', "one\ntwo")
    assert memo["tags"] == ["work", "ärger"]


def test_the_title_comes_out_of_the_torrents_name_when_the_file_has_none(
    memosync: Program, sound: Path, tmp_path: Path
) -> None:
    peer = Peer(torrent_of(sound, "Gespräch im Café.webm"), tmp_path, sound)

    memosync("fetch", peer.link)

    memo = only(memosync)
    assert memo["title"] == "Gespräch im Café"
    assert memo["duration"] == pytest.approx(10, abs=0.1)
    assert bytes_of(memosync) == sound.read_bytes()


def test_a_memo_of_the_last_day_of_the_calendar_goes_everywhere(memosync: Program, short: Path, tmp_path: Path) -> None:
    when, memo_id = "9999-12-31T23:59:59-12:00", "7k3f9x2a"
    dated = ("-c", "copy", "-metadata", f"DATE_RECORDED={when}", "-metadata", f"MEMOSYNC_ID={memo_id}")
    file = convert(short, tmp_path / "dated.webm", *dated)
    peer = Peer(torrent_of(file), tmp_path, file)

    memosync("fetch", peer.link)
    memosync("export", "last", "-f", "mp3", "-o", tmp_path / "out.mp3")

    assert (memo_id, when) == (only(memosync)["id"], only(memosync)["recorded"])
    assert probe(tmp_path / "out.mp3")["tags"]["date_recorded"] == when


def test_an_id_that_is_taken_here_is_replaced(memosync: Program, theirs: Shared, short: Path) -> None:
    taken = theirs.memos[0]["id"]
    memosync.library.mkdir()
    (memosync.library / f"2026-08-25-talk-{taken}.webm").write_bytes(short.read_bytes())

    fetched = memosync("fetch", theirs.links[0]).out.strip()

    assert fetched != taken
    assert {memo["id"] for memo in memos(memosync)} == {fetched, taken}


def test_a_magnet_may_write_the_infohash_otherwise(memosync: Program, seeder: Peer) -> None:
    infohash = str(seeder.handle.info_hashes().v1)
    base32 = base64.b32encode(bytes.fromhex(infohash)).decode()
    ways = (
        f"xt=urn:btih:{base32}",
        f"xt=urn:btih:{base32.lower()}",
        f"xt=urn:btih:{infohash.upper()}",
        f"xt.1=urn:sha1:{base32}&xt.2=urn:btih:{infohash}",
    )

    result = memosync("fetch", *(re.sub(r"xt=[^&]*", way, seeder.link) for way in ways))

    assert only(memosync)["infohash"] == infohash
    assert result.lines == [only(memosync)["id"]] * 4


def test_a_bare_infohash_is_a_link(short: Path, tmp_path: Path) -> None:
    with Network(2) as network:
        here, there = (host.program(tmp_path / str(number) / "Memos") for number, host in enumerate(network.hosts))
        here("record", short)
        here("share", "--public", "last")
        first = only(here)["infohash"]

        there("fetch", first.upper())
        there("fetch", base64.b32encode(bytes.fromhex(first)).decode())

        assert only(there)["infohash"] == first


def test_a_torrent_file_brings_it_by_its_trackers(memosync: Program, sound: Path, tmp_path: Path) -> None:
    with Tracker() as tracker:
        torrent = tmp_path / "a torrent.torrent"
        torrent.write_bytes(torrent_of(sound, announce=tracker.udp_url.encode()))
        peer = Peer(torrent.read_bytes(), tmp_path, sound)
        wait_until(lambda: tracker.announces, "the seeder to announce itself")

        memosync("fetch", torrent)

    assert bytes_of(memosync) == sound.read_bytes()
    assert peer.given == sound.stat().st_size


def test_what_came_by_a_private_torrent_is_not_given_on_by_its_infohash_in_silence(
    memosync: Program, short: Path, tmp_path: Path
) -> None:
    made: Any = lt.bdecode(torrent_of(short))
    made[b"info"][b"private"] = 1  # BEP 27
    with Tracker() as tracker:
        torrent = tmp_path / "private.torrent"
        torrent.write_bytes(lt.bencode(made | {b"announce": tracker.udp_url.encode()}))
        peer = Peer(torrent.read_bytes(), tmp_path, short)
        wait_until(lambda: tracker.announces, "the seeder to announce itself")
        memosync("fetch", torrent)
        peer.session.remove_torrent(peer.handle)

        public = memosync("share", "--public", "last")
        private = memosync("share", "last")
        by_file, by_link = memosync.on(tmp_path / "B" / "Memos"), memosync.on(tmp_path / "C" / "Memos")

        assert "warning: nobody can fetch “Their talk” by this link" in public.err
        assert f"memosync share {only(memosync)['id']} without --public" in public.err
        assert "nobody can fetch" not in private.err
        by_link("fetch", public.out.strip(), "--timeout", "2s", code=SwarmError.exit_code)
        by_link("fetch", private.out.strip())
        by_file("fetch", torrent)
        assert bytes_of(by_file) == bytes_of(by_link) == short.read_bytes()


def test_a_magnet_brings_it_by_its_tracker(memosync: Program, short: Path, tmp_path: Path) -> None:
    sharer = memosync.on(tmp_path / "Theirs")
    with Tracker() as tracker:
        sharer("record", short)
        link = sharer("share", "last", "--tracker", tracker.http_url).out.strip()
        wait_until(lambda: tracker.announces, "the seeder to announce itself")

        memosync("fetch", re.sub(r"&x\.pe=[^&]*", "", link))

    assert bytes_of(sharer) == bytes_of(memosync)


def test_who_comes_to_a_tracker_after_us_is_found_by_asking_again(
    memosync: Program, theirs: Shared, ended: Ended
) -> None:
    [address] = re.findall(r"x\.pe=([^&]*)", theirs.links[0])
    host, _, port = address.rpartition(":")
    with Tracker() as tracker:
        fetching = ended(memosync.start("fetch", f"{without_peers(theirs.links[0])}&tr={tracker.udp_url}"))
        wait_until(lambda: tracker.announces, "the tracker to be asked")

        tracker.strangers.append((host, int(port)))

        assert 0 == fetching.wait(60)


def test_who_is_not_up_yet_at_the_address_in_the_link_is_called_until_he_is(
    memosync: Program, seeder: Peer, sound: Path, ended: Ended
) -> None:
    interface = f"127.0.0.1:{seeder.session.listen_port()}"
    seeder.session.apply_settings({"listen_interfaces": ""})
    wait_until(lambda: not seeder.session.is_listening(), "the seeder to be deaf")
    fetching = ended(memosync.start("fetch", seeder.link, text=True))
    assert fetching.stderr
    for line in fetching.stderr:
        if "Connection refused" in line:  # ten seconds on: libtorrent alone gives an address up after three attempts
            break

    seeder.session.apply_settings({"listen_interfaces": interface})

    assert 0 == fetching.wait(60)
    assert bytes_of(memosync) == sound.read_bytes()


def test_a_torrent_file_that_is_not_there_is_a_usage_error(memosync: Program) -> None:
    result = memosync("fetch", "no.torrent", code=UsageError.exit_code)

    assert len(errors(result.err)) == 1
    assert "no.torrent" in result.err


def test_a_torrent_comes_out_of_a_pipe_and_by_an_address_too(
    memosync: Program, seeder: Peer, sound: Path, tmp_path: Path
) -> None:
    with Tracker() as tracker:
        tracker.strangers.append(("127.0.0.1", seeder.session.listen_port()))
        torrent = tmp_path / "memo"
        torrent.write_bytes(torrent_of(sound, announce=tracker.udp_url.encode()))
        command = f"{' '.join(PROGRAM)} fetch"
        ways = f"{command} <(cat {torrent}) file://{torrent} /dev/stdin < {torrent}; {command} - < <(cat {torrent})"

        run = subprocess.run(["bash", "-c", ways], env=memosync.environment, capture_output=True, text=True, timeout=60)

    assert [only(memosync)["id"]] * 4 == run.stdout.splitlines(), run.stderr
    assert bytes_of(memosync) == sound.read_bytes()


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_pipe_that_nobody_writes_into_hears_ctrl_c(
    memosync: Program, tmp_path: Path, ended: Ended, form: str
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    fetching = ended(memosync.start("fetch", form.format(pipe)))
    wait_until(lambda: has_open(fetching.pid, pipe), "it to open the pipe")

    fetching.send_signal(signal.SIGINT)

    assert 130 == fetching.wait(60)


def test_standard_input_that_does_not_end_hears_ctrl_c(memosync: Program, ended: Ended) -> None:
    here, there = os.pipe()
    os.write(there, b"magnet:?")
    fetching = ended(memosync.start("fetch", "-", stdin=here))
    wait_until(lambda: not select.select([here], [], [], 0)[0], "it to read what there is")

    fetching.send_signal(signal.SIGINT)

    assert 130 == fetching.wait(60)
    os.close(here)
    os.close(there)


def test_a_page_is_the_link_in_it(memosync: Program, short: Path, tmp_path: Path) -> None:
    memo, file = memosync("record", short).out, tmp_path / "memo.html"
    link = memosync(
        "share", "last", "--public", "--page", file, "--tracker", "ws://127.0.0.1:9", "--no-seed"
    ).out.strip()

    fetched = [memosync("fetch", file, f"file://{file}").out, memosync("fetch", "-", stdin=file.read_bytes()).out]

    assert [memo * 2, memo] == fetched
    assert link == page.link_in(file.read_text())


def test_links_are_read_as_people_paste_them(memosync: Program, theirs: Shared) -> None:
    first, second = theirs.links
    wrapped = "\n".join(first[at : at + 70] for at in range(0, len(first), 70))
    escaped = second.replace("&", "&amp;")

    from_a_file = memosync("fetch", "-", stdin=f"{wrapped}\n<{escaped}>\n".encode("utf-16")).lines
    typed = memosync("fetch", f"“{escaped}”.", quote(first, safe=""), wrapped, f"{wrapped}\n{escaped}").lines

    one, other = (memo["id"] for memo in theirs.memos)
    assert [one, other] == from_a_file
    assert [other, one, one, one, other] == typed


@pytest.mark.parametrize("options", [[], ["--info"]])
def test_a_link_that_names_nobody_is_not_waited_for(memosync: Program, options: list[str]) -> None:
    links = [40 * "a", f"magnet:?xt=urn:btih:{40 * 'a'}&tr=udp://tracker.example:1&x.pe=192.0.2.1:6881"]

    result = memosync("fetch", *links, *options, "--timeout", "1h", code=SwarmError.exit_code)

    assert len(errors(result.err)) == 2
    assert 2 == result.err.count("names nobody")
    assert 2 == result.err.count("memosync: hint: --network public")
    assert not list(memosync.library.glob(".memosync/incoming/*"))


def test_where_there_is_no_network_that_is_said_and_not_that_nobody_is_on(memosync: Program) -> None:
    memosync.under = [
        "unshare",
        "--user",
        "--map-root-user",
        "--net",
        "sh",
        "-c",
        'ip link set lo up && exec "$@"',
        "sh",
    ]
    memosync.environment["MEMOSYNC_NETWORK"] = "public"
    link = f"magnet:?xt=urn:btih:{40 * 'b'}&tr=udp://203.0.113.1:6969"

    said = memosync("fetch", link, "--timeout", "2s", code=SwarmError.exit_code).err

    assert said.endswith("memosync: hint: this machine is in no network: connect it to one, then type the same again\n")


def test_what_a_shell_left_of_a_link_is_known_again(memosync: Program, theirs: Shared) -> None:
    said = "it is all that a shell leaves of a link without quotes; memosync fetch alone asks for the whole link"
    cut = f"magnet:?xt=urn:btih:{40 * 'a'}"

    refused = memosync("fetch", cut, "--timeout", "1h", code=SwarmError.exit_code)

    assert f"memosync: {cut}: {said}\n" in refused.err
    for link, stdin in ((f"{cut}&tr=", ""), ("-", cut), (40 * "a", "")):
        assert said not in memosync.run("fetch", link, "--timeout", "1h", stdin=stdin).err


def test_a_torrent_file_that_names_nobody_is_not_waited_for(memosync: Program, sound: Path, tmp_path: Path) -> None:
    torrent = tmp_path / "memo.torrent"
    torrent.write_bytes(torrent_of(sound))

    for _ in range(2):
        memosync("fetch", torrent, "--timeout", "1h", code=SwarmError.exit_code)


def test_who_names_nobody_is_not_refused_for_what_is_here_already(memosync: Program, sound: Path) -> None:
    torrent = metainfo.read(torrent_of(sound))
    arrived = memosync.library / ".memosync" / "incoming" / torrent.infohash
    arrived.mkdir(parents=True)
    (arrived / "torrent").write_bytes(torrent.data)
    (arrived / "memo.webm").write_bytes(sound.read_bytes())

    memosync("fetch", torrent.infohash)

    assert bytes_of(memosync) == sound.read_bytes()


def test_a_key_is_not_said_again(memosync: Program) -> None:
    key = "mfrggzdfmztwq2lknnwg23tpoa"
    links = [f"{40 * 'a'}.{key}", f"magnet:?xt=urn:btih:{40 * 'a'}&x.key={key}"]

    result = memosync("fetch", *links, code=SwarmError.exit_code)

    assert len(errors(result.err)) == 2
    assert key not in result.err


def test_padding_behind_the_file_is_none_of_it(memosync: Program, sound: Path, tmp_path: Path) -> None:
    size = sound.stat().st_size
    entry = lt.create_file_entry("Folder/Their talk.webm", size)
    padding = lt.create_file_entry("Folder/.pad/1", -size % PIECE, lt.file_storage.flag_pad_file)
    made = lt.create_torrent([entry, padding], PIECE, lt.create_torrent.v1_only)
    (tmp_path / "Folder").mkdir()
    os.link(sound, tmp_path / "Folder" / "Their talk.webm")
    lt.set_piece_hashes(made, str(tmp_path))
    torrent = lt.bencode(made.generate())
    peer = Peer(torrent, tmp_path, tmp_path / "Folder" / "Their talk.webm")

    result = memosync("fetch", "--info", "--json", peer.link)
    memosync("fetch", peer.link)

    assert size == json.loads(result.out)["size"]
    assert only(memosync)["title"] == "Their talk"
    assert bytes_of(memosync) == sound.read_bytes()
    assert [] == list(memosync.library.rglob(".pad"))

    other = memosync.on(tmp_path / "Other")
    other("fetch", memosync("share", "last").out.strip())  # from its stored torrent, whose padding is on no disk
    assert memosync("check").code == 0
    assert bytes_of(other) == sound.read_bytes()


def test_a_name_that_ends_like_a_word_is_no_kind_of_file(memosync: Program, sound: Path, tmp_path: Path) -> None:
    names = ["Call with Dr.Kim", "About Node.js"]
    peers = [Peer(torrent_of(sound, name, PIECE * 2**at), tmp_path, sound) for at, name in enumerate(names)]

    memosync("fetch", *(peer.link for peer in peers))

    assert {memo["title"] for memo in memos(memosync)} == set(names)


def share_link(*links: str) -> str:
    """Write a link as the browser app does."""
    return "https://audio-memos.example/share?" + "&".join(f"seeds={quote(link, safe='')}" for link in links)


def test_a_share_link_of_the_browser_app_brings_all_its_seeds(memosync: Program, theirs: Shared) -> None:
    result = memosync("fetch", share_link(*theirs.links))

    assert {memo["id"]: memo["infohash"] for memo in memos(memosync)} == {
        memo["id"]: memo["infohash"] for memo in theirs.memos
    }
    assert result.lines == [memo["id"] for memo in theirs.memos]


def test_dash_reads_a_link_a_line(memosync: Program, theirs: Shared) -> None:
    result = memosync("fetch", "-", stdin="\n".join(["", *reversed(theirs.links), "  "]))

    assert result.lines == [memo["id"] for memo in reversed(theirs.memos)]


def test_one_that_fails_does_not_stop_the_others(memosync: Program, theirs: Shared) -> None:
    dead, bad = "magnet:?xt=urn:btih:" + 40 * "a", "magnet:?dn=nothing"
    links = [theirs.links[0], bad, dead, theirs.links[1]]

    result = memosync("fetch", *links, "--timeout", "1s", code=TorrentError.exit_code)

    assert result.lines == [memo["id"] for memo in theirs.memos]
    found = errors(result.err)
    assert [line.removeprefix("memosync: error: ").partition(": ")[0] for line in found] == [bad, dead]


def test_one_bad_seed_of_a_share_link_does_not_stop_the_others(memosync: Program, theirs: Shared) -> None:
    link = share_link("magnet:?xt=urn:nothing", "magnet:?xt=urn:btih:" + 40 * "b", theirs.links[0])

    result = memosync("fetch", link, "--timeout", "1s", code=TorrentError.exit_code)

    assert result.lines == [theirs.memos[0]["id"]]
    assert len(errors(result.err)) == 2


def test_what_is_here_already_is_named_and_no_socket_is_opened(memosync: Program, seeder: Peer, tmp_path: Path) -> None:
    first = memosync("fetch", seeder.link)
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-qq", "-e", "trace=socket", "-o", str(trace), *PROGRAM, "fetch"]

    again = subprocess.run(
        [*command, seeder.link], env=memosync.environment, capture_output=True, text=True, timeout=60
    )

    assert (again.returncode, again.stdout) == (0, first.out)
    assert re.search("^memosync: fetched: “Their talk”, ", first.err, re.MULTILINE)
    assert re.search("^memosync: already here: “Their talk”, ", again.stderr, re.MULTILINE)
    assert "socket(" not in trace.read_text()
    assert len(memos(memosync)) == 1


def test_what_is_here_already_and_was_altered_is_called_so(memosync: Program, seeder: Peer) -> None:
    memosync("fetch", seeder.link)
    path = Path(memos(memosync)[0]["path"])
    right = path.read_bytes()
    path.write_bytes(bad := altered(right))

    said = memosync("fetch", seeder.link).err

    assert "already here" in said
    assert f"{path.name} was altered; move it away and fetch again" in said
    assert path.read_bytes() == bad, "it is somebody's work"
    path.unlink()
    assert "altered" not in memosync("fetch", seeder.link).err
    assert path.read_bytes() == right


def test_what_was_shared_from_here_is_here_already(theirs: Shared) -> None:
    assert theirs.program("fetch", theirs.links[1]).out.strip() == theirs.memos[1]["id"]


def kept(memosync: Program, peer: Peer) -> int:
    """Count the bytes of the whole pieces that are on the disk, of what a peer gives."""
    there = b"".join(file.read_bytes() for file in memosync.library.glob(".memosync/incoming/*/memo.webm"))
    begins = range(0, len(peer.data), PIECE)
    return PIECE * sum(there[at : at + PIECE] == peer.data[at : at + PIECE] for at in begins)


def begin(memosync: Program, ended: Ended, peer: Peer, *options: str) -> subprocess.Popen[str]:
    """Start a fetch that stands still after a part of it."""
    peer.is_alone()
    lost = peer.given - kept(memosync, peer)
    peer.limit(1)
    process = ended(memosync.start("fetch", peer.link, *options, text=True))
    for _ in range(4):  # it may have begun two pieces, where blocks do not come in their order
        peer.give(PIECE)
        with contextlib.suppress(pytest.fail.Exception):
            wait_until(lambda: peer.given - kept(memosync, peer) - lost <= PIECE, "all but a piece on the disk", 2)
            return process
    pytest.fail("it never stands still within a piece")


def assert_resumes(memosync: Program, peer: Peer, sound: Path, interruptions: int = 1) -> None:
    """Run the same command again: new bytes at once, and no more than one piece fetched twice each time.

    At once is 0.3 s on a quiet machine, and more on a busy one; on libtorrent's defaults it would be a minute.
    """
    peer.is_alone()
    before = peer.given
    peer.limit(0)
    started = time.monotonic()
    again = memosync.start("fetch", peer.link, text=True)
    wait_until(lambda: peer.given > before, "the first new byte")
    waited = time.monotonic() - started
    out, err = again.communicate(timeout=60)

    assert again.returncode == 0, err
    assert out == f"{only(memosync)['id']}\n"
    assert bytes_of(memosync) == sound.read_bytes()
    assert waited < 20
    assert peer.given - sound.stat().st_size <= PIECE * interruptions
    assert staged(memosync) == []


def test_after_kill_9_the_same_command_resumes(memosync: Program, seeder: Peer, sound: Path, ended: Ended) -> None:
    process = begin(memosync, ended, seeder)
    process.kill()
    process.wait()

    assert_resumes(memosync, seeder, sound)


def dead(memosync: Program) -> list[str]:
    """Give the rows of `check` that are about what was not fetched whole."""
    return [line for line in memosync("check").lines if "memosync fetch" in line]


def test_what_nobody_serves_any_more_is_one_row_that_says_what_to_type_and_is_dropped_by_it(
    memosync: Program, seeder: Peer, ended: Ended
) -> None:
    process = begin(memosync, ended, seeder)
    infohash = str(seeder.handle.info_hashes().v1)
    running = memosync("rm", "--purge", "--force", infohash, code=UsageError.exit_code).err
    process.kill()
    process.wait()

    (row,) = dead(memosync)

    severity, name, text = row.split("\t")
    assert (severity, infohash.startswith(name), len(name)) == ("note", True, 12)
    said = r"“Their talk”: \S+ kB of 3\d\d kB arrived, nothing new since \S+ \S+; "
    assert re.fullmatch(rf"{said}memosync fetch with its link goes on, memosync rm --purge {name} drops it", text)
    assert "a fetch of “Their talk” is running\nmemosync: hint: end that first" in running
    no_trash = memosync("rm", name, code=UsageError.exit_code)
    assert f"hint: memosync rm --purge {name}\n" in no_trash.err
    assert staged(memosync)
    dropped = memosync("rm", "--purge", "--force", name)
    assert (dropped.lines, staged(memosync), dead(memosync)) == ([infohash], [], [])
    assert "dropped: “Their talk”; memosync fetch with its link begins anew" in dropped.err


def test_where_a_fetch_was_killed_before_anything_came_nothing_is_left(memosync: Program, ended: Ended) -> None:
    process = ended(memosync.start("fetch", f"magnet:?xt=urn:btih:{40 * 'b'}&tr=http://127.0.0.1:9/announce"))
    wait_until(lambda: list(memosync.library.glob(".memosync/incoming/*")), "it to begin")
    assert memosync("list").out == ""
    assert list(memosync.library.glob(".memosync/incoming/*"))  # it is at it
    process.kill()
    process.wait()

    assert (dead(memosync), list(memosync.library.glob(".memosync/incoming/*"))) == ([], [])


def test_after_a_timeout_the_same_command_resumes(memosync: Program, seeder: Peer, sound: Path, ended: Ended) -> None:
    started = time.monotonic()
    process = begin(memosync, ended, seeder, "--timeout", "4s")

    silent = time.monotonic()
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (SwarmError.exit_code, "")
    assert 4 < time.monotonic() - started
    assert time.monotonic() - silent < 20  # a busy machine has other things to do
    assert len(errors(err)) == 1
    assert GOES_ON in err
    assert staged(memosync)
    assert_resumes(memosync, seeder, sound)


def test_a_signal_ends_it_and_the_same_command_resumes(
    memosync: Program, seeder: Peer, sound: Path, ended: Ended
) -> None:
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        process = begin(memosync, ended, seeder)
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out) == (code, "")
        assert "Traceback" not in err
        assert f"what arrived is kept; {GOES_ON}" in err

    assert_resumes(memosync, seeder, sound, interruptions=3)


@pytest.mark.parametrize("known", ["nothing", "the torrent"])
@pytest.mark.parametrize("end", ["a timeout", "a signal"])
def test_where_nothing_arrived_nothing_is_said_to_be_kept(
    memosync: Program, tmp_path: Path, ended: Ended, known: str, end: str
) -> None:
    nobody, there = "http://127.0.0.1:9/announce", tmp_path / "a memo.torrent"
    there.write_bytes(torrents.torrent(torrents.info(), announce=nobody))
    link = f"magnet:?xt=urn:btih:{40 * 'b'}&tr={nobody}" if known == "nothing" else str(there)
    process = ended(memosync.start("fetch", link, "--timeout", "2s" if end == "a timeout" else "1h", text=True))
    if end == "a signal":
        wait_until(lambda: list(memosync.library.glob(".memosync/incoming/*")), "it to begin")
        process.send_signal(signal.SIGINT)

    out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (SwarmError.exit_code if end == "a timeout" else 130, "")
    assert ("kept" in err, GOES_ON in err) == (False, False)
    assert known == "the torrent" or not list(memosync.library.glob(".memosync/incoming/*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_to_all_of_it_while_the_memo_is_looked_into_throws_nothing_away(
    memosync: Program, seeder: Peer, tmp_path: Path, ended: Ended, number: signal.Signals
) -> None:
    sign = tmp_path / "looks"
    memosync.meddle(LOOKS_LONG.format(sign=str(sign)))
    process = ended(memosync.start("fetch", seeder.link, text=True, start_new_session=True))
    wait_until(sign.exists, "the memo to be looked into")

    os.killpg(process.pid, number)  # as the terminal does, or who ends a service
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (0, f"{only(memosync)['id']}\n"), err


def test_an_interrupt_wins_over_other_failures(memosync: Program, seeder: Peer, ended: Ended) -> None:
    seeder.limit(20_000)
    process = ended(memosync.start("fetch", "magnet:?dn=nothing", seeder.link, text=True))
    wait_until(lambda: seeder.given > 0, "bytes to go over")

    process.send_signal(signal.SIGINT)

    assert process.wait(10) == 130


def test_the_timeout_begins_again_with_every_new_byte(memosync: Program, seeder: Peer) -> None:
    seeder.limit(60_000)  # five seconds for all of it

    memosync("fetch", seeder.link, "--timeout", "4s")

    assert only(memosync)


@pytest.mark.parametrize("what", ["a port where nobody listens", "a tracker that is silent"])
def test_without_peers_it_ends_in_time(memosync: Program, what: str) -> None:
    link = "magnet:?xt=urn:btih:" + 40 * "a"
    with Tracker(mode="silent") as silent:
        link += {"a port where nobody listens": "&x.pe=127.0.0.1:9999"}.get(what, f"&tr={silent.udp_url}")
        started = time.monotonic()
        result = memosync("fetch", link, env={"MEMOSYNC_TIMEOUT": "1s"}, code=SwarmError.exit_code)

    assert 1 < time.monotonic() - started < 20  # a busy machine starts slowly
    assert result.out == ""
    (error,) = errors(result.err)
    assert "nothing new in 1 s" in error


def test_what_it_waits_for_is_said_after_a_second_and_every_answer_after_ten(
    memosync: Program, ended: Ended, tmp_path: Path
) -> None:
    with Tracker(mode="silent") as silent, Tracker() as empty, Tracker(mode="garbage") as garbage:
        link = "magnet:?xt=urn:btih:" + 40 * "a" + "&x.pe=127.0.0.1:9999"
        link += f"&tr={silent.udp_url}&tr={empty.http_url}&tr={garbage.http_url}"
        started = time.monotonic()
        process = ended(memosync.start("fetch", link, text=True))
        assert process.stderr

        first, first_at = process.stderr.readline(), time.monotonic() - started
        second, second_at = process.stderr.readline(), time.monotonic() - started

    assert "waiting for" in first
    assert 1 <= first_at < 20  # a busy machine starts slowly
    assert 10 <= second_at < 30
    answers = dict(part.split(": ", 1) for part in second.partition("(")[2].rstrip(")\n").split("; "))
    assert answers[f"http://127.0.0.1:{empty.port}"] == "0 peers"
    assert re.search("no answer|timed out", answers[f"udp://127.0.0.1:{silent.port}"])
    assert answers[f"http://127.0.0.1:{garbage.port}"] not in ("", "no answer yet", "0 peers")
    assert "refused" in answers["127.0.0.1:9999"].lower()
    assert (answers["DHT"], answers["LAN"]) == ("off", "off")
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130


def test_info_names_it_and_downloads_nothing(memosync: Program, seeder: Peer, sound: Path) -> None:
    link = seeder.link + "&dn=What%20they%20call%20it"

    memosync.under = without_temporary(memosync.library.parent)
    rows = memosync("fetch", "--info", link).out
    memosync.under = []
    (line,) = memosync("fetch", "--info", "--json", link).lines

    infohash, size = str(seeder.handle.info_hashes().v1), sound.stat().st_size
    assert rows.rstrip("\n").split("\t") == [infohash, str(size), "Their talk.webm", "What they call it"]
    assert json.loads(line) == {
        "infohash": infohash,
        "size": size,
        "name": "Their talk.webm",
        "title": "What they call it",
    }
    assert seeder.given == 0
    assert not memosync.library.exists() or (memos(memosync), staged(memosync)) == ([], [])


def test_info_of_a_torrent_file_needs_nobody(memosync: Program, sound: Path, tmp_path: Path) -> None:
    torrent = tmp_path / "their.torrent"
    torrent.write_bytes(torrent_of(sound))

    fields = memosync("fetch", "--info", torrent, timeout=30).out.rstrip("\n").split("\t")

    assert fields[1:] == [str(sound.stat().st_size), "Their talk.webm", "Their talk"]


def test_on_a_terminal_info_is_for_people(memosync: Program, sound: Path, tmp_path: Path) -> None:
    torrent = tmp_path / "their.torrent"
    torrent.write_bytes(torrent_of(sound))
    whole = memosync("fetch", "--info", torrent).out.split("\t")[0]
    window = Terminal([*PROGRAM, "fetch", "--info", str(torrent)], memosync.environment, columns=60)
    text = window.end()
    window.close()

    assert text == f"{whole[:8]}…  {format_size(sound.stat().st_size)}  Their talk"


def test_more_than_max_size_is_refused_and_nothing_of_it_stays(memosync: Program, seeder: Peer) -> None:
    result = memosync("fetch", seeder.link, "--max-size", "200k", code=TorrentError.exit_code)
    memosync("fetch", seeder.link, env={"MEMOSYNC_MAX_SIZE": "200k"}, code=TorrentError.exit_code)

    assert len(errors(result.err)) == 1
    assert "200 kB" in result.err
    assert (staged(memosync), memos(memosync)) == ([], [])
    assert memosync("fetch", seeder.link, "--max-size", "400k").lines


def test_seed_serves_it_on(memosync: Program, seeder: Peer, sound: Path, tmp_path: Path) -> None:
    memosync("fetch", seeder.link, "--seed")
    seeder.fall_silent()

    link = memosync("share", "last", "--no-seed").out.strip()
    third = memosync.on(tmp_path / "Third")
    third("fetch", link)

    assert [row.split("\t")[1] for row in memosync("seed", "--status").lines] == ["seeding"]
    assert bytes_of(third) == sound.read_bytes()


def test_without_seed_it_is_not_served(memosync: Program, seeder: Peer) -> None:
    memosync("fetch", seeder.link)

    assert memosync("list").out.split("\t")[4] == "f"
    assert memosync.start("seed", "--status").wait(60) == 8


def test_json_is_what_list_says(memosync: Program, seeder: Peer) -> None:
    first = memosync("fetch", seeder.link, "--json").lines
    again = memosync("fetch", seeder.link, "--json").lines

    assert first == again == memosync("list", "--json").lines


def test_two_fetches_of_one_link_at_once_make_one_memo(
    memosync: Program, seeder: Peer, sound: Path, ended: Ended
) -> None:
    first = begin(memosync, ended, seeder)
    second = ended(memosync.start("fetch", seeder.link, text=True))
    assert second.stderr
    waits = second.stderr.readline()
    seeder.limit(0)

    outs = [process.communicate(timeout=60)[0] for process in (first, second)]

    assert [process.returncode for process in (first, second)] == [0, 0]
    assert outs[0] == outs[1] == f"{only(memosync)['id']}\n"
    assert "another fetch" in waits
    assert seeder.given == sound.stat().st_size


def test_while_it_fetches_it_gives_to_others(memosync: Program, sound: Path, tmp_path: Path, ended: Ended) -> None:
    (tmp_path / "Their talk.webm").write_bytes(sound.read_bytes()[: 4 * PIECE])
    half = Peer(torrent_of(sound), tmp_path)
    with Tracker() as tracker:
        ended(memosync.start("fetch", f"{half.link}&tr={tracker.udp_url}"))
        wait_until(lambda: half.given == 4 * PIECE and tracker.announces, "half of it, and an announce")
        leecher = Peer(torrent_of(sound), tmp_path / "leecher")
        leecher.handle.connect_peer(("127.0.0.1", tracker.announces[0].port))

        wait_until(lambda: leecher.taken > PIECE, "something from one who has not all of it")


def fetch_on_small_disk(memosync: Program, tmp_path: Path, link: str, before: str, meanwhile: str) -> tuple[str, str]:
    """Fetch into a library on a disk of 600 kB, where other things are put before and meanwhile; it must be exit 6."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o size=600k memos "$0" && cd "$0" && {before} && {{ ({meanwhile}) & exec "$@"; }}'
    own_mounts = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, str(disk)]
    environment = memosync.on(disk / "Memos").environment
    done = subprocess.run(
        [*own_mounts, *PROGRAM, "fetch", link], env=environment, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == LibraryError.exit_code, done.stderr
    assert len(errors(done.stderr)) == 1
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def test_a_disk_that_is_slow_loses_nothing(memosync: Program, seeder: Peer, sound: Path) -> None:
    slow = ["-e", "trace=pwrite64,pwritev,pwritev2", "-e", "inject=pwrite64,pwritev,pwritev2:delay_enter=200000"]
    memosync.under = ["strace", "-f", "-qq", "-o", "/dev/null", *slow]

    memosync("fetch", seeder.link)

    assert bytes_of(memosync) == sound.read_bytes()


def test_a_disk_that_refuses_what_was_verified_is_exit_6_and_the_same_command_resumes(
    memosync: Program, seeder: Peer, sound: Path
) -> None:
    refuses = ["-e", "trace=pwritev,pwrite64", "-e", "inject=pwritev,pwrite64:error=ENOSPC:delay_enter=200000"]
    memosync.under = ["strace", "-f", "-qq", "-o", "/dev/null", *refuses]

    refused = memosync("fetch", seeder.link, code=LibraryError.exit_code)
    memosync.under = []

    assert (refused.out, refused.err.count("memosync: error: ")) == ("", 1)
    assert "no space left" in refused.err.lower()
    assert memosync("fetch", seeder.link).out
    assert bytes_of(memosync) == sound.read_bytes()


def test_a_disk_that_is_too_small_is_exit_6_before_anything_is_fetched(
    memosync: Program, seeder: Peer, tmp_path: Path
) -> None:
    out, err = fetch_on_small_disk(memosync, tmp_path, seeder.link, "head -c 400000 /dev/zero > other", ":")

    assert out == ""
    assert "room" in err


def test_a_disk_that_fills_meanwhile_is_exit_6(memosync: Program, seeder: Peer, tmp_path: Path) -> None:
    seeder.limit(30_000)
    wait = "for _ in $(seq 1000); do ls Memos/.memosync/incoming/*/torrent && break; sleep 0.05; done >/dev/null 2>&1"

    out, err = fetch_on_small_disk(memosync, tmp_path, seeder.link, ":", f"{wait}; cat /dev/zero > other 2>/dev/null")

    assert out == ""
    assert "no space left" in err.lower()


def test_a_bar_is_drawn_on_a_terminal(memosync: Program, seeder: Peer) -> None:
    seeder.limit(30_000)
    terminal = Terminal([*PROGRAM, "fetch", seeder.link], memosync.environment, columns=100)
    try:
        bar = re.compile(r"\d+ kB of \d+ kB.* [1-9]\d? kB/s .* 1 peer")
        terminal.wait_for(lambda screen: any(map(bar.search, screen.lines)), "a part of it, a rate, and from how many")
        terminal.wait_for(lambda screen: re.search(r" \d+ (s|min) left ", screen.text), "how long it will still take")
        seeder.limit(0)
        terminal.end()
    finally:
        terminal.close()

    assert terminal.screen.scrolled == 0
    assert terminal.screen.lines[-1] == only(memosync)["id"]


@pytest.mark.parametrize(("command", "question"), [("fetch", "paste a link:"), ("rm --purge last", "for ever?")])
def test_ctrl_c_where_something_is_asked_ends_the_line(
    memosync: Program, sound: Path, command: str, question: str
) -> None:
    memosync("record", sound)
    columns: list[int] = []
    while 0 not in columns and len(columns) < 8:  # what is written while the kernel handles a ^C it may throw away
        window = Terminal([*PROGRAM, *command.split()], memosync.environment)
        window.wait_for(lambda screen: question in screen.text, "the question")
        window.type("\x03")
        window.end(130)
        window.close()
        columns.append(window.screen.column)

    assert columns[-1] == 0


def test_ctrl_c_on_a_terminal_is_130(memosync: Program, seeder: Peer) -> None:
    seeder.limit(20_000)
    terminal = Terminal([*PROGRAM, "fetch", seeder.link], memosync.environment)
    try:
        terminal.wait_for(lambda screen: "%" in screen.text, "the bar")

        terminal.type("\x03")

        terminal.end(130, seconds=10)
    finally:
        terminal.close()


def test_nothing_is_drawn_where_there_is_no_terminal(memosync: Program, seeder: Peer) -> None:
    result = memosync("fetch", seeder.link)

    assert "\x1b" not in result.err
    assert "\r" not in result.err
    assert len(result.err.splitlines()) == 1
