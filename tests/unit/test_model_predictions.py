"""What a model server tells of its last answers, and what is taken from it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from components.kserve.image.server import predictions
from components.kserve.image.server.predictions import KEPT, LETTERS, ROWS, SHOWN, Prediction, Predictions, Value, read
from components.models.judge.reading import LARGEST

WIDEST = "W" * LETTERS


def note(made: Predictions, name: object, answers: Any = (1,)) -> None:
    made.note("iris", "0123456789", name, answers)


def names(text: str) -> list[str]:
    return [each.name for each in read(text)[1]]


@pytest.mark.parametrize(
    ("answers", "measured", "kept"),
    [
        (np.array([1, 2]), False, (1, 2)),
        (np.array([0.5, -1e20, 2.0]), True, (0.5, None, 2.0)),
        (np.array(["a", "b"]), False, ("a", "b")),
        (np.array(["a", None], dtype=object), False, ("a", None)),
        (np.array([True]), False, (True,)),
        (np.array([b"ab"]), False, ("ab",)),
        (np.array(["a\nb\0" + "c" * 200]), False, ("a?b?" + "c" * (LETTERS - 4),)),
        (np.arange(20), False, tuple(range(ROWS))),
        (np.array([[1.5, 2.5]]), True, (1.5, 2.5)),
    ],
)
def test_what_was_answered_is_read_as_it_was(answers: Any, measured: bool, kept: tuple[Value, ...]) -> None:
    made = Predictions(clock=lambda: 12.3456)
    note(made, "q-1", answers)
    stand, found = read(made.page(""))
    assert found == [Prediction("iris", "0123456789", "q-1", 12.346, measured, kept)]
    assert stand.endswith(".1")


@pytest.mark.parametrize("name", [None, "", "a b", "x" * 129, "ä", 7, "a\n"])
def test_a_question_without_a_name_that_can_be_told_again_is_not_kept(name: object) -> None:
    made = Predictions()
    note(made, name)
    assert names(made.page("")) == []


def test_who_reads_on_gets_each_once_and_a_page_has_an_end() -> None:
    made = Predictions()
    for number in range(SHOWN + 20):
        note(made, f"q{number}")
    stand, first = read(made.page(""))
    rest = made.page(stand)
    assert len(first) == SHOWN and names(rest) == [f"q{number}" for number in range(SHOWN, SHOWN + 20)]
    assert names(made.page(read(rest)[0])) == []
    note(made, "late")
    assert names(made.page(read(rest)[0])) == ["late"]


def test_what_is_too_old_is_gone_and_a_server_that_began_anew_tells_all() -> None:
    made = Predictions(kept=3)
    for number in range(5):
        note(made, f"q{number}")
    assert names(made.page("")) == ["q2", "q3", "q4"]
    assert names(made.page("00000000.5")) == ["q2", "q3", "q4"]
    assert names(made.page("nonsense")) == ["q2", "q3", "q4"]


def test_the_widest_page_is_not_too_large_for_who_reads_it() -> None:
    made = Predictions()
    for number in range(KEPT):
        made.note("m" * 40, "v" * 64, f"{number:0128d}", [WIDEST] * ROWS)
    assert len(made.page("").encode()) < LARGEST


GOOD = {"model": "iris", "version": "v1", "name": "q", "at": 1.0, "measured": False, "answers": [1]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "IRIS"},
        {"model": 1},
        {"version": "a/b"},
        {"name": "a b"},
        {"at": "now"},
        {"at": -1},
        {"at": float("nan")},
        {"at": 1e12},
        {"at": True},
        {"measured": 1},
        {"answers": []},
        {"answers": [1] * (ROWS + 1)},
        {"answers": [[1]]},
        {"answers": [1e300]},
        {"answers": ["x" * (LETTERS + 1)]},
        {"answers": ["a\0"]},
        {"answers": 3},
        {"answers": ["\ud800"]},
    ],
    ids=str,
)
def test_a_page_of_somebody_else_is_refused_whole(wrong: dict[str, object]) -> None:
    good = json.dumps(GOOD)
    assert read(f"00000000.1\n{good}\n")[1]
    with pytest.raises(ValueError, match="is no answer"):
        read(f"00000000.1\n{good}\n{json.dumps(GOOD | wrong)}\n")


@pytest.mark.parametrize("text", ["", "hello", "00000000.x\n", "<html>\n"])
def test_what_is_no_page_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not where a server of ours stands"):
        read(text)
    with pytest.raises(ValueError, match="allowed: 500"):
        read("00000000.1\n" + (json.dumps(GOOD) + "\n") * (SHOWN + 1))


def test_its_path_is_no_model_s() -> None:
    assert not predictions.PATH.startswith("/v")
