"""Stores and faults at a glance: one cell for each, from the long table that chaos writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from components.kit.probing import Verdict
from validate.core.model import Table, slug
from validate.report.records import Record

TITLE = "store x fault"
NEEDED = ("fault", "store", "verdict")
ORDER = (Verdict.FAIL, Verdict.INVALID, Verdict.PASS)


@dataclass(frozen=True)
class Cell:
    """What came out for a store under a fault; `anchor`: its record in the page, or ''."""

    verdict: str = ""
    text: str = ""
    anchor: str = ""


@dataclass(frozen=True)
class Glance:
    """A row for each fault, a column for each store."""

    stores: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]


def is_faults(table: Table) -> bool:
    return table.title.lower().replace("×", "x").startswith(TITLE)


def glance(tables: Iterable[Table], records: Sequence[Record]) -> Glance | None:
    """None when no table has a column for fault, store and verdict. A store that another one's
    fault has hurt is shown with the worst of its verdicts."""
    rows = [
        dict(zip(map(str, table.columns), map(str, row), strict=False))
        for table in tables
        if is_faults(table) and set(NEEDED) <= set(table.columns)
        for row in table.rows
    ]
    if not rows:
        return None
    stores = sorted({row["store"] for row in rows})
    names = dict.fromkeys(row["fault"] for row in rows)
    told = [(name, [_cell(name, store, rows, records) for store in stores]) for name in names]
    return Glance(stores, told)


def _cell(fault: str, store: str, rows: Sequence[Mapping[str, str]], records: Sequence[Record]) -> Cell:
    found = [row for row in rows if (row["fault"], row["store"]) == (fault, store)]
    if not found:
        return Cell()
    found.sort(key=lambda row: (_rank(row["verdict"]), row.get("hit") != store))
    row = found[0]
    return Cell(row["verdict"], _words(row), anchor_of(records, store, fault, row["verdict"]))


def _words(row: Mapping[str, str]) -> str:
    """What was not proved is not told as if it were: no `0 lost` under INVALID."""
    if row["verdict"] == Verdict.INVALID:
        return "fault not proved" if row.get("proved") == "no" else "not judged"
    words = []
    if row.get("lost", "").isdigit():
        words.append(f"{row['lost']} lost")
    if row.get("gap s", "").replace(".", "", 1).isdigit():
        words.append(f"gap {row['gap s']} s")
    return ", ".join(words)


def _rank(verdict: str) -> int:
    return next((n for n, known in enumerate(ORDER) if known == verdict), len(ORDER))


def anchor_of(records: Sequence[Record], store: str, fault: str, verdict: str) -> str:
    """The record that a cell speaks of: of that store, named after the fault, with that verdict
    where there is one."""
    found = [
        r
        for r in records
        if slug(r.result.component) == slug(store)
        and slug(fault) in slug(r.result.name)
        and "acknowledged" in r.result.name
    ] or [r for r in records if slug(r.result.component) == slug(store) and slug(fault) in slug(r.result.name)]
    found.sort(key=lambda r: (r.result.verdict != verdict, _rank(r.result.verdict)))
    return found[0].anchor if found else ""
