"""Torrents that no client should have made, written by a bencoder that has no opinion (BEP 3)."""

from __future__ import annotations

import hashlib
from typing import Any

PIECE = 16384  # bytes


def bencode(value: Any) -> bytes:
    """Write a value; the keys of a dictionary stay in the order they were given in."""
    match value:
        case bytes():
            return b"%d:%s" % (len(value), value)
        case str():
            return bencode(value.encode())
        case int():
            return b"i%de" % value
        case list():
            return b"l" + b"".join(map(bencode, value)) + b"e"
        case dict():
            return b"d" + b"".join(bencode(key) + bencode(item) for key, item in value.items()) + b"e"
    raise TypeError(value)


def info(payload: bytes = b"p" * 100, **changes: Any) -> dict[str, Any]:
    """Make the info dictionary of a file; `_` in a changed key is a space, None takes it out."""
    fields: dict[str, Any] = {"length": len(payload), "name": "memo.webm", "piece length": PIECE}
    fields["pieces"] = _pieces(payload)
    fields |= {key.replace("_", " "): value for key, value in changes.items()}
    return {key: fields[key] for key in sorted(fields) if fields[key] is not None}


def _pieces(payload: bytes) -> bytes:
    return b"".join(hashlib.sha1(payload[at : at + PIECE]).digest() for at in range(0, len(payload), PIECE))


def infohash(metadata: bytes) -> str:
    return hashlib.sha1(metadata).hexdigest()


def torrent(info: dict[str, Any], **outer: Any) -> bytes:
    return bencode({**outer, "info": info})


def _files(*entries: dict[str, Any], name: str = "memos") -> bytes:
    return torrent(info(length=None, name=name, files=[dict(sorted(entry.items())) for entry in entries]))


def _file(*path: Any, length: int = 50, **more: Any) -> dict[str, Any]:
    return {"path": list(path), "length": length, **{key.replace("_", " "): value for key, value in more.items()}}


_V2 = {
    "file tree": {"memo.webm": {"": {"length": 100, "pieces root": b"r" * 32}}},
    "meta version": 2,
    "name": "memo.webm",
    "piece length": PIECE,
}
_PASSWD = ["..", "..", "..", "..", "etc", "passwd"]

