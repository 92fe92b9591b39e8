"""One batch after the other, through everything: judged, kept offline, kept online, letters sent, then committed.

Whatever ends a worker between two of these, the next one does all of them again, and nothing changes by it: a row is
there already, a value that is not newer replaces nothing. So what is promised is *effectively once*.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
import redis
from confluent_kafka import KafkaException

from components.streaming.worker import layout
from components.streaming.worker.history import History, Ids
from components.streaming.worker.numbers import Numbers
from components.streaming.worker.records import BrokenError, Message, Row, View, judge
from components.streaming.worker.replacing import AT_ONCE, newest, parts, replace

#: What a store says that is away for a while.
AWAY = (OSError, psycopg.Error, redis.RedisError, KafkaException)
WAIT_REPLICAS, WAIT_MS = 1, 500


class Source(Protocol):
    """Where records come from."""

    def take(self) -> list[Message]: ...
    def done(self, taken: Sequence[Message]) -> None: ...
    def again(self, taken: Sequence[Message]) -> None: ...


class Letters(Protocol):
    """Where those go that nobody can read."""

    def send(self, topic: str, broken: Sequence[tuple[Message, BrokenError]]) -> None: ...


@dataclass(frozen=True)
class Online:
    """The online store, from the feature store's prefix on."""

    client: Any
    prefix: str

    def keep(self, known: Mapping[str, View], rows: Sequence[Row]) -> None:
        """Returns when a replica has them, too."""
        for part in parts(newest(layout.held(self.prefix, known, list(rows))), AT_ONCE):
            replace(self.client, part, layout.fence(self.prefix), WAIT_REPLICAS, WAIT_MS)


@dataclass(frozen=True)
class Stores:
    """Where a batch goes."""

    ids: Ids
    history: History
    online: Online
    letters: Letters


class Rounds:
    """A worker's work."""

    def __init__(
        self, topic: str, known: Mapping[str, View], source: Source, stores: Stores, say: Callable[[str], None]
    ) -> None:
        self._topic, self._known, self._source, self._stores, self._say = topic, known, source, stores, say
        self.numbers = Numbers()
        self._why = ""

    def round(self) -> bool:
        """One batch, if there is one. False: a store is away, and it comes once more."""
        taken = self._source.take()
        self.numbers.waits(taken)
        try:
            self._through(taken)
        except AWAY as error:
            self._tell(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
            self._source.again(taken)
            return False
        self._tell("")
        return True

    def _through(self, taken: list[Message]) -> None:
        rows, broken = judged(taken, self._known)
        if taken:
            first = self._stores.ids.first(rows)
            # In this order, so that online can always be made anew.
            self._stores.history.keep(first)
            self._stores.online.keep(self._known, first)
            if broken:
                self._stores.letters.send(self._topic, broken)
            self._source.done(taken)
            self.numbers.repeated += len(rows) - len(first)
        self.numbers.count(taken, [why.reason for _, why in broken], time.time())

    def _tell(self, why: str) -> None:
        if why != self._why:
            self._say(f"waits: {why}" if why else "goes on")
        self._why = why


def judged(taken: Sequence[Message], known: Mapping[str, View]) -> tuple[list[Row], list[tuple[Message, BrokenError]]]:
    """Sound ones, and broken ones with what is wrong."""
    rows, broken = [], []
    for message in taken:
        try:
            rows.append(judge(message, known))
        except BrokenError as error:
            broken.append((message, error))
    return rows, broken
