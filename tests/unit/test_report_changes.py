"""What changed since the last report of the same kind; noise is not called slower."""

from __future__ import annotations

import pytest

from components.kit.probing import Verdict
from validate.core.model import Result
from validate.report.changes import Changes, EarlierResult, Past, compare, seen

PASS, FAIL, INVALID = Verdict.PASS, Verdict.FAIL, Verdict.INVALID


def past(*reports_: dict[str, EarlierResult]) -> list[Past]:
    return [Past(f"r{n}", 0.0, "0" * 64, told) for n, told in enumerate(reports_)]


def test_each_way_a_test_can_change() -> None:
    before = {"a": PASS, "b": FAIL, "c": PASS, "d": PASS, "e": INVALID, "f": PASS}
    now = {"a": FAIL, "b": PASS, "c": INVALID, "e": PASS, "f": PASS, "new": PASS}
    last = {test: EarlierResult(v, {}) for test, v in before.items()}
    found = compare({test: EarlierResult(v, {}) for test, v in now.items()}, past(last))
    assert (found.failing, found.unclear, found.untested) == (["a"], ["c"], ["d"])
    assert (found.fixed, found.new) == (["b", "e"], ["new"])
    assert not found.none
    assert compare(last, past(last)).none


def test_of_two_results_with_one_name_the_worse_counts() -> None:
    results = [Result("s", "c", "x", v, "d") for v in (PASS, INVALID, FAIL, PASS)]
    assert seen(results)["s/c/x"].verdict is FAIL


@pytest.mark.parametrize(
    ("figure", "before", "now", "slower"),
    [
        ("took_s", [20.0], 39.0, False),  # one report: little is known of the noise
        ("took_s", [20.0], 41.0, True),
        ("took_s", [0.2], 4.0, False),  # nobody acts on it
        ("took_s", [20, 22, 21, 30], 29.0, False),  # was seen before
        ("took_s", [20, 22, 21, 24], 27.0, True),
        ("took_s", [20, 22, 21, 24], 24.5, False),  # less than a fifth
        ("p99_ms", [210, 215, 190], 280.0, True),
        ("p99_ms", [210, 215, 190], 205.0, False),
        ("gap_s", [4.0, 4.1, 3.9], 6.5, True),
    ],
)
def test_slower_is_more_than_noise(figure: str, before: list[float], now: float, slower: bool) -> None:
    history = past(*({"t": EarlierResult(PASS, {figure: value})} for value in before))
    found = compare({"t": EarlierResult(PASS, {figure: now})}, history)
    assert [s.test for s in found.slower] == (["t"] if slower else [])


def test_a_failure_is_not_called_slower() -> None:
    history = past(*({"t": EarlierResult(PASS, {"took_s": 1.0})} for _ in range(3)))
    assert compare({"t": EarlierResult(FAIL, {"took_s": 900.0})}, history).slower == []


def test_nothing_to_compare_with_says_why() -> None:
    assert compare({}, [], "because").why == "because"
    assert isinstance(compare({}, []), Changes)
