"""The command line: names, options, help. What a command does stands in `commands`, how it looks in `ui`.

The parameters of a command have the names of the fields of its options, which `_filled` fills from them. What is not
given is None or empty here, and then the field's own default holds.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from . import __version__
from .errors import LibraryError, MemosyncError, UsageError
from .network import Network
from .quantities import local, parse_duration, parse_position, parse_size, parse_when
from .ui import live, rows, terminal
from .ui.signals import ending as _stop
from .ui.terminal import items as _items

if TYPE_CHECKING:
    from .commands.arguments import Globals

Options = TypeVar("Options")

app = typer.Typer(
    name="memosync",
    help="Record and torrent-sync audio memos.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _filled(kind: type[Options], given: Mapping[str, Any]) -> Options:
    """Fill a verb's options from the parameters of its command."""
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]  # a dataclass, all of them
    return kind(**{name: given[name] for name in names if given.get(name) is not None})


def _root(library: str | None) -> Path:
    """Give where the library is; UsageError without a home directory, LibraryError without a working directory."""
    path = Path(library or os.environ.get("MEMOSYNC_LIBRARY") or "~/Memos")
    try:
        if path.parts[:1] == ("~",) and not os.path.isabs(os.environ.get("HOME", "/")):
            raise RuntimeError  # an empty one would be /
        return path.expanduser().absolute()
    except RuntimeError:
        raise UsageError("there is no home directory", "say where: --library DIR or MEMOSYNC_LIBRARY=DIR") from None
    except FileNotFoundError:
        gone = f"the library {path} cannot be found: the working directory was removed"
        raise LibraryError(gone, "give --library the whole path") from None


