"""share: from memos to links that work."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from .. import metainfo, seeder, webm
from ..errors import LibraryError, NotFoundError, SeederError, Stop, UsageError
from ..library import Library
from ..memo import Memo, MemoId, one_line, torrent_name
from ..network import Network, parse_tracker
from ..seeder import SeederState
from .edit import reword
from .linking import linker
from .opening import Tell
from .seed import Options, detach, seed
from .several import locked
from .status import refuse_another_network
from .torrents import kept_or_made

How = Literal["seeder", "no seeder", "foreground", "wait"]


def check_trackers(urls: Sequence[str]) -> None:
    """Insist that they are trackers; UsageError names the one that is not."""
    for url in urls:
        if not parse_tracker(url):
            raise UsageError(
                f"{one_line(url)[:100]!r} is not a tracker", "give udp://, http(s):// or ws(s)://HOST:PORT"
            )


def choose(library: Library, words: Sequence[str], *, everything: bool = False) -> list[Memo]:
    """Find every memo that is meant, each once, before anything is done to one of them."""
    memos = [memo for memo in library.index().memos if not memo.trashed] if everything else []
    memos += [library.find(word) for word in words]
    return list({memo.id: memo for memo in memos}.values())


def share(
    library: Library,
    memos: Sequence[Memo],
    network: Network,
    *,
    how: How = "seeder",
    trackers: Sequence[str] = (),
    stop: Stop,
    tell: Tell,
    answer: Callable[[str], None],
    log: Callable[[str], None] = lambda _line: None,
    on_state: Callable[[SeederState, int], None] = lambda _state, _served: None,
) -> None:
    """Answer a link for each memo as soon as it can be fetched there.

    With `foreground` serve here until `stop`; with `wait` end when somebody has all of each.
    """
    if how != "no seeder":
        refuse_another_network(library, network)
    tell("whoever has the link can listen, and a link cannot be called back")
    shared = _mark(library, memos, tuple(trackers))
    answered = False

    def answer_all() -> None:
        nonlocal answered
        answered = True
        for link in filter(None, map(linker(library, network), shared)):
            answer(link)

    def ready(state: SeederState, served: int) -> None:
        if state.ready and not answered:
            answer_all()
        on_state(state, served)

    if how == "foreground":
        seed(library, network, Options(), stop=stop, log=log, on_state=ready)
        return
    if how != "no seeder":
        serve(library, shared, network, stop=stop)
    answer_all()
    if how == "wait":
        _wait_until_delivered(library, shared, stop=stop)


def unshare(library: Library, memos: Sequence[Memo], *, tell: Tell) -> None:
    """Have memos served no longer; they stay, and so does their link for another time."""
    for memo in memos:
        library.update({memo.id: lambda memo: replace(memo, shared=False)})
        tell(f"{memo.id} is served no longer; who has it keeps it")


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
                state = detach(library, network)
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


def _wait_until_delivered(library: Library, memos: Sequence[Memo], *, stop: Stop) -> None:
    """Wait until somebody has all of each memo; SeederError when the seeder ends before."""
    wanted = {memo.infohash for memo in memos}
    while wanted:
        stop.check()
        state = seeder.read_state(library.private)
        if state is None and not seeder.is_running(library.private):
            raise SeederError("the seeder ended before somebody had it", "memosync seed --detach starts it again")
        wanted -= {infohash for infohash, swarm in state.swarms.items() if swarm.delivered} if state else set()
        stop.wait(0.1)


def _mark(library: Library, memos: Sequence[Memo], trackers: tuple[str, ...]) -> list[Memo]:
    """Freeze memos and mark them as shared, many at a time."""
    marked: dict[MemoId, Memo] = {}
    for batch in locked(library, memos):
        marked |= library.update({memo_id: _freeze(library, memo_id, trackers) for memo_id in batch})
    return [marked[memo.id] for memo in memos]


def _freeze(library: Library, memo_id: MemoId, trackers: tuple[str, ...]) -> Callable[[Memo], Memo]:
    """See that a locked memo's words are in its file and its torrent is kept; give the change to its entry."""
    memo = library.index().get(memo_id)
    if memo is None or memo.trashed:
        raise NotFoundError(f"memo {memo_id} was removed meanwhile")
    path = library.path(memo)
    if not path.exists():
        raise LibraryError(f"the file of memo {memo_id} is gone: {path}", "bring it back, or share another one")
    infohash, size = memo.infohash, memo.size
    if infohash is None:
        if webm.probe(path).words != memo.words:
            reword(library, memo)
        torrent = metainfo.make(path, torrent_name(memo.words, memo_id))
        infohash, size = torrent.infohash, torrent.size
        library.keep_torrent(infohash, torrent.data)
    elif not library.torrent(infohash).exists():
        torrent = kept_or_made(library, path, webm.probe(path).words, memo_id)
        if torrent.infohash != infohash:
            raise LibraryError(f"the torrent of memo {memo_id} is lost", "fetch it again from somebody who has it")
        library.keep_torrent(infohash, torrent.data)

    def mark(memo: Memo) -> Memo:
        return replace(memo, infohash=infohash, size=size, shared=True, trackers=trackers or memo.trackers)

    return mark