REFUSED: dict[str, bytes] = {
    # more or less than one ordinary file
    "several files": _files(_file("a.webm"), _file("b.webm")),
    "two files of one name": _files(_file("a.webm"), _file("a.webm")),
    "names that differ in case": _files(_file("a.webm"), _file("A.webm")),
    "a file that is a directory too": _files(_file("a.webm"), _file("a.webm", "b.webm")),
    "an empty file beside": _files(_file("a.webm", length=0), _file("b.webm", length=100)),
    "no files": _files(),
    "a list of files that is a number": torrent(info(length=None, files=1)),
    "a pad file before": _files(_file(".pad", "50", attr="p"), _file("a.webm")),
    "a pad file of a piece": torrent(
        info(
            length=None,
            name="memos",
            pieces=b"x" * 40,
            files=[_file("a.webm"), _file(".pad", "9", attr="p", length=PIECE)],
        )
    ),
    "a pad file of a petabyte": _files(_file("a.webm"), _file(".pad", "9", attr="p", length=2**50)),
    "a pad file and another": _files(_file("a.webm"), _file(".pad", "20", attr="p", length=20), _file("b", length=30)),
    "nothing but a pad file": _files(_file(".pad", "100", attr="p", length=100)),
    "a single file that is padding": torrent(info(attr="p")),
    "a symlink": _files(_file("a.webm", attr="l", length=0, symlink_path=_PASSWD)),
    "a symlink with a length": _files(_file("a.webm", attr="l", length=100, symlink_path=_PASSWD)),
    "a symlink beside": _files(_file("b.webm", length=100), _file("a.webm", attr="l", length=0, symlink_path=_PASSWD)),
    "a single file that is a symlink": torrent(info(attr="l", symlink_path=_PASSWD)),
    "three thousand directories": _files(_file(*["d"] * 3000, "a.webm", length=100)),
    "a path without a name": _files(_file(length=100)),
    "a path of numbers": _files(_file(1, 2, length=100)),
    # names that are none
    "no name": torrent(info(name=None)),
    "an empty name": torrent(info(name="")),
    "a name that is a number": torrent(info(name=1)),
    "the name ..": torrent(info(name="..")),
    # numbers
    "a terabyte in one piece": torrent(info(length=10**12)),
    "nothing in it": torrent(info(b"")),
    "a negative length": torrent(info(length=-1)),
    "the most negative length": torrent(info(length=-(2**63))),
    "a negative length that adds up": _files(_file("a.webm", length=-50), _file("b.webm", length=150)),
    "a length of 2^63": torrent(info(length=2**63)),
    "a length that overflows to 100": torrent(info(length=2**64 + 100)),
    "a length of a thousand digits": torrent(info(length=10**1000)),
    "a length that is text": torrent(info(length="100")),
    "pieces of no length": torrent(info(piece_length=0)),
    "pieces of negative length": torrent(info(piece_length=-PIECE)),
    "pieces of 4 GiB": torrent(info(piece_length=2**32 + PIECE)),
    "no pieces": torrent(info(pieces=b"")),
    "too few pieces": torrent(info(length=2 * PIECE)),
    "too many pieces": torrent(info(pieces=b"x" * 40)),
    "a piece and a half": torrent(info(pieces=b"x" * 30)),
    "pieces that are a list": torrent(info(pieces=[b"x" * 20])),
    # kinds
    "BitTorrent v2 alone": torrent(_V2),
    "BitTorrent v3": torrent(_V2 | {"meta version": 3}),
    "v1 and v2 that contradict each other": torrent(dict(sorted((info(length=99) | _V2).items()))),
    # bencoding
    "empty": b"",
    "no info": b"de",
    "an info that is a list": b"d4:infolee",
    "not bencoded": b"<!doctype html><title>404</title>",
    "cut": torrent(info())[:-30],
    "a string of 99 GB": b"d4:infod4:name99999999999:memo.webmee",
    "a length of a string that overflows": b"d18446744073709551620:infode" + b"e",
    "nested deep": b"l" * 200_000 + b"e" * 200_000,
    "nested deep inside": b"d4:infod1:a" + b"l" * 5000 + b"e" * 5000 + torrent(info())[8:],
    "three million numbers": b"d1:al" + b"i0e" * 3_000_000 + b"e" + torrent(info())[1:],
}
TERABYTE = torrent(info(length=10**12, piece_length=2**24, pieces=b"x" * 20 * (10**12 // 2**24 + 1)))
UNWANTED: dict[str, bytes] = {
    "a terabyte": TERABYTE,
    "another kind of file": torrent(info(name="memo.exe")),
    "the name of our index": torrent(info(name="../../../index.toml")),
}

_PATHS = [("..", "..", "..", "..", "stolen.webm"), ("/etc/memo.webm",), ("a\0b.webm",), ("",), ("d" * 300, "memo.webm")]
_NAMES: dict[str, Any] = {
    "traversal": "../../../../stolen.webm",
    "traversal on another system": "..\\..\\..\\..\\stolen.webm",
    "NUL": b"memo\0.sh\0.webm",
    "bidi": "memo \u202egpj.webm",
    "escape": "\x1b]0;owned\x07\x1b[2J\x9b31mmemo.webm",
    "newline": "memo\nmemosync: error: forged\r\n7k3f9x2a.webm",
    "an option": "-rf.webm",
    "three hundred characters": "ä" * 300 + ".webm",
    "bad UTF-8": b"\xff\xfe\xc0\xafmemo.webm",
    "a device of another system": "CON.webm",
    "hidden": ".memosync",
    "a lone dot": "./.webm",
    "a shell's": "$(touch stolen);`touch stolen`|memo.webm",
}


def good(payload: bytes, canary: str) -> dict[str, dict[str, Any]]:
    """Make torrents of a good memo whose names are not; one is that of a file that is there."""
    named = {kind: info(payload, name=name) for kind, name in {**_NAMES, "absolute": canary}.items()}
    for number, path in enumerate(_PATHS):
        files = [{"length": len(payload), "path": list(path)}]
        named[f"folder {number}"] = info(payload, length=None, name="../folder", files=files)
    return named | {
        "another name in UTF-8": info(payload, **{"name.utf-8": "../../../../stolen.webm"}),
        "a name that is a number in UTF-8": info(payload, **{"name.utf-8": 7}),
        "padded": info(
            payload,
            length=None,
            name="padded",
            pieces=_pieces(payload + bytes(500)),
            files=[
                _file("../a.webm", length=len(payload)),
                *(_file(".pad", "250", attr="p", length=250) for _ in "12"),
            ],
        ),
        "executable": info(payload, name="run.webm", attr="xh"),
        "out of order": dict(reversed(info(payload, name="order.webm").items())),
    }
