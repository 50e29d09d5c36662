"""Every link, torrent, WebM and index is an enemy until parsed: refused in one line, or tamed; nothing else happens.

What is refused is looked at twice: case by case, where it is parsed, for the class of the error, which is the exit
code; and all of a kind by the program itself, which says a line for each and leaves nothing behind.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import hostile
from support.hostile import payloads, torrents
from support.hostile.swarm import Swarm, Victim
from support.hostile.target import SECONDS, Target, steering, tree
from support.program import PROGRAM
from support.sound import noise
from support.terminal import Terminal
from support.tracker import Tracker

from memosync import index, magnet
from memosync.audio import webm
from memosync.console import one_line
from memosync.errors import AudioError, LibraryError, TorrentError, UsageError
from memosync.library.store import Library
from memosync.memo import Memo
from memosync.torrent import metainfo

HERE = Path(hostile.__file__).parent
HASH = "a0a384eaa0a384eaa0a384eaa0a384eaa0a384ea"
MEMO_NAME = re.compile(r"\d{4}-\d\d-\d\d-(?:[\w-]+-)?[0-9a-z]{8}\.webm")
OURS = re.compile(
    rf"{MEMO_NAME.pattern}|index\.toml|\.memosync/(lock|index\.[\d-]+\.toml|torrents/[0-9a-f]{{40}}\.torrent)"
)


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(tmp_path / "around")


@pytest.fixture
def victim() -> Iterator[Victim]:
    victim = Victim()
    yield victim
    victim.close()


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Swarm:
    return Swarm(tmp_path_factory.mktemp("swarm"))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A memo without a word in it."""
    return payloads.webm(tmp_path_factory.mktemp("good") / "memo.webm")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A place to make payloads in."""
    (tmp_path / "made").mkdir()
    return tmp_path / "made"


def fetched(target: Target, *links: str, stdin: bytes = b"") -> list[Memo]:
    """Fetch memos and give them as the index has them; insist on a library in which every name is ours."""
    ids = target.run("fetch", *links, stdin=stdin, code=0).lines
    memos = Library(target.library).index().memos

    assert ids == [memo.id for memo in memos]
    assert [] == [name for name in target.files() if not OURS.fullmatch(name)]
    assert [] == target.incoming()
    for memo in memos:
        assert MEMO_NAME.fullmatch(memo.file)
        assert 0 == (target.library / memo.file).stat().st_mode & 0o111
        assert [] == steering("".join([memo.title, *memo.tags]), "")
        assert [] == steering(memo.description, "\n\t")
    return list(memos)


# torrents


@pytest.mark.parametrize("name", torrents.REFUSED)
def test_a_torrent_that_is_none_of_a_memo_is_an_error_of_torrents(name: str) -> None:
    with pytest.raises(TorrentError) as caught:
        metainfo.read(torrents.REFUSED[name])

    assert one_line(str(caught.value)) == str(caught.value)


def test_torrents_that_are_none_of_a_memo_are_refused_one_by_one(target: Target) -> None:
    enemies = torrents.REFUSED | torrents.UNWANTED
    names = [f"{number}.torrent" for number in range(len(enemies))]
    for name, data in zip(names, enemies.values(), strict=True):
        (target.here / name).write_bytes(data)

    errors = target.refuses("fetch", *names, code=TorrentError.exit_code, count=len(names))

    assert names == [line.split(": ")[2] for line in errors]
    assert [] == target.files()
    assert [] == target.incoming()


def test_a_torrent_file_of_a_terabyte_is_not_read(target: Target) -> None:
    with open(target.here / "enemy.torrent", "wb") as file:
        file.truncate(10**12)

    target.refuses("fetch", "enemy.torrent", code=TorrentError.exit_code)


def test_a_terabyte_the_user_allows_is_refused_for_the_disk(target: Target) -> None:
    (target.here / "enemy.torrent").write_bytes(torrents.TERABYTE)

    target.refuses("fetch", "enemy.torrent", "--max-size", "9000G", code=LibraryError.exit_code)

    assert [] == target.files()


def test_hostile_names_become_no_paths_and_no_control_sequences(target: Target, swarm: Swarm, good: bytes) -> None:
    metadata = torrents.good(good, str(target.outside / "canary.webm"))
    links = {name: swarm.seed(good, info) for name, info in metadata.items()}

    memos = fetched(target, *links.values())

    assert [magnet.parse(link).infohash for link in links.values()] == [memo.infohash for memo in memos]
    assert {good} == {(target.library / memo.file).read_bytes() for memo in memos}


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_hostile_names_are_shown_harmless(target: Target, swarm: Swarm, good: bytes, form: list[str]) -> None:
    metadata = torrents.good(good, str(target.outside / "canary.webm"))
    links = [swarm.seed(good, metadata[name]) for name in ("escape", "newline", "bidi", "bad UTF-8")]

    result = target.run("fetch", "--info", *form, *links, code=0)

    assert len(links) == len(result.lines)
    assert [] == target.files()


def test_hostile_names_do_not_reach_the_terminal(target: Target, swarm: Swarm, good: bytes) -> None:
    link = swarm.seed(good, torrents.good(good, "")["escape"])

    for arguments in (["fetch", link], ["list"], ["fetch", "--info", link]):
        terminal = Terminal([*PROGRAM, *arguments], target.program.environment, columns=120, cwd=target.here)
        terminal.end()
        terminal.close()

        assert "owned" in terminal.wrote
        assert [] == [sequence for sequence in ("\x1b]", "\x1b[2J", "\x9b") if sequence in terminal.wrote]


def test_what_a_torrent_wants_called_is_not_called(target: Target, swarm: Swarm, good: bytes, victim: Victim) -> None:
    tracker = Tracker()
    host, port = swarm.address.split(":")
    metadata = torrents.info(good, name="called.webm")
    swarm.seed(good, metadata)
    tracker.swarms[bytes.fromhex(torrents.infohash(torrents.bencode(metadata)))] = {(host, int(port)): 0}
    url = f"http://127.0.0.1:{victim.port}"
    outer: dict[str, Any] = {
        "announce": tracker.http_url,
        "announce-list": [[tracker.http_url], [f"{url}/delete?all"]],
        "httpseeds": [url],
        "nodes": [["127.0.0.1", victim.port]],
        "url-list": [f"{url}/memo.webm"],
    }
    (target.here / "enemy.torrent").write_bytes(torrents.torrent(metadata, **outer))

    fetched(target, "enemy.torrent")
    tracker.close()

    assert 0 == victim.calls()


# links

LINKS: dict[str, str | bytes] = {
    "no xt": "magnet:?dn=memo",
    "no parameters": "magnet:?",
    "an empty xt": "magnet:?xt=",
    "39 digits": f"magnet:?xt=urn:btih:{HASH[:39]}",
    "41 digits": f"magnet:?xt=urn:btih:{HASH}0",
    "no digits at all": "magnet:?xt=urn:btih:" + "z" * 40,
    "digits of another script": "magnet:?xt=urn:btih:" + "٣" * 40,
    "base32 with a 1": "magnet:?xt=urn:btih:" + "1" * 32,
    "another hash": f"magnet:?xt=urn:sha1:{HASH}",
    "a path for a hash": "magnet:?xt=urn:btih:../../../../../../../../../../../../etc",
    "NUL in the hash": f"magnet:?xt=urn:btih:{HASH[:39]}\0",
    "v2 alone": "magnet:?xt=urn:btmh:1220" + "ab" * 32,
    "a feed": "magnet:?xs=urn:btpk:" + "ab" * 32 + "&xt=urn:btpk:" + "ab" * 32,
    "only xs of a file": "magnet:?xs=file:///etc/passwd",
    "only a web seed": "magnet:?ws=http://127.0.0.1:1/memo.webm",
    "broken percent signs": "magnet:?xt=%zz%&%%%=%1b%5b2J",
    "escape sequences": "\x1b]0;owned\x07\x1b[2J\x9b31m\u202ememo",
    "not UTF-8": b"magnet:?xt=urn:btih:\xff\xfe",
    "a word": "memo",
    "an option": "--help",
    "a path": "../../../../etc/group.memo",
    "a file": "file:///etc/passwd",
    "a page": "https://example.org/",
    "a torrent on the web": "http://127.0.0.1:1/memo.torrent",
    "a torrent on the web in capitals": "HTTP://127.0.0.1:1/memo.torrent",
    "another protocol": "ftp://example.org/memo.torrent?x",
    "a share link without a memo": "https://example.org/share?seeds=",
    "a share link of garbage": "https://example.org/share?seeds=%00%1b%5b2J%ff",
    "a share link of a file": "https://example.org/share?seeds=/etc/passwd",
    "a share link of a torrent here": "https://example.org/share?seeds=private.torrent",
    "a share link of a share link": f"https://example.org/share?seeds=https://example.org/share?seeds={HASH}",
    "a share link of a file by its address": "https://example.org/share?seeds=file:///etc/passwd",
    "a file behind an address": "https://example.org/#file:///etc/passwd",
    "a link of zeros": "magnet:?xt=urn:btih:" + "0" * 40,
    "zeros alone": "0" * 40,
    "a private link": f"{HASH}.{'k' * 26}",
    "a private magnet": f"magnet:?xt=urn:btih:{HASH}&x.key={'k' * 26}",
    "entities that are none": f"magnet:?xt=urn:btih:{HASH[:39]}&#0;&#x1b;&#xd800;&#1114112;&quot;&#27;]0;owned&#7;",
    "escape sequences percent-encoded": "magnet%3A%3Fxt%3D%1b%5d0%3bowned%07",
    "a share link on no host": f"https://[::1/share?seeds={HASH}",
    "sixty thousand parameters": f"magnet:?xt=urn:btih:{HASH}" + "&x=1" * 60_000,
    "one parameter of 900 kB": "magnet:?xt=" + "urn:btih:" * 100_000,
    "a name of 900 kB": "magnet:?" + "a.1" * 300_000 + "=1",
    "a megabyte long": f"magnet:?xt=urn:btih:{HASH}&dn=" + "x" * 1_000_000,
}


@pytest.mark.parametrize("name", LINKS)
def test_a_link_to_no_memo_is_an_error_of_torrents(name: str) -> None:
    link = LINKS[name]

    text = link.decode(errors="replace") if isinstance(link, bytes) else link

    with pytest.raises(TorrentError) as caught:
        list(map(magnet.parse, magnet.split(text)))

    assert one_line(str(caught.value)) == str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8:surrogateescape", "utf-8:strict"])
def test_links_to_no_memo_are_refused_one_by_one(target: Target, good: bytes, encoding: str) -> None:
    (target.here / "private.torrent").write_bytes(torrents.torrent(torrents.info(good)))
    lines = b"\n\n".join(link if isinstance(link, bytes) else link.encode() for link in LINKS.values())
    environment = {"PYTHONIOENCODING": encoding}

    target.refuses("fetch", "-", stdin=lines, code=TorrentError.exit_code, count=len(LINKS), env=environment)

    assert [] == target.files()
    assert [] == target.incoming()


def test_nothing_but_files_and_pipes_is_opened(target: Target) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(target.here / "socket"))
        listening.listen()
        places = [
            "/dev/zero",
            "/dev/tty",
            "file:///dev/zero",
            "socket",
            f"file://{target.here}/socket",
            "nothing.torrent",
        ]

        target.refuses("fetch", *places, code=UsageError.exit_code, count=len(places))
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_a_pipe_without_an_end_is_not_read_to_it(target: Target) -> None:
    with subprocess.Popen(["cat", "/dev/zero"], stdout=subprocess.PIPE) as endless:
        assert endless.stdout
        place = f"/dev/fd/{endless.stdout.fileno()}"
        errors = subprocess.run(
            [*PROGRAM, "fetch", place],
            env=target.program.environment,
            pass_fds=[endless.stdout.fileno()],
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        endless.kill()

    assert TorrentError.exit_code == errors.returncode
    assert "too large" in errors.stderr


def test_links_without_an_end_are_not_read_to_it(target: Target) -> None:
    target.refuses("fetch", "-", stdin=b"magnet:?dn=x\n" * 2_000_000, code=TorrentError.exit_code)


def test_a_page_of_an_enemy_is_refused(target: Target) -> None:
    link = '<!doctype html><a id="magnet" href="%s">'
    pages = {
        "none": "",
        "file": "file:///etc/passwd",
        "page": f"https://x/#{HASH}",
        "zeros": "0" * 40,
        "other": "x" * 10**6,
    }
    for name, value in pages.items():
        (target.here / f"{name}.html").write_text(link % value)
    (target.here / "another.html").write_text(f"<html><a href='magnet:?xt=urn:btih:{HASH}'>")

    target.refuses("fetch", *(f"{name}.html" for name in (*pages, "another")), code=TorrentError.exit_code, count=6)

    assert [] == target.files()


def test_what_a_link_wants_called_is_not_called(target: Target, swarm: Swarm, good: bytes, victim: Victim) -> None:
    url = f"http://127.0.0.1:{victim.port}/memo.webm?delete=all"
    sources = {name: url for name in ("ws", "as", "xs", "mt", "kt", "ws.1", "tr", "tr.1")}

    fetched(target, swarm.seed(good, torrents.info(good, name="ws.webm"), **sources, **{"xs.1": "file:///etc/passwd"}))

    assert 0 == victim.calls()


def test_of_ten_thousand_trackers_twenty_are_asked(target: Target, swarm: Swarm, good: bytes, victim: Victim) -> None:
    link = swarm.seed(good, torrents.info(good, name="trackers.webm"))
    trackers = (f"tr=udp://127.0.0.1:{victim.port}/{number}" for number in range(10_000))

    fetched(target, "-", stdin="&".join([link, *trackers]).encode())

    assert 1 <= victim.calls() <= 20


def test_of_ten_thousand_addresses_eight_are_called(target: Target, swarm: Swarm, good: bytes) -> None:
    link = swarm.seed(good, torrents.info(good, name="addresses.webm"))
    victims = [Victim() for _ in range(30)]
    others = (f"127.0.{number // 250}.{number % 250 + 1}:6881" for number in range(10_000))
    peers = [*(f"127.0.0.1:{victim.port}" for victim in victims), *others]

    fetched(target, "-", stdin="&x.pe=".join([link, *peers]).encode())
    calls = [bool(victim.calls()) for victim in victims]
    for victim in victims:
        victim.close()

    assert 1 <= sum(calls) <= 8


# payloads


@pytest.mark.parametrize("name", payloads.REFUSED)
def test_a_payload_that_is_no_memo_is_an_error_of_audio(made: Path, victim: Victim, name: str) -> None:
    path = made / "memo.webm"
    path.write_bytes(payloads.REFUSED[name](made / "made", f"http://127.0.0.1:{victim.port}"))

    with pytest.raises(AudioError) as caught:
        webm.probe(path)

    assert one_line(str(caught.value)) == str(caught.value)
    assert 0 == victim.calls()


@pytest.mark.parametrize("crime", ["os.abort()", "bytes(2**31)", "[0 for _ in iter(int, 1)]"])
def test_a_payload_that_breaks_ffmpeg_breaks_a_child_alone(tmp_path: Path, crime: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(  # of the child, too
        f"""
