"""The command line: names, options, help. What a command does stands in `commands`, how it looks in `ui`."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from . import __version__
from .errors import UsageError
from .memo import Memo, Words, clean_description, clean_title, parse_tags
from .network import Network
from .quantities import parse_duration, parse_position, parse_size, parse_when
from .stop import Stop
from .ui import live, rows
from .ui import terminal as ui
from .ui.signals import ending as _stop
from .ui.terminal import items as _items

if TYPE_CHECKING:
    from .library.store import Library

app = typer.Typer(
    name="memosync",
    help="Record and torrent-sync audio memos.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@dataclass(frozen=True, slots=True)
class Globals:
    """What holds for every command."""

    library: Path
    network: Network

    def open(self) -> Library:
        """Open the library and bring home what a crash left in it."""
        from .commands.opening import open_library

        return open_library(self.library, ui.tell)


def _root(ctx: typer.Context) -> Path:
    return Path(ctx.find_root().params.get("library") or _default_library()).expanduser()


def _ids(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    from .commands.completing import memo_ids

    return memo_ids(_root(ctx), incomplete, trashed=False)


def _ids_in_trash(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    from .commands.completing import memo_ids

    return memo_ids(_root(ctx), incomplete, trashed=True)


def _devices(incomplete: str) -> list[str]:
    from .commands.completing import device_names

    return device_names(incomplete)


def _version(wanted: bool) -> None:
    if wanted:
        ui.answer(f"memosync {__version__}")
        raise typer.Exit


def _default_library() -> Path:
    try:
        return Path(os.environ.get("MEMOSYNC_LIBRARY") or Path.home() / "Memos")
    except RuntimeError:
        raise UsageError("there is no home directory", "say where: --library DIR") from None


MemosArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="MEMO...", help="Ids, their beginnings, or last; - reads them.", autocompletion=_ids),
]
MemoArgument = Annotated[
    str, typer.Argument(metavar="MEMO", help="An id, its beginning, or last.", autocompletion=_ids)
]
TrashedArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="MEMO...", help="Ids of memos in the trash; - reads them.", autocompletion=_ids_in_trash),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON Lines.")]
PortOption = Annotated[
    int | None, typer.Option(metavar="N", min=1024, max=65535, envvar="MEMOSYNC_PORT", help="Port to listen on.")
]
UpOption = Annotated[str | None, typer.Option(metavar="RATE", envvar="MEMOSYNC_UP", help="Bytes a second given.")]
DownOption = Annotated[str | None, typer.Option(metavar="RATE", envvar="MEMOSYNC_DOWN", help="Bytes a second taken.")]


@app.callback()
def main(
    ctx: typer.Context,
    library: Annotated[
        str | None,
        typer.Option(metavar="DIR", envvar="MEMOSYNC_LIBRARY", help="The library's directory; ~/Memos if not given."),
    ] = None,
    network: Annotated[Network, typer.Option(envvar="MEMOSYNC_NETWORK", help="How far to reach.")] = Network.PUBLIC,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors on standard error.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Its version.")] = False,
) -> None:
    ui.quiet = quiet
    if ctx.invoked_subcommand is None:
        ui.answer(ctx.get_help())
    elif not ctx.resilient_parsing:
        if library == "":
            raise UsageError("--library is empty", "name a directory, or leave it out")
        ctx.obj = Globals((Path(library) if library else _default_library()).expanduser().absolute(), network)


@app.command()
def record(
    ctx: typer.Context,
    sources: Annotated[list[str] | None, typer.Argument(metavar="[SOURCE...|-]", help="Audio files.")] = None,
    title: Annotated[str, typer.Option("--title", "-t", metavar="TITLE", help="The title.")] = "",
    description: Annotated[str, typer.Option("--description", "-d", metavar="TEXT", help="The description.")] = "",
    tag: Annotated[list[str] | None, typer.Option(metavar="TAG", help="A tag; may be given several times.")] = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            envvar="MEMOSYNC_DEVICE",
            help="Microphone: part of its name, or its number.",
            autocompletion=_devices,
        ),
    ] = None,
    list_devices: Annotated[bool, typer.Option("--list-devices", help="List the microphones.")] = False,
    limit: Annotated[str | None, typer.Option("--max", metavar="DURATION", help="End after so long.")] = None,
    bitrate: Annotated[str, typer.Option(metavar="RATE", envvar="MEMOSYNC_BITRATE", help="Bits a second.")] = "32k",
    stereo: Annotated[bool, typer.Option("--stereo", help="Two channels.")] = False,
    share: Annotated[bool, typer.Option("--share", help="Share it, and print the link instead of the id.")] = False,
) -> None:
    """Record a memo from the microphone, files or standard input."""
    from .audio.webm import Sound, parse_bitrate
    from .commands import record as verb
    from .commands.capture import record_microphone
    from .commands.intake import record_sources

    if list_devices:
        from .audio.microphone import devices
        from .audio.portaudio import patiently

        rows.devices(patiently(devices, Stop()))
        return
    job = verb.Job(
        words=Words(clean_title(title), clean_description(description), parse_tags(tag or []), _now()),
        sound=Sound(2 if stereo else 1, parse_bitrate(parse_size(bitrate))),
        limit=parse_duration(limit) if limit else None,
        stop=_stop(),
        tell=ui.tell,
        answer=ui.answer,
        share_on=ctx.obj.network if share else None,
    )
    paths = verb.check_sources(sources or [])
    library = ctx.obj.open()
    if paths:
        record_sources(library, paths, job, fail=ui.error)
    else:
        with live.Controls() if live.has_controls() else nullcontext() as control:
            record_microphone(library, job, device=device, control=control)


@app.command("list")
def list_(
    ctx: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="[WORD...]", help="Words in it, all of them.")] = None,
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="Only with this tag.")] = None,
    since: Annotated[str | None, typer.Option(metavar="WHEN", help="2026-08-01, 7d or yesterday.")] = None,
    shared: Annotated[bool, typer.Option("--shared", help="Only what is shared.")] = False,
    trashed: Annotated[bool, typer.Option("--trash", help="What is in the trash, last thrown away first.")] = False,
    most: Annotated[int | None, typer.Option("-n", metavar="N", min=0, help="Only the newest N.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List memos, newest first."""
    from .commands.linking import linker
    from .commands.list_ import list_memos

    begin = parse_when(since, _now()) if since else None
    library = ctx.obj.open()
    link = linker(library, ctx.obj.network) if as_json else lambda _memo: None
    found = list_memos(library, words or [], tag=tag, since=begin, shared=shared, trashed=trashed, most=most, link=link)
    if not found:
        empty = not any(trashed == bool(memo.trashed) for memo in library.index().memos)
        nothing = "nothing is in the trash" if trashed else "no memos yet; memosync record makes one"
        ui.tell(nothing if empty else f"no memo fits; memosync list{' --trash' if trashed else ''} shows all")
    rows.memos(found, as_json)


