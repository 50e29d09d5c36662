"""Debian's Chromium on a host of a test's network, without a window, and tabs in it that are peers.

Playwright drives it through pipes, which lead into the namespace; nothing else does. Every tab is somebody else: it has
a profile of its own, and a process. Whatever waits has a deadline, and a browser that hangs is killed at it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import CDPSession, ConsoleMessage, Error, Page, Playwright, Route

from support.netns import Host

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless=new",  # the whole browser; Playwright's own option would take another one
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]
# The first two double the processes; the others are among Playwright's own, which these replace.
WITHOUT = [
    *("WebUIOmniboxPopup", "WebUIOmniboxAimPopup"),
    *(
        "AimEnabled",
        "DestroyProfileOnBrowserClose",
        "HttpsUpgrades",
        "MediaRouter",
        "OptimizationHints",
        "PaintHolding",
    ),
]
MDNS = "WebRtcHideLocalIpsWithMdns"
HERE = Path(__file__).parent
WEBTORRENT = HERE.parent.parent / "memosync/page/webtorrent/webtorrent.min.js"
SCRIPTS = {"tab.js": HERE / "tab.js", WEBTORRENT.name: WEBTORRENT}
ORIGIN = "http://tab.localhost/"  # nobody serves it: Playwright answers; a secure context, as https would be
PAGE = (
    '<!doctype html><meta charset="utf-8"><title>peer</title><link rel="icon" href="data:,">'
    '<input type="file"><script type="module" src="tab.js"></script>'
)
GRACE = 10  # seconds that a browser has beyond what a page was given


@dataclasses.dataclass(frozen=True)
class Arrived:
    """What a tab fetched, and when: in seconds since the magnet was added, but for `began`."""

    name: str
    size: int  # bytes
    sha256: str
    infohash: str
    began: float  # seconds from the opening of the tab until the magnet was added
    first_peer: float
    metadata: float
    done: float
    kind: str  # of the first connection: webrtc, webSeed


@dataclasses.dataclass(frozen=True)
class Seeded:
    """What a tab seeds."""

    magnet: str
    size: int  # bytes
    sha256: str
    infohash: str


class Tab:
    """A page that one person has open, usually one with WebTorrent."""

    def __init__(self, chromium: Chromium, page: Page) -> None:
        self.chromium = chromium
        self.page = page
        self.errors: list[str] = []  # that the page did not catch, or wrote to the console
        page.set_default_timeout(60_000)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def run(self, function: str, argument: object = None, timeout: float = 60) -> Any:
        """Call a JavaScript function in the page and give what it returns, or what its promise does.

        Playwright's Error when it throws, or is not done after `timeout` seconds.
        """
        late = f"new Promise((_, late) => setTimeout(() => late(new Error('not in {timeout} s')), {timeout * 1000}))"
        with self.chromium.watched(timeout):
            return self.page.evaluate(f"argument => Promise.race([({function})(argument), {late}])", argument)

    def wait_until(
        self, condition: str, what: str | Callable[[], str], seconds: float = 60, argument: object = None
    ) -> None:
        """Wait for a JavaScript expression, which may say `argument`; the page looks, for each question costs much."""
        again = "await new Promise(again => setTimeout(again, 20))"
        try:
            self.run(f"async argument => {{ while (!({condition})) {again} }}", argument, seconds)
        except Error as error:
            pytest.fail(f"{error.message}: {what if isinstance(what, str) else what()}")

    def add(self, magnet: str, *, stun: Sequence[str] = ()) -> None:
        """Begin to fetch with WebTorrent, and return at once."""
        self.run("([magnet, stun]) => peer.add(magnet, stun)", [magnet, list(stun)])

    def arrived(self, timeout: float = 30) -> Arrived:
        """Wait for what was added."""
        try:
            return Arrived(**self.run("() => peer.fetching", timeout=timeout))
        except Error as error:
            raise Error(f"{error.message}: {self.status()} {self.warnings()} {self.errors}") from error

    def fetch(self, magnet: str, timeout: float = 30, *, stun: Sequence[str] = ()) -> Arrived:
        """Fetch with WebTorrent, to the end."""
        self.add(magnet, stun=stun)
        return self.arrived(timeout)

    def seed(self, file: Path, name: str, *trackers: str, stun: Sequence[str] = ()) -> Seeded:
        """Seed a file with WebTorrent under a name of its own, as long as the tab is open."""
        self.page.set_input_files("input", file)
        blob = "document.querySelector('input').files[0]"
        return self._seeded(
            f"([name, trackers, stun]) => peer.seed({blob}, name, trackers, stun)", name, trackers, stun
        )

    def record(
        self, seconds: float, name: str, *trackers: str, timeslice: int = 100, stun: Sequence[str] = ()
    ) -> Seeded:
        """Seed the Blob that MediaRecorder makes of so many seconds, in slices of so many milliseconds."""
        record = f"await peer.record({seconds}, {timeslice})"
        function = f"async ([name, trackers, stun]) => peer.seed({record}, name, trackers, stun)"
        return self._seeded(function, name, trackers, stun)

    def _seeded(self, function: str, name: str, trackers: Sequence[str], stun: Sequence[str]) -> Seeded:
        return Seeded(**self.run(function, [name, list(trackers), list(stun)]))

    def status(self) -> list[dict[str, Any]]:
        """Tell of each swarm: infohash, progress, and the peers with kind, id and address."""
        status: list[dict[str, Any]] = self.run("() => peer.status()")
        return status

    def warnings(self) -> list[str]:
        """Give what WebTorrent said of trackers and peers."""
        warnings: list[str] = self.run("() => peer.warnings")
        return warnings

    def look(self, *, width: int = 1280, height: int = 800, dark: bool = False) -> None:
        """Change the size of the window, in CSS pixels, and what colours the person likes."""
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.emulate_media(color_scheme="dark" if dark else "light")

    def screenshot(self, path: Path) -> Path:
        """Take a picture of the whole page."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.chromium.watched(30):
            self.page.screenshot(path=path, full_page=True)
        return path

    def crash(self) -> None:
        """Kill the tab's process: nobody is told, no connection is closed."""
        session: CDPSession = self.page.context.new_cdp_session(self.page)
        self.page.on("crash", lambda page: page.close())  # which ends the waiting for an answer
        with self.chromium.watched(30), contextlib.suppress(Error):
            session.send("Page.crash")
        self.close()

    def close(self, *, goodbye: bool = False) -> None:
        """Close the tab as a person does; with `goodbye` WebTorrent leaves its swarms before."""
        if goodbye:
            self.run("() => peer.leave()")
        with self.chromium.watched(30), contextlib.suppress(Error):
            self.page.context.close()


