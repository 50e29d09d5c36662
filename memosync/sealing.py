"""Sealing: a file that only who has its key can read, whose every part can be opened alone, and nothing be cut from.

The format is Cobblestone-128 (c2sp.org/chunked-encryption, version 1): HKDF-Expand with SHA-512 (RFC 5869) gives from
key, salt and context a key for AES-128-GCM, a nonce that each chunk's number is added to, and a commitment to the key.
A sealed file is the salt, the commitment, and chunks of 16 KiB with a tag of 16 bytes each; the last one is shorter,
maybe empty. Keys and salts of memos are derived from a library's secret and the SHA-256 of what is sealed, so that the
same memo is the same sealed file each time, and other bytes are never sealed with the same two.
"""

from __future__ import annotations

import hmac
import io
import os
import queue
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Self

from .errors import TorrentError, WrongKeyError

CHUNK = 16_384  # bytes of what is sealed
TAG = 16  # bytes behind each sealed chunk
KEY, SALT, COMMITMENT = 16, 24, 32  # bytes
HEAD = SALT + COMMITMENT
_AT_ONCE = 64  # chunks: the fewer, the more often threads wait for each other
_BUFFERS = 4  # of so many chunks: what is further ahead waits
DIGEST = 32  # bytes of a SHA-256
MEMO = b"memosync memo v1"  # the context of every sealed memo
SYNC = "sync"  # the kind of key that devices use among themselves
INVITATION = b"memosync invitation v1"  # the context of what a new device is told


def link(renewals: int) -> str:
    """Give the kind of key that a private link has, which was renewed so many times."""
    return f"link {renewals}"


@dataclass(frozen=True, slots=True)
class Seal:
    """What a memo is sealed with; never two memos with one."""

    key: bytes  # 16 bytes, secret
    salt: bytes  # 24 bytes, at the beginning of the sealed file


def derive(secret: bytes, kind: str, digest: bytes) -> Seal:
    """Derive what a memo is sealed with from a library's secret (32 bytes) and the memo's SHA-256 (32 bytes, raw)."""
    memos = _expand(secret, "memosync memos v1 0")

    def of(what: str) -> bytes:
        return hmac.digest(memos, f"memosync {what} v1 {kind} ".encode() + digest, "sha256")

    return Seal(of("key")[:KEY], of("salt")[:SALT])


def group_of(secret: bytes) -> str:
    """Give the public key (ed25519, hexadecimal) by which the group that has this secret (32 bytes) is known."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    seed = _expand(secret, "memosync sign v1 0")
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw().hex()


def read_key(secret: bytes) -> bytes:
    """Derive from a group's secret what opens all that its devices say of their memos: 32 bytes."""
    return _expand(secret, "memosync read v1 0")


def keep_key(secret: bytes) -> bytes:
    """Derive from a group's secret what finds its devices, and tells what they hold, but opens none of it: 32 bytes."""
    return _expand(read_key(secret), "memosync keep v1 0")


def hollow(keep: bytes, kind: str, pieces: int) -> tuple[str, bytes]:
    """Derive the name of a torrent of a group and the hashes (20 bytes each) of pieces that nobody has."""
    return _expand(keep, f"memosync {kind} name v1 0")[:8].hex(), _expand(keep, f"memosync {kind} v1 0", 20 * pieces)


def tag(keep: bytes, kind: str, data: bytes, size: int) -> bytes:
    """Give so many bytes (32 at most) by which who has the same key knows that this data is of the group."""
    return hmac.digest(keep, f"memosync {kind} tag v1 0 ".encode() + data, "sha256")[:size]


def seal_bytes(secret: bytes, kind: str, data: bytes) -> bytes:
    """Seal what devices tell each other with a group's key (32 bytes): equal data is equal bytes."""
    import hashlib

    salt = hmac.digest(secret, f"memosync {kind} salt v1 0 ".encode() + hashlib.sha256(data).digest(), "sha256")
    sealed = io.BytesIO()
    seal(io.BytesIO(data), Seal(_key_of(secret, kind), salt[:SALT]), sealed.write, context=_context_of(kind))
    return sealed.getvalue()


def open_bytes(secret: bytes, kind: str, sealed: bytes) -> bytes:
    """Open what `seal_bytes` gives; TorrentError unless it is that, bit for bit."""
    opened = io.BytesIO()
    unseal(io.BytesIO(sealed), opened.write, _key_of(secret, kind), _context_of(kind))
    return opened.getvalue()


def _key_of(secret: bytes, kind: str) -> bytes:
    return _expand(secret, f"memosync {kind} key v1 0")[:KEY]


def _context_of(kind: str) -> bytes:
    return f"memosync {kind} v1".encode()


