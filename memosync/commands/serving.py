"""Having the seeder serve memos, and waiting for what it says of them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from .. import seeder
from ..errors import LibraryError, SeederError
from ..library.store import Library
from ..memo import Memo
from ..network import Network
from ..stop import Stop
from .seed import Options, detach


def serve(library: Library, memos: Sequence[Memo], network: Network, *, stop: Stop, timeout: float = 60) -> None:
    """Have the seeder serve these memos, starting it where none runs; end when they can be fetched.

    SeederError when it cannot, LibraryError when one of them is damaged.
    """
    seen = library.index_time()
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        stop.check()
        state = seeder.read_state(library.private)
        if state is None and not seeder.is_running(library.private):
            try:
                state = detach(library, network, Options(), stop=stop)
            except SeederError:
                if not seeder.is_running(library.private):  # else somebody else's has just begun
                    raise
        if state and state.ready and state.seen >= seen:
            for memo in memos:
                swarm = state.swarms.get(memo.infohash) if memo.infohash else None
                if swarm and swarm.state == "damaged":
                    raise LibraryError(f"memo {memo.id} is not served: its file was altered", "bring the file back")
            return
        time.sleep(0.01)
    raise SeederError("the seeder does not answer", "memosync seed --stop, then share again")


def wait_until_delivered(library: Library, memos: Sequence[Memo], *, stop: Stop) -> None:
    """Wait until somebody has all of each memo; SeederError when the seeder ends before."""
    wanted = {memo.infohash for memo in memos}
    while wanted:
        stop.check()
        state = seeder.read_state(library.private)
        if state is None and not seeder.is_running(library.private):
            raise SeederError("the seeder ended before somebody had it", "memosync seed --detach starts it again")
        wanted -= {infohash for infohash, swarm in state.swarms.items() if swarm.delivered} if state else set()
        stop.wait(0.1)
