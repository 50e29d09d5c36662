"""What the program says: the answer on standard output, the conversation on standard error.

The owner of rich, of the terminal and its keys. A stream that is closed is not written to.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from datetime import time as time_of_day
from typing import IO, TYPE_CHECKING, Any

from .errors import LibraryError, MemosyncError
from .index import KEYS
from .memo import INVISIBLE, one_line
from .quantities import format_clock, format_size

if TYPE_CHECKING:
    from .commands.list_ import Row
    from .commands.record import Key
    from .commands.seed import Status
    from .levels import Meter
    from .metainfo import Metainfo
    from .microphone import Device
    from .seeder import SeederState
    from .session.fetch import Progress

quiet = False  # --quiet: only warnings and errors


def _is_terminal(stream: IO[str] | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


_answers_to_terminal = _is_terminal(sys.stdout)  # while it is still open


def answer(text: str) -> None:
    """Print one line of the answer at once."""
    _write(sys.stdout, text + "\n")


def tell(text: str) -> None:
    """Say something on the way."""
    if not quiet or text.startswith(("warning:", "\a")):
        bell = "\a" if text.startswith("\a") else ""
        _write(sys.stderr, f"{bell}{_clear()}memosync: {one_line(text.removeprefix(chr(7)))}\n")


def error(error: MemosyncError, about: str = "") -> None:
    """Say in one line what happened, and in a second what to type next."""
    _write(sys.stderr, f"{_clear()}memosync: error: {about + ': ' if about else ''}{one_line(str(error))}\n")
    if error.hint:
        _write(sys.stderr, f"memosync: hint: {one_line(error.hint)}\n")


def memos(rows: Iterable[Row], as_json: bool = False) -> None:
    """List memos: aligned on a terminal, TAB-separated in a pipe, or JSON Lines."""
    if as_json:
        for row in rows:
            _write(sys.stdout, _json(_as_json(row)) + "\n", flush=False)
    elif _is_terminal(sys.stdout):
        lines = [
            (
                row.memo.id,
                f"{row.memo.recorded:%Y-%m-%d %H:%M}",
                format_clock(row.memo.duration),
                format_size(row.memo.size),
                row.flags,
                one_line(row.memo.title) + "".join(f" #{one_line(tag)}" for tag in row.memo.tags),
            )
            for row in rows
        ]
        if _width(sys.stdout) < 60:  # the title says more than the rest
            align([(memo_id, words) for memo_id, *_, words in lines])
        else:
            align(lines, right=(2, 3))
    else:
        for row in rows:
            memo = row.memo
            numbers = f"{memo.id}\t{memo.recorded.isoformat()}\t{memo.duration:.3f}\t{memo.size}\t{row.flags}"
            words = f"{one_line(','.join(memo.tags))}\t{one_line(memo.title)}"
            _write(sys.stdout, f"{numbers}\t{words}\n", flush=False)
    flush()


def align(rows: Sequence[tuple[str, ...]], right: tuple[int, ...] = ()) -> None:
    """Print rows for a terminal, as wide as it is and no wider; the last column gives way."""
    from rich.cells import cell_len, set_cell_size

    if not rows:
        return
    width = _width(sys.stdout)
    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [
            " " * (wide - cell_len(cell)) + cell if column in right else cell + " " * (wide - cell_len(cell))
            for column, (cell, wide) in enumerate(zip(row, widths, strict=False))
        ]
        line = "  ".join([*cells, row[-1]])
        _write(sys.stdout, (line if cell_len(line) <= width else set_cell_size(line, width - 1) + "…").rstrip() + "\n")


def flush() -> None:
    _write(sys.stdout, "")


def has_controls() -> bool:
    """Tell whether there is a person to talk with: keys on standard input, a screen on standard error."""
    return _is_terminal(sys.stdin) and _is_screen(sys.stderr)


class Controls:
    """The live line of a recording and the keys that steer it; a context manager that gives the terminal back."""

    def __init__(self) -> None:
        self._history: list[float] = []
        self._asked = False

    def __enter__(self) -> Controls:
        import termios
        import tty

        self._before = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin, termios.TCSANOW)
        return self

    def __exit__(self, *_: object) -> None:
        import termios

        with contextlib.suppress(termios.error, OSError):
            termios.tcsetattr(sys.stdin, termios.TCSANOW, self._before)
        show("")

    def __call__(self, meter: Meter) -> Key | None:
        """Draw the line anew and take a key, if one was pressed."""
        key = self._key()
        self._history = [*self._history, meter.peak][-5:]
        show(self._line(meter), *self._hints(meter))
        return key

    def _key(self) -> Key | None:
        for pressed in _keys():
            if pressed == "x" and self._asked:
                return "discard"
            self._asked = pressed == "x"
            if pressed in ("\r", "\n", "q"):
                return "save"
            if pressed == " ":
                return "pause"
        return None

    def _line(self, meter: Meter) -> str:
        clock = format_clock(meter.elapsed)
        if meter.paused:
            return f"‖ {clock}  paused"
        bars = "".join(
            "▁▂▃▄▅▆▇█"[max(0, min(7, int((peak + 60) / 7.5)))] if peak > -90 else " " for peak in self._history
        )
        level = f"{max(meter.peak, -99):.0f} dB".replace("-", "−") if math.isfinite(meter.peak) else "−∞ dB"
        return f"● {clock}  {bars:5}  {level}"

    def _hints(self, meter: Meter) -> list[str]:
        if self._asked:
            return ["   press x again to discard", " x: discard?"]
        space = "go on" if meter.paused else "pause"
        room = f"  disk {meter.minutes_left:.0f} min" if meter.minutes_left is not None else ""
        hints = [f"{room}   [space] {space}  [enter] save  [x][x] discard", f"{room}   [enter] save", room]
        return [*hints, f"  [space] {space}", ""] if meter.paused else [*hints, ""]


class FetchView:
    """What a fetch says on its way: a bar on a terminal, and what it waits for when nothing comes."""

    def __init__(self) -> None:
        self._drawn = 0.0
        self._said = 0

    def __call__(self, progress: Progress) -> None:
        if not progress.peers and progress.waited >= (1, 10, math.inf)[self._said]:
            self._said += 1
            if self._said == 1:
                tell("waiting for somebody who has it")
            else:
                answers = "; ".join(f"{source}: {reply}" for source, reply in progress.sources.items())
                tell(f"nobody so far ({answers})")
        if not _is_screen(sys.stderr) or time.monotonic() - self._drawn < 0.1:
            return
        self._drawn = time.monotonic()
        if not progress.size:
            show(f"{progress.peers} peers", "  waiting for the torrent's metadata", "")
            return
        part = progress.done / progress.size
        bar = "█" * int(part * 20) + "░" * (20 - int(part * 20))
        numbers = f"{part:4.0%}  {format_size(progress.done)} of {format_size(progress.size)}"
        rate = f"  {format_size(progress.rate)}/s"
        show(numbers, f"  {bar}{rate}  {progress.peers} peers  {progress.name}", f"{rate}  {progress.peers} peers", "")


def devices(found: Iterable[Device]) -> None:
    """List what can record: number, name, channels, and `*` at the default."""
    rows = [
        (str(device.number), "*" if device.is_default else "-", str(device.channels), device.name) for device in found
    ]
    table(rows, right=(0, 2))


def status(state: SeederState, rows: Iterable[Status], as_json: bool = False) -> None:
    """Say how every shared memo is served."""
    lines = [(row.memo.id, row.swarm.state, str(row.swarm.peers), str(row.swarm.given), row.memo.title) for row in rows]
    if as_json:
        for memo_id, kind, peers, given, title in lines:
            line = {"id": memo_id, "state": kind, "peers": int(peers), "given": int(given), "title": title}
            _write(sys.stdout, _json(line) + "\n", flush=False)
    else:
        table(lines, right=(2, 3))
    kept = f", started again {state.restarts} times" if state.restarts else ""
    tell(f"process {state.pid} serves on port {state.port}, network {state.network.value}{kept}")


def info(torrent: Metainfo, title: str, as_json: bool = False) -> None:
    """Say what a link is of."""
    fields = {"infohash": torrent.infohash, "size": torrent.size, "name": torrent.name, "title": title}
    if as_json:
        answer(_json(fields))
    else:
        table([(torrent.infohash, str(torrent.size), one_line(torrent.name), one_line(title))], right=(1,))


def table(rows: Sequence[tuple[str, ...]], right: tuple[int, ...] = ()) -> None:
    """Print rows as `list` does: aligned on a terminal, TAB-separated in a pipe."""
    if _is_terminal(sys.stdout):
        align([tuple(map(one_line, row)) for row in rows], right)
    else:
        for row in rows:
            _write(sys.stdout, "\t".join(map(one_line, row)) + "\n", flush=False)
        flush()


def serving(state: SeederState, served: int) -> None:
    """Draw the status line of a seeder in the foreground."""
    if _is_screen(sys.stderr):
        peers = sum(swarm.peers for swarm in state.swarms.values())
        given = sum(swarm.given for swarm in state.swarms.values())
        show(f"serving {served} memos", f" on port {state.port}, {peers} peers, {format_size(given)} given", "")


def log(text: str) -> None:
    """Write a line of the seeder's log."""
    _write(sys.stderr, f"{_clear()}{one_line(text)}\n")


