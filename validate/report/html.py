"""One self-contained page: no script, no font, no image from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from components.kit.probing import Verdict
from validate.core.model import Table
from validate.core.plain import plain
from validate.report import charts, faults
from validate.report.content import Content, plural, spell
from validate.report.matrix import MEANINGS, State
from validate.report.records import Record
from validate.report.register import LAYERS
from validate.report.seal import CLOSE, OPEN

TEMPLATES = Path(__file__).parent / "page"
#: Characters of evidence that the page may hold in all, and for one result at most.
EVIDENCE_TOTAL, EVIDENCE_ONE = 1_600_000, 20_000
COVER = 6  # lines of a list on the first page; the rest is said further down
VERDICTS = {
    Verdict.PASS: "Looked at, and it holds.",
    Verdict.FAIL: "Looked at, and it does not hold. The row names the cause.",
    Verdict.INVALID: "Could not be judged: no data, a starved generator, a fault that did not take "
    "effect, a refusal that would have come anyway. INVALID is never PASS.",
}
# Control characters, and those that turn the direction of text: a name could lie with them.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def render(content: Content) -> str:
    """The page with an empty seal."""
    allowed = _allowance([_pretty(r.result.evidence) for r in content.records])
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            content=content,
            run=content.run,
            matrix=content.matrix,
            changes=content.changes,
            vouched=content.vouched,
            State=State,
            layers=LAYERS,
            meanings=MEANINGS,
            verdicts=VERDICTS,
            cover=COVER,
            pretty=lambda record: _cut(_pretty(record.result.evidence), allowed),
            bar=charts.clause_bar(content.matrix),
            parts=charts.parts(content.matrix),
            curves=lambda record: charts.curves(record.result.evidence),
            with_curves=[r for r in content.records if charts.curves(r.result.evidence)],
            lanes=charts.timeline(content.run, content.components),
            cell=lambda table, row, n: _cell(content.records, table, row, n),
            glance=faults.glance(content.run.tables, content.records),
            seal=Markup(OPEN + CLOSE),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_seen,
    )
    environment.filters.update(time=_time, spell=spell, plural=plural)
    return environment


def _seen(value: Any) -> Any:
    """What is not meant to be seen is shown as such."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _UNSEEN.sub("\ufffd", value)
    return value


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _allowance(texts: Sequence[str]) -> int:
    """How much of each may be shown so that all together stay within the total."""
    limit = EVIDENCE_ONE
    while limit > 200 and sum(min(len(text), limit) for text in texts) > EVIDENCE_TOTAL:
        limit = limit * 4 // 5
    return limit


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n… {len(text) - limit} more characters in results.json"


def _pretty(evidence: Mapping[str, Any]) -> str:
    """As JSON, a row of numbers on one line; a curve is drawn instead."""
    shown = charts.without_curve(plain(evidence))
    return _lines(shown, "") if shown else ""


def _lines(value: Any, indent: str) -> str:
    inner = indent + "  "
    if isinstance(value, dict) and value:
        rows = [f"{inner}{json.dumps(k, ensure_ascii=False)}: {_lines(v, inner)}" for k, v in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(v, (dict, list)) for v in value):
        return "[\n" + ",\n".join(f"{inner}{_lines(v, inner)}" for v in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)


def _cell(records: Sequence[Record], table: Table, row: Sequence[str], number: int) -> tuple[str, str]:
    """(verdict or '', anchor or '') of a cell: a cell that begins with a verdict is coloured.

    In a table of stores and faults it leads to its record.
    """
    text = str(row[number])
    starts = (str(v) for v in Verdict if text == v or text.startswith((f"{v} ", f"{v}:")))
    verdict = next(starts, "")
    columns = [str(column) for column in table.columns]
    if not verdict or not faults.is_faults(table) or not 0 < number < len(columns):
        return verdict, ""
    told = dict(zip(columns, map(str, row), strict=False))
    store, fault = told.get("store", str(row[0])), told.get("fault", columns[number])
    return verdict, faults.anchor_of(records, store, fault, verdict)
