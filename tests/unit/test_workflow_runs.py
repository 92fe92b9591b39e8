"""Workflows as people see them: their steps, what they said, how they go on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.workflows import runs
from problems import STEPS, cluster

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
TRAINING = {
    "entrypoint": "all",
    "templates": [
        {
            "name": "all",
            "dag": {
                "tasks": [
                    {"name": "prepare", "template": "prepare"},
                    {"name": "inner", "template": "inner", "depends": "prepare.Succeeded"},
                    {"name": "register", "template": "register", "depends": "inner && prepare"},
                ]
            },
        },
        {
            "name": "inner",
            "steps": [
                [{"name": "a", "template": "x"}, {"name": "b", "template": "x"}],
                [{"name": "c", "template": "x"}],
            ],
        },
        {"name": "prepare", "container": {}},
        {"name": "register", "container": {}},
        {"name": "x", "container": {}},
    ],
}


def node(name: str, phase: str, **more: str) -> dict[str, str]:
    return {"displayName": name, "phase": phase, **more}


def workflow(phase: str = "Failed", nodes: list[dict[str, str]] | None = None, **spec: Any) -> dict[str, Any]:
    """As the API server has it."""
    template = {
        "metadata": {"name": "problem-tabular-timed", "namespace": "steps", "labels": {"apadana.io/problem": "tabular"}}
    }
    made: dict[str, Any] = cluster.workflow(template, "tabular-1", "", {"seed": 2}, 3)
    made["metadata"]["labels"] |= {"workflows.argoproj.io/phase": phase}
    made["spec"] |= spec
    made["status"] = {
        "phase": phase,
        "startedAt": "2026-03-01T12:00:00Z",
        "storedWorkflowTemplateSpec": TRAINING,
        "nodes": {str(at): each for at, each in enumerate(nodes or [])},
    }
    return made


def test_steps_of_inner_graphs_stand_between_those_around_them() -> None:
    assert runs.planned(TRAINING) == {
        "prepare": (),
        "a": ("prepare",),
        "b": ("prepare",),
        "c": ("a", "b"),
        "register": ("prepare", "c"),
    }


def test_what_waits_for_itself_is_shown_and_does_not_hang() -> None:
    round_ = [{"name": "a", "template": "x", "depends": "b"}, {"name": "b", "template": "loop", "depends": "a"}]
    templates = [{"name": "loop", "dag": {"tasks": round_}}, {"name": "x", "container": {}}]
    assert runs.planned({"entrypoint": "loop", "templates": templates}).keys() == {"a", "b"}


NAME = st.sampled_from([f"s{number}" for number in range(8)])


@given(st.lists(st.tuples(NAME, st.lists(NAME, max_size=3)), min_size=1, max_size=8, unique_by=lambda each: each[0]))
def test_every_step_of_a_graph_is_shown_once_with_what_comes_before_it(tasks: list[tuple[str, list[str]]]) -> None:
    names = {name for name, _ in tasks}
    told = [{"name": name, "template": "x", "dependencies": sorted(set(before) - {name})} for name, before in tasks]
    found = runs.planned({"entrypoint": "all", "templates": [{"name": "all", "dag": {"tasks": told}}, {"name": "x"}]})
    assert found.keys() == names
    for name, before in tasks:
        assert set(found[name]) <= set(before) & names


def test_a_run_is_told_with_how_each_step_is() -> None:
    nodes = [
        node("prepare", "Succeeded", startedAt="2026-03-01T12:00:00Z", finishedAt="2026-03-01T12:00:07Z"),
        node("a", "Running", startedAt="2026-03-01T12:00:10Z"),
        node(
            "b", "Failed", startedAt="2026-03-01T12:00:08Z", message="Error (exit code 3): a gate\nError: exit status 3"
        ),
    ]
    run = runs.read(workflow("Running", nodes), NOW)
    assert (run.name, run.template, run.seconds, run.ended) == ("tabular-1", "problem-tabular-timed", 30.0, False)
    assert {step.name: (step.phase, step.seconds) for step in run.steps} == {
        "prepare": ("Succeeded", 7.0),
        "a": ("Running", 20.0),
        "b": ("Failed", 22.0),
        "c": ("", None),
        "register": ("", None),
    }
    assert (
        next(step for step in run.steps if step.name == "b").message == "it failed a gate: Error (exit code 3): a gate"
    )


def test_a_run_that_nobody_has_looked_at_yet_waits() -> None:
    found = workflow()
    del found["status"]
    run = runs.read(found, NOW)
    assert (run.phase, run.started, run.seconds, run.steps) == ("", "", None, ())


@pytest.mark.parametrize(
    ("phases", "first"),
    [
        ({"prepare": "Succeeded", "validate": "Failed"}, "validate"),
        ({"prepare": "Skipped", "validate": "Skipped", "features": "Error"}, "features"),
        ({step: "Succeeded" for step in STEPS} | {"register": "Failed"}, "register"),
        ({}, "prepare"),
    ],
)
def test_a_retry_begins_at_the_first_step_that_is_not_done(phases: dict[str, str], first: str) -> None:
    made, begun_with = runs.again(workflow(nodes=[node(*each) for each in phases.items()]), NOW)
    assert begun_with == first
    assert made["metadata"]["name"] == "tabular-1-120030"
    assert made["metadata"]["labels"] == {"apadana.io/problem": "tabular"}
    given = {each["name"]: each["value"] for each in made["spec"]["arguments"]["parameters"]}
    assert given == {
        "run": "tabular-1",
        "settings": '{"seed": 2}',
        "first": str(list(STEPS).index(first)),
        "workers": "3",
        "commit": "",
    }
    # Runs at fixed times have a template of their own, that names its files by the run.
    assert made["spec"]["workflowTemplateRef"] == {"name": "problem-tabular"}


def test_what_goes_on_is_the_first_run_also_the_second_time() -> None:
    first, _ = runs.again(workflow(), NOW)
    second, _ = runs.again(first | {"status": {"phase": "Error"}}, NOW.replace(minute=5))
    assert second["metadata"]["name"] == "tabular-1-120530"


def test_a_run_that_can_t_go_on_in_its_middle_begins_anew() -> None:
    found = workflow(nodes=[node("prepare", "Succeeded")])
    del found["metadata"]["annotations"]
    made, first = runs.again(found, NOW)
    assert first == "" and made["spec"]["workflowTemplateRef"] == found["spec"]["workflowTemplateRef"]
    assert made["spec"]["arguments"] == found["spec"]["arguments"]


@pytest.mark.parametrize("phase", ["", "Running", "Succeeded", "Pending"])
def test_what_has_not_failed_is_not_retried(phase: str) -> None:
    with pytest.raises(ValueError, match="only a run that failed or was stopped is retried"):
        runs.again(workflow(phase), NOW)


TOLD = '{"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"capturing logs","argo":true}\n'


@pytest.mark.parametrize(
    ("output", "left"),
    [
        (f"main: Error (exit code 3): {TOLD}a gate\n{TOLD}Error: exit status 3", "main: Error (exit code 3): a gate\n"),
        (
            f"[pod/a-1/main] {TOLD}[pod/a-1/main] a gate\n[pod/a-1/main] Error: exit status 3\n",
            "[pod/a-1/main] a gate\n",
        ),
        ('{"loss": 0.1}\n', '{"loss": 0.1}\n'),
        ("a gate", "a gate"),
    ],
)
def test_a_steps_own_lines_are_told_and_not_those_of_argo(output: str, left: str) -> None:
    assert runs.said(output) == left
