"""What the chain needs of a platform: a log, a table, objects, an online store. Nothing more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from validate.pod.integration.features import FeatureRow


class MissingError(LookupError):
    """The object store has no such object."""


Position = dict[int, int]  # of a log: partition -> the offset that is read next


@dataclass(frozen=True)
class Message:
    """One record in the log. `run` tells whose it is without a look at the value."""

    partition: int
    offset: int
    key: str
    value: bytes
    run: str


@dataclass(frozen=True)
class Sent:
    """What became of a send: only acknowledged records count."""

    acknowledged: int
    resent: int  # not acknowledged at first: these may be there twice


class Log(Protocol):
    def end(self) -> Position:
        """Where the next records of each partition will be."""
        ...

    def send(self, run: str, items: Iterable[tuple[str, bytes]], rate: float | None) -> Sent:
        """Sends (key, value); `rate` per second, None for as fast as it goes. Raises if one is
        never acknowledged."""
        ...

    def read(self, start: Position) -> Iterator[Sequence[Message]]:
        """Everything from there on in batches, for ever; an empty batch when nothing came."""
        ...


class FeatureTable(Protocol):
    def put(self, run: str, rows: Sequence[FeatureRow], position: Position) -> None:
        """Rows and the position after them in one transaction. A row that is there stays."""
        ...

    def rows(self, run: str) -> list[FeatureRow]: ...

    def position(self, run: str) -> Position: ...

    def remove(self, run: str) -> int:
        """Rows of the run, and of all earlier runs. Returns how many of this run are left."""
        ...


class Objects(Protocol):
    def put(self, key: str, data: bytes) -> None: ...

    def get(self, key: str) -> bytes:
        """Raises MissingError when there is no such object."""
        ...

    def names(self, prefix: str) -> list[str]: ...

    def remove(self, prefix: str) -> int:
        """All objects and their versions. Returns how many are left."""
        ...


class Online(Protocol):
    def put(self, values: Mapping[str, str]) -> None: ...

    def get(self, keys: Sequence[str]) -> dict[str, str]:
        """Those that are there."""
        ...

    def remove(self, keys: Sequence[str]) -> int:
        """Returns how many are left."""
        ...


@dataclass(frozen=True)
class Stores:
    """Those that this pod was given; a pod that trains has objects and nothing else."""

    log: Log | None = None
    table: FeatureTable | None = None
    objects: Objects | None = None
    online: Online | None = None