import os, resource
from memosync.audio import webm
limit = resource.setrlimit
resource.setrlimit = lambda what, most: limit(what, (2, 2) if what == resource.RLIMIT_CPU else most)
probe = webm.probe
webm.probe = lambda path: {crime} if path.name == "bad" else probe(path)
"""
    )
    code = """
import sys
from pathlib import Path
from memosync.audio import sandbox
from memosync.errors import AudioError
for path in sys.argv[1:]:
    try:
        print(sandbox.probe(Path(path)).words.title)
    except AudioError as error:
        print(error)
"""
    good = noise(tmp_path / "good.webm", 1, "-c:a", "libopus", "-metadata", "title=Good")
    command = [sys.executable, "-c", code, "bad", str(good), "bad", str(good)]
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)

    ended = r"FFmpeg ended while it looked into it \((Aborted|exit 1|CPU time limit exceeded|Killed)\)\n"
    assert re.fullmatch(f"({ended}Good\n){{2}}", run.stdout), run.stdout + run.stderr


def test_payloads_that_are_no_memos_are_refused_one_by_one(
    target: Target, swarm: Swarm, made: Path, victim: Victim
) -> None:
    url = f"http://127.0.0.1:{victim.port}"
    links = [swarm.seed(make(made / "made", url)) for make in payloads.REFUSED.values()]

    errors = target.refuses("fetch", *links, code=TorrentError.exit_code, count=len(links))

    assert [link[:40] for link in links] == [line.removeprefix("memosync: error: ")[:40] for line in errors]
    assert [] == target.files()
    assert [] == target.incoming()
    assert 0 == victim.calls()


def test_a_truncated_memo_is_as_long_as_what_there_is_of_it(target: Target, swarm: Swarm, made: Path) -> None:
    [memo] = fetched(target, swarm.seed(payloads.truncated(made)))

    assert 0.3 < memo.duration < 0.9


def test_a_duration_that_lies_is_not_believed(target: Target, swarm: Swarm, made: Path) -> None:
    lies = [360_000.0, -1.0, 0.0, float("nan"), float("inf")]

    memos = fetched(target, *(swarm.seed(payloads.of_duration(made, seconds)) for seconds in lies))

    assert [pytest.approx(1, abs=0.05)] * len(lies) == [memo.duration for memo in memos]


def test_escape_sequences_in_tags_are_not_obeyed(target: Target, swarm: Swarm, made: Path) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e one\nmemosync: error: forged\r\ntwo"
    tags = {"title": evil, "DESCRIPTION": evil, "KEYWORDS": f"{evil},x", "MEMOSYNC_ID": "../../x"}

    fetched(target, swarm.seed(payloads.tagged(made, **tags)))

    for form in ([], ["--json"]):
        assert 1 == len(target.run("list", *form, code=0).lines)


def test_huge_tags_are_cut(target: Target, swarm: Swarm, made: Path) -> None:
    tags = dict.fromkeys(("title", "DESCRIPTION", "ARTIST"), "x" * 2_000_000) | {"KEYWORDS": "x,y" * 500_000}

    [memo] = fetched(target, swarm.seed(payloads.tagged(made, **tags)))

    assert len(memo.title) <= 500
    assert (target.library / "index.toml").stat().st_size < 100_000


def test_a_date_of_an_enemy_does_not_break_the_index(target: Target, swarm: Swarm, made: Path) -> None:
    offsets = ["2026-01-01T00:00:00+01:02:03", "2026-01-01T00:00:00+23:59:59.5"]
    dates = [*offsets, "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "9999-12-31", "99999-01-01"]

    fetched(target, *(swarm.seed(payloads.tagged(made, title=date, DATE_RECORDED=date)) for date in dates))

    assert len(dates) == len(target.run("list", code=0).lines)


def test_an_id_that_is_taken_takes_nothing(target: Target, swarm: Swarm, made: Path) -> None:
    links = [swarm.seed(payloads.tagged(made, title=title, MEMOSYNC_ID="7k3f9x2a")) for title in ("mine", "enemy's")]

    memos = fetched(target, *links)

    assert ["7k3f9x2a", "mine", "enemy's"] == [memos[0].id, *(memo.title for memo in memos)]
    assert "7k3f9x2a" != memos[1].id


# the index

INDEXES: dict[str, bytes] = {path.stem: path.read_bytes() for path in sorted((HERE / "index").glob("*.toml"))} | {
    "a megabyte of brackets": b"version = 1\nx = " + b"[" * 1_000_000,
    "a megabyte of closed brackets": b"version = 1\nx = " + b"[" * 500_000 + b"]" * 500_000,
    "tables nested deep": b"version = 1\nx = " + b"{a = " * 200_000,
    "a key of a megabyte": b"version = 1\n" + b".".join([b"a"] * 500_000) + b" = 1\n",
    "a table of a megabyte": b"version = 1\n[" + b".".join([b"a"] * 500_000) + b"]\n",
    "a number of a megabyte": b"version = 1\nx = " + b"9" * 1_000_000,
    "a megabyte of zeros": bytes(1_000_000),
}


@pytest.mark.parametrize("name", INDEXES)
def test_an_index_that_cannot_be_trusted_is_an_error_of_the_library(tmp_path: Path, name: str) -> None:
    (tmp_path / "index.toml").write_bytes(INDEXES[name])

    with pytest.raises(LibraryError, match=r"index\.toml") as caught:
        Library(tmp_path).index()

    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "name",
    [
        "cut",
        "latin-1",
        "newer",
        "path-traversal",
        "path-escape",
        "equal-ids",
        "tables nested deep",
        "a megabyte of brackets",
    ],
)
def test_an_index_that_cannot_be_trusted_is_refused_and_left_alone(target: Target, good: bytes, name: str) -> None:
    target.library.mkdir()
    (target.library / "index.toml").write_bytes(INDEXES[name])
    (target.library / "2026-08-25-orphan-aaaaaaaa.webm").write_bytes(good)
    before = tree(target.library)

    target.refuses("list", code=LibraryError.exit_code)

    assert before == tree(target.library)


@pytest.mark.parametrize(
    "arguments",
    [
        ["share", "--all"],
        ["fetch", f"magnet:?xt=urn:btih:{HASH}"],
        ["fetch", "memo.torrent"],
        ["record", "sound.webm"],
        ["seed"],
        ["seed", "--detach"],
    ],
    ids=" ".join,
)
def test_no_verb_touches_a_library_with_a_broken_index(target: Target, good: bytes, arguments: list[str]) -> None:
    (target.here / "sound.webm").write_bytes(good)
    (target.here / "memo.torrent").write_bytes(torrents.torrent(torrents.info(good)))
    target.library.mkdir()
    (target.library / "index.toml").write_bytes(INDEXES["cut"])
    before = tree(target.library)

    target.refuses(*arguments, code=LibraryError.exit_code)

    assert before == tree(target.library)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_an_odd_index_is_listed_without_a_control_character(target: Target, form: list[str]) -> None:
    target.library.mkdir()
    (target.library / "index.toml").write_bytes((HERE / "odd.toml").read_bytes())

    [line] = target.run("list", *form, code=0).lines

    assert form or 7 == len(line.split("\t"))


@pytest.mark.parametrize("depth", [50, 200, 300, 440, 2000])
def test_a_nested_index_comes_back_as_it_was_or_is_a_library_error(depth: int) -> None:
    _comes_back("version = 1\nx = " + "[" * depth + "]" * depth)


def _comes_back(text: str) -> None:
    """Insist that what is read and written can be read again."""
    try:
        found = index.loads(text)
        written = index.dumps(found)
    except LibraryError:
        return

    assert found == index.loads(written)
