"""Counters of pods, and what they have counted since the last look."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from components.models.judge.counters import BUCKETS


@dataclass(frozen=True)
class Reading:
    """What one pod says: counters since its start, and its memory now."""

    answers: int = 0
    errors: int = 0  # no 2xx: where a version refuses what the other takes, that is its mistake
    failed: int = 0  # 5xx
    invalid: int = 0
    buckets: tuple[int, ...] = ()  # answers within each bound of BUCKETS, then all
    memory: float = 0  # bytes
    limit: float = 0  # bytes; 0: none


@dataclass(frozen=True)
class Pairs:
    """Answers of both versions to the same question, and how many of them are not the same."""

    pairs: int = 0
    disagreeing: int = 0

    def __add__(self, other: Pairs) -> Pairs:
        return Pairs(self.pairs + other.pairs, self.disagreeing + other.disagreeing)


@dataclass(frozen=True)
class Look:
    """All that is read at one time, by name of the pod."""

    at: float  # seconds since 1970
    stable: Mapping[str, Reading] = field(default_factory=dict)
    candidate: Mapping[str, Reading] = field(default_factory=dict)
    pairs: Pairs = Pairs()  # that came since the last look
    compared: Mapping[str, str] = field(default_factory=dict)  # where each pod's answers stand now
    ready: int = 0  # pods of the candidate that take requests


@dataclass(frozen=True)
class Totals:
    """What was counted of one version in some time."""

    n: int = 0
    errors: int = 0
    failed: int = 0
    invalid: int = 0
    slow: int = 0  # slower than what the stable's own p99 allows
    late: int = 0  # later than the SLO

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            self.n + other.n,
            self.errors + other.errors,
            self.failed + other.failed,
            self.invalid + other.invalid,
            self.slow + other.slow,
            self.late + other.late,
        )


def beyond(buckets: tuple[int, ...], bound: int) -> int:
    """Answers above a bound; a pod that has not answered yet may show no bucket."""
    return buckets[-1] - buckets[bound] if buckets else 0


def since(before: Reading | None, now: Reading, slow: int, late: int) -> tuple[Totals, bool]:
    """What came between two readings of a pod, and whether it began anew between them."""
    again = before is not None and now.answers < before.answers
    old = Reading() if before is None or again else before
    n = now.answers - old.answers

    def more(after: int, first: int) -> int:
        return min(max(after - first, 0), n)  # a pod may count an answer between two of its lines

    return Totals(
        n,
        more(now.errors, old.errors),
        more(now.failed, old.failed),
        more(now.invalid, old.invalid),
        more(beyond(now.buckets, slow), beyond(old.buckets, slow)),
        more(beyond(now.buckets, late), beyond(old.buckets, late)),
    ), again


def counted(
    before: Mapping[str, Reading], now: Mapping[str, Reading], slow: int, late: int
) -> tuple[Totals, dict[str, Reading], int]:
    """All pods of a version: what came, where each stands now, how many began anew.

    A pod that is away keeps its place: it may be silent for one look only.
    """
    total, restarts = Totals(), 0
    for pod, reading in now.items():
        came, again = since(before.get(pod), reading, slow, late)
        total, restarts = total + came, restarts + again
    return total, {**before, **now}, restarts


def yardstick(readings: Iterable[Reading], factor: float, least: int) -> int | None:
    """Index of the first bound that is at least `factor` times the p99 of all that these have answered.

    None: fewer than `least` answers yet.
    """
    shown = [each.buckets for each in readings if each.buckets]
    totals = [sum(column) for column in zip(*shown, strict=True)]
    if not totals or totals[-1] < least:
        return None
    return min(bisect_left(BUCKETS, factor * _quantile(totals, 0.99)), len(BUCKETS) - 1)


def _quantile(totals: list[int], share: float) -> float:
    """As if answers lay evenly between two bounds."""
    wanted = share * totals[-1]
    at = next((index for index, count in enumerate(totals[:-1]) if count >= wanted), None)
    if at is None:
        return BUCKETS[-1]
    low, below = (BUCKETS[at - 1], totals[at - 1]) if at else (0.0, 0)
    return low + (BUCKETS[at] - low) * (wanted - below) / max(totals[at] - below, 1)
