"""What a room's load.py is written against: one store's operations, for the load generator.

    OPERATIONS: Mapping[str, str]  (name of an operation -> what it is, in words)
    def driver(target: Target, job: Job) -> Caller | Asker

It runs in the image `clients`: standard library, kit and the room's client library only. What it
writes is its own, named after the run, and removed by `close`; what a killed run left behind is
removed by the next `open`.
"""

from __future__ import annotations

import itertools
import random
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from components.kit.asking import Place, places
from components.kit.probing import Target


@dataclass(frozen=True)
class Job:
    """What is asked of a driver. `run` is unique to each process of the generator: run-part."""

    operation: str
    run: str
    record_bytes: int
    clients: int  # connections, where the store's client needs one for each operation

    @property
    def campaign(self) -> str:
        """The run without its part."""
        return self.run.rpartition("-")[0]

    def record(self) -> bytes:
        """Noise from a fixed seed: repeatable, and nothing on the way makes it smaller."""
        return random.Random(1).randbytes(self.record_bytes)


class Driver(Protocol):
    """Both kinds of driver."""

    async def open(self) -> None:
        """Connects, makes what the operation needs, removes what a killed run left."""

    async def close(self) -> None:
        """Removes what was written, lets go of everything."""


class Caller(Driver, Protocol):
    """A store whose client library does the talking."""

    async def do(self, number: int) -> None:
        """The n-th operation; returns when it is acknowledged as the contract says, else raises."""


class Asker(Driver, Protocol):
    """A store that speaks HTTP: the generator sends the bytes itself."""

    expect: tuple[int, int]  # statuses that count as success

    def wires(self) -> Callable[[], bytes]:
        """Each call gives the bytes of one more request."""

    def place(self) -> tuple[str, int, str | None]:
        """Host, port and TLS name of the next connection."""

    def tls(self) -> ssl.SSLContext | None:
        """None for plain text."""


def chosen(operations: Mapping[str, str], job: Job) -> str:
    """The operation, or which there are."""
    if job.operation not in operations:
        raise LookupError(f"no operation {job.operation!r}; there are: {', '.join(sorted(operations))}")
    return job.operation


def wire(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """One request of HTTP/1.1 as it is sent; `headers` name the Host."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Repeated:
    """An Asker with one request again and again, to all servers in turn over TLS; nothing is made or kept."""

    def __init__(
        self, places: Iterable[Place], ca_file: str, make: Callable[[], bytes], expect: tuple[int, int] = (200, 200)
    ) -> None:
        """`make` gives the request's bytes when the load begins."""
        self._places, self._ca, self._make, self.expect = itertools.cycle(places), ca_file, make, expect

    async def open(self) -> None:
        """Nothing has to be there."""

    async def close(self) -> None:
        """Nothing was written."""

    def wires(self) -> Callable[[], bytes]:
        """Always the same request."""
        request = self._make()
        return lambda: request

    def place(self) -> tuple[str, int, str | None]:
        """The servers in turn."""
        return next(self._places)

    def tls(self) -> ssl.SSLContext | None:
        """The site's CA and no other."""
        return ssl.create_default_context(cafile=self._ca)


def looks(target: Target, protocol: str, path: str, accept: str = "application/json") -> Repeated:
    """One page, asked of all replicas in turn; the endpoint's one name leads to all of them."""
    known = places(target, protocol)
    _, port, host = known[0]
    headers = {"Host": f"{host}:{port}", "Accept": accept}
    return Repeated(known, target.ca_file, lambda: wire("GET", path, headers))
