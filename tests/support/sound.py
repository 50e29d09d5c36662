"""Sound to record, and ears: tones in the formats people have, and what FFmpeg's own tools say of a file."""

from __future__ import annotations

import array
import io
import itertools
import json
import math
import re
import struct
import subprocess
from pathlib import Path
from typing import Any

import av

PCM = 1  # the format tag of a WAV


def tone(seconds: float, rate: int = 48_000, channels: int = 1, frequency: int = 440) -> bytes:
    """Make a sine of 16-bit samples."""
    period = rate // math.gcd(rate, frequency)  # samples after which it is the same again
    step = 2 * math.pi * frequency / rate
    samples = (int(12_000 * math.sin(number * step)) for number in range(min(period, round(seconds * rate))))
    once = array.array("h", (sample for sample in samples for _ in range(channels))).tobytes()
    size = round(seconds * rate) * channels * 2
    return (once * (size // max(1, len(once)) + 1))[:size]


def wav(
    data: bytes, rate: int = 48_000, channels: int = 1, bits: int = 16, length: int | None = None, after: bytes = b""
) -> bytes:
    """Put a WAV header before samples, one with a false length if need be, and other chunks behind them."""
    frame = channels * bits // 8
    form = b"fmt " + struct.pack("<IHHIIHH", 16, PCM, channels, rate, rate * frame, frame, bits)
    claimed = len(data) if length is None else length
    whole = min(36 + claimed + len(after), 0xFFFFFFFF) if claimed else 0
    return b"RIFF" + struct.pack("<I", whole) + b"WAVE" + form + b"data" + struct.pack("<I", claimed) + data + after


def noise(path: Path, seconds: float = 5, *options: str) -> Path:
    """Make something to record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source = f"anoisesrc=duration={seconds}:sample_rate=48000"
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, *options, str(path)], check=True)
    return path


def altered(data: bytes) -> bytes:
    """Alter one byte of a memo, as a disk may: of the sound, for not every byte between is heard."""
    with av.open(io.BytesIO(data), "r") as container:
        packets = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    packet = packets[len(packets) // 2]
    at = data.index(packet) + len(packet) // 2
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def chunk(name: bytes, data: bytes) -> bytes:
    """Make one chunk of a RIFF file."""
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def convert(source: Path, target: Path, *options: str) -> Path:
    """Have FFmpeg write it in the format of the target's name."""
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", source, *options, target], check=True)
    return target


def probe(path: Path) -> dict[str, Any]:
    """Give the format, its tags in lower case, and the only stream."""
    command = ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", str(path)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    (stream,) = found["streams"]
    tags = {name.lower(): value for name, value in found["format"].get("tags", {}).items()}
    return {**found["format"], "tags": tags, "stream": stream}


def hear(path: Path, begin: float = 0.0, seconds: float = 3600.0) -> tuple[float, float]:
    """Decode and give the length in seconds and the frequency of the tone in it."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-ss", str(begin), "-t", str(seconds)]
    command += ["-f", "s16le", "-ac", "1", "-ar", "48000", "-"]
    samples = array.array("h", subprocess.run(command, check=True, capture_output=True).stdout)
    high = [sample > 0 for sample in samples[2400:-2400]]  # without the ends, where codecs ring
    rises = sum(after and not before for before, after in itertools.pairwise(high))
    return len(samples) / 48_000, rises / (len(high) / 48_000) if high else 0.0


def loudness(path: Path) -> float:
    """Give what the system's FFmpeg finds with `ebur128`, in LUFS; -70 where there is none."""
    printed = _filtered(path, "ebur128=metadata=1,ametadata=print:key=lavfi.r128.I:file=-")
    return float(re.findall(r"r128\.I=(\S+)", printed)[-1])


def peak(path: Path) -> float:
    """Give what the system's FFmpeg finds with `astats`, in dBFS."""
    overall = _filtered(path, "astats=measure_perchannel=none").split("Overall")[-1]
    return float(re.findall(r"Peak level dB: (\S+)", overall)[0])


def _filtered(path: Path, chain: str) -> str:
    """Give what FFmpeg says while a file runs through its filters."""
    command = ["ffmpeg", "-nostdin", "-i", str(path), "-af", chain, "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def packets(path: Path) -> list[bytes]:
    """Give the packets of the only stream, as they stand in the file."""
    with av.open(path) as file:
        return [bytes(packet) for packet in file.demux(audio=0) if packet.size]
