"""Who a person is, and what no command can erase."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Refusal
from problems import erasing
from problems.cluster import known
from problems.erasing import Person


@given(st.sampled_from(sorted(known())), st.integers(0, 10**9))
def test_a_person_that_is_said_is_the_person_that_is_read(problem: str, number: int) -> None:
    assert erasing.person(str(Person(problem, number))) == Person(problem, number)


@pytest.mark.parametrize(
    "said",
    ["", "tabular", "tabular/", "tabular/-1", "tabular/01", "tabular/1.5", "tabular/x", "tabular/1\n", "nobody/1"],
)
def test_what_names_nobody_is_refused(said: str) -> None:
    with pytest.raises(Refusal, match="is no PROBLEM/NUMBER"):
        erasing.person(said)


@pytest.mark.parametrize("problem", sorted(known()))
def test_what_stays_is_said_with_the_days_of_the_rooms(problem: str) -> None:
    said = "\n".join(erasing.everywhere(Person(problem, 1)))
    assert f"bucket workflows, problems/{problem}/: what steps handed on, for 180 days" in said
    assert all(word in said for word in ("the source of the records", "backups", "Kafka"))
