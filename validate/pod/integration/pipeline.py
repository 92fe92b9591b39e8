"""The way of the records: log, checked rows, table, archive and online store, training data."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from validate.pod.integration import forest, records
from validate.pod.integration.features import BadRecordError, FeatureRow, digest_of, row, sha256, strict, text, vector
from validate.pod.integration.ports import Message, Online, Position, Stores

ROOT = "integration"  # of all objects and keys of this suite
SILENCE = 30.0  # seconds without a record while some are still due


def place(run: str, *parts: str) -> str:
    return "/".join((ROOT, run, *parts))


@dataclass
class Progress:
    """What the processing saw; everything in it is counted from what was read from the log."""

    position: Position
    seen: list[str] = field(default_factory=list)  # digests of sound records, twice if read twice
    parts: int = 0
    aside: dict[str, int] = field(default_factory=dict)  # why -> how many
    newest: dict[str, int] = field(default_factory=dict)  # machine -> newest time
    reordered: int = 0


def flow(stores: Stores, run: str, delivery: records.Delivery, rate: float | None) -> dict[str, Any]:
    """Sends a delivery and processes it: at once (batch), or while it comes in (streaming)."""
    log = stores.log
    assert log is not None
    start = log.end()
    items = [*delivery.lines(run), *records.altered(run, delivery.mode)]
    begin = time.monotonic()
    sending = _Sending(lambda: log.send(run, items, rate), log.end)
    if rate is None:
        sending.join()
    progress = Progress(dict(start))
    last = time.monotonic()
    for messages in log.read(start):
        if messages:
            last = time.monotonic()
            process(stores, run, delivery.mode, messages, progress)
        if sending.reached(progress.position):
            break
        if time.monotonic() - last > SILENCE:
            raise TimeoutError(
                f"the log gave nothing for {SILENCE:g} s at {progress.position}, "
                f"records go to {sending.end or 'somewhere beyond'}"
            )
    sent = sending.join()
    return {
        "sent": len(items),
        "acknowledged": sent.acknowledged,
        "resent": sent.resent,
        "read": len(set(progress.seen)),
        "read_digest": digest_of(set(progress.seen)),
        "twice": len(progress.seen) - len(set(progress.seen)),
        "reordered": progress.reordered,
        "aside": progress.aside,
        "parts": progress.parts,
        "from": start,
        "to": sending.end,
        "seconds": round(time.monotonic() - begin, 3),
        "rate": rate,
    }


class _Sending:
    """The producer beside the processing, and where its records end."""

    def __init__(self, send: Callable[[], Any], end: Callable[[], Position]) -> None:
        self.end: Position | None = None
        self._sent: Any = None
        self._problem: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(send, end), daemon=True)
        self._thread.start()

    def _run(self, send: Callable[[], Any], end: Callable[[], Position]) -> None:
        try:
            self._sent = send()
            self.end = end()
        except Exception as error:  # noqa: BLE001  it is raised where somebody waits for it
            self._problem = error

    def join(self) -> Any:
        self._thread.join()
        if self._problem is not None:
            raise self._problem
        return self._sent

    def reached(self, position: Position) -> bool:
        """All is sent, and the position is beyond the last of it."""
        if self._thread.is_alive():
            return False
        self.join()
        return all(position.get(p, 0) >= at for p, at in (self.end or {}).items())


def process(stores: Stores, run: str, mode: str, messages: Sequence[Message], progress: Progress) -> None:
    """One small batch into all stores. The table comes last: its commit is what makes progress,
    and doing the same batch again changes nothing."""
    ours = [message for message in messages if message.run == run]
    rows: list[FeatureRow] = []
    for message in ours:
        try:
            rows.append(row(message.value, mode))
        except BadRecordError as error:
            reason = str(error).partition(":")[0]
            progress.aside[reason] = progress.aside.get(reason, 0) + 1
            continue
        _order(progress, rows[-1])
    for message in messages:
        progress.position[message.partition] = message.offset + 1
    if not ours:
        return
    assert stores.objects is not None and stores.table is not None
    name = place(run, "raw", f"{mode}-{progress.parts:04d}.jsonl.gz")
    stores.objects.put(name, pack(message.value for message in ours))
    if stores.online is not None:
        latest = [r for r in rows if r.at == progress.newest[r.machine]]
        stores.online.put({online_key(run, r.machine): r.features for r in latest})
    stores.table.put(run, rows, progress.position)
    progress.parts += 1
    progress.seen += [each.digest for each in rows]


def _order(progress: Progress, found: FeatureRow) -> None:
    if found.at < progress.newest.get(found.machine, 0):
        progress.reordered += 1
    progress.newest[found.machine] = max(found.at, progress.newest.get(found.machine, 0))


def online_key(run: str, machine: str) -> str:
    return f"{ROOT}:{run}:{machine}"


def pack(values: Iterable[bytes]) -> bytes:
    """Raw records with their lengths: an altered one may have line breaks. No time goes in."""
    return gzip.compress(b"".join(b"%d\n%s" % (len(v), v) for v in values), 3, mtime=0)


def unpack(data: bytes) -> list[bytes]:
    """The records of a part. Raises ValueError when it isn't whole."""
    rest, found = gzip.decompress(data), []
    while rest:
        size, _, rest = rest.partition(b"\n")
        if len(rest) < int(size):
            raise ValueError(f"a record of {int(size)} bytes ends after {len(rest)}")
        found.append(rest[: int(size)])
        rest = rest[int(size) :]
    return found


