"""edit: other words for a memo, in the index, and in its file while nobody else can have it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from .. import files, index
from ..audio import webm
from ..errors import AudioError, NotFoundError, UsageError
from ..library.store import Library
from ..memo import TAGS_LIMIT, Memo, MemoId, clean_description, clean_title, parse_tags
from .opening import Tell

Change = Callable[[Memo], Memo]


def change(title: str | None, description: str | None, tags: Sequence[str]) -> Change:
    """Turn options into a change: +TAG and TAG add one, -TAG takes it away; UsageError for what cannot be."""
    given = (("title", title), ("description", description))
    words = _clean({name: value for name, value in given if value is not None})
    steps = [(tag[:1] == "-", parse_tags([tag[1:] if tag[:1] in ("+", "-") else tag])[0]) for tag in tags]

    def apply(memo: Memo) -> Memo:
        kept = list(memo.tags)
        for takes_away, tag in steps:
            if takes_away:
                kept = [other for other in kept if other.casefold() != tag.casefold()]
            elif tag not in kept:
                kept.append(tag)
        if len(kept) > max(TAGS_LIMIT, len(memo.tags)):
            raise UsageError(f"a memo has at most {TAGS_LIMIT} tags", "take some away: --tag -TAG")
        return replace(memo, tags=tuple(kept), **words)

    return apply


def typed(text: str, memo: Memo) -> Change:
    """Turn what a person typed over a memo's words into a change; UsageError for what cannot be."""
    try:
        words = _clean(index.parse_words(text, memo))
    except ValueError as error:
        raise UsageError(f"this is not how a memo's words are written: {error}") from error
    return lambda memo: replace(memo, **words)


def edit(library: Library, memo_id: MemoId, change: Change, *, tell: Tell) -> None:
    """Change a memo's words, also in its file as long as it was never shared or fetched."""
    with library.lock(memo_id):
        memo = library.index().get(memo_id)
        if memo is None or memo.trashed:
            raise NotFoundError(f"memo {memo_id} was removed meanwhile")
        if (after := change(memo)) == memo:
            tell("there is nothing to change")
        elif memo.infohash:
            library.update({memo_id: change})
            tell("changed in the index; the file keeps its words, so that its link stays good")
        else:
            try:
                reword(library, after)
                tell("changed in the index and in the file")
            except AudioError as error:
                library.update({memo_id: change})
                tell(f"warning: changed in the index alone: {error}")


def reword(library: Library, memo: Memo) -> Memo:
    """Have a locked memo and its file say these words: the index first, then the file, by `Library.settle`.

    Its new content is complete on the disk before that, so that whatever dies in between, the next command goes on
    from there. AudioError, and nothing changed, when the file is damaged.
    """
    library.prepare()
    path, new = library.path(memo), library.rewritten(memo.id)
    half = new.with_suffix(".half")
    try:
        if not path.exists():
            raise AudioError(f"{path.name} is gone")
        # what cannot be read may be mended some day
        if webm.finish(path, half, memo.words).duration < max(webm.probe(path).duration, memo.duration) - 0.1:
            raise AudioError(f"{path.name} is damaged, and stays as it is")
        with files.as_library_error(f"write {new}"):
            files.move(half, new)
            size = new.stat().st_size
    finally:
        half.unlink(missing_ok=True)
    words = {name: getattr(memo, name) for name in index.EDITABLE}
    try:
        return library.update({memo.id: lambda memo: replace(memo, size=size, **words)})[memo.id]
    finally:
        library.settle(memo.id, new)


def _clean(words: dict[str, Any]) -> dict[str, Any]:
    rules = {"title": clean_title, "description": clean_description, "tags": parse_tags}
    words = {name: rules[name](value) if name in rules else value for name, value in words.items()}
    if not words.get("title", "any"):
        raise UsageError("a memo has a title", "give one that can be read")
    return words
