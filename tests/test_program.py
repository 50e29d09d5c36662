"""What holds for every command: how it begins, how it is interrupted, and what a wrong word gets."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support import sound
from support.disk import POWERLESS, without_temporary
from support.library import memos
from support.program import PROGRAM, Program, answer, errors
from support.terminal import Terminal

from memosync.errors import LibraryError, NotFoundError, TorrentError, UsageError

INTERRUPT_AT = """
import os, sys
def hook(event, arguments, found=[]):
    if event == "import" and arguments[0] == {module!r} and not found:
        found.append(True)
        os.kill(os.getpid(), 2)
sys.addaudithook(hook)
"""


@pytest.mark.parametrize("module", ["enum", "memosync.cli", "typer", "memosync.library.store"])
def test_ctrl_c_while_it_begins_is_no_traceback(memosync: Program, module: str) -> None:
    memosync.meddle(INTERRUPT_AT.format(module=module))
    process = memosync.start("list", text=True)

    out, err = process.communicate(timeout=30)

    assert process.returncode in (-signal.SIGINT, 128 + signal.SIGINT)
    assert (out, err) == ("", "")


def test_what_nohup_ignores_stays_ignored(memosync: Program) -> None:
    memosync.meddle(INTERRUPT_AT.format(module="typer"))
    ignore = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"]

    memosync.under = ignore

    assert memosync("list").out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["--nope"],
        ["--network", "moon", "list"],
        ["--library", "", "list"],
        ["list", "--nope"],
        ["record", "no.wav"],
        ["record", "."],
        ["record", "--max", "soon"],
        ["record", "--bitrate", "1"],
        ["record", "--tag", "a,b"],
        ["share"],
        ["share", "--no-seed", "--wait", "last"],
        ["share", "--stop", "--qr", "last"],
        ["fetch"],
        ["fetch", "--timeout", "soon", "magnet:"],
        ["seed", "--port", "80"],
        ["seed", "--up", "fast"],
        ["seed", "--status", "--stop"],
        ["list", "-n", "-1"],
        ["list", "--since", "soon"],
        ["play"],
        ["play", "--from", "soon", "last"],
        ["play", "--speed", "fast", "last"],
        ["show"],
        ["show", "--path", "--json", "last"],
        ["edit", "last"],
        ["edit", "last", "-t", ""],
        ["export", "-f", "m4a", "last"],
        ["export", "-o", "", "last"],
        ["rm"],
        ["restore"],
        ["check", "last"],
    ],
    ids=" ".join,
)
def test_a_wrong_word_is_one_line_and_nothing_is_done(memosync: Program, arguments: list[str]) -> None:
    result = memosync(*arguments, code=UsageError.exit_code)

    assert result.out == ""
    assert re.fullmatch("memosync: error: (?!(?!Opus)[A-Z][a-z])[^\n]+[^.\n]\n(memosync: hint: [^\n]+\n)?", result.err)
    assert not memosync.library.exists()


@pytest.mark.parametrize("verb", ["record", "fetch"])
def test_of_a_file_it_is_said_whether_it_is_not_there_or_cannot_be_read(
    memosync: Program, tmp_path: Path, verb: str
) -> None:
    gone, closed, circle = (tmp_path / f"{name}.torrent" for name in ("gone", "closed", "circle"))
    closed.touch(0)
    circle.symlink_to(circle)
    memosync.under = POWERLESS

    result = memosync(verb, gone, code=UsageError.exit_code)
    assert errors(result.err)[0].endswith("gone.torrent: there is no such file")
    assert ("memosync record -t TITLE" in result.err) == (verb == "record")  # where it was meant to be a title
    for path, why in ((closed, "permission denied"), (circle, "too many levels of symbolic links")):
        result = memosync(verb, path, code=UsageError.exit_code)
        assert errors(result.err)[0].endswith(f"{path.name}: it cannot be read: {why}")


def test_a_library_without_memos_says_how_to_make_one(memosync: Program) -> None:
    result = memosync("share", "last", code=NotFoundError.exit_code)

    assert result.err.splitlines() == [
        "memosync: error: there are no memos",
        "memosync: hint: memosync record makes one",
    ]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--version"], ["record", "--help"]], ids=" ".join)
def test_help_and_version_look_into_no_library(memosync: Program, tmp_path: Path, arguments: list[str]) -> None:
    part = memosync.library / ".memosync" / "recording" / "0123abcd.webm.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"in progress")
    (memosync.library / "index.toml").write_text("broken")

    result = memosync(*arguments)

    assert result.out
    assert result.err == ""
    assert part.read_bytes() == b"in progress"


def test_help_fits_a_terminal_and_cuts_no_sentence(memosync: Program) -> None:
    terminal = Terminal([*PROGRAM, "--help"], memosync.environment, rows=60)
    text = terminal.end()
    terminal.close()

    assert terminal.screen.wrapped == 0
    assert "..." not in text.partition("Commands:")[2]


@pytest.mark.parametrize("verb", ["list", "share", "record", "fetch", "seed"])
def test_whichever_verb_comes_next_finishes_what_a_crash_left(memosync: Program, tmp_path: Path, verb: str) -> None:
    (tmp_path / "sound.wav").write_bytes(sound.wav(sound.tone(1)))
    memosync("record", tmp_path / "sound.wav", "-t", "Interview")
    (made,) = memosync.library.glob("*.webm")
    library = memosync.library.with_name("Crashed")
    part = library / ".memosync" / "recording" / f"{made.stem[-8:]}.webm.part"
    part.parent.mkdir(parents=True)
    shutil.copy(made, part)
    crashed = memosync.on(library)
    verbs: dict[str, tuple[list[Any], int]] = {
        "list": (["list"], 0),
        "share": (["share", "last", "--no-seed"], 0),
        "record": (["record", "--again", tmp_path / "sound.wav"], 0),
        "fetch": (["fetch", "magnet:?dn=nothing"], 5),
        "seed": (["seed", "--status"], 8),
    }
    arguments, code = verbs[verb]

    result = crashed(*arguments, code=code)

    assert re.search(f"memosync: recovered .*{made.stem[-8:]}.*Interview", result.err)
    assert "Interview" in [memo["title"] for memo in memos(crashed)]
    assert not part.exists()


def test_a_reader_that_has_seen_enough_is_no_failure(memosync: Program, tmp_path: Path) -> None:
    (tmp_path / "sound.wav").write_bytes(sound.wav(sound.tone(0.3)))
    memosync("record", "--again", *[tmp_path / "sound.wav"] * 2)

    for command in ("list", "--help", "share --all --no-seed"):
        script = f'"$@" {command} | true; echo "${{PIPESTATUS[0]}}"'
        done = subprocess.run(
            ["bash", "-c", script, "bash", *PROGRAM], env=memosync.environment, capture_output=True, text=True
        )
        assert (done.stdout, "Traceback" in done.stderr) == ("0\n", False), command


ONE_LINE = "memosync: error: [^\n]+[^.\n]\n(memosync: hint: [^\n]+\n)?"
NO_PASSWD = "import os, pwd, sys\nos.getuid = lambda: 2**31 - 2\n"  # a user whom /etc/passwd does not know


@pytest.mark.parametrize(
    ("home", "library", "code"),
    [
        ("", "", UsageError.exit_code),
        ("home", "", UsageError.exit_code),
        (None, "", UsageError.exit_code),
        (None, "~nobody-at-all/Memos", UsageError.exit_code),
        ("", "{}/Memos", 0),
        ("{}", "~/Memos", 0),
    ],
)
def test_without_a_home_directory_it_asks_for_a_library(
    memosync: Program, tmp_path: Path, home: str | None, library: str, code: int
) -> None:
    memosync.meddle(NO_PASSWD)
    memosync.environment["MEMOSYNC_LIBRARY"] = library.format(tmp_path)
    memosync.environment["HOME"] = (home or "").format(tmp_path)
    memosync.under = ["env", "--unset=HOME"] if home is None else []

    result = memosync("list", code=code)

    if code:
        assert re.fullmatch(ONE_LINE, result.err)
        assert "say where: --library DIR or MEMOSYNC_LIBRARY=DIR\n" in result.err


def test_a_tab_without_a_home_directory_offers_nothing(memosync: Program) -> None:
    memosync.environment |= {"HOME": "", "MEMOSYNC_LIBRARY": ""}

    offered = answer(memosync, "memosync", "show", "")

    assert not offered.stdout.strip()
    assert "memosync: error" not in offered.stderr


@pytest.mark.parametrize(("library", "code"), [("here", LibraryError.exit_code), ("{}/Memos", 0)])
def test_a_working_directory_that_was_removed_matters_to_what_is_in_it_alone(
    memosync: Program, tmp_path: Path, library: str, code: int
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    memosync.under = ["sh", "-c", f'cd {gone}; rmdir {gone}; exec "$@"', "sh"]

    result = memosync("--library", library.format(tmp_path), "list", code=code)

    assert re.fullmatch(ONE_LINE if code else "memosync: no memos yet[^\n]+\n", result.err)


@pytest.mark.parametrize(
    ("arguments", "streams", "code"),
    [
        ("list --help", ">/dev/full", LibraryError.exit_code),
        ("rm -", "0>{}", UsageError.exit_code),  # which cannot be read
        ("record -", "0>{}", UsageError.exit_code),
    ],
)
def test_a_stream_that_refuses_is_one_line(
    memosync: Program, tmp_path: Path, arguments: str, streams: str, code: int
) -> None:
    memosync.under = ["sh", "-c", f'exec "$@" {streams.format(tmp_path / "only-written")}', "sh"]

    result = memosync(*arguments.split(), code=code)

    assert re.fullmatch(ONE_LINE, result.err)
    assert not re.search(": [A-Z][a-z]", result.err)  # the system's words, in a line of ours
    assert not list(memosync.library.glob("*.webm"))


def test_a_name_too_long_for_a_file_is_one_line(memosync: Program, tmp_path: Path) -> None:
    memosync("record", "-", stdin=sound.wav(sound.tone(0.1)))
    page = ["share", "last", "--public", "--no-seed", "--tracker", "ws://127.0.0.1:9", "--page"]

    for arguments in (["export", "last", "-o", tmp_path / (300 * "n" + ".ogg")], [*page, tmp_path / (300 * "n")]):
        assert re.fullmatch(ONE_LINE, memosync(*arguments, code=LibraryError.exit_code).err)
    assert re.fullmatch(ONE_LINE, memosync("fetch", 300 * "n", code=TorrentError.exit_code).err)
    assert memosync("export", "last", "-o", tmp_path / (251 * "n" + ".ogg")).err == ""


def test_a_path_that_is_not_utf8_is_answered_as_it_is(memosync: Program, tmp_path: Path) -> None:
    odd = memosync.on(tmp_path / "caf\udce9")
    odd.environment |= {"PYTHONIOENCODING": "utf-8:strict"}  # as in any locale but C
    odd("record", "-", "-t", "Größe", stdin=sound.wav(sound.tone(0.1)))

    path, _ = odd.start("show", "--path", "last").communicate(timeout=60)
    out, err = odd.start("fetch", "--timeout", "1", 40 * "a").communicate(timeout=60)
    served = odd("share", "last", code=LibraryError.exit_code)

    assert Path(path.rstrip(b"\n").decode(errors="surrogateescape")).is_file()
    assert b"is not UTF-8" in err
    assert "is not UTF-8" in served.err
    assert (b"", "") == (out, served.out)
    assert not (odd.library / ".memosync" / "seeder.toml").exists()
    assert not list(odd.library.glob(".memosync/incoming/*"))


def test_without_a_place_for_temporary_files_what_needs_one_is_one_line(memosync: Program, tmp_path: Path) -> None:
    memosync("record", "-", "-t", "One", stdin=sound.wav(sound.tone(0.1)))
    index = memosync.library / "index.toml"
    index.write_text(index.read_text().replace('"One"', '"Two"'))  # so that an export is made anew
    memosync.under = without_temporary(tmp_path)

    refused = memosync("export", "last", "-o", tmp_path / "two.webm", code=LibraryError.exit_code)
    terminal = Terminal([*memosync.under, *PROGRAM, "edit", "last"], {**memosync.environment, "EDITOR": "true"}, 300)
    told = terminal.end(LibraryError.exit_code)
    terminal.close()

    assert re.fullmatch(ONE_LINE, refused.err)
    assert "no usable temporary directory" in refused.err
    assert "no usable temporary directory" in told