class Chromium:
    """One browser on one host.

    Its peers tell each other the host's address; with `mdns`, as Chromium does it for whoever has not allowed the
    microphone, a name that only multicast DNS knows.
    """

    def __init__(self, playwright: Playwright, host: Host, directory: Path, mdns: bool = False) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.host = host
        self.directory = directory
        self.tabs: list[Tab] = []
        self.scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # short, for there will be sockets in it
        script, number = directory / "chromium", directory / "pid"
        script.write_text(f'#!/bin/sh\necho $$ > {number}\nexec {" ".join(host.command)} {CHROMIUM} "$@"\n')
        script.chmod(0o755)
        self.browser = playwright.chromium.launch(
            executable_path=script,
            headless=False,  # see FLAGS
            args=[*FLAGS, f"--disable-features={','.join(WITHOUT if mdns else [*WITHOUT, MDNS])}"],
            ignore_default_args=["--mute-audio"],
            env={
                "HOME": str(directory),
                "PATH": os.environ["PATH"],
                "TMPDIR": self.scratch.name,
                "XDG_RUNTIME_DIR": self.scratch.name,
            },
            downloads_path=directory,
            timeout=60_000,
        )
        self.pid = int(number.read_text())

    def open(self, url: str = "", *, magnet: str = "", timeout: float = 60) -> Tab:
        """Open a page in a new tab, a peer's unless it is another's (`file://` too), and wait until it is there.

        A peer that is given a magnet fetches it from the first moment on.
        """
        with self.watched(timeout):
            context = self.browser.new_context()
            if not url:
                context.grant_permissions(["local-network-access"])  # a site of the internet's has to ask
                context.route(f"{ORIGIN}**", _serve)
            tab = Tab(self, context.new_page())
            self.tabs.append(tab)
            tab.page.goto(url or (f"{ORIGIN}#{quote(magnet)}" if magnet else ORIGIN), timeout=timeout * 1000)
            if not url:
                tab.page.wait_for_function("window.peer", timeout=timeout * 1000)
        return tab

    @contextlib.contextmanager
    def watched(self, seconds: float) -> Iterator[None]:
        """Kill the browser when this takes much longer: not all that waits in Playwright has a deadline."""
        watch = threading.Timer(seconds + GRACE, self.kill)
        watch.start()
        try:
            yield
        finally:
            watch.cancel()

    def kill(self) -> None:
        """End it as a power cut does, with all its tabs."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """End it, and whatever it started."""
        with self.watched(10), contextlib.suppress(Error):
            self.browser.close()
        self.scratch.cleanup()


def _serve(route: Route) -> None:
    name = route.request.url.removeprefix(ORIGIN).partition("#")[0]
    if name in SCRIPTS:
        route.fulfill(path=SCRIPTS[name], content_type="text/javascript")
    else:
        route.fulfill(status=404 if name else 200, body="" if name else PAGE, content_type="text/html")


@contextlib.contextmanager
def browsers(playwright: Playwright, directory: Path) -> Iterator[Callable[..., Chromium]]:
    """Give what starts a browser on a host; all of them end with this."""
    started: list[Chromium] = []

    def start(host: Host, **options: bool) -> Chromium:
        started.append(Chromium(playwright, host, directory / f"browser-{len(started)}", **options))
        return started[-1]

    try:
        yield start
    finally:
        for chromium in started:
            chromium.close()
