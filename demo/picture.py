"""Draw a session as a terminal shows it: a memo is recorded, listed, shared and played, for real, and the screen kept.

python demo/picture.py FILE.svg      (`make pictures` does; needs the packages that the tests need, for a microphone)
"""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "tests"))
from support.terminal import Screen, Terminal  # noqa: E402
from support.vmic import plugged_in  # noqa: E402

COLUMNS, ROWS = 80, 24
WIDTH, HEIGHT, EDGE = 8.4, 18, 14  # pixels of a character, and around them
BLOCKS = "▁▂▃▄▅▆▇█"  # a waveform's, an eighth of a row each
SPOKEN = 6  # seconds


def speech(directory: Path) -> bytes:
    """Say something: s16le, 48 kHz, mono."""
    path = directory / "speech.wav"
    subprocess.run([sys.executable, HERE / "speech.py", path, "20"], check=True)
    with wave.open(str(path), "rb") as file:
        samples = file.readframes(file.getnframes())
        times = 48_000 // file.getframerate()
    return b"".join(samples[at : at + 2] * times for at in range(0, len(samples), 2))


def session(directory: Path) -> list[str]:
    """Do it, and give the lines of the screen while the memo plays."""
    with plugged_in() as microphone:
        environment = {
            **os.environ,
            **microphone.environment,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(directory),
            "MEMOSYNC_LIBRARY": str(directory / "Memos"),
            "MEMOSYNC_NETWORK": "loopback",
            "PS1": "$ ",
        }
        terminal = Terminal(["bash", "--norc", "-i"], environment, COLUMNS, ROWS)

        def has(text: str, times: int = 1) -> None:
            def shown(screen: Screen) -> bool:
                return screen.text.count(text) >= times

            terminal.wait_for(shown, text)

        def run(command: str) -> None:
            terminal.type(f"{command}\n")

        try:
            has("$")
            microphone.play(speech(directory))
            run("memosync record -t 'Weekly standup' --tag work")
            has(f"00:{SPOKEN:02}")
            terminal.type("\r")
            has("$", 2)
            run("memosync list")
            has("$", 3)
            run("memosync share last")
            has("$", 4)
            run("memosync play last")
            has("00:03 /")
            lines = terminal.screen.lines
            terminal.type("q")
            has("$", 5)
            run("memosync seed --stop; exit")
            terminal.end()
        finally:
            terminal.close()
    return lines


def drawn(lines: list[str]) -> str:
    """Draw the lines of a screen as SVG."""
    width, height = COLUMNS * WIDTH + 2 * EDGE, len(lines) * HEIGHT + 2 * EDGE
    parts = []
    for row, line in enumerate(lines):
        y = EDGE + row * HEIGHT
        for run in re.finditer(f"[{BLOCKS}]|[^ {BLOCKS}]+", line):
            x, text = EDGE + run.start() * WIDTH, run[0]
            if (eighths := BLOCKS.find(text) + 1) and len(text) == 1:
                tall = HEIGHT * eighths / 8
                parts.append(f'<rect x="{x:g}" y="{y + HEIGHT - tall:g}" width="{WIDTH:g}" height="{tall:g}"/>')
            else:
                attributes = f'x="{x:g}" y="{y + 0.75 * HEIGHT:g}" textLength="{len(text) * WIDTH:g}"'
                parts.append(f"<text {attributes}>{html.escape(text, quote=False)}</text>")
    rows = "\n".join(parts)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}">
<rect width="100%" height="100%" rx="6" fill="#16191d"/>
<g shape-rendering="crispEdges" font-family="monospace" font-size="14" fill="#d8dee4">
{rows}
</g>
</svg>
"""


def main(path: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(path).write_text(drawn(session(Path(directory))))


if __name__ == "__main__":
    main(sys.argv[1])
