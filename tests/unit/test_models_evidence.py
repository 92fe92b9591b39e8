"""What counted requests say against a claim, and how seldom it is wrong."""

from __future__ import annotations

import math
import random
from itertools import accumulate, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.models.judge import evidence, memory
from components.models.judge.evidence import Counts, Stratum

LEVEL = math.log(1 / 0.05)


def crossed(seed: int, rates: tuple[float, float], shares: tuple[float, ...], margin: float | None) -> bool:
    """Whether the evidence ever reaches the level, looked at after every tenth of each step."""
    draw = random.Random(seed)
    done: list[Stratum] = []
    for share in shares:
        here = Stratum()
        for _ in range(10):
            theirs = sum(draw.random() < share for _ in range(100))
            sizes = zip(rates, (100 - theirs, theirs), strict=True)
            stable, candidate = (Counts(n, sum(draw.random() < rate for _ in range(n))) for rate, n in sizes)
            here = Stratum(here.stable + stable, here.candidate + candidate)
            told = (*done, here)
            found = evidence.against_no_worse(told) if margin is None else evidence.against_worse(told, margin)
            if found >= LEVEL:
                return True
        done.append(here)
    return False


@pytest.mark.parametrize("rate", [0.002, 0.03, 0.4])
def test_versions_alike_are_seldom_told_apart_however_often_one_looks(rate: float) -> None:
    wrong = sum(crossed(seed, (rate, rate), (0.1, 0.5), None) for seed in range(100))
    assert wrong <= 0.05 * 100


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.2])
def test_a_version_that_is_worse_by_the_margin_is_seldom_called_no_worse(rate: float) -> None:
    wrong = sum(crossed(seed, (rate, rate + 0.05), (0.1, 0.5), 0.05) for seed in range(100))
    assert wrong <= 0.05 * 100


def test_what_is_worse_is_seen_and_what_is_alike_is_shown_to_be() -> None:
    assert sum(crossed(seed, (0.001, 0.05), (0.1, 0.5), None) for seed in range(30)) >= 29
    assert sum(crossed(seed, (0.001, 0.001), (0.1, 0.5), 0.05) for seed in range(30)) >= 29


def test_trouble_that_meets_both_while_shares_differ_is_no_evidence() -> None:
    """Simpson's paradox: summed up, the candidate has 9.1 % against 1.9 %."""
    bad_hour = Stratum(Counts(100, 10), Counts(1000, 100), troubled=True)
    calm = Stratum(Counts(1000, 10), Counts(100, 1))
    assert evidence.against_no_worse((bad_hour, calm)) < 0
    assert evidence.against_no_worse((Stratum(Counts(1100, 20), Counts(1100, 101)),)) > LEVEL


counts = st.integers(0, 3000).flatmap(lambda n: st.builds(Counts, st.just(n), st.integers(0, n)))


@settings(max_examples=25)
@given(st.lists(st.builds(Stratum, counts, counts, st.booleans()), min_size=1, max_size=4), st.floats(0.001, 0.9))
def test_any_counts_have_a_finite_answer(strata: list[Stratum], margin: float) -> None:
    assert math.isfinite(evidence.against_worse(strata, margin))
    assert math.isfinite(evidence.against_no_worse(strata))


@settings(max_examples=25)
@given(counts, counts)
def test_more_allowed_is_easier_to_show(stable: Counts, candidate: Counts) -> None:
    strata = (Stratum(stable, candidate),)
    found = [evidence.against_worse(strata, margin) for margin in (0.01, 0.05, 0.2, 0.6)]
    assert all(later >= sooner - 1e-6 for sooner, later in pairwise(found))


@settings(max_examples=25)
@given(st.integers(1, 60), st.floats(0.01, 0.6))
def test_the_tail_is_that_of_the_binomial(n: int, rate: float) -> None:
    exact = [math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(n + 1)]
    tails = list(accumulate(reversed(exact)))[::-1]
    for bad, wanted in enumerate(tails):
        assert evidence.tail(n, bad, rate) == pytest.approx(min(wanted, 1), rel=1e-6, abs=1e-12)


@settings(max_examples=30)
@given(st.floats(0, 0.02), st.integers(0, 400))
def test_what_is_needed_is_what_it_takes(rate: float, seen: int) -> None:
    def after(more: float) -> float:
        n = seen + more
        return evidence.against_at_least(Counts(n, n * rate), 0.05)

    more = evidence.needed(after, LEVEL)
    assert more is not None
    assert after(more) >= LEVEL
    assert more == 0 or after(more * 0.9 - 1) < LEVEL


def test_what_can_not_be_shown_is_never_enough() -> None:
    assert evidence.needed(lambda more: evidence.against_at_least(Counts(more, more * 0.05), 0.05), LEVEL) is None


def grown(shares: list[float], each: int = 25) -> memory.Trace:
    trace = memory.Trace()
    for at, share in enumerate(shares):
        trace = trace.add(memory.WARM + each * at, share)
    return trace


def test_memory_that_wavers_is_no_leak_and_one_that_grows_is() -> None:
    draw = random.Random(1)
    wrong = sum(grown([draw.gauss(0.4, 0.02) for _ in range(60)]).evidence() >= LEVEL for _ in range(200))
    assert wrong <= 0.05 * 200
    # Half of the limit in 2,000 requests, with the same noise.
    leaking = grown([0.3 + 0.5 * 25 * at / 2000 + draw.gauss(0, 0.02) for at in range(20)])
    assert leaking.leaks(8000, LEVEL)
    assert not leaking.calm(8000)


def test_growth_that_does_not_matter_is_none() -> None:
    slow = grown([0.3 + 0.00001 * at for at in range(60)])
    assert slow.evidence() > LEVEL
    assert not slow.leaks(8000, LEVEL)
    assert slow.calm(8000)


def test_a_trace_stays_small_and_begins_anew_with_its_server() -> None:
    trace = grown([0.3] * 5000)
    assert len(trace.points) <= memory.POINTS
    assert trace.watched > 100_000
    assert not trace.add(10, 0.2).points
    assert trace.evidence() < 0
