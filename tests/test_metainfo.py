"""Torrents of memos: the two rules that make the infohash, kept by fixed values, and what other programs see."""

from __future__ import annotations

import base64
import hashlib
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import libtorrent as lt
import pytest
import torf
from hypothesis import given
from hypothesis import strategies as st
from support.program import Program

from memosync import files
from memosync.errors import TorrentError
from memosync.memo import MemoId, Words, torrent_name
from memosync.torrent import metainfo

# A memo of 0.06 s as this program wrote it, titled `Weekly: "stand/up" ünder 5 °`.
MEMO = zlib.decompress(
    base64.b64decode(
        """
        eNqTcr2/eL5TWyOj03cg/tTI4vS5kcOpqaU8NSnXqR3IbW1kkghuSGdkAAFmS0Hf2SW7fHd3B69uEfVcmRa8pnEhhCcWsi4byHvuu7sHyBMKOZwe
        vKaJMRDClQneDZRsYlJ9AzGHIZKBVgDkqoNa1zc28zs5VK+cF56amp1TaaWgVFySmJeiX1qgpHB4T15KapGCqcKhDb4NLT6JZWnhjmDKpbPDIcQB
        bArIN0/XQR0bc72RsfhoB9QCxjmNDEpb5zSX5qV0NDK0tTnG+weEBoetak7WWxC2u4XlyBaG5kamhxPnNzJu7XB4XgDWlJTSqJC8aLJ/QWmxR2pi
        CiOjBWPDbrAMKKQczhUXO0xNPtCQfmK96+JuF9dg5yDPgBBPfz+X9nnlGYklCuWpCsWJmSlciUn5pSUKJRmpCkWpOamJxanpJya5Lu7wdo0M9w9y
        CXZpbynPL8pOP7HGdXGvi2OIa3yQqzNQwtXFpX2mkYGRma6hoa6RcYiRoZWRsZWBmbaBoZWBQfqJmUBbfV19/YMj/ZzjPYGKO4xTDavSyowqi4s3
        JR/oTkb4Pv3EQqCFLqFBjhD3TTYwsAIjPQMLQwMwYABF98Td/ZsbGbZ3AZPVxyYm6w+NzPLO20odfjxvZFh8spGBoaGiiXF7jrvKKya3/F/bmHsa
        Ta69iGN8Lb0x7v3JColPXJsVHc9cXDb/YdfstrnZja9Y5r126NJ2D9DgvOAWzFDiu21+1eEvDD8X725kEG2oWGz/fc2MVuYYNa7V/x2jBNymJh3Z
        JH5zJv+PCZ2fRJ0akq6bT9s2+X31Rm//051PZpSLTn/PN+Xl08W7Ghk0GypmLxYKdGVY8/jqmjMP71TOUWU+PrntcsKjOcvmcdx9IrjPeHHsnflH
        VibPDpq6zvf6pvNP/9pN0exesH7hskYGW4aK5hP3Wdf/uP7UKqVzp/DrdQrzjhRdNWV+qHr3+6YdtawTktJLF7UwnP2XAAC14z/5
        """
    )
)
MEMO_ID = MemoId("3e1zfv2y")
KI, MI, GI = 2**10, 2**20, 2**30


def torrent_of(program: Program, memo: str = "last") -> Path:
    """Share a memo and give its .torrent."""
    infohash = lt.parse_magnet_uri(program("share", memo, "--public", "--no-seed").out.strip()).info_hashes.v1
    return program.library / ".memosync" / "torrents" / f"{infohash}.torrent"


@pytest.mark.parametrize(
    ("blocks", "infohash"),
    [
        (200, "59044615fcf12338c911258f06a5197a85984414"),
        (65537, "d8fd6ea51a19d119b3a53f1d67835da9a50161df"),  # just more than 1,024 pieces of 16 KiB
    ],
)
def test_the_same_bytes_and_name_give_the_same_infohash_for_ever(tmp_path: Path, blocks: int, infohash: str) -> None:
    path = tmp_path / "any name"
    path.write_bytes(bytes(range(256)) * blocks)

    assert infohash == metainfo.make(path, "Weekly standup.webm").infohash


