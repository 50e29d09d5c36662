"""Where a stranger's file is looked into: a child process, which it may break. `python -m memosync.audio.sandbox`

The child is a fresh interpreter that reads a path, as a line of JSON, and answers it with another one, file after file.
`PROBING` limits it, it is deaf to what a terminal or a service sends to all of us, and it ends when its parent does.
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import sys
import threading
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from .. import process
from ..console import one_line
from ..errors import AudioError, reason_of
from ..memo import Words, clean_description, clean_tags, clean_title, parse_id
from . import webm

if TYPE_CHECKING:
    from ..process import Child

PROBING = {resource.RLIMIT_CPU: 30, resource.RLIMIT_AS: 2**31}  # seconds, bytes
_DEAF_TO = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
_LONGEST = 2**20  # bytes of an answer
_lock = threading.Lock()  # one file at a time
_child: Child | None = None


def start() -> None:
    """Start the child where none runs, early: FFmpeg loads there while this process waits for a network."""
    with _lock:
        _running()


def probe(path: Path) -> webm.AudioInfo:
    """Do `webm.probe` in the child, with its errors.

    AudioError also for a file that ends the child, as one does that takes more than `PROBING` allows: the next file
    gets another child.
    """
    with _lock:
        child = _running()
        assert child.stdin
        assert child.stdout
        answer = b""
        try:
            child.stdin.write(json.dumps(str(path.absolute())).encode() + b"\n")
            child.stdin.flush()
            answer = child.stdout.readline(_LONGEST)
        except BrokenPipeError:
            pass
        if not answer.endswith(b"\n"):
            child.kill()
            code = child.wait()
            end = signal.strsignal(-code) if code < 0 else f"exit {code}"
            raise AudioError(f"FFmpeg ended while it looked into it ({end})")
    return parse_answer(answer)


def parse_answer(answer: bytes) -> webm.AudioInfo:
    """Read what the child says of a file, which may have taught it to lie; AudioError when it says that it is bad."""
    try:
        match json.loads(answer):
            case {"error": str(error), **more} if not more:
                raise AudioError(one_line(error)[:500])
            case {
                "duration": float(duration),
                "claimed": float(claimed),
                "title": str(title),
                "description": str(description),
                "tags": [*tags],
                "recorded": (str() | None) as recorded,
                "id": (str() | None) as memo_id,
                **more,
            } if not more and all(isinstance(tag, str) for tag in tags):
                when = None if recorded is None else datetime.fromisoformat(recorded)
                if 0 < duration < math.inf and math.isfinite(claimed) and (when is None or when.tzinfo):
                    words = Words(
                        clean_title(title), clean_description(description), clean_tags(tags), when, parse_id(memo_id)
                    )
                    return webm.AudioInfo(duration=duration, claimed=claimed, words=words)
    except (ValueError, RecursionError):
        pass
    raise AudioError("what looked into it answers nonsense")


def _running() -> Child:
    """Give the child, a new one where it has ended."""
    global _child
    if _child is None or _child.poll() is not None:
        _child = process.start(__name__, pipes=["stdin", "stdout"], deaf_to=_DEAF_TO)
    return _child


def _answer(path: Path) -> dict[str, object]:
    try:
        info = webm.probe(path)
    except AudioError as error:
        return {"error": str(error)}
    except OSError as error:
        return {"error": f"it cannot be read: {reason_of(error)}"}
    words = info.words
    return {
        "duration": info.duration,
        "claimed": float(info.claimed),
        "title": words.title,
        "description": words.description,
        "tags": words.tags,
        "recorded": words.recorded and words.recorded.isoformat(),
        "id": words.id,
    }


def _serve() -> None:
    """Answer one path after the other, until the parent is gone."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what FFmpeg may write is no answer
    for limit, most in PROBING.items():
        hard = resource.getrlimit(limit)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (most, most))
    import av  # noqa: F401

    for line in sys.stdin.buffer:
        print(json.dumps(_answer(Path(json.loads(line)))), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
