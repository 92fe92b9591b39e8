"""Whether data may be trained on: schema, completeness, ranges, freshness, repeats. Pure.

Each figure is the share of what is right, from 0 to 1, so that the same gates judge data and models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

#: A raw record: numbers and texts, None where a cell is empty, anything where the sender made a mistake.
Record = Mapping[str, object]


@dataclass(frozen=True)
class Column:
    """A number from `low` to `high`, both taken, in `unit`."""

    low: float
    high: float
    unit: str

    def takes(self, value: object) -> bool:
        """A number, whichever."""
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

    def holds(self, value: object) -> bool:
        """One within the bounds."""
        return self.takes(value) and self.low <= value <= self.high  # type: ignore[operator]


@dataclass(frozen=True)
class Text:
    """From `least` to `most` characters, both taken, without the space around them."""

    least: int
    most: int

    def takes(self, value: object) -> bool:
        """A text, whichever."""
        return isinstance(value, str)

    def holds(self, value: object) -> bool:
        """One of such a length."""
        return isinstance(value, str) and self.least <= len(value.strip()) <= self.most


Columns = Mapping[str, Column | Text]


def figures(
    records: Sequence[Record], columns: Columns, arrived: datetime, now: datetime, fresh: timedelta
) -> dict[str, float | None]:
    """None for all of them where there is no record."""
    if not records:
        return dict.fromkeys(("schema", "completeness", "ranges", "unique", "freshness"))
    cells = [(column, record.get(name)) for record in records for name, column in columns.items()]
    filled = [(column, value) for column, value in cells if value is not None]
    return {
        "schema": _share([_keeps_schema(record, columns) for record in records]),
        "completeness": len(filled) / len(cells),
        "ranges": _share([column.holds(value) for column, value in filled]),
        "unique": len({tuple(sorted(map(str, record.items()))) for record in records}) / len(records),
        "freshness": float(timedelta() <= now - arrived <= fresh),
    }


def complete(records: Sequence[Record], columns: Columns) -> list[Record]:
    """Those without an empty cell: the gate of completeness has said that they are enough."""
    return [record for record in records if all(record.get(name) is not None for name in columns)]


def shown(columns: Columns, measured: str, leave_out: Sequence[str]) -> list[str]:
    """The columns that a model sees, in their order: all but what is `measured` and what is left out. Raises ValueError
    for one to leave out that is not there."""
    known = [name for name in columns if name != measured]
    if wrong := sorted(set(leave_out) - set(known)):
        raise ValueError(f"leave_out: {', '.join(wrong)} is no feature; features: {', '.join(known)}")
    return [name for name in known if name not in leave_out]


def _keeps_schema(record: Record, columns: Columns) -> bool:
    """The columns that were agreed on and no other, each with its kind or nothing in it."""
    return record.keys() == columns.keys() and all(
        record[name] is None or column.takes(record[name]) for name, column in columns.items()
    )


def _share(right: Sequence[bool]) -> float | None:
    return sum(right) / len(right) if right else None
