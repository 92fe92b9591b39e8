"""What a training leaves is what a server counts by; and a reference that is none is refused with all its mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.kserve.image.server import drift
from problems import reference
from problems.tabular import features, problem

GOOD = {"inputs": ["age"], "measures": {"age": {"edges": [1.0, 2.0], "shares": [0.2, 0.3, 0.5]}}}


def written(place: Path, told: object) -> drift.Drift:
    (place / drift.FILE).write_text(told if isinstance(told, str) else json.dumps(told))
    return drift.trained_with(place)


def seen(found: drift.Drift) -> dict[tuple[str, str], float]:
    counts, _ = found.families()
    return {(labels["measure"], labels["bucket"]): value for _, labels, value in counts.samples}


def test_the_files_are_called_alike() -> None:
    assert (reference.FILE, reference.ANSWER) == (drift.FILE, drift.ANSWER)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=200))
def test_a_training_counted_by_its_own_reference_has_its_shares(values: list[float]) -> None:
    made = reference.measure(values)
    if made is None:
        assert len(set(values)) == 1
        return
    one = drift.Measure(tuple(made["edges"]), tuple(made["shares"]))
    one.add(np.asarray(values))
    assert sum(one.seen) == len(values)
    whole = len(values) + reference.PRIOR * len(one.seen)
    assert [(count + reference.PRIOR) / whole for count in one.seen] == pytest.approx(made["shares"])
    # No bucket but those of what is frequent is much larger than the others.
    assert len(one.seen) <= reference.BUCKETS


def test_the_reference_of_a_problem_is_read_by_the_server(tmp_path: Path) -> None:
    records = problem.records()
    rows, truth = features.matrix(records), features.label(records)
    found = written(tmp_path, reference.reference(features.names(), rows, truth))
    found.asked(rows)
    found.answered(truth)
    counts = seen(found)
    names = {name for name, _ in counts}
    assert names == {*features.names(), reference.ANSWER}
    for name in names:
        assert sum(count for (each, _), count in counts.items() if each == name) == len(records)


def test_texts_are_not_counted_and_their_answers_are(tmp_path: Path) -> None:
    made = reference.reference(["subject", "body"], [["a\nb"], ["c\nd"], ["e\nf"]], [0, 1, 1])
    assert made["inputs"] == [None]
    found = written(tmp_path, made)
    found.asked(np.array([["x"]], dtype=object))
    found.answered([1, 0])
    assert sum(seen(found).values()) == 2


def test_what_is_no_question_of_this_model_and_what_is_no_number_is_in_no_bucket(tmp_path: Path) -> None:
    found = written(tmp_path, GOOD)
    for rows in ([[1.0, 2.0]], [1.0], [["a"]], [[float("nan")]], [[float("inf")]]):
        found.asked(rows)
    assert set(seen(found).values()) == {0.0}
    found.asked([[0.5], [1.0], [1.5], [7]])
    assert seen(found) == {("age", "0"): 2, ("age", "1"): 1, ("age", "2"): 1}


def test_a_version_without_a_reference_shows_nothing(tmp_path: Path) -> None:
    found = drift.trained_with(tmp_path)
    found.asked([[1.0]])
    found.answered([1])
    assert [family.samples for family in found.families()] == [(), ()]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("{", "is no reference"),
        ([], "is no reference"),
        ({"inputs": ["age"]}, "is no reference: KeyError"),
        ({**GOOD, "inputs": ["bmi"]}, "inputs bmi have no measure"),
        ({**GOOD, "measures": {"age": {"edges": [2, 1], "shares": [0.2, 0.3, 0.5]}}}, "numbers that grow"),
        ({**GOOD, "measures": {"age": {"edges": [], "shares": [1]}}}, "allowed: 1 to 19 numbers"),
        ({**GOOD, "measures": {"age": {"edges": [1], "shares": [1.0, 0.0]}}}, "2 above 0 whose sum is 1"),
        ({**GOOD, "measures": {"age": {"edges": ["a"], "shares": [0.5, 0.5]}}}, "no number"),
        ({"inputs": [], "measures": {f"m{n}": {"edges": [1], "shares": [0.5, 0.5]} for n in range(65)}}, "65 measures"),
    ],
)
def test_a_reference_that_is_none_is_refused(tmp_path: Path, told: Any, words: str) -> None:
    with pytest.raises(drift.BadReferenceError, match=words):
        written(tmp_path, told)