def _ids(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    return _begun(ctx, incomplete, trashed=False)


def _ids_in_trash(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    return _begun(ctx, incomplete, trashed=True)


def _begun(ctx: typer.Context, beginning: str, *, trashed: bool) -> list[tuple[str, str]]:
    from .commands.completion import memo_ids

    try:
        return memo_ids(_root(ctx.find_root().params.get("library")), beginning, trashed=trashed)
    except MemosyncError:  # there is no place for a library
        return []


def _devices(incomplete: str) -> list[str]:
    from .commands.completion import device_names

    return device_names(incomplete)


def _version(wanted: bool) -> None:
    if wanted:
        terminal.answer(f"memosync {__version__}")
        raise typer.Exit


def _when(text: str) -> datetime:
    return parse_when(text, _now())


def _now() -> datetime:
    return local(datetime.now(UTC)).replace(microsecond=0)


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
TitleOption = Annotated[str | None, typer.Option("--title", "-t", metavar="TITLE", help="The title.")]
DescriptionOption = Annotated[str | None, typer.Option("--description", "-d", metavar="TEXT", help="The description.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON Lines.")]


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
    terminal.quiet = quiet
    if ctx.invoked_subcommand is None:
        terminal.answer(ctx.get_help())
    elif not ctx.resilient_parsing:
        if library == "":
            raise UsageError("--library is empty", "name a directory, or leave it out")
        from .commands.arguments import Globals

        ctx.obj = Globals(_root(library), network, terminal.console(live.Fraction()))


@app.command()
def record(
    ctx: typer.Context,
    sources: Annotated[list[str] | None, typer.Argument(metavar="[SOURCE...|-]", help="Audio files.")] = None,
    title: TitleOption = None,
    description: DescriptionOption = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="A tag; may be given several times.")
    ] = None,
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
    limit: Annotated[
        float | None, typer.Option("--max", metavar="DURATION", parser=parse_duration, help="End after so long.")
    ] = None,
    bitrate: Annotated[
        int | None, typer.Option(metavar="RATE", envvar="MEMOSYNC_BITRATE", parser=parse_size, help="Bits a second.")
    ] = None,
    stereo: Annotated[bool, typer.Option("--stereo", help="Two channels.")] = False,
    share: Annotated[bool, typer.Option("--share", help="Share it, and print the link instead of the id.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also a file whose sound is here already.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="In the background; return when it records.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End what is recorded in the background; print its id.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Say how that goes.")] = False,
    readiness: Annotated[int | None, typer.Option("--readiness", hidden=True)] = None,
) -> None:
    """Record a memo from the microphone, files or standard input."""
    from .commands import record as verb

    if list_devices:
        rows.devices(verb.microphones())
        return
    options = _filled(verb.RecordOptions, locals())
    if status:
        rows.recorder(verb.status(ctx.obj, options, stop=_stop()))
    else:
        verb.record(ctx.obj, options, now=_now(), stop=_stop(), controls=live.controls)


@app.command("list")
def list_(
    ctx: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="[WORD...]", help="Words in it, all of them.")] = None,
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="Only with this tag.")] = None,
    since: Annotated[
        datetime | None, typer.Option(metavar="WHEN", parser=_when, help="2026-08-01, 7d or yesterday.")
    ] = None,
    shared: Annotated[bool, typer.Option("--shared", help="Only what is shared.")] = False,
    trashed: Annotated[bool, typer.Option("--trash", help="What is in the trash, last thrown away first.")] = False,
    most: Annotated[int | None, typer.Option("-n", metavar="N", min=0, help="Only the newest N.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List memos, newest first."""
    from .commands import list_ as verb

    rows.memos(verb.list_memos(ctx.obj, _filled(verb.ListOptions, locals()), with_links=as_json), as_json)


@app.command()
def share(
    ctx: typer.Context,
    memos: MemosArgument = None,
    everything: Annotated[bool, typer.Option("--all", help="Every memo.")] = False,
    trackers: Annotated[
        list[str] | None,
        typer.Option(
            "--tracker", metavar="URL", envvar="MEMOSYNC_TRACKERS", help="Tracker instead of the default ones."
        ),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="With anybody, and any program; not sealed.")] = False,
    assured: Annotated[bool, typer.Option("--yes", help="Ask nothing.")] = False,
    new: Annotated[bool, typer.Option("--new", help="Another private link; the one before ends.")] = False,
    no_seed: Annotated[bool, typer.Option("--no-seed", help="Print the link, start no seeder.")] = False,
    foreground: Annotated[bool, typer.Option("--foreground", help="Serve here until interrupted.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when somebody has all of it.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Serve it no longer; the memo stays.")] = False,
    qr: Annotated[bool, typer.Option("--qr", help="Draw the link as a QR code on standard error.")] = False,
    page: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write a page that plays it in a browser, too; without MEMO, any link."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the page that exists.")] = False,
    base: Annotated[
        str | None,
        typer.Option("--link", metavar="BASE", envvar="MEMOSYNC_LINK", help="Print links to this page, not magnets."),
    ] = None,
    one: Annotated[bool, typer.Option("--one", help="One such link for all.")] = False,
) -> None:
    """Print a link to the memo, and see that it is served."""
    from .commands import share as verb

    typed = _is_typed(ctx, "trackers")
    other = typed or _is_typed(ctx, "base")
    if stop and (new or no_seed or foreground or wait or qr or other or page or one):
        raise UsageError("--stop goes with --public and no other option", "memosync share --stop MEMO...")
    memos = _items(memos, needed=not everything and page is None, what="MEMO")
    options = _filled(verb.ShareOptions, locals())
    command: Globals = ctx.obj
    if qr:
        command = dataclasses.replace(command, console=terminal.with_codes(command.console))
    verb.share(
        command, options, stop=_stop(), on_listening=live.Listening(), on_state=live.serving, on_wait=live.WaitView()
    )


