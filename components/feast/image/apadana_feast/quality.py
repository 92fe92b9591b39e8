"""Checks before anything is materialised or pushed: schema, ranges, completeness, freshness.

Pandera judges schema and ranges of a table in memory. What is about all rows of a view together,
completeness and freshness, is counted over the parts in which they are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from .definitions import CREATED, EVENT, Definitions, Feature, View

#: With room for "missing" in each, which numpy's own integers lack.
KINDS = {"int64": "Int64", "float64": "Float64", "string": "string", "bool": "boolean"}
STAMP = pd.DatetimeTZDtype(unit="us", tz="UTC")
SHOWN = 3  # values of one mistake
#: Clocks of two machines: an event may seem so far ahead.
AHEAD = timedelta(seconds=60)


def schema(wanted: Definitions, view: View) -> Any:
    """A view's rows as Pandera takes them."""
    entity = wanted.entity(view)
    return pa.DataFrameSchema(
        {
            entity.key: pa.Column(KINDS[entity.type], nullable=False, coerce=True),
            **{
                each.name: pa.Column(KINDS[each.type], _bounds(each), nullable=True, coerce=True)
                for each in view.features
            },
            EVENT: pa.Column(STAMP, nullable=False, coerce=True),
            CREATED: pa.Column(STAMP, nullable=False, coerce=True),
        },
        strict=True,
    )


def _bounds(feature: Feature) -> list[Any]:
    found = []
    if feature.least is not None:
        found.append(pa.Check.ge(feature.least, error=f"at least {feature.least:g}"))
    if feature.most is not None:
        found.append(pa.Check.le(feature.most, error=f"at most {feature.most:g}"))
    if feature.one_of:
        found.append(pa.Check.isin(list(feature.one_of), error=f"one of {', '.join(feature.one_of)}"))
    return found


@dataclass
class Look:
    """One view, part by part; `wrong` tells what is wrong with all that was seen."""

    wanted: Definitions
    view: View
    rows: int = 0
    newest: datetime | None = None
    lacking: dict[str, int] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)  # one example of each mistake

    def take(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Look at one part; the same rows, in the types that were asked for."""
        self.rows += len(frame)
        try:
            sound: pd.DataFrame = schema(self.wanted, self.view).validate(frame, lazy=True)
        except SchemaErrors as error:
            for mistake, example in _mistakes(error.failure_cases):
                self.told.setdefault(mistake, example)
            return frame
        for each in self.view.features:
            self.lacking[each.name] = self.lacking.get(each.name, 0) + int(sound[each.name].isna().sum())
        if len(sound):
            newest = sound[EVENT].max().to_pydatetime()
            self.newest = newest if self.newest is None else max(newest, self.newest)
        return sound

    def wrong(self, now: datetime, *, at_rest: bool) -> list[str]:
        """In words; `at_rest`: rows of a table, which has to be filled and fresh."""
        found = [f"{mistake}, seen: {example}" for mistake, example in self.told.items()]
        for each in self.view.features:
            share = self.lacking.get(each.name, 0) / self.rows if self.rows else 0.0
            if share > each.may_lack:
                found.append(f"{each.name}: {share:.1%} of {self.rows} rows lack it, {each.may_lack:.1%} may")
        if self.newest is not None and self.newest > now + AHEAD:
            found.append(f"{EVENT}: {self.newest.isoformat()} lies in the future")
        if at_rest and self.view.fresh_hours is not None:
            if self.newest is None:
                found.append(
                    f"no row of the last {self.view.ttl_hours} h, one of the last {self.view.fresh_hours:g} h is due"
                )
            elif now - self.newest > timedelta(hours=self.view.fresh_hours):
                found.append(f"the newest row is of {self.newest.isoformat()}, older than {self.view.fresh_hours:g} h")
        return found


def _mistakes(cases: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """One for each column and check: how many, and a few of them."""
    named = cases.assign(column=cases["column"].fillna("columns").astype(str), check=cases["check"].astype(str))
    for (column, check), rows in named.groupby(["column", "check"], sort=True):
        values = ", ".join(str(value)[:40] for value in rows["failure_case"].head(SHOWN))
        yield f"{column}: {check}", f"{values} ({len(rows)} in all)"
