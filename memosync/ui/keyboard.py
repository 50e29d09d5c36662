"""The keys of a person who steers what goes on."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from typing import Self

from .terminal import clear, is_screen, is_terminal, write


def has_controls() -> bool:
    """Tell whether there is a person to talk with: keys on standard input, a screen on standard error."""
    if not (is_terminal(sys.stdin) and is_screen(sys.stderr)):
        return False
    with contextlib.suppress(OSError):  # it is not the terminal of our session
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()  # in the background, to touch it is to be stopped
    return True


class Steered:
    """A terminal that gives each key as it is pressed; a context manager that gives it back as it was."""

    def __enter__(self) -> Self:
        import termios
        import tty

        self._before = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin, termios.TCSANOW)
        return self

    def __exit__(self, *_: object) -> None:
        import termios

        with contextlib.suppress(termios.error, OSError):
            termios.tcsetattr(sys.stdin, termios.TCSANOW, self._before)
        write(sys.stderr, clear() + "\x1b[J")


def keys(wait: float = 0.0) -> str:
    """Give what was typed, after at most `wait` seconds."""
    with contextlib.suppress(OSError, ValueError):
        if not select.select([sys.stdin], [], [], wait)[0]:
            return ""
        if typed := os.read(sys.stdin.fileno(), 64):
            return typed.decode(errors="ignore")
    time.sleep(wait)  # nobody is there any more
    return ""
