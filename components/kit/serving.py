"""HTTPS for the small servers that rooms run from their ConfigMaps. Standard library only.

A room's own folder has this very file by a link, so that its pods have it, too.
"""

from __future__ import annotations

import json
import signal
import ssl
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SECONDS = 5.0  # for a client to send its request


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = SECONDS
    leads_to = ""  # where a 303 sends the browser

    def do_GET(self) -> None:
        """A look."""
        self.get()

    def do_POST(self) -> None:
        """Something new."""
        self.post()

    def do_DELETE(self) -> None:
        """Something that is to go."""
        self.delete()

    def get(self) -> None:
        """What a server that takes none answers."""
        self.refuse()

    post = delete = get

    def refuse(self) -> None:
        """Nothing here is asked so."""
        self.close_connection = True  # what is left of the question would be read as the next one
        self.answer(405, "text/plain", f"{self.command} is not taken here\n")

    def body(self, most: int) -> bytes | None:
        """What was sent. None: longer than `most` bytes, or of no length that is said; that was answered."""
        told = self.headers.get("Content-Length", "")
        if told.isdigit() and int(told) <= most:
            return self.rfile.read(int(told))
        self.close_connection = True
        status = 413 if told.isdigit() else 411
        self.answer(
            status, "application/json", json.dumps({"errors": [f"Content-Length is {told!r}; allowed: {most}"]})
        )
        return None

    def answer(self, status: int, kind: str, text: str) -> None:
        """The whole answer."""
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if status == HTTPStatus.SEE_OTHER:
            self.send_header("Location", self.leads_to)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""


class Server(ThreadingHTTPServer):
    """In threads of its own; a renewed certificate is taken up by `renew`. `folder` holds tls.crt and tls.key."""

    daemon_threads = True

    def __init__(self, handler: type[Handler], port: int, folder: Path) -> None:
        super().__init__(("0.0.0.0", port), handler)
        self._folder = folder
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.renew()
        # The handshake is the thread's that answers: a silent client holds up nobody.
        self.socket = self._context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def renew(self) -> None:
        """Read the certificate again."""
        self._context.load_cert_chain(self._folder / "tls.crt", self._folder / "tls.key")

    def start(self) -> None:
        """Answer until the process ends."""
        threading.Thread(target=self.serve_forever, daemon=True).start()


def stopping() -> threading.Event:
    """Set when the process is told to end."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def logger(room: str) -> Callable[[str], None]:
    """Writes one JSON line for each message."""

    def log(message: str) -> None:
        sys.stdout.write(json.dumps({"level": "INFO", "logger": room, "message": message}) + "\n")
        sys.stdout.flush()

    return log