@app.command()
def share(
    ctx: typer.Context,
    memos: MemosArgument = None,
    everything: Annotated[bool, typer.Option("--all", help="Every memo.")] = False,
    tracker: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", envvar="MEMOSYNC_TRACKERS", help="Tracker instead of the default ones."),
    ] = None,
    no_seed: Annotated[bool, typer.Option("--no-seed", help="Print the link, start no seeder.")] = False,
    foreground: Annotated[bool, typer.Option("--foreground", help="Serve here until interrupted.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when somebody has all of it.")] = False,
    stop_sharing: Annotated[bool, typer.Option("--stop", help="Serve it no longer; the memo stays.")] = False,
    qr: Annotated[bool, typer.Option("--qr", help="Draw the link as a QR code on standard error.")] = False,
    page: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write a page that plays it in a browser, too.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the page that exists.")] = False,
    base: Annotated[
        str | None, typer.Option("--link", metavar="BASE", help="Print BASE?seeds=... instead of magnets.")
    ] = None,
    one: Annotated[bool, typer.Option("--one", help="One such link for all.")] = False,
) -> None:
    """Print a link to the memo, and see that it is served."""
    from .commands import share as verb
    from .commands.presenting import Wish, presenter
    from .commands.several import choose

    trackers_given = tracker and not os.environ.get("MEMOSYNC_TRACKERS")
    if stop_sharing and (no_seed or foreground or wait or qr or trackers_given or page or base or one):
        raise UsageError("--stop goes with no other option", "memosync share --stop MEMO...")
    if (no_seed and (foreground or wait)) or (foreground and wait):
        raise UsageError("--no-seed, --foreground and --wait exclude each other")
    words = _items(memos, needed=not everything, what="MEMO")
    verb.check_trackers(tracker or [])
    library = ctx.obj.open()
    chosen = choose(library, words, everything=everything)

    if stop_sharing:
        verb.unshare(library, chosen, tell=ui.tell)
        return

    def answer(link: str) -> None:
        ui.answer(link)
        if qr:
            ui.qr(link)

    stop, network = _stop(), ctx.obj.network
    present = presenter(
        Wish(page=page, force=force, base=base, one=one),
        library,
        chosen,
        tracker or [],
        network,
        answer=answer,
        on_progress=live.listening,
        stop=stop,
        tell=ui.tell,
    )
    how = "no seeder" if no_seed else "foreground" if foreground else "wait" if wait else "seeder"
    verb.share(
        library,
        chosen,
        network,
        how=how,  # type: ignore[arg-type]
        trackers=tracker or [],
        stop=stop,
        tell=ui.tell,
        answer=present,
        log=ui.log,
        on_state=live.serving,
    )


