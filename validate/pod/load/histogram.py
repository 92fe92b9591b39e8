"""Latencies in logarithmic buckets, as HdrHistogram keeps them: small, mergeable, exact maximum.

For plots and percentiles only. A percentile read from buckets can't decide "p99 < 300 ms": at
300 ms the buckets of HdrHistogram with three digits are 256 us wide. Verdicts use the ledger's
exact counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

SUB_BITS = 9  # 256 buckets for each doubling: a value is off by at most 0.2 %
_HALF_BITS = SUB_BITS - 1
_LINEAR = 1 << SUB_BITS


def bucket(nanos: int) -> int:
    """The index of a latency. The unit is 1,024 ns, so that a shift stands for the division."""
    unit = nanos >> 10
    if unit < _LINEAR:
        return unit if unit > 0 else 0
    shift = unit.bit_length() - SUB_BITS
    return (shift << _HALF_BITS) + (unit >> shift)


def middle(index: int) -> float:
    """The latency, in seconds, that stands for a bucket."""
    if index < _LINEAR:
        return (index + 0.5) * 1024e-9
    shift = (index >> _HALF_BITS) - 1
    sub = index - (shift << _HALF_BITS)
    return ((sub << shift) + (1 << shift) / 2) * 1024e-9


class Histogram:
    """Counts of latencies; what never ended counts as infinite."""

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.unbounded = 0
        self.largest = 0

    @property
    def count(self) -> int:
        return sum(self.buckets.values()) + self.unbounded

    def add(self, nanos: int) -> None:
        index = bucket(nanos)
        buckets = self.buckets
        buckets[index] = buckets.get(index, 0) + 1
        if nanos > self.largest:
            self.largest = nanos

    def add_unbounded(self) -> None:
        self.unbounded += 1

    def merge(self, other: Histogram) -> None:
        for index, count in other.buckets.items():
            self.buckets[index] = self.buckets.get(index, 0) + count
        self.unbounded += other.unbounded
        self.largest = max(self.largest, other.largest)

    def percentile(self, share: float) -> float:
        """Seconds that at least `share` of all don't exceed (within 0.2 %); inf for the failed."""
        total = self.count
        if total == 0:
            return math.nan
        rank = max(1, math.ceil(share * total))
        seen = 0
        for index in sorted(self.buckets):
            seen += self.buckets[index]
            if seen >= rank:
                return min(middle(index), self.largest / 1e9)
        return math.inf

    def as_dict(self) -> dict[str, Any]:
        return {
            "unit_ns": 1024,
            "sub_bits": SUB_BITS,
            "unbounded": self.unbounded,
            "largest_ns": self.largest,
            "buckets": sorted(self.buckets.items()),
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Histogram:
        if record["sub_bits"] != SUB_BITS:
            raise ValueError(f"sub_bits {record['sub_bits']}: this version reads {SUB_BITS}")
        made = cls()
        made.buckets = {int(index): int(count) for index, count in record["buckets"]}
        made.unbounded, made.largest = int(record["unbounded"]), int(record["largest_ns"])
        return made


def merged(parts: Iterable[Histogram]) -> Histogram:
    whole = Histogram()
    for part in parts:
        whole.merge(part)
    return whole
