"""What the program says: the answer on standard output, the conversation on standard error.

The owner of rich and of the streams; one that is closed is not written to.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TextIO

from ..console import Console, one_line
from ..errors import LibraryError, MemosyncError, UsageError, reason_of
from ..magnet import without_keys
from ..stop import Stop

_PASTED = 0.1  # seconds in which the next line of what is pasted comes
_LEAST = 10  # columns for what stands last in a row
_LONGEST_LINE = 4095  # bytes, see termios(3)
quiet = False  # --quiet: only warnings and errors
_drawn = ""  # the line that is redrawn in place, and is the last one of the terminal


def console(progress: Callable[[str, float], None]) -> Console:
    """Give what a command talks with: these streams, and a view of how far it is."""
    return Console(answer=answer, tell=tell, warn=warn, alarm=alarm, fail=error, progress=progress, ask=ask, log=log)


def with_codes(console: Console) -> Console:
    """Have each line of the answer drawn as a QR code, too."""

    def answer_both(link: str) -> None:
        answer(link)
        qr(link)

    return replace(console, answer=answer_both)


def is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def is_file(stream: TextIO | None) -> bool:
    """Tell whether it leads to a file: nobody else draws on the terminal meanwhile, as who reads a pipe may."""
    with contextlib.suppress(OSError, ValueError):
        return stream is not None and stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    return False


_answers_to_terminal = is_terminal(sys.stdout)  # while it is still open


def answer(text: str) -> None:
    """Print one line of the answer at once, in place of a line that is being redrawn."""
    if _drawn and _answers_to_terminal:
        write(sys.stderr, clear())
    write(sys.stdout, text + "\n")


class Output:
    """Standard output for bytes, until it is flushed; `stop` ends it also while its reader sleeps.

    They come in pieces as large as a pipe takes at once: sox knows a format only by what its first read gives.
    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._held = b""

    def write(self, data: bytes | memoryview, /) -> int:
        self._held += data
        if len(self._held) >= select.PIPE_BUF:
            self.flush()
        return len(data)

    def flush(self) -> None:
        left = memoryview(self._held)
        while left:
            self._stop.check()
            if select.select([], [1], [], 0.1)[1]:
                left = left[os.write(1, left[: select.PIPE_BUF]) :]
        self._held = b""

    def seekable(self) -> bool:
        return False

    def seek(self, _offset: int, /) -> int:
        raise OSError(errno.ESPIPE, "standard output is written as it comes")


def tell(text: str) -> None:
    """Say something on the way."""
    if not quiet:
        _say(text)


def warn(text: str) -> None:
    """Say something on the way that one should know even with --quiet."""
    _say(f"warning: {_without_keys(text)}")


def alarm(text: str) -> None:
    """Say something that one should look up for."""
    write(sys.stderr, "\a")
    _say(text)


def _say(text: str) -> None:
    write(sys.stderr, f"{clear()}memosync: {one_line(text)}\n")


def error(error: MemosyncError, about: str = "") -> None:
    """Say in one line what happened, and in a second what to type next; a key that was typed is in neither."""
    write(sys.stderr, f"{clear()}memosync: error: {about + ': ' if about else ''}{_without_keys(str(error))}\n")
    if error.hint:
        write(sys.stderr, f"memosync: hint: {_without_keys(error.hint)}\n")


def _without_keys(text: str) -> str:
    return without_keys(one_line(text))


def errors(several: Sequence[MemosyncError]) -> None:
    """Say what happened, a line each, and a hint that many share once."""
    for number, this in enumerate(several, 1):
        said_again = any(other.hint == this.hint for other in several[number:])
        error(MemosyncError(str(this), None if said_again else this.hint))


