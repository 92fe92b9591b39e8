"""A workflow as people see it: its steps, what they said, how it goes on. Pure, and the standard library alone: the
portal's pods run this very file, by a link.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from . import reasons

API = "argoproj.io/v1alpha1"
#: On a run that can go on in its middle: the template for that, and the steps in their order. Such a template takes the
#: parameters `run`, whose files are read, and `first`, the number of the step to begin with.
AGAIN, STEPS = "apadana.io/again", "apadana.io/steps"
PROBLEM = "apadana.io/problem"  # of its runs, whose steps end as problems/steps.py says
BY = "apadana.io/by"  # who began a run, or stopped it, on the portal
ENDED, LOST = ("Succeeded", "Failed", "Error"), ("Failed", "Error")
DONE = ("Succeeded", "Skipped")
#: Argo's executor writes into the same output as the step.
EXECUTOR = re.compile(
    r'(?:^\[pod/\S+\] )?(?:\{[^\n]*"argo":true[^\n]*\}|Error: exit status \d+)(?:\n|\Z)', re.MULTILINE
)
NO_PROGRESS = ("", "0/1")  # the latter is the engine's own for a step that tells nothing
NAMES = re.compile(r"[A-Za-z0-9_-]+")
Object = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One step of a run."""

    name: str
    after: tuple[str, ...]
    phase: str = ""  # "": not begun
    message: str = ""
    seconds: float | None = None
    progress: str = ""  # of one that runs and tells it: 3/12


@dataclass(frozen=True)
class Run:
    """A workflow."""

    name: str
    template: str
    phase: str
    message: str
    started: str  # as Kubernetes writes it; "": not begun
    seconds: float | None
    stopped: bool  # somebody told it to
    steps: tuple[Step, ...] = ()

    @property
    def ended(self) -> bool:
        """Nothing more happens."""
        return self.phase in ENDED


def said(output: str) -> str:
    """A step's own lines, without those of Argo's executor."""
    return EXECUTOR.sub("", output)


def read(found: Mapping[str, Any], now: datetime | None = None) -> Run:
    """A workflow as the API server has it."""
    status, spec, now = found.get("status") or {}, found["spec"], now or datetime.now(UTC)
    nodes = status.get("nodes") or {}
    problem = of_problem(found)
    steps = [
        _step(name, after, nodes.values(), now, problem)
        for name, after in planned(status.get("storedWorkflowTemplateSpec") or spec).items()
    ]
    return Run(
        name=found["metadata"]["name"],
        template=str((spec.get("workflowTemplateRef") or {}).get("name", "")),
        phase=str(status.get("phase", "")),
        message=" ".join(said(str(status.get("message", ""))).split()),
        started=str(status.get("startedAt") or ""),
        seconds=seconds(status, now),
        stopped=bool(spec.get("shutdown")),
        steps=tuple(steps),
    )


