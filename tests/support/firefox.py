"""Debian's Firefox, without a window, on a machine of a test's network: `python firefox.py URL SECONDS`.

It opens a page there. Each line of standard input is a JavaScript expression, which is waited for until it is true, for
so many seconds; what it is then comes back as a line of JSON, or else what the page says. It is spoken to by Marionette
(JSON over TCP, on that machine's loopback), so that nothing else is needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PORT = 2828
PREFERENCES = {
    "marionette.port": PORT,
    "media.autoplay.default": 0,  # sound needs no click
    "media.autoplay.blocking_policy": 0,
    "media.peerconnection.ice.obfuscate_host_addresses": False,  # by names that only multicast DNS knows
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "remote.prefs.recommended": True,  # nothing asks, updates or reports
}


class Marionette:
    """A connection to a Firefox that was just started."""

    def __init__(self, port: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, "Firefox does not listen"
                time.sleep(0.05)
        self._file, self._number = self._socket.makefile("rb"), 0
        self._read()

    def ask(self, command: str, **parameters: object) -> Any:
        """Give a command's result; RuntimeError with what Firefox says otherwise."""
        self._number += 1
        message = json.dumps([0, self._number, command, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(message), message))
        _, _, error, result = self._read()
        if error:
            raise RuntimeError(f"{command}: {error['message']}")
        return result

    def value(self, expression: str) -> Any:
        script = f"return {expression}"
        return self.ask("WebDriver:ExecuteScript", script=script, args=[], sandbox=None)["value"]

    def _read(self) -> Any:
        size = b""
        while (digit := self._file.read(1)) != b":":
            assert digit, "Firefox has ended"
            size += digit
        return json.loads(self._file.read(int(size)))


def main(url: str, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="firefox-", ignore_cleanup_errors=True) as home:
        lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items())
        Path(home, "user.js").write_text("".join(lines))
        command = ["firefox-esr", "--headless", "--marionette", "--no-remote", "--profile", home]
        environment = {
            **os.environ,
            "HOME": home,
            "MOZ_DISABLE_CONTENT_SANDBOX": "1",
        }  # which wants namespaces of its own
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            firefox = Marionette(PORT, seconds)
            firefox.ask("WebDriver:NewSession")
            firefox.ask("WebDriver:Navigate", url=url)
            for line in sys.stdin:
                deadline = time.monotonic() + seconds
                while not (value := firefox.value(line)) and time.monotonic() < deadline:
                    time.sleep(0.05)
                print(json.dumps(value or firefox.value("document.body.innerText")), flush=True)
            with contextlib.suppress(AssertionError, OSError):
                firefox.ask("Marionette:Quit", flags=["eForceQuit"])
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
