"""The house itself: floors, owners, weights, and the documents that have to say what the program does."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
from support.program import PROGRAM, Program, commands
from support.terminal import Terminal

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "memosync"
README = (ROOT / "README.md").read_text()
VERBS = [
    "record",
    "list",
    "share",
    "fetch",
    "seed",
    "sync",
    "play",
    "show",
    "edit",
    "export",
    "rm",
    "restore",
    "check",
    "help",
]
SCRIPTS = {"memosync.bash", "memosync.fish", "_memosync"}

WORDS = {"", "console", "errors", "index", "layout", "magnet", "manifest", "memo", "network", "quantities", "stop"}
GROUND = {"files", "process", "sealing"}
BELOW = WORDS | GROUND
MAY = {  # which rooms, or modules of one, a room may use besides itself
    **dict.fromkeys(WORDS, WORDS),
    **dict.fromkeys(GROUND, WORDS),
    **dict.fromkeys(("audio", "torrent", "page"), BELOW),
    "library": {"audio", "torrent.metainfo", *BELOW},
    "seeder": {"library", "audio", "torrent", "page", *BELOW},
    "doctor": {"library", "audio", "torrent", "page", "seeder.client", "seeder.state", *BELOW},
    "commands": {"doctor", "seeder", "library", "audio", "torrent", "page", *BELOW},
    "ui": {"commands", "doctor", "seeder", "library", "audio", "torrent", "page", *BELOW},
    "usage": WORDS,
    "cli": {"usage", "ui", "commands", "doctor", "seeder", "library", "audio", "torrent", "page", *BELOW},
    "__main__": {"cli", "ui", *BELOW},
}
OWNERS = {
    "typer": {"cli", "usage"},
    "rich": {"ui"},
    "segno": {"ui"},
    "av": {"audio"},
    "numpy": {"audio"},
    "lameenc": {"audio"},
    "sounddevice": {"audio"},
    "soundfile": {"audio"},
    "libtorrent": {"torrent"},
    "websockets": {"torrent"},
    "aiohappyeyeballs": {"torrent"},
    "cryptography": {"sealing"},
    "tomli": {"index"},
    "tomli_w": {"index"},
    "ctypes": {"seeder"},
    "fcntl": {"files"},
    "os.replace": {"files"},
    "os.rename": {"files"},
    "os.fsync": {"files"},
    "os.fdatasync": {"files"},
    "subprocess": {"process"},
    "os.system": {"ui"},
    "os.fork": set(),
}
FOR_WEIGHT = {  # what is ours and is loaded only when it is needed; the front loads its verbs so
    "commands.completion": {"audio.microphone"},
    "commands.fetch": {"commands.play", "page.page"},
    "commands.seed": {"seeder.run"},
    "commands.share": {"page.page", "seeder.run", "torrent.webrtc.stun"},
    "torrent.tracker_proxy": {"torrent.trackers"},
    "ui.live": {"torrent.sources", "ui.player"},
}
HEAVY = {"av", "cryptography", "libtorrent", "numpy", "rich", "segno", "sounddevice", "soundfile", "websockets"}


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Parse every module, named from the package on: `commands.share`, and the package itself is the empty name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts).removesuffix("__init__").strip(".")] = ast.parse(path.read_text(), path)
    return found


def imports(name: str, tree: ast.Module) -> Iterator[str]:
    """Name everything a module imports, wherever in it: ours as `.memo`, others as `os`, used parts as `os.fsync`."""
    package = name.split(".") if (PACKAGE / name.replace(".", "/")).is_dir() else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1]
            base = ".".join(filter(None, [*above, node.module]))
            for alias in node.names:
                submodule = f"{base}.{alias.name}".strip(".")
                yield "." + (submodule if submodule in modules() else base)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"


def room(name: str) -> str:
    return name.split(".")[0]


@functools.cache
def all_imports() -> dict[str, set[str]]:
    return {name: set(imports(name, tree)) for name, tree in modules().items()}


def ours() -> dict[str, set[str]]:
    """Give which of our modules each of them imports."""
    return {name: {other[1:] for other in found if other.startswith(".")} for name, found in all_imports().items()}


def test_every_room_has_a_floor() -> None:
    assert set(MAY) == set(map(room, modules()))


def test_imports_point_down() -> None:
    wrong = [
        f"{name} -> {other}"
        for name, others in ours().items()
        for other in others
        if room(other) != room(name) and not {room(other), other} & MAY[room(name)]
    ]

    assert wrong == []


def test_what_is_imported_inside_a_function_is_so_for_its_weight() -> None:
    wrong = []
    for name, tree in modules().items():
        top = set(imports(name, ast.Module([node for node in tree.body if not is_definition(node)], [])))
        late = {other[1:] for other in all_imports()[name] - top if other.startswith(".")}
        if name not in ("cli", "__main__") and (found := late - FOR_WEIGHT.get(name, set())):
            wrong.append(f"{name} -> {found}")

    assert wrong == []


def is_definition(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


def test_the_manual_names_what_a_finding_of_check_may_be_about() -> None:
    code = "".join(path.read_text() for path in [*(PACKAGE / "doctor").glob("*.py"), PACKAGE / "commands/check.py"])
    about = re.search(r"^It is about a memo.*?^With$", manual(), re.MULTILINE | re.DOTALL)
    assert about

    assert set(re.findall(r'Finding\(\s*"\w+", "(\w+)"', code)) <= set(re.findall(r"\w+", about[0]))


def test_the_tree_shows_the_subjects() -> None:
    top = [path for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]

    assert len(top) <= 16
    assert len(list((PACKAGE / "commands").glob("*.py"))) <= 16


def test_a_package_is_a_name_and_no_code() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        docstring, *rest = ast.parse(path.read_text()).body
        code = [ast.unparse(node) for node in rest]

        assert isinstance(docstring, ast.Expr)
        assert code[0] == "from __future__ import annotations"
        assert all(line.startswith("__version__ = ") for line in code[1:]), path


def test_nobody_but_the_library_and_the_seeder_knows_where_things_are_kept() -> None:
    knows = {
        room(name)
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr == "inner")
        or (isinstance(node, ast.Constant) and node.value == ".memosync")
    }

    assert knows == {"library", "seeder"}


def test_the_list_of_floors_names_every_module() -> None:
    floors = (ROOT / "CONTRIBUTING.md").read_text().partition("\n## The floors\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(?:\w+/)*(\w+)/?`", floors))

    assert {name.split(".")[-1] for name in modules()} - {""} <= named


def test_no_module_imports_itself_by_a_detour() -> None:
    assert list(TopologicalSorter(ours()).static_order())  # raises CycleError


def test_each_outside_thing_has_one_owner() -> None:
    used: dict[str, set[str]] = {thing: set() for thing in OWNERS}
    for name, found in all_imports().items():
        for thing in OWNERS:
            if any(other == thing or other.startswith(thing + ".") for other in found):
                used[thing].add(room(name))

    assert {thing: used[thing] - owners for thing, owners in OWNERS.items() if used[thing] - owners} == {}


def test_every_dependency_is_declared_and_owned() -> None:
    top = set()
    for tree in modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                top |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                top.add(node.module.split(".")[0])
    declared = re.findall(r'^    "([\w-]+)[=<>]', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)

    assert top - sys.stdlib_module_names == {name.replace("-", "_") for name in declared}
    assert top - sys.stdlib_module_names <= set(OWNERS)


def test_no_test_imports_another() -> None:
    wrong = []
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(), path)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            wrong += [f"{path.name} -> {name}" for name in names if re.search(r"(^|\.)(test_\w+|conftest)$", name)]

    assert wrong == []


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    code = "import sys, memosync.cli; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout.split()

    assert "typer" in loaded
    assert HEAVY & set(loaded) == set()


def manual() -> str:
    return (ROOT / "man/memosync.1").read_text()


def section(title: str) -> str:
    """Cut one section, or subsection, out of the manual page."""
    match = re.search(rf"^\.S[hs] {re.escape(title)}\n(.*?)(?=^\.S[hs] |\Z)", manual(), re.MULTILINE | re.DOTALL)
    assert match, f"the manual page has no section {title}"
    return match[1]


def options_in_manual(title: str) -> set[str]:
    items = re.findall(r"^\.It (Fl .*)$", section(title), re.MULTILINE)
    return {f"-{option}" for item in items for option in re.findall(r"Fl (\S+)", item)}


def options_of(command: Any) -> set[str]:
    return {
        option
        for parameter in command.params
        if parameter.param_type_name == "option" and not parameter.hidden
        for option in (*parameter.opts, *parameter.secondary_opts)
    }


def options_classes() -> Iterator[tuple[str, Any]]:
    """Give each command that fills a dataclass of options, and that."""
    source = ast.parse((PACKAGE / "cli.py").read_text())
    for function in ast.walk(source):
        if isinstance(function, ast.FunctionDef):
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "_filled":
                    verb = next(
                        node
                        for node in ast.walk(function)
                        if isinstance(node, ast.ImportFrom) and node.module == "commands"
                    )
                    module = importlib.import_module(f"memosync.commands.{verb.names[0].name}")
                    yield function.name.strip("_"), getattr(module, ast.unparse(call.args[0]).partition(".")[2])


def test_every_option_of_a_verb_is_filled_from_the_command_line() -> None:
    filled = dict(options_classes())

    assert filled.keys() >= {"record", "list", "share", "fetch", "seed", "play", "edit", "export", "check"}
    for name, kind in filled.items():
        fields = {field.name for field in dataclasses.fields(kind)}
        given = {parameter.name for parameter in commands()[name].params}
        given |= {"device", "trackers"} if name == "check" else set()  # from the environment alone
        given |= {"typed"} if name in ("share", "sync") else set()  # where its trackers come from
        given |= {"pasted"} if name == "sync" else set()  # what was, where it asked

        assert fields <= given, name


def test_the_program_has_the_verbs_of_the_manual() -> None:
    assert set(VERBS) == set(commands()) - {""}
    assert re.findall(r"^\.Ss (.*)$", manual().split(".Sh VALUES")[0], re.MULTILINE) == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_in_the_manual_and_back(verb: str) -> None:
    assert options_of(commands()[verb]) == options_in_manual(verb)


def test_every_option_before_the_verb_is_in_the_manual_and_back() -> None:
    assert options_of(commands()[""]) | {"-h", "--help"} == options_in_manual("DESCRIPTION")


def test_every_variable_is_in_the_manual_and_back() -> None:
    source = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    parameters = [parameter for command in commands().values() for parameter in command.params]
    read = {parameter.envvar for parameter in parameters if parameter.envvar}
    read |= set(re.findall(r"environ\b[^\n]*\"(MEMOSYNC_[A-Z_]+)\"", source))

    assert read == set(re.findall(r"^\.It Ev (MEMOSYNC_\w+)", section("ENVIRONMENT"), re.MULTILINE))


def test_every_variable_stands_beside_each_option_that_it_is_for() -> None:
    items = dict(
        re.findall(r"^\.It Ev (MEMOSYNC_\w+)\n(.*?)(?=^\.It|^\.El)", section("ENVIRONMENT"), re.MULTILINE | re.DOTALL)
    )
    for verb, command in commands().items():
        for parameter in command.params:
            if parameter.envvar:
                option = " ".join(filter(None, [verb and f"Cm {verb}", f"Fl {parameter.opts[0][1:]}"]))
                assert f".{option}" in items[parameter.envvar], f"{option}: {parameter.envvar}"


def test_every_exit_code_is_in_the_manual() -> None:
    from memosync import errors

    codes = {error.exit_code for error in errors.MemosyncError.__subclasses__()} - {errors.MemosyncError.exit_code}
    described = {
        int(code)
        for item in re.findall(r"^\.It ([\d ,]+)$", section("EXIT STATUS"), re.MULTILINE)
        for code in re.findall(r"\d+", item)
    }

    assert codes | {0, 1} == {code for code in described if code < 128}


@pytest.mark.parametrize("minor", [10, 14])
def test_a_python_that_libtorrent_does_not_come_for_is_refused_in_one_line(tmp_path: Path, minor: int) -> None:
    required = re.search(r'^requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert required
    first, *others, last = [f"3.{number}" for number in range(*map(int, required.groups()))]
    other = tmp_path / "python"
    other.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, {minor}); exec(sys.argv[1])" "$2"\n'
    )
    other.chmod(0o755)

    command = ["make", "-s", "-C", str(ROOT), "-W", "pyproject.toml", ".venv/ready", f"PYTHON={other}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    said = f"Python {', '.join([first, *others])} or {last}"
    assert done.stderr.startswith(f"{said} is needed: ")
    assert said in README
    assert done.returncode


def test_whatever_the_readme_has_one_type_can_be_typed() -> None:
    text = README.replace("\n", " ")
    typed = re.findall(r"^    (?:\w*\$ +)?memosync (.*)$", README, re.MULTILINE)
    typed += [said for said in re.findall(r"`(?:memosync )?([^`]+)`", text) if said.split()[0] in VERBS]
    typed += [said.removeprefix("memosync ") for said in re.findall(r"`(memosync --[^`]+)`", text)]

    assert {line.split()[0] for line in typed} >= {*VERBS} - {"list", "play", "rm", "restore", "help"}
    for line in typed:
        words = line.partition(" | ")[0].split()
        verb = words[0] if words[0] in VERBS else ""
        assert {word for word in words if word.startswith("-") and word != "-"} <= options_of(commands()[verb]), line


def test_the_session_in_the_readme_shows_what_show_does(memosync: Program, speech: Path, tmp_path: Path) -> None:
    memosync("record", speech, "-t", "Weekly standup", "--tag", "work")
    ben = memosync.on(tmp_path / "Ben")
    ben("fetch", memosync("share", "last").out.strip())
    window = Terminal([*PROGRAM, "show", "last"], ben.environment, columns=200)
    field = re.compile(r"^ *(\w+) {2,}\S", re.MULTILINE)

    session = README.partition("$ memosync show last\n")[2].partition("\n\n")[0]
    assert field.findall(session) == field.findall(window.end())
    window.close()


def test_the_manual_page_is_clean() -> None:
    done = subprocess.run(
        ["mandoc", "-Tlint", "-W", "warning", ROOT / "man/memosync.1"], capture_output=True, text=True, timeout=120
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_systemd_takes_the_unit_in_the_manual(tmp_path: Path) -> None:
    (unit,) = re.findall(r"(?s)^\.Bd -literal [^\n]*\n(\[Unit\].*?)^\.Ed$", manual(), re.MULTILINE)
    program = tmp_path / "home/.local/bin/memosync"  # where pipx puts it
    program.parent.mkdir(parents=True)
    program.symlink_to(Path(sys.executable).with_name("memosync"))
    (tmp_path / "memosync.service").write_text(unit)
    here = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "XDG_RUNTIME_DIR": str(tmp_path)}
    verify = ["systemd-analyze", "--user", "verify", "--man=no", str(tmp_path / "memosync.service")]

    done = subprocess.run(verify, env=here, capture_output=True, text=True, timeout=120)

    assert (done.returncode, done.stdout) == (0, "")
    assert "memosync.service" not in done.stderr  # of others it may tell what it likes
    assert re.findall(r"^ExecStart=%h/\.local/bin/memosync (.*)$", unit, re.MULTILINE) == ["seed"]


def test_the_ten_slowest_tests_are_printed() -> None:
    dry = ["make", "-n", "-C", str(ROOT), "ordinary"]

    assert "--durations=10" in subprocess.run(dry, capture_output=True, text=True, check=True).stdout


def test_two_thousand_lives_are_lived_beside_the_tests() -> None:
    dry = ["make", "-n", "-C", str(ROOT), "test", "MAKE=make -n"]

    assert "proof.run --brief --lives 2000" in subprocess.run(dry, capture_output=True, text=True, check=True).stdout


def test_the_demo_says_first_that_it_sets_up_for_a_minute() -> None:
    dry = ["make", "-n", "-C", str(ROOT), "-W", "pyproject.toml", "demo"]
    lines = subprocess.run(dry, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()

    said = next(number for number, line in enumerate(lines) if "a minute" in line)
    assert said < next(number for number, line in enumerate(lines) if "-m venv" in line)


def test_the_demo_does_the_main_job(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [ROOT / "demo/run"], env={**os.environ, "PATH": path}, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    for command in ("record", "list", "share", "fetch", "seed --stop"):
        assert re.search(rf"^\$ .*memosync --library \w+ {command}", done.stdout, re.MULTILINE)
    assert len(set(re.findall(r"^([0-9a-f]{64})  \w+/.*\.webm$", done.stdout, re.MULTILINE))) == 1
    assert "the same" in done.stdout.splitlines()[-1]


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """A second of sound to record."""
    path = tmp_path / "speech.wav"
    subprocess.run([sys.executable, ROOT / "demo/speech.py", path, "1"], check=True, timeout=120)
    return path


def keys_in_manual(title: str) -> set[str]:
    """Find the words that stand literally in a section of the manual page that lists keys."""
    literal = re.findall(r"^\.Li (.*)$", section(title), re.MULTILINE)
    return set(re.findall(r"\w+", " ".join(literal))) - {"null"}


def test_the_keys_of_list_are_those_of_the_manual(memosync: Program, speech: Path) -> None:
    memosync("record", speech)

    assert set(json.loads(memosync("list", "--json").out)) == keys_in_manual("JSON of list")


def test_the_keys_of_show_are_those_of_list_and_those_of_the_manual(memosync: Program, speech: Path) -> None:
    memosync("record", speech)
    listed = json.loads(memosync("list", "--json").out)

    assert set(json.loads(memosync("show", "last", "--json").out)) - set(listed) == keys_in_manual("JSON of show")


def test_the_keys_of_seed_and_fetch_are_those_of_the_manual(memosync: Program, speech: Path, tmp_path: Path) -> None:
    memosync("record", speech)
    link = memosync("share", "last").out.strip()
    status = memosync("seed", "--status", "--json").out
    info = memosync.on(tmp_path / "other")("fetch", "--info", "--json", link).out

    assert set(json.loads(status)) == keys_in_manual("JSON of seed")
    assert set(json.loads(info)) == keys_in_manual("Rows and JSON of fetch")


def test_the_keys_of_check_are_those_of_the_manual(memosync: Program) -> None:
    found = json.loads(memosync("check", "--json").lines[0])

    assert {*found, "ok", "note", "defect"} == keys_in_manual("Rows and JSON of check")


def test_an_installed_package_brings_the_manual_page_the_completions_and_what_a_page_is_made_of(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=ROOT, check=True, timeout=120
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        shared = {name.partition(".data/data/share/")[2]: archive.read(name) for name in archive.namelist()}

    assert {
        str(path.relative_to(ROOT)) for path in (PACKAGE / "page").rglob("*.*") if "__pycache__" not in path.parts
    } <= names
    assert "memosync/page/webtorrent/LICENSE" in names
    assert shared["man/man1/memosync.1"] == (ROOT / "man/memosync.1").read_bytes()
    assert shared["bash-completion/completions/memosync"] == (PACKAGE / "completions/memosync.bash").read_bytes()
    assert shared["zsh/site-functions/_memosync"] == (PACKAGE / "completions/_memosync").read_bytes()
    assert shared["fish/vendor_completions.d/memosync.fish"] == (PACKAGE / "completions/memosync.fish").read_bytes()


@pytest.mark.long
def test_the_picture_in_the_readme_is_of_the_program_as_it_is(tmp_path: Path) -> None:
    def words(picture: Path) -> list[str]:
        """Give its words but ids, times and the like, which are others each time."""
        drawn = re.findall(">([^<]+)</text>", picture.read_text())
        return [word for word in drawn if not re.search(r"\d|&amp;|^[0-9a-hjkmnp-tv-z]{8}$", word) and word.isascii()]

    now = tmp_path / "session.svg"
    subprocess.run([sys.executable, ROOT / "demo/picture.py", now], check=True, timeout=120)

    assert words(now) == words(ROOT / "docs/session.svg")


def test_the_first_screen_of_the_readme_shows_a_session_and_the_page() -> None:
    first, _, _ = (ROOT / "README.md").read_text().partition("## Install")

    assert "memosync share last --page" in first
    assert re.findall(r'<img src="([^"]+)"', first) == ["docs/session.svg", "docs/page.png"]
    assert ">play<" in (ROOT / "docs/session.svg").read_text()
    assert all(0 < (ROOT / picture).stat().st_size < 150_000 for picture in ("docs/session.svg", "docs/page.png"))
