"""The content on paper: first page, tables, clauses, tests; the digest at the foot of each page.

Written with the fonts that every reader has, so a sign outside Latin-1 is shown as `?`; the page
and results.json hold it as it was.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import CondPageBreak, Flowable, PageBreak, SimpleDocTemplate, Spacer, Table, TableStyle

from components.kit.probing import Verdict
from validate.core.model import Table as RunTable
from validate.report import charts, faults
from validate.report.content import Content, spell
from validate.report.matrix import ClauseRow, State
from validate.report.records import Record
from validate.report.typeset import (
    BODY,
    COVER,
    FAINT,
    HEAD,
    MANY,
    SMALL,
    SOFT,
    SUB,
    TINY,
    TITLE,
    Flow,
    Paragraph,
    clock,
    escaped,
    paragraphs,
    plain,
    ruled,
    typeface,
)

SHADES = {
    Verdict.PASS: ("#1a6644", "#e4f1e9"),
    Verdict.FAIL: ("#a1232a", "#fae6e4"),
    Verdict.INVALID: ("#7a5200", "#faefd6"),
}
STATES = {
    State.HOLDS: "#1a6644",
    State.PARTLY: "#8fc3a6",
    State.FAILS: "#a1232a",
    State.UNCLEAR: "#7a5200",
    State.NOT_RUN: "#b9b1a4",
    State.UNCOVERED: "#d9d1c4",
    State.PAPER: "#a9b9c9",
}
WIDTH = A4[0] - 32 * mm - 12  # the frame has 6 points on each side
MOST_COLUMNS, SHOWN, DETAIL = 18, 8, 300  # of a table; lines of a list on the first page; characters of a detail


def render(content: Content) -> bytes:
    """The file's bytes; the same content gives the same bytes."""
    out = io.BytesIO()
    run = content.run
    document = SimpleDocTemplate(
        out,
        pagesize=A4,
        leftMargin=16 * mm,
        rightMargin=16 * mm,
        topMargin=15 * mm,
        bottomMargin=19 * mm,
        title=escaped(f"{run.title} of {run.site}: {run.verdict}"),
        author="Apadana validate",
        subject=f"results.json sha256:{content.vouched.results_digest}",
        invariant=1,
    )
    flow = [*_cover(content), PageBreak(), *_tables(content.fault_tables), *_matrix(content)]
    flow += [*_tables(content.other_tables), *_limits(content), *_tests(content)]
    foot = f"results.json sha256:{content.vouched.results_digest}"

    class Numbered(Canvas):
        """Knows how many pages there are when the first one's foot is written."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._pages: list[dict[str, Any]] = []

        def showPage(self) -> None:  # noqa: N802
            self._pages.append(dict(self.__dict__))
            self._startPage()  # type: ignore[attr-defined]

        def save(self) -> None:
            for number, state in enumerate(self._pages, start=1):
                self.__dict__.update(state)
                _foot(self, foot, f"{number} / {len(self._pages)}")
                super().showPage()
            super().save()

    document.build(flow, canvasmaker=Numbered)
    return out.getvalue()


def _foot(canvas: Any, left: str, right: str) -> None:
    canvas.setFillColor(SOFT)
    canvas.setFont("Courier", 6)
    canvas.drawString(16 * mm, 11 * mm, left)
    canvas.setFont("Helvetica", 7.5)
    canvas.drawRightString(A4[0] - 16 * mm, 11 * mm, right)


def _cover(content: Content) -> Flow:
    run, vouched = content.run, content.vouched
    ink, shade = SHADES[content.verdict]
    word = typeface("word", 27, fontName="Helvetica-Bold", textColor=ink, leading=31)
    said = typeface("said", 12, fontName="Times-Roman")
    verdict, sentence = str(content.verdict), escaped(content.sentence())
    box = Table([[Paragraph(verdict, word), Paragraph(sentence, said)]], colWidths=[47 * mm, WIDTH - 47 * mm])
    box.setStyle(
        TableStyle(
            [
                ("BACKGROUND", (0, 0), (-1, -1), shade),
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
                ("LINEBEFORE", (0, 0), (0, -1), 4, ink),
                ("LEFTPADDING", (0, 0), (0, 0), 12),
                ("TOPPADDING", (0, 0), (-1, -1), 10),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 12),
            ]
        )
    )
    counts = ", ".join(
        f"{content.count(v)} {w}"
        for v, w in ((Verdict.PASS, "hold"), (Verdict.FAIL, "do not hold"), (Verdict.INVALID, "could not be judged"))
    )
    flow: Flow = [
        Paragraph("A P A D A N A", typeface("mark", 8, fontName="Helvetica-Bold", spaceAfter=8)),
        Paragraph(escaped(f"{run.title} report: platform “{run.site}”"), TITLE),
        Paragraph(
            escaped(
                f"{clock(run.finished)} · took {spell(run.finished - run.started)} · python -m validate {run.command}"
            ),
            FAINT,
        ),
        Spacer(1, 8),
        box,
        Spacer(1, 6),
        Paragraph(f"<b>{len(run.results)}</b> tests: {counts}.", BODY),
        Spacer(1, 4),
        _bar(content),
        Paragraph(escaped(_legend(content)), FAINT),
        Spacer(1, 2),
        Paragraph(escaped(content.covered()), COVER),
    ]
    flow += _points("What does not hold", content.of(Verdict.FAIL))
    flow += _points("What could not be judged", content.of(Verdict.INVALID))
    flow += [Paragraph("What is not covered", SUB), *paragraphs(_uncovered(content))]
    flow += [Paragraph("What changed since the last report", SUB), *paragraphs(_changes(content))]
    owner = f": {vouched.key.owner}" if vouched.key.owner else ""
    who = (
        f"the key that the client gave{owner}"
        if vouched.key.kind == "client"
        else ("a key that this lab made for itself; it is not the client's key")
    )
    before = f"{vouched.previous.folder}, sha256:{vouched.previous.digest}" if vouched.previous else "none"
    flow += _glance(content)
    return [
        *flow,
        Paragraph("Who answers for it", SUB),
        *paragraphs(
            [
                f"Signed {vouched.signed_at} with {who}",
                f"Key {vouched.key.fingerprint}",
                f"Witnesses: {', '.join(vouched.witnesses) or 'none were named'}",
                f"Bundle {run.bundle_digest}; contract {vouched.contract_digest or 'none'}; "
                f"plan {run.plan_digest or 'none'}; run {vouched.run_id}",
                f"Report before it: {before}",
            ]
        ),
    ]


class _Bar(Flowable):
    """All clauses, a piece for each state."""

    def __init__(self, parts: Sequence[charts.Part]) -> None:
        super().__init__()
        self.width, self.height, self._parts = WIDTH, 4 * mm, parts

    def draw(self) -> None:
        total = sum(part.count for part in self._parts) or 1
        left = 0.0
        for part in self._parts:
            wide = part.count / total * self.width
            self.canv.setFillColor(colors.HexColor(STATES[part.state]))
            self.canv.rect(left, 0, max(wide - 1, 0.5), 3.4 * mm, stroke=0, fill=1)
            left += wide


def _bar(content: Content) -> Flowable:
    return _Bar(charts.parts(content.matrix))


def _legend(content: Content) -> str:
    return "clauses: " + " · ".join(f"{p.state} {p.count}" for p in charts.parts(content.matrix))


def _points(title: str, found: Sequence[Record]) -> Flow:
    rows = [
        f"<b>{escaped(r.result.component)}: {escaped(r.result.name)}</b>"
        f"{escaped(f' ({r.result.cause})' if r.result.cause else '')}. "
        f"{escaped(r.result.detail[:DETAIL])}"
        for r in found[:SHOWN]
    ]
    if len(found) > SHOWN:
        rows.append(f"and {len(found) - SHOWN} more, in the list of tests")
    flow: Flow = [Paragraph(title, SUB)]
    return flow + [Paragraph(row, COVER) for row in rows or ["Nothing."]]


def _uncovered(content: Content) -> Iterable[str]:
    gaps, idle = content.matrix.of(State.UNCOVERED), content.matrix.of(State.NOT_RUN)
    here = [r.clause.id for r in gaps if r.clause.must and r.clause.layer == "platform"]
    yield f"{len(gaps)} clauses have no test; of the platform, demanded: {', '.join(here) or '-'}"
    if idle:
        yield f"{len(idle)} clauses have tests that this run did not make"
    yield content.never_ran
    left = content.run.left_out
    if left:
        yield f"{len(left)} planned tests were left out, the first: {left[0]}"


def _changes(content: Content) -> Iterable[str]:
    found = content.changes
    if found.past is None:
        yield found.why
        return
    told = (
        ("now fail", found.failing),
        ("can no longer be judged", found.unclear),
        ("are no longer tested", found.untested),
        ("now pass", found.fixed),
        ("are new", found.new),
        ("are slower than noise explains", [s.test for s in found.slower]),
    )
    for words, tests in told:
        if tests:
            yield f"{len(tests)} {words}: {', '.join(tests[:4])}{' …' if len(tests) > 4 else ''}"
    if found.none:
        yield "Nothing: the same tests, the same verdicts, no slower."
    yield f"Compared with {found.past.folder} ({clock(found.past.finished)})"


def _tables(tables: Sequence[RunTable]) -> Flow:
    flow: Flow = []
    for table in tables:
        flow += [CondPageBreak(45 * mm), Paragraph(escaped(table.title), HEAD)]
        width = max((len(row) for row in [table.columns, *table.rows]), default=0)
        if not 0 < width <= MOST_COLUMNS:
            flow.append(Paragraph("It does not fit on paper: see the page.", FAINT))
            continue
        style = SMALL if width <= MANY else TINY
        rows = [[Paragraph(escaped(c), style) for c in _filled(row, width)] for row in table.rows]
        shades = [
            ("BACKGROUND", (x, y), (x, y), SHADES[verdict][1])
            for y, row in enumerate(table.rows, start=1)
            for x, text in enumerate(row)
            for verdict in Verdict
            if str(text).split(" ")[0].rstrip(":") == verdict
        ]
        flow.append(ruled(_filled(table.columns, width), rows, _widths(table, width), shades))
        flow += [Paragraph(escaped(table.note), FAINT)] if table.note else []
    return flow


def _glance(content: Content) -> Flow:
    """Stores under faults, on the first page where there is room for it."""
    found = faults.glance(content.run.tables, content.records)
    if found is None or len(found.stores) >= MOST_COLUMNS:
        return []
    rows: list[list[Any]] = []
    shades: list[Any] = []
    for y, (name, cells) in enumerate(found.rows, start=1):
        rows.append([plain(name), *(plain(f"{c.verdict} {c.text}".strip()) for c in cells)])
        shades += [
            ("BACKGROUND", (x, y), (x, y), SHADES[Verdict(cell.verdict)][1])
            for x, cell in enumerate(cells, start=1)
            if cell.verdict in SHADES
        ]
    width = WIDTH / (len(found.stores) + 1)
    grid = ruled(["", *found.stores], rows, [width] * (len(found.stores) + 1), shades)
    return [Paragraph("Stores under faults", SUB), grid]


def _widths(table: RunTable, width: int) -> list[float]:
    """By the longest word of each column, so that few words are broken."""
    words = [
        max(len(word) for row in [table.columns, *table.rows] for word in f"{_at(row, n)} -".split())
        for n in range(width)
    ]
    shares = [min(max(longest, 4), 24) + 1 for longest in words]
    return [WIDTH * share / sum(shares) for share in shares]


def _at(row: Sequence[str], number: int) -> str:
    return str(row[number]) if number < len(row) else ""


def _filled(row: Sequence[str], width: int) -> list[str]:
    return [*(str(cell)[:DETAIL] for cell in row), *[""] * (width - len(row))]


def _matrix(content: Content) -> Flow:
    rows: list[list[Any]] = [
        [row.clause.id, Paragraph(_said(row), SMALL), str(row.state)] for row in content.matrix.rows
    ]
    bold = [("FONT", (0, 1), (0, -1), "Helvetica-Bold", 7.6)]
    head, widths = ["Clause", "Demand and tests", "State"], [20 * mm, WIDTH - 44 * mm, 24 * mm]
    title = Paragraph("Clause by clause", HEAD)
    return [CondPageBreak(45 * mm), title, ruled(head, rows, widths, bold)]


def _said(row: ClauseRow) -> str:
    lines = [escaped(row.clause.statement)]
    lines += [f"<font color='#655f56'>{escaped(text)}</font>" for text in row.open_points]
    if row.state is State.PAPER:
        p = row.paper
        lines.append(escaped(f"Owner: {p.owner}, {p.date} {p.document}") if p else "No owner and no date are named.")
    shown = list(row.records) if len(row.records) <= 4 else row.worst[:8]
    if len(row.records) > 4:
        counts = ", ".join(f"{row.count(v)} {v}" for v in Verdict if row.count(v))
        lines.append(f"{len(row.records)} tests: {counts}")
    lines += [
        f'{r.result.verdict} <a href="#{r.anchor}">{escaped(r.result.test[:DETAIL])}</a> '
        f'<font face="Courier" size="6.5">{r.digest[:12]}</font>'
        for r in shown
    ]
    return "<br/>".join(lines)


def _limits(content: Content) -> Flow:
    flow: Flow = [Paragraph("Assumptions and limits", HEAD)]
    for title, texts in (
        ("Assumed, because the contract leaves it open", content.run.assumptions),
        ("What this run can't show", content.run.limits),
        ("Planned and left out", content.run.left_out),
    ):
        if texts:
            flow += [Paragraph(title, SUB), *paragraphs(texts)]
    return flow


def _tests(content: Content) -> Flow:
    rows: list[list[Any]] = []
    shades: list[Any] = [("FONT", (2, 1), (2, -1), "Courier", 6.4)]
    for _, _, records in content.components:
        for record in records:
            r = record.result
            said = f'<a name="{record.anchor}"/><b>{escaped(r.test[:DETAIL])}</b><br/>{escaped(r.detail[:DETAIL])}'
            digest = f"{record.digest[:32]}\n{record.digest[32:]}"
            rows.append([str(r.verdict), Paragraph(said, SMALL), digest])
            shades.append(("BACKGROUND", (0, len(rows)), (0, len(rows)), SHADES[r.verdict][1]))
    head = ["Verdict", "Test and what it found", "SHA-256 of its record"]
    grid = ruled(head, rows, [17 * mm, WIDTH - 66 * mm, 49 * mm], shades)
    return [CondPageBreak(45 * mm), Paragraph("Tests", HEAD), grid]