def qr(link: str) -> None:
    """Draw a link as a QR code (ISO/IEC 18004) on standard error."""
    import segno

    if sys.stderr:
        with contextlib.suppress(OSError):
            segno.make_qr(link, error="l").terminal(out=sys.stderr, compact=True)


def show(line: str, *tails: str) -> None:
    """Redraw the last line of the terminal in place, with the first of the tails that fits."""
    from rich.cells import cell_len, set_cell_size

    width = _width(sys.stderr) - 1
    fitting = [tail for tail in tails if cell_len(line + one_line(tail)) <= width]
    text = one_line(line + (fitting[0] if fitting else ""))
    _write(sys.stderr, _clear() + (text if cell_len(text) <= width else set_cell_size(text, width)))


def lines_of_input() -> list[str]:
    """Read one item a line from standard input; blank lines are nothing."""
    lines = sys.stdin.buffer.read().decode("utf-8", "replace").splitlines() if sys.stdin else []
    return [line.strip() for line in lines if line.strip()]


def _as_json(row: Row) -> dict[str, Any]:
    """The keys of the index, null or empty where the index leaves them out, plus `path` and `link`."""
    table = {name: getattr(row.memo, name) for name in KEYS} | dict(row.memo.extra)
    return {name: _plain(value) for name, value in table.items()} | {"path": str(row.path), "link": row.link}


