"""What is told of runs, out of workflows as the engine keeps them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from components.workflows import reasons, watching

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
Object = dict[str, Any]
RUN, STEP = "tabular-1", "train"


def ago(minutes: float) -> str:
    return f"{NOW - timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"


def pod(step: str, phase: str, begun: float, ended: float | None = None, **more: Any) -> Object:
    """A step that is tried once; minutes ago."""
    times = {"startedAt": ago(begun)} | ({"finishedAt": ago(ended)} if ended is not None else {})
    return {"id": step, "displayName": step, "type": "Pod", "templateName": step, "phase": phase, **times, **more}


def tried(step: str, phase: str, *pods: Object) -> list[Object]:
    """A step that may be tried again, with its tries."""
    inner = [each | {"id": f"{step}-{at}", "displayName": f"{step}({at})"} for at, each in enumerate(pods)]
    outer = {"id": step, "displayName": step, "type": "Retry", "templateName": step, "phase": phase}
    times = {"startedAt": pods[0]["startedAt"]} | (
        {"finishedAt": pods[-1]["finishedAt"]} if "finishedAt" in pods[-1] else {}
    )
    return [outer | times | {"children": [each["id"] for each in inner]}, *inner]


def workflow(phase: str, *nodes: Object, begun: float = 30, ended: float | None = None, **more: Any) -> Object:
    """A run of a problem, as the API server has it."""
    given = [{"name": "run", "value": more.pop("run", "")}]
    templates = [{"name": STEP, "activeDeadlineSeconds": 900}, {"name": "tune", "activeDeadlineSeconds": "{{x}}"}]
    status = {"phase": phase, "startedAt": ago(begun), "message": more.pop("message", "")}
    if ended is not None:
        status["finishedAt"] = ago(ended)
    if nodes:
        status["nodes"] = {each["id"]: each for each in nodes}
    name, labels = more.pop("name", RUN), more.pop("labels", {"apadana.io/problem": "tabular"})
    return {
        "metadata": {"name": name, "labels": labels, "creationTimestamp": ago(begun)},
        "spec": {"workflowTemplateRef": {"name": "t"}, "arguments": {"parameters": given}, **more},
        "status": status | {"storedWorkflowTemplateSpec": {"activeDeadlineSeconds": 86400, "templates": templates}},
    }


def seen(*found: Object, alive: dict[tuple[str, str], datetime] | None = None) -> watching.Figures:
    """As the portal sees it, which keeps a small part of each."""
    return watching.figures([watching.slim(each) for each in found], alive or {}, NOW)


def failed(*nodes: Object, phase: str = "Failed", **more: Any) -> list[tuple[str, str, str]]:
    return sorted(seen(workflow(phase, *nodes, ended=1, **more)).held["failed"])


DEADLINE = "Pod was active on the node longer than the specified deadline"
SAID = '{"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"x","argo":true}\n'


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("main: OOMKilled (exit code 137)", "out-of-memory"),
        ("main: Error (exit code 137)", "out-of-memory"),
        ("main: Error (exit code 1): torch.OutOfMemoryError: CUDA out of memory.", "out-of-memory"),
        ("The node was low on resource: memory. Threshold quantity: 100Mi", "out-of-memory"),
        (DEADLINE, "deadline"),
        ("Step exceeded its deadline", "deadline"),
        (f"main: Error (exit code 3): {SAID}tabular register: gate f1 is 0.1", "gate"),
        ("main: Error (exit code 4): tabular train: training, fold 2: 3 checks in a row", "diverged"),
        ("main: Error (exit code 5): tabular validate: can't read /tmp/work/prepare/records.json", "no-access"),
        ("init: Error (exit code 64): failed to load artifact 'prepare': The key does not exist.", "no-access"),
        ("main: Error (exit code 2): there is no setting x", "wrong-use"),
        ("pod deleted", "lost"),
        ("Pod was terminated in response to imminent node shutdown.", "lost"),
        ("Pod failed before main container starts due to ImagePullBackOff: Back-off pulling image", "image"),
        ("main: Error (exit code 1): Traceback", "error"),
        ("", "error"),
    ],
)
def test_a_step_that_failed_is_told_with_its_reason(message: str, why: str) -> None:
    node = pod(STEP, "Failed", 10, 5, message=message)
    assert failed(node) == [(RUN, STEP, why)]
    assert failed(*tried(STEP, "Failed", node)) == [(RUN, STEP, why)]
    assert why in reasons.MEANING


def test_exit_codes_mean_nothing_of_templates_that_are_not_ours() -> None:
    node = pod(STEP, "Failed", 10, 5, message="main: Error (exit code 3): no")
    assert failed(node, labels={}) == [(RUN, STEP, "error")]


def test_workers_of_one_step_are_one_step() -> None:
    nodes = [pod("tune", "Failed", 9, 8, message="main: OOMKilled (exit code 137)") for _ in range(2)]
    named = [each | {"id": str(at), "displayName": f"tune({at}:{at})"} for at, each in enumerate(nodes)]
    assert failed(*named) == [(RUN, "tune", "out-of-memory")]


def test_a_step_that_was_tried_again_and_is_well_is_not_told() -> None:
    lost = pod("prepare", "Error", 20, 15, message="pod deleted")
    well = tried("prepare", "Succeeded", lost, pod("prepare", "Succeeded", 15, 14))
    other = pod(STEP, "Failed", 10, 5, message=DEADLINE)
    assert failed(*well, other) == [(RUN, STEP, "deadline")]
    assert not seen(workflow("Succeeded", *well, ended=1)).held["failed"]
    assert not seen(workflow("Running", *tried("prepare", "Running", lost))).held["failed"]


@pytest.mark.parametrize(
    ("message", "phase", "why"),
    [
        ("Failed to read max duration: Step exceeded its deadline", "Failed", "deadline"),
        ("workflow must use workflowTemplateRef to be executed", "Error", "refused"),
    ],
)
def test_a_run_without_a_step_that_failed_is_told_as_a_whole(message: str, phase: str, why: str) -> None:
    assert sorted(seen(workflow(phase, ended=5, message=message)).held["failed"]) == [(RUN, "", why)]


def test_a_refused_run_that_is_taken_away_at_once_is_not_told() -> None:
    """The validator's probe asks for one at each smoke."""
    assert not seen(workflow("Error", begun=0.2, ended=0.2, message="must use it")).held["failed"]


