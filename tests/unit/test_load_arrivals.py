"""Schedules: the right number at the right times, the same whoever looks, whole over processes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validate.pod.load.arrivals import BATCH, NANOS, Schedule, intended
from validate.pod.load.generator import Phases


def times(schedule: Schedule) -> list[int]:
    return [moment for batch in intended(schedule) for moment in batch]


def test_constant_is_even_and_does_not_drift() -> None:
    found = times(Schedule(3, 1000))
    assert len(found) == 3000
    assert found[-1] == pytest.approx(2999 / 3 * NANOS, abs=2)
    assert {b - a for a, b in pairwise(found)} <= {333333333, 333333334, 333333332}


def test_poisson_is_repeatable_by_its_seed_and_has_exponential_gaps() -> None:
    schedule = Schedule(500, 100, "poisson", seed=7)
    found = times(schedule)
    assert found == times(schedule)
    assert found != times(Schedule(500, 100, "poisson", seed=8))
    assert len(found) == pytest.approx(50_000, abs=5 * 50_000**0.5)
    gaps = sorted(b - a for a, b in pairwise(found))
    # The median of an exponential gap is ln 2 of its mean, the 99th percentile ln 100.
    assert gaps[len(gaps) // 2] / NANOS * 500 == pytest.approx(0.693, rel=0.03)
    assert gaps[len(gaps) * 99 // 100] / NANOS * 500 == pytest.approx(4.605, rel=0.05)


@pytest.mark.parametrize(("start", "end"), [(0, 100), (10, 200), (200, 10), (100, 0)])
def test_a_ramp_follows_its_line(start: float, end: float) -> None:
    found = times(Schedule(start, 100, end_rate=end))
    assert len(found) == pytest.approx((start + end) / 2 * 100, abs=1)
    for second in (20, 50, 80):
        wanted = start + (end - start) * (second + 0.5) / 100
        near = sum(1 for t in found if second - 4.5 <= t / NANOS < second + 5.5) / 10
        assert near == pytest.approx(wanted, abs=0.6)


@given(parts=st.integers(1, 8), rate=st.integers(1, 3000))
@settings(max_examples=30)
def test_parts_of_a_constant_schedule_are_exactly_the_whole(parts: int, rate: int) -> None:
    shares = [times(Schedule(rate, 2, part=p, parts=parts)) for p in range(parts)]
    assert sorted(t for share in shares for t in share) == times(Schedule(rate, 2))


def test_parts_of_a_poisson_schedule_differ_and_sum_up() -> None:
    shares = [times(Schedule(1000, 20, "poisson", part=p, parts=4)) for p in range(4)]
    assert all(len(s) == pytest.approx(5000, abs=400) for s in shares)
    assert len({tuple(s[:5]) for s in shares}) == 4


def test_batches_are_bounded_and_ordered() -> None:
    batches = list(intended(Schedule(1000, 5.5, "poisson")))
    assert max(map(len, batches)) == BATCH
    assert times(Schedule(1000, 5.5, "poisson")) == sorted(t for b in batches for t in b)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 0, "seconds": 1},
        {"rate": -1, "seconds": 1},
        {"rate": 1, "seconds": 0},
        {"rate": float("nan"), "seconds": 1},
        {"rate": float("inf"), "seconds": 1},
        {"rate": 1, "seconds": float("inf")},
        {"rate": 1, "seconds": 1, "part": 2, "parts": 2},
    ],
)
def test_impossible_schedules_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"rates|seconds|part"):
        Schedule(**wrong)  # type: ignore[arg-type]


def test_the_warm_up_comes_first_and_is_not_part_of_the_schedule() -> None:
    phases = Phases(Schedule(100, 3), warmup_s=2)
    found = [t for batch in phases.arrivals() for t in batch]
    assert len(found) == 500 and found == sorted(found)
    assert sum(1 for t in found if t < 2 * NANOS) == 200
