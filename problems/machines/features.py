"""From what the feature store knows of a machine to what the model sees. Pure.

The view is the validator's own, which every site has; its columns have names that fit anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from problems.quality import Column, Columns, Record, Text, shown
from problems.store import View

VIEW = View("apadana_probe", key="probe_key", key_type="string", types={"number": "int64"})
MEASURED = "word"  # what the mechanic found
COLUMNS: Columns = {
    "number": Column(0, 99, "kind of machine, by its number"),
    "share": Column(0, 1, "vibration, of the most that was ever measured"),
    MEASURED: Text(4, 4),
}
WORN = "worn"


def names(leave_out: Sequence[str] = ()) -> list[str]:
    """The columns of the matrix, in their order: as the store has them. Raises ValueError for one that is not there."""
    return shown(COLUMNS, MEASURED, leave_out)


def matrix(records: Sequence[Record], leave_out: Sequence[str] = ()) -> list[list[float]]:
    """One row for each record, one column for each of `names`; the records are whole (`complete`)."""
    plain = names(leave_out)
    return [[float(str(record[name])) for name in plain] for record in records]


def label(records: Sequence[Record]) -> list[int]:
    """1: worn."""
    return [int(record[MEASURED] == WORN) for record in records]
