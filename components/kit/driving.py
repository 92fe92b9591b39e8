"""What a room's load.py is written against: one store's operations, for the load generator.

    OPERATIONS: Mapping[str, str]  (name of an operation -> what it is, in words)
    def driver(target: Target, job: Job) -> Caller | Asker

It runs in the image `clients`: standard library, kit and the room's client library only. What it
writes is its own, named after the run, and removed by `close`; what a killed run left behind is
removed by the next `open`.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol


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
