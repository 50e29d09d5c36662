"""First sound in a browser: the page of a private memo beside that of the same memo shared publicly.

Both are opened from the disk on another machine, at 1 MB/s, and what is measured begins with the page. Each waits until
the seeder has nobody left from the one before: whose tab was just closed is met later when it is opened again.
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

from memosync.seeder.state import read_state

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from support.browser import Chromium
from support.visitor import LISTEN, as_soon_as_it_is_there

PUBLIC, SIZE = "public page", 20_000_000
FINELY = LISTEN.replace("4096", "256")  # samples: 5 ms
MET = """
const { send } = RTCDataChannel.prototype
RTCDataChannel.prototype.send = function (data) {
  window.met ??= performance.now() / 1000
  return send.call(this, data)
}
"""


def _first_sound(browser: Chromium, place: Path, is_alone: Callable[[], bool]) -> Callable[[], Measures]:
    """Open a page in a new tab when the seeder has no other, press play at once, and listen."""

    def listen() -> Measures:
        wait_until(is_alone, "the tab before to be gone", 30)
        tab = browser.open("about:blank")
        try:
            tab.page.context.grant_permissions(["local-network-access"])
            tab.page.add_init_script(MET + as_soon_as_it_is_there(f"({FINELY})(); play.click()"))
            tab.page.goto(f"file://{place}")
            wait_until(lambda: tab.run("() => heard.first"), "sound", 30)
            wait_until(lambda: not is_alone(), "the seeder to say that it has a tab", 30)
            met, first = tab.run("() => [met, heard.first]")
            return {"s until sound": first, "s from its first peer": first - met}
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

            def is_alone() -> bool:
                state = read_state(directory / "home" / ".memosync")
                return state is not None and not any(swarm.peers for swarm in state.swarms.values())

            yield {name: _first_sound(browser, page, is_alone) for name, page in ((US, private), (PUBLIC, public))}
        finally:
            run([*ours, "seed", "--stop"], env)


ROWS = [
    Row(
        "page-private",
        "first sound of 20 MB at 1 MB/s, private page",
        _prepare,
        [
            Bar("s until sound", 3),
            Bar("s until sound", 1, times=PUBLIC),
            Bar("s from its first peer", 0.05, more_than=PUBLIC),  # which leaves out how it was met, by chance
        ],
        repeat=7,
    )
]
