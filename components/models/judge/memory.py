"""Does a server's memory grow until it is killed?

Two questions have to be answered with yes. *Does it grow at all?* Each point's rank among all before it is
even chance for memory that only wavers; a martingale bets on high ranks, so that looking at every point costs
nothing (no assumption about how memory is distributed). *Does it matter?* The limit is reached within the
requests that the rules name.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from statistics import median

WARM = 300  # requests of a pod before its memory is looked at: libraries and caches load
ENOUGH = 500  # requests after these, before anybody says that it does not grow
STRIDE, POINTS = 25, 64  # requests between two points at first; points that are kept
LEAST = 0.05  # of the limit: less growth than this is none
BETS = (0.3, 0.6, 0.9)


@dataclass(frozen=True)
class Point:
    """Memory of a pod, as a share of its limit, after so many requests."""

    requests: int
    share: float


@dataclass(frozen=True)
class Trace:
    """Points of one pod, thinned out as they become many: which ones stay does not depend on their values."""

    points: tuple[Point, ...] = ()
    stride: int = STRIDE

    def add(self, requests: int, share: float) -> Trace:
        """One more point, if it is far enough from the last one. A server that began anew begins anew."""
        points = self.points
        if points and requests < points[-1].requests:
            points = ()
        if requests < WARM or (points and requests < points[-1].requests + self.stride):
            return self if points is self.points else Trace()
        points = (*points, Point(requests, share))
        if len(points) <= POINTS:
            return Trace(points, self.stride)
        return Trace(points[::2], self.stride * 2)

    @property
    def watched(self) -> int:
        """Requests that it spans."""
        return self.points[-1].requests - self.points[0].requests if self.points else 0

    def growth(self) -> float:
        """Share of the limit for each request; a third's median stands for the third."""
        third = len(self.points) // 3
        if not third:
            return 0.0
        first, last = self.points[:third], self.points[-third:]
        apart = median(p.requests for p in last) - median(p.requests for p in first)
        return (median(p.share for p in last) - median(p.share for p in first)) / max(apart, 1)

    def evidence(self) -> float:
        """Logarithm of an e-value against the claim that the points come in no order."""
        capital = [0.0 for _ in BETS]
        seen: list[float] = []
        for point in self.points:
            low, high = bisect_left(seen, point.share), bisect_right(seen, point.share)
            rank = (low + high + 1) / 2 / (len(seen) + 1)  # in the middle of equals
            capital = [had + math.log1p(bet * (2 * rank - 1)) for had, bet in zip(capital, BETS, strict=True)]
            insort(seen, point.share)
        top = max(capital)
        # Points that are thinned out make another martingale; the chance to err is shared among all of them.
        shared = math.log(2 * self.stride / STRIDE)
        return top + math.log(sum(math.exp(each - top) for each in capital) / len(BETS)) - shared

    def leaks(self, requests: int, level: float) -> bool:
        """Whether it grows so that the limit is reached within `requests`, with evidence of `level`."""
        growth = self.growth()
        return growth * requests >= 1 and growth * self.watched >= LEAST and self.evidence() >= level

    def calm(self, requests: int) -> bool:
        """Whether it was watched long enough and does not grow so."""
        return self.watched >= ENOUGH and self.growth() * requests < 1
