"""Sealing: the format byte for byte, as others write and read it, and all that must be refused."""

from __future__ import annotations

import errno
import hashlib
import hmac
import io
import json
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest
from cryptography.cobblestone import Cobblestone128Decryptor, Cobblestone128Encryptor
from hypothesis import given
from hypothesis import strategies as st

from memosync import sealing
from memosync.errors import TorrentError
from memosync.sealing import CHUNK, HEAD, TAG, Opener, Original, Seal

VECTORS = json.loads((Path(__file__).parent / "support/chunked_encryption.json").read_text())["tests"]
SEAL = Seal(bytes(range(16)), bytes(range(100, 124)))
SIZES = st.one_of(
    st.integers(0, 40),
    st.builds(
        lambda chunks, more: max(0, chunks * CHUNK + more),
        st.sampled_from([1, 2, 4, 63, 64, 65, 128, 300]),
        st.integers(-2, 2),
    ),
)


def sealed(data: bytes, seal: Seal = SEAL, context: bytes = sealing.MEMO) -> bytes:
    target = io.BytesIO()
    sealing.seal(io.BytesIO(data), seal, target.write, context=context)
    return target.getvalue()


def opened(data: bytes, key: bytes = SEAL.key, context: bytes = sealing.MEMO) -> bytes:
    target = io.BytesIO()
    assert sealing.unseal(io.BytesIO(data), target.write, key, context) == hashlib.sha256(target.getvalue()).digest()
    return target.getvalue()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["comment"])
def test_the_published_vectors(vector: dict[str, Any]) -> None:
    data = zlib.decompress(bytes.fromhex(vector["ct"]))
    key, context = bytes.fromhex(vector["key"]), bytes.fromhex(vector["ctx"])

    if vector["result"] == "valid":
        message = opened(data, key, context)
        assert (len(message), hashlib.sha512(message).hexdigest()) == (vector["msgLength"], vector["msgSha512"])
        assert data == sealed(message, Seal(key, data[: sealing.SALT]), context)
    else:
        with pytest.raises(TorrentError):
            opened(data, key, context)


@given(SIZES)
def test_what_is_sealed_here_is_opened_elsewhere_and_the_other_way_round(size: int) -> None:
    data = hashlib.shake_128(b"%d" % size).digest(size)
    ours = sealed(data)
    writer, reader = Cobblestone128Encryptor(SEAL.key, sealing.MEMO), Cobblestone128Decryptor(SEAL.key, sealing.MEMO)

    assert data == opened(ours) == opened(writer.update(data) + writer.finalize())
    assert data == reader.update(ours) + reader.finalize()
    assert (len(ours), sealing.opened_size(len(ours))) == (sealing.sealed_size(size), size)


