"""Which rows keep their label, what stands for the others, and which models can have no floor."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.kserve.image.server.answers import alike, said
from components.kserve.image.server.floors import Floor, FloorError, share
from components.kserve.image.server.forms import Estimator


class Model:
    """Gives the probabilities that it is asked with."""

    def __init__(self, classes: Any) -> None:
        self.classes_ = classes

    def predict(self, rows: Any) -> Any:
        return self.classes_[np.nan_to_num(rows).argmax(axis=1)]

    def predict_proba(self, rows: Any) -> Any:
        return rows


class Shy:
    classes_ = np.array([True, False])

    def predict(self, rows: Any) -> Any:
        return rows


def held(classes: Any, least: float, rows: Sequence[Sequence[float]]) -> Any:
    model = Model(classes)
    return Floor(Estimator(model), least).held(model.predict(np.array(rows)), model.predict_proba(np.array(rows)))


ROWS = [[0.9, 0.1], [0.3, 0.7], [0.5, 0.5], [np.nan, 1.0]]


@pytest.mark.parametrize(
    ("least", "sure"),
    [(0.0, [True, True, True, False]), (0.7, [True, True, False, False]), (0.95, [False] * 4), (1.0, [False] * 4)],
)
def test_a_row_is_sure_at_the_floor_and_above_and_never_without_a_number(least: float, sure: list[bool]) -> None:
    found = held(np.array([1, 2]), least, ROWS)
    assert found.sure.tolist() == sure
    assert found.unsure == sure.count(False)
    assert [each is not None for each in found.plain] == sure


@pytest.mark.parametrize(
    ("classes", "mark"),
    [
        (np.array([0, 1], dtype=np.int64), -(2**63)),
        (np.array([-1, 1], dtype=np.int8), -128),
        (np.array([0, 1], dtype=np.uint8), 255),
        (np.array(["no", "yes"]), ""),
        (np.array(["no", "yes"], dtype=object), ""),
        (np.array([b"no", b"yes"]), b""),
    ],
)
def test_what_stands_for_a_label_is_none_of_the_models_own(classes: Any, mark: Any) -> None:
    found = held(classes, 0.8, ROWS[:3])
    assert found.labels.tolist() == [classes.tolist()[0], mark, mark]
    assert found.labels.dtype == (object if classes.dtype.kind == "U" else classes.dtype)
    assert found.plain.tolist() == [classes.tolist()[0], None, None]


def test_a_number_with_a_point_becomes_no_number() -> None:
    found = held(np.array([1.0, 2.0]), 0.8, ROWS[:2])
    assert found.labels[0] == 1.0
    assert np.isnan(found.labels[1])


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (Shy(), ["Shy has no predict_proba", "its classes are bool"]),
        (SimpleNamespace(predict=len), ["SimpleNamespace has no predict_proba", "no one list of classes"]),
        (Model([np.array([0, 1]), np.array([0, 1])]), ["no one list of classes"]),
        (Model(np.array(["", "yes"])), ["'' is one of its classes"]),
        (Model(np.array([0, 255], dtype=np.uint8)), ["255 is one of its classes"]),
    ],
)
def test_a_model_that_can_have_none_is_refused_with_all_reasons(model: Any, told: list[str]) -> None:
    with pytest.raises(FloorError) as error:
        Floor(Estimator(model), 0.8)
    reasons = str(error.value).removeprefix("no floor of 0.8 is possible: ").split("; ")
    assert len(reasons) == len(told)
    assert all(word in reason for word, reason in zip(told, reasons, strict=True))


def test_several_labels_for_a_row_are_an_error_of_the_model() -> None:
    floor = Floor(Estimator(Model(np.array([0, 1]))), 0.8)
    with pytest.raises(RuntimeError, match=r"one label a row; the model gives labels \(1, 2\)"):
        floor.held(np.array([[0, 1]]), np.array([[0.5, 0.5]]))


def test_a_label_that_means_not_sure_is_an_error_of_a_model_that_can_not_say_its_labels() -> None:
    floor = Floor(Estimator(Model(np.empty(0, dtype=object))), 0.8)
    assert floor.held(np.array(["", "yes"], dtype=object), np.array([[0.5], [0.9]])).plain.tolist() == [None, "yes"]
    with pytest.raises(RuntimeError, match="gives the label '', which stands for not sure"):
        floor.held(np.array(["", "yes"], dtype=object), np.array([[0.9], [0.9]]))


def test_no_rows_are_no_answer_and_no_error() -> None:
    found = Floor(Estimator(Model(np.array([0, 1]))), 0.8).held(np.empty(0, dtype=int), np.empty((0, 2)))
    assert (found.unsure, found.labels.tolist()) == (0, [])


@pytest.mark.parametrize("text", ["-0.1", "1.01", "nan", "much"])
def test_a_floor_is_a_share(text: str) -> None:
    assert share("0.8") == 0.8
    with pytest.raises(ValueError, match=r"allowed|convert"):
        share(text)


@pytest.mark.parametrize("classes", [np.array([0, 1]), np.array(["no", "yes"]), np.array([0.0, 1.0])])
def test_compared_are_labels_that_callers_see(classes: Any) -> None:
    sure, hidden, other = (said(held(classes, 0.8, [row]).plain) for row in (ROWS[0], ROWS[1], [0.6, 0.4]))
    # Two versions that keep their label back say the same, whatever they would have said.
    assert alike(hidden, other, 0.05)
    assert not alike(sure, hidden, 0.05)
    assert alike(sure, said(held(classes, 0.8, [[0.81, 0.19]]).plain), 0.05)
