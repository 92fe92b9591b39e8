"""What becomes of a question whose line to PostgreSQL is dead, and of one that PostgreSQL refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from components.outcomes.server.keeping import Kept


class Link:
    """A line that fails at its first statement, or does not."""

    def __init__(self, failure: Exception | None) -> None:
        self.failure, self.closed = failure, False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield

    def execute(self, statement: bytes, values: object = None) -> Link:
        if self.failure:
            raise self.failure
        return self

    def fetchall(self) -> list[Any]:
        return []

    def close(self) -> None:
        self.closed = True


DEAD = psycopg.InternalError("received 2 results from command 'BEGIN'")
AWAY = psycopg.OperationalError("server closed the connection unexpectedly")


@pytest.mark.parametrize("failure", [DEAD, AWAY])
def test_a_dead_line_is_replaced_within_the_same_question(failure: psycopg.Error) -> None:
    links = [Link(failure), Link(None)]
    made = iter(links)
    kept = Kept(lambda: next(made))  # type: ignore[arg-type]
    assert kept.figures(24) == []
    assert [link.closed for link in links] == [True, False]


def test_what_postgresql_refuses_is_not_asked_again() -> None:
    links = [Link(psycopg.errors.UndefinedTable("no such table")), Link(None)]
    made = iter(links)
    kept = Kept(lambda: next(made))  # type: ignore[arg-type]
    with pytest.raises(OSError, match="no such table"):
        kept.figures(24)
    assert [link.closed for link in links] == [False, False]


def test_two_dead_lines_are_told() -> None:
    made = iter([Link(AWAY), Link(DEAD)])
    kept = Kept(lambda: next(made))  # type: ignore[arg-type]
    with pytest.raises(OSError, match="received 2 results"):
        kept.figures(24)
