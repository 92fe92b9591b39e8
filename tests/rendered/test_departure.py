"""A node that leaves, against a real API server: what is on it, its pods, its budget, its end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.kit.servers import built
from tests import scripts
from tests.rendered.apiserver import ApiServer
from tests.unit import test_observed_state

pytestmark = pytest.mark.rendered
StateError = test_observed_state.host.StateError
departure = scripts.load(scripts.PLAYBOOKS / "library" / "cluster_departure.py")
HOME = "leaving"
PODS = f"/api/v1/namespaces/{HOME}/pods"
BUDGETS = f"/apis/policy/v1/namespaces/{HOME}/poddisruptionbudgets"


@pytest.fixture
def kubeconfig(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Two workers, with a pod of each kind and volumes on both; and the bundle's kubectl."""
    (tmp_path / "kubectl").symlink_to(built("kubernetes"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    server.call("POST", "/api/v1/namespaces", {"metadata": {"name": HOME}})
    server.call("POST", f"/api/v1/namespaces/{HOME}/serviceaccounts", {"metadata": {"name": "default"}})
    for name in ("w1", "w2"):
        server.make({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    for name, kind, host in (
        ("web-1", "ReplicaSet", "w1"),
        ("log-1", "DaemonSet", "w1"),
        ("web-2", "ReplicaSet", "w2"),
    ):
        run_pod(server, name, kind, host)
    for name, host in (("one", "w1"), ("two", "w2")):
        server.make(local_volume(name, host))
    yield str(server.kubeconfig(tmp_path / "admin.conf"))
    for path in (PODS, "/api/v1/nodes", "/api/v1/persistentvolumes", BUDGETS):
        server.call("DELETE", path, {"gracePeriodSeconds": 0, "propagationPolicy": "Background"})


def run_pod(server: ApiServer, name: str, kind: str, host: str) -> None:
    """As its controller and its kubelet would tell it."""
    owner = {"apiVersion": "apps/v1", "kind": kind, "name": "x", "uid": "x", "controller": True}
    if kind == "DaemonSet":
        server.call("POST", f"/apis/apps/v1/namespaces/{HOME}/daemonsets", daemons())
    meta = {"name": name, "namespace": HOME, "labels": {"app": "x"}, "ownerReferences": [owner]}
    spec = {"nodeName": host, "containers": [{"name": "x", "image": "x"}]}
    status, answer = server.call("POST", PODS, {"metadata": meta, "spec": spec})
    assert status == 201, answer
    ready = {"type": "Ready", "status": "True"}
    said = {"status": {"phase": "Running", "conditions": [ready]}}
    assert server.call("PATCH", f"{PODS}/{name}/status", said)[0] == 200


def daemons() -> dict[str, Any]:
    labels = {"app": "log"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "x", "image": "x"}]}}
    return {"metadata": {"name": "x"}, "spec": {"selector": {"matchLabels": labels}, "template": pod}}


def local_volume(name: str, host: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": departure.HOST_LABEL, "operator": "In", "values": [host]}]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "2Gi"},
            "claimRef": {"namespace": HOME, "name": f"data-{name}"},
            "local": {"path": "/data"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
        },
    }


@pytest.fixture
def kubelet(server: ApiServer) -> Iterator[None]:
    """What ends is taken away by its host's kubelet; there is none here."""
    enough = threading.Event()

    def ends() -> None:
        while not enough.wait(0.1):
            status, answer = server.call("GET", f"{PODS}/web-1")
            if status == 200 and "deletionTimestamp" in json.loads(answer)["metadata"]:
                server.call("DELETE", f"{PODS}/web-1", {"gracePeriodSeconds": 0})

    thread = threading.Thread(target=ends)
    thread.start()
    yield
    enough.set()
    thread.join()


def drain(kubeconfig: str, seconds: int) -> dict[str, Any]:
    """What is there afterwards."""
    departure.drain(kubeconfig, "w1", departure.seen(kubeconfig, "w1"), seconds)
    found: dict[str, Any] = departure.seen(kubeconfig, "w1")
    return found


def test_what_is_on_a_node_is_told_and_nothing_of_another(kubeconfig: str) -> None:
    told = departure.seen(kubeconfig, "w1")
    assert told["node"] and not told["cordoned"]
    assert told["pods"] == [
        {"name": f"{HOME}/log-1", "owner": "DaemonSet", "ended": False},
        {"name": f"{HOME}/web-1", "owner": "ReplicaSet", "ended": False},
    ]
    (volume,) = told["volumes"]
    assert (volume["name"], volume["claim"], volume["size"]) == ("one", f"{HOME}/data-one", "2Gi")


@pytest.mark.usefixtures("kubelet")
def test_its_pods_go_and_no_other(kubeconfig: str) -> None:
    there = drain(kubeconfig, 30)
    assert there["cordoned"]
    assert [pod["name"] for pod in there["pods"]] == [f"{HOME}/log-1"]
    assert [pod["name"] for pod in departure.seen(kubeconfig, "w2")["pods"]] == [f"{HOME}/web-2"]


@pytest.mark.parametrize("closed", [False, True], ids=["open before", "closed before"])
def test_a_budget_is_kept_and_the_node_is_as_it_was(kubeconfig: str, server: ApiServer, closed: bool) -> None:
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}
    assert server.call("POST", BUDGETS, {"metadata": {"name": "x"}, "spec": spec})[0] == 201
    # As its controller would count.
    counted = {"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1}
    counted |= {"expectedPods": 1}
    assert server.call("PATCH", f"{BUDGETS}/x/status", {"status": counted})[0] == 200
    assert server.call("PATCH", "/api/v1/nodes/w1", {"spec": {"unschedulable": closed}})[0] == 200
    with pytest.raises(StateError, match=r"(?s)w1 keeps its pods, and stays in the cluster: .*web-1"):
        drain(kubeconfig, 3)
    after = departure.seen(kubeconfig, "w1")
    assert len(after["pods"]) == 2 and after["cordoned"] is closed


def test_a_node_that_is_not_there_is_told(kubeconfig: str) -> None:
    departure.kubectl(kubeconfig, "delete", "node", "w1")
    after = departure.seen(kubeconfig, "w1")
    assert not after["node"] and not after["ready"] and len(after["volumes"]) == 1
