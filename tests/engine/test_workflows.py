"""Two of Argo's controllers for real, with our file and our rights.

What they take, what they refuse, and who goes on when the leader is killed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from common.errors import Refusal
from components.kit.probing import Verdict
from components.workflows import names, probe, sample
from problems.cluster import Runs
from problems.lineage import Named
from problems.pipeline import AGAIN, OUT
from problems.steps import FAILED_A_GATE
from tests.engine import flows
from tests.rendered.apiserver import HOST
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.engine
TAKEOVER_S = 60  # the lease's 30 s, a try each 5 s, and a busy machine
STEP_S = flows.STEP_S
#: What the probe's first step hands to its second.
WRITTEN = {
    "parameters": [{"name": "rows", "value": "3"}],
    "artifacts": [{"name": "data", "path": sample.DATA, "s3": {"key": "data.tgz"}}],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[flows.Flows]:
    with flows.running(tmp_path_factory.mktemp("flows")) as running:
        for name in running.ports:
            running.start(name)
        try:
            wait_for("one controller to lead", lambda: _whole(running) or None, timeout=120)
        except Exception as error:
            raise AssertionError(running.log()) from error
        yield running


def _whole(made: flows.Flows) -> bool:
    return probe.whole(made.target()).verdict is Verdict.PASS


def first_pod(made: flows.Flows, workflow: str) -> dict[str, Any]:
    try:
        found = wait_for(f"a pod of {workflow}", lambda: made.pods(workflow) or None, timeout=STEP_S)
    except Exception as error:
        raise AssertionError(made.log()) from error
    assert isinstance(found, list)
    pod: dict[str, Any] = found[0]
    return pod


def test_the_probe_sees_one_that_leads_and_one_that_waits(made: flows.Flows, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rights of its own account, and a workflow that the engine refuses."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", HOST)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(made.api.port))
    said = {check.name: check for check in probe.smoke(made.target())}
    # There is no kubelet here, and the probe was given less time than two pods may take.
    verdicts = [check.verdict for check in said.values()]
    assert verdicts == [Verdict.PASS, Verdict.PASS, Verdict.INVALID], said


def test_a_step_is_a_pod_that_a_restricted_namespace_takes(made: flows.Flows) -> None:
    made.submit("steps")
    pod = first_pod(made, "steps")
    spec = pod["spec"]
    assert spec["serviceAccountName"] == names.STEP
    assert spec["automountServiceAccountToken"] is False
    token = "/var/run/secrets/kubernetes.io/serviceaccount"
    seen = {
        each["name"]: [m["mountPath"] for m in each["volumeMounts"]]
        for each in [*spec["containers"], *spec["initContainers"]]
    }
    assert token not in seen["main"]
    assert token in seen["wait"]
    assert names.STEP_LABELS.items() <= pod["metadata"]["labels"].items()
    assert all(
        set(each["resources"]) == {"limits", "requests"} for each in [*spec["containers"], *spec["initContainers"]]
    )


def test_whoever_submits_patches_no_pod(made: flows.Flows) -> None:
    """CVE-2026-54526: what 4.0.5 lets through makes no pod here, not even at its end."""
    patch = '{"hostNetwork": true}'
    made.submit("patched", artifactGC={"strategy": "OnWorkflowDeletion", "podSpecPatch": patch})
    first_pod(made, "patched")
    assert not made.workflow("patched")["metadata"].get("finalizers")
    made.submit("overriding", podSpecPatch=patch)
    wait_for("its refusal", lambda: _phase(made, "overriding") == "Error" or None, timeout=STEP_S)
    assert not made.pods("overriding")


def _phase(made: flows.Flows, name: str) -> str:
    return str(made.workflow(name).get("status", {}).get("phase", ""))


@pytest.mark.campaign
def test_a_problem_that_failed_a_gate_goes_on_from_there(made: flows.Flows) -> None:
    """By the commands of a person; what the steps themselves do, tests/engine/test_problem_steps.py runs."""
    runs = Runs(made.as_a_site())
    name = runs.submit("tabular", {"leave_out": ["sex"]})
    for step in ("prepare", "validate", "features"):
        made.ends(name, step, {"artifacts": [folder(name, step)]})
    for number in (0, 1):  # both before the training begins
        pod = made.ends(name, f"tune({number}:{number})", {"artifacts": [folder(name, "tune")]})
        (args,) = (each["args"] for each in pod["spec"]["containers"] if each["name"] == "main")
        assert f"--worker={number}" in args
        assert pod["metadata"]["labels"]["apadana.io/uses-postgres"] == "true"
    for step in ("train", "evaluate"):
        pod = made.ends(name, step, {"artifacts": [folder(name, step)]})
    (args,) = (each["args"] for each in pod["spec"]["containers"] if each["name"] == "main")
    assert f"--run={name}" in args and '--settings={"leave_out": ["sex"]}' in args
    assert names.STEP_LABELS.items() <= pod["metadata"]["labels"].items()
    assert pod["metadata"]["labels"]["apadana.io/uses-mlflow"] == "true"
    made.ends(name, "fairness", {"artifacts": [folder(name, "fairness")]})
    made.ends(name, "register", code=FAILED_A_GATE)
    wait_for("its end", lambda: _phase(made, name) == "Failed" or None, timeout=STEP_S)
    steps, _ = runs.logs(name)
    assert [(step, phase) for step, phase, _ in steps if phase == "Failed"] == [("register", "Failed")], steps
    again, first = runs.retry(name)
    assert first == "register"
    pod = made.ends(again, "register", {"artifacts": [folder(again, "register")]})
    assert f"problems/tabular/{name}/train.tgz" in json.dumps(pod), "what was done before is read again"
    ended(made, again)
    assert len(made.pods(again)) == 1, "only what failed was begun again"


def folder(run: str, step: str) -> dict[str, Any]:
    return {"name": "out", "path": OUT, "s3": {"key": f"problems/tabular/{run}/{step}.tgz"}}


def test_a_problem_is_stopped(made: flows.Flows) -> None:
    runs = Runs(made.as_a_site())
    name = runs.submit("tabular", {"seed": 1})
    first_pod(made, name)
    with pytest.raises(Refusal, match="only a run that failed"):
        runs.retry(name)
    runs.stop(name)
    wait_for("its end", lambda: _phase(made, name) == "Failed" or None, timeout=STEP_S)


def test_a_version_is_done_again_by_one_pod(made: flows.Flows) -> None:
    runs = Runs(made.as_a_site())
    name = runs.reproduce(Named("tabular", number="3"))
    pod = made.ends(name, AGAIN)
    (args,) = (each["args"] for each in pod["spec"]["containers"] if each["name"] == "main")
    assert args == ["tabular@3", "--work=/tmp/work", "--anyway=no"]
    assert pod["metadata"]["labels"]["apadana.io/uses-mlflow"] == "true"
    ended(made, name)
    assert runs.logs(name)[0][0][:2] == (AGAIN, "Succeeded")
    with pytest.raises(Refusal, match="begin it anew by `reproduce`"):
        runs.retry(name)


@pytest.mark.campaign
def test_the_leader_is_killed_and_the_other_one_goes_on(made: flows.Flows) -> None:
    """A workflow that it left half done ends, and a new one runs: kept in PostgreSQL both."""
    made.submit("halfway")
    first_pod(made, "halfway")
    leader = made.holder()
    assert leader in made.ports
    (other,) = set(made.ports) - {leader}
    made.kill(leader)
    made.ends("halfway", "write", WRITTEN)  # while nobody leads
    made.submit("afterwards")
    wait_for("the other one to lead", lambda: made.holder() == other or None, timeout=TAKEOVER_S)
    for name in ("halfway", "afterwards"):
        if name == "afterwards":
            made.ends(name, "write", WRITTEN)
        made.ends(name, "read")
        ended(made, name)
    wait_for("both in the archive", lambda: made.archived() >= {"halfway", "afterwards"} or None, timeout=STEP_S)
    assert len(made.pods("steps")) == 1, "a step was started twice"


def ended(made: flows.Flows, name: str) -> None:
    try:
        wait_for(f"{name} to succeed", lambda: _phase(made, name) == "Succeeded" or None, timeout=STEP_S)
    except Exception as error:
        raise AssertionError(f"{_phase(made, name)}\n{made.log()}") from error
