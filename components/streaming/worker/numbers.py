"""What a worker counts of its records, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from components.streaming.worker.records import REASONS, Message

#: Seconds from a record's being sent until it is a feature.
BOUNDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
NAME = "apadana_streaming"


@dataclass
class Numbers:
    """Written by the loop alone."""

    records: int = 0
    repeated: int = 0
    broken: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    within: list[int] = field(default_factory=lambda: [0] * len(BOUNDS))
    seconds: float = 0.0
    #: Clocks: of the newest record that was finished, of the oldest that waits, of the last round that ended well.
    newest: float = 0.0
    waiting: float = 0.0
    last: float = field(default_factory=time.monotonic)
    partitions: int = 0
    behind: int = 0

    def count(self, taken: Sequence[Message], reasons: Sequence[str], now: float) -> None:
        """A batch is finished."""
        for reason in reasons:
            self.broken[reason] += 1
        self.records += len(taken)
        for each in taken:
            took = max(0.0, now - each.stamp_ms / 1000)
            self.seconds += took
            for index, bound in enumerate(BOUNDS):
                self.within[index] += took <= bound
        if taken:
            self.newest = max(each.stamp_ms for each in taken) / 1000
        self.waiting = 0.0
        self.last = time.monotonic()

    def waits(self, taken: Sequence[Message]) -> None:
        """A batch is in hand, and perhaps stays there for a while."""
        if taken:
            self.waiting = min(each.stamp_ms for each in taken) / 1000

    def late(self, now: float) -> float:
        """Seconds by which features are older than what was sent."""
        oldest = self.waiting or (self.newest if self.behind else 0.0)
        return max(0.0, now - oldest) if oldest else 0.0

    def lines(self) -> Iterator[str]:
        """Prometheus' text."""
        now = time.time()
        for name, kind, value in (
            ("records_total", "counter", self.records),
            ("repeated_total", "counter", self.repeated),
            ("partitions", "gauge", self.partitions),
            ("behind_records", "gauge", self.behind),
            ("behind_seconds", "gauge", self.late(now)),
            ("newest_age_seconds", "gauge", now - self.newest if self.newest else float("nan")),
            ("round_age_seconds", "gauge", time.monotonic() - self.last),
        ):
            yield f"# TYPE {NAME}_{name} {kind}"
            yield f"{NAME}_{name} {value:.12g}"
        yield f"# TYPE {NAME}_broken_total counter"
        yield from (f'{NAME}_broken_total{{reason="{reason}"}} {count}' for reason, count in self.broken.items())
        yield f"# TYPE {NAME}_seconds histogram"
        yield from (f'{NAME}_seconds_bucket{{le="{at:g}"}} {n}' for at, n in zip(BOUNDS, self.within, strict=True))
        yield f'{NAME}_seconds_bucket{{le="+Inf"}} {self.records}'
        yield f"{NAME}_seconds_sum {self.seconds:.12g}"
        yield f"{NAME}_seconds_count {self.records}"
