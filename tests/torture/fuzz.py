"""Mangle real inputs and feed them to a parser: `python fuzz.py PARSER COUNT SEED DIRECTORY`.

What a parser answers guides what comes next: an input with an answer that was not seen before is mangled further. The
input is on the disk before it is parsed, so that one that ends the process, takes more than its time or its memory is
there to be looked at. Standard output is what was found: a line of JSON.
"""

from __future__ import annotations

import base64
import collections
import contextlib
import io
import itertools
import json
import random
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from support import matroska
from support.hostile import payloads, torrents
from support.links import Reader
from support.matroska import Shape

from memosync import index, magnet, sealing
from memosync.audio import webm
from memosync.audio.playback import Output, opened
from memosync.errors import AudioError, LibraryError, TorrentError
from memosync.sealing import CHUNK, HEAD, TAG, Seal
from memosync.torrent import metainfo

HOSTILE = Path(torrents.__file__).parent
HASH = "a0a384eaa0a384eaa0a384eaa0a384eaa0a384ea"
KEY = "aebagbafaydqqcikbmga2dqpca"  # of a private link
ALONE = re.compile(rf"(?i)(?<![0-9a-z]){KEY}(?![0-9a-z])|x\.key(?:=|%3d){KEY}")  # and no part of something longer
BASES = ("https://memos.example/open.html", "https://memos.example/#/share", "file:///tmp/open.html?x=y#z")
OTHER_KEY = "aiaqcaibaeaqcaibaeaqcaibae"
BLANKS = " \t\n\r\v\f\x85\xa0\u2003\u2028\u2029\u3000"
UNSEEN = "\xad\u200b\u200d\u202e\u2060\ufeff\u180e\ufe0f"
ALIKE = {
    "a": "аａª", "b": "Ьｂᵇ", "c": "сｃℂ", "d": "ԁｄ", "e": "еｅé", "f": "ƒｆ", "i": "іıİ", "k": "кKｋ", "o": "оº",
    "q": "ԛｑ", "s": "ѕſ", "y": "уｙ", "0": "Οo", "1": "lI", "2": "²２", "3": "Зз",
}  # fmt: skip
KEYS = bytes(range(16)), bytes(range(1, 17))
CONTEXTS = sealing.MEMO, b"memosync invitation v1"
LENGTHS = 0, 100, CHUNK - 1, CHUNK, 2 * CHUNK + 100  # bytes of what is sealed
LARGEST = 20_000  # bytes of an input
SHORT = 400  # characters of one that is about HASH.KEY
SECONDS = 5.0  # of CPU an input may take
MEMORY = 2**31  # bytes of addresses
ANYWHERE = [
    b"",
    b"\0",
    b"\xff",
    b"\x1b[2J",
    b"-1",
    b"99999999999999999999",
    "\u202e٣ä".encode(),
    b"\r\n",
    b"%",
    b"1e999",
]


def link(data: bytes) -> str:
    """Read a link, or several in one; what is read can be written and read again."""
    found = [magnet.parse(part) for part in magnet.split(data.decode(errors="replace"))]
    assert found == [magnet.parse(str(one)) for one in found]
    return (
        f"{len(found[:3])} {[(one.name > '', one.trackers > (), one.peers > (), one.other > ()) for one in found[:2]]}"
    )


def private(data: bytes) -> str:
    """Read links that may have keys; what is read can be written in every form, and no message has a key."""
    text = data.decode(errors="replace")
    assert not ALONE.search(magnet.shorten(text, LARGEST))
    try:
        found = [magnet.parse(part) for part in magnet.split(text)]
    except TorrentError as error:
        if KEY in f"{error} {error.hint}".lower():
            raise AssertionError(error) from error
        raise
    keys = {magnet.format_key(one.key): one for one in found if one.key}
    for key, one in keys.items():
        short = magnet.parse(f"{one.infohash}.{key}")
        assert (short.infohash, short.key) == (one.infohash, one.key)
    for base in BASES:
        joined = magnet.join(base, list(map(str, found)))
        assert [magnet.parse(part) for part in magnet.split(joined)] == list(dict.fromkeys(found))
        assert not any(key in joined.partition("#")[0] for key in keys)
    return f"{len(found[:3])} {[(one.key > b'', one.name > '', one.trackers > ()) for one in found[:2]]}"


