"""The end of a program: signals at the worst moment."""

from __future__ import annotations

import subprocess
import sys
import threading

from memosync.stop import Stop

SIGNALS = """
import signal
from memosync.stop import Stop
signal.signal(signal.SIGALRM, lambda number, frame: stop.set())
for n in range(5_000):
    stop = Stop()
    signal.setitimer(signal.ITIMER_REAL, 0.0001 + n % 50 / 1e6)
    while not stop.wait(0.00001):
        pass
"""


def test_a_signal_in_the_middle_of_a_wait_is_no_deadlock() -> None:
    assert 0 == subprocess.run([sys.executable, "-c", SIGNALS], timeout=120).returncode


def test_a_wait_ends_with_the_time_or_when_it_is_set_for_everybody() -> None:
    stop, ended = Stop(), []
    assert not stop.wait(0.01)
    assert not stop.wait(-1)
    waiting = [threading.Thread(target=lambda: ended.append(stop.wait(60))) for _ in range(3)]
    for thread in waiting:
        thread.start()

    stop.set()

    for thread in waiting:
        thread.join(60)
    assert [True] * 3 == ended
    assert stop.is_set()
    assert stop.wait()
