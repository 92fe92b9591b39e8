"""The history server's one operation for the load generator. Standard library only."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Callable

from components.kit.asking import places
from components.kit.driving import Asker, Job, chosen
from components.kit.probing import Target
from components.spark.probe import PROTOCOL, RAN, headers

OPERATIONS = {"list": "the list of what ran, from any replica"}


class SparkDriver:
    """Requests to all replicas in turn."""

    expect = (200, 200)

    def __init__(self, target: Target) -> None:
        self._target = target
        self._known = places(target, PROTOCOL)
        self._places = itertools.cycle(self._known)

    async def open(self) -> None:
        """Nothing has to be there."""

    async def close(self) -> None:
        """Nothing is held."""

    def wires(self) -> Callable[[], bytes]:
        """Each request is the same."""
        _, port, host = self._known[0]  # one name for all replicas
        known = [f"{key}: {value}" for key, value in headers(self._target, self._known[0]).items()]
        text = "\r\n".join([f"GET {RAN}?limit=20 HTTP/1.1", f"Host: {host}:{port}", *known, "", ""]).encode()
        return lambda: text

    def place(self) -> tuple[str, int, str | None]:
        """The replicas in turn."""
        return next(self._places)

    def tls(self) -> ssl.SSLContext | None:
        """The site's CA and no other."""
        return ssl.create_default_context(cafile=self._target.ca_file)


def driver(target: Target, job: Job) -> Asker:
    """One process's."""
    chosen(OPERATIONS, job)
    return SparkDriver(target)