@app.command()
def fetch(
    ctx: typer.Context,
    links: Annotated[list[str] | None, typer.Argument(metavar="LINK|FILE.torrent...|-", help="Links.")] = None,
    info: Annotated[bool, typer.Option("--info", help="Say what it is, download nothing.")] = False,
    timeout: Annotated[
        str, typer.Option(metavar="DURATION", envvar="MEMOSYNC_TIMEOUT", help="Longest wait for a new byte.")
    ] = "60",
    max_size: Annotated[str, typer.Option(metavar="SIZE", envvar="MEMOSYNC_MAX_SIZE", help="Largest memo.")] = "1G",
    seed: Annotated[bool, typer.Option("--seed", help="Serve it on from here.")] = False,
    hear: Annotated[bool, typer.Option("--play", help="Play it as soon as it is here.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch memos from whoever has them."""
    from .audio import sandbox

    sandbox.start()  # another process loads FFmpeg from here on, this one the rest
    from .commands import fetch as verb

    job = verb.Job(
        network=ctx.obj.network,
        timeout=parse_duration(timeout),
        max_size=parse_size(max_size),
        stop=_stop(),
        tell=ui.tell,
        view=live.FetchView,
    )
    if info and hear:
        raise UsageError("--info and --play exclude each other")
    texts = _items(links, needed=True, what="LINK")
    library = ctx.obj.open()

    def answer(memo: Memo) -> None:
        if as_json:
            from .commands.linking import linker
            from .commands.list_ import row_of

            rows.memos([row_of(library, memo, linker(library, job.network))], as_json=True)
        else:
            ui.answer(memo.id)

    if info:
        from .commands.preview import look_at_all

        look_at_all(library, texts, job, answer=partial(rows.info, as_json=as_json), fail=ui.error)
    else:
        then = partial(_play, library, stop=job.stop) if hear else lambda _memo: None
        verb.fetch_all(library, texts, job, serve_on=seed, answer=answer, then=then, fail=ui.error)


@app.command()
def seed(
    ctx: typer.Context,
    detach: Annotated[bool, typer.Option("--detach", help="In the background; return when it serves.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Say how each memo is served.")] = False,
    stop_seeder: Annotated[bool, typer.Option("--stop", help="End the seeder.")] = False,
    port: PortOption = None,
    up: UpOption = None,
    down: DownOption = None,
    as_json: JsonOption = False,
    kept: Annotated[str | None, typer.Option("--kept", hidden=True)] = None,
) -> None:
    """Serve every shared memo, here or in the background."""
    from . import seeder
    from .commands import seed as verb

    if detach + status + stop_seeder > 1:
        raise UsageError("--detach, --status and --stop exclude each other")
    options = verb.Options(port=port, up=parse_size(up) if up else 0, down=parse_size(down) if down else 0)
    network = ctx.obj.network
    if stop_seeder:
        verb.stop(ctx.obj.library)  # also when its index is broken
        ui.tell("the seeder has ended")
        return
    library = ctx.obj.open()
    if status:
        from .commands.status import status as state_of_all

        rows.status(*state_of_all(library), as_json)
    elif detach:
        state = verb.detach(library, network, options, stop=_stop())
        ui.tell(f"process {state.keeper} serves on port {state.port}")
    else:
        stop = _stop()
        if kept:
            seeder.be_kept(stop)
        lock, _, restarts = (kept or "").partition(":")
        inherited = (int(lock), int(restarts)) if kept else None
        verb.seed(library, network, options, kept=inherited, stop=stop, log=ui.log, on_state=live.serving)


@app.command()
def play(
    ctx: typer.Context,
    memo: MemoArgument,
    begin: Annotated[str, typer.Option("--from", metavar="POS", help="Where to begin.")] = "0",
    speed: Annotated[float, typer.Option(metavar="X", help="From 0.5 to 3 times; the pitch stays.")] = 1.0,
) -> None:
    """Play a memo."""
    position = parse_position(begin)
    library = ctx.obj.open()
    _play(library, library.find(memo), position=position, speed=speed, stop=_stop())


@app.command()
def show(
    ctx: typer.Context,
    memo: MemoArgument,
    path: Annotated[bool, typer.Option("--path", help="Only where its file is.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object.")] = False,
) -> None:
    """Show everything that is known of a memo."""
    from .commands import show as verb
    from .commands.linking import linker

    if path and as_json:
        raise UsageError("--path and --json exclude each other")
    library = ctx.obj.open()
    found = library.find(memo, trashed=None)
    if path:
        ui.answer(str(verb.path_of(library, found)))
        return
    shown = verb.show(library, found, linker(library, ctx.obj.network), on_progress=live.listening, stop=_stop())
    rows.shown(shown, as_json)
    if shown.fault:
        raise shown.fault


@app.command()
def edit(
    ctx: typer.Context,
    memo: MemoArgument,
    title: Annotated[str | None, typer.Option("--title", "-t", metavar="TITLE", help="The title.")] = None,
    description: Annotated[
        str | None, typer.Option("--description", "-d", metavar="TEXT", help="The description.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="[+|-]TAG", help="A tag more, or with - one less.")] = None,
) -> None:
    """Change a memo's words: here, or in an editor."""
    from .commands import edit as verb

    with_options = not (title is None and description is None and not tag)
    if not (with_options or ui.is_conversation()):
        raise UsageError("there is nothing to change", "give --title, --description or --tag")
    change: verb.Change | None = verb.change(title, description, tag or [])
    library = ctx.obj.open()
    found = library.find(memo)
    if not with_options:
        from .index import format_words
        from .ui import editor

        change = editor.edit(format_words(found), lambda text: verb.typed(text, found))
    if change:
        verb.edit(library, found.id, change, tell=ui.tell)
    else:
        ui.tell("nothing is changed")
    ui.answer(found.id)


@app.command()
def export(
    ctx: typer.Context,
    memos: MemosArgument = None,
    form: Annotated[
        Literal["webm", "ogg", "wav", "flac", "mp3"] | None, typer.Option("-f", help="The format; webm by default.")
    ] = None,
    place: Annotated[str | None, typer.Option("-o", metavar="FILE|DIR", help="Where to; - is standard output.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what exists.")] = False,
) -> None:
    """Write memos to files, or one to standard output."""
    from .commands import export as verb
    from .commands.placing import choose_places
    from .commands.several import choose

    words = _items(memos, needed=True, what="MEMO")
    if place == "":
        raise UsageError(
            "there is no place in -o", "-o FILE or -o DIR/ names one; without it, standard output is meant"
        )
    place = None if place == "-" else place
    if place is None and ui.is_terminal(sys.stdout):
        raise UsageError("sound is nothing for a terminal", "give -o FILE, or pass it to a program: | mpv -")
    library = ctx.obj.open()
    form, places = choose_places(choose(library, words), place, form, force=force)
    stop = _stop()
    verb.export(
        library,
        places,
        form,
        out=ui.Output(stop),
        force=force,
        answer=ui.answer,
        on_progress=live.PartView() if place else lambda _title, _part: None,
        stop=stop,
        fail=ui.error,
    )


@app.command()
def rm(
    ctx: typer.Context,
    memos: MemosArgument = None,
    purge: Annotated[bool, typer.Option("--purge", help="For ever, also what is in the trash.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Purge without a question.")] = False,
) -> None:
    """Move memos to the trash, where they stay for a month."""
    from .commands import rm as verb
    from .commands.several import choose

    words = _items(memos, needed=True, what="MEMO")
    library = ctx.obj.open()
    chosen = choose(library, words, None if purge else False)
    if purge and not force:
        verb.refuse_unasked(chosen, ui.ask)
    verb.rm(library, chosen, purge=purge, now=_now(), tell=ui.tell, answer=ui.answer)
    verb.empty(library, now=_now(), tell=ui.tell)


@app.command()
def restore(ctx: typer.Context, memos: TrashedArgument = None) -> None:
    """Bring memos back from the trash as they were."""
    from .commands import rm as verb
    from .commands.several import choose

    words = _items(memos, needed=True, what="MEMO")
    library = ctx.obj.open()
    verb.restore(library, choose(library, words, True), tell=ui.tell, answer=ui.answer)


@app.command()
def check(
    ctx: typer.Context,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what needs no guess; delete nothing.")] = False,
    net: Annotated[bool, typer.Option("--net", help="Ask the trackers and the DHT, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look over the library and the machine."""
    from .commands import check as verb
    from .commands.machine import look_over

    stop = _stop()
    root, network = ctx.obj.library, ctx.obj.network
    view = live.PartView()
    found = list(verb.check(root, repair=repair, now=_now(), stop=stop, tell=ui.tell, on_progress=view))
    trackers = os.environ.get("MEMOSYNC_TRACKERS", "").split()
    device = os.environ.get("MEMOSYNC_DEVICE") or None
    if net:
        ui.tell("asking who answers on the network")
    found += look_over(root, network if net else None, device=device, trackers=trackers, stop=stop)
    rows.findings(found, as_json)
    verb.conclude(found, repair)


def _play(library: Library, memo: Memo, *, position: float = 0.0, speed: float = 1.0, stop: Stop) -> None:
    from .commands.play import play
    from .ui.player import Player

    with Player() if live.has_controls() else nullcontext() as control:
        play(library, memo, position=position, speed=speed, stop=stop, tell=ui.tell, control=control)


def _now() -> datetime:
    return datetime.now().astimezone().replace(microsecond=0)


def _name(command: typer.models.CommandInfo) -> str | None:
    return command.name or getattr(command.callback, "__name__", None)


def run() -> int:
    """Do what the command line says, and give its exit code; UsageError when it cannot be read."""
    # Typer takes 3 ms for each command it knows
    meant = [command for command in app.registered_commands if _name(command) in sys.argv]
    app.registered_commands = meant or app.registered_commands
    try:
        result = app(standalone_mode=False)
    except typer.TyperException as error:
        line = error.format_message().splitlines()[0].rstrip(".")
        command = getattr(getattr(error, "ctx", None), "command_path", "memosync")
        raise UsageError(line[:1].lower() + line[1:], f"{command} --help says what it takes") from error
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    return result if isinstance(result, int) else 0
