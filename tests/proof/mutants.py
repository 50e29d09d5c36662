"""Faults that the rules could have, each by its name: a proof that misses one of them proves nothing."""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from memosync import files, manifest
from memosync.index import Index
from memosync.library import group, identity, stamps
from memosync.library.store import Library
from memosync.manifest import Cell, Cells, Clock, State
from memosync.memo import Memo, MemoId
from memosync.seeder import hearing, sync


def _fresh_stamps() -> None:
    """Whatever an index says was written now: an old one that is put back is news."""
    real = stamps.stamped

    def stamped(memo: Memo, now: int, device: str, before: Memo | None = None) -> Memo:
        memo = real(memo, now, device, before)
        texts = []
        for text in memo.stamps:
            field, clock_text, digits = text.rsplit(" ", 2)
            clock = manifest.parse_clock(clock_text)
            assert clock
            texts.append(f"{field} {Clock(max(now, clock.ms), 0, device)} {digits}")
        return replace(memo, stamps=tuple(texts))

    for module in (group, identity):
        _set(module, "stamped", stamped)


def _clock_not_above_its_cell() -> None:
    """An edit has the time of day, whatever it replaces."""
    for module in (stamps, identity):
        _set(module, "tick", lambda before, now, device: Clock(max(now, 0), 0, device))


def _no_value_in_the_tie_break() -> None:
    """Of two cells with one clock each device keeps the one that it met first."""
    _set(manifest, "later", lambda one, other: one is None or other.clock > one.clock)


def _missing_is_deleted() -> None:
    """What another device does not name goes."""
    real = group._merged

    def merged(library: Library, theirs: State, left: set[MemoId], into: str, index: Index) -> Index:
        new = real(library, theirs, left, into, index)
        kept = (memo for memo in new.memos if not theirs.memos or not memo.uid or memo.uid in theirs.memos)
        return replace(new, memos=tuple(kept))

    _set(group, "_merged", merged)


def _trash_of_the_others_wins() -> None:
    """Who joins or fetches has thrown away what the others have."""
    for module in (group, identity):
        _set(module, "alive", lambda memo, known, now, device: memo)


def _drop_everything() -> None:
    """Nothing that others say is merged."""
    _set(group, "merge_in", lambda library, theirs, console, **_more: identity.identify(library, console))


def _never_apply() -> None:
    """What was merged never reaches the index."""
    for module in (group, identity):
        _set(module, "with_cells", lambda memo, cells: memo)


def _whoever_comes_last() -> None:
    """Of two cells the one that comes last counts."""

    def merge_cells(one: Cells, other: Cells) -> Cells:
        return {**one, **other}

    for module in (manifest, group, identity):
        _set(module, "merge_cells", merge_cells)


def words_without_stamps() -> None:
    """Index and stamps are written apart: who dies in between leaves words that seem to be typed here.

    Lives die there too seldom, so `tests/test_words.py` does, at each write.
    """
    real, stamping = Library.transaction, Library._stamped

    def transaction(library: Library, edit: Callable[[Index], Index], **more: Any) -> Index:
        whole: list[Index] = []

        def words_alone(index: Index) -> Index:
            whole[:] = [stamping(library, index, edit(index))]
            old = {memo.id: memo.stamps for memo in index.memos}
            memos = (replace(memo, stamps=old.get(memo.id, memo.stamps)) for memo in whole[0].memos)
            return replace(whole[0], memos=tuple(memos))

        _set(Library, "_stamped", lambda self, before, after: after)
        try:
            real(library, words_alone, **more)
            return real(library, lambda index: whole[0])
        finally:
            _set(Library, "_stamped", stamping)

    _set(Library, "transaction", transaction)


def _graves_are_not_kept() -> None:
    """What was purged is forgotten: whoever says it again brings it back as it was."""
    _set(group, "bury", lambda library, memos: None)


