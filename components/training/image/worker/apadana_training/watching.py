"""Workers notice that another one is gone: its process, or its host without a word.

The collective waits for a slow peer as long as it is told to, and takes a dead host for a slow peer. So each worker
holds one more connection with the first one. Nothing is sent on it but a last byte; the kernels ask each other whether
they are there.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

#: A host that does not answer is gone after 5 + 3 * 5 seconds.
IDLE_S, EVERY_S, TIMES = 5, 5, 3
CONNECT_S = 10.0
BYE = b"."


class Watch:
    """Of one worker over the first one, or of the first one over all others."""

    def __init__(self) -> None:
        self._lines: list[socket.socket] = []
        self._server: socket.socket | None = None

    def over_all(self, port: int) -> None:
        """The first worker's."""
        self._server = socket.create_server(("", port))
        threading.Thread(target=self._take, args=(self._server,), daemon=True).start()

    def over_first(self, address: str, port: int) -> None:
        """Any other worker's."""
        self._hold(socket.create_connection((address, port), timeout=CONNECT_S), "worker 0")

    def end(self) -> None:
        """In order: nobody is to take it for a loss."""
        for line in self._lines:
            try:
                line.sendall(BYE)
            except OSError:  # said goodbye first, and went
                continue

    def close(self) -> None:
        """Of a start that met nobody."""
        if self._server is not None:
            self._server.close()

    def _take(self, server: socket.socket) -> None:
        while True:
            try:
                line, (address, *_) = server.accept()
            except OSError:  # closed
                return
            self._hold(line, f"the worker at {address}")

    def _hold(self, line: socket.socket, who: str) -> None:
        line.settimeout(None)
        for level, name, value in (
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_S),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, EVERY_S),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, TIMES),
        ):
            line.setsockopt(level, name, value)
        self._lines.append(line)
        threading.Thread(target=_listen, args=(line, who), daemon=True).start()


def _listen(line: socket.socket, who: str) -> None:
    """Until its last byte, or until it is gone; then this worker ends, too."""
    try:
        why = "" if line.recv(1) == BYE else "its connection was closed"
    except OSError as error:
        why = str(error)
    if why:
        sys.stderr.write(f"{who} is lost ({why}): this worker ends, and all begin after the last checkpoint\n")
        sys.stderr.flush()
        os._exit(1)
