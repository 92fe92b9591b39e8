"""Figures of runs for Prometheus: what failed and why, what waits, what takes how long and what is usual, what is
silent. Rules over them are in alerts.yaml. Pure, and the standard library alone: the portal's pods run this very file,
by a link.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Any

from . import reasons, runs

TOLD_S = 3600.0  # a run that failed is told of for so long
REFUSED_S = 60.0  # one that was refused is told of when nobody has taken it away by then
MOST = 100  # runs at work, and as many that failed: the newest
LEAST = 3  # runs before anything is usual
PREFIX = "apadana_run"
#: What each figure is; it has the labels `run` and `step`, without the latter it is of the whole run.
HELP = {
    "failed": "it failed within the last hour; `why` is the reason",
    "waits_seconds": "since it could have begun; `why` is what it waits for",
    "seconds": "it is at work for so long",
    "usual_seconds": "so long it takes when all is well: the median of those that succeeded",
    "deadline_seconds": "so long it may take",
    "silent_seconds": "since its last sign of life: a line, or progress",
}
NUMBERED = re.compile(r"(\([^()]*\))+$")
OF_NODE = (
    *("id", "displayName", "type", "templateName", "phase", "message", "progress"),
    *("startedAt", "finishedAt", "children"),
)
Object = Mapping[str, Any]
Node = Mapping[str, Any]
#: When a node of a run gave its last sign of life, by the names of both.
Alive = Mapping[tuple[str, str], datetime]


@dataclass
class Figures:
    """By name, and by run, step and reason."""

    held: dict[str, dict[tuple[str, str, str], float]] = field(default_factory=lambda: {name: {} for name in HELP})

    def put(self, name: str, run: str, step: str, value: float, why: str = "") -> None:
        """Of several pods that do one step at once: the largest."""
        labels = run, step, why
        self.held[name][labels] = max(value, self.held[name].get(labels, value))

    def text(self) -> str:
        """As Prometheus reads it. Names of Kubernetes and our own words need no escape."""
        lines: list[str] = []
        for name, values in self.held.items():
            lines += [f"# HELP {PREFIX}_{name} {HELP[name]}", f"# TYPE {PREFIX}_{name} gauge"]
            for (run, step, why), value in sorted(values.items()):
                told = {"run": run, "step": step, "why": why}
                labels = ",".join(f'{key}="{text}"' for key, text in told.items() if text)
                lines.append(f"{PREFIX}_{name}{{{labels}}} {value:.0f}")
        return "\n".join(lines) + "\n"

    def of(self, name: str, run: str, step: str) -> float | None:
        """The largest of that step, whatever the reason."""
        return max((value for (r, s, _), value in self.held[name].items() if (r, s) == (run, step)), default=None)


def slim(found: Object) -> dict[str, Any]:
    """A workflow with nothing but what is looked at here: a small part of it."""

    def of(whole: Object, *keys: str) -> dict[str, Any]:
        return {key: whole[key] for key in keys if key in whole}

    status = found.get("status") or {}
    stored = status.get("storedWorkflowTemplateSpec") or found["spec"]
    limits = [of(each, "name", "activeDeadlineSeconds") for each in stored.get("templates") or ()]
    nodes = {name: of(node, *OF_NODE) for name, node in (status.get("nodes") or {}).items()}
    return {
        "metadata": of(found["metadata"], "name", "labels", "creationTimestamp"),
        "spec": of(found["spec"], "workflowTemplateRef", "arguments", "shutdown", "activeDeadlineSeconds"),
        "status": of(status, "phase", "message", "startedAt", "finishedAt")
        | {"nodes": nodes, "storedWorkflowTemplateSpec": of(stored, "activeDeadlineSeconds") | {"templates": limits}},
    }


def figures(found: Sequence[Object], alive: Alive, now: datetime) -> Figures:
    """Of all runs that the API server has."""
    made = Figures()
    usual_steps, usual_runs = usual(found)
    at_work = [each for each in found if _phase(each) not in runs.ENDED]
    for each in _newest(at_work):
        _waits(made, each, now)
        _goes_on(made, each, alive, now)
        kind, begun = _kind(each), {step for step, _, _ in steps(each)}
        if _phase(each) == "Running":
            like = [took for did, took in usual_runs[kind] if begun <= did]
            _usual(made, _name(each), "", like)
            for step in begun:
                _usual(made, _name(each), step, usual_steps[kind, step])
    for each in _newest([each for each in _last_of_each(found) if _phase(each) in runs.LOST]):
        _failed(made, each, now)
    return made


def steps(found: Object) -> Iterator[tuple[str, Node, Sequence[Node]]]:
    """Each step that has begun, once for each of those who do it at once: its name, how it is, its pods, the last one
    last. A pod that failed and was tried again with success is a step that is well."""
    nodes = (found.get("status") or {}).get("nodes") or {}
    again = [name for name, node in nodes.items() if node.get("type") == "Retry"]
    tried = {name: _pods(nodes, nodes[name].get("children") or ()) for name in again}
    inner = {pod["id"] for pods in tried.values() for pod in pods}
    for name, node in nodes.items():
        pods = tried.get(name) or ([node] if node.get("type") == "Pod" and name not in inner else [])
        if pods:
            yield NUMBERED.sub("", str(node["displayName"])), node, pods


def _pods(nodes: Mapping[str, Node], names: Sequence[str]) -> list[Node]:
    found = [nodes[name] for name in names if name in nodes and nodes[name].get("type") == "Pod"]
    return sorted(found, key=lambda node: str(node.get("startedAt") or ""))


def usual(
    found: Sequence[Object],
) -> tuple[dict[tuple[str, str], list[float]], dict[str, list[tuple[set[str], float]]]]:
    """Seconds of runs that succeeded: of each step, by kind of run and name; of each run, with the steps that it did. A
    run is compared with such as did all that it has begun: one that only looked, or began in the middle, is another."""
    of_steps: dict[tuple[str, str], list[float]] = defaultdict(list)
    of_runs: dict[str, list[tuple[set[str], float]]] = defaultdict(list)
    for each in found:
        if _phase(each) != "Succeeded":
            continue
        done: dict[str, float] = {}
        for step, node, _ in steps(each):
            if (took := _lasted(node)) is not None:
                done[step] = max(took, done.get(step, 0.0))
        for step, took in done.items():
            of_steps[_kind(each), step].append(took)
        if (took := _lasted(each["status"])) is not None:
            of_runs[_kind(each)].append((set(done), took))
    return of_steps, of_runs


def _lasted(ended: Object) -> float | None:
    return runs.seconds(ended, runs.time(ended["finishedAt"])) if ended.get("finishedAt") else None


def _usual(made: Figures, run: str, step: str, took: Sequence[float]) -> None:
    if len(took) >= LEAST:
        made.put("usual_seconds", run, step, median(took))


def _waits(made: Figures, found: Object, now: datetime) -> None:
    message = str((found.get("status") or {}).get("message") or "")
    if _phase(found) == "Pending":
        since = (now - runs.time(found["metadata"]["creationTimestamp"])).total_seconds()
        made.put("waits_seconds", _name(found), "", since, reasons.waits(message))
    for step, _, pods in steps(found):
        if pods[-1].get("phase") == "Pending":
            why = reasons.waits(str(pods[-1].get("message") or ""))
            made.put("waits_seconds", _name(found), step, runs.seconds(pods[-1], now) or 0.0, why)


def _goes_on(made: Figures, found: Object, alive: Alive, now: datetime) -> None:
    """What is at work, how long it may be, and how long it is silent."""
    if _phase(found) != "Running":
        return
    status, name = found["status"], _name(found)
    spec = status.get("storedWorkflowTemplateSpec") or found["spec"]
    limits = {each["name"]: each.get("activeDeadlineSeconds") for each in spec.get("templates") or ()}
    made.put("seconds", name, "", runs.seconds(status, now) or 0.0)
    _deadline(made, name, "", found["spec"].get("activeDeadlineSeconds") or spec.get("activeDeadlineSeconds"))
    for step, _, pods in steps(found):
        pod = pods[-1]
        if pod.get("phase") != "Running" or not pod.get("startedAt"):
            continue
        made.put("seconds", name, step, runs.seconds(pod, now) or 0.0)
        _deadline(made, name, step, limits.get(pod.get("templateName", "")))
        seen = max(runs.time(pod["startedAt"]), alive.get((name, str(pod["id"])), runs.time(pod["startedAt"])))
        made.put("silent_seconds", name, step, max(0.0, (now - seen).total_seconds()))


def _deadline(made: Figures, run: str, step: str, told: object) -> None:
    """A template may say it by a parameter; then it is known to the engine alone."""
    if str(told or "").isdigit():
        made.put("deadline_seconds", run, step, float(str(told)))


def _failed(made: Figures, found: Object, now: datetime) -> None:
    """Its steps that failed for good; a run that somebody stopped has not failed."""
    status = found["status"]
    ended = status.get("finishedAt") or status.get("startedAt") or found["metadata"]["creationTimestamp"]
    ago = (now - runs.time(ended)).total_seconds()
    if ago > TOLD_S or found["spec"].get("shutdown"):
        return
    problem, name = runs.of_problem(found), _name(found)
    lost = [(step, pods[-1], node) for step, node, pods in steps(found) if node.get("phase") in runs.LOST]
    for step, pod, node in lost:
        message = runs.said(str(pod.get("message") or node.get("message") or ""))
        made.put("failed", name, step, 1, reasons.failed(message, problem=problem))
    if not lost and (status.get("nodes") or ago > REFUSED_S):
        told = reasons.failed(str(status.get("message") or ""))
        made.put("failed", name, "", 1, told if status.get("nodes") or told != "error" else "refused")


def _last_of_each(found: Sequence[Object]) -> list[Object]:
    """Of a run and those that went on with it the newest: what was done about a failure counts, not the failure."""
    last: dict[str, Object] = {}
    for each in sorted(found, key=lambda one: str(one["metadata"]["creationTimestamp"])):
        given = {one["name"]: one.get("value") for one in _given(each) if one["name"] == "run"}
        last[str(given.get("run") or _name(each))] = each
    return list(last.values())


def _given(found: Object) -> Sequence[Mapping[str, Any]]:
    return (found["spec"].get("arguments") or {}).get("parameters") or ()


def _newest(found: Sequence[Object]) -> Sequence[Object]:
    return sorted(found, key=lambda each: str(each["metadata"]["creationTimestamp"]), reverse=True)[:MOST]


def _phase(found: Object) -> str:
    return str((found.get("status") or {}).get("phase", ""))


def _name(found: Object) -> str:
    return str(found["metadata"]["name"])


def _kind(found: Object) -> str:
    """A problem's runs are alike whatever the state of its code."""
    problem = (found["metadata"].get("labels") or {}).get(runs.PROBLEM)
    return str(problem or (found["spec"].get("workflowTemplateRef") or {}).get("name", ""))