def planned(spec: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Each step that a workflow has, and those right before it; what stands in an inner graph is taken out of it."""
    named = {each["name"]: each for each in spec.get("templates") or ()}
    found: dict[str, tuple[str, ...]] = {}

    def put(template: str, name: str, before: tuple[str, ...], outer: tuple[str, ...]) -> tuple[str, ...]:
        """What is after it waits for what this returns."""
        inner = named.get(template, {})
        tasks = (inner.get("dag") or {}).get("tasks")
        if template in outer or not (tasks or inner.get("steps")):
            if name:
                found[name] = before
            return (name,) if name else ()
        outer = (*outer, template)
        if tasks:
            return graph(tasks, before, outer)
        for group in inner["steps"]:
            before = tuple(end for each in group for end in put(each.get("template", ""), each["name"], before, outer))
        return before

    def graph(tasks: Sequence[Mapping[str, Any]], before: tuple[str, ...], outer: tuple[str, ...]) -> tuple[str, ...]:
        ends: dict[str, tuple[str, ...]] = {}
        waiting = {each["name"]: each for each in tasks}
        awaited: set[str] = set()
        while waiting:
            ready = [name for name, each in waiting.items() if not _before(each, waiting)] or list(waiting)
            for name in ready:
                each = waiting.pop(name)
                earlier = _before(each, ends)
                awaited |= set(earlier)
                after = tuple(end for one in earlier for end in ends[one]) or before
                ends[name] = put(each.get("template", ""), name, after, outer)
        return tuple(end for name, these in ends.items() if name not in awaited for end in these)

    put(str(spec.get("entrypoint", "")), "", (), ())
    return found


def _before(task: Mapping[str, Any], among: Iterable[str]) -> list[str]:
    told = {*(task.get("dependencies") or ()), *NAMES.findall(str(task.get("depends") or ""))}
    return [name for name in among if name in told and name != task["name"]]


def of_problem(found: Mapping[str, Any]) -> bool:
    """Whether its steps end as those of problems do."""
    return PROBLEM in (found["metadata"].get("labels") or {})


def why(node: Mapping[str, Any], problem: bool) -> str:
    """What the engine says of a step, after the meaning of it in words; "": nothing."""
    message, phase = " ".join(said(str(node.get("message") or "")).split()), node.get("phase")
    if phase in LOST:
        return f"{reasons.MEANING[reasons.failed(message, problem=problem)]}: {message}".removesuffix(": ")
    return f"{reasons.MEANING[reasons.waits(message)]}: {message}" if phase == "Pending" and message else message


def _step(name: str, after: tuple[str, ...], nodes: Iterable[Mapping[str, Any]], now: datetime, problem: bool) -> Step:
    """Those who do a step at once are `name(0:1)`; each may be tried again: `name(0)`."""
    own = [node for node in nodes if node.get("displayName") == name]
    if not own:
        return Step(name, after)
    node = max(own, key=lambda each: str(each.get("startedAt") or ""))
    phase, progress = str(node.get("phase", "")), str(node.get("progress") or "")
    told = progress if phase == "Running" and progress not in NO_PROGRESS else ""
    return Step(name, after, phase, why(node, problem), seconds(node, now), told)


def seconds(found: Mapping[str, Any], now: datetime) -> float | None:
    """From its beginning to its end, or to now; None: it has not begun."""
    begun = found.get("startedAt")
    if not begun:
        return None
    ended = found.get("finishedAt")
    return max(0.0, ((time(ended) if ended else now) - time(begun)).total_seconds())


def time(text: str) -> datetime:
    """As Kubernetes writes it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def kept_logs(found: Mapping[str, Any]) -> dict[str, str]:
    """Where in the bucket of workflows the lines of each pod are kept, in the order in which they began."""
    nodes = ((found.get("status") or {}).get("nodes") or {}).values()
    kept: dict[str, str] = {}
    # A step that may be tried again has its last try's outputs, too; only the tries are pods.
    for node in sorted((n for n in nodes if n.get("type") == "Pod"), key=lambda n: str(n.get("startedAt") or "")):
        for each in (node.get("outputs") or {}).get("artifacts") or ():
            if each.get("name") == "main-logs" and (key := (each.get("s3") or {}).get("key")):
                kept[str(node["displayName"])] = str(key)
    return kept


def to_begin_with(found: Mapping[str, Any], steps: Sequence[str]) -> str:
    """The first of these steps that an ended run did not do."""
    nodes = ((found.get("status") or {}).get("nodes") or {}).values()
    done = {node["displayName"] for node in nodes if node.get("phase") in DONE}
    return next((step for step in steps if step not in done), steps[-1])


def again(found: Mapping[str, Any], now: datetime | None = None) -> tuple[Object, str]:
    """What to make so that a run that failed goes on; and the step it begins with, "" for all of them anew.

    Raises ValueError for a run that has not failed.
    """
    metadata, spec = found["metadata"], found["spec"]
    name, phase = metadata["name"], (found.get("status") or {}).get("phase", "")
    if phase not in LOST:
        raise ValueError(f"{name} is {phase or 'not begun'}: only a run that failed or was stopped is retried")
    marks = metadata.get("annotations") or {}
    given = {each["name"]: each.get("value", "") for each in (spec.get("arguments") or {}).get("parameters") or ()}
    template, first, begun = spec["workflowTemplateRef"]["name"], "", name
    if AGAIN in marks and marks.get(STEPS):
        steps = marks[STEPS].split(",")
        template, first = marks[AGAIN], to_begin_with(found, steps)
        begun = given.get("run") or name
        given |= {"run": begun, "first": str(steps.index(first))}
    kept = {key: value for key, value in (metadata.get("labels") or {}).items() if "argoproj.io/" not in key}
    made = {
        "apiVersion": API,
        "kind": "Workflow",
        "metadata": {
            "name": f"{begun}-{now or datetime.now(UTC):%H%M%S}",
            "namespace": metadata["namespace"],
            "labels": kept,
            "annotations": {key: marks[key] for key in (AGAIN, STEPS) if key in marks},
        },
        "spec": {
            "workflowTemplateRef": {"name": template},
            "arguments": {"parameters": [{"name": key, "value": value} for key, value in given.items()]},
        },
    }
    return made, first
