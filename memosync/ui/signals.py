"""What a person, a terminal or a system says to a program by signals."""

from __future__ import annotations

import signal

from ..stop import Stop


def ending() -> Stop:
    """Turn the signals that end a program into an event; what is ignored (nohup) stays so."""
    stop = Stop()

    def end(number: int, _frame: object) -> None:
        stop.signal_number = number
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
    return stop