def look_back(stores: Stores, run: str, mode: str) -> dict[str, Any]:
    """What the stores hold of a delivery, by connections that did not write it."""
    assert stores.table is not None and stores.objects is not None
    everything = stores.table.rows(run)
    rows = [each for each in everything if each.mode == mode]
    archived: dict[str, FeatureRow] = {}  # the archive is written at least once: twice is no fault
    for name in stores.objects.names(place(run, "raw", f"{mode}-")):
        for raw in unpack(stores.objects.get(name)):
            try:
                found = row(raw, mode)
            except BadRecordError:
                continue
            archived[found.digest] = found
    return {
        "table": len(rows),
        "table_digest": digest_of(r.digest for r in rows),
        "skewed": sum(archived.get(r.digest, r).features != r.features for r in rows),
        "objects": len(archived),
        "objects_digest": digest_of(archived),
        "position": stores.table.position(run),
        **parity(stores.online, run, everything),
    }


def parity(online: Online | None, run: str, rows: Sequence[FeatureRow]) -> dict[str, Any]:
    """Features of each machine's newest record: as answered online, as trained offline."""
    if online is None:
        return {}
    offline = newest(rows)
    found = online.get([online_key(run, machine) for machine in offline])
    wrong = [m for m, f in offline.items() if found.get(online_key(run, m)) != f]
    missing = [m for m in wrong if online_key(run, m) not in found]
    skewed = next((m for m in wrong if m not in missing), None)
    example = (
        {"machine": skewed, "offline": offline[skewed], "online": found[online_key(run, skewed)]} if skewed else {}
    )
    return {
        "machines": sorted(offline),
        "online_missing": len(missing),
        "online_skewed": len(wrong) - len(missing),
        "example": example,
        "offline_digest": digest_of(offline.values()),
        "online_digest": digest_of(found.values()),
    }


def newest(rows: Iterable[FeatureRow]) -> dict[str, str]:
    """machine -> features of its newest record"""
    return {each.machine: each.features for each in sorted(rows, key=lambda r: (r.at, r.id))}


def dataset(rows: Iterable[FeatureRow], window: int) -> bytes:
    """Training data: the newest `window` records of each segment, in order of time, one a line.

    A sliding window, as usual where the world changes; its bytes depend on the rows alone.
    """
    taken: dict[str, int] = {}
    lines: list[str] = []
    for each in sorted(rows, key=lambda r: (r.at, r.id), reverse=True):
        taken[each.segment] = taken.get(each.segment, 0) + 1
        if taken[each.segment] <= window:
            lines.append(f'{{"id":{json.dumps(each.id)},"x":{each.features},"y":{each.label}}}')
    return "".join(f"{line}\n" for line in reversed(lines)).encode()


def read_dataset(raw: bytes) -> tuple[list[list[float]], list[int]]:
    """(features, labels)"""
    rows = [strict(line) for line in raw.splitlines()]
    return [each["x"] for each in rows], [each["y"] for each in rows]


def publish(stores: Stores, run: str, window: int) -> dict[str, Any]:
    """Writes the training data made from the table; its digest is the data's version."""
    assert stores.table is not None and stores.objects is not None
    rows = stores.table.rows(run)
    raw = dataset(rows, window)
    version = sha256(raw)
    stores.objects.put(place(run, "data", f"{version}.jsonl"), raw)
    about = {
        "data": version,
        "rows": raw.count(b"\n"),
        "window": window,
        "records": len(rows),
        "records_digest": digest_of(r.digest for r in rows),
        "position": stores.table.position(run),
    }
    stores.objects.put(place(run, "data", f"{version}.json"), json.dumps(about).encode())
    return about


def trace(stores: Stores, run: str, model: str) -> dict[str, Any]:
    """From a served digest back to the records: each digest computed again from the bytes."""
    assert stores.table is not None and stores.objects is not None
    raw = stores.objects.get(place(run, "models", f"{model}.json"))
    found = forest.load(raw)
    data = stores.objects.get(place(run, "data", f"{found.data}.jsonl"))
    about = strict(stores.objects.get(place(run, "data", f"{found.data}.json")))
    rows = stores.table.rows(run)
    return {
        "model": found.digest,
        "training": found.training,
        "data": sha256(data),
        "data_named": found.data,
        "rows": data.count(b"\n"),
        "records_named": about["records"],
        "records": len(rows),
        "records_digest_named": about["records_digest"],
        "records_digest": digest_of(r.digest for r in rows),
        "data_again": sha256(dataset(rows, int(about["window"]))),
    }


def score(stores: Stores, run: str, model: str) -> dict[str, Any]:
    """Batch answers: every machine's newest record from the table, answered into an object."""
    assert stores.table is not None and stores.objects is not None
    found = forest.load(stores.objects.get(place(run, "models", f"{model}.json")))
    answers = {machine: found.answer(strict(features)) for machine, features in newest(stores.table.rows(run)).items()}
    key = place(run, "answers", f"{model}.json")
    stores.objects.put(key, json.dumps(answers, sort_keys=True).encode())
    again: Mapping[str, float] = strict(stores.objects.get(key))
    return {"model": found.digest, "answers": dict(again)}


def asked(seed: int, per_segment: int) -> list[list[float]]:
    """The features of the questions."""
    return [vector(question) for question in records.questions(seed, per_segment)]


def answers_digest(answers: Iterable[float]) -> str:
    return sha256(text(answers))


def clean(stores: Stores, run: str) -> dict[str, Any]:
    """Removes all that this suite wrote; returns what is left, by store."""
    left: dict[str, int] = {}
    if stores.online is not None:
        names = [f"{s}-{n:02d}" for s in records.SEGMENTS for n in range(records.MACHINES_PER_SEGMENT)]
        left["online"] = stores.online.remove([online_key(run, name) for name in names])
    if stores.table is not None:
        left["table"] = stores.table.remove(run)
    if stores.objects is not None:
        left["objects"] = stores.objects.remove(f"{ROOT}/")
    return {"left": left}
