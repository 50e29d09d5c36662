"""Serve a directory over HTTP with sendfile(2), as file servers do; print the port."""

from __future__ import annotations

import http.server
import os
import sys
from typing import Any


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def copyfile(self, source: Any, outputfile: Any) -> None:
        outputfile.flush()
        while os.sendfile(outputfile.fileno(), source.fileno(), None, 2**24):
            pass

    def log_message(self, *_: object) -> None:
        pass


os.chdir(sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
