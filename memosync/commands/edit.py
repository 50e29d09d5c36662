"""edit: other words for memos, in the index, and in their files while nobody else can have those."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from .. import index
from ..console import Console
from ..errors import AudioError, LibraryError, MemosyncError, NotFoundError, Several, UsageError
from ..library.reword import Rewording
from ..library.store import Library
from ..manifest import tag_field
from ..memo import TAGS_LIMIT, Memo, MemoId, clean_description, clean_title, parse_tags
from ..quantities import format_count
from .arguments import Globals, choose, of_all, titles

Change = Callable[[Memo], Memo]
Editor = Callable[[str, Callable[[str], Change]], Change | None]  # has a text edited; None when it was left as it is
_FROZEN = "changed here; whoever fetches it gets the words of before, so that its link stays good"
_IN_GROUP = "changed here, and on the other devices as they hear of it; its file says so once it is shared"


@dataclass(frozen=True, slots=True, kw_only=True)
class EditOptions:
    """Which memos are to be changed, and what of them; None and nothing stay as they are."""

    memos: Sequence[str] = ()
    title: str | None = None
    description: str | None = None
    tags: Sequence[str] = ()  # +TAG or TAG adds one, -TAG takes it away
    recorded: datetime | None = None


def edit(command: Globals, options: EditOptions, *, editor: Editor | None) -> None:
    """Change memos' words as the options say, or else one's as a person types them in an editor; answer their ids.

    UsageError, and nothing changed, when they cannot be, or without both.
    """
    given = (options.title, options.description, options.recorded)
    by_options = bool(options.tags) or any(value is not None for value in given)
    if not by_options and not editor:
        raise UsageError("there is nothing to change", "give --title, --description, --tag or --recorded")
    change: Change | None = change_of(options)
    library, console = command.open(), command.console
    memos = choose(library, options.memos)
    if len(memos) > 1 and (options.title is not None or not by_options):
        what = "a title is" if by_options else "an editor is"
        raise UsageError(f"{what} for one memo, and these are {len(memos)}", "give --description, --tag or --recorded")
    if editor and not by_options:
        (found,) = memos
        change = editor(index.format_words(found), lambda text: typed(text, found))
    if change:
        _insist_on(change, memos)
        apply(library, memos, change, console)
    else:
        console.tell("nothing is changed")
    for memo in memos:
        console.answer(memo.id)


def apply(library: Library, memos: Sequence[Memo], change: Change, console: Console) -> None:
    """Change memos' words, also in their files as long as those are not frozen, and say where; NotFoundError.

    They are one change, as far as there is room for the files twice; LibraryError says how many are changed when there
    is none.
    """
    changed: dict[str, list[Memo]] = {}
    written = 0

    def look(done: int, fraction: float) -> None:
        console.progress(of_all(memos), min((done + fraction) / len(memos), 0.999))

    for batch in library.locked(memos):
        at_once: dict[MemoId, Change] = {}
        try:
            with contextlib.closing(Rewording(library)) as rewording:
                for number, memo_id in enumerate(batch, written):
                    part = partial(look, number)
                    part(0)
                    where, memo, at_once[memo_id] = _prepare(library, memo_id, change, rewording, console, part)
                    changed.setdefault(where, []).append(memo)
                    if rewording.is_full:
                        rewording.write(at_once)
                        written, at_once = written + len(at_once), {}
                rewording.write(at_once)
                written += len(at_once)
        except LibraryError as error:
            others = f"; {format_count(written)} changed, the others not" if len(memos) > 1 else ""
            raise LibraryError(f"{error}{others}", error.hint) from error
    console.progress("", 1)
    order = {memo.id: number for number, memo in enumerate(memos)}
    for where, of_these in changed.items():
        if where:  # they were locked by their ids, and are named as they were typed
            of_these.sort(key=lambda memo: order[memo.id])
            console.tell(f"{titles(of_these)}: {where}")


def _prepare(
    library: Library,
    memo_id: MemoId,
    change: Change,
    rewording: Rewording,
    console: Console,
    on_progress: Callable[[float], None],
) -> tuple[str, Memo, Change]:
    """Give where a locked memo is changed, as it was, and the change to its entry; its file is staged where it is."""
    index = library.index()
    memo = index.get(memo_id)
    if memo is None or memo.trashed:
        raise NotFoundError(f"memo {memo_id} was removed meanwhile")
    if (after := change(memo)) == memo:
        return "there is nothing to change", memo, lambda memo: memo
    if memo.is_frozen or index.group:  # in a group, others need not fetch all of it for a word
        return _FROZEN if memo.is_frozen else _IN_GROUP, memo, change
    try:
        staged = rewording.stage(after, on_progress)
        return "changed in the index and in the file", memo, lambda memo: change(staged(memo))
    except AudioError as error:
        console.warn(f"{memo.label}: changed in the index alone: {error}")
        return "", memo, change


def _insist_on(change: Change, memos: Sequence[Memo]) -> None:
    """Insist that a change can be made to all of the memos; UsageError, or Several of them."""
    refused: list[MemosyncError] = []
    for memo in memos:
        try:
            change(memo)
        except UsageError as error:
            refused.append(UsageError(f"{memo.label}: {error}", error.hint))
    if refused:
        raise refused[0] if len(refused) == 1 else Several(refused, told=False)


def change_of(options: EditOptions) -> Change:
    """Turn options into a change; UsageError for what cannot be."""
    given = (("title", options.title), ("description", options.description), ("recorded", options.recorded))
    words = _clean({name: value for name, value in given if value is not None})
    steps = [(tag[:1] == "-", parse_tags([tag[1:] if tag[:1] in ("+", "-") else tag])[0]) for tag in options.tags]

    def changed(memo: Memo) -> Memo:
        kept = list(memo.tags)
        for takes_away, tag in steps:
            if takes_away:
                kept = [other for other in kept if tag_field(other) != tag_field(tag)]
            elif tag_field(tag) in map(tag_field, kept):  # it is spelled so from now on
                kept = [tag if tag_field(other) == tag_field(tag) else other for other in kept]
            else:
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
