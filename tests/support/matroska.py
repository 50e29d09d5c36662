"""WebM as strangers write it: Opus with any time stamps, laced, in several segments, with words beside it.

Elements are those of RFC 9559; what is heard is real Opus, so that decoders can be asked, too.
"""

from __future__ import annotations

import itertools
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

UNKNOWN = b"\x01" + b"\xff" * 7  # the size of an element that ends where the next one begins
Times = Callable[[int], int]  # of a packet's number: its time stamp, in ms
Lacing = Literal["xiph", "ebml", "fixed"]
_LACINGS = {"xiph": 2, "fixed": 4, "ebml": 6}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a file is written."""

    known: bool = False  # sizes of segment and clusters; a browser leaves both open
    cluster: int = 1_000  # ms between the first blocks of two clusters
    lacing: Lacing | None = None
    together: int = 1  # packets in a block
    groups: bool = False  # BlockGroups instead of SimpleBlocks
    private: bool = True  # CodecPrivate, which is OpusHead
    delay: bool = True  # CodecDelay
    scale: int = 1_000_000  # nanoseconds of a tick
    padding: int = 0  # samples of the last packet that are not heard
    duration: float | None = None  # seconds, as the header says
    encrypted: bool = False  # it says that its packets are (RFC 9559, 5.1.4.1.31.8)
    words: bool = False  # a track of WebVTT beside it, whose blocks come first
    title: str = ""


def number(value: int, size: int = 0) -> bytes:
    """Write a number of variable size (RFC 8794, 4), the shortest unless told otherwise."""
    size = size or next(size for size in range(1, 9) if value < (1 << 7 * size) - 1)
    return (1 << 7 * size | value).to_bytes(size, "big")


def element(name: str, data: bytes | int | float | str, size: bytes | None = None) -> bytes:
    """Write an element, with another size than it has if need be."""
    if isinstance(data, int):
        data = data.to_bytes(max(1, (data.bit_length() + 7) // 8), "big")
    elif isinstance(data, float):
        data = struct.pack(">d", data)
    elif isinstance(data, str):
        data = data.encode()
    return bytes.fromhex(name) + (number(len(data)) if size is None else size) + data


@cache
def packets(seconds: float = 4, frame: str = "20", kind: str = "sweep") -> tuple[bytes, ...]:
    """Have FFmpeg encode a sound of which every moment is another one; give the Opus packets, OpusHead first."""
    sources = {
        "sweep": f"aevalsrc='0.4*sin(2*PI*(300+200*t)*t)':s=48000:d={seconds}",
        "noise": f"anoisesrc=duration={seconds}:sample_rate=48000:amplitude=0.3",
    }
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", sources[kind], "-c:a", "libopus", "-b:a", "32k"]
    command += ["-frame_duration", frame, "-page_duration", "1", "-f", "ogg", "-"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    found: list[bytes] = []
    at, packet = 0, b""
    while at < len(data):  # Ogg pages (RFC 3533, 6)
        count = data[at + 26]
        body = at + 27 + count
        for length in data[at + 27 : body]:
            packet += data[body : body + length]
            body += length
            if length < 255:
                found.append(packet)
                packet = b""
        at = body
    return (found[0], *found[2:])  # without OpusTags


def webm(sound: Sequence[bytes], times: Times, shape: Shape = Shape()) -> bytes:
    """Write OpusHead and packets as a file."""
    head, *audio = sound
    parts = element("4282", "webm") + element("4287", 4) + element("4285", 2)
    info = element("2ad7b1", shape.scale) + element("4d80", "x") + element("5741", "x")
    info += element("7ba9", shape.title) if shape.title else b""
    if shape.duration is not None:
        info += element("4489", shape.duration * 1e9 / shape.scale)
    track = element("d7", 1) + element("73c5", 1) + element("83", 2) + element("86", "A_OPUS")
    track += element("63a2", head) if shape.private else b""
    pre_skip = int.from_bytes(head[10:12], "little")  # (RFC 7845, 5.1)
    track += element("56aa", pre_skip * 10**9 // 48_000) + element("56bb", 80_000_000) if shape.delay else b""
    if shape.encrypted:
        cipher = element("47e1", 5) + element("47e2", bytes(16)) + element("47e7", element("47e8", 1))
        how = element("5031", 0) + element("5032", 1) + element("5033", 1) + element("5035", cipher)
        track += element("6d80", element("6240", how))
    track += element("e1", element("b5", 48_000.0) + element("9f", 1))
    tracks = element("ae", track)
    if shape.words:
        tracks += element(
            "ae", element("d7", 2) + element("73c5", 2) + element("83", 17) + element("86", "D_WEBVTT/SUBTITLES")
        )
    body = element("1549a966", info) + element("1654ae6b", tracks) + _clusters(audio, times, shape)
    return element("1a45dfa3", parts) + element("18538067", body, None if shape.known else UNKNOWN)


def _clusters(audio: Sequence[bytes], times: Times, shape: Shape) -> bytes:
    """Write the blocks; a cluster ends where its time is over, or where a block's would not fit."""
    written, blocks, start = b"", b"", -1

    def whole() -> bytes:
        size = None if shape.known else UNKNOWN
        return element("1f43b675", element("e7", start) + blocks, size) if blocks else b""

    for at in range(0, len(audio), shape.together):
        together = audio[at : at + shape.together]
        time = times(at) * 1_000_000 // shape.scale
        if start < 0 or abs(time - start) * shape.scale >= shape.cluster * 1_000_000 or abs(time - start) > 32_000:
            written += whole()
            blocks, start = b"", max(0, time)
            if shape.words:
                cue = number(2) + struct.pack(">hB", 0, 0) + b"\n\nhello"
                blocks += element("a0", element("a1", cue) + element("9b", 500))
        is_last = at + shape.together >= len(audio)
        blocks += _block(together, time - start, shape, shape.padding if is_last else 0)
    return written + whole()


def _block(together: Sequence[bytes], time: int, shape: Shape, padding: int) -> bytes:
    lacing = shape.lacing if len(together) > 1 else None
    lengths = list(map(len, together))
    if lacing == "fixed" and len(set(lengths)) > 1:
        lacing = "ebml"
    laced = bytes([len(together) - 1]) if lacing else b""
    if lacing == "xiph":
        laced += b"".join(b"\xff" * (length // 255) + bytes([length % 255]) for length in lengths[:-1])
    elif lacing == "ebml":
        laced += number(lengths[0], 2)
        for before, length in itertools.pairwise(lengths[:-1]):
            laced += (0x4000 | length - before + 8191).to_bytes(2, "big")  # signed (RFC 9559, 10.3.3)
    flags = _LACINGS[lacing] if lacing else 0
    data = struct.pack(">h", time) + bytes([flags if shape.groups or padding else flags | 0x80])
    data = number(1) + data + laced + b"".join(together)
    if not (shape.groups or padding):
        return element("a3", data)
    discard = element("75a2", (padding * 10**9 // 48_000).to_bytes(8, "big")) if padding else b""
    return element("a0", element("a1", data) + discard)
