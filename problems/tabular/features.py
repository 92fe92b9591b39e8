"""From a patient's record to what the model sees. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from problems.quality import Column, Record, shown

MEASURED = "progression"  # a year after the record, the disease's own measure
#: Of the study; a value beyond is a mistake of a device or of a hand.
COLUMNS: Mapping[str, Column] = {
    "age": Column(18, 110, "years"),
    "sex": Column(1, 2, "group"),
    "bmi": Column(12, 60, "kg/m2"),
    "bp": Column(40, 200, "mmHg, mean"),
    "s1": Column(50, 400, "mg/dl, cholesterol"),
    "s2": Column(20, 350, "mg/dl, LDL"),
    "s3": Column(10, 150, "mg/dl, HDL"),
    "s4": Column(1, 15, "cholesterol / HDL"),
    "s5": Column(2, 8, "log triglycerides"),
    "s6": Column(40, 250, "mg/dl, glucose"),
    MEASURED: Column(0, 400, "points"),
}
FAST = 140.5  # points; half of the study's patients have more


def names(leave_out: Sequence[str] = ()) -> list[str]:
    """The columns of the matrix, in their order: as the store has them. Raises ValueError for one that is not there."""
    return shown(COLUMNS, MEASURED, leave_out)


def matrix(records: Sequence[Record], leave_out: Sequence[str] = ()) -> list[list[float]]:
    """One row for each record, one column for each of `names`; the records are whole (`complete`)."""
    plain = names(leave_out)
    return [[_of(record, name) for name in plain] for record in records]


def label(records: Sequence[Record]) -> list[int]:
    """1: got worse faster than half of the study's patients."""
    return [int(_of(record, MEASURED) > FAST) for record in records]


def _of(record: Record, name: str) -> float:
    value = record[name]
    if not isinstance(value, int | float):
        raise ValueError(f"{name} is {value!r}, and a number is needed")
    return float(value)
