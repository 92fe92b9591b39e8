"""The pages of workflows: all runs, and one of them. HTML without scripts. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence

from components.portal.server import graph
from components.portal.server.runs import LOST, Run, Step
from components.portal.server.style import cell, document, row, table
from components.portal.server.watching import Figures

RUNS_S, RUN_S = 15, 5  # a page asks again so often
SILENT_S = 120.0  # from then on it is shown
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


def shown(site: str, run: Run, seen: Figures) -> str:
    """One run: its graph, its steps, what may be done with it; `seen`: what is known of how long things take."""
    name = html.escape(run.name)
    lasted = "" if run.seconds is None else f", {graph.lasting(run.seconds)}"
    told = run.message if run.ended else timely(run, seen) or run.message
    body = [
        f"<h1>{name}</h1>",
        f'<p class="{MOODS.get(run.phase, "")}">{html.escape(state(run))}{lasted}. {html.escape(told)}</p>',
        f'<div class="graph">{graph.drawn(run.steps)}</div>',
        _button(name, "stop", "Stop") if not run.ended and not run.stopped else "",
        _button(name, "again", "Retry") if run.phase in LOST else "",
        f'<p><a href="/runs/{name}/log">what its steps said</a></p>',
        table(("step", "state", "took", "why"), (_step(run, step, seen) for step in run.steps)),
    ]
    return document(f"{site}: {run.name}", "".join(body), None if run.ended else RUN_S)


def state(run: Run) -> str:
    """In a word."""
    if run.stopped and run.phase in LOST:
        return "Stopped"
    return run.phase or "Waits"


def timely(run: Run, seen: Figures, step: str = "") -> str:
    """What is usual, and how long it has been silent, of a run at work or of a step that runs."""
    usual, silent = seen.of("usual_seconds", run.name, step), seen.of("silent_seconds", run.name, step)
    told = [] if usual is None else [f"usually {graph.lasting(usual)}"]
    told += [f"silent for {graph.lasting(silent)}"] if silent is not None and silent >= SILENT_S else []
    return ", ".join(told)


def _step(run: Run, step: Step, seen: Figures) -> str:
    told = graph.phase(step)
    lasted = "" if step.seconds is None else graph.lasting(step.seconds)
    moods = {"done": "well", "failed": "down", "runs": "told"}
    how = f"{told} {step.progress}".strip()
    why = ", ".join(filter(None, (step.message, timely(run, seen, step.name) if told == "runs" else "")))
    return row([cell(step.name), cell(how, moods.get(told, "")), cell(lasted), cell(why)])


def _button(name: str, what: str, word: str) -> str:
    return f'<form method="post" action="/runs/{name}/{what}"><button>{word}</button></form>'
