"""How a command line is read, beside what Typer does: the program's options behind a command, help, wrong options.

And what a TAB offers to our own scripts, in a form that no shell evaluates.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from .console import one_line
from .errors import UsageError

if TYPE_CHECKING:
    from typer.core import TyperGroup

ANYWHERE = ("library", "network", "quiet")  # what of the program's options may stand behind a command, too
_EVERYWHERE = "everywhere: --library DIR, --network public|lan|loopback, -q, --quiet"
_OFFERS = "complete_offers"  # in _MEMOSYNC_COMPLETE: answer a TAB of our own scripts, not of Typer's
_CURSOR = "\0"
_MOST = 4  # commands that are named


class Verb(TyperCommand):
    """A command that takes the program's options, too; its epilog is its examples, one a line."""

    def get_params(self, ctx: Any) -> list[Any]:
        own: list[Any] = super().get_params(ctx)
        return own + (_shared(ctx.parent.command) if ctx.parent else [])

    def invoke(self, ctx: Any) -> Any:
        """Give what holds for every command to what the program left in `obj`, and the command what that makes."""
        here = {name: ctx.params.pop(name) for name in ANYWHERE}
        ctx.obj = ctx.obj(**{name: here[name] if is_typed(ctx, name) else ctx.parent.params[name] for name in ANYWHERE})
        return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        TyperCommand(self.name, params=self.params).format_options(ctx, formatter)  # its own alone

    def format_epilog(self, _ctx: Any, formatter: Any) -> None:
        examples = "".join(f"  {line}\n" for line in (self.epilog or "").splitlines())
        formatter.write(f"\n  {_EVERYWHERE}\n\nExamples:\n{examples}")


def is_typed(ctx: typer.Context, name: str) -> bool:
    """Tell whether an option stands on the command line, not in the environment."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def verb_in(words: Iterable[str]) -> str | None:
    """Find the command in what stands behind the program's name: what is no option, nor the value of one."""
    left = iter(words)
    for word in left:
        if word in ("--library", "--network"):
            next(left, None)
        elif not word.startswith("-"):
            return word
    return None


def typed() -> list[str]:
    """Give what is typed behind the program's name, also as far as that is when a TAB asks."""
    line = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS")
    return line.split()[1:] if line and "_MEMOSYNC_COMPLETE" in os.environ else sys.argv[1:]


def shell() -> str | None:
    """Name the shell that started this, None where it is not known."""
    from typer._completion_shared import _get_shell_name  # which is pinned with Typer

    return _get_shell_name()


def answer_older_scripts() -> None:
    """Have a TAB of Typer's own scripts answered, which a former version has installed."""
    if "_MEMOSYNC_COMPLETE" in os.environ:
        from typer._completion_classes import completion_init

        completion_init()


def is_offered() -> bool:
    """Tell whether one of our own scripts asks what a TAB offers; to others only harmless characters are given."""
    return os.environ.get("_MEMOSYNC_COMPLETE") == _OFFERS


def offers(program: TyperGroup) -> list[str]:
    """Give what a TAB offers for a command line as far as the cursor: each word, TAB, and what it is.

    Where a file or a directory is meant, it is a TAB and `files` or `directories` alone.
    """
    from typer._click import shell_completion as click  # which is pinned with Typer

    *words, last = click.split_arg_string(os.environ.get("_TYPER_COMPLETE_ARGS", "") + _CURSOR)
    incomplete = last.removesuffix(_CURSOR)
    if incomplete.startswith("--") and "=" in incomplete:
        name, _, incomplete = incomplete.partition("=")
        words.append(name)
    context = click._resolve_context(program, {}, "memosync", words[1:])
    options = [option for option in context.command.get_params(context) if words[-1] in option.opts]
    target: Any = next((option for option in options if not getattr(option, "is_flag", True)), None)
    if target is None:
        target, incomplete = click._resolve_incomplete(context, words[1:], incomplete)
    metavar = getattr(target, "metavar", None) or ""
    if re.search("SOURCE|FILE", metavar):
        return ["\tfiles"]
    if "DIR" in metavar:
        return ["\tdirectories"]
    return [f"{item.value}\t{one_line(item.help or '')}" for item in target.shell_complete(context, incomplete)]


def refusal(error: typer.TyperException, program: TyperGroup, words: Sequence[str]) -> UsageError:
    """Say in one line what is wrong with a command line, and where an option belongs that stands at a wrong place."""
    ctx = getattr(error, "ctx", None)
    # click gives no context for an option that lacks its value
    verb = next((word for word in words if word in program.commands), "")
    path = getattr(ctx, "command_path", f"memosync {verb}".rstrip())
    option = getattr(error, "option_name", None) if hasattr(error, "possibilities") else None
    if ctx and option and (found := _misplaced(option, ctx.info_name if ctx.parent else None, program, words)):
        return found
    line = error.format_message().splitlines()[0].rstrip(".")
    return UsageError(line[:1].lower() + line[1:], f"{path} --help says what it takes")


def _misplaced(option: str, verb: str | None, program: TyperGroup, words: Sequence[str]) -> UsageError | None:
    """Say where an option belongs that the program, or a command, does not take; None when nowhere."""
    if verb and option in _names(program):
        return UsageError(f"{option} stands alone", f"memosync {option}")
    takers = [name for name, command in program.commands.items() if option in _names(command)]
    if not takers:
        return None
    named = ", ".join(takers[:_MOST]) + (" and others" if len(takers) > _MOST else "")
    if verb:
        has = "has" if len(takers) == 1 else "have"
        return UsageError(f"{verb} has no {option}; {named} {has}", f"memosync {verb} --help says what it takes")
    meant = next((word for word in words if word in takers), None)
    where = meant or f"a command: {named}"
    return UsageError(f"{option} belongs behind {where}", f"memosync {meant or 'COMMAND'} {option} ...")


def _shared(program: Any) -> list[Any]:
    return [parameter for parameter in program.params if parameter.name in ANYWHERE]


def _names(command: Any) -> list[str]:
    return [name for parameter in command.params for name in parameter.opts if not getattr(parameter, "hidden", False)]
