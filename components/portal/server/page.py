"""The first page: all parts, models in service, alerts; and the same as JSON. Pure."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import asdict, dataclass

from components.portal.server.overview import Overview, Part
from components.portal.server.style import cell, document, row, table

BODY = """<h1>Platform {site}</h1>
<p class="{mood}">{summary}</p>
<h2>Parts</h2>{parts}
<h2>Models in service</h2>{models}
<h2>Alerts</h2>{alerts}
<p class="note">Asked of Prometheus {age} s ago; this page asks again by itself.</p>
"""
PAGE_S = 15  # between two looks
#: Of a model: what is asked, what it is called, how it is shown.
COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("rate", "answers/s", lambda value: f"{value:.1f}"),
    ("failed", "errors/s", lambda value: f"{value:.2f}"),
    ("p99", "p99 ms", lambda value: f"{value * 1000:.0f}"),
    ("known", "truth known", lambda value: f"{value:.0f}"),
    ("wrong", "wrong", lambda value: f"{value:.1%}"),
    ("off", "off by", lambda value: f"{value:.3g}"),
)


@dataclass(frozen=True)
class Facts:
    """What the page is made of."""

    site: str
    overview: Callable[[], Overview]
    age: Callable[[], float]  # seconds since Prometheus answered
    health: Callable[[], str]  # why it is not well; "": it is


def page(facts: Facts) -> str:
    """HTML without scripts."""
    found = facts.overview()
    wrong = [part.name for part in found.parts if part.watched and part.up < part.watched]
    told = f"{len(found.alerts)} alert{'' if len(found.alerts) == 1 else 's'}"
    summary = f"{len(found.parts)} parts, {told}." + (f" Not whole: {', '.join(wrong)}." if wrong else "")
    body = BODY.format(
        site=html.escape(facts.site),
        mood="part" if wrong else "told" if found.alerts else "well",
        summary=html.escape(summary),
        parts=table(("part", "layer", "version", "state", "answer", "page"), map(_part, found.parts)),
        models=_models(found),
        alerts=_alerts(found),
        age=round(facts.age()),
    )
    return document(f"{facts.site}: the platform", body, PAGE_S)


def _part(part: Part) -> str:
    link = f'<a href="{html.escape(part.url)}">{html.escape(part.url.removeprefix("https://").strip("/"))}</a>'
    answer = f"{part.up} of {part.watched}" if part.watched else ""
    texts = (part.name, part.layer, part.version)
    state = cell(part.state, part.state.partition(" ")[0])
    return row([*map(cell, texts), state, cell(answer), f"<td>{link if part.url else ''}</td>"])


def _models(found: Overview) -> str:
    shown = [(model, version) for model, version in found.models]
    waiting = sorted(found.releases.keys() - {model for model, _ in shown})
    if not shown and not waiting:
        return '<p class="note">No model is in service.</p>'
    rows = [
        row(
            [
                cell(model),
                cell(version),
                cell(found.releases.get(model, "")),
                *(
                    cell(show(values[what]) if what in values else "", "n")
                    for what, _, show in COLUMNS
                    for values in (found.models[model, version],)
                ),
            ]
        )
        for model, version in shown
    ]
    rows += [row([cell(name), cell(""), cell(found.releases[name]), *(cell("") for _ in COLUMNS)]) for name in waiting]
    return table(("model", "version", "release is", *(c[1] for c in COLUMNS)), rows)


def _alerts(found: Overview) -> str:
    if not found.alerts:
        return '<p class="note">None fires.</p>'
    rows = (
        row([cell(alert.severity, alert.severity), *map(cell, (alert.component, alert.name, alert.about))])
        for alert in found.alerts
    )
    return table(("how bad", "part", "alert", "of"), rows)


def state(found: Overview) -> dict[str, object]:
    """As JSON has it."""
    return {
        "parts": [asdict(part) | {"state": part.state} for part in found.parts],
        "alerts": [asdict(alert) for alert in found.alerts],
        "releases": dict(found.releases),
        "models": [{"model": model, "version": version, **values} for (model, version), values in found.models.items()],
    }