def opener(data: bytes) -> str:
    """Have the page that opens any link read some: no memo has another key than `magnet` finds."""
    text = data.decode(errors="replace")
    found = READER.read(text) or ()
    for one in found:
        assert _memos([one["link"]]) == {one["infohash"]: one["key"]}  # of what is copied
    read = _memos(part for line in magnet.unwrap(text) for part in magnet.split(line))
    here = {one["infohash"]: one["key"] for one in found}
    both = [(here[infohash], read[infohash]) for infohash in here.keys() & read]
    assert all(ours == theirs for ours, theirs in both if ours and theirs)  # where a link ends may be guessed otherwise
    return f"{len(read)} {here == read} {[key > '' for key in read.values()][:2]}"


def alone(data: bytes) -> str:
    """Read HASH.KEY, as both programs do: they find the same memos with the same keys, or none."""
    text = data.decode(errors="replace")
    found = READER.read(text)
    read: list[str] = []
    refused = None
    for line in magnet.unwrap(text):
        try:
            read += [str(magnet.parse(part)) for part in magnet.split(line)]
        except TorrentError as error:
            refused = error
    if refused:
        assert KEY not in f"{refused} {refused.hint}".lower()
        if not read or found is None:  # the page opens all of it or nothing
            assert not found, found
            raise refused
    assert {one["infohash"]: one["key"] for one in found or ()} == _memos(read)
    return f"{len(read)} {len(text.split())} {'x.key' in ''.join(read)}"


def _memos(links: Iterable[str]) -> dict[str, str]:
    """Give the keys of memos as the pages write them; of two of one infohash the first counts."""
    read = {one.infohash: base64.b64encode(one.key).decode() for one in reversed(list(map(magnet.parse, links)))}
    return dict(reversed(read.items()))


def sealed(data: bytes) -> str:
    """Do to a sealed memo what these bytes say, chunk by chunk; it is opened where that left it as it was."""
    which, key, context, *steps = data[:33].ljust(3, b"\0")
    every = list(SEALED)
    parts = _chunks(every[which % len(every)])
    for what, where, how in zip(steps[::3], steps[1::3], steps[2::3], strict=False):
        at = where % len(parts)
        part, place = parts[at], how * 65 % (len(parts[at]) or 1)
        match what % 7:
            case 0:
                parts[at] = part[:place]
            case 1:
                parts[at], parts[how % len(parts)] = parts[how % len(parts)], part
            case 2:
                parts[at] = (
                    part[:place] + bytes(byte ^ 1 << what % 8 for byte in part[place : place + 1]) + part[place + 1 :]
                )
            case 3:
                parts.insert(at, part)
            case 4:
                del parts[at]
            case 5:
                parts[at] += bytes(how)
            case _:
                parts[at] = b"".join(_chunks(every[how % len(every)])[at : at + 1])
        parts = parts or [b""]
    altered, known = b"".join(parts), (KEYS[key % len(KEYS)], CONTEXTS[context % len(CONTEXTS)])
    try:
        opened = io.BytesIO()
        sealing.unseal(io.BytesIO(altered), opened.write, *known)
        plain = opened.getvalue()
    except TorrentError:
        assert SEALED.get(altered, ())[:2] != known
        raise
    assert SEALED.get(altered) == (*known, plain)
    return f"{len(plain)} bytes"


def memos(data: bytes) -> str:
    """Read an index; what is read can be written and read again."""
    found = index.loads(data.decode(errors="replace"))
    written = index.dumps(found)
    assert written == index.dumps(index.loads(written))  # as text: what is not a number does not equal itself
    return f"{len(found.memos)} {sorted({name for memo in found.memos for name in memo.extra} | set(found.extra))}"


