"""A real terminal for a program to run in: a pty, and a reader that keeps the screen as xterm would show it."""

from __future__ import annotations

import codecs
import os
import pty
import re
import select
import subprocess
import termios
import time
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, Literal

import pytest

_SEQUENCE = re.compile(r"\x1b\[([?>]?)([0-9;]*)([@-~])|\x1b[=>78()][AB0]?")
_UNFINISHED = re.compile(r"\x1b(\[[?>]?[0-9;]*)?$")

_END = "\x1b[0;0;0m"  # of all that a program wrote; it changes nothing


class Screen:
    """Rows of characters; it counts what should not happen: lines that wrap, and rows that scroll away."""

    def __init__(self, columns: int, rows: int = 24) -> None:
        self.columns = columns
        self.rows = [[" "] * columns for _ in range(rows)]
        self.row = self.column = 0
        self.wrapped = self.scrolled = self.bells = 0
        self.shows_cursor = True
        self._wraps = True
        self._rest = ""

    @property
    def lines(self) -> list[str]:
        """What can be read, without the empty rows below."""
        return "\n".join("".join(row).rstrip() for row in self.rows).rstrip().split("\n")

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def resized(self, columns: int, cuts: bool) -> Screen:
        """Give what it is in a window of another width, which cuts what is too long, or has it go on below."""
        new = Screen(columns, len(self.rows))
        rows: list[list[str]] = []
        for number, row in enumerate(self.rows[: max(len(self.lines), self.row + 1)]):
            length = len("".join(row).rstrip())
            parts = [row[at : at + columns] for at in range(0, columns if cuts else max(length, 1), columns)]
            if number == self.row:
                part = 0 if cuts else min(self.column // columns, len(parts) - 1)
                new.row, new.column = len(rows) + part, min(self.column - part * columns, columns - 1)
            rows += parts
        for number, row in enumerate(rows):
            new.rows[number][: len(row)] = row
        return new

    def feed(self, text: str) -> None:
        """Show what a program wrote."""
        text = self._rest + text
        unfinished = _UNFINISHED.search(text)
        self._rest = text[unfinished.start() :] if unfinished else ""
        text = text[: len(text) - len(self._rest)]
        at = 0
        while at < len(text):
            sequence = _SEQUENCE.match(text, at)
            if sequence:
                at = sequence.end()
                self._obey(sequence[1] or "", sequence[2] or "", sequence[3] or "")
            else:
                self._show(text[at])
                at += 1

    def _show(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._down()
        elif character == "\b":
            self.column = max(0, self.column - 1)
        elif character == "\a":
            self.bells += 1
        elif not unicodedata.combining(character):
            assert character.isprintable(), f"a control character: {character!r}"
            width = 2 if unicodedata.east_asian_width(character) in "WF" else 1
            if self.column + width > self.columns and self._wraps:
                self.wrapped += 1
                self.column = 0
                self._down()
            self.column = min(self.column, self.columns - width)
            self.rows[self.row][self.column : self.column + width] = [character, ""][:width]
            self.column += width

    def _down(self) -> None:
        if self.row + 1 == len(self.rows):
            self.scrolled += 1
            self.rows = [*self.rows[1:], [" "] * self.columns]
        else:
            self.row += 1

    def _obey(self, private: str, parameters: str, command: str) -> None:
        numbers = [int(number or 0) for number in parameters.split(";")]
        count = max(1, numbers[0])
        if private:
            if 25 in numbers:
                self.shows_cursor = command == "h"
            if 7 in numbers:
                self._wraps = command == "h"
        elif command == "K":
            column = min(self.column, self.columns - 1)  # behind a full line it still stands on its last column
            begin, end = [(column, self.columns), (0, column + 1), (0, self.columns)][numbers[0]]
            self.rows[self.row][begin:end] = " " * (end - begin)
        elif command == "J":
            self._obey("", str(numbers[0]), "K")
            below = range(self.row + 1, len(self.rows)) if numbers[0] == 0 else range(len(self.rows))
            for row in below:
                self.rows[row] = [" "] * self.columns
        elif command in ("A", "B"):
            self.row = min(max(self.row + (-count if command == "A" else count), 0), len(self.rows) - 1)
        elif command in ("C", "D", "G"):
            column = {"C": self.column + count, "D": self.column - count, "G": count - 1}[command]
            self.column = min(max(column, 0), self.columns - 1)
        else:
            assert command in ("m", ""), f"unknown: ESC [ {parameters} {command}"


class Terminal:
    """A program in a terminal of its own, of which it is the leader; what it writes is read when somebody waits."""

    def __init__(
        self, command: list[str], environment: Mapping[str, str], columns: int = 80, rows: int = 24, **options: Any
    ) -> None:
        self.screen = Screen(columns, rows)
        self.wrote = ""
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._pty, terminal = pty.openpty()
        termios.tcsetwinsize(terminal, (rows, columns))
        self.mode = termios.tcgetattr(terminal)
        streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal, **options}
        foreign = ("COLUMNS", "LINES", "NO_COLOR", "TERM")
        environment = {name: value for name, value in environment.items() if name not in foreign}
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],  # which becomes the command: its pid is right
            env={**environment, "TERM": "xterm-256color"},
            **streams,
        )
        self._terminal = terminal  # kept open, so that the mode it is left in can be seen

    def wait_for(self, condition: Callable[[Screen], object], what: str, seconds: float = 60) -> None:
        """Show what is written until the screen is so."""
        deadline = time.monotonic() + seconds
        while not condition(self.screen):
            if time.monotonic() > deadline or not self._read(0.1):
                pytest.fail(f"not in {seconds} s: {what}; the screen is\n{self.screen.text}\nof {self.wrote[-2000:]!r}")

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._pty, keys.encode())

    def resize(self, columns: int, keeps: Literal["nothing", "the beginnings", "all"] = "nothing") -> None:
        """Make it wider or narrower: what was on the screen is gone, cut, or goes on below."""
        while self._read(0, waits=False):
            pass
        before, self.screen = self.screen, Screen(columns, len(self.screen.rows))
        if keeps != "nothing":
            self.screen = before.resized(columns, cuts=keeps == "the beginnings")
        termios.tcsetwinsize(self._pty, (len(self.screen.rows), columns))

    def end(self, code: int | None = 0, seconds: float = 60) -> str:
        """Wait for the program's end, insist on its exit code and on a terminal as it was, and give the screen."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            self._read(0.1)
            if time.monotonic() > deadline:
                pytest.fail(f"it did not end in {seconds} s: {self.screen.text}")
        os.write(self._terminal, _END.encode())  # the kernel hands on what was written when it has time
        while not self.wrote.endswith(_END):
            self._read(0.1, waits=False)
            if time.monotonic() > deadline + 60:
                pytest.fail(f"what it wrote last does not come: {self.wrote[-2000:]!r}")
        self.wrote = self.wrote.removesuffix(_END)

        assert code in (None, self.process.returncode), self.screen.text
        assert termios.tcgetattr(self._terminal)[:4] == self.mode[:4]
        assert self.screen.shows_cursor
        return self.screen.text

    def hang_up(self) -> None:
        """Close the window: everything in it gets HUP, and cannot be written to any more."""
        self._close()

    def close(self) -> None:
        """Close the window, and end what is still in it."""
        self._close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def _close(self) -> None:
        for descriptor in (self._terminal, self._pty):
            if descriptor >= 0:
                os.close(descriptor)
        self._terminal = self._pty = -1

    def _read(self, seconds: float, waits: bool = True) -> bool:
        """Read once; False when nothing will come, or came."""
        if not select.select([self._pty], [], [], seconds)[0]:
            return waits and self.process.poll() is None
        text = self._decode(os.read(self._pty, 1 << 16))
        self.wrote += text
        self.screen.feed(text)
        return True
