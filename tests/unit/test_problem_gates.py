"""What a model or its data has to be worth: tables of cases, and what holds for all of them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from problems import gates, quality
from problems.gates import Gate, fairness, judge, metrics
from problems.quality import Column

A, B = "a", "b"
ANSWERS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.sampled_from([A, B])), min_size=2)


@pytest.mark.parametrize(
    ("value", "passed"),
    [(0.8, True), (0.81, True), (0.799, False), (None, False), (float("nan"), False), (float("inf"), False)],
)
def test_a_gate_is_passed_by_a_number_that_is_large_enough(value: float | None, passed: bool) -> None:
    assert Gate("auc_roc", value, 0.8).passed is passed


def test_a_figure_that_nobody_measured_fails_its_gate_and_is_named() -> None:
    lost = gates.failed(judge({"accuracy": 0.9, "recall": 0.1}, {"accuracy": 0.8, "recall": 0.5, "f1": 0.5}))
    assert [gate.name for gate in lost] == ["recall", "f1"]
    said = str(gates.Refused(lost))
    assert "gate recall is 0.100; at least 0.5 is asked" in said and "gate f1 could not be measured" in said


@pytest.mark.parametrize(
    ("truth", "said", "group", "wanted"),
    [
        # Equal in everything.
        ([1, 0, 1, 0], [1, 0, 1, 0], [A, A, B, B], (1.0, 1.0, 1.0)),
        # Of B nobody is told yes, so predictive parity can't be measured.
        ([1, 0, 1, 0], [1, 0, 0, 0], [A, A, B, B], (0.0, 0.0, None)),
        # As many are told yes, but of B it is true of one in two.
        ([1, 1, 1, 0], [1, 1, 1, 1], [A, A, B, B], (1.0, 1.0, 0.5)),
        # Of A half of those who should be told yes are, of B all.
        ([1, 1, 1, 1], [1, 0, 1, 1], [A, A, B, B], (0.5, 0.5, 1.0)),
        # Nobody at all is told yes: alike, and worth nothing, which another gate says.
        ([1, 0, 1, 0], [0, 0, 0, 0], [A, A, B, B], (1.0, 1.0, None)),
        # One group is no comparison.
        ([1, 0], [1, 0], [A, A], (None, None, None)),
    ],
)
def test_fairness(truth: list[int], said: list[int], group: list[str], wanted: tuple[float | None, ...]) -> None:
    assert tuple(fairness(truth, said, group).values()) == wanted


@given(ANSWERS)
def test_fairness_is_a_share_that_no_name_of_a_group_changes(records: list[tuple[int, int, str]]) -> None:
    truth, said = [true for true, _, _ in records], [yes for _, yes, _ in records]
    group = [who for _, _, who in records]
    found = fairness(truth, said, group)
    assert all(value is None or 0 <= value <= 1 for value in found.values())
    swapped = fairness(truth, said, [{A: B, B: A}[who] for who in group])
    assert swapped == found


@given(ANSWERS)
def test_answers_that_are_the_truth_are_perfect(records: list[tuple[int, int, str]]) -> None:
    truth = [true for true, _, _ in records]
    found = metrics(truth, truth, [float(each) for each in truth])
    assert found["accuracy"] == 1
    assert all(value in (1, None) for value in found.values()), "None: no yes, or nothing but yes"


def test_metrics_by_hand() -> None:
    found = metrics([1, 1, 0, 0, 1], [1, 0, 0, 1, 1], [0.9, 0.4, 0.2, 0.6, 0.7])
    wanted = {"accuracy": 0.6, "precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "auc_roc": 5 / 6}
    assert {name: pytest.approx(value) for name, value in wanted.items()} == found


NOW = datetime(2026, 11, 29, tzinfo=UTC)
COLUMNS = {"age": Column(0, 120, "years"), "bmi": Column(10, 60, "kg/m2")}
GOOD = [{"age": 50, "bmi": 20.5}, {"age": 51, "bmi": 20.5}, {"age": 52, "bmi": 20.5}, {"age": 53, "bmi": 20.5}]


@pytest.mark.parametrize(
    ("change", "lost", "value"),
    [
        ({}, "", 1),
        ({"age": None}, "completeness", 7 / 8),
        ({"age": 130}, "ranges", 7 / 8),
        ({"age": "fifty"}, "schema", 3 / 4),
        ({"age": True}, "schema", 3 / 4),
        ({"age": math.nan}, "schema", 3 / 4),
        ({"weight": 80}, "schema", 3 / 4),
        ({"age": 51}, "unique", 3 / 4),
    ],
)
def test_each_fault_of_the_data_is_seen(change: dict[str, Any], lost: str, value: float) -> None:
    records = [GOOD[0] | change, *GOOD[1:]]
    found = quality.figures(records, COLUMNS, NOW, NOW, timedelta(days=1))
    if lost:
        assert found[lost] == value
    else:
        assert set(found.values()) == {1}


@pytest.mark.parametrize(("age", "fresh"), [(0, 1), (24, 1), (25, 0), (-1, 0)])
def test_data_are_fresh_for_a_day_and_not_of_tomorrow(age: int, fresh: float) -> None:
    found = quality.figures(GOOD, COLUMNS, NOW - timedelta(hours=age), NOW, timedelta(days=1))
    assert found["freshness"] == fresh


def test_no_data_pass_no_gate() -> None:
    found = quality.figures([], COLUMNS, NOW, NOW, timedelta(days=1))
    assert len(gates.failed(judge(found, dict.fromkeys(found, 0.0)))) == 5