def align(rows: Sequence[tuple[str, ...]], right: tuple[int, ...] = (), cut: bool = True) -> None:
    """Print rows for a terminal, as wide as it is and no wider; the last column gives way, or is wrapped.

    Where too little of that would be left, the columns before it are left out, for it says more.
    """
    from rich.cells import cell_len, set_cell_size

    if not rows:
        return
    screen = width(sys.stdout) if cut else 10**6
    *widths, last = [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]))]
    while len(widths) > 1 and screen - sum(widths) - 2 * len(widths) < min(last, _LEAST):
        widths.pop()
    rows = [(*row[: len(widths)], row[-1]) for row in rows]
    for row in rows:
        cells = [
            " " * (wide - cell_len(cell)) + cell if column in right else cell + " " * (wide - cell_len(cell))
            for column, (cell, wide) in enumerate(zip(row, widths, strict=False))
        ]
        line = "  ".join([*cells, row[-1]])
        write(sys.stdout, (line if cell_len(line) <= screen else set_cell_size(line, screen - 1) + "…").rstrip() + "\n")


def fits(rows: Sequence[tuple[str, ...]]) -> bool:
    """Tell whether `table` prints rows to a person as they are, and cuts nothing."""
    from rich.cells import cell_len

    return max(cell_len(one_line(row[-1])) for row in rows) <= room(rows)


def room(rows: Sequence[tuple[str, ...]]) -> int:
    """Give the columns of the terminal that are left for the last cell of each row; fewer than none where none are."""
    from rich.cells import cell_len

    *before, _last = zip(*rows, strict=True)
    return width(sys.stdout) - sum(2 + max(cell_len(one_line(cell)) for cell in column) for column in before)


def table(rows: Sequence[tuple[str, ...]], right: tuple[int, ...] = (), cut: bool = True) -> None:
    """Print rows as `list` does: aligned on a terminal, TAB-separated in a pipe."""
    if is_terminal(sys.stdout):
        align([tuple(map(one_line, row)) for row in rows], right, cut)
    else:
        for row in rows:
            write(sys.stdout, "\t".join(map(one_line, row)) + "\n", flush=False)
        flush()


def flush() -> None:
    write(sys.stdout, "")


def log(text: str) -> None:
    """Write a line of the seeder's log."""
    write(sys.stderr, f"{clear()}{one_line(text)}\n")