@given(st.integers(0, 70_000), st.data())
def test_every_chunk_is_opened_alone(size: int, data: st.DataObject) -> None:
    plain = hashlib.shake_128(b"%d" % size).digest(size)
    text = sealed(plain)
    number = data.draw(st.integers(0, size // CHUNK))
    start = HEAD + number * (CHUNK + TAG)

    assert (
        Opener(text[:HEAD], SEAL.key).open(number, text[start : start + CHUNK + TAG]) == plain[number * CHUNK :][:CHUNK]
    )


@given(st.data())
def test_nothing_that_was_altered_is_opened(data: st.DataObject) -> None:
    plain = bytes(2 * CHUNK + 10)
    text = bytearray(sealed(plain))
    match data.draw(st.sampled_from(["flip", "cut", "longer", "swap", "again"])):
        case "flip":
            text[data.draw(st.integers(0, len(text) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        case "cut":
            del text[data.draw(st.integers(0, len(text) - 1)) :]
        case "longer":
            text += data.draw(st.binary(min_size=1))
        case "swap":
            first, second = text[HEAD : HEAD + CHUNK + TAG], text[HEAD + CHUNK + TAG : HEAD + 2 * (CHUNK + TAG)]
            text[HEAD : HEAD + 2 * (CHUNK + TAG)] = second + first
        case "again":
            text[HEAD + CHUNK + TAG : HEAD + CHUNK + TAG] = text[HEAD : HEAD + CHUNK + TAG]

    with pytest.raises(TorrentError):
        opened(bytes(text))


@given(SIZES, st.booleans(), st.data())
def test_nothing_but_the_original_is_sealed(size: int, just_read: bool, data: st.DataObject) -> None:
    plain = bytearray(hashlib.shake_128(b"%d" % size).digest(size))
    read = Original.read(io.BytesIO(plain))
    original = read if just_read else Original(read.digest)
    assert read.digest == hashlib.sha256(plain).digest()
    sealing.seal(io.BytesIO(plain), SEAL, lambda _data: None, original=original)
    if size and data.draw(st.booleans()):
        plain[data.draw(st.integers(0, size - 1))] ^= 1 << data.draw(st.integers(0, 7))
    elif size and data.draw(st.booleans()):
        del plain[data.draw(st.integers(0, size - 1)) :]
    else:
        plain += data.draw(st.binary(min_size=1))

    with pytest.raises(TorrentError):
        sealing.seal(io.BytesIO(plain), SEAL, lambda _data: None, original=original)


@pytest.mark.parametrize(
    ("key", "context"), [(bytes(16), sealing.MEMO), (SEAL.key, b"memosync invitation v1"), (bytes(15), sealing.MEMO)]
)
def test_another_key_or_context_is_known_by_the_head_alone(key: bytes, context: bytes) -> None:
    with pytest.raises(TorrentError):
        Opener(sealed(b"x")[:HEAD], key, context)


@pytest.mark.parametrize("size", [-1, 0, HEAD, HEAD + TAG - 1, HEAD + CHUNK + TAG, HEAD + CHUNK + TAG + 15])
def test_no_sealed_file_has_such_a_size(size: int) -> None:
    with pytest.raises(TorrentError):
        sealing.opened_size(size)


def test_a_short_read_is_not_the_end() -> None:
    class Dripping(io.BytesIO):
        def readinto(self, buffer: Any) -> int:
            return super().readinto(memoryview(buffer)[:1000])

    data = bytes(3 * CHUNK)
    target, again = io.BytesIO(), io.BytesIO()
    sealing.seal(Dripping(data), SEAL, target.write)
    sealing.unseal(Dripping(target.getvalue()), again.write, SEAL.key)

    assert (target.getvalue(), again.getvalue()) == (sealed(data), data)


@pytest.mark.parametrize("size", [0, 10, 400 * CHUNK])
@pytest.mark.parametrize("work", ["seal", "unseal"])
def test_what_a_disk_refuses_is_told_and_ends_it(work: str, size: int) -> None:
    source, taken = io.BytesIO(bytes(size) if work == "seal" else sealed(bytes(size))), list[int]()

    def write(data: bytes | memoryview) -> None:
        taken.append(len(data))
        if len(data) != HEAD:
            raise OSError(errno.ENOSPC, "no room")

    before = set(threading.enumerate())
    with pytest.raises(OSError, match="no room"):
        sealing.seal(source, SEAL, write) if work == "seal" else sealing.unseal(source, write, SEAL.key)

    assert len([count for count in taken if count != HEAD]) == 1
    assert set(threading.enumerate()) <= before


def test_the_seal_of_a_memo_is_this_for_ever() -> None:
    """It is in every link that was given: what is in here must never be changed."""
    secret, digest = bytes(range(32)), hashlib.sha256(b"a memo").digest()

    found = {kind: sealing.derive(secret, kind, digest) for kind in (sealing.link(0), sealing.link(1), sealing.SYNC)}

    assert {kind: (seal.key.hex(), seal.salt.hex()) for kind, seal in found.items()} == {
        "link 0": ("b85fc7a8944ccebe80397217313e01c2", "93814698e899ae814cbbb33c02f6f4976d8477e91e4f6bc4"),
        "link 1": ("36334a738f4a912ecf794bb9775ccaa8", "bd1e2cd4013099a77acfe038e3177ea5256c29c0d55584b7"),
        "sync": ("7744247ff86230b9ddef54789728cacd", "77fc4650046d3779fa9b165629342c46cb2ab5effcc0fcb8"),
    }
    extracted = hmac.digest(bytes(32), secret, "sha256")  # HKDF (RFC 5869), by hand
    memos = hmac.digest(extracted, b"memosync memos v1 0\1", "sha256")
    assert found["link 0"].key == hmac.digest(memos, b"memosync key v1 link 0 " + digest, "sha256")[:16]
    assert found["sync"].salt == hmac.digest(memos, b"memosync salt v1 sync " + digest, "sha256")[:24]