def _births_are_edits() -> None:
    """The words that a memo came with count as if somebody had typed them on this device now."""
    real = stamps.cells_of

    def cells_of(memo: Memo) -> Cells:
        late = Clock(1_900_000_000_000, 0, memo.id)
        return {
            name: Cell(cell.value, late if cell.clock in (manifest.BIRTH, manifest.FETCHED) else cell.clock)
            for name, cell in real(memo).items()
        }

    for module in (group, identity):
        _set(module, "cells_of", cells_of)


def _nothing_is_synced() -> None:
    """What is said to others is not on the disk yet: a power cut takes it here, and only here."""
    _set(files, "sync_file", lambda path: None)
    _set(files, "write", functools.partial(files.write, sync=False))


def _purge_without_a_merge() -> None:
    """What was in the trash for a month goes, though nobody was heard who may have brought it back."""
    _set(group, "heard", lambda library: library.clock())


# What seeders could do wrong: only those that talk find it


def _served_is_fetched() -> None:
    """What is here already as a base is fetched, and does not come."""
    _rewrite(hearing.Hearing, "hear", "if is_new and self._exchange.is_here(head)", "if False")


def _even_for_ten_minutes() -> None:
    """That others say just what is known here is forgotten with their head."""
    _rewrite(sync._Part, "_clean", "told = self._equal & ", "told = set() & ")


def _facts_are_told_apart() -> None:
    """Each device says its own id for a memo that another one has as well."""
    _rewrite(
        stamps,
        "with_cells",
        "if mine.get(field) != cell",
        "if mine.get(field) != cell and field not in ('id', 'fetched')",
    )
    for module in (group, identity):
        _set(module, "with_cells", stamps.with_cells)


def _what_was_dropped_is_taken() -> None:
    """What arrived counts, though it was dropped meanwhile."""
    _rewrite(sync._Part, "turn", "if self._exchange.is_here(infohash)", "if True")


def _what_is_left_stays() -> None:
    """What a disk did not let go of is not looked for again."""
    _rewrite(sync._Part, "_clean", "if now - self._swept > KEPT", "if False")


def _what_is_saved_is_overwritten() -> None:
    """What an editor saves while the index is changed is not looked at."""
    _rewrite(files, "write", "if was and", "if False and")


def _what_is_there_is_what_was_written() -> None:
    """What an editor saves just after the index was changed counts as what was written."""
    _rewrite(Library, "_change", "self._cached = state,", "self._cached = files.state_of(path),")


def _links_of_others_do_not_end() -> None:
    """That a private link was ended on another device is not heeded."""
    _rewrite(group, "_end_links", '(links := cells["renewals"].value) > memo.renewals', "False")
    _rewrite(group, "_without_ended_link", "memo.renewals > before.renewals", "False")


def _set(where: object, name: str, what: Any) -> None:
    setattr(where, name, what)


def _rewrite(where: Any, name: str, old: str, new: str) -> None:
    """Have a function be as if something else stood there."""
    function = getattr(where, name)
    text = textwrap.dedent(inspect.getsource(function))
    assert text.count(old) == 1, (name, old)
    made: dict[str, Any] = {}
    exec(text.replace(old, new), function.__globals__, made)
    _set(where, name, made[name])


MUTANTS: dict[str, Callable[[], None]] = {
    made.__name__.strip("_"): made
    for made in (
        _fresh_stamps,
        _clock_not_above_its_cell,
        _no_value_in_the_tie_break,
        _missing_is_deleted,
        _trash_of_the_others_wins,
        _drop_everything,
        _never_apply,
        _whoever_comes_last,
        _graves_are_not_kept,
        _births_are_edits,
        _nothing_is_synced,
        _purge_without_a_merge,
        _what_is_saved_is_overwritten,
        _what_is_there_is_what_was_written,
        _links_of_others_do_not_end,
    )
}
TALK: dict[str, Callable[[], None]] = {
    made.__name__.strip("_"): made
    for made in (
        _served_is_fetched,
        _even_for_ten_minutes,
        _facts_are_told_apart,
        _what_was_dropped_is_taken,
        _what_is_left_stays,
    )
}
