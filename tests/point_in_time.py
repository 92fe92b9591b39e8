"""History of features with all that makes a join hard, the oracle in SQL, and how Feast is asked.

Late rows, corrections (the same event time, created later), duplicates, many equal times, rows that
are exactly as old as the view's time to live, questions at exactly the moment of an event or of its
creation. A row counts only from the moment on when it was created: nothing comes from the future.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

TTL_HOURS = 24
DEFINITIONS = f"""
entities:
  - {{name: customer, key: customer_id}}
views:
  - name: activity
    entity: customer
    ttl_hours: {TTL_HOURS}
    pushed: true
    features:
      - {{name: visits, type: int64, least: 0, most: 1000000}}
      - {{name: spend, type: float64, least: 0, may_lack: 0.5}}
      - {{name: segment, type: string, one_of: [a, b, c], may_lack: 0.5}}
  - name: profile
    entity: customer
    ttl_hours: 87600
    features:
      - {{name: age, type: int64, least: 0, most: 150}}
services:
  - name: churn
    features: ["activity:visits", "activity:spend", "activity:segment", "profile:age"]
"""
COLUMNS = ("customer_id", "visits", "spend", "segment", "event_time", "created_time")
Row = tuple[int, int, float | None, str | None, datetime, datetime]

#: Written without a look at Feast's way: no later row that was known by then, instead of ranks.
ORACLE = f"""
SELECT asked.n, told.visits, told.spend, told.segment
FROM oracle_asked asked LEFT JOIN oracle_told told
  ON told.customer_id = asked.customer_id
 AND told.event_time BETWEEN asked.at - interval '{TTL_HOURS} hours' AND asked.at
 AND told.created_time <= asked.at
 AND NOT EXISTS (
   SELECT FROM oracle_told later
   WHERE later.customer_id = told.customer_id AND later.event_time <= asked.at AND later.created_time <= asked.at
     AND (later.event_time > told.event_time
       OR later.event_time = told.event_time AND later.created_time > told.created_time))
ORDER BY asked.n
"""

#: The same for who believes every row, whenever it was created.
LEAKY = ORACLE.replace("told.created_time <= asked.at", "true").replace("AND later.created_time <= asked.at", "")

#: Runs in the image's Python: the questions are `given`.
ASK = """
import pandas as pd
from apadana_feast import opening
asked = pd.DataFrame(given, columns=["n", "customer_id", "event_timestamp"])
asked["event_timestamp"] = pd.to_datetime(asked["event_timestamp"], utc=True, format="ISO8601")
features = ["activity:visits", "activity:spend", "activity:segment"]
found = opening.store().get_historical_features(entity_df=asked, features=features).to_df()
found = found.sort_values("n")[["n", "visits", "spend", "segment"]].astype(object)
answer = found.where(found.notna(), None).values.tolist()
"""


@dataclass(frozen=True)
class Case:
    """One history and what is asked of it."""

    told: list[Row]
    asked: list[tuple[int, int, datetime]]

    def given(self) -> list[tuple[int, int, str]]:
        """As JSON takes it."""
        return [(n, customer, at.isoformat()) for n, customer, at in self.asked]


def case(questions: int, seed: int) -> Case:
    """The same for the same seed."""
    dice = random.Random(seed)
    customers = max(5, questions // 20)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    told = [row for customer in range(customers) for row in _history(dice, customer, start)]
    told += dice.sample(told, len(told) // 20)  # handed over twice
    return Case(told, [_question(dice, number, told) for number in range(questions)])


def _history(dice: random.Random, customer: int, start: datetime) -> Iterator[Row]:
    for _ in range(dice.randint(0, 12)):
        event = start + timedelta(minutes=30 * dice.randint(0, 200))
        late = dice.choice([0, 0, 1, 90, 60 * TTL_HOURS - 1, 60 * TTL_HOURS + 1, 3000])
        for _ in range(dice.choice([1, 1, 1, 2, 3])):  # the first, and corrections of it
            created = event + timedelta(minutes=late, microseconds=dice.choice([0, 0, 1]))
            spend = dice.choice([None, round(dice.uniform(0, 100), 2)])
            yield customer, dice.randint(0, 999), spend, dice.choice(["a", "b", "c", None]), event, created
            late += dice.choice([1, 45, 700])


def _question(dice: random.Random, number: int, told: list[Row]) -> tuple[int, int, datetime]:
    customer, *_, event, created = dice.choice(told)
    near = dice.choice([event, created, event + timedelta(hours=TTL_HOURS)])
    away = dice.choice([0, 1, -1, 10**9, -(10**9)])
    return number, customer, near + timedelta(microseconds=away)


def wrong(oracle: list[tuple[Any, ...]], found: list[list[Any]]) -> list[str]:
    """Answers that are not the oracle's."""
    pairs = zip(oracle, found, strict=True)
    return [
        f"question {right[0]}: {said[1:]} instead of {list(right[1:])}" for right, said in pairs if list(right) != said
    ]
