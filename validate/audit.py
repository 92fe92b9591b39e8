"""The audit of acknowledged writes: who wrote what, when it was acknowledged, what is still there.

Runs in the probe pod as well as in tests, so it needs the standard library only.

Record format, version 1: JSON lines, UTF-8, one object a line. A last line without its newline is
a torn write and is ignored. Readers skip kinds and keys that they don't know.

  {"kind": "run", "v": 1, "store", "run", "clients", "rate", "mono", "wall"}   the first line
  {"kind": "op", "client", "seq", "uid", "try", "start", "end", "wall", "outcome", "error"}
  {"kind": "end", "mono", "wall"}                                              the last line

One `op` line per attempt: `start` and `end` are monotonic nanoseconds of the recording machine,
`wall` is the time of `end` since 1970 in seconds, `try` counts from 1 within one uid, `outcome` is
"ok" (acknowledged) or "failed" (the client does not know whether it was written, so it tries
again with the same uid), `error` is "" or the exception's type and text.
A write counts as acknowledged only when its line was fsync'ed (in groups).
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Protocol, TypeVar

RECORD_VERSION = 1
NANOS = 1_000_000_000
T_contra = TypeVar("T_contra", contravariant=True)


class AuditWriter(Protocol[T_contra]):
    """What a room's probe.writer() returns (components/kit/probing.Writer)."""

    def open(self, target: T_contra, /) -> None: ...
    def write(self, uid: str, /) -> None: ...
    def read_all(self, run: str, /) -> Iterable[str]: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Attempt:
    """One attempt to write one uid."""

    client: int
    seq: int
    uid: str
    attempt: int
    start: int
    end: int
    wall: float
    outcome: str
    error: str = ""

    def line(self) -> dict[str, object]:
        fields = asdict(self)
        fields["try"] = fields.pop("attempt")
        return {"kind": "op", **fields}


class Recorder:
    """Appends records; a thread writes and fsyncs what gathered in `interval` seconds.

    `durable_ok` counts acknowledged writes whose line is on disk, and nothing else.
    """

    def __init__(self, path: Path, interval: float = 0.1) -> None:
        self.path = path
        self.durable_ok = 0
        self.failed = 0
        self.broken: str | None = None
        self.last_ack: dict[int, float] = {}
        self._interval = interval
        self._pending: list[Mapping[str, object]] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._file: IO[bytes] = path.open("ab")
        self._thread = threading.Thread(target=self._loop, name=f"record {path.name}", daemon=True)
        self._thread.start()

    def add(self, record: Mapping[str, object]) -> None:
        with self._lock:
            self._pending.append(record)

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._file.close()

    def _loop(self) -> None:
        while not self._closing.wait(self._interval):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            batch, self._pending = self._pending, []
        if not batch or self.broken:
            return
        try:
            text = "".join(json.dumps(r, separators=(",", ":")) + "\n" for r in batch)
            self._file.write(text.encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            self.broken = f"{self.path}: {error}"
            return
        for record in batch:
            self._count(record)

    def _count(self, record: Mapping[str, object]) -> None:
        if record.get("outcome") == "ok":
            self.durable_ok += 1
            self.last_ack[int(str(record["client"]))] = float(str(record["wall"]))
        elif record.get("outcome") == "failed":
            self.failed += 1


@dataclass
class AuditRun:
    """Eight (or so) client threads against one store at a target rate, each retrying its uid.

    The schedule gives each client its slots; slots missed while a write hangs are skipped, not
    made up in a burst: the question here is the gap, not the latency under load.
    """

    store: str
    run: str
    recorder: Recorder
    open_writer: Callable[[], AuditWriter[None]]
    clients: int = 8
    rate: float = 200.0
    stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self.recorder.add(
            {
                "kind": "run", "v": RECORD_VERSION, "store": self.store, "run": self.run,
                "clients": self.clients, "rate": self.rate,
                "mono": time.monotonic_ns(), "wall": time.time(),
            }
        )  # fmt: skip
        for number in range(self.clients):
            thread = threading.Thread(
                target=self._client, args=(number,), name=f"{self.store}-{number}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def finish(self, patience: float = 30.0) -> None:
        """Ends the clients; one that hangs in its store's library is left behind."""
        self.stop.set()
        end = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        self.recorder.add({"kind": "end", "mono": time.monotonic_ns(), "wall": time.time()})
        self.recorder.close()

    def _client(self, number: int) -> None:
        period = int(self.clients / self.rate * NANOS)
        slot = time.monotonic_ns() + number * period // self.clients
        writer: AuditWriter[None] | None = None
        seq = 0
        while not self.stop.is_set():
            delay = (slot - time.monotonic_ns()) / NANOS
            if delay > 0 and self.stop.wait(delay):
                break
            writer = self._write_until_acknowledged(writer, number, seq)
            seq += 1
            slot = max(slot + period, time.monotonic_ns())
        if writer is not None:
            _quietly(writer.close)

    def _write_until_acknowledged(
        self, writer: AuditWriter[None] | None, number: int, seq: int
    ) -> AuditWriter[None] | None:
        uid = f"{self.run}-{number}-{seq}"
        tries = 0
        while not self.stop.is_set():
            tries += 1
            begin = time.monotonic_ns()
            try:
                if writer is None:
                    writer = self.open_writer()
                writer.write(uid)
            except Exception as error:  # noqa: BLE001  a store's library may raise anything
                self._record(number, seq, uid, tries, begin, "failed", error)
                # A client keeps its connection for one retry (many libraries mend it) and
                # then starts afresh, as a restarted process would.
                if writer is not None and tries % 2 == 0:
                    _quietly(writer.close)
                    writer = None
                self.stop.wait(0.05)
                continue
            self._record(number, seq, uid, tries, begin, "ok", None)
            break
        return writer

    def _record(
        self, client: int, seq: int, uid: str, tries: int, begin: int, outcome: str,
        error: Exception | None,
    ) -> None:  # fmt: skip
        text = "" if error is None else f"{type(error).__name__}: {error}"[:300]
        now, wall = time.monotonic_ns(), time.time()
        self.recorder.add(Attempt(client, seq, uid, tries, begin, now, wall, outcome, text).line())


def _quietly(action: Callable[[], object]) -> None:
    """Closing a broken connection may fail; the failure that matters was recorded before."""
    try:
        action()
    except Exception:  # noqa: BLE001  see above
        return


def read_records(lines: Iterable[str]) -> Iterator[dict[str, object]]:
    """The records of a file; a torn last line is left out, a broken one in between is an error."""
    for number, line in enumerate(lines, start=1):
        if not line.endswith("\n"):
            return
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number} of the audit record is not JSON: {error}") from error
        yield record


def attempts(records: Iterable[Mapping[str, object]]) -> Iterator[Attempt]:
    for r in records:
        if r.get("kind") == "op":
            yield Attempt(
                int(str(r["client"])), int(str(r["seq"])), str(r["uid"]), int(str(r["try"])),
                int(str(r["start"])), int(str(r["end"])), float(str(r["wall"])),
                str(r["outcome"]), str(r["error"]),
            )  # fmt: skip
