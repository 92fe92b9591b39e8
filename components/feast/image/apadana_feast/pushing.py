"""Rows that a client hands over: checked, into the offline store, then online.

In that order, so that online can always be made anew. Answered when PostgreSQL has committed and a
replica of Valkey has them: a client that heard nothing sends them again, and nothing is lost or
counted twice, because the newest row of an entity is one whichever way it came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import pandas as pd
import psycopg
from feast import FeatureStore
from psycopg import sql
from psycopg_pool import ConnectionPool

from . import opening
from .definitions import CREATED, EVENT, Definitions, View
from .moving import online, rows
from .quality import Look
from .tables import columns

T = TypeVar("T")
MOST_ROWS = 5000  # of one request
WAIT_SECONDS = 3.0  # for one of the few connections
#: PostgreSQL's warning that a commit is here and on no standby.
NOT_ON_STANDBY = "01000"


class RefusedError(ValueError):
    """The client's mistakes; the same request would be refused again."""


class UnsureError(RuntimeError):
    """It is not known that two hosts have it: send it again."""


class Pusher:
    """Takes rows for the views that are open to it."""

    def __init__(self, store: FeatureStore, wanted: Definitions, connections: int) -> None:
        self._store, self._wanted = store, wanted
        # None is kept while nobody pushes: a pooler in session mode gives each to one client alone.
        self._pool = ConnectionPool(
            kwargs=opening.parameters(), min_size=0, max_size=connections, max_idle=30, timeout=WAIT_SECONDS, open=True
        )

    def take(self, asked: Any) -> tuple[int, datetime]:
        """How many rows are there now, and since when. Raises RefusedError, UnsureError, or what the stores raise."""
        view = self._view(asked)
        now = datetime.now(UTC)
        frame = _frame(asked["rows"], now)
        look = Look(self._wanted, view)
        sound = look.take(frame)
        if wrong := look.wrong(now, at_rest=False):
            raise RefusedError("; ".join(wrong))
        sound = sound[list(columns(self._wanted, view))]
        self._keep(view, sound)
        known = self._store.get_feature_view(view.name, allow_registry_cache=True)
        online(self._store).online_write_batch(self._store.config, known, rows(self._store, known, sound), None)
        return len(sound), now

    def _view(self, asked: Any) -> View:
        if not isinstance(asked, Mapping) or asked.keys() != {"view", "rows"} or not isinstance(asked["rows"], Mapping):
            raise RefusedError('a body is {"view": name, "rows": {column: [value, ...]}}')
        try:
            view = self._wanted.view(str(asked["view"]))
        except LookupError as error:
            raise RefusedError(str(error)) from None
        if not view.pushed:
            raise RefusedError(f"the view {view.name!r} takes no rows from clients (`pushed: true` in its definition)")
        return view

    def _keep(self, view: View, sound: pd.DataFrame) -> None:
        names = list(columns(self._wanted, view))
        query = sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING").format(
            sql.Identifier(view.name),
            sql.SQL(", ").join(sql.Identifier(name) for name in names),
            sql.SQL(", ").join(sql.Placeholder() for _ in names),
        )
        values = sound.astype(object).where(sound.notna(), None).itertuples(index=False, name=None)
        warned: list[str | None] = []
        with self._pool.connection() as line:

            def warn(said: psycopg.errors.Diagnostic) -> None:
                warned.append(said.sqlstate)

            line.add_notice_handler(warn)
            try:
                with line.cursor() as cursor:
                    cursor.executemany(query, list(values))
                line.commit()
            finally:
                line.remove_notice_handler(warn)
        if NOT_ON_STANDBY in warned:
            raise UnsureError("PostgreSQL has it on one host only")

    def within(self, act: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Something else with one of the few connections."""
        with self._pool.connection() as line:
            return act(line)

    def close(self) -> None:
        """Let go of the connections."""
        self._pool.close()


def _frame(given: Mapping[str, Any], now: datetime) -> pd.DataFrame:
    """As a table; when it was created is ours to say."""
    if CREATED in given:
        raise RefusedError(f"{CREATED}: the server says when a row came; leave it out")
    return table("rows", given).assign(**{CREATED: pd.Timestamp(now)})


def table(what: str, given: Mapping[str, Any]) -> pd.DataFrame:
    """Columns out of JSON, `what` in its words; a moment that is none is empty. Raises RefusedError."""
    lengths = {len(column) if isinstance(column, list) else -1 for column in given.values()}
    if len(lengths) != 1 or not 1 <= next(iter(lengths)) <= MOST_ROWS:
        raise RefusedError(f"{what}: each column is a list of the same length, 1 to {MOST_ROWS}")
    frame = pd.DataFrame(dict(given))
    if EVENT in frame:
        frame[EVENT] = pd.to_datetime(frame[EVENT], utc=True, errors="coerce", format="ISO8601")
    return frame
