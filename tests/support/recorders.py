"""What recorders write around their samples, and how it is recorded in this process: by file and by pipe."""

from __future__ import annotations

import os
import struct
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from memosync.audio.importing import Pipe, import_source
from memosync.audio.webm import Sound
from memosync.stop import Stop

RATE = 48_000
Samples = NDArray[np.float32]
Record = Callable[[bytes], tuple[Samples, str]]  # gives what is heard of it afterwards, and what was warned of
EXTENSIBLE = bytes.fromhex("000000001000800000aa00389b71")  # the end of a sub-format (mmreg.h)
_W64 = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # the end of the name of a chunk


def tones(*parts: tuple[float, float], seconds: float = 1) -> Samples:
    """Mix sines of these frequencies (Hz) and amplitudes."""
    time = np.arange(round(seconds * RATE)) / RATE
    mixed = sum((amplitude * np.sin(2 * np.pi * frequency * time) for frequency, amplitude in parts), 0 * time)
    return mixed.astype(np.float32)


def amplitude(samples: Samples, frequency: float) -> float:
    """Give the amplitude of a sine in it, without the ends."""
    middle = samples[len(samples) // 8 : -len(samples) // 8]
    wave = np.exp(-2j * np.pi * frequency * np.arange(len(middle)) / RATE)
    return float(2 * abs(np.mean(middle * wave)))


def integers(voice: Samples, bits: int, width: int = 0, order: str = "<", *, low: bool = False) -> bytes:
    """Give integers of so many bits in so many bytes, in the upper ones unless they are to be low."""
    width = width or bits // 8
    whole = (voice * (2 ** (bits - 1) - 1)).astype(np.int64) << (0 if low else 8 * width - bits)
    taken = whole.astype(order + "i8").view("u1").reshape(-1, 8)
    return bytes((taken[:, :width] if order == "<" else taken[:, 8 - width :]).tobytes())


def form(*, width: int, bits: int, tag: int = 1, channels: int = 1, valid: int = 0, order: str = "<") -> bytes:
    """Make what stands in a `fmt ` chunk; with `valid` bits it is an extensible one."""
    frame = width * channels
    head = struct.pack(order + "HHIIHH", 0xFFFE if valid else tag, channels, RATE, RATE * frame, frame, bits)
    return head + struct.pack(order + "HHIH", 22, valid, 0, tag) + EXTENSIBLE if valid else head


def chunk(name: bytes, data: bytes, order: str = "<", length: int | None = None) -> bytes:
    """Make one chunk of RIFF, which may lie about its length."""
    return name + struct.pack(order + "I", len(data) if length is None else length) + data + bytes(len(data) % 2)


def riff(fmt: bytes, data: bytes, *others: bytes, name: bytes = b"RIFF", length: int | None = None) -> bytes:
    """Make a WAV, with other chunks before its samples."""
    order = ">" if name == b"RIFX" else "<"
    body = b"WAVE" + b"".join(others) + chunk(b"fmt ", fmt, order) + chunk(b"data", data, order, length)
    return name + struct.pack(order + "I", len(body)) + body


def w64(fmt: bytes, data: bytes) -> bytes:
    """Make a Wave64, as Sony describes it."""
    chunks = b"wave" + _W64
    for name, content in ((b"fmt ", fmt), (b"data", data)):
        chunks += name + _W64 + struct.pack("<Q", 24 + len(content)) + content + bytes(-len(content) % 8)
    return b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0" + struct.pack("<Q", 24 + len(chunks)) + chunks


def caf(data: bytes, width: int, bits: int, flags: int = 0, kind: bytes = b"lpcm", *others: bytes) -> bytes:
    """Make a CAF (Apple's Core Audio Format Specification), with other chunks before its samples."""
    desc = struct.pack(">d4sIIIII", RATE, kind, flags, width, 1, 1, bits)
    found = b"caff\0\1\0\0" + b"desc" + struct.pack(">q", len(desc)) + desc + b"".join(others)
    return found + b"data" + struct.pack(">q", len(data) + 4) + bytes(4) + data


def id3(size: int) -> bytes:
    """Make an ID3v2.4 tag of nothing but padding."""
    return b"ID3\4\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + bytes(size)


def by_file(data: bytes) -> tuple[Samples, str]:
    """Record it from a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "source")
        path.write_bytes(data)
        said: list[str] = []
        with path.open("rb", buffering=0) as file:
            import_source(file, Path(folder, "memo.webm"), lambda words: words, Sound(), warn=said.append)
        return _heard(Path(folder, "memo.webm")), "\n".join(said)


def by_pipe(data: bytes) -> tuple[Samples, str]:
    """Record it as it comes."""
    reading, writing = os.pipe()
    feeder = threading.Thread(target=_feed, args=[writing, data])
    feeder.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            path, said = Path(folder, "memo.webm"), list[str]()
            import_source(Pipe(Stop(), reading), path, lambda words: words, Sound(), live=True, warn=said.append)
            return _heard(path), "\n".join(said)
    finally:
        os.close(reading)
        feeder.join()


def _feed(descriptor: int, data: bytes) -> None:
    with open(descriptor, "wb", buffering=0) as file:  # which raises no SIGPIPE here
        try:
            while data:
                data = data[file.write(data) :]
        except BrokenPipeError:
            pass


def _heard(path: Path) -> Samples:
    with av.open(path) as file:
        return np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
