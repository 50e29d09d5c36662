"""share: from memos to links that work: as magnets or share links, and with a page for who has only a browser."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .. import files, magnet
from ..audio import webm
from ..audio.levels import heights
from ..console import Console
from ..errors import AudioError, LibraryError, UsageError
from ..library.freeze import Form, freeze, frozen_torrent
from ..library.keys import has_keys
from ..library.measures import levels_of
from ..library.store import Library
from ..memo import Memo, MemoId, quoted, torrent_name
from ..network import Network, browser_trackers, is_cut_off, parse_tracker, trackers_of, usable_trackers
from ..seeder import client
from ..seeder.links import linker
from ..seeder.state import SeederState, Settings, SwarmState
from ..stop import Stop
from ..torrent import metainfo
from .arguments import Globals, choose, free_place, insist_here, of_all, titles, written

Answer = Callable[[str], None]
_LARGEST_TORRENT = 200_000  # bytes in a page; ours have 21,000 at most
_LEAST = 3  # characters of an id: one alone may be a slip, and what was given away is not had back
_RUN = "npx bittorrent-tracker@9 --ws --port 8000"  # 10 and later want WebRTC, which not every machine can build
_TRACKER = {  # for browsers
    Network.PUBLIC: "--tracker wss://HOST",
    Network.LAN: f"--tracker ws://ADDRESS:8000, where on your network this runs: {_RUN}",
    Network.LOOPBACK: f"--tracker ws://127.0.0.1:8000, while this runs: {_RUN}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareOptions:
    """What is to be shared, and how."""

    memos: Sequence[str] = ()
    everything: bool = False
    public: bool = False  # to anybody, and not sealed for who has the link alone
    assured: bool = False  # no question is asked
    new: bool = False  # by another private link, and the one before is ended
    trackers: Sequence[str] = ()  # instead of those it has
    typed: bool = False  # these stand on the command line
    no_seed: bool = False  # only the link
    foreground: bool = False  # serve here until interrupted
    wait: bool = False  # return when somebody has all of it
    stop: bool = False  # serve it no longer
    page: str | None = None  # the file of a page, too
    force: bool = False  # replace that
    base: str | None = None  # share links to this address instead of magnets
    one: bool = False  # and one for all memos


def share(
    command: Globals,
    options: ShareOptions,
    *,
    library: Library | None = None,  # that is open already
    stop: Stop,
    on_listening: Callable[[float, bytes], None] = lambda _fraction, _wave: None,
    on_state: Callable[[SeederState, int], None] = lambda _state, _served: None,
    on_wait: Callable[[Sequence[tuple[Memo, SwarmState]]], None] = lambda _waiting: None,
) -> None:
    """Answer a link for each memo as soon as it can be fetched there.

    UsageError, and nothing done, when that cannot be; SeederError when it cannot be served, LibraryError when a memo is
    damaged.
    """
    if (options.no_seed and (options.foreground or options.wait)) or (options.foreground and options.wait):
        raise UsageError("--no-seed, --foreground and --wait exclude each other")
    if options.new and options.public:
        raise UsageError("a public link stays the same for ever", "--new without --public gives another private one")
    trackers = usable_of(options.trackers, command.network, command.console, typed=options.typed)
    if options.page is not None and not options.memos and not options.everything:
        _write_opener(command, options, trackers)
        return
    library = library or (command.open(stop) if options.no_seed or options.stop else command.open_to_swarms(stop))
    memos = choose(library, options.memos, everything=options.everything, least=1 if options.stop else _LEAST)
    if options.stop:
        _stop_sharing(library, memos, command.console, only_public=options.public)
        return
    if not memos:
        if options.everything:
            command.console.tell("there is nothing to share")
        return
    for memo in memos:
        insist_here(library, memo, f"memo {memo.label}")
    network, console = command.network, command.console
    answer = _share_links(options, len(memos), console.answer)
    if options.page is not None:
        answer = _with_page(command, options, trackers, library, memos, answer, on_listening, stop)
    state = client.current(library)
    if not options.no_seed:
        client.refuse_another_network(state, network)
        if not options.public or has_keys(library):
            client.refuse_older(state)
    if options.public and not options.assured:
        _refuse_unasked(memos, console)
    form: Form = "new" if options.new else "public" if options.public else "sealed"

    def progress(done: float) -> None:
        of = of_all(memos) if len(memos) > 1 else quoted(memos[0].title)
        console.progress(of, done / len(memos))

    shared, fault = freeze(library, memos, trackers, form, progress)
    progress(len(memos))
    _say_who_can_listen(library, shared, console, public=options.public)

    def answer_all(state: SeederState | None) -> None:
        links_of = linker(library, state, network)
        for links in map(links_of, shared):
            if not (link := links.public if options.public else links.private):
                raise LibraryError("its link was ended meanwhile", "run the same command again")
            answer(link)

    if options.foreground:
        if fault:
            console.warn(f"{fault}; {fault.hint}")
        _serve_here(command, library, answer_all, on_state, stop)
        return
    if not options.no_seed:
        state = client.serve(library, shared, network, state, stop=stop, console=console)
        if is_cut_off(state.addresses, network):
            console.warn("this machine is in no network: nobody else can fetch it before it is")
    answer_all(state)
    if fault:
        raise fault
    if options.wait:

        def delivered(memo: Memo) -> None:
            console.tell(f"{titles([memo])} was delivered")

        client.wait_until_delivered(library, shared, stop=stop, on_wait=on_wait, on_delivered=delivered)


def usable_of(trackers: Sequence[str], network: Network, console: Console, *, typed: bool) -> tuple[str, ...]:
    """Choose the trackers that were given instead of the default ones.

    UsageError for what is none, and for one on the command line that the network does not allow; for one of the
    variable a warning.
    """
    for url in trackers:
        if not parse_tracker(url):
            example = "give udp://, http(s):// or ws(s)://HOST:PORT, without # and user names"
            raise UsageError(f"{magnet.shorten(url, 100)!r} is not a tracker", example)
        if not usable_trackers([url], network, typed=True):
            refused = f"{magnet.shorten(url, 100)} is outside of --network {network.value}"
            if typed:
                raise UsageError(refused, f"give its address, one that --network {network.value} reaches")
            console.warn(f"{refused}; it is left out")
    return tuple(usable_trackers(trackers, network, typed=True))


def _refuse_unasked(memos: Sequence[Memo], console: Console) -> None:
    """Ask once whether memos that somebody sent by a private link are to be for anybody; UsageError without a yes.

    By which link a memo came that another device has fetched is known there alone.
    """
    came = [memo for memo in memos if memo.fetched and not memo.infohash]
    how = (
        "came by a private link" if all(memo.sealed for memo in came) else "came from somebody, maybe by a private link"
    )
    if came and not (said := console.ask(f"{titles(came)} {how}; share with anybody?")):
        nobody = f"{titles(came)} {how}", "--yes shares with anybody, without a question"
        raise UsageError(*nobody) if said is None else UsageError("nothing is shared")


def _say_who_can_listen(library: Library, memos: Sequence[Memo], console: Console, *, public: bool) -> None:
    """Say which memos are shared, and with whom, before their links are."""
    if public:
        console.tell(f"sharing {titles(memos)} with anybody: it can be found without the link, title included")
        _warn_of_private(library, memos, console)
        return
    console.tell(f"sharing {titles(memos)}: only who has the link can listen, and a link cannot be called back")
    if open_to_all := [memo for memo in memos if memo.shared]:
        ids = " ".join(memo.id for memo in open_to_all[:3])
        console.warn(f"anybody finds {titles(open_to_all)}, too; memosync share --stop --public {ids} ends that")


def _warn_of_private(library: Library, memos: Sequence[Memo], console: Console) -> None:
    """Warn of memos that came by a torrent with the private flag (BEP 27): by its infohash alone nobody gets it."""
    for memo in memos:
        if memo.fetched and (torrent := frozen_torrent(library, memo)) and torrent.is_private:
            console.warn(
                f"nobody can fetch {titles([memo])} by this link: its author's torrent is for its own trackers alone; "
                f"give the .torrent file that it came by, or memosync share {memo.id} without --public"
            )


def _stop_sharing(library: Library, memos: Sequence[Memo], console: Console, *, only_public: bool) -> None:
    """Have memos served no longer, or not to anybody; they stay, and so do their links for another time."""
    was: dict[MemoId, Memo] = {}

    def end(memo: Memo) -> Memo:
        was[memo.id] = memo
        return replace(memo, shared=False, private=memo.private and only_public)

    library.update({memo.id: end for memo in memos})
    done: dict[str, list[Memo]] = {}
    for memo in memos:
        done.setdefault(_ending(was[memo.id], only_public=only_public), []).append(memo)
    for ending, of_these in done.items():
        console.tell(ending.format(titles(of_these)))


def _ending(before: Memo, *, only_public: bool) -> str:
    """Say what it was to end the sharing of a memo that was shared like this, or its public link alone."""
    if only_public and before.private:
        only = "{} was served by the private link alone, and still is"
        return "served by the private link alone now: {}; who has it keeps it" if before.shared else only
    return "served no longer: {}; who has it keeps it" if before.is_served else "not served before: {}"


def _serve_here(
    command: Globals,
    library: Library,
    answer_all: Callable[[SeederState | None], None],
    on_state: Callable[[SeederState, int], None],
    stop: Stop,
) -> None:
    from ..seeder.run import Task, run  # which loads what serves

    answered = False

    def ready(state: SeederState, served: int) -> None:
        nonlocal answered
        if state.ready and not answered:
            answered = True
            answer_all(state)
        on_state(state, served)

    console = command.console
    run(Task(library=library, network=command.network, settings=Settings(), console=console, on_state=ready), stop)


def _share_links(options: ShareOptions, many: int, answer: Answer) -> Answer:
    """Give what takes the magnet of each memo and answers it, or share links of one or of all."""
    base = options.base
    if base is None:
        if options.one:
            raise UsageError("--one needs a page to link to", "--link BASE --one")
        return answer
    together = many if options.one else 1
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


def _with_page(
    command: Globals,
    options: ShareOptions,
    trackers: tuple[str, ...],
    library: Library,
    memos: Sequence[Memo],
    answer: Answer,
    on_listening: Callable[[float, bytes], None],
    stop: Stop,
) -> Answer:
    """Give what writes the page before it answers; UsageError when no browser could play it, or it may not be."""
    network = command.network
    if options.page == "-":
        raise UsageError("standard output is for the link", "--page FILE.html")
    if len(memos) != 1:
        raise UsageError(f"a page is for one memo, these are {len(memos)}", "run it once for each")
    own = (trackers, True) if trackers else (memos[0].trackers, memos[0].typed)
    if not browser_trackers(trackers_of(own[0], network, typed=own[1])):
        nobody = "no browser would find the memo: none of its trackers is one"
        raise UsageError(nobody, _TRACKER[network])
    path = Path(options.page or "")
    free_place(path, force=options.force, otherwise="another --page")

    def write(link: str) -> None:
        try:
            text = _page(library, library.find(memos[0].id), link, network, on_listening, stop)
            with written(path, force=options.force, otherwise="another --page") as file:
                file.write(text.encode())
            place = "a disk or a web server"
            if not options.public:
                command.console.tell("the key is in the page: who has the page can listen, too")
                place = "a disk or by https"
            command.console.tell(f"{path} plays it in a browser, from {place}, while somebody serves it")
        finally:
            answer(link)  # it is shared, with a page or without

    return write


def _write_opener(command: Globals, options: ShareOptions, trackers: tuple[str, ...]) -> None:
    """Write a page that opens any link; UsageError for options that are about a memo."""
    from ..page import page
    from ..torrent.webrtc.stun import server_for

    plain = replace(options, memos=(), page=None, force=False, trackers=(), typed=False, base=None)
    if plain != ShareOptions():
        raise UsageError("a page without a memo in it goes with --tracker and --force alone", "name a MEMO, too")
    path, network = Path(options.page or ""), command.network
    if options.page == "-":
        raise UsageError("standard output is for links", "--page FILE.html")
    free_place(path, force=options.force, otherwise="another --page")
    known = browser_trackers(trackers_of(trackers, network, typed=True))
    text = page.write_opener(known, server_for(network), near=network is Network.LOOPBACK)
    with written(path, force=options.force, otherwise="another --page") as file:
        file.write(text.encode())
    console = command.console
    console.tell(
        f"{path} opens any link, from a disk or by https; whoever controls where it stands could read the keys"
    )
    console.tell("memosync share --link ITS-ADDRESS MEMO gives links that it opens")


def _page(
    library: Library, memo: Memo, link: str, network: Network, on_listening: Callable[[float, bytes], None], stop: Stop
) -> str:
    """Make the page of a memo that was just shared, with what is known of its sound; LibraryError without its file."""
    from ..page import page  # which most links are given without
    from ..torrent.webrtc.stun import server_for

    target = magnet.parse(link)
    wave = b""
    with contextlib.suppress(AudioError):  # what cannot be measured may be heard all the same
        wave = levels_of(library, memo, on_progress=on_listening, stop=stop).wave
    with files.as_library_error(f"read {memo.file}"):
        timeline = webm.timeline_of(library.path(memo))
    torrent = metainfo.believed(library.torrent(target.infohash), target.infohash)
    data = torrent.data if torrent else b""
    return page.write(
        page.Page(
            id=memo.id,
            title=memo.title,
            description=memo.description,
            tags=memo.tags,
            recorded=memo.recorded,
            duration=memo.duration,
            size=memo.size,
            name=torrent_name(memo.words, memo.id),
            infohash=target.infohash,
            torrent=data if len(data) <= _LARGEST_TORRENT else b"",
            link=link,
            trackers=browser_trackers(target.trackers),
            stun=server_for(network),
            codec=timeline.codec,
            heights=heights(wave, page.COLUMNS),
            clusters=timeline.clusters,
            begin=0.0 if timeline.is_right else timeline.begin,
            key=target.key,
            track=0 if timeline.is_right or timeline.codec != "opus" else timeline.track,
        )
    )
