"""Does it get worse while it lasts? A slope that outliers can't make, with its bounds.

P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau", J. Am. Stat. Assoc. 63
(1968) 1379-1389: the median of the slopes of all pairs; its bounds from the distribution of
Kendall's statistic, by its normal approximation (10 points or more).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, median

from components.kit.probing import Verdict

LEAST_POINTS = 10


@dataclass(frozen=True)
class Trend:
    """Change over the whole run, as a share of the median; `low` and `high` bound it."""

    change: float
    low: float
    high: float
    points: int


def theil_sen(values: Sequence[float], confidence: float = 0.95) -> Trend | None:
    """None: too few points, or values that are not finite. The points are equally spaced."""
    points = len(values)
    if points < LEAST_POINTS or not all(math.isfinite(v) for v in values):
        return None
    centre = median(values)
    if centre <= 0:
        return None
    slopes = sorted((values[j] - values[i]) / (j - i) for i in range(points) for j in range(i + 1, points))
    sigma = math.sqrt(points * (points - 1) * (2 * points + 5) / 18)
    half = NormalDist().inv_cdf((1 + confidence) / 2) * sigma
    first = max(0, math.floor((len(slopes) - half) / 2))
    last = min(len(slopes) - 1, math.ceil((len(slopes) + half) / 2))
    scale = (points - 1) / centre
    return Trend(median(slopes) * scale, slopes[first] * scale, slopes[last] * scale, points)


def verdict(seen: Trend, most: float) -> Verdict:
    """Whether it grows by less than `most`, a share, for certain; INVALID when that is open."""
    if seen.high < most:
        return Verdict.PASS
    return Verdict.FAIL if seen.low > most else Verdict.INVALID
