"""The graph of a run, as SVG. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence

from components.portal.server.runs import Step

WIDE, HIGH = 132, 46  # of a box
ACROSS, DOWN = 172, 66  # from one to the next
EDGE = 8  # around the drawing


def columns(steps: Sequence[Step]) -> list[list[Step]]:
    """Each step right of all that come before it."""
    places: dict[str, int] = {}
    for step in steps:  # those before it stand before it in the list, too
        places[step.name] = 1 + max((places[name] for name in step.after if name in places), default=-1)
    found: list[list[Step]] = [[] for _ in range(1 + max(places.values(), default=-1))]
    for step in steps:
        found[places[step.name]].append(step)
    return found


def drawn(steps: Sequence[Step]) -> str:
    """SVG; classes say how each step is (`phase`)."""
    held = columns(steps)
    if not held:
        return ""
    at = {
        step.name: (EDGE + ACROSS * x, EDGE + DOWN * y)
        for x, column in enumerate(held)
        for y, step in enumerate(column)
    }
    width = 2 * EDGE + ACROSS * (len(held) - 1) + WIDE
    height = 2 * EDGE + DOWN * (max(map(len, held)) - 1) + HIGH
    lines = [_line(at[name], at[step.name]) for step in steps for name in step.after if name in at]
    boxes = [_box(step, *at[step.name]) for step in steps]
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="steps of the run">{"".join(lines)}{"".join(boxes)}</svg>'
    )


def _line(begin: tuple[int, int], end: tuple[int, int]) -> str:
    (x, y), (to_x, to_y) = (begin[0] + WIDE, begin[1] + HIGH // 2), (end[0], end[1] + HIGH // 2)
    bend = (x + to_x) // 2
    return f'<path class="edge" d="M{x} {y} C{bend} {y} {bend} {to_y} {to_x} {to_y}"/>'


def _box(step: Step, x: int, y: int) -> str:
    told = phase(step)
    lasted = "" if step.seconds is None else f" {lasting(step.seconds)}"
    return (
        f'<g class="step {told}"><rect x="{x}" y="{y}" width="{WIDE}" height="{HIGH}" rx="6"/>'
        f'<text x="{x + WIDE // 2}" y="{y + 19}">{html.escape(step.name)}</text>'
        f'<text class="small" x="{x + WIDE // 2}" y="{y + 36}">{told}{lasted}</text></g>'
    )


def phase(step: Step) -> str:
    """In one word of ours: it is a class of the page's style, too."""
    words = {
        "": "waits",
        "Pending": "waits",
        "Running": "runs",
        "Succeeded": "done",
        "Failed": "failed",
        "Error": "failed",
    }
    return words.get(step.phase, "skipped" if step.phase in ("Skipped", "Omitted") else "waits")


def lasting(seconds: float) -> str:
    """3 s, 2 min 5 s, 1 h 2 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