def _expand(secret: bytes, label: str, size: int = 32) -> bytes:
    """Derive so many bytes from a secret of 32: HKDF with SHA-256 and an empty salt (RFC 5869)."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), size, None, label.encode()).derive(secret)


def is_name(name: str) -> bool:
    """Tell whether a torrent's name is one that a sealed memo's has: the first half of its salt, in hexadecimal."""
    return re.fullmatch("[0-9a-f]{16}", name) is not None


def sealed_size(size: int) -> int:
    """Give the bytes that a file of so many has when it is sealed."""
    return HEAD + size + TAG * (size // CHUNK + 1)


def opened_size(size: int) -> int:
    """Give the bytes that are in a sealed file of so many; TorrentError when there is none of that size."""
    chunks, rest = divmod(size - HEAD, CHUNK + TAG)
    if chunks < 0 or rest < TAG:
        raise TorrentError("this is not a whole sealed memo")
    return chunks * CHUNK + rest - TAG


class Original:
    """The bytes that something is sealed from, which are known again when they are read once more.

    By their SHA-256; or, where it was this process that read them, by a tag under a key of its own (Poly1305, RFC
    8439), which takes a seventh of the time; other bytes have it once in 2^70 cases.
    """

    def __init__(self, digest: bytes, key: bytes = b"", tag: bytes = b"") -> None:
        """Know them by their SHA-256 (32 bytes, raw), or by a key (32 bytes) and a tag."""
        self.digest, self._key, self._tag = digest, key, tag

    @classmethod
    def read(cls, source: IO[bytes], on_read: Callable[[int], object] = lambda _done: None) -> Original:
        """Read a file from where it stands to its end; `on_read` is told how many bytes there were so far."""
        import hashlib

        from cryptography.hazmat.primitives.poly1305 import Poly1305

        key = os.urandom(32)
        digest, tag, done = hashlib.sha256(), Poly1305(key), 0
        with _Relay(_at_once(source) * CHUNK, digest.update) as hashed:
            while count := _fill(source, buffer := hashed.buffer()):
                tag.update(buffer[:count])
                hashed.put(buffer[:count])
                on_read(done := done + count)
        return cls(digest.digest(), key, tag.finalize())

    def again(self) -> tuple[Callable[[memoryview], object], Callable[[], bool]]:
        """Give what takes the bytes that are read once more, and what tells in the end whether they are the same."""
        import hashlib

        from cryptography.hazmat.primitives.poly1305 import Poly1305

        if self._key:
            tag = Poly1305(self._key)
            return tag.update, lambda: hmac.compare_digest(tag.finalize(), self._tag)
        digest = hashlib.sha256()
        return digest.update, lambda: digest.digest() == self.digest


def seal(
    source: IO[bytes],
    seal: Seal,
    *takes: Callable[[memoryview], object],
    context: bytes = MEMO,
    original: Original | None = None,
) -> None:
    """Seal a file from where it stands to its end, and have it taken, by each of `takes` in a thread of its own.

    What they are given is overwritten once they returned. TorrentError when it is not the `original` that the seal was
    derived from: then what was taken must not be kept, for two files under one seal give both away.
    """
    box = _Box(seal.key, seal.salt, context)
    number, last = 0, False
    for take in takes:
        take(memoryview(seal.salt + box.commitment))
    update, is_original = original.again() if original else (lambda _data: None, lambda: True)
    many = _at_once(source)
    with _Relay(many * CHUNK, update) as plain, _Relay(many * (CHUNK + TAG), *takes) as sealed:
        while not last:
            data, target = plain.buffer(), sealed.buffer()
            count, end = _fill(source, data), 0
            last = count < len(data)
            plain.put(data[:count])  # what is hashed may be read here meanwhile
            for at in range(0, count + last, CHUNK):  # the last one may be empty
                chunk = data[at : min(at + CHUNK, count)]
                begin, end = end, end + len(chunk) + TAG
                box.cipher.encrypt_into(box.nonce(number), chunk, None, target[begin:end])
                number += 1
            sealed.put(target[:end])
    if not is_original():
        raise TorrentError("this is not what the seal was made for")


def unseal(source: IO[bytes], write: Callable[[memoryview], object], key: bytes, context: bytes = MEMO) -> bytes:
    """Open a sealed file from its beginning to its end, and have it written; give the SHA-256 of what was in it.

    Another thread may call `write`, and what it is given is overwritten once it returned. WrongKeyError, and
    TorrentError at the first chunk that is wrong: what was written before is authentic, but no memo, for an end may be
    missing.
    """
    import hashlib

    opener, digest = Opener(source.read(HEAD), key, context), hashlib.sha256()
    many = _at_once(source)
    sealed = memoryview(bytearray(many * (CHUNK + TAG)))
    number, last = 0, False
    with _Relay(many * CHUNK, digest.update, write) as plain:
        while not last:
            count, target, end = _fill(source, sealed), plain.buffer(), 0
            last = count < len(sealed)
            for at in range(0, count + last, CHUNK + TAG):  # where nothing is, the end is missing
                begin, end = end, end + max(0, min(CHUNK, count - at - TAG))
                opener.open_into(number, sealed[at : min(at + CHUNK + TAG, count)], target[begin:end])
                number += 1
            plain.put(target[:end])
    return digest.digest()


class Opener:
    """Opens the chunks of one sealed file, in any order."""

    def __init__(self, head: bytes, key: bytes, context: bytes = MEMO) -> None:
        """Take the first 56 bytes of it; WrongKeyError when they are not sealed with this key."""
        if len(key) != KEY:
            raise TorrentError(f"a key has {KEY} bytes")
        self._box = _Box(key, head[:SALT], context)
        if not hmac.compare_digest(self._box.commitment, head[SALT:HEAD]):
            raise WrongKeyError("the key is not the one of this memo", "ask for the whole link")

    def open(self, number: int, chunk: bytes) -> bytes:
        """Open a chunk, counted from 0; TorrentError unless it is the one of this number, bit for bit."""
        opened = bytearray(max(0, len(chunk) - TAG))
        self.open_into(number, memoryview(chunk), memoryview(opened))
        return bytes(opened)

    def open_into(self, number: int, chunk: memoryview, target: memoryview) -> None:
        """Open a chunk as `open` does, into what is as long as what is in it."""
        from cryptography.exceptions import InvalidTag

        try:
            self._box.cipher.decrypt_into(self._box.nonce(number), chunk, None, target)
        except InvalidTag:
            raise TorrentError("this memo was altered") from None


def is_sealed_with(head: bytes, key: bytes, context: bytes = MEMO) -> bool:
    """Tell whether what begins like this is sealed with this key."""
    try:
        Opener(head, key, context)
    except TorrentError:
        return False
    return True


class _Box:
    """What HKDF-Expand makes of a key, a salt and a context."""

    def __init__(self, key: bytes, salt: bytes, context: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA512
        from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

        info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_128_GCM\0" + salt + context
        made = HKDFExpand(SHA512(), KEY + 12 + COMMITMENT, info).derive(key)
        self.cipher = AESGCM(made[:KEY])
        self.commitment = made[KEY + 12 :]
        self._base = int.from_bytes(made[KEY : KEY + 12], "big")

    def nonce(self, number: int) -> bytes:
        return (self._base ^ number).to_bytes(12, "big")


class _Relay:
    """Has other threads take what is put in, each all of it; a context manager that ends when they have.

    Data is put in buffers of the relay's own, which are used again. What one of them raises, the next call does.
    """

    def __init__(self, size: int, *takes: Callable[[memoryview], object]) -> None:
        """Have buffers of `size` bytes, and one at least who takes."""
        self._size, self._made = size, 0
        self._free = queue.SimpleQueue[memoryview]()
        self._takers = [_Taker(take, self._free) for take in takes]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for taker in self._takers:
            taker.end(failed=bool(kind))
        if not kind:
            self._check()

    def buffer(self) -> memoryview:
        """Give a buffer that nothing is in any more, once there is one."""
        self._check()
        if self._free.empty() and self._made < _BUFFERS:
            self._made += 1
            return memoryview(bytearray(self._size))
        return self._free.get()

    def put(self, data: memoryview) -> None:
        """Have the beginning of a buffer, or all of it, taken; the buffer is the relay's again."""
        self._check()
        uses = [True, *[False] * (len(self._takers) - 1)]  # who takes the last one of them gives the buffer back
        for taker in self._takers:
            taker.put(data, uses)

    def _check(self) -> None:
        for taker in self._takers:
            if taker.fault:
                raise taker.fault


