"""What is kept in PostgreSQL: rows of the offline store, and which record had an id first.

Both may be done any number of times. Two databases: rows lie in the feature store's, where this user may write and make
nothing; ids in the room's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from components.streaming.worker.database import Link, Where
from components.streaming.worker.records import EPOCH, Row, View

T = TypeVar("T")
#: Of one statement; and of a worker that was frozen in the middle of a transaction, for whose rows the next one waits.
LIMITS = "SET LOCAL statement_timeout = '10s'; SET LOCAL idle_in_transaction_session_timeout = '5s'"
#: Any number of ours: replicas that begin at the same time make the table one after the other.
FOUNDING = 6318853
TABLE = """CREATE TABLE IF NOT EXISTS seen (view text NOT NULL, id text NOT NULL, partition integer NOT NULL,
 place bigint NOT NULL, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (view, id))"""
INDEX = "CREATE INDEX IF NOT EXISTS seen_at ON seen (at)"
CLAIM = """INSERT INTO seen (view, id, partition, place)
 SELECT * FROM unnest(%s::text[], %s::text[], %s::integer[], %s::bigint[]) ON CONFLICT DO NOTHING"""
OWNERS = """SELECT view, id, partition, place FROM seen
 WHERE (view, id) IN (SELECT * FROM unnest(%s::text[], %s::text[]))"""
COLUMN = {"int64": "bigint", "float64": "double precision", "string": "text", "bool": "boolean"}
EVENT, CREATED = "event_time", "created_time"
#: PostgreSQL's warning that a commit is here and on no standby.
NOT_ON_STANDBY = "01000"
#: A commit that wrote nothing waits for no standby, and rows that are there already may be on one host only.
MARK = "SELECT pg_logical_emit_message(true, 'streaming', '')"

#: A dead peer is noticed by these, not after a quarter of an hour.
NOTICED = {"tcp_user_timeout": 5000, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 2}


def where(address: str, name: str, connect_seconds: int, folder: Path) -> Where:
    """A database, as workers reach it."""
    return Where(address, name, connect_seconds, folder, "streaming", NOTICED)


class Database:
    """One connection of one thread; after an error the next question opens another."""

    def __init__(self, connect: Callable[[], Link]) -> None:
        self._connect = connect
        self._link: Link | None = None
        self._warned: list[str | None] = []

    def within(self, what: Callable[[Link], T]) -> T:
        """One transaction that two hosts have. Raises psycopg.Error or OSError: ask again."""
        self._warned.clear()
        try:
            link = self._link = self._link or self._opened()
            with link.transaction():
                link.execute(LIMITS)
                found = what(link)
        except (psycopg.Error, OSError):
            self.close()
            raise
        if NOT_ON_STANDBY in self._warned:
            raise OSError("PostgreSQL has it on one host only")
        return found

    def _opened(self) -> Link:
        link = self._connect()
        link.add_notice_handler(lambda said: self._warned.append(said.sqlstate))
        return link

    def close(self) -> None:
        """Let go of the connection."""
        if self._link is not None:
            self._link.close()
            self._link = None


class Ids:
    """Which record had an id first. A record that is read again is the same one; another one with that id is not."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def found(self) -> None:
        """The table, where it is not yet."""

        def make(link: Link) -> None:
            link.execute("SELECT pg_advisory_xact_lock(%s)", (FOUNDING,))
            link.execute(TABLE)
            link.execute(INDEX)

        self._database.within(make)

    def first(self, rows: Sequence[Row]) -> list[Row]:
        """Those that have their ids for themselves, in the same order."""
        if not rows:
            return []
        columns = [[row.view for row in rows], [row.id for row in rows]]
        places = [[row.partition for row in rows], [row.offset for row in rows]]

        def ask(link: Link) -> list[tuple[Any, ...]]:
            link.execute(CLAIM, (*columns, *places))
            return link.execute(OWNERS, columns).fetchall()

        owners = {(view, name): place for view, name, *place in self._database.within(ask)}
        return [row for row in rows if owners.get((row.view, row.id)) == [row.partition, row.offset]]

    def clear(self, hours: int) -> int:
        """What is older goes. Returns how many rows that were."""
        gone = "DELETE FROM seen WHERE at < now() - make_interval(hours => %s)"
        return self._database.within(lambda link: link.execute(gone, (hours,)).rowcount)


class History:
    """The offline store's tables; the feature store made them."""

    def __init__(self, database: Database, known: Mapping[str, View]) -> None:
        self._database, self._known = database, known

    def keep(self, rows: Sequence[Row]) -> None:
        """A row that is there already stays as it is."""
        if not rows:
            return
        by_view: dict[str, list[Row]] = {}
        for row in rows:
            by_view.setdefault(row.view, []).append(row)

        def write(link: Link) -> None:
            for name, some in sorted(by_view.items()):
                link.execute(statement(self._known[name]), columns(some))
            link.execute(MARK)

        self._database.within(write)

    def of(self, view: View, entity: str | int) -> list[tuple[Any, ...]]:
        """All that is kept of one entity, the oldest first: event time, then the values."""
        names = [sql.Identifier(name) for name in (EVENT, *(feature.name for feature in view.features))]
        query = sql.SQL("SELECT {} FROM {} WHERE {} = %s ORDER BY {}, {}").format(
            sql.SQL(", ").join(names), sql.Identifier(view.name), *map(sql.Identifier, (view.key, EVENT, CREATED))
        )
        return self._database.within(lambda link: link.execute(query, (entity,)).fetchall())

    def forget(self, view: View, entity: str | int) -> int:
        """The other way; for the validator's own view."""
        query = sql.SQL("DELETE FROM {} WHERE {} = %s").format(sql.Identifier(view.name), sql.Identifier(view.key))
        return self._database.within(lambda link: link.execute(query, (entity,)).rowcount)


def statement(view: View) -> sql.Composed:
    """All rows of a view by one statement, a list for each column."""
    kinds = {view.key: COLUMN[view.key_type], **{each.name: COLUMN[each.type] for each in view.features}}
    kinds |= {EVENT: "timestamptz", CREATED: "timestamptz"}
    return sql.SQL("INSERT INTO {} ({}) SELECT * FROM unnest({}) ON CONFLICT DO NOTHING").format(
        sql.Identifier(view.name),
        sql.SQL(", ").join(map(sql.Identifier, kinds)),
        sql.SQL(", ").join(sql.SQL(f"%s::{kind}[]") for kind in kinds.values()),
    )


def columns(rows: Sequence[Row]) -> list[list[Any]]:
    """As that statement takes them."""
    values = [list(column) for column in zip(*(row.values for row in rows), strict=True)]
    moments = [[moment(row.at) for row in rows], [moment(row.created) for row in rows]]
    return [[row.entity for row in rows], *values, *moments]


def moment(micros: int) -> datetime:
    """Since 1970."""
    return EPOCH + timedelta(microseconds=micros)
