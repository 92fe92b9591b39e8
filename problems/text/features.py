"""From a ticket to what the model reads. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from problems.quality import Column, Columns, Record, Text

MEASURED = "harm"  # what the support's engineer found out: 1, somebody would have been harmed by waiting
COLUMNS: Columns = {
    "desk": Column(1, 2, "1 ward, 2 laboratory"),
    "subject": Text(3, 120),
    "body": Text(10, 2000),
    MEASURED: Column(0, 1, "yes or no"),
}
READ = ("subject", "body")


def names(leave_out: Sequence[str] = ()) -> list[str]:
    """What is read, in its order. Raises ValueError for what is not there, or where nothing is left."""
    if wrong := sorted(set(leave_out) - set(READ)):
        raise ValueError(f"leave_out: {', '.join(wrong)} is nothing that is read; read are: {', '.join(READ)}")
    if left := [name for name in READ if name not in leave_out]:
        return left
    raise ValueError(f"leave_out: one of {', '.join(READ)} has to be read")


def matrix(records: Sequence[Record], leave_out: Sequence[str] = ()) -> list[list[str]]:
    """One row for each record, with one text; the records are whole (`complete`)."""
    return [["\n".join(str(record[name]) for name in names(leave_out))] for record in records]


def label(records: Sequence[Record]) -> list[int]:
    """1: it could not wait."""
    return [int(record[MEASURED] == 1) for record in records]
