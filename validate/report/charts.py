"""Small charts as inline SVG: only numbers and fixed words go in, so nothing needs escaping."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from components.kit.probing import Verdict
from validate.core.model import Run
from validate.report.content import spell
from validate.report.matrix import Matrix, State
from validate.report.records import Record

POINTS = 240  # more can't be told apart at the width of a page
HEIGHT = 40.0
CURVE, COUNTS = "curve", "counts"


@dataclass(frozen=True)
class LineChart:
    """Numbers a second as a line, and what stands beneath it."""

    name: str
    picture: Markup
    low: str
    high: str
    span: str


@dataclass(frozen=True)
class Lane:
    """When the tests of a component ran."""

    component: str
    picture: Markup


@dataclass(frozen=True)
class Part:
    """A piece of the bar of clauses."""

    state: State
    count: int


def curves(evidence: Mapping[str, Any]) -> list[LineChart]:
    """evidence["curve"]: numbers, one a second; or several such lists by name; or of a fault
    `counts` (acknowledged in each second), with `fault` and `undo`, the seconds of both."""
    found = evidence.get(CURVE)
    band: tuple[int, int] | None = None
    pairs: list[tuple[str, Any]] = [("", found)]
    if isinstance(found, Mapping) and COUNTS in found:
        pairs = [("acknowledged writes a second; shaded: the fault", found[COUNTS])]
        edges = (found.get("fault"), found.get("undo"))
        band = edges if all(type(edge) is int for edge in edges) else None  # type: ignore[assignment]
    elif isinstance(found, Mapping):
        pairs = [(str(name), values) for name, values in found.items()]
    return [_curve(name, [float(v) for v in values], band) for name, values in pairs if _is_numbers(values)]


def without_curve(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Evidence as text shows it: what is drawn is not spelt out."""
    shown = dict(evidence)
    found = shown.get(CURVE)
    if isinstance(found, Mapping):
        rest = {name: value for name, value in found.items() if not _is_numbers(value)}
        shown[CURVE] = rest
    if _is_numbers(found) or shown.get(CURVE) == {}:
        del shown[CURVE]
    return shown


def _is_numbers(values: object) -> bool:
    return (
        isinstance(values, (list, tuple))
        and len(values) > 1
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in values)
    )


def _curve(name: str, values: Sequence[float], band: tuple[int, int] | None) -> LineChart:
    top = max(*values, 0.0) or 1.0
    low = min(*values, 0.0)
    scale = HEIGHT / (top - low) if top > low else 0.0
    shown = _thinned(values)
    step = 300.0 / (len(shown) - 1)
    points = [f"{n * step:.1f},{1 + HEIGHT - (v - low) * scale:.1f}" for n, v in enumerate(shown)]
    line = " ".join(points)
    picture = Markup(
        '<svg class="curve" viewBox="0 0 300 42" preserveAspectRatio="none" aria-hidden="true">'
        f'{_shade(band, len(values))}<polygon points="0,41 {line} 300,41"/>'
        f'<polyline points="{line}"/></svg>'
    )
    return LineChart(name, picture, _number(min(values), top), _number(max(values), top), spell(len(values)))


def _shade(band: tuple[int, int] | None, size: int) -> str:
    """The time from the fault to its undo."""
    if band is None or not 0 <= band[0] <= band[1]:
        return ""
    left, right = (min(edge, size - 1) / (size - 1) * 300 for edge in band)
    return f'<rect x="{left:.1f}" y="0" width="{max(right - left, 1):.1f}" height="42"/>'


def _thinned(values: Sequence[float]) -> list[float]:
    """Of each stretch its lowest and highest: a freeze of one second stays to be seen."""
    if len(values) <= POINTS:
        return list(values)
    size = math.ceil(len(values) / (POINTS / 2))
    shown: list[float] = []
    for start in range(0, len(values), size):
        piece = values[start : start + size]
        pair = (min(piece), max(piece))
        shown += pair if piece.index(pair[0]) <= piece.index(pair[1]) else pair[::-1]
    return shown


def _number(value: float, top: float) -> str:
    """As exact as the scale is: beside 220 nobody reads 0.007."""
    if top < 1:
        return f"{value:.3g}"
    return f"{value:,.{0 if top >= 100 else 1 if top >= 10 else 2}f}"


def timeline(run: Run, components: Iterable[tuple[str, Verdict, Sequence[Record]]]) -> list[Lane]:
    """One lane for each component; failures are drawn last, so that nothing hides them."""
    total = max(run.finished - run.started, 0.001)
    order = [Verdict.PASS, Verdict.INVALID, Verdict.FAIL]
    lanes: list[Lane] = []
    for name, _, records in components:
        pieces: list[str] = []
        for record in sorted(records, key=lambda r: order.index(r.result.verdict)):
            result = record.result
            begin = (result.finished - result.seconds - run.started) / total
            left = min(max(begin, 0.0), 1.0) * 1000
            width = min(max(result.seconds / total * 1000, 3.0), 1000 - min(left, 997))
            pieces.append(
                f'<rect class="{result.verdict}" x="{min(left, 997):.1f}" y="1" width="{width:.1f}" height="8"/>'
            )
        svg = (
            '<svg class="lane" viewBox="0 0 1000 10" preserveAspectRatio="none" '
            f'aria-hidden="true">{"".join(pieces)}</svg>'
        )
        lanes.append(Lane(name, Markup(svg)))
    return lanes


def clause_bar(matrix: Matrix) -> Markup:
    """All clauses as one bar, a piece for each state."""
    total = max(len(matrix.rows), 1)
    pieces: list[str] = []
    left = 0.0
    for part in parts(matrix):
        width = part.count / total * 1000
        pieces.append(
            f'<rect class="s-{part.state.name}" x="{left:.2f}" y="0" width="{max(width - 2, 1):.2f}" height="14"/>'
        )
        left += width
    return Markup(
        '<svg class="clauses" viewBox="0 0 1000 14" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(pieces)}</svg>"
    )


#: From what is proved to what is not: how a reader looks at a bar.
BAR = (State.HOLDS, State.PARTLY, State.FAILS, State.UNCLEAR, State.NOT_RUN, State.UNCOVERED, State.PAPER)


def parts(matrix: Matrix) -> list[Part]:
    """The pieces that are not empty, in the order of the bar."""
    found = [Part(state, matrix.count(state)) for state in BAR]
    return [part for part in found if part.count]
