"""edit: other words for a memo, in the index, and in its file while nobody else can have it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .. import index
from ..console import Console
from ..errors import AudioError, NotFoundError, UsageError
from ..library.reword import reword
from ..library.store import Library
from ..memo import TAGS_LIMIT, Memo, MemoId, clean_description, clean_title, parse_tags
from .arguments import Globals

Change = Callable[[Memo], Memo]
Editor = Callable[[str, Callable[[str], Change]], Change | None]  # has a text edited; None when it was left as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class EditOptions:
    """What is to be changed; None and nothing stay as they are."""

    title: str | None = None
    description: str | None = None
    tags: Sequence[str] = ()  # +TAG or TAG adds one, -TAG takes it away


def edit(command: Globals, memo: str, options: EditOptions, *, editor: Editor | None) -> None:
    """Change a memo's words as the options say, or else as a person types them in an editor; answer its id.

    UsageError when they cannot be, or without both.
    """
    by_options = options.title is not None or options.description is not None or bool(options.tags)
    if not by_options and not editor:
        raise UsageError("there is nothing to change", "give --title, --description or --tag")
    change: Change | None = change_of(options)
    library, console = command.open(), command.console
    found = library.find(memo)
    if editor and not by_options:
        change = editor(index.format_words(found), lambda text: typed(text, found))
    if change:
        apply(library, found.id, change, console)
    else:
        console.tell("nothing is changed")
    console.answer(found.id)


def apply(library: Library, memo_id: MemoId, change: Change, console: Console) -> None:
    """Change a memo's words, also in its file as long as that is not frozen, and say where; NotFoundError."""
    with library.lock(memo_id):
        memo = library.index().get(memo_id)
        if memo is None or memo.trashed:
            raise NotFoundError(f"memo {memo_id} was removed meanwhile")
        if (after := change(memo)) == memo:
            console.tell("there is nothing to change")
        elif memo.is_frozen:
            library.update({memo_id: change})
            console.tell(
                "changed in the index; whoever fetches it gets the words of before, so that its link stays good"
            )
        elif library.index().group:  # other devices need not fetch all of it for a word
            library.update({memo_id: change})
            console.tell(
                "changed here, and on the other devices as they hear of it; its file says so once it is shared"
            )
        else:
            try:
                reword(library, after)
                console.tell("changed in the index and in the file")
            except AudioError as error:
                library.update({memo_id: change})
                console.warn(f"changed in the index alone: {error}")


def change_of(options: EditOptions) -> Change:
    """Turn options into a change; UsageError for what cannot be."""
    given = (("title", options.title), ("description", options.description))
    words = _clean({name: value for name, value in given if value is not None})
    steps = [(tag[:1] == "-", parse_tags([tag[1:] if tag[:1] in ("+", "-") else tag])[0]) for tag in options.tags]

    def changed(memo: Memo) -> Memo:
        kept = list(memo.tags)
        for takes_away, tag in steps:
            if takes_away:
                kept = [other for other in kept if other.casefold() != tag.casefold()]
            elif tag not in kept:
                kept.append(tag)
        if len(kept) > max(TAGS_LIMIT, len(memo.tags)):
            raise UsageError(f"a memo has at most {TAGS_LIMIT} tags", "take some away: --tag -TAG")
        return replace(memo, tags=tuple(kept), **words)

    return changed


def typed(text: str, memo: Memo) -> Change:
    """Turn what a person typed over a memo's words into a change; UsageError for what cannot be."""
    try:
        words = _clean(index.parse_words(text, memo))
    except ValueError as error:
        raise UsageError(f"this is not how a memo's words are written: {error}") from error
    return lambda memo: replace(memo, **words)


def _clean(words: dict[str, Any]) -> dict[str, Any]:
    rules = {"title": clean_title, "description": clean_description, "tags": parse_tags}
    words = {name: rules[name](value) if name in rules else value for name, value in words.items()}
    if not words.get("title", "any"):
        raise UsageError("a memo has a title", "give one that can be read")
    return words