class _Taker:
    """A thread that takes."""

    def __init__(self, take: Callable[[memoryview], object], free: queue.SimpleQueue[memoryview]) -> None:
        self.fault: BaseException | None = None
        self._take, self._free = take, free
        self._full = queue.SimpleQueue[tuple[memoryview, list[bool]] | None]()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def put(self, data: memoryview, uses: list[bool]) -> None:
        self._full.put((data, uses))
        if self._full.qsize() > 1 and not self._thread.ident:  # one buffer alone is taken in the end, without a thread
            self._thread.start()

    def end(self, *, failed: bool) -> None:
        self._full.put(None)
        if self._thread.ident:
            self._thread.join()
        elif not failed:
            self._work()

    def _work(self) -> None:
        while put := self._full.get():
            data, uses = put
            try:
                if not self.fault:
                    self._take(data)
            except BaseException as fault:  # who puts something in is told
                self.fault = fault
            if uses.pop():
                self._free.put(memoryview(data.obj))


def _at_once(source: IO[bytes]) -> int:
    """Give how many chunks of a file are worth being read at once: of a small one all that there are."""
    here = source.tell()
    left = source.seek(0, os.SEEK_END) - here
    source.seek(here)
    return min(_AT_ONCE, left // CHUNK + 1)


def _fill(source: IO[bytes], buffer: memoryview) -> int:
    """Read as much as a buffer takes, or as there is; give how many bytes that is."""
    count = 0
    while count < len(buffer) and (more := source.readinto(buffer[count:])):  # type: ignore[attr-defined]  # not in IO
        count += more
    return count
