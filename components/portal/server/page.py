"""What a replica shows: the page, the same as JSON, its health, numbers for Prometheus."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from components.portal.server import serving
from components.portal.server.overview import Overview, Part

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="15">
<meta name="viewport" content="width=device-width"><title>{site}: the platform</title>
<style>
body{{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem;color:#1d2430}}
h2{{margin:2rem 0 .4rem;font-size:1.15rem}}
table{{border-collapse:collapse;width:100%}}
td,th{{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #d8dee6}}
td.n{{text-align:right;font-variant-numeric:tabular-nums}}
.well{{color:#17693c}}.down,.critical{{color:#b01c2e;font-weight:600}}.part,.told,.warning{{color:#8a5300}}
.note{{color:#5b6675}}
</style></head><body><h1>Platform {site}</h1>
<p class="{mood}">{summary}</p>
<h2>Parts</h2><table><tr><th>part</th><th>layer</th><th>version</th><th>state</th><th>answer</th><th>page</th></tr>{parts}
</table>
<h2>Models in service</h2>{models}
<h2>Alerts</h2>{alerts}
<p class="note">Asked of Prometheus {age} s ago; this page asks again by itself.</p></body></html>
"""
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
    return PAGE.format(
        site=html.escape(facts.site),
        mood="part" if wrong else "told" if found.alerts else "well",
        summary=html.escape(summary),
        parts="".join(map(_part, found.parts)),
        models=_models(found),
        alerts=_alerts(found),
        age=round(facts.age()),
    )


def _row(cells: Iterable[str]) -> str:
    return f"<tr>{''.join(cells)}</tr>"


def _cell(text: str, kind: str = "") -> str:
    return f"<td{f' class={kind!r}' if kind else ''}>{html.escape(text)}</td>"


def _part(part: Part) -> str:
    link = f'<a href="{html.escape(part.url)}">{html.escape(part.url.removeprefix("https://").strip("/"))}</a>'
    answer = f"{part.up} of {part.watched}" if part.watched else ""
    texts = (part.name, part.layer, part.version)
    state = _cell(part.state, part.state.partition(" ")[0])
    return _row([*map(_cell, texts), state, _cell(answer), f"<td>{link if part.url else ''}</td>"])


def _models(found: Overview) -> str:
    shown = [(model, version) for model, version in found.models]
    waiting = sorted(found.releases.keys() - {model for model, _ in shown})
    if not shown and not waiting:
        return '<p class="note">No model is in service.</p>'
    head = "".join(f"<th>{name}</th>" for name in ("model", "version", "release is", *(c[1] for c in COLUMNS)))
    rows = [
        _row(
            [
                _cell(model),
                _cell(version),
                _cell(found.releases.get(model, "")),
                *(
                    _cell(show(values[what]) if what in values else "", "n")
                    for what, _, show in COLUMNS
                    for values in (found.models[model, version],)
                ),
            ]
        )
        for model, version in shown
    ]
    rows += [
        _row([_cell(name), _cell(""), _cell(found.releases[name]), *(_cell("") for _ in COLUMNS)]) for name in waiting
    ]
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _alerts(found: Overview) -> str:
    if not found.alerts:
        return '<p class="note">None fires.</p>'
    rows = (
        _row([_cell(alert.severity, alert.severity), *map(_cell, (alert.component, alert.name, alert.about))])
        for alert in found.alerts
    )
    return f"<table><tr><th>how bad</th><th>part</th><th>alert</th><th>of</th></tr>{''.join(rows)}</table>"


def state(found: Overview) -> dict[str, object]:
    """As JSON has it."""
    return {
        "parts": [asdict(part) | {"state": part.state} for part in found.parts],
        "alerts": [asdict(alert) for alert in found.alerts],
        "releases": dict(found.releases),
        "models": [{"model": model, "version": version, **values} for (model, version), values in found.models.items()],
    }


class _Handler(serving.Handler):
    server: Server

    def get(self) -> None:
        """The page, or what it is made of."""
        facts, path = self.server.facts, self.path.partition("?")[0]
        if path == "/health":
            why = facts.health()
            self.answer(503 if why else 200, "text/plain", f"{why or 'well'}\n")
        elif path == "/metrics":
            numbers = f"# TYPE apadana_portal_age_seconds gauge\napadana_portal_age_seconds {facts.age():.1f}\n"
            self.answer(200, "text/plain; version=0.0.4", numbers)
        elif path == "/state":
            self.answer(200, "application/json", json.dumps(state(facts.overview())))
        elif path == "/":
            self.answer(200, "text/html; charset=utf-8", page(facts))
        else:
            self.answer(404, "text/plain", "there are /, /state, /metrics and /health\n")


class Server(serving.Server):
    """What is told, over HTTPS."""

    def __init__(self, facts: Facts, port: int, folder: Path) -> None:
        super().__init__(_Handler, port, folder)
        self.facts = facts
