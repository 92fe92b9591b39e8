"""What a keeper shows: a page for people, the same as JSON, its health, numbers for Prometheus."""

from __future__ import annotations

import html
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.models.keeper import serving, sleep, targets
from components.models.keeper.sleep import Stage

States = Mapping[str, Mapping[str, Any]]

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Models</title><style>
body{{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d2430}}
table{{border-collapse:collapse;width:100%}}td,th{{text-align:left;padding:.4rem .6rem;border-bottom:1px solid #d8dee6;
vertical-align:top}}</style></head><body><h1>Models in service</h1>
<p>Platform {site}. Each release answers at <code>/v2/models/&lt;name&gt;/infer</code> of this address, by the Open
Inference Protocol, for whoever brings a token.</p>
<table><tr><th>release</th><th>state</th><th>traffic</th><th>versions</th><th>why</th></tr>{rows}</table>
<p>{count}</p></body></html>
"""


@dataclass
class Told:
    """What the page is made of; the keeper's loop writes it."""

    site: str
    states: Callable[[], States]
    leads: Callable[[], bool]
    fresh: Callable[[], bool]  # whether the loop went round not long ago
    pods: Callable[[], Sequence[Mapping[str, Any]]] = tuple  # of all releases, for Prometheus
    more: Callable[[], Sequence[str]] = tuple  # numbers of copies, and of questions that this one holds


def page(told: Told) -> str:
    """HTML without scripts."""
    states = told.states()
    rows = "".join(_row(name, state) for name, state in sorted(states.items()))
    count = f"{len(states)} releases." if states else "No release is wished for."
    return PAGE.format(site=html.escape(told.site), rows=rows, count=count)


def _row(name: str, state: Mapping[str, Any]) -> str:
    versions = state.get("versions", {})
    cells = (
        ", ".join((name, *state.get("beside", ()))),
        str(state.get("phase", "")),
        ", ".join((*(f"{digest}: {share} %" for digest, share in state.get("traffic", {}).items()), *_behind(state))),
        ", ".join(f"{ref} ({v['digest'][:17]})" for ref, v in versions.items()),
        "; ".join(state.get("why", [])),
    )
    return f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"


def _behind(state: Mapping[str, Any]) -> list[str]:
    back = state.get("fall_back")
    return [f"fall-back {back['version']}" + (" answers now" if back["answers"] else "")] if back else []


def numbers(told: Told) -> str:
    """Prometheus' text."""
    lines = ["# TYPE apadana_models_leads gauge", f"apadana_models_leads {int(told.leads())}"]
    lines.append("# TYPE apadana_models_release gauge")
    for name, state in sorted(told.states().items()):
        lines.append(f'apadana_models_release{{release="{name}",phase="{state.get("phase", "")}"}} 1')
    judged = {name: state["judged"] for name, state in sorted(told.states().items()) if state.get("judged")}
    lines.append("# TYPE apadana_models_judged gauge")
    lines += [f'apadana_models_judged{{release="{name}",phase="{far["phase"]}"}} 1' for name, far in judged.items()]
    lines.append("# TYPE apadana_models_decisions_total counter")
    lines += [f'apadana_models_decisions_total{{release="{name}"}} {far["decisions"]}' for name, far in judged.items()]
    lines.append("# TYPE apadana_models_fall_back gauge")
    lines += [
        f'apadana_models_fall_back{{release="{name}",version="{state["fall_back"]["version"]}"}} 1'
        for name, state in sorted(told.states().items())
        if state.get("fall_back")
    ]
    return "\n".join([*lines, *_slept(told.states()), *told.more(), ""])


def _slept(states: States) -> Iterator[str]:
    """Of releases that may sleep: which do, for how long one has been starting, and what its last start took."""
    found = {name: kept for name, state in sorted(states.items()) if (kept := sleep.stored(state)).version}
    yield "# TYPE apadana_models_asleep gauge"
    for name, kept in found.items():
        yield f'apadana_models_asleep{{release="{name}"}} {int(kept.stage is Stage.ASLEEP)}'
    yield "# TYPE apadana_models_starting_seconds gauge"
    for name, kept in found.items():
        began = time.time() - kept.since if kept.stage is Stage.STARTING else 0.0
        yield f'apadana_models_starting_seconds{{release="{name}"}} {max(0.0, began):.1f}'
    yield "# TYPE apadana_models_start_seconds gauge"
    for name, kept in found.items():
        for part, seconds in kept.last.get("parts", {}).items():
            yield f'apadana_models_start_seconds{{release="{name}",part="{part}"}} {seconds}'
    yield "# TYPE apadana_models_started_timestamp_seconds gauge"
    for name, kept in found.items():
        if kept.last:
            yield f'apadana_models_started_timestamp_seconds{{release="{name}"}} {kept.last["at"]}'


class _Handler(serving.Handler):
    server: Server

    def get(self) -> None:
        """A page, or what it is made of."""
        told = self.server.told
        path = self.path.partition("?")[0]
        if path == "/health":
            self.answer(200 if told.fresh() else 503, "text/plain", "fresh\n" if told.fresh() else "the loop hangs\n")
        elif path == "/metrics":
            self.answer(200, "text/plain; version=0.0.4", numbers(told))
        elif path == "/releases":
            self.answer(200, "application/json", json.dumps(told.states(), sort_keys=True))
        elif path == targets.PATH:
            self.answer(200, "application/json", json.dumps(told.pods()))
        elif path == "/":
            self.answer(200, "text/html; charset=utf-8", page(told))
        else:
            self.answer(404, "text/plain", "there are /, /releases, /predictors, /metrics and /health\n")

    def post(self) -> None:
        """A question that no release's route took."""
        self.close_connection = True  # what is left of the question would be read as the next one
        told = {"error": "no release of that name answers here; GET /releases lists those that do"}
        self.answer(404, "application/json", json.dumps(told))


class Server(serving.Server):
    """What is told, over HTTPS."""

    def __init__(self, told: Told, port: int, folder: Path) -> None:
        super().__init__(_Handler, port, folder)
        self.told = told