def test_the_same_memo_gives_the_same_link_for_ever(memosync: Program) -> None:
    memosync.library.mkdir()
    path = memosync.library / f"2026-11-23-weekly-stand-up-ünder-5-{MEMO_ID}.webm"
    path.write_bytes(MEMO)

    link = memosync("share", MEMO_ID, "--public", "--no-seed").out.strip()

    assert link.startswith("magnet:?xt=urn:btih:4aa1ba7e3b6bc55f00672fd3717873d7969be90b&dn=Weekly%3A%20%22stand%2Fup")
    assert path.read_bytes() == MEMO


@pytest.mark.parametrize(
    ("size", "length"),
    [
        (1, 16 * KI),
        (16 * MI, 16 * KI),
        (16 * MI + 1, 32 * KI),
        (32 * MI, 32 * KI),
        (500 * 10**6, 512 * KI),
        (GI, MI),
        (GI + 1, 2 * MI),
        (4 * GI, 4 * MI),
        (5 * GI, 4 * MI),
    ],
)
def test_the_piece_length_follows_from_the_size(size: int, length: int) -> None:
    assert length == metainfo.piece_length(size)


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Weekly standup", "Weekly standup.webm"),
        ('a/b\\c:d*e?f"g<h>i|j', "a-b-c-d-e-f-g-h-i-j.webm"),
        ("u\N{COMBINING DIAERESIS}ber", "über.webm"),
        ("two\nlines\tand \x1b[31m\x7f", "two-lines-and -[31m-.webm"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}mbew.\N{LEFT-TO-RIGHT ISOLATE}", "-mbew.-.webm"),
        ("ü" * 100, "ü" * 60 + ".webm"),
        ("a" + "ü" * 100, "a" + "ü" * 59 + ".webm"),
        ("", f"{MEMO_ID}.webm"),
        ("..", f"{MEMO_ID}.webm"),
        ("CON", "CON.webm"),
    ],
)
def test_the_name_follows_from_the_title(title: str, name: str) -> None:
    assert name == torrent_name(Words(title), MEMO_ID)


@given(st.text())
def test_any_title_makes_a_name_that_is_safe_everywhere(title: str) -> None:
    name = torrent_name(Words(title), MEMO_ID)

    assert name.endswith(".webm")
    assert 0 < len(name.removesuffix(".webm").encode()) <= 120
    assert not set(name) & set('/\\:*?"<>|\0\n\r\x1b\u202e')


def test_torf_reads_our_torrent_and_finds_it_right(memosync: Program, tmp_path: Path) -> None:
    source = tmp_path / "memo.webm"
    source.write_bytes(MEMO)
    memosync("record", source, "-t", "Weekly: standup")

    kept = torrent_of(memosync)

    torrent = torf.Torrent.read(kept)
    (memo,) = memosync.library.glob("*.webm")
    assert kept.stem == torrent.infohash
    assert torrent.name == "Weekly- standup.webm"
    assert (torrent.size, torrent.piece_size) == (memo.stat().st_size, 16 * KI)
    assert torrent.verify(memo)


def test_torf_makes_the_same_torrent_of_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "Weekly standup.webm"
    path.write_bytes(bytes(range(256)) * 65537)
    torrent = torf.Torrent(path, piece_size=32 * KI)
    torrent.generate()

    assert torrent.infohash == metainfo.make(path, path.name).infohash


def test_our_torrent_holds_info_and_nothing_else(memosync: Program, tmp_path: Path) -> None:
    source = tmp_path / "memo.webm"
    source.write_bytes(MEMO)
    memosync("record", source)

    kept = torrent_of(memosync)

    whole: Any = lt.bdecode(kept.read_bytes())
    assert set(whole) == {b"info"}
    assert set(whole[b"info"]) == {b"length", b"name", b"piece length", b"pieces"}
    assert kept.stem == hashlib.sha1(lt.bencode(whole[b"info"])).hexdigest()