def _json(value: Any) -> str:
    """Write JSON (RFC 8259) that people can read and no terminal obeys."""
    return INVISIBLE.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))


def _plain(value: Any) -> Any:
    """Turn what TOML has and JSON has not into text, or null for what is no number."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, date | time_of_day):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _width(stream: IO[str]) -> int:
    try:
        return max(20, os.get_terminal_size(stream.fileno()).columns or 80)
    except OSError:
        return 80


def _is_screen(stream: IO[str] | None) -> bool:
    """Tell whether a line can be redrawn there."""
    return _is_terminal(stream) and os.environ.get("TERM", "") not in ("", "dumb")


def _clear() -> str:
    return "\r\x1b[K" if _is_screen(sys.stderr) else ""


def _write(stream: IO[str] | None, text: str, flush: bool = True) -> None:
    if stream is None:  # closed before we began
        return
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            stream.write(text.encode("ascii", "replace").decode())
        if flush:
            stream.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        # a reader that has seen enough, or a terminal that was closed, is no reason to stop working
        if stream is sys.stdout and error.errno != errno.EPIPE and not _answers_to_terminal:
            raise LibraryError(f"cannot write the answer: {error.strerror}") from error


def _keys() -> str:
    import select

    with contextlib.suppress(OSError, ValueError):
        if select.select([sys.stdin], [], [], 0)[0]:
            return os.read(sys.stdin.fileno(), 64).decode(errors="ignore")
    return ""
