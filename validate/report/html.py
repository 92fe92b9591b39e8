"""One self-contained page: no script, no font, no image from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from components.kit.probing import Verdict
from validate.model import Result, Run, overall

HERE = Path(__file__).parent
EVIDENCE_LIMIT = 20_000
SENTENCES = {
    Verdict.PASS: "Everything that was looked at holds.",
    Verdict.FAIL: "At least one promise does not hold.",
    Verdict.INVALID: "No verdict is possible: something could not be judged.",
}


@dataclass(frozen=True)
class Group:
    """One row of the matrix."""

    component: str
    verdict: Verdict
    results: list[Result]


def render(run: Run) -> str:
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(time=_time, pretty=_pretty)
    worst = {Verdict.FAIL: 0, Verdict.INVALID: 1, Verdict.PASS: 2}
    groups = groups_of(run)
    return environment.get_template("page.html.j2").render(
        run=run,
        sentence=SENTENCES[run.verdict],
        groups=groups,
        counts={v: sum(r.verdict is v for r in run.results) for v in Verdict},
        open_points=sorted(
            (r for r in run.results if r.verdict is not Verdict.PASS),
            key=lambda r: (worst[r.verdict], r.component),
        ),
        bars=_bars(run),
    )


def groups_of(run: Run) -> list[Group]:
    by_component: dict[str, list[Result]] = {}
    for result in run.results:
        by_component.setdefault(result.component, []).append(result)
    return [
        Group(name, overall(r.verdict for r in results), results)
        for name, results in sorted(by_component.items())
    ]


def _bars(run: Run) -> list[dict[str, Any]]:
    """When each check ran, as parts of the whole run: shows what the time went into."""
    total = max(run.finished - run.started, 0.001)
    bars: list[dict[str, Any]] = []
    for result in run.results:
        left = min(max(result.finished - result.seconds - run.started, 0.0) / total, 1.0)
        width = min(result.seconds / total, 1.0 - left)
        if result.seconds >= total / 200:
            bars.append({"left": left * 100, "width": max(width * 100, 0.4), "result": result})
    return sorted(bars, key=lambda b: (b["left"], -b["width"]))[:60]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _pretty(evidence: Mapping[str, Any]) -> str:
    text = json.dumps(evidence, indent=1, default=str, ensure_ascii=False)
    if len(text) > EVIDENCE_LIMIT:
        return text[:EVIDENCE_LIMIT] + f"\n… {len(text) - EVIDENCE_LIMIT} more in results.json"
    return text
