"""When each request is meant to start: computed ahead, never moved by how the target behaves.

An open model: users arrive whether or not the service is slow. In a closed model (a fixed number of
clients that wait for their answers) a slow service lowers its own load, and the latency that nobody
waited for is left out: B. Schroeder, A. Wierman, M. Harchol-Balter, "Open Versus Closed: A
Cautionary Tale", NSDI 2006.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

NANOS = 1_000_000_000
BATCH = 2048
Spacing = Literal["constant", "poisson"]


@dataclass(frozen=True)
class Schedule:
    """Arrivals from 0 to `seconds`; rates in requests per second, over all processes.

    The rate goes in a straight line from `rate` to `end_rate` (a ramp); without `end_rate` it
    stays. `poisson`: exponential gaps from `seed`, as independent users make them; constant spacing
    hides what bunching does. A soak is a Poisson schedule of hours. `part` of `parts`: the share of
    one process; the shares of a constant schedule interleave to exactly the whole, those of a
    Poisson schedule are independent and superpose to it.
    """

    rate: float
    seconds: float
    spacing: Spacing = "constant"
    end_rate: float | None = None
    seed: int = 1
    part: int = 0
    parts: int = 1

    def __post_init__(self) -> None:
        rates = (self.rate, self.rate if self.end_rate is None else self.end_rate)
        if not all(math.isfinite(r) and r >= 0 for r in rates) or max(rates) <= 0:
            raise ValueError(f"rates {rates}: finite, not negative, and one of them above 0 /s")
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise ValueError(f"seconds {self.seconds}: a schedule lasts longer than 0 s")
        if not 0 <= self.part < self.parts:
            raise ValueError(f"part {self.part} of {self.parts}: parts are counted from 0")

    @property
    def expected(self) -> float:
        """How many requests all parts together are meant to make (Poisson: on average)."""
        end = self.rate if self.end_rate is None else self.end_rate
        return (self.rate + end) / 2 * self.seconds

    def at(self, count: float) -> float:
        """The second by which `count` arrivals are due: the inverse of the summed rate."""
        end = self.rate if self.end_rate is None else self.end_rate
        slope = (end - self.rate) / self.seconds
        if slope == 0:
            return count / self.rate
        under_root = self.rate * self.rate + 2 * slope * count
        if under_root < 0:
            return math.inf  # a falling ramp reaches rate 0 before it
        return 2 * count / (self.rate + math.sqrt(under_root)) if count else 0.0


def intended(schedule: Schedule) -> Iterator[list[int]]:
    """Batches of intended starts, nanoseconds from the start of the schedule, in order.

    The times come from the running count by the inverse of the summed rate (time rescaling), so
    that rounding does not add up and one rule serves constant, Poisson and ramp.
    """
    batch: list[int] = []
    for count in _counts(schedule):
        moment = schedule.at(count)
        if moment >= schedule.seconds:
            break
        batch.append(int(moment * NANOS))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _counts(schedule: Schedule) -> Iterator[float]:
    if schedule.spacing == "constant":
        number = schedule.part
        while True:
            yield float(number)
            number += schedule.parts
    draw = random.Random(f"{schedule.seed}/{schedule.part}/{schedule.parts}")
    total = 0.0
    while True:
        total += draw.expovariate(1.0) * schedule.parts
        yield total
