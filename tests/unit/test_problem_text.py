"""The problem `text`: its tickets, what is read of them, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from problems import quality
from problems.quality import Column, Text
from problems.text import features, problem
from problems.text.tickets import tickets

TICKET: dict[str, object] = dict(tickets(1, 0)[0])


def test_the_same_seed_gives_the_same_tickets_and_each_once() -> None:
    assert tickets(200, 3) == tickets(200, 3) != tickets(200, 4)
    assert len({tuple(each.items()) for each in tickets(200, 3)}) == 200


@given(st.integers(0, 1000))
def test_every_ticket_is_what_the_columns_say(seed: int) -> None:
    for each in tickets(5, seed):
        assert each.keys() == features.COLUMNS.keys()
        assert all(column.holds(each[name]) for name, column in features.COLUMNS.items()), each


def test_nothing_that_is_read_knows_the_answer() -> None:
    assert features.matrix([TICKET | {features.MEASURED: 0}]) == features.matrix([TICKET | {features.MEASURED: 1}])
    assert features.label([TICKET | {features.MEASURED: yes} for yes in (0, 1)]) == [0, 1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"leave_out": ["desk"]}, "desk is nothing that is read"),
        ({"leave_out": ["subject", "body"]}, "one of subject, body has to be read"),
        ({"strengths": [-1.0]}, "above 0"),
        ({"seed": True}, "seed is True, and a int is needed"),
        ({"words": 1}, "there is no setting words"),
    ],
)
def test_wrong_settings_are_told(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        problem.given(wrong)


@pytest.mark.parametrize(
    ("value", "takes", "holds"),
    [("abc", True, True), ("ab", True, False), ("  ab  ", True, False), ("a" * 11, True, False), (3, False, False)],
)
def test_a_column_of_texts(value: object, takes: bool, holds: bool) -> None:
    column = Text(3, 10)
    assert (column.takes(value), column.holds(value)) == (takes, holds)


@pytest.mark.parametrize(
    ("change", "schema", "ranges"),
    [({}, 1.0, 1.0), ({"body": 7}, 0.0, 0.75), ({"body": "short"}, 1.0, 0.75), ({"more": 1}, 0.0, 1.0)],
)
def test_the_quality_of_texts(change: dict[str, object], schema: float, ranges: float) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    found = quality.figures([TICKET | change], features.COLUMNS, now, now, timedelta(days=1))
    assert (found["schema"], found["ranges"]) == (schema, ranges)
    assert isinstance(features.COLUMNS["desk"], Column)
