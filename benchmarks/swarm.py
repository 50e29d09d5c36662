"""Fetching beside other clients, and what a seeder costs."""

from __future__ import annotations

import filecmp
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from material import ask, environment, many, memo_of, memosync
from measure import US, Bar, Contestants, Measures, Prepare, Row, cpu, memory, run, wait_until
from startup import short_memo

from memosync import magnet
from memosync.seeder.state import read_state

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from support.beginning import beginning_of
from support.tracker import Tracker

PEERS = Path(__file__).parent / "peers"
SO_RCVBUFFORCE = 33  # Linux, socket(7)
SCRIPT, ARIA, WEBTORRENT, HTTP = "libtorrent script", "aria2c", "webtorrent-cli", "curl (HTTP)"
PRIVATE, PUBLIC, SYNCING, COPY = (
    "memosync, private",
    "memosync --public",
    "libtorrent script that syncs",
    "copy (dd, fsync)",
)


def fetching(size: int) -> Prepare:
    @contextmanager
    def prepare(directory: Path, quick: bool) -> Iterator[Contestants]:
        """Share a memo, and let everybody fetch it by one magnet, with the seeder's address and a tracker in it."""
        env = environment(directory)
        webtorrent = _webtorrent()
        home, target = directory / "home", directory / "fetched"
        memo = ask(home, "record", memo_of(size, directory), "-t", "Memo", environment=env)
        with Tracker() as tracker, _serving(directory) as port:
            try:
                link = ask(home, "share", memo, "--public", "--tracker", tracker.http_url, environment=env)
                private = ask(home, "share", memo, environment=env)
                original = next(home.glob("*.webm"))
                served = directory / "memo.webm"
                shutil.copyfile(original, served)

                def fetch(*command: object) -> Callable[[], Measures]:
                    def fetch_once() -> Measures:
                        shutil.rmtree(target, ignore_errors=True)
                        target.mkdir()
                        measures = run(command, env)
                        if not any(filecmp.cmp(path, original, shallow=False) for path in target.glob("*.webm")):
                            raise RuntimeError(f"{command[0]} did not bring the memo")
                        return measures

                    return fetch_once

                aria = ("aria2c", "--seed-time=0", "--quiet", "--enable-dht=false", f"--dir={target}")
                yield {
                    US: fetch(*memosync(target, "fetch", link)),
                    PRIVATE: fetch(*memosync(target, "fetch", private, "--max-size", "2G")),  # it counts twice
                    SCRIPT: fetch(sys.executable, PEERS / "fetch.py", link, target),
                    SYNCING: fetch(sys.executable, PEERS / "fetch.py", link, target, "--sync"),
                    ARIA: fetch(*aria, link),
                    WEBTORRENT: fetch(webtorrent, "download", link, "--out", target, "--quiet"),
                    HTTP: fetch("curl", "-s", "-o", target / "memo.webm", f"http://127.0.0.1:{port}/memo.webm"),
                }
            finally:
                run(memosync(home, "seed", "--stop"), env)

    return prepare


def sharing(size: int) -> Prepare:
    @contextmanager
    def prepare(directory: Path, quick: bool) -> Iterator[Contestants]:
        """Give a memo its first link, of either kind, and copy its file to the disk."""
        env = environment(directory)
        home, fresh = directory / "home", directory / "fresh"
        ask(home, "record", memo_of(size, directory), "-t", "Memo", environment=env)
        original = next(home.glob("*.webm"))

        def share(*options: str) -> Callable[[], Measures]:
            def share_once() -> Measures:
                shutil.rmtree(fresh, ignore_errors=True)
                shutil.copytree(home, fresh)
                os.sync()
                return run(memosync(fresh, "share", "last", "--no-seed", *options), env)

            return share_once

        def copy() -> Measures:
            os.sync()
            return run(("dd", f"if={original}", f"of={directory / 'copy'}", "bs=1M", "conv=fsync", "status=none"), env)

        yield {US: share(), PUBLIC: share("--public"), COPY: copy}

    return prepare


