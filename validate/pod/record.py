"""The audit of acknowledged writes: who wrote what, when it was acknowledged, what is still there.

Runs in the probe pod as well as in tests, so it needs the standard library only.

Record format, version 2: JSON lines, UTF-8, one object a line. A last line without its newline is
a torn write and is ignored. Readers skip kinds and keys that they don't know, so a reader of
version 1 (which had neither `read` nor `settings` nor `demanded`) reads version 2, and the other
way round.

  {"kind": "run", "v": 2, "store", "run", "clients", "rate", "mono", "wall", "demanded"}  first line
  {"kind": "settings", "used", "least"}
  {"kind": "op", "client", "seq", "uid", "try", "start", "end", "wall", "outcome", "error"}
  {"kind": "read", "client", "seen", "start", "end", "outcome", "error"}
  {"kind": "stall", "start", "end"}
  {"kind": "end", "mono", "wall"}                                                          last line

One `op` line per attempt: `start` and `end` are monotonic nanoseconds of the recording machine,
`wall` is the time of `end` since 1970 in seconds, `try` counts from 1 within one uid, `outcome` is
"ok" (acknowledged) or "failed" (the client does not know whether it was written, so it tries
again with the same uid), `error` is "" or the exception's type and text.
A write counts as acknowledged only when its line was fsync'ed (in groups).
One `read` line per read of the newest seq of one client by somebody else: `seen` is null when
there was none. A `stall` is time in which the recording process itself stood still: a gap then is
not the store's. `demanded` is the contract's `client`, `used` what the writer says it uses, `least`
what an acknowledgement must rest on (components/kit/probing.FullWriter).
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

RECORD_VERSION = 2
PULSE_S, STALL_S = 0.1, 0.3  # how often it is looked, and how late is a stall
READS_PER_WRITE = 0.1  # a reader beside the writers, slow enough not to disturb them
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


class AuditRecorder:
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
        if record.get("kind") != "op":
            return
        if record.get("outcome") == "ok":
            self.durable_ok += 1
            self.last_ack[int(str(record["client"]))] = float(str(record["wall"]))
        elif record.get("outcome") == "failed":
            self.failed += 1


@dataclass
class AuditRun:
    """Eight (or so) client threads against one store at a target rate, each retrying its uid.

    Where the writer can read (probing.FullWriter.read_last), one more client reads what the others
    wrote last, on a connection of its own, so that the writers' gaps stay theirs.
    The schedule gives each client its slots; slots missed while a write hangs are skipped, not
    made up in a burst: the question here is the gap, not the latency under load.
    """

    store: str
    run: str
    recorder: AuditRecorder
    open_writer: Callable[[], AuditWriter[None]]
    clients: int = 8
    rate: float = 200.0
    demanded: Mapping[str, Any] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self.recorder.add(
            {
                "kind": "run",
                "v": RECORD_VERSION,
                "store": self.store,
                "run": self.run,
                "clients": self.clients,
                "rate": self.rate,
                "mono": time.monotonic_ns(),
                "wall": time.time(),
                "demanded": self.demanded,
            }
        )
        for number in range(self.clients):
            self._begin(self._client, number)
        self._begin(self._reader)
        self._begin(self._pulse)

    def _begin(self, body: Callable[..., None], *args: int) -> None:
        name = "-".join([self.store, body.__name__, *map(str, args)])
        thread = threading.Thread(target=body, args=args, name=name, daemon=True)
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

    def _reader(self) -> None:
        """Reads each client's newest write in turn; first tells what the client is set to."""
        period = 1 / (self.rate * READS_PER_WRITE)
        turns = itertools.cycle(range(self.clients))
        writer: Any = None
        told = False
        while not self.stop.wait(period):
            begin = time.monotonic_ns()
            client = next(turns)
            try:
                if writer is None:
                    writer = self.open_writer()
                told = told or self._tell_settings(writer)
                if not hasattr(writer, "read_last"):
                    break
                begin = time.monotonic_ns()
                seen = writer.read_last(self.run, client)
            except Exception as error:  # noqa: BLE001  a store's library may raise anything
                self._record_read(client, None, begin, error)
                if writer is not None:
                    _quietly(writer.close)
                    writer = None
                continue
            self._record_read(client, seen, begin, None)
        if writer is not None:
            _quietly(writer.close)

    def _pulse(self) -> None:
        """Notes when this process did not get the processor: all its threads then stood still."""
        last = time.monotonic_ns()
        while not self.stop.wait(PULSE_S):
            now = time.monotonic_ns()
            if now - last > (PULSE_S + STALL_S) * NANOS:
                self.recorder.add({"kind": "stall", "start": last, "end": now})
            last = now

    def _tell_settings(self, writer: Any) -> bool:
        if hasattr(writer, "settings"):
            least = dict(writer.least()) if hasattr(writer, "least") else {}
            used = dict(writer.settings())
            self.recorder.add({"kind": "settings", "used": used, "least": least})
        return True

    def _record_read(self, client: int, seen: int | None, begin: int, error: Exception | None) -> None:
        self.recorder.add(
            {
                "kind": "read",
                "client": client,
                "seen": seen,
                "start": begin,
                "end": time.monotonic_ns(),
                "outcome": "ok" if error is None else "failed",
                "error": _told(error),
            }
        )

    def _record(
        self, client: int, seq: int, uid: str, tries: int, begin: int, outcome: str, error: Exception | None
    ) -> None:
        now, wall = time.monotonic_ns(), time.time()
        made = Attempt(client, seq, uid, tries, begin, now, wall, outcome, _told(error))
        self.recorder.add(made.line())


def _quietly(action: Callable[[], object]) -> None:
    """Closing a broken connection may fail; the failure that matters was recorded before."""
    try:
        action()
    except Exception:  # noqa: BLE001  see above
        return


def _told(error: Exception | None) -> str:
    return "" if error is None else f"{type(error).__name__}: {error}"[:300]