@app.command()
def fetch(
    ctx: typer.Context,
    links: Annotated[list[str] | None, typer.Argument(metavar="LINK|FILE.torrent...|-", help="Links.")] = None,
    info: Annotated[bool, typer.Option("--info", help="Say what it is, download nothing.")] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="DURATION", envvar="MEMOSYNC_TIMEOUT", parser=parse_duration, help="Longest wait for a new byte."
        ),
    ] = None,
    max_size: Annotated[
        int | None, typer.Option(metavar="SIZE", envvar="MEMOSYNC_MAX_SIZE", parser=parse_size, help="Largest memo.")
    ] = None,
    seed: Annotated[bool, typer.Option("--seed", help="Serve it on from here.")] = False,
    play: Annotated[bool, typer.Option("--play", help="Play it while it arrives.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch memos from whoever has them."""
    from .audio import sandbox

    sandbox.start()  # another process loads FFmpeg from here on, this one the rest
    from .commands import fetch as verb

    if info and play:
        raise UsageError("--info and --play exclude each other")
    links = terminal.given(links or terminal.asked("paste a link"), what="LINK")
    options = _filled(verb.FetchOptions, locals())
    if info:
        show = partial(rows.info, as_json=as_json)
        verb.look_at(ctx.obj, options, stop=_stop(), answer=show, view=live.FetchView)
    else:
        answer = partial(rows.fetched, as_json=as_json)
        verb.fetch(ctx.obj, options, stop=_stop(), answer=answer, view=live.FetchView, steered=live.player)


@app.command()
def seed(
    ctx: typer.Context,
    detach: Annotated[bool, typer.Option("--detach", help="In the background; return when it serves.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Say how each memo is served.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End the seeder.")] = False,
    install: Annotated[bool, typer.Option("--install", help="Have systemd serve, also after a reboot.")] = False,
    uninstall: Annotated[bool, typer.Option("--uninstall", help="End that.")] = False,
    port: Annotated[
        int | None, typer.Option(metavar="N", min=1024, max=65535, envvar="MEMOSYNC_PORT", help="Port to listen on.")
    ] = None,
    up: Annotated[
        int | None, typer.Option(metavar="RATE", envvar="MEMOSYNC_UP", parser=parse_size, help="Bytes a second given.")
    ] = None,
    down: Annotated[
        int | None,
        typer.Option(metavar="RATE", envvar="MEMOSYNC_DOWN", parser=parse_size, help="Bytes a second taken."),
    ] = None,
    as_json: JsonOption = False,
    kept: Annotated[str | None, typer.Option("--kept", hidden=True)] = None,
    readiness: Annotated[int | None, typer.Option("--readiness", hidden=True)] = None,
) -> None:
    """Serve every shared memo, here or in the background."""
    from .commands import seed as verb

    options = _filled(verb.SeedOptions, locals())
    if status:
        rows.status(*verb.status(ctx.obj, options), as_json)
    else:
        verb.seed(ctx.obj, options, stop=_stop(), on_state=live.serving)


@app.command()
def sync(
    ctx: typer.Context,
    link: Annotated[str | None, typer.Argument(metavar="[-]", help="An invitation, read from standard input.")] = None,
    invite: Annotated[
        Literal["device"] | None, typer.Option("--invite", help="Print an invitation for another device of yours.")
    ] = None,
    forget: Annotated[
        str | None, typer.Option("--forget", metavar="DEVICE", help="One that will not come again.")
    ] = None,
    leave: Annotated[bool, typer.Option("--leave", help="End sync here; every memo stays.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when all that are there have all.")] = False,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Call this device so.")] = None,
    qr: Annotated[bool, typer.Option("--qr", help="Draw the invitation as a QR code on standard error.")] = False,
    trackers: Annotated[
        list[str] | None,
        typer.Option(
            "--tracker", metavar="URL", envvar="MEMOSYNC_TRACKERS", help="Meet there, not at the default ones."
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="DURATION", envvar="MEMOSYNC_TIMEOUT", parser=parse_duration, help="Longest wait for an answer."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Have the same memos on several devices of yours."""
    from .commands import sync as verb

    typed = _is_typed(ctx, "trackers")
    if qr and not invite:
        raise UsageError("--qr goes with --invite", "memosync sync --invite device --qr")
    pasted = "".join(terminal.asked("paste the invitation")) if link == "-" and terminal.is_conversation() else None
    options = _filled(verb.SyncOptions, locals())
    command: Globals = ctx.obj
    if qr:
        command = dataclasses.replace(command, console=terminal.with_codes(command.console))
    rows.synced(verb.sync(command, options, stop=_stop()), as_json)


@app.command()
def play(
    ctx: typer.Context,
    memo: MemoArgument,
    position: Annotated[
        float | None, typer.Option("--from", metavar="POS", parser=parse_position, help="Where to begin.")
    ] = None,
    speed: Annotated[float | None, typer.Option(metavar="X", help="From 0.5 to 3 times; the pitch stays.")] = None,
) -> None:
    """Play a memo."""
    from .commands import play as verb

    verb.play(ctx.obj, memo, _filled(verb.PlayOptions, locals()), stop=_stop(), steered=live.player)


@app.command()
def show(
    ctx: typer.Context,
    memo: MemoArgument,
    path: Annotated[bool, typer.Option("--path", help="Only where its file is.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object.")] = False,
) -> None:
    """Show everything that is known of a memo."""
    from .commands import show as verb

    if path and as_json:
        raise UsageError("--path and --json exclude each other")
    if path:
        terminal.answer(verb.path_of(ctx.obj, memo))
        return
    found = verb.show(ctx.obj, memo, stop=_stop(), on_listening=live.Listening())
    rows.shown(found, as_json)
    if found.fault:
        raise found.fault


@app.command()
def edit(
    ctx: typer.Context,
    memo: MemoArgument,
    title: TitleOption = None,
    description: DescriptionOption = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", metavar="[+|-]TAG", help="A tag more, or with - one less.")
    ] = None,
) -> None:
    """Change a memo's words: here, or in an editor."""
    from .commands import edit as verb
    from .ui import editor

    typing = editor.edit if terminal.is_conversation() else None
    verb.edit(ctx.obj, memo, _filled(verb.EditOptions, locals()), editor=typing)


@app.command()
def export(
    ctx: typer.Context,
    memos: MemosArgument = None,
    form: Annotated[
        Literal["webm", "ogg", "opus", "wav", "flac", "mp3"] | None,
        typer.Option("-f", help="The format; webm by default."),
    ] = None,
    place: Annotated[str | None, typer.Option("-o", metavar="FILE|DIR", help="Where to; - is standard output.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what exists.")] = False,
) -> None:
    """Write memos to files, or one to standard output."""
    from .commands import export as verb

    memos = _items(memos, needed=True, what="MEMO")
    stop = _stop()
    out = None if terminal.is_terminal(sys.stdout) else terminal.Output(stop)
    to_file = terminal.is_file(sys.stdout)
    verb.export(ctx.obj, _filled(verb.ExportOptions, locals()), out=out, to_file=to_file, stop=stop)


@app.command()
def rm(
    ctx: typer.Context,
    memos: MemosArgument = None,
    purge: Annotated[bool, typer.Option("--purge", help="For ever, also what is in the trash.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Purge without a question.")] = False,
) -> None:
    """Move memos to the trash, where they stay for a month."""
    from .commands import rm as verb

    verb.rm(ctx.obj, _items(memos, needed=True, what="MEMO"), purge=purge, force=force, now=_now())


@app.command()
def restore(ctx: typer.Context, memos: TrashedArgument = None) -> None:
    """Bring memos back from the trash as they were."""
    from .commands import rm as verb

    verb.restore(ctx.obj, _items(memos, needed=True, what="MEMO"), stop=_stop())


@app.command()
def check(
    ctx: typer.Context,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what needs no guess; delete nothing.")] = False,
    net: Annotated[bool, typer.Option("--net", help="Ask the trackers and the DHT, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look over the library and the machine."""
    from .commands import check as verb

    trackers = os.environ.get("MEMOSYNC_TRACKERS", "").split()
    device = os.environ.get("MEMOSYNC_DEVICE") or None
    found = verb.check(ctx.obj, _filled(verb.CheckOptions, locals()), now=_now(), stop=_stop())
    rows.findings(found, as_json)
    verb.conclude(found, repair)


def _is_typed(ctx: typer.Context, name: str) -> bool:
    """Tell whether an option stands on the command line, not in the environment."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


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
    except OSError as error:
        if not {"-h", "--help"} & set(sys.argv):
            raise
        raise LibraryError(f"cannot write the answer: {error.strerror}") from error  # Typer prints help by itself
    return result if isinstance(result, int) else 0
