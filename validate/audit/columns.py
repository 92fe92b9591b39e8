"""An audit record in columns: what a million operations need in a few hundred megabytes."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

NANOS = 1_000_000_000


def ints() -> array[int]:
    return array("q")


@dataclass
class Writes:
    """One row for each uid, in the order in which they were first tried."""

    number: dict[str, int] = field(default_factory=dict)  # uid -> row
    client: array[int] = field(default_factory=ints)
    seq: array[int] = field(default_factory=ints)
    tries: array[int] = field(default_factory=ints)
    acknowledged: bytearray = field(default_factory=bytearray)


@dataclass
class Acks:
    """One row for each acknowledgement; times are monotonic nanoseconds of the recorder."""

    write: array[int] = field(default_factory=ints)  # row of Writes
    start: array[int] = field(default_factory=ints)
    end: array[int] = field(default_factory=ints)


@dataclass
class Reads:
    """One row for each answered read of a client's newest seq; -1: the store knew none."""

    client: array[int] = field(default_factory=ints)
    seen: array[int] = field(default_factory=ints)
    start: array[int] = field(default_factory=ints)
    end: array[int] = field(default_factory=ints)
    failed: int = 0


@dataclass
class History:
    """All that a record says, once read. Made by `History.of`."""

    store: str
    run: str
    clients: int
    begin: int
    wall_offset: float  # wall seconds = monotonic seconds + this
    end: int = 0
    complete: bool = False  # the record has its last line
    writes: Writes = field(default_factory=Writes)
    acks: Acks = field(default_factory=Acks)
    reads: Reads = field(default_factory=Reads)
    failed: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    stalls: list[tuple[int, int]] = field(default_factory=list)  # of the recorder; start, end
    demanded: Mapping[str, Any] = field(default_factory=dict)
    used: Mapping[str, Any] | None = None
    least: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[Mapping[str, Any]]) -> History:
        """Raises ValueError without a `run` line, KeyError or TypeError for a record unlike v1."""
        flow = iter(records)
        early: list[Mapping[str, Any]] = []
        for record in flow:
            if record.get("kind") == "run":
                break
            early.append(record)
        else:
            raise ValueError("the audit record has no 'run' line: it is not the start of a record")
        made = cls._begun(record)
        made._take(chain(early, flow))
        if not made.complete:
            made.end = max([made.begin, *made.acks.end])
        return made

    @classmethod
    def _begun(cls, head: Mapping[str, Any]) -> History:
        begin = int(head["mono"])
        offset = float(head["wall"]) - begin / NANOS
        return cls(
            str(head["store"]),
            str(head["run"]),
            int(head["clients"]),
            begin,
            offset,
            demanded=head.get("demanded") or {},
        )

    def wall(self, moment: int) -> float:
        return moment / NANOS + self.wall_offset

    def _take(self, records: Iterable[Mapping[str, Any]]) -> None:
        """One loop without calls for what comes a million times."""
        writes, acks = self.writes, self.acks
        number, tries = writes.number, writes.tries
        for record in records:
            kind = record.get("kind")
            if kind != "op":
                self._take_other(kind, record)
                continue
            uid = record["uid"]
            row = number.get(uid)
            if row is None:
                row = number[uid] = len(tries)
                writes.client.append(record["client"])
                writes.seq.append(record["seq"])
                tries.append(0)
                writes.acknowledged.append(0)
            tries[row] += 1
            if record["outcome"] == "ok":
                writes.acknowledged[row] = 1
                acks.write.append(row)
                acks.start.append(record["start"])
                acks.end.append(record["end"])
            else:
                self.failed += 1
                self.errors[record["error"][:120]] += 1

    def _take_other(self, kind: object, record: Mapping[str, Any]) -> None:
        if kind == "read":
            self._read(record)
        elif kind == "stall":
            self.stalls.append((int(record["start"]), int(record["end"])))
        elif kind == "settings":
            self.used, self.least = record["used"], record.get("least") or {}
        elif kind == "end":
            self.end, self.complete = int(record["mono"]), True

    def _read(self, record: Mapping[str, Any]) -> None:
        if record["outcome"] != "ok":
            self.reads.failed += 1
            return
        reads = self.reads
        reads.client.append(record["client"])
        reads.seen.append(-1 if record["seen"] is None else record["seen"])
        reads.start.append(record["start"])
        reads.end.append(record["end"])


def parse(lines: Iterable[str | bytes]) -> Iterator[dict[str, Any]]:
    """The records; a torn last line is left out, a broken one in between is a ValueError."""
    for number, line in enumerate(lines, start=1):
        if line[-1:] not in ("\n", b"\n"):
            return
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"line {number} of the audit record is not JSON: {error}") from error


def load(path: Path) -> History:
    with path.open("rb") as lines:
        return History.of(parse(lines))