def test_a_failure_is_told_for_an_hour_and_not_of_runs_that_somebody_stopped() -> None:
    node = pod(STEP, "Failed", 90, 70)
    assert not seen(workflow("Failed", node, begun=90, ended=70)).held["failed"]
    assert not failed(pod(STEP, "Failed", 10, 5), shutdown="Terminate")


@pytest.mark.parametrize("phase", ["Running", "Succeeded"])
def test_a_failure_with_which_somebody_goes_on_is_not_told(phase: str) -> None:
    first = workflow("Failed", pod(STEP, "Failed", 29, 20), ended=20, run=RUN)
    more = workflow(phase, pod(STEP, phase, 4), begun=5, name=f"{RUN}-115500", run=RUN)
    assert not seen(first, more).held["failed"]
    again = workflow("Failed", pod(STEP, "Failed", 4, 3), begun=5, ended=3, name=f"{RUN}-115500", run=RUN)
    assert sorted(seen(first, again).held["failed"]) == [(f"{RUN}-115500", STEP, "error")]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("Unschedulable: 0/4 nodes are available: 4 Insufficient memory.", "no-room"),
        ("Unschedulable: pod has unbound immediate PersistentVolumeClaims", "volume"),
        ("ImagePullBackOff: Back-off pulling image apadana.local/none", "image"),
        ('CreateContainerConfigError: secret "x" not found', "settings"),
        ("PodInitializing", "not-begun"),
        ("", "not-begun"),
    ],
)
def test_a_step_that_can_t_begin_is_told_with_what_it_waits_for(message: str, why: str) -> None:
    made = seen(workflow("Running", *tried(STEP, "Running", pod(STEP, "Pending", 12, message=message))))
    assert made.held["waits_seconds"] == {(RUN, STEP, why): 720.0}
    assert not made.held["silent_seconds"] and made.of("seconds", RUN, STEP) is None


def test_the_try_of_now_counts_and_not_the_first_one() -> None:
    lost = pod(STEP, "Error", 20, 15, message="pod deleted")
    for phase, name in (("Pending", "waits_seconds"), ("Running", "seconds"), ("Running", "silent_seconds")):
        made = seen(workflow("Running", *tried(STEP, "Running", lost, pod(STEP, phase, 2))))
        assert made.of(name, RUN, STEP) == 120.0