def torrent(data: bytes) -> str:
    """Read a torrent; what is kept of it has the same infohash."""
    found = metainfo.read(data)
    assert found.infohash == metainfo.read(found.data).infohash
    return f"{len(found.trackers)} {found.size > 0}"


def audio(data: bytes) -> str:
    """Look into a WebM file."""
    PAYLOAD.write_bytes(data)
    found = webm.probe(PAYLOAD)
    assert 0 < found.duration < 3600
    assert found.claimed >= 0
    if len(data) % 16 == 0:  # it takes ten times as long to hear one
        with PAYLOAD.open("rb") as file, contextlib.suppress(AudioError), opened(file) as recording:
            collections.deque(itertools.islice(recording.hear(found.duration / 2, 1.0, Output(48_000, 2, 960)), 10), 0)
    return f"{found.words.title != ''} {len(found.words.tags)} {found.words.recorded is not None}"


def links() -> list[bytes]:
    several = (
        f"magnet:?xt=urn:btih:{HASH}&dn=A%20b&tr=udp%3A%2F%2F127.0.0.1%3A1&tr.1=wss://t&x.pe=[::1]:7&ws=http://a&so=1"
    )
    share = f"https://example.org/share?seeds={several.replace('&', '%26')}&seeds={HASH}#/x?seeds={HASH}"
    return [several.encode(), share.encode(), HASH.encode(), b"magnet:?xt=urn:btih:" + b"A2" * 16]


def private_links() -> list[bytes]:
    short, link = f"{HASH}.{KEY}", f"magnet:?xt=urn:btih:{HASH}&x.key={KEY}"
    pages = [
        magnet.join(base, links)
        for base in BASES
        for links in ([link], [f"{link}&dn=A%20b&tr=wss://t&x.pe=[::1]:7", short])
    ]
    return [text.encode() for text in (short, short.upper(), link, f"magnet:?xt=urn:btih:{short}", *pages, HASH)]


def opened_links() -> list[bytes]:
    """Start the reader, before there is less memory than it needs."""
    global READER
    READER = Reader()
    return [*links(), *private_links(), f"{HASH}.{KEY}\nmagnet:?xt=urn:btih:{HASH}\n&dn=x".encode()]


def short_links() -> list[bytes]:
    """Start the reader; HASH.KEY as it is written, and the next of kin."""
    opened_links()
    digits = base64.b32encode(bytes.fromhex(HASH)).decode()
    keys = (KEY, OTHER_KEY, KEY.upper(), KEY.title())
    texts = [
        *(f"{HASH}.{key}" for key in keys),
        f"{HASH.upper()}.{KEY.upper()}",
        f"{digits}.{KEY}",
        HASH,
        digits,
        f"{40 * '0'}.{KEY}",
    ]
    return [text.encode() for text in texts]


