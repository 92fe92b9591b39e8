"""What a model server counts, and what Prometheus calls it.

Who judges a version reads these numbers from each of its pods. `components/models/judge/counters.py` is this
very file, so that both sides mean the same by a name and by a bound.
"""

from __future__ import annotations

import importlib
import os
import re
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

ANSWERS, INVALID, SECONDS = "apadana_model_answers_total", "apadana_model_invalid_total", "apadana_model_seconds"
#: Where a release has a floor: rows that were asked about, and those that kept no label.
ROWS, NOT_SURE = "apadana_model_rows_total", "apadana_model_not_sure_total"
#: Look-ups in the feature store by how they ended, and entities by whether all was known of them.
LOOKUPS, ENTITIES = "apadana_model_lookups_total", "apadana_model_entities_total"
LOOKUP_SECONDS = "apadana_model_lookup_seconds"
TOLD, LATE, AWAY = "told", "late", "away"  # in time; not in time; not at all, or refused
LOOKUP_BOUNDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1)
#: Whether a model of a pod answers: one that can't be read does not, and takes no other one with it.
READY = "apadana_model_ready"
MEMORY_LIMIT = "apadana_model_memory_limit_bytes"
#: What the server's own start took, in seconds: `part` is import (its libraries) or load (its models).
START = "apadana_model_start_seconds"
#: Prometheus' own library shows it for every process.
MEMORY = "process_resident_memory_bytes"

#: Bounds of the histogram, in seconds: each a fifth above the one before, and the limit of the SLO itself.
#: With coarser ones a tail that has doubled may stay inside one bucket.
BUCKETS: tuple[float, ...] = tuple(sorted({*(round(0.001 * 1.2**n, 6) for n in range(52)), 0.3}))

QUESTIONS = ("/infer", ":predict")  # ends of the paths that a model answers
_NAME = re.compile(r"/v[12]/models/([^/:]+)")
FAILED = 500
CGROUP = Path("/sys/fs/cgroup")
#: A limit of the older cgroups that is none is a number of this size.
NO_LIMIT = 1 << 60

Sample = tuple[str, dict[str, str], float]


@dataclass(frozen=True)
class Family:
    """One metric: its name, Prometheus' type, what it is, and its numbers now."""

    name: str
    kind: str
    about: str
    samples: tuple[Sample, ...]


@dataclass
class Counters:
    """Of one model, since the server began. Its event loop alone writes here."""

    limit: float | None = 0  # bytes of the pod; 0: none; None: another model of the pod tells
    model: str = ""
    version: str = ""
    ready: bool = True
    invalid: int = 0
    rows: int = 0
    not_sure: int = 0
    answers: Counter[int] = field(default_factory=Counter)  # by HTTP status
    seconds: float = 0.0
    _within: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))

    def add(self, status: int, seconds: float) -> None:
        """One more answer."""
        self.answers[status] += 1
        self.seconds += seconds
        self._within[bisect_left(BUCKETS, seconds)] += 1

    def families(self) -> Iterator[Family]:
        """All of it, as Prometheus' text has it. A server that has answered nothing shows a zero."""
        whose = {"model": self.model, "version": self.version} if self.model else {}
        codes = self.answers or {200: 0}
        answers = tuple((ANSWERS, {"code": str(code), **whose}, float(n)) for code, n in sorted(codes.items()))
        yield Family(ANSWERS.removesuffix("_total"), "counter", "Answers to questions, by status.", answers)
        for name, number, about in (
            (INVALID, self.invalid, "Answers with a number that is none (NaN, infinite), or with nothing."),
            (ROWS, self.rows, "Rows that a model with a floor was asked about."),
            (NOT_SURE, self.not_sure, "Of these, the ones that kept no label: less sure than the floor."),
        ):
            yield Family(name.removesuffix("_total"), "counter", about, ((name, whose, float(number)),))
        took = histogram(SECONDS, whose, BUCKETS, self._within, self.seconds)
        yield Family(SECONDS, "histogram", "From a question's arrival to the end of its answer.", took)
        yield Family(READY, "gauge", "Whether the model answers.", ((READY, whose, float(self.ready)),))
        limit: tuple[Sample, ...] = () if self.limit is None else ((MEMORY_LIMIT, {}, self.limit),)
        yield Family(MEMORY_LIMIT, "gauge", "What the pod may use; 0: no limit.", limit)


