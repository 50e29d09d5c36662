"""The command line: names, options, help. What a command does stands in `commands`, how it looks in `ui`.

The parameters of a command have the names of the fields of its options, which `_filled` fills from them. What is not
given is None or empty here, and then the field's own default holds.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast

import typer

from . import __version__, usage
from .errors import LibraryError, MemosyncError, UsageError, reason_of
from .network import Network
from .quantities import local, parse_duration, parse_position, parse_size, parse_until, parse_when
from .ui import live, rows, terminal
from .ui.signals import ending as _stop
from .usage import is_typed as _is_typed

if TYPE_CHECKING:
    from typer.core import TyperGroup

    from .commands.arguments import Globals

Options = TypeVar("Options")

app = typer.Typer(
    name="memosync",
    help="Record and torrent-sync audio memos.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    add_completion=False,  # Typer's scripts have the shell run what it is answered
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="memosync help COMMAND says what a command takes, man memosync all.",
)


def _filled(kind: type[Options], given: Mapping[str, Any]) -> Options:
    """Fill a verb's options from the parameters of its command."""
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]  # a dataclass, all of them
    return kind(**{name: given[name] for name in names if given.get(name) is not None})


def _items(ctx: typer.Context, memos: list[str] | None, *, needed: bool = True) -> list[str]:
    """Take the memos that a command is given; UsageError without any where some are needed."""
    given = terminal.given(memos, what="MEMO", command=ctx.command_path) if needed else memos or []
    found = terminal.items(given)
    if given and not found:
        terminal.tell(f"there is nothing to {ctx.info_name}")
    return found


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
    from .commands import completion

    return completion.memo_ids(_library(ctx), incomplete, trashed=False, plain=not usage.is_offered())


def _ids_in_trash(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    from .commands import completion

    return completion.memo_ids(_library(ctx), incomplete, trashed=True, plain=not usage.is_offered())


def _tags(ctx: typer.Context, incomplete: str) -> list[str]:
    from .commands import completion

    return completion.tags(_library(ctx), incomplete, plain=not usage.is_offered())


def _devices(incomplete: str) -> list[str]:
    from .commands import completion

    return completion.device_names(incomplete)


def _library(ctx: typer.Context) -> Path:
    """Give the library that is meant where a TAB is pressed; where it cannot be, there is nothing to offer."""
    try:
        return _root(ctx.params.get("library") or ctx.find_root().params.get("library"))
    except MemosyncError:
        return Path(os.devnull)


def _commands(incomplete: str) -> list[str]:
    return [name for name in map(_name, app.registered_commands) if name]


def _version(wanted: bool) -> None:
    if wanted:
        terminal.answer(f"memosync {__version__}")
        raise typer.Exit


def _when(text: str) -> datetime:
    return parse_when(text, _now())


def _until(text: str) -> datetime:
    return parse_until(text, _now())


def _now() -> datetime:
    return local(datetime.now(UTC)).replace(microsecond=0)


MemosArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="MEMO...", help="Ids, their beginnings, or last; - reads them.", autocompletion=_ids),
]
TrashedArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="MEMO...", help="Ids of memos in the trash; - reads them.", autocompletion=_ids_in_trash),
]
TitleOption = Annotated[str | None, typer.Option("--title", "-t", metavar="TITLE", help="The title.")]
DescriptionOption = Annotated[str | None, typer.Option("--description", "-d", metavar="TEXT", help="The description.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON Lines.")]