def linking(*, starting: bool) -> Prepare:
    """Share a memo for the first time, from typed to returned: where a seeder runs, or with its start."""

    @contextmanager
    def prepare(directory: Path, quick: bool) -> Iterator[Contestants]:
        env, home = environment(directory), directory / "home"
        memo = short_memo(directory)

        def share() -> Measures:
            ask(home, "record", "--again", memo, environment=env)
            if starting:
                run(memosync(home, "seed", "--stop"), env)
            return run(memosync(home, "share", "last"), env)

        run(memosync(home, "seed", "--detach"), env)
        try:
            yield {US: share}
        finally:
            run(memosync(home, "seed", "--stop"), env)

    return prepare


@contextmanager
def resuming(directory: Path, quick: bool) -> Iterator[Contestants]:
    """Kill a fetch of 20 MB half-way, and time the same command to its end, which is after its first new byte."""
    env = environment(directory)
    home, target = directory / "home", directory / "fetched"
    memo = ask(home, "record", memo_of(20_000_000, directory), "-t", "Memo", environment=env)
    ask(home, "share", memo, "--no-seed", environment=env)
    incoming = target / ".memosync" / "incoming"

    def arrived() -> int:
        return sum(512 * path.stat().st_blocks for path in incoming.glob("*/memo.webm"))

    def resume() -> Measures:
        shutil.rmtree(target, ignore_errors=True)
        run(memosync(home, "seed", "--detach", "--up", "10M"), env)
        try:
            link = ask(home, "share", memo, environment=env)
            process = subprocess.Popen([str(part) for part in memosync(target, "fetch", link)], env=env)
            try:
                wait_until(lambda: arrived() > 8_000_000, "half of it")
            finally:
                process.kill()
                process.wait()
            if arrived() > 18_000_000:
                raise RuntimeError("it was not killed half-way")
            run(memosync(home, "seed", "--stop"), env)
            run(memosync(home, "seed", "--detach"), env)
            return run(memosync(target, "fetch", link), env)
        finally:
            run(memosync(home, "seed", "--stop"), env)

    yield {US: resume}


@contextmanager
def refusing(directory: Path, quick: bool) -> Iterator[Contestants]:
    """Fetch with a wrong key from a peer that has the first piece alone, and time from when it has given it."""
    env = environment(directory)
    home = directory / "home"
    memo = ask(home, "record", memo_of(20_000_000, directory), "-t", "Memo", environment=env)
    link = magnet.parse(ask(home, "share", memo, "--no-seed", environment=env))
    inner = home / ".memosync"
    form, torrent = inner / "sealed" / link.infohash, inner / "torrents" / f"{link.infohash}.torrent"
    with beginning_of(form, torrent, directory) as (port, piece, given):
        wrong = replace(link, key=bytes(16), peers=(f"127.0.0.1:{port}",))

        def refuse() -> Measures:
            before = given()
            process = subprocess.Popen(
                [str(part) for part in memosync(directory / "other", "fetch", wrong)], env=env, stderr=subprocess.PIPE
            )
            wait_until(lambda: given() >= before + piece, "the first piece to be given")
            began = time.perf_counter()
            _, said = process.communicate(timeout=60)
            if b"not the one of this memo" not in said:
                raise RuntimeError(f"it was not refused: {said[-300:]!r}")
            return {"s after the first piece": time.perf_counter() - began}

        yield {US: refuse}


def seeding(number: int) -> Prepare:
    @contextmanager
    def prepare(directory: Path, quick: bool) -> Iterator[Contestants]:
        """Start the seeder on a library that shares so many memos, wait until all are announced, and watch it idle."""
        env = environment(directory)
        library = directory / "Memos"
        seconds = 4 if quick else 20
        with Tracker() as tracker:
            with suppress(PermissionError):  # else some announces are lost, and told again much later
                tracker.udp.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 2**25)
            many(library, number, short_memo(directory), tracker=tracker.udp_url)

            def idle(pid: int) -> Measures:
                _wait_until_announced(tracker, number)
                before, began = cpu(pid), time.monotonic()
                time.sleep(seconds)
                spent = cpu(pid) - before
                idle = 100 * spent / (time.monotonic() - began)
                return {**memory(pid), "% CPU idle": idle, "announced": len(_announced(tracker))}

            def ours() -> Measures:
                tracker.announces.clear()
                ready = run(memosync(library, "seed", "--detach"), env)["s"]
                try:
                    state = read_state(library / ".memosync")
                    assert state
                    return {"s until ready": ready, **idle(state.pid), "keeper PSS MB": memory(state.keeper)["PSS MB"]}
                finally:
                    run(memosync(library, "seed", "--stop"), env)

            def script() -> Measures:
                tracker.announces.clear()
                sign = directory / "ready"
                sign.unlink(missing_ok=True)
                torrents = read_index(library)
                began = time.perf_counter()
                command: list[str | Path] = [sys.executable, PEERS / "seed.py", library, tracker.udp_url, sign]
                process = subprocess.Popen(command, stdin=subprocess.PIPE, env=env)
                try:
                    assert process.stdin
                    process.stdin.write(torrents)
                    process.stdin.close()
                    wait_until(sign.exists, "the script seeds")
                    return {"s until ready": time.perf_counter() - began, **idle(process.pid)}
                finally:
                    process.kill()
                    process.wait()

            yield {US: ours, SCRIPT: script}

    return prepare