def histogram(
    name: str, whose: Mapping[str, str], bounds: Sequence[float], within: Sequence[int], seconds: float
) -> tuple[Sample, ...]:
    """As Prometheus' text has one. `within`: how many took up to each bound and more than the one before; the last
    ones took longer than all."""
    ends = zip((*map(str, bounds), "+Inf"), accumulate(within), strict=True)
    return (
        *((f"{name}_bucket", {"le": end, **whose}, float(count)) for end, count in ends),
        (f"{name}_count", dict(whose), float(sum(within))),
        (f"{name}_sum", dict(whose), seconds),
    )


class Lookups:
    """The counts of one model. Its event loop alone writes here. `on`: it looks something up."""

    def __init__(self, model: str = "", version: str = "", *, on: bool = False) -> None:
        self._whose = {"model": model, "version": version} if model else {}
        self._on = on
        self.outcomes: Counter[str] = Counter()
        self.entities: Counter[str] = Counter()
        self._seconds = 0.0
        self._within = [0] * (len(LOOKUP_BOUNDS) + 1)

    def timed(self, outcome: str, seconds: float) -> None:
        """One look-up."""
        self.outcomes[outcome] += 1
        self._seconds += seconds
        self._within[bisect_left(LOOKUP_BOUNDS, seconds)] += 1

    def families(self) -> Iterator[Family]:
        """Without samples where nothing is looked up."""
        ends = self._counted(LOOKUPS, "outcome", self.outcomes, (TOLD, LATE, AWAY))
        yield Family(LOOKUPS.removesuffix("_total"), "counter", "Look-ups in the feature store, by outcome.", ends)
        known = self._counted(ENTITIES, "known", self.entities, ("yes", "no"))
        about = "Entities that were looked up; no: some feature is not known, or too old."
        yield Family(ENTITIES.removesuffix("_total"), "counter", about, known)
        took = histogram(LOOKUP_SECONDS, self._whose, LOOKUP_BOUNDS, self._within, self._seconds) if self._on else ()
        yield Family(LOOKUP_SECONDS, "histogram", "One look-up, from question to answer.", took)

    def _counted(self, name: str, label: str, found: Counter[str], values: Iterable[str]) -> tuple[Sample, ...]:
        if not self._on:
            return ()
        return tuple((name, {label: value, **self._whose}, float(found[value])) for value in values)


@dataclass(frozen=True)
class Started:
    """What a server's start took, in seconds."""

    imported: float  # from its process' beginning until its libraries were read
    loaded: float  # until its models were

    def families(self) -> Iterator[Family]:
        """The same as a metric."""
        parts = (("import", self.imported), ("load", self.loaded))
        samples = tuple((START, {"part": part}, round(seconds, 3)) for part, seconds in parts)
        yield Family(START, "gauge", "What the start of this server took, by part.", samples)


def alive_seconds() -> float:
    """Since this process began, as the kernel says."""
    # Behind the name, which may hold anything: field 22 of proc(5), in ticks since the machine began.
    ticks = int(Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


class Counting(Protocol):
    """What shows the same metrics for each model."""

    def families(self) -> Iterable[Family]: ...


def together(models: Iterable[Counting]) -> Iterator[Family]:
    """The metrics of all models of a pod, each of them once."""
    for same in zip(*(each.families() for each in models), strict=True):
        yield replace(same[0], samples=tuple(sample for family in same for sample in family.samples))


class Counted:
    """Between the network and the server: each answer to a question is counted, whoever gave it.

    By the model that was asked; what nobody of that name is here for is the first one's.
    """

    def __init__(self, app: Any, counters: Mapping[str, Counters]) -> None:
        self._app, self._counters = app, counters

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request. One whose sender left before an answer began is none."""
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].endswith(QUESTIONS):
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def watched(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            status = status or FAILED  # the server answers so, further out
            raise
        finally:
            if status:
                self._of(scope["path"]).add(status, time.perf_counter() - began)

    def _of(self, path: str) -> Counters:
        named = _NAME.match(path)
        found = self._counters.get(named[1]) if named else None
        return found or next(iter(self._counters.values()))


def whole(answers: Any) -> bool:
    """Whether a model's answers are something, and every number of them is one."""
    numpy = importlib.import_module("numpy")  # the server has it; who reads these numbers need not
    found = numpy.asarray(answers)
    if found.dtype.kind in "fc":
        return bool(found.size and numpy.isfinite(found).all())
    return bool(found.size) and not any(each is None or each != each for each in found.flat)


def memory_limit(root: Path = CGROUP) -> float:
    """Bytes that this container may use, as the kernel says; 0: no limit, or none that can be read."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            told = (root / name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        return float(told) if told.isdigit() and int(told) < NO_LIMIT else 0.0
    return 0.0