def _verb(*examples: str, name: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Declare a command; its help ends with the examples."""
    return app.command(name, cls=usage.Verb, epilog="\n".join(examples))


@app.callback()
def main(
    ctx: typer.Context,
    library: Annotated[
        str | None,
        typer.Option(metavar="DIR", envvar="MEMOSYNC_LIBRARY", help="The library's directory; ~/Memos if not given."),
    ] = None,
    network: Annotated[Network, typer.Option(envvar="MEMOSYNC_NETWORK", help="How far to reach.")] = Network.PUBLIC,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors on standard error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Its version.")
    ] = False,
    install_completion: Annotated[
        bool, typer.Option("--install-completion", help="Set completion up in this shell, and exit.")
    ] = False,
    show_completion: Annotated[
        bool, typer.Option("--show-completion", help="Print this shell's completion script, and exit.")
    ] = False,
) -> None:
    if install_completion or show_completion:
        from .commands import completion

        if install_completion:
            completion.install(usage.shell(), os.environ, terminal.console(live.Fraction()))
        else:
            terminal.answer(completion.script_of(usage.shell()).rstrip())
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        terminal.answer(ctx.get_help())
    ctx.obj = _globals  # which is called when the options behind the command are known, too


def _globals(library: str | None, network: str, quiet: bool) -> Globals:
    from .commands.arguments import Globals

    if library == "":
        raise UsageError("--library is empty", "name a directory, or leave it out")
    terminal.quiet = quiet
    return Globals(_root(library), Network(network), terminal.console(live.Fraction()))


@_verb('memosync record -t "Weekly standup" --tag work', "memosync record interview.wav --share")
def record(
    ctx: typer.Context,
    sources: Annotated[list[str] | None, typer.Argument(metavar="[SOURCE...|-]", help="Audio files.")] = None,
    title: TitleOption = None,
    description: DescriptionOption = None,
    tags: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="A tag; may be given several times.", autocompletion=_tags),
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


@_verb(
    "memosync list --tag work --since 7d", "memosync list budget | cut -f1 | memosync export - -o Budget/", name="list"
)
def list_(
    ctx: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="[WORD...]", help="Words in it, all of them.")] = None,
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="Only with this tag.", autocompletion=_tags)] = None,
    since: Annotated[
        datetime | None, typer.Option(metavar="WHEN", parser=_when, help="2026-08-01, 7d or yesterday.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(metavar="WHEN", parser=_until, help="The same; a day with all of it.")
    ] = None,
    sort: Annotated[
        Literal["recorded", "added", "title", "duration", "size"] | None,
        typer.Option(help="By this; what is new or large comes first."),
    ] = None,
    reverse: Annotated[bool, typer.Option("-r", help="The other way round.")] = False,
    shared: Annotated[bool, typer.Option("--shared", help="Only what is shared.")] = False,
    trashed: Annotated[bool, typer.Option("--trash", help="What is in the trash, last thrown away first.")] = False,
    most: Annotated[int | None, typer.Option("-n", metavar="N", min=0, help="Only the first N.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List memos, newest first."""
    from .commands import list_ as verb

    rows.memos(verb.list_memos(ctx.obj, _filled(verb.ListOptions, locals()), with_links=as_json), as_json)


@_verb("memosync share last --qr", "memosync share last --page standup.html")
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
    memos = _items(ctx, memos, needed=not everything and page is None)
    options = _filled(verb.ShareOptions, locals())
    command: Globals = ctx.obj
    if qr:
        command = dataclasses.replace(command, console=terminal.with_codes(command.console))
    verb.share(
        command, options, stop=_stop(), on_listening=live.Listening(), on_state=live.serving, on_wait=live.WaitView()
    )


@_verb("memosync fetch - < links.txt", "memosync fetch --play standup.torrent")
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
    links = terminal.given(links or terminal.asked("paste a link"), what="LINK", command=ctx.command_path)
    options = _filled(verb.FetchOptions, locals())
    if info:
        show = partial(rows.info, as_json=as_json)
        verb.look_at(ctx.obj, options, stop=_stop(), answer=show, view=live.FetchView)
    else:
        answer = partial(rows.fetched, as_json=as_json)
        verb.fetch(ctx.obj, options, stop=_stop(), answer=answer, view=live.FetchView, steered=live.player)


@_verb("memosync seed --detach", "memosync seed --status")
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


@_verb("memosync sync --invite device", "memosync sync -")
def sync(
    ctx: typer.Context,
    link: Annotated[str | None, typer.Argument(metavar="[-]", help="An invitation, read from standard input.")] = None,
    invite: Annotated[
        Literal["device"] | None, typer.Option("--invite", help="Print an invitation for another device of yours.")
    ] = None,
    forget: Annotated[
        list[str] | None, typer.Option("--forget", metavar="DEVICE", help="One that will not come again.")
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
    does_more = wait or name is not None or _is_typed(ctx, "timeout")
    if leave and (does_more or as_json):
        raise UsageError("--leave goes with no other option", "memosync sync --leave")
    if forget and does_more:
        raise UsageError("--forget goes with --json and no other option", "memosync sync --forget DEVICE")
    if invite and as_json:
        raise UsageError("--invite and --json exclude each other", "the answer is the invitation alone")
    pasted = "".join(terminal.asked("paste the invitation")) if link == "-" and terminal.is_conversation() else None
    options = _filled(verb.SyncOptions, locals())
    command: Globals = ctx.obj
    if qr:
        command = dataclasses.replace(command, console=terminal.with_codes(command.console))
    rows.synced(verb.sync(command, options, stop=_stop()), as_json)


@_verb("memosync play last", "memosync list --tag talks | memosync play - --speed 1.5")
def play(
    ctx: typer.Context,
    memos: MemosArgument = None,
    position: Annotated[
        float | None, typer.Option("--from", metavar="POS", parser=parse_position, help="Where to begin.")
    ] = None,
    speed: Annotated[float | None, typer.Option(metavar="X", help="From 0.5 to 3 times; the pitch stays.")] = None,
) -> None:
    """Play memos, one after the other."""
    from .commands import play as verb

    memos = _items(ctx, memos)
    verb.play(ctx.obj, _filled(verb.PlayOptions, locals()), stop=_stop(), steered=live.player)


@_verb("memosync show last", "memosync show last --path")
def show(
    ctx: typer.Context,
    memos: MemosArgument = None,
    path: Annotated[bool, typer.Option("--path", help="Only where its file is.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show everything that is known of memos."""
    from .commands import show as verb

    if path and as_json:
        raise UsageError("--path and --json exclude each other")
    memos = _items(ctx, memos)
    options = _filled(verb.ShowOptions, locals())
    verb.show(ctx.obj, options, stop=_stop(), answer=rows.showing(as_json), on_listening=live.Listening())


@_verb('memosync edit last -t "Weekly standup" --tag +work', "memosync edit last")
def edit(
    ctx: typer.Context,
    memos: MemosArgument = None,
    title: TitleOption = None,
    description: DescriptionOption = None,
    tags: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="[+|-]TAG", help="A tag more, or with - one less.", autocompletion=_tags),
    ] = None,
    recorded: Annotated[
        datetime | None, typer.Option(metavar="WHEN", parser=_when, help="When it was recorded.")
    ] = None,
) -> None:
    """Change memos' words: here, or those of one in an editor."""
    from .commands import edit as verb
    from .ui import editor

    typing = editor.edit if terminal.is_conversation() else None
    memos = _items(ctx, memos)
    verb.edit(ctx.obj, _filled(verb.EditOptions, locals()), editor=typing)


@_verb("memosync export last -o standup.mp3", "memosync export last -f wav | sox - -n stats")
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

    memos = _items(ctx, memos)
    stop = _stop()
    out = None if terminal.is_terminal(sys.stdout) else terminal.Output(stop)
    to_file = terminal.is_file(sys.stdout)
    verb.export(ctx.obj, _filled(verb.ExportOptions, locals()), out=out, to_file=to_file, stop=stop)


@_verb("memosync rm 7k3f", "memosync list --trash | memosync rm --purge -")
def rm(
    ctx: typer.Context,
    memos: MemosArgument = None,
    purge: Annotated[bool, typer.Option("--purge", help="For ever, also what is in the trash.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Purge without a question.")] = False,
) -> None:
    """Move memos to the trash, where they stay for a month."""
    from .commands import rm as verb

    verb.rm(ctx.obj, _items(ctx, memos), purge=purge, force=force, now=_now())


@_verb("memosync restore last", "memosync list --trash meeting | memosync restore -")
def restore(ctx: typer.Context, memos: TrashedArgument = None) -> None:
    """Bring memos back from the trash as they were."""
    from .commands import rm as verb

    verb.restore(ctx.obj, _items(ctx, memos), stop=_stop())


@_verb("memosync check", "memosync check --repair")
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


@app.command("help")
def help_(
    ctx: typer.Context,
    command: Annotated[
        str | None, typer.Argument(metavar="[COMMAND]", help="One of them.", autocompletion=_commands)
    ] = None,
) -> None:
    """Say what the program does, or a command takes."""
    program = ctx.find_root()
    if command is None:
        terminal.answer(program.get_help())
        return
    group = _program(command)
    verb = group.resolve_command(program, [command])[1]
    assert verb
    terminal.answer(verb.get_help(typer.Context(verb, info_name=command, parent=program)))


def _name(command: typer.models.CommandInfo) -> str | None:
    return command.name or getattr(command.callback, "__name__", None)


def _program(*names: str | None, brief: bool = False) -> TyperGroup:
    """Make the program, with all of its commands or these: Typer takes 1.5 ms for each.

    Where it is `brief` the others are there, too, by name and help, and take nothing.
    """
    every = app.registered_commands
    chosen = [command for command in every if _name(command) in names]
    if brief:
        app.registered_commands = [command if command in chosen else _named(command) for command in every]
    else:
        app.registered_commands = chosen or every
    try:
        return cast("TyperGroup", typer.main.get_command(app))
    finally:
        app.registered_commands = every


def _named(command: typer.models.CommandInfo) -> typer.models.CommandInfo:
    """Give a command's name and help alone."""

    def nothing() -> None: ...

    nothing.__doc__ = getattr(command.callback, "__doc__", None)
    named = copy.copy(command)
    named.name, named.callback = _name(command), nothing
    return named


def run() -> int:
    """Do what the command line says, and give its exit code; UsageError when it cannot be read."""
    words = usage.typed()
    verb = usage.verb_in(words)
    if usage.is_offered():
        for line in usage.offers(_program(verb)):
            terminal.answer(line)
        return 0
    usage.answer_older_scripts()
    try:
        result = _program(verb or "help", brief=verb in (None, "help"))(standalone_mode=False)
    except typer.TyperException as error:
        raise usage.refusal(error, _program(), words) from error
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except OSError as error:
        if not {"-h", "--help"} & set(sys.argv):
            raise
        raise LibraryError(f"cannot write the answer: {reason_of(error)}") from error  # Typer prints help by itself
    return result if isinstance(result, int) else 0
