"""How the report's paper is set: type, ruled tables, and text that the standard fonts can show."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from reportlab import platypus
from reportlab.lib import colors
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Flowable, Table, TableStyle

INK, SOFT, LINE = colors.HexColor("#1f1c18"), colors.HexColor("#655f56"), colors.HexColor("#ccc4b6")
MANY = 8  # columns, from where on the type is small
LEADING = 9.4
SIGNS = str.maketrans({"→": "->", "≥": ">=", "≤": "<=", "≠": "!=", "−": "-", "✓": "yes", "✗": "no"})
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
Flow = list[Flowable]


class Paragraph(platypus.Paragraph):
    """Broken into lines once: a table asks for its cells' heights, and again while it draws them."""

    _set: tuple[float, tuple[float, float]] | None = None

    def wrap(self, availWidth: float, availHeight: float) -> tuple[float, float]:  # noqa: N803
        if self._set is None or not math.isclose(self._set[0], availWidth):
            self._set = availWidth, super().wrap(availWidth, availHeight)
        return self._set[1]


def typeface(name: str, size: float, **other: Any) -> ParagraphStyle:
    base: dict[str, Any] = {"fontName": "Helvetica", "leading": size * 1.32, "textColor": INK}
    return ParagraphStyle(name, fontSize=size, **(base | other))


BODY, COVER, SMALL = typeface("body", 10), typeface("cover", 8.6), typeface("small", 7.6)
FAINT, TINY = typeface("faint", 7.6, textColor=SOFT), typeface("tiny", 6)
HEAD = typeface("head", 13, fontName="Times-Bold", spaceBefore=11, spaceAfter=4)
SUB = typeface("sub", 9.6, fontName="Helvetica-Bold", spaceBefore=7, spaceAfter=2, keepWithNext=1)
TITLE = typeface("title", 21, fontName="Times-Bold", spaceAfter=2)


def ruled(head: Sequence[str], rows: Sequence[list[Any]], widths: Sequence[float], styles: Sequence[Any]) -> Flowable:
    """Its head again on each page.

    Plain strings cost a tenth of what paragraphs cost. Heights are given, because without them
    each paragraph is set anew whenever a page ends in the table.
    """
    style = FAINT if len(head) <= MANY else TINY
    titles: list[Any] = [Paragraph(f"<b>{escaped(word)}</b>", style) for word in head]
    all_rows = [titles, *rows]
    heights = [_height(row, widths) for row in all_rows]
    grid = Table(all_rows, colWidths=list(widths), rowHeights=heights, repeatRows=1)
    grid.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEBELOW", (0, 0), (-1, -1), 0.4, LINE),
                ("LINEBELOW", (0, 0), (-1, 0), 0.7, INK),
                ("LEFTPADDING", (0, 0), (-1, -1), 3),
                ("RIGHTPADDING", (0, 0), (-1, -1), 3),
                ("TOPPADDING", (0, 0), (-1, -1), 2),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
                ("FONT", (0, 1), (-1, -1), "Helvetica", 7.6),
                ("LEADING", (0, 1), (-1, -1), LEADING),
                ("TEXTCOLOR", (0, 1), (-1, -1), INK),
                *styles,
            ]
        )
    )
    return grid


def _height(row: Sequence[Any], widths: Sequence[float]) -> float:
    """Of the highest cell, with the padding of `ruled` above, below and beside it."""
    highest = 0.0
    for cell, width in zip(row, widths, strict=True):
        if isinstance(cell, Paragraph):
            highest = max(highest, cell.wrap(width - 6, 1e6)[1])
        else:
            highest = max(highest, LEADING * (str(cell).count("\n") + 1))
    return highest + 5


def paragraphs(texts: Iterable[str]) -> Flow:
    return [Paragraph(escaped(text), COVER) for text in texts]


def escaped(text: object) -> str:
    """Escaped, and only what the standard fonts can show."""
    return escape(plain(text))


def plain(text: object) -> str:
    shown = _UNSEEN.sub("?", str(text)).translate(SIGNS)
    return shown.encode("cp1252", "replace").decode("cp1252")


def clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
