"""Reads pages of pods: what they count, and what they answered.

What runs in the pods is a user's: a page may be anything, and may never end.
`components/outcomes/server/reading.py` is this very file.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

K = TypeVar("K")
#: For all pods that are asked together, so that a round stays short whatever a pod does.
SECONDS_OF_ALL = 1.0
LARGEST = 1_000_000  # bytes of an answer
SHOWN = 300  # letters of an answer that is no page


@dataclass(frozen=True)
class Place:
    """One pod."""

    pod: str
    address: str
    port: int
    ready: bool
    path: str = "/metrics"


class Page:
    """One pod's page while it is read."""

    def __init__(self, place: Place) -> None:
        self._path = place.path
        self._line = http.client.HTTPConnection(place.address, place.port, timeout=SECONDS_OF_ALL)
        self._socket: socket.socket | None = None

    def read(self) -> str:
        """All of it. Raises OSError, HTTPException, ValueError."""
        try:
            self._line.connect()
            self._socket = self._line.sock
            self._line.request("GET", self._path)
            answer = self._line.getresponse()
            text = answer.read(LARGEST).decode("utf-8", "replace")
        finally:
            self._line.close()
        if answer.status != http.HTTPStatus.OK:
            raise ValueError(f"{answer.status} of {self._path.partition('?')[0]}: {' '.join(text[:SHOWN].split())}")
        return text

    def stop(self) -> None:
        """Whoever reads it gets an error: a page may drip for ever, and no time-out of one read ends it."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def ask(places: Mapping[K, Place], pool: ThreadPoolExecutor) -> tuple[dict[K, str], dict[K, str]]:
    """All pages at the same time: those that came whole, and why the others did not."""
    pages = {key: Page(place) for key, place in places.items()}
    waiting = {key: pool.submit(page.read) for key, page in pages.items()}
    late = wait(waiting.values(), timeout=SECONDS_OF_ALL).not_done
    texts, failures = {}, {}
    for key, each in waiting.items():
        if each in late:
            each.cancel()
            pages[key].stop()
            failures[key] = f"not whole within {SECONDS_OF_ALL:g} s"
            continue
        try:
            texts[key] = each.result()
        except (OSError, ValueError, http.client.HTTPException) as error:
            failures[key] = str(error) or type(error).__name__
    return texts, failures
