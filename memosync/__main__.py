"""`python -m memosync` and the `memosync` command: the program as a process, from its first signal to its exit code."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # `signal` loads for 3 ms, in which Ctrl-C is a traceback


def main() -> None:
    """Run the program, say its errors, and end without waiting for anything that does not matter any more."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a traceback is no answer to Ctrl-C
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    import gc
    import os

    from . import cli
    from .errors import Interrupted, MemosyncError, Several
    from .ui import terminal

    code = 0
    gc.set_threshold(100_000, 20, 100)  # ten thousand memos are no garbage: a tenth of the time of `list`
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's threads cost a tenth of its start, and are of no use
    for descriptor in range(3):  # a closed one must not become the number of some file of ours
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = cli.run()
        terminal.flush()
    except Several as error:
        terminal.errors(error.untold)
        code = error.exit_code
    except Interrupted as error:
        code = error.exit_code
    except MemosyncError as error:
        terminal.error(error)
        code = error.exit_code
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):  # Typer's, for a help whose reader has seen enough
            raise
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    terminal.leave()
    # libtorrent's and PortAudio's own ends may take seconds or for ever; everything is on the disk
    os._exit(code)


if __name__ == "__main__":
    main()
