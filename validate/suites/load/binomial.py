"""Exact binomial tests, an always-valid one for looking while it runs, and clustered counts.

The share of bad requests is judged by counts, never by an estimated percentile:
- At the planned end: C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits
  illustrated in the case of the binomial", Biometrika 26 (1934) 404-413.
- While it runs: a mixture of likelihood ratios is a martingale, so that by Ville's inequality it
  exceeds 1/alpha at *any* time with probability at most alpha: H. Robbins, "Statistical methods
  related to the law of the iterated logarithm", Ann. Math. Stat. 41 (1970) 1397-1409. A plain test
  repeated each second would find a failure in a healthy service sooner or later.
- Requests of the same moment share their fate (a pause hits them all). Counts are divided by the
  design effect, estimated from one-second blocks: J. N. K. Rao, A. J. Scott, "A simple method for
  the analysis of clustered binary data", Biometrics 48 (1992) 577-585.
Standard library only: the regularised incomplete beta function by its continued fraction (DLMF
8.17.22, https://dlmf.nist.gov/8.17.E22) with Lentz's method.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

_TINY = 1e-300
_EPSILON = 1e-15
MOST_SAMPLES = 1e12


def incomplete_beta(x: float, a: float, b: float) -> float:
    """I_x(a, b): the probability that a Beta(a, b) variable is at most x; a, b above 0."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):  # where the fraction converges slowly, use the other tail
        return 1 - incomplete_beta(1 - x, b, a)
    log_front = a * math.log(x) + b * math.log1p(-x) + _log_beta(a, b, -1)
    return math.exp(log_front) / a / _fraction(x, a, b)


def _log_beta(a: float, b: float, sign: int = 1) -> float:
    return sign * (math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b))


def _fraction(x: float, a: float, b: float) -> float:
    """1 + d1/(1 + d2/(1 + ...)), from the front (modified Lentz)."""
    value, c, d = 1.0, 1.0, 0.0
    for step in range(1, 10_000 + int(10 * math.sqrt(a + b))):
        m = step // 2
        if step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 + term * d
        d = 1 / (d if abs(d) > _TINY else _TINY)
        c = 1 + term / c
        c = c if abs(c) > _TINY else _TINY
        value *= c * d
        if abs(c * d - 1) < _EPSILON:
            return value
    raise ArithmeticError(f"the incomplete beta function of {x}, {a}, {b} did not converge")


def at_most(bad: float, n: float, share: float) -> float:
    """P(X <= bad) for X ~ Binomial(n, share); real counts interpolate."""
    return 1.0 if bad >= n else incomplete_beta(1 - share, n - bad, bad + 1)


def at_least(bad: float, n: float, share: float) -> float:
    """P(X >= bad) for X ~ Binomial(n, share)."""
    return 1.0 if bad <= 0 else incomplete_beta(share, bad, n - bad + 1)


def interval(bad: float, n: float, confidence: float) -> tuple[float, float]:
    """One-sided Clopper-Pearson bounds of the true share, below and above, each at `confidence`."""
    if n <= 0:
        return 0.0, 1.0
    alpha = 1 - confidence
    lower = _solve(lambda p: at_least(bad, n, p) >= alpha) if bad > 0 else 0.0
    upper = _solve(lambda p: at_most(bad, n, p) <= alpha) if bad < n else 1.0
    return lower, upper


def _solve(reached: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def evidence_above(bad: float, n: float, share: float) -> float:
    """Evidence against "the true share is at most `share`"; 1/alpha or more rejects at any time.

    The mixture is a Beta(1, 1/(4 share)) restricted to shares above `share`: weight where failing
    services are, from just above the limit to everything failing.
    """
    if n <= 0 or bad / n <= share:
        return 0.0
    a, b = 1.0, max(1.0, 1 / (4 * share))
    log_ratio = _log_beta(a + bad, b + n - bad) - _log_beta(a, b)
    log_ratio -= bad * math.log(share) + (n - bad) * math.log1p(-share)
    above = 1 - incomplete_beta(share, a + bad, b + n - bad)
    before = 1 - incomplete_beta(share, a, b)
    return math.exp(min(700.0, log_ratio)) * above / before


def design_effect(requests: Sequence[int], bad: Sequence[int]) -> float:
    """How much more the bad ones cluster in blocks than chance would: 1 or more.

    The variance of the ratio estimator over the blocks divided by the binomial one.
    """
    blocks = [(n, k) for n, k in zip(requests, bad, strict=True) if n]
    total, total_bad = sum(n for n, _ in blocks), sum(k for _, k in blocks)
    if len(blocks) < 2 or total_bad in (0, total):
        return 1.0
    share = total_bad / total
    spread = sum((k - share * n) ** 2 for n, k in blocks) * len(blocks) / (len(blocks) - 1)
    return max(1.0, spread / (total * share * (1 - share)))


def samples_to_decide(bad: float, n: float, share: float, alpha: float) -> float | None:
    """How many samples decide, if the share that was seen so far goes on; None: no number does."""
    seen = bad / n if n else 0.0

    def decided(size: float) -> bool:
        count = seen * size
        return at_most(count, size, share) <= alpha or at_least(count, size, share) <= alpha

    high = max(n, 1.0)
    while not decided(high):
        high *= 2
        if high > MOST_SAMPLES:
            return None
    low = high / 2
    while high - low > max(1.0, high * 1e-3):
        middle = (low + high) / 2
        low, high = (low, middle) if decided(middle) else (middle, high)
    return math.ceil(high)
