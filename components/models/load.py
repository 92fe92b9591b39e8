"""Operations for the load generator. Standard library and kit only."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Callable

from components.kit.asking import places
from components.kit.driving import Asker, Job, chosen
from components.kit.probing import Target

OPERATIONS = {"releases": "what the keepers say of every release, as the page asks them"}


class ModelsDriver:
    """Requests to all keepers in turn."""

    expect = (200, 200)

    def __init__(self, target: Target, job: Job) -> None:
        chosen(OPERATIONS, job)
        self._ca = target.ca_file
        known = places(target, "models")
        self._places = itertools.cycle(known)
        _, port, host = known[0]  # one name for all keepers
        self._wire = f"GET /releases HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: application/json\r\n\r\n".encode()

    async def open(self) -> None:
        """Nothing has to be there."""

    async def close(self) -> None:
        """Nothing was written."""

    def wires(self) -> Callable[[], bytes]:
        """Always the same request."""
        return lambda: self._wire

    def place(self) -> tuple[str, int, str | None]:
        """The keepers in turn."""
        return next(self._places)

    def tls(self) -> ssl.SSLContext | None:
        """The site's CA and no other."""
        return ssl.create_default_context(cafile=self._ca)


def driver(target: Target, job: Job) -> Asker:
    """One process of the generator."""
    return ModelsDriver(target, job)
