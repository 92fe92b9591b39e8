"""The toy's log as a client sees it: records in order, each once."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping

from components.kv.probe import Client, primary, retried, soon_whole, version, whole  # the same protocol

from components.kit.probing import Check, Held, Target, attempt

__all__ = ["primary", "smoke", "version", "whole", "writer"]

Look = tuple[bool, str, Mapping[str, object]]


class LogWriter:
    """One client; its records come in its own order."""

    def __init__(self) -> None:
        self._client: Client | None = None

    def open(self, target: Target) -> None:
        self._client = Client(target)
        self._client.anywhere(op="version")

    def write(self, uid: str) -> None:
        assert self._client is not None
        self._client.to_leader(op="add", record=uid)

    def read_all(self, run: str) -> set[str]:
        return set(self.read_back(run))

    def read_back(self, run: str) -> Held:
        """One lane: the log keeps one order, and shows what it holds twice."""
        assert self._client is not None
        return Held([records(self._client, f"{run}-")], repeats=True, ordered=True)

    def settings(self) -> Mapping[str, object]:
        return {"acknowledged": "a majority holds it on disk"}

    def least(self) -> Mapping[str, object]:
        return {}

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def records(client: Client, prefix: str) -> list[str]:
    """All records that begin so, in the log's order."""
    found: list[str] = []
    place, end = 0, 1
    while place < end:
        answer = client.anywhere(op="read", prefix=prefix, **{"from": place})
        found += answer["records"]
        place, end = int(answer["next"]), int(answer["end"])
    return found


def writer() -> LogWriter:
    return LogWriter()


def smoke(target: Target) -> Iterator[Check]:
    yield soon_whole(target)
    yield attempt("appended and read back in order", lambda: _round_trip(target))


def _round_trip(target: Target) -> Look:
    run = f"smoke{uuid.uuid4().hex[:8]}"
    wanted = [f"{run}-{n}" for n in range(8)]
    client = Client(target)
    for record in wanted:
        retried(lambda record=record: client.to_leader(op="add", record=record))
    found: list[str] = []
    retried(lambda: found.extend(records(client, f"{run}-")))
    client.close()
    return (found == wanted, f"{len(found)} of {len(wanted)} records, in order: {found == wanted}", {})
