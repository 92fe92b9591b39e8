"""What the page tells, made of what Prometheus answers. Pure, but for asking."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.portal.server.prometheus import Series

Query = Callable[[str], Series]

UP = "sum by (component) (up)"
WATCHED = "count by (component) (up)"
ALERTS = 'ALERTS{alertstate="firing"}'
RELEASES = "max by (release, phase) (apadana_models_release) == 1"
#: Of each model in service, over five minutes, or of the last day where callers tell what was true.
MODELS = {
    "rate": "sum by (model, version) (rate(apadana_model_seconds_count[5m]))",
    "failed": 'sum by (model, version) (rate(apadana_model_answers_total{code=~"5.."}[5m]))',
    "p99": "histogram_quantile(0.99, sum by (model, version, le) (rate(apadana_model_seconds_bucket[5m])))",
    "known": "max by (model, version) (apadana_outcomes_known)",
    "wrong": "max by (model, version) (apadana_outcomes_wrong / apadana_outcomes_rows)",
    "off": "max by (model, version) (apadana_outcomes_off_mean)",
}
SEVERE = ("critical", "warning")  # in this order


@dataclass(frozen=True)
class Alert:
    """One that fires."""

    name: str
    severity: str
    component: str
    about: str  # its other labels


@dataclass(frozen=True)
class Part:
    """One room of the platform."""

    name: str
    layer: str
    version: str
    url: str  # of its page; "": it has none
    shows: bool = True  # figures, that Prometheus is to ask for
    up: int = 0
    watched: int = 0
    alerts: int = 0

    @property
    def state(self) -> str:
        """In a word."""
        if not self.watched:
            return "not watched" if self.shows else "shows nothing"
        if self.up == self.watched:
            return "told of" if self.alerts else "well"
        return "down" if not self.up else "part of it"


@dataclass(frozen=True)
class Overview:
    """All of it, at one moment."""

    parts: tuple[Part, ...] = ()
    alerts: tuple[Alert, ...] = ()
    releases: Mapping[str, str] = field(default_factory=dict)  # by name, what each is
    models: Mapping[tuple[str, str], Mapping[str, float]] = field(default_factory=dict)  # of model and version


def looked(rooms: Sequence[Mapping[str, Any]], query: Query) -> Overview:
    """Ask once. `rooms`: name, layer, version, url of each, and whether it shows figures.

    Raises OSError: nobody answers.
    """
    up, watched = (_by(query(text), "component") for text in (UP, WATCHED))
    alerts = tuple(sorted(map(_alert, query(ALERTS)), key=_order))
    parts = tuple(
        Part(
            **each,
            up=int(up.get(each["name"], 0)),
            watched=int(watched.get(each["name"], 0)),
            alerts=sum(alert.component == each["name"] for alert in alerts),
        )
        for each in rooms
    )
    releases = {labels["release"]: labels.get("phase", "") for labels, _ in query(RELEASES) if "release" in labels}
    return Overview(parts, alerts, releases, _models(query))


def _models(query: Query) -> dict[tuple[str, str], dict[str, float]]:
    found: dict[tuple[str, str], dict[str, float]] = {}
    for what, text in MODELS.items():
        for labels, value in query(text):
            if math.isfinite(value) and labels.get("model"):
                found.setdefault((labels["model"], labels.get("version", "")), {})[what] = value
    return dict(sorted(found.items()))


def _by(series: Series, label: str) -> dict[str, float]:
    return {labels.get(label, ""): value for labels, value in series}


def _alert(found: tuple[dict[str, str], float]) -> Alert:
    labels = dict(found[0])
    name, severity, component = (labels.pop(key, "") for key in ("alertname", "severity", "component"))
    for key in ("__name__", "alertstate", "cause", "job", "instance"):
        labels.pop(key, None)
    return Alert(name, severity, component, ", ".join(f"{key} {value}" for key, value in sorted(labels.items())))


def _order(alert: Alert) -> Any:
    severe = SEVERE.index(alert.severity) if alert.severity in SEVERE else len(SEVERE)
    return severe, alert.component, alert.name, alert.about
