"""A wish for two workers becomes two pods on two hosts, by the real operators with their own rights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from components.kit.programs import CODE_AT
from components.training import job
from components.training import settings as training
from tests.rendered import datarooms, objects, operating
from tests.rendered.operating import SETTINGS, SITE, WORK, Operating, wish
from tests.rendered.test_kserve import admitted
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.rendered
WAIT_S = 60
TRAINING = "/apis/trainer.kubeflow.org/v1alpha1"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operating]:
    with operating.operating(tmp_path_factory.mktemp("training")) as found:
        for name in ("host-a", "host-b"):
            found.host(name)
        found.control()
        yield found


def runtime(name: str = "xgboost") -> dict[str, Any]:
    (found,) = [each for each in objects.rendered("training", SETTINGS, SITE) if each["metadata"]["name"] == name]
    return found


def template(name: str = "xgboost") -> dict[str, Any]:
    (part,) = runtime(name)["spec"]["template"]["spec"]["replicatedJobs"]
    found: dict[str, Any] = part["template"]["spec"]["template"]
    return found


@pytest.mark.parametrize("name", job.RUNTIMES)
def test_a_worker_is_restricted_bounded_and_has_no_token(name: str) -> None:
    assert runtime(name)["spec"]["mlPolicy"] == {"numNodes": 2, name: {}}
    spec = template(name)["spec"]
    assert spec["automountServiceAccountToken"] is False and "serviceAccountName" not in spec
    (container,) = spec["containers"]
    security = container["securityContext"]
    assert f"/{training.WORKER_IMAGES[name]}@" in container["image"]
    assert security["capabilities"] == {"drop": ["ALL"]} and security["readOnlyRootFilesystem"]
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    told = {each["name"]: each.get("value") for each in container["env"]}
    (threads,) = [each["valueFrom"] for each in container["env"] if each["name"] == "OMP_NUM_THREADS"]
    assert threads == {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}}
    assert told["CHECKPOINTS"] == f"s3://{training.BUCKET}"
    assert not [name for name in told if "PASSWORD" in name or "KEY" in name]


def test_the_store_lets_workers_in() -> None:
    peers = [
        peer
        for rule in datarooms.named(
            objects.rendered("minio", SITE.rooms["minio"], SITE), "NetworkPolicy", "minio-server"
        )["spec"]["ingress"]
        for peer in rule["from"]
    ]
    (theirs,) = [peer for peer in peers if "namespaceSelector" in peer]
    for name in job.RUNTIMES:
        assert theirs["podSelector"]["matchLabels"].items() <= template(name)["metadata"]["labels"].items()


def pods(made: Operating, name: str, number: int = 2) -> list[dict[str, Any]]:
    """The workers that have not ended, each on a host."""

    def there() -> list[dict[str, Any]] | None:
        found = [p for p in made.pods(name) if p.get("status", {}).get("phase") == "Pending"]
        placed = [p for p in found if p["spec"].get("nodeName")]
        return placed if len(placed) == number else None

    try:
        found = wait_for(f"{number} workers of {name}", there, timeout=WAIT_S)
    except Exception as error:
        raise AssertionError(made.log()) from error
    assert isinstance(found, list)
    return sorted(found, key=index)


def index(pod: dict[str, Any]) -> int:
    return int(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"])


def environment(pod: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod["spec"]["containers"]
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def finished(made: Operating, name: str, kind: str) -> bool | None:
    found = made.get(f"{TRAINING}/namespaces/{WORK}/trainjobs/{name}")
    conditions = found.get("status", {}).get("conditions", [])
    return True if any(each["type"] == kind and each["status"] == "True" for each in conditions) else None


@dataclass(frozen=True)
class Words:
    """How Trainer tells a worker of the group, by the policy of a runtime."""

    address: str
    port: str
    workers: str
    rank: str


WORDS = {
    "xgboost": Words("DMLC_TRACKER_URI", "DMLC_TRACKER_PORT", "DMLC_NUM_WORKER", "DMLC_TASK_ID"),
    "torch": Words("PET_MASTER_ADDR", "PET_MASTER_PORT", "PET_NNODES", "PET_NODE_RANK"),
}


@pytest.mark.parametrize(("name", "runtime"), [("trees", "xgboost"), ("network", "torch")])
def test_a_wish_becomes_two_workers_on_two_hosts_and_one_that_is_lost_is_made_anew(
    name: str, runtime: str, made: Operating
) -> None:
    words = WORDS[runtime]
    for item in wish(name, runtime=runtime):
        made.server.make(item)
    first = pods(made, name)
    assert [pod["spec"]["nodeName"] for pod in first] in (["host-a", "host-b"], ["host-b", "host-a"])
    for number, pod in enumerate(first):
        told = environment(pod)
        assert told[words.address] == f"{name}-node-0-0.{name}" and told[words.workers] == "2"
        assert pod["metadata"]["labels"]["jobset.sigs.k8s.io/jobset-uid"], "what JOB_UID is taken from"
        assert told["JOB_NAME"] == name and int(told[words.port]) == 29500
        assert "job-completion-index" in told[words.rank]["fieldRef"]["fieldPath"]
        (container,) = pod["spec"]["containers"]
        assert container["command"] == ["python3", "-m", "apadana_training"]
        assert container["args"] == [f"{CODE_AT}/main.py", "100"]
        assert f"/{training.WORKER_IMAGES[runtime]}@" in container["image"]
        assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == (f"{name}-node-0-{number}", name)
        assert pod["metadata"]["labels"]["apadana.io/uses-minio"] == "true"
        assert not [v for v in pod["spec"]["volumes"] if "projected" in v], "a worker has a token"
        admitted(made.server, {"metadata": {"labels": {}}, "spec": {**pod["spec"], "nodeName": ""}})
    service = made.get(f"/api/v1/namespaces/{WORK}/services/{name}")["spec"]
    assert service["clusterIP"] == "None" and service["publishNotReadyAddresses"] is True
    # One is killed, and the other one finds its connection broken.
    for pod in reversed(first):
        made.ends(pod, 1)
    second = pods(made, name)
    assert not {p["metadata"]["uid"] for p in second} & {p["metadata"]["uid"] for p in first}
    assert [index(pod) for pod in second] == [0, 1]
    for pod in second:
        made.ends(pod, 0)
    wait_for("its end", lambda: finished(made, name, "Complete"), timeout=WAIT_S)
    # They do what they have to with the rights that they have.
    assert "forbidden" not in (made.folder / "a.log").read_text()


def test_a_job_that_loses_a_worker_too_often_has_failed(made: Operating) -> None:
    server, changed = made.server, runtime()
    changed["metadata"]["name"] = "brittle"
    (part,) = changed["spec"]["template"]["spec"]["replicatedJobs"]
    part["template"]["spec"]["backoffLimitPerIndex"] = 0
    for item in (changed, *wish("lost", runtimeRef={"name": "brittle", "kind": "TrainingRuntime"})):
        server.make(item)
    first, second = pods(made, "lost")
    made.ends(second, 137)
    # What is left of it is ended, and it has failed when that has.
    gone = f"/api/v1/namespaces/{WORK}/pods/{first['metadata']['name']}"
    wait_for("the other one's end", lambda: made.get(gone)["metadata"].get("deletionTimestamp"), timeout=WAIT_S)
    made.ends(first, 143)
    wait_for("its failure", lambda: finished(made, "lost", "Failed"), timeout=WAIT_S)


def test_wrong_wishes_are_refused_before_anything_is_made(made: Operating) -> None:
    def refused(**more: Any) -> str:
        return str(made.server.refusal(wish("wrong", **more)[-1]))

    assert made.server.refusal(wish("right")[-1]) is None
    assert "not found" in refused(runtimeRef={"name": "tensorflow", "kind": "TrainingRuntime"})
    reserved = {"numNodes": 2, "env": [{"name": "DMLC_TASK_ID", "value": "0"}]}
    assert "reserved for the XGBoost runtime" in refused(trainer=reserved)
    reserved = {"numNodes": 2, "env": [{"name": "PET_NODE_RANK", "value": "0"}]}
    assert "must not have reserved envs" in refused(runtime="torch", trainer=reserved)


def test_a_wish_elsewhere_stays_a_wish(made: Operating) -> None:
    """The operators see one namespace: no right of theirs reaches out of it, and no cache."""
    elsewhere = wish("elsewhere")[-1]
    elsewhere["metadata"]["namespace"] = SITE.namespace
    made.server.make(elsewhere)
    for item in wish("here"):
        made.server.make(item)
    pods(made, "here")
    assert made.get(f"/apis/jobset.x-k8s.io/v1alpha2/namespaces/{SITE.namespace}/jobsets")["items"] == []
    token = json.loads(made.login("training-operators").read_text())["users"][0]["user"]["token"]
    status, _ = made.server.call("GET", f"/api/v1/namespaces/{SITE.namespace}/secrets", token=token)
    assert status == 403


def test_the_leader_is_killed_and_the_other_one_goes_on(made: Operating) -> None:
    """What was wished for meanwhile is made by who leads next."""
    leader = made.holder()
    made.kill("a")
    made.operate("b", made.port)  # API servers of this test know one address of webhooks
    for item in wish("later")[:-1]:
        made.server.make(item)
    wait_for("the webhooks", lambda: made.server.refusal(wish("later")[-1]) is None or None, timeout=WAIT_S)
    assert made.holder() == leader, "the lease of who was killed still runs"
    made.server.make(wish("later")[-1])
    wait_for("the other one to lead", lambda: made.holder() not in (None, "", leader) or None, timeout=WAIT_S)
    pods(made, "later")
