"""TAB in the three real shells, typed into a real terminal, with the completions as they are committed."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.program import INSTALLED, Program, answer

from memosync.errors import UsageError

ROOT = Path(__file__).parent.parent
COMPLETIONS = ROOT / "memosync/completions"
SPEAKER = ROOT / "demo/speech.py"

SHELLS = {"bash": "bash --norc --noprofile", "zsh": "zsh -f", "fish": "fish --no-config"}
SETUP = {  # what a distribution's own start files do
    "bash": "source /usr/share/bash-completion/bash_completion; BASH_COMPLETION_USER_DIR={0}",
    "zsh": "fpath=({0} $fpath); autoload -Uz compinit; compinit -u -D",
    "fish": "set -p fish_complete_path {0}; set -g fish_autosuggestion_enabled 0",
}
SCRIPTS = {"bash": "memosync.bash", "zsh": "_memosync", "fish": "memosync.fish"}
START_FILES = {"bash": ".bashrc", "zsh": ".zshrc", "fish": ".config/fish/config.fish"}
PLACES = {"bash": "completions/memosync", "zsh": "_memosync", "fish": "memosync.fish"}


class Shell:
    """An interactive shell in a terminal of its own."""

    def __init__(self, name: str, directory: Path, program: Program, command: str = "") -> None:
        """Start it with the completions where it finds them, or by a `command` as it is."""
        self.directory = Path(tempfile.mkdtemp(prefix="tab-"))  # not pytest's: the path of a socket has to be short
        home = Path(program.environment["HOME"])
        (home / ".asoundrc").write_text('pcm."USB Mic" { type null hint { show on description "a microphone" } }\n')
        place = home / "completions" / PLACES[name]
        place.parent.mkdir(parents=True)
        shutil.copy(COMPLETIONS / SCRIPTS[name], place)
        path = f"{INSTALLED.parent}:{os.environ['PATH']}"
        self.environment = {
            **program.environment,
            "PATH": path,
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm",
            "SHELL": "/bin/sh",
        }
        self.environment["XDG_RUNTIME_DIR"] = str(self.directory)  # else fish leaves something in /tmp
        self.environment.pop("TMUX", None)
        # a file of its own, because tmux would give the words to yet another shell
        self.tmux("new-session", "-d", "-x", "120", "-y", "40", "-c", str(directory), command or SHELLS[name])
        if command:
            return
        self.type(SETUP[name].format(shlex.quote(str(home / "completions"))) + "; echo rea''dy\n")
        self.shows("\nready")
        self.type("clear\n")

    def tmux(self, *command: str) -> str:
        base = ["tmux", "-S", str(self.directory / "socket"), "-f", "/dev/null"]
        done = subprocess.run(
            [*base, *command], env=self.environment, stdout=subprocess.PIPE, text=True, timeout=60, check=True
        )
        return done.stdout

    def type(self, text: str) -> None:
        self.tmux("send-keys", "-l", "--", text.replace("\n", "\r"))

    def shows(self, *texts: str) -> str:
        """Wait until all of the texts are on the screen, and give it."""
        deadline = time.monotonic() + 60
        while True:
            screen = "\n" + self.tmux("capture-pane", "-p", "-J")
            if all(text in screen for text in texts):
                return screen
            assert time.monotonic() < deadline, f"{texts} are not on this screen:\n{screen}"
            time.sleep(0.05)

    def close(self) -> None:
        self.tmux("kill-server")
        shutil.rmtree(self.directory)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path, memosync: Program) -> Iterator[Shell]:
    shell = Shell(request.param, tmp_path, memosync)
    yield shell
    shell.close()


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """A second of sound to record."""
    path = tmp_path / "speech.wav"
    subprocess.run([sys.executable, SPEAKER, path, "1"], check=True, timeout=60)
    return path


def record(memosync: Program, speech: Path, title: str, *options: str) -> str:
    return memosync("record", speech, "-t", title, "--again", *options).out.strip()


def test_tab_completes_a_verb_at_the_first_press(shell: Shell) -> None:
    shell.type("memosync rec\t")

    shell.shows("memosync record")


def test_tab_completes_an_option(shell: Shell) -> None:
    shell.type("memosync record --list-d\t")

    shell.shows("memosync record --list-devices")


def test_tab_completes_the_value_of_an_option(shell: Shell) -> None:
    shell.type("memosync --network loo\t")

    shell.shows("memosync --network loopback")


def test_tab_completes_a_memo_s_id(shell: Shell, memosync: Program, speech: Path) -> None:
    memo = record(memosync, speech, "Weekly standup")
    shell.type(f"memosync share {memo[:3]}\t")

    shell.shows(f"memosync share {memo}")


def test_two_tabs_show_the_ids_of_all_memos_their_titles_and_last(
    shell: Shell, memosync: Program, speech: Path
) -> None:
    titles = ["Anna & Ben: “50 %”?", "Interview (2/2) [b] $HOME #1"]
    memos = [record(memosync, speech, title) for title in titles]
    shell.type("memosync share \t\t\t")  # the first one or two complete what the ids have in common

    shell.shows(*memos, *titles, "last")


def test_tab_completes_last_and_a_tag_and_quotes_what_a_shell_would_run(
    shell: Shell, memosync: Program, speech: Path, tmp_path: Path
) -> None:
    record(memosync, speech, "Weekly standup", "--tag", "town hall", "--tag", "$(touch RUN)")
    (tmp_path / "lasting.wav").touch()
    (tmp_path / "town.txt").touch()
    shell.type("memosync edit las\t")
    shell.shows("memosync edit last ")
    shell.type("--tag +tow\t")
    shell.shows("hall")
    shell.type(" --tag -to\t")
    shell.shows("-town")
    shell.type(" --tag \\$\t")
    shell.shows("RUN")
    shell.type("\n")

    shell.shows("“Weekly standup”: changed")
    assert json.loads(memosync("list", "--json").out)["tags"] == ["$(touch RUN)"]
    assert list(tmp_path.rglob("RUN")) == []


def test_a_file_is_offered_where_one_is_meant_and_nowhere_else(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "zzz.wav").touch()
    (tmp_path / "yyy").mkdir()
    for words in ("show z", "edit last --tag z", "--network z"):
        shell.type(f"memosync {words}\t\t\n")
        assert "zzz" not in shell.shows("error: "), words
        shell.type("clear\n")
    shell.type("memosync fetch zzz\t")
    shell.shows("memosync fetch zzz.wav")
    shell.type("--library y\t")
    shell.shows("--library yyy/")


def test_tab_completes_a_device_whose_name_has_a_space(shell: Shell) -> None:
    shell.type("memosync record --device U\t")

    shell.shows(r"memosync record --device USB\ Mic")


def test_tab_completes_a_file_to_record(shell: Shell, speech: Path) -> None:
    shell.type("memosync record spe\t")

    shell.shows(f"memosync record {speech.name}")


def test_no_title_is_run_or_refused_at_a_tab(shell: Shell, memosync: Program, speech: Path, tmp_path: Path) -> None:
    titles = [r"\$(touch RUN)", r"\`touch RUN\`", "'; touch RUN; '", "[/b] \"') %s"]  # zsh evaluates what Typer prints
    memos = [record(memosync, speech, title) for title in titles]
    shell.type("memosync share \t\t\t")  # the first one or two complete what the ids have in common
    shell.shows(*memos)

    assert list(tmp_path.rglob("RUN")) == []


def snapshot(directory: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in directory.rglob("*")}


@pytest.mark.parametrize("name", SHELLS)
def test_install_completion_has_the_next_shell_complete_by_our_own_script(
    name: str, memosync: Program, tmp_path: Path, speech: Path
) -> None:
    home, title = Path(memosync.environment["HOME"]), "A title: with “this” & that"
    memo = record(memosync, speech, title)
    start_file = home / START_FILES[name]
    start_file.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "dotfiles").write_text("echo it has be''gun\n")
    start_file.symlink_to(tmp_path / "dotfiles")
    shell = Shell(name, tmp_path, memosync, name)
    try:
        shell.shows("it has begun")
        for _ in range(2):
            shell.type("clear; memosync --install-completion; echo rea''dy\n")
            assert f"the next {name} has it" in shell.shows("\nready")
        script = [
            line for line in shell.shows("\nready").splitlines() if line.endswith(PLACES[name].rpartition("/")[2])
        ][-1]
        shell.type(f"clear; memosync --show-completion | cmp - {script} && echo the sa''me\n")
        shell.shows("\nthe same")
        shell.type(f"exec {name}\n")
        shell.shows("\nthe same", "it has begun")
        shell.type("clear\n")
        shell.type("memosync rec\t")
        shell.shows("memosync record")
        shell.type("\x15memosync show \t\t")
        shell.shows(memo, title)
    finally:
        shell.close()

    assert start_file.is_symlink()
    assert start_file.read_text().count("source") == (0 if name == "fish" else 1)
    assert Path(script).read_bytes() == (COMPLETIONS / SCRIPTS[name]).read_bytes()


def test_in_another_shell_completion_is_one_error_that_names_those_that_have_it(memosync: Program) -> None:
    memosync.under = ["dash", "-c", '"$@"; exit $?', "sh"]

    result = memosync("--install-completion", code=UsageError.exit_code)

    assert re.fullmatch("memosync: error: [^\n]+\nmemosync: hint: it is for bash, zsh and fish: [^\n]+\n", result.err)


def test_a_tab_loads_nothing_that_could_record_play_or_fetch(memosync: Program, speech: Path) -> None:
    memo = record(memosync, speech, "Weekly standup")
    done = answer(memosync, "memosync", "share", "")

    assert memo in done.stdout.split()
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "memosync.cli" in loaded
    assert not loaded & {"av", "numpy", "libtorrent", "sounddevice"}


def test_a_tab_leaves_a_library_with_an_interrupted_recording_as_it_is(memosync: Program, speech: Path) -> None:
    memo = record(memosync, speech, "Weekly standup")
    part = memosync.library / ".memosync/recording/0123abcd.webm.part"
    shutil.copy(next(memosync.library.glob(f"*{memo}.webm")), part)
    before = snapshot(memosync.library)
    done = answer(memosync, "memosync", "share", "")

    assert done.stdout.split() == ["last", memo]
    assert before == snapshot(memosync.library)


def test_a_tab_makes_no_library(memosync: Program) -> None:
    done = answer(memosync, "memosync", "share", "")

    assert (done.stdout.split(), memosync.library.exists()) == ([], False)
