"""Two of Argo's controllers for real, with our file and our rights.

What they take, what they refuse, and who goes on when the leader is killed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from common.errors import Refusal
from components.kit.manifests import manifest, role_pair
from components.kit.probing import Verdict
from components.portal.server import kubernetes
from components.portal.server import watch as watching
from components.portal.server.watch import Watch
from components.workflows import names, probe, sample, steps
from problems.cluster import Runs
from problems.house import AGAIN
from problems.lineage import Named
from problems.pipeline import OUT
from problems.steps import FAILED_A_GATE
from tests.engine import flows
from tests.ports import HOST
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


WATCHED, TRAIN = "watched", "train"


@pytest.fixture(scope="module")
def watched(made: flows.Flows) -> flows.Flows:
    """With a template whose one step is tried twice, and with the account of the portal and no more rights than its."""
    container = {"image": "apadana.local/none", "command": ["true"]}
    step = {"name": TRAIN, "activeDeadlineSeconds": 900, "container": container}
    step["retryStrategy"] = {"limit": "1", "retryPolicy": "Always"}
    spec = {"entrypoint": "all", "templates": [{"name": "all", "dag": {"tasks": [_task(TRAIN)]}}, step]}
    made.make(manifest("argoproj.io/v1alpha1", "WorkflowTemplate", WATCHED, namespace=flows.HOME, spec=spec))
    made.make(manifest("v1", "ServiceAccount", names.PORTAL, namespace=flows.HOME))
    for item in role_pair("portal", flows.HOME, (flows.HOME, names.PORTAL), steps.PORTAL_RULES):
        made.make(item)
    return made


def _task(name: str) -> dict[str, str]:
    return {"name": name, "template": name}


@pytest.fixture
def watch(watched: flows.Flows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """The portal's own look, by its own way to the API server."""
    (tmp_path / "token").write_text(watched.token(names.PORTAL))
    (tmp_path / "ca.crt").write_bytes((watched.api.folder / "certs" / "apiserver.crt").read_bytes())
    monkeypatch.setattr(kubernetes, "ACCOUNT", tmp_path)
    monkeypatch.setattr(watching, "AT_ONCE", 2)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", HOST)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(watched.api.port))
    return Watch(flows.HOME, kubernetes.Api)


def looks(watch: Watch, name: str, run: str, minutes: float = 0) -> dict[tuple[str, str], float]:
    """One figure of a run, by step and reason, as it would be so many minutes from now."""
    watch.round(datetime.now(UTC) + timedelta(minutes=minutes))
    assert watch.why == ""
    return {(step, why): value for (of, step, why), value in watch.figures.held[name].items() if of == run}


def node(made: flows.Flows, run: str, is_so: Callable[[dict[str, Any]], bool]) -> None:
    """Until the engine has taken over how the run's pod is."""

    def found() -> bool | None:
        nodes = made.workflow(run).get("status", {}).get("nodes", {}).values()
        return any(each["type"] == "Pod" and is_so(each) for each in nodes) or None

    wait_for(f"the engine to see {run}", found, timeout=STEP_S)


def test_a_run_whose_step_is_out_of_memory_is_told_and_one_that_was_well_the_second_time_is_not(
    watched: flows.Flows, watch: Watch
) -> None:
    for run in ("killed", "mended"):
        watched.submit(run, WATCHED)
        watched.ends(run, f"{TRAIN}(0)", code=137, reason="OOMKilled")
    watched.ends("mended", f"{TRAIN}(1)")
    assert not looks(watch, "failed", "killed"), "it is being tried again"
    watched.ends("killed", f"{TRAIN}(1)", code=137, reason="OOMKilled")
    wait_for("its end", lambda: _phase(watched, "killed") == "Failed" or None, timeout=STEP_S)
    ended(watched, "mended")
    assert looks(watch, "failed", "killed") == {(TRAIN, "out-of-memory"): 1}
    assert not looks(watch, "failed", "mended")


def test_a_step_at_its_deadline_is_told(watched: flows.Flows, watch: Watch) -> None:
    watched.submit("late", WATCHED)
    for number in (0, 1):
        told = "Pod was active on the node longer than the specified deadline"
        watched.becomes(
            "late", f"{TRAIN}({number})", {"phase": "Failed", "reason": "DeadlineExceeded", "message": told}
        )
    wait_for("its end", lambda: _phase(watched, "late") == "Failed" or None, timeout=STEP_S)
    assert looks(watch, "failed", "late") == {(TRAIN, "deadline"): 1}


def test_a_step_that_finds_no_room_is_told(watched: flows.Flows, watch: Watch) -> None:
    watched.submit("crowded", WATCHED)
    told = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/4 nodes are available"}
    watched.becomes("crowded", f"{TRAIN}(0)", {"phase": "Pending", "conditions": [told]})
    node(watched, "crowded", lambda each: "Unschedulable" in each.get("message", ""))
    (found,) = looks(watch, "waits_seconds", "crowded", minutes=12).items()
    assert found[0] == (TRAIN, "no-room") and 720 <= found[1] < 900


def _told(progress: str, each: dict[str, Any]) -> bool:
    return each["phase"] == "Running" and each.get("progress") == progress


def test_a_step_that_tells_no_progress_any_more_is_silent(watched: flows.Flows, watch: Watch) -> None:
    """By the file that the engine's helper reads; what it tells, it tells with its own rights."""
    run, step = "stuck", f"{TRAIN}(0)"
    watched.submit(run, WATCHED)
    (main,) = (each for each in watched.pod(run, step)["spec"]["containers"] if each["name"] == "main")
    assert {"name": "ARGO_PROGRESS_FILE", "value": "/var/run/argo/progress"} in main["env"]
    assert "/var/run/argo" in [each["mountPath"] for each in main["volumeMounts"]]
    watched.becomes(run, step, {"phase": "Running"})
    for progress in ("3/12", "4/12"):
        watched.tells(run, step, progress=progress)
        node(watched, run, partial(_told, progress))
        assert looks(watch, "silent_seconds", run)[TRAIN, ""] < 60
    assert looks(watch, "silent_seconds", run, minutes=11)[TRAIN, ""] == pytest.approx(660, abs=60)
    watched.tells(run, step, progress="5/12")
    node(watched, run, partial(_told, "5/12"))
    assert looks(watch, "silent_seconds", run, minutes=12)[TRAIN, ""] == 0


def test_a_run_is_compared_with_those_that_were_well(watched: flows.Flows, watch: Watch) -> None:
    for number in range(3):
        watched.submit(f"usual-{number}", WATCHED)
    for number in range(3):
        watched.ends(f"usual-{number}", f"{TRAIN}(0)")
        ended(watched, f"usual-{number}")
    watched.submit("slow", WATCHED)
    watched.becomes("slow", f"{TRAIN}(0)", {"phase": "Running"})
    node(watched, "slow", lambda each: each["phase"] == "Running")
    for step in ("", TRAIN):
        usual = looks(watch, "usual_seconds", "slow")[step, ""]
        assert 0 < usual < 2 * STEP_S
        assert looks(watch, "seconds", "slow", minutes=20)[step, ""] >= 1200
    assert looks(watch, "deadline_seconds", "slow")[TRAIN, ""] == 900


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
