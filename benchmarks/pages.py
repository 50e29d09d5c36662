"""First sound in a browser: the page of a private memo beside that of the same memo shared publicly.

Both are opened from the disk on another machine, at 1 MB/s, and what is measured begins with the page.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from browsers import environment_of, machines
from material import memo_of, memosync
from measure import US, Bar, Contestants, Measures, Row, run, wait_until
from playwright.sync_api import Error

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from support.browser import Chromium
from support.visitor import LISTEN, as_soon_as_it_is_there

PUBLIC, SIZE = "public page", 20_000_000


def _first_sound(browser: Chromium, place: Path) -> Callable[[], Measures]:
    """Open a page in a new tab, press play at once, and listen."""

    def listen() -> Measures:
        tab = browser.open("about:blank")
        try:
            tab.page.context.grant_permissions(["local-network-access"])
            tab.page.add_init_script(as_soon_as_it_is_there(f"({LISTEN})(); play.click()"))
            tab.page.goto(f"file://{place}")
            wait_until(lambda: tab.run("() => heard.first"), "sound", 30)
            return {"s until sound": tab.run("() => heard.first")}
        except Error as error:
            raise RuntimeError(f"a page did not play: {error.message}") from error
        finally:
            tab.close()

    return listen


@contextmanager
def _prepare(directory: Path, quick: bool) -> Iterator[Contestants]:
    """Share a memo in both forms, each with a page."""
    with machines(directory) as (home, tracker, browser, _):
        env = environment_of(directory)
        ours = [*home.command, *memosync(directory / "home")]
        run([*ours, "record", memo_of(SIZE, directory)], env)
        run([*ours, "seed", "--detach", "--up", "1M"], env)
        try:
            private, public = directory / "private.html", directory / "public.html"
            share = [*ours, "share", "last", "--tracker", tracker.url, "--page"]
            run([*share, public, "--public"], env)
            run([*share, private], env)
            yield {US: _first_sound(browser, private), PUBLIC: _first_sound(browser, public)}
        finally:
            run([*ours, "seed", "--stop"], env)


ROWS = [
    Row(
        "page-private",
        "first sound of 20 MB at 1 MB/s, private page",
        _prepare,
        [Bar("s until sound", 3), Bar("s until sound", 1, times=PUBLIC)],
    )
]
