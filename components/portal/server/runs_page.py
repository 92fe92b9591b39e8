"""The pages of workflows: all runs, and one of them. HTML without scripts. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence

from components.portal.server import graph
from components.portal.server.runs import LOST, Run, Step
from components.portal.server.style import cell, document, row, table

RUNS_S, RUN_S = 15, 5  # a page asks again so often
MOODS = {"Succeeded": "well", "Failed": "down", "Error": "down", "Running": "told"}


def listed(site: str, found: Sequence[Run]) -> str:
    """All runs, the newest first."""
    rows = (
        row(
            [
                f'<td><a href="/runs/{html.escape(run.name)}">{html.escape(run.name)}</a></td>',
                cell(run.template),
                cell(state(run), MOODS.get(run.phase, "")),
                cell(run.started.replace("T", " ").removesuffix("Z")),
                cell("" if run.seconds is None else graph.lasting(run.seconds)),
            ]
        )
        for run in found
    )
    head = ("run", "template", "state", "begun, UTC", "took")
    body = table(head, rows) if found else '<p class="note">No run is kept.</p>'
    return document(f"{site}: workflows", f"<h1>Workflows</h1>{body}", RUNS_S)


def shown(site: str, run: Run) -> str:
    """One run: its graph, its steps, what may be done with it."""
    name = html.escape(run.name)
    lasted = "" if run.seconds is None else f", {graph.lasting(run.seconds)}"
    body = [
        f"<h1>{name}</h1>",
        f'<p class="{MOODS.get(run.phase, "")}">{html.escape(state(run))}{lasted}. {html.escape(run.message)}</p>',
        f'<div class="graph">{graph.drawn(run.steps)}</div>',
        _button(name, "stop", "Stop") if not run.ended and not run.stopped else "",
        _button(name, "again", "Retry") if run.phase in LOST else "",
        f'<p><a href="/runs/{name}/log">what its steps said</a></p>',
        table(("step", "state", "took", "why"), map(_step, run.steps)),
    ]
    return document(f"{site}: {run.name}", "".join(body), None if run.ended else RUN_S)


def state(run: Run) -> str:
    """In a word."""
    if run.stopped and run.phase in LOST:
        return "Stopped"
    return run.phase or "Waits"


def _step(step: Step) -> str:
    told = graph.phase(step)
    lasted = "" if step.seconds is None else graph.lasting(step.seconds)
    moods = {"done": "well", "failed": "down", "runs": "told"}
    return row([cell(step.name), cell(told, moods.get(told, "")), cell(lasted), cell(step.message)])


def _button(name: str, what: str, word: str) -> str:
    return f'<form method="post" action="/runs/{name}/{what}"><button>{word}</button></form>'