def qr(link: str) -> None:
    """Draw a link as a QR code (ISO/IEC 18004) on standard error, unless it would not all be seen there."""
    import segno

    code = segno.make_qr(link, error="l")
    room = size(sys.stderr) if is_terminal(sys.stderr) else os.terminal_size((1000, 1000))
    needed = {border: code.symbol_size(border=border)[0] for border in (4, 2)}  # squares, of which a character has two
    fitting = (border for border, side in needed.items() if side <= room.columns and (side + 1) // 2 < room.lines)
    border = next(fitting, None)
    if border is None:
        least = f"a window of {needed[2]} columns and {(needed[2] + 1) // 2 + 1} lines"
        warn(f"the QR code is not drawn: it needs {least}")
    elif sys.stderr:
        with contextlib.suppress(OSError):
            code.terminal(out=sys.stderr, border=border, compact=True)


def show(line: str, *tails: str) -> None:
    """Redraw the last line of the terminal in place, with the first of the tails that fits.

    The cursor stays where it begins: a window that becomes narrower has it go on below, or cuts it, and either way all
    of it is below the cursor.
    """
    global _drawn
    write(sys.stderr, clear() + (text := fit(line, *tails)) + ("\r" if text else ""))
    _drawn = text


def leave() -> None:
    """End a line that is being redrawn: what another program writes begins on a new one."""
    if text := _drawn:  # once more, for a Ctrl-C stands in it
        write(sys.stderr, f"{clear()}{fit(text)}\n")


def fit(line: str, *tails: str) -> str:
    """Make a line of standard error's terminal, with the first of the tails that fits."""
    from rich.cells import cell_len, set_cell_size

    screen = width(sys.stderr) - 1
    fitting = [tail for tail in tails if cell_len(line + one_line(tail)) <= screen]
    text = one_line(line + (fitting[0] if fitting else ""))
    return text if cell_len(text) <= screen else set_cell_size(text, screen)


def is_conversation() -> bool:
    """Tell whether there is a person to ask."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def ask(question: str, otherwise: bool = False) -> bool | None:
    """Ask for a yes or a no, `otherwise` being what Enter means; None when nobody is there to ask."""
    if not is_conversation():
        return None
    write(sys.stderr, f"memosync: {one_line(question)} [{'Y/n' if otherwise else 'y/N'}] ")
    said = ""
    try:
        said = sys.stdin.readline()
    finally:  # also where a Ctrl-C is the answer
        if not said.endswith("\n"):
            write(sys.stderr, "\n")
    return said.strip().casefold() in ("y", "yes") or (otherwise and said == "\n")


def asked(what: str) -> list[str]:
    """Ask for a text that is pasted, also one of several lines; nothing when nobody is there, or says nothing."""
    if not is_conversation():
        return []
    write(sys.stderr, f"memosync: {what}: ")
    said = ""
    try:
        lines = [said := sys.stdin.readline()]
        while said.endswith("\n") and select.select([sys.stdin], [], [], _PASTED)[0]:
            lines.append(said := sys.stdin.readline())
    finally:  # also where a Ctrl-C is the answer
        if not said.endswith("\n"):
            write(sys.stderr, "\n")
    if any(len(line) >= _LONGEST_LINE for line in lines):
        raise UsageError(
            "a terminal cuts a line as long as this", "put it into a file, and use memosync fetch - < FILE"
        )
    return ["".join(lines)] if "".join(lines).strip() else []


def given(arguments: Iterable[str] | None, *, what: str, command: str) -> list[str]:
    """Insist on arguments of a command; UsageError without any."""
    if not arguments:
        raise UsageError(f"{what} is missing", f"{command} --help says what it takes")
    return list(arguments)


def items(arguments: Iterable[str]) -> list[str]:
    """Take the arguments of a command, where `-` stands for the lines of standard input.

    A row of `list` will do for an id: that is its first field.
    """
    found = [item for argument in arguments for item in (_lines_of_input() if argument == "-" else [argument])]
    return [item.split("\t")[0] for item in found]


def _lines_of_input() -> list[str]:
    """Read one item a line from standard input; blank lines are nothing."""
    try:
        lines = sys.stdin.buffer.read().decode("utf-8-sig", "replace").splitlines() if sys.stdin else []
    except OSError as error:
        raise UsageError(f"cannot read standard input: {reason_of(error)}") from error
    return [line.strip() for line in lines if line.strip()]


def width(stream: TextIO) -> int:
    return size(stream).columns


def size(stream: TextIO) -> os.terminal_size:
    """Give the size of a terminal, also of one that was closed."""
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except OSError:
        columns, lines = 0, 0
    return os.terminal_size((max(20, columns or 80), lines or 24))


def is_screen(stream: TextIO | None) -> bool:
    """Tell whether a line can be redrawn there."""
    return is_terminal(stream) and os.environ.get("TERM", "") not in ("", "dumb")


def clear() -> str:
    """Give what wipes out the line that is being redrawn; whoever writes it has wiped it out."""
    global _drawn
    was_drawn, _drawn = _drawn, ""
    return ("\r\x1b[J" if was_drawn else "\r\x1b[K") if is_screen(sys.stderr) else ""


def _encoded(text: str, encoding: str) -> bytes:
    """Encode what cannot be: a path as the bytes that it is (PEP 383), anything else with question marks."""
    try:
        return text.encode(encoding, "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("ascii", "replace")


def write(stream: TextIO | None, text: str, flush: bool = True) -> None:
    if stream is None:  # closed before we began
        return
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            stream.flush()
            stream.buffer.write(_encoded(text, stream.encoding))
        if flush:
            stream.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        # a reader that has seen enough, or a terminal that was closed, is no reason to stop working
        if stream is sys.stdout and error.errno != errno.EPIPE and not _answers_to_terminal:
            raise LibraryError(f"cannot write the answer: {reason_of(error)}") from error
