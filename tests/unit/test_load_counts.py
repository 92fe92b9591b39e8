"""Histogram, ledger and binomial statistics against values computed another way."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validate.pod.load.histogram import Histogram, bucket, middle
from validate.pod.load.ledger import NANOS, Ledger, given_up, together
from validate.suites.load import binomial
from validate.suites.load.trend import theil_sen


@given(st.integers(0, 2**45))
def test_a_bucket_is_never_further_off_than_it_says(nanos: int) -> None:
    assert abs(middle(bucket(nanos)) - nanos / 1e9) <= max(0.002 * nanos / 1e9, 1.1e-6)


@given(st.integers(0, 2**45))
def test_buckets_are_in_order(nanos: int) -> None:
    assert bucket(nanos) <= bucket(nanos + 1024) <= bucket(nanos) + 1


def test_what_failed_has_no_end() -> None:
    histogram = Histogram()
    for milli in range(1, 99):
        histogram.add(milli * 1_000_000)
    histogram.add_unbounded()
    histogram.add_unbounded()
    assert histogram.percentile(0.5) == pytest.approx(0.050, rel=0.002)
    assert histogram.percentile(0.99) == math.inf
    again = Histogram.of(histogram.as_dict())
    again.merge(histogram)
    assert again.count == 200 and again.percentile(0.5) == histogram.percentile(0.5)
    assert math.isnan(Histogram().percentile(0.5))


def test_the_limit_itself_is_not_over_it_and_one_nanosecond_is() -> None:
    ledger = Ledger([300_000_000])
    ledger.record(0, 300_000_000, "")
    ledger.record(0, 300_000_001, "")
    ledger.record(NANOS, 5, "HTTP 500")
    over = ledger.over(300_000_000)
    assert (over.total, over.total_bad) == (3, 2)
    assert over.requests == [2, 1] and over.bad == [1, 1]
    assert ledger.failures().bad == [0, 1] and ledger.causes == {"HTTP 500": 1}


def test_answers_count_in_the_second_in_which_they_came() -> None:
    ledger = Ledger([1])
    ledger.record(100, 2 * NANOS, "")
    assert ledger.served() == [0, 0, 1] and ledger.failures().requests == [1, 0, 0]


def filled(seed: int) -> Ledger:
    draw, ledger = random.Random(seed), Ledger([300_000_000, 1_000_000_000])
    for _ in range(500):
        cause = "x" if draw.random() < 0.1 else ""
        ledger.record(draw.randrange(30 * NANOS), draw.randrange(2 * NANOS), cause)
    return ledger


def test_ledgers_survive_the_wire_and_add_up() -> None:
    one, two = filled(1), filled(2)
    copy = Ledger(one.limits, one.window_s)
    copy.take(one.as_dict())
    assert copy.as_dict() == one.as_dict()
    early = Ledger(one.limits, one.window_s)
    early.take({**one.as_dict(), "seconds": one.as_dict()["seconds"][:12]})
    early.take(one.as_dict(since=10))
    assert early.as_dict() == one.as_dict()
    whole = together([one, two])
    assert whole.requests == 1000 and whole.failed == one.failed + two.failed
    assert whole.histogram().count == 1000
    with pytest.raises(ValueError, match="other limits"):
        Ledger([5]).take(one.as_dict())


def silent(length_ms: int, gap_ms: int = 10, parts: int = 1) -> list[Ledger]:
    """One request each `gap_ms` for 10 s, shared out; nobody is answered from 5 s on."""
    ledgers = [Ledger([300_000_000]) for _ in range(parts)]
    told = []
    for number, due in enumerate(range(0, 10_000, gap_ms)):
        done = 5000 + length_ms if 5000 <= due < 5000 + length_ms else due + 2
        told.append((done, due, number % parts))
    for done, due, part in sorted(told):
        ledgers[part].record(due * 1_000_000, (done - due) * 1_000_000, "")
    return ledgers


@pytest.mark.parametrize(
    ("length_ms", "gap_ms", "parts", "late"),
    [(2000, 10, 1, 170), (2000, 10, 3, 170), (250, 10, 1, None), (400, 350, 1, None), (310, 2, 1, 5)],
)
def test_a_silence_is_told_with_those_it_kept_waiting(
    length_ms: int, gap_ms: int, parts: int, late: int | None
) -> None:
    whole = together(silent(length_ms, gap_ms, parts))
    if late is None:
        assert whole.silences == []
        return
    (found,) = whole.silences
    assert found.late == late and found.seconds == pytest.approx(length_ms / 1000, abs=0.05)
    assert Ledger.of(whole.as_dict()).silences == whole.silences


@pytest.mark.parametrize("cause", [given_up(1), "HTTP 503"])
@pytest.mark.parametrize(("back_s", "patience_s", "late"), [(8, 1, 270), (8, 5, 270), (99, 1, 500)])
def test_who_failed_after_waiting_in_a_silence_counts_to_it(
    back_s: int, patience_s: int, late: int, cause: str
) -> None:
    """One request each 10 ms for 10 s; from 5 s until `back_s` nothing is answered."""
    ledger = Ledger([300_000_000])
    told = []
    for due in range(0, 10_000, 10):
        done = due + 2 if not 5000 <= due < back_s * 1000 else back_s * 1000 + 2
        gone = done - due > patience_s * 1000
        told.append((due + patience_s * 1000 if gone else done, due, gone))
    for done, due, gone in sorted(told):
        ledger.record(due * 1_000_000, (done - due) * 1_000_000, cause if gone else "")
    (found,) = ledger.silences
    assert found.late == pytest.approx(late, abs=3) and found.begin == pytest.approx(5e9, abs=2e7)
    assert ledger.errors == (0 if cause != "HTTP 503" else ledger.failed)


def test_quick_errors_are_no_silence() -> None:
    ledger = Ledger([300_000_000])
    for due in range(0, 10_000, 10):
        ledger.record(due * 1_000_000, 2_000_000, "HTTP 503" if 5000 <= due < 7000 else "")
    assert sum(silence.late for silence in ledger.silences) == 0 and ledger.errors == 200


def test_slow_answers_among_quick_ones_are_no_silence() -> None:
    ledger = Ledger([300_000_000])
    told = [(due + (900 if due % 50 == 0 else 2), due) for due in range(0, 10_000, 10)]
    for done, due in sorted(told):
        ledger.record(due * 1_000_000, (done - due) * 1_000_000, "")
    assert ledger.silences == [] and ledger.over(300_000_000).total_bad == 200


def exactly_at_most(bad: int, n: int, share: Fraction) -> float:
    return float(sum(math.comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(bad + 1)))


@pytest.mark.parametrize(
    ("bad", "n", "one_in"), [(0, 459, 100), (4, 1000, 100), (5, 1000, 100), (47, 2000, 50), (1, 3000, 1000), (9, 10, 2)]
)
def test_tails_are_the_sums_that_define_them(bad: int, n: int, one_in: int) -> None:
    exact = exactly_at_most(bad, n, Fraction(1, one_in))
    assert binomial.at_most(bad, n, 1 / one_in) == pytest.approx(exact, rel=1e-9)
    assert binomial.at_least(bad + 1, n, 1 / one_in) == pytest.approx(1 - exact, rel=1e-9)


@pytest.mark.parametrize(
    ("n", "confidence", "most", "allowed"),
    [  # most bad ones with which the claim still holds, from an independent table (scipy)
        (299, 0.95, 0, 0.01),
        (459, 0.99, 0, 0.01),
        (1000, 0.95, 4, 0.01),
        (1000, 0.99, 2, 0.01),
        (6000, 0.95, 47, 0.01),
        (60_000, 0.95, 559, 0.01),
        (360_000, 0.99, 3461, 0.01),
        (6000, 0.95, 1, 0.001),
        (60_000, 0.99, 42, 0.001),
        (360_000, 0.95, 328, 0.001),
    ],
)
def test_the_table_of_admissible_counts(n: int, confidence: float, most: int, allowed: float) -> None:
    alpha = 1 - confidence + 1e-12
    assert binomial.at_most(most, n, allowed) <= alpha < binomial.at_most(most + 1, n, allowed)


def test_clopper_pearson_bounds() -> None:
    low, high = binomial.interval(10, 100, 0.975)  # the textbook's two-sided 95 %
    assert low == pytest.approx(0.0490, abs=5e-5)
    assert high == pytest.approx(0.1762, abs=5e-5)
    low, high = binomial.interval(0, 100, 0.95)
    assert low == 0.0
    assert high == pytest.approx(1 - 0.05 ** (1 / 100))
    low, high = binomial.interval(5, 5, 0.95)
    assert low == pytest.approx(0.05 ** (1 / 5))
    assert high == 1.0


@given(st.integers(0, 300), st.integers(1, 300), st.floats(0.001, 0.5))
@settings(max_examples=200)
def test_bounds_hold_what_was_seen(bad: int, n: int, confidence: float) -> None:
    bad = min(bad, n)
    low, high = binomial.interval(bad, n, 0.5 + confidence * 0.99)
    assert 0 <= low <= bad / n + 1e-9 and bad / n - 1e-9 <= high <= 1


def test_how_many_samples_decide() -> None:
    assert binomial.samples_to_decide(0, 1, 0.01, 0.05) == 299
    assert binomial.samples_to_decide(0, 1, 0.01, 0.01) == 459
    assert binomial.samples_to_decide(10, 1000, 0.01, 0.05) is None
    few = binomial.samples_to_decide(5, 1000, 0.01, 0.05)
    assert few is not None and 1000 < few < 1600


def test_looking_often_does_not_find_what_is_not_there() -> None:
    """At the limit itself, looked at after each of 2,000 requests: an alarm in 1/20 at most."""
    draw, alarms = random.Random(5), 0
    for _ in range(200):
        bad = 0
        for n in range(1, 2001):
            bad += draw.random() < 0.02
            if n % 20 == 0 and binomial.evidence_above(bad, n, 0.02) >= 20:
                alarms += 1
                break
    assert alarms <= 10


def test_a_gross_failure_is_evident_soon() -> None:
    assert binomial.evidence_above(20, 100, 0.01) > 1e6
    assert binomial.evidence_above(1, 100, 0.01) == 0.0


def test_the_design_effect_tells_bursts_from_chance() -> None:
    draw = random.Random(3)
    spread = [sum(draw.random() < 0.02 for _ in range(100)) for _ in range(300)]
    assert binomial.design_effect([100] * 300, spread) < 1.25
    bursts = [100 if second % 50 == 7 else 0 for second in range(300)]
    assert binomial.design_effect([100] * 300, bursts) == pytest.approx(100, rel=0.02)
    assert binomial.design_effect([100], [3]) == binomial.design_effect([9, 9], [0, 0]) == 1.0


def test_a_trend_is_seen_through_outliers() -> None:
    draw = random.Random(1)
    flat = [100 + draw.gauss(0, 2) for _ in range(40)]
    flat[7] = 900.0
    rising = [value + 0.8 * i for i, value in enumerate(flat)]
    level, up = theil_sen(flat), theil_sen(rising)
    assert level is not None and up is not None
    assert level.low < 0 < level.high and abs(level.change) < 0.03
    assert up.low > 0.10 and up.change == pytest.approx(0.28, abs=0.05)
    assert theil_sen([1.0] * 9) is None and theil_sen([1.0] * 10 + [math.inf]) is None
