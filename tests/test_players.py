"""What others make of a finished memo: it plays and seeks in a browser as in a player."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from support.program import Program
from support.sound import noise

PAGE = """<!doctype html><audio id=a preload=auto src=memo.webm></audio><script>
const a = document.getElementById('a'), seen = {}
const tell = () => fetch('/seen', {method: 'POST', body: JSON.stringify(seen)})
a.onerror = () => { seen.error = a.error.message; tell() }
a.onloadedmetadata = () => {
  seen.duration = a.duration
  seen.seekable = a.seekable.end(0)
  a.currentTime = 7
}
a.onseeked = () => { seen.seeked = a.currentTime; a.play().catch(e => { seen.error = e.message; tell() }) }
a.ontimeupdate = () => { if (!a.paused && a.currentTime > 7.5) { seen.played = a.currentTime; a.pause(); tell() } }
</script>"""
CHROMIUM = [
    *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"),
    *("--autoplay-policy=no-user-gesture-required", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
]


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serve a directory, with ranges as a player asks for them, and take what the page has seen."""

    seen: Queue[dict[str, Any]]

    def do_GET(self) -> None:
        path = Path(self.directory) / self.path.strip("/")
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        begin, _, end = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
        start, stop = int(begin or 0), int(end or len(data) - 1) + 1
        self.send_response(206 if begin else 200)
        self.send_header("Content-Type", "audio/webm" if path.suffix == ".webm" else "text/html")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        self.wfile.write(data[start:stop])

    def do_POST(self) -> None:
        self.seen.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str, Queue[dict[str, Any]]]]:
    """A directory, its address on this machine, and what its pages tell."""
    seen: Queue[dict[str, Any]] = Queue()
    handler = type("SiteHandler", (Handler,), {"seen": seen})
    root = tmp_path / "site"
    root.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(root))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield root, f"http://127.0.0.1:{server.server_address[1]}", seen
        server.shutdown()


def test_a_memo_plays_and_seeks_in_chromium(
    memosync: Program, tmp_path: Path, site: tuple[Path, str, Queue[dict[str, Any]]]
) -> None:
    root, address, seen = site
    memosync("record", noise(tmp_path / "noise.wav", 10))
    memo = next(memosync.library.glob("*.webm"))
    shutil.copy(memo, root / "memo.webm")
    (root / "page.html").write_text(PAGE)
    profile = tmp_path / "profile"
    browser = subprocess.Popen(
        [*CHROMIUM, f"--user-data-dir={profile}", f"{address}/page.html"],
        env={**os.environ, "TMPDIR": str(tmp_path.parent)},  # a socket is made there, whose path has to be short
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        told = seen.get(timeout=60)
    finally:
        browser.kill()
        browser.wait()

    assert "error" not in told, told
    assert told["duration"] == pytest.approx(10, abs=0.1)
    assert told["seekable"] == pytest.approx(10, abs=0.1)
    assert told["seeked"] == pytest.approx(7, abs=0.1)
    assert told["played"] > 7.5
