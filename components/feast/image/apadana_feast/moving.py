"""From the offline store to the online one: checked, written, read back and compared.

Each run takes the whole of each view's time to live, so that a row that came late is not missed,
and nothing happens when it is repeated: values are replaced by newer ones only. The same run makes
a store anew that lost its keys.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pandas as pd
import psycopg
import pyarrow
import redis
from feast import FeatureStore
from feast.utils import _convert_arrow_to_proto
from psycopg import IsolationLevel, sql

from .definitions import CREATED, EVENT, Definitions, View
from .online import Row, SentinelOnlineStore
from .quality import Look
from .tables import RUNS, columns

AT_ONCE = 5000  # rows in memory
#: A change of the primary takes some 15 s; one that takes longer is told.
PATIENCE_SECONDS = 120.0
T = TypeVar("T")


def say(text: str) -> None:
    """One line of the log."""
    sys.stderr.write(f"feast: {text}\n")
    sys.stderr.flush()


def patiently(what: str, act: Callable[[], T], errors: tuple[type[Exception], ...], seconds: float) -> T:
    """Again while it fails so, until the time is over; then the error goes on."""
    end, told = time.monotonic() + seconds, ""
    while True:
        try:
            return act()
        except errors as error:
            problem = f"{type(error).__name__}: {(str(error) or 'no word').splitlines()[0]}"
            if problem != told:
                say(f"{what}: {problem}")
                told = problem
            if time.monotonic() > end:
                raise
            time.sleep(0.5)  # between two tries under a deadline


@dataclass(frozen=True)
class Outcome:
    """What became of one view. `lost`: rows that online lacked when it was read back."""

    view: str
    written: int = 0
    lost: int = 0
    refused: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether online is what offline says."""
        return not self.refused and not self.lost


def rows(store: FeatureStore, view: Any, frame: pd.DataFrame) -> list[Row]:
    """A table as Feast hands it to an online store."""
    keys = {column.name: column.dtype.to_value_type() for column in view.entity_columns}
    table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    found: list[Row] = _convert_arrow_to_proto(table, view, keys) if len(frame) else []
    return found


def online(store: FeatureStore) -> SentinelOnlineStore:
    """Our own class, behind Feast's provider."""
    found: SentinelOnlineStore = store._get_provider().online_store
    return found


def newest(line: psycopg.Connection[Any], wanted: Definitions, view: View, now: datetime) -> Iterator[pd.DataFrame]:
    """What each entity has at that moment, in parts; in an order that a repetition has, too."""
    names = list(columns(wanted, view))
    key = sql.Identifier(wanted.entity(view).key)
    query = sql.SQL(
        "SELECT DISTINCT ON ({key}) {columns} FROM {table} WHERE {event} > %(oldest)s AND {event} <= %(now)s"
        " AND {created} <= %(now)s ORDER BY {key}, {event} DESC, {created} DESC"
    ).format(
        key=key,
        columns=sql.SQL(", ").join(sql.Identifier(name) for name in names),
        table=sql.Identifier(view.name),
        event=sql.Identifier(EVENT),
        created=sql.Identifier(CREATED),
    )
    with line.cursor(name="newest") as cursor:
        cursor.execute(query, {"oldest": now - timedelta(hours=view.ttl_hours), "now": now})
        while part := cursor.fetchmany(AT_ONCE):
            yield pd.DataFrame(part, columns=names)


def moved(store: FeatureStore, line: psycopg.Connection[Any], wanted: Definitions, view: View) -> Outcome:
    """One view. Checks and writes see one snapshot: what was not checked is not written."""
    line.isolation_level, line.read_only = IsolationLevel.REPEATABLE_READ, True
    try:
        with line.transaction():
            now = line.execute("SELECT now()").fetchall()[0][0].astimezone(UTC)
            look = Look(wanted, view)
            for part in newest(line, wanted, view, now):
                look.take(part)
            if wrong := look.wrong(now, at_rest=True):
                return Outcome(view.name, refused=tuple(wrong))
            known, written, lost = store.get_feature_view(view.name), 0, 0
            for part in newest(line, wanted, view, now):
                made = rows(store, known, Look(wanted, view).take(part))
                written += len(made)
                lost += _written(store, known, made)
            return Outcome(view.name, written, lost)
    finally:
        line.isolation_level, line.read_only = None, None


def _written(store: FeatureStore, view: Any, made: list[Row]) -> int:
    """How many of them online still lacks after they were written."""

    def act() -> int:
        online(store).online_write_batch(store.config, view, made, None)
        return online(store).lacking(store.config, view, made)

    return patiently(f"writing {view.name}", act, (redis.RedisError, OSError), PATIENCE_SECONDS)


def run(store: FeatureStore, line: psycopg.Connection[Any], wanted: Definitions) -> list[Outcome]:
    """Every view; one that is refused stops no other."""
    found = []
    for view in wanted.views:
        outcome = moved(store, line, wanted, view)
        _kept(line, outcome)
        told = "; ".join(outcome.refused) or f"{outcome.written} written, {outcome.lost} lost"
        say(f"{view.name}: {'refused: ' if outcome.refused else ''}{told}")
        found.append(outcome)
    return found


def _kept(line: psycopg.Connection[Any], outcome: Outcome) -> None:
    """For the servers' numbers and whoever asks later."""
    line.execute(
        f"INSERT INTO {RUNS} AS old (view, at, good_at, written, lost, refused)"
        " VALUES (%(view)s, now(), CASE WHEN %(good)s THEN now() END, %(written)s, %(lost)s, %(refused)s)"
        " ON CONFLICT (view) DO UPDATE SET at = excluded.at, good_at = coalesce(excluded.good_at, old.good_at),"
        " written = excluded.written, lost = excluded.lost, refused = excluded.refused",
        {
            "view": outcome.view,
            "good": outcome.good,
            "written": outcome.written,
            "lost": outcome.lost,
            "refused": "; ".join(outcome.refused),
        },
    )
    line.commit()
