"""`python -m memosync` and the `memosync` command."""

from __future__ import annotations

# what `signal` is made of: to load that takes milliseconds, in which Ctrl-C is a traceback
import _signal as signal  # type: ignore[import-not-found]  # it is part of CPython, but of no stubs


def main() -> None:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a traceback is no answer to Ctrl-C
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .cli import run

    run()


if __name__ == "__main__":
    main()
