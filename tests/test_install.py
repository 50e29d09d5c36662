"""What is installed: the versions that are kept, and the single file."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.sound import noise

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def kept(name: str) -> dict[str, list[Requirement]]:
    """Read the versions that a lock keeps, by package: one may have several, for several versions of Python."""
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / name).read_text().splitlines():
        if line and line[0].isalnum():
            requirement = Requirement(line.rstrip("\\"))
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("run.lock", PROJECT["project"]["dependencies"]),
        ("dev.lock", [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]),
    ],
)
def test_the_versions_that_are_kept_are_those_that_are_wanted(lock: str, wanted: list[str]) -> None:
    versions = kept(lock)

    for requirement in map(Requirement, wanted):
        for version in versions[canonicalize_name(requirement.name)]:
            assert requirement.specifier.contains(str(version.specifier).removeprefix("==")), "make lock brings it up"


def test_what_is_tested_is_what_is_installed() -> None:
    run, dev = kept("run.lock"), kept("dev.lock")

    assert {name: set(map(str, versions)) for name, versions in run.items()} == {
        name: set(map(str, dev[name])) for name in run
    }


def test_what_is_installed_is_what_the_locks_name_byte_for_byte() -> None:
    dry = ["make", "--dry-run", "--always-make", ".venv/ready", "pyz"]
    said = subprocess.check_output(dry, cwd=ROOT, env={**os.environ, "MAKEFLAGS": ""}, text=True)
    commands = [line for line in said.splitlines() if "pip install" in line]

    for lock in ("dev.lock", "run.lock"):
        assert [line for line in commands if f"--require-hashes --requirement {lock}" in line]
    assert all("--require-hashes --requirement" in line or "--no-deps" in line for line in commands)


def test_locks_name_no_place_that_packages_come_from() -> None:
    assert not [name for name in ("run.lock", "dev.lock") if "://" in (ROOT / name).read_text()]


@pytest.mark.long
def test_the_single_file_is_the_same_each_time_and_does_it_all(tmp_path: Path) -> None:
    tree, venv = tmp_path / "tree", Path(sys.executable).parent
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "build", "dist", "node_modules", "artefacts"))
    made = []
    for _ in range(2):
        subprocess.run(["make", "-o", ".venv/ready", f"BIN={venv}", "pyz"], cwd=tree, check=True, timeout=600)
        made.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tree / "dist").iterdir()})
    lines = [line.split() for line in (tree / "dist/SHA256SUMS").read_text().splitlines()]

    assert made[0] == made[1]
    assert {name: digest for digest, name in lines} == {
        name: digest for name, digest in made[0].items() if name != "SHA256SUMS"
    }

    path = f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin"
    env = {"HOME": str(tmp_path), "PATH": path, "MEMOSYNC_NETWORK": "loopback", "LANG": "C.UTF-8", "SHELL": "/bin/bash"}
    moved = shutil.move(tree / "dist/memosync.pyz", tmp_path / "memosync")
    shutil.rmtree(tree)

    def memosync(*arguments: str | os.PathLike[str]) -> str:
        ran = subprocess.run([moved, *arguments], env=env, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    script = Path(memosync("--install-completion"))
    assert script.read_bytes() == (ROOT / "memosync/completions/memosync.bash").read_bytes()
    recorded = memosync("record", noise(tmp_path / "voice.wav", 2))
    try:
        link = memosync("share", "last")
        fetched = memosync("--library", tmp_path / "other", "fetch", link)
        assert fetched == recorded
        assert "voice" in memosync("--library", tmp_path / "other", "list")
    finally:
        memosync("seed", "--stop")