def test_a_run_that_waits_for_its_turn_is_told_as_a_whole() -> None:
    told = "Workflow processing has been postponed because too many workflows are already running"
    made = seen(workflow("Pending", begun=11, message=told))
    assert made.held["waits_seconds"] == {(RUN, "", "turn"): 660.0}


def test_what_is_at_work_is_told_with_how_long_it_takes_and_may_take() -> None:
    made = seen(workflow("Running", pod(STEP, "Running", 12), pod("tune", "Running", 3)))
    assert made.held["seconds"] == {(RUN, "", ""): 1800.0, (RUN, STEP, ""): 720.0, (RUN, "tune", ""): 180.0}
    assert made.held["deadline_seconds"] == {(RUN, "", ""): 86400.0, (RUN, STEP, ""): 900.0}


def well(name: str, minutes: float, *steps: str) -> Object:
    nodes = [pod(step, "Succeeded", 100, 100 - minutes / len(steps)) for step in steps]
    return workflow("Succeeded", *nodes, begun=100, ended=100 - minutes, name=name)


def test_usual_is_the_median_of_runs_that_did_as_much() -> None:
    """Looks that find nothing to do, and runs that begin in the middle, are short and not its like."""
    whole = [well(f"w{at}", minutes, "prepare", STEP) for at, minutes in enumerate((10, 12, 60))]
    looks = [well(f"l{at}", 0.2, "due") for at in range(9)]
    late = [well(f"m{at}", 1, STEP) for at in range(9)]
    now = workflow("Running", pod("prepare", "Succeeded", 30, 25), pod(STEP, "Running", 25))
    made = seen(*whole, *looks, *late, now)
    assert made.of("usual_seconds", RUN, "") == 720.0
    assert made.of("usual_seconds", RUN, "prepare") == 360.0


def test_of_two_runs_nothing_is_usual() -> None:
    now = workflow("Running", pod(STEP, "Running", 25))
    assert not seen(well("a", 1, STEP), well("b", 1, STEP), now).held["usual_seconds"]
    other = workflow("Succeeded", pod(STEP, "Succeeded", 9, 8), begun=9, ended=8, labels={}, name="o")
    assert not seen(well("a", 1, STEP), well("b", 1, STEP), other, now).held["usual_seconds"]


def test_a_step_is_silent_since_its_last_sign_of_life() -> None:
    now = workflow("Running", *tried(STEP, "Running", pod(STEP, "Running", 25)))
    assert seen(now).of("silent_seconds", RUN, STEP) == 1500.0
    alive = {(RUN, f"{STEP}-0"): NOW - timedelta(minutes=2), ("other", f"{STEP}-0"): NOW}
    assert seen(now, alive=alive).of("silent_seconds", RUN, STEP) == 120.0


def test_of_a_run_little_is_kept() -> None:
    found = workflow("Running", pod(STEP, "Running", 12, outputs={"artifacts": ["x" * 999]}))
    found["metadata"]["managedFields"] = found["status"]["storedTemplates"] = ["x" * 999]
    assert "xxx" not in repr(watching.slim(found))
    assert watching.figures([found], {}, NOW) == seen(found)
    del found["status"]
    assert seen(found).text() == watching.Figures().text(), "nobody has looked at it yet"


def test_what_prometheus_reads_has_the_labels_that_are_known() -> None:
    text = seen(workflow("Failed", pod(STEP, "Failed", 9, 8), ended=8)).text()
    assert f'apadana_run_failed{{run="{RUN}",step="{STEP}",why="error"}} 1\n' in text
    assert "# TYPE apadana_run_silent_seconds gauge\n" in text
    text = seen(workflow("Running", begun=2)).text()
    assert f'apadana_run_seconds{{run="{RUN}"}} 120\n' in text


def test_no_more_runs_are_told_of_than_somebody_can_read() -> None:
    many = [workflow("Running", pod(STEP, "Running", at), begun=at, name=f"r{at}") for at in range(1, 250)]
    made = seen(*many)
    assert len({run for run, _, _ in made.held["seconds"]}) == watching.MOST
    assert made.of("seconds", "r1", "") == 60.0, "the newest are told of"
