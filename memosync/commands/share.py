"""share: from memos to links that work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from ..console import one_line
from ..errors import UsageError
from ..library.store import Library
from ..memo import Memo
from ..network import Network, parse_tracker
from ..seeder import SeederState
from ..stop import Stop
from .freezing import freeze
from .linking import linker
from .opening import Tell
from .seed import Options, seed
from .serving import serve, wait_until_delivered
from .status import refuse_another_network

How = Literal["seeder", "no seeder", "foreground", "wait"]


def check_trackers(urls: Sequence[str]) -> None:
    """Insist that they are trackers; UsageError names the one that is not."""
    for url in urls:
        if not parse_tracker(url):
            raise UsageError(
                f"{one_line(url)[:100]!r} is not a tracker", "give udp://, http(s):// or ws(s)://HOST:PORT"
            )


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
    shared = freeze(library, memos, tuple(trackers))
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
        wait_until_delivered(library, shared, stop=stop)


def unshare(library: Library, memos: Sequence[Memo], *, tell: Tell) -> None:
    """Have memos served no longer; they stay, and so does their link for another time."""
    for memo in memos:
        library.update({memo.id: lambda memo: replace(memo, shared=False)})
        tell(f"{memo.id} is served no longer; who has it keeps it")
