"""Somebody with only a browser, who opens a page on another machine than its author's, and what comes out of it."""

from __future__ import annotations

import array
import base64
import dataclasses
import math
import operator
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.browser import Chromium, Tab
from support.netns import Host, Network
from support.program import Program

RATE = 48_000  # Hz
LISTEN = """
() => {
  const context = new AudioContext({ sampleRate: 48000 })
  const tap = context.createScriptProcessor(4096, 1, 1)
  context.createMediaElementSource(audio).connect(tap).connect(context.destination)
  window.heard = { at: 0, first: 0, blocks: [] }
  tap.onaudioprocess = ({ inputBuffer }) => {
    const block = inputBuffer.getChannelData(0).slice()
    if (!heard.first && !block.some(sample => sample)) return
    heard.first ||= performance.now() / 1000
    if (!heard.blocks.length) heard.at = audio.currentTime
    heard.blocks.push(block)
  }
}
"""
HEARD = """
async count => {
  heard.blocks = []
  while (heard.blocks.length * 4096 < count) await new Promise(resolve => setTimeout(resolve, 50))
  const bytes = new Uint8Array(await new Blob(heard.blocks).arrayBuffer())
  let text = ''
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192))
  return [heard.at, btoa(text)]
}
"""
ASKED = """
window.asked = []
const { send } = RTCDataChannel.prototype
RTCDataChannel.prototype.send = function (data) {
  const message = new DataView(data.buffer, data.byteOffset, data.byteLength)
  if (data.byteLength === 17 && message.getUint8(4) === 6) asked.push(message.getUint32(5))
  return send.call(this, data)
}
"""  # the pieces that blocks were requested of, in that order (BEP 3)


@pytest.fixture(name="network")
def make_network() -> Iterator[Network]:
    with Network(2, route=True) as network:
        yield network


@pytest.fixture(name="author")
def make_author(network: Network, tmp_path: Path) -> Iterator[Program]:
    """Somebody who shares, on the first machine."""
    program = network.hosts[0].program(tmp_path / "author" / "Memos")
    yield program
    program.start("seed", "--stop").wait(20)


@dataclasses.dataclass
class Visitor:
    """Somebody who opened the page, and what the page asked for."""

    tab: Tab
    requests: list[str]

    def says(self) -> str:
        return self.tab.page.inner_text("#state")

    def position(self) -> float:
        return float(self.tab.run("() => audio.currentTime"))

    def seek(self, seconds: float) -> None:
        """Go there with the slider, and wait until it plays."""
        self.tab.run("to => { position.value = to; position.dispatchEvent(new Event('input')) }", seconds)
        begun = f"audio.currentTime > {seconds + 0.3} && audio.currentTime < {seconds + 9} && !audio.seeking"
        self.wait_until(begun, f"to play from {seconds} s")

    def wait_until(self, condition: str, what: str, seconds: float = 60) -> None:
        """Wait for a JavaScript expression."""
        self.tab.wait_until(condition, lambda: f"{what}: {self.says()}", seconds)

    def wait_for_words(self, words: str, timeout: float) -> None:
        said = "document.getElementById('state').innerText.includes(argument)"
        self.tab.wait_until(said, lambda: f"{words!r} instead of {self.says()!r}", timeout, words)


@pytest.fixture(name="visit")
def make_visit(network: Network, chromium: Callable[[Host], Chromium]) -> Callable[..., Visitor]:
    """Open a page in a browser on the second machine, with a script before it if need be."""

    def visit(url: str, before: str = "") -> Visitor:
        tab = chromium(network.hosts[1]).open("about:blank")
        visitor = Visitor(tab, [])
        tab.page.on("request", lambda request: visitor.requests.append(request.url))
        tab.page.on("websocket", lambda socket: visitor.requests.append(socket.url))
        tab.page.context.grant_permissions(["local-network-access"])
        if before:
            tab.page.add_init_script(before)
        tab.page.goto(url)
        return visitor

    return visit


def as_soon_as_it_is_there(script: str) -> str:
    """Have a script run when the page has just begun, however late the test is."""
    return f"addEventListener('DOMContentLoaded', () => {{ {script} }})"


def samples_of(path: Path, begin: float, seconds: float) -> array.array[float]:
    command = ["ffmpeg", "-v", "error", "-ss", str(begin), "-i", str(path), "-t", str(seconds)]
    command += ["-f", "f32le", "-ac", "1", "-ar", str(RATE), "-"]
    return array.array("f", subprocess.run(command, check=True, capture_output=True).stdout)


def likeness(one: array.array[float], other: array.array[float]) -> float:
    """Correlate: 1 for the same sound, 0 for another."""
    power = math.sqrt(sum(map(operator.mul, one, one)) * sum(map(operator.mul, other, other)))
    return sum(map(operator.mul, one, other)) / power if power else 0.0


def hear(visitor: Visitor, source: Path) -> float:
    """Compare what comes out of the audio element with the source at its position; give how alike they are.

    A machine that is busy leaves gaps in what comes out: then it listens again.
    """
    alike = 0.0
    for _ in range(4):
        at, text = visitor.tab.run(HEARD, RATE // 4)
        heard = array.array("f", base64.b64decode(text))[: RATE // 4]
        there = samples_of(source, max(0.0, at - 0.5), 1.25)
        probe = heard[:64]
        fits = [sum(map(operator.mul, probe, there[shift : shift + 64])) for shift in range(len(there) - len(heard))]
        best = sorted(range(len(fits)), key=fits.__getitem__)[-8:]
        alike = max(alike, *(likeness(heard, there[shift : shift + len(heard)]) for shift in best))
        if alike > 0.95:
            break
    return alike
