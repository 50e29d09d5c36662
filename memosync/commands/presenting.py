"""How `share` gives a link: as a magnet or in a share link, and with a page for somebody who has only a browser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .. import magnet
from ..errors import UsageError
from ..library.store import Library
from ..memo import Memo
from ..network import Network
from ..stop import Stop
from .opening import Tell
from .page import choose_page, page_of
from .placing import written

Answer = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is wanted of a link."""

    page: str | None = None  # the file of a page, too
    force: bool = False  # replace that
    base: str | None = None  # share links to this address instead of magnets
    one: bool = False  # and one for all memos


def presenter(
    wish: Wish,
    library: Library,
    memos: Sequence[Memo],
    trackers: Sequence[str],
    network: Network,
    *,
    answer: Answer,
    on_progress: Callable[[float, bytes], None],
    stop: Stop,
    tell: Tell,
) -> Answer:
    """Give what takes the magnet of each memo, in their order, and answers as is wished for.

    UsageError when that cannot be, before anything is done.
    """
    if wish.one and wish.base is None:
        raise UsageError("--one needs a page to link to", "--link BASE --one")
    give = answer if wish.base is None else _share_links(wish.base, len(memos) if wish.one else 1, answer)
    if wish.page is None:
        return give
    memo, path = choose_page(wish.page, memos, trackers, network, force=wish.force)

    def write(link: str) -> None:
        try:
            text = page_of(library, library.find(memo.id), link, network, on_progress=on_progress, stop=stop)
            with written(path, force=wish.force, otherwise="another --page") as file:
                file.write(text.encode())
            tell(f"{path} plays it in a browser, from a disk or a web server, while somebody serves it")
        finally:
            give(link)  # it is shared, with a page or without

    return write


def _share_links(base: str, together: int, answer: Answer) -> Answer:
    magnet.check_base(base)
    if together > magnet.MOST_SEEDS:
        raise UsageError(f"one link takes at most {magnet.MOST_SEEDS} memos", "leave --one out, or share fewer")
    magnets: list[str] = []

    def collect(link: str) -> None:
        magnets.append(link)
        if len(magnets) == together:
            answer(magnet.join(base, magnets))
            magnets.clear()

    return collect