def test_what_we_make_we_read_the_same(tmp_path: Path) -> None:
    path = tmp_path / "memo"
    path.write_bytes(MEMO)

    made = metainfo.make(path, "ü.webm")

    assert made == metainfo.read(made.data)


@pytest.mark.parametrize("size", [1, 2**14 - 1, 2**14, 2**15, 50_000])
@pytest.mark.parametrize("padding", [[1], [2**14 - 1], [5, 7]])
def test_padding_belongs_to_the_pieces_and_not_to_the_file(tmp_path: Path, size: int, padding: list[int]) -> None:
    path = tmp_path / "folder" / "memo.webm"
    path.parent.mkdir()
    path.write_bytes(b"m" * size)
    pads = [
        lt.create_file_entry(f"folder/.pad/{number}", length, lt.file_storage.flag_pad_file)
        for number, length in enumerate(padding)
    ]
    entry = lt.create_file_entry("folder/memo.webm", size)
    made = lt.create_torrent([entry, *pads], 2**14, lt.create_torrent.v1_only)
    lt.set_piece_hashes(made, str(tmp_path))

    torrent = metainfo.read(lt.bencode(made.generate()))
    fitted = metainfo.fits(torrent, path)
    path.write_bytes(b"m" * (size - 1) + b"n")

    assert (size, sum(padding), "memo.webm") == (torrent.size, torrent.padding, torrent.name)
    assert torrent == metainfo.read(torrent.data)
    assert fitted
    assert not metainfo.fits(torrent, path)


def test_one_altered_byte_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "memo"
    path.write_bytes(MEMO)
    made = metainfo.make(path, "memo.webm")
    fitted = metainfo.fits(made, path)

    path.write_bytes(MEMO[:-1] + bytes([MEMO[-1] ^ 1]))

    assert fitted
    assert not metainfo.fits(made, path)


def test_addresses_in_a_torrent_are_dropped_and_the_infohash_stays(tmp_path: Path) -> None:
    path = tmp_path / "memo"
    path.write_bytes(MEMO)
    made = metainfo.make(path, "memo.webm")
    whole: Any = lt.bdecode(made.data)
    addresses: Any = {b"announce": b"udp://127.0.0.1:9", b"url-list": [b"http://127.0.0.1/x"], b"nodes": [[b"::1", 9]]}

    stranger = metainfo.read(lt.bencode({**whole, **addresses}))

    assert stranger.trackers == ("udp://127.0.0.1:9",)
    assert made.data == stranger.data


INFO = b"6:lengthi100e4:name1:x12:piece lengthi16384e6:pieces20:" + 20 * b"A"


@pytest.mark.parametrize(
    "data",
    [
        b"d4:infod" + INFO + b"6:piecesi5eee",
        b"d4:infod" + INFO + b"6:pieces20:" + 20 * b"B" + b"ee",
        b"d4:infod6:lengthi100e4:name1:x12:piece lengthi16384e6:piecesi20eee",
        b"d4:infod" + INFO + b"4:metad1:ai1e1:ai2eeee",
    ],
)
def test_a_torrent_that_says_something_twice_is_none(data: bytes) -> None:
    with pytest.raises(TorrentError):
        metainfo.read(data)


def test_of_two_infos_in_a_torrent_the_one_with_its_hash_counts() -> None:
    first, second = (b"d" + INFO.replace(b"A", letter) + b"e" for letter in (b"B", b"C"))

    torrent = metainfo.read(b"d4:info" + first + b"4:info" + second + b"e")

    assert torrent.infohash == hashlib.sha1(first).hexdigest()
    assert torrent.pieces == 20 * b"B"
    assert torrent.data == metainfo.wrap(first)


def test_what_is_almost_nothing_but_a_hole_is_not_hashed(tmp_path: Path) -> None:
    path = tmp_path / "memo.webm"
    with open(path, "wb") as file:
        file.truncate(2**40)
    torrent = replace(metainfo.read(b"d4:infod" + INFO + b"ee"), size=2**40)

    assert not files.are_same(path, path)
    for look in (lambda: metainfo.fits(torrent, path), lambda: metainfo.make(path, "memo")):
        with pytest.raises(OSError, match="hole"):
            look()
