"""Files that call themselves memo.webm, made by FFmpeg, by hand, and out of good ones."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

_TONE = ["-f", "lavfi", "-i", "sine=frequency=440:duration=1"]
_PICTURE = ["-f", "lavfi", "-i", "testsrc=size=16x16:rate=5:duration=1"]
_OPUS = ["-c:a", "libopus", "-b:a", "16k"]


def webm(path: Path, *options: str, inputs: list[str] = _TONE, form: str = "webm") -> bytes:
    """Have FFmpeg make a file; a second of a tone in Opus unless told otherwise."""
    command = ["ffmpeg", "-v", "error", "-y", *inputs, *_OPUS, "-fflags", "+bitexact", *options, "-f", form, str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=30)
    return path.read_bytes()


def _header(path: Path) -> bytes:
    data = webm(path)
    return data[: data.index(b"\x1f\x43\xb6\x75")]  # up to the first cluster


def _archive(path: Path) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../../../../stolen.webm", webm(path))
    return archive.getvalue()


def _words(path: Path) -> str:
    words = path.with_suffix(".vtt")
    words.write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n")
    return str(words)


def _playlist(url: str) -> bytes:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}/memo.webm\n#EXT-X-ENDLIST\n".encode()


_SDP = b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"
_SEGMENT, _TAGS, _HUGE = b"\x18\x53\x80\x67", b"\x12\x54\xc3\x67", b"\x01" + b"\xf0" * 7  # EBML: ids, a size

# What is no memo, made where it may write a file; a url is what it wants to have opened.
REFUSED: dict[str, Callable[[Path, str], bytes]] = {
    "an HLS playlist": lambda path, url: _playlist(url),
    "an HLS playlist of a file": lambda path, url: _playlist("file:///etc/passwd?"),
    "an SDP description": lambda path, url: _SDP,
    "an ffconcat script": lambda path, url: f"ffconcat version 1.0\nfile '{url}/memo.webm'\n".encode(),
    "a DASH manifest": lambda path, url: f'<?xml version="1.0"?><MPD><BaseURL>{url}/</BaseURL></MPD>'.encode(),
    "an ELF": lambda path, url: Path(sys.executable).resolve().read_bytes()[:100_000],
    "a ZIP": lambda path, url: _archive(path),
    "a WAV": lambda path, url: webm(path, "-c:a", "pcm_s16le", form="wav"),
    "an Ogg": lambda path, url: webm(path, form="ogg"),
    "Matroska with FLAC": lambda path, url: webm(path, "-c:a", "flac", form="matroska"),
    "a video track beside": lambda path, url: webm(path, "-c:v", "libvpx", inputs=[*_TONE, *_PICTURE]),
    "a video track alone": lambda path, url: webm(path, "-c:v", "libvpx", inputs=_PICTURE),
    "two audio tracks": lambda path, url: webm(path, "-map", "0:a", "-map", "0:a"),
    "two tracks of words beside": lambda path, url: webm(
        path, "-map", "0:a", "-map", "1:s", "-map", "1:s", inputs=[*_TONE, "-i", _words(path)]
    ),
    "words of another kind beside": lambda path, url: webm(
        path, "-c:s", "srt", inputs=[*_TONE, "-i", _words(path)], form="matroska"
    ),
    "words alone": lambda path, url: webm(path, inputs=["-i", _words(path)]),
    "an attachment": lambda path, url: webm(
        path, "-attach", _words(path), "-metadata:s:t", "mimetype=text/plain", form="matroska"
    ),
    "truncated in its header": lambda path, url: _header(path)[:200],
    "truncated before its sound": lambda path, url: _header(path),
    "an element of 70 petabytes": lambda path, url: _header(path) + _TAGS + _HUGE + webm(path)[len(_header(path)) :],
    "a thousand nested elements": lambda path, url: _header(path).partition(_SEGMENT)[0] + (_SEGMENT + _HUGE) * 1000,
    "zeros": lambda path, url: bytes(50_000),
    "a single byte": lambda path, url: b"\x1a",
}


def truncated(directory: Path) -> bytes:
    """Make a memo whose end is missing."""
    whole = webm(directory / "whole")
    return whole[: len(whole) * 2 // 3]


def tagged(directory: Path, **tags: str) -> bytes:
    """Make a memo with such tags; what FFmpeg's options cannot hold goes in by a file."""
    words = directory / "words.txt"
    escaped = {name: "".join("\\" + sign if sign in "=;#\\\n" else sign for sign in tags[name]) for name in tags}
    words.write_text(";FFMETADATA1\n" + "".join(f"{name}={value}\n" for name, value in escaped.items()))
    return webm(directory / "tagged", inputs=[*_TONE, "-i", str(words), "-map_metadata", "1"])


def of_duration(directory: Path, seconds: float) -> bytes:
    """Make a memo of one second whose header says otherwise."""
    data = webm(directory / "long")
    place = data.index(b"\x44\x89\x88") + 3  # Duration, eight bytes of float, in milliseconds
    return data[:place] + struct.pack(">d", seconds * 1000) + data[place + 8 :]
