"""Sealed forms and the keys they are made with: the same every time, and never with bytes they are not for."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from memosync import sealing
from memosync.errors import LibraryError
from memosync.library import keys, sealed
from memosync.library.keys import Key
from memosync.library.store import Library
from memosync.magnet import InfoHash
from memosync.memo import Memo
from memosync.sealing import Opener, Original, Seal
from memosync.torrent import metainfo

OLD = Path(__file__).parent / "upgrade/library-0.1.0.tar.gz"
SECRET = bytes(range(32))


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """A library whose secret and memos are known."""
    with tarfile.open(OLD) as archive:
        archive.extractall(tmp_path, filter="data")
    library = Library(next(tmp_path.glob("*/index.toml")).parent)
    library.prepare()
    library.keys.mkdir(mode=0o700)
    (library.keys / "library").write_bytes(SECRET)
    return library


@pytest.fixture
def memo(library: Library) -> Memo:
    return next(memo for memo in library.index().memos if not memo.trashed and library.path(memo).exists())


def test_the_torrent_of_a_sealed_memo_is_this_for_ever(library: Library, memo: Memo) -> None:
    torrent = sealed.seal(library, memo)

    assert (memo.id, torrent.name, torrent.infohash) == (
        "gxp0sdm8",
        "7421d0f025b40681",
        "02c0c45540b870d8352f6209b00cc16da712a211",
    )
    assert (torrent.size, torrent.piece_length) == (5511, 16384)
    assert torrent.infohash == metainfo.read(library.torrent(torrent.infohash).read_bytes()).infohash
    kept = keys.find(library, torrent.infohash)
    assert kept
    assert kept.digest == hashlib.sha256(library.path(memo).read_bytes()).digest()
    assert kept.seal == sealing.derive(SECRET, "link 0", kept.digest)
    text = library.form(torrent.infohash).read_bytes()
    assert (torrent.name, torrent.size) == (text[:8].hex(), len(text))
    assert Opener(text[:56], kept.seal.key).open(0, text[56 : 56 + 16400]) == library.path(memo).read_bytes()[:16384]


def test_another_library_with_the_same_secret_serves_the_same_swarm(
    library: Library, memo: Memo, tmp_path: Path
) -> None:
    shutil.copytree(library.root, tmp_path / "other")
    first, second = sealed.seal(library, memo), sealed.seal(Library(tmp_path / "other"), memo)

    assert first == second


def test_each_link_of_a_memo_is_another_one(library: Library, memo: Memo) -> None:
    assert sealed.seal(library, memo).infohash != sealed.seal(library, memo, renewals=1).infohash


def test_for_a_first_link_the_file_is_read_twice(library: Library, memo: Memo) -> None:
    """Once for its key, and once to seal it."""
    path = library.path(memo)
    path.write_bytes(os.urandom(2**24))
    before = _read_so_far()

    form = sealed.form_of(library, memo)

    assert 2 * 2**24 <= _read_so_far() - before < 2.5 * 2**24
    assert metainfo.fits(metainfo.read(library.torrent(form.infohash).read_bytes()), library.form(form.infohash))


def _read_so_far() -> int:
    """Give the bytes that this process has read."""
    said = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(said["rchar"])


def test_a_lost_form_is_made_again_byte_for_byte(library: Library, memo: Memo) -> None:
    torrent = sealed.seal(library, memo)
    form = library.form(torrent.infohash)
    before = form.read_bytes()
    shutil.rmtree(library.forms)
    (library.keys / "library").unlink()  # the key alone is enough

    sealed.seal_again(library, memo, torrent.infohash)

    assert before == form.read_bytes()


def test_an_altered_file_is_never_sealed_with_the_key_of_what_it_was(library: Library, memo: Memo) -> None:
    torrent = sealed.seal(library, memo)
    path = library.path(memo)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    before = library.form(torrent.infohash).read_bytes()
    library.form(torrent.infohash).unlink()

    with pytest.raises(LibraryError, match="not what its link was given for"):
        sealed.seal_again(library, memo, torrent.infohash)

    assert [] == list(library.forms.iterdir())
    other = sealed.seal(library, memo)
    assert other.infohash != torrent.infohash
    assert library.form(other.infohash).read_bytes()[:24] != before[:24]


@pytest.mark.parametrize("form", ["link", "devices"])
@pytest.mark.parametrize("change", ["a bit", "longer", "shorter"])
def test_a_file_that_changes_while_it_is_sealed_is_not_kept(
    library: Library, memo: Memo, monkeypatch: pytest.MonkeyPatch, change: str, form: str
) -> None:
    path, read = library.path(memo), Original.read
    path.write_bytes(os.urandom(2_000_000))

    def read_and_change(source: IO[bytes], *_: object) -> Original:
        original = read(source)
        with path.open("r+b") as file:
            if change == "a bit":
                byte = os.pread(file.fileno(), 1, 1_999_990)[0]
                os.pwrite(file.fileno(), bytes([byte ^ 1]), 1_999_990)
            else:
                file.truncate(2_000_001 if change == "longer" else 1_999_999)
        return original

    monkeypatch.setattr(Original, "read", read_and_change)

    with pytest.raises(LibraryError, match=r"is not what its link was given for|is being changed"):
        sealed.seal(library, memo) if form == "link" else sealed.form_for_devices(library, path, library.forms / "form")

    assert [] == (list(library.forms.iterdir()) if library.forms.exists() else [])


def test_a_key_of_another_memo_makes_nothing(library: Library, memo: Memo) -> None:
    torrent = sealed.seal(library, memo)
    other = InfoHash("ab" * 20)
    key = keys.find(library, torrent.infohash)
    assert key
    keys.keep(library, other, key)
    library.form(torrent.infohash).unlink()

    with pytest.raises(LibraryError, match="another one's"):
        sealed.seal_again(library, memo, other)

    assert [] == list(library.forms.iterdir())


def test_what_was_ended_stays_ended(library: Library, memo: Memo) -> None:
    torrent = sealed.seal(library, memo)
    key = keys.find(library, torrent.infohash)
    assert key
    keys.keep(library, torrent.infohash, replace(key, ended=True))
    keys.keep(library, torrent.infohash, key)
    library.form(torrent.infohash).unlink()

    with pytest.raises(LibraryError, match="ended"):
        sealed.seal_again(library, memo, torrent.infohash)

    assert [(torrent.infohash, replace(key, ended=True))] == list(keys.kept(library))


@pytest.mark.parametrize("data", [b"", SECRET[:-1], SECRET + b"\n"])
def test_a_broken_secret_is_not_replaced(library: Library, memo: Memo, data: bytes) -> None:
    (library.keys / "library").write_bytes(data)

    with pytest.raises(LibraryError, match="is no secret"):
        sealed.seal(library, memo)

    assert data == (library.keys / "library").read_bytes()


@pytest.mark.parametrize("size", [0, 71])
def test_a_broken_key_is_none(library: Library, size: int) -> None:
    infohash = InfoHash("ab" * 20)
    (library.keys / infohash).write_bytes(bytes(size))

    assert None is keys.find(library, infohash)
    assert [] == list(keys.kept(library))


def test_many_at_once_make_one_secret(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from memosync.library import keys, store;"
        "sys.stdin.read(); print(keys.secret(store.Library(pathlib.Path(sys.argv[1]))).hex())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "Memos")]
    all_of_them = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)
    ]
    for process in all_of_them:
        assert process.stdin
        process.stdin.close()
    said = {process.stdout.read() for process in all_of_them if process.stdout}
    for process in all_of_them:
        process.wait(60)

    assert {(tmp_path / "Memos/.memosync/keys/library").read_bytes().hex() + "\n"} == said


def test_keys_are_nobody_elses(library: Library, memo: Memo, tmp_path: Path) -> None:
    open_library = Library(tmp_path / "open")
    open_library.root.mkdir(mode=0o755)
    keys.secret(open_library)
    keys.keep(open_library, InfoHash("ab" * 20), Key(seal=Seal(bytes(16), bytes(24)), digest=bytes(32)))

    assert {0o700} == {open_library.keys.stat().st_mode & 0o777}
    assert {0o600} == {path.stat().st_mode & 0o777 for path in open_library.keys.iterdir()}
