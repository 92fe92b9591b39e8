"""KServe's operations for the load generator. Standard library and kit only."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Callable

from components.kit.asking import places
from components.kit.driving import Asker, Job, chosen
from components.kit.probing import Target
from components.kserve.probe import JSON, VALIDATE, review, service

OPERATIONS = {"admit": "whether an InferenceService may be made, as an API server asks it; nothing is made"}


class KserveDriver:
    """Requests to all controllers in turn."""

    expect = (200, 200)

    def __init__(self, target: Target, job: Job) -> None:
        chosen(OPERATIONS, job)
        self._ca = target.ca_file
        known = places(target, "webhook")
        self._places = itertools.cycle(known)
        body = review(service(target, "load"))
        _, port, host = known[0]  # one name for all controllers
        lines = [f"POST {VALIDATE} HTTP/1.1", f"Host: {host}:{port}", f"Content-Type: {JSON}"]
        head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
        self._wire = head.encode() + body

    async def open(self) -> None:
        """Nothing has to be there."""

    async def close(self) -> None:
        """Nothing was written."""

    def wires(self) -> Callable[[], bytes]:
        """Always the same request."""
        return lambda: self._wire

    def place(self) -> tuple[str, int, str | None]:
        """The controllers in turn."""
        return next(self._places)

    def tls(self) -> ssl.SSLContext | None:
        """The site's CA and no other."""
        return ssl.create_default_context(cafile=self._ca)


def driver(target: Target, job: Job) -> Asker:
    """One process of the generator."""
    return KserveDriver(target, job)
