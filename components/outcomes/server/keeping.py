"""The two tables, in PostgreSQL: what was predicted, what turned out to be true, and both beside each other.

Everything that is done here may be done twice: a replica that had no answer asks again, two replicas read the
same pages, and callers repeat.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import psycopg

from components.outcomes.server.database import Link
from components.outcomes.server.figures import Figures
from components.outcomes.server.predictions import Prediction
from components.outcomes.server.told import Outcome, moment

T = TypeVar("T")
#: Of one statement; who asks waits no longer.
SECONDS = 10
#: Any number of ours: replicas that begin at the same time make the tables one after the other.
FOUNDING = 7226154
TABLES = """
CREATE TABLE IF NOT EXISTS predictions (
  model text NOT NULL, name text NOT NULL, version text NOT NULL, at timestamptz NOT NULL,
  measured boolean NOT NULL, answers jsonb NOT NULL, PRIMARY KEY (model, name, version));
CREATE INDEX IF NOT EXISTS predictions_at ON predictions (at);
CREATE TABLE IF NOT EXISTS outcomes (
  model text NOT NULL, name text NOT NULL, at timestamptz NOT NULL, actual jsonb NOT NULL,
  told timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (model, name));
CREATE INDEX IF NOT EXISTS outcomes_told ON outcomes (told);
"""
PREDICTED = """INSERT INTO predictions VALUES (%s, %s, %s, to_timestamp(%s), %s, %s) ON CONFLICT DO NOTHING"""
#: What became known last holds; a message that comes late changes nothing.
TRUE = """INSERT INTO outcomes (model, name, at, actual) VALUES (%s, %s, to_timestamp(%s), %s)
ON CONFLICT (model, name) DO UPDATE SET at = excluded.at, actual = excluded.actual, told = now()
WHERE outcomes.at <= excluded.at"""
#: A row of each row of an answer; the first one stands for the question, too.
BESIDE = """
SELECT model, version, {day}, count(*) FILTER (WHERE n = 1),
  count(*) FILTER (WHERE n = 1 AND actual IS NOT NULL),
  count(*) FILTER (WHERE said = 'null' AND truth IS NOT NULL),
  count(*) FILTER (WHERE NOT measured AND said <> 'null' AND truth IS NOT NULL),
  count(*) FILTER (WHERE NOT measured AND said <> 'null' AND said <> truth),
  count(off), coalesce(avg(off), 0), coalesce(avg(abs(off)), 0), coalesce(sqrt(avg(off * off)), 0)
FROM (
  SELECT p.model, p.version, p.at, p.measured, o.actual, said, truth, n,
    CASE WHEN p.measured AND jsonb_typeof(said) = 'number' AND jsonb_typeof(truth) = 'number'
      THEN (said #>> '{{}}')::float8 - (truth #>> '{{}}')::float8 END AS off
  FROM predictions p LEFT JOIN outcomes o USING (model, name),
    LATERAL ROWS FROM (jsonb_array_elements(p.answers), jsonb_array_elements(o.actual))
      WITH ORDINALITY AS r(said, truth, n)
  WHERE p.at > now() - make_interval(hours => %(hours)s) AND (%(model)s = '' OR p.model = %(model)s)
) AS each GROUP BY 1, 2, 3 ORDER BY 1, 3 DESC, 2 LIMIT 2000
"""
BY_DAY, WHOLE = "to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD')", "''"


class Kept:
    """One connection; threads take turns. After an error it is made anew, once for each question."""

    def __init__(self, connect: Callable[[], Link]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._link: Link | None = None

    def found(self) -> None:
        """The tables, where they are not yet."""

        def make(link: Link) -> None:
            link.execute("SELECT pg_advisory_xact_lock(%s)", (FOUNDING,))
            for statement in filter(None, map(str.strip, TABLES.split(";"))):
                link.execute(statement.encode())

        self._within(make)

    def predicted(self, found: Iterable[Prediction]) -> None:
        """Keep them; what is kept already stays as it is."""
        rows = [
            (each.model, each.name, each.version, each.at, each.measured, json.dumps(each.answers)) for each in found
        ]
        self._within(lambda link: link.cursor().executemany(PREDICTED, rows))

    def true(self, found: Iterable[Outcome]) -> None:
        """Keep what turned out to be true."""
        rows = [(each.model, each.name, each.at, json.dumps(each.actual)) for each in found]
        self._within(lambda link: link.cursor().executemany(TRUE, rows))

    def of(self, model: str, name: str) -> dict[str, Any]:
        """What is kept of one question."""

        def ask(link: Link) -> dict[str, Any]:
            said = link.execute(
                "SELECT version, extract(epoch FROM at)::float8, answers FROM predictions "
                "WHERE (model, name) = (%s, %s) ORDER BY at",
                (model, name),
            ).fetchall()
            true = link.execute(
                "SELECT extract(epoch FROM at)::float8, actual FROM outcomes WHERE (model, name) = (%s, %s)",
                (model, name),
            ).fetchone()
            return {
                "predictions": [{"version": row[0], "at": moment(row[1]), "answers": row[2]} for row in said],
                "outcome": {"at": moment(true[0]), "actual": true[1]} if true else None,
            }

        return self._within(ask)

    def forget(self, model: str, name: str) -> int:
        """All that is kept of one question. Returns how many rows that was."""

        def drop(link: Link) -> int:
            return sum(
                link.execute(f"DELETE FROM {table} WHERE (model, name) = (%s, %s)", (model, name)).rowcount
                for table in ("predictions", "outcomes")
            )

        return self._within(drop)

    def clear(self, days: int, most: int) -> int:
        """What is older than so many days goes, and of each table all but the newest rows."""

        def drop(link: Link) -> int:
            gone = 0
            for table, column in (("predictions", "at"), ("outcomes", "told")):
                gone += link.execute(
                    f"DELETE FROM {table} WHERE {column} < now() - make_interval(days => %s)", (days,)
                ).rowcount
                newest = f"SELECT {column} FROM {table} ORDER BY {column} DESC OFFSET %s LIMIT 1"
                gone += link.execute(f"DELETE FROM {table} WHERE {column} <= ({newest})", (most,)).rowcount
            return gone

        return self._within(drop)

    def figures(self, hours: int, model: str = "", *, by_day: bool = False) -> list[Figures]:
        """Of the last hours, by model and version."""
        query = BESIDE.format(day=BY_DAY if by_day else WHOLE).encode()
        return self._within(
            lambda link: [Figures(*row) for row in link.execute(query, {"hours": hours, "model": model}).fetchall()]
        )

    def _within(self, what: Callable[[Link], T]) -> T:
        """One transaction. Raises OSError: the database does not answer, or not so."""
        with self._lock:
            try:
                return self._once(what)
            except psycopg.Error as error:
                # Without a code of the server's it is the line's own trouble: a member that went leaves dead ones.
                if error.sqlstate and not isinstance(error, psycopg.OperationalError):
                    raise OSError(f"PostgreSQL: {' '.join(str(error).split())}") from None
                self._drop()
            try:
                return self._once(what)
            except psycopg.Error as error:
                self._drop()
                raise OSError(f"PostgreSQL: {' '.join(str(error).split())}") from None

    def _once(self, what: Callable[[Link], T]) -> T:
        link = self._link = self._link or self._connect()
        with link.transaction():
            link.execute(f"SET LOCAL statement_timeout = '{SECONDS}s'".encode())
            return what(link)

    def _drop(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
