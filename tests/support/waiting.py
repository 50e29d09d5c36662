"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest


def wait_until(condition: Callable[[], object], what: str | Callable[[], str], seconds: float = 60) -> None:
    """Return as soon as the condition holds; fail when it does not in time, and say `what` was waited for."""
    deadline = (looked := time.monotonic()) + seconds
    while not condition():
        if (now := time.monotonic()) > deadline:
            pytest.fail(f"not in {seconds:.1f} s: {what if isinstance(what, str) else what()}")
        time.sleep(max(0.01, 2 * (now - looked)))  # a look that costs much leaves the machine to what is waited for
        looked = time.monotonic()


def until(condition: Callable[[], object], what: str) -> float:
    """Wait for it, and give the seconds that it took."""
    began = time.monotonic()
    wait_until(condition, what)
    return time.monotonic() - began


def takes_less(than: float, attempt: Callable[[], float]) -> None:
    """Insist on so many seconds in one attempt of five: a machine that is busy is late now and then."""
    times: list[float] = []
    while len(times) < 5 and min(times, default=than) >= than:
        times.append(attempt())

    assert min(times) < than, times