def _announced(tracker: Tracker) -> set[bytes]:
    return {heard.infohash for heard in list(tracker.announces)}


def _wait_until_announced(tracker: Tracker, number: int) -> None:
    """Return when every memo was announced, or no other one for some seconds, and the dust has settled."""
    heard, last = 0, time.monotonic()
    while heard < number and time.monotonic() - last < 5:
        if (now := len(_announced(tracker))) > heard:
            heard, last = now, time.monotonic()
        time.sleep(0.1)
    time.sleep(2)


def read_index(library: Path) -> bytes:
    """Give `infohash file` lines of what is shared."""
    from memosync import index

    memos = index.loads((library / "index.toml").read_text("utf-8")).memos
    return "".join(f"{memo.infohash} {memo.file}\n" for memo in memos).encode()


@contextmanager
def _serving(directory: Path) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, PEERS / "files.py", directory], stdout=subprocess.PIPE)
    assert process.stdout
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def _webtorrent() -> Path:
    program = PEERS / "node_modules" / ".bin" / "webtorrent"
    if not program.exists():  # its native WebRTC cannot be built everywhere, and is not needed here
        options = "--ignore-scripts --no-package-lock --no-audit --no-fund --silent"
        subprocess.run(["npm", "install", *options.split()], cwd=PEERS, check=True)
    return program


def _seeder_row(number: int, ready: float, megabytes: float, idle: float) -> Row:
    bars = [Bar("s until ready", ready), Bar("PSS MB", megabytes), Bar("% CPU idle", idle)]
    return Row(f"seed-{number}", f"seeder with {number:,} shared memos", seeding(number), bars, repeat=3)


ROWS = [
    Row(
        "fetch-200k",
        "fetch of 200 KB by magnet",
        fetching(200_000),
        [
            Bar("s", 0.30),
            Bar("s", 0.15, more_than=SCRIPT),
            Bar("s", 10, faster_than=ARIA),
            Bar("s", 3, faster_than=WEBTORRENT),
        ],
        repeat=7,
        quick=2,
    ),
    Row("fetch-20m", "fetch of 20 MB by magnet", fetching(20_000_000), [Bar("s", 1.3, times=SCRIPT)], repeat=5),
    Row(
        "fetch-500m",
        "fetch of 500 MB by magnet",
        fetching(500_000_000),
        [Bar("s", 1.3, times=SYNCING), Bar("s", 3, times=HTTP)],
        repeat=3,
    ),
    Row("fetch-resumed", "the rest of 20 MB after kill -9", resuming, [Bar("s", 2)]),
    Row("fetch-wrong-key", "a wrong key", refusing, [Bar("s after the first piece", 0.5)], repeat=5),
    Row("share-14m", "first link of 14 MB", sharing(14_000_000), [Bar("s", 0.3, more_than=PUBLIC)], repeat=5, quick=3),
    Row("share-500m", "first link of 500 MB", sharing(500_000_000), [Bar("s", 3, times=COPY)]),
    Row("share-running", "`share` where a seeder runs", linking(starting=False), [Bar("s", 0.15)], repeat=15, quick=5),
    Row("share-starting", "`share` that starts one", linking(starting=True), [Bar("s", 0.45)], repeat=15, quick=5),
    _seeder_row(1, 0.6, 40, 0.3),
    _seeder_row(1_000, 1.0, 80, 1),
    _seeder_row(10_000, 5, 150, 2),
]
