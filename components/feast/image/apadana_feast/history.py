"""What was known of each entity at a moment: Feast's join, for clients that have no way to the database.

A training set of a model is asked for in this way, a part at a time. The answer holds one row for
each row that was asked about, in the same order, and nothing that came later than its moment.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from feast import FeatureStore

from .definitions import EVENT, Definitions
from .pushing import RefusedError, table

#: Feast's own name for the moment of a row.
MOMENT = "event_timestamp"
ORDER = "apadana_row"
WAIT_SECONDS = 20.0
BODY = f'a body is {{"features": ["view:feature", ...], "entities": {{key: [...], "{EVENT}": [...]}}}}'


class BusyError(RuntimeError):
    """Another join is going on."""


class Historian:
    """One join at a time in each server: it is the database's work, and its rows are in memory."""

    def __init__(self, store: FeatureStore, wanted: Definitions) -> None:
        self._store, self._wanted = store, wanted
        self._turn = threading.Lock()

    def rows(self, asked: Any) -> dict[str, list[Any]]:
        """Columns, each as long as what was asked. Raises RefusedError, BusyError, or what the stores raise."""
        features = self._features(asked)
        key = self._key(features)
        frame = _frame(asked["entities"], key)
        if not self._turn.acquire(timeout=WAIT_SECONDS):
            raise BusyError("another history is being read")
        try:
            found = self._store.get_historical_features(entity_df=frame, features=features).to_df()
        finally:
            self._turn.release()
        found = found.sort_values(ORDER)
        names = [feature.partition(":")[2] for feature in features]
        plain = found[names].astype(object)
        columns: dict[str, list[Any]] = plain.where(plain.notna(), None).to_dict(orient="list")
        return columns

    def _features(self, asked: Any) -> list[str]:
        if not isinstance(asked, Mapping) or asked.keys() != {"features", "entities"}:
            raise RefusedError(BODY)
        features, entities = asked["features"], asked["entities"]
        if not isinstance(entities, Mapping) or not isinstance(features, list) or not features:
            raise RefusedError(BODY)
        if wrong := list(_wrong(self._wanted, features)):
            raise RefusedError("; ".join(wrong))
        return [str(feature) for feature in features]

    def _key(self, features: Sequence[str]) -> str:
        views = [self._wanted.view(each.partition(":")[0]) for each in features]
        keys = {self._wanted.entity(view).key for view in views}
        if len(keys) != 1:
            raise RefusedError(f"features of one entity at a time; these are of {', '.join(sorted(keys))}")
        return keys.pop()


def _wrong(wanted: Definitions, features: Sequence[Any]) -> Iterator[str]:
    known = {f"{view.name}:{feature.name}" for view in wanted.views for feature in view.features}
    for each in features:
        if each not in known:
            yield f"{each!r} is no feature of any view"
    names = [str(each).partition(":")[2] for each in features]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{name!r} is asked for twice"


def _frame(given: Mapping[str, Any], key: str) -> pd.DataFrame:
    if given.keys() != {key, EVENT}:
        raise RefusedError(f"entities: {key} and {EVENT}, seen: {', '.join(sorted(map(str, given)))}")
    frame = table("entities", given).rename(columns={EVENT: MOMENT})[[key, MOMENT]]
    if frame[[key, MOMENT]].isna().any(axis=None):
        raise RefusedError(f"entities: every row has a {key} and a moment such as 2026-01-31T12:00:00+00:00")
    return frame.assign(**{ORDER: range(len(frame))})
