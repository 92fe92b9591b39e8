"""How much counted requests say against a claim, however often it is asked.

Each function gives the logarithm of an e-value: under the claim its expectation is at most 1 at every
look and at whatever moment somebody stops, so the claim is refused at level a once it reaches log(1/a)
(Ville's inequality). Nothing is paid for looking once more.

The numerator is a mixture over what may be true (a beta prior, integrated in closed form), the denominator
the best that the claim can do with what was seen. Requests of one step of a release are a stratum: the
claim may choose another rate for each, so a bad hour that met both versions while their shares were unequal
is no evidence against either. The mixture bets on one rate in calm times and on another in times of trouble,
when the stable itself was worse than it used to be; which of them a request belongs to is said before it comes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

#: Of the mixture: rates of a service are small. It decides how soon one knows, never how often one errs.
PRIOR_BAD, PRIOR_GOOD = 0.5, 50.0
_HALVINGS = 40


@dataclass(frozen=True)
class Counts:
    """Requests, and how many of them were bad. Means of what is expected may be no whole numbers."""

    n: float = 0
    bad: float = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.n + other.n, self.bad + other.bad)

    @property
    def share(self) -> float:
        """Of bad ones; 0 of nothing."""
        return self.bad / self.n if self.n else 0.0


@dataclass(frozen=True)
class Stratum:
    """Both versions while the shares of the traffic stayed as they were."""

    stable: Counts = Counts()
    candidate: Counts = Counts()
    troubled: bool = False  # a time of trouble for both


def _mixed(counts: Counts) -> float:
    """Log probability of one sequence with these counts, under the mixture."""
    good = counts.n - counts.bad
    total = math.lgamma(PRIOR_BAD + counts.bad) + math.lgamma(PRIOR_GOOD + good)
    total -= math.lgamma(PRIOR_BAD + PRIOR_GOOD + counts.n)
    return total + math.lgamma(PRIOR_BAD + PRIOR_GOOD) - math.lgamma(PRIOR_BAD) - math.lgamma(PRIOR_GOOD)


def _likelihood(counts: Counts, rate: float) -> float:
    """Log probability of one sequence with these counts, at a rate."""
    good = counts.n - counts.bad
    if (counts.bad > 0 and rate <= 0) or (good > 0 and rate >= 1):
        return -math.inf
    total = counts.bad * math.log(rate) if counts.bad > 0 else 0.0
    return total + (good * math.log1p(-rate) if good > 0 else 0.0)


def _free(counts: Counts) -> float:
    return _likelihood(counts, counts.share)


def _slope(counts: Counts, rate: float) -> float:
    """Derivative of `_likelihood`."""
    rising = counts.bad / rate if counts.bad > 0 else 0.0
    good = counts.n - counts.bad
    return rising - (good / (1 - rate) if good > 0 else 0.0)


def _best_apart(stratum: Stratum, margin: float) -> float:
    """The most that rates exactly `margin` apart can give; it is concave in the lower of them."""
    low, high = 1e-12, 1 - margin - 1e-12
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _slope(stratum.stable, middle) + _slope(stratum.candidate, middle + margin) > 0:
            low = middle
        else:
            high = middle
    rate = (low + high) / 2
    return _likelihood(stratum.stable, rate) + _likelihood(stratum.candidate, rate + margin)


def _sum(strata: Iterable[Stratum]) -> tuple[Counts, Counts]:
    stable, candidate = Counts(), Counts()
    for each in strata:
        stable, candidate = stable + each.stable, candidate + each.candidate
    return stable, candidate


def _bet(strata: Sequence[Stratum], *, same: bool) -> float:
    """Log probability of what was seen under the mixture; `same`: half of it bets on one rate that both share."""
    total = 0.0
    for troubled in (False, True):
        stable, candidate = _sum(each for each in strata if each.troubled == troubled)
        apart = _mixed(stable) + _mixed(candidate)
        if same:
            one = _mixed(stable + candidate)
            top = max(apart, one)
            apart = top + math.log(math.exp(apart - top) / 2 + math.exp(one - top) / 2)
        total += apart
    return total


def against_no_worse(strata: Sequence[Stratum]) -> float:
    """Against the claim that in each stratum the candidate is at most as bad as the stable."""
    claim = 0.0
    for each in strata:
        if each.candidate.share <= each.stable.share:
            claim += _free(each.stable) + _free(each.candidate)
        else:
            claim += _free(each.stable + each.candidate)
    return _bet(strata, same=False) - claim


def against_worse(strata: Sequence[Stratum], margin: float) -> float:
    """Against the claim that in each stratum the candidate is worse by `margin` or more."""
    if margin >= 1:
        return math.inf  # no rate is
    claim = 0.0
    for each in strata:
        if each.candidate.share - each.stable.share >= margin and each.candidate.n:
            claim += _free(each.stable) + _free(each.candidate)
        else:
            claim += _best_apart(each, margin)
    return _bet(strata, same=True) - claim


def against_at_most(counts: Counts, rate: float) -> float:
    """Against the claim that the rate is at most `rate`."""
    return _mixed(counts) - _likelihood(counts, min(counts.share, rate))


def against_at_least(counts: Counts, rate: float) -> float:
    """Against the claim that the rate is at least `rate`."""
    if rate >= 1:
        return math.inf
    return _mixed(counts) - _likelihood(counts, max(counts.share, rate))


def tail(n: int, bad: int, rate: float) -> float:
    """P(at least `bad` of `n`) where each is bad with `rate`."""
    if bad <= 0:
        return 1.0
    if bad > n:
        return 0.0
    term = math.exp(
        math.lgamma(n + 1) - math.lgamma(bad + 1) - math.lgamma(n - bad + 1) + _likelihood(Counts(n, bad), rate)
    )
    total = 0.0
    for k in range(bad, n + 1):
        total += term
        term *= (n - k) / (k + 1) * rate / (1 - rate)
        if term < total * 1e-12:
            break
    return min(1.0, total)


def needed(evidence: Callable[[float], float], level: float, most: float = 1e7) -> float | None:
    """How many more requests until `evidence` (of so many more) reaches `level`.

    None: not within `most`, if it goes on as it has.
    """
    if evidence(0) >= level:
        return 0.0
    low, high = 0.0, 50.0
    while evidence(high) < level:
        low, high = high, high * 2
        if high > most:
            return None
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (low, middle) if evidence(middle) >= level else (middle, high)
    return high