def sealed_memos() -> list[bytes]:
    """Seal memos with every key in every context, and say what is to be done to them: nothing, or one thing."""
    for number, (key, context, length) in enumerate(itertools.product(KEYS, CONTEXTS, LENGTHS)):
        plain, target = random.Random(length).randbytes(length), io.BytesIO()
        sealing.seal(io.BytesIO(plain), Seal(key, bytes([number]) * sealing.SALT), target.write, context=context)
        SEALED[target.getvalue()] = key, context, plain
    many = len(LENGTHS)
    right = [bytes([number, number // (2 * many), number // many]) for number in range(len(SEALED))]
    return [*right, *(start + bytes([what, 1, 0]) for start, what in zip(right, range(7), strict=False))]


def _chunks(data: bytes) -> list[bytes]:
    return [data[:HEAD], *(data[at : at + CHUNK + TAG] for at in range(HEAD, len(data), CHUNK + TAG))]


def indexes() -> list[bytes]:
    return [path.read_bytes() for path in sorted([HOSTILE / "odd.toml", *(HOSTILE / "index").iterdir()])]


def metadata() -> list[bytes]:
    good = [torrents.torrent(info, announce="udp://127.0.0.1:1") for info in torrents.good(b"p" * 40_000, "x").values()]
    return [*good, *(data for data in torrents.REFUSED.values() if 0 < len(data) < 5000)]


def recordings() -> list[bytes]:
    words = {
        "title": "Ä talk",
        "KEYWORDS": "a,b",
        "DATE_RECORDED": "2026-08-25T10:11:12+02:00",
        "MEMOSYNC_ID": HASH[:8],
    }
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        vorbis = payloads.webm(place / "vorbis", "-c:a", "libvorbis", "-b:a", "64k")
        cues = payloads.webm(place / "cues", "-cues_to_front", "1")
        return [payloads.tagged(place, **words), payloads.truncated(place), vorbis, cues, *odd()]


def odd() -> list[bytes]:
    """Make recordings as few write them."""
    sound = matroska.packets(2)
    shapes = [
        Shape(known=True),
        Shape(lacing="xiph", together=8),
        Shape(lacing="ebml", together=8, known=True),
        Shape(groups=True, words=True, padding=100),
    ]
    made = [matroska.webm(sound, lambda i: i * 20 + 5_000 * (i > 50), shape) for shape in shapes]
    return [*made, matroska.webm(sound[:40], lambda i: i * 20) * 2]


def tokens(text: str) -> list[bytes]:
    return text.encode().split()


def elements(codes: str) -> list[bytes]:
    return list(map(bytes.fromhex, codes.split()))


def misspell(data: bytes, others: list[bytes], words: list[bytes], chance: random.Random) -> bytes:
    """Do to a short link what people, their keyboards and their programs do: once, or a few times."""
    text = data.decode(errors="replace")
    for _ in range(chance.choice([1, 1, 1, 2, 3, 4])):
        begin = chance.choice([0, len(HASH), len(HASH) + 1, len(text), chance.randrange(len(text) + 1)])
        end = min(len(text), begin + chance.choice([0, 1, 1, 2, 8, len(text)]))
        before, piece, after = text[:begin], text[begin:end], text[end:]
        match chance.randrange(9):
            case 0:
                piece = chance.choice([piece.upper(), piece.lower(), piece.swapcase(), piece.title(), piece.casefold()])
            case 1:  # cut, or a part of it twice
                piece = chance.choice(["", "", piece * 2])
            case 2:  # another alphabet: of ids, of base64, of base58, of what looks like it
                piece = "".join(chance.choice("0189+/_-=lLoOuUiI~%") for _ in piece or "x")
            case 3:
                piece = "".join(chance.choice(ALIKE.get(one.lower(), one)) for one in piece)
            case 4:
                piece = chance.choice([chance.choice(BLANKS), f"{chance.choice(BLANKS)}{piece}", chance.choice(UNSEEN)])
            case 5:  # digits of other scripts
                zero = ord(chance.choice("٠۰०০๐０𝟎𝟬"))
                piece = "".join(chr(zero + int(one)) if one in "0123456789" else one for one in piece)
            case 6:
                other = chance.choice(others).decode(errors="replace")
                piece = chance.choice([".", ",", " ", "\n", "&x.key=", ""]) + other[chance.choice([0, 0, 41]) :]
            case 7:
                piece = chance.choice([".", "..", "．", "。", "·", "‧", "%2e", "%2E", "%252e", ":", ""])
            case _:
                piece = chance.choice([*words, b"."]).decode() + piece
        text = (before + piece + after)[:SHORT]
    return text.encode(errors="replace")


READER: Reader
SEALED: dict[bytes, tuple[bytes, bytes, bytes]] = {}  # key, context and what is in it
Mangler = Callable[[bytes, list[bytes], list[bytes], random.Random], bytes]
Parser = tuple[Callable[[bytes], str], type[Exception], Callable[[], list[bytes]], list[bytes]]
PARSERS: dict[str, Parser] = {
    "magnet": (link, TorrentError, links, tokens("& = ? # : magnet:? xt=urn:btih: seeds= tr= x.pe= xt.1= urn:btmh: ;")),
    "private link": (private, TorrentError, private_links, tokens(f"& = # . %2e ?seeds= x.key= {KEY} {HASH} magnet:?")),
    "opener": (opener, TorrentError, opened_links, tokens(f"& = # . ?seeds= x.key= {KEY} {HASH} magnet:? %26 &amp;")),
    "HASH.KEY": (alone, TorrentError, short_links, tokens(f"( < \" ' ` “ „ « > ) , ; ! ? … # {HASH}. .{KEY} {HASH}")),
    "sealed memo": (sealed, TorrentError, sealed_memos, [bytes([what, 1, 2]) for what in range(7)]),
    "index": (
        memos,
        LibraryError,
        indexes,
        tokens("[[memo]] [x] = \" ''' { } [ version=1 id= 1979-05-27T07:32:00Z true"),
    ),
    "torrent": (torrent, TorrentError, metadata, tokens("i-1e i0e le de d l e 4:info 6:length 9: 5:files 4:attr1:l")),
    "webm": (
        audio,
        AudioError,
        recordings,
        elements("1a45dfa3 18538067 1549a966 1654ae6b 1f43b675 1c53bb6b 1254c367 a3 ae 4489 e7 01ffffffffffffff ff 80"),
    ),
}


def mangle(data: bytes, others: list[bytes], words: list[bytes], chance: random.Random) -> bytes:
    """Change a few things: bits, bytes, words, pieces that go, come, come twice or come from elsewhere."""
    for _ in range(chance.choice([1, 1, 2, 3, 5, 8])):
        begin = chance.randrange(len(data) + 1)
        end = min(len(data), begin + chance.choice([1, 1, 2, 4, 16, 256, len(data)]))
        piece = data[begin:end]
        match chance.randrange(8):
            case 0 if piece:
                new = bytes([piece[0] ^ 1 << chance.randrange(8)]) + piece[1:]
            case 1:
                new = chance.randbytes(len(piece[:8])) + piece[8:]
            case 2:
                new = b""
            case 3:
                new = piece * chance.choice([2, 2, 3, 50])
            case 4:
                new = chance.choice(words) + piece
            case 5:
                new = chance.choice([*words, *ANYWHERE])
            case 6:
                other = chance.choice(others)
                place = chance.randrange(len(other) + 1)
                new = other[place : place + chance.choice([1, 8, 64, 1024])] + piece
            case _:
                new = b"%d" % chance.choice([0, 1, 127, 255, 2**31, 2**32 - 1, 2**63, chance.randrange(1000)])
        data = (data[:begin] + new + data[end:])[:LARGEST]
    return data


MANGLERS: dict[str, Mangler] = {"HASH.KEY": misspell}  # where bits and bytes are not what goes wrong


def main(name: str, count: str, seed: str, directory: str) -> None:
    parse, refusal, begin, words = PARSERS[name]
    mangler = MANGLERS.get(name, mangle)
    corpus = begin()
    chance = random.Random(seed)
    case = Path(directory, "input")
    answers: collections.Counter[str] = collections.Counter()
    slowest = 0.0
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for number in range(int(count)):
        data = corpus[number] if number < len(corpus) else mangler(chance.choice(corpus), corpus, words, chance)
        case.write_bytes(data)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # whose signal is the end
        began = time.process_time()
        try:
            answer = parse(data)
            answers["accepted"] += 1
        except refusal as error:
            answer = re.sub(r"'.*'|\".*\"|\d+", "", str(error))
        assert answer.isprintable(), answer
        slowest = max(slowest, time.process_time() - began)
        answers[answer] += 1
        if answers[answer] == 1 and len(corpus) < 2000:
            corpus.append(data)
    signal.setitimer(signal.ITIMER_PROF, 0)
    peak = int(re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[0])
    print(
        json.dumps({"accepted": answers.pop("accepted", 0), "answers": len(answers), "slowest": slowest, "peak": peak})
    )


if __name__ == "__main__":
    PAYLOAD = Path(sys.argv[4], "payload.webm")
    main(*sys.argv[1:])
